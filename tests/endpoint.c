/* endpoint.c -- the endpoint as its host drives it: buffers and memory, the order of events,
 * answers that wait, structs whose size differs. */
#include "tests/pair.h"

static const struct aq_addr neighbour = {.ip = {192, 0, 2, 8}, .port = 7777, .family = 4};
static const struct aq_addr stranger = {.ip = {192, 0, 2, 7}, .port = 7778, .family = 4};

Test(endpoint, buffers_and_memory)
{
    struct pair *p = pair_new(NULL, NULL);
    struct aq_buffer buffers[8];
    struct aq_config config;
    uint8_t mine[64];
    cr_assert_eq(aq_recv_buffers(p->client.ep, buffers, 8), 4, "as many as the config says");
    cr_expect_eq(aq_recv_buffers(p->client.ep, buffers, 2), 2);
    struct aq_datagram d = {.data = mine, .size = sizeof mine, .remote = p->server.addr};
    cr_expect_eq(aq_recv(p->client.ep, &d, 1, p->now_us), AQ_MISUSE);
    d.data = buffers[0].data + 3 * buffers[0].size;
    d.size = (uint32_t)buffers[0].size + 1;
    cr_expect_eq(aq_recv(p->client.ep, &d, 1, p->now_us), AQ_MISUSE);
    d.data = buffers[0].data - 1;
    d.size = 1;
    cr_expect_eq(aq_recv(p->client.ep, &d, 1, p->now_us), AQ_MISUSE);
    d.data = buffers[0].data;
    d.size = 0;
    cr_expect_eq(aq_recv(p->client.ep, &d, 1, p->now_us), AQ_OK, "an empty datagram");
    cr_expect_eq(side_stats(&p->client).datagrams_in, 0);
    pair_config(&config, true);
    size_t size = aq_endpoint_size(&config);
    cr_expect_null(aq_endpoint_init(p->server.mem, size - 1, &config, 0));
    cr_expect_null(aq_endpoint_init((uint8_t *)p->server.mem + 8, size, &config, 0));
    cr_expect_null(aq_endpoint_init(NULL, size, &config, 0));
    config.worker = 64;
    cr_expect_eq(aq_endpoint_size(&config), 0);
    cr_expect_null(aq_endpoint_init(p->server.mem, size, &config, 0));
    cr_expect_eq(aq_sockets_wanted(p->client.ep), 0);
    pair_free(p);
}

/* A struct that grew or shrank: only as much is written as the caller has. */
Test(endpoint, sizes_of_structs)
{
    struct pair *p = pair_connected(NULL, NULL);
    union {
        struct aq_conn_stats conn;
        struct aq_endpoint_stats ep;
        struct aq_conn_peer peer;
        uint8_t raw[sizeof(struct aq_conn_peer) + sizeof(struct aq_conn_stats)];
    } u;
    memset(&u, 0xa5, sizeof u);
    u.conn.size = 16;
    cr_expect_eq(aq_conn_stats(p->client.ep, p->client.conn, &u.conn), AQ_OK);
    cr_expect_eq(u.conn.size, 16);
    cr_expect_eq(u.conn.status, AQ_STATUS_CONNECTED);
    cr_expect_eq(u.raw[16], 0xa5);
    memset(&u, 0xa5, sizeof u);
    u.ep.size = 12;
    aq_endpoint_stats(p->client.ep, &u.ep);
    cr_expect_eq(u.ep.size, 12);
    cr_expect_eq(u.ep.conns, 1);
    cr_expect_eq(u.raw[12], 0xa5);
    memset(&u, 0xa5, sizeof u);
    u.peer.size = sizeof u;
    cr_expect_eq(aq_conn_peer(p->client.ep, p->client.conn, &u.peer), AQ_OK);
    cr_expect_eq(u.peer.size, sizeof u.peer);
    cr_expect_str_eq(u.peer.alpn, "sim");
    cr_expect_str_eq(u.peer.server_name, "sim.example");
    cr_expect(u.peer.verified && u.peer.has_certificate && !u.peer.resumed);
    cr_expect_eq(u.raw[sizeof u.peer], 0xa5);
    pair_free(p);
}

/* ---- events ---------------------------------------------------------------------------------- */

static int place(const struct side *s, enum aq_event_kind kind)
{
    for (unsigned i = 0; i < s->events; i++) {
        if (s->event[i] == kind)
            return (int)i;
    }
    return -1;
}

/* However late they are asked for, they come in the order of a life: a connection begins before
 * its streams, CLOSED is its last, and each is told once. */
Test(endpoint, order_of_events)
{
    for (unsigned late = 0; late < 2; late++) {
        struct pair *p = pair_new(NULL, NULL);
        pair_dial(p);
        p->server.deaf_events = late;
        pair_run(p, 300000);
        struct aq_iov iov = {(const uint8_t *)"some bytes", 10};
        aq_stream stream;
        cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
        cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, 0), 10);
        pair_run(p, 100000);
        aq_stream_reset(p->client.ep, stream, 3);
        pair_run(p, 100000);
        aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
        pair_run(p, 50000);
        p->server.deaf_events = false;
        pair_run(p, 10000000);
        const struct side *s = &p->server;
        cr_expect_eq(place(s, AQ_EVENT_ACCEPTED), 0);
        cr_expect_lt(place(s, AQ_EVENT_ACCEPTED), place(s, AQ_EVENT_CONNECTED));
        cr_expect_lt(place(s, AQ_EVENT_CONNECTED), place(s, AQ_EVENT_CONFIRMED));
        cr_expect_lt(place(s, AQ_EVENT_CONFIRMED), place(s, AQ_EVENT_OPENED));
        cr_expect_lt(place(s, AQ_EVENT_OPENED), place(s, AQ_EVENT_RESET));
        cr_expect_eq(place(s, AQ_EVENT_CLOSED), (int)s->events - 1);
        static const enum aq_event_kind once[] = {AQ_EVENT_ACCEPTED,  AQ_EVENT_CONNECTED,
                                                  AQ_EVENT_CONFIRMED, AQ_EVENT_OPENED,
                                                  AQ_EVENT_RESET,     AQ_EVENT_CLOSED};
        for (unsigned i = 0; i < sizeof once / sizeof *once; i++)
            cr_expect_eq(side_count(s, once[i]), 1, "kind %d", (int)once[i]);
        pair_free(p);
    }
}

/* ---- answers -------------------------------------------------------------------------------- */

/* A long header of version 0x0a0b0c0d, which is answered with a Version Negotiation. */
static size_t unknown_version(uint8_t *out, size_t size)
{
    memset(out, 0xee, size);
    memcpy(out, (const uint8_t[]){0xc0, 0x0a, 0x0b, 0x0c, 0x0d, 8}, 6);
    out[14] = 8;
    return size;
}

/* The ring of answers holds 64; what does not fit is not given, and the ring works on. */
Test(endpoint, answers_are_bounded)
{
    struct pair *p = pair_new(NULL, NULL);
    uint8_t out[1200];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 100; i++)
            side_recv(&p->server, &stranger, out, unknown_version(out, sizeof out), p->now_us);
        cr_expect(aq_wants_send(p->server.ep));
        side_turn(&p->server, p->now_us);
        cr_expect_eq(p->server.outs, 64, "%u answers", p->server.outs);
        cr_expect_not(aq_wants_send(p->server.ep));
        p->server.outs = 0;
    }
    cr_expect_eq(side_stats(&p->server).versions, 192);
    cr_expect_eq(side_stats(&p->server).datagrams_out, 192);
    cr_expect_eq(side_stats(&p->server).conns, 0);
    cr_expect_eq(side_stats(&p->server).memory_bytes, 0);
    pair_free(p);
}

/* Answers go back the way the question came. */
Test(endpoint, answer_goes_back)
{
    struct pair *p = pair_new(NULL, NULL);
    struct aq_buffer buffer;
    struct aq_train train;
    cr_assert_eq(aq_recv_buffers(p->server.ep, &buffer, 1), 1);
    struct aq_datagram d = {.data = buffer.data,
                            .size = 1200,
                            .socket = 3,
                            .ifindex = 4,
                            .channel = 5,
                            .local = neighbour,
                            .remote = stranger};
    unknown_version(buffer.data, 1200);
    cr_assert_eq(aq_recv(p->server.ep, &d, 1, p->now_us), AQ_OK);
    cr_assert_eq(aq_send(p->server.ep, &train, 1, p->now_us), 1);
    cr_expect(train.socket == 3 && train.ifindex == 4 && train.channel == 5);
    cr_expect(memcmp(&train.local, &neighbour, sizeof neighbour) == 0);
    cr_expect(memcmp(&train.remote, &stranger, sizeof stranger) == 0);
    cr_expect_eq(train.segment, train.size);
    pair_free(p);
}
