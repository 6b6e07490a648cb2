/* tokens.c -- fuzz target: address validation tokens (core/token.h), RFC 9000 §8.1; SECURITY.md row 10.
 *
 * Bytes of a stranger never open, at any length. A token made from the input opens for its address and time
 * and for nothing else, and not with one bit changed. */
#include "core/token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void cid_take(struct reader *r, struct cid *cid)
{
    *cid = (struct cid){.size = read_u8(r) % (CID_MAX + 1)};
    const uint8_t *bytes = read_bytes(r, cid->size);
    if (bytes)
        memcpy(cid->bytes, bytes, cid->size);
    else
        cid->size = 0;
}

static bool cid_same(const struct cid *a, const struct cid *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t secret[32] = "the root of all tokens of a test", other[32] = "another";
    struct token_key key = {.has_before = false};
    struct aq_addr addr = {.ip = {10, 0, 0, 1}, .port = 4433, .family = 4}, elsewhere;
    struct token token = {.kind = TOKEN_RETRY}, opened;
    struct reader r = reader_make(data, size);
    uint8_t bytes[TOKEN_SIZE + 1];
    struct rng rng;

    token_key_init(&key, secret);
    require(!token_open(&key, data, size, &addr, &opened, 1000));

    rng_init(&rng, secret);
    unsigned position = (unsigned)read_uint(&r, 2) % (TOKEN_SIZE * 8);
    token.kind = read_u8(&r) & 1 ? TOKEN_RETRY : TOKEN_NEW;
    token.time_s = 1000 + read_uint(&r, 4);
    cid_take(&r, &token.odcid);
    cid_take(&r, &token.retry_scid);
    token_make(&key, &token, &addr, &rng, bytes);
    bytes[TOKEN_SIZE] = 0;
    require(token_open(&key, bytes, TOKEN_SIZE, &addr, &opened, token.time_s));
    require(opened.kind == token.kind && opened.time_s == token.time_s);
    if (token.kind == TOKEN_RETRY)
        require(cid_same(&opened.odcid, &token.odcid) && cid_same(&opened.retry_scid, &token.retry_scid));
    /* later, elsewhere, longer, shorter, changed, under another secret */
    require(!token_open(&key, bytes, TOKEN_SIZE, &addr, &opened, token.time_s + TOKEN_NEW_LIFE_S + 2));
    elsewhere = addr;
    elsewhere.ip[3]++;
    require(!token_open(&key, bytes, TOKEN_SIZE, &elsewhere, &opened, token.time_s));
    require(!token_open(&key, bytes, TOKEN_SIZE + 1, &addr, &opened, token.time_s));
    require(!token_open(&key, bytes, position / 8, &addr, &opened, token.time_s));
    bytes[position / 8] ^= (uint8_t)(1U << position % 8);
    require(!token_open(&key, bytes, TOKEN_SIZE, &addr, &opened, token.time_s));
    bytes[position / 8] ^= (uint8_t)(1U << position % 8);
    token_key_rotate(&key, other);
    require(token_open(&key, bytes, TOKEN_SIZE, &addr, &opened, token.time_s));
    token_key_rotate(&key, other);
    require(!token_open(&key, bytes, TOKEN_SIZE, &addr, &opened, token.time_s));
    return 0;
}
