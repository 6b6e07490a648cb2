/* recvq.h -- a stream's bytes on their way in (RFC 9000 §2.2): in order without a copy, else
 * reassembled.
 *
 * In-order bytes stay in the lent receive buffer where they were decrypted: a list of pieces.
 * Everything else is copied into one power-of-two ring in the connection's quota, byte o at o &
 * (cap - 1), with a range set of what is there. Invariant: pieces cover [read, piece_end), the ring
 * only bytes at or above piece_end. A packet's bytes become a piece only when they begin at the
 * contiguous end and the ring is empty. Before the buffers are lent again recvq_settle copies what
 * is left of the pieces into the ring, which then begins at `read`. */
#ifndef AQ_RECVQ_H
#define AQ_RECVQ_H

#include "core/antq.h"
#include "core/arena.h"
#include "core/pool.h"
#include "core/range.h"

/* Disjoint runs above the contiguous bytes at most; one more is kept for recvq_settle. */
enum {
    RECVQ_RANGES = 1024
};

/* Pieces of all streams come from one endpoint pool. */
struct piece {
    const uint8_t *data;
    uint32_t size;
    uint32_t next; /* pool index */
};

struct recvq {
    uint64_t read;        /* the application consumed all below */
    uint64_t piece_end;   /* end of the pieces = read + bytes in pieces */
    uint64_t highest;     /* highest offset received */
    uint64_t final_size;  /* UINT64_MAX unknown */
    uint32_t first, last; /* pieces, POOL_NONE */
    uint8_t *ring;
    uint32_t ring_cap;
    struct range_set have;   /* in the ring, at or above piece_end */
    struct range have_first; /* its storage until it needs more, from the quota */
    bool spares; /* what overtakes takes nothing from the quota's reserve; stream.c sets it */
};

void recvq_init(struct recvq *q);
/* Bytes [offset, offset + size) came. AQ_OK, or AQ_FULL: no memory, or more than RECVQ_RANGES gaps:
 * nothing was kept, do not acknowledge the packet. lent: data lies in a lent buffer and may be
 * referenced. Old bytes are ignored. Limits (flow control, final size) were checked by the caller,
 * who also moves highest. */
int recvq_insert(struct recvq *q, struct quota *quota, struct pool *pieces, uint64_t offset,
                 const uint8_t *data, uint32_t size, bool lent);
/* Whether bytes that came can go by the queue: they are next, and none wait. Then *data and *size
 * are what is new of them, and count as consumed. */
bool recvq_pass(struct recvq *q, uint64_t offset, const uint8_t **data, uint64_t *size);
/* Bytes readable now. */
uint64_t recvq_readable(const struct recvq *q);
bool recvq_at_end(const struct recvq *q); /* all bytes up to the final size are here */
unsigned recvq_peek(const struct recvq *q, const struct pool *pieces, struct aq_iov *iov,
                    unsigned max);
/* Up to readable bytes; gives memory back. */
void recvq_consume(struct recvq *q, struct quota *quota, struct pool *pieces, uint64_t bytes);
/* The lent buffers are taken back: copies what is unread in pieces into the ring. AQ_OK or AQ_FULL
 * (pieces kept). */
int recvq_settle(struct recvq *q, struct quota *quota, struct pool *pieces);
bool recvq_has_pieces(const struct recvq *q);
void recvq_clear(struct recvq *q, struct quota *quota, struct pool *pieces);

#endif
