/* recvq.c -- tests core/recvq.c: the path without a copy, reassembly, settling, memory, and random lives. */
#include "core/recvq.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "tests/queues.h"

static int insert(struct recvq *q, struct memory *m, uint64_t offset, uint32_t size)
{
    uint8_t *data = malloc(size + 1u);
    bytes_fill(data, offset, size);
    int result = recvq_insert(q, &m->quota, &m->pieces, offset, data, size, false);
    free(data);
    return result;
}

static int insert_lent(struct recvq *q, struct memory *m, uint8_t *buffer, uint64_t offset,
                       uint32_t size)
{
    bytes_fill(buffer, offset, size);
    return recvq_insert(q, &m->quota, &m->pieces, offset, buffer, size, true);
}

/* Peeks all and compares; returns the number of pieces. */
static unsigned check_readable(const struct recvq *q, const struct memory *m, uint64_t readable)
{
    struct aq_iov iov[64];
    cr_assert_eq(recvq_readable(q), readable);
    unsigned n = recvq_peek(q, &m->pieces, iov, 64);
    uint64_t at = q->read;
    for (unsigned i = 0; i < n; i++) {
        cr_assert_gt(iov[i].size, 0);
        cr_assert(bytes_match(iov[i].data, at, iov[i].size));
        at += iov[i].size;
    }
    cr_assert(n == 64 || at == q->read + readable);
    return n;
}

static void consume(struct recvq *q, struct memory *m, uint64_t bytes)
{
    recvq_consume(q, &m->quota, &m->pieces, bytes);
}

Test(recvq, in_order_stays_where_it_is)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[300];
    struct aq_iov iov[4];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(insert_lent(&q, &m, buffer + 100, 100, 100), AQ_OK);
    cr_assert_eq(insert_lent(&q, &m, buffer + 200, 150, 100), AQ_OK); /* half of it is old */
    cr_assert_eq(m.quota.used_bytes, 0);                              /* nothing was copied */
    cr_assert_eq(recvq_peek(&q, &m.pieces, iov, 4), 3);
    cr_assert_eq(iov[0].data, buffer);
    cr_assert_eq(iov[2].data, buffer + 250);
    cr_assert_eq(recvq_peek(&q, &m.pieces, iov, 2), 2);
    cr_assert_eq(check_readable(&q, &m, 250), 3);
    consume(&q, &m, 30);
    check_readable(&q, &m, 220);
    consume(&q, &m, 70);
    cr_assert_eq(m.pieces.used, 2);
    consume(&q, &m, 150);
    cr_assert_not(recvq_has_pieces(&q));
    memory_check_end(&m);
}

Test(recvq, old_bytes_and_empty_ones_are_ignored)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[100];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 0, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 50, 0), AQ_OK);
    cr_assert_eq(insert(&q, &m, 5000, 0), AQ_OK);
    consume(&q, &m, 100);
    cr_assert_eq(insert(&q, &m, 0, 100), AQ_OK);
    check_readable(&q, &m, 0);
    memory_check_end(&m);
}

Test(recvq, a_gap_is_filled)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[200];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 200, 100), AQ_OK);
    check_readable(&q, &m, 100);
    cr_assert_eq(insert_lent(&q, &m, buffer + 100, 100, 100),
                 AQ_OK); /* the ring is not empty: copied */
    cr_assert_eq(m.pieces.used, 1);
    cr_assert_eq(check_readable(&q, &m, 300), 2); /* the piece, then the ring */
    consume(&q, &m, 150);
    check_readable(&q, &m, 150);
    consume(&q, &m, 150);
    cr_assert_eq(insert_lent(&q, &m, buffer, 300, 100), AQ_OK); /* empty again: no copy */
    cr_assert_eq(m.quota.used_bytes, 0);
    consume(&q, &m, 100);
    memory_check_end(&m);
}

/* RFC 9000 §2.2: data at an offset must not change; the copy that came first stays. */
Test(recvq, the_first_copy_stays)
{
    struct memory m;
    struct recvq q;
    uint8_t wrong[1000];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    memset(wrong, 0x55, sizeof(wrong));
    cr_assert_eq(insert(&q, &m, 100, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 300, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 0, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 200, 100), AQ_OK);
    cr_assert_eq(recvq_insert(&q, &m.quota, &m.pieces, 0, wrong, 400, false), AQ_OK);
    check_readable(&q, &m, 400);
    consume(&q, &m, 400);
    memory_check_end(&m);
}

Test(recvq, the_ring_wraps_and_grows)
{
    struct memory m;
    struct recvq q;
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_eq(insert(&q, &m, 0, 1000), AQ_OK);
    cr_assert_eq(m.quota.used_bytes, 1024);
    consume(&q, &m, 900);
    cr_assert_eq(insert(&q, &m, 1000, 800), AQ_OK);
    cr_assert_eq(m.quota.used_bytes, 1024);
    cr_assert_eq(check_readable(&q, &m, 900), 2);    /* wraps: two pieces */
    cr_assert_eq(insert(&q, &m, 3000, 1000), AQ_OK); /* with a gap, and twice the size or more */
    cr_assert_eq(m.quota.used_bytes, 4096 + ARENA_BLOCK); /* and storage for the second range */
    check_readable(&q, &m, 900);
    cr_assert_eq(insert(&q, &m, 1800, 1200), AQ_OK);
    check_readable(&q, &m, 3100);
    consume(&q, &m, 3100);
    memory_check_end(&m);
}

Test(recvq, settle_copies_what_is_unread)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[200];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_eq(recvq_settle(&q, &m.quota, &m.pieces), AQ_OK); /* nothing to do */
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(insert_lent(&q, &m, buffer + 100, 100, 100), AQ_OK);
    cr_assert_eq(insert(&q, &m, 300, 50), AQ_OK);
    consume(&q, &m, 60);
    cr_assert_eq(recvq_settle(&q, &m.quota, &m.pieces), AQ_OK);
    cr_assert_not(recvq_has_pieces(&q));
    memset(buffer, 0xee, sizeof(buffer));
    check_readable(&q, &m, 140);
    cr_assert_eq(insert(&q, &m, 200, 100), AQ_OK);
    check_readable(&q, &m, 290);
    consume(&q, &m, 290);
    memory_check_end(&m);
}

Test(recvq, settle_without_memory_keeps_the_pieces)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[100];
    memory_init(&m, 65536, 8);
    m.quota.max_bytes = 0;
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(recvq_settle(&q, &m.quota, &m.pieces), AQ_FULL);
    cr_assert(recvq_has_pieces(&q));
    check_readable(&q, &m, 100);
    m.quota.max_bytes = ARENA_BLOCK;
    cr_assert_eq(recvq_settle(&q, &m.quota, &m.pieces), AQ_OK);
    check_readable(&q, &m, 100);
    recvq_clear(&q, &m.quota, &m.pieces);
    memory_check_end(&m);
}

/* The pool of pieces is dry: copied instead. The quota is dry too: refused, and nothing changed. */
Test(recvq, runs_dry)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[4000];
    memory_init(&m, 65536, 2);
    m.quota.max_bytes = 3 * ARENA_BLOCK; /* a ring of one, and of two; then one for a range */
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 100), AQ_OK);
    cr_assert_eq(insert_lent(&q, &m, buffer + 100, 100, 100), AQ_OK);
    cr_assert_eq(insert_lent(&q, &m, buffer + 200, 200, 100), AQ_OK);
    cr_assert_eq(m.pieces.used, 2);
    cr_assert_eq(m.quota.used_bytes, ARENA_BLOCK);
    check_readable(&q, &m, 300);
    cr_assert_eq(insert(&q, &m, 300, 3000), AQ_FULL);
    check_readable(&q, &m, 300);
    cr_assert_eq(insert(&q, &m, 300, 900), AQ_OK);
    cr_assert_eq(insert(&q, &m, 1210, 14), AQ_OK); /* the ring's last byte, a second range */
    cr_assert_eq(insert(&q, &m, 1210, 15), AQ_FULL);
    check_readable(&q, &m, 1200);
    consume(&q, &m, 1200);
    recvq_clear(&q, &m.quota, &m.pieces);
    memory_check_end(&m);
}

Test(recvq, gaps_are_bounded)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[10];
    memory_init(&m, UINT64_C(1) << 20, 8);
    recvq_init(&q);
    cr_assert_eq(insert_lent(&q, &m, buffer, 0, 10), AQ_OK);
    for (unsigned i = 0; i < RECVQ_RANGES - 1; i++)
        cr_assert_eq(insert(&q, &m, 20 + 2 * i, 1), AQ_OK);
    cr_assert_eq(insert(&q, &m, 20 + 2 * RECVQ_RANGES, 1), AQ_FULL);
    cr_assert_eq(q.have.count, RECVQ_RANGES - 1);
    cr_assert_eq(insert(&q, &m, 21, 1), AQ_OK); /* joins two */
    cr_assert_eq(insert(&q, &m, 20 + 2 * RECVQ_RANGES, 1), AQ_OK);
    cr_assert_eq(recvq_settle(&q, &m.quota, &m.pieces), AQ_OK); /* has the last one to itself */
    check_readable(&q, &m, 10);
    recvq_clear(&q, &m.quota, &m.pieces);
    memory_check_end(&m);
}

Test(recvq, knows_the_end)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[10];
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert_not(recvq_at_end(&q));
    insert_lent(&q, &m, buffer, 0, 10);
    cr_assert_not(recvq_at_end(&q));
    q.final_size = 20;
    cr_assert_not(recvq_at_end(&q));
    insert(&q, &m, 11, 9);
    cr_assert_not(recvq_at_end(&q));
    insert(&q, &m, 10, 1);
    cr_assert(recvq_at_end(&q));
    consume(&q, &m, 20);
    cr_assert(recvq_at_end(&q));
    memory_check_end(&m);
}

Test(recvq, consuming_more_than_readable_asserts, .signal = SIGABRT)
{
    struct memory m;
    struct recvq q;
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    insert(&q, &m, 0, 10);
    consume(&q, &m, 11);
}

/* ---- random lives ---------------------------------------------------------------------------- */

enum {
    TOTAL = 50000,
    WINDOW = 6000,
    LENT = 64
};

struct life {
    struct memory m;
    struct recvq q;
    uint64_t rng;
    bool *here; /* the model: what was accepted */
    uint8_t *lent[LENT];
    unsigned lent_count, refused;
};

/* The lent buffers go back: freed, so that a pointer into one is found out. */
static void life_settle(struct life *l)
{
    if (recvq_settle(&l->q, &l->m.quota, &l->m.pieces) != AQ_OK) {
        l->refused++;
        return;
    }
    while (l->lent_count > 0)
        free(l->lent[--l->lent_count]);
}

static uint64_t life_contiguous(const struct life *l)
{
    uint64_t end = l->q.read;
    while (end < TOTAL && l->here[end])
        end++;
    return end;
}

static void life_insert(struct life *l)
{
    uint64_t end = life_contiguous(l), read = l->q.read;
    /* In order half of the time, else anywhere in the window or a little below it. */
    uint64_t offset = end;
    if (chance(&l->rng, 2) == 0) {
        offset = read + chance(&l->rng, WINDOW);
        offset -= chance(&l->rng, 2) == 0 && offset >= 500 ? 500 : 0;
    }
    uint64_t top = read + WINDOW < TOTAL ? read + WINDOW : TOTAL;
    if (offset > top || (l->lent_count == LENT))
        return;
    uint64_t size = 1 + chance(&l->rng, 700);
    size = size < top - offset ? size : top - offset;
    uint8_t *data = malloc(size + 1);
    bytes_fill(data, offset, size);
    bool lent = chance(&l->rng, 3) > 0;
    int result = recvq_insert(&l->q, &l->m.quota, &l->m.pieces, offset, data, (uint32_t)size, lent);
    if (lent)
        l->lent[l->lent_count++] = data;
    else
        free(data);
    if (result == AQ_OK)
        memset(l->here + offset, true, size);
    else
        l->refused++;
}

static void life_run(uint64_t seed, uint64_t quota_bytes, uint32_t pieces, bool dry)
{
    struct life *l = calloc(1, sizeof(*l));
    memory_init(&l->m, UINT64_C(1) << 20, pieces);
    l->m.quota.max_bytes = quota_bytes;
    l->rng = seed;
    l->here = calloc(TOTAL, sizeof(bool));
    recvq_init(&l->q);
    l->q.final_size = TOTAL;
    unsigned steps = 0;
    while (l->q.read < TOTAL) {
        cr_assert_lt(steps++, 200000u, "seed %lu: stalled", (unsigned long)seed);
        unsigned what = chance(&l->rng, 12);
        if (what == 0 || l->lent_count == LENT)
            life_settle(l);
        else if (what < 9)
            life_insert(l);
        else
            consume(&l->q, &l->m, chance(&l->rng, (uint32_t)recvq_readable(&l->q) + 1));
        uint64_t end = life_contiguous(l);
        check_readable(&l->q, &l->m, end - l->q.read);
        cr_assert_eq(recvq_at_end(&l->q), end == TOTAL);
        if (l->lent_count == LENT && l->refused > 0) /* no memory to settle: the host must wait */
            consume(&l->q, &l->m, recvq_readable(&l->q));
    }
    cr_assert(!dry || l->refused > 0);
    life_settle(l);
    memory_check_end(&l->m);
    free(l->here);
    free(l);
}

Test(recvq, random_lives)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        life_run(seed, UINT64_C(1) << 20, 64, false);
}

Test(recvq, random_lives_with_little_memory)
{
    for (uint64_t seed = 1; seed <= 10; seed++)
        life_run(seed, 8 * ARENA_BLOCK, (uint32_t)seed % 3 + 1, true);
}

/* What is next and waits for nothing passes by the queue; all else must go in. */
Test(recvq, next_bytes_pass)
{
    struct memory m;
    struct recvq q;
    uint8_t buffer[300];
    const uint8_t *data = buffer;
    uint64_t size = 100;
    memory_init(&m, 65536, 8);
    recvq_init(&q);
    cr_assert(recvq_pass(&q, 0, &data, &size));
    cr_assert(data == buffer && size == 100 && q.read == 100 && q.highest == 100);
    size = 100;
    cr_assert(recvq_pass(&q, 50, &data, &size)); /* half of it is old */
    cr_assert(data == buffer + 50 && size == 50 && q.read == 150);
    size = 100;
    cr_assert_not(recvq_pass(&q, 50, &data, &size), "all of it is old");
    cr_assert_not(recvq_pass(&q, 151, &data, &size), "a byte is missing before it");
    cr_assert_eq(insert(&q, &m, 160, 10), AQ_OK);
    cr_assert_not(recvq_pass(&q, 150, &data, &size), "others wait for it");
    cr_assert_eq(insert(&q, &m, 150, 10), AQ_OK);
    check_readable(&q, &m, 20);
    cr_assert_not(recvq_pass(&q, 150, &data, &size), "it is there already");
    consume(&q, &m, 20);
    cr_assert(recvq_pass(&q, 170, &data, &size));
    cr_assert_eq(insert_lent(&q, &m, buffer, 270, 10), AQ_OK); /* goes on behind it */
    check_readable(&q, &m, 10);
    recvq_clear(&q, &m.quota, &m.pieces);
    memory_check_end(&m);
}
