/* tests/grease.c -- the fixed bit, which may be 0 between two ends that agreed on it (RFC 9287). */
#include "core/packet.h"
#include "tests/stranger.h"

static struct pair *pair_of(bool client_offers, bool server_offers)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.no_grease_bit = !client_offers;
    server.no_grease_bit = !server_offers;
    return pair_new(&client, &server);
}

struct seen {
    unsigned set, clear, long_clear;
};

static void look(struct side *from, struct seen *seen)
{
    for (unsigned i = 0; i < from->outs; i++) {
        const uint8_t *data = from->out[i].data;
        bool set = data[0] & PACKET_FIXED_BIT;
        seen->set += set;
        seen->clear += !set;
        seen->long_clear += !set && data[0] & 0x80;
    }
}

/* Runs in small steps, so that each datagram is looked at once. */
static void run(struct pair *p, unsigned steps, struct seen seen[2])
{
    for (unsigned i = 0; i < steps; i++) {
        pair_deliver(p, &p->client, &p->server);
        pair_deliver(p, &p->server, &p->client);
        cr_assert_eq(p->client.outs + p->server.outs, 0);
        side_turn(&p->client, p->now_us);
        side_turn(&p->server, p->now_us);
        look(&p->client, &seen[0]);
        look(&p->server, &seen[1]);
        p->now_us += PAIR_DELAY_US;
    }
}

/* RFC 9287 §3.1: the bit is left to chance towards who offered it, in rows of packets and in single
 * ones, and never towards others; RFC 9287 §3: who offered it takes both. */
Test(grease, bit)
{
    for (unsigned row = 0; row < 4; row++) {
        bool client = row & 1, server = row & 2;
        static uint8_t bytes[200000];
        struct pair *p = pair_of(client, server);
        struct aq_iov iov = {bytes, sizeof bytes};
        struct seen seen[2] = {{0}};
        aq_stream stream;
        pair_dial(p);
        run(p, 10, seen);
        cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
        cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
        aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN);
        for (unsigned i = 0; i < 20; i++) { /* acknowledgements and windows */
            aq_ping(p->server.ep, p->server.conn, p->now_us);
            run(p, 1, seen);
        }
        cr_expect(seen[0].set + seen[0].clear > 80 && seen[1].set + seen[1].clear > 20);
        for (unsigned side = 0; side < 2; side++) {
            bool may = side ? client : server;
            cr_expect(seen[side].set > 5, "row %u side %u", row, side);
            cr_expect(may ? seen[side].clear > 5 : seen[side].clear == 0, "row %u side %u: %u", row,
                      side, seen[side].clear);
        }
        cr_expect_eq(side_stats(&p->client).drop_not_quic + side_stats(&p->server).drop_not_quic,
                     0);
        cr_expect_eq(pair_stats(&p->client).lost_packets, 0);
        pair_free(p);
    }
}

/* RFC 9287 §3.1: not before the peer's parameters are there. */
Test(grease, not_before_parameters)
{
    for (unsigned i = 0; i < 20; i++) {
        struct pair *p = pair_of(true, true);
        struct pair_datagram first = first_flight(p);
        cr_expect(first.data[0] & PACKET_FIXED_BIT);
        pair_free(p);
    }
}

/* RFC 9000 §17.2, §17.3.1: where it was not offered, a packet without the bit is none. */
Test(grease, not_offered)
{
    for (unsigned offered = 0; offered < 2; offered++) {
        struct pair *p = pair_of(true, offered);
        struct pair_datagram d = first_flight(p), one;
        d.data[0] ^= PACKET_FIXED_BIT; /* not authentic any more, where it is a packet at all */
        give(p, &p->client.addr, d.data, d.size);
        cr_expect_eq(side_stats(&p->server).drop_not_quic, !offered);
        cr_expect_eq(side_stats(&p->server).drop_auth, offered);
        pair_free(p);
        p = pair_of(true, offered);
        pair_dial(p);
        pair_run(p, 500000);
        p->client.outs = 0;
        aq_ping(p->client.ep, p->client.conn, p->now_us);
        side_turn(&p->client, p->now_us);
        cr_assert(side_take(&p->client, &one));
        one.data[0] ^= PACKET_FIXED_BIT;
        uint64_t auth = side_stats(&p->server).drop_auth;
        side_recv(&p->server, &p->client.addr, one.data, one.size, p->now_us);
        cr_expect_eq(side_stats(&p->server).drop_not_quic, !offered);
        cr_expect_eq(side_stats(&p->server).drop_auth - auth, offered);
        pair_free(p);
    }
}
