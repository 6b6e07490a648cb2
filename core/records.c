/* records.c -- what becomes of a frame that was sent, once its packet's fate is known: a row for
 * each kind of record.
 *
 * loss.c finds the fates and calls apply_sink; an acknowledged record lets go what it held, a lost
 * one makes its frame owed again where RFC 9000 §13.3 says so. Consecutive pieces of a stream are
 * taken together. Called through loss_on_ack and loss_detect, from apply.c, conn.c and send.c. */
#include "core/endpoint.h"

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
    conn_touched(k->c, s, r->index, k->now);
}

static struct crypto *record_crypto(const struct sink_arg *k)
{
    return k->c->hand ? &k->c->hand->crypto[k->space] : NULL;
}

void records_end(struct sink_arg *k)
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
    conn_touched(k->c, s, run->slot, k->now);
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
        records_end(k);
    if (!plain)
        return false;
    if (!run->count)
        *run = (struct acked_run){.slot = r->index, .offset = r->value};
    run->size += r->size;
    run->count++;
    return true;
}

static void record_mtu(const struct sink_arg *k, const struct record *r, bool lost)
{
    struct path *p = k->path < PATHS ? k->c->path[k->path] : NULL;
    if (!p)
        return;
    struct mtu before = p->mtu;
    mtu_on_probe(&p->mtu, r->size, lost, k->now);
    paths_mtu_told(k->c, p, &before, k->now);
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
        env = conn_env(c, k->now);
        stream_on_reset_acked(record_stream(c, r), &env, r->value);
        record_stream_done(k, r);
        break;
    case RECORD_STOP_SENDING:
    case RECORD_MAX_STREAM_DATA:
    case RECORD_STREAM_DATA_BLOCKED: record_stream_done(k, r); break;
    case RECORD_RETIRE_CID:
        cid_peer_retire_acked(&c->peer_cids);
        paths_retire(c);
        break;
    case RECORD_PING:
        if ((r->flags & 1) && c->ping_asked) {
            c->ping_asked = false;
            c->pong_us = told_us(k->now - c->ping_at_us);
            conn_event(c, AQ_EVENT_PONG);
        }
        break;
    case RECORD_MTU_PROBE: record_mtu(k, r, false); break;
    case RECORD_ACK_FREQUENCY: ackfreq_on_acked(&c->ackfreq, r->value); break;
    case RECORD_DATAGRAM: datagram_fate(c, false); break;
    case RECORD_NAT: natframes_on_acked(c, r); break;
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
            conn_wake_streams(c); /* a stream's turn is what sends it */
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
    case RECORD_DATAGRAM:
        if (!k->resend_only)
            datagram_fate(c, true);
        break;
    case RECORD_NEW_TOKEN: c->new_token_due = true; break;
    case RECORD_NAT: natframes_on_lost(c, r); break;
    case RECORD_MTU_PROBE:
        if (!k->resend_only)
            record_mtu(k, r, true);
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
    struct sink_arg *k = arg;
    struct conn *c = k->c;
    k->path = sent->path;
    if (lost && sent->flags & SENT_ECT && sent->path < PATHS && c->path[sent->path]) {
        struct ecn *ecn = &c->path[sent->path]->ecn;
        uint8_t before = ecn->state;
        ecn_on_lost(ecn);
        trace_ecn(&c->tracer, sent->path, before, ecn->state, k->now);
    }
    if (lost)
        trace_packet_lost(&c->tracer, k->space, number, sent->size, k->now);
    else if (k->space == SPACE_APP && sent->phase == (uint8_t)c->keys.tx_phase)
        c->keys.phase_acked = true;
}

const struct loss_sink apply_sink = {record_acked, record_lost, packet_fate};

/* Whether a probe sends one of this kind again (RFC 9000 §13.3; record_lost says how). */
static bool record_is_owed(const struct record *r)
{
    static const uint32_t never = 1U << RECORD_NONE | 1U << RECORD_ACK | 1U << RECORD_PING
                                  | 1U << RECORD_PATH_CHALLENGE | 1U << RECORD_PATH_RESPONSE
                                  | 1U << RECORD_MTU_PROBE | 1U << RECORD_DATAGRAM
                                  | 1U << RECORD_RETIRE_CID;
    return !(never >> r->kind & 1);
}

/* RFC 9002 §6.2.4: a probe carries what is most wanted: the frames of the two oldest packets that
 * have any to be sent again are queued once more, while the packets themselves stay in flight with
 * their fate open. Behind them goes new data; a PING only where there is neither. */
void conn_probe(struct conn *c, enum space_id id, uint8_t probes, uint64_t now)
{
    struct space *space = conn_space(c, id);
    struct sent_ring *ring = &space->sent;
    struct sink_arg arg = {.c = c, .space = id, .now = now, .resend_only = true};
    unsigned packets = 0;
    for (uint64_t n = ring->first; n < ring->next && packets < 2; n++) {
        const struct sent *s = sent_at(ring, n);
        if (!s || s->state != SENT_OUTSTANDING || !(s->flags & SENT_ELICITING))
            continue;
        bool owed = false;
        for (unsigned i = 0; i < s->records; i++) {
            const struct record *r = sent_record_at(ring, s->record + i);
            owed |= record_is_owed(r);
            record_lost(&arg, r);
        }
        packets += owed;
    }
    space->probes = probes;
    conn_wake(c);
}

/* RFC 9002 §6.2.4: what waits in the other spaces goes along: one datagram may bring it all. */
void conn_probe_others(struct conn *c, enum space_id id, uint8_t probes, uint64_t now)
{
    for (enum space_id i = SPACE_INITIAL; i < SPACES; i++) {
        const struct space *space = conn_space(c, i);
        if (i != id && space && space->sent.eliciting_in_flight)
            conn_probe(c, i, probes, now);
    }
}

/* RFC 9002 §6.2.3: the peer's packet tells that it lacks what we have sent in the handshake: it
 * goes again before the PTO, a few times at most. */
void conn_hurry(struct conn *c, uint64_t now)
{
    enum {
        HURRIES = 3
    };
    struct hand *h = c->hand;
    if (!h || c->state == CONN_CONFIRMED || h->hurried >= HURRIES)
        return;
    for (unsigned i = 0; i < 2; i++) {
        if (conn_space(c, (enum space_id)i) && h->space[i].probes)
            return; /* it is on its way already */
    }
    h->hurried++;
    conn_probe_others(c, SPACES, 1, now);
}
