/* stream.c -- tests core/stream.c: every arrow of RFC 9000 figures 2 and 3, final sizes, credit, stop and
 * reset from both sides, what is due and what the application is told. Over 600 lines because the two state
 * machines of RFC 9000 §3 share one fixture, and most tests are a story that crosses both. */
#include "core/stream.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>

#include "tests/queues.h"

/* ---- states ---------------------------------------------------------------------------------- */

static const uint8_t tx_arrows[][2] = {
    {TX_NONE, TX_READY},           {TX_READY, TX_SEND},
    {TX_READY, TX_RESET_SENT},     {TX_SEND, TX_DATA_SENT},
    {TX_SEND, TX_RESET_SENT},      {TX_DATA_SENT, TX_RESET_SENT},
    {TX_DATA_SENT, TX_DATA_RECVD}, {TX_RESET_SENT, TX_RESET_RECVD},
};
static const uint8_t rx_arrows[][2] = {
    {RX_NONE, RX_RECV},
    {RX_RECV, RX_SIZE_KNOWN},
    {RX_RECV, RX_RESET_RECVD},
    {RX_SIZE_KNOWN, RX_DATA_RECVD},
    {RX_SIZE_KNOWN, RX_RESET_RECVD},
    {RX_DATA_RECVD, RX_DATA_READ},
    {RX_DATA_RECVD, RX_RESET_RECVD},
    {RX_RESET_RECVD, RX_DATA_RECVD},
    {RX_RESET_RECVD, RX_RESET_READ},
};
enum {
    TX_ARROWS = sizeof(tx_arrows) / sizeof(*tx_arrows),
    RX_ARROWS = sizeof(rx_arrows) / sizeof(*rx_arrows),
    STATES = 7,
};

struct step {
    bool receiving;
    uint8_t from, to;
};

/* RFC 9000 §3.1, figure 2. */
Test(stream, sending_arrows)
{
    for (unsigned i = 0; i < TX_ARROWS; i++) {
        struct stream s = {.tx = tx_arrows[i][0]};
        stream_set_tx(&s, tx_arrows[i][1]);
        cr_assert_eq(s.tx, tx_arrows[i][1]);
    }
}

/* RFC 9000 §3.2, figure 3. */
Test(stream, receiving_arrows)
{
    for (unsigned i = 0; i < RX_ARROWS; i++) {
        struct stream s = {.rx = rx_arrows[i][0]};
        stream_set_rx(&s, rx_arrows[i][1]);
        cr_assert_eq(s.rx, rx_arrows[i][1]);
    }
}

static bool is_arrow(const uint8_t (*arrows)[2], unsigned count, uint8_t from, uint8_t to)
{
    for (unsigned i = 0; i < count; i++)
        if (arrows[i][0] == from && arrows[i][1] == to)
            return true;
    return false;
}

/* Every step that is no arrow, each in a process of its own. */
ParameterizedTestParameters(stream, other_steps_assert)
{
    static struct step steps[2 * STATES * STATES];
    size_t n = 0;
    for (uint8_t from = 0; from < STATES; from++) {
        for (uint8_t to = 0; to < STATES; to++) {
            if (!is_arrow(tx_arrows, TX_ARROWS, from, to))
                steps[n++] = (struct step){false, from, to};
            if (!is_arrow(rx_arrows, RX_ARROWS, from, to))
                steps[n++] = (struct step){true, from, to};
        }
    }
    return cr_make_param_array(struct step, steps, n);
}

ParameterizedTest(struct step *step, stream, other_steps_assert, .signal = SIGABRT)
{
    struct stream s = {.tx = step->from, .rx = step->from};
    if (step->receiving)
        stream_set_rx(&s, step->to);
    else
        stream_set_tx(&s, step->to);
}

/* ---- a stream and its surroundings ----------------------------------------------------------- */

enum {
    WINDOW = 1000,
    CONN_WINDOW = 1500,
    TX_MAX = 2000,
    CONN_TX_MAX = 3000,
    SEND_BUFFER = 4000
};

struct fixture {
    struct memory m;
    struct flow conn;
    struct stream_env env;
    struct stream s;
};

static struct fixture *fixture_new(uint64_t id, bool server)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct stream_limits limits = {WINDOW, WINDOW, TX_MAX};
    memory_init(&f->m, 65536, 16);
    flow_init(&f->conn, CONN_WINDOW, CONN_WINDOW, CONN_TX_MAX, 0);
    f->env = (struct stream_env){.quota = &f->m.quota,
                                 .pieces = &f->m.pieces,
                                 .conn_flow = &f->conn,
                                 .send_buffer = SEND_BUFFER};
    stream_init(&f->s, id, server, &limits, 0);
    return f;
}

static void fixture_end(struct fixture *f)
{
    stream_clear(&f->s, &f->env);
    memory_check_end(&f->m);
    free(f);
}

static int data_in(struct fixture *f, uint64_t offset, uint32_t size, bool fin)
{
    static uint8_t buffer[65536];
    bytes_fill(buffer, offset, size);
    return stream_on_data(&f->s, &f->env, offset, buffer, size, fin, false);
}

static int64_t write_out(struct fixture *f, uint64_t size, unsigned flags)
{
    static uint8_t buffer[65536];
    bytes_fill(buffer, f->s.sendq.end, size);
    struct aq_iov iov = {buffer, size};
    return stream_write(&f->s, &f->env, &iov, size > 0, flags);
}

static bool send_one(struct fixture *f, uint32_t max, struct stream_chunk *chunk)
{
    if (!stream_next(&f->s, &f->conn, max, chunk))
        return false;
    uint8_t out[4096];
    cr_assert_leq(chunk->size, sizeof(out));
    sendq_copy(&f->s.sendq, chunk->offset, out, chunk->size);
    cr_assert(bytes_match(out, chunk->offset, chunk->size));
    stream_on_sent(&f->s, &f->conn, chunk);
    return true;
}

static void ack(struct fixture *f, const struct stream_chunk *c)
{
    stream_on_acked(&f->s, &f->env, c->offset, c->size, c->fin);
}

/* Takes one event out, as the connection does when it tells the application. */
static bool event_take(struct fixture *f, enum aq_event_kind kind)
{
    bool was = (f->s.events & 1u << kind) != 0;
    f->s.events &= ~(1u << kind);
    return was;
}

static int on_reset(struct fixture *f, uint64_t code, uint64_t final_size)
{
    const struct stream_reset reset = {.code = code, .final_size = final_size};
    return stream_on_reset(&f->s, &f->env, &reset);
}

Test(stream, which_sides_exist)
{
    static const struct {
        uint64_t id;
        bool server, local, sends, receives;
    } rows[] = {
        {0, false, true, true, true},   {0, true, false, true, true},
        {1, false, false, true, true},  {1, true, true, true, true},
        {2, false, true, true, false},  {2, true, false, false, true},
        {3, false, false, false, true}, {3, true, true, true, false},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fixture *f = fixture_new(rows[i].id, rows[i].server);
        cr_assert_eq(f->s.local, rows[i].local);
        cr_assert_eq(f->s.tx, rows[i].sends ? TX_READY : TX_NONE);
        cr_assert_eq(f->s.rx, rows[i].receives ? RX_RECV : RX_NONE);
        cr_assert_eq(f->s.lane, 0);
        cr_assert_not(stream_is_over(&f->s));
        cr_assert_not(stream_wants_send(&f->s, &f->conn));
        fixture_end(f);
    }
}

/* Calls for a side that does not exist, RFC 9000 §2.1. */
Test(stream, misuse_of_the_missing_side)
{
    struct fixture *f = fixture_new(2, false); /* ours to send */
    struct aq_iov iov[2];
    bool fin;
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 2, &fin), AQ_MISUSE);
    cr_assert_eq(stream_consume(&f->s, &f->env, 0), AQ_MISUSE);
    cr_assert_eq(stream_stop(&f->s, &f->env, 1), AQ_MISUSE);
    fixture_end(f);
    f = fixture_new(2, true); /* ours to receive */
    cr_assert_eq(write_out(f, 1, 0), AQ_MISUSE);
    cr_assert_eq(stream_reset(&f->s, &f->env, 1), AQ_MISUSE);
    fixture_end(f);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* RFC 9000 §2.2: an ordered stream of bytes. */
Test(stream, receives_reads_and_ends)
{
    struct fixture *f = fixture_new(0, true);
    struct aq_iov iov[4];
    bool fin = true;
    cr_assert_eq(data_in(f, 0, 0, false), AQ_OK); /* opens it, brings nothing */
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(data_in(f, 10, 10, false), AQ_OK); /* a gap: nothing to read yet */
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(data_in(f, 0, 10, false), AQ_OK);
    cr_assert(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(data_in(f, 0, 10, false), AQ_OK); /* a copy: nothing new */
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 4, &fin), 1);
    cr_assert_eq(iov[0].size, 20);
    cr_assert_not(fin);
    cr_assert_eq(stream_consume(&f->s, &f->env, 21), AQ_MISUSE);
    cr_assert_eq(stream_consume(&f->s, &f->env, 20), AQ_OK);
    cr_assert_eq(data_in(f, 25, 5, true), AQ_OK);
    cr_assert_eq(f->s.rx, RX_SIZE_KNOWN);
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(data_in(f, 20, 5, false), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    cr_assert(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 0, &fin), 0);
    cr_assert_not(fin); /* not all of it was shown */
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 4, &fin), 1);
    cr_assert(fin);
    cr_assert_eq(stream_consume(&f->s, &f->env, 9), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    cr_assert_eq(stream_consume(&f->s, &f->env, 1), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_eq(f->conn.rx_read, 30);
    cr_assert_eq(data_in(f, 0, 30, true), AQ_OK); /* a late copy */
    fixture_end(f);
}

Test(stream, an_end_without_bytes_is_readable)
{
    struct fixture *f = fixture_new(0, true);
    struct aq_iov iov[4];
    bool fin = false;
    cr_assert_eq(data_in(f, 0, 10, false), AQ_OK);
    cr_assert_eq(stream_consume(&f->s, &f->env, 10), AQ_OK);
    event_take(f, AQ_EVENT_READABLE);
    cr_assert_eq(data_in(f, 10, 0, true), AQ_OK);
    cr_assert(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 4, &fin), 0);
    cr_assert(fin);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    cr_assert_eq(stream_consume(&f->s, &f->env, 0), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    fixture_end(f);
}

/* RFC 9000 §4.5: each way to get the final size wrong, and beside it what is just right. */
Test(stream, final_size_errors_of_data)
{
    struct fixture *f = fixture_new(0, true);
    cr_assert_eq(data_in(f, 50, 50, false), AQ_OK);
    cr_assert_eq(data_in(f, 60, 39, true), AQ_FINAL_SIZE_ERROR); /* below the highest byte */
    cr_assert_eq(f->s.rx, RX_RECV);
    cr_assert_eq(data_in(f, 60, 40, true), AQ_OK);
    cr_assert_eq(f->s.rx, RX_SIZE_KNOWN);
    cr_assert_eq(data_in(f, 60, 39, true), AQ_FINAL_SIZE_ERROR); /* changed */
    cr_assert_eq(data_in(f, 60, 41, true), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(data_in(f, 100, 1, false), AQ_FINAL_SIZE_ERROR); /* beyond */
    cr_assert_eq(data_in(f, 101, 0, false), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(data_in(f, 100, 0, false), AQ_OK);
    cr_assert_eq(data_in(f, 99, 1, false), AQ_OK);
    cr_assert_eq(on_reset(f, 7, 99), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(on_reset(f, 7, 101), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(f->s.rx, RX_SIZE_KNOWN);
    cr_assert_eq(f->conn.rx_used, 100);
    cr_assert_eq(on_reset(f, 7, 100), AQ_OK);
    cr_assert_eq(f->s.rx, RX_RESET_RECVD);
    fixture_end(f);
}

Test(stream, final_size_errors_after_the_end)
{
    struct fixture *f = fixture_new(0, true);
    data_in(f, 0, 10, true);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    cr_assert_eq(data_in(f, 10, 1, false), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(on_reset(f, 7, 9), AQ_FINAL_SIZE_ERROR);
    stream_consume(&f->s, &f->env, 10);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_eq(data_in(f, 0, 11, false), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(on_reset(f, 7, 11), AQ_FINAL_SIZE_ERROR);
    fixture_end(f);
}

Test(stream, final_size_errors_of_reset)
{
    struct fixture *f = fixture_new(0, true);
    data_in(f, 0, 10, false);
    cr_assert_eq(on_reset(f, 7, 9), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(on_reset(f, 7, 10), AQ_OK);
    cr_assert_eq(on_reset(f, 7, 11), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(data_in(f, 10, 1, false), AQ_FINAL_SIZE_ERROR);
    cr_assert_eq(on_reset(f, 8, 10), AQ_OK);
    cr_assert_eq(f->s.peer_reset_code, 7);
    fixture_end(f);
}

/* RFC 9000 §4.1: at the stream's limit and one beyond; both limits stay as they are on an error. */
Test(stream, flow_control_error_of_the_stream)
{
    struct fixture *f = fixture_new(0, true);
    cr_assert_eq(data_in(f, WINDOW, 1, false), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(f->conn.rx_used, 0);
    cr_assert_eq(f->s.flow.rx_used, 0);
    cr_assert_eq(f->m.quota.used_bytes, 0);
    cr_assert_eq(on_reset(f, 7, WINDOW + 1), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(f->s.rx, RX_RECV);
    cr_assert_eq(data_in(f, WINDOW - 1, 1, false), AQ_OK); /* counts the gap too */
    cr_assert_eq(f->conn.rx_used, WINDOW);
    cr_assert_eq(data_in(f, 0, WINDOW - 1, false), AQ_OK);
    cr_assert_eq(f->conn.rx_used, WINDOW);
    fixture_end(f);
}

/* RFC 9000 §4.1, §19.9: the connection's limit is the sum over its streams. */
Test(stream, flow_control_error_of_the_connection)
{
    struct fixture *f = fixture_new(0, true);
    cr_assert_eq(flow_rx_use(&f->conn, CONN_WINDOW - 100), AQ_OK); /* other streams */
    cr_assert_eq(data_in(f, 0, 101, false), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(f->s.flow.rx_used, 0);
    cr_assert_eq(on_reset(f, 7, 101), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(data_in(f, 0, 99, false), AQ_OK);
    cr_assert_eq(data_in(f, 99, 2, true), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(f->s.rx, RX_RECV);
    cr_assert_eq(data_in(f, 99, 1, true), AQ_OK);
    fixture_end(f);
}

/* RFC 9000 §19.8: the largest offset is 2^62 - 1. */
Test(stream, offsets_beyond_the_largest)
{
    struct fixture *f = fixture_new(0, true);
    cr_assert_eq(data_in(f, (UINT64_C(1) << 62) - 1, 1, false), AQ_FLOW_CONTROL_ERROR);
    fixture_end(f);
}

/* The arena is dry: not received, so nothing is counted and the FIN is not seen. */
Test(stream, no_memory_is_not_received)
{
    struct fixture *f = fixture_new(0, true);
    f->m.quota.max_bytes = 0;
    cr_assert_eq(data_in(f, 0, 100, true), AQ_FULL);
    cr_assert_eq(f->s.rx, RX_RECV);
    cr_assert_eq(f->conn.rx_used, 0);
    cr_assert_eq(f->s.flow.rx_used, 0);
    f->m.quota.max_bytes = ARENA_BLOCK;
    cr_assert_eq(data_in(f, 0, 100, true), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    fixture_end(f);
}

/* RFC 9000 §4.2, §3.2, §3.3: MAX_STREAM_DATA when half is used up, and only in Recv. */
Test(stream, tells_a_new_limit_while_it_matters)
{
    struct fixture *f = fixture_new(0, true);
    data_in(f, 0, WINDOW, false);
    stream_consume(&f->s, &f->env, WINDOW / 2 - 1);
    cr_assert_eq(f->s.due, 0);
    stream_consume(&f->s, &f->env, 1);
    cr_assert_eq(f->s.due, DUE_MAX_DATA);
    cr_assert(stream_wants_send(&f->s, &f->conn));
    cr_assert_eq(flow_rx_grant(&f->s.flow), WINDOW + WINDOW / 2);
    f->s.due = 0;
    stream_on_control_lost(&f->s, DUE_MAX_DATA, 0);
    cr_assert_eq(f->s.due, DUE_MAX_DATA);
    cr_assert_eq(data_in(f, WINDOW, 10, true), AQ_OK);
    cr_assert_eq(f->s.due, 0);
    stream_on_control_lost(&f->s, DUE_MAX_DATA, 0);
    stream_consume(&f->s, &f->env, WINDOW / 2 + 10);
    cr_assert_eq(f->s.due, 0);
    fixture_end(f);
}

/* RFC 9000 §4.4, §4.5: what a reset discards is given back to the connection, to the last byte. */
Test(stream, reset_gives_the_connection_its_credit)
{
    struct fixture *f = fixture_new(0, true);
    struct aq_iov iov[2];
    bool fin;
    data_in(f, 0, 100, false);
    stream_consume(&f->s, &f->env, 40);
    data_in(f, 200, 100, false);
    cr_assert_eq(on_reset(f, 42, 700), AQ_OK);
    cr_assert_eq(f->conn.rx_used, 700);
    cr_assert_eq(f->conn.rx_read, 700);
    cr_assert_eq(f->m.quota.used_bytes, 0);
    cr_assert_eq(f->s.rx, RX_RESET_RECVD);
    cr_assert_eq(f->s.peer_reset_code, 42);
    cr_assert(event_take(f, AQ_EVENT_RESET));
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 2, &fin), AQ_BLOCKED);
    cr_assert_eq(stream_consume(&f->s, &f->env, 0), AQ_BLOCKED);
    cr_assert_eq(data_in(f, 100, 100, false), AQ_OK); /* late, ignored, counted once */
    cr_assert_eq(f->conn.rx_used, 700);
    cr_assert_eq(stream_stop(&f->s, &f->env, 1), AQ_OK); /* RFC 9000 §3.5: too late, not sent */
    cr_assert_eq(f->s.due, 0);
    stream_set_rx(&f->s, RX_RESET_READ);
    cr_assert_eq(on_reset(f, 43, 700), AQ_OK);
    cr_assert_not(event_take(f, AQ_EVENT_RESET));
    fixture_end(f);
}

/* RFC 9000 §3.2: a reset after all data is suppressed. */
Test(stream, reset_after_all_data_is_suppressed)
{
    struct fixture *f = fixture_new(0, true);
    data_in(f, 0, 100, true);
    cr_assert_eq(on_reset(f, 42, 100), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_RECVD);
    cr_assert_not(event_take(f, AQ_EVENT_RESET));
    cr_assert_eq(stream_consume(&f->s, &f->env, 100), AQ_OK);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    fixture_end(f);
}

/* RFC 9000 §3.5: data after STOP_SENDING still counts, and is discarded. */
Test(stream, stop_discards_and_counts)
{
    struct fixture *f = fixture_new(0, true);
    struct aq_iov iov[2];
    bool fin;
    data_in(f, 0, 100, false);
    data_in(f, 150, 50, false);
    stream_consume(&f->s, &f->env, 30);
    cr_assert_eq(stream_stop(&f->s, &f->env, 5), AQ_OK);
    cr_assert_eq(f->s.due, DUE_STOP);
    cr_assert_eq(f->s.rx_code, 5);
    cr_assert_not(event_take(f, AQ_EVENT_READABLE));
    cr_assert_eq(f->conn.rx_read, 200);
    cr_assert_eq(f->m.quota.used_bytes, 0);
    cr_assert_eq(stream_stop(&f->s, &f->env, 6), AQ_OK); /* once */
    cr_assert_eq(f->s.rx_code, 5);
    cr_assert_eq(stream_peek(&f->s, &f->m.pieces, iov, 2, &fin), AQ_MISUSE);
    cr_assert_eq(stream_consume(&f->s, &f->env, 0), AQ_MISUSE);
    f->s.due = 0;
    stream_on_control_lost(&f->s, DUE_STOP, 0);
    cr_assert_eq(f->s.due, DUE_STOP);
    cr_assert_eq(data_in(f, 300, 100, false), AQ_OK);
    cr_assert_eq(f->conn.rx_used, 400);
    cr_assert_eq(f->conn.rx_read, 400);
    cr_assert_eq(f->m.quota.used_bytes, 0);
    cr_assert_eq(f->s.events, 0);
    cr_assert_eq(data_in(f, WINDOW, 1, false), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(on_reset(f, 5, 500), AQ_OK);
    cr_assert_eq(f->conn.rx_read, 500);
    cr_assert_eq(f->s.rx, RX_RESET_READ);
    cr_assert_eq(f->s.events, 0); /* it was asked for */
    cr_assert_eq(f->s.due, 0);
    stream_on_control_lost(&f->s, DUE_STOP, 0);
    cr_assert_eq(f->s.due, 0);
    fixture_end(f);
}

/* Bytes still in lent buffers are let go with the rest. */
Test(stream, stop_and_reset_let_lent_bytes_go)
{
    for (unsigned reset = 0; reset < 2; reset++) {
        struct fixture *f = fixture_new(0, true);
        uint8_t buffer[100];
        bytes_fill(buffer, 0, 100);
        cr_assert_eq(stream_on_data(&f->s, &f->env, 0, buffer, 50, false, true), AQ_OK);
        cr_assert_eq(stream_on_data(&f->s, &f->env, 50, buffer + 50, 50, false, true), AQ_OK);
        cr_assert(event_take(f, AQ_EVENT_READABLE));
        cr_assert_eq(f->m.pieces.used, 2);
        if (reset)
            cr_assert_eq(on_reset(f, 1, 100), AQ_OK);
        else
            cr_assert_eq(stream_stop(&f->s, &f->env, 1), AQ_OK);
        cr_assert_eq(f->m.pieces.used, 0);
        cr_assert_not(recvq_has_pieces(&f->s.recvq));
        cr_assert_eq(f->conn.rx_read, 100);
        fixture_end(f);
    }
}

Test(stream, stop_ends_with_the_final_size)
{
    struct fixture *f = fixture_new(2, true);
    cr_assert_eq(stream_stop(&f->s, &f->env, 5), AQ_OK);
    cr_assert_eq(data_in(f, 90, 10, true), AQ_OK); /* 90 bytes never come, nobody waits for them */
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_eq(f->conn.rx_read, 100);
    cr_assert(stream_is_over(&f->s));
    fixture_end(f);
}

Test(stream, stop_when_the_size_is_known)
{
    struct fixture *f = fixture_new(2, true);
    data_in(f, 90, 10, true);
    cr_assert_eq(stream_stop(&f->s, &f->env, 5), AQ_OK);
    cr_assert_eq(f->s.due, DUE_STOP);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_eq(f->conn.rx_read, 100);
    cr_assert_eq(data_in(f, 0, 90, false), AQ_OK);
    cr_assert_eq(f->conn.rx_read, 100);
    fixture_end(f);
    f = fixture_new(2, true);
    data_in(f, 0, 10, true);
    cr_assert_eq(stream_stop(&f->s, &f->env, 5), AQ_OK);
    cr_assert_eq(f->s.due, 0); /* RFC 9000 §3.5: all data came, no use */
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_eq(f->conn.rx_read, 10);
    cr_assert_eq(stream_stop(&f->s, &f->env, 5), AQ_OK);
    fixture_end(f);
}

/* ---- sending --------------------------------------------------------------------------------- */

Test(stream, writes_sends_and_is_done)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c[3];
    cr_assert_eq(write_out(f, 1500, 0), 1500);
    cr_assert_eq(f->s.tx, TX_READY);
    cr_assert(send_one(f, 1000, &c[0]));
    cr_assert_eq(f->s.tx, TX_SEND);
    cr_assert_eq(write_out(f, 100, AQ_FIN), 100);
    cr_assert_eq(write_out(f, 1, 0), AQ_MISUSE);
    cr_assert(send_one(f, 500, &c[1]));
    cr_assert_eq(f->s.tx, TX_SEND);
    cr_assert(send_one(f, 1000, &c[2]));
    cr_assert(c[2].fin);
    cr_assert_eq(f->s.tx, TX_DATA_SENT);
    cr_assert_eq(f->conn.tx_used, 1600);
    cr_assert_not(stream_wants_send(&f->s, &f->conn));
    ack(f, &c[0]);
    ack(f, &c[2]);
    stream_on_lost(&f->s, &f->env, c[1].offset, c[1].size, c[1].fin);
    cr_assert(stream_wants_send(&f->s, &f->conn));
    cr_assert(send_one(f, 1000, &c[1]));
    cr_assert_eq(f->conn.tx_used, 1600);
    cr_assert_not(stream_is_over(&f->s));
    ack(f, &c[1]);
    cr_assert_eq(f->s.tx, TX_DATA_RECVD);
    cr_assert(stream_is_over(&f->s));
    cr_assert_eq(f->s.events, 0); /* nobody waited */
    ack(f, &c[1]);
    cr_assert_eq(write_out(f, 1, 0), AQ_MISUSE);
    cr_assert_eq(stream_reset(&f->s, &f->env, 1), AQ_OK); /* too late, no harm */
    cr_assert_eq(f->s.tx, TX_DATA_RECVD);
    stream_on_stop(&f->s, &f->env, 1);
    cr_assert_eq(f->s.events, 0);
    fixture_end(f);
}

/* Plain is what a row of packets may carry without a look at each. */
Test(stream, plain_bytes)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    cr_assert_eq(stream_plain(&f->s, &f->conn), 0);
    cr_assert_eq(write_out(f, 900, 0), 900);
    cr_assert_eq(stream_plain(&f->s, &f->conn), 900);
    flow_tx_use(&f->conn, CONN_TX_MAX - 500);
    cr_assert_eq(stream_plain(&f->s, &f->conn), 500, "the connection's credit");
    cr_assert(send_one(f, 300, &c));
    cr_assert_eq(stream_plain(&f->s, &f->conn), 200);
    stream_on_lost(&f->s, &f->env, c.offset, c.size, c.fin);
    cr_assert_eq(stream_plain(&f->s, &f->conn), 0, "lost bytes come first");
    cr_assert(send_one(f, 300, &c));
    flow_tx_raise(&f->conn, CONN_TX_MAX + 1000);
    cr_assert_eq(write_out(f, 0, AQ_FIN), 0);
    cr_assert_eq(stream_plain(&f->s, &f->conn), 599, "the last byte goes with the FIN");
    f->s.due = DUE_STOP;
    cr_assert_eq(stream_plain(&f->s, &f->conn), 0, "a control frame comes first");
    f->s.due = 0;
    cr_assert_eq(stream_reset(&f->s, &f->env, 1), AQ_OK);
    cr_assert_eq(stream_plain(&f->s, &f->conn), 0);
    fixture_end(f);
}

Test(stream, fin_alone_from_ready)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    cr_assert_not(stream_wants_send(&f->s, &f->conn));
    cr_assert_eq(stream_write(&f->s, &f->env, NULL, 0, AQ_FIN), 0);
    cr_assert(stream_wants_send(&f->s, &f->conn));
    cr_assert(send_one(f, 0, &c));
    cr_assert_eq(f->s.tx, TX_DATA_SENT);
    ack(f, &c);
    cr_assert_eq(f->s.tx, TX_DATA_RECVD);
    fixture_end(f);
}

/* RFC 9000 §4.1: within both limits; §19.13: says once that the stream's own holds it back. RFC 9000 §2.2, RFC 9000 §19.9, RFC 9000 §19.10: never more than the peer allows. */
Test(stream, stays_within_both_limits)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    flow_tx_use(&f->conn, CONN_TX_MAX - 500); /* other streams */
    cr_assert_eq(write_out(f, 3000, 0), 3000);
    cr_assert(send_one(f, 4000, &c));
    cr_assert_eq(c.size, 500);
    cr_assert_not(send_one(f, 4000, &c));
    cr_assert_eq(f->s.due, 0);                     /* the connection's limit: not ours to say */
    cr_assert(stream_wants_send(&f->s, &f->conn)); /* but it stands in line until that is said */
    flow_tx_said_blocked(&f->conn);
    cr_assert_not(stream_wants_send(&f->s, &f->conn));
    flow_tx_raise(&f->conn, 10000);
    cr_assert(send_one(f, 4000, &c));
    cr_assert_eq(c.size, TX_MAX - 500);
    cr_assert(stream_wants_send(&f->s, &f->conn)); /* to say it */
    cr_assert_not(send_one(f, 4000, &c));
    cr_assert_eq(f->s.due, DUE_BLOCKED);
    f->s.due = 0; /* sent */
    cr_assert_not(stream_wants_send(&f->s, &f->conn));
    cr_assert_not(send_one(f, 4000, &c));
    cr_assert_eq(f->s.due, 0);
    stream_on_control_lost(&f->s, DUE_BLOCKED, TX_MAX - 1); /* outdated */
    cr_assert_eq(f->s.due, 0);
    stream_on_control_lost(&f->s, DUE_BLOCKED, TX_MAX);
    cr_assert_eq(f->s.due, DUE_BLOCKED);
    stream_on_max(&f->s, TX_MAX); /* does not grow */
    cr_assert_eq(f->s.due, DUE_BLOCKED);
    stream_on_max(&f->s, TX_MAX + 10);
    cr_assert_eq(f->s.due, 0);
    cr_assert(send_one(f, 4000, &c));
    cr_assert_eq(c.size, 10);
    fixture_end(f);
}

/* RFC 9000 §3.1: STREAM_DATA_BLOCKED leaves Ready as well. */
Test(stream, blocked_from_the_start)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    f->s.flow.tx_max = 0;
    cr_assert_eq(write_out(f, 10, 0), 10);
    cr_assert(stream_wants_send(&f->s, &f->conn));
    cr_assert_not(send_one(f, 100, &c));
    cr_assert_eq(f->s.due, DUE_BLOCKED);
    cr_assert_eq(f->s.tx, TX_SEND);
    fixture_end(f);
}

Test(stream, writable_after_a_short_write)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    f->s.flow.tx_max = f->conn.tx_max = 100000;
    cr_assert_eq(write_out(f, SEND_BUFFER, 0), SEND_BUFFER);
    cr_assert(send_one(f, 100, &c));
    ack(f, &c);
    cr_assert_not(event_take(f, AQ_EVENT_WRITABLE)); /* nobody waits */
    cr_assert_eq(write_out(f, 101, AQ_FIN), 100);    /* short: the FIN does not count */
    cr_assert_not(f->s.sendq.fin);
    cr_assert(send_one(f, SEND_BUFFER / 2 - 1, &c));
    ack(f, &c);
    cr_assert_not(event_take(f, AQ_EVENT_WRITABLE));
    cr_assert(send_one(f, 1, &c));
    ack(f, &c);
    cr_assert(event_take(f, AQ_EVENT_WRITABLE));
    cr_assert(send_one(f, 1, &c));
    ack(f, &c);
    cr_assert_not(event_take(f, AQ_EVENT_WRITABLE)); /* told once */
    fixture_end(f);
}

/* The shared memory was full and nothing is in flight: the connection polls when some came free. */
Test(stream, writable_when_memory_comes_free)
{
    struct fixture *f = fixture_new(2, false);
    f->m.quota.max_bytes = 0;
    cr_assert_eq(write_out(f, 10, 0), 0);
    stream_poll_writable(&f->s, &f->env);
    cr_assert_not(event_take(f, AQ_EVENT_WRITABLE));
    f->m.quota.max_bytes = ARENA_BLOCK;
    stream_poll_writable(&f->s, &f->env);
    cr_assert(event_take(f, AQ_EVENT_WRITABLE));
    cr_assert_eq(write_out(f, 10, 0), 10);
    fixture_end(f);
}

Test(stream, references_are_released)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c[2];
    uint8_t data[200];
    struct aq_iov iov = {data, sizeof(data)};
    bytes_fill(data, 0, sizeof(data));
    cr_assert_eq(stream_write(&f->s, &f->env, &iov, 1, AQ_REF), 200);
    cr_assert(send_one(f, 50, &c[0]));
    cr_assert(send_one(f, 50, &c[1]));
    ack(f, &c[1]);
    cr_assert_not(event_take(f, AQ_EVENT_RELEASED));
    ack(f, &c[0]);
    cr_assert(event_take(f, AQ_EVENT_RELEASED));
    cr_assert_eq(f->s.sendq.base, 100);
    cr_assert_eq(stream_reset(&f->s, &f->env, 1), AQ_OK);
    cr_assert(event_take(f, AQ_EVENT_RELEASED));
    cr_assert_eq(f->s.sendq.base, 200); /* none is referenced any more */
    fixture_end(f);
}

/* RFC 9000 §3.1, §4.5: reset from each state; the final size is what was sent. RFC 9000 §13.3: and does not change when it is sent again. */
Test(stream, resets)
{
    for (unsigned sent = 0; sent < 3; sent++) {
        struct fixture *f = fixture_new(2, false);
        struct stream_chunk c = {0};
        cr_assert_eq(write_out(f, 1000, AQ_FIN), 1000);
        if (sent > 0)
            cr_assert(send_one(f, sent == 1 ? 300 : 1000, &c));
        cr_assert_eq(f->s.tx, sent == 0 ? TX_READY : sent == 1 ? TX_SEND : TX_DATA_SENT);
        cr_assert_eq(stream_reset(&f->s, &f->env, 9), AQ_OK);
        cr_assert_eq(f->s.tx, TX_RESET_SENT);
        cr_assert_eq(f->s.sendq.sent, c.size);
        cr_assert_eq(f->conn.tx_used, c.size);
        cr_assert_eq(f->s.tx_code, 9);
        cr_assert_eq(f->m.quota.used_bytes, 0);
        cr_assert_eq(f->s.due, DUE_RESET);
        f->s.due = 0;
        /* RFC 9000 §3.3, RFC 9000 §19.4: no STREAM frames after it, old or new. */
        stream_on_lost(&f->s, &f->env, c.offset, c.size, c.fin);
        cr_assert_not(stream_wants_send(&f->s, &f->conn));
        cr_assert_not(stream_next(&f->s, &f->conn, 1000, &c));
        ack(f, &c);
        stream_on_max(&f->s, 1000000);
        cr_assert_eq(f->s.tx, TX_RESET_SENT);
        cr_assert_eq(write_out(f, 1, 0), AQ_MISUSE);
        cr_assert_eq(stream_reset(&f->s, &f->env, 10), AQ_OK);
        cr_assert_eq(f->s.tx_code, 9);
        cr_assert_eq(f->s.due, 0);
        stream_on_control_lost(&f->s, DUE_RESET, UINT64_MAX);
        cr_assert_eq(f->s.due, DUE_RESET);
        stream_on_reset_acked(&f->s, &f->env, UINT64_MAX);
        cr_assert_eq(f->s.tx, TX_RESET_RECVD);
        cr_assert_eq(f->s.due, 0);
        stream_on_reset_acked(&f->s, &f->env, UINT64_MAX);
        stream_on_control_lost(&f->s, DUE_RESET, UINT64_MAX);
        cr_assert_eq(f->s.due, 0);
        cr_assert(stream_is_over(&f->s));
        fixture_end(f);
    }
}

/* RFC 9000 §3.5: STOP_SENDING is answered with RESET_STREAM and its code. */
Test(stream, stop_sending_is_answered)
{
    struct fixture *f = fixture_new(2, false);
    struct stream_chunk c;
    cr_assert_eq(write_out(f, SEND_BUFFER + 1, 0), SEND_BUFFER);
    cr_assert(send_one(f, 300, &c));
    stream_on_stop(&f->s, &f->env, 77);
    cr_assert_eq(f->s.tx, TX_RESET_SENT);
    cr_assert_eq(f->s.tx_code, 77);
    cr_assert_eq(f->s.peer_stop_code, 77);
    cr_assert_eq(f->s.due, DUE_RESET);
    cr_assert(event_take(f, AQ_EVENT_STOPPED));
    stream_on_stop(&f->s, &f->env, 78);
    cr_assert_not(event_take(f, AQ_EVENT_STOPPED));
    cr_assert_eq(f->s.peer_stop_code, 77);
    ack(f, &c);
    cr_assert_eq(f->s.events, 0); /* no WRITABLE any more */
    fixture_end(f);
}

/* draft-ietf-quic-reliable-stream-reset §5.3: RESET_STREAM_AT when all it promises was sent; Data
 * Sent then, Data Recvd when both are acknowledged, in either order. */
Test(stream, reset_at_states)
{
    for (unsigned order = 0; order < 2; order++) {
        struct fixture *f = fixture_new(0, false);
        cr_assert_eq(write_out(f, 500, 0), 500);
        cr_assert_eq(stream_reset_at(&f->s, &f->env, 9, 300), AQ_OK);
        cr_assert_eq(f->s.due, 0);
        struct stream_chunk c, none;
        cr_assert(stream_next(&f->s, &f->conn, 1000, &c));
        cr_assert_eq(c.size, 300);
        cr_assert_not(c.fin);
        stream_on_sent(&f->s, &f->conn, &c);
        cr_assert_not(stream_next(&f->s, &f->conn, 1000, &none));
        cr_assert_eq(f->s.due, DUE_RESET);
        f->s.due = 0; /* it goes */
        stream_on_reset_sent(&f->s);
        cr_assert_eq(f->s.tx, TX_DATA_SENT);
        stream_on_control_lost(&f->s, DUE_RESET, 301); /* an older one */
        cr_assert_eq(f->s.due, 0);
        stream_on_control_lost(&f->s, DUE_RESET, 300);
        cr_assert_eq(f->s.due, DUE_RESET);
        stream_on_reset_acked(&f->s, &f->env, 301);
        if (order)
            ack(f, &c);
        else
            stream_on_reset_acked(&f->s, &f->env, 300);
        cr_assert_eq(f->s.tx, TX_DATA_SENT);
        if (order)
            stream_on_reset_acked(&f->s, &f->env, 300);
        else
            ack(f, &c);
        cr_assert_eq(f->s.tx, TX_DATA_RECVD);
        cr_assert_eq(f->s.due, 0);
        fixture_end(f);
    }
}

Test(stream, both_sides_must_be_over)
{
    struct fixture *f = fixture_new(0, true);
    data_in(f, 0, 0, true);
    stream_consume(&f->s, &f->env, 0);
    cr_assert_eq(f->s.rx, RX_DATA_READ);
    cr_assert_not(stream_is_over(&f->s));
    stream_reset(&f->s, &f->env, 0);
    cr_assert_not(stream_is_over(&f->s));
    stream_on_reset_acked(&f->s, &f->env, UINT64_MAX);
    cr_assert(stream_is_over(&f->s));
    fixture_end(f);
}
