/* addr.c -- tests of core/addr.c. */
#include "core/addr.h"

#include <criterion/criterion.h>
#include <string.h>

static struct aq_addr v6(const uint16_t group[8], uint32_t scope_id, uint16_t port)
{
    struct aq_addr a = {.family = 6, .scope_id = scope_id, .port = port};
    for (unsigned i = 0; i < 8; i++) {
        a.ip[2 * i] = (uint8_t)(group[i] >> 8);
        a.ip[2 * i + 1] = (uint8_t)group[i];
    }
    return a;
}

/* RFC 5952 §4, RFC 5952 §5 */
Test(addr, text_of_ip6)
{
    static const struct {
        uint16_t group[8];
        uint32_t scope_id;
        uint16_t port;
        const char *text;
    } rows[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, "[::]:0"},
        {{0, 0, 0, 0, 0, 0, 0, 1}, 0, 5, "[::1]:5"},
        {{1, 0, 0, 0, 0, 0, 0, 0}, 0, 5, "[1::]:5"},
        {{0x2001, 0xdb8, 0, 0, 0, 0, 2, 1}, 0, 443, "[2001:db8::2:1]:443"},
        {{0x2001, 0xdb8, 0, 1, 1, 1, 1, 1}, 0, 443, "[2001:db8:0:1:1:1:1:1]:443"},
        {{0x2001, 0, 0, 1, 0, 0, 0, 1}, 0, 443, "[2001:0:0:1::1]:443"},
        {{0x2001, 0xdb8, 0, 0, 1, 0, 0, 1}, 0, 443, "[2001:db8::1:0:0:1]:443"},
        {{0, 0, 2, 3, 4, 5, 6, 7}, 0, 1, "[::2:3:4:5:6:7]:1"},
        {{1, 2, 3, 4, 5, 6, 0, 0}, 0, 1, "[1:2:3:4:5:6::]:1"},
        {{1, 2, 3, 4, 5, 6, 7, 0xabcd}, 0, 65535, "[1:2:3:4:5:6:7:abcd]:65535"},
        {{0xfe80, 0, 0, 0, 0, 0, 0, 9}, 3, 7, "[fe80::9%3]:7"},
        {{0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201}, 0, 7, "[::ffff:192.0.2.1]:7"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[64];
        struct aq_addr a = v6(rows[i].group, rows[i].scope_id, rows[i].port);
        cr_expect_str_eq(aq_addr_text(&a, out, sizeof out), rows[i].text);
    }
}

Test(addr, text_fits_and_always_ends)
{
    static const uint16_t longest[8] = {0xffff, 0xffff, 0xffff, 0xffff,
                                        0xffff, 0xfffe, 0xffff, 0xffff};
    char out[64], cut[64];
    struct aq_addr a = v6(longest, UINT32_MAX, 65535);
    aq_addr_text(&a, out, sizeof out);
    cr_expect_str_eq(out, "[ffff:ffff:ffff:ffff:ffff:fffe:ffff:ffff%4294967295]:65535");
    for (size_t size = 1; size <= strlen(out); size++) {
        memset(cut, 'x', sizeof cut);
        cr_expect_eq(aq_addr_text(&a, cut, size), cut);
        cr_expect(strlen(cut) == size - 1 && memcmp(cut, out, size - 1) == 0 && cut[size] == 'x');
    }
    cut[0] = 'x';
    aq_addr_text(&a, cut, 0);
    cr_expect_eq(cut[0], 'x');
}

Test(addr, text_of_ip4_and_none)
{
    char out[64];
    struct aq_addr a = {.ip = {1, 2, 30, 255, 9}, .port = 5, .family = 4};
    cr_expect_str_eq(aq_addr_text(&a, out, sizeof out), "1.2.30.255:5");
    a.family = 0;
    cr_expect_str_eq(aq_addr_text(&a, out, sizeof out), "none");
}

Test(addr, equal)
{
    struct aq_addr a = {.ip = {192, 0, 2, 1}, .port = 443, .family = 4}, b = a;
    b.ip[4] = 1; /* not part of an IPv4 address */
    b.reserved = 1;
    cr_expect(addr_equal(&a, &b) && addr_same_ip(&a, &b));
    b.port = 444;
    cr_expect(!addr_equal(&a, &b) && addr_same_ip(&a, &b));
    b = a;
    b.ip[3] = 2;
    cr_expect(!addr_equal(&a, &b) && !addr_same_ip(&a, &b));
    b = a;
    b.family = 6;
    cr_expect(!addr_equal(&a, &b) && !addr_same_ip(&a, &b));
    a.family = 6;
    b.ip[15] = 1;
    cr_expect(!addr_equal(&a, &b) && !addr_same_ip(&a, &b));
    b = a;
    b.scope_id = 2;
    cr_expect(!addr_equal(&a, &b));
}

Test(addr, bytes)
{
    uint8_t out[20], other[20];
    struct aq_addr a = {.ip = {192, 0, 2, 1, 77}, .port = 0x1234, .family = 4};
    cr_expect_eq(addr_bytes(&a, true, out), 7);
    cr_expect_arr_eq(out, "\x04\xc0\x00\x02\x01\x12\x34", 7);
    cr_expect_eq(addr_bytes(&a, false, out), 5);
    a.family = 6;
    cr_expect_eq(addr_bytes(&a, true, out), 19);
    a.port++;
    cr_expect_eq(addr_bytes(&a, true, other), 19);
    cr_expect_arr_neq(out, other, 19);
    cr_expect_eq(addr_bytes(&a, false, out), 17);
    a.family = 0;
    cr_expect_eq(addr_bytes(&a, false, out), 1);
}
