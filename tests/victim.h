/* victim.h -- what the tests of SECURITY.md's rows share: a victim of the hostile peer, and the
 * three questions. */
#ifndef AQ_TESTS_VICTIM_H
#define AQ_TESTS_VICTIM_H

#include "core/endpoint.h"
#include "tests/sim/hostile.h"
#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FLOOD = 20000,
    GROWTH = 64 << 10
};

static inline struct hostile *victim(bool server, enum hostile_stage stage)
{
    struct hostile_config config = {.server = server, .stage = stage};
    struct hostile *peer = hostile_new(&config);

    cr_assert_not_null(peer);
    return peer;
}

static inline struct aq_endpoint_stats stats_of(const struct hostile *peer)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    aq_endpoint_stats(peer->ep, &stats);
    return stats;
}

static inline void closed_with(const struct hostile *peer, uint64_t code, const char *what)
{
    cr_expect(peer->close.seen && !peer->close.application && peer->close.code == code,
              "%s: %s, code %llx '%s'", what, peer->close.seen ? "closed" : "not closed",
              (unsigned long long)peer->close.code, peer->close.reason);
}

static inline void frame_write(struct writer *w, uint64_t type, const uint64_t *numbers,
                               unsigned count)
{
    write_varint(w, type);
    for (unsigned i = 0; i < count; i++)
        write_varint(w, numbers[i]);
}

#endif
