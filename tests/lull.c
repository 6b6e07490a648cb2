/* lull.c -- tests reactor/lull.c: which rows of waits make a loop spin, and which end it. */
#include "reactor/lull.h"

#include <criterion/criterion.h>

static uint64_t moved;

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

Test(lull, a_row_of_short_waits_starts_it)
{
    struct lull lull;
    lull_init(&lull, false);
    cr_expect_eq(waits(&lull, LULL_TRIES_LEAST), 0);
    cr_expect_eq(waits(&lull, 1000), 1000, "what pays goes on");
}

Test(lull, one_long_wait_begins_the_row_anew)
{
    static const struct {
        uint64_t us;
        bool came, spins;
    } rows[] = {{LULL_SHORT_US, true, true},
                {LULL_SHORT_US + 1, true, false},
                {LULL_SHORT_US, false, false}, /* a timer, not traffic */
                {1000000, true, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lull lull;
        lull_init(&lull, false);
        (void)waits(&lull, LULL_TRIES_LEAST - 1);
        cr_assert_not(lull_begin(&lull, moved));
        lull_end(&lull, false, rows[i].us, rows[i].came);
        cr_expect_eq(lull_begin(&lull, moved), rows[i].spins, "row %u", i);
    }
}

Test(lull, a_spin_in_vain_doubles_what_the_next_one_takes)
{
    struct lull lull;
    lull_init(&lull, false);
    unsigned needed = LULL_TRIES_LEAST;
    cr_expect_eq(waits(&lull, needed), 0);
    for (unsigned i = 0; i < 20; i++) {
        spin_in_vain(&lull);
        needed = needed < LULL_TRIES_MOST ? 2 * needed : needed;
        cr_expect_eq(waits(&lull, needed), 0, "after %u in vain", i + 1);
    }
    cr_expect_eq(needed, LULL_TRIES_MOST);
    cr_expect_eq(waits(&lull, LULL_PAID), LULL_PAID);
    spin_in_vain(&lull);
    cr_expect_eq(waits(&lull, 2 * LULL_TRIES_LEAST), 0, "a row that paid has forgiven all");
    cr_expect_eq(waits(&lull, 1), 1);
}

Test(lull, never_while_bulk_moves)
{
    struct lull lull;
    lull_init(&lull, false);
    for (unsigned i = 0; i < 100; i++) {
        moved += LULL_BULK_BYTES;
        cr_expect_not(wait_once(&lull, 30));
    }
    cr_expect_eq(waits(&lull, LULL_TRIES_LEAST - 1), 0);
    cr_expect_eq(waits(&lull, 1), 1);
    moved += LULL_BULK_BYTES;
    cr_expect_not(wait_once(&lull, 30), "bulk ends it, too");
}

Test(lull, never_alone)
{
    struct lull lull;
    lull_init(&lull, true);
    cr_expect_eq(waits(&lull, 3 * LULL_TRIES_MOST), 0);
}
