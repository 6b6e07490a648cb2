/* token.h -- address validation tokens (RFC 9000 §8.1): of Retry and of NEW_TOKEN.
 *
 * One fixed length, checked first, then AEAD with the address as associated data: SECURITY.md
 * row 10. A token tells when it was made, for a Retry also the original and the Retry's connection
 * id. Nothing is remembered by the server.
 *
 *    kind 1 | nonce 12 | sealed { time_s 8, version 4, odcid 21, retry scid 21 } 54 | tag 16 = 83
 *    bytes */
#ifndef AQ_TOKEN_H
#define AQ_TOKEN_H

#include "core/params.h"
#include "core/rng.h"

enum token_kind {
    TOKEN_RETRY = 1,
    TOKEN_NEW = 2
};
enum {
    TOKEN_PLAIN = 54,
    TOKEN_SIZE = 1 + 12 + TOKEN_PLAIN + 16,
    TOKEN_RETRY_LIFE_S = 30,
    TOKEN_NEW_LIFE_S = 24 * 3600
};

struct token {
    enum token_kind kind;
    uint64_t time_s;
    uint32_t version;             /* of the connection that it was made in (RFC 9369 §5) */
    struct cid odcid, retry_scid; /* Retry only */
};

struct token_key {
    uint8_t now[16], before[16]; /* the root secret's, and the one before it */
    bool has_before;
};

void token_key_init(struct token_key *key, const uint8_t secret[32]);
void token_key_rotate(struct token_key *key, const uint8_t secret[32]);

void token_make(const struct token_key *key, const struct token *token,
                const struct aq_addr *remote, struct rng *rng, uint8_t out[TOKEN_SIZE]);
/* Whether it looks like a Retry's, so that one that does not open is an error and not a stranger's
 * token (§8.1.2). */
bool token_is_retry(const uint8_t *data, size_t size);
/* True: made by us, for this address, in time. time_s: wall time now. */
bool token_open(const struct token_key *key, const uint8_t *data, size_t size,
                const struct aq_addr *remote, struct token *token, uint64_t time_s);

#endif
