/* rate.h -- delivery rate samples: how fast the path delivered what was sent (draft-ietf-ccwg-bbr,
 * "Delivery Rate Samples").
 *
 * A snapshot is taken when something is sent, and read again when that is acknowledged. Packets
 * need no field for it: they are found by their sending time, in a ring of snapshots that lives
 * only while something is in flight. Owned by a controller that wants it (cc_bbr.c); the others
 * pay nothing. */
#ifndef AQ_RATE_H
#define AQ_RATE_H

#include "core/arena.h"

/* One aggregate: what was sent at one time, or nearly so. */
struct rate_sent {
    uint64_t time_us;                     /* of its first packet */
    uint64_t delivered, lost;             /* P.delivered, P.lost */
    uint64_t delivered_us, first_sent_us; /* P.delivered_time, P.first_send_time */
    uint32_t in_flight_bytes;             /* P.tx_in_flight: after its last packet */
    uint32_t app_limited;                 /* P.is_app_limited */
};

struct rate {
    struct quota *quota;
    struct rate_sent *v;                  /* ring, NULL: nothing in flight, or no memory */
    uint32_t next, count;                 /* next: free-running */
    uint64_t delivered, lost;             /* C.delivered, C.lost: bytes */
    uint64_t delivered_us, first_sent_us; /* C.delivered_time, C.first_send_time */
    uint64_t app_limited;                 /* C.app_limited: until so much is delivered; 0: not */
};

struct rate_sample { /* RS; all 0 where nothing was delivered or its snapshot is gone */
    bool valid;
    bool app_limited;
    uint64_t bytes_per_s;     /* 0: no reliable one */
    uint64_t delivered;       /* during the interval */
    uint64_t prior_delivered; /* when the newest packet was sent */
    uint64_t in_flight_bytes; /* then */
    uint64_t lost;            /* since then */
};

void rate_init(struct rate *rate, struct quota *quota);
/* Gives the ring back: at the end, and whenever nothing is in flight. */
void rate_idle(struct rate *rate);
/* in_flight_bytes: with these bytes. What is sent within grain_us of an aggregate's first packet
 * belongs to it. */
void rate_on_sent(struct rate *rate, uint64_t bytes, uint64_t in_flight_bytes, uint64_t grain_us,
                  uint64_t now);
/* The application has no more to send. */
void rate_on_limited(struct rate *rate, uint64_t in_flight_bytes);
/* One ACK's sum: GenerateRateSample. A sample over less than min_rtt_us is not reliable. */
void rate_on_acked(struct rate *rate, uint64_t bytes, uint64_t newest_sent_us, uint64_t min_rtt_us,
                   struct rate_sample *sample, uint64_t now);
/* What a lost packet, the newest of its report, says: in_flight_bytes, lost, app_limited. */
void rate_on_lost(struct rate *rate, uint64_t bytes, uint64_t newest_sent_us,
                  struct rate_sample *sample);

#endif
