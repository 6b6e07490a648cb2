/* packet.h -- packet headers as bytes: long, short, Retry, Version Negotiation (RFC 8999; RFC 9000
 * §17).
 *
 * Pure codecs: no keys, no connection. Packet protection is crypto/protect.h's. */
#ifndef AQ_PACKET_H
#define AQ_PACKET_H

#include "core/params.h"
#include "crypto/version.h"

enum {
    QUIC_V1 = AQ_QUIC_V1,
    QUIC_V2 = AQ_QUIC_V2,
    PACKET_LONG_MAX = 7 + 2 * 20 + 8,
    INITIAL_MIN_DATAGRAM = 1200
};

enum packet_type { /* long header types in the order of struct version's column; on the wire
                      each version has its own */
    PACKET_INITIAL = 0,
    PACKET_ZERO_RTT = 1,
    PACKET_HANDSHAKE = 2,
    PACKET_RETRY = 3,
    PACKET_ONE_RTT = 4,
    PACKET_VERSION_NEGOTIATION = 5,
    PACKET_UNKNOWN_VERSION = 6,
};

/* What can be read without keys. Pointers go into the datagram. */
struct packet_head {
    enum packet_type type;
    uint8_t first; /* first byte as received */
    uint32_t version;
    struct cid dcid, scid; /* short header: only dcid, of the size asked for. Ids over 20 bytes:
                              size 255, unknown version only */
    const uint8_t *token;
    size_t token_size; /* Initial, Retry */
    size_t size;       /* of this packet in the datagram; Retry, VN, 1-RTT: to its end */
    size_t pn_offset;  /* Initial, 0-RTT, Handshake, 1-RTT */
    const uint8_t *versions;
    size_t versions_size; /* Version Negotiation, a multiple of 4 */
};

enum {
    PACKET_FIXED_BIT = 0x40 /* RFC 9000 §17.2, §17.3: "QUIC bit" */
};

/* Parses the packet at data. AQ_OK or AQ_DROPPED: too short, fixed bit clear (v1), length beyond
 * the datagram, cid longer than 20 bytes in a version we speak. Unknown versions parse as
 * PACKET_UNKNOWN_VERSION with ids (RFC 8999 §5.1). */
int packet_parse(const uint8_t *data, size_t size, uint8_t short_dcid_size,
                 struct packet_head *head);

/* The same where the fixed bit may have either value (RFC 9287). */
int packet_parse_greased(const uint8_t *data, size_t size, uint8_t short_dcid_size,
                         struct packet_head *head);

/* Writes a long header up to (not including) the packet number, with a 2-byte Length left to be
 * patched by packet_patch_length. Reserved bits 0; pn_size 1 to 4 goes into the first byte. token
 * only for Initial. Returns the offset of the packet number. */
size_t packet_write_long(struct writer *w, enum packet_type type, uint32_t version,
                         const struct cid *dcid, const struct cid *scid, const struct aq_iov *token,
                         unsigned pn_size);
/* length: packet number, payload and tag, below 16,384; pn_offset as returned. */
void packet_patch_length(uint8_t *packet, size_t pn_offset, size_t length);
/* Short header; returns the offset of the packet number. */
size_t packet_write_short(struct writer *w, const struct cid *dcid, bool spin, bool key_phase,
                          unsigned pn_size);
void packet_write_number(struct writer *w, uint64_t number, unsigned pn_size);

/* RFC 9000 §17.1, A.2: bytes needed so that the peer, whose largest acknowledged is largest_acked
 * (UINT64_MAX none), decodes it. */
unsigned packet_number_size(uint64_t number, uint64_t largest_acked);
/* A.3: the full number, expected = largest received + 1. */
uint64_t packet_number_decode(uint64_t truncated, unsigned pn_size, uint64_t expected);

/* A Retry (§17.2.5) with its integrity tag; returns its size, 0 if it does not fit. unused: 4
 * random bits. */
size_t packet_write_retry(uint8_t *out, size_t size, uint32_t version, const struct cid *dcid,
                          const struct cid *scid, const struct cid *odcid,
                          const struct aq_iov *token, uint8_t unused);
/* Whether a received Retry's tag is right. */
bool packet_check_retry(const uint8_t *data, size_t size, uint32_t version,
                        const struct cid *odcid);
/* Version Negotiation (§17.2.1) echoing ids of any size up to 255; returns its size, 0: does not
 * fit. */
size_t packet_write_versions(uint8_t *out, size_t size, const struct aq_iov *dcid,
                             const struct aq_iov *scid, const uint32_t *versions, unsigned count,
                             uint8_t unused);

#endif
