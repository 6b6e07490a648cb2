/* conn.c -- fuzz target: a whole connection, attacked from outside and from inside.
 *
 * The first byte chooses. Outside: two honest endpoints in the simulator, and the input decides what becomes
 * of each datagram between them (dropped, changed, cut, doubled, replaced, joined by another). All of it is
 * loss in the end, so every byte must still arrive: nothing that was changed may be believed. Inside: a
 * scripted peer seals the input as frames, so that they pass the AEAD; whatever comes, the victim stays
 * within its memory and its 3x limit, and a connection that ends says why. */
#include "tests/sim/app.h"
#include "tests/sim/hostile.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "conn: %s\n", what);
        abort();
    }
}

/* ---- from outside ----------------------------------------------------------------------------------------- */

/* More lost datagrams than this in one run outlast what a Retry token lives. */
enum { HARM_MAX = 8 };

struct outside {
    struct sim *sim;
    struct reader r;
    unsigned harm;
};

/* One byte is enough to make a packet false, and cannot undo itself. */
static void flight_change(struct reader *r, struct sim_flight *flight)
{
    uint32_t at = (uint32_t)read_uint(r, 2);
    uint8_t mask = read_u8(r);

    if (flight->size)
        sim_damage(flight, at % flight->size, mask ? mask : 1);
}

/* One operation of the input for each datagram; when it is used up, all pass. */
static bool on_flight(void *user, struct sim_flight **pointer)
{
    struct outside *o = user;
    struct sim_flight *flight = *pointer;
    struct reader *r = &o->r;
    struct sim_flight *copy;
    const uint8_t *bytes;
    size_t n;

    if (r->bad || reader_left(r) == 0)
        return true;
    unsigned op = read_u8(r) % 8;
    if (op <= 2 && o->harm++ >= HARM_MAX)
        return true;
    switch (op) {
    case 0: /* dropped */
        return false;
    case 1:
        flight_change(r, flight);
        return true;
    case 2: /* cut */
        n = read_uint(r, 2) % (flight->size + 1U);
        flight->size = (uint32_t)n;
        return true;
    case 3: /* doubled, one of the two changed */
        copy = sim_inject(o->sim, &flight->from, &flight->to, flight->data, flight->size);
        if (copy)
            copy->foreign = false; /* it is true, only early */
        flight_change(r, flight);
        return true;
    case 4:
    case 5: /* joined by bytes of the input, which overtake it */
        n = read_u8(r);
        n = n < reader_left(r) ? n : reader_left(r);
        bytes = read_bytes(r, n);
        if (n)
            sim_inject(o->sim, &flight->from, &flight->to, bytes, (uint32_t)n);
        return true;
    default:
        return true;
    }
}

static void outside_start(struct sim *sim, void *user)
{
    struct outside *o = user;

    o->sim = sim;
    sim->on_flight = on_flight;
    sim->on_flight_user = o;
}

static void attack_outside(uint8_t choice, const uint8_t *data, size_t size)
{
    struct outside o = {.r = reader_make(data, size)};
    struct scenario row = {.name = "fuzz", .seed = choice, .bytes = 8000, .streams = 2, .streams_uni = 1,
                           .retry = (choice & 2) != 0, .by_reference = (choice & 4) != 0,
                           .key_update_packets = choice & 8 ? 5 : 0};
    struct outcome outcome;

    row.link[0].delay_us = row.link[1].delay_us = 10000;
    const char *path = getenv("SIM_TRACE"); /* to see one input again: SIM_TRACE=FILE conn INPUT */
    FILE *trace = path ? fopen(path, "w") : NULL;
    scenario_run(&row, trace, &outcome, outside_start, &o);
    if (trace)
        fclose(trace);
    /* A Version Negotiation before the first true answer may end the attempt (RFC 9000 §6.2, §21.12): at once, or
     * when the server tells, authenticated, that nothing of the kind was needed (RFC 9368 §4). */
    bool downgraded = strstr(outcome.why, "'VERSION_NEGOTIATION_ERROR' at TLS") != NULL;
    require(outcome.ok || outcome.client_closed_by == AQ_BY_VERSION || downgraded, outcome.why);
}

/* ---- from inside -------------------------------------------------------------------------------------------- */

static void victim_check(const struct hostile *peer)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    aq_endpoint_stats(peer->ep, &stats);
    require(stats.memory_bytes <= 4 << 20, "more memory than there is");
    require(stats.streams <= 64 && stats.conns <= 4, "more streams or connections than there are");
    if (peer->close.seen)
        require(peer->victim_closed, "closed without an event");
    if (peer->victim_closed && peer->victim_close.by == AQ_BY_US)
        require(peer->victim_close.where != NULL, "closed by nobody");
}

/* Moves what the victim received out of its windows, so that the script can go on. */
static void victim_read(struct hostile *peer, uint64_t *streams, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct aq_iov iov[4];
        bool fin;
        int n = aq_stream_peek(peer->ep, streams[i], iov, 4, &fin);
        uint64_t bytes = 0;
        for (int k = 0; k < n; k++)
            for (size_t j = 0; j < iov[k].size; j++, bytes++)
                if (*(const volatile uint8_t *)&iov[k].data[j] == 0xff)
                    continue;
        if (n >= 0)
            aq_stream_consume(peer->ep, streams[i], bytes);
    }
}

static void attack_inside(uint8_t choice, const uint8_t *data, size_t size)
{
    static const enum packet_type types[] = {PACKET_ONE_RTT, PACKET_ONE_RTT, PACKET_HANDSHAKE, PACKET_INITIAL};
    struct hostile_config config = {.server = (choice & 2) != 0, .stage = (enum hostile_stage)(choice >> 2 & 3),
                                    .empty_cid = (choice & 16) != 0};
    struct hostile *peer = hostile_new(&config);
    struct reader r = reader_make(data, size);
    uint64_t streams[4] = {0};
    unsigned opened = 0;

    require(peer != NULL, "no handshake with an honest start");
    if (choice & 32 && config.stage == STAGE_DONE) { /* the victim has streams of its own, with bytes in them */
        struct aq_iov hello = {(const uint8_t *)"hello", 5};
        for (; opened < 4; opened++) {
            if (aq_stream_open(peer->ep, peer->conn, opened & 1, NULL, &streams[opened]) != AQ_OK)
                break;
            aq_stream_write(peer->ep, streams[opened], &hello, 1, opened & 2 ? AQ_FIN : 0);
        }
        hostile_wait(peer, 0);
    }
    while (reader_left(&r) > 1 && !peer->victim_closed) {
        uint8_t op = read_u8(&r);
        size_t n = read_u8(&r);
        n = n < reader_left(&r) ? n : reader_left(&r);
        if (op >= 0xf8) {
            hostile_wait(peer, n * n * 1000);
            continue;
        }
        if (op >= 0xf0 && config.stage == STAGE_DONE) {
            hostile_key_update(peer);
            continue;
        }
        const uint8_t *bytes = read_bytes(&r, n);
        if (op >= 0xe8)
            hostile_datagram(peer, bytes, n);
        else
            hostile_send(peer, types[op & 3], bytes, n);
        if (op & 4)
            victim_read(peer, streams, opened);
        victim_check(peer);
    }
    /* In the end everything ends. */
    hostile_wait(peer, UINT64_C(120000000));
    victim_check(peer);
    hostile_free(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 8192)
        return 0;
    if (data[0] & 1)
        attack_outside(data[0] >> 1, data + 1, size - 1);
    else
        attack_inside(data[0], data + 1, size - 1);
    return 0;
}
