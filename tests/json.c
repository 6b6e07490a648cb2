/* json.c -- the reader of JSON texts: what is JSON, what is not and where, and looking things up.
 */
#include "apps/json.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKENS = 256
};

static struct json_token tokens[TOKENS];
static const char *why;
static size_t at;

/* The text is copied to its exact size, so that a sanitizer sees a read beyond it. */
static size_t parse(const char *text)
{
    static char *copy;
    size_t size = strlen(text);
    free(copy);
    copy = malloc(size ? size : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, size);
    return json_parse(copy, size, tokens, TOKENS, &why, &at);
}

/* RFC 8259: texts, and how many values and names they have. */
Test(json, good)
{
    static const struct {
        const char *text;
        size_t count;
    } rows[] = {
        {"0", 1},
        {" -0 ", 1},
        {"-12.50e+3", 1},
        {"1E9", 1},
        {"null", 1},
        {"true", 1},
        {"false", 1},
        {"\"\"", 1},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00fF\"", 1},
        {"\"\xc3\xa4\"", 1},
        {"[]", 1},
        {"{}", 1},
        {"[ ]", 1},
        {"{ }", 1},
        {"[1]", 2},
        {"[[],{},[[]]]", 5},
        {"{\"a\":1}", 3},
        {"\t{ \"a\" : [ 1 , 2 ] ,\n \"b\" : { \"c\" : null } }\r\n", 9},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(parse(rows[i].text), rows[i].count, "%s: %s", rows[i].text, why ? why : "");
        cr_expect_eq(tokens[0].end, rows[i].count);
        cr_expect_leq(rows[i].count, json_tokens_max(strlen(rows[i].text)));
    }
}

/* What is not JSON is refused where it goes wrong. */
Test(json, bad)
{
    static const struct {
        const char *text;
        size_t at;
        const char *why;
    } rows[] = {
        {"", 0, "a value is expected"},
        {"  ", 2, "a value is expected"},
        {"nul", 0, "a value is expected"},
        {"+1", 0, "a value is expected"},
        {"-", 1, "a digit is missing"},
        {"01", 1, "more after the end of the value"},
        {"1.", 2, "a digit is missing"},
        {"1e", 2, "a digit is missing"},
        {"1e+", 3, "a digit is missing"},
        {"\"abc", 4, "a string does not end"},
        {"\"a\\", 3, "an escape that does not exist"},
        {"\"\\x\"", 2, "an escape that does not exist"},
        {"\"\\u12g4\"", 5, "\\u needs four hexadecimal digits"},
        {"\"a\nb\"", 2, "a control character in a string"},
        {"[1", 2, "a comma or ] is expected"},
        {"[1,]", 3, "a value is expected"},
        {"[,1]", 1, "a value is expected"},
        {"[1}", 2, "a comma or ] is expected"},
        {"{", 1, "a name in quotes is expected"},
        {"{a:1}", 1, "a name in quotes is expected"},
        {"{\"a\"}", 4, "a colon is expected"},
        {"{\"a\":}", 5, "a value is expected"},
        {"{\"a\":1,}", 7, "a name in quotes is expected"},
        {"{\"a\":1]", 6, "a comma or } is expected"},
        {"1 2", 2, "more after the end of the value"},
        {"[]]", 2, "more after the end of the value"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(parse(rows[i].text), 0, "%s", rows[i].text);
        cr_assert_not_null(why);
        cr_expect_str_eq(why, rows[i].why, "%s", rows[i].text);
        cr_expect_eq(at, rows[i].at, "%s: at %zu", rows[i].text, at);
    }
}

/* Depth and tokens end where they are bounded, not the program. */
Test(json, bounds)
{
    char text[4 * JSON_DEPTH + 1];
    for (unsigned depth = JSON_DEPTH - 1; depth <= JSON_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = 0;
        cr_expect_eq(parse(text), depth <= JSON_DEPTH ? depth : 0);
    }
    cr_expect_str_eq(why, "too many values inside each other");
    for (size_t max = 0; max < 5; max++)
        cr_expect_eq(json_parse("[1,2,3]", 7, tokens, max, &why, &at), max < 4 ? 0 : 4);
    /* the most that a text can have for its size */
    for (size_t n = 1; n < 100; n++) {
        char many[256] = "[";
        for (size_t i = 0; i < n; i++)
            strcat(many, i ? ",1" : "1");
        strcat(many, "]");
        cr_expect_eq(
            json_parse(many, strlen(many), tokens, json_tokens_max(strlen(many)), &why, &at),
            n + 1);
    }
}

Test(json, lookup)
{
    double number = 0;
    cr_assert(parse("{\"a\":{\"x\":[1,[2,3],\"s\"],\"y\":-2.5e1},\"b\":true,\"\":7}"));
    const struct json_token *a = json_member(tokens, tokens, "a");
    const struct json_token *x = json_member(tokens, a, "x");
    cr_assert(a && a->kind == JSON_OBJECT && x && x->kind == JSON_ARRAY);
    cr_expect_eq(strncmp(x->text, "[1,[2,3],\"s\"]", x->size), 0);
    cr_expect(json_number(json_member(tokens, a, "y"), &number) && number == -25);
    cr_expect(json_number(json_member(tokens, tokens, ""), &number) && number == 7);
    cr_expect_null(json_member(tokens, tokens, "x"), "inside of a, not beside it");
    cr_expect_null(json_member(tokens, tokens, "aa"));
    cr_expect_null(json_member(tokens, x, "a"), "no object");
    cr_expect_null(json_member(tokens, NULL, "a"));
    cr_expect_not(json_number(NULL, &number));
    cr_expect_not(json_number(x, &number));
    const struct json_token *v = json_first(tokens, x);
    cr_assert_not_null(v);
    cr_expect_eq(v->kind, JSON_NUMBER);
    v = json_next(tokens, x, v);
    cr_expect(v && v->kind == JSON_ARRAY);
    v = json_next(tokens, x, v);
    cr_expect(json_is(v, "s"));
    cr_expect_not(json_is(v, "S"));
    cr_expect_null(json_next(tokens, x, v));
    cr_expect_null(json_first(tokens, v), "a string holds nothing");
    cr_assert(parse("[]"));
    cr_expect_null(json_first(tokens, tokens));
}
