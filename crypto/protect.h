/* protect.h -- packet protection, made for batches: n packets, one key (RFC 9001 §5).
 *
 * A backend (aead_boringssl.c; later aead_ipsecmb.c) fills in struct aead_key and struct hp_key,
 * whose contents are its own; they live by value in a connection and are wiped with protect_wipe.
 * No call here allocates. Called by core/recv, core/send and core/hand; keys come from schedule.h.
 */
#ifndef AQ_PROTECT_H
#define AQ_PROTECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AEAD_TAG_SIZE = 16,
    AEAD_IV_SIZE = 12,
    HP_SAMPLE_SIZE = 16,
    AEAD_CTX_SIZE = 608,
    HP_CTX_SIZE = 256
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

struct aead_key {
    _Alignas(16) uint8_t ctx[AEAD_CTX_SIZE];
    uint8_t iv[AEAD_IV_SIZE];
    uint8_t cipher; /* enum cipher */
    bool set;
};

struct hp_key {
    _Alignas(16) uint8_t ctx[HP_CTX_SIZE];
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
};

/* Makes a key context from raw key bytes (16 or 32 by cipher) and iv. */
void protect_aead_init(struct aead_key *key, enum cipher cipher, const uint8_t *raw,
                       const uint8_t iv[AEAD_IV_SIZE]);
void protect_hp_init(struct hp_key *key, enum cipher cipher, const uint8_t *raw);
void protect_aead_wipe(struct aead_key *key);
void protect_hp_wipe(struct hp_key *key);

/* Seals n packets whose headers and plain payloads stand in place: payload from pn_offset + pn_size
 * to size - 16. The header (through the packet number) is the associated data. Then masks the
 * headers. Every packet must have at least 4 - pn_size bytes of payload (RFC 9001 §5.4.2). */
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
