/* bootstrap.h -- the inside of struct aq_bootstrap, shared by its own files.
 *
 *   bootstrap.c         life: limits, memory, the key, the state
 *   bootstrap_talk.c    connections and what is said on them: the registry's host
 *   bootstrap_relay.c   relayed datagrams: the relay's host
 *
 * All memory but the loop's is one mapping, cut in bootstrap.c. */
#ifndef AQ_NODE_BOOTSTRAP_H
#define AQ_NODE_BOOTSTRAP_H

#include "nat/node/antq_bootstrap.h"
#include "nat/registry.h"

enum {
    BOOTSTRAP_RUNS = 64, /* relayed trains in one system call */
    BOOTSTRAP_SECRET = 32,
    BOOTSTRAP_NODE_TEXT = 384, /* more than NODE_TEXT */
};

/* A connection that has not registered for so long is of no use. */
#define BOOTSTRAP_IDLE_US  10000000
#define BOOTSTRAP_CHECK_US 60000000 /* how often a registered one is looked at */
#define BOOTSTRAP_WAKE_US  5000
/* Of what is said to a peer so much may be on its way; of what others ask it less, so that they
 * cannot keep it from its own answers. */
#define BOOTSTRAP_SEND     65536
#define BOOTSTRAP_SEND_ASK (BOOTSTRAP_SEND / 4 * 3)
#define BOOTSTRAP_BYE_US   250000 /* for the last words to go out */

/* A connection; what it has registered is the registry's. */
struct boot_conn {
    aq_conn conn; /* 0: free. Also the registry's name of it. */
    aq_stream stream;
    uint64_t said;            /* bytes, on the stream */
    struct aq_path_addr path; /* where the peer is, and where it reaches us */
    struct peer_id peer;
    bool known; /* the handshake is done: peer is valid */
};

struct aq_bootstrap {
    struct aq_bootstrap_config config;
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    struct aq_tls *tls;
    void *memory;
    size_t memory_size;
    struct registry registry;
    struct relay relay;
    struct rng rng;
    struct pool conns;
    struct heap idle; /* of conns: when to look whether they have registered */
    struct peer_set allow;
    char nodes[AQ_BOOTSTRAP_NODES][BOOTSTRAP_NODE_TEXT];
    uint8_t secret[BOOTSTRAP_SECRET];
    struct aq_addr listening[AQ_BOOTSTRAP_LISTEN];
    unsigned listen_count;
    uint16_t listen_socket[AQ_BOOTSTRAP_LISTEN]; /* and what the loop calls them */
    uint16_t probe_socket[AQ_BOOTSTRAP_LISTEN];  /* the same address each, another port */
    struct peer_id self;
    uint64_t armed_us; /* the loop's timer */
    uint32_t waking;   /* of those that the state names, the next to be told that we are back */
    bool stopping;
    struct aq_bootstrap_stats stats; /* counted as it goes; the rest is filled in when asked */
    struct aq_train trains[BOOTSTRAP_RUNS];
    unsigned train_count;
    struct registry_out out[REGISTRY_OUT];
    uint8_t message[MESSAGE_MAX];
};

/* ---- bootstrap_talk.c ------------------------------------------------------------------------ */
void bootstrap_event(void *user, struct aq_loop *loop, const struct aq_event *event);
/* Sets the loop's timer to what is due next. */
void bootstrap_arm(struct aq_bootstrap *b);
void bootstrap_timer(void *user);
/* After a restart: a datagram to each that was registered, a few at a time. */
void bootstrap_wake(void *user);
/* REGISTERED, shutting down: to every peer. */
void bootstrap_farewell(struct aq_bootstrap *b);

/* ---- bootstrap_relay.c ----------------------------------------------------------------------- */
/* One datagram that a peer asked for. */
void bootstrap_probe(struct aq_bootstrap *b, const struct boot_conn *c,
                     const struct registry_out *out);
void bootstrap_datagrams(void *user, struct aq_loop *loop, const struct aq_datagram *datagrams,
                         unsigned n);

#endif
