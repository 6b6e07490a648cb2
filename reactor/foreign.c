/* foreign.c -- datagrams that are not QUIC, on the same port (PROTOCOL §4).
 *
 * Their first byte has the two highest bits clear, which no QUIC packet's are. They go to
 * on_datagrams in the batches in which they came, before the endpoint sees what is left:
 *
 *     one message:  | QUIC | ours | ours | QUIC |      equal sizes, merged by GRO
 *     on_datagrams: | ours | ours |                    where they lie
 *     the endpoint: | QUIC |             | QUIC |      likewise
 *
 * aq_loop_send_trains is the other half: what came as one batch can leave as one train, from where
 * it was received. aq_loop_send_raw sends a single datagram, with a hop limit of its own.
 *
 * Called by reactor.c. */
#include "reactor/loop.h"

#include <assert.h>
#include <string.h>

enum {
    FOREIGN_RUNS = 64 /* for one call of on_datagrams */
};

struct foreign {
    struct aq_loop *loop;
    unsigned count;
    struct aq_datagram runs[FOREIGN_RUNS];
};

static bool is_foreign(uint8_t first)
{
    return (first & 0xc0) == 0;
}

/* The end of the run of datagrams of one kind that begins at `at`. */
static uint32_t run_end(const struct aq_datagram *d, uint32_t at)
{
    uint32_t step = d->segment != 0 ? d->segment : d->size;
    bool foreign = is_foreign(d->data[at]);
    do {
        at += step < d->size - at ? step : d->size - at;
    } while (at < d->size && is_foreign(d->data[at]) == foreign);
    return at;
}

static void foreign_flush(struct foreign *f)
{
    if (f->count > 0)
        f->loop->config.on_datagrams(f->loop->config.user, f->loop, f->runs, f->count);
    f->count = 0;
}

/* Collects what is foreign. True: something is. */
static bool foreign_find(struct foreign *f, const struct aq_datagram *d)
{
    bool found = false;
    for (uint32_t at = 0, end; at < d->size; at = end) {
        end = run_end(d, at);
        if (!is_foreign(d->data[at]))
            continue;
        if (f->count == FOREIGN_RUNS)
            foreign_flush(f);
        struct aq_datagram *run = &f->runs[f->count++];
        *run = *d;
        run->data += at;
        run->size = end - at;
        run->segment = run->size > d->segment ? d->segment : 0;
        found = true;
    }
    return found;
}

/* What is QUIC in a mixed message: given on from where it lies, since what on_datagrams gave to the
 * endpoint may still be read from beside it. */
static void pass_quic(struct aq_loop *loop, const struct aq_datagram *d)
{
    for (uint32_t at = 0, end; at < d->size; at = end) {
        end = run_end(d, at);
        if (is_foreign(d->data[at]))
            continue;
        struct aq_datagram run = *d;
        run.data += at;
        run.size = end - at;
        run.segment = run.size > d->segment ? d->segment : 0;
        int result = aq_recv(loop->ep, &run, 1, loop->now_us);
        assert(result == AQ_OK);
        (void)result;
    }
}

unsigned loop_foreign(struct aq_loop *loop, struct aq_datagram *d, unsigned n)
{
    struct foreign f;
    uint64_t mixed = 0; /* bit by message: it has foreign datagrams */
    unsigned kept = 0;
    assert(n <= 64);
    if (loop->config.on_datagrams == NULL)
        return n;
    f.loop = loop;
    f.count = 0;
    for (unsigned i = 0; i < n; i++)
        if (foreign_find(&f, &d[i]))
            mixed |= UINT64_C(1) << i;
    if (mixed == 0)
        return n;
    foreign_flush(&f);
    loop->received = true; /* on_datagrams may have given some to the endpoint */
    for (unsigned i = 0; i < n; i++) {
        if ((mixed >> i & 1) == 0)
            d[kept++] = d[i];
        else
            pass_quic(loop, &d[i]);
    }
    return kept;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Trains of one socket, at most FOREIGN_RUNS. */
static void send_run(struct aq_loop *loop, const struct aq_train *trains, unsigned n)
{
    uint32_t sent[FOREIGN_RUNS] = {0};
    struct loop_socket *s = loop_socket_at(loop, trains[0].socket);
    if (s != NULL && !s->blocked && s->udp.family == trains[0].remote.family)
        (void)udp_send(&s->udp, &loop->io, trains, sent, n);
    /* What a full socket does not take is lost, as in a full device: nobody's memory would hold it.
     */
    for (unsigned i = 0; i < n; i++)
        loop->io.counts.send_errors += sent[i] < trains[i].size;
}

void aq_loop_send_trains(struct aq_loop *loop, const struct aq_train *trains, unsigned n,
                         struct aq_loop_sent *sent)
{
    uint64_t packets = loop->io.counts.send_packets, bytes = loop->io.counts.send_bytes;
    for (unsigned first = 0, end; first < n; first = end) {
        const struct aq_train *t = &trains[first];
        for (end = first + 1; end < n && end - first < FOREIGN_RUNS; end++)
            if (trains[end].socket != t->socket || trains[end].remote.family != t->remote.family)
                break;
        send_run(loop, t, end - first);
    }
    sent->packets = loop->io.counts.send_packets - packets;
    sent->bytes = loop->io.counts.send_bytes - bytes;
}

bool aq_loop_send_raw(struct aq_loop *loop, const struct aq_path_addr *to, unsigned ttl,
                      const uint8_t *data, size_t size)
{
    struct aq_loop_sent sent;
    struct aq_train train = {.size = (uint32_t)size,
                             .segment = (uint16_t)size,
                             .socket = to->socket,
                             .ifindex = to->ifindex,
                             .ttl = (uint8_t)ttl,
                             .flags = AQ_TRAIN_NO_GSO,
                             .local = to->local,
                             .remote = to->remote};
    assert(ttl <= UINT8_MAX && size > 0 && size <= UINT16_MAX);
    /* Trains have no const: the pointer is copied, the kernel only reads. */
    memcpy(&train.data, &data, sizeof data);
    aq_loop_send_trains(loop, &train, 1, &sent);
    return sent.packets == 1;
}
