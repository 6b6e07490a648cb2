/* grid.c -- see grid.h: loss 0 to 30 %, round trips of 1 to 800 ms, bursts, reordering,
 * duplication, corruption, rates and queues, MTU 1,200 to 9,000, late hosts, stepped clocks,
 * addresses that change, and all that a connection can have in it. */
#include "tests/sim/grid.h"

static uint64_t pick(struct sim_rng *rng, uint64_t from, uint64_t to)
{
    return from + sim_rng_below(rng, to - from + 1);
}

/* True for one in n. */
static bool one_in(struct sim_rng *rng, unsigned n)
{
    return sim_rng_below(rng, n) == 0;
}

/* Even in the logarithm: small values are as interesting as large ones. */
static uint64_t pick_scale(struct sim_rng *rng, uint64_t from, uint64_t to)
{
    uint64_t top = from;

    while (top < to && sim_rng_below(rng, 8))
        top = top * 3 / 2 + 1;
    return pick(rng, from, top < to ? top : to);
}

static void grid_link(struct sim_rng *rng, struct sim_link *link, uint64_t rtt_us)
{
    link->delay_us = rtt_us / 2;
    link->jitter_us = one_in(rng, 3) ? pick(rng, 0, rtt_us / 4) : 0;
    if (one_in(rng, 4)) {
        link->rate_bytes = pick_scale(rng, 64000, 20000000);
        link->queue_bytes = (uint32_t)pick(rng, 20000, 20000 + link->rate_bytes / 4);
    }
    link->loss_ppm = one_in(rng, 4) ? 0 : (uint32_t)pick_scale(rng, 100, PERCENT(30));
    if (one_in(rng, 16))
        link->loss_ppm = PERCENT(30);
    if (one_in(rng, 6) && link->loss_ppm < PERCENT(10)) {
        link->burst_ppm = (uint32_t)pick(rng, 100, 5000);
        link->burst_size = (uint32_t)pick(rng, 2, 30);
    }
    if (one_in(rng, 3)) {
        link->reorder_ppm = (uint32_t)pick_scale(rng, 1000, PERCENT(30));
        link->reorder_us = pick(rng, 1, rtt_us + 1000);
    }
    link->duplicate_ppm = one_in(rng, 3) ? (uint32_t)pick_scale(rng, 100, PERCENT(20)) : 0;
    link->corrupt_ppm = one_in(rng, 3) ? (uint32_t)pick_scale(rng, 100, PERCENT(5)) : 0;
    link->ce_ppm = one_in(rng, 4) ? (uint32_t)pick_scale(rng, 100, PERCENT(5)) : 0;
}

/* What becomes of addresses is drawn from the seed alone too. */
static void grid_paths(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    sim_rng_init(&rng, sim_mix(seed ^ 0x7a7a));
    if (!one_in(&rng, 3))
        return;
    /* A client whose NAT has forgotten it hears nothing until it says something. */
    row->keep_alive_us = SECONDS(1);
    row->preferred = one_in(&rng, 3);
    row->preferred_dead = one_in(&rng, 4);
    row->no_migration = one_in(&rng, 4);
    row->keep_old = one_in(&rng, 2);
    if (one_in(&rng, 2)) {
        row->rebind_us = pick_scale(&rng, MS(100), SECONDS(10));
        row->rebind_address = one_in(&rng, 2);
    }
    /* Where each answer finds its port forgotten, nobody can go on. */
    uint64_t rtt_us = 2 * (row->link[0].delay_us + row->link[0].jitter_us);
    if (row->link[0].rate_bytes || row->link[1].rate_bytes)
        rtt_us += MS(250);
    if (row->rebind_us && row->rebind_us < 4 * rtt_us)
        row->rebind_us = 4 * rtt_us;
    /* Nor where each path is left before an id for the next one can have come (RFC 9000 §9.5). */
    if (one_in(&rng, 3))
        row->migrate_us = pick_scale(&rng, MS(200), SECONDS(10)) + 6 * rtt_us;
    /* Nor where both use ids up faster than a retirement and its replacement come across: losses
     * make that several timeouts. */
    uint64_t least_us = 12 * rtt_us;
    if (row->link[0].loss_ppm > PERCENT(5) || row->link[1].loss_ppm > PERCENT(5))
        least_us = 60 * rtt_us + SECONDS(1);
    if (row->migrate_us && row->rebind_us && row->rebind_us < least_us)
        row->rebind_us = least_us;
    if (one_in(&rng, 8) && !row->preferred && !row->migrate_us) {
        row->rebind_every = (unsigned)pick_scale(&rng, 1, 1000);
        row->keep_old = true;
    }
    if (one_in(&rng, 4)) {
        row->forward_ppm = (uint32_t)pick_scale(&rng, 100, PERCENT(20));
        row->spoof = one_in(&rng, 2);
    }
}

/* ---- what is mixed in: each from a generator of its own, so that none changes another's draw
 * -------------- */

static void rng_of(struct sim_rng *rng, uint64_t seed, uint64_t what)
{
    sim_rng_init(rng, sim_mix(seed ^ sim_mix(what)));
}

/* 0-RTT: of the second connection. */
static void grid_early(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0xea21);
    if (!one_in(&rng, 4))
        return;
    row->again = true;
    row->early = (enum early_kind)pick(&rng, EARLY_ACCEPTED, EARLY_KINDS - 1);
}

static void grid_hello(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0x4e11);
    row->hello_retry = one_in(&rng, 8);
}

/* Lists with something in common, in any order. */
static void grid_versions(uint64_t seed, struct scenario *row)
{
    static const uint32_t all[] = {AQ_QUIC_V1, AQ_QUIC_V2, AQ_QUIC_V2_DRAFT};
    struct sim_rng rng;
    unsigned shared;

    rng_of(&rng, seed, 0x7e51);
    if (!one_in(&rng, 3))
        return;
    shared = (unsigned)pick(&rng, 0, 2);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t first = pick(&rng, 0, 2);
        unsigned count = 0;
        for (unsigned j = 0; j < 3; j++) {
            unsigned which = (unsigned)(first + (i ? j : 3 - j)) % 3;
            if (which == shared || one_in(&rng, 2))
                row->versions[i][count++] = all[which];
        }
        if (i == 0)
            row->version = row->versions[0][pick(&rng, 0, count - 1)];
    }
}

static void grid_datagrams(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0xda7a);
    if (!one_in(&rng, 3))
        return;
    row->datagrams = (unsigned)pick(&rng, 1, 400);
    row->datagram_burst = (unsigned)pick_scale(&rng, 1, 60);
    row->datagram_gap_us = pick_scale(&rng, 100, MS(500));
    for (unsigned i = 0; i < 2; i++)
        row->datagram_max[i] = one_in(&rng, 6) ? 0 : (uint16_t)pick_scale(&rng, 64, 65535);
    row->datagram_queue = one_in(&rng, 2) ? 4096U << pick(&rng, 0, 4) : 0;
    row->datagram_drop_oldest = one_in(&rng, 2);
    row->datagram_slow = one_in(&rng, 3);
}

static void grid_resets(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0x5e7a);
    row->resets = one_in(&rng, 5);
    row->reset_at = row->resets && one_in(&rng, 2);
    if (row->resets)
        row->expect = EXPECT_PREFIX;
}

static void grid_priorities(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0x9218);
    row->priorities = one_in(&rng, 4);
}

static void grid_ecn(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0xecc0);
    for (unsigned i = 0; i < 2; i++) {
        row->no_ecn[i] = one_in(&rng, 8);
        if (one_in(&rng, 6))
            row->link[i].marks = (enum sim_marks)pick(&rng, MARKS_CLEARED, MARKS_LOST);
    }
}

/* Links that carry other sizes from time to time, never less than QUIC needs. */
static void grid_mtu(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    rng_of(&rng, seed, 0x3170);
    if (!one_in(&rng, 4) || row->link[0].mtu == 1200)
        return;
    row->mtu_low = 1200;
    row->mtu_change_us = pick_scale(&rng, MS(50), SECONDS(20));
    row->mtu_grows = one_in(&rng, 4);
}

void grid_point(uint64_t seed, struct scenario *row)
{
    struct sim_rng rng;

    sim_rng_init(&rng, sim_mix(seed));
    *row = (struct scenario){.name = "grid", .seed = seed};
    uint64_t rtt_us = pick_scale(&rng, 1000, 800000);
    grid_link(&rng, &row->link[0], rtt_us);
    grid_link(&rng, &row->link[1], rtt_us);
    uint32_t mtu = (uint32_t)(one_in(&rng, 4) ? 1200 : pick_scale(&rng, 1200, 9000));
    row->link[0].mtu = row->link[1].mtu = mtu;
    /* Mostly what the path carries; sometimes more, so that the probes must find it out. */
    row->max_udp_payload = (uint16_t)(one_in(&rng, 3) ? pick(&rng, mtu, 9000) : mtu);
    row->bytes = pick_scale(&rng, 64 << 10, 1 << 20);
    row->streams = (unsigned)pick(&rng, 1, 12);
    row->streams_uni = (unsigned)pick(&rng, 0, 4);
    row->max_streams = one_in(&rng, 4) ? (uint32_t)pick(&rng, 1, 4) : 0;
    row->retry = one_in(&rng, 4);
    row->cc = one_in(&rng, 4) ? "newreno" : "cubic";
    if (sim_mix(~seed) % 3 == 0)
        row->cc = "bbr"; /* by the seed alone: all else of its point is the same */
    row->by_reference = one_in(&rng, 3);
    row->slow_reader = one_in(&rng, 6);
    row->key_update_packets = one_in(&rng, 4) ? pick(&rng, 20, 500) : 0;
    row->window = one_in(&rng, 6) ? pick(&rng, 4096, 65536) : 0;
    row->late_us = one_in(&rng, 3) ? pick(&rng, 1, 5000) : 0;
    row->clock_step_us = one_in(&rng, 8) ? pick(&rng, 1, SECONDS(20)) : 0;
    row->suspend_us = one_in(&rng, 16) ? pick(&rng, 1, SECONDS(10)) : 0;
    row->again = one_in(&rng, 16);
    row->close = (enum close_kind)pick(&rng, CLOSE_BY_CLIENT, CLOSE_BY_BOTH);
    grid_paths(seed, row);
    grid_early(seed, row);
    grid_hello(seed, row);
    grid_versions(seed, row);
    grid_datagrams(seed, row);
    grid_resets(seed, row);
    grid_priorities(seed, row);
    grid_ecn(seed, row);
    grid_mtu(seed, row);
}

void grid_print(const struct scenario *row)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct sim_link *l = &row->link[i];
        printf(
            "  %s delay %llu us, jitter %llu us, rate %llu B/s, queue %u, loss %u ppm, burst %u ppm of %u, "
            "reorder %u ppm by %llu us, duplicate %u, corrupt %u, ce %u ppm, mtu %u\n",
            i ? "down" : "up  ", (unsigned long long)l->delay_us, (unsigned long long)l->jitter_us,
            (unsigned long long)l->rate_bytes, l->queue_bytes, l->loss_ppm, l->burst_ppm,
            l->burst_size, l->reorder_ppm, (unsigned long long)l->reorder_us, l->duplicate_ppm,
            l->corrupt_ppm, l->ce_ppm, l->mtu);
    }
    printf(
        "  %llu bytes, %u+%u streams, limit %u, payload %u, %s,%s%s%s%s key update %llu, window %llu, "
        "late %llu us, step %llu us, suspend %llu us, close %d\n",
        (unsigned long long)row->bytes, row->streams, row->streams_uni, row->max_streams,
        row->max_udp_payload, row->cc ? row->cc : "cubic", row->retry ? " retry," : "",
        row->by_reference ? " by reference," : "", row->slow_reader ? " slow reader," : "",
        row->again ? " again," : "", (unsigned long long)row->key_update_packets,
        (unsigned long long)row->window, (unsigned long long)row->late_us,
        (unsigned long long)row->clock_step_us, (unsigned long long)row->suspend_us,
        (int)row->close);
    printf(
        "  rebinds %llu us%s%s, each %u datagrams, migrates %llu us, preferred%s%s%s, forwards %u ppm%s\n",
        (unsigned long long)row->rebind_us, row->rebind_address ? " address," : "",
        row->keep_old ? " keeping" : "", row->rebind_every, (unsigned long long)row->migrate_us,
        row->preferred ? " yes" : " no", row->preferred_dead ? ", dead" : "",
        row->no_migration ? ", no migration" : "", row->forward_ppm, row->spoof ? " spoofed" : "");
    printf(
        "  0-RTT %d,%s versions %s: %s %s %s to %s %s %s,%s%s%s ECN%s%s %d %d, MTU from %u each %llu us\n",
        (int)row->early, row->hello_retry ? " another hello," : "", aq_version_name(row->version),
        aq_version_name(row->versions[0][0]), aq_version_name(row->versions[0][1]),
        aq_version_name(row->versions[0][2]), aq_version_name(row->versions[1][0]),
        aq_version_name(row->versions[1][1]), aq_version_name(row->versions[1][2]),
        row->resets ? " resets," : "", row->reset_at ? " with a size," : "",
        row->priorities ? " priorities," : "", row->no_ecn[0] ? " not client" : "",
        row->no_ecn[1] ? " not server" : "", (int)row->link[0].marks, (int)row->link[1].marks,
        row->mtu_low, (unsigned long long)row->mtu_change_us);
    printf("  datagrams %u in %u each %llu us, at most %u %u, queue %u%s%s\n", row->datagrams,
           row->datagram_burst, (unsigned long long)row->datagram_gap_us, row->datagram_max[0],
           row->datagram_max[1], row->datagram_queue,
           row->datagram_drop_oldest ? ", drops the oldest" : "",
           row->datagram_slow ? ", slow" : "");
}
