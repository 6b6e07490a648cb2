/* datagram.c -- relayed and punch datagrams (PROTOCOL §4).
 *
 * The MAC is HMAC-SHA-256 cut to 16 bytes (RFC 2104 §5), over all bytes before it. Called by
 * nat/relay, nat/punch and whoever demultiplexes a port. */
#include "nat/datagram.h"

#include "crypto/prim.h"

enum {
    MAC_SIZE = 16,
    MAC_AT = PUNCH_SIZE - MAC_SIZE
};

enum datagram_kind datagram_kind(const uint8_t *data, size_t size)
{
    if (size == 0)
        return DATAGRAM_IS_JUNK;
    if (data[0] & 0xc0) /* PROTOCOL §4: ours have both bits clear */
        return DATAGRAM_IS_QUIC;
    if (data[0] == DATAGRAM_RELAY && size > RELAY_HEADER)
        return DATAGRAM_IS_RELAY;
    if (data[0] == DATAGRAM_PUNCH && size == PUNCH_SIZE)
        return DATAGRAM_IS_PUNCH;
    if (data[0] == DATAGRAM_PROBE && size == PROBE_SIZE)
        return DATAGRAM_IS_PROBE;
    if (data[0] == DATAGRAM_AWAKE && size == 1)
        return DATAGRAM_IS_AWAKE;
    if (data[0] == DATAGRAM_BACK && size > RELAY_HEADER)
        return DATAGRAM_IS_BACK;
    return DATAGRAM_IS_JUNK;
}

void relay_header(uint8_t out[RELAY_HEADER], uint64_t channel)
{
    out[0] = DATAGRAM_RELAY;
    store_be32(out + 1, (uint32_t)(channel >> 32));
    store_be32(out + 5, (uint32_t)channel);
}

void relay_back_header(uint8_t out[RELAY_HEADER], uint64_t channel)
{
    relay_header(out, channel);
    out[0] = DATAGRAM_BACK;
}

void punch_write(const struct punch *punch, const uint8_t key[PUNCH_KEY_BYTES],
                 uint8_t out[PUNCH_SIZE])
{
    struct writer w = writer_make(out, PUNCH_SIZE);
    uint8_t mac[32];
    write_u8(&w, DATAGRAM_PUNCH);
    write_u8(&w, punch->kind);
    write_uint(&w, punch->session, 8);
    write_uint(&w, punch->transaction, 4);
    prim_hmac(key, PUNCH_KEY_BYTES, out, MAC_AT, mac);
    write_bytes(&w, mac, MAC_SIZE);
    assert(!w.bad && w.p == w.end);
}

bool punch_read(const uint8_t *data, size_t size, const uint8_t key[PUNCH_KEY_BYTES],
                struct punch *punch)
{
    uint8_t mac[32];
    if (datagram_kind(data, size) != DATAGRAM_IS_PUNCH)
        return false;
    prim_hmac(key, PUNCH_KEY_BYTES, data, MAC_AT, mac);
    /* PROTOCOL §4: only who holds the session's key makes us believe in a path. */
    if (!prim_equal(mac, data + MAC_AT, MAC_SIZE) || data[1] < PUNCH_OPEN || data[1] > PUNCH_REPLY)
        return false;
    *punch = (struct punch){data[1], punch_session(data), load_be32(data + 10)};
    return true;
}
