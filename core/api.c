/* api.c -- the public calls on connections and streams (antq.h). Handles become pointers here and
 * nowhere else. */
#include "core/addr.h"
#include "core/cc.h"
#include "core/endpoint.h"
#include "core/frame.h"

static struct endpoint *inner(struct aq_endpoint *ep)
{
    return (struct endpoint *)ep;
}

/* The connection a handle names, NULL when stale. One whose CLOSED was told lives until the next
 * call for events. */
/* A stream and its connection. False: stale. */
struct found {
    struct conn *c;
    struct stream *s;
    uint32_t slot;
};

static bool find_stream(struct endpoint *ep, aq_stream handle, struct found *f)
{
    f->slot = pool_find(&ep->streams.pool, handle);
    if (f->slot == POOL_NONE)
        return false;
    f->s = stream_at(&ep->streams, f->slot);
    f->c = conn_at(ep, f->s->conn);
    if (f->c->told_closed) /* CLOSED was the last of its connection, and of its streams */
        return false;
    return !f->s->closed_told || ep->stream_ended == f->slot;
}

/* After the application changed a stream. */
static void changed(const struct found *f, uint64_t now)
{
    struct endpoint *ep = f->c->ep;
    if (!conn_is_open(f->c))
        return;
    if (stream_wants_send(f->s, &f->c->flow)) {
        streams_want_send(&f->c->streams, &ep->streams, f->slot);
        conn_wake(f->c);
    }
    if (flow_rx_wants_update(&f->c->flow))
        conn_wake(f->c);
    if (f->s->events)
        conn_stream_event(f->c, f->slot);
    if (stream_is_done(f->s))
        conn_stream_over(f->c, f->slot, now);
}

/* ---- connections ---- */

int aq_connect(struct aq_endpoint *endpoint, const struct aq_connect *connect, aq_conn *conn,
               uint64_t now_us)
{
    struct endpoint *ep = inner(endpoint);
    struct aq_datagram meta = {0};
    struct aq_iov ticket = {connect->ticket, connect->ticket_size};
    struct aq_iov token = {connect->token, connect->token_size};
    uint32_t of_ticket = negotiate_strip(&ticket), of_token = negotiate_strip(&token);
    uint32_t version = negotiate_first(ep, connect->version, of_ticket, of_token);
    *conn = 0;
    if (connect->size != sizeof *connect || !connect->tls || tls_is_server_config(connect->tls)
        || !connect->remote.family || !connect->remote.port
        || connect->token_size > TOKEN_MAX + NEGOTIATE_PREFIX
        || (connect->cc && !cc_find(connect->cc)) || !negotiate_speaks(ep, version)
        || (connect->ticket && !of_ticket))
        return AQ_MISUSE;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    if (ep->half_open >= ep->config.max_half_open)
        return AQ_FULL;
    uint32_t slot = endpoint_new_conn(ep, ep->now_us);
    if (slot == POOL_NONE)
        return AQ_FULL;
    struct conn *c = conn_at(ep, slot);
    meta.local = connect->local;
    meta.remote = connect->remote;
    meta.socket = connect->socket;
    meta.ifindex = connect->ifindex;
    meta.channel = connect->channel;
    struct conn_start start = {.tls = connect->tls,
                               .version = version,
                               .meta = &meta,
                               .server_name = connect->server_name,
                               .cc = connect->cc,
                               .early_data = connect->early_data,
                               .peer_id = connect->peer_id};
    /* RFC 9369 §5: tickets and tokens of another version are not used. */
    if (of_ticket == version)
        start.ticket = ticket.data, start.ticket_size = ticket.size;
    if (of_token == version)
        start.token = token.data, start.token_size = token.size;
    /* RFC 9000 §7.2: at least 8 unpredictable bytes. */
    start.odcid.size = CID_SIZE;
    rng_fill(&ep->rng, start.odcid.bytes, CID_SIZE);
    start.dcid = start.odcid;
    c->user = connect->user;
    int error = handshake_begin(c, &start, ep->now_us);
    if (error != AQ_OK) {
        conn_set_state(c, CONN_OVER, ep->now_us);
        conn_drop_flight(c);
        handshake_over(c, ep->now_us);
        endpoint_free_conn(ep, c);
        return error;
    }
    *conn = pool_handle(&ep->conns, slot);
    return AQ_OK;
}

int aq_close(struct aq_endpoint *endpoint, aq_conn conn, uint64_t code, const char *reason,
             uint64_t now_us)
{
    struct endpoint *ep = inner(endpoint);
    struct conn *c = endpoint_find_conn(ep, conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    if (code > VARINT_MAX)
        return AQ_MISUSE;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    conn_close(c, true, code, reason, "aq_close", ep->now_us);
    return AQ_OK;
}

int aq_refuse(struct aq_endpoint *endpoint, aq_conn conn, const char *reason, uint64_t now_us)
{
    struct endpoint *ep = inner(endpoint);
    struct conn *c = endpoint_find_conn(ep, conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    ep->now_us = now_us > ep->now_us ? now_us : ep->now_us;
    conn_close(c, false, AQ_CONNECTION_REFUSED, reason, "aq_refuse", ep->now_us);
    return AQ_OK;
}

int aq_conn_set_user(struct aq_endpoint *endpoint, aq_conn conn, void *user)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c)
        return AQ_GONE;
    c->user = user;
    return AQ_OK;
}

void *aq_conn_user(struct aq_endpoint *endpoint, aq_conn conn)
{
    const struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    return c ? c->user : NULL;
}

/* TLS went on after a late answer: its errors close as if a packet had brought them. */
static int went_on(struct conn *c, int tls_error, uint64_t now)
{
    struct apply a = {.frame_type = FRAME_CRYPTO, .where = "TLS"};
    if (tls_error == AQ_MISUSE)
        return AQ_MISUSE;
    int error = handshake_after_tls(c, tls_error, now);
    if (error > 0)
        conn_fail(c, error, &a, now);
    return AQ_OK;
}

int aq_verify_done(struct aq_endpoint *endpoint, aq_conn conn, bool accept, uint64_t now_us)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    return c->hand ? went_on(c, tls_verify_done(&c->hand->tls, accept), now_us) : AQ_MISUSE;
}

int aq_sign_done(struct aq_endpoint *endpoint, aq_conn conn, const uint8_t *signature, size_t size,
                 uint64_t now_us)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    return c->hand ? went_on(c, tls_sign_done(&c->hand->tls, signature, size), now_us) : AQ_MISUSE;
}

int aq_key_update(struct aq_endpoint *endpoint, aq_conn conn, uint64_t now_us)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    (void)now_us;
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    if (c->state != CONN_CONFIRMED || !keys_can_update(&c->keys)) /* RFC 9001 §6.1 */
        return AQ_BLOCKED;
    c->update_wanted = c->ping_due =
        true; /* something is sent under the new keys, so that the peer follows */
    conn_wake(c);
    return AQ_OK;
}

int aq_ping(struct aq_endpoint *endpoint, aq_conn conn, uint64_t now_us)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    c->ping_due = c->ping_asked = true;
    c->ping_at_us = now_us;
    conn_wake(c);
    return AQ_OK;
}

int aq_conn_probe_mtu(struct aq_endpoint *endpoint, aq_conn conn, uint16_t size, uint64_t now_us)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    (void)now_us;
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    const struct path *p = conn_path(c);
    if (size < MTU_BASE || size > p->mtu.max)
        return AQ_MISUSE;
    if (c->state != CONN_CONFIRMED || p->state != PATH_VALID || p->mtu.probed)
        return AQ_BLOCKED;
    c->mtu_wish = size;
    conn_wake(c);
    return AQ_OK;
}

/* ---- what is known of a connection ---- */

static enum aq_congested congested_why(const struct conn *c)
{
    const struct path *p = conn_path(c);
    if (conn_is_open(c) && path_room(p) < MTU_BASE)
        return AQ_CONGESTED_ADDRESS;
    if (c->streams.wanted[0] || c->streams.wanted[1])
        return AQ_CONGESTED_STREAMS;
    if (c->armed >> TIMER_MEMORY & 1)
        return AQ_CONGESTED_MEMORY;
    /* Streams that wait for the connection's limit lose their turn once the peer was told. */
    if (flow_tx_room(&c->flow) == 0
        && (c->streams.send_head != POOL_NONE || !flow_tx_says_blocked(&c->flow)))
        return AQ_CONGESTED_FLOW;
    if (c->streams.send_head == POOL_NONE)
        return AQ_CONGESTED_NOT;
    if (cc_room(&p->cc) < p->mtu.size)
        return AQ_CONGESTED_WINDOW;
    return pace_room(&p->pace) < p->mtu.size ? AQ_CONGESTED_PACER : AQ_CONGESTED_NOT;
}

static enum aq_status status_of(const struct conn *c, enum aq_congested why)
{
    const struct path *p = conn_path(c);
    if (!conn_is_open(c))
        return AQ_STATUS_CLOSED;
    if (c->state == CONN_HANDSHAKE)
        return AQ_STATUS_HANDSHAKING;
    if (p->state != PATH_VALID)
        return AQ_STATUS_PATH_VALIDATING;
    return why != AQ_CONGESTED_NOT ? AQ_STATUS_CONGESTED : AQ_STATUS_CONNECTED;
}

int aq_conn_stats(struct aq_endpoint *endpoint, aq_conn conn, struct aq_conn_stats *stats)
{
    struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c)
        return AQ_GONE;
    const struct path *p = conn_path(c);
    enum aq_congested why = congested_why(c);
    struct aq_conn_stats s = {
        .status = status_of(c, why),
        .congested = why,
        .server = c->server,
        .relayed = p->channel != 0,
        .channel = p->channel,
        .local = p->local,
        .remote = p->remote,
        .version = c->version,
        .rtt_us = p->rtt.smoothed_us,
        .rtt_var_us = p->rtt.var_us,
        .rtt_min_us = p->rtt.min_us,
        .rtt_latest_us = p->rtt.latest_us,
        .cwnd_bytes = p->cc.cwnd_bytes,
        .in_flight_bytes = p->cc.in_flight_bytes,
        .pacing_bytes_per_s = p->pace.rate_bytes_per_s,
        .ssthresh_bytes = p->cc.ssthresh_bytes,
        .mtu = p->mtu.size,
        .handshake_us = c->handshake_us,
        .sent_bytes = c->counts.sent_bytes,
        .sent_packets = c->counts.sent_packets,
        .recv_bytes = c->counts.recv_bytes,
        .recv_packets = c->counts.recv_packets,
        .lost_packets = c->counts.lost_packets,
        .lost_bytes = c->counts.lost_bytes,
        .resent_bytes = c->counts.resent_bytes,
        .duplicate_packets = c->counts.duplicates,
        .undecryptable_packets = c->counts.undecryptable,
        .pto_count = c->counts.pto_count,
        .key_updates = c->keys.rx_phase,
        .ecn_ect0 = c->app.ack.ect0,
        .ecn_ect1 = c->app.ack.ect1,
        .ecn_ce = c->app.ack.ce,
        .streams_open = c->streams.count,
        .memory_bytes = c->quota.used_bytes,
        .ack_packets = c->counts.acks_alone,
        .acks_received = c->counts.acks_received,
        .ack_every_packets = (uint64_t)c->ackfreq.threshold + 1,
        .ack_within_us = c->ackfreq.asked_us,
        .spurious_packets = c->counts.spurious_packets,
        .ecn_state = (enum aq_ecn_state)p->ecn.state,
        .paths = paths_count(c),
        .streams_opened = c->streams.local_next[STREAMS_BIDI] + c->streams.local_next[STREAMS_UNI],
        .streams_accepted =
            c->streams.peer_opened[STREAMS_BIDI] + c->streams.peer_opened[STREAMS_UNI],
    };
    if (c->datagrams) {
        s.datagrams_sent = c->datagrams->sent;
        s.datagrams_acked = c->datagrams->acked;
        s.datagrams_lost = c->datagrams->lost;
        s.datagrams_received = c->datagrams->received;
        s.datagrams_dropped_sending = c->datagrams->dropped_tx;
        s.datagrams_dropped_receiving = c->datagrams->dropped_rx;
    }
    size_t size = stats->size < sizeof s ? stats->size : sizeof s;
    s.size = size;
    memcpy(stats, &s, size);
    return AQ_OK;
}

int aq_conn_peer(struct aq_endpoint *endpoint, aq_conn conn, struct aq_conn_peer *peer)
{
    const struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c)
        return AQ_GONE;
    struct tls_names names;
    struct aq_conn_peer p = {.cipher = c->facts.cipher,
                             .group = c->facts.group,
                             .resumed = c->facts.resumed,
                             .verified = c->facts.verified,
                             .has_certificate = c->facts.has_certificate,
                             .verify_error = c->facts.verify_error,
                             .early_data = (enum aq_early)c->early};
    handshake_names(c, &names);
    memcpy(p.alpn, names.alpn, sizeof p.alpn);
    memcpy(p.server_name, names.server_name, sizeof p.server_name);
    memcpy(p.spki_hash, c->facts.spki_hash, sizeof p.spki_hash);
    size_t size = peer->size < sizeof p ? peer->size : sizeof p;
    p.size = size;
    memcpy(peer, &p, size);
    return AQ_OK;
}

int aq_conn_export(struct aq_endpoint *endpoint, aq_conn conn, const uint8_t *context, size_t size,
                   uint8_t out[32])
{
    const struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c)
        return AQ_GONE;
    if (!c->facts.known)
        return AQ_BLOCKED;
    if (size > 64)
        return AQ_MISUSE;
    prim_hmac(c->facts.exporter, sizeof c->facts.exporter, context, size, out);
    return AQ_OK;
}

int aq_conn_close_info(struct aq_endpoint *endpoint, aq_conn conn, struct aq_close_info *info)
{
    const struct conn *c = endpoint_find_conn(inner(endpoint), conn);
    if (!c)
        return AQ_GONE;
    if (conn_is_open(c))
        return AQ_BLOCKED;
    struct aq_close_info i = {.by = (enum aq_closer)c->closing.by,
                              .application = c->closing.application,
                              .code = c->closing.code,
                              .frame_type = c->closing.frame_type,
                              .where = c->closing.where};
    if (c->closing.reason)
        memcpy(i.reason, c->closing.reason, CLOSE_REASON);
    size_t size = info->size < sizeof i ? info->size : sizeof i;
    i.size = size;
    memcpy(info, &i, size);
    return AQ_OK;
}

/* ---- streams ---- */

int aq_stream_open(struct aq_endpoint *endpoint, aq_conn conn, bool unidirectional, void *user,
                   aq_stream *stream)
{
    struct endpoint *ep = inner(endpoint);
    struct conn *c = endpoint_find_conn(ep, conn);
    uint32_t slot;
    *stream = 0;
    if (!c || !conn_is_open(c))
        return AQ_GONE;
    if (c->state == CONN_HANDSHAKE && !early_is_open(c))
        return AQ_BLOCKED;
    int error = streams_open(&c->streams, &ep->streams, unidirectional ? STREAMS_UNI : STREAMS_BIDI,
                             &slot, ep->now_us);
    if (error == AQ_BLOCKED)
        conn_wake(c); /* STREAMS_BLOCKED */
    if (error != AQ_OK)
        return error;
    stream_at(&ep->streams, slot)->user = user;
    *stream = pool_handle(&ep->streams.pool, slot);
    return AQ_OK;
}

int64_t aq_stream_write(struct aq_endpoint *endpoint, aq_stream stream, const struct aq_iov *iov,
                        unsigned n, unsigned flags)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f) || !conn_is_open(f.c))
        return AQ_GONE;
    struct stream_env env = conn_env(f.c, ep->now_us);
    int64_t taken = stream_write(f.s, &env, iov, n, flags);
    if (f.s->wants_write
        && f.s->sendq.end - f.s->sendq.base < env.send_buffer / 2) /* cut short by memory */
        conn_arm(f.c, TIMER_MEMORY, ep->now_us + MEMORY_WAIT_US);
    changed(&f, ep->now_us);
    conn_wake(f.c);
    return taken;
}

int64_t aq_stream_released(struct aq_endpoint *endpoint, aq_stream stream)
{
    struct found f;
    if (!find_stream(inner(endpoint), stream, &f))
        return AQ_GONE;
    return (int64_t)f.s->sendq.base;
}

int aq_stream_peek(struct aq_endpoint *endpoint, aq_stream stream, struct aq_iov *iov, unsigned max,
                   bool *fin)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    *fin = false;
    if (!find_stream(ep, stream, &f))
        return AQ_GONE;
    return stream_peek(f.s, &ep->streams.pieces, iov, max, fin);
}

int aq_stream_consume(struct aq_endpoint *endpoint, aq_stream stream, uint64_t bytes)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f))
        return AQ_GONE;
    struct stream_env env = conn_env(f.c, ep->now_us);
    int error = stream_consume(f.s, &env, bytes);
    if (error == AQ_OK)
        changed(&f, ep->now_us);
    return error;
}

int aq_stream_reset(struct aq_endpoint *endpoint, aq_stream stream, uint64_t code)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f) || !conn_is_open(f.c))
        return AQ_GONE;
    struct stream_env env = conn_env(f.c, ep->now_us);
    int error = code <= VARINT_MAX ? stream_reset(f.s, &env, code) : AQ_MISUSE;
    changed(&f, ep->now_us);
    return error;
}

int aq_stream_reset_at(struct aq_endpoint *endpoint, aq_stream stream, uint64_t code,
                       uint64_t reliable_size)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f) || !conn_is_open(f.c))
        return AQ_GONE;
    /* draft-ietf-quic-reliable-stream-reset §3: only to who knows the frame. */
    if (code > VARINT_MAX || !f.c->peer.reset_stream_at)
        return AQ_MISUSE;
    struct stream_env env = conn_env(f.c, ep->now_us);
    int error = stream_reset_at(f.s, &env, code, reliable_size);
    changed(&f, ep->now_us);
    return error;
}

int aq_stream_stop(struct aq_endpoint *endpoint, aq_stream stream, uint64_t code)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f) || !conn_is_open(f.c))
        return AQ_GONE;
    struct stream_env env = conn_env(f.c, ep->now_us);
    int error = code <= VARINT_MAX ? stream_stop(f.s, &env, code) : AQ_MISUSE;
    changed(&f, ep->now_us);
    return error;
}

int aq_stream_set_priority(struct aq_endpoint *endpoint, aq_stream stream, unsigned urgency,
                           bool incremental)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    if (!find_stream(ep, stream, &f))
        return AQ_GONE;
    if (urgency >= URGENCIES)
        return AQ_MISUSE;
    streams_set_priority(&f.c->streams, &ep->streams, f.slot, urgency, incremental);
    return AQ_OK;
}

bool aq_stream_early(struct aq_endpoint *endpoint, aq_stream stream)
{
    struct found f;
    return find_stream(inner(endpoint), stream, &f) && f.s->early && f.c->state == CONN_HANDSHAKE;
}

int aq_stream_set_user(struct aq_endpoint *endpoint, aq_stream stream, void *user)
{
    struct found f;
    if (!find_stream(inner(endpoint), stream, &f))
        return AQ_GONE;
    f.s->user = user;
    return AQ_OK;
}

void *aq_stream_user(struct aq_endpoint *endpoint, aq_stream stream)
{
    struct found f;
    return find_stream(inner(endpoint), stream, &f) ? f.s->user : NULL;
}

uint64_t aq_stream_id(struct aq_endpoint *endpoint, aq_stream stream)
{
    struct found f;
    return find_stream(inner(endpoint), stream, &f) ? f.s->id : UINT64_MAX;
}

aq_conn aq_stream_conn(struct aq_endpoint *endpoint, aq_stream stream)
{
    struct endpoint *ep = inner(endpoint);
    struct found f;
    return find_stream(ep, stream, &f) ? pool_handle(&ep->conns, f.c->slot) : 0;
}
