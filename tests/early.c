/* early.c -- tests of 0-RTT (core/early.c) through antq.h: accepted, rejected, replayed, refused;
 * under loss, reordering and Retry; what a server must not take and a client must not believe. */
#include "core/endpoint.h"
#include "core/frame.h"
#include "crypto/tls_config.h"
#include "tests/pair.h"

enum {
    TICKET_MAX = 8192
};

static const char request[] = "may this be asked early?";

struct early {
    struct pair *p;
    struct aq_tls *server, *client;
    struct aq_config config; /* the server's */
    uint8_t ticket[TICKET_MAX];
    size_t ticket_size;
    aq_stream stream;
};

static struct aq_tls *tls(bool server, bool early, const char *context)
{
    static const char *const alpn[] = {"sim"};
    struct aq_tls_config config;
    char error[256];
    aq_tls_config_init(&config);
    config.server = server;
    config.verify = AQ_VERIFY_NONE;
    config.alpn = alpn;
    config.alpn_count = 1;
    config.unix_s = SIM_UNIX_S;
    config.early_data = early;
    config.early_context = context;
    config.early_context_size = context ? strlen(context) : 0;
    memset(config.ticket_key, 0x31, sizeof config.ticket_key);
    struct aq_tls *made = aq_tls_new(&config, error, sizeof error);
    cr_assert_not_null(made, "%s", error);
    return made;
}

static void dial(struct early *e, bool early)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = e->client;
    connect.remote = e->p->server.addr;
    connect.server_name = "sim.example";
    connect.ticket = e->ticket_size ? e->ticket : NULL;
    connect.ticket_size = e->ticket_size;
    connect.early_data = early;
    cr_assert_eq(aq_connect(e->p->client.ep, &connect, &e->p->client.conn, e->p->now_us), AQ_OK);
}

/* A first connection whose ticket is kept; then it ends. */
static void learn(struct early *e)
{
    struct aq_event event;
    e->p->client.deaf_events = true;
    dial(e, false);
    for (unsigned i = 0; i < 20 && !e->ticket_size; i++) {
        pair_run(e->p, 20000);
        while (aq_next_event(e->p->client.ep, &event)) {
            if (event.kind == AQ_EVENT_TICKET && event.size <= TICKET_MAX) {
                memcpy(e->ticket, event.data, event.size);
                e->ticket_size = event.size;
            }
        }
    }
    cr_assert(e->ticket_size);
    aq_close(e->p->client.ep, e->p->client.conn, 0, NULL, e->p->now_us);
    e->p->client.deaf_events = false;
    pair_run(e->p, 3000000);
    e->p->client.events = e->p->server.events = 0;
    e->p->client.closed = e->p->server.closed = false;
    e->p->server.stream = 0;
}

static struct early *early_new(bool allow)
{
    struct early *e = calloc(1, sizeof *e);
    cr_assert_not_null(e);
    e->server = tls(true, allow, NULL);
    e->client = tls(false, false, NULL);
    pair_config(&e->config, true);
    e->config.tls = e->server;
    e->p = pair_new(NULL, &e->config);
    learn(e);
    return e;
}

static void early_free(struct early *e)
{
    pair_free(e->p);
    aq_tls_free(e->server);
    aq_tls_free(e->client);
    free(e);
}

/* The server anew, with the same ticket key but e->config. */
static void server_again(struct early *e)
{
    side_free(&e->p->server);
    side_init(&e->p->server, &e->config, 2, e->p->now_us);
}

/* Dials with 0-RTT and writes the request at once. */
static void ask(struct early *e)
{
    struct aq_iov iov = {(const uint8_t *)request, sizeof request};
    dial(e, true);
    cr_assert_eq(aq_stream_open(e->p->client.ep, e->p->client.conn, false, NULL, &e->stream),
                 AQ_OK);
    cr_assert_eq(aq_stream_write(e->p->client.ep, e->stream, &iov, 1, AQ_FIN), sizeof request);
}

static enum aq_early told(const struct side *s)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    cr_assert_eq(aq_conn_peer(s->ep, s->conn, &peer), AQ_OK);
    return peer.early_data;
}

/* Which protocol it is, as a side that acts on 0-RTT has to know. */
static void expect_alpn(const struct side *s)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    cr_assert_eq(aq_conn_peer(s->ep, s->conn, &peer), AQ_OK);
    cr_expect_str_eq(peer.alpn, "sim");
    cr_expect_str_eq(peer.server_name, "sim.example");
}

static void expect_request(struct early *e)
{
    struct aq_iov iov[8];
    bool fin;
    cr_assert(e->p->server.stream);
    cr_expect_eq(aq_stream_peek(e->p->server.ep, e->p->server.stream, iov, 8, &fin), 1);
    cr_expect_eq(iov[0].size, sizeof request);
    cr_expect(fin);
    cr_expect_eq(memcmp(iov[0].data, request, sizeof request), 0);
}

static struct conn *conn_of(const struct side *s)
{
    return endpoint_find_conn((struct endpoint *)s->ep, s->conn);
}

/* RFC 9001 §4.6, RFC 9001 §4.6.1, RFC 9001 §5.7: the request is with the server after half a round
 * trip, and its answer is with the client after a whole one. RFC 9000 §13.2.6, RFC 9000 §17.2.3:
 * acknowledged in 1-RTT packets, with numbers of their own. */
Test(early, accepted)
{
    struct early *e = early_new(true);
    struct aq_iov answer = {(const uint8_t *)"yes", 3};
    struct aq_iov iov[2];
    bool fin;
    ask(e);
    expect_alpn(&e->p->client);
    pair_run(e->p, PAIR_DELAY_US);
    cr_expect_eq(side_count(&e->p->client, AQ_EVENT_EARLY), 1);
    cr_expect_eq(side_count(&e->p->client, AQ_EVENT_CONNECTED), 0);
    expect_alpn(&e->p->client);
    expect_alpn(&e->p->server);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_EARLY), 1);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_CONNECTED), 0);
    expect_request(e);
    cr_expect(aq_stream_early(e->p->server.ep, e->p->server.stream));
    cr_expect_eq(aq_stream_write(e->p->server.ep, e->p->server.stream, &answer, 1, AQ_FIN), 3);
    pair_run(e->p, PAIR_DELAY_US);
    cr_expect_eq(aq_stream_peek(e->p->client.ep, e->stream, iov, 2, &fin), 1);
    cr_expect_eq(iov[0].size, 3);
    pair_run(e->p, 300000);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_ACCEPTED);
    cr_expect_eq(told(&e->p->server), AQ_EARLY_ACCEPTED);
    expect_alpn(&e->p->client);
    expect_alpn(&e->p->server);
    cr_expect_not(aq_stream_early(e->p->server.ep, e->p->server.stream), "no longer");
    early_free(e);
}

/* A server that does not opt in makes no tickets for it, and the client does not offer it. RFC 9001
 * §5.6: nor unless the application asks for it. */
Test(early, not_unless_the_server_opts_in)
{
    struct early *e = early_new(false);
    aq_stream stream;
    dial(e, true);
    cr_expect_eq(aq_stream_open(e->p->client.ep, e->p->client.conn, false, NULL, &stream),
                 AQ_BLOCKED);
    pair_run(e->p, 300000);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_NO);
    cr_expect_eq(side_count(&e->p->client, AQ_EVENT_EARLY), 0);
    early_free(e);
    e = early_new(true);
    dial(e, false);
    cr_expect_eq(aq_stream_open(e->p->client.ep, e->p->client.conn, false, NULL, &stream),
                 AQ_BLOCKED);
    early_free(e);
}

static void expect_rejected(struct early *e)
{
    ask(e);
    pair_run(e->p, 2000000);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_REJECTED);
    cr_expect_eq(told(&e->p->server), AQ_EARLY_REJECTED);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_EARLY), 0);
    cr_expect_not(e->p->client.closed);
    expect_request(e);
}

/* RFC 9001 §4.6.2: all that went in 0-RTT goes again. The register is gone with the endpoint, so
 * the next one accepts no ticket of the old one (RFC 8446 §8.2). */
Test(early, rejected_by_another_endpoint)
{
    struct early *e = early_new(true);
    e->config.seed[0] ^= 1;
    server_again(e);
    expect_rejected(e);
    early_free(e);
}

/* RFC 9000 §7.4.1: other parameters than the remembered ones: smaller limits hold after the
 * rejection, whatever was sent before. */
Test(early, rejected_limits_shrink)
{
    struct early *e = early_new(true);
    e->config.stream_window = e->config.stream_window_max = 1024;
    e->config.conn_window = e->config.conn_window_max = 1024;
    server_again(e);
    static uint8_t much[6000];
    struct aq_iov iov = {much, sizeof much};
    memset(much, 7, sizeof much);
    dial(e, true);
    cr_assert_eq(aq_stream_open(e->p->client.ep, e->p->client.conn, false, NULL, &e->stream),
                 AQ_OK);
    cr_assert_eq(aq_stream_write(e->p->client.ep, e->stream, &iov, 1, AQ_FIN), sizeof much);
    uint64_t got = 0;
    bool fin = false;
    for (unsigned i = 0; i < 200 && !fin; i++) {
        struct aq_iov piece[8];
        pair_run(e->p, 20000);
        if (!e->p->server.stream)
            continue;
        int n = aq_stream_peek(e->p->server.ep, e->p->server.stream, piece, 8, &fin);
        uint64_t size = 0;
        for (int j = 0; j < n; j++)
            size += piece[j].size;
        cr_assert_leq(size, 1024);
        aq_stream_consume(e->p->server.ep, e->p->server.stream, size);
        got += size;
    }
    cr_expect_eq(got, sizeof much);
    cr_expect_not(e->p->client.closed);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_REJECTED);
    early_free(e);
}

/* The application's own state is part of what a ticket was made under. */
Test(early, rejected_when_the_application_changed)
{
    struct early *e = early_new(true);
    struct aq_tls *other = tls(true, true, "settings 2");
    e->config.tls = other;
    server_again(e);
    expect_rejected(e);
    pair_free(e->p);
    aq_tls_free(other);
    aq_tls_free(e->server);
    aq_tls_free(e->client);
    free(e);
}

/* From the dial, the request with it or, without 0-RTT, as soon as it may go, to the answer. */
static uint64_t answer_us(struct early *e, bool early)
{
    struct pair *p = e->p;
    struct aq_iov yes = {(const uint8_t *)"yes", 3},
                  wanted = {(const uint8_t *)request, sizeof request}, iov[8];
    uint64_t began = p->now_us;
    bool asked = early, answered = false, fin = false;
    if (early)
        ask(e);
    else
        dial(e, false);
    while (p->now_us < began + 1000000) {
        if (!asked
            && aq_stream_open(p->client.ep, p->client.conn, false, NULL, &e->stream) == AQ_OK)
            asked = aq_stream_write(p->client.ep, e->stream, &wanted, 1, AQ_FIN) > 0;
        pair_run(p, 100);
        if (!answered && p->server.stream
            && aq_stream_peek(p->server.ep, p->server.stream, iov, 8, &fin) > 0)
            answered = aq_stream_write(p->server.ep, p->server.stream, &yes, 1, AQ_FIN) == 3;
        if (asked && aq_stream_peek(p->client.ep, e->stream, iov, 8, &fin) > 0)
            break;
    }
    cr_expect_not(p->client.closed);
    return p->now_us - began;
}

/* An answer in 0-RTT takes one round trip; a rejection costs one more, which is as long as it takes
 * without 0-RTT, and no error. */
Test(early, round_trips)
{
    static const struct {
        bool early, rejected;
        unsigned trips;
    } rows[] = {{true, false, 1}, {true, true, 2}, {false, false, 2}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct early *e = early_new(true);
        e->config.seed[0] ^= 1;
        if (rows[i].rejected)
            server_again(e);
        uint64_t us = answer_us(e, rows[i].early), trip = 2 * PAIR_DELAY_US;
        cr_expect(us >= rows[i].trips * trip && us < rows[i].trips * trip + trip / 10,
                  "row %u: %llu us", i, (unsigned long long)us);
        cr_expect_eq(told(&e->p->client), rows[i].rejected ? AQ_EARLY_REJECTED
                                          : rows[i].early  ? AQ_EARLY_ACCEPTED
                                                           : AQ_EARLY_NO);
        early_free(e);
    }
}

/* RFC 8446 §8.2, RFC 9001 §9.2: the same first flight again, from elsewhere, is not acted upon. */
Test(early, replayed_once_only)
{
    struct early *e = early_new(true);
    struct aq_addr thief = {.ip = {10, 9, 9, 9}, .port = 9, .family = 4};
    struct pair_datagram flight[8];
    unsigned n = 0;
    ask(e);
    side_turn(&e->p->client, e->p->now_us);
    for (; n < 8 && n < e->p->client.outs; n++)
        flight[n] = e->p->client.out[n];
    pair_run(e->p, 1000000);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_OPENED), 1);
    aq_close(e->p->client.ep, e->p->client.conn, 0, NULL, e->p->now_us);
    pair_run(e->p, 3000000); /* nothing of the connection is left at the server */
    cr_expect_eq(side_stats(&e->p->server).conns, 0);
    for (unsigned i = 0; i < n; i++) {
        side_recv(&e->p->server, &thief, flight[i].data, flight[i].size, e->p->now_us);
        side_turn(&e->p->server, e->p->now_us);
    }
    cr_expect_eq(side_stats(&e->p->server).conns, 1, "its handshake begins");
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_EARLY), 1, "but its 0-RTT is not taken");
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_OPENED), 1);
    early_free(e);
}

/* RFC 9000 §17.2.5.3: 0-RTT goes again behind the Initial with the token. */
Test(early, through_a_retry)
{
    struct early *e = early_new(true);
    struct endpoint *ep = (struct endpoint *)e->p->server.ep;
    ep->config.retry = AQ_RETRY_ALWAYS;
    ask(e);
    pair_run(e->p, 1000000);
    cr_expect_eq(side_stats(&e->p->server).retries, 1);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_ACCEPTED);
    expect_request(e);
    early_free(e);
}

/* SECURITY.md row 22: 0-RTT packets that come ahead of the rest of their ClientHello wait; each
 * datagram of the first flight may be lost. */
Test(early, loss)
{
    for (unsigned nth = 1; nth <= 6; nth++) {
        struct early *e = early_new(true);
        e->p->client.lose_nth = e->p->client.sent + nth;
        ask(e);
        pair_run(e->p, 8000000);
        expect_request(e);
        cr_expect_not(e->p->client.closed);
        early_free(e);
    }
}

/* Datagrams taken at the server, and the bytes of the first. */
static unsigned datagrams(struct side *s, uint8_t *first)
{
    struct aq_iov iov;
    unsigned n = 0;
    for (; aq_datagram_peek(s->ep, s->conn, &iov) == AQ_OK; n++) {
        if (!n)
            *first = iov.data[0];
        aq_datagram_take(s->ep, s->conn);
    }
    return n;
}

static struct early *early_datagrams(bool limits_stay)
{
    struct aq_config client;
    struct early *e = calloc(1, sizeof *e);
    cr_assert_not_null(e);
    e->server = tls(true, true, NULL);
    e->client = tls(false, false, NULL);
    pair_config(&client, false);
    pair_config(&e->config, true);
    client.datagram_max = 65535;
    e->config.tls = e->server;
    e->config.datagram_max = 65535;
    e->p = pair_new(&client, &e->config);
    learn(e);
    if (!limits_stay) {
        e->config.datagram_max = 0;
        server_again(e);
    }
    return e;
}

/* RFC 9221 §3: datagrams in 0-RTT, as large as one packet of it carries, as the server's parameter
 * is remembered; and the server's answer before the handshake is done. */
Test(early, datagrams)
{
    struct early *e = early_datagrams(true);
    static uint8_t bytes[2000] = {17};
    uint8_t first = 0;
    dial(e, true);
    size_t max = aq_datagram_max(e->p->client.ep, e->p->client.conn);
    cr_expect_gt(max, 1000);
    struct aq_iov iov = {bytes, max}, more = {bytes, max + 1};
    cr_expect_eq(aq_datagram_send(e->p->client.ep, e->p->client.conn, &more, 1), AQ_MISUSE);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(aq_datagram_send(e->p->client.ep, e->p->client.conn, &iov, 1), AQ_OK);
    pair_run(e->p, PAIR_DELAY_US);
    cr_expect_eq(side_count(&e->p->server, AQ_EVENT_CONNECTED), 0);
    cr_expect(datagrams(&e->p->server, &first) == 3 && first == 17);
    iov.size = 9;
    cr_expect_eq(aq_datagram_send(e->p->server.ep, e->p->server.conn, &iov, 1), AQ_OK);
    pair_run(e->p, PAIR_DELAY_US);
    cr_expect_eq(datagrams(&e->p->client, &first), 1);
    pair_run(e->p, 1000000);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_ACCEPTED);
    cr_expect_eq(pair_stats(&e->p->client).datagrams_acked, 3);
    early_free(e);
}

/* RFC 9221 §5: what was rejected with its packet is lost, and not sent again; nor is what waits
 * sent to a server that takes none any more. */
Test(early, datagrams_rejected)
{
    struct early *e = early_datagrams(false);
    struct aq_iov iov = {(const uint8_t *)request, sizeof request};
    dial(e, true);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(aq_datagram_send(e->p->client.ep, e->p->client.conn, &iov, 1), AQ_OK);
    side_turn(&e->p->client, e->p->now_us);
    cr_expect_eq(aq_datagram_send(e->p->client.ep, e->p->client.conn, &iov, 1), AQ_OK);
    pair_run(e->p, 1000000);
    cr_expect_eq(told(&e->p->client), AQ_EARLY_REJECTED);
    struct aq_conn_stats stats = pair_stats(&e->p->client);
    cr_expect_eq(stats.datagrams_sent, stats.datagrams_lost);
    cr_expect_eq(stats.datagrams_sent + stats.datagrams_dropped_sending, 4);
    cr_expect_eq(pair_stats(&e->p->server).datagrams_received, 0);
    cr_expect_eq(aq_datagram_send(e->p->client.ep, e->p->client.conn, &iov, 1), AQ_MISUSE);
    cr_expect_not(e->p->client.closed);
    early_free(e);
}

/* draft-ietf-quic-reliable-stream-reset §3: the parameter is remembered; RFC 9001 §4.6.2: a reset
 * that was rejected goes again, behind what it promises. */
Test(early, reset_at)
{
    for (unsigned rejected = 0; rejected < 2; rejected++) {
        struct early *e = early_new(true);
        struct aq_iov iov[8];
        uint64_t got = 0;
        bool fin;
        e->config.seed[0] ^= 1;
        if (rejected)
            server_again(e);
        ask(e);
        cr_expect_eq(aq_stream_reset_at(e->p->client.ep, e->stream, 5, 10), AQ_OK);
        pair_run(e->p, 1000000);
        cr_expect_eq(told(&e->p->client), rejected ? AQ_EARLY_REJECTED : AQ_EARLY_ACCEPTED);
        cr_assert(e->p->server.stream);
        int n = aq_stream_peek(e->p->server.ep, e->p->server.stream, iov, 8, &fin);
        for (int i = 0; i < n; i++)
            got += iov[i].size;
        cr_expect_geq(got, 10);
        cr_expect_eq(memcmp(iov[0].data, request, 10), 0);
        aq_stream_consume(e->p->server.ep, e->p->server.stream, got);
        pair_run(e->p, 1000000);
        cr_expect_eq(side_count(&e->p->server, AQ_EVENT_RESET), 1);
        early_free(e);
    }
}

/* RFC 8446 §4.1.4, §4.2.10: a server that asks for another ClientHello takes no 0-RTT; it goes
 * again, and the second hello resumes. */
Test(early, hello_retry)
{
    static const int late_group[] = {NID_secp384r1};
    struct early *e = early_new(true);
    cr_assert(SSL_CTX_set1_curves(e->server->ctx, late_group, 1));
    expect_rejected(e);
    struct aq_conn_peer peer = {.size = sizeof peer};
    cr_assert_eq(aq_conn_peer(e->p->client.ep, e->p->client.conn, &peer), AQ_OK);
    cr_expect(peer.resumed);
    cr_expect_not_null(strstr(peer.group, "384"), "%s", peer.group);
    early_free(e);
}

/* A 0-RTT packet of the client with frames of the test's choice. */
static void send_early(struct early *e, const uint8_t *frames, size_t size)
{
    const struct conn *c = conn_of(&e->p->client);
    uint8_t packet[256];
    struct cid own;
    struct writer w = writer_make(packet, sizeof packet);
    struct aq_iov no_token = {NULL, 0};
    endpoint_cid(c->ep, c, 0, &own);
    size_t pn = packet_write_long(&w, PACKET_ZERO_RTT, c->version, cid_peer_active(&c->peer_cids),
                                  &own, &no_token, 2);
    packet_write_number(&w, 40, 2);
    write_bytes(&w, frames, size);
    memset(w.p, 0, 8); /* PADDING: the sample wants it */
    w.p += 8;
    size_t whole = (size_t)(w.p - packet) + AEAD_TAG_SIZE;
    packet_patch_length(packet, pn, whole - pn);
    struct sealed s = {.data = packet,
                       .number = 40,
                       .size = (uint32_t)whole,
                       .pn_offset = (uint16_t)pn,
                       .pn_size = 2};
    protect_seal(&c->hand->early, &c->hand->early_hp, &s, 1);
    side_recv(&e->p->server, &e->p->client.addr, packet, whole, e->p->now_us);
    side_turn(&e->p->server, e->p->now_us);
}

/* RFC 9000 §12.5, RFC 9001 §8.3: what may not stand in 0-RTT closes with PROTOCOL_VIOLATION. */
Test(early, frames_that_may_not)
{
    static const struct {
        uint8_t bytes[24];
        size_t size;
        bool allowed;
    } rows[] = {
        {{FRAME_PING}, 1, true},
        {{FRAME_ACK, 0, 0, 0, 0}, 5, false},
        {{FRAME_CRYPTO, 0, 1, 1}, 4, false},
        {{FRAME_HANDSHAKE_DONE}, 1, false},
        {{FRAME_NEW_TOKEN, 1, 1}, 3, false},
        {{FRAME_PATH_RESPONSE, 1, 2, 3, 4, 5, 6, 7, 8}, 9, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct early *e = early_new(true);
        ask(e);
        pair_run(e->p, PAIR_DELAY_US);
        send_early(e, rows[i].bytes, rows[i].size);
        cr_expect_eq(e->p->server.closed, !rows[i].allowed, "row %zu", i);
        if (!rows[i].allowed)
            cr_expect_eq(e->p->server.close.code, AQ_PROTOCOL_VIOLATION, "row %zu", i);
        early_free(e);
    }
}

/* RFC 9000 §7.4.1: a server that accepts must not reduce what the client remembers. The remembered
 * values are raised here, so that the true ones look reduced. */
static void reduce(void (*raise)(struct params *p))
{
    struct early *e = early_new(true);
    struct params p;
    ask(e);
    struct hand *h = conn_of(&e->p->client)->hand;
    cr_assert_eq(params_decode(&p, BY_SERVER, h->kept, h->kept_size), AQ_OK);
    raise(&p);
    h->kept_size = (uint16_t)params_encode(&p, 0, h->kept, sizeof h->kept);
    pair_run(e->p, 300000);
    cr_expect(e->p->client.closed);
    cr_expect_eq(e->p->client.close.code, AQ_PROTOCOL_VIOLATION);
    early_free(e);
}

static void raise_streams(struct params *p)
{
    p->max_streams_bidi++;
}

static void raise_nat(struct params *p)
{
    params_set(p, PARAM_NAT_TRAVERSAL);
    p->nat_limit = 8;
}

static void raise_discovery(struct params *p)
{
    params_set(p, PARAM_ADDRESS_DISCOVERY);
    p->address_discovery = OBSERVED_PROVIDE;
}

Test(early, reduced_limits_are_refused)
{
    reduce(raise_streams);
}

/* draft-seemann-quic-nat-traversal §4.5, draft-ietf-quic-address-discovery: nor disable either. */
Test(early, nat_traversal_stays)
{
    reduce(raise_nat);
    reduce(raise_discovery);
}

/* RFC 9000 §7.4.1: what is remembered, and what must not be. */
Test(early, what_a_ticket_remembers)
{
    struct early *e = early_new(true);
    struct params p;
    size_t size = (size_t)e->ticket[4] << 8 | e->ticket[5];
    cr_assert_eq(params_decode(&p, BY_SERVER, e->ticket + 6, size), AQ_OK);
    cr_expect_eq(p.max_data, e->config.conn_window);
    cr_expect_eq(p.max_stream_data_bidi_remote, e->config.stream_window);
    cr_expect_eq(p.max_streams_bidi, e->config.streams_bidi);
    cr_expect_not(params_has(&p, PARAM_INITIAL_SCID));
    cr_expect_not(params_has(&p, PARAM_ORIGINAL_DCID));
    cr_expect_not(params_has(&p, PARAM_RESET_TOKEN));
    cr_expect_not(params_has(&p, PARAM_MAX_ACK_DELAY));
    early_free(e);
}

/* RFC 9001 §4.9.3: the server's keys are gone three PTOs after the handshake, the client's with
 * it. RFC 9000 §17.2.3, RFC 9001 §5.6: and no 0-RTT is sent then. */
Test(early, keys_go)
{
    struct early *e = early_new(true);
    ask(e);
    pair_run(e->p, 2 * PAIR_DELAY_US);
    const struct conn *c = conn_of(&e->p->client);
    cr_assert(c->state != CONN_HANDSHAKE);
    cr_expect(!c->hand || !c->hand->early.set);
    pair_run(e->p, 1000000);
    c = conn_of(&e->p->server);
    cr_expect(!c->hand || !early_can_open(conn_of(&e->p->server), e->p->now_us));
    early_free(e);
}

/* What a client does early would be done before its certificate is known. */
Test(early, not_with_client_certificates)
{
    static const char *const alpn[] = {"sim"};
    for (unsigned asks = 0; asks < 2; asks++) {
        struct aq_tls_config config;
        char error[256];
        aq_tls_config_init(&config);
        config.server = config.early_data = true;
        config.ask_client_certificate = asks;
        config.verify = AQ_VERIFY_NONE;
        config.alpn = alpn;
        config.alpn_count = 1;
        struct aq_tls *made = aq_tls_new(&config, error, sizeof error);
        cr_assert_not_null(made, "%s", error);
        cr_expect_eq(tls_allows_early(made), !asks);
        aq_tls_free(made);
    }
}

/* Tickets cut anywhere are refused, not followed. RFC 9369 §5: 0-RTT is not offered in another
 * version than the ticket's. */
Test(early, cut_tickets)
{
    struct early *e = early_new(true);
    size_t whole = e->ticket_size;
    for (size_t size = 1; size < whole; size += size < 200 ? 1 : 37) {
        struct aq_connect connect;
        aq_conn conn;
        aq_connect_init(&connect);
        connect.tls = e->client;
        connect.remote = e->p->server.addr;
        connect.server_name = "sim.example";
        connect.ticket = e->ticket;
        connect.ticket_size = size;
        connect.early_data = true;
        cr_expect_eq(aq_connect(e->p->client.ep, &connect, &conn, e->p->now_us), AQ_MISUSE,
                     "%zu bytes", size);
    }
    e->ticket[3] ^= 2;
    dial(e, true);
    cr_expect_eq(aq_stream_open(e->p->client.ep, e->p->client.conn, false, NULL, &e->stream),
                 AQ_BLOCKED);
    early_free(e);
}
