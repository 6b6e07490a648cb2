/* relay.h -- relayed datagrams at a bootstrap node: a table of channels, and a function from a
 * datagram to where it goes (PROTOCOL §4).
 *
 * A pair of peers has two channels, one for each direction. A relayed datagram is passed on as it
 * is, header included, so that whole trains of them can be sent from where they were received. The
 * relay has no keys and looks at nothing behind the 9 bytes. */
#ifndef AQ_NAT_RELAY_H
#define AQ_NAT_RELAY_H

#include "core/heap.h"
#include "core/map.h"
#include "core/pool.h"
#include "core/rng.h"
#include "nat/datagram.h"
#include "nat/peer.h"

struct relay_config {
    uint32_t max_pairs;
    uint32_t max_pairs_per_peer;
    uint64_t bytes_per_s;    /* of a pair, both directions together; 0: relay nothing */
    uint64_t burst_bytes;    /* [a tenth of a second of it, at least 64 KiB] */
    uint64_t unproven_bytes; /* until the target has sent something [16 KiB] */
    uint64_t idle_us;        /* a pair that carries nothing ends [120 s] */
};

/* Counters of both ends: what came from an end, and what went to it. */
struct relay_count {
    uint64_t in_packets, in_bytes, out_packets, out_bytes;
};

/* One end of a pair; the channel is that of the direction from this end to the other. */
struct relay_end {
    /* Where it is (remote; family 0: not known yet), and where it expects us: socket and local. */
    struct aq_path_addr path;
    uint64_t channel;
    uint64_t owner; /* the registry's handle of the peer */
    struct relay_count count;
};

struct relay_pair {
    struct relay_end end[2]; /* 0: who asked for it, 1: the target */
    uint64_t full_us;        /* token bucket of bytes: when it is full again */
    uint64_t unproven;       /* bytes that have gone to a target that has sent nothing */
    uint64_t active_us;
    bool proven;
};

enum relay_verdict {
    RELAY_FORWARD,
    RELAY_NO_CHANNEL,    /* not an id of ours, or not relayed at all */
    RELAY_WRONG_ADDRESS, /* not from where the id was given to */
    RELAY_NO_ADDRESS,    /* the other end has none */
    RELAY_UNPROVEN,      /* the target has not answered, and this would be too much */
    RELAY_OVER_RATE,
    RELAY_VERDICTS
};

/* So many datagrams of so many bytes together, headers included. */
struct relay_run {
    uint32_t packets;
    uint64_t bytes;
};

struct relay {
    struct relay_config config;
    struct pool pairs;
    struct map channels; /* channel id -> pair * 2 + end that it comes from */
    struct heap idle;    /* of pairs */
    struct rng *rng;
    uint64_t seed;
    uint64_t verdicts[RELAY_VERDICTS]; /* datagrams by what became of them */
    struct relay_count total;
};

void relay_config_init(struct relay_config *config);
size_t relay_size(const struct relay_config *config);
/* mem: zeroed, 64-byte aligned. rng must outlive it. */
void relay_init(struct relay *relay, void *mem, const struct relay_config *config, struct rng *rng);

/* A new pair, and its two ids. POOL_NONE: all are taken. Who has how many is the caller's to
 * count: owner is its own handle for a peer. */
uint32_t relay_open(struct relay *relay, const struct relay_end ends[2], uint64_t now);
void relay_close(struct relay *relay, uint32_t pair);
/* The pair of which an end was given this channel, with *end which of the two; POOL_NONE. */
uint32_t relay_find(const struct relay *relay, uint64_t channel, unsigned *end);
static inline struct relay_pair *relay_pair(const struct relay *relay, uint32_t pair)
{
    return pool_at(&relay->pairs, pair);
}
/* PROTOCOL §4: what goes back along a channel gets the header of the other direction, and is then
 * as if it had been sent there; all that relay_forward asks for holds for it. An unknown channel
 * stays one. */
void relay_turn(const struct relay *relay, uint8_t header[RELAY_HEADER]);
/* Where a datagram of `size` bytes with this header goes: *to, the same bytes, which leave from the
 * address that the other end knows. Counts it. A run of datagrams with the same header from the
 * same address (GRO) is asked for once, with the sum of their sizes and their number. */
enum relay_verdict relay_forward(struct relay *relay, const uint8_t *header,
                                 const struct aq_addr *from, struct relay_run run,
                                 struct aq_path_addr *to, uint64_t now);

/* Bytes that the pair's rate allows now: a longer run is better cut than dropped whole. */
uint64_t relay_room(const struct relay *relay, const uint8_t *header, uint64_t now);

/* The next pair that has been idle too long, POOL_NONE if none: the caller says goodbye to its
 * owners and closes it. */
uint32_t relay_expired(struct relay *relay, uint64_t now);
uint64_t relay_deadline(const struct relay *relay);

#endif
