/* attack_boot.c -- a malicious bootstrap node (attack.h). A peer registers with it, among others;
 * from then on it may say whatever it likes on the stream, and send datagrams from its port. */
#include "tests/net/attack.h"

#include "nat/datagram.h"
#include "nat/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GOES = 40,
    PATIENCE_US = 90000000
};

static struct {
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    struct aq_tls *tls;
    struct peer_id self, guest;
    struct aq_addr guest_at, lie; /* what the guest is told of itself; family 0: the truth */
    uint16_t socket;
    aq_conn conn;
    aq_stream stream;
    unsigned work; /* bits of a proof of work that it asks for; 0: none */
    bool registered;
    unsigned closed, consents, refusals;
} boot;

static void say(const struct message *m)
{
    uint8_t data[MESSAGE_MAX];
    struct aq_iov iov = {data, message_encode(m, data, sizeof data)};
    if (boot.stream != 0)
        (void)aq_stream_write(boot.ep, boot.stream, &iov, 1, 0);
}

/* ---- as a bootstrap node does ---------------------------------------------------------------- */

static void answer_register(const struct attack *a)
{
    static char names[MESSAGE_NODES][64];
    struct message m = {.type = MESSAGE_REGISTERED, .reason = NAT_ACCEPTED, .lease_s = 120};
    m.observed = boot.lie.family != 0 ? boot.lie : boot.guest_at;
    message_set(&m, FIELD_REASON);
    if (boot.work > 0) {
        m.reason = NAT_POW_REQUIRED;
        m.pow_bits = (uint8_t)boot.work;
        message_set(&m, FIELD_POW_CHALLENGE);
        message_set(&m, FIELD_POW_BITS);
    } else {
        message_set(&m, FIELD_LEASE);
        message_set(&m, FIELD_OBSERVED);
        boot.registered = true;
    }
    for (unsigned i = 0; i < MESSAGE_NODES && boot.lie.family != 0; i++) {
        struct aq_addr at = a->victim; /* other bootstrap nodes, it says */
        at.port = attack_port();
        (void)aq_addr_text(&at, names[i], sizeof names[i]);
        m.nodes[m.node_count++] = (struct aq_iov){(const uint8_t *)names[i], strlen(names[i])};
        message_set(&m, FIELD_NODE);
    }
    say(&m);
}

static void on_message(const struct attack *a, const struct message *m)
{
    if (m->type == MESSAGE_REGISTER) {
        boot.guest = m->peer_id;
        answer_register(a);
    } else if (m->step == STEP_ANSWER) {
        boot.consents += m->reason == NAT_ACCEPTED;
        boot.refusals += m->reason != NAT_ACCEPTED;
    }
}

static void on_readable(const struct attack *a)
{
    for (;;) {
        struct aq_iov iov[64];
        static uint8_t bytes[MESSAGE_MAX];
        struct message m;
        size_t have = 0;
        bool fin;
        int n = aq_stream_peek(boot.ep, boot.stream, iov, 64, &fin);
        for (int i = 0; i < n && have < sizeof bytes; i++) {
            size_t part = iov[i].size < sizeof bytes - have ? iov[i].size : sizeof bytes - have;
            memcpy(bytes + have, iov[i].data, part);
            have += part;
        }
        uint32_t size = message_size(bytes, have);
        if (n < 0 || size == 0 || size > have)
            return;
        (void)aq_stream_consume(boot.ep, boot.stream, size);
        if (message_decode(bytes, size, &m) == MESSAGE_GOOD)
            on_message(a, &m);
    }
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *e)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    (void)loop;
    if (e->kind == AQ_EVENT_ACCEPTED) {
        boot.conn = e->conn;
        boot.stream = 0;
        boot.registered = false;
    } else if (e->conn != boot.conn) {
        return;
    } else if (e->kind == AQ_EVENT_OPENED) {
        boot.stream = e->stream;
        if (aq_conn_stats(boot.ep, e->conn, &stats) == AQ_OK)
            boot.guest_at = stats.remote;
    } else if (e->kind == AQ_EVENT_READABLE) {
        on_readable(user);
    } else if (e->kind == AQ_EVENT_CLOSED) {
        boot.conn = 0;
        boot.stream = 0;
        boot.registered = false;
        boot.closed++;
    }
}

static void boot_begin(struct attack *a, const struct aq_addr *preferred)
{
    static const char *const alpn[] = {NAT_ALPN_BOOTSTRAP};
    struct aq_tls_config tls;
    struct aq_loop_config config;
    char error[256];
    aq_tls_config_init(&tls);
    tls.server = tls.ask_client_certificate = true;
    tls.key = (struct aq_pem){.file = a->key};
    tls.alpn = alpn;
    tls.alpn_count = 1;
    tls.verify = AQ_VERIFY_PEER;
    tls.tickets = 0;
    boot.tls = aq_tls_new(&tls, error, sizeof error);
    if (boot.tls == NULL || !aq_tls_pin(boot.tls, boot.self.bytes))
        attack_die("the key", error);
    aq_loop_config_init(&config);
    config.on_event = on_event;
    config.user = a;
    config.endpoint.tls = boot.tls;
    config.endpoint.idle_timeout_us = 60000000;
    if (preferred != NULL)
        config.endpoint.preferred4 = *preferred;
    boot.loop = aq_loop_new(&config, error, sizeof error);
    if (boot.loop == NULL || aq_listen(boot.loop, &a->here, NULL, error, sizeof error) != AQ_OK)
        attack_die("a loop", error);
    boot.socket = (uint16_t)aq_loop_socket(boot.loop, &a->here);
    boot.ep = aq_loop_endpoint(boot.loop);
}

static void boot_end(void)
{
    aq_loop_free(boot.loop);
    aq_tls_free(boot.tls);
    memset(&boot, 0, sizeof boot);
}

static void turn(void)
{
    attack_turn(&boot.loop, 1);
}

static void run(unsigned ms)
{
    attack_run(turn, ms);
}

static void drop(void)
{
    if (boot.conn != 0)
        (void)aq_close(boot.ep, boot.conn, 0, "and again", aq_loop_now(boot.loop));
    UNTIL(boot.conn == 0);
}

/* ---- PUNCH ----------------------------------------------------------------------------------- */

static void fill_random(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(attack_chance() >> 24);
}

static struct message about(enum message_type type, enum message_step step,
                            const uint8_t id[REQUEST_ID_SIZE], const struct peer_id *who)
{
    struct message m = message_about((uint16_t)type, step, id);
    m.peer_id = *who;
    message_set(&m, FIELD_PEER_ID);
    return m;
}

static void say_go(const uint8_t id[REQUEST_ID_SIZE], const struct peer_id *who,
                   const struct aq_addr *own, const struct aq_addr *at)
{
    static const enum message_field fields[] = {FIELD_TARGET, FIELD_OBSERVED, FIELD_DELAY,
                                                FIELD_PUNCH_KEY, FIELD_PEER_ADDRESS};
    struct message m = about(MESSAGE_PUNCH, STEP_GO, id, who);
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        message_set(&m, fields[i]);
    m.target = boot.guest;
    m.observed = *own;
    m.peer_address = *at;
    fill_random(m.punch_key, sizeof m.punch_key);
    say(&m);
}

enum how {
    GO_SAME,    /* one peer, at ever other ports */
    GO_MANY,    /* a new peer each time */
    GO_UNASKED, /* nobody was asked for consent */
    GO_SCOPED,  /* at nobody's address */
    GO_PRIVATE, /* at a private one, which we claim to be the guest's own network */
};

static void punch(struct attack *a, const char *trick, enum how how)
{
    static const uint8_t scoped[][4] = {
        {127, 0, 0, 1}, {224, 0, 0, 251}, {255, 255, 255, 255}, {169, 254, 169, 9}, {0, 0, 0, 0}};
    struct aq_addr victim = attack_victim(a), own;
    struct peer_id who;
    UNTIL(boot.registered);
    own = boot.guest_at;
    fill_random(who.bytes, sizeof who.bytes);
    boot.consents = boot.refusals = 0;
    for (unsigned i = 0; i < GOES; i++) {
        uint8_t id[REQUEST_ID_SIZE];
        struct aq_addr at = victim;
        unsigned before = boot.consents + boot.refusals;
        at.port = attack_port();
        fill_random(id, sizeof id);
        if (how != GO_SAME)
            fill_random(who.bytes, how == GO_MANY ? sizeof who.bytes : 1);
        if (how == GO_SCOPED)
            memcpy(at.ip, scoped[i % 5], 4);
        if (how == GO_PRIVATE) {
            at = (struct aq_addr){.family = 4, .ip = {10, 9, 9, 9}, .port = at.port};
            memcpy(own.ip, at.ip, 4);
        }
        struct message ask = about(MESSAGE_PUNCH, STEP_ASK, id, &who);
        if (how != GO_UNASKED)
            say(&ask);
        for (unsigned k = 0;
             k < 250 && how != GO_UNASKED && boot.consents + boot.refusals == before; k++)
            turn();
        say_go(id, &who, &own, &at);
        say_go(id, &who, &own, &at); /* replayed */
        turn();
    }
    run(600);
    if (how == GO_PRIVATE)
        memcpy(victim.ip, own.ip, 4);
    attack_said(trick, &victim, "asked %u times, consents %u, refusals %u, closed %u",
                how == GO_UNASKED ? 0 : GOES, boot.consents, boot.refusals, boot.closed);
}

/* ---- floods, and what is not a message --------------------------------------------------------
 */

/* Handshakes that nobody ends: what a CONNECT brings is a stranger's packet. */
static void connect_flood(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    static uint8_t junk[1200];
    UNTIL(boot.registered);
    boot.refusals = 0;
    for (unsigned i = 0; i < GOES; i++) {
        uint8_t id[REQUEST_ID_SIZE];
        struct peer_id who;
        fill_random(id, sizeof id);
        fill_random(who.bytes, sizeof who.bytes);
        fill_random(junk, sizeof junk);
        junk[0] |= 0xc0;
        struct message m = about(MESSAGE_CONNECT, STEP_ASK, id, &who);
        m.channel_in = attack_chance();
        m.channel_out = attack_chance();
        m.packet = (struct aq_iov){junk, sizeof junk};
        message_set(&m, FIELD_CHANNEL_IN);
        message_set(&m, FIELD_CHANNEL_OUT);
        if (i % 2 == 0)
            message_set(&m, FIELD_PACKET);
        say(&m);
        turn();
    }
    run(300);
    attack_said("connect-flood", &victim, "refusals %u, closed %u", boot.refusals, boot.closed);
}

/* Beside QUIC: every first byte there is, from the port that is trusted most. */
static void datagram_flood(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    uint8_t data[1200];
    UNTIL(boot.registered);
    for (unsigned i = 0; i < 2000; i++) {
        struct aq_path_addr to = {.remote = boot.guest_at, .socket = boot.socket};
        fill_random(data, 64);
        data[0] = (uint8_t)(DATAGRAM_RELAY + i % 5);
        size_t size = i % 5 == 3 ? 1 : i % 5 == 2 ? PROBE_SIZE : i % 5 == 1 ? PUNCH_SIZE : 64;
        (void)aq_loop_send_raw(boot.loop, &to, 0, data, size);
        if (i % 50 == 0)
            turn();
    }
    run(300);
    attack_said("datagram-flood", &victim, "registered %d, closed %u", boot.registered,
                boot.closed);
}

/* A message longer than any may be. */
static void too_long(struct attack *a)
{
    static const uint8_t head[] = {0, 2, 0xff, 0xff, 1, 2, 3, 4};
    struct aq_iov iov = {head, sizeof head};
    struct aq_addr victim = attack_victim(a);
    UNTIL(boot.registered);
    unsigned before = boot.closed;
    (void)aq_stream_write(boot.ep, boot.stream, &iov, 1, 0);
    UNTIL(boot.closed > before);
    attack_said("too-long", &victim, "closed %u", boot.closed - before);
}

/* It says of the guest that it is the victim, and that the victim is a bootstrap node. */
static void observed(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    boot.lie = victim;
    UNTIL(boot.registered);
    run(500);
    attack_said("observed", &victim, "registered %d", boot.registered);
    boot.lie.family = 0;
    drop();
}

static void too_much_work(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    boot.work = 40;
    unsigned before = boot.closed;
    UNTIL(boot.closed > before);
    attack_said("too-much-work", &victim, "closed %u", boot.closed - before);
    boot.work = 0;
}

void attack_as_boot(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    boot_begin(a, &victim); /* RFC 9000 §9.6: a preferred address, for a start */
    (void)puts("ready");
    (void)fflush(stdout);
    UNTIL(boot.registered);
    run(1500);
    attack_said("boot-preferred", &victim, "registered %d", boot.registered);
    drop();
    boot_end();
    boot_begin(a, NULL);
    observed(a);
    punch(a, "go-same", GO_SAME);
    punch(a, "go-many", GO_MANY);
    punch(a, "go-unasked", GO_UNASKED);
    punch(a, "go-scoped", GO_SCOPED);
    punch(a, "go-private", GO_PRIVATE);
    connect_flood(a);
    datagram_flood(a);
    too_long(a);
    too_much_work(a); /* it comes back only after a minute */
    boot_end();
}
