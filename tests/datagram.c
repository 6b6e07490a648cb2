/* datagram.c -- tests core/datagram.c over a wire in memory: what is offered, sent, refused,
 * dropped and lost (RFC 9221). */
#include "core/frame.h"
#include "tests/pair.h"

enum {
    QUEUE = 4096
};

static struct pair *pair_with(uint16_t client_max, uint16_t server_max, bool drop_oldest)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.datagram_max = client_max;
    server.datagram_max = server_max;
    client.datagram_queue = server.datagram_queue = QUEUE;
    client.datagram_drop_oldest = server.datagram_drop_oldest = drop_oldest;
    return pair_connected(&client, &server);
}

static int put(struct side *s, uint8_t fill, size_t size)
{
    uint8_t bytes[2000];
    cr_assert(size <= sizeof bytes);
    memset(bytes, fill, size);
    struct aq_iov iov[2] = {{bytes, size / 2}, {bytes, size - size / 2}};
    return aq_datagram_send(s->ep, s->conn, iov, 2);
}

/* The oldest must be so many bytes of this kind. */
static void take(struct side *s, uint8_t fill, size_t size)
{
    struct aq_iov got;
    cr_assert_eq(aq_datagram_peek(s->ep, s->conn, &got), AQ_OK);
    cr_assert_eq(got.size, size);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(got.data[i], fill);
    cr_assert_eq(aq_datagram_take(s->ep, s->conn), AQ_OK);
}

static void none(struct side *s)
{
    struct aq_iov got;
    cr_assert_eq(aq_datagram_peek(s->ep, s->conn, &got), AQ_BLOCKED);
    cr_assert_eq(aq_datagram_take(s->ep, s->conn), AQ_MISUSE);
}

static struct aq_conn_stats stats_of(struct side *s)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    cr_assert_eq(aq_conn_stats(s->ep, s->conn, &stats), AQ_OK);
    return stats;
}

/* RFC 9221 §5: both ways, in order where nothing is lost, acknowledged; the memory is given back.
 */
Test(datagram, there_and_back)
{
    struct pair *p = pair_with(65535, 65535, false);
    size_t max = aq_datagram_max(p->client.ep, p->client.conn);
    cr_assert(max > 1100 && max < 1200, "%zu of a packet of 1,200", max);
    none(&p->server);
    cr_assert_eq(put(&p->client, 1, 5), AQ_OK);
    cr_assert_eq(put(&p->client, 2, max), AQ_OK);
    cr_assert_eq(put(&p->client, 3, 0), AQ_OK);
    pair_run(p, 50000);
    cr_assert_eq(side_count(&p->server, AQ_EVENT_DATAGRAM), 1, "coalesced");
    take(&p->server, 1, 5);
    take(&p->server, 2, max);
    take(&p->server, 3, 0);
    none(&p->server);
    cr_assert_eq(put(&p->server, 4, 700), AQ_OK);
    pair_run(p, 100000);
    take(&p->client, 4, 700);
    struct aq_conn_stats client = stats_of(&p->client), server = stats_of(&p->server);
    cr_expect(client.datagrams_sent == 3 && client.datagrams_acked == 3
              && client.datagrams_received == 1);
    cr_expect(server.datagrams_sent == 1 && server.datagrams_received == 3
              && server.datagrams_lost == 0);
    pair_free(p);
}

/* RFC 9221 §3: no more than the peer said that it takes, type and length included. */
Test(datagram, as_large_as_the_peer_takes)
{
    struct pair *p = pair_with(0, 103, false);
    cr_assert_eq(aq_datagram_max(p->server.ep, p->server.conn), 0, "the client offers none");
    cr_assert_eq(put(&p->server, 1, 1), AQ_MISUSE);
    cr_assert_eq(aq_datagram_max(p->client.ep, p->client.conn), 100);
    cr_assert_eq(put(&p->client, 1, 101), AQ_MISUSE);
    cr_assert_eq(put(&p->client, 1, 2000), AQ_MISUSE);
    cr_assert_eq(put(&p->client, 1, 100), AQ_OK);
    pair_run(p, 50000);
    take(&p->server, 1, 100);
    cr_assert_eq(aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us), AQ_OK);
    cr_assert_eq(put(&p->client, 1, 1), AQ_GONE);
    pair_free(p);
}

/* What is too large for the path so far, but not for the peer, makes the path's MTU be probed; then
 * it fits. What is too large for ever does not. */
Test(datagram, a_refused_one_makes_room_grow)
{
    struct pair *p = pair_with(65535, 1300, false);
    size_t max = aq_datagram_max(p->client.ep, p->client.conn);
    cr_assert_lt(max, 1200);
    pair_run(p, 1000000);
    cr_expect_eq(aq_datagram_max(p->client.ep, p->client.conn), max, "nobody asked");
    cr_expect_eq(put(&p->client, 1, 1301), AQ_MISUSE);
    pair_run(p, 1000000);
    cr_expect_eq(aq_datagram_max(p->client.ep, p->client.conn), max,
                 "the peer takes none so large");
    cr_expect_eq(put(&p->client, 1, 1250), AQ_MISUSE);
    pair_run(p, 1000000);
    cr_expect_gt(aq_datagram_max(p->client.ep, p->client.conn), 1250);
    cr_expect_eq(put(&p->client, 1, 1250), AQ_OK);
    pair_run(p, 100000);
    take(&p->server, 1, 1250);
    pair_free(p);
}

Test(datagram, a_full_sending_queue_refuses_and_tells_of_room)
{
    struct pair *p = pair_with(65535, 65535, false);
    unsigned taken = 0;
    while (put(&p->client, (uint8_t)taken, 1000) == AQ_OK)
        taken++;
    cr_assert_eq(taken, QUEUE / 1002);
    cr_assert_eq(side_count(&p->client, AQ_EVENT_DATAGRAM_ROOM), 0);
    pair_run(p, 50000);
    cr_assert_eq(side_count(&p->client, AQ_EVENT_DATAGRAM_ROOM), 1);
    for (unsigned i = 0; i < taken; i++)
        take(&p->server, (uint8_t)i, 1000);
    none(&p->server);
    cr_assert_eq(stats_of(&p->client).datagrams_dropped_sending, 0);
    pair_free(p);
}

/* RFC 9221 §5.3: what finds no room is dropped, and acknowledged all the same. */
Test(datagram, a_full_receiving_queue_drops_the_newcomer)
{
    struct pair *p = pair_with(65535, 65535, false);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_eq(put(&p->client, (uint8_t)i, 1000), AQ_OK);
        pair_run(p, 100000);
    }
    struct aq_conn_stats server = stats_of(&p->server);
    cr_expect_eq(server.datagrams_received, 10);
    cr_expect_eq(server.datagrams_dropped_receiving, 6);
    cr_expect_eq(stats_of(&p->client).datagrams_acked, 10);
    for (unsigned i = 0; i < 4; i++)
        take(&p->server, (uint8_t)i, 1000);
    none(&p->server);
    pair_free(p);
}

Test(datagram, or_the_oldest)
{
    struct pair *p = pair_with(65535, 65535, true);
    for (unsigned i = 0; i < 10; i++)
        cr_assert_eq(put(&p->client, (uint8_t)i, 1000), AQ_OK);
    cr_expect_eq(stats_of(&p->client).datagrams_dropped_sending, 6);
    pair_run(p, 50000);
    take(&p->server, 6, 1000);
    for (unsigned i = 10; i < 20; i++) {
        cr_assert_eq(put(&p->client, (uint8_t)i, 1000), AQ_OK);
        pair_run(p, 50000);
    }
    for (unsigned i = 16; i < 20; i++)
        take(&p->server, (uint8_t)i, 1000);
    none(&p->server);
    pair_free(p);
}

/* RFC 9221 §5.2: what is lost is not sent again. */
Test(datagram, lost_is_lost)
{
    struct pair *p = pair_with(65535, 65535, false);
    cr_assert_eq(put(&p->client, 1, 100), AQ_OK);
    p->client.mute = true;
    side_turn(&p->client, p->now_us);
    p->client.mute = false;
    for (unsigned i = 2; i < 8; i++) {
        cr_assert_eq(put(&p->client, (uint8_t)i, 1000), AQ_OK);
        pair_run(p, 50000);
        take(&p->server, (uint8_t)i, 1000);
    }
    pair_run(p, 1000000);
    none(&p->server);
    struct aq_conn_stats client = stats_of(&p->client);
    cr_expect(client.datagrams_sent == 7 && client.datagrams_lost == 1
              && client.datagrams_acked == 6);
    pair_free(p);
}

/* Datagrams go before stream data and do not stop it. */
Test(datagram, beside_a_stream)
{
    static uint8_t bulk[300000];
    struct pair *p = pair_with(65535, 65535, true);
    aq_stream stream;
    uint64_t read = 0, got = 0;
    bool fin = false;
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &stream), AQ_OK);
    struct aq_iov iov = {bulk, sizeof bulk};
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), (int64_t)sizeof bulk);
    for (unsigned turn = 0; turn < 300 && !fin; turn++) {
        struct aq_iov piece[64], one;
        cr_assert_eq(put(&p->client, 9, 300), AQ_OK);
        pair_run(p, 5000);
        while (aq_datagram_peek(p->server.ep, p->server.conn, &one) == AQ_OK) {
            got += one.size == 300;
            aq_datagram_take(p->server.ep, p->server.conn);
        }
        int n =
            p->server.stream ? aq_stream_peek(p->server.ep, p->server.stream, piece, 64, &fin) : 0;
        uint64_t size = 0;
        for (int i = 0; i < n; i++)
            size += piece[i].size;
        read += size;
        if (n > 0 || fin)
            cr_assert_eq(aq_stream_consume(p->server.ep, p->server.stream, size), AQ_OK);
    }
    cr_expect_eq(read, sizeof bulk);
    cr_expect(got >= 10, "%llu datagrams", (unsigned long long)got);
    pair_free(p);
}

Test(datagram, configuration_is_checked)
{
    struct aq_config config;
    pair_config(&config, false);
    cr_assert_null(aq_config_check(&config));
    config.datagram_queue = 5000;
    cr_assert_not_null(aq_config_check(&config));
    config.datagram_queue = 2048;
    cr_assert_not_null(aq_config_check(&config));
    config.datagram_queue = 1 << 24;
    cr_assert_null(aq_config_check(&config));
}
