/* dial.c -- peers that we want: from "connect to this PeerId" to a link, and again when it is lost.
 *
 *     WAITING --registered, its time--> DIALLING --link up--> UP
 *        ^                                 |                   |
 *        +---- failed or lost, kept -------+-------------------+      else: FREE
 *
 * A peer that dials us is COMING until its link is up. Each try is a session of nat/session.h: it
 * says which bootstrap node is to be asked, and when that has taken too long, and what to probe,
 * which goes on when the link is up (direct.c). */
#include "nat/node/node.h"

#include "core/num.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct node_peer *peer_find(struct aq_node *node, const struct peer_id *id)
{
    for (unsigned i = 0; i < node->peer_max; i++) {
        struct node_peer *p = &node->peers[i];
        if (p->state != PEER_FREE && p->known && peer_id_equal(&p->id, id))
            return p;
    }
    return NULL;
}

struct node_peer *peer_of_link(struct aq_node *node, const struct link *l)
{
    for (unsigned i = 0; i < node->peer_max; i++)
        if (node->peers[i].state != PEER_FREE && node->peers[i].link == l)
            return &node->peers[i];
    return NULL;
}

struct node_peer *peer_take(struct aq_node *node, const struct peer_id *id)
{
    for (unsigned i = 0; i < node->peer_max; i++) {
        struct node_peer *p = &node->peers[i];
        if (p->state != PEER_FREE)
            continue;
        memset(p, 0, sizeof *p);
        p->state = PEER_WAITING;
        p->next_us = AQ_NEVER;
        p->backoff_us = NODE_BACKOFF_MIN_US;
        p->search_us = AQ_NEVER;
        p->known = id != NULL;
        if (id != NULL)
            p->id = *id;
        return p;
    }
    return NULL;
}

struct session *session_take(struct aq_node *node, struct node_peer *p)
{
    if (p->session == NULL) {
        uint32_t index = pool_take(&node->sessions);
        assert(index != POOL_NONE); /* as many as peers */
        p->session = pool_at(&node->sessions, index);
    }
    return p->session;
}

void session_give(struct aq_node *node, struct node_peer *p)
{
    pool_give(&node->sessions, pool_index(&node->sessions, p->session));
    p->session = NULL;
}

/* Its session, if one runs, ends without a word: what it came to is told by events. */
static void session_drop(struct aq_node *node, struct node_peer *p)
{
    struct session_action action;
    uint64_t now = node_now(node);
    if (p->session == NULL)
        return;
    session_cancel(p->session, now);
    while (session_next(p->session, &action, now))
        continue;
    session_give(node, p);
}

void peer_free(struct aq_node *node, struct node_peer *p)
{
    session_drop(node, p);
    p->state = PEER_FREE;
    p->link = NULL;
}

struct node_peer *peer_coming(struct aq_node *node, const struct peer_id *id)
{
    struct node_peer *p = peer_find(node, id);
    if (p == NULL)
        p = peer_take(node, id);
    if (p != NULL && p->state == PEER_WAITING) {
        p->state = PEER_COMING;
        p->next_us = node_now(node) + node->config.loop.endpoint.handshake_timeout_us;
    }
    return p;
}

/* It did not come. */
static void peer_stays_away(struct aq_node *node, struct node_peer *p)
{
    session_drop(node, p);
    p->link = NULL;
    p->state = p->wanted ? PEER_WAITING : PEER_FREE;
    p->next_us = node_now(node);
    node->dirty = true;
}

void peer_step(struct aq_node *node, struct node_peer *p, enum aq_node_step step)
{
    p->step = step;
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_STEP,
                                            .peer_id = p->known ? p->id.bytes : NULL,
                                            .step = step});
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Waits for its next try if it is kept; else it is forgotten. Returns how long it waits. */
static uint64_t peer_again(struct aq_node *node, struct node_peer *p)
{
    uint64_t wait = p->backoff_us;
    session_drop(node, p);
    p->link = NULL;
    if (!p->keep || node->stopping) {
        p->state = PEER_FREE;
        return 0;
    }
    wait = wait / 2 + rng_below(&node->rng, wait / 2 + 1);
    wait = max_u64(wait, p->wait_us);
    p->backoff_us =
        p->backoff_us * 2 < NODE_BACKOFF_MAX_US ? p->backoff_us * 2 : NODE_BACKOFF_MAX_US;
    p->state = PEER_WAITING;
    p->step = AQ_NODE_STEP_WAITING;
    p->next_us = node_now(node) + wait;
    node->dirty = true;
    node->stats.reconnects++;
    return wait;
}

struct hint {
    const char *reason, *hint;
};
static const char *hint_of(const struct aq_node *node, enum aq_node_step step, const char *reason)
{
    static const struct hint hints[] = {
        {"not_registered",
         "is the PeerId right, is that peer online, and with one of the same bootstrap nodes?"},
        {"refused", "ask that peer to let your PeerId in (--allow)"},
        {"no_relay", "this bootstrap node does not relay: use one that does"},
        {"timeout", "it may have gone a moment ago: try again, or another bootstrap node"},
        {"rate_limited", "wait a little and try again"},
        {"capacity", "the bootstrap node is full: try another one"},
    };
    for (unsigned i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strcmp(hints[i].reason, reason) == 0)
            return hints[i].hint;
    if (step == AQ_NODE_STEP_REGISTERING)
        return "no bootstrap node has us: `antq doctor --bootstrap ...` tells what the network "
               "allows";
    return node->boot_count > 0 ? "`antq doctor --bootstrap ...` tells what the network allows"
                                : "is the address right, and does UDP get through to it?";
}

void peer_fail(struct aq_node *node, struct node_peer *p, const char *why)
{
    struct peer_id id = p->id;
    bool known = p->known;
    if (p->state == PEER_COMING) {
        peer_stays_away(node, p);
        return;
    }
    char words[MESSAGE_TEXT + 64];
    enum aq_node_step step = p->step;
    (void)snprintf(words, sizeof words, "%s%s%.*s", why, p->why[0] ? ": " : "", MESSAGE_TEXT,
                   p->why);
    p->why[0] = '\0';
    uint64_t wait_us = p->wait_us;
    struct link *l = p->link;
    p->link = NULL;
    if (l != NULL && l->state != LINK_FREE)
        link_close(node, l, NODE_CODE_GONE, "given up");
    node->stats.failed++;
    uint64_t wait = peer_again(node, p);
    p->wait_us = 0;
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_FAILED,
                                            .peer_id = known ? id.bytes : NULL,
                                            .step = step,
                                            .reason = words,
                                            .hint = hint_of(node, step, why),
                                            .retry_us = wait,
                                            .wait_us = wait_us});
}

void peer_lost(struct aq_node *node, struct node_peer *p, const char *why, bool was_up)
{
    struct peer_id id = p->id;
    aq_conn conn = p->link != NULL ? p->link->conn : 0;
    if (!was_up) {
        p->link = NULL; /* it has ended by itself */
        peer_fail(node, p, why);
        return;
    }
    node->stats.closed++;
    uint64_t wait = peer_again(node, p);
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_CLOSED,
                                            .peer_id = id.bytes,
                                            .conn = conn,
                                            .reason = why,
                                            .retry_us = wait});
}

void peer_yield(struct aq_node *node, struct node_peer *p)
{
    struct link *l = p->link;
    node->stats.duplicates++;
    p->link = NULL;
    session_drop(node, p);
    if (l != NULL)
        link_close(node, l, NODE_CODE_DUPLICATE, "both dialled: the other connection stays");
    /* Theirs comes; if it does not, we dial again. */
    p->state = PEER_WAITING;
    p->next_us = node_now(node) + node->config.loop.endpoint.handshake_timeout_us;
}

static void tell_connected(struct aq_node *node, const struct node_peer *p)
{
    struct peer_id id = p->id;
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_CONNECTED,
                                            .peer_id = id.bytes,
                                            .conn = p->link->conn,
                                            .relayed = p->link->relayed,
                                            .incoming = !p->link->client});
}

void peer_up(struct aq_node *node, struct node_peer *p, struct link *l)
{
    struct link *old = p->link != l ? p->link : NULL;
    struct aq_conn_stats stats = {.size = sizeof stats};
    if (old != NULL && old->state == LINK_UP) {
        struct peer_id id = p->id;
        node->stats.closed++;
        node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_CLOSED,
                                                .peer_id = id.bytes,
                                                .conn = old->conn,
                                                .reason = "the peer has started anew"});
    }
    if (old != NULL)
        link_close(node, old, NODE_CODE_DUPLICATE, "replaced by a newer connection");
    if (aq_conn_stats(node->ep, l->conn, &stats) == AQ_OK)
        l->relayed = stats.relayed;
    p->link = l;
    p->state = PEER_UP;
    p->backoff_us = NODE_BACKOFF_MIN_US;
    if (l->relayed)
        node->stats.relayed++;
    else
        node->stats.direct++;
    if (p->session != NULL && l->relayed)
        session_on_relayed(p->session, node_now(node));
    else
        session_drop(node, p);
    tell_connected(node, p);
}

/* ---- tries ----------------------------------------------------------------------------------- */

static void begin(struct aq_node *node, struct node_peer *p, unsigned coordinators, uint64_t now)
{
    struct session_config config;
    session_config_init(&config);
    config.coordinators = coordinators < SESSION_COORDINATORS ? coordinators : SESSION_COORDINATORS;
    p->state = PEER_DIALLING;
    p->why[0] = '\0';
    p->wait_us = 0;
    node->stats.attempts++;
    direct_configure(node, &config);
    session_init(session_take(node, p), &config, &node->budget, now);
    p->round++;
    peer_step(node, p, AQ_NODE_STEP_COORDINATING);
}

static void ask(struct aq_node *node, struct node_peer *p, unsigned coordinator, uint64_t now)
{
    struct node_boot *b = boot_registered(node, coordinator);
    struct link *old = p->link, *l = b != NULL ? link_take(node) : NULL;
    p->link = NULL;
    if (old != NULL)
        link_close(node, old, NODE_CODE_GONE, "another bootstrap node is asked");
    if (l == NULL) {
        session_on_refused(p->session, b != NULL ? NAT_CAPACITY : NAT_NOT_REGISTERED, now);
        return;
    }
    l->known = true;
    l->id = p->id;
    p->link = l;
    if (!relay_dial(node, l, b)) {
        link_free(node, l);
        session_on_refused(p->session, NAT_CAPACITY, now);
        return;
    }
    direct_ask(node, p, b);
}

/* The link is up, by a relay: the two are to be brought together once more. */
static void ask_again(struct aq_node *node, struct node_peer *p, unsigned coordinator, uint64_t now)
{
    struct node_boot *b = boot_registered(node, coordinator);
    if (b != NULL)
        direct_ask(node, p, b);
    else
        session_on_refused(p->session, NAT_NOT_REGISTERED, now);
}

/* False: the peer is not what it was, and its session is over. */
static bool act(struct aq_node *node, struct node_peer *p, const struct session_action *action,
                uint64_t now)
{
    struct cand_list own;
    switch (action->kind) {
    case SESSION_GATHER:
        direct_candidates(node, &own);
        session_on_candidates(p->session, &own, now);
        break;
    case SESSION_COORDINATE:
        if (p->state == PEER_UP)
            ask_again(node, p, action->index, now);
        else
            ask(node, p, action->index, now);
        break;
    case SESSION_PROBE: direct_probe(node, p, action); break;
    case SESSION_END:
        session_give(node, p);
        direct_ended(node, p, &action->end);
        if (p->state == PEER_DIALLING)
            peer_fail(node, p, nat_reason_name(action->end.reason));
        return false;
    case SESSION_NOTHING:
    case SESSION_STATE: break;
    }
    return true;
}

static void try_now(struct aq_node *node, struct node_peer *p, uint64_t now)
{
    unsigned have = registrar_registered(&node->registrar);
    if (have > 0) {
        begin(node, p, have, now);
    } else if (node->registrar.result == REGISTERED_NONE) {
        p->step = AQ_NODE_STEP_REGISTERING; /* which is where it fails */
        p->wait_us = registrar_wait(&node->registrar, now);
        peer_fail(node, p, "no registration");
    } else if (p->step != AQ_NODE_STEP_REGISTERING || p->next_us != 0) {
        p->next_us = 0; /* looked at whenever the registrar has something to say */
        peer_step(node, p, AQ_NODE_STEP_REGISTERING);
    }
}

void peers_pump(struct aq_node *node, uint64_t now)
{
    links_pump(node, now);
    for (unsigned i = 0; i < node->peer_max; i++) {
        struct node_peer *p = &node->peers[i];
        struct session_action action;
        if (p->state == PEER_WAITING && p->next_us <= now && node->boot_count > 0)
            try_now(node, p, now);
        if (p->state == PEER_COMING && p->link == NULL && p->next_us <= now)
            peer_stays_away(node, p);
        direct_pump(node, p, now);
        while (p->state != PEER_FREE && p->session != NULL
               && session_next(p->session, &action, now))
            if (!act(node, p, &action, now))
                break;
    }
}

uint64_t peers_deadline(const struct aq_node *node)
{
    uint64_t first = links_deadline(node);
    for (unsigned i = 0; i < node->peer_max; i++) {
        const struct node_peer *p = &node->peers[i];
        uint64_t at = AQ_NEVER;
        if (p->state == PEER_FREE)
            continue;
        if (p->state == PEER_WAITING && p->next_us > 0)
            at = p->next_us;
        if (p->state == PEER_COMING && p->link == NULL)
            at = p->next_us;
        at = min_u64(at, direct_deadline(p));
        if (p->session != NULL)
            at = min_u64(at, session_deadline(p->session));
        first = min_u64(first, at);
    }
    return first;
}

/* ---- what the application wants -------------------------------------------------------------- */

int aq_node_connect(struct aq_node *node, const uint8_t peer_id[32], unsigned flags)
{
    struct peer_id id;
    memcpy(id.bytes, peer_id, PEER_ID_SIZE);
    node_called(node);
    if (node->boot_count == 0 || node->stopping || peer_id_equal(&id, &node->self))
        return AQ_MISUSE;
    struct node_peer *p = peer_find(node, &id);
    bool fresh = p == NULL;
    if (fresh)
        p = peer_take(node, &id);
    if (p == NULL)
        return AQ_FULL;
    p->keep |= (flags & AQ_NODE_KEEP) != 0;
    p->wanted = true;
    if (p->state == PEER_UP) {
        tell_connected(node, p);
        return AQ_OK;
    }
    if (fresh) {
        p->next_us = 1; /* now */
        p->step = AQ_NODE_STEP_WAITING;
        node_pump(node);
    }
    return AQ_OK;
}

int aq_node_connect_address(struct aq_node *node, const struct aq_addr *addr,
                            const uint8_t *peer_id, char *error, size_t error_size)
{
    struct aq_connect connect;
    struct peer_id id;
    node_called(node);
    if (peer_id != NULL)
        memcpy(id.bytes, peer_id, PEER_ID_SIZE);
    struct node_peer *p = peer_id != NULL ? peer_find(node, &id) : NULL;
    if (p != NULL) {
        if (p->state == PEER_UP)
            tell_connected(node, p);
        return AQ_OK;
    }
    p = peer_take(node, peer_id != NULL ? &id : NULL);
    struct link *l = p != NULL ? link_take(node) : NULL;
    if (l == NULL) {
        if (p != NULL)
            p->state = PEER_FREE;
        (void)snprintf(error, error_size, "%s", "as many peers as max_peers allows");
        return AQ_FULL;
    }
    aq_connect_init(&connect);
    connect.tls = node->tls_peer;
    connect.remote = *addr;
    node_dial_from(node, &connect);
    connect.peer_id = peer_id;
    l->client = true;
    l->known = peer_id != NULL;
    if (peer_id != NULL)
        l->id = id;
    int result = aq_dial(node->loop, &connect, false, &l->conn, error, error_size);
    if (result != AQ_OK) {
        p->state = PEER_FREE;
        return result;
    }
    node->stats.attempts++;
    l->state = LINK_HANDSHAKE;
    p->state = PEER_DIALLING;
    p->wanted = true;
    p->link = l;
    peer_step(node, p, AQ_NODE_STEP_HANDSHAKE);
    return AQ_OK;
}

int aq_node_disconnect(struct aq_node *node, const uint8_t peer_id[32], uint64_t code,
                       const char *reason)
{
    struct peer_id id;
    memcpy(id.bytes, peer_id, PEER_ID_SIZE);
    node_called(node);
    struct node_peer *p = peer_find(node, &id);
    if (p == NULL)
        return AQ_GONE;
    p->keep = p->wanted = false;
    if (p->state == PEER_UP && p->link != NULL) {
        /* Its end is told when it comes. */
        return aq_close(node->ep, p->link->conn, code, reason, node_now(node));
    }
    struct link *l = p->link;
    peer_free(node, p);
    if (l != NULL)
        link_close(node, l, code, reason);
    return AQ_OK;
}
