/* nat_coordinate.c -- tests of nat/coordinate.c: CONNECT and PUNCH between two registered peers,
 * and everything that a liar may try. */
#include "tests/nat_boot.h"

#include "core/addr.h"

static void setup(void)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 100;
    boot_config.max_requests = 16;
    boot_start();
    for (unsigned i = 0; i < 10; i++)
        boot_join(i, 0);
}

TestSuite(nat_coordinate, .init = setup);

static struct message step_of(uint16_t type, uint8_t step, unsigned request)
{
    struct message m = {.type = type, .step = step};
    m.request_id[0] = (uint8_t)request;
    m.request_id[1] = (uint8_t)(request >> 8);
    message_set(&m, FIELD_STEP);
    message_set(&m, FIELD_REQUEST_ID);
    return m;
}

static void ask(uint16_t type, unsigned from, unsigned to, unsigned request, uint64_t now)
{
    struct message m = step_of(type, STEP_REQUEST, request);
    m.target = boot_id(to);
    message_set(&m, FIELD_TARGET);
    boot_say(from, from + 1, &m, now);
}

static void answer(uint16_t type, unsigned from, unsigned request, unsigned reason, uint64_t now)
{
    struct message m = step_of(type, STEP_ANSWER, request);
    m.reason = (uint8_t)reason;
    message_set(&m, FIELD_REASON);
    boot_say(from, from + 1, &m, now);
}

static void expect_refused(unsigned to, unsigned request, unsigned reason)
{
    cr_assert_eq(said_count, 1);
    cr_expect_eq(said[0].conn, to + 1);
    cr_expect_eq(heard[0].step, STEP_REFUSED);
    cr_expect_eq(heard[0].request_id[0], (uint8_t)request);
    cr_expect_eq(heard[0].reason, reason, "%s, not %s", nat_reason_name(heard[0].reason),
                 nat_reason_name(reason));
}

/* ---- PUNCH ----------------------------------------------------------------------------------- */

/* PROTOCOL §4: consent first; then both get both addresses, as observed. */
Test(nat_coordinate, punch)
{
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    cr_assert_eq(said_count, 1);
    cr_expect_eq(said[0].conn, 3);
    cr_expect(heard[0].type == MESSAGE_PUNCH && heard[0].step == STEP_ASK);
    struct peer_id one = boot_id(1), two = boot_id(2);
    cr_expect(peer_id_equal(&heard[0].peer_id, &one));
    cr_expect_not(message_has(&heard[0], FIELD_PEER_ADDRESS), "no address before the consent");
    cr_expect_not(message_has(&heard[0], FIELD_OBSERVED));
    answer(MESSAGE_PUNCH, 2, 9, NAT_ACCEPTED, 200);
    cr_assert_eq(said_count, 2);
    for (unsigned i = 0; i < 2; i++) {
        struct aq_addr mine = boot_addr(1 + i), others = boot_addr(2 - i);
        cr_expect_eq(said[i].conn, 2 + i);
        cr_expect(heard[i].step == STEP_GO && heard[i].request_id[0] == 9);
        cr_expect(addr_equal(&heard[i].observed, &mine));
        cr_expect(addr_equal(&heard[i].peer_address, &others));
        cr_expect(peer_id_equal(&heard[i].peer_id, &one) && peer_id_equal(&heard[i].target, &two));
        cr_expect_arr_eq(heard[i].punch_key, heard[0].punch_key, PUNCH_KEY_SIZE);
    }
    /* Relative times: the nearer one waits for the other's half round trip. */
    cr_expect(heard[0].delay_ms == 0 && heard[1].delay_ms == 0);
    cr_expect_eq(boot.requests.used, 0);
    cr_expect_eq(boot.timeouts.count, 0);
    /* What is over is over. */
    answer(MESSAGE_PUNCH, 2, 9, NAT_ACCEPTED, 300);
    cr_expect_eq(said_count, 0);
    uint8_t first[PUNCH_KEY_SIZE];
    memcpy(first, heard[0].punch_key, sizeof first);
    ask(MESSAGE_PUNCH, 1, 8, 9, 400);
    answer(MESSAGE_PUNCH, 8, 9, NAT_ACCEPTED, 400);
    cr_assert_eq(said_count, 2);
    cr_expect_arr_neq(heard[0].punch_key, first, sizeof first);
    cr_expect(heard[0].delay_ms == 3 && heard[1].delay_ms == 0, "1 and 8 ms of round trip");
}

Test(nat_coordinate, the_target_decides)
{
    struct message no = step_of(MESSAGE_PUNCH, STEP_ANSWER, 9);
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    no.reason = NAT_POLICY;
    no.text = (struct aq_iov){(const uint8_t *)"not you", 7};
    message_set(&no, FIELD_REASON);
    message_set(&no, FIELD_TEXT);
    boot_say(2, 3, &no, 200);
    expect_refused(1, 9, NAT_POLICY);
    cr_expect(heard[0].text.size == 7);
    cr_expect_eq(boot.requests.used, 0);
    ask(MESSAGE_PUNCH, 1, 2, 10, 100);
    answer(MESSAGE_PUNCH, 2, 10, 200, 100);
    expect_refused(1, 10, NAT_REFUSED);
}

/* PROTOCOL §4: the target has 2 s. */
Test(nat_coordinate, a_target_that_says_nothing)
{
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    ask(MESSAGE_PUNCH, 3, 4, 10, 150);
    cr_expect_eq(registry_deadline(&boot), 2000100);
    said_count = registry_tick(&boot, said, 2000099);
    cr_expect_eq(said_count, 0);
    said_count = registry_tick(&boot, said, 3000000);
    boot_hear();
    expect_refused(1, 9, NAT_TIMEOUT);
    said_count = registry_tick(&boot, said, 3000000);
    boot_hear();
    expect_refused(3, 10, NAT_TIMEOUT);
    cr_expect_eq(registry_tick(&boot, said, 3000000), 0);
    cr_expect_eq(boot.requests.used, 0);
    answer(MESSAGE_PUNCH, 2, 9, NAT_ACCEPTED, 3000000);
    cr_expect_eq(said_count, 0, "too late");
}

/* SECURITY.md row 25: only who was asked may answer, and only what was asked. */
Test(nat_coordinate, strangers_do_not_answer)
{
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    answer(MESSAGE_PUNCH, 3, 9, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 0);
    answer(MESSAGE_PUNCH, 1, 9, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 0, "nor may the initiator consent for it");
    answer(MESSAGE_CONNECT, 2, 9, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 0);
    answer(MESSAGE_PUNCH, 2, 10, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 0);
    boot_config.max_peers = 100;
    answer(MESSAGE_PUNCH, 50, 9, NAT_ACCEPTED, 100); /* not registered at all */
    cr_expect_eq(said_count, 0);
    cr_expect_eq(boot.requests.used, 1);
    answer(MESSAGE_PUNCH, 2, 9, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 2);
}

Test(nat_coordinate, reasons)
{
    uint16_t types[] = {MESSAGE_PUNCH, MESSAGE_CONNECT};
    for (unsigned t = 0; t < 2; t++) {
        ask(types[t], 50, 2, 1, 100);
        expect_refused(50, 1, NAT_NOT_REGISTERED);
        ask(types[t], 1, 60, 1, 100);
        expect_refused(1, 1, NAT_NOT_REGISTERED);
        ask(types[t], 1, 1, 1, 100);
        expect_refused(1, 1, NAT_MALFORMED);
        registry_closed(&boot, 10);
        ask(types[t], 1, 9, 1, 100);
        expect_refused(1, 1, NAT_NOT_REGISTERED);
        boot.shutting_down = true;
        ask(types[t], 1, 2, 1, 100);
        expect_refused(1, 1, NAT_SHUTTING_DOWN);
        boot.shutting_down = false;
        struct message plain = boot_register(8);
        plain.capabilities = types[t] == MESSAGE_PUNCH ? CAPABLE_RELAY : CAPABLE_PUNCH;
        boot_try(8, 9, &plain, 100);
        ask(types[t], 1, 8, 1, 100);
        expect_refused(1, 1, NAT_REFUSED);
    }
    ask(MESSAGE_PUNCH, 1, 2, 1, 130000000);
    expect_refused(1, 1, NAT_NOT_REGISTERED); /* its lease is over, tick or no tick */
    boot_join(1, 130000000);
    ask(MESSAGE_PUNCH, 1, 2, 1, 130000000);
    expect_refused(1, 1, NAT_NOT_REGISTERED);
    boot_join(2, 130000000);
    boot.config.relay = NULL;
    ask(MESSAGE_CONNECT, 1, 2, 1, 130000000);
    expect_refused(1, 1, NAT_NO_RELAY);
}

/* A request id in use is nobody else's. */
Test(nat_coordinate, request_ids)
{
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    ask(MESSAGE_PUNCH, 1, 3, 9, 100);
    expect_refused(1, 9, NAT_MALFORMED);
    ask(MESSAGE_PUNCH, 4, 3, 9, 100);
    expect_refused(4, 9, NAT_MALFORMED);
    cr_expect_eq(boot.requests.used, 1);
}

Test(nat_coordinate, malformed)
{
    /* with a request id there is something to answer, else it is only counted */
    uint8_t with[] = {0, 4, 0, 25, 0, 15, 0, 16, 9, 0, 0,  0, 0, 0, 0,
                      0, 0, 0, 0,  0, 0,  0, 0,  0, 0, 16, 0, 1, 1};
    boot_bytes(1, 2, with, sizeof with, 0);
    expect_refused(1, 9, NAT_MALFORMED);
    uint8_t without[] = {0, 3, 0, 5, 0, 16, 0, 1, 1};
    boot_bytes(1, 2, without, sizeof without, 0);
    cr_expect_eq(said_count, 0);
    cr_expect_eq(boot.coordinated[NAT_MALFORMED], 2);
    /* Steps that only the bootstrap may say. */
    struct message m = step_of(MESSAGE_CONNECT, STEP_GO, 9);
    m.channel_in = m.channel_out = 1;
    message_set(&m, FIELD_CHANNEL_IN);
    message_set(&m, FIELD_CHANNEL_OUT);
    boot_say(1, 2, &m, 0);
    expect_refused(1, 9, NAT_MALFORMED);
}

/* PROTOCOL §4: limited per initiator and per target. */
Test(nat_coordinate, rates)
{
    unsigned to_two = 0;
    boot.config.initiator_rate = (struct limit_rate){1000000, 4};
    boot.config.target_rate = (struct limit_rate){1000000, 10};
    for (unsigned i = 0; i < 4; i++) {
        ask(MESSAGE_PUNCH, 1, 60, i, 100);
        expect_refused(1, i, NAT_NOT_REGISTERED); /* asking costs, too */
    }
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    expect_refused(1, 9, NAT_RATE_LIMITED);
    cr_expect_eq(heard[0].retry_after_ms, 1000);
    for (unsigned i = 3; i < 10; i++) {
        for (unsigned k = 0; k < 4; k++) {
            ask(MESSAGE_PUNCH, i, 2, i * 8 + k, 100);
            cr_assert_eq(said_count, 1);
            to_two += said[0].conn == 3;
        }
    }
    cr_expect_eq(to_two, 10, "whatever the number of those who ask");
    cr_expect_eq(boot.coordinated[NAT_RATE_LIMITED], 1 + 28 - 10);
}

Test(nat_coordinate, requests_run_out)
{
    for (unsigned i = 0; i < 16; i++)
        ask(MESSAGE_PUNCH, 1 + i % 4, 5, i, 100);
    cr_expect_eq(boot.requests.used, 16);
    ask(MESSAGE_PUNCH, 1, 5, 99, 100);
    expect_refused(1, 99, NAT_CAPACITY);
    ask(MESSAGE_CONNECT, 1, 5, 99, 100);
    expect_refused(1, 99, NAT_CAPACITY);
    cr_expect_eq(boot_relay.pairs.used, 0, "nothing is left of what was refused");
}

/* ---- CONNECT --------------------------------------------------------------------------------- */

/* PROTOCOL §4: the target gets the packet, both get their channels. */
Test(nat_coordinate, connect)
{
    struct message m = step_of(MESSAGE_CONNECT, STEP_REQUEST, 9);
    static const uint8_t packet[] = {0xc3, 1, 2, 3};
    struct peer_id one = boot_id(1);
    m.target = boot_id(2);
    m.packet = (struct aq_iov){packet, sizeof packet};
    message_set(&m, FIELD_TARGET);
    message_set(&m, FIELD_PACKET);
    boot_say(1, 2, &m, 100);
    cr_assert_eq(said_count, 2);
    cr_expect(said[0].conn == 3 && heard[0].step == STEP_ASK);
    cr_expect(said[1].conn == 2 && heard[1].step == STEP_GO);
    cr_expect(peer_id_equal(&heard[0].peer_id, &one));
    cr_expect(heard[0].packet.size == 4 && memcmp(heard[0].packet.data, packet, 4) == 0);
    cr_expect_not(message_has(&heard[1], FIELD_PACKET));
    cr_expect(heard[0].channel_in == heard[1].channel_out
              && heard[0].channel_out == heard[1].channel_in);
    cr_expect_not(message_has(&heard[0], FIELD_PEER_ADDRESS), "no address at all");
    /* And the channels work, from the addresses that were observed. */
    uint8_t header[RELAY_HEADER];
    struct aq_addr a = boot_addr(1), b = boot_addr(2);
    struct aq_path_addr to;
    relay_header(header, heard[1].channel_out);
    cr_expect_eq(relay_forward(&boot_relay, header, &a, (struct relay_run){1, 1300}, &to, 200),
                 RELAY_FORWARD);
    cr_expect(addr_equal(&to.remote, &b));
    relay_header(header, heard[0].channel_out);
    cr_expect_eq(relay_forward(&boot_relay, header, &b, (struct relay_run){1, 1300}, &to, 200),
                 RELAY_FORWARD);
    cr_expect(addr_equal(&to.remote, &a));
    /* Its end is the handshake's business: no message when the time to refuse is over. */
    cr_expect_eq(registry_tick(&boot, said, 10000100), 0);
    cr_expect_eq(boot.requests.used, 0);
    cr_expect_eq(boot_relay.pairs.used, 1);
}

Test(nat_coordinate, a_refused_connection_has_no_channels)
{
    ask(MESSAGE_CONNECT, 1, 2, 9, 100);
    cr_expect_eq(boot_relay.pairs.used, 1);
    answer(MESSAGE_CONNECT, 3, 9, NAT_POLICY, 100);
    cr_expect_eq(boot_relay.pairs.used, 1, "not by a stranger");
    answer(MESSAGE_CONNECT, 2, 9, NAT_POLICY, 100);
    expect_refused(1, 9, NAT_POLICY);
    cr_expect(boot_relay.pairs.used == 0 && boot.requests.used == 0);
    ask(MESSAGE_CONNECT, 1, 2, 9, 100);
    answer(MESSAGE_CONNECT, 2, 9, NAT_ACCEPTED, 100);
    cr_expect(said_count == 0 && boot_relay.pairs.used == 1 && boot.requests.used == 0);
}

/* PROTOCOL §4: who is done with its channel says so, and makes room; nobody else can. */
Test(nat_coordinate, an_end_that_is_said)
{
    struct message m = step_of(MESSAGE_CONNECT, STEP_END, 9);
    ask(MESSAGE_CONNECT, 1, 2, 9, 100);
    uint64_t channel = heard[0].channel_out;
    message_set(&m, FIELD_CHANNEL_OUT);
    m.channel_out = channel;
    boot_say(1, 2, &m, 100);
    boot_say(3, 4, &m, 100);
    cr_expect_eq(boot_relay.pairs.used, 1, "by who was not given it");
    m.channel_out = channel ^ 1;
    boot_say(2, 3, &m, 100);
    cr_expect_eq(boot_relay.pairs.used, 1, "of another channel");
    m.channel_out = channel;
    boot_say(2, 3, &m, 100);
    cr_expect_eq(boot_relay.pairs.used, 0);
    boot_say(2, 3, &m, 100);
    cr_expect_eq(said_count, 0);
    struct peer_id two = boot_id(2);
    cr_expect_eq(registry_find(&boot, &two, 100)->pairs, 0);
}

/* Quotas: 8 pairs a peer, whichever end it is; they come back when a pair ends. */
Test(nat_coordinate, pairs_of_a_peer)
{
    boot.config.max_requests = 16;
    for (unsigned i = 0; i < 8; i++) {
        ask(MESSAGE_CONNECT, i % 2 ? 1 : 2 + i, i % 2 ? 2 + i : 1, i, 100);
        cr_assert_eq(said_count, 2, "%u", i);
    }
    ask(MESSAGE_CONNECT, 1, 5, 100, 100);
    expect_refused(1, 100, NAT_CAPACITY);
    ask(MESSAGE_CONNECT, 5, 1, 101, 100);
    expect_refused(5, 101, NAT_CAPACITY);
    answer(MESSAGE_CONNECT, 1, 0, NAT_REFUSED, 100);
    ask(MESSAGE_CONNECT, 1, 5, 102, 100);
    cr_expect_eq(said_count, 2);
    struct message renewal = boot_register(1);
    boot_try(1, 2, &renewal, 119000000);
    /* Idle pairs end, and count no more. */
    cr_expect_eq(registry_tick(&boot, said, 120000100), 0);
    cr_expect_eq(boot_relay.pairs.used, 0);
    struct peer_id one = boot_id(1);
    cr_expect_eq(registry_find(&boot, &one, 120000100)->pairs, 0);
}

/* Peers that go away in the middle. */
Test(nat_coordinate, peers_that_vanish)
{
    ask(MESSAGE_PUNCH, 1, 2, 9, 100);
    registry_closed(&boot, 2);
    answer(MESSAGE_PUNCH, 2, 9, NAT_ACCEPTED, 100);
    cr_expect_eq(said_count, 0, "nobody to tell");
    cr_expect_eq(boot.requests.used, 0);
    ask(MESSAGE_PUNCH, 3, 4, 10, 100);
    registry_closed(&boot, 5);
    said_count = registry_tick(&boot, said, 3000000);
    boot_hear();
    expect_refused(3, 10, NAT_TIMEOUT);
    ask(MESSAGE_PUNCH, 3, 6, 11, 3000000);
    registry_closed(&boot, 4);
    cr_expect_eq(registry_tick(&boot, said, 6000000), 0);
    cr_expect_eq(boot.requests.used, 0);
    /* The relayed pair of a peer whose record is gone ends without it. */
    ask(MESSAGE_CONNECT, 7, 8, 12, 6000000);
    struct message bye = boot_register(7);
    bye.lease_s = 0;
    boot_try(7, 8, &bye, 6000000);
    cr_expect_eq(boot_relay.pairs.used, 1);
    registry_tick(&boot, said, 200000000);
    cr_expect(boot_relay.pairs.used == 0 && boot.peers.used == 0 && boot.requests.used == 0);
}
