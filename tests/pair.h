/* pair.h -- two endpoints in memory and the wire between them, under the test's hand.
 *
 * Where the simulator plays whole transfers, here a test decides when a side takes its turn,
 * what becomes of each datagram, and when events are asked for. Time is p->now_us and moves only
 * in pair_run. Datagrams take 10 ms. */
#ifndef AQ_TESTS_PAIR_H
#define AQ_TESTS_PAIR_H

#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    PAIR_FLIGHT = 512,
    PAIR_EVENTS = 256,
    PAIR_DELAY_US = 10000,
    PAIR_DATAGRAM = 1500
};

struct pair_datagram {
    uint64_t at_us;
    struct aq_addr remote; /* as the train says */
    uint16_t socket;
    uint32_t size;
    uint64_t channel; /* relayed: data begins with its prefix */
    uint8_t ecn;
    uint8_t data[PAIR_DATAGRAM];
};

struct side {
    struct aq_endpoint *ep;
    void *mem;
    size_t mem_size;
    struct aq_addr addr;
    struct pair_datagram *out; /* sent by this side, on their way or kept */
    unsigned outs;
    uint64_t sent, sent_bytes; /* datagrams, and their bytes */
    bool mute;                 /* what it sends is counted and lost */
    uint64_t lose_nth;         /* so is its n-th datagram, counted from 1 */
    bool deaf_events;          /* events stay where they are */
    uint8_t ecn;               /* mark of the datagram that side_recv gives */
    uint8_t ttl;               /* its hop limit, 0 unknown */
    uint8_t (*remark)(uint8_t ecn,
                      uint64_t nth); /* what the way here makes of a mark; NULL: nothing */
    uint64_t came;
    enum aq_event_kind event[PAIR_EVENTS];
    unsigned events;
    aq_conn conn;     /* the newest connection */
    aq_stream stream; /* the newest stream that the peer opened */
    bool closed;
    struct aq_close_info close;
    uint8_t token[512];
    size_t token_size;
    uint64_t value; /* of the newest event with one */
};

struct pair {
    struct side client, server;
    uint64_t now_us;
};

/* Small limits, a fixed seed; a test changes what it is about. */
static inline void pair_config(struct aq_config *config, bool server)
{
    aq_config_init(config);
    memset(config->seed, server ? 0x5e : 0xc1, sizeof config->seed);
    config->unix_us = SIM_UNIX_S * 1000000;
    config->max_conns = 8;
    config->max_half_open = 8;
    config->max_streams = 64;
    config->recv_buffers = 4;
    config->send_trains = 4;
    config->memory_bytes = 8 << 20;
    config->retry = AQ_RETRY_NEVER;
    config->tls = server ? sim_tls_server() : NULL;
}

static inline void side_init(struct side *s, const struct aq_config *config, uint8_t host,
                             uint64_t now_us)
{
    memset(s, 0, sizeof *s);
    s->addr =
        (struct aq_addr){.ip = {10, 0, 0, host}, .port = (uint16_t)(4000 + host), .family = 4};
    s->mem_size = aq_endpoint_size(config);
    cr_assert(s->mem_size > 0, "%s", aq_config_check(config));
    s->mem = mmap(NULL, s->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(s->mem != MAP_FAILED);
    s->ep = aq_endpoint_init(s->mem, s->mem_size, config, now_us);
    cr_assert_not_null(s->ep);
    s->out = calloc(PAIR_FLIGHT, sizeof *s->out);
    cr_assert_not_null(s->out);
}

static inline void side_free(struct side *s)
{
    aq_endpoint_close(s->ep);
    munmap(s->mem, s->mem_size);
    free(s->out);
}

static inline struct pair *pair_new(const struct aq_config *client, const struct aq_config *server)
{
    struct pair *p = calloc(1, sizeof *p);
    struct aq_config config;
    cr_assert_not_null(p);
    p->now_us = 1000000;
    pair_config(&config, false);
    side_init(&p->client, client ? client : &config, 1, p->now_us);
    pair_config(&config, true);
    side_init(&p->server, server ? server : &config, 2, p->now_us);
    return p;
}

static inline void pair_free(struct pair *p)
{
    side_free(&p->client);
    side_free(&p->server);
    free(p);
}

static inline struct aq_endpoint_stats side_stats(const struct side *s)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};
    aq_endpoint_stats(s->ep, &stats);
    return stats;
}

static inline unsigned side_count(const struct side *s, enum aq_event_kind kind)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->events; i++)
        n += s->event[i] == kind;
    return n;
}

/* One event taken in; false: none was there. */
static inline bool side_event(struct side *s, struct aq_event *event)
{
    if (!aq_next_event(s->ep, event))
        return false;
    cr_assert(s->events < PAIR_EVENTS);
    s->event[s->events++] = event->kind;
    if (event->value)
        s->value = event->value;
    if (event->kind == AQ_EVENT_ACCEPTED)
        s->conn = event->conn;
    if (event->kind == AQ_EVENT_OPENED)
        s->stream = event->stream;
    if (event->kind == AQ_EVENT_TOKEN && event->size <= sizeof s->token) {
        memcpy(s->token, event->data, event->size);
        s->token_size = event->size;
    }
    if (event->kind == AQ_EVENT_CLOSED) {
        s->closed = true;
        s->close.size = sizeof s->close;
        cr_expect_eq(aq_conn_close_info(s->ep, event->conn, &s->close), AQ_OK);
    }
    return true;
}

/* All events, then all it wants to send, into s->out. */
static inline void side_turn(struct side *s, uint64_t now_us)
{
    struct aq_event event;
    struct aq_train trains[4];
    unsigned n;
    if (aq_deadline(s->ep) <= now_us)
        aq_tick(s->ep, now_us);
    while (!s->deaf_events && side_event(s, &event))
        continue;
    do {
        n = aq_send(s->ep, trains, 4, now_us);
        for (unsigned i = 0; i < n; i++) {
            for (uint32_t at = 0; at < trains[i].size; at += trains[i].segment) {
                uint32_t left = trains[i].size - at,
                         size = left < trains[i].segment ? left : trains[i].segment;
                s->sent++;
                s->sent_bytes += size;
                if (s->mute || s->sent == s->lose_nth)
                    continue;
                cr_assert(s->outs < PAIR_FLIGHT && size <= PAIR_DATAGRAM);
                struct pair_datagram *d = &s->out[s->outs++];
                d->at_us = now_us + PAIR_DELAY_US;
                d->size = size;
                d->ecn = trains[i].ecn;
                d->remote = trains[i].remote;
                d->socket = trains[i].socket;
                d->channel = trains[i].channel;
                memcpy(d->data, trains[i].data + at, size);
            }
        }
    } while (n == 4);
}

/* Gives bytes to a side as one datagram. */
static inline void side_recv(struct side *s, const struct aq_addr *from, const void *data,
                             size_t size, uint64_t now_us)
{
    struct aq_buffer buffer;
    cr_assert_eq(aq_recv_buffers(s->ep, &buffer, 1), 1);
    cr_assert_leq(size, buffer.size);
    memcpy(buffer.data, data, size);
    struct aq_datagram d = {
        .data = buffer.data, .size = (uint32_t)size, .remote = *from, .ecn = s->ecn, .ttl = s->ttl};
    cr_assert_eq(aq_recv(s->ep, &d, 1, now_us), AQ_OK);
}

/* Takes the oldest datagram out of what a side sent. False: there is none. */
static inline bool side_take(struct side *s, struct pair_datagram *d)
{
    if (!s->outs)
        return false;
    *d = s->out[0];
    s->outs--;
    memmove(s->out, s->out + 1, s->outs * sizeof *s->out);
    return true;
}

static inline void pair_deliver(struct pair *p, struct side *from, struct side *to)
{
    struct pair_datagram d;
    while (from->outs && from->out[0].at_us <= p->now_us) {
        side_take(from, &d);
        to->ecn = to->remark ? to->remark(d.ecn, to->came) : d.ecn;
        to->came++;
        side_recv(to, &from->addr, d.data, d.size, p->now_us);
    }
}

static inline uint64_t pair_next(const struct side *s)
{
    uint64_t deadline = aq_deadline(s->ep);
    return s->outs && s->out[0].at_us < deadline ? s->out[0].at_us : deadline;
}

/* Lets time pass; both sides take their turns. */
static inline void pair_run(struct pair *p, uint64_t duration_us)
{
    uint64_t end = p->now_us + duration_us;
    for (;;) {
        pair_deliver(p, &p->client, &p->server);
        pair_deliver(p, &p->server, &p->client);
        side_turn(&p->client, p->now_us);
        side_turn(&p->server, p->now_us);
        if (p->now_us >= end)
            return;
        uint64_t next = pair_next(&p->client), other = pair_next(&p->server);
        next = next < other ? next : other;
        if (next <= p->now_us)
            next = p->now_us + 1;
        p->now_us = next < end ? next : end;
    }
}

static inline aq_conn pair_dial(struct pair *p)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = p->server.addr;
    connect.server_name = "sim.example";
    connect.token = p->client.token_size ? p->client.token : NULL;
    connect.token_size = p->client.token_size;
    cr_assert_eq(aq_connect(p->client.ep, &connect, &p->client.conn, p->now_us), AQ_OK);
    return p->client.conn;
}

/* A pair whose handshake is confirmed on both sides. */
static inline struct pair *pair_connected(const struct aq_config *client,
                                          const struct aq_config *server)
{
    struct pair *p = pair_new(client, server);
    pair_dial(p);
    pair_run(p, 200000);
    cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_assert_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
    return p;
}

static inline struct aq_conn_stats pair_stats(const struct side *s)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    cr_assert_eq(aq_conn_stats(s->ep, s->conn, &stats), AQ_OK);
    return stats;
}

#endif
