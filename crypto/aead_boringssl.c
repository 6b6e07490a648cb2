/* aead_boringssl.c -- the backend of packet protection that is always there: BoringSSL's EVP_AEAD.
 *
 * The key contexts are flat pieces of memory that protect.c keeps, so nothing is allocated.
 * seal_scatter and open_gather work in place: the payload is transformed where it stands, the tag
 * stands behind it.
 *
 * RFC 9001 §5.3 (AEAD and nonce), §5.4.3 and §5.4.4 (header protection by AES and by ChaCha20).
 * Called by protect.c only. */
#include "crypto/aead.h"

#include <assert.h>

#include <openssl/aead.h>
#include <openssl/aes.h>
#include <openssl/chacha.h>
#include <openssl/mem.h>

static_assert(sizeof(EVP_AEAD_CTX) <= AEAD_CTX_SIZE, "a context must hold BoringSSL's");
static_assert(_Alignof(EVP_AEAD_CTX) <= 64, "contexts are aligned to 64 bytes");
static_assert(sizeof(AES_KEY) <= HP_CTX_SIZE, "a context must hold BoringSSL's AES key");
static_assert(_Alignof(AES_KEY) <= 64, "contexts are aligned to 64 bytes");

enum {
    CHACHA_KEY_SIZE = 32
};

static const char *missing(void)
{
    return NULL;
}

static size_t manager_size(void)
{
    return 0;
}

static void *manager_init(void *mem)
{
    return mem; /* no state beside the keys' */
}

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

static void expand(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw)
{
    const EVP_AEAD *aead = aead_of(cipher);

    (void)manager;
    /* With the right key size this cannot fail: it only expands the key into ctx. */
    EVP_AEAD_CTX_zero(ctx);
    int done = EVP_AEAD_CTX_init(ctx, aead, raw, EVP_AEAD_key_length(aead), AEAD_TAG_SIZE, NULL);
    assert(done == 1);
    (void)done;
}

static void drop(void *ctx)
{
    EVP_AEAD_CTX_cleanup(ctx); /* takes one that was only zeroed too */
    OPENSSL_cleanse(ctx, sizeof(EVP_AEAD_CTX));
}

static void seal_batch(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                 unsigned n)
{
    uint8_t nonce[AEAD_IV_SIZE];

    (void)manager;
    for (unsigned i = 0; i < n; i++) {
        size_t header = (size_t)v[i].pn_offset + v[i].pn_size;
        size_t payload = v[i].size - header - AEAD_TAG_SIZE;
        uint8_t *at = v[i].data + header;
        size_t tag_size;
        /* The API takes its input in one piece. */
        if (v[i].tail_size > 0) {
            memcpy(at + payload - v[i].tail_size, v[i].tail, v[i].tail_size);
        }
        aead_nonce(key, v[i].number, nonce);
        int done =
            EVP_AEAD_CTX_seal_scatter(ctx, at, at + payload, &tag_size, AEAD_TAG_SIZE, nonce,
                                      sizeof(nonce), at, payload, NULL, 0, v[i].data, header);
        assert(done == 1 && tag_size == AEAD_TAG_SIZE);
        (void)done;
    }
}

static void open_batch(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                 unsigned n)
{
    uint8_t nonce[AEAD_IV_SIZE];

    (void)manager;
    for (unsigned i = 0; i < n; i++) {
        if (!v[i].ok) {
            continue;
        }
        size_t header = (size_t)v[i].pn_offset + v[i].pn_size;
        size_t payload = v[i].size - header - AEAD_TAG_SIZE;
        uint8_t *at = v[i].data + header;
        aead_nonce(key, v[i].number, nonce);
        v[i].ok = EVP_AEAD_CTX_open_gather(ctx, at, nonce, sizeof(nonce), at, payload, at + payload,
                                           AEAD_TAG_SIZE, v[i].data, header)
                  == 1;
    }
}

static void hp_expand(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw)
{
    (void)manager;
    if (cipher == CIPHER_CHACHA20) {
        memcpy(ctx, raw, CHACHA_KEY_SIZE);
        return;
    }
    unsigned bits = cipher == CIPHER_AES_256_GCM ? 256 : 128;
    int failed = AES_set_encrypt_key(raw, bits, ctx);
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

static void hp_masks(void *manager, const void *ctx, enum cipher cipher,
                     uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n)
{
    (void)manager;
    for (unsigned i = 0; i < n; i++) {
        if (cipher == CIPHER_CHACHA20) {
            chacha_mask(ctx, blocks[i]);
        } else { /* RFC 9001 §5.4.3: one AES block per packet. */
            AES_encrypt(blocks[i], blocks[i], ctx);
        }
    }
}

const struct aead_backend aead_boringssl = {
    .name = "boringssl",
    .missing = missing,
    .manager_size = manager_size,
    .manager_init = manager_init,
    .expand = expand,
    .drop = drop,
    .seal = seal_batch,
    .open = open_batch,
    .hp_expand = hp_expand,
    .hp_masks = hp_masks,
};
