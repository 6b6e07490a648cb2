/* recover.c -- one fault at a time, in good weather, and how long until two peers talk again
 * (issue 5, must show 8).
 *
 * Peer 0 keeps peer 1. Something happens; `outage` later it is over, and the clock starts. Peer 0
 * says something as soon as it is connected, and again on each new connection, until an echo comes
 * back. The row says how long that may take, and whether the connection must have survived.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#define SECOND UINT64_C(1000000)

enum what {
    PEER_RESTARTS,
    BOOT_RESTARTS,
    BOOT_FORGETS,
    INTERFACE_DOWN,
    CUT_OFF,
    NEW_ADDRESS,
    NEW_PROVIDER,
    NAT_REBOOTS,
};
struct row {
    const char *name;
    enum what what;
    uint64_t outage_us, limit_us;
    bool survives; /* it is the same connection afterwards */
};
/* A peer that is gone without a word is missed after 60 s (idle_timeout_us), and tried again within
 * 60 s. What the peers say to a network that is not there goes out again when the outage has lasted
 * as long once more, at most (the probe timeout doubles). */
static const struct row rows[] = {
    {"recover: peer killed, back after 2 s", PEER_RESTARTS, 2 * SECOND, 70 * SECOND, false},
    {"recover: bootstrap killed, back after 2 s", BOOT_RESTARTS, 2 * SECOND, 95 * SECOND, false},
    {"recover: bootstrap killed, state lost", BOOT_FORGETS, 2 * SECOND, 95 * SECOND, false},
    {"recover: interface down for 5 s", INTERFACE_DOWN, 5 * SECOND, 8 * SECOND, true},
    {"recover: interface down for 25 s", INTERFACE_DOWN, 25 * SECOND, 30 * SECOND, true},
    {"recover: interface down for 100 s", INTERFACE_DOWN, 100 * SECOND, 125 * SECOND, false},
    {"recover: cut off for 10 s", CUT_OFF, 10 * SECOND, 15 * SECOND, true},
    {"recover: another address", NEW_ADDRESS, 0, 15 * SECOND, false},
    {"recover: the provider gives another address", NEW_PROVIDER, 0, 95 * SECOND, false},
    {"recover: the NAT reboots", NAT_REBOOTS, 0, 95 * SECOND, false},
};
enum {
    ROWS = sizeof rows / sizeof *rows
};

static void cut_off(struct town *town, const struct host *host, bool cut)
{
    for (unsigned i = 0; i < town->boot_count; i++)
        world_set_cut(town->world, host_site(host), host_site(town->boots[i].host), cut);
    world_set_cut(town->world, host_site(town->people[0].host), host_site(town->people[1].host),
                  cut);
}

static void begin(struct town *town, enum what what, struct person *victim)
{
    switch (what) {
    case PEER_RESTARTS: person_kill(&town->people[1]); break;
    case BOOT_RESTARTS:
    case BOOT_FORGETS:
        for (unsigned i = 0; i < town->boot_count; i++)
            boot_kill(&town->boots[i], what == BOOT_RESTARTS);
        break;
    case INTERFACE_DOWN: host_set_down(victim->host, true); break;
    case CUT_OFF: cut_off(town, victim->host, true); break;
    case NEW_ADDRESS: host_readdress(victim->host); break;
    case NEW_PROVIDER: box_readdress(victim->host->box); break;
    case NAT_REBOOTS: box_reboot(victim->host->box); break;
    }
}

static void end(struct town *town, enum what what, struct person *victim)
{
    if (what == PEER_RESTARTS)
        person_start(&town->people[1]);
    else if (what == BOOT_RESTARTS || what == BOOT_FORGETS)
        for (unsigned i = 0; i < town->boot_count; i++)
            boot_start(&town->boots[i]);
    else if (what == INTERFACE_DOWN)
        host_set_down(victim->host, false);
    else if (what == CUT_OFF)
        cut_off(town, victim->host, false);
}

/* Peer 0 says something on each new connection. */
static bool talks(struct town *town)
{
    struct person *p = &town->people[0];
    const struct bond *b = &p->bonds[1];
    if (b->state == BOND_UP && b->stream == 0)
        (void)person_say(p, 1);
    return b->state == BOND_UP && b->stream != 0 && b->echoed;
}

static bool are_up(struct town *town)
{
    return town->people[0].bonds[1].state == BOND_UP && town->people[1].bonds[0].state == BOND_UP;
}

void play_recover(struct world *world)
{
    const struct row *row = &rows[world->seed % ROWS];
    struct town *town = town_new(world, 2, 1 + (unsigned)world_below(world, 2), NULL);
    static const char *const kinds[] = {"full-cone", "address", "port", "linux", "symmetric"};
    for (unsigned i = 0; i < 2 && !world->failed; i++) {
        const char *kind = kinds[world_below(world, sizeof kinds / sizeof *kinds)];
        person_move_in(town, i, box_new(world, box_kind(kind), NULL));
    }
    struct person *victim = &town->people[world_below(world, 2)];
    if (!town_until(town, all_known, 20 * SECOND))
        world_fail(world, "not registered");
    (void)person_connect(&town->people[0], 1, AQ_NODE_KEEP);
    if (!town_until(town, are_up, 5 * SECOND))
        world_fail(world, "not connected");
    (void)town_run(town, 10 * SECOND + world_below(world, 60 * SECOND));
    world_note(world, "now: %s, peer %u", row->name, victim->index);
    if (!world->failed)
        begin(town, row->what, victim);
    if (row->survives) /* into the void: it is to arrive all the same */
        (void)person_say(&town->people[0], 1);
    (void)town_run(town, row->outage_us);
    if (!world->failed)
        end(town, row->what, victim);
    uint64_t began = world->now_us;
    if (!row->survives)
        town->people[0].bonds[1].stream = 0;
    if (!town_until(town, talks, row->limit_us))
        world_fail(world, "%s: they do not talk after %u s", row->name,
                   (unsigned)(row->limit_us / SECOND));
    world_measure(world, row->name, world->now_us - began);
    if (row->survives && town->people[0].bonds[1].closed > 0)
        world_fail(world, "%s: the connection has not survived", row->name);
    (void)town_run(town, 70 * SECOND);
    if (!world->failed && !all_known(town))
        world_fail(world, "%s: not registered again", row->name);
    town_check_mutual(town);
    town_leave(town);
    town_free(town);
}
