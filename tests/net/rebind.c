/* rebind.c -- see rebind.h. A change happens at the first packet after its moment, whichever way
 * that goes, so nothing here needs a timer. Ports are drawn from a generator of its own: switching
 * the NAT on shifts no other chance of the link. */
#include "tests/net/rebind.h"
#include <string.h>

enum {
    PORT_MIN = 1024,
    SECOND_US = 1000000
};

static uint32_t chance_next(struct rebind *r)
{
    uint64_t z = r->chance += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

void rebind_init(struct rebind *r, struct rebind_settings set, uint64_t seed, uint64_t start_us)
{
    memset(r, 0, sizeof *r);
    r->set = set;
    r->chance = seed ^ 0x5bf03635;
    r->next_us = set.first_s < 0 ? UINT64_MAX : start_us + (uint64_t)(set.first_s * SECOND_US);
}

static void rebind_now(struct rebind *r)
{
    uint32_t old_ip = r->outer_ip;
    r->times++;
    /* 10.9.0.1 and .2 are the two ends. */
    while (r->set.address && r->outer_ip == old_ip)
        r->outer_ip = 0x0a090000u | (3 + chance_next(r) % 252);
    for (uint32_t i = 0; i < r->count; i++) {
        uint16_t old = r->clients[i].outer_port, port;
        do
            port = (uint16_t)(PORT_MIN + chance_next(r) % (65536 - PORT_MIN));
        while (r->back[port].ip && port != old);
        if (!r->set.keep)
            r->back[old].ip = 0;
        r->clients[i].outer_port = port;
        r->back[port] = r->clients[i].inner;
    }
}

static void rebind_due(struct rebind *r, uint64_t now_us)
{
    while (now_us >= r->next_us) {
        rebind_now(r);
        r->next_us =
            r->set.every_s > 0 ? r->next_us + (uint64_t)(r->set.every_s * SECOND_US) : UINT64_MAX;
    }
}

static bool is_ipv4_udp(const uint8_t *p, uint32_t size, uint32_t *udp)
{
    *udp = packet_udp_offset(p, size);
    return *udp && p[0] >> 4 == 4;
}

bool rebind_out(struct rebind *r, uint8_t *p, uint32_t size, uint64_t now_us)
{
    uint32_t udp, i = 0;
    rebind_due(r, now_us);
    if (r->set.first_s < 0 || !is_ipv4_udp(p, size, &udp))
        return true;
    struct packet_address inner = packet_address(p, udp, PACKET_FROM);
    while (i < r->count
           && (r->clients[i].inner.ip != inner.ip || r->clients[i].inner.port != inner.port))
        i++;
    if (i == REBIND_CLIENTS)
        return false;
    if (i == r->count) {
        uint16_t port = inner.port;
        while (r->back[port].ip)
            port = (uint16_t)(PORT_MIN + chance_next(r) % (65536 - PORT_MIN));
        r->clients[i].inner = inner;
        r->clients[i].outer_port = port;
        r->back[port] = inner;
        r->count++;
    }
    uint32_t ip = r->outer_ip ? r->outer_ip : inner.ip;
    packet_readdress(p, udp, PACKET_FROM, (struct packet_address){ip, r->clients[i].outer_port});
    return true;
}

bool rebind_in(struct rebind *r, uint8_t *p, uint32_t size, uint64_t now_us)
{
    uint32_t udp;
    rebind_due(r, now_us);
    if (r->set.first_s < 0 || !is_ipv4_udp(p, size, &udp))
        return true;
    struct packet_address to = packet_address(p, udp, PACKET_TO), inner = r->back[to.port];
    if (!inner.ip || (!r->set.keep && to.ip != (r->outer_ip ? r->outer_ip : inner.ip)))
        return false;
    packet_readdress(p, udp, PACKET_TO, inner);
    return true;
}
