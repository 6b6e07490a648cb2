/* probe.c -- datagrams that a bootstrap node sends when it is asked: what comes, and what does not,
 * tells what stands before us (PROTOCOL §4). The node draws no conclusions: `antq doctor` does.
 *
 * A probe is believed for its 16 bytes of chance, which only we and the bootstrap node know; the
 * node it comes to may be another one than that which asked, so the application compares them. */
#include "nat/node/node.h"

#include "nat/datagram.h"

#include <string.h>

int aq_node_probe(struct aq_node *node, unsigned index, const struct aq_addr *to, bool other_port,
                  uint8_t probe[16])
{
    _Static_assert(REQUEST_ID_SIZE == 16, "as antq_node.h says");
    if (index >= node->boot_count)
        return AQ_MISUSE;
    struct node_boot *b = &node->boots[index];
    if (!b->connected || node->registrar.node[index].lease_end_us == 0)
        return AQ_BLOCKED;
    rng_fill(&node->rng, probe, REQUEST_ID_SIZE);
    struct message m = message_about(MESSAGE_PROBE, STEP_REQUEST, probe);
    m.source = other_port ? PROBE_OTHER_PORT : PROBE_SAME;
    message_set(&m, FIELD_SOURCE);
    if (to != NULL) {
        m.peer_address = *to;
        message_set(&m, FIELD_PEER_ADDRESS);
    }
    boot_say(node, b, &m);
    return AQ_OK;
}

void probe_on_message(struct aq_node *node, const struct node_boot *b, const struct message *m)
{
    if (m->step != STEP_GO && m->step != STEP_REFUSED)
        return;
    unsigned reason = m->step == STEP_GO ? NAT_ACCEPTED : m->reason;
    node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_PROBE,
                                            .index = (unsigned)(b - node->boots),
                                            .reason = nat_reason_name(reason),
                                            .probe = m->request_id});
}

void probe_came(struct aq_node *node, const uint8_t *data, const struct aq_addr *from)
{
    node_tell(node,
              &(struct aq_node_event){.kind = AQ_NODE_PROBE, .probe = data + 1, .observed = *from});
}
