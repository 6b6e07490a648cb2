/* bootstrap.c -- tests nat/node/bootstrap: a node and peers on two loops of one thread, on
 * loopback: what nat_registry and nat_relay test of the machines goes over the wire here. Longer
 * than 600 lines, because all of it needs the same node and the same peers. */
#include "nat/node/antq_bootstrap.h"
#include "tests/boot_peers.h"

#include <criterion/criterion.h>

TestSuite(bootstrap, .timeout = 60);

enum {
    PEERS = 40,
    INBOX = 64
};

static struct aq_bootstrap *node;
static struct aq_bootstrap_config config;
static struct aq_addr at; /* where the node listens */
static char node_pem[512];
static struct boot_peer peer[PEERS];

/* What peers heard, in order. */
static struct heard {
    unsigned peer;
    struct message m; /* its pointers are not valid */
    uint8_t packet[MESSAGE_PACKET];
    size_t packet_size;
} inbox[INBOX];
static unsigned heard_count;

static unsigned events[3];
static struct aq_bootstrap_event last_event;

static void hear(struct boot_peer *p, const struct message *m)
{
    cr_assert_lt(heard_count, INBOX);
    struct heard *h = &inbox[heard_count++];
    h->peer = p->number;
    h->m = *m;
    h->packet_size = message_has(m, FIELD_PACKET) ? m->packet.size : 0;
    if (h->packet_size > 0)
        memcpy(h->packet, m->packet.data, h->packet_size);
}

static unsigned asks_heard;

/* Where there are more than the inbox holds. */
static void hear_little(struct boot_peer *p, const struct message *m)
{
    (void)p;
    asks_heard += m->step == STEP_ASK;
}

static void on_event(void *user, const struct aq_bootstrap_event *event)
{
    cr_assert_eq(user, &config);
    events[event->kind]++;
    last_event = *event;
}

static void turn(void)
{
    struct pollfd fds[2] = {{aq_loop_fd(peers.loop), POLLIN, 0},
                            {node != NULL ? aq_loop_fd(aq_bootstrap_loop(node)) : -1, POLLIN, 0}};
    (void)poll(fds, 2, 20);
    cr_assert_geq(aq_loop_step(peers.loop), 0);
    if (node != NULL)
        cr_assert_geq(aq_loop_step(aq_bootstrap_loop(node)), 0);
}

#define UNTIL(condition)                                                  \
    do {                                                                  \
        uint64_t until_end = aq_loop_clock(peers.loop) + 20000000;        \
        while (!(condition)) {                                            \
            turn();                                                       \
            cr_assert_lt(aq_loop_now(peers.loop), until_end, #condition); \
        }                                                                 \
    } while (0)

static void some_turns(void)
{
    for (unsigned i = 0; i < 5; i++)
        turn();
}

static void node_start(void)
{
    char error[256];
    uint8_t id[32];
    node = aq_bootstrap_new(&config, error, sizeof error);
    cr_assert_not_null(node, "%s", error);
    aq_bootstrap_self(node, &at, id);
    config.listen[0] = at; /* a restarted one has the same port */
}

static void setup(void)
{
    char error[256];
    if (node_pem[0] == '\0')
        cr_assert(aq_key_make(AQ_KEY_ED25519, node_pem, sizeof node_pem, error, sizeof error));
    aq_bootstrap_config_init(&config);
    config.listen[0] = (struct aq_addr){.family = 4, .ip = {127, 0, 0, 1}};
    config.key = (struct aq_pem){.pem = node_pem, .pem_size = strlen(node_pem)};
    config.max_peers = 100;
    config.max_pairs = 8;
    config.on_event = on_event;
    config.user = &config;
    heard_count = 0;
    memset(events, 0, sizeof events);
    peers_open(64, false);
    peers.on_message = hear;
}

static void start(unsigned count)
{
    node_start();
    for (unsigned i = 0; i < count; i++) {
        peer_make(&peer[i], i);
        peer_dial(&peer[i], &at, true);
    }
    UNTIL(peers.connected == count);
}

static void end(void)
{
    for (unsigned i = 0; i < PEERS; i++)
        if (peer[i].tls != NULL)
            (void)aq_close(peers.ep, peer[i].conn, 0, NULL, aq_loop_now(peers.loop));
    some_turns();
    aq_bootstrap_free(node);
    node = NULL;
    peers_close();
    for (unsigned i = 0; i < PEERS; i++) {
        aq_tls_free(peer[i].tls);
        peer[i].tls = NULL;
    }
}

static struct aq_bootstrap_stats stats(void)
{
    struct aq_bootstrap_stats s = {.size = sizeof s};
    aq_bootstrap_stats(node, &s);
    return s;
}

/* The answer to one message. */
static const struct message *ask(unsigned n, const struct message *m)
{
    heard_count = 0;
    (void)peer_say(&peer[n], m);
    UNTIL(heard_count > 0);
    cr_assert_eq(inbox[0].peer, n);
    return &inbox[0].m;
}

static unsigned try_register(unsigned n, uint64_t generation, uint32_t lease_s)
{
    struct message m = register_of(&peer[n]);
    m.generation = generation;
    m.lease_s = lease_s;
    const struct message *answer = ask(n, &m);
    cr_assert_eq(answer->type, MESSAGE_REGISTERED);
    return answer->reason;
}

static void register_all(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(try_register(i, 5, 120), NAT_ACCEPTED);
}

/* ---- registration ---------------------------------------------------------------------------- */

/* PROTOCOL §3: accepted, with what the node sees; a lease; renewed; goodbye. */
Test(bootstrap, registers)
{
    setup();
    config.max_peers = 20000;
    start(1);
    struct message m = register_of(&peer[0]);
    m.lease_s = 5;
    const struct message *answer = ask(0, &m);
    cr_expect_eq(answer->reason, NAT_ACCEPTED);
    cr_expect_eq(answer->lease_s, 30);
    cr_expect_eq(answer->observed.family, 4);
    struct aq_conn_stats own = {.size = sizeof own};
    cr_assert_eq(aq_conn_stats(peers.ep, peer[0].conn, &own), AQ_OK);
    cr_expect_eq(answer->observed.port, own.local.port);
    cr_expect_eq(events[AQ_BOOTSTRAP_REGISTERED], 1);
    cr_expect_arr_eq(last_event.peer, peer[0].id.bytes, 32);
    cr_expect_eq(stats().peers, 1);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    cr_expect_eq(events[AQ_BOOTSTRAP_REGISTERED], 1, "a renewal is silent");
    cr_expect_eq(try_register(0, 5, 0), NAT_ACCEPTED);
    cr_expect_eq(stats().peers, 0);
    cr_expect_eq(events[AQ_BOOTSTRAP_GONE], 1);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    (void)aq_close(peers.ep, peer[0].conn, 0, NULL, aq_loop_now(peers.loop));
    UNTIL(stats().peers == 0);
    cr_expect_eq(events[AQ_BOOTSTRAP_GONE], 2, "a connection that ends is a registration's end");
    cr_expect_lt(stats().peer_bytes, 2048);
    end();
}

/* PROTOCOL §3: each reason that one peer can have. */
Test(bootstrap, reasons)
{
    static const uint8_t nonsense[] = {0, 1, 0, 6, 0, 2, 0, 2, 9, 9};
    setup();
    config.address_burst = 8;
    config.address_per_s = 1;
    start(3);
    heard_count = 0;
    (void)peer_say_bytes(&peer[0], nonsense, sizeof nonsense);
    UNTIL(heard_count == 1);
    cr_expect_eq(inbox[0].m.reason, NAT_MALFORMED);
    struct message m = register_of(&peer[0]);
    m.version = 2;
    cr_expect_eq(ask(0, &m)->reason, NAT_VERSION);
    m = register_of(&peer[0]);
    m.peer_id = peer[1].id;
    cr_expect_eq(ask(0, &m)->reason, NAT_IDENTITY_MISMATCH);
    cr_expect_eq(events[AQ_BOOTSTRAP_REFUSED], 3);
    cr_expect_eq(last_event.reason, NAT_IDENTITY_MISMATCH);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    cr_expect_eq(try_register(1, 5, 120), NAT_ACCEPTED);
    /* The same key on another connection, as of an older process. */
    struct boot_peer newer = peer[1];
    peer_dial(&peer[1], &at, true);
    UNTIL(peer[1].connected);
    cr_expect_eq(try_register(1, 4, 120), NAT_STALE_GENERATION);
    (void)aq_close(peers.ep, newer.conn, 0, NULL, aq_loop_now(peers.loop));
    unsigned tries = 0;
    while (try_register(0, 5, 120) == NAT_ACCEPTED && tries++ < 20)
        ;
    cr_expect_eq(inbox[0].m.reason, NAT_RATE_LIMITED);
    cr_expect_gt(inbox[0].m.retry_after_ms, 0);
    cr_expect_eq(stats().registered[NAT_RATE_LIMITED], 1);
    end();
}

/* A stream that says what cannot be a message ends its connection, and nobody else's. */
Test(bootstrap, a_broken_stream)
{
    static const uint8_t huge[] = {0, 1, 0xff, 0xff, 1, 2, 3};
    setup();
    start(2);
    register_all(2);
    (void)peer_say_bytes(&peer[0], huge, sizeof huge);
    UNTIL(peer[0].closed);
    cr_expect_eq(peer[0].close_code, NAT_MALFORMED);
    cr_expect_eq(stats().peers, 1);
    cr_expect_eq(try_register(1, 5, 120), NAT_ACCEPTED);
    end();
}

/* Messages may come in any pieces. */
Test(bootstrap, a_message_in_pieces)
{
    uint8_t data[MESSAGE_MAX];
    setup();
    start(1);
    struct message m = register_of(&peer[0]);
    size_t size = message_encode(&m, data, sizeof data);
    for (size_t i = 0; i < size; i++) {
        (void)peer_say_bytes(&peer[0], data + i, 1);
        turn();
    }
    UNTIL(heard_count == 1);
    cr_expect_eq(inbox[0].m.reason, NAT_ACCEPTED);
    end();
}

Test(bootstrap, who_may)
{
    setup();
    struct boot_peer welcome;
    peer_make(&welcome, 0);
    config.allow = (const uint8_t(*)[32]) & welcome.id.bytes;
    config.allow_count = 1;
    start(1);
    cr_expect_eq(try_register(0, 5, 120), NAT_POLICY);
    aq_tls_free(peer[0].tls);
    peer[0] = welcome;
    peer_dial(&peer[0], &at, true);
    UNTIL(peer[0].connected);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    end();
}

Test(bootstrap, capacity)
{
    setup();
    config.max_peers = 2;
    start(3);
    register_all(2);
    cr_expect_eq(try_register(2, 5, 120), NAT_CAPACITY);
    cr_expect_eq(try_register(0, 5, 0), NAT_ACCEPTED);
    cr_expect_eq(try_register(2, 5, 120), NAT_ACCEPTED);
    end();
}

Test(bootstrap, proof_of_work)
{
    setup();
    config.pow_bits = 8;
    start(1);
    struct message m = register_of(&peer[0]);
    const struct message *answer = ask(0, &m);
    cr_assert_eq(answer->reason, NAT_POW_REQUIRED);
    cr_expect_eq(answer->pow_bits, 8);
    memcpy(m.pow_challenge, answer->pow_challenge, CHALLENGE_SIZE);
    cr_assert(pow_search(m.pow_challenge, &peer[0].id, 8, 1000000, &m.pow_solution));
    message_set(&m, FIELD_POW_CHALLENGE);
    message_set(&m, FIELD_POW_SOLUTION);
    m.pow_challenge[0] ^= 1;
    cr_expect_eq(ask(0, &m)->reason, NAT_POW_INVALID);
    m.pow_challenge[0] ^= 1;
    cr_expect_eq(ask(0, &m)->reason, NAT_ACCEPTED);
    end();
}

/* ---- restart --------------------------------------------------------------------------------- */

/* PROTOCOL §3: peers are told, and what was stale stays stale. */
Test(bootstrap, restart)
{
    static uint8_t state[65536];
    char error[256];
    setup();
    start(2);
    register_all(2);
    cr_expect_eq(aq_bootstrap_save(node, state, aq_bootstrap_save_size(node) - 1), 0);
    size_t size = aq_bootstrap_save(node, state, sizeof state);
    cr_assert_eq(size, aq_bootstrap_save_size(node));
    heard_count = 0;
    aq_bootstrap_stop(node);
    struct message m = register_of(&peer[0]);
    (void)peer_say(&peer[0], &m); /* too late */
    UNTIL(peers.closed == 2);
    cr_assert_eq(heard_count, 3);
    for (unsigned i = 0; i < 3; i++)
        cr_expect_eq(inbox[i].m.reason, NAT_SHUTTING_DOWN);
    cr_expect_eq(peer[1].close_code, NAT_SHUTTING_DOWN);
    cr_assert_eq(aq_loop_run(aq_bootstrap_loop(node)), 0);
    aq_bootstrap_free(node);
    node = NULL;

    config.state = state;
    config.state_size = size;
    static const size_t places[] = {0, 10, 45, 60, 100};
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        state[places[i]] ^= 1;
        cr_expect_null(aq_bootstrap_new(&config, error, sizeof error));
        cr_expect_not_null(strstr(error, "the state is damaged"), "%s", error);
        state[places[i]] ^= 1;
    }
    config.state_size = size - 1;
    cr_expect_null(aq_bootstrap_new(&config, error, sizeof error));
    config.state_size = size;
    node_start();
    peers.connected = 0;
    for (unsigned i = 0; i < 2; i++)
        peer_dial(&peer[i], &at, true);
    UNTIL(peers.connected == 2);
    cr_expect_eq(try_register(0, 4, 120), NAT_STALE_GENERATION);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    cr_expect_eq(try_register(1, 6, 120), NAT_ACCEPTED);
    end();
}

/* A node that is killed says nothing; started again with its secret, which is the state's, or what
 * its key and its port give, it says what its peers can believe at their next packet (RFC 9000
 * §10.3). */
Test(bootstrap, killed_and_back)
{
    static uint8_t state[65536];
    for (unsigned kept = 0; kept < 2; kept++) {
        setup();
        node_start(); /* finds a port */
        aq_bootstrap_free(node);
        start(1);
        register_all(1);
        if (kept) {
            config.state_size = aq_bootstrap_save(node, state, sizeof state);
            config.state = state;
        }
        aq_bootstrap_free(node);
        node_start();
        struct message m = register_of(&peer[0]);
        (void)peer_say(&peer[0], &m);
        UNTIL(peer[0].closed);
        end();
    }
}

/* PROTOCOL §3: who registers anew with the same key ends the connection where it was registered
 * before, at once. */
Test(bootstrap, registered_anew)
{
    setup();
    start(2);
    register_all(2);
    peer[2] = peer[1];
    peer[2].number = 2;
    peer[1].tls = NULL; /* one key, two owners: the second one frees it */
    peers.connected = 0;
    peer_dial(&peer[2], &at, true);
    UNTIL(peers.connected == 1);
    cr_expect_eq(try_register(2, 4, 120), NAT_STALE_GENERATION);
    some_turns();
    cr_expect_eq(peers.closed, 0, "who is refused ends nothing");
    cr_expect_eq(try_register(2, 6, 120), NAT_ACCEPTED);
    UNTIL(peers.closed == 1);
    cr_expect(peer[1].closed && peer[1].close_code == NAT_STALE_GENERATION);
    cr_expect_eq(stats().peers, 2);
    cr_expect_eq(events[AQ_BOOTSTRAP_GONE], 0, "it is here");
    cr_expect_eq(try_register(2, 6, 120), NAT_ACCEPTED, "and stays");
    end();
}

Test(bootstrap, bad_configs)
{
    char error[256];
    setup();
#define REFUSED(change, text)                                                 \
    do {                                                                      \
        struct aq_bootstrap_config keep = config;                             \
        change;                                                               \
        cr_expect_null(aq_bootstrap_new(&config, error, sizeof error), text); \
        cr_expect_not_null(strstr(error, text), "%s", error);                 \
        config = keep;                                                        \
    } while (0)
    REFUSED(config.size = 1, "aq_bootstrap_config_init");
    REFUSED(config.listen[0].family = 5, "IPv4 or IPv6");
    REFUSED(config.key.pem = NULL, "needs a key");
    REFUSED(config.key.pem = "nonsense"; config.key.pem_size = 8, "no private key");
    REFUSED(config.max_peers = 0, "max_peers");
    REFUSED(config.max_pairs = 0, "max_pairs");
    REFUSED(config.pow_bits = 41, "pow_bits");
    REFUSED(config.address_per_s = 0, "address_per_s");
    REFUSED(config.relay_bytes_per_s = UINT64_MAX, "relay_bytes_per_s");
    REFUSED(config.nodes[0] = "x", "");
    node_start();
    REFUSED((void)0, "port in use");
    end();
}

/* ---- two peers ------------------------------------------------------------------------------- */

/* PROTOCOL §4: ask, consent, go; the addresses are those observed. */
Test(bootstrap, punch)
{
    setup();
    start(2);
    register_all(2);
    struct message m = request_of(MESSAGE_PUNCH, &peer[1], 7);
    heard_count = 0;
    (void)peer_say(&peer[0], &m);
    UNTIL(heard_count == 1);
    cr_assert_eq(inbox[0].peer, 1);
    cr_expect_eq(inbox[0].m.step, STEP_ASK);
    cr_expect(peer_id_equal(&inbox[0].m.peer_id, &peer[0].id));
    cr_expect_not(message_has(&inbox[0].m, FIELD_PEER_ADDRESS), "no address before the consent");
    m = answer_of(&inbox[0].m, NAT_ACCEPTED);
    (void)peer_say(&peer[1], &m);
    UNTIL(heard_count == 3);
    const struct message *a = &inbox[inbox[1].peer == 0 ? 1 : 2].m,
                         *b = &inbox[inbox[1].peer == 0 ? 2 : 1].m;
    cr_expect_eq(a->step, STEP_GO);
    cr_expect_eq(b->step, STEP_GO);
    cr_expect_eq(a->observed.port, b->peer_address.port);
    cr_expect_eq(b->observed.port, a->peer_address.port);
    cr_expect_neq(a->observed.port, b->observed.port);
    cr_expect_arr_eq(a->punch_key, b->punch_key, PUNCH_KEY_SIZE);
    /* To nobody, and to one that says no. */
    struct boot_peer nobody = {.id = {{1}}};
    m = request_of(MESSAGE_PUNCH, &nobody, 8);
    cr_expect_eq(ask(0, &m)->reason, NAT_NOT_REGISTERED);
    m = request_of(MESSAGE_PUNCH, &peer[1], 9);
    heard_count = 0;
    (void)peer_say(&peer[0], &m);
    UNTIL(heard_count == 1);
    m = answer_of(&inbox[0].m, NAT_REFUSED);
    (void)peer_say(&peer[1], &m);
    UNTIL(heard_count == 2);
    cr_expect_eq(inbox[1].m.step, STEP_REFUSED);
    cr_expect_eq(inbox[1].m.reason, NAT_REFUSED);
    /* And one that says nothing for two seconds. */
    m = request_of(MESSAGE_PUNCH, &peer[1], 10);
    heard_count = 0;
    (void)peer_say(&peer[0], &m);
    UNTIL(heard_count == 2);
    cr_expect_eq(inbox[1].m.reason, NAT_TIMEOUT);
    end();
}

static uint64_t channel[2]; /* that 0 and 1 send on */

static void connect_pair(void)
{
    struct message m = request_of(MESSAGE_CONNECT, &peer[1], 11);
    static const uint8_t initial[1200] = {0xc0, 1, 2, 3};
    m.packet = (struct aq_iov){initial, sizeof initial};
    message_set(&m, FIELD_PACKET);
    heard_count = 0;
    (void)peer_say(&peer[0], &m);
    UNTIL(heard_count == 2);
    const struct heard *asked = &inbox[inbox[0].peer == 1 ? 0 : 1],
                       *go = &inbox[inbox[0].peer == 1 ? 1 : 0];
    cr_assert_eq(asked->m.step, STEP_ASK);
    cr_assert_eq(go->m.step, STEP_GO);
    /* PROTOCOL §4: the dialler's first packet goes with the request. */
    cr_assert_eq(asked->packet_size, sizeof initial);
    cr_expect_arr_eq(asked->packet, initial, sizeof initial);
    channel[0] = go->m.channel_out;
    channel[1] = asked->m.channel_out;
    cr_expect_eq(go->m.channel_in, channel[1]);
    cr_expect_eq(asked->m.channel_in, channel[0]);
}

static struct {
    unsigned messages, packets;
    uint64_t bytes, wrong;
} got;

static void count_relayed(const struct aq_datagram *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t step = d[i].segment != 0 ? d[i].segment : d[i].size;
        got.messages++;
        got.packets += (d[i].size + step - 1) / step;
        got.bytes += d[i].size;
        for (uint32_t p = 0; p < d[i].size; p += step)
            got.wrong += d[i].data[p] != DATAGRAM_RELAY;
    }
}

/* Sends `count` datagrams of 1,200 bytes on a channel from a peer's address, as one train. */
static void relay(unsigned from, uint64_t id, unsigned count)
{
    static uint8_t data[48 * 1200];
    struct aq_conn_stats own = {.size = sizeof own};
    struct aq_loop_sent sent;
    cr_assert_leq(count, 48);
    for (unsigned i = 0; i < count; i++)
        relay_header(data + i * 1200, id);
    cr_assert_eq(aq_conn_stats(peers.ep, peer[from].conn, &own), AQ_OK);
    /* Each peer has a socket of its own: they were opened in order. */
    struct aq_train train = {.data = data,
                             .size = count * 1200,
                             .segment = 1200,
                             .socket = (uint16_t)from,
                             .remote = at};
    aq_loop_send_trains(peers.loop, &train, 1, &sent);
    cr_assert_eq(sent.packets, count);
    cr_assert_eq(sent.bytes, count * 1200);
}

static uint64_t dropped(const struct aq_bootstrap_stats *s)
{
    return s->no_channel.bytes + s->wrong_address.bytes + s->no_address.bytes + s->unproven.bytes
           + s->over_rate.bytes + s->not_sent.bytes;
}

/* PROTOCOL §4: by channel and address; little to who has not answered; counted at both ends. */
Test(bootstrap, relays)
{
    setup();
    config.relay_bytes_per_s = 100000000;
    peers.on_datagrams = count_relayed;
    start(3);
    register_all(3);
    connect_pair();
    memset(&got, 0, sizeof got);
    relay(0, channel[0], 10);
    UNTIL(got.packets == 10);
    cr_expect_leq(got.messages, 1, "one train in, one train out: %u", got.messages);
    relay(0, channel[0], 10); /* 24,000 bytes are more than 16 KiB */
    UNTIL(stats().unproven.packets == 10);
    relay(1, channel[1], 1);
    UNTIL(got.packets == 11);
    relay(0, channel[0], 10);
    UNTIL(got.packets == 21);
    relay(2, channel[0], 1); /* not where the id was given to */
    relay(0, channel[0] + 1, 1);
    relay(0, channel[1], 1);
    UNTIL(stats().in.packets == 34);
    some_turns();
    struct aq_bootstrap_stats s = stats();
    cr_expect_eq(s.wrong_address.packets, 2);
    cr_expect_eq(s.no_channel.packets, 1);
    cr_expect_eq(got.packets, 21);
    cr_expect_eq(got.wrong, 0);
    cr_expect_eq(s.out.packets, 21);
    cr_expect_eq(s.out.bytes, got.bytes);
    cr_expect_eq(s.in.bytes, s.out.bytes + dropped(&s));
    cr_expect_eq(s.in.bytes, 34 * 1200);
    cr_expect_eq(s.pairs, 1);
    /* QUIC goes on beside it. */
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED);
    end();
}

/* PROTOCOL §4: beyond the pair's rate it is dropped; what fits of a burst arrives. */
Test(bootstrap, relays_at_most_its_rate)
{
    setup();
    config.relay_bytes_per_s = 125000; /* 1 Mbit/s, and 128 KiB at once */
    peers.on_datagrams = count_relayed;
    start(2);
    register_all(2);
    connect_pair();
    memset(&got, 0, sizeof got);
    relay(1, channel[1], 1);
    UNTIL(got.packets == 1);
    uint64_t from = aq_loop_clock(peers.loop);
    for (unsigned i = 1; i <= 8; i++) {
        relay(0, channel[0], 48);
        UNTIL(stats().in.packets == 48 * i + 1);
    }
    some_turns();
    uint64_t us = aq_loop_clock(peers.loop) - from;
    uint64_t most = 131072 + us * 125000 / 1000000;
    struct aq_bootstrap_stats s = stats();
    cr_expect_leq(s.out.bytes, most + 1200);
    cr_expect_geq(s.out.bytes, 131072 - 2 * 1200);
    cr_expect_eq(s.over_rate.bytes + s.out.bytes, s.in.bytes);
    cr_expect_eq(got.bytes, s.out.bytes);
    end();
}

/* A target that does not want: the channels end. */
Test(bootstrap, a_refusal_ends_the_channels)
{
    setup();
    start(2);
    register_all(2);
    connect_pair();
    cr_expect_eq(stats().pairs, 1);
    struct message asked = step_of(MESSAGE_CONNECT, STEP_ASK, 11);
    struct message m = answer_of(&asked, NAT_REFUSED);
    heard_count = 0;
    (void)peer_say(&peer[1], &m);
    UNTIL(heard_count == 1);
    cr_expect_eq(inbox[0].peer, 0);
    cr_expect_eq(inbox[0].m.reason, NAT_REFUSED);
    cr_expect_eq(stats().pairs, 0);
    relay(0, channel[0], 1);
    UNTIL(stats().no_channel.packets == 1);
    end();
}

Test(bootstrap, no_relay)
{
    setup();
    config.relay_bytes_per_s = 0;
    start(2);
    register_all(2);
    struct message m = request_of(MESSAGE_CONNECT, &peer[1], 12);
    cr_expect_eq(ask(0, &m)->reason, NAT_NO_RELAY);
    end();
}

static void ignore(struct boot_peer *p, const struct message *m)
{
    (void)p;
    (void)m;
}

/* Quotas: all pairs, and a peer's requests, of which the last ones are too many at once. */
Test(bootstrap, quotas)
{
    setup();
    start(2);
    register_all(2);
    peers.on_message = ignore;
    for (uint64_t i = 0; i < 100; i++) {
        struct message m = request_of(MESSAGE_CONNECT, &peer[1], 100 + i);
        cr_assert(peer_say(&peer[0], &m));
    }
    UNTIL(stats().messages_in == 102);
    struct aq_bootstrap_stats s = stats();
    cr_expect_eq(s.pairs, 8);
    cr_expect_eq(s.coordinated[NAT_ACCEPTED], 8);
    cr_expect_geq(s.coordinated[NAT_CAPACITY], 56);
    cr_expect_gt(s.coordinated[NAT_RATE_LIMITED], 0);
    end();
}

/* Many newcomers from one address: most are told to come later, and who is in stays in. */
Test(bootstrap, flood)
{
    setup();
    config.address_burst = 10;
    config.address_per_s = 1;
    start(PEERS);
    unsigned in = 0, later = 0;
    for (unsigned i = 0; i < PEERS; i++) {
        unsigned reason = try_register(i, 5, 120);
        in += reason == NAT_ACCEPTED;
        later += reason == NAT_RATE_LIMITED;
    }
    cr_expect_eq(in + later, PEERS);
    cr_expect_geq(in, 10);
    cr_expect_gt(later, 10);
    cr_expect_eq(try_register(0, 5, 120), NAT_ACCEPTED, "a renewal is no newcomer");
    end();
}

/* Who connects and says nothing is shown out. */
/* Others may ask for a peer faster than it reads: what there is no room for is not said, and its
 * connection stays. */
Test(bootstrap, a_peer_that_many_ask_for)
{
    static uint8_t packet[MESSAGE_PACKET];
    setup();
    config.max_pairs = 128;
    start(9);
    register_all(9);
    heard_count = 0;
    peers.on_message = hear_little;
    for (unsigned i = 0; i < 60; i++) { /* in one turn: nothing is acknowledged meanwhile */
        struct message m = request_of(MESSAGE_CONNECT, &peer[8], 100 + i);
        m.packet = (struct aq_iov){packet, sizeof packet};
        message_set(&m, FIELD_PACKET);
        cr_assert(peer_say(&peer[i % 8], &m));
    }
    UNTIL(asks_heard + stats().unread == 60);
    cr_expect_gt(stats().unread, 0, "there was room for all: this shows nothing");
    cr_expect_gt(asks_heard, 20);
    cr_expect(!peer[8].closed);
    peers.on_message = hear;
    cr_expect_eq(try_register(8, 5, 120), NAT_ACCEPTED);
    cr_expect_eq(stats().peers, 9);
    end();
}

Test(bootstrap, silence)
{
    setup();
    start(1);
    UNTIL(peer[0].closed);
    cr_expect_eq(peer[0].close_code, NAT_NOT_REGISTERED);
    end();
}
