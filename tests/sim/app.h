/* app.h -- the application of a simulation: two sides that send patterns to each other and check them.
 *
 * A scenario is a row: the link's faults each way, what is transferred, how it ends, and what must come of
 * it. scenario_run plays it on a fresh simulation. Bytes of a stream are a function of the seed, the
 * direction, the stream's id and the offset, so a byte that is wrong, lost, doubled or moved is seen at
 * once; bytes given by reference are overwritten the moment the endpoint says it released them.
 * Called by scenarios.c (the program `sim`) and fuzz/conn.c. */
#ifndef AQ_SIM_APP_H
#define AQ_SIM_APP_H

#include "tests/sim/sim.h"

enum close_kind {
    CLOSE_BY_CLIENT = 0, /* when all is delivered */
    CLOSE_BY_SERVER,
    CLOSE_BY_BOTH,   /* at the same moment */
    CLOSE_BY_IDLE,   /* nobody says a word */
    CLOSE_EARLY,     /* the client, in the middle of the transfer */
    CLOSE_VANISH,    /* the link is cut in the middle: both time out */
    CLOSE_REBOOT,    /* the server forgets all in the middle: stateless reset */
    CLOSE_KINDS,
};

/* What becomes of the 0-RTT of the second connection. */
enum early_kind {
    EARLY_NOT = 0,
    EARLY_ACCEPTED,
    EARLY_REJECTED, /* the server began anew in between, and knows nothing of its tickets */
    EARLY_SMALLER,  /* the same, and its windows are smaller */
    EARLY_REPLAYED, /* accepted; an attacker sends the first flight again, and again */
    EARLY_KINDS,
};

enum expect {
    EXPECT_DELIVERED = 0, /* every byte both ways, then the close that was asked for */
    EXPECT_PREFIX,        /* what arrived is right; streams were reset or the close came early */
    EXPECT_TIMEOUT,       /* the handshake cannot be done */
    EXPECT_REFUSED,       /* the server refuses: CONNECTION_REFUSED */
};

struct scenario {
    const char *name;
    uint64_t seed;
    struct sim_link link[2]; /* client to server, server to client */
    uint64_t bytes;          /* each way, over all streams */
    unsigned streams;        /* bidirectional, opened by the client */
    unsigned streams_uni;    /* opened by the client, and as many by the server */
    uint32_t max_streams;    /* the peer may have open at once; 0: the default */
    uint16_t max_udp_payload; /* 0: the default */
    bool fixed_mtu;
    bool retry;
    const char *cc; /* NULL: the default */
    bool by_reference;   /* writes with AQ_REF */
    bool slow_reader;    /* consumes in pieces, with pauses */
    bool resets;         /* some streams are reset or stopped half way */
    bool again;          /* a second connection, with ticket and token of the first */
    uint64_t key_update_packets;
    enum early_kind early;  /* with again; a server that asks for another hello rejects it in any case */
    bool hello_retry;       /* the server has a HelloRetryRequest for each client */
    uint32_t version;       /* the client's first; 0: the default */
    uint32_t versions[2][AQ_VERSIONS_MAX]; /* spoken by client, server; first 0: the default */
    bool reset_at;          /* with resets: some with what has to arrive nevertheless */
    bool priorities;        /* streams have them, and change them */
    bool no_ecn[2];         /* client, server do not mark */
    /* datagrams */
    unsigned datagrams;        /* each side sends, in moments of up to datagram_burst; 0: none */
    unsigned datagram_burst;
    uint64_t datagram_gap_us;  /* between two moments */
    uint16_t datagram_max[2];  /* client, server take no larger frame; 0: none at all */
    uint32_t datagram_queue;   /* 0: the default */
    bool datagram_drop_oldest;
    bool datagram_slow;        /* readers leave some for later */
    uint64_t window;        /* stream and connection window at the start; 0: the defaults */
    uint64_t late_us;       /* hosts wake up to this late */
    uint64_t clock_step_us; /* both clocks, at different times */
    uint64_t suspend_us;    /* the server sleeps once */
    uint64_t idle_timeout_us, handshake_timeout_us; /* 0: 1,800 s */
    uint64_t keep_alive_us;
    /* paths, from the confirmed handshake on */
    uint64_t rebind_us;     /* the client's NAT takes another port so often */
    bool rebind_address;    /* and another address */
    unsigned rebind_every;  /* datagrams of the client: another port */
    bool keep_old;          /* the NAT lets in what is sent to the ports before */
    uint64_t migrate_us;    /* the client moves to another address of its own so often */
    bool migrate_nowhere;   /* where nothing passes */
    uint32_t forward_ppm;   /* an attacker's copy of a client's datagram comes first, from his address */
    bool spoof;             /* each copy from another address, where nobody is */
    bool preferred;         /* the server has a preferred address */
    bool preferred_dead;    /* where nothing passes */
    bool no_migration;      /* the server says disable_active_migration */
    uint64_t mtu_change_us; /* so often each link carries other sizes, */
    uint32_t mtu_low;       /* from here to its own at first, */
    bool mtu_grows;         /* never smaller ones than before */
    enum close_kind close;
    enum expect expect;
};

/* What a simulation had in it: bits of outcome.features. */
enum feature {
    FEATURE_RETRY,
    FEATURE_HELLO_RETRY,
    FEATURE_VERSION_2, /* spoken in the end, the draft's number included */
    FEATURE_VERSION_NEGOTIATION,
    FEATURE_VERSION_COMPATIBLE, /* another than the first, without such a packet */
    FEATURE_RESUMED,
    FEATURE_EARLY_ACCEPTED,
    FEATURE_EARLY_REJECTED,
    FEATURE_EARLY_REPLAYED,
    FEATURE_DATAGRAMS,
    FEATURE_DATAGRAMS_DROPPED,
    FEATURE_DATAGRAMS_LOST,
    FEATURE_DATAGRAMS_EARLY,
    FEATURE_RESETS,
    FEATURE_RESETS_AT,
    FEATURE_PRIORITIES,
    FEATURE_KEY_UPDATES,
    FEATURE_REBINDS,
    FEATURE_MIGRATIONS,
    FEATURE_PREFERRED,
    FEATURE_FORWARDED,
    FEATURE_MTU_RAISED,
    FEATURE_MTU_CHANGED,
    FEATURE_ECN_CAPABLE,
    FEATURE_ECN_BROKEN,
    FEATURE_ECN_MARKED,
    FEATURE_LOSS_30,
    FEATURE_CLOCK_STEPS,
    FEATURE_SUSPENDED,
    FEATURES
};
const char *feature_name(enum feature feature);

struct outcome {
    bool ok;
    char why[640];
    uint64_t hash;
    uint64_t features; /* 1 << enum feature: what happened in it */
    uint64_t confirmed_us; /* virtual time until the first handshake was confirmed on both sides; 0: never */
    uint64_t transfer_us; /* until the last byte was there */
    uint64_t total_us;    /* until everything had ended */
    uint64_t datagrams, dropped, bytes, delivered_bytes;
    enum aq_closer client_closed_by;
    uint64_t amplification_permille; /* highest share of the 3x limit used */
    unsigned moves, peer_moves, refusals; /* what AQ_EVENT_PATH told the client, the server; the rest */
};

/* Plays one scenario; trace may be NULL. on_sim, when given, may put hooks into the fresh simulation. */
void scenario_run(const struct scenario *scenario, FILE *trace, struct outcome *outcome,
                  void (*on_sim)(struct sim *sim, void *user), void *user);

#endif
