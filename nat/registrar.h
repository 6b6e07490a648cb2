/* registrar.h -- a peer's registrations with its bootstrap nodes (PROTOCOL §3).
 *
 * All nodes in parallel, each a small machine of its own; the result counts them. The host dials
 * and writes; the registrar says what and when, and is told what came of it:
 *
 *     registrar_next -> DIAL node      the host dials   -> registrar_connected / registrar_failed
 *                    -> SEND bytes     on the node's registration stream
 *                    -> CLOSE node     the host closes that connection
 *                    -> RESULT         FULL, MAJORITY, PARTIAL or NONE is known, or has changed
 *     registrar_recv, registrar_tick, registrar_deadline
 *
 * The first result comes when the required number is registered, or when every node has answered
 * or failed; the others go on behind it. Each node's reason is in its struct. */
#ifndef AQ_NAT_REGISTRAR_H
#define AQ_NAT_REGISTRAR_H

#include "core/rng.h"
#include "nat/message.h"
#include "nat/pow.h"

enum {
    REGISTRAR_NODES = 16
};

enum registrar_state {
    NODE_WAITING,     /* to be dialled at `deadline_us` */
    NODE_DIALLING,    /* the host dials; at most 5 s with what follows */
    NODE_REGISTERING, /* REGISTER is out */
    NODE_SOLVING,     /* a proof of work is being searched */
    NODE_REGISTERED,  /* renewed at `deadline_us` */
    NODE_RENEWING,    /* REGISTER is out again, and the lease still holds */
    NODE_STOPPED,     /* said goodbye, or will never be let in */
    NODE_STATES
};

/* Why a node has no registration of ours, beside enum nat_reason. */
enum registrar_failure {
    FAILURE_NONE = 0x100,  /* not tried yet, or registered */
    FAILURE_UNREACHABLE,   /* no connection */
    FAILURE_TIMEOUT,       /* 5 s without an answer */
    FAILURE_WRONG_PIN,     /* it has another key than it was named by */
    FAILURE_LOST,          /* the connection ended */
    FAILURE_NO_ADDRESS,    /* its host name leads nowhere */
    FAILURE_TOO_MUCH_WORK, /* a proof of work beyond what a peer does */
    FAILURE_SAME_NODE,     /* another of them is the same node, and connected */
};
const char *registrar_reason_name(unsigned reason);

struct registrar_node {
    enum registrar_state state;
    unsigned reason; /* enum nat_reason or registrar_failure: of the last try */
    uint64_t deadline_us;
    uint64_t try_end_us;   /* 5 s after it began */
    uint64_t lease_end_us; /* 0: not registered */
    uint64_t backoff_us;
    uint64_t pow_at;
    uint8_t challenge[CHALLENGE_SIZE];
    uint8_t pow_bits;
    bool solved; /* challenge and pow_at go into the next REGISTER */
    bool send, dial, hang_up;
    struct aq_addr observed; /* us, as the node sees us; family 0: not yet */
};

enum registrar_result {
    REGISTERED_UNKNOWN,
    REGISTERED_NONE,
    REGISTERED_PARTIAL,
    REGISTERED_MAJORITY,
    REGISTERED_FULL
};

struct registrar_config {
    struct peer_id self;
    uint64_t generation; /* grows each time this peer starts: unix time will do */
    uint32_t lease_s;    /* [120] */
    uint32_t capabilities;
    uint64_t try_us;                         /* [5 s] */
    uint64_t backoff_min_us, backoff_max_us; /* [1 s, 60 s] */
    uint32_t hashes_a_turn;                  /* of a proof of work [2000, a few milliseconds] */
    uint8_t pow_bits_max;                    /* a peer does not do more than this [24] */
};

struct registrar {
    struct registrar_config config;
    struct rng *rng;
    struct message_hint hints[MESSAGE_HINTS];
    uint8_t hint_count;
    unsigned count;
    struct registrar_node node[REGISTRAR_NODES];
    enum registrar_result result; /* as last told */
    bool asked; /* every node has been tried or the required number reached: a result is due */
    bool stopping;
};

enum registrar_action_kind {
    REGISTRAR_NOTHING,
    REGISTRAR_DIAL,
    REGISTRAR_SEND,
    REGISTRAR_CLOSE,
    REGISTRAR_RESULT
};
struct registrar_action {
    enum registrar_action_kind kind;
    unsigned node;
    enum registrar_result result;
    size_t size;
    uint8_t data[MESSAGE_MAX];
};

void registrar_config_init(struct registrar_config *config);
/* count: 1 to REGISTRAR_NODES. All are dialled at once. */
void registrar_init(struct registrar *r, const struct registrar_config *config, unsigned count,
                    struct rng *rng, uint64_t now);
/* Our addresses have changed: told at the next renewal, which is now. */
void registrar_set_hints(struct registrar *r, const struct message_hint *hints, unsigned count,
                         uint64_t now);

/* What to do next; false: nothing now. */
bool registrar_next(struct registrar *r, struct registrar_action *action, uint64_t now);
void registrar_connected(struct registrar *r, unsigned node, uint64_t now);
/* The connection failed or ended: one of enum registrar_failure. */
void registrar_failed(struct registrar *r, unsigned node, enum registrar_failure why, uint64_t now);
/* One whole message from a node; those that are not REGISTERED are not its business. */
void registrar_recv(struct registrar *r, unsigned node, const struct message *m, uint64_t now);
void registrar_tick(struct registrar *r, uint64_t now);
uint64_t registrar_deadline(const struct registrar *r);
/* A node that waits is tried now: what kept it waiting is over. */
void registrar_again(struct registrar *r, unsigned node, uint64_t now);
/* The network is another one: nodes that could not be reached are tried again soon. */
void registrar_hurry(struct registrar *r, uint64_t now);
/* Says goodbye to all: a lease of 0, then CLOSE. */
void registrar_stop(struct registrar *r, uint64_t now);

unsigned registrar_registered(const struct registrar *r); /* nodes whose lease holds */
unsigned registrar_required(const struct registrar *r);   /* (n + 1) / 2 */
/* How long until the first whose last word is rate_limited is asked again; that it is being asked
 * counts as a second. 0: none. */
uint64_t registrar_wait(const struct registrar *r, uint64_t now);

#endif
