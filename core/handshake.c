/* handshake.c -- TLS's steps in a connection: keys in, keys out, parameters, confirmation (RFC 9000
 * §7; RFC 9001 §4). */
#include "core/endpoint.h"
#include "core/frame.h"

enum {
    CLIENT_TICKETS_WANTED = 2,
    PARAMS_SIZE = 512,
    CLIENT_TLS_LINGER_US = 2000000
};

static enum space_id space_of(enum level level)
{
    return level == LEVEL_INITIAL     ? SPACE_INITIAL
           : level == LEVEL_HANDSHAKE ? SPACE_HANDSHAKE
                                      : SPACE_APP;
}

static enum level level_of(enum space_id space)
{
    return space == SPACE_INITIAL     ? LEVEL_INITIAL
           : space == SPACE_HANDSHAKE ? LEVEL_HANDSHAKE
                                      : LEVEL_APP;
}

/* ---- what TLS says ---- */

static int on_secret(void *arg, enum level level, bool write, const struct secret *secret)
{
    struct conn *c = arg;
    struct keys_long *k = &c->hand->keys[1];
    trace_key(&c->tracer, AQ_TRACE_KEY_INSTALLED, level, write, 0, c->ep->now_us);
    if (level == LEVEL_EARLY)
        early_begin(c, write, secret);
    else if (level == LEVEL_APP && write)
        keys_set_tx(&c->keys, c->version, secret);
    else if (level == LEVEL_APP)
        keys_set_rx(&c->keys, c->version, secret);
    else if (level == LEVEL_HANDSHAKE)
        schedule_keys(c->version, secret, write ? &k->tx : &k->rx, write ? &k->tx_hp : &k->rx_hp);
    return AQ_OK;
}

static int on_data(void *arg, enum level level, const uint8_t *data, size_t size)
{
    struct conn *c = arg;
    return crypto_write(&c->hand->crypto[space_of(level)], &c->quota, data, size);
}

static void on_ticket(void *arg, const uint8_t *ticket, size_t ticket_size)
{
    struct conn *c = arg;
    c->hand->tickets++;
    early_ticket_take(c, ticket, ticket_size);
}

static void *conn_user_of(void *arg)
{
    return ((struct conn *)arg)->user;
}

static int on_params(void *arg, uint32_t *binding);

static const struct tls_sink sink = {on_secret,    on_data,   on_ticket,
                                     conn_user_of, on_params, early_may};

/* ---- beginning ---- */

/* RFC 9000 §9.6.1, §18.2: where clients shall come to; a family that is all zero is not offered. */
static void own_preferred(struct conn *c, struct params *p)
{
    const struct aq_config *config = &c->ep->config;
    struct preferred_address *a = &p->preferred;
    memcpy(a->ip4, config->preferred4.ip, sizeof a->ip4);
    a->port4 = config->preferred4.port;
    memcpy(a->ip6, config->preferred6.ip, sizeof a->ip6);
    a->port6 = config->preferred6.port;
    cid_local_preferred(&c->cids); /* RFC 9000 §5.1.1: the id has the number 1 */
    endpoint_cid(c->ep, c, 1, &a->cid);
    cid_reset_token(&c->ep->cid_key, &a->cid, a->token);
    params_set(p, PARAM_PREFERRED_ADDRESS);
}

static void own_params(struct conn *c, struct params *p)
{
    const struct hand *h = c->hand;
    const struct aq_config *config = &c->ep->config;
    params_init(p);
    endpoint_cid(c->ep, c, 0, &p->initial_scid);
    params_set(p, PARAM_INITIAL_SCID);
    p->max_idle_timeout_us = config->idle_timeout_us;
    p->max_udp_payload = 65527;
    p->max_data = config->conn_window;
    p->max_stream_data_bidi_local = p->max_stream_data_bidi_remote = p->max_stream_data_uni =
        config->stream_window;
    p->max_streams_bidi = config->streams_bidi;
    p->max_streams_uni = config->streams_uni;
    p->max_ack_delay_us = config->max_ack_delay_us;
    p->min_ack_delay_us = conn_min_ack_delay(c);
    p->active_cid_limit = config->active_cid_limit;
    if (config->no_migration)
        params_set(p, PARAM_DISABLE_ACTIVE_MIGRATION);
    if (!config->no_grease_bit)
        params_set(p, PARAM_GREASE_QUIC_BIT);
    negotiate_info(c, &p->versions); /* RFC 9369 §4: who speaks version 2 sends it */
    params_set(p, PARAM_VERSION_INFORMATION);
    p->present |= UINT64_C(1) << PARAM_MAX_IDLE_TIMEOUT | UINT64_C(1) << PARAM_MAX_DATA
                  | UINT64_C(1) << PARAM_MAX_STREAM_DATA_BIDI_LOCAL
                  | UINT64_C(1) << PARAM_MAX_STREAM_DATA_BIDI_REMOTE
                  | UINT64_C(1) << PARAM_MAX_STREAM_DATA_UNI | UINT64_C(1) << PARAM_MAX_STREAMS_BIDI
                  | UINT64_C(1) << PARAM_MAX_STREAMS_UNI | UINT64_C(1) << PARAM_MAX_ACK_DELAY
                  | UINT64_C(1) << PARAM_MIN_ACK_DELAY | UINT64_C(1) << PARAM_RESET_STREAM_AT
                  | UINT64_C(1) << PARAM_ACTIVE_CID_LIMIT;
    if (config->datagram_max) {
        p->max_datagram_frame = config->datagram_max;
        params_set(p, PARAM_MAX_DATAGRAM_FRAME);
    }
    if (config->nat_limit) {
        p->nat_limit = c->server ? config->nat_limit : 0;
        params_set(p, PARAM_NAT_TRAVERSAL);
    }
    if (config->observe) {
        p->address_discovery = OBSERVED_BOTH;
        params_set(p, PARAM_ADDRESS_DISCOVERY);
    }
    if (!c->server)
        return;
    p->original_dcid = h->odcid;
    params_set(p, PARAM_ORIGINAL_DCID);
    cid_reset_token(&c->ep->cid_key, &p->initial_scid, p->reset_token);
    params_set(p, PARAM_RESET_TOKEN);
    if (h->retry_scid.size != 255) {
        p->retry_scid = h->retry_scid;
        params_set(p, PARAM_RETRY_SCID);
    }
    if (config->preferred4.family || config->preferred6.family)
        own_preferred(c, p);
}

void handshake_initial_keys(const struct conn *c, uint32_t version, struct keys_long *k)
{
    const struct hand *h = c->hand;
    const struct cid *dcid = h->retry_scid.size != 255 ? &h->retry_scid : &h->odcid;
    struct secret client, server;
    schedule_initial(version, dcid->bytes, dcid->size, &client, &server);
    schedule_keys(version, c->server ? &server : &client, &k->tx, &k->tx_hp);
    schedule_keys(version, c->server ? &client : &server, &k->rx, &k->rx_hp);
    schedule_wipe(&client);
    schedule_wipe(&server);
}

static void begin_path(struct conn *c, const struct conn_start *start, uint64_t now)
{
    const struct aq_config *config = &c->ep->config;
    const struct cc_ops *cc = cc_find(start->cc ? start->cc : config->cc);
    struct path *p = conn_path(c);
    uint16_t max = paths_mtu_max(c, start->meta->channel);
    path_init(p, cc ? cc : cc_find(NULL), config->fixed_mtu ? max : MTU_BASE, max, now);
    ecn_init(&p->ecn, !config->no_ecn);
    cc_attach(&p->cc, &c->quota, now);
    p->local = start->meta->local;
    p->remote = start->meta->remote;
    p->socket = start->meta->socket;
    p->ifindex = start->meta->ifindex;
    p->channel = start->meta->channel;
    p->mtu_valid = true; /* RFC 9000 §14.1: an Initial fills 1,200 bytes */
    if (!start->server || start->validated)
        path_set_state(p, PATH_VALID);
}

static void trace_params(const struct conn *c, bool peer, const struct params *p, uint64_t now)
{
    unsigned count;
    const struct param_row *rows = params_rows(&count);
    for (unsigned i = 0; i < count && trace_is_on(&c->tracer); i++) {
        uint64_t value;
        if (params_number(p, i, &value))
            TRACE_LINE(&c->tracer, AQ_TRACE_PARAM, peer, rows[i].id, value, 0, now);
    }
}

static void trace_start(const struct conn *c, const struct conn_start *start, uint64_t now)
{
    const struct path *p = conn_path(c);
    const struct tracer *tr = &c->tracer;
    struct cid own;
    if (!trace_is_on(tr))
        return;
    TRACE_LINE(tr, AQ_TRACE_CONN_STARTED, 0, c->server, c->version, p->mtu.size, now);
    endpoint_cid(c->ep, c, 0, &own);
    trace_bytes(tr, AQ_PIECE_CID_ORIGINAL, start->odcid.bytes, start->odcid.size, now);
    trace_bytes(tr, AQ_PIECE_CID_LOCAL, own.bytes, own.size, now);
    trace_bytes(tr, AQ_PIECE_CID_REMOTE, cid_peer_active(&c->peer_cids)->bytes,
                cid_peer_active(&c->peer_cids)->size, now);
    trace_put_address(tr, false, &p->local, now);
    trace_put_address(tr, true, &p->remote, now);
}

/* Own parameters as bytes; returns their size. */
static size_t encode_params(struct conn *c, uint8_t *out, size_t size)
{
    struct params own;
    own_params(c, &own);
    trace_params(c, false, &own, c->ep->now_us);
    /* RFC 9000 §18.1: a greased parameter keeps peers honest; below 2^30 so that its size does not
     * vary. */
    size_t n =
        params_encode(&own, 31 * (1000000 + rng_below(&c->ep->rng, 1000000)) + 27, out, size);
    assert(n);
    return n;
}

/* TLS begins: a client's at once, a server's when an authentic Initial has brought its first CRYPTO
 * bytes. */
static int begin_tls(struct conn *c, const struct conn_start *start)
{
    uint8_t params[PARAMS_SIZE], context[KEPT_MAX + sizeof c->ep->early_nonce];
    struct tls_start tls = {.shared = start->tls,
                            .server = c->server,
                            .server_name = start->server_name,
                            .ticket = start->ticket,
                            .ticket_size = start->ticket_size,
                            .early = start->early_data,
                            .peer_id = start->peer_id,
                            .params = params};
    if (c->server && tls_allows_early(start->tls)) {
        struct params own;
        own_params(c, &own);
        tls.early_context_size = early_context(c->ep, &own, context, sizeof context);
        tls.early_context = context;
    } else if (start->ticket) {
        tls.ticket = early_ticket_open(c, start->ticket, &tls.ticket_size, &tls.early);
        if (!tls.ticket)
            return AQ_MISUSE;
    }
    tls.params_size = encode_params(c, params, sizeof params);
    int error = tls_start(&c->hand->tls, &tls, &sink, c);
    return error == AQ_OK || error == TLS_LATER ? AQ_OK : AQ_MISUSE;
}

static bool keep_token(struct conn *c, const uint8_t *token, size_t size)
{
    struct hand *h = c->hand;
    assert(size <= TOKEN_MAX);
    if (!h->token)
        h->token = quota_take(&c->quota, TOKEN_MAX);
    if (!h->token)
        return false;
    memcpy(h->token, token, size);
    h->token_size = (uint16_t)size;
    return true;
}

static void keep_params(struct conn *c, const struct params *p)
{
    c->peer = (struct peer_params){
        .ack_delay_exponent = (uint8_t)p->ack_delay_exponent,
        .no_migration = params_has(p, PARAM_DISABLE_ACTIVE_MIGRATION),
        .active_cid_limit =
            (uint8_t)(p->active_cid_limit < CIDS_MAX ? p->active_cid_limit : CIDS_MAX),
        .max_udp_payload =
            (uint16_t)(p->max_udp_payload < UINT16_MAX ? p->max_udp_payload : UINT16_MAX),
        .grease_bit = p->grease_quic_bit,
    };
    ackfreq_on_params(&c->ackfreq, params_has(p, PARAM_MIN_ACK_DELAY), p->min_ack_delay_us,
                      p->max_ack_delay_us);
}

int handshake_begin(struct conn *c, const struct conn_start *start, uint64_t now)
{
    struct endpoint *ep = c->ep;
    struct hand *h = c->hand;
    struct params defaults;
    c->server = start->server;
    c->version = h->original = start->version;
    for (unsigned i = 0; i < 2; i++) {
        ack_init(&h->space[i].ack, &c->quota);
        sent_init(&h->space[i].sent);
    }
    for (unsigned i = 0; i < SPACES; i++) {
        sendq_init(&h->crypto[i].sendq);
        recvq_init(&h->crypto[i].recvq);
    }
    ack_init(&c->app.ack, &c->quota);
    ackfreq_init(&c->ackfreq);
    sent_init(&c->app.sent);
    c->skip_at = SKIP_MIN + rng_below(&ep->rng, SKIP_SPAN);
    h->odcid = start->odcid;
    h->retry_scid.size = 255;
    if (start->retry_scid)
        h->retry_scid = *start->retry_scid;
    params_init(&defaults);
    keep_params(c, &defaults);
    cid_local_init(&c->cids);
    cid_peer_init(&c->peer_cids, start->server ? &start->scid : &start->dcid,
                  ep->config.active_cid_limit, &c->quota);
    streams_init(&c->streams, c->slot, start->server, ep->streams.window);
    flow_init(&c->flow, ep->config.conn_window, ep->config.conn_window_max, 0, now);
    begin_path(c, start, now);
    trace_start(c, start, now);
    conn_set_state(c, CONN_HANDSHAKE, now);
    if (start->server) { /* later packets of the first flight come to the client's own choice of id
                          */
        h->odcid_hash = endpoint_hash_cid(ep, start->dcid.bytes, start->dcid.size);
        h->mapped = map_put(&ep->odcids, h->odcid_hash, c->slot);
        c->peer_validated_us = true;
    }
    if (start->token_size) /* no memory for it: the server may ask for another */
        (void)keep_token(c, start->token, start->token_size);
    handshake_initial_keys(c, c->version, &h->keys[0]);
    conn_arm(c, TIMER_HANDSHAKE, now + ep->config.handshake_timeout_us);
    c->idle_timeout_us = ep->config.idle_timeout_us;
    if (!c->server) /* a server speaks when something authentic came */
        conn_wake(c);
    return c->server ? AQ_OK : begin_tls(c, start);
}

/* ---- parameters ---- */

/* RFC 9000 §7.3: the ids in the parameters are those seen in the packets. */
static bool params_prove_ids(const struct conn *c, const struct params *p)
{
    const struct hand *h = c->hand;
    if (!params_has(p, PARAM_INITIAL_SCID) || !cid_equal(&p->initial_scid, &c->peer_cids.v[0].cid))
        return false;
    if (c->server)
        return true;
    if (!params_has(p, PARAM_ORIGINAL_DCID) || !cid_equal(&p->original_dcid, &h->odcid))
        return false;
    bool retried = h->retry_scid.size != 255;
    if (params_has(p, PARAM_RETRY_SCID) != retried)
        return false;
    return !retried || cid_equal(&p->retry_scid, &h->retry_scid);
}

static int take_params(struct conn *c)
{
    const uint8_t *data;
    size_t size;
    struct params p;
    if (c->params_known || !tls_peer_params(&c->hand->tls, &data, &size))
        return AQ_OK;
    params_init(&p);
    int error = params_decode(&p, c->server ? BY_CLIENT : BY_SERVER, data, size);
    if (error != AQ_OK)
        return error;
    if (!params_prove_ids(c, &p))
        return AQ_TRANSPORT_PARAMETER_ERROR;
    error = c->server ? negotiate_pick(c, &p) : negotiate_check(c, &p);
    if (error != AQ_OK)
        return error;
    /* RFC 9000 §18.2: a server without a connection id has no preferred address. */
    if (params_has(&p, PARAM_PREFERRED_ADDRESS) && !c->peer_cids.v[0].cid.size)
        return AQ_TRANSPORT_PARAMETER_ERROR;
    keep_params(c, &p);
    natframes_negotiate(c, &p);
    c->params_known = true;
    trace_params(c, true, &p, c->ep->now_us);
    if (params_has(&p, PARAM_PREFERRED_ADDRESS)) { /* RFC 9000 §5.1.1: the id in it is number 1 */
        error = cid_peer_add(&c->peer_cids, 1, 0, &p.preferred.cid, p.preferred.token);
        if (error != AQ_OK)
            return error;
        c->hand->preferred = p.preferred;
    }
    struct path *path = conn_path(c);
    struct mtu before = path->mtu;
    mtu_limit(&path->mtu, paths_mtu_max(c, path->channel), c->ep->now_us);
    paths_mtu_told(c, path, &before, c->ep->now_us);
    if (p.max_idle_timeout_us
        && (!c->idle_timeout_us || p.max_idle_timeout_us < c->idle_timeout_us))
        c->idle_timeout_us = p.max_idle_timeout_us;
    error = early_on_params(c, &p);
    if (error != AQ_OK)
        return error;
    if (params_has(&p, PARAM_RESET_TOKEN)) {
        cid_peer_set_token(&c->peer_cids, p.reset_token);
        paths_reset_token(c, conn_path(c));
    }
    return AQ_OK;
}

/* A server has read a ClientHello: the version is chosen now, before any key is made and any ticket
 * is looked at. */
static int on_params(void *arg, uint32_t *binding)
{
    struct conn *c = arg;
    uint8_t params[PARAMS_SIZE];
    int error = take_params(c);
    *binding = c->version;
    if (error != AQ_OK || c->version == c->hand->original)
        return error;
    size_t size = encode_params(c, params, sizeof params); /* which say what was chosen */
    return tls_set_params(&c->hand->tls, params, size) ? AQ_OK : AQ_INTERNAL_ERROR;
}

/* ---- steps ---- */

void handshake_confirm(struct conn *c, uint64_t now)
{
    if (c->state != CONN_CONNECTED)
        return;
    conn_set_state(c, CONN_CONFIRMED, now);
    conn_arm(c, TIMER_HANDSHAKE, AQ_NEVER);
    handshake_discard(c, SPACE_INITIAL, now);
    handshake_discard(c, SPACE_HANDSHAKE, now); /* RFC 9001 §4.9.2 */
    c->peer_validated_us = true;
    if (!c->server)
        conn_arm(c, TIMER_TLS, now + CLIENT_TLS_LINGER_US);
    conn_event(c, AQ_EVENT_CONFIRMED);
    natframes_path_valid(c, conn_path(c));
    if (!c->server && c->hand && c->hand->preferred.cid.size
        && !c->ep->config.no_preferred) /* RFC 9000 §9.6.1 */
        paths_try_preferred(c, &c->hand->preferred, now);
}

/* Copies what outlives TLS. Nearly all names are short; long ones take a block. AQ_OK or
 * AQ_INTERNAL_ERROR (no memory). */
static int take_facts(struct conn *c)
{
    struct tls_names names;
    tls_facts(&c->hand->tls, &c->facts, &names);
    trace_text(&c->tracer, AQ_PIECE_CIPHER, c->facts.cipher, c->ep->now_us);
    trace_text(&c->tracer, AQ_PIECE_ALPN, names.alpn, c->ep->now_us);
    size_t alpn = strlen(names.alpn) + 1, name = strlen(names.server_name) + 1;
    if (alpn + name <= sizeof c->short_names) {
        memcpy(c->short_names, names.alpn, alpn);
        memcpy(c->short_names + alpn, names.server_name, name);
        return AQ_OK;
    }
    c->names = quota_take(&c->quota, sizeof *c->names);
    if (!c->names)
        return AQ_INTERNAL_ERROR;
    *c->names = names;
    return AQ_OK;
}

void handshake_names(const struct conn *c, struct tls_names *names)
{
    memset(names, 0, sizeof *names);
    if (!c->facts.known && c->hand && c->hand->tls.ssl) { /* 0-RTT: before all is known */
        tls_names(&c->hand->tls, names);
        return;
    }
    if (c->names) {
        *names = *c->names;
        return;
    }
    size_t alpn = strlen(c->short_names) + 1;
    memcpy(names->alpn, c->short_names, alpn);
    memcpy(names->server_name, c->short_names + alpn, strlen(c->short_names + alpn) + 1);
}

static void handshake_complete(struct conn *c, uint64_t now)
{
    uint64_t began_us = c->hand->began_us;
    c->handshake_us = now > began_us ? told_us(now - began_us) : 1;
    conn_set_state(c, CONN_CONNECTED, now);
    early_complete(c, now);
    c->ep->stats.connected++;
    unsigned ids = natframes_traverses(c) ? CIDS_MAX : CIDS_USUAL;
    cid_local_open(&c->cids, c->peer.active_cid_limit < ids ? c->peer.active_cid_limit : ids);
    conn_event(c, AQ_EVENT_CONNECTED);
    if (!c->server)
        return;
    /* RFC 9001 §4.1.2: for the server complete is confirmed; it tells the client. */
    c->handshake_done_due = true;
    c->new_token_due = true;
    handshake_confirm(c, now);
    tls_free(&c->hand->tls); /* its tickets are written: so many live as handshakes run at once */
}

int handshake_after_tls(struct conn *c, int tls_error, uint64_t now)
{
    conn_wake(c);
    if (tls_error > 0)
        return tls_error;
    if (tls_error < 0
        && tls_error != TLS_LATER) /* later: a verification or signature is waited for */
        return AQ_INTERNAL_ERROR;
    if (c->hand->tls.early == TLS_EARLY_REJECTED && !c->server && c->early == AQ_EARLY_OFFERED)
        early_rejected(c, now);
    int error = take_params(c);
    if (error != AQ_OK)
        return error;
    if (!c->hand->tls.done || c->state != CONN_HANDSHAKE)
        return AQ_OK;
    if (!c->params_known) /* RFC 9001 §8.2: missing_extension */
        return AQ_CRYPTO_ERROR + 109;
    error = take_facts(c);
    if (error == AQ_OK)
        handshake_complete(c, now);
    return error;
}

int handshake_on_crypto(struct conn *c, enum space_id space, const struct frame *f, uint64_t now)
{
    size_t size;
    const uint8_t *data = f->crypto.data;
    uint64_t fresh = f->crypto.size;
    if (!c->hand) /* TLS has gone: acknowledge and discard */
        return late_crypto_on_data(&c->late, f->crypto.offset, f->crypto.data, f->crypto.size);
    struct crypto *stream = &c->hand->crypto[space];
    c->hand->version_known = true; /* RFC 9369 §4.1: CRYPTO frames tell that it is this one */
    if (!c->hand->tls.shared
        && begin_tls(c, &(struct conn_start){.tls = c->ep->config.tls}) != AQ_OK)
        return AQ_INTERNAL_ERROR;
    if (recvq_pass(&stream->recvq, f->crypto.offset, &data, &fresh)) /* TLS keeps its own copy */
        return handshake_after_tls(c, tls_input(&c->hand->tls, level_of(space), data, fresh), now);
    if (space != SPACE_APP && f->crypto.offset + f->crypto.size <= stream->recvq.read)
        conn_hurry(c, now);
    int error = crypto_on_data(stream, &c->quota, f->crypto.offset, f->crypto.data, f->crypto.size);
    while (error == AQ_OK && (data = crypto_peek(stream, &size)) != NULL) {
        error = handshake_after_tls(c, tls_input(&c->hand->tls, level_of(space), data, size), now);
        if (!c->hand
            || !conn_space(c, space)) /* confirmed: the level has gone, and its bytes with it */
            return error;
        crypto_consume(stream, &c->quota, size);
    }
    return error;
}

/* RFC 9002 §6.3: a Retry or Version Negotiation packet tells how long the way is; not where it may
 * answer either of two Initials. */
static void guess_rtt(struct conn *c, uint64_t now)
{
    uint64_t sent_us = c->hand->space[0].sent.last_eliciting_us;
    if (c->pto_count == 0 && sent_us && now > sent_us)
        rtt_guess(&conn_path(c)->rtt, now - sent_us);
    c->pto_count = 0;
}

/* RFC 9000 §17.2.5.2: the Initial goes again, with the token, to the id that the Retry gave; packet
 * numbers go on. */
int handshake_on_retry(struct conn *c, const struct packet_head *h, const uint8_t *data,
                       uint64_t now)
{
    struct hand *hand = c->hand;
    uint64_t bytes[PATHS_MAX] = {0};
    struct sink_arg arg = {.c = c, .space = SPACE_INITIAL, .now = now, .path = PATH_GONE};
    /* RFC 9369 §4.1: a Retry of another version than the original one is ignored. */
    if (c->server || !hand || c->got_packet || h->version != c->version
        || hand->retry_scid.size != 255 || !h->token_size || h->token_size > TOKEN_MAX
        || cid_equal(&h->scid, cid_peer_active(&c->peer_cids))
        || !packet_check_retry(data, h->size, c->version, &hand->odcid))
        return AQ_DROPPED;
    if (!keep_token(c, h->token, h->token_size))
        return AQ_DROPPED; /* no memory; our Initial goes again, and so will the Retry */
    hand->retry_scid = h->scid;
    cid_peer_replace_first(&c->peer_cids, &h->scid);
    handshake_initial_keys(c, c->version, &hand->keys[0]);
    guess_rtt(c, now);
    loss_forget(&hand->space[0].sent, &c->quota, true, &apply_sink, &arg, bytes);
    cc_on_left(&conn_path(c)->cc, bytes[0]);
    early_again(c, now); /* RFC 9000 §17.2.5.3: 0-RTT goes again, its numbers go on */
    TRACE_LINE(&c->tracer, AQ_TRACE_RETRY, 0, 0, 0, 0, now);
    return AQ_OK;
}

/* RFC 9368 §2.4: a new connection but for its handle: another Destination Connection ID, packet
 * numbers from 0, TLS from the beginning; without ticket and token, which were another version's
 * (RFC 9369 §5). */
int handshake_restart(struct conn *c, uint64_t now)
{
    struct hand *h = c->hand;
    struct space *space = &h->space[0];
    uint64_t bytes[PATHS_MAX] = {0};
    struct sink_arg arg = {.c = c, .space = SPACE_INITIAL, .now = now};
    char name[256];
    struct conn_start start = {.tls = h->tls.shared};
    if (h->tls.server_name) { /* it goes with the TLS object */
        size_t size = strlen(h->tls.server_name) + 1;
        if (size > sizeof name)
            return AQ_MISUSE;
        start.server_name = memcpy(name, h->tls.server_name, size);
    }
    if (c->early == AQ_EARLY_OFFERED) /* what went in 0-RTT goes again after the handshake */
        early_rejected(c, now);
    guess_rtt(c, now);
    loss_forget(&space->sent, &c->quota, false, &apply_sink, &arg, bytes);
    cc_on_left(&conn_path(c)->cc, bytes[0]);
    sent_clear(&space->sent, &c->quota);
    sent_init(&space->sent);
    space->probes = 0;
    crypto_clear(&h->crypto[SPACE_INITIAL], &c->quota);
    sendq_init(&h->crypto[SPACE_INITIAL].sendq);
    recvq_init(&h->crypto[SPACE_INITIAL].recvq);
    tls_free(&h->tls);
    h->original = c->version;
    h->token_size = 0;
    rng_fill(&c->ep->rng, h->odcid.bytes, h->odcid.size);
    cid_peer_replace_first(&c->peer_cids, &h->odcid);
    handshake_initial_keys(c, c->version, &h->keys[0]);
    return begin_tls(c, &start);
}

/* RFC 9001 §4.9, RFC 9002 §6.4: keys go, and what was in flight under them leaves the flight. */
void handshake_discard(struct conn *c, enum space_id space, uint64_t now)
{
    struct hand *h = c->hand;
    uint64_t bytes[PATHS_MAX] = {0};
    struct sink_arg arg = {.c = c, .space = space, .now = now, .path = PATH_GONE};
    bool *gone = space == SPACE_INITIAL ? &c->initial_discarded : &c->handshake_discarded;
    if (*gone || !h)
        return;
    loss_forget(&h->space[space].sent, &c->quota, false, &apply_sink, &arg, bytes);
    cc_on_left(&conn_path(c)->cc, bytes[0]);
    ack_clear(&h->space[space].ack);
    crypto_clear(&h->crypto[space], &c->quota);
    protect_aead_wipe(&h->keys[space].tx);
    protect_aead_wipe(&h->keys[space].rx);
    protect_hp_wipe(&h->keys[space].tx_hp);
    protect_hp_wipe(&h->keys[space].rx_hp);
    c->pto_count = 0;
    *gone = true;
    trace_key(&c->tracer, AQ_TRACE_KEY_DISCARDED, space, 0, 0, now);
}

bool handshake_can_end(const struct conn *c)
{
    const struct hand *h = c->hand;
    if (!h || c->state != CONN_CONFIRMED || h->held_size)
        return false;
    const struct sendq *q = &h->crypto[SPACE_APP].sendq;
    bool sent = q->base == q->end;
    return sent && (c->server || c->tls_over || h->tickets >= CLIENT_TICKETS_WANTED);
}

void handshake_over(struct conn *c, uint64_t now)
{
    struct hand *h = c->hand;
    if (!h)
        return;
    tls_free(&h->tls);
    early_discard(c);
    handshake_discard(c, SPACE_INITIAL, now);
    handshake_discard(c, SPACE_HANDSHAKE, now);
    c->late.offset = h->crypto[SPACE_APP].recvq.read;
    c->late.message_left = h->tls.message_left; /* perhaps in the middle of a message */
    c->late.header_size = h->tls.message_head_size;
    memcpy(c->late.header, h->tls.message_head, sizeof c->late.header);
    crypto_clear(&h->crypto[SPACE_APP], &c->quota);
    quota_give(&c->quota, h->token, TOKEN_MAX);
    quota_give(&c->quota, h->held, HELD_SIZE);
    if (h->mapped)
        map_remove(&c->ep->odcids, h->odcid_hash, c->slot);
    conn_arm(c, TIMER_TLS, AQ_NEVER);
    c->hand = NULL;
    pool_give(&c->ep->hands, pool_index(&c->ep->hands, h));
}
