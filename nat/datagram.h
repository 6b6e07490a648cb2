/* datagram.h -- datagrams that are not QUIC, beside QUIC on the same port (PROTOCOL §4).
 *
 * Their first byte has the two highest bits clear: a QUIC packet we send has the fixed bit (0x40)
 * set, as NAT traversal and greasing it exclude each other, and a Version Negotiation packet, whose
 * fixed bit is anybody's, has 0x80 set. So one look at one byte tells them apart.
 *
 *     relayed     | 0x30 | channel id, 8 bytes | a QUIC packet as it is ...
 *     punch       | 0x31 | kind | session id, 8 bytes | transaction, 4 bytes | MAC, 16 bytes |
 *
 *     probe       | 0x32 | request id, 16 bytes |
 *
 *     back        | 0x34 | channel id, 8 bytes | a stateless reset |
 *
 * A punch datagram opens a path and proves that somebody who holds the session's key is there. It
 * is 30 bytes, so that an address named by a liar gets little. A probe is a bootstrap node's:
 * whether it arrives tells a peer what its NAT lets in. Who has started anew, and does not know the
 * channel of what a relay brings, sends a reset back along it. */
#ifndef AQ_NAT_DATAGRAM_H
#define AQ_NAT_DATAGRAM_H

#include "core/buf.h"

enum {
    DATAGRAM_RELAY = 0x30,
    DATAGRAM_PUNCH = 0x31,
    DATAGRAM_PROBE = 0x32,
    DATAGRAM_AWAKE = 0x33, /* this byte alone */
    DATAGRAM_BACK = 0x34,
    RELAY_HEADER = 9,
    PUNCH_SIZE = 30,
    PROBE_SIZE = 17,
    PUNCH_KEY_BYTES = 16
};

enum datagram_kind {
    DATAGRAM_IS_QUIC,
    DATAGRAM_IS_RELAY,
    DATAGRAM_IS_PUNCH,
    DATAGRAM_IS_PROBE,
    DATAGRAM_IS_AWAKE,
    DATAGRAM_IS_BACK,
    DATAGRAM_IS_JUNK /* none of them: dropped */
};
enum datagram_kind datagram_kind(const uint8_t *data, size_t size);

/* Precondition of both: datagram_kind said it is one. */
static inline uint64_t relay_channel(const uint8_t *data)
{
    return load_be64(data + 1);
}
/* The 9 bytes in front of a packet; of one that goes back along the channel it came on. */
void relay_header(uint8_t out[RELAY_HEADER], uint64_t channel);
void relay_back_header(uint8_t out[RELAY_HEADER], uint64_t channel);

enum punch_kind {
    PUNCH_OPEN = 1,  /* opens our own NAT; answered by PUNCH_REPLY to where it came from */
    PUNCH_REPLY = 2, /* answers one: not answered itself, so that two of us cannot play ping-pong */
};

struct punch {
    uint8_t kind; /* enum punch_kind */
    uint64_t session;
    uint32_t transaction; /* of the opener; a reply repeats it */
};

void punch_write(const struct punch *punch, const uint8_t key[PUNCH_KEY_BYTES],
                 uint8_t out[PUNCH_SIZE]);
/* The session it claims, to find its key by. */
static inline uint64_t punch_session(const uint8_t *data)
{
    return load_be64(data + 2);
}
/* False: not of this session, or its MAC is wrong. */
bool punch_read(const uint8_t *data, size_t size, const uint8_t key[PUNCH_KEY_BYTES],
                struct punch *punch);

#endif
