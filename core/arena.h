/* arena.h -- shared memory in power-of-two blocks (a buddy allocator), and each connection's quota
 * of it.
 *
 * Send queues, reassembly buffers, and rings of what is in flight grow and shrink in it; an idle
 * connection holds nothing. One fixed piece of zeroed memory, no system call; free blocks keep
 * their list links inside themselves, one byte per smallest block says what stands there. Take and
 * give are O(log). */
#ifndef AQ_ARENA_H
#define AQ_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ARENA_BLOCK = 512,
    ARENA_ORDERS = 24
};

struct arena {
    uint8_t *base;   /* ARENA_BLOCK-aligned */
    uint8_t *state;  /* per smallest block: order of the free or taken block that begins here */
    uint32_t blocks; /* of ARENA_BLOCK bytes */
    uint32_t free[ARENA_ORDERS]; /* first free block of each order, 1-based; 0 none */
    uint32_t loose, loose_count; /* smallest blocks given back and not joined: a stack, 1-based */
    uint64_t used_bytes, high_bytes;
    uint64_t reserve_bytes; /* kept from streams' bytes; the owner's to set [0] */
};

/* Bytes of memory for an arena that can hand out `bytes`. */
size_t arena_size(uint64_t bytes);
/* mem: arena_size(bytes) zeroed bytes, 64-byte aligned. */
void arena_init(struct arena *arena, void *mem, uint64_t bytes);

/* What a request of size really takes: the power of two at or above, at least ARENA_BLOCK. */
static inline size_t arena_round(size_t size)
{
    size_t block = ARENA_BLOCK;
    while (block < size)
        block <<= 1;
    return block;
}

/* A block of at least size bytes, contents undefined, ARENA_BLOCK-aligned; NULL: full. */
void *arena_take(struct arena *arena, size_t size);
/* Gives it back; size as asked for. NULL is ignored. */
void arena_give(struct arena *arena, void *block, size_t size);

/* One connection's part. Who may hold blocks: its streams' queues, its sent rings, its CRYPTO
 * buffers. */
struct quota {
    struct arena *arena;
    uint64_t used_bytes, max_bytes;
    uint64_t reserve_bytes; /* kept from streams' bytes, the last of it [0] */
};

void *quota_take(struct quota *quota, size_t size); /* NULL: over quota, or arena full */
/* The same for bytes of streams, which leave both reserves alone: what was written can be sent,
 * acknowledged and so given back only while there is room to remember packets. */
void *quota_take_data(struct quota *quota, size_t size);
void quota_give(struct quota *quota, void *block, size_t size);

#endif
