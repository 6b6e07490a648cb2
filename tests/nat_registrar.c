/* nat_registrar.c -- tests of nat/registrar.c: one to sixteen bootstrap nodes that answer, refuse,
 * keep silent and vanish; and against the registry itself. */
#include "nat/registrar.h"
#include "tests/nat_boot.h"

static struct registrar reg;
static struct registrar_config config;
static struct rng rng;
static uint64_t now;

/* What the registrar did in a turn. */
static unsigned dials, sends, closes, results, last_node;
static struct registrar_action last_send, last_result;

static void start(unsigned count)
{
    static const uint8_t seed[32] = {7};
    rng_init(&rng, seed);
    registrar_config_init(&config);
    config.self = boot_id(1);
    config.generation = 5;
    now = 1000000;
    registrar_init(&reg, &config, count, &rng, now);
}

static void turn(void)
{
    static struct registrar_action a;
    dials = sends = closes = results = 0;
    for (unsigned i = 0; registrar_next(&reg, &a, now); i++) {
        cr_assert_lt(i, 100, "no end");
        last_node = a.node;
        dials += a.kind == REGISTRAR_DIAL;
        sends += a.kind == REGISTRAR_SEND;
        closes += a.kind == REGISTRAR_CLOSE;
        results += a.kind == REGISTRAR_RESULT;
        if (a.kind == REGISTRAR_SEND)
            last_send = a;
        if (a.kind == REGISTRAR_RESULT)
            last_result = a;
    }
}

static void answer(unsigned node, unsigned reason)
{
    struct message m = {.type = MESSAGE_REGISTERED, .reason = (uint8_t)reason, .lease_s = 120};
    registrar_recv(&reg, node, &m, now);
}

static void connect_all(void)
{
    turn();
    cr_assert_eq(dials, reg.count);
    for (unsigned i = 0; i < reg.count; i++)
        registrar_connected(&reg, i, now);
    turn();
    cr_assert_eq(sends, reg.count);
}

/* PROTOCOL §3: all in parallel; a result at the required number, again when it changes. */
Test(nat_registrar, results)
{
    static const unsigned required[] = {0, 1, 1, 2, 2, 3};
    for (unsigned n = 1; n <= 5; n++) {
        start(n);
        connect_all();
        cr_expect_eq(registrar_required(&reg), required[n]);
        for (unsigned i = 0; i < n; i++) {
            answer(i, NAT_ACCEPTED);
            turn();
            enum registrar_result expect = i + 1 == n ? REGISTERED_FULL : REGISTERED_MAJORITY;
            bool news = i + 1 == required[n] || i + 1 == n;
            cr_expect_eq(results, news, "%u of %u", i + 1, n);
            if (news)
                cr_expect_eq(last_result.result, expect, "%u of %u", i + 1, n);
        }
        cr_expect_eq(registrar_registered(&reg), n);
    }
}

/* The case: majority with two of four dead. */
Test(nat_registrar, two_of_four_are_dead)
{
    start(4);
    connect_all();
    answer(0, NAT_ACCEPTED);
    turn();
    cr_expect_eq(results, 0);
    registrar_failed(&reg, 1, FAILURE_UNREACHABLE, now);
    answer(2, NAT_ACCEPTED);
    turn();
    cr_expect(results == 1 && last_result.result == REGISTERED_MAJORITY);
    now += 5000000;
    turn();
    cr_expect_eq(reg.node[1].reason, FAILURE_UNREACHABLE);
    cr_expect_eq(reg.node[3].reason, FAILURE_TIMEOUT);
    cr_expect_eq(results, 0, "no news");
}

Test(nat_registrar, partial_and_none)
{
    start(3);
    connect_all();
    registrar_failed(&reg, 0, FAILURE_WRONG_PIN, now);
    answer(1, NAT_CAPACITY);
    turn();
    cr_expect_eq(results, 0, "one may still answer");
    now += 5000000;
    turn();
    cr_expect(results == 1 && last_result.result == REGISTERED_NONE);
    cr_expect_str_eq(registrar_reason_name(reg.node[0].reason), "wrong_pin");
    cr_expect_str_eq(registrar_reason_name(reg.node[1].reason), "capacity");
    cr_expect_str_eq(registrar_reason_name(reg.node[2].reason), "timeout");
    start(3);
    connect_all();
    answer(0, NAT_ACCEPTED);
    answer(1, NAT_BANNED);
    answer(2, NAT_POLICY);
    turn();
    cr_expect(results == 1 && last_result.result == REGISTERED_PARTIAL);
    registrar_failed(&reg, 0, FAILURE_LOST, now);
    turn();
    cr_expect(results == 1 && last_result.result == REGISTERED_NONE, "and when it is lost again");
}

/* PROTOCOL §3: 5 s for all of it, whatever hangs. */
Test(nat_registrar, five_seconds)
{
    start(2);
    turn();
    now += 3000000;
    registrar_connected(&reg, 0, now);
    turn();
    cr_expect_eq(registrar_deadline(&reg), 6000000);
    now = 5999999;
    turn();
    cr_expect_eq(closes, 0);
    now = 6000000;
    turn();
    cr_expect_eq(closes, 2);
    cr_expect(reg.node[0].reason == FAILURE_TIMEOUT && reg.node[1].reason == FAILURE_TIMEOUT);
    registrar_connected(&reg, 1, now);
    turn();
    cr_expect_eq(sends, 0, "too late");
}

/* PROTOCOL §3: 1 s, doubling to 60 s, half of it jitter; back to 1 s after a success. */
Test(nat_registrar, backoff)
{
    start(1);
    uint64_t expect = 1000000;
    for (unsigned i = 0; i < 10; i++) {
        turn();
        cr_assert_eq(dials, 1, "%u", i);
        registrar_failed(&reg, 0, FAILURE_UNREACHABLE, now);
        uint64_t wait = registrar_deadline(&reg) - now;
        cr_expect(wait >= expect / 2 && wait <= expect, "%u: %llu", i, (unsigned long long)wait);
        expect = expect * 2 < 60000000 ? expect * 2 : 60000000;
        now += wait - 1;
        turn();
        cr_expect_eq(dials, 0);
        now += 1;
    }
    turn();
    registrar_connected(&reg, 0, now);
    turn();
    answer(0, NAT_ACCEPTED);
    registrar_failed(&reg, 0, FAILURE_LOST, now);
    cr_expect_leq(registrar_deadline(&reg) - now, 1000000);
}

/* Not before retry_after; not soon where time does not help. */
/* Another network: who was not reached is tried again within a second, who said no is not. */
Test(nat_registrar, hurry)
{
    start(3);
    for (unsigned i = 0; i < 8; i++) {
        turn();
        registrar_failed(&reg, 0, FAILURE_UNREACHABLE, now);
        registrar_failed(&reg, 1, FAILURE_WRONG_PIN, now);
        if (reg.node[2].state == NODE_DIALLING) {
            registrar_connected(&reg, 2, now);
            turn();
            answer(2, NAT_ACCEPTED);
        }
        now += registrar_deadline(&reg) - now;
    }
    turn();
    registrar_failed(&reg, 0, FAILURE_TIMEOUT, now);
    cr_assert_eq(reg.node[0].state, NODE_WAITING);
    cr_assert_gt(reg.node[0].deadline_us, now + 10000000);
    uint64_t pin = reg.node[1].deadline_us, renewal = reg.node[2].deadline_us;
    registrar_hurry(&reg, now);
    cr_expect_eq(reg.node[0].deadline_us, now + 1000000);
    cr_expect_eq(reg.node[1].deadline_us, pin);
    cr_expect_eq(reg.node[2].deadline_us, renewal);
    now += 1000000;
    turn();
    cr_expect_geq(dials, 1);
    registrar_hurry(&reg, now); /* while it is being dialled */
    cr_expect_eq(reg.node[0].state, NODE_DIALLING);
    registrar_failed(&reg, 0, FAILURE_UNREACHABLE, now);
    uint64_t soon = reg.node[0].deadline_us;
    registrar_hurry(&reg, now); /* never later */
    cr_expect_eq(reg.node[0].deadline_us, soon);
}

Test(nat_registrar, refusals)
{
    for (unsigned reason = NAT_MALFORMED; reason <= NAT_CAPACITY; reason++) {
        start(1);
        connect_all();
        struct message m = {
            .type = MESSAGE_REGISTERED, .reason = (uint8_t)reason, .retry_after_ms = 7000};
        registrar_recv(&reg, 0, &m, now);
        turn();
        bool final = reason == NAT_VERSION || reason == NAT_IDENTITY_MISMATCH
                     || reason == NAT_BANNED || reason == NAT_POLICY || reason == NAT_MALFORMED;
        uint64_t wait = registrar_deadline(&reg) - now;
        if (reason == NAT_POW_REQUIRED) {
            cr_expect_eq(reg.node[0].reason, FAILURE_TOO_MUCH_WORK, "no challenge");
            continue;
        }
        cr_expect_eq(closes, 1);
        cr_expect_eq(reg.node[0].reason, reason);
        cr_expect_eq(wait, final ? 60000000 : 7000000, "%s", nat_reason_name(reason));
        cr_expect_eq(registrar_wait(&reg, now + 1000000), reason == NAT_RATE_LIMITED ? 6000000 : 0);
        cr_expect_eq(registrar_wait(&reg, now + 8000000), reason == NAT_RATE_LIMITED);
        now += 8000000;
        turn(); /* or it is asked again at this moment */
        cr_expect_eq(registrar_wait(&reg, now), reason == NAT_RATE_LIMITED ? 1000000 : 0);
    }
}

/* PROTOCOL §3: renewed at half the lease, on the same connection. */
Test(nat_registrar, renewal)
{
    start(1);
    connect_all();
    answer(0, NAT_ACCEPTED);
    turn();
    cr_expect_eq(registrar_deadline(&reg) - now, 60000000);
    for (unsigned i = 0; i < 5; i++) {
        now = registrar_deadline(&reg);
        turn();
        cr_assert(sends == 1 && dials == 0);
        cr_expect_eq(registrar_registered(&reg), 1, "the lease holds meanwhile");
        answer(0, NAT_ACCEPTED);
        turn();
        cr_expect_eq(results, 0);
    }
    struct message_hint hint = {.kind = HINT_HOST, .addr = boot_addr(9)};
    registrar_set_hints(&reg, &hint, 1, now);
    turn();
    struct message m;
    cr_assert_eq(sends, 1, "told at once");
    cr_assert_eq(message_decode(last_send.data, last_send.size, &m), MESSAGE_GOOD);
    cr_expect(m.hint_count == 1 && m.hints[0].addr.port == hint.addr.port);
    now += 5000000;
    turn();
    cr_expect(closes == 1 && results == 1 && last_result.result == REGISTERED_NONE);
    cr_expect_eq(registrar_registered(&reg), 0);
}

Test(nat_registrar, goodbye)
{
    struct message m;
    start(2);
    turn();
    registrar_connected(&reg, 0, now);
    turn();
    answer(0, NAT_ACCEPTED);
    turn();
    registrar_stop(&reg, now);
    turn();
    cr_expect(sends == 1 && closes == 2 && dials == 0 && results == 0);
    cr_assert_eq(message_decode(last_send.data, last_send.size, &m), MESSAGE_GOOD);
    cr_expect_eq(m.lease_s, 0);
    cr_expect_eq(registrar_deadline(&reg), UINT64_MAX);
    registrar_failed(&reg, 1, FAILURE_UNREACHABLE, now);
    now += 1000000000;
    turn();
    cr_expect(dials == 0 && sends == 0);
    registrar_stop(&reg, now);
}

/* ---- against the registry -------------------------------------------------------------------- */

static void talk(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        turn();
        if (dials)
            registrar_connected(&reg, 0, now);
        if (!sends && !dials && reg.node[0].state != NODE_SOLVING)
            return;
        if (!sends)
            continue;
        boot_bytes(1, 2, last_send.data, last_send.size, now);
        for (unsigned k = 0; k < said_count; k++)
            registrar_recv(&reg, 0, &heard[k], now);
    }
}

/* PROTOCOL §3: a node that ends says so unasked: it is gone at once, and tried again in a second.
 */
Test(nat_registrar, a_node_says_goodbye)
{
    start(1);
    connect_all();
    answer(0, NAT_ACCEPTED);
    turn();
    answer(0, NAT_CAPACITY); /* unasked, that means nothing */
    turn();
    cr_expect_eq(registrar_registered(&reg), 1);
    answer(0, NAT_SHUTTING_DOWN);
    turn();
    cr_expect_eq(registrar_registered(&reg), 0);
    cr_expect_eq(reg.node[0].reason, NAT_SHUTTING_DOWN);
    cr_expect(closes == 1 && results == 1 && last_result.result == REGISTERED_NONE);
    registrar_failed(&reg, 0, FAILURE_LOST, now);
    now += 1000000;
    turn();
    cr_expect_eq(dials, 1);
}

Test(nat_registrar, proof_of_work)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 10;
    boot_config.pow_bits = 14;
    boot_start();
    start(1);
    talk();
    cr_expect_eq(registrar_registered(&reg), 1);
    cr_expect_eq(boot.online, 1);
    cr_expect_eq(boot.registered[NAT_POW_REQUIRED], 1);
    cr_expect_eq(boot.registered[NAT_POW_INVALID], 0);
    struct aq_addr me = boot_addr(1);
    cr_expect_eq(reg.node[0].observed.port, me.port);
    registrar_stop(&reg, now);
    talk();
    cr_expect_eq(boot.peers.used, 0);
    /* Work beyond what a peer does. */
    boot.config.pow_bits = 25;
    start(1);
    talk();
    cr_expect_eq(reg.node[0].reason, FAILURE_TOO_MUCH_WORK);
    /* Work that takes longer than 5 s ends like all that does. */
    boot.config.pow_bits = 24;
    start(1);
    config.hashes_a_turn = 1;
    reg.config.hashes_a_turn = 1;
    turn();
    registrar_connected(&reg, 0, now);
    turn();
    boot_bytes(1, 2, last_send.data, last_send.size, now);
    registrar_recv(&reg, 0, &heard[0], now);
    cr_assert_eq(reg.node[0].state, NODE_SOLVING);
    turn();
    cr_expect_eq(registrar_deadline(&reg), now);
    now += 5000000;
    turn();
    cr_expect(reg.node[0].reason == FAILURE_TIMEOUT && reg.node[0].state == NODE_WAITING);
}

/* A bootstrap node that restarts: its peers are back by themselves. */
Test(nat_registrar, restart_of_the_bootstrap)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 10;
    boot_start();
    start(1);
    talk();
    cr_expect_eq(registrar_registered(&reg), 1);
    boot_start();
    registrar_failed(&reg, 0, FAILURE_LOST, now);
    turn();
    cr_expect(results == 1 && last_result.result == REGISTERED_NONE);
    now = registrar_deadline(&reg);
    talk();
    cr_expect_eq(registrar_registered(&reg), 1);
    cr_expect_eq(boot.online, 1);
}
