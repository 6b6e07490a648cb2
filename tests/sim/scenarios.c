/* scenarios.c -- the program `sim`: named scenarios as rows, and a grid of them by seed.
 *
 *     sim --rows                      all named rows
 *     sim --row NAME                  one of them
 *     sim --seeds N [--first SEED]    N seeds of the grid
 *     sim --seed S [--trace FILE]     one seed again, with its trace
 *     sim --twice N [--first SEED]    each seed twice: the traces must be identical
 *     ... --cc NAME                   seeds with this congestion control, whatever they would have
 *
 * The grid is loss 0 to 30 %, round trips of 1 to 800 ms, bursts, reordering, duplication, corruption,
 * rates and queues, MTU 1,200 to 9,000, late hosts, stepped clocks; a seed names one point of it, so a
 * seed is all that is needed to see a failure again. Each delivers every byte both ways. */
#include "tests/sim/app.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS(n) ((uint64_t)(n) * 1000)
#define SECONDS(n) ((uint64_t)(n) * 1000000)
#define PERCENT(n) ((uint32_t)(n) * 10000)
/* The same faults both ways. */
#define LINKS(...) .link = {{__VA_ARGS__}, {__VA_ARGS__}}

/* clang-format off */
static const struct scenario rows[] = {
    {.name = "plain", .seed = 1, LINKS(.delay_us = MS(10)), .bytes = 1 << 20, .streams = 4, .streams_uni = 2},
    {.name = "one byte", .seed = 2, LINKS(.delay_us = MS(10)), .bytes = 1, .streams = 1},
    {.name = "no bytes", .seed = 3, LINKS(.delay_us = MS(10)), .bytes = 0, .streams = 3},
    {.name = "no delay", .seed = 4, .bytes = 1 << 20, .streams = 4},
    {.name = "retry", .seed = 5, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4, .retry = true},
    {.name = "retry, loss", .seed = 6, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(20)), .bytes = 1 << 18,
     .streams = 4, .retry = true},
    {.name = "newreno", .seed = 7, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(2)), .bytes = 1 << 20,
     .streams = 4, .cc = "newreno"},
    {.name = "bottleneck", .seed = 8,
     LINKS(.delay_us = MS(20), .rate_bytes = 1250000, .queue_bytes = 60000), .bytes = 4 << 20, .streams = 2},
    {.name = "bufferbloat", .seed = 9,
     LINKS(.delay_us = MS(5), .rate_bytes = 250000, .queue_bytes = 1000000), .bytes = 2 << 20, .streams = 2},
    {.name = "loss 30 %", .seed = 10, LINKS(.delay_us = MS(50), .loss_ppm = PERCENT(30)), .bytes = 1 << 18,
     .streams = 4, .streams_uni = 2},
    {.name = "loss one way", .seed = 11, .link = {{.delay_us = MS(50)},
     {.delay_us = MS(50), .loss_ppm = PERCENT(30)}}, .bytes = 1 << 18, .streams = 4},
    {.name = "bursts", .seed = 12, LINKS(.delay_us = MS(30), .burst_ppm = PERCENT(1), .burst_size = 20),
     .bytes = 1 << 20, .streams = 4},
    {.name = "reordering", .seed = 13, LINKS(.delay_us = MS(30), .reorder_ppm = PERCENT(30),
     .reorder_us = MS(30)), .bytes = 1 << 20, .streams = 4},
    {.name = "all twice", .seed = 14, LINKS(.delay_us = MS(30), .duplicate_ppm = PERCENT(100)),
     .bytes = 1 << 20, .streams = 4},
    {.name = "corruption", .seed = 15, LINKS(.delay_us = MS(30), .corrupt_ppm = PERCENT(20)),
     .bytes = 1 << 19, .streams = 4},
    {.name = "satellite", .seed = 16, LINKS(.delay_us = MS(400), .jitter_us = MS(40),
     .loss_ppm = PERCENT(1)), .bytes = 1 << 20, .streams = 4},
    {.name = "small path", .seed = 17, LINKS(.delay_us = MS(10), .mtu = 1200), .bytes = 1 << 20, .streams = 4,
     .max_udp_payload = 1452},
    {.name = "large path", .seed = 18, LINKS(.delay_us = MS(10), .mtu = 9000), .bytes = 4 << 20, .streams = 4,
     .max_udp_payload = 9000},
    {.name = "large path, known", .seed = 19, LINKS(.delay_us = MS(10), .mtu = 9000), .bytes = 4 << 20,
     .streams = 4, .max_udp_payload = 9000, .fixed_mtu = true},
    {.name = "congestion marks", .seed = 20, LINKS(.delay_us = MS(10), .ce_ppm = PERCENT(2)),
     .bytes = 2 << 20, .streams = 4},
    {.name = "key updates", .seed = 21, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(5)), .bytes = 4 << 20,
     .streams = 4, .key_update_packets = 100},
    {.name = "small windows", .seed = 22, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(5)),
     .bytes = 1 << 19, .streams = 8, .window = 4096},
    {.name = "many streams", .seed = 23, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(5)), .bytes = 1 << 19,
     .streams = 300, .streams_uni = 300, .max_streams = 10},
    {.name = "by reference", .seed = 24, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 20, .streams = 6, .by_reference = true},
    {.name = "slow readers", .seed = 25, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(2)), .bytes = 1 << 20,
     .streams = 6, .slow_reader = true, .window = 16384},
    {.name = "late hosts", .seed = 26, LINKS(.delay_us = MS(10), .loss_ppm = PERCENT(2)), .bytes = 1 << 20,
     .streams = 6, .late_us = MS(20)},
    {.name = "stepped clocks", .seed = 27, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .clock_step_us = SECONDS(40)},
    {.name = "suspended", .seed = 28, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .suspend_us = SECONDS(30)},
    {.name = "resumption", .seed = 29, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4,
     .again = true},
    {.name = "resumption, retry", .seed = 30, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 18, .streams = 4, .again = true, .retry = true},
    {.name = "server closes", .seed = 31, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4,
     .close = CLOSE_BY_SERVER},
    {.name = "both close", .seed = 32, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4,
     .close = CLOSE_BY_BOTH},
    {.name = "idle", .seed = 33, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4,
     .close = CLOSE_BY_IDLE, .idle_timeout_us = SECONDS(30)},
    {.name = "closes early", .seed = 34, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .close = CLOSE_EARLY, .expect = EXPECT_PREFIX},
    {.name = "vanishes", .seed = 35, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .close = CLOSE_VANISH, .expect = EXPECT_PREFIX, .idle_timeout_us = SECONDS(30)},
    {.name = "reboots", .seed = 36, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .close = CLOSE_REBOOT, .expect = EXPECT_PREFIX, .idle_timeout_us = SECONDS(30)},
    {.name = "resets", .seed = 37, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(5)), .bytes = 1 << 20,
     .streams = 40, .streams_uni = 20, .resets = true, .expect = EXPECT_PREFIX},
    {.name = "nobody there", .seed = 38, .link = {{.cut = true}, {0}}, .bytes = 1, .streams = 1,
     .expect = EXPECT_TIMEOUT, .handshake_timeout_us = SECONDS(10)},
    {.name = "silent victim", .seed = 39, .link = {{.delay_us = MS(20)}, {.cut = true}}, .bytes = 1,
     .streams = 1, .expect = EXPECT_TIMEOUT, .handshake_timeout_us = SECONDS(10)},
    {.name = "mute client", .seed = 42, .link = {{.delay_us = MS(20), .cut_after = 1}, {.delay_us = MS(20)}},
     .bytes = 1, .streams = 1, .expect = EXPECT_TIMEOUT, .handshake_timeout_us = SECONDS(100)},
    {.name = "refused", .seed = 40, LINKS(.delay_us = MS(20)), .bytes = 1, .streams = 1,
     .expect = EXPECT_REFUSED, .handshake_timeout_us = SECONDS(10)},
    {.name = "bbr", .seed = 43, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(2)), .bytes = 1 << 20,
     .streams = 4, .cc = "bbr"},
    {.name = "bbr, bottleneck", .seed = 44,
     LINKS(.delay_us = MS(20), .rate_bytes = 1250000, .queue_bytes = 60000), .bytes = 16 << 20, .streams = 2,
     .cc = "bbr"},
    {.name = "bbr, bufferbloat", .seed = 45,
     LINKS(.delay_us = MS(5), .rate_bytes = 250000, .queue_bytes = 1000000), .bytes = 2 << 20, .streams = 2,
     .cc = "bbr"},
    {.name = "bbr, loss 30 %", .seed = 46, LINKS(.delay_us = MS(50), .loss_ppm = PERCENT(30)),
     .bytes = 1 << 18, .streams = 4, .streams_uni = 2, .cc = "bbr"},
    {.name = "bbr, reordering", .seed = 47, LINKS(.delay_us = MS(30), .reorder_ppm = PERCENT(30),
     .reorder_us = MS(30)), .bytes = 1 << 20, .streams = 4, .cc = "bbr"},
    {.name = "bbr, suspended", .seed = 48, LINKS(.delay_us = MS(20)), .bytes = 4 << 20, .streams = 4,
     .suspend_us = SECONDS(30), .clock_step_us = SECONDS(40), .late_us = MS(20), .cc = "bbr"},
    {.name = "bbr, vanishes", .seed = 49, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .close = CLOSE_VANISH, .expect = EXPECT_PREFIX, .idle_timeout_us = SECONDS(30), .cc = "bbr"},
    {.name = "port rebinds", .seed = 60, LINKS(.delay_us = MS(15), .rate_bytes = 6250000, .queue_bytes = 60000),
     .bytes = 8 << 20, .streams = 4, .rebind_us = MS(500), .keep_alive_us = MS(500)},
    {.name = "port rebinds often", .seed = 61, LINKS(.delay_us = MS(15), .rate_bytes = 6250000,
     .queue_bytes = 60000), .bytes = 4 << 20, .streams = 4, .rebind_us = MS(100),
     .keep_alive_us = MS(500)},
    {.name = "address rebinds", .seed = 62, LINKS(.delay_us = MS(15), .rate_bytes = 6250000,
     .queue_bytes = 60000), .bytes = 32 << 20, .streams = 4, .rebind_us = MS(2000),
     .keep_alive_us = MS(500), .rebind_address = true},
    {.name = "address rebinds often", .seed = 63, LINKS(.delay_us = MS(15), .rate_bytes = 6250000,
     .queue_bytes = 60000), .bytes = 2 << 20, .streams = 4, .rebind_us = MS(100), .rebind_address = true,
     .keep_alive_us = MS(500)},
    {.name = "rebinds, loss", .seed = 64, LINKS(.delay_us = MS(30), .loss_ppm = PERCENT(10)), .bytes = 2 << 20,
     .streams = 4, .streams_uni = 2, .rebind_us = MS(700), .keep_alive_us = MS(500), .rebind_address = true},
    {.name = "rebinds, bbr", .seed = 65, LINKS(.delay_us = MS(30), .loss_ppm = PERCENT(2)), .bytes = 2 << 20,
     .streams = 4, .rebind_us = MS(300), .keep_alive_us = MS(500), .cc = "bbr"},
    {.name = "a port per packet", .seed = 66, LINKS(.delay_us = MS(20)), .bytes = 2 << 20, .streams = 4,
     .rebind_every = 1, .keep_old = true},
    {.name = "a port per packet, forgotten", .seed = 67, LINKS(.delay_us = MS(20)), .bytes = 1 << 19,
     .streams = 4, .rebind_every = 1},
    {.name = "migrations", .seed = 68, LINKS(.delay_us = MS(20)), .bytes = 8 << 20, .streams = 4,
     .migrate_us = MS(400)},
    {.name = "migrations, IPv6, loss", .seed = 69, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 2 << 20, .streams = 4, .migrate_us = MS(1500)},
    {.name = "migration to nowhere", .seed = 70, LINKS(.delay_us = MS(20), .rate_bytes = 1000000,
     .queue_bytes = 60000), .bytes = 8 << 20, .streams = 4, .migrate_us = MS(1000), .migrate_nowhere = true},
    {.name = "migration refused", .seed = 71, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .migrate_us = MS(100), .no_migration = true},
    {.name = "forwarded", .seed = 72, LINKS(.delay_us = MS(20)), .bytes = 2 << 20, .streams = 4,
     .forward_ppm = PERCENT(5)},
    {.name = "spoofed", .seed = 73, LINKS(.delay_us = MS(20)), .bytes = 2 << 20, .streams = 4,
     .forward_ppm = PERCENT(20), .spoof = true},
    {.name = "preferred address", .seed = 74, LINKS(.delay_us = MS(20)), .bytes = 1 << 20, .streams = 4,
     .preferred = true},
    {.name = "preferred, IPv6, no migration", .seed = 75, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(5)),
     .bytes = 1 << 20, .streams = 4, .preferred = true, .no_migration = true, .migrate_us = MS(500)},
    {.name = "preferred, dead", .seed = 76, LINKS(.delay_us = MS(20), .rate_bytes = 500000,
     .queue_bytes = 60000), .bytes = 4 << 20, .streams = 4, .preferred = true, .preferred_dead = true},
    {.name = "everything", .seed = 41, LINKS(.delay_us = MS(100), .jitter_us = MS(20), .rate_bytes = 2000000,
     .queue_bytes = 100000, .loss_ppm = PERCENT(5), .burst_ppm = 2000, .burst_size = 8,
     .reorder_ppm = PERCENT(10), .reorder_us = MS(50), .duplicate_ppm = PERCENT(5),
     .corrupt_ppm = PERCENT(5), .ce_ppm = PERCENT(1), .mtu = 1400), .bytes = 1 << 20, .streams = 10,
     .streams_uni = 5, .retry = true, .by_reference = true, .slow_reader = true, .late_us = MS(5),
     .key_update_packets = 300, .clock_step_us = SECONDS(2), .again = true},
};
/* clang-format on */

/* ---- the grid ------------------------------------------------------------------------------------------ */

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
    if (one_in(&rng, 8) && !row->preferred && !row->migrate_us) {
        row->rebind_every = (unsigned)pick_scale(&rng, 1, 1000);
        row->keep_old = true;
    }
    if (one_in(&rng, 4)) {
        row->forward_ppm = (uint32_t)pick_scale(&rng, 100, PERCENT(20));
        row->spoof = one_in(&rng, 2);
    }
}

/* One point of the grid. */
static void grid_point(uint64_t seed, struct scenario *row)
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
}

static void row_print(const struct scenario *row)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct sim_link *l = &row->link[i];
        printf("  %s delay %llu us, jitter %llu us, rate %llu B/s, queue %u, loss %u ppm, burst %u ppm of %u, "
               "reorder %u ppm by %llu us, duplicate %u, corrupt %u, ce %u ppm, mtu %u\n",
               i ? "down" : "up  ", (unsigned long long)l->delay_us, (unsigned long long)l->jitter_us,
               (unsigned long long)l->rate_bytes, l->queue_bytes, l->loss_ppm, l->burst_ppm, l->burst_size,
               l->reorder_ppm, (unsigned long long)l->reorder_us, l->duplicate_ppm, l->corrupt_ppm, l->ce_ppm,
               l->mtu);
    }
    printf("  %llu bytes, %u+%u streams, limit %u, payload %u, %s,%s%s%s%s key update %llu, window %llu, "
           "late %llu us, step %llu us, suspend %llu us, close %d\n",
           (unsigned long long)row->bytes, row->streams, row->streams_uni, row->max_streams,
           row->max_udp_payload, row->cc ? row->cc : "cubic", row->retry ? " retry," : "",
           row->by_reference ? " by reference," : "", row->slow_reader ? " slow reader," : "",
           row->again ? " again," : "", (unsigned long long)row->key_update_packets,
           (unsigned long long)row->window, (unsigned long long)row->late_us,
           (unsigned long long)row->clock_step_us, (unsigned long long)row->suspend_us, (int)row->close);
    printf("  rebinds %llu us%s%s, each %u datagrams, migrates %llu us, preferred%s%s%s, forwards %u ppm%s\n",
           (unsigned long long)row->rebind_us, row->rebind_address ? " address," : "",
           row->keep_old ? " keeping" : "", row->rebind_every, (unsigned long long)row->migrate_us,
           row->preferred ? " yes" : " no", row->preferred_dead ? ", dead" : "",
           row->no_migration ? ", no migration" : "", row->forward_ppm, row->spoof ? " spoofed" : "");
}

/* ---- running ------------------------------------------------------------------------------------------------ */

struct totals {
    unsigned passed, failed;
    uint64_t transfer_us, datagrams, dropped, delivered_bytes, amplification_permille;
    double real_s;
};

static double real_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct options {
    const char *program, *row, *trace, *cc;
    bool rows, twice, verbose;
    uint64_t first, count;
};

/* The command that plays the row at hand again. Written beforehand, so that an assert can tell it too. */
static char again_command[512];

static void again_write(const struct options *options, const struct scenario *row, bool named)
{
    if (named)
        snprintf(again_command, sizeof again_command, "  again: %s --row '%s' --trace sim.trace\n",
                 options->program, row->name);
    else
        snprintf(again_command, sizeof again_command, "  again: %s --seed %llu --trace sim.trace\n",
                 options->program, (unsigned long long)row->seed);
}

static void on_abort(int signal_number)
{
    static const char text[] = "FAILED: an assert, or worse\n";

    if (write(STDERR_FILENO, text, sizeof text - 1) < 0 ||
        write(STDERR_FILENO, again_command, strlen(again_command)) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* Runs a row, twice when asked, and adds it up. */
static void run(const struct options *options, const struct scenario *row, bool named, struct totals *totals)
{
    struct outcome outcome, again;
    FILE *trace = options->trace ? fopen(options->trace, "w") : NULL;
    double begin = real_now();

    if (options->trace && !trace) {
        fprintf(stderr, "%s: cannot write %s\n", options->program, options->trace);
        exit(2);
    }
    again_write(options, row, named);
    if (options->verbose)
        row_print(row);
    fflush(stdout);
    scenario_run(row, trace, &outcome, NULL, NULL);
    totals->real_s += real_now() - begin;
    totals->transfer_us += outcome.transfer_us;
    totals->datagrams += outcome.datagrams;
    totals->dropped += outcome.dropped;
    totals->delivered_bytes += outcome.delivered_bytes;
    if (outcome.amplification_permille > totals->amplification_permille)
        totals->amplification_permille = outcome.amplification_permille;
    if (trace)
        fclose(trace);
    if (outcome.ok && options->twice) {
        scenario_run(row, NULL, &again, NULL, NULL);
        if (again.hash != outcome.hash) {
            outcome.ok = false;
            snprintf(outcome.why, sizeof outcome.why, "two runs differ: %016llx and %016llx",
                     (unsigned long long)outcome.hash, (unsigned long long)again.hash);
        }
    }
    *(outcome.ok ? &totals->passed : &totals->failed) += 1;
    if (!outcome.ok) {
        printf("FAILED %s %llu: %s\n%s", named ? row->name : "seed", (unsigned long long)row->seed,
               outcome.why, again_command);
    } else if (options->verbose) {
        printf("passed %s %llu: %.3f s, ended at %.3f s, %llu datagrams, %llu dropped, moved %u %u, "
               "refused %u, trace %016llx\n",
               named ? row->name : "seed", (unsigned long long)row->seed, (double)outcome.transfer_us / 1e6,
               (double)outcome.total_us / 1e6, (unsigned long long)outcome.datagrams,
               (unsigned long long)outcome.dropped, outcome.moves, outcome.peer_moves, outcome.refusals,
               (unsigned long long)outcome.hash);
    }
    fflush(stdout);
}

static void usage(const char *program)
{
    printf("usage: %s --rows | --row NAME | --seeds N | --seed SEED | --twice N\n"
           "       [--first SEED] [--cc NAME] [--trace FILE] [-v]\n", program);
}

static uint64_t number(const char *program, const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text == 0 || *end != 0) {
        fprintf(stderr, "%s: not a number: %s\n", program, text);
        exit(2);
    }
    return value;
}

static void options_read(struct options *options, int argc, char **argv)
{
    options->program = argv[0];
    options->first = 1;
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(flag, "-v") == 0) {
            options->verbose = true;
        } else if (strcmp(flag, "--rows") == 0) {
            options->rows = true;
        } else if (strcmp(flag, "--help") == 0 || !value) {
            usage(argv[0]);
            exit(strcmp(flag, "--help") == 0 ? 0 : 2);
        } else if (i++, strcmp(flag, "--row") == 0) {
            options->row = value;
        } else if (strcmp(flag, "--cc") == 0) {
            options->cc = value;
        } else if (strcmp(flag, "--trace") == 0) {
            options->trace = value;
        } else if (strcmp(flag, "--first") == 0) {
            options->first = number(argv[0], value);
        } else if (strcmp(flag, "--seeds") == 0 || strcmp(flag, "--twice") == 0) {
            options->count = number(argv[0], value);
            options->twice |= strcmp(flag, "--twice") == 0;
        } else if (strcmp(flag, "--seed") == 0) {
            options->first = number(argv[0], value);
            options->count = 1;
            options->verbose = true;
        } else {
            usage(argv[0]);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct totals totals = {0};
    struct scenario point;

    options_read(&options, argc, argv);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (options.rows || (options.row && strcmp(options.row, rows[i].name) == 0))
            run(&options, &rows[i], true, &totals);
    for (uint64_t i = 0; i < options.count; i++) {
        grid_point(options.first + i, &point);
        if (options.cc)
            point.cc = options.cc;
        run(&options, &point, false, &totals);
    }
    sim_tls_free();
    if (totals.passed + totals.failed == 0) {
        usage(argv[0]);
        return 2;
    }
    printf("%.1f s of virtual time in %.2f s, %.0f times faster; %llu datagrams, %llu of them dropped, "
           "%llu MiB delivered; at most %.1f %% of the 3x limit used\n",
           (double)totals.transfer_us / 1e6, totals.real_s,
           (double)totals.transfer_us / 1e6 / (totals.real_s > 0 ? totals.real_s : 1),
           (unsigned long long)totals.datagrams, (unsigned long long)totals.dropped,
           (unsigned long long)(totals.delivered_bytes >> 20), (double)totals.amplification_permille / 10);
    printf("%u passed, %u failed\n", totals.passed, totals.failed);
    return totals.failed != 0;
}
