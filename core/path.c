/* path.c -- see path.h. */
#include "core/path.h"
#include "core/addr.h"
#include <assert.h>
#include <string.h>

void path_init(struct path *p, const struct cc_ops *cc, uint16_t mtu, uint16_t mtu_max,
               uint64_t now)
{
    memset(p, 0, sizeof *p);
    mtu_init(&p->mtu, mtu, mtu_max);
    p->due_us = p->give_up_us = AQ_NEVER;
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
    uint64_t limit = 3 * p->recv_bytes + p->budget_bytes;
    return limit > p->sent_bytes ? limit - p->sent_bytes : 0;
}

bool path_matches(const struct path *p, const struct aq_datagram *d)
{
    return p->channel == d->channel && p->socket == d->socket && addr_equal(&p->remote, &d->remote)
           && (!d->local.family || !p->local.family || addr_same_ip(&p->local, &d->local));
}

bool path_same_network(const struct path *a, const struct path *b)
{
    return a->channel == b->channel && a->socket == b->socket
           && addr_same_ip(&a->remote, &b->remote) && a->remote.scope_id == b->remote.scope_id
           && addr_equal(&a->local, &b->local);
}

void path_take_over(struct path *p, struct path *from)
{
    struct cc mine = p->cc;
    uint64_t in_flight = mine.in_flight_bytes;
    p->cc = from->cc;
    from->cc = mine;
    from->cc.in_flight_bytes = p->cc.in_flight_bytes;
    p->cc.in_flight_bytes = in_flight;
    p->rtt = from->rtt;
    p->pace = from->pace;
    p->mtu = from->mtu;
    mtu_forget(&p->mtu);
}

/* ---- validation ---- */

void path_check(struct path *p, uint64_t span_us, uint64_t now)
{
    if (path_is_checked(p))
        return;
    if (p->state == PATH_UNVALIDATED || p->state == PATH_FAILED)
        path_set_state(p, PATH_VALIDATING);
    p->challenges = p->full = 0;
    p->challenge_due = true;
    p->due_us = AQ_NEVER;
    p->give_up_us = now + span_us; /* RFC 9000 §8.2.4 */
}

void path_challenged(struct path *p, const uint8_t data[CHALLENGE_SIZE], bool full, uint64_t pto_us,
                     uint64_t now)
{
    unsigned at = p->challenges % CHALLENGES;
    memcpy(p->challenge[at], data, CHALLENGE_SIZE);
    p->full = (uint8_t)((p->full & ~(1U << at)) | (unsigned)full << at);
    p->challenge_due = false;
    /* RFC 9000 §9.4: the next one no sooner than a PTO, and after the second ever later. */
    unsigned doublings = p->challenges < 2 ? 0 : p->challenges - 1U;
    p->due_us = now + (pto_us << (doublings < 16 ? doublings : 16));
    if (p->challenges < UINT8_MAX)
        p->challenges++;
}

void path_probed(struct path *p, uint64_t now)
{
    if (cc_room(&p->cc) < MTU_BASE)
        p->beyond_us = now + p->rtt.smoothed_us;
}

void path_check_end(struct path *p)
{
    p->challenge_due = false;
    p->challenges = p->full = 0;
    p->due_us = p->give_up_us = AQ_NEVER;
}

enum path_answer path_on_response(struct path *p, const uint8_t data[CHALLENGE_SIZE])
{
    unsigned n = p->challenges < CHALLENGES ? p->challenges : CHALLENGES;
    if (!path_is_checked(p))
        return PATH_ANSWER_NONE;
    for (unsigned i = 0; i < n; i++) {
        if (memcmp(p->challenge[i], data, CHALLENGE_SIZE) != 0)
            continue;
        /* RFC 9000 §8.2.3: of a datagram that was not expanded only the address is validated. */
        bool full = p->full >> i & 1;
        if (p->state != PATH_VALID)
            path_set_state(p, PATH_VALID);
        path_check_end(p);
        p->mtu_valid |= full;
        return full || p->mtu_valid ? PATH_ANSWER_FULL : PATH_ANSWER_SMALL;
    }
    return PATH_ANSWER_NONE;
}

void path_respond(struct path *p, const uint8_t data[CHALLENGE_SIZE])
{
    if (p->responses == RESPONSES)
        path_responded(p);
    memcpy(p->response[p->responses++], data, CHALLENGE_SIZE);
}

void path_responded(struct path *p)
{
    assert(p->responses);
    p->responses--;
    memmove(p->response[0], p->response[1], (size_t)p->responses * CHALLENGE_SIZE);
}

uint64_t path_deadline(const struct path *p)
{
    return p->due_us < p->give_up_us ? p->due_us : p->give_up_us;
}

enum path_timeout path_on_time(struct path *p, uint64_t now)
{
    if (p->give_up_us <= now) {
        path_check_end(p);
        if (p->state == PATH_VALIDATING)
            path_set_state(p, PATH_FAILED);
        return PATH_TIME_FAILED;
    }
    if (p->due_us > now)
        return PATH_TIME_NONE;
    p->due_us = AQ_NEVER;
    if (!path_is_checked(p))
        return PATH_TIME_UNUSED;
    p->challenge_due = true;
    return PATH_TIME_CHALLENGE;
}
