/* faults.c -- peers, bootstrap nodes and networks fail at random (issue 5, must show 8).
 *
 * A few peers call each other, are killed, stopped and started again, lose their interface, get
 * other addresses; bootstrap nodes die; networks are cut in two; NATs forget. Meanwhile no session
 * may take longer than its deadlines (town_run looks). Then everything is healed, and after the
 * longest of all timeouts everybody must be registered, who is wanted must be connected, each
 * connection must be known at both ends and carry data. Then all leave, and nothing may be left.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#define SECOND UINT64_C(1000000)

enum {
    FAULTS = 10,
    PEOPLE_MAX = 6
};
/* A connection that nobody answers on ends after 60 s without a packet (config.idle_timeout_us),
 * counted from the last keepalive that was answered or sent, and is tried again within 60 s. */
#define HEAL_US (200 * SECOND)

static struct person *any_person(struct town *town)
{
    return &town->people[world_below(town->world, town->count)];
}

static struct boot *any_boot(struct town *town)
{
    return &town->boots[world_below(town->world, town->boot_count)];
}

/* ---- the faults ------------------------------------------------------------------------------ */

static void fault_kill(struct town *town)
{
    person_kill(any_person(town));
}

static void fault_restart(struct town *town)
{
    struct person *p = any_person(town);
    if (p->stopping)
        return;
    person_kill(p);
    (void)town_run(town, world_below(town->world, 3 * SECOND));
    person_start(p);
}

static void fault_stop(struct town *town)
{
    person_stop(any_person(town));
}

static void fault_boot_kill(struct town *town)
{
    boot_kill(any_boot(town), world_below(town->world, 2) == 0);
}

static void fault_boot_restart(struct town *town)
{
    struct boot *b = any_boot(town);
    if (b->stopping)
        return;
    boot_kill(b, world_below(town->world, 2) == 0);
    (void)town_run(town, world_below(town->world, 5 * SECOND));
    boot_start(b);
}

static void fault_boot_stop(struct town *town)
{
    boot_stop(any_boot(town));
}

static void fault_down(struct town *town)
{
    struct host *host = any_person(town)->host;
    host_set_down(host, true);
    (void)town_run(town, world_below(town->world, 40 * SECOND));
    if (world_below(town->world, 2) == 0)
        host_set_down(host, false);
}

static void fault_address(struct town *town)
{
    host_readdress(any_person(town)->host);
}

static void fault_provider(struct town *town)
{
    struct box *box = any_person(town)->host->box;
    if (box != NULL)
        box_readdress(box);
}

static void fault_reboot(struct town *town)
{
    struct box *box = any_person(town)->host->box;
    if (box != NULL)
        box_reboot(box);
}

static void fault_cut(struct town *town)
{
    const void *a = host_site(any_person(town)->host);
    const void *b = world_below(town->world, 2) == 0 ? host_site(any_person(town)->host)
                                                     : host_site(any_boot(town)->host);
    world_set_cut(town->world, a, b, true);
    (void)town_run(town, world_below(town->world, 60 * SECOND));
    if (world_below(town->world, 2) == 0)
        world_set_cut(town->world, a, b, false);
}

static void fault_island(struct town *town)
{
    const void *a = host_site(any_person(town)->host);
    for (unsigned i = 0; i < town->boot_count; i++)
        world_set_cut(town->world, a, host_site(town->boots[i].host), true);
}

static void fault_weather(struct town *town)
{
    weather_draw(town->world, 200000);
}

struct fault {
    const char *name;
    void (*happen)(struct town *town);
};
static const struct fault faults[] = {
    {"a peer dies", fault_kill},
    {"a peer restarts", fault_restart},
    {"a peer stops", fault_stop},
    {"a bootstrap node dies", fault_boot_kill},
    {"a bootstrap node restarts", fault_boot_restart},
    {"a bootstrap node stops", fault_boot_stop},
    {"an interface goes down", fault_down},
    {"an address changes", fault_address},
    {"a provider gives another address", fault_provider},
    {"a NAT reboots", fault_reboot},
    {"a way is cut", fault_cut},
    {"an island", fault_island},
    {"bad weather", fault_weather},
};

/* ---- life meanwhile -------------------------------------------------------------------------- */

static void live(struct town *town)
{
    unsigned a = (unsigned)world_below(town->world, town->count);
    unsigned b = (unsigned)world_below(town->world, town->count);
    struct person *p = &town->people[a];
    if (a == b || p->node == NULL)
        return;
    if (world_below(town->world, 4) == 0 && p->bonds[b].state != BOND_NONE)
        person_disconnect(p, b);
    else
        (void)person_connect(p, b, world_below(town->world, 2) == 0 ? AQ_NODE_KEEP : 0);
}

static void start_what_is_off(struct town *town)
{
    for (unsigned i = 0; i < town->boot_count; i++)
        if (town->boots[i].node == NULL && !town->world->failed)
            boot_start(&town->boots[i]);
    for (unsigned i = 0; i < town->count; i++)
        if (town->people[i].node == NULL && !town->world->failed)
            person_start(&town->people[i]);
}

static void heal(struct town *town)
{
    struct world *world = town->world;
    world_note(world, "all is healed");
    world->cuts = 0;
    world->weather = (struct weather){.jitter_us = 1000, .loss_ppm = 2000};
    for (unsigned i = 0; i < town->count; i++)
        host_set_down(town->people[i].host, false);
    start_what_is_off(town);
    (void)town_run(town, 5 * SECOND); /* who was about to stop has */
    start_what_is_off(town);
    (void)town_run(town, HEAL_US);
}

static void check_wanted(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        for (unsigned j = 0; j < town->count; j++) {
            const struct bond *b = &town->people[i].bonds[j];
            if (b->keep && b->state != BOND_UP)
                world_fail(town->world,
                           "all is healed, and peer %u is %s to peer %u, which it keeps", i,
                           bond_state_name(b->state), j);
        }
}

void play_faults(struct world *world)
{
    unsigned people = 2 + (unsigned)world_below(world, PEOPLE_MAX - 1);
    world->ipv6 = world_below(world, 4) == 0;
    struct town *town = town_new(world, people, 1 + (unsigned)world_below(world, 3), NULL);
    weather_draw(world, 20000);
    for (unsigned i = 0; i < people && !world->failed; i++)
        person_move_in(town, i, place_draw(town, i));
    (void)town_run(town, world_below(world, 10 * SECOND));
    for (unsigned i = 0; i < FAULTS && !world->failed; i++) {
        const struct fault *fault = &faults[world_below(world, sizeof faults / sizeof *faults)];
        for (uint64_t n = world_below(world, 4); n > 0; n--)
            live(town);
        (void)town_run(town, world_below(world, 20 * SECOND));
        world_note(world, "fault %u: %s", i, fault->name);
        fault->happen(town);
        (void)town_run(town, world_below(world, 20 * SECOND));
        if (world_below(world, 4) == 0 && !world->failed)
            start_what_is_off(town);
    }
    heal(town);
    if (!world->failed && !all_known(town))
        world_fail(world, "all is healed, and not everybody is registered");
    check_wanted(town);
    town_check_mutual(town);
    town_check_talk(town);
    town_leave(town);
    town_free(town);
}
