/* nat_registry.c -- tests of nat/registry.c: every reason of PROTOCOL §3 made to happen, leases,
 * connections that come and go, limits, and what survives a restart. */
#include "tests/nat_boot.h"

#include "core/addr.h"

static void setup(void)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 100;
    boot_config.max_requests = 16;
    boot_start();
}

TestSuite(nat_registry, .init = setup);

Test(nat_registry, accepted)
{
    struct aq_addr addr = boot_addr(3);
    struct peer_id id = boot_id(3);
    boot.config.nodes[0] = "other.example:4433";
    boot_join(3, 1000);
    cr_expect_eq(heard[0].lease_s, 120);
    cr_expect_eq(heard[0].generation, 5);
    cr_expect(addr_equal(&heard[0].observed, &addr), "as observed");
    cr_expect(heard[0].node_count == 1 && heard[0].nodes[0].size == 18);
    const struct registry_peer *p = registry_find(&boot, &id, 1000);
    cr_assert_not_null(p);
    cr_expect(p->conn == 4 && p->lease_end_us == 1000 + 120000000);
    id = boot_id(4);
    cr_expect_null(registry_find(&boot, &id, 1000));
    cr_expect_eq(boot.online, 1);
    cr_expect_eq(registry_deadline(&boot), 120001000);
}

/* PROTOCOL §3: the reasons, each by itself. */
Test(nat_registry, reasons)
{
    struct peer_id room[1] = {boot_id(7)};
    struct peer_set only7 = {room, 1, 1};
    struct message m = boot_register(1);
    uint8_t junk[] = {0, 1, 0, 0};
    boot_bytes(1, 2, junk, sizeof junk, 0);
    cr_expect(said_count == 1 && heard[0].reason == NAT_MALFORMED);
    cr_expect_not(message_has(&heard[0], FIELD_LEASE));
    m.version = 2;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_VERSION);
    m = boot_register(1);
    cr_expect_eq(boot_try(2, 3, &m, 0), NAT_IDENTITY_MISMATCH);
    boot.shutting_down = true;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_SHUTTING_DOWN);
    boot.shutting_down = false;
    boot.config.banned = &only7;
    m = boot_register(7);
    cr_expect_eq(boot_try(7, 8, &m, 0), NAT_BANNED);
    boot.config.banned = NULL;
    boot.config.allow = &only7;
    m = boot_register(1);
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_POLICY);
    m = boot_register(7);
    cr_expect_eq(boot_try(7, 8, &m, 0), NAT_ACCEPTED);
    boot.config.allow = NULL;
    m = boot_register(1);
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_ACCEPTED);
    cr_expect_eq(boot.online, 2);
    for (unsigned i = NAT_MALFORMED; i <= NAT_POLICY; i++)
        cr_expect_eq(boot.registered[i], 1, "%s", nat_reason_name(i));
}

/* The first reason in PROTOCOL §3's order is the one that is given. */
Test(nat_registry, order_of_reasons)
{
    struct peer_id room[1] = {boot_id(1)};
    struct peer_set only1 = {room, 1, 1}, nobody = {room, 0, 1};
    struct message m = boot_register(2);
    boot.shutting_down = true;
    boot.config.banned = &only1;
    boot.config.allow = &nobody;
    m.version = 9;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_VERSION);
    m.version = 1;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_IDENTITY_MISMATCH);
    m = boot_register(1);
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_SHUTTING_DOWN);
    boot.shutting_down = false;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_BANNED);
    boot.config.banned = NULL;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_POLICY);
    cr_expect_eq(boot.peers.used, 0);
}

/* PROTOCOL §3: per PeerId, and per address for newcomers. */
Test(nat_registry, rate_limited)
{
    struct message m = boot_register(1);
    for (unsigned i = 0; i < 8; i++)
        cr_expect_eq(boot_try(1, 2, &m, 0), NAT_ACCEPTED, "a renewal");
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_RATE_LIMITED);
    cr_expect_eq(heard[0].retry_after_ms, 5000);
    cr_expect_eq(boot_try(1, 2, &m, 5000000), NAT_ACCEPTED);
    boot.config.address_rate.burst = 3;
    unsigned accepted = 0;
    for (unsigned i = 10; i < 30; i++) { /* many peers at one address */
        struct message n = boot_register(i);
        struct registry_in in = {.conn = i + 1, .peer = boot_id(i), .path.remote = boot_addr(500)};
        uint8_t data[MESSAGE_MAX];
        in.data = data;
        in.size = message_encode(&n, data, sizeof data);
        said_count = registry_recv(&boot, &in, said, 5000000);
        boot_hear();
        accepted += heard[0].reason == NAT_ACCEPTED;
        if (heard[0].reason != NAT_ACCEPTED)
            cr_expect(heard[0].reason == NAT_RATE_LIMITED && heard[0].retry_after_ms == 10);
    }
    cr_expect_eq(accepted, 3);
}

static void solve(struct message *m, unsigned bits)
{
    memcpy(m->pow_challenge, heard[0].pow_challenge, CHALLENGE_SIZE);
    m->pow_solution = 0;
    cr_assert(pow_search(m->pow_challenge, &m->peer_id, bits, 1U << 20, &m->pow_solution));
    message_set(m, FIELD_POW_CHALLENGE);
    message_set(m, FIELD_POW_SOLUTION);
}

Test(nat_registry, proof_of_work)
{
    struct message m = boot_register(1), other = boot_register(2);
    boot.config.pow_bits = 10;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_POW_REQUIRED);
    cr_assert(message_has(&heard[0], FIELD_POW_CHALLENGE) && heard[0].pow_bits == 10);
    cr_expect_not(message_has(&heard[0], FIELD_LEASE));
    solve(&m, 10);
    m.pow_solution++;
    while (pow_solves(m.pow_challenge, &m.peer_id, m.pow_solution, 10))
        m.pow_solution++;
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_POW_INVALID);
    cr_expect(message_has(&heard[0], FIELD_POW_CHALLENGE), "to try again");
    solve(&m, 10);
    cr_expect_eq(boot_try(1, 2, &m, 0), NAT_ACCEPTED);
    /* Who is registered on this connection is not asked again; on another he is. */
    struct message plain = boot_register(1);
    cr_expect_eq(boot_try(1, 2, &plain, 1000000), NAT_ACCEPTED);
    cr_expect_eq(boot_try(1, 99, &plain, 1000000), NAT_POW_REQUIRED);
    /* Another peer's solution, and an old one. */
    other.pow_solution = m.pow_solution;
    memcpy(other.pow_challenge, m.pow_challenge, CHALLENGE_SIZE);
    message_set(&other, FIELD_POW_CHALLENGE);
    message_set(&other, FIELD_POW_SOLUTION);
    cr_expect_eq(boot_try(2, 3, &other, 1000000), NAT_POW_INVALID);
    cr_expect_eq(boot_try(1, 99, &m, 130000000), NAT_POW_INVALID);
}

/* PROTOCOL §3: none until it is under load. */
Test(nat_registry, load_raises_the_work)
{
    boot.config.load_rate = (struct limit_rate){1000, 5};
    boot.config.pow_load_bits = 8;
    for (unsigned i = 0; i < 5; i++)
        boot_join(i, 0);
    struct message m = boot_register(50);
    cr_expect_eq(boot_try(50, 51, &m, 0), NAT_POW_REQUIRED);
    cr_expect_eq(heard[0].pow_bits, 8);
    solve(&m, 8);
    cr_expect_eq(boot_try(50, 51, &m, 0), NAT_ACCEPTED);
    struct message renewal = boot_register(0);
    cr_expect_eq(boot_try(0, 1, &renewal, 0), NAT_ACCEPTED, "renewals are not asked");
    m = boot_register(51);
    cr_expect_eq(boot_try(51, 52, &m, 100000), NAT_ACCEPTED, "the load is over");
}

Test(nat_registry, stale_generation)
{
    struct message m = boot_register(1);
    boot_join(1, 0);
    m.generation = 4;
    cr_expect_eq(boot_try(1, 50, &m, 0), NAT_STALE_GENERATION);
    cr_expect_eq(boot.registered[NAT_STALE_GENERATION], 1);
    struct peer_id id = boot_id(1);
    cr_expect_eq(registry_find(&boot, &id, 0)->conn, 2, "the newer one stays");
    m.generation = 6;
    cr_expect_eq(boot_try(1, 50, &m, 0), NAT_ACCEPTED);
    cr_expect_eq(registry_find(&boot, &id, 0)->conn, 50);
    registry_closed(&boot, 2); /* the old connection means nothing any more */
    cr_expect_not_null(registry_find(&boot, &id, 0));
    /* Also of a peer that is gone, until its lease ends. */
    registry_closed(&boot, 50);
    cr_expect_null(registry_find(&boot, &id, 0));
    m.generation = 5;
    cr_expect_eq(boot_try(1, 51, &m, 1000000), NAT_STALE_GENERATION);
    cr_expect_eq(registry_tick(&boot, said, 120000000), 0);
    cr_expect_eq(boot.peers.used, 0);
    cr_expect_eq(boot_try(1, 51, &m, 120000000), NAT_ACCEPTED);
}

Test(nat_registry, capacity)
{
    struct message m = boot_register(200);
    for (unsigned i = 0; i < 100; i++)
        boot_join(i, i);
    cr_expect_eq(boot_try(200, 201, &m, 1000), NAT_CAPACITY);
    cr_expect_eq(boot.peers.used, 100);
    struct message renewal = boot_register(5);
    cr_expect_eq(boot_try(5, 6, &renewal, 1000), NAT_ACCEPTED, "who is in stays in");
    /* Whoever has been gone longest makes room. */
    registry_closed(&boot, 31);
    registry_closed(&boot, 11);
    cr_expect_eq(boot_try(200, 201, &m, 1000), NAT_ACCEPTED);
    struct peer_id id = boot_id(30);
    cr_expect_eq(registry_slot_by_id(&boot, &id), MAP_NONE);
    id = boot_id(10);
    cr_expect_neq(registry_slot_by_id(&boot, &id), MAP_NONE);
    struct message back = boot_register(10);
    cr_expect_eq(boot_try(10, 300, &back, 1000), NAT_ACCEPTED, "and may come back until then");
    struct message late = boot_register(30);
    cr_expect_eq(boot_try(30, 301, &late, 1000), NAT_CAPACITY);
}

/* PROTOCOL §3: leases are cut, renewed, end; 0 ends at once. */
Test(nat_registry, leases)
{
    static const uint32_t asked[] = {1, 29, 30, 31, 119, 120, 121, UINT32_MAX};
    static const uint32_t given[] = {30, 30, 30, 31, 119, 120, 120, 120};
    struct peer_id id = boot_id(1);
    struct message m = boot_register(1);
    for (unsigned i = 0; i < 8; i++) {
        m.lease_s = asked[i];
        cr_assert_eq(boot_try(1, 2, &m, i * 10000000ULL), NAT_ACCEPTED);
        cr_expect_eq(heard[0].lease_s, given[i]);
    }
    cr_expect_not_null(registry_find(&boot, &id, 189999999));
    cr_expect_null(registry_find(&boot, &id, 190000000), "even before the tick");
    cr_expect_eq(registry_deadline(&boot), 190000000);
    cr_expect_eq(registry_tick(&boot, said, 190000000), 0);
    cr_expect(boot.peers.used == 0 && boot.online == 0 && boot.by_conn.count == 0);
    cr_expect_eq(registry_deadline(&boot), UINT64_MAX);
    cr_assert_eq(boot_try(1, 2, &m, 200000000), NAT_ACCEPTED);
    m.lease_s = 0;
    cr_assert_eq(boot_try(1, 2, &m, 200000000), NAT_ACCEPTED);
    cr_expect_eq(heard[0].lease_s, 0);
    cr_expect_eq(boot.peers.used, 0);
    cr_assert_eq(boot_try(1, 2, &m, 200000000), NAT_ACCEPTED, "goodbye of a stranger");
    cr_expect_eq(boot.peers.used, 0);
}

/* What is not for it is skipped, what only it may say is malformed. */
Test(nat_registry, other_messages)
{
    static const uint8_t unknown[] = {0x77, 0, 0, 1, 9}, ours[] = {0, 2, 0, 5, 0, 10, 0, 1, 0};
    boot_bytes(1, 2, unknown, sizeof unknown, 0);
    cr_expect_eq(said_count, 0);
    boot_bytes(1, 2, ours, sizeof ours, 0);
    cr_expect(said_count == 1 && heard[0].reason == NAT_MALFORMED);
}

/* The address is that of the connection whenever it says something. */
Test(nat_registry, observed_addresses_follow_the_connection)
{
    struct message m = boot_register(1);
    struct aq_addr moved = boot_addr(77);
    struct peer_id id = boot_id(1);
    uint8_t data[MESSAGE_MAX];
    boot_join(1, 0);
    struct registry_in in = {.conn = 2, .peer = id, .path.remote = moved, .data = data};
    in.size = message_encode(&m, data, sizeof data);
    cr_expect_eq(registry_recv(&boot, &in, said, 10), 1);
    boot_hear();
    cr_expect(addr_equal(&heard[0].observed, &moved));
    cr_expect(addr_equal(&registry_find(&boot, &id, 10)->path.remote, &moved));
}

/* The numbers: 20,000 peers, at most 2 KiB each. */
Test(nat_registry, memory)
{
    struct registry_config config;
    registry_config_init(&config);
    cr_expect_eq(config.max_peers, 20000);
    size_t each = (registry_size(&config)) / config.max_peers;
    cr_expect_lt(each, 512, "%zu bytes each", each);
    cr_expect_lt(sizeof(struct registry_peer), 300);
}

Test(nat_registry, many_peers_come_and_go)
{
    registry_config_init(&boot_config);
    boot_config.max_peers = 20000;
    boot_config.load_rate.burst = 30000;
    boot_start();
    for (unsigned i = 0; i < 20000; i++)
        boot_join(i, i);
    cr_expect_eq(boot.online, 20000);
    for (unsigned i = 0; i < 20000; i += 2)
        registry_closed(&boot, i + 1);
    cr_expect_eq(boot.online, 10000);
    for (unsigned i = 0; i < 20000; i++) {
        struct peer_id id = boot_id(i);
        cr_assert_eq(registry_find(&boot, &id, 30000) != NULL, i % 2 == 1);
    }
    cr_expect_eq(registry_tick(&boot, said, 200000000), 0);
    cr_expect(boot.peers.used == 0 && boot.by_id.count == 0 && boot.by_conn.count == 0
              && boot.leases.count == 0 && boot.online == 0);
}

/* ---- state ----------------------------------------------------------------------------------- */

Test(nat_registry, state_survives_a_restart)
{
    uint8_t data[8192];
    for (unsigned i = 0; i < 50; i++)
        boot_join(i, i * 1000000ULL);
    size_t size = registry_save_size(&boot);
    cr_assert_leq(size, sizeof data);
    cr_expect_eq(registry_save(&boot, data, size - 1, 60000000), 0);
    cr_assert_eq(registry_save(&boot, data, size, 60000000), size);
    boot_start();
    cr_assert(registry_restore(&boot, data, size, 5000000));
    cr_expect(boot.peers.used == 50 && boot.online == 0);
    struct message m = boot_register(49);
    struct peer_id id = boot_id(49);
    cr_expect_null(registry_find(&boot, &id, 5000000), "it must come back by itself");
    m.generation = 4;
    cr_expect_eq(boot_try(49, 50, &m, 5000000), NAT_STALE_GENERATION);
    m.generation = 5;
    cr_expect_eq(boot_try(49, 50, &m, 5000000), NAT_ACCEPTED);
    /* The leases are what was left of them: the first had 60 s, the others a second more each. */
    registry_tick(&boot, said, 5000000 + 60000000);
    cr_expect_eq(boot.peers.used, 49);
    cr_expect_not(registry_restore(&boot, data, size, 0), "only into a fresh one");
}

Test(nat_registry, damaged_state_is_refused)
{
    uint8_t data[1024];
    for (unsigned i = 0; i < 3; i++)
        boot_join(i, 0);
    size_t size = registry_save(&boot, data, sizeof data, 0);
    boot_start();
    for (size_t cut = 0; cut < size; cut++)
        cr_expect_not(registry_restore(&boot, data, cut, 0));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect_not(registry_restore(&boot, data, size, 0), "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_expect_eq(boot.peers.used, 0);
    boot_config.max_peers = 2;
    boot_start();
    cr_expect_not(registry_restore(&boot, data, size, 0), "too many");
    boot_config.max_peers = 3;
    boot_start();
    cr_expect(registry_restore(&boot, data, size, 0));
}
