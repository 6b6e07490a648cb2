/* sha256.h -- SHA-256 (FIPS 180-4), for the hashes of files; packets are the library's business. */
#ifndef APPS_PEER_SHA256_H
#define APPS_PEER_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
    uint32_t h[8];
    uint64_t size;
    uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t size);
void sha256_end(struct sha256 *s, uint8_t out[32]);

#endif
