/* registry.h -- a bootstrap node: who is registered, and bringing two of them together (PROTOCOL
 * §3, §4).
 *
 * A machine like the core: messages, closed connections and the time go in; messages come out, and
 * one deadline. It neither knows streams nor sockets: the host gives it whole messages, each with
 * the PeerId that TLS has verified and the address that the connection has now, and sends what it
 * says on the registration stream of the connection named.
 *
 *     host: message -> registry_recv   ->  at most two messages to send
 *           closed  -> registry_closed
 *           time    -> registry_tick   ->  at most two messages to send, again until 0
 *
 * Memory is the sum of the config's limits, taken once; a registered peer costs under 340 bytes
 * besides its connection. Every lookup is O(1), every timer O(log n). */
#ifndef AQ_NAT_REGISTRY_H
#define AQ_NAT_REGISTRY_H

#include "nat/limit.h"
#include "nat/message.h"
#include "nat/pow.h"
#include "nat/relay.h"

enum {
    REGISTRY_OUT = 2 /* messages that one call may want sent */
};

struct registry_config {
    uint32_t max_peers;                /* registered at once [20000] */
    uint32_t max_requests;             /* coordinations in progress [4096] */
    uint32_t lease_min_s, lease_max_s; /* [30, 120] */
    uint64_t punch_us;                 /* a target may take so long to consent [2 s] */
    uint64_t connect_us; /* a target may refuse a relayed connection for so long [10 s] */
    uint32_t buckets;    /* of addresses and peers that are rate limited [65536] */
    struct limit_rate address_rate;   /* REGISTER by newcomers, per address [100/s, 512 at once] */
    struct limit_rate peer_rate;      /* REGISTER per PeerId [1 in 5 s, 8 at once] */
    struct limit_rate initiator_rate; /* CONNECT and PUNCH, per initiator [10/s, 64 at once] */
    struct limit_rate target_rate;    /* and per target [20/s, 128 at once] */
    struct limit_rate probe_rate;     /* PROBE, per address probed [1 a minute, 12 at once] */
    struct limit_rate
        load_rate;         /* newcomers in all, beyond which we are under load [500/s, 2000] */
    uint8_t pow_bits;      /* asked of newcomers always [0] */
    uint8_t pow_load_bits; /* and under load [18] */
    /* The caller's, and may change between calls. NULL: everybody, nobody, no relay, none. */
    const struct peer_set *allow, *banned;
    struct relay *relay;
    const char *nodes[MESSAGE_NODES]; /* other bootstrap nodes, `[PEERID@]HOST:PORT` */
};

struct registry_peer {
    struct peer_id id;
    struct aq_path_addr path; /* remote: as observed; and where it reaches us */
    uint64_t conn; /* the host's name of its connection, 0: gone; only the generation is kept */
    uint64_t generation;
    uint64_t lease_end_us;
    uint64_t rtt_us;
    uint64_t initiated_full_us, asked_full_us; /* token buckets */
    uint32_t capabilities;
    uint32_t pairs;        /* relayed pairs it is an end of */
    uint32_t newer, older; /* while gone: in the order of going */
};

struct registry_request {
    uint8_t id[REQUEST_ID_SIZE];
    uint64_t initiator, target; /* handles of peers */
    uint64_t pair;              /* handle, 0 none */
    uint16_t type;              /* MESSAGE_CONNECT or MESSAGE_PUNCH */
};

struct registry_in {
    uint64_t conn;            /* > 0, not used again for another connection */
    struct peer_id peer;      /* of the TLS certificate */
    struct aq_path_addr path; /* the connection's active, validated one */
    uint64_t rtt_us;
    const uint8_t *data; /* one whole message (message_size) */
    size_t size;
};

struct registry_out {
    uint64_t conn;
    struct aq_addr
        to;         /* family not 0: no message, but a datagram beside that connection, to here */
    uint8_t source; /* enum probe_source: and from there */
    size_t size;
    uint8_t data[MESSAGE_MAX];
};

struct registry {
    struct registry_config config;
    struct pool peers, requests;
    struct map by_id, by_conn, by_request;
    struct heap leases, timeouts;
    struct limiter limiter;
    struct rng *rng;
    uint64_t key[2]; /* SipHash of what strangers choose */
    uint8_t pow_secret[32];
    uint64_t load_full_us;
    uint32_t oldest_gone, newest_gone;
    uint32_t online;
    bool shutting_down;
    /* Answers by reason, REGISTER's, and those of CONNECT and PUNCH; PUNCH and CONNECT that went.
     */
    uint64_t registered[NAT_REASONS], coordinated[NAT_REASONS];
    uint64_t probes; /* datagrams that were asked for, and sent */
};

void registry_config_init(struct registry_config *config);
size_t registry_size(const struct registry_config *config);
/* mem: zeroed, 64-byte aligned. rng and what config points at must outlive it. */
void registry_init(struct registry *r, void *mem, const struct registry_config *config,
                   struct rng *rng);

/* Returns how many messages are to be sent. Whatever is in the message, nothing worse comes of it
 * than an answer with a reason. */
unsigned registry_recv(struct registry *r, const struct registry_in *in,
                       struct registry_out out[REGISTRY_OUT], uint64_t now);
/* The connection has ended, or its registration stream has. */
void registry_closed(struct registry *r, uint64_t conn);
/* Does one thing that is due, if it has something to say; 0: nothing more is due. */
unsigned registry_tick(struct registry *r, struct registry_out out[REGISTRY_OUT], uint64_t now);
uint64_t registry_deadline(const struct registry *r);

/* The peer that is registered and there, or NULL. */
const struct registry_peer *registry_find(const struct registry *r, const struct peer_id *id,
                                          uint64_t now);

/* ---- state (nat/registry_state.c) -------------------------------------------------------------
 */

/* What must survive a restart: whose generation is how high, until its lease ends. Peers register
 * again by themselves. Bytes that registry_save writes at most. */
size_t registry_save_size(const struct registry *r);
size_t registry_save(const struct registry *r, uint8_t *out, size_t size, uint64_t now);
/* Into a fresh registry. False: damaged, of another version, or too many for it; nothing was taken.
 */
bool registry_restore(struct registry *r, const uint8_t *data, size_t size, uint64_t now);

/* ---- between registry.c, coordinate.c and registry_state.c -------------------------------------
 */

static inline struct registry_peer *registry_peer(const struct registry *r, uint32_t slot)
{
    return pool_at(&r->peers, slot);
}
/* Slots, POOL_NONE if there is none. */
uint32_t registry_slot_by_id(const struct registry *r, const struct peer_id *id);
uint32_t registry_slot_by_conn(const struct registry *r, uint64_t conn);
/* A new record, of a peer that is gone as long as it has no connection; POOL_NONE: full. */
uint32_t registry_add(struct registry *r, const struct peer_id *id, uint64_t lease_end_us);
/* Encodes into *out; returns 1. */
unsigned registry_say(struct registry_out *out, uint64_t conn, const struct message *m);
/* probe.c: PROBE. */
unsigned probe_recv(struct registry *r, const struct registry_in *in, const struct message *m,
                    struct registry_out out[REGISTRY_OUT], uint64_t now);
/* coordinate.c: CONNECT and PUNCH. */
unsigned coordinate_recv(struct registry *r, const struct registry_in *in, const struct message *m,
                         struct registry_out out[REGISTRY_OUT], uint64_t now);
unsigned coordinate_malformed(struct registry *r, uint64_t conn, const struct message *m,
                              struct registry_out *out);
/* STEP_REFUSED, with its reason; wait_us 0: no retry_after. */
unsigned coordinate_refuse(struct registry *r, uint64_t conn, const struct message *m,
                           enum nat_reason reason, uint64_t wait_us, struct registry_out *out);
unsigned coordinate_timeout(struct registry *r, uint32_t request, struct registry_out *out);
void coordinate_pair_ended(struct registry *r, uint32_t pair);

#endif
