/* udp.c -- opens UDP sockets and receives from them; udp_send.c is the other direction.
 *
 * Receiving is one recvmmsg into 64 KiB buffers. With UDP_GRO the kernel hands over a row of equal
 * datagrams of one flow as one message and tells their size, so that a call brings hundreds of
 * packets. Each message also brings the ECN mark (RFC 9000 §13.4), the local address, with the
 * interface where that is one link's only, which name the path (RFC 9000 §9), the kernel's count of
 * what it dropped because the buffer was full, and, where somebody wants it, the hop limit.
 *
 * IP_RECVERR puts ICMP errors with their destination on an error queue. Without it "connection
 * refused" would be unknown on a socket that is not connected; with it the kernel also makes the
 * next call fail once, which is why every error here is soft: report, and go on. ICMP is easy to
 * forge, so it only ever changes the text of a timeout (RFC 9000 §14.2.1).
 *
 * Called by reactor.c and sockets.c. A kernel or a sandbox without an option loses only that
 * option. */
#include "reactor/udp.h"

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef SOL_UDP
#    define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#    define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#    define UDP_GRO 104
#endif

enum {
    UDP_ERRORS_MAX = 64, /* ICMP errors taken per call: a flood of them must not starve the rest */
    UDP_RECV_TRIES = 4,  /* pending errors skipped before a receive call gives up */
    UDP_TOS_ECN = 0x03,  /* the two ECN bits, RFC 3168 §5 */
};

struct udp_setting {
    int level, name, value;
};

/* Nothing here is fatal: what a kernel lacks is a field that stays unknown. */
static const struct udp_setting udp_settings_v4[] = {
    {IPPROTO_IP, IP_PKTINFO, 1},
    {IPPROTO_IP, IP_RECVTOS, 1},
    {IPPROTO_IP, IP_RECVERR, 1},
    /* Don't fragment, and do not believe the kernel's path MTU cache: DPLPMTUD probes for itself.
     */
    {IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE},
    {SOL_SOCKET, SO_RXQ_OVFL, 1},
};

static const struct udp_setting udp_settings_v6[] = {
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, 1}, {IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
    {IPPROTO_IPV6, IPV6_RECVERR, 1},     {IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE},
    {SOL_SOCKET, SO_RXQ_OVFL, 1},
};

/* ---- addresses ------------------------------------------------------------------------------- */

socklen_t udp_to_sockaddr(const struct aq_addr *addr, union udp_name *name)
{
    assert(addr->family == 4 || addr->family == 6);
    memset(name, 0, sizeof *name);
    if (addr->family == 4) {
        name->v4.sin_family = AF_INET;
        name->v4.sin_port = htons(addr->port);
        memcpy(&name->v4.sin_addr, addr->ip, 4);
        return sizeof name->v4;
    }
    name->v6.sin6_family = AF_INET6;
    name->v6.sin6_port = htons(addr->port);
    name->v6.sin6_scope_id = addr->scope_id;
    memcpy(&name->v6.sin6_addr, addr->ip, 16);
    return sizeof name->v6;
}

bool udp_from_sockaddr(const union udp_name *name, struct aq_addr *addr)
{
    memset(addr, 0, sizeof *addr);
    if (name->any.sa_family == AF_INET) {
        addr->family = 4;
        addr->port = ntohs(name->v4.sin_port);
        memcpy(addr->ip, &name->v4.sin_addr, 4);
        return true;
    }
    if (name->any.sa_family == AF_INET6) {
        addr->family = 6;
        addr->port = ntohs(name->v6.sin6_port);
        addr->scope_id = name->v6.sin6_scope_id;
        memcpy(addr->ip, &name->v6.sin6_addr, 16);
        return true;
    }
    return false;
}

bool udp_is_link_local(const struct aq_addr *addr)
{
    if (addr->family == 4)
        return addr->ip[0] == 169 && addr->ip[1] == 254;
    return addr->ip[0] == 0xfe && (addr->ip[1] & 0xc0) == 0x80;
}

const char *udp_error_text(int error)
{
    switch (error) {
    case ECONNREFUSED: return "connection refused";
    case EHOSTUNREACH: return "host unreachable";
    case ENETUNREACH: return "network unreachable";
    case EHOSTDOWN: return "host down";
    case ENETDOWN: return "network down";
    case EPERM: return "sending not permitted (firewall)";
    case EACCES: return "sending not permitted";
    case ENOBUFS: return "no buffer space in the kernel";
    case ENOMEM: return "no memory in the kernel";
    case EINVAL: /* what the kernel says of a source address that is gone */
    case EADDRNOTAVAIL: return "local address not available";
    case ENODEV: return "network interface is gone";
    default: return "sending failed";
    }
}

int udp_route(const struct aq_addr *remote, struct aq_addr *local)
{
    union udp_name name;
    socklen_t size = udp_to_sockaddr(remote, &name);
    int error = 0;
    int fd = socket(name.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    /* Connecting a UDP socket sends nothing; it makes the kernel choose the source address. */
    if (connect(fd, &name.any, size) != 0 || getsockname(fd, &name.any, &size) != 0)
        error = errno;
    else if (!udp_from_sockaddr(&name, local))
        error = EAFNOSUPPORT;
    close(fd);
    local->port = 0;
    return error;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void udp_say(char *error, size_t error_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void udp_say(char *error, size_t error_size, const char *format, ...)
{
    va_list args;
    if (error == NULL || error_size == 0)
        return;
    va_start(args, format);
    vsnprintf(error, error_size, format, args);
    va_end(args);
}

/* Asks for one buffer size, first past the system's limit (root may), and tells what was granted.
 * The kernel doubles the number for its own overhead and reports it doubled. */
static uint32_t udp_set_buffer(int fd, int force, int name, uint32_t bytes)
{
    int value = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;
    socklen_t size = sizeof value;
    if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) != 0)
        (void)setsockopt(fd, SOL_SOCKET, name, &value, sizeof value);
    if (getsockopt(fd, SOL_SOCKET, name, &value, &size) != 0 || value < 0)
        return 0;
    return (uint32_t)value / 2;
}

static void udp_set_options(struct udp *udp, const struct udp_options *options)
{
    const struct udp_setting *rows = udp->family == 4 ? udp_settings_v4 : udp_settings_v6;
    size_t count = udp->family == 4 ? sizeof udp_settings_v4 / sizeof *rows
                                    : sizeof udp_settings_v6 / sizeof *rows;
    for (size_t i = 0; i < count; i++)
        (void)setsockopt(udp->fd, rows[i].level, rows[i].name, &rows[i].value,
                         sizeof rows[i].value);
    int mark = options->ecn, on = 1, off = 0;
    bool v4 = udp->family == 4;
    if (options->recv_ttl)
        (void)setsockopt(udp->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6,
                         v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, &on, sizeof on);
    if (mark != 0
        && setsockopt(udp->fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &mark,
                      sizeof mark)
               == 0)
        udp->ecn = options->ecn;

    uint32_t in = udp_set_buffer(udp->fd, SO_RCVBUFFORCE, SO_RCVBUF, options->buffer_bytes);
    uint32_t out = udp_set_buffer(udp->fd, SO_SNDBUFFORCE, SO_SNDBUF, options->buffer_bytes);
    udp->granted_bytes = in < out ? in : out;

    udp->gro = !options->no_gro && setsockopt(udp->fd, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
    /* A segment size of 0 changes nothing, but a kernel without GSO refuses the name. */
    udp->gso = !options->no_gso && setsockopt(udp->fd, SOL_UDP, UDP_SEGMENT, &off, sizeof off) == 0;
}

static void udp_say_bind(const struct aq_addr *addr, int why, char *error, size_t error_size)
{
    char text[64];
    aq_addr_text(addr, text, sizeof text);
    if (why == EADDRINUSE)
        udp_say(
            error, error_size,
            "cannot listen on %s: port in use by another program (choose another, or 0 for any)",
            text);
    else if (why == EACCES || why == EPERM)
        udp_say(error, error_size,
                "cannot listen on %s: no permission (ports below 1024 need root or "
                "CAP_NET_BIND_SERVICE)",
                text);
    else if (why == EADDRNOTAVAIL)
        udp_say(error, error_size, "cannot listen on %s: this machine has no such address", text);
    else
        udp_say(error, error_size, "cannot listen on %s: %s", text, strerror(why));
}

int udp_open(struct udp *udp, const struct aq_addr *addr, const struct udp_options *options,
             char *error, size_t error_size)
{
    union udp_name name;
    int on = 1, why;
    memset(udp, 0, sizeof *udp);
    udp->fd = -1;
    if (addr->family != 4 && addr->family != 6) {
        udp_say(error, error_size, "cannot open a UDP socket: the address has no family");
        return EAFNOSUPPORT;
    }
    udp->family = addr->family;
    socklen_t size = udp_to_sockaddr(addr, &name);
    udp->fd = socket(name.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (udp->fd < 0) {
        why = errno;
        udp_say(error, error_size, "cannot open a UDP socket for IPv%u: %s", addr->family,
                strerror(why));
        return why;
    }
    /* Without V6ONLY an IPv6 socket would also take the IPv4 port, and name IPv4 peers in a second
     * way. */
    if ((udp->family == 6 && setsockopt(udp->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        || bind(udp->fd, &name.any, size) != 0) {
        why = errno;
        udp_say_bind(addr, why, error, error_size);
        udp_close(udp);
        return why;
    }
    size = sizeof name;
    if (getsockname(udp->fd, &name.any, &size) != 0 || !udp_from_sockaddr(&name, &udp->local)) {
        why = errno != 0 ? errno : EAFNOSUPPORT;
        udp_say(error, error_size, "cannot read a socket's address: %s", strerror(why));
        udp_close(udp);
        return why;
    }
    udp_set_options(udp, options);
    return 0;
}

void udp_connect(struct udp *udp, const struct aq_addr *peer)
{
    union udp_name name;
    socklen_t size = udp_to_sockaddr(peer, &name);
    assert(peer->family == udp->family);
    if (connect(udp->fd, &name.any, size) == 0)
        udp->peer = *peer;
}

void udp_close(struct udp *udp)
{
    if (udp->fd >= 0)
        close(udp->fd);
    udp->fd = -1;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static const struct sock_extended_err *udp_find_error(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
        bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
        if ((v4 || v6) && c->cmsg_len >= CMSG_LEN(sizeof(struct sock_extended_err)))
            return (const struct sock_extended_err *)(const void *)CMSG_DATA(c);
    }
    return NULL;
}

/* A hop limit that ended on the way: that is what openers of NAT traversal are sent with, and it
 * says nothing of who they were meant for. */
static bool udp_is_expired(const struct sock_extended_err *e)
{
    if (e->ee_origin == SO_EE_ORIGIN_ICMP)
        return e->ee_type == ICMP_TIME_EXCEEDED;
    return e->ee_type == ICMP6_TIME_EXCEEDED;
}

static void udp_report(struct udp_io *io, const struct sock_extended_err *e,
                       const union udp_name *name)
{
    struct aq_addr remote;
    if (e->ee_origin != SO_EE_ORIGIN_ICMP && e->ee_origin != SO_EE_ORIGIN_ICMP6)
        return; /* our own failed send, which was counted when it failed */
    /* RFC 9000 §14.2.1: "packet too big" proves nothing; DPLPMTUD learns from its own probes. */
    if (e->ee_errno == EMSGSIZE || udp_is_expired(e) || !udp_from_sockaddr(name, &remote))
        return;
    io->counts.unreachable++;
    if (io->unreachable != NULL)
        io->unreachable(io->user, &remote, udp_error_text((int)e->ee_errno));
}

void udp_errors(struct udp *udp, struct udp_io *io)
{
    for (unsigned i = 0; i < UDP_ERRORS_MAX; i++) {
        union udp_name name;
        union udp_control control;
        struct msghdr msg;
        memset(&msg, 0, sizeof msg);
        memset(&name, 0, sizeof name);
        msg.msg_name = &name;
        msg.msg_namelen = sizeof name;
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        if (recvmsg(udp->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
        const struct sock_extended_err *e = udp_find_error(&msg);
        if (e != NULL)
            udp_report(io, e, &name);
    }
    /* Reading SO_ERROR clears it; otherwise the next good send would fail for an old one's sake. */
    int error = 0;
    socklen_t size = sizeof error;
    (void)getsockopt(udp->fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static int udp_control_int(const struct cmsghdr *c)
{
    int value = 0;
    uint8_t byte = 0;
    /* IP_TOS comes as one byte, all others as an int. */
    if (c->cmsg_len >= CMSG_LEN(sizeof value)) {
        memcpy(&value, CMSG_DATA(c), sizeof value);
        return value;
    }
    if (c->cmsg_len >= CMSG_LEN(sizeof byte))
        memcpy(&byte, CMSG_DATA(c), sizeof byte);
    return byte;
}

static void udp_read_v4(const struct cmsghdr *c, struct aq_datagram *d)
{
    struct in_pktinfo info;
    if (c->cmsg_type == IP_TOS) {
        d->ecn = (uint8_t)(udp_control_int(c) & UDP_TOS_ECN);
    } else if (c->cmsg_type == IP_TTL) {
        d->ttl = (uint8_t)udp_control_int(c);
    } else if (c->cmsg_type == IP_PKTINFO && c->cmsg_len >= CMSG_LEN(sizeof info)) {
        memcpy(&info, CMSG_DATA(c), sizeof info);
        memcpy(d->local.ip, &info.ipi_addr, 4);
        d->local.family = 4;
        d->ifindex = (uint32_t)info.ipi_ifindex;
    }
}

static void udp_read_v6(const struct cmsghdr *c, struct aq_datagram *d)
{
    struct in6_pktinfo info;
    if (c->cmsg_type == IPV6_TCLASS) {
        d->ecn = (uint8_t)(udp_control_int(c) & UDP_TOS_ECN);
    } else if (c->cmsg_type == IPV6_HOPLIMIT) {
        d->ttl = (uint8_t)udp_control_int(c);
    } else if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_len >= CMSG_LEN(sizeof info)) {
        memcpy(&info, CMSG_DATA(c), sizeof info);
        memcpy(d->local.ip, &info.ipi6_addr, 16);
        d->local.family = 6;
        d->ifindex = info.ipi6_ifindex;
        if (udp_is_link_local(&d->local))
            d->local.scope_id = info.ipi6_ifindex;
    }
}

static void udp_read_control(struct udp *udp, struct udp_io *io, struct msghdr *msg,
                             struct aq_datagram *d)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP) {
            udp_read_v4(c, d);
        } else if (c->cmsg_level == IPPROTO_IPV6) {
            udp_read_v6(c, d);
        } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            d->segment = (uint16_t)udp_control_int(c);
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t dropped = (uint32_t)udp_control_int(c);
            io->counts.rxq_overflows += (uint32_t)(dropped - udp->rxq_overflows);
            udp->rxq_overflows = dropped;
        }
    }
}

/* Fills *d from one received message; false when it is of no use. */
static bool udp_read_message(struct udp *udp, struct udp_io *io, unsigned i, struct aq_datagram *d)
{
    struct msghdr *msg = &io->msgs[i].msg_hdr;
    memset(d, 0, sizeof *d);
    d->data = io->iov[i].iov_base;
    d->size = io->msgs[i].msg_len;
    d->socket = udp->index;
    udp_read_control(udp, io, msg, d);
    d->local.port = d->local.family != 0 ? udp->local.port : 0;
    /* An answer that names the interface is sent through it even where no route to the remote is: a
     * host with two ways in and one way out would not answer what comes by the other. */
    if (!udp_is_link_local(&d->local))
        d->ifindex = 0;
    if ((msg->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        io->counts.truncated++;
        return false;
    }
    if (d->size == 0 || !udp_from_sockaddr(&io->names[i], &d->remote))
        return false; /* an empty datagram is valid UDP and never QUIC */
    if (d->segment >= d->size)
        d->segment = 0;
    uint64_t packets = d->segment != 0 ? (d->size + d->segment - 1U) / d->segment : 1;
    io->counts.recv_packets += packets;
    io->counts.recv_bytes += d->size;
    if (packets > 1) {
        io->counts.gro_packets += packets;
        io->counts.gro_bytes += d->size;
    }
    return true;
}

unsigned udp_recv(struct udp *udp, struct udp_io *io, const struct aq_buffer *buffers,
                  struct aq_datagram *out, unsigned n, bool *more)
{
    assert(n > 0 && n <= UDP_BATCH);
    for (unsigned i = 0; i < n; i++) {
        struct msghdr *msg = &io->msgs[i].msg_hdr;
        io->iov[i].iov_base = buffers[i].data;
        io->iov[i].iov_len = buffers[i].size;
        msg->msg_name = &io->names[i];
        msg->msg_namelen = sizeof io->names[i];
        msg->msg_iov = &io->iov[i];
        msg->msg_iovlen = 1;
        msg->msg_control = io->controls[i].bytes;
        msg->msg_controllen = sizeof io->controls[i].bytes;
        msg->msg_flags = 0;
    }
    int got = -1;
    *more = false;
    for (unsigned tries = 0; tries < UDP_RECV_TRIES && got < 0; tries++) {
        got = recvmmsg(udp->fd, io->msgs, n, MSG_DONTWAIT, NULL);
        io->counts.recv_calls++;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (got < 0 && errno != EINTR)
            udp_errors(udp, io);
    }
    unsigned count = 0;
    for (unsigned i = 0; got > 0 && i < (unsigned)got; i++)
        if (udp_read_message(udp, io, i, &out[count]))
            count++;
    *more = got == (int)n || got < 0;
    return count;
}
