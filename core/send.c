/* send.c -- the sending line: path and window, packets filled in a row, sealed as a batch, one
 * train (RFC 9000 §12 to §14).
 *
 * A train is up to 64 datagrams of equal size to one path; only the last may be shorter. While long
 * header keys are in use a train is one datagram of coalesced packets. What is sent is committed to
 * the sent ring before it is sealed. */
#include "core/endpoint.h"
#include "core/frame.h"
#include "core/num.h"

enum {
    TRAIN_PACKETS = 64,
    RESET_MARGIN = 22,
    RECORDS_LEAST = 24, /* of a packet, and more where there are more streams: each may have one */
    RECORDS_MOST = 120,
    RECORDS_SPARE = 2 /* an ACK's, a PING's */
};

/* Packets of one train, waiting to be sealed. */
struct batch {
    struct sealed v[TRAIN_PACKETS];
    unsigned count, max;
    uint8_t mark; /* SENT_ECT: the train is marked, which is for all its packets or none */
};

static struct keys_long *long_keys(struct conn *c, enum space_id id)
{
    return c->hand ? &c->hand->keys[id] : NULL;
}

static bool can_seal(struct conn *c, enum space_id id)
{
    if (!conn_space(c, id))
        return false;
    if (id == SPACE_APP && early_sends(c))
        return true;
    if (id == SPACE_APP)
        return c->keys.tx.set
               && ((c->state == CONN_HANDSHAKE && early_is_open(c)) || c->state == CONN_CONNECTED
                   || c->state == CONN_CONFIRMED || c->state == CONN_CLOSING);
    const struct keys_long *keys = long_keys(c, id);
    return keys && keys->tx.set;
}

/* ---- one packet ---- */

/* RFC 9000 §21.4: a number is left out now and then, so that a peer that acknowledges what it has
 * not seen is caught. */
static void maybe_skip(struct conn *c, struct space *space)
{
    if (space != &c->app || space->sent.next != c->skip_at)
        return;
    sent_skip(&space->sent);
    c->skip_at = space->sent.next + SKIP_MIN + rng_below(&c->ep->rng, SKIP_SPAN);
}

/* RFC 9000 §10.3: at least 22 bytes more than the ids that we ask the peer to use, so that what we
 * send could be a stateless reset, and what answers it be smaller. */
static size_t packet_least(const struct conn *c)
{
    return RESET_MARGIN + (size_t)c->ep->cid_key.size;
}

/* Header and empty payload of the next packet of a space. False: no memory for its record, or no
 * room. */
static bool packet_begin(struct conn *c, struct out *o, enum space_id id, uint8_t *at, size_t size)
{
    struct space *space = conn_space(c, id);
    if (size < packet_least(c) + AEAD_TAG_SIZE)
        return false;
    o->records_max = (uint8_t)min_u64(RECORDS_MOST, RECORDS_LEAST + (uint64_t)c->streams.count);
    if (sent_reserve(&space->sent, &c->quota, 1, o->records_max + RECORDS_SPARE) != AQ_OK) {
        if (conn_is_open(c)) /* nothing may be in flight that would wake us: look again */
            conn_arm(c, TIMER_MEMORY, o->now + MEMORY_WAIT_US);
        return false;
    }
    maybe_skip(c, space);
    o->space = space;
    o->id = id;
    o->start = at;
    o->number = space->sent.next;
    o->pn_size = (uint8_t)packet_number_size(o->number, space->sent.largest_acked);
    o->flags = 0;
    o->frames = 0;
    o->w = writer_make(at, size - AEAD_TAG_SIZE);
    o->early = id == SPACE_APP && early_sends(c);
    if (id == SPACE_APP && !o->early) {
        const struct cid *to = o->path == conn_path(c)
                                   ? cid_peer_active(&c->peer_cids)
                                   : &cid_peer_find(&c->peer_cids, o->path->cid_seq)->cid;
        o->pn_offset = packet_write_short(&o->w, to, false, c->keys.tx_phase & 1, o->pn_size);
    } else {
        struct cid own;
        struct aq_iov token = {c->hand->token,
                               id == SPACE_INITIAL && !c->server ? c->hand->token_size : 0};
        endpoint_cid(c->ep, c, 0, &own);
        enum packet_type type = id == SPACE_INITIAL ? PACKET_INITIAL
                                : o->early          ? PACKET_ZERO_RTT
                                                    : PACKET_HANDSHAKE;
        o->pn_offset = packet_write_long(&o->w, type, o->early ? c->hand->original : c->version,
                                         cid_peer_active(&c->peer_cids), &own, &token, o->pn_size);
    }
    if (c->peer.grease_bit)
        o->start[0] ^= endpoint_grease_bit(c->ep);
    packet_write_number(&o->w, o->number, o->pn_size);
    return !o->w.bad;
}

static size_t packet_size(const struct out *o)
{
    return (size_t)(o->w.p - o->start) + AEAD_TAG_SIZE;
}

static void packet_pad(struct out *o, size_t size)
{
    size_t have = packet_size(o);
    if (have >= size)
        return;
    size_t n = size - have;
    assert(n <= writer_left(&o->w));
    memset(o->w.p, 0, n);
    o->w.p += n;
    o->flags |= SENT_IN_FLIGHT; /* RFC 9002 §2: PADDING counts */
}

/* RFC 9001 §5.4.2: enough for the sample; RFC 9000 §10.3: never shorter than a stateless reset may
 * be. */
static void packet_pad_least(const struct conn *c, struct out *o)
{
    size_t sample = o->pn_offset + 4 + HP_SAMPLE_SIZE;
    packet_pad(o, sample > packet_least(c) ? sample : packet_least(c));
}

void conn_sent(struct conn *c, unsigned n, bool eliciting, uint64_t now)
{
    if (eliciting) {
        if (!c->eliciting_since_recv)
            c->last_eliciting_sent_us = now;
        c->eliciting_since_recv = true;
        c->acks_alone = 0;
    } else {
        c->acks_alone += n;
        c->counts.acks_alone += n;
    }
    c->counts.sent_packets += n;
}

/* The packet is whole: patched, committed, counted. */
static void packet_commit(struct conn *c, struct out *o, struct batch *b)
{
    struct path *p = o->path;
    size_t size = packet_size(o);
    struct sent sent = {.time_us = o->now,
                        .size = (uint16_t)size,
                        .flags = o->flags | b->mark,
                        .path = p->index,
                        .phase = (uint8_t)c->keys.tx_phase};
    if (o->id != SPACE_APP || o->early)
        packet_patch_length(o->start, o->pn_offset, size - o->pn_offset);
    b->v[b->count++] = (struct sealed){.data = o->start,
                                       .number = o->number,
                                       .size = (uint32_t)size,
                                       .pn_offset = (uint16_t)o->pn_offset,
                                       .pn_size = o->pn_size,
                                       .ok = true};
    sent_commit(&o->space->sent, &sent);
    if (o->flags & SENT_IN_FLIGHT) {
        cc_on_sent(&p->cc, size, o->now);
        pace_on_sent(&p->pace, size);
    }
    /* RFC 9002 §6.2.4: where the first probe carried all there is, the second repeats it. */
    if (o->flags & SENT_ELICITING && o->space->probes && --o->space->probes == 1
        && !frames_wait(c, o))
        conn_probe(c, o->id, 1, o->now);
    conn_sent(c, 1, o->flags & SENT_ELICITING, o->now);
    trace_packet_sent(&c->tracer, o->id, o->number, size, o->flags, o->now);
    trace_frames(&c->tracer, o->start + o->pn_offset + o->pn_size,
                 size - AEAD_TAG_SIZE - o->pn_offset - o->pn_size, o->now);
}

/* Nothing worth sending was found: as if it had never begun. */
static void packet_drop(struct out *o, const struct ack *before)
{
    o->space->ack = *before;
    sent_rollback(&o->space->sent);
}

/* Fills one packet. False: nothing to send in this space now. */
static bool packet_fill(struct conn *c, struct out *o)
{
    struct ack before = o->space->ack;
    bool due = ack_is_due(&before, o->now);
    frames_fill(c, o);
    bool has_ack = sent_open_records(&o->space->sent) > o->frames;
    if (!o->frames && !(has_ack && due)) {
        packet_drop(o, &before);
        return false;
    }
    packet_pad_least(c, o);
    if (o->full)
        packet_pad(o, packet_size(o) + writer_left(&o->w));
    return true;
}

/* ---- the window ---- */

static bool more_to_send(const struct conn *c)
{
    return c->streams.send_head != POOL_NONE || datagram_owed(c);
}

/* Ack-eliciting bytes that may go now: congestion window and pacer, or a probe (RFC 9002 §7.5:
 * probes are not blocked). */
static uint64_t send_room(struct conn *c, const struct space *space, uint32_t want)
{
    struct path *p = conn_path(c);
    if (space->probes)
        return want;
    if (cc_room(&p->cc) < want)
        return 0;
    /* The pacer holds back data; lone control frames it lets pass, since no timer would call for
     * them. */
    return more_to_send(c) && pace_room(&p->pace) < want ? 0 : want;
}

/* data is the first packet; a channel's prefix has room before it, and before each of the others.
 */
static void finish_train(struct conn *c, struct path *p, struct aq_train *train, uint8_t *data,
                         uint32_t size, uint16_t segment)
{
    uint32_t prefix = path_prefix(p);
    *train = (struct aq_train){.data = data - prefix,
                               .size = size + prefix,
                               .segment = (uint16_t)(segment + prefix),
                               .socket = p->socket,
                               .ifindex = p->ifindex,
                               .channel = p->channel,
                               .local = p->local,
                               .remote = p->remote};
    p->sent_bytes += train->size;
    c->counts.sent_bytes += train->size;
}

/* Of n packets in it so many elicit no acknowledgement. */
static void mark_train(struct conn *c, struct path *p, struct aq_train *train, unsigned n,
                       unsigned mute, uint64_t now)
{
    uint8_t before = p->ecn.state;
    train->ecn = AQ_ECN_ECT0;
    ecn_on_sent(&p->ecn, &c->ecn, n, mute);
    trace_ecn(&c->tracer, p->index, before, p->ecn.state, now);
}

/* ---- coalesced datagrams: Initial, Handshake, 1-RTT ---- */

static void seal_long(struct conn *c, struct batch *b, const struct out *o, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (o[i].early)
            protect_seal(&c->hand->early, &c->hand->early_hp, &b->v[i], 1);
        else if (o[i].id == SPACE_APP)
            protect_seal(&c->keys.tx, &c->keys.tx_hp, &b->v[i], 1);
        else
            protect_seal(&long_keys(c, o[i].id)->tx, &long_keys(c, o[i].id)->tx_hp, &b->v[i], 1);
    }
}

/* RFC 9000 §14.1, RFC 9001 §9.3: a datagram with an Initial is padded to 1,200 when a client sends
 * it, or when it elicits an ACK. */
static bool must_pad(const struct conn *c, const struct out *o, unsigned n)
{
    return n && o[0].id == SPACE_INITIAL && (!c->server || (o[0].flags & SENT_ELICITING));
}

static uint32_t send_coalesced(struct conn *c, uint8_t *out, struct aq_train *train, uint64_t now)
{
    struct path *p = conn_path(c);
    uint64_t room = path_room(p);
    size_t limit = room < MTU_BASE ? (size_t)room : MTU_BASE, size = 0;
    struct out o[SPACES];
    struct batch b = {.count = 0};
    unsigned n = 0;
    if (limit < MTU_BASE) /* RFC 9000 §8.1: what cannot be padded to 1,200 waits for more from the
                             client */
        return 0;
    for (enum space_id id = SPACE_INITIAL; id < SPACES; id++) {
        if (!can_seal(c, id) || (id == SPACE_APP && !n && !early_sends(c)))
            continue;
        o[n] = (struct out){.path = p, .now = now};
        if (!packet_begin(c, &o[n], id, out + size, limit - size))
            continue;
        o[n].room = send_room(c, o[n].space, MTU_BASE) ? MTU_BASE : 0;
        /* RFC 9002 §7: a client's Initial is padded to 1,200 bytes, which counts as in flight even
         * where it only acknowledges: so it waits for room, or for a probe. */
        if (id == SPACE_INITIAL && !c->server && !o[n].room)
            continue;
        if (packet_fill(c, &o[n]))
            size += packet_size(&o[n++]);
    }
    if (!n)
        return 0;
    if (must_pad(c, o, n)) {
        packet_pad(&o[n - 1], packet_size(&o[n - 1]) + (limit - size));
        size = limit;
    }
    bool mark = o[n - 1].id == SPACE_APP && ecn_may_mark(&p->ecn, 1);
    bool mute = !(o[n - 1].flags & SENT_ELICITING);
    for (unsigned i = 0; i < n; i++) {
        b.mark =
            mark && o[i].id == SPACE_APP ? SENT_ECT : 0; /* only that space's counts are used */
        packet_commit(c, &o[i], &b);
    }
    seal_long(c, &b, o, n);
    finish_train(c, p, train, out, (uint32_t)size, (uint16_t)size);
    if (mark)
        mark_train(c, p, train, 1, mute, now);
    if (!c->server && n && c->hand && c->hand->keys[1].tx.set
        && (o[0].id == SPACE_HANDSHAKE || (n > 1 && o[1].id == SPACE_HANDSHAKE)))
        handshake_discard(c, SPACE_INITIAL,
                          now); /* RFC 9001 §4.9.1: a client's first Handshake packet */
    return (uint32_t)size;
}

/* ---- 1-RTT trains ---- */

/* RFC 9001 §6.6 and config: update keys in time. */
static void maybe_update_keys(struct conn *c, uint64_t now)
{
    uint64_t limit = protect_confidentiality_limit((enum cipher)c->keys.tx.cipher);
    uint64_t wanted = c->ep->config.key_update_packets;
    limit -= limit >> 4; /* well before the limit itself */
    if (wanted && wanted < limit)
        limit = wanted;
    if (!c->update_wanted && c->keys.tx_count < limit)
        return;
    if (c->state != CONN_CONFIRMED || !keys_can_update(&c->keys)) {
        /* RFC 9001 §6.6: where no update is possible the connection ends before the limit; the
         * close needs a few packets. */
        uint64_t hard = protect_confidentiality_limit((enum cipher)c->keys.tx.cipher);
        struct apply a = {.where = "RFC 9001 6.6: confidentiality limit"};
        if (c->keys.tx_count >= hard - 4 * TRAIN_PACKETS)
            conn_fail(c, AQ_AEAD_LIMIT_REACHED, &a, now);
        return;
    }
    keys_update(&c->keys);
    c->update_wanted = false;
    trace_key(&c->tracer, AQ_TRACE_KEY_UPDATED, LEVEL_APP, 1, c->keys.tx_phase, now);
}

/* One packet of that size that says whether the path carries it (RFC 9000 §14.3, §14.4). */
static uint32_t send_mtu_probe(struct conn *c, uint8_t *out, struct aq_train *train, uint16_t size,
                               uint64_t now)
{
    struct path *p = conn_path(c);
    struct batch b = {.count = 0};
    struct out o = {.path = p, .now = now};
    if (!packet_begin(c, &o, SPACE_APP, out, size))
        return 0;
    /* draft-ietf-quic-ack-frequency §8.3: answered at once, where the peer can. */
    struct frame ping = {.type = ackfreq_ping(&c->ackfreq)};
    frame_encode(&o.w, &ping);
    o.flags = SENT_ELICITING | SENT_IN_FLIGHT | SENT_MTU_PROBE;
    sent_record(&o.space->sent, RECORD_MTU_PROBE)->size = size;
    packet_pad(&o, size);
    packet_commit(c, &o, &b);
    if (c->mtu_wish == size)
        mtu_wished(&p->mtu, size);
    else
        mtu_probed(&p->mtu, size);
    c->mtu_wish = 0;
    protect_seal(&c->keys.tx, &c->keys.tx_hp, b.v, 1);
    c->keys.tx_count++;
    finish_train(c, p, train, out, size, size);
    train->flags = AQ_TRAIN_NO_GSO;
    return size;
}

/* The size of an MTU probe that is to go now, 0: none. It is held back by congestion control, but
 * its loss tells that nothing. */
static uint16_t wants_mtu_probe(const struct conn *c, uint64_t now)
{
    enum {
        BULK_PACKETS = 16
    }; /* a short exchange gains nothing from larger packets */
    const struct path *p = conn_path(c);
    bool bulk = more_to_send(c) && c->counts.sent_packets >= BULK_PACKETS;
    bool larger = bulk || (c->datagrams && c->datagrams->larger_wanted);
    bool wished = c->mtu_wish > p->mtu.size && c->mtu_wish <= p->mtu.max && !p->mtu.probed;
    if (c->state != CONN_CONFIRMED || p->state != PATH_VALID || !p->mtu_valid
        || !(larger || wished))
        return 0;
    uint16_t size = wished ? c->mtu_wish : mtu_next(&p->mtu, c->ep->config.mtu_raise_us, now);
    return cc_room(&p->cc) >= size ? size : 0;
}

/* Path validation: one datagram on its own path (RFC 9000 §8.2, §9.1). */
static uint32_t send_probe(struct conn *c, struct path *p, uint8_t *out, struct aq_train *train,
                           uint64_t now)
{
    uint64_t room = path_room(p);
    /* RFC 9000 §8.2.1, §8.2.2: 1,200 bytes, unless the 3x limit forbids it; or, PROTOCOL §1, our
     * own limit for an address that is only said to be the peer's. */
    bool full = room >= MTU_BASE && (p->challenge_due || p->responses);
    uint64_t most = room < MTU_BASE ? room : MTU_BASE;
    struct batch b = {.count = 0};
    struct out o = {.path = p, .now = now};
    struct ack before = c->app.ack;
    if (!packet_begin(c, &o, SPACE_APP, out, (size_t)most))
        return 0;
    fill_path(c, &o, full);
    if (!o.frames) {
        packet_drop(&o, &before);
        return 0;
    }
    packet_pad_least(c, &o);
    if (full)
        packet_pad(&o, MTU_BASE);
    path_probed(p, now);
    packet_commit(c, &o, &b);
    protect_seal(&c->keys.tx, &c->keys.tx_hp, b.v, 1);
    c->keys.tx_count++;
    finish_train(c, p, train, out, b.v[0].size, (uint16_t)b.v[0].size);
    return b.v[0].size;
}

static uint32_t send_probes(struct conn *c, uint8_t *out, struct aq_train *train, uint64_t now)
{
    uint32_t sent = 0;
    for (unsigned i = 0; i < PATHS && !sent; i++) {
        if (c->path[i] && path_wants_probe(c->path[i], now))
            sent = send_probe(c, c->path[i], out, train, now);
    }
    return sent;
}

/* Packets that the train may still take: at bytes are in it, room bytes are left. */
static unsigned train_left(const struct path *p, const struct batch *b, uint32_t room, uint32_t at)
{
    uint64_t allowed = path_room(p) - at;
    uint64_t n = (allowed < room ? allowed : room) / (p->mtu.size + path_prefix(p));
    return n < b->max - b->count ? (unsigned)n : b->max - b->count;
}

static uint32_t send_train(struct conn *c, uint8_t *out, uint32_t size, struct aq_train *train,
                           uint64_t now)
{
    struct path *p = conn_path(c);
    /* RFC 8899 §4.3: what silences the path may be the size, so a PTO's probes do not have it. */
    uint32_t mtu = c->app.probes ? MTU_BASE : p->mtu.size;
    uint32_t prefix = path_prefix(p), stride = mtu + prefix, at = 0;
    unsigned mute = 0;
    struct batch b;
    b.count = 0;
    b.mark = ecn_marks(&p->ecn) ? SENT_ECT : 0;
    b.max = c->app.probes ? c->app.probes : TRAIN_PACKETS;
    if (b.mark)
        b.max = ecn_may_mark(&p->ecn, b.max);
    while (b.count < b.max && at + stride <= size && path_room(p) >= at + stride) {
        unsigned n = bulk_fill(c, out + at, train_left(p, &b, size - at, at), b.v + b.count, now);
        if (n) {
            b.count += n;
            at += n * stride;
            continue;
        }
        struct out o = {.path = p, .now = now};
        if (!packet_begin(c, &o, SPACE_APP, out + at, mtu))
            break;
        o.room = (uint32_t)send_room(c, o.space, mtu);
        if (!packet_fill(c, &o))
            break;
        packet_commit(c, &o, &b);
        mute += !(o.flags & SENT_ELICITING);
        at += b.v[b.count - 1].size + prefix;
        if (b.v[b.count - 1].size < mtu) /* GSO: only the last of a train may be shorter */
            break;
    }
    if (!b.count)
        return 0;
    protect_seal(&c->keys.tx, &c->keys.tx_hp, b.v, b.count);
    c->keys.tx_count += b.count;
    if (!c->initial_discarded && !c->server && c->state == CONN_CONFIRMED)
        handshake_discard(c, SPACE_INITIAL, now);
    at -= prefix;
    finish_train(c, p, train, out, at, (uint16_t)(b.count > 1 ? mtu : at));
    if (b.mark)
        mark_train(c, p, train, b.count, mute, now);
    return at;
}

/* Nothing was sent: was it the application that had no more (RFC 9002 §7.8), or the pacer that held
 * it back? */
static void send_idle(struct conn *c, uint64_t now)
{
    struct path *p = conn_path(c);
    if (!more_to_send(c)) {
        c->limited_below = c->app.sent.next;
        cc_on_limited(&p->cc);
        return;
    }
    if (cc_room(&p->cc) >= p->mtu.size && pace_room(&p->pace) < p->mtu.size)
        conn_arm(c, TIMER_PACE, pace_next(&p->pace, cc_room(&p->cc), now));
}

/* ---- closing ---- */

/* RFC 9000 §10.2.3: at every level that the peer may be able to open, in one datagram. */
static uint32_t send_close(struct conn *c, uint8_t *out, struct aq_train *train, uint64_t now)
{
    struct path *p = conn_path(c);
    uint64_t room = path_room(p);
    size_t limit = room < MTU_BASE ? (size_t)room : MTU_BASE, size = 0;
    struct out o[SPACES];
    struct batch b = {.count = 0};
    unsigned n = 0;
    c->closing.due = false;
    for (enum space_id id = SPACE_INITIAL; id < SPACES; id++) {
        o[n] = (struct out){.path = p, .now = now};
        if (!can_seal(c, id) || !packet_begin(c, &o[n], id, out + size, limit - size))
            continue;
        fill_close(c, &o[n]);
        if (o[n].w.bad)
            continue;
        packet_pad_least(c, &o[n]);
        size += packet_size(&o[n++]);
    }
    if (!n)
        return 0;
    if (must_pad(c, o, n) && limit == MTU_BASE) {
        packet_pad(&o[n - 1], packet_size(&o[n - 1]) + (limit - size));
        size = limit;
    }
    for (unsigned i = 0; i < n; i++) {
        o[i].flags = 0; /* nothing of a closing connection is tracked */
        packet_commit(c, &o[i], &b);
    }
    seal_long(c, &b, o, n);
    for (enum space_id id = SPACE_INITIAL; id < SPACES; id++) {
        if (conn_space(c, id))
            sent_clear(&conn_space(c, id)->sent, &c->quota);
    }
    finish_train(c, p, train, out, (uint32_t)size, (uint16_t)size);
    return (uint32_t)size;
}

/* A peer that sends and sends but acknowledges nothing would have our ACKs pile up behind what it
 * ignores (SECURITY.md row 11). Then what is in flight is given up and owed anew, so that the ring
 * stays short; a late acknowledgement of it says nothing any more, not even a round-trip time. */
static void give_up_ignored(struct conn *c, enum space_id id, uint64_t now)
{
    enum {
        SPAN_MAX = 960
    };
    struct space *space = conn_space(c, id);
    if (!space || space->sent.next - space->sent.first < SPAN_MAX
        || space->sent.next - space->sent.first < 2 * (uint64_t)space->sent.eliciting_in_flight)
        return;
    uint64_t bytes[PATHS_MAX] = {0};
    struct sink_arg arg = {.c = c, .space = id, .now = now, .path = PATH_GONE};
    loss_forget(&space->sent, &c->quota, true, &apply_sink, &arg, bytes);
    for (unsigned i = 0; i < PATHS; i++) {
        if (!c->path[i])
            continue;
        cc_on_left(&c->path[i]->cc, bytes[i]);
        mtu_forget(&c->path[i]->mtu);
    }
}

static bool sends_long(const struct conn *c)
{
    return c->hand && !(c->initial_discarded && c->handshake_discarded);
}

bool conn_wants_send(struct conn *c, uint64_t now)
{
    if (!conn_is_open(c) || more_to_send(c) || sends_long(c) || c->update_wanted)
        return true;
    struct out o = {.path = conn_path(c), .space = &c->app, .id = SPACE_APP, .now = now};
    bool more = frames_owed(c, &o) || wants_mtu_probe(c, now) != 0;
    for (unsigned i = 0; i < PATHS && !more; i++)
        more = c->path[i] && path_wants_probe(c->path[i], now);
    if (!more)
        send_idle(c, now);
    return more;
}

uint32_t conn_send(struct conn *c, uint8_t *out, uint32_t size, struct aq_train *train,
                   uint64_t now)
{
    uint32_t sent = 0;
    if (c->state == CONN_CLOSING)
        return c->closing.due ? send_close(c, out, train, now) : 0;
    if (!conn_is_open(c))
        return 0;
    for (enum space_id id = SPACE_INITIAL; id < SPACES; id++)
        give_up_ignored(c, id, now);
    pace_update(&conn_path(c)->pace, &conn_path(c)->cc, &conn_path(c)->rtt, now);
    if (sends_long(c))
        sent = send_coalesced(c, out, train, now);
    if (sent || !c->keys.tx.set || !can_seal(c, SPACE_APP))
        return sent;
    maybe_update_keys(c, now);
    if (c->state == CONN_CLOSING)
        return send_close(c, out, train, now);
    sent = send_probes(c, out, train, now);
    uint16_t mtu = sent ? 0 : wants_mtu_probe(c, now);
    if (mtu)
        sent = send_mtu_probe(c, out, train, mtu, now);
    if (!sent)
        sent = send_train(c, out, size, train, now);
    if (!sent)
        send_idle(c, now);
    return sent;
}
