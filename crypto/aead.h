/* aead.h -- what a backend of packet protection provides, in batches.
 *
 * Inner to crypto/: protect.c knows where the bytes of a packet lie, a backend (aead_boringssl.c)
 * computes. A backend owns the contents of struct aead_key and struct hp_key (protect.h) and
 * allocates nothing. */
#ifndef AQ_AEAD_H
#define AQ_AEAD_H

#include "crypto/protect.h"

void aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw);
void aead_wipe(struct aead_key *key);

/* In place: the bytes before the payload are the associated data, the last 16 are the tag. */
void aead_seal(const struct aead_key *key, struct sealed *v, unsigned n);
/* As protect_open: skips packets whose ok is false, clears ok of those that are not authentic. */
void aead_open(const struct aead_key *key, struct sealed *v, unsigned n);

void hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw);
/* Turns n samples into masks where they stand; the first 5 bytes of each are the mask (RFC 9001
 * §5.4.1). */
void hp_masks(const struct hp_key *key, uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n);

#endif
