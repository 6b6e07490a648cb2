/* security.c -- the attacks of SECURITY.md that a peer, or a stranger, can make through datagrams alone.
 *
 * Each test floods a victim with one kind of thing, thousands of times, and asks three questions: does the
 * memory it borrows stay within 64 KiB of where it was, does the connection survive or close with the right
 * code, and are the answers bounded. Numbers in the names are the rows of SECURITY.md. */
#include "core/endpoint.h"
#include "tests/sim/hostile.h"
#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOOD = 20000, GROWTH = 64 << 10 };

static struct hostile *victim(bool server, enum hostile_stage stage)
{
    struct hostile_config config = {.server = server, .stage = stage};
    struct hostile *peer = hostile_new(&config);

    cr_assert_not_null(peer);
    return peer;
}

static struct aq_endpoint_stats stats_of(const struct hostile *peer)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    aq_endpoint_stats(peer->ep, &stats);
    return stats;
}

/* One flood: make(i) writes the frames of packet i. Ends early when the victim closes. */
static void flood(struct hostile *peer, enum packet_type type, void (*make)(struct writer *w, uint64_t i),
                  uint64_t count)
{
    uint64_t before = stats_of(peer).memory_bytes;
    uint8_t frames[1024];

    for (uint64_t i = 0; i < count && !peer->victim_closed; i++) {
        struct writer w = writer_make(frames, sizeof frames);
        make(&w, i);
        cr_assert_not(w.bad);
        cr_assert(hostile_send(peer, type, frames, (size_t)(w.p - frames)));
        if (i % 64 == 0)
            hostile_wait(peer, 1000);
        cr_assert_leq(stats_of(peer).memory_bytes, before + GROWTH, "packet %llu: %llu bytes more",
                      (unsigned long long)i, (unsigned long long)(stats_of(peer).memory_bytes - before));
    }
}

static void closed_with(const struct hostile *peer, uint64_t code, const char *what)
{
    cr_expect(peer->close.seen && !peer->close.application && peer->close.code == code, "%s: %s, code %llx '%s'", what,
              peer->close.seen ? "closed" : "not closed", (unsigned long long)peer->close.code, peer->close.reason);
}

static void frame_write(struct writer *w, uint64_t type, const uint64_t *numbers, unsigned count)
{
    write_varint(w, type);
    for (unsigned i = 0; i < count; i++)
        write_varint(w, numbers[i]);
}

/* ---- 1: optimistic ACKs --------------------------------------------------------------------------------- */

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

/* ---- 2: CRYPTO fragments ------------------------------------------------------------------------------------ */

static void crypto_sparse(struct writer *w, uint64_t i)
{
    frame_write(w, FRAME_CRYPTO, (uint64_t[]){5 + i * 7 % 60000, 1}, 2);
    write_u8(w, 1);
}

/* SECURITY.md 2 */
Test(security, crypto_fragments)
{
    static const enum packet_type types[] = {PACKET_INITIAL, PACKET_HANDSHAKE, PACKET_ONE_RTT};
    static const enum hostile_stage stages[] = {STAGE_INITIAL, STAGE_HANDSHAKE, STAGE_DONE};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned server = 0; server < 2; server++) {
            struct hostile *peer = victim(server, stages[i]);
            flood(peer, types[i], crypto_sparse, FLOOD / 8);
            if (peer->close.seen)
                closed_with(peer, AQ_CRYPTO_BUFFER_EXCEEDED, "2: CRYPTO fragments");
            hostile_free(peer);
        }
    }
}

/* ---- 3: PATH_CHALLENGE ----------------------------------------------------------------------------------------- */

static void challenges(struct writer *w, uint64_t i)
{
    for (unsigned k = 0; k < 16; k++) {
        write_u8(w, FRAME_PATH_CHALLENGE);
        write_uint(w, i * 16 + k, 8);
    }
}

/* SECURITY.md 3: one pending response, the newest wins. */
Test(security, path_challenges)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        flood(peer, PACKET_ONE_RTT, challenges, FLOOD / 4);
        cr_expect_leq(peer->frames_seen[FRAME_PATH_RESPONSE], FLOOD / 4 + 1, "3: more than one response a packet");
        hostile_free(peer);
    }
}

/* ---- 4: connection ids --------------------------------------------------------------------------------------------- */

static void new_ids(struct writer *w, uint64_t i)
{
    for (uint64_t k = i * 8 + 1; k <= i * 8 + 8; k++) {
        frame_write(w, FRAME_NEW_CONNECTION_ID, (uint64_t[]){k, k}, 2);
        write_u8(w, 8);
        write_uint(w, k * UINT64_C(0x9e3779b97f4a7c15), 8);
        write_uint(w, k, 8);
        write_uint(w, k, 8);
    }
}

static void retire_ids(struct writer *w, uint64_t i)
{
    frame_write(w, FRAME_RETIRE_CONNECTION_ID, (uint64_t[]){i + 1}, 1);
}

/* SECURITY.md 4: RETIRE_CONNECTION_ID frames that the peer never acknowledges are bounded. */
Test(security, retirement_storm)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        flood(peer, PACKET_ONE_RTT, new_ids, FLOOD / 8);
        closed_with(peer, AQ_CONNECTION_ID_LIMIT_ERROR, "4: NEW_CONNECTION_ID with retire_prior_to");
        hostile_free(peer);

        peer = victim(server, STAGE_DONE);
        flood(peer, PACKET_ONE_RTT, retire_ids, FLOOD / 8);
        if (peer->close.seen)
            closed_with(peer, AQ_PROTOCOL_VIOLATION, "4: RETIRE_CONNECTION_ID");
        hostile_free(peer);
    }
}

/* ---- 6: before the handshake ------------------------------------------------------------------------------------------ */

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

/* ---- 5: ids that a stranger chose --------------------------------------------------------------------------------------- */

enum { CHOSEN = 100000 };

/* Id number i of a kind: by chance, counted up, or alike in all but one end; a hash without a key would gather the
 * last three. */
static void chosen_id(uint8_t id[8], unsigned kind, uint64_t i, struct sim_rng *rng)
{
    uint64_t x = kind == 0 ? sim_rng_next(rng) : kind == 1 ? i : kind == 2 ? i << 32 : i * UINT64_C(0x100000001);

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

/* SECURITY.md 5: ids made to collide are found as fast as random ones; counted in places, not in time. */
Test(security, chosen_ids)
{
    struct hostile *peer = victim(false, STAGE_START);
    const struct endpoint *ep = (const struct endpoint *)peer->ep;
    uint64_t random = probes_of(ep, 0);

    cr_expect_lt(random, 3 * CHOSEN);
    for (unsigned kind = 1; kind < 4; kind++)
        cr_expect_leq(probes_of(ep, kind), 2 * random, "kind %u", kind);
    hostile_free(peer);
}

/* ---- 15: forged ICMP ---------------------------------------------------------------------------------------------------- */

/* SECURITY.md 15: what ICMP says of a connection's peer changes nothing in it, whatever it says; nor do answers to
 * other addresses. Before the peer's first packet it gives a timeout its words, and no more. */
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
        cr_expect_eq(memcmp(&before, conn_at(ep, 0), sizeof before), 0, "15: the connection changed");
        cr_expect_eq(aq_deadline(peer->ep), deadline);
        cr_expect_not(aq_wants_send(peer->ep));
        static const uint8_t ping[] = {FRAME_PING};
        cr_assert(hostile_send(peer, PACKET_ONE_RTT, ping, 1));
        hostile_wait(peer, 100000);
        cr_expect_not(peer->victim_closed);
        hostile_free(peer);
    }
}

/* ---- 11: ACK ranges ------------------------------------------------------------------------------------------------------ */

/* SECURITY.md 11: every second packet is missing; what is kept of it is bounded, and so is each ACK. */
Test(security, alternating_gaps)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        uint64_t before = stats_of(peer).memory_bytes;
        static const uint8_t ping[] = {FRAME_PING};
        for (unsigned i = 0; i < FLOOD; i++) {
            peer->space[2].next++;
            cr_assert(hostile_send(peer, PACKET_ONE_RTT, ping, 1));
            if (i % 16 == 0)
                hostile_wait(peer, 1000);
        }
        hostile_wait(peer, 100000);
        cr_expect_not(peer->close.seen);
        cr_expect(peer->frames_seen[FRAME_ACK] > 0);
        cr_expect_leq(peer->last_ack.range_count, 31, "11: more than 32 ranges");
        cr_expect_leq(stats_of(peer).memory_bytes, before + GROWTH, "11: %llu bytes more",
                      (unsigned long long)(stats_of(peer).memory_bytes - before));
        hostile_free(peer);
    }
}

/* ---- 13: reassembly ---------------------------------------------------------------------------------------------------------- */

static void fragments(struct writer *w, uint64_t i)
{
    for (unsigned k = 0; k < 16; k++) {
        frame_write(w, FRAME_STREAM | FRAME_STREAM_OFF | FRAME_STREAM_LEN,
                    (uint64_t[]){k % 2 * 4, 1 + (i * 16 + k) * 2 % 4094, 1}, 3);
        write_u8(w, 0);
    }
}

/* SECURITY.md 13: one-byte fragments that never join. */
Test(security, one_byte_fragments)
{
    struct hostile *peer = victim(false, STAGE_DONE);

    flood(peer, PACKET_ONE_RTT, fragments, FLOOD / 16);
    cr_expect_leq(stats_of(peer).streams, 4);
    hostile_free(peer);
}

/* ---- 19: stateless resets --------------------------------------------------------------------------------------------------------- */

/* SECURITY.md 19, RFC 9000 §10.3.3: an answer is smaller than what caused it, and not without end. */
Test(security, stateless_resets)
{
    struct hostile *peer = victim(false, STAGE_START);
    struct sim_rng rng;
    uint8_t bytes[1200];
    unsigned answers = 0;

    sim_rng_init(&rng, 19);
    for (unsigned i = 0; i < FLOOD; i++) {
        size_t size = (size_t)sim_rng_below(&rng, 100) + 1;
        uint64_t datagrams = peer->datagrams, answered = peer->bytes;
        for (size_t k = 0; k < size; k++)
            bytes[k] = (uint8_t)sim_rng_next(&rng);
        bytes[0] = (uint8_t)((bytes[0] & 0x3f) | 0x40);
        hostile_datagram(peer, bytes, size);
        cr_assert_leq(peer->datagrams - datagrams, 1);
        if (peer->datagrams == datagrams)
            continue;
        answers++;
        cr_assert_lt(peer->bytes - answered, size, "RFC 9000 §10.3.3: smaller than the trigger");
        cr_assert_geq(peer->bytes - answered, 21, "RFC 9000 §10.3: at least 21 bytes");
    }
    cr_expect(answers > 0, "19: no stateless reset at all");
    cr_expect(answers < FLOOD / 2, "19: no rate limit (%u answers)", answers);
    hostile_free(peer);
}

/* ---- 21, 22, 23, 24 ------------------------------------------------------------------------------------------------------------------ */

static void tokens(struct writer *w, uint64_t i)
{
    frame_write(w, FRAME_NEW_TOKEN, (uint64_t[]){500}, 1);
    for (unsigned k = 0; k < 500; k++)
        write_u8(w, (uint8_t)(i + k));
}

/* SECURITY.md 21 */
Test(security, token_flood)
{
    struct hostile *peer = victim(true, STAGE_DONE);

    flood(peer, PACKET_ONE_RTT, tokens, FLOOD / 4);
    hostile_free(peer);
}

/* SECURITY.md 22: packets ahead of their keys. */
Test(security, packets_ahead_of_keys)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_INITIAL);
        uint64_t before = stats_of(peer).memory_bytes;
        uint8_t bytes[1200] = {0x43};
        memcpy(bytes + 1, peer->other.bytes, peer->other.size);
        for (unsigned i = 0; i < FLOOD; i++) {
            bytes[40] = (uint8_t)i;
            hostile_datagram(peer, bytes, sizeof bytes);
        }
        cr_expect_leq(stats_of(peer).memory_bytes, before + GROWTH);
        cr_expect_not(peer->close.seen);
        hostile_free(peer);
    }
}

/* Frames that say nothing new; each kind is a storm of its own. A stream's id in the first column stands for
 * one that the peer may use. */
static const struct {
    const char *name;
    uint64_t type, numbers[3];
    unsigned count;
    bool stream; /* the first number is the id of the peer's first stream */
    bool by_server;
} storms[] = {
    {"PING", FRAME_PING, {0}, 0, false, false},
    {"MAX_DATA", FRAME_MAX_DATA, {1 << 20}, 1, false, false},
    {"MAX_STREAMS", FRAME_MAX_STREAMS_BIDI, {1}, 1, false, false},
    {"MAX_STREAM_DATA", FRAME_MAX_STREAM_DATA, {0, 1}, 2, true, false},
    {"DATA_BLOCKED", FRAME_DATA_BLOCKED, {1}, 1, false, false},
    {"STREAM_DATA_BLOCKED", FRAME_STREAM_DATA_BLOCKED, {0, 1}, 2, true, false},
    {"STREAMS_BLOCKED", FRAME_STREAMS_BLOCKED_UNI, {1}, 1, false, false},
    {"RESET_STREAM", FRAME_RESET_STREAM, {0, 7, 0}, 3, true, false},
    {"STOP_SENDING", FRAME_STOP_SENDING, {0, 7}, 2, true, false},
    {"an empty STREAM", FRAME_STREAM | FRAME_STREAM_LEN, {0, 0}, 2, true, false},
    {"IMMEDIATE_ACK", FRAME_IMMEDIATE_ACK, {0}, 0, false, false},
    {"HANDSHAKE_DONE", FRAME_HANDSHAKE_DONE, {0}, 0, false, true},
};

static void storm_send(struct hostile *peer, unsigned row, unsigned frames_each)
{
    uint8_t frames[1024];
    struct writer w = writer_make(frames, sizeof frames);

    for (unsigned k = 0; k < frames_each; k++) {
        uint64_t numbers[3] = {storms[row].numbers[0], storms[row].numbers[1], storms[row].numbers[2]};
        if (storms[row].stream)
            numbers[0] = peer->config.server ? 1 : 0;
        frame_write(&w, storms[row].type, numbers, storms[row].count);
    }
    cr_assert_not(w.bad);
    cr_assert(hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames)));
}

/* SECURITY.md 23: 100 a packet close it soon, and say why; 8 a packet never do. */
Test(security, frame_storm)
{
    for (unsigned row = 0; row < sizeof storms / sizeof *storms; row++) {
        for (unsigned server = storms[row].by_server; server < 2; server++) {
            struct hostile *peer = victim(server, STAGE_DONE);
            uint64_t before = stats_of(peer).memory_bytes;
            unsigned packets = 0;
            for (; packets < 200 && !peer->victim_closed; packets++) {
                storm_send(peer, row, 100);
                hostile_wait(peer, 1000);
                cr_assert_leq(stats_of(peer).memory_bytes, before + GROWTH);
            }
            closed_with(peer, AQ_PROTOCOL_VIOLATION, storms[row].name);
            cr_expect_str_eq(peer->victim_close.reason, "too many frames without effect", "%s", storms[row].name);
            cr_expect(packets > 40 && packets < 60, "%s: closed after %u packets", storms[row].name, packets);
            hostile_free(peer);

            peer = victim(server, STAGE_DONE);
            for (unsigned i = 0; i < 2000; i++) {
                storm_send(peer, row, 8);
                if (i % 16 == 0)
                    hostile_wait(peer, 1000);
            }
            cr_expect_not(peer->victim_closed, "%s: closed in honest measure", storms[row].name);
            hostile_free(peer);
        }
    }
}

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
        cr_expect(peer->victim_closed && peer->victim_close.by == AQ_BY_TIMEOUT, "24: idle after a step of 2^60 us");
        hostile_free(peer);
    }
}
