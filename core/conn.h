/* conn.h -- one connection: its life, what it owns, and the calls between the files that may see it
 * whole (endpoint, accept, conn, handshake, recv, apply, send, fill, close, api). Everything else
 * takes its own struct. */
#ifndef AQ_CONN_H
#define AQ_CONN_H

#include "core/ackfreq.h"
#include "core/cid.h"
#include "core/dgramq.h"
#include "core/hand.h"
#include "core/keys.h"
#include "core/packet.h"
#include "core/path.h"
#include "core/streams.h"
#include "core/trace.h"

struct apply;
struct endpoint;
struct nat;
struct out;

/* The endpoint's lists of connections. */
enum conn_list {
    LIST_SEND,  /* that may have something to send */
    LIST_READY, /* with events */
    CONN_LISTS
};
struct conn_link { /* slots; POOL_NONE at an end */
    uint32_t before, next;
};

enum conn_state {
    CONN_FREE,
    CONN_HANDSHAKE, /* until TLS is done */
    CONN_CONNECTED, /* TLS is done */
    CONN_CONFIRMED, /* RFC 9001 §4.1.2 */
    CONN_CLOSING,   /* RFC 9000 §10.2.1: we closed */
    CONN_DRAINING,  /* RFC 9000 §10.2.2: the peer did, or it timed out */
    CONN_OVER,      /* nothing is left but an event to fetch */
    CONN_STATES
};

/* A connection's deadlines; rows of timers[] in conn.c. */
enum timer_id {
    TIMER_LOSS, /* RFC 9002: loss time or PTO */
    TIMER_ACK,  /* delayed ACK */
    TIMER_PACE,
    TIMER_IDLE,
    TIMER_KEEP_ALIVE,
    TIMER_HANDSHAKE, /* given up */
    TIMER_KEYS,      /* the previous read key goes */
    TIMER_TLS,       /* a client's TLS object goes */
    TIMER_MEMORY,    /* a write was cut short by memory: look again */
    TIMER_PATH,      /* a path's validation goes on, or a path is let go */
    TIMER_CLOSE,     /* end of closing or draining */
    TIMERS
};
enum {
    MEMORY_WAIT_US = 10000,
    SHORT_NAMES = 32,
    CLOSE_REASON = 128
};

/* Between two skipped packet numbers lie SKIP_MIN and, by chance, up to SKIP_SPAN more
 * (RFC 9000 §21.4). */
enum {
    SKIP_MIN = 64,
    SKIP_SPAN = 4096
};

struct conn_counts {
    uint64_t sent_bytes, sent_packets, recv_bytes, recv_packets, lost_packets, lost_bytes,
        resent_bytes;
    uint64_t acks_alone, acks_received; /* packets that only acknowledge; ACK frames */
    uint32_t spurious_packets, duplicates, undecryptable, pto_count; /* tell, and decide nothing */
};

/* A duration that is only told. */
static inline uint32_t told_us(uint64_t us)
{
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Datagrams of a connection that uses them (RFC 9221): quota block. */
struct datagrams {
    struct dgramq tx, rx;
    uint64_t sent, acked, lost, received, dropped_tx, dropped_rx;
    bool larger_wanted; /* one was refused that a larger packet may carry: the MTU is probed now */
    bool room_wanted;   /* one was refused: AQ_EVENT_DATAGRAM_ROOM when there is room */
};

struct conn_closing {
    uint64_t code, frame_type;
    const char *where; /* static */
    char *reason;      /* quota block of CLOSE_REASON bytes; NULL: none */
    uint8_t by;        /* enum aq_closer */
    bool application;
    bool due;         /* a CONNECTION_CLOSE is to be sent */
    bool yielded;     /* it let the connections behind it send first */
    uint32_t packets; /* received since: answered at powers of two (RFC 9000 §10.2.1) */
};

/* What is read of the peer's parameters after they were taken; limits of streams and windows lie
 * where they are counted, its ACK delays in ackfreq. */
struct peer_params {
    uint8_t ack_delay_exponent; /* at most 20 */
    uint8_t active_cid_limit;   /* more than CIDS_MAX are never issued */
    bool reset_stream_at : 1;   /* draft-ietf-quic-reliable-stream-reset §3: it knows the frame */
    bool no_migration    : 1;   /* disable_active_migration */
    bool grease_bit      : 1;   /* RFC 9287 §3.1: our fixed bit may be 0 */
    uint16_t datagram_max;      /* RFC 9221 §3: of a frame; 0: it takes none */
    uint16_t max_udp_payload;   /* RFC 9000 §18.2: it takes no larger ones */
};

/* In the order in which a packet needs it: what every turn looks at first, what belongs to the
 * handshake, to the application or to the end last. One path, one of four ids, and a few ranges lie
 * here; what grows beyond borrows blocks of the connection's memory (quota). bench/run.py tells
 * what an idle connection costs in all. */
struct conn {
    /* every turn */
    struct endpoint *ep;
    uint32_t slot;
    uint32_t storm; /* frames without effect, less what packets allow (SECURITY.md row 23) */
    uint8_t state;  /* enum conn_state; only by conn_set_state */
    bool server, listed, ready, told_closed;
    bool got_packet;
    bool initial_discarded, handshake_discarded; /* keys and space of that level are gone */
    bool half_open, tls_over, params_known;
    bool source_pays;       /* sources_take was called for it */
    bool peer_validated_us; /* client: the server has shown that it validated our address (RFC 9002
                               §6.2.2.1) */
    uint16_t mtu_wish;      /* the next MTU probe's size, where the application has said one */
    struct hand *hand;      /* NULL after the handshake */
    struct nat *nat;        /* NAT traversal and address discovery; NULL: neither was negotiated */
    struct tracer tracer;
    struct conn_link link[CONN_LISTS];
    uint32_t events;           /* 1 << kind */
    uint8_t active;            /* path in use */
    uint8_t loss_space;        /* which space TIMER_LOSS is about */
    bool eliciting_since_recv; /* one was sent since the last packet came (RFC 9000 §10.1) */
    bool ping_due, ping_asked, update_wanted, max_data_lost;
    bool handshake_done_due, new_token_due;
    uint8_t early;     /* enum aq_early */
    uint16_t used_seq; /* our id the current packet came on */
    uint8_t path_news; /* AQ_PATH_ bits to be told */
    bool at_preferred; /* client: the server is no longer where the handshake was */
    bool nat_due;      /* frames of nat are to be sent */
    uint8_t told_path; /* the path of the packet that said last where the peer is */
    uint32_t pto_count;
    uint32_t acks_alone; /* packets sent since the last ack-eliciting one */
    uint32_t armed;      /* 1 << timer */
    struct peer_params peer;
    uint64_t last_recv_us, last_eliciting_sent_us;
    uint64_t skip_at;       /* next packet number to skip (RFC 9000 §21.4) */
    uint64_t limited_below; /* packets below were sent when the application had no more (RFC 9002
                               §7.8) */

    /* packets */
    struct space app;
    struct ecn_counts ecn; /* of app */
    struct ackfreq ackfreq;
    struct keys_app keys;
    struct conn_counts counts;
    struct path *path[PATHS]; /* NULL: none; records name paths by index */
    struct path first;        /* one of them, the only one of nearly all connections */
    uint64_t told_number;     /* packets from here on, if more than probes, say where the peer is */
    uint64_t open_us;         /* token bucket of new paths: time until which it is spent */
    struct cid_local cids;
    struct cid_peer peer_cids;

    /* application data */
    struct quota quota;
    struct flow flow;
    struct streams streams;
    struct datagrams *datagrams; /* NULL until the first */

    /* time */
    uint64_t deadline[TIMERS];
    uint64_t idle_timeout_us;
    uint64_t ping_at_us;
    uint32_t pong_us, handshake_us; /* told, at most UINT32_MAX: 71 minutes */

    /* handshake, and what it brought */
    uint16_t cid_epoch, cid_generation;
    uint32_t version;
    void *user;
    struct late_crypto late;
    struct tls_facts facts;
    char short_names[SHORT_NAMES];     /* ALPN and server name, a 0 after each, if they fit */
    struct tls_names *names;           /* else: quota block */
    uint8_t *ticket_data, *token_data; /* events' payloads: a ticket or a NEW_TOKEN waiting to be
                                          told, quota blocks */
    uint32_t ticket_size, token_size;

    struct conn_closing closing;
};

/* ---- conn.c: life, timers ---- */
void conn_set_state(struct conn *c, enum conn_state next, uint64_t now);
void conn_arm(struct conn *c, enum timer_id timer, uint64_t when_us); /* AQ_NEVER disarms */
void conn_schedule(
    struct conn *c,
    uint64_t now); /* the turn's end: timers by state, earliest into the endpoint's heap */
void conn_tick(struct conn *c, uint64_t now);                 /* fires what is due */
uint64_t conn_pto(const struct conn *c, enum space_id space); /* without backoff */
/* The least that the peer may ask us for by ACK_FREQUENCY: never more than our max_ack_delay. */
uint64_t conn_min_ack_delay(const struct conn *c);
void conn_event(struct conn *c, enum aq_event_kind kind);
void conn_ready(struct conn *c); /* it or its streams have events */
void conn_stream_event(struct conn *c, uint32_t slot);
void conn_wake(struct conn *c);        /* it may have something to send */
void conn_drop_flight(struct conn *c); /* at close: nothing in flight matters any more */
void conn_drop_streams(struct conn *c, uint64_t now);
void conn_stream_over(struct conn *c, uint32_t slot,
                      uint64_t now); /* tells STREAM_CLOSED when it is over */
static inline bool conn_is_open(const struct conn *c)
{
    return c->state >= CONN_HANDSHAKE && c->state <= CONN_CONFIRMED;
}
static inline struct path *conn_path(const struct conn *c)
{
    return c->path[c->active];
}
/* The space, NULL when its keys and state are gone. */
struct space *conn_space(struct conn *c, enum space_id id);
struct stream_env conn_env(struct conn *c, uint64_t now);

/* ---- datagram.c ---- */
int datagram_on_frame(struct conn *c, const struct frame *f, struct apply *a);
void datagram_fate(struct conn *c, bool lost);
bool datagram_owed(const struct conn *c);
void datagram_fill(struct conn *c, struct out *o);
void datagram_end(struct conn *c); /* gives all its memory back */

/* ---- handshake.c: TLS and keys ---- */
struct conn_start { /* what a new connection is made of */
    bool server;
    struct aq_tls *tls;
    uint32_t version;
    struct cid odcid; /* the client's first Destination Connection ID: the server's proof (§7.3) */
    struct cid
        dcid; /* of the Initial that keys are made from: odcid, or after a Retry the Retry's id */
    struct cid scid;                /* server: the client's id */
    const struct cid *retry_scid;   /* server after a Retry; else NULL */
    const struct aq_datagram *meta; /* addresses */
    bool validated;                 /* the address was validated by a token */
    const char *server_name, *cc;
    const uint8_t *ticket;
    size_t ticket_size;
    bool early_data;
    const uint8_t *peer_id; /* client: who it must be; NULL: as tls says */
    const uint8_t *token;
    size_t token_size;
};
int handshake_begin(struct conn *c, const struct conn_start *start, uint64_t now);
int handshake_on_crypto(struct conn *c, enum space_id space, const struct frame *f, uint64_t now);
int handshake_after_tls(struct conn *c, int tls_error,
                        uint64_t now); /* after any tls_ call that moved it */
int handshake_on_retry(struct conn *c, const struct packet_head *h, const uint8_t *data,
                       uint64_t now);
void handshake_confirm(struct conn *c, uint64_t now);
void handshake_discard(struct conn *c, enum space_id space, uint64_t now);
void handshake_over(struct conn *c,
                    uint64_t now); /* gives the hand back, when all it holds is done or at close */
bool handshake_can_end(const struct conn *c);
void handshake_names(const struct conn *c, struct tls_names *names); /* "" while unknown */
void handshake_initial_keys(const struct conn *c, uint32_t version, struct keys_long *keys);
/* A client's first flight anew, in c->version, as of a new connection. AQ_OK or AQ_MISUSE (no
 * memory). */
int handshake_restart(struct conn *c, uint64_t now);

/* ---- negotiate.c: versions ---- */
enum {
    NEGOTIATE_PREFIX = 4 /* a client's tickets and tokens begin with their version */
};
bool negotiate_speaks(const struct endpoint *ep, uint32_t version);
/* The version of a client's first flight: asked for, or that of what it resumes with; 0: none. */
uint32_t negotiate_first(const struct endpoint *ep, uint32_t asked, uint32_t ticket,
                         uint32_t token);
/* Takes the version off a ticket or token; 0: there is none. */
uint32_t negotiate_strip(struct aq_iov *blob);
void negotiate_prefix(const struct conn *c, uint8_t out[NEGOTIATE_PREFIX]);
/* All that the endpoint speaks, most wanted first, and a reserved one; returns how many. */
unsigned negotiate_list(struct endpoint *ep, uint32_t out[AQ_VERSIONS_MAX + 1]);
void negotiate_info(const struct conn *c, struct version_info *info);
/* A server takes its version from the client's parameters; a client checks the server's. AQ_OK or
 * VERSION_NEGOTIATION_ERROR. */
int negotiate_pick(struct conn *c, const struct params *p);
int negotiate_check(const struct conn *c, const struct params *p);
/* Whether a long header's version is, or may become, the connection's. */
bool negotiate_takes(const struct conn *c, const struct packet_head *h);
/* Client: an authentic Initial came in another version. */
void negotiate_follow(struct conn *c, uint32_t version);
void negotiate_on_versions(struct conn *c, const struct packet_head *h, uint64_t now);

/* ---- early.c: 0-RTT ---- */
/* Client: TLS's part of a ticket, *size its bytes; NULL: it is none. *early: as wished, and as the
 * ticket allows. */
const uint8_t *early_ticket_open(struct conn *c, const uint8_t *ticket, size_t *size, bool *early);
/* Client: a ticket came; AQ_EVENT_TICKET. */
void early_ticket_take(struct conn *c, const uint8_t *ticket, size_t size);
void early_begin(struct conn *c, bool write, const struct secret *secret);
void early_discard(struct conn *c);
/* Client: what was sent in 0-RTT goes again, the offer still open: after a Retry. */
void early_again(struct conn *c, uint64_t now);
void early_rejected(struct conn *c, uint64_t now);
/* The peer's parameters: limits for what we send. AQ_OK or the error to close with. */
int early_on_params(struct conn *c, const struct params *p);
/* Server: what its tickets are made under. Returns its size. */
size_t early_context(struct endpoint *ep, const struct params *own, uint8_t *out, size_t size);
bool early_may(void *arg, const uint8_t *binder, size_t size); /* tls_sink.may_early */
void early_complete(struct conn *c, uint64_t now);
bool early_can_open(struct conn *c, uint64_t now); /* server: has the keys of 0-RTT packets */
/* Client: application packets go as 0-RTT. */
static inline bool early_sends(const struct conn *c)
{
    return c->hand && !c->server && c->early == AQ_EARLY_OFFERED && c->hand->early.set
           && !c->keys.tx.set;
}
/* Streams work although the handshake is not done. */
static inline bool early_is_open(const struct conn *c)
{
    return c->server ? c->early == AQ_EARLY_ACCEPTED : early_sends(c);
}

/* ---- paths.c: their table ---- */
void paths_news(struct conn *c, uint8_t what); /* AQ_PATH_ bits */
void paths_set_state(struct conn *c, struct path *p, enum path_state state, uint64_t now);
/* Begins a validation of that path, for so long as RFC 9000 §8.2.4 says. */
void paths_check(struct conn *c, struct path *p, uint64_t now);
uint64_t paths_check_span(const struct conn *c);
/* A fresh path, perhaps at the cost of another one, for a probe of none that is kept; NULL: there
 * is no room. Then what it is. */
struct path *paths_make(struct conn *c, bool probe, uint64_t now);
void paths_put(struct conn *c, struct path *p, const struct path *what);
void paths_drop(struct conn *c, struct path *p); /* not the active one */
void paths_arm(struct conn *c);
/* The largest packet that a path may carry, a channel's prefix not counted. */
uint16_t paths_mtu_max(const struct conn *c, uint64_t channel);
/* What follows from what the path's MTU has become. */
void paths_mtu_told(struct conn *c, struct path *p, const struct mtu *before, uint64_t now);
void paths_settled(struct conn *c); /* after the table has changed */

/* ---- migrate.c: from one path to another ---- */
enum {
    PATH_NONE = -1
};
/* The path a datagram came on, PATH_NONE: an unknown one. */
int paths_find(const struct conn *c, const struct aq_datagram *d);
/* Whether an authentic packet from an unknown address makes a path; and that. PATH_NONE: not now.
 */
bool paths_may_open(const struct conn *c);
int paths_open(struct conn *c, const struct aq_datagram *d, uint64_t now);
/* After the frames of an authentic 1-RTT packet: it may say that the peer has moved. */
void paths_on_packet(struct conn *c, const struct apply *a, uint64_t now);
void paths_on_challenge(struct conn *c, const struct apply *a, const uint8_t data[CHALLENGE_SIZE]);
void paths_on_response(struct conn *c, const uint8_t data[CHALLENGE_SIZE], uint64_t now);
void paths_on_retired(struct conn *c, uint64_t seq); /* the peer no longer sends to that id */
void paths_on_cids(struct conn *c);                  /* the peer's ids changed */
void paths_retire(struct conn *c); /* ids that no path needs any more, as many as may wait */
void paths_on_time(struct conn *c, uint64_t now);
/* PTOs in a row: a direct path that is dead is left for a relayed one. */
void paths_on_pto(struct conn *c, uint64_t now);
/* A challenge was written. */
void paths_challenged(struct conn *c, struct path *p, const uint8_t data[CHALLENGE_SIZE], bool full,
                      uint64_t now);
/* The id that a path sends to changed: its token is what a stateless reset shows. */
void paths_reset_token(struct conn *c, struct path *p);
void paths_try_preferred(struct conn *c, const struct preferred_address *a, uint64_t now);
unsigned paths_count(const struct conn *c);
void paths_end(struct conn *c); /* only the active one stays */

/* ---- recv.c, apply.c ---- */
void conn_recv(struct conn *c, const struct aq_datagram *d, uint8_t *const *data,
               const uint32_t *size, unsigned n, uint64_t now);
struct apply { /* what frames_apply knows and learns of a packet */
    enum space_id space;
    uint64_t number;
    uint8_t in; /* IN_ bit */
    bool lent, eliciting, old_phase;
    bool more_than_probe; /* RFC 9000 §9.1 */
    int path;             /* it came on, PATH_NONE: on none that we keep */
    uint64_t frame_type;  /* the one at hand, for the close */
    const char *where;
};
int frames_apply(struct conn *c, const uint8_t *payload, size_t size, struct apply *a,
                 uint64_t now);
/* After a stream changed: its events, its turn to send, its end. */
void conn_touched(struct conn *c, struct stream *s, uint32_t slot, uint64_t now);
void conn_wake_streams(struct conn *c); /* the connection's limit rose */

/* ---- records.c ---- */
extern const struct loss_sink apply_sink; /* arg is struct sink_arg */
struct acked_run { /* acknowledged pieces of a stream that follow each other */
    uint32_t slot, size;
    uint32_t count; /* of records */
    uint64_t offset;
};
struct sink_arg {
    struct conn *c;
    enum space_id space;
    uint64_t now;
    bool resend_only; /* PTO: data is sent again, records stay counted */
    uint8_t path;     /* of the packet at hand; PATH_GONE */
    struct acked_run run;
};
/* After an ACK was gone through: tells the stream what the last packets, taken together, had of
 * it. */
void records_end(struct sink_arg *k);
void conn_detect_loss(struct conn *c, enum space_id space, uint64_t now);
void conn_probe(struct conn *c, enum space_id space, uint8_t probes,
                uint64_t now); /* so many packets, whatever the window says, with what is owed */
void conn_probe_others(struct conn *c, enum space_id space, uint8_t probes, uint64_t now);
void conn_hurry(struct conn *c, uint64_t now);

/* ---- send.c, bulk.c, fill.c ---- */
/* Builds one train into out; returns its size, 0: nothing now. */
uint32_t conn_send(struct conn *c, uint8_t *out, uint32_t size, struct aq_train *train,
                   uint64_t now);
/* Whether conn_send may find something: it makes a packet to find that there is nothing for it. */
bool conn_wants_send(struct conn *c, uint64_t now);
/* Counts n packets that were committed. */
void conn_sent(struct conn *c, unsigned n, bool eliciting, uint64_t now);
/* Writes up to max packets of the path's size one behind the other, of new stream bytes alone,
 * commits them, and says in v what is to be sealed, the stream's bytes as tails that are good until
 * anything else is done with the stream. Returns how many, 0: such packets may not go now. */
unsigned bulk_fill(struct conn *c, uint8_t *out, unsigned max, struct sealed *v, uint64_t now);

struct out { /* the packet being built */
    struct path *path;
    struct writer w; /* payload: ends before the tag */
    uint8_t *start;
    struct space *space;
    enum space_id id;
    size_t pn_offset;
    uint64_t number;
    uint8_t pn_size;
    uint8_t flags;       /* SENT_ bits gathered */
    uint8_t records_max; /* frames that may be recorded */
    bool early;          /* a 0-RTT packet */
    bool full;           /* the datagram is filled up: it shows that the path carries 1,200 bytes */
    unsigned frames;
    uint32_t room; /* ack-eliciting bytes that the window allows; 0: ACK only */
    uint64_t now;
};
void frames_fill(struct conn *c, struct out *o);
/* Whether anything but an ACK or a PING is owed in o->space. */
bool frames_wait(const struct conn *c, const struct out *o);
/* Whether a packet is owed in o->space: an ACK alone only when it is due. */
bool frames_owed(const struct conn *c, const struct out *o);
/* Whether nothing but streams' frames is owed in o->space. */
bool frames_only_streams(const struct conn *c, const struct out *o);
void fill_close(struct conn *c, struct out *o);
/* PATH_CHALLENGE and PATH_RESPONSE of o->path, and on the active path what makes it more than a
 * probe. full: the datagram will have 1,200 bytes. */
void fill_path(struct conn *c, struct out *o, bool full);
/* For fillers elsewhere: bytes left in the packet; and a frame of the table with its record, NULL
 * if they do not both fit. */
size_t fill_left(const struct out *o);
struct record *fill_frame(struct out *o, const struct frame *f, enum record_kind kind);

/* ---- close.c: one place turns an error into a close ---- */
void conn_fail(struct conn *c, int error, const struct apply *a,
               uint64_t now); /* we found an error */
void conn_close(struct conn *c, bool application, uint64_t code, const char *reason,
                const char *where, uint64_t now);
void conn_closed_by_peer(struct conn *c, const struct frame *f, uint64_t now);
/* Whether its turn to send goes to the tail of the list: a goodbye goes behind what others have to
 * say, once. Whoever ends one connection and begins the next waits for the answer to that. */
bool conn_yields(struct conn *c);
void conn_end(struct conn *c, enum aq_closer by, uint64_t code, const char *reason,
              const char *where, uint64_t now);

#endif
