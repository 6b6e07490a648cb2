/* recvq.c -- a stream's bytes on their way in (RFC 9000 §2.2).
 *
 *        read      piece_end                  highest
 *   consumed | pieces   | ring: ====...====..==|
 *   ---------+----------+----------------------+
 *             in the lent   copied; `have` says what is there
 *             buffers
 *
 * The common case costs a few stores: bytes that come in order, while nothing is missing, are
 * remembered where they were decrypted. No range is touched and nothing is copied. Only what
 * overtook a lost packet, and what the application left unread when the buffers are lent again, is
 * copied into the ring; while the ring is not empty everything new goes there, so the order needs
 * no further bookkeeping. An empty ring is given back at once: a stream that waits for nothing
 * holds no memory.
 *
 * Bytes that came before are kept as they were first received; a copy that differs is ignored
 * (§2.2).
 *
 * Called by stream.c and by the endpoint's turn (settle). */
#include "core/recvq.h"

#include <assert.h>
#include <string.h>

#include "core/queue.h"

/* More than a stream's window may ever ask for; keeps the ring's size within 32 bits. */
static const uint64_t ring_max = UINT64_C(1) << 30;

void recvq_init(struct recvq *q)
{
    *q = (struct recvq){.final_size = UINT64_MAX, .first = POOL_NONE, .last = POOL_NONE};
    ranges_init(&q->have, &q->have_first);
}

bool recvq_has_pieces(const struct recvq *q)
{
    return q->first != POOL_NONE;
}

static uint64_t have_end(const struct recvq *q)
{
    return q->have.count > 0 ? q->have.v[q->have.count - 1].hi : q->piece_end;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Makes the ring hold [lo, hi). spares: without the quota's reserve. */
static bool ring_reserve(struct recvq *q, struct quota *quota, uint64_t lo, uint64_t hi,
                         bool spares)
{
    if (hi - lo <= q->ring_cap)
        return true;
    if (hi - lo > ring_max)
        return false;
    size_t cap = arena_round((size_t)(hi - lo));
    uint8_t *ring = spares ? quota_take_data(quota, cap) : quota_take(quota, cap);
    if (ring == NULL)
        return false;
    for (unsigned i = 0; i < q->have.count; i++)
        ring_move(ring, (uint32_t)cap, q->ring, q->ring_cap, q->have.v[i].lo, q->have.v[i].hi);
    if (q->ring != NULL)
        quota_give(quota, q->ring, q->ring_cap);
    q->ring = ring;
    q->ring_cap = (uint32_t)cap;
    return true;
}

static void ring_give_if_empty(struct recvq *q, struct quota *quota)
{
    if (q->have.count > 0)
        return;
    ranges_clear(&q->have, &q->have_first, quota);
    if (q->ring != NULL)
        quota_give(quota, q->ring, q->ring_cap);
    q->ring = NULL;
    q->ring_cap = 0;
}

static void piece_drop_first(struct recvq *q, struct pool *pieces)
{
    const struct piece *piece = pool_at(pieces, q->first);
    uint32_t next = piece->next;
    pool_give(pieces, q->first);
    q->first = next;
    if (next == POOL_NONE)
        q->last = POOL_NONE;
}

static void pieces_drop(struct recvq *q, struct pool *pieces)
{
    while (q->first != POOL_NONE)
        piece_drop_first(q, pieces);
    q->piece_end = q->read;
}

/* ---- bytes come ------------------------------------------------------------------------------ */

bool recvq_pass(struct recvq *q, uint64_t offset, const uint8_t **data, uint64_t *size)
{
    uint64_t end = offset + *size;
    if (offset > q->read || end <= q->read || recvq_has_pieces(q) || q->have.count > 0)
        return false;
    *data += q->read - offset;
    *size = end - q->read;
    q->read = q->piece_end = end;
    if (end > q->highest)
        q->highest = end;
    return true;
}

static bool piece_add(struct recvq *q, struct pool *pieces, const uint8_t *data, uint32_t size)
{
    uint32_t index = pool_take(pieces);
    if (index == POOL_NONE)
        return false;
    struct piece *piece = pool_at(pieces, index);
    *piece = (struct piece){.data = data, .size = size, .next = POOL_NONE};
    if (q->last == POOL_NONE) {
        q->first = index;
    } else {
        struct piece *last = pool_at(pieces, q->last);
        last->next = index;
    }
    q->last = index;
    q->piece_end += size;
    return true;
}

/* Copies what is not there yet; bytes that came first stay. */
static void ring_fill(struct recvq *q, uint64_t lo, uint64_t hi, const uint8_t *data)
{
    for (unsigned i = ranges_find(&q->have, lo); lo < hi; i++) {
        struct range r = {hi, hi};
        if (i < q->have.count)
            r = q->have.v[i];
        if (r.lo > lo)
            ring_put(q->ring, q->ring_cap, lo, data, min_u64(r.lo, hi) - lo);
        if (r.hi >= hi)
            return;
        data += r.hi - lo;
        lo = r.hi;
    }
}

/* Remembers [lo, hi), leaving the last possible range to recvq_settle. */
static bool have_add(struct recvq *q, struct quota *quota, uint64_t lo, uint64_t hi)
{
    unsigned next = ranges_find(&q->have, lo);
    bool joins = (next < q->have.count && q->have.v[next].lo <= hi)
                 || (next > 0 && q->have.v[next - 1].hi == lo);
    if (!joins && q->have.count >= RECVQ_RANGES - 1)
        return false;
    return ranges_add(&q->have, &q->have_first, quota, RECVQ_RANGES, (struct range){lo, hi});
}

int recvq_insert(struct recvq *q, struct quota *quota, struct pool *pieces, uint64_t offset,
                 const uint8_t *data, uint32_t size, bool lent)
{
    uint64_t lo = max_u64(offset, q->piece_end), hi = offset + size;
    if (lo >= hi)
        return AQ_OK;
    data += lo - offset;
    if (lent && lo == q->piece_end && q->have.count == 0
        && piece_add(q, pieces, data, (uint32_t)(hi - lo)))
        return AQ_OK;
    if (!ring_reserve(q, quota, q->piece_end, max_u64(hi, have_end(q)), q->spares)) {
        ring_give_if_empty(q, quota);
        return AQ_FULL;
    }
    /* Bytes written to places that `have` does not name are nothing yet, so a refusal changes
     * nothing. */
    ring_fill(q, lo, hi, data);
    int result = have_add(q, quota, lo, hi) ? AQ_OK : AQ_FULL;
    ring_give_if_empty(q, quota);
    return result;
}

/* ---- bytes are read -------------------------------------------------------------------------- */

/* End of the contiguous bytes: pieces, and the ring's first range if it follows them. */
static uint64_t contiguous_end(const struct recvq *q)
{
    bool follows = q->have.count > 0 && q->have.v[0].lo == q->piece_end;
    return follows ? q->have.v[0].hi : q->piece_end;
}

uint64_t recvq_readable(const struct recvq *q)
{
    return contiguous_end(q) - q->read;
}

bool recvq_at_end(const struct recvq *q)
{
    return contiguous_end(q) == q->final_size;
}

unsigned recvq_peek(const struct recvq *q, const struct pool *pieces, struct aq_iov *iov,
                    unsigned max)
{
    unsigned n = 0;
    uint32_t index = q->first;
    while (index != POOL_NONE && n < max) {
        const struct piece *piece = pool_at(pieces, index);
        iov[n++] = (struct aq_iov){piece->data, piece->size};
        index = piece->next;
    }
    if (index != POOL_NONE)
        return n;
    uint64_t at = q->piece_end, end = contiguous_end(q);
    while (at < end && n < max) {
        uint64_t run = ring_run(q->ring_cap, at, end - at);
        iov[n++] = (struct aq_iov){q->ring + (at & (q->ring_cap - 1)), (size_t)run};
        at += run;
    }
    return n;
}

void recvq_consume(struct recvq *q, struct quota *quota, struct pool *pieces, uint64_t bytes)
{
    assert(bytes <= recvq_readable(q));
    while (bytes > 0 && q->first != POOL_NONE) {
        struct piece *piece = pool_at(pieces, q->first);
        uint32_t n = (uint32_t)min_u64(bytes, piece->size);
        piece->data += n;
        piece->size -= n;
        q->read += n;
        bytes -= n;
        if (piece->size == 0)
            piece_drop_first(q, pieces);
    }
    if (bytes == 0)
        return;
    q->read += bytes;
    q->piece_end = q->read;
    range_trim(&q->have, q->read);
    ring_give_if_empty(q, quota);
}

int recvq_settle(struct recvq *q, struct quota *quota, struct pool *pieces)
{
    if (q->first == POOL_NONE)
        return AQ_OK;
    if (!ring_reserve(q, quota, q->read, have_end(q), false)
        || !ranges_add(&q->have, &q->have_first, quota, RECVQ_RANGES,
                       (struct range){q->read, q->piece_end})) {
        ring_give_if_empty(q, quota);
        return AQ_FULL;
    }
    uint64_t at = q->read;
    while (q->first != POOL_NONE) {
        const struct piece *piece = pool_at(pieces, q->first);
        ring_put(q->ring, q->ring_cap, at, piece->data, piece->size);
        at += piece->size;
        piece_drop_first(q, pieces);
    }
    assert(at == q->piece_end);
    q->piece_end = q->read;
    return AQ_OK;
}

void recvq_clear(struct recvq *q, struct quota *quota, struct pool *pieces)
{
    pieces_drop(q, pieces);
    q->have.count = 0;
    ring_give_if_empty(q, quota);
}
