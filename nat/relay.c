/* relay.c -- channels, and from a datagram to where it goes.
 *
 *     peer A                           relay                            peer B
 *       | 30 | X | QUIC packet   -->   X: from A's address, to B's  -->   | 30 | X | QUIC packet
 *       | 30 | Y | QUIC packet   <--   Y: from B's address, to A's  <--   | 30 | Y | QUIC packet
 *
 * Ids are 64 bits of chance: who does not have one cannot find it, so the table is not keyed by
 * what strangers choose. Who has one can use it only from the address it was given to, and for as
 * much as the pair's rate allows. Forwarding is a lookup, four comparisons and six additions.
 *
 * The idle heap is not touched for each datagram: a pair's deadline moves only when it is looked
 * at.
 *
 * Called by nat/registry (open, close) and by the host of a bootstrap node (forward). */
#include "nat/relay.h"

#include "core/addr.h"

#include <assert.h>
#include <string.h>

void relay_config_init(struct relay_config *config)
{
    *config = (struct relay_config){
        .max_pairs = 4096,
        .max_pairs_per_peer = 128, /* as many as a node has peers by default */
        .bytes_per_s = 10000000 / 8,
        .burst_bytes = 128 * 1024,
        .unproven_bytes = 16 * 1024, /* PROTOCOL §4 */
        .idle_us = 120000000,
    };
}

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t relay_size(const struct relay_config *config)
{
    return pool_size(sizeof(struct relay_pair), config->max_pairs)
           + round_up(map_size(2 * config->max_pairs)) + round_up(heap_size(config->max_pairs));
}

void relay_init(struct relay *relay, void *mem, const struct relay_config *config, struct rng *rng)
{
    uint8_t *at = mem;
    assert(config->max_pairs > 0 && config->max_pairs < UINT32_MAX / 4);
    *relay = (struct relay){.config = *config, .rng = rng};
    pool_init(&relay->pairs, at, sizeof(struct relay_pair), config->max_pairs);
    at += pool_size(sizeof(struct relay_pair), config->max_pairs);
    map_init(&relay->channels, at, 2 * config->max_pairs);
    at += round_up(map_size(2 * config->max_pairs));
    heap_init(&relay->idle, at, config->max_pairs);
    relay->seed = rng_u64(rng);
}

static uint32_t lookup(const struct relay *relay, uint64_t channel)
{
    uint32_t at, found = map_find(&relay->channels, map_hash(channel, 0, relay->seed), &at);
    while (found != MAP_NONE && relay_pair(relay, found / 2)->end[found & 1].channel != channel)
        found = map_next(&relay->channels, map_hash(channel, 0, relay->seed), &at);
    return found;
}

static void give_channel(struct relay *relay, uint32_t pair, unsigned end)
{
    uint64_t channel;
    do {
        channel =
            rng_u64(relay->rng); /* PROTOCOL §4: unguessable, and not 0; its address is fixed */
    } while (channel == 0 || lookup(relay, channel) != MAP_NONE);
    relay_pair(relay, pair)->end[end].channel = channel;
    bool put = map_put(&relay->channels, map_hash(channel, 0, relay->seed), pair * 2 + end);
    assert(put); /* two for each pair */
    (void)put;
}

static void take_channel(struct relay *relay, uint32_t pair, unsigned end)
{
    uint64_t channel = relay_pair(relay, pair)->end[end].channel;
    bool removed = map_remove(&relay->channels, map_hash(channel, 0, relay->seed), pair * 2 + end);
    assert(removed);
    (void)removed;
}

uint32_t relay_open(struct relay *relay, const struct relay_end ends[2], uint64_t now)
{
    uint32_t pair = pool_take(&relay->pairs);
    if (pair == POOL_NONE)
        return POOL_NONE;
    struct relay_pair *p = relay_pair(relay, pair);
    p->active_us = now;
    for (unsigned i = 0; i < 2; i++) {
        p->end[i].path = ends[i].path;
        p->end[i].owner = ends[i].owner;
        give_channel(relay, pair, i);
    }
    heap_set(&relay->idle, pair, now + relay->config.idle_us);
    return pair;
}

void relay_close(struct relay *relay, uint32_t pair)
{
    for (unsigned i = 0; i < 2; i++)
        take_channel(relay, pair, i);
    heap_set(&relay->idle, pair, UINT64_MAX);
    pool_give(&relay->pairs, pair);
}

uint32_t relay_find(const struct relay *relay, uint64_t channel, unsigned *end)
{
    uint32_t found = lookup(relay, channel);
    if (found == MAP_NONE)
        return POOL_NONE;
    *end = found & 1;
    return found / 2;
}

void relay_turn(const struct relay *relay, uint8_t header[RELAY_HEADER])
{
    unsigned end;
    uint32_t pair = relay_find(relay, relay_channel(header), &end);
    relay_header(header, pair == POOL_NONE ? 0 : relay_pair(relay, pair)->end[!end].channel);
}

/* A token for each byte. The bucket is the time at which it is full again, as in nat/limit. */
static bool rate_allows(struct relay *relay, struct relay_pair *p, uint64_t bytes, uint64_t now)
{
    uint64_t rate = relay->config.bytes_per_s;
    if (rate == 0)
        return false;
    uint64_t from = p->full_us > now ? p->full_us : now;
    uint64_t full = from + bytes * 1000000 / rate;
    if (full > now + relay->config.burst_bytes * 1000000 / rate)
        return false;
    p->full_us = full;
    return true;
}

uint64_t relay_room(const struct relay *relay, const uint8_t *header, uint64_t now)
{
    uint32_t found = header[0] == DATAGRAM_RELAY ? lookup(relay, relay_channel(header)) : MAP_NONE;
    if (found == MAP_NONE || relay->config.bytes_per_s == 0)
        return 0;
    uint64_t full_us = relay_pair(relay, found / 2)->full_us;
    uint64_t used =
        full_us > now ? ((full_us - now) * relay->config.bytes_per_s + 999999) / 1000000 : 0;
    return used < relay->config.burst_bytes ? relay->config.burst_bytes - used : 0;
}

static enum relay_verdict judge(struct relay *relay, struct relay_pair *p, unsigned end,
                                const struct aq_addr *from, uint64_t bytes, uint64_t now)
{
    if (!addr_equal(&p->end[end].path.remote, from))
        return RELAY_WRONG_ADDRESS;
    if (p->end[!end].path.remote.family == 0)
        return RELAY_NO_ADDRESS;
    /* PROTOCOL §4: a target that has not answered has not consented. */
    if (end == 0 && !p->proven && p->unproven + bytes > relay->config.unproven_bytes)
        return RELAY_UNPROVEN;
    return rate_allows(relay, p, bytes, now) ? RELAY_FORWARD : RELAY_OVER_RATE;
}

enum relay_verdict relay_forward(struct relay *relay, const uint8_t *header,
                                 const struct aq_addr *from, struct relay_run run,
                                 struct aq_path_addr *to, uint64_t now)
{
    uint32_t found = header[0] == DATAGRAM_RELAY ? lookup(relay, relay_channel(header)) : MAP_NONE;
    if (found == MAP_NONE) {
        relay->verdicts[RELAY_NO_CHANNEL] += run.packets;
        return RELAY_NO_CHANNEL;
    }
    struct relay_pair *p = relay_pair(relay, found / 2);
    unsigned end = found & 1;
    enum relay_verdict verdict = judge(relay, p, end, from, run.bytes, now);
    relay->verdicts[verdict] += run.packets;
    if (verdict == RELAY_WRONG_ADDRESS)
        return verdict;
    p->end[end].count.in_packets += run.packets;
    p->end[end].count.in_bytes += run.bytes;
    relay->total.in_packets += run.packets;
    relay->total.in_bytes += run.bytes;
    if (verdict != RELAY_FORWARD)
        return verdict;
    p->end[!end].count.out_packets += run.packets;
    p->end[!end].count.out_bytes += run.bytes;
    relay->total.out_packets += run.packets;
    relay->total.out_bytes += run.bytes;
    p->proven |= end == 1;
    p->unproven += end == 0 && !p->proven ? run.bytes : 0;
    p->active_us = now;
    *to = p->end[!end].path;
    return RELAY_FORWARD;
}

uint32_t relay_expired(struct relay *relay, uint64_t now)
{
    uint32_t pair;
    while (heap_top(&relay->idle, &pair) <= now) {
        uint64_t end_us = relay_pair(relay, pair)->active_us + relay->config.idle_us;
        if (end_us <= now)
            return pair;
        heap_set(&relay->idle, pair, end_us);
    }
    return POOL_NONE;
}

uint64_t relay_deadline(const struct relay *relay)
{
    return heap_top(&relay->idle, NULL);
}
