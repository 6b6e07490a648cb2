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
#include "core/num.h"
#include "nat/datagram.h"

#include <assert.h>
#include <string.h>

static struct way *way_by_name(struct link *l, uint64_t name)
{
    for (unsigned i = 0; i < NODE_WAYS && name != 0; i++)
        if (l->way[i].name == name)
            return &l->way[i];
    return NULL;
}

struct link *relay_link(struct aq_node *node, uint64_t name)
{
    for (unsigned i = 0; i < node->link_max; i++)
        if (node->links[i].state != LINK_FREE && way_by_name(&node->links[i], name) != NULL)
            return &node->links[i];
    return NULL;
}

/* Ours that we asked that bootstrap node for. */
static struct way *way_by_request(struct aq_node *node, const struct node_boot *b,
                                  const uint8_t id[REQUEST_ID_SIZE], struct link **of)
{
    for (unsigned i = 0; i < node->link_max * NODE_WAYS; i++) {
        struct link *l = &node->links[i / NODE_WAYS];
        struct way *w = &l->way[i % NODE_WAYS];
        *of = l;
        bool asks = l->client ? l->state != LINK_FREE : l->state == LINK_UP;
        if (asks && w->name != 0 && w->boot == b && memcmp(w->request, id, REQUEST_ID_SIZE) == 0)
            return w;
    }
    return NULL;
}

bool relay_is_open(const struct link *l, uint64_t name)
{
    for (unsigned i = 0; i < NODE_WAYS; i++)
        if (l->way[i].name == name && l->way[i].channel_out != 0 && !l->way[i].lost)
            return true;
    return false;
}

bool relay_has_channel(const struct link *l)
{
    return l->way[0].channel_out != 0 || l->way[1].channel_out != 0;
}

static struct aq_path_addr path_of(const struct way *w)
{
    return (struct aq_path_addr){.local = w->boot->local,
                                 .remote = w->boot->remote,
                                 .channel = w->name,
                                 .socket = w->boot->socket};
}

/* Both ends are told by the bootstrap node's silence; it makes room. */
static void way_end(struct aq_node *node, struct way *w)
{
    struct message m = message_about(MESSAGE_CONNECT, STEP_END, w->request);
    m.channel_out = w->channel_out;
    message_set(&m, FIELD_CHANNEL_OUT);
    if (w->channel_out != 0 && w->boot->stream != 0 && !w->lost && !node->stopping)
        boot_say(node, w->boot, &m);
    memset(w, 0, sizeof *w);
}

void relay_end(struct aq_node *node, struct link *l)
{
    for (unsigned i = 0; i < NODE_WAYS; i++)
        way_end(node, &l->way[i]);
}

/* A place for one more way of a link that is up: instead of the one that is not in use. */
static struct way *way_take(struct aq_node *node, struct link *l, struct node_boot *b)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct way *w = &l->way[0];
    if (aq_conn_stats(node->ep, l->conn, &stats) == AQ_OK && stats.channel == w->name)
        w = &l->way[1];
    if (w->name != 0) {
        struct aq_path_addr old = path_of(w);
        (void)aq_conn_drop_path(node->ep, l->conn, &old, node_now(node));
    }
    way_end(node, w);
    w->name = ++node->next_name;
    w->boot = b;
    return w;
}

/* ---- dialling -------------------------------------------------------------------------------- */

bool relay_dial(struct aq_node *node, struct link *l, struct node_boot *b)
{
    struct aq_connect connect;
    struct way *w = &l->way[0];
    aq_connect_init(&connect);
    l->state = LINK_ASKING;
    l->client = true;
    w->boot = b;
    w->name = ++node->next_name;
    rng_fill(&node->rng, w->request, sizeof w->request);
    connect.tls = node->tls_peer;
    connect.peer_id = l->id.bytes;
    connect.remote = b->remote;
    connect.local = b->local;
    connect.socket = b->socket;
    connect.channel = w->name;
    return aq_connect(node->ep, &connect, &l->conn, node_now(node)) == AQ_OK;
}

static void say_request(struct aq_node *node, const struct link *l, struct way *w,
                        const struct aq_iov *packet)
{
    struct message m = message_about(MESSAGE_CONNECT, STEP_REQUEST, w->request);
    m.target = l->id;
    message_set(&m, FIELD_TARGET);
    if (packet != NULL) {
        m.packet = *packet;
        message_set(&m, FIELD_PACKET);
    }
    w->asked = true;
    boot_say(node, w->boot, &m);
}

/* The next that has us, rather one through which it has no way yet. */
static struct node_boot *boot_for(struct aq_node *node, struct link *l)
{
    unsigned have = registrar_registered(&node->registrar);
    struct node_boot *b = NULL;
    for (unsigned i = 0; i < have; i++) {
        b = boot_registered(node, l->again_count++ % have);
        if (b != NULL && b != l->way[0].boot && b != l->way[1].boot)
            break;
    }
    return b;
}

void relay_silent(struct aq_node *node, struct link *l, uint64_t name)
{
    struct way *w = way_by_name(l, name);
    if (w == NULL)
        return;
    w->lost = true;
    if (w->boot->conn != 0) /* one that has started anew does not know us, and says so */
        (void)aq_ping(node->ep, w->boot->conn, node_now(node));
}

void relay_again(struct aq_node *node, struct link *l, uint64_t now)
{
    struct node_boot *b = boot_for(node, l);
    l->again_wait_us = l->again_wait_us == 0 ? NODE_BACKOFF_MIN_US : l->again_wait_us * 2;
    l->again_wait_us = min_u64(l->again_wait_us, NODE_BACKOFF_MAX_US);
    l->again_us = now + l->again_wait_us;
    if (b == NULL)
        return;
    struct way *w = way_take(node, l, b);
    rng_fill(&node->rng, w->request, sizeof w->request);
    say_request(node, l, w, NULL);
}

bool relay_on_channel(void *user, struct aq_loop *loop, const struct aq_train *train)
{
    struct aq_node *node = user;
    struct link *l = relay_link(node, train->channel);
    (void)loop;
    if (l == NULL || train->size <= RELAY_HEADER)
        return false;
    struct way *w = way_by_name(l, train->channel);
    if (l->state == LINK_ASKING && !w->asked) {
        uint32_t size = train->size < train->segment ? train->size : train->segment;
        struct aq_iov packet = {train->data + RELAY_HEADER, size - RELAY_HEADER};
        say_request(node, l, w, &packet);
    }
    if (w->channel_out == 0) /* what else is sent before the answer is sent again after it */
        return false;
    for (uint32_t at = 0; at + RELAY_HEADER < train->size; at += train->segment)
        relay_header(train->data + at, w->channel_out);
    node->stats.relay_out_packets += (train->size + train->segment - 1U) / train->segment;
    node->stats.relay_out_bytes += train->size;
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static struct way *way_by_channel(struct aq_node *node, uint64_t channel,
                                  const struct aq_addr *from)
{
    for (unsigned i = 0; i < node->link_max * NODE_WAYS; i++) {
        const struct link *l = &node->links[i / NODE_WAYS];
        struct way *w = &node->links[i / NODE_WAYS].way[i % NODE_WAYS];
        if (l->state != LINK_FREE && w->name != 0 && w->channel_in == channel
            && addr_equal(&w->boot->remote, from))
            return w;
    }
    return NULL;
}

/* Whether somebody waits for a channel of the bootstrap node at that address. */
static const struct node_boot *asked_boot(const struct aq_node *node, const struct aq_addr *from)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        const struct link *l = &node->links[i];
        if (l->state == LINK_ASKING && l->way[0].asked && addr_equal(&l->way[0].boot->remote, from))
            return l->way[0].boot;
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

static bool is_boot(const struct aq_node *node, const struct aq_addr *from)
{
    for (unsigned i = 0; i < node->boot_count; i++)
        if (node->boots[i].conn != 0 && addr_equal(&node->boots[i].remote, from))
            return true;
    return false;
}

/* PROTOCOL §4: whose channel is not known had a connection with somebody who was here before us: a
 * stateless reset goes back to him, as it would to one who is not relayed. */
static void send_back(struct aq_node *node, const struct aq_datagram *run)
{
    uint32_t size = run->segment ? run->segment : run->size;
    uint8_t data[RELAY_HEADER + AQ_RESET_SIZE];
    struct aq_path_addr to = {.local = run->local, .remote = run->remote, .socket = run->socket};
    if (!is_boot(node, &run->remote) || size <= RELAY_HEADER)
        return;
    size_t n = aq_reset_for(node->ep, run->data + RELAY_HEADER, size - RELAY_HEADER,
                            data + RELAY_HEADER, node_now(node));
    relay_back_header(data, relay_channel(run->data));
    if (n > 0)
        (void)aq_loop_send_raw(node->loop, &to, 0, data, RELAY_HEADER + n);
}

/* Datagrams in a row with the same header. */
static void recv_run(struct aq_node *node, struct aq_datagram *run)
{
    uint32_t step = run->segment ? run->segment : run->size;
    const struct way *w = run->size > RELAY_HEADER
                              ? way_by_channel(node, relay_channel(run->data), &run->remote)
                              : NULL;
    if (w == NULL) {
        keep_early(node, run);
        send_back(node, run);
        return;
    }
    run->channel = w->name;
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
        enum datagram_kind kind = datagram_kind(d->data + at, end - at);
        if (kind != DATAGRAM_IS_RELAY) {
            run.data += at;
            run.size = end - at;
            if (kind == DATAGRAM_IS_PUNCH)
                direct_on_punch(node, &run);
            else if (kind == DATAGRAM_IS_PROBE)
                probe_came(node, run.data, &run.remote);
            else if (kind == DATAGRAM_IS_AWAKE)
                boot_awake(node, &run.remote);
            else
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
    struct aq_node *node = user;
    for (unsigned i = 0; i < n; i++)
        if (d[i].size > 0)
            recv_merged(node, &d[i]);
    if (node->dirty)
        node_pump(node);
}

/* ---- CONNECT messages ------------------------------------------------------------------------ */

static void say_answer(struct aq_node *node, struct node_boot *b, const uint8_t id[REQUEST_ID_SIZE],
                       enum nat_reason reason, const char *text)
{
    struct message m = message_about(MESSAGE_CONNECT, STEP_ANSWER, id);
    m.reason = (uint8_t)reason;
    message_set(&m, FIELD_REASON);
    if (text != NULL) {
        m.text = (struct aq_iov){(const uint8_t *)text, strlen(text)};
        message_set(&m, FIELD_TEXT);
    }
    boot_say(node, b, &m);
}

/* A packet that did not come by itself, as if it had come through the relay. */
static void give_packet(struct aq_node *node, const struct way *w, const struct aq_iov *packet)
{
    struct aq_buffer buffer;
    if (aq_recv_buffers(node->ep, &buffer, 1) != 1 || packet->size > buffer.size)
        return;
    memcpy(buffer.data, packet->data, packet->size);
    struct aq_datagram d = {.data = buffer.data,
                            .size = (uint32_t)packet->size,
                            .socket = w->boot->socket,
                            .channel = w->name,
                            .local = w->boot->local,
                            .remote = w->boot->remote};
    (void)aq_recv(node->ep, &d, 1, node_now(node));
}

static void way_opened(struct way *w, const struct message *m)
{
    w->channel_in = m->channel_in;
    w->channel_out = m->channel_out;
}

/* Asked without a packet: one more way for a connection that is there. A client goes to it: the
 * server would not ask if the other were not silent. */
static void one_more(struct aq_node *node, struct link *l, struct node_boot *b,
                     const struct message *m)
{
    struct way *w = way_take(node, l, b);
    struct aq_path_addr to;
    memcpy(w->request, m->request_id, REQUEST_ID_SIZE);
    way_opened(w, m);
    if (!l->client)
        return;
    l->way[w == &l->way[0]].lost = true;
    to = path_of(w);
    (void)aq_conn_probe_path(node->ep, l->conn, &to, 0, node_now(node));
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
    if (!message_has(m, FIELD_PACKET)) {
        if (p != NULL && p->state == PEER_UP && p->link != NULL)
            one_more(node, p->link, b, m);
        else /* we have started anew, and its connection is of before */
            say_answer(node, b, m->request_id, NAT_REFUSED, "there is no such connection");
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
    p = peer_coming(node, &m->peer_id);
    struct link *l = p != NULL ? link_take(node) : NULL;
    if (l == NULL) {
        say_answer(node, b, m->request_id, NAT_CAPACITY, "it has as many peers as it can");
        return;
    }
    if (p->state == PEER_COMING)
        p->link = l;
    struct way *w = &l->way[0];
    l->state = LINK_HANDSHAKE;
    l->known = true;
    l->id = m->peer_id;
    l->until_us = node_now(node) + node->config.loop.endpoint.handshake_timeout_us;
    w->boot = b;
    w->name = ++node->next_name;
    way_opened(w, m);
    memcpy(w->request, m->request_id, REQUEST_ID_SIZE);
    give_packet(node, w, &m->packet);
}

static void give_early(struct aq_node *node, const struct way *w)
{
    for (unsigned i = 0; i < NODE_EARLY; i++) {
        struct early *e = &node->early[(node->early_at + i) % NODE_EARLY]; /* oldest first */
        struct aq_iov packet = {e->data, e->size};
        if (e->size == 0 || e->channel != w->channel_in || e->boot != w->boot)
            continue;
        e->size = 0;
        give_packet(node, w, &packet);
    }
}

static void on_go(struct aq_node *node, struct link *l, struct way *w, const struct message *m)
{
    const struct session_meeting unknown = {.delay_us = 0};
    struct node_peer *p = peer_of_link(node, l);
    if (l->state == LINK_UP) {
        struct aq_path_addr to = path_of(w);
        way_opened(w, m);
        (void)aq_conn_probe_path(node->ep, l->conn, &to, 0, node_now(node));
        return;
    }
    if (l->state != LINK_ASKING)
        return;
    l->state = LINK_HANDSHAKE;
    way_opened(w, m);
    if (p == NULL)
        return;
    if (p->session != NULL)
        session_on_coordinated(p->session, &unknown, node_now(node));
    peer_step(node, p, AQ_NODE_STEP_HANDSHAKE);
    give_early(node, w);
}

static void on_refused(struct aq_node *node, struct link *l, const struct message *m)
{
    struct node_peer *p = peer_of_link(node, l);
    if (l->state == LINK_UP && l->relayed && m->reason == NAT_REFUSED) /* it knows us no more */
        (void)aq_close(node->ep, l->conn, NODE_CODE_GONE, "the peer has started anew",
                       node_now(node));
    if (p == NULL || l->state == LINK_UP)
        return;
    (void)memset(p->why, 0, sizeof p->why);
    if (message_has(m, FIELD_TEXT) && m->text.size < sizeof p->why)
        memcpy(p->why, m->text.data, m->text.size);
    p->wait_us = min_u64((uint64_t)m->retry_after_ms * 1000, NODE_BACKOFF_MAX_US);
    if (p->session != NULL && l->state == LINK_ASKING)
        session_on_refused(p->session, m->reason, node_now(node));
    else
        peer_fail(node, p, nat_reason_name(m->reason));
}

void relay_on_message(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    if (m->step == STEP_ASK) {
        on_ask(node, b, m);
        return;
    }
    struct link *l;
    struct way *w = way_by_request(node, b, m->request_id, &l);
    if (w != NULL && m->step == STEP_GO)
        on_go(node, l, w, m);
    else if (w != NULL && m->step == STEP_REFUSED)
        on_refused(node, l, m);
}

void relay_boot_lost(struct aq_node *node, const struct node_boot *b)
{
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        struct node_peer *p =
            l->state == LINK_ASKING && l->way[0].boot == b ? peer_of_link(node, l) : NULL;
        if (p != NULL && p->session != NULL)
            session_on_refused(p->session, NAT_SHUTTING_DOWN, node_now(node));
        /* Its channels may go on for a while; another way is looked for meanwhile. */
        for (unsigned k = 0; k < NODE_WAYS && l->state == LINK_UP; k++) {
            if (l->way[k].name == 0 || l->way[k].boot != b)
                continue;
            l->way[k].lost = true;
            if (l->client)
                l->again_us = node_now(node);
        }
    }
}
