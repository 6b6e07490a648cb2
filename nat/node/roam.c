/* roam.c -- our own addresses change: an interface comes or goes, another network (NAT.md §4).
 *
 *     the kernel tells           connections to bootstrap nodes move to an address that is there
 *     one has moved              it is told at once, by a renewal: it sees us elsewhere now
 *     it has renewed             new channels through it, which the relay ties to that address;
 * then a search for a direct path, as at the beginning
 *
 * What is sent from an address that is gone is lost, which is why nothing waits for timeouts. */
#include "nat/node/node.h"

#include "core/addr.h"
#include "core/num.h"

#include <string.h>

struct hosts {
    struct aq_addr addr[NODE_HOSTS];
    unsigned count;
};

static bool is_here(const struct hosts *hosts, const struct aq_addr *local)
{
    for (unsigned i = 0; i < hosts->count; i++) {
        if (addr_same_ip(&hosts->addr[i], local))
            return true;
    }
    return local->family == 0 || addr_class(local) == ADDR_FORBIDDEN; /* loopback stays */
}

/* The path in use; false: the connection is gone. */
static bool active_path(const struct aq_node *node, aq_conn conn, struct aq_path_info *active)
{
    struct aq_path_info path[AQ_PATHS_MAX];
    unsigned count = conn ? aq_conn_paths(node->ep, conn, path, AQ_PATHS_MAX) : 0;
    for (unsigned i = 0; i < count; i++) {
        if (path[i].active)
            *active = path[i];
    }
    return count > 0;
}

static void boot_roam(struct aq_node *node, struct node_boot *b, const struct hosts *hosts)
{
    struct aq_path_info at;
    if (!active_path(node, b->conn, &at))
        return;
    if (is_here(hosts, &at.local)) { /* it may have been away: packets wait for timeouts */
        (void)aq_ping(node->ep, b->conn, node_now(node));
        return;
    }
    for (unsigned i = 0; i < hosts->count; i++) {
        struct aq_path_addr to = {
            .local = hosts->addr[i], .remote = at.remote, .socket = at.socket};
        to.local.port = at.local.port;
        if (to.local.family != at.remote.family)
            continue;
        b->moving = to.local;
        (void)aq_conn_migrate(node->ep, b->conn, &to, node_now(node));
        return;
    }
}

static void link_roam(struct aq_node *node, struct link *l, const struct hosts *hosts)
{
    struct aq_path_info at;
    if (l->state != LINK_UP || !active_path(node, l->conn, &at))
        return;
    l->stale = !is_here(hosts, &at.local);
    if (!l->stale)
        (void)aq_ping(node->ep, l->conn, node_now(node));
}

void roam_on_hosts(void *user, struct aq_loop *loop)
{
    struct aq_node *node = user;
    struct hosts hosts;
    hosts.count = aq_loop_hosts(loop, hosts.addr, NODE_HOSTS);
    hosts.count = hosts.count < NODE_HOSTS ? hosts.count : NODE_HOSTS;
    if (node->boot_count > 0)
        registrar_hurry(&node->registrar, node_now(node));
    for (unsigned i = 0; i < node->boot_count; i++)
        boot_roam(node, &node->boots[i], &hosts);
    for (unsigned i = 0; i < node->link_max; i++)
        link_roam(node, &node->links[i], &hosts);
    for (unsigned i = 0; i < node->peer_max; i++) {
        struct node_peer *p = &node->peers[i];
        if (p->state == PEER_UP && p->link != NULL && p->link->relayed && !p->link->stale)
            p->search_us = node_now(node); /* there may be a better way now */
        if (p->state == PEER_WAITING && p->next_us != AQ_NEVER)
            p->next_us = min_u64(p->next_us, node_now(node) + NODE_BACKOFF_MIN_US);
    }
    node_pump(node);
}

void roam_boot_moved(struct aq_node *node, struct node_boot *b)
{
    if (b->moving.family == 0)
        return;
    b->local = b->moving;
    b->moving.family = 0;
    b->moved = true;
    registrar_set_hints(&node->registrar, NULL, 0, node_now(node));
}

void roam_boot_registered(struct aq_node *node, struct node_boot *b)
{
    if (!b->moved)
        return;
    b->moved = false;
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        for (unsigned k = 0; k < NODE_WAYS && l->state == LINK_UP; k++) {
            if (l->way[k].name == 0 || l->way[k].boot != b)
                continue;
            l->way[k].lost = true;
            l->again_us = node_now(node);
        }
        struct node_peer *p = l->state == LINK_UP ? peer_of_link(node, l) : NULL;
        if (p != NULL && (l->stale || l->relayed))
            p->search_us = node_now(node);
    }
}
