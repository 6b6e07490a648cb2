/* ecn.c -- tests core/ecn.c: each way into each state of a path's validation, and what is reported
 * of congestion. */
#include "core/ecn.h"
#include "core/endpoint.h"

#include "tests/pair.h"

static struct frame_ack counts_of(uint64_t ect0, uint64_t ect1, uint64_t ce)
{
    return (struct frame_ack){.ect0 = ect0, .ect1 = ect1, .ce = ce, .has_ecn = true};
}

/* A path whose ten packets are sent. */
static void tested(struct ecn *ecn, struct ecn_counts *counts)
{
    *counts = (struct ecn_counts){0};
    ecn_init(ecn, true);
    cr_assert_eq(ecn->state, ECN_TESTING);
    cr_assert_eq(ecn_may_mark(ecn, 64), ECN_TEST_PACKETS);
    ecn_on_sent(ecn, counts, 4, 0);
    cr_assert_eq(ecn_may_mark(ecn, 64), 6);
    cr_assert_eq(ecn_may_mark(ecn, 2), 2);
    ecn_on_sent(ecn, counts, 6, 0);
    cr_assert_eq(ecn->state, ECN_UNKNOWN);
    cr_assert_eq(ecn_may_mark(ecn, 1), 0);
    cr_assert_not(ecn_marks(ecn));
}

Test(ecn, off_stays_off)
{
    struct ecn ecn;
    struct ecn_counts counts = {0};
    struct frame_ack ack = counts_of(3, 0, 2);
    ecn_init(&ecn, false);
    cr_assert_eq(ecn_may_mark(&ecn, 8), 0);
    cr_assert_eq(ecn_on_ack(&ecn, &counts, &ack, 0), 0);
    ecn_on_lost(&ecn);
    cr_assert_eq(ecn.state, ECN_OFF);
}

/* RFC 9000 §13.4.2.1, A.4: fitting counts make it capable, at any size of the increase. */
Test(ecn, capable)
{
    struct ecn ecn;
    struct ecn_counts counts;
    struct frame_ack ack = counts_of(8, 0, 1);
    tested(&ecn, &counts);
    cr_assert_eq(ecn_on_ack(&ecn, &counts, &ack, 7), 1, "one met congestion");
    cr_assert_eq(ecn.state, ECN_CAPABLE);
    cr_assert_eq(ecn_may_mark(&ecn, 64), 64);
    ecn_on_sent(&ecn, &counts, 20, 0);
    ack = counts_of(25, 0, 4);
    cr_assert_eq(ecn_on_ack(&ecn, &counts, &ack, 20), 3);
    cr_assert_eq(ecn_on_ack(&ecn, &counts, &ack, 0), 0, "told once");
    ecn_on_lost(&ecn);
    cr_assert_eq(ecn.state, ECN_CAPABLE);
}

/* RFC 9000 §13.4.2.1: each reason to fail, also of a path that was capable. */
Test(ecn, failed)
{
    static const struct {
        struct frame_ack ack;
        uint64_t marked;
        const char *why;
    } rows[] = {
        {{.has_ecn = false}, 1, "no counts"},
        {{.has_ecn = true, .ect0 = 10, .ce = 1}, 7, "less than newly acknowledged"},
        {{.has_ecn = true, .ect0 = 5, .ce = 2}, 0, "a count shrank"},
        {{.has_ecn = true, .ect0 = 10, .ce = 2, .ect1 = 1}, 1, "ECT(1) was never set"},
        {{.has_ecn = true, .ect0 = 21, .ce = 2}, 10, "more than were sent"},
        {{.has_ecn = true, .ect0 = 8, .ce = 21}, 10, "more than were sent"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ecn ecn;
        struct ecn_counts counts;
        struct frame_ack first = counts_of(6, 0, 2);
        tested(&ecn, &counts);
        ecn_on_ack(&ecn, &counts, &first, 8);
        cr_assert_eq(ecn.state, ECN_CAPABLE);
        ecn_on_sent(&ecn, &counts, 10, 0);
        cr_expect_eq(ecn_on_ack(&ecn, &counts, &rows[i].ack, rows[i].marked), 0);
        cr_expect_eq(ecn.state, ECN_FAILED, "%s", rows[i].why);
        cr_expect_eq(ecn_may_mark(&ecn, 1), 0);
    }
}

/* RFC 9000 §13.4.2: all lost, and only all. */
Test(ecn, all_marked_packets_lost)
{
    struct ecn ecn;
    struct ecn_counts counts;
    struct frame_ack ack = counts_of(1, 0, 0);
    tested(&ecn, &counts);
    for (unsigned i = 0; i < ECN_TEST_PACKETS; i++) {
        cr_assert_eq(ecn.state, ECN_UNKNOWN);
        ecn_on_lost(&ecn);
    }
    cr_assert_eq(ecn.state, ECN_FAILED);
    tested(&ecn, &counts);
    for (unsigned i = 0; i + 1 < ECN_TEST_PACKETS; i++)
        ecn_on_lost(&ecn);
    ecn_on_ack(&ecn, &counts, &ack, 1);
    ecn_on_lost(&ecn);
    cr_assert_eq(ecn.state, ECN_CAPABLE);
}

/* ACKs alone are never declared lost: the others decide. */
Test(ecn, all_that_tell_lost)
{
    struct ecn ecn;
    struct ecn_counts counts = {0};
    ecn_init(&ecn, true);
    ecn_on_sent(&ecn, &counts, 8, 6);
    ecn_on_sent(&ecn, &counts, 2, 1);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ecn.state, ECN_UNKNOWN);
        ecn_on_lost(&ecn);
    }
    cr_assert_eq(ecn.state, ECN_FAILED);
}

/* RFC 9000 §13.4.2: where a timeout tells that nothing arrives, what goes next goes without marks;
 * those that went decide. */
Test(ecn, timeout_while_testing)
{
    struct ecn ecn;
    struct ecn_counts counts = {0};
    struct frame_ack ack = counts_of(3, 0, 0);
    ecn_init(&ecn, true);
    ecn_on_pto(&ecn);
    cr_assert_eq(ecn.state, ECN_TESTING, "none was marked");
    ecn_on_sent(&ecn, &counts, 3, 0);
    ecn_on_pto(&ecn);
    cr_assert_eq(ecn.state, ECN_UNKNOWN);
    cr_assert_eq(ecn_may_mark(&ecn, 4), 0);
    struct ecn lost = ecn;
    for (unsigned i = 0; i < 3; i++)
        ecn_on_lost(&lost);
    cr_assert_eq(lost.state, ECN_FAILED);
    ecn_on_ack(&ecn, &counts, &ack, 3);
    cr_assert_eq(ecn.state, ECN_CAPABLE, "they came after all");
    ecn_on_pto(&ecn);
    cr_assert_eq(ecn.state, ECN_CAPABLE);
}

/* RFC 9000 A.4: a path that marks everything. */
Test(ecn, all_marked_packets_congested)
{
    struct ecn ecn;
    struct ecn_counts counts;
    struct frame_ack ack = counts_of(0, 0, 10);
    tested(&ecn, &counts);
    cr_assert_eq(ecn_on_ack(&ecn, &counts, &ack, 10), 0);
    cr_assert_eq(ecn.state, ECN_FAILED);
}

/* The space goes on counting when the path changes. */
Test(ecn, the_next_path_counts_from_there)
{
    struct ecn ecn, next;
    struct ecn_counts counts;
    struct frame_ack ack = counts_of(9, 1, 0);
    tested(&ecn, &counts);
    ecn_on_ack(&ecn, &counts, &ack, 10);
    cr_assert_eq(ecn.state, ECN_FAILED);
    ecn_init(&next, true);
    ecn_on_sent(&next, &counts, 10, 0);
    ack = counts_of(10, 0, 0);
    ecn_on_ack(&next, &counts, &ack, 10);
    cr_assert_eq(next.state, ECN_FAILED, "one of ten was seen");
    ecn_init(&next, true);
    ecn_on_sent(&next, &counts, 10, 0);
    ack = counts_of(20, 0, 0);
    ecn_on_ack(&next, &counts, &ack, 10);
    cr_assert_eq(next.state, ECN_CAPABLE);
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct conn *inside(struct side *s)
{
    struct endpoint *ep = (struct endpoint *)s->ep;
    return conn_at(ep, pool_find(&ep->conns, s->conn));
}

static struct aq_conn_stats stats_of(struct side *s)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    cr_assert_eq(aq_conn_stats(s->ep, s->conn, &stats), AQ_OK);
    return stats;
}

/* The client writes so many bytes on a new stream; time passes. */
static void upload(struct pair *p, size_t size)
{
    static uint8_t bytes[200000];
    aq_stream stream;
    struct aq_iov iov = {bytes, size};
    cr_assert(size <= sizeof bytes);
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), (int64_t)size);
    pair_run(p, 1000000);
}

static uint8_t bleach(uint8_t ecn, uint64_t nth)
{
    (void)ecn;
    (void)nth;
    return AQ_ECN_NOT;
}

static uint8_t congest(uint8_t ecn, uint64_t nth)
{
    return ecn == AQ_ECN_ECT0 && nth % 40 == 39 ? AQ_ECN_CE : ecn;
}

/* RFC 9000 §13.4.2.2: marks that arrive and are reported stay; the peer says how many it saw. */
Test(ecn, a_way_that_keeps_marks)
{
    struct pair *p = pair_connected(NULL, NULL);
    upload(p, 100000);
    cr_expect_eq(stats_of(&p->client).ecn_state, AQ_ECN_STATE_CAPABLE);
    cr_expect_gt(stats_of(&p->server).ecn_ect0, 50);
    cr_expect_eq(stats_of(&p->server).ecn_ce, 0);
    pair_free(p);
}

/* RFC 9000 §13.4.2.1: a network element that zeroes the field. */
Test(ecn, a_way_that_bleaches)
{
    struct pair *p = pair_new(NULL, NULL);
    p->server.remark = bleach;
    pair_dial(p);
    pair_run(p, 200000);
    upload(p, 100000);
    cr_expect_eq(stats_of(&p->client).ecn_state, AQ_ECN_STATE_FAILED);
    uint64_t before = inside(&p->client)->ecn.sent;
    upload(p, 100000);
    cr_expect_eq(inside(&p->client)->ecn.sent, before, "no more marks");
    pair_free(p);
}

/* RFC 9002 §7.1: CE makes the window smaller, and nothing is lost. */
Test(ecn, congestion_is_heard)
{
    struct pair *p = pair_connected(NULL, NULL);
    p->server.remark = congest;
    upload(p, 150000);
    struct aq_conn_stats client = stats_of(&p->client);
    cr_expect_eq(client.ecn_state, AQ_ECN_STATE_CAPABLE);
    cr_expect_gt(stats_of(&p->server).ecn_ce, 0);
    cr_expect_lt(client.ssthresh_bytes, 200000, "left slow start");
    cr_expect_eq(client.lost_packets, 0);
    pair_free(p);
}

Test(ecn, not_wanted)
{
    struct aq_config config;
    pair_config(&config, false);
    config.no_ecn = true;
    struct pair *p = pair_connected(&config, NULL);
    upload(p, 50000);
    cr_expect_eq(stats_of(&p->client).ecn_state, AQ_ECN_STATE_OFF);
    cr_expect_eq(stats_of(&p->server).ecn_ect0, 0);
    pair_free(p);
}
