/* check.h -- what must hold at every step of a simulation, whatever the seed.
 *
 * The simulator calls these beside the endpoint, from outside: they see only datagrams and the public
 * statistics, so a wrong counter in the core cannot hide itself. A broken invariant fails the simulation
 * by name (sim_fail) and stops it. */
#ifndef AQ_CHECK_H
#define AQ_CHECK_H

#include "tests/sim/sim.h"

enum { CHECK_ADDRESSES = 8192, CHECK_CONNS = 64 };

/* RFC 9000 §8.1: what a server was sent from one address and sent there, until it can have validated it. */
struct check_address {
    unsigned host;
    struct aq_addr addr;
    uint64_t received_bytes, sent_bytes;
    bool reached; /* something the server sent there arrived at a host */
    bool validated;
};

struct check_conn {
    unsigned host;
    aq_conn conn;
    bool closed; /* its AQ_EVENT_CLOSED was seen */
    uint64_t probe_bytes; /* what a PTO that fired may still send beyond the window */
    uint64_t pto_count, lost_packets, in_flight_bytes, sent_bytes, recv_bytes, key_updates;
};

struct check {
    struct check_address address[CHECK_ADDRESSES];
    struct check_conn conn[CHECK_CONNS];
    unsigned addresses, conns;
    uint64_t highest_ratio_permille; /* of the 3x limit, over all addresses */
};

/* A datagram is about to be given to host. */
void check_delivered(struct sim_host *host, const struct sim_flight *flight);
/* Host built a train. */
void check_sent(struct sim_host *host, const struct aq_train *train);
/* Host's endpoint told an event; before the application sees it. */
void check_event(struct sim_host *host, const struct aq_event *event);
/* The application began a connection. */
void check_connected(struct sim_host *host, aq_conn conn);
/* Around aq_send, and at the end of a turn. */
void check_before_send(struct sim_host *host);
void check_after_send(struct sim_host *host);
/* Nothing is left on host: no connection, no stream, no borrowed memory; every connection told its end. */
void check_empty(struct sim_host *host);
/* Host forgot everything (a reboot). */
void check_forget(struct sim_host *host);

#endif
