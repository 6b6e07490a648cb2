/* loss_late.c -- tests of core/loss.c and core/sent.c for packets that were given up and arrive
 * after all: what is told, how long it is remembered, and how the thresholds move. */
#include "tests/loss_world.h"

/* RTT 100 ms, and the first packets sent at 1 s. */
static struct world *world_at_rtt(void)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < PATHS_MAX; i++)
        rtt_sample(&w->rtt[i], 100 * MS, 0, 0);
    return w;
}

/* RFC 9002 §6.1: a packet that is lost and acknowledged later is told once, with how late it came;
 * its bytes have left the flight before, and its records keep the one fate they had. */
Test(loss_late, told_once)
{
    struct world *w = world_at_rtt();
    send_many(w, 10, SECOND);
    cr_assert_eq(ack_range(w, 1, 5, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_expect_eq(w->fate[0], SENT_LOST);
    cr_expect_eq(w->result.path[0].lost_packets, 1);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);

    cr_assert_eq(ack_range(w, 0, 6, SECOND + 130 * MS), AQ_OK);
    const struct loss_path *sum = &w->result.path[0];
    cr_expect_eq(sum->spurious_packets, 1);
    cr_expect_eq(sum->spurious_oldest_sent_us, SECOND);
    cr_expect_eq(sum->spurious_distance, 6);
    cr_expect_eq(sum->spurious_late_us, 130 * MS);
    cr_expect_eq(sum->acked_packets, 1, "only packet 6");
    cr_expect_eq(sum->acked_bytes, 1000);
    cr_expect(w->result.any_acked);
    cr_expect_eq(w->record_fate[0], SENT_LOST);

    cr_assert_eq(ack_range(w, 0, 7, SECOND + 131 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);
    world_end(w);
}

/* An ACK that names nothing but what was lost is still news: the peer is there. */
Test(loss_late, alone)
{
    struct world *w = world_at_rtt();
    send_many(w, 10, SECOND);
    cr_assert_eq(ack_range(w, 1, 5, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_assert_eq(ack_range(w, 0, 5, SECOND + 110 * MS), AQ_OK);
    cr_expect(w->result.any_acked);
    cr_expect(!w->result.eliciting_acked);
    cr_expect(!w->result.has_sample);
    cr_expect_eq(w->result.path[0].spurious_packets, 1);
    cr_expect_eq(w->result.path[0].acked_packets, 0);
    world_end(w);
}

/* Several, some of which really are lost; the ACK's ranges and the lost ones interleave. */
Test(loss_late, among_ranges)
{
    struct world *w = world_at_rtt();
    bool named[64] = {false};
    send_many(w, 40, SECOND);
    for (unsigned i = 0; i < 30; i++)
        named[i] = i % 3 == 0;
    cr_assert_eq(ack_named(w, named, 40, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_expect_eq(w->result.path[0].lost_packets, 16); /* those below 25: 27 is the largest */
    named[4] = named[5] = named[13] = named[25] = true;
    cr_assert_eq(ack_named(w, named, 40, SECOND + 120 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 3);
    cr_expect_eq(w->result.path[0].acked_packets, 1, "25 was not lost");
    world_end(w);
}

/* Slots that new packets have taken tell nothing; nor does a ring whose memory was given back. */
Test(loss_late, forgotten)
{
    struct world *w = world_at_rtt();
    send_many(w, 10, SECOND);
    uint32_t cap = w->ring.cap;
    cr_assert_eq(ack_range(w, 1, 9, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_assert_eq(w->ring.cap, 0, "all have their fate");
    cr_assert_eq(ack_range(w, 0, 9, SECOND + 110 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);

    uint64_t lost = send(w, 2 * SECOND);
    send_many(w, 5, 2 * SECOND);
    cr_assert_eq(ack_range(w, lost + 1, lost + 4, 2 * SECOND + 100 * MS), AQ_OK);
    detect(w, 0, 2 * SECOND + 100 * MS);
    cr_assert_eq(w->fate[lost], SENT_LOST);
    for (unsigned i = 0; i < cap; i++) { /* one at a time, so that the ring does not grow */
        uint64_t number = send(w, 2 * SECOND + 110 * MS);
        cr_assert_eq(ack_range(w, number - 1, number - 1, 2 * SECOND + 110 * MS), AQ_OK);
        detect(w, 0, 2 * SECOND + 110 * MS);
    }
    cr_expect_eq(w->ring.cap, cap);
    cr_assert_eq(ack_range(w, lost, lost + 4, 2 * SECOND + 111 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);
    world_end(w);
}

/* The ring has grown since: what stood in it has moved along, what had left it is forgotten. Packet
 * 0 is on another, slower path. */
Test(loss_late, grown)
{
    struct world *w = world_at_rtt();
    rtt_sample(&w->rtt[1], 9 * SECOND, 0, 0);
    w->rtt[1].reorder_packets = 200;
    send_on(w, 1, FLIGHT, SECOND);
    send_many(w, 10, SECOND);
    uint32_t cap = w->ring.cap;
    cr_assert_eq(ack_range(w, 2, 6, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_assert_eq(w->fate[1], SENT_LOST);
    cr_assert_eq(w->ring.first, 0);
    send_many(w, 2 * cap, SECOND + 100 * MS);
    cr_assert_gt(w->ring.cap, cap);
    cr_assert_eq(ack_range(w, 1, 7, SECOND + 130 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 1);

    uint64_t lost = w->ring.next;
    send_many(w, 6, SECOND + 140 * MS);
    cr_assert_eq(ack_range(w, 0, lost - 1, SECOND + 150 * MS), AQ_OK);
    cr_assert_eq(ack_range(w, lost + 1, lost + 4, SECOND + 150 * MS), AQ_OK);
    detect(w, 0, SECOND + 150 * MS);
    cr_assert_eq(w->fate[lost], SENT_LOST);
    cap = w->ring.cap;
    send_many(w, cap + 10, SECOND + 150 * MS);
    cr_assert_gt(w->ring.cap, cap);
    cr_assert_eq(ack_range(w, lost, lost + 5, SECOND + 160 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);
    world_end(w);
}

/* A lost MTU probe says nothing about reordering. */
Test(loss_late, mtu_probe)
{
    struct world *w = world_at_rtt();
    send_on(w, 0, FLIGHT | SENT_MTU_PROBE, SECOND);
    send_many(w, 9, SECOND);
    cr_assert_eq(ack_range(w, 1, 5, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_assert_eq(w->fate[0], SENT_LOST);
    cr_assert_eq(ack_range(w, 0, 6, SECOND + 110 * MS), AQ_OK);
    cr_expect_eq(w->result.path[0].spurious_packets, 0);
    world_end(w);
}

/* RFC 9002 §6.1.1, RFC 9002 §6.1.2: the thresholds rise with what came late, within bounds, and
 * fall again when losses are real. */
Test(loss_late, thresholds)
{
    struct rtt rtt;
    rtt_init(&rtt);
    rtt_sample(&rtt, 80 * MS, 0, 0);
    struct loss_path near = {
        .spurious_packets = 1, .spurious_distance = 2, .spurious_late_us = 80 * MS};
    rtt_adapt(&rtt, &near);
    cr_expect_eq(rtt.reorder_packets, 0);
    cr_expect_eq(rtt.reorder_eighths, 0);

    struct loss_path far = {
        .spurious_packets = 1, .spurious_distance = 3, .spurious_late_us = 91 * MS};
    rtt_adapt(&rtt, &far);
    cr_expect_eq(rtt.reorder_packets, 3, "doubled");
    cr_expect_eq(rtt.reorder_eighths, 1);
    rtt_adapt(&rtt, &far);
    cr_expect_eq(rtt.reorder_packets, 3, "three is within six");
    cr_expect_eq(rtt.reorder_eighths, 1, "91 ms is within 100");

    struct loss_path awful = {
        .spurious_packets = 9, .spurious_distance = 1000, .spurious_late_us = 9 * SECOND};
    for (unsigned i = 0; i < 40; i++)
        rtt_adapt(&rtt, &awful);
    cr_expect_eq(rtt.reorder_packets + LOSS_PACKET_THRESHOLD, LOSS_PACKET_THRESHOLD_MAX);
    cr_expect_eq(rtt.reorder_eighths + LOSS_TIME_EIGHTHS, LOSS_TIME_EIGHTHS_MAX);

    struct loss_path real = {.lost_packets = 1};
    for (unsigned i = 0; i < 15; i++)
        rtt_adapt(&rtt, &real);
    cr_expect_eq(rtt.reorder_packets, 21);
    rtt_adapt(&rtt, &real);
    cr_expect_eq(rtt.reorder_packets, 10);
    cr_expect_eq(rtt.reorder_eighths, 3);
    for (unsigned i = 0; i < 64; i++)
        rtt_adapt(&rtt, &real);
    cr_expect_eq(rtt.reorder_packets, 0);
    cr_expect_eq(rtt.reorder_eighths, 0);
}

/* And what they are, is what decides: six packets instead of three, 10/8 instead of 9/8. */
Test(loss_late, thresholds_decide)
{
    struct world *w = world_at_rtt();
    w->rtt[0].reorder_packets = 3;
    w->rtt[0].reorder_eighths = 1;
    send_many(w, 10, SECOND);
    cr_assert_eq(ack_range(w, 1, 5, SECOND + 100 * MS), AQ_OK);
    detect(w, 0, SECOND + 100 * MS);
    cr_expect_eq(w->fate[0], SENT_NONE);
    cr_expect_eq(w->ring.loss_time_us, SECOND + 125 * MS);
    detect(w, 0, SECOND + 124 * MS);
    cr_expect_eq(w->fate[0], SENT_NONE);
    cr_assert_eq(ack_range(w, 6, 6, SECOND + 124 * MS), AQ_OK);
    detect(w, 0, SECOND + 124 * MS);
    cr_expect_eq(w->fate[0], SENT_LOST, "six later ones");
    world_end(w);
}
