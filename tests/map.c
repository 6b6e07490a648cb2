/* map.c -- tests of core/map.c: against a model, with crafted equal hashes, and XXH3 against its
 * own library. */
#include "core/map.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wconversion"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include <criterion/criterion.h>
#include <stdlib.h>

static struct map make(uint32_t max_entries)
{
    struct map map;
    void *mem = calloc(1, map_size(max_entries));
    cr_assert_not_null(mem);
    map_init(&map, mem, max_entries);
    return map;
}

/* Whether value is among those of this hash; each is seen at most once. */
static bool holds(const struct map *map, uint64_t hash, uint32_t value)
{
    uint32_t at, seen = 0;
    for (uint32_t v = map_find(map, hash, &at); v != MAP_NONE; v = map_next(map, hash, &at))
        seen += v == value;
    cr_assert_leq(seen, 1);
    return seen == 1;
}

Test(map, full_is_refused)
{
    for (uint32_t max = 1; max <= 33; max++) {
        struct map map = make(max);
        for (uint32_t i = 0; i < max; i++)
            cr_assert(map_put(&map, i * UINT64_C(0x9e3779b97f4a7c15), i));
        cr_expect(!map_put(&map, 7, 7));
        cr_expect_eq(map.count, max);
        cr_expect_leq(2 * max, map.mask + 1, "at most half full");
        for (uint32_t i = 0; i < max; i++)
            cr_expect(holds(&map, i * UINT64_C(0x9e3779b97f4a7c15), i));
        cr_expect(map_remove(&map, 0, 0) && map_put(&map, 7, 7));
        free(map.v);
    }
}

/* All of one hash, and of hashes with one home: a stranger's best effort, short of the key. */
Test(map, crafted_equal_hashes)
{
    enum {
        N = 200
    };
    struct map map = make(2 * N);
    for (uint32_t i = 0; i < N; i++) {
        cr_assert(map_put(&map, 0xffff, i)); /* their run wraps around the table's end */
        cr_assert(map_put(&map, 0xffff | (uint64_t)(i + 1) << 32, N + i));
    }
    for (uint32_t i = 0; i < N; i++) {
        cr_assert(holds(&map, 0xffff, i));
        cr_assert(!holds(&map, 0xffff, N + i));
        cr_assert(holds(&map, 0xffff | (uint64_t)(i + 1) << 32, N + i));
    }
    cr_expect(!map_remove(&map, 0xffff, N) && !map_remove(&map, 0x7fff, 0));
    for (uint32_t i = 0; i < N; i++) {
        uint32_t value = i * 77 % N;
        cr_assert(map_remove(&map, 0xffff, value));
        cr_assert(!holds(&map, 0xffff, value) && !map_remove(&map, 0xffff, value));
        cr_assert(holds(&map, 0xffff | (uint64_t)(value + 1) << 32, N + value));
    }
    uint32_t at;
    cr_expect_eq(map_find(&map, 0xffff, &at), MAP_NONE);
    cr_expect_eq(map.count, N);
    free(map.v);
}

/* Few hashes of few homes, so that runs grow together and break again. */
Test(map, like_a_list)
{
    enum {
        MAX = 24,
        HASHES = 12,
        VALUES = 4
    };
    struct map map = make(MAX);
    bool model[HASHES][VALUES] = {{false}};
    uint32_t count = 0, x = 1;
    for (unsigned step = 0; step < 100000; step++) {
        x = x * 1664525 + 1013904223;
        uint32_t h = (x >> 8) % HASHES, value = (x >> 16) % VALUES;
        uint64_t hash = h % 3 * 61 + (uint64_t)h * 0x10000;
        cr_assert_eq(holds(&map, hash, value), model[h][value]);
        if (model[h][value]) {
            cr_assert(map_remove(&map, hash, value));
            model[h][value] = false;
            count--;
        } else {
            cr_assert(!map_remove(&map, hash, value));
            bool room = count < MAX;
            cr_assert_eq(map_put(&map, hash, value), room);
            model[h][value] = room;
            count += room;
        }
        cr_assert_eq(map.count, count);
        if (step % 64 != 0)
            continue;
        for (h = 0; h < HASHES; h++) {
            for (value = 0; value < VALUES; value++)
                cr_assert_eq(holds(&map, h % 3 * 61 + (uint64_t)h * 0x10000, value),
                             model[h][value]);
        }
    }
    free(map.v);
}

/* It touches what it needs and no more, and nothing is lost when it doubles, however the runs lie:
 * with chance's hashes, with few homes, with runs across the table's end, and with holes. */
Test(map, doubles_by_need)
{
    enum {
        MAX = 5000,
        KINDS = 4
    };
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct map map = make(MAX);
        uint64_t x = kind + 1, hashes[MAX];
        uint32_t doubled = 0;
        for (uint32_t i = 0; i < MAX; i++) {
            uint32_t mask = map.mask;
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
            hashes[i] = x >> 20;
            if (kind == 1) /* a few homes far apart, equal hashes among them */
                hashes[i] = (x >> 40) % 50 * 1000;
            if (kind == 2) /* all near the end, whatever the size */
                hashes[i] = UINT64_MAX - (x >> 40) % 20;
            cr_assert(map_put(&map, hashes[i], i));
            if (kind == 3 && i % 3 == 2) { /* some have gone */
                cr_assert(map_remove(&map, hashes[i - 1], i - 1));
                cr_assert(map_put(&map, hashes[i - 1], i - 1));
            }
            cr_assert_leq(2 * map.count, map.mask + 1);
            cr_assert(map.mask == 63 || map.mask / 4 < map.count, "no larger than it needs to be");
            for (uint32_t at = map.mask + 1; i == 100 && at < map_size(MAX) / sizeof *map.v; at++)
                cr_assert_eq(map.v[at].used, 0);
            if (map.mask == mask)
                continue;
            doubled++;
            for (uint32_t j = 0; j <= i; j++)
                cr_assert(holds(&map, hashes[j], j), "kind %u: %u of %u", kind, j, i);
        }
        cr_expect_eq(map_size(MAX), (map.mask + 1) * sizeof *map.v);
        cr_expect_eq(doubled, 8);
        for (uint32_t i = 0; i < MAX; i++)
            cr_assert(map_remove(&map, hashes[i], i));
        for (uint32_t i = 0; i <= map.mask; i++)
            cr_assert_eq(map.v[i].used, 0);
        free(map.v);
    }
}

Test(map, hash_is_xxh3)
{
    uint64_t x = 1;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t in[2], seed;
        in[0] = x = x * UINT64_C(6364136223846793005) + 1;
        in[1] = x = x * UINT64_C(6364136223846793005) + 1;
        seed = i < 10 ? 0 : (x = x * UINT64_C(6364136223846793005) + 1);
        cr_assert_eq(map_hash(in[0], in[1], seed), XXH3_64bits_withSeed(in, sizeof in, seed));
    }
    cr_expect_eq(map_hash(0, 0, 0), XXH3_64bits("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16));
}
