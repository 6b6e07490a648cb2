/* udp_pair.h -- what the tests of reactor/udp.c and reactor/udp_send.c share: sockets on loopback,
 * a train sent by one and collected by the other, and what was heard of unreachable destinations.
 */
#ifndef TESTS_UDP_PAIR_H
#define TESTS_UDP_PAIR_H

#include "reactor/udp.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>

enum {
    BUFFERS = 16,
    BUFFER_BYTES = 65536,
    BYTES_MAX = 1 << 20
};

static struct udp_io io;
static uint8_t memory[BUFFERS][BUFFER_BYTES];
static uint8_t sent_bytes[BYTES_MAX], got_bytes[BYTES_MAX];
static struct udp_options options = {.buffer_bytes = 1u << 20};

/* What arrived: the bytes in a row, and the size of each datagram. */
struct got {
    size_t bytes;
    unsigned datagrams, messages;
    uint16_t sizes[4096];
    struct aq_datagram last;
};
static struct got got;

static struct {
    unsigned count;
    struct aq_addr remote;
    const char *text;
} heard;

static void hear(void *user, const struct aq_addr *remote, const char *text)
{
    (void)user;
    heard.count++;
    heard.remote = *remote;
    heard.text = text;
}

static void setup(void)
{
    memset(&io, 0, sizeof io);
    memset(&heard, 0, sizeof heard);
    io.unreachable = hear;
    for (size_t i = 0; i < sizeof sent_bytes; i++)
        sent_bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 7);
}
static struct aq_addr address(unsigned family, uint8_t last, uint16_t port)
{
    struct aq_addr a;
    memset(&a, 0, sizeof a);
    a.family = (uint8_t)family;
    a.port = port;
    if (family == 4 && last != 0)
        a.ip[0] = 127;
    a.ip[family == 4 ? 3 : 15] = last;
    return a;
}

static struct udp open_on(unsigned family, uint8_t last)
{
    struct udp udp;
    char error[256] = "";
    struct aq_addr a = address(family, last, 0);
    int failed = udp_open(&udp, &a, &options, error, sizeof error);
    cr_assert_eq(failed, 0, "%s", error);
    return udp;
}

static struct aq_train train_to(const struct udp *to, size_t offset, uint32_t size,
                                uint16_t segment)
{
    struct aq_train t;
    memset(&t, 0, sizeof t);
    t.data = sent_bytes + offset;
    t.size = size;
    t.segment = segment;
    t.remote = to->local;
    return t;
}

static void take(const struct aq_datagram *d)
{
    size_t segment = d->segment != 0 ? d->segment : d->size;
    got.messages++;
    got.last = *d;
    for (size_t at = 0; at < d->size; at += segment) {
        size_t size = d->size - at < segment ? d->size - at : segment;
        cr_assert_lt(got.datagrams, 4096);
        got.sizes[got.datagrams++] = (uint16_t)size;
    }
    memcpy(got_bytes + got.bytes, d->data, d->size);
    got.bytes += d->size;
}

/* Receives until so many bytes are there, or a second passed in silence. */
static void receive(struct udp *udp, size_t bytes)
{
    memset(&got, 0, sizeof got);
    while (got.bytes < bytes) {
        struct aq_buffer buffers[BUFFERS];
        struct aq_datagram datagrams[BUFFERS];
        struct pollfd p = {udp->fd, POLLIN, 0};
        bool more;
        for (unsigned i = 0; i < BUFFERS; i++)
            buffers[i] = (struct aq_buffer){memory[i], BUFFER_BYTES};
        if (poll(&p, 1, 1000) <= 0)
            break;
        unsigned n = udp_recv(udp, &io, buffers, datagrams, BUFFERS, &more);
        for (unsigned i = 0; i < n; i++)
            take(&datagrams[i]);
    }
}

/* Sends one train and checks that the other side gets its very datagrams. */
static void check_train(struct udp *from, struct udp *to, uint32_t size, uint16_t segment)
{
    uint32_t sent = 0;
    struct aq_train t = train_to(to, 0, size, segment);
    cr_assert(udp_send(from, &io, &t, &sent, 1));
    cr_assert_eq(sent, size);
    receive(to, size);
    cr_assert_eq(got.bytes, size, "got %zu of %u bytes", got.bytes, size);
    cr_assert_eq(memcmp(got_bytes, sent_bytes, size), 0);
    cr_assert_eq(got.datagrams, (size + segment - 1U) / segment);
    for (unsigned i = 0; i + 1 < got.datagrams; i++)
        cr_assert_eq(got.sizes[i], segment);
}

#endif
