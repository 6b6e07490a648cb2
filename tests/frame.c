/* frame.c -- tests of core/frame.c: every row both ways, cut short, and at its bounds and one step
 * beyond.
 *
 * The samples are written as bytes by hand from RFC 9000 §19, not by the encoder, and table 3 is
 * written a second time in its own notation, so a slip in either shows. Input lies in a block of
 * exactly its size, for ASan. */
#include "core/frame.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MAX = 256
};

/* A heap copy of exactly size bytes; reading beyond it is seen. */
static uint8_t *exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, size);
    return copy;
}

static int decode_bytes(const uint8_t *data, size_t size, struct frame *f, size_t *used)
{
    uint8_t *copy = exact(data, size);
    struct reader r = reader_make(copy, size);
    int result = frame_decode(&r, f);
    *used = (size_t)(r.p - copy);
    cr_assert(r.p <= r.end);
    free(copy);
    return result;
}

static int decode_hex(const char *hex)
{
    uint8_t bytes[MAX];
    struct frame f;
    size_t used, size = hex_bytes(hex, bytes, sizeof bytes);
    int result = decode_bytes(bytes, size, &f, &used);
    if (result == AQ_OK)
        cr_expect_eq(used, size, "%s", hex);
    return result;
}

/* Valid frames, their integers in the shortest encoding. open: goes to the packet's end, so that a
 * shorter one is valid too. */
static const struct sample {
    uint64_t type;
    const char *hex;
    bool open;
} samples[] = {
    {0x00, "00", true},
    {0x01, "01", false},
    {0x02, "02 00 00 00 00", false},
    {0x02, "02 0a 4064 01 02 01 03", false},
    {0x02, "02 c000000140000000 bfffffff 02 3f 00 00 7fff 40ff", false},
    {0x03, "03 05 01 00 05 01 4200 03", false},
    {0x03, "03 0a 01 01 01 00 01 00 00 ffffffffffffffff", false},
    {0x04, "04 04 4100 80010000", false},
    {0x05, "05 7abc 09", false},
    {0x06, "06 00 05 68656c6c6f", false},
    {0x06, "06 4400 00", false},
    {0x06, "06 fffffffffffffffe 01 aa", false},
    {0x07, "07 03 010203", false},
    {0x08, "08 04", true},
    {0x08, "08 04 616263", true},
    {0x09, "09 4abc 61", true},
    {0x0a, "0a 00 03 616263", false},
    {0x0a, "0a 00 00", false},
    {0x0b, "0b 08 02 6162", false},
    {0x0c, "0c 04 4800 616263", true},
    {0x0d, "0d 04 80100000", true},
    {0x0e, "0e 04 4800 03 616263", false},
    {0x0f, "0f 04 fffffffffffffffc 03 616263", false},
    {0x10, "10 ffffffffffffffff", false},
    {0x11, "11 04 80100000", false},
    {0x12, "12 4064", false},
    {0x12, "12 d000000000000000", false},
    {0x13, "13 00", false},
    {0x14, "14 4064", false},
    {0x15, "15 04 4064", false},
    {0x16, "16 d000000000000000", false},
    {0x17, "17 03", false},
    {0x18, "18 07 07 01 c1 000102030405060708090a0b0c0d0e0f", false},
    {0x18,
     "18 4100 00 14 0102030405060708090a0b0c0d0e0f1011121314 000102030405060708090a0b0c0d0e0f",
     false},
    {0x19, "19 02", false},
    {0x1a, "1a 0001020304050607", false},
    {0x1b, "1b f0f1f2f3f4f5f6f7", false},
    {0x1c, "1c 0a 4abc 06 726561736f6e", false},
    {0x1c, "1c 4128 00 00", false},
    {0x1d, "1d 80010000 02 6f6b", false},
    {0x1e, "1e", false},
    {0x1f, "1f", false},
    /* draft-ietf-quic-reliable-stream-reset §4 */
    {0x24, "24 04 4100 80010000 80010000", false},
    {0x24, "24 04 00 05 00", false},
    /* RFC 9221 §4 */
    {0x30, "30", true},
    {0x30, "30 616263", true},
    {0x31, "31 00", false},
    {0x31, "31 03 616263", false},
    {0xaf, "40af 07 1f 8000c350 03", false},
    {0xaf, "40af ffffffffffffffff 00 43e8 ffffffffffffffff", false},
    /* PROTOCOL §1: golden vectors */
    {0x3d7e90, "803d7e90 01 cb00710a 9c40", false},
    {0x3d7e91, "803d7e91 4100 20010db8000000000000000000000001 1151", false},
    {0x3d7e92, "803d7e92 01 02 cb00710a 0001", false},
    {0x3d7e93, "803d7e93 01 02 20010db8000000000000000000000001 1151", false},
    {0x3d7e94, "803d7e94 01", false},
    {0x9f81a6, "809f81a6 00 cb00710a 9c40", false},
    {0x9f81a7, "809f81a7 ffffffffffffffff 20010db8000000000000000000000001 ffff", false},
};

#define EACH_SAMPLE(s)                              \
    const struct sample *s = samples;               \
    s < samples + sizeof samples / sizeof *samples; \
    s++

static bool is_ack(uint64_t type)
{
    return type == FRAME_ACK || type == FRAME_ACK_ECN;
}

Test(frame, every_row_has_a_sample_and_is_found_by_its_type)
{
    unsigned count;
    const struct frame_row *rows = frame_rows(&count);
    for (unsigned i = 0; i < count; i++) {
        bool found = false;
        for (EACH_SAMPLE(s))
            found |= frame_row(s->type) == &rows[i];
        cr_expect(found, "%s", rows[i].name);
        cr_expect_eq(frame_row(rows[i].type), &rows[i], "%s", rows[i].name);
    }
    for (uint64_t type = 0; type <= 0x1f; type++)
        cr_expect_not_null(frame_row(type));
    cr_expect_not_null(frame_row(0xaf));
    cr_expect_null(frame_row(0x2f));
    cr_expect_null(frame_row(0x32));
    for (uint64_t type = 0x08; type <= 0x0f; type++)
        cr_expect_eq(frame_row(type), frame_row(FRAME_STREAM));
    cr_expect_null(frame_row(0x20));
    cr_expect_null(frame_row(0xae));
    cr_expect_null(frame_row(0xb0));
    cr_expect_null(frame_row(0x3d7e8f));
    cr_expect_null(frame_row(0x3d7e95));
    cr_expect_null(frame_row(0x9f81a5));
    cr_expect_null(frame_row(0x9f81a8));
    cr_expect_null(frame_row(VARINT_MAX));
}

Test(frame, samples_round_trip)
{
    for (EACH_SAMPLE(s)) {
        uint8_t bytes[MAX], out[MAX];
        struct frame f;
        struct writer w = writer_make(out, sizeof out);
        size_t size = hex_bytes(s->hex, bytes, sizeof bytes);
        struct reader r = reader_make(bytes, size);
        cr_assert_eq(frame_decode(&r, &f), AQ_OK, "%s", s->hex);
        cr_assert_eq(reader_left(&r), 0, "%s", s->hex);
        cr_assert_eq(f.type, s->type, "%s", s->hex);
        if (is_ack(s->type))
            continue;
        frame_encode(&w, &f);
        cr_assert(!w.bad, "%s", s->hex);
        cr_expect_eq(frame_size(&f), size, "%s", s->hex);
        cr_expect_eq((size_t)(w.p - out), size, "%s", s->hex);
        cr_expect_arr_eq(out, bytes, size, "%s", s->hex);
    }
}

Test(frame, every_truncation_is_malformed)
{
    for (EACH_SAMPLE(s)) {
        uint8_t bytes[MAX];
        struct frame f;
        size_t used, size = hex_bytes(s->hex, bytes, sizeof bytes);
        for (size_t cut = 0; cut < size; cut++) {
            int result = decode_bytes(bytes, cut, &f, &used);
            if (!s->open)
                cr_expect_eq(result, AQ_FRAME_ENCODING_ERROR, "%s cut to %zu", s->hex, cut);
            else
                cr_expect(result == AQ_OK || result == AQ_FRAME_ENCODING_ERROR);
        }
    }
}

Test(frame, what_does_not_fit_is_not_written)
{
    for (EACH_SAMPLE(s)) {
        uint8_t bytes[MAX], out[MAX];
        struct frame f;
        size_t size = hex_bytes(s->hex, bytes, sizeof bytes);
        struct reader r = reader_make(bytes, size);
        cr_assert_eq(frame_decode(&r, &f), AQ_OK);
        for (size_t room = 0; room < size && !is_ack(s->type); room++) {
            struct writer w = writer_make(out, room);
            frame_encode(&w, &f);
            cr_expect(w.bad && w.p == out, "%s in %zu", s->hex, room);
        }
    }
}

/* At each bound, and the step beyond. */
Test(frame, bounds)
{
    static const struct {
        const char *hex;
        int expect;
    } rows[] = {
        /* RFC 9000 §19.3.1: no packet number below 0 */
        {"02 05 00 00 05", AQ_OK},
        {"02 05 00 00 06", AQ_FRAME_ENCODING_ERROR},
        {"02 05 00 01 00 03 00", AQ_OK},                   /* 5, gap 3 -> 0 */
        {"02 05 00 01 00 04 00", AQ_FRAME_ENCODING_ERROR}, /* -> -1 */
        {"02 05 00 01 00 02 01", AQ_OK},
        {"02 05 00 01 00 02 02", AQ_FRAME_ENCODING_ERROR},
        {"02 01 00 01 00 00 00", AQ_FRAME_ENCODING_ERROR}, /* 1, then -1 */
        {"02 05 00 01 05 00 00", AQ_FRAME_ENCODING_ERROR},
        {"02 05 00 01 00 ffffffffffffffff 00", AQ_FRAME_ENCODING_ERROR},
        {"02 05 00 01 00 00 ffffffffffffffff", AQ_FRAME_ENCODING_ERROR},
        {"02 ffffffffffffffff 00 00 ffffffffffffffff", AQ_OK},
        {"02 05 00 ffffffffffffffff 00 00 00", AQ_FRAME_ENCODING_ERROR},
        {"02 05 00 02 00 00 00", AQ_FRAME_ENCODING_ERROR}, /* a range is missing */
        /* RFC 9000 §19.6: offset + length */
        {"06 fffffffffffffffe 01 aa", AQ_OK},
        {"06 ffffffffffffffff 00", AQ_OK},
        {"06 ffffffffffffffff 01 aa", AQ_FRAME_ENCODING_ERROR},
        {"06 fffffffffffffffe 02 aaaa", AQ_FRAME_ENCODING_ERROR},
        {"06 00 ffffffffffffffff", AQ_FRAME_ENCODING_ERROR},
        /* RFC 9000 §19.7: not empty */
        {"07 01 aa", AQ_OK},
        {"07 00", AQ_FRAME_ENCODING_ERROR},
        /* RFC 9000 §19.8: offset + length */
        {"0e 00 fffffffffffffffe 01 aa", AQ_OK},
        {"0e 00 fffffffffffffffe 02 aaaa", AQ_FRAME_ENCODING_ERROR},
        {"0c 00 ffffffffffffffff", AQ_OK},
        {"0c 00 ffffffffffffffff aa", AQ_FRAME_ENCODING_ERROR},
        {"0a 00 ffffffffffffffff", AQ_FRAME_ENCODING_ERROR},
        {"0a 00 02 aa", AQ_FRAME_ENCODING_ERROR},
        /* RFC 9000 §19.11 */
        {"12 d000000000000000", AQ_OK},
        {"12 d000000000000001", AQ_FRAME_ENCODING_ERROR},
        {"13 d000000000000000", AQ_OK},
        {"13 d000000000000001", AQ_FRAME_ENCODING_ERROR},
        /* RFC 9000 §19.14 */
        {"16 d000000000000000", AQ_OK},
        {"16 d000000000000001", AQ_FRAME_ENCODING_ERROR},
        {"17 d000000000000000", AQ_OK},
        {"17 ffffffffffffffff", AQ_FRAME_ENCODING_ERROR},
        /* RFC 9000 §19.15: lengths 0, 1, 20, 21; Retire Prior To against the Sequence Number */
        {"18 05 00 00 000102030405060708090a0b0c0d0e0f", AQ_FRAME_ENCODING_ERROR},
        {"18 05 00 01 aa 000102030405060708090a0b0c0d0e0f", AQ_OK},
        {"18 05 00 14 0102030405060708090a0b0c0d0e0f1011121314 000102030405060708090a0b0c0d0e0f",
         AQ_OK},
        {"18 05 00 15 0102030405060708090a0b0c0d0e0f101112131415 000102030405060708090a0b0c0d0e0f",
         AQ_FRAME_ENCODING_ERROR},
        {"18 05 05 01 aa 000102030405060708090a0b0c0d0e0f", AQ_OK},
        {"18 05 06 01 aa 000102030405060708090a0b0c0d0e0f", AQ_FRAME_ENCODING_ERROR},
        {"18 05 00 01 aa 000102030405060708090a0b0c0d0e", AQ_FRAME_ENCODING_ERROR},
        /* integers inside a frame need not be shortest: only its type (RFC 9000 §12.4) */
        {"10 4001", AQ_OK},
        {"04 c000000000000004 4001 80000001", AQ_OK},
        {"1c 0a c0000000000000ff 00", AQ_OK},
        {"1d 00 05 61", AQ_FRAME_ENCODING_ERROR},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(decode_hex(rows[i].hex), rows[i].expect, "%s", rows[i].hex);
}

/* RFC 9000 §12.4: table 3, in its own letters, types 0x00 to 0x1e; 0x1d only in 0-RTT and 1-RTT
 * ("ih"). draft-ietf-quic-ack-frequency §3: IMMEDIATE_ACK, 0x1f, and at the end ACK_FREQUENCY never
 * in 0-RTT. RFC 9221 §4: DATAGRAM in both, and so is RESET_STREAM_AT. */
static const struct {
    const char *packets, *spec;
    bool server_only; /* RFC 9000 §19.7, RFC 9000 §19.20 */
} table3[] = {
    {"IH01", "NP", false}, {"IH01", "", false},  {"IH_1", "NC", false}, {"IH_1", "NC", false},
    {"__01", "", false},   {"__01", "", false},  {"IH_1", "", false},   {"___1", "", true},
    {"__01", "F", false},  {"__01", "F", false}, {"__01", "F", false},  {"__01", "F", false},
    {"__01", "F", false},  {"__01", "F", false}, {"__01", "F", false},  {"__01", "F", false},
    {"__01", "", false},   {"__01", "", false},  {"__01", "", false},   {"__01", "", false},
    {"__01", "", false},   {"__01", "", false},  {"__01", "", false},   {"__01", "", false},
    {"__01", "P", false},  {"__01", "", false},  {"__01", "P", false},  {"___1", "P", false},
    {"IH01", "N", false},  {"__01", "N", false}, {"___1", "", true},    {"___1", "", false},
    {"___1", "", false},   {"__01", "", false},  {"__01", "", false},   {"__01", "", false},
};

/* RFC 9000 §12.5: each frame in each packet type from each side. */
Test(frame, allowed_where_table_3_says)
{
    for (unsigned row_at = 0; row_at < sizeof table3 / sizeof table3[0]; row_at++) {
        static const uint64_t beyond[] = {FRAME_ACK_FREQUENCY, FRAME_DATAGRAM, FRAME_DATAGRAM_LEN,
                                          FRAME_RESET_STREAM_AT};
        uint64_t type = row_at >= 0x20 ? beyond[row_at - 0x20] : row_at;
        for (unsigned i = 0; i < 4; i++) {
            bool in = table3[row_at].packets[i] != '_';
            int client = in && !table3[row_at].server_only ? AQ_OK : AQ_PROTOCOL_VIOLATION;
            int server = in ? AQ_OK : AQ_PROTOCOL_VIOLATION;
            cr_expect_eq(frame_allowed(type, (uint8_t)(1 << i), BY_CLIENT), client, "%u",
                         (unsigned)type);
            cr_expect_eq(frame_allowed(type, (uint8_t)(1 << i), BY_SERVER), server, "%u",
                         (unsigned)type);
        }
        const struct frame_row *row = frame_row(type);
        for (unsigned i = 0; i < 4; i++) {
            bool has = strchr(table3[row_at].spec, "NCPF"[i]) != NULL;
            cr_expect_eq((row->props >> i & 1) != 0, has, "%u", (unsigned)type);
        }
    }
    cr_expect_eq(frame_allowed(0x20, IN_1, BY_SERVER), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(frame_allowed(VARINT_MAX, IN_1, BY_CLIENT), AQ_PROTOCOL_VIOLATION);
}

/* PROTOCOL §1: never before the application's packet number space; addresses are the server's to
 * add and to remove, the client's to punch; only OBSERVED_ADDRESS is a probing frame, and all are
 * ack-eliciting. RFC 9000 §19.21: and they elicit ACKs. */
Test(frame, extensions_are_allowed_where_they_say)
{
    static const struct {
        uint64_t type;
        bool client, server, probing;
    } rows[] = {
        {0x3d7e90, false, true, false}, {0x3d7e91, false, true, false},
        {0x3d7e92, true, false, false}, {0x3d7e93, true, false, false},
        {0x3d7e94, false, true, false}, {0x9f81a6, true, true, true},
        {0x9f81a7, true, true, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (uint8_t in = IN_I; in <= IN_1; in = (uint8_t)(in << 1)) {
            bool app = in == IN_0 || in == IN_1;
            cr_expect_eq(frame_allowed(rows[i].type, in, BY_CLIENT),
                         app && rows[i].client ? AQ_OK : AQ_PROTOCOL_VIOLATION);
            cr_expect_eq(frame_allowed(rows[i].type, in, BY_SERVER),
                         app && rows[i].server ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        }
        cr_expect_eq(frame_row(rows[i].type)->props, rows[i].probing ? PROP_P : 0);
    }
}

/* PROTOCOL §1: what the fields of the golden vectors are. */
Test(frame, extension_fields)
{
    uint8_t bytes[MAX];
    struct frame f;
    struct reader r =
        reader_make(bytes, hex_bytes("803d7e90 01 cb00710a 9c40", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.add_address.seq == 1 && f.add_address.port == 40000);
    cr_expect_arr_eq(f.add_address.ip, ((const uint8_t[]){203, 0, 113, 10}), 4);
    r = reader_make(bytes, hex_bytes("803d7e93 01 02 20010db8000000000000000000000001 1151", bytes,
                                     sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.punch_me_now.round == 1 && f.punch_me_now.paired_seq == 2
              && f.punch_me_now.port == 4433 && f.punch_me_now.ip[15] == 1);
    r = reader_make(bytes, hex_bytes("803d7e94 05", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect_eq(f.remove_address.seq, 5);
    r = reader_make(bytes, hex_bytes("809f81a6 00 cb00710a 9c40", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.observed_address.seq == 0 && f.observed_address.port == 40000);
    /* a type longer than it needs to be: RFC 9000 §12.4 */
    cr_expect_eq(decode_hex("c0000000003d7e94 05"), AQ_PROTOCOL_VIOLATION);
}

/* RFC 9000 §12.4: a type not in its shortest encoding; an unknown type. */
Test(frame, types_must_be_shortest_and_known)
{
    static const uint64_t types[] = {0x00, 0x01, 0x02, 0x08, 0x0f, 0x12,   0x1e,
                                     0x1f, 0x20, 0x3f, 0x40, 0xaf, 0x3fff, 0x4000};
    for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint8_t bytes[48] = {0};
            struct frame f;
            size_t used;
            if (varint_size(types[i]) > size)
                continue;
            struct writer w = writer_make(bytes, sizeof bytes);
            write_varint_sized(&w, types[i], size);
            int result = decode_bytes(bytes, sizeof bytes, &f, &used);
            bool shortest = varint_size(types[i]) == size;
            int expect = !shortest             ? AQ_PROTOCOL_VIOLATION
                         : frame_row(types[i]) ? AQ_OK
                                               : AQ_FRAME_ENCODING_ERROR;
            cr_expect_eq(result, expect, "type %u in %u bytes", (unsigned)types[i], size);
            cr_expect_eq(f.type, types[i]);
        }
    }
}

/* RFC 9000 §19.1: a run of any length is one, and ends at the first byte that is something else. */
Test(frame, padding_runs)
{
    for (size_t size = 1; size < 40; size++) {
        uint8_t bytes[MAX] = {0};
        struct frame f;
        size_t used;
        cr_expect_eq(decode_bytes(bytes, size, &f, &used), AQ_OK);
        cr_expect_eq(used, size);
        bytes[size] = FRAME_PING;
        cr_expect_eq(decode_bytes(bytes, size + 9, &f, &used), AQ_OK);
        cr_expect_eq(used, size);
        cr_expect_eq(f.type, FRAME_PADDING);
    }
}

Test(frame, stream_fields)
{
    uint8_t bytes[MAX];
    struct frame f;
    size_t size = hex_bytes("0f 07 4800 03 616263 01", bytes, sizeof bytes);
    struct reader r = reader_make(bytes, size);
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.stream.id == 7 && f.stream.offset == 0x800 && f.stream.size == 3 && f.stream.fin);
    cr_expect_eq(f.stream.data, bytes + 5);
    cr_expect_eq(reader_left(&r), 1);
    size = hex_bytes("08 07 616263", bytes, sizeof bytes);
    r = reader_make(bytes, size);
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.stream.offset == 0 && f.stream.size == 3 && !f.stream.fin);
}

/* RFC 9000 §19.19: type 0x1c says which frame was at fault, 0x1d has no such field. */
Test(frame, close_fields)
{
    uint8_t bytes[MAX];
    struct frame f;
    struct reader r = reader_make(bytes, hex_bytes("1c 0a 06 02 6e6f", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.close.code == 0x0a && f.close.frame_type == 6 && f.close.reason_size == 2);
    r = reader_make(bytes, hex_bytes("1d 0a 02 6e6f", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.close.code == 0x0a && f.close.frame_type == 0 && f.close.reason_size == 2);
    cr_expect_arr_eq(f.close.reason, "no", 2);
}

/* RFC 9000 §19.3: fields, ranges from the top down, ECN counts of type 0x03. */
Test(frame, ack_ranges)
{
    static const uint64_t expect[][2] = {{98, 101}, {95, 97}, {0, 94}};
    uint8_t bytes[MAX];
    struct frame f;
    struct ack_iter it;
    uint64_t lo, hi;
    struct reader r = reader_make(
        bytes, hex_bytes("03 4064 07 02 02 00 01 00 405d 01 02 03", bytes, sizeof bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect(f.ack.largest == 100 && f.ack.delay == 7 && f.ack.range_count == 2 && f.ack.has_ecn);
    cr_expect(f.ack.ect0 == 1 && f.ack.ect1 == 2 && f.ack.ce == 3 && f.ack.ranges_size == 6);
    ack_iter_init(&it, &f.ack);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(ack_iter_next(&it, &lo, &hi));
        cr_expect(lo == expect[i][0] && hi == expect[i][1], "range %u", i);
    }
    cr_expect(!ack_iter_next(&it, &lo, &hi));
    cr_expect(!ack_iter_next(&it, &lo, &hi));
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* RFC 9000 §19.3.1: what was accepted walks down without a break, whatever the bytes. */
Test(frame, ack_ranges_of_random_bytes)
{
    uint64_t seed = 7, accepted = 0;
    for (unsigned run = 0; run < 200000; run++) {
        uint8_t bytes[40];
        struct frame f;
        size_t used;
        for (unsigned i = 0; i < sizeof bytes; i++) {
            uint64_t x = next_random(&seed);
            bytes[i] = (uint8_t)(x & 0x100 ? x & 0x03 : x & 0xff);
        }
        bytes[0] = FRAME_ACK;
        bytes[1] |= 0x40;
        uint8_t *copy = exact(bytes, sizeof bytes);
        struct reader r = reader_make(copy, sizeof bytes);
        if (frame_decode(&r, &f) == AQ_OK) {
            struct ack_iter it;
            uint64_t lo, hi, above = f.ack.largest + 2, ranges = 0;
            ack_iter_init(&it, &f.ack);
            for (; ack_iter_next(&it, &lo, &hi); ranges++, above = lo)
                cr_assert(lo < hi && hi < above);
            cr_assert_eq(ranges, f.ack.range_count + 1);
            accepted++;
        }
        free(copy);
        (void)decode_bytes(bytes, sizeof bytes, &f, &used);
    }
    cr_expect(accepted > 1000, "%u", (unsigned)accepted);
}

/* Random bytes of every type: no crash, and what was accepted encodes to what decodes to the
 * same. */
Test(frame, random_bytes)
{
    uint64_t seed = 11;
    for (unsigned run = 0; run < 200000; run++) {
        uint8_t bytes[48], out[64];
        struct frame f, again;
        for (unsigned i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(next_random(&seed) >> (run & 8 ? 32 : 58));
        bytes[0] = (uint8_t)(next_random(&seed) % 0x21);
        if (bytes[0] == 0x20) {
            struct writer type = writer_make(bytes, 4);
            write_varint(&type, FRAME_ADD_ADDRESS_V4 + bytes[5] % 5);
        }
        uint8_t *copy = exact(bytes, sizeof bytes);
        struct reader r = reader_make(copy, sizeof bytes);
        if (frame_decode(&r, &f) == AQ_OK && !is_ack(f.type)) {
            struct writer w = writer_make(out, sizeof out);
            frame_encode(&w, &f);
            cr_assert(!w.bad && (size_t)(w.p - out) == frame_size(&f));
            cr_assert(f.type == FRAME_PADDING || frame_size(&f) <= (size_t)(r.p - copy));
            struct reader second = reader_make(out, (size_t)(w.p - out));
            cr_assert_eq(frame_decode(&second, &again), AQ_OK);
            cr_assert_eq(again.type, f.type);
            cr_assert_eq(frame_size(&again), frame_size(&f));
        }
        free(copy);
    }
}
