/* nat_datagram.c -- tests of nat/datagram.c: told apart by one byte, relay headers, MACs. */
#include "nat/datagram.h"
#include "tests/hex.h"

#include <criterion/criterion.h>

static const uint8_t key[PUNCH_KEY_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* PROTOCOL §4: the two highest bits clear are ours, each other first byte is QUIC's. */
Test(nat_datagram, first_byte)
{
    uint8_t data[64] = {0};
    for (unsigned first = 0; first < 256; first++) {
        data[0] = (uint8_t)first;
        for (size_t size = 0; size <= sizeof data; size++) {
            enum datagram_kind expect = DATAGRAM_IS_JUNK;
            if (size > 0 && first >= 0x40)
                expect = DATAGRAM_IS_QUIC;
            else if (first == 0x30 && size > 9)
                expect = DATAGRAM_IS_RELAY;
            else if (first == 0x31 && size == 30)
                expect = DATAGRAM_IS_PUNCH;
            else if (first == 0x32 && size == 17)
                expect = DATAGRAM_IS_PROBE;
            else if (first == 0x33 && size == 1)
                expect = DATAGRAM_IS_AWAKE;
            else if (first == 0x34 && size > 9)
                expect = DATAGRAM_IS_BACK;
            cr_expect_eq(datagram_kind(data, size), expect, "%02x, %zu bytes", first, size);
        }
    }
}

Test(nat_datagram, relay_header)
{
    uint8_t out[RELAY_HEADER], expect[RELAY_HEADER];
    hex_bytes("30 0123456789abcdef", expect, sizeof expect);
    relay_header(out, UINT64_C(0x0123456789abcdef));
    cr_expect_arr_eq(out, expect, sizeof out);
    cr_expect_eq(relay_channel(out), UINT64_C(0x0123456789abcdef));
    relay_back_header(out, UINT64_C(0x0123456789abcdef));
    expect[0] = 0x34;
    cr_expect_arr_eq(out, expect, sizeof out);
    cr_expect_eq(relay_channel(out), UINT64_C(0x0123456789abcdef));
}

/* PROTOCOL §4: the MAC by openssl dgst -sha256 -mac HMAC, cut to 16 bytes. RFC 2104 §5. */
Test(nat_datagram, golden_punch)
{
    uint8_t out[PUNCH_SIZE], expect[PUNCH_SIZE];
    struct punch punch = {PUNCH_OPEN, UINT64_C(0x1122334455667788), 0xdeadbeef}, got;
    hex_bytes("31 01 1122334455667788 deadbeef a1c7e5823d36fa7e50623a56800f79d7", expect,
              sizeof expect);
    punch_write(&punch, key, out);
    cr_expect_arr_eq(out, expect, sizeof out);
    cr_assert(punch_read(out, sizeof out, key, &got));
    cr_expect(got.kind == punch.kind && got.session == punch.session
              && got.transaction == punch.transaction);
    cr_expect_eq(punch_session(out), punch.session);
}

Test(nat_datagram, no_bit_may_change)
{
    uint8_t out[PUNCH_SIZE], other[PUNCH_KEY_BYTES];
    struct punch punch = {PUNCH_REPLY, 5, 6}, got = {0};
    punch_write(&punch, key, out);
    for (unsigned bit = 0; bit < 8 * PUNCH_SIZE; bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect_not(punch_read(out, sizeof out, key, &got), "bit %u", bit);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    cr_expect_not(punch_read(out, sizeof out - 1, key, &got));
    memcpy(other, key, sizeof other);
    other[15] ^= 1;
    cr_expect_not(punch_read(out, sizeof out, other, &got));
    cr_expect_eq(got.kind, 0);
    /* A kind that is none, under a good MAC. */
    for (unsigned kind = 0; kind < 5; kind++) {
        punch.kind = (uint8_t)kind;
        punch_write(&punch, key, out);
        cr_expect_eq(punch_read(out, sizeof out, key, &got), kind == 1 || kind == 2);
    }
}
