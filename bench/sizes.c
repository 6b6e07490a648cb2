/* sizes.c -- looks at every UDP datagram on the loopback and tells how large their payloads were.
 *
 *     sizes           prints `ready`; after SIGUSR1, when nothing more comes, one JSON object
 *
 * A tap sees a GSO train as one packet; PACKET_VNET_HDR tells the size of its segments, which is
 * what counts. Copying headers costs time, so this runs beside transfers that are not timed. Needs
 * root (CAP_NET_RAW); meant for a network namespace in which nothing else speaks. */
#include "bench/bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum {
    SNAP = 256,
    QUIET_US = 200000 /* nothing for so long: all that was sent has passed */
};

struct counts {
    uint64_t datagrams, over, unseen; /* over: payloads above BENCH_PAYLOAD */
    uint32_t largest;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

/* A tap on the loopback, whose reads wait for QUIET_US at most. */
static int tap_open(void)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct timeval quiet = {.tv_usec = QUIET_US};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), yes = 1, size = 256 << 20;
    addr.sll_ifindex = (int)if_nametoindex("lo");
    if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes) < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet) < 0
        || bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        bench_die("no tap on the loopback: %s", strerror(errno));
    return fd;
}

/* The bytes before the UDP header, or 0 when it is none. */
static size_t udp_offset(const uint8_t *data, size_t size)
{
    struct ether_header ether;
    struct ip ip;
    struct ip6_hdr ip6;
    size_t at = sizeof ether;
    if (size < at + sizeof ip6 + sizeof(struct udphdr))
        return 0;
    memcpy(&ether, data, sizeof ether);
    if (ether.ether_type == htons(ETHERTYPE_IP)) {
        memcpy(&ip, data + at, sizeof ip);
        return ip.ip_p == IPPROTO_UDP && (ntohs(ip.ip_off) & IP_OFFMASK) == 0 ? at + 4 * ip.ip_hl
                                                                              : 0;
    }
    memcpy(&ip6, data + at, sizeof ip6);
    return ether.ether_type == htons(ETHERTYPE_IPV6) && ip6.ip6_nxt == IPPROTO_UDP ? at + sizeof ip6
                                                                                   : 0;
}

static void look(struct counts *counts, const uint8_t *data, size_t size)
{
    struct virtio_net_hdr head;
    struct udphdr udp;
    if (size < sizeof head)
        return;
    memcpy(&head, data, sizeof head);
    size_t at = udp_offset(data + sizeof head, size - sizeof head);
    if (at == 0 || sizeof head + at + sizeof udp > size)
        return;
    memcpy(&udp, data + sizeof head + at, sizeof udp);
    uint32_t all = ntohs(udp.len) - (uint32_t)sizeof udp, part = all;
    if (head.gso_type != VIRTIO_NET_HDR_GSO_NONE && head.gso_size > 0 && head.gso_size < all)
        part = head.gso_size;
    uint32_t datagrams = part > 0 ? (all + part - 1) / part : 1;
    counts->datagrams += datagrams;
    counts->largest = part > counts->largest ? part : counts->largest;
    counts->over += part > BENCH_PAYLOAD ? datagrams : 0;
}

int main(void)
{
    struct counts counts = {0};
    struct sigaction action = {.sa_handler = on_signal};
    int fd = tap_open();
    bool quiet = false;
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)puts("ready");
    (void)fflush(stdout);
    /* Told to end, it still reads what the kernel holds for it: a transfer is faster than this. */
    while (!ended || !quiet) {
        uint8_t data[SNAP];
        struct sockaddr_ll addr = {0};
        socklen_t addr_size = sizeof addr;
        ssize_t got = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&addr, &addr_size);
        quiet = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        if (got < 0 && !quiet && errno != EINTR)
            counts.unseen++; /* a kernel that cannot tell the segments of this packet */
        else if (got > 0 && addr.sll_pkttype == PACKET_HOST)
            look(&counts, data, (size_t)got);
    }
    struct tpacket_stats stats = {0};
    socklen_t stats_size = sizeof stats;
    (void)getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &stats_size);
    (void)printf("{\"datagrams\":%llu,\"largest\":%u,\"over\":%llu,\"unseen\":%llu}\n",
                 (unsigned long long)counts.datagrams, counts.largest,
                 (unsigned long long)counts.over,
                 (unsigned long long)counts.unseen + stats.tp_drops);
    return 0;
}
