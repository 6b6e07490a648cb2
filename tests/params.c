/* params.c -- tests of core/params.c: the table against RFC 9000 §18.2, round trips, bounds, broken
 * input. */
#include "core/params.h"
#include "core/frame.h"
#include "tests/hex.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    MAX = 1024
};

static int decode_exact(struct params *p, uint8_t by, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, size);
    int result = params_decode(p, by, copy, size);
    free(copy);
    return result;
}

static int decode_hex(struct params *p, uint8_t by, const char *hex)
{
    uint8_t bytes[MAX];
    return decode_exact(p, by, bytes, hex_bytes(hex, bytes, sizeof bytes));
}

/* A server's, with every row present. */
static struct params full(void)
{
    struct params p;
    params_init(&p);
    for (unsigned i = 0; i < PARAM_ROWS; i++)
        params_set(&p, (enum param_row_index)i);
    p.original_dcid = (struct cid){8, {1, 2, 3, 4, 5, 6, 7, 8}};
    p.initial_scid = (struct cid){0, {0}};
    p.retry_scid = (struct cid){20, {20, 19, 18}};
    memset(p.reset_token, 0x7e, sizeof p.reset_token);
    p.max_idle_timeout_us = 30000000;
    p.max_udp_payload = 1452;
    p.max_data = VARINT_MAX;
    p.max_stream_data_bidi_local = 1;
    p.max_stream_data_bidi_remote = 64;
    p.max_stream_data_uni = 16384;
    p.max_streams_bidi = UINT64_C(1) << 60;
    p.max_streams_uni = 3;
    p.ack_delay_exponent = 20;
    p.max_ack_delay_us = 16383000;
    p.min_ack_delay_us = 16383000;
    p.max_datagram_frame = 65535;
    p.disable_active_migration = p.reset_stream_at = true;
    p.active_cid_limit = 8;
    p.preferred = (struct preferred_address){.ip4 = {192, 0, 2, 1}, .port4 = 443, .port6 = 65535};
    p.preferred.ip6[15] = 9;
    p.preferred.cid = (struct cid){4, {9, 8, 7, 6}};
    memset(p.preferred.token, 0x11, sizeof p.preferred.token);
    p.nat_limit = 8;
    p.address_discovery = OBSERVED_BOTH;
    p.grease_quic_bit = true;
    p.versions = (struct version_info){AQ_QUIC_V1, {AQ_QUIC_V2, AQ_QUIC_V1}, .count = 2};
    return p;
}

/* RFC 9000 §18.2, written a second time; the last column RFC 9000 §7.4.1. */
Test(params, the_table)
{
    static const struct {
        const char *name;
        bool server_only, forget;
    } expect[] = {
        {"original_destination_connection_id", true, true},
        {"max_idle_timeout", false, false},
        {"stateless_reset_token", true, true},
        {"max_udp_payload_size", false, false},
        {"initial_max_data", false, false},
        {"initial_max_stream_data_bidi_local", false, false},
        {"initial_max_stream_data_bidi_remote", false, false},
        {"initial_max_stream_data_uni", false, false},
        {"initial_max_streams_bidi", false, false},
        {"initial_max_streams_uni", false, false},
        {"ack_delay_exponent", false, true},
        {"max_ack_delay", false, true},
        {"disable_active_migration", false, false},
        {"preferred_address", true, true},
        {"active_connection_id_limit", false, false},
        {"initial_source_connection_id", false, true},
        {"retry_source_connection_id", true, true},
        {"reset_stream_at", false, false},         /* draft-ietf-quic-reliable-stream-reset §3 */
        {"max_datagram_frame_size", false, false}, /* RFC 9221 §3 */
        {"min_ack_delay", false, true},            /* draft-ietf-quic-ack-frequency §3 */
        {"nat_traversal", false, false},
        {"address_discovery", false, false},
        {"version_information", false, true}, /* RFC 9368 §3 */
        {"grease_quic_bit", false, true},     /* RFC 9287 §3: a server must not remember */
    };
    static const uint64_t extensions[] = {
        0x1d, 0x20, 0xff04de1b, UINT64_C(0x3d7e9f0bca12fea6), 0x9f81a176, 0x11, 0x2ab2};
    unsigned count;
    const struct param_row *rows = params_rows(&count);
    cr_assert_eq(count, PARAM_ROWS);
    for (unsigned i = 0; i < count; i++) {
        cr_expect_eq(rows[i].id, i <= 0x10 ? i : extensions[i - 0x11]);
        cr_expect_str_eq(rows[i].name, expect[i].name);
        cr_expect_eq(rows[i].by, expect[i].server_only ? BY_SERVER : BY_BOTH, "%s", rows[i].name);
        cr_expect_eq(rows[i].keep, !expect[i].forget, "%s", rows[i].name);
    }
}

Test(params, defaults)
{
    struct params p;
    memset(&p, 0xff, sizeof p);
    cr_assert_eq(params_decode(&p, BY_CLIENT, NULL, 0), AQ_OK);
    cr_expect(p.present == 0 && p.max_idle_timeout_us == 0 && p.max_udp_payload == 65527
              && p.max_data == 0);
    cr_expect(p.max_streams_bidi == 0 && p.max_stream_data_uni == 0 && p.ack_delay_exponent == 3);
    cr_expect(p.max_ack_delay_us == 25000 && !p.disable_active_migration
              && p.active_cid_limit == 2);
}

Test(params, all_round_trip)
{
    struct params sent = full(), got;
    uint8_t bytes[MAX];
    size_t size = params_encode(&sent, 0, bytes, sizeof bytes);
    cr_assert_gt(size, 0);
    params_init(&got);
    cr_assert_eq(decode_exact(&got, BY_SERVER, bytes, size), AQ_OK);
    cr_expect_eq(got.present, sent.present);
    cr_expect_arr_eq((uint8_t *)&got, (uint8_t *)&sent, offsetof(struct params, preferred));
    cr_expect_arr_eq((uint8_t *)&got.preferred, (uint8_t *)&sent.preferred, sizeof got.preferred);
    for (size_t room = 0; room < size; room++)
        cr_expect_eq(params_encode(&sent, 0, bytes, room), 0, "%zu", room);
}

Test(params, each_alone_round_trips)
{
    const struct params sent = full();
    for (unsigned i = 0; i < PARAM_ROWS; i++) {
        uint8_t bytes[MAX], again[MAX];
        struct params one = sent, got;
        one.present = UINT64_C(1) << i;
        if (i == PARAM_MIN_ACK_DELAY)
            one.min_ack_delay_us = 25000; /* max_ack_delay's default */
        size_t size = params_encode(&one, 0, bytes, sizeof bytes);
        cr_assert_eq(decode_exact(&got, BY_SERVER, bytes, size), AQ_OK, "row %u", i);
        cr_expect_eq(got.present, one.present);
        cr_expect_eq(params_encode(&got, 0, again, sizeof again), size);
        cr_expect_arr_eq(again, bytes, size);
        /* RFC 9000 §7.4: not twice */
        memcpy(bytes + size, again, size);
        cr_expect_eq(decode_exact(&got, BY_SERVER, bytes, 2 * size), AQ_TRANSPORT_PARAMETER_ERROR,
                     "row %u", i);
        /* RFC 9000 §18.2: a client must not send what is the server's */
        unsigned count;
        bool his = (params_rows(&count)[i].by & BY_CLIENT) && i != PARAM_NAT_TRAVERSAL;
        int expect = his ? AQ_OK : AQ_TRANSPORT_PARAMETER_ERROR;
        cr_expect_eq(decode_exact(&got, BY_CLIENT, bytes, size), expect, "row %u", i);
    }
}

/* Cut anywhere inside a parameter it is an error; between two of them it is a shorter list. Either
 * way the struct is all new or all old. */
Test(params, every_truncation)
{
    const struct params sent = full();
    uint8_t bytes[MAX];
    size_t size = params_encode(&sent, 0, bytes, sizeof bytes), valid = 0;
    for (size_t cut = 0; cut < size; cut++) {
        struct params before, got;
        memset(&before, 0x5a, sizeof before);
        got = before;
        if (decode_exact(&got, BY_SERVER, bytes, cut) == AQ_OK)
            valid++;
        else
            cr_expect_arr_eq((uint8_t *)&got, (uint8_t *)&before, sizeof got);
    }
    cr_expect_eq(valid, PARAM_ROWS);
}

/* Every bit of every parameter turned over: never a crash, and what is accepted is within its
 * bounds. */
Test(params, every_bit_flip)
{
    const struct params sent = full();
    uint8_t bytes[MAX];
    size_t size = params_encode(&sent, 0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        struct params got;
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (decode_exact(&got, BY_SERVER, bytes, size) == AQ_OK) {
            cr_assert(got.max_udp_payload >= 1200 && got.active_cid_limit >= 2
                      && got.ack_delay_exponent <= 20);
            cr_assert(got.max_streams_bidi <= UINT64_C(1) << 60 && got.max_ack_delay_us < 16384000);
            cr_assert(got.retry_scid.size <= CID_MAX && got.original_dcid.size <= CID_MAX);
            cr_assert(!params_has(&got, PARAM_PREFERRED_ADDRESS) || got.preferred.cid.size >= 1);
            uint8_t again[MAX];
            cr_assert_gt(params_encode(&got, 0, again, sizeof again), 0);
        }
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

#define ADDRESS "c0000201 01bb 20010db8000000000000000000000001 01bb "
#define TOKEN   "000102030405060708090a0b0c0d0e0f"
#define CID20   "0102030405060708090a0b0c0d0e0f1011121314"

/* RFC 9000 §18.2: at each bound and one step beyond. */
Test(params, bounds)
{
    static const struct {
        const char *hex;
        int expect;
    } rows[] = {
        {"00 00", AQ_OK},
        {"00 14 " CID20, AQ_OK},
        {"00 15 " CID20 "15", AQ_TRANSPORT_PARAMETER_ERROR},
        {"01 08 ffffffffffffffff", AQ_OK},
        {"01 00", AQ_TRANSPORT_PARAMETER_ERROR},      /* no integer */
        {"01 02 0001", AQ_TRANSPORT_PARAMETER_ERROR}, /* more than it */
        {"01 01 40", AQ_TRANSPORT_PARAMETER_ERROR},   /* less than it */
        {"01 02 4001", AQ_OK},                        /* RFC 9000 §16: not the shortest is fine */
        {"4001 4001 07", AQ_OK},
        {"02 10 " TOKEN, AQ_OK},
        {"02 0f 000102030405060708090a0b0c0d0e", AQ_TRANSPORT_PARAMETER_ERROR},
        {"02 11 " TOKEN "10", AQ_TRANSPORT_PARAMETER_ERROR},
        {"03 02 44b0", AQ_OK},
        {"03 02 44af", AQ_TRANSPORT_PARAMETER_ERROR},
        {"03 04 80010000", AQ_OK}, /* above 65,527: allowed, without effect */
        {"04 08 ffffffffffffffff", AQ_OK},
        {"08 08 d000000000000000", AQ_OK},
        {"08 08 d000000000000001", AQ_TRANSPORT_PARAMETER_ERROR},
        {"09 08 d000000000000000", AQ_OK},
        {"09 08 d000000000000001", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0a 01 14", AQ_OK},
        {"0a 01 15", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0b 02 7fff", AQ_OK},
        {"0b 04 80004000", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0c 00", AQ_OK},
        {"0c 01 00", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0d 2a " ADDRESS "01 aa " TOKEN, AQ_OK},
        {"0d 3d " ADDRESS "14 " CID20 TOKEN, AQ_OK},
        {"0d 29 " ADDRESS "00 " TOKEN, AQ_TRANSPORT_PARAMETER_ERROR},
        {"0d 3e " ADDRESS "15 " CID20 "15" TOKEN, AQ_TRANSPORT_PARAMETER_ERROR},
        {"0d 2b " ADDRESS "01 aa " TOKEN "00", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0d 29 " ADDRESS "01 aa 000102030405060708090a0b0c0d0e", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0e 01 02", AQ_OK},
        {"0e 01 01", AQ_TRANSPORT_PARAMETER_ERROR},
        {"0f 00", AQ_OK},
        {"10 14 " CID20, AQ_OK},
        {"10 15 " CID20 "15", AQ_TRANSPORT_PARAMETER_ERROR},
        {"04 ffffffffffffffff 00", AQ_TRANSPORT_PARAMETER_ERROR}, /* a size beyond the end */
        {"04", AQ_TRANSPORT_PARAMETER_ERROR},
        {"40", AQ_TRANSPORT_PARAMETER_ERROR},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct params p;
        cr_expect_eq(decode_hex(&p, BY_SERVER, rows[i].hex), rows[i].expect, "%s", rows[i].hex);
    }
}

/* PROTOCOL §1: golden vectors, and what is anything else. */
Test(params, nat_traversal_and_address_discovery)
{
#define NAT       "fd7e9f0bca12fea6 "
#define DISCOVERY "c00000009f81a176 "
    static const struct {
        const char *hex;
        uint8_t by;
        int expect;
    } rows[] = {
        {NAT "00", BY_CLIENT, AQ_OK},
        {NAT "01 08", BY_SERVER, AQ_OK},
        {NAT "08 ffffffffffffffff", BY_SERVER, AQ_OK},
        {NAT "00", BY_SERVER, AQ_TRANSPORT_PARAMETER_ERROR},
        {NAT "01 00", BY_SERVER, AQ_TRANSPORT_PARAMETER_ERROR},
        {NAT "02 0801", BY_SERVER, AQ_TRANSPORT_PARAMETER_ERROR},
        {NAT "01 08", BY_CLIENT, AQ_TRANSPORT_PARAMETER_ERROR},
        {NAT "01 00", BY_CLIENT, AQ_TRANSPORT_PARAMETER_ERROR},
        {NAT "00" NAT "00", BY_CLIENT, AQ_TRANSPORT_PARAMETER_ERROR},
        {DISCOVERY "01 00", BY_CLIENT, AQ_OK},
        {DISCOVERY "01 01", BY_SERVER, AQ_OK},
        {DISCOVERY "01 02", BY_CLIENT, AQ_OK},
        {DISCOVERY "01 03", BY_CLIENT, AQ_TRANSPORT_PARAMETER_ERROR},
        {DISCOVERY "00", BY_SERVER, AQ_TRANSPORT_PARAMETER_ERROR},
        {DISCOVERY "02 0202", BY_SERVER, AQ_TRANSPORT_PARAMETER_ERROR},
    };
    struct params p;
    uint8_t bytes[MAX], expect[MAX];
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_expect_eq(decode_hex(&p, rows[i].by, rows[i].hex), rows[i].expect, "%s", rows[i].hex);
    params_init(&p);
    params_set(&p, PARAM_NAT_TRAVERSAL);
    params_set(&p, PARAM_ADDRESS_DISCOVERY);
    p.address_discovery = OBSERVED_BOTH;
    size_t size = hex_bytes(NAT "00" DISCOVERY "01 02", expect, sizeof expect);
    cr_expect_eq(params_encode(&p, 0, bytes, sizeof bytes), size);
    cr_expect_arr_eq(bytes, expect, size);
    p.nat_limit = 8;
    size = hex_bytes(NAT "01 08" DISCOVERY "01 02", expect, sizeof expect);
    cr_expect_eq(params_encode(&p, 0, bytes, sizeof bytes), size);
    cr_expect_arr_eq(bytes, expect, size);
}

/* RFC 9000 §18.2, figure 22 */
Test(params, preferred_address)
{
    struct params p;
    cr_assert_eq(decode_hex(&p, BY_SERVER, "0d 2c " ADDRESS "03 aabbcc " TOKEN), AQ_OK);
    cr_expect(p.preferred.ip4[0] == 192 && p.preferred.ip4[3] == 1 && p.preferred.port4 == 443);
    cr_expect(p.preferred.ip6[0] == 0x20 && p.preferred.ip6[15] == 1 && p.preferred.port6 == 443);
    cr_expect(p.preferred.cid.size == 3 && p.preferred.cid.bytes[2] == 0xcc
              && p.preferred.token[15] == 15);
}

/* Milliseconds on the wire, microseconds here: the largest stays a time that can be added to. */
Test(params, milliseconds)
{
    struct params p, back;
    uint8_t bytes[MAX];
    cr_assert_eq(decode_hex(&p, BY_CLIENT, "01 02 4e20 0b 01 19"), AQ_OK);
    cr_expect(p.max_idle_timeout_us == 3616000 && p.max_ack_delay_us == 25000);
    cr_assert_eq(decode_hex(&p, BY_CLIENT, "01 08 ffffffffffffffff"), AQ_OK);
    cr_expect_eq(p.max_idle_timeout_us, VARINT_MAX);
    params_init(&p);
    params_set(&p, PARAM_MAX_IDLE_TIMEOUT);
    static const uint64_t us[][2] = {{0, 0}, {1, 1000}, {1000, 1000}, {1001, 2000}};
    for (unsigned i = 0; i < 4; i++) {
        p.max_idle_timeout_us = us[i][0];
        size_t size = params_encode(&p, 0, bytes, sizeof bytes);
        cr_assert_eq(decode_exact(&back, BY_CLIENT, bytes, size), AQ_OK);
        cr_expect_eq(back.max_idle_timeout_us, us[i][1]);
    }
}

/* RFC 9000 §7.4.2: ignored. RFC 9000 §7.4: twice the same is an error, among the first 32 unknown
 * ones. */
Test(params, unknown_ids)
{
    struct params p;
    cr_expect_eq(decode_hex(&p, BY_CLIENT, "3a 00 3b 03 010203 7fff 00 0e 01 04"), AQ_OK);
    cr_expect(p.active_cid_limit == 4 && p.present == UINT64_C(1) << PARAM_ACTIVE_CID_LIMIT);
    cr_expect_eq(decode_hex(&p, BY_CLIENT, "3a 00 3b 00 3a 00"), AQ_TRANSPORT_PARAMETER_ERROR);
    uint8_t bytes[MAX];
    struct writer w = writer_make(bytes, sizeof bytes);
    for (unsigned i = 0; i < 200; i++) {
        write_varint(&w, 0x1000 + i);
        write_varint(&w, 0);
    }
    uint8_t *end = w.p;
    cr_expect_eq(decode_exact(&p, BY_CLIENT, bytes, (size_t)(end - bytes)), AQ_OK);
    write_varint(&w, 0x1000 + 31);
    write_varint(&w, 0);
    cr_expect_eq(decode_exact(&p, BY_CLIENT, bytes, (size_t)(w.p - bytes)),
                 AQ_TRANSPORT_PARAMETER_ERROR);
    w.p = end;
    write_varint(&w, 0x1000 + 32); /* beyond the list: not noticed */
    write_varint(&w, 0);
    cr_expect_eq(decode_exact(&p, BY_CLIENT, bytes, (size_t)(w.p - bytes)), AQ_OK);
}

/* RFC 9000 §18.1 */
Test(params, grease)
{
    static const uint64_t values[] = {
        1, 7, 0xff, UINT64_C(0x123456789abcdef0), UINT64_MAX, VARINT_MAX / 31};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t bytes[MAX];
        struct params p;
        params_init(&p);
        size_t size = params_encode(&p, values[i], bytes, sizeof bytes);
        struct reader r = reader_make(bytes, size);
        cr_expect_eq(read_varint(&r) % 31, 27);
        cr_expect_eq(read_varint(&r), reader_left(&r));
        cr_expect(!r.bad);
        cr_expect_eq(decode_exact(&p, BY_CLIENT, bytes, size), AQ_OK);
        cr_expect_eq(p.present, 0);
    }
}
