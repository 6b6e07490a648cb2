/* nat_pow.c -- tests of nat/pow.c. */
#include "nat/pow.h"

#include "crypto/prim.h"

#include <criterion/criterion.h>

static const uint8_t secret[32] = {1};
static const struct peer_id me = {{1}}, other = {{2}};

/* PROTOCOL §3: counted by hand on the hash itself. */
Test(nat_pow, leading_zero_bits)
{
    uint8_t challenge[CHALLENGE_SIZE], in[CHALLENGE_SIZE + PEER_ID_SIZE + 8] = {0}, hash[32];
    pow_challenge(secret, &me, 0, challenge);
    memcpy(in, challenge, CHALLENGE_SIZE);
    memcpy(in + CHALLENGE_SIZE, me.bytes, PEER_ID_SIZE);
    for (unsigned n = 0; n < 2000; n++) {
        unsigned zero = 0;
        in[sizeof in - 1] = (uint8_t)n;
        in[sizeof in - 2] = (uint8_t)(n >> 8);
        prim_sha256(in, sizeof in, hash);
        while (!(hash[zero / 8] & 0x80 >> zero % 8))
            zero++;
        for (unsigned bits = 0; bits < 20; bits++)
            cr_expect_eq(pow_solves(challenge, &me, n, bits), bits <= zero, "%u: %u", n, bits);
    }
}

Test(nat_pow, search_goes_on_where_it_stopped)
{
    uint8_t challenge[CHALLENGE_SIZE];
    uint64_t at_once = 0, in_steps = 0;
    unsigned steps = 0;
    pow_challenge(secret, &me, 0, challenge);
    cr_assert(pow_search(challenge, &me, 10, 100000, &at_once));
    while (!pow_search(challenge, &me, 10, 7, &in_steps))
        steps++;
    cr_expect_eq(at_once, in_steps);
    cr_expect_eq(steps, at_once / 7);
    cr_expect(pow_solves(challenge, &me, at_once, 10));
    cr_expect_not(pow_solves(challenge, &other, at_once, 30), "it is for one peer");
}

/* PROTOCOL §3: a challenge is for one peer, for 60 to 120 seconds. */
Test(nat_pow, challenges)
{
    uint8_t challenge[CHALLENGE_SIZE], again[CHALLENGE_SIZE];
    uint8_t elsewhere[32] = {9};
    for (uint64_t now = 0; now < 200000000; now += 59999999) {
        uint64_t period = now / POW_PERIOD_US;
        pow_challenge(secret, &me, now, challenge);
        pow_challenge(secret, &me, now, again);
        cr_expect_arr_eq(challenge, again, CHALLENGE_SIZE, "nothing is stored");
        cr_expect(pow_challenge_is_ours(secret, &me, now, challenge));
        cr_expect(pow_challenge_is_ours(secret, &me, (period + 2) * POW_PERIOD_US - 1, challenge));
        cr_expect_not(pow_challenge_is_ours(secret, &me, (period + 2) * POW_PERIOD_US, challenge));
        cr_expect_not(pow_challenge_is_ours(secret, &other, now, challenge));
        cr_expect_not(pow_challenge_is_ours(elsewhere, &me, now, challenge));
        challenge[15] ^= 1;
        cr_expect_not(pow_challenge_is_ours(secret, &me, now, challenge));
    }
}
