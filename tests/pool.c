/* pool.c -- tests of core/pool.c: it runs dry, stale handles are refused, warm slots come first. */
#include "core/pool.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
    COUNT = 20,
    ITEM = 100
};

static struct pool make(uint32_t item_size, uint32_t count)
{
    struct pool pool;
    size_t size = pool_size(item_size, count);
    void *mem = aligned_alloc(64, size);
    cr_assert_not_null(mem);
    memset(mem, 0, size);
    pool_init(&pool, mem, item_size, count);
    return pool;
}

Test(pool, runs_dry_and_comes_back)
{
    struct pool pool = make(ITEM, COUNT);
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            uint32_t index = pool_take(&pool);
            cr_assert_lt(index, COUNT);
            uint8_t *item = pool_at(&pool, index);
            cr_expect_eq((uintptr_t)item % 64, 0);
            cr_expect_eq(pool_index(&pool, item), index);
            for (unsigned b = 0; b < ITEM; b++)
                cr_assert_eq(item[b], 0, "an item begins zeroed");
            memset(item, 0xee, ITEM);
        }
        cr_expect_eq(pool_take(&pool), POOL_NONE);
        cr_expect(pool.used == COUNT && pool.high == COUNT);
        for (uint32_t i = 0; i < COUNT; i++)
            pool_give(&pool, i);
        cr_expect_eq(pool.used, 0);
    }
    free(pool.items);
}

Test(pool, handles)
{
    struct pool pool = make(1, 4);
    uint32_t a = pool_take(&pool), b = pool_take(&pool);
    uint64_t handle_a = pool_handle(&pool, a), handle_b = pool_handle(&pool, b);
    cr_expect(handle_a != 0 && handle_b != 0 && handle_a != handle_b);
    cr_expect(pool_find(&pool, handle_a) == a && pool_find(&pool, handle_b) == b);
    pool_give(&pool, a);
    cr_expect_eq(pool_find(&pool, handle_a), POOL_NONE, "given back");
    cr_expect_eq(pool_find(&pool, handle_a + (UINT64_C(1) << 32)), POOL_NONE, "a free slot");
    cr_expect_eq(pool_take(&pool), a, "the warm slot comes first");
    cr_expect_eq(pool_find(&pool, handle_a), POOL_NONE, "another life");
    cr_expect_eq(pool_find(&pool, pool_handle(&pool, a)), a);
    cr_expect_eq(pool_find(&pool, handle_b), b);
    free(pool.items);
}

Test(pool, nonsense_is_no_handle)
{
    struct pool pool = make(64, 4);
    (void)pool_take(&pool);
    static const uint64_t nonsense[] = {
        0,
        1,
        2,
        UINT64_C(1) << 32,
        UINT64_C(1) << 32 | 2,
        UINT64_C(2) << 32 | 1,
        UINT64_C(1) << 32 | 5,
        UINT64_C(1) << 32 | UINT32_MAX,
        UINT64_MAX,
    };
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++)
        cr_expect_eq(pool_find(&pool, nonsense[i]), POOL_NONE, "%u", i);
    free(pool.items);
}

/* Random takes and gives: never one slot twice, and every old handle stays refused. */
Test(pool, random_lives)
{
    struct pool pool = make(8, COUNT);
    uint64_t live[COUNT] = {0}, old[COUNT] = {0};
    uint32_t used = 0, high = 0, x = 9;
    for (unsigned step = 0; step < 20000; step++) {
        x = x * 1664525 + 1013904223;
        uint32_t index = (x >> 16) % COUNT;
        if (live[index]) {
            pool_give(&pool, index);
            old[index] = live[index];
            live[index] = 0;
            used--;
        } else if (x >> 31) {
            index = pool_take(&pool);
            cr_assert(index < COUNT && live[index] == 0);
            live[index] = pool_handle(&pool, index);
            high = ++used > high ? used : high;
        }
        cr_assert(pool.used == used && pool.high == high);
        cr_assert(pool_find(&pool, live[index]) == (live[index] ? index : POOL_NONE));
        cr_assert_eq(pool_find(&pool, old[index]), POOL_NONE);
    }
    free(pool.items);
}
