/* paths.c -- the table of a connection's paths: room for them, their ids, their deadlines (RFC 9000
 * §5.1, §9.5).
 *
 * There are at most PATHS. The first lies in the connection, more come from the endpoint's pool,
 * and the last one left moves back, so that an idle connection takes nothing from the pool. A path
 * that ends gives its place and its connection id back, and what was sent on it becomes of path
 * gone: its index may be another's soon. migrate.c decides which paths there are. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/num.h"

/* ---- the table ---- */

int paths_find(const struct conn *c, const struct aq_datagram *d)
{
    if (path_matches(conn_path(c), d))
        return c->active;
    for (int i = 0; i < PATHS; i++) {
        if (c->path[i] && path_matches(c->path[i], d))
            return i;
    }
    return PATH_NONE;
}

unsigned paths_count(const struct conn *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < PATHS; i++)
        n += c->path[i] != NULL;
    return n;
}

void paths_news(struct conn *c, uint8_t what)
{
    c->path_news |= what;
    conn_event(c, AQ_EVENT_PATH);
}

void paths_set_state(struct conn *c, struct path *p, enum path_state state, uint64_t now)
{
    path_set_state(p, state);
    trace_path(&c->tracer, p->index, state, now);
}

/* When the paths want attention next. */
void paths_arm(struct conn *c)
{
    uint64_t best = AQ_NEVER;
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i] && path_deadline(c->path[i]) < best)
            best = path_deadline(c->path[i]);
    }
    conn_arm(c, TIMER_PATH, best);
}

/* RFC 9000 §8.2.4: three times the larger of the current PTO and that of a path of unknown length.
 */
uint64_t paths_check_span(const struct conn *c)
{
    struct rtt unknown;
    rtt_init(&unknown);
    uint64_t now_pto = conn_pto(c, SPACE_APP);
    uint64_t new_pto = rtt_pto(&unknown) + ackfreq_delay_us(&c->ackfreq);
    return 3 * (now_pto > new_pto ? now_pto : new_pto);
}

void paths_check(struct conn *c, struct path *p, uint64_t now)
{
    uint8_t before = p->state;
    path_check(p, paths_check_span(c), now);
    if (p->state != before)
        trace_path(&c->tracer, p->index, p->state, now);
    conn_wake(c);
}

void paths_reset_token(struct conn *c, struct path *p)
{
    struct endpoint *ep = c->ep;
    const struct cid_remote *id = cid_peer_find(&c->peer_cids, p->cid_seq);
    if (p->reset_hash)
        map_remove(&ep->resets, p->reset_hash, c->slot);
    p->reset_hash = 0;
    if (!id || !id->has_token)
        return;
    uint64_t hash = endpoint_hash_cid(ep, id->token, RESET_TOKEN_SIZE);
    if (map_put(&ep->resets, hash, c->slot))
        p->reset_hash = hash;
}

/* RFC 9000 §9.5: ids of paths that have ended are retired. */
void paths_retire(struct conn *c)
{
    uint32_t keep[PATHS];
    unsigned n = 0;
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i])
            keep[n++] = c->path[i]->cid_seq;
    }
    cid_peer_let(&c->peer_cids, keep, n);
}

/* After the table has changed. */
void paths_settled(struct conn *c)
{
    paths_retire(c);
    paths_arm(c);
}

/* The place of a path of which nothing is left. The active one takes the connection's own. */
static void paths_give(struct conn *c, struct path *p)
{
    struct pool *pool = &c->ep->paths;
    if (p != &c->first) {
        pool_give(pool, pool_index(pool, p));
        return;
    }
    struct path *active = conn_path(c);
    c->first = *active;
    c->path[c->active] = &c->first;
    pool_give(pool, pool_index(pool, active));
}

/* Ends a path that is not the active one. */
void paths_drop(struct conn *c, struct path *p)
{
    assert(p->index != c->active);
    if (p->reset_hash)
        map_remove(&c->ep->resets, p->reset_hash, c->slot);
    sent_path_gone(&c->app.sent, p->index, PATH_GONE);
    natframes_path_ended(c, p->index);
    c->told_path = c->told_path == p->index ? PATH_GONE : c->told_path;
    cc_detach(&p->cc);
    c->path[p->index] = NULL;
    paths_give(c, p);
    paths_news(c, AQ_PATH_ENDED);
}

void paths_end(struct conn *c)
{
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i] && i != c->active)
            paths_drop(c, c->path[i]);
    }
    path_check_end(conn_path(c));
}

/* What a path beside the active one is worth when there is no room for another. */
static unsigned paths_worth(const struct path *p)
{
    return 2U * (p->state == PATH_VALID) + p->kept;
}

/* The path to give up for a new one: the one worth least, and of these the one silent for longest;
 * never the active one, nor the only valid one beside it, which is where a failed migration returns
 * to (§9.3.2), nor a valid relayed one, which carries on when all others fail. For a probe of our
 * own none that is kept goes. */
static struct path *paths_victim(const struct conn *c, bool probe)
{
    struct path *best = NULL, *haven = NULL;
    for (unsigned i = 0; i < PATHS; i++) {
        struct path *p = c->path[i];
        if (p && i != c->active && p->state == PATH_VALID
            && (!haven || p->used_us > haven->used_us))
            haven = p;
    }
    if (conn_path(c)->state == PATH_VALID)
        haven = NULL;
    for (unsigned i = 0; i < PATHS; i++) {
        struct path *p = c->path[i];
        if (!p || i == c->active || p == haven || (probe && p->kept))
            continue;
        if (p->kept && p->channel && p->state == PATH_VALID)
            continue;
        if (!best || paths_worth(p) < paths_worth(best)
            || (paths_worth(p) == paths_worth(best) && p->used_us < best->used_us))
            best = p;
    }
    return best;
}

/* A fresh path in a free place; NULL: the endpoint's pool is empty. */
static struct path *paths_take(struct conn *c, uint64_t now)
{
    unsigned index = 0;
    struct path *p = NULL;
    while (index < PATHS && c->path[index])
        index++;
    if (index == PATHS)
        return NULL;
    bool inline_free = true;
    for (unsigned i = 0; i < PATHS; i++)
        inline_free &= c->path[i] != &c->first;
    if (inline_free) {
        p = &c->first;
    } else {
        uint32_t slot = pool_take(&c->ep->paths);
        if (slot == POOL_NONE)
            return NULL;
        p = pool_at(&c->ep->paths, slot);
    }
    path_init(p, conn_path(c)->cc.ops, MTU_BASE, MTU_BASE, now); /* paths_put knows more */
    ecn_init(&p->ecn, !c->ep->config.no_ecn); /* RFC 9000 §13.4.2: each path anew */
    if (c->server && conn_path(c)->ecn.state == ECN_FAILED)
        p->ecn.state = ECN_FAILED; /* a NAT's next address does not mend what lies behind it */
    cc_attach(&p->cc, &c->quota, now);
    p->index = (uint8_t)index;
    p->used_us = now;
    return p;
}

/* The same, at the cost of another path of this connection where there is no other way. */
struct path *paths_make(struct conn *c, bool probe, uint64_t now)
{
    struct path *p = paths_take(c, now);
    struct path *victim = p ? NULL : paths_victim(c, probe);
    if (victim) {
        paths_drop(c, victim);
        p = paths_take(c, now);
    }
    return p;
}

/* What a fresh path is, and its place in the table. */
void paths_put(struct conn *c, struct path *p, const struct path *what)
{
    uint16_t max = paths_mtu_max(c, what->channel);
    mtu_init(&p->mtu, c->ep->config.fixed_mtu ? max : MTU_BASE, max);
    cc_set_mtu(&p->cc, p->mtu.size);
    p->local = what->local;
    p->remote = what->remote;
    p->channel = what->channel;
    p->ifindex = what->ifindex;
    p->socket = what->socket;
    p->own_seq = what->own_seq;
    p->cid_seq = what->cid_seq;
    p->budget_bytes = what->budget_bytes;
    p->wanted = what->wanted;
    p->kept = what->kept;
    c->path[p->index] = p;
    paths_reset_token(c, p);
}

/* ---- how much one carries ---- */

uint16_t paths_mtu_max(const struct conn *c, uint64_t channel)
{
    /* A channel's prefix takes its bytes from what our side may send, not from what the peer takes.
     */
    uint64_t max = c->ep->config.max_udp_payload - (channel ? (unsigned)AQ_CHANNEL_PREFIX : 0);
    max = min_u64(max, c->peer.max_udp_payload); /* RFC 9000 §18.2 */
    return (uint16_t)max_u64(max, MTU_BASE);
}

void paths_mtu_told(struct conn *c, struct path *p, const struct mtu *before, uint64_t now)
{
    const struct mtu *m = &p->mtu;
    if (m->size != before->size)
        cc_set_mtu(&p->cc, m->size);
    if (m->size != before->size || m->state != before->state)
        trace_mtu(&c->tracer, p->index, m->size, m->state, now);
    if (m->state != MTU_STATE_ERROR || before->state == MTU_STATE_ERROR)
        return;
    /* RFC 9000 §14.2: a path that does not carry 1,200 bytes is not used. Whether that is so is for
     * its validation to say, which also says what comes of it (RFC 9000 §8.2.4). */
    p->mtu_valid = false;
    p->mtu_fails = 0;
    paths_check(c, p, now);
    paths_arm(c);
}

/* ---- what is known ---- */

unsigned aq_conn_paths(struct aq_endpoint *endpoint, aq_conn conn, struct aq_path_info *paths,
                       unsigned max)
{
    const struct conn *c = endpoint_find_conn((struct endpoint *)endpoint, conn);
    unsigned n = 0;
    for (unsigned i = 0; c && i < PATHS && n < max; i++) {
        const struct path *p = c->path[i];
        if (!p)
            continue;
        paths[n++] = (struct aq_path_info){.local = p->local,
                                           .remote = p->remote,
                                           .channel = p->channel,
                                           .ifindex = p->ifindex,
                                           .socket = p->socket,
                                           .mtu = p->mtu.size,
                                           .active = i == c->active,
                                           .validated = p->state == PATH_VALID && !p->dead,
                                           .checking = path_is_checked(p),
                                           .kept = p->kept,
                                           .full_size = p->mtu_valid,
                                           .ttl = p->ttl,
                                           .rtt_us = p->rtt.smoothed_us,
                                           .cwnd_bytes = p->cc.cwnd_bytes,
                                           .sent_bytes = p->sent_bytes,
                                           .recv_bytes = p->recv_bytes};
    }
    return n;
}
