/* side.h -- one side of a simulated transfer: its streams, what it writes, what it must read.
 *
 * Inner to app.c (which plays scenarios) and side.c (which reacts to events). */
#ifndef AQ_SIM_SIDE_H
#define AQ_SIM_SIDE_H

#include "tests/sim/app.h"

enum { DGRAMS = 1024, FLIGHTS = 8, FLOWS = 1024, CHUNK = 48 * 1024, CODE_DONE = 7, CODE_EARLY = 8, CODE_RESET = 33, CODE_STOP = 34 };

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
    bool stopped;   /* does not want to receive */
    uint64_t reliable; /* has to arrive although it was reset */
};

/* Datagrams of one side: numbered as they were accepted, each with a size and a pattern of its own. */
struct dgrams {
    uint64_t next_us;    /* when the next ones are written, AQ_NEVER: no more */
    unsigned sent;       /* accepted */
    unsigned early;      /* of these before the handshake was done */
    unsigned received;   /* by the application, each once */
    uint16_t size[DGRAMS];
    bool seen[DGRAMS]; /* of the peer's */
    bool room_wanted;
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
    bool early; /* AQ_EVENT_EARLY came */
    struct aq_close_info close;
    struct dgrams dgrams;
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
    uint64_t mtu_at_us;     /* when the links change next */
    uint32_t mtu_highest;   /* that any of them has carried */
    struct sim_flight *first[FLIGHTS]; /* copies of the client's first flight */
    unsigned firsts, replays;          /* replays so far */
    uint64_t began_us;                 /* this round */
    uint64_t confirmed_us;             /* when both sides had confirmed the handshake; 0: not yet */
    uint64_t features;
    unsigned refusals;                    /* of aq_conn_migrate */
    bool closing; /* the end was asked for: streams may break off from now on */
};

static inline void play_feature(struct play *play, enum feature feature)
{
    play->features |= UINT64_C(1) << feature;
}

/* The host's on_event and on_wake; its user is the side. */
void side_event(struct sim_host *host, const struct aq_event *event);
void side_wake(struct sim_host *host);
/* Comes back to a side not later than that. */
void side_wake_at(struct side *side, uint64_t when_us);

/* dgrams.c: writes what is due; reads what has come, all of it where it is at the end. */
void dgrams_send(struct side *side);
void dgrams_read(struct side *side, bool all);

/* judge.c: what must hold once the handshake is done, and at the end of a round before its close. */
void judge_connected(struct side *side, const struct aq_conn_peer *peer);
void judge_end(struct play *play);

/* way.c: attackers on the way, links that change, addresses where nothing passes. */
void way_begin(struct play *play);
void way_turn(struct play *play);
void way_replay(struct play *play);
void way_end(struct play *play);

/* Forgets the connection and its streams, but not the ticket and the token it brought. */
void side_again(struct side *side);

#endif
