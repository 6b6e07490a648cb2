/* packet.c -- tests of core/packet.c: the RFCs' samples, round trips, every truncation. */
#include "core/packet.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MAX = 1500
};

static struct cid cid_of(const char *hex)
{
    struct cid cid = {0};
    cid.size = (uint8_t)hex_bytes(hex, cid.bytes, sizeof cid.bytes);
    return cid;
}

/* Parses a heap copy of exactly size bytes; pointers in head are not valid afterwards. */
static int parse_exact(const uint8_t *data, size_t size, uint8_t short_dcid_size,
                       struct packet_head *head)
{
    uint8_t *copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, size);
    int result = packet_parse(copy, size, short_dcid_size, head);
    if (result == AQ_OK) {
        cr_assert(head->size <= size && head->pn_offset <= head->size);
        cr_assert(!head->token
                  || (head->token >= copy && head->token + head->token_size <= copy + size));
        cr_assert(!head->versions || head->versions + head->versions_size == copy + size);
    }
    free(copy);
    return result;
}

static int parse_hex(const char *hex, uint8_t short_dcid_size, struct packet_head *head)
{
    uint8_t bytes[MAX];
    return parse_exact(bytes, hex_bytes(hex, bytes, sizeof bytes), short_dcid_size, head);
}

/* ---- long and short headers ------------------------------------------------------------------ */

static const enum packet_type long_types[] = {PACKET_INITIAL, PACKET_ZERO_RTT, PACKET_HANDSHAKE};

/* A packet of this type whose ids and token have these sizes, with 30 bytes of number and
 * payload. */
static size_t build_long(uint8_t *out, enum packet_type type, uint8_t cids, size_t token_size,
                         unsigned pn_size)
{
    static const uint8_t token[100] = {0x74, 0x6f};
    const struct aq_iov iov = {token, token_size};
    struct cid dcid = {.size = cids}, scid = {.size = (uint8_t)(CID_MAX - cids)};
    struct writer w = writer_make(out, MAX);
    memset(dcid.bytes, 0xd1, dcid.size);
    memset(scid.bytes, 0x51, scid.size);
    size_t pn_offset =
        packet_write_long(&w, type, QUIC_V1, &dcid, &scid, token_size ? &iov : NULL, pn_size);
    packet_write_number(&w, 0x01020304, pn_size);
    for (unsigned i = pn_size; i < 30; i++)
        write_u8(&w, 0xee);
    cr_assert(!w.bad);
    packet_patch_length(out, pn_offset, 30);
    return (size_t)(w.p - out);
}

Test(packet, long_headers_round_trip)
{
    for (unsigned t = 0; t < 3; t++) {
        for (unsigned cids = 0; cids <= CID_MAX; cids++) {
            uint8_t bytes[MAX] = {0};
            struct packet_head head;
            size_t token_size = long_types[t] == PACKET_INITIAL ? 5 * cids : 0;
            size_t size = build_long(bytes, long_types[t], (uint8_t)cids, token_size, 1 + cids % 4);
            /* RFC 9000 §12.2: another packet may follow in the datagram */
            cr_assert_eq(packet_parse(bytes, size + 7, 8, &head), AQ_OK);
            cr_expect(head.type == long_types[t] && head.version == QUIC_V1 && head.size == size);
            cr_expect(head.dcid.size == cids && head.scid.size == CID_MAX - cids);
            cr_expect(cids == 0 || head.dcid.bytes[cids - 1] == 0xd1);
            cr_expect(cids == CID_MAX || head.scid.bytes[0] == 0x51);
            cr_expect_eq(head.token_size, token_size);
            cr_expect_eq(head.pn_offset, size - 30);
            cr_expect_eq(head.first & 3U, cids % 4);
            cr_expect_eq(head.first & 0x0c, 0, "reserved bits");
        }
    }
}

Test(packet, every_truncation_of_a_long_header_is_dropped)
{
    for (unsigned t = 0; t < 3; t++) {
        uint8_t bytes[MAX];
        struct packet_head head;
        size_t size = build_long(bytes, long_types[t], 8, t == 0 ? 70 : 0, 2);
        cr_expect_eq(parse_exact(bytes, size, 8, &head), AQ_OK);
        for (size_t cut = 0; cut < size; cut++)
            cr_expect_eq(parse_exact(bytes, cut, 8, &head), AQ_DROPPED, "%zu of %zu", cut, size);
    }
}

Test(packet, a_long_header_that_does_not_fit_is_bad)
{
    uint8_t bytes[MAX], small[MAX];
    struct cid dcid = cid_of("0102030405060708"), scid = cid_of("aa");
    struct writer w = writer_make(bytes, sizeof bytes);
    size_t size = packet_write_long(&w, PACKET_INITIAL, QUIC_V1, &dcid, &scid, NULL, 4);
    cr_assert(!w.bad);
    for (size_t room = 0; room < size; room++) {
        struct writer s = writer_make(small, room);
        packet_write_long(&s, PACKET_INITIAL, QUIC_V1, &dcid, &scid, NULL, 4);
        cr_expect(s.bad);
    }
}

/* RFC 9000 §17.2, RFC 9000 §17.3.1: fixed bit, id sizes; RFC 8999 §5.1: other versions. */
Test(packet, what_is_dropped_and_what_is_not)
{
    static const struct {
        const char *what, *hex;
        int expect;
        enum packet_type type;
    } rows[] = {
        {"empty Initial", "c0 00000001 00 00 00 00", AQ_OK, PACKET_INITIAL},
        {"fixed bit clear", "80 00000001 00 00 00 00", AQ_DROPPED, 0},
        {"Handshake", "e0 00000001 00 00 00", AQ_OK, PACKET_HANDSHAKE},
        {"length one too many", "e0 00000001 00 00 02 aa", AQ_DROPPED, 0},
        {"length of 2^62 - 1", "e0 00000001 00 00 ffffffffffffffff aa", AQ_DROPPED, 0},
        {"token of 2^62 - 1", "c0 00000001 00 00 ffffffffffffffff aa", AQ_DROPPED, 0},
        {"dcid of 20", "e0 00000001 14 0102030405060708090a0b0c0d0e0f1011121314 00 00", AQ_OK,
         PACKET_HANDSHAKE},
        {"dcid of 21", "e0 00000001 15 0102030405060708090a0b0c0d0e0f101112131415 00 00",
         AQ_DROPPED, 0},
        {"scid of 21", "e0 00000001 00 15 0102030405060708090a0b0c0d0e0f101112131415 00",
         AQ_DROPPED, 0},
        {"unknown version", "c0 1a2a3a4a 00 00", AQ_OK, PACKET_UNKNOWN_VERSION},
        {"unknown version, no fixed bit", "80 1a2a3a4a 00 00", AQ_OK, PACKET_UNKNOWN_VERSION},
        {"unknown version, scid cut", "80 1a2a3a4a 00 01", AQ_DROPPED, 0},
        {"versions", "80 00000000 00 00 00000001", AQ_OK, PACKET_VERSION_NEGOTIATION},
        {"versions, none", "80 00000000 00 00", AQ_DROPPED, 0}, /* RFC 8999 §6 */
        {"versions, not whole", "80 00000000 00 00 00000001 00", AQ_DROPPED, 0},
        {"short", "40 0102030405060708", AQ_OK, PACKET_ONE_RTT},
        {"short, fixed bit clear", "00 0102030405060708", AQ_DROPPED, 0},
        {"short, id cut", "40 01020304050607", AQ_DROPPED, 0},
        {"Retry", "f0 00000001 00 00 74 000102030405060708090a0b0c0d0e0f", AQ_OK, PACKET_RETRY},
        /* RFC 9000 §17.2.5.2 */
        {"Retry, empty token", "f0 00000001 00 00 000102030405060708090a0b0c0d0e0f", AQ_DROPPED, 0},
        {"Retry, tag cut", "f0 00000001 00 00 000102030405060708090a0b0c0d0e", AQ_DROPPED, 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct packet_head head;
        int result = parse_hex(rows[i].hex, 8, &head);
        cr_expect_eq(result, rows[i].expect, "%s", rows[i].what);
        if (result == AQ_OK)
            cr_expect_eq(head.type, rows[i].type, "%s", rows[i].what);
    }
}

/* RFC 8999 §5.1: an unknown version may have ids of 255 bytes; they are walked over, and marked. */
Test(packet, long_ids_of_unknown_versions)
{
    uint8_t bytes[MAX];
    struct packet_head head;
    struct writer w = writer_make(bytes, sizeof bytes);
    write_uint(&w, 0xc01a2a3a4a, 5);
    write_u8(&w, 255);
    for (unsigned i = 0; i < 255; i++)
        write_u8(&w, (uint8_t)i);
    write_uint(&w, 0x0277aa, 3);
    cr_assert_eq(parse_exact(bytes, (size_t)(w.p - bytes), 8, &head), AQ_OK);
    cr_expect(head.type == PACKET_UNKNOWN_VERSION && head.version == 0x1a2a3a4a);
    cr_expect(head.dcid.size == 255 && head.scid.size == 2 && head.scid.bytes[0] == 0x77);
    for (size_t cut = 0; cut < (size_t)(w.p - bytes); cut++)
        cr_expect_eq(parse_exact(bytes, cut, 8, &head), AQ_DROPPED);
}

Test(packet, short_headers_round_trip)
{
    for (unsigned size = 0; size <= CID_MAX; size++) {
        uint8_t bytes[64];
        struct packet_head head;
        struct cid dcid = {.size = (uint8_t)size};
        struct writer w = writer_make(bytes, sizeof bytes);
        bool spin = size & 1, phase = (size & 2) != 0;
        memset(dcid.bytes, 0x3c, size);
        size_t pn_offset = packet_write_short(&w, &dcid, spin, phase, 1 + size % 4);
        packet_write_number(&w, 0xaabbccdd, 1 + size % 4);
        cr_assert(!w.bad);
        cr_expect_eq(w.p[-1], 0xdd);
        cr_assert_eq(parse_exact(bytes, (size_t)(w.p - bytes), (uint8_t)size, &head), AQ_OK);
        cr_expect(head.type == PACKET_ONE_RTT && cid_equal(&head.dcid, &dcid)
                  && head.pn_offset == pn_offset);
        cr_expect_eq(head.size, (size_t)(w.p - bytes));
        cr_expect_eq(bytes[0], 0x40 | (spin ? 0x20 : 0) | (phase ? 0x04 : 0) | (int)(size % 4));
        for (size_t cut = 0; cut <= size; cut++)
            cr_expect_eq(parse_exact(bytes, cut, (uint8_t)size, &head), AQ_DROPPED);
    }
}

Test(packet, random_bytes_never_crash)
{
    uint64_t x = 3;
    for (unsigned run = 0; run < 100000; run++) {
        uint8_t bytes[64];
        struct packet_head head;
        for (unsigned i = 0; i < sizeof bytes; i++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
            bytes[i] = (uint8_t)(x >> 40 & (i < 8 ? 0xff : 0x1f));
        }
        if (run & 1)
            memcpy(bytes + 1, "\0\0\0\1", 4);
        (void)parse_exact(bytes, 1 + run % sizeof bytes, (uint8_t)(run % 21), &head);
    }
}

Test(packet, lengths_are_patched_in_two_bytes)
{
    static const size_t lengths[] = {0, 20, 63, 64, 16383};
    for (unsigned i = 0; i < 5; i++) {
        uint8_t bytes[4] = {0xaa, 0, 0, 0xbb};
        packet_patch_length(bytes, 3, lengths[i]);
        struct reader r = reader_make(bytes + 1, 2);
        cr_expect_eq(read_varint(&r), lengths[i]);
        cr_expect(reader_left(&r) == 0 && bytes[0] == 0xaa && bytes[3] == 0xbb);
    }
}

/* ---- packet numbers -------------------------------------------------------------------------- */

/* RFC 9000 A.2, and the bound of RFC 9000 §17.1: more than twice the range. */
Test(packet, number_sizes)
{
    cr_expect_eq(packet_number_size(0xac5c02, 0xabe8b3), 2);
    cr_expect_eq(packet_number_size(0xace8fe, 0xabe8b3), 3);
    cr_expect_eq(packet_number_size(0, UINT64_MAX), 1);
    cr_expect_eq(packet_number_size(126, UINT64_MAX), 1);
    cr_expect_eq(packet_number_size(127, UINT64_MAX), 2);
    cr_expect_eq(packet_number_size(127, 0), 1);
    cr_expect_eq(packet_number_size(128, 0), 2);
    cr_expect_eq(packet_number_size(0x7fff, 0), 2);
    cr_expect_eq(packet_number_size(0x8000, 0), 3);
    cr_expect_eq(packet_number_size(0x7fffff, 0), 3);
    cr_expect_eq(packet_number_size(0x800000, 0), 4);
    cr_expect_eq(packet_number_size(VARINT_MAX, VARINT_MAX - 1), 1);
}

/* RFC 9000 §17.1, RFC 9000 A.3 */
Test(packet, numbers_decode)
{
    cr_expect_eq(packet_number_decode(0x9b32, 2, 0xa82f30eb), 0xa82f9b32);
    cr_expect_eq(packet_number_decode(0, 1, 0), 0);
    cr_expect_eq(packet_number_decode(255, 1, 0), 255); /* nothing lies below 0 */
    cr_expect_eq(packet_number_decode(0, 1, 0x80), 0x100);
    cr_expect_eq(packet_number_decode(1, 1, 0x80), 0x01);
    cr_expect_eq(packet_number_decode(0xff, 1, 0x100), 0xff);
    cr_expect_eq(packet_number_decode(0xff, 1, VARINT_MAX + 1), VARINT_MAX);
    cr_expect_eq(packet_number_decode(0, 1, VARINT_MAX),
                 VARINT_MAX - 255); /* none beyond 2^62 - 1 */
    cr_expect_eq(packet_number_decode(0xffffffff, 4, VARINT_MAX), VARINT_MAX);
}

/* What a sender writes, any receiver between the last acknowledged and the number decodes. */
Test(packet, numbers_agree)
{
    uint64_t x = 5;
    for (unsigned run = 0; run < 100000; run++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t acked = (x >> 20) >> (run % 40),
                 distance = 1 + (x & 0xffffffff) % (UINT64_C(1) << (run % 31));
        uint64_t number = acked + distance;
        unsigned size = packet_number_size(number, acked);
        uint64_t truncated = number & ((UINT64_C(1) << (8 * size)) - 1);
        cr_assert_eq(packet_number_decode(truncated, size, acked + 1), number);
        cr_assert_eq(packet_number_decode(truncated, size, acked + 1 + distance / 2), number);
        cr_assert_eq(packet_number_decode(truncated, size, number), number);
        cr_assert_eq(packet_number_decode(truncated, size, number + 1), number);
    }
}

/* ---- Retry, Version Negotiation -------------------------------------------------------------- */

/* RFC 9001 A.4 */
static const char retry_hex[] =
    "ff000000010008f067a5502a4262b574 6f6b656e04a265ba2eff4d829058fb3f 0f2496ba";
static const char retry_odcid[] = "8394c8f03e515708";

/* RFC 9001 §5.8, RFC 9000 §17.2.5 */
Test(packet, retry_sample)
{
    uint8_t bytes[64], out[64];
    struct packet_head head;
    struct cid odcid = cid_of(retry_odcid), dcid = {0}, scid = cid_of("f067a5502a4262b5");
    struct aq_iov token = {(const uint8_t *)"token", 5};
    size_t size = hex_bytes(retry_hex, bytes, sizeof bytes);
    cr_assert_eq(packet_parse(bytes, size, 8, &head), AQ_OK);
    cr_expect(head.type == PACKET_RETRY && head.dcid.size == 0 && cid_equal(&head.scid, &scid));
    cr_assert_eq(head.token_size, 5);
    cr_expect_arr_eq(head.token, "token", 5);
    cr_expect(packet_check_retry(bytes, size, QUIC_V1, &odcid));
    cr_assert_eq(packet_write_retry(out, sizeof out, QUIC_V1, &dcid, &scid, &odcid, &token, 0xff),
                 size);
    cr_expect_arr_eq(out, bytes, size);
    for (size_t room = 0; room < size; room++)
        cr_expect_eq(packet_write_retry(out, room, QUIC_V1, &dcid, &scid, &odcid, &token, 0), 0);
}

Test(packet, retry_tag_covers_every_bit)
{
    uint8_t bytes[64];
    struct cid odcid = cid_of(retry_odcid), other = cid_of("8394c8f03e515709"), none = {0};
    size_t size = hex_bytes(retry_hex, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect(!packet_check_retry(bytes, size, QUIC_V1, &odcid), "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++)
        cr_expect(!packet_check_retry(bytes, cut, QUIC_V1, &odcid));
    cr_expect(!packet_check_retry(bytes, size, QUIC_V1, &other));
    cr_expect(!packet_check_retry(bytes, size, QUIC_V1, &none));
}

/* RFC 9000 §17.2.1, RFC 8999 §6: ids of any size are echoed. */
Test(packet, versions_round_trip)
{
    static const uint32_t versions[] = {0x1a2a3a4a, QUIC_V1};
    for (unsigned n = 0; n <= 255; n += 15) {
        uint8_t out[600], id[255];
        struct packet_head head;
        struct aq_iov dcid = {id, n}, scid = {id, 255 - n};
        memset(id, 0x66, sizeof id);
        size_t size = packet_write_versions(out, sizeof out, &dcid, &scid, versions, 2, 0xff);
        cr_assert_eq(size, 5 + 2 + 255 + 8U);
        cr_assert_eq(packet_parse(out, size, 8, &head), AQ_OK);
        cr_expect(head.type == PACKET_VERSION_NEGOTIATION && head.version == 0
                  && head.size == size);
        cr_expect_eq(head.dcid.size, n <= CID_MAX ? n : 255);
        cr_expect_eq(head.first, 0xff);
        cr_assert_eq(head.versions_size, 8);
        cr_expect_arr_eq(head.versions, "\x1a\x2a\x3a\x4a\0\0\0\1", 8);
        for (size_t room = 0; room < size; room++)
            cr_expect_eq(packet_write_versions(out, room, &dcid, &scid, versions, 2, 0), 0);
    }
}
