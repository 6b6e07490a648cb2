/* nat_relay.c -- tests of nat/relay.c: where a datagram goes, and each reason why it does not. */
#include "nat/relay.h"

#include "core/addr.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct relay relay;
static struct rng rng;
static struct relay_config config;

static void start(void)
{
    static const uint8_t seed[32] = {3};
    rng_init(&rng, seed);
    void *mem = aligned_alloc(64, (relay_size(&config) + 63) & ~(size_t)63);
    cr_assert_not_null(mem);
    memset(mem, 0, relay_size(&config));
    relay_init(&relay, mem, &config, &rng);
}

static struct aq_addr addr(unsigned n)
{
    return (struct aq_addr){
        .family = 4, .ip = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}, .port = 4433};
}

/* Each peer is known at a socket and an address of ours of its own. */
static struct aq_path_addr path(unsigned n)
{
    struct aq_path_addr p = {.local = addr(200 + n), .remote = addr(n)};
    p.socket = (uint16_t)n;
    return p;
}

static uint32_t open_pair(unsigned a, unsigned b, uint64_t now)
{
    const struct relay_end ends[2] = {{.path = path(a), .owner = a}, {.path = path(b), .owner = b}};
    return relay_open(&relay, ends, now);
}

static enum relay_verdict forward(uint64_t channel, unsigned from, uint64_t bytes, uint64_t now)
{
    uint8_t header[RELAY_HEADER];
    struct aq_addr source = addr(from);
    struct aq_path_addr to = {.channel = 0};
    relay_header(header, channel);
    enum relay_verdict verdict =
        relay_forward(&relay, header, &source, (struct relay_run){1, bytes}, &to, now);
    cr_expect_eq(verdict == RELAY_FORWARD, to.remote.family != 0);
    return verdict;
}

/* PROTOCOL §4: each id is one direction, from one address. */
Test(nat_relay, both_directions)
{
    relay_config_init(&config);
    start();
    uint32_t pair = open_pair(1, 2, 0);
    struct relay_pair *p = relay_pair(&relay, pair);
    uint64_t x = p->end[0].channel, y = p->end[1].channel;
    uint8_t header[RELAY_HEADER];
    struct aq_addr a = addr(1), b = addr(2), expect;
    struct aq_path_addr to;
    cr_assert(x && y && x != y);
    relay_header(header, x);
    cr_expect_eq(relay_forward(&relay, header, &a, (struct relay_run){1, 100}, &to, 1),
                 RELAY_FORWARD);
    cr_expect(addr_equal(&to.remote, &b));
    /* PROTOCOL §4: from where the receiver knows us, not from where the sender does. */
    expect = addr(202);
    cr_expect(addr_equal(&to.local, &expect) && to.socket == 2);
    relay_header(header, y);
    cr_expect_eq(relay_forward(&relay, header, &b, (struct relay_run){3, 3000}, &to, 1),
                 RELAY_FORWARD);
    expect = addr(201);
    cr_expect(addr_equal(&to.remote, &a));
    cr_expect(addr_equal(&to.local, &expect) && to.socket == 1);
    cr_expect_eq(forward(x, 2, 100, 1), RELAY_WRONG_ADDRESS);
    cr_expect_eq(forward(x, 3, 100, 1), RELAY_WRONG_ADDRESS);
    cr_expect_eq(forward(x ^ 1, 1, 100, 1), RELAY_NO_CHANNEL);
    cr_expect_eq(forward(0, 1, 100, 1), RELAY_NO_CHANNEL);
    header[0] = 0x31;
    cr_expect_eq(relay_forward(&relay, header, &b, (struct relay_run){1, 100}, &to, 1),
                 RELAY_NO_CHANNEL);
    /* Counted at both ends. */
    cr_expect(p->end[0].count.in_packets == 1 && p->end[0].count.in_bytes == 100);
    cr_expect(p->end[0].count.out_packets == 3 && p->end[0].count.out_bytes == 3000);
    cr_expect(p->end[1].count.in_packets == 3 && p->end[1].count.out_packets == 1);
    cr_expect(relay.total.in_bytes == 3100 && relay.total.out_bytes == 3100);
    cr_expect(relay.verdicts[RELAY_FORWARD] == 4 && relay.verdicts[RELAY_WRONG_ADDRESS] == 2
              && relay.verdicts[RELAY_NO_CHANNEL] == 3);
    relay_close(&relay, pair);
    cr_expect_eq(forward(x, 1, 100, 1), RELAY_NO_CHANNEL);
    cr_expect_eq(forward(y, 2, 100, 1), RELAY_NO_CHANNEL);
}

/* PROTOCOL §4: back along a channel, from its end alone; whoever gave the channel to it knows the
 * answer by the other one. */
Test(nat_relay, back_along_a_channel)
{
    relay_config_init(&config);
    start();
    uint32_t pair = open_pair(1, 2, 0);
    const struct relay_pair *p = relay_pair(&relay, pair);
    uint64_t x = p->end[0].channel, y = p->end[1].channel;
    uint8_t header[RELAY_HEADER];
    for (unsigned from = 1; from <= 3; from++) {
        struct aq_addr source = addr(from), a = addr(1);
        struct aq_path_addr to = {.channel = 0};
        relay_back_header(header, x);
        relay_turn(&relay, header);
        cr_expect(header[0] == DATAGRAM_RELAY && relay_channel(header) == y);
        enum relay_verdict verdict =
            relay_forward(&relay, header, &source, (struct relay_run){1, 51}, &to, 1);
        cr_expect_eq(verdict, from == 2 ? RELAY_FORWARD : RELAY_WRONG_ADDRESS, "peer %u", from);
        cr_expect_eq(addr_equal(&to.remote, &a), from == 2);
    }
    relay_back_header(header, y);
    relay_turn(&relay, header);
    cr_expect_eq(relay_channel(header), x);
    relay_close(&relay, pair);
    relay_back_header(header, x);
    relay_turn(&relay, header);
    cr_expect(header[0] == DATAGRAM_RELAY && relay_channel(header) == 0, "a channel of nobody");
}

/* PROTOCOL §4: 16 KiB until the target has sent something. */
Test(nat_relay, a_target_that_does_not_answer)
{
    relay_config_init(&config);
    start();
    struct relay_pair *p = relay_pair(&relay, open_pair(1, 2, 0));
    uint64_t x = p->end[0].channel, y = p->end[1].channel;
    uint64_t passed = 0;
    for (unsigned i = 0; i < 1000; i++)
        passed += forward(x, 1, 1000, i * 1000000ULL) == RELAY_FORWARD ? 1000 : 0;
    cr_expect_eq(passed, 16000);
    cr_expect_eq(forward(x, 1, 384, 1000000000), RELAY_FORWARD, "to the byte");
    cr_expect_eq(forward(x, 1, 1, 1000000000), RELAY_UNPROVEN);
    cr_expect_eq(forward(y, 2, 10, 1000000000), RELAY_FORWARD);
    cr_expect_eq(forward(x, 1, 1000, 1000000000), RELAY_FORWARD);
    cr_expect_eq(p->end[1].count.out_bytes, 16384 + 1000);
}

/* At most the rate, both directions together, a burst more. */
Test(nat_relay, rate)
{
    relay_config_init(&config);
    config.bytes_per_s = 1000000;
    config.burst_bytes = 50000;
    start();
    struct relay_pair *p = relay_pair(&relay, open_pair(1, 2, 0));
    struct relay_pair *q = relay_pair(&relay, open_pair(3, 4, 0));
    uint64_t passed = 0, others = 0;
    forward(p->end[1].channel, 2, 1, 0);
    forward(q->end[1].channel, 4, 1, 0);
    for (uint64_t now = 1; now < 2000000; now += 250) { /* 4 MB/s offered */
        unsigned end = now / 250 % 2;
        passed += forward(p->end[end].channel, 1 + end, 1000, now) == RELAY_FORWARD ? 1000 : 0;
        if (now % 2000 == 1)
            others += forward(q->end[0].channel, 3, 1000, now) == RELAY_FORWARD;
    }
    cr_expect(passed >= 2000000 && passed <= 2051000, "%llu", (unsigned long long)passed);
    cr_expect_eq(others, 1000, "another pair has its own");
    cr_expect_gt(relay.verdicts[RELAY_OVER_RATE], 5000);
    relay.config.bytes_per_s = 0;
    cr_expect_eq(forward(p->end[0].channel, 1, 1, 9000000), RELAY_OVER_RATE);
}

Test(nat_relay, an_end_without_address)
{
    relay_config_init(&config);
    start();
    const struct relay_end ends[2] = {{.path = path(1)}, {.owner = 2}};
    struct relay_pair *p = relay_pair(&relay, relay_open(&relay, ends, 0));
    cr_expect_eq(forward(p->end[0].channel, 1, 10, 0), RELAY_NO_ADDRESS);
    cr_expect_eq(forward(p->end[1].channel, 2, 10, 0), RELAY_WRONG_ADDRESS);
}

/* The pool runs dry, and gives again what was closed; ids are never used twice. */
Test(nat_relay, full)
{
    relay_config_init(&config);
    config.max_pairs = 8;
    start();
    uint64_t seen[2000];
    unsigned n = 0;
    for (unsigned round = 0; round < 100; round++) {
        uint32_t pair[8];
        for (unsigned i = 0; i < 8; i++) {
            pair[i] = open_pair(i, i + 8, 0);
            cr_assert_neq(pair[i], POOL_NONE);
            for (unsigned e = 0; e < 2; e++) {
                uint64_t channel = relay_pair(&relay, pair[i])->end[e].channel;
                for (unsigned k = 0; k < n; k++)
                    cr_assert_neq(seen[k], channel);
                seen[n++] = channel;
            }
        }
        cr_expect_eq(open_pair(1, 2, 0), POOL_NONE);
        for (unsigned i = 0; i < 8; i++)
            relay_close(&relay, pair[i]);
    }
    cr_expect(relay.pairs.used == 0 && relay.channels.count == 0 && relay.idle.count == 0);
}

Test(nat_relay, idle_pairs_end)
{
    relay_config_init(&config);
    config.idle_us = 1000;
    start();
    uint32_t quiet = open_pair(1, 2, 0), busy = open_pair(3, 4, 0);
    uint64_t x = relay_pair(&relay, busy)->end[0].channel;
    cr_expect_eq(relay_deadline(&relay), 1000);
    cr_expect_eq(forward(x, 3, 100, 900), RELAY_FORWARD);
    cr_expect_eq(relay_expired(&relay, 999), POOL_NONE);
    cr_expect_eq(relay_expired(&relay, 1000), quiet);
    relay_close(&relay, quiet);
    cr_expect_eq(relay_expired(&relay, 1000), POOL_NONE);
    cr_expect_eq(relay_deadline(&relay), 1900);
    /* What is refused does not keep it alive. */
    cr_expect_eq(forward(x, 9, 100, 1800), RELAY_WRONG_ADDRESS);
    cr_expect_eq(relay_expired(&relay, 1900), busy);
    relay_close(&relay, busy);
    cr_expect_eq(relay_deadline(&relay), UINT64_MAX);
}
