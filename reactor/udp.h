/* udp.h -- one UDP socket in batches: GRO and GSO, ECN, packet info, ICMP errors.
 *
 * The loop owns the sockets and one struct udp_io, the scratch of the system calls; nothing here
 * allocates or blocks. A datagram comes in as struct aq_datagram in a lent buffer, a train goes out
 * as struct aq_train; both are antq.h's. */
#ifndef AQ_REACTOR_UDP_H
#define AQ_REACTOR_UDP_H

#include "core/antq.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    UDP_BATCH = 64,        /* messages of one system call at most: one train without GSO */
    UDP_SEGMENTS_MAX = 64, /* the kernel's UDP_MAX_SEGMENTS, before Linux 6.9 doubled it */
    UDP_CONTROL = 192,     /* bytes of control messages, more than all we ask for together */
    UDP_NO_GSO_MAX = 8, /* destinations remembered as unable to take GSO; more: the whole socket */
};

struct udp_options {
    uint32_t buffer_bytes; /* SO_RCVBUF and SO_SNDBUF */
    bool no_gso, no_gro;
    bool recv_ttl; /* datagrams tell their hop limit */
    uint8_t ecn;   /* enum aq_ecn: the mark of most trains, which then need not say so each time */
};

/* What the system calls of all sockets of a loop did. */
struct udp_counts {
    uint64_t recv_calls, recv_packets, recv_bytes, gro_packets, gro_bytes, rxq_overflows, truncated;
    uint64_t send_calls, send_packets, send_bytes, send_errors, gso_fallbacks;
    uint64_t unreachable;
};

struct udp {
    int fd;
    uint8_t family; /* 4 or 6 */
    bool gso, gro;
    uint8_t ecn;            /* the mark of what is sent without one of its own */
    uint16_t index;         /* the loop's number of this socket, copied into datagrams */
    uint32_t rxq_overflows; /* the kernel's counter as last seen */
    uint32_t granted_bytes; /* the smaller of the two socket buffers that the kernel granted */
    unsigned no_gso_count;
    struct aq_addr local; /* as bound, with its port; all zero address: any */
    struct aq_addr peer;  /* as connected; family 0: not */
    struct aq_addr no_gso[UDP_NO_GSO_MAX];
};

union udp_control {
    struct cmsghdr align;
    uint8_t bytes[UDP_CONTROL];
};

union udp_name {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Scratch for one system call, counters, and who hears of unreachable destinations. Zeroed at the
 * start. */
struct udp_io {
    struct udp_counts counts;
    /* A send or an ICMP message said that remote cannot be reached; text is static. NULL: nobody
     * asks. */
    void (*unreachable)(void *user, const struct aq_addr *remote, const char *text);
    void *user;
    struct mmsghdr msgs[UDP_BATCH];
    struct iovec iov[UDP_BATCH];
    union udp_name names[UDP_BATCH];
    union udp_control controls[UDP_BATCH];
    unsigned train[UDP_BATCH]; /* which train a piece (iov) to be sent belongs to */
};

/* Opens a non-blocking socket bound to addr (port 0: any) and sets every option. 0, or an errno
 * with a sentence in error. Options that the kernel does not know switch off what needs them. */
int udp_open(struct udp *udp, const struct aq_addr *addr, const struct udp_options *options,
             char *error, size_t error_size);
void udp_close(struct udp *udp);

/* Ties a socket that is bound to one address to one peer: datagrams of others come no more, and
 * those to the peer need no route looked up for each. Where the kernel refuses all stays as it was.
 */
void udp_connect(struct udp *udp, const struct aq_addr *peer);

/* One recvmmsg into n buffers (at most UDP_BATCH). Returns how many of out were filled; each lies
 * at the start of its own buffer. *more tells whether the socket may hold more. ICMP errors met on
 * the way are reported. */
unsigned udp_recv(struct udp *udp, struct udp_io *io, const struct aq_buffer *buffers,
                  struct aq_datagram *out, unsigned n, bool *more);

/* Sends n trains, sent[i] being the bytes of trains[i] already sent (the caller's, 0 at first).
 * True: all are gone, or lost for good and counted. False: the socket is full; call again with the
 * same arguments when it is writable. */
bool udp_send(struct udp *udp, struct udp_io *io, const struct aq_train *trains, uint32_t *sent,
              unsigned n);

/* Empties the error queue (a bounded part of it) and reports each ICMP error. */
void udp_errors(struct udp *udp, struct udp_io *io);

/* The local address the kernel would use towards remote, without a port. 0 or an errno. */
int udp_route(const struct aq_addr *remote, struct aq_addr *local);

/* Whether it means something on one link only: 169.254.0.0/16, fe80::/10. */
bool udp_is_link_local(const struct aq_addr *addr);

/* Between our addresses and the kernel's. */
socklen_t udp_to_sockaddr(const struct aq_addr *addr, union udp_name *name);
bool udp_from_sockaddr(const union udp_name *name, struct aq_addr *addr);

/* "connection refused" and so on; static. */
const char *udp_error_text(int error);

#endif
