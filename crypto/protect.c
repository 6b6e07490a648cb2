/* protect.c -- packet protection over batches: where the bytes lie, masks, limits (RFC 9001 §5).
 *
 *      first byte   ...   | packet number | payload                    | tag
 *      ^ data             ^ pn_offset     ^ pn_offset + pn_size        ^ size - 16
 *                         |<- 4 bytes ->|<- sample, 16 bytes ->|
 *
 * The sample lies 4 bytes behind the packet number's begin whatever the number's size, because a
 * receiver does not know that size before it has the mask (§5.4.2). Masks are gathered and computed
 * for a run of packets at a time, so that a backend may compute them side by side. The ciphers are
 * the backend's (aead.h). Called by core/recv, core/send, core/hand and schedule.c.
 * RFC 9001 §5.3, §5.4, §6.6. */
#include "crypto/protect.h"
#include "crypto/aead.h"

#include <assert.h>
#include <string.h>

/* Packets whose masks are computed together: a GSO train is at most 64. */
enum {
    RUN = 64,
    SAMPLE_OFFSET = 4
};

void protect_aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw,
                       const uint8_t iv[AEAD_IV_SIZE])
{
    memset(key, 0, sizeof(*key));
    memcpy(key->iv, iv, AEAD_IV_SIZE);
    key->cipher = (uint8_t)cipher;
    aead_init(key, cipher, raw);
    key->set = true;
}

void protect_hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw)
{
    memset(key, 0, sizeof(*key));
    key->cipher = (uint8_t)cipher;
    hp_init(key, cipher, raw);
    key->set = true;
}

void protect_aead_wipe(struct aead_key *key)
{
    aead_wipe(key);
}

void protect_hp_wipe(struct hp_key *key)
{
    /* Through a volatile pointer, so that the compiler does not drop stores to a dying object. */
    volatile uint8_t *at = (volatile uint8_t *)key;
    for (size_t i = 0; i < sizeof(*key); i++) {
        at[i] = 0;
    }
}

/* RFC 9001 §5.4.1: four bits of a long header's first byte are protected, five of a short header's.
 */
static uint8_t first_mask(uint8_t first, uint8_t mask)
{
    return mask & ((first & 0x80) != 0 ? 0x0f : 0x1f);
}

/* The masks of up to RUN packets; a packet that is not ok gives no sample and gets an unused mask.
 */
static void run_masks(const struct hp_key *hp, const struct sealed *v, unsigned n,
                      uint8_t (*masks)[HP_SAMPLE_SIZE])
{
    for (unsigned i = 0; i < n; i++) {
        if (v[i].ok) {
            memcpy(masks[i], v[i].data + v[i].pn_offset + SAMPLE_OFFSET, HP_SAMPLE_SIZE);
        } else {
            memset(masks[i], 0, HP_SAMPLE_SIZE);
        }
    }
    hp_masks(hp, masks, n);
}

void protect_seal(const struct aead_key *key, const struct hp_key *hp, struct sealed *v, unsigned n)
{
    uint8_t masks[RUN][HP_SAMPLE_SIZE];

    assert(key->set && hp->set);
    for (unsigned i = 0; i < n; i++) {
        assert(v[i].pn_size >= 1 && v[i].pn_size <= 4);
        /* RFC 9001 §5.4.2: the sender pads, so that there are enough bytes for the sample. */
        assert(v[i].size >= (size_t)v[i].pn_offset + SAMPLE_OFFSET + HP_SAMPLE_SIZE);
        v[i].ok = true;
    }
    aead_seal(key, v, n);

    for (unsigned from = 0; from < n; from += RUN) {
        unsigned count = n - from < RUN ? n - from : RUN;
        run_masks(hp, v + from, count, masks);
        for (unsigned i = 0; i < count; i++) {
            struct sealed *p = &v[from + i];
            p->data[0] ^= first_mask(p->data[0], masks[i][0]);
            for (unsigned k = 0; k < p->pn_size; k++) {
                p->data[p->pn_offset + k] ^= masks[i][1 + k];
            }
        }
    }
}

static void unmask(struct sealed *p, const uint8_t *mask)
{
    uint8_t *number = p->data + p->pn_offset;

    p->data[0] ^= first_mask(p->data[0], mask[0]);
    p->pn_size = (uint8_t)((p->data[0] & 0x03) + 1);
    p->number = 0;
    for (unsigned k = 0; k < p->pn_size; k++) {
        number[k] ^= mask[1 + k];
        p->number = p->number << 8 | number[k];
    }
}

void protect_unmask(const struct hp_key *hp, struct sealed *v, unsigned n)
{
    uint8_t masks[RUN][HP_SAMPLE_SIZE];

    assert(hp->set);
    for (unsigned from = 0; from < n; from += RUN) {
        unsigned count = n - from < RUN ? n - from : RUN;
        for (unsigned i = 0; i < count; i++) {
            struct sealed *p = &v[from + i];
            /* RFC 9001 §5.4.2: a packet too short for a complete sample is discarded. */
            p->ok = p->size >= (size_t)p->pn_offset + SAMPLE_OFFSET + HP_SAMPLE_SIZE;
        }
        run_masks(hp, v + from, count, masks);
        for (unsigned i = 0; i < count; i++) {
            if (v[from + i].ok) {
                unmask(&v[from + i], masks[i]);
            }
        }
    }
}

void protect_open(const struct aead_key *key, struct sealed *v, unsigned n)
{
    assert(key->set);
    for (unsigned i = 0; i < n; i++) {
        assert(!v[i].ok
               || (v[i].pn_size >= 1 && v[i].pn_size <= 4
                   && v[i].size >= (size_t)v[i].pn_offset + v[i].pn_size + AEAD_TAG_SIZE));
    }
    aead_open(key, v, n);
}

void protect_mask(const struct hp_key *hp, const uint8_t sample[HP_SAMPLE_SIZE], uint8_t mask[5])
{
    uint8_t block[1][HP_SAMPLE_SIZE];

    assert(hp->set);
    memcpy(block[0], sample, HP_SAMPLE_SIZE);
    hp_masks(hp, block, 1);
    memcpy(mask, block[0], 5);
}

uint64_t protect_confidentiality_limit(enum cipher cipher)
{
    /* RFC 9001 §6.6: 2^23 packets for AES-GCM; for ChaCha20-Poly1305 the limit is beyond the 2^62
     * packet numbers there are, and so never reached. */
    return cipher == CIPHER_CHACHA20 ? (uint64_t)1 << 62 : (uint64_t)1 << 23;
}

uint64_t protect_integrity_limit(enum cipher cipher)
{
    /* RFC 9001 §6.6: failed openings, all keys of a connection together. */
    return cipher == CIPHER_CHACHA20 ? (uint64_t)1 << 36 : (uint64_t)1 << 52;
}
