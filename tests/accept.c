/* accept.c -- what an endpoint does with datagrams that belong to no connection: stateless
 * answers, refusals, drops.
 *
 * Everything goes through the public calls. The answers are read with the packet codecs and keys
 * that anybody has who saw the client's first datagram. */
#include "tests/stranger.h"

#include "core/endpoint.h"
#include "core/frame.h"
#include "core/packet.h"
#include "core/token.h"
#include "crypto/schedule.h"

static const struct aq_addr neighbour = {.ip = {192, 0, 2, 8}, .port = 7777, .family = 4};

/* An Initial's header and a payload of noise: right in all that can be seen without keys. */
static size_t junk_initial(uint8_t *out, size_t size, uint8_t dcid_size, uint64_t n)
{
    struct cid dcid = {.size = dcid_size}, scid = {.size = 8, .bytes = "stranger"};
    struct aq_iov token = {NULL, 0};
    struct writer w = writer_make(out, size);
    memcpy(dcid.bytes, &n, sizeof n);
    size_t offset = packet_write_long(&w, PACKET_INITIAL, QUIC_V1, &dcid, &scid, &token, 4);
    for (size_t i = offset; i < size; i++)
        out[i] = (uint8_t)(sim_mix(n * 2000 + i) & 0xff);
    packet_patch_length(out, offset, size - offset);
    return size;
}

/* An authentic Initial of whatever id and token: a PING under the keys that go with the id. */
static struct pair_datagram sealed_initial(const struct cid *dcid, const uint8_t *token,
                                           size_t size)
{
    struct pair_datagram d = {.size = 1200};
    struct cid scid = {.size = 8, .bytes = "stranger"};
    struct aq_iov iov = {token, size};
    struct writer w = writer_make(d.data, d.size);
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    size_t offset = packet_write_long(&w, PACKET_INITIAL, QUIC_V1, dcid, &scid, &iov, 4);
    packet_patch_length(d.data, offset, d.size - offset);
    packet_write_number(&w, 0, 4);
    write_u8(&w, FRAME_PING);
    schedule_initial(QUIC_V1, dcid->bytes, dcid->size, &client, &server);
    schedule_keys(QUIC_V1, &client, &key, &hp);
    struct sealed s = {.data = d.data, .size = d.size, .pn_offset = (uint16_t)offset, .pn_size = 4};
    protect_seal(&key, &hp, &s, 1);
    return d;
}

/* Reads the CONNECTION_CLOSE of a refusal: an Initial under the server's Initial keys. */
static struct frame open_refusal(struct pair_datagram *d, const struct pair_datagram *initial)
{
    struct packet_head asked, h;
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    struct frame f = {0};
    cr_assert_eq(packet_parse(initial->data, initial->size, 8, &asked), AQ_OK);
    cr_assert_eq(packet_parse(d->data, d->size, 8, &h), AQ_OK);
    cr_assert_eq(h.type, PACKET_INITIAL);
    cr_expect(cid_equal(&h.dcid, &asked.scid) && cid_equal(&h.scid, &asked.dcid));
    schedule_initial(QUIC_V1, asked.dcid.bytes, asked.dcid.size, &client, &server);
    schedule_keys(QUIC_V1, &server, &key, &hp);
    struct sealed s = {
        .data = d->data, .size = (uint32_t)h.size, .pn_offset = (uint16_t)h.pn_offset, .ok = true};
    protect_unmask(&hp, &s, 1);
    protect_open(&key, &s, 1);
    cr_assert(s.ok, "the refusal does not open");
    struct reader r =
        reader_make(d->data + s.pn_offset + s.pn_size, s.size - 16U - s.pn_offset - s.pn_size);
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_assert_eq(f.type, FRAME_CONNECTION_CLOSE);
    return f;
}

/* ---- Retry ----------------------------------------------------------------------------------- */

/* RFC 9000 §8.1.2: asked for always, a Retry comes first and the connection is made of the
 * second Initial. */
Test(accept, retry_always)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    struct pair_datagram initial = first_flight(p), retry;
    struct packet_head asked, h;
    give(p, &p->client.addr, initial.data, initial.size);
    expect_nothing_kept(p);
    cr_expect_eq(side_stats(&p->server).retries, 1);
    retry = answer(p);
    cr_assert_eq(packet_parse(initial.data, initial.size, 8, &asked), AQ_OK);
    cr_assert_eq(packet_parse(retry.data, retry.size, 8, &h), AQ_OK);
    cr_expect_eq(h.type, PACKET_RETRY);
    cr_expect(cid_equal(&h.dcid, &asked.scid));
    cr_expect_not(cid_equal(&h.scid, &asked.dcid), "RFC 9000 §17.2.5.1: the id must differ");
    cr_expect(packet_check_retry(retry.data, retry.size, QUIC_V1, &asked.dcid));
    cr_expect_eq(h.token_size, TOKEN_SIZE);
    cr_expect_lt(retry.size, 3 * initial.size);

    side_recv(&p->client, &p->server.addr, retry.data, retry.size, p->now_us);
    pair_run(p, 500000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    struct aq_endpoint_stats s = side_stats(&p->server);
    cr_expect_eq(s.accepted, 1);
    cr_expect_eq(s.retries, 1);
    cr_expect_eq(s.tokens_bad, 0);
    pair_free(p);
}

/* RFC 9000 §8.1.2, §21.7: not one byte is kept for a client that was sent a Retry. All memory that
 * a server has is what it was given; asking a thousand clients for a token changes nothing in it
 * but the endpoint's own struct (counts, chance), the ring of answers and the buffers lent. */
Test(accept, retry_keeps_nothing)
{
    enum {
        CLIENTS = 1000
    };
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    const struct endpoint *ep = (const struct endpoint *)p->server.ep;
    struct pair_datagram initial = first_flight(p);
    uint8_t *mem = p->server.mem, *before = malloc(p->server.mem_size);
    const uint8_t *replies = (const uint8_t *)ep->replies;
    size_t changed = 0;
    cr_assert_not_null(before);
    memcpy(before, mem, p->server.mem_size);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct aq_addr client = {
            .ip = {10, 1, (uint8_t)(i >> 8), (uint8_t)i}, .port = 5000, .family = 4};
        give(p, &client, initial.data, initial.size);
        (void)answer(p);
    }
    cr_expect_eq(side_stats(&p->server).retries, CLIENTS);
    expect_nothing_kept(p);
    for (size_t i = sizeof *ep; i < p->server.mem_size; i++) {
        bool own = (mem + i >= replies && mem + i < replies + REPLIES_MAX * sizeof(struct reply))
                   || (mem + i >= ep->recv_memory && mem + i < ep->recv_memory + RECV_BUFFER_SIZE);
        changed += !own && mem[i] != before[i];
    }
    cr_expect_eq(changed, 0, "%zu bytes", changed);
    free(before);
    pair_free(p);
}

/* The client's Initial after a Retry, without giving it to anybody. */
static struct pair_datagram second_flight(struct pair *p, const struct aq_addr *seen_as)
{
    struct pair_datagram initial = first_flight(p), retry, second = {0};
    give(p, seen_as, initial.data, initial.size);
    retry = answer(p);
    side_recv(&p->client, &p->server.addr, retry.data, retry.size, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &second));
    p->client.outs = 0;
    return second;
}

/* RFC 9000 §8.1.2, §8.1.4: a Retry's token holds for one address and port and one connection id,
 * for a short time. One that does not is answered with INVALID_TOKEN, and nothing is kept. */
Test(accept, retry_token_refused)
{
    static const struct {
        const char *what;
        struct aq_addr from;
        uint64_t later_us;
        bool damage, good;
    } rows[] = {
        {"as it should be", {.ip = {192, 0, 2, 7}, .port = 7777, .family = 4}, 0, false, true},
        {"another address", {.ip = {192, 0, 2, 8}, .port = 7777, .family = 4}, 0, false, false},
        {"another port", {.ip = {192, 0, 2, 7}, .port = 7778, .family = 4}, 0, false, false},
        {"at the end of its life",
         {.ip = {192, 0, 2, 7}, .port = 7777, .family = 4},
         TOKEN_RETRY_LIFE_S * 1000000,
         false,
         true},
        {"too old",
         {.ip = {192, 0, 2, 7}, .port = 7777, .family = 4},
         (TOKEN_RETRY_LIFE_S + 1) * 1000000,
         false,
         false},
        {"damaged", {.ip = {192, 0, 2, 7}, .port = 7777, .family = 4}, 0, true, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        struct pair_datagram second = second_flight(p, &stranger);
        struct packet_head h;
        uint8_t token[TOKEN_SIZE];
        cr_assert_eq(packet_parse(second.data, second.size, 8, &h), AQ_OK);
        cr_assert_eq(h.token_size, TOKEN_SIZE);
        memcpy(token, h.token, sizeof token);
        token[40] ^= 1;
        if (rows[i].damage)
            second = sealed_initial(&h.dcid, token, sizeof token);
        p->now_us += rows[i].later_us;
        give(p, &rows[i].from, second.data, second.size);
        cr_expect_eq(side_stats(&p->server).accepted, rows[i].good, "%s", rows[i].what);
        cr_expect_eq(side_stats(&p->server).tokens_bad, !rows[i].good, "%s", rows[i].what);
        if (!rows[i].good) {
            struct pair_datagram d = answer(p);
            struct frame f = open_refusal(&d, &second);
            cr_expect_eq(f.close.code, AQ_INVALID_TOKEN, "%s", rows[i].what);
            expect_nothing_kept(p);
        }
        pair_free(p);
    }
}

/* RFC 9000 §8.1.2: a Retry token goes with the connection id that the Retry gave. */
Test(accept, retry_token_with_another_id)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    struct pair_datagram second = second_flight(p, &stranger), d;
    struct packet_head h;
    cr_assert_eq(packet_parse(second.data, second.size, 8, &h), AQ_OK);
    h.dcid.bytes[0] ^= 1;
    second = sealed_initial(&h.dcid, h.token, h.token_size);
    give(p, &stranger, second.data, second.size);
    d = answer(p);
    cr_expect_eq(open_refusal(&d, &second).close.code, AQ_INVALID_TOKEN);
    expect_nothing_kept(p);
    pair_free(p);
}

/* RFC 9000 §8.1.2: only an Initial that is otherwise valid is refused: what anybody on the way
 * has changed, or made up without keys, is dropped without a word. */
Test(accept, no_refusal_for_noise)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    struct pair_datagram second = second_flight(p, &stranger);
    second.data[6] ^= 1; /* the first byte of the Destination Connection ID */
    give(p, &stranger, second.data, second.size);
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).tokens_bad, 1);
    expect_nothing_kept(p);
    pair_free(p);
}

/* RFC 9000 §8.1.3: a token of NEW_TOKEN spares the Retry, from any port of the address; from
 * another address, or one made by somebody else, it is as if there were none. */
Test(accept, new_token)
{
    static const struct {
        const char *what;
        struct aq_addr from;
        bool spares, damage;
    } rows[] = {
        {"same address", {.ip = {10, 0, 0, 1}, .port = 4001, .family = 4}, true, false},
        {"another port", {.ip = {10, 0, 0, 1}, .port = 9, .family = 4}, true, false},
        {"another address", {.ip = {10, 0, 0, 9}, .port = 4001, .family = 4}, false, false},
        {"damaged", {.ip = {10, 0, 0, 1}, .port = 4001, .family = 4}, false, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        pair_dial(p);
        pair_run(p, 500000);
        cr_assert_eq(p->client.token_size, NEGOTIATE_PREFIX + TOKEN_SIZE);
        if (rows[i].damage)
            p->client.token[p->client.token_size - 1] ^= 1;
        struct pair_datagram initial = first_flight(p);
        give(p, &rows[i].from, initial.data, initial.size);
        cr_expect_eq(side_stats(&p->server).retries, rows[i].spares ? 1 : 2, "%s", rows[i].what);
        cr_expect_eq(side_stats(&p->server).accepted, rows[i].spares ? 2 : 1, "%s", rows[i].what);
        cr_expect_eq(side_stats(&p->server).tokens_bad, !rows[i].spares, "%s", rows[i].what);
        pair_free(p);
    }
}

/* RFC 9000 §8.1.4: whoever comes from another address than the token was given to is not validated
 * by it: three times what came is all that is sent there. */
Test(accept, new_token_elsewhere)
{
    for (unsigned elsewhere = 0; elsewhere < 2; elsewhere++) {
        struct pair *p = server_with(AQ_RETRY_NEVER, 8, 8);
        struct aq_addr from = p->client.addr;
        from.ip[3] = (uint8_t)(from.ip[3] + elsewhere);
        pair_dial(p);
        pair_run(p, 500000);
        cr_assert_eq(p->client.token_size, NEGOTIATE_PREFIX + TOKEN_SIZE);
        struct pair_datagram initial = first_flight(p);
        uint64_t before = p->server.sent_bytes;
        give(p, &from, initial.data, initial.size);
        for (unsigned i = 0; i < 50; i++) { /* its flight goes again, and again */
            p->now_us += 100000;
            side_turn(&p->server, p->now_us);
            p->server.outs = 0;
        }
        cr_expect_eq(p->server.sent_bytes - before <= 3 * initial.size, elsewhere, "%u: %llu bytes",
                     elsewhere, (unsigned long long)(p->server.sent_bytes - before));
        pair_free(p);
    }
}

/* After a new secret tokens of the one before still hold; after a second one they do not. */
Test(accept, token_outlives_one_secret)
{
    for (unsigned times = 1; times <= 2; times++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        struct pair_datagram second = second_flight(p, &stranger);
        for (unsigned i = 0; i < times; i++) {
            uint8_t secret[32];
            memset(secret, (int)(0x70 + i), sizeof secret);
            aq_endpoint_set_secret(p->server.ep, secret);
        }
        give(p, &stranger, second.data, second.size);
        cr_expect_eq(side_stats(&p->server).accepted, times == 1);
        cr_expect_eq(side_stats(&p->server).tokens_bad, times == 2);
        pair_free(p);
    }
}

/* Under load, a quarter of max_half_open, strangers must show their address first; one below it
 * need not. */
Test(accept, retry_under_load)
{
    struct pair *p = server_with(AQ_RETRY_UNDER_LOAD, 8, 8);
    for (unsigned i = 0; i < 3; i++) {
        struct pair_datagram initial = first_flight(p);
        give(p, &stranger, initial.data, initial.size);
        cr_expect_eq(side_stats(&p->server).accepted, i < 2 ? i + 1 : 2);
        cr_expect_eq(side_stats(&p->server).retries, i < 2 ? 0 : 1);
    }
    cr_expect_eq(side_stats(&p->server).half_open, 2);
    pair_free(p);
}

/* ---- Version Negotiation --------------------------------------------------------------------- */

/* A long header of version 0x0a0b0c0d with ids of these sizes. */
static size_t unknown_version(uint8_t *out, size_t size, unsigned dcid_size, unsigned scid_size)
{
    memset(out, 0xee, size);
    memcpy(out, (const uint8_t[]){0xc0, 0x0a, 0x0b, 0x0c, 0x0d, (uint8_t)dcid_size}, 6);
    memset(out + 6, 0xd1, dcid_size);
    out[6 + dcid_size] = (uint8_t)scid_size;
    memset(out + 7 + dcid_size, 0x51, scid_size);
    return size;
}

/* RFC 9000 §6.1; RFC 8999 §6: the ids come back exchanged, whatever their size, with the
 * versions spoken here and a reserved one (RFC 9000 §6.3). RFC 9000 §17.2.1 */
Test(accept, version_negotiation)
{
    static const uint8_t sizes[][2] = {{8, 8}, {0, 0}, {20, 20}, {21, 0}, {255, 255}, {0, 255}};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        unsigned dcid = sizes[i][0], scid = sizes[i][1];
        uint8_t out[1200];
        bool v1 = false, reserved = false;
        give(p, &stranger, out, unknown_version(out, sizeof out, dcid, scid));
        struct pair_datagram d = answer(p);
        cr_assert_eq(d.size, 7 + dcid + scid + 12);
        cr_expect(d.data[0] & 0x80);
        cr_expect(memcmp(d.data + 1, "\0\0\0\0", 4) == 0);
        cr_expect_eq(d.data[5], scid);
        cr_expect(memcmp(d.data + 6, out + 7 + dcid, scid) == 0);
        cr_expect_eq(d.data[6 + scid], dcid);
        cr_expect(memcmp(d.data + 7 + scid, out + 6, dcid) == 0);
        for (const uint8_t *v = d.data + 7 + dcid + scid; v < d.data + d.size; v += 4) {
            v1 |= memcmp(v, "\0\0\0\1", 4) == 0;
            reserved |= (v[0] & 0x0f) == 0x0a && (v[1] & 0x0f) == 0x0a && (v[2] & 0x0f) == 0x0a
                        && (v[3] & 0x0f) == 0x0a;
        }
        cr_expect(v1 && reserved);
        cr_expect_eq(side_stats(&p->server).versions, 1);
        expect_nothing_kept(p);
        pair_free(p);
    }
}

/* RFC 9000 §5.2.2, §6.1: not for a datagram that is too small to begin a connection, nor for a
 * Version Negotiation. */
Test(accept, version_negotiation_not)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    uint8_t out[1200];
    give(p, &stranger, out, unknown_version(out, 1199, 8, 8));
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).drop_version, 1);
    unknown_version(out, sizeof out, 8, 8);
    memset(out + 1, 0, 4);
    give(p, &stranger, out, sizeof out);
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).versions, 0);
    unknown_version(out, sizeof out, 255, 255); /* the ids do not fit */
    give(p, &stranger, out, 300);
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).drop_not_quic + side_stats(&p->server).drop_short, 2);
    expect_nothing_kept(p);
    pair_free(p);
}

/* ---- refusals and drops ---------------------------------------------------------------------- */

/* RFC 9000 §5.2.2: a server that is full says so; the handshakes in progress are not disturbed. */
Test(accept, full)
{
    struct pair *p = server_with(AQ_RETRY_NEVER, 2, 2);
    struct pair_datagram initial;
    for (unsigned i = 0; i < 2; i++) {
        initial = first_flight(p);
        give(p, &p->client.addr, initial.data, initial.size);
    }
    p->server.outs = 0;
    initial = first_flight(p);
    give(p, &stranger, initial.data, initial.size);
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).drop_half_open_full, 1);
    cr_expect_eq(side_stats(&p->server).conns, 2);
    pair_free(p);
}

Test(accept, refused_when_all_connections_are_taken)
{
    struct pair *p = server_with(AQ_RETRY_NEVER, 1, 1);
    pair_dial(p);
    pair_run(p, 300000);
    cr_assert_eq(side_count(&p->server, AQ_EVENT_CONFIRMED), 1);
    struct pair_datagram initial = first_flight(p);
    give(p, &p->client.addr, initial.data, initial.size);
    struct pair_datagram d = answer(p);
    struct frame f = open_refusal(&d, &initial);
    cr_expect_eq(f.close.code, AQ_CONNECTION_REFUSED);
    cr_expect_eq(side_stats(&p->server).drop_conns_full, 1);
    cr_expect_eq(side_stats(&p->server).conns, 1);
    /* and the client believes it */
    give(p, &p->client.addr, initial.data, initial.size);
    d = answer(p);
    side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_expect(p->client.closed && p->client.close.by == AQ_BY_PEER);
    cr_expect_eq(p->client.close.code, AQ_CONNECTION_REFUSED);
    pair_free(p);
}

/* RFC 9000 §14.1: a client's Initial in less than 1,200 bytes; RFC 9000 §7.2: to an id of fewer
 * than 8 bytes. */
Test(accept, initial_bounds)
{
    static const struct {
        size_t size;
        uint8_t dcid;
        bool good;
    } rows[] = {
        {1200, 8, true},  {1199, 8, false}, {100, 8, false},
        {1200, 7, false}, {1200, 0, false}, {1200, 20, true},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        uint8_t out[1200];
        give(p, &stranger, out, junk_initial(out, rows[i].size, rows[i].dcid, i));
        cr_expect_eq(p->server.outs, rows[i].good, "row %u", i);
        cr_expect_eq(side_stats(&p->server).drop_short, !rows[i].good, "row %u", i);
        expect_nothing_kept(p);
        pair_free(p);
    }
}

/* SECURITY: Initials that are not authentic cost the work of one decryption and keep nothing,
 * however many. */
Test(accept, junk_initials)
{
    struct pair *p = server_with(AQ_RETRY_NEVER, 8, 8);
    for (unsigned i = 0; i < 100; i++) {
        uint8_t out[1200];
        give(p, i & 1 ? &stranger : &neighbour, out, junk_initial(out, sizeof out, 8, i));
        expect_nothing_kept(p);
    }
    struct aq_endpoint_stats s = side_stats(&p->server);
    cr_expect_eq(s.drop_auth, 100);
    cr_expect_eq(s.accepted, 0);
    cr_expect_leq(s.half_open_high, 1);
    cr_expect_eq(p->server.sent, 0);
    cr_expect_eq(p->server.events, 0);
    pair_dial(p); /* and it still works */
    pair_run(p, 300000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1);
    pair_free(p);
}

/* Each reason to drop has its counter. */
Test(accept, drops_are_counted)
{
    static const struct {
        const char *what;
        uint8_t first;
        uint8_t size;
        size_t counter;
    } rows[] = {
#define COUNTER(name) offsetof(struct aq_endpoint_stats, name)
        {"neither the fixed bit nor an id", 0x00, 8, COUNTER(drop_not_quic)},
        {"an unknown id, the bit greased (RFC 9287 §3)", 0x00, 20, COUNTER(drop_unknown_cid)},
        {"a short header without an id", 0x40, 8, COUNTER(drop_short)},
        {"an unknown id", 0x40, 20, COUNTER(drop_unknown_cid)},
        {"a long header cut", 0xc0, 6, COUNTER(drop_short)},
#undef COUNTER
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pair *p = server_with(AQ_RETRY_NEVER, 8, 8);
        uint8_t out[64] = {rows[i].first};
        give(p, &stranger, out, rows[i].size);
        struct aq_endpoint_stats s = side_stats(&p->server);
        uint64_t count;
        memcpy(&count, (const uint8_t *)&s + rows[i].counter, sizeof count);
        cr_expect_eq(count, 1, "%s", rows[i].what);
        expect_silence(p);
        expect_nothing_kept(p);
        pair_free(p);
    }
}

/* Handshake, 0-RTT and Retry packets without a connection: dropped without a word (RFC 9000
 * §5.2.2). */
Test(accept, other_long_headers)
{
    static const enum packet_type types[] = {PACKET_ZERO_RTT, PACKET_HANDSHAKE};
    for (unsigned i = 0; i < 2; i++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        struct cid cid = {.size = 8, .bytes = "somebody"};
        struct aq_iov token = {NULL, 0};
        uint8_t out[1200] = {0};
        struct writer w = writer_make(out, sizeof out);
        size_t offset = packet_write_long(&w, types[i], QUIC_V1, &cid, &cid, &token, 4);
        packet_patch_length(out, offset, sizeof out - offset);
        give(p, &stranger, out, sizeof out);
        expect_silence(p);
        cr_expect_eq(side_stats(&p->server).drop_unknown_cid, 1);
        expect_nothing_kept(p);
        pair_free(p);
    }
}

/* An endpoint that only dials accepts nothing and answers no version. */
Test(accept, client_only)
{
    struct pair *p = pair_new(NULL, NULL);
    uint8_t out[1200];
    side_recv(&p->client, &stranger, out, junk_initial(out, sizeof out, 8, 1), p->now_us);
    side_recv(&p->client, &stranger, out, unknown_version(out, sizeof out, 8, 8), p->now_us);
    side_turn(&p->client, p->now_us);
    cr_expect_eq(p->client.sent, 0);
    cr_expect_eq(side_stats(&p->client).drop_refused, 1);
    cr_expect_eq(side_stats(&p->client).drop_unknown_cid, 1);
    pair_free(p);
}
