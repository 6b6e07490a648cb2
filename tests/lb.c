/* tests/lb.c -- connection ids of other sizes, and such as load balancers read
 * (draft-ietf-quic-load-balancers). */
#include "core/lb.h"
#include "core/endpoint.h"
#include "core/packet.h"
#include "tests/hex.h"
#include "tests/stranger.h"

/* ---- the draft's examples -------------------------------------------------------------------- */

/* draft-ietf-quic-load-balancers §5.4.1, draft-ietf-quic-load-balancers §5.4.2, Appendix B, and the
 * example in §5.4.2. First bytes as in draft-ietf-quic-load-balancers §3. The draft's second sample
 * without a key is left out: half a byte is missing in it. */
static const struct {
    const char *key;
    uint8_t config_id;
    const char *server_id, *nonce, *cid;
} samples[] = {
    {NULL, 0, "c4605e", "4504cc4f", "07c4605e4504cc4f"},
    {"8f95f09245765f80256934e50c66207f", 0, "ed793a", "ee080dbf", "0720b1d07b359d3c"},
    {"8f95f09245765f80256934e50c66207f", 1, "ed793a51d49b8f5fab65", "ee080dbf48",
     "2fcc381bc74cb4fbad2823a3d1f8fed2"},
    {"8f95f09245765f80256934e50c66207f", 2, "ed793a51d49b8f5f", "ee080dbf48c0d1e5",
     "504dd2d05a7b0de9b2b9907afb5ecf8cc3"},
    {"8f95f09245765f80256934e50c66207f", 3, "ed793a51d49b8f5fab", "ee080dbf48c0d1e55d",
     "125779c9cc86beb3a3a4a3ca96fce4bfe0cdbc"},
    {"fdf726a9893ec05c0632d3956680baf0", 0, "31441a", "9c69c275", "0767947d29be054a"},
};

Test(lb, samples)
{
    for (unsigned i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct aq_lb_config config = {.mode = AQ_LB_PLAIN, .config_id = samples[i].config_id};
        struct lb lb;
        uint8_t cid[CID_MAX], expected[CID_MAX], plain[CID_MAX];
        uint8_t id_size = (uint8_t)hex_bytes(samples[i].server_id, config.server_id, 11);
        config.server_id_size = id_size;
        if (samples[i].key) {
            config.mode = AQ_LB_ENCRYPTED;
            hex_bytes(samples[i].key, config.key, 16);
        }
        size_t nonce_size =
            hex_bytes(samples[i].nonce, cid + 1 + id_size, sizeof cid - 1U - id_size);
        unsigned size = (unsigned)(1U + id_size + nonce_size);
        memcpy(plain + 1 + id_size, cid + 1 + id_size, nonce_size);
        memcpy(plain + 1, config.server_id, id_size);
        cr_assert_eq(hex_bytes(samples[i].cid, expected, sizeof expected), size, "sample %u", i);
        lb_init(&lb, &config);
        lb_wrap(&lb, cid, size);
        /* The draft's sample of 18 bytes has config id 0 in its first byte, not 3. */
        cr_expect_eq(cid[0], (unsigned)config.config_id << 5 | (size - 1));
        cr_expect_arr_eq(cid + 1, expected + 1, size - 1, "sample %u", i);
        cr_expect(lb_unwrap(&lb, cid, size), "sample %u", i);
        cr_expect_arr_eq(cid + 1, plain + 1, size - 1, "sample %u", i);
    }
}

/* Every size, both ways; each byte of the plain text changes the ciphertext's both halves. */
Test(lb, sizes)
{
    struct block_key key;
    prim_block_init(&key, (const uint8_t *)"0123456789abcdef");
    for (unsigned size = 5; size <= 19; size++) {
        uint8_t plain[19], first[19], bytes[19];
        for (unsigned i = 0; i < size; i++)
            plain[i] = (uint8_t)(17 * i + size);
        memcpy(first, plain, size);
        lb_encrypt(&key, first, size);
        memcpy(bytes, first, size);
        lb_decrypt(&key, bytes, size);
        cr_expect_arr_eq(bytes, plain, size, "%u", size);
        for (unsigned i = 0; i < size; i++) {
            memcpy(bytes, plain, size);
            bytes[i] ^= 0x11;
            lb_encrypt(&key, bytes, size);
            cr_expect(memcmp(bytes, first, size / 2)
                          && memcmp(bytes + size / 2, first + size / 2, size / 2),
                      "%u %u", size, i);
        }
    }
}

/* ---- our ids --------------------------------------------------------------------------------- */

struct layout {
    uint8_t size;
    enum aq_lb_mode mode;
    uint8_t server_id_size;
};
static const struct layout layouts[] = {
    {8, AQ_LB_OFF, 0},        {9, AQ_LB_OFF, 0},        {16, AQ_LB_OFF, 0},
    {20, AQ_LB_OFF, 0},       {10, AQ_LB_PLAIN, 1},     {20, AQ_LB_PLAIN, 11},
    {12, AQ_LB_PLAIN, 2},     {10, AQ_LB_ENCRYPTED, 1}, {17, AQ_LB_ENCRYPTED, 3},
    {17, AQ_LB_ENCRYPTED, 8}, {16, AQ_LB_ENCRYPTED, 2}, {20, AQ_LB_ENCRYPTED, 11},
};
enum {
    LAYOUTS = sizeof layouts / sizeof *layouts
};

static void set_layout(struct aq_config *config, const struct layout *l)
{
    config->cid_size = l->size;
    config->lb = (struct aq_lb_config){.mode = l->mode,
                                       .config_id = 5,
                                       .server_id_size = l->server_id_size,
                                       .server_id = "\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0",
                                       .key = "the balancers'"};
    memset(config->secret, 0x77, sizeof config->secret);
}

static void key_of(struct cid_key *key, const struct layout *l)
{
    struct aq_config config;
    aq_config_init(&config);
    set_layout(&config, l);
    cid_key_init(key, config.secret);
    cid_key_layout(key, l->size, &config.lb);
}

/* RFC 9000 §5.1, draft-ietf-quic-load-balancers §5.4: an id is read as it was written; no two are the same, nor have they anything in
 * common that the load balancer does not need; their reset tokens depend on all their bytes. */
Test(lb, ids)
{
    for (unsigned i = 0; i < LAYOUTS; i++) {
        struct cid_key key;
        struct cid before = {0};
        uint8_t token[16], other[16];
        unsigned same = 0, from = layouts[i].mode == AQ_LB_OFF     ? 0
                                  : layouts[i].mode == AQ_LB_PLAIN ? 1U + layouts[i].server_id_size
                                                                   : 1;
        key_of(&key, &layouts[i]);
        for (uint16_t seq = 0; seq < 64; seq++) {
            struct cid_fields f = {.epoch = 7,
                                   .worker = 3,
                                   .slot = 77,
                                   .generation = 9,
                                   .seq = seq},
                              g;
            struct cid cid;
            cid_encode(&key, &f, &cid);
            cr_assert_eq(cid.size, layouts[i].size);
            cr_expect(cid_decode(&key, cid.bytes, &g));
            cr_expect(g.epoch == 7 && g.worker == 3 && g.slot == 77 && g.generation == 9
                          && g.seq == seq,
                      "layout %u", i);
            for (unsigned k = from; seq && k < cid.size; k++)
                same += cid.bytes[k] == before.bytes[k];
            before = cid;
        }
        cr_expect_leq(same, 16, "layout %u: %u bytes repeated", i, same);
        cid_reset_token(&key, &before, token);
        for (unsigned k = 0; k < before.size; k++) {
            before.bytes[k] ^= 1;
            cid_reset_token(&key, &before, other);
            cr_expect(memcmp(token, other, 16) != 0, "layout %u byte %u", i, k);
            before.bytes[k] ^= 1;
        }
    }
}

/* What a load balancer sees of each datagram to the server: false, if it cannot tell whose it is.
 */
static bool balanced(const struct pair_datagram *d, const struct layout *l)
{
    struct aq_config config;
    struct packet_head h;
    struct lb lb;
    set_layout(&config, l);
    lb_init(&lb, &config.lb);
    return packet_parse_greased(d->data, d->size, l->size, &h) == AQ_OK && h.dcid.size == l->size
           && lb_unwrap(&lb, h.dcid.bytes, h.dcid.size);
}

/* Whole connections with ids of every layout at both ends; after its first flight all that a client
 * sends can be balanced, a Retry's id included. */
Test(lb, connections)
{
    for (unsigned i = 0; i < 2 * LAYOUTS; i++) {
        const struct layout *l = &layouts[i / 2];
        struct aq_config client, server;
        struct pair_datagram d;
        unsigned routed = 0, first = 0;
        pair_config(&client, false);
        pair_config(&server, true);
        set_layout(&client, &layouts[LAYOUTS - 1 - i / 2]);
        set_layout(&server, l);
        server.retry = i & 1 ? AQ_RETRY_ALWAYS : AQ_RETRY_NEVER;
        struct pair *p = pair_new(&client, &server);
        pair_dial(p);
        for (unsigned turn = 0; turn < 40; turn++) {
            if (turn > 20)
                aq_ping(p->client.ep, p->client.conn, p->now_us);
            side_turn(&p->client, p->now_us);
            while (side_take(&p->client, &d)) {
                bool ok = balanced(&d, l);
                routed += ok;
                first += !ok;
                side_recv(&p->server, &p->client.addr, d.data, d.size, p->now_us);
            }
            side_turn(&p->server, p->now_us);
            while (side_take(&p->server, &d))
                side_recv(&p->client, &p->server.addr, d.data, d.size, p->now_us);
            p->now_us += PAIR_DELAY_US;
        }
        cr_assert_eq(side_count(&p->client, AQ_EVENT_CONFIRMED), 1, "layout %u", i);
        cr_expect_eq(side_stats(&p->server).retries, i & 1);
        cr_expect_eq(
            side_stats(&p->server).drop_unknown_cid + side_stats(&p->client).drop_unknown_cid, 0);
        if (l->mode != AQ_LB_OFF)
            cr_expect(routed > 15 && first <= 2, "layout %u: %u and %u", i, routed, first);
        pair_free(p);
    }
}

/* RFC 9000 §10.3: with ids of every size a restarted server resets, by a datagram that is smaller
 * than the one it answers and no smaller than 21 bytes; RFC 9000 §21.11, the draft's "Stateless
 * Reset Oracle": not for the id of another server. */
Test(lb, resets)
{
    for (unsigned i = 0; i < 2 * LAYOUTS; i++) {
        const struct layout *l = &layouts[i / 2];
        struct aq_config config;
        struct pair_datagram d;
        pair_config(&config, true);
        set_layout(&config, l);
        struct pair *p = pair_connected(NULL, &config);
        side_free(&p->server);
        config.seed[0] ^= 1;
        if (i & 1)
            config.lb.server_id[0] ^= 1;
        bool resets = !(i & 1) || l->mode == AQ_LB_OFF;
        side_init(&p->server, &config, 2, p->now_us);
        aq_ping(p->client.ep, p->client.conn, p->now_us);
        side_turn(&p->client, p->now_us);
        cr_assert(side_take(&p->client, &d));
        cr_expect_geq(d.size, 22U + 8U);
        give(p, &p->client.addr, d.data, d.size);
        cr_expect_eq(p->server.outs, resets, "layout %u", i);
        if (resets) {
            cr_expect(p->server.out[0].size < d.size && p->server.out[0].size >= 21);
            pair_run(p, 2 * PAIR_DELAY_US);
            cr_expect(p->client.closed && p->client.close.by == AQ_BY_RESET, "layout %u", i);
        }
        pair_free(p);
    }
}

/* RFC 9000 §10.3: what an endpoint with long ids sends is large enough to be reset. */
Test(lb, packets_large_enough)
{
    struct aq_config config;
    struct pair_datagram d;
    pair_config(&config, false);
    config.cid_size = 20;
    struct pair *p = pair_connected(&config, NULL);
    p->client.outs = 0;
    aq_ping(p->client.ep, p->client.conn, p->now_us);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    cr_expect_geq(d.size, 22 + 20);
    pair_free(p);
}

/* draft-ietf-quic-load-balancers §3.1, draft-ietf-quic-load-balancers §5.2, RFC 9000 §17.2. */
Test(lb, config)
{
    static const struct {
        uint8_t size, mode, config_id, server_id_size;
        bool good;
    } rows[] = {
        {7, 0, 0, 0, false},  {8, 0, 0, 0, true},   {20, 0, 0, 0, true},   {21, 0, 0, 0, false},
        {10, 1, 0, 1, true},  {10, 1, 0, 0, false}, {10, 1, 0, 2, false},  {9, 1, 0, 1, false},
        {20, 2, 6, 11, true}, {20, 2, 7, 1, false}, {20, 2, 0, 12, false}, {20, 3, 0, 1, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct aq_config config;
        pair_config(&config, false);
        config.cid_size = rows[i].size;
        config.lb.mode = (enum aq_lb_mode)rows[i].mode;
        config.lb.config_id = rows[i].config_id;
        config.lb.server_id_size = rows[i].server_id_size;
        cr_expect_eq(aq_config_check(&config) == NULL, rows[i].good, "row %u", i);
    }
}
