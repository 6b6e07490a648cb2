/* scenario.c -- scenarios about calls, restarts and crowds, and what all have in common
 * (scenarios.h).
 *
 * Called by main.c. */
#include "tests/natsim/scenarios.h"

#include <string.h>

#define SECOND UINT64_C(1000000)
/* PROTOCOL §3: what a bootstrap node keeps of a peer that is gone, it keeps until the lease ends.
 */
#define LEASE (120 * SECOND)

/* ---- in common ------------------------------------------------------------------------------- */

void weather_draw(struct world *world, uint32_t loss_ppm)
{
    struct weather *w = &world->weather;
    *w = (struct weather){.loss_ppm = 0};
    if (world_below(world, 4) == 0)
        return;
    w->jitter_us = world_below(world, 3000);
    w->loss_ppm = (uint32_t)world_below(world, loss_ppm + 1);
    w->reorder_ppm = (uint32_t)world_below(world, 20000);
    w->reorder_us = world_below(world, 30000);
    w->duplicate_ppm = (uint32_t)world_below(world, 5000);
}

static const struct box_kind *kind_draw(struct world *world)
{
    for (;;) {
        const struct box_kind *kind = &box_kinds[world_below(world, box_kind_count)];
        if (!kind->blocks)
            return kind;
    }
}

struct box *place_draw(struct town *town, unsigned index)
{
    struct world *world = town->world;
    switch (world_below(world, 8)) {
    case 0: return NULL;
    case 1:
        if (index > 0)
            return town->people[world_below(world, index)].host->box;
        return NULL;
    case 2: { /* a home behind a carrier's NAT */
        struct box *carrier = box_new(world, box_kind("linux"), NULL);
        return box_new(world, box_kind("port"), carrier);
    }
    default: break;
    }
    struct box *box = box_new(world, kind_draw(world), NULL);
    if (world_below(world, 3) == 0) /* shorter than RFC 4787 allows: peers speak every 25 s */
        box->timeout_us = 30 * SECOND;
    return box;
}

bool town_run(struct town *town, uint64_t us)
{
    uint64_t end = town->world->now_us + us;
    while (town->world->now_us < end && !town->world->failed) {
        uint64_t step = end - town->world->now_us;
        (void)world_run(town->world, town->world->now_us + (step < SECOND ? step : SECOND));
        town_reap(town);
        town_check_stuck(town);
    }
    return !town->world->failed;
}

bool town_until(struct town *town, bool (*is)(struct town *town), uint64_t limit_us)
{
    uint64_t end = town->world->now_us + limit_us;
    while (!town->world->failed && !is(town)) {
        if (town->world->now_us >= end)
            return false;
        (void)town_run(town, SECOND / 20);
    }
    return !town->world->failed;
}

bool all_registered(struct town *town)
{
    unsigned boots = 0;
    for (unsigned i = 0; i < town->boot_count; i++)
        boots += town->boots[i].node != NULL && !town->boots[i].stopping;
    for (unsigned i = 0; i < town->count; i++)
        if (town->people[i].node != NULL && person_registered(&town->people[i]) < boots)
            return false;
    return true;
}

bool all_known(struct town *town)
{
    unsigned people = 0;
    for (unsigned i = 0; i < town->count; i++)
        people += town->people[i].node != NULL && !town->people[i].stopping;
    for (unsigned i = 0; i < town->boot_count; i++)
        if (town->boots[i].node != NULL && boot_peers(&town->boots[i]) < people)
            return false;
    return all_registered(town);
}

static bool is_heard(const struct person *p, unsigned other)
{
    const struct bond *b = &p->bonds[other];
    return p->node == NULL || b->state != BOND_UP || b->said == 0 || b->echoed;
}

static bool all_echoed(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++)
            if (!is_heard(&town->people[i], j))
                return false;
    return true;
}

void town_check_talk(struct town *town)
{
    for (unsigned i = 0; i < town->count && !town->world->failed; i++)
        for (unsigned j = 0; j < town->count && town->people[i].node != NULL; j++) {
            struct person *p = &town->people[i];
            if (p->bonds[j].state == BOND_UP && !person_say(p, j))
                world_fail(town->world, "peer %u cannot speak to peer %u", i, j);
        }
    (void)town_until(town, all_echoed, 20 * SECOND);
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++)
            if (!is_heard(&town->people[i], j))
                world_fail(town->world, "peer %u is connected to peer %u, and hears %u of %u bytes",
                           i, j, town->people[i].bonds[j].heard, town->people[i].bonds[j].said);
}

void town_check_mutual(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++) {
            const struct person *a = &town->people[i], *b = &town->people[j];
            bool there = a->node != NULL && a->bonds[j].state == BOND_UP;
            bool here = b->node != NULL && b->bonds[i].state == BOND_UP;
            if (there && !here)
                world_fail(town->world, "peer %u is connected to peer %u, which is %s", i, j,
                           b->node ? bond_state_name(b->bonds[i].state) : "dead");
        }
}

void town_leave(struct town *town)
{
    for (unsigned i = 0; i < town->count && !town->world->failed; i++)
        for (unsigned j = 0; j < town->count && town->people[i].node != NULL; j++)
            if (town->people[i].bonds[j].state != BOND_NONE)
                person_disconnect(&town->people[i], j);
    /* A connection whose other end does not hear it is closed ends by its idle timeout. */
    if (!town_run(town, LEASE + 20 * SECOND))
        return;
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++) {
            const struct bond *b = &town->people[i].bonds[j];
            if (b->state != BOND_NONE)
                world_fail(town->world, "all have left, and peer %u is %s to peer %u", i,
                           bond_state_name(b->state), j);
        }
    town_check_empty(town);
}

static struct town *populate(struct world *world, unsigned people, unsigned boots)
{
    world->ipv6 = world_below(world, 4) == 0;
    struct town *town = town_new(world, people, boots, NULL);
    for (unsigned i = 0; i < people && !world->failed; i++)
        person_move_in(town, i, place_draw(town, i));
    return town;
}

/* ---- both call each other at once (issue 5, must show 5) ---------------------------------------
 */

/* Less than a handshake's timeout: nobody waits for somebody who waits. */
#define CALL_US (8 * SECOND)

static bool all_up(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++)
            if (i != j && town->people[i].bonds[j].state != BOND_UP)
                return false;
    return true;
}

/* Exactly one connection, told once on each side, and the same on both. */
static void check_one(struct town *town)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct bond *b = &town->people[i].bonds[1 - i];
        struct aq_endpoint_stats ep = {.size = sizeof ep};
        aq_endpoint_stats(aq_loop_endpoint(aq_node_loop(town->people[i].node)), &ep);
        if (b->state != BOND_UP || b->connected != 1 || b->failed > 0 || b->closed > 0)
            world_fail(town->world, "peer %u is %s: %u times connected, %u failed, %u closed", i,
                       bond_state_name(b->state), b->connected, b->failed, b->closed);
        else if (ep.conns != town->boot_count + 1)
            world_fail(town->world, "peer %u has %u connections, %u of them to bootstrap nodes", i,
                       ep.conns, town->boot_count);
    }
}

static void play_call(struct world *world)
{
    static const uint64_t spread[] = {0, 1000, 10000, 60000, 150000, 400000};
    unsigned boots = 1 + (unsigned)world_below(world, 3);
    weather_draw(world, 20000);
    struct town *town = populate(world, 2, boots);
    uint64_t most = spread[world_below(world, sizeof spread / sizeof *spread)];
    if (!town_until(town, all_registered, 60 * SECOND))
        world_fail(world, "not registered within a minute");
    unsigned first = (unsigned)world_below(world, 2);
    (void)town_run(town, world_below(world, 40 * SECOND));
    (void)person_connect(&town->people[first], 1 - first, 0);
    (void)town_run(town, world_below(world, most + 1));
    (void)person_connect(&town->people[1 - first], first, 0);
    uint64_t began = world->now_us;
    if (!town_until(town, all_up, CALL_US))
        world_fail(world, "not connected within %u s", (unsigned)(CALL_US / SECOND));
    world_measure(world, "call: both called, to connected", world->now_us - began);
    /* What was closed for being one too many is drained for three timeouts. */
    (void)town_run(town, 30 * SECOND);
    if (!world->failed)
        check_one(town);
    town_check_talk(town);
    town_check_mutual(town);
    town_leave(town);
    town_free(town);
}

/* ---- every bootstrap node restarts (issue 5, must show 4) --------------------------------------
 */

static void restart(struct world *world, unsigned people)
{
    unsigned boots = 1 + (unsigned)world_below(world, 4);
    bool killed = world_below(world, 2) == 0;
    struct town *town = populate(world, people, boots);
    if (!town_until(town, all_registered, 60 * SECOND))
        world_fail(world, "not registered within a minute");
    (void)town_run(town, 10 * SECOND + world_below(world, 60 * SECOND));
    for (unsigned i = 0; i < boots && !killed; i++)
        boot_stop(&town->boots[i]);
    (void)town_run(town, 4 * SECOND);
    for (unsigned i = 0; i < boots && !world->failed; i++) {
        boot_kill(&town->boots[i], true);
        boot_start(&town->boots[i]);
    }
    uint64_t began = world->now_us;
    /* Told by REGISTERED shutting_down; or, when they were killed, by awake and a stateless reset
     * (PROTOCOL §4). */
    uint64_t limit = 10 * SECOND;
    if (!town_until(town, all_known, limit))
        world_fail(world, "not all are back within %u s", (unsigned)(limit / SECOND));
    world_measure(world,
                  killed ? "restart: all killed, to all back" : "restart: all stopped, to all back",
                  world->now_us - began);
    town_leave(town);
    town_free(town);
}

static void play_restart(struct world *world)
{
    restart(world, 12 + (unsigned)world_below(world, 12));
}

static void play_thousand(struct world *world)
{
    restart(world, 1000);
}

/* ---- two of four bootstrap nodes are dead ------------------------------------------------------
 */

static bool all_majority(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        if (town->people[i].result != AQ_NODE_MAJORITY)
            return false;
    return true;
}

static void play_majority(struct world *world)
{
    weather_draw(world, 10000);
    struct town *town = town_new(world, 4, 4, NULL);
    unsigned dead = (unsigned)world_below(world, 4),
             also = (dead + 1 + (unsigned)world_below(world, 3)) % 4;
    boot_kill(&town->boots[dead], false);
    boot_kill(&town->boots[also], false);
    for (unsigned i = 0; i < town->count && !world->failed; i++)
        person_move_in(town, i, place_draw(town, i));
    if (!town_until(town, all_majority, 15 * SECOND))
        world_fail(world, "two of four bootstrap nodes are no majority");
    (void)person_connect(&town->people[0], 1, AQ_NODE_KEEP);
    (void)person_connect(&town->people[2], 3, AQ_NODE_KEEP);
    (void)town_run(town, 20 * SECOND);
    if (town->people[0].bonds[1].state != BOND_UP || town->people[2].bonds[3].state != BOND_UP)
        world_fail(world, "two bootstrap nodes do not bring everybody together");
    town_check_mutual(town);
    town_check_talk(town);
    boot_start(&town->boots[dead]);
    boot_start(&town->boots[also]);
    if (!town_until(town, all_registered, 120 * SECOND))
        world_fail(world, "bootstrap nodes are back, and not everybody has noticed");
    town_leave(town);
    town_free(town);
}

/* ---- hundreds of peers -------------------------------------------------------------------------
 */

static void play_crowd(struct world *world)
{
    unsigned people = 40 + (unsigned)world_below(world, 160);
    weather_draw(world, 20000);
    struct town *town = populate(world, people, 3);
    if (!town_until(town, all_registered, 120 * SECOND))
        world_fail(world, "not registered within two minutes");
    for (unsigned i = 0; i < people && !world->failed; i++) {
        unsigned other = (unsigned)world_below(world, people);
        if (other != i)
            (void)person_connect(&town->people[i], other, AQ_NODE_KEEP);
        (void)town_run(town, world_below(world, SECOND / 10));
    }
    (void)town_run(town, 60 * SECOND);
    for (unsigned i = 0; i < people; i++)
        for (unsigned j = 0; j < people; j++)
            if (town->people[i].bonds[j].wanted && town->people[i].bonds[j].state != BOND_UP)
                world_fail(world, "peer %u has called peer %u, and is %s", i, j,
                           bond_state_name(town->people[i].bonds[j].state));
    town_check_mutual(town);
    town_check_talk(town);
    town_leave(town);
    town_free(town);
}

const struct scenario scenarios[] = {
    {"call", play_call, 200, "both call each other at once: one connection"},
    {"faults", play_faults, 60, "ten faults: no session stuck, nothing left"},
    {"recover", play_recover, 40, "one fault, and how long until they talk again"},
    {"reborn", play_reborn, 40, "a peer is killed and back within a second: known at once"},
    {"refuse", play_refuse, 27, "who may not be connected is told why"},
    {"restart", play_restart, 10, "every bootstrap node restarts: all come back"},
    {"thousand", play_thousand, 0, "the same with 1,000 peers"},
    {"majority", play_majority, 6, "two of four bootstrap nodes are dead"},
    {"matrix", play_matrix, 229, "every pair of NATs is connected"},
    {"switch", play_switch, 30, "a conversation goes direct, falls back, and returns"},
    {"liar", play_liar, 30, "a peer names victims"},
    {"crowd", play_crowd, 2, "hundreds of peers under loss"},
};
const unsigned scenario_count = sizeof scenarios / sizeof *scenarios;
