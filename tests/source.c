/* source.c -- one address among many that begin handshakes (SECURITY.md row 7). */
#include "core/source.h"
#include "tests/pair.h"

enum {
    MOST = 8,
    PER_US = 10000000,
    HALF_OPEN = 4 * MOST
};

static struct aq_addr addr4(uint32_t host)
{
    return (struct aq_addr){
        .ip = {198, 51, (uint8_t)(host >> 8), (uint8_t)host}, .port = 1000, .family = 4};
}

static unsigned take_all(struct sources *s, const struct aq_addr *addr, uint64_t now)
{
    unsigned n = 0;
    while (n < 100 && sources_take(s, addr, true, now))
        n++;
    return n;
}

static struct sources *fresh(void)
{
    static struct sources s;
    static const uint64_t key[2] = {7, 9};
    sources_init(&s, key, MOST, PER_US);
    return &s;
}

/* So many at once, then as time goes by; what was completed is given back. */
Test(source, bucket)
{
    struct sources *s = fresh();
    struct aq_addr a = addr4(1), b = addr4(2);
    uint64_t now = 5000000;
    cr_expect_eq(take_all(s, &a, now), MOST);
    a.port++;
    cr_expect_eq(take_all(s, &a, now), 0, "another port is no other source");
    cr_expect_eq(take_all(s, &b, now), MOST, "another address is");
    for (unsigned i = 0; i < 3; i++)
        sources_give(s, &a);
    cr_expect_eq(take_all(s, &a, now), 3);
    cr_expect_eq(take_all(s, &a, now + PER_US / MOST), 1);
    cr_expect_eq(take_all(s, &a, now + 10 * PER_US), MOST, "never more than at the start");
    for (unsigned i = 0; i < 100; i++)
        cr_expect(sources_take(s, &b, false, now), "where nothing is refused all pay");
    cr_expect_eq(take_all(s, &b, now + PER_US), MOST, "but never for longer");
    for (unsigned i = 0; i < 100; i++)
        sources_give(s, &b);
    cr_expect_eq(take_all(s, &b, now + 2 * PER_US), MOST);
}

/* IPv6 by /64; IPv4 in IPv6 (RFC 4291 §2.5.5.2) as IPv4. */
Test(source, families)
{
    struct sources *s = fresh();
    struct aq_addr six = {.ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1}, .family = 6}, other = six;
    struct aq_addr four = addr4(3), mapped = {.ip = {[10] = 0xff, [11] = 0xff}, .family = 6};
    cr_expect_eq(take_all(s, &six, 0), MOST);
    six.ip[15] = 77;
    cr_expect_eq(take_all(s, &six, 0), 0, "the same /64");
    other.ip[7] = 2;
    cr_expect_eq(take_all(s, &other, 0), MOST, "another /64");
    memcpy(mapped.ip + 12, four.ip, 4);
    cr_expect_eq(take_all(s, &four, 0), MOST);
    cr_expect_eq(take_all(s, &mapped, 0), 0);
}

/* A hundred sources that spend all they have hardly touch the others. */
Test(source, many)
{
    struct sources *s = fresh();
    unsigned hurt = 0;
    for (uint32_t i = 0; i < 100; i++) {
        struct aq_addr a = addr4(i);
        (void)take_all(s, &a, 0);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        struct aq_addr a = addr4(10000 + i);
        struct sources copy = *s;
        hurt += take_all(&copy, &a, 0) < MOST;
    }
    cr_expect_lt(hurt, 40, "%u of 1000 got less", hurt);
}

/* Begins a handshake from an address, answers a Retry, and says no more. */
static void leave_open(struct pair *p, struct pair *q, const struct aq_addr *from)
{
    struct pair_datagram d;
    pair_dial(q);
    side_turn(&q->client, p->now_us);
    cr_assert(side_take(&q->client, &d));
    q->client.outs = 0;
    side_recv(&p->server, from, d.data, d.size, p->now_us);
    side_turn(&p->server, p->now_us);
    bool answered = side_take(&p->server, &d);
    p->server.outs = 0;
    if (!answered || (d.data[0] & 0xf0) != 0xf0)
        return;
    side_recv(&q->client, &q->server.addr, d.data, d.size, p->now_us);
    side_turn(&q->client, p->now_us);
    if (side_take(&q->client, &d)) {
        side_recv(&p->server, from, d.data, d.size, p->now_us);
        side_turn(&p->server, p->now_us);
    }
    q->client.outs = p->server.outs = 0;
}

static struct pair *pair_of(bool attacker)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.max_conns = client.max_half_open = 300;
    server.max_conns = 200;
    server.max_half_open = HALF_OPEN;
    server.retry = AQ_RETRY_UNDER_LOAD;
    client.seed[0] = attacker;
    return pair_new(&client, &server);
}

/* SECURITY.md 7: one address that completes nothing takes its share of the places, though it
 * answers every Retry; beside it all others get in, and many from one address that complete. */
Test(source, one_address_does_not_take_all)
{
    struct pair *p = pair_of(false), *q = pair_of(true);
    struct aq_addr attacker = addr4(1);
    for (unsigned i = 0; i < 200; i++) {
        attacker.port = (uint16_t)(2000 + i);
        leave_open(p, q, &attacker);
    }
    struct aq_endpoint_stats stats = side_stats(&p->server);
    cr_expect(stats.half_open >= MOST && stats.half_open <= 2 * MOST, "%u are open",
              stats.half_open);
    cr_expect_gt(stats.drop_source, 100);
    cr_expect_eq(stats.drop_half_open_full, 0);
    for (unsigned i = 0; i < 50; i++) {
        p->client.addr = addr4(500 + i / 2 * (i % 2)); /* half of them from one */
        p->client.addr.port = (uint16_t)(3000 + i);
        unsigned before = side_count(&p->client, AQ_EVENT_CONFIRMED);
        pair_dial(p);
        pair_run(p, 100000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), before + 1, "client %u", i);
        p->client.events = p->server.events = 0;
        leave_open(p, q, &attacker);
    }
    cr_expect_eq(side_stats(&p->server).connected, 50);
    pair_free(p);
    pair_free(q);
}

/* SECURITY.md 7: Initials from addresses that nobody has, a hundred for each honest client: at
 * least 95 in a hundred of these get in all the same, and what is kept for the others has its
 * bounds. */
Test(source, spoofed_initials)
{
    enum {
        FLIGHTS = 250,
        EACH = 100
    };
    struct pair *p = pair_of(false), *q = pair_of(true);
    static struct pair_datagram flight[FLIGHTS];
    unsigned confirmed = 0;
    for (unsigned i = 0; i < FLIGHTS; i++) {
        pair_dial(q);
        side_turn(&q->client, p->now_us);
        cr_assert(side_take(&q->client, &flight[i]));
        q->client.outs = 0;
    }
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned k = 0; k < EACH; k++) {
            struct aq_addr nobody = addr4(1000 + EACH * i + k);
            const struct pair_datagram *d = &flight[(EACH * i + k) % FLIGHTS];
            side_recv(&p->server, &nobody, d->data, d->size, p->now_us);
        }
        side_turn(&p->server, p->now_us);
        p->server.outs = 0; /* answers to nobody */
        p->client.addr = addr4(i);
        pair_dial(p);
        pair_run(p, 100000);
        confirmed += side_count(&p->client, AQ_EVENT_CONFIRMED);
        p->client.events = p->server.events = 0;
    }
    struct aq_endpoint_stats stats = side_stats(&p->server);
    cr_expect_geq(confirmed, 95, "%u of 100 clients got in", confirmed);
    cr_expect_leq(stats.half_open_high, HALF_OPEN / 4 + 2, "%u half open", stats.half_open_high);
    cr_expect_gt(stats.retries, 1000);
    pair_free(p);
    pair_free(q);
}
