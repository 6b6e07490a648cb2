/* heap.c -- deadlines of many objects: a binary heap by time in which each object's place is known.
 *
 *     v[0] is the earliest; v[i] is not later than v[2i+1] and v[2i+2]; place[v[i].id] == i + 1
 *
 * Items are ordered by (time, id), a total order, so which of two equal deadlines fires first does
 * not depend on the history and the same seed gives the same run.
 *
 * Called by core/endpoint: one id for each connection slot. */
#include "core/heap.h"

#include <assert.h>
#include <stdbool.h>

size_t heap_size(uint32_t max_ids)
{
    return max_ids * (sizeof(struct heap_item) + sizeof(uint32_t));
}

void heap_init(struct heap *heap, void *mem, uint32_t max_ids)
{
    struct heap_item *v = mem;
    *heap = (struct heap){.v = v, .place = (void *)(v + max_ids), .max = max_ids};
}

static bool before(struct heap_item a, struct heap_item b)
{
    return a.when_us != b.when_us ? a.when_us < b.when_us : a.id < b.id;
}

static void put(struct heap *heap, uint32_t i, struct heap_item item)
{
    heap->v[i] = item;
    heap->place[item.id] = i + 1;
}

static void sift_up(struct heap *heap, uint32_t i, struct heap_item item)
{
    while (i > 0 && before(item, heap->v[(i - 1) / 2])) {
        put(heap, i, heap->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(heap, i, item);
}

static void sift_down(struct heap *heap, uint32_t i, struct heap_item item)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(heap->v[child + 1], heap->v[child]))
            child++;
        if (!before(heap->v[child], item))
            break;
        put(heap, i, heap->v[child]);
        i = (uint32_t)child;
    }
    put(heap, i, item);
}

/* Puts item at place i, whose former item is gone, or wherever from there it belongs. */
static void settle(struct heap *heap, uint32_t i, struct heap_item item)
{
    if (i > 0 && before(item, heap->v[(i - 1) / 2]))
        sift_up(heap, i, item);
    else
        sift_down(heap, i, item);
}

void heap_set(struct heap *heap, uint32_t id, uint64_t when_us)
{
    assert(id < heap->max);
    uint32_t place = heap->place[id];
    struct heap_item item = {when_us, id};
    if (when_us != UINT64_MAX) {
        if (place == 0)
            sift_up(heap, heap->count++, item);
        else if (heap->v[place - 1].when_us != when_us)
            settle(heap, place - 1, item);
    } else if (place != 0) {
        struct heap_item last = heap->v[--heap->count];
        heap->place[id] = 0;
        if (last.id != id)
            settle(heap, place - 1, last);
    }
}

uint64_t heap_when(const struct heap *heap, uint32_t id)
{
    assert(id < heap->max);
    return heap->place[id] ? heap->v[heap->place[id] - 1].when_us : UINT64_MAX;
}

uint64_t heap_top(const struct heap *heap, uint32_t *id)
{
    if (heap->count == 0)
        return UINT64_MAX;
    if (id)
        *id = heap->v[0].id;
    return heap->v[0].when_us;
}
