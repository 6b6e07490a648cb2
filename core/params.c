/* params.c -- the transport parameter table of RFC 9000 §18.2 and its codec.
 *
 * A row says a parameter's id, kind, who may send it, whether a client keeps it for 0-RTT, where it
 * lives in struct params, and its bounds and default in the wire's units. On the wire (§18) each
 * one is
 *
 *     id varint | size varint | value
 *
 * and comes at most once. Decoding fills a local and commits it whole: nothing is half applied.
 *
 * Duplicates (§7.4: SHOULD be an error) are found for every id of the table and among the first 32
 * unknown ids; unknown ones are without effect, so a duplicate further back is only rude, and a
 * list without a bound would be the peer's to fill.
 *
 * Called by core/conn when it starts TLS (encode) and when the peer's parameters are known
 * (decode). */
#include "core/params.h"

#include "core/frame.h"
#include "crypto/version.h"

enum param_kind {
    KIND_INT,      /* varint */
    KIND_MS,       /* varint of milliseconds; the struct has microseconds */
    KIND_CID,      /* 0 to 20 bytes */
    KIND_TOKEN,    /* 16 bytes */
    KIND_FLAG,     /* empty */
    KIND_ADDRESS,  /* preferred_address */
    KIND_NAT,      /* empty from a client, a varint above 0 from a server */
    KIND_VERSIONS, /* version_information */
};

enum {
    UNKNOWN_IDS = 32
};

#define V62          VARINT_MAX
#define MAX_STREAMS  (UINT64_C(1) << 60)
#define MAX_DELAY_MS ((UINT64_C(1) << 14) - 1)
#define AT(member)   offsetof(struct params, member)

/* RFC 9000 §18.2; the column keep is §7.4.1. Rows stand in the order of enum param_row_index. */
/* clang-format off */
static const struct param_row rows[] = {
    /* name                                  id    kind          sent by    keep   offset                           min   max           default */
    {"original_destination_connection_id",   0x00, KIND_CID,     BY_SERVER, false, AT(original_dcid),               0,    0,            0},
    {"max_idle_timeout",                     0x01, KIND_MS,      BY_BOTH,   true,  AT(max_idle_timeout_us),         0,    V62,          0},
    {"stateless_reset_token",                0x02, KIND_TOKEN,   BY_SERVER, false, AT(reset_token),                 0,    0,            0},
    {"max_udp_payload_size",                 0x03, KIND_INT,     BY_BOTH,   true,  AT(max_udp_payload),             1200, V62,          65527},
    {"initial_max_data",                     0x04, KIND_INT,     BY_BOTH,   true,  AT(max_data),                    0,    V62,          0},
    {"initial_max_stream_data_bidi_local",   0x05, KIND_INT,     BY_BOTH,   true,  AT(max_stream_data_bidi_local),  0,    V62,          0},
    {"initial_max_stream_data_bidi_remote",  0x06, KIND_INT,     BY_BOTH,   true,  AT(max_stream_data_bidi_remote), 0,    V62,          0},
    {"initial_max_stream_data_uni",          0x07, KIND_INT,     BY_BOTH,   true,  AT(max_stream_data_uni),         0,    V62,          0},
    {"initial_max_streams_bidi",             0x08, KIND_INT,     BY_BOTH,   true,  AT(max_streams_bidi),            0,    MAX_STREAMS,  0},
    {"initial_max_streams_uni",              0x09, KIND_INT,     BY_BOTH,   true,  AT(max_streams_uni),             0,    MAX_STREAMS,  0},
    {"ack_delay_exponent",                   0x0a, KIND_INT,     BY_BOTH,   false, AT(ack_delay_exponent),          0,    20,           3},
    {"max_ack_delay",                        0x0b, KIND_MS,      BY_BOTH,   false, AT(max_ack_delay_us),            0,    MAX_DELAY_MS, 25},
    {"disable_active_migration",             0x0c, KIND_FLAG,    BY_BOTH,   true,  AT(disable_active_migration),    0,    0,            0},
    {"preferred_address",                    0x0d, KIND_ADDRESS, BY_SERVER, false, AT(preferred),                   0,    0,            0},
    {"active_connection_id_limit",           0x0e, KIND_INT,     BY_BOTH,   true,  AT(active_cid_limit),            2,    V62,          2},
    {"initial_source_connection_id",         0x0f, KIND_CID,     BY_BOTH,   false, AT(initial_scid),                0,    0,            0},
    {"retry_source_connection_id",           0x10, KIND_CID,     BY_SERVER, false, AT(retry_scid),                  0,    0,            0},
    /* draft-ietf-quic-reliable-stream-reset §3: empty, remembered */
    {"reset_stream_at",                      0x1d, KIND_FLAG,    BY_BOTH,   true,  AT(reset_stream_at),             0,    0,            0},
    /* RFC 9221 §3: remembered */
    {"max_datagram_frame_size",              0x20, KIND_INT,     BY_BOTH,   true,  AT(max_datagram_frame),          0,    V62,          0},
    /* draft-ietf-quic-ack-frequency §3: not remembered, in microseconds */
    {"min_ack_delay",                  0xff04de1b, KIND_INT,     BY_BOTH,   false, AT(min_ack_delay_us),            0,    V62,          0},
    /* nat/PROTOCOL.md 1 */
    {"nat_traversal",                        0x3d7e9f0bca12fea6, KIND_NAT, BY_BOTH, true, AT(nat_limit),            1,    V62,          0},
    {"address_discovery",                    0x9f81a176, KIND_INT, BY_BOTH, true,  AT(address_discovery),           0,    OBSERVED_BOTH, 0},
    /* RFC 9368 §3 */
    {"version_information",                  0x11, KIND_VERSIONS, BY_BOTH,  false, AT(versions),                    0,    0,            0},
    {"grease_quic_bit",                    0x2ab2, KIND_FLAG,    BY_BOTH,   false, AT(grease_quic_bit),             0,    0,            0},
};
/* clang-format on */

_Static_assert(sizeof rows / sizeof rows[0] == PARAM_ROWS, "a row for each index");

const struct param_row *params_rows(unsigned *count)
{
    *count = PARAM_ROWS;
    return rows;
}

/* Milliseconds of the wire in microseconds, at most VARINT_MAX: nobody waits that long, and adding
 * it to a time cannot overflow. */
static uint64_t us_from_ms(uint64_t ms)
{
    return ms > VARINT_MAX / 1000 ? VARINT_MAX : ms * 1000;
}

/* Rounded up, so that a short timeout does not become 0, which means none. */
static uint64_t ms_from_us(uint64_t us)
{
    return us / 1000 + (us % 1000 != 0);
}

void params_init(struct params *p)
{
    memset(p, 0, sizeof *p);
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        uint64_t value = rows[i].kind == KIND_MS ? us_from_ms(rows[i].initial) : rows[i].initial;
        if (rows[i].kind == KIND_INT || rows[i].kind == KIND_MS)
            memcpy((uint8_t *)p + rows[i].offset, &value, sizeof value);
    }
}

/* ---- decode ---------------------------------------------------------------------------------- */

static bool decode_cid(struct reader *r, size_t size, struct cid *cid)
{
    const uint8_t *bytes = size <= CID_MAX ? read_bytes(r, size) : NULL;
    if (!bytes)
        return false;
    cid->size = (uint8_t)size;
    memcpy(cid->bytes, bytes, size);
    return true;
}

static bool decode_token(struct reader *r, uint8_t token[RESET_TOKEN_SIZE])
{
    const uint8_t *bytes = read_bytes(r, RESET_TOKEN_SIZE);
    if (bytes)
        memcpy(token, bytes, RESET_TOKEN_SIZE);
    return bytes != NULL;
}

/* RFC 9000 §18.2, figure 22: IPv4 address and port, IPv6 address and port, id with its size, reset
 * token. */
static bool decode_address(struct reader *r, struct preferred_address *to)
{
    const uint8_t *ip4 = read_bytes(r, sizeof to->ip4);
    to->port4 = (uint16_t)read_uint(r, 2);
    const uint8_t *ip6 = read_bytes(r, sizeof to->ip6);
    to->port6 = (uint16_t)read_uint(r, 2);
    /* RFC 9000 §18.2: a zero-length id in it is an error; ids have at most 20 bytes. */
    size_t cid_size = read_u8(r);
    if (!ip4 || !ip6 || cid_size == 0 || !decode_cid(r, cid_size, &to->cid))
        return false;
    memcpy(to->ip4, ip4, sizeof to->ip4);
    memcpy(to->ip6, ip6, sizeof to->ip6);
    return decode_token(r, to->token);
}

/* PROTOCOL §1: empty from a client, a concurrency limit above 0 from a server. */
static bool decode_nat(const struct param_row *row, uint8_t by, struct reader *r, uint64_t *limit)
{
    *limit = by == BY_SERVER ? read_varint(r) : 0;
    return by != BY_SERVER || *limit >= row->min;
}

/* RFC 9368 §4: too short, not in whole versions, or with a 0 among them is a parsing failure. */
static bool decode_versions(struct reader *r, struct version_info *to)
{
    *to = (struct version_info){.chosen = (uint32_t)read_uint(r, 4)};
    bool ok = !r->bad && to->chosen != 0 && reader_left(r) % 4 == 0;
    to->empty = reader_left(r) == 0;
    while (ok && reader_left(r)) {
        uint32_t version = (uint32_t)read_uint(r, 4);
        ok = version != 0;
        to->has_chosen |= version == to->chosen;
        bool kept = !version_find(version) && version != to->chosen;
        for (unsigned i = 0; i < to->count; i++)
            kept |= to->available[i] == version;
        if (!kept && to->count < AQ_VERSIONS_MAX)
            to->available[to->count++] = version;
    }
    return ok;
}

/* One value, which must take all of r. */
static bool decode_value(const struct param_row *row, uint8_t by, struct reader *r,
                         struct params *p)
{
    void *at = (uint8_t *)p + row->offset;
    bool ok = true;
    switch ((enum param_kind)row->kind) {
    case KIND_INT:
    case KIND_MS: {
        /* RFC 9000 §18.2: values out of a parameter's bounds are invalid. */
        uint64_t value = read_varint(r);
        ok = value >= row->min && value <= row->max;
        if (row->kind == KIND_MS)
            value = us_from_ms(value);
        memcpy(at, &value, sizeof value);
        break;
    }
    case KIND_CID: ok = decode_cid(r, reader_left(r), at); break;
    case KIND_TOKEN: ok = decode_token(r, at); break;
    case KIND_FLAG: *(bool *)at = true; break;
    case KIND_ADDRESS: ok = decode_address(r, at); break;
    case KIND_NAT: ok = decode_nat(row, by, r, at); break;
    case KIND_VERSIONS: ok = decode_versions(r, at); break;
    }
    return ok && !r->bad && reader_left(r) == 0;
}

bool params_number(const struct params *p, unsigned row, uint64_t *value)
{
    const uint8_t *at = (const uint8_t *)p + rows[row].offset;
    if (!params_has(p, (enum param_row_index)row))
        return false;
    switch ((enum param_kind)rows[row].kind) {
    case KIND_INT:
    case KIND_NAT: memcpy(value, at, sizeof *value); return true;
    case KIND_MS:
        memcpy(value, at, sizeof *value);
        *value = ms_from_us(*value);
        return true;
    case KIND_FLAG: *value = 1; return true;
    case KIND_CID:
    case KIND_TOKEN:
    case KIND_ADDRESS:
    case KIND_VERSIONS: break;
    }
    return false;
}

static const struct param_row *row_of(uint64_t id)
{
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        if (rows[i].id == id)
            return &rows[i];
    }
    return NULL;
}

struct unknown_ids {
    uint64_t v[UNKNOWN_IDS];
    unsigned count;
};

/* False: seen before. */
static bool unknown_is_new(struct unknown_ids *seen, uint64_t id)
{
    for (unsigned i = 0; i < seen->count; i++) {
        if (seen->v[i] == id)
            return false;
    }
    if (seen->count < UNKNOWN_IDS)
        seen->v[seen->count++] = id;
    return true;
}

int params_decode(struct params *p, uint8_t by, const uint8_t *data, size_t size)
{
    struct params got;
    struct unknown_ids seen = {.count = 0};
    struct reader r = reader_make(data, size);
    params_init(&got);
    while (reader_left(&r) > 0) {
        uint64_t id = read_varint(&r), value_size = read_varint(&r);
        const uint8_t *value = read_bytes(&r, value_size);
        if (!value)
            return AQ_TRANSPORT_PARAMETER_ERROR;
        const struct param_row *row = row_of(id);
        if (!row) {
            /* RFC 9000 §7.4.2: unknown ones are ignored. */
            if (!unknown_is_new(&seen, id))
                return AQ_TRANSPORT_PARAMETER_ERROR;
            continue;
        }
        enum param_row_index index = (enum param_row_index)(row - rows);
        struct reader v = reader_make(value, value_size);
        /* RFC 9000 §7.4: duplicates; §18.2: a client must not send what only servers send. */
        if (params_has(&got, index) || !(row->by & by) || !decode_value(row, by, &v, &got))
            return AQ_TRANSPORT_PARAMETER_ERROR;
        params_set(&got, index);
    }
    /* draft-ietf-quic-ack-frequency §3: no greater than max_ack_delay. */
    if (params_has(&got, PARAM_MIN_ACK_DELAY) && got.min_ack_delay_us > got.max_ack_delay_us)
        return AQ_TRANSPORT_PARAMETER_ERROR;
    /* RFC 9368 §4: a client lists what it chose. */
    if (params_has(&got, PARAM_VERSION_INFORMATION) && by == BY_CLIENT && !got.versions.has_chosen)
        return AQ_TRANSPORT_PARAMETER_ERROR;
    *p = got;
    return AQ_OK;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static void encode_int(struct writer *w, const struct param_row *row, uint64_t value)
{
    assert(value >= row->min && value <= row->max);
    write_varint(w, varint_size(value));
    write_varint(w, value);
}

static void encode_address(struct writer *w, const struct preferred_address *from)
{
    assert(from->cid.size >= 1 && from->cid.size <= CID_MAX);
    write_varint(w, 4 + 2 + 16 + 2 + 1 + from->cid.size + RESET_TOKEN_SIZE);
    write_bytes(w, from->ip4, sizeof from->ip4);
    write_uint(w, from->port4, 2);
    write_bytes(w, from->ip6, sizeof from->ip6);
    write_uint(w, from->port6, 2);
    write_u8(w, from->cid.size);
    write_bytes(w, from->cid.bytes, from->cid.size);
    write_bytes(w, from->token, RESET_TOKEN_SIZE);
}

static void encode_versions(struct writer *w, const struct version_info *from)
{
    write_varint(w, 4 + 4U * from->count);
    write_uint(w, from->chosen, 4);
    for (unsigned i = 0; i < from->count; i++)
        write_uint(w, from->available[i], 4);
}

/* A value with its size in front. */
static void encode_value(struct writer *w, const struct param_row *row, const struct params *p)
{
    const void *at = (const uint8_t *)p + row->offset;
    uint64_t value;
    switch ((enum param_kind)row->kind) {
    case KIND_INT:
    case KIND_MS:
        memcpy(&value, at, sizeof value);
        encode_int(w, row, row->kind == KIND_MS ? ms_from_us(value) : value);
        break;
    case KIND_CID: {
        const struct cid *cid = at;
        assert(cid->size <= CID_MAX);
        write_varint(w, cid->size);
        write_bytes(w, cid->bytes, cid->size);
        break;
    }
    case KIND_TOKEN:
        write_varint(w, RESET_TOKEN_SIZE);
        write_bytes(w, at, RESET_TOKEN_SIZE);
        break;
    case KIND_FLAG: write_varint(w, 0); break;
    case KIND_ADDRESS: encode_address(w, at); break;
    case KIND_NAT:
        memcpy(&value, at, sizeof value);
        if (value)
            encode_int(w, row, value);
        else
            write_varint(w, 0);
        break;
    case KIND_VERSIONS: encode_versions(w, at); break;
    }
}

/* RFC 9000 §18.1: an id of the form 31 * N + 27 has no meaning; sending one keeps peers used to
 * ignoring. */
static void encode_grease(struct writer *w, uint64_t grease)
{
    uint64_t n = grease % ((VARINT_MAX - 27) / 31 + 1);
    unsigned size = grease & 7;
    write_varint(w, 31 * n + 27);
    write_varint(w, size);
    write_uint(w, grease >> 8, size);
}

size_t params_encode(const struct params *p, uint64_t grease, uint8_t *out, size_t size)
{
    struct writer w = writer_make(out, size);
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        if (!params_has(p, (enum param_row_index)i))
            continue;
        write_varint(&w, rows[i].id);
        encode_value(&w, &rows[i], p);
    }
    if (grease)
        encode_grease(&w, grease);
    return w.bad ? 0 : (size_t)(w.p - out);
}
