/* endpoint.h -- all connections of one thread: memory, routing by connection id, statelessness,
 * lists. */
#ifndef AQ_ENDPOINT_H
#define AQ_ENDPOINT_H

#include "core/conn.h"
#include "core/heap.h"
#include "core/natframes.h"
#include "core/packet.h"
#include "core/source.h"
#include "core/strike.h"
#include "core/token.h"

enum {
    RECV_BUFFER_SIZE = 65536,
    TRAIN_SIZE = 65536,
    TRAIN_MAX = 65507, /* what one send call takes over IPv4 */
    TRAIN_HEAD = 16,   /* before the first packet: room for a channel's prefix */
    REPLIES_MAX = 64,
    REPLY_SIZE = 640,
    RECV_RUN = 64
};

/* A stateless answer waiting to be sent: Retry, Version Negotiation, stateless reset, refusal. */
struct reply {
    struct aq_train train;
    uint8_t prefix[AQ_CHANNEL_PREFIX]; /* of a relayed one: right before data */
    uint8_t data[REPLY_SIZE];
};

struct endpoint {
    struct aq_config config;
    struct rng rng;
    struct trace trace;
    struct tracer tracer;
    struct cid_key cid_key;
    struct token_key token_key;
    struct strike strike; /* 0-RTT that was accepted */
    uint8_t early_nonce[16];
    struct protect protect; /* contexts of 1-RTT keys in use */
    uint64_t siphash_key[2];
    uint64_t coins; /* chance for endpoint_grease_bit: the highest bit ends them */
    uint16_t cid_epoch;
    uint64_t began_us, now_us;

    struct pool conns;  /* struct conn */
    struct pool hands;  /* struct hand */
    struct pool paths;  /* struct path, beside each connection's first */
    struct pool nats;   /* struct nat, of those that negotiated an extension of it */
    struct map odcids;  /* SipHash of a client's first id -> slot */
    struct map resets;  /* SipHash of a peer's stateless reset token -> slot */
    struct heap timers; /* slot -> earliest deadline */
    struct arena arena;
    struct stream_table streams;
    uint32_t half_open, half_open_high;
    struct sources sources;                      /* of handshakes that are open */
    uint32_t head[CONN_LISTS], tail[CONN_LISTS]; /* of connections; POOL_NONE: empty */
    uint32_t settle_head;                        /* streams with pieces in lent buffers */
    uint32_t ended;                              /* slot to release at the next call, POOL_NONE */
    uint32_t stream_ended; /* the same for a stream whose STREAM_CLOSED was told */

    uint8_t *recv_memory, *train_memory;
    struct reply *replies;
    uint32_t reply_first, reply_count, replies_out;
    uint64_t reset_tokens_us; /* token bucket of stateless resets: time until which it is spent */
    struct {
        struct aq_addr remote;
        const char *text;
    } unreachable; /* the newest soft error */
    struct aq_endpoint_stats stats;
};

static inline struct conn *conn_at(const struct endpoint *ep, uint32_t slot)
{
    return pool_at(&ep->conns, slot);
}
/* By its handle; NULL: it is gone. */
static inline struct conn *endpoint_find_conn(struct endpoint *ep, aq_conn handle)
{
    uint32_t slot = pool_find(&ep->conns, handle);
    if (slot == POOL_NONE)
        return NULL;
    struct conn *c = conn_at(ep, slot);
    return c->told_closed && ep->ended != slot ? NULL : c;
}
/* RFC 9287 §3.1: by chance the fixed bit or 0, to be turned over in a packet's first byte. */
static inline uint8_t endpoint_grease_bit(struct endpoint *ep)
{
    if (ep->coins <= 1)
        ep->coins = rng_u64(&ep->rng) | UINT64_C(1) << 63;
    bool heads = ep->coins & 1;
    ep->coins >>= 1;
    return heads ? PACKET_FIXED_BIT : 0;
}
/* The packet at data: the fixed bit counts where we have not offered to take any (RFC 9287 §3). */
static inline int endpoint_parse(const struct endpoint *ep, const uint8_t *data, size_t size,
                                 struct packet_head *head)
{
    return ep->config.no_grease_bit ? packet_parse(data, size, ep->cid_key.size, head)
                                    : packet_parse_greased(data, size, ep->cid_key.size, head);
}
static inline uint64_t endpoint_unix_s(const struct endpoint *ep, uint64_t now)
{
    return (ep->config.unix_us + (now > ep->began_us ? now - ep->began_us : 0)) / 1000000;
}

/* accept.c: what a datagram without a connection causes. */
void accept_datagram(struct endpoint *ep, const struct aq_datagram *d, uint8_t *data, uint32_t size,
                     uint64_t now);
/* endpoint.c */
void endpoint_list_push(struct endpoint *ep, enum conn_list list, struct conn *c); /* at the tail */
void endpoint_list_remove(struct endpoint *ep, enum conn_list list, struct conn *c);
/* The connection that a datagram is for; NULL: none. */
struct conn *endpoint_route(struct endpoint *ep, const uint8_t *data, uint32_t size);
uint32_t endpoint_new_conn(struct endpoint *ep, uint64_t now); /* POOL_NONE: full */
void endpoint_free_conn(struct endpoint *ep, struct conn *c);
uint64_t endpoint_hash_cid(const struct endpoint *ep, const uint8_t *bytes, size_t size);
void endpoint_cid(const struct endpoint *ep, const struct conn *c, uint16_t seq, struct cid *cid);
/* event.c: connections and streams whose last event was told end when the host comes back. */
void endpoint_release_ended(struct endpoint *ep, uint64_t now);
/* endpoint.c */
void endpoint_settle(struct endpoint *ep, uint64_t now);
void endpoint_settle_later(struct endpoint *ep, uint32_t slot);
void endpoint_settled(struct endpoint *ep, uint32_t slot);

#endif
