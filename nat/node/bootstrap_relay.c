/* bootstrap_relay.c -- relayed datagrams, and probes: from the loop's batches to trains, and
 * counting.
 *
 * A datagram leaves from the socket and the address that its receiver has registered at: its NAT
 * lets in nothing else. The sender may use another one, or the other family.
 *
 * What GRO merged is asked for once for each run of datagrams with the same channel, and leaves as
 * one train from where it lies. Nothing is kept: what the socket does not take now is lost, and
 * counted, so that what came in is what went out and what was dropped, datagram by datagram.
 *
 * Called by the loop. */
#include "nat/node/bootstrap.h"

#include <assert.h>
#include <string.h>

static void count(struct aq_bootstrap_relayed *c, struct relay_run run)
{
    c->packets += run.packets;
    c->bytes += run.bytes;
}

/* Sends the trains collected; what the socket refuses has not gone out. */
static void flush(struct aq_bootstrap *b)
{
    struct aq_loop_sent sent;
    struct relay_run all = {0, 0};
    if (b->train_count == 0)
        return;
    for (unsigned i = 0; i < b->train_count; i++) {
        const struct aq_train *t = &b->trains[i];
        all.packets += (t->size + t->segment - 1) / t->segment;
        all.bytes += t->size;
    }
    aq_loop_send_trains(b->loop, b->trains, b->train_count, &sent);
    b->train_count = 0;
    b->stats.out.packets += sent.packets;
    b->stats.out.bytes += sent.bytes;
    b->stats.not_sent.packets += all.packets - sent.packets;
    b->stats.not_sent.bytes += all.bytes - sent.bytes;
}

static struct aq_bootstrap_relayed *counter(struct aq_bootstrap *b, enum relay_verdict verdict)
{
    switch (verdict) {
    case RELAY_NO_CHANNEL: return &b->stats.no_channel;
    case RELAY_WRONG_ADDRESS: return &b->stats.wrong_address;
    case RELAY_NO_ADDRESS: return &b->stats.no_address;
    case RELAY_UNPROVEN: return &b->stats.unproven;
    case RELAY_OVER_RATE: return &b->stats.over_rate;
    case RELAY_FORWARD:
    case RELAY_VERDICTS: break;
    }
    return NULL;
}

/* Datagrams with one header: size bytes at data, all but the last of step bytes. */
static void relay_train(struct aq_bootstrap *b, const struct aq_datagram *d, uint8_t *data,
                        uint32_t size)
{
    uint32_t step = d->segment != 0 ? d->segment : d->size;
    struct relay_run run = {(size + step - 1) / step, size};
    struct aq_path_addr to;
    enum relay_verdict verdict =
        relay_forward(&b->relay, data, &d->remote, run, &to, aq_loop_now(b->loop));
    struct aq_bootstrap_relayed *dropped = counter(b, verdict);
    count(&b->stats.in, run);
    if (dropped) {
        count(dropped, run);
        return;
    }
    if (b->train_count == BOOTSTRAP_RUNS)
        flush(b);
    b->trains[b->train_count++] = (struct aq_train){.data = data,
                                                    .size = size,
                                                    .segment = (uint16_t)step,
                                                    .socket = to.socket,
                                                    .ifindex = to.ifindex,
                                                    .ecn = d->ecn,
                                                    .local = to.local,
                                                    .remote = to.remote};
}

/* As much of a run as the pair's rate allows, then the rest: of a burst that is too long its
 * beginning arrives. */
static void relay_split(struct aq_bootstrap *b, const struct aq_datagram *d, uint8_t *data,
                        uint32_t size)
{
    uint32_t step = d->segment != 0 ? d->segment : d->size;
    uint64_t room = relay_room(&b->relay, data, aq_loop_now(b->loop));
    uint32_t first = size;
    if (room < size && room >= step)
        first = (uint32_t)(room / step * step);
    relay_train(b, d, data, first);
    if (first < size)
        relay_train(b, d, data + first, size - first);
}

/* One message: runs of the same header. */
static void relay_message(struct aq_bootstrap *b, const struct aq_datagram *d)
{
    uint32_t step = d->segment != 0 ? d->segment : d->size;
    for (uint32_t at = 0, end; at < d->size; at = end) {
        uint32_t left = d->size - at;
        end = at + (step < left ? step : left);
        enum datagram_kind kind = datagram_kind(d->data + at, end - at);
        if (kind == DATAGRAM_IS_BACK) {
            relay_turn(&b->relay, d->data + at);
        } else if (kind != DATAGRAM_IS_RELAY) {
            count(&b->stats.junk, (struct relay_run){1, end - at});
            continue;
        }
        while (d->size - end > RELAY_HEADER
               && memcmp(d->data + at, d->data + end, RELAY_HEADER) == 0)
            end += step < d->size - end ? step : d->size - end;
        relay_split(b, d, d->data + at, end - at);
    }
}

void bootstrap_probe(struct aq_bootstrap *b, const struct boot_conn *c,
                     const struct registry_out *out)
{
    struct aq_path_addr path = c->path;
    path.remote = out->to;
    for (unsigned i = 0; i < b->listen_count && out->source == PROBE_OTHER_PORT; i++)
        if (b->listen_socket[i] == c->path.socket)
            path.socket = b->probe_socket[i];
    (void)aq_loop_send_raw(b->loop, &path, 0, out->data, out->size);
}

void bootstrap_datagrams(void *user, struct aq_loop *loop, const struct aq_datagram *datagrams,
                         unsigned n)
{
    struct aq_bootstrap *b = user;
    (void)loop;
    for (unsigned i = 0; i < n; i++)
        relay_message(b, &datagrams[i]);
    flush(b);
}
