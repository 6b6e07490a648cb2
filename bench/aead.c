/* bench/aead.c -- what packet protection costs: ns per packet, by backend, cipher, size and batch.
 *
 *   ninja build/bench/aead && build/bench/aead [MILLISECONDS]
 *
 * Each figure is the best of rounds that take the backends in turn, each of so many milliseconds
 * in all (20): the machine's noise only ever adds. Seal and open include the header's mask; the
 * column mask is that alone. The last column is what a batch costs more when its keys have lost
 * their places in the cache, and contexts are made anew. */
#include "crypto/protect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BATCH_MAX = 44,
    PACKET_MAX = 1452,
    ROUNDS = 5
};

static const char *const names[] = {"boringssl", "ipsec-mb"};
static const char *const cipher_names[] = {"AES-128-GCM", "AES-256-GCM", "ChaCha20-Poly1305"};
static uint8_t bytes[BATCH_MAX][PACKET_MAX + 64];
static double round_ns = 20e6 / ROUNDS;

struct host {
    struct protect p;
    struct aead_key key;
    struct hp_key hp;
};

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool host_open(struct host *h, const char *name, enum cipher cipher)
{
    uint8_t raw[32] = {1, 2, 3};
    size_t size = protect_size(name, 1);
    void *mem = aligned_alloc(64, (size + 63) & ~(size_t)63);

    if (mem == NULL) {
        return false;
    }
    memset(mem, 0, size);
    if (!protect_init(&h->p, mem, name, 1)) {
        free(mem);
        return false;
    }
    protect_aead_init(&h->key, cipher, raw, raw);
    protect_hp_init(&h->hp, cipher, raw);
    protect_aead_bind(&h->key, &h->p);
    protect_hp_bind(&h->hp, &h->p);
    return true;
}

enum work {
    SEAL,
    OPEN,
    MASK,
    FRESH,
    WORKS
};

static void batch_make(struct sealed *v, unsigned n, uint32_t size)
{
    for (unsigned i = 0; i < n; i++) {
        bytes[i][0] = 0x41;
        v[i] = (struct sealed){.data = bytes[i],
                               .number = 1000 + i,
                               .size = size,
                               .pn_offset = 9,
                               .pn_size = 2,
                               .ok = true};
    }
}

/* One call's work on a batch. Opening what is not authentic costs the same but for clearing it, so
 * opened packets are sealed ones, kept aside. */
static double run(struct host *h, enum work work, unsigned n, uint32_t size)
{
    static uint8_t kept[BATCH_MAX][PACKET_MAX + 64];
    struct sealed v[BATCH_MAX];
    double spent = 0, begin;

    batch_make(v, n, size);
    if (work == OPEN) {
        protect_seal(&h->key, &h->hp, v, n);
        memcpy(kept, bytes, sizeof kept);
    }
    unsigned calls = 0;
    for (double start = now_ns(); now_ns() - start < round_ns;) {
        enum {
            CALLS = 16
        };
        for (unsigned k = 0; k < CALLS; k++) {
            if (work == OPEN) {
                memcpy(bytes, kept, sizeof(bytes[0]) * n);
            } else {
                batch_make(v, n, size);
            }
            if (work == FRESH) { /* the same key by another serial: a miss */
                protect_aead_bind(&h->key, &h->p);
                protect_hp_bind(&h->hp, &h->p);
            }
            begin = now_ns();
            if (work == OPEN || work == MASK) {
                protect_unmask(&h->hp, v, n);
            }
            if (work == OPEN) {
                for (unsigned i = 0; i < n; i++) {
                    v[i].number = 1000 + i;
                }
                protect_open(&h->key, v, n);
            } else if (work != MASK) {
                protect_seal(&h->key, &h->hp, v, n);
            }
            spent += now_ns() - begin;
        }
        calls += CALLS;
    }
    for (unsigned i = 0; work == OPEN && i < n; i++) {
        if (!v[i].ok) {
            (void)fputs("a sealed packet does not open\n", stderr);
            exit(1);
        }
    }
    return spent / calls / n;
}

/* What two readings of the clock cost, which is in every figure. */
static double clock_cost(void)
{
    double best = 1e9;
    for (unsigned i = 0; i < 1000; i++) {
        double a = now_ns(), b = now_ns();
        best = b - a < best ? b - a : best;
    }
    return best;
}

static double best_of(struct host *h, enum work work, unsigned n, uint32_t size, double best)
{
    double t = run(h, work, n, size) - clock_cost() / n;
    return t < best ? t : best;
}

static void line(struct host *hosts, const bool *there, enum cipher cipher, uint32_t size,
                 unsigned n)
{
    double best[2][WORKS] = {{1e9, 1e9, 1e9, 1e9}, {1e9, 1e9, 1e9, 1e9}};

    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned b = 0; b < 2; b++) {
            for (enum work w = SEAL; there[b] && w < WORKS; w++) {
                best[b][w] = best_of(&hosts[b], w, n, size, best[b][w]);
            }
        }
    }
    for (unsigned b = 0; b < 2; b++) {
        if (there[b]) {
            (void)printf("%-18s %5u %5u  %-10s %7.1f %7.1f %7.1f %9.1f\n", cipher_names[cipher],
                         size, n, names[b], best[b][SEAL], best[b][OPEN], best[b][MASK],
                         (best[b][FRESH] - best[b][SEAL]) * n);
        }
    }
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {64, 1200, 1452};
    static const unsigned batches[] = {1, 8, 44};

    if (argc > 1) {
        round_ns = strtod(argv[1], NULL) * 1e6 / ROUNDS;
    }
    (void)printf("%-18s %5s %5s  %-10s %7s %7s %7s %9s\n", "ns per packet", "bytes", "batch",
                 "backend", "seal", "open", "mask", "new keys");
    for (enum cipher c = CIPHER_AES_128_GCM; c <= CIPHER_CHACHA20; c++) {
        struct host hosts[2];
        bool there[2];
        for (unsigned b = 0; b < 2; b++) {
            there[b] = protect_check(names[b]) == NULL && host_open(&hosts[b], names[b], c);
        }
        for (unsigned s = 0; s < 3; s++) {
            for (unsigned n = 0; n < 3; n++) {
                line(hosts, there, c, sizes[s], batches[n]);
            }
        }
    }
    return 0;
}
