/* heap.c -- tests of core/heap.c against the plain list of deadlines. */
#include "core/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum {
    IDS = 37
};

static struct heap make(uint32_t max_ids)
{
    struct heap heap;
    void *mem = calloc(1, heap_size(max_ids));
    cr_assert_not_null(mem);
    heap_init(&heap, mem, max_ids);
    return heap;
}

/* The earliest of the list, the lowest id of equals. */
static void expect_top(const struct heap *heap, const uint64_t *when)
{
    uint32_t best = 0, id = UINT32_MAX, count = 0;
    for (uint32_t i = 0; i < IDS; i++) {
        cr_assert_eq(heap_when(heap, i), when[i]);
        best = when[i] < when[best] ? i : best;
        count += when[i] != UINT64_MAX;
    }
    cr_assert_eq(heap->count, count);
    cr_assert_eq(heap_top(heap, &id), when[best]);
    cr_assert_eq(heap_top(heap, NULL), when[best]);
    cr_assert_eq(id, count ? best : UINT32_MAX);
}

Test(heap, like_a_list)
{
    struct heap heap = make(IDS);
    uint64_t when[IDS];
    uint32_t x = 3;
    for (unsigned i = 0; i < IDS; i++)
        when[i] = UINT64_MAX;
    expect_top(&heap, when);
    for (unsigned step = 0; step < 50000; step++) {
        x = x * 1664525 + 1013904223;
        uint32_t id = (x >> 8) % IDS;
        when[id] = x >> 30 == 0 ? UINT64_MAX : (x >> 20) % (step % 2 ? 1000 : 7);
        heap_set(&heap, id, when[id]);
        expect_top(&heap, when);
    }
    free(heap.v);
}

/* Equal deadlines fire in the order of ids, however they came in. */
Test(heap, ties_fire_by_id)
{
    struct heap heap = make(IDS);
    for (uint32_t i = 0; i < IDS; i++)
        heap_set(&heap, i * 5 % IDS, 1000);
    for (uint32_t i = 0; i < IDS; i++) {
        uint32_t id;
        cr_expect_eq(heap_top(&heap, &id), 1000);
        cr_expect_eq(id, i);
        heap_set(&heap, id, UINT64_MAX);
    }
    cr_expect_eq(heap_top(&heap, NULL), UINT64_MAX);
    free(heap.v);
}

Test(heap, the_only_one)
{
    struct heap heap = make(1);
    heap_set(&heap, 0, UINT64_MAX);
    cr_expect_eq(heap.count, 0);
    heap_set(&heap, 0, UINT64_MAX - 1);
    heap_set(&heap, 0, 0);
    cr_expect(heap.count == 1 && heap_when(&heap, 0) == 0);
    heap_set(&heap, 0, UINT64_MAX);
    cr_expect(heap.count == 0 && heap_when(&heap, 0) == UINT64_MAX);
    free(heap.v);
}
