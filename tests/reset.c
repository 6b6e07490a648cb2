/* reset.c -- stateless resets as a server gives them (RFC 9000 §10.3): size, token, rate, and
 * for which ids. What becomes of the one who gets them is in close.c. */
#include "tests/stranger.h"

#include "core/cid.h"

/* To an id that a server with this secret made once, as this worker. */
static size_t short_packet_to(uint8_t *out, size_t size, uint16_t worker, uint32_t slot)
{
    uint8_t secret[32];
    struct cid_key key;
    struct cid cid;
    struct cid_fields fields = {.epoch = 5, .worker = worker, .generation = 1, .slot = slot};
    memset(secret, 0x77, sizeof secret);
    cid_key_init(&key, secret);
    cid_encode(&key, &fields, &cid);
    memset(out, 0x33, size);
    out[0] = 0x40;
    memcpy(out + 1, cid.bytes, size < 9 ? size - 1 : 8);
    return size;
}

static size_t short_packet(uint8_t *out, size_t size)
{
    return short_packet_to(out, size, 0, 3);
}

/* RFC 9000 §10.3: smaller than what caused it, at least 21 bytes, the fixed bit set; nothing for
 * 21 bytes or fewer. */
Test(reset, size)
{
    for (unsigned size = 9; size <= 100; size++) {
        struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
        uint8_t out[100];
        give(p, &stranger, out, short_packet(out, size));
        cr_expect_eq(side_stats(&p->server).drop_unknown_cid, 1, "%u", size);
        if (size <= 21) {
            expect_silence(p);
        } else {
            struct pair_datagram d = answer(p);
            cr_expect(d.size < size && d.size >= 21, "%u for %u", d.size, size);
            cr_expect_eq(d.data[0] & 0xc0, 0x40);
            cr_expect_eq(side_stats(&p->server).resets, 1);
        }
        expect_nothing_kept(p);
        pair_free(p);
    }
}

/* RFC 9000 §10.3.2: the token is that of the id, today and after a reboot with the same secret. */
Test(reset, token)
{
    uint8_t token[2][16];
    for (unsigned i = 0; i < 2; i++) {
        struct aq_config config;
        uint8_t out[60];
        pair_config(&config, true);
        memset(config.secret, 0x77, sizeof config.secret);
        config.seed[0] = (uint8_t)(i + 1);
        struct pair *p = pair_new(NULL, &config);
        give(p, &stranger, out, short_packet(out, sizeof out));
        struct pair_datagram d = answer(p);
        memcpy(token[i], d.data + d.size - 16, 16);
        give(p, &stranger, out,
             short_packet_to(out, sizeof out, 0, 4)); /* another id, another token */
        d = answer(p);
        cr_expect(memcmp(token[i], d.data + d.size - 16, 16) != 0);
        pair_free(p);
    }
    cr_expect(memcmp(token[0], token[1], 16) == 0);
}

/* RFC 9000 §21.11: not for an id of another worker with the same key, where it may be in use. */
Test(reset, not_for_siblings)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    uint8_t out[60];
    give(p, &stranger, out, short_packet_to(out, sizeof out, 1, 3));
    expect_silence(p);
    cr_expect_eq(side_stats(&p->server).resets, 0);
    cr_expect_eq(side_stats(&p->server).drop_unknown_cid, 1);
    pair_free(p);
}

/* RFC 9000 §10.3.3; §21.11: resets are rare: a small burst, then one in 10 ms. */
Test(reset, rate)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    uint8_t out[60];
    short_packet(out, sizeof out);
    for (unsigned i = 0; i < 200; i++) {
        give(p, &stranger, out, sizeof out);
        p->server.outs = 0;
    }
    uint64_t burst = side_stats(&p->server).resets;
    cr_expect(burst > 0 && burst <= 30, "%llu at once", (unsigned long long)burst);
    for (unsigned i = 0; i < 1000; i++) { /* one second, a trigger each millisecond */
        p->now_us += 1000;
        give(p, &stranger, out, sizeof out);
        p->server.outs = 0;
    }
    uint64_t second = side_stats(&p->server).resets - burst;
    cr_expect(second >= 90 && second <= 110, "%llu in a second", (unsigned long long)second);
    cr_expect_eq(side_stats(&p->server).drop_unknown_cid, 1200);
    pair_free(p);
}

/* RFC 9000 §10.3, §21.11: what came another way is answered by the same, and by nothing where a
 * connection is, where the id is a sibling's, where it is too short, or too often. */
Test(reset, for_another_way)
{
    struct pair *p = server_with(AQ_RETRY_ALWAYS, 8, 8);
    uint8_t out[100], reset[AQ_RESET_SIZE], again[AQ_RESET_SIZE];
    for (size_t size = 0; size <= sizeof out; size++) {
        short_packet(out, sizeof out);
        size_t n = aq_reset_for(p->server.ep, out, size, reset, p->now_us);
        cr_expect_eq(n > 0, size > 21, "%zu bytes", size);
        cr_expect(n < size || n == 0);
        cr_expect(n == 0 || (n >= 21 && n <= AQ_RESET_SIZE && (reset[0] & 0xc0) == 0x40));
        p->now_us += 1000000;
    }
    size_t n = aq_reset_for(p->server.ep, out, sizeof out, reset, p->now_us);
    give(p, &stranger, out, sizeof out);
    struct pair_datagram d = answer(p);
    cr_expect_arr_eq(reset + n - 16, d.data + d.size - 16, 16);
    short_packet_to(out, sizeof out, 1, 3);
    cr_expect_eq(aq_reset_for(p->server.ep, out, sizeof out, again, p->now_us), 0);
    short_packet(out, sizeof out);
    for (unsigned first = 0; first < 256; first += 0x40) {
        out[0] = (uint8_t)first;
        n = aq_reset_for(p->server.ep, out, sizeof out, again, p->now_us);
        cr_expect_eq(n > 0, first == 0x40, "%02x", first);
    }
    unsigned burst = 0;
    short_packet(out, sizeof out);
    for (unsigned i = 0; i < 200; i++)
        burst += aq_reset_for(p->server.ep, out, sizeof out, again, p->now_us) > 0;
    cr_expect(burst > 0 && burst <= 30, "%u at once", burst);
    expect_nothing_kept(p);
    pair_free(p);

    struct aq_config config;
    pair_config(&config, true);
    memset(config.secret, 0x77, sizeof config.secret);
    p = pair_connected(NULL, &config);
    aq_ping(p->client.ep, p->client.conn, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    cr_expect_eq(aq_reset_for(p->server.ep, d.data, d.size, again, p->now_us), 0, "a connection's");
    short_packet(out, sizeof out);
    cr_expect_gt(aq_reset_for(p->server.ep, out, sizeof out, again, p->now_us), 0, "nobody's");
    pair_free(p);
}

/* RFC 9000 §10.3.3, SECURITY.md 19: two that know nothing of each other, and whose resets look to
 * the other as if they went to an id of its own: each is smaller than the last, so that they end,
 * however slowly they come. */
Test(reset, no_loop)
{
    struct pair *p[2] = {server_with(AQ_RETRY_ALWAYS, 8, 8), server_with(AQ_RETRY_ALWAYS, 8, 8)};
    uint8_t id[1200], bytes[1200];
    size_t size = short_packet(bytes, sizeof bytes);
    unsigned resets = 0;
    memcpy(id, bytes, sizeof id);
    for (; resets < 100; resets++) {
        struct pair *to = p[resets % 2];
        struct pair_datagram d;
        to->now_us += 1000000;
        memcpy(bytes + 1, id + 1, 8);
        give(to, &stranger, bytes, size);
        if (!side_take(&to->server, &d))
            break;
        cr_assert_lt(d.size, size);
        size = d.size;
        memcpy(bytes, d.data, size);
    }
    cr_expect(resets > 1 && resets < 30, "%u resets", resets);
    pair_free(p[0]);
    pair_free(p[1]);
}

/* RFC 9000 §10.3, §10.3.1: a server that begins anew with its secret ends a connection of its
 * former life at the first packet, in one round trip, and the client knows why; with another secret
 * it cannot, and the client waits for its timeout. */
Test(reset, restarted_server)
{
    for (unsigned same = 0; same < 2; same++) {
        struct aq_config config;
        pair_config(&config, true);
        memset(config.secret, 0x77, sizeof config.secret);
        struct pair *p = pair_connected(NULL, &config);
        side_free(&p->server);
        config.seed[0] ^= 1;
        if (!same)
            config.secret[0] ^= 1;
        side_init(&p->server, &config, 2, p->now_us);
        aq_ping(p->client.ep, p->client.conn, p->now_us);
        pair_run(p, 2 * PAIR_DELAY_US + 1000);
        cr_expect_eq(p->client.closed, same);
        if (same) {
            cr_expect_eq(p->client.close.by, AQ_BY_RESET);
            cr_expect_str_eq(p->client.close.reason, "stateless reset");
            cr_expect_eq(side_stats(&p->server).resets, 1);
        }
        pair_run(p, 100000000);
        cr_expect_eq(p->client.close.by, same ? AQ_BY_RESET : AQ_BY_TIMEOUT);
        cr_expect_eq(side_stats(&p->client).conns, 0);
        expect_nothing_kept(p);
        pair_free(p);
    }
}
