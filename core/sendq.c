/* sendq.c -- a stream's bytes on their way out (RFC 9000 §2.2, §13.3).
 *
 *          base            sent          end
 *   acked   |  in flight    |  new        |
 *   --------+====....====xx=+-------------+     .... in `acked`   xx in `lost`
 *
 * Invariants: base <= sent <= end; acked and lost are disjoint and lie in [base, sent); neither
 * touches base from below. A byte that is in neither set is in flight. Every loss of information (a
 * set is full and the quota too) goes towards lost: the byte is sent once more, which is never
 * wrong.
 *
 * New data costs no search: sendq_next looks at two numbers. Memory is the ring (doubling), the
 * segments of references, and the range sets; all of it is given back when everything is
 * acknowledged.
 *
 * Called by stream.c only. */
#include "core/sendq.h"

#include <assert.h>
#include <string.h>

#include "core/queue.h"

/* Where the bytes from lo on are, up to the next segment's lo. */
struct sendq_segment {
    uint64_t lo;
    const uint8_t *data; /* the application's; NULL: copied, in the ring */
    uint64_t shift;      /* copied ones: byte o has ring position o - shift */
};

/* One ring holds at most 2^30 bytes, so that its size fits 32 bits whatever the host allows. */
static const uint64_t ring_max = UINT64_C(1) << 30;

void sendq_init(struct sendq *q)
{
    *q = (struct sendq){0};
    ranges_init(&q->acked, &q->acked_first);
    ranges_init(&q->lost, &q->lost_first);
}

/* Memory for what is written, not for what became of it. */
static void *bytes_take(const struct sendq *q, struct quota *quota, size_t size)
{
    return q->spares ? quota_take_data(quota, size) : quota_take(quota, size);
}

/* ---- the ring of copied bytes ---------------------------------------------------------------- */

static uint64_t ring_hi(const struct sendq *q)
{
    return q->end - q->referenced;
}

/* Ring position of the first copied byte not acknowledged; ring_hi when there is none. */
static uint64_t ring_lo(const struct sendq *q)
{
    if (q->segs == NULL)
        return q->base - q->referenced;
    for (unsigned i = 0; i < q->seg_count; i++) {
        const struct sendq_segment *seg = &q->segs[i];
        if (seg->data == NULL)
            return max_u64(q->base, seg->lo) - seg->shift;
    }
    return ring_hi(q);
}

static void ring_give(struct sendq *q, struct quota *quota)
{
    quota_give(quota, q->ring, q->ring_cap);
    q->ring = NULL;
    q->ring_cap = 0;
}

/* Makes the ring hold need bytes, or as many as the quota allows, in powers of two. */
static void ring_reserve(struct sendq *q, struct quota *quota, uint64_t need)
{
    if (need <= q->ring_cap)
        return;
    for (size_t cap = arena_round((size_t)min_u64(need, ring_max));
         cap > q->ring_cap && cap >= ARENA_BLOCK; cap >>= 1) {
        uint8_t *ring = bytes_take(q, quota, cap);
        if (ring == NULL)
            continue;
        if (q->ring != NULL) {
            ring_move(ring, (uint32_t)cap, q->ring, q->ring_cap, ring_lo(q), ring_hi(q));
            ring_give(q, quota);
        }
        q->ring = ring;
        q->ring_cap = (uint32_t)cap;
        return;
    }
}

/* ---- segments -------------------------------------------------------------------------------- */

static size_t segs_size(const struct sendq *q)
{
    return arena_round(q->seg_max * sizeof(struct sendq_segment));
}

static void segs_give(struct sendq *q, struct quota *quota)
{
    if (q->segs != NULL)
        quota_give(quota, q->segs, segs_size(q));
    q->segs = NULL;
    q->seg_count = 0;
    q->seg_max = 0;
}

/* Room for two more: the one asked for, and the first time one that describes what is in the ring.
 */
static bool segs_reserve(struct sendq *q, struct quota *quota)
{
    if (q->seg_count + 2 > SENDQ_SEGMENTS)
        return false;
    if (q->segs != NULL && q->seg_count + 2 <= q->seg_max)
        return true;
    size_t size = q->segs == NULL ? ARENA_BLOCK : 2 * segs_size(q);
    struct sendq_segment *segs = bytes_take(q, quota, size);
    if (segs == NULL)
        return false;
    uint16_t count = q->seg_count;
    if (count > 0)
        memcpy(segs, q->segs, count * sizeof(*segs));
    segs_give(q, quota);
    q->segs = segs;
    q->seg_count = count;
    q->seg_max = (uint16_t)(size / sizeof(*segs));
    return true;
}

/* A new segment at end. data NULL: copied bytes. */
static bool segs_push(struct sendq *q, struct quota *quota, const uint8_t *data)
{
    bool first = q->segs == NULL;
    if (!segs_reserve(q, quota))
        return false;
    if (first && q->base < q->end)
        q->segs[q->seg_count++] = (struct sendq_segment){q->base, NULL, q->referenced};
    q->segs[q->seg_count++] = (struct sendq_segment){q->end, data, q->referenced};
    return true;
}

static struct sendq_segment *segs_last(const struct sendq *q)
{
    return q->seg_count > 0 ? &q->segs[q->seg_count - 1] : NULL;
}

static uint64_t seg_end(const struct sendq *q, unsigned index)
{
    return index + 1 < q->seg_count ? q->segs[index + 1].lo : q->end;
}

/* The segment that holds offset. */
static unsigned segs_find(const struct sendq *q, uint64_t offset)
{
    unsigned lo = 0, hi = q->seg_count;
    while (hi - lo > 1) {
        unsigned middle = (lo + hi) / 2;
        if (q->segs[middle].lo <= offset)
            lo = middle;
        else
            hi = middle;
    }
    return lo;
}

/* ---- writing --------------------------------------------------------------------------------- */

static uint64_t write_copy(struct sendq *q, struct quota *quota, const uint8_t *data, uint64_t size)
{
    const struct sendq_segment *last = segs_last(q);
    uint64_t n = min_u64(size, q->ring_cap - (ring_hi(q) - ring_lo(q)));
    if (n == 0)
        return 0;
    if (last != NULL && last->data != NULL && !segs_push(q, quota, NULL))
        return 0;
    ring_put(q->ring, q->ring_cap, ring_hi(q), data, n);
    q->end += n;
    return n;
}

static uint64_t write_reference(struct sendq *q, struct quota *quota, const uint8_t *data,
                                uint64_t size)
{
    const struct sendq_segment *last = segs_last(q);
    bool follows = last != NULL && last->data != NULL && last->data + (q->end - last->lo) == data;
    if (!follows && !segs_push(q, quota, data))
        return 0;
    q->end += size;
    q->referenced += size;
    return size;
}

uint64_t sendq_write(struct sendq *q, struct quota *quota, const struct aq_iov *iov, unsigned n,
                     bool by_reference, uint64_t max_bytes)
{
    assert(!q->fin && q->base <= q->sent);
    uint64_t held = q->end - q->base, room = max_bytes > held ? max_bytes - held : 0;
    uint64_t total = 0;
    for (unsigned i = 0; i < n && total < room; i++)
        total = iov[i].size < room - total ? total + iov[i].size : room;
    if (!by_reference && total > 0) /* once for all pieces, so that the ring grows once */
        ring_reserve(q, quota, ring_hi(q) - ring_lo(q) + total);
    uint64_t taken = 0;
    for (unsigned i = 0; i < n && taken < total; i++) {
        uint64_t size = min_u64(iov[i].size, total - taken), got = 0;
        if (size == 0)
            continue;
        got = by_reference ? write_reference(q, quota, iov[i].data, size)
                           : write_copy(q, quota, iov[i].data, size);
        taken += got;
        if (got < size)
            break;
    }
    if (q->ring != NULL && ring_lo(q) == ring_hi(q)) /* reserved, but the segment found no memory */
        ring_give(q, quota);
    return taken;
}

void sendq_finish(struct sendq *q)
{
    assert(!q->fin);
    q->fin = true;
}

bool sendq_has_memory(const struct sendq *q, struct quota *quota)
{
    if (q->seg_count + 2 > SENDQ_SEGMENTS)
        return false;
    if (ring_hi(q) - ring_lo(q) < q->ring_cap)
        return true;
    void *probe = bytes_take(q, quota, ARENA_BLOCK);
    quota_give(quota, probe, ARENA_BLOCK);
    return probe != NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */

bool sendq_wants(const struct sendq *q, uint64_t credit)
{
    assert(q->base <= q->sent && q->sent <= q->end);
    if (sendq_has_lost(q))
        return true;
    return q->sent < q->end ? credit > 0 : q->fin && !q->fin_sent;
}

uint32_t sendq_next(const struct sendq *q, uint32_t max, uint64_t credit, uint64_t *offset,
                    bool *fin, uint64_t *is_new)
{
    assert(q->base <= q->sent && q->sent <= q->end);
    uint64_t size;
    *is_new = 0;
    if (q->lost.count > 0) {
        *offset = q->lost.v[0].lo;
        size = min_u64(q->lost.v[0].hi - q->lost.v[0].lo, max);
        *fin = q->fin && *offset + size == q->end;
    } else if (q->fin_lost) {
        *offset = q->end;
        size = 0;
        *fin = true;
    } else {
        *offset = q->sent;
        size = min_u64(min_u64(q->end - q->sent, credit), max);
        *fin = q->fin && !q->fin_sent && q->sent + size == q->end;
        *is_new = size;
    }
    return (uint32_t)size;
}

void sendq_copy(const struct sendq *q, uint64_t offset, uint8_t *out, uint32_t size)
{
    assert(q->base <= offset && offset + size <= q->end);
    uint64_t hi = offset + size;
    if (size == 0)
        return;
    if (q->segs == NULL) {
        ring_get(q->ring, q->ring_cap, offset - q->referenced, out, size);
        return;
    }
    for (unsigned i = segs_find(q, offset); offset < hi; i++) {
        const struct sendq_segment *seg = &q->segs[i];
        uint64_t n = min_u64(hi, seg_end(q, i)) - offset;
        if (seg->data != NULL)
            memcpy(out, seg->data + (offset - seg->lo), (size_t)n);
        else
            ring_get(q->ring, q->ring_cap, offset - seg->shift, out, n);
        out += n;
        offset += n;
    }
}

const uint8_t *sendq_span(const struct sendq *q, uint64_t offset, uint64_t *size)
{
    assert(q->base <= offset && offset < q->end);
    uint64_t shift = q->referenced;
    *size = q->end - offset;
    if (q->segs != NULL) {
        unsigned i = segs_find(q, offset);
        const struct sendq_segment *seg = &q->segs[i];
        *size = seg_end(q, i) - offset;
        if (seg->data != NULL)
            return seg->data + (offset - seg->lo);
        shift = seg->shift;
    }
    uint64_t at = (offset - shift) & (q->ring_cap - 1);
    *size = min_u64(*size, q->ring_cap - at);
    return q->ring + at;
}

void sendq_on_sent(struct sendq *q, uint64_t offset, uint32_t size, bool fin)
{
    uint64_t hi = offset + size;
    assert(hi <= q->end && offset <= q->sent && (!fin || (q->fin && hi == q->end)));
    /* What sendq_next gave begins where a lost range begins, so nothing is split and this cannot
     * fail; were it to, the bytes would only be sent once more. */
    if (q->lost.count > 0)
        (void)range_remove(&q->lost, offset, hi);
    q->sent = max_u64(q->sent, hi);
    if (fin) {
        q->fin_sent = true;
        q->fin_lost = false;
    }
}

/* ---- fates ----------------------------------------------------------------------------------- */

/* Joins [lo, hi) with its nearest lost range: what lies between is sent once more. Neither end of
 * the joined range is acknowledged, so taking it out of `acked` splits nothing. */
static void lost_join(struct sendq *q, uint64_t lo, uint64_t hi)
{
    unsigned next = ranges_find(&q->lost, lo);
    assert(q->lost.count > 0);
    bool has_next = next < q->lost.count;
    if (next > 0 && (!has_next || lo - q->lost.v[next - 1].hi <= q->lost.v[next].lo - hi))
        lo = q->lost.v[next - 1].hi;
    else
        hi = q->lost.v[next].lo;
    bool removed = range_remove(&q->acked, lo, hi);
    bool added = range_add(&q->lost, lo, hi);
    assert(removed && added);
    (void)removed;
    (void)added;
}

/* [lo, hi), none of it acknowledged, is to be sent again. Cannot fail. */
static void lost_add(struct sendq *q, struct quota *quota, uint64_t lo, uint64_t hi)
{
    struct range r = {lo, hi};
    assert(q->base <= lo && hi <= q->sent);
    if (!ranges_add(&q->lost, &q->lost_first, quota, SENDQ_RANGES, r))
        lost_join(q, lo, hi);
}

/* The base moved: lets go what is below it. */
static void release(struct sendq *q, struct quota *quota)
{
    range_trim(&q->acked, q->base);
    assert(q->lost.count == 0 || q->lost.v[0].lo >= q->base);
    unsigned gone = 0;
    while (gone < q->seg_count && seg_end(q, gone) <= q->base)
        gone++;
    if (gone > 0) {
        q->seg_count = (uint16_t)(q->seg_count - gone);
        memmove(q->segs, q->segs + gone, q->seg_count * sizeof(*q->segs));
    }
    /* One copied segment is what a queue without segments means. */
    if (q->seg_count == 0 || (q->seg_count == 1 && q->segs[0].data == NULL))
        segs_give(q, quota);
    if (q->ring != NULL && ring_lo(q) == ring_hi(q))
        ring_give(q, quota);
}

static void sets_shrink(struct sendq *q, struct quota *quota)
{
    if (q->acked.count == 0)
        ranges_clear(&q->acked, &q->acked_first, quota);
    if (q->lost.count == 0)
        ranges_clear(&q->lost, &q->lost_first, quota);
}

void sendq_on_acked(struct sendq *q, struct quota *quota, uint64_t offset, uint32_t size, bool fin)
{
    uint64_t lo = max_u64(offset, q->base), hi = offset + size;
    struct range r = {lo, hi};
    assert(hi <= q->sent && (!fin || q->fin_sent));
    if (fin) {
        q->fin_acked = true;
        q->fin_lost = false;
    }
    if (lo >= hi)
        return;
    /* Acknowledged after all: not to be sent again. No room to split the lost range: then it stays
     * lost, and must not be acknowledged at the same time. At base nothing can be split. */
    if (!ranges_remove(&q->lost, &q->lost_first, quota, SENDQ_RANGES, r))
        return;
    if (lo == q->base) {
        unsigned next = ranges_find(&q->acked, hi);
        bool joined = next < q->acked.count && q->acked.v[next].lo <= hi;
        q->base = joined ? q->acked.v[next].hi : hi;
        release(q, quota);
    } else if (!ranges_add(&q->acked, &q->acked_first, quota, SENDQ_RANGES, r)) {
        lost_add(q, quota, lo, hi); /* not remembered, so it must be sent again */
    }
    sets_shrink(q, quota);
}

void sendq_on_lost(struct sendq *q, struct quota *quota, uint64_t offset, uint32_t size, bool fin)
{
    uint64_t at = max_u64(offset, q->base), hi = offset + size;
    assert(hi <= q->sent && (!fin || q->fin_sent));
    if (fin && !q->fin_acked)
        q->fin_lost = true;
    /* Parts may have been acknowledged by another packet. The search starts anew each time, because
     * lost_add may take ranges out of `acked`. */
    while (at < hi) {
        unsigned i = ranges_find(&q->acked, at);
        struct range r = {hi, hi};
        if (i < q->acked.count)
            r = q->acked.v[i];
        if (r.lo > at)
            lost_add(q, quota, at, min_u64(r.lo, hi));
        at = r.hi;
    }
    sets_shrink(q, quota);
}

void sendq_forget_lost(struct sendq *q, struct quota *quota, uint64_t offset)
{
    q->fin_lost = false;
    if (q->lost.count > 0 && offset < q->sent) /* to the end: splits nothing, so cannot fail */
        (void)range_remove(&q->lost, offset, q->sent);
    sets_shrink(q, quota);
}

bool sendq_is_done(const struct sendq *q)
{
    return q->fin_acked && q->base == q->end;
}

void sendq_rewind(struct sendq *q, struct quota *quota)
{
    assert(q->base == 0 && q->acked.count == 0 && !q->fin_acked);
    q->sent = 0;
    q->fin_sent = q->fin_lost = false;
    ranges_clear(&q->lost, &q->lost_first, quota);
}

void sendq_clear(struct sendq *q, struct quota *quota)
{
    q->base = q->end;
    q->fin_lost = false;
    segs_give(q, quota);
    if (q->ring != NULL)
        ring_give(q, quota);
    ranges_clear(&q->acked, &q->acked_first, quota);
    ranges_clear(&q->lost, &q->lost_first, quota);
}
