/* micro.c -- the leaves, one by one: nanoseconds per operation, as one JSON object.
 *
 *     micro [--aead NAME]     varints, frames, ACKs, sent packets, deadlines, packet protection
 *     micro --count 1         each row COUNTED times, and how many operations that was: for
 * callgrind, which counts the instructions of `counted` (bench/leaves.py)
 *     micro --calibrate N     N times the same work of about a millisecond: how quiet is this core?
 *
 * Each row runs for some milliseconds nine times; the median is told, with the fastest and the
 * slowest. `sink` keeps compilers from leaving work out. */
#include "bench/bench.h"
#include "bench/keys.h"
#include "core/ack.h"
#include "core/frame.h"
#include "core/heap.h"
#include "core/loss.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TRIALS = 9,
    TRIAL_US = 3000,
    COUNTED = 64,
    CALIBRATION_STEPS = 200000,
    VARINTS = 64,
    HEAP_IDS = 100000,
    FLIGHT = 256,
    ACK_BATCH = 44,
    ARENA_BYTES = 1 << 20
};

static volatile uint64_t sink;

/* One call does `ops` operations; how many is its result. */
struct row {
    const char *name;
    unsigned (*run)(void);
};

/* Not random, only irregular: the same in every run. */
static uint64_t next_number(void)
{
    static uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

/* What ACK ranges and sent packets borrow. */
static struct arena arena;
static struct quota quota = {.arena = &arena, .max_bytes = ARENA_BYTES};

static void arena_world_init(void)
{
    void *mem = aligned_alloc(64, (arena_size(ARENA_BYTES) + 63) / 64 * 64);
    if (mem == NULL)
        bench_die("no memory");
    memset(mem, 0, arena_size(ARENA_BYTES));
    arena_init(&arena, mem, ARENA_BYTES);
}

/* ---- varints --------------------------------------------------------------------------------- */

static uint64_t varint_value[VARINTS];
static uint8_t varint_bytes[VARINTS * 8];
static size_t varint_bytes_size;

static unsigned run_varint_write(void)
{
    struct writer w = writer_make(varint_bytes, sizeof varint_bytes);
    for (unsigned i = 0; i < VARINTS; i++)
        write_varint(&w, varint_value[i]);
    varint_bytes_size = sizeof varint_bytes - writer_left(&w);
    return VARINTS;
}

static unsigned run_varint_read(void)
{
    struct reader r = reader_make(varint_bytes, varint_bytes_size);
    uint64_t sum = 0;
    for (unsigned i = 0; i < VARINTS; i++)
        sum += read_varint(&r);
    sink = sum;
    return VARINTS;
}

static void varints_init(void)
{
    static const unsigned bits[] = {6, 14, 14, 30, 30, 30, 14, 62};
    for (unsigned i = 0; i < VARINTS; i++)
        varint_value[i] = next_number() & ((UINT64_C(1) << bits[i % 8]) - 1);
    (void)run_varint_write();
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint8_t stream_bytes[1500], max_data_bytes[16], ack_bytes[64];
static size_t max_data_size, stream_size, ack_size;
static struct ack ack_made;

static void encode_stream(void)
{
    struct frame f = {.type = FRAME_STREAM | FRAME_STREAM_OFF | FRAME_STREAM_LEN};
    struct writer w = writer_make(stream_bytes, sizeof stream_bytes);
    f.stream.id = 4, f.stream.offset = UINT64_C(1) << 29;
    f.stream.data = varint_bytes, f.stream.size = sizeof varint_bytes; /* 512 bytes */
    frame_encode(&w, &f);
    stream_size = sizeof stream_bytes - writer_left(&w);
}

static unsigned run_stream_encode(void)
{
    encode_stream();
    return 1;
}

static unsigned decode(const uint8_t *data, size_t size)
{
    struct reader r = reader_make(data, size);
    struct frame f;
    if (frame_decode(&r, &f) != AQ_OK)
        bench_die("a frame that we made cannot be decoded");
    sink = f.type;
    return 1;
}

static unsigned run_stream_decode(void)
{
    return decode(stream_bytes, stream_size);
}

static unsigned run_max_data_decode(void)
{
    return decode(max_data_bytes, max_data_size);
}

static unsigned run_ack_decode(void)
{
    return decode(ack_bytes, ack_size);
}

/* Numbers in order, a batch at a time, as a receiver of a transfer sees them. */
static unsigned run_ack_receive(void)
{
    static struct ack ack;
    static uint64_t number;
    if (number == 0)
        ack_init(&ack, &quota);
    for (unsigned i = 0; i < ACK_BATCH; i++, number++)
        ack_on_packet(&ack, number, true, AQ_ECN_NOT, number);
    ack_batch_end(&ack, false, 25000, number);
    return ACK_BATCH;
}

static unsigned run_ack_write(void)
{
    struct writer w = writer_make(ack_bytes, sizeof ack_bytes);
    sink = ack_write(&ack_made, &w, 3, 1000);
    ack_size = sizeof ack_bytes - writer_left(&w);
    return 1;
}

static void frames_init(void)
{
    struct frame f = {.type = FRAME_MAX_DATA};
    struct writer w = writer_make(max_data_bytes, sizeof max_data_bytes);
    f.max_data.max = UINT64_C(1) << 31;
    frame_encode(&w, &f);
    max_data_size = sizeof max_data_bytes - writer_left(&w);
    encode_stream();
    ack_init(&ack_made, &quota);
    for (uint64_t number = 0; number < 40; number++) {
        if (number % 10 != 7) /* four ranges */
            ack_on_packet(&ack_made, number, true, AQ_ECN_NOT, 1);
    }
    (void)run_ack_write();
}

/* ---- what is in flight ----------------------------------------------------------------------- */

static struct sent_ring ring;
static struct rtt rtt;

static void on_record(void *arg, const struct record *record)
{
    (void)arg;
    sink = record->value;
}

static void on_packet(void *arg, const struct sent *sent, uint64_t number, bool lost)
{
    (void)arg, (void)sent, (void)lost;
    sink = number;
}

/* So many packets recorded, then acknowledged by one frame: per packet, both. */
static unsigned run_sent_acked(void)
{
    static const struct loss_sink fates = {on_record, on_record, on_packet};
    static uint64_t now_us = 1;
    const struct rtt *const rtts[PATHS_MAX] = {&rtt, &rtt, &rtt, &rtt};
    struct loss_result result;
    uint8_t range[8];
    struct writer w = writer_make(range, sizeof range);
    for (unsigned i = 0; i < FLIGHT; i++) {
        struct sent sent = {
            .time_us = now_us++, .size = BENCH_PAYLOAD, .flags = SENT_ELICITING | SENT_IN_FLIGHT};
        if (sent_reserve(&ring, &quota, 1, 1) != AQ_OK)
            bench_die("the ring is full");
        struct record *record = sent_record(&ring, RECORD_STREAM);
        record->size = BENCH_PAYLOAD, record->value = now_us, record->index = 0, record->flags = 0;
        (void)sent_commit(&ring, &sent);
    }
    write_varint(&w, FLIGHT - 1);
    struct frame_ack ack = {.largest = ring.next - 1,
                            .ranges = range,
                            .ranges_size = (uint32_t)(sizeof range - writer_left(&w))};
    if (loss_on_ack(&ring, &ack, &fates, NULL, &result, now_us) != AQ_OK)
        bench_die("the ACK is refused");
    loss_detect(&ring, rtts, 25000, &fates, NULL, &result, now_us);
    sent_trim(&ring, &quota);
    return FLIGHT;
}

static void sent_world_init(void)
{
    sent_init(&ring);
    rtt_init(&rtt);
    rtt_sample(&rtt, 100, 0, 1);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static struct heap heap;

/* A connection's deadline moves, among 100,000. */
static unsigned run_heap_set(void)
{
    for (unsigned i = 0; i < 64; i++)
        heap_set(&heap, (uint32_t)(next_number() % HEAP_IDS), next_number() >> 20);
    sink = heap_top(&heap, NULL);
    return 64;
}

/* The earliest deadline passes, and its connection gets another: among 100,000. */
static unsigned run_heap_fire(void)
{
    for (unsigned i = 0; i < 64; i++) {
        uint32_t id;
        uint64_t at = heap_top(&heap, &id);
        heap_set(&heap, id, at + (next_number() >> 20));
    }
    return 64;
}

static void heap_world_init(void)
{
    void *mem = calloc(1, heap_size(HEAP_IDS));
    if (mem == NULL)
        bench_die("no memory");
    heap_init(&heap, mem, HEAP_IDS);
    for (uint32_t id = 0; id < HEAP_IDS; id++)
        heap_set(&heap, id, next_number() >> 20);
}

/* ---- packet protection ----------------------------------------------------------------------- */

static uint8_t train[BENCH_TRAIN][BENCH_PAYLOAD], sealed_train[BENCH_TRAIN][BENCH_PAYLOAD];
static struct bench_keys keys[3]; /* by cipher */

static void lay_out(struct sealed *v, uint8_t (*packets)[BENCH_PAYLOAD])
{
    for (unsigned i = 0; i < BENCH_TRAIN; i++) {
        v[i] = (struct sealed){.data = packets[i],
                               .number = i,
                               .size = BENCH_PAYLOAD,
                               .pn_offset = 9,
                               .pn_size = 4,
                               .ok = true};
    }
}

static unsigned run_seal(enum cipher cipher)
{
    struct sealed v[BENCH_TRAIN];
    lay_out(v, train);
    for (unsigned i = 0; i < BENCH_TRAIN; i++)
        train[i][0] = 0x43;
    protect_seal(&keys[cipher].aead, &keys[cipher].hp, v, BENCH_TRAIN);
    return BENCH_TRAIN;
}

static unsigned run_seal_128(void)
{
    return run_seal(CIPHER_AES_128_GCM);
}

static unsigned run_seal_256(void)
{
    return run_seal(CIPHER_AES_256_GCM);
}

static unsigned run_seal_chacha(void)
{
    return run_seal(CIPHER_CHACHA20);
}

/* Opening is in place, so each trial begins with a copy, which is counted: some 30 ns a packet. */
static unsigned run_open_128(void)
{
    struct sealed v[BENCH_TRAIN];
    memcpy(train, sealed_train, sizeof train);
    lay_out(v, train);
    protect_unmask(&keys[CIPHER_AES_128_GCM].hp, v, BENCH_TRAIN);
    protect_open(&keys[CIPHER_AES_128_GCM].aead, v, BENCH_TRAIN);
    if (!v[0].ok || !v[BENCH_TRAIN - 1].ok)
        bench_die("a packet that we sealed does not open");
    return BENCH_TRAIN;
}

static unsigned run_mask(void)
{
    uint8_t mask[5];
    protect_mask(&keys[CIPHER_AES_128_GCM].hp, train[0], mask);
    sink = mask[0];
    return 1;
}

static void protect_world_init(const char *backend)
{
    for (unsigned i = 0; i < 3; i++)
        bench_keys_init(&keys[i], backend, (enum cipher)i);
    for (unsigned i = 0; i < BENCH_TRAIN; i++) {
        memset(train[i], 0, BENCH_PAYLOAD);
        store_be32(train[i] + 9, i);
    }
    (void)run_seal_128();
    memcpy(sealed_train, train, sizeof train);
}

/* ---- running --------------------------------------------------------------------------------- */

static const struct row rows[] = {
    {"varint_write", run_varint_write},
    {"varint_read", run_varint_read},
    {"frame_stream_encode_512", run_stream_encode},
    {"frame_stream_decode", run_stream_decode},
    {"frame_max_data_decode", run_max_data_decode},
    {"frame_ack_decode_4_ranges", run_ack_decode},
    {"ack_write_4_ranges", run_ack_write},
    {"ack_on_packet_in_order", run_ack_receive},
    {"sent_recorded_and_acked", run_sent_acked},
    {"heap_set_of_100000", run_heap_set},
    {"heap_fire_of_100000", run_heap_fire},
    {"seal_aes_128_gcm_1452", run_seal_128},
    {"seal_aes_256_gcm_1452", run_seal_256},
    {"seal_chacha20_poly1305_1452", run_seal_chacha},
    {"copy_unmask_open_aes_128_gcm_1452", run_open_128},
    {"header_mask_aes_128", run_mask},
};
enum {
    ROWS = sizeof rows / sizeof rows[0]
};

static double trial(const struct row *row)
{
    uint64_t ops = 0, begun_ns = bench_clock_ns(), now_ns;
    do {
        for (unsigned i = 0; i < 16; i++)
            ops += row->run();
        now_ns = bench_clock_ns();
    } while (now_ns - begun_ns < (uint64_t)TRIAL_US * 1000);
    return (double)(now_ns - begun_ns) / (double)ops;
}

/* One row's work, by a name of its own: callgrind collects inside it, and writes after it. */
__attribute__((noinline)) static uint64_t counted(const struct row *row)
{
    uint64_t ops = 0;
    for (unsigned i = 0; i < COUNTED; i++)
        ops += row->run();
    return ops;
}

static int count(void)
{
    (void)printf("{");
    for (unsigned i = 0; i < ROWS; i++) {
        (void)rows[i].run(); /* what happens only once */
        (void)printf("%s\"%s\":%llu", i > 0 ? "," : "", rows[i].name,
                     (unsigned long long)counted(&rows[i]));
    }
    (void)printf("}\n");
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Eight chains of multiplications at once: what another thread on the same physical core would take
 * its part of, which one chain alone would not tell. */
static int calibrate(uint64_t times)
{
    uint64_t x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    (void)printf("{\"ns\":[");
    for (uint64_t i = 0; i < times; i++) {
        uint64_t begun_ns = bench_clock_ns();
        for (unsigned step = 0; step < CALIBRATION_STEPS; step++)
            for (unsigned k = 0; k < 8; k++)
                x[k] = x[k] * UINT64_C(0xd1342543de82ef95) ^ x[k] >> 17;
        for (unsigned k = 0; k < 8; k++)
            sink += x[k];
        (void)printf(i > 0 ? ",%llu" : "%llu", (unsigned long long)(bench_clock_ns() - begun_ns));
    }
    (void)printf("]}\n");
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t calibrations = bench_number(argc, argv, "--calibrate", 0);
    if (calibrations > 0)
        return calibrate(calibrations);
    varints_init();
    arena_world_init();
    frames_init();
    sent_world_init();
    heap_world_init();
    protect_world_init(bench_flag(argc, argv, "--aead", "boringssl"));
    if (bench_number(argc, argv, "--count", 0) > 0)
        return count();
    (void)printf("{");
    for (unsigned i = 0; i < ROWS; i++) {
        double ns[TRIALS];
        (void)trial(&rows[i]);
        for (unsigned t = 0; t < TRIALS; t++)
            ns[t] = trial(&rows[i]);
        qsort(ns, TRIALS, sizeof ns[0], compare);
        (void)printf("%s\"%s\":{\"ns\":%.2f,\"min\":%.2f,\"max\":%.2f}", i > 0 ? "," : "",
                     rows[i].name, ns[TRIALS / 2], ns[0], ns[TRIALS - 1]);
    }
    (void)printf("}\n");
    return 0;
}
