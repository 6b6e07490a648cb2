/* apply.c -- what each frame does when it comes: a row for each type.
 *
 * frames_apply decodes a frame onto a local, checks that it may stand in this packet type and be
 * sent by this peer (RFC 9000 §12.4, §12.5), and calls its row. A handler returns 0, the error to
 * close with, or AQ_FULL: the packet is then not acknowledged and comes again, which every handler
 * can stand. */
#include "core/endpoint.h"
#include "core/frame.h"

typedef int (*apply_fn)(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);

/* ---- acknowledgements and losses ---- */

static void sum_to_cc(struct conn *c, struct path *p, const struct loss_path *sum, uint64_t now)
{
    c->counts.lost_packets += sum->lost_packets;
    c->counts.lost_bytes += sum->lost_bytes;
    c->counts.spurious_packets += (uint32_t)sum->spurious_packets;
    if (!sum->acked_packets && !sum->lost_packets && !sum->acked_bytes && !sum->lost_bytes
        && !sum->spurious_packets)
        return;
    if (sum->lost_packets + sum->spurious_packets)
        rtt_adapt(&p->rtt, sum);
    cc_on_result(&p->cc, sum, &p->rtt, now);
    struct mtu before = p->mtu;
    mtu_on_report(&p->mtu, sum->acked_largest, sum->lost_largest, now);
    paths_mtu_told(c, p, &before, now);
    if (sum->persistent)
        rtt_on_persistent(&p->rtt); /* RFC 9002 §5.2 */
    trace_window(&c->tracer,
                 cc_in_recovery(&p->cc, sum->acked_newest_sent_us) ? AQ_CC_RECOVERY
                 : p->cc.cwnd_bytes < p->cc.ssthresh_bytes         ? AQ_CC_SLOW_START
                                                                   : AQ_CC_AVOIDANCE,
                 p->cc.cwnd_bytes, p->cc.ssthresh_bytes, p->cc.in_flight_bytes, now);
}

/* RFC 9000 §9.4: what was sent on a path says something about that path alone. */
static void sums_to_cc(struct conn *c, const struct loss_result *result, uint64_t now)
{
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i])
            sum_to_cc(c, c->path[i], &result->path[i], now);
    }
    c->counts.lost_packets += result->path[PATH_GONE].lost_packets;
    c->counts.lost_bytes += result->path[PATH_GONE].lost_bytes;
}

static void detect(struct conn *c, enum space_id id, struct loss_result *result, uint64_t now)
{
    struct space *space = conn_space(c, id);
    const struct rtt *rtt[PATHS_MAX];
    struct sink_arg arg = {.c = c, .space = id, .now = now, .path = PATH_GONE};
    for (unsigned i = 0; i < PATHS; i++)
        rtt[i] = c->path[i] ? &c->path[i]->rtt : NULL;
    rtt[PATH_GONE] = &conn_path(c)->rtt;
    loss_detect(&space->sent, rtt, ackfreq_delay_us(&c->ackfreq), &apply_sink, &arg, result, now);
    sums_to_cc(c, result, now); /* RFC 9002 §7.4: whichever space it was lost in */
    /* What was lost of the handshake goes at once: 1-RTT packets, which nobody can acknowledge
     * before it is done, must not fill the window that it needs. */
    if (id != SPACE_APP && result->path[0].lost_packets && !space->probes)
        space->probes = 1; /* RFC 9002 §7.3.2: one packet may go when recovery begins */
    sent_trim(&space->sent, &c->quota);
}

void conn_detect_loss(struct conn *c, enum space_id space, uint64_t now)
{
    struct loss_result result = {0};
    detect(c, space, &result, now);
}

static uint64_t ack_delay_us(const struct conn *c, const struct frame *f, enum space_id id)
{
    if (id != SPACE_APP) /* RFC 9002 §5.3: Initial and Handshake are acknowledged without intended
                            delay */
        return 0;
    uint64_t limit = ackfreq_delay_us(&c->ackfreq);
    uint64_t delay = f->ack.delay > limit >> c->peer.ack_delay_exponent
                         ? limit
                         : f->ack.delay << c->peer.ack_delay_exponent;
    return delay < limit ? delay : limit;
}

/* What the ACK says of our marks. RFC 9002 §7.1: more CE is congestion. */
static void apply_ecn(struct conn *c, const struct frame_ack *ack, const struct loss_result *result,
                      uint64_t now)
{
    struct path *p = conn_path(c);
    const struct loss_path *sum = &result->path[c->active];
    uint8_t before = p->ecn.state;
    uint64_t marked = ecn_on_ack(&p->ecn, &c->ecn, ack, result->ect_acked);
    trace_ecn(&c->tracer, c->active, before, p->ecn.state, now);
    if (marked && sum->acked_packets)
        cc_on_ce(&p->cc, sum->acked_newest_sent_us, now);
}

static int apply_ack(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct space *space = conn_space(c, a->space);
    struct path *p = conn_path(c);
    struct loss_result result = {0};
    struct sink_arg arg = {.c = c, .space = a->space, .now = now, .path = PATH_GONE};
    bool phase_acked = c->keys.phase_acked;
    uint64_t largest = space->sent.largest_acked;
    c->counts.acks_received++;
    int error = loss_on_ack(&space->sent, &f->ack, &apply_sink, &arg, &result, now);
    records_end(&arg);
    if (error != AQ_OK) {
        a->where = "RFC 9000 13.1: an acknowledgement of what was not sent";
        return error;
    }
    /* RFC 9001 §6.2: an acknowledgement of a new key's packet must come under the new key. */
    if (a->space == SPACE_APP && a->old_phase && !phase_acked && c->keys.phase_acked) {
        a->where = "RFC 9001 6.2: new keys acknowledged under old ones";
        return AQ_KEY_UPDATE_ERROR;
    }
    if (a->space == SPACE_HANDSHAKE)
        c->peer_validated_us = true; /* RFC 9002 §6.2.2.1: the server has our Handshake packet */
    if (!result.any_acked)
        return AQ_OK;
    struct path *sampled =
        result.has_sample && result.sample_path < PATHS ? c->path[result.sample_path] : NULL;
    if (sampled) {
        rtt_sample(&sampled->rtt, result.sample_us, ack_delay_us(c, f, a->space), now);
        const struct rtt *rtt = &sampled->rtt;
        trace_metrics(&c->tracer, rtt->latest_us, rtt->smoothed_us, rtt->var_us, now);
        trace_pace(&c->tracer, sampled->pace.rate_bytes_per_s, rtt->min_us, now);
    }
    if (a->space == SPACE_APP && f->ack.largest < c->limited_below)
        result.path[c->active].app_limited = true;
    if (c->peer_validated_us) /* RFC 9002 §6.2.1: a client does not trust an unvalidated Initial ACK
                               */
        c->pto_count = 0;
    /* RFC 9000 §13.4.2.1: counts of an ACK that came out of order say nothing. */
    if (a->space == SPACE_APP && space->sent.largest_acked != largest)
        apply_ecn(c, &f->ack, &result, now);
    detect(c, a->space, &result, now);
    if (a->space == SPACE_APP)
        ackfreq_look(&c->ackfreq, p->cc.cwnd_bytes / p->mtu.size, p->rtt.smoothed_us, now);
    return AQ_OK;
}

static int apply_ack_frequency(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)now;
    /* draft-ietf-quic-ack-frequency §4: below our min_ack_delay, or 2^14 ms and more, is invalid.
     */
    if (f->ack_frequency.max_delay_us < conn_min_ack_delay(c)
        || f->ack_frequency.max_delay_us >= UINT64_C(1000) << 14) {
        a->where = "draft-ietf-quic-ack-frequency 4: Requested Max Ack Delay";
        return AQ_PROTOCOL_VIOLATION;
    }
    ack_on_frequency(&c->app.ack, f);
    return AQ_OK;
}

static int apply_datagram(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)now;
    return datagram_on_frame(c, f, a);
}

/* draft-ietf-quic-ack-frequency §5. However many come in a batch, they get one ACK. */
static int apply_immediate_ack(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)f;
    (void)a;
    (void)now;
    c->app.ack.now = true;
    return AQ_OK;
}

/* ---- simple ones ---- */

static int apply_nothing(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)c;
    (void)f;
    (void)a;
    (void)now;
    return AQ_OK;
}

static int apply_crypto(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    a->where = "TLS";
    return handshake_on_crypto(c, a->space, f, now);
}

static int apply_new_token(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)a;
    (void)now;
    if (f->new_token.size > TOKEN_MAX) /* SECURITY.md row 21: larger ones are not kept */
        return AQ_OK;
    quota_give(&c->quota, c->token_data, c->token_size);
    c->token_size = (uint32_t)f->new_token.size + NEGOTIATE_PREFIX;
    c->token_data = quota_take(&c->quota, c->token_size);
    if (!c->token_data) {
        c->token_size = 0;
        c->events &= ~(1U << AQ_EVENT_TOKEN);
        return AQ_OK;
    }
    negotiate_prefix(c, c->token_data);
    memcpy(c->token_data + NEGOTIATE_PREFIX, f->new_token.data, f->new_token.size);
    conn_event(c, AQ_EVENT_TOKEN);
    return AQ_OK;
}

static int apply_handshake_done(struct conn *c, const struct frame *f, struct apply *a,
                                uint64_t now)
{
    (void)f;
    (void)a;
    handshake_confirm(c, now); /* RFC 9001 §4.1.2 */
    return AQ_OK;
}

static int apply_path_challenge(struct conn *c, const struct frame *f, struct apply *a,
                                uint64_t now)
{
    (void)now;
    paths_on_challenge(c, a, f->path.data);
    return AQ_OK;
}

static int apply_path_response(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)a;
    /* RFC 9000 §19.18: one that answers nothing MAY be an error; it may also be late. */
    paths_on_response(c, f->path.data, now);
    return AQ_OK;
}

static int apply_close(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)a;
    conn_closed_by_peer(c, f, now);
    return AQ_OK;
}

/* ---- connection ids ---- */

static int apply_new_cid(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct cid cid = {.size = (uint8_t)f->new_cid.cid_size};
    (void)now;
    a->where = "RFC 9000 19.15";
    memcpy(cid.bytes, f->new_cid.cid, cid.size);
    int error = cid_peer_add(&c->peer_cids, f->new_cid.seq, f->new_cid.retire_prior_to, &cid,
                             f->new_cid.token);
    if (error == AQ_OK)
        paths_on_cids(c);
    return error;
}

static int apply_retire_cid(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)now;
    a->where = "RFC 9000 19.16";
    int error = cid_local_retire(&c->cids, f->retire_cid.seq, c->used_seq);
    if (error == AQ_OK)
        paths_on_retired(c, f->retire_cid.seq);
    return error;
}

/* ---- flow control ---- */

void conn_wake_streams(struct conn *c)
{
    for (uint32_t i = c->streams.all; i != POOL_NONE; i = stream_at(&c->ep->streams, i)->all_next) {
        if (stream_wants_send(stream_at(&c->ep->streams, i), &c->flow))
            streams_want_send(&c->streams, &c->ep->streams, i);
    }
}

static int apply_max_data(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)a;
    (void)now;
    bool was_blocked = flow_tx_room(&c->flow) == 0;
    if (flow_tx_raise(&c->flow, f->max_data.max) && was_blocked)
        conn_wake_streams(c);
    return AQ_OK;
}

static int apply_max_streams(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    unsigned uni = f->type == FRAME_MAX_STREAMS_UNI;
    (void)a;
    (void)now;
    if (streams_raise(&c->streams, uni, f->max_streams.max) && c->streams.wanted[uni]) {
        c->streams.wanted[uni] = false;
        conn_event(c, AQ_EVENT_STREAMS);
    }
    return AQ_OK;
}

/* ---- streams ---- */

/* The stream a frame is about; *s NULL when it is over and gone. */
static int find(struct conn *c, uint64_t id, bool receiving, struct stream **s, uint32_t *slot,
                struct apply *a, uint64_t now)
{
    a->where = "RFC 9000 4.6, 19: streams_get";
    int error = streams_get(&c->streams, &c->ep->streams, id, receiving, slot, now);
    conn_ready(c); /* streams that opened have events */
    *s = error == AQ_OK && *slot != POOL_NONE ? stream_at(&c->ep->streams, *slot) : NULL;
    return error;
}

void conn_touched(struct conn *c, struct stream *s, uint32_t slot, uint64_t now)
{
    if (stream_wants_send(s, &c->flow))
        streams_want_send(&c->streams, &c->ep->streams, slot);
    if (s->events)
        conn_stream_event(c, slot);
    if (stream_is_done(s))
        conn_stream_over(c, slot, now);
}

static int apply_stream(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct stream *s;
    struct stream_env env = conn_env(c, now);
    uint32_t slot;
    int error = find(c, f->stream.id, true, &s, &slot, a, now);
    if (error != AQ_OK || !s)
        return error;
    a->where = "RFC 9000 4.1, 4.5: stream_on_data";
    error = stream_on_data(s, &env, f->stream.offset, f->stream.data, (uint32_t)f->stream.size,
                           f->stream.fin, a->lent);
    if (error != AQ_OK)
        return error;
    s->early |= a->in == IN_0;
    if (recvq_has_pieces(&s->recvq))
        endpoint_settle_later(c->ep, slot);
    conn_touched(c, s, slot, now);
    return AQ_OK;
}

static int apply_reset_stream(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct stream *s;
    struct stream_env env = conn_env(c, now);
    uint32_t slot;
    int error = find(c, f->reset_stream.id, true, &s, &slot, a, now);
    if (error != AQ_OK || !s)
        return error;
    a->where = "RFC 9000 4.5: stream_on_reset";
    const struct stream_reset reset = {.code = f->reset_stream.code,
                                       .final_size = f->reset_stream.final_size,
                                       .reliable = f->reset_stream.reliable_size};
    error = stream_on_reset(s, &env, &reset);
    if (error == AQ_OK)
        conn_touched(c, s, slot, now);
    return error;
}

static int apply_stop_sending(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct stream *s;
    struct stream_env env = conn_env(c, now);
    uint32_t slot;
    int error = find(c, f->stop_sending.id, false, &s, &slot, a, now);
    if (error != AQ_OK || !s)
        return error;
    stream_on_stop(s, &env, f->stop_sending.code);
    conn_touched(c, s, slot, now);
    return AQ_OK;
}

static int apply_max_stream_data(struct conn *c, const struct frame *f, struct apply *a,
                                 uint64_t now)
{
    struct stream *s;
    uint32_t slot;
    int error = find(c, f->max_stream_data.id, false, &s, &slot, a, now);
    if (error != AQ_OK || !s)
        return error;
    stream_on_max(s, f->max_stream_data.max);
    conn_touched(c, s, slot, now);
    return AQ_OK;
}

static int apply_stream_data_blocked(struct conn *c, const struct frame *f, struct apply *a,
                                     uint64_t now)
{
    struct stream *s;
    uint32_t slot;
    return find(c, f->stream_data_blocked.id, true, &s, &slot, a, now);
}

/* ---- the table ---- */

static apply_fn apply_of(uint64_t type)
{
    static const apply_fn table[] = {
        /* clang-format off */
        [FRAME_PADDING]             = apply_nothing,
        [FRAME_PING]                = apply_nothing,
        [FRAME_ACK]                 = apply_ack,
        [FRAME_ACK_ECN]             = apply_ack,
        [FRAME_RESET_STREAM]        = apply_reset_stream,
        [FRAME_STOP_SENDING]        = apply_stop_sending,
        [FRAME_CRYPTO]              = apply_crypto,
        [FRAME_NEW_TOKEN]           = apply_new_token,
        [FRAME_STREAM]              = apply_stream,
        [FRAME_STREAM + 1]          = apply_stream,
        [FRAME_STREAM + 2]          = apply_stream,
        [FRAME_STREAM + 3]          = apply_stream,
        [FRAME_STREAM + 4]          = apply_stream,
        [FRAME_STREAM + 5]          = apply_stream,
        [FRAME_STREAM + 6]          = apply_stream,
        [FRAME_STREAM + 7]          = apply_stream,
        [FRAME_MAX_DATA]            = apply_max_data,
        [FRAME_MAX_STREAM_DATA]     = apply_max_stream_data,
        [FRAME_MAX_STREAMS_BIDI]    = apply_max_streams,
        [FRAME_MAX_STREAMS_UNI]     = apply_max_streams,
        [FRAME_DATA_BLOCKED]        = apply_nothing,
        [FRAME_STREAM_DATA_BLOCKED] = apply_stream_data_blocked,
        [FRAME_STREAMS_BLOCKED_BIDI] = apply_nothing,
        [FRAME_STREAMS_BLOCKED_UNI] = apply_nothing,
        [FRAME_NEW_CONNECTION_ID]   = apply_new_cid,
        [FRAME_RETIRE_CONNECTION_ID] = apply_retire_cid,
        [FRAME_PATH_CHALLENGE]      = apply_path_challenge,
        [FRAME_PATH_RESPONSE]       = apply_path_response,
        [FRAME_CONNECTION_CLOSE]    = apply_close,
        [FRAME_CONNECTION_CLOSE_APP] = apply_close,
        [FRAME_HANDSHAKE_DONE]      = apply_handshake_done,
        [FRAME_IMMEDIATE_ACK]       = apply_immediate_ack,
        [FRAME_RESET_STREAM_AT]     = apply_reset_stream,
        [FRAME_DATAGRAM]            = apply_datagram,
        [FRAME_DATAGRAM_LEN]        = apply_datagram,
        [FRAME_ACK_FREQUENCY]       = apply_ack_frequency,
        /* clang-format on */
    };
    if (type < sizeof table / sizeof *table)
        return table[type];
    switch (type) { /* PROTOCOL §1 */
    case FRAME_ADD_ADDRESS_V4:
    case FRAME_ADD_ADDRESS_V6: return natframes_on_add;
    case FRAME_PUNCH_ME_NOW_V4:
    case FRAME_PUNCH_ME_NOW_V6: return natframes_on_punch;
    case FRAME_REMOVE_ADDRESS: return natframes_on_remove;
    case FRAME_OBSERVED_ADDRESS_V4:
    case FRAME_OBSERVED_ADDRESS_V6: return natframes_on_observed;
    default: return NULL;
    }
}

/* ---- storms ---- */

/* SECURITY.md row 23: frames that cost work and bring nothing are paid from a bucket. Each packet
 * puts in what an honest one may hold of them; beyond, as many as there may be streams to reset or
 * stop at once, and a burst. */
enum {
    STORM_PER_PACKET = 8,
    STORM_BURST = 4096
};

static bool is_suspicious(const struct frame *f)
{
#define TYPE(type) (UINT64_C(1) << (type))
    static const uint64_t types =
        TYPE(FRAME_PING) | TYPE(FRAME_ACK) | TYPE(FRAME_ACK_ECN) | TYPE(FRAME_RESET_STREAM)
        | TYPE(FRAME_STOP_SENDING) | TYPE(FRAME_NEW_TOKEN) | TYPE(FRAME_MAX_DATA)
        | TYPE(FRAME_MAX_STREAM_DATA) | TYPE(FRAME_MAX_STREAMS_BIDI) | TYPE(FRAME_MAX_STREAMS_UNI)
        | TYPE(FRAME_DATA_BLOCKED) | TYPE(FRAME_STREAM_DATA_BLOCKED)
        | TYPE(FRAME_STREAMS_BLOCKED_BIDI) | TYPE(FRAME_STREAMS_BLOCKED_UNI)
        | TYPE(FRAME_NEW_CONNECTION_ID) | TYPE(FRAME_RETIRE_CONNECTION_ID)
        | TYPE(FRAME_PATH_CHALLENGE) | TYPE(FRAME_PATH_RESPONSE) | TYPE(FRAME_HANDSHAKE_DONE)
        | TYPE(FRAME_IMMEDIATE_ACK) | TYPE(FRAME_RESET_STREAM_AT);
#undef TYPE
    if (f->type >= FRAME_STREAM && f->type < FRAME_MAX_DATA)
        return !f->stream.size && !f->stream.fin;
    if (f->type >= 64) /* that, and those of NAT traversal, of which the table is at its end */
        return true;
    return types >> f->type & 1;
}

/* False: the bucket is empty, and the connection closed. */
static bool storm_pay(struct conn *c, const struct frame *f, uint64_t now)
{
    if (!is_suspicious(f))
        return true;
    uint32_t most = STORM_BURST + 2 * (c->ep->streams.window[0] + c->ep->streams.window[1]);
    if (c->storm++ < most)
        return true;
    conn_close(c, false, AQ_PROTOCOL_VIOLATION, "too many frames without effect",
               "SECURITY.md 23: a storm of frames", now);
    return false;
}

int frames_apply(struct conn *c, const uint8_t *payload, size_t size, struct apply *a, uint64_t now)
{
    struct reader r = reader_make(payload, size);
    uint8_t by = c->server ? BY_CLIENT : BY_SERVER;
    if (!size) { /* RFC 9000 §12.4: a packet must hold at least one frame */
        a->where = "RFC 9000 12.4: a packet without frames";
        return AQ_PROTOCOL_VIOLATION;
    }
    c->storm -= c->storm < STORM_PER_PACKET ? c->storm : STORM_PER_PACKET;
    while (r.p < r.end) {
        struct frame f = {0};
        a->where = "RFC 9000 12.4: frame_decode";
        int error = frame_decode(&r, &f);
        a->frame_type = f.type;
        if (error != AQ_OK)
            return error;
        const struct frame_row *row = frame_row(f.type);
        a->where = "RFC 9000 12.4, 12.5: frame_allowed";
        if (!frame_row_allowed(row, a->in, by))
            return AQ_PROTOCOL_VIOLATION;
        if (!storm_pay(c, &f, now))
            return AQ_OK;
        a->eliciting |= !(row->props & PROP_N);
        a->more_than_probe |= !(row->props & PROP_P);
        apply_fn fn = apply_of(f.type);
        assert(fn); /* a test walks both tables */
        error = fn(c, &f, a, now);
        if (error != AQ_OK)
            return error;
        /* Closed, or a Finished has confirmed the handshake: then this level's state is gone, and
         * what stands behind it in the packet with it (RFC 9001 §4.9.2). */
        if (!conn_is_open(c) || !conn_space(c, a->space))
            return AQ_OK;
    }
    return AQ_OK;
}
