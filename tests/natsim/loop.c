/* loop.c -- the calls of antq_reactor.h in virtual time: what nat/node runs on in the simulation.
 *
 * Linked instead of reactor/, with a real endpoint underneath. A turn is that of the reactor:
 *
 *     receive -> posts -> tick when due -> timers -> (events -> on_event, send) until both are dry
 *
 * Sockets, source addresses and errors are as the kernel has them: a socket bound to any address
 * sends from the host's, a datagram whose source address the host has no more, or whose interface
 * is down, is not sent and counted, and no socket dies of it.
 *
 * aq_loop_run and its like are not here: the world gives the turns. */
#include "tests/natsim/loop.h"

#include "core/addr.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BATCH = 8,
    RECV_CALLS = 4,
    PASSES = 64,
    SEND_CALLS = 64,
    TRACE_EVENTS = 8192
};
#define STOP_US  UINT64_C(3000000)
#define HOSTS_US UINT64_C(100000)

/* ---- life ------------------------------------------------------------------------------------ */

void loop_say(char *error, size_t size, const char *what)
{
    if (error != NULL && size > 0)
        (void)snprintf(error, size, "%s", what);
}

void aq_loop_config_init(struct aq_loop_config *config)
{
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
    aq_config_init(&config->endpoint);
}

uint64_t aq_loop_clock(struct aq_loop *loop)
{
    loop->now_us = loop->host->world->now_us + loop->host->clock_us;
    return loop->now_us;
}

static bool open_endpoint(struct aq_loop *loop)
{
    struct aq_config *c = &loop->config.endpoint;
    rng_fill(&loop->host->world->chance, c->seed, sizeof c->seed);
    c->unix_us = WALL_START_US + loop->host->world->now_us;
    if (loop->config.on_datagrams != NULL)
        c->no_grease_bit = true;
    if (loop->host->world->trace != NULL)
        c->trace_events = TRACE_EVENTS;
    loop->mem_size = aq_endpoint_size(c);
    if (loop->mem_size == 0)
        return false;
    loop->mem = mmap(NULL, loop->mem_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (loop->mem == MAP_FAILED)
        return false;
    loop->ep = aq_endpoint_init(loop->mem, loop->mem_size, c, loop->now_us);
    return loop->ep != NULL;
}

struct aq_loop *aq_loop_new(const struct aq_loop_config *config, char *error, size_t error_size)
{
    struct aq_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL || world_here == NULL || world_here->booting == NULL)
        abort();
    loop->config = *config;
    loop->hosts_us = AQ_NEVER;
    loop->host = world_here->booting;
    assert(loop->host->loop == NULL);
    (void)aq_loop_clock(loop);
    if (!open_endpoint(loop)) {
        const char *why = aq_config_check(&loop->config.endpoint);
        loop_say(error, error_size, why != NULL ? why : "the endpoint refuses its config");
        aq_loop_free(loop);
        return NULL;
    }
    loop->host->loop = loop;
    world_turn(loop->host, loop->host->world->now_us);
    return loop;
}

void aq_loop_free(struct aq_loop *loop)
{
    if (loop == NULL)
        return;
    if (loop->ep != NULL)
        aq_endpoint_close(loop->ep);
    if (loop->mem != NULL && loop->mem != MAP_FAILED)
        (void)munmap(loop->mem, loop->mem_size);
    for (unsigned i = 0; i < loop->inbox_count; i++)
        free(loop->inbox[i]);
    if (loop->host->loop == loop) {
        loop->host->loop = NULL;
        heap_set(&loop->host->world->turns, loop->host->index, UINT64_MAX);
    }
    free(loop->inbox);
    free(loop);
}

struct aq_endpoint *aq_loop_endpoint(struct aq_loop *loop)
{
    return loop->ep;
}

uint64_t aq_loop_now(const struct aq_loop *loop)
{
    return loop->now_us;
}

bool aq_loop_stopping(const struct aq_loop *loop)
{
    return loop->stopping;
}

bool loop_ended(const struct aq_loop *loop)
{
    return loop->ended;
}

void aq_loop_stats(const struct aq_loop *loop, struct aq_loop_stats *stats)
{
    size_t size = stats->size < sizeof loop->stats ? stats->size : sizeof loop->stats;
    memcpy(stats, &loop->stats, size);
    stats->size = size;
}

/* ---- timers and posts ------------------------------------------------------------------------ */

static uint64_t world_time(const struct aq_loop *loop, uint64_t at_us)
{
    if (at_us == AQ_NEVER)
        return AQ_NEVER;
    return at_us > loop->host->clock_us ? at_us - loop->host->clock_us : 0;
}

/* A turn at that time of the loop's, unless one comes before. */
void loop_turn_at(struct aq_loop *loop, uint64_t at_us)
{
    uint64_t at = world_time(loop, at_us), now = loop->host->world->now_us;
    at = at > now ? at : now;
    if (at < heap_when(&loop->host->world->turns, loop->host->index))
        world_turn(loop->host, at);
}

int aq_loop_timer(struct aq_loop *loop, uint64_t at_us, void (*fn)(void *user), void *user)
{
    struct loop_call *place = NULL;
    for (unsigned i = 0; i < LOOP_TIMERS; i++) {
        struct loop_call *t = &loop->timers[i];
        if (t->fn == fn && t->user == user)
            place = t;
        else if (t->fn == NULL && place == NULL)
            place = t;
    }
    if (place == NULL || at_us == AQ_NEVER) {
        if (place != NULL)
            place->fn = NULL;
        return place != NULL || at_us == AQ_NEVER ? AQ_OK : AQ_FULL;
    }
    *place = (struct loop_call){fn, user, at_us};
    if (!loop->in_turn)
        loop_turn_at(loop, at_us);
    return AQ_OK;
}

int aq_loop_post(struct aq_loop *loop, void (*fn)(void *user), void *user)
{
    if (loop->post_count == LOOP_POSTS)
        return AQ_FULL;
    loop->posts[loop->post_count++] = (struct loop_call){fn, user, 0};
    loop_turn_at(loop, 0);
    return AQ_OK;
}

static uint64_t timers_next(const struct aq_loop *loop)
{
    uint64_t first = AQ_NEVER;
    for (unsigned i = 0; i < LOOP_TIMERS; i++)
        if (loop->timers[i].fn != NULL && loop->timers[i].at_us < first)
            first = loop->timers[i].at_us;
    return first;
}

static void timers_fire(struct aq_loop *loop)
{
    for (unsigned i = 0; i < LOOP_TIMERS; i++) {
        struct loop_call t = loop->timers[i];
        if (t.fn == NULL || t.at_us > loop->now_us)
            continue;
        loop->timers[i].fn = NULL;
        t.fn(t.user);
    }
}

static void posts_run(struct aq_loop *loop)
{
    struct loop_call posts[LOOP_POSTS];
    unsigned n = loop->post_count;
    memcpy(posts, loop->posts, n * sizeof *posts);
    loop->post_count = 0;
    for (unsigned i = 0; i < n; i++)
        posts[i].fn(posts[i].user);
}

/* ---- receiving ------------------------------------------------------------------------------- */

void loop_arrived(struct aq_loop *loop, struct flight *flight)
{
    if (loop->inbox_count == loop->inbox_room) {
        loop->inbox_room = loop->inbox_room ? loop->inbox_room * 2 : 16;
        loop->inbox = realloc(loop->inbox, loop->inbox_room * sizeof *loop->inbox);
        if (loop->inbox == NULL)
            abort();
    }
    loop->inbox[loop->inbox_count++] = flight;
    loop_turn_at(loop, 0);
}

static bool is_foreign(const struct flight *f)
{
    return f->size > 0 && (f->data[0] & 0xc0) == 0;
}

static bool may_merge(const struct flight *first, const struct flight *f, uint32_t left)
{
    return f->size <= first->size && f->size > 0 && f->size <= left && f->ecn == first->ecn
           && f->ttl == first->ttl && is_foreign(f) == is_foreign(first)
           && addr_equal(&f->from, &first->from) && addr_equal(&f->to, &first->to);
}

/* Takes what waits from *next on into one lent buffer: a datagram, or several as GRO has them.
 * False: there is no such socket. */
static bool take_one(struct aq_loop *loop, unsigned *next, const struct aq_buffer *buffer,
                     struct aq_datagram *d)
{
    const struct flight *first = loop->inbox[*next];
    const struct loop_socket *s = loop_socket_of(loop, &first->to);
    bool merges = world_chance(loop->host->world, WORLD_PPM / 2), last = false;
    if (s == NULL) {
        ++*next;
        return false;
    }
    *d = (struct aq_datagram){.data = buffer->data,
                              .ecn = first->ecn,
                              .ttl = loop->config.recv_ttl ? first->ttl : 0,
                              .socket = loop_socket_index(loop, s),
                              .local = first->to,
                              .remote = first->from};
    check_received(loop->host, &first->from);
    while (*next < loop->inbox_count && !last) {
        const struct flight *f = loop->inbox[*next];
        if (f != first && (!merges || !may_merge(first, f, (uint32_t)buffer->size - d->size)))
            break;
        memcpy(d->data + d->size, f->data, f->size);
        d->size += f->size;
        if (f != first)
            d->segment = (uint16_t)first->size;
        last = f->size < first->size;
        ++*next;
        loop->stats.recv_packets++;
        loop->stats.recv_bytes += f->size;
    }
    return true;
}

static void give(struct aq_loop *loop, const struct aq_datagram *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (loop->config.on_datagrams != NULL && d[i].size > 0 && (d[i].data[0] & 0xc0) == 0) {
            loop->config.on_datagrams(loop->config.user, loop, &d[i], 1);
            continue;
        }
        int result = aq_recv(loop->ep, &d[i], 1, loop->now_us);
        assert(result == AQ_OK);
        (void)result;
    }
}

static bool events(struct aq_loop *loop);

static void receive(struct aq_loop *loop)
{
    struct aq_buffer buffers[BATCH];
    struct aq_datagram datagrams[BATCH];
    unsigned next = 0;
    for (unsigned call = 0; call < RECV_CALLS && next < loop->inbox_count; call++) {
        unsigned n = 0;
        if (call > 0)
            (void)events(loop);
        unsigned lent = aq_recv_buffers(loop->ep, buffers, BATCH);
        while (n < lent && next < loop->inbox_count)
            n += take_one(loop, &next, &buffers[n], &datagrams[n]);
        if (n > 0)
            give(loop, datagrams, n);
    }
    for (unsigned i = 0; i < next; i++)
        free(loop->inbox[i]);
    loop->inbox_count -= next;
    if (loop->inbox_count > 0)
        memmove(loop->inbox, loop->inbox + next, loop->inbox_count * sizeof *loop->inbox);
    loop->more |= loop->inbox_count > 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* One train. Returns how many datagrams went. */
static unsigned send_train(struct aq_loop *loop, const struct aq_train *train,
                           struct aq_loop_sent *sent)
{
    const struct loop_socket *s =
        train->socket < loop->socket_count ? &loop->sockets[train->socket] : NULL;
    struct aq_train t = *train;
    unsigned count = 0;
    if (s == NULL || !s->open || s->bound.family != t.remote.family)
        return 0;
    if (t.local.family != s->bound.family)
        t.local = s->bound;
    if (addr_is_any(&t.local)) {
        const struct aq_addr *source = host_source(loop->host, s->bound.family);
        t.local = source != NULL ? *source : (struct aq_addr){.family = s->bound.family};
    }
    t.local.port = s->bound.port;
    for (uint32_t at = 0; at < t.size; at += t.segment) {
        uint32_t size = t.size - at < t.segment ? t.size - at : t.segment;
        if (!world_send(loop->host, &t, at, size)) {
            loop->stats.send_errors++;
            loop->stats.unreachable++;
            aq_note_unreachable(loop->ep, &t.remote, "Network is unreachable");
            continue;
        }
        count++;
        sent->packets++;
        sent->bytes += size;
    }
    loop->stats.send_packets += count;
    return count;
}

void aq_loop_send_trains(struct aq_loop *loop, const struct aq_train *trains, unsigned n,
                         struct aq_loop_sent *sent)
{
    *sent = (struct aq_loop_sent){0, 0};
    for (unsigned i = 0; i < n; i++)
        (void)send_train(loop, &trains[i], sent);
}

bool aq_loop_send_raw(struct aq_loop *loop, const struct aq_path_addr *to, unsigned ttl,
                      const uint8_t *data, size_t size)
{
    uint8_t copy[65535];
    struct aq_loop_sent sent = {0, 0};
    assert(size > 0 && size <= sizeof copy && ttl <= UINT8_MAX);
    memcpy(copy, data, size);
    struct aq_train train = {.data = copy,
                             .size = (uint32_t)size,
                             .segment = (uint16_t)size,
                             .socket = to->socket,
                             .ttl = (uint8_t)ttl,
                             .local = to->local,
                             .remote = to->remote};
    return send_train(loop, &train, &sent) == 1;
}

unsigned aq_loop_hosts(struct aq_loop *loop, struct aq_addr *addrs, unsigned max)
{
    unsigned n = 0;
    for (; n < loop->host->addr_count && n < max && !loop->host->down; n++)
        addrs[n] = loop->host->addrs[n];
    return n;
}

static bool send_all(struct aq_loop *loop)
{
    struct aq_train trains[16];
    unsigned max = loop->config.endpoint.send_trains < 16 ? loop->config.endpoint.send_trains : 16;
    for (unsigned call = 0; call < SEND_CALLS; call++) {
        unsigned n = aq_send(loop->ep, trains, max, loop->now_us);
        for (unsigned i = 0; i < n; i++) {
            struct aq_loop_sent sent = {0, 0};
            const struct aq_train *t = &trains[i];
            bool goes = t->channel == 0
                        || (loop->config.on_channel != NULL
                            && loop->config.on_channel(loop->config.user, loop, t));
            if (goes)
                (void)send_train(loop, t, &sent);
        }
        if (n == 0)
            return call > 0;
    }
    world_fail(loop->host->world, "host %u: aq_send never ends", loop->host->index);
    return false;
}

/* ---- the turn -------------------------------------------------------------------------------- */

static bool admit(struct aq_loop *loop, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_ACCEPTED && loop->stopping) {
        loop_conn_add(loop, event->conn, true);
        (void)aq_refuse(loop->ep, event->conn, "shutting down", loop->now_us);
        return false;
    }
    if (event->kind == AQ_EVENT_ACCEPTED || event->kind == AQ_EVENT_CONNECTED)
        loop_conn_add(loop, event->conn, false);
    const struct loop_conn *c = loop->stopping ? loop_conn_find(loop, event->conn) : NULL;
    return c == NULL || !c->refused;
}

static bool events(struct aq_loop *loop)
{
    struct aq_event event = {.kind = AQ_EVENT_NONE};
    unsigned count = 0;
    while (aq_next_event(loop->ep, &event) != 0 && !loop->host->world->failed) {
        if (admit(loop, &event))
            loop->config.on_event(loop->config.user, loop, &event);
        if (event.kind == AQ_EVENT_CLOSED)
            loop_conn_remove(loop, event.conn);
        if (++count > 100000)
            world_fail(loop->host->world, "host %u: events without end, of kind %d",
                       loop->host->index, (int)event.kind);
    }
    return count > 0;
}

static unsigned conns_open(const struct aq_loop *loop)
{
    unsigned open = 0;
    for (unsigned i = 0; i < loop->conn_count; i++)
        open += !loop->conns[i].refused;
    return open;
}

static void tell_hosts(struct aq_loop *loop)
{
    if (loop->hosts_us > loop->now_us)
        return;
    loop->hosts_us = AQ_NEVER;
    loop->config.on_hosts(loop->config.user, loop);
}

static void work(struct aq_loop *loop)
{
    for (unsigned pass = 0; pass < PASSES; pass++) {
        bool some = events(loop), sent = send_all(loop);
        loop_sockets_want(loop);
        if (!some && !sent)
            return;
    }
    loop->more = true;
}

/* What the endpoint tells goes into the trace for people, not into its fingerprint. */
static void trace(struct aq_loop *loop)
{
    struct world *world = loop->host->world;
    struct aq_trace seen[64];
    char line[256];
    unsigned n;
    while (world->trace != NULL && (n = aq_trace_read(loop->ep, seen, 64)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            (void)aq_trace_text(&seen[i], line, sizeof line);
            fprintf(world->trace, "%.6f host %u %s\n", (double)world->now_us / 1e6,
                    loop->host->index, line);
        }
    }
}

void loop_run_turn(struct aq_loop *loop)
{
    if (loop->ended)
        return;
    (void)aq_loop_clock(loop);
    loop->in_turn = true;
    loop->more = false;
    loop->stats.turns++;
    receive(loop);
    posts_run(loop);
    tell_hosts(loop);
    if (aq_deadline(loop->ep) <= loop->now_us)
        aq_tick(loop->ep, loop->now_us);
    timers_fire(loop);
    work(loop);
    trace(loop);
    loop->in_turn = false;
    if (loop->stopping && !loop->more
        && (conns_open(loop) == 0 || loop->now_us >= loop->stop_at_us)) {
        loop->ended = true;
        return;
    }
    uint64_t at = aq_deadline(loop->ep), timer = timers_next(loop);
    at = timer < at ? timer : at;
    at = loop->hosts_us < at ? loop->hosts_us : at;
    at = loop->stopping && loop->stop_at_us < at ? loop->stop_at_us : at;
    loop_turn_at(loop, loop->more ? 0 : at);
}

void loop_hosts_changed(struct aq_loop *loop)
{
    if (loop->config.on_hosts == NULL || loop->hosts_us != AQ_NEVER)
        return;
    /* Told a moment later, however much changes until then, as the reactor does. */
    loop->hosts_us = loop->host->world->now_us + loop->host->clock_us + HOSTS_US;
    loop_turn_at(loop, loop->hosts_us);
}

void aq_loop_stop(struct aq_loop *loop)
{
    if (loop->stopping)
        return;
    uint64_t now = loop->in_turn ? loop->now_us : aq_loop_clock(loop);
    loop->stopping = true;
    loop->stop_at_us = now + STOP_US;
    for (unsigned i = 0; i < loop->conn_count; i++)
        (void)aq_close(loop->ep, loop->conns[i].conn, loop->config.close_code, "shutting down",
                       now);
    world_turn(loop->host, loop->host->world->now_us);
}
