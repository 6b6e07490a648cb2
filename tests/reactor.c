/* reactor.c -- tests antq_reactor.h over the whole library: loops on real sockets, on loopback.
 *
 * Two loops of one test run in one thread, nested in poll() by their descriptors: so nesting is
 * tested by every transfer, and nothing depends on how threads are scheduled. */
#include "reactor/antq_reactor.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

TestSuite(reactor, .timeout = 60);

/* What the loop calls instead of the C library's: a socket whose device is stuck. */
static bool stuck;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!stuck)
        return syscall(SYS_sendmsg, fd, message, flags);
    errno = EAGAIN;
    return -1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    if (!stuck)
        return (int)syscall(SYS_sendmmsg, fd, messages, n, flags);
    errno = EAGAIN;
    return -1;
}

enum {
    SECOND = 1000000
};

static char error[256];

static void small(struct aq_loop_config *config)
{
    aq_loop_config_init(config);
    config->endpoint.max_conns = 64;
    config->endpoint.max_half_open = 64;
    config->endpoint.memory_bytes = 64u << 20;
    config->endpoint.conn_memory_bytes = 32u << 20;
}

static struct aq_loop *plain_loop(void)
{
    struct aq_loop_config config;
    small(&config);
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    return loop;
}

static struct aq_addr loopback(unsigned family, uint16_t port)
{
    struct aq_addr a;
    cr_assert_eq(
        aq_resolve(family == 4 ? "127.0.0.1" : "::1", port, family, &a, error, sizeof error),
        AQ_OK);
    return a;
}

/* ---- life ------------------------------------------------------------------------------------ */

Test(reactor, starts_and_stops)
{
    struct aq_loop *loop = plain_loop();
    struct aq_loop_stats stats;
    stats.size = sizeof stats;
    cr_assert_not_null(aq_loop_endpoint(loop));
    cr_assert_not(aq_loop_stopping(loop));
    cr_assert_gt(aq_loop_now(loop), 0);
    cr_assert_leq(aq_loop_now(loop), aq_loop_clock(loop));
    aq_loop_stop(loop);
    cr_assert(aq_loop_stopping(loop));
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_eq(aq_loop_step(loop), 1, "ended stays ended");
    aq_loop_stats(loop, &stats);
    cr_assert_gt(stats.turns, 0);
    aq_loop_free(loop);
}

Test(reactor, stats_write_only_what_the_caller_has)
{
    struct aq_loop *loop = plain_loop();
    struct aq_loop_stats stats;
    memset(&stats, 0xee, sizeof stats);
    stats.size = offsetof(struct aq_loop_stats, recv_calls);
    aq_loop_stats(loop, &stats);
    cr_assert_eq(stats.turns, 0);
    cr_assert_eq(stats.recv_calls, UINT64_C(0xeeeeeeeeeeeeeeee));
    aq_loop_free(loop);
}

Test(reactor, bad_configs_have_their_sentence)
{
    struct aq_loop_config config;
    small(&config);
    config.size = 0;
    cr_assert_null(aq_loop_new(&config, error, sizeof error));
    cr_assert_not_null(strstr(error, "aq_loop_config_init"));
    small(&config);
    config.endpoint.max_conns = 0;
    cr_assert_null(aq_loop_new(&config, error, sizeof error));
    cr_assert_not_null(strstr(error, "max_conns"), "%s", error);
}

static void call_break(void *user)
{
    aq_loop_break(user);
}

Test(reactor, break_ends_the_run_and_a_second_run_goes_on)
{
    struct aq_loop *loop = plain_loop();
    for (int i = 0; i < 2; i++) {
        uint64_t start = aq_loop_clock(loop);
        cr_assert_eq(aq_loop_timer(loop, start + 20000, call_break, loop), AQ_OK);
        cr_assert_eq(aq_loop_run(loop), 0);
        cr_assert_geq(aq_loop_now(loop), start + 20000);
        cr_assert_not(aq_loop_stopping(loop));
    }
    aq_loop_free(loop);
}

static struct aq_loop *signalled_loop(void)
{
    struct aq_loop_config config;
    small(&config);
    config.handle_signals = true;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    return loop;
}

Test(reactor, sigterm_and_sigint_stop_it)
{
    static const int signals[] = {SIGTERM, SIGINT};
    sigset_t mask;
    for (int i = 0; i < 2; i++) {
        struct aq_loop *loop = signalled_loop();
        cr_assert_eq(kill(getpid(), signals[i]), 0);
        cr_assert_eq(aq_loop_run(loop), 0);
        cr_assert(aq_loop_stopping(loop));
        cr_assert_eq(kill(getpid(), signals[i]), 0); /* one more, which nobody reads */
        aq_loop_free(loop);
        pthread_sigmask(SIG_BLOCK, NULL, &mask);
        cr_assert_eq(sigismember(&mask, signals[i]), 0, "the mask is the old one again");
    }
}

/* ---- nesting --------------------------------------------------------------------------------- */

static struct {
    char text[16];
} notes;

static void note(char c)
{
    size_t n = strlen(notes.text);
    if (n + 1 < sizeof notes.text)
        notes.text[n] = c;
}
static void note_a(void *user)
{
    (void)user;
    note('a');
}
static void note_b(void *user)
{
    (void)user;
    note('b');
}

static int foreign_wait(int epoll, int ms)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, ms);
}

Test(reactor, nests_in_a_foreign_epoll)
{
    struct aq_loop *loop = plain_loop();
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(0);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, aq_loop_fd(loop), &event), 0);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_assert_eq(foreign_wait(epoll, 0), 0, "nothing to do");

    aq_loop_post(loop, note_b, NULL);
    cr_assert_eq(foreign_wait(epoll, 1000), 1, "a post wakes");
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_assert_str_eq(notes.text, "b");

    uint64_t at = aq_loop_clock(loop) + 30000;
    aq_loop_timer(loop, at, note_a, NULL);
    cr_assert_eq(aq_loop_step(loop), 0); /* calls made outside are taken up by a step */
    cr_assert_leq(aq_loop_timeout_us(loop), 30000);
    cr_assert_eq(foreign_wait(epoll, 0), 0);
    cr_assert_eq(foreign_wait(epoll, 1000), 1, "a deadline wakes");
    cr_assert_geq(aq_loop_clock(loop), at);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_assert_str_eq(notes.text, "ba");
    cr_assert_eq(foreign_wait(epoll, 0), 0, "and rests again");
    cr_assert_eq(aq_loop_timeout_us(loop), AQ_NEVER);

    aq_loop_stop(loop);
    cr_assert_eq(aq_loop_step(loop), 1);
    close(epoll);
    aq_loop_free(loop);
}

/* ---- listening and dialling ------------------------------------------------------------------ */

Test(reactor, listens_on_any_port_and_says_when_one_is_taken)
{
    for (unsigned family = 4; family <= 6; family += 2) {
        struct aq_loop *loop = plain_loop(), *other = plain_loop();
        struct aq_addr want = loopback(family, 0), bound, same;
        cr_assert_eq(aq_listen(loop, &want, &bound, error, sizeof error), AQ_OK, "%s", error);
        cr_assert_neq(bound.port, 0);
        cr_assert_eq(bound.family, family);
        cr_assert_eq(aq_listen(other, &bound, NULL, error, sizeof error), AQ_MISUSE);
        cr_assert_not_null(strstr(error, "port in use"), "%s", error);
        aq_loop_free(loop);
        cr_assert_eq(aq_listen(other, &bound, &same, error, sizeof error), AQ_OK,
                     "freed with the loop");
        cr_assert_eq(same.port, bound.port);
        aq_loop_free(other);
    }
}

static char warning[256];
static void keep_warning(void *user, const char *text)
{
    (void)user;
    snprintf(warning, sizeof warning, "%s", text);
}

Test(reactor, warns_when_the_kernel_grants_less)
{
    struct aq_loop_config config;
    small(&config);
    config.on_warning = keep_warning;
    config.socket_buffer_bytes = UINT32_MAX;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    struct aq_addr any = loopback(4, 0);
    cr_assert_eq(aq_listen(loop, &any, NULL, error, sizeof error), AQ_OK);
    cr_assert_not_null(strstr(warning, "rmem_max"), "%s", warning);
    warning[0] = '\0';
    cr_assert_eq(aq_listen(loop, &any, NULL, error, sizeof error), AQ_OK);
    cr_assert_str_eq(warning, "", "once is enough");
    aq_loop_free(loop);
}

Test(reactor, dialling_nowhere_is_said_clearly)
{
    struct aq_loop *loop = plain_loop();
    struct aq_connect connect;
    aq_conn conn;
    aq_connect_init(&connect);
    cr_assert_eq(aq_dial(loop, &connect, false, &conn, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "no family"));
    connect.remote = loopback(4, 0);
    cr_assert_eq(aq_dial(loop, &connect, false, &conn, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "no port"));
    connect.remote.port = 4433;
    connect.local = loopback(6, 0);
    cr_assert_eq(aq_dial(loop, &connect, false, &conn, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "families"));
    memset(&connect.local, 0, sizeof connect.local);
    cr_assert_eq(aq_dial(loop, &connect, true, &conn, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "TLS"), "%s", error);
    aq_loop_stop(loop);
    cr_assert_eq(aq_dial(loop, &connect, false, &conn, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "stopping"));
    aq_loop_free(loop);
}

/* ---- connections ----------------------------------------------------------------------------- */

enum {
    TRANSFER = 2 << 20
};

/* One side of a test: server and client share the handler, because a loop may be both. */
struct side {
    struct aq_loop *loop;
    struct aq_tls *tls;
    unsigned accepted, connected, confirmed, closed, finished;
    size_t to_send, sent, got; /* what a client writes and reads back */
    bool wrong, fin;
    struct aq_close_info info;
};

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 167 + (i >> 9));
}

static void client_write(struct side *s, struct aq_endpoint *ep, aq_stream stream)
{
    static uint8_t chunk[16384];
    while (s->sent < s->to_send) {
        size_t n = s->to_send - s->sent < sizeof chunk ? s->to_send - s->sent : sizeof chunk;
        for (size_t i = 0; i < n; i++)
            chunk[i] = pattern(s->sent + i);
        struct aq_iov iov = {chunk, n};
        int64_t took = aq_stream_write(ep, stream, &iov, 1, s->sent + n == s->to_send ? AQ_FIN : 0);
        cr_assert_geq(took, 0);
        s->sent += (size_t)took;
        if ((size_t)took < n)
            return;
    }
}

static void client_read(struct side *s, struct aq_endpoint *ep, aq_stream stream)
{
    struct aq_iov iov;
    while (!s->fin && aq_stream_peek(ep, stream, &iov, 1, &s->fin) > 0) {
        for (size_t i = 0; i < iov.size; i++)
            s->wrong = s->wrong || iov.data[i] != pattern(s->got + i);
        s->got += iov.size;
        aq_stream_consume(ep, stream, iov.size);
    }
    s->finished = s->fin ? 1 : 0;
}

static void server_echo(struct aq_endpoint *ep, aq_stream stream)
{
    struct aq_iov iov;
    bool fin = false;
    int n;
    while ((n = aq_stream_peek(ep, stream, &iov, 1, &fin)) > 0 || (n == 0 && fin)) {
        size_t size = n > 0 ? iov.size : 0;
        int64_t took = aq_stream_write(ep, stream, &iov, (unsigned)n, fin ? AQ_FIN : 0);
        if (took < 0)
            return;
        aq_stream_consume(ep, stream, (uint64_t)took);
        if (fin || (size_t)took < size)
            return;
    }
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct side *s = user;
    struct aq_endpoint *ep = aq_loop_endpoint(loop);
    bool client = event->conn_user != NULL, readable = event->kind == AQ_EVENT_READABLE;
    if (event->kind == AQ_EVENT_ACCEPTED) {
        s->accepted++;
    } else if (event->kind == AQ_EVENT_CONFIRMED) {
        s->confirmed += client ? 1 : 0;
    } else if (event->kind == AQ_EVENT_CONNECTED && client) {
        aq_stream stream;
        s->connected++;
        if (s->to_send > 0 && aq_stream_open(ep, event->conn, false, NULL, &stream) == AQ_OK)
            client_write(s, ep, stream);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        s->closed++;
        s->info.size = sizeof s->info;
        cr_assert_eq(aq_conn_close_info(ep, event->conn, &s->info), AQ_OK);
    } else if (readable || event->kind == AQ_EVENT_WRITABLE) {
        if (!client)
            server_echo(ep, event->stream);
        else if (readable)
            client_read(s, ep, event->stream);
        else
            client_write(s, ep, event->stream);
    }
}

static struct aq_tls *make_tls(bool server)
{
    static const char *const alpn[] = {"echo"};
    struct aq_tls_config config;
    aq_tls_config_init(&config);
    config.server = server;
    config.alpn = alpn;
    config.alpn_count = 1;
    config.verify = AQ_VERIFY_NONE;
    struct aq_tls *tls = aq_tls_new(&config, error, sizeof error);
    cr_assert_not_null(tls, "%s", error);
    return tls;
}

/* A loop; with server TLS it also listens, and *addr gets where. */
static void side_open(struct side *s, struct aq_loop_config *config, bool server,
                      struct aq_addr *addr)
{
    memset(s, 0, sizeof *s);
    s->tls = make_tls(server);
    config->on_event = on_event;
    config->user = s;
    config->endpoint.tls = server ? s->tls : NULL;
    s->loop = aq_loop_new(config, error, sizeof error);
    cr_assert_not_null(s->loop, "%s", error);
    if (server)
        cr_assert_eq(aq_listen(s->loop, addr, addr, error, sizeof error), AQ_OK, "%s", error);
}

static void side_free(struct side *s)
{
    aq_loop_free(s->loop);
    aq_tls_free(s->tls);
}

static aq_conn side_dial(struct side *s, struct aq_tls *tls, const struct aq_addr *addr,
                         bool fresh_port)
{
    struct aq_connect connect;
    aq_conn conn = 0;
    aq_connect_init(&connect);
    connect.tls = tls;
    connect.remote = *addr;
    connect.user = s;
    cr_assert_eq(aq_dial(s->loop, &connect, fresh_port, &conn, error, sizeof error), AQ_OK, "%s",
                 error);
    return conn;
}

/* Steps one or two loops, waiting only on their descriptors, until *until reaches want; b may be
 * NULL. */
static bool run_both(struct side *a, struct side *b, const unsigned *until, unsigned want)
{
    struct pollfd fds[2] = {{aq_loop_fd(a->loop), POLLIN, 0},
                            {b ? aq_loop_fd(b->loop) : -1, POLLIN, 0}};
    uint64_t give_up = aq_loop_clock(a->loop) + 20 * (uint64_t)SECOND;
    while (*until < want && aq_loop_clock(a->loop) < give_up) {
        cr_assert_geq(aq_loop_step(a->loop), 0);
        if (b != NULL)
            cr_assert_geq(aq_loop_step(b->loop), 0);
        if (*until < want)
            (void)poll(fds, 2, 2000);
    }
    return *until >= want;
}

static void check_transfer(unsigned family, bool no_gso, bool no_gro)
{
    struct aq_loop_config config;
    struct aq_loop_stats stats;
    struct side client, server;
    struct aq_addr addr = loopback(family, 0);
    small(&config);
    config.no_gso = no_gso;
    config.no_gro = no_gro;
    side_open(&server, &config, true, &addr);
    side_open(&client, &config, false, NULL);
    client.to_send = TRANSFER;
    side_dial(&client, client.tls, &addr, false);
    cr_assert(run_both(&client, &server, &client.finished, 1), "only %zu bytes came back",
              client.got);
    cr_assert_eq(client.got, TRANSFER);
    cr_assert_not(client.wrong);
    stats.size = sizeof stats;
    aq_loop_stats(client.loop, &stats);
    cr_assert_geq(stats.send_bytes, TRANSFER);
    cr_assert_geq(stats.recv_bytes, TRANSFER);
    if (no_gro)
        cr_assert_eq(stats.gro_packets, 0);
    side_free(&client);
    side_free(&server);
}

Test(reactor, echo_v4)
{
    check_transfer(4, false, false);
}
Test(reactor, echo_v6)
{
    check_transfer(6, false, false);
}
Test(reactor, echo_without_gso_and_gro)
{
    check_transfer(4, true, true);
}

Test(reactor, one_loop_dials_itself)
{
    struct aq_loop_config config;
    struct side both;
    struct aq_addr addr = loopback(4, 0);
    small(&config);
    side_open(&both, &config, true, &addr);
    struct aq_tls *client_tls = make_tls(false);
    both.to_send = 100000;
    side_dial(&both, client_tls, &addr, false); /* the listening socket dials */
    cr_assert(run_both(&both, NULL, &both.finished, 1));
    cr_assert_eq(both.got, 100000);
    cr_assert_not(both.wrong);
    cr_assert_eq(both.accepted, 1);
    aq_loop_stop(both.loop);
    cr_assert_eq(aq_loop_run(both.loop), 0);
    cr_assert_eq(both.closed, 2);
    side_free(&both);
    aq_tls_free(client_tls);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

Test(reactor, fresh_ports_leak_no_socket)
{
    struct aq_loop_config config;
    struct side client, server;
    struct aq_addr addr = loopback(4, 0);
    small(&config);
    config.endpoint.max_conns = 256;
    config.endpoint.max_half_open = 256;
    side_open(&server, &config, true, &addr);
    side_open(&client, &config, false, NULL);
    unsigned before = open_descriptors();
    for (unsigned i = 1; i <= 100; i++) {
        aq_conn conn = side_dial(&client, client.tls, &addr, true);
        cr_assert(run_both(&client, &server, &client.confirmed, i), "handshake %u", i);
        cr_assert_eq(
            aq_close(aq_loop_endpoint(client.loop), conn, 0, NULL, aq_loop_now(client.loop)),
            AQ_OK);
        cr_assert(run_both(&client, &server, &client.closed, i));
        cr_assert(run_both(&server, &client, &server.closed, i),
                  "the close came before the socket went");
    }
    cr_assert_eq(open_descriptors(), before);
    side_free(&client);
    side_free(&server);
}

/* Whether a datagram of ours that comes to a loop's port is refused, as on a closed port. */
static bool stranger_is_refused(struct aq_loop *loop, aq_conn conn)
{
    struct aq_path_info path;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), why = 0;
    socklen_t size = sizeof why;
    struct pollfd p = {fd, 0, 0};
    cr_assert_eq(aq_conn_paths(aq_loop_endpoint(loop), conn, &path, 1), 1);
    to.sin_port = htons(path.local.port);
    cr_assert_eq(connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to), 0);
    cr_assert_eq(send(fd, "?", 1, 0), 1);
    (void)poll(&p, 1, 100); /* loopback is faster: the error is there when send returns */
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &size), 0);
    close(fd);
    return why == ECONNREFUSED;
}

Test(reactor, a_port_of_one_connection_hears_its_peer_alone)
{
    struct aq_loop_config config;
    struct side client, server;
    struct aq_addr addr = loopback(4, 0);
    small(&config);
    side_open(&server, &config, true, &addr);
    side_open(&client, &config, false, NULL);
    aq_conn shared = side_dial(&client, client.tls, &addr, false);
    aq_conn alone = side_dial(&client, client.tls, &addr, true);
    cr_assert_not(stranger_is_refused(client.loop, alone), "not before the handshake");
    cr_assert(run_both(&client, &server, &client.confirmed, 2));
    cr_assert(stranger_is_refused(client.loop, alone));
    cr_assert_not(stranger_is_refused(client.loop, shared));
    client.to_send = TRANSFER;
    (void)side_dial(&client, client.tls, &addr, true);
    cr_assert(run_both(&client, &server, &client.finished, 1));
    cr_assert_eq(client.got, TRANSFER);
    cr_assert_not(client.wrong);
    side_free(&client);
    side_free(&server);
}

Test(reactor, stop_closes_every_connection_and_tells_the_peers)
{
    struct aq_loop_config config;
    struct side client, server;
    struct aq_addr addr = loopback(4, 0);
    small(&config);
    config.close_code = 77;
    side_open(&server, &config, true, &addr);
    side_open(&client, &config, false, NULL);
    for (int i = 0; i < 8; i++)
        side_dial(&client, client.tls, &addr, i % 2 == 1);
    cr_assert(run_both(&client, &server, &client.confirmed, 8));
    aq_loop_stop(server.loop);
    uint64_t start = aq_loop_clock(server.loop);
    cr_assert_eq(aq_loop_run(server.loop), 0);
    cr_assert_lt(aq_loop_clock(server.loop) - start, SECOND,
                 "without waiting for the draining periods");
    cr_assert_eq(server.closed, 8);
    cr_assert(run_both(&client, NULL, &client.closed, 8));
    cr_assert_eq(client.info.by, AQ_BY_PEER);
    cr_assert(client.info.application);
    cr_assert_eq(client.info.code, 77);
    side_free(&server);
    side_open(&server, &config, true, &addr); /* the port is free */
    side_free(&server);
    side_free(&client);
}

Test(reactor, who_comes_while_stopping_is_refused)
{
    struct aq_loop_config config;
    struct side client, server;
    struct aq_addr addr = loopback(4, 0);
    small(&config);
    side_open(&server, &config, true, &addr);
    side_open(&client, &config, false, NULL);
    side_dial(&client, client.tls, &addr, false);
    aq_loop_step(client.loop); /* the Initial waits in the server's socket */
    aq_loop_stop(server.loop);
    uint64_t until = aq_loop_clock(server.loop) + SECOND / 10;
    while (aq_loop_clock(server.loop) < until) {
        aq_loop_step(server.loop);
        aq_loop_step(client.loop);
    }
    cr_assert_eq(server.accepted, 0, "the application does not hear of it");
    cr_assert_eq(server.closed, 0);
    cr_assert_eq(client.connected, 0);
    cr_assert_eq(client.closed, 1);
    cr_assert_eq(client.info.code, AQ_CONNECTION_REFUSED);
    side_free(&client);
    side_free(&server);
}

Test(reactor, a_closed_port_ends_in_connection_refused)
{
    struct aq_loop_config config;
    struct aq_loop_stats stats;
    struct side client;
    struct aq_loop *other = plain_loop();
    struct aq_addr addr = loopback(4, 0);
    cr_assert_eq(aq_listen(other, &addr, &addr, error, sizeof error), AQ_OK);
    aq_loop_free(other);
    small(&config);
    config.endpoint.handshake_timeout_us = 300000;
    side_open(&client, &config, false, NULL);
    side_dial(&client, client.tls, &addr, true);
    cr_assert(run_both(&client, NULL, &client.closed, 1));
    cr_assert_eq(client.info.by, AQ_BY_TIMEOUT);
    cr_assert_not_null(strstr(client.info.reason, "refused"), "%s", client.info.reason);
    stats.size = sizeof stats;
    aq_loop_stats(client.loop, &stats);
    cr_assert_gt(stats.unreachable, 0);
    side_free(&client);
}

/* A device that takes nothing any more: the connection ends by its timeout all the same. */
Test(reactor, a_stuck_socket_stops_no_timer)
{
    struct aq_loop_config config;
    struct side client, server;
    struct aq_addr addr = loopback(4, 0);
    aq_conn conn;
    small(&config);
    side_open(&server, &config, true, &addr);
    config.endpoint.idle_timeout_us = 1000000;
    side_open(&client, &config, false, NULL);
    conn = side_dial(&client, client.tls, &addr, false);
    cr_assert(run_both(&client, &server, &client.confirmed, 1));
    stuck = true;
    (void)aq_ping(aq_loop_endpoint(client.loop), conn, aq_loop_clock(client.loop));
    bool ended = run_both(&client, &server, &client.closed, 1);
    stuck = false; /* before the first assertion: Criterion reports by sendmsg as well */
    cr_assert(ended);
    cr_expect_eq(client.info.by, AQ_BY_TIMEOUT);
    side_free(&client);
    side_free(&server);
}
