/* matrix.c -- every pair of NATs of NAT.md §5, and what comes of it.
 *
 * Each seed plays one row: two peers behind boxes of two kinds, one dials. The connection must be
 * up through the relay, carry data, and where the table says so go direct within DIRECT_US.
 *
 * Called by scenario.c. */
#include "tests/natsim/scenarios.h"

#include <string.h>

/* Whether peers take direct paths at all yet: then the table's direct cells are asserted. */
enum {
    DIRECT_PATHS = 1
};
#define SECOND    UINT64_C(1000000)
#define DIRECT_US (10 * SECOND)

enum verdict {
    DIRECT,
    OFTEN, /* predicted or guessed ports: no promise */
    RELAYED
};

/* A row of NAT.md §5 by its letter: public (.), E, A, P, Q, S, B. */
static enum verdict verdict_of(char a, char b)
{
    static const char letters[] = ".EAPQSB";
    static const char table[7][8] = {
        "dddddd-", /* public */
        "dddddd-", /* E */
        "dddddd-", /* A */
        "ddddoo-", /* P */
        "dddooo-", /* Q */
        "dddoo--", /* S */
        "-------", /* B */
    };
    char cell = table[strchr(letters, a) - letters][strchr(letters, b) - letters];
    return cell == 'd' ? DIRECT : cell == 'o' ? OFTEN : RELAYED;
}

struct place {
    const char *name;  /* of a box's kind; NULL: on the Internet */
    const char *outer; /* of the carrier's box before it */
};
static const struct place places[] = {
    {NULL, NULL},         {"full-cone", NULL},        {"address", NULL},
    {"port", NULL},       {"port-random", NULL},      {"linux", NULL},
    {"linux-open", NULL}, {"symmetric-up", NULL},     {"symmetric-address", NULL},
    {"symmetric", NULL},  {"symmetric-block", NULL},  {"port", "linux"},
    {"linux", "linux"},   {"full-cone", "full-cone"}, {"linux", "symmetric"},
};
enum {
    PLACES = sizeof places / sizeof *places,
    /* More rows: behind one box, with hairpin and without; of one carrier; and with IPv6. */
    MORE = 4
};

static struct box *box_at(struct world *world, const struct place *place)
{
    struct box *outer = place->outer ? box_new(world, box_kind(place->outer), NULL) : NULL;
    return place->name ? box_new(world, box_kind(place->name), outer) : NULL;
}

/* Of two boxes in a row the stricter one counts. */
static char letter_of(const struct box *box)
{
    static const char order[] = ".EAPQSB";
    char letter = '.';
    for (; box != NULL; box = box->outer)
        if (strchr(order, box->kind->letter) > strchr(order, letter))
            letter = box->kind->letter;
    return letter;
}

static void move_in(struct town *town, uint64_t row, enum verdict *verdict)
{
    struct world *world = town->world;
    struct box *box[2];
    *verdict = DIRECT;
    if (row < (uint64_t)PLACES * PLACES) {
        box[0] = box_at(world, &places[row / PLACES]);
        box[1] = box_at(world, &places[row % PLACES]);
        *verdict = verdict_of(letter_of(box[0]), letter_of(box[1]));
    } else if (row == (uint64_t)PLACES * PLACES) {
        box[0] = box[1] = box_new(world, box_kind("port-hairpin"), NULL);
    } else if (row == (uint64_t)PLACES * PLACES + 1) {
        box[0] = box[1] = box_new(world, box_kind("linux"), NULL);
    } else if (row == (uint64_t)PLACES * PLACES + 2) { /* NAT.md §5: both open, no rewriting */
        world->ipv6 = true;
        box[0] = box_new(world, box_kind("symmetric"), NULL);
        box[1] = box_new(world, box_kind("symmetric"), NULL);
    } else { /* two homes of one carrier, which has hairpin */
        struct box *carrier = box_new(world, box_kind("port-hairpin"), NULL);
        box[0] = box_new(world, box_kind("port"), carrier);
        box[1] = box_new(world, box_kind("port"), carrier);
    }
    for (unsigned i = 0; i < 2 && !world->failed; i++)
        person_move_in(town, i, box[i]);
}

static bool both_up(struct town *town)
{
    return town->people[0].bonds[1].state == BOND_UP && town->people[1].bonds[0].state == BOND_UP;
}

static bool both_direct(struct town *town)
{
    for (unsigned i = 0; i < 2; i++)
        if (town->people[i].bonds[1 - i].state != BOND_UP || town->people[i].bonds[1 - i].relayed)
            return false;
    return true;
}

void play_matrix(struct world *world)
{
    enum verdict verdict;
    uint64_t row = world->seed % (PLACES * PLACES + MORE);
    struct town *town = town_new(world, 2, 1 + (unsigned)world_below(world, 2), NULL);
    move_in(town, row, &verdict);
    if (!town_until(town, all_registered, 30 * SECOND))
        world_fail(world, "not registered");
    (void)person_connect(&town->people[0], 1, 0);
    if (!town_until(town, both_up, 2 * SECOND))
        world_fail(world, "row %u: not connected", (unsigned)row);
    uint64_t began = world->now_us;
    bool direct = DIRECT_PATHS && town_until(town, both_direct, DIRECT_US);
    if (direct)
        world_measure(world,
                      verdict == DIRECT ? "matrix: direct, as promised"
                                        : "matrix: direct, though not promised",
                      world->now_us - began);
    else
        world_measure(world, "matrix: relayed", 0);
    if (DIRECT_PATHS && verdict == DIRECT && !direct)
        world_fail(world, "row %u: not direct", (unsigned)row);
    world_note(world, "row %u: %s", (unsigned)row, direct ? "direct" : "relayed");
    town_check_mutual(town);
    town_check_talk(town);
    town_leave(town);
    town_free(town);
}
