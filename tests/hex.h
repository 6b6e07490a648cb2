/* hex.h -- test helper: published vectors are written as hex text. */
#ifndef TESTS_HEX_H
#define TESTS_HEX_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

static inline unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10;
}

/* Bytes of a text of lower-case digits; spaces between bytes are skipped. Returns how many. */
static inline size_t hex_bytes(const char *text, uint8_t *out, size_t max)
{
    size_t size = 0;
    while (*text != 0) {
        if (*text == ' ') {
            text++;
            continue;
        }
        assert(size < max && text[1] != 0);
        out[size++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
        text += 2;
    }
    return size;
}

#endif
