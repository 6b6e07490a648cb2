/* nat_session.c -- tests of nat/session.c: each way from discovering to the one end, each deadline,
 * and that strangers' claims stay within what is allowed. */
#include "nat/session.h"

#include "core/addr.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct session s;
static struct session_config config;
static struct budget budget;
static struct session_action last, end;
static unsigned count[SESSION_END + 1], ends;
static uint64_t now;

static void start(void)
{
    static const uint64_t key[2] = {1, 2};
    if (!budget.v)
        budget_init(&budget, calloc(1, budget_size(1024)), 1024, key);
    now = 1000000;
    ends = 0;
    session_init(&s, &config, &budget, now);
}

static void setup(void)
{
    session_config_init(&config);
    start();
}

TestSuite(nat_session, .init = setup);

static void turn(void)
{
    struct session_action a;
    memset(count, 0, sizeof count);
    for (unsigned i = 0; session_next(&s, &a, now); i++) {
        cr_assert_lt(i, 200, "no end");
        count[a.kind]++;
        last = a;
        if (a.kind == SESSION_END) {
            end = a;
            ends++;
        }
    }
}

static struct aq_addr at(unsigned n)
{
    return (struct aq_addr){.family = 4, .ip = {203, 0, 113, (uint8_t)n}, .port = 40000};
}

static void to_coordinating(void)
{
    struct cand_list own = {.count = 1, .v = {{at(1), CAND_HOST}}};
    turn();
    cr_assert_eq(count[SESSION_GATHER], 1);
    session_on_candidates(&s, &own, now);
    turn();
    cr_assert_eq(count[SESSION_COORDINATE], 1);
}

static void meet(struct aq_addr mine, struct aq_addr theirs, uint64_t delay_us)
{
    struct session_meeting meeting = {mine, theirs, delay_us};
    session_on_coordinated(&s, &meeting, now);
}

static enum cand_verdict claim(struct aq_addr addr, enum cand_kind kind)
{
    struct cand remote = {addr, (uint8_t)kind};
    return session_on_remote(&s, &remote, 0, now);
}

static void to_punching(void)
{
    to_coordinating();
    meet(at(1), at(2), 0);
}

/* Runs by its deadlines alone. */
static uint64_t run_out(void)
{
    for (unsigned i = 0; i < 1000 && !ends; i++) {
        turn();
        if (!ends) {
            cr_assert_neq(session_deadline(&s), UINT64_MAX);
            now = session_deadline(&s) > now ? session_deadline(&s) : now;
        }
    }
    cr_expect_eq(ends, 1);
    cr_expect_eq(session_deadline(&s), UINT64_MAX);
    return now - 1000000;
}

Test(nat_session, direct)
{
    struct aq_addr theirs = at(2);
    to_punching();
    turn();
    cr_expect_eq(count[SESSION_STATE], 1);
    cr_expect_eq(count[SESSION_PROBE], 1);
    cr_expect(addr_equal(&last.addr, &theirs) && last.ttl == OPENER_TTL_FIRST);
    now += 20000;
    session_on_answer(&s, &theirs, now);
    now += 100000;
    turn();
    cr_expect_eq(count[SESSION_PROBE], 0, "who answered is not probed any more");
    session_on_direct(&s, &theirs, now);
    turn();
    cr_assert_eq(ends, 1);
    cr_expect(end.end.state == SESSION_CONNECTED && end.end.direct && end.end.pair == 0);
    cr_expect_eq(end.end.phase, SESSION_HOLE_PUNCHING);
    cr_expect_eq(end.end.us[SESSION_HOLE_PUNCHING], 120000);
    cr_expect_eq(end.end.reason, NAT_ACCEPTED);
    turn();
    cr_expect_eq(ends, 1, "told once");
    session_on_direct(&s, &theirs, now);
    session_cancel(&s, now);
    now += 100000000;
    turn();
    cr_expect_eq(ends, 1, "whatever comes later");
}

/* PROTOCOL §5's deadlines: discovering 2 s, then coordinating goes on without candidates. */
Test(nat_session, discovering_takes_two_seconds)
{
    turn();
    cr_expect_eq(session_deadline(&s), 3000000);
    now = 2999999;
    turn();
    cr_expect_eq(count[SESSION_COORDINATE], 0);
    now = 3000000;
    turn();
    cr_expect_eq(count[SESSION_COORDINATE], 1);
}

/* 2 s each, 10 s in all, in the order given. */
Test(nat_session, coordinators)
{
    config.coordinators = 3;
    start();
    to_coordinating();
    cr_expect_eq(last.index, 0);
    session_on_refused(&s, NAT_RATE_LIMITED, now);
    turn();
    cr_expect(count[SESSION_COORDINATE] == 1 && last.index == 1);
    now += 2000000;
    turn();
    cr_expect(count[SESSION_COORDINATE] == 1 && last.index == 2);
    session_on_refused(&s, NAT_NOT_REGISTERED, now);
    turn();
    cr_expect(ends == 1 && end.end.state == SESSION_EXPIRED);
    cr_expect(end.end.phase == SESSION_COORDINATING && end.end.reason == NAT_NOT_REGISTERED);
    config.coordinators = 16;
    start();
    to_coordinating();
    cr_expect_eq(run_out(), 10000000, "in all");
    cr_expect(end.end.state == SESSION_EXPIRED && end.end.reason == NAT_TIMEOUT);
    cr_expect_eq(end.end.us[SESSION_COORDINATING], 10000000);
}

/* The peer's own no is not asked of the next coordinator. */
Test(nat_session, the_peer_refuses)
{
    config.coordinators = 3;
    start();
    to_coordinating();
    session_on_refused(&s, NAT_REFUSED, now);
    turn();
    cr_expect(ends == 1 && end.end.state == SESSION_EXPIRED && end.end.reason == NAT_REFUSED);
}

/* 3 s a try, 3 tries; 12 probes altogether. */
Test(nat_session, punching_in_vain)
{
    to_punching();
    unsigned probes = 0;
    uint64_t t0 = now;
    while (!ends) {
        turn();
        probes += count[SESSION_PROBE];
        cr_assert(ends || session_deadline(&s) != UINT64_MAX);
        now = !ends && session_deadline(&s) > now ? session_deadline(&s) : now;
    }
    cr_expect_eq(now - t0, 9000000);
    cr_expect_eq(probes, 12);
    cr_expect(end.end.state == SESSION_EXPIRED && end.end.phase == SESSION_HOLE_PUNCHING);
    cr_expect_not(end.end.direct);
    /* At once again: its budget is spent. */
    start();
    to_punching();
    turn();
    cr_expect_eq(count[SESSION_PROBE], 0);
}

/* The relay is a success: the session ends connected, when punching has failed. */
Test(nat_session, relayed)
{
    to_punching();
    session_on_relayed(&s, now);
    turn();
    cr_expect_eq(ends, 0, "it goes on for a direct path");
    run_out();
    cr_expect(end.end.state == SESSION_CONNECTED && !end.end.direct);
    cr_expect_eq(end.end.reason, NAT_TIMEOUT, "why not direct");
}

Test(nat_session, cancelled_in_each_state)
{
    for (unsigned state = 0; state < 3; state++) {
        start();
        if (state == 1)
            to_coordinating();
        if (state == 2)
            to_punching();
        session_cancel(&s, now);
        turn();
        cr_expect(ends == 1 && end.end.state == SESSION_CANCELLED && end.end.phase == state);
    }
}

/* Events that come in the wrong state change nothing. */
Test(nat_session, events_out_of_turn)
{
    struct aq_addr mine = at(1), theirs = at(2);
    meet(mine, theirs, 0);
    session_on_refused(&s, NAT_REFUSED, now);
    session_on_direct(&s, &theirs, now);
    session_on_answer(&s, &theirs, now);
    cr_expect_eq(s.state, SESSION_DISCOVERING);
    to_punching();
    session_on_refused(&s, NAT_REFUSED, now);
    meet(theirs, mine, 0);
    cr_expect_eq(s.state, SESSION_HOLE_PUNCHING);
    cr_expect(addr_equal(&s.scope.own_observed, &mine));
}

/* SECURITY.md row 25: a peer that names victims. */
Test(nat_session, a_peer_that_names_victims)
{
    struct aq_addr loop = {.family = 4, .ip = {127, 0, 0, 1}, .port = 4433}, mine = at(1);
    struct aq_addr lan = {.family = 4, .ip = {192, 168, 0, 1}, .port = 4433}, dns = at(9);
    dns.port = 53;
    to_punching();
    cr_expect_eq(claim(loop, CAND_HOST), CAND_IS_FORBIDDEN);
    cr_expect_eq(claim(lan, CAND_HOST), CAND_OUT_OF_SCOPE);
    cr_expect_eq(claim(dns, CAND_HOST), CAND_LOW_PORT);
    cr_expect_eq(claim(mine, CAND_HOST), CAND_IS_OWN);
    struct aq_addr guess = at(9);
    cr_expect_eq(claim(guess, CAND_PREDICTED), CAND_OUT_OF_SCOPE);
    cr_expect_eq(s.refused, 5);
    /* Many ports of one victim, and more than may be held. */
    for (unsigned i = 0; i < 100; i++) {
        struct aq_addr victim = at(77);
        victim.port = (uint16_t)(5000 + i);
        cr_expect_eq(claim(victim, CAND_HOST), CAND_OK);
    }
    cr_expect_eq(s.pairs, CANDS_MAX);
    unsigned at_victim = 0, at_peer = 0;
    for (unsigned i = 0; i < 2000 && !ends; i++) {
        struct session_action a;
        while (session_next(&s, &a, now)) {
            if (a.kind == SESSION_PROBE)
                *(a.addr.ip[3] == 77 ? &at_victim : &at_peer) += 1;
            ends += a.kind == SESSION_END;
        }
        now = session_deadline(&s) > now && session_deadline(&s) != UINT64_MAX
                  ? session_deadline(&s)
                  : now;
    }
    cr_expect_eq(ends, 1);
    cr_expect_eq(at_victim, 12);
    cr_expect_eq(at_peer, 12, "and the peer itself still gets its own");
}

/* Host candidates before observed ones, IPv6 before IPv4; predicted ones 150 ms later, on the
 * search's budget. */
Test(nat_session, order)
{
    struct aq_addr host = at(5), predicted = at(2),
                   six = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8}, .port = 4000};
    predicted.port = 40007;
    to_punching();
    claim(host, CAND_HOST);
    claim(six, CAND_HOST);
    claim(predicted, CAND_PREDICTED);
    cr_assert(budget_begin_search(&budget, now));
    struct session_action a;
    uint8_t expect[] = {0xb8, 5, 2};
    unsigned n = 0;
    while (session_next(&s, &a, now)) {
        if (a.kind == SESSION_PROBE) {
            cr_assert_lt(n, 3);
            cr_expect_eq(a.addr.ip[3], expect[n]);
            n++;
        }
    }
    cr_expect_eq(n, 3);
    uint32_t left = budget.search_left;
    now += 150000;
    bool seen = false;
    while (session_next(&s, &a, now))
        seen |= a.kind == SESSION_PROBE && a.addr.port == 40007;
    cr_expect(seen && budget.search_left == left - 1);
}

/* NAT.md §5, two phases: what does not arrive first, until the peer has been told, too. */
Test(nat_session, openers_first)
{
    config.hops = 4;
    start();
    to_coordinating();
    meet(at(1), at(2), 100000);
    turn();
    cr_expect(count[SESSION_PROBE] == 1 && last.ttl == 2);
    now += 2000;
    turn();
    cr_expect(count[SESSION_PROBE] == 2 && last.ttl == 4);
    now += 100000;
    turn();
    cr_expect_eq(count[SESSION_PROBE], 0);
    now += 10000;
    turn();
    cr_expect(count[SESSION_PROBE] == 1 && last.ttl == 0);
}

/* First the relay brings them together, then a coordinator with addresses: what it says counts,
 * once. */
Test(nat_session, relay_first)
{
    struct aq_addr unknown = {.family = 0};
    to_coordinating();
    meet(unknown, unknown, 0);
    turn();
    cr_expect(s.state == SESSION_HOLE_PUNCHING && s.pairs == 0);
    meet(at(1), at(2), 0);
    meet(at(3), at(4), 0);
    cr_expect_eq(s.pairs, 1);
    cr_expect_eq(s.scope.peer_observed.ip[3], 2);
}

/* The one that was asked: no coordinator is asked by it, and its end comes all the same. */
Test(nat_session, accepted)
{
    struct cand_list own = {.count = 1, .v = {{at(1), CAND_HOST}}};
    session_accept(&s, &config, &budget, now);
    turn();
    cr_expect_eq(count[SESSION_GATHER], 1);
    session_on_candidates(&s, &own, now);
    session_on_relayed(&s, now);
    turn();
    cr_expect_eq(s.state, SESSION_COORDINATING);
    cr_expect_eq(count[SESSION_COORDINATE], 0);
    cr_expect_eq(run_out(), config.coordinate_us);
    cr_expect(end.end.state == SESSION_CONNECTED && !end.end.direct);
}

/* An address that answered, and whose path was not validated, is probed again by the next try. */
Test(nat_session, path_failed)
{
    struct aq_addr theirs = at(2);
    to_punching();
    turn();
    session_on_answer(&s, &theirs, now);
    session_on_path_failed(&s, &theirs);
    now += config.try_us;
    turn();
    cr_expect_eq(count[SESSION_PROBE], 1);
    session_on_answer(&s, &theirs, now);
    now += config.try_us;
    turn();
    cr_expect_eq(count[SESSION_PROBE], 0);
}

Test(nat_session, names)
{
    for (unsigned i = 0; i <= SESSION_STATES; i++)
        for (unsigned k = 0; k < i; k++)
            cr_expect_str_neq(session_state_name((enum session_state)i),
                              session_state_name((enum session_state)k));
}
