/* session.c -- the state machine of one attempt to reach a peer.
 *
 * Every state has a deadline, and inside COORDINATING and HOLE_PUNCHING each coordinator and each
 * try has one of its own, so no stage eats the time of the others. States change only in set_state,
 * which asserts the step; the end is told once, by session_next.
 *
 * Called by the peer node; the engine that acts on frames calls its on_ functions. */
#include "nat/session.h"

#include "core/addr.h"

#include <assert.h>
#include <string.h>

/* On top of what the coordinator says: jitter. */
#define OPEN_MARGIN_US UINT64_C(10000)

const char *session_state_name(enum session_state state)
{
    static const char *const names[SESSION_STATES] = {
        "discovering", "coordinating", "hole_punching", "connected", "expired", "cancelled"};
    return state < SESSION_STATES ? names[state] : "unknown";
}

void session_config_init(struct session_config *config)
{
    *config = (struct session_config){
        .discover_us = 2000000,
        .coordinate_us = 10000000,
        .coordinator_us = 2000000,
        .try_us = 3000000,
        .coordinators = 1,
    };
}

/* ---- states ---------------------------------------------------------------------------------- */

static bool is_over(const struct session *s)
{
    return s->state >= SESSION_CONNECTED;
}

static void set_state(struct session *s, enum session_state state, uint64_t now)
{
    static const uint8_t may[SESSION_STATES] = {
        [SESSION_DISCOVERING] =
            1 << SESSION_COORDINATING | 1 << SESSION_EXPIRED | 1 << SESSION_CANCELLED,
        [SESSION_COORDINATING] = 1 << SESSION_HOLE_PUNCHING | 1 << SESSION_CONNECTED
                                 | 1 << SESSION_EXPIRED | 1 << SESSION_CANCELLED,
        [SESSION_HOLE_PUNCHING] =
            1 << SESSION_CONNECTED | 1 << SESSION_EXPIRED | 1 << SESSION_CANCELLED,
    };
    assert(may[s->state] >> state & 1);
    s->spent_us[s->state] = now > s->entered_us ? now - s->entered_us : 0;
    s->entered_us = now;
    s->phase = s->state;
    s->state = state;
    s->gather = s->ask = false;
    s->deadline_us = s->step_us = UINT64_MAX;
}

void session_init(struct session *s, const struct session_config *config, struct budget *budget,
                  uint64_t now)
{
    assert(config->coordinators > 0 && config->coordinators <= SESSION_COORDINATORS);
    *s = (struct session){.config = *config,
                          .budget = budget,
                          .state = SESSION_DISCOVERING,
                          .told = SESSION_STATES,
                          .began_us = now,
                          .entered_us = now,
                          .deadline_us = now + config->discover_us,
                          .step_us = UINT64_MAX,
                          .reason = NAT_TIMEOUT,
                          .gather = true};
}

void session_accept(struct session *s, const struct session_config *config, struct budget *budget,
                    uint64_t now)
{
    session_init(s, config, budget, now);
    s->passive = true;
}

static void give_up(struct session *s, uint64_t now)
{
    /* The relay carries data: that is a connection. */
    bool relayed = s->relayed && s->state != SESSION_DISCOVERING;
    set_state(s, relayed ? SESSION_CONNECTED : SESSION_EXPIRED, now);
}

static void ask_coordinator(struct session *s, uint64_t now)
{
    s->ask = true;
    s->step_us = now + s->config.coordinator_us;
}

static void begin_coordinating(struct session *s, uint64_t now)
{
    set_state(s, SESSION_COORDINATING, now);
    s->deadline_us = now + s->config.coordinate_us;
    if (!s->passive)
        ask_coordinator(s, now);
}

static void plan_pair(struct session *s, struct session_pair *p, uint64_t open_us, uint64_t now)
{
    punch_plan(&p->plan, now + punch_ladder_us((enum cand_kind)p->remote.kind), open_us,
               s->config.hops);
}

static void begin_try(struct session *s, uint64_t now)
{
    s->tries++;
    s->step_us = now + s->config.try_us;
    for (unsigned i = 0; i < s->pairs; i++) {
        if (!s->pair[i].answered)
            plan_pair(s, &s->pair[i], 0, now);
    }
}

static void begin_punching(struct session *s, uint64_t now)
{
    set_state(s, SESSION_HOLE_PUNCHING, now);
    s->deadline_us = now + s->config.try_us * SESSION_TRIES;
    begin_try(s, now);
}

/* ---- events ---------------------------------------------------------------------------------- */

void session_on_candidates(struct session *s, const struct cand_list *own, uint64_t now)
{
    s->own = *own;
    if (s->state == SESSION_DISCOVERING)
        begin_coordinating(s, now);
}

void session_on_coordinated(struct session *s, const struct session_meeting *meeting, uint64_t now)
{
    struct cand observed = {meeting->peer, CAND_OBSERVED};
    if (s->state != SESSION_COORDINATING && s->state != SESSION_HOLE_PUNCHING)
        return;
    if (s->state == SESSION_COORDINATING) {
        s->reason = NAT_TIMEOUT;
        begin_punching(s, now);
    }
    if (meeting->peer.family == 0 || s->scope.peer_observed.family != 0)
        return;
    s->scope.own_observed = meeting->own;
    s->scope.peer_observed = meeting->peer;
    /* NAT.md §5, two phases: what arrives before the other side has opened may spoil its NAT. */
    (void)session_on_remote(s, &observed, meeting->delay_us + OPEN_MARGIN_US, now);
}

void session_on_refused(struct session *s, unsigned reason, uint64_t now)
{
    if (s->state != SESSION_COORDINATING)
        return;
    s->reason = reason;
    /* The peer's own no is an answer; a coordinator's is only that coordinator's. */
    if (reason == NAT_REFUSED || ++s->coordinator >= s->config.coordinators)
        give_up(s, now);
    else
        ask_coordinator(s, now);
}

void session_on_relayed(struct session *s, uint64_t now)
{
    (void)now;
    s->relayed = true;
}

static struct session_pair *pair_of(struct session *s, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < s->pairs; i++) {
        if (addr_equal(&s->pair[i].remote.addr, addr))
            return &s->pair[i];
    }
    return NULL;
}

enum cand_verdict session_on_remote(struct session *s, const struct cand *remote, uint64_t open_us,
                                    uint64_t now)
{
    const struct aq_addr *addr = &remote->addr;
    s->scope.own = &s->own;
    enum cand_verdict verdict = cand_check(&s->scope, addr);
    bool predicted = remote->kind == CAND_PREDICTED && !addr_same_ip(addr, &s->scope.peer_observed);
    if (verdict == CAND_OK && predicted)
        verdict = CAND_OUT_OF_SCOPE; /* PROTOCOL §5: only at the address that was observed */
    if (verdict != CAND_OK || is_over(s)) {
        s->refused++;
        return verdict;
    }
    struct session_pair *p = pair_of(s, addr);
    if (p && remote->kind < p->remote.kind)
        p->remote.kind = remote->kind;
    if (p || s->pairs == CANDS_MAX)
        return CAND_OK;
    p = &s->pair[s->pairs++];
    *p = (struct session_pair){.remote = *remote, .plan = {.next_us = UINT64_MAX}};
    p->priority = cand_pair_priority(cand_priority(remote), cand_priority(remote));
    if (s->state == SESSION_HOLE_PUNCHING)
        plan_pair(s, p, open_us, now);
    return CAND_OK;
}

void session_on_answer(struct session *s, const struct aq_addr *addr, uint64_t now)
{
    struct session_pair *p = pair_of(s, addr);
    (void)now;
    if (!p)
        return;
    p->answered = true;
    p->plan.next_us = UINT64_MAX;
    budget_answered(s->budget, addr);
}

void session_on_path_failed(struct session *s, const struct aq_addr *addr)
{
    struct session_pair *p = pair_of(s, addr);
    if (p)
        p->answered = false;
}

void session_on_direct(struct session *s, const struct aq_addr *addr, uint64_t now)
{
    const struct session_pair *p = pair_of(s, addr);
    if (s->state != SESSION_COORDINATING && s->state != SESSION_HOLE_PUNCHING)
        return;
    s->direct = p ? (unsigned)(p - s->pair) + 1 : CANDS_MAX + 1;
    s->reason = NAT_ACCEPTED;
    set_state(s, SESSION_CONNECTED, now);
}

void session_cancel(struct session *s, uint64_t now)
{
    if (!is_over(s))
        set_state(s, SESSION_CANCELLED, now);
}

/* ---- time and actions ------------------------------------------------------------------------ */

static void step_over(struct session *s, uint64_t now)
{
    if (s->state == SESSION_COORDINATING)
        session_on_refused(s, NAT_TIMEOUT, now); /* this coordinator; the next one may do better */
    else if (s->tries < SESSION_TRIES)
        begin_try(s, now);
    else
        give_up(s, now);
}

static void run_clock(struct session *s, uint64_t now)
{
    if (is_over(s))
        return;
    if (s->deadline_us <= now) {
        /* What we know of ourselves must do: coordinators tell the rest. */
        if (s->state == SESSION_DISCOVERING)
            begin_coordinating(s, now);
        else
            give_up(s, now);
    } else if (s->step_us <= now) {
        step_over(s, now);
    }
}

static struct session_pair *due_pair(struct session *s, uint64_t now)
{
    struct session_pair *best = NULL;
    for (unsigned i = 0; i < s->pairs; i++) {
        struct session_pair *p = &s->pair[i];
        if (p->plan.next_us <= now && (!best || p->priority > best->priority))
            best = p;
    }
    return best;
}

static bool budget_allows(struct session *s, const struct cand *c, uint64_t now)
{
    return c->kind == CAND_PREDICTED ? budget_take_search(s->budget, now)
                                     : budget_take(s->budget, &c->addr, now);
}

/* The due pair of the highest priority whose budget allows it. */
static void next_probe(struct session *s, struct session_action *action, uint64_t now)
{
    struct session_pair *p;
    struct punch_step step;
    while (action->kind == SESSION_NOTHING && (p = due_pair(s, now)) != NULL) {
        if (!punch_due(&p->plan, &step, now) || !budget_allows(s, &p->remote, now)) {
            p->plan.next_us = UINT64_MAX; /* no more of it in this try */
            continue;
        }
        action->kind = SESSION_PROBE;
        action->index = (unsigned)(p - s->pair);
        action->addr = p->remote.addr;
        action->ttl = step.ttl;
    }
}

static void say_end(struct session *s, struct session_action *action)
{
    action->kind = SESSION_END;
    action->end = (struct session_end){.state = s->state,
                                       .phase = s->phase,
                                       .reason = s->reason,
                                       .direct = s->direct != 0,
                                       .pair = s->direct ? s->direct - 1 : 0};
    memcpy(action->end.us, s->spent_us, sizeof action->end.us);
    s->ended = true;
}

bool session_next(struct session *s, struct session_action *action, uint64_t now)
{
    *action = (struct session_action){.kind = SESSION_NOTHING};
    run_clock(s, now);
    if (s->ended)
        return false;
    if (s->told != s->state) {
        s->told = s->state;
        action->kind = SESSION_STATE;
        action->state = s->state;
    } else if (is_over(s)) {
        say_end(s, action);
    } else if (s->gather) {
        s->gather = false;
        action->kind = SESSION_GATHER;
    } else if (s->ask) {
        s->ask = false;
        action->kind = SESSION_COORDINATE;
        action->index = s->coordinator;
    } else if (s->state == SESSION_HOLE_PUNCHING) {
        next_probe(s, action, now);
    }
    return action->kind != SESSION_NOTHING;
}

uint64_t session_deadline(const struct session *s)
{
    if (is_over(s))
        return s->ended ? UINT64_MAX : 0;
    uint64_t first = s->deadline_us < s->step_us ? s->deadline_us : s->step_us;
    for (unsigned i = 0; i < s->pairs && s->state == SESSION_HOLE_PUNCHING; i++)
        first = s->pair[i].plan.next_us < first ? s->pair[i].plan.next_us : first;
    return first;
}
