/* nat_limit.c -- tests of nat/limit.c: rates kept exactly, per key, and in bounded memory. */
#include "nat/limit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t key[2] = {1, 2};
static const struct limit_rate rate = {1000, 10}; /* 1,000 a second, 10 at once */

static struct limiter make(uint32_t count)
{
    struct limiter l;
    void *mem = calloc(1, limiter_size(count));
    cr_assert_not_null(mem);
    limiter_init(&l, mem, count, key);
    return l;
}

Test(nat_limit, burst_then_rate)
{
    for (uint64_t start = 0; start < 3000000; start += 1000000) {
        uint64_t full = 0;
        for (unsigned i = 0; i < 10; i++)
            cr_expect_eq(limit_take_one(&full, &rate, start), 0, "%u", i);
        cr_expect_eq(limit_take_one(&full, &rate, start), 1000);
        cr_expect_eq(limit_take_one(&full, &rate, start + 999), 1);
        cr_expect_eq(limit_take_one(&full, &rate, start + 1000), 0);
        cr_expect_eq(limit_take_one(&full, &rate, start + 1000), 1000);
        /* Silence gives the burst back, and no more. */
        unsigned taken = 0;
        while (limit_take_one(&full, &rate, start + 900000) == 0)
            taken++;
        cr_expect_eq(taken, 10);
    }
}

/* Whoever asks all the time gets exactly the rate: refusals cost nothing and earn nothing. */
Test(nat_limit, long_run)
{
    uint64_t full = 0;
    unsigned taken = 0;
    for (uint64_t now = 0; now < 1000000; now += 100)
        taken += limit_take_one(&full, &rate, now) == 0;
    cr_expect(taken >= 1009 && taken <= 1010, "%u", taken);
}

Test(nat_limit, keys_are_apart)
{
    struct limiter l = make(1024);
    for (unsigned k = 0; k < 100; k++) {
        uint8_t name[2] = {(uint8_t)k, 7};
        for (unsigned i = 0; i < 10; i++)
            cr_expect_eq(limit_take(&l, &rate, name, 2, 5), 0);
        cr_expect_gt(limit_take(&l, &rate, name, 2, 5), 0);
    }
    free(l.v);
}

static struct aq_addr v4(unsigned last, uint16_t port)
{
    return (struct aq_addr){.family = 4, .ip = {203, 0, 113, (uint8_t)last}, .port = port};
}

static struct aq_addr v6(unsigned net, unsigned host)
{
    struct aq_addr a = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8, 0, 1}, .port = 1};
    a.ip[7] = (uint8_t)net;
    a.ip[6] = (uint8_t)(net >> 8);
    a.ip[15] = (uint8_t)host;
    return a;
}

static unsigned taken_by(struct limiter *l, const struct aq_addr *a)
{
    unsigned taken = 0;
    while (taken < 1000 && limit_take_addr(l, &rate, a, 5) == 0)
        taken++;
    return taken;
}

/* PROTOCOL §3: per IPv4 address, whatever the port; per IPv6 /64, and /48. */
Test(nat_limit, addresses)
{
    struct limiter l = make(1024);
    struct aq_addr a = v4(1, 1), same = v4(1, 2), b = v4(2, 1);
    cr_expect_eq(taken_by(&l, &a), 10);
    cr_expect_eq(taken_by(&l, &same), 0);
    cr_expect_eq(taken_by(&l, &b), 10);
    struct aq_addr host = v6(0, 1), neighbour = v6(0, 2), net;
    cr_expect_eq(taken_by(&l, &host), 10);
    cr_expect_eq(taken_by(&l, &neighbour), 0);
    unsigned all = 10;
    for (unsigned i = 1; i < 50; i++) {
        net = v6(i, 1);
        all += taken_by(&l, &net);
    }
    /* The /48 has eight times as many; refused ones of its /64s have taken from it as well. */
    cr_expect(all >= 60 && all <= 80, "%u", all);
    free(l.v);
}

/* A million keys in a table for 64: memory stays, and nobody is refused for what others did. */
Test(nat_limit, a_flood_of_keys)
{
    struct limiter l = make(64);
    cr_expect_eq(limiter_size(64), 64 * sizeof(struct limit_bucket));
    for (uint32_t k = 0; k < 1000000; k++) {
        uint8_t name[4];
        memcpy(name, &k, 4);
        cr_assert_eq(limit_take(&l, &rate, name, 4, 5), 0);
    }
    free(l.v);
}

/* A bucket that is in use is not the one to be pushed out while there are fuller ones. */
Test(nat_limit, the_fullest_goes_first)
{
    struct limiter l = make(4); /* one set */
    uint8_t busy = 1;
    while (limit_take(&l, &rate, &busy, 1, 5) == 0)
        ;
    for (uint8_t k = 10; k < 200; k++)
        cr_expect_eq(limit_take(&l, &rate, &k, 1, 5), 0);
    cr_expect_gt(limit_take(&l, &rate, &busy, 1, 5), 0);
    free(l.v);
}
