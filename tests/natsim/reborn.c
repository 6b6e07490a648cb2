/* reborn.c -- a peer is killed and is back, with its key and at its port, within a second.
 *
 * Whoever was connected to it says something, and is told by a stateless reset (RFC 9000 §10.3)
 * that comes the way the packet went, through the relay or not: one round trip later the connection
 * is over, and not at its idle timeout; then there is a new one. Only a client's first connection
 * id has no token (RFC 9000 §18.2): where the relayed path still goes to that, two probe timeouts
 * pass, and the bootstrap node is asked. In every fourth world it is not killed, but somebody
 * starts a second peer with its key and port elsewhere: that ends nothing of the first one's.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#include <string.h>

#define SECOND   UINT64_C(1000000)
#define SLACK_US UINT64_C(50000)
#define ASKED_US (2 * SECOND)
#define AGAIN_US (6 * SECOND) /* a second's backoff, and a registration that may be tried twice */

enum {
    PORT = 5555
};

static void at_a_port(const struct person *p, struct aq_node_config *config)
{
    static const struct aq_addr listen = {.family = 4, .port = PORT};
    (void)p;
    config->listen = &listen;
    config->listen_count = 1;
}

static const struct town_tweaks tweaks = {.node = at_a_port};

static bool are_up(struct town *town)
{
    return town->people[0].bonds[1].state == BOND_UP && town->people[1].bonds[0].state == BOND_UP;
}

static bool are_direct(struct town *town)
{
    return are_up(town) && !town->people[0].bonds[1].relayed && !town->people[1].bonds[0].relayed;
}

static bool is_told(struct town *town)
{
    return town->people[0].bonds[1].closed > 0;
}

static bool is_heard(struct town *town)
{
    return town->people[0].bonds[1].echoed;
}

static uint64_t relayed_round_trip(const struct town *town)
{
    return 2
           * (town->people[0].host->box->delay_us + 2 * town->boots[0].host->delay_us
              + town->people[1].host->box->delay_us);
}

/* Peer 0 says something, and it comes back. */
static void talk(struct town *town, const char *when)
{
    town->people[0].bonds[1].echoed = false;
    if (!town->world->failed && !person_say(&town->people[0], 1))
        world_fail(town->world, "%s: peer 0 cannot speak", when);
    if (!town_until(town, is_heard, 5 * SECOND))
        world_fail(town->world, "%s: peer 0 is not heard", when);
}

static void comes_back(struct town *town, const char *name, bool by_token)
{
    struct world *world = town->world;
    const struct bond *b = &town->people[0].bonds[1];
    uint64_t limit = by_token ? relayed_round_trip(town) + SLACK_US : ASKED_US;
    person_kill(&town->people[1]);
    (void)town_run(town, world_below(world, SECOND));
    person_start(&town->people[1]);
    /* Its bootstrap node must hear of it first, where that is the way. */
    (void)town_run(town, world_below(world, 10 * SECOND));
    uint64_t began = world->now_us;
    if (b->state == BOND_UP) /* else it was told before it has said anything */
        (void)person_say(&town->people[0], 1);
    if (!town_until(town, is_told, limit))
        world_fail(world, "%s: after %u ms nothing is told", name, (unsigned)(limit / 1000));
    world_measure(world, name, world->now_us - began);
    if (!world->failed && by_token
        && strcmp(b->reason, "the peer has started anew: stateless reset") != 0)
        world_fail(world, "%s: closed: %s", name, b->reason);
    began = world->now_us;
    if (!town_until(town, are_up, AGAIN_US))
        world_fail(world, "%s: not connected again", name);
    world_measure(world, "reborn: connected again", world->now_us - began);
    talk(town, name);
    if (!world->failed && (b->closed != 1 || b->sessions != b->ends))
        world_fail(world, "%s: %u ends of one connection, %u of %u tries", name, b->closed, b->ends,
                   b->sessions);
}

static void has_a_twin(struct town *town, const char *name)
{
    struct world *world = town->world;
    struct person *twin = &town->people[2];
    memcpy(twin->key, town->people[1].key, sizeof twin->key);
    person_kill(twin);
    person_start(twin);
    for (unsigned i = 0; i < 20 && !world->failed; i++) { /* beyond the first one's next renewal */
        (void)town_run(town, 5 * SECOND);
        talk(town, name);
    }
    if (town->people[0].bonds[1].closed > 0 || town->people[1].bonds[0].closed > 0)
        world_fail(world, "%s: the first one's connection has ended", name);
    person_kill(twin);
}

void play_reborn(struct world *world)
{
    static const char *const open[] = {"full-cone", "address", "port", "linux"};
    bool direct = world->seed % 2 == 0, twin = world->seed / 2 % 4 == 3;
    struct town *town = town_new(world, twin ? 3 : 2, 1, &tweaks);
    for (unsigned i = 0; i < town->count && !world->failed; i++)
        person_move_in(
            town, i,
            box_new(world, box_kind(direct ? open[world_below(world, 4)] : "symmetric"), NULL));
    if (!town_until(town, all_known, 20 * SECOND))
        world_fail(world, "not registered");
    bool called = world->seed / 8 % 2 == 1; /* by the peer that is killed */
    (void)person_connect(&town->people[called], !called, 0);
    if (!town_until(town, are_up, 20 * SECOND))
        world_fail(world, "not up");
    (void)person_connect(&town->people[0], 1, AQ_NODE_KEEP); /* it is there, and is kept */
    if (!town_until(town, direct ? are_direct : are_up, 20 * SECOND))
        world_fail(world, "not connected");
    (void)town_run(town, 10 * SECOND + world_below(world, 60 * SECOND));
    talk(town, "before");
    if (twin)
        has_a_twin(town, direct ? "twin: direct" : "twin: relayed");
    else
        comes_back(town,
                   direct   ? "reborn: direct, told"
                   : called ? "reborn: relayed, a client, told"
                            : "reborn: relayed, told",
                   direct || !called);
    if (!twin)
        town_check_mutual(town);
    if (!twin)
        town_leave(town);
    town_free(town);
}
