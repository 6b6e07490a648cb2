/* liar.c -- peers that name victims (issue 5, must show 7).
 *
 * Each seed has a liar: the server of a connection, who tells addresses that are not its own
 * (ADD_ADDRESS), or the client (PUNCH_ME_NOW). They name one victim by many ports, many in a row,
 * private and forbidden addresses, low ports, the other's own. What the other side sends is held
 * against PROTOCOL §5 by check.c, as in every run; here somebody tries to make it do more.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#include "core/addr.h"

#include <string.h>

#define SECOND UINT64_C(1000000)

enum {
    NAMES = 30,
    ROUNDS = 3
};

static struct aq_addr address(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (struct aq_addr){.family = 4, .ip = {a, b, c, d}, .port = port};
}

/* The n-th address that a liar names. */
static struct aq_addr name_of(struct world *world, unsigned n, const struct host *victim,
                              const struct host *other)
{
    struct aq_addr at = victim->addrs[0];
    at.port = (uint16_t)(1024 + world_below(world, 60000));
    switch (n == 0 ? 9 : world_below(world, 10)) { /* the victim in any case */
    case 0: return address(127, 0, 0, 1, at.port);
    case 1: return address(224, 0, 0, 251, at.port);
    case 2: return address(255, 255, 255, 255, at.port);
    case 3: return address(169, 254, 169, 254, at.port);
    case 4: return address(10, 0, 0, 1, at.port);
    case 5: at.port = (uint16_t)(1 + world_below(world, 1023)); return at;
    case 6: return address(45, 77, 3, (uint8_t)world_below(world, 256), at.port);
    case 7: return host_public(other);
    default: return at;
    }
}

static void tell_lies(struct person *liar, const struct person *other, const struct host *victim,
                      unsigned round)
{
    struct world *world = liar->town->world;
    struct aq_endpoint *ep = person_enter(liar);
    const struct bond *b = &liar->bonds[other->index];
    for (unsigned i = 0; i < NAMES && ep != NULL && b->state == BOND_UP; i++) {
        struct aq_addr at = name_of(world, i, victim, other->host);
        uint64_t now = aq_loop_now(aq_node_loop(liar->node)), seq;
        if (at.port == 0)
            at.port = 4000;
        if (aq_nat_add_address(ep, b->conn, &at, &seq, now) == AQ_MISUSE)
            (void)aq_nat_punch(ep, b->conn, 1000 + round, i, &at, now);
    }
    if (ep != NULL)
        person_leave(liar);
}

static unsigned probes_to(const struct host *host, const struct host *victim)
{
    unsigned sent = 0;
    for (unsigned i = 0; i < host->strange_count; i++)
        if (addr_same_ip(&host->strange[i].addr, &victim->addrs[0]))
            sent += host->strange[i].sent;
    return sent;
}

static bool are_up(struct town *town)
{
    return town->people[0].bonds[1].state == BOND_UP && town->people[1].bonds[0].state == BOND_UP;
}

void play_liar(struct world *world)
{
    struct town *town = town_new(world, 2, 1, NULL);
    struct host *victim = world_host(world, NULL);
    unsigned liar = (unsigned)world_below(world, 2);
    for (unsigned i = 0; i < 2 && !world->failed; i++) /* it stays relayed, so the search goes on */
        person_move_in(town, i, box_new(world, box_kind("symmetric"), NULL));
    if (!town_until(town, all_known, 20 * SECOND))
        world_fail(world, "not registered");
    (void)person_connect(&town->people[0], 1, 0);
    if (!town_until(town, are_up, 5 * SECOND))
        world_fail(world, "not connected");
    for (unsigned i = 0; i < ROUNDS && !world->failed; i++) {
        (void)town_run(town, world_below(world, 2 * SECOND));
        if (!world->failed)
            tell_lies(&town->people[liar], &town->people[1 - liar], victim, i);
        (void)town_run(town, 5 * SECOND + world_below(world, 20 * SECOND));
    }
    unsigned sent = probes_to(town->people[1 - liar].host, victim);
    world_note(world, "the victim got %u probes", sent);
    if (sent == 0)
        world_fail(world, "the lies were not even tried: this shows nothing");
    town_leave(town);
    town_free(town);
}
