/* antq_node.h -- Layer C: a peer. It has an identity, is registered with bootstrap nodes, and is
 * connected to other peers by their PeerIds, whatever stands between.
 *
 * A node owns a loop (antq_reactor.h) and belongs to its thread. Connections to peers are ordinary
 * ones: streams, datagrams and statistics work on their aq_conn as in antq.h. All pointers in
 * events are valid during the call. Callbacks may call everything here and in antq.h, but not
 * aq_node_free, aq_loop_run, _step and _free; on_event is called in aq_node_new already.
 *
 * What is begun between the loop's turns (also by aq_node_new) goes out in the next one: under
 * aq_loop_run by itself; who nests the loop (aq_loop_fd) calls aq_loop_step after it.
 *
 *     aq_node_new -> aq_node_connect(peer_id) -> aq_loop_run(aq_node_loop(node)) -> aq_node_free
 *     on_event: registered, each step, connected (or failed, with the reason and what to try)
 *     on_conn:  the connections' own events (AQ_EVENT_OPENED, _READABLE ...)
 *
 * Between two peers there is one connection, whoever opened it. */
#ifndef AQ_ANTQ_NODE_H
#define AQ_ANTQ_NODE_H

#include "antq_reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

struct aq_node;
struct aq_node_event;

enum {
    AQ_NODE_BOOTSTRAPS = 16 /* at most */
};

enum aq_node_policy { /* who may connect to us */
    AQ_NODE_ANY,
    AQ_NODE_ALLOW, /* those on the list */
    AQ_NODE_ASK    /* config.ask decides */
};

struct aq_node_config {
    size_t size; /* set by aq_node_config_init */
    /* Limits, sockets, signals. on_event, user, on_datagrams, on_channel, on_hosts and endpoint.tls
     * are the node's; on_trace is called with this config's user. endpoint.secret, if all zero, is
     * drawn from the key and `listen` where that names a port: started again after it was killed,
     * the node then ends the connections that it had as soon as somebody sends on them. */
    struct aq_loop_config loop;
    /* Whose we are (aq_key_make: Ed25519 or P-256); of one node at a time. Copied. */
    struct aq_pem key;
    /* `[PEERID@]HOST:PORT` each; without a PeerId whoever answers at first is believed
     * (AQ_NODE_BOOTSTRAP tells who, to be remembered). Copied. 0: only addresses can be dialled.
     * Of several names of one node, one registers and the others stand by ("same_node"). */
    const char *const *bootstrap;
    unsigned bootstrap_count;
    const struct aq_addr *listen; /* copied; none: any port on IPv4 and, where there is one, IPv6 */
    unsigned listen_count;
    enum aq_node_policy policy;
    const uint8_t (*allow)[32]; /* AQ_NODE_ALLOW: PeerIds; must outlive the node */
    unsigned allow_count;
    /* AQ_NODE_ASK: may this peer connect to us? To be answered at once. Asked several times for one
     * connection: when a bootstrap node announces it, and when it has proved to be it. */
    bool (*ask)(void *user, struct aq_node *node, const uint8_t peer_id[32]);
    void (*on_event)(void *user, struct aq_node *node, const struct aq_node_event *event);
    /* Events of connections between AQ_NODE_CONNECTED and AQ_NODE_CLOSED, as antq.h has them. */
    void (*on_conn)(void *user, struct aq_node *node, const struct aq_event *event);
    void (*keylog)(void *user, const char *line); /* as aq_tls_config.keylog; NULL: none */
    void *user;
    unsigned max_peers; /* connected or being connected [128] */
};
AQ_API void aq_node_config_init(struct aq_node_config *config);

/* Opens its sockets and begins to register with all bootstrap nodes at once. NULL on failure (a
 * name, a key or an address that cannot be used), with a sentence in error: at most error_size
 * bytes, always a string; 256 suffice. NULL and 0: it is not wanted. */
AQ_API struct aq_node *aq_node_new(const struct aq_node_config *config, char *error,
                                   size_t error_size);
/* Frees everything, the loop too; handles of its connections end. NULL: nothing. aq_node_stop and
 * run first, or peers learn it by a timeout. */
AQ_API void aq_node_free(struct aq_node *node);
AQ_API struct aq_loop *aq_node_loop(struct aq_node *node);
AQ_API const uint8_t *aq_node_id(const struct aq_node *node); /* 32 bytes */
/* What was bound, with ports: at most max of them. Returns how many there are in all. */
AQ_API unsigned aq_node_listening(const struct aq_node *node, struct aq_addr *addrs, unsigned max);
/* Graceful end: says goodbye to peers, a moment later to bootstrap nodes; aq_loop_run returns,
 * or aq_loop_step 1. Nothing new is begun any more. */
AQ_API void aq_node_stop(struct aq_node *node);

enum {
    AQ_NODE_KEEP = 1 /* whenever it is lost, connect again, after 1 s, doubling to 60 s */
};
/* Connects to a peer by its PeerId, once we are registered. Events tell the rest: exactly one
 * AQ_NODE_CONNECTED or AQ_NODE_FAILED, then again after each AQ_NODE_CLOSED with AQ_NODE_KEEP.
 * AQ_OK, also if it is connected already (AQ_NODE_CONNECTED comes all the same). AQ_MISUSE:
 * ourselves, or no bootstrap nodes; AQ_FULL: max_peers. */
AQ_API int aq_node_connect(struct aq_node *node, const uint8_t peer_id[32], unsigned flags);
/* Connects to an address, as one does to a peer that is not behind a NAT. peer_id NULL: whoever is
 * there. AQ_MISUSE with a sentence in error; AQ_FULL. */
AQ_API int aq_node_connect_address(struct aq_node *node, const struct aq_addr *addr,
                                   const uint8_t *peer_id, char *error, size_t error_size);
/* Closes the connection to a peer, with a code of the application's and a reason that is
 * copied, or gives up connecting, of which no event tells; it is not connected again. AQ_OK;
 * AQ_GONE: nothing is known of that peer. */
AQ_API int aq_node_disconnect(struct aq_node *node, const uint8_t peer_id[32], uint64_t code,
                              const char *reason);

enum aq_node_result { /* of the registration with n bootstrap nodes */
    AQ_NODE_UNKNOWN,
    AQ_NODE_NONE,
    AQ_NODE_PARTIAL,  /* at least one */
    AQ_NODE_MAJORITY, /* at least (n + 1) / 2 */
    AQ_NODE_FULL
};
AQ_API const char *aq_node_result_name(enum aq_node_result result);

enum aq_node_step {            /* of connecting to a peer */
    AQ_NODE_STEP_REGISTERING,  /* waits until a bootstrap node has us */
    AQ_NODE_STEP_COORDINATING, /* a bootstrap node is asked to bring us together */
    AQ_NODE_STEP_HANDSHAKE,    /* it does: the handshake runs through its relay, or to an address */
    AQ_NODE_STEP_WAITING,      /* until it is tried again */
    AQ_NODE_STEP_PUNCHING,     /* beside all that: a direct path is searched for */
};
AQ_API const char *aq_node_step_name(enum aq_node_step step);

enum aq_node_event_kind {
    AQ_NODE_BOOTSTRAP,  /* `index` has us, or has us no more: registered, reason, observed */
    AQ_NODE_REGISTERED, /* result: known, or changed */
    AQ_NODE_STEP,       /* peer_id, step */
    AQ_NODE_CONNECTED,  /* peer_id, conn, relayed, incoming: streams work from now on */
    AQ_NODE_PATH,       /* peer_id, conn, relayed: the connection goes another way */
    AQ_NODE_FAILED,     /* peer_id, step, reason, hint, retry_us */
    AQ_NODE_CLOSED,     /* peer_id, conn, reason, retry_us; aq_conn_close_info works */
    AQ_NODE_REFUSED,    /* peer_id: it wanted to connect, and the policy said no */
    AQ_NODE_PROBE,      /* probe, reason: what `index` says of it; NULL: it came, from `observed` */
};

struct aq_node_event {
    enum aq_node_event_kind kind;
    const uint8_t *peer_id; /* NULL: not known */
    aq_conn conn;
    enum aq_node_step step;
    enum aq_node_result result;
    bool relayed, incoming, registered;
    bool first_use;     /* AQ_NODE_BOOTSTRAP: it has no PeerId in its name: remember this one */
    unsigned index;     /* of the bootstrap node */
    const char *reason; /* why, a few words: for people, and a line of a log; NULL: nothing */
    const char *hint;   /* what to try next, a sentence; NULL: nothing */
    uint64_t retry_us;  /* tried again after so long, microseconds; 0: not */
    struct aq_addr observed; /* AQ_NODE_BOOTSTRAP: our address as it sees it; family 0: unknown */
    const uint8_t *probe;    /* AQ_NODE_PROBE: its 16 bytes */
    uint64_t wait_us;        /* AQ_NODE_FAILED: rate_limited: there is no use before; 0: unknown */
    uint64_t reserved[2];
};

struct aq_node_bootstrap {
    size_t size;    /* set by the caller: sizeof; what it has room for is filled in */
    char name[384]; /* as given */
    bool pinned, registered;
    uint8_t peer_id[32]; /* all zero: never reached */
    const char *reason;  /* static: of the last try */
    struct aq_addr remote, observed;
    uint64_t rtt_us;   /* smoothed */
    uint64_t lease_us; /* left; 0: not registered */
    uint16_t mtu;      /* the largest datagram that it has acknowledged, 0 unknown */
    aq_conn conn;      /* to it, for statistics; 0: none */
};
/* AQ_OK, AQ_MISUSE: no such index. */
AQ_API int aq_node_bootstrap(struct aq_node *node, unsigned index, struct aq_node_bootstrap *info);

/* Asks a bootstrap node for one datagram, to see what is let in to us: to our address as it sees
 * it, or, where `to` is not NULL, to that, of the same IP address (another socket's); from where we
 * know it, or from another port. Two AQ_NODE_PROBE events: `accepted` when it was sent, or why not;
 * and if it comes, at the node that it comes to. `probe` gets the 16 bytes it is known by. AQ_OK;
 * AQ_MISUSE: no such index; AQ_BLOCKED: not registered there. */
AQ_API int aq_node_probe(struct aq_node *node, unsigned index, const struct aq_addr *to,
                         bool other_port, uint8_t probe[16]);

struct aq_node_status {
    size_t size; /* set by the caller: sizeof */
    enum aq_status status;
    enum aq_congested congested; /* why AQ_STATUS_CONGESTED */
    enum aq_node_step step;      /* while it has no connection */
    bool relayed, incoming;
    aq_conn conn;                 /* 0: none */
    struct aq_addr local, remote; /* of a relayed one: the bootstrap node's */
    uint64_t rtt_us;              /* smoothed */
    uint16_t mtu;                 /* UDP payload, bytes */
};
/* Computed now. AQ_OK; AQ_GONE: nothing is known of that peer. */
AQ_API int aq_node_status(struct aq_node *node, const uint8_t peer_id[32],
                          struct aq_node_status *status);

struct aq_node_stats {
    size_t size; /* set by the caller: sizeof. Counts since aq_node_new, unless it says now */
    unsigned bootstraps, registered;
    unsigned peers, connected, connecting;      /* now */
    uint64_t attempts, relayed, direct, failed; /* of connecting to a PeerId or an address */
    uint64_t incoming, refused, duplicates, closed, reconnects;
    uint64_t relay_in_packets, relay_in_bytes, relay_out_packets, relay_out_bytes;
    uint64_t drop_channel, drop_foreign; /* datagrams of no channel of ours; of no kind */
    uint64_t moved_direct,
        moved_relayed; /* connections, from the relay to a direct path, and back */
    uint64_t punch_in, punch_out, drop_punch; /* punch datagrams; of no search, or wrong */
};
AQ_API void aq_node_stats(struct aq_node *node, struct aq_node_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
