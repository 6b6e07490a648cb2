/* sim.c -- virtual time, hosts, links and the trace of a simulation (sim.h).
 *
 * One heap holds the datagrams on their way, ordered by arrival and, for equal times, by the order of
 * sending, so that nothing depends on addresses or on the library's sort. A turn of a host is the turn of
 * antq.h. Datagrams that arrive together are sometimes handed over as one GRO buffer, as a kernel would.
 *
 * What goes into the trace: every trace event of every endpoint, and each datagram's time, direction,
 * size, marks and fate. Never a byte of its contents, which depend on TLS's chance. */
#include "tests/sim/sim.h"
#include "tests/sim/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BATCH = 16, SPIN_TURNS = 3000, DATAGRAM_MAX = 65527, BURST_US = 300000 };

/* ---- the trace --------------------------------------------------------------------------------- */

static void hash_u64(struct sim *sim, uint64_t value)
{
    XXH3_64bits_update(sim->hash, &value, sizeof value);
}

static void note_datagram(struct sim *sim, const char *fate, const struct sim_flight *flight)
{
    hash_u64(sim, sim->now_us);
    XXH3_64bits_update(sim->hash, fate, strlen(fate));
    hash_u64(sim, (uint64_t)flight->to.port << 48 | (uint64_t)flight->ecn << 32 | flight->size);
    if (sim->trace) {
        char from[64], to[64];
        fprintf(sim->trace, "%llu net %s %s > %s %u ecn %u\n", (unsigned long long)sim->now_us, fate,
                aq_addr_text(&flight->from, from, sizeof from), aq_addr_text(&flight->to, to, sizeof to),
                flight->size, flight->ecn);
    }
}

static void note_events(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct aq_trace events[64];
    unsigned n;

    while (host->config.trace_events && (n = aq_trace_read(host->ep, events, 64)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            const struct aq_trace *e = &events[i];
            hash_u64(sim, (uint64_t)host->index << 56 | e->time_us);
            hash_u64(sim, (uint64_t)e->conn << 32 | (uint64_t)e->type << 16 | e->space);
            hash_u64(sim, e->a);
            hash_u64(sim, e->b);
            hash_u64(sim, e->c);
            if (sim->trace) {
                char line[256];
                aq_trace_text(e, line, sizeof line);
                fprintf(sim->trace, "%llu host %u %s\n", (unsigned long long)sim->now_us, host->index, line);
            }
        }
    }
}

uint64_t sim_hash(const struct sim *sim)
{
    return XXH3_64bits_digest(sim->hash);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list args;

    if (sim->failed)
        return;
    sim->failed = true;
    int at = snprintf(sim->why, sizeof sim->why, "at %.6f s: ",
                      (double)(sim->now_us - sim->start_us) / 1e6);
    va_start(args, format);
    vsnprintf(sim->why + at, sizeof sim->why - (size_t)at, format, args);
    va_end(args);
    if (sim->trace)
        fprintf(sim->trace, "%llu FAILED %s\n", (unsigned long long)sim->now_us, sim->why);
}

/* ---- the heap of datagrams on their way ----------------------------------------------------------- */

static bool flight_before(const struct sim_flight *a, const struct sim_flight *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void *grow(void *array, unsigned *room, size_t item)
{
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * item);
    if (!array)
        abort();
    return array;
}

static void heap_push(struct sim *sim, struct sim_flight *flight)
{
    unsigned i = sim->heap_count++;

    if (i == sim->heap_room)
        sim->heap = grow(sim->heap, &sim->heap_room, sizeof *sim->heap);
    for (; i > 0 && flight_before(flight, sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
        sim->heap[i] = sim->heap[(i - 1) / 2];
    sim->heap[i] = flight;
}

static struct sim_flight *heap_pop(struct sim *sim)
{
    struct sim_flight *top = sim->heap[0], *last = sim->heap[--sim->heap_count];
    unsigned i = 0, child;

    while ((child = 2 * i + 1) < sim->heap_count) {
        if (child + 1 < sim->heap_count && flight_before(sim->heap[child + 1], sim->heap[child]))
            child++;
        if (!flight_before(sim->heap[child], last))
            break;
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

/* ---- links ------------------------------------------------------------------------------------------ */

static struct sim_flight *flight_new(const struct aq_addr *from, const struct aq_addr *to,
                                     const uint8_t *data, uint32_t size)
{
    struct sim_flight *flight = calloc(1, sizeof *flight + size);

    if (!flight)
        abort();
    flight->from = *from;
    flight->to = *to;
    flight->size = size;
    memcpy(flight->data, data, size);
    return flight;
}

static bool addr_equal(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* Whether a datagram to this address reaches the host, and on which of its sockets. */
static bool host_hears(const struct sim_host *host, const struct aq_addr *addr, uint16_t *socket)
{
    unsigned outsides = host->keep_old || host->outsides < 1 ? host->outsides : 1;

    for (unsigned i = host->outsides > 0; i < host->owns; i++) {
        *socket = (uint16_t)i;
        if (addr_equal(&host->own[i], addr))
            return true;
    }
    *socket = 0;
    for (unsigned i = 0; i < outsides; i++)
        if (addr_equal(&host->outside[i], addr))
            return true;
    return false;
}

/* The host at an address, be it one that its NAT has given up. */
static struct sim_host *host_at(struct sim *sim, const struct aq_addr *addr)
{
    uint16_t socket;

    for (unsigned i = 0; i < sim->hosts; i++) {
        struct sim_host *host = &sim->host[i];
        if (host_hears(host, addr, &socket))
            return host;
        for (unsigned j = 0; j < host->outsides; j++)
            if (addr_equal(&host->outside[j], addr))
                return host;
    }
    return NULL;
}

void sim_rebind(struct sim_host *host, bool address)
{
    struct aq_addr next = host->outsides ? host->outside[0] : host->addr;

    host->rebinds++;
    next.port = (uint16_t)(10000 + host->rebinds % 50000);
    if (address)
        next.ip[next.family == 4 ? 2 : 13] = (uint8_t)(1 + host->rebinds % 200);
    memmove(host->outside + 1, host->outside, (SIM_OUTSIDE - 1) * sizeof *host->outside);
    host->outside[0] = next;
    host->outsides += host->outsides < SIM_OUTSIDE;
}

void sim_address(const struct sim *sim, unsigned host, unsigned socket, struct aq_addr *addr)
{
    *addr = (struct aq_addr){.family = sim->seed % 2 ? 6 : 4, .port = 4433};
    if (addr->family == 6)
        memcpy(addr->ip, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8}, 16);
    else
        memcpy(addr->ip, (uint8_t[4]){10, 0, 0, 0}, 4);
    addr->ip[addr->family == 4 ? 3 : 15] = (uint8_t)(host + 1);
    if (socket) {
        addr->port = (uint16_t)(5000 + socket);
        addr->ip[addr->family == 4 ? 1 : 14] = (uint8_t)(100 + socket);
    }
}

uint16_t sim_own_add(struct sim_host *host)
{
    if (host->owns == SIM_OWN)
        abort();
    sim_address(host->sim, host->index, host->owns, &host->own[host->owns]);
    return (uint16_t)host->owns++;
}

static bool line_loses(struct sim *sim, struct sim_line *line, const struct sim_flight *flight)
{
    const struct sim_link *link = &line->link;

    line->taken++;
    if (link->cut || (link->cut_after && line->taken > link->cut_after) ||
        (link->mtu && flight->size > link->mtu) || (flight->ecn && link->marks == MARKS_LOST))
        return true;
    if (line->in_burst) {
        line->in_burst = sim->now_us < line->burst_end_us &&
                         !sim_rng_chance(&sim->rng, SIM_PPM / (link->burst_size ? link->burst_size : 1));
    } else {
        line->in_burst = sim_rng_chance(&sim->rng, link->burst_ppm);
        line->burst_end_us = sim->now_us + BURST_US;
    }
    return line->in_burst || sim_rng_chance(&sim->rng, link->loss_ppm);
}

/* When a datagram that leaves now arrives; AQ_NEVER if the line's queue is full. */
static uint64_t line_arrival(struct sim *sim, struct sim_line *line, uint32_t size)
{
    const struct sim_link *link = &line->link;
    uint64_t at = sim->now_us;

    if (link->rate_bytes) {
        uint64_t begin = line->free_us > at ? line->free_us : at;
        if (link->queue_bytes && (begin - at) * link->rate_bytes / 1000000 > link->queue_bytes)
            return AQ_NEVER;
        at = line->free_us = begin + (size + 28) * UINT64_C(1000000) / link->rate_bytes;
    }
    at += link->delay_us + sim_rng_below(&sim->rng, link->jitter_us + 1);
    if (sim_rng_chance(&sim->rng, link->reorder_ppm))
        return at + sim_rng_below(&sim->rng, link->reorder_us + 1);
    if (at < line->last_us)
        at = line->last_us;
    line->last_us = at;
    return at;
}

void sim_damage(struct sim_flight *flight, uint32_t offset, uint8_t mask)
{
    flight->data[offset] ^= mask;
    if (flight->damage_count < sizeof flight->damage / sizeof *flight->damage)
        flight->damage[flight->damage_count++] = offset;
}

/* Flips a few bits, or cuts the end off. Never a short header's form: it would be read as a long one,
 * with ids of sizes that the cipher made, and TLS's chance is not ours: the trace would differ. Nor in a
 * Version Negotiation packet, nor so that it becomes one: it is believed, and UDP's checksum is what
 * guards it. */
static void flight_damage(struct sim *sim, struct sim_flight *flight)
{
    static const uint8_t no_version[4];
    bool versions = flight->size >= 5 && (flight->data[0] & 0x80);

    if (versions && memcmp(flight->data + 1, no_version, 4) == 0)
        return;
    if (sim_rng_below(&sim->rng, 8) == 0) {
        flight->size = (uint32_t)sim_rng_below(&sim->rng, flight->size + 1);
        return;
    }
    for (uint64_t flips = 1 + sim_rng_below(&sim->rng, 3); flips > 0 && flight->size; flips--) {
        /* Half of the flips hit the first 32 bytes, where the headers are. */
        uint64_t span = sim_rng_chance(&sim->rng, SIM_PPM / 2) && flight->size > 32 ? 32 : flight->size;
        uint32_t at = (uint32_t)sim_rng_below(&sim->rng, span);
        unsigned bits = at == 0 && !(flight->data[0] & 0x80) ? 7 : 8;
        uint8_t mask = (uint8_t)(1U << sim_rng_below(&sim->rng, bits));
        sim_damage(flight, at, mask);
        if (versions && memcmp(flight->data + 1, no_version, 4) == 0)
            flight->data[at] ^= mask;
    }
}

static void flight_depart(struct sim *sim, struct sim_line *line, struct sim_flight *flight)
{
    flight->at = line_arrival(sim, line, flight->size);
    flight->seq = sim->seq++;
    if (flight->at == AQ_NEVER) {
        note_datagram(sim, "overflows", flight);
        sim->dropped++;
        free(flight);
        return;
    }
    if (flight->ecn != AQ_ECN_NOT && sim_rng_chance(&sim->rng, line->link.ce_ppm)) {
        flight->ecn = AQ_ECN_CE;
        line->ce++;
    }
    if (line->link.marks == MARKS_CLEARED)
        flight->ecn = AQ_ECN_NOT;
    else if (line->link.marks == MARKS_CHANGED && flight->ecn == AQ_ECN_ECT0)
        flight->ecn = AQ_ECN_ECT1;
    if (sim_rng_chance(&sim->rng, line->link.corrupt_ppm))
        flight_damage(sim, flight);
    heap_push(sim, flight);
}

static void link_send(struct sim_host *from, struct sim_flight *flight)
{
    struct sim *sim = from->sim;
    struct sim_host *to;

    sim->datagrams++;
    sim->bytes += flight->size;
    if (sim->on_flight && !sim->on_flight(sim->on_flight_user, &flight)) {
        free(flight);
        return;
    }
    to = host_at(sim, &flight->to);
    struct sim_line *line = to ? &sim->line[from->index][to->index] : NULL;
    if (!line || line_loses(sim, line, flight)) {
        note_datagram(sim, "loses", flight);
        sim->dropped++;
        free(flight);
        return;
    }
    note_datagram(sim, "takes", flight);
    flight->host = to->index;
    flight->outside = flight->to;
    if (sim_rng_chance(&sim->rng, line->link.duplicate_ppm)) {
        struct sim_flight *copy = flight_new(&flight->from, &flight->to, flight->data, flight->size);
        copy->ecn = flight->ecn;
        copy->host = flight->host;
        copy->outside = flight->outside;
        flight_depart(sim, line, copy);
    }
    flight_depart(sim, line, flight);
}

struct sim_flight *sim_inject(struct sim *sim, const struct aq_addr *from, const struct aq_addr *to,
                              const uint8_t *data, uint32_t size)
{
    struct sim_host *host = host_at(sim, to);

    if (!host || size > DATAGRAM_MAX)
        return NULL;
    struct sim_flight *flight = flight_new(from, to, data, size);
    flight->at = sim->now_us;
    flight->seq = sim->seq++;
    flight->host = host->index;
    flight->outside = flight->to;
    flight->foreign = true;
    heap_push(sim, flight);
    return flight;
}

/* ---- hosts ---------------------------------------------------------------------------------------------- */

uint64_t sim_now(const struct sim_host *host)
{
    return host->sim->now_us + host->clock_us;
}

void sim_kick(struct sim_host *host)
{
    host->kicked = true;
}

void sim_clock_step(struct sim_host *host, uint64_t ahead_us)
{
    host->clock_us += ahead_us;
    sim_kick(host);
}

void sim_suspend(struct sim_host *host, uint64_t duration_us)
{
    host->suspended_until = host->sim->now_us + duration_us;
}

static void host_start(struct sim_host *host)
{
    struct sim *sim = host->sim;

    for (unsigned i = 0; i < sizeof host->config.seed; i++)
        host->config.seed[i] = (uint8_t)sim_rng_next(&sim->rng);
    host->ep = NULL;
    host->mem_size = aq_endpoint_size(&host->config);
    host->mem = MAP_FAILED;
    if (host->mem_size)
        host->mem = mmap(NULL, host->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host->mem != MAP_FAILED)
        host->ep = aq_endpoint_init(host->mem, host->mem_size, &host->config, sim_now(host));
    if (!host->ep) {
        const char *why = aq_config_check(&host->config);
        sim_fail(sim, "host %u refused: %s", host->index, why ? why : "no memory");
    }
}

static void host_stop(struct sim_host *host)
{
    if (host->ep)
        aq_endpoint_close(host->ep);
    if (host->mem != MAP_FAILED)
        munmap(host->mem, host->mem_size);
    for (unsigned i = 0; i < host->inbox_count; i++)
        free(host->inbox[i]);
    host->inbox_count = 0;
    host->inbox_bytes = 0;
    host->ep = NULL;
}

struct sim_host *sim_host_add(struct sim *sim, const struct aq_config *config)
{
    struct sim_host *host = &sim->host[sim->hosts];

    memset(host, 0, sizeof *host);
    host->sim = sim;
    host->index = sim->hosts++;
    host->config = *config;
    host->due_us = host->wake_us = AQ_NEVER;
    host->owns = 1;
    sim_address(sim, host->index, 0, &host->addr);
    host->own[0] = host->addr;
    for (unsigned i = 0; i < sizeof host->config.secret; i++)
        host->config.secret[i] = (uint8_t)sim_rng_next(&sim->rng);
    host->config.unix_us = SIM_UNIX_S * 1000000;
    host_start(host);
    sim_kick(host);
    return sim->failed ? NULL : host;
}

void sim_host_reboot(struct sim_host *host)
{
    check_forget(host);
    host_stop(host);
    host_start(host);
    host->due_us = host->wake_us = AQ_NEVER;
    sim_kick(host);
}

/* Moves what waits in the socket into lent buffers: one datagram each, or a run of equal ones as GRO does. */
static void host_receive(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct aq_buffer buffers[BATCH];
    struct aq_datagram datagrams[BATCH];
    unsigned next = 0, n, lent = aq_recv_buffers(host->ep, buffers, BATCH);

    for (n = 0; n < lent && next < host->inbox_count; n++) {
        struct sim_flight *first = host->inbox[next];
        struct aq_datagram *d = &datagrams[n];
        bool gro = sim_rng_chance(&sim->rng, SIM_PPM / 2);

        *d = (struct aq_datagram){.data = buffers[n].data, .ecn = first->ecn, .ttl = 60, .remote = first->from};
        d->socket = first->socket;
        if (first->socket)
            d->local = first->to;
        while (next < host->inbox_count) {
            struct sim_flight *flight = host->inbox[next];
            bool fits = flight->ecn == first->ecn && flight->size <= first->size && flight->size > 0 &&
                        d->size + flight->size <= buffers[n].size && addr_equal(&flight->from, &first->from) &&
                        flight->socket == first->socket;
            if (flight != first && !(gro && fits))
                break;
            check_delivered(host, flight);
            note_datagram(sim, flight->damage_count ? "delivers damaged" : "delivers", flight);
            memcpy(d->data + d->size, flight->data, flight->size);
            d->size += flight->size;
            if (flight != first)
                d->segment = (uint16_t)first->size;
            next++;
            if (flight->size < first->size || flight->size == 0)
                break;
        }
    }
    if (n && aq_recv(host->ep, datagrams, n, sim_now(host)) != AQ_OK)
        sim_fail(sim, "host %u: aq_recv refused its own buffers", host->index);
    if (n == 0 && host->inbox_count)
        sim_fail(sim, "host %u: no receive buffer lent", host->index);
    for (unsigned i = 0; i < next; i++) {
        host->inbox_bytes -= host->inbox[i]->size;
        free(host->inbox[i]);
    }
    host->inbox_count -= next;
    if (host->inbox_count)
        memmove(host->inbox, host->inbox + next, host->inbox_count * sizeof *host->inbox);
}

static void host_events(struct sim_host *host)
{
    struct aq_event event;
    unsigned count = 0;

    while (!host->sim->failed && aq_next_event(host->ep, &event)) {
        check_event(host, &event);
        if (host->on_event)
            host->on_event(host, &event);
        if (++count > 100000)
            sim_fail(host->sim, "host %u: events without end (kind %d)", host->index, (int)event.kind);
    }
}

/* What the NAT did since it was last looked at; its clock knows nothing of the traffic. */
static void nat_look(struct sim_host *host)
{
    uint64_t now = host->sim->now_us;

    if (!host->rebind_us || now < host->rebind_at_us)
        return;
    if (host->rebind_at_us)
        sim_rebind(host, host->rebind_address);
    else
        host->rebind_at_us = now;
    /* Not in step with anybody's timers. */
    while (host->rebind_at_us <= now)
        host->rebind_at_us += host->rebind_us / 2 + sim_rng_below(&host->sim->rng, host->rebind_us + 1);
}

static void host_send(struct sim_host *host)
{
    struct sim *sim = host->sim;
    struct aq_train trains[4];
    unsigned n, max, rounds = 0;

    do {
        max = 1 + (unsigned)sim_rng_below(&sim->rng, 4);
        if (max > host->config.send_trains)
            max = host->config.send_trains;
        check_before_send(host);
        n = aq_send(host->ep, trains, max, sim_now(host));
        for (unsigned i = 0; i < n && !sim->failed; i++) {
            const struct aq_train *train = &trains[i];
            check_sent(host, train);
            for (uint32_t at = 0; at < train->size && train->segment; at += train->segment) {
                uint32_t size = train->size - at < train->segment ? train->size - at : train->segment;
                nat_look(host);
                if (host->rebind_every && host->rebind_left-- == 0) {
                    sim_rebind(host, false);
                    host->rebind_left = host->rebind_every - 1;
                }
                const struct aq_addr *from = train->socket || !host->outsides ? &host->own[train->socket]
                                                                              : &host->outside[0];
                struct sim_flight *flight = flight_new(from, &train->remote, train->data + at, size);
                flight->ecn = train->ecn;
                link_send(host, flight);
            }
        }
        check_after_send(host);
        if (++rounds > 1000)
            sim_fail(sim, "host %u: aq_send never ends", host->index);
    } while (n == max && !sim->failed);
}

static void host_turn(struct sim_host *host)
{
    struct sim *sim = host->sim;
    uint64_t deadline;

    host->kicked = false;
    do
        host_receive(host);
    while (host->inbox_count && !sim->failed);
    if (sim->failed)
        return;
    if (aq_deadline(host->ep) <= sim_now(host))
        aq_tick(host->ep, sim_now(host));
    host_events(host);
    if (host->wake_us <= sim->now_us) {
        host->wake_us = AQ_NEVER;
        if (host->on_wake)
            host->on_wake(host);
    }
    /* What an event made the application or the endpoint do may have to be sent in turn. */
    for (unsigned round = 0; !sim->failed && (round == 0 || aq_wants_send(host->ep)); round++) {
        host_send(host);
        host_events(host);
        if (round > 1000)
            sim_fail(sim, "host %u: always wants to send", host->index);
    }
    note_events(host);
    deadline = aq_deadline(host->ep);
    if (deadline == AQ_NEVER)
        host->due_us = AQ_NEVER;
    else
        host->due_us = (deadline > host->clock_us ? deadline - host->clock_us : 0) +
                       sim_rng_below(&sim->rng, host->late_us + 1);
}

/* When the host has something to do. */
static uint64_t host_when(const struct sim_host *host)
{
    uint64_t when = host->due_us < host->wake_us ? host->due_us : host->wake_us;

    if (host->kicked || host->inbox_count)
        when = 0;
    return when < host->suspended_until ? host->suspended_until : when;
}

/* ---- the simulation ------------------------------------------------------------------------------------------ */

struct sim *sim_new(uint64_t seed, FILE *trace)
{
    struct sim *sim = calloc(1, sizeof *sim);

    if (!sim || !(sim->check = calloc(1, sizeof *sim->check)) || !(sim->hash = XXH3_createState()))
        abort();
    sim->seed = seed;
    sim->trace = trace;
    sim_rng_init(&sim->rng, seed);
    sim->start_us = sim->now_us = 1000000 + sim_rng_below(&sim->rng, UINT64_C(1) << 40);
    XXH3_64bits_reset(sim->hash);
    return sim;
}

void sim_free(struct sim *sim)
{
    for (unsigned i = 0; i < sim->hosts; i++) {
        host_stop(&sim->host[i]);
        free(sim->host[i].inbox);
    }
    for (unsigned i = 0; i < sim->heap_count; i++)
        free(sim->heap[i]);
    free(sim->heap);
    free(sim->check);
    XXH3_freeState(sim->hash);
    free(sim);
}

void sim_link_set(struct sim *sim, unsigned from, unsigned to, const struct sim_link *link)
{
    sim->line[from][to].link = *link;
}

static void inbox_put(struct sim *sim, struct sim_flight *flight)
{
    struct sim_host *host = &sim->host[flight->host];

    nat_look(host);
    if (host->inbox_bytes + flight->size > SIM_INBOX_BYTES ||
        !host_hears(host, &flight->outside, &flight->socket)) {
        note_datagram(sim, "discards", flight);
        free(flight);
        return;
    }
    flight->to = host->own[flight->socket];
    if (host->inbox_count == host->inbox_room)
        host->inbox = grow(host->inbox, &host->inbox_room, sizeof *host->inbox);
    host->inbox[host->inbox_count++] = flight;
    host->inbox_bytes += flight->size;
}

bool sim_step(struct sim *sim, uint64_t until_us)
{
    uint64_t when = sim->heap_count ? sim->heap[0]->at : AQ_NEVER;

    for (unsigned i = 0; i < sim->hosts; i++)
        if (host_when(&sim->host[i]) < when)
            when = host_when(&sim->host[i]);
    if (sim->failed || when == AQ_NEVER || when > until_us)
        return false;
    if (when > sim->now_us) {
        sim->now_us = when;
        sim->turns_now = 0;
    } else if (++sim->turns_now > SPIN_TURNS) {
        sim_fail(sim, "time stands still: deadlines %llu, %llu us after now",
                 (unsigned long long)(sim->host[0].due_us - sim->now_us),
                 (unsigned long long)(sim->host[1].due_us - sim->now_us));
        return false;
    }
    while (sim->heap_count && sim->heap[0]->at <= sim->now_us)
        inbox_put(sim, heap_pop(sim));
    for (unsigned i = 0; i < sim->hosts && !sim->failed; i++)
        if (host_when(&sim->host[i]) <= sim->now_us)
            host_turn(&sim->host[i]);
    return !sim->failed;
}
