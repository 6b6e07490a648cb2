/* hosts.c -- tests reactor/hosts.c in a network namespace: which addresses are told, and that
 * changes of addresses and links are heard of, once for many. */
#include "reactor/antq_reactor.h"
#include "reactor/clock.h"
#include "tests/ns.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

TestSuite(hosts, .timeout = 120);

enum {
    SECOND = 1000000
};

static char error[256], warning[256];
static struct {
    unsigned calls, count;
    struct aq_addr addrs[AQ_HOSTS_MAX];
} told;

/* What the loop calls instead of the C library's: a sandbox without netlink, and a kernel that has
 * lost messages. */
static bool no_netlink, lossy;

int socket(int domain, int type, int protocol)
{
    if (!no_netlink || domain != AF_NETLINK)
        return (int)syscall(SYS_socket, domain, type, protocol);
    errno = EAFNOSUPPORT;
    return -1;
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    ssize_t got = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
    if (got < 0 || !lossy)
        return got;
    lossy = false;
    errno = ENOBUFS;
    return -1;
}

static void hear(void *user, struct aq_loop *loop)
{
    cr_assert_eq(user, &told);
    told.calls++;
    told.count = aq_loop_hosts(loop, told.addrs, AQ_HOSTS_MAX);
}

static void keep_warning(void *user, const char *text)
{
    (void)user;
    snprintf(warning, sizeof warning, "%s", text);
}

static struct aq_loop *open_loop(void)
{
    struct aq_loop_config config;
    aq_loop_config_init(&config);
    config.endpoint.max_conns = config.endpoint.max_half_open = 8;
    config.endpoint.memory_bytes = 16u << 20;
    config.on_hosts = hear;
    config.on_warning = keep_warning;
    config.user = &told;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    return loop;
}

/* A pair of devices, the first of which gets the addresses. */
static void make_link(void)
{
    if (!ns_try("ip link add nt0 type veth peer name nt1 2>/dev/null"))
        cr_skip_test("no veth devices");
    NS_RUN("ip link set nt1 up && ip link set nt0 up");
}

static bool has(const char *text, unsigned family)
{
    struct aq_addr addr;
    cr_assert_eq(aq_resolve(text, 0, family, &addr, error, sizeof error), AQ_OK);
    for (unsigned i = 0; i < told.count; i++)
        if (memcmp(&told.addrs[i], &addr, sizeof addr) == 0)
            return true;
    return false;
}

static void ask(struct aq_loop *loop)
{
    told.count = aq_loop_hosts(loop, told.addrs, AQ_HOSTS_MAX);
}

static void run_for(struct aq_loop *loop, uint64_t span_us)
{
    uint64_t end = aq_loop_clock(loop) + span_us;
    while (aq_loop_clock(loop) < end) {
        struct pollfd fd = {aq_loop_fd(loop), POLLIN, 0};
        (void)poll(&fd, 1, 20);
        cr_assert_eq(aq_loop_step(loop), 0);
    }
}

/* Runs the loop until the address is told, or is told no more. */
static bool wait_for(struct aq_loop *loop, const char *text, unsigned family, bool there)
{
    uint64_t give_up = clock_now_us() + 20 * (uint64_t)SECOND;
    while (has(text, family) != there && clock_now_us() < give_up)
        run_for(loop, SECOND / 50);
    return has(text, family) == there;
}

/* Links come up in their own time, and have IPv6 addresses of their own making. */
static struct aq_loop *settled_loop(void)
{
    struct aq_loop *loop = open_loop();
    NS_RUN("ip addr add 10.78.0.1/24 dev nt0");
    ask(loop);
    cr_assert(wait_for(loop, "10.78.0.1", 4, true));
    run_for(loop, SECOND / 2);
    told.calls = 0;
    return loop;
}

Test(hosts, loopback_alone_is_nothing)
{
    ns_enter();
    struct aq_loop *loop = open_loop();
    ask(loop);
    cr_expect_eq(told.count, 0);
    NS_RUN("ip addr add 10.78.9.9/32 dev lo");
    run_for(loop, SECOND / 2);
    cr_expect_eq(told.calls, 0);
    aq_loop_free(loop);
}

Test(hosts, addresses_come_and_go)
{
    ns_enter();
    make_link();
    struct aq_loop *loop = settled_loop();
    cr_expect_eq(told.count, 1, "neither loopback's nor the links' own fe80 ones");
    cr_expect_eq(told.addrs[0].port, 0);
    NS_RUN("ip addr add 169.254.7.7/16 dev nt0 && ip addr add 10.78.1.1/24 dev nt0"
           " && ip addr add fd78::1/64 dev nt0 nodad");
    cr_expect(wait_for(loop, "10.78.1.1", 4, true));
    cr_expect(wait_for(loop, "fd78::1", 6, true));
    cr_expect_eq(told.count, 3);
    cr_expect_geq(told.calls, 1);
    struct aq_addr some[2];
    cr_expect_eq(aq_loop_hosts(loop, some, 2), 2);
    cr_expect_arr_eq(some, told.addrs, sizeof some);
    NS_RUN("ip addr del 10.78.1.1/24 dev nt0");
    cr_expect(wait_for(loop, "10.78.1.1", 4, false));
    cr_expect(has("10.78.0.1", 4) && has("fd78::1", 6));
    aq_loop_free(loop);
}

Test(hosts, many_changes_are_one)
{
    ns_enter();
    make_link();
    struct aq_loop *loop = settled_loop();
    uint64_t begun_us = clock_now_us();
    NS_RUN("for i in $(seq 1 40); do ip addr add 10.78.1.$i/24 dev nt0; done &");
    cr_expect(wait_for(loop, "10.78.1.40", 4, true));
    cr_expect_eq(told.count, 41);
    uint64_t tenths = (clock_now_us() - begun_us) / (SECOND / 10);
    cr_expect_leq(told.calls, tenths + 1, "%u times in %u tenths of a second", told.calls,
                  (unsigned)tenths);
    NS_RUN("for i in $(seq 41 90); do echo addr add 10.78.1.$i/24 dev nt0; done | ip -batch -");
    run_for(loop, SECOND / 2);
    cr_expect_eq(told.count, AQ_HOSTS_MAX, "no more than that");
    told.calls = 0;
    NS_RUN("ip link set nt0 mtu 1400");
    run_for(loop, SECOND / 2);
    cr_expect_eq(told.calls, 0, "it changed no address");
    aq_loop_free(loop);
}

Test(hosts, a_link_goes_down_at_either_end)
{
    ns_enter();
    make_link();
    struct aq_loop *loop = settled_loop();
    NS_RUN("ip link set nt0 down");
    cr_expect(wait_for(loop, "10.78.0.1", 4, false));
    cr_expect_eq(told.count, 0);
    NS_RUN("ip link set nt0 up");
    cr_expect(wait_for(loop, "10.78.0.1", 4, true));
    NS_RUN("ip link set nt1 down"); /* the cable is pulled out */
    cr_expect(wait_for(loop, "10.78.0.1", 4, false));
    NS_RUN("ip link set nt1 up");
    cr_expect(wait_for(loop, "10.78.0.1", 4, true));
    NS_RUN("ip link del nt0");
    cr_expect(wait_for(loop, "10.78.0.1", 4, false));
    aq_loop_free(loop);
}

/* RFC 4862 §5.4: an address that may be another's is no address yet. */
Test(hosts, duplicate_detection_is_waited_for)
{
    ns_enter();
    make_link();
    struct aq_loop *loop = settled_loop();
    NS_RUN("ip addr add fd78::2/64 dev nt0");
    ask(loop);
    bool early = has("fd78::2", 6);
    bool tentative = ns_try("ip -6 addr show dev nt0 tentative | grep -q fd78::2");
    cr_expect_not(early && tentative);
    cr_expect(wait_for(loop, "fd78::2", 6, true), "the kernel tells when it has passed");
    aq_loop_free(loop);
}

Test(hosts, lost_messages_are_a_change)
{
    ns_enter();
    make_link();
    struct aq_loop *loop = settled_loop();
    lossy = true;
    NS_RUN("ip addr add 10.78.1.1/24 dev nt0");
    cr_expect(wait_for(loop, "10.78.1.1", 4, true));
    cr_expect_not(lossy);
    aq_loop_free(loop);
}

Test(hosts, without_netlink_all_else_works)
{
    no_netlink = true;
    struct aq_loop *loop = open_loop();
    cr_expect_not_null(strstr(warning, "addresses"), "%s", warning);
    run_for(loop, SECOND / 10);
    cr_expect_eq(told.calls, 0);
    aq_loop_free(loop);
}
