/* info.c -- what a node knows, computed when it is asked. */
#include "nat/node/node.h"

#include <string.h>

const char *aq_node_result_name(enum aq_node_result result)
{
    static const char *const names[] = {"unknown", "none", "partial", "majority", "full"};
    return (unsigned)result < sizeof names / sizeof *names ? names[result] : "unknown";
}

const char *aq_node_step_name(enum aq_node_step step)
{
    static const char *const names[] = {"registering", "coordinating", "handshake", "waiting",
                                        "punching"};
    return (unsigned)step < sizeof names / sizeof *names ? names[step] : "unknown";
}

int aq_node_bootstrap(struct aq_node *node, unsigned index, struct aq_node_bootstrap *info)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct aq_node_bootstrap all;
    size_t size = info->size < sizeof all ? info->size : sizeof all;
    if (index >= node->boot_count)
        return AQ_MISUSE;
    node_called(node);
    const struct node_boot *b = &node->boots[index];
    const struct registrar_node *n = &node->registrar.node[index];
    memset(&all, 0, sizeof all);
    all.size = size;
    memcpy(all.name, b->text, sizeof b->text < sizeof all.name ? sizeof b->text : sizeof all.name);
    all.name[sizeof all.name - 1] = '\0';
    all.pinned = b->name.pinned;
    all.registered = n->lease_end_us != 0;
    if (b->known)
        memcpy(all.peer_id, b->id.bytes, PEER_ID_SIZE);
    all.reason = registrar_reason_name(n->reason);
    all.remote = b->remote;
    all.observed = n->observed;
    all.lease_us = n->lease_end_us > node_now(node) ? n->lease_end_us - node_now(node) : 0;
    if (b->conn != 0 && aq_conn_stats(node->ep, b->conn, &stats) == AQ_OK)
        all.rtt_us = stats.rtt_us;
    if (all.rtt_us != 0)
        all.mtu = stats.mtu;
    all.conn = b->conn;
    memcpy(info, &all, size);
    return AQ_OK;
}

int aq_node_status(struct aq_node *node, const uint8_t peer_id[32], struct aq_node_status *status)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct aq_node_status all = {.status = AQ_STATUS_HANDSHAKING};
    size_t size = status->size < sizeof all ? status->size : sizeof all;
    struct peer_id id;
    memcpy(id.bytes, peer_id, PEER_ID_SIZE);
    const struct node_peer *p = peer_find(node, &id);
    if (p == NULL)
        return AQ_GONE;
    all.size = size;
    all.step = p->step;
    if (p->state == PEER_WAITING)
        all.status = AQ_STATUS_CLOSED;
    if (p->link != NULL && p->link->conn != 0
        && aq_conn_stats(node->ep, p->link->conn, &stats) == AQ_OK) {
        all.conn = p->state == PEER_UP ? p->link->conn : 0;
        all.incoming = !p->link->client;
        all.status = stats.status;
        all.congested = stats.congested;
        all.relayed = stats.relayed;
        all.local = stats.local;
        all.remote = stats.remote;
        all.rtt_us = stats.rtt_us;
        all.mtu = stats.mtu;
    }
    memcpy(status, &all, size);
    return AQ_OK;
}

void aq_node_stats(struct aq_node *node, struct aq_node_stats *stats)
{
    struct aq_node_stats all = node->stats;
    size_t size = stats->size < sizeof all ? stats->size : sizeof all;
    all.size = size;
    all.bootstraps = node->boot_count;
    all.registered = node->boot_count > 0 ? registrar_registered(&node->registrar) : 0;
    for (unsigned i = 0; i < node->peer_max; i++) {
        enum peer_state state = node->peers[i].state;
        all.peers += state != PEER_FREE;
        all.connected += state == PEER_UP;
        all.connecting += state == PEER_DIALLING || state == PEER_WAITING;
    }
    memcpy(stats, &all, size);
}
