/* hostile.c -- every error a peer can provoke: the rows of sim/attacks.c, transport parameters, and what
 * needs more than one packet.
 *
 * Each error must be told to the peer in a CONNECTION_CLOSE, and to the application with the place. */
#include "core/endpoint.h"
#include "core/token.h"
#include "tests/sim/attacks.h"
#include "tests/sim/hostile.h"
#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <stdio.h>

static size_t frames_of(const char *text, bool peer_server, uint8_t *out, size_t room)
{
    size_t size;

    cr_assert(attack_frames(text, peer_server, out, room, &size), "not readable: %s", text);
    return size;
}

static enum hostile_stage stage_of(char packet)
{
    return packet == 'I' ? STAGE_INITIAL : packet == 'H' ? STAGE_HANDSHAKE : STAGE_DONE;
}

static enum packet_type type_of(char packet)
{
    return packet == 'I' ? PACKET_INITIAL : packet == 'H' ? PACKET_HANDSHAKE : PACKET_ONE_RTT;
}

/* Whether the victim did what the rule asks. */
static void judge(const struct hostile *peer, const char *mark, char packet, int expect, int also)
{
    const char *victim = peer->config.server ? "client" : "server";

    if (expect == AQ_OK) {
        cr_expect(!peer->close.seen && !peer->victim_closed, "%s (%s, %c): closed with %llx '%s' at %s", mark, victim,
                  packet, (unsigned long long)peer->close.code, peer->close.reason,
                  peer->victim_close.where ? peer->victim_close.where : "?");
        return;
    }
    cr_expect(peer->close.seen, "%s (%s, %c): not closed", mark, victim, packet);
    if (!peer->close.seen)
        return;
    bool good = !peer->close.application && ((int64_t)peer->close.code == expect ||
                                             (also && (int64_t)peer->close.code == also));
    if (expect == ANY_CRYPTO_ERROR)
        good = peer->close.code >= 0x100 && peer->close.code < 0x200;
    cr_expect(good, "%s (%s, %c): closed with %llx '%s' at %s, not %x", mark, victim, packet,
              (unsigned long long)peer->close.code, peer->close.reason,
              peer->victim_close.where ? peer->victim_close.where : "?", (unsigned)expect);
    cr_expect(peer->victim_closed, "%s (%s, %c): no CLOSED event", mark, victim, packet);
    cr_expect(peer->victim_close.by == AQ_BY_US && peer->victim_close.code == peer->close.code &&
                  peer->victim_close.where,
              "%s (%s, %c): the application is told by %d, code %llx, where %s", mark, victim, packet,
              (int)peer->victim_close.by, (unsigned long long)peer->victim_close.code,
              peer->victim_close.where ? peer->victim_close.where : "nothing");
}

static unsigned runs; /* rows played, each role by itself */

static void attack_run(const struct attack *row, bool peer_server)
{
    runs++;
    struct hostile_config config = {.server = peer_server, .stage = stage_of(row->packet)};
    struct hostile *peer = hostile_new(&config);
    uint8_t frames[HOSTILE_MAX_FRAMES];

    cr_expect(peer != NULL, "%s: no handshake", row->mark);
    if (!peer)
        return;
    size_t size = frames_of(row->frames, peer_server, frames, sizeof frames);
    uint8_t out[HOSTILE_MAX_FRAMES + 100];
    /* An Initial is filled with PADDING frames, which would hide an empty or cut one: the bytes stand bare, and a
     * second packet of the datagram fills it up. */
    struct hostile_packet packet = {.type = type_of(row->packet), .frames = frames, .size = size, .bare = true};
    size = hostile_seal(peer, &packet, out, sizeof out);
    cr_expect(size > 0, "%s: no keys", row->mark);
    if (packet.type == PACKET_INITIAL && size < 1200) {
        memset(out + size, 0, 1200 - size);
        size = 1200;
    }
    hostile_datagram(peer, out, size);
    judge(peer, row->mark, row->packet, row->expect, row->also);
    hostile_free(peer);
}

/* RFC 9000 §5.2, RFC 9000 §10.3, RFC 9000 §11.1: each error is told in a CONNECTION_CLOSE, also behind frames that were good. RFC 9000 §12.3: numbers only rise (sim/hostile.c looks at each packet). */
Test(hostile, frames)
{
    for (unsigned i = 0; i < attacks_count; i++) {
        if (attacks[i].victim & VICTIM_SERVER)
            attack_run(&attacks[i], false);
        if (attacks[i].victim & VICTIM_CLIENT)
            attack_run(&attacks[i], true);
    }
    printf("%u rows of frames, played %u times\n", attacks_count, runs);
}

/* ---- the cross product of RFC 9000 §12.4, table 3 ---------------------------------------------------------- */

/* RFC 9000 §17.2.4: Handshake packets, too. */
Test(hostile, frame_and_packet_type)
{
    for (unsigned i = 0; i < attack_cross_count; i++) {
        for (const char *packet = "IH1"; *packet; packet++) {
            for (unsigned server = 0; server < 2; server++) {
                bool may = strchr(attack_cross[i].in, *packet) && strchr(attack_cross[i].by, server ? 'S' : 'C');
                struct attack row = {.packet = *packet, .frames = attack_cross[i].frame,
                                  .expect = may ? AQ_OK : AQ_PROTOCOL_VIOLATION};
                char mark[80];
                snprintf(mark, sizeof mark, "RFC 9000 §12.4: frame %s", attack_cross[i].frame);
                row.mark = mark;
                if (attack_cross[i].in[0] == 0 && *packet == '1')
                    continue;
                attack_run(&row, server);
            }
        }
    }
    printf("%u frames in each packet type from each role: %u cases\n", attack_cross_count, runs);
}

/* ---- transport parameters ---------------------------------------------------------------------------------- */

struct params_row {
    const char *mark;
    int victim;
    uint64_t without; /* rows not sent */
    const char *extra; /* id, length, value in the little language */
    int expect, also;
};

#define WITHOUT(row) (UINT64_C(1) << (row))

/* clang-format off */
static const struct params_row params_rows_bad[] = {
    {"RFC 9000 §7.3: without initial_source_connection_id", VICTIM_BOTH, WITHOUT(PARAM_INITIAL_SCID), "",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §7.3: another initial_source_connection_id", VICTIM_BOTH, WITHOUT(PARAM_INITIAL_SCID),
     "f 8 x0102030405060708", AQ_TRANSPORT_PARAMETER_ERROR, AQ_PROTOCOL_VIOLATION},
    {"RFC 9000 §7.3: without original_destination_connection_id", VICTIM_CLIENT, WITHOUT(PARAM_ORIGINAL_DCID), "",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §7.3: another original_destination_connection_id", VICTIM_CLIENT, WITHOUT(PARAM_ORIGINAL_DCID),
     "0 8 x0102030405060708", AQ_TRANSPORT_PARAMETER_ERROR, AQ_PROTOCOL_VIOLATION},
    {"RFC 9000 §7.3: retry_source_connection_id without Retry", VICTIM_CLIENT, 0, "10 4 x01020304",
     AQ_TRANSPORT_PARAMETER_ERROR, AQ_PROTOCOL_VIOLATION},
    {"RFC 9000 §18.2: a client's original_destination_connection_id", VICTIM_SERVER, 0, "0 4 x01020304",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a client's stateless_reset_token", VICTIM_SERVER, 0, "2 10 *16",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a client's preferred_address", VICTIM_SERVER, 0, "d 2d *24 x04 x01020304 *16",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a client's retry_source_connection_id", VICTIM_SERVER, 0, "10 4 x01020304",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a short stateless_reset_token", VICTIM_CLIENT, 0, "2 f *15", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a long stateless_reset_token", VICTIM_CLIENT, 0, "2 11 *17", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: an id of 21 bytes", VICTIM_BOTH, WITHOUT(PARAM_INITIAL_SCID), "f 15 *21",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a preferred_address cut", VICTIM_CLIENT, 0, "d 2c *24 x04 x01020304 *15",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: a preferred_address with an id of 21 bytes", VICTIM_CLIENT, 0, "d 3e *24 x15 *21 *16",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: active_connection_id_limit 0", VICTIM_BOTH, WITHOUT(PARAM_ACTIVE_CID_LIMIT), "e 1 0",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18: a number without bytes", VICTIM_BOTH, 0, "1 0", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18: a length beyond the end", VICTIM_BOTH, 0, "1b 3fffffffffffffff", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.1: a reserved parameter", VICTIM_BOTH, 0, "3a 2 *2", AQ_OK, 0},
    {"RFC 9000 §18.2: max_udp_payload_size 1199", VICTIM_BOTH, 0, "3 2 4af", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: max_udp_payload_size 1200", VICTIM_BOTH, 0, "3 2 4b0", AQ_OK, 0},
    {"RFC 9000 §18.2: ack_delay_exponent 21", VICTIM_BOTH, 0, "a 1 15", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: ack_delay_exponent 20", VICTIM_BOTH, 0, "a 1 14", AQ_OK, 0},
    {"RFC 9000 §18.2: max_ack_delay 2^14", VICTIM_BOTH, 0, "b 4 4000", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: max_ack_delay 2^14 - 1", VICTIM_BOTH, 0, "b 2 3fff", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §3: min_ack_delay of max_ack_delay", VICTIM_BOTH, 0, "b 1 19 ff04de1b 4 61a8", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §3: min_ack_delay above max_ack_delay", VICTIM_BOTH, 0, "b 1 19 ff04de1b 4 61a9",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"draft-ietf-quic-ack-frequency §3: the other order", VICTIM_BOTH, 0, "ff04de1b 4 61a9 b 1 1a", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §3: above the default", VICTIM_BOTH, 0, "ff04de1b 4 61a9",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §3: reset_stream_at is empty", VICTIM_BOTH, WITHOUT(PARAM_RESET_STREAM_AT),
     "1d 0", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §3: reset_stream_at with a value", VICTIM_BOTH,
     WITHOUT(PARAM_RESET_STREAM_AT), "1d 1 x01", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: active_connection_id_limit 1", VICTIM_BOTH, WITHOUT(PARAM_ACTIVE_CID_LIMIT), "e 1 1",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: active_connection_id_limit 2", VICTIM_BOTH, WITHOUT(PARAM_ACTIVE_CID_LIMIT), "e 1 2", AQ_OK, 0},
    {"RFC 9000 §4.6: initial_max_streams_bidi above 2^60", VICTIM_BOTH, WITHOUT(PARAM_MAX_STREAMS_BIDI),
     "8 8 1000000000000001", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §4.6: initial_max_streams_uni above 2^60", VICTIM_BOTH, WITHOUT(PARAM_MAX_STREAMS_UNI),
     "9 8 1000000000000001", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §4.6: initial_max_streams_bidi of 2^60", VICTIM_BOTH, WITHOUT(PARAM_MAX_STREAMS_BIDI),
     "8 8 1000000000000000", AQ_OK, 0},
    {"RFC 9000 §7.4: a parameter twice", VICTIM_BOTH, 0, "4 1 1", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §7.4.2: an unknown parameter", VICTIM_BOTH, 0, "1b 3 *3", AQ_OK, 0},
    {"RFC 9000 §18: a parameter cut", VICTIM_BOTH, 0, "1b 3 *2", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18: a number shorter than its length", VICTIM_BOTH, 0, "1 2 0 *1", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: disable_active_migration with a value", VICTIM_BOTH, 0, "c 1 1",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9000 §18.2: preferred_address without an id", VICTIM_CLIENT, 0, "d 29 *24 x00 *16",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9287 §3: grease_quic_bit with a value", VICTIM_BOTH, 0, "2ab2 1 1", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9287 §3: grease_quic_bit", VICTIM_BOTH, 0, "2ab2 0", AQ_OK, 0},
    /* version 1 is spoken */
    {"RFC 9368 §4: version_information of three bytes", VICTIM_BOTH, 0, "11 3 *3", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9368 §4: version_information not in whole versions", VICTIM_BOTH, 0, "11 9 x0000000100000001 *1",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9368 §4: Chosen Version 0", VICTIM_BOTH, 0, "11 8 x0000000000000001", AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9368 §4: an Available Version 0", VICTIM_BOTH, 0, "11 c x000000010000000100000000",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9368 §4: a client's Chosen Version not available", VICTIM_SERVER, 0, "11 8 x000000016b3343cf",
     AQ_TRANSPORT_PARAMETER_ERROR, 0},
    {"RFC 9368 §3: a server's need not be", VICTIM_CLIENT, 0, "11 8 x000000016b3343cf", AQ_OK, 0},
    {"RFC 9368 §3: nor need it list any", VICTIM_CLIENT, 0, "11 4 x00000001", AQ_OK, 0},
    {"RFC 9368 §4: chosen is not what is spoken", VICTIM_BOTH, 0, "11 c x6b3343cf6b3343cf00000001",
     AQ_VERSION_NEGOTIATION_ERROR, 0},
    {"RFC 9368 §4: chosen is nothing we know", VICTIM_BOTH, 0, "11 8 xbabababababababa", AQ_VERSION_NEGOTIATION_ERROR, 0},
    {"RFC 9368 §3: reserved versions are nothing", VICTIM_BOTH, 0, "11 10 x000000011a2a3a4a00000001fafafafa", AQ_OK, 0},
};
/* clang-format on */

static uint64_t params_without;

static void params_drop(struct params *params, const struct hostile *peer)
{
    (void)peer;
    params->present &= ~params_without;
}

Test(hostile, transport_parameters)
{
    for (unsigned i = 0; i < sizeof params_rows_bad / sizeof *params_rows_bad; i++) {
        const struct params_row *row = &params_rows_bad[i];
        for (unsigned server = 0; server < 2; server++) {
            uint8_t extra[64];
            struct hostile_config config = {.server = server, .stage = STAGE_START, .params = params_drop,
                                            .extra = extra};
            if (!(row->victim & (server ? VICTIM_CLIENT : VICTIM_SERVER)))
                continue;
            runs++;
            config.extra_size = frames_of(row->extra, server, extra, sizeof extra);
            params_without = row->without;
            struct hostile *peer = hostile_new(&config);
            cr_assert_not_null(peer);
            bool done = hostile_advance(peer, STAGE_DONE);
            judge(peer, row->mark, 'P', row->expect, row->also);
            cr_expect(done == (row->expect == AQ_OK), "%s: handshake %s", row->mark, done ? "done" : "not done");
            hostile_free(peer);
        }
    }
    printf("%zu rows of transport parameters, played %u times\n", sizeof params_rows_bad / sizeof *params_rows_bad, runs);
}

/* ---- what needs more than one packet ------------------------------------------------------------------------- */

static struct hostile *done(bool server)
{
    struct hostile_config config = {.server = server, .stage = STAGE_DONE};
    struct hostile *peer = hostile_new(&config);

    cr_assert_not_null(peer);
    return peer;
}

static const uint8_t ping[] = {FRAME_PING};

static void send_packet(struct hostile *peer, struct hostile_packet packet)
{
    uint8_t out[1500];
    size_t size;

    if (!packet.frames) {
        packet.frames = ping;
        packet.size = sizeof ping;
    }
    size = hostile_seal(peer, &packet, out, sizeof out);
    cr_assert(size > 0);
    hostile_datagram(peer, out, size);
}

/* RFC 9000 §17.2, §17.3.1: reserved bits that are not zero. */
Test(hostile, reserved_bits)
{
    static const char packets[] = {'I', 'H', '1'};

    for (unsigned i = 0; i < sizeof packets; i++) {
        for (unsigned server = 0; server < 2; server++) {
            struct hostile_config config = {.server = server, .stage = stage_of(packets[i])};
            struct hostile *peer = hostile_new(&config);
            cr_assert_not_null(peer);
            send_packet(peer, (struct hostile_packet){.type = type_of(packets[i]), .reserved = (uint8_t)(1 + i)});
            judge(peer, "RFC 9000 §17.2: reserved bits", packets[i], AQ_PROTOCOL_VIOLATION, 0);
            hostile_free(peer);
        }
    }
}

/* RFC 9000 §12.3: a packet number twice is a duplicate, whatever it carries. */
Test(hostile, duplicate_number)
{
    static const uint8_t bad[] = {0x1f};

    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT, .number_set = true, .number = 50});
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT, .number_set = true, .number = 50,
                                                  .frames = bad, .size = 1});
        judge(peer, "RFC 9000 §12.3: a number twice", '1', AQ_OK, 0);
        hostile_free(peer);
    }
}

/* RFC 9000 §17.2.2: an Initial of a server with a token is dropped, or closes with PROTOCOL_VIOLATION. */
Test(hostile, initial_token_from_server)
{
    struct hostile_config config = {.server = true, .stage = STAGE_INITIAL};
    struct hostile *peer = hostile_new(&config);
    static const uint8_t token[] = {1, 2, 3, 4}, bad[] = {0x1f};

    cr_assert_not_null(peer);
    send_packet(peer, (struct hostile_packet){.type = PACKET_INITIAL, .token = token, .token_size = 4,
                                              .frames = bad, .size = 1});
    if (peer->close.seen)
        judge(peer, "RFC 9000 §17.2.2: a server's token", 'I', AQ_PROTOCOL_VIOLATION, 0);
    hostile_free(peer);
}

/* RFC 9000 §8.1.2: a Retry token that is not valid is refused by name when the Initial is otherwise valid. When the
 * token was changed on the way, the Initial is not authentic: it is dropped, or one flipped bit could end the attempt. */
Test(hostile, retry_token_not_valid)
{
    for (unsigned changed = 0; changed < 2; changed++) {
        struct hostile_config config = {.stage = STAGE_START};
        struct hostile *peer = hostile_new(&config);
        uint8_t token[TOKEN_SIZE] = {1}, out[1500]; /* as long as ours are, and of their first byte */
        cr_assert_not_null(peer);
        struct hostile_packet packet = {.type = PACKET_INITIAL, .token = token, .token_size = sizeof token,
                                        .frames = ping, .size = sizeof ping};
        size_t size = hostile_seal(peer, &packet, out, sizeof out);
        cr_assert(size >= 1200);
        if (changed)
            out[60] ^= 1; /* in the token: 1 + 4 + 1 + 8 + 1 + 8 + 2 come before it */
        hostile_datagram(peer, out, size);
        if (changed)
            cr_expect_eq(peer->datagrams, 0, "RFC 9000 §8.1.2: an answer to an Initial that is not authentic");
        else
            cr_expect(peer->close.seen && peer->close.code == AQ_INVALID_TOKEN, "RFC 9000 §8.1.2: not refused");
        hostile_free(peer);
    }
}

/* RFC 9000 §5.1.1, §19.15: ids for a peer that uses none. */
Test(hostile, new_id_for_an_empty_id)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile_config config = {.server = server, .stage = STAGE_DONE, .empty_cid = true};
        struct hostile *peer = hostile_new(&config);
        uint8_t frames[64];
        cr_assert_not_null(peer);
        size_t size = frames_of("18 1 0 x04 x01020304 *16", server, frames, sizeof frames);
        hostile_send(peer, PACKET_ONE_RTT, frames, size);
        judge(peer, "RFC 9000 §19.15: an id beside an empty one", '1', AQ_PROTOCOL_VIOLATION, 0);
        hostile_free(peer);
    }
}

/* RFC 9001 §8.1: no protocol in common. */
Test(hostile, no_common_protocol)
{
    struct hostile_config config = {.stage = STAGE_START, .alpn = "other"};
    struct hostile *peer = hostile_new(&config);

    cr_assert_not_null(peer);
    cr_expect_not(hostile_advance(peer, STAGE_DONE));
    judge(peer, "RFC 9001 §8.1: no_application_protocol", 'I', 0x178, 0);
    hostile_free(peer);
    hostile_tls_free();
}

/* RFC 9001 §6.2: an update is answered, and the answer carries the new phase. */
Test(hostile, key_update_answered)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        hostile_key_update(peer);
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT});
        hostile_wait(peer, 100000);
        judge(peer, "RFC 9001 §6.2: an update", '1', AQ_OK, 0);
        struct aq_conn_stats stats = {.size = sizeof stats};
        cr_expect_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
        cr_expect_eq(stats.key_updates, 1);
        cr_expect_eq(peer->unread, 0, "the answer could not be opened");
        hostile_free(peer);
    }
}

/* RFC 9001 §6.4: a packet of the old keys with a higher number than one of the new keys. */
Test(hostile, key_update_back)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        struct aead_key old = peer->write[LEVEL_APP];
        hostile_key_update(peer);
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT, .number_set = true, .number = 100});
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT, .number_set = true, .number = 101,
                                                  .key = &old, .phase_set = true, .phase = !peer->phase});
        judge(peer, "RFC 9001 §6.4: old keys after new ones", '1', AQ_KEY_UPDATE_ERROR, 0);
        hostile_free(peer);
    }
}

/* RFC 9001 §6.2: a second update before the first is acknowledged. It may be refused by name, or by keys that
 * are not there yet; it must not be followed. */
Test(hostile, key_update_twice)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        struct aq_conn_stats stats = {.size = sizeof stats};
        uint8_t out[2][200];
        size_t size[2];
        for (unsigned i = 0; i < 2; i++) {
            hostile_key_update(peer);
            struct hostile_packet packet = {.type = PACKET_ONE_RTT, .frames = ping, .size = 1};
            size[i] = hostile_seal(peer, &packet, out[i], sizeof out[i]);
        }
        hostile_datagram(peer, out[0], size[0]);
        hostile_datagram(peer, out[1], size[1]);
        if (peer->close.seen)
            judge(peer, "RFC 9001 §6.2: two updates", '1', AQ_KEY_UPDATE_ERROR, 0);
        else if (aq_conn_stats(peer->ep, peer->conn, &stats) == AQ_OK)
            cr_expect_leq(stats.key_updates, 2);
        hostile_free(peer);
    }
}

/* RFC 9001 §6.2: who acknowledges a packet of new keys has them, and must use them. */
Test(hostile, key_update_acked_under_old_keys)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        uint8_t frames[32];
        struct writer w = writer_make(frames, sizeof frames);
        cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
        hostile_wait(peer, 1000);
        const struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        write_uint(&w, FRAME_ACK, 1);
        write_uint(&w, c->app.sent.next - 1, 1), write_uint(&w, 0, 3);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
        cr_assert_eq(aq_key_update(peer->ep, peer->conn, peer->now_us), AQ_OK);
        cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
        hostile_wait(peer, 1000);
        cr_assert_eq(peer->unread, 1, "the victim's packet under new keys");
        w = writer_make(frames, sizeof frames);
        write_uint(&w, FRAME_ACK, 1);
        write_uint(&w, c->app.sent.next - 1, 1), write_uint(&w, 0, 3);
        hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(w.p - frames));
        cr_expect(peer->victim_closed && peer->victim_close.code == AQ_KEY_UPDATE_ERROR, "RFC 9001 §6.2: %llx",
                  (unsigned long long)peer->victim_close.code);
        hostile_free(peer);
    }
}

/* RFC 9001 §6.6, SECURITY.md 20: keys end before their limits: by an update, where one is possible, else by a close. RFC 9001 §5.3 */
Test(hostile, confidentiality_limit)
{
    for (unsigned possible = 0; possible < 2; possible++) {
        struct hostile *peer = done(false);
        struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        c->keys.tx_count = protect_confidentiality_limit((enum cipher)c->keys.tx.cipher) - 1000;
        c->keys.phase_acked = possible;
        send_packet(peer, (struct hostile_packet){.type = PACKET_ONE_RTT});
        hostile_wait(peer, 30000);
        cr_expect_eq(c->keys.tx_phase, possible);
        cr_expect_not(peer->victim_closed);
        c->keys.tx_count = protect_confidentiality_limit((enum cipher)c->keys.tx.cipher) - 4 * 64;
        c->keys.phase_acked = false;
        cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
        hostile_wait(peer, 30000);
        cr_expect(peer->victim_closed && peer->victim_close.code == AQ_AEAD_LIMIT_REACHED);
        hostile_free(peer);
    }
}

/* RFC 9001 §5.5: packets that do not open are dropped; RFC 9001 §6.6, SECURITY.md 20: after so many, the connection
 * ends. */
Test(hostile, integrity_limit)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        struct hostile_packet packet = {.type = PACKET_ONE_RTT, .frames = ping, .size = 1};
        uint8_t out[200];
        c->keys.failures = protect_integrity_limit((enum cipher)c->keys.rx.cipher) - 1;
        for (unsigned i = 0; i < 2; i++) {
            size_t size = hostile_seal(peer, &packet, out, sizeof out);
            out[size - 1] ^= 1;
            hostile_datagram(peer, out, size);
            cr_expect_eq(peer->close.seen, i == 1, "after %u", i);
        }
        judge(peer, "RFC 9001 §6.6: integrity limit", '1', AQ_AEAD_LIMIT_REACHED, 0);
        hostile_free(peer);
    }
}

/* RFC 9000 §10.2: what the peer says at the end is told to the application. */
Test(hostile, peer_closes)
{
    static const struct { const char *frames; bool application; uint64_t code, frame; char packet; } closes[] = {
        {"1c a 6 3 x616263", false, 0xa, 6, 'I'}, {"1c a 6 3 x616263", false, 0xa, 6, 'H'},
        {"1c a 6 3 x616263", false, 0xa, 6, '1'}, {"1d 1234 3 x616263", true, 0x1234, 0, '1'},
        {"1c 178 0 0", false, 0x178, 0, '1'},
    };

    for (unsigned i = 0; i < sizeof closes / sizeof *closes; i++) {
        for (unsigned server = 0; server < 2; server++) {
            struct hostile_config config = {.server = server, .stage = stage_of(closes[i].packet)};
            struct hostile *peer = hostile_new(&config);
            uint8_t frames[64];
            cr_assert_not_null(peer);
            size_t size = frames_of(closes[i].frames, server, frames, sizeof frames);
            hostile_send(peer, type_of(closes[i].packet), frames, size);
            cr_expect(peer->victim_closed, "close %u: no event", i);
            cr_expect(peer->victim_close.by == AQ_BY_PEER);
            cr_expect(peer->victim_close.application == closes[i].application);
            cr_expect_eq(peer->victim_close.code, closes[i].code);
            cr_expect_eq(peer->victim_close.frame_type, closes[i].frame);
            if (size > 5)
                cr_expect_str_eq(peer->victim_close.reason, "abc");
            hostile_free(peer);
        }
    }
}

/* What an on_frame below saw of PATH_RESPONSEs. */
struct responses {
    unsigned count;
    uint8_t first[64]; /* of each its first byte */
};

static void note_response(struct hostile *peer, enum packet_type type, const struct frame *f)
{
    struct responses *seen = peer->user;
    (void)type;
    if (f->type == FRAME_PATH_RESPONSE && seen->count < sizeof seen->first)
        seen->first[seen->count++] = f->path.data[0];
}

/* RFC 9000 §8.2.2: challenges that come together have a response each, and once; of a flood in one
 * packet the newest few (SECURITY.md row 3). */
Test(hostile, path_challenges_answered)
{
    for (unsigned n = 1; n <= 40; n += n < 4 ? 1 : 36) {
        struct hostile *peer = done(true);
        struct responses seen = {0};
        uint8_t frames[40 * 9] = {0};
        unsigned want = n < 2 ? n : 2;
        peer->on_frame = note_response;
        peer->user = &seen;
        for (unsigned i = 0; i < n; i++) {
            frames[i * 9] = FRAME_PATH_CHALLENGE;
            frames[i * 9 + 1] = (uint8_t)(100 + i);
        }
        hostile_send(peer, PACKET_ONE_RTT, frames, n * 9);
        hostile_wait(peer, 1000000);
        cr_assert_eq(seen.count, want, "%u responses to %u challenges", seen.count, n);
        for (unsigned i = 0; i < want; i++)
            cr_expect_eq(seen.first[i], 100 + n - want + i);
        hostile_free(peer);
    }
}

/* RFC 9000 §8.2.2: a PATH_CHALLENGE is answered with its bytes. RFC 9000 §19.17 */
Test(hostile, path_challenge_answered)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = done(server);
        static const uint8_t challenge[] = {FRAME_PATH_CHALLENGE, 1, 2, 3, 4, 5, 6, 7, 8};
        hostile_send(peer, PACKET_ONE_RTT, challenge, sizeof challenge);
        cr_expect_eq(peer->frames_seen[FRAME_PATH_RESPONSE], 1);
        cr_expect(memcmp(&peer->response[0], challenge + 1, 8) == 0);
        hostile_free(peer);
    }
}
