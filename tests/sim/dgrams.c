/* dgrams.c -- datagrams of a simulation's sides (side.h): numbered, each of a size and a pattern of
 * its own, so that one that comes twice, or changed, or was never written, is seen at once.
 *
 * They are written in bursts, as large as the endpoint takes at that moment or smaller, from the
 * first moment that it takes any: with 0-RTT before the handshake is done. How many come is the
 * links' and the queues' affair; judge.c compares what the endpoints count with what was seen here.
 */
#include "tests/sim/side.h"

#include <string.h>

enum {
    HEAD = 4,
    SLOW_US = 20000
};

static uint8_t pattern(const struct play *play, bool from_client, unsigned number, size_t at)
{
    uint64_t key = play->row->seed * 16 + play->round * 2 + from_client;

    return (uint8_t)sim_mix(key ^ sim_mix((uint64_t)number << 32 | at));
}

static void datagram_fill_in(const struct side *side, unsigned number, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = pattern(side->play, side->client, number, i);
    for (size_t i = 0; i < HEAD; i++)
        out[i] = (uint8_t)(number >> (8 * i));
}

/* One more. False: not now. */
static bool datagram_write(struct side *side)
{
    struct dgrams *d = &side->dgrams;
    struct sim *sim = side->play->sim;
    uint8_t bytes[2048];
    size_t max = aq_datagram_max(side->host->ep, side->conn);
    bool takes = side->play->row->datagram_max[side->client]; /* the peer */

    if (!takes && (max || side->connected)) {
        d->next_us = AQ_NEVER;
        struct aq_iov one = {bytes, 1};
        if (max || aq_datagram_send(side->host->ep, side->conn, &one, 1) != AQ_MISUSE)
            sim_fail(sim, "datagrams to a peer that takes none");
        return false;
    }
    if (max < HEAD || d->sent == DGRAMS)
        return false;
    max = max < sizeof bytes ? max : sizeof bytes;
    size_t size =
        sim_rng_below(&side->rng, 4) ? HEAD + sim_rng_below(&side->rng, max - HEAD + 1) : max;
    datagram_fill_in(side, d->sent, bytes, size);
    struct aq_iov iov[2] = {{bytes, size / 2}, {bytes + size / 2, size - size / 2}};
    int result = aq_datagram_send(side->host->ep, side->conn, iov, 2);
    if (result == AQ_BLOCKED) {
        d->room_wanted = true;
        return false;
    }
    if (result != AQ_OK) {
        sim_fail(sim, "a datagram of %zu bytes, at most %zu: %d", size, max, result);
        return false;
    }
    d->size[d->sent++] = (uint16_t)size;
    d->early += side->client && !side->connected;
    return true;
}

void dgrams_send(struct side *side)
{
    const struct scenario *row = side->play->row;
    struct dgrams *d = &side->dgrams;
    uint64_t now = side->play->sim->now_us;

    if (!row->datagrams || side->closed || side->play->closing)
        d->next_us = AQ_NEVER;
    if (now < d->next_us)
        return;
    d->next_us = now + 1 + sim_rng_below(&side->rng, 2 * row->datagram_gap_us);
    for (uint64_t n = 1 + sim_rng_below(&side->rng, row->datagram_burst); n > 0; n--) {
        if (d->sent >= row->datagrams)
            d->next_us = AQ_NEVER;
        else if (datagram_write(side))
            continue;
        break;
    }
    side_wake_at(side, d->next_us);
    sim_kick(side->host);
}

static void datagram_check(struct side *side, const struct aq_iov *iov)
{
    struct sim *sim = side->play->sim;
    const struct dgrams *theirs = &side->peer->dgrams;
    unsigned number = 0;

    for (size_t i = 0; i < HEAD && i < iov->size; i++)
        number |= (unsigned)iov->data[i] << (8 * i);
    if (number >= theirs->sent || theirs->size[number] != iov->size) {
        sim_fail(sim, "a datagram that was not written: number %u, %zu bytes", number, iov->size);
        return;
    }
    for (size_t i = HEAD; i < iov->size; i++) {
        if (iov->data[i] != pattern(side->play, !side->client, number, i))
            sim_fail(sim, "datagram %u: wrong byte at %zu", number, i);
    }
    if (side->dgrams.seen[number])
        sim_fail(sim, "datagram %u came twice", number);
    side->dgrams.seen[number] = true;
    side->dgrams.received++;
}

void dgrams_read(struct side *side, bool all)
{
    bool slow = side->play->row->datagram_slow && !all;
    struct aq_iov iov;

    while (!side->play->sim->failed
           && aq_datagram_peek(side->host->ep, side->conn, &iov) == AQ_OK) {
        if (slow && sim_rng_below(&side->rng, 2)) {
            side_wake_at(side, side->play->sim->now_us + 1 + sim_rng_below(&side->rng, SLOW_US));
            return;
        }
        datagram_check(side, &iov);
        if (aq_datagram_take(side->host->ep, side->conn) != AQ_OK)
            sim_fail(side->play->sim, "a datagram that was shown cannot be taken");
    }
}
