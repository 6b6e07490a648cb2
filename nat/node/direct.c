/* direct.c -- from a relayed connection to a direct path, and again when that is lost (NAT.md §4).
 *
 *     PUNCH go, from a bootstrap node          addresses, a key, when to begin
 *     ADD_ADDRESS, PUNCH_ME_NOW, on the link   more addresses
 *        -> session_on_remote -> SESSION_PROBE -> punch datagrams, with low TTL at first
 *     a punch datagram comes                   answered where it came from, which is an address,
 * too an answer comes                          the link's client validates a path to there the path
 * is validated                    the link's client moves the connection there
 *
 * Both sides do the same, but only the client validates and moves. What goes wrong is tried again
 * by the session's tries, then by the next search. The relayed path stays, looked after here. */
#include "nat/node/node.h"

#include "core/addr.h"
#include "core/num.h"
#include "crypto/prim.h"
#include "nat/datagram.h"

#include <string.h>

#define SEARCH_MIN_US UINT64_C(30000000)
#define SEARCH_MAX_US UINT64_C(600000000)
#define RELAY_KEEP_US UINT64_C(50000000) /* the relay forgets a silent pair after 120 s */
#define RETRY_US      UINT64_C(2000000)
enum {
    RETRIES = 60 /* of the way that was direct before: the network may heal */
};

/* ---- where we are ---------------------------------------------------------------------------- */

/* The socket of that family; family 0 of *path: none. */
static struct aq_path_addr path_to(const struct aq_node *node, const struct aq_addr *remote)
{
    struct aq_path_addr to = {.remote = {.family = 0}};
    for (unsigned i = 0; i < node->listen_count && to.remote.family == 0; i++) {
        if (node->listening[i].family == remote->family) {
            to.remote = *remote;
            to.socket = (uint16_t)i; /* they were the loop's first */
        }
    }
    return to;
}

static bool is_any(const struct aq_addr *a)
{
    static const uint8_t zero[sizeof a->ip];
    return memcmp(a->ip, zero, sizeof zero) == 0;
}

static struct aq_path_addr path_addr(const struct aq_path_info *path)
{
    return (struct aq_path_addr){.local = path->local,
                                 .remote = path->remote,
                                 .channel = path->channel,
                                 .ifindex = path->ifindex,
                                 .socket = path->socket};
}

void direct_candidates(const struct aq_node *node, struct cand_list *list)
{
    struct aq_addr hosts[NODE_HOSTS];
    unsigned count = aq_loop_hosts(node->loop, hosts, NODE_HOSTS);
    list->count = 0;
    for (unsigned i = 0; i < node->listen_count; i++) {
        const struct aq_addr *at = &node->listening[i];
        if (!is_any(at))
            (void)cand_add(list, at, CAND_HOST);
        for (unsigned k = 0; k < count && is_any(at); k++) {
            hosts[k].port = at->port;
            if (hosts[k].family == at->family && addr_class(&hosts[k]) < ADDR_LINK_LOCAL)
                (void)cand_add(list, &hosts[k], CAND_HOST);
        }
    }
    for (unsigned i = 0; i < node->boot_count; i++) {
        const struct aq_addr *seen = &node->registrar.node[i].observed;
        if (seen->family != 0 && addr_class(seen) < ADDR_LINK_LOCAL)
            (void)cand_add(list, seen, CAND_OBSERVED);
    }
}

/* Routers between us and that bootstrap node: hosts begin with 64, 128 or 255. 0: unknown. */
static uint8_t hops_to(const struct aq_node *node, const struct node_boot *b)
{
    struct aq_path_info path[AQ_PATHS_MAX];
    unsigned n = b != NULL ? aq_conn_paths(node->ep, b->conn, path, AQ_PATHS_MAX) : 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned ttl = path[i].ttl, from = ttl <= 64 ? 64 : ttl <= 128 ? 128 : 255;
        if (path[i].active && ttl != 0)
            return from == ttl ? 1 : (uint8_t)(from - ttl); /* its own network: as one router */
    }
    return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void key_add(struct node_peer *p, uint64_t session, const uint8_t key[PUNCH_KEY_BYTES])
{
    struct punch_secret *s = &p->secrets[p->secret_count++ % NODE_SECRETS];
    s->session = session;
    memcpy(s->key, key, PUNCH_KEY_BYTES);
}

static const struct punch_secret *key_newest(const struct node_peer *p)
{
    return p->secret_count ? &p->secrets[(p->secret_count - 1) % NODE_SECRETS] : NULL;
}

static const struct punch_secret *key_find(const struct node_peer *p, uint64_t session)
{
    for (unsigned i = 0; i < NODE_SECRETS && i < p->secret_count; i++) {
        if (p->secrets[i].session == session)
            return &p->secrets[i];
    }
    return NULL;
}

/* What an answer from there must repeat. */
static uint32_t transaction_of(const struct aq_node *node, const struct punch_secret *secret,
                               const struct aq_addr *addr)
{
    uint8_t name[20 + sizeof secret->session];
    size_t size = addr_bytes(addr, true, name);
    memcpy(name + size, &secret->session, sizeof secret->session);
    return (uint32_t)prim_siphash(node->key, name, size + sizeof secret->session);
}

/* ---- searches -------------------------------------------------------------------------------- */

void direct_configure(struct aq_node *node, struct session_config *config)
{
    config->hops = hops_to(node, boot_registered(node, 0));
}

void direct_accept(struct aq_node *node, struct node_peer *p)
{
    struct session_config config;
    if (p->session != NULL)
        return;
    session_config_init(&config);
    direct_configure(node, &config);
    session_accept(session_take(node, p), &config, &node->budget, node_now(node));
    if (p->state == PEER_UP)
        session_on_relayed(p->session, node_now(node));
    node->dirty = true;
}

/* The session punches, whoever brought the two together. */
static void direct_meet(struct aq_node *node, struct node_peer *p,
                        const struct session_meeting *meeting)
{
    uint64_t now = node_now(node);
    direct_accept(node, p);
    if (p->session->state == SESSION_DISCOVERING) {
        struct cand_list own;
        direct_candidates(node, &own);
        session_on_candidates(p->session, &own, now);
    }
    session_on_coordinated(p->session, meeting, now);
    node->dirty = true;
    if (meeting->peer.family != 0)
        node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_STEP,
                                                .peer_id = p->id.bytes,
                                                .step = AQ_NODE_STEP_PUNCHING});
}

void direct_search(struct aq_node *node, struct node_peer *p)
{
    struct session_config config;
    unsigned have = registrar_registered(&node->registrar);
    p->search_us = AQ_NEVER;
    if (p->session != NULL || have == 0)
        return;
    session_config_init(&config);
    config.coordinators = have < SESSION_COORDINATORS ? have : SESSION_COORDINATORS;
    direct_configure(node, &config);
    session_init(session_take(node, p), &config, &node->budget, node_now(node));
    session_on_relayed(p->session, node_now(node));
    p->round++;
    node->dirty = true;
}

void direct_ended(struct aq_node *node, struct node_peer *p, const struct session_end *end)
{
    const struct link *l = p->link;
    if (p->state != PEER_UP || end->direct || l == NULL || !l->relayed || !l->client)
        return;
    p->search_wait_us = p->search_wait_us == 0 ? SEARCH_MIN_US : p->search_wait_us * 2;
    if (p->search_wait_us > SEARCH_MAX_US)
        p->search_wait_us = SEARCH_MAX_US;
    p->search_us = node_now(node) + p->search_wait_us;
}

/* ---- PUNCH messages -------------------------------------------------------------------------- */

void direct_ask(struct aq_node *node, struct node_peer *p, struct node_boot *b)
{
    rng_fill(&node->rng, p->request, sizeof p->request);
    struct message m = message_about(MESSAGE_PUNCH, STEP_REQUEST, p->request);
    m.target = p->id;
    message_set(&m, FIELD_TARGET);
    p->asked = b;
    boot_say(node, b, &m);
}

static void on_ask(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    struct message answer = message_about(MESSAGE_PUNCH, STEP_ANSWER, m->request_id);
    struct node_peer *p = peer_find(node, &m->peer_id);
    /* Whoever is here, or was let in by the CONNECT before, is not asked about again. */
    if ((p != NULL && p->state != PEER_WAITING) || node_allows(node, &m->peer_id))
        p = peer_coming(node, &m->peer_id);
    else
        p = NULL;
    answer.reason = p != NULL ? NAT_ACCEPTED : NAT_REFUSED;
    message_set(&answer, FIELD_REASON);
    if (p != NULL) {
        memcpy(p->consented, m->request_id, sizeof p->consented);
        direct_accept(node, p);
    }
    boot_say(node, b, &answer);
}

static void on_go(struct aq_node *node, const struct message *m)
{
    bool ours = peer_id_equal(&m->peer_id, &node->self);
    struct node_peer *p = peer_find(node, ours ? &m->target : &m->peer_id);
    const uint8_t *expected = p == NULL ? NULL : ours ? p->request : p->consented;
    struct session_meeting meeting = {
        .own = m->observed, .peer = m->peer_address, .delay_us = (uint64_t)m->delay_ms * 1000};
    if (expected == NULL || memcmp(expected, m->request_id, REQUEST_ID_SIZE) != 0)
        return;
    key_add(p, load_be64(m->request_id), m->punch_key);
    direct_meet(node, p, &meeting);
}

void direct_on_message(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    if (m->step == STEP_ASK) {
        on_ask(node, b, m);
    } else if (m->step == STEP_GO) {
        on_go(node, m);
    } else if (m->step == STEP_REFUSED) {
        for (unsigned i = 0; i < node->peer_max; i++) {
            struct node_peer *p = &node->peers[i];
            /* While it is being dialled, the relay's answer decides. */
            if (p->state == PEER_UP && p->session != NULL && p->asked == b
                && memcmp(p->request, m->request_id, REQUEST_ID_SIZE) == 0)
                session_on_refused(p->session, m->reason, node_now(node));
        }
    }
}

/* ---- punch datagrams ------------------------------------------------------------------------- */

static void say_punch(struct aq_node *node, const struct punch_secret *secret,
                      const struct punch *punch, const struct aq_path_addr *to, uint8_t ttl)
{
    uint8_t data[PUNCH_SIZE];
    punch_write(punch, secret->key, data);
    if (to->remote.family != 0 && aq_loop_send_raw(node->loop, to, ttl, data, sizeof data))
        node->stats.punch_out++;
}

void direct_probe(struct aq_node *node, struct node_peer *p, const struct session_action *action)
{
    const struct punch_secret *secret = key_newest(p);
    struct aq_path_addr to = path_to(node, &action->addr);
    if (secret == NULL)
        return;
    struct punch punch = {PUNCH_OPEN, secret->session, transaction_of(node, secret, &action->addr)};
    say_punch(node, secret, &punch, &to, action->ttl);
}

/* A path to there is validated, by the client, as soon as that is allowed. */
static void try_path(struct aq_node *node, struct node_peer *p, const struct aq_addr *addr,
                     unsigned flags)
{
    const struct link *l = p->link;
    struct aq_path_addr to = path_to(node, addr);
    if (l == NULL || l->state != LINK_UP || !l->client || !l->confirmed)
        return;
    if (to.remote.family != 0)
        (void)aq_conn_probe_path(node->ep, l->conn, &to, flags, node_now(node));
}

static void on_open(struct aq_node *node, struct node_peer *p, const struct aq_datagram *d,
                    const struct punch_secret *secret, struct punch punch)
{
    struct aq_path_addr to = {.local = d->local, .remote = d->remote, .socket = d->socket};
    struct cand remote = {d->remote, CAND_REFLEXIVE};
    punch.kind = PUNCH_REPLY;
    /* PROTOCOL §5: whoever holds the key may have written any address as its own. */
    if (budget_take(&node->budget, &d->remote, node_now(node)))
        say_punch(node, secret, &punch, &to, 0);
    /* Its NAT is open towards us, and now ours towards it: it is probed at once. */
    if (p->session != NULL)
        (void)session_on_remote(p->session, &remote, 0, node_now(node));
}

static void on_reply(struct aq_node *node, struct node_peer *p, const struct aq_datagram *d,
                     const struct punch_secret *secret, const struct punch *punch)
{
    if (punch->transaction != transaction_of(node, secret, &d->remote)) {
        node->stats.drop_punch++;
        return;
    }
    if (p->session != NULL)
        session_on_answer(p->session, &d->remote, node_now(node));
    try_path(node, p, &d->remote, 0);
}

void direct_on_punch(struct aq_node *node, const struct aq_datagram *d)
{
    struct punch punch;
    const struct punch_secret *secret = NULL;
    for (unsigned i = 0; i < node->peer_max && d->size == PUNCH_SIZE; i++) {
        struct node_peer *p = &node->peers[i];
        if (p->state != PEER_FREE)
            secret = key_find(p, punch_session(d->data));
        if (secret == NULL || !punch_read(d->data, d->size, secret->key, &punch))
            continue;
        node->stats.punch_in++;
        node->dirty = true;
        if (punch.kind == PUNCH_OPEN)
            on_open(node, p, d, secret, punch);
        else
            on_reply(node, p, d, secret, &punch);
        return;
    }
    node->stats.drop_punch++;
}

/* ---- the link -------------------------------------------------------------------------------- */

static void on_confirmed(struct aq_node *node, struct node_peer *p, struct link *l)
{
    static const uint8_t context[] = "punch";
    uint8_t out[32];
    struct cand_list own;
    l->confirmed = true;
    if (!l->relayed)
        return;
    /* Below what a coordinator gave, which both have, too, and sooner. */
    if (p->secret_count == 0
        && aq_conn_export(node->ep, l->conn, context, sizeof context, out) == AQ_OK)
        key_add(p, load_be64(out + PUNCH_KEY_BYTES), out);
    direct_candidates(node, &own);
    for (unsigned i = 0; i < own.count && !l->client; i++) {
        uint64_t seq;
        (void)aq_nat_add_address(node->ep, l->conn, &own.v[i].addr, &seq, node_now(node));
    }
    for (unsigned i = 0; p->session != NULL && i < p->session->pairs; i++) {
        if (p->session->pair[i].answered)
            try_path(node, p, &p->session->pair[i].remote.addr, 0);
    }
}

/* Our own address of a pair with that one: like with like. */
static const struct cand *own_for(const struct node_peer *p, const struct aq_addr *theirs)
{
    const struct cand *best = NULL;
    for (unsigned i = 0; i < p->session->own.count; i++) {
        const struct cand *c = &p->session->own.v[i];
        bool alike = addr_class(&c->addr) == addr_class(theirs);
        if (c->addr.family == theirs->family
            && (best == NULL || (alike && addr_class(&best->addr) != addr_class(theirs))))
            best = c;
    }
    return best;
}

static void on_news(struct aq_node *node, struct node_peer *p, struct link *l,
                    const struct aq_nat_news *news)
{
    const struct session_meeting unknown = {.delay_us = 0};
    struct cand remote = {news->addr, CAND_HOST};
    struct aq_conn_stats stats = {.size = sizeof stats};
    uint64_t open_us = 0;
    if (!l->relayed || (news->kind != AQ_NAT_ADDED && news->kind != AQ_NAT_PUNCH))
        return;
    direct_meet(node, p, &unknown);
    if (p->session == NULL) /* the application, told of it, has given the peer up */
        return;
    /* The server hears of it half a round trip later; the client has opened when it hears. */
    if (l->client && aq_conn_stats(node->ep, l->conn, &stats) == AQ_OK)
        open_us = stats.rtt_us / 2;
    if (addr_class(&news->addr) == ADDR_PUBLIC)
        remote.kind = CAND_OBSERVED;
    enum cand_verdict verdict = session_on_remote(p->session, &remote, open_us, node_now(node));
    const struct cand *own = own_for(p, &news->addr);
    if (l->client && verdict == CAND_OK && own != NULL)
        (void)aq_nat_punch(node->ep, l->conn, p->round, news->seq, &own->addr, node_now(node));
}

/* The best of the validated paths that lead there directly; NULL: none. */
static const struct aq_path_info *best_of(const struct aq_path_info *path, unsigned count)
{
    const struct aq_path_info *best = NULL;
    for (unsigned i = 0; i < count; i++) {
        if (path[i].channel == 0 && path[i].validated
            && (best == NULL || path[i].rtt_us < best->rtt_us))
            best = &path[i];
    }
    return best;
}

static void tell_path(struct aq_node *node, struct node_peer *p, struct link *l)
{
    l->relayed = !l->relayed;
    node->stats.moved_direct += !l->relayed;
    node->stats.moved_relayed += l->relayed;
    p->search_wait_us = 0;
    p->search_us = l->relayed && l->client ? node_now(node) + NODE_BACKOFF_MIN_US : AQ_NEVER;
    p->retries = l->relayed && l->client ? RETRIES : 0;
    p->retry_us = node_now(node) + RETRY_US;
    l->keep_us = l->relayed || !l->client ? AQ_NEVER : node_now(node) + RELAY_KEEP_US;
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_PATH,
                                            .peer_id = p->id.bytes,
                                            .conn = l->conn,
                                            .relayed = l->relayed,
                                            .incoming = !l->client});
}

/* One relayed path that works is always there: as the way back, or in use. */
static void keep_way(struct aq_node *node, struct link *l, const struct aq_path_info *path,
                     unsigned count, const struct aq_path_info *active)
{
    const struct aq_path_info *open = NULL;
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        any |= path[i].channel != 0;
        if (path[i].channel != 0 && path[i].validated && relay_is_open(l, path[i].channel))
            open = &path[i];
    }
    if (open != NULL) {
        l->again_us = AQ_NEVER;
        l->again_wait_us = 0;
        bool gone = active->channel != 0 ? !relay_is_open(l, active->channel) : l->stale;
        if (l->client && gone) {
            struct aq_path_addr to = path_addr(open), old = path_addr(active);
            int result = aq_conn_migrate(node->ep, l->conn, &to, node_now(node));
            l->stale = false;
            /* It counts as validated still: the two would take turns for ever. */
            if (result == AQ_OK && old.channel == 0)
                (void)aq_conn_drop_path(node->ep, l->conn, &old, node_now(node));
        }
    } else if (l->client && !any && l->again_us == AQ_NEVER) {
        l->again_us = node_now(node) + NODE_BACKOFF_MIN_US;
    }
}

static void on_path(struct aq_node *node, struct node_peer *p, struct link *l, uint64_t what)
{
    struct aq_path_info path[AQ_PATHS_MAX];
    const struct aq_path_info *active = NULL;
    unsigned count = aq_conn_paths(node->ep, l->conn, path, AQ_PATHS_MAX);
    for (unsigned i = 0; i < count; i++)
        active = path[i].active ? &path[i] : active;
    const struct aq_path_info *best = best_of(path, count);
    if (what & AQ_PATH_PROBE_FAILED && p->session != NULL) {
        for (unsigned i = 0; i < p->session->pairs; i++)
            session_on_path_failed(p->session, &p->session->pair[i].remote.addr);
    }
    if (l->client && active != NULL && active->channel != 0 && best != NULL) {
        struct aq_path_addr to = path_addr(best);
        l->stale = false;
        if (aq_conn_migrate(node->ep, l->conn, &to, node_now(node)) == AQ_OK)
            active = best;
    }
    if (active != NULL && what & AQ_PATH_SILENT) {
        relay_silent(node, l, active->channel);
        l->again_us = node_now(node);
    }
    if (active != NULL)
        keep_way(node, l, path, count, active);
    if (active == NULL || (active->channel != 0) == l->relayed)
        return;
    if (l->relayed && p->session != NULL)
        session_on_direct(p->session, &active->remote, node_now(node));
    if (l->relayed)
        p->direct = active->remote;
    tell_path(node, p, l);
}

void direct_event(struct aq_node *node, struct link *l, const struct aq_event *event)
{
    struct node_peer *p = peer_of_link(node, l);
    struct aq_nat_news news;
    node->dirty = true;
    if (p == NULL || l->state != LINK_UP)
        return;
    if (event->kind == AQ_EVENT_CONFIRMED)
        on_confirmed(node, p, l);
    else if (event->kind == AQ_EVENT_PATH)
        on_path(node, p, l, event->value);
    while (event->kind == AQ_EVENT_NAT && aq_nat_next(node->ep, l->conn, &news))
        on_news(node, p, l, &news);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The way back is looked at now and then, or the relay would forget it. */
static void keep_relay(struct aq_node *node, struct link *l, uint64_t now)
{
    struct aq_path_info path[AQ_PATHS_MAX];
    unsigned count = aq_conn_paths(node->ep, l->conn, path, AQ_PATHS_MAX);
    l->keep_us = now + RELAY_KEEP_US;
    for (unsigned i = 0; i < count; i++) {
        struct aq_path_addr to = path_addr(&path[i]);
        if (path[i].channel != 0)
            (void)aq_conn_probe_path(node->ep, l->conn, &to, AQ_PROBE_SMALL, now);
    }
}

void direct_pump(struct aq_node *node, struct node_peer *p, uint64_t now)
{
    if (p->state != PEER_UP || p->link == NULL)
        return;
    if (p->search_us <= now)
        direct_search(node, p);
    if (p->link->keep_us <= now)
        keep_relay(node, p->link, now);
    if (p->link->again_us <= now)
        relay_again(node, p->link, now);
    if (p->retries > 0 && p->retry_us <= now) {
        p->retries--;
        p->retry_us = now + RETRY_US;
        try_path(node, p, &p->direct, AQ_PROBE_SMALL);
    }
}

uint64_t direct_deadline(const struct node_peer *p)
{
    if (p->state != PEER_UP || p->link == NULL)
        return AQ_NEVER;
    uint64_t first = min_u64(p->search_us, p->retries ? p->retry_us : AQ_NEVER);
    return min_u64(first, min_u64(p->link->keep_us, p->link->again_us));
}
