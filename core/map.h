/* map.h -- an open hash from 64-bit hashes to 32-bit indexes; its owner gives the hash and compares
 * the key.
 *
 * SipHash with a random key where strangers choose the bytes (client-chosen connection ids,
 * addresses), XXH3 where we made them (stream ids): SECURITY.md row 5. Linear probing with
 * backward-shift deletion, at most half full. It begins small and doubles in place, in memory that
 * was not touched before, up to what its owner has room for. */
#ifndef AQ_MAP_H
#define AQ_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAP_NONE UINT32_MAX

struct map_entry {
    uint64_t hash;
    uint32_t value;
    uint32_t used; /* the map's mask when it was put there; 0: unused */
};

struct map {
    struct map_entry *v;
    uint32_t mask, count, max;
};

size_t map_size(uint32_t max_entries);
void map_init(struct map *map, void *mem, uint32_t max_entries); /* zeroed memory */
bool map_put(struct map *map, uint64_t hash, uint32_t value);    /* false: full */
/* Values with this hash: map_find(map, hash, &at) first, then map_next until MAP_NONE. */
uint32_t map_find(const struct map *map, uint64_t hash, uint32_t *at);
uint32_t map_next(const struct map *map, uint64_t hash, uint32_t *at);
bool map_remove(struct map *map, uint64_t hash, uint32_t value); /* false: not there */

/* XXH3 of two integers: stream ids and the like. */
uint64_t map_hash(uint64_t a, uint64_t b, uint64_t seed);

#endif
