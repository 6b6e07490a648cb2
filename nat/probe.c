/* probe.c -- a peer asks for one datagram, to learn what its NAT or firewall lets in (PROTOCOL §4).
 *
 *     peer                      bootstrap node
 *      | PROBE request, source    |
 *      |------------------------->|
 *      | PROBE go                 |      by the registration stream: it was sent
 *      |<-------------------------|
 *      | 32 | request id          |      by itself, from the port asked for: if it comes
 *      |<~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ ~ -|
 *
 * It is no weapon: it goes to the address that asks, and nowhere else, though perhaps to another
 * socket there; it is smaller than the request; and an address gets no more of them than of any
 * other probes. Called by nat/registry.c. */
#include "nat/registry.h"

#include "core/addr.h"
#include "nat/datagram.h"

#include <string.h>

enum {
    PORT_MIN = 1024
};

/* A token of the address's bucket (IPv6: the /64's); how long until there is one. */
static uint64_t take_token(struct registry *r, const struct aq_addr *to, uint64_t now)
{
    uint8_t key[1 + 8] = {DATAGRAM_PROBE}; /* apart from the buckets of newcomers */
    size_t size = to->family == 4 ? 4 : 8;
    memcpy(key + 1, to->ip, size);
    return limit_take(&r->limiter, &r->config.probe_rate, key, 1 + size, now);
}

static enum nat_reason probe_judge(struct registry *r, const struct registry_in *in,
                                   const struct aq_addr *to, uint64_t *wait_us, uint64_t now)
{
    const struct aq_addr *seen = &in->path.remote;
    uint32_t slot = registry_slot_by_conn(r, in->conn);
    if (r->shutting_down)
        return NAT_SHUTTING_DOWN;
    if (slot == POOL_NONE || registry_peer(r, slot)->lease_end_us <= now)
        return NAT_NOT_REGISTERED;
    /* PROTOCOL §5: to nobody but who asks, and to no port that could be a server's. */
    if (!addr_same_ip(to, seen) || (to->port < PORT_MIN && to->port != seen->port))
        return NAT_POLICY;
    *wait_us = take_token(r, to, now);
    return *wait_us ? NAT_RATE_LIMITED : NAT_ACCEPTED;
}

unsigned probe_recv(struct registry *r, const struct registry_in *in, const struct message *m,
                    struct registry_out out[REGISTRY_OUT], uint64_t now)
{
    const struct aq_addr *to =
        message_has(m, FIELD_PEER_ADDRESS) ? &m->peer_address : &in->path.remote;
    struct message go = message_about(MESSAGE_PROBE, STEP_GO, m->request_id);
    uint64_t wait_us = 0;
    if (m->step != STEP_REQUEST) /* the others are ours to say */
        return coordinate_malformed(r, in->conn, m, out);
    enum nat_reason reason = probe_judge(r, in, to, &wait_us, now);
    if (reason != NAT_ACCEPTED)
        return coordinate_refuse(r, in->conn, m, reason, wait_us, out);
    (void)registry_say(&out[0], in->conn, &go);
    out[1].conn = in->conn;
    out[1].to = *to;
    out[1].source = m->source;
    out[1].data[0] = DATAGRAM_PROBE;
    memcpy(out[1].data + 1, m->request_id, REQUEST_ID_SIZE);
    out[1].size = PROBE_SIZE;
    r->probes++;
    return 2;
}
