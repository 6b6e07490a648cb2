/* params.h -- transport parameters (RFC 9000 §7.4, §18) as rows of one table, and their codec. */
#ifndef AQ_PARAMS_H
#define AQ_PARAMS_H

#include "core/antq.h"
#include "core/buf.h"

enum {
    CID_MAX = 20,
    RESET_TOKEN_SIZE = 16
};

struct cid {
    uint8_t size;
    uint8_t bytes[CID_MAX];
};

static inline bool cid_equal(const struct cid *a, const struct cid *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* RFC 9368 §3. Of those available, known ones and the chosen one are kept, each once. */
struct version_info {
    uint32_t chosen;
    uint32_t available[AQ_VERSIONS_MAX + 1]; /* sent: ours and a reserved one */
    uint8_t count;                           /* of available */
    bool empty;                              /* received: none was listed, known or not */
    bool has_chosen;                         /* received: chosen was listed */
};

struct preferred_address {
    uint8_t ip4[4], ip6[16];
    uint16_t port4, port6;
    struct cid cid;
    uint8_t token[RESET_TOKEN_SIZE];
};

/* Values not sent have the RFC's defaults after params_init. Times are microseconds here, at most
 * VARINT_MAX, and milliseconds on the wire (§18.2), rounded up. */
struct params {
    uint64_t present; /* bit by row: was it sent, or shall it be */
    struct cid original_dcid, initial_scid, retry_scid;
    uint8_t reset_token[RESET_TOKEN_SIZE];
    uint64_t max_idle_timeout_us;
    uint64_t max_udp_payload;
    uint64_t max_data;
    uint64_t max_stream_data_bidi_local, max_stream_data_bidi_remote, max_stream_data_uni;
    uint64_t max_streams_bidi, max_streams_uni;
    uint64_t ack_delay_exponent; /* as sent */
    uint64_t max_ack_delay_us;
    uint64_t max_datagram_frame; /* RFC 9221 §3: type and length included; 0: none are taken */
    uint64_t min_ack_delay_us; /* sent: the peer may ask by ACK_FREQUENCY; on the wire in us too */
    bool disable_active_migration, reset_stream_at;
    uint64_t active_cid_limit;
    struct preferred_address preferred;
    uint64_t nat_limit; /* nat_traversal: a server's concurrency limit; 0: a client's, empty */
    uint64_t address_discovery; /* enum address_discovery, where present */
    struct version_info versions;
    bool grease_quic_bit; /* RFC 9287 §3: takes packets with either value of the fixed bit */
};

enum address_discovery {
    OBSERVED_PROVIDE = 0, /* sends OBSERVED_ADDRESS */
    OBSERVED_RECEIVE = 1, /* wants to be sent it */
    OBSERVED_BOTH = 2
};

enum param_row_index { /* rows of the table = bits of present */
    PARAM_ORIGINAL_DCID,
    PARAM_MAX_IDLE_TIMEOUT,
    PARAM_RESET_TOKEN,
    PARAM_MAX_UDP_PAYLOAD,
    PARAM_MAX_DATA,
    PARAM_MAX_STREAM_DATA_BIDI_LOCAL,
    PARAM_MAX_STREAM_DATA_BIDI_REMOTE,
    PARAM_MAX_STREAM_DATA_UNI,
    PARAM_MAX_STREAMS_BIDI,
    PARAM_MAX_STREAMS_UNI,
    PARAM_ACK_DELAY_EXPONENT,
    PARAM_MAX_ACK_DELAY,
    PARAM_DISABLE_ACTIVE_MIGRATION,
    PARAM_PREFERRED_ADDRESS,
    PARAM_ACTIVE_CID_LIMIT,
    PARAM_INITIAL_SCID,
    PARAM_RETRY_SCID,
    PARAM_RESET_STREAM_AT,
    PARAM_MAX_DATAGRAM_FRAME,
    PARAM_MIN_ACK_DELAY,
    PARAM_NAT_TRAVERSAL,
    PARAM_ADDRESS_DISCOVERY,
    PARAM_VERSION_INFORMATION,
    PARAM_GREASE_QUIC_BIT,
    PARAM_ROWS
};

struct param_row {
    const char *name;
    uint64_t id;
    uint8_t kind; /* enum param_kind in params.c */
    uint8_t by;   /* BY_CLIENT, BY_SERVER, BY_BOTH as in frame.h */
    bool keep;    /* remembered for 0-RTT (§7.4.1) */
    uint16_t offset;
    uint64_t min, max, initial;
};
const struct param_row *params_rows(unsigned *count);

void params_init(struct params *p);
static inline bool params_has(const struct params *p, enum param_row_index row)
{
    return (p->present >> row & 1) != 0;
}
static inline void params_set(struct params *p, enum param_row_index row)
{
    p->present |= UINT64_C(1) << row;
}

/* The value of a row that is present and is a number or a flag, in the wire's units. */
bool params_number(const struct params *p, unsigned row, uint64_t *value);

/* Decodes what `by` (BY_CLIENT or BY_SERVER) sent. AQ_OK, and p holds it with defaults for the
 * rest; or TRANSPORT_PARAMETER_ERROR, and p is as before: truncated, twice the same id (of the
 * table, or of the first 32 unknown ones), out of bounds, not his to send. Unknown ones are
 * ignored. */
int params_decode(struct params *p, uint8_t by, const uint8_t *data, size_t size);
/* Writes all present ones in table order, and one greased parameter when grease is not 0 (§18.1: 31
 * * N + 27). Returns the size, 0 if it does not fit. */
size_t params_encode(const struct params *p, uint64_t grease, uint8_t *out, size_t size);

#endif
