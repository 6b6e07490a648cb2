/* foreign.c -- tests reactor/foreign.c through antq_reactor.h: what is not QUIC is taken out of the
 * kernel's batches, whole runs at a time, and trains are sent beside the endpoint's. */
#include "reactor/antq_reactor.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

TestSuite(foreign, .timeout = 20);

enum {
    STEP = 600,
    RUNS = 32
};

static char error[256];
static struct aq_loop *from, *to;
static struct aq_addr at;
static struct {
    unsigned calls, runs, packets;
    uint32_t sizes[RUNS];
    uint8_t bytes[1 << 17];
    size_t size;
} got;

static bool stuck;

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!stuck)
        return syscall(SYS_sendmsg, fd, message, flags);
    errno = EAGAIN;
    return -1;
}

static void hear(void *user, struct aq_loop *loop, const struct aq_datagram *d, unsigned n)
{
    cr_assert_eq(user, &got);
    cr_assert_eq(loop, to);
    got.calls++;
    for (unsigned i = 0; i < n; i++) {
        uint32_t step = d[i].segment != 0 ? d[i].segment : d[i].size;
        cr_assert_lt(got.runs, RUNS);
        cr_assert_eq(d[i].remote.family, 4);
        got.sizes[got.runs++] = d[i].size;
        got.packets += (d[i].size + step - 1) / step;
        memcpy(got.bytes + got.size, d[i].data, d[i].size);
        got.size += d[i].size;
    }
}

static struct aq_loop *open_loop(bool listens, bool no_gro)
{
    struct aq_loop_config config;
    struct aq_addr bound, local = {.family = 4, .ip = {127, 0, 0, 1}};
    aq_loop_config_init(&config);
    config.endpoint.max_conns = config.endpoint.max_half_open = 8;
    config.endpoint.memory_bytes = 16u << 20;
    config.no_gro = no_gro;
    config.on_datagrams = listens ? hear : NULL;
    config.user = &got;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    cr_assert_eq(aq_listen(loop, &local, &bound, error, sizeof error), AQ_OK, "%s", error);
    at = bound;
    return loop;
}

static uint64_t quic_seen(void)
{
    struct aq_endpoint_stats s = {.size = sizeof s};
    aq_endpoint_stats(aq_loop_endpoint(to), &s);
    return s.bytes_in;
}

/* One datagram for each letter: Q has the fixed bit set, F both high bits clear. Every byte tells
 * where it was. */
static struct aq_train train_of(const char *kinds, uint32_t last, uint8_t *bytes)
{
    size_t n = strlen(kinds);
    uint32_t size = (uint32_t)(n - 1) * STEP + last;
    for (size_t i = 0; i < n; i++) {
        memset(bytes + i * STEP, (int)(0x40 + i), STEP);
        bytes[i * STEP] = kinds[i] == 'Q' ? 0x40 : 0x30;
    }
    return (struct aq_train){.data = bytes, .size = size, .segment = STEP, .remote = at};
}

static void expect_split(const char *kinds, uint32_t last, bool no_gro)
{
    static uint8_t bytes[64 * STEP];
    struct aq_loop_sent sent;
    size_t n = strlen(kinds), foreign = 0, quic = 0, place = 0;
    unsigned runs = 0;
    from = open_loop(false, false);
    to = open_loop(true, no_gro);
    memset(&got, 0, sizeof got);
    struct aq_train train = train_of(kinds, last, bytes);
    aq_loop_send_trains(from, &train, 1, &sent);
    cr_assert_eq(sent.packets, n);
    cr_assert_eq(sent.bytes, train.size);
    for (size_t i = 0; i < n; i++) {
        *(kinds[i] == 'Q' ? &quic : &foreign) += i + 1 < n ? STEP : last;
        runs += kinds[i] == 'F' && (i == 0 || kinds[i - 1] == 'Q');
    }
    for (unsigned i = 0; i < 200 && (got.size < foreign || quic_seen() < quic); i++) {
        struct pollfd fd = {aq_loop_fd(to), POLLIN, 0};
        (void)poll(&fd, 1, 10);
        cr_assert_eq(aq_loop_step(to), 0);
    }
    cr_expect_eq(got.size, foreign, "%s: %zu", kinds, got.size);
    cr_expect_eq(quic_seen(), quic, "%s: %u", kinds, (unsigned)quic_seen());
    if (!no_gro)
        cr_expect_eq(got.runs, runs, "%s: %u runs", kinds, got.runs);
    for (size_t i = 0; i < n; i++) {
        size_t size = i + 1 < n ? STEP : last;
        if (kinds[i] == 'F') {
            cr_expect_arr_eq(got.bytes + place, bytes + i * STEP, size, "%s: %zu", kinds, i);
            place += size;
        }
    }
    aq_loop_free(from);
    aq_loop_free(to);
}

Test(foreign, runs_come_whole)
{
    static const char *const rows[] = {"Q",    "F",     "FF",  "QQ",     "QF",   "FQ",
                                       "QFFQ", "FQFQF", "FFF", "QQFFFQ", "FFQQF"};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_split(rows[i], STEP, false);
        expect_split(rows[i], 77, false);
        expect_split(rows[i], 77, true);
    }
}

Test(foreign, nobody_asks)
{
    static uint8_t bytes[4 * STEP];
    struct aq_loop_sent sent;
    struct aq_endpoint_stats s = {.size = sizeof s};
    from = open_loop(false, false);
    to = open_loop(false, false);
    struct aq_train train = train_of("FF", STEP, bytes);
    aq_loop_send_trains(from, &train, 1, &sent);
    for (unsigned i = 0; i < 200 && s.datagrams_in < 2; i++) {
        struct pollfd fd = {aq_loop_fd(to), POLLIN, 0};
        (void)poll(&fd, 1, 10);
        cr_assert_eq(aq_loop_step(to), 0);
        aq_endpoint_stats(aq_loop_endpoint(to), &s);
    }
    cr_expect_eq(s.datagrams_in, 2);
    cr_expect_eq(s.conns, 0);
    aq_loop_free(from);
    aq_loop_free(to);
}

/* What cannot be sent is lost, and told. */
Test(foreign, not_sent)
{
    static uint8_t bytes[4 * STEP];
    struct aq_loop_sent sent;
    from = open_loop(false, false);
    struct aq_train good = train_of("FFFF", STEP, bytes), trains[3] = {good, good, good};
    trains[0].socket = 7;        /* there is none */
    trains[1].remote.family = 6; /* and none of that family */
    aq_loop_send_trains(from, trains, 3, &sent);
    cr_expect_eq(sent.packets, 4);
    cr_expect_eq(sent.bytes, 4 * STEP);
    stuck = true;
    aq_loop_send_trains(from, &good, 1, &sent);
    stuck = false;
    cr_expect_eq(sent.packets, 0);
    cr_expect_eq(sent.bytes, 0);
    struct aq_loop_stats stats = {.size = sizeof stats};
    aq_loop_stats(from, &stats);
    cr_expect_eq(stats.send_errors, 3);
    aq_loop_send_trains(from, &good, 0, &sent);
    cr_expect_eq(sent.bytes, 0);
    aq_loop_free(from);
}

/* ---- one datagram ---------------------------------------------------------------------------- */

static uint8_t heard_ttl;

static void hear_ttl(void *user, struct aq_loop *loop, const struct aq_datagram *d, unsigned n)
{
    (void)user;
    (void)loop;
    cr_assert_eq(n, 1);
    heard_ttl = d->ttl;
    got.calls++;
}

/* Two sockets of one loop: the first sends, the second hears. */
static struct aq_loop *open_both(unsigned family, bool recv_ttl, struct aq_path_addr *path)
{
    struct aq_loop_config config;
    struct aq_addr local = {.family = (uint8_t)family};
    aq_loop_config_init(&config);
    config.endpoint.max_conns = config.endpoint.max_half_open = 8;
    config.endpoint.memory_bytes = 16u << 20;
    config.on_datagrams = hear_ttl;
    config.recv_ttl = recv_ttl;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    local.ip[0] = family == 4 ? 127 : 0;
    local.ip[family == 4 ? 3 : 15] = 1;
    memset(path, 0, sizeof *path);
    cr_assert_eq(aq_listen(loop, &local, &path->local, error, sizeof error), AQ_OK, "%s", error);
    cr_assert_eq(aq_listen(loop, &local, &path->remote, error, sizeof error), AQ_OK, "%s", error);
    return loop;
}

static void expect_ttl(unsigned family, bool recv_ttl)
{
    static const uint8_t ttls[] = {1, 2, 8, 255, 0};
    struct aq_path_addr path;
    struct aq_loop *loop = open_both(family, recv_ttl, &path);
    for (unsigned i = 0; i < sizeof ttls; i++) {
        got.calls = 0;
        cr_expect(aq_loop_send_raw(loop, &path, ttls[i], (const uint8_t *)"!", 1));
        for (unsigned j = 0; j < 200 && got.calls == 0; j++) {
            struct pollfd fd = {aq_loop_fd(loop), POLLIN, 0};
            (void)poll(&fd, 1, 10);
            cr_assert_eq(aq_loop_step(loop), 0);
        }
        cr_expect_eq(got.calls, 1);
        if (!recv_ttl)
            cr_expect_eq(heard_ttl, 0, "nobody asked");
        else if (ttls[i] == 0)
            cr_expect(heard_ttl > 8 && heard_ttl < 255, "the socket's own: %u", heard_ttl);
        else
            cr_expect_eq(heard_ttl, ttls[i]);
    }
    aq_loop_free(loop);
}

Test(foreign, raw_hop_limits)
{
    expect_ttl(4, true);
    expect_ttl(6, true);
    expect_ttl(4, false);
    expect_ttl(6, false);
}

static uint64_t send_errors(const struct aq_loop *loop)
{
    struct aq_loop_stats stats = {.size = sizeof stats};
    aq_loop_stats(loop, &stats);
    return stats.send_errors;
}

Test(foreign, raw_not_sent)
{
    static const uint8_t large[65535];
    struct aq_path_addr path, wrong;
    struct aq_loop *loop = open_both(4, false, &path);
    wrong = path;
    wrong.socket = 7;
    cr_expect_not(aq_loop_send_raw(loop, &wrong, 0, large, 1), "no such socket");
    wrong.socket = 0;
    wrong.remote.family = 6;
    cr_expect_not(aq_loop_send_raw(loop, &wrong, 0, large, 1), "no such family there");
    wrong.remote.family = 0;
    cr_expect_not(aq_loop_send_raw(loop, &wrong, 0, large, 1), "none at all");
    cr_expect_not(aq_loop_send_raw(loop, &path, 0, large, sizeof large), "no datagram is so large");
    stuck = true;
    cr_expect_not(aq_loop_send_raw(loop, &path, 0, large, 1));
    stuck = false;
    cr_expect_eq(send_errors(loop), 5);
    cr_expect(aq_loop_send_raw(loop, &path, 0, large, 1200));
    cr_expect_eq(send_errors(loop), 5);
    aq_loop_free(loop);
}
