/* streams.h -- a connection's set of streams: ids, limits both ways, the order of sending (RFC 9000
 * §2.1, §4.6).
 *
 * Streams lie in the endpoint's pool; a map finds (connection, id). The limit is checked in one
 * place for every stream frame (SECURITY.md row 12): streams_get. */
#ifndef AQ_STREAMS_H
#define AQ_STREAMS_H

#include "core/map.h"
#include "core/stream.h"

/* The endpoint's, shared by all connections. */
struct stream_table {
    struct pool pool;   /* struct stream */
    struct pool pieces; /* struct piece */
    struct map map;     /* XXH3(conn, id) -> slot */
    uint64_t seed;
    uint64_t rx_window, rx_window_max; /* receive windows of new streams */
    uint32_t window[2]; /* how many streams a peer may have open at once that are not done */
};

enum {
    STREAMS_BIDI = 0,
    STREAMS_UNI = 1
};

struct streams {
    uint32_t conn;
    bool server;  /* our role */
    bool yields;  /* the last turn was a non-incremental stream's */
    uint8_t turn; /* packets of the turn at hand, below TURN_PACKETS */
    bool max_due[2], blocked_due[2];
    bool blocked_said[2]; /* STREAMS_BLOCKED at the peer's present limit */
    bool wanted[2];       /* aq_stream_open was refused: AQ_EVENT_STREAMS when there is more */
    uint32_t all;         /* list of all */
    uint32_t send_head;   /* first stream of the first lane: some may have something to send */
    uint32_t ready_head, ready_tail; /* streams with pending events */
    uint32_t count;
    uint32_t last_slot;       /* cache of the last lookup */
    uint64_t local_next[2];   /* streams opened by us so far */
    uint64_t peer_max[2];     /* the peer's limit for us */
    uint64_t peer_opened[2];  /* streams opened by the peer so far */
    uint64_t local_max[2];    /* the limit the peer was given */
    uint64_t local_closed[2]; /* of the peer's, how many are over and gone */
    uint32_t local_done[2];   /* and how many others are done, but for an acknowledgement */
    uint64_t tx_bidi_local, tx_bidi_remote,
        tx_uni; /* the peer's parameters, from our point of view */
};

/* Streams that may have something to send wait in lanes: those that owe a control frame, which no
 * data shall hold up; then for each urgency of RFC 9218 the non-incremental and the incremental
 * ones. A lane is a ring, and the first streams of the lanes that are not empty form a list: a lane
 * is found in at most LANES steps, in one where all streams have the same priority.
 *
 *     send_head -> first of lane 1 -> first of lane 8 -> first of lane 9      by lane_next
 *                  ring of lane 1     ring of lane 8     ring of lane 9       by send_next,
 * send_prev
 */
enum {
    LANE_NONE,
    LANE_CONTROL,
    LANE_FIRST, /* of urgency 0, non-incremental; + 2 * urgency + incremental */
    URGENCIES = 8,
    LANES = LANE_FIRST + 2 * URGENCIES,
    URGENCY_DEFAULT = 3,
    TURN_PACKETS = 4 /* of one stream while others wait */
};

void streams_init(struct streams *st, uint32_t conn, bool server, const uint32_t window[2]);

/* Opens one of ours. AQ_OK, AQ_BLOCKED (peer's limit), AQ_FULL (pool). */
int streams_open(struct streams *st, struct stream_table *t, unsigned uni, uint32_t *slot,
                 uint64_t now);

/* The stream a frame names. receiving: the frame is about our receiving side (STREAM, RESET_STREAM,
 * STREAM_DATA_BLOCKED), else about our sending side (STOP_SENDING, MAX_STREAM_DATA). Opens the
 * peer's streams up to it. AQ_OK with *slot (POOL_NONE: over and gone, ignore the frame),
 * STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, or AQ_FULL. *opened: first new. */
int streams_get(struct streams *st, struct stream_table *t, uint64_t id, bool receiving,
                uint32_t *slot, uint64_t now);

/* A stream is done (stream_is_done): one of the peer's gives credit for another. An acknowledgement
 * may come with the next request only, and who waited for it would keep the peer from asking. But
 * one that acknowledges nothing gets as much again and no more. True: MAX_STREAMS is due. */
bool streams_done(struct streams *st, const struct stream_table *t, struct stream *s);
/* What MAX_STREAMS would say now. */
uint64_t streams_limit(const struct streams *st, const struct stream_table *t, unsigned uni);

/* MAX_STREAMS or parameters: the peer allows more. True: it rose. */
bool streams_raise(struct streams *st, unsigned uni, uint64_t max);

/* The priority of a stream's data. */
void streams_set_priority(struct streams *st, struct stream_table *t, uint32_t slot,
                          unsigned urgency, bool incremental);

/* It may have something to send: into the lane that fits what it owes. */
void streams_want_send(struct streams *st, struct stream_table *t, uint32_t slot);
void streams_no_send(struct streams *st, struct stream_table *t, uint32_t slot);
/* Whose turn it is; POOL_NONE: nobody's. */
uint32_t streams_next_send(const struct streams *st, const struct stream_table *t);
/* Whether others have a turn before it has its next. */
bool streams_shares(const struct streams *st, const struct stream_table *t, uint32_t slot);
/* It sent so many packets, and its turn ends with TURN_PACKETS of them, or when it wants no more. A
 * turn may be cut by the window and goes on afterwards: else who follows one that was cut would get
 * little each time. */
void streams_turn(struct streams *st, struct stream_table *t, uint32_t slot, uint32_t packets,
                  bool more);

/* Puts a stream on the list of events if it has some. True: the list was empty before. */
bool streams_ready(struct streams *st, struct stream_table *t, uint32_t slot);
uint32_t streams_next_ready(struct streams *st, struct stream_table *t); /* POOL_NONE: none */

/* Takes a stream out of every list and gives its slot back. Its memory must be cleared. */
void streams_release(struct streams *st, struct stream_table *t, uint32_t slot);

static inline struct stream *stream_at(const struct stream_table *t, uint32_t slot)
{
    return pool_at(&t->pool, slot);
}

#endif
