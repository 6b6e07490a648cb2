/* protect.h -- packet protection, made for batches: n packets, one key (RFC 9001 §5).
 *
 * A key of a connection is small: its raw bytes. What a cipher computes from it before the first
 * packet, the context (580 bytes with BoringSSL, 1,008 with IPsec-MB, 244 for header protection),
 * is kept in a cache of struct protect, one per endpoint, and made again (about 100 ns, mask
 * included 150) when a connection that was quiet becomes busy. So an idle connection pays memory
 * for none, and a busy one time for none. Two busy keys that fall on one place take it from each
 * other at every batch: a few per cent of a train's time, and worth no list. The cache begins with
 * a few places (22 KiB), whatever the number of connections; when keys take places from each other
 * so often that it costs a good part of a per cent of a core, it doubles (up to 352 KiB), in memory
 * that was not touched before. Thousands of connections that only stay alive do not get there.
 *
 *     struct aead_key --- bind ---> struct protect: backend, cache[hash of serial] -> context
 *
 * A key that is bound to no struct protect works as well, with BoringSSL and a context made for
 * each call: Initial and Handshake keys, which live for a few packets, and tests.
 *
 * struct protect also says which backend computes (aead.h): BoringSSL, always there, or Intel
 * IPsec-MB. No call here allocates. Called by core/recv, core/send and core/hand; keys come from
 * schedule.h. */
#ifndef AQ_PROTECT_H
#define AQ_PROTECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AEAD_TAG_SIZE = 16,
    AEAD_IV_SIZE = 12,
    HP_SAMPLE_SIZE = 16
};

enum cipher {
    CIPHER_AES_128_GCM = 0,
    CIPHER_AES_256_GCM = 1,
    CIPHER_CHACHA20 = 2
};

/* Levels in BoringSSL's order (ssl_encryption_level_t). */
enum level {
    LEVEL_INITIAL = 0,
    LEVEL_EARLY = 1,
    LEVEL_HANDSHAKE = 2,
    LEVEL_APP = 3,
    LEVELS = 4
};

struct aead_backend; /* aead.h */
struct aead_slot;    /* protect.c: a place of the cache */
struct hp_slot;

/* One endpoint's: which backend, and the contexts of the keys that are in use. */
struct protect {
    const struct aead_backend *backend;
    void *manager; /* the backend's own */
    struct aead_slot *aeads;
    struct hp_slot *hps;
    uint64_t serials;   /* given to keys so far: none is given twice */
    uint64_t look_us;   /* when clashes are looked at next */
    uint32_t clashes;   /* since the last look a place was taken from another key so often */
    uint32_t slots;     /* in use of each of the two, a power of two */
    uint32_t slots_max; /* for which there is room */
    uint32_t shift;
};

struct aead_key {
    struct protect *protect; /* NULL: bound to none */
    uint64_t serial;
    uint8_t raw[32];
    uint8_t iv[AEAD_IV_SIZE];
    uint8_t cipher; /* enum cipher */
    bool set;
};

struct hp_key {
    struct protect *protect;
    uint64_t serial;
    uint8_t raw[32];
    uint8_t cipher;
    bool set;
};

/* One packet of a batch, in place. */
struct sealed {
    uint8_t *data;   /* first byte of the packet */
    uint64_t number; /* full packet number (seal, open); the truncated one after protect_unmask */
    uint32_t size;   /* the whole packet, tag included */
    uint16_t pn_offset; /* where the packet number begins */
    uint8_t pn_size;    /* 1 to 4; filled in by protect_unmask */
    bool ok;            /* out: protect_unmask and protect_open say whether they could */
    /* seal: the payload's last bytes are still elsewhere, and go into the packet through the cipher
     * instead of a copy; 0: all of it stands in the packet. They do not overlap the packet. */
    uint32_t tail_size;
    const uint8_t *tail;
};

/* The backend of a name ("boringssl", "ipsec-mb"; NULL or "auto": the fastest that works here).
 * NULL: it can be had; else a static sentence that says why not. */
const char *protect_check(const char *name);

/* Bytes that protect_init needs for a checked name and so many connections; 64-byte aligned,
 * zeroed. */
size_t protect_size(const char *name, uint32_t conns);
/* False: the backend named failed its own tests. */
bool protect_init(struct protect *p, void *mem, const char *name, uint32_t conns);
const char *protect_name(const struct protect *p); /* "boringssl" or "ipsec-mb" */
/* To be called in every turn: the cache grows when that is worth it. */
void protect_look(struct protect *p, uint64_t now);
static inline void protect_turn(struct protect *p, uint64_t now)
{
    if (now >= p->look_us) {
        protect_look(p, now);
    }
}
/* Wipes all contexts. Keys bound to it must not be used again, but for wiping. */
void protect_close(struct protect *p);

/* From here on the key's contexts are kept in p, which must outlive it. A copy of a bound key is
 * the same key. p may be NULL. */
void protect_aead_bind(struct aead_key *key, struct protect *p);
void protect_hp_bind(struct hp_key *key, struct protect *p);

/* Makes a key from raw key bytes (16 or 32 by cipher) and iv. */
void protect_aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw,
                       const uint8_t iv[AEAD_IV_SIZE]);
void protect_hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw);
void protect_aead_wipe(struct aead_key *key);
void protect_hp_wipe(struct hp_key *key);

/* Seals n packets whose headers and plain payloads (but for their tails) stand in place: payload
 * from pn_offset + pn_size to size - 16. The header (through the packet number) is the associated
 * data. Then masks the headers. Every packet must have at least 4 - pn_size bytes of payload (RFC
 * 9001 §5.4.2). */
void protect_seal(const struct aead_key *key, const struct hp_key *hp, struct sealed *v,
                  unsigned n);

/* Removes header protection of n packets (data, size, pn_offset given): unmasks the first byte and
 * the number, fills in pn_size and the truncated number. ok is false, and nothing changed, where a
 * packet is shorter than pn_offset + 4 + 16. */
void protect_unmask(const struct hp_key *hp, struct sealed *v, unsigned n);

/* Opens n unmasked packets in place with their full numbers; ok says which are authentic. Packets
 * whose ok is false on entry are left alone. The last 16 bytes of a packet are not touched. */
void protect_open(const struct aead_key *key, struct sealed *v, unsigned n);

/* The mask of one sample: for tests and vectors. */
void protect_mask(const struct hp_key *hp, const uint8_t sample[HP_SAMPLE_SIZE], uint8_t mask[5]);

/* AEAD limits in packets (RFC 9001 §6.6): for one sending key, and failures for all receiving keys
 * together. */
uint64_t protect_confidentiality_limit(enum cipher cipher);
uint64_t protect_integrity_limit(enum cipher cipher);

#endif
