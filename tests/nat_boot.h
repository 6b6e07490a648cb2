/* nat_boot.h -- test helper: a registry, and peers that talk to it without connections. */
#ifndef TESTS_NAT_BOOT_H
#define TESTS_NAT_BOOT_H

#include "nat/registry.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct registry boot;
static struct registry_config boot_config;
static struct relay boot_relay;
static struct rng boot_rng;
static struct registry_out said[REGISTRY_OUT];
static struct message heard[REGISTRY_OUT]; /* decoded from `said` */
static unsigned said_count;

static inline void *boot_memory(size_t size)
{
    size_t rounded = (size + 63) & ~(size_t)63;
    void *mem = aligned_alloc(64, rounded);
    cr_assert_not_null(mem);
    memset(mem, 0, rounded);
    return mem;
}

static inline void boot_start(void)
{
    static const uint8_t seed[32] = {42};
    struct relay_config relay_config;
    rng_init(&boot_rng, seed);
    relay_config_init(&relay_config);
    relay_config.max_pairs = 64;
    relay_config.max_pairs_per_peer = 8;
    relay_init(&boot_relay, boot_memory(relay_size(&relay_config)), &relay_config, &boot_rng);
    boot_config.relay = &boot_relay;
    registry_init(&boot, boot_memory(registry_size(&boot_config)), &boot_config, &boot_rng);
}

static inline struct peer_id boot_id(unsigned n)
{
    return (struct peer_id){{(uint8_t)(n >> 8), (uint8_t)n, 7}};
}

/* Peer n is on connection n + 1 unless told otherwise, at an address of its own. */
static inline struct aq_addr boot_addr(unsigned n)
{
    return (struct aq_addr){.family = 4,
                            .ip = {198, 51, (uint8_t)(n >> 8), (uint8_t)n},
                            .port = (uint16_t)(40000 + n % 20000)};
}

static inline void boot_hear(void)
{
    for (unsigned i = 0; i < said_count; i++) {
        if (said[i].to.family != 0) /* a datagram */
            continue;
        cr_assert_eq(message_size(said[i].data, said[i].size), said[i].size);
        cr_assert_eq(message_decode(said[i].data, said[i].size, &heard[i]), MESSAGE_GOOD);
    }
}

static inline void boot_bytes(unsigned n, uint64_t conn, const uint8_t *data, size_t size,
                              uint64_t now)
{
    struct registry_in in = {.conn = conn,
                             .peer = boot_id(n),
                             .path.remote = boot_addr(n),
                             .rtt_us = n * 1000,
                             .data = data,
                             .size = size};
    said_count = registry_recv(&boot, &in, said, now);
    boot_hear();
}

static inline void boot_say(unsigned n, uint64_t conn, const struct message *m, uint64_t now)
{
    uint8_t data[MESSAGE_MAX];
    size_t size = message_encode(m, data, sizeof data);
    cr_assert_gt(size, 0);
    boot_bytes(n, conn, data, size, now);
}

static inline struct message boot_register(unsigned n)
{
    struct message m = {.type = MESSAGE_REGISTER,
                        .version = 1,
                        .peer_id = boot_id(n),
                        .lease_s = 120,
                        .generation = 5,
                        .capabilities = CAPABLE_RELAY | CAPABLE_PUNCH};
    message_set(&m, FIELD_VERSION);
    message_set(&m, FIELD_PEER_ID);
    message_set(&m, FIELD_LEASE);
    message_set(&m, FIELD_GENERATION);
    message_set(&m, FIELD_CAPABILITIES);
    return m;
}

/* What it answers. */
static inline unsigned boot_try(unsigned n, uint64_t conn, const struct message *m, uint64_t now)
{
    boot_say(n, conn, m, now);
    cr_assert_eq(said_count, 1);
    cr_assert_eq(said[0].conn, conn);
    cr_assert_eq(heard[0].type, MESSAGE_REGISTERED);
    return heard[0].reason;
}

static inline void boot_join(unsigned n, uint64_t now)
{
    struct message m = boot_register(n);
    cr_assert_eq(boot_try(n, n + 1, &m, now), NAT_ACCEPTED);
}

#endif
