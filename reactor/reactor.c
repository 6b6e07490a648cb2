/* reactor.c -- the epoll loop that hosts one endpoint (Layer B), by the turn that antq.h describes.
 *
 *   wait -> the clock, once -> ready: receive, errors, writable, watches, posts, signals
 *        -> tick when due -> timers -> (events -> on_event, send) until both are dry -> close what
 * ended
 *
 * Everything is level-triggered and every loop has a budget, so whoever has more waits for the next
 * turn, which then comes at once, behind the others. Nothing is allocated after aq_loop_new.
 *
 * A full socket (EAGAIN) keeps the trains: they stay the endpoint's until the next aq_send, so that
 * call waits until EPOLLOUT let the rest go, or the socket took nothing for LOOP_STUCK_US: then
 * they are lost, as in a full device. Other sockets' trains of the same call go on.
 *
 * Sub-millisecond deadlines (pacing, RFC 9002 §7.7) need epoll_pwait2; without it they are rounded
 * up. */
#include "reactor/loop.h"

#include "reactor/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- small helpers --------------------------------------------------------------------------- */

void loop_say(char *error, size_t error_size, const char *format, ...)
{
    va_list args;
    if (error == NULL || error_size == 0)
        return;
    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
}

void loop_warn(struct aq_loop *loop, const char *text)
{
    if (loop->config.on_warning != NULL)
        loop->config.on_warning(loop->config.user, text);
}

uint64_t loop_key(enum loop_kind kind, uint32_t index, uint32_t generation)
{
    assert(index <= UINT16_MAX);
    return (uint64_t)kind << 48 | (uint64_t)index << 32 | generation;
}

int loop_epoll(struct aq_loop *loop, int op, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.u64 = key;
    return epoll_ctl(loop->epoll_fd, op, fd, &event) == 0 ? 0 : errno;
}

/* ---- life ------------------------------------------------------------------------------------ */

void aq_loop_config_init(struct aq_loop_config *config)
{
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
    config->socket_buffer_bytes = 4u << 20;
    aq_config_init(&config->endpoint);
}

/* Fills in chance and wall time, unless the caller gave a seed of its own. */
static bool loop_seed(struct aq_config *config)
{
    static const uint8_t zero[sizeof config->seed];
    size_t filled = 0;
    if (memcmp(config->seed, zero, sizeof zero) != 0)
        return true;
    while (filled < sizeof config->seed) {
        ssize_t got = getrandom(config->seed + filled, sizeof config->seed - filled, 0);
        if (got < 0 && errno != EINTR)
            return false;
        filled += got > 0 ? (size_t)got : 0;
    }
    config->unix_us = clock_unix_us();
    return true;
}

static void *loop_map(size_t size)
{
    /* Fresh pages are zero, page-aligned, and cost nothing until they are touched. */
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t loop_align(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

/* The loop with its two tables in one mapping. */
static struct aq_loop *loop_alloc(const struct aq_loop_config *config)
{
    uint32_t conns = 64;
    uint64_t sockets = (uint64_t)config->endpoint.max_conns + LOOP_SOCKETS_SPARE;
    while (conns < UINT32_MAX / 4 && conns < 2 * (uint64_t)config->endpoint.max_conns)
        conns *= 2;
    if (sockets > UINT16_MAX)
        sockets = UINT16_MAX;
    size_t head = loop_align(sizeof(struct aq_loop));
    size_t middle = loop_align(sizeof(struct loop_socket) * (size_t)sockets);
    size_t size = head + middle + sizeof(struct loop_conn) * conns;
    uint8_t *memory = loop_map(size);
    if (memory == NULL)
        return NULL;
    struct aq_loop *loop = (struct aq_loop *)(void *)memory;
    loop->sockets = (struct loop_socket *)(void *)(memory + head);
    loop->conns = (struct loop_conn *)(void *)(memory + head + middle);
    loop->sockets_max = (uint32_t)sockets;
    loop->conns_mask = conns - 1;
    loop->size = size;
    loop->config = *config;
    loop->epoll_fd = loop->deadline_fd = loop->post_fd = loop->signal_fd = loop->hosts_fd = -1;
    loop->hosts_at_us = AQ_NEVER;
    loop->train_max = config->endpoint.send_trains;
    if (loop->train_max > LOOP_TRAINS)
        loop->train_max = LOOP_TRAINS;
    if (loop->train_max == 0)
        loop->train_max = 1;
    pthread_mutex_init(&loop->post_lock, NULL);
    return loop;
}

static void loop_unreachable(void *user, const struct aq_addr *remote, const char *text)
{
    struct aq_loop *loop = user;
    aq_note_unreachable(loop->ep, remote, text);
}

static bool loop_open(struct aq_loop *loop, char *error, size_t error_size)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        loop_say(error, error_size, "cannot make an epoll descriptor: %s", strerror(errno));
        return false;
    }
    int failed = loop_watch_init(loop);
    if (failed != 0) {
        loop_say(error, error_size, "cannot make the loop's descriptors: %s", strerror(failed));
        return false;
    }
    if (loop->config.on_datagrams != NULL) /* RFC 9287 §3: the fixed bit tells them from QUIC */
        loop->config.endpoint.no_grease_bit = true;
    loop->ep_size = aq_endpoint_size(&loop->config.endpoint);
    loop->ep_memory = loop->ep_size > 0 ? loop_map(loop->ep_size) : NULL;
    if (loop->ep_memory == NULL) {
        loop_say(error, error_size,
                 "cannot reserve %zu MiB for the endpoint: lower the limits in its config",
                 loop->ep_size >> 20);
        return false;
    }
    loop->now_us = clock_now_us();
    loop->ep =
        aq_endpoint_init(loop->ep_memory, loop->ep_size, &loop->config.endpoint, loop->now_us);
    explicit_bzero(loop->config.endpoint.seed, sizeof loop->config.endpoint.seed);
    explicit_bzero(loop->config.endpoint.secret, sizeof loop->config.endpoint.secret);
    if (loop->ep == NULL) {
        loop_say(error, error_size, "the endpoint refuses its config");
        return false;
    }
    loop->io.unreachable = loop_unreachable;
    loop->io.user = loop;
    return true;
}

struct aq_loop *aq_loop_new(const struct aq_loop_config *config, char *error, size_t error_size)
{
    if (config->size != sizeof *config) {
        loop_say(error, error_size,
                 "the loop's config was not made by aq_loop_config_init of this version");
        return NULL;
    }
    struct aq_loop_config copy = *config;
    if (!loop_seed(&copy.endpoint)) {
        loop_say(error, error_size, "the kernel gives no random bytes: %s", strerror(errno));
        return NULL;
    }
    const char *wrong = aq_config_check(&copy.endpoint);
    struct aq_loop *loop = wrong == NULL ? loop_alloc(&copy) : NULL;
    explicit_bzero(&copy, sizeof copy);
    if (loop == NULL) {
        loop_say(error, error_size, "%s", wrong != NULL ? wrong : "no memory for the loop");
        return NULL;
    }
    if (!loop_open(loop, error, error_size)) {
        aq_loop_free(loop);
        return NULL;
    }
    return loop;
}

void aq_loop_free(struct aq_loop *loop)
{
    if (loop == NULL)
        return;
    assert(!loop->in_turn);
    loop_jobs_free(loop);
    loop_sockets_close(loop);
    if (loop->ep != NULL)
        aq_endpoint_close(loop->ep);
    if (loop->ep_memory != NULL)
        (void)munmap(loop->ep_memory, loop->ep_size);
    loop_watch_free(loop);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->post_lock);
    (void)munmap(loop, loop->size);
}

struct aq_endpoint *aq_loop_endpoint(struct aq_loop *loop)
{
    return loop->ep;
}

uint64_t aq_loop_now(const struct aq_loop *loop)
{
    return loop->now_us;
}

uint64_t aq_loop_clock(struct aq_loop *loop)
{
    loop->now_us = clock_now_us();
    return loop->now_us;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Whether the application shall hear of the event: not of a connection that came while stopping. */
static bool loop_admit(struct aq_loop *loop, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_ACCEPTED && loop->stopping) {
        (void)loop_conn_add(loop, event->conn, LOOP_NO_SOCKET, true);
        (void)aq_refuse(loop->ep, event->conn, "shutting down", loop->now_us);
        return false;
    }
    /* CONNECTED also brings in what the application started with aq_connect itself. */
    if (event->kind == AQ_EVENT_ACCEPTED || event->kind == AQ_EVENT_CONNECTED)
        (void)loop_conn_add(loop, event->conn, LOOP_NO_SOCKET, false);
    if (!loop->stopping)
        return true;
    const struct loop_conn *c = loop_conn_find(loop, event->conn);
    return c == NULL || !c->refused;
}

unsigned loop_events(struct aq_loop *loop)
{
    struct aq_event event;
    unsigned count = 0;
    loop->received = false;
    memset(&event, 0, sizeof event);
    while (count < LOOP_EVENTS && aq_next_event(loop->ep, &event) != 0) {
        count++;
        if (loop_admit(loop, &event) && loop->config.on_event != NULL)
            loop->config.on_event(loop->config.user, loop, &event);
        if (event.kind == AQ_EVENT_CONFIRMED)
            loop_conn_confirmed(loop, event.conn);
        if (event.kind == AQ_EVENT_PATH)
            loop_conn_paths(loop, event.conn);
        if (event.kind == AQ_EVENT_CLOSED)
            loop_conn_remove(loop, event.conn);
    }
    return count;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Many small messages, each one datagram: more of them per call the next time. */
static void loop_adapt(struct loop_socket *s, const struct aq_datagram *datagrams, unsigned n)
{
    uint32_t bytes = 0;
    assert(n > 0);
    for (unsigned i = 0; i < n; i++)
        bytes += datagrams[i].size;
    s->lend = n >= LOOP_LEND && bytes / n < LOOP_LEND_SMALL ? LOOP_LEND_SINGLE : LOOP_LEND;
}

static void loop_receive(struct aq_loop *loop, struct loop_socket *s)
{
    struct aq_buffer buffers[LOOP_LEND_SINGLE];
    struct aq_datagram datagrams[LOOP_LEND_SINGLE];
    bool more = true;
    for (unsigned i = 0; more && i < LOOP_RECV_CALLS; i++) {
        /* Lending buffers again copies away what the application has not read: let it read first.
         */
        if (loop->received)
            (void)loop_events(loop);
        unsigned lent = aq_recv_buffers(loop->ep, buffers, s->lend);
        if (lent == 0)
            return;
        unsigned n = udp_recv(&s->udp, &loop->io, buffers, datagrams, lent, &more);
        if (n == 0)
            continue;
        loop_adapt(s, datagrams, n);
        n = loop_foreign(loop, datagrams, n);
        if (n == 0)
            continue;
        int result = aq_recv(loop->ep, datagrams, n, loop->now_us);
        assert(result == AQ_OK); /* anything else says that the buffers were not the lent ones */
        (void)result;
        loop->received = true;
    }
    loop->unread |= more;
}

void loop_socket_ready(struct aq_loop *loop, uint32_t index, uint32_t events)
{
    struct loop_socket *s = loop_socket_at(loop, index);
    if (s == NULL)
        return; /* closed earlier in this turn */
    if ((events & EPOLLERR) != 0)
        udp_errors(&s->udp, &loop->io);
    if ((events & EPOLLOUT) != 0 && s->blocked) {
        s->blocked = false;
        (void)loop_epoll(loop, EPOLL_CTL_MOD, s->udp.fd, EPOLLIN, loop_key(LOOP_SOCKET, index, 0));
    }
    if ((events & EPOLLIN) != 0)
        loop_receive(loop, s);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Waits for EPOLLOUT. False: that cannot be had, so what is left is lost rather than kept for ever.
 */
static bool loop_block(struct aq_loop *loop, struct loop_socket *s)
{
    uint64_t key = loop_key(LOOP_SOCKET, s->udp.index, 0);
    s->blocked = loop_epoll(loop, EPOLL_CTL_MOD, s->udp.fd, EPOLLIN | EPOLLOUT, key) == 0;
    return s->blocked;
}

static bool loop_is_stuck(const struct aq_loop *loop, const struct loop_socket *s)
{
    return s->blocked_us != 0 && loop->now_us - s->blocked_us >= LOOP_STUCK_US;
}

/* Offers n trains to their socket. False: it did not take all of them. */
static bool loop_offer(struct aq_loop *loop, struct loop_socket *s, unsigned first, unsigned n)
{
    uint64_t before = loop->io.counts.send_bytes;
    bool all = udp_send(&s->udp, &loop->io, loop->trains + first, loop->sent + first, n);
    if (all || loop->io.counts.send_bytes != before)
        s->blocked_us = 0;
    if (!all && s->blocked_us == 0)
        s->blocked_us = loop->now_us;
    return all;
}

/* Sends n trains of one socket. False: some wait for it to be writable. */
static bool loop_flush_run(struct aq_loop *loop, unsigned first, unsigned n)
{
    struct loop_socket *s = loop_socket_at(loop, loop->trains[first].socket);
    if (s != NULL && !s->blocked) {
        if (loop_offer(loop, s, first, n))
            return true;
        if (!loop_block(loop, s))
            s = NULL;
    }
    if (s != NULL && !loop_is_stuck(loop, s))
        return false;
    /* The core's last words to a socket that is closed already, or one that is stuck. */
    for (unsigned i = first; i < first + n; i++) {
        loop->io.counts.send_errors += loop->sent[i] < loop->trains[i].size ? 1 : 0;
        loop->sent[i] = loop->trains[i].size;
    }
    return true;
}

/* Sends the pending trains. True: none is left. */
static bool loop_flush(struct aq_loop *loop)
{
    bool done = true;
    for (unsigned first = 0, end; first < loop->train_count; first = end) {
        for (end = first + 1; end < loop->train_count; end++)
            if (loop->trains[end].socket != loop->trains[first].socket)
                break;
        done = loop_flush_run(loop, first, end - first) && done;
    }
    if (done)
        loop->train_count = 0;
    return done;
}

/* Trains of relayed paths get their headers, or are lost. */
static void loop_channels(struct aq_loop *loop)
{
    for (unsigned i = 0; i < loop->train_count; i++) {
        const struct aq_train *t = &loop->trains[i];
        if (t->channel != 0
            && (loop->config.on_channel == NULL
                || !loop->config.on_channel(loop->config.user, loop, t)))
            loop->sent[i] = t->size;
    }
}

unsigned loop_send(struct aq_loop *loop)
{
    unsigned total = 0;
    loop->sent_all = false;
    for (unsigned i = 0; i < LOOP_SEND_CALLS; i++) {
        if (!loop_flush(loop))
            return total;
        unsigned n = aq_send(loop->ep, loop->trains, loop->train_max, loop->now_us);
        assert(n <= loop->train_max);
        memset(loop->sent, 0, sizeof loop->sent);
        loop->train_count = n;
        loop_channels(loop);
        total += n;
        if (loop_flush(loop) && n < loop->train_max) {
            loop->sent_all = true;
            return total;
        }
    }
    return total;
}

/* ---- what was counted -------------------------------------------------------------------------
 */

void aq_loop_stats(const struct aq_loop *loop, struct aq_loop_stats *stats)
{
    const struct udp_counts *c = &loop->io.counts;
    struct aq_loop_stats all;
    size_t size = stats->size < sizeof all ? stats->size : sizeof all;
    memset(&all, 0, sizeof all);
    all.size = size;
    all.turns = loop->turns;
    all.recv_calls = c->recv_calls;
    all.recv_packets = c->recv_packets;
    all.recv_bytes = c->recv_bytes;
    all.send_calls = c->send_calls;
    all.send_packets = c->send_packets;
    all.send_bytes = c->send_bytes;
    all.send_errors = c->send_errors;
    all.gso_fallbacks = c->gso_fallbacks;
    all.gro_packets = c->gro_packets;
    all.rxq_overflows = c->rxq_overflows;
    all.unreachable = c->unreachable;
    memcpy(stats, &all, size);
}
