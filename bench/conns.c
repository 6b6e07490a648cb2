/* conns.c -- many connections to one `antq perf serve`, through the public headers only.
 *
 *     conns ADDR:PORT --ca FILE --conns N --idle SECONDS      prints `ready`, then holds them, and
 *                                                             tells of how many heard something
 *     conns ... --conns N --download BYTES                    so many in all, a stream on each
 *     conns ... --conns N --requests R [--size B]             one at a time on each, R in all
 *     conns ... --conns N --first-byte 1                      one after the other, from the dial to
 *                                                             the first byte of a 64-byte answer
 *     conns ... --conns N --first-byte 1 --early 1            the same in 0-RTT, after one that is
 *                                                             not
 *     conns ... --conns N --handshakes 1 [--resumed 1]        each is closed once it is confirmed
 *
 * All connections share one socket, except with --first-byte: there each has its own, and begins
 * when the one before is done. At most SHAKING handshakes run at once, so that no Retry is asked
 * for. --busy-poll 1 polls for packets before it sleeps. The perf protocol (apps/perf.h): 8 bytes
 * ask for so many. */
#include "bench/bench.h"
#include "bench/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHAKING = 32,
    READ_PIECES = 64,
    HEADER = 8,
    BUSY_POLL_US = 10000 /* as the programs do */
};

struct conns {
    struct bench_client client;
    aq_conn *conn;
    uint64_t *begun_us; /* of each connection's dial or request */
    uint32_t *us;       /* latencies */
    uint32_t *asked_us; /* with --first-byte: of them, since the request was given to the stream */
    uint64_t asked_at_us;
    uint64_t count, dialled, confirmed, closed;
    uint64_t bytes, requests, size, asked, answered, got, latencies;
    uint64_t *heard, kept; /* packets received when the idling began; connections with more */
    uint64_t idle_us, started_us, ended_us;
    bool first_byte, early, handshakes, resumed;
    uint8_t ticket[4096]; /* the newest that came */
};

/* One request on connection `index`, for `size` bytes. */
static void ask(struct conns *c, uint64_t index, uint64_t size)
{
    uint8_t header[HEADER];
    struct aq_iov piece = {header, sizeof header};
    aq_stream stream;
    for (unsigned i = 0; i < HEADER; i++)
        header[i] = (uint8_t)(size >> (56 - 8 * i));
    c->asked_at_us = aq_loop_clock(c->client.loop);
    if (!c->first_byte)
        c->begun_us[index] = c->asked_at_us;
    int result =
        aq_stream_open(c->client.ep, c->conn[index], false, (void *)(uintptr_t)index, &stream);
    if (result != AQ_OK || aq_stream_write(c->client.ep, stream, &piece, 1, AQ_FIN) != HEADER)
        bench_die("a request cannot be sent: %s", aq_error_name(result));
    c->asked++;
}

static void dial_more(struct conns *c)
{
    bool waits = c->resumed && c->client.connect.ticket_size == 0; /* for the first ticket */
    uint64_t at_once = c->first_byte || waits ? 1 : SHAKING;
    uint64_t settled = c->first_byte ? c->answered : c->confirmed;
    while (c->dialled < c->count && c->dialled - settled < at_once) {
        c->client.connect.user = (void *)(uintptr_t)c->dialled;
        c->client.connect.early_data = c->early && c->client.connect.ticket_size > 0;
        c->begun_us[c->dialled] = aq_loop_clock(c->client.loop);
        if (aq_dial(c->client.loop, &c->client.connect, c->first_byte, &c->conn[c->dialled],
                    c->client.error, sizeof c->client.error)
            != AQ_OK)
            bench_die("%s", c->client.error);
        c->dialled++;
        if (c->client.connect.early_data)
            ask(c, c->dialled - 1, c->size);
    }
}

static void stop(struct conns *c)
{
    c->ended_us = aq_loop_clock(c->client.loop);
    aq_loop_stop(c->client.loop);
}

static uint64_t packets_heard(const struct conns *c, uint64_t index)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    if (aq_conn_stats(c->client.ep, c->conn[index], &stats) != AQ_OK)
        bench_die("a connection was lost");
    return stats.recv_packets;
}

static void on_idle_over(void *user)
{
    struct conns *c = user;
    for (uint64_t i = 0; i < c->count; i++)
        c->kept += packets_heard(c, i) > c->heard[i];
    stop(c);
}

/* All connections stand. */
static void begin(struct conns *c)
{
    c->started_us = aq_loop_clock(c->client.loop);
    if (c->idle_us > 0) {
        for (uint64_t i = 0; i < c->count; i++)
            c->heard[i] = packets_heard(c, i);
        (void)puts("ready");
        (void)fflush(stdout);
        (void)aq_loop_timer(c->client.loop, c->started_us + c->idle_us, on_idle_over, c);
    }
    for (uint64_t i = 0; i < c->count && c->idle_us == 0; i++) {
        if (c->bytes > 0)
            ask(c, i, c->bytes / c->count);
        else if (c->asked < c->requests)
            ask(c, i, c->size);
    }
}

static void add_latency(struct conns *c, uint64_t index)
{
    uint64_t now_us = aq_loop_clock(c->client.loop);
    if (c->us == NULL)
        return;
    if (c->first_byte)
        c->asked_us[c->latencies] = (uint32_t)(now_us - c->asked_at_us);
    c->us[c->latencies++] = (uint32_t)(now_us - c->begun_us[index]);
}

/* With --first-byte: the newest connection is done with, unless something is still to come. With
 * --early that is the first ticket, and the end of each handshake: a server counts one that closes
 * within it as half-open for a while. */
static void next_first_byte(struct conns *c)
{
    aq_conn conn = c->conn[c->dialled - 1];
    struct aq_conn_peer peer = {.size = sizeof peer};
    if (c->answered < c->dialled
        || (c->early && (c->client.connect.ticket_size == 0 || c->confirmed < c->dialled)))
        return;
    if (aq_conn_peer(c->client.ep, conn, &peer) != AQ_OK
        || (c->dialled > 1 && c->early && peer.early_data != AQ_EARLY_ACCEPTED))
        bench_die("0-RTT was not accepted");
    (void)aq_close(c->client.ep, conn, 0, NULL, aq_loop_now(c->client.loop));
    dial_more(c);
    if (c->answered == c->count)
        stop(c);
}

/* An answer came whole. */
static void answered(struct conns *c, uint64_t index)
{
    c->answered++;
    if (c->first_byte) {
        next_first_byte(c);
        return;
    }
    if (c->requests > 0) {
        add_latency(c, index);
        if (c->asked < c->requests)
            ask(c, index, c->size);
    }
    if (c->answered == (c->requests > 0 ? c->requests : c->count))
        stop(c);
}

static void on_readable(struct conns *c, const struct aq_event *event)
{
    uint64_t index = (uintptr_t)event->stream_user;
    bool fin = false;
    while (!fin) {
        struct aq_iov pieces[READ_PIECES];
        int count = aq_stream_peek(c->client.ep, event->stream, pieces, READ_PIECES, &fin);
        uint64_t size = 0;
        for (int i = 0; i < count; i++)
            size += pieces[i].size;
        if (c->first_byte && size > 0 && (index > 0 || !c->early))
            add_latency(c, index);
        if (count < 0 || (size == 0 && !fin)
            || aq_stream_consume(c->client.ep, event->stream, size) != AQ_OK)
            return;
        c->got += size;
    }
    answered(c, index);
}

static bool take_ticket(struct conns *c, const struct aq_event *event)
{
    if (event->kind != AQ_EVENT_TICKET || event->size > sizeof c->ticket)
        return false;
    memcpy(c->ticket, event->data, event->size);
    c->client.connect.ticket = c->ticket;
    c->client.connect.ticket_size = event->size;
    return true;
}

/* A handshake is all that was wanted of this connection. Without tickets yet, it stays for one. */
static void shaken(struct conns *c, const struct aq_event *event)
{
    bool first = c->client.connect.ticket_size == 0;
    if (c->resumed && take_ticket(c, event)) {
        if (!first)
            return;
        c->started_us = aq_loop_clock(c->client.loop);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        struct aq_close_info info = {.size = sizeof info};
        if (aq_conn_close_info(c->client.ep, event->conn, &info) != AQ_OK || info.by != AQ_BY_US)
            bench_die("a connection was lost");
        return;
    } else if (event->kind != AQ_EVENT_CONFIRMED || (c->resumed && first)) {
        return;
    }
    struct aq_conn_peer peer = {.size = sizeof peer};
    if (aq_conn_peer(c->client.ep, event->conn, &peer) != AQ_OK
        || peer.resumed != (c->resumed && c->confirmed > 0))
        bench_die(c->resumed ? "not resumed" : "resumed");
    (void)aq_close(c->client.ep, event->conn, 0, NULL, aq_loop_now(c->client.loop));
    c->confirmed++;
    dial_more(c);
    if (c->confirmed == c->count)
        stop(c);
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct conns *c = user;
    if (c->handshakes) {
        shaken(c, event);
    } else if (event->kind == AQ_EVENT_TICKET && c->early && c->client.connect.ticket_size == 0) {
        if (take_ticket(c, event))
            next_first_byte(c);
    } else if (event->kind == AQ_EVENT_CONFIRMED && c->early) {
        c->confirmed++;
        next_first_byte(c);
    } else if (event->kind == AQ_EVENT_CONNECTED && c->first_byte) {
        if (c->asked < c->dialled)
            ask(c, (uintptr_t)event->conn_user, c->size);
    } else if (event->kind == AQ_EVENT_CONFIRMED && !c->first_byte) {
        c->confirmed++;
        dial_more(c);
        if (c->confirmed == c->count)
            begin(c);
    } else if (event->kind == AQ_EVENT_READABLE) {
        on_readable(c, event);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        c->closed++;
        if (!aq_loop_stopping(loop) && !c->first_byte)
            bench_die("a connection was lost");
    }
}

static void open_client(struct conns *c, int argc, char **argv)
{
    struct bench_client *client = &c->client;
    bench_client_init(client, c->count, c->count);
    client->config.on_event = on_event, client->config.user = c;
    client->config.endpoint.idle_timeout_us = 120000000;
    client->config.endpoint.keep_alive_us = 30000000;
    if (bench_number(argc, argv, "--busy-poll", 0) > 0)
        client->config.busy_poll_us = BUSY_POLL_US;
    bench_client_open(client, argv[1], bench_flag(argc, argv, "--ca", ""));
}

static void print(struct conns *c)
{
    double seconds = (double)(c->ended_us - c->started_us) / 1e6;
    double handshakes = (double)(c->count - (c->resumed ? 1 : 0)); /* the first is a full one */
    (void)printf("{\"conns\":%llu,\"seconds\":%.6f,\"bytes\":%llu,\"answers\":%llu",
                 (unsigned long long)c->count, seconds, (unsigned long long)c->got,
                 (unsigned long long)c->answered);
    if (c->latencies > 0)
        bench_print_us("latency_us", c->us, c->latencies);
    if (c->latencies > 0 && c->first_byte)
        bench_print_us("asked_us", c->asked_us, c->latencies);
    if (c->handshakes)
        (void)printf(",\"handshakes_per_s\":%.3f", handshakes / seconds);
    if (c->idle_us > 0)
        (void)printf(",\"kept\":%llu", (unsigned long long)c->kept);
    (void)printf("}\n");
}

int main(int argc, char **argv)
{
    static struct conns c;
    if (argc < 4)
        bench_die("conns ADDR:PORT --ca FILE --conns N ...");
    c.count = bench_number(argc, argv, "--conns", 1);
    c.idle_us = bench_number(argc, argv, "--idle", 0) * 1000000;
    c.bytes = bench_number(argc, argv, "--download", 0);
    c.requests = bench_number(argc, argv, "--requests", 0);
    c.size = bench_number(argc, argv, "--size", 64);
    c.first_byte = bench_number(argc, argv, "--first-byte", 0) > 0;
    c.early = bench_number(argc, argv, "--early", 0) > 0;
    c.handshakes = bench_number(argc, argv, "--handshakes", 0) > 0;
    c.resumed = bench_number(argc, argv, "--resumed", 0) > 0;
    if (c.count == 0
        || (c.idle_us > 0) + (c.bytes > 0) + (c.requests > 0) + c.first_byte + c.handshakes != 1
        || (c.requests > 0 && c.requests < c.count) || (c.early && (!c.first_byte || c.count < 2)))
        bench_die(
            "one of --idle, --download, --requests (at least --conns), --first-byte, --handshakes");
    c.conn = calloc(c.count, sizeof *c.conn);
    c.begun_us = calloc(c.count, sizeof *c.begun_us);
    if (c.requests > 0 || c.first_byte)
        c.us = calloc(c.requests + c.count, sizeof *c.us);
    c.asked_us = calloc(c.count, sizeof *c.asked_us);
    c.heard = calloc(c.count, sizeof *c.heard);
    if (c.conn == NULL || c.begun_us == NULL || c.asked_us == NULL || c.heard == NULL)
        bench_die("no memory");
    open_client(&c, argc, argv);
    c.started_us = aq_loop_clock(c.client.loop);
    dial_more(&c);
    int result = aq_loop_run(c.client.loop);
    if (c.ended_us == 0 && c.idle_us == 0)
        bench_die("interrupted");
    print(&c);
    bench_client_close(&c.client);
    return result == 0 ? 0 : 1;
}
