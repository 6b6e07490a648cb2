/* sendq.c -- tests core/sendq.c: order, fates, memory, and random lives in which every byte must arrive. */
#include "core/sendq.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "tests/queues.h"

static const uint64_t much = UINT64_C(1) << 40;

/* Writes size bytes of the known stream; in two pieces, so that there are always several. */
static uint64_t write_bytes(struct sendq *q, struct memory *m, uint64_t size, uint64_t max_bytes)
{
    uint8_t *data = malloc(size + 1);
    bytes_fill(data, q->end, size);
    struct aq_iov iov[] = {{data, size / 3}, {NULL, 0}, {data + size / 3, size - size / 3}};
    uint64_t taken = sendq_write(q, &m->quota, iov, 3, false, max_bytes);
    memset(data, 0xee, size); /* copied: what happens here later does not matter */
    free(data);
    return taken;
}

struct sent_piece {
    uint64_t offset, is_new;
    uint32_t size;
    bool fin, any;
};

/* Sends the next piece as stream.c does, and compares its bytes. */
/* The same bytes, read where they are. */
static void check_spans(const struct sendq *q, uint64_t offset, uint32_t size)
{
    for (uint64_t hi = offset + size, n; offset < hi; offset += n) {
        const uint8_t *at = sendq_span(q, offset, &n);
        cr_assert(n > 0 && offset + n <= q->end);
        cr_assert(bytes_match(at, offset, n));
    }
}

static struct sent_piece send_next(struct sendq *q, uint32_t max, uint64_t credit)
{
    struct sent_piece p;
    p.size = sendq_next(q, max, credit, &p.offset, &p.fin, &p.is_new);
    p.any = p.size > 0 || p.fin;
    cr_assert(!p.any || sendq_wants(q, credit));
    if (!p.any)
        return p;
    uint8_t *out = malloc(p.size + 1u);
    sendq_copy(q, p.offset, out, p.size);
    cr_assert(bytes_match(out, p.offset, p.size));
    free(out);
    check_spans(q, p.offset, p.size);
    sendq_on_sent(q, p.offset, p.size, p.fin);
    return p;
}

static void check_piece(struct sent_piece p, uint64_t offset, uint32_t size, bool fin,
                        uint64_t is_new)
{
    cr_assert(p.any);
    cr_assert_eq(p.offset, offset);
    cr_assert_eq(p.size, size);
    cr_assert_eq(p.fin, fin);
    cr_assert_eq(p.is_new, is_new);
}

static void check_invariants(const struct sendq *q)
{
    cr_assert(q->base <= q->sent && q->sent <= q->end);
    for (unsigned i = 0; i < q->acked.count; i++) {
        struct range r = q->acked.v[i];
        cr_assert(r.lo > q->base && r.lo < r.hi && r.hi <= q->sent);
        cr_assert_not(range_touches(&q->lost, r.lo, r.hi));
    }
    for (unsigned i = 0; i < q->lost.count; i++)
        cr_assert(q->lost.v[i].lo >= q->base && q->lost.v[i].hi <= q->sent);
}

Test(sendq, empty_wants_nothing)
{
    struct sendq q;
    sendq_init(&q);
    cr_assert_not(sendq_wants(&q, much));
    cr_assert_not(send_next(&q, 100, much).any);
    cr_assert_not(sendq_is_done(&q));
}

Test(sendq, in_order_and_done)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    cr_assert_eq(write_bytes(&q, &m, 2500, much), 2500);
    sendq_finish(&q);
    check_piece(send_next(&q, 1000, much), 0, 1000, false, 1000);
    check_piece(send_next(&q, 1000, much), 1000, 1000, false, 1000);
    check_piece(send_next(&q, 1000, much), 2000, 500, true, 500);
    cr_assert_not(send_next(&q, 1000, much).any);
    sendq_on_acked(&q, &m.quota, 0, 1000, false);
    cr_assert_eq(q.base, 1000);
    sendq_on_acked(&q, &m.quota, 1000, 1000, false);
    cr_assert_not(sendq_is_done(&q));
    sendq_on_acked(&q, &m.quota, 2000, 500, true);
    cr_assert(sendq_is_done(&q));
    memory_check_end(&m); /* given back without sendq_clear */
}

Test(sendq, fin_alone)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    sendq_finish(&q);
    cr_assert(sendq_wants(&q, 0));
    check_piece(send_next(&q, 0, 0), 0, 0, true, 0);
    cr_assert_not(sendq_wants(&q, much));
    sendq_on_lost(&q, &m.quota, 0, 0, true);
    cr_assert(sendq_has_lost(&q));
    check_piece(send_next(&q, 10, 0), 0, 0, true, 0);
    sendq_on_acked(&q, &m.quota, 0, 0, true);
    cr_assert(sendq_is_done(&q));
    sendq_on_lost(&q, &m.quota, 0, 0, true); /* the first copy, after all */
    cr_assert_not(sendq_wants(&q, much));
    memory_check_end(&m);
}

/* RFC 9000 §4.1: new bytes take credit; lost ones took it before. */
Test(sendq, credit_limits_new_bytes_only)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 1000, much);
    sendq_finish(&q);
    check_piece(send_next(&q, 600, 400), 0, 400, false, 400);
    cr_assert_not(sendq_wants(&q, 0));
    cr_assert_not(send_next(&q, 600, 0).any);
    sendq_on_lost(&q, &m.quota, 100, 200, false);
    cr_assert(sendq_wants(&q, 0));
    check_piece(send_next(&q, 150, 0), 100, 150, false, 0);
    check_piece(send_next(&q, 150, 0), 250, 50, false, 0);
    check_piece(send_next(&q, 600, 600), 400, 600, true, 600);
    sendq_clear(&q, &m.quota);
    memory_check_end(&m);
}

Test(sendq, a_lost_tail_carries_fin_again)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 100, much);
    check_piece(send_next(&q, 100, much), 0, 100, false, 100);
    sendq_on_lost(&q, &m.quota, 0, 100, false);
    sendq_finish(&q); /* said only now: the resent piece bears it */
    check_piece(send_next(&q, 60, 0), 0, 60, false, 0);
    check_piece(send_next(&q, 60, 0), 60, 40, true, 0);
    cr_assert_not(sendq_wants(&q, much));
    sendq_on_lost(&q, &m.quota, 60, 40, true);
    check_piece(send_next(&q, 60, 0), 60, 40, true, 0);
    cr_assert_not(sendq_wants(&q, much));
    sendq_on_acked(&q, &m.quota, 0, 60, false);
    sendq_on_acked(&q, &m.quota, 60, 40, true);
    cr_assert(sendq_is_done(&q));
    memory_check_end(&m);
}

Test(sendq, acknowledged_after_lost_is_not_sent_again)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 900, much);
    for (unsigned i = 0; i < 9; i++)
        send_next(&q, 100, much);
    sendq_on_lost(&q, &m.quota, 0, 900, false);
    sendq_on_acked(&q, &m.quota, 300, 300, false); /* splits the lost range */
    check_invariants(&q);
    check_piece(send_next(&q, 1000, much), 0, 300, false, 0);
    check_piece(send_next(&q, 1000, much), 600, 300, false, 0);
    cr_assert_not(send_next(&q, 1000, much).any);
    sendq_on_lost(&q, &m.quota, 200, 500, false); /* only what is not acknowledged */
    check_invariants(&q);
    check_piece(send_next(&q, 1000, much), 200, 100, false, 0);
    check_piece(send_next(&q, 1000, much), 600, 100, false, 0);
    sendq_on_acked(&q, &m.quota, 0, 300, false);
    cr_assert_eq(q.base, 600);
    sendq_on_acked(&q, &m.quota, 600, 300, false);
    cr_assert_eq(q.base, 900);
    memory_check_end(&m);
}

Test(sendq, holds_at_most_max_bytes)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    cr_assert_eq(write_bytes(&q, &m, 999, 1000), 999);
    cr_assert_eq(write_bytes(&q, &m, 2, 1000), 1);
    cr_assert_eq(write_bytes(&q, &m, 1, 1000), 0);
    send_next(&q, 10, much);
    cr_assert_eq(write_bytes(&q, &m, 1, 1000), 0);
    sendq_on_acked(&q, &m.quota, 0, 10, false);
    cr_assert_eq(write_bytes(&q, &m, 100, 1000), 10);
    sendq_clear(&q, &m.quota);
    memory_check_end(&m);
}

/* The quota is dry: as many bytes as it has room for, and none is lost. */
Test(sendq, takes_what_the_quota_allows)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    m.quota.max_bytes = 5 * ARENA_BLOCK;
    sendq_init(&q);
    cr_assert(sendq_has_memory(&q, &m.quota));
    cr_assert_eq(write_bytes(&q, &m, 10000, much), 4 * ARENA_BLOCK);
    cr_assert_not(sendq_has_memory(&q, &m.quota) && q.ring_cap == m.quota.max_bytes);
    cr_assert_eq(write_bytes(&q, &m, 1, much), 0);
    uint64_t at = 0;
    for (struct sent_piece p; (p = send_next(&q, 1000, much)).any; at += p.size)
        cr_assert_eq(p.offset, at);
    cr_assert_eq(at, 4 * ARENA_BLOCK);
    sendq_on_acked(&q, &m.quota, 0, 1500, false);
    cr_assert(sendq_has_memory(&q, &m.quota));
    cr_assert_eq(write_bytes(&q, &m, 10000, much), 1500); /* wraps */
    check_piece(send_next(&q, 2000, much), at, 1500, false, 1500);
    sendq_on_acked(&q, &m.quota, 1500, (uint32_t)q.sent - 1500, false);
    memory_check_end(&m);
}

Test(sendq, runs_dry_at_once)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    m.quota.max_bytes = 0;
    sendq_init(&q);
    cr_assert_not(sendq_has_memory(&q, &m.quota));
    cr_assert_eq(write_bytes(&q, &m, 10, much), 0);
    struct aq_iov iov = {(const uint8_t *)"x", 1};
    cr_assert_eq(sendq_write(&q, &m.quota, &iov, 1, true, much), 0);
    memory_check_end(&m);
}

/* References cost a segment, and no room in the ring between copied bytes. */
Test(sendq, copies_and_references_mixed)
{
    enum {
        BIG = 300000
    };
    struct memory m;
    struct sendq q;
    uint8_t *big = malloc(BIG);
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    cr_assert_eq(write_bytes(&q, &m, 10, much), 10);
    bytes_fill(big, 10, BIG);
    struct aq_iov iov[] = {{big, 1000}, {big + 1000, BIG - 1000}}; /* adjoin: one segment */
    cr_assert_eq(sendq_write(&q, &m.quota, iov, 2, true, much), BIG);
    cr_assert_eq(q.seg_count, 2);
    cr_assert_eq(write_bytes(&q, &m, 500, much), 500);
    sendq_finish(&q);
    cr_assert_leq(m.quota.used_bytes, 2 * ARENA_BLOCK);
    check_piece(send_next(&q, BIG, 305), 0, 305, false, 305); /* over a border */
    while (send_next(&q, 1400, much).any)
        ;
    cr_assert_eq(q.sent, BIG + 510);
    sendq_on_lost(&q, &m.quota, 0, BIG + 510, true);
    check_piece(send_next(&q, BIG + 510, 0), 0, BIG + 510, true, 0);
    sendq_on_acked(&q, &m.quota, 0, 5, false);
    sendq_on_acked(&q, &m.quota, 5, 100, false);
    cr_assert_eq(q.seg_count, 2);
    sendq_on_acked(&q, &m.quota, 105, BIG, false);
    cr_assert_null(q.segs); /* only copied bytes are left */
    sendq_on_lost(&q, &m.quota, BIG, 510, true);
    check_piece(send_next(&q, 1000, 0), BIG + 105, 405, true, 0);
    sendq_on_acked(&q, &m.quota, BIG + 105, 405, true);
    cr_assert(sendq_is_done(&q));
    memory_check_end(&m);
    free(big);
}

/* The ring finds memory, its segment does not: nothing is taken, and the ring goes back. */
Test(sendq, no_memory_for_a_segment)
{
    enum {
        REFERENCES = 20
    }; /* as many as one block of segments takes */
    struct memory m;
    struct sendq q;
    uint8_t data[2 * REFERENCES];
    memory_init(&m, 65536, 1);
    m.quota.max_bytes = 2 * ARENA_BLOCK;
    sendq_init(&q);
    for (unsigned i = 0; i < REFERENCES; i++) {
        data[2 * i] = byte_at(q.end);
        struct aq_iov iov = {data + (size_t)2 * i, 1};
        cr_assert_eq(sendq_write(&q, &m.quota, &iov, 1, true, much), 1);
    }
    cr_assert_eq(write_bytes(&q, &m, 100, much), 0);
    cr_assert_eq(m.quota.used_bytes, ARENA_BLOCK);
    check_piece(send_next(&q, 100, much), 0, REFERENCES, false, REFERENCES);
    sendq_on_acked(&q, &m.quota, 0, 1, false);
    cr_assert_eq(write_bytes(&q, &m, 100, much), 100);
    check_piece(send_next(&q, 100, much), REFERENCES, 100, false, 100);
    sendq_on_acked(&q, &m.quota, 0, REFERENCES + 100, false);
    memory_check_end(&m);
}

Test(sendq, segments_are_bounded)
{
    struct memory m;
    struct sendq q;
    uint8_t *data = malloc(2 * SENDQ_SEGMENTS);
    memory_init(&m, UINT64_C(1) << 20, 1);
    sendq_init(&q);
    uint64_t taken = 0;
    for (unsigned i = 0; i < SENDQ_SEGMENTS; i++) {
        data[2 * i] = byte_at(q.end); /* every other byte: none adjoin */
        struct aq_iov iov = {data + (size_t)2 * i, 1};
        taken += sendq_write(&q, &m.quota, &iov, 1, true, much);
    }
    cr_assert_eq(taken, q.end);
    cr_assert_eq(taken, SENDQ_SEGMENTS - 1);
    cr_assert_not(sendq_has_memory(&q, &m.quota));
    check_piece(send_next(&q, 5000, much), 0, SENDQ_SEGMENTS - 1, false, SENDQ_SEGMENTS - 1);
    sendq_on_acked(&q, &m.quota, 0, SENDQ_SEGMENTS - 1, false);
    memory_check_end(&m);
    free(data);
}

/* No storage for a second range: an acknowledgement is forgotten, losses are joined; nothing is skipped. */
Test(sendq, full_sets_forget_towards_lost)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    m.quota.max_bytes = 2 * ARENA_BLOCK; /* the ring takes it all */
    sendq_init(&q);
    write_bytes(&q, &m, 1000, much);
    for (unsigned i = 0; i < 10; i++)
        send_next(&q, 100, much);
    sendq_on_acked(&q, &m.quota, 200, 100, false);
    sendq_on_acked(&q, &m.quota, 400, 100, false); /* forgotten */
    check_invariants(&q);
    cr_assert(range_covers(&q.lost, 400, 500));
    sendq_on_lost(&q, &m.quota, 0, 100, false); /* joins: takes 200 to 300 out of acked */
    check_invariants(&q);
    check_piece(send_next(&q, 1000, much), 0, 500, false, 0);
    sendq_on_acked(&q, &m.quota, 0, 500, false);
    sendq_on_lost(&q, &m.quota, 500, 500, false);
    sendq_on_acked(&q, &m.quota, 600, 100, false); /* cannot split: stays lost */
    check_invariants(&q);
    check_piece(send_next(&q, 1000, much), 500, 500, false, 0);
    sendq_on_acked(&q, &m.quota, 500, 500, false);
    memory_check_end(&m);
}

Test(sendq, sets_grow_and_are_bounded)
{
    enum {
        PIECES = 2 * SENDQ_RANGES + 100
    };
    struct memory m;
    struct sendq q;
    memory_init(&m, UINT64_C(1) << 20, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 2 * PIECES, much);
    while (send_next(&q, 2 * PIECES, much).any)
        ;
    for (unsigned i = 1; i < PIECES; i += 2) {
        sendq_on_acked(&q, &m.quota, 2 * i, 2, false);
        check_invariants(&q);
    }
    cr_assert_eq(q.acked.count, SENDQ_RANGES);
    cr_assert_eq(q.lost.count, PIECES / 2 - SENDQ_RANGES);
    for (unsigned i = 0; i < PIECES; i += 2)
        sendq_on_lost(&q, &m.quota, 2 * i, 2, false);
    check_invariants(&q);
    struct sent_piece p;
    while ((p = send_next(&q, 100, 0)).any)
        sendq_on_acked(&q, &m.quota, p.offset, p.size, false);
    cr_assert_eq(q.base, q.end);
    memory_check_end(&m);
}

Test(sendq, clear_keeps_the_final_size)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 1000, much);
    send_next(&q, 300, much);
    sendq_on_lost(&q, &m.quota, 0, 100, false);
    sendq_clear(&q, &m.quota);
    cr_assert_eq(q.sent, 300);
    cr_assert_eq(q.base, 1000);
    memory_check_end(&m);
}

Test(sendq, acknowledging_what_was_not_sent_asserts, .signal = SIGABRT)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    write_bytes(&q, &m, 10, much);
    sendq_on_acked(&q, &m.quota, 0, 1, false);
}

Test(sendq, writing_after_the_end_asserts, .signal = SIGABRT)
{
    struct memory m;
    struct sendq q;
    memory_init(&m, 65536, 1);
    sendq_init(&q);
    sendq_finish(&q);
    write_bytes(&q, &m, 1, much);
}

/* ---- random lives ---------------------------------------------------------------------------- */

enum {
    TOTAL = 60000,
    FLIGHT = 400
};

struct life {
    struct memory m;
    struct sendq q;
    uint64_t rng;
    struct sent_piece flight[FLIGHT];
    bool told_lost[FLIGHT];
    unsigned count;
    uint8_t *source;
    bool *arrived; /* by offset */
    bool fin_arrived;
};

static void life_write(struct life *l)
{
    uint64_t left = TOTAL - l->q.end, size = chance(&l->rng, 5000);
    bool by_reference = chance(&l->rng, 3) == 0;
    size = size < left ? size : left;
    struct aq_iov iov[] = {{l->source + l->q.end, size / 2},
                           {l->source + l->q.end + size / 2, size - size / 2}};
    if (size > 0)
        sendq_write(&l->q, &l->m.quota, iov, 2, by_reference, 20000);
    if (l->q.end == TOTAL && !l->q.fin)
        sendq_finish(&l->q);
}

static void life_send(struct life *l)
{
    if (l->count == FLIGHT)
        return;
    struct sent_piece p = send_next(&l->q, chance(&l->rng, 1500), chance(&l->rng, 3000));
    if (p.any) {
        l->told_lost[l->count] = false;
        l->flight[l->count++] = p;
    }
}

static void life_fate(struct life *l, unsigned loss_percent)
{
    if (l->count == 0)
        return;
    unsigned i = chance(&l->rng, l->count);
    struct sent_piece p = l->flight[i];
    if (!l->told_lost[i] && chance(&l->rng, 100) < loss_percent) {
        sendq_on_lost(&l->q, &l->m.quota, p.offset, p.size, p.fin);
        l->told_lost[i] = true; /* may turn out to be wrong, and be acknowledged later */
        if (chance(&l->rng, 2) == 0)
            return;
    } else {
        for (uint64_t o = p.offset; o < p.offset + p.size; o++)
            l->arrived[o] = true;
        l->fin_arrived |= p.fin;
        sendq_on_acked(&l->q, &l->m.quota, p.offset, p.size, p.fin);
    }
    l->count--;
    l->flight[i] = l->flight[l->count];
    l->told_lost[i] = l->told_lost[l->count];
}

static void life_run(uint64_t seed, uint64_t quota_bytes, unsigned loss_percent)
{
    struct life *l = calloc(1, sizeof(*l));
    memory_init(&l->m, UINT64_C(1) << 20, 1);
    l->m.quota.max_bytes = quota_bytes;
    l->rng = seed;
    l->source = malloc(TOTAL);
    l->arrived = calloc(TOTAL, sizeof(bool));
    bytes_fill(l->source, 0, TOTAL);
    sendq_init(&l->q);
    unsigned steps = 0;
    while (!sendq_is_done(&l->q)) {
        cr_assert_lt(steps++, 2000000u, "seed %lu: stalled", (unsigned long)seed);
        switch (chance(&l->rng, 4)) {
        case 0: life_write(l); break;
        case 1: life_send(l); break;
        default: life_fate(l, loss_percent); break;
        }
        check_invariants(&l->q);
        /* Nothing in flight and nothing to send with bytes missing: one was forgotten. */
        cr_assert(l->count > 0 || l->q.base == l->q.end || sendq_wants(&l->q, 1),
                  "seed %lu: forgotten", (unsigned long)seed);
    }
    for (unsigned o = 0; o < TOTAL; o++)
        cr_assert(l->arrived[o], "seed %lu: byte %u", (unsigned long)seed, o);
    cr_assert(l->fin_arrived);
    memory_check_end(&l->m);
    free(l->source);
    free(l->arrived);
    free(l);
}

Test(sendq, random_lives)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        life_run(seed, UINT64_C(1) << 20, (unsigned)seed * 4);
}

/* Too little memory for the sets to grow much, or at all. */
Test(sendq, random_lives_with_tiny_sets)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        life_run(seed, (seed % 4 + 2) * ARENA_BLOCK, (unsigned)seed * 3);
}
