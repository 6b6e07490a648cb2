/* cid.c -- connection ids both ways: encrypted slots, reset tokens, issuing, retiring, and the
 * peer's table. */
#include "core/cid.h"

#include <criterion/criterion.h>
#include <string.h>

static struct cid_key key_of(uint8_t fill)
{
    struct cid_key key;
    uint8_t secret[32];
    memset(secret, fill, sizeof secret);
    cid_key_init(&key, secret);
    return key;
}

static struct cid cid_of(uint8_t fill)
{
    struct cid cid = {.size = 8};
    memset(cid.bytes, fill, 8);
    return cid;
}

static const uint8_t *token_of(uint8_t fill)
{
    static uint8_t token[RESET_TOKEN_SIZE];
    memset(token, fill, sizeof token);
    return token;
}

/* ---- ours, as bytes -------------------------------------------------------------------------- */

/* RFC 9000 §5.1: an id finds its connection; each field at both ends of its range, all ways
 * round. */
Test(cid, encode_decode)
{
    static const struct cid_fields rows[] = {
        {0, 0, 0, 0, 0},
        {4095, 63, 16383, 4095, CID_SLOTS_MAX - 1},
        {1, 0, 0, 0, 0},
        {0, 1, 0, 0, 0},
        {0, 0, 1, 0, 0},
        {0, 0, 0, 1, 0},
        {0, 0, 0, 0, 1},
        {2748, 42, 9999, 77, 123456},
        {0x800, 0x20, 0x2000, 0x800, 0x80000},
    };
    struct cid_key key = key_of(1);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cid cid;
        struct cid_fields f;
        cid_encode(&key, &rows[i], &cid);
        cr_expect_eq(cid.size, CID_SIZE);
        cid_decode(&key, cid.bytes, &f);
        cr_expect(f.epoch == rows[i].epoch && f.worker == rows[i].worker
                      && f.generation == rows[i].generation && f.seq == rows[i].seq
                      && f.slot == rows[i].slot,
                  "row %u", i);
    }
}

/* RFC 9000 §5.1: ids of one connection must not be linkable: neighbours share about as many bits
 * as strangers do, and no two are the same. */
Test(cid, neighbours_look_unrelated)
{
    struct cid_key key = key_of(2), other_key = key_of(3);
    struct cid before = {0};
    unsigned bits = 0;
    for (uint16_t seq = 0; seq < 256; seq++) {
        struct cid cid, other;
        struct cid_fields f = {.epoch = 9, .worker = 1, .generation = 4, .slot = 100, .seq = seq};
        cid_encode(&key, &f, &cid);
        cid_encode(&other_key, &f, &other);
        cr_expect_not(cid_equal(&cid, &other));
        cr_expect_not(cid_equal(&cid, &before));
        for (unsigned i = 0; seq && i < 8; i++)
            bits += (unsigned)__builtin_popcount((unsigned)(cid.bytes[i] ^ before.bytes[i]));
        before = cid;
    }
    cr_expect(bits > 255 * 32 - 700 && bits < 255 * 32 + 700, "%u of %u bits differ", bits,
              255 * 64);
}

/* A changed bit leads elsewhere: to fields that are almost surely not those of a connection. */
Test(cid, decode_of_changed)
{
    struct cid_key key = key_of(4);
    struct cid_fields f = {.epoch = 7, .worker = 3, .generation = 2, .slot = 5, .seq = 1}, g;
    struct cid cid;
    cid_encode(&key, &f, &cid);
    for (unsigned bit = 0; bit < 64; bit++) {
        cid.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cid_decode(&key, cid.bytes, &g);
        cr_expect(g.epoch != f.epoch || g.worker != f.worker || g.generation != f.generation
                  || g.slot != f.slot || g.seq != f.seq);
        cid.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

/* RFC 9000 §10.3.2: a function of id and secret, not of anything remembered. */
Test(cid, reset_token)
{
    struct cid_key a = key_of(5), b = key_of(5), c = key_of(6);
    struct cid one = cid_of(1), two = cid_of(2);
    uint8_t t[4][RESET_TOKEN_SIZE];
    cid_reset_token(&a, &one, t[0]);
    cid_reset_token(&b, &one, t[1]);
    cid_reset_token(&a, &two, t[2]);
    cid_reset_token(&c, &one, t[3]);
    cr_expect(memcmp(t[0], t[1], RESET_TOKEN_SIZE) == 0);
    cr_expect(memcmp(t[0], t[2], RESET_TOKEN_SIZE) != 0);
    cr_expect(memcmp(t[0], t[3], RESET_TOKEN_SIZE) != 0);
}

/* ---- ours, issued and retired ---------------------------------------------------------------- */

static unsigned issue_all(struct cid_local *l)
{
    uint16_t seq, expected = 0;
    unsigned n = 0;
    while (cid_local_next(l, &seq)) {
        cr_assert(n == 0 || seq == expected);
        expected = (uint16_t)(seq + 1);
        cid_local_told(l, seq);
        n++;
    }
    return n;
}

/* RFC 9000 §5.1.1: as many as the peer will store, and not more than we ever give. */
Test(cid, open_by_limit)
{
    static const struct {
        uint64_t limit;
        unsigned issued;
    } rows[] = {
        {2, 1}, {3, 2}, {8, 7}, {16, 15}, {17, 15}, {UINT64_C(1) << 61, 15},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cid_local l;
        uint16_t seq;
        cid_local_init(&l);
        cr_expect(cid_local_is_active(&l, 0));
        cr_expect_not(cid_local_is_active(&l, 1));
        cr_expect_not(cid_local_next(&l, &seq), "nothing before the peer's limit is known");
        cid_local_open(&l, rows[i].limit);
        cr_expect_eq(issue_all(&l), rows[i].issued);
        cr_expect(cid_local_is_active(&l, rows[i].issued));
        cr_expect_not(cid_local_is_active(&l, rows[i].issued + 1));
    }
}

/* RFC 9000 §19.16: retired ones are replaced; never issued and the one in use are errors; again
 * is nothing. */
Test(cid, retire)
{
    struct cid_local l;
    uint16_t seq;
    cid_local_init(&l);
    cid_local_open(&l, 4);
    issue_all(&l); /* 0 to 3 */
    cr_expect_eq(cid_local_retire(&l, 4, 0), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_local_retire(&l, UINT64_MAX, 0), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_local_retire(&l, 0, 0), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_local_retire(&l, 3, 3), AQ_PROTOCOL_VIOLATION);
    cr_expect(cid_local_is_active(&l, 0) && cid_local_is_active(&l, 3));
    cr_expect_eq(cid_local_retire(&l, 0, 1), AQ_OK);
    cr_expect_not(cid_local_is_active(&l, 0));
    cr_expect(cid_local_next(&l, &seq) && seq == 4);
    cr_expect_eq(cid_local_retire(&l, 0, 1), AQ_OK);
    cr_expect_eq(issue_all(&l), 1);
    cr_expect_eq(cid_local_retire(&l, 2, 1), AQ_OK); /* one in the middle */
    cr_expect_eq(cid_local_retire(&l, 2, 1), AQ_OK);
    cr_expect(cid_local_is_active(&l, 1) && !cid_local_is_active(&l, 2)
              && cid_local_is_active(&l, 3));
    cr_expect_eq(issue_all(&l), 1);
    cr_expect_eq(cid_local_retire(&l, 1, 3), AQ_OK); /* now 1 and 2 are both gone */
    cr_expect(!cid_local_is_active(&l, 1) && !cid_local_is_active(&l, 2));
    cr_expect(cid_local_is_active(&l, 3) && cid_local_is_active(&l, 5));
}

/* RFC 9000 §13.3: a lost NEW_CONNECTION_ID is said again, as long as its id is not retired. */
Test(cid, told_again_when_lost)
{
    struct cid_local l;
    uint16_t seq;
    cid_local_init(&l);
    cid_local_open(&l, 4);
    issue_all(&l);
    cid_local_lost(&l, 2);
    cr_expect(cid_local_next(&l, &seq) && seq == 2);
    cr_expect_eq(issue_all(&l), 1);
    cr_expect_eq(cid_local_retire(&l, 2, 0), AQ_OK);
    issue_all(&l);
    cid_local_lost(&l, 2);
    cr_expect_not(cid_local_next(&l, &seq));
    cid_local_lost(&l, 3);
    cr_expect_eq(cid_local_retire(&l, 3, 0), AQ_OK); /* retired while it is to be said again */
    cr_expect(cid_local_next(&l, &seq) && seq == 5);
}

/* However a peer retires, it holds no more than the limit, and no number is given twice. One that
 * is kept for good, a relayed path's, does not stand in the way of others. */
Test(cid, storm_of_retirements)
{
    struct cid_local l;
    cid_local_init(&l);
    cid_local_open(&l, 8);
    issue_all(&l);
    for (uint64_t seq = 1; seq < 200; seq++) {
        cr_expect_eq(cid_local_retire(&l, seq, 0), AQ_OK);
        cr_expect_eq(issue_all(&l), 1);
        cr_expect_eq(l.count, 8);
        cr_expect(cid_local_is_active(&l, 0) && !cid_local_is_active(&l, seq));
    }
    cr_expect_eq(l.next, 207);
    cr_expect_eq(cid_local_retire(&l, 0, 200), AQ_OK);
    cr_expect_eq(issue_all(&l), 1);
    while (l.count > 1) { /* the last one is in use and cannot be retired */
        uint64_t low = l.active[0];
        cr_assert_eq(cid_local_retire(&l, low, low + 1), AQ_OK);
        issue_all(&l);
    }
    cr_expect_eq(l.next, CID_SEQ_LIMIT, "a number twice would be an id twice");
    cr_expect(cid_local_is_active(&l, CID_SEQ_LIMIT - 1));
}

/* ---- the peer's ------------------------------------------------------------------------------ */

static struct quota quota;

/* With fresh memory of its own. */
static struct cid_peer peer_with(uint8_t limit, unsigned ids)
{
    static _Alignas(64) uint8_t memory[8 << 10];
    static struct arena arena;
    enum {
        BYTES = 4 << 10
    };
    struct cid_peer p;
    struct cid first = cid_of(0xf0);
    cr_assert(arena_size(BYTES) <= sizeof memory);
    memset(memory, 0, sizeof memory);
    arena_init(&arena, memory, BYTES);
    quota = (struct quota){.arena = &arena, .max_bytes = BYTES};
    cid_peer_init(&p, &first, limit, &quota);
    for (unsigned i = 1; i < ids; i++) {
        struct cid cid = cid_of((uint8_t)i);
        cr_assert_eq(cid_peer_add(&p, i, 0, &cid, token_of((uint8_t)i)), AQ_OK);
    }
    return p;
}

/* RFC 9000 §5.1.1: more than the limit that we advertised. */
Test(cid, peer_limit)
{
    for (uint8_t limit = 2; limit <= CIDS_MAX; limit++) {
        struct cid_peer p = peer_with(limit, limit);
        struct cid cid = cid_of(0x77);
        cr_expect_eq(cid_peer_add(&p, limit, 0, &cid, token_of(1)), AQ_CONNECTION_ID_LIMIT_ERROR);
        cr_expect_eq(cid_peer_add(&p, limit, 1, &cid, token_of(1)), AQ_OK,
                     "one was retired by the same frame");
    }
}

/* A few ids lie in the struct; more borrow a block, and without one the frame is to come again. */
Test(cid, peer_memory_for_more)
{
    struct cid_peer p = peer_with(CIDS_MAX, CIDS_FIRST);
    struct cid next = cid_of(CIDS_FIRST), last = cid_of(0x78);
    uint64_t seq;
    cr_expect_eq(quota.used_bytes, 0);
    quota.max_bytes = 0;
    cr_expect_eq(cid_peer_add(&p, CIDS_FIRST, 0, &next, token_of(1)), AQ_FULL);
    cr_expect_eq(cid_peer_add(&p, CIDS_FIRST, 1, &next, token_of(1)), AQ_OK,
                 "the place of the one that goes");
    cr_expect(cid_peer_next_retire(&p, &seq) && seq == 0);
    cr_expect_eq(quota.used_bytes, 0);
    p = peer_with(CIDS_MAX, CIDS_MAX);
    cr_expect_gt(quota.used_bytes, 0);
    for (uint64_t i = 1; i < CIDS_MAX; i++) { /* each of them can be the active one */
        struct cid cid = cid_of((uint8_t)(0x80 + i));
        cr_expect_eq(cid_peer_add(&p, CIDS_MAX + i - 1, i, &cid, token_of(2)), AQ_OK);
        cr_expect_geq(cid_remote_seq(cid_peer_entry(&p)), i);
        cr_expect(cid_peer_entry(&p)->used);
    }
    cr_expect_eq(cid_peer_add(&p, 40, 40, &last, token_of(9)), AQ_OK, "all others go");
    cr_expect(cid_equal(cid_peer_active(&p), &last));
    cr_expect(cid_peer_is_reset(&p, token_of(9)));
    cr_expect_eq(p.retire_count, 2 * CIDS_MAX - 1);
    cr_expect_eq(quota.used_bytes, 2 * ARENA_BLOCK);
    uint64_t told = 0; /* all are told, whatever is lost, and then the second block is not needed */
    for (unsigned i = 0; i < 2 * CIDS_MAX - 1; i++) {
        cr_assert(cid_peer_next_retire(&p, &seq));
        cid_peer_retire_sent(&p);
        if (i % 3 == 0) {
            cid_peer_retire_lost(&p, seq);
            cr_assert(cid_peer_next_retire(&p, &seq));
            cid_peer_retire_sent(&p);
        }
        told |= UINT64_C(1) << seq;
    }
    cr_expect_eq(told, (UINT64_C(1) << (2 * CIDS_MAX - 1)) - 1);
    for (unsigned i = 2 * CIDS_MAX - 1; i > 0; i--) {
        cr_expect_eq(quota.used_bytes, i > CID_RETIRE_FIRST ? 2 * ARENA_BLOCK : ARENA_BLOCK);
        cid_peer_retire_acked(&p);
    }
    cid_peer_clear(&p);
    cr_expect_eq(quota.used_bytes, 0);
}

/* Without that block no more than the few may wait. */
Test(cid, peer_retires_without_memory)
{
    struct cid_peer p = peer_with(CIDS_MAX, CIDS_MAX);
    struct cid last = cid_of(0x78), late = cid_of(0x79);
    uint64_t most = quota.max_bytes;
    quota.max_bytes = quota.used_bytes;
    cr_expect_eq(cid_peer_add(&p, 40, 40, &last, token_of(9)), AQ_OK, "16 of them");
    cr_expect_eq(p.retire_count, CID_RETIRE_FIRST);
    cr_expect_eq(cid_peer_add(&p, 41, 41, &late, token_of(9)), AQ_CONNECTION_ID_LIMIT_ERROR);
    quota.max_bytes = most;
    cid_peer_clear(&p);
    cr_expect_eq(quota.used_bytes, 0);
}

/* RFC 9000 §5.1.1: numbers go up by one, so nobody gets beyond 32 bits. */
Test(cid, peer_number_out_of_reach)
{
    struct cid_peer p = peer_with(4, 1);
    struct cid one = cid_of(1), two = cid_of(2);
    cr_expect_eq(cid_peer_add(&p, UINT64_C(1) << 32, 0, &one, token_of(1)), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_peer_add(&p, (UINT64_C(1) << 32) - 1, 0, &two, token_of(2)), AQ_OK);
}

/* RFC 9000 §19.15: a repetition is nothing; another id, or another token, under the same number
 * is an error, and so is the same id under another number. */
Test(cid, peer_repeats)
{
    struct cid_peer p = peer_with(4, 3);
    struct cid one = cid_of(1), nine = cid_of(9), first = cid_of(0xf0);
    cr_expect_eq(cid_peer_add(&p, 1, 0, &one, token_of(1)), AQ_OK);
    cr_expect_eq(cid_peer_add(&p, 1, 0, &one, token_of(2)), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_peer_add(&p, 1, 0, &nine, token_of(1)), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_peer_add(&p, 3, 0, &one, token_of(1)), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_peer_add(&p, 3, 0, &first, token_of(3)), AQ_PROTOCOL_VIOLATION);
    cr_expect_eq(cid_peer_add(&p, 3, 0, &nine, token_of(9)), AQ_OK);
}

/* RFC 9000 §19.15: nobody who uses zero-length ids is given others. */
Test(cid, peer_empty_id)
{
    struct cid_peer p;
    struct cid none = {0}, one = cid_of(1);
    cid_peer_init(&p, &none, 4, NULL);
    cr_expect_eq(cid_peer_add(&p, 1, 0, &one, token_of(1)), AQ_PROTOCOL_VIOLATION);
}

/* RFC 9000 §5.1.2: Retire Prior To takes ids out of use, the active one too; each is told once. */
Test(cid, peer_retires_prior)
{
    struct cid_peer p = peer_with(4, 4);
    struct cid five = cid_of(5);
    uint64_t seq;
    unsigned seen = 0;
    cr_expect(cid_peer_active(&p)->bytes[0] == 0xf0);
    cr_expect_not(cid_peer_next_retire(&p, &seq));
    cr_expect_eq(cid_peer_add(&p, 5, 3, &five, token_of(5)), AQ_OK);
    cr_expect(cid_peer_active(&p)->bytes[0] == 3 || cid_peer_active(&p)->bytes[0] == 5);
    while (cid_peer_next_retire(&p, &seq)) {
        cr_expect(seq < 3 && !(seen >> seq & 1));
        seen |= 1U << seq;
        cid_peer_retire_sent(&p);
    }
    cr_expect_eq(seen, 7);
    cr_expect_eq(p.retire_flight, 3);
    /* RFC 9000 §13.3: lost, it is said again; acknowledged, never more */
    cid_peer_retire_lost(&p, 1);
    cr_expect(cid_peer_next_retire(&p, &seq) && seq == 1);
    cid_peer_retire_sent(&p);
    for (unsigned i = 0; i < 3; i++)
        cid_peer_retire_acked(&p);
    cr_expect_eq(p.retire_flight, 0);
    cr_expect_not(cid_peer_next_retire(&p, &seq));
}

/* RFC 9000 §19.15: one that comes late, below what was retired already, is retired at once and
 * never used. */
Test(cid, peer_late)
{
    struct cid_peer p = peer_with(4, 2);
    struct cid four = cid_of(4), two = cid_of(2);
    uint64_t seq;
    cr_expect_eq(cid_peer_add(&p, 4, 4, &four, token_of(4)), AQ_OK);
    while (cid_peer_next_retire(&p, &seq))
        cid_peer_retire_sent(&p);
    cr_expect_eq(cid_peer_add(&p, 2, 0, &two, token_of(2)), AQ_OK);
    cr_expect(cid_peer_next_retire(&p, &seq) && seq == 2);
    cr_expect(cid_peer_active(&p)->bytes[0] == 4);
    cr_expect_not(cid_peer_is_reset(&p, token_of(2)));
}

/* SECURITY: retirements that wait are bounded, whether they wait to be sent or to be
 * acknowledged. */
Test(cid, peer_storm)
{
    for (unsigned sent = 0; sent < 2; sent++) {
        struct cid_peer p = peer_with(4, 1);
        int error = AQ_OK;
        uint64_t n = 1;
        for (; error == AQ_OK && n < 200; n++) {
            struct cid cid = {.size = 8, .bytes = {(uint8_t)n, (uint8_t)(n >> 8), 1}};
            uint64_t seq;
            error = cid_peer_add(&p, n, n, &cid, token_of((uint8_t)n));
            if (sent && cid_peer_next_retire(&p, &seq))
                cid_peer_retire_sent(&p);
        }
        cr_expect_eq(error, AQ_CONNECTION_ID_LIMIT_ERROR);
        cr_expect_eq(n - 2, CID_RETIRE_FIRST);
    }
}

/* RFC 9000 §7.2: a Retry's id or the server's own takes the place of the first. */
Test(cid, peer_first_replaced)
{
    struct cid_peer p = peer_with(4, 1);
    struct cid other = cid_of(0xee);
    cid_peer_replace_first(&p, &other);
    cr_expect(cid_equal(cid_peer_active(&p), &other));
}

/* RFC 9000 §10.3.1: the token of the id in use; not of one that was never used, nor of a retired
 * one. */
Test(cid, peer_is_reset)
{
    struct cid_peer p = peer_with(8, 4);
    struct cid nine = cid_of(9);
    uint8_t near[RESET_TOKEN_SIZE];
    cr_expect_not(cid_peer_is_reset(&p, token_of(0)), "the first id has none yet");
    cid_peer_set_token(&p, token_of(0xf0));
    cr_expect(cid_peer_is_reset(&p, token_of(0xf0)));
    memcpy(near, token_of(0xf0), sizeof near);
    near[15] ^= 0x80;
    cr_expect_not(cid_peer_is_reset(&p, near));
    for (uint8_t i = 1; i < 4; i++)
        cr_expect_not(cid_peer_is_reset(&p, token_of(i)), "not used yet");
    cr_expect_eq(cid_peer_add(&p, 9, 9, &nine, token_of(9)), AQ_OK);
    cr_expect(cid_peer_is_reset(&p, token_of(9)));
    cr_expect_not(cid_peer_is_reset(&p, token_of(0xf0)), "retired");
    for (uint8_t i = 1; i < 4; i++)
        cr_expect_not(cid_peer_is_reset(&p, token_of(i)), "retired");
}

/* ---- ids of paths ---------------------------------------------------------------------------- */

/* RFC 9000 §9.5: each path takes one that none has used; what no path needs any more is retired,
 * and its frame, when it comes again, brings nothing back. */
Test(cid, peer_paths)
{
    struct cid_peer p = peer_with(4, 4);
    struct cid cid = cid_of(2), fresh = cid_of(4);
    uint32_t seq, keep[] = {0, 1};
    uint64_t retired;
    for (uint32_t i = 1; i < 4; i++) {
        cr_expect(cid_peer_has_spare(&p));
        cr_expect(cid_peer_take(&p, &seq));
        cr_expect_eq(seq, i, "the oldest first");
    }
    cr_expect_not(cid_peer_has_spare(&p));
    cr_expect_not(cid_peer_take(&p, &seq));
    cr_expect_eq(cid_peer_find(&p, 2)->cid.bytes[0], 2);
    cid_peer_use(&p, 1);
    cr_expect_eq(cid_peer_active(&p)->bytes[0], 1);
    cid_peer_let(&p, keep, 2);
    cr_expect_null(cid_peer_find(&p, 2));
    cr_expect_null(cid_peer_find(&p, 3));
    cr_expect_not_null(cid_peer_find(&p, 0));
    cr_expect(cid_peer_next_retire(&p, &retired) && retired == 3);
    cr_expect_eq(cid_peer_add(&p, 2, 0, &cid, token_of(2)), AQ_OK);
    cr_expect_null(cid_peer_find(&p, 2), "it was late");
    cr_expect_eq(p.retire_count, 2);
    cr_expect_eq(cid_peer_add(&p, 4, 0, &fresh, token_of(4)), AQ_OK);
    cr_expect(cid_peer_take(&p, &seq) && seq == 4);
    for (uint32_t i = 5; i < 100; i++) { /* and one that is far back */
        struct cid next = cid_of((uint8_t)i);
        cr_assert_eq(cid_peer_add(&p, i, 0, &next, token_of((uint8_t)i)), AQ_OK);
        cr_assert(cid_peer_take(&p, &seq) && seq == i);
        cid_peer_let(&p, keep, 2);
        while (cid_peer_next_retire(&p, &retired)) {
            cid_peer_retire_sent(&p);
            cid_peer_retire_acked(&p);
        }
    }
    cr_expect_eq(cid_peer_add(&p, 3, 0, &cid, token_of(3)), AQ_OK);
    cr_expect_null(cid_peer_find(&p, 3));
}

/* RFC 9000 §10.3.1: the tokens of all paths count, those of unused ids do not. */
Test(cid, resets_of_paths)
{
    struct cid_peer p = peer_with(4, 4);
    uint32_t seq, keep[] = {0};
    cr_expect_not(cid_peer_is_reset(&p, token_of(1)));
    cid_peer_take(&p, &seq);
    cr_expect(cid_peer_is_reset(&p, token_of(1)));
    cr_expect_not(cid_peer_is_reset(&p, token_of(2)));
    cid_peer_let(&p, keep, 1);
    cr_expect_not(cid_peer_is_reset(&p, token_of(1)));
}

/* RFC 9000 §5.1.1: the preferred address's id has the number 1. */
Test(cid, local_preferred)
{
    struct cid_local l;
    uint16_t seq;
    cid_local_init(&l);
    cid_local_preferred(&l);
    cid_local_preferred(&l); /* the parameters are written again: in another version, say */
    cr_expect(cid_local_is_active(&l, 1));
    cid_local_open(&l, 2);
    cr_expect_not(cid_local_next(&l, &seq), "two are two");
    cr_expect_eq(cid_local_retire(&l, 1, 0), AQ_OK);
    cr_expect(cid_local_next(&l, &seq) && seq == 2);
}
