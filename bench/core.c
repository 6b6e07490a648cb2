/* core.c -- the core alone: two endpoints in memory move a stream's bytes, without sockets.
 *
 *     core [--bytes N] [--streams N] [--aead NAME]
 *
 * A host as small as one can be, on Layer A: trains that aq_send builds are copied into the buffers
 * that the other side lends, time is a number that we count up, 20 us a turn. So the kernel's noise
 * is away, and what is left is ours and the cipher's. Prints nanoseconds per data packet of each
 * side, with the cipher's part measured apart and taken off. Under callgrind (bench/core.sh) only
 * `transfer` and what it calls is counted; its own work and `wire_copy` are then taken off too. */
#include "bench/bench.h"
#include "bench/keys.h"
#include "core/antq.h"
#include "core/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    STEP_US = 20,
    IDLE_STEP_US = 100000,
    SETTLE_US = 3000000,
    TRAINS = 8,
    PIECES = 16,
    READ_PIECES = 64,
    CHUNK = 65536,
    STREAMS_MAX = 64,
    TURNS_IDLE_MAX = 100000,
    CIPHER_TRAINS = 400
};

struct side {
    struct aq_endpoint *ep;
    struct aq_addr addr;
    aq_conn conn;
    bool confirmed;
    uint64_t ns; /* inside its calls, while measured */
    uint64_t consumed;
    unsigned fins;
};

struct world {
    struct side client, server;
    uint64_t now_us;
    aq_stream stream[STREAMS_MAX];
    uint64_t left[STREAMS_MAX];
    unsigned streams;
};

static uint8_t payload[CHUNK];

/* A copy that callgrind can tell from the core's: not memcpy. */
__attribute__((noinline)) static void wire_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    struct word {
        uint64_t v[8];
    } word;
    for (; size >= sizeof word; size -= sizeof word, to += sizeof word, from += sizeof word) {
        __builtin_memcpy(&word, from, sizeof word);
        __builtin_memcpy(to, &word, sizeof word);
        __asm__ volatile("" ::: "memory");
    }
    for (; size > 0; size--)
        *to++ = *from++;
}

static uint64_t time_begin(void)
{
    return bench_cpu_ns(); /* what others take meanwhile does not count */
}

static void time_end(struct side *side, uint64_t begun_ns)
{
    side->ns += bench_cpu_ns() - begun_ns;
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* What one side wants to send goes to the other at once. False: nothing. */
static bool carry(struct world *w, struct side *from, struct side *to)
{
    struct aq_train trains[TRAINS];
    struct aq_buffer buffers[TRAINS];
    struct aq_datagram datagrams[TRAINS];
    uint64_t begun_ns = time_begin();
    unsigned n = aq_send(from->ep, trains, TRAINS, w->now_us);
    time_end(from, begun_ns);
    if (n == 0)
        return false;
    begun_ns = time_begin();
    unsigned lent = aq_recv_buffers(to->ep, buffers, n);
    time_end(to, begun_ns);
    if (lent < n)
        bench_die("only %u receive buffers", lent);
    for (unsigned i = 0; i < n; i++) {
        wire_copy(buffers[i].data, trains[i].data, trains[i].size);
        datagrams[i] = (struct aq_datagram){.data = buffers[i].data,
                                            .size = trains[i].size,
                                            .segment = trains[i].segment,
                                            .local = to->addr,
                                            .remote = from->addr};
    }
    begun_ns = time_begin();
    if (aq_recv(to->ep, datagrams, n, w->now_us) != AQ_OK)
        bench_die("aq_recv refuses its own buffers");
    time_end(to, begun_ns);
    return true;
}

/* ---- the applications ------------------------------------------------------------------------ */

static void write_some(struct world *w, unsigned index)
{
    while (w->left[index] > 0) {
        struct aq_iov pieces[PIECES];
        uint64_t size = 0;
        unsigned count = 0;
        for (; count < PIECES && size < w->left[index]; count++) {
            uint64_t rest = w->left[index] - size;
            pieces[count] = (struct aq_iov){payload, rest < CHUNK ? (size_t)rest : CHUNK};
            size += pieces[count].size;
        }
        int64_t taken = aq_stream_write(w->client.ep, w->stream[index], pieces, count,
                                        AQ_REF | (size == w->left[index] ? AQ_FIN : 0));
        if (taken < 0)
            bench_die("aq_stream_write: %s", aq_error_name(taken));
        w->left[index] -= (uint64_t)taken;
        if ((uint64_t)taken < size)
            return;
    }
}

static void read_all(struct side *side, aq_stream stream)
{
    bool fin = false;
    while (!fin) {
        struct aq_iov pieces[READ_PIECES];
        int count = aq_stream_peek(side->ep, stream, pieces, READ_PIECES, &fin);
        uint64_t size = 0;
        for (int i = 0; i < count; i++)
            size += pieces[i].size;
        if (count < 0 || (size == 0 && !fin) || aq_stream_consume(side->ep, stream, size) != AQ_OK)
            return;
        side->consumed += size;
    }
    side->fins++;
}

static void on_event(struct world *w, struct side *side, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_CONFIRMED)
        side->confirmed = true;
    if (event->kind == AQ_EVENT_CLOSED)
        bench_die("a connection was closed");
    if (side == &w->server
        && (event->kind == AQ_EVENT_OPENED || event->kind == AQ_EVENT_READABLE))
        read_all(side, event->stream);
    if (side == &w->client && event->kind == AQ_EVENT_WRITABLE)
        write_some(w, (unsigned)(uintptr_t)event->stream_user);
}

/* Timers and events of one side. */
static void turn(struct world *w, struct side *side)
{
    struct aq_event event;
    uint64_t begun_ns = time_begin();
    if (aq_deadline(side->ep) <= w->now_us)
        aq_tick(side->ep, w->now_us);
    while (aq_next_event(side->ep, &event))
        on_event(w, side, &event);
    time_end(side, begun_ns);
}

/* One turn of both; when nothing moved, on to the next deadline. */
static void step(struct world *w)
{
    bool moved = carry(w, &w->client, &w->server);
    turn(w, &w->server);
    moved = carry(w, &w->server, &w->client) || moved;
    turn(w, &w->client);
    w->now_us += STEP_US;
    if (!moved) {
        uint64_t a = aq_deadline(w->client.ep), b = aq_deadline(w->server.ep);
        uint64_t next = a < b ? a : b;
        if (next > w->now_us) /* in small steps: the last deadline is the idle timeout */
            w->now_us = next - w->now_us < IDLE_STEP_US ? next : w->now_us + IDLE_STEP_US;
    }
}

/* ---- a world --------------------------------------------------------------------------------- */

static void side_init(struct side *side, struct aq_tls *tls, const char *backend, uint64_t now_us)
{
    uint8_t host = tls != NULL ? 2 : 1;
    struct aq_config config;
    aq_config_init(&config);
    memset(config.seed, host, sizeof config.seed);
    config.max_conns = 4, config.max_half_open = 4, config.max_streams = 256;
    config.memory_bytes = 64 << 20;
    config.retry = AQ_RETRY_NEVER;
    config.tls = tls;
    config.aead = backend;
    size_t size = aq_endpoint_size(&config);
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        bench_die("no memory");
    side->ep = aq_endpoint_init(mem, size, &config, now_us);
    side->addr = (struct aq_addr){.ip = {10, 0, 0, host}, .port = 4433, .family = 4};
    if (side->ep == NULL)
        bench_die("aq_endpoint_init: %s", aq_config_check(&config));
}

static struct aq_tls *make_tls(bool server, struct aq_tls *trusted)
{
    static const char *const alpn[] = {"bench"};
    struct aq_tls_config config;
    char error[256];
    aq_tls_config_init(&config);
    config.server = server;
    config.alpn = alpn, config.alpn_count = 1;
    if (!server) {
        config.verify = AQ_VERIFY_PIN;
        (void)aq_tls_pin(trusted, config.pin);
    }
    struct aq_tls *tls = aq_tls_new(&config, error, sizeof error);
    if (tls == NULL)
        bench_die("aq_tls_new: %s", error);
    return tls;
}

static void connect_both(struct world *w, struct aq_tls *tls)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = tls;
    connect.remote = w->server.addr;
    if (aq_connect(w->client.ep, &connect, &w->client.conn, w->now_us) != AQ_OK)
        bench_die("aq_connect");
    for (unsigned i = 0; !w->client.confirmed || !w->server.confirmed; i++) {
        if (i > TURNS_IDLE_MAX)
            bench_die("the handshake does not end");
        step(w);
    }
    for (uint64_t end_us = w->now_us + SETTLE_US; w->now_us < end_us;) /* tickets, the MTU's probe */
        step(w);
}

/* What is measured: all bytes of all streams from the client to the server. */
__attribute__((noinline)) static void transfer(struct world *w, uint64_t bytes)
{
    for (unsigned i = 0; i < w->streams; i++) {
        w->left[i] = bytes / w->streams;
        if (aq_stream_open(w->client.ep, w->client.conn, false, (void *)(uintptr_t)i, &w->stream[i])
            != AQ_OK)
            bench_die("aq_stream_open");
        write_some(w, i);
    }
    for (uint64_t before = 0, idle = 0; w->server.fins < w->streams; idle++) {
        step(w);
        if (w->server.consumed != before)
            before = w->server.consumed, idle = 0;
        if (idle > TURNS_IDLE_MAX)
            bench_die("the transfer stands still at %llu bytes", (unsigned long long)before);
    }
}

/* ---- the cipher by itself -------------------------------------------------------------------- */

/* Nanoseconds to seal and to open a packet of a train, at the size of the transfer's packets. */
static void cipher_measure(const char *backend, double *seal_ns, double *open_ns)
{
    static uint8_t packets[BENCH_TRAIN][BENCH_PAYLOAD];
    static struct bench_keys keys;
    uint64_t seal = 0, open = 0;
    bench_keys_init(&keys, backend, CIPHER_AES_128_GCM);
    for (unsigned n = 0; n < CIPHER_TRAINS; n++) {
        struct sealed v[BENCH_TRAIN];
        for (unsigned i = 0; i < BENCH_TRAIN; i++) {
            v[i] = (struct sealed){.data = packets[i],
                                   .number = i,
                                   .size = BENCH_PAYLOAD,
                                   .pn_offset = 9,
                                   .pn_size = 4,
                                   .ok = true};
            packets[i][0] = 0x43;
            store_be32(packets[i] + 9, i);
        }
        uint64_t begun_ns = bench_cpu_ns();
        protect_seal(&keys.aead, &keys.hp, v, BENCH_TRAIN);
        uint64_t sealed_ns = bench_cpu_ns();
        protect_unmask(&keys.hp, v, BENCH_TRAIN);
        protect_open(&keys.aead, v, BENCH_TRAIN);
        open += bench_cpu_ns() - sealed_ns;
        seal += sealed_ns - begun_ns;
        if (!v[0].ok)
            bench_die("a packet that we sealed does not open");
    }
    *seal_ns = (double)seal / (CIPHER_TRAINS * BENCH_TRAIN);
    *open_ns = (double)open / (CIPHER_TRAINS * BENCH_TRAIN);
}

static uint64_t datagrams_out(const struct side *side)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};
    aq_endpoint_stats(side->ep, &stats);
    return stats.datagrams_out;
}

int main(int argc, char **argv)
{
    static struct world w = {.now_us = 1000000};
    uint64_t bytes = bench_number(argc, argv, "--bytes", 256 << 20);
    struct aq_tls *server_tls = make_tls(true, NULL), *client_tls = make_tls(false, server_tls);
    const char *backend = bench_flag(argc, argv, "--aead", "boringssl");
    double seal_ns, open_ns;
    w.streams = (unsigned)bench_number(argc, argv, "--streams", 1);
    if (w.streams == 0 || w.streams > STREAMS_MAX)
        bench_die("--streams is 1 to %d", STREAMS_MAX);
    side_init(&w.client, NULL, backend, w.now_us);
    side_init(&w.server, server_tls, backend, w.now_us);
    connect_both(&w, client_tls);
    cipher_measure(backend, &seal_ns, &open_ns);
    uint64_t before = datagrams_out(&w.client), acks = datagrams_out(&w.server);
    w.client.ns = w.server.ns = 0;
    transfer(&w, bytes);
    double packets = (double)(datagrams_out(&w.client) - before);
    double send_ns = (double)w.client.ns / packets, recv_ns = (double)w.server.ns / packets;
    (void)printf("{\"packets\":%.0f,\"ack_packets\":%llu,\"ns_send\":%.1f,\"ns_recv\":%.1f,"
                 "\"cipher_seal_ns\":%.1f,\"cipher_open_ns\":%.1f,\"ns_send_without_cipher\":%.1f,"
                 "\"ns_recv_without_cipher\":%.1f}\n",
                 packets, (unsigned long long)(datagrams_out(&w.server) - acks), send_ns, recv_ns,
                 seal_ns, open_ns, send_ns - seal_ns, recv_ns - open_ns);
    aq_endpoint_close(w.client.ep);
    aq_endpoint_close(w.server.ep);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
    return 0;
}
