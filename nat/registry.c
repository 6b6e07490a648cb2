/* registry.c -- registrations: from a REGISTER to its answer, leases, and who is gone.
 *
 *              REGISTER accepted                connection ended
 *     (none) -------------------> registered -------------------> gone --- lease ends ---> (none)
 *                                  |      ^                        |
 *                                  +------+ renewed                +--> registered, on a new
 * connection
 *
 * A peer that is gone is not found by others; its record keeps the generation, so that an old
 * process of it cannot come back. When the table is full, whoever has been gone longest makes room.
 *
 * register_judge is the list of reasons of PROTOCOL §3 in their order, one line each.
 *
 * Called by the host of a bootstrap node (apps) and the simulator. */
#include "nat/registry.h"

#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

void registry_config_init(struct registry_config *config)
{
    *config = (struct registry_config){
        .max_peers = 20000,
        .max_requests = 4096,
        .lease_min_s = 30,
        .lease_max_s = 120,
        .punch_us = 2000000,
        .connect_us = 10000000,
        .buckets = 65536,
        .address_rate = {10000, 512},
        .peer_rate = {5000000, 8},
        .initiator_rate = {100000, 64},
        .target_rate = {50000, 128},
        .probe_rate = {60000000, 12}, /* PROTOCOL §5: no minute has more than 12 */
        .load_rate = {2000, 2000},
        .pow_load_bits = 18,
    };
}

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

size_t registry_size(const struct registry_config *c)
{
    return pool_size(sizeof(struct registry_peer), c->max_peers)
           + pool_size(sizeof(struct registry_request), c->max_requests)
           + 2 * round_up(map_size(c->max_peers)) + round_up(map_size(c->max_requests))
           + round_up(heap_size(c->max_peers)) + round_up(heap_size(c->max_requests))
           + round_up(limiter_size(c->buckets));
}

static void *cut(uint8_t **at, size_t size)
{
    void *piece = *at;
    *at += round_up(size);
    return piece;
}

void registry_init(struct registry *r, void *mem, const struct registry_config *c, struct rng *rng)
{
    uint8_t *at = mem;
    assert(c->max_peers > 0 && c->max_requests > 0 && c->lease_min_s > 0
           && c->lease_min_s <= c->lease_max_s && c->pow_load_bits <= POW_BITS_MAX);
    *r = (struct registry){
        .config = *c, .rng = rng, .oldest_gone = POOL_NONE, .newest_gone = POOL_NONE};
    rng_fill(rng, r->key, sizeof r->key);
    rng_fill(rng, r->pow_secret, sizeof r->pow_secret);
    pool_init(&r->peers, cut(&at, pool_size(sizeof(struct registry_peer), c->max_peers)),
              sizeof(struct registry_peer), c->max_peers);
    pool_init(&r->requests, cut(&at, pool_size(sizeof(struct registry_request), c->max_requests)),
              sizeof(struct registry_request), c->max_requests);
    map_init(&r->by_id, cut(&at, map_size(c->max_peers)), c->max_peers);
    map_init(&r->by_conn, cut(&at, map_size(c->max_peers)), c->max_peers);
    map_init(&r->by_request, cut(&at, map_size(c->max_requests)), c->max_requests);
    heap_init(&r->leases, cut(&at, heap_size(c->max_peers)), c->max_peers);
    heap_init(&r->timeouts, cut(&at, heap_size(c->max_requests)), c->max_requests);
    limiter_init(&r->limiter, cut(&at, limiter_size(c->buckets)), c->buckets, r->key);
}

/* ---- records --------------------------------------------------------------------------------- */

static uint64_t hash_id(const struct registry *r, const struct peer_id *id)
{
    return prim_siphash(r->key, id->bytes, PEER_ID_SIZE);
}

static uint64_t hash_conn(const struct registry *r, uint64_t conn)
{
    return map_hash(conn, 0, r->key[0]);
}

uint32_t registry_slot_by_id(const struct registry *r, const struct peer_id *id)
{
    uint32_t at;
    uint64_t hash = hash_id(r, id);
    uint32_t slot = map_find(&r->by_id, hash, &at);
    while (slot != MAP_NONE && !peer_id_equal(&registry_peer(r, slot)->id, id))
        slot = map_next(&r->by_id, hash, &at);
    return slot;
}

uint32_t registry_slot_by_conn(const struct registry *r, uint64_t conn)
{
    uint32_t at;
    uint64_t hash = hash_conn(r, conn);
    uint32_t slot = map_find(&r->by_conn, hash, &at);
    while (slot != MAP_NONE && registry_peer(r, slot)->conn != conn)
        slot = map_next(&r->by_conn, hash, &at);
    return slot;
}

static void gone_link(struct registry *r, uint32_t slot)
{
    struct registry_peer *p = registry_peer(r, slot);
    p->older = r->newest_gone;
    p->newer = POOL_NONE;
    if (r->newest_gone != POOL_NONE)
        registry_peer(r, r->newest_gone)->newer = slot;
    else
        r->oldest_gone = slot;
    r->newest_gone = slot;
}

static void gone_unlink(struct registry *r, uint32_t slot)
{
    struct registry_peer *p = registry_peer(r, slot);
    if (p->older != POOL_NONE)
        registry_peer(r, p->older)->newer = p->newer;
    else
        r->oldest_gone = p->newer;
    if (p->newer != POOL_NONE)
        registry_peer(r, p->newer)->older = p->older;
    else
        r->newest_gone = p->older;
}

/* Ties the record to a connection, 0: to none. */
static void set_conn(struct registry *r, uint32_t slot, uint64_t conn)
{
    struct registry_peer *p = registry_peer(r, slot);
    if (p->conn == conn)
        return;
    if (p->conn) {
        map_remove(&r->by_conn, hash_conn(r, p->conn), slot);
        r->online--;
    } else {
        gone_unlink(r, slot);
    }
    p->conn = conn;
    if (conn) {
        bool put = map_put(&r->by_conn, hash_conn(r, conn), slot);
        assert(put); /* as many as records */
        (void)put;
        r->online++;
    } else {
        gone_link(r, slot);
    }
}

static void forget(struct registry *r, uint32_t slot)
{
    struct registry_peer *p = registry_peer(r, slot);
    set_conn(r, slot, 0);
    gone_unlink(r, slot);
    map_remove(&r->by_id, hash_id(r, &p->id), slot);
    heap_set(&r->leases, slot, UINT64_MAX);
    pool_give(&r->peers, slot);
}

uint32_t registry_add(struct registry *r, const struct peer_id *id, uint64_t lease_end_us)
{
    uint32_t slot = pool_take(&r->peers);
    if (slot == POOL_NONE && r->oldest_gone != POOL_NONE) {
        forget(r, r->oldest_gone);
        slot = pool_take(&r->peers);
    }
    if (slot == POOL_NONE)
        return POOL_NONE;
    struct registry_peer *p = registry_peer(r, slot);
    p->id = *id;
    p->lease_end_us = lease_end_us;
    gone_link(r, slot);
    bool put = map_put(&r->by_id, hash_id(r, id), slot);
    assert(put);
    (void)put;
    heap_set(&r->leases, slot, lease_end_us);
    return slot;
}

const struct registry_peer *registry_find(const struct registry *r, const struct peer_id *id,
                                          uint64_t now)
{
    uint32_t slot = registry_slot_by_id(r, id);
    const struct registry_peer *p = slot != POOL_NONE ? registry_peer(r, slot) : NULL;
    return p && p->conn && p->lease_end_us > now ? p : NULL;
}

/* ---- REGISTER -------------------------------------------------------------------------------- */

unsigned registry_say(struct registry_out *out, uint64_t conn, const struct message *m)
{
    out->conn = conn;
    out->to.family = 0;
    out->size = message_encode(m, out->data, sizeof out->data);
    assert(out->size > 0); /* the longest of ours is shorter than MESSAGE_BODY_MAX */
    return 1;
}

/* What PROTOCOL §3 asks of a newcomer beside who he is; *wait_us: when to come again. */
static enum nat_reason newcomer_judge(struct registry *r, const struct registry_in *in,
                                      const struct message *m, struct message *answer,
                                      uint64_t *wait_us, uint64_t now)
{
    const struct registry_config *c = &r->config;
    *wait_us = limit_take_addr(&r->limiter, &c->address_rate, &in->path.remote, now);
    if (*wait_us)
        return NAT_RATE_LIMITED;
    bool load = limit_take_one(&r->load_full_us, &c->load_rate, now) != 0;
    uint8_t bits = load && c->pow_load_bits > c->pow_bits ? c->pow_load_bits : c->pow_bits;
    if (bits == 0)
        return NAT_ACCEPTED;
    bool tried = message_has(m, FIELD_POW_CHALLENGE);
    if (tried && pow_challenge_is_ours(r->pow_secret, &in->peer, now, m->pow_challenge)
        && pow_solves(m->pow_challenge, &in->peer, m->pow_solution, bits))
        return NAT_ACCEPTED;
    pow_challenge(r->pow_secret, &in->peer, now, answer->pow_challenge);
    answer->pow_bits = bits;
    message_set(answer, FIELD_POW_CHALLENGE);
    message_set(answer, FIELD_POW_BITS);
    return tried ? NAT_POW_INVALID : NAT_POW_REQUIRED;
}

/* PROTOCOL §3: the reasons, in their order. */
static enum nat_reason register_judge(struct registry *r, const struct registry_in *in,
                                      const struct message *m, struct message *answer,
                                      uint64_t *wait_us, uint64_t now)
{
    const struct registry_config *c = &r->config;
    if (m->version != MESSAGE_VERSION)
        return NAT_VERSION;
    if (!peer_id_equal(&m->peer_id, &in->peer))
        return NAT_IDENTITY_MISMATCH;
    if (r->shutting_down)
        return NAT_SHUTTING_DOWN;
    if (c->banned && peer_set_has(c->banned, &in->peer))
        return NAT_BANNED;
    if (c->allow && !peer_set_has(c->allow, &in->peer))
        return NAT_POLICY;
    *wait_us = limit_take(&r->limiter, &c->peer_rate, in->peer.bytes, PEER_ID_SIZE, now);
    if (*wait_us)
        return NAT_RATE_LIMITED;
    uint32_t slot = registry_slot_by_id(r, &in->peer);
    const struct registry_peer *p = slot != POOL_NONE ? registry_peer(r, slot) : NULL;
    bool renewal = p && p->conn == in->conn;
    enum nat_reason reason = NAT_ACCEPTED;
    if (!renewal)
        reason = newcomer_judge(r, in, m, answer, wait_us, now);
    if (reason != NAT_ACCEPTED)
        return reason;
    if (p && m->generation < p->generation && p->lease_end_us > now)
        return NAT_STALE_GENERATION;
    if (!p && m->lease_s > 0 && r->peers.used == r->peers.count && r->oldest_gone == POOL_NONE)
        return NAT_CAPACITY;
    return NAT_ACCEPTED;
}

/* The lease that is given, in seconds. */
static uint32_t enlist(struct registry *r, const struct registry_in *in, const struct message *m,
                       uint64_t now)
{
    const struct registry_config *c = &r->config;
    uint32_t slot = registry_slot_by_id(r, &in->peer), lease_s = m->lease_s;
    if (lease_s == 0) { /* PROTOCOL §3: it says goodbye */
        if (slot != POOL_NONE)
            forget(r, slot);
        return 0;
    }
    /* PROTOCOL §3: leases are cut to what we allow. */
    lease_s = lease_s < c->lease_min_s ? c->lease_min_s : lease_s;
    lease_s = lease_s > c->lease_max_s ? c->lease_max_s : lease_s;
    uint64_t end_us = now + (uint64_t)lease_s * 1000000;
    if (slot == POOL_NONE)
        slot = registry_add(r, &in->peer, end_us);
    assert(slot != POOL_NONE); /* register_judge has looked */
    struct registry_peer *p = registry_peer(r, slot);
    set_conn(r, slot, in->conn);
    p->generation = m->generation;
    p->capabilities = m->capabilities;
    p->lease_end_us = end_us;
    heap_set(&r->leases, slot, end_us);
    return lease_s;
}

static void add_nodes(const struct registry *r, struct message *answer)
{
    for (unsigned i = 0; i < MESSAGE_NODES && r->config.nodes[i]; i++) {
        const uint8_t *text = (const uint8_t *)r->config.nodes[i];
        answer->nodes[answer->node_count++] = (struct aq_iov){text, strlen(r->config.nodes[i])};
        message_set(answer, FIELD_NODE);
    }
}

static unsigned register_recv(struct registry *r, const struct registry_in *in,
                              const struct message *m, struct registry_out *out, uint64_t now)
{
    struct message answer = {.type = MESSAGE_REGISTERED, .observed = in->path.remote};
    uint64_t wait_us = 0;
    answer.reason = (uint8_t)register_judge(r, in, m, &answer, &wait_us, now);
    r->registered[answer.reason]++;
    message_set(&answer, FIELD_REASON);
    /* PROTOCOL §3: the address is what we see, never what he says. */
    message_set(&answer, FIELD_OBSERVED);
    if (message_has(m, FIELD_GENERATION)) {
        answer.generation = m->generation;
        message_set(&answer, FIELD_GENERATION);
    }
    if (answer.reason == NAT_ACCEPTED) {
        answer.lease_s = enlist(r, in, m, now);
        message_set(&answer, FIELD_LEASE);
        add_nodes(r, &answer);
    }
    if (wait_us) {
        answer.retry_after_ms = (uint32_t)((wait_us + 999) / 1000);
        message_set(&answer, FIELD_RETRY_AFTER);
    }
    return registry_say(out, in->conn, &answer);
}

/* ---- in and out ------------------------------------------------------------------------------ */

static unsigned malformed(struct registry *r, const struct registry_in *in, const struct message *m,
                          struct registry_out *out)
{
    if (m->type >= MESSAGE_CONNECT && m->type <= MESSAGE_PROBE)
        return coordinate_malformed(r, in->conn, m, out);
    struct message answer = {.type = MESSAGE_REGISTERED, .reason = NAT_MALFORMED};
    message_set(&answer, FIELD_REASON);
    r->registered[NAT_MALFORMED]++;
    return registry_say(out, in->conn, &answer);
}

/* Addresses are those of the connection, whatever is said on it. */
static void observe(struct registry *r, const struct registry_in *in)
{
    uint32_t slot = registry_slot_by_conn(r, in->conn);
    if (slot == POOL_NONE)
        return;
    registry_peer(r, slot)->path = in->path;
    registry_peer(r, slot)->rtt_us = in->rtt_us;
}

unsigned registry_recv(struct registry *r, const struct registry_in *in,
                       struct registry_out out[REGISTRY_OUT], uint64_t now)
{
    struct message m;
    unsigned said;
    assert(in->conn > 0 && in->path.remote.family != 0);
    enum message_verdict verdict = message_decode(in->data, in->size, &m);
    if (verdict == MESSAGE_UNKNOWN)
        return 0;
    /* REGISTERED is ours to say, not a peer's. */
    if (verdict == MESSAGE_BAD || m.type == MESSAGE_REGISTERED)
        return malformed(r, in, &m, out);
    if (m.type == MESSAGE_REGISTER) {
        said = register_recv(r, in, &m, out, now);
        observe(r, in);
        return said;
    }
    observe(r, in);
    if (m.type == MESSAGE_PROBE)
        return probe_recv(r, in, &m, out, now);
    return coordinate_recv(r, in, &m, out, now);
}

void registry_closed(struct registry *r, uint64_t conn)
{
    uint32_t slot = registry_slot_by_conn(r, conn);
    if (slot != POOL_NONE)
        set_conn(r, slot, 0); /* PROTOCOL §3: off the list at once */
}

unsigned registry_tick(struct registry *r, struct registry_out out[REGISTRY_OUT], uint64_t now)
{
    uint32_t slot;
    while (heap_top(&r->leases, &slot) <= now)
        forget(r, slot);
    while (r->config.relay && (slot = relay_expired(r->config.relay, now)) != POOL_NONE)
        coordinate_pair_ended(r, slot);
    while (heap_top(&r->timeouts, &slot) <= now) {
        unsigned said = coordinate_timeout(r, slot, out);
        if (said)
            return said;
    }
    return 0;
}

uint64_t registry_deadline(const struct registry *r)
{
    uint64_t lease = heap_top(&r->leases, NULL), timeout = heap_top(&r->timeouts, NULL);
    uint64_t idle = r->config.relay ? relay_deadline(r->config.relay) : UINT64_MAX;
    uint64_t first = lease < timeout ? lease : timeout;
    return first < idle ? first : idle;
}
