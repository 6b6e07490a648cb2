/* security.c -- the attacks of SECURITY.md that a peer, or a stranger, can make through datagrams
 * alone.
 *
 * Each asks: does the connection survive or close with the right code, does the victim keep what it
 * should, and are its answers bounded. Numbers in the names are the rows of SECURITY.md. What
 * floods a victim is in floods.c, what it costs in work.c; rows of one module are in that module's
 * test. */
#include "tests/victim.h"

/* ---- 1: optimistic ACKs
 * --------------------------------------------------------------------------------- */

static void sent_number(struct hostile *peer, enum packet_type type, const struct frame *frame)
{
    (void)frame;
    if (type == PACKET_ONE_RTT)
        *(uint64_t *)peer->user = peer->space[2].received;
}

/* SECURITY.md 1: the number after the last one sent. */
Test(security, ack_of_the_next_number)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        uint64_t next = 0;
        uint8_t frames[32];
        struct writer w = writer_make(frames, sizeof frames);
        peer->user = &next;
        peer->on_frame = sent_number;
        static const uint8_t ping[] = {FRAME_PING};
        for (unsigned i = 0; i < 8; i++) {
            hostile_send(peer, PACKET_ONE_RTT, ping, 1);
            hostile_wait(peer, 30000);
        }
        cr_assert(next > 0);
        frame_write(&w, FRAME_ACK, (uint64_t[]){next + 1, 0, 0, 0}, 4);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
        closed_with(peer, AQ_PROTOCOL_VIOLATION, "1: ACK of a number not sent");
        hostile_free(peer);
    }
}

struct numbers {
    uint64_t next, skipped; /* the next number to come, unless it is skipped */
};

/* Every packet arrives, so a gap is a number that was left out. */
static void watch_numbers(struct hostile *peer, enum packet_type type, const struct frame *frame)
{
    struct numbers *n = peer->user;

    (void)frame;
    if (type != PACKET_ONE_RTT)
        return;
    if (n->next && peer->space[2].received > n->next + 1)
        n->skipped = n->next;
    n->next = peer->space[2].received;
}

/* Lets the victim send until it leaves a number out; which one. */
static uint64_t skipped_number(struct hostile *peer)
{
    static const uint8_t ping[] = {FRAME_PING};
    struct numbers n = {0};

    peer->user = &n;
    peer->on_frame = watch_numbers;
    for (unsigned i = 0; i < 3 * SKIP_SPAN && !n.skipped; i++)
        cr_assert(hostile_send(peer, PACKET_ONE_RTT, ping, 1));
    peer->on_frame = NULL;
    cr_assert(n.skipped > 0, "1: no number was skipped among %llu", (unsigned long long)n.next);
    return n.skipped;
}

/* SECURITY.md 1, RFC 9000 §21.4: a number that was left out, among others that were sent: the
 * window does not grow. */
Test(security, ack_of_a_skipped_number)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        const struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        uint8_t frames[32];
        struct writer w = writer_make(frames, sizeof frames);
        uint64_t skipped = skipped_number(peer), window = conn_path(c)->cc.cwnd_bytes;
        frame_write(&w, FRAME_ACK,
                    (uint64_t[]){peer->space[2].received - 1, 0, 0, skipped < 30 ? skipped : 30},
                    4);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
        closed_with(peer, AQ_PROTOCOL_VIOLATION, "1: ACK of a skipped number");
        cr_expect_eq(conn_path(c)->cc.cwnd_bytes, window, "1: the window grew");
        hostile_free(peer);
    }
}

/* ---- 6: before the handshake
 * ------------------------------------------------------------------------------------------ */

/* SECURITY.md 6: junk of every length, with long headers and short ones, leaves nothing behind. */
Test(security, junk_datagrams)
{
    struct hostile *peer = victim(false, STAGE_START);
    struct sim_rng rng;
    uint8_t bytes[1400];
    uint64_t sent = 0;

    sim_rng_init(&rng, 6);
    for (unsigned i = 0; i < FLOOD; i++) {
        size_t size = (size_t)sim_rng_below(&rng, sizeof bytes + 1);
        for (size_t k = 0; k < size; k += 1 + k / 64)
            bytes[k] = (uint8_t)sim_rng_next(&rng);
        if (size > 6 && i % 2) { /* looks like an Initial of version 1 */
            bytes[0] = 0xc3;
            memcpy(bytes + 1, (uint8_t[]){0, 0, 0, 1, 8}, 5);
        }
        uint64_t answered = peer->bytes;
        hostile_datagram(peer, bytes, size);
        sent += size;
        cr_assert_leq(peer->bytes - answered, 3 * size, "RFC 9000 §8.1: three times");
        peer->addr.port++;
    }
    struct aq_endpoint_stats stats = stats_of(peer);
    cr_expect_eq(stats.conns, 0);
    cr_expect_eq(stats.half_open, 0);
    cr_expect_eq(stats.memory_bytes, 0);
    cr_expect_leq(peer->bytes, 3 * sent);
    hostile_free(peer);
}

/* ---- 5: ids that a stranger chose
 * --------------------------------------------------------------------------------------- */

enum {
    CHOSEN = 100000
};

/* Id number i of a kind: by chance, counted up, or alike in all but one end; a hash without a key
 * would gather the last three. */
static void chosen_id(uint8_t id[8], unsigned kind, uint64_t i, struct sim_rng *rng)
{
    uint64_t x = kind == 0   ? sim_rng_next(rng)
                 : kind == 1 ? i
                 : kind == 2 ? i << 32
                             : i * UINT64_C(0x100000001);

    memcpy(id, &x, 8);
}

/* Places looked at to find each of them once. */
static uint64_t probes_of(const struct endpoint *ep, unsigned kind)
{
    struct map map;
    void *mem = calloc(1, map_size(CHOSEN));
    struct sim_rng rng;
    uint64_t probes = 0;
    uint8_t id[8];

    cr_assert_not_null(mem);
    map_init(&map, mem, CHOSEN);
    for (unsigned look = 0; look < 2; look++) {
        sim_rng_init(&rng, 5);
        for (uint32_t i = 0; i < CHOSEN; i++) {
            uint32_t at;
            chosen_id(id, kind, i, &rng);
            uint64_t hash = endpoint_hash_cid(ep, id, sizeof id);
            if (!look) {
                cr_assert(map_put(&map, hash, i));
                continue;
            }
            cr_assert_eq(map_find(&map, hash, &at), i);
            probes += ((at - (uint32_t)hash) & map.mask) + 1;
        }
    }
    free(mem);
    return probes;
}

static void other_seed(struct aq_config *config)
{
    config->seed[0] ^= 1;
}

/* SECURITY.md 5: ids made to collide are found as fast as random ones; counted in places, not in
 * time. */
Test(security, chosen_ids)
{
    struct hostile *peer = victim(false, STAGE_START);
    const struct endpoint *ep = (const struct endpoint *)peer->ep;
    uint64_t random = probes_of(ep, 0);

    cr_expect_lt(random, 3 * CHOSEN);
    for (unsigned kind = 1; kind < 4; kind++)
        cr_expect_leq(probes_of(ep, kind), 2 * random, "kind %u", kind);
    /* Nor can they be made beforehand: another endpoint's key is another. */
    struct hostile_config config = {.stage = STAGE_START, .config = other_seed};
    struct hostile *other = hostile_new(&config);
    cr_assert_not_null(other);
    cr_expect_neq(
        endpoint_hash_cid(ep, (const uint8_t *)"8 bytes.", 8),
        endpoint_hash_cid((const struct endpoint *)other->ep, (const uint8_t *)"8 bytes.", 8));
    hostile_free(other);
    hostile_free(peer);
}

/* ---- 15: forged ICMP
 * ----------------------------------------------------------------------------------------------------
 */

/* SECURITY.md 15: what ICMP says of a connection's peer changes nothing in it, whatever it says;
 * nor do answers to other addresses. Before the peer's first packet it gives a timeout its words,
 * and no more. RFC 9000 §14.2.1: no MTU comes of it, neither less nor more. */
Test(security, forged_icmp)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        struct endpoint *ep = (struct endpoint *)peer->ep;
        struct conn before;
        struct aq_addr elsewhere = peer->addr;
        memcpy(&before, conn_at(ep, 0), sizeof before); /* with what lies between its members */
        uint64_t deadline = aq_deadline(peer->ep);
        elsewhere.port++;
        for (unsigned i = 0; i < FLOOD; i++) {
            aq_note_unreachable(peer->ep, &peer->addr, "Message too long");
            aq_note_unreachable(peer->ep, &elsewhere, "Connection refused");
        }
        cr_expect_eq(memcmp(&before, conn_at(ep, 0), sizeof before), 0,
                     "15: the connection changed");
        cr_expect_eq(aq_deadline(peer->ep), deadline);
        cr_expect_not(aq_wants_send(peer->ep));
        static const uint8_t ping[] = {FRAME_PING};
        cr_assert(hostile_send(peer, PACKET_ONE_RTT, ping, 1));
        hostile_wait(peer, 100000);
        cr_expect_not(peer->victim_closed);
        hostile_free(peer);
    }
}

/* ---- 19: stateless resets
 * ---------------------------------------------------------------------------------------------------------
 */

/* SECURITY.md 19, RFC 9000 §10.3.3: an answer is smaller than what caused it, and not without end.
 * The ids are such as the victim may have given out in another life. */
Test(security, stateless_resets)
{
    struct hostile *peer = victim(false, STAGE_START);
    const struct endpoint *ep = (const struct endpoint *)peer->ep;
    struct sim_rng rng;
    uint8_t bytes[1200];
    unsigned answers = 0;

    sim_rng_init(&rng, 19);
    for (unsigned i = 0; i < FLOOD; i++) {
        size_t size = (size_t)sim_rng_below(&rng, 100) + 9;
        uint64_t datagrams = peer->datagrams, answered = peer->bytes;
        struct cid_fields fields = {
            .epoch = 7, .generation = (uint16_t)i, .slot = i, .worker = ep->config.worker};
        struct cid cid;
        cid_encode(&ep->cid_key, &fields, &cid);
        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)sim_rng_next(&rng);
        bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40);
        memcpy(bytes + 1, cid.bytes, cid.size);
        hostile_datagram(peer, bytes, size);
        cr_assert_leq(peer->datagrams - datagrams, 1);
        if (peer->datagrams == datagrams)
            continue;
        answers++;
        cr_assert_lt(peer->bytes - answered, size, "RFC 9000 §10.3.3: smaller than the trigger");
        cr_assert_geq(peer->bytes - answered, 21, "RFC 9000 §10.3: at least 21 bytes");
    }
    cr_expect(answers > 0, "19: no stateless reset at all");
    cr_expect(answers < 100, "19: no rate limit (%u answers in no time)", answers);
    hostile_free(peer);
}

/* ---- 24: times
 * ----------------------------------------------------------------------------------------------------
 */

/* SECURITY.md 24: an extreme ack_delay, then an extreme step of the clock. */
Test(security, extreme_times)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        struct aq_conn_stats stats = {.size = sizeof stats};
        static const uint8_t ping[] = {FRAME_PING};
        uint8_t frames[64];
        uint64_t number = peer->space[2].received;
        cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
        hostile_wait(peer, 50000);
        if (peer->space[2].received > number)
            number = peer->space[2].received;
        struct writer w = writer_make(frames, sizeof frames);
        frame_write(&w, FRAME_ACK, (uint64_t[]){number - 1, VARINT_MAX, 0, 0}, 4);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
        cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
        cr_expect(stats.rtt_us > 0 && stats.rtt_us < 10000000 && stats.rtt_var_us < 10000000);
        hostile_send(peer, PACKET_ONE_RTT, ping, 1);
        peer->now_us += UINT64_C(1) << 60;
        hostile_wait(peer, 1000000);
        cr_expect(peer->victim_closed && peer->victim_close.by == AQ_BY_TIMEOUT,
                  "24: idle after a step of 2^60 us");
        hostile_free(peer);
    }
}

/* SECURITY.md 24, RFC 9002 §5.3: of a reported delay no more counts than max_ack_delay, 25 ms here.
 */
Test(security, reported_delay)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        const struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        const struct rtt *rtt = &conn_path(c)->rtt;
        for (unsigned i = 0; i < 2; i++) { /* the first sample is taken as it is */
            cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
            hostile_wait(peer, 1000);
            uint64_t before = rtt->smoothed_us, number = c->app.sent.next - 1;
            peer->now_us += i ? 100000 : 10000;
            uint8_t frames[32];
            struct writer w = writer_make(frames, sizeof frames);
            frame_write(&w, FRAME_ACK, (uint64_t[]){number, 60000 >> 3, 0, 0}, 4);
            hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
            if (!i)
                continue;
            cr_expect_geq(rtt->latest_us, 100000);
            cr_expect_eq(rtt->smoothed_us, (7 * before + rtt->latest_us - 25000) / 8);
        }
        hostile_free(peer);
    }
}
