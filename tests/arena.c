/* arena.c -- tests of core/arena.c: random takes and gives against a map of owners; runs dry; all
 * comes back. */
#include "core/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* mem is 64-byte aligned and, on purpose, never ARENA_BLOCK-aligned. */
struct box {
    uint8_t *raw;
    struct arena arena;
};

static void box_open(struct box *box, uint64_t bytes)
{
    size_t size = arena_size(bytes) + 64;
    size += (ARENA_BLOCK - size % ARENA_BLOCK) % ARENA_BLOCK;
    box->raw = aligned_alloc(ARENA_BLOCK, size);
    cr_assert_not_null(box->raw);
    memset(box->raw, 0, size);
    arena_init(&box->arena, box->raw + 64, bytes);
    cr_assert_leq((size_t)(box->arena.state + box->arena.blocks - (box->raw + 64)),
                  arena_size(bytes));
}

/* What may be taken when nothing is held: one block for each bit of the number of smallest
 * blocks; the large ones first, since a small one may lie anywhere. */
static void expect_all_free(struct arena *arena)
{
    void *held[ARENA_ORDERS];
    cr_expect_eq(arena->used_bytes, 0);
    for (unsigned order = ARENA_ORDERS; order-- > 0;) {
        held[order] = NULL;
        if (arena->blocks >> order & 1)
            cr_expect_not_null(held[order] = arena_take(arena, (size_t)ARENA_BLOCK << order),
                               "order %u", order);
    }
    cr_expect_null(arena_take(arena, 1), "nothing beside them");
    for (unsigned order = 0; order < ARENA_ORDERS; order++)
        arena_give(arena, held[order], (size_t)ARENA_BLOCK << order);
    cr_expect_eq(arena->used_bytes, 0);
}

Test(arena, sizes_are_rounded_up)
{
    static const size_t rows[][2] = {{0, 512},     {1, 512},     {512, 512},     {513, 1024},
                                     {1024, 1024}, {1025, 2048}, {65536, 65536}, {65537, 131072}};
    struct box box;
    box_open(&box, 1 << 20);
    for (unsigned i = 0; i < 8; i++) {
        cr_expect_eq(arena_round(rows[i][0]), rows[i][1]);
        void *block = arena_take(&box.arena, rows[i][0]);
        cr_assert_not_null(block);
        cr_expect_eq(box.arena.used_bytes, rows[i][1]);
        cr_expect_eq((uintptr_t)block % ARENA_BLOCK, 0);
        arena_give(&box.arena, block, rows[i][0]);
    }
    cr_expect_eq(box.arena.high_bytes, 131072);
    expect_all_free(&box.arena);
    free(box.raw);
}

Test(arena, runs_dry_and_comes_back)
{
    static const uint64_t sizes[] = {1, 1024, 3000, 7 * 1024, 8 * 1024, 100 * 1024 + 1, 1 << 18};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct box box;
        void *held[600];
        unsigned n = 0;
        box_open(&box, sizes[i]);
        expect_all_free(&box.arena);
        while (n < 600 && (held[n] = arena_take(&box.arena, 1)) != NULL)
            n++;
        cr_expect_eq(n, (sizes[i] + ARENA_BLOCK - 1) / ARENA_BLOCK,
                     "every byte asked for can be handed out");
        cr_expect_geq(box.arena.high_bytes, sizes[i]);
        for (unsigned k = 0; k < n; k++) /* from both ends inward: buddies join late */
            arena_give(&box.arena, held[k % 2 ? n - 1 - k / 2 : k / 2], 1);
        expect_all_free(&box.arena);
        free(box.raw);
    }
}

Test(arena, small_blocks_come_back_as_they_went_and_join_when_a_large_one_is_wanted)
{
    struct box box;
    void *held[64];
    box_open(&box, 64 * ARENA_BLOCK);
    for (unsigned i = 0; i < 64; i++)
        cr_assert_not_null(held[i] = arena_take(&box.arena, 1));
    arena_give(&box.arena, held[7], 1);
    cr_expect_eq(arena_take(&box.arena, ARENA_BLOCK), held[7]);
    for (unsigned i = 0; i < 63; i++)
        arena_give(&box.arena, held[i], 1);
    cr_expect_null(arena_take(&box.arena, (size_t)64 * ARENA_BLOCK), "one is still held");
    void *half = arena_take(&box.arena, (size_t)32 * ARENA_BLOCK);
    cr_expect_not_null(half);
    arena_give(&box.arena, half, (size_t)32 * ARENA_BLOCK);
    arena_give(&box.arena, held[63], 1);
    expect_all_free(&box.arena);
    free(box.raw);
}

Test(arena, refuses_what_is_too_large)
{
    struct box box;
    box_open(&box, 64 * 1024);
    cr_expect_null(arena_take(&box.arena, 64 * 1024 + 1));
    cr_expect_null(arena_take(&box.arena, (size_t)ARENA_BLOCK << ARENA_ORDERS));
    void *block = arena_take(&box.arena, 64 * 1024);
    cr_expect_not_null(block);
    cr_expect_null(arena_take(&box.arena, 1));
    arena_give(&box.arena, block, 64 * 1024);
    arena_give(&box.arena, NULL, 5);
    expect_all_free(&box.arena);
    free(box.raw);
}

/* Blocks never overlap: each is filled with its own number, which is still there when it is given
 * back. */
Test(arena, random_takes_and_gives)
{
    enum {
        HELD = 64,
        BYTES = 777 * 1024
    };
    uint64_t seed = 5;
    for (unsigned run = 0; run < 20; run++) {
        struct box box;
        struct {
            uint8_t *block;
            size_t size;
        } held[HELD] = {{NULL, 0}};
        uint64_t used = 0;
        unsigned full = 0;
        box_open(&box, BYTES);
        for (unsigned step = 0; step < 1500; step++) {
            unsigned i = (unsigned)(next_random(&seed) % HELD);
            if (held[i].block) {
                for (size_t b = 0; b < held[i].size; b += 97)
                    cr_assert_eq(held[i].block[b], i);
                cr_assert_eq(held[i].block[held[i].size - 1], i);
                arena_give(&box.arena, held[i].block, held[i].size);
                used -= arena_round(held[i].size);
                held[i].block = NULL;
                continue;
            }
            held[i].size =
                1 + (size_t)(next_random(&seed) % (UINT64_C(1) << (next_random(&seed) % 19)));
            held[i].block = arena_take(&box.arena, held[i].size);
            if (!held[i].block) {
                full++;
                continue;
            }
            used += arena_round(held[i].size);
            cr_assert_eq(box.arena.used_bytes, used);
            cr_assert(held[i].block >= box.arena.base);
            cr_assert(held[i].block + held[i].size <= box.arena.base + BYTES);
            memset(held[i].block, (int)i, held[i].size);
        }
        cr_expect_gt(full, 0);
        for (unsigned i = 0; i < HELD; i++)
            arena_give(&box.arena, held[i].block, held[i].size);
        expect_all_free(&box.arena);
        free(box.raw);
    }
}

Test(arena, quotas)
{
    struct box box;
    box_open(&box, 16 * 1024);
    struct quota one = {&box.arena, 0, 9 * 1024, 0}, other = {&box.arena, 0, 16 * 1024, 0};
    void *a = quota_take(&one, 5000);
    cr_assert_not_null(a);
    cr_expect_eq(one.used_bytes, 8192, "what it really takes counts");
    cr_expect_null(quota_take(&one, 1025), "over the quota");
    void *b = quota_take(&one, 1024);
    cr_expect_not_null(b);
    cr_expect_null(quota_take(&one, 1), "to the last byte");
    cr_expect_null(quota_take(&other, 8192), "the arena is full, not the quota");
    cr_expect_eq(other.used_bytes, 0);
    quota_give(&one, NULL, 77);
    quota_give(&one, a, 5000);
    quota_give(&one, b, 1024);
    cr_expect_eq(one.used_bytes, 0);
    a = quota_take(&other, 16 * 1024);
    cr_expect_not_null(a);
    quota_give(&other, a, 16 * 1024);
    struct quota spare = {&box.arena, 0, 4 * 1024, 1024};
    a = quota_take_data(&spare, 2048);
    cr_assert_not_null(a);
    cr_expect_null(quota_take_data(&spare, 1025), "into the quota's reserve");
    b = quota_take_data(&spare, 1024);
    cr_assert_not_null(b);
    cr_expect_null(quota_take_data(&spare, 1));
    void *last = quota_take(&spare, 1);
    cr_expect_not_null(last, "the reserve is for others");
    quota_give(&spare, last, 1);
    quota_give(&spare, b, 1024);
    box.arena.reserve_bytes = 14 * 1024 - 1;
    cr_expect_null(quota_take_data(&spare, 1), "into the arena's reserve");
    box.arena.reserve_bytes = 0;
    quota_give(&spare, a, 2048);
    struct quota none = {&box.arena, 0, 0, 0};
    cr_expect_null(quota_take(&none, 1));
    expect_all_free(&box.arena);
    free(box.raw);
}
