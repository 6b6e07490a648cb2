/* nat_frames.c -- the frames of NAT traversal and of address discovery (core/natframes.c): every
 * rule of nat/PROTOCOL.md 1, for both roles; what is lost goes again, what is void does not;
 * bounds. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/frame.h"
#include "tests/hex.h"
#include "tests/pair.h"

enum {
    LIMIT = 8
};

static struct aq_addr ip4(uint8_t last, uint16_t port)
{
    return (struct aq_addr){.ip = {203, 0, 113, last}, .port = port, .family = 4};
}

static struct aq_addr ip6(void)
{
    return (struct aq_addr){.ip = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .port = 4433, .family = 6};
}

static struct pair *pair_of(uint8_t client, uint8_t server, bool client_observes,
                            bool server_observes)
{
    struct aq_config config[2];
    pair_config(&config[0], false);
    pair_config(&config[1], true);
    config[0].nat_limit = client;
    config[1].nat_limit = server;
    config[0].observe = client_observes;
    config[1].observe = server_observes;
    return pair_connected(&config[0], &config[1]);
}

static struct pair *both(void)
{
    return pair_of(LIMIT, LIMIT, false, false);
}

static struct conn *inside(const struct side *s)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)s->ep, s->conn);
    cr_assert_not_null(c);
    return c;
}

/* The frames of a 1-RTT packet that `to` is going to receive, as they stand on the wire. */
static size_t plain_of(const struct side *to, struct pair_datagram *d, const uint8_t **payload)
{
    struct conn *c = inside(to);
    struct sealed s = {.data = d->data,
                       .size = d->size,
                       .pn_offset = (uint16_t)(1 + c->ep->cid_key.size),
                       .ok = true};
    if (d->data[0] & 0x80)
        return 0;
    protect_unmask(&c->keys.rx_hp, &s, 1);
    s.number = packet_number_decode(s.number, s.pn_size, ack_largest(&c->app.ack) + 1);
    protect_open(keys_for(&c->keys, (s.data[0] & 0x04) != 0), &s, 1);
    cr_assert(s.ok);
    *payload = s.data + s.pn_offset + s.pn_size;
    return s.size - s.pn_offset - s.pn_size - AEAD_TAG_SIZE;
}

static bool holds(const uint8_t *bytes, size_t size, const char *hex)
{
    uint8_t wanted[64];
    size_t n = hex_bytes(hex, wanted, sizeof wanted);
    for (size_t i = 0; i + n <= size; i++) {
        if (memcmp(bytes + i, wanted, n) == 0)
            return true;
    }
    return false;
}

/* Whether some datagram that `from` has on its way holds these bytes. */
static bool on_the_way(const struct side *from, const struct side *to, const char *hex)
{
    for (unsigned i = 0; i < from->outs; i++) {
        struct pair_datagram d = from->out[i];
        const uint8_t *payload;
        size_t size = plain_of(to, &d, &payload);
        if (size && holds(payload, size, hex))
            return true;
    }
    return false;
}

/* The frames come as if in a packet on the first path; what it would close with, AQ_OK or AQ_FULL.
 */
static int come(const struct side *s, const char *hex, uint64_t now)
{
    uint8_t bytes[64];
    size_t size = hex_bytes(hex, bytes, sizeof bytes);
    struct apply a = {.space = SPACE_APP, .in = IN_1};
    return frames_apply(inside(s), bytes, size, &a, now);
}

static bool next(const struct side *s, struct aq_nat_news *news)
{
    return aq_nat_next(s->ep, s->conn, news);
}

static unsigned news_count(const struct side *s)
{
    struct aq_nat_news news;
    unsigned n = 0;
    while (next(s, &news))
        n++;
    return n;
}

/* ---- the bytes ------------------------------------------------------------------------------- */

/* PROTOCOL §1: the golden vectors, from the real sender. */
Test(nat_frames, golden_frames)
{
    struct pair *p = both();
    struct aq_addr a = ip4(10, 40000), b = ip6();
    uint64_t seq;
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &a, &seq, p->now_us), AQ_OK);
    cr_expect_eq(seq, 1);
    side_turn(&p->server, p->now_us);
    cr_expect(on_the_way(&p->server, &p->client, "803d7e90 01 cb00710a 9c40"));
    cr_assert_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 2, &b, p->now_us), AQ_OK);
    side_turn(&p->client, p->now_us);
    cr_expect(
        on_the_way(&p->client, &p->server, "803d7e93 01 02 20010db8000000000000000000000001 1151"));
    pair_run(p, 100000);
    cr_assert_eq(aq_nat_remove_address(p->server.ep, p->server.conn, 1, p->now_us), AQ_OK);
    side_turn(&p->server, p->now_us);
    cr_expect(on_the_way(&p->server, &p->client, "803d7e94 01"));
    pair_free(p);
}

/* draft-seemann-quic-nat-traversal §4.5: empty from the client, a limit from the server. */
Test(nat_frames, golden_parameters)
{
    struct aq_config config[2];
    const uint8_t *data;
    size_t size;
    for (unsigned i = 0; i < 2; i++) {
        pair_config(&config[i], i);
        config[i].nat_limit = LIMIT;
        config[i].observe = true;
    }
    struct pair *p = pair_new(&config[0], &config[1]);
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    p->now_us += PAIR_DELAY_US;
    pair_deliver(p, &p->client, &p->server);
    side_turn(&p->server, p->now_us);
    cr_assert(tls_peer_params(&inside(&p->server)->hand->tls, &data, &size));
    cr_expect(holds(data, size, "fd7e9f0bca12fea6 00"));
    cr_expect(holds(data, size, "c00000009f81a176 01 02"));
    cr_expect(holds(data, size, "0e 01 10"), "active_connection_id_limit 16");
    cr_expect_not(holds(data, size, "6ab2 00"), "RFC 9287: the fixed bit tells datagrams apart");
    pair_run(p, 200000);
    cr_assert(tls_peer_params(&inside(&p->client)->hand->tls, &data, &size));
    cr_expect(holds(data, size, "fd7e9f0bca12fea6 01 08"));
    cr_expect(holds(data, size, "c00000009f81a176 01 02"));
    /* remembered for 0-RTT, and may not be less then (tests/early.c) */
    struct params kept;
    const struct hand *h = inside(&p->client)->hand;
    cr_assert_eq(params_decode(&kept, BY_SERVER, h->kept, h->kept_size), AQ_OK);
    cr_expect_eq(kept.nat_limit, LIMIT);
    cr_expect(params_has(&kept, PARAM_ADDRESS_DISCOVERY)
              && kept.address_discovery == OBSERVED_BOTH);
    cr_expect_eq(inside(&p->client)->cids.limit, CIDS_MAX);
    cr_expect_eq(inside(&p->server)->cids.limit, CIDS_MAX);
    pair_free(p);
}

/* ---- negotiation, roles ---------------------------------------------------------------------- */

/* Only where both sides want it is there any state of it, and any frame allowed. */
Test(nat_frames, negotiated_by_both)
{
    for (unsigned i = 0; i < 16; i++) {
        struct pair *p = pair_of(i & 1 ? LIMIT : 0, i & 2 ? LIMIT : 0, i & 4, i & 8);
        bool traversal = (i & 3) == 3, discovery = (i & 12) == 12;
        struct aq_addr addr = ip4(1, 1);
        uint64_t seq;
        cr_expect_eq(inside(&p->client)->nat != NULL, traversal || discovery, "%u", i);
        cr_expect_eq(inside(&p->server)->nat != NULL, traversal || discovery, "%u", i);
        cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &addr, &seq, p->now_us),
                     traversal ? AQ_OK : AQ_MISUSE);
        cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &addr, p->now_us),
                     traversal ? AQ_OK : AQ_MISUSE);
        cr_expect_eq(come(&p->client, "803d7e90 05 cb00710a 9c40", p->now_us),
                     traversal ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        cr_expect_eq(come(&p->client, "803d7e94 05", p->now_us),
                     traversal ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        cr_expect_eq(come(&p->server, "803d7e92 01 02 cb00710a 9c40", p->now_us),
                     traversal ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        cr_expect_eq(come(&p->client, "809f81a6 09 cb00710a 9c40", p->now_us),
                     discovery ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        cr_expect_eq(come(&p->server, "809f81a6 09 cb00710a 9c40", p->now_us),
                     discovery ? AQ_OK : AQ_PROTOCOL_VIOLATION);
        pair_free(p);
    }
}

/* An endpoint that wants neither has no memory for it, and its blocks come back. */
Test(nat_frames, memory)
{
    struct aq_config config;
    pair_config(&config, true);
    size_t without = aq_endpoint_size(&config);
    config.observe = true;
    cr_expect_geq(aq_endpoint_size(&config), without + config.max_conns * sizeof(struct nat));
    struct pair *p = both();
    const struct endpoint *ep = (const struct endpoint *)p->server.ep;
    cr_expect_eq(ep->nats.used, 1);
    aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
    pair_run(p, 10000000);
    cr_expect_eq(ep->nats.used, 0);
    struct aq_nat_news news;
    cr_expect_not(next(&p->server, &news));
    pair_free(p);
}

/* draft-seemann-quic-nat-traversal §4.6: addresses are the server's to tell, pairs the client's. */
Test(nat_frames, misuse)
{
    struct pair *p = both();
    struct aq_addr good = ip4(1, 1), bad[] = {{.port = 1}, ip4(1, 0), {.family = 5, .port = 1}};
    uint64_t seq = 77;
    cr_expect_eq(aq_nat_add_address(p->client.ep, p->client.conn, &good, &seq, 0), AQ_MISUSE);
    cr_expect_eq(seq, 0);
    cr_expect_eq(aq_nat_remove_address(p->client.ep, p->client.conn, 1, 0), AQ_MISUSE);
    cr_expect_eq(aq_nat_remove_address(p->server.ep, p->server.conn, 1, 0), AQ_MISUSE);
    cr_expect_eq(aq_nat_punch(p->server.ep, p->server.conn, 1, 1, &good, 0), AQ_MISUSE);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 0, 1, &good, 0), AQ_MISUSE);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, VARINT_MAX + 1, 1, &good, 0),
                 AQ_MISUSE);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &bad[i], &seq, 0), AQ_MISUSE);
        cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &bad[i], 0), AQ_MISUSE);
    }
    aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
    pair_run(p, 10000000);
    cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &good, &seq, 0), AQ_GONE);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &good, 0), AQ_GONE);
    pair_free(p);
}

/* Not before the handshake is done, the client's certificate with it. */
Test(nat_frames, not_before_the_handshake)
{
    struct aq_config config[2];
    struct aq_addr addr = ip4(1, 1);
    uint64_t seq;
    for (unsigned i = 0; i < 2; i++) {
        pair_config(&config[i], i);
        config[i].nat_limit = LIMIT;
    }
    struct pair *p = pair_new(&config[0], &config[1]);
    pair_dial(p);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &addr, p->now_us), AQ_MISUSE);
    side_turn(&p->client, p->now_us);
    p->now_us += PAIR_DELAY_US;
    pair_deliver(p, &p->client, &p->server);
    side_turn(&p->server, p->now_us);
    cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &addr, &seq, p->now_us),
                 AQ_MISUSE);
    pair_free(p);
}

/* ---- rules of what comes --------------------------------------------------------------------- */

struct step {
    const char *hex;
    int expect;
    unsigned news; /* told afterwards */
};

static void steps(bool server, const struct step *step, unsigned n)
{
    struct pair *p = both();
    struct side *s = server ? &p->server : &p->client;
    for (unsigned i = 0; i < n; i++) {
        cr_expect_eq(come(s, step[i].hex, p->now_us), step[i].expect, "step %u", i);
        unsigned got = news_count(s);
        cr_expect_eq(got, step[i].news, "step %u: %u", i, got);
    }
    pair_free(p);
}

/* PROTOCOL §1: a repeated number says nothing new, with another address it is an error; an unknown
 * one that is removed is ignored; what was removed does not come back by a late copy. */
Test(nat_frames, client_hears_addresses)
{
    static const struct step same[] = {
        {"803d7e90 01 cb00710a 9c40", AQ_OK, 1},
        {"803d7e90 01 cb00710a 9c40", AQ_OK, 0},
        {"803d7e90 02 cb00710a 9c40", AQ_OK, 1},
        {"803d7e94 01", AQ_OK, 1},
        {"803d7e94 01", AQ_OK, 0},
        {"803d7e90 01 cb00710a 9c40", AQ_OK, 0}, /* late */
        {"803d7e94 2a", AQ_OK, 0},               /* overtakes its address */
        {"803d7e90 2a cb00710a 9c40", AQ_OK, 0},
        {"803d7e94 ffffffffffffffff", AQ_OK, 0}, /* unknown, and changes nothing */
        {"803d7e90 03 cb00710a 9c40", AQ_OK, 1},
        {"803d7e91 04 20010db8000000000000000000000001 1151", AQ_OK, 1},
        {"803d7e90 c000000000000100 cb00710a 9c40", AQ_OK, 1},
        {"803d7e94 04", AQ_OK, 1}, /* held: however old */
    };
    static const struct step port[] = {{"803d7e90 01 cb00710a 9c40", AQ_OK, 1},
                                       {"803d7e90 01 cb00710a 9c41", AQ_PROTOCOL_VIOLATION, 0}};
    static const struct step family[] = {
        {"803d7e90 01 cb00710a 9c40", AQ_OK, 1},
        {"803d7e91 01 20010db8000000000000000000000001 1151", AQ_PROTOCOL_VIOLATION, 0}};
    static const struct step role[] = {
        {"803d7e92 01 01 cb00710a 9c40", AQ_PROTOCOL_VIOLATION, 0},
        {"803d7e93 01 01 20010db8000000000000000000000001 1151", AQ_PROTOCOL_VIOLATION, 0},
        {"803d7e90 01 cb00710a 9c", AQ_FRAME_ENCODING_ERROR, 0}};
    steps(false, same, sizeof same / sizeof *same);
    steps(false, port, 2);
    steps(false, family, 2);
    steps(false, role, 3);
}

/* PROTOCOL §1: rounds begin with 1 and only grow; a higher one ends the one before; no more pairs
 * in a round than the server's limit. */
Test(nat_frames, server_hears_pairs)
{
    static const struct step rounds[] = {
        {"803d7e92 01 01 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 01 01 cb00710a 9c40", AQ_OK, 0}, /* again */
        {"803d7e92 01 01 cb00710a 9c41", AQ_OK, 1}, /* another address of the client */
        {"803d7e92 01 02 cb00710a 9c40", AQ_OK, 1}, /* another of the server */
        {"803d7e92 03 01 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 02 09 cb00710a 9c40", AQ_OK, 0}, /* over before it began */
        {"803d7e92 01 07 cb00710a 9c40", AQ_OK, 0},
    };
    static const struct step many[] = {
        {"803d7e92 01 01 cb00710a 9c40", AQ_OK, 1}, {"803d7e92 01 02 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 01 03 cb00710a 9c40", AQ_OK, 1}, {"803d7e92 01 04 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 01 05 cb00710a 9c40", AQ_OK, 1}, {"803d7e92 01 06 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 01 07 cb00710a 9c40", AQ_OK, 1}, {"803d7e92 01 08 cb00710a 9c40", AQ_OK, 1},
        {"803d7e92 01 08 cb00710a 9c40", AQ_OK, 0}, {"803d7e92 02 09 cb00710a 9c40", AQ_OK, 1},
    };
    static const struct step nine = {"803d7e92 01 09 cb00710a 9c40", AQ_PROTOCOL_VIOLATION, 0};
    static const struct step role[] = {
        {"803d7e92 00 01 cb00710a 9c40", AQ_PROTOCOL_VIOLATION, 0}, /* no round */
        {"803d7e90 01 cb00710a 9c40", AQ_PROTOCOL_VIOLATION, 0},
        {"803d7e91 01 20010db8000000000000000000000001 1151", AQ_PROTOCOL_VIOLATION, 0},
        {"803d7e94 01", AQ_PROTOCOL_VIOLATION, 0},
        {"803d7e92 01 01 cb00710a 9c", AQ_FRAME_ENCODING_ERROR, 0}};
    struct step over[9];
    memcpy(over, many, 8 * sizeof *over);
    over[8] = nine;
    steps(true, rounds, sizeof rounds / sizeof *rounds);
    steps(true, many, sizeof many / sizeof *many);
    steps(true, over, 9);
    steps(true, role, 5);
}

/* A round that nobody asked for yet is not told of when a higher one has come. */
Test(nat_frames, a_higher_round_makes_void)
{
    struct pair *p = both();
    struct aq_nat_news news;
    cr_expect_eq(come(&p->server, "803d7e92 01 01 cb00710a 9c40", p->now_us), AQ_OK);
    cr_expect_eq(come(&p->server, "803d7e92 02 05 cb00710b 9c40", p->now_us), AQ_OK);
    struct aq_addr addr = ip4(11, 40000);
    cr_assert(next(&p->server, &news));
    cr_expect(news.kind == AQ_NAT_PUNCH && news.round == 2 && news.seq == 5);
    cr_expect(addr_equal(&news.addr, &addr));
    cr_expect_not(next(&p->server, &news));
    cr_expect_eq(news.kind, AQ_NAT_NONE);
    pair_free(p);
}

/* PROTOCOL §1: 32 addresses at once and no more; removed ones that the host has not heard of make
 * the next one wait, which is no fault of the server. */
Test(nat_frames, addresses_are_bounded)
{
    struct pair *p = both();
    char hex[64];
    for (unsigned i = 1; i <= AQ_NAT_ADDRESSES; i++) {
        snprintf(hex, sizeof hex, "803d7e90 %02x cb0071%02x 0001", i, i);
        cr_expect_eq(come(&p->client, hex, p->now_us), AQ_OK);
    }
    cr_expect_eq(news_count(&p->client), AQ_NAT_ADDRESSES);
    cr_expect_eq(come(&p->client, "803d7e94 07", p->now_us), AQ_OK);
    cr_expect_eq(come(&p->client, "803d7e90 30 cb007130 0001", p->now_us), AQ_FULL);
    cr_expect_eq(news_count(&p->client), 1);
    cr_expect_eq(come(&p->client, "803d7e90 30 cb007130 0001", p->now_us), AQ_OK);
    cr_expect_eq(come(&p->client, "803d7e90 31 cb007131 0001", p->now_us), AQ_PROTOCOL_VIOLATION);
    pair_free(p);
}

/* A few entries need no memory beyond the struct, more of them a block, and all that PROTOCOL §1
 * allows have room together. Without memory the frame is to come again, and the host is told. */
Test(nat_frames, table_grows_by_need)
{
    struct pair *p = pair_of(NAT_LIMIT_MAX, NAT_LIMIT_MAX, false, false);
    struct conn *c = inside(&p->client);
    uint64_t most = c->quota.max_bytes, used = c->quota.used_bytes;
    char hex[64];
    cr_expect_leq(sizeof(struct nat), 448, "100 peers of a node stay below 1 MB: README.md");
    for (unsigned i = 1; i <= NAT_FIRST; i++) {
        snprintf(hex, sizeof hex, "803d7e90 %02x cb0071%02x 0001", i, i);
        cr_expect_eq(come(&p->client, hex, p->now_us), AQ_OK);
    }
    cr_expect_eq(c->quota.used_bytes, used);
    struct aq_addr own = ip4(1, 1);
    c->quota.max_bytes = used;
    cr_expect_eq(come(&p->client, "803d7e90 05 cb007105 0001", p->now_us), AQ_FULL);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &own, p->now_us), AQ_FULL);
    c->quota.max_bytes = most;
    cr_expect_eq(come(&p->client, "803d7e90 05 cb007105 0001", p->now_us), AQ_OK);
    cr_expect_eq(c->quota.used_bytes, used + ARENA_BLOCK);
    for (unsigned i = 6; i <= AQ_NAT_ADDRESSES; i++) {
        snprintf(hex, sizeof hex, "803d7e90 %02x cb0071%02x 0001", i, i);
        cr_expect_eq(come(&p->client, hex, p->now_us), AQ_OK);
    }
    for (uint16_t i = 1; i <= NAT_LIMIT_MAX + 1; i++) {
        own = ip4(200, i);
        cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &own, p->now_us),
                     i <= NAT_LIMIT_MAX ? AQ_OK : AQ_FULL);
    }
    cr_expect_eq(c->nat->blocks, NAT_BLOCKS);
    cr_expect_eq(news_count(&p->client), AQ_NAT_ADDRESSES);
    pair_run(p, 1000000);
    cr_expect_eq(news_count(&p->server), NAT_LIMIT_MAX);
    /* The places of a round that has ended serve the next one. */
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 2, 1, &own, p->now_us), AQ_OK);
    pair_run(p, 1000000);
    cr_expect_eq(news_count(&p->server), 1);
    pair_free(p);
}

/* The server's table is its addresses and what it hears; without memory a pair is to come again. */
Test(nat_frames, server_table_grows_by_need)
{
    struct pair *p = both();
    struct conn *c = inside(&p->server);
    uint64_t most = c->quota.max_bytes, seq;
    for (unsigned i = 1; i <= NAT_FIRST; i++) {
        struct aq_addr addr = ip4((uint8_t)i, 1);
        cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &addr, &seq, p->now_us),
                     AQ_OK);
    }
    pair_run(p, 1000000);
    struct aq_addr one_more = ip4(9, 1);
    c->quota.max_bytes = c->quota.used_bytes;
    cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &one_more, &seq, p->now_us),
                 AQ_FULL);
    cr_expect_eq(come(&p->server, "803d7e92 01 01 cb007109 9c40", p->now_us), AQ_FULL);
    c->quota.max_bytes = most;
    cr_expect_eq(come(&p->server, "803d7e92 01 01 cb007109 9c40", p->now_us), AQ_OK);
    cr_expect_eq(news_count(&p->server), 1);
    pair_free(p);
}

/* ---- from end to end ------------------------------------------------------------------------- */

Test(nat_frames, addresses_are_told)
{
    struct pair *p = both();
    struct aq_addr a = ip4(10, 40000), b = ip6();
    struct aq_nat_news news;
    uint64_t first, second, again;
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &a, &first, p->now_us), AQ_OK);
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &b, &second, p->now_us), AQ_OK);
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &a, &again, p->now_us), AQ_OK);
    cr_expect(first == 1 && second == 2 && again == 1);
    pair_run(p, 100000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_NAT), 1);
    cr_assert(next(&p->client, &news));
    cr_expect(news.kind == AQ_NAT_ADDED && news.seq == 1 && addr_equal(&news.addr, &a));
    cr_assert(next(&p->client, &news));
    cr_expect(news.kind == AQ_NAT_ADDED && news.seq == 2 && addr_equal(&news.addr, &b));
    cr_expect_not(next(&p->client, &news));
    cr_assert_eq(aq_nat_remove_address(p->server.ep, p->server.conn, 1, p->now_us), AQ_OK);
    cr_expect_eq(aq_nat_remove_address(p->server.ep, p->server.conn, 1, p->now_us), AQ_MISUSE);
    pair_run(p, 100000);
    cr_assert(next(&p->client, &news));
    cr_expect(news.kind == AQ_NAT_REMOVED && news.seq == 1 && addr_equal(&news.addr, &a));
    cr_expect_not(next(&p->client, &news));
    cr_expect_eq(side_count(&p->server, AQ_EVENT_NAT), 0);
    pair_free(p);
}

/* The server counts what the client may still hold: places come back when a removal is
 * acknowledged.
 */
Test(nat_frames, server_table_is_bounded)
{
    struct pair *p = both();
    uint64_t seq;
    for (unsigned i = 1; i <= AQ_NAT_ADDRESSES + 1; i++) {
        struct aq_addr addr = ip4((uint8_t)i, 1);
        cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &addr, &seq, p->now_us),
                     i <= AQ_NAT_ADDRESSES ? AQ_OK : AQ_FULL);
    }
    struct aq_addr more = ip4(200, 1);
    pair_run(p, 200000);
    cr_expect_eq(news_count(&p->client), AQ_NAT_ADDRESSES);
    cr_assert_eq(aq_nat_remove_address(p->server.ep, p->server.conn, 9, p->now_us), AQ_OK);
    cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &more, &seq, p->now_us), AQ_FULL);
    pair_run(p, 200000);
    cr_expect_eq(aq_nat_add_address(p->server.ep, p->server.conn, &more, &seq, p->now_us), AQ_OK);
    cr_expect_eq(seq, AQ_NAT_ADDRESSES + 1);
    pair_run(p, 200000);
    cr_expect_eq(news_count(&p->client), 1,
                 "the new one waits until the host has heard of the old");
    pair_run(p, 2000000);
    cr_expect_eq(news_count(&p->client), 1);
    cr_expect_not(p->client.closed);
    pair_free(p);
}

Test(nat_frames, pairs_are_told)
{
    struct pair *p = both();
    struct aq_nat_news news;
    struct aq_addr addr = ip4(1, 1);
    for (uint16_t i = 1; i <= LIMIT + 1; i++) {
        addr.port = i;
        cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 5, 1, &addr, p->now_us),
                     i <= LIMIT ? AQ_OK : AQ_FULL);
    }
    addr.port = 1;
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 5, 1, &addr, p->now_us), AQ_OK);
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 4, 1, &addr, p->now_us), AQ_MISUSE);
    pair_run(p, 100000);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_NAT), 1);
    for (uint16_t i = 1; i <= LIMIT; i++) {
        cr_assert(next(&p->server, &news));
        cr_expect(news.kind == AQ_NAT_PUNCH && news.round == 5 && news.seq == 1
                  && news.addr.port == i);
    }
    cr_expect_not(next(&p->server, &news));
    cr_expect_eq(aq_nat_punch(p->client.ep, p->client.conn, 6, 3, &addr, p->now_us), AQ_OK);
    pair_run(p, 100000);
    cr_assert(next(&p->server, &news));
    cr_expect(news.round == 6 && news.seq == 3);
    cr_expect_not(p->server.closed);
    pair_free(p);
}

/* ---- losses ---------------------------------------------------------------------------------- */

/* RFC 9000 §13.3, draft-seemann-quic-nat-traversal §4.6.1: what was lost goes again. */
Test(nat_frames, lost_frames_go_again)
{
    struct pair *p = both();
    struct aq_addr a = ip4(10, 40000);
    uint64_t seq;
    p->server.lose_nth = p->server.sent + 1;
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &a, &seq, p->now_us), AQ_OK);
    pair_run(p, 30000);
    cr_expect_eq(news_count(&p->client), 0);
    pair_run(p, 1000000);
    cr_expect_eq(news_count(&p->client), 1);
    p->server.lose_nth = p->server.sent + 1;
    cr_assert_eq(aq_nat_remove_address(p->server.ep, p->server.conn, seq, p->now_us), AQ_OK);
    pair_run(p, 30000);
    cr_expect_eq(news_count(&p->client), 0);
    pair_run(p, 1000000);
    cr_expect_eq(news_count(&p->client), 1);
    p->client.lose_nth = p->client.sent + 1;
    cr_assert_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &a, p->now_us), AQ_OK);
    pair_run(p, 30000);
    cr_expect_eq(news_count(&p->server), 0);
    pair_run(p, 1000000);
    cr_expect_eq(news_count(&p->server), 1);
    pair_free(p);
}

/* An address that is active no more, and a round that is over, are not told again. */
Test(nat_frames, lost_and_void)
{
    struct pair *p = both();
    struct aq_addr a = ip4(10, 40000), b = ip4(11, 40000);
    struct aq_nat_news news;
    uint64_t seq;
    p->server.lose_nth = p->server.sent + 1;
    cr_assert_eq(aq_nat_add_address(p->server.ep, p->server.conn, &a, &seq, p->now_us), AQ_OK);
    pair_run(p, 1000);
    cr_assert_eq(aq_nat_remove_address(p->server.ep, p->server.conn, seq, p->now_us), AQ_OK);
    pair_run(p, 2000000);
    cr_expect_eq(news_count(&p->client), 0);
    p->client.lose_nth = p->client.sent + 1;
    cr_assert_eq(aq_nat_punch(p->client.ep, p->client.conn, 1, 1, &a, p->now_us), AQ_OK);
    pair_run(p, 1000);
    cr_assert_eq(aq_nat_punch(p->client.ep, p->client.conn, 2, 1, &b, p->now_us), AQ_OK);
    for (unsigned i = 0; i < 400; i++) {
        pair_run(p, 5000);
        cr_expect_not(on_the_way(&p->client, &p->server, "803d7e92 01 01"));
    }
    cr_assert(next(&p->server, &news));
    cr_expect(news.round == 2 && addr_equal(&news.addr, &b));
    cr_expect_not(next(&p->server, &news));
    pair_free(p);
}

/* ---- address discovery ----------------------------------------------------------------------- */

/* draft-ietf-quic-address-discovery: the handshake's path too, once, to who asked for it. */
Test(nat_frames, observed_once)
{
    struct pair *p = pair_of(0, 0, true, true);
    struct side *sides[] = {&p->client, &p->server};
    for (unsigned i = 0; i < 2; i++) {
        struct aq_nat_news news;
        cr_expect_eq(side_count(sides[i], AQ_EVENT_NAT), 1);
        cr_assert(next(sides[i], &news));
        cr_expect(news.kind == AQ_NAT_OBSERVED && news.seq == 0);
        cr_expect(addr_equal(&news.addr, &sides[i]->addr));
        cr_expect(addr_equal(&news.path.remote, &sides[!i]->addr));
    }
    pair_run(p, 5000000);
    cr_expect_eq(news_count(&p->client) + news_count(&p->server), 0);
    cr_expect_eq(inside(&p->server)->nat->observed_next, 1);
    pair_free(p);
}

/* Lost, it goes again; older than what came, or a copy of it, it says nothing. */
Test(nat_frames, observed_lost_and_old)
{
    struct pair *p = pair_of(0, 0, true, true);
    struct conn *c = inside(&p->server);
    news_count(&p->client);
    news_count(&p->server);
    cr_expect_eq(come(&p->client, "809f81a6 00 cb00710a 9c40", p->now_us), AQ_OK);
    cr_expect_eq(news_count(&p->client), 0);
    cr_expect_eq(come(&p->client, "809f81a6 05 cb00710a 9c40", p->now_us), AQ_OK);
    cr_expect_eq(news_count(&p->client), 1);
    cr_expect_eq(come(&p->client, "809f81a6 04 cb00710b 9c40", p->now_us), AQ_OK);
    cr_expect_eq(come(&p->client, "809f81a7 05 20010db8000000000000000000000001 1151", p->now_us),
                 AQ_OK);
    cr_expect_eq(news_count(&p->client), 0);
    cr_expect_eq(come(&p->client, "809f81a6 06 cb00710a 9c40 809f81a6 07 cb00710b 9c40", p->now_us),
                 AQ_OK);
    struct aq_nat_news news;
    cr_assert(next(&p->client, &news)); /* the newest alone */
    cr_expect(news.seq == 7 && news.addr.ip[3] == 0x0b);
    cr_expect_not(next(&p->client, &news));
    c->nat->told[0] = 9;
    c->first.observed_due = true; /* as for a new path */
    p->server.lose_nth = p->server.sent + 1;
    conn_wake(c);
    side_turn(&p->server, p->now_us);
    cr_expect_not(c->first.observed_due);
    pair_run(p, 2000000);
    cr_assert(next(&p->client, &news));
    cr_expect(news.seq == 8 && addr_equal(&news.addr, &p->client.addr));
    pair_free(p);
}
