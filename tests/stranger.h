/* stranger.h -- a server alone and what strangers send to it: its one answer, its silence, and
 * that it keeps nothing. */
#ifndef AQ_TESTS_STRANGER_H
#define AQ_TESTS_STRANGER_H

#include "tests/pair.h"

static const struct aq_addr stranger = {.ip = {192, 0, 2, 7}, .port = 7777, .family = 4};

/* A server alone; p->client makes the Initials. */
static inline struct pair *server_with(enum aq_retry retry, uint32_t max_conns,
                                       uint32_t max_half_open)
{
    struct aq_config config;
    pair_config(&config, true);
    config.retry = retry;
    config.max_conns = max_conns;
    config.max_half_open = max_half_open;
    memset(config.secret, 0x77, sizeof config.secret);
    return pair_new(NULL, &config);
}

/* The first datagram of a new client connection. */
static inline struct pair_datagram first_flight(struct pair *p)
{
    struct pair_datagram d = {0};
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    p->client.outs = 0; /* a first flight has one datagram, or its second does not matter */
    return d;
}

static inline void give(struct pair *p, const struct aq_addr *from, const void *data, size_t size)
{
    side_recv(&p->server, from, data, size, p->now_us);
    side_turn(&p->server, p->now_us);
}

/* The server's only answer. */
static inline struct pair_datagram answer(struct pair *p)
{
    struct pair_datagram d = {0};
    cr_assert_eq(p->server.outs, 1, "%u answers", p->server.outs);
    side_take(&p->server, &d);
    return d;
}

static inline void expect_silence(struct pair *p)
{
    cr_expect_eq(p->server.outs, 0, "it answered");
    p->server.outs = 0;
}

static inline void expect_nothing_kept(struct pair *p)
{
    struct aq_endpoint_stats s = side_stats(&p->server);
    cr_expect_eq(s.conns, 0);
    cr_expect_eq(s.half_open, 0);
    cr_expect_eq(s.streams, 0);
    cr_expect_eq(s.memory_bytes, 0);
    cr_expect_eq(aq_deadline(p->server.ep), AQ_NEVER);
}

#endif
