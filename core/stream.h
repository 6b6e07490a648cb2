/* stream.h -- one stream: the sending and receiving state machines of RFC 9000 §3 over its two
 * queues.
 *
 * Knows no connection: it gets its quota, the connection's flow struct, and says what happened by
 * event bits and by what it is due to send. streams.h holds a connection's set of them. */
#ifndef AQ_STREAM_H
#define AQ_STREAM_H

#include "core/flow.h"
#include "core/recvq.h"
#include "core/sendq.h"

enum stream_tx {
    TX_NONE,
    TX_READY,
    TX_SEND,
    TX_DATA_SENT,
    TX_DATA_RECVD,
    TX_RESET_SENT,
    TX_RESET_RECVD
};
enum stream_rx {
    RX_NONE,
    RX_RECV,
    RX_SIZE_KNOWN,
    RX_DATA_RECVD,
    RX_DATA_READ,
    RX_RESET_RECVD,
    RX_RESET_READ
};

/* Control frames a stream owes. */
enum {
    DUE_RESET = 1,
    DUE_STOP = 2,
    DUE_MAX_DATA = 4,
    DUE_BLOCKED = 8
};

struct stream {
    uint64_t id;
    void *user;
    uint32_t conn;    /* slot of its connection */
    uint32_t records; /* records of packets in flight that name this slot: it is not reused before
                         they are gone */
    uint32_t ready_next;               /* event list */
    uint32_t send_next, send_prev;     /* the ring of its lane (streams.h) */
    uint32_t lane_next;                /* of the first in its ring: the next lane's first */
    uint32_t settle_next, settle_prev; /* streams with pieces in lent buffers */
    uint32_t all_next, all_prev;       /* all streams of the connection */
    uint32_t events;                   /* pending AQ_EVENT_ bits, 1 << kind */
    uint8_t tx, rx;         /* enum stream_tx, stream_rx; only by stream_set_tx, stream_set_rx */
    uint8_t due;            /* DUE_ bits */
    uint8_t lane, own_lane; /* streams.h: where it waits to send, 0 nowhere; where its data waits */
    bool ready, settling;   /* in the list of that name */
    bool wants_write;       /* a write was cut short: WRITABLE when there is room */
    bool local;             /* opened by us */
    bool stopped;           /* we abandoned receiving: what comes is counted and discarded */
    bool references;        /* AQ_REF was used: RELEASED events wanted */
    bool closed_told;
    bool done;                 /* counted as such (streams.h) */
    bool reset_at_acked;       /* our RESET_STREAM_AT with tx_reliable */
    bool early;                /* bytes of it came in 0-RTT */
    uint64_t tx_code, rx_code; /* of our RESET_STREAM, of our STOP_SENDING */
    uint64_t peer_reset_code, peer_stop_code;
    /* of RESET_STREAM_AT, ours and the peer's: bytes to be delivered all the same; UINT64_MAX:
     * there was none */
    uint64_t tx_reliable, rx_reliable;
    struct sendq sendq;
    struct recvq recvq;
    struct flow flow;
};

/* The states may only step along the arrows of RFC 9000 figures 2 and 3; asserted against a table.
 */
void stream_set_tx(struct stream *s, enum stream_tx next);
void stream_set_rx(struct stream *s, enum stream_rx next);

struct stream_limits { /* windows for a new stream */
    uint64_t rx_window, rx_window_max, tx_max;
};
/* Zeroes *s first; all list links are POOL_NONE. server: we are. */
void stream_init(struct stream *s, uint64_t id, bool server, const struct stream_limits *limits,
                 uint64_t now);

static inline bool stream_id_is_uni(uint64_t id)
{
    return (id & 2) != 0;
}
static inline bool stream_id_is_server(uint64_t id)
{
    return (id & 1) != 0;
}

/* What the functions below need besides the stream. */
struct stream_env {
    struct quota *quota;
    struct pool *pieces;
    struct flow *conn_flow;
    uint64_t rtt_us;
    uint64_t send_buffer; /* limit of unacknowledged written bytes */
    uint64_t now;
};

/* -- from the peer; AQ_OK or the error to close with, or AQ_FULL (do not acknowledge). Nothing is
 * half applied. */
int stream_on_data(struct stream *s, const struct stream_env *env, uint64_t offset,
                   const uint8_t *data, uint32_t size, bool fin, bool lent);
/* RESET_STREAM, or with reliable above 0 RESET_STREAM_AT. */
struct stream_reset {
    uint64_t code, final_size, reliable;
};
int stream_on_reset(struct stream *s, const struct stream_env *env,
                    const struct stream_reset *reset);
void stream_on_stop(struct stream *s, const struct stream_env *env, uint64_t code);
void stream_on_max(struct stream *s, uint64_t max);

/* -- from the application; see antq.h for what they promise */
int64_t stream_write(struct stream *s, const struct stream_env *env, const struct aq_iov *iov,
                     unsigned n, unsigned flags);
int stream_peek(const struct stream *s, const struct pool *pieces, struct aq_iov *iov, unsigned max,
                bool *fin);
int stream_consume(struct stream *s, const struct stream_env *env, uint64_t bytes);
int stream_reset(struct stream *s, const struct stream_env *env, uint64_t code);
int stream_reset_at(struct stream *s, const struct stream_env *env, uint64_t code,
                    uint64_t reliable);
int stream_stop(struct stream *s, const struct stream_env *env, uint64_t code);

/* -- sending: data frames through stream_next; control frames by `due` */
bool stream_wants_send(const struct stream *s,
                       const struct flow *conn_flow); /* data or due frames */
/* New bytes that may go now and are all there is to say: neither a control frame nor lost bytes are
 * owed, and the FIN's byte is not among them. */
uint64_t stream_plain(const struct stream *s, const struct flow *conn_flow);
struct stream_chunk {
    uint64_t offset, is_new;
    uint32_t size;
    bool fin;
};
/* The next piece of at most max payload bytes, within both flows. False: nothing now; sets
 * DUE_BLOCKED (stream's own credit is the limit) if it should be said. */
bool stream_next(struct stream *s, const struct flow *conn_flow, uint32_t max,
                 struct stream_chunk *chunk);
/* It was put into a packet: moves both flows, states, queue. */
void stream_on_sent(struct stream *s, struct flow *conn_flow, const struct stream_chunk *chunk);

/* 0-RTT was rejected: as if nothing of it had ever been sent, no byte is allowed for now. Nothing
 * is in flight. */
void stream_rewind(struct stream *s, struct quota *quota);

/* -- fate of what was sent */
void stream_on_acked(struct stream *s, const struct stream_env *env, uint64_t offset, uint32_t size,
                     bool fin);
void stream_on_lost(struct stream *s, const struct stream_env *env, uint64_t offset, uint32_t size,
                    bool fin);
/* reliable: of a RESET_STREAM_AT, UINT64_MAX: it was a RESET_STREAM. */
void stream_on_reset_sent(struct stream *s);
void stream_on_reset_acked(struct stream *s, const struct stream_env *env, uint64_t reliable);
void stream_on_control_lost(struct stream *s, uint8_t due_bit,
                            uint64_t value); /* value: limit for DUE_BLOCKED, reliable size for
                                                DUE_RESET; ignored if outdated */

/* Sets AQ_EVENT_WRITABLE if a write was cut short and there is room again. Acknowledgements do this
 * by themselves; to be called when memory came free elsewhere, for a stream that waits for memory
 * with nothing in flight. */
void stream_poll_writable(struct stream *s, const struct stream_env *env);

/* Both sides are in a terminal state, or all that is missing is the acknowledgement of what was
 * sent. */
static inline bool stream_is_done(const struct stream *s)
{
    static const uint32_t tx =
        1U << TX_NONE | 1U << TX_DATA_SENT | 1U << TX_DATA_RECVD | 1U << TX_RESET_RECVD;
    static const uint32_t rx = 1U << RX_NONE | 1U << RX_DATA_READ | 1U << RX_RESET_READ;
    return (tx >> s->tx & rx >> s->rx & 1) != 0;
}
static inline bool stream_is_over(const struct stream *s)
{
    return stream_is_done(s) && s->tx != TX_DATA_SENT;
}
/* Gives back all memory, whatever the state. */
void stream_clear(struct stream *s, const struct stream_env *env);

#endif
