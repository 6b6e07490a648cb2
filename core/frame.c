/* frame.c -- the frame table of RFC 9000 §12.4 (table 3) and the codec that reads it.
 *
 * Most frames are a few integers and at most one run of bytes, so a row describes its fields by a
 * string and three short loops (decode, size, encode) walk it. One letter is one field, in wire
 * order. Its value goes into the next 8-byte slots of struct frame's union, which is laid out in
 * the same order:
 *
 *     letter  on the wire                                          slots
 *     v       varint                                               value
 *     m       varint, at most 2^60: a count of streams             value
 *     b       varint, at most the value before it                  value
 *     -       nothing                                              value, 0
 *     d       varint size, bytes                                   pointer, size
 *     D       the same, not empty                                  pointer, size
 *     x       the same, at the stream offset in the value before   pointer, size
 *     r       bytes to the packet's end                            pointer, size
 *     c       1-byte size from 1 to 20, bytes: a connection id     pointer, size
 *     8  T    8 bytes; 16 bytes (T: reset token)                   pointer
 *     4  6    an address of 4 or 16 bytes                          pointer
 *     P       a port: 2 bytes, network order                       value
 *
 * PADDING (p), ACK (A, with ECN counts E) and STREAM (S) have codecs of their own: they are nearly
 * all of what a busy connection reads, and their type bits change their shape. A value that no
 * later step could repair is refused here, with the rule's section beside it; what depends on the
 * connection's state is not this file's.
 *
 * Called by core/recv (decode, allowed), core/send and the modules' fillers (size, encode),
 * core/ack (iteration). */
#include "core/frame.h"

#define STREAMS_MAX (UINT64_C(1) << 60)

enum {
    CID_BYTES_MAX = 20,
    TOKEN_BYTES = 16,
    PATH_BYTES = 8,
    IP4_BYTES = 4,
    IP6_BYTES = 16
};

/* Table 3's column Pkts, in its own notation; ih01 of CONNECTION_CLOSE is two rows. */
enum {
    IH01 = IN_I | IN_H | IN_0 | IN_1,
    IH_1 = IN_I | IN_H | IN_1,
    xx01 = IN_0 | IN_1,
    xxx1 = IN_1
};

enum {
    N = PROP_N,
    C = PROP_C,
    P = PROP_P,
    F = PROP_F
};

/* RFC 9000 §12.4: table 3. Where a frame may be sent by one side only, §19.7 and §19.20 say so.
 * §12.5 lets a server refuse RETIRE_CONNECTION_ID in 0-RTT as well; the table allows it, and so do
 * we. draft-ietf-quic-ack-frequency §3: its two frames never go in 0-RTT. Rows stand in the order
 * of types, the eight of STREAM as one: frame_row counts on it. */
/* RFC 9000 §19.21: extensions' frames elicit ACKs and count for congestion control as all others,
 * where their text says no more. */
/* clang-format off */
static const struct frame_row rows[] = {
    /* name                    type                         packets  props  sender     fields */
    {"PADDING",                FRAME_PADDING,               IH01,    N|P,   BY_BOTH,   "p"},
    {"PING",                   FRAME_PING,                  IH01,    0,     BY_BOTH,   ""},
    {"ACK",                    FRAME_ACK,                   IH_1,    N|C,   BY_BOTH,   "A"},
    {"ACK_ECN",                FRAME_ACK_ECN,               IH_1,    N|C,   BY_BOTH,   "E"},
    {"RESET_STREAM",           FRAME_RESET_STREAM,          xx01,    0,     BY_BOTH,   "vvv"},
    {"STOP_SENDING",           FRAME_STOP_SENDING,          xx01,    0,     BY_BOTH,   "vv"},
    {"CRYPTO",                 FRAME_CRYPTO,                IH_1,    0,     BY_BOTH,   "vx"},
    {"NEW_TOKEN",              FRAME_NEW_TOKEN,             xxx1,    0,     BY_SERVER, "D"},
    {"STREAM",                 FRAME_STREAM,                xx01,    F,     BY_BOTH,   "S"},
    {"MAX_DATA",               FRAME_MAX_DATA,              xx01,    0,     BY_BOTH,   "v"},
    {"MAX_STREAM_DATA",        FRAME_MAX_STREAM_DATA,       xx01,    0,     BY_BOTH,   "vv"},
    {"MAX_STREAMS_BIDI",       FRAME_MAX_STREAMS_BIDI,      xx01,    0,     BY_BOTH,   "m"},
    {"MAX_STREAMS_UNI",        FRAME_MAX_STREAMS_UNI,       xx01,    0,     BY_BOTH,   "m"},
    {"DATA_BLOCKED",           FRAME_DATA_BLOCKED,          xx01,    0,     BY_BOTH,   "v"},
    {"STREAM_DATA_BLOCKED",    FRAME_STREAM_DATA_BLOCKED,   xx01,    0,     BY_BOTH,   "vv"},
    {"STREAMS_BLOCKED_BIDI",   FRAME_STREAMS_BLOCKED_BIDI,  xx01,    0,     BY_BOTH,   "m"},
    {"STREAMS_BLOCKED_UNI",    FRAME_STREAMS_BLOCKED_UNI,   xx01,    0,     BY_BOTH,   "m"},
    {"NEW_CONNECTION_ID",      FRAME_NEW_CONNECTION_ID,     xx01,    P,     BY_BOTH,   "vbcT"},
    {"RETIRE_CONNECTION_ID",   FRAME_RETIRE_CONNECTION_ID,  xx01,    0,     BY_BOTH,   "v"},
    {"PATH_CHALLENGE",         FRAME_PATH_CHALLENGE,        xx01,    P,     BY_BOTH,   "8"},
    {"PATH_RESPONSE",          FRAME_PATH_RESPONSE,         xxx1,    P,     BY_BOTH,   "8"},
    {"CONNECTION_CLOSE",       FRAME_CONNECTION_CLOSE,      IH01,    N,     BY_BOTH,   "vvd"},
    {"CONNECTION_CLOSE_APP",   FRAME_CONNECTION_CLOSE_APP,  xx01,    N,     BY_BOTH,   "v-d"},
    {"HANDSHAKE_DONE",         FRAME_HANDSHAKE_DONE,        xxx1,    0,     BY_SERVER, ""},
    {"IMMEDIATE_ACK",          FRAME_IMMEDIATE_ACK,         xxx1,    0,     BY_BOTH,   ""},
    {"RESET_STREAM_AT",        FRAME_RESET_STREAM_AT,       xx01,    0,     BY_BOTH,   "vvvb"},
    {"DATAGRAM",               FRAME_DATAGRAM,              xx01,    0,     BY_BOTH,   "r"},
    {"DATAGRAM_LEN",           FRAME_DATAGRAM_LEN,          xx01,    0,     BY_BOTH,   "d"},
    {"ACK_FREQUENCY",          FRAME_ACK_FREQUENCY,         xxx1,    0,     BY_BOTH,   "vvvv"},
    /* PROTOCOL §1: who may send them; addresses are the server's to add and the client's to punch */
    {"ADD_ADDRESS_V4",         FRAME_ADD_ADDRESS_V4,        xx01,    0,     BY_SERVER, "v4P"},
    {"ADD_ADDRESS_V6",         FRAME_ADD_ADDRESS_V6,        xx01,    0,     BY_SERVER, "v6P"},
    {"PUNCH_ME_NOW_V4",        FRAME_PUNCH_ME_NOW_V4,       xx01,    0,     BY_CLIENT, "vv4P"},
    {"PUNCH_ME_NOW_V6",        FRAME_PUNCH_ME_NOW_V6,       xx01,    0,     BY_CLIENT, "vv6P"},
    {"REMOVE_ADDRESS",         FRAME_REMOVE_ADDRESS,        xx01,    0,     BY_SERVER, "v"},
    {"OBSERVED_ADDRESS_V4",    FRAME_OBSERVED_ADDRESS_V4,   xx01,    P,     BY_BOTH,   "v4P"},
    {"OBSERVED_ADDRESS_V6",    FRAME_OBSERVED_ADDRESS_V6,   xx01,    P,     BY_BOTH,   "v6P"},
};
/* clang-format on */

enum {
    ROWS = sizeof rows / sizeof rows[0],
    STREAM_TYPES = 8,
    EXTENSIONS =
        FRAME_IMMEDIATE_ACK - (STREAM_TYPES - 1) + 1, /* the first row that has gaps before it */
};

/* The slots that the letters fill are 8 bytes each and follow one another from the union's
 * start. */
#define SLOT(member) \
    ((offsetof(struct frame, member) - offsetof(struct frame, ack)) / sizeof(uint64_t))
_Static_assert(sizeof(uint8_t *) == sizeof(uint64_t), "a pointer takes one slot");
_Static_assert(SLOT(reset_stream.final_size) == 2 && SLOT(stop_sending.code) == 1, "vvv, vv");
_Static_assert(SLOT(reset_stream.reliable_size) == 3, "vvvb");
_Static_assert(SLOT(crypto.data) == 1 && SLOT(crypto.size) == 2, "vx");
_Static_assert(SLOT(new_token.size) == 1 && SLOT(max_stream_data.max) == 1, "D, vv");
_Static_assert(SLOT(new_cid.cid) == 2 && SLOT(new_cid.token) == 4, "vbcT");
_Static_assert(SLOT(datagram.size) == 1, "r, d");
_Static_assert(SLOT(ack_frequency.max_delay_us) == 2, "vvvv");
_Static_assert(SLOT(close.reason) == 2 && SLOT(close.reason_size) == 3, "vvd");
_Static_assert(SLOT(add_address.ip) == 1 && SLOT(add_address.port) == 2, "v4P, v6P");
_Static_assert(SLOT(punch_me_now.ip) == 2 && SLOT(punch_me_now.port) == 3, "vv4P, vv6P");

static uint8_t *slot_at(struct frame *f, unsigned slot)
{
    return (uint8_t *)f + offsetof(struct frame, ack) + slot * sizeof(uint64_t);
}

static void slot_set_value(struct frame *f, unsigned slot, uint64_t value)
{
    memcpy(slot_at(f, slot), &value, sizeof value);
}

static void slot_set_data(struct frame *f, unsigned slot, const uint8_t *data)
{
    memcpy(slot_at(f, slot), &data, sizeof data);
}

static uint64_t slot_value(const struct frame *f, unsigned slot)
{
    uint64_t value;
    memcpy(&value, (const uint8_t *)f + offsetof(struct frame, ack) + slot * sizeof value,
           sizeof value);
    return value;
}

static const uint8_t *slot_data(const struct frame *f, unsigned slot)
{
    const uint8_t *data;
    memcpy(&data, (const uint8_t *)f + offsetof(struct frame, ack) + slot * sizeof data,
           sizeof data);
    return data;
}

const struct frame_row *frame_rows(unsigned *count)
{
    *count = ROWS;
    return rows;
}

static const struct frame_row *extension_row(uint64_t type)
{
    for (unsigned i = EXTENSIONS; i < ROWS; i++) {
        if (rows[i].type == type)
            return &rows[i];
    }
    return NULL;
}

const struct frame_row *frame_row(uint64_t type)
{
    if (type > FRAME_IMMEDIATE_ACK)
        return extension_row(type);
    if (type < FRAME_STREAM)
        return &rows[type];
    return &rows[type < FRAME_STREAM + STREAM_TYPES ? FRAME_STREAM : type - (STREAM_TYPES - 1)];
}

static void values_walk(const struct frame *f, const char *letter, uint64_t v[3])
{
    unsigned slot = 0, n = 0;
    for (; *letter && n < 3; letter++) {
        switch (*letter) {
        case 'v':
        case 'm':
        case 'b':
        case '-': v[n++] = slot_value(f, slot++); break;
        case 'd':
        case 'D':
        case 'x':
        case 'c':
            v[n++] = slot_value(f, slot + 1);
            slot += 2;
            break;
        case '8': {
            struct reader r = reader_make(slot_data(f, slot++), PATH_BYTES);
            v[n++] = read_uint(&r, PATH_BYTES);
            break;
        }
        default: return;
        }
    }
}

void frame_values(const struct frame *f, uint64_t v[3])
{
    const struct frame_row *row = frame_row(f->type);
    v[0] = v[1] = v[2] = 0;
    assert(row); /* it was decoded */
    if (row->type == FRAME_STREAM) {
        v[0] = f->stream.id;
        v[1] = f->stream.offset;
        v[2] = f->stream.size << 1 | f->stream.fin;
    } else if (row->type == FRAME_ACK || row->type == FRAME_ACK_ECN) {
        v[0] = f->ack.largest;
        v[1] = f->ack.delay;
        v[2] = f->ack.range_count;
    } else {
        values_walk(f, row->fields, v);
    }
}

int frame_allowed(uint64_t type, uint8_t in, uint8_t by)
{
    const struct frame_row *row = frame_row(type);
    /* RFC 9000 §12.5: in a packet type that does not permit it; RFC 9000 §17.2.4: a Handshake
     * packet, RFC 9001 §8.3: CRYPTO in 0-RTT. RFC 9000 §19.7, RFC 9000 §19.20: a client's NEW_TOKEN
     * or HANDSHAKE_DONE. */
    return frame_row_allowed(row, in, by) ? AQ_OK : AQ_PROTOCOL_VIOLATION;
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* A varint field's value, or false where its letter's bound is passed. */
static bool value_allowed(char letter, uint64_t value, uint64_t before)
{
    switch (letter) {
    case 'm':
        /* RFC 9000 §19.11, RFC 9000 §19.14: ids of streams beyond 2^60 could not be written. */
        return value <= STREAMS_MAX;
    case 'b':
        /* RFC 9000 §19.15: Retire Prior To is at most the Sequence Number;
         * draft-ietf-quic-reliable-stream-reset §4: the Reliable Size at most the Final Size. */
        return value <= before;
    default: return true;
    }
}

/* The bytes of a run whose letter fixes their number; 0: it has a size in front. */
static unsigned fixed_size(char letter)
{
    return letter == '8'   ? PATH_BYTES
           : letter == 'T' ? TOKEN_BYTES
           : letter == '4' ? IP4_BYTES
           : letter == '6' ? IP6_BYTES
                           : 0;
}

/* The size of a run of bytes, read where the letter says so; false where it is out of bounds. */
static bool bytes_size(struct reader *r, char letter, uint64_t before, uint64_t *size)
{
    switch (letter) {
    case '8':
    case 'T':
    case '4':
    case '6': *size = fixed_size(letter); return true;
    case 'c':
        /* RFC 9000 §19.15: lengths below 1 and above 20 are invalid. */
        *size = read_u8(r);
        return *size >= 1 && *size <= CID_BYTES_MAX;
    case 'D':
        /* RFC 9000 §19.7: a token is not empty. */
        *size = read_varint(r);
        return *size >= 1;
    case 'x':
        /* RFC 9000 §19.6: offset plus length stays within 2^62 - 1. */
        *size = read_varint(r);
        return *size <= VARINT_MAX - before;
    case 'r': *size = reader_left(r); return true;
    default: *size = read_varint(r); return true;
    }
}

static bool letter_is_value(char letter)
{
    return letter == 'v' || letter == 'm' || letter == 'b';
}

/* Whether the size of a run is a value that the struct keeps; and one that is written. */
static bool letter_has_size(char letter)
{
    return fixed_size(letter) == 0;
}

static bool letter_writes_size(char letter)
{
    return letter_has_size(letter) && letter != 'r';
}

static int decode_fields(struct reader *r, const char *fields, struct frame *f)
{
    uint64_t value = 0;
    unsigned slot = 0;
    for (const char *c = fields; *c; c++) {
        uint64_t before = value;
        if (*c == '-') {
            slot_set_value(f, slot++, 0);
        } else if (*c == 'P') {
            slot_set_value(f, slot++, read_uint(r, 2));
        } else if (letter_is_value(*c)) {
            value = read_varint(r);
            if (!value_allowed(*c, value, before))
                return AQ_FRAME_ENCODING_ERROR;
            slot_set_value(f, slot++, value);
        } else {
            if (!bytes_size(r, *c, before, &value))
                return AQ_FRAME_ENCODING_ERROR;
            slot_set_data(f, slot++, read_bytes(r, value));
            if (letter_has_size(*c))
                slot_set_value(f, slot++, value);
        }
    }
    return r->bad ? AQ_FRAME_ENCODING_ERROR : AQ_OK;
}

/* RFC 9000 §19.1: PADDING has no content; the rest of a run is skipped eight bytes at a time. */
static int decode_padding(struct reader *r)
{
    uint64_t eight;
    while (reader_left(r) >= sizeof eight) {
        memcpy(&eight, r->p, sizeof eight);
        if (eight != 0)
            break;
        r->p += sizeof eight;
    }
    while (r->p < r->end && *r->p == FRAME_PADDING)
        r->p++;
    return AQ_OK;
}

/* RFC 9000 §19.8:  Stream ID, [Offset: OFF], [Length: LEN, else to the packet's end], Stream
 * Data. */
static int decode_stream(struct reader *r, struct frame *f)
{
    f->stream.id = read_varint(r);
    f->stream.offset = f->type & FRAME_STREAM_OFF ? read_varint(r) : 0;
    f->stream.size = f->type & FRAME_STREAM_LEN ? read_varint(r) : reader_left(r);
    f->stream.data = read_bytes(r, f->stream.size);
    f->stream.fin = (f->type & FRAME_STREAM_FIN) != 0;
    /* RFC 9000 §19.8: the largest offset delivered is at most 2^62 - 1. */
    if (r->bad || f->stream.size > VARINT_MAX - f->stream.offset)
        return AQ_FRAME_ENCODING_ERROR;
    return AQ_OK;
}

/* Whether all the ranges stay at or above packet number 0; the reader ends behind the last of them.
 *
 *     largest -+- First ACK Range -+- Gap -+- ACK Range -+- Gap ...
 *              [smallest .. largest]       [smallest .. ] */
static bool decode_ack_ranges(struct reader *r, uint64_t largest, uint64_t count)
{
    uint64_t first = read_varint(r);
    /* Two bytes at least for each pair: a count beyond the packet is refused before any work. */
    if (r->bad || first > largest || count > reader_left(r) / 2)
        return false;
    uint64_t smallest = largest - first;
    struct reader ranges = *r; /* a copy stays in registers: there may be hundreds */
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap, size;
        if (reader_left(&ranges) >= 2
            && !((ranges.p[0] | ranges.p[1]) & 0xc0)) { /* of a byte each */
            gap = *ranges.p++;
            size = *ranges.p++;
        } else {
            gap = read_varint(&ranges);
            size = read_varint(&ranges);
        }
        /* RFC 9000 §19.3.1: any computed packet number that is negative is an encoding error. */
        if (smallest < gap + 2 || size > smallest - gap - 2)
            return false;
        smallest -= gap + 2 + size;
    }
    *r = ranges;
    return !r->bad;
}

/* RFC 9000 §19.3:  Largest Acknowledged, ACK Delay, ACK Range Count, First ACK Range, ranges, [ECN
 * Counts]. */
static int decode_ack(struct reader *r, struct frame *f, bool has_ecn)
{
    struct frame_ack *ack = &f->ack;
    ack->largest = read_varint(r);
    ack->delay = read_varint(r);
    ack->range_count = read_varint(r);
    ack->ranges = r->p;
    if (!decode_ack_ranges(r, ack->largest, ack->range_count))
        return AQ_FRAME_ENCODING_ERROR;
    ack->ranges_size = (uint32_t)(r->p - ack->ranges);
    ack->has_ecn = has_ecn;
    ack->ect0 = has_ecn ? read_varint(r) : 0;
    ack->ect1 = has_ecn ? read_varint(r) : 0;
    ack->ce = has_ecn ? read_varint(r) : 0;
    return r->bad ? AQ_FRAME_ENCODING_ERROR : AQ_OK;
}

int frame_decode(struct reader *r, struct frame *f)
{
    const uint8_t *start = r->p;
    f->type = read_varint(r);
    if (r->bad)
        return AQ_FRAME_ENCODING_ERROR;
    if ((f->type & ~(uint64_t)(STREAM_TYPES - 1)) == FRAME_STREAM && r->p - start == 1)
        return decode_stream(r, f);
    /* RFC 9000 §12.4: a frame type must use its shortest encoding. */
    if (r->p - start != varint_size(f->type))
        return AQ_PROTOCOL_VIOLATION;
    const struct frame_row *row = frame_row(f->type);
    if (!row)
        return AQ_FRAME_ENCODING_ERROR; /* RFC 9000 §12.4: unknown type */
    switch (row->fields[0]) {
    case 'p': return decode_padding(r);
    case 'A': return decode_ack(r, f, false);
    case 'E': return decode_ack(r, f, true);
    default: return decode_fields(r, row->fields, f);
    }
}

/* ---- size and encode ------------------------------------------------------------------------- */

static size_t size_stream(const struct frame *f)
{
    size_t size = 1 + varint_size(f->stream.id) + f->stream.size;
    if (f->type & FRAME_STREAM_OFF)
        size += varint_size(f->stream.offset);
    if (f->type & FRAME_STREAM_LEN)
        size += varint_size(f->stream.size);
    return size;
}

size_t frame_size(const struct frame *f)
{
    const struct frame_row *row = frame_row(f->type);
    assert(row && row->fields[0] != 'A' && row->fields[0] != 'E');
    if (row->fields[0] == 'S')
        return size_stream(f);
    size_t size = varint_size(f->type);
    unsigned slot = 0;
    for (const char *c = row->fields; *c && *c != 'p'; c++) {
        uint64_t value = slot_value(f, slot++);
        if (letter_is_value(*c)) {
            size += varint_size(value);
        } else if (*c == 'P') {
            size += 2;
        } else if (fixed_size(*c)) {
            size += fixed_size(*c);
        } else if (*c != '-') {
            value = slot_value(f, slot++);
            size += value + (*c == 'c' ? 1 : letter_writes_size(*c) ? varint_size(value) : 0);
        }
    }
    return size;
}

static void encode_stream(struct writer *w, const struct frame *f)
{
    assert(f->type & FRAME_STREAM_OFF || f->stream.offset == 0);
    assert(f->stream.size <= VARINT_MAX - f->stream.offset);
    write_varint(w, f->stream.id);
    if (f->type & FRAME_STREAM_OFF)
        write_varint(w, f->stream.offset);
    if (f->type & FRAME_STREAM_LEN)
        write_varint(w, f->stream.size);
    write_bytes(w, f->stream.data, f->stream.size);
}

static void encode_fields(struct writer *w, const char *fields, const struct frame *f)
{
    uint64_t value = 0;
    unsigned slot = 0;
    for (const char *c = fields; *c && *c != 'p'; c++) {
        uint64_t before = value;
        if (*c == '-') {
            slot++;
        } else if (*c == 'P') {
            assert(slot_value(f, slot) <= UINT16_MAX);
            write_uint(w, slot_value(f, slot++), 2);
        } else if (letter_is_value(*c)) {
            value = slot_value(f, slot++);
            assert(value_allowed(*c, value, before));
            write_varint(w, value);
        } else {
            const uint8_t *data = slot_data(f, slot++);
            value = fixed_size(*c) ? fixed_size(*c) : slot_value(f, slot++);
            assert(*c != 'D' || value >= 1);
            assert(*c != 'x' || value <= VARINT_MAX - before);
            assert(*c != 'c' || (value >= 1 && value <= CID_BYTES_MAX));
            if (*c == 'c')
                write_u8(w, (uint8_t)value);
            else if (letter_writes_size(*c))
                write_varint(w, value);
            write_bytes(w, data, value);
        }
    }
}

void frame_encode(struct writer *w, const struct frame *f)
{
    const struct frame_row *row = frame_row(f->type);
    assert(row && row->fields[0] != 'A' && row->fields[0] != 'E');
    uint8_t *start = w->p;
    write_varint(w, f->type);
    if (row->fields[0] == 'S')
        encode_stream(w, f);
    else
        encode_fields(w, row->fields, f);
    if (w->bad)
        w->p = start;
}

/* ---- the ranges of an ACK -------------------------------------------------------------------- */

void ack_iter_init(struct ack_iter *it, const struct frame_ack *ack)
{
    it->r = reader_make(ack->ranges, ack->ranges_size);
    it->next_hi = ack->largest + 1;
    it->left = ack->range_count + 1;
    it->first = true;
}
