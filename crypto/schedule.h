/* schedule.h -- secrets to keys: HKDF, Initial secrets, key update, the Retry tag (RFC 9001 §5, §6,
 * §5.8).
 *
 * Versions are rows of a table (crypto/version.h). */
#ifndef AQ_SCHEDULE_H
#define AQ_SCHEDULE_H

#include "crypto/protect.h"

struct secret {
    uint8_t bytes[48];
    uint8_t size;   /* 32 or 48 */
    uint8_t cipher; /* enum cipher */
};

/* The two Initial secrets of a connection from the client's first Destination Connection ID (§5.2).
 */
void schedule_initial(uint32_t version, const uint8_t *cid, size_t cid_size, struct secret *client,
                      struct secret *server);

/* Key, iv and header protection key of a secret (§5.1). hp may be NULL (a key update keeps it,
 * §6.1). */
void schedule_keys(uint32_t version, const struct secret *secret, struct aead_key *key,
                   struct hp_key *hp);

/* The same, and the secret of the next key phase (§6.1), which may be `secret` itself or NULL: what
 * both need of the secret is computed once. */
void schedule_keys_next(uint32_t version, const struct secret *secret, struct aead_key *key,
                        struct hp_key *hp, struct secret *next);

/* That secret alone. next may be secret. */
void schedule_next(uint32_t version, const struct secret *secret, struct secret *next);

void schedule_wipe(struct secret *secret);

/* The integrity tag of a Retry packet (§5.8): packet is the Retry without its tag. */
void schedule_retry_tag(uint32_t version, const uint8_t *odcid, size_t odcid_size,
                        const uint8_t *packet, size_t size, uint8_t tag[16]);

/* HKDF-Expand-Label with SHA-256 or SHA-384 by secret's size, empty context: for tests and vectors.
 */
void schedule_expand_label(const struct secret *secret, const char *label, uint8_t *out,
                           size_t size);

#endif
