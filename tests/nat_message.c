/* nat_message.c -- tests of nat/message.c: golden vectors, every truncation, every field's bounds,
 * what each message must and may hold. */
#include "nat/message.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MAX = 4096
};

#define ID  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ID2 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define RID "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

/* PROTOCOL §3, PROTOCOL §4: golden vectors, written by hand. */
static const struct {
    const char *what, *hex;
} golden[] = {
    {"REGISTER",
     "0001 003e  0001 0002 0001  0002 0020" ID " 0005 0004 00000078  0006 0008 0000000000000007"},
    {"REGISTER with all",
     "0001 008a  0001 0002 0001  0002 0020" ID " 0003 0008 01 04 9c40 c0000201"
     " 0003 0014 02 06 1151 20010db8000000000000000000000001  0004 0004 00000003  0005 0004 00000078"
     " 0006 0008 0000000000000007  0007 0010" RID " 0008 0008 00000000000000ff"},
    {"REGISTERED", "0002 0018  0005 0004 00000078  000a 0001 00  000c 0007 04 9c40 cb00710a"},
    {"REGISTERED, refused",
     "0002 0047  0007 0010" RID " 0009 0001 10  000a 0001 08  000b 0004 000003e8"
     " 000d 0010 6578616d706c652e6f72673a34343333  000e 0009 6e6f7420746f646179"},
    {"CONNECT request",
     "0003 0044  000f 0010" RID " 0010 0001 01  0011 0020" ID2 " 0014 0003 c30001"},
    {"CONNECT ask", "0003 0055  0002 0020" ID " 000f 0010" RID
                    " 0010 0001 02  0012 0008 1112131415161718  0013 0008 2122232425262728"},
    {"CONNECT answer", "0003 001e  000a 0001 0d  000f 0010" RID " 0010 0001 03"},
    {"CONNECT go", "0003 0031  000f 0010" RID
                   " 0010 0001 04  0012 0008 1112131415161718  0013 0008 2122232425262728"},
    {"PUNCH request", "0004 003d  000f 0010" RID " 0010 0001 01  0011 0020" ID2},
    {"PUNCH ask", "0004 003d  0002 0020" ID " 000f 0010" RID " 0010 0001 02"},
    {"PUNCH answer", "0004 001e  000a 0001 00  000f 0010" RID " 0010 0001 03"},
    {"PUNCH go", "0004 0093  0002 0020" ID " 000c 0007 04 9c40 cb00710a  000f 0010" RID
                 " 0010 0001 04  0011 0020" ID2 " 0015 0007 04 1151 c6336401  0016 0004 00000032"
                 " 0017 0010" RID},
    {"PUNCH refused", "0004 0026  000a 0001 0e  000b 0004 000007d0  000f 0010" RID " 0010 0001 05"},
    {"PROBE request",
     "0005 0029  000f 0010" RID " 0010 0001 01  0015 0007 04 9c40 cb00710a  0018 0001 02"},
    {"PROBE go", "0005 0019  000f 0010" RID " 0010 0001 04"},
    {"PROBE refused", "0005 0026  000a 0001 07  000b 0004 00001388  000f 0010" RID " 0010 0001 05"},
};
#define GOLDEN (sizeof golden / sizeof *golden)

static enum message_verdict decode(const uint8_t *data, size_t size, struct message *m)
{
    uint8_t *copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, size);
    enum message_verdict verdict = message_decode(copy, size, m);
    free(copy);
    return verdict;
}

static size_t patched(const char *hex, uint8_t *bytes)
{
    size_t size = hex_bytes(hex, bytes, MAX);
    bytes[2] = (uint8_t)((size - MESSAGE_HEADER) >> 8);
    bytes[3] = (uint8_t)(size - MESSAGE_HEADER);
    return size;
}

static enum message_verdict decode_hex(const char *hex, struct message *m)
{
    uint8_t bytes[MAX];
    return decode(bytes, patched(hex, bytes), m);
}

Test(nat_message, golden_vectors_both_ways)
{
    for (unsigned i = 0; i < GOLDEN; i++) {
        uint8_t bytes[MAX], out[MAX];
        struct message m;
        size_t size = hex_bytes(golden[i].hex, bytes, sizeof bytes);
        cr_expect_eq(message_size(bytes, size), size, "%s: length %zu", golden[i].what, size - 4);
        cr_assert_eq(message_decode(bytes, size, &m), MESSAGE_GOOD, "%s", golden[i].what);
        cr_expect_eq(message_encode(&m, out, sizeof out), size, "%s", golden[i].what);
        cr_expect_arr_eq(out, bytes, size, "%s", golden[i].what);
        for (size_t room = 0; room < size; room++)
            cr_expect_eq(message_encode(&m, out, room), 0, "%s in %zu", golden[i].what, room);
    }
}

Test(nat_message, the_fields)
{
    uint8_t bytes[MAX];
    struct message m;
    size_t size = hex_bytes(golden[1].hex, bytes, sizeof bytes);
    cr_assert_eq(message_decode(bytes, size, &m), MESSAGE_GOOD);
    cr_expect(m.type == MESSAGE_REGISTER && m.version == 1 && m.lease_s == 120
              && m.generation == 7);
    cr_expect(m.peer_id.bytes[31] == 31 && m.hint_count == 2 && m.capabilities == 3);
    cr_expect(m.hints[0].kind == HINT_HOST && m.hints[0].addr.family == 4
              && m.hints[0].addr.port == 40000 && m.hints[0].addr.ip[3] == 1);
    cr_expect(m.hints[1].kind == HINT_OBSERVED && m.hints[1].addr.family == 6
              && m.hints[1].addr.port == 4433 && m.hints[1].addr.ip[15] == 1);
    cr_expect(m.pow_challenge[0] == 0xa0 && m.pow_solution == 255);
    size = hex_bytes(golden[11].hex, bytes, sizeof bytes);
    cr_assert_eq(message_decode(bytes, size, &m), MESSAGE_GOOD);
    cr_expect(m.step == STEP_GO && m.observed.port == 40000 && m.peer_address.port == 4433);
    cr_expect(m.delay_ms == 50 && m.target.bytes[0] == 0xff && m.punch_key[15] == 0xaf);
}

Test(nat_message, every_truncation_is_malformed)
{
    for (unsigned i = 0; i < GOLDEN; i++) {
        uint8_t bytes[MAX];
        struct message m;
        size_t size = hex_bytes(golden[i].hex, bytes, sizeof bytes);
        for (size_t cut = 0; cut < size; cut++) {
            cr_expect_eq(decode(bytes, cut, &m), MESSAGE_BAD, "%s cut to %zu", golden[i].what, cut);
            if (cut < 4)
                continue;
            /* The same with a length that says so: good only where optional fields were cut off. */
            bytes[2] = (uint8_t)((cut - 4) >> 8);
            bytes[3] = (uint8_t)(cut - 4);
            enum message_verdict verdict = decode(bytes, cut, &m);
            cr_expect_neq(verdict, MESSAGE_UNKNOWN);
        }
    }
}

/* Whatever a bit turns it into: no crash, and what is good can be written again. */
Test(nat_message, every_bit_flip)
{
    for (unsigned i = 0; i < GOLDEN; i++) {
        uint8_t bytes[MAX], out[MAX];
        struct message m;
        size_t size = hex_bytes(golden[i].hex, bytes, sizeof bytes);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (decode(bytes, size, &m) == MESSAGE_GOOD && m.version <= 1 && m.packet.size == 0
                && m.text.size == 0 && m.node_count == 0)
                cr_expect_gt(message_encode(&m, out, sizeof out), 0);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* PROTOCOL §3: a length that may not be is seen before the message is buffered. */
Test(nat_message, sizes)
{
    uint8_t head[4] = {0, 1, MESSAGE_BODY_MAX >> 8, MESSAGE_BODY_MAX & 0xff};
    for (size_t size = 0; size < 4; size++)
        cr_expect_eq(message_size(head, size), 0);
    cr_expect_eq(message_size(head, 4), MESSAGE_MAX);
    head[3]++;
    cr_expect_eq(message_size(head, 4), UINT32_MAX);
}

#define REG \
    "0001 0000 0001 0002 0001 0002 0020" ID " 0005 0004 00000078 0006 0008 0000000000000007 "

Test(nat_message, bounds)
{
    static const struct {
        const char *hex;
        enum message_verdict expect;
    } rows[] = {
        {REG, MESSAGE_GOOD},
        /* PROTOCOL §3: unknown types are skipped, of messages and of fields */
        {"0000 0000", MESSAGE_UNKNOWN},
        {"0006 0000 abcdef", MESSAGE_UNKNOWN},
        {"ffff 0000", MESSAGE_UNKNOWN},
        {REG "0000 0000", MESSAGE_GOOD},
        {REG "0019 0003 abcdef", MESSAGE_GOOD},
        {REG "ffff 0001 00 ffff 0001 00", MESSAGE_GOOD},
        /* PROTOCOL §4: from where: 1 or 2 */
        {"0005 0000 000f 0010" RID " 0010 0001 01 0018 0001 01", MESSAGE_GOOD},
        {"0005 0000 000f 0010" RID " 0010 0001 01 0018 0001 00", MESSAGE_BAD},
        {"0005 0000 000f 0010" RID " 0010 0001 01 0018 0001 03", MESSAGE_BAD},
        {"0005 0000 000f 0010" RID " 0010 0001 01", MESSAGE_BAD},
        {"0005 0000 000f 0010" RID " 0010 0001 02 0018 0001 01", MESSAGE_BAD},
        {REG "ffff 0002 00", MESSAGE_BAD},
        /* twice */
        {REG "0005 0004 00000078", MESSAGE_BAD},
        /* missing: version, peer id, lease, generation */
        {"0001 0000 0002 0020" ID " 0005 0004 00000078 0006 0008 0000000000000007", MESSAGE_BAD},
        {"0001 0000 0001 0002 0001 0005 0004 00000078 0006 0008 0000000000000007", MESSAGE_BAD},
        {"0001 0000 0001 0002 0001 0002 0020" ID " 0006 0008 0000000000000007", MESSAGE_BAD},
        {"0001 0000 0001 0002 0001 0002 0020" ID " 0005 0004 00000078", MESSAGE_BAD},
        /* not this message's */
        {REG "000a 0001 00", MESSAGE_BAD},
        {REG "0010 0001 01", MESSAGE_BAD},
        {"0002 0000 000a 0001 00 0002 0020" ID, MESSAGE_BAD},
        /* PROTOCOL §3: another version may look otherwise */
        {"0001 0000 0001 0002 0002", MESSAGE_GOOD},
        {"0001 0000 0001 0002 0000 000a 0001 00", MESSAGE_GOOD},
        /* sizes of integers and ids */
        {"0001 0000 0001 0001 01 0002 0020" ID " 0005 0004 00000078 0006 0008 0000000000000007",
         MESSAGE_BAD},
        {"0001 0000 0001 0003 000001 0002 0020" ID " 0005 0004 00000078 0006 0008 0000000000000007",
         MESSAGE_BAD},
        {"0001 0000 0001 0002 0001 0002 001f 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e"
         " 0005 0004 00000078 0006 0008 0000000000000007",
         MESSAGE_BAD},
        /* PROTOCOL §3: challenge and solution come together */
        {REG "0007 0010" RID "0008 0008 0000000000000000", MESSAGE_GOOD},
        {REG "0007 0010" RID, MESSAGE_BAD},
        {REG "0008 0008 0000000000000000", MESSAGE_BAD},
        /* hints: kind, family, port, size, IPv4-mapped */
        {REG "0003 0008 01 04 9c40 c0000201", MESSAGE_GOOD},
        {REG "0003 0008 00 04 9c40 c0000201", MESSAGE_BAD},
        {REG "0003 0008 04 04 9c40 c0000201", MESSAGE_BAD},
        {REG "0003 0008 01 05 9c40 c0000201", MESSAGE_BAD},
        {REG "0003 0008 01 00 9c40 c0000201", MESSAGE_BAD},
        {REG "0003 0008 01 04 0000 c0000201", MESSAGE_BAD},
        {REG "0003 0007 01 04 9c40 c00002", MESSAGE_BAD},
        {REG "0003 0009 01 04 9c40 c000020100", MESSAGE_BAD},
        {REG "0003 0014 01 06 9c40 00000000000000000000ffffc0000201", MESSAGE_BAD},
        {REG "0003 0000", MESSAGE_BAD},
    /* 8 hints, and one too many */
#define H "0003 0008 01 04 9c40 c0000201"
        {REG H H H H H H H H, MESSAGE_GOOD},
        {REG H H H H H H H H H, MESSAGE_BAD},
        /* the bits of a proof of work, a delay, a step, a channel */
        {"0002 0000 000a 0001 08 0009 0001 40", MESSAGE_GOOD},
        {"0002 0000 000a 0001 08 0009 0001 41", MESSAGE_BAD},
        {"0003 0000 000f 0010" RID "0010 0001 06", MESSAGE_BAD},
        {"0003 0000 000f 0010" RID "0010 0001 00", MESSAGE_BAD},
        {"0003 0000 000f 0010" RID
         "0010 0001 04 0012 0008 0000000000000001 0013 0008 0000000000000001",
         MESSAGE_GOOD},
        {"0003 0000 000f 0010" RID
         "0010 0001 04 0012 0008 0000000000000000 0013 0008 0000000000000001",
         MESSAGE_BAD},
        /* a packet is not empty */
        {"0003 0000 000f 0010" RID "0010 0001 01 0011 0020" ID " 0014 0000", MESSAGE_BAD},
        /* text: no control characters, it will be logged; empty is fine */
        {"0002 0000 000a 0001 01 000e 0000", MESSAGE_GOOD},
        {"0002 0000 000a 0001 01 000e 0002 c3a4", MESSAGE_GOOD},
        {"0002 0000 000a 0001 01 000e 0002 410a", MESSAGE_BAD},
        {"0002 0000 000a 0001 01 000e 0001 1b", MESSAGE_BAD},
        {"0002 0000 000a 0001 01 000e 0001 7f", MESSAGE_BAD},
        /* nodes are names that can be dialled: "a:1" */
        {"0002 0000 000a 0001 00 000d 0003 613a31 000d 0003 613a31", MESSAGE_GOOD},
        {"0002 0000 000a 0001 00 000d 0003 613a30", MESSAGE_BAD},
        {"0002 0000 000a 0001 00 000d 0004 0a613a31", MESSAGE_BAD},
    };
    struct message m;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(decode_hex(rows[i].hex, &m), rows[i].expect, "row %u: %s", i, rows[i].hex);
}

Test(nat_message, long_texts_and_packets)
{
    static const struct {
        unsigned field;
        size_t max;
    } rows[] = {{FIELD_TEXT, MESSAGE_TEXT}, {FIELD_PACKET, MESSAGE_PACKET}};
    for (unsigned i = 0; i < 2; i++) {
        for (size_t size = rows[i].max; size <= rows[i].max + 1; size++) {
            uint8_t bytes[MAX];
            struct message m;
            size_t n = patched(i ? "0003 0000 000f 0010" RID "0010 0001 01 0011 0020" ID
                                 : "0002 0000 000a 0001 01",
                               bytes);
            bytes[n + 1] = (uint8_t)rows[i].field, bytes[n] = 0;
            bytes[n + 2] = (uint8_t)(size >> 8), bytes[n + 3] = (uint8_t)size;
            memset(bytes + n + 4, 'x', size);
            n += 4 + size;
            bytes[2] = (uint8_t)((n - 4) >> 8), bytes[3] = (uint8_t)(n - 4);
            cr_expect_eq(decode(bytes, n, &m), size == rows[i].max ? MESSAGE_GOOD : MESSAGE_BAD);
        }
    }
}

Test(nat_message, every_reason_has_a_name)
{
    for (unsigned i = 0; i < NAT_REASONS; i++) {
        cr_expect_not_null(nat_reason_name(i));
        for (unsigned k = 0; k < i; k++)
            cr_expect_str_neq(nat_reason_name(i), nat_reason_name(k));
    }
    cr_expect_str_eq(nat_reason_name(NAT_REASONS), "unknown");
}
