/* endpoint.c -- memory, routing, the lists and the four calls that a host drives: recv, tick, send,
 * deadline.
 *
 * A datagram finds its connection by decrypting its Destination Connection ID to a slot (an array
 * index, no hash); runs of datagrams with the same id are routed once. What belongs to no
 * connection goes to accept.c. */
#include "core/endpoint.h"
#include "core/addr.h"

enum {
    NO_CONN = POOL_NONE,
    /* An eighth of the memory, and of each connection's part, is not for bytes of streams: full
     * of what is written, it would have no room to remember a packet, and nothing would ever be
     * sent, acknowledged and given back. */
    MEMORY_RESERVE = 8
};

/* ---- memory: one block, carved once ---- */

struct carver {
    uint8_t *at; /* NULL: only measuring */
    size_t size;
};

static void *carve(struct carver *k, size_t size)
{
    uint8_t *p = k->at ? k->at + k->size : NULL;
    k->size += (size + 63) & ~(size_t)63;
    return p;
}

static uint32_t pieces_count(const struct aq_config *config)
{
    return config->recv_buffers * 64; /* a full buffer of 1,200-byte packets, all pieces */
}

static uint32_t paths_max(const struct aq_config *config)
{
    return config->max_paths ? config->max_paths : config->max_conns;
}

static uint32_t nats_max(const struct aq_config *config)
{
    return config->nat_limit || config->observe ? config->max_conns : 0;
}

/* Measures (at NULL) or lays out the endpoint's memory. Both walk the same lines, so they cannot
 * disagree. 0: the AEAD backend asked for does not work after all. */
static size_t endpoint_carve(struct endpoint *ep, uint8_t *at, const struct aq_config *c)
{
    struct carver k = {at, 0};
    void *p;
    carve(&k, sizeof *ep);
    p = carve(&k, pool_size(sizeof(struct conn), c->max_conns));
    if (p)
        pool_init(&ep->conns, p, sizeof(struct conn), c->max_conns);
    p = carve(&k, pool_size(sizeof(struct hand), c->max_conns));
    if (p)
        pool_init(&ep->hands, p, sizeof(struct hand), c->max_conns);
    p = carve(&k, pool_size(sizeof(struct path), paths_max(c)));
    if (p)
        pool_init(&ep->paths, p, sizeof(struct path), paths_max(c));
    p = carve(&k, pool_size(sizeof(struct nat), nats_max(c)));
    if (p)
        pool_init(&ep->nats, p, sizeof(struct nat), nats_max(c));
    p = carve(&k, pool_size(sizeof(struct stream), c->max_streams));
    if (p)
        pool_init(&ep->streams.pool, p, sizeof(struct stream), c->max_streams);
    p = carve(&k, pool_size(sizeof(struct piece), pieces_count(c)));
    if (p)
        pool_init(&ep->streams.pieces, p, sizeof(struct piece), pieces_count(c));
    p = carve(&k, map_size(c->max_streams));
    if (p)
        map_init(&ep->streams.map, p, c->max_streams);
    p = carve(&k, map_size(c->max_conns));
    if (p)
        map_init(&ep->odcids, p, c->max_conns);
    p = carve(&k, map_size(c->max_conns + paths_max(c)));
    if (p)
        map_init(&ep->resets, p, c->max_conns + paths_max(c));
    p = carve(&k, heap_size(c->max_conns));
    if (p)
        heap_init(&ep->timers, p, c->max_conns);
    p = carve(&k, arena_size(c->memory_bytes));
    if (p)
        arena_init(&ep->arena, p, c->memory_bytes);
    p = carve(&k, sizeof(struct aq_trace) * c->trace_events);
    if (p && c->trace_events) {
        ep->trace.ring = p;
        ep->trace.mask = c->trace_events - 1;
        ep->trace.on = true;
    }
    if (c->tls && tls_allows_early(c->tls)) {
        p = carve(&k, strike_size(c->early_slots));
        if (p)
            strike_init(&ep->strike, p, c->early_slots);
    }
    p = carve(&k, protect_size(c->aead, c->max_conns));
    if (p && !protect_init(&ep->protect, p, c->aead, c->max_conns))
        return 0;
    p = carve(&k, sizeof(struct reply) * REPLIES_MAX);
    if (p)
        ep->replies = p;
    p = carve(&k, (size_t)RECV_BUFFER_SIZE * c->recv_buffers);
    if (p)
        ep->recv_memory = p;
    p = carve(&k, (size_t)TRAIN_SIZE * c->send_trains);
    if (p)
        ep->train_memory = p;
    return k.size;
}

size_t aq_endpoint_size(const struct aq_config *config)
{
    return aq_config_check(config) ? 0 : endpoint_carve(NULL, NULL, config);
}

static void endpoint_secrets(struct endpoint *ep)
{
    static const uint8_t zero[32];
    if (memcmp(ep->config.secret, zero, sizeof zero) == 0)
        rng_fill(&ep->rng, ep->config.secret, sizeof ep->config.secret);
    cid_key_init(&ep->cid_key, ep->config.secret);
    cid_key_layout(&ep->cid_key, ep->config.cid_size, &ep->config.lb);
    prim_wipe(ep->config.lb.key, sizeof ep->config.lb.key);
    token_key_init(&ep->token_key, ep->config.secret);
    rng_fill(&ep->rng, ep->siphash_key, sizeof ep->siphash_key);
    ep->streams.seed = rng_u64(&ep->rng);
    ep->cid_epoch = (uint16_t)rng_below(&ep->rng, 4096);
    if (ep->strike.v)
        rng_fill(&ep->rng, ep->early_nonce, sizeof ep->early_nonce);
}

struct aq_endpoint *aq_endpoint_init(void *mem, size_t size, const struct aq_config *config,
                                     uint64_t now_us)
{
    size_t need = aq_endpoint_size(config);
    if (!need || size < need || !mem || ((uintptr_t)mem & 63))
        return NULL;
    struct endpoint *ep = mem;
    ep->config = *config;
    if (config->nat_limit) {
        /* PROTOCOL §1: each probe has an id of its own; and a clear fixed bit marks datagrams that
         * are not QUIC's. */
        ep->config.active_cid_limit = CIDS_MAX;
        ep->config.no_grease_bit = true;
    }
    if (!ep->config.conn_memory_bytes)
        ep->config.conn_memory_bytes = config->memory_bytes / 2;
    if (!endpoint_carve(ep, mem, config))
        return NULL;
    ep->arena.reserve_bytes = config->memory_bytes / MEMORY_RESERVE;
    ep->streams.rx_window = config->stream_window;
    ep->streams.rx_window_max = config->stream_window_max;
    ep->streams.window[STREAMS_BIDI] = config->streams_bidi;
    ep->streams.window[STREAMS_UNI] = config->streams_uni;
    rng_init(&ep->rng, config->seed);
    prim_wipe(ep->config.seed, sizeof ep->config.seed);
    endpoint_secrets(ep);
    sources_init(&ep->sources, ep->siphash_key, (config->max_half_open + 3) / 4,
                 config->handshake_timeout_us);
    ep->tracer = (struct tracer){&ep->trace, UINT32_MAX};
    ep->began_us = ep->now_us = now_us;
    for (unsigned i = 0; i < CONN_LISTS; i++)
        ep->head[i] = ep->tail[i] = NO_CONN;
    ep->settle_head = ep->ended = ep->stream_ended = POOL_NONE;
    return (struct aq_endpoint *)ep;
}

const char *aq_endpoint_aead(const struct aq_endpoint *endpoint)
{
    return protect_name(&((const struct endpoint *)endpoint)->protect);
}

void aq_endpoint_close(struct aq_endpoint *endpoint)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    for (uint32_t slot = 0; slot < ep->conns.fresh; slot++) {
        struct conn *c = conn_at(ep, slot);
        if (c->state == CONN_FREE)
            continue;
        if (c->hand) {
            tls_free(&c->hand->tls);
            prim_wipe(c->hand->keys, sizeof c->hand->keys);
            prim_wipe(&c->hand->early, sizeof c->hand->early);
            prim_wipe(&c->hand->early_hp, sizeof c->hand->early_hp);
        }
        keys_wipe(&c->keys);
        prim_wipe(&c->facts, sizeof c->facts);
    }
    protect_close(&ep->protect);
    prim_wipe(&ep->cid_key, sizeof ep->cid_key);
    prim_wipe(&ep->token_key, sizeof ep->token_key);
    prim_wipe(&ep->rng, sizeof ep->rng);
    prim_wipe(ep->config.secret, sizeof ep->config.secret);
}

void aq_endpoint_set_secret(struct aq_endpoint *endpoint, const uint8_t secret[32])
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    token_key_rotate(&ep->token_key, secret);
}

/* ---- connections ---- */

uint32_t endpoint_new_conn(struct endpoint *ep, uint64_t now)
{
    uint32_t slot = pool_take(&ep->conns);
    if (slot == POOL_NONE)
        return POOL_NONE;
    uint32_t hand = pool_take(&ep->hands);
    struct conn *c = conn_at(ep, slot);
    assert(hand != POOL_NONE); /* as many as connections */
    c->ep = ep;
    c->keys.protect = &ep->protect;
    c->slot = slot;
    c->path[0] = &c->first;
    c->hand = pool_at(&ep->hands, hand);
    c->tracer = (struct tracer){&ep->trace, slot};
    c->cid_generation = (uint16_t)(ep->conns.slots[slot].generation >> 1 & 0x3fff);
    if (c->cid_generation == 0x3fff) /* wraps next: a new epoch keeps ids from repeating */
        ep->cid_epoch = (uint16_t)((ep->cid_epoch + 1)
                                   & 0xfff); /* in turn: chance would repeat one after some 80 */
    c->cid_epoch = ep->cid_epoch;
    c->quota = (struct quota){.arena = &ep->arena,
                              .max_bytes = ep->config.conn_memory_bytes,
                              .reserve_bytes = ep->config.conn_memory_bytes / MEMORY_RESERVE};
    c->hand->began_us = c->last_recv_us = now;
    c->half_open = true;
    ep->half_open++;
    if (ep->half_open > ep->half_open_high)
        ep->half_open_high = ep->half_open;
    return slot;
}

void endpoint_list_push(struct endpoint *ep, enum conn_list list, struct conn *c)
{
    uint32_t before = ep->tail[list];
    c->link[list] = (struct conn_link){.before = before, .next = NO_CONN};
    *(before == NO_CONN ? &ep->head[list] : &conn_at(ep, before)->link[list].next) = c->slot;
    ep->tail[list] = c->slot;
}

void endpoint_list_remove(struct endpoint *ep, enum conn_list list, struct conn *c)
{
    struct conn_link l = c->link[list];
    *(l.before == NO_CONN ? &ep->head[list] : &conn_at(ep, l.before)->link[list].next) = l.next;
    *(l.next == NO_CONN ? &ep->tail[list] : &conn_at(ep, l.next)->link[list].before) = l.before;
}

void endpoint_free_conn(struct endpoint *ep, struct conn *c)
{
    if (c->listed)
        endpoint_list_remove(ep, LIST_SEND, c);
    if (c->ready)
        endpoint_list_remove(ep, LIST_READY, c);
    if (conn_path(c)->reset_hash)
        map_remove(&ep->resets, conn_path(c)->reset_hash, c->slot);
    heap_set(&ep->timers, c->slot, AQ_NEVER);
    keys_wipe(&c->keys);
    prim_wipe(c->facts.exporter, sizeof c->facts.exporter);
    cid_peer_clear(&c->peer_cids);
    quota_give(&c->quota, c->names, sizeof *c->names);
    natframes_end(c);
    quota_give(&c->quota, c->closing.reason, CLOSE_REASON);
    assert(!c->hand && c->quota.used_bytes == 0 && c->streams.count == 0);
    c->state = CONN_FREE;
    pool_give(&ep->conns, c->slot);
}

uint64_t endpoint_hash_cid(const struct endpoint *ep, const uint8_t *bytes, size_t size)
{
    return prim_siphash(ep->siphash_key, bytes, size);
}

void endpoint_cid(const struct endpoint *ep, const struct conn *c, uint16_t seq, struct cid *cid)
{
    struct cid_fields f = {.epoch = c->cid_epoch,
                           .worker = ep->config.worker,
                           .generation = c->cid_generation,
                           .seq = seq,
                           .slot = c->slot};
    cid_encode(&ep->cid_key, &f, cid);
}

/* ---- receiving ---- */

/* The list of streams with pieces in lent buffers. */
void endpoint_settle_later(struct endpoint *ep, uint32_t slot)
{
    struct stream *s = stream_at(&ep->streams, slot);
    if (s->settling)
        return;
    s->settling = true;
    s->settle_prev = POOL_NONE;
    s->settle_next = ep->settle_head;
    if (ep->settle_head != POOL_NONE)
        stream_at(&ep->streams, ep->settle_head)->settle_prev = slot;
    ep->settle_head = slot;
}

void endpoint_settled(struct endpoint *ep, uint32_t slot)
{
    struct stream *s = stream_at(&ep->streams, slot);
    if (!s->settling)
        return;
    s->settling = false;
    if (s->settle_prev != POOL_NONE)
        stream_at(&ep->streams, s->settle_prev)->settle_next = s->settle_next;
    else
        ep->settle_head = s->settle_next;
    if (s->settle_next != POOL_NONE)
        stream_at(&ep->streams, s->settle_next)->settle_prev = s->settle_prev;
}

/* The lent buffers are taken back: what is unread in them is copied away. */
void endpoint_settle(struct endpoint *ep, uint64_t now)
{
    while (ep->settle_head != POOL_NONE) {
        uint32_t slot = ep->settle_head;
        struct stream *s = stream_at(&ep->streams, slot);
        struct conn *c = conn_at(ep, s->conn);
        endpoint_settled(ep, slot);
        if (recvq_settle(&s->recvq, &c->quota, &ep->streams.pieces) == AQ_OK)
            continue;
        recvq_clear(&s->recvq, &c->quota, &ep->streams.pieces);
        conn_close(c, false, AQ_INTERNAL_ERROR, "receive memory is full",
                   "endpoint_settle: memory_bytes", now);
    }
}

unsigned aq_recv_buffers(struct aq_endpoint *endpoint, struct aq_buffer *buffers, unsigned max)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    unsigned n = max < ep->config.recv_buffers ? max : ep->config.recv_buffers;
    endpoint_settle(ep, ep->now_us);
    for (unsigned i = 0; i < n; i++)
        buffers[i] =
            (struct aq_buffer){ep->recv_memory + (size_t)i * RECV_BUFFER_SIZE, RECV_BUFFER_SIZE};
    return n;
}

/* Our own id, decrypted: the connection it belongs to, if it is in use. */
static struct conn *route_own(struct endpoint *ep, const uint8_t *cid)
{
    struct cid_fields f;
    if (!cid_decode(&ep->cid_key, cid, &f))
        return NULL;
    if (f.slot >= ep->conns.fresh || f.worker != ep->config.worker)
        return NULL;
    struct conn *c = conn_at(ep, f.slot);
    if (c->state == CONN_FREE || c->cid_epoch != f.epoch || c->cid_generation != f.generation
        || !cid_local_is_active(&c->cids, f.seq))
        return NULL;
    c->used_seq = f.seq;
    return c;
}

/* A long header's id may be the one the client made up for its first flight. */
static struct conn *route_first(struct endpoint *ep, const uint8_t *cid, size_t size)
{
    uint32_t at;
    uint64_t hash = endpoint_hash_cid(ep, cid, size);
    for (uint32_t slot = map_find(&ep->odcids, hash, &at); slot != MAP_NONE;
         slot = map_next(&ep->odcids, hash, &at)) {
        struct conn *c = conn_at(ep, slot);
        const struct hand *h = c->hand;
        if (h && h->odcid_hash == hash) {
            c->used_seq = 0;
            return c;
        }
    }
    return NULL;
}

/* RFC 9000 §10.3.1: a datagram without a connection may end in the reset token of one. */
static struct conn *route_reset(struct endpoint *ep, const uint8_t *data, uint32_t size)
{
    uint32_t at;
    if (size < 21)
        return NULL;
    const uint8_t *tail = data + size - RESET_TOKEN_SIZE;
    uint64_t hash = endpoint_hash_cid(ep, tail, RESET_TOKEN_SIZE);
    for (uint32_t slot = map_find(&ep->resets, hash, &at); slot != MAP_NONE;
         slot = map_next(&ep->resets, hash, &at)) {
        if (cid_peer_is_reset(&conn_at(ep, slot)->peer_cids, tail))
            return conn_at(ep, slot);
    }
    return NULL;
}

static struct conn *route(struct endpoint *ep, const uint8_t *data, uint32_t size)
{
    if (!(data[0] & 0x80)) {
        struct conn *c = size > ep->cid_key.size ? route_own(ep, data + 1) : NULL;
        return c ? c : route_reset(ep, data, size);
    }
    struct conn *c = NULL;
    if (size >= 6 && data[5] <= CID_MAX && size >= 6U + data[5]) {
        c = data[5] == ep->cid_key.size ? route_own(ep, data + 6) : NULL;
        c = c ? c : route_first(ep, data + 6, data[5]);
    }
    return c ? c : route_reset(ep, data, size);
}

struct conn *endpoint_route(struct endpoint *ep, const uint8_t *data, uint32_t size)
{
    return route(ep, data, size);
}

/* Whether b, of size bytes, goes to the id of a, a packet that was routed. */
static bool same_id(const uint8_t *a, const uint8_t *b, uint32_t size, uint8_t cid_size)
{
    return !(a[0] & 0x80) && !(b[0] & 0x80) && size > cid_size
           && memcmp(a + 1, b + 1, CID_SIZE) == 0 /* of known size: compared in place */
           && (cid_size == CID_SIZE
               || memcmp(a + 1 + CID_SIZE, b + 1 + CID_SIZE, cid_size - CID_SIZE) == 0);
}

/* One receive call's bytes: cut into datagrams, routed, and given on in runs of one connection. */
static void endpoint_recv(struct endpoint *ep, const struct aq_datagram *d, uint64_t now)
{
    uint8_t *data[RECV_RUN];
    uint32_t size[RECV_RUN];
    uint32_t segment = d->segment ? d->segment : d->size;
    struct conn *c = NULL;
    unsigned n = 0;
    for (uint32_t at = 0; at < d->size; at += segment) {
        uint8_t *p = d->data + at + d->prefix;
        uint32_t left = d->size - at, s = left < segment ? left : segment;
        ep->stats.datagrams_in++;
        if (s <= d->prefix)
            continue;
        s -= d->prefix;
        if (n && (n == RECV_RUN || !same_id(data[n - 1], p, s, ep->cid_key.size))) {
            conn_recv(c, d, data, size, n, now);
            n = 0;
        }
        if (!n)
            c = route(ep, p, s);
        if (!c) {
            accept_datagram(ep, d, p, s, now);
            continue;
        }
        data[n] = p;
        size[n++] = s;
    }
    if (n)
        conn_recv(c, d, data, size, n, now);
}

int aq_recv(struct aq_endpoint *endpoint, const struct aq_datagram *datagrams, unsigned n,
            uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    const uint8_t *end = ep->recv_memory + (size_t)RECV_BUFFER_SIZE * ep->config.recv_buffers;
    for (unsigned i = 0; i < n; i++) {
        const struct aq_datagram *d = &datagrams[i];
        if (d->data < ep->recv_memory || d->data > end || d->size > (size_t)(end - d->data))
            return AQ_MISUSE;
    }
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    endpoint_release_ended(ep, ep->now_us);
    for (unsigned i = 0; i < n; i++) {
        ep->stats.bytes_in += datagrams[i].size;
        if (datagrams[i].size)
            endpoint_recv(ep, &datagrams[i], ep->now_us);
    }
    return AQ_OK;
}

/* ---- sending ---- */

static unsigned endpoint_send_replies(struct endpoint *ep, struct aq_train *trains, unsigned max)
{
    unsigned n = 0;
    ep->reply_first = (ep->reply_first + ep->replies_out) % REPLIES_MAX;
    ep->reply_count -= ep->replies_out;
    while (n < max && n < ep->reply_count) {
        trains[n] = ep->replies[(ep->reply_first + n) % REPLIES_MAX].train;
        n++;
    }
    ep->replies_out = n;
    return n;
}

unsigned aq_send(struct aq_endpoint *endpoint, struct aq_train *trains, unsigned max,
                 uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    protect_turn(&ep->protect, ep->now_us);
    max = max < ep->config.send_trains ? max : ep->config.send_trains;
    unsigned n = endpoint_send_replies(ep, trains, max);
    while (n < max && ep->head[LIST_SEND] != NO_CONN) {
        struct conn *c = conn_at(ep, ep->head[LIST_SEND]);
        uint8_t *at = ep->train_memory + (size_t)n * TRAIN_SIZE + TRAIN_HEAD;
        uint32_t size = 0;
        bool later = conn_yields(c);
        if (!later && conn_wants_send(c, ep->now_us))
            size = conn_send(c, at, TRAIN_MAX - TRAIN_HEAD, &trains[n], ep->now_us);
        endpoint_list_remove(ep, LIST_SEND, c); /* or to the tail: one train each in a turn */
        c->listed = false;
        if (size) {
            ep->stats.trains_out++;
            ep->stats.bytes_out += trains[n].size;
            ep->stats.datagrams_out +=
                (trains[n].size + trains[n].segment - 1U) / trains[n].segment;
            n++;
        }
        if (later || (size && conn_wants_send(c, ep->now_us)))
            conn_wake(c);
        else
            conn_schedule(c, ep->now_us);
    }
    return n;
}

bool aq_wants_send(const struct aq_endpoint *endpoint)
{
    const struct endpoint *ep = (const struct endpoint *)endpoint;
    return ep->head[LIST_SEND] != NO_CONN || ep->reply_count > ep->replies_out;
}

/* ---- time ---- */

uint64_t aq_deadline(const struct aq_endpoint *endpoint)
{
    return heap_top(&((const struct endpoint *)endpoint)->timers, NULL);
}

void aq_tick(struct aq_endpoint *endpoint, uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    uint32_t slot;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    endpoint_release_ended(ep, ep->now_us);
    endpoint_settle(ep, ep->now_us);
    while (heap_top(&ep->timers, &slot) <= ep->now_us)
        conn_tick(conn_at(ep, slot), ep->now_us);
}

/* ---- what is known ---- */

void aq_endpoint_stats(const struct aq_endpoint *endpoint, struct aq_endpoint_stats *stats)
{
    const struct endpoint *ep = (const struct endpoint *)endpoint;
    struct aq_endpoint_stats s = ep->stats;
    size_t size = stats->size < sizeof s ? stats->size : sizeof s;
    s.size = size;
    s.conns = ep->conns.used;
    s.conns_high = ep->conns.high;
    s.half_open = ep->half_open;
    s.half_open_high = ep->half_open_high;
    s.streams = ep->streams.pool.used;
    s.streams_high = ep->streams.pool.high;
    s.memory_bytes = ep->arena.used_bytes;
    s.memory_high_bytes = ep->arena.high_bytes;
    s.trace_lost = ep->trace.lost;
    memcpy(stats, &s, size);
}

unsigned aq_trace_read(struct aq_endpoint *endpoint, struct aq_trace *events, unsigned max)
{
    struct trace *t = &((struct endpoint *)endpoint)->trace;
    unsigned n = 0;
    while (n < max && t->head != t->tail)
        events[n++] = t->ring[t->head++ & t->mask];
    return n;
}

void aq_note_unreachable(struct aq_endpoint *endpoint, const struct aq_addr *remote,
                         const char *errno_text)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    ep->unreachable.remote = *remote;
    ep->unreachable.text = errno_text;
}

unsigned aq_sockets_wanted(const struct aq_endpoint *endpoint)
{
    (void)endpoint; /* NAT traversal will ask; nothing in the engine does */
    return 0;
}

void aq_socket_opened(struct aq_endpoint *endpoint, uint16_t socket, const struct aq_addr *local)
{
    (void)endpoint;
    (void)socket;
    (void)local;
}
