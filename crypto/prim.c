/* prim.c -- the few primitives the core needs beside packet protection, all BoringSSL's.
 *
 * None allocates. That is why HMAC is put together here from BoringSSL's SHA-256 (RFC 2104): its
 * own HMAC keeps its state on the heap. (One exception lies outside: the first failed prim_open of
 * a thread lets BoringSSL make that thread's error queue, unless TLS or schedule_keys has done so
 * before.)
 *
 * Called by core/ (maps, tokens, connection ids, the generator) and by schedule.c. RFC 2104, RFC
 * 8439. */
#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

#include <openssl/aead.h>
#include <openssl/aes.h>
#include <openssl/chacha.h>
#include <openssl/mem.h>
#include <openssl/sha.h>
#include <openssl/siphash.h>

static_assert(sizeof(AES_KEY) <= sizeof(((struct block_key *)0)->enc),
              "struct block_key must hold an AES key");
static_assert(_Alignof(AES_KEY) <= 16, "struct block_key is aligned to 16 bytes");

uint64_t prim_siphash(const uint64_t key[2], const uint8_t *in, size_t size)
{
    return SIPHASH_24(key, in, size);
}

void prim_sha256(const uint8_t *in, size_t size, uint8_t out[32])
{
    SHA256(in, size, out);
}

void prim_hmac(const uint8_t *key, size_t key_size, const uint8_t *in, size_t size, uint8_t out[32])
{
    uint8_t pad[SHA256_CBLOCK] = {0};
    SHA256_CTX sha;

    /* RFC 2104 §2: a key longer than the hash's block is hashed first. */
    if (key_size > sizeof(pad)) {
        SHA256(key, key_size, pad);
    } else if (key_size > 0) {
        memcpy(pad, key, key_size);
    }
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36;
    }
    SHA256_Init(&sha);
    SHA256_Update(&sha, pad, sizeof(pad));
    SHA256_Update(&sha, in, size);
    SHA256_Final(out, &sha);
    for (size_t i = 0; i < sizeof(pad); i++) {
        pad[i] ^= 0x36 ^ 0x5c;
    }
    SHA256_Init(&sha);
    SHA256_Update(&sha, pad, sizeof(pad));
    SHA256_Update(&sha, out, 32);
    SHA256_Final(out, &sha);
    OPENSSL_cleanse(pad, sizeof(pad));
    OPENSSL_cleanse(&sha, sizeof(sha));
}

void prim_block_init(struct block_key *key, const uint8_t raw[16])
{
    int failed = AES_set_encrypt_key(raw, 128, (AES_KEY *)(void *)key->enc);
    failed |= AES_set_decrypt_key(raw, 128, (AES_KEY *)(void *)key->dec);
    assert(failed == 0);
    (void)failed;
}

void prim_block_encrypt(const struct block_key *key, const uint8_t in[16], uint8_t out[16])
{
    AES_encrypt(in, out, (const AES_KEY *)(const void *)key->enc);
}

void prim_block_decrypt(const struct block_key *key, const uint8_t in[16], uint8_t out[16])
{
    AES_decrypt(in, out, (const AES_KEY *)(const void *)key->dec);
}

void prim_chacha20(const uint8_t key[32], const uint8_t nonce[12], uint32_t counter, uint8_t *out,
                   size_t size)
{
    /* The block counter must not wrap: RFC 8439 §2.3 gives a key and nonce 2^32 blocks of 64 bytes.
     */
    assert(size / 64 <= UINT32_MAX - counter);
    if (size == 0) {
        return;
    }
    memset(out, 0, size);
    CRYPTO_chacha_20(out, out, size, key, nonce, counter);
}

void prim_seal(const uint8_t key[16], const uint8_t nonce[12], const uint8_t *ad, size_t ad_size,
               const uint8_t *in, size_t size, uint8_t *out)
{
    EVP_AEAD_CTX ctx;
    size_t sealed = 0;

    EVP_AEAD_CTX_zero(&ctx);
    int done = EVP_AEAD_CTX_init(&ctx, EVP_aead_aes_128_gcm(), key, 16, 16, NULL);
    done &= EVP_AEAD_CTX_seal(&ctx, out, &sealed, size + 16, nonce, 12, in, size, ad, ad_size);
    assert(done == 1 && sealed == size + 16);
    (void)done;
    EVP_AEAD_CTX_cleanup(&ctx);
    OPENSSL_cleanse(&ctx, sizeof(ctx));
}

bool prim_open(const uint8_t key[16], const uint8_t nonce[12], const uint8_t *ad, size_t ad_size,
               const uint8_t *in, size_t size, uint8_t *out)
{
    EVP_AEAD_CTX ctx;

    if (size < 16) {
        return false;
    }
    EVP_AEAD_CTX_zero(&ctx);
    int done = EVP_AEAD_CTX_init(&ctx, EVP_aead_aes_128_gcm(), key, 16, 16, NULL);
    assert(done == 1);
    (void)done;
    /* Gather, not open: `out` is size - 16 bytes, and open would want room for as much as `in`. */
    bool ok = EVP_AEAD_CTX_open_gather(&ctx, out, nonce, 12, in, size - 16, in + size - 16, 16, ad,
                                       ad_size)
              == 1;
    EVP_AEAD_CTX_cleanup(&ctx);
    OPENSSL_cleanse(&ctx, sizeof(ctx));
    return ok;
}

bool prim_equal(const void *a, const void *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

void prim_wipe(void *p, size_t size)
{
    if (size > 0) {
        OPENSSL_cleanse(p, size);
    }
}
