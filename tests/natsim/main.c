/* main.c -- runs scenarios by seed and counts.
 *
 *     sim --brief                       a few seeds of each, for `ninja unit`
 *     sim --seeds N [--from M] [--only NAME] [--twice] [-v]
 *     sim --only NAME --seed S --trace FILE
 *
 * A seed that fails prints the command that plays it again. With --twice each seed is played two
 * times, and the traces must be the same. */
#include "tests/natsim/scenarios.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct options {
    const char *program, *only, *trace;
    uint64_t from, seeds;
    bool brief, twice, verbose;
};
enum {
    SUMS = 64
};
/* Of all measures by one name. */
struct sum {
    const char *what;
    unsigned count;
    uint64_t us, most_us;
};
struct totals {
    unsigned passed, failed;
    uint64_t datagrams, lost, virtual_us;
    struct sum sums[SUMS];
    unsigned sum_count;
};

/* Written beforehand, so that an assert can tell it, too. */
static char again[512];

static void on_abort(int signal_number)
{
    static const char text[] = "FAILED: an assert, or worse\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0
        || write(STDERR_FILENO, again, strlen(again)) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void add_measure(struct totals *totals, const struct measure *m)
{
    unsigned i = 0;
    while (i < totals->sum_count && strcmp(totals->sums[i].what, m->what) != 0)
        i++;
    if (i == SUMS)
        return;
    totals->sum_count += i == totals->sum_count;
    struct sum *s = &totals->sums[i];
    s->what = m->what;
    s->count++;
    s->us += m->us;
    s->most_us = m->us > s->most_us ? m->us : s->most_us;
}

static bool play(const struct scenario *s, uint64_t seed, FILE *trace, uint64_t *hash,
                 struct totals *totals)
{
    struct world *world = world_new(seed, trace);
    uint64_t began = world->now_us;
    s->play(world);
    bool ok = !world->failed;
    if (!ok)
        printf("FAILED %s %llu: %s\n%s", s->name, (unsigned long long)seed, world->why, again);
    *hash = world_hash(world);
    totals->datagrams += world->datagrams;
    totals->lost += world->lost;
    totals->virtual_us += world->now_us - began;
    for (unsigned i = 0; i < world->measures; i++)
        add_measure(totals, &world->measure[i]);
    world_free(world);
    return ok;
}

static void run(const struct options *o, const struct scenario *s, uint64_t seed,
                struct totals *totals)
{
    FILE *trace = o->trace ? fopen(o->trace, "w") : NULL;
    uint64_t hash, second;
    (void)snprintf(again, sizeof again, "  again: %s --only %s --seed %llu --trace sim.trace\n",
                   o->program, s->name, (unsigned long long)seed);
    bool ok = play(s, seed, trace, &hash, totals);
    if (trace != NULL)
        fclose(trace);
    if (ok && o->twice) {
        ok = play(s, seed, NULL, &second, totals);
        if (ok && hash != second) {
            printf("FAILED %s %llu: two runs differ\n%s", s->name, (unsigned long long)seed, again);
            ok = false;
        }
    }
    if (ok && o->verbose)
        printf("passed %s %llu: trace %016llx\n", s->name, (unsigned long long)seed,
               (unsigned long long)hash);
    *(ok ? &totals->passed : &totals->failed) += 1;
    fflush(stdout);
}

static void usage(const char *program)
{
    printf("usage: %s --brief | --seeds N | --seed S\n"
           "       [--from M] [--only SCENARIO] [--twice] [--trace FILE] [-v]\n",
           program);
    for (unsigned i = 0; i < scenario_count; i++)
        printf("  %-10s %s\n", scenarios[i].name, scenarios[i].what);
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

static bool option_read(struct options *o, const char *flag, const char *value)
{
    if (strcmp(flag, "--only") == 0) {
        o->only = value;
    } else if (strcmp(flag, "--trace") == 0) {
        o->trace = value;
    } else if (strcmp(flag, "--from") == 0) {
        o->from = number(o->program, value);
    } else if (strcmp(flag, "--seeds") == 0) {
        o->seeds = number(o->program, value);
    } else if (strcmp(flag, "--seed") == 0) {
        o->from = number(o->program, value);
        o->seeds = 1;
        o->verbose = true;
    } else {
        return false;
    }
    return true;
}

static void options_read(struct options *o, int argc, char **argv)
{
    o->program = argv[0];
    o->from = 1;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--brief") == 0) {
            o->brief = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            o->twice = true;
        } else if (strcmp(argv[i], "-v") == 0) {
            o->verbose = true;
        } else if (i + 1 < argc && option_read(o, argv[i], argv[i + 1])) {
            i++;
        } else {
            usage(argv[0]);
            exit(strcmp(argv[i], "--help") == 0 ? 0 : 2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct totals totals = {0};
    options_read(&options, argc, argv);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    clock_t began = clock();
    for (unsigned i = 0; i < scenario_count; i++) {
        const struct scenario *s = &scenarios[i];
        uint64_t seeds = options.brief ? s->brief : options.seeds;
        if (options.only != NULL && strcmp(options.only, s->name) != 0)
            continue;
        unsigned failed = totals.failed;
        for (uint64_t k = 0; k < seeds; k++)
            run(&options, s, options.from + k, &totals);
        printf("%s: %llu seeds, %u failed\n", s->name, (unsigned long long)seeds,
               totals.failed - failed);
    }
    if (totals.passed + totals.failed == 0) {
        usage(argv[0]);
        return 2;
    }
    for (unsigned i = 0; i < totals.sum_count; i++) {
        const struct sum *m = &totals.sums[i];
        printf("%-44s %5u times, mean %8.3f s, most %8.3f s\n", m->what, m->count,
               (double)m->us / 1e6 / m->count, (double)m->most_us / 1e6);
    }
    printf("%.0f s of virtual time in %.1f s; %llu datagrams, %llu of them lost\n",
           (double)totals.virtual_us / 1e6, (double)(clock() - began) / CLOCKS_PER_SEC,
           (unsigned long long)totals.datagrams, (unsigned long long)totals.lost);
    printf("%u passed, %u failed\n", totals.passed, totals.failed);
    return totals.failed != 0;
}
