/* vanish.c -- a loop's socket outlives everything that happens to its interface: a link that goes
 * down, a device that is removed and comes again, ICMP errors. What is sent meanwhile is lost and
 * counted (RFC 9002 §6 makes nothing more of it). In a network namespace, with a TUN device whose
 * other end is the test: it sees each packet that leaves, and says what comes. */
#include "reactor/antq_reactor.h"
#include "reactor/clock.h"
#include "tests/ns.h"

#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

TestSuite(vanish, .timeout = 120);

enum {
    IP_SIZE = 20,
    UDP_SIZE = 8,
    ICMP_SIZE = 8,
    PACKET_MAX = 2048
};

static const uint8_t theirs[4] = {10, 77, 0, 9};
static uint8_t ours[4] = {10, 77, 0, 1};
static char error[256];
static struct {
    unsigned count;
    struct aq_datagram last;
    uint8_t first;
} heard;

static void hear(void *user, struct aq_loop *loop, const struct aq_datagram *d, unsigned n)
{
    (void)user;
    (void)loop;
    heard.count += n;
    heard.last = d[n - 1];
    heard.first = d[n - 1].data[0];
}

static struct aq_loop *open_loop(struct aq_path_addr *path)
{
    struct aq_loop_config config;
    struct aq_addr any = {.family = 4}, bound;
    aq_loop_config_init(&config);
    config.endpoint.max_conns = config.endpoint.max_half_open = 8;
    config.endpoint.memory_bytes = 16u << 20;
    config.on_datagrams = hear;
    config.recv_ttl = true;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    cr_assert_eq(aq_listen(loop, &any, &bound, error, sizeof error), AQ_OK, "%s", error);
    memset(path, 0, sizeof *path);
    path->local = (struct aq_addr){.family = 4, .port = bound.port};
    path->remote = (struct aq_addr){.family = 4, .port = 4433};
    memcpy(path->local.ip, ours, 4);
    memcpy(path->remote.ip, theirs, 4);
    return loop;
}

static int open_tun(void)
{
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    memcpy(request.ifr_name, "nt0", 4);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        cr_skip_test("no TUN devices");
    NS_RUN("ip addr add 10.77.0.1/24 dev nt0 && ip link set nt0 up");
    return fd;
}

static struct aq_loop_stats stats_of(const struct aq_loop *loop)
{
    struct aq_loop_stats stats = {.size = sizeof stats};
    aq_loop_stats(loop, &stats);
    return stats;
}

/* The next UDP packet that left, with its IP header; 0: none. */
static size_t left_by(int tun, uint8_t packet[PACKET_MAX])
{
    uint64_t give_up = clock_now_us() + 2000000;
    while (clock_now_us() < give_up) {
        struct pollfd fd = {tun, POLLIN, 0};
        (void)poll(&fd, 1, 100);
        ssize_t got = read(tun, packet, PACKET_MAX);
        if (got >= IP_SIZE + UDP_SIZE && packet[0] == 0x45 && packet[9] == IPPROTO_UDP)
            return (size_t)got;
    }
    return 0;
}

static void put_sum(uint8_t *at, const uint8_t *data, size_t size)
{
    uint32_t sum = 0;
    at[0] = at[1] = 0;
    for (size_t i = 0; i < size; i++)
        sum += i % 2 == 0 ? (uint32_t)data[i] << 8 : data[i];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

/* An IP packet to us comes from the device. */
static void come(int tun, const uint8_t from[4], uint8_t protocol, const uint8_t *body, size_t size)
{
    uint8_t packet[PACKET_MAX] = {0x45};
    size_t total = IP_SIZE + size;
    cr_assert_leq(total, PACKET_MAX);
    packet[2] = (uint8_t)(total >> 8);
    packet[3] = (uint8_t)total;
    packet[8] = 41;
    packet[9] = protocol;
    memcpy(packet + 12, from, 4);
    memcpy(packet + 16, ours, 4);
    put_sum(packet + 10, packet, IP_SIZE);
    memcpy(packet + IP_SIZE, body, size);
    cr_assert_eq(write(tun, packet, total), (ssize_t)total);
}

/* An ICMP error about a packet that left. */
static void refuse(int tun, uint8_t type, uint8_t code, const uint8_t *packet, size_t size)
{
    static const uint8_t router[4] = {10, 77, 0, 254};
    uint8_t body[ICMP_SIZE + PACKET_MAX] = {type, code};
    memcpy(body + ICMP_SIZE, packet, size);
    put_sum(body + 2, body, ICMP_SIZE + size);
    come(tun, router, IPPROTO_ICMP, body, ICMP_SIZE + size);
}

static void step(struct aq_loop *loop)
{
    struct pollfd fd = {aq_loop_fd(loop), POLLIN, 0};
    (void)poll(&fd, 1, 20);
    cr_assert_eq(aq_loop_step(loop), 0);
}

static bool sends(struct aq_loop *loop, const struct aq_path_addr *to, unsigned ttl, int tun)
{
    static const uint8_t word[] = "?anybody there";
    uint8_t packet[PACKET_MAX];
    size_t got;
    if (!aq_loop_send_raw(loop, to, ttl, word, sizeof word))
        return false;
    got = left_by(tun, packet);
    cr_expect_eq(got, IP_SIZE + UDP_SIZE + sizeof word);
    cr_expect_eq(packet[1] & 3, AQ_ECN_NOT, "nobody would heed a mark");
    cr_expect(ttl == 0 ? packet[8] > 30 : packet[8] == ttl, "%u", packet[8]);
    cr_expect_arr_eq(packet + 12, ours, 4);
    cr_expect_arr_eq(packet + IP_SIZE + UDP_SIZE, word, sizeof word);
    return true;
}

/* A datagram comes in. */
static void hears(struct aq_loop *loop, const struct aq_path_addr *path, int tun)
{
    uint16_t from = path->remote.port, to = path->local.port;
    uint8_t body[UDP_SIZE + 4] = {(uint8_t)(from >> 8),
                                  (uint8_t)from,
                                  (uint8_t)(to >> 8),
                                  (uint8_t)to,
                                  0,
                                  sizeof body,
                                  0,
                                  0,
                                  '!'};
    unsigned before = heard.count;
    come(tun, theirs, IPPROTO_UDP, body, sizeof body);
    for (unsigned i = 0; i < 200 && heard.count == before; i++)
        step(loop);
    cr_assert_eq(heard.count, before + 1);
    cr_expect_eq(heard.first, '!');
    cr_expect_eq(heard.last.ttl, 41);
    cr_expect_arr_eq(heard.last.remote.ip, theirs, 4);
    cr_expect_arr_eq(heard.last.local.ip, ours, 4);
}

Test(vanish, a_link_goes_down_and_up)
{
    ns_enter();
    struct aq_path_addr path, named;
    int tun = open_tun();
    struct aq_loop *loop = open_loop(&path);
    named = path;
    named.ifindex = if_nametoindex("nt0");
    cr_assert(sends(loop, &named, 3, tun) && sends(loop, &path, 0, tun));
    hears(loop, &path, tun);
    NS_RUN("ip link set nt0 down");
    for (uint64_t i = 1; i <= 5; i++) {
        cr_expect_not(sends(loop, i % 2 == 0 ? &path : &named, 3, tun));
        step(loop);
        cr_expect_eq(stats_of(loop).send_errors, i);
    }
    NS_RUN("ip link set nt0 up");
    cr_expect(sends(loop, &named, 3, tun) && sends(loop, &path, 255, tun));
    hears(loop, &path, tun);
    cr_expect_eq(stats_of(loop).send_errors, 5);
    aq_loop_free(loop);
    close(tun);
}

/* Answers go where the routes lead, but for an address that several links may have. */
Test(vanish, only_a_link_local_address_names_its_interface)
{
    static const uint8_t link_local[4] = {169, 254, 7, 1};
    ns_enter();
    struct aq_path_addr path;
    int tun = open_tun();
    struct aq_loop *loop = open_loop(&path);
    hears(loop, &path, tun);
    cr_expect_eq(heard.last.ifindex, 0);
    NS_RUN("ip addr add 169.254.7.1/16 dev nt0");
    memcpy(ours, link_local, sizeof ours);
    hears(loop, &path, tun);
    cr_expect_arr_eq(heard.last.local.ip, link_local, 4);
    cr_expect_eq(heard.last.ifindex, if_nametoindex("nt0"));
    aq_loop_free(loop);
    close(tun);
}

Test(vanish, a_device_is_removed_and_comes_again)
{
    ns_enter();
    struct aq_path_addr path, named;
    int tun = open_tun();
    struct aq_loop *loop = open_loop(&path);
    named = path;
    named.ifindex = if_nametoindex("nt0");
    cr_assert(sends(loop, &named, 3, tun));
    close(tun);
    cr_assert_eq(if_nametoindex("nt0"), 0);
    cr_expect_not(sends(loop, &named, 3, tun));
    cr_expect_not(sends(loop, &path, 3, tun));
    step(loop);
    tun = open_tun();
    cr_expect_neq(if_nametoindex("nt0"), named.ifindex);
    cr_expect_not(sends(loop, &named, 3, tun), "that one will not come again");
    cr_expect(sends(loop, &path, 3, tun));
    hears(loop, &path, tun);
    NS_RUN("ip addr flush dev nt0 && ip addr add 10.77.0.2/24 dev nt0");
    cr_expect_not(sends(loop, &path, 3, tun), "the address is gone");
    NS_RUN("ip addr add 10.77.0.1/24 dev nt0");
    cr_expect(sends(loop, &path, 3, tun));
    cr_expect_eq(stats_of(loop).send_errors, 4);
    aq_loop_free(loop);
    close(tun);
}

/* Every ICMP error makes the kernel fail the socket's next call: which is another datagram's. */
Test(vanish, icmp_errors_cost_no_datagram)
{
    static const struct {
        uint8_t type, code;
        bool counts; /* as unreachable */
    } rows[] = {{3, 0, true},  {3, 1, true},   {3, 2, true},   {3, 3, true},  {3, 5, true},
                {3, 8, true},  {3, 9, true},   {3, 10, true},  {3, 13, true}, {3, 15, true},
                {3, 4, false}, {11, 0, false}, {11, 1, false}, {12, 0, true}};
    ns_enter();
    struct aq_path_addr path;
    uint8_t packet[PACKET_MAX];
    int tun = open_tun();
    struct aq_loop *loop = open_loop(&path);
    uint64_t unreachable = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert(aq_loop_send_raw(loop, &path, 2, (const uint8_t *)"opener", 6));
        size_t size = left_by(tun, packet);
        cr_assert_gt(size, 0);
        refuse(tun, rows[i].type, rows[i].code, packet, size);
        usleep(20000);
        cr_expect(sends(loop, &path, 0, tun), "after ICMP %u, %u", rows[i].type, rows[i].code);
        step(loop);
        unreachable += rows[i].counts;
        cr_expect_eq(stats_of(loop).unreachable, unreachable, "after ICMP %u, %u", rows[i].type,
                     rows[i].code);
    }
    hears(loop, &path, tun);
    cr_expect_eq(stats_of(loop).send_errors, 0);
    aq_loop_free(loop);
    close(tun);
}
