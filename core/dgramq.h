/* dgramq.h -- unreliable datagrams (RFC 9221) that wait: to be sent, or to be read.
 *
 * One queue is one block of the connection's quota, taken with the first datagram and given back
 * with the last: an idle connection pays a pointer. Datagrams lie in it one behind the other, each
 * in one piece, so that the application reads them in place and the packet builder copies once.
 * A queue that is full keeps what it has and refuses, or lets its oldest go: the owner asks.
 * Whatever is not kept is counted, by whom it could concern. */
#ifndef AQ_DGRAMQ_H
#define AQ_DGRAMQ_H

#include "core/antq.h"
#include "core/arena.h"

struct dgramq {
    uint8_t *ring;       /* NULL: empty */
    uint32_t cap;        /* bytes of the block */
    uint32_t head, tail; /* offsets of the first datagram and of the free bytes behind the last */
    uint32_t wrap; /* where the bytes end that are followed by those at offset 0; 0: nowhere */
    uint32_t count;
};

/* Appends a copy of the pieces, together at most 65,535 bytes. max_bytes: of the queue's block, a
 * power of two. AQ_OK; AQ_BLOCKED: no room now, nothing was changed; AQ_MISUSE: could never fit. */
int dgramq_put(struct dgramq *q, struct quota *quota, uint32_t max_bytes, const struct aq_iov *iov,
               unsigned n);
/* The oldest, in one piece, good until the queue changes. False: none. */
bool dgramq_first(const struct dgramq *q, struct aq_iov *out);
/* Lets the oldest go; the queue is not empty. */
void dgramq_drop(struct dgramq *q, struct quota *quota);
void dgramq_clear(struct dgramq *q, struct quota *quota);

#endif
