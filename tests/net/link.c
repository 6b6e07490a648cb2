/* link.c -- a small link emulator in user space, over TUN devices.
 *
 *     link --left NETNS --right NETNS [impairments]
 *
 * Opens one TUN device in each of two network namespaces, gives them addresses, and carries IP
 * packets between them with delay, jitter, loss, reordering, duplication, corruption, a rate, a
 * queue and an MTU. It exists because the kernel's netem is not there in every container, and
 * because its decisions are not repeatable: here each packet's fate is a function of (seed,
 * direction, number of the packet), with the same count of draws for each, whatever is switched on.
 *
 *     namespace left                                                     namespace right
 *     program <-> TUN 10.9.0.1, fd09::1  <-> [rate | queue | delay] <-> TUN 10.9.0.2, fd09::2 <->
 * program
 *
 * The devices are opened without IFF_VNET_HDR, so that the kernel segments GSO trains before they
 * come here. Packets to multicast addresses (router solicitations and the like) are dropped and not
 * counted: a link of two needs none, and they would shift the numbers.
 *
 * A corrupted packet is a UDP one with a byte of its payload changed and the checksum made right
 * again, so that it reaches the program instead of the kernel's bin.
 *
 * It can also be a NAT that forgets (rebind.h), and write what each end sees as pcap: its own
 * captures lose nothing and need no other program.
 *
 * Prints `ready` when both ends are up, and one line of counts for each direction when it ends by
 * SIGTERM or SIGINT. Called by the scripts in this folder through ns.sh. */
#include "tests/net/packet.h"
#include "tests/net/rebind.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PACKET_MAX = 65535,
    READ_BUDGET = 64,
    SECOND_US = 1000000
};

struct settings {
    const char *left, *right; /* names of namespaces, or paths of them */
    double delay_ms, jitter_ms, reorder_ms;
    double loss, reorder, duplicate, corrupt; /* percent */
    double rate_mbit;                         /* 0: no limit */
    double blackhole_after_s;                 /* below 0: never */
    double on_s, off_s;           /* passes for on_s, then nothing for off_s, and again */
    double burst;                 /* most packets lost or corrupted in a row, 0: any */
    double corrupt_head;          /* corrupts among the first bytes only, 0: all */
    double drop_first, drop_last; /* these packets from the left are lost, 0: none */
    struct rebind_settings rebind;
    const char *capture_left, *capture_right;
    unsigned queue;      /* packets that may wait for the rate */
    unsigned mtu;        /* larger packets vanish, 0: none does */
    unsigned device_mtu; /* what the namespaces are told */
    uint64_t seed;
};

struct counts {
    uint64_t packets, bytes, delivered, lost, queue_full, too_big, blackholed;
    uint64_t reordered, duplicated, corrupted, unbound;
};

/* One way of the link. */
struct direction {
    const char *name;
    int in, out; /* TUN descriptors */
    bool from_left;
    FILE *sent, *came; /* captures where packets begin and end, or NULL */
    uint32_t lost_row, corrupt_row;
    uint64_t chance;     /* the generator's state */
    uint64_t busy_us;    /* when the rate lets the next packet begin */
    uint64_t ordered_us; /* no packet that keeps its order arrives before this */
    struct counts counts;
};

struct packet {
    uint64_t due_us, number; /* number keeps packets of one moment in order */
    struct direction *way;
    uint32_t size;
    uint8_t *data;
};

/* What is on its way, a binary heap with the next delivery on top. */
struct flight {
    struct packet *v;
    size_t count, room;
    uint64_t numbers;
};

static void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("link: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t clock_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * SECOND_US + (uint64_t)ts.tv_nsec / 1000;
}

/* SplitMix64. */
static uint64_t chance_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In [0, 1). */
static double chance_share(uint64_t *state)
{
    return (double)(chance_next(state) >> 11) / 9007199254740992.0;
}

/* ---- the heap ---------------------------------------------------------------------------------
 */

static bool packet_before(const struct packet *a, const struct packet *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->number < b->number);
}

static void packet_swap(struct packet *a, struct packet *b)
{
    struct packet t = *a;
    *a = *b;
    *b = t;
}

static void flight_push(struct flight *f, struct direction *way, const uint8_t *data, uint32_t size,
                        uint64_t due_us)
{
    if (f->count == f->room) {
        f->room = f->room ? 2 * f->room : 1024;
        f->v = realloc(f->v, f->room * sizeof *f->v);
    }
    uint8_t *copy = malloc(size);
    if (!f->v || !copy)
        die("out of memory");
    memcpy(copy, data, size);
    size_t i = f->count++;
    f->v[i] = (struct packet){due_us, f->numbers++, way, size, copy};
    for (; i && packet_before(&f->v[i], &f->v[(i - 1) / 2]); i = (i - 1) / 2)
        packet_swap(&f->v[i], &f->v[(i - 1) / 2]);
}

static struct packet flight_pop(struct flight *f)
{
    struct packet top = f->v[0];
    f->v[0] = f->v[--f->count];
    for (size_t i = 0, child; (child = 2 * i + 1) < f->count; i = child) {
        if (child + 1 < f->count && packet_before(&f->v[child + 1], &f->v[child]))
            child++;
        if (!packet_before(&f->v[child], &f->v[i]))
            break;
        packet_swap(&f->v[child], &f->v[i]);
    }
    return top;
}

/* ---- captures: pcap of raw IP, each end's view -------------------------------------------------
 */

static FILE *capture_open(const char *path)
{
    if (!path)
        return NULL;
    const uint32_t head[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, PACKET_MAX, 101};
    FILE *f = fopen(path, "we");
    if (!f || fwrite(head, sizeof head, 1, f) != 1)
        die("%s: %s", path, strerror(errno));
    return f;
}

static void capture_write(FILE *f, const uint8_t *data, uint32_t size, uint64_t now)
{
    const uint32_t head[4] = {(uint32_t)(now / SECOND_US), (uint32_t)(now % SECOND_US), size, size};
    if (f && (fwrite(head, sizeof head, 1, f) != 1 || fwrite(data, size, 1, f) != 1))
        die("cannot write a capture: %s", strerror(errno));
}

static void capture_close(FILE *f)
{
    if (f && fclose(f))
        die("cannot write a capture: %s", strerror(errno));
}

/* ---- the link ---------------------------------------------------------------------------------
 */

/* When the packet leaves the bottleneck; UINT64_MAX: its queue is full. The queue's length follows
 * from how far ahead the bottleneck is booked. */
static uint64_t way_bottleneck(struct direction *way, const struct settings *s, uint32_t size,
                               uint64_t now)
{
    if (s->rate_mbit <= 0)
        return now;
    double us_per_byte = 8.0 / s->rate_mbit;
    uint64_t start = way->busy_us > now ? way->busy_us : now;
    double waiting = (double)(start - now) / (us_per_byte * 1500);
    if (waiting >= s->queue)
        return UINT64_MAX;
    way->busy_us = start + (uint64_t)(us_per_byte * size);
    return way->busy_us;
}

/* True: this one, too. After `burst` in a row one is spared. */
static bool row_next(uint32_t *row, bool hit, const struct settings *s)
{
    if (hit && s->burst > 0 && *row >= s->burst)
        hit = false;
    *row = hit ? *row + 1 : 0;
    return hit;
}

static bool is_listed(const struct direction *way, const struct settings *s)
{
    double number = (double)way->counts.packets;
    return way->from_left && number >= s->drop_first && number <= s->drop_last;
}

/* Decides one packet's fate. All chances are drawn first, so that no setting shifts another's. */
static void way_carry(struct direction *way, const struct settings *s, struct flight *flight,
                      uint8_t *data, uint32_t size, uint64_t now)
{
    double lost = chance_share(&way->chance) * 100, corrupt = chance_share(&way->chance) * 100;
    double twice = chance_share(&way->chance) * 100, late = chance_share(&way->chance) * 100;
    double jitter = chance_share(&way->chance), hold = chance_share(&way->chance);
    uint64_t flip = chance_next(&way->chance);
    struct counts *c = &way->counts;
    c->packets++;
    c->bytes += size;
    if (s->mtu && size > s->mtu) {
        c->too_big++;
        return;
    }
    uint64_t due = way_bottleneck(way, s, size, now);
    if (due == UINT64_MAX) {
        c->queue_full++;
        return;
    }
    if (row_next(&way->lost_row, lost < s->loss, s) || is_listed(way, s)) {
        c->lost++;
        return;
    }
    if (row_next(&way->corrupt_row, corrupt < s->corrupt, s)
        && packet_corrupt(data, size, (uint32_t)s->corrupt_head, flip))
        c->corrupted++;
    due += (uint64_t)((s->delay_ms + s->jitter_ms * jitter) * 1000);
    /* Jitter alone keeps the order; a reordered packet is held back and lets others pass. */
    if (late < s->reorder) {
        c->reordered++;
        due += (uint64_t)(s->reorder_ms * (0.5 + hold / 2) * 1000);
    } else {
        way->ordered_us = due = due > way->ordered_us ? due : way->ordered_us;
    }
    flight_push(flight, way, data, size, due);
    if (twice < s->duplicate) {
        c->duplicated++;
        flight_push(flight, way, data, size, due);
    }
}

static bool is_black(const struct settings *s, uint64_t past_us)
{
    double past_s = (double)past_us / SECOND_US, turn_s = s->on_s + s->off_s;
    if (s->blackhole_after_s >= 0 && past_s >= s->blackhole_after_s)
        return true;
    return s->off_s > 0 && past_s - turn_s * (double)(uint64_t)(past_s / turn_s) >= s->on_s;
}

/* All moments (black holes, rebinding) are counted from the link's first packet. */
static void way_read(struct direction *way, const struct settings *s, struct flight *flight,
                     struct rebind *nat, uint64_t *start)
{
    static uint8_t data[PACKET_MAX];
    for (int i = 0; i < READ_BUDGET; i++) {
        ssize_t n = read(way->in, data, sizeof data);
        if (n <= 0)
            return;
        uint32_t size = (uint32_t)n;
        if (packet_is_multicast(data, size))
            continue;
        uint64_t now = clock_us();
        if (*start == 0) {
            *start = now;
            rebind_init(nat, s->rebind, s->seed, now);
        }
        capture_write(way->sent, data, size, now);
        if (is_black(s, now - *start))
            way->counts.blackholed++;
        else
            way_carry(way, s, flight, data, size, now);
    }
}

static void flight_deliver(struct flight *flight, struct rebind *nat)
{
    uint64_t now = clock_us();
    while (flight->count && flight->v[0].due_us <= now) {
        struct packet p = flight_pop(flight);
        bool bound = p.way->from_left ? rebind_out(nat, p.data, p.size, now)
                                      : rebind_in(nat, p.data, p.size, now);
        if (!bound) {
            p.way->counts.unbound++;
        } else {
            capture_write(p.way->came, p.data, p.size, now);
            if (write(p.way->out, p.data, p.size) == (ssize_t)p.size)
                p.way->counts.delivered++;
        }
        free(p.data);
    }
}

static void way_print(const struct direction *way)
{
    const struct counts *c = &way->counts;
#define N(x) (unsigned long long)c->x
    printf("%s: packets %llu bytes %llu delivered %llu lost %llu queue_full %llu too_big %llu "
           "blackholed %llu reordered %llu duplicated %llu corrupted %llu unbound %llu\n",
           way->name, N(packets), N(bytes), N(delivered), N(lost), N(queue_full), N(too_big),
           N(blackholed), N(reordered), N(duplicated), N(corrupted), N(unbound));
#undef N
}

static void link_run(const struct settings *s, int left, int right, int signals)
{
    struct direction ways[2] = {
        {.name = "left to right", .in = left, .out = right, .chance = s->seed, .from_left = true},
        {.name = "right to left", .in = right, .out = left, .chance = ~s->seed},
    };
    struct flight flight = {0};
    static struct rebind nat;
    uint64_t start = 0;
    ways[0].sent = ways[1].came = capture_open(s->capture_left);
    ways[0].came = ways[1].sent = capture_open(s->capture_right);
    for (;;) {
        struct pollfd fds[3] = {{left, POLLIN, 0}, {right, POLLIN, 0}, {signals, POLLIN, 0}};
        struct timespec wait = {1, 0};
        if (flight.count) {
            uint64_t now = clock_us(), due = flight.v[0].due_us;
            uint64_t us = due > now ? due - now : 0;
            wait = (struct timespec){(time_t)(us / SECOND_US), (long)(us % SECOND_US) * 1000};
        }
        if (ppoll(fds, 3, &wait, NULL) < 0 && errno != EINTR)
            die("ppoll: %s", strerror(errno));
        if (fds[2].revents)
            break;
        for (int i = 0; i < 2; i++)
            if (fds[i].revents)
                way_read(&ways[i], s, &flight, &nat, &start);
        flight_deliver(&flight, &nat);
    }
    way_print(&ways[0]);
    way_print(&ways[1]);
    printf("rebound %u times\n", (unsigned)nat.times);
    capture_close(ways[0].sent);
    capture_close(ways[1].sent);
    while (flight.count)
        free(flight_pop(&flight).data);
    free(flight.v);
}

/* ---- devices ----------------------------------------------------------------------------------
 */

static void device_address(const char name[IFNAMSIZ], unsigned host, unsigned mtu)
{
    struct ifreq r = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&r.ifr_addr;
    int s4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
        s6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s4 < 0)
        die("socket: %s", strerror(errno));
    memcpy(r.ifr_name, name, IFNAMSIZ);
    r.ifr_mtu = (int)mtu;
    if (ioctl(s4, SIOCSIFMTU, &r) < 0)
        die("%s: MTU %u: %s", name, mtu, strerror(errno));
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a090000u | host)};
    if (ioctl(s4, SIOCSIFADDR, &r) < 0)
        die("%s: address: %s", name, strerror(errno));
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xffffff00u)};
    if (ioctl(s4, SIOCSIFNETMASK, &r) < 0)
        die("%s: netmask: %s", name, strerror(errno));
    if (ioctl(s4, SIOCGIFFLAGS, &r) < 0)
        die("%s: flags: %s", name, strerror(errno));
    r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
    if (ioctl(s4, SIOCSIFFLAGS, &r) < 0)
        die("%s: up: %s", name, strerror(errno));

    /* struct in6_ifreq, from <linux/ipv6.h>, which does not go with the headers above. */
    struct {
        struct in6_addr addr;
        uint32_t prefix;
        int ifindex;
    } r6 = {.prefix = 64};
    r6.addr.s6_addr[0] = 0xfd;
    r6.addr.s6_addr[1] = 0x09;
    r6.addr.s6_addr[15] = (uint8_t)host;
    r6.ifindex = (int)if_nametoindex(name);
    if (s6 < 0 || ioctl(s6, SIOCSIFADDR, &r6) < 0)
        fprintf(stderr, "link: %s: no IPv6 (%s)\n", name, strerror(errno));
    close(s4);
    if (s6 >= 0)
        close(s6);
}

/* Opens a TUN device in a namespace. The device belongs to the namespace that its descriptor was
 * opened in, so this process may come back to its own. */
static int device_open(const char *netns, unsigned host, unsigned mtu)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", strchr(netns, '/') ? "" : "/run/netns/", netns);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC),
        there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || home < 0)
        die("%s: %s", path, strerror(errno));
    if (setns(there, CLONE_NEWNET) < 0)
        die("cannot enter %s: %s", path, strerror(errno));
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        die("/dev/net/tun: %s", strerror(errno));
    struct ifreq r = {.ifr_name = "link%d"};
    r.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(fd, TUNSETIFF, &r) < 0)
        die("cannot make a TUN device in %s: %s", path, strerror(errno));
    device_address(r.ifr_name, host, mtu);
    if (setns(home, CLONE_NEWNET) < 0)
        die("cannot come back: %s", strerror(errno));
    close(there);
    close(home);
    return fd;
}

/* ---- options ----------------------------------------------------------------------------------
 */

static const char usage[] =
    "usage: link --left NETNS --right NETNS [OPTION]...   (NETNS: a name of `ip netns`, or a path)\n"
    "  --delay MS --jitter MS           each way; jitter keeps the order         [0 0]\n"
    "  --loss PCT --duplicate PCT --corrupt PCT                                  [0 0 0]\n"
    "  --reorder PCT --reorder-by MS    held back by half to all of MS           [0 5]\n"
    "  --rate MBIT --queue PACKETS      a bottleneck and what may wait for it    [none 1000]\n"
    "  --mtu N                          larger IP packets vanish                 [none]\n"
    "  --device-mtu N                   what the two devices admit to            [1500]\n"
    "  --blackhole-after S              nothing passes from then on              [never]\n"
    "  --on S --off S                   passes so long, then nothing so long     [always]\n"
    "  --burst N                        most lost or corrupted ones in a row     [any]\n"
    "  --corrupt-head N                 corrupts the first N bytes of UDP only   [all]\n"
    "  --drop-first N --drop-last N     packets from the left that are lost      [none]\n"
    "  --rebind S --rebind-every S      the left end's port changes (IPv4)       [never, once]\n"
    "  --rebind-address --rebind-keep   its address, too; old bindings lead back\n"
    "  --capture-left F --capture-right F  pcap files, what each end sees        [none]\n"
    "  --seed N                                                                  [1]\n";

static double option_number(const char *name, const char *text, double min, double max)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= min && v <= max))
        die("--%s: '%s' is not a number from %g to %g", name, text, min, max);
    return v;
}

static struct settings options_parse(int argc, char **argv)
{
    struct settings s = {
        .reorder_ms = 5, .queue = 1000, .device_mtu = 1500, .seed = 1, .blackhole_after_s = -1};
    s.rebind.first_s = -1;
    double queue = s.queue, mtu = 0, device_mtu = s.device_mtu, seed = 1;
    const struct {
        const char *name;
        double *value, min, max;
    } rows[] = {
        {"delay", &s.delay_ms, 0, 60000},
        {"jitter", &s.jitter_ms, 0, 60000},
        {"loss", &s.loss, 0, 100},
        {"reorder", &s.reorder, 0, 100},
        {"reorder-by", &s.reorder_ms, 0, 60000},
        {"duplicate", &s.duplicate, 0, 100},
        {"corrupt", &s.corrupt, 0, 100},
        {"rate", &s.rate_mbit, 0, 1e6},
        {"queue", &queue, 1, 1e6},
        {"mtu", &mtu, 0, 65535},
        {"device-mtu", &device_mtu, 1280, 65535},
        {"blackhole-after", &s.blackhole_after_s, 0, 1e6},
        {"seed", &seed, 0, 4294967295.0},
        {"on", &s.on_s, 0, 1e6},
        {"off", &s.off_s, 0, 1e6},
        {"burst", &s.burst, 0, 1e6},
        {"corrupt-head", &s.corrupt_head, 0, 65535},
        {"drop-first", &s.drop_first, 0, 1e9},
        {"drop-last", &s.drop_last, 0, 1e9},
        {"rebind", &s.rebind.first_s, 0, 1e6},
        {"rebind-every", &s.rebind.every_s, 0.001, 1e6},
    };
    enum {
        ROWS = sizeof rows / sizeof *rows
    };
    struct option longs[ROWS + 8] = {
        {"left", 1, NULL, 'l'},          {"right", 1, NULL, 'r'},
        {"help", 0, NULL, 'h'},          {"rebind-address", 0, NULL, 'a'},
        {"rebind-keep", 0, NULL, 'k'},   {"capture-left", 1, NULL, 'L'},
        {"capture-right", 1, NULL, 'R'},
    };
    for (int i = 0; i < ROWS; i++)
        longs[7 + i] = (struct option){rows[i].name, 1, NULL, 1000 + i};
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (c == 'l')
            s.left = optarg;
        else if (c == 'r')
            s.right = optarg;
        else if (c == 'a')
            s.rebind.address = true;
        else if (c == 'k')
            s.rebind.keep = true;
        else if (c == 'L')
            s.capture_left = optarg;
        else if (c == 'R')
            s.capture_right = optarg;
        else if (c >= 1000)
            *rows[c - 1000].value =
                option_number(rows[c - 1000].name, optarg, rows[c - 1000].min, rows[c - 1000].max);
        else {
            fputs(usage, c == 'h' ? stdout : stderr);
            exit(c != 'h');
        }
    }
    if (!s.left || !s.right || optind != argc)
        die("needs --left and --right, and nothing else (--help)");
    s.queue = (unsigned)queue;
    s.mtu = (unsigned)mtu;
    s.device_mtu = (unsigned)device_mtu;
    s.seed = (uint64_t)seed;
    return s;
}

int main(int argc, char **argv)
{
    struct settings s = options_parse(argc, argv);
    int left = device_open(s.left, 1, s.device_mtu), right = device_open(s.right, 2, s.device_mtu);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0)
        die("signalfd: %s", strerror(errno));
    puts("ready");
    fflush(stdout);
    link_run(&s, left, right, signals);
    return 0;
}
