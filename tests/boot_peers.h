/* boot_peers.h -- peers that talk to a bootstrap node over QUIC, on one loop: for its tests and its
 * load generator. Each has a key of its own. They say what they are told to, true or not. */
#ifndef TESTS_BOOT_PEERS_H
#define TESTS_BOOT_PEERS_H

#include "nat/datagram.h"
#include "nat/message.h"
#include "nat/pow.h"
#include "reactor/antq_reactor.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct boot_peer {
    struct aq_tls *tls;
    struct peer_id id;
    aq_conn conn;
    aq_stream stream;
    bool connected, closed;
    uint64_t close_code;
    unsigned number;
};

struct boot_peers {
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    /* A whole message; it and what it points at are valid during the call. */
    void (*on_message)(struct boot_peer *peer, const struct message *m);
    void (*on_connected)(struct boot_peer *peer); /* NULL: nobody asks */
    void (*on_closed)(struct boot_peer *peer);    /* likewise */
    void (*on_datagrams)(const struct aq_datagram *d, unsigned n);
    unsigned connected, closed;
    char error[256];
};

static struct boot_peers peers;

static inline void peers_die(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, peers.error);
    abort();
}

static inline void peer_read(struct boot_peer *p)
{
    for (;;) {
        struct aq_iov iov[64];
        static uint8_t bytes[MESSAGE_MAX];
        struct message m;
        size_t have = 0;
        bool fin;
        int n = aq_stream_peek(peers.ep, p->stream, iov, 64, &fin);
        for (int i = 0; i < n && have < sizeof bytes; i++) {
            size_t part = iov[i].size < sizeof bytes - have ? iov[i].size : sizeof bytes - have;
            memcpy(bytes + have, iov[i].data, part);
            have += part;
        }
        uint32_t size = message_size(bytes, have);
        if (n < 0 || size == 0 || size > have)
            return;
        (void)aq_stream_consume(peers.ep, p->stream, size);
        if (message_decode(bytes, size, &m) != MESSAGE_GOOD)
            peers_die("a bootstrap node said something malformed");
        peers.on_message(p, &m);
    }
}

static inline void peers_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct boot_peer *p = event->conn_user;
    (void)user;
    (void)loop;
    if (p == NULL || p->conn != event->conn)
        return;
    if (event->kind == AQ_EVENT_CONNECTED) {
        p->connected = true;
        peers.connected++;
        if (peers.on_connected != NULL)
            peers.on_connected(p);
    } else if (event->kind == AQ_EVENT_READABLE) {
        peer_read(p);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        struct aq_close_info info = {.size = sizeof info};
        (void)aq_conn_close_info(peers.ep, event->conn, &info);
        p->closed = true;
        p->close_code = info.code;
        peers.closed++;
        if (peers.on_closed != NULL)
            peers.on_closed(p);
    }
}

static inline void peers_datagrams(void *user, struct aq_loop *loop, const struct aq_datagram *d,
                                   unsigned n)
{
    (void)user;
    (void)loop;
    if (peers.on_datagrams != NULL)
        peers.on_datagrams(d, n);
}

static inline void peers_open(uint32_t max, bool no_gro)
{
    struct aq_loop_config config;
    aq_loop_config_init(&config);
    config.on_event = peers_event;
    config.on_datagrams = peers_datagrams;
    config.no_gro = no_gro;
    config.endpoint.max_conns = max;
    config.endpoint.max_half_open = max;
    config.endpoint.max_streams = max + 64;
    config.endpoint.memory_bytes = (64u << 20) + (uint64_t)max * 8192;
    config.endpoint.conn_memory_bytes = 1u << 20;
    config.endpoint.idle_timeout_us = 600000000;
    config.endpoint.keep_alive_us = 20000000;
    config.endpoint.handshake_timeout_us = 60000000;
    peers.loop = aq_loop_new(&config, peers.error, sizeof peers.error);
    if (peers.loop == NULL)
        peers_die("no loop");
    peers.ep = aq_loop_endpoint(peers.loop);
    peers.connected = peers.closed = 0;
}

static inline void peers_close(void)
{
    aq_loop_free(peers.loop);
    memset(&peers, 0, sizeof peers);
}

static inline void peer_make(struct boot_peer *p, unsigned number)
{
    static const char *const alpn[] = {NAT_ALPN_BOOTSTRAP};
    struct aq_tls_config config;
    char pem[512];
    memset(p, 0, sizeof *p);
    p->number = number;
    if (!aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, peers.error, sizeof peers.error))
        peers_die("no key");
    aq_tls_config_init(&config);
    config.key = (struct aq_pem){.pem = pem, .pem_size = strlen(pem)};
    config.alpn = alpn;
    config.alpn_count = 1;
    config.verify = AQ_VERIFY_PEER;
    p->tls = aq_tls_new(&config, peers.error, sizeof peers.error);
    if (p->tls == NULL || !aq_tls_pin(p->tls, p->id.bytes))
        peers_die("no tls");
}

/* fresh: from a port of its own. */
static inline void peer_dial(struct boot_peer *p, const struct aq_addr *node, bool fresh)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = p->tls;
    connect.remote = *node;
    connect.user = p;
    p->connected = p->closed = false;
    p->stream = 0;
    if (aq_dial(peers.loop, &connect, fresh, &p->conn, peers.error, sizeof peers.error) != AQ_OK)
        peers_die("cannot dial");
}

/* False: the connection has ended, or takes no more now. */
static inline bool peer_say_bytes(struct boot_peer *p, const uint8_t *data, size_t size)
{
    const struct aq_iov iov = {data, size};
    if (p->stream == 0 && aq_stream_open(peers.ep, p->conn, false, NULL, &p->stream) != AQ_OK)
        return false;
    return aq_stream_write(peers.ep, p->stream, &iov, 1, 0) == (int64_t)size;
}

static inline bool peer_say(struct boot_peer *p, const struct message *m)
{
    uint8_t data[MESSAGE_MAX];
    return peer_say_bytes(p, data, message_encode(m, data, sizeof data));
}

static inline struct message register_of(const struct boot_peer *p)
{
    struct message m = {.type = MESSAGE_REGISTER,
                        .version = MESSAGE_VERSION,
                        .peer_id = p->id,
                        .lease_s = 120,
                        .generation = 5,
                        .capabilities = CAPABLE_RELAY | CAPABLE_PUNCH};
    message_set(&m, FIELD_VERSION);
    message_set(&m, FIELD_PEER_ID);
    message_set(&m, FIELD_LEASE);
    message_set(&m, FIELD_GENERATION);
    message_set(&m, FIELD_CAPABILITIES);
    return m;
}

/* CONNECT or PUNCH; the request id's first bytes are `id`. */
static inline struct message step_of(enum message_type type, enum message_step step, uint64_t id)
{
    struct message m = {.type = (uint16_t)type, .step = (uint8_t)step};
    memcpy(m.request_id, &id, sizeof id);
    message_set(&m, FIELD_REQUEST_ID);
    message_set(&m, FIELD_STEP);
    return m;
}

static inline struct message request_of(enum message_type type, const struct boot_peer *target,
                                        uint64_t id)
{
    struct message m = step_of(type, STEP_REQUEST, id);
    m.target = target->id;
    message_set(&m, FIELD_TARGET);
    return m;
}

static inline struct message answer_of(const struct message *asked, enum nat_reason reason)
{
    struct message m = {.type = asked->type, .step = STEP_ANSWER, .reason = (uint8_t)reason};
    memcpy(m.request_id, asked->request_id, sizeof m.request_id);
    message_set(&m, FIELD_REQUEST_ID);
    message_set(&m, FIELD_STEP);
    message_set(&m, FIELD_REASON);
    return m;
}

#endif
