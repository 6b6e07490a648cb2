/* api.c -- the public calls where they must refuse: stale handles, wrong states, full pools; and
 * what both ends must see alike. */
#include "tests/pair.h"

#include "core/buf.h"

static uint8_t bytes[1 << 20];

static aq_stream open_stream(struct side *s, bool uni)
{
    aq_stream stream;
    cr_assert_eq(aq_stream_open(s->ep, s->conn, uni, NULL, &stream), AQ_OK);
    return stream;
}

static int64_t write_some(struct side *s, aq_stream stream, size_t size, unsigned flags)
{
    struct aq_iov iov = {bytes, size};
    return aq_stream_write(s->ep, stream, &iov, 1, flags);
}

/* Consumes all that is there; returns how much, *fin whether it was the end. */
static uint64_t read_all(struct side *s, aq_stream stream, bool *fin)
{
    uint64_t total = 0;
    for (;;) {
        struct aq_iov iov[8];
        uint64_t n = 0;
        int pieces = aq_stream_peek(s->ep, stream, iov, 8, fin);
        cr_assert_geq(pieces, 0);
        for (int i = 0; i < pieces; i++)
            n += iov[i].size;
        cr_assert_eq(aq_stream_consume(s->ep, stream, n), AQ_OK);
        total += n;
        if (!n || *fin)
            return total;
    }
}

/* ---- stale handles --------------------------------------------------------------------------- */

static void expect_conn_gone(struct aq_endpoint *ep, aq_conn conn, uint64_t now_us)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct aq_conn_peer peer = {.size = sizeof peer};
    struct aq_close_info info = {.size = sizeof info};
    uint8_t out[32], signature = 0;
    aq_stream stream = 77;
    cr_expect_eq(aq_close(ep, conn, 0, NULL, now_us), AQ_GONE);
    cr_expect_eq(aq_refuse(ep, conn, NULL, now_us), AQ_GONE);
    cr_expect_eq(aq_conn_set_user(ep, conn, out), AQ_GONE);
    cr_expect_null(aq_conn_user(ep, conn));
    cr_expect_eq(aq_verify_done(ep, conn, true, now_us), AQ_GONE);
    cr_expect_eq(aq_sign_done(ep, conn, &signature, 1, now_us), AQ_GONE);
    cr_expect_eq(aq_key_update(ep, conn, now_us), AQ_GONE);
    cr_expect_eq(aq_ping(ep, conn, now_us), AQ_GONE);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn, 1200, now_us), AQ_GONE);
    cr_expect_eq(aq_conn_stats(ep, conn, &stats), AQ_GONE);
    cr_expect_eq(aq_conn_peer(ep, conn, &peer), AQ_GONE);
    cr_expect_eq(aq_conn_export(ep, conn, bytes, 1, out), AQ_GONE);
    cr_expect_eq(aq_conn_close_info(ep, conn, &info), AQ_GONE);
    cr_expect_eq(aq_stream_open(ep, conn, false, NULL, &stream), AQ_GONE);
    cr_expect_eq(stream, 0);
}

static void expect_stream_gone(struct aq_endpoint *ep, aq_stream stream)
{
    struct aq_iov iov = {bytes, 1};
    bool fin = true;
    cr_expect_eq(aq_stream_write(ep, stream, &iov, 1, 0), AQ_GONE);
    cr_expect_eq(aq_stream_released(ep, stream), AQ_GONE);
    cr_expect_eq(aq_stream_peek(ep, stream, &iov, 1, &fin), AQ_GONE);
    cr_expect_not(fin);
    cr_expect_eq(aq_stream_consume(ep, stream, 0), AQ_GONE);
    cr_expect_eq(aq_stream_reset(ep, stream, 0), AQ_GONE);
    cr_expect_eq(aq_stream_stop(ep, stream, 0), AQ_GONE);
    cr_expect_eq(aq_stream_set_user(ep, stream, bytes), AQ_GONE);
    cr_expect_null(aq_stream_user(ep, stream));
    cr_expect_eq(aq_stream_id(ep, stream), UINT64_MAX);
    cr_expect_eq(aq_stream_conn(ep, stream), 0);
}

Test(api, nonsense_handles)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_stream(&p->client, false);
    static const uint64_t nonsense[] = {0, 1, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 63};
    for (unsigned i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        expect_conn_gone(p->client.ep, nonsense[i], p->now_us);
        expect_stream_gone(p->client.ep, nonsense[i]);
    }
    expect_conn_gone(p->client.ep, p->client.conn + 1, p->now_us);
    expect_conn_gone(p->client.ep, p->client.conn + (UINT64_C(1) << 32), p->now_us);
    expect_stream_gone(p->client.ep, stream + 1);
    expect_stream_gone(p->client.ep, stream + (UINT64_C(2) << 32));
    pair_free(p);
}

/* After CLOSED was told the streams' handles are stale, and with the next event so is the
 * connection's; also when its slot serves another connection. */
Test(api, handles_after_close)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_conn conn = p->client.conn;
    aq_stream stream = open_stream(&p->client, false);
    struct aq_close_info info = {.size = sizeof info};
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct aq_event event;
    cr_expect_eq(aq_conn_close_info(p->client.ep, conn, &info), AQ_BLOCKED);
    cr_assert_eq(aq_close(p->client.ep, conn, 5, "end", p->now_us), AQ_OK);
    cr_expect_eq(aq_close(p->client.ep, conn, 6, "again", p->now_us), AQ_GONE);
    cr_expect_eq(write_some(&p->client, stream, 1, 0), AQ_GONE);
    cr_expect_eq(aq_ping(p->client.ep, conn, p->now_us), AQ_GONE);
    cr_assert_eq(aq_next_event(p->client.ep, &event), 1);
    cr_assert_eq(event.kind, AQ_EVENT_CLOSED);
    cr_expect_eq(aq_conn_close_info(p->client.ep, conn, &info), AQ_OK);
    cr_expect(info.code == 5 && info.application && info.by == AQ_BY_US);
    cr_expect_str_eq(info.reason, "end");
    cr_expect_str_eq(info.where, "aq_close");
    cr_expect_eq(aq_conn_stats(p->client.ep, conn, &stats), AQ_OK);
    cr_expect_eq(stats.status, AQ_STATUS_CLOSED);
    expect_stream_gone(p->client.ep, stream);
    cr_expect_eq(aq_next_event(p->client.ep, &event), 0);
    expect_conn_gone(p->client.ep, conn, p->now_us);
    expect_stream_gone(p->client.ep, stream);
    pair_run(p, 10000000);
    pair_dial(p);
    pair_run(p, 500000);
    aq_stream second = open_stream(&p->client, false);
    cr_expect_eq((uint32_t)p->client.conn, (uint32_t)conn, "the slot is used again");
    cr_expect_eq((uint32_t)second, (uint32_t)stream);
    expect_conn_gone(p->client.ep, conn, p->now_us);
    expect_stream_gone(p->client.ep, stream);
    pair_free(p);
}

/* What came before the peer closed can be read until CLOSED is told; nothing can be written. */
Test(api, read_after_the_peer_closed)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_stream(&p->client, false);
    bool fin;
    cr_assert_eq(write_some(&p->client, stream, 3000, AQ_FIN), 3000);
    pair_run(p, 100000);
    cr_assert_neq(p->server.stream, 0);
    p->server.deaf_events = true;
    aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
    pair_run(p, 50000);
    cr_expect_eq(write_some(&p->server, p->server.stream, 1, 0), AQ_GONE);
    cr_expect_eq(read_all(&p->server, p->server.stream, &fin), 3000);
    cr_expect(fin);
    p->server.deaf_events = false;
    pair_run(p, 10000000);
    cr_expect(p->server.closed);
    cr_expect_eq(side_stats(&p->server).streams, 0);
    cr_expect_eq(side_stats(&p->server).memory_bytes, 0);
    pair_free(p);
}

/* ---- connections ----------------------------------------------------------------------------- */

Test(api, connect_misuse)
{
    struct pair *p = pair_new(NULL, NULL);
    struct aq_connect good, bad;
    aq_conn conn = 9;
    aq_connect_init(&good);
    good.tls = sim_tls_client();
    good.remote = p->server.addr;
#define REFUSED(change)                                                                     \
    do {                                                                                    \
        bad = good;                                                                         \
        change;                                                                             \
        conn = 9;                                                                           \
        cr_expect_eq(aq_connect(p->client.ep, &bad, &conn, p->now_us), AQ_MISUSE, #change); \
        cr_expect_eq(conn, 0);                                                              \
    } while (0)
    REFUSED(bad.size = 8);
    REFUSED(bad.tls = NULL);
    REFUSED(bad.tls = sim_tls_server());
    REFUSED(bad.remote.family = 0);
    REFUSED(bad.remote.port = 0);
    REFUSED(bad.cc = "vegas");
    REFUSED(bad.token = bytes; bad.token_size = 513 + 4);
    cr_expect_eq(side_stats(&p->client).conns, 0);
    cr_expect_eq(side_stats(&p->client).memory_bytes, 0);
    good.token = bytes;
    good.token_size = 512 + 4;
    good.cc = "newreno";
    cr_expect_eq(aq_connect(p->client.ep, &good, &conn, p->now_us), AQ_OK);
    pair_free(p);
}

/* max_half_open and max_conns: full is said by name, and passes. */
Test(api, connections_full)
{
    struct aq_config config;
    struct aq_connect connect;
    aq_conn conn;
    pair_config(&config, false);
    config.max_conns = 3;
    config.max_half_open = 2;
    struct pair *p = pair_new(&config, NULL);
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = p->server.addr;
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(aq_connect(p->client.ep, &connect, &conn, p->now_us), i < 2 ? AQ_OK : AQ_FULL);
    cr_expect_eq(conn, 0);
    pair_run(p, 300000);
    cr_expect_eq(side_stats(&p->client).half_open, 0);
    cr_expect_eq(aq_connect(p->client.ep, &connect, &conn, p->now_us), AQ_OK);
    pair_run(p, 300000);
    cr_expect_eq(aq_connect(p->client.ep, &connect, &conn, p->now_us), AQ_FULL);
    struct aq_endpoint_stats s = side_stats(&p->client);
    cr_expect(s.conns == 3 && s.conns_high == 3 && s.half_open_high == 2 && s.connected == 3);
    pair_free(p);
}

/* RFC 9000 §7.2: a client's first Destination Connection ID has at least 8 bytes and cannot be
 * foretold. */
Test(api, first_ids)
{
    struct pair *p = pair_new(NULL, NULL);
    uint8_t seen[2][8];
    for (unsigned i = 0; i < 2; i++) {
        struct pair_datagram d;
        pair_dial(p);
        side_turn(&p->client, p->now_us);
        cr_assert(side_take(&p->client, &d));
        p->client.outs = 0;
        cr_expect_geq(d.size, 1200);
        cr_assert_geq(d.data[5], 8);
        memcpy(seen[i], d.data + 6, 8);
    }
    cr_expect(memcmp(seen[0], seen[1], 8) != 0);
    pair_free(p);
}

Test(api, refuse)
{
    struct pair *p = pair_new(NULL, NULL);
    struct aq_event event;
    struct pair_datagram d;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    while (side_take(&p->client, &d))
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    cr_assert(side_event(&p->server, &event));
    cr_assert_eq(event.kind, AQ_EVENT_ACCEPTED);
    cr_assert_eq(aq_refuse(p->server.ep, p->server.conn, "not you", p->now_us), AQ_OK);
    pair_run(p, 10000000);
    cr_expect(p->client.closed && p->client.close.by == AQ_BY_PEER && !p->client.close.application);
    cr_expect_eq(p->client.close.code, AQ_CONNECTION_REFUSED);
    cr_expect_str_eq(p->client.close.reason, "not you");
    cr_expect(p->server.closed);
    cr_expect_eq(side_stats(&p->client).conns + side_stats(&p->server).conns, 0);
    pair_free(p);
}

Test(api, users)
{
    struct pair *p = pair_new(NULL, NULL);
    struct aq_connect connect;
    struct aq_event event;
    int a, b, c;
    aq_conn conn;
    aq_stream stream;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = p->server.addr;
    connect.user = &a;
    cr_assert_eq(aq_connect(p->client.ep, &connect, &conn, p->now_us), AQ_OK);
    cr_expect_eq(aq_conn_user(p->client.ep, conn), &a);
    p->client.deaf_events = true;
    pair_run(p, 300000);
    cr_expect_eq(aq_conn_set_user(p->client.ep, conn, &b), AQ_OK);
    cr_assert_eq(aq_stream_open(p->client.ep, conn, false, &c, &stream), AQ_OK);
    cr_expect_eq(aq_stream_user(p->client.ep, stream), &c);
    cr_expect_eq(aq_stream_conn(p->client.ep, stream), conn);
    cr_expect_eq(aq_stream_id(p->client.ep, stream), 0);
    cr_assert_eq(aq_next_event(p->client.ep, &event), 1);
    cr_expect(event.conn == conn && event.conn_user == &b && event.stream == 0);
    cr_expect_eq(aq_stream_set_user(p->client.ep, stream, NULL), AQ_OK);
    cr_expect_null(aq_stream_user(p->client.ep, stream));
    pair_free(p);
}

/* RFC 8446 §7.5: both ends export the same, of each context another; not before the handshake,
 * but as long as it lives. */
Test(api, export)
{
    struct pair *p = pair_new(NULL, NULL);
    uint8_t out[4][32];
    pair_dial(p);
    cr_expect_eq(aq_conn_export(p->client.ep, p->client.conn, bytes, 4, out[0]), AQ_BLOCKED);
    for (unsigned i = 0; i < 2; i++) {
        pair_run(p, i ? 10000000 : 300000); /* TLS is gone the second time */
        cr_assert_eq(
            aq_conn_export(p->client.ep, p->client.conn, (const uint8_t *)"one", 3, out[0]), AQ_OK);
        cr_assert_eq(
            aq_conn_export(p->server.ep, p->server.conn, (const uint8_t *)"one", 3, out[1]), AQ_OK);
        cr_assert_eq(
            aq_conn_export(p->client.ep, p->client.conn, (const uint8_t *)"two", 3, out[2]), AQ_OK);
        cr_assert_eq(aq_conn_export(p->client.ep, p->client.conn, NULL, 0, out[3]), AQ_OK);
        cr_expect(memcmp(out[0], out[1], 32) == 0);
        cr_expect(memcmp(out[0], out[2], 32) != 0 && memcmp(out[0], out[3], 32) != 0);
    }
    cr_expect_eq(aq_conn_export(p->client.ep, p->client.conn, bytes, 64, out[0]), AQ_OK);
    cr_expect_eq(aq_conn_export(p->client.ep, p->client.conn, bytes, 65, out[0]), AQ_MISUSE);
    cr_expect_eq(aq_verify_done(p->client.ep, p->client.conn, true, p->now_us), AQ_MISUSE,
                 "nobody asked");
    cr_expect_eq(aq_sign_done(p->client.ep, p->client.conn, bytes, 4, p->now_us), AQ_MISUSE);
    pair_free(p);
}

/* RFC 9001 §6.1: not before confirmation, and not again before the one before is done with. */
Test(api, key_update)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    cr_expect_eq(aq_key_update(p->client.ep, p->client.conn, p->now_us), AQ_BLOCKED);
    pair_run(p, 300000);
    for (unsigned i = 1; i <= 3; i++) {
        cr_expect_eq(aq_key_update(p->client.ep, p->client.conn, p->now_us), AQ_OK);
        pair_run(p, 100);
        cr_expect_eq(aq_key_update(p->client.ep, p->client.conn, p->now_us), AQ_BLOCKED);
        pair_run(p, 1000000);
        cr_expect_eq(pair_stats(&p->client).key_updates, i);
        cr_expect_eq(pair_stats(&p->server).key_updates, i);
        cr_expect_eq(pair_stats(&p->server).undecryptable_packets, 0);
    }
    cr_expect_eq(aq_key_update(p->server.ep, p->server.conn, p->now_us), AQ_BLOCKED,
                 "nothing of it was acknowledged");
    cr_expect_eq(aq_ping(p->server.ep, p->server.conn, p->now_us), AQ_OK);
    pair_run(p, 200000);
    cr_expect_eq(aq_key_update(p->server.ep, p->server.conn, p->now_us), AQ_OK, "either side may");
    pair_run(p, 1000000);
    cr_expect_eq(pair_stats(&p->client).key_updates, 4);
    pair_free(p);
}

/* ---- streams --------------------------------------------------------------------------------- */

Test(api, stream_misuse)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct side *c = &p->client, *s = &p->server;
    aq_stream uni = open_stream(c, true), bidi = open_stream(c, false),
              fin_sent = open_stream(c, false);
    struct aq_iov iov;
    bool fin;
    cr_expect_eq(aq_stream_peek(c->ep, uni, &iov, 1, &fin), AQ_MISUSE);
    cr_expect_eq(aq_stream_consume(c->ep, uni, 0), AQ_MISUSE);
    cr_expect_eq(aq_stream_stop(c->ep, uni, 0), AQ_MISUSE);
    cr_expect_eq(aq_stream_consume(c->ep, bidi, 1), AQ_MISUSE, "more than there is");
    cr_expect_eq(aq_stream_reset(c->ep, bidi, VARINT_MAX + 1), AQ_MISUSE);
    cr_expect_eq(aq_stream_stop(c->ep, bidi, VARINT_MAX + 1), AQ_MISUSE);
    cr_expect_eq(write_some(c, fin_sent, 10, AQ_FIN), 10);
    cr_expect_eq(write_some(c, fin_sent, 1, 0), AQ_MISUSE);
    cr_expect_eq(write_some(c, fin_sent, 0, AQ_FIN), AQ_MISUSE);
    cr_expect_eq(write_some(c, uni, 10, 0), 10);
    pair_run(p, 100000);
    cr_expect_eq(aq_stream_id(s->ep, s->stream) & 2, 2, "the unidirectional one is told last");
    cr_expect_eq(write_some(s, s->stream, 1, 0), AQ_MISUSE);
    cr_expect_eq(aq_stream_reset(s->ep, s->stream, 1), AQ_MISUSE);
    cr_expect_eq(aq_stream_reset(c->ep, uni, 44), AQ_OK);
    cr_expect_eq(write_some(c, uni, 1, 0), AQ_MISUSE, "it was reset");
    pair_run(p, 100000);
    cr_expect_eq(side_count(s, AQ_EVENT_RESET), 1);
    cr_expect_eq(s->value, 44);
    pair_free(p);
}

/* RFC 9000 §3.5: the peer wants no more: its code is told, and the sender resets by itself. */
Test(api, stop_sending)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_stream(&p->client, false);
    bool fin;
    struct aq_iov iov;
    cr_assert_eq(write_some(&p->client, stream, 100, 0), 100);
    pair_run(p, 100000);
    cr_assert_eq(aq_stream_stop(p->server.ep, p->server.stream, 71), AQ_OK);
    cr_expect_eq(aq_stream_peek(p->server.ep, p->server.stream, &iov, 1, &fin), AQ_MISUSE);
    pair_run(p, 100000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STOPPED), 1);
    cr_expect_eq(p->client.value, 71);
    cr_expect_eq(write_some(&p->client, stream, 1, 0), AQ_MISUSE);
    cr_expect_eq(write_some(&p->server, p->server.stream, 5, AQ_FIN), 5);
    pair_run(p, 100000);
    cr_expect_eq(read_all(&p->client, stream, &fin), 5);
    pair_run(p, 200000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect_eq(side_stats(&p->client).streams + side_stats(&p->server).streams, 0);
    expect_stream_gone(p->client.ep, stream);
    pair_free(p);
}

/* RFC 9000 §4.6: BLOCKED at the peer's limit; AQ_EVENT_STREAMS, once, when there is more. FULL:
 * our own pool. */
Test(api, streams_blocked_and_full)
{
    struct aq_config client, server;
    aq_stream stream[8];
    struct aq_conn_stats stats;
    pair_config(&client, false);
    pair_config(&server, true);
    client.max_streams = 6;
    server.streams_bidi = 4;
    server.streams_uni = 100;
    struct pair *p = pair_new(&client, &server);
    pair_dial(p);
    cr_expect_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, stream), AQ_BLOCKED,
                 "in the handshake");
    pair_run(p, 300000);
    for (unsigned i = 0; i < 4; i++)
        stream[i] = open_stream(&p->client, false);
    cr_expect_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream[4]), AQ_BLOCKED);
    cr_expect_eq(stream[4], 0);
    stats = pair_stats(&p->client);
    cr_expect(stats.status == AQ_STATUS_CONGESTED && stats.congested == AQ_CONGESTED_STREAMS);
    stream[4] = open_stream(&p->client, true);
    stream[5] = open_stream(&p->client, true);
    cr_expect_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &stream[6]), AQ_FULL);
    pair_run(p, 100000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAMS), 0);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(write_some(&p->client, stream[i], 1, AQ_FIN), 1);
        pair_run(p, 100000);
        bool fin;
        read_all(&p->server, p->server.stream, &fin);
        cr_assert_eq(write_some(&p->server, p->server.stream, 1, AQ_FIN), 1);
        pair_run(p, 100000);
        read_all(&p->client, stream[i], &fin);
        pair_run(p, 200000);
    }
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 2);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAMS), 1);
    open_stream(&p->client, false);
    open_stream(&p->client, false);
    cr_expect_eq(side_stats(&p->client).streams_high, 6);
    pair_free(p);
}

/* Shared memory run dry by a writer: it takes what fits, says when there is room, and all
 * arrives in the end. */
Test(api, memory_exhausted)
{
    struct aq_config client;
    pair_config(&client, false);
    client.memory_bytes = 256 << 10;
    client.conn_memory_bytes = 256 << 10;
    struct pair *p = pair_connected(&client, NULL);
    aq_stream stream = open_stream(&p->client, false);
    uint64_t written = 0, read = 0;
    bool fin = false;
    unsigned rounds = 0;
    for (; !fin && rounds < 2000; rounds++) {
        struct aq_iov iov = {bytes, sizeof bytes - written};
        int64_t n =
            written < sizeof bytes ? aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN) : 0;
        cr_assert_geq(n, 0);
        cr_assert_lt(n, 256 << 10);
        written += (uint64_t)n;
        pair_run(p, 20000);
        if (p->server.stream)
            read += read_all(&p->server, p->server.stream, &fin);
        cr_assert_leq(side_stats(&p->client).memory_bytes, 256 << 10);
    }
    cr_expect(fin, "%u rounds: %llu of %zu", rounds, (unsigned long long)read, sizeof bytes);
    cr_expect_eq(read, sizeof bytes);
    cr_expect_gt(side_count(&p->client, AQ_EVENT_WRITABLE), 0);
    cr_expect_gt(side_stats(&p->client).memory_high_bytes, 100 << 10);
    aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
    pair_run(p, 10000000);
    cr_expect_eq(side_stats(&p->client).memory_bytes, 0);
    pair_free(p);
}

/* Written full over many streams while nothing is in flight: there is room left to remember what
 * is sent, so all arrives. */
Test(api, memory_written_full)
{
    enum {
        STREAMS = 12
    };
    struct aq_config client;
    pair_config(&client, false);
    client.memory_bytes = 256 << 10;
    client.conn_memory_bytes = 256 << 10;
    struct pair *p = pair_connected(&client, NULL);
    pair_run(p, 5000000); /* all is acknowledged: the ring of what is in flight holds nothing */
    uint64_t written = 0;
    for (unsigned i = 0; i < STREAMS; i++) {
        aq_stream stream = open_stream(&p->client, false);
        for (int64_t n = 1; n > 0; written += (uint64_t)n)
            n = write_some(&p->client, stream, 20000, 0);
    }
    cr_expect_gt(written, 200 << 10);
    pair_run(p, 2000000);
    cr_expect_geq(pair_stats(&p->server).recv_bytes, written);
    cr_expect_lt(side_stats(&p->client).memory_bytes, 64 << 10, "given back");
    cr_expect_not(p->client.closed);
    pair_free(p);
}

/* RFC 9000 §4.1: a sender that the connection's limit holds back says so, once, again when that
 * was lost, and goes on when the limit rises. */
Test(api, data_blocked)
{
    for (unsigned lose = 0; lose < 2; lose++) {
        struct aq_config server;
        pair_config(&server, true);
        server.conn_window = server.conn_window_max = 4096;
        struct pair *p = pair_connected(NULL, &server);
        aq_stream stream = open_stream(&p->client, false);
        bool fin = false;
        cr_assert_eq(write_some(&p->client, stream, 4096, 0), 4096);
        pair_run(p, 100000);
        uint64_t before = p->client.sent;
        cr_expect_eq(pair_stats(&p->client).congested, AQ_CONGESTED_NOT, "nothing waits");
        p->client.lose_nth = lose ? before + 1 : 0;
        cr_assert_eq(write_some(&p->client, stream, 4096, AQ_FIN), 4096);
        pair_run(p, 1000000);
        cr_expect_eq(pair_stats(&p->client).congested, AQ_CONGESTED_FLOW);
        if (lose) /* two probes, of which one says it again, and once more when it counts as lost */
            cr_expect_eq(p->client.sent - before, 4);
        else
            cr_expect_eq(p->client.sent - before, 1);
        cr_expect_eq(read_all(&p->server, p->server.stream, &fin), 4096);
        pair_run(p, 100000);
        cr_expect_eq(read_all(&p->server, p->server.stream, &fin), 4096);
        cr_expect(fin);
        cr_expect_eq(pair_stats(&p->client).congested, AQ_CONGESTED_NOT);
        pair_free(p);
    }
}

/* Bytes by reference are the writer's until they are released, which is counted. */
Test(api, released)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = open_stream(&p->client, true);
    cr_assert_eq(write_some(&p->client, stream, 5000, AQ_REF | AQ_FIN), 5000);
    cr_expect_eq(aq_stream_released(p->client.ep, stream), 0);
    p->client.deaf_events = true; /* the handle stays until STREAM_CLOSED is told */
    pair_run(p, 200000);
    cr_expect_eq(aq_stream_released(p->client.ep, stream), 5000);
    p->client.deaf_events = false;
    pair_run(p, 1000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_RELEASED), 1);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 1);
    pair_free(p);
}

/* What an operator asks for. A caller built against an older, shorter struct gets what it knows. */
/* RFC 9000 §14.3: a datagram of the size asked about; what is lost changes nothing. */
Test(api, probe_mtu)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    struct pair *p = pair_connected(&client, &server);
    struct aq_endpoint *ep = p->client.ep;
    aq_conn conn = p->client.conn;
    pair_run(p, 100000);
    cr_assert_eq(pair_stats(&p->client).mtu, 1200);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn, 1199, p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn, 1453, p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn ^ 1, 1300, p->now_us), AQ_GONE);
    cr_assert_eq(aq_conn_probe_mtu(ep, conn, 1300, p->now_us), AQ_OK);
    uint64_t bytes_before = p->client.sent_bytes;
    pair_run(p, 5000);
    cr_expect_eq(p->client.sent_bytes - bytes_before, 1300);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn, 1400, p->now_us), AQ_BLOCKED);
    pair_run(p, 100000);
    cr_expect_eq(pair_stats(&p->client).mtu, 1300);
    p->client.mute = true;
    cr_assert_eq(aq_conn_probe_mtu(ep, conn, 1400, p->now_us), AQ_OK);
    pair_run(p, 1000);
    p->client.mute = false;
    pair_run(p, 10000);
    cr_expect_eq(aq_conn_probe_mtu(ep, conn, 1400, p->now_us), AQ_BLOCKED, "nobody knows yet");
    cr_expect_eq(aq_ping(ep, conn, p->now_us), AQ_OK);
    pair_run(p, 200000);
    cr_expect_eq(pair_stats(&p->client).mtu, 1300);
    cr_assert_eq(aq_conn_probe_mtu(ep, conn, 1350, p->now_us), AQ_OK);
    pair_run(p, 100000);
    cr_expect_eq(pair_stats(&p->client).mtu, 1350);
    pair_free(p);
}

Test(api, stats)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct aq_iov iov = {bytes, 30000};
    aq_stream stream, uni;
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &uni), AQ_OK);
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), 30000);
    p->client.lose_nth = p->client.sent + 2;
    pair_run(p, 500000);
    struct aq_conn_stats s = pair_stats(&p->client);
    cr_expect(s.sent_packets >= p->client.sent && s.sent_bytes == p->client.sent_bytes);
    cr_expect(s.lost_packets == 1 && s.spurious_packets == 0, "one is lost, and stays so");
    cr_expect(s.lost_bytes >= 1000 && s.resent_bytes >= 1000 && s.resent_bytes <= s.lost_bytes);
    cr_expect(s.rtt_us >= 2 * PAIR_DELAY_US && s.rtt_min_us <= s.rtt_us && s.rtt_latest_us);
    cr_expect(s.cwnd_bytes && s.pacing_bytes_per_s && s.in_flight_bytes == 0 && s.mtu == 1452);
    cr_expect(s.paths == 1 && s.ecn_state != AQ_ECN_STATE_OFF);
    cr_expect(s.streams_opened == 2 && s.streams_accepted == 0);
    cr_expect_eq(pair_stats(&p->server).streams_accepted, 1, "the other was never used");
    cr_expect_eq(s.congested, AQ_CONGESTED_NOT);
    memset(&s, 0x55, sizeof s);
    s.size = offsetof(struct aq_conn_stats, spurious_packets);
    cr_assert_eq(aq_conn_stats(p->client.ep, p->client.conn, &s), AQ_OK);
    cr_expect_eq(s.size, offsetof(struct aq_conn_stats, spurious_packets));
    cr_expect_eq(s.spurious_packets, UINT64_C(0x5555555555555555), "beyond the caller's struct");
    pair_free(p);
}

/* RFC 9000 §8.1: a server whose client is not validated waits for more from it, and says so. */
Test(api, stats_address)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_datagram d;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    p->server.mute = true;
    side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    for (unsigned i = 0; i < 7; i++) { /* what it sends is lost: probes use up the rest */
        p->now_us += 1300000;
        side_turn(&p->server, p->now_us);
    }
    cr_expect_eq(pair_stats(&p->server).congested, AQ_CONGESTED_ADDRESS);
    cr_expect_leq(p->server.sent_bytes, 3 * (uint64_t)d.size);
    pair_free(p);
}
