/* bootstrap_talk.c -- connections of peers, and what is said on them: the host of nat/registry.
 *
 *     READABLE -> whole messages -> registry_recv -> messages, written to the streams of whom they
 *     concern -> the loop's timer follows registry_deadline
 *
 * A peer has one stream. Bytes stay in the transport's until a message is whole, so nothing is kept
 * here for a peer but who it is and where it is seen. A peer that does not read is not waited for:
 * its connection ends.
 *
 * Called by the loop. */
#include "nat/node/bootstrap.h"

#include "nat/datagram.h"

#include <assert.h>
#include <string.h>

enum {
    PIECES = 64, /* of a message: more is somebody who sends it byte by byte */
    TICK_BUDGET = 256
};

static uint64_t now_of(const struct aq_bootstrap *b)
{
    return aq_loop_now(b->loop);
}

static bool is_registered(const struct aq_bootstrap *b, aq_conn conn)
{
    return registry_slot_by_conn(&b->registry, conn) != POOL_NONE;
}

static void tell(struct aq_bootstrap *b, const struct boot_conn *c,
                 enum aq_bootstrap_event_kind kind, unsigned reason)
{
    struct aq_bootstrap_event event = {.kind = kind, .observed = c->path.remote, .reason = reason};
    if (b->config.on_event == NULL)
        return;
    memcpy(event.peer, c->peer.bytes, sizeof event.peer);
    b->config.on_event(b->config.user, &event);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The stream, or the connection, is over. */
static void hang_up(struct aq_bootstrap *b, struct boot_conn *c)
{
    c->stream = 0;
    if (!is_registered(b, c->conn))
        return;
    registry_closed(&b->registry, c->conn);
    tell(b, c, AQ_BOOTSTRAP_GONE, 0);
}

static void end_conn(struct aq_bootstrap *b, struct boot_conn *c, enum nat_reason why,
                     const char *text)
{
    (void)aq_close(b->ep, c->conn, why, text, now_of(b));
    hang_up(b, c);
}

/* A whole message, or nothing: half of one cannot be taken back. False: there is no room for it. */
static bool write_message(struct aq_bootstrap *b, struct boot_conn *c, const struct aq_iov *iov,
                          uint64_t most)
{
    int64_t released = aq_stream_released(b->ep, c->stream), taken = 0;
    if (released >= 0 && c->said - (uint64_t)released + iov->size <= most)
        taken = aq_stream_write(b->ep, c->stream, iov, 1, 0);
    c->said += taken > 0 ? (uint64_t)taken : 0;
    if (taken == (int64_t)iov->size) {
        b->stats.messages_out++;
        return true;
    }
    b->stats.unread++;
    if (taken > 0)
        end_conn(b, c, NAT_RATE_LIMITED, "answers are not being read");
    return false;
}

/* To whom they concern; `speaker` is who asked, NULL: nobody did. */
static void write_all(struct aq_bootstrap *b, unsigned count, const struct boot_conn *speaker)
{
    for (unsigned i = 0; i < count; i++) {
        struct boot_conn *c = aq_conn_user(b->ep, b->out[i].conn);
        const struct aq_iov iov = {b->out[i].data, b->out[i].size};
        if (c != NULL && b->out[i].to.family != 0)
            bootstrap_probe(b, c, &b->out[i]);
        else if (c == NULL || c->stream == 0)
            continue;
        else if (c != speaker) /* others may ask faster than it can read: that is not its fault */
            (void)write_message(b, c, &iov, BOOTSTRAP_SEND_ASK);
        else if (!write_message(b, c, &iov, BOOTSTRAP_SEND) && c->stream != 0)
            /* PROTOCOL §3: its own answers it must read. */
            end_conn(b, c, NAT_RATE_LIMITED, "answers are not being read");
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Where the peer is: the path that is in use, once it has proven itself. Returns the round trip. */
static uint64_t observe(struct aq_bootstrap *b, struct boot_conn *c)
{
    struct aq_path_info paths[AQ_PATHS_MAX];
    unsigned count = aq_conn_paths(b->ep, c->conn, paths, AQ_PATHS_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct aq_path_info *p = &paths[i];
        if (!p->active)
            continue;
        if (p->validated || c->path.remote.family == 0)
            c->path = (struct aq_path_addr){
                .local = p->local, .remote = p->remote, .ifindex = p->ifindex, .socket = p->socket};
        return p->rtt_us;
    }
    return 0;
}

static void tell_register(struct aq_bootstrap *b, const struct boot_conn *c, bool was,
                          unsigned said)
{
    bool is = is_registered(b, c->conn);
    struct message answer;
    if (is && !was)
        tell(b, c, AQ_BOOTSTRAP_REGISTERED, NAT_ACCEPTED);
    else if (was && !is)
        tell(b, c, AQ_BOOTSTRAP_GONE, 0);
    else if (said == 1 && message_decode(b->out[0].data, b->out[0].size, &answer) == MESSAGE_GOOD
             && answer.type == MESSAGE_REGISTERED && answer.reason != NAT_ACCEPTED)
        tell(b, c, AQ_BOOTSTRAP_REFUSED, answer.reason);
}

/* PROTOCOL §3: where its peer was registered before is over; who is there yet, with the same key,
 * learns it by coming again. */
static void end_former(struct aq_bootstrap *b, aq_conn former)
{
    struct boot_conn *c = former != 0 ? aq_conn_user(b->ep, former) : NULL;
    if (c != NULL && !is_registered(b, former))
        end_conn(b, c, NAT_STALE_GENERATION, "it is registered by another connection now");
}

static void take_message(struct aq_bootstrap *b, struct boot_conn *c, size_t size)
{
    uint32_t slot = registry_slot_by_id(&b->registry, &c->peer);
    aq_conn former = slot != POOL_NONE ? registry_peer(&b->registry, slot)->conn : 0;
    bool was = is_registered(b, c->conn);
    struct registry_in in = {.conn = c->conn, .peer = c->peer, .data = b->message, .size = size};
    in.rtt_us = observe(b, c);
    in.path = c->path;
    b->stats.messages_in++;
    unsigned said = registry_recv(&b->registry, &in, b->out, now_of(b));
    if (b->config.on_event != NULL)
        tell_register(b, c, was, said);
    write_all(b, said, c);
    if (former != c->conn)
        end_former(b, former);
}

/* The beginning of what can be read, up to one message, in b->message. Bytes there, or an error. */
static int64_t gather(struct aq_bootstrap *b, aq_stream stream, bool *fin, bool *crumbs)
{
    struct aq_iov iov[PIECES];
    size_t size = 0;
    int n = aq_stream_peek(b->ep, stream, iov, PIECES, fin);
    if (n < 0)
        return n;
    for (int i = 0; i < n && size < MESSAGE_MAX; i++) {
        size_t part = iov[i].size < MESSAGE_MAX - size ? iov[i].size : MESSAGE_MAX - size;
        memcpy(b->message + size, iov[i].data, part);
        size += part;
    }
    *crumbs = n == PIECES;
    return (int64_t)size;
}

/* The peer's last byte has been read: so is ours. */
static void end_stream(struct aq_bootstrap *b, struct boot_conn *c, uint64_t rest)
{
    aq_stream stream = c->stream;
    (void)aq_stream_consume(b->ep, stream, rest);
    (void)aq_stream_write(b->ep, stream, NULL, 0, AQ_FIN);
    hang_up(b, c);
}

static void read_stream(struct aq_bootstrap *b, struct boot_conn *c)
{
    while (c->stream != 0) {
        bool fin = false, crumbs = false;
        int64_t have = gather(b, c->stream, &fin, &crumbs);
        if (have < 0)
            return;
        uint32_t size = message_size(b->message, (size_t)have);
        if (size == UINT32_MAX || (crumbs && size > have)) {
            /* PROTOCOL §3: a length above 2,048 breaks the stream. */
            end_conn(b, c, NAT_MALFORMED, "a message is longer than any may be");
            return;
        }
        if (size == 0 || size > have) {
            if (fin)
                end_stream(b, c, (uint64_t)have);
            return;
        }
        (void)aq_stream_consume(b->ep, c->stream, size);
        take_message(b, c, size);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static void on_accepted(struct aq_bootstrap *b, aq_conn conn)
{
    uint32_t slot = pool_take(&b->conns);
    if (slot == POOL_NONE) {
        (void)aq_refuse(b->ep, conn, "this bootstrap node is full", now_of(b));
        return;
    }
    struct boot_conn *c = pool_at(&b->conns, slot);
    c->conn = conn;
    (void)aq_conn_set_user(b->ep, conn, c);
    heap_set(&b->idle, slot, now_of(b) + BOOTSTRAP_IDLE_US);
    bootstrap_arm(b);
}

static void on_connected(struct aq_bootstrap *b, struct boot_conn *c)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    /* PROTOCOL §2: TLS has verified that the certificate's key is the peer's. */
    if (aq_conn_peer(b->ep, c->conn, &peer) != AQ_OK || !peer.has_certificate) {
        end_conn(b, c, NAT_IDENTITY_MISMATCH, "no certificate, no identity");
        return;
    }
    memcpy(c->peer.bytes, peer.spki_hash, PEER_ID_SIZE);
    c->known = true;
}

static void on_opened(struct aq_bootstrap *b, struct boot_conn *c, aq_stream stream)
{
    if (c->stream != 0 || !c->known) { /* streams_bidi is 1: the one before is not quite over */
        (void)aq_stream_reset(b->ep, stream, NAT_MALFORMED);
        (void)aq_stream_stop(b->ep, stream, NAT_MALFORMED);
        return;
    }
    c->stream = stream;
    c->said = 0;
}

static void on_closed(struct aq_bootstrap *b, struct boot_conn *c)
{
    uint32_t slot = pool_index(&b->conns, c);
    hang_up(b, c);
    heap_set(&b->idle, slot, UINT64_MAX);
    c->conn = 0;
    pool_give(&b->conns, slot);
}

static void on_stream(struct aq_bootstrap *b, struct boot_conn *c, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_OPENED)
        on_opened(b, c, event->stream);
    else if (event->stream != c->stream)
        return;
    else if (event->kind == AQ_EVENT_READABLE)
        read_stream(b, c);
    else if (event->kind == AQ_EVENT_STREAM_CLOSED)
        hang_up(b, c);
    else if (event->kind == AQ_EVENT_RESET || event->kind == AQ_EVENT_STOPPED) {
        (void)aq_stream_reset(b->ep, event->stream, 0);
        (void)aq_stream_stop(b->ep, event->stream, 0);
        hang_up(b, c);
    }
}

void bootstrap_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct aq_bootstrap *b = user;
    (void)loop;
    if (event->kind == AQ_EVENT_ACCEPTED) {
        on_accepted(b, event->conn);
        return;
    }
    struct boot_conn *c = aq_conn_user(b->ep, event->conn);
    if (c == NULL || c->conn != event->conn)
        return;
    if (event->kind == AQ_EVENT_CLOSED)
        on_closed(b, c);
    else if (event->kind == AQ_EVENT_CONNECTED)
        on_connected(b, c);
    else if (event->stream != 0)
        on_stream(b, c, event);
    bootstrap_arm(b);
}

/* ---- time ------------------------------------------------------------------------------------ */

void bootstrap_arm(struct aq_bootstrap *b)
{
    uint64_t at = registry_deadline(&b->registry), idle = heap_top(&b->idle, NULL);
    at = idle < at ? idle : at;
    /* Firing once too early is cheaper than moving the timer with every lease. */
    if (at >= b->armed_us)
        return;
    b->armed_us = at;
    (void)aq_loop_timer(b->loop, at, bootstrap_timer, b);
}

/* Who has not registered is shown out. */
static void check_idle(struct aq_bootstrap *b)
{
    uint32_t slot;
    uint64_t now = now_of(b);
    for (unsigned i = 0; i < TICK_BUDGET && heap_top(&b->idle, &slot) <= now; i++) {
        struct boot_conn *c = pool_at(&b->conns, slot);
        heap_set(&b->idle, slot, now + BOOTSTRAP_CHECK_US);
        if (!is_registered(b, c->conn))
            end_conn(b, c, NAT_NOT_REGISTERED, "not registered");
    }
}

void bootstrap_timer(void *user)
{
    struct aq_bootstrap *b = user;
    b->armed_us = AQ_NEVER;
    check_idle(b);
    for (unsigned i = 0; i < TICK_BUDGET; i++) {
        unsigned said = registry_tick(&b->registry, b->out, now_of(b));
        if (said == 0)
            break;
        write_all(b, said, NULL);
    }
    bootstrap_arm(b);
}

/* PROTOCOL §4: they ask whether their connections live, and learn that these do not. */
void bootstrap_wake(void *user)
{
    static const uint8_t awake[] = {DATAGRAM_AWAKE};
    enum {
        AT_ONCE = 32
    };
    struct aq_bootstrap *b = user;
    for (unsigned i = 0; i < AT_ONCE && b->waking < b->registry.peers.high; b->waking++, i++) {
        const struct registry_peer *p = registry_peer(&b->registry, b->waking);
        struct aq_path_addr to = {.remote = p->path.remote};
        unsigned k = 0;
        while (k < b->listen_count && b->listening[k].family != to.remote.family)
            k++;
        bool taken = (b->registry.peers.slots[b->waking].generation & 1) != 0;
        if (k == b->listen_count || !taken || p->conn != 0)
            continue;
        to.socket = b->listen_socket[k];
        (void)aq_loop_send_raw(b->loop, &to, 0, awake, sizeof awake);
    }
    if (b->waking < b->registry.peers.high)
        (void)aq_loop_timer(b->loop, aq_loop_now(b->loop) + BOOTSTRAP_WAKE_US, bootstrap_wake, b);
}

void bootstrap_farewell(struct aq_bootstrap *b)
{
    uint8_t data[64];
    struct message m = {.type = MESSAGE_REGISTERED, .reason = NAT_SHUTTING_DOWN};
    message_set(&m, FIELD_REASON);
    const struct aq_iov iov = {data, message_encode(&m, data, sizeof data)};
    assert(iov.size > 0);
    for (uint32_t i = 0; i < b->conns.high; i++) {
        struct boot_conn *c = pool_at(&b->conns, i);
        if (c->conn != 0 && c->stream != 0)
            (void)write_message(b, c, &iov, BOOTSTRAP_SEND);
    }
}
