/* corpus.c -- writes the fuzzers' first inputs, from the rows of the tests: `corpus DIR` makes DIR/header,
 * DIR/frames, DIR/params, DIR/tokens, DIR/json, DIR/conn and DIR/nat. Each is small, a few hundred bytes at most. */
#include "tests/sim/attacks.h"
#include "core/frame.h"
#include "core/packet.h"
#include "nat/datagram.h"
#include "nat/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const char *root;
static unsigned files;

static void folder(const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", root, name);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        perror(path);
        exit(1);
    }
}

static void put(const char *target, const uint8_t *data, size_t size)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s/%03u", root, target, files++);
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* Frames as such, and as a script of the inside attack. */
static void put_frames(const char *text, char packet, bool server)
{
    uint8_t out[4096 + 16];
    size_t size;

    if (!attack_frames(text, server, out + 3, sizeof out - 3, &size) || size > 255)
        return;
    put("frames", out + 3, size);
    out[0] = (uint8_t)((server ? 2 : 0) | (packet == 'I' ? 1 : packet == 'H' ? 2 : 3) << 2);
    out[1] = packet == 'I' ? 3 : packet == 'H' ? 2 : 0;
    out[2] = (uint8_t)size;
    put("conn", out, size + 3);
}

static void put_headers(void)
{
    static const struct cid sizes[] = {{0}, {.size = 8, .bytes = "abcdefgh"}, {.size = 20, .bytes = "abcdefghijklmnopqrs"}};
    static const uint8_t token[] = "a token of some bytes";

    for (unsigned type = PACKET_INITIAL; type <= PACKET_ONE_RTT; type++) {
        for (unsigned i = 0; i < 3; i++) {
            uint8_t out[256] = {sizes[i].size};
            struct writer w = writer_make(out + 1, sizeof out - 1);
            struct aq_iov iov = {token, i || type == PACKET_RETRY ? sizeof token : 0};
            if (type == PACKET_RETRY) {
                size_t n = packet_write_retry(out + 1, sizeof out - 1, QUIC_V1, &sizes[i], &sizes[1], &sizes[1], &iov, 0);
                put("header", out, n + 1);
                continue;
            }
            size_t pn_offset = type == PACKET_ONE_RTT
                                   ? packet_write_short(&w, &sizes[i], false, true, 1 + i)
                                   : packet_write_long(&w, (enum packet_type)type, QUIC_V1, &sizes[i], &sizes[1], &iov,
                                                       1 + i);
            packet_write_number(&w, 7, 1 + i);
            write_bytes(&w, (const uint8_t[30]){0}, 30);
            size_t n = (size_t)(w.p - out) - 1;
            if (type != PACKET_ONE_RTT)
                packet_patch_length(out + 1, pn_offset, n - pn_offset);
            put("header", out, n + 1);
        }
    }
    static const uint32_t versions[] = {QUIC_V1, 0x1a2a3a4a};
    uint8_t out[256] = {8};
    struct aq_iov id = {sizes[1].bytes, 8};
    size_t n = packet_write_versions(out + 1, sizeof out - 1, &id, &id, versions, 2, 0x2a);
    put("header", out, n + 1);
}

static void put_params(void)
{
    uint8_t out[1024];
    struct params p;
    unsigned count;
    const struct param_row *rows = params_rows(&count);

    for (uint8_t by = BY_CLIENT; by <= BY_SERVER; by++) {
        params_init(&p);
        p.initial_scid = p.original_dcid = p.retry_scid = p.preferred.cid = (struct cid){.size = 8, .bytes = "abcdefgh"};
        p.versions = (struct version_info){AQ_QUIC_V1, {AQ_QUIC_V2, AQ_QUIC_V1}, .count = 2};
        for (unsigned i = 0; i < count; i++)
            if (rows[i].by & by)
                params_set(&p, (enum param_row_index)i);
        uint64_t all = p.present;
        put("params", out, params_encode(&p, 3, out, sizeof out));
        for (unsigned i = 0; i < count; i++) { /* each alone */
            p.present = all & UINT64_C(1) << i;
            if (p.present)
                put("params", out, params_encode(&p, 0, out, sizeof out));
        }
    }
}

/* Operations of the outside attack, spread over the first datagrams. */
static void put_outside(void)
{
    for (uint8_t op = 0; op < 6; op++) {
        for (uint8_t at = 0; at < 12; at += 2) {
            uint8_t out[32] = {(uint8_t)(1 | op << 1)};
            size_t n = 1;
            for (uint8_t i = 0; i < at; i++)
                out[n++] = 7;
            out[n++] = op;
            memcpy(out + n, (uint8_t[]){1, 0, 3, 0x40, 0, 20, 1}, 7);
            put("conn", out, n + 7);
        }
    }
}

static void put_json(void)
{
    static const char *const texts[] = {
        "{\"time\":0.159,\"name\":\"transport:packet_sent\",\"data\":{\"header\":{\"packet_type\":\"1RTT\",\"packet_number\":0}}}",
        "{\"frames\":[{\"frame_type\":\"ack\",\"acked_ranges\":[[0],[2,9]]},{\"fin\":true,\"x\":null}]}",
        "[-1.5e+3,\"\\u00e4\\n\\\"\",{},[],false]",
        "[1,2",
    };

    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        put("json", (const uint8_t *)texts[i], strlen(texts[i]));
}

/* Frames of NAT traversal, which no attack has: they are not negotiated. */
static void put_extensions(void)
{
    static const uint8_t ip[16] = {0x20, 1, 0xd, 0xb8};
    static const uint64_t types[] = {FRAME_ADD_ADDRESS_V4,  FRAME_ADD_ADDRESS_V6,      FRAME_PUNCH_ME_NOW_V4,
                                     FRAME_PUNCH_ME_NOW_V6, FRAME_OBSERVED_ADDRESS_V4, FRAME_OBSERVED_ADDRESS_V6};

    for (unsigned i = 0; i < 6; i++) {
        uint8_t out[64];
        struct writer w = writer_make(out, sizeof out);
        struct frame f = {.type = types[i]};
        if (types[i] == FRAME_PUNCH_ME_NOW_V4 || types[i] == FRAME_PUNCH_ME_NOW_V6)
            f.punch_me_now.ip = ip;
        else
            f.add_address.ip = ip;
        frame_encode(&w, &f);
        put("frames", out, (size_t)(w.p - out));
    }
    put("frames", (const uint8_t[]){0x80, 0x3d, 0x7e, 0x94, 1}, 5);
}

/* Registrations and what two of them do, alone and in a row; datagrams; names. */
static void put_nat(void)
{
    static const uint8_t steps[][2] = {{MESSAGE_CONNECT, STEP_REQUEST}, {MESSAGE_PUNCH, STEP_REQUEST},
                                       {MESSAGE_PUNCH, STEP_ANSWER},    {MESSAGE_CONNECT, STEP_ANSWER}};
    static const char names[] = "\x02" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@[2001:db8::1]:4433";
    uint8_t all[4096] = {3}, one[1 + MESSAGE_MAX] = {0};
    size_t n = 1;

    for (unsigned i = 0; i < 6; i++) {
        struct message m = {.type = MESSAGE_REGISTER, .version = 1, .lease_s = 60, .capabilities = 3};
        uint8_t who = i < 2 ? (uint8_t)i : i == 4 || i == 5 ? 1 : 0;
        m.peer_id.bytes[0] = who;
        m.present = 1U << FIELD_VERSION | 1U << FIELD_PEER_ID | 1U << FIELD_LEASE | 1U << FIELD_GENERATION |
                    1U << FIELD_CAPABILITIES;
        if (i >= 2) {
            m = (struct message){.type = steps[i - 2][0], .step = steps[i - 2][1], .reason = i == 5};
            m.request_id[0] = (uint8_t)m.type;
            m.target.bytes[0] = 1;
            m.present = 1U << FIELD_STEP | 1U << FIELD_REQUEST_ID |
                        (m.step == STEP_REQUEST ? 1U << FIELD_TARGET : 1U << FIELD_REASON);
        }
        all[n++] = who;
        size_t size = message_encode(&m, all + n, sizeof all - n);
        memcpy(one + 1, all + n, size);
        put("nat", one, 1 + size);
        n += size;
    }
    put("nat", all, n);
    put("nat", (const uint8_t *)names, sizeof names - 1);
    put("nat", (const uint8_t *)names, 53);
    uint8_t punch[1 + PUNCH_SIZE] = {1};
    punch_write(&(struct punch){PUNCH_OPEN, 1, 2}, (const uint8_t[PUNCH_KEY_BYTES]){2}, punch + 1);
    put("nat", punch, sizeof punch);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIR\n", argv[0]);
        return 2;
    }
    root = argv[1];
    folder("");
    static const char *const targets[] = {"header", "frames", "params", "tokens", "conn", "json", "nat"};
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++)
        folder(targets[i]);
    put_json();
    for (unsigned i = 0; i < attacks_count; i++) {
        if (attacks[i].victim & VICTIM_SERVER)
            put_frames(attacks[i].frames, attacks[i].packet, false);
        if (attacks[i].victim & VICTIM_CLIENT)
            put_frames(attacks[i].frames, attacks[i].packet, true);
    }
    for (unsigned i = 0; i < attack_cross_count; i++)
        put_frames(attack_cross[i].frame, '1', i % 2);
    put_headers();
    put_params();
    put_outside();
    put_extensions();
    put_nat();
    for (uint8_t i = 0; i < 8; i++)
        put("tokens", (const uint8_t[60]){0, (uint8_t)(i * 29), i, 0, 0, 1, 0, (uint8_t)(i * 3), 1, 2, 3}, 60);
    printf("%u inputs in %s\n", files, root);
    return 0;
}
