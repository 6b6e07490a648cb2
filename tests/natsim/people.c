/* people.c -- starting and ending nodes, what their application does, and what is true of them
 * (people.h).
 *
 * The order of a session's events, as antq_node.h has it:
 *
 *     connect -> STEP... -> CONNECTED or FAILED, once     CONNECTED -> CLOSED, once
 *     FAILED or CLOSED with retry_us (kept) -> later STEP... and so on
 *
 * Keys come from the world's seed, so that the order of PeerIds does, too. Called by scenarios.c.
 */
#include "tests/natsim/people.h"

#include "nat/node/bootstrap.h"
#include "nat/node/node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    BOOT_PORT = 4433
};
/* Longer than all deadlines of a try together: 2 s, 10 s, 9 s, and a handshake's 10 s twice. */
#define CONNECTING_US UINT64_C(45000000)
/* The longest backoff, and once more as much to be sure. */
#define WAITING_US UINT64_C(120000000)

const char *bond_state_name(enum bond_state state)
{
    static const char *const names[] = {"none", "connecting", "waiting", "up"};
    return names[state];
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* An Ed25519 key as PKCS #8 in PEM (RFC 8410 §7): 16 bytes that are always the same, 32 of chance.
 */
static void make_key(struct world *world, char out[KEY_TEXT])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    char text[65] = {0};
    rng_fill(&world->chance, der + 16, 32);
    for (unsigned i = 0; i < 16; i++) {
        uint32_t three =
            (uint32_t)der[3 * i] << 16 | (uint32_t)der[3 * i + 1] << 8 | der[3 * i + 2];
        for (unsigned j = 0; j < 4; j++)
            text[4 * i + j] = letters[three >> (18 - 6 * j) & 63];
    }
    (void)snprintf(out, KEY_TEXT, "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n",
                   text);
}

/* ---- what an application does ---------------------------------------------------------------- */

static struct person *person_of_id(struct town *town, const uint8_t id[32])
{
    for (unsigned i = 0; i < town->count; i++)
        if (memcmp(town->people[i].id, id, 32) == 0)
            return &town->people[i];
    return NULL;
}

static void set_state(struct person *p, struct bond *b, enum bond_state state)
{
    bool ran = b->state == BOND_CONNECTING, runs = state == BOND_CONNECTING;
    b->sessions += runs && !ran;
    b->ends += ran && !runs;
    b->state = state;
    b->since_us = p->town->world->now_us;
}

static void wrong(const struct person *p, const struct person *other, const char *what)
{
    const struct bond *b = &p->bonds[other->index];
    world_fail(p->town->world, "peer %u is told %s of peer %u, which is %s", p->index, what,
               other->index, bond_state_name(b->state));
}

static void on_connected(struct person *p, struct person *other, const struct aq_node_event *e)
{
    struct bond *b = &p->bonds[other->index];
    if (b->state == BOND_UP) {
        if (b->conn != e->conn)
            wrong(p, other, "CONNECTED twice");
        return; /* asked for again */
    }
    b->connected++;
    b->conn = e->conn;
    b->relayed = e->relayed;
    b->stream = 0;
    b->echoed = false;
    set_state(p, b, BOND_UP);
}

static void on_failed(struct person *p, struct person *other, const struct aq_node_event *e)
{
    struct bond *b = &p->bonds[other->index];
    b->failed++;
    b->step = e->step;
    (void)snprintf(b->reason, sizeof b->reason, "%s", e->reason);
    if (b->state != BOND_CONNECTING && b->state != BOND_WAITING)
        wrong(p, other, "FAILED");
    if (b->keep && e->retry_us == 0 && !p->stopping)
        wrong(p, other, "FAILED for good, though it is kept,");
    set_state(p, b, e->retry_us > 0 ? BOND_WAITING : BOND_NONE);
}

static void on_closed(struct person *p, struct person *other, const struct aq_node_event *e)
{
    struct bond *b = &p->bonds[other->index];
    b->closed++;
    (void)snprintf(b->reason, sizeof b->reason, "%s", e->reason);
    if (b->state != BOND_UP)
        wrong(p, other, "CLOSED");
    else if (b->conn != e->conn)
        wrong(p, other, "CLOSED of another connection");
    if (b->keep && e->retry_us == 0 && !p->stopping && strstr(e->reason, "anew") == NULL)
        wrong(p, other, "CLOSED for good, though it is kept,");
    b->conn = 0;
    set_state(p, b, e->retry_us > 0 ? BOND_WAITING : BOND_NONE);
}

static void on_step(struct person *p, struct person *other, const struct aq_node_event *e)
{
    struct bond *b = &p->bonds[other->index];
    if (e->step == AQ_NODE_STEP_PUNCHING) /* goes on beside the connection, at both ends */
        return;
    if (b->state == BOND_UP || b->state == BOND_NONE)
        wrong(p, other, "a step");
    if (e->step != AQ_NODE_STEP_WAITING && b->state == BOND_WAITING)
        set_state(p, b, BOND_CONNECTING);
}

static void note_event(struct person *p, const struct person *other, const struct aq_node_event *e)
{
    static const char *const names[] = {"bootstrap", "registered", "step",   "connected",
                                        "path",      "failed",     "closed", "refused"};
    world_note(p->town->world,
               "peer %u %s index %u peer %d step %d relayed %d incoming %d has %d "
               "result %d retry %" PRIu64 " reason %s",
               p->index, names[e->kind], e->index, other ? (int)other->index : -1, (int)e->step,
               e->relayed, e->incoming, e->registered, (int)e->result, e->retry_us,
               e->reason ? e->reason : "");
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *e)
{
    struct person *p = user;
    struct person *other = e->peer_id ? person_of_id(p->town, e->peer_id) : NULL;
    (void)node;
    note_event(p, other, e);
    if (e->kind == AQ_NODE_REGISTERED) {
        p->result = e->result;
        p->result_us = p->town->world->now_us;
    } else if (e->kind == AQ_NODE_BOOTSTRAP) {
        p->has_us[e->index] = e->registered;
    } else if (other == NULL || other == p) {
        world_fail(p->town->world, "peer %u: an event of nobody", p->index);
    } else if (e->kind == AQ_NODE_CONNECTED) {
        on_connected(p, other, e);
    } else if (e->kind == AQ_NODE_FAILED) {
        on_failed(p, other, e);
    } else if (e->kind == AQ_NODE_CLOSED) {
        on_closed(p, other, e);
    } else if (e->kind == AQ_NODE_STEP) {
        on_step(p, other, e);
    } else if (e->kind == AQ_NODE_PATH) {
        p->bonds[other->index].relayed = e->relayed;
        p->bonds[other->index].paths++;
    } else {
        p->refused++;
    }
}

static uint8_t said_byte(unsigned at)
{
    return (uint8_t)(at * 7 + (at >> 8));
}

/* What comes back on our own stream. */
static void hear(struct person *p, struct bond *b, const struct aq_iov *iov)
{
    for (size_t i = 0; i < iov->size; i++, b->heard++)
        if (b->heard >= b->said || iov->data[i] != said_byte(b->heard))
            world_fail(p->town->world, "peer %u hears what it has not said", p->index);
    uint64_t now = p->town->world->now_us;
    if (b->heard_us != 0 && now - b->heard_us > b->gap_us)
        b->gap_us = now - b->heard_us;
    b->heard_us = now;
}

static void on_conn(void *user, struct aq_node *node, const struct aq_event *e)
{
    struct person *p = user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    struct bond *b = e->stream_user;
    struct aq_iov iov;
    bool fin = false;
    if (e->kind != AQ_EVENT_READABLE)
        return;
    while (!fin && aq_stream_peek(ep, e->stream, &iov, 1, &fin) == 1) {
        size_t size = iov.size;
        bool mine = b != NULL && b->stream == e->stream;
        if (mine)
            hear(p, b, &iov);
        else if (b == NULL && aq_stream_write(ep, e->stream, &iov, 1, fin ? AQ_FIN : 0) < 0)
            (void)aq_stream_stop(ep, e->stream, 0);
        if (size == 0 && !fin)
            break;
        (void)aq_stream_consume(ep, e->stream, size);
        if (mine && fin)
            b->echoed = b->heard == b->said;
    }
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void small_limits(const struct town *town, struct aq_node_config *c)
{
    struct aq_config *ep = &c->loop.endpoint;
    c->max_peers = town->max_peers;
    ep->max_conns = 4U * town->max_peers + TOWN_BOOTS;
    ep->max_half_open = ep->max_conns;
    ep->max_streams = 16U * town->max_peers;
    ep->recv_buffers = 16;
    ep->send_trains = 4;
    ep->early_slots = 64;
}

void person_start(struct person *p)
{
    struct town *town = p->town;
    const char *names[TOWN_BOOTS];
    struct aq_node_config c;
    char error[256];
    for (unsigned i = 0; i < town->boot_count; i++) /* without its PeerId, where it is not pinned */
        names[i] = town->boots[i].name + (town->names_pinned ? 0 : AQ_PEER_ID_TEXT);
    aq_node_config_init(&c);
    small_limits(town, &c);
    c.key = (struct aq_pem){.pem = p->key, .pem_size = strlen(p->key)};
    c.bootstrap = names;
    c.bootstrap_count = town->boot_count;
    c.on_event = on_event;
    c.on_conn = on_conn;
    c.user = p;
    if (town->tweaks.node != NULL)
        town->tweaks.node(p, &c);
    p->stopping = false;
    p->result = AQ_NODE_UNKNOWN;
    p->started_us = town->world->now_us;
    memset(p->has_us, 0, sizeof p->has_us);
    memset(p->bonds, 0, town->count * sizeof *p->bonds);
    check_restarted(p->host);
    town->world->booting = p->host;
    p->node = aq_node_new(&c, error, sizeof error);
    town->world->booting = NULL;
    if (p->node == NULL) {
        world_fail(town->world, "peer %u does not start: %s", p->index, error);
        return;
    }
    memcpy(p->id, aq_node_id(p->node), sizeof p->id);
    world_note(town->world, "peer %u starts on host %u", p->index, p->host->index);
}

void person_move_in(struct town *town, unsigned index, struct box *box)
{
    struct person *p = &town->people[index];
    p->host = world_host(town->world, box);
    p->host->role = HOST_PEER;
    make_key(town->world, p->key);
    person_start(p);
}

void person_kill(struct person *p)
{
    if (p->node == NULL)
        return;
    world_note(p->town->world, "peer %u dies", p->index);
    aq_node_free(p->node);
    p->node = NULL;
    memset(p->bonds, 0, p->town->count * sizeof *p->bonds);
}

struct aq_endpoint *person_enter(struct person *p)
{
    if (p->node == NULL || p->stopping)
        return NULL;
    (void)aq_loop_clock(aq_node_loop(p->node));
    return aq_loop_endpoint(aq_node_loop(p->node));
}

void person_leave(const struct person *p)
{
    world_turn(p->host, p->town->world->now_us);
}

void person_stop(struct person *p)
{
    if (person_enter(p) == NULL)
        return;
    world_note(p->town->world, "peer %u stops", p->index);
    p->stopping = true;
    aq_node_stop(p->node);
    person_leave(p);
}

int person_connect(struct person *p, unsigned other, unsigned flags)
{
    struct bond *b = &p->bonds[other];
    if (person_enter(p) == NULL)
        return AQ_MISUSE;
    world_note(p->town->world, "peer %u calls peer %u, keep %u", p->index, other, flags);
    b->wanted = true;
    b->keep |= (flags & AQ_NODE_KEEP) != 0;
    if (b->state == BOND_NONE)
        set_state(p, b, BOND_CONNECTING); /* before the call: it may end at once */
    int result = aq_node_connect(p->node, p->town->people[other].id, flags);
    if (result != AQ_OK) {
        b->wanted = b->keep = false;
        if (b->state == BOND_CONNECTING)
            set_state(p, b, BOND_NONE);
    }
    person_leave(p);
    return result;
}

void person_disconnect(struct person *p, unsigned other)
{
    struct bond *b = &p->bonds[other];
    if (person_enter(p) == NULL)
        return;
    world_note(p->town->world, "peer %u leaves peer %u", p->index, other);
    b->wanted = b->keep = false;
    bool up = b->state == BOND_UP;
    (void)aq_node_disconnect(p->node, p->town->people[other].id, 0, "enough");
    if (!up)
        set_state(p, b, BOND_NONE);
    person_leave(p);
}

/* Writes the next size bytes of what there is to say. */
static bool say_more(struct person *p, struct bond *b, unsigned size, unsigned flags)
{
    uint8_t text[SAY_BYTES];
    struct aq_iov iov = {text, size};
    for (unsigned i = 0; i < size; i++)
        text[i] = said_byte(b->said + i);
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(p->node));
    bool ok = aq_stream_write(ep, b->stream, &iov, 1, flags) == (int64_t)size;
    b->said += size;
    person_leave(p);
    return ok;
}

static bool say_first(struct person *p, struct bond *b)
{
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(p->node));
    b->said = b->heard = 0;
    b->heard_us = 0;
    b->echoed = false;
    return aq_stream_open(ep, b->conn, false, b, &b->stream) == AQ_OK;
}

bool person_say(struct person *p, unsigned other)
{
    struct bond *b = &p->bonds[other];
    return b->state == BOND_UP && person_enter(p) != NULL && say_first(p, b)
           && say_more(p, b, SAY_BYTES, AQ_FIN);
}

bool person_chat(struct person *p, unsigned other)
{
    struct bond *b = &p->bonds[other];
    if (b->state != BOND_UP || person_enter(p) == NULL || (b->stream == 0 && !say_first(p, b)))
        return false;
    return say_more(p, b, CHAT_BYTES, 0);
}

unsigned person_registered(const struct person *p)
{
    struct aq_node_stats stats = {.size = sizeof stats};
    if (p->node == NULL)
        return 0;
    aq_node_stats(p->node, &stats);
    return stats.registered;
}

/* ---- bootstrap nodes ------------------------------------------------------------------------- */

void boot_start(struct boot *b)
{
    struct town *town = b->town;
    struct aq_bootstrap_config c;
    struct aq_addr at;
    uint8_t id[32];
    char error[256], text[AQ_PEER_ID_TEXT], address[64];
    aq_bootstrap_config_init(&c);
    /* With IPv6 every other one is reached by that. */
    bool six = town->world->ipv6 && b->index % 2 != 0;
    c.listen[0] = (struct aq_addr){.family = six ? 6 : 4, .port = BOOT_PORT};
    c.key = (struct aq_pem){.pem = b->key, .pem_size = strlen(b->key)};
    c.max_peers = 2 * town->count + 16;
    c.state = b->state;
    c.state_size = b->state_size;
    if (town->tweaks.boot != NULL)
        town->tweaks.boot(b, &c);
    town->world->booting = b->host;
    b->node = aq_bootstrap_new(&c, error, sizeof error);
    town->world->booting = NULL;
    if (b->node == NULL) {
        world_fail(town->world, "bootstrap node %u does not start: %s", b->index, error);
        return;
    }
    b->stopping = false;
    aq_bootstrap_self(b->node, &at, id);
    at = b->host->addrs[six];
    at.port = BOOT_PORT;
    (void)snprintf(b->name, sizeof b->name, "%s@%s", aq_peer_id_text(id, text),
                   aq_addr_text(&at, address, sizeof address));
    world_note(town->world, "bootstrap %u starts at %s", b->index, address);
}

void boot_kill(struct boot *b, bool kept)
{
    if (b->node == NULL)
        return;
    free(b->state);
    b->state = NULL;
    b->state_size = 0;
    if (kept) {
        size_t room = aq_bootstrap_save_size(b->node);
        b->state = malloc(room);
        b->state_size = b->state ? aq_bootstrap_save(b->node, b->state, room) : 0;
    }
    world_note(b->town->world, "bootstrap %u dies, state kept %d", b->index, kept);
    aq_bootstrap_free(b->node);
    b->node = NULL;
}

void boot_stop(struct boot *b)
{
    if (b->node == NULL || b->stopping)
        return;
    world_note(b->town->world, "bootstrap %u stops", b->index);
    b->stopping = true;
    (void)aq_loop_clock(aq_bootstrap_loop(b->node));
    aq_bootstrap_stop(b->node);
    world_turn(b->host, b->town->world->now_us);
}

unsigned boot_peers(const struct boot *b)
{
    struct aq_bootstrap_stats stats = {.size = sizeof stats};
    if (b->node == NULL)
        return 0;
    aq_bootstrap_stats(b->node, &stats);
    return stats.peers;
}

/* ---- the town -------------------------------------------------------------------------------- */

struct town *town_new(struct world *world, unsigned people, unsigned boots,
                      const struct town_tweaks *tweaks)
{
    struct town *town = calloc(1, sizeof *town);
    if (town == NULL || (town->people = calloc(people, sizeof *town->people)) == NULL)
        abort();
    town->world = world;
    town->count = people;
    town->boot_count = boots;
    town->max_peers = 16;
    town->names_pinned = true;
    if (tweaks != NULL)
        town->tweaks = *tweaks;
    for (unsigned i = 0; i < people; i++) {
        struct person *p = &town->people[i];
        p->town = town;
        p->index = i;
        p->bonds = calloc(people, sizeof *p->bonds);
        if (p->bonds == NULL)
            abort();
    }
    for (unsigned i = 0; i < boots; i++) {
        struct boot *b = &town->boots[i];
        b->town = town;
        b->index = i;
        b->host = world_host(world, NULL);
        b->host->role = HOST_BOOT;
        make_key(world, b->key);
        boot_start(b);
    }
    return town;
}

void town_free(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++) {
        aq_node_free(town->people[i].node);
        free(town->people[i].bonds);
    }
    for (unsigned i = 0; i < town->boot_count; i++) {
        aq_bootstrap_free(town->boots[i].node);
        free(town->boots[i].state);
    }
    free(town->people);
    free(town);
}

void town_reap(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++) {
        struct person *p = &town->people[i];
        if (p->node != NULL && p->stopping && loop_ended(aq_node_loop(p->node)))
            person_kill(p);
    }
    for (unsigned i = 0; i < town->boot_count; i++) {
        struct boot *b = &town->boots[i];
        if (b->node != NULL && b->stopping && loop_ended(aq_bootstrap_loop(b->node)))
            boot_kill(b, true);
    }
}

/* ---- what must be true ----------------------------------------------------------------------- */

void town_check_stuck(struct town *town)
{
    uint64_t now = town->world->now_us;
    for (unsigned i = 0; i < town->count; i++) {
        const struct person *p = &town->people[i];
        for (unsigned j = 0; j < town->count && p->node != NULL && !p->stopping; j++) {
            const struct bond *b = &p->bonds[j];
            uint64_t limit = b->state == BOND_CONNECTING ? CONNECTING_US : WAITING_US;
            bool waits = b->state == BOND_CONNECTING || b->state == BOND_WAITING;
            if (waits && now - b->since_us > limit)
                world_fail(town->world, "peer %u is %s to peer %u for %" PRIu64 " s", i,
                           bond_state_name(b->state), j, (now - b->since_us) / 1000000);
            if (b->sessions != b->ends + (b->state == BOND_CONNECTING))
                world_fail(town->world, "peer %u to %u: %u sessions, %u ends", i, j, b->sessions,
                           b->ends);
        }
    }
}

static void person_check_empty(const struct person *p)
{
    struct world *world = p->town->world;
    const struct aq_node *node = p->node;
    struct aq_endpoint_stats ep = {.size = sizeof ep};
    unsigned links = 0, peers = 0, boots = 0;
    for (unsigned i = 0; i < node->link_max; i++)
        links += node->links[i].state != LINK_FREE;
    for (unsigned i = 0; i < node->peer_max; i++)
        peers += node->peers[i].state != PEER_FREE;
    for (unsigned i = 0; i < node->boot_count; i++)
        boots += node->boots[i].conn != 0;
    aq_endpoint_stats(node->ep, &ep);
    if (links > 0 || peers > 0)
        world_fail(world, "peer %u keeps %u links and %u peers", p->index, links, peers);
    else if (ep.conns > node->boot_count || ep.streams > boots) /* the last try is being drained */
        world_fail(world, "peer %u keeps %u connections and %u streams, of %u bootstrap nodes",
                   p->index, ep.conns, ep.streams, boots);
}

static void boot_check_empty(const struct boot *b)
{
    const struct registry *r = &b->node->registry;
    struct aq_endpoint_stats ep = {.size = sizeof ep};
    aq_endpoint_stats(b->node->ep, &ep);
    if (b->node->relay.pairs.used > 0 || r->requests.used > 0)
        world_fail(b->town->world, "bootstrap %u keeps %u relayed pairs and %u requests", b->index,
                   b->node->relay.pairs.used, r->requests.used);
    else if (r->peers.used != r->online || ep.conns != r->online
             || b->node->conns.used != r->online)
        world_fail(b->town->world,
                   "bootstrap %u keeps %u records, %u connections (%u known) of %u peers", b->index,
                   r->peers.used, ep.conns, b->node->conns.used, r->online);
}

void town_check_empty(struct town *town)
{
    for (unsigned i = 0; i < town->count; i++)
        if (town->people[i].node != NULL)
            person_check_empty(&town->people[i]);
    for (unsigned i = 0; i < town->boot_count; i++)
        if (town->boots[i].node != NULL)
            boot_check_empty(&town->boots[i]);
}
