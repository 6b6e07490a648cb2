/* tables.c -- the tables against each other, through what can be seen from outside: every row of
 * frames[] has a handler in apply[] and does what its columns say; every kind of record that is
 * lost is said again, as RFC 9000 §13.3 asks. */
#include "tests/pair.h"
#include "tests/sim/hostile.h"

/* ---- frames[] and apply[] -------------------------------------------------------------------- */

static uint64_t number_of(const struct hostile *peer)
{
    return peer->space[2].received ? peer->space[2].received - 1 : 0;
}

/* One valid, harmless frame of a type, as this peer may send it after the handshake. */
static size_t frame_of(const struct hostile *peer, uint64_t type, uint8_t *out, size_t room)
{
    static const uint8_t some[32] = "some bytes of no meaning at all";
    struct writer w = writer_make(out, room);
    struct frame f = {.type = type};
    uint64_t id = peer->config.server; /* the peer's first bidirectional stream */
    switch (type) {
    case FRAME_ACK:
    case FRAME_ACK_ECN:
        write_varint(&w, type);
        write_varint(&w, number_of(peer));
        for (unsigned i = 0; i < (type == FRAME_ACK ? 3 : 6); i++)
            write_varint(&w, 0);
        return (size_t)(w.p - out);
    case FRAME_RESET_STREAM: f.reset_stream.id = id; break;
    case FRAME_RESET_STREAM_AT: f.reset_stream.id = id; break;
    case FRAME_STOP_SENDING: f.stop_sending.id = id; break;
    case FRAME_CRYPTO: f.crypto.data = some; break;
    case FRAME_NEW_TOKEN:
        f.new_token.data = some;
        f.new_token.size = 20;
        break;
    case FRAME_MAX_STREAM_DATA: f.max_stream_data.id = id; break;
    case FRAME_STREAM_DATA_BLOCKED: f.stream_data_blocked.id = id; break;
    case FRAME_NEW_CONNECTION_ID:
        f.new_cid.seq = 1;
        f.new_cid.cid = some;
        f.new_cid.cid_size = 8;
        f.new_cid.token = some;
        break;
    case FRAME_RETIRE_CONNECTION_ID: f.retire_cid.seq = 1; break;
    case FRAME_PATH_CHALLENGE:
    case FRAME_PATH_RESPONSE: f.path.data = some; break;
    case FRAME_DATAGRAM:
    case FRAME_DATAGRAM_LEN:
        f.datagram.data = some;
        f.datagram.size = 5;
        break;
    case FRAME_ACK_FREQUENCY: f.ack_frequency.max_delay_us = 25000; break;
    case FRAME_ADD_ADDRESS_V4:
    case FRAME_ADD_ADDRESS_V6:
    case FRAME_OBSERVED_ADDRESS_V4:
    case FRAME_OBSERVED_ADDRESS_V6: f.add_address.ip = some; break;
    case FRAME_PUNCH_ME_NOW_V4:
    case FRAME_PUNCH_ME_NOW_V6: f.punch_me_now.ip = some; break;
    case FRAME_CONNECTION_CLOSE:
    case FRAME_CONNECTION_CLOSE_APP: f.close.reason = some; break;
    default: break;
    }
    if (type >= FRAME_STREAM && type < FRAME_MAX_DATA) {
        f.stream.id = id;
        f.stream.data = some;
        f.stream.size = 5;
        f.stream.offset = type & FRAME_STREAM_OFF ? 5 : 0;
        f.stream.fin = type & FRAME_STREAM_FIN;
    }
    frame_encode(&w, &f);
    cr_assert(!w.bad);
    return (size_t)(w.p - out);
}

/* Each row is applied where it may stand, and acknowledged if it is ack-eliciting (column N), as
 * only those are. RFC 9000 §19.18: an unasked PATH_RESPONSE is no error. */
static void try_frame(const struct frame_row *row, uint64_t type, bool server)
{
    struct hostile_config config = {.server = server, .stage = STAGE_DONE};
    struct hostile *peer = hostile_new(&config);
    uint8_t frame[128];
    /* PROTOCOL §1: a frame of an extension that was not negotiated */
    bool may = (row->in & IN_1) && (row->by & (server ? BY_SERVER : BY_CLIENT))
               && type < FRAME_ADD_ADDRESS_V4;
    bool closes = type == FRAME_CONNECTION_CLOSE || type == FRAME_CONNECTION_CLOSE_APP;
    cr_assert_not_null(peer);
    hostile_wait(peer, 100000);
    uint64_t acks = peer->frames_seen[FRAME_ACK];
    uint64_t number = peer->space[2].next;
    hostile_send(peer, PACKET_ONE_RTT, frame, frame_of(peer, type, frame, sizeof frame));
    hostile_wait(peer, 30000);
    cr_expect_eq(peer->victim_closed, closes || !may, "%s (%llx) to the %s: %s", row->name,
                 (unsigned long long)type, server ? "client" : "server", peer->victim_close.reason);
    if (!may) {
        cr_expect_eq(peer->close.code, AQ_PROTOCOL_VIOLATION);
    } else if (closes) {
        cr_expect_eq(peer->victim_close.by, AQ_BY_PEER);
    } else {
        bool acked = peer->frames_seen[FRAME_ACK] > acks && peer->last_ack.largest == number;
        cr_expect_eq(acked, !(row->props & PROP_N), "%s (%llx)", row->name,
                     (unsigned long long)type);
    }
    hostile_free(peer);
}

Test(tables, every_frame_has_a_handler)
{
    unsigned count, types = 0;
    const struct frame_row *rows = frame_rows(&count);
    for (unsigned i = 0; i < count; i++) {
        unsigned last = rows[i].type == FRAME_STREAM ? 7 : 0; /* one row for eight types */
        for (uint64_t type = rows[i].type; type <= rows[i].type + last; type++) {
            cr_expect_eq(frame_row(type), &rows[i]);
            types++;
            try_frame(&rows[i], type, false);
            try_frame(&rows[i], type, true);
        }
    }
    cr_expect_eq(types, FRAME_HANDSHAKE_DONE + 1 + 5 + 7,
                 "RFC 9000 §19 knows no other, and twelve extend it");
}

/* ---- records[] ------------------------------------------------------------------------------- */

static uint8_t bytes[65536];

static aq_stream open_stream(struct side *s, bool uni)
{
    aq_stream stream;
    cr_assert_eq(aq_stream_open(s->ep, s->conn, uni, NULL, &stream), AQ_OK);
    return stream;
}

static int64_t put(struct side *s, aq_stream stream, size_t size, unsigned flags)
{
    struct aq_iov iov = {bytes, size};
    return aq_stream_write(s->ep, stream, &iov, 1, flags);
}

static uint64_t take(struct side *s, aq_stream stream)
{
    struct aq_iov iov[64];
    bool fin;
    uint64_t n = 0;
    int pieces = aq_stream_peek(s->ep, stream, iov, 64, &fin);
    for (int i = 0; i < pieces; i++)
        n += iov[i].size;
    cr_assert_eq(aq_stream_consume(s->ep, stream, n), AQ_OK);
    return n;
}

/* All that a side has to say now is sent, and lost. */
static void lose(struct pair *p, struct side *s)
{
    uint64_t before = s->sent;
    s->mute = true;
    side_turn(s, p->now_us);
    s->mute = false;
    cr_expect_gt(s->sent, before, "there was nothing to lose");
}

/* One stream each way, the server having answered: the server's limits are small. */
struct lossy {
    struct pair *p;
    aq_stream stream, uni;
};

static struct lossy lossy_new(void)
{
    struct aq_config config;
    struct lossy l;
    pair_config(&config, true);
    config.stream_window = config.stream_window_max = 4096;
    config.conn_window = config.conn_window_max = 8192;
    config.streams_bidi = 2;
    l.p = pair_connected(NULL, &config);
    l.stream = open_stream(&l.p->client, false);
    cr_assert_eq(put(&l.p->client, l.stream, 1, 0), 1);
    pair_run(l.p, 100000);
    cr_assert_neq(l.p->server.stream, 0);
    cr_assert_eq(take(&l.p->server, l.p->server.stream), 1);
    return l;
}

/* RFC 9000 §13.3: data and its end; a reset; a wish to stop. */
Test(tables, lost_stream_frames)
{
    struct lossy l = lossy_new();
    struct side *c = &l.p->client, *s = &l.p->server;
    cr_assert_eq(put(c, l.stream, 1000, 0), 1000);
    lose(l.p, c);
    pair_run(l.p, 1000000);
    cr_expect_eq(take(s, s->stream), 1000);
    cr_expect_geq(pair_stats(c).resent_bytes, 1000);
    cr_assert_eq(aq_stream_stop(s->ep, s->stream, 17), AQ_OK);
    lose(l.p, s);
    pair_run(l.p, 1000000);
    cr_expect_eq(side_count(c, AQ_EVENT_STOPPED), 1);
    cr_expect_eq(c->value, 17);
    cr_assert_eq(aq_stream_reset(s->ep, s->stream, 18), AQ_OK);
    lose(l.p, s);
    pair_run(l.p, 1000000);
    cr_expect_eq(side_count(c, AQ_EVENT_RESET), 1);
    cr_expect_eq(c->value, 18);
    cr_expect_eq(side_count(s, AQ_EVENT_STREAM_CLOSED), 1);
    pair_free(l.p);
}

/* RFC 9000 §13.3: credit, of a stream and of the connection: a writer that waits for it goes on. */
Test(tables, lost_credit)
{
    struct lossy l = lossy_new();
    struct side *c = &l.p->client, *s = &l.p->server;
    uint64_t total = 1;
    cr_assert_eq(put(c, l.stream, 40000, 0), 40000);
    for (unsigned i = 0; i < 12 && total < 40001; i++) {
        pair_run(l.p, 1000000);
        uint64_t n = take(s, s->stream);
        cr_expect_leq(n, 4096);
        total += n;
        if (n > 2048)
            lose(l.p, s); /* MAX_STREAM_DATA, and every other time MAX_DATA */
    }
    cr_expect_eq(total, 40001);
    pair_free(l.p);
}

/* RFC 9000 §13.3: more streams. And that one is blocked, which only the peer's statistics can
 * show: nothing hangs. */
Test(tables, lost_stream_limits)
{
    struct lossy l = lossy_new();
    struct side *c = &l.p->client, *s = &l.p->server;
    aq_stream more;
    open_stream(c, false);
    cr_expect_eq(aq_stream_open(c->ep, c->conn, false, NULL, &more), AQ_BLOCKED);
    lose(l.p, c); /* STREAMS_BLOCKED */
    pair_run(l.p, 1000000);
    cr_assert_eq(put(c, l.stream, 0, AQ_FIN), 0);
    cr_assert_eq(put(s, s->stream, 0, AQ_FIN), 0);
    pair_run(l.p, 100000);
    take(c, l.stream);
    take(s, s->stream);
    for (unsigned i = 0; i < 20 && !side_count(c, AQ_EVENT_STREAMS); i++) {
        bool mute = i % 2 == 0; /* what the server says is lost half of the time */
        s->mute = mute;
        pair_run(l.p, 50000);
    }
    s->mute = false;
    pair_run(l.p, 1000000);
    cr_expect_eq(side_count(c, AQ_EVENT_STREAMS), 1);
    cr_expect_eq(aq_stream_open(c->ep, c->conn, false, NULL, &more), AQ_OK);
    pair_free(l.p);
}

/* RFC 9000 §13.3: HANDSHAKE_DONE (RFC 9001 §4.1.2), NEW_TOKEN, and CRYPTO of every level. The
 * n-th datagram of a side is lost, for each n. RFC 9001 §4, RFC 9001 §4.9: at the level that they
 * were sent at. */
Test(tables, lost_handshake_frames)
{
    for (unsigned side = 0; side < 2; side++) {
        for (uint64_t lost = 1; lost <= 6; lost++) {
            struct pair *p = pair_new(NULL, NULL);
            struct side *s = side ? &p->server : &p->client;
            s->lose_nth = lost;
            pair_dial(p);
            pair_run(p, 5000000);
            cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1, "side %u, datagram %u",
                         side, (unsigned)lost);
            cr_expect_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
            cr_expect_geq(side_count(&p->client, AQ_EVENT_TOKEN), 1, "side %u, datagram %u", side,
                          (unsigned)lost);
            cr_expect_eq(side_count(&p->client, AQ_EVENT_TICKET), 1);
            pair_free(p);
        }
    }
}

/* What the peer of a test sees again when it acknowledges nothing: RFC 9000 §13.3 for connection
 * ids; and what is never said twice: a PATH_RESPONSE. */
Test(tables, repeated_or_not)
{
    static const uint8_t new_id[] = {FRAME_NEW_CONNECTION_ID,
                                     1,
                                     1,
                                     8,
                                     9,
                                     9,
                                     9,
                                     9,
                                     9,
                                     9,
                                     9,
                                     9,
                                     0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     5,
                                     6,
                                     7,
                                     8,
                                     9,
                                     10,
                                     11,
                                     12,
                                     13,
                                     14,
                                     15};
    static const uint8_t challenge[] = {FRAME_PATH_CHALLENGE, 1, 2, 3, 4, 5, 6, 7, 8};
    for (unsigned server = 0; server < 2; server++) {
        struct hostile_config config = {.server = server, .stage = STAGE_DONE};
        struct hostile *peer = hostile_new(&config);
        uint8_t frame[32];
        size_t size;
        cr_assert_not_null(peer);
        hostile_send(peer, PACKET_ONE_RTT, new_id, sizeof new_id);
        hostile_send(peer, PACKET_ONE_RTT, challenge, sizeof challenge);
        hostile_wait(peer, 20000000);
        uint64_t retired = peer->frames_seen[FRAME_RETIRE_CONNECTION_ID];
        cr_expect_geq(retired, 1);
        size = frame_of(peer, FRAME_ACK, frame,
                        sizeof frame); /* of the newest packet: those before are lost */
        hostile_send(peer, PACKET_ONE_RTT, frame, size);
        hostile_wait(peer, 1000000);
        cr_expect_gt(peer->frames_seen[FRAME_RETIRE_CONNECTION_ID], retired);
        cr_expect_geq(peer->frames_seen[FRAME_NEW_CONNECTION_ID], 6);
        cr_expect_eq(peer->frames_seen[FRAME_PATH_RESPONSE], 1);
        if (!server) {
            cr_expect_gt(peer->frames_seen[FRAME_HANDSHAKE_DONE], 1);
            cr_expect_gt(peer->frames_seen[FRAME_NEW_TOKEN], 1);
        }
        hostile_free(peer);
    }
}
