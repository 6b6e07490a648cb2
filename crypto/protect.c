/* protect.c -- packet protection over batches: where the bytes lie, masks, limits (RFC 9001 §5).
 *
 *      first byte   ...   | packet number | payload                    | tag
 *      ^ data             ^ pn_offset     ^ pn_offset + pn_size        ^ size - 16
 *                         |<- 4 bytes ->|<- sample, 16 bytes ->|
 *
 * The sample lies 4 bytes behind the packet number's begin whatever the number's size, because a
 * receiver does not know that size before it has the mask (§5.4.2). Masks are gathered and computed
 * for a run of packets at a time, so that a backend may compute them side by side. The ciphers are
 * the backend's (aead.h); the contexts it makes of keys are kept here, in a table where a key has
 * one place, found by its serial. Called by core/recv, core/send, core/hand and schedule.c.
 * RFC 9001 §5.3, §5.4, §6.6. */
#include "crypto/protect.h"
#include "crypto/aead.h"
#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

/* Packets whose masks are computed together: a GSO train is at most 64. */
enum {
    RUN = 64,
    SAMPLE_OFFSET = 4
};

/* ---- backends ---- */

/* The fastest first. */
static const struct aead_backend *const backends[] = {&aead_ipsecmb, &aead_boringssl};
enum {
    BACKENDS = sizeof(backends) / sizeof(backends[0])
};

static bool is_auto(const char *name)
{
    return name == NULL || strcmp(name, "auto") == 0;
}

static const struct aead_backend *backend_of(const char *name)
{
    for (unsigned i = 0; i < BACKENDS; i++) {
        if (is_auto(name) ? backends[i]->missing() == NULL : strcmp(name, backends[i]->name) == 0) {
            return backends[i];
        }
    }
    return NULL;
}

const char *protect_check(const char *name)
{
    const struct aead_backend *backend = backend_of(name);
    return backend == NULL ? "aead must be auto, boringssl or ipsec-mb" : backend->missing();
}

const char *protect_name(const struct protect *p)
{
    return p->backend->name;
}

/* ---- contexts ---- */

/* For 10,000 busy connections a table that held them all would be slower than none: contexts that
 * come from memory cost as much as those that are made anew. */
enum {
    SLOTS_MIN = 16,
    SLOTS_MAX = 256,    /* 352 KiB; those who are busy at once find one place each, or nearly */
    SLOTS_PER_CONN = 4, /* two keys in use, and room, so that they seldom meet */
    /* Contexts made in so much time for keys that had lost their place: half a per cent of it. */
    LOOK_US = 100000,
    CLASHES = 5000
};

/* Sizes that are no power of two, so that slots do not all fall on the same lines of the caches. */
struct aead_slot {
    _Alignas(64) uint8_t ctx[AEAD_CTX_SIZE];
    uint64_t serial; /* whose it is; 0: nobody's */
};

struct hp_slot {
    _Alignas(64) uint8_t ctx[HP_CTX_SIZE];
    uint64_t serial;
};

static uint32_t slots_max_for(uint32_t conns)
{
    uint32_t slots = SLOTS_MIN;
    while (slots < SLOTS_MAX && slots / SLOTS_PER_CONN < conns) {
        slots *= 2;
    }
    return slots;
}

static size_t manager_bytes(const char *name)
{
    return (backend_of(name)->manager_size() + 63) & ~(size_t)63;
}

size_t protect_size(const char *name, uint32_t conns)
{
    assert(protect_check(name) == NULL);
    return manager_bytes(name)
           + slots_max_for(conns) * (sizeof(struct aead_slot) + sizeof(struct hp_slot));
}

bool protect_init(struct protect *p, void *mem, const char *name, uint32_t conns)
{
    uint8_t *at = mem;
    uint32_t slots = slots_max_for(conns);

    assert(protect_check(name) == NULL && ((uintptr_t)mem & 63) == 0);
    *p = (struct protect){.backend = backend_of(name), .slots = SLOTS_MIN, .slots_max = slots};
    p->shift = 64;
    for (uint32_t n = p->slots; n > 1; n /= 2) {
        p->shift--;
    }
    p->manager = p->backend->manager_init(at);
    at += manager_bytes(name);
    p->aeads = (struct aead_slot *)(void *)at;
    p->hps = (struct hp_slot *)(void *)(at + slots * sizeof(struct aead_slot));
    if (p->manager == NULL && is_auto(name)) {
        p->backend = &aead_boringssl;
        p->manager = p->backend->manager_init(mem);
    }
    return p->manager != NULL;
}

/* Fibonacci hashing: serials that were given in a row, as those of one connection were, fall far
 * apart. */
static uint32_t place_of(const struct protect *p, uint64_t serial)
{
    return (uint32_t)((serial * 0x9e3779b97f4a7c15u) >> p->shift);
}

static void aead_slot_drop(struct protect *p, struct aead_slot *slot)
{
    p->backend->drop(slot->ctx);
    slot->serial = 0;
}

static void hp_slot_drop(struct hp_slot *slot)
{
    prim_wipe(slot, sizeof(*slot));
}

static void slots_drop(struct protect *p)
{
    for (uint32_t i = 0; i < p->slots; i++) {
        if (p->aeads[i].serial != 0) {
            aead_slot_drop(p, &p->aeads[i]);
        }
        hp_slot_drop(&p->hps[i]);
    }
}

void protect_close(struct protect *p)
{
    slots_drop(p);
}

void protect_look(struct protect *p, uint64_t now)
{
    if (p->clashes >= CLASHES && p->slots < p->slots_max) {
        slots_drop(p); /* all places change; who is busy has its context again at once */
        p->slots *= 2;
        p->shift--;
    }
    p->clashes = 0;
    p->look_us = now + LOOK_US;
}

void protect_aead_bind(struct aead_key *key, struct protect *p)
{
    key->protect = p;
    key->serial = p != NULL ? ++p->serials : 0;
}

void protect_hp_bind(struct hp_key *key, struct protect *p)
{
    key->protect = p;
    key->serial = p != NULL ? ++p->serials : 0;
}

/* A context for one call: the key's in the cache, made now if it is not there; or own, for a key
 * that is bound to none. */
struct aead_use {
    const struct aead_backend *backend;
    void *manager;
    const void *ctx;
    struct aead_slot own;
};

static void aead_begin(struct aead_use *use, const struct aead_key *key)
{
    struct protect *p = key->protect;
    enum cipher cipher = (enum cipher)key->cipher;

    if (p == NULL) {
        use->backend = &aead_boringssl;
        use->manager = NULL;
        use->ctx = use->own.ctx;
        memset(use->own.ctx, 0, sizeof(use->own.ctx));
        use->backend->expand(NULL, use->own.ctx, cipher, key->raw);
        return;
    }
    struct aead_slot *slot = &p->aeads[place_of(p, key->serial)];
    if (slot->serial != key->serial) {
        if (slot->serial != 0) {
            aead_slot_drop(p, slot);
            p->clashes++;
        }
        p->backend->expand(p->manager, slot->ctx, cipher, key->raw);
        slot->serial = key->serial;
    }
    use->backend = p->backend;
    use->manager = p->manager;
    use->ctx = slot->ctx;
}

static void aead_end(struct aead_use *use, const struct aead_key *key)
{
    if (key->protect == NULL) {
        use->backend->drop(use->own.ctx);
    }
}

/* The masks of n samples, where they stand. */
static void masks_of(const struct hp_key *key, uint8_t (*blocks)[HP_SAMPLE_SIZE], unsigned n)
{
    struct protect *p = key->protect;
    enum cipher cipher = (enum cipher)key->cipher;

    if (p == NULL) {
        struct hp_slot own;
        aead_boringssl.hp_expand(NULL, own.ctx, cipher, key->raw);
        aead_boringssl.hp_masks(NULL, own.ctx, cipher, blocks, n);
        hp_slot_drop(&own);
        return;
    }
    struct hp_slot *slot = &p->hps[place_of(p, key->serial)];
    if (slot->serial != key->serial) {
        p->clashes += slot->serial != 0;
        hp_slot_drop(slot);
        p->backend->hp_expand(p->manager, slot->ctx, cipher, key->raw);
        slot->serial = key->serial;
    }
    p->backend->hp_masks(p->manager, slot->ctx, cipher, blocks, n);
}

/* ---- keys ---- */

static size_t raw_size(enum cipher cipher)
{
    return cipher == CIPHER_AES_128_GCM ? 16 : 32;
}

void protect_aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw,
                       const uint8_t iv[AEAD_IV_SIZE])
{
    memset(key, 0, sizeof(*key));
    memcpy(key->raw, raw, raw_size(cipher));
    memcpy(key->iv, iv, AEAD_IV_SIZE);
    key->cipher = (uint8_t)cipher;
    key->set = true;
}

void protect_hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw)
{
    memset(key, 0, sizeof(*key));
    memcpy(key->raw, raw, raw_size(cipher));
    key->cipher = (uint8_t)cipher;
    key->set = true;
}

void protect_aead_wipe(struct aead_key *key)
{
    struct protect *p = key->protect;
    if (p != NULL && key->set && p->aeads[place_of(p, key->serial)].serial == key->serial) {
        aead_slot_drop(p, &p->aeads[place_of(p, key->serial)]);
    }
    prim_wipe(key, sizeof(*key));
}

void protect_hp_wipe(struct hp_key *key)
{
    struct protect *p = key->protect;
    if (p != NULL && key->set && p->hps[place_of(p, key->serial)].serial == key->serial) {
        hp_slot_drop(&p->hps[place_of(p, key->serial)]);
    }
    prim_wipe(key, sizeof(*key));
}

/* ---- packets ---- */

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
    masks_of(hp, masks, n);
}

void protect_seal(const struct aead_key *key, const struct hp_key *hp, struct sealed *v, unsigned n)
{
    uint8_t masks[RUN][HP_SAMPLE_SIZE];
    struct aead_use use;

    assert(key->set && hp->set);
    if (n == 0) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        assert(v[i].pn_size >= 1 && v[i].pn_size <= 4);
        /* RFC 9001 §5.4.2: the sender pads, so that there are enough bytes for the sample. */
        assert(v[i].size >= (size_t)v[i].pn_offset + SAMPLE_OFFSET + HP_SAMPLE_SIZE);
        v[i].ok = true;
    }
    aead_begin(&use, key);
    use.backend->seal(use.manager, use.ctx, key, v, n);
    aead_end(&use, key);

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
    struct aead_use use;

    assert(key->set);
    for (unsigned i = 0; i < n; i++) {
        assert(!v[i].ok
               || (v[i].pn_size >= 1 && v[i].pn_size <= 4
                   && v[i].size >= (size_t)v[i].pn_offset + v[i].pn_size + AEAD_TAG_SIZE));
    }
    if (n == 0) {
        return;
    }
    aead_begin(&use, key);
    use.backend->open(use.manager, use.ctx, key, v, n);
    aead_end(&use, key);
}

void protect_mask(const struct hp_key *hp, const uint8_t sample[HP_SAMPLE_SIZE], uint8_t mask[5])
{
    uint8_t block[1][HP_SAMPLE_SIZE];

    assert(hp->set);
    memcpy(block[0], sample, HP_SAMPLE_SIZE);
    masks_of(hp, block, 1);
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
