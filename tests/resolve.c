/* resolve.c -- tests aq_resolve: each form of an address, and each way to get it wrong. */
#include "reactor/antq_reactor.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *text;
    unsigned family;
    unsigned expect_family;
    uint16_t port;
    uint8_t first, last; /* bytes of the address */
} good[] = {
    {"1.2.3.4:5", 0, 4, 5, 1, 4},
    {"1.2.3.4", 0, 4, 4433, 1, 4},
    {"1.2.3.4:0", 4, 4, 0, 1, 4},
    {"1.2.3.4:65535", 0, 4, 65535, 1, 4},
    {"[::1]:5", 0, 6, 5, 0, 1},
    {"[::1]", 0, 6, 4433, 0, 1},
    {"::1", 0, 6, 4433, 0, 1},
    {"2001:db8::7", 6, 6, 4433, 0x20, 7},
    {"[2001:db8::7]:443", 6, 6, 443, 0x20, 7},
    {":5", 0, 4, 5, 0, 0},
    {":5", 4, 4, 5, 0, 0},
    {":5", 6, 6, 5, 0, 0},
    {"localhost:7", 4, 4, 7, 127, 1},
    {"localhost", 4, 4, 4433, 127, 1},
};

Test(resolve, every_form)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct aq_addr a;
        char error[256] = "";
        int result = aq_resolve(good[i].text, 4433, good[i].family, &a, error, sizeof error);
        cr_assert_eq(result, AQ_OK, "%s: %s", good[i].text, error);
        cr_assert_eq(a.family, good[i].expect_family, "%s", good[i].text);
        cr_assert_eq(a.port, good[i].port, "%s", good[i].text);
        cr_assert_eq(a.ip[0], good[i].first, "%s", good[i].text);
        cr_assert_eq(a.ip[a.family == 4 ? 3 : 15], good[i].last, "%s", good[i].text);
    }
}

static const struct {
    const char *text;
    unsigned family;
    const char *says;
} bad[] = {
    {"", 0, "empty"},
    {"1.2.3.4:", 0, "port"},
    {"1.2.3.4:65536", 0, "port"},
    {"1.2.3.4:99999999", 0, "port"},
    {"1.2.3.4:-1", 0, "port"},
    {"1.2.3.4:5x", 0, "port"},
    {":", 0, "port"},
    {"[::1", 0, "bracket"},
    {"[::1]5", 0, "bracket"},
    {"[]:5", 0, "empty"},
    {"[::1]:", 0, "port"},
    {"1.2.3.4:5", 6, "bad address '1.2.3.4:5'"},
    {"[::1]:5", 4, "bad address '[::1]:5'"},
    {"1:2:3", 0, "bad address '1:2:3'"},
    {"1.2.3.4:5", 5, "family"},
};

Test(resolve, every_mistake_has_its_sentence)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct aq_addr a;
        char error[256] = "";
        int result = aq_resolve(bad[i].text, 4433, bad[i].family, &a, error, sizeof error);
        cr_assert_eq(result, AQ_MISUSE, "'%s' was taken", bad[i].text);
        cr_assert_not_null(strstr(error, bad[i].says), "'%s': %s", bad[i].text, error);
        cr_assert_eq(a.family, 0);
    }
}

Test(resolve, a_host_name_too_long_and_no_room_for_the_error)
{
    char text[400], error[8];
    struct aq_addr a;
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 5, ":443", 5);
    cr_assert_eq(aq_resolve(text, 1, 0, &a, error, sizeof error), AQ_MISUSE);
    cr_assert_eq(strlen(error), 7);
    cr_assert_eq(aq_resolve(text, 1, 0, &a, NULL, 0), AQ_MISUSE);
    cr_assert_eq(aq_resolve(NULL, 1, 0, &a, error, sizeof error), AQ_MISUSE);
}
