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

enum {
    MAP_START = 64 /* entries at first: 1 KiB */
};

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
    uint64_t most = capacity(max_entries);
    uint32_t mask = (uint32_t)(most < MAP_START ? most : MAP_START) - 1;
    *map = (struct map){.v = mem, .mask = mask, .max = max_entries};
}

/* Puts an entry where it belongs by the map's mask. On its way it takes the place of one that was
 * put there by an older mask, which then goes on in its stead: entries of the present mask are
 * never moved, so their runs have no gaps. */
static void place(struct map *map, struct map_entry e)
{
    while (e.used) {
        uint32_t at = (uint32_t)e.hash & map->mask;
        while (map->v[at].used == map->mask)
            at = (at + 1) & map->mask;
        struct map_entry before = map->v[at];
        map->v[at] = (struct map_entry){e.hash, e.value, map->mask};
        e = before;
    }
}

static void grow(struct map *map)
{
    uint32_t old = map->mask;
    map->mask = 2 * old + 1;
    for (uint32_t i = 0; i <= old; i++) {
        struct map_entry e = map->v[i];
        if (e.used != old)
            continue;
        map->v[i].used = 0;
        place(map, e);
    }
}

bool map_put(struct map *map, uint64_t hash, uint32_t value)
{
    assert(value != MAP_NONE);
    if (map->count == map->max)
        return false;
    if (map->count == map->mask / 2 + 1) /* half full; below max, so there is room */
        grow(map);
    place(map, (struct map_entry){hash, value, map->mask});
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
