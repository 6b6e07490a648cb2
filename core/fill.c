/* fill.c -- fillers[]: what a packet carries, in the order of priority.
 *
 * Each filler looks at its own part of the connection, writes the frames it owes as far as they
 * fit, and leaves a record of each in the sent ring. ACK frames are written first, where they may
 * stand alone; all else is ack-eliciting and needs room in the window (o->room). */
#include "core/endpoint.h"
#include "core/frame.h"

enum {
    FRAME_MIN_LEFT = 32,
    ACK_ROOM = 32, /* for one or two ranges */
    ACKS_ALONE = 32,
    LIMIT_ROOM = 9, /* for MAX_STREAMS */
    LENGTH_MAX = (1 << 14) - 1
};

size_t fill_left(const struct out *o)
{
    return o->w.bad ? 0 : writer_left(&o->w);
}

static bool has_record(const struct out *o)
{
    return sent_open_records(&o->space->sent) < o->records_max;
}

/* An ack-eliciting frame was written. */
static struct record *filled(struct out *o, enum record_kind kind)
{
    o->flags |= SENT_ELICITING | SENT_IN_FLIGHT;
    o->frames++;
    return sent_record(&o->space->sent, kind);
}

struct record *fill_frame(struct out *o, const struct frame *f, enum record_kind kind)
{
    if (!has_record(o) || frame_size(f) > fill_left(o))
        return NULL;
    frame_encode(&o->w, f);
    return filled(o, kind);
}

static bool in_app(const struct out *o)
{
    return o->id == SPACE_APP;
}

/* ---- ACK ---- */

static bool owes_ack(const struct out *o)
{
    return ack_is_due(&o->space->ack, o->now) || ack_is_worth(&o->space->ack);
}

/* RFC 9000 §13.2.6, §17.2.3: of the packets of its own number space. */
static void fill_ack(struct conn *c, struct out *o)
{
    struct ack *ack = &o->space->ack;
    if (!owes_ack(o))
        return;
    uint64_t largest = ack_write(ack, &o->w, 3, o->now); /* our ack_delay_exponent: the default */
    if (largest == UINT64_MAX)
        return;
    sent_record(&o->space->sent, RECORD_ACK)->value = largest;
    /* RFC 9000 §13.2.4: one who only receives asks now and then for an ACK of its ACKs, so that the
     * ranges stay few. */
    if (in_app(o) && c->acks_alone >= ACKS_ALONE && ack->range_count > 1)
        c->ping_due = true;
}

/* ---- CRYPTO ---- */

static bool owes_crypto(const struct conn *c, const struct out *o)
{
    return c->hand && sendq_wants(&c->hand->crypto[o->id].sendq, UINT64_MAX);
}

static void fill_crypto(struct conn *c, struct out *o)
{
    struct sendq *q = &c->hand->crypto[o->id].sendq;
    while (has_record(o) && fill_left(o) > FRAME_MIN_LEFT && sendq_wants(q, UINT64_MAX)) {
        uint64_t offset, is_new;
        bool fin;
        uint32_t size = sendq_next(q, (uint32_t)fill_left(o), UINT64_MAX, &offset, &fin, &is_new);
        uint32_t head = 1 + varint_size(offset) + 2;
        if (size > fill_left(o) - head)
            size = (uint32_t)fill_left(o) - head;
        if (size > LENGTH_MAX) /* its length takes two bytes */
            size = LENGTH_MAX;
        if (!size)
            return;
        write_u8(&o->w, FRAME_CRYPTO);
        write_varint(&o->w, offset);
        write_varint_sized(&o->w, size, 2);
        sendq_copy(q, offset, o->w.p, size);
        o->w.p += size;
        sendq_on_sent(q, offset, size, false);
        struct record *r = filled(o, RECORD_CRYPTO);
        r->value = offset;
        r->size = (uint16_t)size;
    }
}

/* ---- what is rarely owed: HANDSHAKE_DONE, NEW_TOKEN, addresses ---- */

static bool owes_done(const struct conn *c, const struct out *o)
{
    (void)o;
    return c->handshake_done_due || c->new_token_due || c->nat_due;
}

static void fill_done(struct conn *c, struct out *o)
{
    if (c->handshake_done_due
        && fill_frame(o, &(struct frame){.type = FRAME_HANDSHAKE_DONE}, RECORD_HANDSHAKE_DONE))
        c->handshake_done_due = false;
    if (c->nat_due)
        natframes_fill(c, o);
    /* RFC 9000 §8.1.3: the token is written once what matters more has gone. */
    if (!c->new_token_due || c->handshake_done_due || fill_left(o) < TOKEN_SIZE + 8)
        return;
    struct token token = {
        .kind = TOKEN_NEW, .time_s = endpoint_unix_s(c->ep, o->now), .version = c->version};
    uint8_t bytes[TOKEN_SIZE];
    struct frame f = {.type = FRAME_NEW_TOKEN};
    token_make(&c->ep->token_key, &token, &conn_path(c)->remote, &c->ep->rng, bytes);
    f.new_token.data = bytes;
    f.new_token.size = sizeof bytes;
    if (fill_frame(o, &f, RECORD_NEW_TOKEN))
        c->new_token_due = false;
}

/* ---- path ---- */

void fill_path(struct conn *c, struct out *o, bool full)
{
    struct path *p = o->path;
    uint8_t data[CHALLENGE_SIZE]; /* RFC 9000 §8.2.1: unpredictable, and new in each */
    struct frame f = {.type = FRAME_PATH_CHALLENGE};
    if (p->challenge_due) {
        rng_fill(&c->ep->rng, data, sizeof data);
        f.path.data = data;
        if (fill_frame(o, &f, RECORD_PATH_CHALLENGE))
            paths_challenged(c, p, data, full, o->now);
    }
    bool respond = p->responses;
    f = (struct frame){.type = FRAME_PATH_RESPONSE};
    f.path.data = p->response[0];
    while (p->responses && fill_frame(o, &f, RECORD_PATH_RESPONSE))
        path_responded(p); /* RFC 9000 §8.2.2: once */
    if (p->observed_due && p->state == PATH_VALID)
        natframes_fill_observed(c, o);
    if (p != conn_path(c))
        return;
    /* RFC 9000 §9.3.3: one who asks may be in doubt where we are: more than a probe tells it. */
    if (respond)
        fill_frame(o, &(struct frame){.type = FRAME_PING}, RECORD_PING);
    if (fill_left(o) >= ACK_ROOM)
        fill_ack(c, o);
}

/* ---- connection ids ---- */

static bool owes_cid(const struct conn *c, const struct out *o)
{
    uint16_t seq;
    uint64_t retire;
    (void)o;
    return cid_local_next(&c->cids, &seq) || cid_peer_next_retire(&c->peer_cids, &retire);
}

static void fill_cid(struct conn *c, struct out *o)
{
    uint16_t seq;
    uint64_t retire;
    while (cid_local_next(&c->cids, &seq)) {
        struct cid cid;
        uint8_t token[RESET_TOKEN_SIZE];
        struct frame f = {.type = FRAME_NEW_CONNECTION_ID};
        endpoint_cid(c->ep, c, seq, &cid);
        cid_reset_token(&c->ep->cid_key, &cid, token);
        f.new_cid.seq = seq;
        f.new_cid.cid = cid.bytes;
        f.new_cid.cid_size = cid.size;
        f.new_cid.token = token;
        struct record *r = fill_frame(o, &f, RECORD_NEW_CID);
        if (!r)
            return;
        r->value = seq;
        cid_local_told(&c->cids, seq);
    }
    while (cid_peer_next_retire(&c->peer_cids, &retire)) {
        struct frame f = {.type = FRAME_RETIRE_CONNECTION_ID};
        f.retire_cid.seq = retire;
        struct record *r = fill_frame(o, &f, RECORD_RETIRE_CID);
        if (!r)
            return;
        r->value = retire;
        cid_peer_retire_sent(&c->peer_cids);
    }
}

/* ---- flow control of the connection ---- */

static void fill_limits(struct conn *c, struct out *o, unsigned uni)
{
    struct streams *st = &c->streams;
    struct frame f = {.type = uni ? FRAME_MAX_STREAMS_UNI : FRAME_MAX_STREAMS_BIDI};
    f.max_streams.max = streams_limit(st, &c->ep->streams, uni);
    struct record *r = st->max_due[uni] ? fill_frame(o, &f, RECORD_MAX_STREAMS) : NULL;
    if (r) {
        st->max_due[uni] = false;
        st->local_max[uni] = r->value = f.max_streams.max;
        r->flags = (uint8_t)uni;
    }
    f = (struct frame){.type = uni ? FRAME_STREAMS_BLOCKED_UNI : FRAME_STREAMS_BLOCKED_BIDI};
    f.streams_blocked.max = st->peer_max[uni];
    r = st->blocked_due[uni] ? fill_frame(o, &f, RECORD_STREAMS_BLOCKED) : NULL;
    if (r) {
        st->blocked_due[uni] = false;
        st->blocked_said[uni] = true;
        r->value = st->peer_max[uni];
        r->flags = (uint8_t)uni;
    }
}

static bool owes_max_data(const struct conn *c)
{
    return c->max_data_lost || flow_rx_wants_update(&c->flow);
}

static bool owes_blocked(const struct conn *c)
{
    return flow_tx_says_blocked(&c->flow) && c->streams.send_head != POOL_NONE;
}

static bool owes_limits(const struct conn *c, unsigned uni)
{
    return c->streams.max_due[uni] || c->streams.blocked_due[uni];
}

/* Credit for streams that a packet which goes anyway takes along: the less is left of it, the less
 * of it. The answers in a packet may be what it follows from: so this is asked before them, since
 * many packets full of them may follow, and behind the last. */
static bool credit_is_worth(const struct conn *c, const struct out *o, unsigned uni)
{
    const struct streams *st = &c->streams;
    uint64_t left = st->local_max[uni] - st->peer_opened[uni];
    return (o->flags & SENT_ELICITING) && fill_left(o) >= LIMIT_ROOM
           && streams_limit(st, &c->ep->streams, uni) > st->local_max[uni] + left / 8;
}

static bool owes_credit(const struct conn *c, const struct out *o)
{
    return owes_limits(c, STREAMS_BIDI) || owes_limits(c, STREAMS_UNI)
           || credit_is_worth(c, o, STREAMS_BIDI) || credit_is_worth(c, o, STREAMS_UNI);
}

static void fill_credit(struct conn *c, struct out *o)
{
    for (unsigned uni = STREAMS_BIDI; uni <= STREAMS_UNI; uni++) {
        c->streams.max_due[uni] |= credit_is_worth(c, o, uni);
        if (owes_limits(c, uni))
            fill_limits(c, o, uni);
    }
}

static bool owes_flow(const struct conn *c, const struct out *o)
{
    return owes_max_data(c) || owes_blocked(c) || owes_credit(c, o);
}

static void fill_flow(struct conn *c, struct out *o)
{
    if (owes_max_data(c) && has_record(o) && fill_left(o) > 9) {
        struct frame f = {.type = FRAME_MAX_DATA};
        f.max_data.max = flow_rx_grant(&c->flow);
        fill_frame(o, &f, RECORD_MAX_DATA)->value = f.max_data.max;
        c->max_data_lost = false;
    }
    if (owes_blocked(c)) {
        struct frame f = {.type = FRAME_DATA_BLOCKED};
        f.data_blocked.max = c->flow.tx_max;
        struct record *r = fill_frame(o, &f, RECORD_DATA_BLOCKED);
        if (r) {
            r->value = c->flow.tx_max;
            flow_tx_said_blocked(&c->flow);
        }
    }
    fill_credit(c, o);
}

/* ---- datagrams ---- */

static bool owes_datagram(const struct conn *c, const struct out *o)
{
    (void)o;
    return datagram_owed(c);
}

/* ---- streams ---- */

static bool fill_due(struct out *o, struct stream *s, uint32_t slot, uint8_t bit,
                     const struct frame *f, enum record_kind kind, uint64_t value)
{
    struct record *r = fill_frame(o, f, kind);
    if (!r)
        return false;
    r->index = slot;
    r->value = value;
    s->records++;
    s->due &= (uint8_t)~bit;
    return true;
}

/* The control frames that a stream owes. False: no more room. */
static bool fill_stream_control(struct out *o, struct stream *s, uint32_t slot)
{
    struct frame f = {0};
    if (s->due & DUE_RESET) {
        bool at = s->tx_reliable != UINT64_MAX;
        f.type = at ? FRAME_RESET_STREAM_AT : FRAME_RESET_STREAM;
        f.reset_stream.id = s->id;
        f.reset_stream.code = s->tx_code;
        f.reset_stream.final_size = s->sendq.sent;
        f.reset_stream.reliable_size = s->tx_reliable;
        if (!fill_due(o, s, slot, DUE_RESET, &f, RECORD_RESET_STREAM, s->tx_reliable))
            return false;
        if (at)
            stream_on_reset_sent(s);
    }
    if (s->due & DUE_STOP) {
        f = (struct frame){.type = FRAME_STOP_SENDING};
        f.stop_sending.id = s->id;
        f.stop_sending.code = s->rx_code;
        if (!fill_due(o, s, slot, DUE_STOP, &f, RECORD_STOP_SENDING, 0))
            return false;
    }
    if ((s->due & DUE_MAX_DATA) && has_record(o) && fill_left(o) > 17) {
        f = (struct frame){.type = FRAME_MAX_STREAM_DATA};
        f.max_stream_data.id = s->id;
        f.max_stream_data.max = flow_rx_grant(&s->flow);
        fill_due(o, s, slot, DUE_MAX_DATA, &f, RECORD_MAX_STREAM_DATA, f.max_stream_data.max);
    }
    if (s->due & DUE_BLOCKED) {
        f = (struct frame){.type = FRAME_STREAM_DATA_BLOCKED};
        f.stream_data_blocked.id = s->id;
        f.stream_data_blocked.max = s->flow.tx_max;
        if (!fill_due(o, s, slot, DUE_BLOCKED, &f, RECORD_STREAM_DATA_BLOCKED, s->flow.tx_max))
            return false;
        flow_tx_said_blocked(&s->flow);
    }
    return true;
}

static void chunk_cut(struct stream_chunk *chunk, uint32_t max)
{
    if (chunk->size <= max)
        return;
    uint32_t cut = chunk->size - max; /* new bytes are the last ones */
    chunk->is_new = chunk->is_new > cut ? chunk->is_new - cut : 0;
    chunk->size = max;
    chunk->fin = false;
}

/* One STREAM frame. The Length field is left out when the frame fills the packet (RFC 9000 §19.8).
 */
static bool fill_stream_data(struct conn *c, struct out *o, struct stream *s, uint32_t slot)
{
    struct stream_chunk chunk;
    if (!has_record(o) || fill_left(o) < FRAME_MIN_LEFT
        || !stream_next(s, &c->flow, (uint32_t)fill_left(o), &chunk))
        return false;
    uint32_t head = 1 + varint_size(s->id) + (chunk.offset ? varint_size(chunk.offset) : 0);
    uint32_t room = (uint32_t)fill_left(o) - head;
    bool length = chunk.size < room;
    if (length) /* the length takes two bytes */
        chunk_cut(&chunk, room - 2 < LENGTH_MAX ? room - 2 : LENGTH_MAX);
    chunk_cut(&chunk, room);
    if (!chunk.size && !chunk.fin)
        return false;
    write_u8(&o->w,
             (uint8_t)(FRAME_STREAM | (chunk.offset ? FRAME_STREAM_OFF : 0)
                       | (length ? FRAME_STREAM_LEN : 0) | (chunk.fin ? FRAME_STREAM_FIN : 0)));
    write_varint(&o->w, s->id);
    if (chunk.offset)
        write_varint(&o->w, chunk.offset);
    if (length)
        write_varint_sized(&o->w, chunk.size, 2);
    sendq_copy(&s->sendq, chunk.offset, o->w.p, chunk.size);
    o->w.p += chunk.size;
    stream_on_sent(s, &c->flow, &chunk);
    if (chunk.fin && stream_is_done(s))
        (void)streams_done(&c->streams, &c->ep->streams, s);
    struct record *r = filled(o, RECORD_STREAM);
    r->index = slot;
    r->value = chunk.offset;
    r->size = (uint16_t)chunk.size;
    r->flags = chunk.fin;
    s->records++;
    return true;
}

static bool owes_stream(const struct conn *c, const struct out *o)
{
    (void)o;
    return c->streams.send_head != POOL_NONE;
}

/* Streams in the order of streams.h: what they owe besides data first, then data, each a packet's
 * worth in its turn. */
static void fill_stream(struct conn *c, struct out *o)
{
    struct stream_table *t = &c->ep->streams;
    uint32_t slot;
    while ((slot = streams_next_send(&c->streams, t)) != POOL_NONE && fill_left(o) >= FRAME_MIN_LEFT
           && has_record(o)) {
        struct stream *s = stream_at(t, slot);
        bool control = s->lane == LANE_CONTROL;
        if (!fill_stream_control(o, s, slot))
            return;
        bool filled_one = control || fill_stream_data(c, o, s, slot)
                          || !fill_stream_control(o, s, slot); /* blocked: said now */
        bool more = stream_wants_send(s, &c->flow);
        if (!control)
            streams_turn(&c->streams, t, slot, 1, more);
        else if (more)
            streams_want_send(&c->streams, t, slot); /* its data in its own lane */
        else
            streams_no_send(&c->streams, t, slot);
        if (more && !filled_one)
            return;
    }
}

/* ---- ACK_FREQUENCY, IMMEDIATE_ACK ---- */

static bool owes_ackfreq(const struct conn *c, const struct out *o)
{
    return (c->ackfreq.due && c->state == CONN_CONFIRMED)
           || (o->space->probes && c->ackfreq.offered);
}

static void fill_ackfreq(struct conn *c, struct out *o)
{
    /* draft-ietf-quic-ack-frequency §7: a probe's answer shall not wait, whatever it carries. */
    if (o->space->probes && c->ackfreq.offered)
        fill_frame(o, &(struct frame){.type = FRAME_IMMEDIATE_ACK}, RECORD_PING);
    if (!c->ackfreq.due || c->state != CONN_CONFIRMED)
        return;
    struct frame f = ackfreq_frame(&c->ackfreq);
    struct record *r = fill_frame(o, &f, RECORD_ACK_FREQUENCY);
    if (!r)
        return;
    r->value = f.ack_frequency.seq;
    ackfreq_on_sent(&c->ackfreq);
}

/* ---- PING ---- */

static bool owes_ping(const struct conn *c, const struct out *o)
{
    return (in_app(o) && c->ping_due) || (o->space->probes && !(o->flags & SENT_ELICITING));
}

static void fill_ping(struct conn *c, struct out *o)
{
    bool wanted = in_app(o) && c->ping_due;
    /* draft-ietf-quic-ack-frequency §5: the application wants to know how long the way is, now. */
    struct frame f = {.type = wanted && c->ping_asked ? ackfreq_ping(&c->ackfreq) : FRAME_PING};
    struct record *r = fill_frame(o, &f, RECORD_PING);
    if (!r)
        return;
    r->flags = wanted && c->ping_asked;
    if (wanted)
        c->ping_due = false;
}

/* ---- CONNECTION_CLOSE ---- */

/* RFC 9000 §10.2.3: before 1-RTT an application's close would leak its state: APPLICATION_ERROR
 * instead. */
void fill_close(struct conn *c, struct out *o)
{
    struct frame f = {.type = c->closing.application && in_app(o) ? FRAME_CONNECTION_CLOSE_APP
                                                                  : FRAME_CONNECTION_CLOSE};
    bool hide = c->closing.application && !in_app(o);
    f.close.code = hide ? AQ_APPLICATION_ERROR : c->closing.code;
    f.close.frame_type = c->closing.frame_type;
    f.close.reason = (const uint8_t *)c->closing.reason;
    f.close.reason_size = hide || !c->closing.reason ? 0 : strlen(c->closing.reason);
    frame_encode(&o->w, &f);
    o->frames++;
}

/* ---- the table: the order is the priority ---- */

static const struct {
    uint8_t in; /* bits 1 << space */
    bool (*owes)(const struct conn *c, const struct out *o);
    void (*fill)(struct conn *c, struct out *o); /* only where it owes */
} fillers[] = {
    /* clang-format off */
    {1 << SPACE_INITIAL | 1 << SPACE_HANDSHAKE | 1 << SPACE_APP, owes_crypto, fill_crypto},
    {1 << SPACE_APP,                                             owes_done,   fill_done},
    {1 << SPACE_APP,                                             owes_ackfreq, fill_ackfreq},
    {1 << SPACE_APP,                                             owes_cid,    fill_cid},
    {1 << SPACE_APP,                                             owes_flow,   fill_flow},
    {1 << SPACE_APP,                                             owes_datagram, datagram_fill},
    {1 << SPACE_APP,                                             owes_stream, fill_stream},
    {1 << SPACE_APP,                                             owes_credit, fill_credit},
    {1 << SPACE_INITIAL | 1 << SPACE_HANDSHAKE | 1 << SPACE_APP, owes_ping,   fill_ping},
    /* clang-format on */
};

void frames_fill(struct conn *c, struct out *o)
{
    if (!o->early) /* RFC 9000 §12.4, §12.5: no ACK in 0-RTT */
        fill_ack(c, o);
    if (!o->room)
        return;
    for (unsigned i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        if (fillers[i].in >> o->id & 1 && fillers[i].owes(c, o))
            fillers[i].fill(c, o);
    }
}

bool frames_wait(const struct conn *c, const struct out *o)
{
    return owes_crypto(c, o)
           || (in_app(o)
               && (owes_done(c, o) || owes_cid(c, o) || owes_flow(c, o) || owes_datagram(c, o)
                   || owes_stream(c, o)));
}

bool frames_owed(const struct conn *c, const struct out *o)
{
    for (unsigned i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        if (fillers[i].in >> o->id & 1 && fillers[i].owes(c, o))
            return true;
    }
    return ack_is_due(&o->space->ack, o->now);
}

bool frames_only_streams(const struct conn *c, const struct out *o)
{
    for (unsigned i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        if (fillers[i].in >> o->id & 1 && fillers[i].fill != fill_stream && fillers[i].owes(c, o))
            return false;
    }
    return !owes_ack(o);
}
