/* work.c -- what a hostile packet costs the victim, beside an honest one (SECURITY.md: no more than
 * twice).
 *
 * Honest is a packet of 1,100 bytes of a stream, which the application reads. A flood of each kind
 * and one of honest packets are played in turns to fresh victims, each datagram received, its
 * events taken, and what is to be sent sent. What counts is the processor time of the thread, the
 * least of some rounds on either side: a machine that is busy or slow makes both longer alike. */
#include "tests/victim.h"

#include <time.h>

enum {
    PACKETS = 1000,
    ROUNDS = 7,
    PACKET_MAX = 1400,
    FRAMES_MAX = 1150,
    FRAGMENTS = 16
};

enum {
    SMALL = 1, /* beside honest packets of as many frames */
    CLOSES = 2 /* the victim, before the end */
};

struct kind {
    const char *name;
    bool by_server;
    enum hostile_stage stage;
    enum packet_type type;
    void (*make)(struct writer *w, struct hostile *peer, uint64_t i);
    void (*spoil)(uint8_t *data, size_t size, uint64_t i); /* the sealed packet; may be NULL */
    unsigned flags;
};

static void numbers(struct writer *w, uint64_t type, uint64_t a, uint64_t b)
{
    write_varint(w, type);
    write_varint(w, a);
    write_varint(w, b);
}

/* ---- the kinds
 * -------------------------------------------------------------------------------------------------
 */

static uint64_t first_stream(const struct hostile *peer)
{
    return peer->config.server ? 1 : 0;
}

static void honest(struct writer *w, struct hostile *peer, uint64_t i)
{
    write_varint(w, FRAME_STREAM | FRAME_STREAM_OFF);
    write_varint(w, first_stream(peer));
    write_varint(w, i * 1100);
    memset(w->p, 1, 1100);
    w->p += 1100;
}

/* As many frames as fragments() has, in order. */
static void honest_small(struct writer *w, struct hostile *peer, uint64_t i)
{
    for (unsigned k = 0; k < FRAGMENTS; k++) {
        numbers(w, FRAME_STREAM | FRAME_STREAM_OFF | FRAME_STREAM_LEN, first_stream(peer),
                i * FRAGMENTS + k);
        write_varint(w, 1);
        write_u8(w, 0);
    }
}

static void full(struct writer *w, void (*one)(struct writer *w, struct hostile *peer, uint64_t i),
                 struct hostile *peer, uint64_t i)
{
    while (writer_left(w) >= 64)
        one(w, peer, i++);
}

static void ping(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    (void)i;
    write_u8(w, FRAME_PING);
}

static void one_max_data(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    write_varint(w, FRAME_MAX_DATA);
    write_varint(w, 1 << 20 | (i & 0xff));
}

static void max_data(struct writer *w, struct hostile *peer, uint64_t i)
{
    full(w, one_max_data, peer, i);
}

static void one_reset(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)i;
    numbers(w, FRAME_RESET_STREAM, first_stream(peer), 7);
    write_varint(w, 0);
}

static void resets(struct writer *w, struct hostile *peer, uint64_t i)
{
    full(w, one_reset, peer, i);
}

/* As many as are no storm. */
static void challenges(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    for (unsigned k = 0; k < 8; k++) {
        write_u8(w, FRAME_PATH_CHALLENGE);
        write_uint(w, i, 8);
    }
}

static void new_ids(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    for (uint64_t k = 8 * i + 1; k <= 8 * i + 8; k++) {
        numbers(w, FRAME_NEW_CONNECTION_ID, k, k);
        write_u8(w, 8);
        write_uint(w, k * UINT64_C(0x9e3779b97f4a7c15), 8);
        write_uint(w, k, 8);
        write_uint(w, k, 8);
    }
}

static void one_fragment(struct writer *w, struct hostile *peer, uint64_t i)
{
    numbers(w, FRAME_STREAM | FRAME_STREAM_OFF | FRAME_STREAM_LEN, first_stream(peer),
            1 + 2 * i % 4094);
    write_varint(w, 1);
    write_u8(w, 0);
}

static void fragments(struct writer *w, struct hostile *peer, uint64_t i)
{
    for (unsigned k = 0; k < FRAGMENTS; k++)
        one_fragment(w, peer, FRAGMENTS * i + k);
}

static void crypto(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    numbers(w, FRAME_CRYPTO, 9000 + 2 * i % 20000, 1);
    write_u8(w, 1);
}

static void token(struct writer *w, struct hostile *peer, uint64_t i)
{
    (void)peer;
    write_varint(w, FRAME_NEW_TOKEN);
    write_varint(w, 500);
    memset(w->p, (int)i, 500);
    w->p += 500;
}

/* An ACK of every second number, as many as fit a packet, without the last one that the victim
 * skipped. */
static void ack_ranges(struct writer *w, struct hostile *peer, uint64_t i)
{
    const struct sent_ring *ring = &conn_at((struct endpoint *)peer->ep, 0)->app.sent;
    uint64_t largest = ring->next - 1 - (ring->next - 1 - ring->skipped + 1) % 2;
    uint64_t count = largest / 2 < 500 ? largest / 2 : 500;
    (void)i;
    numbers(w, FRAME_ACK, largest, 0);
    write_varint(w, count);
    write_varint(w, 0);
    for (uint64_t k = 0; k < count; k++)
        write_uint(w, 0, 2);
}

static void spoil_tag(uint8_t *data, size_t size, uint64_t i)
{
    data[size - 1] ^= (uint8_t)(1 + i % 255);
}

/* A short header packet to nobody. */
static void spoil_id(uint8_t *data, size_t size, uint64_t i)
{
    (void)size;
    memcpy(data + 1, &i, 8);
}

static const struct kind kinds[] = {
    {"2: CRYPTO fragments, Initial", false, STAGE_START, PACKET_INITIAL, crypto, NULL, 0},
    {"3: PATH_CHALLENGE", false, STAGE_DONE, PACKET_ONE_RTT, challenges, NULL, 0},
    {"4: NEW_CONNECTION_ID with retirements", false, STAGE_DONE, PACKET_ONE_RTT, new_ids, NULL,
     CLOSES},
    {"6: packets that are not authentic", false, STAGE_DONE, PACKET_ONE_RTT, honest, spoil_tag, 0},
    {"11: ACK of every second packet", false, STAGE_DONE, PACKET_ONE_RTT, ack_ranges, NULL, 0},
    {"13: one-byte fragments", false, STAGE_DONE, PACKET_ONE_RTT, fragments, NULL, SMALL},
    {"19: packets to nobody", false, STAGE_DONE, PACKET_ONE_RTT, honest, spoil_id, 0},
    {"21: NEW_TOKEN", true, STAGE_DONE, PACKET_ONE_RTT, token, NULL, 0},
    {"23: PING", false, STAGE_DONE, PACKET_ONE_RTT, ping, NULL, 0},
    {"23: MAX_DATA, a packet full", false, STAGE_DONE, PACKET_ONE_RTT, max_data, NULL, CLOSES},
    {"23: RESET_STREAM, a packet full", false, STAGE_DONE, PACKET_ONE_RTT, resets, NULL, CLOSES},
};
static const struct kind honest_kinds[2] = {
    {"honest", false, STAGE_DONE, PACKET_ONE_RTT, honest, NULL, 0},
    {"honest, small frames", false, STAGE_DONE, PACKET_ONE_RTT, honest_small, NULL, 0},
};

/* ---- a flood
 * ------------------------------------------------------------------------------------------------------
 */

static uint8_t sealed[PACKETS][PACKET_MAX];
static size_t sealed_size[PACKETS];

static uint64_t processor_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void take_events(struct hostile *peer)
{
    struct aq_event event;
    struct aq_iov iov[8];

    while (aq_next_event(peer->ep, &event)) {
        if (event.kind != AQ_EVENT_READABLE)
            continue;
        uint64_t size = 0;
        bool fin;
        int n = aq_stream_peek(peer->ep, event.stream, iov, 8, &fin);
        for (int i = 0; i < n; i++)
            size += iov[i].size;
        aq_stream_consume(peer->ep, event.stream, size);
    }
}

static void deliver(struct hostile *peer, const uint8_t *data, size_t size)
{
    struct aq_buffer buffer;
    struct aq_train trains[8];

    cr_assert_eq(aq_recv_buffers(peer->ep, &buffer, 1), 1);
    memcpy(buffer.data, data, size);
    struct aq_datagram d = {
        .data = buffer.data, .size = (uint32_t)size, .remote = peer->addr, .ttl = 60};
    aq_recv(peer->ep, &d, 1, peer->now_us);
    take_events(peer);
    while (aq_send(peer->ep, trains, 8, peer->now_us) > 0)
        ;
}

static void wide(struct aq_config *config)
{
    config->conn_window = config->conn_window_max = 16 << 20;
    config->stream_window = config->stream_window_max = 8 << 20;
}

/* So long does the victim work for the flood. */
static uint64_t flood_ns(const struct kind *kind)
{
    struct hostile_config config = {
        .server = kind->by_server, .stage = kind->stage, .config = wide};
    struct hostile *peer = hostile_new(&config);
    static const uint8_t one_ping[] = {FRAME_PING};

    cr_assert_not_null(peer);
    for (unsigned i = 0; kind->make == ack_ranges && i < 3000; i++)
        hostile_send(peer, PACKET_ONE_RTT, one_ping, 1);
    for (uint64_t i = 0; i < PACKETS; i++) {
        uint8_t frames[FRAMES_MAX];
        struct writer w = writer_make(frames, sizeof frames);
        kind->make(&w, peer, i);
        cr_assert_not(w.bad);
        struct hostile_packet packet = {
            .type = kind->type, .frames = frames, .size = (size_t)(w.p - frames)};
        sealed_size[i] = hostile_seal(peer, &packet, sealed[i], PACKET_MAX);
        cr_assert(sealed_size[i] > 0);
        if (kind->spoil)
            kind->spoil(sealed[i], sealed_size[i], i);
    }
    uint64_t begin = processor_ns();
    for (unsigned i = 0; i < PACKETS; i++) {
        deliver(peer, sealed[i], sealed_size[i]);
        peer->now_us += 100;
        if (aq_deadline(peer->ep) <= peer->now_us)
            aq_tick(peer->ep, peer->now_us);
    }
    uint64_t spent = processor_ns() - begin;
    cr_expect_eq(conn_at((struct endpoint *)peer->ep, 0)->state > CONN_CONFIRMED,
                 (kind->flags & CLOSES) != 0, "%s", kind->name);
    hostile_free(peer);
    return spent;
}

Test(work, no_more_than_twice_the_honest)
{
    for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        uint64_t least = UINT64_MAX, least_honest = UINT64_MAX;
        for (unsigned round = 0; round < ROUNDS; round++) {
            uint64_t ns = flood_ns(&kinds[k]),
                     honest_ns = flood_ns(&honest_kinds[kinds[k].flags & SMALL]);
            least = ns < least ? ns : least;
            least_honest = honest_ns < least_honest ? honest_ns : least_honest;
        }
        printf("%-40s %6llu ns a packet, honest %llu: %.2f\n", kinds[k].name,
               (unsigned long long)least / PACKETS, (unsigned long long)least_honest / PACKETS,
               (double)least / (double)least_honest);
        cr_expect_leq(least, 2 * least_honest, "%s: %llu ns a packet, an honest one %llu",
                      kinds[k].name, (unsigned long long)least / PACKETS,
                      (unsigned long long)least_honest / PACKETS);
    }
}
