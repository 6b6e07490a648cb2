/* mtu.h -- how large a datagram a path carries: DPLPMTUD (RFC 8899, RFC 9000 §14.3).
 *
 *             1,200 bytes pass                 nothing worth a probe is left
 *      BASE ------------------> SEARCHING <------------------------------------> COMPLETE
 *      |  ^                      |     ^          after aq_config.mtu_raise_us      |
 *      |  +----- black hole -----+-----|--------------------------------------------+
 *      |                               |
 *      +--- three probes lost ---> ERROR ... 1,200 bytes pass after all
 *
 * Sizes are UDP payload, a channel's prefix not counted. Nothing but probes is larger than size. A
 * probe that arrives raises it; MTU_PROBES lost ones of one size in a row lower `above`, and what
 * lies between the two is searched: first the whole way, by way of the size that Ethernet carries,
 * then by halves, preferring sizes that links really have.
 *
 * A black hole is found by what is lost (RFC 8899 §4.3): reports in which packets of a large size
 * are lost, MTU_HOLE_REPORTS in a row, while none so large arrives. For that a PTO's probes, which
 * break the silence that follows, are of MTU_BASE. ICMP messages have no say (RFC 8899 allows
 * that): who is not on the path cannot make it small.
 *
 * There are no timers. QUIC's loss detection takes the place of PROBE_TIMER, an acknowledged
 * transport has no CONFIRMATION_TIMER, and PMTU_RAISE_TIMER is looked at when there is much to send
 * (RFC 8899 §5.1.1 lets an idle sender not probe). Owned by a path; called by send.c, records.c,
 * apply.c, paths.c. */
#ifndef AQ_MTU_H
#define AQ_MTU_H

#include <stdbool.h>
#include <stdint.h>

enum mtu_state {
    MTU_STATE_BASE,
    MTU_STATE_SEARCHING,
    MTU_STATE_COMPLETE,
    MTU_STATE_ERROR
};
enum {
    MTU_BASE = 1200, /* RFC 9000 §14.3: BASE_PLPMTU and MIN_PLPMTU */
    MTU_PROBES = 3,  /* RFC 8899 §5.1.2: MAX_PROBES */
    MTU_HOLE_REPORTS =
        3, /* losses of large packets, round trip by round trip, that are no chance */
};

struct mtu {
    uint32_t complete_s;        /* COMPLETE since: the clock's seconds, modulo 2^32 */
    uint16_t size;              /* RFC 8899's PLPMTU: what may be sent */
    uint16_t max;               /* MAX_PLPMTU: ours, the peer's */
    uint16_t above;             /* the smallest size that seems too large; beyond max: none */
    uint16_t probed;            /* size of the probe in flight, 0: none is */
    uint16_t silent;            /* the smallest size lost while none so large arrived */
    uint8_t state          : 2; /* enum mtu_state */
    uint8_t probes         : 2; /* PROBE_COUNT: lost of the size that is tried now */
    uint8_t silent_reports : 2;
    bool hole              : 1; /* a black hole, since the search last began by time */
};

/* size is known to pass. */
void mtu_init(struct mtu *m, uint16_t size, uint16_t max);
/* No more is wanted, or taken by the peer; at least MTU_BASE. */
void mtu_limit(struct mtu *m, uint16_t max, uint64_t now);
/* The size of the probe to send now, 0: none. raise_us: COMPLETE lasts so long, 0: for ever. */
uint16_t mtu_next(const struct mtu *m, uint64_t raise_us, uint64_t now);
/* A probe of that size, which mtu_next has said, goes. */
void mtu_probed(struct mtu *m, uint16_t size);
/* One of another size goes: acknowledged it raises what is in use, lost it says nothing. */
void mtu_wished(struct mtu *m, uint16_t size);
/* The fate of a probe; one that is no longer waited for changes nothing. */
void mtu_on_probe(struct mtu *m, uint16_t size, bool lost, uint64_t now);
/* The probe in flight, if any, has no fate. */
void mtu_forget(struct mtu *m);
/* One ACK's or one timeout's largest packets; 0: none. Probes are not among the lost. */
void mtu_on_report(struct mtu *m, uint16_t acked, uint16_t lost, uint64_t now);
/* MTU_BASE bytes are known to pass. */
void mtu_on_base(struct mtu *m, uint64_t now);

#endif
