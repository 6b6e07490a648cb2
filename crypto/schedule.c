/* schedule.c -- secrets to keys: HKDF, Initial secrets, key update, the Retry tag (RFC 9001 §5,
 * §5.8, §6).
 *
 * HKDF-Expand-Label (RFC 8446 §7.1) never yields more here than one hash, so HKDF-Expand (RFC 5869
 * §2.3) is one HMAC:
 *
 *      HMAC(secret, size (2) | length (1) | "tls13 " label | context length 0 (1) | 0x01)
 *
 * It is computed from BoringSSL's hashes on the stack, because its HKDF_expand allocates and may
 * fail: this way a key update does neither. tests/schedule.c compares both. What differs between
 * QUIC versions is a row of crypto/version.c. Called by core/hand, core/packet and core/endpoint. */
#include "crypto/schedule.h"
#include "crypto/prim.h"
#include "crypto/version.h"

#include <assert.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/sha.h>

enum {
    CID_MAX = 20,
    DATAGRAM_MAX = 65535,
    LABEL_MAX = 32
};

/* HMAC (RFC 2104) with a secret for its key, as far as it is the same for all labels: both hashes
 * after their first block. Several labels of one secret then cost two blocks each, not four. */
struct expander {
    union {
        SHA256_CTX sha256;
        SHA512_CTX sha384;
    } inner, outer;
    uint8_t size; /* of the hash: 32 or 48 */
};

static void expander_init(struct expander *e, const struct secret *secret)
{
    uint8_t pad[SHA512_CBLOCK];
    size_t size = secret->size == 48 ? SHA512_CBLOCK : SHA256_CBLOCK;

    assert(secret->size == 32 || secret->size == 48);
    e->size = secret->size;
    memset(pad, 0x36, size);
    for (size_t i = 0; i < secret->size; i++) {
        pad[i] ^= secret->bytes[i];
    }
    for (unsigned turn = 0; turn < 2; turn++) {
        if (e->size == 48) {
            SHA512_CTX *sha = turn == 0 ? &e->inner.sha384 : &e->outer.sha384;
            SHA384_Init(sha);
            SHA384_Update(sha, pad, size);
        } else {
            SHA256_CTX *sha = turn == 0 ? &e->inner.sha256 : &e->outer.sha256;
            SHA256_Init(sha);
            SHA256_Update(sha, pad, size);
        }
        for (size_t i = 0; i < size; i++) {
            pad[i] ^= 0x36 ^ 0x5c;
        }
    }
    OPENSSL_cleanse(pad, sizeof(pad));
}

static void expander_hmac(const struct expander *e, const uint8_t *in, size_t size, uint8_t out[48])
{
    if (e->size == 48) {
        SHA512_CTX sha = e->inner.sha384;
        SHA384_Update(&sha, in, size);
        SHA384_Final(out, &sha);
        sha = e->outer.sha384;
        SHA384_Update(&sha, out, 48);
        SHA384_Final(out, &sha);
        OPENSSL_cleanse(&sha, sizeof(sha));
    } else {
        SHA256_CTX sha = e->inner.sha256;
        SHA256_Update(&sha, in, size);
        SHA256_Final(out, &sha);
        sha = e->outer.sha256;
        SHA256_Update(&sha, out, 32);
        SHA256_Final(out, &sha);
        OPENSSL_cleanse(&sha, sizeof(sha));
    }
}

static void expand(const struct expander *e, const char *label, uint8_t *out, size_t size)
{
    static const char prefix[] = "tls13 ";
    uint8_t info[2 + 1 + sizeof(prefix) + LABEL_MAX + 2], block[48];
    size_t label_size = strlen(label), at = 0;

    assert(label_size <= LABEL_MAX && size <= e->size);
    info[at++] = (uint8_t)(size >> 8);
    info[at++] = (uint8_t)size;
    info[at++] = (uint8_t)(sizeof(prefix) - 1 + label_size);
    memcpy(info + at, prefix, sizeof(prefix) - 1);
    at += sizeof(prefix) - 1;
    memcpy(info + at, label, label_size);
    at += label_size;
    info[at++] = 0; /* no context */
    info[at++] = 1; /* HKDF-Expand's block counter */
    expander_hmac(e, info, at, block);
    memcpy(out, block, size);
    OPENSSL_cleanse(block, sizeof(block));
}

void schedule_expand_label(const struct secret *secret, const char *label, uint8_t *out,
                           size_t size)
{
    struct expander e;

    expander_init(&e, secret);
    expand(&e, label, out, size);
    OPENSSL_cleanse(&e, sizeof(e));
}

void schedule_initial(uint32_t version, const uint8_t *cid, size_t cid_size, struct secret *client,
                      struct secret *server)
{
    const struct version *row = version_of(version);
    struct secret initial = {.size = 32, .cipher = CIPHER_AES_128_GCM};
    struct expander e;

    assert(cid_size <= CID_MAX);
    /* RFC 9001 §5.2: HKDF-Extract is HMAC with the salt as its key. */
    prim_hmac(row->salt, sizeof(row->salt), cid, cid_size, initial.bytes);
    *client = *server = initial;
    expander_init(&e, &initial);
    expand(&e, "client in", client->bytes, client->size);
    expand(&e, "server in", server->bytes, server->size);
    OPENSSL_cleanse(&e, sizeof(e));
    schedule_wipe(&initial);
}

void schedule_keys_next(uint32_t version, const struct secret *secret, struct aead_key *key,
                        struct hp_key *hp, struct secret *next)
{
    const struct version *row = version_of(version);
    enum cipher cipher = (enum cipher)secret->cipher;
    size_t raw_size = cipher == CIPHER_AES_128_GCM ? 16 : 32;
    uint8_t raw[32], iv[AEAD_IV_SIZE];
    struct expander e;

    /* Makes this thread's error queue if it has none, so that a forged packet later finds one: a
     * failed protect_open must not be what allocates it. */
    ERR_clear_error();

    expander_init(&e, secret);
    expand(&e, row->key, raw, raw_size);
    expand(&e, row->iv, iv, sizeof(iv));
    protect_aead_init(key, cipher, raw, iv);
    if (hp != NULL) {
        expand(&e, row->hp, raw, raw_size);
        protect_hp_init(hp, cipher, raw);
    }
    if (next != NULL) {
        /* RFC 9001 §6.1: secret_<n+1> = HKDF-Expand-Label(secret_<n>, "quic ku", "", Hash.length)
         */
        *next = *secret;
        expand(&e, row->update, next->bytes, next->size);
    }
    OPENSSL_cleanse(raw, sizeof(raw));
    OPENSSL_cleanse(iv, sizeof(iv));
    OPENSSL_cleanse(&e, sizeof(e));
}

void schedule_keys(uint32_t version, const struct secret *secret, struct aead_key *key,
                   struct hp_key *hp)
{
    schedule_keys_next(version, secret, key, hp, NULL);
}

void schedule_next(uint32_t version, const struct secret *secret, struct secret *next)
{
    struct secret updated = *secret;

    /* RFC 9001 §6.1, without the keys. */
    schedule_expand_label(secret, version_of(version)->update, updated.bytes, updated.size);
    *next = updated;
    schedule_wipe(&updated);
}

void schedule_wipe(struct secret *secret)
{
    OPENSSL_cleanse(secret, sizeof(*secret));
}

void schedule_retry_tag(uint32_t version, const uint8_t *odcid, size_t odcid_size,
                        const uint8_t *packet, size_t size, uint8_t tag[16])
{
    const struct version *row = version_of(version);
    /* The AEAD wants its associated data in one piece. A Retry may fill a whole datagram; of this
     * array only what the packet needs is written. */
    uint8_t pseudo[1 + CID_MAX + DATAGRAM_MAX];

    assert(odcid_size <= CID_MAX && size <= DATAGRAM_MAX);
    /* RFC 9001 §5.8: length and bytes of the original connection id stand before the packet; there
     * is no plaintext, so that what is sealed is the tag alone. */
    pseudo[0] = (uint8_t)odcid_size;
    if (odcid_size > 0) {
        memcpy(pseudo + 1, odcid, odcid_size);
    }
    memcpy(pseudo + 1 + odcid_size, packet, size);
    prim_seal(row->retry_key, row->retry_nonce, pseudo, 1 + odcid_size + size, NULL, 0, tag);
}
