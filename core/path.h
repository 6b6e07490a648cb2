/* path.h -- one network path: addresses, validation, the 3x limit, RTT, congestion, MTU (RFC 9000
 * §8, §9, §14).
 *
 * A path is named by (socket, local, remote, channel) and has a transport. A connection begins with
 * one; others are added by migration (migrate.c) and NAT traversal. Owned by its connection.
 *
 * The state says what is known of the peer's address. A validation is apart from it: it may run on
 * a path that is valid, to see whether it still is (§9.3.3), or whether it carries 1,200 bytes
 * (§8.2.1). While one runs, due_us is when the next challenge goes and give_up_us when it fails;
 * else give_up_us is AQ_NEVER, and due_us when a path that nobody uses any more is let go. */
#ifndef AQ_PATH_H
#define AQ_PATH_H

#include "core/ecn.h"
#include "core/mtu.h"
#include "core/pace.h"

enum path_state {
    PATH_UNVALIDATED,
    PATH_VALIDATING,
    PATH_VALID,
    PATH_FAILED
};
enum path_transport {
    PATH_UDP = 0
};
enum {
    CHALLENGES = 2, /* remembered; a response to an older one comes too late */
    RESPONSES = 2,  /* that wait to be sent; of more the newest win: SECURITY.md row 3 */
    CHALLENGE_SIZE = 8,
    /* What may go to an address that is only said to be the peer's, until something comes from
     * there: 12 datagrams of 64 bytes. It is too little for one of 1,200, and a probe needs no
     * more. */
    PROBE_SMALL_BUDGET = 12 * 64
};

/* What may be sent before anything came from there: nothing to an address that a packet claims;
 * all that is needed to one that the peer itself named in its handshake. */
#define PATH_TRUSTED UINT32_MAX

struct path {
    struct aq_addr local, remote;
    uint64_t channel;
    uint32_t ifindex;
    uint16_t socket;
    uint8_t transport;               /* enum path_transport */
    uint8_t state;                   /* enum path_state; only by path_set_state */
    uint8_t index;                   /* its place in the connection's table */
    bool wanted;                     /* becomes the active one when it is validated */
    uint8_t mtu_fails;               /* so often was a datagram of that size not answered */
    bool mtu_valid;                  /* it is known to carry 1,200 bytes */
    uint32_t budget_bytes;           /* may be sent on top of the three times: 0, or PATH_TRUSTED */
    uint64_t recv_bytes, sent_bytes; /* UDP payload, for the 3x limit (§8.1) */
    uint64_t used_us;                /* the last authentic packet came */
    struct rtt rtt;
    struct cc cc;
    struct pace pace;
    struct ecn ecn;
    struct mtu mtu;

    uint8_t ttl; /* hop limit of the last authentic packet, 0 unknown */
    /* NAT traversal */
    bool observed_due : 1; /* OBSERVED_ADDRESS is to be sent there */
    bool kept         : 1; /* neither left to end nor given up for another one */
    bool dead         : 1; /* it was left because nothing came through */

    /* connection ids (§9.5) */
    uint16_t own_seq; /* ours that the peer sent to last */
    uint32_t cid_seq; /* the peer's that is sent to */

    /* validation */
    uint8_t responses;  /* PATH_RESPONSEs to be sent, the oldest first */
    bool challenge_due; /* a PATH_CHALLENGE is to be sent */
    uint8_t challenges; /* sent in this validation, at most 255 */
    uint8_t full;       /* bit by place: that challenge went in a datagram of 1,200 bytes */
    uint8_t response[RESPONSES][CHALLENGE_SIZE];
    uint8_t challenge[CHALLENGES][CHALLENGE_SIZE];

    uint64_t due_us, give_up_us;
    uint64_t beyond_us;  /* when one more may go beyond the window */
    uint64_t reset_hash; /* of cid_seq's reset token, in the endpoint's map; 0: none */
};

void path_init(struct path *p, const struct cc_ops *cc, uint16_t mtu, uint16_t mtu_max,
               uint64_t now);
void path_set_state(struct path *p, enum path_state next);
/* Bytes that may be sent before the address is validated: three times what came (§8.1); unlimited
 * after. */
uint64_t path_room(const struct path *p);
/* Bytes that the host puts in front of each packet. */
static inline uint32_t path_prefix(const struct path *p)
{
    return p->channel ? AQ_CHANNEL_PREFIX : 0;
}
/* Whether a datagram belongs to this path. */
bool path_matches(const struct path *p, const struct aq_datagram *d);
/* Whether two paths differ in nothing but the port of the peer: its NAT has rebound (§9.4). */
bool path_same_network(const struct path *a, const struct path *b);
/* The newer path takes over what was learned of the network: congestion control, RTT, MTU. What is
 * in flight stays with the path it was sent on. */
void path_take_over(struct path *p, struct path *from);

/* ---- validation (§8.2) ---- */
static inline bool path_is_checked(const struct path *p)
{
    return p->give_up_us != AQ_NEVER;
}
/* Whether a challenge or a response is to be sent now. RFC 9000 §8.2.2: only congestion control may
 * hold it back; but one of them a round trip goes all the same, as a PTO's probes do: what fills
 * the window may be lost because nobody knows yet which path works. */
static inline bool path_wants_probe(const struct path *p, uint64_t now)
{
    return (p->challenge_due || p->responses || p->observed_due)
           && (cc_room(&p->cc) >= MTU_BASE || now >= p->beyond_us);
}
/* It is being sent. */
void path_probed(struct path *p, uint64_t now);
/* Begins a validation that lasts for span_us, unless one runs already: a challenge is due. */
void path_check(struct path *p, uint64_t span_us, uint64_t now);
/* A challenge of these bytes goes, in a datagram of 1,200 bytes or in a smaller one; the next one
 * is due after pto_us, later and later. */
void path_challenged(struct path *p, const uint8_t data[CHALLENGE_SIZE], bool full, uint64_t pto_us,
                     uint64_t now);
enum path_answer {
    PATH_ANSWER_NONE,  /* to no challenge of this path */
    PATH_ANSWER_SMALL, /* the address is proven, and not that 1,200 bytes pass: once more */
    PATH_ANSWER_FULL,  /* validated: the validation is over */
};
enum path_answer path_on_response(struct path *p, const uint8_t data[CHALLENGE_SIZE]);
/* A PATH_CHALLENGE came: its bytes are to be sent back. */
void path_respond(struct path *p, const uint8_t data[CHALLENGE_SIZE]);
/* The oldest response has been sent. */
void path_responded(struct path *p);
/* The validation, if any, ends without a result. */
void path_check_end(struct path *p);
/* When path_on_time wants to be called, AQ_NEVER: not. */
uint64_t path_deadline(const struct path *p);
enum path_timeout {
    PATH_TIME_NONE,
    PATH_TIME_CHALLENGE, /* the next challenge is due now */
    PATH_TIME_FAILED,    /* the validation has failed and is over */
    PATH_TIME_UNUSED,    /* nobody uses the path any more */
};
enum path_timeout path_on_time(struct path *p, uint64_t now);

#endif
