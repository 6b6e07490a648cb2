/* antq_bootstrap.h -- Layer C: a bootstrap node, where peers register and find each other.
 *
 * It owns a loop (antq_reactor.h) with a UDP port for each address, of either family, that it
 * listens on. Peers connect to it, both sides known by their keys, register for a lease, ask for
 * each other, and where the direct way is not open (yet) have their packets relayed through the
 * same port. It never sees their keys. nat/PROTOCOL.md says what goes over the wire. All memory is
 * taken in aq_bootstrap_new (TLS handshakes excepted). */
#ifndef AQ_ANTQ_BOOTSTRAP_H
#define AQ_ANTQ_BOOTSTRAP_H

#include "antq.h"
#include "antq_reactor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    AQ_BOOTSTRAP_NODES = 4,
    AQ_BOOTSTRAP_LISTEN = 8,
    AQ_BOOTSTRAP_PORT = 4433,
    AQ_BOOTSTRAP_REASONS = 16, /* of PROTOCOL §3, from 0 accepted to 15 no_relay */
};

struct aq_bootstrap;

/* What an operator may want to see as it happens. */
enum aq_bootstrap_event_kind {
    AQ_BOOTSTRAP_REGISTERED, /* a newcomer; renewals are silent */
    AQ_BOOTSTRAP_REFUSED,    /* somebody who would register; `reason` */
    AQ_BOOTSTRAP_GONE,       /* a registered peer has left, or its connection has */
};
struct aq_bootstrap_event {
    enum aq_bootstrap_event_kind kind;
    uint8_t peer[32];
    struct aq_addr observed;
    unsigned reason; /* aq_bootstrap_reason has its name */
};

struct aq_bootstrap_config {
    size_t size; /* set by aq_bootstrap_config_init */
    /* Up to the first without a family; port 0: any. None: every address of this machine, of IPv4
     * and, where there is one, IPv6, at AQ_BOOTSTRAP_PORT. */
    struct aq_addr listen[AQ_BOOTSTRAP_LISTEN];
    struct aq_pem key;  /* the node's private key; the PeerId by which peers know it is its */
    uint32_t max_peers; /* registered at once, 1 to 1,000,000 [20000] */
    uint64_t relay_bytes_per_s; /* of a pair, both directions together; 0: no relay [1,250,000] */
    uint32_t max_pairs;         /* relayed at once [4096] */
    uint8_t pow_bits;           /* work asked of every newcomer, at most 40 [0] */
    uint8_t pow_load_bits;      /* and of newcomers under load [18] */
    /* How often newcomers from one address (IPv4, IPv6 /64) may register, a second and at once. */
    uint32_t address_per_s, address_burst; /* [100, 512] */
    /* PeerIds that may register; allow_count 0 with allow not NULL: nobody. Copied. NULL: all. */
    const uint8_t (*allow)[32];
    size_t allow_count;
    const char *nodes[AQ_BOOTSTRAP_NODES]; /* others, `[PEERID@]HOST:PORT`, told to peers; copied */
    const uint8_t *state;                  /* from aq_bootstrap_save; NULL: none */
    size_t state_size;
    void (*on_event)(void *user, const struct aq_bootstrap_event *event); /* NULL: none */
    void (*on_warning)(void *user, const char *text);                     /* as aq_loop_config's */
    void *user;
    bool no_gso, no_gro;
};
AQ_API void aq_bootstrap_config_init(struct aq_bootstrap_config *config);

/* Everything in config is copied, but user. NULL, with a sentence in error: the port is taken, the
 * key is no key, the state is damaged, a limit is out of bounds... */
AQ_API struct aq_bootstrap *aq_bootstrap_new(const struct aq_bootstrap_config *config, char *error,
                                             size_t error_size);
AQ_API void aq_bootstrap_free(struct aq_bootstrap *bootstrap);

/* Its loop: for aq_loop_run, or to nest it (aq_loop_fd). */
AQ_API struct aq_loop *aq_bootstrap_loop(struct aq_bootstrap *bootstrap);
/* Its first address with the port, and its PeerId. */
AQ_API void aq_bootstrap_self(const struct aq_bootstrap *bootstrap, struct aq_addr *listening,
                              uint8_t peer_id[32]);
/* All of its addresses, at most max. Returns how many there are. */
AQ_API unsigned aq_bootstrap_listening(const struct aq_bootstrap *bootstrap, struct aq_addr *addrs,
                                       unsigned max);
/* Tells all peers that it is shutting down, and a quarter of a second later ends the loop. In
 * callbacks of the loop, or between its steps (then aq_loop_step sends what it says). */
AQ_API void aq_bootstrap_stop(struct aq_bootstrap *bootstrap);

/* What must survive a restart: whose generation is how high, and the secret by which peers of a
 * node that died are told so at once (stateless reset). It is secret. At most size bytes; returns
 * how many, 0: not enough room (aq_bootstrap_save_size). */
AQ_API size_t aq_bootstrap_save_size(const struct aq_bootstrap *bootstrap);
AQ_API size_t aq_bootstrap_save(const struct aq_bootstrap *bootstrap, uint8_t *out, size_t size);

struct aq_bootstrap_relayed {
    uint64_t packets, bytes;
};
struct aq_bootstrap_stats {
    size_t size;
    uint32_t connections, peers, pairs;         /* now; peers: registered */
    uint64_t registered[AQ_BOOTSTRAP_REASONS];  /* answers to REGISTER, by reason */
    uint64_t coordinated[AQ_BOOTSTRAP_REASONS]; /* CONNECT and PUNCH, by what came of them */
    uint64_t messages_in, messages_out, unread; /* unread: not taken by a peer that reads nothing */
    /* Relayed datagrams, headers included: in is the sum of all others. */
    struct aq_bootstrap_relayed in, out;
    struct aq_bootstrap_relayed no_channel, wrong_address, no_address, unproven, over_rate;
    struct aq_bootstrap_relayed not_sent; /* the socket was full, or the kernel refused */
    struct aq_bootstrap_relayed junk;     /* neither QUIC nor relayed */
    uint64_t peer_bytes;                  /* memory of a registered peer besides its connection */
    uint64_t probes;                      /* datagrams sent to peers that asked for one */
};
AQ_API void aq_bootstrap_stats(const struct aq_bootstrap *bootstrap,
                               struct aq_bootstrap_stats *stats);

/* "accepted", "rate_limited"...; static. */
AQ_API const char *aq_bootstrap_reason(unsigned reason);

#ifdef __cplusplus
}
#endif
#endif
