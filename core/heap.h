/* heap.h -- deadlines of many objects: a binary heap by time with each object's place known.
 *
 * Set, move and remove are O(log n), the earliest is O(1). Ties fire in the order of ids, so runs
 * repeat. */
#ifndef AQ_HEAP_H
#define AQ_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap_item {
    uint64_t when_us;
    uint32_t id;
};

struct heap {
    struct heap_item *v;
    uint32_t *place; /* by id: position + 1, 0 not in the heap */
    uint32_t count, max;
};

size_t heap_size(uint32_t max_ids);
void heap_init(struct heap *heap, void *mem, uint32_t max_ids);  /* zeroed memory */
void heap_set(struct heap *heap, uint32_t id, uint64_t when_us); /* UINT64_MAX removes */
uint64_t heap_when(const struct heap *heap, uint32_t id);        /* UINT64_MAX: not in */
/* Earliest time, UINT64_MAX if empty; *id if not NULL. */
uint64_t heap_top(const struct heap *heap, uint32_t *id);

#endif
