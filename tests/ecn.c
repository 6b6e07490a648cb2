/* ecn.c -- tests core/ecn.c: each way into each state of a path's validation, and what is reported
 * of congestion. */
#include "core/ecn.h"

#include <criterion/criterion.h>

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
    ecn_on_sent(ecn, counts, 4);
    cr_assert_eq(ecn_may_mark(ecn, 64), 6);
    cr_assert_eq(ecn_may_mark(ecn, 2), 2);
    ecn_on_sent(ecn, counts, 6);
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
    ecn_on_sent(&ecn, &counts, 20);
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
        ecn_on_sent(&ecn, &counts, 10);
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
    ecn_on_sent(&next, &counts, 10);
    ack = counts_of(10, 0, 0);
    ecn_on_ack(&next, &counts, &ack, 10);
    cr_assert_eq(next.state, ECN_FAILED, "one of ten was seen");
    ecn_init(&next, true);
    ecn_on_sent(&next, &counts, 10);
    ack = counts_of(20, 0, 0);
    ecn_on_ack(&next, &counts, &ack, 10);
    cr_assert_eq(next.state, ECN_CAPABLE);
}
