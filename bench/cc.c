/* cc.c -- congestion control seen: flows over a simulated link of 100 Mbit/s and 50 ms with a queue
 * of one bandwidth-delay product, as numbers and as a picture.
 *
 *     build/bench/cc [--seconds 20] [--seed 1] [--plot FILE.svg]
 *
 * A line of the table, and of the picture, for each row below. The picture stands by itself:
 * window, round-trip time and goodput over time, with the link's own values as grey lines. Time is
 * the simulator's, so the same seed draws the same picture on any machine. `ninja bench-cc` writes
 * BUILD/bench/cc.svg. tests/cc_flows.c asserts what is seen here. */
#include "bench/bench.h"
#include "tests/sim/flows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RATE = 12500000, /* bytes a second */
    RTT_US = 50000,
    QUEUE = 625000,
    EVERY_US = 50000, /* between two points */
    POINTS = 4096,
    MEAN = 5, /* points that goodput is averaged over */
    SECOND_US = 1000000
};

struct row {
    const char *name;
    const char *cc[2];
    uint32_t loss_ppm;
    uint64_t second_us; /* when the second flow begins */
};
static const struct row rows[] = {
    {.name = "CUBIC", .cc = {"cubic"}},
    {.name = "BBR", .cc = {"bbr"}},
    {.name = "CUBIC, 1 % random loss", .cc = {"cubic"}, .loss_ppm = 10000},
    {.name = "BBR, 1 % random loss", .cc = {"bbr"}, .loss_ppm = 10000},
    {.name = "two CUBIC", .cc = {"cubic", "cubic"}},
    {.name = "two BBR, one later", .cc = {"bbr", "bbr"}, .second_us = 4 * SECOND_US},
    {.name = "CUBIC, and BBR later", .cc = {"cubic", "bbr"}, .second_us = 4 * SECOND_US},
};
enum {
    ROWS = sizeof rows / sizeof *rows
};

/* What is drawn of a flow. */
enum curve {
    CURVE_WINDOW,
    CURVE_RTT,
    CURVE_GOODPUT,
    CURVES
};
static const struct {
    const char *name;
    double most, link; /* of the axis; of the link by itself */
} curves[CURVES] = {
    [CURVE_WINDOW] = {"window, KiB", 2048, (double)RATE *RTT_US / SECOND_US / 1024},
    [CURVE_RTT] = {"round-trip time, ms", 160, RTT_US / 1000.0},
    [CURVE_GOODPUT] = {"goodput, Mbit/s", 120, RATE * 8 / 1e6},
};

struct flow_points {
    unsigned count;
    uint64_t arrived[POINTS];
    double at_s[POINTS], v[CURVES][POINTS];
};
struct drawn {
    struct flow_points flow[2];
    struct flows_outcome outcome;
};

static void on_sample(void *user, unsigned flow, uint64_t elapsed_us,
                      const struct aq_conn_stats *stats, uint64_t arrived)
{
    struct flow_points *f = &((struct drawn *)user)->flow[flow];
    if (elapsed_us % EVERY_US != 0 || f->count == POINTS)
        return;
    unsigned i = f->count++;
    f->at_s[i] = (double)elapsed_us / SECOND_US;
    f->v[CURVE_WINDOW][i] = (double)stats->cwnd_bytes / 1024;
    f->v[CURVE_RTT][i] = (double)stats->rtt_us / 1000;
    f->arrived[i] = arrived;
    if (i >= MEAN)
        f->v[CURVE_GOODPUT][i] = (double)(arrived - f->arrived[i - MEAN]) * 8 / (MEAN * EVERY_US);
}

static void play(const struct row *row, uint64_t seed, unsigned seconds, struct drawn *out)
{
    struct flows f = {.seed = seed,
                      .count = row->cc[1] ? 2 : 1,
                      .cc = {row->cc[0], row->cc[1]},
                      .begin_us = {0, row->second_us},
                      .measure_us = 2 * SECOND_US,
                      .total_us = (uint64_t)seconds * SECOND_US,
                      .sample = on_sample,
                      .user = out};
    f.link[0] = (struct sim_link){.delay_us = RTT_US / 2,
                                  .rate_bytes = RATE,
                                  .loss_ppm = row->loss_ppm,
                                  .queue_bytes = QUEUE};
    f.link[1] = (struct sim_link){.delay_us = RTT_US / 2};
    flows_run(&f, &out->outcome);
    if (!out->outcome.ok)
        bench_die("%s: %s", row->name, out->outcome.why);
}

static void print(const struct row *row, const struct drawn *d)
{
    const struct flows_outcome *o = &d->outcome;
    const struct flow_result *first = &o->flow[0];
    (void)printf("%-24s %6.1f Mbit/s %5.1f %%   rtt mean %5.1f most %5.1f ms   lost %5.2f %%   ",
                 row->name, o->utilisation * RATE * 8 / 1e6, o->utilisation * 100,
                 (double)first->rtt_us / 1000, (double)first->rtt_max_us / 1000,
                 100.0 * (double)first->stats.lost_packets / (double)first->stats.sent_packets);
    if (row->cc[1])
        (void)printf("Jain %.3f", o->fairness);
    (void)puts("");
}

/* ---- the picture ---- */

enum {
    LEFT = 60,
    TOP = 76,
    WIDTH = 360, /* of a panel, and from one to the next */
    HEIGHT = 130,
    STEP_X = 430,
    STEP_Y = 190
};
static const char *const colours[] = {"#0b62a4", "#c8500a"};

static void panel_frame(FILE *out, double x, double y, unsigned curve, unsigned seconds)
{
    double most = curves[curve].most;
    (void)fprintf(out, "<rect x='%g' y='%g' width='%d' height='%d' class='f'/>\n", x, y, WIDTH,
                  HEIGHT);
    (void)fprintf(out, "<text x='%g' y='%g'>%s</text>\n", x, y - 6, curves[curve].name);
    for (unsigned i = 0; i <= 4; i++) {
        double at = y + HEIGHT - (double)HEIGHT * i / 4;
        (void)fprintf(out, "<text x='%g' y='%g' text-anchor='end'>%g</text>\n", x - 5, at + 4,
                      most * i / 4);
        (void)fprintf(out, "<text x='%g' y='%d' text-anchor='middle'>%g%s</text>\n",
                      x + (double)WIDTH * i / 4, (int)y + HEIGHT + 15, seconds * i / 4.0,
                      i == 4 ? " s" : "");
    }
    double link = y + HEIGHT - HEIGHT * curves[curve].link / most;
    (void)fprintf(out, "<line x1='%g' y1='%g' x2='%g' y2='%g' class='l'/>\n", x, link, x + WIDTH,
                  link);
}

static void panel_curve(FILE *out, double x, double y, unsigned curve, const struct flow_points *f,
                        const char *colour, unsigned seconds)
{
    if (!f->count)
        return;
    (void)fprintf(out, "<polyline stroke='%s' points='", colour);
    for (unsigned i = 0; i < f->count; i++) {
        double v = f->v[curve][i] / curves[curve].most;
        v = v > 1 ? 1 : v;
        (void)fprintf(out, "%.1f,%.1f ", x + WIDTH * f->at_s[i] / seconds, y + HEIGHT * (1 - v));
    }
    (void)fputs("'/>\n", out);
}

static void plot_row(FILE *out, unsigned index, const struct drawn *d, unsigned seconds)
{
    const struct row *row = &rows[index];
    double y = TOP + (double)STEP_Y * index;
    (void)fprintf(out, "<text x='%d' y='%g' class='t'>%s: %.1f Mbit/s", LEFT, y - 24, row->name,
                  d->outcome.utilisation * RATE * 8 / 1e6);
    if (row->cc[1])
        (void)fprintf(out, ", Jain's index %.3f", d->outcome.fairness);
    (void)fputs("</text>\n", out);
    for (unsigned curve = 0; curve < CURVES; curve++) {
        double x = LEFT + (double)STEP_X * curve;
        panel_frame(out, x, y, curve, seconds);
        for (unsigned i = 0; i < 2; i++)
            panel_curve(out, x, y, curve, &d->flow[i], colours[i], seconds);
    }
}

static FILE *plot_begin(const char *path, unsigned seconds)
{
    FILE *out = fopen(path, "w");
    int width = LEFT + CURVES * STEP_X, height = TOP + ROWS * STEP_Y;
    if (!out)
        bench_die("%s: cannot be written", path);
    (void)fprintf(
        out,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' "
        "viewBox='0 0 %d %d'>\n<style>text{font:11px sans-serif;fill:#333}"
        ".t{font-weight:bold;font-size:13px}.f{fill:none;stroke:#bbb}"
        ".l{stroke:#999;stroke-dasharray:4 3}polyline{fill:none;stroke-width:1.2}</style>\n"
        "<rect width='100%%' height='100%%' fill='#fff'/>\n"
        "<text x='%d' y='18' class='t'>100 Mbit/s, 50 ms, a queue of 50 ms; %u s; the first "
        "flow blue, the second orange; dashed: the link by itself</text>\n",
        width, height, width, height, LEFT, seconds);
    return out;
}

int main(int argc, char **argv)
{
    static struct drawn drawn[ROWS];
    const char *plot = bench_flag(argc, argv, "--plot", NULL);
    uint64_t seed = bench_number(argc, argv, "--seed", 1);
    unsigned seconds = (unsigned)bench_number(argc, argv, "--seconds", 20);
    if (seconds < 3 || seconds > POINTS / (SECOND_US / EVERY_US))
        bench_die("--seconds must be 3 to %d", POINTS / (SECOND_US / EVERY_US));
    for (unsigned i = 0; i < ROWS; i++) {
        play(&rows[i], seed, seconds, &drawn[i]);
        print(&rows[i], &drawn[i]);
    }
    sim_tls_free();
    if (!plot)
        return 0;
    FILE *out = plot_begin(plot, seconds);
    for (unsigned i = 0; i < ROWS; i++)
        plot_row(out, i, &drawn[i], seconds);
    (void)fputs("</svg>\n", out);
    if (fclose(out) != 0)
        bench_die("%s: cannot be written", plot);
    (void)printf("%s\n", plot);
    return 0;
}
