/* map.c -- an open hash from 64-bit hashes to 32-bit indexes.
 *
 * Linear probing in a power-of-two table that is at most half full; removing moves later entries of
 * the run back, so there are no tombstones and a lookup ends at the first unused entry. Several
 * values may share a hash: the owner compares its keys. The whole hash is kept, so a stranger's key
 * is compared only on a 64-bit match.
 *
 *     home = hash & mask     [home][   ][   ][unused]     a run ends at the first unused entry
 *
 * Called by core/endpoint (connection ids of strangers, addresses: SipHash) and by the owners of
 * small integer keys (stream ids: map_hash). */
#include "core/map.h"

#include <assert.h>
#include <string.h>

/* Inline: of xxHash only the code for 16 bytes is left. */
#define XXH_INLINE_ALL
#include <xxhash.h>

static uint64_t capacity(uint32_t max_entries)
{
    uint64_t n = 2;
    while (n < 2 * (uint64_t)max_entries)
        n <<= 1;
    return n;
}

size_t map_size(uint32_t max_entries)
{
    return capacity(max_entries) * sizeof(struct map_entry);
}

void map_init(struct map *map, void *mem, uint32_t max_entries)
{
    assert(max_entries > 0 && max_entries <= UINT32_MAX / 2);
    *map =
        (struct map){.v = mem, .mask = (uint32_t)(capacity(max_entries) - 1), .max = max_entries};
}

bool map_put(struct map *map, uint64_t hash, uint32_t value)
{
    assert(value != MAP_NONE);
    if (map->count == map->max)
        return false;
    uint32_t at = (uint32_t)hash & map->mask;
    while (map->v[at].used)
        at = (at + 1) & map->mask;
    map->v[at] = (struct map_entry){hash, value, 1};
    map->count++;
    return true;
}

/* The first entry of this hash from *at on; *at is then its place. */
static uint32_t scan(const struct map *map, uint64_t hash, uint32_t *at)
{
    for (uint32_t i = *at; map->v[i].used; i = (i + 1) & map->mask) {
        if (map->v[i].hash == hash) {
            *at = i;
            return map->v[i].value;
        }
    }
    return MAP_NONE;
}

uint32_t map_find(const struct map *map, uint64_t hash, uint32_t *at)
{
    *at = (uint32_t)hash & map->mask;
    return scan(map, hash, at);
}

uint32_t map_next(const struct map *map, uint64_t hash, uint32_t *at)
{
    *at = (*at + 1) & map->mask;
    return scan(map, hash, at);
}

bool map_remove(struct map *map, uint64_t hash, uint32_t value)
{
    uint32_t hole;
    uint32_t found = map_find(map, hash, &hole);
    while (found != MAP_NONE && found != value)
        found = map_next(map, hash, &hole);
    if (found == MAP_NONE)
        return false;
    /* An entry may fill the hole if its home is not between the hole (exclusive) and its place
     * (inclusive). */
    for (uint32_t i = (hole + 1) & map->mask; map->v[i].used; i = (i + 1) & map->mask) {
        uint32_t home = (uint32_t)map->v[i].hash & map->mask;
        if (((i - home) & map->mask) < ((i - hole) & map->mask))
            continue;
        map->v[hole] = map->v[i];
        hole = i;
    }
    map->v[hole] = (struct map_entry){0, 0, 0};
    map->count--;
    return true;
}

/* ---- the hash of our own keys ---------------------------------------------------------------- */

uint64_t map_hash(uint64_t a, uint64_t b, uint64_t seed)
{
    const uint64_t key[2] = {a, b};
    return XXH3_64bits_withSeed(key, sizeof key, seed);
}
