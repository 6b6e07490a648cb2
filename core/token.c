/* token.c -- see token.h. RFC 9000 §8.1.2 to §8.1.4, §21.3. */
#include "core/token.h"
#include "core/addr.h"
#include "crypto/prim.h"
#include <string.h>

static void token_derive(uint8_t key[16], const uint8_t secret[32])
{
    uint8_t mac[32];
    prim_hmac(secret, 32, (const uint8_t *)"antq token", 10, mac);
    memcpy(key, mac, 16);
    prim_wipe(mac, sizeof mac);
}

void token_key_init(struct token_key *key, const uint8_t secret[32])
{
    memset(key, 0, sizeof *key);
    token_derive(key->now, secret);
}

void token_key_rotate(struct token_key *key, const uint8_t secret[32])
{
    memcpy(key->before, key->now, sizeof key->before);
    key->has_before = true;
    token_derive(key->now, secret);
}

/* A Retry's token is bound to address and port, answered at once on the same path; a NEW_TOKEN's
 * only to the address: the next connection comes from another port (RFC 9000 §8.1.4). RFC 9000
 * §8.1.1: the kind is the first byte, so that one can never pass for the other. */
static size_t token_ad(enum token_kind kind, const struct aq_addr *remote, uint8_t out[21])
{
    out[0] = (uint8_t)kind;
    return 1 + addr_bytes(remote, kind == TOKEN_RETRY, out + 1);
}

static void token_write_cid(struct writer *w, const struct cid *cid)
{
    write_u8(w, cid->size);
    write_bytes(w, cid->bytes, CID_MAX);
}

static bool token_read_cid(struct reader *r, struct cid *cid)
{
    cid->size = read_u8(r);
    const uint8_t *p = read_bytes(r, CID_MAX);
    if (!p || cid->size > CID_MAX)
        return false;
    memcpy(cid->bytes, p, CID_MAX);
    return true;
}

void token_make(const struct token_key *key, const struct token *token,
                const struct aq_addr *remote, struct rng *rng, uint8_t out[TOKEN_SIZE])
{
    uint8_t plain[TOKEN_PLAIN], ad[21];
    struct writer w = writer_make(plain, sizeof plain);
    write_uint(&w, token->time_s, 8);
    write_uint(&w, token->version, 4);
    token_write_cid(&w, &token->odcid);
    token_write_cid(&w, &token->retry_scid);
    assert(!w.bad && w.p == w.end);
    out[0] = (uint8_t)token->kind;
    rng_fill(rng, out + 1, 12);
    size_t ad_size = token_ad(token->kind, remote, ad);
    prim_seal(key->now, out + 1, ad, ad_size, plain, sizeof plain, out + 13);
}

bool token_is_retry(const uint8_t *data, size_t size)
{
    return size == TOKEN_SIZE && data[0] == TOKEN_RETRY;
}

static bool token_open_plain(const struct token_key *key, const uint8_t *data,
                             const struct aq_addr *remote, uint8_t plain[TOKEN_PLAIN])
{
    uint8_t ad[21];
    size_t ad_size = token_ad((enum token_kind)data[0], remote, ad);
    if (prim_open(key->now, data + 1, ad, ad_size, data + 13, TOKEN_PLAIN + 16, plain))
        return true;
    return key->has_before
           && prim_open(key->before, data + 1, ad, ad_size, data + 13, TOKEN_PLAIN + 16, plain);
}

bool token_open(const struct token_key *key, const uint8_t *data, size_t size,
                const struct aq_addr *remote, struct token *token, uint64_t time_s)
{
    uint8_t plain[TOKEN_PLAIN];
    if (size != TOKEN_SIZE || (data[0] != TOKEN_RETRY && data[0] != TOKEN_NEW)
        || !token_open_plain(key, data, remote, plain))
        return false;
    struct reader r = reader_make(plain, sizeof plain);
    token->kind = (enum token_kind)data[0];
    token->time_s = read_uint(&r, 8);
    token->version = (uint32_t)read_uint(&r, 4);
    if (!token_read_cid(&r, &token->odcid) || !token_read_cid(&r, &token->retry_scid))
        return false;
    uint64_t life = token->kind == TOKEN_RETRY ? TOKEN_RETRY_LIFE_S : TOKEN_NEW_LIFE_S;
    uint64_t age = time_s > token->time_s ? time_s - token->time_s : 0;
    return age <= life; /* RFC 9000 §8.1.3: tokens expire */
}
