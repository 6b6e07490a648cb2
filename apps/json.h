/* json.h -- a small reader of JSON (RFC 8259): one text becomes a flat array of tokens.
 *
 * Nothing is copied or allocated; tokens point into the text. The array holds a value before what
 * is in it, an object's names and values in turn. For `antq qlog`, whose files come from anywhere:
 * every byte is checked, depth and tokens are bounded, and there is no recursion. */
#ifndef APPS_JSON_H
#define APPS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_token {
    const char *text; /* strings without their quotes, escapes not resolved */
    uint32_t size;    /* bytes */
    uint32_t end;     /* index of the first token that is not part of this value */
    enum json_kind kind;
};

enum {
    JSON_DEPTH = 32,
    JSON_SIZE_MAX = 1 << 28 /* bytes of a text */
};

/* Tokens that always suffice for a text of so many bytes. */
size_t json_tokens_max(size_t size);

/* Reads one text, white space around it allowed. Returns the number of tokens; 0: not JSON, with a
 * static sentence in *error and where in *at (bytes from the beginning). */
size_t json_parse(const char *text, size_t size, struct json_token *tokens, size_t max,
                  const char **error, size_t *at);

/* The value of an object's member; NULL: there is none, or it is no object. Names with escapes are
 * not found. */
const struct json_token *json_member(const struct json_token *tokens,
                                     const struct json_token *object, const char *name);
/* The first value in an array or name in an object, and the next after it; NULL: no more. */
const struct json_token *json_first(const struct json_token *tokens,
                                    const struct json_token *container);
const struct json_token *json_next(const struct json_token *tokens,
                                   const struct json_token *container,
                                   const struct json_token *value);
bool json_is(const struct json_token *string, const char *text);
/* NULL or no number: false. */
bool json_number(const struct json_token *token, double *value);

#endif
