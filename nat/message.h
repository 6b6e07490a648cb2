/* message.h -- what peers and bootstrap nodes say to each other on a stream (PROTOCOL §3, §4).
 *
 * A message is type, length and fields, and a field is type, length and value, all in network
 * order. Fields are rows of one table and messages are rows of another that says which fields each
 * must and may have; one loop reads, one writes. Unknown messages and fields are skipped. */
#ifndef AQ_NAT_MESSAGE_H
#define AQ_NAT_MESSAGE_H

#include "core/buf.h"
#include "nat/peer.h"

/* PROTOCOL §3: the application protocol (ALPN) of a connection to a bootstrap node. */
#define NAT_ALPN_BOOTSTRAP "antq-bootstrap"

enum {
    MESSAGE_VERSION = 1,
    MESSAGE_HEADER = 4,      /* type and length */
    MESSAGE_BODY_MAX = 2048, /* longer ones are refused before they are buffered */
    MESSAGE_MAX = MESSAGE_HEADER + MESSAGE_BODY_MAX,
    MESSAGE_HINTS = 8,
    MESSAGE_NODES = 4,
    MESSAGE_TEXT = 128,
    MESSAGE_PACKET = 1500,
    NODE_TEXT = AQ_PEER_ID_TEXT + HOST_MAX + 2 + 6, /* PEERID@[HOST]:PORT */
    REQUEST_ID_SIZE = 16,
    CHALLENGE_SIZE = 16,
    PUNCH_KEY_SIZE = 16
};

enum message_type {
    MESSAGE_REGISTER = 1,   /* peer to bootstrap */
    MESSAGE_REGISTERED = 2, /* and its answer */
    MESSAGE_CONNECT = 3,    /* relayed connection; `step` says who speaks */
    MESSAGE_PUNCH = 4,      /* coordination without relay; `step` likewise */
    MESSAGE_PROBE = 5,      /* a datagram to the peer itself; `step` likewise */
};

enum message_step {
    STEP_REQUEST = 1, /* initiator to bootstrap */
    STEP_ASK = 2,     /* bootstrap to target */
    STEP_ANSWER = 3,  /* target to bootstrap */
    STEP_GO = 4,      /* bootstrap to both (PUNCH), to the initiator (CONNECT, PROBE) */
    STEP_REFUSED = 5, /* bootstrap to initiator */
    STEP_END = 6,     /* either to bootstrap: the channels are done with */
};

/* PROTOCOL §3: why not. The order is that of the checks. */
enum nat_reason {
    NAT_ACCEPTED = 0,
    NAT_MALFORMED,
    NAT_VERSION,
    NAT_IDENTITY_MISMATCH,
    NAT_SHUTTING_DOWN,
    NAT_BANNED,
    NAT_POLICY,
    NAT_RATE_LIMITED,
    NAT_POW_REQUIRED,
    NAT_POW_INVALID,
    NAT_STALE_GENERATION,
    NAT_CAPACITY,
    /* of CONNECT and PUNCH only */
    NAT_NOT_REGISTERED, /* the target is not here, or the initiator is not */
    NAT_REFUSED,        /* the target said no */
    NAT_TIMEOUT,        /* the target said nothing */
    NAT_NO_RELAY,       /* this bootstrap does not relay */
    NAT_REASONS
};
const char *nat_reason_name(unsigned reason); /* "rate_limited"; "unknown" */

enum hint_kind {
    HINT_HOST = 1,
    HINT_OBSERVED = 2, /* what another bootstrap saw; a claim like any other */
    HINT_MAPPED = 3,   /* by PCP, NAT-PMP or UPnP */
};

enum probe_source {
    PROBE_SAME = 1,       /* from where the peer knows the bootstrap node */
    PROBE_OTHER_PORT = 2, /* from another port of that address */
};

enum {
    CAPABLE_RELAY = 1,
    CAPABLE_PUNCH = 2
};

struct message_hint {
    struct aq_addr addr;
    uint8_t kind;
};

/* Fields, as bits of `present`. Their numbers on the wire are these. */
enum message_field {
    FIELD_VERSION = 1,
    FIELD_PEER_ID = 2,
    FIELD_HINT = 3,
    FIELD_CAPABILITIES = 4,
    FIELD_LEASE = 5,
    FIELD_GENERATION = 6,
    FIELD_POW_CHALLENGE = 7,
    FIELD_POW_SOLUTION = 8,
    FIELD_POW_BITS = 9,
    FIELD_REASON = 10,
    FIELD_RETRY_AFTER = 11,
    FIELD_OBSERVED = 12,
    FIELD_NODE = 13,
    FIELD_TEXT = 14,
    FIELD_REQUEST_ID = 15,
    FIELD_STEP = 16,
    FIELD_TARGET = 17,
    FIELD_CHANNEL_OUT = 18,
    FIELD_CHANNEL_IN = 19,
    FIELD_PACKET = 20,
    FIELD_PEER_ADDRESS = 21,
    FIELD_DELAY = 22,
    FIELD_PUNCH_KEY = 23,
    FIELD_SOURCE = 24,
    FIELD_COUNT
};

/* Decoded. Pointers go into the bytes that were decoded. */
struct message {
    uint16_t type;    /* enum message_type */
    uint32_t present; /* bit by enum message_field */
    uint8_t step, reason, pow_bits, source;
    uint16_t version;
    uint32_t capabilities, lease_s, retry_after_ms, delay_ms;
    uint64_t generation, pow_solution, channel_out, channel_in;
    struct peer_id peer_id, target;
    uint8_t request_id[REQUEST_ID_SIZE], pow_challenge[CHALLENGE_SIZE], punch_key[PUNCH_KEY_SIZE];
    struct aq_addr observed, peer_address;
    struct aq_iov packet, text;
    struct message_hint hints[MESSAGE_HINTS];
    struct aq_iov nodes[MESSAGE_NODES]; /* `PEERID@HOST:PORT` */
    uint8_t hint_count, node_count;
};

static inline bool message_has(const struct message *m, enum message_field field)
{
    return (m->present >> field & 1) != 0;
}
static inline void message_set(struct message *m, enum message_field field)
{
    m->present |= UINT32_C(1) << field;
}
/* The beginning of one of section 4: which step of which request. */
struct message message_about(uint16_t type, enum message_step step,
                             const uint8_t id[REQUEST_ID_SIZE]);

/* Length of the message at the start of a stream's bytes, header included: 0 as long as not all of
 * its header is there; UINT32_MAX if it is longer than any may be (the stream is broken: reset
 * it). */
uint32_t message_size(const uint8_t *data, size_t size);

enum message_verdict {
    MESSAGE_GOOD,
    MESSAGE_UNKNOWN, /* its type is: skip it */
    MESSAGE_BAD      /* malformed; type, and peer and request id as far as read, are set */
};

/* One whole message, exactly size bytes. */
enum message_verdict message_decode(const uint8_t *data, size_t size, struct message *m);
/* Writes what is present. Returns the size, 0 if it does not fit. A field that this message must
 * not have, or one missing, is our bug. */
size_t message_encode(const struct message *m, uint8_t *out, size_t size);

#endif
