/* priority.c -- the order in which streams of several priorities arrive over a narrow link (RFC
 * 9218): the whole machine, with its windows, its rows of packets and its retransmissions. The
 * choice itself is tested in streams.c. */
#include "tests/sim/check.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAMS = 6,
    BYTES = 120000
};

struct priority {
    unsigned urgency;
    bool incremental;
};

struct race {
    struct sim *sim;
    struct sim_host *from, *to;
    const struct priority *streams;
    aq_conn conn;
    aq_stream stream[STREAMS];
    uint64_t received[STREAMS];
    unsigned order[STREAMS], done;
    uint64_t left_at_first[STREAMS]; /* what each still lacked when the first was complete */
};

static void sender_event(struct sim_host *host, const struct aq_event *event)
{
    static uint8_t bytes[BYTES];
    struct race *r = host->user;
    if (event->kind != AQ_EVENT_CONFIRMED)
        return;
    for (unsigned i = 0; i < STREAMS; i++) {
        struct aq_iov iov = {bytes, BYTES};
        const struct priority *p = &r->streams[i];
        cr_assert_eq(aq_stream_open(host->ep, r->conn, true, NULL, &r->stream[i]), AQ_OK);
        cr_assert_eq(aq_stream_set_priority(host->ep, r->stream[i], p->urgency, p->incremental),
                     AQ_OK);
        cr_assert_eq(aq_stream_write(host->ep, r->stream[i], &iov, 1, AQ_FIN), BYTES);
    }
}

static void receiver_event(struct sim_host *host, const struct aq_event *event)
{
    struct race *r = host->user;
    struct aq_iov iov[16];
    bool fin = false;
    int n;
    if (event->kind != AQ_EVENT_READABLE)
        return;
    uint64_t i = aq_stream_id(host->ep, event->stream) >> 2;
    cr_assert_lt(i, STREAMS);
    while (!fin && (n = aq_stream_peek(host->ep, event->stream, iov, 16, &fin)) >= 0) {
        uint64_t size = 0;
        for (int k = 0; k < n; k++)
            size += iov[k].size;
        aq_stream_consume(host->ep, event->stream, size);
        r->received[i] += size;
        if (!size)
            break;
    }
    if (!fin)
        return;
    if (!r->done) {
        for (unsigned k = 0; k < STREAMS; k++)
            r->left_at_first[k] = BYTES - r->received[k];
    }
    r->order[r->done++] = (unsigned)i;
}

static struct sim_host *add(struct race *r, bool server)
{
    struct aq_config config;
    aq_config_init(&config);
    config.max_conns = config.max_half_open = 4;
    config.max_streams = 64;
    config.recv_buffers = 8;
    config.send_trains = 2;
    config.memory_bytes = 16 << 20;
    config.tls = server ? sim_tls_server() : NULL;
    struct sim_host *host = sim_host_add(r->sim, &config);
    cr_assert_not_null(host, "%s", r->sim->why);
    host->server = server;
    host->on_event = server ? receiver_event : sender_event;
    host->user = r;
    return host;
}

static struct race *race_run(const struct priority *streams, uint64_t seed, uint32_t loss_ppm)
{
    struct race *r = calloc(1, sizeof *r);
    const struct sim_link link = {
        .delay_us = 20000, .rate_bytes = 250000, .queue_bytes = 400000, .loss_ppm = loss_ppm};
    cr_assert_not_null(r);
    r->streams = streams;
    r->sim = sim_new(seed, NULL);
    r->from = add(r, false);
    r->to = add(r, true);
    sim_link_set(r->sim, 0, 1, &link);
    sim_link_set(r->sim, 1, 0, &link);
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = r->to->addr;
    connect.server_name = "sim.example";
    cr_assert_eq(aq_connect(r->from->ep, &connect, &r->conn, sim_now(r->from)), AQ_OK);
    check_connected(r->from, r->conn);
    sim_kick(r->from);
    uint64_t end = r->sim->now_us + 60000000;
    while (r->done < STREAMS && sim_step(r->sim, end))
        continue;
    cr_expect_not(r->sim->failed, "%s", r->sim->why);
    cr_assert_eq(r->done, STREAMS, "after a minute");
    return r;
}

static void race_free(struct race *r)
{
    sim_free(r->sim);
    free(r);
}

static void expect_order(const struct race *r, const char *order)
{
    for (unsigned i = 0; i < STREAMS; i++)
        cr_expect_eq(r->order[i], (unsigned)(order[i] - '0'), "place %u: %u", i, r->order[i]);
}

/* RFC 9218 §10: by urgency; of the same, by id. Each whole before the next: when the first is
 * complete hardly anything of the others has come. */
Test(priority, one_after_the_other)
{
    static const struct priority streams[STREAMS] = {{5, false}, {3, false}, {3, false},
                                                     {0, false}, {7, false}, {1, false}};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct race *r = race_run(streams, seed, 0);
        expect_order(r, "351204");
        for (unsigned i = 0; i < STREAMS; i++) /* a packet of one and the beginning of the next */
            cr_expect(i == 3 || r->left_at_first[i] > BYTES - 1500);
        race_free(r);
    }
}

/* Through loss the order stays: what was lost goes before what is less urgent. Two neighbours may
 * change places when the last packet of one is what got lost. */
Test(priority, through_loss)
{
    static const struct priority streams[STREAMS] = {{6, true},  {4, false}, {2, true},
                                                     {0, false}, {7, true},  {1, false}};
    static const unsigned place[STREAMS] = {4, 3, 2, 0, 5, 1};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct race *r = race_run(streams, seed, 20000);
        for (unsigned i = 0; i < STREAMS; i++) {
            int off = (int)i - (int)place[r->order[i]];
            cr_expect(off >= -1 && off <= 1, "seed %lu: stream %u came as number %u", seed,
                      r->order[i], i);
        }
        race_free(r);
    }
}

/* RFC 9218 §10: incremental ones share: when the first is complete most of the others has come. So
 * do those nobody said anything about. */
Test(priority, in_turn)
{
    static const struct priority streams[STREAMS] = {{3, true}, {3, true}, {3, true},
                                                     {3, true}, {3, true}, {3, true}};
    struct race *r = race_run(streams, 1, 0);
    for (unsigned i = 0; i < STREAMS; i++)
        cr_expect_lt(r->left_at_first[i], BYTES / 8, "stream %u lacks %lu", i, r->left_at_first[i]);
    race_free(r);
}

/* RFC 9218 §10: a long non-incremental stream does not keep an incremental one of its urgency
 * waiting, nor the other way round: they share the link half and half. */
Test(priority, neither_kind_starves)
{
    static const struct priority streams[STREAMS] = {{3, false}, {3, false}, {3, true},
                                                     {4, true},  {4, true},  {4, true}};
    struct race *r = race_run(streams, 1, 0);
    cr_expect((r->order[0] == 0 && r->order[1] == 2) || (r->order[0] == 2 && r->order[1] == 0));
    cr_expect_lt(r->left_at_first[0] + r->left_at_first[2], BYTES / 8);
    cr_expect_eq(r->order[2], 1);
    for (unsigned i = 3; i < STREAMS; i++)
        cr_expect_gt(r->left_at_first[i], BYTES - 1500);
    race_free(r);
}

/* Only 0 to 7 are urgencies, and a stream must be there. */
Test(priority, refused)
{
    static const struct priority streams[STREAMS] = {0};
    struct race *r = race_run(streams, 1, 0);
    aq_stream stream;
    cr_assert_eq(aq_stream_open(r->from->ep, r->conn, true, NULL, &stream), AQ_OK);
    cr_expect_eq(aq_stream_set_priority(r->from->ep, stream, 7, true), AQ_OK);
    cr_expect_eq(aq_stream_set_priority(r->from->ep, stream, 8, true), AQ_MISUSE);
    cr_expect_eq(aq_stream_set_priority(r->from->ep, 0, 3, true), AQ_GONE);
    race_free(r);
}
