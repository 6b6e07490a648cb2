/* switch.c -- a conversation that goes from the relay to the direct path, falls back, and returns
 * (issue 5, must show 3).
 *
 * Peer 0 says a little every 20 ms on one stream, and hears it back, each byte once and in order
 * (people.c). The clock of the gaps runs all the time: at the switch there is none above a round
 * trip and 50 ms. Then the direct way is cut: within 2 s it goes on through the relay. Healed, it
 * is direct again; and while it is, the relay carries next to nothing.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#define SECOND   UINT64_C(1000000)
#define SAY_US   UINT64_C(20000)
#define SLACK_US UINT64_C(50000)

enum {
    QUIET_PACKETS = 12 /* of the relay in 20 s: it is looked at now and then */
};

static bool is_direct(struct town *town)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct bond *b = &town->people[i].bonds[1 - i];
        if (b->state != BOND_UP || b->relayed)
            return false;
    }
    return true;
}

/* Talks for so long, or until it is true; returns the longest silence. */
static uint64_t talk(struct town *town, uint64_t us, bool (*until)(struct town *town))
{
    struct world *world = town->world;
    struct person *p = &town->people[0];
    uint64_t end = world->now_us + us;
    p->bonds[1].gap_us = 0;
    while (!world->failed && world->now_us < end && (until == NULL || !until(town))) {
        if (!person_chat(p, 1))
            world_fail(world, "peer 0 cannot speak");
        (void)town_run(town, SAY_US);
    }
    return p->bonds[1].gap_us;
}

static uint64_t relayed_round_trip(const struct town *town)
{
    return 2
           * (town->people[0].host->box->delay_us + 2 * town->boots[0].host->delay_us
              + town->people[1].host->box->delay_us);
}

static void check_gap(struct world *world, const char *what, uint64_t gap, uint64_t limit)
{
    world_measure(world, what, gap);
    if (gap > limit)
        world_fail(world, "%s: %u ms, more than %u ms", what, (unsigned)(gap / 1000),
                   (unsigned)(limit / 1000));
}

static uint64_t relayed_packets(const struct town *town)
{
    struct aq_bootstrap_stats stats = {.size = sizeof stats};
    uint64_t packets = 0;
    for (unsigned i = 0; i < town->boot_count; i++) {
        aq_bootstrap_stats(town->boots[i].node, &stats);
        packets += stats.in.packets;
    }
    return packets;
}

static struct town *move_in(struct world *world)
{
    static const char *const kinds[] = {"full-cone", "address", "port", "linux", "linux-open"};
    struct town *town = town_new(world, 2, 1, NULL);
    for (unsigned i = 0; i < 2 && !world->failed; i++) {
        const char *kind = kinds[world_below(world, sizeof kinds / sizeof *kinds)];
        person_move_in(town, i, box_new(world, box_kind(kind), NULL));
    }
    if (!town_until(town, all_known, 20 * SECOND))
        world_fail(world, "not registered");
    return town;
}

static bool is_up(struct town *town)
{
    return town->people[0].bonds[1].state == BOND_UP;
}

void play_switch(struct world *world)
{
    struct town *town = move_in(world);
    const void *a = host_site(town->people[0].host), *b = host_site(town->people[1].host);
    uint64_t trip = relayed_round_trip(town);
    (void)person_connect(&town->people[0], 1, 0);
    if (!town_until(town, is_up, 5 * SECOND))
        world_fail(world, "not connected");
    uint64_t began = world->now_us;
    uint64_t gap = talk(town, 10 * SECOND, is_direct);
    world_measure(world, "switch: connected, to direct", world->now_us - began);
    if (!world->failed && !is_direct(town))
        world_fail(world, "not direct");
    uint64_t after = talk(town, SECOND, NULL);
    gap = after > gap ? after : gap;
    check_gap(world, "switch: silence at the switch", gap, trip + SLACK_US + SAY_US);
    uint64_t before = relayed_packets(town);
    (void)talk(town, 20 * SECOND, NULL);
    if (relayed_packets(town) - before > QUIET_PACKETS)
        world_fail(world, "it is direct, and the relay has carried %u packets",
                   (unsigned)(relayed_packets(town) - before));
    world_set_cut(world, a, b, true);
    gap = talk(town, 10 * SECOND + world_below(world, 60 * SECOND), NULL);
    check_gap(world, "switch: silence when the direct path dies", gap, 2 * SECOND);
    world_set_cut(world, a, b, false);
    began = world->now_us;
    gap = talk(town, 30 * SECOND, is_direct);
    check_gap(world, "switch: silence when it is back", gap, trip + SLACK_US + SAY_US);
    world_measure(world, "switch: healed, to direct", world->now_us - began);
    if (!world->failed && !is_direct(town))
        world_fail(world, "healed, and not direct");
    if (town->people[0].bonds[1].closed > 0 || town->people[1].bonds[0].closed > 0)
        world_fail(world, "the connection has not survived");
    town_check_mutual(town);
    town_leave(town);
    town_free(town);
}
