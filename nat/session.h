/* session.h -- one attempt to reach a peer, from "connect to this PeerId" to its one end (PROTOCOL
 * §5).
 *
 *     DISCOVERING -> COORDINATING -> HOLE_PUNCHING -> CONNECTED
 *          |              |               |
 *          +--------------+---------------+---------> EXPIRED     (or CANCELLED, whenever it is
 * asked)
 *
 * A machine: events and the time go in, actions come out. The host asks session_next until it has
 * nothing, hands events back, and calls at session_deadline. Deadlines only end what events did
 * not. The last action is always SESSION_END, exactly one; after it the struct may be used again.
 *
 * A relayed connection is a success, too: it carries data from the start, and punching goes on
 * beside it. When that fails, the session ends as connected by relay.
 *
 * The peer that was asked runs the same machine, from session_accept: it asks no coordinator. */
#ifndef AQ_NAT_SESSION_H
#define AQ_NAT_SESSION_H

#include "nat/message.h"
#include "nat/punch.h"

enum {
    SESSION_COORDINATORS = 16,
    SESSION_TRIES = 3
};

enum session_state {
    SESSION_DISCOVERING,  /* own candidates are gathered */
    SESSION_COORDINATING, /* a bootstrap node brings the two together */
    SESSION_HOLE_PUNCHING,
    SESSION_CONNECTED, /* ends: */
    SESSION_EXPIRED,
    SESSION_CANCELLED,
    SESSION_STATES
};
const char *session_state_name(enum session_state state);

struct session_config {
    uint64_t discover_us;    /* [2 s] */
    uint64_t coordinate_us;  /* in all [10 s] */
    uint64_t coordinator_us; /* each [2 s] */
    uint64_t try_us;         /* [3 s] */
    unsigned coordinators;   /* bootstrap nodes, in the order to be asked */
    uint8_t hops;            /* routers to the coordinator, 0 unknown */
};

/* How it ended, with what it took. */
struct session_end {
    enum session_state state; /* CONNECTED, EXPIRED or CANCELLED */
    enum session_state phase; /* in which */
    unsigned reason; /* enum nat_reason: the last coordinator's, NAT_TIMEOUT, NAT_ACCEPTED */
    bool direct;
    unsigned pair;                  /* of the direct path */
    uint64_t us[SESSION_CONNECTED]; /* spent in each phase */
};

struct session_pair {
    struct cand remote;
    uint64_t priority;
    struct punch_plan plan;
    bool answered; /* a probe came back: it is challenged now, and probed no more */
};

enum session_action_kind {
    SESSION_NOTHING,
    SESSION_GATHER,     /* find our candidates; answer session_on_candidates */
    SESSION_COORDINATE, /* ask coordinator `index`; answer session_on_coordinated or _refused */
    SESSION_PROBE,      /* send an opener or probe to `addr`, with `ttl` (0: the socket's own) */
    SESSION_STATE,      /* it has changed: `state` */
    SESSION_END
};
struct session_action {
    enum session_action_kind kind;
    unsigned index; /* coordinator, or pair */
    uint8_t ttl;
    enum session_state state;
    struct aq_addr addr;
    struct session_end end;
};

struct session {
    struct session_config config;
    struct budget *budget;
    enum session_state state, told;
    enum session_state phase; /* the last that was no end */
    uint64_t began_us, entered_us;
    uint64_t deadline_us; /* of the state */
    uint64_t step_us;     /* of the coordinator, or of the try */
    uint64_t spent_us[SESSION_CONNECTED];
    struct cand_list own;
    struct cand_scope scope;
    struct session_pair pair[CANDS_MAX];
    unsigned pairs;
    unsigned coordinator, tries, refused; /* refused: candidates that may not be probed */
    unsigned reason;
    unsigned direct; /* pair + 1, 0: none */
    bool gather, ask, passive, relayed, ended;
};

void session_config_init(struct session_config *config);
void session_init(struct session *s, const struct session_config *config, struct budget *budget,
                  uint64_t now);

/* The same, where the peer asks to be met: SESSION_COORDINATE never comes. */
void session_accept(struct session *s, const struct session_config *config, struct budget *budget,
                    uint64_t now);

bool session_next(struct session *s, struct session_action *action, uint64_t now);
uint64_t session_deadline(const struct session *s);

/* Our own candidates are known, as far as they will be. */
void session_on_candidates(struct session *s, const struct cand_list *own, uint64_t now);
/* What a coordinator tells: the addresses that it observed, and how long until the peer has been
 * told, too. */
struct session_meeting {
    struct aq_addr own, peer; /* family 0: not told, when it relays */
    uint64_t delay_us;
};
/* It has brought us together. May come twice: by its relay, and with addresses. */
void session_on_coordinated(struct session *s, const struct session_meeting *meeting, uint64_t now);
void session_on_refused(struct session *s, unsigned reason, uint64_t now);
/* The relayed connection's handshake is done: a way to fall back on. */
void session_on_relayed(struct session *s, uint64_t now);
/* The peer claims an address (ADD_ADDRESS, PUNCH_ME_NOW), or a probe came from it (CAND_REFLEXIVE).
 * open_us: until its side will have opened, too: so long only packets go that do not arrive. */
enum cand_verdict session_on_remote(struct session *s, const struct cand *remote, uint64_t open_us,
                                    uint64_t now);
/* A probe was answered from there; and: the path to it is validated. */
void session_on_answer(struct session *s, const struct aq_addr *addr, uint64_t now);
void session_on_direct(struct session *s, const struct aq_addr *addr, uint64_t now);
/* It answered, and yet the path to it was not validated: the next try probes it again. */
void session_on_path_failed(struct session *s, const struct aq_addr *addr);
void session_cancel(struct session *s, uint64_t now);

#endif
