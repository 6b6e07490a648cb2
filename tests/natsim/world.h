/* world.h -- a small Internet in virtual time: hosts, links between them, and when who has his
 * turn.
 *
 *     host -- LAN -- box (NAT) -- LAN -- box (CGNAT) -- the Internet -- box -- LAN -- host
 *
 * A network is named by the box that stands before it; NULL is the Internet. What leaves a host is
 * translated by one box after the other at once, crosses the Internet with delay, loss and
 * reordering, and is translated inwards when it arrives. On each host at most one program runs: a
 * loop (loop.c) with an unchanged node or bootstrap node on it. The world gives turns, watches
 * every datagram (check.c), and takes all chance from one seed: the same seed gives the same trace,
 * which world_hash proves. */
#ifndef AQ_NATSIM_WORLD_H
#define AQ_NATSIM_WORLD_H

#include "core/antq.h"
#include "core/heap.h"
#include "core/rng.h"

#include <stdio.h>

struct aq_loop;
struct box;
struct world;

enum {
    WORLD_HOSTS = 1024,
    WORLD_BOXES = 1024,
    WORLD_CUTS = 64,
    WORLD_MEASURES = 64,
    HOST_ADDRS = 4,
    HOST_TTL = 64,
};
#define WORLD_PPM 1000000

/* What happens to datagrams that cross the Internet. Zero: nothing does. */
struct weather {
    uint64_t jitter_us;   /* delayed by up to so much more, in order */
    uint32_t loss_ppm;    /* each by itself */
    uint32_t reorder_ppm; /* delayed by up to reorder_us more, out of order */
    uint64_t reorder_us;
    uint32_t duplicate_ppm;
};

/* A datagram on its way to where `to` is in the network `inside`. */
struct flight {
    uint64_t at, seq;
    struct aq_addr from, to;
    struct box *inside; /* NULL: the Internet */
    const struct host *sender;
    uint8_t ttl, ecn;
    uint32_t size;
    uint8_t data[];
};

/* What a host has sent to an address that has not answered: check.c. */
struct strange {
    struct aq_addr addr;
    bool answered, claimed;
    uint64_t sent_us[13];
    unsigned sent;
};

enum host_role {
    HOST_PEER,
    HOST_BOOT /* peers may talk to it as they like */
};

struct host {
    struct world *world;
    unsigned index;
    enum host_role role;
    struct box *box;                    /* before it; NULL: it is on the Internet */
    struct aq_addr addrs[HOST_ADDRS];   /* without port */
    struct aq_addr had[2 * HOST_ADDRS]; /* and those that it had before */
    unsigned addr_count, had_count, changes;
    bool down;            /* its interface is */
    uint64_t delay_us;    /* to the middle of the Internet, where it has no box */
    uint64_t clock_us;    /* how far its clock is ahead of the world's */
    struct aq_loop *loop; /* NULL: nothing runs */
    struct strange *strange;
    unsigned strange_count, strange_room;
};

/* Nothing passes between the two. A site is a host on the Internet, or an outermost box. */
struct cut {
    const void *site[2];
};

/* How long something took, for the summary. */
struct measure {
    const char *what; /* static */
    uint64_t us;
};

struct world {
    uint64_t seed, now_us, seq;
    struct rng rng;    /* of the world: weather, faults */
    struct rng chance; /* for the programs: what the kernel gives them */
    struct weather weather;
    bool ipv6;     /* every host has both: to be set before the first */
    unsigned hops; /* routers of the Internet between two sites */
    struct host *host[WORLD_HOSTS];
    unsigned hosts;
    struct box *box[WORLD_BOXES];
    unsigned boxes;
    struct cut cut[WORLD_CUTS];
    unsigned cuts;
    struct flight **flights; /* a heap by time, then by the order of sending */
    unsigned flight_count, flight_room;
    struct heap turns; /* of hosts */
    void *turns_mem;
    struct host *booting; /* whose program is being started */
    uint64_t turns_now;   /* turns without time moving */
    FILE *trace;          /* NULL: none */
    void *hash;
    uint64_t datagrams, lost, bytes;
    struct measure measure[WORLD_MEASURES];
    unsigned measures;
    bool failed;
    char why[640];
};

/* The one world there is: for what has no argument to find it by (getrandom, aq_loop_new). */
extern struct world *world_here;

struct world *world_new(uint64_t seed, FILE *trace);
void world_free(struct world *world); /* loops are freed before, by their owners */
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t world_hash(const struct world *world);
/* One more line of the trace, and of its fingerprint. */
void world_note(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

void world_measure(struct world *world, const char *what, uint64_t us);

uint64_t world_below(struct world *world, uint64_t limit); /* 0 where limit is 0 */
bool world_chance(struct world *world, uint32_t ppm);

/* A host in the network behind box (NULL: on the Internet), with an IPv4 address there, and in a
 * world that has it an IPv6 one. */
struct host *world_host(struct world *world, struct box *box);
/* Its addresses become others of the same network. */
void host_readdress(struct host *host);
void host_set_down(struct host *host, bool down);
/* The host, or the outermost box before it: what a cut is made around. */
const void *host_site(const struct host *host);
/* Where the Internet sees it: its own address, or that of the outermost box. */
struct aq_addr host_public(const struct host *host);
bool host_owns(const struct host *host, const struct aq_addr *addr);
void world_set_cut(struct world *world, const void *a, const void *b, bool cut);

/* Sends a datagram; false: the host has no such address now, or no network. */
bool world_send(struct host *host, const struct aq_train *train, uint32_t offset, uint32_t size);
/* The host's program has something to do at that time. */
void world_turn(struct host *host, uint64_t at_us);

/* Runs what happens until then; the world's clock is at until_us afterwards. False: it failed. */
bool world_run(struct world *world, uint64_t until_us);

/* ---- loop.c: what the world asks of a program --------------------------------------------------
 */
void loop_arrived(struct aq_loop *loop, struct flight *flight); /* takes the flight */
void loop_run_turn(struct aq_loop *loop);
void loop_hosts_changed(struct aq_loop *loop);
/* Whether aq_loop_run would have returned: the program is to be freed. */
bool loop_ended(const struct aq_loop *loop);

/* ---- check.c -----------------------------------------------------------------------------------
 */
/* Every datagram that a host sends: to whom it may go, and how often. */
void check_sent(struct host *host, const struct aq_addr *from, const struct aq_addr *to,
                const uint8_t *data, uint32_t size);
void check_received(struct host *host, const struct aq_addr *from);
/* Its program has started anew, and forgotten whom it has probed. */
void check_restarted(struct host *host);
/* The program was told by its user to dial that address: what it sends there is no probe. */
void check_may_dial(struct host *host, const struct aq_addr *addr);

#endif
