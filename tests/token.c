/* token.c -- address validation tokens: what they bind, how long they hold, and that nothing
 * else opens. */
#include "core/token.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t seed[32] = {1, 2, 3}, secret[32] = {4, 5, 6}, secret2[32] = {7},
                     secret3[32] = {8};
static const struct aq_addr home = {.ip = {192, 0, 2, 1}, .port = 443, .family = 4};

struct made {
    struct rng rng;
    struct token_key key;
    uint8_t bytes[TOKEN_SIZE];
};

static struct made make(enum token_kind kind, const struct aq_addr *remote)
{
    struct made m;
    struct token t = {.kind = kind, .time_s = 1000000};
    rng_init(&m.rng, seed);
    token_key_init(&m.key, secret);
    if (kind == TOKEN_RETRY) {
        t.odcid = (struct cid){.size = 20, .bytes = "0123456789abcdefghi"};
        t.retry_scid = (struct cid){.size = 8, .bytes = "retry id"};
    }
    token_make(&m.key, &t, remote, &m.rng, m.bytes);
    return m;
}

static bool opens(const struct made *m, const struct aq_addr *remote, uint64_t time_s)
{
    struct token t;
    return token_open(&m->key, m->bytes, TOKEN_SIZE, remote, &t, time_s);
}

/* RFC 9000 §8.1.2: a Retry's token gives back both connection ids (§7.3 needs them) and its
 * time. */
Test(token, retry_round)
{
    struct made m = make(TOKEN_RETRY, &home);
    struct token t;
    cr_assert(token_open(&m.key, m.bytes, TOKEN_SIZE, &home, &t, 1000000));
    cr_expect_eq(t.kind, TOKEN_RETRY);
    cr_expect_eq(t.time_s, 1000000);
    cr_expect(t.odcid.size == 20 && memcmp(t.odcid.bytes, "0123456789abcdefghi", 20) == 0);
    cr_expect(t.retry_scid.size == 8 && memcmp(t.retry_scid.bytes, "retry id", 8) == 0);
    cr_expect(token_is_retry(m.bytes, TOKEN_SIZE));
}

/* RFC 9000 §8.1.3: a token of NEW_TOKEN is another kind; servers must be able to tell them
 * apart. RFC 9000 §8.1.1 */
Test(token, kinds)
{
    struct made m = make(TOKEN_NEW, &home);
    struct token t;
    cr_assert(token_open(&m.key, m.bytes, TOKEN_SIZE, &home, &t, 1000000));
    cr_expect_eq(t.kind, TOKEN_NEW);
    cr_expect(t.odcid.size == 0 && t.retry_scid.size == 0);
    cr_expect_not(token_is_retry(m.bytes, TOKEN_SIZE));
    m.bytes[0] = TOKEN_RETRY; /* one never passes for the other */
    cr_expect_not(opens(&m, &home, 1000000));
    m = make(TOKEN_RETRY, &home);
    m.bytes[0] = TOKEN_NEW;
    cr_expect_not(opens(&m, &home, 1000000));
}

/* RFC 9000 §8.1.4: a Retry's token holds for address and port, one of NEW_TOKEN for the address
 * alone: the next connection comes from another port. */
Test(token, binds_the_address)
{
    static const struct {
        struct aq_addr from;
        bool retry, fresh;
    } rows[] = {
        {{.ip = {192, 0, 2, 1}, .port = 443, .family = 4}, true, true},
        {{.ip = {192, 0, 2, 1}, .port = 444, .family = 4}, false, true},
        {{.ip = {192, 0, 2, 2}, .port = 443, .family = 4}, false, false},
        {{.ip = {192, 0, 2, 1}, .port = 443, .family = 6}, false, false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m = make(TOKEN_RETRY, &home);
        cr_expect_eq(opens(&m, &rows[i].from, 1000000), rows[i].retry, "row %u", i);
        m = make(TOKEN_NEW, &home);
        cr_expect_eq(opens(&m, &rows[i].from, 1000000), rows[i].fresh, "row %u", i);
    }
    struct aq_addr six = {.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 443, .family = 6},
                   other = six;
    other.ip[15] = 2;
    struct made m = make(TOKEN_NEW, &six);
    cr_expect(opens(&m, &six, 1000000));
    cr_expect_not(opens(&m, &other, 1000000));
}

/* RFC 9000 §8.1.3: tokens expire, a Retry's soon; a clock that went back a little does no harm. */
Test(token, expires)
{
    struct made m = make(TOKEN_RETRY, &home);
    cr_expect(opens(&m, &home, 1000000 + TOKEN_RETRY_LIFE_S));
    cr_expect_not(opens(&m, &home, 1000000 + TOKEN_RETRY_LIFE_S + 1));
    cr_expect(opens(&m, &home, 999999));
    m = make(TOKEN_NEW, &home);
    cr_expect(opens(&m, &home, 1000000 + TOKEN_NEW_LIFE_S));
    cr_expect_not(opens(&m, &home, 1000000 + TOKEN_NEW_LIFE_S + 1));
}

/* RFC 9000 §8.1.4: nobody else can make one, or change one: each bit counts. */
Test(token, no_bit_may_change)
{
    static const enum token_kind kinds[] = {TOKEN_RETRY, TOKEN_NEW};
    for (unsigned k = 0; k < 2; k++) {
        struct made m = make(kinds[k], &home);
        for (unsigned bit = 0; bit < TOKEN_SIZE * 8; bit++) {
            m.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_expect_not(opens(&m, &home, 1000000), "bit %u", bit);
            m.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        cr_expect(opens(&m, &home, 1000000));
    }
}

/* The length is looked at first. */
Test(token, no_other_length)
{
    struct made m = make(TOKEN_RETRY, &home);
    uint8_t longer[TOKEN_SIZE + 1] = {0};
    struct token t;
    memcpy(longer, m.bytes, TOKEN_SIZE);
    for (size_t size = 0; size <= sizeof longer; size++) {
        cr_expect_eq(token_open(&m.key, longer, size, &home, &t, 1000000), size == TOKEN_SIZE);
        cr_expect_eq(token_is_retry(longer, size), size == TOKEN_SIZE);
    }
}

/* RFC 9000 §8.1.4: the same again looks unlike: a token cannot be used to link two connections. */
Test(token, never_twice_the_same)
{
    struct made m = make(TOKEN_NEW, &home);
    struct token t = {.kind = TOKEN_NEW, .time_s = 1000000};
    uint8_t second[TOKEN_SIZE];
    token_make(&m.key, &t, &home, &m.rng, second);
    cr_expect(memcmp(m.bytes + 1, second + 1, 12) != 0);
    cr_expect(memcmp(m.bytes + 13, second + 13, TOKEN_PLAIN) != 0);
}

/* The secret before the present one still opens; the one before that does not, and new ones are
 * of the present one. */
Test(token, rotation)
{
    struct made m = make(TOKEN_RETRY, &home);
    struct token t = {.kind = TOKEN_NEW, .time_s = 1000000};
    struct token_key second;
    uint8_t bytes[TOKEN_SIZE];
    token_key_rotate(&m.key, secret2);
    cr_expect(opens(&m, &home, 1000000));
    token_make(&m.key, &t, &home, &m.rng, bytes);
    token_key_init(&second, secret2);
    cr_expect(token_open(&second, bytes, TOKEN_SIZE, &home, &t, 1000000));
    token_key_rotate(&m.key, secret3);
    cr_expect_not(opens(&m, &home, 1000000));
    cr_expect(token_open(&m.key, bytes, TOKEN_SIZE, &home, &t, 1000000));
}
