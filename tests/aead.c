/* tests/aead.c -- the backends of packet protection are one cipher: whatever one seals, masks,
 * opens or refuses, the other does, to the byte; and the cache of contexts is never to be noticed.
 */
#include "crypto/aead.h"
#include "core/antq.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    LENGTH_MAX = 1500,
    BYTES = 64 + LENGTH_MAX + AEAD_TAG_SIZE
};

static uint64_t chance = 0x243f6a8885a308d3u;
static uint64_t random_u64(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance * 0x2545f4914f6cdd1du;
}
static void random_fill(uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(random_u64() >> 32);
    }
}

/* An endpoint's share: the cache and the backend. */
struct host {
    struct protect p;
    uint8_t *mem;
    size_t size;
};

static void host_open(struct host *h, const char *name, uint32_t conns)
{
    h->size = protect_size(name, conns);
    h->mem = aligned_alloc(64, (h->size + 63) & ~(size_t)63);
    cr_assert(h->mem != NULL);
    memset(h->mem, 0, h->size);
    cr_assert(protect_init(&h->p, h->mem, name, conns));
}

static void host_close(struct host *h)
{
    protect_close(&h->p);
    free(h->mem);
}

struct keys {
    struct aead_key key;
    struct hp_key hp;
};

static void keys_init(struct keys *k, struct protect *p, enum cipher cipher, const uint8_t raw[76])
{
    protect_aead_init(&k->key, cipher, raw, raw + 64);
    protect_hp_init(&k->hp, cipher, raw + 32);
    protect_aead_bind(&k->key, p);
    protect_hp_bind(&k->hp, p);
}

/* Random bytes that form a packet: a header of up to 45 bytes, a number, so much payload. */
static struct sealed packet_make(uint8_t *out, uint32_t payload)
{
    uint8_t pn_size = (uint8_t)(random_u64() % 4 + 1);
    uint16_t pn_offset = (uint16_t)(1 + random_u64() % 45);

    while (payload + pn_size < 4) {
        pn_size++;
    }
    struct sealed s = {.data = out,
                       .number = random_u64() >> 2,
                       .size = pn_offset + pn_size + payload + AEAD_TAG_SIZE,
                       .pn_offset = pn_offset,
                       .pn_size = pn_size,
                       .ok = true};
    random_fill(out, s.size);
    out[0] = (uint8_t)((out[0] & 0xfc) | (pn_size - 1));
    return s;
}

static struct sealed moved(const struct sealed *s, uint8_t *to)
{
    struct sealed copy = *s;
    memcpy(to, s->data, s->size);
    copy.data = to;
    return copy;
}

/* Opens with k what stands in place. */
static bool open_with(const struct keys *k, const struct sealed *s)
{
    struct sealed r = {.data = s->data, .size = s->size, .pn_offset = s->pn_offset};
    protect_unmask(&k->hp, &r, 1);
    if (!r.ok) {
        return false;
    }
    r.number = s->number;
    protect_open(&k->key, &r, 1);
    return r.ok;
}

/* What stands at the payload's end goes elsewhere, and noise stands in its place. */
static struct sealed with_tail(const struct sealed *s, uint8_t *to, uint8_t *tail)
{
    struct sealed split = moved(s, to);
    uint32_t header = (uint32_t)s->pn_offset + s->pn_size;
    uint32_t payload = s->size - header - AEAD_TAG_SIZE;
    split.tail_size = payload > 0 ? (uint32_t)(random_u64() % payload) + 1 : 0;
    uint8_t *from = to + header + payload - split.tail_size;
    memcpy(tail, from, split.tail_size);
    random_fill(from, split.tail_size);
    split.tail = tail;
    return split;
}

/* One packet through both: the same bytes sealed, opened by the other; altered, refused by both
 * with the same bytes left. */
static void compare(const struct keys *a, const struct keys *b, uint32_t payload)
{
    static uint8_t plain[BYTES], one[BYTES], two[BYTES], bad[2][BYTES];
    static uint8_t split[BYTES], tail[BYTES];
    struct sealed s = packet_make(plain, payload);
    struct sealed x = moved(&s, one), y = moved(&s, two), z = with_tail(&s, split, tail);

    protect_seal(&a->key, &a->hp, &x, 1);
    protect_seal(&b->key, &b->hp, &y, 1);
    protect_seal(&b->key, &b->hp, &z, 1);
    cr_assert_arr_eq(one, two, s.size, "cipher %u, %u bytes", a->key.cipher, payload);
    cr_assert_arr_eq(one, split, s.size, "cipher %u, %u bytes, %u of them elsewhere", a->key.cipher,
                     payload, z.tail_size);

    uint32_t at = (uint32_t)(random_u64() % s.size);
    struct sealed p = moved(&x, bad[0]);
    bad[0][at] ^= (uint8_t)(1u << random_u64() % 8);
    struct sealed q = moved(&p, bad[1]);
    cr_assert_not(open_with(a, &p), "cipher %u, %u bytes, byte %u", a->key.cipher, payload, at);
    cr_assert_not(open_with(b, &q));
    cr_assert_arr_eq(bad[0], bad[1], s.size, "what is left of a forged packet");

    cr_assert(open_with(b, &x));
    cr_assert(open_with(a, &y));
    cr_assert_arr_eq(one, plain, s.size - AEAD_TAG_SIZE);
    cr_assert_arr_eq(two, plain, s.size - AEAD_TAG_SIZE);
}

/* Every length from 0 to 1,500, every cipher: an unbound key (BoringSSL, no cache) and a bound one.
 */
static void compare_backend(const char *name)
{
    struct host h;
    host_open(&h, name, 1);
    for (unsigned cipher = CIPHER_AES_128_GCM; cipher <= CIPHER_CHACHA20; cipher++) {
        struct keys a, b;
        uint8_t raw[76];
        for (uint32_t payload = 0; payload <= LENGTH_MAX; payload++) {
            if (payload % 50 == 0) {
                random_fill(raw, sizeof(raw));
                keys_init(&a, NULL, (enum cipher)cipher, raw);
                keys_init(&b, &h.p, (enum cipher)cipher, raw);
            }
            compare(&a, &b, payload);
        }
    }
    host_close(&h);
}

Test(aead, boringssl_bound_is_the_same_as_unbound)
{
    compare_backend("boringssl");
}

Test(aead, ipsec_mb_is_the_same_as_boringssl)
{
    if (protect_check("ipsec-mb") != NULL) {
        cr_skip("%s", protect_check("ipsec-mb"));
    }
    compare_backend("ipsec-mb");
}

/* Batches of mixed lengths, some altered, some without a sample. */
static void compare_batches(const char *name)
{
    enum {
        N = 70
    };
    static uint8_t one[N][BYTES], two[N][BYTES];
    struct sealed x[N], y[N];
    struct host h;

    host_open(&h, name, 1);
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = round < 4 ? round : (unsigned)(random_u64() % N + 1);
        struct keys a, b;
        uint8_t raw[76];
        random_fill(raw, sizeof(raw));
        keys_init(&a, NULL, (enum cipher)(round % 3), raw);
        keys_init(&b, &h.p, (enum cipher)(round % 3), raw);
        for (unsigned i = 0; i < n; i++) {
            x[i] = packet_make(one[i], (uint32_t)(random_u64() % LENGTH_MAX));
            y[i] = moved(&x[i], two[i]);
        }
        protect_seal(&a.key, &a.hp, x, n);
        protect_seal(&b.key, &b.hp, y, n);
        for (unsigned i = 0; i < n; i++) {
            cr_assert_arr_eq(one[i], two[i], x[i].size);
            if (i % 5 == 2) {
                one[i][x[i].size - 1] = two[i][x[i].size - 1] ^= 0x10;
            }
            if (i % 7 == 3) {
                x[i].size = y[i].size = x[i].pn_offset + 19u;
            }
        }
        protect_unmask(&a.hp, x, n);
        protect_unmask(&b.hp, y, n);
        protect_open(&a.key, x, n);
        protect_open(&b.key, y, n);
        for (unsigned i = 0; i < n; i++) {
            /* the numbers were cut to what the header shows: few are whole, and open */
            cr_assert_eq(x[i].ok, y[i].ok);
            cr_assert_eq(x[i].number, y[i].number);
            cr_assert_arr_eq(one[i], two[i], x[i].size);
        }
    }
    host_close(&h);
}

Test(aead, batches)
{
    compare_batches("boringssl");
    if (protect_check("ipsec-mb") == NULL) {
        compare_batches("ipsec-mb");
    }
}

/* Far more keys than places, used in any order, some replaced meanwhile. */
static void compare_crowd(const char *name)
{
    enum {
        KEYS = 150
    };
    static struct keys a[KEYS], b[KEYS];
    struct host h;
    uint8_t raw[76];

    host_open(&h, name, 1);
    cr_assert_lt(h.p.slots, KEYS / 4);
    memset(a, 0, sizeof(a));
    memset(b, 0, sizeof(b));
    for (unsigned round = 0; round < 6000; round++) {
        unsigned i = (unsigned)(random_u64() % KEYS);
        if (!a[i].key.set || random_u64() % 16 == 0) {
            enum cipher cipher = (enum cipher)(random_u64() % 3);
            protect_aead_wipe(&b[i].key);
            protect_hp_wipe(&b[i].hp);
            random_fill(raw, sizeof(raw));
            keys_init(&a[i], NULL, cipher, raw);
            keys_init(&b[i], &h.p, cipher, raw);
        }
        compare(&a[i], &b[i], (uint32_t)(random_u64() % 100));
    }
    host_close(&h);
}

Test(aead, more_keys_than_places)
{
    compare_crowd("boringssl");
    if (protect_check("ipsec-mb") == NULL) {
        compare_crowd("ipsec-mb");
    }
}

/* So many keys in turn, each for one packet, `us` apart; returns the time. */
static uint64_t crowd_turn(struct host *h, struct keys *a, struct keys *b, unsigned count,
                           uint64_t us, uint64_t now)
{
    for (unsigned i = 0; i < count; i++) {
        compare(&a[i], &b[i], 40);
        now += us;
        protect_turn(&h->p, now);
    }
    return now;
}

/* The cache grows for who is busy, not for who is many. */
static void check_growth(const char *name)
{
    enum {
        KEYS = 100, /* those of 50 connections */
        FEW = 16,
        MOST = 256
    };
    static struct keys a[KEYS], b[KEYS];
    struct host h;
    uint8_t raw[76];
    uint64_t now = 0;

    host_open(&h, name, 1024);
    cr_assert(h.p.slots == FEW && h.p.slots_max == MOST);
    for (unsigned i = 0; i < KEYS; i++) {
        random_fill(raw, sizeof(raw));
        keys_init(&a[i], NULL, CIPHER_AES_128_GCM, raw);
        keys_init(&b[i], &h.p, CIPHER_AES_128_GCM, raw);
    }
    for (unsigned round = 0; round < 20; round++) { /* 10,000 packets a second */
        now = crowd_turn(&h, a, b, KEYS, 100, now);
    }
    cr_expect_eq(h.p.slots, FEW);
    uint8_t *beyond = (uint8_t *)h.p.aeads + FEW * (AEAD_CTX_SIZE + 64); /* not touched yet */
    for (uint8_t *at = beyond; at < (uint8_t *)h.p.hps; at++) {
        cr_assert_eq(*at, 0);
    }
    now = crowd_turn(&h, a, b, 1, 60000000, now);
    now = crowd_turn(&h, a, b, KEYS, 1, now); /* a burst after a silence */
    cr_expect_eq(h.p.slots, FEW);
    for (unsigned round = 0; round < 5000 && h.p.slots < MOST; round++) { /* 200,000 a second */
        now = crowd_turn(&h, a, b, KEYS, 5, now);
    }
    cr_expect_eq(h.p.slots, MOST);
    for (unsigned i = 0; i < 200; i++) { /* and no further */
        now = crowd_turn(&h, a, b, KEYS, 1000, now);
    }
    cr_expect_eq(h.p.slots, MOST);
    host_close(&h);
}

Test(aead, cache_grows_for_the_busy)
{
    check_growth("boringssl");
    if (protect_check("ipsec-mb") == NULL) {
        check_growth("ipsec-mb");
    }
}

static bool contains(const struct host *h, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i + size <= h->size; i++) {
        if (memcmp(h->mem + i, bytes, size) == 0) {
            return true;
        }
    }
    return false;
}

/* A wiped key leaves nothing in the cache, nor does a closed endpoint. Round keys begin with the
 * key itself, so it can be looked for. */
static void check_wiped(const char *name)
{
    for (unsigned cipher = CIPHER_AES_128_GCM; cipher <= CIPHER_CHACHA20; cipher++) {
        for (unsigned close = 0; close < 2; close++) {
            struct host h;
            struct keys k;
            uint8_t raw[76], packet[BYTES];
            size_t size = 16;
            random_fill(raw, sizeof(raw));
            host_open(&h, name, 1);
            keys_init(&k, &h.p, (enum cipher)cipher, raw);
            struct sealed s = packet_make(packet, 100);
            protect_seal(&k.key, &k.hp, &s, 1);
            cr_assert(contains(&h, raw, size), "it was there: %s %u", name, cipher);
            cr_assert(contains(&h, raw + 32, size));
            if (close) {
                protect_close(&h.p);
            } else {
                protect_aead_wipe(&k.key);
                protect_hp_wipe(&k.hp);
            }
            cr_assert_not(contains(&h, raw, size), "%s %u", name, cipher);
            cr_assert_not(contains(&h, raw + 32, size), "%s %u", name, cipher);
            host_close(&h);
        }
    }
}

Test(aead, wiped)
{
    check_wiped("boringssl");
    if (protect_check("ipsec-mb") == NULL) {
        check_wiped("ipsec-mb");
    }
}

/* A copy that is gone leaves the key it was copied from usable. */
Test(aead, copies_are_the_same_key)
{
    struct host h;
    struct keys a, b;
    uint8_t raw[76];

    random_fill(raw, sizeof(raw));
    host_open(&h, NULL, 1);
    keys_init(&a, NULL, CIPHER_AES_256_GCM, raw);
    keys_init(&b, &h.p, CIPHER_AES_256_GCM, raw);
    compare(&a, &b, 100);
    struct keys copy = b;
    compare(&a, &copy, 100);
    protect_aead_wipe(&copy.key);
    protect_hp_wipe(&copy.hp);
    compare(&a, &b, 100);
    host_close(&h);
}

Test(aead, names)
{
    struct host h;

    cr_assert_null(protect_check(NULL));
    cr_assert_null(protect_check("auto"));
    cr_assert_null(protect_check("boringssl"));
    cr_assert_str_eq(protect_check("openssl"), "aead must be auto, boringssl or ipsec-mb");
    cr_assert_str_eq(protect_check(""), "aead must be auto, boringssl or ipsec-mb");
    host_open(&h, "boringssl", 10);
    cr_assert_str_eq(protect_name(&h.p), "boringssl");
    host_close(&h);
    /* auto takes the faster one where there is one */
    const char *fast = protect_check("ipsec-mb") == NULL ? "ipsec-mb" : "boringssl";
    host_open(&h, "auto", 10);
    cr_assert_str_eq(protect_name(&h.p), fast);
    host_close(&h);
#ifdef HAVE_IPSEC_MB
    const char *why = protect_check("ipsec-mb");
    cr_assert(why == NULL || strstr(why, "AES-NI") != NULL);
#else
    cr_assert_str_eq(protect_check("ipsec-mb"), "aead: this antq was built without ipsec-mb");
#endif
}

Test(aead, config_names_the_backend)
{
    struct aq_config config;

    aq_config_init(&config);
    config.seed[0] = 1;
    config.max_conns = config.max_half_open = 4;
    cr_assert_null(config.aead);
    cr_assert_null(aq_config_check(&config));
    config.aead = "nonsense";
    cr_assert_str_eq(aq_config_check(&config), "aead must be auto, boringssl or ipsec-mb");
    cr_assert_eq(aq_endpoint_size(&config), 0);
    config.aead = "ipsec-mb";
    const char *why = protect_check("ipsec-mb");
    cr_assert_eq(aq_config_check(&config), why, "an explicit wish is not set aside in silence");
    cr_assert_eq(aq_endpoint_size(&config) != 0, why == NULL);
    for (unsigned i = 0; i < 2; i++) {
        config.aead = i == 0 || why != NULL ? "boringssl" : "ipsec-mb";
        size_t size = aq_endpoint_size(&config);
        void *mem = aligned_alloc(64, (size + 63) & ~(size_t)63);
        cr_assert(mem != NULL);
        memset(mem, 0, size);
        struct aq_endpoint *ep = aq_endpoint_init(mem, size, &config, 0);
        cr_assert(ep != NULL);
        cr_assert_str_eq(aq_endpoint_aead(ep), config.aead);
        aq_endpoint_close(ep);
        free(mem);
    }
}
