/* scenarios.c -- the program `sim`: named scenarios as rows, and a grid of them by seed.
 *
 *     sim --rows                      all named rows
 *     sim --row NAME                  one of them
 *     sim --seeds N [--first SEED]    N seeds of the grid
 *     sim --seed S [--trace FILE]     one seed again, with its trace
 *     sim --twice N [--first SEED]    each seed twice: the traces must be identical
 *     sim --handshakes N              N handshakes at 30 % loss each way, for each of some round trips
 *     ... --cc NAME                   seeds with this congestion control, whatever they would have
 *
 * The grid is in grid.c; a seed names one point of it, so a seed is all that is needed to see a failure
 * again. Each delivers every byte both ways, or as far as was promised where streams are reset. */
#include "tests/sim/grid.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
    {.name = "0-RTT", .seed = 80, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(5)), .bytes = 1 << 18,
     .streams = 4, .streams_uni = 2, .again = true, .early = EARLY_ACCEPTED, .datagrams = 50,
     .datagram_burst = 5, .datagram_gap_us = MS(1), .datagram_max = {65535, 65535}},
    {.name = "0-RTT rejected", .seed = 81, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(5)),
     .bytes = 1 << 18, .streams = 4, .again = true, .early = EARLY_REJECTED, .resets = true,
     .reset_at = true, .expect = EXPECT_PREFIX},
    {.name = "0-RTT rejected, smaller windows", .seed = 82, LINKS(.delay_us = MS(20)), .bytes = 1 << 18,
     .streams = 8, .again = true, .early = EARLY_SMALLER, .window = 16384},
    {.name = "0-RTT replayed", .seed = 83, LINKS(.delay_us = MS(20)), .bytes = 1 << 18, .streams = 4,
     .again = true, .early = EARLY_REPLAYED},
    {.name = "0-RTT, Retry", .seed = 84, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 18, .streams = 4, .again = true, .early = EARLY_ACCEPTED, .retry = true},
    {.name = "another hello", .seed = 85, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 18, .streams = 4, .hello_retry = true, .retry = true, .again = true,
     .early = EARLY_ACCEPTED},
    {.name = "version 2, compatible", .seed = 86, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 18, .streams = 4, .again = true, .early = EARLY_ACCEPTED,
     .versions = {{AQ_QUIC_V1, AQ_QUIC_V2}, {AQ_QUIC_V2, AQ_QUIC_V1}}},
    {.name = "version 2, negotiated", .seed = 87, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 18, .streams = 4, .version = AQ_QUIC_V1, .retry = true,
     .versions = {{AQ_QUIC_V1, AQ_QUIC_V2}, {AQ_QUIC_V2}}},
    {.name = "datagrams", .seed = 88, LINKS(.delay_us = MS(20), .rate_bytes = 500000, .queue_bytes = 30000),
     .bytes = 1 << 20, .streams = 4, .datagrams = 1000, .datagram_burst = 30, .datagram_gap_us = MS(4),
     .datagram_max = {65535, 300}, .datagram_queue = 4096, .datagram_slow = true},
    {.name = "datagrams, the oldest goes", .seed = 89, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 20, .streams = 4, .datagrams = 1000, .datagram_burst = 60, .datagram_gap_us = MS(4),
     .datagram_max = {1000, 65535}, .datagram_queue = 4096, .datagram_slow = true,
     .datagram_drop_oldest = true},
    {.name = "resets at a size", .seed = 90, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(10)),
     .bytes = 1 << 20, .streams = 40, .streams_uni = 20, .resets = true, .reset_at = true,
     .expect = EXPECT_PREFIX},
    {.name = "priorities", .seed = 91, LINKS(.delay_us = MS(20), .loss_ppm = PERCENT(5)), .bytes = 1 << 20,
     .streams = 40, .streams_uni = 20, .priorities = true},
    {.name = "marks lost", .seed = 92, .link = {{.delay_us = MS(20), .marks = MARKS_LOST},
     {.delay_us = MS(20), .marks = MARKS_LOST}}, .bytes = 1 << 20, .streams = 4},
    {.name = "marks lost, address rebinds", .seed = 93, LINKS(.delay_us = MS(100), .marks = MARKS_LOST),
     .bytes = 1 << 20, .streams = 4, .rebind_us = MS(1000), .rebind_address = true,
     .keep_alive_us = MS(500)},
    {.name = "marks cleared, changed", .seed = 94, .link = {{.delay_us = MS(20), .marks = MARKS_CLEARED},
     {.delay_us = MS(20), .marks = MARKS_CHANGED}}, .bytes = 1 << 20, .streams = 4},
    {.name = "everything", .seed = 41, LINKS(.delay_us = MS(100), .jitter_us = MS(20), .rate_bytes = 2000000,
     .queue_bytes = 100000, .loss_ppm = PERCENT(5), .burst_ppm = 2000, .burst_size = 8,
     .reorder_ppm = PERCENT(10), .reorder_us = MS(50), .duplicate_ppm = PERCENT(5),
     .corrupt_ppm = PERCENT(5), .ce_ppm = PERCENT(1), .mtu = 1400), .bytes = 1 << 20, .streams = 10,
     .streams_uni = 5, .retry = true, .by_reference = true, .slow_reader = true, .late_us = MS(5),
     .key_update_packets = 300, .clock_step_us = SECONDS(2), .again = true, .early = EARLY_REPLAYED,
     .hello_retry = true, .version = AQ_QUIC_V1, .versions = {{AQ_QUIC_V1, AQ_QUIC_V2}, {AQ_QUIC_V2}},
     .datagrams = 300, .datagram_burst = 20, .datagram_gap_us = MS(10), .datagram_max = {500, 65535},
     .priorities = true},
};
/* clang-format on */

/* ---- running ------------------------------------------------------------------------------------------------ */

enum { HANDSHAKES_PERMILLE = 990 };

struct totals {
    unsigned passed, failed;
    uint64_t transfer_us, datagrams, dropped, delivered_bytes, amplification_permille;
    unsigned feature[FEATURES]; /* scenarios that had it */
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
    uint64_t first, count, handshakes;
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
        grid_print(row);
    fflush(stdout);
    scenario_run(row, trace, &outcome, NULL, NULL);
    totals->real_s += real_now() - begin;
    totals->transfer_us += outcome.transfer_us;
    totals->datagrams += outcome.datagrams;
    totals->dropped += outcome.dropped;
    totals->delivered_bytes += outcome.delivered_bytes;
    if (outcome.amplification_permille > totals->amplification_permille)
        totals->amplification_permille = outcome.amplification_permille;
    for (unsigned i = 0; i < FEATURES; i++)
        totals->feature[i] += (unsigned)(outcome.features >> i & 1);
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

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Handshakes that lose three datagrams of ten each way, with the default timeouts: how many are confirmed
 * within the 10 s that there are, and when. A share that is too small fails. */
static void run_handshakes(const struct options *options, struct totals *totals)
{
    static const uint64_t rtts_us[] = {MS(10), MS(50), MS(200)};
    uint64_t *took_us = calloc(options->handshakes, sizeof *took_us);

    if (!took_us)
        abort();
    for (unsigned i = 0; i < sizeof rtts_us / sizeof *rtts_us; i++) {
        uint64_t done = 0;
        for (uint64_t n = 0; n < options->handshakes; n++) {
            struct sim_link link = {.delay_us = rtts_us[i] / 2, .loss_ppm = PERCENT(30)};
            struct scenario row = {.name = "handshake", .seed = options->first + n, .link = {link, link},
                                   .bytes = 100, .streams = 1, .retry = n % 4 == 3,
                                   .handshake_timeout_us = SECONDS(10)};
            struct outcome outcome;
            scenario_run(&row, NULL, &outcome, NULL, NULL);
            if (outcome.confirmed_us)
                took_us[done++] = outcome.confirmed_us;
        }
        qsort(took_us, done, sizeof *took_us, compare_u64);
        bool enough = done * 1000 >= options->handshakes * HANDSHAKES_PERMILLE;
        printf("%srtt %3llu ms: %llu of %llu, 50 %% within %.2f s, 90 %% %.2f s, 99 %% %.2f s\n",
               enough ? "" : "FAILED ", (unsigned long long)(rtts_us[i] / 1000), (unsigned long long)done,
               (unsigned long long)options->handshakes, (double)took_us[done / 2] / 1e6,
               (double)took_us[done * 9 / 10] / 1e6, (double)took_us[done * 99 / 100] / 1e6);
        *(enough ? &totals->passed : &totals->failed) += 1;
    }
    free(took_us);
}

static void usage(const char *program)
{
    printf("usage: %s --rows | --row NAME | --seeds N | --seed SEED | --twice N | --handshakes N\n"
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
        } else if (strcmp(flag, "--handshakes") == 0) {
            options->handshakes = number(argv[0], value);
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
    if (options.handshakes)
        run_handshakes(&options, &totals);
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
    for (unsigned i = 0; i < FEATURES; i++)
        printf("%s%s %u%s", i % 6 ? ", " : "  ", feature_name((enum feature)i), totals.feature[i],
               i % 6 == 5 || i == FEATURES - 1 ? "\n" : "");
    printf("%u passed, %u failed\n", totals.passed, totals.failed);
    return totals.failed != 0;
}
