/* people.h -- who lives in the world: peers with unchanged nodes, and bootstrap nodes.
 *
 * A peer is an application, too: whoever opens a stream to it gets his bytes back. What its node
 * says of each other peer is held against what it may say (bond): a session has exactly one end,
 * and ends in time. */
#ifndef AQ_NATSIM_PEOPLE_H
#define AQ_NATSIM_PEOPLE_H

#include "nat/node/antq_bootstrap.h"
#include "nat/node/antq_node.h"
#include "tests/natsim/box.h"

enum {
    KEY_TEXT = 160,
    NAME_TEXT = 128,
    TOWN_BOOTS = AQ_NODE_BOOTSTRAPS,
    SAY_BYTES = 3000,
    CHAT_BYTES = 200
};

enum bond_state {
    BOND_NONE,
    BOND_CONNECTING, /* a session: it must end */
    BOND_WAITING,    /* failed or lost, kept: tried again later */
    BOND_UP
};

/* What one peer knows of another. */
struct bond {
    enum bond_state state;
    uint64_t since_us; /* of the state */
    aq_conn conn;
    bool keep, wanted; /* asked for by this node's user since it started */
    bool relayed;
    unsigned connected, failed, closed, paths;
    unsigned sessions, ends; /* begun, and ended: the same, or one less while one runs */
    /* What was said last on the connection, and what came back. */
    aq_stream stream;
    unsigned said, heard;
    bool echoed;
    uint64_t heard_us, gap_us; /* when, and the longest silence since somebody has set it to 0 */
    /* Of the last failure, or the last end. */
    char reason[96];
    enum aq_node_step step;
};

struct person {
    struct town *town;
    unsigned index;
    struct host *host;
    struct aq_node *node; /* NULL: it is not running */
    bool stopping;
    char key[KEY_TEXT];
    uint8_t id[32];
    enum aq_node_result result;
    uint64_t result_us;
    bool has_us[TOWN_BOOTS];
    struct bond *bonds; /* by person */
    uint64_t started_us;
    unsigned refused;
};

struct boot {
    struct town *town;
    unsigned index;
    struct host *host;
    struct aq_bootstrap *node; /* NULL: it is not running */
    bool stopping;
    char key[KEY_TEXT], name[NAME_TEXT];
    uint8_t *state; /* what it saved */
    size_t state_size;
};

/* What a scenario wants otherwise in the configs. Either may be NULL. */
struct town_tweaks {
    void (*node)(const struct person *p, struct aq_node_config *config);
    void (*boot)(const struct boot *b, struct aq_bootstrap_config *config);
};

struct town {
    struct world *world;
    struct town_tweaks tweaks;
    struct person *people;
    unsigned count;
    struct boot boots[TOWN_BOOTS];
    unsigned boot_count;
    uint16_t max_peers; /* of a node */
    bool names_pinned;
};

/* Makes the bootstrap nodes, and starts them. tweaks NULL: none. */
struct town *town_new(struct world *world, unsigned people, unsigned boots,
                      const struct town_tweaks *tweaks);
/* Ends everything without a word. */
void town_free(struct town *town);
/* The peer's host is made, behind that box (NULL: on the Internet), and its node started. */
void person_move_in(struct town *town, unsigned index, struct box *box);
void person_start(struct person *p);
/* SIGKILL; and goodbye, which takes a moment: town_reap frees what has ended. */
void person_kill(struct person *p);
void person_stop(struct person *p);
void boot_start(struct boot *b);
/* SIGKILL; kept: it comes back with the state it had (--state). */
void boot_kill(struct boot *b, bool kept);
void boot_stop(struct boot *b);
void town_reap(struct town *town);

/* Around calls on its endpoint from outside: NULL: it is not running. */
struct aq_endpoint *person_enter(struct person *p);
void person_leave(const struct person *p);

/* The calls of an application, with its events checked. */
int person_connect(struct person *p, unsigned other, unsigned flags);
void person_disconnect(struct person *p, unsigned other);
/* Says something to whoever is connected; bond.echoed tells when all of it came back. */
bool person_say(struct person *p, unsigned other);
/* A few bytes more on one stream, which stays open. */
bool person_chat(struct person *p, unsigned other);

/* ---- what must be true -------------------------------------------------------------------------
 */
/* No session that has run for longer than any deadline allows. */
void town_check_stuck(struct town *town);
/* Connections, links, peers, streams, channels, registrations: nothing is left. */
void town_check_empty(struct town *town);
unsigned person_registered(const struct person *p); /* with how many */
unsigned boot_peers(const struct boot *b);
const char *bond_state_name(enum bond_state state);

#endif
