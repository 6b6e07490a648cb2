/* range.c -- tests of core/range.c: random operations against a bitmap, and the edges of a full
 * set. */
#include "core/range.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    SPACE = 160,
    MAX = 12
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static unsigned runs_of(const bool *bits)
{
    unsigned runs = 0;
    for (unsigned i = 0; i < SPACE; i++)
        runs += bits[i] && (i == 0 || !bits[i - 1]);
    return runs;
}

/* The set says what the bits say, and is in its one normal form. */
static void check(const struct range_set *set, const bool *bits)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < SPACE; i++) {
        cr_assert_eq(range_has(set, i), bits[i], "%u", i);
        total += bits[i];
    }
    cr_assert_eq(range_total(set), total);
    cr_assert_eq(set->count, runs_of(bits));
    for (unsigned i = 0; i < set->count; i++) {
        cr_assert(set->v[i].lo < set->v[i].hi);
        cr_assert(i == 0 || set->v[i - 1].hi < set->v[i].lo);
    }
}

/* Sets the bits as the operation should, where there is room for the result. */
static bool model(bool *bits, uint64_t lo, uint64_t hi, bool value)
{
    bool after[SPACE];
    memcpy(after, bits, sizeof after);
    for (uint64_t i = lo; i < hi; i++)
        after[i] = value;
    if (runs_of(after) > MAX)
        return false;
    memcpy(bits, after, sizeof after);
    return true;
}

static void check_queries(const struct range_set *set, const bool *bits, uint64_t lo, uint64_t hi)
{
    bool all = true, any = false;
    for (uint64_t i = lo; i < hi; i++) {
        all &= bits[i];
        any |= bits[i];
    }
    cr_assert_eq(range_covers(set, lo, hi), all);
    cr_assert_eq(range_touches(set, lo, hi), any);
}

Test(range, like_a_bitmap)
{
    uint64_t seed = 21;
    unsigned refused = 0;
    for (unsigned run = 0; run < 300; run++) {
        struct range v[MAX + 1];
        struct range_set set = {v, 0, MAX};
        bool bits[SPACE] = {false};
        v[MAX] = (struct range){77, 78}; /* never written */
        for (unsigned step = 0; step < 200; step++) {
            uint64_t lo = next_random(&seed) % SPACE, hi = lo + next_random(&seed) % (run % 30 + 1);
            hi = hi > SPACE ? SPACE : hi;
            switch (next_random(&seed) % 8) {
            case 0:
            case 1:
            case 2:
            case 3: {
                bool fits = model(bits, lo, hi, true);
                cr_assert_eq(range_add(&set, lo, hi), fits);
                refused += !fits;
                break;
            }
            case 4:
            case 5: {
                bool fits = model(bits, lo, hi, false);
                cr_assert_eq(range_remove(&set, lo, hi), fits);
                refused += !fits;
                break;
            }
            case 6:
                if (step % 16 == 0) {
                    range_trim(&set, lo);
                    memset(bits, false, lo);
                }
                break;
            default:
                if (set.count == MAX) {
                    model(bits, v[0].lo, v[0].hi, false);
                    range_drop_lowest(&set);
                }
                break;
            }
            check(&set, bits);
            check_queries(&set, bits, lo, hi);
        }
        cr_assert(v[MAX].lo == 77 && v[MAX].hi == 78);
    }
    cr_expect_gt(refused, 100);
}

Test(range, a_full_set_refuses_and_is_unchanged)
{
    struct range v[2];
    struct range_set set = {v, 0, 2};
    cr_expect(range_add(&set, 10, 20) && range_add(&set, 30, 40));
    cr_expect(!range_add(&set, 50, 60));
    cr_expect(!range_add(&set, 22, 28));
    cr_expect(!range_remove(&set, 12, 13));
    cr_expect(set.count == 2 && v[0].lo == 10 && v[0].hi == 20 && v[1].lo == 30 && v[1].hi == 40);
    cr_expect(range_add(&set, 40, 41), "it adjoins: no new range");
    cr_expect(range_remove(&set, 10, 13), "an end: no split");
    cr_expect(range_add(&set, 15, 35));
    cr_expect(set.count == 1 && v[0].lo == 13 && v[0].hi == 41);
}

Test(range, edges_of_the_numbers)
{
    struct range v[3];
    struct range_set set = {v, 0, 3};
    cr_expect(range_add(&set, 5, 5) && set.count == 0);
    cr_expect(range_covers(&set, 5, 5) && !range_touches(&set, 5, 5));
    cr_expect(!range_has(&set, 0) && range_total(&set) == 0);
    cr_expect(range_add(&set, 0, 1) && range_add(&set, UINT64_MAX - 1, UINT64_MAX));
    cr_expect(range_has(&set, 0) && range_has(&set, UINT64_MAX - 1) && range_total(&set) == 2);
    cr_expect(range_add(&set, 0, UINT64_MAX));
    cr_expect(set.count == 1 && range_total(&set) == UINT64_MAX);
    range_trim(&set, UINT64_MAX);
    cr_expect_eq(set.count, 0);
}
