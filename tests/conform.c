/* conform.c -- rules that an endpoint can be caught breaking by what it sends, or does not send,
 * one MUST each: what hostile.c, which looks at errors, has no rows for. A scripted peer asks, and
 * looks at the packets that come back. */
#include "core/addr.h"
#include "tests/victim.h"

static const uint8_t ping[] = {FRAME_PING};

static enum packet_type type_at(enum hostile_stage stage)
{
    return stage == STAGE_INITIAL     ? PACKET_INITIAL
           : stage == STAGE_HANDSHAKE ? PACKET_HANDSHAKE
                                      : PACKET_ONE_RTT;
}

struct watch {
    unsigned acks[PACKET_ONE_RTT + 1];   /* ACK frames by the packet that held them */
    unsigned closes[PACKET_ONE_RTT + 1]; /* the same of CONNECTION_CLOSE */
    struct cid id;                       /* of the last NEW_CONNECTION_ID, and its number */
    uint64_t id_seq, id_next;
};

static void look(struct hostile *peer, enum packet_type type, const struct frame *f)
{
    struct watch *w = peer->user;
    w->acks[type] += f->type == FRAME_ACK || f->type == FRAME_ACK_ECN;
    w->closes[type] += f->type == FRAME_CONNECTION_CLOSE || f->type == FRAME_CONNECTION_CLOSE_APP;
    if (f->type != FRAME_NEW_CONNECTION_ID)
        return;
    w->id.size = (uint8_t)f->new_cid.cid_size;
    memcpy(w->id.bytes, f->new_cid.cid, w->id.size);
    if (f->new_cid.seq == w->id_next)
        w->id_next++;
    w->id_seq = f->new_cid.seq;
}

static struct hostile *watched(bool server, enum hostile_stage stage, struct watch *w)
{
    struct hostile *peer = victim(server, stage);
    *w = (struct watch){.id_next = 1};
    peer->user = w;
    peer->on_frame = look;
    return peer;
}

/* RFC 9000 §13.2.6, RFC 9000 §17.2.3: an ACK goes in packets of the number space that it is about.
 */
Test(conform, acknowledged_in_its_space)
{
    for (enum hostile_stage stage = STAGE_INITIAL; stage <= STAGE_DONE; stage++) {
        for (unsigned server = 0; server < 2; server++) {
            struct watch w;
            struct hostile *peer = watched(server, stage, &w);
            enum packet_type type = type_at(stage);
            for (unsigned i = 0; i < 2; i++)
                cr_assert(hostile_send(peer, type, ping, 1));
            for (enum packet_type t = PACKET_INITIAL; t <= PACKET_ONE_RTT; t++)
                cr_expect_eq(w.acks[t] > 0, t == type, "stage %d: %u ACKs in packets of type %d",
                             (int)stage, w.acks[t], (int)t);
            hostile_free(peer);
        }
    }
}

/* RFC 9000 §10.2.3: after the handshake is confirmed a close goes in a 1-RTT packet, before that at
 * the levels that the peer can read. */
Test(conform, closes_in_their_space)
{
    static const uint8_t unknown[] = {0x21};
    for (enum hostile_stage stage = STAGE_INITIAL; stage <= STAGE_DONE; stage++) {
        for (unsigned server = 0; server < 2; server++) {
            struct watch w;
            struct hostile *peer = watched(server, stage, &w);
            enum packet_type type = type_at(stage);
            cr_assert(hostile_send(peer, type, unknown, 1));
            cr_expect(w.closes[type] == 1, "stage %d: %u closes", (int)stage, w.closes[type]);
            if (stage == STAGE_DONE)
                cr_expect(w.closes[PACKET_INITIAL] + w.closes[PACKET_HANDSHAKE] == 0);
            hostile_free(peer);
        }
    }
}

/* RFC 9000 §8.2.2: a datagram with a PATH_RESPONSE has 1,200 bytes; and one response answers one
 * challenge, which may come in a small datagram (RFC 9000 §8.2.1). */
Test(conform, responses_are_expanded)
{
    static const uint8_t challenge[] = {FRAME_PATH_CHALLENGE, 8, 7, 6, 5, 4, 3, 2, 1};
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        uint64_t bytes = peer->bytes, datagrams = peer->datagrams;
        cr_assert(hostile_send(peer, PACKET_ONE_RTT, challenge, sizeof challenge));
        cr_expect_eq(peer->frames_seen[FRAME_PATH_RESPONSE], 1);
        cr_expect_eq(peer->datagrams, datagrams + 1);
        cr_expect_geq(peer->bytes - bytes, 1200);
        hostile_wait(peer, 3000000);
        cr_expect_eq(peer->frames_seen[FRAME_PATH_RESPONSE], 1, "RFC 9000 §8.2.2: repeated");
        hostile_free(peer);
    }
}

/* RFC 9000 §14, RFC 9000 §14.1: an Initial in a small datagram is discarded, and closes nothing. */
Test(conform, small_initials_close_nothing)
{
    static const uint8_t unknown[] = {0x21};
    struct hostile *peer = victim(false, STAGE_INITIAL);
    uint8_t out[1300];
    struct hostile_packet packet = {
        .type = PACKET_INITIAL, .frames = unknown, .size = 1, .bare = true};
    size_t size = hostile_seal(peer, &packet, out, sizeof out);
    cr_assert(size > 0 && size < 1200);
    hostile_datagram(peer, out, size);
    cr_expect_not(peer->close.seen);
    cr_expect_not(peer->victim_closed);
    cr_expect(hostile_advance(peer, STAGE_DONE), "and the handshake goes on");
    hostile_free(peer);
}

/* RFC 9001 §5.7: a server does not process 1-RTT packets before the handshake is complete, though
 * it could read them. */
Test(conform, one_rtt_before_the_handshake_is_complete)
{
    struct watch w;
    struct hostile *peer = watched(false, STAGE_HANDSHAKE, &w);
    uint8_t frames[32];
    struct writer f = writer_make(frames, sizeof frames);
    write_varint(&f, FRAME_STREAM | FRAME_STREAM_LEN);
    write_varint(&f, 0);
    write_varint(&f, 1);
    write_u8(&f, 'x');
    cr_assert(hostile_send(peer, PACKET_ONE_RTT, frames, (size_t)(f.p - frames)),
              "a client has the keys as soon as it has the server's flight");
    cr_expect_eq(stats_of(peer).streams, 0, "processed");
    cr_expect_eq(w.acks[PACKET_ONE_RTT], 0, "acknowledged");
    cr_expect(hostile_advance(peer, STAGE_DONE));
    cr_expect_eq(stats_of(peer).streams, 1, "it was kept");
    hostile_free(peer);
}

/* RFC 9001 §5.6: a client does not open 0-RTT packets, even under keys that it may have. */
Test(conform, early_packets_to_a_client)
{
    struct hostile *peer = victim(true, STAGE_DONE);
    uint8_t out[200];
    static const uint8_t unknown[] = {0x21};
    struct hostile_packet packet = {.type = PACKET_HANDSHAKE, .frames = unknown, .size = 1};
    uint64_t dropped = stats_of(peer).drop_no_keys;
    size_t size = hostile_seal(peer, &packet, out, sizeof out);
    cr_assert(size > 0);
    out[0] = (uint8_t)((out[0] & 0xcf) | 0x10);
    hostile_datagram(peer, out, size);
    cr_expect_eq(stats_of(peer).drop_no_keys, dropped + 1);
    cr_expect_not(peer->victim_closed);
    hostile_free(peer);
}

/* RFC 9000 §5.2.1: a packet of another version than the connection's is discarded. */
Test(conform, another_version)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_HANDSHAKE);
        static const uint8_t unknown[] = {0x21};
        struct hostile_packet packet = {.type = PACKET_HANDSHAKE, .frames = unknown, .size = 1};
        uint8_t out[200];
        uint64_t dropped = stats_of(peer).drop_version;
        size_t size = hostile_seal(peer, &packet, out, sizeof out);
        cr_assert(size > 0);
        memcpy(out + 1, (uint8_t[]){0xba, 0xba, 0xba, 0xba}, 4);
        hostile_datagram(peer, out, size);
        cr_expect_eq(stats_of(peer).drop_version, dropped + 1);
        cr_expect_not(peer->victim_closed);
        hostile_free(peer);
    }
}

/* RFC 9000 §7.2: the Source Connection ID of the first packet stays: what bears another is
 * discarded. */
Test(conform, another_source_id)
{
    for (unsigned server = 0; server < 2; server++) {
        struct watch w;
        struct hostile *peer = watched(server, STAGE_HANDSHAKE, &w);
        uint64_t dropped = stats_of(peer).drop_unknown_cid;
        peer->own.bytes[0] ^= 1;
        cr_assert(hostile_send(peer, PACKET_HANDSHAKE, ping, 1));
        cr_expect_eq(stats_of(peer).drop_unknown_cid, dropped + 1);
        cr_expect_eq(w.acks[PACKET_HANDSHAKE], 0);
        peer->own.bytes[0] ^= 1;
        cr_assert(hostile_send(peer, PACKET_HANDSHAKE, ping, 1));
        cr_expect_eq(w.acks[PACKET_HANDSHAKE], 1);
        hostile_free(peer);
    }
}

/* RFC 9000 §5.1.1: numbers go up by one; an id that was given out is accepted, until it is retired.
 */
Test(conform, ids_given_out)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile_config config = {.server = server, .stage = STAGE_HANDSHAKE};
        struct watch w = {.id_next = 1};
        struct hostile *peer = hostile_new(&config);
        cr_assert_not_null(peer);
        peer->user = &w;
        peer->on_frame = look;
        cr_assert(hostile_advance(peer, STAGE_DONE));
        hostile_wait(peer, 1000);
        cr_assert_gt(w.id_seq, 0, "it gave no id");
        cr_expect_eq(w.id_next, w.id_seq + 1, "RFC 9000 §5.1.1: numbers up to %llu, %llu of them",
                     (unsigned long long)w.id_seq, (unsigned long long)w.id_next - 1);
        struct cid first = peer->other, given = w.id;
        uint8_t retire[] = {FRAME_RETIRE_CONNECTION_ID, (uint8_t)w.id_seq};
        peer->other = given;
        hostile_send(peer, PACKET_ONE_RTT, ping, 1);
        hostile_wait(peer, 100000);
        uint64_t acked = peer->last_ack.largest;
        cr_expect_eq(acked, peer->space[2].next - 1, "RFC 9000 §5.1.1: not accepted");
        peer->other = first;
        hostile_send(peer, PACKET_ONE_RTT, retire, sizeof retire);
        hostile_wait(peer, 100000);
        acked = peer->last_ack.largest;
        uint64_t unknown = stats_of(peer).drop_unknown_cid;
        peer->other = given;
        hostile_send(peer, PACKET_ONE_RTT, ping, 1);
        hostile_wait(peer, 100000);
        cr_expect_eq(stats_of(peer).drop_unknown_cid, unknown + 1, "accepted though retired");
        cr_expect_eq(peer->last_ack.largest, acked);
        hostile_free(peer);
    }
}

/* RFC 9000 §17.2.1, RFC 9000 §17.2.5.1: one answer to a datagram, however many packets are in it.
 */
Test(conform, one_answer_to_a_datagram)
{
    struct hostile *peer = victim(false, STAGE_START);
    uint8_t out[3000];
    memset(out, 0, sizeof out);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *p = out + 1250 * i;
        memcpy(p, (uint8_t[]){0xc0, 0xba, 0xba, 0xba, 0xba, 8}, 6);
        p[14] = 8;
    }
    hostile_datagram(peer, out, 2500);
    cr_expect_eq(stats_of(peer).versions, 1);
    cr_expect_eq(peer->datagrams, 1);
    hostile_free(peer);

    struct hostile_config config = {.stage = STAGE_START};
    config.config = NULL;
    peer = hostile_new(&config);
    cr_assert_not_null(peer);
    ((struct endpoint *)peer->ep)->config.retry = AQ_RETRY_ALWAYS;
    size_t size = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct hostile_packet packet = {.type = PACKET_INITIAL, .frames = ping, .size = 1};
        size += hostile_seal(peer, &packet, out + size, 1250);
    }
    hostile_datagram(peer, out, size);
    cr_expect_eq(stats_of(peer).retries, 1);
    cr_expect_eq(peer->datagrams, 1);
    hostile_free(peer);
}

/* RFC 8999 §6: a Version Negotiation without a version, or with half of one, is ignored. */
Test(conform, empty_version_negotiation)
{
    for (unsigned half = 0; half < 2; half++) {
        struct hostile *peer = victim(true, STAGE_START);
        uint8_t out[64] = {0x80, 0, 0, 0, 0, peer->other.size};
        size_t at = 6;
        memcpy(out + at, peer->other.bytes, peer->other.size);
        at += peer->other.size;
        out[at++] = peer->original.size;
        memcpy(out + at, peer->original.bytes, peer->original.size);
        at += peer->original.size + (half ? 2U : 0U);
        hostile_datagram(peer, out, at);
        cr_expect_not(peer->victim_closed, "half %u", half);
        cr_expect(hostile_advance(peer, STAGE_DONE), "half %u", half);
        hostile_free(peer);
    }
}

/* ---- paths ----------------------------------------------------------------------------------- */

struct challenges {
    uint8_t last[8];
    unsigned count, repeated;
    struct aq_addr to;
};

static void look_at_challenges(struct hostile *peer, enum packet_type type, const struct frame *f)
{
    struct challenges *c = peer->user;
    (void)type;
    if (f->type != FRAME_PATH_CHALLENGE || !addr_equal(&peer->sent_to, &peer->addr))
        return; /* another path is looked at, too */
    c->repeated += c->count && memcmp(c->last, f->path.data, 8) == 0;
    memcpy(c->last, f->path.data, 8);
    c->to = peer->sent_to;
    c->count++;
}

static bool respond(struct hostile *peer, const uint8_t data[8])
{
    uint8_t frames[9] = {FRAME_PATH_RESPONSE};
    memcpy(frames + 1, data, 8);
    return hostile_send(peer, PACKET_ONE_RTT, frames, sizeof frames);
}

static enum path_state path_at(const struct hostile *peer, const struct aq_addr *addr)
{
    const struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
    for (unsigned i = 0; i < PATHS; i++) {
        if (c->path[i] && addr_equal(&c->path[i]->remote, addr))
            return (enum path_state)c->path[i]->state;
    }
    return PATH_FAILED;
}

/* RFC 9000 §8.2.1: each PATH_CHALLENGE holds new, unpredictable bytes, in a datagram of 1,200 bytes
 * where three times what came allows that. RFC 9000 §8.2.2: it is answered where it came from, and
 * its answer counts on whatever path it comes. */
Test(conform, challenges)
{
    struct hostile *peer = victim(false, STAGE_DONE);
    struct challenges seen = {.count = 0};
    struct aq_addr home = peer->addr, away = home;
    uint8_t frames[1150] = {FRAME_PATH_CHALLENGE, 1};
    peer->user = &seen;
    peer->on_frame = look_at_challenges;
    away.ip[3]++;
    peer->addr = away;
    uint64_t bytes = peer->bytes;
    hostile_send(peer, PACKET_ONE_RTT, frames, sizeof frames); /* the rest is PADDING */
    cr_expect_eq(seen.count, 1);
    cr_expect_geq(peer->bytes - bytes, 1200);
    cr_expect(addr_equal(&seen.to, &away));
    cr_expect_eq(peer->frames_seen[FRAME_PATH_RESPONSE], 1);
    cr_expect(addr_equal(&peer->sent_to, &away), "RFC 9000 §8.2.2: answered elsewhere");
    hostile_wait(peer, 1500000);
    cr_expect_gt(seen.count, 1, "asked once only");
    cr_expect_eq(seen.repeated, 0);
    peer->addr = home;
    cr_expect_neq(path_at(peer, &away), PATH_VALID);
    respond(peer, seen.last);
    cr_expect_eq(path_at(peer, &away), PATH_VALID, "RFC 9000 §8.2.2: it came on another path");
    hostile_free(peer);
}

/* RFC 9000 §14, RFC 9000 §14.2: a path that carries small datagrams, and never 1,200 bytes, is not
 * used: with no other left the connection closes. */
Test(conform, a_path_without_1200_bytes)
{
    struct hostile *peer = victim(false, STAGE_DONE);
    struct challenges seen = {.count = 0};
    peer->user = &seen;
    peer->on_frame = look_at_challenges;
    peer->addr.ip[3]++;
    uint8_t frames[100] = {FRAME_PING};
    hostile_send(peer, PACKET_ONE_RTT, frames,
                 sizeof frames); /* credit for less than 1,200 bytes */
    cr_assert_eq(seen.count, 1);
    respond(peer, seen.last); /* it was a small one */
    cr_expect_eq(path_at(peer, &peer->addr), PATH_VALID);
    for (unsigned i = 0; i < 1000 && !peer->victim_closed; i++) {
        hostile_send(peer, PACKET_ONE_RTT, ping, 1); /* small ones come all the time */
        hostile_wait(peer, 100000);
    }
    cr_expect(peer->victim_closed && peer->victim_close.code == AQ_NO_VIABLE_PATH, "code %llx",
              (unsigned long long)peer->victim_close.code);
    hostile_free(peer);
}

/* ---- coalesced packets, marks, late CRYPTO ------------------------------------------------------
 */

/* RFC 9000 §12.2: one that does not open keeps nobody from those behind it. */
Test(conform, behind_a_bad_packet)
{
    for (unsigned server = 0; server < 2; server++) {
        struct watch w;
        struct hostile *peer = watched(server, STAGE_HANDSHAKE, &w);
        struct hostile_packet packet = {.type = PACKET_HANDSHAKE, .frames = ping, .size = 1};
        uint8_t out[1000];
        size_t size = hostile_seal(peer, &packet, out, 500);
        out[size - 1] ^= 1;
        size += hostile_seal(peer, &packet, out + size, 500);
        hostile_datagram(peer, out, size);
        cr_expect_eq(w.acks[PACKET_HANDSHAKE], 1);
        cr_expect_eq(peer->last_ack.largest, peer->space[1].next - 1);
        hostile_free(peer);
    }
}

/* RFC 9000 §13.4.2.1: an ACK that does not raise the largest acknowledged number says nothing about
 * marks, and ECN does not fail by it. */
Test(conform, an_old_ack_without_marks)
{
    for (unsigned server = 0; server < 2; server++) {
        struct hostile *peer = victim(server, STAGE_DONE);
        const struct conn *c = conn_at((struct endpoint *)peer->ep, 0);
        struct aq_conn_stats stats = {.size = sizeof stats};
        uint64_t number[2];
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_eq(aq_ping(peer->ep, peer->conn, peer->now_us), AQ_OK);
            hostile_wait(peer, 0);
            number[i] = c->app.sent.next - 1;
        }
        uint8_t newer[] = {FRAME_ACK_ECN, (uint8_t)number[1], 0, 0, 0, 2, 0, 0};
        uint8_t older[] = {FRAME_ACK, (uint8_t)number[0], 0, 0, 0};
        hostile_send(peer, PACKET_ONE_RTT, newer, sizeof newer);
        cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
        enum aq_ecn_state before = stats.ecn_state;
        hostile_send(peer, PACKET_ONE_RTT, older, sizeof older);
        cr_assert_eq(aq_conn_stats(peer->ep, peer->conn, &stats), AQ_OK);
        cr_expect_eq(stats.ecn_state, before);
        cr_expect_neq(stats.ecn_state, AQ_ECN_STATE_FAILED);
        hostile_free(peer);
    }
}

/* RFC 9000 §7.5: CRYPTO frames that are discarded after the handshake are acknowledged. */
Test(conform, late_crypto_is_acknowledged)
{
    static const uint8_t crypto[] = {FRAME_CRYPTO, 0x40, 0, 0x40, 8, 4, 0, 0, 4, 1, 2, 3, 4};
    struct watch w;
    struct hostile *peer = watched(true, STAGE_DONE, &w);
    hostile_wait(peer, 10000000); /* the client's TLS object is gone */
    cr_assert_null(conn_at((struct endpoint *)peer->ep, 0)->hand);
    unsigned acks = w.acks[PACKET_ONE_RTT];
    for (unsigned i = 0; i < 2; i++)
        hostile_send(peer, PACKET_ONE_RTT, crypto, sizeof crypto);
    hostile_wait(peer, 100000);

    cr_expect_gt(w.acks[PACKET_ONE_RTT], acks);
    cr_expect_eq(peer->last_ack.largest, peer->space[2].next - 1);
    cr_expect_not(peer->victim_closed);
    hostile_free(peer);
}
