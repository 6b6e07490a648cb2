/* packet.c -- see packet.h. Checksums are mended, not computed (RFC 1624): the new one follows from
 * the old one and the 16-bit words that changed. */
#include "tests/net/packet.h"

bool packet_is_multicast(const uint8_t *p, uint32_t size)
{
    if (size >= 20 && p[0] >> 4 == 4)
        return (p[16] & 0xf0) == 0xe0;
    return size >= 40 && p[0] >> 4 == 6 && p[24] == 0xff;
}

uint32_t packet_udp_offset(const uint8_t *p, uint32_t size)
{
    if (size < 20)
        return 0;
    uint32_t offset = 0;
    if (p[0] >> 4 == 4 && p[9] == 17 && (p[6] & 0x3f) == 0 && p[7] == 0)
        offset = (uint32_t)(p[0] & 15) * 4;
    else if (p[0] >> 4 == 6 && size >= 40 && p[6] == 17)
        offset = 40;
    return offset && size > offset + 8 ? offset : 0;
}

static uint32_t word_get(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static void word_set(uint8_t *p, uint32_t word)
{
    p[0] = (uint8_t)(word >> 8);
    p[1] = (uint8_t)word;
}

static void checksum_mend(uint8_t *sum, uint32_t before, uint32_t after)
{
    uint32_t s = (~word_get(sum) & 0xffff) + (~before & 0xffff) + after;
    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    word_set(sum, ~s & 0xffff);
}

/* UDP writes a sum of zero as ffff, and zero says that there is none (IPv4 only). */
static void udp_mend(uint8_t *udp, uint32_t before, uint32_t after)
{
    if (word_get(udp + 6) == 0)
        return;
    checksum_mend(udp + 6, before, after);
    if (word_get(udp + 6) == 0)
        word_set(udp + 6, 0xffff);
}

bool packet_corrupt(uint8_t *p, uint32_t size, uint32_t head, uint64_t chance)
{
    uint32_t udp = packet_udp_offset(p, size);
    if (!udp)
        return false;
    const uint8_t *payload = p + udp + 8;
    uint32_t length = size - udp - 8;
    if (length >= 5 && payload[0] & 0x80 && !(payload[1] | payload[2] | payload[3] | payload[4]))
        return false;
    uint32_t among = head && head < length ? head : length;
    uint32_t at = udp + 8 + (uint32_t)((chance >> 8) % among);
    uint32_t word = at - ((at - udp) & 1); /* the 16-bit word, counted from the UDP header */
    uint32_t before = (uint32_t)p[word] << 8 | (word + 1 < size ? p[word + 1] : 0);
    uint8_t flip = (uint8_t)chance;
    p[at] ^= flip ? flip : 1;
    uint32_t after = (uint32_t)p[word] << 8 | (word + 1 < size ? p[word + 1] : 0);
    udp_mend(p + udp, before, after);
    return true;
}

struct packet_address packet_address(const uint8_t *p, uint32_t udp, enum packet_end end)
{
    const uint8_t *ip = p + (end == PACKET_FROM ? 12 : 16);
    const uint8_t *port = p + udp + (end == PACKET_FROM ? 0 : 2);
    return (struct packet_address){word_get(ip) << 16 | word_get(ip + 2), (uint16_t)word_get(port)};
}

void packet_readdress(uint8_t *p, uint32_t udp, enum packet_end end, struct packet_address to)
{
    uint8_t *ip = p + (end == PACKET_FROM ? 12 : 16),
            *port = p + udp + (end == PACKET_FROM ? 0 : 2);
    uint32_t words[2] = {to.ip >> 16, to.ip & 0xffff};
    for (int i = 0; i < 2; i++) {
        uint32_t before = word_get(ip + 2 * i);
        checksum_mend(p + 10, before, words[i]);
        udp_mend(p + udp, before, words[i]); /* the pseudo-header has the addresses, too */
        word_set(ip + 2 * i, words[i]);
    }
    udp_mend(p + udp, word_get(port), to.port);
    word_set(port, to.port);
}
