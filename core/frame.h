/* frame.h -- every frame of RFC 9000 §19, and of extensions, as one row of one table, and their
 * codec.
 *
 * A row says the type, its name, the packet types it may stand in (§12.4 table 3), its properties N
 * C P F, who may send it, and its fields; one loop decodes, encodes, sizes and prints. ACK, CRYPTO
 * and STREAM carry their own codec. A frame is decoded onto a local, checked whole, then applied:
 * nothing is half done. */
#ifndef AQ_FRAME_H
#define AQ_FRAME_H

#include "core/antq.h"
#include "core/buf.h"

enum frame_type {
    FRAME_PADDING = 0x00,
    FRAME_PING = 0x01,
    FRAME_ACK = 0x02,
    FRAME_ACK_ECN = 0x03,
    FRAME_RESET_STREAM = 0x04,
    FRAME_STOP_SENDING = 0x05,
    FRAME_CRYPTO = 0x06,
    FRAME_NEW_TOKEN = 0x07,
    FRAME_STREAM = 0x08, /* to 0x0f: | FRAME_STREAM_OFF | _LEN | _FIN */
    FRAME_MAX_DATA = 0x10,
    FRAME_MAX_STREAM_DATA = 0x11,
    FRAME_MAX_STREAMS_BIDI = 0x12,
    FRAME_MAX_STREAMS_UNI = 0x13,
    FRAME_DATA_BLOCKED = 0x14,
    FRAME_STREAM_DATA_BLOCKED = 0x15,
    FRAME_STREAMS_BLOCKED_BIDI = 0x16,
    FRAME_STREAMS_BLOCKED_UNI = 0x17,
    FRAME_NEW_CONNECTION_ID = 0x18,
    FRAME_RETIRE_CONNECTION_ID = 0x19,
    FRAME_PATH_CHALLENGE = 0x1a,
    FRAME_PATH_RESPONSE = 0x1b,
    FRAME_CONNECTION_CLOSE = 0x1c,
    FRAME_CONNECTION_CLOSE_APP = 0x1d,
    FRAME_HANDSHAKE_DONE = 0x1e,
    FRAME_IMMEDIATE_ACK = 0x1f,   /* draft-ietf-quic-ack-frequency §5 */
    FRAME_RESET_STREAM_AT = 0x24, /* draft-ietf-quic-reliable-stream-reset §4 */
    FRAME_DATAGRAM = 0x30,        /* RFC 9221 §4; its lowest bit: it has a length */
    FRAME_DATAGRAM_LEN = 0x31,
    FRAME_ACK_FREQUENCY = 0xaf, /* draft-ietf-quic-ack-frequency §4 */
    /* nat/PROTOCOL.md 1; the drafts' numbers may still move */
    FRAME_ADD_ADDRESS_V4 = 0x3d7e90,
    FRAME_ADD_ADDRESS_V6 = 0x3d7e91,
    FRAME_PUNCH_ME_NOW_V4 = 0x3d7e92,
    FRAME_PUNCH_ME_NOW_V6 = 0x3d7e93,
    FRAME_REMOVE_ADDRESS = 0x3d7e94,
    FRAME_OBSERVED_ADDRESS_V4 = 0x9f81a6,
    FRAME_OBSERVED_ADDRESS_V6 = 0x9f81a7,
};
enum {
    FRAME_STREAM_FIN = 1,
    FRAME_STREAM_LEN = 2,
    FRAME_STREAM_OFF = 4
};

/* Packet types of table 3, as bits: Initial, Handshake, 0-RTT, 1-RTT. */
enum {
    IN_I = 1,
    IN_H = 2,
    IN_0 = 4,
    IN_1 = 8
};
/* Properties: N not ack-eliciting, C not counted in flight, P may probe a path, F flow controlled.
 */
enum {
    PROP_N = 1,
    PROP_C = 2,
    PROP_P = 4,
    PROP_F = 8
};
/* Who may send. */
enum {
    BY_CLIENT = 1,
    BY_SERVER = 2,
    BY_BOTH = 3
};

struct frame_ack {
    uint64_t largest, delay; /* delay as sent, not yet scaled */
    uint64_t ect0, ect1, ce;
    const uint8_t
        *ranges; /* the encoded ranges (First ACK Range, then Gap, Range ...), checked whole */
    uint64_t range_count; /* of Gap, Range pairs after the first */
    uint32_t ranges_size; /* bytes */
    bool has_ecn;
};

/* Decoded. Pointers go into the packet. The generic fields' meaning is the row's. */
struct frame {
    uint64_t type; /* of a STREAM with its flag bits */
    union {
        struct frame_ack ack;
        struct {
            uint64_t offset;
            const uint8_t *data;
            uint64_t size;
        } crypto;
        struct {
            uint64_t id, offset;
            const uint8_t *data;
            uint64_t size;
            bool fin;
        } stream;
        struct {
            uint64_t id, code, final_size;
            uint64_t reliable_size; /* of RESET_STREAM_AT */
        } reset_stream;
        struct {
            uint64_t id, code;
        } stop_sending;
        struct {
            const uint8_t *data;
            uint64_t size;
        } new_token;
        struct {
            uint64_t max;
        } max_data, max_streams, data_blocked, streams_blocked;
        struct {
            uint64_t id, max;
        } max_stream_data, stream_data_blocked;
        struct {
            uint64_t seq, retire_prior_to;
            const uint8_t *cid;
            uint64_t cid_size;
            const uint8_t *token;
        } new_cid;
        struct {
            uint64_t seq;
        } retire_cid;
        struct {
            const uint8_t *data;
        } path; /* 8 bytes */
        struct {
            const uint8_t *data;
            uint64_t size;
        } datagram;
        struct {
            uint64_t seq, threshold, max_delay_us, reordering;
        } ack_frequency;
        struct {
            uint64_t code, frame_type;
            const uint8_t *reason;
            uint64_t reason_size;
        } close;
        struct {
            uint64_t seq;
            const uint8_t *ip; /* 4 or 16 bytes, as the type says */
            uint64_t port;
        } add_address, observed_address;
        struct {
            uint64_t round, paired_seq;
            const uint8_t *ip;
            uint64_t port;
        } punch_me_now;
        struct {
            uint64_t seq;
        } remove_address;
    };
};

struct frame_row {
    const char *name;
    uint64_t type;
    uint8_t in, props, by;
    const char *fields; /* the codec's little language, see frame.c */
};

/* NULL: unknown type. For STREAM any of its 8 types. */
const struct frame_row *frame_row(uint64_t type);
/* Every row, for tests and tools. */
const struct frame_row *frame_rows(unsigned *count);

/* Reads one frame; a run of PADDING counts as one. AQ_OK, or FRAME_ENCODING_ERROR (malformed,
 * unknown type), PROTOCOL_VIOLATION (type not in its shortest encoding, RFC 9000 §12.4). f->type is
 * set even then, as far as known. At least one byte is consumed on AQ_OK. */
int frame_decode(struct reader *r, struct frame *f);

/* Whether the frame may stand in a packet type (one IN_ bit), sent by (BY_CLIENT or BY_SERVER);
 * AQ_OK or PROTOCOL_VIOLATION (§12.4, §12.5). */
int frame_allowed(uint64_t type, uint8_t in, uint8_t by);
/* The same of a row that is at hand; NULL: an unknown type. */
static inline bool frame_row_allowed(const struct frame_row *row, uint8_t in, uint8_t by)
{
    return row && (row->in & in) && (row->by & by);
}

/* Bytes that frame_encode will write. A STREAM is encoded as its type bits say (LEN, OFF, FIN). For
 * ACK see core/ack.h: ack.c writes them. */
size_t frame_size(const struct frame *f);
/* Writes it; the writer is bad if it did not fit, and then nothing was written. Not for ACK. */
void frame_encode(struct writer *w, const struct frame *f);

/* Up to three numbers that tell what a decoded frame says, the others 0: its fields in wire order,
 * for bytes their size, for PATH frames their 8 bytes. ACK: largest, delay, ranges after the first;
 * STREAM: id, offset, size * 2 + fin. For traces: none is an address in memory. */
void frame_values(const struct frame *f, uint64_t v[3]);

/* Walks the ranges of a decoded ACK from the largest down. */
struct ack_iter {
    struct reader r;
    uint64_t next_hi; /* exclusive upper end of what may follow */
    uint64_t left;    /* ranges still to come */
    bool first;
};
void ack_iter_init(struct ack_iter *it, const struct frame_ack *ack);
/* Next range [*lo, *hi) downwards; false at the end. */
static inline bool ack_iter_next(struct ack_iter *it, uint64_t *lo, uint64_t *hi)
{
    if (it->left == 0)
        return false;
    it->left--;
    /* RFC 9000 §19.3.1: largest = previous smallest - gap - 2; hi is one above it. */
    *hi = it->first ? it->next_hi : it->next_hi - read_varint(&it->r) - 1;
    *lo = *hi - 1 - read_varint(&it->r);
    it->next_hi = *lo;
    it->first = false;
    assert(!it->r.bad && *lo < *hi); /* frame_decode has checked the whole */
    return true;
}

#endif
