/* packet.h -- the little that the link emulator knows of IP packets: is this one UDP, spoil a byte
 * of it, give it another address or port. Every change leaves the checksums right, so that the
 * packet reaches a program and not the kernel's bin. Called by link.c and rebind.c. */
#ifndef NET_PACKET_H
#define NET_PACKET_H
#include <stdbool.h>
#include <stdint.h>

bool packet_is_multicast(const uint8_t *p, uint32_t size);

/* Where the UDP header begins; 0: not a whole UDP packet with payload. */
uint32_t packet_udp_offset(const uint8_t *p, uint32_t size);

/* Changes one byte among the first `head` of a UDP payload (0: of all of it). False: not UDP, or a
 * QUIC Version Negotiation packet, and left alone: nothing protects that one, so a spoilt one would
 * be another packet and not a bad one. */
bool packet_corrupt(uint8_t *p, uint32_t size, uint32_t head, uint64_t chance);

/* One end of an IPv4 UDP packet: its source or its destination. */
enum packet_end {
    PACKET_FROM,
    PACKET_TO
};
struct packet_address {
    uint32_t ip; /* host order, as the port */
    uint16_t port;
};
struct packet_address packet_address(const uint8_t *p, uint32_t udp, enum packet_end end);
void packet_readdress(uint8_t *p, uint32_t udp, enum packet_end end, struct packet_address to);
#endif
