/* nat_probe.c -- tests of nat/probe.c: one datagram for who asks, and for nobody else. */
#include "core/addr.h"
#include "nat/datagram.h"
#include "tests/nat_boot.h"

static void setup(void)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 100;
    boot_config.max_requests = 16;
    boot_start();
    for (unsigned i = 1; i < 4; i++)
        boot_join(i, 0);
}

TestSuite(nat_probe, .init = setup);

enum {
    SECOND = 1000000
};

static struct message request(unsigned id, enum probe_source source, const struct aq_addr *to)
{
    const uint8_t bytes[REQUEST_ID_SIZE] = {(uint8_t)id, 9, 8, 7};
    struct message m = message_about(MESSAGE_PROBE, STEP_REQUEST, bytes);
    m.source = (uint8_t)source;
    message_set(&m, FIELD_SOURCE);
    if (to != NULL) {
        m.peer_address = *to;
        message_set(&m, FIELD_PEER_ADDRESS);
    }
    return m;
}

/* What comes of a request of peer n, whose address is boot_addr(n) unless told otherwise. */
static unsigned ask_from(unsigned n, const struct aq_addr *from, const struct message *m,
                         uint64_t now)
{
    uint8_t data[MESSAGE_MAX];
    struct registry_in in = {.conn = n + 1, .peer = boot_id(n), .path.remote = *from, .data = data};
    in.size = message_encode(m, data, sizeof data);
    said_count = registry_recv(&boot, &in, said, now);
    boot_hear();
    cr_assert_geq(said_count, 1);
    cr_assert(heard[0].type == MESSAGE_PROBE && said[0].conn == n + 1);
    cr_assert(memcmp(heard[0].request_id, m->request_id, REQUEST_ID_SIZE) == 0);
    cr_assert_eq(said_count == 2, heard[0].step == STEP_GO);
    return heard[0].step == STEP_GO ? NAT_ACCEPTED : heard[0].reason;
}

static unsigned ask(unsigned n, unsigned id, const struct aq_addr *to, uint64_t now)
{
    struct aq_addr from = boot_addr(n);
    struct message m = request(id, PROBE_SAME, to);
    return ask_from(n, &from, &m, now);
}

/* PROTOCOL §4: to where it is seen, with the bytes that it chose, from the port that it asked for.
 */
Test(nat_probe, to_who_asks)
{
    struct aq_addr from = boot_addr(1), other = boot_addr(1);
    struct message m = request(5, PROBE_OTHER_PORT, NULL);
    cr_assert_eq(ask_from(1, &from, &m, 10), NAT_ACCEPTED);
    cr_expect(said[1].conn == 2 && addr_equal(&said[1].to, &from));
    cr_expect_eq(said[1].source, PROBE_OTHER_PORT);
    cr_expect_eq(said[1].size, PROBE_SIZE);
    cr_expect_eq(datagram_kind(said[1].data, said[1].size), DATAGRAM_IS_PROBE);
    cr_expect_arr_eq(said[1].data + 1, m.request_id, REQUEST_ID_SIZE);
    other.port = 1024; /* another socket of it, perhaps */
    cr_assert_eq(ask(1, 6, &other, 20), NAT_ACCEPTED);
    cr_expect(addr_equal(&said[1].to, &other) && said[1].source == PROBE_SAME);
    cr_expect_eq(boot.probes, 2);
    cr_expect_lt(said[1].size, MESSAGE_HEADER + 25, "less than the request");
}

/* PROTOCOL §5: to no other address, to no port that could be a server's. */
Test(nat_probe, and_to_nobody_else)
{
    struct aq_addr victim = boot_addr(2), low = boot_addr(1), six = {.family = 6, .port = 4433};
    low.port = 1023;
    cr_expect_eq(ask(1, 1, &victim, 10), NAT_POLICY);
    cr_expect_eq(ask(1, 2, &low, 10), NAT_POLICY);
    memcpy(six.ip, victim.ip, 4);
    cr_expect_eq(ask(1, 3, &six, 10), NAT_POLICY);
    /* A port that we see is not guessed. */
    struct message m = request(4, PROBE_SAME, NULL);
    cr_expect_eq(ask_from(1, &low, &m, 10), NAT_ACCEPTED);
    cr_expect_eq(boot.probes, 1);
}

Test(nat_probe, only_for_the_registered)
{
    cr_expect_eq(ask(7, 1, NULL, 10), NAT_NOT_REGISTERED);
    cr_expect_eq(ask(1, 2, NULL, 120 * (uint64_t)SECOND), NAT_NOT_REGISTERED, "its lease is over");
    cr_expect_eq(ask(1, 3, NULL, 10), NAT_ACCEPTED);
    registry_closed(&boot, 2);
    cr_expect_eq(ask(1, 4, NULL, 10), NAT_NOT_REGISTERED);
    boot.shutting_down = true;
    cr_expect_eq(ask(2, 5, NULL, 10), NAT_SHUTTING_DOWN);
}

/* PROTOCOL §5: 12 a minute, wherever it begins, to an address, whoever of those behind it asks. */
Test(nat_probe, rate)
{
    struct aq_addr shared = boot_addr(1);
    uint64_t now = 10;
    for (unsigned i = 0; i < 12; i++) {
        struct message m = request(i, PROBE_SAME, NULL);
        cr_expect_eq(ask_from(1 + i % 2, &shared, &m, now), NAT_ACCEPTED);
    }
    struct message m = request(20, PROBE_SAME, NULL);
    cr_expect_eq(ask_from(1, &shared, &m, now), NAT_RATE_LIMITED);
    cr_expect(message_has(&heard[0], FIELD_RETRY_AFTER));
    cr_expect_eq(heard[0].retry_after_ms, 60000);
    cr_expect_eq(ask_from(2, &shared, &m, now), NAT_RATE_LIMITED);
    shared.port++;
    cr_expect_eq(ask_from(2, &shared, &m, now), NAT_RATE_LIMITED, "a port is no other address");
    cr_expect_eq(ask(3, 21, NULL, now), NAT_ACCEPTED);
    cr_expect_eq(ask_from(2, &shared, &m, now + 59 * SECOND), NAT_RATE_LIMITED, "the 13th");
    cr_expect_eq(ask_from(1, &shared, &m, now + 60 * SECOND), NAT_ACCEPTED);
    cr_expect_eq(ask_from(2, &shared, &m, now + 60 * SECOND), NAT_RATE_LIMITED);
    cr_expect_eq(boot.probes, 14);
    /* Newcomers from there are counted apart. */
    struct message hello = boot_register(9);
    uint8_t data[MESSAGE_MAX];
    struct registry_in in = {.conn = 99, .peer = boot_id(9), .path.remote = shared, .data = data};
    in.size = message_encode(&hello, data, sizeof data);
    said_count = registry_recv(&boot, &in, said, now);
    boot_hear();
    cr_expect_eq(heard[0].reason, NAT_ACCEPTED);
}

/* PROTOCOL §5: an IPv6 /64 counts as one address. */
Test(nat_probe, rate_of_a_prefix)
{
    struct aq_addr from = {.family = 6, .ip = {0x20, 1, 0xd, 0xb8}, .port = 4433};
    unsigned good = 0;
    for (unsigned i = 0; i < 30; i++) {
        struct message m = request(i, PROBE_SAME, NULL);
        from.ip[15] = (uint8_t)i;
        good += ask_from(1, &from, &m, 10) == NAT_ACCEPTED;
    }
    cr_expect_eq(good, 12);
    struct message m = request(40, PROBE_SAME, NULL);
    from.ip[7] = 1;
    cr_expect_eq(ask_from(1, &from, &m, 10), NAT_ACCEPTED);
}

/* PROTOCOL §4: what is the bootstrap node's to say is no request. */
Test(nat_probe, malformed)
{
    const uint8_t id[REQUEST_ID_SIZE] = {1};
    struct aq_addr from = boot_addr(1);
    struct message go = message_about(MESSAGE_PROBE, STEP_GO, id);
    struct message refused = message_about(MESSAGE_PROBE, STEP_REFUSED, id);
    message_set(&refused, FIELD_REASON);
    cr_expect_eq(ask_from(1, &from, &go, 10), NAT_MALFORMED);
    cr_expect_eq(ask_from(1, &from, &refused, 10), NAT_MALFORMED);
    cr_expect_eq(boot.probes, 0);
}
