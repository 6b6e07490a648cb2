/* message.c -- the codec of registration and coordination messages (PROTOCOL §3).
 *
 *      0               2               4
 *     +---------------+---------------+------------------ - -
 *     | type          | length        | fields, each again type, length, value
 *     +---------------+---------------+------------------ - -
 *
 * fields[] says what a field's value is and where struct message keeps it; shapes[] says which
 * fields a message must and may have. A message is decoded onto the caller's local and checked
 * whole; nothing of it is acted upon before.
 *
 * Called by nat/registry (bootstrap) and nat/registrar (peer). */
#include "nat/message.h"

#include <assert.h>
#include <string.h>

enum field_kind {
    KIND_UINT,    /* 1, 2, 4 or 8 bytes, min to max */
    KIND_FIXED,   /* exactly so many bytes */
    KIND_ADDRESS, /* family, port, 4 or 16 bytes */
    KIND_HINT,    /* kind, then an address; up to MESSAGE_HINTS of them */
    KIND_NODE,    /* a name `[PEERID@]HOST:PORT`; up to MESSAGE_NODES of them */
    KIND_TEXT,    /* at most 128 bytes, no control characters */
    KIND_PACKET,  /* 1 to MESSAGE_PACKET bytes, as they are */
};

struct field_row {
    uint16_t offset;
    uint8_t kind, size; /* size: of KIND_UINT and KIND_FIXED */
    uint64_t min, max;
};

#define AT(member) offsetof(struct message, member)
#define ANY        UINT64_MAX

/* PROTOCOL §3: the fields, by their number. */
/* clang-format off */
static const struct field_row fields[FIELD_COUNT] = {
    /*                       offset              kind          size             min  max */
    [FIELD_VERSION]       = {AT(version),        KIND_UINT,    2,               0, UINT16_MAX},
    [FIELD_PEER_ID]       = {AT(peer_id),        KIND_FIXED,   PEER_ID_SIZE,    0, 0},
    [FIELD_HINT]          = {AT(hints),          KIND_HINT,    0,               0, 0},
    [FIELD_CAPABILITIES]  = {AT(capabilities),   KIND_UINT,    4,               0, UINT32_MAX},
    [FIELD_LEASE]         = {AT(lease_s),        KIND_UINT,    4,               0, UINT32_MAX},
    [FIELD_GENERATION]    = {AT(generation),     KIND_UINT,    8,               0, ANY},
    [FIELD_POW_CHALLENGE] = {AT(pow_challenge),  KIND_FIXED,   CHALLENGE_SIZE,  0, 0},
    [FIELD_POW_SOLUTION]  = {AT(pow_solution),   KIND_UINT,    8,               0, ANY},
    [FIELD_POW_BITS]      = {AT(pow_bits),       KIND_UINT,    1,               0, 64},
    [FIELD_REASON]        = {AT(reason),         KIND_UINT,    1,               0, UINT8_MAX},
    [FIELD_RETRY_AFTER]   = {AT(retry_after_ms), KIND_UINT,    4,               0, UINT32_MAX},
    [FIELD_OBSERVED]      = {AT(observed),       KIND_ADDRESS, 0,               0, 0},
    [FIELD_NODE]          = {AT(nodes),          KIND_NODE,    0,               0, 0},
    [FIELD_TEXT]          = {AT(text),           KIND_TEXT,    0,               0, 0},
    [FIELD_REQUEST_ID]    = {AT(request_id),     KIND_FIXED,   REQUEST_ID_SIZE, 0, 0},
    [FIELD_STEP]          = {AT(step),           KIND_UINT,    1,               STEP_REQUEST, STEP_END},
    [FIELD_TARGET]        = {AT(target),         KIND_FIXED,   PEER_ID_SIZE,    0, 0},
    [FIELD_CHANNEL_OUT]   = {AT(channel_out),    KIND_UINT,    8,               1, ANY},
    [FIELD_CHANNEL_IN]    = {AT(channel_in),     KIND_UINT,    8,               1, ANY},
    [FIELD_PACKET]        = {AT(packet),         KIND_PACKET,  0,               0, 0},
    [FIELD_PEER_ADDRESS]  = {AT(peer_address),   KIND_ADDRESS, 0,               0, 0},
    [FIELD_DELAY]         = {AT(delay_ms),       KIND_UINT,    4,               0, 10000},
    [FIELD_PUNCH_KEY]     = {AT(punch_key),      KIND_FIXED,   PUNCH_KEY_SIZE,  0, 0},
    [FIELD_SOURCE]        = {AT(source),         KIND_UINT,    1,               PROBE_SAME, PROBE_OTHER_PORT},
};

#define F(name) (UINT32_C(1) << FIELD_##name)
#define PAIR    (F(REQUEST_ID) | F(STEP))

/* PROTOCOL §3 and PROTOCOL §4: who must say what. Step 0: a message without steps. */
static const struct shape {
    uint16_t type;
    uint8_t step;
    uint32_t must, may;
} shapes[] = {
    {MESSAGE_REGISTER, 0, F(VERSION) | F(PEER_ID) | F(LEASE) | F(GENERATION),
     F(HINT) | F(CAPABILITIES) | F(POW_CHALLENGE) | F(POW_SOLUTION)},
    {MESSAGE_REGISTERED, 0, F(REASON),
     F(LEASE) | F(RETRY_AFTER) | F(OBSERVED) | F(NODE) | F(TEXT) | F(POW_CHALLENGE) | F(POW_BITS) | F(GENERATION)},
    {MESSAGE_CONNECT, STEP_REQUEST, PAIR | F(TARGET),                                    F(PACKET)},
    {MESSAGE_CONNECT, STEP_ASK,     PAIR | F(PEER_ID) | F(CHANNEL_OUT) | F(CHANNEL_IN),  F(PACKET)},
    {MESSAGE_CONNECT, STEP_ANSWER,  PAIR | F(REASON),                                    F(TEXT)},
    {MESSAGE_CONNECT, STEP_GO,      PAIR | F(CHANNEL_OUT) | F(CHANNEL_IN),               0},
    {MESSAGE_CONNECT, STEP_REFUSED, PAIR | F(REASON),                                    F(TEXT) | F(RETRY_AFTER)},
    {MESSAGE_CONNECT, STEP_END,     PAIR | F(CHANNEL_OUT),                               0},
    {MESSAGE_PUNCH,   STEP_REQUEST, PAIR | F(TARGET),                                    0},
    {MESSAGE_PUNCH,   STEP_ASK,     PAIR | F(PEER_ID),                                   0},
    {MESSAGE_PUNCH,   STEP_ANSWER,  PAIR | F(REASON),                                    F(TEXT)},
    {MESSAGE_PUNCH,   STEP_GO,      PAIR | F(PEER_ID) | F(TARGET) | F(OBSERVED) | F(PEER_ADDRESS) | F(DELAY) |
                                    F(PUNCH_KEY),                                        0},
    {MESSAGE_PUNCH,   STEP_REFUSED, PAIR | F(REASON),                                    F(TEXT) | F(RETRY_AFTER)},
    {MESSAGE_PROBE,   STEP_REQUEST, PAIR | F(SOURCE),                                    F(PEER_ADDRESS)},
    {MESSAGE_PROBE,   STEP_GO,      PAIR,                                                0},
    {MESSAGE_PROBE,   STEP_REFUSED, PAIR | F(REASON),                                    F(TEXT) | F(RETRY_AFTER)},
};

static const char *const reasons[NAT_REASONS] = {
    [NAT_ACCEPTED] = "accepted",               [NAT_MALFORMED] = "malformed",
    [NAT_VERSION] = "version",                 [NAT_IDENTITY_MISMATCH] = "identity_mismatch",
    [NAT_RATE_LIMITED] = "rate_limited",       [NAT_POW_REQUIRED] = "pow_required",
    [NAT_POW_INVALID] = "pow_invalid",         [NAT_CAPACITY] = "capacity",
    [NAT_BANNED] = "banned",                   [NAT_STALE_GENERATION] = "stale_generation",
    [NAT_POLICY] = "policy",                   [NAT_SHUTTING_DOWN] = "shutting_down",
    [NAT_NOT_REGISTERED] = "not_registered",   [NAT_REFUSED] = "refused",
    [NAT_TIMEOUT] = "timeout",                 [NAT_NO_RELAY] = "no_relay",
};
/* clang-format on */

const char *nat_reason_name(unsigned reason)
{
    return reason < NAT_REASONS ? reasons[reason] : "unknown";
}

/* ---- decode ---------------------------------------------------------------------------------- */

struct message message_about(uint16_t type, enum message_step step,
                             const uint8_t id[REQUEST_ID_SIZE])
{
    struct message m = {.type = type, .step = (uint8_t)step};
    memcpy(m.request_id, id, REQUEST_ID_SIZE);
    message_set(&m, FIELD_STEP);
    message_set(&m, FIELD_REQUEST_ID);
    return m;
}

uint32_t message_size(const uint8_t *data, size_t size)
{
    if (size < MESSAGE_HEADER)
        return 0;
    uint32_t body = (uint32_t)data[2] << 8 | data[3];
    return body > MESSAGE_BODY_MAX ? UINT32_MAX : MESSAGE_HEADER + body;
}

/* Family, port, address. An IPv4 address in IPv6's clothes is refused: an address has one form. */
static bool read_address(struct reader *r, struct aq_addr *addr)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct aq_addr got = {.family = read_u8(r)};
    got.port = (uint16_t)read_uint(r, 2);
    size_t size = got.family == 4 ? 4 : 16;
    const uint8_t *ip = read_bytes(r, size);
    if (!ip || (got.family != 4 && got.family != 6) || got.port == 0
        || (size == 16 && memcmp(ip, mapped, sizeof mapped) == 0))
        return false;
    memcpy(got.ip, ip, size);
    *addr = got;
    return true;
}

static bool text_is_plain(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) /* it will be logged */
            return false;
    }
    return true;
}

static bool read_hint(struct reader *r, struct message *m)
{
    if (m->hint_count == MESSAGE_HINTS)
        return false;
    struct message_hint *hint = &m->hints[m->hint_count++];
    hint->kind = read_u8(r);
    return hint->kind >= HINT_HOST && hint->kind <= HINT_MAPPED && read_address(r, &hint->addr);
}

static bool read_node(struct reader *r, struct message *m)
{
    struct node_name name;
    const char *why;
    size_t size = reader_left(r);
    const uint8_t *text = read_bytes(r, size);
    if (m->node_count == MESSAGE_NODES || size > NODE_TEXT || !text_is_plain(text, size)
        || !node_name_parse((const char *)text, size, &name, &why))
        return false;
    m->nodes[m->node_count++] = (struct aq_iov){text, size};
    return true;
}

static void store_uint(struct message *m, const struct field_row *row, uint64_t value)
{
    uint8_t *at = (uint8_t *)m + row->offset;
    uint8_t v1 = (uint8_t)value;
    uint16_t v2 = (uint16_t)value;
    uint32_t v4 = (uint32_t)value;
    const void *from = row->size == 1   ? (void *)&v1
                       : row->size == 2 ? (void *)&v2
                       : row->size == 4 ? (void *)&v4
                                        : (void *)&value;
    memcpy(at, from, row->size);
}

static uint64_t load_uint(const struct message *m, const struct field_row *row)
{
    const uint8_t *at = (const uint8_t *)m + row->offset;
    uint16_t v2;
    uint32_t v4;
    uint64_t v8;
    switch (row->size) {
    case 1: return *at;
    case 2: memcpy(&v2, at, sizeof v2); return v2;
    case 4: memcpy(&v4, at, sizeof v4); return v4;
    default: memcpy(&v8, at, sizeof v8); return v8;
    }
}

/* One value, which must take all of r. */
static bool read_value(struct reader *r, const struct field_row *row, struct message *m)
{
    void *at = (uint8_t *)m + row->offset;
    size_t size = reader_left(r);
    bool good = true;
    switch ((enum field_kind)row->kind) {
    case KIND_UINT: {
        uint64_t value = read_uint(r, row->size);
        good = value >= row->min && value <= row->max;
        store_uint(m, row, value);
        break;
    }
    case KIND_FIXED:
        good = size == row->size;
        if (good)
            memcpy(at, read_bytes(r, size), size);
        break;
    case KIND_ADDRESS: good = read_address(r, at); break;
    case KIND_HINT: good = read_hint(r, m); break;
    case KIND_NODE: good = read_node(r, m); break;
    case KIND_TEXT:
    case KIND_PACKET:
        *(struct aq_iov *)at = (struct aq_iov){read_bytes(r, size), size};
        good = row->kind == KIND_TEXT ? size <= MESSAGE_TEXT && text_is_plain(r->end - size, size)
                                      : size > 0 && size <= MESSAGE_PACKET;
        break;
    }
    return good && !r->bad && reader_left(r) == 0;
}

static const struct shape *shape_of(uint16_t type, uint8_t step)
{
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (shapes[i].type == type && shapes[i].step == step)
            return &shapes[i];
    }
    return NULL;
}

static bool type_is_known(uint16_t type)
{
    return type >= MESSAGE_REGISTER && type <= MESSAGE_PROBE;
}

static bool is_list(unsigned field)
{
    return field == FIELD_HINT || field == FIELD_NODE;
}

static bool shape_fits(const struct message *m)
{
    const struct shape *shape = shape_of(m->type, m->step);
    /* PROTOCOL §3: another version may ask for other fields; the answer to it says which is ours.
     */
    if (m->type == MESSAGE_REGISTER && message_has(m, FIELD_VERSION)
        && m->version != MESSAGE_VERSION)
        return true;
    /* PROTOCOL §3: a challenge and its solution come together. */
    if (m->type == MESSAGE_REGISTER
        && message_has(m, FIELD_POW_CHALLENGE) != message_has(m, FIELD_POW_SOLUTION))
        return false;
    return shape && (m->present & shape->must) == shape->must
           && (m->present & ~(shape->must | shape->may)) == 0;
}

enum message_verdict message_decode(const uint8_t *data, size_t size, struct message *m)
{
    struct reader r = reader_make(data, size);
    memset(m, 0, sizeof *m);
    m->type = (uint16_t)read_uint(&r, 2);
    size_t body = (size_t)read_uint(&r, 2);
    if (r.bad || body != reader_left(&r) || body > MESSAGE_BODY_MAX)
        return MESSAGE_BAD;
    if (!type_is_known(m->type))
        return MESSAGE_UNKNOWN; /* PROTOCOL §3: unknown types are skipped */
    while (reader_left(&r) > 0) {
        unsigned field = (unsigned)read_uint(&r, 2);
        size_t value_size = (size_t)read_uint(&r, 2);
        const uint8_t *value = read_bytes(&r, value_size);
        if (!value)
            return MESSAGE_BAD;
        if (field == 0 || field >= FIELD_COUNT)
            continue; /* PROTOCOL §3: unknown types are skipped */
        struct reader v = reader_make(value, value_size);
        /* PROTOCOL §3: only hints and nodes may come more than once. */
        if ((message_has(m, (enum message_field)field) && !is_list(field))
            || !read_value(&v, &fields[field], m))
            return MESSAGE_BAD;
        message_set(m, (enum message_field)field);
    }
    return shape_fits(m) ? MESSAGE_GOOD : MESSAGE_BAD;
}

/* ---- encode ---------------------------------------------------------------------------------- */

static void write_header(struct writer *w, unsigned type, size_t size)
{
    write_uint(w, type, 2);
    write_uint(w, size, 2);
}

static void write_address(struct writer *w, const struct aq_addr *addr)
{
    assert((addr->family == 4 || addr->family == 6) && addr->port);
    write_u8(w, addr->family);
    write_uint(w, addr->port, 2);
    write_bytes(w, addr->ip, addr->family == 4 ? 4 : 16);
}

static size_t address_size(const struct aq_addr *addr)
{
    return 1 + 2 + (addr->family == 4 ? 4 : 16);
}

static void write_iov(struct writer *w, unsigned field, const struct aq_iov *iov)
{
    write_header(w, field, iov->size);
    write_bytes(w, iov->data, iov->size);
}

static void write_field(struct writer *w, const struct message *m, unsigned field)
{
    const struct field_row *row = &fields[field];
    const void *at = (const uint8_t *)m + row->offset;
    switch ((enum field_kind)row->kind) {
    case KIND_UINT:
        assert(load_uint(m, row) >= row->min && load_uint(m, row) <= row->max);
        write_header(w, field, row->size);
        write_uint(w, load_uint(m, row), row->size);
        break;
    case KIND_FIXED:
        write_header(w, field, row->size);
        write_bytes(w, at, row->size);
        break;
    case KIND_ADDRESS:
        write_header(w, field, address_size(at));
        write_address(w, at);
        break;
    case KIND_HINT:
        for (unsigned i = 0; i < m->hint_count; i++) {
            write_header(w, field, 1 + address_size(&m->hints[i].addr));
            write_u8(w, m->hints[i].kind);
            write_address(w, &m->hints[i].addr);
        }
        break;
    case KIND_NODE:
        for (unsigned i = 0; i < m->node_count; i++)
            write_iov(w, field, &m->nodes[i]);
        break;
    case KIND_TEXT:
    case KIND_PACKET: write_iov(w, field, at); break;
    }
}

size_t message_encode(const struct message *m, uint8_t *out, size_t size)
{
    struct writer w = writer_make(out, size);
    assert(shape_fits(m));
    write_header(&w, m->type, 0);
    for (unsigned field = 1; field < FIELD_COUNT; field++) {
        if (message_has(m, (enum message_field)field))
            write_field(&w, m, field);
    }
    if (w.bad)
        return 0;
    size_t written = (size_t)(w.p - out);
    if (written > MESSAGE_MAX)
        return 0;
    out[2] = (uint8_t)((written - MESSAGE_HEADER) >> 8);
    out[3] = (uint8_t)(written - MESSAGE_HEADER);
    return written;
}
