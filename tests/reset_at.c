/* reset_at.c -- RESET_STREAM_AT from one application to the other: what was promised arrives, then
 * the reset (draft-ietf-quic-reliable-stream-reset). What a peer may not send is in sim/attacks.c,
 * the transport parameter in hostile.c. */
#include "core/endpoint.h"
#include "tests/pair.h"

enum {
    ALL = 200000,
    CODE = 77
};

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 >> 3);
}

struct reader_side {
    uint64_t read;
    bool fin;
};

/* Reads what is there and checks each byte. Returns what peek returned last. */
static int read_all(struct pair *p, struct reader_side *r)
{
    struct aq_iov iov[8];
    bool fin;
    int n;
    while ((n = aq_stream_peek(p->server.ep, p->server.stream, iov, 8, &fin)) > 0) {
        r->fin |= fin;
        uint64_t size = 0;
        for (int i = 0; i < n; i++) {
            for (size_t k = 0; k < iov[i].size; k++)
                cr_assert_eq(iov[i].data[k], byte_at(r->read + size + k));
            size += iov[i].size;
        }
        cr_assert_eq(aq_stream_consume(p->server.ep, p->server.stream, size), AQ_OK);
        r->read += size;
    }
    return n;
}

static aq_stream begin(struct pair *p, uint64_t bytes, unsigned flags)
{
    static uint8_t data[ALL];
    aq_stream stream;
    struct aq_iov iov = {data, bytes};
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = byte_at(i);
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, true, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, flags), (int64_t)bytes);
    return stream;
}

static void run_reading(struct pair *p, struct reader_side *r, uint64_t duration_us)
{
    for (uint64_t end = p->now_us + duration_us; p->now_us < end;) {
        pair_run(p, 5000);
        if (p->server.stream)
            (void)read_all(p, r);
    }
}

static void expect_over(struct pair *p, const struct reader_side *r, uint64_t least)
{
    cr_expect_geq(r->read, least);
    cr_expect_not(r->fin, "draft-ietf-quic-reliable-stream-reset §5: not a clean end");
    cr_expect_eq(side_count(&p->server, AQ_EVENT_RESET), 1);
    cr_expect_eq(p->server.value, CODE);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect(!p->client.closed && !p->server.closed);
    const struct endpoint *ep[] = {(struct endpoint *)p->client.ep,
                                   (struct endpoint *)p->server.ep};
    for (unsigned i = 0; i < 2; i++)
        cr_expect_eq(ep[i]->streams.pool.used, 0);
}

/* draft-ietf-quic-reliable-stream-reset §5: before, at and after what has been sent. */
Test(reset_at, delivers_what_was_promised)
{
    static const uint64_t reliable[] = {0, 1, 1000, 50000, ALL - 1, ALL};
    for (unsigned i = 0; i < sizeof reliable / sizeof *reliable; i++) {
        for (unsigned wait = 0; wait < 4; wait++) {
            struct pair *p = pair_connected(NULL, NULL);
            struct reader_side r = {0};
            aq_stream stream = begin(p, ALL, 0);
            run_reading(p, &r, wait * 15000);
            cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, reliable[i]), AQ_OK);
            run_reading(p, &r, 3000000);
            expect_over(p, &r, reliable[i]);
            if (!wait) /* nothing beyond was ever sent */
                cr_expect_eq(r.read, reliable[i]);
            pair_free(p);
        }
    }
}

/* draft-ietf-quic-reliable-stream-reset §5: each datagram in its turn is lost, the one with the
 * RESET_STREAM_AT among them. */
Test(reset_at, through_loss)
{
    for (uint64_t nth = 1; nth <= 40; nth++) {
        for (unsigned by_server = 0; by_server < 2; by_server++) {
            struct pair *p = pair_connected(NULL, NULL);
            struct side *loser = by_server ? &p->server : &p->client;
            struct reader_side r = {0};
            loser->lose_nth = loser->sent + nth;
            aq_stream stream = begin(p, 40000, 0);
            run_reading(p, &r, 5000);
            cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 30000), AQ_OK);
            run_reading(p, &r, 3000000);
            expect_over(p, &r, 30000);
            pair_free(p);
        }
    }
}

/* draft-ietf-quic-reliable-stream-reset §5: lost bytes beyond what was promised are not sent
 * again. */
Test(reset_at, the_rest_is_not_sent_again)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct reader_side r = {0};
    aq_stream stream = begin(p, ALL, 0);
    p->client.mute = true;
    pair_run(p, 1000);
    uint64_t first_flight = p->client.sent_bytes;
    p->client.mute = false;
    cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 3000), AQ_OK);
    uint64_t before = p->client.sent_bytes;
    run_reading(p, &r, 3000000);
    expect_over(p, &r, 3000);
    cr_expect_eq(r.read, 3000);
    cr_expect_gt(first_flight, 9000);
    cr_expect_lt(p->client.sent_bytes - before, 8000, "%lu", p->client.sent_bytes - before);
    pair_free(p);
}

/* draft-ietf-quic-reliable-stream-reset §4: RESET_STREAM_AT waits for the credit of what it
 * promises. */
Test(reset_at, beyond_the_window)
{
    struct aq_config config;
    pair_config(&config, true);
    config.stream_window = config.stream_window_max = 10000;
    struct pair *p = pair_connected(NULL, &config);
    struct reader_side r = {0};
    aq_stream stream = begin(p, ALL, 0);
    cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 35000), AQ_OK);
    pair_run(p, 1000000); /* nobody reads */
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 0);
    run_reading(p, &r, 3000000);
    expect_over(p, &r, 35000);
    pair_free(p);
}

/* draft-ietf-quic-reliable-stream-reset §5.1: after the FIN was sent, as long as it is not all
 * acknowledged; what is referenced is let go at the end. */
Test(reset_at, after_fin)
{
    for (unsigned flags = AQ_FIN; flags <= (AQ_FIN | AQ_REF); flags += AQ_REF) {
        struct pair *p = pair_connected(NULL, NULL);
        struct reader_side r = {0};
        aq_stream stream = begin(p, 5000, flags);
        p->client.mute = true;
        pair_run(p, 1000);
        p->client.mute = false;
        cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 2000), AQ_OK);
        run_reading(p, &r, 3000000);
        expect_over(p, &r, 2000);
        cr_expect_eq(r.read, 2000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_RELEASED) > 0, (flags & AQ_REF) != 0);
        pair_free(p);
    }
}

/* draft-ietf-quic-reliable-stream-reset §5.2: less may be promised later, by another
 * RESET_STREAM_AT or by RESET_STREAM; never more, never under another code. */
Test(reset_at, lowered)
{
    for (unsigned plain = 0; plain < 2; plain++) {
        struct pair *p = pair_connected(NULL, NULL);
        struct reader_side r = {0};
        aq_stream stream = begin(p, 40000, 0);
        p->client.mute = true;
        cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 30000), AQ_OK);
        pair_run(p, 40000);
        p->client.mute = false;
        cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 30001), AQ_MISUSE);
        cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE + 1, 1000), AQ_MISUSE);
        cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 30000), AQ_OK);
        if (plain)
            cr_expect_eq(aq_stream_reset(p->client.ep, stream, CODE + 1), AQ_OK);
        else
            cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 1000), AQ_OK);
        run_reading(p, &r, 5000000);
        expect_over(p, &r, plain ? 0 : 1000);
        pair_free(p);
    }
}

/* The peer wants no more while bytes are owed to it: a RESET_STREAM ends it
 * (draft-ietf-quic-reliable-stream-reset §5.4). */
Test(reset_at, stopped)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_stream stream = begin(p, 100, 0);
    pair_run(p, 50000);
    struct aq_iov more = {(const uint8_t[50000]){0}, 50000};
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &more, 1, 0), 50000);
    cr_assert_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 50100), AQ_OK);
    cr_assert_eq(aq_stream_stop(p->server.ep, p->server.stream, 9), AQ_OK);
    pair_run(p, 3000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_STREAM_CLOSED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_RESET), 0, "it asked for it");
    cr_expect(!p->client.closed && !p->server.closed);
    pair_free(p);
}

Test(reset_at, misuse)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct endpoint *ep = (struct endpoint *)p->client.ep;
    aq_stream stream = begin(p, 100, 0);
    struct aq_iov iov = {(const uint8_t *)"x", 1};
    cr_expect_eq(aq_stream_reset_at(p->client.ep, 0, CODE, 0), AQ_GONE);
    cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 101), AQ_MISUSE);
    cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, UINT64_C(1) << 62, 1), AQ_MISUSE);
    /* draft-ietf-quic-reliable-stream-reset §3: a peer that did not say it knows the frame */
    conn_at(ep, 0)->peer.reset_stream_at = false;
    cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 1), AQ_MISUSE);
    conn_at(ep, 0)->peer.reset_stream_at = true;
    cr_expect_eq(aq_stream_reset_at(p->client.ep, stream, CODE, 100), AQ_OK);
    cr_expect_eq(aq_stream_write(p->client.ep, stream, &iov, 1, 0), AQ_MISUSE, "nothing after it");
    pair_run(p, 100000);
    cr_expect_eq(aq_stream_reset_at(p->server.ep, p->server.stream, CODE, 0), AQ_MISUSE,
                 "not ours to send");
    pair_free(p);
}
