/* ackfreq.c -- tests of core/ackfreq.c and of ACK_FREQUENCY and IMMEDIATE_ACK on the wire, both
 * ways (draft-ietf-quic-ack-frequency). What the receiver does with each rule is in tests/ack.c;
 * errors are rows of tests/sim/attacks.c and tests/hostile.c. */
#include "core/ackfreq.h"
#include "core/loss.h"
#include "tests/pair.h"
#include "tests/sim/hostile.h"

/* ---- what is asked --------------------------------------------------------------------------- */

static struct ackfreq offered(uint64_t min_us, uint64_t max_us)
{
    struct ackfreq f;
    ackfreq_init(&f);
    ackfreq_on_params(&f, true, min_us, max_us);
    return f;
}

/* Asks for what is due; its sequence number. */
static uint64_t send_one(struct ackfreq *f)
{
    cr_assert(f->due);
    struct frame frame = ackfreq_frame(f);
    cr_expect_eq(frame.ack_frequency.seq, f->next_seq);
    ackfreq_on_sent(f);
    return frame.ack_frequency.seq;
}

/* draft-ietf-quic-ack-frequency §3: nothing is asked of a peer that does not offer it, and it is
 * pinged as RFC 9000 says. RFC 9000 §19.21 */
Test(ackfreq, only_where_offered)
{
    struct ackfreq f;
    ackfreq_init(&f);
    cr_expect_eq(ackfreq_delay_us(&f), 25000, "RFC 9000 §18.2");
    ackfreq_on_params(&f, false, 0, 40000);
    ackfreq_look(&f, 10000, 100000, 1);
    cr_expect(!f.due);
    cr_expect_eq(ackfreq_delay_us(&f), 40000);
    cr_expect_eq(ackfreq_ping(&f), FRAME_PING);
    f = offered(1000, 40000);
    cr_expect_eq(ackfreq_ping(&f), FRAME_IMMEDIATE_ACK);
}

/* draft-ietf-quic-ack-frequency §8: a share of the window, a part of the round trip. §9: the
 * threshold of our own loss detection. */
Test(ackfreq, window_and_round_trip)
{
    static const struct {
        uint64_t window, rtt_us, min_us, max_us, threshold, delay_us;
    } rows[] = {
        {31, 100000, 1000, 25000, 1, 0}, /* too small to ask */
        {32, 100000, 1000, 25000, 4, 25000},
        {100, 40000, 1000, 25000, 12, 10000},
        {1023, 40000, 1000, 25000, 127, 10000},
        {1000000, 40000, 1000, 25000, ACKFREQ_PACKETS_MAX, 10000},
        {100, 400, 10, 25000, 12, ACKFREQ_MIN_US}, /* a short round trip */
        {100, 400, 7000, 25000, 12, 7000},         /* a peer with slow timers */
        {100, 400, 0, 500, 12, 500},               /* one that never waits long */
        {100, 400, 0, 0, 12, 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ackfreq f = offered(rows[i].min_us, rows[i].max_us);
        ackfreq_look(&f, rows[i].window, rows[i].rtt_us, 5);
        cr_expect_eq(f.due, rows[i].threshold > 1, "row %u", i);
        if (!f.due)
            continue;
        struct frame frame = ackfreq_frame(&f);
        cr_expect_eq(frame.ack_frequency.threshold, rows[i].threshold, "row %u", i);
        cr_expect_eq(frame.ack_frequency.max_delay_us, rows[i].delay_us, "row %u", i);
        cr_expect_eq(frame.ack_frequency.reordering, LOSS_PACKET_THRESHOLD);
    }
}

/* draft-ietf-quic-ack-frequency §8.1: not each change is worth a frame, nor more than one a round
 * trip; and one is on its way at most. */
Test(ackfreq, seldom)
{
    struct ackfreq f = offered(1000, 25000);
    ackfreq_look(&f, 80, 20000, 0);
    uint64_t seq = send_one(&f);
    ackfreq_look(&f, 800, 20000, 30000);
    cr_expect(!f.due, "one is on its way");
    ackfreq_on_acked(&f, seq);
    ackfreq_look(&f, 159, 20000, 60000);
    cr_expect(!f.due, "less than twice as much");
    ackfreq_look(&f, 800, 20000, 79999);
    cr_expect(!f.due, "looked at less than a round trip ago");
    ackfreq_look(&f, 160, 20000, 80000);
    cr_expect(f.due);
    ackfreq_on_acked(&f, send_one(&f));
    ackfreq_look(&f, 90, 20000, 110000);
    cr_expect(!f.due, "more than half");
    ackfreq_look(&f, 8, 20000, 140000); /* the window broke down: as RFC 9000 says again */
    cr_expect_eq(ackfreq_frame(&f).ack_frequency.threshold, 1);
    ackfreq_on_acked(&f, send_one(&f));
    ackfreq_look(&f, 8, 80000, 400000);
    cr_expect(!f.due, "a small window asks for nothing");
}

/* draft-ietf-quic-ack-frequency §7: the greater of the delay that holds and those in flight, even
 * of one that seems lost; it is asked again under a new number. */
Test(ackfreq, delay_meanwhile)
{
    struct ackfreq f = offered(1000, 25000);
    ackfreq_look(&f, 100, 8000, 0);
    uint64_t seq = send_one(&f);
    cr_expect_eq(ackfreq_delay_us(&f), 25000, "2 ms were asked, nobody knows whether it was heard");
    ackfreq_on_acked(&f, seq);
    cr_expect_eq(ackfreq_delay_us(&f), 2000);
    ackfreq_look(&f, 100, 80000, 1000000);
    seq = send_one(&f);
    cr_expect_eq(ackfreq_delay_us(&f), 20000);
    ackfreq_on_lost(&f, seq);
    cr_expect_eq(ackfreq_delay_us(&f), 20000, "it may have come all the same");
    uint64_t again = send_one(&f);
    cr_expect_eq(again, seq + 1);
    ackfreq_on_lost(&f, seq);
    cr_expect(!f.due, "a newer one was sent");
    ackfreq_on_acked(&f, seq);
    cr_expect_eq(f.held_us, 2000, "the newest has no fate yet");
    ackfreq_on_acked(&f, again);
    cr_expect_eq(ackfreq_delay_us(&f), 20000);
    ackfreq_look(&f, 100, 8000, 2000000);
    seq = send_one(&f);
    ackfreq_on_lost(&f, seq);
    ackfreq_on_acked(&f, seq);
    cr_expect(!f.due, "it was late, not lost");
    cr_expect_eq(ackfreq_delay_us(&f), 2000);
}

/* ---- on the wire: asked by us ---------------------------------------------------------------- */

static uint8_t bytes[1 << 20];

/* A window of some 300 packets, which the wire of pair.h can hold. */
static struct pair *pair_wide(void)
{
    struct aq_config config;
    pair_config(&config, true);
    config.stream_window = config.stream_window_max = 400000;
    config.conn_window = config.conn_window_max = 400000;
    return pair_connected(NULL, &config);
}

/* Lets the client send size bytes on a new stream, and the server read all of them. */
static void transfer(struct pair *p, size_t size)
{
    struct side *c = &p->client, *s = &p->server;
    struct aq_iov iov[64];
    aq_stream stream;
    bool fin = false;
    cr_assert_eq(aq_stream_open(c->ep, c->conn, false, NULL, &stream), AQ_OK);
    for (unsigned turns = 0; turns < 4000 && !fin; turns++) {
        iov[0] = (struct aq_iov){bytes, size < sizeof bytes ? size : sizeof bytes};
        int64_t taken = aq_stream_write(c->ep, stream, iov, 1, size <= sizeof bytes ? AQ_FIN : 0);
        if (taken > 0)
            size -= (size_t)taken;
        c->events = s->events = 0; /* there is room for few of them */
        pair_run(p, 5000);
        if (!s->stream)
            continue;
        int n = aq_stream_peek(s->ep, s->stream, iov, 64, &fin);
        uint64_t got = 0;
        for (int i = 0; i < n; i++)
            got += iov[i].size;
        cr_assert_eq(aq_stream_consume(s->ep, s->stream, got), AQ_OK);
    }
    cr_assert(fin, "the transfer stands still");
}

/* draft-ietf-quic-ack-frequency §8: a large window costs few ACKs; without the extension every
 * second packet, coming alone, has one. Nothing is lost by it: the window and the time are the
 * same. */
Test(ackfreq, a_long_transfer)
{
    struct pair *p = pair_wide();
    struct aq_conn_stats before = pair_stats(&p->client);
    cr_expect_eq(before.ack_every_packets, 2);
    cr_expect_eq(before.ack_within_us, 25000);
    transfer(p, 8 << 20);
    struct aq_conn_stats c = pair_stats(&p->client), s = pair_stats(&p->server);
    cr_expect_geq(c.ack_every_packets, 5, "asked for one in %d", (int)c.ack_every_packets);
    cr_expect_leq(c.ack_every_packets - 1, c.cwnd_bytes / c.mtu / 4);
    cr_expect_leq(c.ack_within_us, c.rtt_us / 2);
    cr_expect_lt(s.ack_packets + c.acks_received, c.sent_packets / 4, "%d ACKs, %d packets",
                 (int)c.acks_received, (int)c.sent_packets);
    cr_expect_eq(c.lost_packets, 0);
    cr_expect_eq(c.pto_count, 0);
    pair_free(p);
}

/* draft-ietf-quic-ack-frequency §9: losses are seen as soon as without it: three packets later, not
 * an eighth of the window or a delay later. A lost packet in a large window needs no probe. */
Test(ackfreq, a_loss_in_a_large_window)
{
    struct pair *p = pair_wide();
    transfer(p, 8 << 20);
    struct side *c = &p->client;
    p->server.stream = 0;
    uint64_t lost = pair_stats(c).lost_packets, ptos = pair_stats(c).pto_count;
    c->lose_nth = c->sent + 40;
    transfer(p, 1 << 20);
    cr_expect_eq(pair_stats(c).lost_packets, lost + 1);
    cr_expect_eq(pair_stats(c).pto_count, ptos);
    pair_free(p);
}

/* RFC 9000 §13.2.2, draft-ietf-quic-ack-frequency §6.4: what comes in one batch of datagrams, or in
 * several before the host sends, gets one ACK; and it rides with data that flows back. */
Test(ackfreq, one_ack_a_batch)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct side *c = &p->client, *s = &p->server;
    struct pair_datagram d;
    aq_stream stream;
    struct aq_iov iov = {bytes, 8000};
    cr_assert_eq(aq_stream_open(c->ep, c->conn, false, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(c->ep, stream, &iov, 1, 0), 8000);
    side_turn(c, p->now_us);
    cr_assert_geq(c->outs, 5);
    uint64_t sent = s->sent, alone = pair_stats(s).ack_packets;
    while (side_take(c, &d))
        side_recv(s, &c->addr, d.data, d.size, p->now_us);
    side_turn(s, p->now_us);
    cr_expect_eq(s->sent, sent + 1, "one datagram");
    cr_expect_eq(pair_stats(s).ack_packets, alone + 1);
    pair_run(p, 100000);
    cr_assert_eq(aq_stream_write(c->ep, stream, &iov, 1, 0), 8000);
    side_turn(c, p->now_us);
    sent = s->sent;
    alone = pair_stats(s).ack_packets;
    while (side_take(c, &d))
        side_recv(s, &c->addr, d.data, d.size, p->now_us);
    iov.size = 100;
    cr_assert_eq(aq_stream_write(s->ep, s->stream, &iov, 1, 0), 100);
    uint64_t acks = pair_stats(c).acks_received;
    side_turn(s, p->now_us);
    cr_expect_eq(s->sent, sent + 1);
    cr_expect_eq(pair_stats(s).ack_packets, alone, "it went with the answer");
    pair_run(p, 20000);
    cr_expect_geq(pair_stats(c).acks_received, acks + 1);
    pair_free(p);
}

/* ---- on the wire: a scripted peer ------------------------------------------------------------ */

static void offer(struct params *params, const struct hostile *peer)
{
    (void)peer;
    params->min_ack_delay_us = 1000;
    params_set(params, PARAM_MIN_ACK_DELAY);
}

/* draft-ietf-quic-ack-frequency §3: we say so ourselves, within our max_ack_delay. */
static void short_delay(struct aq_config *config)
{
    config->max_ack_delay_us = 700;
}

Test(ackfreq, our_parameter)
{
    for (unsigned i = 0; i < 4; i++) {
        bool client = i & 1, shorter = i & 2;
        struct hostile_config config = {
            .stage = STAGE_DONE, .server = client, .config = shorter ? short_delay : NULL};
        struct hostile *peer = hostile_new(&config);
        struct params params;
        const uint8_t *data;
        size_t size;
        cr_assert_not_null(peer);
        cr_assert(tls_peer_params(&peer->tls, &data, &size));
        cr_assert_eq(params_decode(&params, client ? BY_CLIENT : BY_SERVER, data, size), AQ_OK);
        cr_expect(params_has(&params, PARAM_MIN_ACK_DELAY));
        cr_expect_eq(params.min_ack_delay_us, shorter ? 700 : ACKFREQ_MIN_US);
        hostile_free(peer);
    }
}

/* draft-ietf-quic-ack-frequency §7: a probe asks for its ACK at once; §5: so does a question of the
 * application. A peer that does not offer it sees PING only. */
Test(ackfreq, probes)
{
    for (unsigned knows = 0; knows < 2; knows++) {
        struct hostile_config config = {.stage = STAGE_DONE, .params = knows ? offer : NULL};
        struct hostile *peer = hostile_new(&config);
        cr_assert_not_null(peer);
        hostile_wait(peer, 2000000);
        cr_expect_eq(peer->frames_seen[FRAME_IMMEDIATE_ACK] > 0, knows,
                     "its HANDSHAKE_DONE was not acknowledged");
        uint64_t pings = peer->frames_seen[FRAME_PING],
                 now = peer->frames_seen[FRAME_IMMEDIATE_ACK];
        cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
        hostile_wait(peer, 1);
        cr_expect_eq(peer->frames_seen[FRAME_PING], pings + !knows);
        cr_expect_eq(peer->frames_seen[FRAME_IMMEDIATE_ACK], now + knows);
        cr_expect_eq(peer->frames_seen[FRAME_ACK_FREQUENCY], 0, "nothing flows");
        hostile_free(peer);
    }
}

/* Says that all came, in order. */
static void acknowledge(struct hostile *peer)
{
    uint8_t frame[32];
    struct writer w = writer_make(frame, sizeof frame);
    uint64_t largest = peer->space[2].received - 1;
    write_u8(&w, FRAME_ACK);
    write_varint(&w, largest);
    write_varint(&w, 0);
    write_varint(&w, 0);
    write_varint(&w, largest);
    hostile_send(peer, PACKET_ONE_RTT, frame, (size_t)(w.p - frame));
}

/* draft-ietf-quic-ack-frequency §8.3: a probe of the path's MTU asks as well, in place of its PING.
 */
Test(ackfreq, mtu_probe)
{
    struct hostile_config config = {.server = true, .stage = STAGE_DONE, .params = offer};
    struct hostile *peer = hostile_new(&config);
    struct aq_iov iov = {bytes, 40000};
    aq_stream stream;
    cr_assert_not_null(peer);
    acknowledge(peer);
    uint64_t now = peer->frames_seen[FRAME_IMMEDIATE_ACK], pings = peer->frames_seen[FRAME_PING];
    cr_assert_eq(aq_stream_open(peer->ep, peer->conn, false, NULL, &stream), AQ_OK);
    int64_t taken = aq_stream_write(peer->ep, stream, &iov, 1, 0);
    cr_assert_gt(taken, 20000);
    for (unsigned i = 0; i < 20; i++) {
        hostile_wait(peer, 1000);
        acknowledge(peer);
    }
    struct aq_conn_stats stats = {.size = sizeof stats};
    cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
    cr_expect_eq(stats.mtu, 1452);
    cr_expect_eq(peer->frames_seen[FRAME_IMMEDIATE_ACK], now + 1);
    cr_expect_eq(peer->frames_seen[FRAME_PING], pings);
    hostile_free(peer);
}

static uint64_t acks_seen(const struct hostile *peer)
{
    return peer->frames_seen[FRAME_ACK] + peer->frames_seen[FRAME_ACK_ECN];
}

/* draft-ietf-quic-ack-frequency §5: a lone packet's ACK waits; with IMMEDIATE_ACK it does not. §6:
 * nor longer than was asked, and as many packets are awaited. */
Test(ackfreq, obeyed)
{
    static const uint8_t ping[] = {FRAME_PING}, immediate[] = {FRAME_IMMEDIATE_ACK},
                         ask[] = {0x40, 0xaf, 0, 4, 0x57, 0x70, 3}; /* four, 6,000 us */
    struct hostile_config config = {.stage = STAGE_DONE};
    struct hostile *peer = hostile_new(&config);
    cr_assert_not_null(peer);
    hostile_wait(peer, 100000);
    uint64_t acks = acks_seen(peer);
    hostile_send(peer, PACKET_ONE_RTT, ping, sizeof ping);
    cr_expect_eq(acks_seen(peer), acks);
    hostile_send(peer, PACKET_ONE_RTT, immediate, sizeof immediate);
    cr_expect_eq(acks_seen(peer), acks + 1);
    hostile_send(peer, PACKET_ONE_RTT, immediate, sizeof immediate);
    cr_expect_eq(acks_seen(peer), acks + 2, "a lone one");
    hostile_send(peer, PACKET_ONE_RTT, ask, sizeof ask);
    for (unsigned i = 0; i < 3; i++)
        hostile_send(peer, PACKET_ONE_RTT, ping, sizeof ping);
    cr_expect_eq(acks_seen(peer), acks + 2, "four wait");
    hostile_send(peer, PACKET_ONE_RTT, ping, sizeof ping);
    cr_expect_eq(acks_seen(peer), acks + 3);
    hostile_send(peer, PACKET_ONE_RTT, ping, sizeof ping);
    hostile_wait(peer, 5999);
    cr_expect_eq(acks_seen(peer), acks + 3);
    hostile_wait(peer, 1);
    cr_expect_eq(acks_seen(peer), acks + 4);
    hostile_free(peer);
}

/* A flood costs nothing: no memory, no frame in answer, and no more ACKs than PINGs would have had.
 */
Test(ackfreq, a_flood)
{
    enum {
        FLOOD = 2000
    };
    struct hostile_config config = {.stage = STAGE_DONE};
    struct hostile *peer = hostile_new(&config);
    cr_assert_not_null(peer);
    hostile_wait(peer, 100000);
    uint64_t acks = acks_seen(peer), datagrams = peer->datagrams;
    struct aq_conn_stats stats = {.size = sizeof stats};
    cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
    uint64_t memory = stats.memory_bytes;
    for (unsigned i = 0; i < FLOOD; i++) {
        uint8_t frames[1000];
        struct writer w = writer_make(frames, sizeof frames);
        for (unsigned j = 0; j < 8; j++) { /* more would be a storm: SECURITY.md row 23 */
            struct frame f = {.type = FRAME_ACK_FREQUENCY};
            f.ack_frequency.seq = 8 * i + 7 - j;
            f.ack_frequency.threshold = 100;
            f.ack_frequency.max_delay_us = 5000 + j;
            f.ack_frequency.reordering = j;
            frame_encode(&w, &f);
        }
        cr_assert(!w.bad);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
    }
    cr_expect_leq(acks_seen(peer) - acks, FLOOD / 100 + 1);
    cr_expect_leq(peer->datagrams - datagrams, FLOOD / 100 + 1);
    cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
    cr_expect_leq(stats.memory_bytes, memory + 4096);
    cr_expect(!peer->victim_closed);
    hostile_free(peer);
}
