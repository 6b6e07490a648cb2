/* coordinate.c -- two registered peers: CONNECT through the relay, PUNCH without it (PROTOCOL §4).
 *
 *     initiator            bootstrap              target
 *        | CONNECT request     |                     |
 *        |-------------------->| CONNECT ask         |
 *        | CONNECT go          |-------------------->|   its answer to the QUIC handshake, through
 * the
 *        |<--------------------|                     |   relay, is its consent; or CONNECT answer:
 * no
 *
 *        | PUNCH request       |                     |
 *        |-------------------->| PUNCH ask           |
 *        |                     |-------------------->|
 *        | PUNCH go            | PUNCH answer: yes   |
 *        |<--------------------|<--------------------|
 *        |                     | PUNCH go            |
 *        |                     |-------------------->|   both open, the initiator dials
 *
 * A request in progress is a record with a deadline; it knows its peers by handles, so one that has
 * gone is not mistaken for another. Only its target may answer it. Called by nat/registry.c. */
#include "nat/registry.h"

#include "crypto/prim.h"

#include <assert.h>
#include <string.h>

static struct registry_request *request_at(const struct registry *r, uint32_t slot)
{
    return pool_at(&r->requests, slot);
}

static uint64_t hash_request(const struct registry *r, const uint8_t id[REQUEST_ID_SIZE])
{
    return prim_siphash(r->key, id, REQUEST_ID_SIZE);
}

static uint32_t request_find(const struct registry *r, const uint8_t id[REQUEST_ID_SIZE])
{
    uint32_t at;
    uint64_t hash = hash_request(r, id);
    uint32_t slot = map_find(&r->by_request, hash, &at);
    while (slot != MAP_NONE && memcmp(request_at(r, slot)->id, id, REQUEST_ID_SIZE) != 0)
        slot = map_next(&r->by_request, hash, &at);
    return slot;
}

static void request_end(struct registry *r, uint32_t slot)
{
    map_remove(&r->by_request, hash_request(r, request_at(r, slot)->id), slot);
    heap_set(&r->timeouts, slot, UINT64_MAX);
    pool_give(&r->requests, slot);
}

/* The peer behind a handle, if it is still registered and there. */
static struct registry_peer *peer_of(const struct registry *r, uint64_t handle)
{
    uint32_t slot = pool_find(&r->peers, handle);
    struct registry_peer *p = slot != POOL_NONE ? registry_peer(r, slot) : NULL;
    return p && p->conn ? p : NULL;
}

unsigned coordinate_refuse(struct registry *r, uint64_t conn, const struct message *m,
                           enum nat_reason reason, uint64_t wait_us, struct registry_out *out)
{
    struct message answer = message_about(m->type, STEP_REFUSED, m->request_id);
    answer.reason = (uint8_t)reason;
    message_set(&answer, FIELD_REASON);
    r->coordinated[reason]++;
    if (wait_us) {
        answer.retry_after_ms = (uint32_t)((wait_us + 999) / 1000);
        message_set(&answer, FIELD_RETRY_AFTER);
    }
    return registry_say(out, conn, &answer);
}

unsigned coordinate_malformed(struct registry *r, uint64_t conn, const struct message *m,
                              struct registry_out *out)
{
    if (message_has(m, FIELD_REQUEST_ID))
        return coordinate_refuse(r, conn, m, NAT_MALFORMED, 0, out);
    r->coordinated[NAT_MALFORMED]++; /* nobody could tell what an answer would be about */
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool capable(const struct registry_peer *p, uint16_t type)
{
    return p->capabilities & (type == MESSAGE_CONNECT ? CAPABLE_RELAY : CAPABLE_PUNCH);
}

/* PROTOCOL §4: whether this initiator may ask this target now. */
static enum nat_reason request_judge(struct registry *r, const struct message *m,
                                     struct registry_peer *initiator, struct registry_peer *target,
                                     uint64_t *wait_us, uint64_t now)
{
    const struct registry_config *c = &r->config;
    if (r->shutting_down)
        return NAT_SHUTTING_DOWN;
    if (!initiator || initiator->lease_end_us <= now)
        return NAT_NOT_REGISTERED;
    if (target == initiator || request_find(r, m->request_id) != MAP_NONE)
        return NAT_MALFORMED;
    /* The initiator pays before it learns who is here: else asking would be free. */
    *wait_us = limit_take_one(&initiator->initiated_full_us, &c->initiator_rate, now);
    if (*wait_us)
        return NAT_RATE_LIMITED;
    if (!target || !target->conn || target->lease_end_us <= now)
        return NAT_NOT_REGISTERED;
    if (m->type == MESSAGE_CONNECT && !c->relay)
        return NAT_NO_RELAY;
    if (!capable(target, m->type))
        return NAT_REFUSED;
    *wait_us = limit_take_one(&target->asked_full_us, &c->target_rate, now);
    return *wait_us ? NAT_RATE_LIMITED : NAT_ACCEPTED;
}

struct couple {
    const struct registry_peer *initiator, *target;
};

/* A pair of channels for two peers; POOL_NONE: they have too many, or the relay has. */
static uint32_t pair_open(struct registry *r, uint32_t initiator, uint32_t target, uint64_t now)
{
    struct relay *relay = r->config.relay;
    struct registry_peer *a = registry_peer(r, initiator), *b = registry_peer(r, target);
    const struct relay_end ends[2] = {
        {.path = a->path, .owner = pool_handle(&r->peers, initiator)},
        {.path = b->path, .owner = pool_handle(&r->peers, target)},
    };
    uint32_t most = relay->config.max_pairs_per_peer;
    uint32_t pair = a->pairs < most && b->pairs < most ? relay_open(relay, ends, now) : POOL_NONE;
    if (pair != POOL_NONE) {
        a->pairs++;
        b->pairs++;
    }
    return pair;
}

void coordinate_pair_ended(struct registry *r, uint32_t pair)
{
    for (unsigned i = 0; i < 2; i++) {
        /* Also of one that is gone and may come back: its record is the same. */
        uint32_t slot = pool_find(&r->peers, relay_pair(r->config.relay, pair)->end[i].owner);
        if (slot != POOL_NONE)
            registry_peer(r, slot)->pairs--;
    }
    relay_close(r->config.relay, pair);
}

static unsigned say_connect(const struct couple *couple, const struct relay_pair *pair,
                            const struct message *asked, struct registry_out out[REGISTRY_OUT])
{
    struct message m = message_about(MESSAGE_CONNECT, STEP_ASK, asked->request_id);
    message_set(&m, FIELD_CHANNEL_IN);
    message_set(&m, FIELD_CHANNEL_OUT);
    m.channel_in = pair->end[0].channel;
    m.channel_out = pair->end[1].channel;
    struct message go = m;
    m.peer_id = couple->initiator->id;
    message_set(&m, FIELD_PEER_ID);
    if (message_has(asked, FIELD_PACKET)) {
        m.packet = asked->packet;
        message_set(&m, FIELD_PACKET);
    }
    registry_say(&out[0], couple->target->conn, &m);
    go.step = STEP_GO;
    go.channel_out = pair->end[0].channel;
    go.channel_in = pair->end[1].channel;
    registry_say(&out[1], couple->initiator->conn, &go);
    return 2;
}

static unsigned say_ask(const struct couple *couple, const struct message *asked,
                        struct registry_out *out)
{
    struct message m = message_about(MESSAGE_PUNCH, STEP_ASK, asked->request_id);
    /* PROTOCOL §4: who asks, but not where from: no address before the consent. */
    m.peer_id = couple->initiator->id;
    message_set(&m, FIELD_PEER_ID);
    return registry_say(out, couple->target->conn, &m);
}

static unsigned request_recv(struct registry *r, const struct registry_in *in,
                             const struct message *m, struct registry_out out[REGISTRY_OUT],
                             uint64_t now)
{
    uint32_t from = registry_slot_by_conn(r, in->conn), to = registry_slot_by_id(r, &m->target);
    uint64_t wait_us = 0;
    enum nat_reason reason =
        request_judge(r, m, from != POOL_NONE ? registry_peer(r, from) : NULL,
                      to != POOL_NONE ? registry_peer(r, to) : NULL, &wait_us, now);
    if (reason != NAT_ACCEPTED)
        return coordinate_refuse(r, in->conn, m, reason, wait_us, out);
    bool relayed = m->type == MESSAGE_CONNECT;
    const struct couple couple = {registry_peer(r, from), registry_peer(r, to)};
    uint32_t slot = pool_take(&r->requests);
    if (slot == POOL_NONE)
        return coordinate_refuse(r, in->conn, m, NAT_CAPACITY, 0, out);
    uint32_t pair = relayed ? pair_open(r, from, to, now) : POOL_NONE;
    if (relayed && pair == POOL_NONE) {
        pool_give(&r->requests, slot);
        return coordinate_refuse(r, in->conn, m, NAT_CAPACITY, 0, out);
    }
    struct registry_request *q = request_at(r, slot);
    *q = (struct registry_request){.initiator = pool_handle(&r->peers, from),
                                   .target = pool_handle(&r->peers, to),
                                   .type = m->type};
    memcpy(q->id, m->request_id, REQUEST_ID_SIZE);
    q->pair = relayed ? pool_handle(&r->config.relay->pairs, pair) : 0;
    bool put = map_put(&r->by_request, hash_request(r, q->id), slot);
    assert(put); /* as many as requests */
    (void)put;
    heap_set(&r->timeouts, slot, now + (relayed ? r->config.connect_us : r->config.punch_us));
    r->coordinated[NAT_ACCEPTED]++;
    if (relayed)
        return say_connect(&couple, relay_pair(r->config.relay, pair), m, out);
    return say_ask(&couple, m, out);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Half a round trip each, so that both open at about the same time: relative, never a clock's. */
static uint32_t delay_ms(const struct registry_peer *me, const struct registry_peer *other)
{
    uint64_t mine = me->rtt_us / 2, others = other->rtt_us / 2;
    uint64_t ms = others > mine ? (others - mine) / 1000 : 0;
    return ms < 1000 ? (uint32_t)ms : 1000;
}

static unsigned say_go(struct registry *r, const struct couple *couple,
                       const struct registry_request *q, struct registry_out out[REGISTRY_OUT])
{
    const struct registry_peer *ends[2] = {couple->initiator, couple->target};
    struct message m = message_about(MESSAGE_PUNCH, STEP_GO, q->id);
    static const enum message_field fields[] = {FIELD_PEER_ID, FIELD_TARGET,    FIELD_OBSERVED,
                                                FIELD_DELAY,   FIELD_PUNCH_KEY, FIELD_PEER_ADDRESS};
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        message_set(&m, fields[i]);
    m.peer_id = ends[0]->id;
    m.target = ends[1]->id;
    rng_fill(r->rng, m.punch_key, sizeof m.punch_key);
    for (unsigned i = 0; i < 2; i++) {
        /* PROTOCOL §4: as we observed them, never as claimed. */
        m.observed = ends[i]->path.remote;
        m.peer_address = ends[!i]->path.remote;
        m.delay_ms = delay_ms(ends[i], ends[!i]);
        registry_say(&out[i], ends[i]->conn, &m);
    }
    return 2;
}

static unsigned pass_refusal(struct registry *r, const struct registry_request *q,
                             const struct message *answer, struct registry_out *out)
{
    const struct registry_peer *initiator = peer_of(r, q->initiator);
    struct message m = message_about(q->type, STEP_REFUSED, q->id);
    m.reason = answer->reason < NAT_REASONS ? answer->reason : NAT_REFUSED;
    message_set(&m, FIELD_REASON);
    r->coordinated[m.reason]++;
    if (message_has(answer, FIELD_TEXT)) {
        m.text = answer->text;
        message_set(&m, FIELD_TEXT);
    }
    return initiator ? registry_say(out, initiator->conn, &m) : 0;
}

static unsigned answer_recv(struct registry *r, const struct registry_in *in,
                            const struct message *m, struct registry_out out[REGISTRY_OUT])
{
    uint32_t slot = request_find(r, m->request_id);
    const struct registry_request *q = slot != MAP_NONE ? request_at(r, slot) : NULL;
    const struct couple couple = {q ? peer_of(r, q->initiator) : NULL,
                                  q ? peer_of(r, q->target) : NULL};
    /* Only who was asked may answer, and only that; what is over is over. */
    if (!couple.target || couple.target->conn != in->conn || q->type != m->type)
        return 0;
    unsigned said = 0;
    if (m->reason != NAT_ACCEPTED) {
        uint32_t pair = q->pair ? pool_find(&r->config.relay->pairs, q->pair) : POOL_NONE;
        said = pass_refusal(r, q, m, out);
        if (pair != POOL_NONE)
            coordinate_pair_ended(r, pair); /* PROTOCOL §4: the channels end */
    } else if (m->type == MESSAGE_PUNCH && couple.initiator) {
        said = say_go(r, &couple, q, out);
    }
    request_end(r, slot);
    return said;
}

/* PROTOCOL §4: who was given the channel is done with it; both end, and make room for others. */
static void end_recv(struct registry *r, const struct registry_in *in, const struct message *m)
{
    unsigned end;
    uint32_t pair = r->config.relay ? relay_find(r->config.relay, m->channel_out, &end) : POOL_NONE;
    if (pair == POOL_NONE)
        return;
    const struct registry_peer *owner =
        peer_of(r, relay_pair(r->config.relay, pair)->end[end].owner);
    if (owner && owner->conn == in->conn)
        coordinate_pair_ended(r, pair);
}

unsigned coordinate_recv(struct registry *r, const struct registry_in *in, const struct message *m,
                         struct registry_out out[REGISTRY_OUT], uint64_t now)
{
    switch (m->step) {
    case STEP_REQUEST: return request_recv(r, in, m, out, now);
    case STEP_ANSWER: return answer_recv(r, in, m, out);
    case STEP_END: end_recv(r, in, m); return 0;
    default: return coordinate_malformed(r, in->conn, m, out); /* ours to say */
    }
}

unsigned coordinate_timeout(struct registry *r, uint32_t slot, struct registry_out *out)
{
    const struct registry_request *q = request_at(r, slot);
    const struct registry_peer *initiator = peer_of(r, q->initiator);
    struct message m = message_about(q->type, STEP_REQUEST, q->id);
    unsigned said = 0;
    /* PROTOCOL §4: a target has 2 s. A relayed connection's handshake has a deadline of its own. */
    if (q->type == MESSAGE_PUNCH && initiator)
        said = coordinate_refuse(r, initiator->conn, &m, NAT_TIMEOUT, 0, out);
    request_end(r, slot);
    return said;
}
