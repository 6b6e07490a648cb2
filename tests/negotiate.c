/* tests/negotiate.c -- which version a connection comes to speak, and who cannot change it (RFC
 * 9368; RFC 9369 §4, §5). */
#include "core/endpoint.h"
#include "core/packet.h"
#include "core/token.h"
#include "tests/stranger.h"

enum {
    V1 = AQ_QUIC_V1,
    V2 = AQ_QUIC_V2,
    DRAFT = AQ_QUIC_V2_DRAFT
};

static void set_versions(struct aq_config *config, const uint32_t versions[AQ_VERSIONS_MAX])
{
    memcpy(config->versions, versions, sizeof config->versions);
}

/* Two endpoints that speak these, and the server's configuration to make another of. */
static struct pair *pair_of(const uint32_t client[AQ_VERSIONS_MAX],
                            const uint32_t server[AQ_VERSIONS_MAX], enum aq_retry retry)
{
    struct aq_config ours, theirs;
    pair_config(&ours, false);
    pair_config(&theirs, true);
    set_versions(&ours, client);
    set_versions(&theirs, server);
    theirs.retry = retry;
    return pair_new(&ours, &theirs);
}

/* What a client keeps: all that its events brought. */
struct kept {
    uint8_t ticket[2048], token[256];
    size_t ticket_size, token_size;
};

static void dial(struct pair *p, uint32_t version, const struct kept *kept)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = p->server.addr;
    connect.server_name = "sim.example";
    connect.version = version;
    if (kept && kept->ticket_size)
        connect.ticket = kept->ticket, connect.ticket_size = kept->ticket_size;
    if (kept && kept->token_size)
        connect.token = kept->token, connect.token_size = kept->token_size;
    cr_assert_eq(aq_connect(p->client.ep, &connect, &p->client.conn, p->now_us), AQ_OK);
}

static void expect_version(struct pair *p, uint32_t version, unsigned row)
{
    cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1, "row %u", row);
    cr_assert_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1, "row %u", row);
    cr_expect_eq(pair_stats(&p->client).version, version, "row %u: client %08x", row,
                 pair_stats(&p->client).version);
    cr_expect_eq(pair_stats(&p->server).version, version, "row %u: server %08x", row,
                 pair_stats(&p->server).version);
}

/* RFC 9368 §2.1, RFC 9368 §2.3, RFC 9368 §2.4, RFC 9368 §2.5: who begins with what comes to what;
 * version 0: to nothing. anew: by way of a Version Negotiation packet. RFC 9369 §4.1: the same
 * after a Retry, in the original version. */
static const struct {
    uint32_t client[AQ_VERSIONS_MAX], begin, server[AQ_VERSIONS_MAX], version;
    bool anew;
} rows[] = {
    {{V1, V2}, 0, {V1, V2}, V1, false},
    {{V1, V2}, 0, {V2, V1}, V2, false},
    {{V2, V1}, 0, {V2, V1}, V2, false},
    {{V2, V1}, V2, {V1, V2}, V1, false},
    {{V2, V1}, V2, {V2, V1}, V2, false},
    {{V1}, 0, {V2, V1}, V1, false},
    {{V1, V2}, V1, {V2}, V2, true},
    {{V2, V1}, V2, {V1}, V1, true},
    {{V2}, 0, {V2}, V2, false},
    {{V1}, 0, {V2}, 0, true},
    {{V2}, 0, {V1}, 0, true},
    {{DRAFT, V1}, DRAFT, {V1, DRAFT}, V1, false},
    {{DRAFT}, 0, {DRAFT}, DRAFT, false},
    {{DRAFT, V2}, DRAFT, {V2}, V2, true},
    {{V1, V2}, V1, {V2, DRAFT}, V2, true},
    {{V1, DRAFT, V2}, V1, {V2, DRAFT}, V2, true},
};

static void run_row(unsigned i, enum aq_retry retry)
{
    struct pair *p = pair_of(rows[i].client, rows[i].server, retry);
    dial(p, rows[i].begin, NULL);
    pair_run(p, 500000);
    cr_expect_eq(side_stats(&p->server).versions, rows[i].anew, "row %u", i);
    cr_expect_eq(side_stats(&p->server).retries, retry == AQ_RETRY_ALWAYS && rows[i].version,
                 "row %u", i);
    if (rows[i].version) {
        expect_version(p, rows[i].version, i);
        struct aq_iov iov = {(const uint8_t *)"hello", 5};
        aq_stream stream;
        bool fin = false;
        cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
        aq_key_update(p->client.ep, p->client.conn, p->now_us);
        cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), 5);
        pair_run(p, 100000);
        cr_assert_eq(aq_stream_peek(p->server.ep, p->server.stream, &iov, 1, &fin), 1);
        cr_expect(fin && iov.size == 5);
        cr_expect_eq(pair_stats(&p->server).key_updates, 1, "row %u", i);
        cr_expect_eq(pair_stats(&p->server).undecryptable_packets, 0, "row %u", i);
    } else {
        cr_assert(p->client.closed, "row %u", i);
    }
    pair_free(p);
}

Test(negotiate, versions)
{
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].version)
            run_row(i, AQ_RETRY_NEVER);
    }
}

/* RFC 9369 §4.1 */
Test(negotiate, versions_with_retry)
{
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].version)
            run_row(i, AQ_RETRY_ALWAYS);
    }
}

/* RFC 9368 §2.1: nothing in common ends the attempt. */
Test(negotiate, nothing_in_common)
{
    for (unsigned i = 9; i < 11; i++) {
        struct pair *p = pair_of(rows[i].client, rows[i].server, AQ_RETRY_NEVER);
        dial(p, 0, NULL);
        pair_run(p, 500000);
        cr_assert(p->client.closed);
        cr_expect_eq(p->client.close.by, AQ_BY_VERSION);
        cr_expect_eq(side_stats(&p->server).accepted, 0);
        pair_free(p);
    }
}

/* ---- attacks --------------------------------------------------------------------------------- */

/* The client's first flight is answered by somebody else with a list of versions. */
static void forge_versions(struct pair *p, const uint32_t *versions, unsigned count)
{
    struct packet_head h;
    uint8_t out[64];
    cr_assert_eq(packet_parse(p->client.out[0].data, p->client.out[0].size, 8, &h), AQ_OK);
    struct aq_iov dcid = {h.scid.bytes, h.scid.size}, scid = {h.dcid.bytes, h.dcid.size};
    size_t size = packet_write_versions(out, sizeof out, &dcid, &scid, versions, count, 0);
    side_recv(&p->client, &p->server.addr, out, size, p->now_us);
}

/* RFC 9368 §4: a forged list makes the client begin with what it likes less: the server's
 * parameters tell; where the client likes it best, nothing was lost. RFC 8999 §7: the list was not
 * authentic, and the handshake shows it. */
Test(negotiate, forged_list)
{
    static const uint32_t likes_v1[AQ_VERSIONS_MAX] = {V1, V2},
                          likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    static const uint32_t list[] = {V2};
    for (unsigned row = 0; row < 4; row++) {
        struct pair *p =
            pair_of(row & 1 ? likes_v2 : likes_v1, row & 2 ? likes_v2 : likes_v1, AQ_RETRY_NEVER);
        dial(p, V1, NULL);
        side_turn(&p->client, p->now_us);
        forge_versions(p, list, 1);
        p->client.outs = 0; /* the first flight is lost, too */
        pair_run(p, 500000);
        cr_expect_eq(p->client.closed, !(row & 1), "row %u", row);
        if (row & 1) {
            expect_version(p, row & 2 ? V2 : V1, row);
        } else {
            cr_expect_eq(p->client.close.code, AQ_VERSION_NEGOTIATION_ERROR);
            cr_expect_eq(p->client.close.by, AQ_BY_US);
            cr_expect_eq(p->server.close.code, AQ_VERSION_NEGOTIATION_ERROR);
        }
        pair_free(p);
    }
}

/* RFC 9368 §4: a list with the original version in it, and any list after one was followed, are
 * ignored. */
Test(negotiate, ignored_lists)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, second[AQ_VERSIONS_MAX] = {V2};
    static const uint32_t with_original[] = {V2, V1}, other[] = {V2}, third[] = {V1, DRAFT};
    struct pair *p = pair_of(both, second, AQ_RETRY_NEVER);
    dial(p, V1, NULL);
    side_turn(&p->client, p->now_us);
    forge_versions(p, with_original, 2);
    cr_expect_eq(pair_stats(&p->client).version, V1);
    forge_versions(p, other, 1);
    cr_expect_eq(pair_stats(&p->client).version, V2);
    p->client.outs = 0;
    side_turn(&p->client, p->now_us);
    forge_versions(p, third, 2);
    cr_expect_eq(pair_stats(&p->client).version, V2);
    pair_run(p, 500000);
    expect_version(p, V2, 0);
    pair_free(p);
}

/* RFC 9369 §4.1: an Initial in another version than the connection's is read by a client until it
 * knows the version, and then no more; nor is one of a version that it does not offer. */
Test(negotiate, client_follows_once)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    static const uint32_t only[AQ_VERSIONS_MAX] = {V1};
    struct pair *p = pair_of(both, likes_v2, AQ_RETRY_NEVER),
                *q = pair_of(only, only, AQ_RETRY_NEVER);
    struct pair_datagram d;
    dial(p, V1, NULL);
    pair_run(p, PAIR_DELAY_US);
    cr_assert(side_take(&p->server, &d)); /* Initial and Handshake of version 2 */
    cr_expect_eq(d.data[1], V2 >> 24);
    side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
    cr_expect_eq(pair_stats(&p->client).version, V2);
    side_turn(&p->client, p->now_us);
    struct pair_datagram answered = p->client.out[0];
    cr_expect_eq(answered.data[1], V2 >> 24, "what the client sends is of version 2");
    uint64_t before = side_stats(&p->client).drop_version;
    d.data[1] = d.data[2] = d.data[3] = 0, d.data[4] = 1;
    side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
    cr_expect_gt(side_stats(&p->client).drop_version, before);
    pair_free(p);
    dial(q, V1, NULL);
    pair_run(q, PAIR_DELAY_US);
    cr_assert(side_take(&q->server, &d));
    d.data[0] ^= 0x10; /* Initial */
    d.data[1] = V2 >> 24, d.data[2] = 0x33, d.data[3] = 0x43, d.data[4] = 0xcf;
    side_recv(&q->client, &q->server.addr, d.data, d.size, q->now_us);
    cr_expect_gt(side_stats(&q->client).drop_version, 0);
    cr_expect_eq(pair_stats(&q->client).version, V1);
    pair_free(q);
}

/* RFC 9369 §4.1: a Retry of another version is ignored. */
Test(negotiate, retry_of_another_version)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2};
    struct pair *p = pair_of(both, both, AQ_RETRY_NEVER);
    for (unsigned row = 0; row < 2; row++) {
        struct packet_head h;
        uint8_t out[100];
        struct cid other = {.size = 8, .bytes = "12345678"};
        struct aq_iov token = {(const uint8_t *)"token", 5};
        dial(p, V1, NULL);
        side_turn(&p->client, p->now_us);
        cr_assert_eq(packet_parse(p->client.out[0].data, p->client.out[0].size, 8, &h), AQ_OK);
        size_t size =
            packet_write_retry(out, sizeof out, row ? V1 : V2, &h.scid, &other, &h.dcid, &token, 0);
        p->client.outs = 0;
        side_recv(&p->client, &p->server.addr, out, size, p->now_us);
        side_turn(&p->client, p->now_us);
        cr_expect_eq(p->client.outs, row, "version %u", 2 - row);
        aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
        p->client.outs = 0;
    }
    pair_free(p);
}

/* RFC 9368 §8: what a client makes of the server's parameters, without them, and after a Version
 * Negotiation. */
Test(negotiate, what_the_server_says)
{
    static const struct {
        uint32_t original, version;
        bool anew, sent;
        uint32_t chosen, available[2];
        int expect;
    } said[] = {
        {V1, V1, false, false, 0, {0}, AQ_OK},
        {V2, V2, false, false, 0, {0}, AQ_OK},
        {V1, V2, false, false, 0, {0}, AQ_VERSION_NEGOTIATION_ERROR}, /* it changed without a word
                                                                       */
        {V1, V1, true, false, 0, {0}, AQ_OK},                         /* it knows no other */
        {V2, V2, true, false, 0, {0}, AQ_VERSION_NEGOTIATION_ERROR},
        {V1, V1, false, true, V1, {V1, V2}, AQ_OK},
        {V1, V2, false, true, V2, {V1, V2}, AQ_OK},
        {V1, V2, false, true, V1, {V1, V2}, AQ_VERSION_NEGOTIATION_ERROR},
        {V1, V1, false, true, V2, {V1, V2}, AQ_VERSION_NEGOTIATION_ERROR},
        {V1, V1, true, true, V1, {V1}, AQ_OK},
        {V1, V1, true, true, V1, {0}, AQ_VERSION_NEGOTIATION_ERROR},      /* an empty list */
        {V1, V1, true, true, V1, {V1, V2}, AQ_VERSION_NEGOTIATION_ERROR}, /* we like V2 better */
        {V2, V2, true, true, V2, {V1, V2}, AQ_OK},
        {V1, V2, true, true, V2, {V1}, AQ_VERSION_NEGOTIATION_ERROR}, /* with V2 we had begun so */
    };
    for (unsigned i = 0; i < sizeof said / sizeof *said; i++) {
        static struct endpoint ep;
        static struct hand hand;
        static struct conn c;
        struct params p;
        params_init(&p);
        memcpy(ep.config.versions, (const uint32_t[AQ_VERSIONS_MAX]){V2, V1},
               sizeof ep.config.versions);
        hand.original = said[i].original;
        hand.version_anew = said[i].anew;
        c.ep = &ep, c.hand = &hand, c.version = said[i].version;
        p.versions.chosen = said[i].chosen;
        p.versions.empty = !said[i].available[0];
        while (p.versions.count < 2 && said[i].available[p.versions.count]) {
            p.versions.available[p.versions.count] = said[i].available[p.versions.count];
            p.versions.count++;
        }
        if (said[i].sent)
            params_set(&p, PARAM_VERSION_INFORMATION);
        cr_expect_eq(negotiate_check(&c, &p), said[i].expect, "row %u", i);
    }
}

/* ---- loss and reordering while the version changes ------------------------------------------- */

/* RFC 9369 §4.1: the server reads Initials of the original version until a Handshake packet comes;
 * Handshake packets of the new one that come first wait. Whichever datagram of the first ones is
 * lost, the handshake is done within a few round trips. */
Test(negotiate, loss)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    for (unsigned row = 1; row <= 6; row++) {
        struct pair *p = pair_of(both, likes_v2, AQ_RETRY_NEVER);
        *(row <= 3 ? &p->server.lose_nth : &p->client.lose_nth) = row <= 3 ? row : row - 3;
        dial(p, V1, NULL);
        pair_run(p, 2500000);
        expect_version(p, V2, row);
        pair_free(p);
    }
}

/* The client's first Initial comes twice: the second one is read in the original version. */
Test(negotiate, initial_again)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    struct pair *p = pair_of(both, likes_v2, AQ_RETRY_NEVER);
    dial(p, V1, NULL);
    side_turn(&p->client, p->now_us);
    struct pair_datagram first = p->client.out[0];
    pair_run(p, PAIR_DELAY_US);
    cr_expect_eq(pair_stats(&p->server).version, V2);
    side_recv(&p->server, &p->client.addr, first.data, first.size, p->now_us);
    cr_expect_eq(side_stats(&p->server).drop_version, 0);
    cr_expect_eq(side_stats(&p->server).drop_duplicate, 1);
    pair_run(p, 500000);
    expect_version(p, V2, 0);
    pair_free(p);
}

/* The first two datagrams of the server change places. */
Test(negotiate, handshake_before_initial)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    struct pair *p = pair_of(both, likes_v2, AQ_RETRY_NEVER);
    struct packet_head a;
    struct pair_datagram d;
    dial(p, V1, NULL);
    pair_run(p, PAIR_DELAY_US);
    cr_assert(side_take(&p->server, &d));
    cr_assert_eq(packet_parse_greased(d.data, d.size, 8, &a), AQ_OK);
    cr_assert(a.type == PACKET_INITIAL && a.size < d.size);
    side_recv(&p->client, &p->server.addr, d.data + a.size, d.size - a.size, p->now_us);
    cr_expect_eq(side_stats(&p->client).drop_version, 0);
    side_recv(&p->client, &p->server.addr, d.data, a.size, p->now_us);
    pair_run(p, 3 * PAIR_DELAY_US);
    expect_version(p, V2, 0);
    cr_expect_eq(pair_stats(&p->client).pto_count, 0);
    pair_free(p);
}

/* ---- tickets and tokens ---------------------------------------------------------------------- */

/* Connects, keeps what comes, closes. Returns whether it was resumed. */
static bool visit(struct pair *p, uint32_t version, const struct kept *bring, struct kept *keep)
{
    struct aq_event event;
    struct aq_conn_peer peer = {.size = sizeof peer};
    p->client.events = p->server.events = 0;
    p->client.deaf_events = true;
    dial(p, version, bring);
    pair_run(p, 500000);
    while (side_event(&p->client, &event)) {
        if (event.kind == AQ_EVENT_TICKET && keep)
            memcpy(keep->ticket, event.data, keep->ticket_size = event.size);
        if (event.kind == AQ_EVENT_TOKEN && keep)
            memcpy(keep->token, event.data, keep->token_size = event.size);
    }
    cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    cr_assert_eq(aq_conn_peer(p->client.ep, p->client.conn, &peer), AQ_OK);
    return peer.resumed;
}

/* RFC 9369 §5: a ticket resumes the version it was given in, whoever tries. */
Test(negotiate, tickets)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    struct kept of_v1 = {.ticket_size = 0}, of_v2 = {.ticket_size = 0};
    struct pair *p = pair_of(both, both, AQ_RETRY_NEVER),
                *q = pair_of(both, likes_v2, AQ_RETRY_NEVER);
    cr_expect(!visit(p, 0, NULL, &of_v1));
    cr_assert(of_v1.ticket_size > 4);
    cr_expect(visit(p, 0, &of_v1, NULL), "version 1 again");
    cr_expect(!visit(p, V2, &of_v1, NULL), "the client does not use it for version 2");
    cr_expect(!visit(q, 0, NULL, &of_v2), "begun with 1, answered in 2");
    cr_expect_eq(pair_stats(&q->client).version, V2);
    cr_expect(visit(q, 0, &of_v2, NULL), "it is of version 2");
    cr_expect(!visit(q, V1, &of_v2, NULL));
    cr_expect(!visit(q, 0, &of_v1, NULL), "the server does not take it for version 2");
    cr_expect_eq(pair_stats(&q->client).version, V2);
    struct kept lying = of_v1; /* a client that brings it to the other version all the same */
    memcpy(lying.ticket, of_v2.ticket, 4);
    cr_expect(!visit(q, V2, &lying, NULL));
    pair_free(p);
    pair_free(q);
}

/* RFC 9369 §5: the same of tokens: with another version's, the address is not validated. */
Test(negotiate, tokens)
{
    static const uint32_t both[AQ_VERSIONS_MAX] = {V1, V2}, likes_v2[AQ_VERSIONS_MAX] = {V2, V1};
    struct kept kept = {.ticket_size = 0};
    struct pair *p = pair_of(both, likes_v2, AQ_RETRY_ALWAYS);
    visit(p, V1, NULL, &kept);
    cr_expect_eq(side_stats(&p->server).retries, 1);
    cr_assert(kept.token_size > TOKEN_SIZE);
    kept.ticket_size = 0;
    visit(p, 0, &kept, NULL);
    cr_expect_eq(pair_stats(&p->client).version, V2);
    cr_expect_eq(side_stats(&p->server).retries, 1, "a token of version 2 in version 2");
    visit(p, V1, &kept, NULL);
    cr_expect_eq(side_stats(&p->server).retries, 2, "the client does not bring it in version 1");
    cr_expect_eq(side_stats(&p->server).tokens_bad, 0);
    memcpy(kept.token, (const uint8_t[4]){0, 0, 0, 1}, 4);
    visit(p, V1, &kept, NULL);
    cr_expect_eq(side_stats(&p->server).retries, 3, "the server does not take it");
    cr_expect_eq(side_stats(&p->server).tokens_bad, 1);
    pair_free(p);
}

/* ---- what is offered ------------------------------------------------------------------------- */

/* RFC 9000 §6.3, RFC 9368 §2.1, §3: all versions of the configuration in their order, and a
 * reserved one somewhere among them. */
Test(negotiate, lists)
{
    static const uint32_t three[AQ_VERSIONS_MAX] = {V2, DRAFT, V1};
    struct pair *p = pair_of(three, three, AQ_RETRY_NEVER);
    unsigned places = 0;
    for (unsigned turn = 0; turn < 40; turn++) {
        uint8_t junk[1200] = {0xc0, 0xba, 0xbe, 0xca, 0xfe, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0};
        struct packet_head h;
        unsigned ours = 0;
        give(p, &stranger, junk, sizeof junk);
        struct pair_datagram d = answer(p);
        cr_assert_eq(packet_parse(d.data, d.size, 8, &h), AQ_OK);
        cr_assert(h.type == PACKET_VERSION_NEGOTIATION && h.versions_size == 16);
        for (unsigned i = 0; i < 4; i++) {
            struct reader r = reader_make(h.versions + 4 * i, 4);
            uint32_t version = (uint32_t)read_uint(&r, 4);
            if (version_is_reserved(version))
                places |= 1U << i;
            else
                cr_expect_eq(version, three[ours++]);
        }
        cr_expect_eq(ours, 3);
    }
    cr_expect_eq(places, 15, "the reserved one is anywhere");
    expect_nothing_kept(p);
    pair_free(p);
}

/* A first flight with a version that must not or cannot be begun with. */
Test(negotiate, misuse)
{
    static const uint32_t only[AQ_VERSIONS_MAX] = {V1};
    struct pair *p = pair_of(only, only, AQ_RETRY_NEVER);
    static const uint32_t bad[] = {V2, 0x1a2a3a4a, 5};
    for (unsigned i = 0; i < 3; i++) {
        struct aq_connect connect;
        aq_connect_init(&connect);
        connect.tls = sim_tls_client();
        connect.remote = p->server.addr;
        connect.version = bad[i];
        cr_expect_eq(aq_connect(p->client.ep, &connect, &p->client.conn, p->now_us), AQ_MISUSE);
    }
    pair_free(p);
}
