/* migrate.c -- how a connection moves from one path to another (RFC 9000 §8.2, §9).
 *
 *     server  a packet from an unknown address makes a path, which is validated; one that is more
 *             than a probe, with the highest number so far, moves the connection there (§9.3)
 *     client  aq_conn_migrate and the server's preferred address make a path with an id of its own;
 *             when it is validated the connection moves (§9.2, §9.6)
 *
 * A path that the connection has left stays for a while, for what is still under way, and as the
 * place to return to when the new one fails (§9.3.2). path.c knows how a single path is validated,
 * paths.c keeps their table; here is what follows for the connection. Called by recv.c, apply.c,
 * conn.c, fill.c and the API. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/num.h"

enum {
    /* SECURITY.md row 14: a token bucket of new paths. A NAT that rebinds ten times a second is
     * followed; one that does so with every packet as often as the bucket allows, while the data
     * goes on. */
    OPEN_GAP_US = 50000,
    OPEN_BURST_US = 400000,
    FAILED_SPANS = 5,
    MTU_TRIES = 3
};

/* ---- moving ---- */

/* A path that is left ends after a while, unless it is kept. */
static void paths_linger(struct conn *c, struct path *p, uint64_t now)
{
    if (!p->kept)
        p->due_us = now + paths_check_span(c);
}

/* Everything but probes goes to this path from now on. what: AQ_PATH_ bits that tell of it. */
static void paths_move(struct conn *c, struct path *p, uint8_t what, uint64_t now)
{
    struct path *old = conn_path(c);
    p->wanted = false;
    if (p == old)
        return;
    /* RFC 9000 §9.4: the congestion controller and the RTT begin anew, unless only the port of the
     * peer is another. */
    if (path_same_network(p, old))
        path_take_over(p, old);
    c->active = p->index;
    c->pto_count = 0;
    cid_peer_use(&c->peer_cids, p->cid_seq);
    p->due_us = path_is_checked(p) ? p->due_us : AQ_NEVER;
    if (p->state != PATH_VALID)
        paths_check(c, p, now);
    if (natframes_traverses(c)) {
        /* PROTOCOL §1: the relay carries on when all else fails. */
        old->kept |= old->channel != 0;
        c->nat->moved_us = now;
    }
    trace_path(&c->tracer, p->index, p->state, now);
    paths_news(c, what);
    conn_wake(c);
}

/* Leaves the path in use for another one. RFC 9000 §21.5.3: only when a response has come, or the
 * peer itself is there already. */
static void paths_migrate(struct conn *c, struct path *p, uint64_t now)
{
    struct path *old = conn_path(c);
    if (p == old)
        return;
    c->at_preferred |= !c->server && !addr_equal(&p->remote, &old->remote);
    paths_move(c, p, c->server ? AQ_PATH_PEER_MOVED : AQ_PATH_MOVED, now);
    if (c->server) {
        /* RFC 9000 §9.3.3: the path before is validated once more: if the peer is still there, its
         * answer brings the connection back. */
        paths_check(c, old, now);
    } else {
        c->ping_due = true; /* RFC 9000 §9.2: more than a probe tells the server */
        paths_linger(c, old, now);
    }
    paths_settled(c);
}

/* ---- a dead direct path ---- */

static struct path *paths_relayed(const struct conn *c)
{
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i] && c->path[i]->channel && c->path[i]->state == PATH_VALID)
            return c->path[i];
    }
    return NULL;
}

/* From a direct path to a relayed one. The direct one is looked at again: its answer, and the
 * application, may bring the connection back. */
static void paths_fall_back(struct conn *c, struct path *relayed, uint64_t now)
{
    struct path *old = conn_path(c);
    paths_move(c, relayed, AQ_PATH_MOVED | AQ_PATH_FELL_BACK, now);
    old->kept = old->dead = true;
    old->due_us = AQ_NEVER;
    paths_check(c, old, now);
    c->ping_due = true; /* more than a probe tells the peer */
    paths_settled(c);
}

void paths_on_pto(struct conn *c, uint64_t now)
{
    enum {
        PTOS = 2
    };
    if (c->pto_count < PTOS || !natframes_traverses(c))
        return;
    struct path *relayed = conn_path(c)->channel ? NULL : paths_relayed(c);
    if (relayed)
        paths_fall_back(c, relayed, now);
    else if (c->pto_count == PTOS)
        paths_news(c, AQ_PATH_SILENT);
}

/* Client: whether the server has left the direct path for the relayed one that its newest packet
 * came on. It has if it was on the direct one before, or if it could have followed us there long
 * ago; else it has only not followed us yet. To a direct path the client is never led: that is its
 * own to choose, so the two cannot chase each other. */
static bool paths_server_fell_back(const struct conn *c, const struct path *p, uint8_t told_before,
                                   uint64_t now)
{
    return p->channel && p->state == PATH_VALID && !conn_path(c)->channel
           && (told_before == c->active || now > c->nat->moved_us + paths_check_span(c));
}

/* ---- receiving ---- */

/* Whether another address of ours is used on it: the peer came to a preferred address. */
static bool own_address_differs(const struct path *a, const struct path *b)
{
    return a->socket != b->socket || a->channel != b->channel
           || !addr_same_ip(&a->local, &b->local);
}

/* The id to send to on a path that the peer made. RFC 9000 §9.5: one not used elsewhere, unless
 * the peer's id shows that it knows nothing of the change, and we send from the same address. */
static bool paths_choose_cid(const struct conn *c, const struct path *p, bool *shared,
                             uint32_t *seq)
{
    *shared = false;
    for (unsigned i = 0; i < PATHS; i++) {
        const struct path *other = c->path[i];
        if (other && other->own_seq == p->own_seq && !own_address_differs(p, other)) {
            *shared = true;
            *seq = other->cid_seq;
        }
    }
    return *shared || cid_peer_has_spare(&c->peer_cids);
}

bool paths_may_open(const struct conn *c)
{
    /* RFC 9000 §9: no address changes before the handshake is confirmed, and a client hears nothing
     * from an unknown address of the server, which probes paths where NAT traversal was agreed on.
     */
    return (c->server || natframes_traverses(c)) && c->state == CONN_CONFIRMED;
}

int paths_open(struct conn *c, const struct aq_datagram *d, uint64_t now)
{
    struct path at = {.local = d->local,
                      .remote = d->remote,
                      .channel = d->channel,
                      .ifindex = d->ifindex,
                      .socket = d->socket,
                      .own_seq = c->used_seq};
    bool shared;
    assert(paths_may_open(c));
    /* RFC 9000 §9.3: without an id nothing can be sent there. */
    if (c->open_us > now + OPEN_BURST_US || !paths_choose_cid(c, &at, &shared, &at.cid_seq))
        return PATH_NONE;
    struct path *p = paths_make(c, false, now);
    if (!p)
        return PATH_NONE;
    if (!shared)
        cid_peer_take(&c->peer_cids, &at.cid_seq);
    c->open_us = (c->open_us > now ? c->open_us : now) + OPEN_GAP_US;
    paths_put(c, p, &at);
    paths_check(c, p, now); /* RFC 9000 §9.3, §9.6.3 */
    paths_settled(c);
    return p->index;
}

/* The peer's newest packet came on another path than ours. */
static void paths_follow(struct conn *c, struct path *p, uint8_t told_before, uint64_t now)
{
    if (!c->server) {
        if (paths_server_fell_back(c, p, told_before, now))
            paths_fall_back(c, p, now);
        return;
    }
    if (p->state == PATH_FAILED || p->dead) /* it is there after all */
        paths_check(c, p, now);
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i])
            c->path[i]->wanted = false;
    }
    /* RFC 9000 §9.6.2: to another address of ours only when the path is validated; to one that we
     * have left as dead only when what we send there comes through again. */
    if ((own_address_differs(p, conn_path(c)) && p->state != PATH_VALID) || p->dead)
        p->wanted = true;
    else
        paths_migrate(c, p, now);
}

void paths_on_packet(struct conn *c, const struct apply *a, uint64_t now)
{
    struct path *p = a->path != PATH_NONE ? c->path[a->path] : NULL;
    /* RFC 9000 §9.3: only the packet with the highest number, and only if it is more than a probe
     * (§9.1), tells where the peer is. */
    if (p && p->state == PATH_VALID && !p->mtu_valid) /* RFC 9000 §8.2.3: still to be seen */
        paths_check(c, p, now);
    if (!a->more_than_probe || a->number < c->told_number)
        return;
    uint8_t told_before = c->told_path;
    c->told_number = a->number + 1;
    c->told_path = p ? p->index : PATH_GONE;
    if (p && p->index != c->active && paths_may_open(c))
        paths_follow(c, p, told_before, now);
}

void paths_on_challenge(struct conn *c, const struct apply *a, const uint8_t data[CHALLENGE_SIZE])
{
    struct path *p = a->path != PATH_NONE ? c->path[a->path] : NULL;
    if (!p)
        return;
    /* RFC 9000 §19.17, RFC 9000 §8.2.2: on the path it came on, each of them */
    path_respond(p, data);
    conn_wake(c);
}

/* Paths beside a valid one that nothing is wanted of stay for a while; with NAT traversal as long
 * as the peer, who may want them, does not retire their id. */
static void paths_settle(struct conn *c, uint64_t now)
{
    if (natframes_traverses(c))
        return;
    for (unsigned i = 0; i < PATHS && conn_path(c)->state == PATH_VALID; i++) {
        struct path *p = c->path[i];
        if (p && i != c->active && !p->wanted && path_deadline(p) == AQ_NEVER)
            paths_linger(c, p, now);
    }
}

void paths_on_response(struct conn *c, const uint8_t data[CHALLENGE_SIZE], uint64_t now)
{
    /* RFC 9000 §8.2.3: whatever path it came on, it validates the one whose challenge it answers.
     */
    for (unsigned i = 0; i < PATHS; i++) {
        struct path *p = c->path[i];
        bool was_valid = p && p->state == PATH_VALID;
        enum path_answer answer = p ? path_on_response(p, data) : PATH_ANSWER_NONE;
        if (answer == PATH_ANSWER_NONE)
            continue;
        if (!was_valid) {
            trace_path(&c->tracer, i, PATH_VALID, now);
            /* RFC 9000 §9.3: a new address is worth a new token. */
            c->new_token_due |= c->server && i == c->active;
        }
        natframes_path_valid(c, p);
        if (natframes_traverses(c) && i != c->active)
            paths_news(c, AQ_PATH_VALIDATED);
        p->dead = false;
        /* RFC 9000 §8.2.1: the same with 1,200 bytes, which may be sent now. */
        if (answer == PATH_ANSWER_SMALL)
            paths_check(c, p, now);
        else if (p->wanted)
            paths_migrate(c, p, now);
        paths_settle(c, now);
        paths_on_pto(c, now); /* where it is a way back: the direct path may be long silent */
        break;
    }
    paths_settled(c);
}

void paths_on_retired(struct conn *c, uint64_t seq)
{
    /* What the peer no longer sends to, it has left. The last valid one stays nevertheless: without
     * it the connection would end, should the new one fail. */
    if ((!c->server && !natframes_traverses(c)) || conn_path(c)->state != PATH_VALID)
        return;
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i] && i != c->active && !c->path[i]->kept && c->path[i]->own_seq == seq)
            paths_drop(c, c->path[i]);
    }
    paths_settled(c);
}

void paths_on_cids(struct conn *c)
{
    struct path *active = conn_path(c);
    uint32_t seq = cid_remote_seq(cid_peer_entry(&c->peer_cids));
    if (active->cid_seq != seq) {
        active->cid_seq = seq;
        paths_reset_token(c, active);
    }
    for (unsigned i = 0; i < PATHS; i++) {
        struct path *p = c->path[i];
        if (!p || i == c->active || cid_peer_find(&c->peer_cids, p->cid_seq))
            continue;
        if (cid_peer_take(&c->peer_cids, &p->cid_seq))
            paths_reset_token(c, p);
        else /* RFC 9000 §9.5: without an id of its own nothing can be sent there */
            paths_drop(c, p);
    }
    paths_settled(c);
}

/* ---- validation fails ---- */

/* RFC 9000 §9.3.2: back to the last validated address. False: there is none. */
static bool paths_return(struct conn *c, struct path *failed, uint64_t now)
{
    struct path *best = NULL;
    for (unsigned i = 0; i < PATHS; i++) {
        struct path *p = c->path[i];
        if (p && p != failed && p->state == PATH_VALID && (!best || p->used_us > best->used_us))
            best = p;
    }
    if (best)
        paths_move(c, best, c->server ? AQ_PATH_PEER_MOVED : AQ_PATH_MOVED, now);
    return best != NULL;
}

static void paths_end_probe(struct conn *c, struct path *p)
{
    if (p->kept)
        paths_news(c, AQ_PATH_PROBE_FAILED);
    paths_drop(c, p);
}

static void paths_failed(struct conn *c, struct path *p, uint64_t now)
{
    bool active = p->index == c->active, was_valid = p->state == PATH_VALID;
    if (was_valid && p->mtu_valid) {
        /* It was looked at once more, and is silent. As long as no other is valid it stays: the
         * peer may come back. */
        if (!active && conn_path(c)->state == PATH_VALID)
            paths_end_probe(c, p);
        return;
    }
    /* The address is right. That 1,200 bytes do not get there is known only where smaller packets
     * come and go meanwhile; and a loss is no proof. */
    if (was_valid && p->used_us + paths_check_span(c) < now)
        return;
    if (was_valid && ++p->mtu_fails < MTU_TRIES) {
        paths_check(c, p, now);
        return;
    }
    if (p->wanted)
        paths_news(c, AQ_PATH_FAILED);
    paths_set_state(c, p, PATH_FAILED, now);
    if (!active || paths_return(c, p, now)) {
        /* A server remembers for a while which id it has used towards whoever was there: if that
         * one comes from the next address, it needs no other. */
        if (c->server && !p->kept)
            p->due_us = now + FAILED_SPANS * paths_check_span(c);
        else
            paths_end_probe(c, p);
    } else if (was_valid) { /* RFC 9000 §8.2.4, §14.2 */
        conn_close(c, false, AQ_NO_VIABLE_PATH, "the path does not carry 1,200 bytes",
                   "RFC 9000 8.2.4", now);
    } else { /* RFC 9000 §9.3.2: silently */
        conn_end(c, AQ_BY_TIMEOUT, AQ_NO_VIABLE_PATH, "no path to the peer is left",
                 "RFC 9000 9.3.2", now);
    }
}

void paths_on_time(struct conn *c, uint64_t now)
{
    for (unsigned i = 0; i < PATHS && conn_is_open(c); i++) {
        struct path *p = c->path[i];
        switch (p ? path_on_time(p, now) : PATH_TIME_NONE) {
        case PATH_TIME_FAILED: paths_failed(c, p, now); break;
        case PATH_TIME_UNUSED: paths_drop(c, p); break;
        case PATH_TIME_CHALLENGE:
        case PATH_TIME_NONE: break;
        }
    }
    if (conn_is_open(c))
        paths_settled(c);
}

/* ---- sending ---- */

void paths_challenged(struct conn *c, struct path *p, const uint8_t data[CHALLENGE_SIZE], bool full,
                      uint64_t now)
{
    /* RFC 9002 §6.2.1: of the path's own RTT, which is the initial one on a new path. */
    path_challenged(p, data, full, rtt_pto(&p->rtt) + ackfreq_delay_us(&c->ackfreq), now);
    paths_arm(c);
}

/* ---- our own moves ---- */

/* A path to `to`, with an id of its own. NULL: no place or no id for it. */
static struct path *paths_add(struct conn *c, const struct aq_path_addr *to, const struct path *how,
                              uint64_t now)
{
    struct path *p, what = *how;
    if (!cid_peer_has_spare(&c->peer_cids) || !(p = paths_make(c, how->kept, now)))
        return NULL;
    what.local = to->local;
    what.remote = to->remote;
    what.channel = to->channel;
    what.ifindex = to->ifindex;
    what.socket = to->socket;
    what.own_seq = UINT16_MAX; /* none yet */
    cid_peer_take(&c->peer_cids, &what.cid_seq);
    paths_put(c, p, &what);
    paths_check(c, p, now);
    paths_settled(c);
    return p;
}

/* AQ_OK, or AQ_FULL: no place or no id for it. */
static int paths_try(struct conn *c, const struct aq_path_addr *to, uint64_t now)
{
    for (unsigned i = 0; i < PATHS; i++) { /* one wish at a time: the newest */
        if (c->path[i] && c->path[i]->wanted)
            paths_drop(c, c->path[i]);
    }
    /* the server's address, by its own word in the handshake */
    struct path how = {.budget_bytes = PATH_TRUSTED, .wanted = true};
    return paths_add(c, to, &how, now) ? AQ_OK : AQ_FULL;
}

void paths_try_preferred(struct conn *c, const struct preferred_address *a, uint64_t now)
{
    const struct path *active = conn_path(c);
    struct aq_path_addr to = {.local = active->local,
                              .remote = {.family = active->remote.family},
                              .socket = active->socket,
                              .ifindex = active->ifindex,
                              .channel = active->channel};
    to.remote.port = to.remote.family == 4 ? a->port4 : a->port6;
    if (to.remote.family == 4)
        memcpy(to.remote.ip, a->ip4, sizeof a->ip4);
    else
        memcpy(to.remote.ip, a->ip6, sizeof a->ip6);
    if (to.remote.port && !addr_equal(&to.remote, &active->remote))
        (void)paths_try(c, &to, now);
}

/* The path of exactly these addresses, as it may be told by its host. */
static int paths_named(const struct conn *c, const struct aq_path_addr *a)
{
    struct aq_datagram as = {
        .local = a->local, .remote = a->remote, .socket = a->socket, .channel = a->channel};
    return paths_find(c, &as);
}

static bool addresses_fit(const struct aq_path_addr *a)
{
    return a->remote.port && (!a->local.family || a->local.family == a->remote.family);
}

/* To a path beside the active one: AQ_OK, AQ_MISUSE or AQ_BLOCKED. */
static int paths_choose(struct conn *c, struct path *p, uint64_t now)
{
    if (!natframes_traverses(c) || p->index == c->active)
        return AQ_MISUSE;
    if (p->state != PATH_VALID || p->dead)
        return AQ_BLOCKED;
    struct path *old = conn_path(c);
    paths_move(c, p, AQ_PATH_MOVED, now);
    c->ping_due = true; /* RFC 9000 §9.2: more than a probe tells the peer */
    if (!path_is_checked(old))
        paths_linger(c, old, now);
    if (!p->mtu_valid)
        paths_check(c, p, now);
    paths_settled(c);
    return AQ_OK;
}

int aq_conn_migrate(struct aq_endpoint *endpoint, aq_conn conn, const struct aq_path_addr *to,
                    uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c = endpoint_find_conn(ep, conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    struct aq_path_addr want = *to;
    if (!want.remote.family)
        want.remote = conn_path(c)->remote;
    /* RFC 9000 §9: clients are responsible for all migrations. A server with NAT traversal goes to
     * paths that are there. */
    if ((c->server && !natframes_traverses(c)) || !addresses_fit(&want))
        return AQ_MISUSE;
    if (c->state != CONN_CONFIRMED) /* RFC 9000 §9: not before */
        return AQ_BLOCKED;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    int there = paths_named(c, &want);
    if (there != PATH_NONE && natframes_traverses(c))
        return paths_choose(c, c->path[there], ep->now_us);
    if (c->server)
        return AQ_MISUSE;
    for (unsigned i = 0; i < PATHS; i++) { /* RFC 9000 §9.6.3: the preferred address comes first */
        const struct path *p = c->path[i];
        if (p && p->wanted && !addr_equal(&p->remote, &want.remote))
            return AQ_BLOCKED;
    }
    /* RFC 9000 §9: not to the handshake's address, where the server has asked for that. */
    if (c->peer.no_migration && !c->at_preferred)
        return AQ_REFUSED;
    return there != PATH_NONE ? AQ_MISUSE : paths_try(c, &want, ep->now_us);
}

/* ---- probes ---- */

static bool is_own_address(const struct conn *c, const struct aq_path_addr *to)
{
    bool own = addr_equal(&to->remote, &to->local);
    for (unsigned i = 0; i < PATHS; i++)
        own |= c->path[i] && addr_equal(&to->remote, &c->path[i]->local);
    return own;
}

int aq_conn_probe_path(struct aq_endpoint *endpoint, aq_conn conn, const struct aq_path_addr *to,
                       unsigned flags, uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c = endpoint_find_conn(ep, conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    if (!natframes_traverses(c) || !addresses_fit(to) || is_own_address(c, to))
        return AQ_MISUSE;
    if (c->state != CONN_CONFIRMED)
        return AQ_BLOCKED;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    uint32_t budget = flags & AQ_PROBE_SMALL ? PROBE_SMALL_BUDGET : PATH_TRUSTED;
    int there = paths_named(c, to);
    if (there == PATH_NONE) {
        struct path how = {.budget_bytes = budget, .kept = true};
        return paths_add(c, to, &how, ep->now_us) ? AQ_OK : AQ_FULL;
    }
    struct path *p = c->path[there];
    p->kept |= p->index != c->active;
    p->budget_bytes = (uint32_t)max_u64(p->budget_bytes, budget);
    if (!path_is_checked(p)) {
        p->due_us = AQ_NEVER;
        paths_check(c, p, ep->now_us);
        paths_arm(c);
    }
    return AQ_OK;
}

int aq_conn_drop_path(struct aq_endpoint *endpoint, aq_conn conn, const struct aq_path_addr *which,
                      uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c = endpoint_find_conn(ep, conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    int there = paths_named(c, which);
    if (there == PATH_NONE || there == c->active)
        return AQ_MISUSE;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    paths_drop(c, c->path[there]);
    paths_settled(c);
    conn_wake(c); /* RETIRE_CONNECTION_ID */
    return AQ_OK;
}
