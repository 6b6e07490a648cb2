/* handshake.c -- the first round trips between two endpoints: coalesced packets (RFC 9000 §12),
 * when keys come and go (RFC 9001 §4.9), when the handshake is complete and when confirmed, and
 * what keeps it from standing still (RFC 9002 §6.2). */
#include "tests/pair.h"

#include "core/endpoint.h"
#include "core/packet.h"

static struct pair *traced(void)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.trace_events = server.trace_events = 4096;
    return pair_new(&client, &server);
}

struct story {
    struct aq_trace line[4096];
    int count;
};

static struct story *story_of(const struct side *s)
{
    static struct story story[2];
    static unsigned turn;
    struct story *t = &story[turn++ & 1];
    int all = (int)aq_trace_read(s->ep, t->line, 4096);
    t->count = 0;
    for (int i = 0; i < all; i++) { /* steps, not the details of packets */
        if (t->line[i].type != AQ_TRACE_FRAME && t->line[i].type != AQ_TRACE_ACK_RANGE
            && t->line[i].type != AQ_TRACE_CID && t->line[i].type != AQ_TRACE_TEXT)
            t->line[t->count++] = t->line[i];
    }
    for (int i = 1; i < t->count; i++)
        cr_assert_leq(t->line[i - 1].time_us, t->line[i].time_us);
    return t;
}

/* Where an event first stands; a is the value of its field a, UINT64_MAX any. -1: nowhere. */
static int first(const struct story *t, enum aq_trace_type type, unsigned space, uint64_t a)
{
    for (int i = 0; i < t->count; i++) {
        if (t->line[i].type == type && t->line[i].space == space
            && (a == UINT64_MAX || t->line[i].a == a))
            return i;
    }
    return -1;
}

static int state_at(const struct story *t, enum conn_state state)
{
    for (int i = 0; i < t->count; i++) {
        if (t->line[i].type == AQ_TRACE_CONN_STATE && t->line[i].b == state)
            return i;
    }
    return -1;
}

static int last(const struct story *t, enum aq_trace_type type, unsigned space)
{
    int found = -1;
    for (int i = 0; i < t->count; i++) {
        if (t->line[i].type == type && t->line[i].space == space)
            found = i;
    }
    return found;
}

/* What an established connection that does nothing costs lies in struct conn, and there is no more
 * of it than of connections: the handshake's struct is back in its pool, nothing is borrowed. */
Test(handshake, nothing_is_borrowed_when_idle)
{
    struct pair *p = pair_connected(NULL, NULL);
    pair_run(p, 3000000); /* the client keeps TLS for late tickets */
    const struct side *sides[] = {&p->client, &p->server};
    for (unsigned i = 0; i < 2; i++) {
        const struct endpoint *ep = (const struct endpoint *)sides[i]->ep;
        if (i == 1) /* the client's host may still ask for the ticket it was told of */
            cr_expect_eq(side_stats(sides[i]).memory_bytes, 0);
        cr_expect(ep->conns.used == 1 && ep->hands.used == 0);
        cr_expect(ep->odcids.count == 0 && ep->streams.pool.used == 0);
    }
    cr_expect_leq(sizeof(struct conn), 2432, "with all else it must stay below 4 KiB: README.md");
    pair_free(p);
}

/* Names are told as they were given, however long; only long ones borrow a block, until the
 * connection is over. */
Test(handshake, names_of_any_length)
{
    for (size_t size = 1; size < 250; size += size < 60 ? 1 : 7) {
        struct pair *p = pair_new(NULL, NULL);
        struct aq_connect connect;
        struct aq_conn_peer peer = {.size = sizeof peer};
        char name[256] = "";
        for (size_t i = 0; i < size; i++) /* labels are at most 63 characters */
            name[i] = i % 50 == 49 && i + 1 < size ? '.' : (char)('a' + i % 26);
        aq_connect_init(&connect);
        connect.tls = sim_tls_client();
        connect.remote = p->server.addr;
        connect.server_name = name;
        cr_assert_eq(aq_connect(p->client.ep, &connect, &p->client.conn, p->now_us), AQ_OK);
        pair_run(p, 3000000);
        cr_assert_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1, "%zu", size);
        const struct side *sides[] = {&p->client, &p->server};
        for (unsigned i = 0; i < 2; i++) {
            cr_expect_eq(aq_conn_peer(sides[i]->ep, sides[i]->conn, &peer), AQ_OK);
            cr_expect_str_eq(peer.server_name, name);
            cr_expect_str_eq(peer.alpn, "sim");
        }
        bool is_long = strlen(peer.alpn) + size + 2 > SHORT_NAMES;
        cr_expect_eq(side_stats(&p->server).memory_bytes,
                     is_long ? arena_round(sizeof(struct tls_names)) : 0, "%zu", size);
        cr_expect_eq(aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us), AQ_OK);
        pair_run(p, 3000000);
        cr_expect_eq(side_stats(&p->client).memory_bytes, 0);
        cr_expect_eq(side_stats(&p->server).memory_bytes, 0);
        pair_free(p);
    }
}

/* RFC 8446 §4.1.4: a HelloRetryRequest and the second ClientHello are CRYPTO bytes of the Initial
 * space like others, whichever datagram of theirs is lost. RFC 9000 §17.2.5.2: a Retry before them,
 * too. */
Test(handshake, hello_retry)
{
    for (unsigned nth = 0; nth <= 10; nth++) {
        for (unsigned retry = 0; retry < 2; retry++) {
            struct aq_config server;
            struct aq_conn_peer peer = {.size = sizeof peer};
            pair_config(&server, true);
            server.tls = sim_tls_server_hello_retry();
            server.retry = retry ? AQ_RETRY_ALWAYS : AQ_RETRY_NEVER;
            struct pair *p = pair_new(NULL, &server);
            (nth % 2 ? &p->client : &p->server)->lose_nth = (nth + 1) / 2;
            pair_dial(p);
            pair_run(p, 9000000);
            cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1, "%u %u", nth, retry);
            cr_expect_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
            cr_assert_eq(aq_conn_peer(p->client.ep, p->client.conn, &peer), AQ_OK);
            cr_expect_not_null(strstr(peer.group, "384"), "%s", peer.group);
            if (nth == 0) /* one round trip more for each */
                cr_expect_geq(pair_stats(&p->client).handshake_us,
                              (2 + retry) * 2 * (uint64_t)PAIR_DELAY_US);
            pair_free(p);
        }
    }
}

/* RFC 9001 §4.9.1: Initial keys go with the client's first Handshake packet, sent or received.
 * RFC 9001 §4.9.2: Handshake keys go when the handshake is confirmed. After that nothing is sent
 * or taken at that level. */
Test(handshake, keys_go)
{
    struct pair *p = traced();
    pair_dial(p);
    pair_run(p, 1000000);
    for (unsigned server = 0; server < 2; server++) {
        const struct story *t = story_of(server ? &p->server : &p->client);
        int initial = first(t, AQ_TRACE_KEY_DISCARDED, SPACE_INITIAL, 0);
        int handshake = first(t, AQ_TRACE_KEY_DISCARDED, SPACE_HANDSHAKE, 0);
        cr_assert(initial >= 0 && handshake > initial);
        int reason = first(t, server ? AQ_TRACE_PACKET_RECEIVED : AQ_TRACE_PACKET_SENT,
                           SPACE_HANDSHAKE, UINT64_MAX);
        cr_assert_geq(reason, 0);
        cr_expect_leq(abs(reason - initial), 2, "in the same moment: lines %d and %d", reason,
                      initial);
        cr_expect_eq(t->line[reason].time_us, t->line[initial].time_us);
        cr_expect_lt(last(t, AQ_TRACE_PACKET_RECEIVED, SPACE_INITIAL), initial);
        cr_expect_leq(last(t, AQ_TRACE_PACKET_SENT, SPACE_INITIAL), initial);
        int confirmed = state_at(t, CONN_CONFIRMED);
        cr_assert_geq(confirmed, 0);
        cr_expect_eq(handshake, confirmed + 1);
        cr_expect_lt(last(t, AQ_TRACE_PACKET_SENT, SPACE_HANDSHAKE), handshake);
    }
    pair_free(p);
}

/* RFC 9001 §4.1.1, §4.1.2: complete when TLS is, which for the server is confirmed too; a client
 * waits for HANDSHAKE_DONE, and can use its streams meanwhile. RFC 9001 §4.1.2: without it, it
 * is not confirmed. RFC 9000 §19.20: HANDSHAKE_DONE is not sent before. */
Test(handshake, complete_and_confirmed)
{
    struct pair *p = traced();
    aq_stream stream;
    struct aq_iov iov = {(const uint8_t *)"early", 5};
    pair_dial(p);
    for (unsigned i = 0; i < 1000 && !side_count(&p->client, AQ_EVENT_CONNECTED); i++)
        pair_run(p, 100);
    cr_assert_eq(side_count(&p->client, AQ_EVENT_CONNECTED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CONNECTED), 0,
                 "the client's Finished has not come");
    p->server.mute = true;
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), 5);
    pair_run(p, 100000);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CONNECTED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_READABLE), 1);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 0);
    cr_expect_eq(aq_key_update(p->client.ep, p->client.conn, p->now_us), AQ_BLOCKED);
    p->server.mute = false;
    pair_run(p, 3000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    const struct story *t = story_of(&p->server);
    cr_expect_eq(t->line[state_at(t, CONN_CONNECTED)].time_us,
                 t->line[state_at(t, CONN_CONFIRMED)].time_us);
    pair_free(p);
}

/* RFC 9000 §12.2: the server's first datagram holds an Initial and a Handshake packet to the
 * same id. One to another id behind the first is ignored; noise behind it does not hurt it. */
Test(handshake, coalesced)
{
    for (unsigned change = 0; change < 3; change++) {
        struct pair *p = pair_new(NULL, NULL);
        struct pair_datagram d;
        struct packet_head a, b;
        pair_dial(p);
        side_turn(&p->client, p->now_us);
        while (side_take(&p->client, &d))
            side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
        side_turn(&p->server, p->now_us);
        cr_assert(side_take(&p->server, &d));
        cr_expect_leq(d.size, 3600, "RFC 9000 §8.1");
        cr_assert_eq(packet_parse_greased(d.data, d.size, 8, &a), AQ_OK);
        cr_assert_lt(a.size, d.size);
        cr_assert_eq(packet_parse_greased(d.data + a.size, d.size - a.size, 8, &b), AQ_OK);
        cr_expect(a.type == PACKET_INITIAL && b.type == PACKET_HANDSHAKE
                  && cid_equal(&a.dcid, &b.dcid));
        if (change == 1)
            d.data[a.size + 6] ^= 1;
        if (change == 2)
            d.data[a.size + 5] = CID_MAX + 1;
        side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
        struct aq_endpoint_stats s = side_stats(&p->client);
        cr_expect_eq(s.drop_auth, 0);
        cr_expect_eq(s.drop_short, change == 2);
        pair_run(p, 5000000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
        cr_expect_eq(pair_stats(&p->client).recv_packets > 2, true);
        pair_free(p);
    }
}

/* Packets ahead of their keys wait: the datagrams of the server's flight in the wrong order cost
 * nothing. RFC 9001 §5.7: 1-RTT packets that come ahead wait. */
Test(handshake, reordered)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_datagram d, first_one;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    p->now_us += PAIR_DELAY_US;
    while (side_take(&p->client, &d))
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    side_turn(&p->server, p->now_us);
    cr_assert(side_take(&p->server, &first_one));
    p->now_us += PAIR_DELAY_US;
    unsigned n = 0;
    struct packet_head h;
    cr_assert_eq(packet_parse_greased(first_one.data, first_one.size, 8, &h), AQ_OK);
    cr_assert_lt(h.size, first_one.size);
    side_recv(&p->client, &p->server.addr, first_one.data + h.size, first_one.size - h.size,
              p->now_us);
    while (side_take(&p->server, &d)) {
        side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
        n++;
    }
    cr_expect_eq(side_stats(&p->client).drop_no_keys, 0, "held, %u datagrams more", n);
    side_recv(&p->client, &p->server.addr, first_one.data, h.size, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONNECTED), 1, "at once");
    pair_run(p, 1000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(pair_stats(&p->client).pto_count, 0);
    pair_free(p);
}

/* RFC 9002 §2: PADDING counts as in flight: a client's first datagram with all its 1,200 bytes,
 * and one that holds nothing but an ACK and PADDING too. RFC 9001 §9.3 */
Test(handshake, padding_is_in_flight)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_datagram d;
    struct packet_head h;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    cr_expect_eq(p->client.sent_bytes % 1200, 0, "RFC 9000 §14.1");
    cr_expect_eq(pair_stats(&p->client).in_flight_bytes, p->client.sent_bytes);
    p->now_us += PAIR_DELAY_US;
    while (side_take(&p->client, &d))
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    side_turn(&p->server, p->now_us);
    cr_assert(side_take(&p->server, &d));
    cr_assert_eq(packet_parse_greased(d.data, d.size, 8, &h), AQ_OK);
    p->now_us += PAIR_DELAY_US;
    side_recv(&p->client, &p->server.addr, d.data, h.size,
              p->now_us); /* the Initial alone: it acknowledges ours */
    uint64_t before = p->client.sent_bytes;
    side_turn(&p->client, p->now_us);
    cr_expect_eq(p->client.sent_bytes - before, 1200);
    cr_expect_eq(pair_stats(&p->client).in_flight_bytes, 1200);
    pair_run(p, 2000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(pair_stats(&p->client).in_flight_bytes, 0);
    cr_expect_eq(pair_stats(&p->server).in_flight_bytes, 0);
    pair_free(p);
}

/* RFC 9002 §6.2: nobody answers: the first flight again after 999 ms (three times the initial
 * RTT), then twice as long each time. */
Test(handshake, probes_back_off)
{
    struct pair *p = traced();
    uint64_t at[8], expected = 999000;
    unsigned n = 0;
    pair_dial(p);
    p->client.mute = true;
    pair_run(p, 9000000);
    const struct story *t = story_of(&p->client);
    for (int i = 0; i < t->count && n < 8; i++) {
        if (t->line[i].type == AQ_TRACE_PTO)
            at[n++] = t->line[i].time_us;
    }
    cr_assert_eq(n, 3);
    cr_expect_eq(at[0], 1000000 + expected);
    cr_expect_eq(at[1] - at[0], 2 * expected);
    cr_expect_eq(at[2] - at[1], 4 * expected);
    cr_expect_eq(pair_stats(&p->client).pto_count, 3);
    cr_expect_geq(p->client.sent, 4);
    pair_free(p);
}

/* RFC 9002 §6.2.2.1: the client's Initial is acknowledged and the rest of the server's flight
 * lost, so that the server may be at the 3x limit: the client, with nothing in flight, sends
 * Handshake probes until it knows better. */
Test(handshake, client_frees_the_server)
{
    struct pair *p = traced();
    struct pair_datagram d;
    struct packet_head h;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    while (side_take(&p->client, &d))
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    side_turn(&p->server, p->now_us);
    cr_assert(side_take(&p->server, &d));
    p->server.outs = 0;
    cr_assert_eq(packet_parse_greased(d.data, d.size, 8, &h), AQ_OK);
    side_recv(&p->client, &p->server.addr, d.data, h.size, p->now_us); /* the Initial alone */
    p->client.mute = p->server.mute = true;
    pair_run(p, 100);
    uint64_t sent = p->client.sent;
    pair_run(p, 4000000);
    cr_expect_gt(p->client.sent, sent, "it waits for ever");
    const struct story *t = story_of(&p->client);
    int probe = first(t, AQ_TRACE_PTO, SPACE_HANDSHAKE, UINT64_MAX);
    cr_expect_geq(probe, 0);
    cr_expect_gt(last(t, AQ_TRACE_PACKET_SENT, SPACE_HANDSHAKE), probe);
    p->client.mute = p->server.mute = false;
    pair_run(p, 5000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
    pair_free(p);
}

/* RFC 9000 §8.1: whatever is lost and repeated, a server sends at most three times what came. */
Test(handshake, three_times)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_datagram d;
    uint64_t received = 0;
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    while (side_take(&p->client, &d)) {
        received += d.size;
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    }
    p->server.mute = true;
    p->client.mute = true;
    for (unsigned i = 0; i < 95; i++) {
        pair_run(p, 100000);
        cr_expect_leq(p->server.sent_bytes, 3 * received);
    }
    cr_expect_gt(p->server.sent_bytes, received);
    pair_free(p);
}
