/* prim.h -- the few primitives the core needs beside packet protection, all BoringSSL's, none
 * allocates. */
#ifndef AQ_PRIM_H
#define AQ_PRIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4: tables keyed by bytes that strangers choose. */
uint64_t prim_siphash(const uint64_t key[2], const uint8_t *in, size_t size);

/* HMAC-SHA-256. */
void prim_hmac(const uint8_t *key, size_t key_size, const uint8_t *in, size_t size,
               uint8_t out[32]);
void prim_sha256(const uint8_t *in, size_t size, uint8_t out[32]);

/* One AES-128 block cipher, both ways: connection ids. */
struct block_key {
    _Alignas(16) uint8_t enc[256], dec[256];
};
void prim_block_init(struct block_key *key, const uint8_t raw[16]);
void prim_block_encrypt(const struct block_key *key, const uint8_t in[16], uint8_t out[16]);
void prim_block_decrypt(const struct block_key *key, const uint8_t in[16], uint8_t out[16]);

/* ChaCha20 key stream (RFC 8439): out = stream of (key, nonce, counter), for the generator in
 * core/rng.c. */
void prim_chacha20(const uint8_t key[32], const uint8_t nonce[12], uint32_t counter, uint8_t *out,
                   size_t size);

/* AES-128-GCM of one small message: address validation tokens. Out is size + 16 (seal) or size - 16
 * (open). */
void prim_seal(const uint8_t key[16], const uint8_t nonce[12], const uint8_t *ad, size_t ad_size,
               const uint8_t *in, size_t size, uint8_t *out);
bool prim_open(const uint8_t key[16], const uint8_t nonce[12], const uint8_t *ad, size_t ad_size,
               const uint8_t *in, size_t size, uint8_t *out);

/* Constant time. */
bool prim_equal(const void *a, const void *b, size_t size);
void prim_wipe(void *p, size_t size);

#endif
