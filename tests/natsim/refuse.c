/* refuse.c -- whoever is not to be connected is told why, once, and nothing is left of it.
 *
 * Each seed plays one row: peer 0 calls peer 1, and somebody or something says no: the target, the
 * relay, a bootstrap node's policy, a wrong name, a network without UDP. Or only asks for work.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#include <string.h>

#define SECOND UINT64_C(1000000)

enum what {
    NO_BY_TARGET,
    NO_RELAY,
    NOT_THERE,
    NO_BY_BOOTSTRAP,
    WRONG_NAME,
    NO_UDP,
    NO_ROOM,
    WORK_FIRST,
    FIRST_USE,
};
struct row {
    enum what what;
    enum aq_node_result result; /* of peer 0's registration */
    const char *reason;         /* of its failure, NULL: it is connected */
    enum aq_node_step step;     /* where it fails */
};
static const struct row rows[] = {
    {NO_BY_TARGET, AQ_NODE_FULL, "refused", AQ_NODE_STEP_HANDSHAKE},
    {NO_RELAY, AQ_NODE_FULL, "no_relay", AQ_NODE_STEP_COORDINATING},
    {NOT_THERE, AQ_NODE_FULL, "not_registered", AQ_NODE_STEP_COORDINATING},
    {NO_BY_BOOTSTRAP, AQ_NODE_NONE, "no registration", AQ_NODE_STEP_REGISTERING},
    {WRONG_NAME, AQ_NODE_NONE, "no registration", AQ_NODE_STEP_REGISTERING},
    {NO_UDP, AQ_NODE_NONE, "no registration", AQ_NODE_STEP_REGISTERING},
    {NO_ROOM, AQ_NODE_FULL, "capacity", AQ_NODE_STEP_HANDSHAKE},
    {WORK_FIRST, AQ_NODE_FULL, NULL, AQ_NODE_STEP_WAITING},
    {FIRST_USE, AQ_NODE_FULL, NULL, AQ_NODE_STEP_WAITING},
};

static const struct row *row_now; /* of this world */

static void node_tweak(const struct person *p, struct aq_node_config *c)
{
    if (row_now->what == NO_BY_TARGET && p->index == 1)
        c->policy = AQ_NODE_ALLOW; /* and nobody on the list */
    if (row_now->what == NO_ROOM && p->index == 1)
        c->max_peers = 1;
}

static void boot_tweak(const struct boot *b, struct aq_bootstrap_config *c)
{
    static const uint8_t nobody[1][32];
    (void)b;
    if (row_now->what == NO_RELAY)
        c->relay_bytes_per_s = 0;
    if (row_now->what == NO_BY_BOOTSTRAP)
        c->allow = nobody;
    if (row_now->what == WORK_FIRST)
        c->pow_bits = 10;
}

static bool is_told(struct town *town)
{
    return town->people[0].bonds[1].failed > 0 || town->people[0].bonds[1].state == BOND_UP;
}

static void move_in(struct town *town)
{
    char *name = town->boots[0].name, first = name[0];
    if (row_now->what == WRONG_NAME) /* a PeerId like any other, but not its own */
        name[0] = first == 'a' ? 'b' : 'a';
    town->names_pinned = row_now->what != FIRST_USE;
    for (unsigned i = 0; i < town->count && !town->world->failed; i++) {
        bool blocked = row_now->what == NO_UDP && i == 0;
        struct box *box =
            blocked ? box_new(town->world, box_kind("blocked"), NULL) : place_draw(town, i);
        person_move_in(town, i, box);
    }
}

static void check_told(struct town *town)
{
    const struct bond *b = &town->people[0].bonds[1];
    struct world *world = town->world;
    if (row_now->reason == NULL) {
        if (b->state != BOND_UP || b->failed > 0)
            world_fail(world, "not connected: %s", b->reason);
    } else if (b->failed != 1 || b->connected > 0) {
        world_fail(world, "%u failures, %u times connected", b->failed, b->connected);
    } else if (strstr(b->reason, row_now->reason) == NULL || b->step != row_now->step) {
        world_fail(world, "told \"%s\" at step %d", b->reason, (int)b->step);
    }
    if (row_now->what == NO_BY_TARGET && town->people[1].refused != 1)
        world_fail(world, "the target was told %u refusals", town->people[1].refused);
}

void play_refuse(struct world *world)
{
    row_now = &rows[world->seed % (sizeof rows / sizeof *rows)];
    struct town *town = town_new(world, 3, 1, &(struct town_tweaks){node_tweak, boot_tweak});
    weather_draw(world, 0); /* nothing is lost, so nothing takes its time */
    move_in(town);
    (void)town_run(town, 10 * SECOND);
    if (town->people[0].result != row_now->result)
        world_fail(world, "registered: %s", aq_node_result_name(town->people[0].result));
    if (row_now->what == NOT_THERE)
        person_stop(&town->people[1]);
    if (row_now->what == NO_ROOM)
        (void)person_connect(&town->people[2], 1, 0);
    (void)town_run(town, 5 * SECOND);
    (void)person_connect(&town->people[0], 1, 0);
    if (!town_until(town, is_told, 15 * SECOND))
        world_fail(world, "not told within 15 s");
    (void)town_run(town, 5 * SECOND);
    if (!world->failed)
        check_told(town);
    town_check_mutual(town);
    town_leave(town);
    town_free(town);
}
