/* loss_world.h -- one ring with its memory and RTTs, and a sink that notes every packet's and
 * record's fate. For the tests of core/loss.c; each record's value is its packet's number. */
#ifndef AQ_TESTS_LOSS_WORLD_H
#define AQ_TESTS_LOSS_WORLD_H

#include "core/loss.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    ARENA_BYTES = 1 << 20,
    NUMBERS = 4096,
    MS = 1000,
    SECOND = 1000000
};

/* What the sink was told, and the world around one ring. */
struct world {
    struct arena arena;
    struct quota quota;
    struct sent_ring ring;
    struct rtt rtt[PATHS_MAX];
    const struct rtt *rtts[PATHS_MAX];
    struct loss_result result;
    void *mem;
    uint8_t fate[NUMBERS]; /* of packets: SENT_NONE, SENT_ACKED, SENT_LOST */
    uint8_t record_fate[NUMBERS];
    unsigned acked, lost; /* records */
};

static inline void on_acked(void *arg, const struct record *record)
{
    struct world *w = arg;
    cr_assert_eq(w->record_fate[record->value], SENT_NONE, "one fate each");
    w->record_fate[record->value] = SENT_ACKED;
    w->acked++;
}

static inline void on_lost(void *arg, const struct record *record)
{
    struct world *w = arg;
    cr_assert_eq(w->record_fate[record->value], SENT_NONE, "one fate each");
    w->record_fate[record->value] = SENT_LOST;
    w->lost++;
}

static inline void on_packet(void *arg, const struct sent *sent, uint64_t number, bool lost)
{
    struct world *w = arg;
    cr_assert_eq(w->fate[number], SENT_NONE, "one fate each");
    cr_assert_eq(sent->state, lost ? SENT_LOST : SENT_ACKED);
    w->fate[number] = lost ? SENT_LOST : SENT_ACKED;
}

static const struct loss_sink sink = {on_acked, on_lost, on_packet};
static const uint8_t FLIGHT = SENT_ELICITING | SENT_IN_FLIGHT;

static inline struct world *world_new(void)
{
    size_t size = (arena_size(ARENA_BYTES) + 63) / 64 * 64;
    struct world *w = calloc(1, sizeof *w);
    cr_assert_not_null(w);
    w->mem = aligned_alloc(64, size);
    cr_assert_not_null(w->mem);
    memset(w->mem, 0, size);
    arena_init(&w->arena, w->mem, ARENA_BYTES);
    w->quota = (struct quota){.arena = &w->arena, .max_bytes = UINT64_MAX};
    sent_init(&w->ring);
    for (unsigned i = 0; i < PATHS_MAX; i++) {
        rtt_init(&w->rtt[i]);
        w->rtts[i] = &w->rtt[i];
    }
    return w;
}

static inline void world_end(struct world *w)
{
    sent_clear(&w->ring, &w->quota);
    cr_expect_eq(w->quota.used_bytes, 0);
    cr_expect_eq(w->arena.used_bytes, 0);
    free(w->mem);
    free(w);
}

/* One packet with one record that names it. */
static uint64_t send_on(struct world *w, uint8_t path, uint8_t flags, uint64_t now)
{
    cr_assert_eq(sent_reserve(&w->ring, &w->quota, 1, 1), AQ_OK);
    sent_record(&w->ring, RECORD_STREAM)->value = w->ring.next;
    struct sent sent = {.time_us = now, .size = 1000, .flags = flags, .path = path};
    sent_commit(&w->ring, &sent);
    return w->ring.next - 1;
}

static uint64_t send(struct world *w, uint64_t now)
{
    return send_on(w, 0, FLIGHT, now);
}

static inline void send_many(struct world *w, unsigned n, uint64_t now)
{
    while (n-- > 0)
        send(w, now);
}

/* An ACK frame of the numbers for which named[] is set, at most 600 ranges. The caller's buffer
 * holds the ranges. */
static inline struct frame_ack ack_make(const bool *named, uint64_t below, uint8_t *bytes,
                                        size_t size)
{
    struct frame_ack ack = {0};
    struct writer w = writer_make(bytes, size);
    uint64_t n = below, lo = 0;
    bool first = true;
    while (n > 0) {
        if (!named[--n])
            continue;
        uint64_t hi = n;
        while (n > 0 && named[n - 1])
            n--;
        if (first) {
            ack.largest = hi;
        } else {
            write_varint(&w, lo - hi - 2);
            ack.range_count++;
        }
        write_varint(&w, hi - n);
        lo = n;
        first = false;
    }
    cr_assert(!first && !w.bad);
    ack.ranges = bytes;
    ack.ranges_size = (uint32_t)(w.p - bytes);
    return ack;
}

static inline int ack_named(struct world *w, const bool *named, uint64_t below, uint64_t now)
{
    uint8_t bytes[NUMBERS];
    struct frame_ack ack = ack_make(named, below, bytes, sizeof bytes);
    return loss_on_ack(&w->ring, &ack, &sink, w, &w->result, now);
}

/* ACK of [lo, hi]. */
static inline int ack_range(struct world *w, uint64_t lo, uint64_t hi, uint64_t now)
{
    uint8_t bytes[8];
    struct writer out = writer_make(bytes, sizeof bytes);
    write_varint(&out, hi - lo);
    struct frame_ack ack = {
        .largest = hi, .ranges = bytes, .ranges_size = (uint32_t)(out.p - bytes)};
    return loss_on_ack(&w->ring, &ack, &sink, w, &w->result, now);
}

static inline void detect(struct world *w, uint64_t max_ack_delay_us, uint64_t now)
{
    loss_detect(&w->ring, w->rtts, max_ack_delay_us, &sink, w, &w->result, now);
    sent_trim(&w->ring, &w->quota);
}

#endif
