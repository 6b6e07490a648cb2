/* udp.c -- what UDP itself can do here: plain, batched, with GSO and GRO, and sealed as QUIC seals.
 *
 *     udp recv --listen ADDR:PORT --mode MODE [--aead NAME]
 *     udp send ADDR:PORT --mode MODE --bytes N [--aead NAME]
 *     udp echo --listen ADDR:PORT         udp ping ADDR:PORT --count N --size N
 *     udp backends                        prints the names that --aead takes
 *
 * Modes: plain    one sendto, one recvfrom for each packet of 1,452 bytes
 *        mmsg     the same by sendmmsg and recvmmsg, 44 at a time
 *        gso      trains of 44 packets by UDP_SEGMENT, received by UDP_GRO
 *        sealed   gso, each packet sealed and masked, then unmasked and opened (RFC 9001 §5): this
 *                 is the machine's limit, since any QUIC must do at least that
 *
 * The one thing that is not bare: the receiver grants the sender a window (a small packet for each
 * quarter of it), so that nothing is lost for want of buffers and both sides work on the same
 * bytes. Its cost is one packet in some hundreds. Bytes count without QUIC's header and tag. */
#include "bench/bench.h"
#include "bench/keys.h"
#include "core/buf.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum mode {
    MODE_PLAIN,
    MODE_MMSG,
    MODE_GSO,
    MODE_SEALED
};
enum {
    PN_OFFSET = 9, /* a short header: one byte, a connection id of 8 */
    PN_SIZE = 4,
    PAYLOAD = BENCH_PAYLOAD - PN_OFFSET - PN_SIZE - AEAD_TAG_SIZE,
    CONTROL_SIZE = 24,
    WAIT_MS = 200,
    TRIES = 50
};

/* What the two sides tell each other, told apart from data by its size. */
enum control {
    HELLO = 1, /* a: the mode */
    WELCOME,   /* a: the window */
    CREDIT,    /* a: packets received so far */
    END,       /* a: packets sent */
    REPORT     /* a: packets received */
};

struct path {
    int fd;
    enum mode mode;
    struct bench_addr peer;
    struct bench_keys keys;
    uint64_t packets, calls; /* data packets, and the system calls that moved them */
    uint32_t largest;        /* payload seen */
    uint8_t buffer[BENCH_TRAIN][BENCH_PAYLOAD];
    uint8_t spill[1 << 16]; /* room behind the buffer for GRO's 64 KiB */
};

static enum mode parse_mode(const char *text)
{
    static const char *const names[] = {"plain", "mmsg", "gso", "sealed"};
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(text, names[i]) == 0)
            return (enum mode)i;
    }
    bench_die("no mode %s", text);
}

static struct path *path_new(int argc, char **argv)
{
    struct path *path = calloc(1, sizeof *path);
    if (path == NULL)
        bench_die("no memory");
    path->mode = parse_mode(bench_flag(argc, argv, "--mode", "plain"));
    bench_keys_init(&path->keys, bench_flag(argc, argv, "--aead", "boringssl"), CIPHER_AES_128_GCM);
    return path;
}

static void control_send(struct path *path, enum control kind, uint64_t a)
{
    uint64_t message[CONTROL_SIZE / 8] = {kind, a, 0};
    const struct sockaddr *to = (const struct sockaddr *)&path->peer.sa;
    (void)sendto(path->fd, message, sizeof message, 0, path->peer.size > 0 ? to : NULL,
                 path->peer.size);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Up to one train of packets numbered from `first`. */
static void seal(struct path *path, uint64_t first, unsigned count)
{
    struct sealed v[BENCH_TRAIN];
    for (unsigned i = 0; i < count; i++) {
        uint8_t *data = path->buffer[i];
        v[i] = (struct sealed){.data = data,
                               .number = first + i,
                               .size = BENCH_PAYLOAD,
                               .pn_offset = PN_OFFSET,
                               .pn_size = PN_SIZE};
        data[0] = 0x40 | (PN_SIZE - 1);
        memset(data + 1, 0x11, PN_OFFSET - 1);
        store_be32(data + PN_OFFSET, (uint32_t)(first + i));
    }
    protect_seal(&path->keys.aead, &path->keys.hp, v, count);
}

static void send_train(struct path *path, unsigned count)
{
    struct iovec iov = {path->buffer, (size_t)count * BENCH_PAYLOAD};
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    uint16_t segment = BENCH_PAYLOAD;
    c->cmsg_level = IPPROTO_UDP, c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    if (sendmsg(path->fd, &message, 0) < 0)
        bench_die("sendmsg: %s", strerror(errno));
    path->calls++;
}

static void send_many(struct path *path, unsigned count)
{
    struct mmsghdr v[BENCH_TRAIN];
    struct iovec iov[BENCH_TRAIN];
    for (unsigned i = 0; i < count; i++) {
        iov[i] = (struct iovec){path->buffer[i], BENCH_PAYLOAD};
        v[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
    }
    for (unsigned done = 0; done < count; path->calls++) {
        int n = sendmmsg(path->fd, v + done, count - done, 0);
        if (n < 0)
            bench_die("sendmmsg: %s", strerror(errno));
        done += (unsigned)n;
    }
}

static void send_some(struct path *path, unsigned count)
{
    if (path->mode == MODE_PLAIN) {
        for (unsigned i = 0; i < count; i++, path->calls++) {
            if (sendto(path->fd, path->buffer[i], BENCH_PAYLOAD, 0, NULL, 0) < 0)
                bench_die("sendto: %s", strerror(errno));
        }
    } else if (path->mode == MODE_MMSG) {
        send_many(path, count);
    } else {
        if (path->mode == MODE_SEALED)
            seal(path, path->packets, count);
        send_train(path, count);
    }
    path->packets += count;
}

/* Takes one control packet; 0: none came in time. */
static uint64_t control_recv(struct path *path, int wait_ms, uint64_t *a)
{
    uint64_t message[CONTROL_SIZE / 8];
    struct pollfd poll_fd = {.fd = path->fd, .events = POLLIN};
    if (wait_ms > 0 && poll(&poll_fd, 1, wait_ms) <= 0)
        return 0;
    if (recv(path->fd, message, sizeof message, MSG_DONTWAIT) != CONTROL_SIZE)
        return 0;
    *a = message[1];
    return message[0];
}

/* Sends `kind` until `answer` comes; its value. */
static uint64_t ask(struct path *path, enum control kind, uint64_t a, enum control answer)
{
    uint64_t got, value;
    for (unsigned tries = 0; tries < TRIES; tries++) {
        control_send(path, kind, a);
        while ((got = control_recv(path, WAIT_MS, &value)) != 0) {
            if (got == (uint64_t)answer)
                return value;
        }
    }
    bench_die("nobody answers");
}

static int run_send(int argc, char **argv)
{
    struct path *path = path_new(argc, argv);
    unsigned payload = path->mode == MODE_SEALED ? PAYLOAD : BENCH_PAYLOAD;
    uint64_t bytes = bench_number(argc, argv, "--bytes", (uint64_t)1 << 30), granted = 0, value;
    uint64_t packets = (bytes + payload - 1) / payload, silent = 0;
    bench_parse(argv[2], &path->peer);
    path->fd = bench_connect(&path->peer, SOCK_DGRAM);
    path->peer.size = 0; /* connected */
    memset(path->buffer, 0x55, sizeof path->buffer);
    uint64_t window = ask(path, HELLO, path->mode, WELCOME) / BENCH_PAYLOAD;
    uint64_t begun_ns = bench_clock_ns();
    while (path->packets < packets) {
        uint64_t left = packets - path->packets, count = left < BENCH_TRAIN ? left : BENCH_TRAIN;
        if (path->packets + count > granted + window) {
            uint64_t kind = control_recv(path, WAIT_MS, &value);
            if (kind == CREDIT)
                granted = value;
            else if (kind == 0 && ++silent > 0) /* some were lost: forget them */
                granted = path->packets;
            continue;
        }
        send_some(path, (unsigned)count);
    }
    uint64_t received = ask(path, END, packets, REPORT);
    double seconds = (double)(bench_clock_ns() - begun_ns) / 1e9;
    (void)printf("{\"seconds\":%.6f,\"bytes\":%llu,\"gbit_per_s\":%.6f,\"packets\":%llu,"
                 "\"lost\":%llu,\"send_calls\":%llu,\"payload\":%d,\"stalls\":%llu}\n",
                 seconds, (unsigned long long)(received * payload),
                 (double)received * payload * 8 / seconds / 1e9, (unsigned long long)packets,
                 (unsigned long long)(packets - received), (unsigned long long)path->calls,
                 BENCH_PAYLOAD, (unsigned long long)silent);
    free(path);
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Opens the packets that lie in one GRO buffer; ends the program if one is not authentic. */
static void open_all(struct path *path, uint8_t *data, size_t size)
{
    struct sealed v[BENCH_TRAIN + 2];
    unsigned count = 0;
    for (size_t at = 0; at + BENCH_PAYLOAD <= size && count < BENCH_TRAIN + 2; at += BENCH_PAYLOAD)
        v[count++] = (struct sealed){
            .data = data + at, .size = BENCH_PAYLOAD, .pn_offset = PN_OFFSET, .ok = true};
    protect_unmask(&path->keys.hp, v, count);
    protect_open(&path->keys.aead, v, count);
    for (unsigned i = 0; i < count; i++) {
        if (!v[i].ok)
            bench_die("a packet is not authentic");
    }
}

static uint64_t take_control(struct path *path, const uint8_t *data)
{
    uint64_t message[CONTROL_SIZE / 8];
    memcpy(message, data, sizeof message);
    if (message[0] == HELLO) {
        path->packets = path->calls = 0;
        control_send(path, WELCOME, bench_window(path->fd));
    } else if (message[0] == END) {
        control_send(path, REPORT, path->packets);
    }
    return message[0];
}

static void take(struct path *path, uint8_t *data, size_t size, size_t segment)
{
    if (size == CONTROL_SIZE) {
        (void)take_control(path, data);
        return;
    }
    if (segment > path->largest)
        path->largest = (uint32_t)segment;
    if (path->mode == MODE_SEALED)
        open_all(path, data, size);
    path->packets += size / BENCH_PAYLOAD;
}

static void recv_train(struct path *path)
{
    struct iovec iov = {path->buffer, sizeof path->buffer + sizeof path->spill};
    _Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(sizeof(int))];
    path->peer.size = sizeof path->peer.sa;
    struct msghdr message = {.msg_name = &path->peer.sa,
                             .msg_namelen = path->peer.size,
                             .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = space,
                             .msg_controllen = sizeof space};
    ssize_t size = recvmsg(path->fd, &message, 0);
    if (size < 0)
        bench_die("recvmsg: %s", strerror(errno));
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    int segment = (int)size;
    path->peer.size = message.msg_namelen;
    if (c != NULL && c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
        memcpy(&segment, CMSG_DATA(c), sizeof segment);
    path->calls++;
    take(path, path->buffer[0], (size_t)size, (size_t)segment);
}

static void recv_many(struct path *path)
{
    struct mmsghdr v[BENCH_TRAIN];
    struct iovec iov[BENCH_TRAIN];
    for (unsigned i = 0; i < BENCH_TRAIN; i++) {
        iov[i] = (struct iovec){path->buffer[i], BENCH_PAYLOAD};
        v[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
    }
    v[0].msg_hdr.msg_name = &path->peer.sa;
    v[0].msg_hdr.msg_namelen = sizeof path->peer.sa;
    int n = recvmmsg(path->fd, v, BENCH_TRAIN, MSG_WAITFORONE, NULL);
    if (n < 0)
        bench_die("recvmmsg: %s", strerror(errno));
    path->peer.size = v[0].msg_hdr.msg_namelen;
    path->calls++;
    for (int i = 0; i < n; i++)
        take(path, path->buffer[i], v[i].msg_len, v[i].msg_len);
}

static void recv_one(struct path *path)
{
    path->peer.size = sizeof path->peer.sa;
    ssize_t size = recvfrom(path->fd, path->buffer, BENCH_PAYLOAD, 0,
                            (struct sockaddr *)&path->peer.sa, &path->peer.size);
    if (size < 0)
        bench_die("recvfrom: %s", strerror(errno));
    path->calls++;
    take(path, path->buffer[0], (size_t)size, (size_t)size);
}

/* Serves one sender after another until it is killed. */
static int run_recv(int argc, char **argv)
{
    struct path *path = path_new(argc, argv);
    struct bench_addr addr;
    int yes = 1;
    bench_parse(bench_flag(argc, argv, "--listen", "127.0.0.1:0"), &addr);
    path->fd = bench_bind(&addr, SOCK_DGRAM);
    if (path->mode >= MODE_GSO
        && setsockopt(path->fd, IPPROTO_UDP, UDP_GRO, &yes, sizeof yes) < 0)
        bench_die("UDP_GRO: %s", strerror(errno));
    uint64_t quarter = bench_window(path->fd) / BENCH_PAYLOAD / 4, credited = 0;
    bench_ready(path->fd);
    for (;;) {
        if (path->mode == MODE_PLAIN)
            recv_one(path);
        else if (path->mode == MODE_MMSG)
            recv_many(path);
        else
            recv_train(path);
        if (path->packets < credited)
            credited = 0; /* the next sender */
        if (path->packets - credited >= quarter) {
            credited = path->packets;
            control_send(path, CREDIT, credited);
        }
    }
}

/* ---- ping-pong ------------------------------------------------------------------------------- */

static int run_echo(int argc, char **argv)
{
    struct bench_addr addr;
    uint8_t data[BENCH_PAYLOAD];
    bench_parse(bench_flag(argc, argv, "--listen", "127.0.0.1:0"), &addr);
    int fd = bench_bind(&addr, SOCK_DGRAM);
    bench_ready(fd);
    for (;;) {
        addr.size = sizeof addr.sa;
        ssize_t size =
            recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&addr.sa, &addr.size);
        if (size < 0
            || sendto(fd, data, (size_t)size, 0, (const struct sockaddr *)&addr.sa, addr.size) < 0)
            bench_die("echo: %s", strerror(errno));
    }
}

static int run_ping(int argc, char **argv)
{
    struct bench_addr addr;
    uint8_t data[BENCH_PAYLOAD] = {0};
    uint64_t count = bench_number(argc, argv, "--count", 10000);
    uint64_t size = bench_number(argc, argv, "--size", 64);
    uint32_t *ns = calloc(count, sizeof *ns);
    bench_parse(argv[2], &addr);
    if (ns == NULL || count == 0 || size > sizeof data)
        bench_die("--count or --size is of no use");
    int fd = bench_connect(&addr, SOCK_DGRAM);
    uint64_t begun_ns = bench_clock_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t sent_ns = bench_clock_ns();
        if (send(fd, data, size, 0) < 0 || recv(fd, data, sizeof data, 0) < 0)
            bench_die("ping: %s", strerror(errno));
        ns[i] = (uint32_t)(bench_clock_ns() - sent_ns);
    }
    double seconds = (double)(bench_clock_ns() - begun_ns) / 1e9;
    bench_sort(ns, count);
    (void)printf("{\"count\":%llu,\"size\":%llu,\"seconds\":%.6f,\"latency_us\":{\"min\":%.3f,"
                 "\"p50\":%.3f,\"p99\":%.3f,\"p99_9\":%.3f}}\n",
                 (unsigned long long)count, (unsigned long long)size, seconds, ns[0] / 1e3,
                 bench_percentile(ns, count, 500) / 1e3, bench_percentile(ns, count, 990) / 1e3,
                 bench_percentile(ns, count, 999) / 1e3);
    free(ns);
    return 0;
}

int main(int argc, char **argv)
{
    const char *role = argc > 1 ? argv[1] : "";
    if (strcmp(role, "recv") == 0)
        return run_recv(argc, argv);
    if (strcmp(role, "echo") == 0)
        return run_echo(argc, argv);
    if (strcmp(role, "backends") == 0) {
        bench_keys_backends();
        return 0;
    }
    if (strcmp(role, "send") == 0 && argc > 2)
        return run_send(argc, argv);
    if (strcmp(role, "ping") == 0 && argc > 2)
        return run_ping(argc, argv);
    bench_die("udp recv|echo --listen ADDR:PORT, or udp send|ping ADDR:PORT");
}
