/* rebind.h -- a NAT on the link that forgets: now and then every client gets another port, or another
 * address and port, as the right end sees it. IPv4 only; what is not UDP passes as it is.
 *
 *     left 10.9.0.1:5000 -> right sees 10.9.0.1:5000, after a rebinding 10.9.0.77:31415, ...
 *
 * A new binding forgets the old one: what is still on its way to that is lost, unless `keep` is set.
 * Both ways are translated where the packet arrives, as in the interop runner's network simulator: so
 * what the client has on its way tells the server of the new binding at once. (With the NAT at the
 * client's side of the delay, a client that only receives and has just sent its ACK has nothing to
 * say before its keep-alive, and all waits for that.)
 *
 * Called by link.c; its moments are counted from the link's first packet. */
#ifndef NET_REBIND_H
#define NET_REBIND_H
#include "tests/net/packet.h"

enum {
    REBIND_CLIENTS = 256
};

struct rebind_settings {
    double first_s, every_s; /* first below 0: never; every 0: only once */
    bool address;            /* the address changes, too */
    bool keep;               /* old bindings still lead back */
};

struct rebind {
    struct rebind_settings set;
    uint64_t next_us; /* UINT64_MAX: never again */
    uint64_t chance;
    uint32_t outer_ip, count, times; /* outer_ip 0: the client's own */
    struct {
        struct packet_address inner;
        uint16_t outer_port;
    } clients[REBIND_CLIENTS];
    struct packet_address back[65536]; /* by outer port; ip 0: none */
};

void rebind_init(struct rebind *r, struct rebind_settings set, uint64_t seed, uint64_t start_us);

/* From the left, where it arrives: gives the packet its source of now. False: no room for another client, drop it. */
bool rebind_out(struct rebind *r, uint8_t *p, uint32_t size, uint64_t now_us);

/* From the right, where it arrives: false: that binding is forgotten, drop it. */
bool rebind_in(struct rebind *r, uint8_t *p, uint32_t size, uint64_t now_us);
#endif
