/* requests.c -- requests over many connections to one `antq perf serve`, so many in flight in all.
 *
 *     requests ADDR:PORT --ca FILE --conns N --in-flight K --requests R [--size B]
 *
 * Each request is a stream of its own; the next one goes out on the next connection, round and
 * round, so that the K in flight are spread as evenly as they can be: what many connections cost
 * beside one is then what differs, not how much is asked at once. (bench/conns has one in flight
 * on each.) All connections share one socket, and stand before the first request goes out. At
 * most SHAKING handshakes run at once, so that no Retry is asked for. The perf protocol
 * (apps/perf.h): 8 bytes ask for so many; what comes back is counted, not compared. */
#include "bench/bench.h"
#include "bench/client.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SHAKING = 32,
    SETTLE_US = 500000, /* tickets and what else follows handshakes is not measured */
    READ_PIECES = 64,
    HEADER = 8
};

struct requests {
    struct bench_client client;
    aq_conn *conn;
    uint64_t conns, dialled, confirmed, turn; /* turn: whose the next request is */
    uint64_t *begun_us, *waiting;             /* by slot; slots that found no stream free */
    uint64_t slots, waits;
    uint32_t *us;
    uint64_t count, size, asked, answered, got;
    uint64_t started_us, ended_us;
};

static void dial_more(struct requests *r)
{
    while (r->dialled < r->conns && r->dialled - r->confirmed < SHAKING) {
        if (aq_dial(r->client.loop, &r->client.connect, false, &r->conn[r->dialled],
                    r->client.error, sizeof r->client.error)
            != AQ_OK)
            bench_die("%s", r->client.error);
        r->dialled++;
    }
}

/* The next request, in `slot`. False: its connection may open no stream now. */
static bool ask(struct requests *r, uint64_t slot)
{
    uint8_t header[HEADER];
    struct aq_iov piece = {header, sizeof header};
    aq_stream stream;
    for (unsigned i = 0; i < HEADER; i++)
        header[i] = (uint8_t)(r->size >> (56 - 8 * i));
    int result = aq_stream_open(r->client.ep, r->conn[r->turn % r->conns], false,
                                (void *)(uintptr_t)slot, &stream);
    if (result == AQ_BLOCKED) {
        r->waiting[r->waits++] = slot; /* AQ_EVENT_STREAMS will tell */
        return false;
    }
    if (result != AQ_OK || aq_stream_write(r->client.ep, stream, &piece, 1, AQ_FIN) != HEADER)
        bench_die("a request cannot be sent: %s", aq_error_name(result));
    r->begun_us[slot] = aq_loop_clock(r->client.loop);
    r->turn++;
    r->asked++;
    return true;
}

static void ask_waiting(struct requests *r)
{
    while (r->waits > 0 && r->asked < r->count) {
        if (!ask(r, r->waiting[--r->waits]))
            return;
    }
}

static void answered(struct requests *r, uint64_t slot)
{
    uint64_t now = aq_loop_clock(r->client.loop);
    r->us[r->answered++] = (uint32_t)(now - r->begun_us[slot]);
    if (r->answered == r->count) {
        r->ended_us = now;
        aq_loop_stop(r->client.loop);
    } else if (r->asked < r->count) {
        (void)ask(r, slot);
    }
}

static void on_readable(struct requests *r, const struct aq_event *event)
{
    bool fin = false;
    while (!fin) {
        struct aq_iov pieces[READ_PIECES];
        int count = aq_stream_peek(r->client.ep, event->stream, pieces, READ_PIECES, &fin);
        uint64_t size = 0;
        for (int i = 0; i < count; i++)
            size += pieces[i].size;
        if (count < 0 || (size == 0 && !fin)
            || aq_stream_consume(r->client.ep, event->stream, size) != AQ_OK)
            return;
        r->got += size;
    }
    answered(r, (uintptr_t)event->stream_user);
}

static void begin(void *user)
{
    struct requests *r = user;
    r->started_us = aq_loop_clock(r->client.loop);
    for (uint64_t slot = 0; slot < r->slots && r->asked < r->count; slot++)
        (void)ask(r, slot);
}

static void on_confirmed(struct requests *r)
{
    r->confirmed++;
    dial_more(r);
    if (r->confirmed == r->conns)
        (void)aq_loop_timer(r->client.loop, aq_loop_clock(r->client.loop) + SETTLE_US, begin, r);
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct requests *r = user;
    if (event->kind == AQ_EVENT_CONFIRMED)
        on_confirmed(r);
    else if (event->kind == AQ_EVENT_READABLE)
        on_readable(r, event);
    else if (event->kind == AQ_EVENT_STREAMS)
        ask_waiting(r);
    else if (event->kind == AQ_EVENT_CLOSED && !aq_loop_stopping(loop))
        bench_die("a connection was lost");
}

static void open_client(struct requests *r, int argc, char **argv)
{
    struct bench_client *client = &r->client;
    bench_client_init(client, r->conns, r->slots);
    client->config.on_event = on_event, client->config.user = r;
    bench_client_open(client, argv[1], bench_flag(argc, argv, "--ca", ""));
}

int main(int argc, char **argv)
{
    static struct requests r;
    if (argc < 4)
        bench_die("requests ADDR:PORT --ca FILE --conns N --in-flight K --requests R");
    r.conns = bench_number(argc, argv, "--conns", 1);
    r.slots = bench_number(argc, argv, "--in-flight", 1);
    r.count = bench_number(argc, argv, "--requests", 1000);
    r.size = bench_number(argc, argv, "--size", 64);
    if (r.conns == 0 || r.slots == 0 || r.count < r.slots)
        bench_die("--conns and --in-flight are at least 1, --requests at least --in-flight");
    r.conn = calloc(r.conns, sizeof *r.conn);
    r.begun_us = calloc(r.slots, sizeof *r.begun_us);
    r.waiting = calloc(r.slots, sizeof *r.waiting);
    r.us = calloc(r.count, sizeof *r.us);
    if (r.conn == NULL || r.begun_us == NULL || r.waiting == NULL || r.us == NULL)
        bench_die("no memory");
    open_client(&r, argc, argv);
    dial_more(&r);
    int result = aq_loop_run(r.client.loop);
    if (r.ended_us == 0 || r.got != r.count * r.size)
        bench_die("interrupted, or not all bytes came");
    (void)printf("{\"conns\":%llu,\"seconds\":%.6f,\"answers\":%llu", (unsigned long long)r.conns,
                 (double)(r.ended_us - r.started_us) / 1e6, (unsigned long long)r.answered);
    bench_print_us("latency_us", r.us, r.count);
    (void)puts("}");
    bench_client_close(&r.client);
    return result == 0 ? 0 : 1;
}
