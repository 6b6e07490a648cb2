/* sent.h -- what is in flight in one packet number space: a ring of packets and a ring of their
 * frames' records.
 *
 * Packets are indexed by packet number, their records lie in order in a second ring, so both are
 * freed from the front and nothing is searched. Both rings grow by doubling in the connection's
 * quota and are given back when empty. Called by send.c (reserve, record, commit) and loss.c. A
 * skipped number is a packet in state SENT_SKIPPED. */
#ifndef AQ_SENT_H
#define AQ_SENT_H

#include "core/antq.h"
#include "core/arena.h"

/* A frame's fate is a row of records.c, by kind. */
enum record_kind {
    RECORD_NONE = 0,
    RECORD_ACK,
    RECORD_CRYPTO,
    RECORD_STREAM,
    RECORD_RESET_STREAM,
    RECORD_STOP_SENDING,
    RECORD_MAX_DATA,
    RECORD_MAX_STREAM_DATA,
    RECORD_MAX_STREAMS,
    RECORD_DATA_BLOCKED,
    RECORD_STREAM_DATA_BLOCKED,
    RECORD_STREAMS_BLOCKED,
    RECORD_NEW_CID,
    RECORD_RETIRE_CID,
    RECORD_HANDSHAKE_DONE,
    RECORD_NEW_TOKEN,
    RECORD_PING,
    RECORD_PATH_CHALLENGE,
    RECORD_PATH_RESPONSE,
    RECORD_MTU_PROBE,
    RECORD_ACK_FREQUENCY,
    RECORD_DATAGRAM,
    RECORD_NAT, /* flags: enum nat_record */
    RECORD_KINDS
};

struct record {
    uint8_t kind;   /* enum record_kind */
    uint8_t flags;  /* RECORD_STREAM: 1 FIN; stream limits: 1 unidirectional; PING: 1 asked for by
                       the application */
    uint16_t size;  /* bytes of data */
    uint32_t index; /* stream slot */
    uint64_t value; /* offset, sequence number, limit, largest acknowledged */
};

enum sent_state {
    SENT_NONE = 0,
    SENT_OUTSTANDING,
    SENT_ACKED,
    SENT_LOST,
    SENT_SKIPPED
};
enum {
    SENT_ELICITING = 1,
    SENT_IN_FLIGHT = 2,
    SENT_PROBE = 4,
    SENT_APP_LIMITED = 8,
    SENT_ECT = 16,
    SENT_MTU_PROBE = 32
};

struct sent {
    uint64_t time_us;
    uint32_t
        record;    /* first record, position in the record ring (free-running); of a lost packet,
                      once its records' fate is told: how far back the lost one before is, 0: none */
    uint16_t size; /* bytes of the packet, as counted in flight */
    uint8_t records;
    uint8_t state; /* enum sent_state */
    uint8_t flags;
    uint8_t path;  /* index into the connection's paths */
    uint8_t phase; /* key phase it was sealed in, for key update bookkeeping */
    uint8_t reserved;
};

struct sent_ring {
    struct sent *v;
    struct record *r;
    uint32_t cap, record_cap; /* powers of two, 0: nothing taken */
    uint64_t first,
        next; /* numbers first..next-1 are in the ring; next is the next number to use */
    uint32_t record_first, record_next,
        record_begin;             /* free-running; begin: first record of the packet being built */
    uint32_t eliciting_in_flight; /* packets */
    uint64_t largest_acked;       /* UINT64_MAX none */
    uint64_t loss_time_us; /* earliest time at which a packet counts as lost, UINT64_MAX none */
    uint64_t last_eliciting_us;
    uint64_t skipped; /* the newest skipped number, UINT64_MAX none: an ACK of it is an attack */
    uint64_t lost;    /* the newest lost packet, UINT64_MAX none: it may arrive after all */
    uint64_t kept;    /* slots of numbers from here have never been anything else's */
};

void sent_init(struct sent_ring *ring);
/* Makes room for that many more packets with up to `records` records together. AQ_OK or AQ_FULL
 * (the memory is at its limit). */
int sent_reserve(struct sent_ring *ring, struct quota *quota, unsigned packets, unsigned records);
/* Adds a record to the packet being built; room was reserved. At most 255. */
struct record *sent_record(struct sent_ring *ring, enum record_kind kind);
/* Records of the packet being built so far; and dropping them. */
unsigned sent_open_records(const struct sent_ring *ring);
void sent_rollback(struct sent_ring *ring);
/* The packet being built gets number ring->next, which is advanced. sent's time, size, flags, path,
 * phase are taken. */
struct sent *sent_commit(struct sent_ring *ring, const struct sent *sent);
/* Uses up the next number without a packet (RFC 9000 §21.4: optimistic ACKs are caught). Room was
 * reserved. */
void sent_skip(struct sent_ring *ring);
/* NULL when the number is no longer (or not yet) in the ring. */
static inline struct sent *sent_at(const struct sent_ring *ring, uint64_t number)
{
    return number >= ring->first && number < ring->next ? &ring->v[number & (ring->cap - 1)] : NULL;
}
/* A packet that has left the ring may still be seen for a while, as long as no new one has taken
 * its place: the first number of which that is true. */
static inline uint64_t sent_kept(const struct sent_ring *ring)
{
    return ring->next > ring->kept + ring->cap ? ring->next - ring->cap : ring->kept;
}
static inline struct record *sent_record_at(const struct sent_ring *ring, uint32_t position)
{
    return &ring->r[position & (ring->record_cap - 1)];
}
/* Lets go of the finished (acked, lost, skipped) packets at the front; gives the memory back when
 * nothing is left. */
void sent_trim(struct sent_ring *ring, struct quota *quota);
/* A path ends, and its index may become another's: what was sent on it is from now on of path
 * gone. */
void sent_path_gone(struct sent_ring *ring, uint8_t path, uint8_t gone);
/* Gives all memory back; the numbers stay. */
void sent_clear(struct sent_ring *ring, struct quota *quota);

#endif
