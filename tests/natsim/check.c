/* check.c -- what no host may ever do, watched in every run (PROTOCOL §5).
 *
 * A peer: nothing to forbidden addresses, to its own, to low ports, to private addresses of people
 * with whom it shares no public one; and to an address that has not answered at most 12 datagrams a
 * minute of at most 64 bytes. Exempt are bootstrap nodes, and what its user told it to dial. A
 * bootstrap node: nothing to anybody who has not written to it before from that very address.
 *
 * Called by world.c for every datagram. */
#include "tests/natsim/world.h"

#include "core/addr.h"

#include <stdlib.h>
#include <string.h>

enum {
    PROBES = 12,
    PROBE_BYTES = 64,
    LOW_PORT = 1024
};
#define MINUTE_US UINT64_C(60000000)

/* An IPv6 host is its /64; a bootstrap node looks at ports, too. */
static bool same_target(const struct host *host, const struct aq_addr *a, const struct aq_addr *b)
{
    if (host->role == HOST_BOOT)
        return addr_equal(a, b);
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == 4 ? 4 : 8) == 0;
}

static struct strange *strange_at(struct host *host, const struct aq_addr *addr)
{
    for (unsigned i = host->strange_count; i-- > 0;)
        if (same_target(host, &host->strange[i].addr, addr))
            return &host->strange[i];
    if (host->strange_count == host->strange_room) {
        host->strange_room = host->strange_room ? host->strange_room * 2 : 16;
        host->strange = realloc(host->strange, host->strange_room * sizeof *host->strange);
        if (host->strange == NULL)
            abort();
    }
    struct strange *s = &host->strange[host->strange_count++];
    *s = (struct strange){.addr = *addr};
    return s;
}

void check_received(struct host *host, const struct aq_addr *from)
{
    strange_at(host, from)->answered = true;
}

void check_restarted(struct host *host)
{
    for (unsigned i = 0; i < host->strange_count; i++)
        host->strange[i].sent = 0;
}

void check_may_dial(struct host *host, const struct aq_addr *addr)
{
    strange_at(host, addr)->claimed = true;
}

/* ---- classes, written down once more, apart from nat/cand.c ------------------------------------
 */

static bool is_forbidden(const struct aq_addr *a)
{
    if (a->family == 6)
        return a->ip[0] == 0xff || (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)
               || memcmp(a->ip, "\0\0\0\0\0\0\0\0\0\0", 10) == 0;
    return a->family != 4 || a->ip[0] == 0 || a->ip[0] == 127 || a->ip[0] >= 224
           || (a->ip[0] == 169 && a->ip[1] == 254);
}

static bool is_private(const struct aq_addr *a)
{
    if (a->family == 6)
        return (a->ip[0] & 0xfe) == 0xfc;
    return a->ip[0] == 10 || (a->ip[0] == 172 && (a->ip[1] & 0xf0) == 16)
           || (a->ip[0] == 192 && a->ip[1] == 168) || (a->ip[0] == 100 && (a->ip[1] & 0xc0) == 64);
}

static bool ever_had(const struct host *host, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < host->had_count; i++)
        if (addr_same_ip(&host->had[i], addr))
            return true;
    return host_owns(host, addr);
}

/* Whether somebody who shares our public address has, or had, that one. */
static bool is_neighbour(const struct host *host, const struct aq_addr *addr)
{
    const struct world *world = host->world;
    for (unsigned i = 0; i < world->hosts; i++) {
        const struct host *other = world->host[i];
        if (other != host && other->box != NULL && host_site(other) == host_site(host)
            && ever_had(other, addr))
            return true;
    }
    return false;
}

static bool is_bootstrap(const struct world *world, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < world->hosts; i++)
        if (world->host[i]->role == HOST_BOOT && ever_had(world->host[i], addr))
            return true;
    return false;
}

/* ---- what is sent ---------------------------------------------------------------------------- */

static const char *target_problem(const struct host *host, const struct aq_addr *from,
                                  const struct aq_addr *to)
{
    if (is_forbidden(to))
        return "is forbidden";
    if (addr_equal(from, to)) /* another port of its own may be another peer on the same machine */
        return "is its own";
    if (to->port < LOW_PORT)
        return "has a low port";
    if (is_private(to) && !host_owns(host, to) && !is_neighbour(host, to))
        return "is private, and nobody there shares its public one";
    return NULL;
}

/* PROTOCOL §5: at most 12 of at most 64 bytes a minute. */
static const char *budget_problem(struct strange *s, uint32_t size, uint64_t now)
{
    unsigned last = s->sent++ % (PROBES + 1);
    s->sent_us[last] = now;
    if (size > PROBE_BYTES)
        return "has not answered, and this is more than 64 bytes";
    uint64_t first = s->sent_us[s->sent % (PROBES + 1)];
    if (s->sent > PROBES && now - first < MINUTE_US)
        return "has not answered, and this is the 13th in a minute";
    return NULL;
}

void check_sent(struct host *host, const struct aq_addr *from, const struct aq_addr *to,
                const uint8_t *data, uint32_t size)
{
    struct world *world = host->world;
    const char *problem = target_problem(host, from, to);
    char text[64];
    if (problem == NULL && host->role == HOST_BOOT && !strange_at(host, to)->answered)
        problem = "has never written to this bootstrap node";
    if (problem == NULL && host->role == HOST_PEER && !is_bootstrap(world, to)) {
        struct strange *s = strange_at(host, to);
        if (!s->answered && !s->claimed)
            problem = budget_problem(s, size, world->now_us);
    }
    if (problem != NULL)
        world_fail(world, "host %u sends %u bytes (%02x) to %s, which %s", host->index, size,
                   size > 0 ? data[0] : 0U, aq_addr_text(to, text, sizeof text), problem);
}
