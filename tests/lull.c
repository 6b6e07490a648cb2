/* lull.c -- tests reactor/lull.c: which rows of waits make a loop spin, and which end it; both
 * kinds of waits go by the same rules with numbers of their own. */
#include "reactor/lull.h"

#include <criterion/criterion.h>

static uint64_t moved;

static struct lull lull_of(unsigned kind)
{
    struct lull lull;
    lull_init(&lull, (enum lull_kind)kind, false);
    lull.moved_bytes = moved;
    return lull;
}

/* One wait that something ended; true: it was spent spinning. */
static bool wait_once(struct lull *lull, uint64_t asleep_us)
{
    moved += 1000;
    bool spins = lull_begin(lull, moved);
    lull_end(lull, spins, spins ? 0 : asleep_us, true);
    return spins;
}

/* So many waits of 30 us asleep, or spins that pay; how many were spins. */
static unsigned waits(struct lull *lull, unsigned n)
{
    unsigned spins = 0;
    for (unsigned i = 0; i < n; i++)
        spins += wait_once(lull, 30);
    return spins;
}

/* A spin in vain: the caller has seen to it that one is due. */
static void spin_in_vain(struct lull *lull)
{
    cr_assert(lull_begin(lull, moved));
    lull_end(lull, true, 0, false);
}

/* Who waits for an answer of his own asking may look longer, but never long. */
Test(lull, the_rules)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++) {
        const struct lull_rule *rule = &lull_rules[kind];
        cr_expect(rule->spin_us > 0 && rule->spin_us <= 300, "of kind %u", kind);
        cr_expect_geq(rule->short_us, rule->spin_us, "else what a spin would get is not short");
        cr_expect(rule->tries_least > 1 && rule->tries_least < LULL_TRIES_MOST);
        cr_expect_gt(rule->paid, 1);
    }
    cr_expect_lt(lull_rules[LULL_ANY].spin_us, lull_rules[LULL_DIAL].spin_us);
}

static void a_row_starts_it(unsigned kind)
{
    struct lull lull = lull_of(kind);
    cr_expect_eq(waits(&lull, lull.rule->tries_least), 0);
    cr_expect_eq(waits(&lull, 1000), 1000, "what pays goes on");
}

Test(lull, a_row_of_short_waits_starts_it)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++)
        a_row_starts_it(kind);
}

static void rows_begin_anew(unsigned kind)
{
    const uint64_t most = lull_rules[kind].short_us;
    const struct {
        uint64_t us;
        bool came, spins;
    } rows[] = {{most, true, true},
                {most + 1, true, false},
                {most, false, false}, /* a timer, not traffic */
                {1000000, true, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lull lull = lull_of(kind);
        (void)waits(&lull, lull.rule->tries_least - 1);
        cr_assert_not(lull_begin(&lull, moved));
        lull_end(&lull, false, rows[i].us, rows[i].came);
        cr_expect_eq(lull_begin(&lull, moved), rows[i].spins, "row %u", i);
    }
}

Test(lull, one_long_wait_begins_the_row_anew)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++)
        rows_begin_anew(kind);
}

static void spins_in_vain_double(unsigned kind)
{
    struct lull lull = lull_of(kind);
    const struct lull_rule *rule = lull.rule;
    unsigned needed = rule->tries_least;
    cr_expect_eq(waits(&lull, needed), 0);
    for (unsigned i = 0; i < 20; i++) {
        spin_in_vain(&lull);
        needed = needed < LULL_TRIES_MOST ? 2 * needed : needed;
        cr_expect_eq(waits(&lull, needed), 0, "after %u in vain", i + 1);
    }
    cr_expect_eq(needed, LULL_TRIES_MOST);
    cr_expect_eq(waits(&lull, rule->paid), rule->paid);
    spin_in_vain(&lull);
    cr_expect_eq(waits(&lull, 2 * rule->tries_least), 0, "a row that paid has forgiven all");
    cr_expect_eq(waits(&lull, 1), 1);
}

Test(lull, a_spin_in_vain_doubles_what_the_next_one_takes)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++)
        spins_in_vain_double(kind);
}

static void bulk_ends_it(unsigned kind)
{
    struct lull lull = lull_of(kind);
    for (unsigned i = 0; i < 100; i++) {
        moved += LULL_BULK_BYTES;
        cr_expect_not(wait_once(&lull, 30));
    }
    cr_expect_eq(waits(&lull, lull.rule->tries_least - 1), 0);
    cr_expect_eq(waits(&lull, 1), 1);
    moved += LULL_BULK_BYTES;
    cr_expect_not(wait_once(&lull, 30), "bulk ends it, too");
}

Test(lull, never_while_bulk_moves)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++)
        bulk_ends_it(kind);
}

Test(lull, never_alone)
{
    for (unsigned kind = 0; kind < LULL_KINDS; kind++) {
        struct lull lull;
        lull_init(&lull, (enum lull_kind)kind, true);
        cr_expect_eq(waits(&lull, 3 * LULL_TRIES_MOST), 0);
    }
}

/* Bulk in single datagrams is worth a nap; small ones may be what somebody waits for. */
Test(lull, naps_where_bulk_comes_singly)
{
    static const struct {
        uint64_t datagrams, bytes;
        bool naps;
    } rows[] = {{12, 12 * UINT64_C(1452), true},
                {11, 11 * UINT64_C(1452), false},
                {0, 0, false}, /* all of it by GRO, or nothing */
                {LULL_BULK_BYTES / LULL_BULK_DATAGRAM, LULL_BULK_BYTES, true},
                {LULL_BULK_BYTES / LULL_BULK_DATAGRAM + 1, LULL_BULK_BYTES, false},
                {1, 65000, true}};
    struct lull_nap nap = {0};
    uint64_t datagrams = 0, bytes = 0;
    for (unsigned turn = 0; turn < 3; turn++) {
        for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            datagrams += rows[i].datagrams;
            bytes += rows[i].bytes;
            cr_expect_eq(lull_naps(&nap, datagrams, bytes), rows[i].naps, "row %u", i);
            cr_expect_not(lull_naps(&nap, datagrams, bytes), "and nothing more came");
        }
    }
}
