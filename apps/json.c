/* json.c -- the reader of json.h: one pass with a stack of the containers that are open. */
#include "apps/json.h"

#include <stdlib.h>
#include <string.h>

struct parser {
    const char *p, *end;
    struct json_token *tokens;
    size_t count, max;
    size_t open[JSON_DEPTH]; /* containers, by index */
    unsigned depth;
    const char *error;
};

size_t json_tokens_max(size_t size)
{
    return size / 2 + JSON_DEPTH + 1; /* a value and what parts it from the next, or a bracket */
}

static bool fail(struct parser *j, const char *error)
{
    j->error = error;
    return false;
}

static void skip_space(struct parser *j)
{
    while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r')) {
        j->p++;
    }
}

static char peek(const struct parser *j)
{
    return j->p < j->end ? *j->p : '\0';
}

static struct json_token *add(struct parser *j, enum json_kind kind, const char *text, size_t size)
{
    struct json_token *token;

    if (j->count == j->max) {
        (void)fail(j, "more values than there is room for");
        return NULL;
    }
    token = &j->tokens[j->count++];
    *token = (struct json_token){text, (uint32_t)size, (uint32_t)j->count, kind};
    return token;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* After a backslash. */
static bool parse_escape(struct parser *j)
{
    char c = peek(j);

    if (c != '\0' && strchr("\"\\/bfnrt", c) != NULL) {
        j->p++;
        return true;
    }
    if (c != 'u') {
        return fail(j, "an escape that does not exist");
    }
    j->p++;
    for (unsigned i = 0; i < 4; i++, j->p++) {
        if (!is_hex(peek(j))) {
            return fail(j, "\\u needs four hexadecimal digits");
        }
    }
    return true;
}

static bool parse_string(struct parser *j)
{
    const char *begin = ++j->p;

    for (;;) {
        if (j->p == j->end) {
            return fail(j, "a string does not end");
        }
        if ((unsigned char)*j->p < 0x20) {
            return fail(j, "a control character in a string");
        }
        if (*j->p == '"') {
            return add(j, JSON_STRING, begin, (size_t)(j->p++ - begin)) != NULL;
        }
        if (*j->p++ == '\\' && !parse_escape(j)) {
            return false;
        }
    }
}

static bool parse_digits(struct parser *j)
{
    const char *begin = j->p;

    while (peek(j) >= '0' && peek(j) <= '9') {
        j->p++;
    }
    return j->p > begin || fail(j, "a digit is missing");
}

/* RFC 8259 §6: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)? */
static bool parse_number(struct parser *j)
{
    const char *begin = j->p;

    j->p += *j->p == '-' ? 1 : 0;
    if (peek(j) == '0') {
        j->p++;
    } else if (!parse_digits(j)) {
        return false;
    }
    if (peek(j) == '.') {
        j->p++;
        if (!parse_digits(j)) {
            return false;
        }
    }
    if (peek(j) == 'e' || peek(j) == 'E') {
        j->p++;
        j->p += peek(j) == '+' || peek(j) == '-' ? 1 : 0;
        if (!parse_digits(j)) {
            return false;
        }
    }
    return add(j, JSON_NUMBER, begin, (size_t)(j->p - begin)) != NULL;
}

static bool parse_word(struct parser *j, const char *word, enum json_kind kind)
{
    size_t size = strlen(word);

    if ((size_t)(j->end - j->p) < size || memcmp(j->p, word, size) != 0) {
        return fail(j, "a value is expected");
    }
    j->p += size;
    return add(j, kind, j->p - size, size) != NULL;
}

static bool open_container(struct parser *j, enum json_kind kind)
{
    if (j->depth == JSON_DEPTH) {
        return fail(j, "too many values inside each other");
    }
    j->open[j->depth++] = j->count;
    return add(j, kind, j->p++, 1) != NULL;
}

static void close_container(struct parser *j)
{
    struct json_token *token = &j->tokens[j->open[--j->depth]];

    j->p++;
    token->end = (uint32_t)j->count;
    token->size = (uint32_t)(j->p - token->text);
}

/* A value, or the beginning of a container. */
static bool parse_value(struct parser *j)
{
    switch (peek(j)) {
    case '{': return open_container(j, JSON_OBJECT);
    case '[': return open_container(j, JSON_ARRAY);
    case '"': return parse_string(j);
    case 't': return parse_word(j, "true", JSON_BOOL);
    case 'f': return parse_word(j, "false", JSON_BOOL);
    case 'n': return parse_word(j, "null", JSON_NULL);
    case '-': return parse_number(j);
    default:
        return peek(j) >= '0' && peek(j) <= '9' ? parse_number(j) : fail(j, "a value is expected");
    }
}

/* A member's name and its colon, where the container at hand is an object. */
static bool parse_name(struct parser *j)
{
    if (j->tokens[j->open[j->depth - 1]].kind != JSON_OBJECT) {
        return true;
    }
    if (peek(j) != '"') {
        return fail(j, "a name in quotes is expected");
    }
    if (!parse_string(j)) {
        return false;
    }
    skip_space(j);
    if (peek(j) != ':') {
        return fail(j, "a colon is expected");
    }
    j->p++;
    skip_space(j);
    return true;
}

/* After a value: what closes, and a comma. True with depth 0: the text is whole. */
static bool parse_after(struct parser *j)
{
    while (j->depth > 0) {
        char closing = j->tokens[j->open[j->depth - 1]].kind == JSON_OBJECT ? '}' : ']';

        skip_space(j);
        if (peek(j) == ',') {
            j->p++;
            skip_space(j);
            return parse_name(j);
        }
        if (peek(j) != closing) {
            return fail(j,
                        closing == '}' ? "a comma or } is expected" : "a comma or ] is expected");
        }
        close_container(j);
    }
    return true;
}

/* Just behind an opening bracket: false when it closes at once. */
static bool has_content(struct parser *j)
{
    skip_space(j);
    return peek(j) != (j->tokens[j->open[j->depth - 1]].kind == JSON_OBJECT ? '}' : ']');
}

size_t json_parse(const char *text, size_t size, struct json_token *tokens, size_t max,
                  const char **error, size_t *at)
{
    struct parser j = {.p = text, .end = text + size, .tokens = tokens, .max = max};
    bool ok = size <= JSON_SIZE_MAX || fail(&j, "too large");

    if (ok) {
        skip_space(&j);
    }
    while (ok) {
        unsigned depth = j.depth;

        ok = parse_value(&j);
        if (ok && j.depth > depth && has_content(&j)) {
            ok = parse_name(&j);
            continue;
        }
        ok = ok && parse_after(&j);
        if (j.depth == 0) {
            break;
        }
    }
    if (ok) {
        skip_space(&j);
        ok = j.p == j.end || fail(&j, "more after the end of the value");
    }
    *error = j.error;
    *at = (size_t)(j.p - text);
    return ok ? j.count : 0;
}

/* ---- looking at tokens ----------------------------------------------------------------------- */

const struct json_token *json_first(const struct json_token *tokens,
                                    const struct json_token *container)
{
    size_t index;

    if (container == NULL || container->kind < JSON_ARRAY) {
        return NULL;
    }
    index = (size_t)(container - tokens) + 1;
    return index < container->end ? &tokens[index] : NULL;
}

const struct json_token *json_next(const struct json_token *tokens,
                                   const struct json_token *container,
                                   const struct json_token *value)
{
    uint32_t index = value->end;

    if (container->kind == JSON_OBJECT) { /* value is a name: its value is passed over too */
        index = tokens[index].end;
    }
    return index < container->end ? &tokens[index] : NULL;
}

const struct json_token *json_member(const struct json_token *tokens,
                                     const struct json_token *object, const char *name)
{
    if (object == NULL || object->kind != JSON_OBJECT) {
        return NULL;
    }
    for (const struct json_token *t = json_first(tokens, object); t != NULL;
         t = json_next(tokens, object, t)) {
        if (json_is(t, name)) {
            return t + 1;
        }
    }
    return NULL;
}

bool json_is(const struct json_token *string, const char *text)
{
    return string != NULL && string->kind == JSON_STRING && strlen(text) == string->size
           && memcmp(string->text, text, string->size) == 0;
}

bool json_number(const struct json_token *token, double *value)
{
    char text[64];

    if (token == NULL || token->kind != JSON_NUMBER || token->size >= sizeof text) {
        return false;
    }
    memcpy(text, token->text, token->size); /* strtod needs the end */
    text[token->size] = '\0';
    *value = strtod(text, NULL);
    return true;
}
