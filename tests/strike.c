/* strike.c -- tests of core/strike.c: never twice, never pushed out, and what is full refuses. */
#include "core/strike.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    SLOTS = 64
};

static struct strike make(void)
{
    struct strike s;
    void *mem = calloc(1, strike_size(SLOTS));
    cr_assert_not_null(mem);
    strike_init(&s, mem, SLOTS);
    return s;
}

Test(strike, takes_each_once_within_its_life)
{
    struct strike s = make();
    uint64_t life_us = (uint64_t)STRIKE_LIFE_S * 1000000;
    for (uint64_t hash = 0; hash < SLOTS / 2; hash++)
        cr_expect(strike_take(&s, hash, 5000000));
    for (uint64_t hash = 0; hash < SLOTS / 2; hash++) {
        cr_expect_not(strike_take(&s, hash, 5000000));
        cr_expect_not(strike_take(&s, hash, 5000000 + life_us), "not before its life is over");
    }
    cr_expect(strike_take(&s, 1, 6000000 + life_us));
    cr_expect_not(strike_take(&s, 1, 6000000 + life_us));
    free(s.v);
}

/* RFC 8446 §8: what the register cannot hold is refused; what it holds stays. */
Test(strike, full_refuses_and_forgets_nothing)
{
    struct strike s = make();
    uint64_t stride = SLOTS / STRIKE_WAYS; /* all in one bucket */
    for (uint64_t i = 0; i < STRIKE_WAYS; i++)
        cr_expect(strike_take(&s, i * stride, 0));
    cr_expect_not(strike_take(&s, STRIKE_WAYS * stride, 0), "the bucket is full");
    cr_expect(strike_take(&s, 1, 0), "another one is not");
    for (uint64_t i = 0; i < STRIKE_WAYS; i++)
        cr_expect_not(strike_take(&s, i * stride, 0));
    free(s.v);
}
