/* world.c -- virtual time, addresses, ways between networks, and turns (world.h).
 *
 * A way is walked in two halves. When a datagram is sent it goes outwards, from box to box, until
 * it is in the network of its target; then it travels. When it arrives it goes inwards. So each box
 * sees it at the right moment, and a hop limit that runs out on the way has opened exactly the
 * boxes before.
 *
 * What goes into the trace: each datagram's time, addresses, size and fate, and what the scenario
 * notes; never a byte of contents, which depend on TLS's chance. */
#include "tests/natsim/box.h"

#include "core/addr.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    SPIN_TURNS = 200000,
    LAN_US = 200,
    LATE_US = 100 /* a program wakes up to so much after its time */
};

struct world *world_here;

/* ---- life and chance ------------------------------------------------------------------------- */

struct world *world_new(uint64_t seed, FILE *trace)
{
    struct world *world = calloc(1, sizeof *world);
    uint8_t key[32] = {0};
    if (world == NULL || (world->hash = XXH3_createState()) == NULL)
        abort();
    XXH3_64bits_reset(world->hash);
    world->turns_mem = calloc(1, heap_size(WORLD_HOSTS));
    if (world->turns_mem == NULL)
        abort();
    heap_init(&world->turns, world->turns_mem, WORLD_HOSTS);
    memcpy(key, &seed, sizeof seed);
    rng_init(&world->rng, key);
    key[31] = 1;
    rng_init(&world->chance, key);
    world->seed = seed;
    world->trace = trace;
    world->now_us = 1000000 + world_below(world, UINT64_C(1) << 40);
    world->hops = 3 + (unsigned)world_below(world, 4);
    world_here = world;
    return world;
}

void world_free(struct world *world)
{
    for (unsigned i = 0; i < world->hosts; i++) {
        if (world->host[i]->loop != NULL) /* its owner's */
            abort();
        free(world->host[i]->strange);
        free(world->host[i]);
    }
    for (unsigned i = 0; i < world->boxes; i++)
        box_free(world->box[i]);
    for (unsigned i = 0; i < world->flight_count; i++)
        free(world->flights[i]);
    free(world->flights);
    free(world->turns_mem);
    XXH3_freeState(world->hash);
    free(world);
    world_here = NULL;
}

uint64_t world_below(struct world *world, uint64_t limit)
{
    return limit > 0 ? rng_below(&world->rng, limit) : 0;
}

bool world_chance(struct world *world, uint32_t ppm)
{
    return ppm > 0 && rng_below(&world->rng, WORLD_PPM) < ppm;
}

uint64_t world_hash(const struct world *world)
{
    return XXH3_64bits_digest(world->hash);
}

static void note_line(struct world *world, const char *line)
{
    XXH3_64bits_update(world->hash, &world->now_us, sizeof world->now_us);
    XXH3_64bits_update(world->hash, line, strlen(line));
    if (world->trace != NULL)
        fprintf(world->trace, "%.6f %s\n", (double)world->now_us / 1e6, line);
}

void world_note(struct world *world, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    note_line(world, line);
}

static void note_flight(struct world *world, const char *fate, const struct flight *f)
{
    struct {
        uint64_t now;
        uint32_t size;
        uint16_t from, to;
    } mark = {world->now_us, f->size, f->from.port, f->to.port};
    XXH3_64bits_update(world->hash, fate, strlen(fate));
    XXH3_64bits_update(world->hash, &mark, sizeof mark);
    XXH3_64bits_update(world->hash, f->from.ip, sizeof f->from.ip);
    XXH3_64bits_update(world->hash, f->to.ip, sizeof f->to.ip);
    if (world->trace != NULL) {
        char from[64], to[64];
        fprintf(world->trace, "%.6f net %s %s > %s %u ttl %u first %02x\n",
                (double)world->now_us / 1e6, fate, aq_addr_text(&f->from, from, sizeof from),
                aq_addr_text(&f->to, to, sizeof to), f->size, f->ttl, f->size ? f->data[0] : 0U);
    }
}

void world_measure(struct world *world, const char *what, uint64_t us)
{
    world_note(world, "%s: %u ms", what, (unsigned)(us / 1000));
    if (world->measures < WORLD_MEASURES)
        world->measure[world->measures++] = (struct measure){what, us};
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list args;
    if (world->failed)
        return;
    world->failed = true;
    int at = snprintf(world->why, sizeof world->why, "at %.6f s: ", (double)world->now_us / 1e6);
    va_start(args, format);
    (void)vsnprintf(world->why + at, sizeof world->why - (size_t)at, format, args);
    va_end(args);
    world_note(world, "FAILED %s", world->why);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

/* The same of nobody else, and the same prefix for all behind one outermost box. */
static struct aq_addr host_address6(const struct host *host, unsigned turn)
{
    struct aq_addr addr = {.family = 6, .ip = {0x26, 0x00, 0x1f}};
    const struct box *box = host->box;
    while (box != NULL && box->outer != NULL)
        box = box->outer;
    addr.ip[3] = box != NULL;
    addr.ip[5] = (uint8_t)((box != NULL ? box->index : host->index) >> 8);
    addr.ip[6] = (uint8_t)(box != NULL ? box->index : host->index);
    addr.ip[12] = (uint8_t)(host->index >> 8);
    addr.ip[13] = (uint8_t)host->index;
    addr.ip[15] = (uint8_t)(1 + turn);
    return addr;
}

static struct aq_addr host_address(const struct host *host, unsigned number, unsigned turn)
{
    struct aq_addr addr = {.family = 4};
    if (host->box != NULL) { /* every home has the same addresses */
        addr.ip[0] = 192;
        addr.ip[1] = 168;
        addr.ip[2] = (uint8_t)(1 + number / 250);
    } else {
        addr.ip[0] = 45;
        addr.ip[1] = (uint8_t)(1 + turn % 100);
        addr.ip[2] = (uint8_t)(number / 250);
    }
    addr.ip[3] = (uint8_t)(2 + number % 250);
    return addr;
}

struct host *world_host(struct world *world, struct box *box)
{
    struct host *host = calloc(1, sizeof *host);
    if (host == NULL || world->hosts == WORLD_HOSTS)
        abort();
    host->world = world;
    host->index = world->hosts;
    world->host[world->hosts++] = host;
    host->box = box;
    host->delay_us = 500 + world_below(world, 20000);
    host->clock_us = world_below(world, UINT64_C(1) << 36);
    host->addrs[0] = host_address(host, box != NULL ? box->hosts++ : host->index, 0);
    host->addr_count = 1;
    if (world->ipv6)
        host->addrs[host->addr_count++] = host_address6(host, 0);
    return host;
}

void host_readdress(struct host *host)
{
    unsigned most = sizeof host->had / sizeof *host->had;
    for (unsigned i = 0; i < host->addr_count; i++)
        host->had[host->changes++ % most] = host->addrs[i];
    host->had_count = host->changes < most ? host->changes : most;
    unsigned number = host->box != NULL ? host->box->hosts++ : host->index;
    host->addrs[0] = host_address(host, number, host->addrs[0].ip[1]);
    if (host->addr_count > 1)
        host->addrs[1] = host_address6(host, host->addrs[1].ip[15]);
    if (host->loop != NULL)
        loop_hosts_changed(host->loop);
}

void host_set_down(struct host *host, bool down)
{
    if (host->down == down)
        return;
    host->down = down;
    if (host->loop != NULL)
        loop_hosts_changed(host->loop);
}

static const struct box *outermost(const struct box *box)
{
    while (box != NULL && box->outer != NULL)
        box = box->outer;
    return box;
}

const void *host_site(const struct host *host)
{
    return host->box != NULL ? (const void *)outermost(host->box) : host;
}

struct aq_addr host_public(const struct host *host)
{
    return host->box != NULL ? outermost(host->box)->addr : host->addrs[0];
}

static bool addr_in(const struct aq_addr *addrs, unsigned count, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < count; i++)
        if (addr_same_ip(&addrs[i], addr))
            return true;
    return false;
}

bool host_owns(const struct host *host, const struct aq_addr *addr)
{
    return addr_in(host->addrs, host->addr_count, addr);
}

void world_set_cut(struct world *world, const void *a, const void *b, bool cut)
{
    for (unsigned i = world->cuts; i-- > 0;) {
        const struct cut *c = &world->cut[i];
        if ((c->site[0] == a && c->site[1] == b) || (c->site[0] == b && c->site[1] == a))
            world->cut[i] = world->cut[--world->cuts];
    }
    if (cut && world->cuts < WORLD_CUTS)
        world->cut[world->cuts++] = (struct cut){{a, b}};
}

static bool is_cut(const struct world *world, const void *a, const void *b)
{
    for (unsigned i = 0; i < world->cuts; i++) {
        const struct cut *c = &world->cut[i];
        if ((c->site[0] == a && c->site[1] == b) || (c->site[0] == b && c->site[1] == a))
            return true;
    }
    return false;
}

/* ---- datagrams on their way ------------------------------------------------------------------ */

static bool flight_before(const struct flight *a, const struct flight *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void flight_push(struct world *world, struct flight *flight)
{
    unsigned i = world->flight_count++;
    if (i == world->flight_room) {
        world->flight_room = i ? i * 2 : 256;
        world->flights = realloc(world->flights, world->flight_room * sizeof *world->flights);
        if (world->flights == NULL)
            abort();
    }
    for (; i > 0 && flight_before(flight, world->flights[(i - 1) / 2]); i = (i - 1) / 2)
        world->flights[i] = world->flights[(i - 1) / 2];
    world->flights[i] = flight;
}

static struct flight *flight_pop(struct world *world)
{
    struct flight *top = world->flights[0], *last = world->flights[--world->flight_count];
    unsigned i = 0, child;
    while ((child = 2 * i + 1) < world->flight_count) {
        if (child + 1 < world->flight_count
            && flight_before(world->flights[child + 1], world->flights[child]))
            child++;
        if (!flight_before(world->flights[child], last))
            break;
        world->flights[i] = world->flights[child];
        i = child;
    }
    world->flights[i] = last;
    return top;
}

static void flight_lose(struct world *world, struct flight *flight, const char *why)
{
    note_flight(world, why, flight);
    world->lost++;
    free(flight);
}

/* ---- ways ------------------------------------------------------------------------------------ */

static struct host *host_in(const struct world *world, const struct box *box,
                            const struct aq_addr *addr)
{
    for (unsigned i = 0; i < world->hosts; i++)
        if (world->host[i]->box == box && host_owns(world->host[i], addr))
            return world->host[i];
    return NULL;
}

static struct host *host_with(const struct world *world, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < world->hosts; i++)
        if (host_owns(world->host[i], addr))
            return world->host[i];
    return NULL;
}

/* The box in that network through which the address is reached: its own outside one, or for IPv6
 * that of a host behind it. */
static struct box *box_in_network(const struct world *world, const struct box *network,
                                  const struct aq_addr *addr)
{
    for (unsigned i = 0; i < world->boxes && addr->family == 4; i++) {
        struct box *box = world->box[i];
        if (box->outer == network && addr_same_ip(&box->addr, addr))
            return box;
    }
    const struct host *host = addr->family == 6 ? host_with(world, addr) : NULL;
    struct box *box = host != NULL ? host->box : NULL;
    while (box != NULL && box->outer != network)
        box = box->outer;
    return box;
}

/* Puts it on its way inside a network of ours. */
static void travel_lan(struct world *world, struct flight *flight, struct box *network)
{
    flight->inside = network;
    flight->at = world->now_us + 50 + world_below(world, LAN_US);
    flight->seq = world->seq++;
    flight_push(world, flight);
}

static struct flight *flight_copy(const struct flight *flight)
{
    struct flight *copy = malloc(sizeof *copy + flight->size);
    if (copy == NULL)
        abort();
    memcpy(copy, flight, sizeof *copy + flight->size);
    return copy;
}

static void travel_internet(struct world *world, struct flight *flight)
{
    const struct weather *w = &world->weather;
    const struct host *host = host_in(world, NULL, &flight->to);
    const struct box *box = host ? NULL : box_in_network(world, NULL, &flight->to);
    const struct box *out = outermost(flight->sender->box);
    if (host == NULL && box == NULL) {
        flight_lose(world, flight, "nobody");
        return;
    }
    if (is_cut(world, host_site(flight->sender), host ? (const void *)host : box)) {
        flight_lose(world, flight, "cut");
        return;
    }
    if (flight->ttl <= world->hops) {
        flight_lose(world, flight, "ttl");
        return;
    }
    if (world_chance(world, w->loss_ppm)) {
        flight_lose(world, flight, "loses");
        return;
    }
    flight->ttl = (uint8_t)(flight->ttl - world->hops);
    flight->inside = NULL;
    flight->at = world->now_us + (out ? out->delay_us : flight->sender->delay_us)
                 + (host ? host->delay_us : box->delay_us) + world_below(world, w->jitter_us + 1);
    if (world_chance(world, w->reorder_ppm))
        flight->at += world_below(world, w->reorder_us);
    flight->seq = world->seq++;
    note_flight(world, "takes", flight);
    if (world_chance(world, w->duplicate_ppm)) {
        struct flight *copy = flight_copy(flight);
        copy->at += world_below(world, 1000);
        copy->seq = world->seq++;
        flight_push(world, copy);
    }
    flight_push(world, flight);
}

/* From a network outwards, until it is where its target is. */
static void way_out(struct world *world, struct flight *flight, struct box *network)
{
    for (; network != NULL; network = network->outer) {
        if (host_in(world, network, &flight->to) != NULL
            || box_in_network(world, network, &flight->to) != NULL) {
            travel_lan(world, flight, network);
            return;
        }
        if (--flight->ttl == 0) { /* before the mapping is made: a router looks at it first */
            flight_lose(world, flight, "ttl");
            return;
        }
        bool own = addr_same_ip(&network->addr, &flight->to);
        if (own && !network->kind->hairpin) {
            flight_lose(world, flight, "no hairpin");
            return;
        }
        if (!box_out(network, flight)) {
            flight_lose(world, flight, "blocked");
            return;
        }
        if (own) { /* RFC 4787 §6, REQ-9: from the outside address, and filtered as if from there */
            travel_lan(world, flight, network->outer);
            return;
        }
    }
    travel_internet(world, flight);
}

static void deliver(struct world *world, struct host *host, struct flight *flight)
{
    if (host->down || host->loop == NULL) {
        flight_lose(world, flight, "down");
        return;
    }
    note_flight(world, "delivers", flight);
    loop_arrived(host->loop, flight);
}

/* In the network where it has arrived, and inwards from there. */
static void way_in(struct world *world, struct flight *flight)
{
    for (;;) {
        struct host *host = host_in(world, flight->inside, &flight->to);
        struct box *box = host ? NULL : box_in_network(world, flight->inside, &flight->to);
        if (host != NULL) {
            deliver(world, host, flight);
            return;
        }
        if (box == NULL || !box_in(box, flight)) {
            flight_lose(world, flight, box ? "refused" : "nobody");
            return;
        }
        flight->inside = box;
    }
}

bool world_send(struct host *host, const struct aq_train *train, uint32_t offset, uint32_t size)
{
    struct world *world = host->world;
    if (host->down || !host_owns(host, &train->local)
        || train->remote.family != train->local.family)
        return false;
    struct flight *flight = calloc(1, sizeof *flight + size);
    if (flight == NULL)
        abort();
    flight->from = train->local;
    flight->to = train->remote;
    flight->sender = host;
    flight->ttl = train->ttl != 0 ? train->ttl : HOST_TTL;
    flight->ecn = train->ecn;
    flight->size = size;
    memcpy(flight->data, train->data + offset, size);
    world->datagrams++;
    world->bytes += size;
    check_sent(host, &flight->from, &flight->to, flight->data, size);
    way_out(world, flight, host->box);
    return true;
}

/* ---- turns ----------------------------------------------------------------------------------- */

void world_turn(struct host *host, uint64_t at_us)
{
    struct world *world = host->world;
    uint64_t late = world_below(world, LATE_US);
    heap_set(&world->turns, host->index, at_us < UINT64_MAX - late ? at_us + late : UINT64_MAX);
}

static void move_time(struct world *world, uint64_t to)
{
    if (to > world->now_us) {
        world->now_us = to;
        world->turns_now = 0;
    } else if (++world->turns_now > SPIN_TURNS) {
        world_fail(world, "time stands still");
    }
}

bool world_run(struct world *world, uint64_t until_us)
{
    while (!world->failed) {
        uint32_t id = 0;
        uint64_t turn = heap_top(&world->turns, &id);
        uint64_t flight = world->flight_count > 0 ? world->flights[0]->at : UINT64_MAX;
        uint64_t when = flight <= turn ? flight : turn;
        if (when > until_us)
            break;
        move_time(world, when);
        if (flight <= turn) {
            way_in(world, flight_pop(world));
            continue;
        }
        heap_set(&world->turns, id, UINT64_MAX);
        if (world->host[id]->loop != NULL)
            loop_run_turn(world->host[id]->loop);
    }
    if (!world->failed && world->now_us < until_us)
        world->now_us = until_us;
    return !world->failed;
}
