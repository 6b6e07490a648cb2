/* frames.c -- fuzz target: frames (core/frame.h), RFC 9000 §19.
 *
 * Any bytes are read as the payload of a packet. Each frame that is read consumes at least one byte
 * (SECURITY.md row 9), lies inside the payload, and written again reads the same. */
#include "core/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

/* Ranges come downwards, apart from each other, exactly as many as were promised. */
static void ack_walk(const struct frame_ack *ack)
{
    struct ack_iter it;
    uint64_t lo, hi, below = ack->largest + 2, count = 0;

    ack_iter_init(&it, ack);
    while (ack_iter_next(&it, &lo, &hi)) {
        require(lo < hi && hi < below && hi <= ack->largest + 1);
        require(count > 0 || hi == ack->largest + 1);
        below = lo;
        count++;
    }
    require(count == ack->range_count + 1);
}

static void write_again(const struct frame *f)
{
    static uint8_t first[70000], second[70000];
    struct writer w = writer_make(first, sizeof first);
    struct frame again;
    size_t size = frame_size(f);

    require(size <= sizeof first);
    frame_encode(&w, f);
    require(!w.bad && (size_t)(w.p - first) == size);
    struct reader r = reader_make(first, size);
    require(frame_decode(&r, &again) == AQ_OK && reader_left(&r) == 0 && again.type == f->type);
    w = writer_make(second, sizeof second);
    frame_encode(&w, &again);
    require(!w.bad && (size_t)(w.p - second) == size && memcmp(first, second, size) == 0);
    if (size > 0) { /* one byte short: nothing is written */
        w = writer_make(second, size - 1);
        frame_encode(&w, &again);
        require(w.bad);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_make(data, size);

    if (size > 65535)
        return 0;
    while (reader_left(&r) > 0) {
        struct frame f;
        const uint8_t *before = r.p;
        int result = frame_decode(&r, &f);
        if (result != AQ_OK) {
            require(result == AQ_FRAME_ENCODING_ERROR || result == AQ_PROTOCOL_VIOLATION);
            return 0;
        }
        require(r.p > before && r.p <= r.end);
        require(frame_row(f.type) != NULL);
        for (uint8_t in = IN_I; in <= IN_1; in = (uint8_t)(in << 1))
            for (uint8_t by = BY_CLIENT; by <= BY_SERVER; by++) {
                int allowed = frame_allowed(f.type, in, by);
                require(allowed == AQ_OK || allowed == AQ_PROTOCOL_VIOLATION);
            }
        if (f.type == FRAME_ACK || f.type == FRAME_ACK_ECN)
            ack_walk(&f.ack);
        else
            write_again(&f);
    }
    return 0;
}
