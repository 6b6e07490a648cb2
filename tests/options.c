/* options.c -- tests apps/options.h: every kind of value, valid, invalid and the step between. */
#include "apps/options.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct values {
    bool quick, loud;
    const char *name;
    uint64_t count, size, wait_us;
    struct option_pin pin;
};

#define ROW(name, letter, kind, field, argument, min, max)                                      \
    {                                                                                           \
        name, letter, kind, offsetof(struct values, field), argument, min, max, "help of " name \
    }

static const struct option_row rows[] = {
    ROW("quick", 0, OPTION_FLAG, quick, NULL, 0, 0),
    ROW("name", 0, OPTION_TEXT, name, "NAME", 0, 0),
    ROW("count", 'n', OPTION_NUMBER, count, "N", 1, 100),
    ROW("size", 0, OPTION_SIZE, size, "SIZE", 0, UINT64_MAX),
};
static const struct option_row more_rows[] = {
    ROW("wait", 0, OPTION_SECONDS, wait_us, "SECONDS", 1000, 10000000),
    ROW("pin", 0, OPTION_PIN, pin, "HASH", 0, 0),
    ROW("loud", 'l', OPTION_FLAG, loud, NULL, 0, 0),
};

static struct values values;
static char error[512];
static const char *word;

static enum parse_result parse_as(const char *takes, int argc, const char *const *words)
{
    static char copies[8][256];
    char *argv[9] = {NULL};
    const struct option_set sets[] = {{"First:", rows, 4, &values},
                                      {"Second:", more_rows, 3, &values}};
    const struct command command = {
        .name = "antq test", .word = takes, .about = "About.", .sets = sets, .set_count = 2};

    memset(&values, 0, sizeof values);
    error[0] = '\0';
    word = NULL;
    for (int i = 0; i < argc; i++) {
        cr_assert_lt(strlen(words[i]), sizeof copies[i]);
        strcpy(copies[i], words[i]);
        argv[i] = copies[i];
    }
    return options_parse(&command, argc, argv, &word, error, sizeof error);
}

#define COUNT(...) (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
#define PARSE(...) parse_as("WORD", COUNT(__VA_ARGS__), (const char *const[]){__VA_ARGS__})
#define RUNS(...)  cr_assert_eq(PARSE(__VA_ARGS__), PARSE_RUN, "%s", error)
#define WRONG(part, ...)                                                             \
    do {                                                                             \
        cr_assert_eq(PARSE(__VA_ARGS__), PARSE_WRONG);                               \
        cr_assert_not_null(strstr(error, part), "\"%s\" lacks \"%s\"", error, part); \
    } while (0)

Test(options, every_kind_is_stored_in_its_place)
{
    RUNS("--quick", "--name", "x y", "--count=7", "host:1", "--size", "3K", "-l");
    cr_assert(values.quick);
    cr_assert(values.loud);
    cr_assert_str_eq(values.name, "x y");
    cr_assert_eq(values.count, 7);
    cr_assert_eq(values.size, 3072);
    cr_assert_str_eq(word, "host:1");
    cr_assert_not(values.pin.given);
    RUNS("w", "--wait", "0.25", "-n", "9");
    cr_assert_eq(values.wait_us, 250000);
    cr_assert_eq(values.count, 9);
}

Test(options, what_is_not_named_keeps_its_default)
{
    const struct option_set sets[] = {{"First:", rows, 4, &values}};
    const struct command command = {
        .name = "antq test", .about = "About.", .sets = sets, .set_count = 1};

    memset(&values, 0, sizeof values);
    values.count = 10;
    cr_assert_eq(options_parse(&command, 0, NULL, NULL, error, sizeof error), PARSE_RUN);
    cr_assert_eq(values.count, 10);
}

Test(options, the_last_of_two_counts)
{
    RUNS("w", "--count", "3", "--count", "4");
    cr_assert_eq(values.count, 4);
}

Test(options, two_dashes_end_the_flags)
{
    RUNS("--quick", "--", "--name");
    cr_assert_str_eq(word, "--name");
    cr_assert_null(values.name);
    RUNS("-");
    cr_assert_str_eq(word, "-");
}

Test(options, help_is_met_anywhere)
{
    cr_assert_eq(PARSE("--help"), PARSE_HELP);
    cr_assert_eq(PARSE("w", "-h"), PARSE_HELP);
    cr_assert_eq(PARSE("w", "--count", "1", "--help"), PARSE_HELP);
}

Test(options, an_unknown_flag_is_named)
{
    WRONG("unknown flag --nonsense;", "w", "--nonsense");
    WRONG("unknown flag --nonsense;", "w", "--nonsense=1");
    WRONG("unknown flag --coun;", "w", "--coun", "1");
    WRONG("unknown flag --counts;", "w", "--counts", "1");
    WRONG("unknown flag -x;", "w", "-x");
    WRONG("unknown flag -ln;", "w", "-ln");
    WRONG("`antq test --help`", "w", "--nonsense");
}

Test(options, a_missing_value_is_named)
{
    WRONG("--name needs a value: NAME", "w", "--name");
    WRONG("\"--quick\" follows instead", "w", "--name", "--quick");
    WRONG("--name expects NAME, not nothing", "w", "--name", "");
    WRONG("--name expects NAME, not nothing", "w", "--name=");
    WRONG("--quick takes no value", "w", "--quick=1");
    RUNS("w", "--name=--quick");
    cr_assert_str_eq(values.name, "--quick");
}

Test(options, words_are_counted)
{
    cr_assert_eq(parse_as("WORD", 0, NULL), PARSE_WRONG);
    cr_assert_not_null(strstr(error, "WORD is missing"), "%s", error);
    WRONG("both \"a\" and \"b\"", "a", "b");
    cr_assert_eq(parse_as(NULL, 1, (const char *const[]){"a"}), PARSE_WRONG);
    cr_assert_not_null(strstr(error, "unexpected word \"a\""), "%s", error);
    cr_assert_eq(parse_as(NULL, 0, NULL), PARSE_RUN);
}

Test(options, numbers_have_bounds)
{
    RUNS("w", "--count", "1");
    RUNS("w", "--count", "100");
    WRONG("--count must be from 1 to 100, not \"0\"", "w", "--count", "0");
    WRONG("--count must be from 1 to 100, not \"101\"", "w", "--count", "101");
    WRONG("--count expects a whole number, not \"ten\"", "w", "--count", "ten");
    WRONG("--count expects a whole number, not \"-1\"", "w", "--count", "-1");
    WRONG("--wait must be from 0.001 to 10 seconds", "w", "--wait", "11");
    WRONG("--wait must be from 0.001 to 10 seconds", "w", "--wait", "0.000999");
    RUNS("w", "--wait", "0.001");
    RUNS("w", "--wait", "10");
    WRONG("--size expects a size in bytes", "w", "--size", "1T");
}

static const struct {
    const char *text;
    bool ok;
    uint64_t value;
} numbers[] =
    {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"+1", false, 0},
        {"-1", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"1K", false, 0},
},
  sizes[] =
      {
          {"0", true, 0},
          {"1", true, 1},
          {"1k", true, 1024},
          {"1K", true, 1024},
          {"10M", true, 10485760},
          {"10m", true, 10485760},
          {"1G", true, 1073741824},
          {"3g", true, 3221225472},
          {"0G", true, 0},
          {"17179869183G", true, UINT64_C(17179869183) << 30},
          {"17179869184G", false, 0},
          {"18014398509481983K", true, UINT64_C(18014398509481983) << 10},
          {"18014398509481984K", false, 0},
          {"18446744073709551615", true, UINT64_MAX},
          {"18446744073709551616", false, 0},
          {"K", false, 0},
          {"", false, 0},
          {"1KB", false, 0},
          {"1KK", false, 0},
          {"1.5M", false, 0},
          {"-1K", false, 0},
          {"1T", false, 0},
},
  seconds[] = {
      {"0", true, 0},
      {"1", true, 1000000},
      {"0.5", true, 500000},
      {"1.000001", true, 1000001},
      {"2.50", true, 2500000},
      {"0.1234567", false, 0},
      {"1.", false, 0},
      {".5", false, 0},
      {"1,5", false, 0},
      {"", false, 0},
      {"1s", false, 0},
      {"-1", false, 0},
      {"1.5.1", false, 0},
      {"18446744073709", false, 0},
      {"18446744073708", true, UINT64_C(18446744073708000000)},
      {"99999999999999999999", false, 0},
};

#define CHECK_TABLE(table, parse)                                                           \
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {                           \
        uint64_t value = 12345;                                                             \
        cr_assert_eq(parse(table[i].text, &value), table[i].ok, "\"%s\"", table[i].text);   \
        cr_assert_eq(value, table[i].ok ? table[i].value : 12345, "\"%s\"", table[i].text); \
    }

Test(options, numbers)
{CHECK_TABLE(numbers, parse_number)} Test(options, sizes)
{CHECK_TABLE(sizes, parse_size)} Test(options, seconds)
{CHECK_TABLE(seconds, parse_seconds)}

Test(options, pins)
{
    static const char good[] = "00ff0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123ff";
    uint8_t hash[32];
    char text[80];

    RUNS("w", "--pin", good);
    cr_assert(values.pin.given);
    cr_assert_eq(values.pin.hash[0], 0x00);
    cr_assert_eq(values.pin.hash[1], 0xff);
    cr_assert_eq(values.pin.hash[10], 0xab);
    cr_assert_eq(values.pin.hash[31], 0xff);
    for (size_t i = 0; i < 64; i++) { /* one wrong digit anywhere */
        strcpy(text, good);
        text[i] = i % 2 == 0 ? 'g' : ' ';
        memset(hash, 7, sizeof hash);
        cr_assert_not(parse_pin(text, hash));
        cr_assert_eq(hash[0], 7);
    }
    strcpy(text, good);
    text[63] = '\0';
    WRONG("64 hexadecimal digits", "w", "--pin", text);
    strcpy(text, good);
    strcat(text, "0");
    WRONG("64 hexadecimal digits", "w", "--pin", text);
}

Test(options, help_tells_of_every_flag)
{
    const struct option_set sets[] = {{"First:", rows, 4, &values},
                                      {"Second:", more_rows, 3, &values}};
    const struct command command = {
        .name = "antq test", .word = "WORD", .about = "About.", .sets = sets, .set_count = 2};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cr_assert_not_null(out);
    options_help(&command, out);
    cr_assert_eq(fclose(out), 0);
    cr_assert_not_null(strstr(text, "usage: antq test WORD [flags]"));
    cr_assert_not_null(strstr(text, "--count N, -n"));
    for (size_t s = 0; s < 2; s++) {
        for (size_t r = 0; r < sets[s].count; r++) {
            cr_assert_not_null(strstr(text, sets[s].rows[r].name));
            cr_assert_not_null(strstr(text, sets[s].rows[r].help));
        }
    }
    free(text);
}

Test(options, errors_are_cut_to_the_room_there_is)
{
    const struct option_set sets[] = {{"First:", rows, 4, &values}};
    const struct command command = {
        .name = "antq test", .about = "About.", .sets = sets, .set_count = 1};
    char flag[] = "--nonsense";
    char *argv[] = {flag, NULL};
    char small[8] = "xxxxxxx";

    cr_assert_eq(options_parse(&command, 1, argv, NULL, small, sizeof small), PARSE_WRONG);
    cr_assert_str_eq(small, "unknown");
}

Test(options, several_words_where_they_are_taken)
{
    const struct option_set sets[] = {{"First:", rows, 4, &values}};
    const char *words[3] = {NULL}, *first;
    size_t count = 0;
    const struct command command = {.name = "antq test",
                                    .word = "WORD...",
                                    .about = "About.",
                                    .sets = sets,
                                    .set_count = 1,
                                    .words = words,
                                    .word_max = 3,
                                    .word_count = &count};
    char a[] = "a", flag[] = "--quick", b[] = "b", c[] = "c", d[] = "d";
    char *argv[] = {a, flag, b, c, d, NULL};

    cr_assert_eq(options_parse(&command, 4, argv, &first, error, sizeof error), PARSE_RUN);
    cr_assert_eq(count, 3);
    cr_assert_str_eq(first, "a");
    cr_assert_str_eq(words[0], "a");
    cr_assert_str_eq(words[2], "c");
    count = 0;
    cr_assert_eq(options_parse(&command, 5, argv, &first, error, sizeof error), PARSE_WRONG);
    cr_assert_not_null(strstr(error, "at most 3"));
    count = 0;
    cr_assert_eq(options_parse(&command, 0, argv, &first, error, sizeof error), PARSE_WRONG);
    cr_assert_not_null(strstr(error, "WORD... is missing"));
}
