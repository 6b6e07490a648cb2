/* path.c -- see path.h. */
#include "core/path.h"
#include "core/addr.h"
#include <assert.h>
#include <string.h>

void path_init(struct path *p, const struct cc_ops *cc, uint16_t mtu, uint16_t mtu_max,
               uint64_t now)
{
    memset(p, 0, sizeof *p);
    p->mtu = mtu;
    p->mtu_max = mtu_max;
    rtt_init(&p->rtt);
    cc_init(&p->cc, cc, mtu, now);
    pace_init(&p->pace, now);
}

void path_set_state(struct path *p, enum path_state next)
{
    static const uint8_t may[] = {
        [PATH_UNVALIDATED] = 1 << PATH_VALIDATING | 1 << PATH_VALID | 1 << PATH_FAILED,
        [PATH_VALIDATING] = 1 << PATH_VALID | 1 << PATH_FAILED,
        [PATH_VALID] = 1 << PATH_VALIDATING | 1 << PATH_FAILED,
        [PATH_FAILED] = 1 << PATH_VALIDATING,
    };
    assert(p->state == next || (may[p->state] >> next & 1));
    p->state = (uint8_t)next;
}

uint64_t path_room(const struct path *p)
{
    if (p->state == PATH_VALID)
        return UINT64_MAX;
    /* RFC 9000 §8.1: three times the bytes received until the address is validated. */
    uint64_t limit = 3 * p->recv_bytes;
    return limit > p->sent_bytes ? limit - p->sent_bytes : 0;
}

bool path_matches(const struct path *p, const struct aq_datagram *d)
{
    return p->channel == d->channel && p->socket == d->socket && addr_equal(&p->remote, &d->remote)
           && (!d->local.family || !p->local.family || addr_same_ip(&p->local, &d->local));
}

bool path_wants_mtu_probe(const struct path *p)
{
    return p->mtu < p->mtu_max && p->mtu_probes < MTU_PROBES && !p->mtu_probing;
}

void path_mtu_result(struct path *p, uint16_t size, bool lost)
{
    p->mtu_probing = false;
    if (lost) {
        p->mtu_probes++;
    } else if (size > p->mtu) {
        p->mtu = size;
        cc_set_mtu(&p->cc, size);
    }
}
