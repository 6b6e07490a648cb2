/* packet.c -- packet headers to structs and back (RFC 8999; RFC 9000 §17, §17.1 and appendix A for
 * numbers).
 *
 *     long   1HTT RRPP | version 4 | size, dcid | size, scid | type's own part
 *              Initial     token size, token, Length, number and payload
 *              0-RTT, Handshake                Length, number and payload
 *              Retry       token to 16 bytes before the end, integrity tag 16
 *     short  01SR RKPP | dcid (its size is known to its receiver) | number and payload
 *
 * Everything here is read from strangers and before any key is known, so whatever does not fit is
 * dropped and never answered with an error. What the bits under header protection say (RR, PP, K)
 * is not looked at. The parser reads one packet; the caller steps through a datagram by head.size
 * (RFC 9000 §12.2).
 *
 * Called by core/endpoint (parse, Retry, Version Negotiation), core/recv and core/send. */
#include "core/packet.h"

#include "crypto/prim.h"
#include "crypto/schedule.h"

enum {
    FIRST_LONG = 0x80, /* header form, RFC 8999 §5.1 */
    FIRST_SPIN = 0x20,
    FIRST_KEY_PHASE = 0x04,
    TYPE_SHIFT = 4,
    TYPE_MASK = 3,
    RETRY_TAG_SIZE = 16,
    CID_TOO_LONG = 255,
};

/* ---- reading --------------------------------------------------------------------------------- */

/* An id with its 1-byte size. RFC 8999 §5.1: up to 255 bytes in versions we do not know. */
static void read_cid(struct reader *r, struct cid *cid)
{
    uint8_t size = read_u8(r);
    const uint8_t *bytes = read_bytes(r, size);
    cid->size = size <= CID_MAX ? size : CID_TOO_LONG;
    if (bytes && size <= CID_MAX)
        memcpy(cid->bytes, bytes, size);
}

/* RFC 9000 §17.2.1: Version Negotiation lists whole versions to the datagram's end; RFC 8999 §6:
 * one that lists none, or half of one, is ignored. */
static int parse_versions(struct reader *r, struct packet_head *head)
{
    head->type = PACKET_VERSION_NEGOTIATION;
    head->versions_size = reader_left(r);
    head->versions = read_bytes(r, head->versions_size);
    return head->versions_size && head->versions_size % 4 == 0 ? AQ_OK : AQ_DROPPED;
}

/* RFC 9000 §17.2.5: a token, and the tag in the last 16 bytes. */
static int parse_retry(struct reader *r, struct packet_head *head)
{
    /* RFC 9000 §17.2.5.2: a Retry with an empty token is discarded. */
    if (reader_left(r) <= RETRY_TAG_SIZE)
        return AQ_DROPPED;
    head->token_size = reader_left(r) - RETRY_TAG_SIZE;
    head->token = read_bytes(r, head->token_size);
    return AQ_OK;
}

/* RFC 9000 §17.2, RFC 9369 §3.2: what the two type bits say. */
static enum packet_type type_of(const struct version *version, uint8_t first)
{
    unsigned type = PACKET_INITIAL;
    while (version->types[type] != (first >> TYPE_SHIFT & TYPE_MASK))
        type++; /* the column has all four values */
    return (enum packet_type)type;
}

static uint8_t type_bits(uint32_t version, enum packet_type type)
{
    return (uint8_t)(version_of(version)->types[type] << TYPE_SHIFT);
}

static int parse_long(const uint8_t *data, size_t size, struct packet_head *head)
{
    struct reader r = reader_make(data + 1, size - 1);
    head->version = (uint32_t)read_uint(&r, 4);
    read_cid(&r, &head->dcid);
    read_cid(&r, &head->scid);
    if (r.bad)
        return AQ_DROPPED;
    if (head->version == 0)
        return parse_versions(&r, head);
    const struct version *version = version_find(head->version);
    if (!version) {
        head->type = PACKET_UNKNOWN_VERSION;
        return AQ_OK;
    }
    /* RFC 9000 §17.2: ids have at most 20 bytes. */
    if (head->dcid.size > CID_MAX || head->scid.size > CID_MAX)
        return AQ_DROPPED;
    head->type = type_of(version, head->first);
    if (head->type == PACKET_RETRY)
        return parse_retry(&r, head);
    if (head->type == PACKET_INITIAL) {
        head->token_size = read_varint(&r);
        head->token = read_bytes(&r, head->token_size);
    }
    uint64_t length = read_varint(&r);
    if (r.bad || length > reader_left(&r))
        return AQ_DROPPED;
    head->pn_offset = (size_t)(r.p - data);
    head->size = head->pn_offset + length;
    return AQ_OK;
}

int packet_parse_greased(const uint8_t *data, size_t size, uint8_t short_dcid_size,
                         struct packet_head *head)
{
    assert(short_dcid_size <= CID_MAX);
    if (size == 0)
        return AQ_DROPPED;
    *head = (struct packet_head){.first = data[0], .size = size, .type = PACKET_ONE_RTT};
    if (data[0] & FIRST_LONG)
        return parse_long(data, size, head);
    if (size - 1 < short_dcid_size)
        return AQ_DROPPED;
    head->version = QUIC_V1;
    head->dcid.size = short_dcid_size;
    memcpy(head->dcid.bytes, data + 1, short_dcid_size);
    head->pn_offset = 1U + short_dcid_size;
    return AQ_OK;
}

int packet_parse(const uint8_t *data, size_t size, uint8_t short_dcid_size,
                 struct packet_head *head)
{
    int error = packet_parse_greased(data, size, short_dcid_size, head);
    bool ours = error == AQ_OK && head->version && head->type != PACKET_UNKNOWN_VERSION;
    /* RFC 9000 §17.2, §17.3.1: the fixed bit is 1 in the versions we speak. */
    return ours && !(head->first & PACKET_FIXED_BIT) ? AQ_DROPPED : error;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_cid(struct writer *w, const struct cid *cid)
{
    assert(cid->size <= CID_MAX);
    write_u8(w, cid->size);
    write_bytes(w, cid->bytes, cid->size);
}

size_t packet_write_long(struct writer *w, enum packet_type type, uint32_t version,
                         const struct cid *dcid, const struct cid *scid, const struct aq_iov *token,
                         unsigned pn_size)
{
    assert(type == PACKET_INITIAL || type == PACKET_ZERO_RTT || type == PACKET_HANDSHAKE);
    assert(pn_size >= 1 && pn_size <= 4);
    const uint8_t *start = w->p;
    write_u8(w,
             (uint8_t)(FIRST_LONG | PACKET_FIXED_BIT | type_bits(version, type) | (pn_size - 1)));
    write_uint(w, version, 4);
    write_cid(w, dcid);
    write_cid(w, scid);
    if (type == PACKET_INITIAL) {
        write_varint(w, token ? token->size : 0);
        if (token)
            write_bytes(w, token->data, token->size);
    }
    write_varint_sized(w, 0, 2);
    return (size_t)(w->p - start);
}

void packet_patch_length(uint8_t *packet, size_t pn_offset, size_t length)
{
    assert(pn_offset >= 2 && length < 1 << 14);
    struct writer w = writer_make(packet + pn_offset - 2, 2);
    write_varint_sized(&w, length, 2);
}

size_t packet_write_short(struct writer *w, const struct cid *dcid, bool spin, bool key_phase,
                          unsigned pn_size)
{
    assert(pn_size >= 1 && pn_size <= 4 && dcid->size <= CID_MAX);
    write_u8(w, (uint8_t)(PACKET_FIXED_BIT | (spin ? FIRST_SPIN : 0)
                          | (key_phase ? FIRST_KEY_PHASE : 0) | (pn_size - 1)));
    write_bytes(w, dcid->bytes, dcid->size);
    return 1U + dcid->size;
}

void packet_write_number(struct writer *w, uint64_t number, unsigned pn_size)
{
    assert(pn_size >= 1 && pn_size <= 4);
    write_uint(w, number, pn_size); /* the low bytes: write_uint keeps no others */
}

/* ---- packet numbers -------------------------------------------------------------------------- */

unsigned packet_number_size(uint64_t number, uint64_t largest_acked)
{
    uint64_t unacked = largest_acked == UINT64_MAX ? number + 1 : number - largest_acked;
    assert(number <= VARINT_MAX && unacked >= 1 && unacked <= number + 1);
    /* RFC 9000 §17.1: the size represents more than twice the range from the largest
     * acknowledged. */
    unsigned size = 1;
    while (size < 4 && unacked >> (8 * size - 1) != 0)
        size++;
    return size;
}

uint64_t packet_number_decode(uint64_t truncated, unsigned pn_size, uint64_t expected)
{
    /* RFC 9000 A.3: the number closest to the expected one that ends in these bits. */
    uint64_t window = UINT64_C(1) << (8 * pn_size), half = window / 2;
    uint64_t candidate = (expected & ~(window - 1)) | truncated;
    assert(pn_size >= 1 && pn_size <= 4 && truncated < window && expected <= VARINT_MAX + 1);
    if (candidate + half <= expected && candidate < VARINT_MAX + 1 - window)
        return candidate + window;
    if (candidate > expected + half && candidate >= window)
        return candidate - window;
    return candidate;
}

/* ---- Retry, Version Negotiation -------------------------------------------------------------- */

size_t packet_write_retry(uint8_t *out, size_t size, uint32_t version, const struct cid *dcid,
                          const struct cid *scid, const struct cid *odcid,
                          const struct aq_iov *token, uint8_t unused)
{
    assert(token->size > 0);
    struct writer w = writer_make(out, size);
    write_u8(&w, (uint8_t)(FIRST_LONG | PACKET_FIXED_BIT | type_bits(version, PACKET_RETRY)
                           | (unused & 0x0f)));
    write_uint(&w, version, 4);
    write_cid(&w, dcid);
    write_cid(&w, scid);
    write_bytes(&w, token->data, token->size);
    if (w.bad || writer_left(&w) < RETRY_TAG_SIZE)
        return 0;
    size_t body = (size_t)(w.p - out);
    schedule_retry_tag(version, odcid->bytes, odcid->size, out, body, w.p);
    return body + RETRY_TAG_SIZE;
}

bool packet_check_retry(const uint8_t *data, size_t size, uint32_t version, const struct cid *odcid)
{
    if (size < RETRY_TAG_SIZE)
        return false;
    uint8_t tag[RETRY_TAG_SIZE];
    size_t body = size - RETRY_TAG_SIZE;
    /* RFC 9001 §5.8: the tag covers the client's first Destination Connection ID and the Retry
     * before it. */
    schedule_retry_tag(version, odcid->bytes, odcid->size, data, body, tag);
    return prim_equal(tag, data + body, sizeof tag);
}

size_t packet_write_versions(uint8_t *out, size_t size, const struct aq_iov *dcid,
                             const struct aq_iov *scid, const uint32_t *versions, unsigned count,
                             uint8_t unused)
{
    assert(dcid->size <= UINT8_MAX && scid->size <= UINT8_MAX);
    struct writer w = writer_make(out, size);
    /* RFC 9000 §17.2.1: the fixed bit should be set, for what shares the port with QUIC (RFC
     * 7983). */
    write_u8(&w, (uint8_t)(FIRST_LONG | PACKET_FIXED_BIT | (unused & 0x3f)));
    write_uint(&w, 0, 4);
    write_u8(&w, (uint8_t)dcid->size);
    write_bytes(&w, dcid->data, dcid->size);
    write_u8(&w, (uint8_t)scid->size);
    write_bytes(&w, scid->data, scid->size);
    for (unsigned i = 0; i < count; i++)
        write_uint(&w, versions[i], 4);
    return w.bad ? 0 : (size_t)(w.p - out);
}
