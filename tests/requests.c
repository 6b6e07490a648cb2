/* requests.c -- bursts of small requests, a stream for each: in how few datagrams they travel, and
 * that the credit for streams does not make them wait. */
#include "tests/pair.h"

enum {
    BURST = 64,
    ROUNDS = 20,
    SEARCHES = 10,
    ASKED = 8,    /* bytes of a request */
    ANSWERED = 64 /* and of an answer */
};

static struct pair *bursts_new(uint32_t streams_bidi)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.max_streams = server.max_streams = 4 * BURST;
    server.streams_bidi = streams_bidi;
    struct pair *p = pair_connected(&client, &server);
    p->client.deaf_events = p->server.deaf_events = true;
    return p;
}

static void say(struct side *s, aq_stream stream, size_t size)
{
    static const uint8_t zero[ANSWERED];
    struct aq_iov iov = {zero, size};
    cr_assert_eq(aq_stream_write(s->ep, stream, &iov, 1, AQ_FIN), (int64_t)size);
}

/* So many requests; how many may not be opened now. */
static unsigned ask(struct pair *p, unsigned n)
{
    unsigned blocked = 0;
    for (unsigned i = 0; i < n; i++) {
        aq_stream stream;
        int result = aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream);
        cr_assert(result == AQ_OK || result == AQ_BLOCKED);
        if (result == AQ_OK)
            say(&p->client, stream, ASKED);
        else
            blocked++;
    }
    return blocked;
}

/* Reads what came whole, and answers it where an answer is wanted; how many did. */
static unsigned take(struct side *s, size_t answer)
{
    struct aq_event event;
    unsigned whole = 0;
    while (aq_next_event(s->ep, &event)) {
        struct aq_iov iov[4];
        bool fin;
        if (event.kind != AQ_EVENT_READABLE)
            continue;
        int n = aq_stream_peek(s->ep, event.stream, iov, 4, &fin);
        cr_assert_geq(n, 0);
        if (!fin) /* the rest is in the next packet */
            continue;
        uint64_t size = 0;
        for (int i = 0; i < n; i++)
            size += iov[i].size;
        cr_assert_eq(aq_stream_consume(s->ep, event.stream, size), AQ_OK);
        if (answer)
            say(s, event.stream, answer);
        whole++;
    }
    return whole;
}

/* What a side has to say goes over, at the end of its turn. */
static void carry(struct pair *p, struct side *from, struct side *to)
{
    side_turn(from, p->now_us);
    p->now_us += PAIR_DELAY_US;
    pair_deliver(p, from, to);
}

/* One burst there and back; what acknowledges its answers comes with the next. */
static void burst(struct pair *p)
{
    cr_assert_eq(ask(p, BURST), 0);
    carry(p, &p->client, &p->server);
    cr_assert_eq(take(&p->server, ANSWERED), BURST);
    carry(p, &p->server, &p->client);
    cr_assert_eq(take(&p->client, 0), BURST);
}

/* A burst is a datagram there, and as many back as its bytes need. */
Test(requests, burst_in_few_datagrams)
{
    struct pair *p = bursts_new(4 * BURST);
    uint64_t asked = p->client.sent, answered = p->server.sent;
    for (unsigned i = 0; i < ROUNDS; i++)
        burst(p);
    asked = p->client.sent - asked, answered = p->server.sent - answered;
    /* Some more try how large datagrams may be. */
    cr_expect_leq(asked, ROUNDS + SEARCHES, "%llu", (unsigned long long)asked);
    cr_expect_leq(answered, 4 * ROUNDS + SEARCHES, "%llu", (unsigned long long)answered);
    pair_free(p);
}

/* RFC 9000 §4.6: who has read its answers may ask as much again at once. That they are not
 * acknowledged yet costs the server memory, as much again at most, not the client its turn. */
Test(requests, credit_before_acknowledgement)
{
    struct pair *p = bursts_new(BURST + BURST / 4);
    for (unsigned i = 0; i < ROUNDS; i++) {
        burst(p);
        cr_expect_leq(side_stats(&p->server).streams_high, 2 * BURST + BURST / 4);
    }
    pair_free(p);
}
