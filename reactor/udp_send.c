/* udp_send.c -- sends trains: one UDP_SEGMENT message per train, several trains per sendmmsg.
 *
 * A train is a row of equal datagrams; the kernel (or the network card) cuts it. Everything is made
 * of chunks: with GSO a chunk is as much of the train as one message may carry, without it a chunk
 * is one datagram. So the fallback is the same code with smaller chunks, and an interrupted train
 * goes on at its byte offset, which the caller keeps. And where many connections have a datagram
 * each for the same machine, those of one size become one message, too.
 *
 * GSO can fail where a single datagram would not: EIO (a device without checksum offload, IPsec),
 * EINVAL (segment above the route's MTU, no checksums), EMSGSIZE. Then the same bytes are sent one
 * by one at once, and the destination is remembered; when the single datagram fails in the same way
 * the cause was another one, and it is forgotten again. Firewalls and routing errors (EPERM,
 * ENETUNREACH, ENOBUFS...) lose the chunk: to QUIC that is loss like any other (RFC 9002 §6), and
 * the core hears of it as a soft event.
 *
 * Called by reactor.c. */
#include "reactor/udp.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#ifndef SOL_UDP
#    define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#    define UDP_SEGMENT 103
#endif

enum {
    UDP_MAX_V4 = 65507, /* 65,535 less the IPv4 and UDP headers */
    UDP_MAX_V6 =
        65487, /* the same with IPv6's: the kernel counts its header too when it segments */
};

/* ---- destinations that cannot take GSO ------------------------------------------------------- */

/* A path, for this purpose, is the remote machine: its port changes nothing. */
static bool udp_same_host(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && a->scope_id == b->scope_id
           && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static unsigned udp_no_gso_find(const struct udp *udp, const struct aq_addr *remote)
{
    unsigned i = 0;
    while (i < udp->no_gso_count && !udp_same_host(&udp->no_gso[i], remote))
        i++;
    return i;
}

static bool udp_can_gso(const struct udp *udp, const struct aq_train *train)
{
    return udp->gso && (train->flags & AQ_TRAIN_NO_GSO) == 0
           && udp_no_gso_find(udp, &train->remote) == udp->no_gso_count;
}

static void udp_no_gso_add(struct udp *udp, const struct aq_addr *remote)
{
    /* So many hosts in a row: it is our own side that cannot. */
    if (udp->no_gso_count == UDP_NO_GSO_MAX)
        udp->gso = false;
    else
        udp->no_gso[udp->no_gso_count++] = *remote;
}

static void udp_no_gso_forget(struct udp *udp, const struct aq_addr *remote)
{
    unsigned i = udp_no_gso_find(udp, remote);
    if (i < udp->no_gso_count)
        udp->no_gso[i] = udp->no_gso[--udp->no_gso_count];
}

/* ---- one message ----------------------------------------------------------------------------- */

static uint32_t udp_chunk(const struct udp *udp, const struct aq_train *train, uint32_t offset)
{
    uint32_t rest = train->size - offset;
    if (rest <= train->segment)
        return rest;
    uint32_t max = train->remote.family == 6 ? UDP_MAX_V6 : UDP_MAX_V4;
    uint32_t count = max / train->segment;
    if (count < 2 || !udp_can_gso(udp, train))
        return train->segment;
    if (count > UDP_SEGMENTS_MAX)
        count = UDP_SEGMENTS_MAX;
    uint32_t chunk = count * train->segment;
    return rest < chunk ? rest : chunk;
}

static void udp_put_control(struct msghdr *msg, int level, int type, const void *data, size_t size)
{
    uint8_t *at = (uint8_t *)msg->msg_control + msg->msg_controllen;
    struct cmsghdr head;
    assert(msg->msg_controllen + CMSG_SPACE(size) <= UDP_CONTROL);
    memset(&head, 0, sizeof head);
    memset(at, 0, CMSG_SPACE(size));
    head.cmsg_level = level;
    head.cmsg_type = type;
    head.cmsg_len = CMSG_LEN(size);
    memcpy(at, &head, sizeof head);
    memcpy(at + CMSG_LEN(0), data, size);
    msg->msg_controllen += CMSG_SPACE(size);
}

/* Names the destination, unless the socket is connected to it. */
static void udp_put_name(const struct udp *udp, const struct aq_train *train, union udp_name *name,
                         struct msghdr *msg)
{
    if (udp->peer.port == train->remote.port && udp_same_host(&udp->peer, &train->remote))
        return;
    msg->msg_name = name;
    msg->msg_namelen = udp_to_sockaddr(&train->remote, name);
}

/* Names the source address, unless the socket is bound to it and the kernel can choose no other.
 * With an interface it could: no address then means the interface's first one. */
static void udp_put_source(const struct udp *udp, const struct aq_train *train, struct msghdr *msg)
{
    bool bound = udp_same_host(&train->local, &udp->local);
    bool named = train->local.family == udp->family;
    const uint8_t *source = named ? train->local.ip : udp->local.ip;
    if ((!named || bound) && train->ifindex == 0)
        return;
    if (udp->family == 4) {
        struct in_pktinfo info;
        memset(&info, 0, sizeof info);
        info.ipi_ifindex = (int)train->ifindex;
        memcpy(&info.ipi_spec_dst, source, 4);
        udp_put_control(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else {
        struct in6_pktinfo info;
        memset(&info, 0, sizeof info);
        info.ipi6_ifindex = train->ifindex;
        memcpy(&info.ipi6_addr, source, 16);
        udp_put_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

static void udp_put_piece(struct iovec *piece, const uint8_t *data, uint32_t size)
{
    /* iovec has no const: the pointer is copied, the kernel only reads. */
    memcpy(&piece->iov_base, &data, sizeof data);
    piece->iov_len = size;
}

static void udp_put_message(const struct udp *udp, struct udp_io *io, unsigned i,
                            struct iovec *piece, const struct aq_train *train, uint32_t offset)
{
    struct msghdr *msg = &io->msgs[i].msg_hdr;
    uint32_t chunk = udp_chunk(udp, train, offset);
    int ecn = train->ecn & 3, ttl = train->ttl;
    bool v4 = udp->family == 4;
    udp_put_piece(piece, train->data + offset, chunk);
    memset(msg, 0, sizeof *msg);
    msg->msg_iov = piece;
    msg->msg_iovlen = 1;
    msg->msg_control = io->controls[i].bytes;
    udp_put_name(udp, train, &io->names[i], msg);
    udp_put_source(udp, train, msg);
    if (ecn != udp->ecn)
        udp_put_control(msg, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, &ecn,
                        sizeof ecn);
    if (ttl != 0)
        udp_put_control(msg, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl,
                        sizeof ttl);
    if (chunk > train->segment)
        udp_put_control(msg, SOL_UDP, UDP_SEGMENT, &train->segment, sizeof train->segment);
    if (msg->msg_controllen == 0)
        msg->msg_control = NULL;
}

/* ---- many ------------------------------------------------------------------------------------ */

static bool udp_goes_along(const struct aq_train *a, const struct aq_train *b)
{
    return a->remote.port == b->remote.port && udp_same_host(&a->remote, &b->remote)
           && memcmp(&a->local, &b->local, sizeof a->local) == 0 && a->ifindex == b->ifindex
           && a->ecn == b->ecn && a->ttl == b->ttl && a->flags == b->flags;
}

/* Puts a train of one datagram behind others of the same size to the same place, in the message
 * that they make: connections between two machines share a train. Only the last of a message may
 * be shorter. False: it needs a message of its own. head is the message's first train. */
static bool udp_join(const struct udp *udp, struct msghdr *msg, union udp_control *control,
                     const struct aq_train *head, const struct aq_train *train)
{
    size_t pieces = msg->msg_iovlen, first = msg->msg_iov[0].iov_len;
    uint16_t segment = (uint16_t)first;
    uint32_t max = train->remote.family == 6 ? UDP_MAX_V6 : UDP_MAX_V4;
    if (first > head->segment || msg->msg_iov[pieces - 1].iov_len != first || train->size > first
        || train->size > train->segment || pieces == UDP_SEGMENTS_MAX || (pieces + 1) * first > max
        || !udp_goes_along(head, train) || !udp_can_gso(udp, train))
        return false;
    if (pieces == 1) {
        msg->msg_control = control->bytes;
        udp_put_control(msg, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    udp_put_piece(&msg->msg_iov[pieces], train->data, train->size);
    msg->msg_iovlen++;
    return true;
}

/* Writes messages for what is left of the trains, as many as one call takes. */
static unsigned udp_gather(const struct udp *udp, struct udp_io *io, const struct aq_train *trains,
                           const uint32_t *sent, unsigned n)
{
    unsigned count = 0, pieces = 0,
             head = 0; /* messages, what they are made of, the last's train */
    for (unsigned t = 0; t < n && pieces < UDP_BATCH; t++) {
        uint32_t offset = sent[t];
        if (offset == 0 && count > 0
            && udp_join(udp, &io->msgs[count - 1].msg_hdr, &io->controls[count - 1], &trains[head],
                        &trains[t])) {
            io->train[pieces++] = t;
            continue;
        }
        while (offset < trains[t].size && pieces < UDP_BATCH) {
            udp_put_message(udp, io, count++, &io->iov[pieces], &trains[t], offset);
            offset += (uint32_t)io->iov[pieces].iov_len;
            io->train[pieces++] = head = t;
        }
    }
    return count;
}

static void udp_advance(struct udp_io *io, const struct aq_train *trains, uint32_t *sent,
                        unsigned messages)
{
    const struct msghdr *last = &io->msgs[messages - 1].msg_hdr;
    unsigned pieces = (unsigned)(last->msg_iov + last->msg_iovlen - io->iov);
    for (unsigned i = 0; i < pieces; i++) {
        unsigned t = io->train[i];
        uint32_t bytes = (uint32_t)io->iov[i].iov_len;
        sent[t] += bytes;
        io->counts.send_bytes += bytes;
        io->counts.send_packets += (bytes + trains[t].segment - 1U) / trains[t].segment;
    }
}

static bool udp_is_gso_error(int error)
{
    return error == EIO || error == EINVAL || error == EMSGSIZE;
}

/* An ICMP error of an earlier datagram, perhaps to somebody else, makes the next call fail once. */
static bool udp_is_pending_error(int error)
{
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH
           || error == EHOSTDOWN || error == ENETDOWN || error == EPROTO || error == ENOPROTOOPT
           || error == EMSGSIZE || error == EACCES || error == ENONET || error == EOPNOTSUPP;
}

/* The first message failed for itself: cut it smaller, or count it as lost. */
static void udp_fail(struct udp *udp, struct udp_io *io, const struct aq_train *train,
                     uint32_t *sent, int error)
{
    uint32_t chunk = (uint32_t)io->iov[0].iov_len;
    if (udp_is_gso_error(error)) {
        if (chunk > train->segment || io->msgs[0].msg_hdr.msg_iovlen > 1) {
            udp_no_gso_add(udp, &train->remote);
            io->counts.gso_fallbacks++;
            return;
        }
        udp_no_gso_forget(udp, &train->remote);
    }
    *sent += chunk;
    io->counts.send_errors++;
    if (error == EMSGSIZE)
        return; /* an MTU probe too large for the device: the core learns it by the missing answer
                 */
    io->counts.unreachable++;
    if (io->unreachable != NULL)
        io->unreachable(io->user, &train->remote, udp_error_text(error));
}

/* One system call for what is left of the trains. 0, or the errno of its first message. */
static int udp_send_some(struct udp *udp, struct udp_io *io, const struct aq_train *trains,
                         uint32_t *sent, unsigned n)
{
    unsigned count = udp_gather(udp, io, trains, sent, n);
    int done;
    errno = 0;
    if (count == 1)
        done = sendmsg(udp->fd, &io->msgs[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
    else
        done = sendmmsg(udp->fd, io->msgs, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = errno;
    io->counts.send_calls++;
    if (done <= 0)
        return error != 0 ? error : EIO;
    udp_advance(io, trains, sent, (unsigned)done);
    return 0;
}

bool udp_send(struct udp *udp, struct udp_io *io, const struct aq_train *trains, uint32_t *sent,
              unsigned n)
{
    bool retried = false;
    unsigned first = 0;
    for (;;) {
        while (first < n && sent[first] >= trains[first].size)
            first++;
        if (first == n)
            return true;
        assert(trains[first].segment > 0 && trains[first].remote.family == udp->family);
        int error = udp_send_some(udp, io, trains + first, sent + first, n - first);
        if (error == EINTR)
            continue;
        if (error == EAGAIN || error == EWOULDBLOCK)
            return false;
        bool retry = !retried && udp_is_pending_error(error);
        if (retry)
            udp_errors(udp, io);
        else if (error != 0)
            udp_fail(udp, io, &trains[first], &sent[first], error);
        retried = retry;
    }
}
