/* box.c -- what a NAT box does with a datagram (box.h).
 *
 *     box_out: inside address -> mapping (found, or made) -> outside address; the remote is noted
 *     box_in:  outside port -> mapping -> is the remote one of those? -> inside address
 *
 * A Linux masquerade is MAPS_SESSION with PORTS_KEPT: conntrack has an entry for each remote, and
 * keeps the port as long as the tuple (port, remote) is free. Where INPUT takes unsolicited
 * datagrams (open_input), one of those makes an entry, too, and takes the tuple: the mapping that
 * was to have it gets another port, and the punch fails (NAT.md §5). A box that drops them does not
 * keep an entry.
 *
 * Times are those of the box: no mapping outlives timeout_us without a datagram from inside
 * (RFC 4787 §4.3; REQ-6). Called by world.c. */
#include "tests/natsim/box.h"

#include "core/addr.h"

#include <stdlib.h>
#include <string.h>

enum {
    PORT_FIRST = 1024,
    PORT_UP_FIRST = 20000,
    STOLEN_US = 30000000 /* of an entry that saw one direction only */
};

const struct box_kind box_kinds[] = {
    {.name = "full-cone",
     .letter = 'E',
     .mapping = MAPS_ENDPOINT,
     .filter = LETS_ALL,
     .hairpin = true},
    {.name = "address", .letter = 'A', .mapping = MAPS_ENDPOINT, .filter = LETS_ADDRESS},
    {.name = "port", .letter = 'P', .mapping = MAPS_ENDPOINT, .filter = LETS_SESSION},
    {.name = "port-hairpin",
     .letter = 'P',
     .mapping = MAPS_ENDPOINT,
     .filter = LETS_SESSION,
     .hairpin = true},
    {.name = "port-random",
     .letter = 'P',
     .mapping = MAPS_ENDPOINT,
     .filter = LETS_SESSION,
     .ports = PORTS_ANY},
    {.name = "linux", .letter = 'P', .mapping = MAPS_SESSION, .filter = LETS_SESSION},
    {.name = "linux-open",
     .letter = 'P',
     .mapping = MAPS_SESSION,
     .filter = LETS_SESSION,
     .open_input = true},
    {.name = "symmetric-up",
     .letter = 'Q',
     .mapping = MAPS_SESSION,
     .filter = LETS_SESSION,
     .ports = PORTS_UP},
    {.name = "symmetric-address",
     .letter = 'S',
     .mapping = MAPS_ADDRESS,
     .filter = LETS_SESSION,
     .ports = PORTS_ANY},
    {.name = "symmetric",
     .letter = 'S',
     .mapping = MAPS_SESSION,
     .filter = LETS_SESSION,
     .ports = PORTS_ANY},
    {.name = "symmetric-block",
     .letter = 'S',
     .mapping = MAPS_SESSION,
     .filter = LETS_SESSION,
     .ports = PORTS_ANY,
     .block = 256},
    {.name = "blocked", .letter = 'B', .blocks = true},
};
const unsigned box_kind_count = sizeof box_kinds / sizeof *box_kinds;

const struct box_kind *box_kind(const char *name)
{
    for (unsigned i = 0; i < box_kind_count; i++)
        if (strcmp(box_kinds[i].name, name) == 0)
            return &box_kinds[i];
    abort();
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct aq_addr address_outside(const struct box *box, unsigned turn)
{
    struct aq_addr addr = {.family = 4};
    if (box->outer == NULL) { /* 198.51.x.y, and others when it gets another one */
        addr.ip[0] = (uint8_t)(60 + turn % 40);
        addr.ip[1] = 51;
        addr.ip[2] = (uint8_t)(box->index >> 8);
        addr.ip[3] = (uint8_t)box->index;
    } else { /* 100.64.0.0/10, RFC 6598 */
        addr.ip[0] = 100;
        addr.ip[1] = (uint8_t)(64 + turn % 60);
        addr.ip[2] = (uint8_t)(box->index >> 8);
        addr.ip[3] = (uint8_t)box->index;
    }
    return addr;
}

struct box *box_new(struct world *world, const struct box_kind *kind, struct box *outer)
{
    struct box *box = calloc(1, sizeof *box);
    if (box == NULL || world->boxes == WORLD_BOXES)
        abort();
    box->world = world;
    box->index = world->boxes;
    world->box[world->boxes++] = box;
    box->kind = kind;
    box->outer = outer;
    box->delay_us = 1000 + world_below(world, 40000);
    box->timeout_us = 120000000; /* RFC 4787 §4.3, REQ-5: at least two minutes */
    box->next_port = PORT_UP_FIRST;
    box->addr = address_outside(box, 0);
    return box;
}

static void mapping_drop(struct box *box, unsigned i)
{
    free(box->mappings[i].contacts);
    box->mappings[i] = box->mappings[--box->count];
}

void box_reboot(struct box *box)
{
    while (box->count > 0)
        mapping_drop(box, box->count - 1);
    box->stolen_count = 0;
    box->next_port = PORT_UP_FIRST;
}

void box_readdress(struct box *box)
{
    static const uint8_t first = 60;
    unsigned turn = box->outer == NULL ? box->addr.ip[0] - first + 1U : box->addr.ip[1] - 64U + 1;
    box_reboot(box);
    box->addr = address_outside(box, turn);
}

void box_free(struct box *box)
{
    box_reboot(box);
    free(box->mappings);
    free(box->stolen);
    free(box);
}

static void *room_for(void *array, unsigned count, unsigned *room, size_t item)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 8;
    array = realloc(array, *room * item);
    if (array == NULL)
        abort();
    return array;
}

/* ---- mappings -------------------------------------------------------------------------------- */

static void forget_old(struct box *box)
{
    uint64_t now = box->world->now_us;
    for (unsigned i = box->count; i-- > 0;)
        if (now - box->mappings[i].last_us > box->timeout_us)
            mapping_drop(box, i);
    for (unsigned i = box->stolen_count; i-- > 0;)
        if (now - box->stolen[i].last_us > STOLEN_US)
            box->stolen[i] = box->stolen[--box->stolen_count];
}

/* RFC 6092: IPv6 is not translated, only filtered. */
static bool is_firewall(const struct aq_addr *inside)
{
    return inside->family == 6;
}

/* The part of a remote address that a mapping of this box depends on. */
static struct aq_addr remote_part(const struct box *box, const struct aq_addr *remote)
{
    struct aq_addr part = {.family = 0};
    if (is_firewall(remote))
        return part;
    if (box->kind->mapping == MAPS_SESSION)
        part = *remote;
    if (box->kind->mapping == MAPS_ADDRESS) {
        part = *remote;
        part.port = 0;
    }
    return part;
}

static struct mapping *mapping_of(const struct box *box, const struct aq_addr *inside,
                                  const struct aq_addr *remote)
{
    struct aq_addr part = remote_part(box, remote);
    for (unsigned i = 0; i < box->count; i++)
        if (addr_equal(&box->mappings[i].inside, inside)
            && addr_equal(&box->mappings[i].remote, &part))
            return &box->mappings[i];
    return NULL;
}

static bool is_stolen(const struct box *box, uint16_t port, const struct aq_addr *remote)
{
    for (unsigned i = 0; i < box->stolen_count; i++)
        if (box->stolen[i].port == port && addr_equal(&box->stolen[i].remote, remote))
            return true;
    return false;
}

static bool port_free(const struct box *box, uint16_t port, const struct aq_addr *inside,
                      const struct aq_addr *remote)
{
    struct aq_addr part = remote_part(box, remote);
    bool tuples = box->kind->mapping == MAPS_SESSION && box->kind->ports == PORTS_KEPT;
    if (is_stolen(box, port, remote))
        return false;
    for (unsigned i = 0; i < box->count; i++) {
        const struct mapping *m = &box->mappings[i];
        if (m->port != port || m->inside.family != inside->family)
            continue;
        /* conntrack may use a port for many as long as the remotes differ. */
        if (!tuples || addr_equal(&m->remote, &part) || !addr_equal(&m->inside, inside))
            return false;
    }
    return true;
}

static uint16_t any_port(struct box *box, const struct aq_addr *inside)
{
    uint64_t span = 65536 - PORT_FIRST, first = PORT_FIRST;
    if (box->kind->block != 0) { /* of a carrier that gives each customer a block */
        span = box->kind->block;
        first += inside->ip[3] * span;
    }
    return (uint16_t)(first + world_below(box->world, span));
}

static uint16_t next_port(struct box *box, const struct aq_addr *inside,
                          const struct aq_addr *remote)
{
    bool up = box->kind->ports == PORTS_UP;
    uint16_t port = inside->port;
    for (unsigned i = 0; i < 4096; i++) {
        if (up && box->next_port < PORT_UP_FIRST)
            box->next_port = PORT_UP_FIRST;
        if (up)
            port = box->next_port++;
        else if (i > 0 || box->kind->ports == PORTS_ANY)
            port = any_port(box, inside);
        if (port_free(box, port, inside, remote))
            return port;
        box->stole += is_stolen(box, port, remote);
    }
    return 0;
}

static struct mapping *mapping_make(struct box *box, const struct aq_addr *inside,
                                    const struct aq_addr *remote)
{
    uint16_t port = is_firewall(inside) ? inside->port : next_port(box, inside, remote);
    if (port == 0)
        return NULL;
    box->mappings = room_for(box->mappings, box->count, &box->room, sizeof *box->mappings);
    struct mapping *m = &box->mappings[box->count++];
    *m = (struct mapping){.inside = *inside, .remote = remote_part(box, remote), .port = port};
    return m;
}

static struct contact *contact_of(const struct mapping *m, const struct aq_addr *remote, bool port)
{
    for (unsigned i = 0; i < m->count; i++) {
        struct contact *c = &m->contacts[i];
        if (port ? addr_equal(&c->remote, remote) : addr_same_ip(&c->remote, remote))
            return c;
    }
    return NULL;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

bool box_out(struct box *box, struct flight *flight)
{
    uint64_t now = box->world->now_us;
    forget_old(box);
    if (box->kind->blocks)
        return false;
    struct mapping *m = mapping_of(box, &flight->from, &flight->to);
    if (m == NULL)
        m = mapping_make(box, &flight->from, &flight->to);
    if (m == NULL)
        return false;
    m->last_us = now;
    struct contact *c = contact_of(m, &flight->to, true);
    if (c == NULL) {
        m->contacts = room_for(m->contacts, m->count, &m->room, sizeof *m->contacts);
        c = &m->contacts[m->count++];
        c->remote = flight->to;
    }
    c->last_us = now;
    if (!is_firewall(&flight->from)) {
        flight->from = box->addr;
        flight->from.port = m->port;
    }
    return true;
}

static bool lets_in(const struct box *box, const struct mapping *m, const struct aq_addr *from)
{
    bool session = box->kind->mapping == MAPS_SESSION || box->kind->filter == LETS_SESSION;
    if (session || is_firewall(from)) {
        const struct contact *c = contact_of(m, from, true);
        return c != NULL && box->world->now_us - c->last_us <= box->timeout_us;
    }
    return box->kind->filter == LETS_ALL || contact_of(m, from, false) != NULL;
}

static bool is_to(const struct mapping *m, const struct aq_addr *to)
{
    if (is_firewall(to))
        return addr_equal(&m->inside, to);
    return m->inside.family == 4 && m->port == to->port;
}

static void steal(struct box *box, const struct flight *flight)
{
    uint64_t now = box->world->now_us;
    for (unsigned i = 0; i < box->stolen_count; i++) {
        struct stolen *s = &box->stolen[i];
        if (s->port == flight->to.port && addr_equal(&s->remote, &flight->from)) {
            s->last_us = now;
            return;
        }
    }
    box->stolen = room_for(box->stolen, box->stolen_count, &box->stolen_room, sizeof *box->stolen);
    box->stolen[box->stolen_count++] = (struct stolen){flight->from, flight->to.port, now};
}

bool box_in(struct box *box, struct flight *flight)
{
    forget_old(box);
    for (unsigned i = 0; i < box->count && !box->kind->blocks; i++) {
        struct mapping *m = &box->mappings[i];
        if (!is_to(m, &flight->to) || !lets_in(box, m, &flight->from))
            continue;
        if (flight->ttl <= 1) /* it would have to be passed on */
            return false;
        if (box->kind->mapping == MAPS_SESSION)
            m->last_us = box->world->now_us; /* conntrack counts both directions */
        flight->ttl--;
        flight->to = m->inside;
        return true;
    }
    box->refused++;
    if (box->kind->open_input && !is_firewall(&flight->to))
        steal(box, flight);
    return false;
}
