/* mtu.c -- how large a datagram a path carries: the search by itself, against any path and any
 * limit, and on whole connections over links whose MTU changes (RFC 8899, RFC 9000 §14). */
#include "core/mtu.h"
#include "core/endpoint.h"
#include "tests/pair.h"
#include "tests/sim/flows.h"

#include <criterion/criterion.h>

enum {
    NOW = 5000000,
    RAISE = 600000000
};

/* ---- the machine by itself ------------------------------------------------------------------- */

static struct mtu mtu_new(uint16_t max)
{
    struct mtu m;
    mtu_init(&m, MTU_BASE, max);
    return m;
}

/* A path that carries so much: probes until the machine wants no more; how many it took. */
static unsigned searched(struct mtu *m, unsigned carries, uint64_t now)
{
    unsigned probes = 0;
    for (uint16_t size; (size = mtu_next(m, RAISE, now)) != 0; probes++) {
        cr_assert_leq(size, m->max);
        cr_assert_lt(probes, 100);
        mtu_probed(m, size);
        cr_expect_eq(mtu_next(m, RAISE, now), 0, "RFC 8899 §8: one in a round trip");
        mtu_on_probe(m, size, size > carries, now);
    }
    return probes;
}

/* RFC 8899 §5.3: whatever the path carries, the search ends not far below it, never above. */
Test(mtu, search_ends)
{
    static const uint16_t limits[] = {1200, 1201, 1280, 1452, 1472, 4000, 8952, 9000, 65000};
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        for (unsigned carries = 1200; carries <= limits[i]; carries += 1 + carries / 700) {
            struct mtu m = mtu_new(limits[i]);
            unsigned probes = searched(&m, carries, NOW);
            cr_assert_leq(m.size, carries);
            cr_assert_geq(m.size, carries - carries / 32, "%u of %u", m.size, carries);
            cr_assert_leq(probes, 40, "%u of %u: %u probes", carries, limits[i], probes);
            cr_assert_eq(m.state, MTU_STATE_COMPLETE);
            cr_assert_eq(mtu_next(&m, RAISE, NOW + RAISE - 1), 0);
        }
    }
}

/* RFC 8899 §5.3.2: the sizes that links have are found exactly, Ethernet's by one probe. */
Test(mtu, common_sizes)
{
    static const struct {
        uint16_t limit, carries;
        unsigned probes;
    } rows[] = {
        {1452, 1452, 1}, {9000, 1452, 40}, {9000, 9000, 2},  {9000, 8952, 12}, {9000, 8972, 12},
        {1472, 1472, 2}, {1452, 1444, 40}, {1452, 1372, 40}, {1452, 1252, 40}, {1200, 1200, 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mtu m = mtu_new(rows[i].limit);
        unsigned probes = searched(&m, rows[i].carries, NOW);
        cr_expect_eq(m.size, rows[i].carries, "row %u: %u", i, m.size);
        cr_expect_leq(probes, rows[i].probes, "row %u: %u probes", i, probes);
    }
}

/* RFC 8899 §5.1.2: two losses are chance, a third of the same size in a row is not. */
Test(mtu, max_probes)
{
    struct mtu m = mtu_new(1452);
    for (unsigned i = 1; i < MTU_PROBES; i++) {
        cr_expect_eq(mtu_next(&m, RAISE, NOW), 1452);
        mtu_probed(&m, 1452);
        mtu_on_probe(&m, 1452, true, NOW);
    }
    struct mtu third = m;
    mtu_probed(&m, 1452);
    mtu_on_probe(&m, 1452, false, NOW);
    cr_expect_eq(m.size, 1452);
    mtu_probed(&third, 1452);
    mtu_on_probe(&third, 1452, true, NOW);
    cr_expect_eq(third.size, 1200);
    cr_expect_lt(mtu_next(&third, RAISE, NOW), 1452);
    cr_expect_eq(third.probes, 0, "a smaller size is tried as often");
}

/* Fates of probes that nobody waits for any more change nothing. */
Test(mtu, late_fates)
{
    struct mtu m = mtu_new(1452), before = m;
    mtu_on_probe(&m, 1452, false, NOW);
    cr_expect_eq(m.size, before.size);
    mtu_probed(&m, 1452);
    mtu_on_probe(&m, 1300, false, NOW);
    mtu_on_probe(&m, 1300, true, NOW);
    cr_expect(m.size == 1200 && m.probed == 1452 && m.probes == 0);
    mtu_forget(&m);
    mtu_on_probe(&m, 1452, true, NOW);
    cr_expect(m.probes == 0 && mtu_next(&m, RAISE, NOW) == 1452);
}

/* A size that somebody wished for: acknowledged it is in use, lost it is no try of the search. */
Test(mtu, wished)
{
    struct mtu m = mtu_new(1452);
    for (unsigned i = 0; i < 2 * MTU_PROBES; i++) {
        mtu_wished(&m, 1400);
        cr_expect_eq(mtu_next(&m, RAISE, NOW), 0);
        mtu_on_probe(&m, 1400, true, NOW);
    }
    cr_expect(m.size == 1200 && m.probes == 0 && mtu_next(&m, RAISE, NOW) == 1452);
    mtu_wished(&m, 1300);
    mtu_on_probe(&m, 1300, false, NOW);
    cr_expect(m.size == 1300 && m.state == MTU_STATE_SEARCHING);
    searched(&m, 1372, NOW);
    cr_expect(m.size == 1372 && m.state == MTU_STATE_COMPLETE);
    mtu_wished(&m, 1400); /* the route has changed */
    mtu_on_probe(&m, 1400, false, NOW);
    cr_expect(m.size == 1400 && m.state == MTU_STATE_COMPLETE);
    mtu_wished(&m, 1250);
    mtu_on_probe(&m, 1250, false, NOW);
    cr_expect_eq(m.size, 1400);
}

/* RFC 9000 §18.2: the peer takes less than we would send. */
Test(mtu, limited)
{
    struct mtu m;
    mtu_init(&m, 1452, 1452);
    cr_expect_eq(m.state, MTU_STATE_COMPLETE);
    mtu_limit(&m, 1500, NOW);
    cr_expect(m.size == 1452 && m.max == 1452, "no limit at all");
    mtu_limit(&m, 1300, NOW);
    cr_expect(m.size == 1300 && m.max == 1300);
    m = mtu_new(1452);
    mtu_limit(&m, 1300, NOW);
    cr_expect_eq(mtu_next(&m, RAISE, NOW), 1300);
    mtu_limit(&m, 1200, NOW);
    cr_expect_eq(mtu_next(&m, RAISE, NOW), 0);
    cr_expect_eq(m.state, MTU_STATE_COMPLETE);
}

/* RFC 8899 §5.1.1: after PMTU_RAISE_TIMER the search begins anew, and not where nothing can be
 * gained or nobody wants it. */
Test(mtu, raised)
{
    struct mtu m = mtu_new(1452);
    searched(&m, 1300, NOW);
    uint16_t found = m.size;
    cr_expect_eq(mtu_next(&m, RAISE, NOW + RAISE - 1), 0);
    cr_expect_eq(mtu_next(&m, 0, UINT64_MAX), 0);
    cr_expect_eq(mtu_next(&m, RAISE, NOW + RAISE), 1452);
    searched(&m, 1452, NOW + RAISE);
    cr_expect_eq(m.size, 1452);
    cr_expect_gt(m.size, found);
    cr_expect_eq(mtu_next(&m, RAISE, UINT64_MAX), 0);
}

/* ---- black holes ---- */

static void silence(struct mtu *m, unsigned reports)
{
    for (unsigned i = 0; i < reports; i++)
        mtu_on_report(m, 40, m->size, NOW);
}

/* RFC 8899 §4.3, RFC 8899 §5.2: large packets are lost, small ones arrive: back to BASE; confirmed
 * there, the search begins anew. */
Test(mtu, black_hole)
{
    struct mtu m = mtu_new(1452);
    searched(&m, 1452, NOW);
    silence(&m, MTU_HOLE_REPORTS - 1);
    cr_expect(m.size == 1452 && m.state == MTU_STATE_COMPLETE);
    silence(&m, 1);
    cr_expect(m.size == 1200 && m.state == MTU_STATE_BASE);
    cr_expect_eq(mtu_next(&m, RAISE, NOW), MTU_BASE, "which is confirmed first");
    mtu_on_report(&m, 1199, 1452, NOW);
    cr_expect_eq(m.state, MTU_STATE_BASE, "what was in flight before says nothing new");
    mtu_on_report(&m, 1200, 0, NOW);
    cr_expect_eq(m.state, MTU_STATE_SEARCHING);
    searched(&m, 1300, NOW);
    cr_expect(m.size <= 1300 && m.size > 1270, "%u", m.size);
}

/* RFC 8899 §4.3: losses are none where packets as large arrive, nor where packets of 1,200 bytes
 * are lost; and an arrival begins the count anew. */
Test(mtu, no_black_hole)
{
    static const struct {
        uint16_t acked, lost;
    } rows[] = {{1452, 1452}, {1452, 1300}, {1300, 1300}, {0, 1200}, {40, 1200}, {1200, 0}, {0, 0}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mtu m = mtu_new(1452);
        searched(&m, 1452, NOW);
        for (unsigned n = 0; n < 10; n++)
            mtu_on_report(&m, rows[i].acked, rows[i].lost, NOW);
        cr_expect_eq(m.size, 1452, "row %u", i);
    }
    struct mtu m = mtu_new(1452);
    searched(&m, 1452, NOW);
    for (unsigned n = 0; n < 10; n++) {
        silence(&m, MTU_HOLE_REPORTS - 1);
        mtu_on_report(&m, 1452, 0, NOW);
    }
    cr_expect_eq(m.size, 1452);
    /* An application whose packets are of 1,300 bytes: that these arrive is all there is to know.
     */
    for (unsigned n = 0; n < 10; n++) {
        mtu_on_report(&m, 40, 1300, NOW);
        mtu_on_report(&m, 1300, 0, NOW);
    }
    cr_expect_eq(m.size, 1452);
    /* But those do not excuse larger ones. */
    for (unsigned n = 0; n < MTU_HOLE_REPORTS; n++)
        mtu_on_report(&m, 1300, 1452, NOW);
    cr_expect_eq(m.size, 1200);
}

/* RFC 8899 §5.3.3: a size that was found twice and vanished twice is left alone for a while. */
Test(mtu, flapping)
{
    struct mtu m = mtu_new(1452);
    for (unsigned i = 0; i < 2; i++) {
        mtu_on_base(&m, NOW);
        searched(&m, 1452, NOW);
        cr_expect_eq(m.size, 1452);
        silence(&m, MTU_HOLE_REPORTS);
        cr_expect_eq(m.size, 1200);
    }
    mtu_on_base(&m, NOW);
    searched(&m, 1452, NOW);
    cr_expect_lt(m.size, 1452);
    searched(&m, 1452, NOW + RAISE);
    cr_expect_eq(m.size, 1452);
}

/* RFC 8899 §5.2: 1,200 bytes do not pass any more: ERROR, which only their passing ends. */
Test(mtu, error)
{
    struct mtu m = mtu_new(1452);
    searched(&m, 1452, NOW);
    silence(&m, MTU_HOLE_REPORTS);
    for (unsigned i = 0; i < MTU_PROBES; i++) {
        cr_expect_eq(m.state, MTU_STATE_BASE);
        cr_expect_eq(mtu_next(&m, RAISE, NOW), MTU_BASE);
        mtu_probed(&m, MTU_BASE);
        mtu_on_probe(&m, MTU_BASE, true, NOW);
    }
    cr_expect_eq(m.state, MTU_STATE_ERROR);
    cr_expect_eq(mtu_next(&m, RAISE, NOW + RAISE), 0);
    mtu_on_report(&m, 1199, 0, NOW);
    cr_expect_eq(m.state, MTU_STATE_ERROR);
    mtu_on_base(&m, NOW);
    cr_expect_eq(m.state, MTU_STATE_SEARCHING);
    mtu_on_base(&m, NOW);
    cr_expect_eq(searched(&m, 1452, NOW), 1);
}

/* ---- whole connections over links whose MTU changes -------------------------------------------
 */

#define MS(n)      ((uint64_t)(n)*1000)
#define SECONDS(n) ((uint64_t)(n)*1000000)
#define MBIT(n)    ((uint64_t)(n)*125000)

struct link_row {
    const char *name;
    uint16_t limit; /* config */
    uint32_t before,
        after; /* UDP payload that the link carries, from `change` on the other; 0: any */
    uint16_t least, most; /* the MTU at the end */
    uint32_t loss_ppm;
    uint64_t raise_us;
};
static const struct link_row *playing;

static void link_change(struct sim *sim, uint64_t elapsed_us)
{
    sim->line[0][1].link.mtu = elapsed_us < SECONDS(4) ? playing->before : playing->after;
}

static struct flows_outcome played(const struct link_row *row, const char *cc, uint64_t seed)
{
    struct flows f = {.seed = seed,
                      .count = 1,
                      .cc = {cc},
                      .max_udp_payload = row->limit,
                      .mtu_raise_us = row->raise_us,
                      .change = link_change,
                      .measure_us = SECONDS(6),
                      .total_us = SECONDS(14)};
    struct flows_outcome outcome;
    playing = row;
    f.link[0] = (struct sim_link){.delay_us = MS(15),
                                  .rate_bytes = MBIT(10),
                                  .loss_ppm = row->loss_ppm,
                                  .queue_bytes = 37500};
    f.link[1] = (struct sim_link){.delay_us = MS(15)};
    flows_run(&f, &outcome);
    cr_expect(outcome.ok, "%s: %s", row->name, outcome.why);
    return outcome;
}

/* RFC 9000 §14.2, RFC 9000 §14.3: what the link carries is found, whatever becomes of it, with
 * losses and without; and the data goes on, since two seconds after a change at the latest: what is
 * measured then uses most of the link. */
Test(mtu, links, .timeout = 300)
{
    static const struct link_row rows[] = {
        {.name = "Ethernet", .least = 1452, .most = 1452},
        {.name = "a tunnel", .before = 1372, .after = 1372, .least = 1372, .most = 1372},
        {.name = "jumbo",
         .limit = 9000,
         .before = 8972,
         .after = 8972,
         .least = 8972,
         .most = 8972},
        {.name = "Ethernet, then a tunnel",
         .before = 1452,
         .after = 1372,
         .least = 1372,
         .most = 1372},
        {.name = "Ethernet, then the least",
         .before = 1452,
         .after = 1200,
         .least = 1200,
         .most = 1200},
        {.name = "jumbo, then Ethernet",
         .limit = 9000,
         .before = 9000,
         .after = 1472,
         .least = 1452,
         .most = 1472},
        {.name = "losses",
         .before = 1452,
         .after = 1300,
         .loss_ppm = 10000,
         .least = 1240,
         .most = 1300},
        {.name = "losses alone", .loss_ppm = 20000, .least = 1428, .most = 1452},
        {.name = "a larger one, later",
         .before = 1252,
         .after = 1452,
         .raise_us = SECONDS(3),
         .least = 1452,
         .most = 1452},
        {.name = "a larger one, not yet",
         .before = 1252,
         .after = 1452,
         .least = 1252,
         .most = 1252},
    };
    static const char *const controllers[] = {"cubic", "bbr"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (unsigned k = 0; k < 2; k++) {
            for (uint64_t seed = 1; seed <= 3; seed++) {
                struct flows_outcome o = played(&rows[i], controllers[k], seed);
                uint32_t mtu = o.flow[0].stats.mtu;
                cr_expect(mtu >= rows[i].least && mtu <= rows[i].most, "%s, %s: %u", rows[i].name,
                          controllers[k], mtu);
                cr_expect_gt(o.utilisation, rows[i].loss_ppm ? 0.2 : 0.85, "%s, %s: %.3f",
                             rows[i].name, controllers[k], o.utilisation);
            }
        }
    }
}

/* RFC 9000 §14.4: probes that are lost are no sign of congestion: a flow that loses nothing else
 * has no congestion event, though each probe above 1,200 bytes is lost. */
Test(mtu, lost_probes_are_no_congestion)
{
    static const struct link_row row = {.name = "probes alone", .before = 1200, .after = 1200};
    struct flows f = {.seed = 1,
                      .count = 1,
                      .cc = {"newreno"},
                      .change = link_change,
                      .measure_us = SECONDS(1),
                      .total_us = SECONDS(3),
                      .pause_us = MS(100),
                      .pause_bytes = 20000};
    struct flows_outcome o;
    playing = &row;
    f.link[0] = (struct sim_link){.delay_us = MS(15), .mtu = 1200};
    f.link[1] = (struct sim_link){.delay_us = MS(15)};
    flows_run(&f, &o);
    cr_expect(o.ok, "%s", o.why);
    cr_expect_eq(o.flow[0].stats.mtu, 1200);
    cr_expect_eq(o.flow[0].stats.ssthresh_bytes, UINT64_MAX, "never congested");
    cr_expect_eq(o.flow[0].stats.lost_packets, 0, "probes are not counted");
    cr_expect_gt(o.datagrams_dropped, 10, "%llu probes", (unsigned long long)o.datagrams_dropped);
}

/* ---- a path that carries less than the least ----------------------------------------------------
 */

/* Lets time pass, with a PING each 50 ms; larger datagrams of the client vanish. */
static void pings(struct pair *p, uint32_t carries, unsigned ms)
{
    struct side *s = &p->client;
    for (unsigned i = 0; i < ms && !s->closed; i++) {
        if (i % 50 == 0)
            (void)aq_ping(s->ep, s->conn, p->now_us);
        s->events = p->server.events = 0;
        pair_run(p, 1000);
        unsigned kept = 0;
        for (unsigned k = 0; k < s->outs; k++) {
            if (s->out[k].size <= carries)
                s->out[kept++] = s->out[k];
        }
        s->outs = kept;
    }
}

/* A client whose probes, even of 1,200 bytes, were lost. */
static struct conn *conn_in_error(struct pair *p)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)p->client.ep, p->client.conn);
    struct mtu *m = &conn_path(c)->mtu, before;
    searched(m, 1452, p->now_us);
    silence(m, MTU_HOLE_REPORTS);
    for (unsigned i = 0; i < MTU_PROBES; i++) {
        before = *m;
        mtu_probed(m, mtu_next(m, RAISE, p->now_us));
        mtu_on_probe(m, MTU_BASE, true, p->now_us);
        paths_mtu_told(c, conn_path(c), &before, p->now_us);
    }
    cr_assert_eq(m->state, MTU_STATE_ERROR);
    cr_assert(path_is_checked(conn_path(c)) && !conn_path(c)->mtu_valid);
    return c;
}

/* RFC 9000 §14.2, RFC 9000 §8.2.4: the path is asked, and given up where only small packets pass.
 */
Test(mtu, less_than_the_least)
{
    struct pair *p = pair_connected(NULL, NULL);
    conn_in_error(p);
    pings(p, 1199, 25000);
    cr_assert(p->client.closed);
    cr_expect_eq(p->client.close.code, AQ_NO_VIABLE_PATH, "%s", p->client.close.reason);
    pair_free(p);
}

/* RFC 8899 §5.2: ERROR ends when they pass after all. */
Test(mtu, the_least_again)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct conn *c = conn_in_error(p);
    pings(p, 1200, 25000);
    cr_assert_not(p->client.closed);
    cr_expect(conn_path(c)->mtu_valid && !path_is_checked(conn_path(c)));
    cr_expect_eq(conn_path(c)->mtu.state, MTU_STATE_SEARCHING);
    pair_free(p);
}
