/* close.c -- how connections end (RFC 9000 §10): closing, draining, timeouts, resets; who is
 * told what, and what is left.
 *
 * Against a scripted peer where each packet counts (sim/hostile.h), between two endpoints where
 * both ends matter. */
#include "core/endpoint.h"
#include "tests/pair.h"
#include "tests/sim/hostile.h"

static const uint8_t ping[] = {FRAME_PING};

static struct hostile *peer_at(bool server, enum hostile_stage stage)
{
    struct hostile_config config = {.server = server, .stage = stage};
    struct hostile *peer = hostile_new(&config);
    cr_assert_not_null(peer);
    return peer;
}

static struct aq_endpoint_stats victim_stats(const struct hostile *peer)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};
    aq_endpoint_stats(peer->ep, &stats);
    return stats;
}

/* Three PTOs of the victim's application space, from what it tells of its path. */
static uint64_t three_ptos(const struct hostile *peer)
{
    struct aq_conn_stats s = {.size = sizeof s};
    cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &s), AQ_OK);
    uint64_t var = 4 * s.rtt_var_us > 1000 ? 4 * s.rtt_var_us : 1000;
    return 3 * (s.rtt_us + var + 25000);
}

/* It lingers for at least so long, and forgets all at the end of a step of 32,768 us. */
static void expect_linger(struct hostile *peer, uint64_t linger)
{
    uint64_t at = aq_deadline(peer->ep);
    cr_expect(at >= peer->now_us + linger && at <= peer->now_us + linger + 32768);
    cr_expect_eq(at % 32768, 0);
    cr_expect_eq(((struct endpoint *)peer->ep)->hands.used, 0, "its handshake's place is free");
    hostile_wait(peer, at - peer->now_us - 1);
    cr_expect_eq(victim_stats(peer).conns, 1);
    hostile_wait(peer, 2);
}

static void expect_all_returned(const struct hostile *peer)
{
    struct aq_endpoint_stats s = victim_stats(peer);
    cr_expect_eq(s.conns, 0);
    cr_expect_eq(s.half_open, 0);
    cr_expect_eq(s.streams, 0);
    cr_expect_eq(s.memory_bytes, 0, "%llu bytes", (unsigned long long)s.memory_bytes);
    cr_expect_eq(aq_deadline(peer->ep), AQ_NEVER);
}

/* ---- closing --------------------------------------------------------------------------------- */

/* RFC 9000 §10.2.1: a closing endpoint answers what still comes with its close, ever more
 * rarely: here at the first, second, fourth, eighth... packet; for three PTOs (RFC 9000 §10.2),
 * then all is forgotten. */
Test(close, repeated_at_powers_of_two)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = peer_at(server, STAGE_DONE);
        uint64_t linger = three_ptos(peer), closes = 1;
        cr_assert_eq(aq_close(peer->ep, peer->conn, 7, "bye", peer->now_us), AQ_OK);
        hostile_wait(peer, 0);
        cr_expect(peer->victim_closed && peer->victim_close.by == AQ_BY_US);
        cr_expect(peer->close.application && peer->close.code == 7);
        cr_expect_str_eq(peer->close.reason, "bye");
        for (unsigned i = 1; i <= 40; i++) {
            uint64_t before = peer->datagrams;
            hostile_send(peer, PACKET_ONE_RTT, ping, 1);
            closes += (i & (i - 1)) == 0;
            cr_expect_eq(peer->frames_seen[FRAME_CONNECTION_CLOSE_APP], closes, "after %u packets",
                         i);
            cr_expect_eq(peer->datagrams - before, (i & (i - 1)) == 0);
        }
        cr_expect_eq(victim_stats(peer).drop_closed, 40);
        expect_linger(peer, linger);
        expect_all_returned(peer);
        cr_expect_eq(victim_stats(peer).closed, 1);
        hostile_free(peer);
    }
}

/* RFC 9000 §10.2.2: draining, nothing at all is sent, whatever comes; it too ends after three
 * PTOs. */
Test(close, draining_is_silent)
{
    static const uint8_t close[] = {FRAME_CONNECTION_CLOSE_APP, 0x09, 0x03, 'e', 0x07, 'd'};
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = peer_at(server, STAGE_DONE);
        uint64_t linger = three_ptos(peer), before = peer->datagrams;
        hostile_send(peer, PACKET_ONE_RTT, close, sizeof close);
        cr_expect(peer->victim_closed && peer->victim_close.by == AQ_BY_PEER
                  && peer->victim_close.application);
        cr_expect_eq(peer->victim_close.code, 9);
        cr_expect_str_eq(peer->victim_close.reason, "e?d", "what is not printable is not told");
        cr_expect_null(peer->victim_close.where);
        for (unsigned i = 0; i < 40; i++)
            hostile_send(peer, PACKET_ONE_RTT, ping, 1);
        cr_expect_eq(victim_stats(peer).drop_closed, 40);
        expect_linger(peer, linger);
        cr_expect_eq(peer->datagrams, before, "it spoke");
        expect_all_returned(peer);
        hostile_free(peer);
    }
}

static unsigned wrong_closes, long_closes;

static void watch_closes(struct hostile *peer, enum packet_type type, const struct frame *f)
{
    (void)peer;
    bool is_app = f->type == FRAME_CONNECTION_CLOSE_APP;
    if (type == PACKET_ONE_RTT || (f->type != FRAME_CONNECTION_CLOSE && !is_app))
        return;
    long_closes++;
    wrong_closes += is_app || f->close.code != AQ_APPLICATION_ERROR || f->close.reason_size;
}

/* RFC 9000 §10.2.3: an application's close in Initial and Handshake packets is APPLICATION_ERROR
 * without its reason, in a frame of type 0x1c; the own application is told what it asked for. RFC 9000 §12.5: 0x1d stands in the application space alone. */
Test(close, application_error_before_one_rtt)
{
    static const enum hostile_stage stages[] = {STAGE_START, STAGE_INITIAL, STAGE_HANDSHAKE};
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned server = 0; server < 2; server++) {
            if (stages[i] == STAGE_START && !server)
                continue; /* a server has no connection yet */
            struct hostile *peer = peer_at(server, stages[i]);
            wrong_closes = long_closes = 0;
            peer->on_frame = watch_closes;
            cr_assert_eq(aq_close(peer->ep, peer->conn, 0x1234, "a secret", peer->now_us), AQ_OK);
            hostile_wait(peer, 0);
            cr_expect_gt(long_closes, 0);
            cr_expect_eq(wrong_closes, 0);
            cr_expect(peer->victim_closed && peer->victim_close.application
                      && peer->victim_close.code == 0x1234);
            cr_expect_str_eq(peer->victim_close.reason, "a secret");
            hostile_wait(peer, 10000000);
            expect_all_returned(peer);
            hostile_free(peer);
        }
    }
}

/* RFC 9000 §8.1: a close to an address that is not validated obeys the limit of three times,
 * repetitions too. */
Test(close, within_the_limit)
{
    struct hostile *peer = peer_at(false, STAGE_INITIAL);
    cr_assert_eq(aq_close(peer->ep, peer->conn, 1, NULL, peer->now_us), AQ_OK);
    for (unsigned i = 0; i < 64; i++) {
        hostile_datagram(peer, (const uint8_t *)"\x40original??", 11);
        hostile_wait(peer, 0);
        cr_expect_leq(peer->bytes, 3 * 1200 * 2);
    }
    hostile_free(peer);
}

/* Words are copied, cut at 127 bytes, and made printable. */
Test(close, reason_bounds)
{
    struct hostile *peer = peer_at(true, STAGE_DONE);
    char words[300];
    memset(words, 'w', sizeof words);
    words[3] = '\n';
    words[sizeof words - 1] = 0;
    cr_assert_eq(aq_close(peer->ep, peer->conn, 1, words, peer->now_us), AQ_OK);
    memset(words, 'x', sizeof words - 1);
    hostile_wait(peer, 0);
    cr_expect_eq(strlen(peer->close.reason), 127);
    cr_expect_eq(strncmp(peer->close.reason, "www?www", 7), 0);
    cr_expect_eq(strlen(peer->victim_close.reason), 127);
    hostile_free(peer);
}

/* Both close in the same moment: both are told once, nothing goes on for ever, nothing is left. */
Test(close, both_at_once)
{
    struct pair *p = pair_connected(NULL, NULL);
    uint64_t sent = p->client.sent + p->server.sent;
    cr_assert_eq(aq_close(p->client.ep, p->client.conn, 1, "a", p->now_us), AQ_OK);
    cr_assert_eq(aq_close(p->server.ep, p->server.conn, 2, "b", p->now_us), AQ_OK);
    pair_run(p, 10000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CLOSED), 1);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CLOSED), 1);
    cr_expect(p->client.close.by == AQ_BY_US && p->client.close.code == 1);
    cr_expect(p->server.close.by == AQ_BY_US && p->server.close.code == 2);
    cr_expect_leq(p->client.sent + p->server.sent - sent, 8);
    cr_expect_eq(side_stats(&p->client).conns + side_stats(&p->server).conns, 0);
    cr_expect_eq(side_stats(&p->client).memory_bytes + side_stats(&p->server).memory_bytes, 0);
    pair_free(p);
}

/* Whoever closes one connection and dials the next waits for that one's answer: the goodbye, though
 * it stood first in the list, goes behind. Several goodbyes wait for each other but once. */
Test(close, goodbyes_go_last)
{
    struct pair *p = pair_connected(NULL, NULL);
    aq_conn first = p->client.conn, second = pair_dial(p);
    pair_run(p, 200000);
    cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 2);
    cr_assert_eq(p->client.outs, 0);
    cr_assert_eq(aq_close(p->client.ep, first, 1, "a", p->now_us), AQ_OK);
    cr_assert_eq(aq_close(p->client.ep, second, 1, "b", p->now_us), AQ_OK);
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    cr_assert_eq(p->client.outs, 3);
    cr_expect_eq(p->client.out[0].size, 1200, "an Initial");
    cr_expect_eq(p->client.out[0].data[0] & 0xb0, 0x80, "an Initial, but for the greased bit");
    cr_expect_lt(p->client.out[1].size, 100);
    cr_expect_lt(p->client.out[2].size, 100);
    pair_run(p, 10000000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CLOSED), 2);
    cr_expect_eq(side_count(&p->server, AQ_EVENT_CLOSED), 2);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 3);
    pair_free(p);
}

/* ---- timeouts -------------------------------------------------------------------------------- */

static uint64_t own_idle_us, peer_idle_us, own_keep_alive_us;

static void idle_config(struct aq_config *config)
{
    config->idle_timeout_us = own_idle_us;
    config->keep_alive_us = own_keep_alive_us;
}

static void idle_params(struct params *params, const struct hostile *peer)
{
    (void)peer;
    params->max_idle_timeout_us = peer_idle_us;
    if (peer_idle_us)
        params_set(params, PARAM_MAX_IDLE_TIMEOUT);
}

static struct hostile *idle_peer(bool server, uint64_t own_us, uint64_t peers_us)
{
    struct hostile_config config = {
        .server = server, .stage = STAGE_DONE, .params = idle_params, .config = idle_config};
    own_idle_us = own_us;
    peer_idle_us = peers_us;
    own_keep_alive_us = 0;
    struct hostile *peer = hostile_new(&config);
    cr_assert_not_null(peer);
    hostile_wait(
        peer,
        100000); /* what it owes is sent, and acknowledged: it has no reason to speak any more */
    uint8_t ack[16];
    struct writer w = writer_make(ack, sizeof ack);
    write_u8(&w, FRAME_ACK);
    write_varint(&w, peer->space[2].received - 1);
    write_varint(&w, 0);
    write_varint(&w, 0);
    write_varint(&w, peer->space[2].received - 1);
    hostile_send(peer, PACKET_ONE_RTT, ack, (size_t)(w.p - ack));
    return peer;
}

/* RFC 9000 §10.1: the lesser of both sides' values counts; 0 or none is no value. It ends
 * without a word. */
Test(close, idle_timeout_is_the_lesser)
{
    static const struct {
        uint64_t own_s, peers_s, s;
    } rows[] = {
        {30, 10, 10}, {10, 30, 10}, {10, 10, 10}, {0, 10, 10}, {10, 0, 10}, {0, 0, 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (unsigned server = 0; server < 2; server++) {
            struct hostile *peer =
                idle_peer(server, rows[i].own_s * 1000000, rows[i].peers_s * 1000000);
            if (!rows[i].s) {
                hostile_wait(peer, UINT64_C(3600) * 1000000);
                cr_expect_not(peer->victim_closed);
                hostile_free(peer);
                continue;
            }
            hostile_wait(peer, rows[i].s * 1000000 - 1);
            cr_expect_not(peer->victim_closed, "row %u", i);
            uint64_t before = peer->datagrams;
            hostile_wait(peer, 2);
            cr_expect(peer->victim_closed && peer->victim_close.by == AQ_BY_TIMEOUT, "row %u", i);
            cr_expect_str_eq(peer->victim_close.reason, "idle timeout");
            cr_expect_eq(peer->datagrams, before, "it spoke");
            cr_expect_not(peer->close.seen);
            hostile_wait(peer, 1);
            expect_all_returned(peer);
            hostile_free(peer);
        }
    }
}

/* RFC 9000 §10.1: never less than three PTOs, so that a lost packet can be sent again. */
Test(close, idle_timeout_at_least_three_ptos)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = idle_peer(server, 30000000, 1000);
        uint64_t least = three_ptos(peer);
        cr_expect_gt(least, 3 * 26000);
        hostile_wait(peer, least - 1);
        cr_expect_not(peer->victim_closed);
        hostile_wait(peer, 2);
        cr_expect(peer->victim_closed);
        hostile_free(peer);
    }
}

/* RFC 9000 §10.1: what comes restarts it, and so does the first ack-eliciting packet sent since,
 * but not the next. */
Test(close, idle_timeout_restarts)
{
    struct aq_config config;
    pair_config(&config, false);
    config.idle_timeout_us = 10000000;
    struct pair *p = pair_connected(&config, NULL);
    pair_run(p, 5000000);
    cr_assert_eq(aq_ping(p->client.ep, p->client.conn, p->now_us), AQ_OK);
    pair_run(p, 1000000); /* the ping and its answer: both sides heard something */
    cr_expect_eq(side_count(&p->client, AQ_EVENT_PONG), 1);
    cr_expect(p->client.value >= 2 * PAIR_DELAY_US && p->client.value <= 2 * PAIR_DELAY_US + 25000);
    pair_run(p, 8900000);
    cr_expect(!p->client.closed && !p->server.closed);
    p->client.mute = p->server.mute = true;
    cr_assert_eq(aq_ping(p->client.ep, p->client.conn, p->now_us), AQ_OK);
    uint64_t first = p->now_us;
    pair_run(p, 200000);
    cr_expect(!p->client.closed && p->server.closed, "only the client sent something");
    pair_run(p, 5000000);
    cr_assert_eq(aq_ping(p->client.ep, p->client.conn, p->now_us), AQ_OK);
    pair_run(p, first + 10000000 - 1 - p->now_us);
    cr_expect_not(p->client.closed);
    pair_run(p, 2);
    cr_expect(p->client.closed && p->client.close.by == AQ_BY_TIMEOUT);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_PONG), 1);
    pair_free(p);
}

/* RFC 9000 §10.1.2: a PING now and then keeps the connection, by either side. */
Test(close, keep_alive)
{
    for (unsigned i = 0; i < 3; i++) {
        struct aq_config client, server;
        pair_config(&client, false);
        pair_config(&server, true);
        client.idle_timeout_us = server.idle_timeout_us = 10000000;
        client.keep_alive_us = i == 1 ? 4000000 : 0;
        server.keep_alive_us = i == 2 ? 4000000 : 0;
        struct pair *p = pair_connected(&client, &server);
        uint64_t sent = p->client.sent + p->server.sent;
        pair_run(p, 100000000);
        cr_expect_eq(p->client.closed, i == 0);
        cr_expect_eq(p->server.closed, i == 0);
        sent = p->client.sent + p->server.sent - sent;
        cr_expect(i ? sent >= 40 && sent <= 60 : sent < 10, "%llu datagrams",
                  (unsigned long long)sent);
        pair_free(p);
    }
}

/* A handshake that nobody answers ends in time; what ICMP said makes the text better and nothing
 * else. */
Test(close, handshake_timeout)
{
    for (unsigned told = 0; told < 3; told++) {
        struct pair *p = pair_new(NULL, NULL);
        pair_dial(p);
        p->client.mute = true;
        pair_run(p, 1000000);
        if (told)
            aq_note_unreachable(p->client.ep, told == 1 ? &p->server.addr : &p->client.addr,
                                "ECONNREFUSED");
        pair_run(p, 9000000 - 1);
        cr_expect_not(p->client.closed);
        pair_run(p, 2);
        cr_expect(p->client.closed && p->client.close.by == AQ_BY_TIMEOUT);
        cr_expect_str_eq(p->client.close.reason,
                         told == 1 ? "no answer, ECONNREFUSED reported" : "no answer");
        pair_run(p, 1);
        cr_expect_eq(side_stats(&p->client).conns, 0);
        cr_expect_eq(side_stats(&p->client).memory_bytes, 0);
        pair_free(p);
    }
}

/* ---- stateless reset ------------------------------------------------------------------------- */

/* The reset that a rebooted server gives to a client's packet. */
static struct pair *rebooted(struct pair_datagram *reset)
{
    struct aq_config config;
    pair_config(&config, true);
    memset(config.secret, 0x44, sizeof config.secret);
    struct pair *p = pair_connected(NULL, &config);
    struct pair_datagram d;
    side_free(&p->server);
    config.seed[0] ^= 0x80;
    side_init(&p->server, &config, 2, p->now_us);
    aq_ping(p->client.ep, p->client.conn, p->now_us);
    side_turn(&p->client, p->now_us);
    while (side_take(&p->client, &d))
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    side_turn(&p->server, p->now_us);
    cr_assert(side_take(&p->server, reset));
    cr_assert_geq(reset->size, 21);
    return p;
}

/* RFC 9000 §10.3.1: its last 16 bytes are the token of the id in use: the connection is over,
 * and silent. */
Test(close, stateless_reset)
{
    struct pair_datagram reset;
    struct pair *p = rebooted(&reset);
    side_recv(&p->client, &p->server.addr, reset.data, reset.size, p->now_us);
    uint64_t sent = p->client.sent;
    pair_run(p, 1000);
    cr_expect(p->client.closed && p->client.close.by == AQ_BY_RESET);
    cr_expect_str_eq(p->client.close.where, "RFC 9000 10.3");
    pair_run(p, 10000000);
    cr_expect_eq(p->client.sent, sent);
    cr_expect_eq(side_stats(&p->client).conns, 0);
    cr_expect_eq(side_stats(&p->client).memory_bytes, 0);
    pair_free(p);
}

/* The same under an id that the client does not know, as it may be when the client's id was
 * unknown to the server. RFC 9000 §10.3: with a long header, too. */
Test(close, stateless_reset_with_any_id)
{
    for (unsigned known = 0; known < 2; known++) {
        struct pair_datagram reset;
        struct pair *p = rebooted(&reset);
        memset(reset.data + 1, 0xab, 4);
        reset.data[reset.size - 1] ^= !known; /* one bit off is no token */
        side_recv(&p->client, &p->server.addr, reset.data, reset.size, p->now_us);
        side_turn(&p->client, p->now_us);
        cr_expect_eq(p->client.closed, known);
        pair_free(p);
    }
}

/* ---- version --------------------------------------------------------------------------------- */

/* RFC 9000 §6.2: a Version Negotiation that answers the first flight and lists nothing that the
 * client speaks, version 1, ends it; one that lists it, one with another id, and one that comes later are ignored. */
Test(close, version_negotiation)
{
    enum {
        GOOD,
        LISTS_V1,
        OTHER_ID,
        LATER
    };
    for (unsigned row = GOOD; row <= LATER; row++) {
        struct aq_config config;
        pair_config(&config, false);
        config.versions[1] = 0;
        struct pair *p = pair_new(&config, NULL);
        struct pair_datagram first;
        struct packet_head h;
        uint8_t out[64];
        uint32_t versions[] = {0x6b3343cf, row == LISTS_V1 ? QUIC_V1 : 0xaabbccdd};
        pair_dial(p);
        side_turn(&p->client, p->now_us);
        first = p->client.out[0];
        if (row == LATER)
            pair_run(p, 2 * PAIR_DELAY_US + 1000);
        cr_assert_eq(packet_parse(first.data, first.size, 8, &h), AQ_OK);
        struct aq_iov dcid = {h.scid.bytes, h.scid.size}, scid = {h.dcid.bytes, h.dcid.size};
        if (row == OTHER_ID)
            h.dcid.bytes[0] ^= 1;
        size_t size = packet_write_versions(out, sizeof out, &dcid, &scid, versions, 2, 0);
        side_recv(&p->client, &p->server.addr, out, size, p->now_us);
        side_turn(&p->client, p->now_us);
        cr_expect_eq(p->client.closed, row == GOOD, "row %u", row);
        pair_run(p, 500000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), row != GOOD, "row %u", row);
        if (row == GOOD)
            cr_expect_eq(p->client.close.by, AQ_BY_VERSION);
        pair_free(p);
    }
}

/* ---- what is dropped on the way -------------------------------------------------------------- */

/* RFC 9000 §12.3: duplicates; RFC 9000 §9: other addresses; noise; each is counted and changes
 * nothing. */
Test(close, not_by_what_is_dropped)
{
    struct pair *p = pair_connected(NULL, NULL);
    struct pair_datagram d, copy;
    aq_ping(p->client.ep, p->client.conn, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    copy = d;
    copy.data[copy.size - 1] ^= 1;
    side_recv(&p->server, &p->client.addr, copy.data, copy.size, p->now_us);
    cr_expect_eq(side_stats(&p->server).drop_auth, 1);
    struct aq_addr moved = p->server.addr; /* a client does not follow a server */
    moved.port++;
    side_recv(&p->client, &moved, d.data, d.size, p->now_us);
    cr_expect_eq(side_stats(&p->client).drop_path, 0, "to no connection of its own");
    aq_ping(p->server.ep, p->server.conn, p->now_us);
    side_turn(&p->server, p->now_us);
    cr_assert(p->server.outs > 0);
    side_recv(&p->client, &moved, p->server.out[0].data, p->server.out[0].size, p->now_us);
    cr_expect_eq(side_stats(&p->client).drop_path, 1);
    for (unsigned i = 0; i < 3; i++)
        side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
    cr_expect_eq(side_stats(&p->server).drop_duplicate, 2);
    cr_expect_eq(pair_stats(&p->server).duplicate_packets, 2);
    cr_expect_eq(pair_stats(&p->server).undecryptable_packets, 1);
    pair_run(p, 1000000);
    cr_expect(!p->client.closed && !p->server.closed);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_PONG), 1);
    pair_free(p);
}

/* ---- memory and vanished clients ------------------------------------------------------------- */

/* A client that is never heard of again leaves nothing: its handshake is given up in time,
 * within the 3x limit. */
Test(close, vanished_client)
{
    struct pair *p = pair_new(NULL, NULL);
    pair_dial(p);
    side_turn(&p->client, p->now_us);
    uint64_t received = p->client.sent_bytes;
    pair_run(p, PAIR_DELAY_US + 1000);
    p->client.mute = p->server.mute = true;
    p->client.outs = p->server.outs = 0;
    cr_expect_eq(side_stats(&p->server).half_open, 1);
    pair_run(p, 20000000);
    cr_expect(p->server.closed && p->server.close.by == AQ_BY_US);
    cr_expect_str_eq(p->server.close.where, "handshake_timeout_us");
    cr_expect_leq(p->server.sent_bytes, 3 * received);
    cr_expect_eq(side_stats(&p->server).conns, 0);
    cr_expect_eq(side_stats(&p->server).half_open, 0);
    cr_expect_eq(side_stats(&p->server).memory_bytes, 0);
    pair_free(p);
}

/* A reader that does not read, with windows larger than the memory there is: what does not fit
 * is dropped by name and not acknowledged, the connection lives on, and when there is room all
 * of it arrives. */
Test(close, not_by_full_receive_memory)
{
    static const uint8_t data[200000];
    struct aq_config config;
    aq_stream stream;
    uint64_t read = 0;
    bool fin = false;
    pair_config(&config, true);
    config.memory_bytes = 64 << 10;
    config.conn_memory_bytes = 64 << 10;
    struct pair *p = pair_connected(NULL, &config);
    cr_assert_eq(aq_stream_open(p->client.ep, p->client.conn, false, NULL, &stream), AQ_OK);
    struct aq_iov iov = {data, sizeof data}, in[16];
    cr_assert_eq(aq_stream_write(p->client.ep, stream, &iov, 1, AQ_FIN), (int64_t)sizeof data);
    pair_run(p, 2000000);
    cr_expect_gt(side_stats(&p->server).drop_memory, 0);
    cr_expect_leq(side_stats(&p->server).memory_high_bytes, 64 << 10);
    cr_expect(!p->server.closed && !p->client.closed);
    for (unsigned i = 0; i < 2000 && !fin; i++) {
        uint64_t n = 0;
        int pieces = aq_stream_peek(p->server.ep, p->server.stream, in, 16, &fin);
        cr_assert_geq(pieces, 0);
        for (int j = 0; j < pieces; j++)
            n += in[j].size;
        cr_assert_eq(aq_stream_consume(p->server.ep, p->server.stream, n), AQ_OK);
        read += n;
        pair_run(p, 20000);
    }
    cr_expect(fin && read == sizeof data, "%llu bytes", (unsigned long long)read);
    aq_close(p->client.ep, p->client.conn, 0, NULL, p->now_us);
    pair_run(p, 10000000);
    cr_expect_eq(side_stats(&p->server).memory_bytes, 0);
    cr_expect_eq(side_stats(&p->server).conns, 0);
    pair_free(p);
}
