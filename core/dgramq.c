/* dgramq.c -- a queue of whole datagrams in one block of memory.
 *
 *     0        tail      head            wrap  cap
 *     | 4 | 5 |   free   | 1 |  2  |  3  | ... |          each: size (2 bytes), bytes
 *
 * A datagram that does not fit behind the last one begins again at 0, and `wrap` remembers where
 * the ones before it end. Called by fill.c, apply.c and api.c, for one connection each. */
#include "core/dgramq.h"

#include <assert.h>
#include <string.h>

enum {
    HEAD = 2 /* bytes of a size */
};

static uint32_t size_at(const struct dgramq *q, uint32_t at)
{
    return (uint32_t)q->ring[at] << 8 | q->ring[at + 1];
}

/* Where `need` bytes can be put; UINT32_MAX: nowhere. */
static uint32_t place_for(const struct dgramq *q, uint32_t need)
{
    if (q->count == 0)
        return need <= q->cap ? 0 : UINT32_MAX;
    if (q->tail <= q->head) /* wrapped: free is what lies between */
        return q->head - q->tail >= need ? q->tail : UINT32_MAX;
    if (q->cap - q->tail >= need)
        return q->tail;
    return q->head >= need ? 0 : UINT32_MAX;
}

int dgramq_put(struct dgramq *q, struct quota *quota, uint32_t max_bytes, const struct aq_iov *iov,
               unsigned n)
{
    size_t size = 0;
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].size > UINT16_MAX - size)
            return AQ_MISUSE;
        size += iov[i].size;
    }
    if (size + HEAD > max_bytes)
        return AQ_MISUSE;
    if (q->ring == NULL) {
        q->ring = quota_take_data(quota, max_bytes);
        if (q->ring == NULL)
            return AQ_BLOCKED;
        q->cap = max_bytes;
    }
    uint32_t at = place_for(q, (uint32_t)size + HEAD);
    if (at == UINT32_MAX)
        return AQ_BLOCKED;
    if (at == 0 && q->count > 0)
        q->wrap = q->tail;
    uint8_t *to = q->ring + at;
    *to++ = (uint8_t)(size >> 8);
    *to++ = (uint8_t)size;
    for (unsigned i = 0; i < n; i++) {
        if (iov[i].size > 0)
            memcpy(to, iov[i].data, iov[i].size);
        to += iov[i].size;
    }
    q->tail = at + HEAD + (uint32_t)size;
    q->count++;
    return AQ_OK;
}

bool dgramq_first(const struct dgramq *q, struct aq_iov *out)
{
    if (q->count == 0)
        return false;
    *out = (struct aq_iov){q->ring + q->head + HEAD, size_at(q, q->head)};
    return true;
}

void dgramq_drop(struct dgramq *q, struct quota *quota)
{
    assert(q->count > 0);
    q->head += HEAD + size_at(q, q->head);
    if (--q->count == 0) {
        dgramq_clear(q, quota);
    } else if (q->wrap > 0 && q->head == q->wrap) {
        q->head = 0;
        q->wrap = 0;
    }
}

void dgramq_clear(struct dgramq *q, struct quota *quota)
{
    if (q->ring != NULL)
        quota_give(quota, q->ring, q->cap);
    *q = (struct dgramq){0};
}
