/* path.h -- one network path: addresses, validation, the 3x limit, RTT, congestion, MTU (RFC 9000
 * §8, §9, §14).
 *
 * A path is named by (socket, local, remote, channel) and has a transport. A connection begins with
 * one; others are added by migration and NAT traversal. Owned by its connection. */
#ifndef AQ_PATH_H
#define AQ_PATH_H

#include "core/pace.h"

enum path_state {
    PATH_UNVALIDATED,
    PATH_VALIDATING,
    PATH_VALID,
    PATH_FAILED
};
enum path_transport {
    PATH_UDP = 0
};
enum {
    MTU_BASE = 1200,
    MTU_PROBES = 3
};

struct path {
    struct aq_addr local, remote;
    uint64_t channel;
    uint32_t ifindex;
    uint16_t socket;
    uint8_t transport;               /* enum path_transport */
    uint8_t state;                   /* enum path_state; only by path_set_state */
    uint64_t recv_bytes, sent_bytes; /* UDP payload, for the 3x limit (§8.1) */
    struct rtt rtt;
    struct cc cc;
    struct pace pace;
    uint16_t mtu;       /* UDP payload in use */
    uint16_t mtu_max;   /* probed up to */
    uint8_t mtu_probes; /* sent and lost so far */
    bool mtu_probing;   /* one is in flight */
    bool response_due;  /* one pending PATH_RESPONSE, the newest wins: SECURITY.md row 3 */
    uint8_t response[8];
};

void path_init(struct path *p, const struct cc_ops *cc, uint16_t mtu, uint16_t mtu_max,
               uint64_t now);
void path_set_state(struct path *p, enum path_state next);
/* Bytes that may be sent before the address is validated: three times what came (§8.1); unlimited
 * after. */
uint64_t path_room(const struct path *p);
/* Whether a datagram belongs to this path. */
bool path_matches(const struct path *p, const struct aq_datagram *d);

/* §14.3: one packet of mtu_max bytes is tried; acknowledged, it becomes the mtu; lost MTU_PROBES
 * times, it is given up. */
bool path_wants_mtu_probe(const struct path *p);
void path_mtu_result(struct path *p, uint16_t size, bool lost);

#endif
