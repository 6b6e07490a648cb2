/* apply.c -- what each frame does: apply[] by type when it comes, records[] by kind when its fate
 * is known.
 *
 * frames_apply decodes a frame onto a local, checks that it may stand in this packet type and be
 * sent by this peer (RFC 9000 §12.4, §12.5), and calls its row. A handler returns 0, the error to
 * close with, or AQ_FULL: the packet is then not acknowledged and comes again, which every handler
 * can stand. */
#include "core/endpoint.h"
#include "core/frame.h"

typedef int (*apply_fn)(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);

/* ---- acknowledgements and losses ---- */

static void acked_run_end(struct sink_arg *k);

static void sums_to_cc(struct conn *c, const struct loss_result *result, uint64_t now)
{
    struct path *p = conn_path(c);
    const struct loss_path *sum = &result->path[0];
    c->counts.lost_packets += sum->lost_packets;
    c->counts.lost_bytes += sum->lost_bytes;
    if (!sum->acked_packets && !sum->lost_packets && !sum->acked_bytes && !sum->lost_bytes)
        return;
    cc_on_result(&p->cc, sum, &p->rtt, now);
    if (sum->persistent)
        rtt_on_persistent(&p->rtt); /* RFC 9002 §5.2 */
    trace_window(&c->tracer, p->cc.cwnd_bytes, p->cc.ssthresh_bytes, p->cc.in_flight_bytes, now);
}

static void detect(struct conn *c, enum space_id id, struct loss_result *result, uint64_t now)
{
    struct space *space = conn_space(c, id);
    const struct rtt *rtt[PATHS_MAX] = {&c->paths[0].rtt};
    struct sink_arg arg = {.c = c, .space = id, .now = now};
    loss_detect(&space->sent, rtt, ackfreq_delay_us(&c->ackfreq), &apply_sink, &arg, result, now);
    sums_to_cc(c, result, now);
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

static int apply_ack(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct space *space = conn_space(c, a->space);
    struct path *p = conn_path(c);
    struct loss_result result = {0};
    struct sink_arg arg = {.c = c, .space = a->space, .now = now};
    bool phase_acked = c->keys.phase_acked;
    c->counts.acks_received++;
    int error = loss_on_ack(&space->sent, &f->ack, &apply_sink, &arg, &result, now);
    acked_run_end(&arg);
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
    if (result.has_sample) {
        rtt_sample(&p->rtt, result.sample_us, ack_delay_us(c, f, a->space), now);
        trace_metrics(&c->tracer, p->rtt.latest_us, p->rtt.smoothed_us, p->cc.in_flight_bytes, now);
    }
    if (a->space == SPACE_APP && f->ack.largest < c->limited_below)
        result.path[0].app_limited = true;
    if (c->peer_validated_us) /* RFC 9002 §6.2.1: a client does not trust an unvalidated Initial ACK
                               */
        c->pto_count = 0;
    detect(c, a->space, &result, now);
    if (a->space == SPACE_APP)
        ackfreq_look(&c->ackfreq, p->cc.cwnd_bytes / p->mtu, p->rtt.smoothed_us, now);
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
    c->token_size = (uint32_t)f->new_token.size;
    c->token_data = quota_take(&c->quota, c->token_size);
    if (!c->token_data) {
        c->token_size = 0;
        c->events &= ~(1U << AQ_EVENT_TOKEN);
        return AQ_OK;
    }
    memcpy(c->token_data, f->new_token.data, c->token_size);
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
    (void)a;
    (void)now;
    struct path *p = conn_path(c);
    p->response_due = true; /* RFC 9000 §8.2.2; the newest wins */
    memcpy(p->response, f->path.data, sizeof p->response);
    return AQ_OK;
}

static int apply_path_response(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)c;
    (void)f;
    (void)a;
    (void)now; /* RFC 9000 §19.18: MAY be an error when nothing was asked; we ask nothing yet and
                  ignore it */
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
    uint64_t before =
        cid_peer_entry(&c->peer_cids)->seq; /* the new id may take the active one's place */
    (void)now;
    a->where = "RFC 9000 19.15";
    memcpy(cid.bytes, f->new_cid.cid, cid.size);
    int error = cid_peer_add(&c->peer_cids, f->new_cid.seq, f->new_cid.retire_prior_to, &cid,
                             f->new_cid.token);
    if (error == AQ_OK && cid_peer_entry(&c->peer_cids)->seq != before)
        conn_reset_token(c);
    return error;
}

static int apply_retire_cid(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)now;
    a->where = "RFC 9000 19.16";
    return cid_local_retire(&c->cids, f->retire_cid.seq, c->used_seq);
}

/* ---- flow control ---- */

static void wake_streams(struct conn *c)
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
        wake_streams(c);
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

/* After a stream changed: its events, its turn to send, its end. */
static void touched(struct conn *c, struct stream *s, uint32_t slot, uint64_t now)
{
    if (stream_wants_send(s, &c->flow))
        streams_want_send(&c->streams, &c->ep->streams, slot);
    conn_stream_event(c, slot);
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
    if (recvq_has_pieces(&s->recvq))
        endpoint_settle_later(c->ep, slot);
    touched(c, s, slot, now);
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
    error = stream_on_reset(s, &env, f->reset_stream.code, f->reset_stream.final_size);
    if (error == AQ_OK)
        touched(c, s, slot, now);
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
    touched(c, s, slot, now);
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
    touched(c, s, slot, now);
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
        [FRAME_ACK_FREQUENCY]       = apply_ack_frequency,
        /* clang-format on */
    };
    return type < sizeof table / sizeof *table ? table[type] : NULL;
}

int frames_apply(struct conn *c, const uint8_t *payload, size_t size, struct apply *a, uint64_t now)
{
    struct reader r = reader_make(payload, size);
    uint8_t by = c->server ? BY_CLIENT : BY_SERVER;
    if (!size) { /* RFC 9000 §12.4: a packet must hold at least one frame */
        a->where = "RFC 9000 12.4: a packet without frames";
        return AQ_PROTOCOL_VIOLATION;
    }
    while (r.p < r.end) {
        struct frame f = {0};
        a->where = "RFC 9000 12.4: frame_decode";
        int error = frame_decode(&r, &f);
        a->frame_type = f.type;
        if (error != AQ_OK)
            return error;
        a->where = "RFC 9000 12.4, 12.5: frame_allowed";
        error = frame_allowed(f.type, a->in, by);
        if (error != AQ_OK)
            return error;
        const struct frame_row *row = frame_row(f.type);
        a->eliciting |= !(row->props & PROP_N);
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

/* ---- records[]: the fate of what was sent ---- */

static struct stream *record_stream(struct conn *c, const struct record *r)
{
    return stream_at(&c->ep->streams, r->index);
}

/* The packet that named a stream has met its fate: one name fewer. */
static void record_stream_done(const struct sink_arg *k, const struct record *r)
{
    struct stream *s = record_stream(k->c, r);
    if (!k->resend_only) {
        assert(s->records);
        s->records--;
    }
    touched(k->c, s, r->index, k->now);
}

static struct crypto *record_crypto(const struct sink_arg *k)
{
    return k->c->hand ? &k->c->hand->crypto[k->space] : NULL;
}

/* Tells the stream what the last packets, taken together, had of it. */
static void acked_run_end(struct sink_arg *k)
{
    struct acked_run *run = &k->run;
    if (!run->count)
        return;
    struct stream_env env = conn_env(k->c, k->now);
    struct stream *s = stream_at(&k->c->ep->streams, run->slot);
    stream_on_acked(s, &env, run->offset, run->size, false);
    assert(s->records >= run->count);
    s->records -= run->count;
    run->count = 0;
    touched(k->c, s, run->slot, k->now);
}

/* Whether a record is one more piece of a run: bulk data is acknowledged many packets at a time,
 * and the stream needs to hear of them once. */
static bool acked_run_takes(struct sink_arg *k, const struct record *r)
{
    enum {
        RUN_MAX = 1 << 30
    };
    struct acked_run *run = &k->run;
    bool plain = r->kind == RECORD_STREAM && !(r->flags & 1);
    if (run->count
        && (!plain || run->slot != r->index || run->offset + run->size != r->value
            || run->size > RUN_MAX))
        acked_run_end(k);
    if (!plain)
        return false;
    if (!run->count)
        *run = (struct acked_run){.slot = r->index, .offset = r->value};
    run->size += r->size;
    run->count++;
    return true;
}

static void record_acked(void *arg, const struct record *r)
{
    struct sink_arg *k = arg;
    struct conn *c = k->c;
    if (acked_run_takes(k, r))
        return;
    struct stream_env env;
    switch ((enum record_kind)r->kind) {
    case RECORD_ACK: ack_on_acked(&conn_space(c, k->space)->ack, r->value); break;
    case RECORD_CRYPTO:
        if (record_crypto(k))
            sendq_on_acked(&record_crypto(k)->sendq, &c->quota, r->value, r->size, false);
        break;
    case RECORD_STREAM:
        env = conn_env(c, k->now);
        stream_on_acked(record_stream(c, r), &env, r->value, r->size, r->flags & 1);
        record_stream_done(k, r);
        break;
    case RECORD_RESET_STREAM:
        stream_on_reset_acked(record_stream(c, r));
        record_stream_done(k, r);
        break;
    case RECORD_STOP_SENDING:
    case RECORD_MAX_STREAM_DATA:
    case RECORD_STREAM_DATA_BLOCKED: record_stream_done(k, r); break;
    case RECORD_RETIRE_CID: cid_peer_retire_acked(&c->peer_cids); break;
    case RECORD_PING:
        if ((r->flags & 1) && c->ping_asked) {
            c->ping_asked = false;
            c->pong_us = k->now - c->ping_at_us;
            conn_event(c, AQ_EVENT_PONG);
        }
        break;
    case RECORD_MTU_PROBE:
        path_mtu_result(conn_path(c), r->size, false);
        trace_mtu(&c->tracer, 0, conn_path(c)->mtu, k->now);
        break;
    case RECORD_ACK_FREQUENCY: ackfreq_on_acked(&c->ackfreq, r->value); break;
    case RECORD_NONE:
    case RECORD_MAX_DATA:
    case RECORD_MAX_STREAMS:
    case RECORD_DATA_BLOCKED:
    case RECORD_STREAMS_BLOCKED:
    case RECORD_NEW_CID:
    case RECORD_HANDSHAKE_DONE:
    case RECORD_NEW_TOKEN:
    case RECORD_PATH_CHALLENGE:
    case RECORD_PATH_RESPONSE:
    case RECORD_KINDS: break;
    }
}

/* Streams' frames: what they carried is owed again. RFC 9000 §13.3 says for each frame whether and
 * how. */
static void record_lost_stream(const struct sink_arg *k, const struct record *r)
{
    struct conn *c = k->c;
    struct stream *s = record_stream(c, r);
    struct stream_env env = conn_env(c, k->now);
    if (r->kind == RECORD_STREAM) {
        c->counts.resent_bytes += r->size;
        stream_on_lost(s, &env, r->value, r->size, r->flags & 1);
    } else {
        uint8_t due = r->kind == RECORD_RESET_STREAM      ? DUE_RESET
                      : r->kind == RECORD_STOP_SENDING    ? DUE_STOP
                      : r->kind == RECORD_MAX_STREAM_DATA ? DUE_MAX_DATA
                                                          : DUE_BLOCKED;
        stream_on_control_lost(s, due, r->value);
    }
    record_stream_done(k, r);
}

static void record_lost(void *arg, const struct record *r)
{
    const struct sink_arg *k = arg;
    struct conn *c = k->c;
    switch ((enum record_kind)r->kind) {
    case RECORD_CRYPTO:
        if (record_crypto(k))
            sendq_on_lost(&record_crypto(k)->sendq, &c->quota, r->value, r->size, false);
        break;
    case RECORD_STREAM:
    case RECORD_RESET_STREAM:
    case RECORD_STOP_SENDING:
    case RECORD_MAX_STREAM_DATA:
    case RECORD_STREAM_DATA_BLOCKED: record_lost_stream(k, r); break;
    case RECORD_MAX_DATA:
        if (r->value == c->flow.rx_max) /* else a newer one was sent */
            c->max_data_lost = true;
        break;
    case RECORD_MAX_STREAMS:
        if (r->value == c->streams.local_max[r->flags & 1])
            c->streams.max_due[r->flags & 1] = true;
        break;
    case RECORD_DATA_BLOCKED:
        flow_tx_blocked_lost(&c->flow, r->value);
        if (flow_tx_says_blocked(&c->flow))
            wake_streams(c); /* a stream's turn is what sends it */
        break;
    case RECORD_STREAMS_BLOCKED:
        if (r->value == c->streams.peer_max[r->flags & 1])
            c->streams.blocked_due[r->flags & 1] = true;
        break;
    case RECORD_NEW_CID: cid_local_lost(&c->cids, r->value); break;
    case RECORD_RETIRE_CID:
        if (!k->resend_only) /* in a PTO's probe it stays counted as in flight */
            cid_peer_retire_lost(&c->peer_cids, r->value);
        break;
    case RECORD_HANDSHAKE_DONE: c->handshake_done_due = true; break;
    case RECORD_ACK_FREQUENCY: ackfreq_on_lost(&c->ackfreq, r->value); break;
    case RECORD_NEW_TOKEN: c->new_token_due = true; break;
    case RECORD_MTU_PROBE:
        if (!k->resend_only)
            path_mtu_result(conn_path(c), r->size, true);
        break;
    case RECORD_PING: c->ping_due |= (r->flags & 1) && c->ping_asked; break;
    case RECORD_NONE: /* RFC 9000 §13.3: the newest ACK, PING and PATH frames go only when there is
                         reason anew */
    case RECORD_ACK:
    case RECORD_PATH_CHALLENGE:
    case RECORD_PATH_RESPONSE:
    case RECORD_KINDS: break;
    }
}

static void packet_fate(void *arg, const struct sent *sent, uint64_t number, bool lost)
{
    const struct sink_arg *k = arg;
    struct conn *c = k->c;
    if (lost)
        trace_packet_lost(&c->tracer, k->space, number, sent->size, k->now);
    else if (k->space == SPACE_APP && sent->phase == (uint8_t)c->keys.tx_phase)
        c->keys.phase_acked = true;
}

const struct loss_sink apply_sink = {record_acked, record_lost, packet_fate};

/* RFC 9002 §6.2.4: a probe carries what is most wanted: the oldest packets' frames are queued once
 * more, while the packets themselves stay in flight with their fate open. */
void conn_probe(struct conn *c, enum space_id id, uint64_t now)
{
    struct space *space = conn_space(c, id);
    struct sent_ring *ring = &space->sent;
    struct sink_arg arg = {.c = c, .space = id, .now = now, .resend_only = true};
    unsigned packets = 0;
    for (uint64_t n = ring->first; n < ring->next && packets < 2; n++) {
        const struct sent *s = sent_at(ring, n);
        if (!s || s->state != SENT_OUTSTANDING || !(s->flags & SENT_ELICITING))
            continue;
        for (unsigned i = 0; i < s->records; i++)
            record_lost(&arg, sent_record_at(ring, s->record + i));
        packets++;
    }
    conn_wake(c);
}
