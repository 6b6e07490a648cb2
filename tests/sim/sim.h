/* sim.h -- a second host of the core: virtual time, seeded chance, links with every fault we know.
 *
 * A simulation owns hosts (one endpoint each) and a link for each direction between two of them. It drives
 * the same calls as the reactor, in the same order: aq_recv_buffers, aq_recv, aq_tick, aq_next_event,
 * aq_send, aq_deadline. Time moves from one event to the next, so a minute of silence costs nothing. All
 * chance comes from one seed: the same seed gives the same trace, byte for byte, which sim_hash proves.
 *
 * Host clocks may run ahead of the simulation's (a stepped clock), and a host may be suspended; no clock
 * ever goes backward. check.c watches every datagram and every turn. Called by app.c, fuzz/conn.c. */
#ifndef AQ_SIM_H
#define AQ_SIM_H

#include "core/antq.h"

#include <stdio.h>

enum { SIM_HOSTS = 4, SIM_OWN = 4, SIM_OUTSIDE = 16, SIM_INBOX_BYTES = 4 << 20, SIM_PPM = 1000000 };

/* xoshiro256**: the simulation's own chance, apart from the endpoints'. */
struct sim_rng {
    uint64_t s[4];
};
void sim_rng_init(struct sim_rng *rng, uint64_t seed);
uint64_t sim_rng_next(struct sim_rng *rng);
uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound); /* 0 where bound is 0 */
bool sim_rng_chance(struct sim_rng *rng, uint32_t ppm);
uint64_t sim_mix(uint64_t x); /* one 64-bit finalizer: patterns and derived seeds */

/* What a link does to datagrams that bear a mark of ECN. */
enum sim_marks {
    MARKS_PASS = 0,
    MARKS_CLEARED,
    MARKS_CHANGED, /* ECT(0) becomes ECT(1) */
    MARKS_LOST,    /* with the datagram */
};

/* One direction between two hosts. Zero means: no such fault, no such limit. */
struct sim_link {
    uint64_t delay_us, jitter_us; /* jitter alone keeps the order */
    uint64_t rate_bytes;          /* a second */
    uint32_t queue_bytes;         /* of waiting datagrams at that rate, tail drop */
    uint32_t loss_ppm;            /* each datagram by itself */
    uint32_t burst_ppm;           /* a burst begins; all datagrams in it are lost */
    uint32_t burst_size;          /* its mean length in datagrams; 0.3 s at most */
    uint32_t reorder_ppm;         /* delayed by up to reorder_us more, order not kept */
    uint64_t reorder_us;
    uint32_t duplicate_ppm, corrupt_ppm, ce_ppm;
    enum sim_marks marks;
    uint32_t mtu; /* largest UDP payload that passes */
    bool cut;     /* nothing passes */
    uint32_t cut_after; /* nothing passes after so many datagrams; 0: no such end */
};

struct sim;
struct sim_host;

/* A datagram on its way. The fuzzer's hook may change all of it but `at` and `seq`. */
struct sim_flight {
    uint64_t at, seq;
    struct aq_addr from, to;
    unsigned host; /* index of the receiver */
    struct aq_addr outside; /* where it was sent to, as the sender knows it */
    uint16_t socket; /* of the receiver */
    uint32_t size;
    uint8_t ecn;
    bool foreign; /* not sent by an endpoint at all */
    uint8_t damage_count;
    uint32_t damage[8]; /* offsets of changed bytes, the first eight */
    uint8_t data[];
};

struct sim_host {
    struct sim *sim;
    unsigned index;
    struct aq_endpoint *ep;
    void *mem;
    size_t mem_size;
    struct aq_config config;
    struct aq_addr addr;
    struct aq_addr own[SIM_OWN]; /* by socket; own[0] is addr, and the rest without a NAT */
    unsigned owns;
    /* The NAT before addr: what the others see, the newest first; none: there is no NAT. */
    struct aq_addr outside[SIM_OUTSIDE];
    unsigned outsides, rebinds;
    bool keep_old;         /* what is sent to an older one still gets in */
    unsigned rebind_every; /* datagrams: the port changes so often by itself; 0: not */
    uint64_t rebind_left;
    uint64_t rebind_us, rebind_at_us; /* and so often in time; 0: not */
    bool rebind_address;              /* with another address */
    bool server;     /* counted against the 3x limit */
    bool kicked;     /* the application did something outside its turn */
    uint64_t clock_us;        /* how far its clock is ahead of the simulation's */
    uint64_t suspended_until; /* it sleeps; datagrams wait in its socket */
    uint64_t late_us;         /* it wakes up to this much after its deadline */
    uint64_t due_us;          /* in the simulation's time */
    uint64_t wake_us;         /* the application's own timer, AQ_NEVER none */
    struct sim_flight **inbox;
    unsigned inbox_count, inbox_room;
    uint64_t inbox_bytes;
    void (*on_event)(struct sim_host *host, const struct aq_event *event);
    void (*on_wake)(struct sim_host *host);
    void *user;
};

struct sim_line { /* a link and where it stands */
    struct sim_link link;
    uint64_t free_us, last_us, burst_end_us;
    uint64_t taken; /* datagrams offered to it */
    uint64_t ce;    /* of these marked so by it */
    bool in_burst;
};

struct check;

struct sim {
    uint64_t seed, now_us, start_us, seq;
    struct sim_rng rng;
    struct sim_host host[SIM_HOSTS];
    unsigned hosts;
    struct sim_line line[SIM_HOSTS][SIM_HOSTS];
    struct sim_flight **heap;
    unsigned heap_count, heap_room;
    struct check *check;
    FILE *trace; /* text lines, NULL none */
    void *hash;  /* XXH3 state */
    uint64_t turns_now; /* turns without time moving: finds spinning deadlines */
    uint64_t datagrams, dropped, bytes;
    /* Sees every datagram before its link; false: it is dropped. It may replace *flight by a malloc'ed one. */
    bool (*on_flight)(void *user, struct sim_flight **flight);
    void *on_flight_user;
    bool paths_free; /* addresses may change: what path validation proves counts */
    bool failed;
    char why[640]; /* the first failure */
};

/* Makes an empty simulation. trace may be NULL. */
struct sim *sim_new(uint64_t seed, FILE *trace);
void sim_free(struct sim *sim);

/* Adds a host; its config's seed is drawn from the simulation. Its address is 10.0.0.(index+1):4433, or
 * IPv6 by odd seeds. NULL and sim->failed if the config is refused. */
struct sim_host *sim_host_add(struct sim *sim, const struct aq_config *config);
/* Ends a host's endpoint without a word and begins a new one with the same secret: a reboot. */
void sim_host_reboot(struct sim_host *host);
void sim_link_set(struct sim *sim, unsigned from, unsigned to, const struct sim_link *link);

/* The address that the host of this index has, or will have, on that socket. */
void sim_address(const struct sim *sim, unsigned host, unsigned socket, struct aq_addr *addr);
/* Gives the host one more address, on a socket of its own; the socket's index. */
uint16_t sim_own_add(struct sim_host *host);
/* The NAT before the host takes another port for it, or another address too. */
void sim_rebind(struct sim_host *host, bool address);

/* What the host's clock shows. */
uint64_t sim_now(const struct sim_host *host);
/* The application called the endpoint outside of on_event and on_wake: give it a turn now. */
void sim_kick(struct sim_host *host);
void sim_clock_step(struct sim_host *host, uint64_t ahead_us);
void sim_suspend(struct sim_host *host, uint64_t duration_us);
/* Puts a datagram on its way past the link's faults: the fuzzer's and the tests' own. It counts as foreign
 * unless the caller says otherwise. NULL: nobody is there. */
struct sim_flight *sim_inject(struct sim *sim, const struct aq_addr *from, const struct aq_addr *to,
                              const uint8_t *data, uint32_t size);

/* Changes a byte of a datagram on its way. */
void sim_damage(struct sim_flight *flight, uint32_t offset, uint8_t mask);

/* Runs the next thing that happens, at most until until_us. False: nothing is left before then, or failed. */
bool sim_step(struct sim *sim, uint64_t until_us);

/* Records the first failure; the simulation stops. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fingerprint of all that happened so far. */
uint64_t sim_hash(const struct sim *sim);

/* TLS of all simulations of this process: an Ed25519 server that takes 0-RTT, and a client that pins it,
 * with a fixed clock. */
struct aq_tls *sim_tls_server(void);
struct aq_tls *sim_tls_client(void);
/* The same server, but it takes only a group for which clients send no key share at first: each handshake
 * has a HelloRetryRequest. */
struct aq_tls *sim_tls_server_hello_retry(void);
void sim_tls_free(void);

/* Wall time of every simulation. */
#define SIM_UNIX_S UINT64_C(1750000000)

#endif
