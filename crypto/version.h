/* version.h -- what differs between versions of QUIC, as rows of one table: number, Initial salt,
 * HKDF labels, Retry integrity key, type bits of long headers (RFC 9001 §5; RFC 9369 §3.1 to §3.3).
 *
 * All else is the same in every row, and each row's first flight can be read as any other's: they
 * are compatible (RFC 9369 §4). crypto/schedule.c, core/packet.c and core/negotiate.c read it. */
#ifndef AQ_VERSION_H
#define AQ_VERSION_H

#include <stdbool.h>
#include <stdint.h>

struct version {
    uint32_t number;
    const char *name;
    uint8_t salt[20];
    const char *key, *iv, *hp, *update; /* labels */
    uint8_t retry_key[16], retry_nonce[12];
    uint8_t types[4]; /* of Initial, 0-RTT, Handshake, Retry: bits 0x30 of the first byte */
};

/* NULL: none that we speak. */
const struct version *version_find(uint32_t number);
/* Of a version whose packets were accepted. */
const struct version *version_of(uint32_t number);

/* RFC 9000 §15: 0x?a?a?a?a exercises version negotiation and is never spoken. */
static inline bool version_is_reserved(uint32_t number)
{
    return (number & 0x0f0f0f0f) == 0x0a0a0a0a;
}

#endif
