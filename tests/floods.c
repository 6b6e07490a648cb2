/* floods.c -- SECURITY.md's rows that are floods: thousands of packets of one kind.
 *
 * Three questions: does the memory that the victim borrows stay within 64 KiB of where it was, does
 * the connection survive or close with the right code, and are the answers bounded. Numbers in the
 * names are the rows. */
#include "tests/victim.h"

/* One flood: make(i) writes the frames of packet i. Ends early when the victim closes. */
static void flood(struct hostile *peer, enum packet_type type,
                  void (*make)(struct writer *w, uint64_t i), uint64_t count)
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
                      (unsigned long long)i,
                      (unsigned long long)(stats_of(peer).memory_bytes - before));
    }
}

/* ---- 2: CRYPTO fragments
 * ------------------------------------------------------------------------------------ */

static void crypto_sparse(struct writer *w, uint64_t i)
{
    frame_write(w, FRAME_CRYPTO, (uint64_t[]){5 + i * 31 % 60000, 1}, 2);
    write_u8(w, 1);
}

/* SECURITY.md 2 */
Test(floods, crypto_fragments)
{
    static const enum packet_type types[] = {PACKET_INITIAL, PACKET_HANDSHAKE, PACKET_ONE_RTT};
    static const enum hostile_stage stages[] = {STAGE_INITIAL, STAGE_HANDSHAKE, STAGE_DONE};

    for (unsigned i = 0; i < 3; i++) {
        for (unsigned server = 0; server < 2; server++) {
            struct hostile *peer = victim(server, stages[i]);
            flood(peer, types[i], crypto_sparse, FLOOD / 8);
            if (types[i] != PACKET_ONE_RTT
                || peer->close.seen) /* after the handshake it may be discarded */
                closed_with(peer, AQ_CRYPTO_BUFFER_EXCEEDED, "2: CRYPTO fragments");
            hostile_free(peer);
        }
    }
}

/* SECURITY.md 2, RFC 9000 §13.1: beyond 64 gaps fragments are dropped and their packets not
 * acknowledged; the handshake goes on. */
Test(floods, crypto_gaps)
{
    enum {
        GAPS = 64,
        SENT = 200
    };
    struct hostile *peer = victim(false, STAGE_START);
    uint64_t dropped = 0;

    for (uint64_t i = 0; i < SENT; i++) {
        uint8_t frames[16];
        struct writer w = writer_make(frames, sizeof frames);
        frame_write(&w, FRAME_CRYPTO, (uint64_t[]){8000 + 2 * i, 1}, 2);
        write_u8(&w, 1);
        hostile_send(peer, PACKET_INITIAL, frames, (size_t)(w.p - frames));
        dropped = stats_of(peer).drop_memory;
        if (i < GAPS)
            cr_assert_eq(dropped, 0, "2: dropped with %llu gaps", (unsigned long long)i);
    }
    cr_expect_eq(dropped, SENT - GAPS);
    cr_expect_lt(peer->last_ack.largest, peer->space[0].next - (SENT - GAPS), "2: acknowledged");
    cr_expect_not(peer->close.seen);
    cr_expect(hostile_advance(peer, STAGE_DONE),
              "2: fragments ahead keep the handshake from its end");
    hostile_free(peer);
}

/* ---- 3: PATH_CHALLENGE
 * ----------------------------------------------------------------------------------------- */

static void challenges(struct writer *w, uint64_t i)
{
    for (unsigned k = 0; k < 8; k++) { /* more would be a storm: row 23 */
        write_u8(w, FRAME_PATH_CHALLENGE);
        write_uint(w, i * 8 + k, 8);
    }
}

/* SECURITY.md 3: at most two pending responses, the newest win. */
Test(floods, path_challenges)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        uint8_t frames[8 * 9];
        struct writer w = writer_make(frames, sizeof frames);
        challenges(&w, 4711);
        hostile_send(peer, PACKET_ONE_RTT, frames, sizeof frames);
        struct reader r = reader_make((const uint8_t *)&peer->response[0], 8);
        cr_expect_eq(read_uint(&r, 8), 4711 * 8 + 7, "3: the newest wins");
        flood(peer, PACKET_ONE_RTT, challenges, FLOOD / 4);
        cr_expect_not(peer->victim_closed);
        uint64_t seen = peer->frames_seen[FRAME_PATH_RESPONSE];
        cr_expect_leq(seen, 2 * (FLOOD / 4 + 1), "3: more than two responses a packet");
        hostile_wait(peer, 10000000);
        cr_expect_leq(peer->frames_seen[FRAME_PATH_RESPONSE], seen + 2, "3: responses were queued");
        hostile_free(peer);
    }
}

/* ---- 4: connection ids
 * --------------------------------------------------------------------------------------------- */

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
Test(floods, retirement_storm)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        flood(peer, PACKET_ONE_RTT, new_ids, FLOOD / 8);
        closed_with(peer, AQ_CONNECTION_ID_LIMIT_ERROR,
                    "4: NEW_CONNECTION_ID with retire_prior_to");
        hostile_free(peer);

        peer = victim(server, STAGE_DONE);
        flood(peer, PACKET_ONE_RTT, retire_ids, FLOOD / 8);
        if (peer->close.seen)
            closed_with(peer, AQ_PROTOCOL_VIOLATION, "4: RETIRE_CONNECTION_ID");
        hostile_free(peer);
    }
}

/* ---- 11: ACK ranges
 * ------------------------------------------------------------------------------------------------------
 */

/* SECURITY.md 11: every second packet is missing; what is kept of it is bounded, and so is each
 * ACK. */
Test(floods, alternating_gaps)
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

/* ---- 13: reassembly
 * ----------------------------------------------------------------------------------------------------------
 */

static void fragments(struct writer *w, uint64_t i)
{
    for (unsigned k = 0; k < 16; k++) {
        frame_write(w, FRAME_STREAM | FRAME_STREAM_OFF | FRAME_STREAM_LEN,
                    (uint64_t[]){k % 2 * 4, 1 + (i * 16 + k) * 2 % 4094, 1}, 3);
        write_u8(w, 0);
    }
}

/* SECURITY.md 13: one-byte fragments that never join. */
Test(floods, one_byte_fragments)
{
    struct hostile *peer = victim(false, STAGE_DONE);

    flood(peer, PACKET_ONE_RTT, fragments, FLOOD / 16);
    cr_expect_leq(stats_of(peer).streams, 4);
    hostile_free(peer);
}

/* ---- 21, 22, 23
 * ----------------------------------------------------------------------------------------------------------------------
 */

static void tokens(struct writer *w, uint64_t i)
{
    frame_write(w, FRAME_NEW_TOKEN, (uint64_t[]){500}, 1);
    for (unsigned k = 0; k < 500; k++)
        write_u8(w, (uint8_t)(i + k));
}

/* SECURITY.md 21: one token is kept, the newest, and none of more than 512 bytes. */
Test(floods, token_flood)
{
    struct hostile *peer = victim(true, STAGE_DONE);
    struct conn *c = conn_at((struct endpoint *)peer->ep, 0);

    flood(peer, PACKET_ONE_RTT, tokens, FLOOD / 4);
    cr_assert_not_null(c->token_data);
    uint32_t kept = c->token_size;
    uint8_t frames[700], first = c->token_data[kept - 1];
    struct writer w = writer_make(frames, sizeof frames);
    frame_write(&w, FRAME_NEW_TOKEN, (uint64_t[]){513}, 1);
    memset(w.p, (uint8_t)~first, 513);
    hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames) + 513);
    cr_expect(c->token_size == kept && c->token_data[kept - 1] == first,
              "21: a token of 513 bytes is kept");
    cr_expect_not(peer->close.seen);
    hostile_free(peer);
}

/* SECURITY.md 22: packets ahead of their keys. */
Test(floods, packets_ahead_of_keys)
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

/* Frames that say nothing new; each kind is a storm of its own. A stream's id in the first column
 * stands for one that the peer may use. */
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
        uint64_t numbers[3] = {storms[row].numbers[0], storms[row].numbers[1],
                               storms[row].numbers[2]};
        if (storms[row].stream)
            numbers[0] = peer->config.server ? 1 : 0;
        frame_write(&w, storms[row].type, numbers, storms[row].count);
    }
    cr_assert_not(w.bad);
    cr_assert(hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames)));
}

/* SECURITY.md 23: 100 a packet close it soon, and say why; 8 a packet never do. */
Test(floods, frame_storm)
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
            cr_expect_str_eq(peer->victim_close.reason, "too many frames without effect", "%s",
                             storms[row].name);
            cr_expect(packets > 40 && packets < 60, "%s: closed after %u packets", storms[row].name,
                      packets);
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
