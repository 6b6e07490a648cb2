/* rng.c -- tests of core/rng.c: the same seed gives the same bytes, used bytes and keys do not
 * stay, no bias. */
#include "core/rng.h"
#include "crypto/prim.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t seed_a[32] = {1, 2, 3};

/* RFC 8439 A.1, vector 1: key and nonce zero, block 0; its first 32 bytes are the next key. */
Test(rng, is_chacha20)
{
    static const char block[] = "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                                "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586";
    uint8_t expect[64], got[32], zero[32] = {0};
    struct rng rng;
    hex_bytes(block, expect, sizeof expect);
    rng_init(&rng, zero);
    rng_fill(&rng, got, sizeof got);
    cr_expect_arr_eq(rng.key, expect, 32);
    cr_expect_arr_eq(got, expect + 32, 32);
}

Test(rng, same_seed_same_bytes_however_they_are_asked_for)
{
    uint8_t whole[2000], parts[2000], other[2000];
    struct rng a, b, c;
    uint8_t seed_c[32] = {1, 2, 4};
    rng_init(&a, seed_a);
    rng_init(&b, seed_a);
    rng_init(&c, seed_c);
    rng_fill(&a, whole, sizeof whole);
    rng_fill(&c, other, sizeof other);
    for (size_t at = 0, n = 0; at < sizeof parts; at += n) {
        n = at % 301 < sizeof parts - at ? at % 301 : sizeof parts - at;
        n = n ? n : 1;
        rng_fill(&b, parts + at, n);
    }
    cr_expect_arr_eq(whole, parts, sizeof whole);
    cr_expect_arr_neq(whole, other, sizeof whole);
    cr_expect_eq(rng_u64(&a), rng_u64(&b));
    rng_fill(&a, NULL, 0);
}

/* What was handed out, and the key it came from, are nowhere in the struct. */
Test(rng, forgets)
{
    struct rng rng;
    uint8_t out[100], first_key[32];
    rng_init(&rng, seed_a);
    rng_fill(&rng, out, sizeof out);
    const uint8_t *bytes = (const uint8_t *)&rng;
    for (size_t i = 0; i + 8 <= sizeof rng; i++) {
        cr_expect_neq(memcmp(bytes + i, out, 8), 0);
        cr_expect_neq(memcmp(bytes + i, out + 92, 8), 0);
        cr_expect_neq(memcmp(bytes + i, seed_a, 8), 0);
    }
    memcpy(first_key, rng.key, 32);
    for (unsigned i = 0; i < 3; i++)
        rng_fill(&rng, out, sizeof out);
    cr_expect_arr_neq(rng.key, first_key, 32);
}

Test(rng, below_is_in_bounds_and_even)
{
    struct rng rng;
    unsigned counts[7] = {0};
    rng_init(&rng, seed_a);
    for (unsigned i = 0; i < 70000; i++) {
        uint64_t v = rng_below(&rng, 7);
        cr_assert_lt(v, 7);
        counts[v]++;
    }
    for (unsigned i = 0; i < 7; i++)
        cr_expect(counts[i] > 9600 && counts[i] < 10400, "%u of %u", counts[i], i);
    unsigned high = 0;
    const uint64_t limit = (UINT64_C(1) << 63) + 1; /* nearly half of all draws are drawn again */
    for (unsigned i = 0; i < 4000; i++) {
        uint64_t v = rng_below(&rng, limit);
        cr_assert_lt(v, limit);
        high += v >= limit / 2;
    }
    cr_expect(high > 1850 && high < 2150, "%u", high);
    for (unsigned i = 0; i < 20; i++)
        cr_expect_eq(rng_below(&rng, 1), 0);
}
