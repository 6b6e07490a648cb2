/* aead_boringssl.c -- the backend of packet protection that is always there: BoringSSL's EVP_AEAD.
 *
 * The key contexts live by value in struct aead_key and struct hp_key, so a connection's keys are
 * one flat piece of memory, nothing is allocated, and wiping is one call. seal_scatter and
 * open_gather work in place: the payload is transformed where it stands, the tag stands behind it.
 *
 * RFC 9001 §5.3 (AEAD and nonce), §5.4.3 and §5.4.4 (header protection by AES and by ChaCha20).
 * Called by protect.c only. */
#include "crypto/aead.h"

#include <assert.h>
#include <string.h>

#include <openssl/aead.h>
#include <openssl/aes.h>
#include <openssl/chacha.h>
#include <openssl/mem.h>

static_assert(sizeof(EVP_AEAD_CTX) <= AEAD_CTX_SIZE,
              "struct aead_key must hold BoringSSL's context");
static_assert(_Alignof(EVP_AEAD_CTX) <= 16, "struct aead_key is aligned to 16 bytes");
static_assert(sizeof(AES_KEY) <= HP_CTX_SIZE, "struct hp_key must hold BoringSSL's AES key");
static_assert(_Alignof(AES_KEY) <= 16, "struct hp_key is aligned to 16 bytes");

enum {
    CHACHA_KEY_SIZE = 32
};

static const EVP_AEAD *aead_of(enum cipher cipher)
{
    switch (cipher) {
    case CIPHER_AES_128_GCM: return EVP_aead_aes_128_gcm();
    case CIPHER_AES_256_GCM: return EVP_aead_aes_256_gcm();
    case CIPHER_CHACHA20: return EVP_aead_chacha20_poly1305();
    }
    assert(false && "a cipher of enum cipher");
    return NULL;
}

static EVP_AEAD_CTX *ctx_of(struct aead_key *key)
{
    return (EVP_AEAD_CTX *)(void *)key->ctx;
}

void aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw)
{
    const EVP_AEAD *aead = aead_of(cipher);
    EVP_AEAD_CTX *ctx = ctx_of(key);

    /* With the right key size this cannot fail: it only expands the key into ctx. */
    EVP_AEAD_CTX_zero(ctx);
    int done = EVP_AEAD_CTX_init(ctx, aead, raw, EVP_AEAD_key_length(aead), AEAD_TAG_SIZE, NULL);
    assert(done == 1);
    (void)done;
}

void aead_wipe(struct aead_key *key)
{
    if (key->set) {
        EVP_AEAD_CTX_cleanup(ctx_of(key));
    }
    OPENSSL_cleanse(key, sizeof(*key));
}

/* RFC 9001 §5.3: the packet number, in network order and left-padded to the size of the iv, XOR the
 * iv. */
static void nonce_of(const struct aead_key *key, uint64_t number, uint8_t nonce[AEAD_IV_SIZE])
{
    memcpy(nonce, key->iv, AEAD_IV_SIZE);
    for (unsigned i = 0; i < 8; i++) {
        nonce[AEAD_IV_SIZE - 1 - i] ^= (uint8_t)(number >> (8 * i));
    }
}

void aead_seal(const struct aead_key *key, struct sealed *v, unsigned n)
{
    const EVP_AEAD_CTX *ctx = (const EVP_AEAD_CTX *)(const void *)key->ctx;
    uint8_t nonce[AEAD_IV_SIZE];

    for (unsigned i = 0; i < n; i++) {
        size_t header = (size_t)v[i].pn_offset + v[i].pn_size;
        size_t payload = v[i].size - header - AEAD_TAG_SIZE;
        uint8_t *at = v[i].data + header;
        size_t tag_size;
        nonce_of(key, v[i].number, nonce);
        int done =
            EVP_AEAD_CTX_seal_scatter(ctx, at, at + payload, &tag_size, AEAD_TAG_SIZE, nonce,
                                      sizeof(nonce), at, payload, NULL, 0, v[i].data, header);
        assert(done == 1 && tag_size == AEAD_TAG_SIZE);
        (void)done;
    }
}

void aead_open(const struct aead_key *key, struct sealed *v, unsigned n)
{
    const EVP_AEAD_CTX *ctx = (const EVP_AEAD_CTX *)(const void *)key->ctx;
    uint8_t nonce[AEAD_IV_SIZE];

    for (unsigned i = 0; i < n; i++) {
        if (!v[i].ok) {
            continue;
        }
        size_t header = (size_t)v[i].pn_offset + v[i].pn_size;
        size_t payload = v[i].size - header - AEAD_TAG_SIZE;
        uint8_t *at = v[i].data + header;
        nonce_of(key, v[i].number, nonce);
        v[i].ok = EVP_AEAD_CTX_open_gather(ctx, at, nonce, sizeof(nonce), at, payload, at + payload,
                                           AEAD_TAG_SIZE, v[i].data, header)
                  == 1;
    }
}

void hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw)
{
    if (cipher == CIPHER_CHACHA20) {
        memcpy(key->ctx, raw, CHACHA_KEY_SIZE);
        return;
    }
    unsigned bits = cipher == CIPHER_AES_256_GCM ? 256 : 128;
    int failed = AES_set_encrypt_key(raw, bits, (AES_KEY *)(void *)key->ctx);
    assert(failed == 0);
    (void)failed;
}

/* RFC 9001 §5.4.4: the sample is the block counter (little-endian) and the nonce, the mask is key
 * stream. */
static void chacha_mask(const uint8_t *key, uint8_t block[HP_SAMPLE_SIZE])
{
    uint32_t counter = (uint32_t)block[0] | (uint32_t)block[1] << 8 | (uint32_t)block[2] << 16
                       | (uint32_t)block[3] << 24;
    uint8_t nonce[12];

    memcpy(nonce, block + 4, sizeof(nonce));
    memset(block, 0, HP_SAMPLE_SIZE);
    CRYPTO_chacha_20(block, block, 5, key, nonce, counter);
}

void hp_masks(const struct hp_key *key, uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n)
{
    if (key->cipher == CIPHER_CHACHA20) {
        for (unsigned i = 0; i < n; i++) {
            chacha_mask(key->ctx, blocks[i]);
        }
        return;
    }
    /* RFC 9001 §5.4.3: one AES block per packet. */
    const AES_KEY *aes = (const AES_KEY *)(const void *)key->ctx;
    for (unsigned i = 0; i < n; i++) {
        AES_encrypt(blocks[i], blocks[i], aes);
    }
}
