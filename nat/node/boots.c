/* boots.c -- connections to bootstrap nodes: dialling, the registration stream, its messages
 * (PROTOCOL §3, §4).
 *
 * The registrar says when to dial, what to send and when to hang up; here it is told what came of
 * it. A name is asked for without waiting, anew for each try. Everything on the stream is written
 * whole, or the connection is given up: a bootstrap node that lets a few kilobytes pile up is of no
 * use. */
#include "nat/node/node.h"

#include "core/addr.h"
#include "core/num.h"

#include <stdio.h>
#include <string.h>

#define AWAKE_GAP_US    UINT64_C(1000000)
#define AWAKE_ANSWER_US UINT64_C(1500000)

struct node_boot *boot_by_conn(struct aq_node *node, aq_conn conn)
{
    for (unsigned i = 0; i < node->boot_count; i++)
        if (node->boots[i].conn == conn && conn != 0)
            return &node->boots[i];
    return NULL;
}

static unsigned boot_index(const struct aq_node *node, const struct node_boot *b)
{
    return (unsigned)(b - node->boots);
}

struct node_boot *boot_registered(struct aq_node *node, unsigned n)
{
    for (unsigned i = 0; i < node->boot_count; i++)
        if (node->registrar.node[i].lease_end_us != 0 && node->boots[i].connected && n-- == 0)
            return &node->boots[i];
    return NULL;
}

/* Two names may lead to one node, an IPv4 and an IPv6 address of it. It keeps one registration of
 * us, the latest, and would take the former's connection for a stranger's: so the first that is
 * connected stays, and the other stands by. */
static bool boot_is_spare(const struct aq_node *node, const struct node_boot *b)
{
    for (unsigned i = 0; i < node->boot_count; i++) {
        const struct node_boot *other = &node->boots[i];
        if (other != b && other->connected && b->known && peer_id_equal(&other->id, &b->id))
            return true;
    }
    return false;
}

/* It is connected no more: one that stood by has its turn. */
static void boot_gave_way(struct aq_node *node, const struct node_boot *b)
{
    for (unsigned i = 0; i < node->boot_count && b->connected; i++) {
        const struct node_boot *other = &node->boots[i];
        if (other != b && other->known && peer_id_equal(&other->id, &b->id)
            && node->registrar.node[i].reason == FAILURE_SAME_NODE)
            registrar_again(&node->registrar, i, node_now(node));
    }
}

static void boot_failed(struct aq_node *node, struct node_boot *b, enum registrar_failure why)
{
    boot_gave_way(node, b);
    relay_boot_lost(node, b);
    b->answer_us = 0;
    b->conn = 0;
    b->stream = 0;
    b->connected = b->dialling = false;
    b->size = 0;
    registrar_failed(&node->registrar, boot_index(node, b), why, node_now(node));
    node->dirty = true;
}

static void boot_dial_address(struct aq_node *node, struct node_boot *b, const struct aq_addr *addr)
{
    struct aq_connect connect;
    char error[256];
    b->dialling = false;
    b->answered_us = 0;
    aq_connect_init(&connect);
    connect.remote = *addr;
    connect.tls = node->tls_boot;
    connect.peer_id = b->known ? b->id.bytes : NULL;
    node_dial_from(node, &connect);
    if (aq_dial(node->loop, &connect, false, &b->conn, error, sizeof error) != AQ_OK) {
        boot_failed(node, b, FAILURE_UNREACHABLE);
        return;
    }
    b->local = connect.local;
    b->remote = connect.remote;
    b->socket = connect.socket;
}

static void on_address(void *user, const struct aq_addr *addr, const char *error)
{
    struct node_boot *b = user;
    struct aq_node *node = b->node;
    (void)error;
    b->asking = false;
    if (b->dialling && addr != NULL) {
        boot_dial_address(node, b, addr);
    } else if (b->dialling) {
        boot_failed(node, b, FAILURE_NO_ADDRESS);
    } else if (addr != NULL) {
        /* Its try was over: a name server slower than a try would else keep us out for good. */
        b->answer = *addr;
        b->answered_us = node_now(node);
    }
    node_pump(node);
}

void boot_dial(struct aq_node *node, unsigned index)
{
    struct node_boot *b = &node->boots[index];
    char text[HOST_MAX + 16];
    bool colons = strchr(b->name.host, ':') != NULL;
    if (boot_is_spare(node, b)) {
        boot_failed(node, b, FAILURE_SAME_NODE);
        return;
    }
    b->dialling = true;
    if (b->asking)
        return;
    if (b->answered_us != 0 && node_now(node) - b->answered_us < NODE_ANSWER_US) {
        boot_dial_address(node, b, &b->answer);
        return;
    }
    (void)snprintf(text, sizeof text, colons ? "[%s]" : "%s", b->name.host);
    b->asking = true;
    if (aq_loop_resolve(node->loop, text, b->name.port, on_address, b) != AQ_OK) {
        b->asking = false;
        boot_failed(node, b, FAILURE_NO_ADDRESS);
    }
}

void boot_close(struct aq_node *node, struct node_boot *b)
{
    b->dialling = false;
    if (b->conn == 0)
        return;
    aq_conn conn = b->conn;
    boot_gave_way(node, b);
    relay_boot_lost(node, b);
    b->answer_us = 0;
    b->conn = 0; /* its last events are nobody's */
    b->stream = 0;
    b->connected = false;
    b->size = 0;
    (void)aq_close(node->ep, conn, 0, "goodbye", node_now(node));
}

void boot_write(struct aq_node *node, struct node_boot *b, const uint8_t *data, size_t size)
{
    struct aq_iov iov = {data, size};
    if (b->stream == 0 || size == 0)
        return;
    if (aq_stream_write(node->ep, b->stream, &iov, 1, 0) != (int64_t)size) {
        boot_close(node, b);
        boot_failed(node, b, FAILURE_LOST);
    }
}

void boot_say(struct aq_node *node, struct node_boot *b, const struct message *m)
{
    uint8_t data[MESSAGE_MAX];
    boot_write(node, b, data, message_encode(m, data, sizeof data));
}

static void boot_connected(struct aq_node *node, struct node_boot *b)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    if (aq_conn_peer(node->ep, b->conn, &peer) == AQ_OK) {
        memcpy(b->id.bytes, peer.spki_hash, PEER_ID_SIZE);
        b->known = true; /* first use, at least of this run: from now on it must be this key */
    }
    if (boot_is_spare(node, b)) {
        boot_close(node, b);
        boot_failed(node, b, FAILURE_SAME_NODE);
        return;
    }
    if (aq_stream_open(node->ep, b->conn, false, NULL, &b->stream) != AQ_OK) {
        boot_close(node, b);
        boot_failed(node, b, FAILURE_LOST);
        return;
    }
    b->connected = true;
    registrar_connected(&node->registrar, boot_index(node, b), node_now(node));
}

/* ---- messages -------------------------------------------------------------------------------- */

static void boot_message(struct aq_node *node, struct node_boot *b)
{
    struct message m;
    if (message_decode(b->in, b->size, &m) != MESSAGE_GOOD)
        return;
    if (m.type == MESSAGE_REGISTERED) {
        registrar_recv(&node->registrar, boot_index(node, b), &m, node_now(node));
        if (m.reason == NAT_ACCEPTED)
            roam_boot_registered(node, b);
    } else if (m.type == MESSAGE_CONNECT)
        relay_on_message(node, b, &m);
    else if (m.type == MESSAGE_PUNCH)
        direct_on_message(node, b, &m);
    else if (m.type == MESSAGE_PROBE)
        probe_on_message(node, b, &m);
}

/* Takes in what makes the message at hand whole. False: the stream is broken. */
static bool boot_take(struct aq_node *node, struct node_boot *b, const uint8_t *data, size_t size)
{
    while (size > 0) {
        uint32_t want = message_size(b->in, b->size);
        if (want == UINT32_MAX)
            return false;
        size_t n = (want ? want : MESSAGE_HEADER) - b->size;
        n = n < size ? n : size;
        memcpy(b->in + b->size, data, n);
        b->size += (uint32_t)n;
        data += n;
        size -= n;
        if (message_size(b->in, b->size) == b->size) {
            boot_message(node, b);
            b->size = 0;
        }
    }
    return true;
}

static void boot_read(struct aq_node *node, struct node_boot *b)
{
    uint8_t copy[4 * MESSAGE_MAX];
    bool fin = false;
    while (b->stream != 0) {
        struct aq_iov iov;
        /* A message may carry a packet, which is received before this returns: so it is copied, and
         * given back, first. */
        if (aq_stream_peek(node->ep, b->stream, &iov, 1, &fin) != 1 || iov.size == 0)
            break;
        size_t n = iov.size < sizeof copy ? iov.size : sizeof copy;
        memcpy(copy, iov.data, n);
        (void)aq_stream_consume(node->ep, b->stream, n);
        if (!boot_take(node, b, copy, n)) {
            fin = true;
            break;
        }
    }
    if (fin && b->conn != 0) {
        boot_close(node, b);
        boot_failed(node, b, FAILURE_LOST);
    }
}

static enum registrar_failure closed_why(struct aq_node *node, const struct node_boot *b,
                                         aq_conn conn)
{
    enum {
        BAD_CERTIFICATE = 42 /* the TLS alert (RFC 8446 §6.2) */
    };
    struct aq_close_info info = {.size = sizeof info};
    if (b->connected)
        return FAILURE_LOST;
    if (b->known && aq_conn_close_info(node->ep, conn, &info) == AQ_OK && info.by == AQ_BY_US
        && !info.application && info.code == AQ_CRYPTO_ERROR + BAD_CERTIFICATE)
        return FAILURE_WRONG_PIN;
    return FAILURE_UNREACHABLE;
}

void boot_event(struct aq_node *node, struct node_boot *b, const struct aq_event *event)
{
    node->dirty = true;
    enum aq_event_kind kind = event->kind;
    if (kind == AQ_EVENT_CONNECTED) {
        boot_connected(node, b);
    } else if (kind == AQ_EVENT_READABLE) {
        boot_read(node, b);
    } else if (kind == AQ_EVENT_PONG) {
        b->answer_us = 0;
    } else if (kind == AQ_EVENT_PATH && event->value & AQ_PATH_MOVED) {
        roam_boot_moved(node, b);
    } else if (kind == AQ_EVENT_CLOSED) {
        boot_failed(node, b, closed_why(node, b, event->conn));
    } else if (kind == AQ_EVENT_RESET || kind == AQ_EVENT_STOPPED
               || kind == AQ_EVENT_STREAM_CLOSED) { /* a registration that cannot go on */
        boot_close(node, b);
        boot_failed(node, b, FAILURE_LOST);
    }
}

void boot_awake(struct aq_node *node, const struct aq_addr *from)
{
    uint64_t now = node_now(node);
    for (unsigned i = 0; i < node->boot_count; i++) {
        struct node_boot *b = &node->boots[i];
        /* Anybody can say so: it is only asked whether it knows us, once a second at most. */
        if (b->conn == 0 || !addr_equal(&b->remote, from) || now < b->woken_us + AWAKE_GAP_US)
            continue;
        b->woken_us = now;
        b->answer_us = now + AWAKE_ANSWER_US;
        node->dirty = true;
        (void)aq_ping(node->ep, b->conn, now);
    }
}

void boots_pump(struct aq_node *node, uint64_t now)
{
    for (unsigned i = 0; i < node->boot_count; i++) {
        struct node_boot *b = &node->boots[i];
        if (b->conn == 0 || b->answer_us == 0 || b->answer_us > now)
            continue;
        boot_close(node, b);
        boot_failed(node, b, FAILURE_LOST);
    }
}

uint64_t boots_deadline(const struct aq_node *node)
{
    uint64_t first = AQ_NEVER;
    for (unsigned i = 0; i < node->boot_count; i++) {
        const struct node_boot *b = &node->boots[i];
        if (b->conn != 0 && b->answer_us != 0)
            first = min_u64(first, b->answer_us);
    }
    return first;
}

/* ---- telling --------------------------------------------------------------------------------- */

static const char *boot_hint(unsigned reason)
{
    switch (reason) {
    case FAILURE_NO_ADDRESS: return "is its name right, and do other names work here (DNS)?";
    case FAILURE_UNREACHABLE:
    case FAILURE_TIMEOUT: return "is its address right, is it running, does UDP get through?";
    case FAILURE_WRONG_PIN:
        return "another key answers under this name: ask its operator for the new PeerId";
    case FAILURE_SAME_NODE: return "another of the names leads to the same node, which has us";
    case NAT_BANNED:
    case NAT_POLICY: return "ask its operator to let your PeerId in, or use another bootstrap node";
    case NAT_VERSION: return "one of you needs a newer antq";
    case FAILURE_LOST:
    case NAT_SHUTTING_DOWN:
        return "it is tried again by itself; another bootstrap node would keep you reachable";
    case NAT_RATE_LIMITED:
    case NAT_CAPACITY: return "it is tried again by itself; another bootstrap node may have room";
    case NAT_STALE_GENERATION:
        return "a peer with the same key has started later: stop one of the two, or set the clock";
    default: return NULL;
    }
}

void boot_tell_changes(struct aq_node *node)
{
    for (unsigned i = 0; i < node->boot_count && !node->stopping; i++) {
        struct node_boot *b = &node->boots[i];
        const struct registrar_node *n = &node->registrar.node[i];
        bool has = n->lease_end_us != 0;
        if (has == b->told && n->reason == b->told_reason)
            continue;
        b->told_reason = n->reason;
        b->told = has;
        uint64_t wait = n->deadline_us > node_now(node) ? n->deadline_us - node_now(node) : 0;
        node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_BOOTSTRAP,
                                                .index = i,
                                                .peer_id = b->known ? b->id.bytes : NULL,
                                                .registered = has,
                                                .first_use = has && !b->name.pinned,
                                                .reason = registrar_reason_name(n->reason),
                                                .hint = has ? NULL : boot_hint(n->reason),
                                                .retry_us = n->state == NODE_WAITING ? wait : 0,
                                                .observed = n->observed});
    }
}
