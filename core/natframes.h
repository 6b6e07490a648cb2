/* natframes.h -- the frames of NAT traversal and of address discovery in one connection
 * (nat/PROTOCOL.md 1; draft-seemann-quic-nat-traversal, draft-ietf-quic-address-discovery).
 *
 * What both sides negotiated lies in one block of the endpoint's pool, which the connection has
 * from the peer's parameters to its end: the server's addresses, as told by it or as heard of by
 * the client; the pairs of the current round, as asked for by the client or as heard of by the
 * server; and per path what was observed. Addresses and pairs share one table: the first few lie
 * in that block, more of them in blocks of the connection's memory. It decides nothing: the
 * application hears of what came through aq_nat_next, and probes paths as it sees fit (migrate.c).
 */
#ifndef AQ_NATFRAMES_H
#define AQ_NATFRAMES_H

#include "core/conn.h"

enum {
    NAT_LIMIT_MAX = 32, /* pairs of a round */
    NAT_FIRST = 4,      /* entries in the struct */
    NAT_MORE = 12,      /* in each further block */
    NAT_BLOCKS = (AQ_NAT_ADDRESSES + NAT_LIMIT_MAX - NAT_FIRST) / NAT_MORE,
};

enum nat_state {
    NAT_FREE,
    NAT_HELD,
    NAT_GONE /* removed: the server waits for the acknowledgement, the client's host was not told */
};
struct nat_entry {
    uint64_t seq;
    struct aq_addr addr;
    uint8_t state; /* enum nat_state */
    bool pair;     /* of the current round; else an address */
    bool news;     /* to be sent by who tells of it, to be told by who heard of it */
};
struct nat_heard { /* where the peer sees us, on one path */
    uint64_t next; /* one past the highest number that came there */
    struct aq_addr addr;
    bool news;
};
struct nat {
    bool traversal;    /* both sides sent nat_traversal */
    bool tells, hears; /* OBSERVED_ADDRESS is to be sent, may come */
    uint8_t limit;     /* the server's: pairs of one round */
    uint8_t pairs;     /* of the current round */
    uint8_t blocks;    /* in more */
    uint64_t moved_us; /* the active path was moved to */
    uint64_t round;    /* the current one, 0: none yet */
    uint64_t next_seq; /* server: of the next address; client: one past the highest known */
    uint64_t gone;     /* client, bit i: next_seq - 1 - i was removed */
    uint64_t observed_next;
    struct nat_entry first[NAT_FIRST];
    struct nat_entry *more[NAT_BLOCKS]; /* quota blocks of NAT_MORE each */
    struct nat_heard heard[PATHS];
    uint64_t told[PATHS]; /* one past the number with which the peer was told where we see it */
};

static inline bool natframes_traverses(const struct conn *c)
{
    return c->nat && c->nat->traversal;
}

/* The peer's parameters are known. */
void natframes_negotiate(struct conn *c, const struct params *p);
void natframes_end(struct conn *c); /* gives all its memory back */

/* Frames that came: rows of apply.c. */
int natframes_on_add(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);
int natframes_on_remove(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);
int natframes_on_punch(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);
int natframes_on_observed(struct conn *c, const struct frame *f, struct apply *a, uint64_t now);

/* Writes what is due: the frames of no path, and the one of o->path. */
void natframes_fill(struct conn *c, struct out *o);
void natframes_fill_observed(struct conn *c, struct out *o);
/* The fate of one that was sent. */
void natframes_on_acked(struct conn *c, const struct record *r);
void natframes_on_lost(struct conn *c, const struct record *r);

/* A path is validated: the peer is told once where we see it. A path has ended. */
void natframes_path_valid(struct conn *c, struct path *p);
void natframes_path_ended(struct conn *c, unsigned index);

#endif
