/* hosts.c -- the machine's own addresses, and when they change: what NAT traversal offers to peers
 * as host candidates.
 *
 * The kernel tells each change of a link or an address by netlink. What it says is not read, only
 * that it says something: a cable pulled out makes many messages, so the addresses are looked at
 * LOOP_HOSTS_SETTLE_US later, once for all of them, and compared with what was told last. That also
 * makes a message that was lost (ENOBUFS) harmless, and a change that was undone no change.
 *
 * An address in duplicate address detection (RFC 4862 §5.4) is listed by the kernel, but nothing
 * can leave from it, nor be bound to it: so binding a socket is the test. When it has passed, the
 * kernel says so like any other change.
 *
 * Called by watch.c and reactor.c. */
#include "reactor/loop.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#define LOOP_HOSTS_SETTLE_US 100000

enum {
    HOSTS_READS = 256 /* messages per turn: a flood of them must not starve the rest */
};

/* ---- the addresses --------------------------------------------------------------------------- */

static bool can_bind(const struct aq_addr *a)
{
    union udp_name name;
    socklen_t size = udp_to_sockaddr(a, &name);
    int fd = socket(name.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && bind(fd, &name.any, size) == 0;
    if (fd >= 0)
        close(fd);
    return bound;
}

static bool read_one(const struct ifaddrs *i, struct aq_addr *addr)
{
    union udp_name name;
    int family = i->ifa_addr != NULL ? i->ifa_addr->sa_family : AF_UNSPEC;
    if ((i->ifa_flags & (IFF_UP | IFF_RUNNING | IFF_LOOPBACK)) != (IFF_UP | IFF_RUNNING)
        || (family != AF_INET && family != AF_INET6))
        return false;
    memset(&name, 0, sizeof name);
    memcpy(&name, i->ifa_addr, family == AF_INET ? sizeof name.v4 : sizeof name.v6);
    return udp_from_sockaddr(&name, addr) && !udp_is_link_local(addr) && can_bind(addr);
}

/* How many there are, at most AQ_HOSTS_MAX. The kernel's order: by interface, oldest first. */
static unsigned hosts_read(struct aq_addr *addrs)
{
    struct ifaddrs *list = NULL;
    unsigned count = 0;
    if (getifaddrs(&list) != 0)
        return 0;
    for (const struct ifaddrs *i = list; i != NULL && count < AQ_HOSTS_MAX; i = i->ifa_next)
        count += read_one(i, &addrs[count]);
    freeifaddrs(list);
    return count;
}

unsigned aq_loop_hosts(struct aq_loop *loop, struct aq_addr *addrs, unsigned max)
{
    loop->hosts_count = hosts_read(loop->hosts);
    unsigned count = loop->hosts_count < max ? loop->hosts_count : max;
    memcpy(addrs, loop->hosts, count * sizeof *addrs);
    return count;
}

/* ---- changes --------------------------------------------------------------------------------- */

/* A netlink socket that hears of links and addresses; -1 with errno. */
static int hosts_open(void)
{
    const struct sockaddr_nl groups = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&groups, sizeof groups) == 0)
        return fd;
    int failed = errno;
    close(fd);
    errno = failed;
    return -1;
}

int loop_hosts_init(struct aq_loop *loop)
{
    char text[128];
    if (loop->config.on_hosts == NULL)
        return 0;
    loop->hosts_fd = hosts_open();
    if (loop->hosts_fd < 0) { /* a sandbox: all else works */
        loop_say(text, sizeof text, "the kernel will not tell of changed addresses: %s",
                 strerror(errno));
        loop_warn(loop, text);
        return 0;
    }
    loop->hosts_count = hosts_read(loop->hosts); /* a change from here on is heard of */
    return loop_epoll(loop, EPOLL_CTL_ADD, loop->hosts_fd, EPOLLIN, loop_key(LOOP_HOSTS, 0, 0));
}

void loop_hosts_ready(struct aq_loop *loop)
{
    uint8_t unread;
    for (unsigned i = 0; i < HOSTS_READS; i++) {
        /* ENOBUFS, messages were lost, is one more that says something; it is told once. */
        if (recv(loop->hosts_fd, &unread, sizeof unread, MSG_DONTWAIT) < 0 && errno == EAGAIN)
            break;
    }
    if (loop->hosts_at_us == AQ_NEVER)
        loop->hosts_at_us = loop->now_us + LOOP_HOSTS_SETTLE_US;
}

void loop_hosts_fire(struct aq_loop *loop)
{
    struct aq_addr addrs[AQ_HOSTS_MAX];
    unsigned count = hosts_read(addrs);
    loop->hosts_at_us = AQ_NEVER;
    if (count == loop->hosts_count && memcmp(addrs, loop->hosts, count * sizeof *addrs) == 0)
        return;
    memcpy(loop->hosts, addrs, count * sizeof *addrs);
    loop->hosts_count = count;
    loop->config.on_hosts(loop->config.user, loop);
}
