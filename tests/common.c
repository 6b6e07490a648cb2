/* common.c -- tests apps/common.h: texts, JSON strings, percentiles, lists of protocols. */
#include "apps/common.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(common, bytes_have_units)
{
    char out[32];

    cr_assert_str_eq(bytes_text(0, out, sizeof out), "0 bytes");
    cr_assert_str_eq(bytes_text(1023, out, sizeof out), "1023 bytes");
    cr_assert_str_eq(bytes_text(1024, out, sizeof out), "1.0 KiB");
    cr_assert_str_eq(bytes_text(1536, out, sizeof out), "1.5 KiB");
    cr_assert_str_eq(bytes_text((uint64_t)256 << 20, out, sizeof out), "256.0 MiB");
    cr_assert_str_eq(bytes_text((uint64_t)3 << 30, out, sizeof out), "3.0 GiB");
    cr_assert_str_eq(bytes_text((uint64_t)5 << 50, out, sizeof out), "5120.0 TiB");
}

Test(common, rates_need_time)
{
    cr_assert_eq((int)gbit_per_s(1000, 0), 0);
    cr_assert_float_eq(gbit_per_s(125000000, 1000000), 1.0, 1e-9);
    cr_assert_eq((int)per_second(10, 0), 0);
    cr_assert_float_eq(per_second(10, 500000), 20.0, 1e-9);
}

static const char *json_of(const char *text)
{
    static char out[256];
    FILE *file = fmemopen(out, sizeof out, "w");

    json_text(file, text);
    cr_assert_eq(fclose(file), 0);
    return out;
}

Test(common, json_strings_are_escaped)
{
    cr_assert_str_eq(json_of("h3"), "\"h3\"");
    cr_assert_str_eq(json_of(""), "\"\"");
    cr_assert_str_eq(json_of("a\"b\\c"), "\"a\\\"b\\\\c\"");
    cr_assert_str_eq(json_of("\n\x7f"), "\"\\u000a\\u007f\"");
    cr_assert_str_eq(json_of(NULL), "null");
}

/* UTF-8 as RFC 3629 has it; what is none is replaced, byte by byte. */
static const struct {
    const char *text, *json, *plain;
} texts[] = {
    {"\xc3\xbc \xe6\x97\xa5 \xf0\x9f\x99\x82", "\"\xc3\xbc \xe6\x97\xa5 \xf0\x9f\x99\x82\"",
     "\xc3\xbc \xe6\x97\xa5 \xf0\x9f\x99\x82"},
    {"a\xff", "\"a\\ufffd\"", "a?"},
    {"\x80", "\"\\ufffd\"", "?"},
    {"\xc3", "\"\\ufffd\"", "?"},                                     /* cut */
    {"\xe6\x97", "\"\\ufffd\\ufffd\"", "??"},                         /* cut */
    {"\xc0\xaf", "\"\\ufffd\\ufffd\"", "??"},                         /* longer than needed */
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"", "???"},             /* a surrogate */
    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"", "????"}, /* above U+10FFFF */
    {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\"", "\xf4\x8f\xbf\xbf"},
    {"\xc2\x9b"
     "1m",
     "\"\xc2\x9b"
     "1m\"",
     "??1m"}, /* CSI, as UTF-8 */
    {"\xc2\xa0", "\"\xc2\xa0\"", "\xc2\xa0"},
    {"\x1b[2J\r\n", "\"\\u001b[2J\\u000d\\u000a\"", "?[2J??"},
};

Test(common, texts_of_others)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char plain[64];

        (void)strcpy(plain, texts[i].text);
        cr_expect_str_eq(json_of(texts[i].text), texts[i].json, "row %zu", i);
        cr_expect_str_eq(plain_text(plain), texts[i].plain, "row %zu", i);
    }
}

Test(common, pins_are_hexadecimal)
{
    uint8_t hash[32], back[32];
    char out[65];

    for (unsigned i = 0; i < 32; i++) {
        hash[i] = (uint8_t)(i * 37);
    }
    cr_assert_eq(strlen(pin_text(hash, out)), 64);
    cr_assert(parse_pin(out, back));
    cr_assert_arr_eq(hash, back, 32);
}

Test(common, samples_are_sorted_in_place)
{
    struct samples samples;
    uint64_t state = 1;

    for (size_t count = 0; count < 200; count++) {
        cr_assert(samples_init(&samples, count));
        for (size_t i = 0; i < count; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
            samples_add(&samples, state >> 56); /* with many equal ones */
        }
        samples_sort(&samples);
        for (size_t i = 1; i < count; i++) {
            cr_assert_leq(samples.us[i - 1], samples.us[i]);
        }
        samples_free(&samples);
    }
}

Test(common, percentiles_are_the_nearest_rank)
{
    struct samples samples;

    cr_assert(samples_init(&samples, 100));
    cr_assert_eq(samples_percentile(&samples, 50), 0);
    for (uint64_t i = 100; i > 0; i--) {
        samples_add(&samples, i);
    }
    samples_add(&samples, 1000); /* one more than there is room for: not kept */
    samples_sort(&samples);
    cr_assert_eq(samples.count, 100);
    cr_assert_eq(samples_percentile(&samples, 0), 1);
    cr_assert_eq(samples_percentile(&samples, 1), 1);
    cr_assert_eq(samples_percentile(&samples, 50), 50);
    cr_assert_eq(samples_percentile(&samples, 99), 99);
    cr_assert_eq(samples_percentile(&samples, 100), 100);
    cr_assert_eq(samples_per_mille(&samples, 990), 99);
    cr_assert_eq(samples_per_mille(&samples, 991), 100); /* the step between */
    cr_assert_eq(samples_per_mille(&samples, 999), 100);
    samples_free(&samples);
    cr_assert(samples_init(&samples, 1));
    samples_add(&samples, UINT64_C(1) << 40); /* more than 32 bits hold */
    cr_assert_eq(samples_percentile(&samples, 0), UINT32_MAX);
    cr_assert_eq(samples_percentile(&samples, 99), UINT32_MAX);
    samples_free(&samples);
}

Test(common, protocols_are_split_at_commas)
{
    struct alpn_list list;
    char text[1200];

    cr_assert(alpn_parse(&list, "h3"));
    cr_assert_eq(list.count, 1);
    cr_assert(alpn_parse(&list, "h3,echo,a b"));
    cr_assert_eq(list.count, 3);
    cr_assert_str_eq(list.names[0], "h3");
    cr_assert_str_eq(list.names[2], "a b");
    cr_assert(alpn_parse(&list, "1,2,3,4,5,6,7,8"));
    cr_assert_eq(list.count, ALPN_MAX);
    cr_assert_not(alpn_parse(&list, "1,2,3,4,5,6,7,8,9"));
    cr_assert_not(alpn_parse(&list, ""));
    cr_assert_not(alpn_parse(&list, ",a"));
    cr_assert_not(alpn_parse(&list, "a,"));
    cr_assert_not(alpn_parse(&list, "a,,b"));
    /* RFC 7301 §3.1: 255 bytes are the most. */
    memset(text, 'x', sizeof text);
    text[255] = '\0';
    cr_assert(alpn_parse(&list, text));
    text[255] = 'x';
    text[256] = '\0';
    cr_assert_not(alpn_parse(&list, text));
    text[256] = 'x';
    text[1199] = '\0';
    cr_assert_not(alpn_parse(&list, text));
}

Test(common, closes_tell_who_code_frame_why_where)
{
    struct aq_close_info info = {.size = sizeof info, .by = AQ_BY_PEER, .application = true};
    char out[512];

    info.code = 0x107;
    strcpy(info.reason, "excessive load");
    cr_assert_str_eq(close_text(&info, out, sizeof out),
                     "closed by the peer, application code 0x107: excessive load");
    cr_assert_not(close_is_ordinary(&info));
    info = (struct aq_close_info){.size = sizeof info,
                                  .by = AQ_BY_US,
                                  .code = AQ_FRAME_ENCODING_ERROR,
                                  .frame_type = 0x1c,
                                  .where = "frames_apply"};
    cr_assert_str_eq(close_text(&info, out, sizeof out),
                     "closed by us, FRAME_ENCODING_ERROR (0x7), in frame 0x1c (frames_apply)");
    info = (struct aq_close_info){.size = sizeof info, .by = AQ_BY_TIMEOUT};
    cr_assert_str_eq(close_text(&info, out, sizeof out), "ended by a timeout");
    cr_assert_not(close_is_ordinary(&info));
    info = (struct aq_close_info){.size = sizeof info, .by = AQ_BY_PEER};
    cr_assert_str_eq(close_text(&info, out, sizeof out), "closed by the peer, NO_ERROR (0x0)");
    cr_assert(close_is_ordinary(&info));
    memset(info.reason, 'r', sizeof info.reason); /* not even its end is relied on */
    cr_assert_lt(strlen(close_text(&info, out, sizeof out)), sizeof out);
}

Test(common, a_config_is_checked_without_a_seed)
{
    struct aq_config config;

    aq_config_init(&config);
    cr_assert_null(config_problem(&config));
    config.cc = "nonsense";
    cr_assert_not_null(config_problem(&config));
    cr_assert_eq(config.seed[0], 0);
}
