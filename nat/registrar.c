/* registrar.c -- a peer's registrations: one machine for each bootstrap node, and their sum.
 *
 *     WAITING --dial--> DIALLING --connected--> REGISTERING --accepted--> REGISTERED
 *        ^                 |                     |   ^  |                   |    ^
 *        |                 |        work wanted  |   |  |      half of the  |    | accepted
 *        |                 |                     v   |  |      lease        v    |
 *        |                 |                   SOLVING  |                  RENEWING
 *        +-----------------+-- failed, refused, 5 s ----+-------------------+
 *        (1 s, doubling to 60 s, half of it jitter, not before retry_after)
 *
 * A node that will never let us in (another version, banned, another identity, its policy) is
 * asked again only after the longest backoff: its mind may change, but nobody waits for it.
 *
 * Called by the peer node (its host dials and writes) and the simulator. */
#include "nat/registrar.h"

#include <assert.h>
#include <string.h>

void registrar_config_init(struct registrar_config *config)
{
    *config = (struct registrar_config){
        .lease_s = 120,
        .capabilities = CAPABLE_RELAY | CAPABLE_PUNCH,
        .try_us = 5000000, /* PROTOCOL §3: 5 s each */
        .backoff_min_us = 1000000,
        .backoff_max_us = 60000000,
        .hashes_a_turn = 2000,
        .pow_bits_max = 24,
    };
}

const char *registrar_reason_name(unsigned reason)
{
    static const char *const names[] = {"none",          "unreachable",     "timeout",
                                        "wrong_pin",     "connection_lost", "no_address",
                                        "too_much_work", "same_node"};
    if (reason < FAILURE_NONE)
        return nat_reason_name(reason);
    return reason - FAILURE_NONE < sizeof names / sizeof *names ? names[reason - FAILURE_NONE]
                                                                : "unknown";
}

/* ---- one node -------------------------------------------------------------------------------- */

static void set_state(struct registrar_node *n, enum registrar_state state, uint64_t deadline_us)
{
    /* From row to column. */
    static const uint8_t may[NODE_STATES] = {
        [NODE_WAITING] = 1 << NODE_DIALLING | 1 << NODE_STOPPED,
        [NODE_DIALLING] = 1 << NODE_REGISTERING | 1 << NODE_WAITING | 1 << NODE_STOPPED,
        [NODE_REGISTERING] =
            1 << NODE_SOLVING | 1 << NODE_REGISTERED | 1 << NODE_WAITING | 1 << NODE_STOPPED,
        [NODE_SOLVING] = 1 << NODE_REGISTERING | 1 << NODE_WAITING | 1 << NODE_STOPPED,
        [NODE_REGISTERED] = 1 << NODE_RENEWING | 1 << NODE_WAITING | 1 << NODE_STOPPED,
        [NODE_RENEWING] =
            1 << NODE_SOLVING | 1 << NODE_REGISTERED | 1 << NODE_WAITING | 1 << NODE_STOPPED,
    };
    assert(may[n->state] >> state & 1);
    n->state = state;
    n->deadline_us = deadline_us;
}

/* Half of it is sure, half is chance: peers of a node that has restarted do not come as one. */
static uint64_t next_backoff(struct registrar *r, struct registrar_node *n)
{
    const struct registrar_config *c = &r->config;
    uint64_t wait = n->backoff_us;
    n->backoff_us = wait * 2 < c->backoff_max_us ? wait * 2 : c->backoff_max_us;
    return wait / 2 + rng_below(r->rng, wait / 2 + 1);
}

static void wait_and_retry(struct registrar *r, struct registrar_node *n, unsigned reason,
                           uint64_t at_least_us, uint64_t now)
{
    uint64_t wait = next_backoff(r, n);
    n->reason = reason;
    n->lease_end_us = 0;
    n->send = n->dial = n->solved = false;
    set_state(n, NODE_WAITING, now + (wait > at_least_us ? wait : at_least_us));
}

static void begin_registering(struct registrar *r, struct registrar_node *n, uint64_t now)
{
    enum registrar_state next = n->state == NODE_REGISTERED ? NODE_RENEWING : NODE_REGISTERING;
    if (n->state != NODE_SOLVING) /* the 5 s are for all of it */
        n->try_end_us = now + r->config.try_us;
    n->send = true;
    set_state(n, next, n->try_end_us);
}

void registrar_connected(struct registrar *r, unsigned node, uint64_t now)
{
    struct registrar_node *n = &r->node[node];
    if (n->state != NODE_DIALLING)
        return; /* it was given up meanwhile: hang_up is on its way */
    uint64_t end_us = n->try_end_us;
    begin_registering(r, n, now);
    n->deadline_us = n->try_end_us = end_us;
}

void registrar_failed(struct registrar *r, unsigned node, enum registrar_failure why, uint64_t now)
{
    struct registrar_node *n = &r->node[node];
    n->hang_up = false;
    bool calm = why == FAILURE_WRONG_PIN || why == FAILURE_SAME_NODE;
    if (n->state != NODE_WAITING && n->state != NODE_STOPPED)
        wait_and_retry(r, n, why, calm ? r->config.backoff_max_us : 0, now);
}

void registrar_again(struct registrar *r, unsigned node, uint64_t now)
{
    struct registrar_node *n = &r->node[node];
    if (n->state != NODE_WAITING)
        return;
    n->backoff_us = r->config.backoff_min_us;
    n->deadline_us = now;
}

static void accepted(struct registrar_node *n, const struct message *m, uint64_t backoff_us,
                     uint64_t now)
{
    uint64_t lease_us = (uint64_t)m->lease_s * 1000000;
    n->reason = NAT_ACCEPTED;
    n->backoff_us = backoff_us;
    n->solved = false;
    n->lease_end_us = now + lease_us;
    set_state(n, NODE_REGISTERED, now + lease_us / 2); /* PROTOCOL §3: renewed at half the lease */
}

/* Reasons that time alone does not cure. */
static bool is_final(unsigned reason)
{
    return reason == NAT_VERSION || reason == NAT_IDENTITY_MISMATCH || reason == NAT_BANNED
           || reason == NAT_POLICY || reason == NAT_MALFORMED;
}

static void work(struct registrar *r, struct registrar_node *n, const struct message *m,
                 uint64_t now)
{
    if (m->pow_bits > r->config.pow_bits_max || !message_has(m, FIELD_POW_CHALLENGE)) {
        n->hang_up = true;
        wait_and_retry(r, n, FAILURE_TOO_MUCH_WORK, r->config.backoff_max_us, now);
        return;
    }
    memcpy(n->challenge, m->pow_challenge, CHALLENGE_SIZE);
    n->pow_bits = m->pow_bits;
    n->pow_at = rng_u64(r->rng);
    n->reason = m->reason;
    n->solved = false;
    set_state(n, NODE_SOLVING, now); /* a turn of it at once */
}

void registrar_recv(struct registrar *r, unsigned node, const struct message *m, uint64_t now)
{
    struct registrar_node *n = &r->node[node];
    /* PROTOCOL §3: a node that ends says so unasked. */
    bool bye = n->state == NODE_REGISTERED && m->reason == NAT_SHUTTING_DOWN;
    if (m->type != MESSAGE_REGISTERED
        || (n->state != NODE_REGISTERING && n->state != NODE_RENEWING && !bye))
        return;
    if (message_has(m, FIELD_OBSERVED))
        n->observed = m->observed;
    uint64_t wait_us = (uint64_t)m->retry_after_ms * 1000;
    if (m->reason == NAT_ACCEPTED && m->lease_s > 0) {
        accepted(n, m, r->config.backoff_min_us, now);
    } else if (m->reason == NAT_POW_REQUIRED || (m->reason == NAT_POW_INVALID && n->solved)) {
        work(r, n, m, now);
    } else {
        if (is_final(m->reason) && wait_us < r->config.backoff_max_us)
            wait_us = r->config.backoff_max_us;
        n->hang_up = true; /* the next try is a new connection: the node may be another by then */
        wait_and_retry(r, n, m->reason == NAT_ACCEPTED ? NAT_MALFORMED : m->reason, wait_us, now);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void solve(struct registrar *r, struct registrar_node *n, uint64_t now)
{
    if (now >= n->try_end_us) {
        n->hang_up = true;
        wait_and_retry(r, n, FAILURE_TIMEOUT, 0, now);
    } else if (pow_search(n->challenge, &r->config.self, n->pow_bits, r->config.hashes_a_turn,
                          &n->pow_at)) {
        n->solved = true;
        begin_registering(r, n, now);
    } else {
        n->deadline_us = now; /* the next turn goes on */
    }
}

static void node_tick(struct registrar *r, struct registrar_node *n, uint64_t now)
{
    switch (n->state) {
    case NODE_WAITING:
        n->try_end_us = now + r->config.try_us;
        n->dial = true;
        set_state(n, NODE_DIALLING, n->try_end_us);
        break;
    case NODE_DIALLING:
    case NODE_REGISTERING:
    case NODE_RENEWING:
        n->hang_up = true;
        wait_and_retry(r, n, FAILURE_TIMEOUT, 0, now);
        break;
    case NODE_SOLVING: solve(r, n, now); break;
    case NODE_REGISTERED: begin_registering(r, n, now); break;
    case NODE_STOPPED:
    case NODE_STATES: break;
    }
}

void registrar_tick(struct registrar *r, uint64_t now)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->node[i].deadline_us <= now)
            node_tick(r, &r->node[i], now);
    }
}

uint64_t registrar_deadline(const struct registrar *r)
{
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < r->count; i++)
        first = r->node[i].deadline_us < first ? r->node[i].deadline_us : first;
    return first;
}

/* ---- the whole ------------------------------------------------------------------------------- */

void registrar_init(struct registrar *r, const struct registrar_config *config, unsigned count,
                    struct rng *rng, uint64_t now)
{
    assert(count > 0 && count <= REGISTRAR_NODES && config->backoff_min_us > 0);
    *r = (struct registrar){.config = *config, .rng = rng, .count = count};
    for (unsigned i = 0; i < count; i++)
        r->node[i] = (struct registrar_node){.state = NODE_WAITING,
                                             .reason = FAILURE_NONE,
                                             .deadline_us = now,
                                             .backoff_us = config->backoff_min_us};
}

void registrar_set_hints(struct registrar *r, const struct message_hint *hints, unsigned count,
                         uint64_t now)
{
    assert(count <= MESSAGE_HINTS);
    if (count > 0)
        memcpy(r->hints, hints, count * sizeof *hints);
    r->hint_count = (uint8_t)count;
    for (unsigned i = 0; i < r->count; i++) {
        if (r->node[i].state == NODE_REGISTERED)
            r->node[i].deadline_us = now;
    }
}

void registrar_hurry(struct registrar *r, uint64_t now)
{
    for (unsigned i = 0; i < r->count; i++) {
        struct registrar_node *n = &r->node[i];
        bool unreached = n->reason == FAILURE_UNREACHABLE || n->reason == FAILURE_TIMEOUT
                         || n->reason == FAILURE_LOST;
        if (n->state != NODE_WAITING || !unreached)
            continue;
        /* Not at once: a network that comes and goes would have us dial each time. */
        n->backoff_us = r->config.backoff_min_us;
        if (n->deadline_us > now + n->backoff_us)
            n->deadline_us = now + n->backoff_us;
    }
}

void registrar_stop(struct registrar *r, uint64_t now)
{
    (void)now;
    r->stopping = true;
    for (unsigned i = 0; i < r->count; i++) {
        struct registrar_node *n = &r->node[i];
        bool there = n->state >= NODE_REGISTERING && n->state <= NODE_RENEWING;
        if (n->state == NODE_STOPPED)
            continue;
        n->send = there;
        n->hang_up |= there || (n->state == NODE_DIALLING && !n->dial);
        n->dial = n->solved = false;
        n->lease_end_us = 0;
        set_state(n, NODE_STOPPED, UINT64_MAX);
    }
}

unsigned registrar_registered(const struct registrar *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->count; i++)
        count += r->node[i].lease_end_us != 0;
    return count;
}

unsigned registrar_required(const struct registrar *r)
{
    return (r->count + 1) / 2; /* PROTOCOL §3 */
}

uint64_t registrar_wait(const struct registrar *r, uint64_t now)
{
    uint64_t first = UINT64_MAX;
    for (unsigned i = 0; i < r->count; i++) {
        const struct registrar_node *n = &r->node[i];
        uint64_t at = n->state == NODE_WAITING ? n->deadline_us : now + r->config.backoff_min_us;
        if (n->reason == NAT_RATE_LIMITED && at < first)
            first = at;
    }
    if (first == UINT64_MAX)
        return 0;
    return first > now ? first - now : 1;
}

/* PROTOCOL §3: FULL all, MAJORITY the required number, PARTIAL at least one, NONE. */
static enum registrar_result result_of(const struct registrar *r)
{
    unsigned have = registrar_registered(r);
    if (have == r->count)
        return REGISTERED_FULL;
    if (have >= registrar_required(r))
        return REGISTERED_MAJORITY;
    return have > 0 ? REGISTERED_PARTIAL : REGISTERED_NONE;
}

/* The first result waits for the required number, or until every node has been tried. */
static bool result_is_due(struct registrar *r)
{
    bool all = true;
    for (unsigned i = 0; i < r->count; i++)
        all &= r->node[i].reason != FAILURE_NONE && r->node[i].state != NODE_SOLVING
               && !(r->node[i].state == NODE_REGISTERING && r->node[i].solved);
    r->asked |= all || registrar_registered(r) >= registrar_required(r);
    return r->asked && result_of(r) != r->result && !r->stopping;
}

static size_t say_register(const struct registrar *r, const struct registrar_node *n, uint8_t *out)
{
    struct message m = {.type = MESSAGE_REGISTER,
                        .version = MESSAGE_VERSION,
                        .peer_id = r->config.self,
                        .lease_s = r->stopping ? 0 : r->config.lease_s,
                        .generation = r->config.generation,
                        .capabilities = r->config.capabilities,
                        .hint_count = r->hint_count};
    static const enum message_field fields[] = {FIELD_VERSION, FIELD_PEER_ID, FIELD_LEASE,
                                                FIELD_GENERATION, FIELD_CAPABILITIES};
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        message_set(&m, fields[i]);
    if (r->hint_count) {
        memcpy(m.hints, r->hints, sizeof m.hints);
        message_set(&m, FIELD_HINT);
    }
    if (n->solved) {
        memcpy(m.pow_challenge, n->challenge, CHALLENGE_SIZE);
        m.pow_solution = n->pow_at;
        message_set(&m, FIELD_POW_CHALLENGE);
        message_set(&m, FIELD_POW_SOLUTION);
    }
    return message_encode(&m, out, MESSAGE_MAX);
}

/* One flag of one node becomes an action; a goodbye is said before the line is cut. */
static enum registrar_action_kind take_flag(struct registrar_node *n)
{
    if (n->send) {
        n->send = false;
        return REGISTRAR_SEND;
    }
    if (n->hang_up) {
        n->hang_up = false;
        return REGISTRAR_CLOSE;
    }
    if (n->dial) {
        n->dial = false;
        return REGISTRAR_DIAL;
    }
    return REGISTRAR_NOTHING;
}

bool registrar_next(struct registrar *r, struct registrar_action *action, uint64_t now)
{
    registrar_tick(r, now);
    for (unsigned i = 0; i < r->count; i++) {
        action->kind = take_flag(&r->node[i]);
        action->node = i;
        if (action->kind == REGISTRAR_SEND)
            action->size = say_register(r, &r->node[i], action->data);
        if (action->kind != REGISTRAR_NOTHING)
            return true;
    }
    if (!result_is_due(r))
        return false;
    action->kind = REGISTRAR_RESULT;
    action->result = r->result = result_of(r);
    return true;
}
