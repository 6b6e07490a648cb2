/* side.h -- one side of a simulated transfer: its streams, what it writes, what it must read.
 *
 * Inner to app.c (which plays scenarios) and side.c (which reacts to events). */
#ifndef AQ_SIM_SIDE_H
#define AQ_SIM_SIDE_H

#include "tests/sim/app.h"

enum { FLOWS = 1024, CHUNK = 48 * 1024, CODE_DONE = 7, CODE_EARLY = 8, CODE_RESET = 33, CODE_STOP = 34 };

/* One stream as one side sees it. Ids are reused by a second connection, flows are not. */
struct flow {
    aq_stream stream;
    uint64_t id;
    uint64_t send_size, sent, released; /* send_size 0 with no right to send: sends false */
    uint64_t recv_size, received;
    uint64_t abandon_at; /* resets or stops after so many bytes sent or received; AQ_NEVER never */
    uint8_t *bytes;      /* what is sent by reference */
    bool sends, receives, fin_sent, fin_seen, closed, live;
    bool abandoned; /* sends no more */
};

struct side {
    struct play *play;
    struct sim_host *host;
    struct side *peer;
    struct flow *flows;
    unsigned count, closed_flows, opened_bidi, opened_uni;
    aq_conn conn;
    struct sim_rng rng;
    bool client, connected, confirmed, closed;
    struct aq_close_info close;
    uint64_t delivered_bytes;
    unsigned path_moved, path_failed, path_peer_moved; /* AQ_EVENT_PATH told so often */
    uint8_t ticket[4096], token[1024];
    size_t ticket_size, token_size;
};

struct play {
    const struct scenario *row;
    struct sim *sim;
    struct side client, server;
    unsigned round;
    uint64_t migrate_at_us; /* when the next move is due */
    unsigned refusals;                    /* of aq_conn_migrate */
    bool closing; /* the end was asked for: streams may break off from now on */
};

/* The host's on_event and on_wake; its user is the side. */
void side_event(struct sim_host *host, const struct aq_event *event);
void side_wake(struct sim_host *host);
/* Forgets the connection and its streams, but not the ticket and the token it brought. */
void side_again(struct side *side);

#endif
