/* relay.c -- connections through a bootstrap node's relay (PROTOCOL §4).
 *
 * A relayed path's channel has two names on the wire, one for each direction, which the bootstrap
 * node hands out; the core knows it by a third, which is ours and is there before them:
 *
 *     dialler: aq_connect(channel = name) -> its first packet goes into the CONNECT request
 *              CONNECT go: channel_out, channel_in -> packets go and come with these
 *     target:  CONNECT ask: dialler, channels, packet -> given to the endpoint as if it had come
 *
 * Headers are written where the core left room for them, and skipped where the packets lie:
 * nothing is copied but the first packet. */
#include "nat/node/node.h"

#include "core/addr.h"
#include "nat/datagram.h"

#include <assert.h>
#include <string.h>

struct link *relay_link(struct aq_node *node, uint64_t name)
{
    for (unsigned i = 0; i < node->link_max && name != 0; i++)
        if (node->links[i].state != LINK_FREE && node->links[i].name == name)
            return &node->links[i];
    return NULL;
}

static struct link *link_by_request(struct aq_node *node, const struct node_boot *b,
                                    const uint8_t id[REQUEST_ID_SIZE])
{
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        if (l->state != LINK_FREE && l->boot == b && l->client
            && memcmp(l->request, id, REQUEST_ID_SIZE) == 0)
            return l;
    }
    return NULL;
}

static struct message message_of(enum message_step step, const uint8_t id[REQUEST_ID_SIZE])
{
    struct message m = {.type = MESSAGE_CONNECT, .step = (uint8_t)step};
    memcpy(m.request_id, id, REQUEST_ID_SIZE);
    message_set(&m, FIELD_STEP);
    message_set(&m, FIELD_REQUEST_ID);
    return m;
}

/* ---- dialling -------------------------------------------------------------------------------- */

bool relay_dial(struct aq_node *node, struct link *l, struct node_boot *b)
{
    struct aq_connect connect;
    aq_connect_init(&connect);
    l->state = LINK_ASKING;
    l->client = true;
    l->boot = b;
    l->name = ++node->next_name;
    rng_fill(&node->rng, l->request, sizeof l->request);
    connect.tls = node->tls_peer;
    connect.peer_id = l->id.bytes;
    connect.remote = b->remote;
    connect.local = b->local;
    connect.socket = b->socket;
    connect.channel = l->name;
    return aq_connect(node->ep, &connect, &l->conn, node_now(node)) == AQ_OK;
}

static void say_request(struct aq_node *node, struct link *l, const struct aq_iov *packet)
{
    struct message m = message_of(STEP_REQUEST, l->request);
    m.target = l->id;
    m.packet = *packet;
    message_set(&m, FIELD_TARGET);
    message_set(&m, FIELD_PACKET);
    l->asked = true;
    boot_say(node, l->boot, &m);
}

bool relay_on_channel(void *user, struct aq_loop *loop, const struct aq_train *train)
{
    struct aq_node *node = user;
    struct link *l = relay_link(node, train->channel);
    (void)loop;
    if (l == NULL || train->size <= RELAY_HEADER)
        return false;
    if (l->state == LINK_ASKING && !l->asked) {
        uint32_t size = train->size < train->segment ? train->size : train->segment;
        struct aq_iov packet = {train->data + RELAY_HEADER, size - RELAY_HEADER};
        say_request(node, l, &packet);
    }
    if (l->channel_out == 0) /* what else is sent before the answer is sent again after it */
        return false;
    for (uint32_t at = 0; at + RELAY_HEADER < train->size; at += train->segment)
        relay_header(train->data + at, l->channel_out);
    node->stats.relay_out_packets += (train->size + train->segment - 1U) / train->segment;
    node->stats.relay_out_bytes += train->size;
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static struct link *link_by_channel(struct aq_node *node, uint64_t channel,
                                    const struct aq_addr *from)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        if (l->state != LINK_FREE && l->channel_in == channel && l->name != 0 && l->boot != NULL
            && addr_equal(&l->boot->remote, from))
            return l;
    }
    return NULL;
}

/* Whether somebody waits for a channel of the bootstrap node at that address. */
static const struct node_boot *asked_boot(const struct aq_node *node, const struct aq_addr *from)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        const struct link *l = &node->links[i];
        if (l->state == LINK_ASKING && l->asked && addr_equal(&l->boot->remote, from))
            return l->boot;
    }
    return NULL;
}

static void keep_early(struct aq_node *node, const struct aq_datagram *run)
{
    uint32_t step = run->segment ? run->segment : run->size;
    const struct node_boot *b = run->size > RELAY_HEADER ? asked_boot(node, &run->remote) : NULL;
    node->stats.drop_channel += b == NULL;
    for (uint32_t at = 0; b != NULL && at + RELAY_HEADER < run->size; at += step) {
        uint32_t size = (run->size - at < step ? run->size - at : step) - RELAY_HEADER;
        struct early *e = &node->early[node->early_at++ % NODE_EARLY];
        if (size > sizeof e->data)
            continue;
        e->channel = relay_channel(run->data + at);
        e->boot = b;
        e->size = (uint16_t)size;
        memcpy(e->data, run->data + at + RELAY_HEADER, size);
    }
}

/* Datagrams in a row with the same header. */
static void recv_run(struct aq_node *node, struct aq_datagram *run)
{
    uint32_t step = run->segment ? run->segment : run->size;
    struct link *l = run->size > RELAY_HEADER
                         ? link_by_channel(node, relay_channel(run->data), &run->remote)
                         : NULL;
    if (l == NULL) {
        keep_early(node, run);
        return;
    }
    run->channel = l->name;
    run->prefix = RELAY_HEADER;
    node->stats.relay_in_packets += (run->size + step - 1) / step;
    node->stats.relay_in_bytes += run->size;
    int result = aq_recv(node->ep, run, 1, node_now(node));
    assert(result == AQ_OK);
    (void)result;
}

/* Datagrams of one size, merged by GRO, may be of several channels. */
static void recv_merged(struct aq_node *node, const struct aq_datagram *d)
{
    uint32_t step = d->segment ? d->segment : d->size, end;
    for (uint32_t at = 0; at < d->size; at = end) {
        struct aq_datagram run = *d;
        end = at + step < d->size ? at + step : d->size;
        if (datagram_kind(d->data + at, end - at) != DATAGRAM_IS_RELAY) {
            node->stats.drop_foreign++;
            continue;
        }
        while (end + RELAY_HEADER < d->size
               && memcmp(d->data + at, d->data + end, RELAY_HEADER) == 0)
            end = end + step < d->size ? end + step : d->size;
        run.data += at;
        run.size = end - at;
        run.segment = run.size > step ? (uint16_t)step : 0;
        recv_run(node, &run);
    }
}

void relay_on_datagrams(void *user, struct aq_loop *loop, const struct aq_datagram *d, unsigned n)
{
    (void)loop;
    for (unsigned i = 0; i < n; i++)
        if (d[i].size > 0)
            recv_merged(user, &d[i]);
}

/* ---- CONNECT messages ------------------------------------------------------------------------ */

static void say_answer(struct aq_node *node, struct node_boot *b, const uint8_t id[REQUEST_ID_SIZE],
                       enum nat_reason reason, const char *text)
{
    struct message m = message_of(STEP_ANSWER, id);
    m.reason = (uint8_t)reason;
    message_set(&m, FIELD_REASON);
    if (text != NULL) {
        m.text = (struct aq_iov){(const uint8_t *)text, strlen(text)};
        message_set(&m, FIELD_TEXT);
    }
    boot_say(node, b, &m);
}

/* A packet that did not come by itself, as if it had come through the relay. */
static void give_packet(struct aq_node *node, const struct link *l, const struct aq_iov *packet)
{
    struct aq_buffer buffer;
    if (aq_recv_buffers(node->ep, &buffer, 1) != 1 || packet->size > buffer.size)
        return;
    memcpy(buffer.data, packet->data, packet->size);
    struct aq_datagram d = {.data = buffer.data,
                            .size = (uint32_t)packet->size,
                            .socket = l->boot->socket,
                            .channel = l->name,
                            .local = l->boot->local,
                            .remote = l->boot->remote};
    (void)aq_recv(node->ep, &d, 1, node_now(node));
}

static void on_ask(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    struct node_peer *p = peer_find(node, &m->peer_id);
    if (!node_allows(node, &m->peer_id)) {
        say_answer(node, b, m->request_id, NAT_REFUSED, "you are not among those it lets in");
        node->stats.refused++;
        node_tell(node, &(struct aq_node_event){
                            .kind = AQ_NODE_REFUSED, .peer_id = m->peer_id.bytes, .relayed = true});
        return;
    }
    /* NAT.md §4: only when both dial at once does the PeerId decide: the connection whose client
     * has the lower one survives. The other side sees the same, so nothing is said. */
    if (p != NULL && p->state == PEER_DIALLING && p->link != NULL && p->link->client) {
        if (peer_id_compare(&node->self, &m->peer_id) < 0) {
            node->stats.duplicates++;
            return;
        }
        peer_yield(node, p);
    }
    struct link *l = link_take(node);
    if (l == NULL) {
        say_answer(node, b, m->request_id, NAT_CAPACITY, "it has as many peers as it can");
        return;
    }
    l->state = LINK_HANDSHAKE;
    l->known = true;
    l->id = m->peer_id;
    l->boot = b;
    l->name = ++node->next_name;
    l->channel_in = m->channel_in;
    l->channel_out = m->channel_out;
    l->until_us = node_now(node) + node->config.loop.endpoint.handshake_timeout_us;
    memcpy(l->request, m->request_id, REQUEST_ID_SIZE);
    if (message_has(m, FIELD_PACKET))
        give_packet(node, l, &m->packet);
}

static void give_early(struct aq_node *node, const struct link *l)
{
    for (unsigned i = 0; i < NODE_EARLY; i++) {
        struct early *e = &node->early[(node->early_at + i) % NODE_EARLY]; /* oldest first */
        struct aq_iov packet = {e->data, e->size};
        if (e->size == 0 || e->channel != l->channel_in || e->boot != l->boot)
            continue;
        e->size = 0;
        give_packet(node, l, &packet);
    }
}

static void on_go(struct aq_node *node, struct link *l, const struct message *m)
{
    const struct aq_addr unknown = {.family = 0};
    struct node_peer *p = peer_of_link(node, l);
    if (l->state != LINK_ASKING)
        return;
    l->state = LINK_HANDSHAKE;
    l->channel_in = m->channel_in;
    l->channel_out = m->channel_out;
    if (p == NULL)
        return;
    if (p->in_session)
        session_on_coordinated(&p->session, &unknown, &unknown, node_now(node));
    peer_step(node, p, AQ_NODE_STEP_HANDSHAKE);
    give_early(node, l);
}

static void on_refused(struct aq_node *node, struct link *l, const struct message *m)
{
    struct node_peer *p = peer_of_link(node, l);
    if (p == NULL || l->state == LINK_UP)
        return;
    (void)memset(p->why, 0, sizeof p->why);
    if (message_has(m, FIELD_TEXT) && m->text.size < sizeof p->why)
        memcpy(p->why, m->text.data, m->text.size);
    if (p->in_session && l->state == LINK_ASKING)
        session_on_refused(&p->session, m->reason, node_now(node));
    else
        peer_fail(node, p, nat_reason_name(m->reason));
}

void relay_on_message(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    if (m->step == STEP_ASK) {
        on_ask(node, b, m);
        return;
    }
    struct link *l = link_by_request(node, b, m->request_id);
    if (l != NULL && m->step == STEP_GO)
        on_go(node, l, m);
    else if (l != NULL && m->step == STEP_REFUSED)
        on_refused(node, l, m);
}

void relay_boot_lost(struct aq_node *node, const struct node_boot *b)
{
    /* The relay keeps its channels by themselves for a while: what is up goes on as long as packets
     * come. Only a request without an answer is over. */
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        struct node_peer *p =
            l->state == LINK_ASKING && l->boot == b ? peer_of_link(node, l) : NULL;
        if (p != NULL && p->in_session)
            session_on_refused(&p->session, NAT_SHUTTING_DOWN, node_now(node));
    }
}
