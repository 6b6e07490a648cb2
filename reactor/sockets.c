/* sockets.c -- the loop's sockets, and which connection has one of its own.
 *
 * Sockets live in a table whose index travels in datagrams and trains. Dialling shares a socket of
 * the right family where one can reach the remote; with fresh_port each connection gets its own,
 * which is closed when AQ_EVENT_CLOSED was delivered and its last packet is out. The lowest free
 * slot is reused, so a thousand connections one after another use one slot.
 *
 * The loop also knows every open connection by its handle: aq_loop_stop closes them all. */
#include "reactor/loop.h"

#include <assert.h>
#include <string.h>

/* ---- slots ----------------------------------------------------------------------------------- */

struct loop_socket *loop_socket_at(struct aq_loop *loop, uint32_t index)
{
    if (index >= loop->sockets_high || !loop->sockets[index].open)
        return NULL;
    return &loop->sockets[index];
}

static void socket_close(struct aq_loop *loop, struct loop_socket *s)
{
    if (s->ended)
        loop->sockets_ended--;
    udp_close(
        &s->udp); /* which also takes it out of epoll: nobody else has a copy of the descriptor */
    s->open = s->fresh = s->ended = s->blocked = false;
    s->owner = 0;
    while (loop->sockets_high > 0 && !loop->sockets[loop->sockets_high - 1].open)
        loop->sockets_high--;
}

static void socket_check_buffer(struct aq_loop *loop, const struct udp *udp)
{
    char text[192];
    uint32_t wanted = loop->config.socket_buffer_bytes;
    if (loop->warned || udp->granted_bytes >= wanted)
        return;
    loop->warned = true;
    loop_say(
        text, sizeof text,
        "the kernel grants %u KiB of socket buffer instead of %u KiB: fast transfers will lose "
        "packets (raise net.core.rmem_max and net.core.wmem_max to %u)",
        udp->granted_bytes / 1024, wanted / 1024, wanted);
    loop_warn(loop, text);
}

/* Opens a socket in the lowest free slot. NULL with a sentence in error. */
static struct loop_socket *socket_open(struct aq_loop *loop, const struct aq_addr *addr,
                                       char *error, size_t error_size)
{
    const struct udp_options options = {
        .buffer_bytes = loop->config.socket_buffer_bytes,
        .no_gso = loop->config.no_gso,
        .no_gro = loop->config.no_gro,
        .recv_ttl = loop->config.recv_ttl,
        .ecn = loop->config.endpoint.no_ecn ? AQ_ECN_NOT : AQ_ECN_ECT0,
    };
    uint32_t index = 0;
    while (index < loop->sockets_high && loop->sockets[index].open)
        index++;
    if (index == loop->sockets_max) {
        loop_say(error, error_size, "all %u sockets of the loop are in use", loop->sockets_max);
        return NULL;
    }
    struct loop_socket *s = &loop->sockets[index];
    memset(s, 0, sizeof *s);
    if (udp_open(&s->udp, addr, &options, error, error_size) != 0)
        return NULL;
    s->udp.index = (uint16_t)index;
    int failed =
        loop_epoll(loop, EPOLL_CTL_ADD, s->udp.fd, EPOLLIN, loop_key(LOOP_SOCKET, index, 0));
    if (failed != 0) {
        udp_close(&s->udp);
        loop_say(error, error_size, "cannot watch a socket: %s", strerror(failed));
        return NULL;
    }
    s->open = true;
    s->lend = s->udp.gro ? LOOP_LEND : LOOP_LEND_SINGLE;
    if (index >= loop->sockets_high)
        loop->sockets_high = index + 1;
    socket_check_buffer(loop, &s->udp);
    return s;
}

void loop_sockets_reap(struct aq_loop *loop)
{
    assert(loop->train_count == 0);
    for (uint32_t i = 0; loop->sockets_ended > 0 && i < loop->sockets_high; i++)
        if (loop->sockets[i].open && loop->sockets[i].ended)
            socket_close(loop, &loop->sockets[i]);
}

void loop_sockets_close(struct aq_loop *loop)
{
    for (uint32_t i = loop->sockets_high; i-- > 0;)
        if (loop->sockets[i].open)
            socket_close(loop, &loop->sockets[i]);
}

/* Extra sockets stay open: which of them carries a path by now, only the core knows. */
void loop_sockets_want(struct aq_loop *loop)
{
    unsigned wanted = aq_sockets_wanted(loop->ep);
    while (loop->sockets_extra < wanted && !loop->extra_failed) {
        struct aq_addr any;
        char error[192];
        memset(&any, 0, sizeof any);
        any.family = 4;
        struct loop_socket *s = socket_open(loop, &any, error, sizeof error);
        if (s == NULL) {
            loop->extra_failed = true; /* said once, and not tried again in each turn */
            loop_warn(loop, error);
            return;
        }
        loop->sockets_extra++;
        aq_socket_opened(loop->ep, s->udp.index, &s->udp.local);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

static uint32_t conn_home(const struct aq_loop *loop, aq_conn conn)
{
    /* Handles are our own numbers, so a multiplication (Knuth's, 2^64 / phi) spreads them well
     * enough. */
    return (uint32_t)((conn * 0x9e3779b97f4a7c15u) >> 32) & loop->conns_mask;
}

struct loop_conn *loop_conn_find(struct aq_loop *loop, aq_conn conn)
{
    for (uint32_t i = conn_home(loop, conn); loop->conns[i].conn != 0;
         i = (i + 1) & loop->conns_mask)
        if (loop->conns[i].conn == conn)
            return &loop->conns[i];
    return NULL;
}

struct loop_conn *loop_conn_add(struct aq_loop *loop, aq_conn conn, uint32_t socket, bool refused)
{
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c != NULL
        || loop->conns_count >= loop->conns_mask) /* one entry stays free: it ends each search */
        return c;
    uint32_t i = conn_home(loop, conn);
    while (loop->conns[i].conn != 0)
        i = (i + 1) & loop->conns_mask;
    c = &loop->conns[i];
    c->conn = conn;
    c->socket = socket;
    c->refused = refused;
    loop->conns_count++;
    loop->conns_open += refused ? 0 : 1;
    return c;
}

static void socket_end(struct aq_loop *loop, struct loop_socket *s)
{
    if (s->fresh && !s->ended) {
        s->ended = true;
        loop->sockets_ended++;
    }
}

static void conn_answered(struct aq_loop *loop, struct loop_conn *c)
{
    loop->dialling -= c->dialling ? 1 : 0;
    c->dialling = false;
}

void loop_conn_confirmed(struct aq_loop *loop, aq_conn conn)
{
    struct aq_path_info paths[AQ_PATHS_MAX];
    struct aq_close_info closed = {.size = sizeof closed.size};
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c != NULL)
        conn_answered(loop, c);
    if (c == NULL || c->socket == LOOP_NO_SOCKET
        || aq_conn_close_info(loop->ep, conn, &closed) != AQ_BLOCKED)
        return; /* the application has closed it already: its last packet finds the way */
    /* A second path goes to the server's preferred address, from where this socket must hear. */
    if (aq_conn_paths(loop->ep, conn, paths, AQ_PATHS_MAX) == 1 && paths[0].socket == c->socket
        && paths[0].channel == 0)
        udp_connect(&loop->sockets[c->socket].udp, &paths[0].remote);
}

void loop_conn_paths(struct aq_loop *loop, aq_conn conn)
{
    struct aq_path_info paths[AQ_PATHS_MAX];
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c == NULL || !c->moved)
        return;
    unsigned count = aq_conn_paths(loop->ep, conn, paths, AQ_PATHS_MAX);
    for (uint32_t i = 0; i < loop->sockets_high; i++) {
        struct loop_socket *s = &loop->sockets[i];
        bool used = !s->open || s->owner != conn;
        for (unsigned j = 0; j < count; j++)
            used |= paths[j].socket == i;
        if (!used) {
            socket_end(loop, s);
            s->owner = 0;
            c->socket = c->socket == i ? LOOP_NO_SOCKET : c->socket;
        }
    }
}

void loop_conn_remove(struct aq_loop *loop, aq_conn conn)
{
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c == NULL)
        return;
    struct loop_socket *s = c->socket != LOOP_NO_SOCKET ? loop_socket_at(loop, c->socket) : NULL;
    if (s != NULL)
        socket_end(loop, s);
    for (uint32_t i = 0; c->moved && i < loop->sockets_high; i++)
        if (loop->sockets[i].open && loop->sockets[i].owner == conn)
            socket_end(loop, &loop->sockets[i]);
    conn_answered(loop, c);
    loop->conns_count--;
    loop->conns_open -= c->refused ? 0 : 1;
    /* Move up what a search would no longer find behind the hole. */
    uint32_t hole = (uint32_t)(c - loop->conns), i = hole;
    for (;;) {
        i = (i + 1) & loop->conns_mask;
        if (loop->conns[i].conn == 0)
            break;
        uint32_t home = conn_home(loop, loop->conns[i].conn);
        if (((i - home) & loop->conns_mask) >= ((i - hole) & loop->conns_mask)) {
            loop->conns[hole] = loop->conns[i];
            hole = i;
        }
    }
    memset(&loop->conns[hole], 0, sizeof loop->conns[hole]);
}

/* ---- listening and dialling ------------------------------------------------------------------ */

int aq_listen(struct aq_loop *loop, const struct aq_addr *addr, struct aq_addr *bound, char *error,
              size_t error_size)
{
    const struct loop_socket *s = socket_open(loop, addr, error, error_size);
    if (s == NULL)
        return AQ_MISUSE;
    if (bound != NULL)
        *bound = s->udp.local;
    return AQ_OK;
}

int aq_loop_socket(const struct aq_loop *loop, const struct aq_addr *bound)
{
    for (uint32_t i = 0; i < loop->sockets_high; i++) {
        const struct loop_socket *s = &loop->sockets[i];
        if (s->open && s->udp.local.family == bound->family && s->udp.local.port == bound->port
            && memcmp(s->udp.local.ip, bound->ip, sizeof bound->ip) == 0)
            return (int)i;
    }
    return -1;
}

static bool dial_is_zero(const struct aq_addr *addr)
{
    static const uint8_t zero[sizeof addr->ip];
    return memcmp(addr->ip, zero, sizeof zero) == 0;
}

/* A shared socket that packets to this remote can leave from: bound to any address, or to the right
 * one. */
static struct loop_socket *dial_find(struct aq_loop *loop, const struct aq_addr *local)
{
    for (uint32_t i = 0; i < loop->sockets_high; i++) {
        struct loop_socket *s = &loop->sockets[i];
        if (!s->open || s->fresh || s->udp.family != local->family)
            continue;
        if (dial_is_zero(&s->udp.local)
            || memcmp(s->udp.local.ip, local->ip, sizeof local->ip) == 0)
            return s;
    }
    return NULL;
}

/* Chooses the local address, unless the caller did, and the socket. */
static struct loop_socket *dial_socket(struct aq_loop *loop, struct aq_connect *connect,
                                       bool fresh_port, char *error, size_t error_size)
{
    if (connect->local.family == 0) {
        char text[64];
        int failed = udp_route(&connect->remote, &connect->local);
        if (failed != 0) {
            memset(&connect->local, 0, sizeof connect->local);
            aq_addr_text(&connect->remote, text, sizeof text);
            loop_say(error, error_size, "cannot reach %s: %s", text, strerror(failed));
            return NULL;
        }
    }
    struct loop_socket *s = fresh_port ? NULL : dial_find(loop, &connect->local);
    if (s == NULL) {
        /* A socket of many connections serves them from any address; one of a single connection is
         * bound to its address, so that it can be connected later. */
        struct aq_addr bind_to;
        memset(&bind_to, 0, sizeof bind_to);
        bind_to.family = connect->remote.family;
        if (fresh_port) {
            bind_to = connect->local;
            bind_to.port = 0;
        }
        s = socket_open(loop, &bind_to, error, error_size);
        if (s == NULL)
            return NULL;
        s->fresh = fresh_port;
    }
    connect->socket = s->udp.index;
    connect->local.port = s->udp.local.port;
    return s;
}

static const char *dial_check(const struct aq_loop *loop, const struct aq_connect *connect)
{
    const struct aq_addr *remote = &connect->remote;
    if (loop->stopping)
        return "the loop is stopping";
    if (remote->family != 4 && remote->family != 6)
        return "the remote address has no family";
    if (remote->port == 0)
        return "the remote address has no port";
    if (connect->local.family != 0 && connect->local.family != remote->family)
        return "the local and the remote address are of different families";
    return NULL;
}

int aq_dial(struct aq_loop *loop, struct aq_connect *connect, bool fresh_port, aq_conn *conn,
            char *error, size_t error_size)
{
    const char *wrong = dial_check(loop, connect);
    if (wrong != NULL) {
        loop_say(error, error_size, "cannot connect: %s", wrong);
        return AQ_MISUSE;
    }
    struct loop_socket *s = dial_socket(loop, connect, fresh_port, error, error_size);
    if (s == NULL)
        return AQ_MISUSE;
    uint64_t now = loop->in_turn ? loop->now_us : aq_loop_clock(loop);
    int result = aq_connect(loop->ep, connect, conn, now);
    if (result != AQ_OK) {
        if (s->fresh)
            socket_close(loop, s);
        loop_say(error, error_size, "cannot connect: %s",
                 result == AQ_FULL
                     ? "as many connections or handshakes as the limits allow"
                     : "the client TLS object is missing, or the endpoint refuses an argument");
        return result;
    }
    /* The table has twice as many entries as the endpoint has connections. */
    struct loop_conn *c =
        loop_conn_add(loop, *conn, s->fresh ? s->udp.index : LOOP_NO_SOCKET, false);
    assert(c != NULL);
    c->dialling = true;
    loop->dialling++;
    s->owner = s->fresh ? *conn : 0;
    return AQ_OK;
}

static const char *migrate_why(int result)
{
    switch (result) {
    case AQ_GONE: return "the connection has ended";
    case AQ_BLOCKED:
        return "its handshake is not confirmed yet, or the server's preferred address is being tried";
    case AQ_REFUSED: return "the server has asked for no migration";
    case AQ_FULL: return "the server has given no connection id for another path yet";
    default: return "only connections that we dialled move, to addresses of one family";
    }
}

int aq_loop_migrate(struct aq_loop *loop, aq_conn conn, const struct aq_addr *local, char *error,
                    size_t error_size)
{
    struct aq_conn_stats stats;
    struct aq_path_addr to;
    struct aq_addr bind_to;
    memset(&stats, 0, sizeof stats);
    memset(&to, 0, sizeof to);
    memset(&bind_to, 0, sizeof bind_to);
    stats.size = sizeof stats;
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c == NULL || aq_conn_stats(loop->ep, conn, &stats) != AQ_OK) {
        loop_say(error, error_size, "cannot move: %s", migrate_why(AQ_GONE));
        return AQ_GONE;
    }
    bind_to.family = stats.remote.family;
    if (local != NULL)
        bind_to = *local;
    struct loop_socket *s = socket_open(loop, &bind_to, error, error_size);
    if (s == NULL)
        return AQ_MISUSE;
    to.local = s->udp.local;
    if (dial_is_zero(&to.local) && udp_route(&stats.remote, &to.local) != 0)
        memset(&to.local, 0, sizeof to.local);
    to.local.port = s->udp.local.port;
    to.socket = s->udp.index;
    int result =
        aq_conn_migrate(loop->ep, conn, &to, loop->in_turn ? loop->now_us : aq_loop_clock(loop));
    if (result != AQ_OK) {
        socket_close(loop, s);
        loop_say(error, error_size, "cannot move: %s", migrate_why(result));
        return result;
    }
    s->fresh = c->moved = true;
    s->owner = conn;
    return AQ_OK;
}
