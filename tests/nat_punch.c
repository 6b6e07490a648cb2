/* nat_punch.c -- tests of nat/punch.c: budgets that cannot be got around, and the schedule. */
#include "nat/punch.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct budget budget;

static void start(uint32_t count)
{
    static const uint64_t key[2] = {5, 6};
    void *mem = calloc(1, budget_size(count));
    cr_assert_not_null(mem);
    budget_init(&budget, mem, count, key);
}

static struct aq_addr v4(unsigned n, uint16_t port)
{
    return (struct aq_addr){
        .family = 4, .ip = {198, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}, .port = port};
}

/* PROTOCOL §5: 12 a minute, wherever it begins, whatever the ports and whoever asks. */
Test(nat_punch, a_victim_gets_twelve)
{
    start(1024);
    unsigned sent = 0;
    for (unsigned i = 0; i < 5000; i++) {
        struct aq_addr victim = v4(1, (uint16_t)(1024 + i));
        sent += budget_take(&budget, &victim, i * 11999);
    }
    cr_expect_eq(sent, 12);
    cr_expect_eq(budget.refused, 4988);
    struct aq_addr victim = v4(1, 1), other = v4(2, 1);
    uint64_t last = 11 * 11999;
    cr_expect_not(budget_take(&budget, &victim, 59999999 + last));
    cr_expect(budget_take(&budget, &other, 59999999 + last));
    cr_expect(budget_take(&budget, &victim, 60000000 + last), "a minute after the last");
}

Test(nat_punch, a_net_of_victims)
{
    start(1024);
    unsigned sent = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct aq_addr a = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 1}, .port = 4433};
        a.ip[15] = (uint8_t)i;
        a.ip[8] = (uint8_t)(i >> 8);
        sent += budget_take(&budget, &a, 1);
    }
    cr_expect_eq(sent, 12, "one /64");
    struct aq_addr next = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2}, .port = 4433};
    cr_expect(budget_take(&budget, &next, 1));
}

Test(nat_punch, who_answers_may_be_talked_to)
{
    start(64);
    struct aq_addr a = v4(1, 1);
    for (unsigned i = 0; i < 12; i++)
        cr_expect(budget_take(&budget, &a, 1));
    cr_expect_not(budget_take(&budget, &a, 1));
    budget_answered(&budget, &a);
    cr_expect(budget_take(&budget, &a, 1));
    struct aq_addr unknown = v4(9, 1);
    budget_answered(&budget, &unknown);
    for (unsigned i = 0; i < 12; i++)
        cr_expect(budget_take(&budget, &unknown, 1));
    cr_expect_not(budget_take(&budget, &unknown, 1));
}

/* A table that is full sends nothing rather than forget somebody. */
Test(nat_punch, full_means_no)
{
    start(64);
    unsigned sent = 0;
    struct aq_addr victim = v4(0, 1);
    for (unsigned i = 0; i < 12; i++)
        cr_assert(budget_take(&budget, &victim, 1));
    for (unsigned i = 1; i < 100000; i++) {
        struct aq_addr a = v4(i, 1);
        sent += budget_take(&budget, &a, 2);
    }
    cr_expect(sent <= 63, "%u", sent);
    cr_expect_not(budget_take(&budget, &victim, 3), "still counted");
}

/* PROTOCOL §5: 2,048 probes a search, one search a minute. */
Test(nat_punch, searches)
{
    start(8);
    unsigned sent = 0;
    cr_expect_not(budget_take_search(&budget, 5), "none was begun");
    cr_expect(budget_begin_search(&budget, 5));
    cr_expect_not(budget_begin_search(&budget, 60000004));
    for (unsigned i = 0; i < 5000; i++)
        sent += budget_take_search(&budget, 1000 + i);
    cr_expect_eq(sent, 2048);
    cr_expect(budget_begin_search(&budget, 60000005));
    cr_expect(budget_take_search(&budget, 60000006));
    cr_expect_not(budget_take_search(&budget, 120000005), "its minute is over");
}

static unsigned run(struct punch_plan *plan, uint64_t until, uint64_t when[32], uint8_t ttl[32])
{
    struct punch_step step;
    unsigned n = 0;
    for (uint64_t now = 0; now < until; now += 500) {
        while (punch_due(plan, &step, now)) {
            cr_assert_lt(n, 32);
            when[n] = now;
            ttl[n++] = step.ttl;
        }
    }
    return n;
}

Test(nat_punch, plain_probes)
{
    struct punch_plan plan;
    uint64_t when[32];
    uint8_t ttl[32];
    punch_plan(&plan, 10000, 0, 0);
    cr_assert_eq(run(&plan, 3000000, when, ttl), 4);
    static const uint64_t expect[] = {10000, 60000, 160000, 360000};
    cr_expect_arr_eq(when, expect, sizeof expect);
    for (unsigned i = 0; i < 4; i++)
        cr_expect_eq(ttl[i], 0);
    cr_expect_eq(plan.next_us, UINT64_MAX);
}

/* PROTOCOL §5: low TTLs first, up to the lesser of 8 and the routers to the coordinator. */
Test(nat_punch, two_phases)
{
    static const uint8_t hops[] = {0, 1, 2, 3, 7, 8, 30}, last[] = {8, 1, 2, 3, 7, 8, 8};
    for (unsigned h = 0; h < sizeof hops; h++) {
        struct punch_plan plan;
        uint64_t when[32];
        uint8_t ttl[32];
        punch_plan(&plan, 0, 500000, hops[h]);
        unsigned n = run(&plan, 3000000, when, ttl), openers = last[h] - 1U;
        cr_assert_eq(n, openers + 4, "%u hops", hops[h]);
        cr_expect_leq(n, PROBES_UNANSWERED, "one try stays within the budget");
        for (unsigned i = 0; i < openers; i++)
            cr_expect(ttl[i] == 2 + i && when[i] == i * 1000);
        for (unsigned i = openers; i < n; i++)
            cr_expect(ttl[i] == 0 && when[i] >= 500000);
    }
}

Test(nat_punch, ladder)
{
    cr_expect_eq(punch_ladder_us(CAND_HOST), 0);
    cr_expect_eq(punch_ladder_us(CAND_OBSERVED), 0);
    cr_expect_eq(punch_ladder_us(CAND_PREDICTED), 150000);
}
