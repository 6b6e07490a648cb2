/* recv.c -- datagrams of one connection: walk the coalesced packets, open them, apply their frames
 * (RFC 9000 §12, §13).
 *
 * conn_recv is the one place that turns an error of a frame into a close. Runs of short header
 * packets are unmasked and opened as a batch; one batch causes one ACK. Bad packets are counted and
 * dropped, never fatal, until they are authentic. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/frame.h"

/* What one call of conn_recv works on. */
struct recv {
    struct conn *c;
    const struct aq_datagram *d;
    int path;       /* PATH_NONE: an unknown one */
    uint64_t bytes; /* that came from there while it was unknown */
    bool lent;      /* payload bytes may be referenced until the buffers are lent again */
    bool processed; /* some packet was authentic */
    uint64_t now;
};

static void recv_drop(const struct recv *r, enum aq_trace_drop why, size_t size)
{
    trace_packet_dropped(&r->c->tracer, why, size, r->now);
}

/* The path of an authentic packet, which may make it. PATH_NONE: the packet is as good as any, but
 * nothing is sent to where it came from. */
static int recv_path(struct recv *r, enum space_id id)
{
    struct conn *c = r->c;
    if (r->path != PATH_NONE && !c->path[r->path]) /* given up meanwhile */
        r->path = PATH_NONE;
    if (r->path == PATH_NONE && id == SPACE_APP && paths_may_open(c)) {
        r->path = paths_open(c, r->d, r->now);
        if (r->path == PATH_NONE)
            c->ep->stats.drop_path++;
    }
    if (r->path != PATH_NONE) {
        struct path *p = c->path[r->path];
        p->recv_bytes += r->bytes;
        r->bytes = 0;
        p->used_us = r->now;
        if (id == SPACE_APP)
            p->own_seq = c->used_seq;
    }
    return r->path;
}

/* An authentic, new packet: its frames, its acknowledgement. */
static void recv_packet(struct recv *r, enum space_id id, const struct sealed *s, bool old_phase)
{
    struct conn *c = r->c;
    struct space *space = conn_space(c, id);
    uint32_t head = (uint32_t)s->pn_offset + s->pn_size;
    struct apply a = {.space = id,
                      .number = s->number,
                      .in = id == SPACE_APP && s->data[0] & 0x80 ? IN_0
                            : id == SPACE_INITIAL                ? IN_I
                            : id == SPACE_HANDSHAKE              ? IN_H
                                                                 : IN_1,
                      .lent = r->lent,
                      .old_phase = old_phase};
    if (s->number > VARINT_MAX) /* RFC 9000 §12.3: there is no such number */
        return;
    if (ack_is_duplicate(&space->ack, s->number)) { /* RFC 9000 §12.3 */
        c->counts.duplicates++;
        c->ep->stats.drop_duplicate++;
        recv_drop(r, AQ_DROP_DUPLICATE, s->size);
        return;
    }
    r->processed = c->got_packet = true;
    c->counts.recv_packets++;
    a.path = recv_path(r, id);
    trace_packet_received(&c->tracer, id, s->number, s->size, r->now);
    trace_frames(&c->tracer, s->data + head, s->size - head - AEAD_TAG_SIZE, r->now);
    /* RFC 9000 §17.2, §17.3: reserved bits must be zero once protection is off. */
    if (s->data[0] & (s->data[0] & 0x80 ? 0x0c : 0x18)) {
        a.where = "RFC 9000 17.2: reserved bits";
        conn_fail(c, AQ_PROTOCOL_VIOLATION, &a, r->now);
        return;
    }
    int error = frames_apply(c, s->data + head, s->size - head - AEAD_TAG_SIZE, &a, r->now);
    if (error > 0) { /* RFC 9000 §5.2: what came before it in the packet has happened */
        conn_fail(c, error, &a, r->now);
        return;
    }
    if (error < 0) { /* no memory for it: not acknowledged, so it comes again */
        c->ep->stats.drop_memory++;
        recv_drop(r, AQ_DROP_MEMORY, s->size);
        return;
    }
    space = conn_space(c, id); /* its keys may have gone meanwhile */
    if (space)
        ack_on_packet(&space->ack, s->number, a.eliciting, r->d->ecn, r->now);
    if (id == SPACE_APP && a.in == IN_1 && conn_is_open(c))
        paths_on_packet(c, &a, r->now);
    c->last_recv_us = r->now;
    c->eliciting_since_recv = false; /* RFC 9000 §10.1 */
}

static void recv_failed(struct recv *r, const struct sealed *s)
{
    struct conn *c = r->c;
    uint64_t failures = s->data[0] & 0x80 ? 0 : ++c->keys.failures;
    c->ep->stats.drop_auth++;
    c->counts.undecryptable++;
    recv_drop(r, AQ_DROP_AUTH, s->size);
    if (!(s->data[0] & 0x80) && s->size >= 21
        && cid_peer_is_reset(&c->peer_cids,
                             s->data + s->size - RESET_TOKEN_SIZE)) { /* RFC 9000 §10.3.1 */
        conn_end(c, AQ_BY_RESET, 0, "stateless reset", "RFC 9000 10.3", r->now);
        return;
    }
    /* RFC 9001 §6.6: the integrity limit. */
    if (c->keys.rx.set && failures > protect_integrity_limit((enum cipher)c->keys.rx.cipher)) {
        struct apply a = {.where = "RFC 9001 6.6: integrity limit"};
        conn_fail(c, AQ_AEAD_LIMIT_REACHED, &a, r->now);
    }
}

/* SECURITY.md row 22: packets ahead of their keys wait in a small buffer; what does not fit is
 * lost. */
static void recv_hold(struct recv *r, const uint8_t *data, size_t size)
{
    struct conn *c = r->c;
    struct hand *h = c->hand;
    bool may = h && c->state == CONN_HANDSHAKE && size <= 2048;
    if (may && !h->held)
        h->held = quota_take(&c->quota, HELD_SIZE);
    if (!may || !h->held || h->held_size + size + 2 > HELD_SIZE) {
        c->ep->stats.drop_no_keys++;
        recv_drop(r, AQ_DROP_NO_KEYS, size);
        return;
    }
    uint8_t *p = h->held + h->held_size;
    p[0] = (uint8_t)(size >> 8);
    p[1] = (uint8_t)size;
    memcpy(p + 2, data, size);
    h->held_size += (uint32_t)size + 2;
    if (!c->server) /* what comes before it is lost, or late */
        conn_hurry(c, r->now);
}

/* ---- short headers ---- */

static void recv_opened(struct recv *r, struct sealed *s)
{
    struct conn *c = r->c;
    bool phase = (s->data[0] & 0x04) != 0, updated;
    int error = keys_on_opened(&c->keys, phase, s->number, &updated);
    if (error != AQ_OK) {
        struct apply a = {.where = "RFC 9001 6.4: an old key for a newer packet"};
        conn_fail(c, error, &a, r->now);
        return;
    }
    if (updated) {
        trace_key(&c->tracer, AQ_TRACE_KEY_UPDATED, LEVEL_APP, 0, c->keys.rx_phase, r->now);
        conn_arm(c, TIMER_KEYS, r->now + 3 * conn_pto(c, SPACE_APP)); /* RFC 9001 §6.5 */
    }
    /* Of keys before those that we send with; the peer's update is answered by now. */
    uint64_t of_phase = c->keys.rx_phase - (phase != (c->keys.rx_phase & 1));
    recv_packet(r, SPACE_APP, s, of_phase < c->keys.tx_phase);
}

/* A run of 1-RTT packets: unmask all, then open together those under the current key. */
static void recv_short(struct recv *r, struct sealed *v, unsigned n)
{
    struct conn *c = r->c;
    if (!n || !conn_is_open(c))
        return;
    if (!c->keys.rx.set) {
        for (unsigned i = 0; i < n; i++)
            recv_hold(r, v[i].data, v[i].size);
        return;
    }
    uint64_t expected = ack_largest(&c->app.ack) + 1; /* UINT64_MAX, none, becomes 0 */
    protect_unmask(&c->keys.rx_hp, v, n);
    for (unsigned i = 0, run; i < n; i += run) {
        bool phase = (v[i].data[0] & 0x04) != 0;
        const struct aead_key *key = keys_for(&c->keys, phase);
        for (run = 0; i + run < n && ((v[i + run].data[0] & 0x04) != 0) == phase; run++) {
            struct sealed *s = &v[i + run];
            s->number = packet_number_decode(s->number, s->pn_size ? s->pn_size : 1, expected);
            s->ok = s->ok && key;
        }
        if (key)
            protect_open(key, v + i, run);
        for (unsigned j = i; j < i + run && conn_is_open(c); j++) {
            if (v[j].ok)
                recv_opened(r, &v[j]);
            else
                recv_failed(r, &v[j]);
        }
    }
}

/* ---- long headers ---- */

static struct keys_long *recv_keys(struct conn *c, const struct packet_head *h)
{
    if (!c->hand)
        return NULL;
    if (h->type == PACKET_INITIAL && !c->initial_discarded)
        return &c->hand->keys[0];
    return h->type == PACKET_HANDSHAKE && !c->handshake_discarded ? &c->hand->keys[1] : NULL;
}

/* What an authentic long header packet means for addresses and ids before its frames are applied.
 */
static bool recv_long_checks(struct recv *r, const struct packet_head *h)
{
    struct conn *c = r->c;
    struct cid *first = &c->peer_cids.v[0].cid;
    if (!c->server && !c->got_packet) /* RFC 9000 §7.2: the server's choice of id replaces ours */
        cid_peer_replace_first(&c->peer_cids, &h->scid);
    else if (c->peer_cids.v[0].used && cid_remote_seq(&c->peer_cids.v[0]) == 0
             && !cid_equal(first, &h->scid))
        return false; /* RFC 9000 §7.2: any other Source Connection ID is dropped */
    if (h->type == PACKET_INITIAL && !c->server && h->token_size)
        return false; /* RFC 9000 §17.2.2: a server's Initial carries no token */
    if (h->type == PACKET_HANDSHAKE && c->server) {
        if (conn_path(c)->state != PATH_VALID)
            trace_path(&c->tracer, c->active, PATH_VALID, r->now);
        path_set_state(conn_path(c), PATH_VALID);    /* RFC 9000 §8.1 */
        handshake_discard(c, SPACE_INITIAL, r->now); /* RFC 9001 §4.9.1 */
    }
    return true;
}

/* RFC 9001 §5.7: 0-RTT packets share the application space's numbers; what came ahead of its
 * ClientHello waits (SECURITY.md row 22). */
static void recv_early(struct recv *r, uint8_t *data, const struct packet_head *h)
{
    struct conn *c = r->c;
    if (!early_can_open(c, r->now)) {
        if (c->server && c->hand && c->state == CONN_HANDSHAKE && !c->params_known) {
            recv_hold(r, data, h->size);
            return;
        }
        c->ep->stats.drop_no_keys++;
        recv_drop(r, AQ_DROP_NO_KEYS, h->size);
        return;
    }
    struct sealed s = {
        .data = data, .size = (uint32_t)h->size, .pn_offset = (uint16_t)h->pn_offset, .ok = true};
    protect_unmask(&c->hand->early_hp, &s, 1);
    if (s.ok) {
        s.number = packet_number_decode(s.number, s.pn_size, ack_largest(&c->app.ack) + 1);
        protect_open(&c->hand->early, &s, 1);
    }
    if (!s.ok)
        recv_failed(r, &s);
    else if (recv_long_checks(r, h))
        recv_packet(r, SPACE_APP, &s, false);
}

static void recv_long(struct recv *r, uint8_t *data, const struct packet_head *h)
{
    struct conn *c = r->c;
    enum space_id id = h->type == PACKET_INITIAL ? SPACE_INITIAL : SPACE_HANDSHAKE;
    struct keys_long *keys = recv_keys(c, h), other;
    if (h->type == PACKET_ZERO_RTT) {
        recv_early(r, data, h);
        return;
    }
    if (h->version != c->version && id == SPACE_INITIAL) { /* RFC 9369 §4.1 */
        handshake_initial_keys(c, h->version, &other);
        keys = &other;
    }
    if (!keys) {
        c->ep->stats.drop_no_keys++;
        recv_drop(r, AQ_DROP_NO_KEYS, h->size);
        return;
    }
    if (!keys->rx.set) {
        recv_hold(r, data, h->size);
        return;
    }
    struct sealed s = {
        .data = data, .size = (uint32_t)h->size, .pn_offset = (uint16_t)h->pn_offset, .ok = true};
    protect_unmask(&keys->rx_hp, &s, 1);
    if (s.ok) {
        uint64_t expected = ack_largest(&conn_space(c, id)->ack) + 1;
        s.number = packet_number_decode(s.number, s.pn_size, expected);
        protect_open(&keys->rx, &s, 1);
    }
    if (!s.ok) {
        recv_failed(r, &s);
        return;
    }
    if (recv_long_checks(r, h)) {
        if (keys == &other && !c->server)
            negotiate_follow(c, h->version);
        recv_packet(r, id, &s, false);
    } else {
        c->ep->stats.drop_unknown_cid++;
        recv_drop(r, AQ_DROP_CID, h->size);
    }
}

/* One datagram that begins with a long header: its packets in a row (RFC 9000 §12.2). */
static void recv_coalesced(struct recv *r, uint8_t *data, uint32_t size)
{
    struct conn *c = r->c;
    struct cid first = {0};
    for (uint32_t at = 0; at < size && conn_is_open(c);) {
        struct packet_head h;
        if (endpoint_parse(c->ep, data + at, size - at, &h) != AQ_OK) {
            c->ep->stats.drop_short++;
            recv_drop(r, AQ_DROP_SHORT, size - at);
            return;
        }
        if (at == 0)
            first = h.dcid;
        else if (!cid_equal(&first, &h.dcid)) /* RFC 9000 §12.2 */
            return;
        if (h.type == PACKET_RETRY)
            handshake_on_retry(c, &h, data + at, r->now);
        else if (h.type == PACKET_VERSION_NEGOTIATION)
            negotiate_on_versions(c, &h, r->now);
        else if (h.type == PACKET_ONE_RTT)
            recv_short(r,
                       &(struct sealed){.data = data + at,
                                        .size = size - at,
                                        .pn_offset = (uint16_t)(1 + c->ep->cid_key.size),
                                        .ok = true},
                       1);
        else if (h.type == PACKET_UNKNOWN_VERSION || !negotiate_takes(c, &h)) {
            c->ep->stats.drop_version++;
            recv_drop(r, AQ_DROP_VERSION, h.size);
        } else if (h.type == PACKET_INITIAL && c->server && size < INITIAL_MIN_DATAGRAM) {
            c->ep->stats.drop_short++; /* RFC 9000 §14.1 */
            recv_drop(r, AQ_DROP_SHORT, h.size);
        } else {
            recv_long(r, data + at, &h);
        }
        at += (uint32_t)h.size;
    }
}

/* Keys came: what waited for them is received now. */
static void recv_replay(struct recv *r)
{
    struct conn *c = r->c;
    struct hand *h = c->hand;
    if (!h || !h->held_size || !conn_is_open(c))
        return;
    if (!(c->keys.rx.set || h->early.set || (h->keys[1].rx.set && c->state == CONN_HANDSHAKE)))
        return;
    uint8_t *held = h->held;
    uint32_t size = h->held_size;
    bool lent = r->lent;
    h->held = NULL; /* what still has no keys is held anew */
    h->held_size = 0;
    r->lent = false;
    for (uint32_t at = 0; at + 2 <= size && conn_is_open(c);) {
        uint32_t n = (uint32_t)held[at] << 8 | held[at + 1];
        recv_coalesced(r, held + at + 2, n);
        at += n + 2;
    }
    r->lent = lent;
    quota_give(&c->quota, held, HELD_SIZE);
}

/* While closing every packet is a reason to repeat the close, ever more rarely (RFC 9000 §10.2.1).
 */
static void recv_closing(struct recv *r, size_t size)
{
    struct conn *c = r->c;
    c->ep->stats.drop_closed++;
    recv_drop(r, AQ_DROP_CLOSED, size);
    if (c->state != CONN_CLOSING)
        return;
    c->closing.packets++;
    if ((c->closing.packets & (c->closing.packets - 1)) == 0) {
        c->closing.due = true;
        conn_wake(c);
    }
}

static void recv_end(struct recv *r)
{
    struct conn *c = r->c;
    struct path *p = r->path != PATH_NONE ? c->path[r->path] : NULL;
    if (r->processed && p)
        p->ttl = r->d->ttl;
    uint64_t delay = ack_delay_asked(&c->app.ack, c->ep->config.max_ack_delay_us);
    for (enum space_id i = SPACE_INITIAL; i < SPACES; i++) {
        struct space *space = conn_space(c, i);
        if (space)
            ack_batch_end(&space->ack, i != SPACE_APP, delay, r->now);
    }
    if (handshake_can_end(c))
        handshake_over(c, r->now);
    if (!c->server || c->got_packet) /* junk never gets into a list */
        conn_wake(c);
}

/* RFC 9000 §10.3: whatever ends in the token is a stateless reset, a long header in front or not.
 */
static void recv_long_reset(struct recv *r, const uint8_t *data, uint32_t size)
{
    if (!r->processed && size >= 21
        && cid_peer_is_reset(&r->c->peer_cids, data + size - RESET_TOKEN_SIZE))
        conn_end(r->c, AQ_BY_RESET, 0, "stateless reset", "RFC 9000 10.3", r->now);
}

void conn_recv(struct conn *c, const struct aq_datagram *d, uint8_t *const *data,
               const uint32_t *size, unsigned n, uint64_t now)
{
    struct recv r = {.c = c, .d = d, .lent = true, .now = now};
    struct sealed batch[RECV_RUN];
    unsigned m = 0;
    r.path = paths_find(c, d);
    if (r.path == PATH_NONE && !paths_may_open(c)) {
        c->ep->stats.drop_path += n;
        for (unsigned i = 0; i < n; i++)
            recv_drop(&r, AQ_DROP_PATH, size[i]);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (r.path != PATH_NONE && c->path[r.path])
            c->path[r.path]->recv_bytes += size[i];
        else
            r.bytes += size[i];
        c->counts.recv_bytes += size[i];
        if (!conn_is_open(c)) {
            recv_closing(&r, size[i]);
        } else if (data[i][0] & 0x80) {
            recv_short(&r, batch, m);
            m = 0;
            r.processed = false;
            recv_coalesced(&r, data[i], size[i]);
            recv_long_reset(&r, data[i], size[i]);
            recv_replay(&r);
        } else if (!(data[i][0] & PACKET_FIXED_BIT) && c->ep->config.no_grease_bit) {
            /* RFC 9000 §17.3.1: the fixed bit is 1 */
            c->ep->stats.drop_not_quic++;
            recv_drop(&r, AQ_DROP_NOT_QUIC, size[i]);
        } else {
            batch[m++] = (struct sealed){.data = data[i],
                                         .size = size[i],
                                         .pn_offset = (uint16_t)(1 + c->ep->cid_key.size),
                                         .ok = true};
        }
    }
    recv_short(&r, batch, m);
    recv_replay(&r); /* keys may have come outside of a packet: a late verification */
    if (conn_is_open(c))
        recv_end(&r);
}
