/* link.c -- connections to peers: who is at the other end, which of two survives, and their ends.
 *
 * A link is told to the application when its peer is verified and let in, never before; its own
 * events pass through from then on. */
#include "nat/node/node.h"

#include <string.h>

/* Two connections between the same peers within this time were opened at once; later, the older one
 * is what a peer left behind that has started anew. */
#define LINK_AT_ONCE_US UINT64_C(3000000)
#define LINK_LINGER_US  UINT64_C(1000000)

struct link *link_take(struct aq_node *node)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        if (l->state == LINK_FREE) {
            memset(l, 0, sizeof *l);
            l->until_us = l->keep_us = l->again_us = AQ_NEVER;
            return l;
        }
    }
    return NULL;
}

/* No peer has it any more. */
static void link_detach(struct aq_node *node, const struct link *l)
{
    for (unsigned i = 0; i < node->peer_max; i++) {
        struct node_peer *p = &node->peers[i];
        if (p->link != l)
            continue;
        p->link = NULL;
        if (p->state == PEER_COMING)
            p->next_us = 0; /* nobody came */
    }
    if (node->last == l)
        node->last = NULL;
}

void link_free(struct aq_node *node, struct link *l)
{
    link_detach(node, l);
    relay_end(node, l);
    l->state = LINK_FREE;
    l->conn = 0;
}

struct link *link_by_conn(struct aq_node *node, aq_conn conn)
{
    if (node->last != NULL && node->last->conn == conn)
        return node->last;
    for (unsigned i = 0; i < node->link_max && conn != 0; i++) {
        if (node->links[i].state != LINK_FREE && node->links[i].conn == conn) {
            node->last = &node->links[i];
            return node->last;
        }
    }
    return NULL;
}

void link_close(struct aq_node *node, struct link *l, uint64_t code, const char *reason)
{
    if (l->conn == 0 || aq_close(node->ep, l->conn, code, reason, node_now(node)) != AQ_OK) {
        link_free(node, l);
        return;
    }
    l->state = LINK_CLOSING; /* its channel stays for the last words, its end frees it */
    link_detach(node, l);
}

void links_pump(struct aq_node *node, uint64_t now)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        if (l->state != LINK_FREE && l->conn == 0 && l->until_us <= now)
            link_free(node, l);
    }
}

uint64_t links_deadline(const struct aq_node *node)
{
    uint64_t first = AQ_NEVER;
    for (unsigned i = 0; i < node->link_max; i++) {
        const struct link *l = &node->links[i];
        if (l->state != LINK_FREE && l->conn == 0 && l->until_us < first)
            first = l->until_us;
    }
    return first;
}

void link_accepted(struct aq_node *node, const struct aq_event *event)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    node->dirty = true;
    if (aq_conn_stats(node->ep, event->conn, &stats) != AQ_OK)
        return;
    struct link *l = stats.channel ? relay_link(node, stats.channel) : link_take(node);
    bool second = l != NULL && l->conn != 0; /* a channel carries one connection */
    if (l == NULL || second || node->stopping) {
        (void)aq_refuse(node->ep, event->conn,
                        second           ? "a second connection"
                        : node->stopping ? "it is going offline"
                                         : "it has as many peers as it can",
                        node_now(node));
        return;
    }
    l->conn = event->conn;
    l->state = LINK_HANDSHAKE;
    node->stats.incoming++;
}

/* ---- up -------------------------------------------------------------------------------------- */

/* Whether the newcomer replaces a link that is up already. */
static bool newcomer_wins(const struct aq_node *node, const struct link *old, const struct link *l)
{
    if (old->client == l->client || node_now(node) - old->up_us > LINK_AT_ONCE_US)
        return true;
    bool we_are_lower = peer_id_compare(&node->self, &l->id) < 0;
    return l->client == we_are_lower;
}

/* Who it is, and whether it may be here. False: it was closed. */
static bool link_admit(struct aq_node *node, struct link *l)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    if (aq_conn_peer(node->ep, l->conn, &peer) != AQ_OK)
        return false;
    bool same = !l->known || memcmp(l->id.bytes, peer.spki_hash, PEER_ID_SIZE) == 0;
    memcpy(l->id.bytes, peer.spki_hash, PEER_ID_SIZE);
    if (!same || peer_id_equal(&l->id, &node->self)) {
        link_close(node, l, NODE_CODE_REFUSED, same ? "it is me" : "not the peer it was asked for");
        return false;
    }
    /* What came through the relay was asked about before; who we dial is let in. */
    if (!l->client && !l->known && !node_allows(node, &l->id)) {
        struct peer_id id = l->id;
        node->stats.refused++;
        link_close(node, l, NODE_CODE_REFUSED, "you are not among those it lets in");
        node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_REFUSED, .peer_id = id.bytes});
        return false;
    }
    l->known = true;
    return true;
}

static void link_connected(struct aq_node *node, struct link *l)
{
    struct node_peer *mine = peer_of_link(node, l); /* that dialled it */
    if (!link_admit(node, l)) {
        if (mine != NULL && mine->link == NULL)
            peer_fail(node, mine, "that address is our own");
        return;
    }
    struct node_peer *p = peer_find(node, &l->id);
    if (mine != NULL && p != mine) { /* dialled by address: now it has a name */
        if (p == NULL) {
            mine->known = true;
            mine->id = l->id;
            p = mine;
        } else {
            mine->link = NULL;
            peer_free(node, mine);
        }
    }
    if (p == NULL)
        p = peer_take(node, &l->id);
    if (p == NULL) {
        link_close(node, l, NODE_CODE_REFUSED, "it has as many peers as it can");
        return;
    }
    struct link *old = p->link != l ? p->link : NULL;
    if (old != NULL && old->state == LINK_UP && !newcomer_wins(node, old, l)) {
        node->stats.duplicates++;
        link_close(node, l, NODE_CODE_DUPLICATE, "both dialled: the other connection stays");
        return;
    }
    l->state = LINK_UP;
    l->up_us = node_now(node);
    peer_up(node, p, l);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* The connection is over, but its last words have not been sent yet: a channel stays for them. */
static void link_end(struct aq_node *node, struct link *l)
{
    if (!relay_has_channel(l)) {
        link_free(node, l);
        return;
    }
    link_detach(node, l);
    l->state = LINK_CLOSING;
    l->conn = 0;
    l->until_us = node_now(node) + LINK_LINGER_US;
}

static void link_closed(struct aq_node *node, struct link *l, const struct aq_event *event)
{
    struct aq_close_info info = {.size = sizeof info};
    struct node_peer *p = peer_of_link(node, l);
    char why[160] = "the connection ended";
    bool was_up = l->state == LINK_UP;
    if (aq_conn_close_info(node->ep, event->conn, &info) == AQ_OK) {
        const char *by = info.by == AQ_BY_TIMEOUT ? "it does not answer any more"
                         : info.by == AQ_BY_PEER  ? "the peer closed the connection"
                         : info.by == AQ_BY_RESET ? "the peer has started anew"
                         : info.application       ? "closed here"
                                                  : "the connection failed here";
        if (info.by == AQ_BY_TIMEOUT && !was_up)
            by = "no answer";
        size_t n = strlen(by), m = strlen(info.reason);
        memcpy(why, by, n + 1);
        if (m > 0 && n + m + 3 < sizeof why) {
            memcpy(why + n, ": ", 2);
            memcpy(why + n + 2, info.reason, m + 1);
        }
    }
    if (p != NULL && (was_up || p->session == NULL || l->state == LINK_HANDSHAKE)) {
        peer_lost(node, p, why, was_up); /* tells the application, while the link is still known */
    }
    link_end(node, l);
}

void link_event(struct aq_node *node, struct link *l, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_CONNECTED) {
        node->dirty = true;
        if (l->state == LINK_HANDSHAKE || l->state == LINK_ASKING)
            link_connected(node, l);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        node->dirty = true;
        link_closed(node, l, event);
    } else if (event->kind == AQ_EVENT_CONFIRMED || event->kind == AQ_EVENT_PATH
               || event->kind == AQ_EVENT_NAT) {
        direct_event(node, l, event);
    }
    if (event->kind != AQ_EVENT_CONNECTED && event->kind != AQ_EVENT_CLOSED && l->state == LINK_UP
        && node->config.on_conn != NULL) {
        node->config.on_conn(node->config.user, node, event);
    }
}
