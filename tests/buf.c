/* buf.c -- tests of core/buf.h: varints of RFC 9000 §16 and A.1, sticky errors. */
#include "core/buf.h"
#include "tests/hex.h"

#include <criterion/criterion.h>

/* RFC 9000 A.1 */
Test(buf, varint_samples)
{
    static const struct {
        const char *hex;
        uint64_t value;
    } rows[] = {
        {"c2197c5eff14e88c", UINT64_C(151288809941952652)},
        {"9d7f3e7d", 494878333},
        {"7bbd", 15293},
        {"25", 37},
        {"4025", 37},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[8], out[8];
        size_t size = hex_bytes(rows[i].hex, bytes, sizeof bytes);
        struct reader r = reader_make(bytes, size);
        struct writer w = writer_make(out, size);
        cr_expect_eq(read_varint(&r), rows[i].value);
        cr_expect(!r.bad && reader_left(&r) == 0);
        write_varint_sized(&w, rows[i].value, (unsigned)size);
        cr_expect(!w.bad && writer_left(&w) == 0);
        cr_expect_arr_eq(out, bytes, size);
    }
}

/* RFC 9000 §16: each size's largest value and the next one's smallest. */
Test(buf, varint_sizes)
{
    static const struct {
        uint64_t value;
        unsigned size;
    } rows[] = {
        {0, 1},       {63, 1},         {64, 2}, {16383, 2}, {16384, 4}, {(1 << 30) - 1, 4},
        {1 << 30, 8}, {VARINT_MAX, 8},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(varint_size(rows[i].value), rows[i].size);
        for (unsigned size = rows[i].size; size <= 8; size *= 2) {
            uint8_t bytes[8];
            struct writer w = writer_make(bytes, sizeof bytes);
            write_varint_sized(&w, rows[i].value, size);
            struct reader r = reader_make(bytes, size);
            cr_expect(!w.bad && read_varint(&r) == rows[i].value && !r.bad && reader_left(&r) == 0);
            for (unsigned cut = 0; cut < size; cut++) {
                r = reader_make(bytes, cut);
                cr_expect(read_varint(&r) == 0 && r.bad);
                w = writer_make(bytes, cut);
                write_varint_sized(&w, rows[i].value, size);
                cr_expect(w.bad && w.p == bytes);
            }
        }
    }
}

Test(buf, a_reader_stays_bad)
{
    const uint8_t bytes[4] = {1, 2, 3, 4};
    struct reader r = reader_make(bytes, sizeof bytes);
    cr_expect_eq(read_uint(&r, 3), 0x010203);
    cr_expect_null(read_bytes(&r, 2));
    cr_expect(r.bad && r.p == bytes + 3);
    cr_expect(read_u8(&r) == 0 && read_varint(&r) == 0 && read_bytes(&r, 0) == NULL);
    r = reader_make(bytes, sizeof bytes);
    cr_expect_null(read_bytes(&r, SIZE_MAX));
}

Test(buf, a_writer_stays_bad)
{
    uint8_t bytes[4] = {0};
    struct writer w = writer_make(bytes, sizeof bytes);
    write_uint(&w, 0x0a0b0c, 3);
    write_bytes(&w, (const uint8_t *)"xy", 2);
    cr_expect(w.bad && w.p == bytes + 3);
    write_u8(&w, 1);
    write_varint(&w, 1);
    cr_expect_arr_eq(bytes, "\x0a\x0b\x0c\0", 4);
    w = writer_make(bytes, sizeof bytes);
    write_bytes(&w, NULL, 0);
    cr_expect(!w.bad && writer_left(&w) == 4);
}
