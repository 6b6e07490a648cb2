/* flows.h -- long transfers over one simulated bottleneck: who gets how much, and how long the queue is.
 *
 * One client host opens a connection for each flow to one server host, so that all share the link. Each
 * sends without end on one stream. Called by tests/cc_flows.c, tests/mtu.c, bench/cc.c. */
#ifndef AQ_SIM_FLOWS_H
#define AQ_SIM_FLOWS_H

#include "tests/sim/sim.h"

enum { FLOWS_MAX = 4 };

struct flows {
    uint64_t seed;
    struct sim_link link[2]; /* client to server, server to client */
    unsigned count;
    const char *cc[FLOWS_MAX];
    uint64_t begin_us[FLOWS_MAX];  /* flow i starts so much later */
    uint64_t measure_us, total_us; /* what arrives between these two times counts */
    uint64_t pause_us;             /* the application writes only every so often, pause_bytes; 0: always */
    uint64_t pause_bytes;
    uint16_t max_udp_payload; /* 0: the default */
    uint64_t mtu_raise_us;    /* 0: the default */
    void (*change)(struct sim *sim, uint64_t elapsed_us); /* may change the link, every 100 ms; NULL */
    /* told of each open flow, every 10 ms: how it stands, bytes that arrived so far; NULL */
    void (*sample)(void *user, unsigned flow, uint64_t elapsed_us, const struct aq_conn_stats *stats,
                   uint64_t arrived);
    void *user;
};

struct flow_result {
    uint64_t bytes;      /* arrived, in order and acknowledged, while measured */
    uint64_t rtt_us;     /* mean of the smoothed ones, sampled every 10 ms while measured */
    uint64_t rtt_max_us; /* of them */
    struct aq_conn_stats stats;
};

struct flows_outcome {
    bool ok;
    char why[640];
    struct flow_result flow[FLOWS_MAX];
    uint64_t bytes;
    double utilisation; /* of link[0].rate_bytes, 0 without one; payload of streams only */
    double fairness;    /* Jain's index of the flows' bytes */
    uint64_t datagrams_dropped; /* by the links */
};

void flows_run(const struct flows *flows, struct flows_outcome *outcome);

#endif
