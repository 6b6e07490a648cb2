/* aead_ipsecmb.c -- the optional fast backend of packet protection: Intel's multi-buffer library.
 *
 * Its AES-GCM opens and seals a packet in a third of the time of Debian's BoringSSL where the CPU
 * has VAES, in two thirds where it has AES-NI only (bench/aead.c). One packet is one call of its
 * direct interface, which keeps no state. Masks go through its one interface for plain AES, a job:
 * the samples of a whole batch lie side by side and are one message of so many blocks. Jobs belong
 * to a manager, some 200 KB, so there is one per endpoint, in the endpoint's memory.
 *
 * ChaCha20-Poly1305 is faster here only with AVX-512 IFMA; elsewhere, and for its header
 * protection, BoringSSL computes. A packet that does not open is cleared, as BoringSSL does.
 *
 * The library keeps one thing of its own beside the manager: the last error's number, which we
 * only read after making one. RFC 9001 §5.3, §5.4. Called by protect.c only. */
#include "crypto/aead.h"

#ifdef HAVE_IPSEC_MB

#    include <assert.h>

#    include <intel-ipsec-mb.h>
#    include <openssl/mem.h>

static_assert(sizeof(struct gcm_key_data) <= AEAD_CTX_SIZE, "a context must hold the library's");

enum {
    AES_ROUND_KEYS_SIZE = 15 * 16,
    CHACHA_KEY_SIZE = 32
};
static_assert((int)AES_ROUND_KEYS_SIZE <= (int)HP_CTX_SIZE,
              "a context must hold AES-256's round keys");

/* The library would emulate AES on lesser CPUs, in more time than BoringSSL takes. */
static const char *missing(void)
{
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul")
                   && __builtin_cpu_supports("sse4.2")
               ? NULL
               : "aead: ipsec-mb needs a CPU with AES-NI and PCLMULQDQ";
}

static size_t manager_size(void)
{
    return imb_get_mb_mgr_size();
}

static void *manager_init(void *mem)
{
    IMB_ARCH arch = IMB_ARCH_NONE;
    IMB_MGR *m = imb_set_pointers_mb_mgr(mem, 0, 1);

    if (m == NULL) {
        return NULL;
    }
    init_mb_mgr_auto(m, &arch); /* runs the library's self-test where it has one */
    return imb_get_errno(m) == 0 && arch != IMB_ARCH_NONE && arch != IMB_ARCH_NOAESNI ? m : NULL;
}

static bool has_fast_chacha(const IMB_MGR *m)
{
    return (m->features & IMB_FEATURE_AVX512_IFMA) != 0
           && (m->features & IMB_FEATURE_AVX512_SKX) == IMB_FEATURE_AVX512_SKX;
}

static void expand(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw)
{
    IMB_MGR *m = manager;

    if (cipher == CIPHER_AES_128_GCM) {
        IMB_AES128_GCM_PRE(m, raw, (struct gcm_key_data *)ctx);
    } else if (cipher == CIPHER_AES_256_GCM) {
        IMB_AES256_GCM_PRE(m, raw, (struct gcm_key_data *)ctx);
    } else if (has_fast_chacha(m)) {
        memcpy(ctx, raw, CHACHA_KEY_SIZE);
    } else {
        aead_boringssl.expand(NULL, ctx, cipher, raw);
    }
}

/* Whatever a context holds, it is flat: BoringSSL's for ChaCha20-Poly1305 is so too. */
static void drop(void *ctx)
{
    OPENSSL_cleanse(ctx, sizeof(struct gcm_key_data));
}

/* Where the parts of a packet lie. */
struct parts {
    uint8_t nonce[AEAD_IV_SIZE];
    size_t header, payload;
    uint8_t *at, *tag;
};

static void parts_of(struct parts *p, const struct aead_key *key, const struct sealed *s)
{
    p->header = (size_t)s->pn_offset + s->pn_size;
    p->payload = s->size - p->header - AEAD_TAG_SIZE;
    p->at = s->data + p->header;
    p->tag = p->at + p->payload;
    aead_nonce(key, s->number, p->nonce);
}

static void chacha(IMB_MGR *m, const void *ctx, const struct sealed *s, const struct parts *p,
                   bool seal, uint8_t *tag)
{
    struct chacha20_poly1305_context_data state;

    IMB_CHACHA20_POLY1305_INIT(m, ctx, &state, p->nonce, s->data, p->header);
    if (seal) {
        IMB_CHACHA20_POLY1305_ENC_UPDATE(m, ctx, &state, p->at, p->at, p->payload);
        IMB_CHACHA20_POLY1305_ENC_FINALIZE(m, &state, tag, AEAD_TAG_SIZE);
    } else {
        IMB_CHACHA20_POLY1305_DEC_UPDATE(m, ctx, &state, p->at, p->at, p->payload);
        IMB_CHACHA20_POLY1305_DEC_FINALIZE(m, &state, tag, AEAD_TAG_SIZE);
    }
    OPENSSL_cleanse(&state, sizeof(state));
}

/* The payload in two pieces, each read where it is: copying the tail first, to seal all in one
 * call, takes half as long again. */
static void seal_pieces(IMB_MGR *m, const void *ctx, const struct aead_key *key,
                        const struct sealed *s, const struct parts *p)
{
    size_t here = p->payload - s->tail_size;
    uint8_t *there = p->at + here;

    if (key->cipher == CIPHER_CHACHA20) {
        memcpy(there, s->tail, s->tail_size);
        chacha(m, ctx, s, p, true, p->tag);
        return;
    }
    struct gcm_context_data state;
    if (key->cipher == CIPHER_AES_128_GCM) {
        IMB_AES128_GCM_INIT(m, ctx, &state, p->nonce, s->data, p->header);
        IMB_AES128_GCM_ENC_UPDATE(m, ctx, &state, p->at, p->at, here);
        IMB_AES128_GCM_ENC_UPDATE(m, ctx, &state, there, s->tail, s->tail_size);
        IMB_AES128_GCM_ENC_FINALIZE(m, ctx, &state, p->tag, AEAD_TAG_SIZE);
    } else {
        IMB_AES256_GCM_INIT(m, ctx, &state, p->nonce, s->data, p->header);
        IMB_AES256_GCM_ENC_UPDATE(m, ctx, &state, p->at, p->at, here);
        IMB_AES256_GCM_ENC_UPDATE(m, ctx, &state, there, s->tail, s->tail_size);
        IMB_AES256_GCM_ENC_FINALIZE(m, ctx, &state, p->tag, AEAD_TAG_SIZE);
    }
    OPENSSL_cleanse(&state, sizeof(state));
}

static void seal_batch(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                       unsigned n)
{
    IMB_MGR *m = manager;
    struct gcm_context_data state;
    struct parts p;

    if (key->cipher == CIPHER_CHACHA20 && !has_fast_chacha(m)) {
        aead_boringssl.seal(NULL, ctx, key, v, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        parts_of(&p, key, &v[i]);
        if (v[i].tail_size > 0) {
            seal_pieces(m, ctx, key, &v[i], &p);
        } else if (key->cipher == CIPHER_AES_128_GCM) {
            IMB_AES128_GCM_ENC(m, ctx, &state, p.at, p.at, p.payload, p.nonce, v[i].data, p.header,
                               p.tag, AEAD_TAG_SIZE);
        } else if (key->cipher == CIPHER_AES_256_GCM) {
            IMB_AES256_GCM_ENC(m, ctx, &state, p.at, p.at, p.payload, p.nonce, v[i].data, p.header,
                               p.tag, AEAD_TAG_SIZE);
        } else {
            chacha(m, ctx, &v[i], &p, true, p.tag);
        }
    }
    OPENSSL_cleanse(&state, sizeof(state));
}

static void open_batch(void *manager, const void *ctx, const struct aead_key *key, struct sealed *v,
                       unsigned n)
{
    IMB_MGR *m = manager;
    struct gcm_context_data state;
    struct parts p;
    uint8_t tag[AEAD_TAG_SIZE];

    if (key->cipher == CIPHER_CHACHA20 && !has_fast_chacha(m)) {
        aead_boringssl.open(NULL, ctx, key, v, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!v[i].ok) {
            continue;
        }
        parts_of(&p, key, &v[i]);
        if (key->cipher == CIPHER_AES_128_GCM) {
            IMB_AES128_GCM_DEC(m, ctx, &state, p.at, p.at, p.payload, p.nonce, v[i].data, p.header,
                               tag, sizeof(tag));
        } else if (key->cipher == CIPHER_AES_256_GCM) {
            IMB_AES256_GCM_DEC(m, ctx, &state, p.at, p.at, p.payload, p.nonce, v[i].data, p.header,
                               tag, sizeof(tag));
        } else {
            chacha(m, ctx, &v[i], &p, false, tag);
        }
        v[i].ok = CRYPTO_memcmp(tag, p.tag, sizeof(tag)) == 0;
        if (!v[i].ok) { /* nobody shall work with what was not authentic */
            memset(p.at, 0, p.payload);
        }
    }
    OPENSSL_cleanse(&state, sizeof(state));
    OPENSSL_cleanse(tag, sizeof(tag)); /* of a forged packet it is the right one */
}

static void hp_expand(void *manager, void *ctx, enum cipher cipher, const uint8_t *raw)
{
    IMB_MGR *m = manager;
    _Alignas(16) uint8_t unused[AES_ROUND_KEYS_SIZE]; /* for decrypting */

    if (cipher == CIPHER_AES_128_GCM) {
        IMB_AES_KEYEXP_128(m, raw, ctx, unused);
    } else if (cipher == CIPHER_AES_256_GCM) {
        IMB_AES_KEYEXP_256(m, raw, ctx, unused);
    } else {
        aead_boringssl.hp_expand(NULL, ctx, cipher, raw);
        return;
    }
    OPENSSL_cleanse(unused, sizeof(unused));
}

/* RFC 9001 §5.4.3: one AES block per packet; AES-ECB over all of them. */
static void hp_masks(void *manager, const void *ctx, enum cipher cipher,
                     uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n)
{
    IMB_MGR *m = manager;

    if (cipher == CIPHER_CHACHA20) {
        aead_boringssl.hp_masks(NULL, ctx, cipher, blocks, n);
        return;
    }
    /* The queue is empty before and after, so that it is the same place each time, and the job is
     * done when the call returns: ECB needs no other message to fill its lanes. */
    IMB_JOB *job = IMB_GET_NEXT_JOB(m);
    job->cipher_mode = IMB_CIPHER_ECB;
    job->cipher_direction = IMB_DIR_ENCRYPT;
    job->chain_order = IMB_ORDER_CIPHER_HASH;
    job->hash_alg = IMB_AUTH_NULL;
    job->enc_keys = ctx;
    job->key_len_in_bytes = cipher == CIPHER_AES_256_GCM ? IMB_KEY_256_BYTES : IMB_KEY_128_BYTES;
    job->src = blocks[0];
    job->dst = blocks[0];
    job->cipher_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = (uint64_t)n * HP_SAMPLE_SIZE;
    job->iv = NULL;
    job->iv_len_in_bytes = 0;
    job = IMB_SUBMIT_JOB_NOCHECK(m);
    assert(job != NULL && job->status == IMB_STATUS_COMPLETED);
    (void)job;
}

const struct aead_backend aead_ipsecmb = {
    .name = "ipsec-mb",
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

#else

static const char *missing(void)
{
    return "aead: this antq was built without ipsec-mb";
}

const struct aead_backend aead_ipsecmb = {.name = "ipsec-mb", .missing = missing};

#endif
