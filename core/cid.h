/* cid.h -- connection ids in both directions (RFC 9000 §5.1).
 *
 * Ours are encrypted slots: worker, slot, generation, sequence and a random epoch in one 8-byte
 * block (a four-round Feistel over AES, as QUIC-LB's), so that a packet finds its connection by one
 * array index and strangers learn nothing. None is stored: each is computed from its sequence
 * number. The peer's are a small table; where the configuration allows the peer more than a few,
 * the rest lies in a block of the connection's memory.
 *
 *     63      52 51    46 45          26 25        12 11       0
 *    | epoch 12 | worker 6 |  slot 20   | generation 14 | seq 12 |
 *
 * That block is the whole id where ids have 8 bytes. In longer ones bytes follow that are drawn
 * from it; and it is the nonce of ids that a load balancer reads (lb.h). */
#ifndef AQ_CID_H
#define AQ_CID_H

#include "core/arena.h"
#include "core/lb.h"
#include "core/params.h"
#include "crypto/prim.h"

enum {
    CID_SIZE = 8, /* the block; and all of an id, unless the configuration says more */
    CIDS_MAX = 16,
    CIDS_USUAL = 8, /* issued to a peer that probes no paths by NAT traversal */
    CIDS_FIRST = 4, /* of the peer's, in the struct */
    CID_SEQ_LIMIT = 1 << 12,
    CID_SLOTS_MAX = 1 << 20,
    CID_RETIRE_FIRST = 16,        /* retirements that may wait while few ids are held, */
    CID_RETIRE_MAX = 2 * CIDS_MAX /* and in all. RFC 9000 §5.1.2: at least twice our limit */
};

struct cid_key {
    struct block_key block;
    struct block_key reset; /* of stateless reset tokens (§10.3.2) */
    uint8_t size;           /* of our ids */
    uint8_t block_at;       /* where the block lies in them */
    struct lb lb;
};

struct cid_fields {
    uint16_t epoch, worker, generation, seq;
    uint32_t slot;
};

/* Ids of 8 bytes, for no load balancer. */
void cid_key_init(struct cid_key *key, const uint8_t secret[32]);
/* Others: size bytes in all, as aq_config_check allows. */
void cid_key_layout(struct cid_key *key, uint8_t size, const struct aq_lb_config *lb);
void cid_encode(const struct cid_key *key, const struct cid_fields *fields, struct cid *cid);
/* An id of nobody that looks like ours: a Retry's. */
void cid_from_chance(const struct cid_key *key, const uint8_t chance[CID_SIZE], struct cid *cid);
/* bytes: key->size of them. False: another server's, by its place at the load balancer. */
bool cid_decode(const struct cid_key *key, const uint8_t *bytes, struct cid_fields *fields);
void cid_reset_token(const struct cid_key *key, const struct cid *cid,
                     uint8_t token[RESET_TOKEN_SIZE]);

/* Ours: which sequence numbers the peer may use, and which it must still be told. */
struct cid_local {
    uint16_t next;             /* next sequence number to issue */
    uint16_t active[CIDS_MAX]; /* issued and not retired, in order */
    uint16_t due;              /* bit i: NEW_CONNECTION_ID of active[i] is to be sent */
    uint8_t count;             /* of active */
    uint8_t limit; /* how many the peer holds at most: its active_connection_id_limit, at most
                      CIDS_MAX */
};
void cid_local_init(struct cid_local *l); /* sequence 0, from the handshake, is in use */
/* The peer's limit is known: issue up to it. */
void cid_local_open(struct cid_local *l, uint64_t peer_limit);
bool cid_local_is_active(const struct cid_local *l, uint64_t seq);
/* Number 1 is given in the preferred address (§5.1.1). Before any other. */
void cid_local_preferred(struct cid_local *l);
/* RETIRE_CONNECTION_ID: AQ_OK, or PROTOCOL_VIOLATION for a number never issued, or the one the
 * packet came on (used_seq; §19.16). Issues a replacement. */
int cid_local_retire(struct cid_local *l, uint64_t seq, uint64_t used_seq);
/* Next NEW_CONNECTION_ID to send: true and its number. Then told, and lost when its packet was. */
bool cid_local_next(const struct cid_local *l, uint16_t *seq);
void cid_local_told(struct cid_local *l, uint16_t seq);
void cid_local_lost(struct cid_local *l, uint64_t seq);

/* The peer's. */
struct cid_remote { /* 42 bytes, so that 12 of them fit into the smallest block */
    struct cid cid;
    uint8_t token[RESET_TOKEN_SIZE];
    bool has_token : 1;
    bool used      : 1; /* this entry of the table holds an id */
    bool taken     : 1; /* some path sends to it, or has: no other may (§9.5) */
    uint16_t seq_high, seq_low;
};
static inline uint32_t cid_remote_seq(const struct cid_remote *r)
{
    return (uint32_t)r->seq_high << 16 | r->seq_low;
}
struct cid_more { /* a block */
    struct cid_remote v[CIDS_MAX - CIDS_FIRST];
    uint32_t *retire; /* what waits beyond CID_RETIRE_FIRST: a block, NULL while that suffices */
};
struct cid_peer {
    struct cid_remote v[CIDS_FIRST];
    struct cid_more *more; /* the table's entries from CIDS_FIRST on; NULL: none */
    struct quota *quota;
    uint32_t retire_prior_to;
    uint32_t gone_next;                /* one past the highest number that was retired */
    uint64_t gone;                     /* bit i: gone_next - 1 - i was */
    uint32_t retire[CID_RETIRE_FIRST]; /* RETIRE_CONNECTION_ID frames to send, the first of them */
    uint8_t retire_count;              /* due */
    uint8_t retire_flight;             /* sent, not acknowledged */
    uint8_t active;                    /* entry in use */
    uint8_t limit;                     /* ours, as advertised */
};
/* quota: for a limit above CIDS_FIRST. */
void cid_peer_init(struct cid_peer *p, const struct cid *first, uint8_t limit, struct quota *quota);
void cid_peer_clear(struct cid_peer *p); /* gives its blocks back */
static inline const struct cid_remote *cid_peer_entry(const struct cid_peer *p)
{
    return p->active < CIDS_FIRST ? &p->v[p->active] : &p->more->v[p->active - CIDS_FIRST];
}
static inline const struct cid *cid_peer_active(const struct cid_peer *p)
{
    return &cid_peer_entry(p)->cid;
}
/* The first id is replaced: the server's own choice, or a Retry's (§7.2). */
void cid_peer_replace_first(struct cid_peer *p, const struct cid *cid);
void cid_peer_set_token(struct cid_peer *p, const uint8_t token[RESET_TOKEN_SIZE]);
/* NEW_CONNECTION_ID (§19.15). AQ_OK, PROTOCOL_VIOLATION (same number, other id; zero-length in
 * use; a number that no peer gets to), CONNECTION_ID_LIMIT_ERROR (more than limit, or too many
 * retirements waiting), AQ_FULL (no memory: do not acknowledge). */
int cid_peer_add(struct cid_peer *p, uint64_t seq, uint64_t retire_prior_to, const struct cid *cid,
                 const uint8_t *token);
/* The id of that number, NULL: it is no longer there. */
const struct cid_remote *cid_peer_find(const struct cid_peer *p, uint32_t seq);
bool cid_peer_has_spare(const struct cid_peer *p);
/* Takes the oldest id that no path ever used. False: there is none. */
bool cid_peer_take(struct cid_peer *p, uint32_t *seq);
/* The active path sends to this one, which is taken. */
void cid_peer_use(struct cid_peer *p, uint32_t seq);
/* Retires taken ids but those in keep[0..count-1]: their paths have ended. As many as may wait to
 * be told; call it again when some have been. */
void cid_peer_let(struct cid_peer *p, const uint32_t *keep, unsigned count);
/* Stateless reset: whether the datagram's last 16 bytes are a token of an id in use. Constant time.
 */
bool cid_peer_is_reset(const struct cid_peer *p, const uint8_t tail[RESET_TOKEN_SIZE]);
/* RETIRE_CONNECTION_ID frames: next due; sent; fate. */
bool cid_peer_next_retire(const struct cid_peer *p, uint64_t *seq);
void cid_peer_retire_sent(struct cid_peer *p);
void cid_peer_retire_acked(struct cid_peer *p);
void cid_peer_retire_lost(struct cid_peer *p, uint64_t seq);

#endif
