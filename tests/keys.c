/* keys.c -- 1-RTT keys: two endpoints' keys against each other through updates, and what must be
 * refused (RFC 9001 §6). */
#include "core/keys.h"
#include "core/packet.h"

#include <criterion/criterion.h>
#include <string.h>

struct ends {
    struct keys_app a, b;
};

static struct secret secret_of(uint8_t fill)
{
    struct secret s = {.size = 32, .cipher = CIPHER_AES_128_GCM};
    memset(s.bytes, fill, sizeof s.bytes);
    return s;
}

static struct ends ends_new(void)
{
    struct ends e;
    struct secret one = secret_of(1), two = secret_of(2);
    memset(&e, 0, sizeof e);
    keys_set_tx(&e.a, QUIC_V1, &one);
    keys_set_rx(&e.a, QUIC_V1, &two);
    keys_set_tx(&e.b, QUIC_V1, &two);
    keys_set_rx(&e.b, QUIC_V1, &one);
    return e;
}

struct packet {
    uint8_t data[64];
    struct sealed s;
    bool phase;
};

static struct packet seal(const struct keys_app *k, uint64_t number)
{
    struct packet p;
    memset(&p, 0, sizeof p);
    p.phase = k->tx_phase & 1;
    p.data[0] = (uint8_t)(0x43 | (p.phase ? 4 : 0));
    for (unsigned i = 0; i < 4; i++)
        p.data[9 + i] = (uint8_t)(number >> (24 - 8 * i));
    memset(p.data + 13, 0x5a, 20);
    p.s = (struct sealed){.number = number, .size = 49, .pn_offset = 9, .pn_size = 4, .ok = true};
    p.s.data = p.data;
    protect_seal(&k->tx, &k->tx_hp, &p.s, 1);
    return p;
}

/* As recv.c does it: unmask, choose the key by the phase bit, open, tell. AQ_DROPPED: it does
 * not open. */
static int receive(struct keys_app *k, const struct packet *sent, bool *updated)
{
    struct packet p = *sent;
    uint64_t number = p.s.number;
    *updated = false;
    p.s.data = p.data;
    p.s.pn_size = 0;
    protect_unmask(&k->rx_hp, &p.s, 1);
    cr_assert(p.s.ok && p.s.pn_size == 4);
    p.s.number = number;
    const struct aead_key *key = keys_for(k, (p.data[0] & 4) != 0);
    if (!key)
        return AQ_DROPPED;
    protect_open(key, &p.s, 1);
    return p.s.ok ? keys_on_opened(k, (p.data[0] & 4) != 0, number, updated) : AQ_DROPPED;
}

static void expect_received(struct keys_app *to, const struct packet *p, bool expect_update)
{
    bool updated;
    cr_expect_eq(receive(to, p, &updated), AQ_OK);
    cr_expect_eq(updated, expect_update);
}

/* RFC 9001 §6.3: the next read key is there before it is needed; nothing is before the keys are. */
Test(keys, first)
{
    struct ends e = ends_new();
    struct keys_app none = {0};
    cr_expect_null(keys_for(&none, false));
    cr_expect_null(keys_for(&none, true));
    cr_expect_eq(keys_for(&e.a, false), &e.a.rx);
    cr_expect_eq(keys_for(&e.a, true), &e.a.other);
    cr_expect(e.a.other_set && e.a.other_is_next);
    struct packet p = seal(&e.a, 0);
    expect_received(&e.b, &p, false);
    p = seal(&e.b, 0);
    expect_received(&e.a, &p, false);
}

/* RFC 9001 §6.1, §6.2: one begins, the other follows with its own keys; the bit goes to 1 and
 * back to 0, many times. */
Test(keys, update_and_follow)
{
    struct ends e = ends_new();
    uint64_t n = 1;
    for (unsigned round = 1; round <= 5; round++) {
        struct keys_app *from = round & 1 ? &e.a : &e.b, *to = round & 1 ? &e.b : &e.a;
        struct packet p = seal(from, n++);
        expect_received(to, &p, false);
        cr_expect_not(keys_can_update(from),
                      "RFC 9001 §6.1: nothing of this phase was acknowledged");
        from->phase_acked = true;
        cr_assert(keys_can_update(from));
        from->tx_count = 77;
        keys_update(from);
        cr_expect_eq(from->tx_phase, round);
        cr_expect_eq(from->rx_phase, round - 1);
        cr_expect_eq(from->tx_count, 0, "RFC 9001 §6.6: the limit is that of a key");
        cr_expect_not(keys_can_update(from), "RFC 9001 §6.1: not twice");
        p = seal(from, n++);
        cr_expect_eq(p.phase, round & 1);
        expect_received(to, &p, true);
        cr_expect(to->tx_phase == round && to->rx_phase == round,
                  "RFC 9001 §6.2: it answers under new keys");
        p = seal(to, n++);
        cr_expect_eq(p.phase, round & 1);
        expect_received(from, &p, true);
        cr_expect(from->tx_phase == round && from->rx_phase == round);
        from->phase_acked = to->phase_acked = true;
        cr_expect_not(keys_can_update(from), "RFC 9001 §6.5: previous keys are still kept");
        keys_forget_previous(from);
        keys_forget_previous(to);
        cr_expect(keys_can_update(from) && keys_can_update(to));
        from->phase_acked = to->phase_acked = false;
    }
}

/* RFC 9001 §6.5: packets of before the update that come late still open, until the old keys go. */
Test(keys, late_packets)
{
    struct ends e = ends_new();
    bool updated;
    struct packet first = seal(&e.a, 1), late = seal(&e.a, 2), later = seal(&e.a, 3);
    expect_received(&e.b, &first, false);
    e.a.phase_acked = true;
    keys_update(&e.a);
    struct packet p = seal(&e.a, 4);
    expect_received(&e.b, &p, true);
    expect_received(&e.b, &late, false);
    keys_forget_previous(&e.b);
    cr_expect_eq(receive(&e.b, &later, &updated), AQ_DROPPED);
    cr_expect_eq(e.b.rx_phase, 1);
    keys_forget_previous(&e.b); /* again: nothing */
    p = seal(&e.a, 5);
    expect_received(&e.b, &p, false);
}

/* RFC 9001 §6.4: an old key for a number above one of a newer key. The number counts, not the
 * order of arrival. */
Test(keys, old_key_for_newer_number)
{
    static const struct {
        uint64_t first_new, old;
        int expect;
    } rows[] = {
        {10, 9, AQ_OK},
        {10, 11, AQ_KEY_UPDATE_ERROR},
        {10, 1000, AQ_KEY_UPDATE_ERROR},
        {10, 0, AQ_OK},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ends e = ends_new();
        bool updated;
        struct packet old = seal(&e.a, rows[i].old), p;
        e.a.phase_acked = true;
        keys_update(&e.a);
        p = seal(&e.a, 20);
        expect_received(&e.b, &p, true);
        p = seal(&e.a, rows[i].first_new); /* reordered: the lowest of the phase is lower */
        expect_received(&e.b, &p, false);
        cr_expect_eq(receive(&e.b, &old, &updated), rows[i].expect, "row %u", i);
        cr_expect_not(updated);
    }
}

/* RFC 9001 §6.3: a forged phase bit changes nothing: the packet does not open. RFC 9001 §5.5: it is
 * dropped. */
Test(keys, forged_phase)
{
    struct ends e = ends_new();
    bool updated;
    struct packet p = seal(&e.a, 1);
    p.data[0] ^= 4; /* under header protection a flip is a flip */
    cr_expect_eq(receive(&e.b, &p, &updated), AQ_DROPPED);
    cr_expect_eq(e.b.rx_phase, 0);
    cr_expect_eq(e.b.tx_phase, 0);
}

/* RFC 9001 §6.1: header protection keys stay as they are; §5.1: packet keys do not. */
Test(keys, header_protection_stays)
{
    struct ends e = ends_new();
    struct hp_key hp = e.a.tx_hp;
    struct aead_key tx = e.a.tx;
    e.a.phase_acked = true;
    keys_update(&e.a);
    cr_expect(memcmp(&hp, &e.a.tx_hp, sizeof hp) == 0);
    cr_expect(memcmp(tx.iv, e.a.tx.iv, sizeof tx.iv) != 0);
}

/* Both begin at the same time: each takes the other's packet as the answer, and both go on. */
Test(keys, both_begin)
{
    struct ends e = ends_new();
    e.a.phase_acked = e.b.phase_acked = true;
    keys_update(&e.a);
    keys_update(&e.b);
    struct packet to_b = seal(&e.a, 1), to_a = seal(&e.b, 1);
    expect_received(&e.b, &to_b, true);
    expect_received(&e.a, &to_a, true);
    cr_expect(e.a.tx_phase == 1 && e.a.rx_phase == 1 && e.b.tx_phase == 1 && e.b.rx_phase == 1);
    to_b = seal(&e.a, 2);
    expect_received(&e.b, &to_b, false);
}

/* Wiped means that no byte of a key is left. */
Test(keys, wipe)
{
    static const struct keys_app zero;
    struct ends e = ends_new();
    keys_wipe(&e.a);
    cr_expect(memcmp(&e.a.tx_next, &zero.tx_next, sizeof zero.tx_next) == 0);
    cr_expect(memcmp(e.a.tx.raw, zero.tx.raw, sizeof zero.tx.raw) == 0);
    cr_expect(memcmp(e.a.other.raw, zero.other.raw, sizeof zero.other.raw) == 0);
    cr_expect(memcmp(e.a.rx_hp.raw, zero.rx_hp.raw, sizeof zero.rx_hp.raw) == 0);
    cr_expect_null(keys_for(&e.a, false));
}
