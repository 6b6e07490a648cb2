/* sockets.c -- addresses, sockets and dialling, as a kernel and the reactor have them (loop.h).
 *
 * Called by loop.c and by programs. */
#include "tests/natsim/loop.h"

#include "core/addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

enum {
    PORT_FIRST = 32768,
    PORT_COUNT = 28000
};

/* ---- addresses and sockets ------------------------------------------------------------------- */

int aq_resolve(const char *text, uint16_t default_port, unsigned family, struct aq_addr *addr,
               char *error, size_t error_size)
{
    char host[64];
    memset(addr, 0, sizeof *addr);
    addr->port = default_port;
    size_t n = strlen(text);
    bool brackets = n > 2 && text[0] == '[' && text[n - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), text + brackets);
    if (family != 6 && inet_pton(AF_INET, host, addr->ip) == 1)
        addr->family = 4;
    else if (family != 4 && inet_pton(AF_INET6, host, addr->ip) == 1)
        addr->family = 6;
    if (addr->family != 0)
        return AQ_OK;
    loop_say(error, error_size, "not an address");
    return AQ_MISUSE;
}

bool addr_is_any(const struct aq_addr *addr)
{
    static const uint8_t zero[sizeof addr->ip];
    return memcmp(addr->ip, zero, sizeof zero) == 0;
}

/* The address from which the host would send to one of that family; NULL: it has none. */
const struct aq_addr *host_source(const struct host *host, unsigned family)
{
    for (unsigned i = 0; i < host->addr_count && !host->down; i++)
        if (host->addrs[i].family == family)
            return &host->addrs[i];
    return NULL;
}

static bool port_taken(const struct aq_loop *loop, uint16_t port)
{
    for (unsigned i = 0; i < loop->socket_count; i++)
        if (loop->sockets[i].open && loop->sockets[i].bound.port == port)
            return true;
    return false;
}

static struct loop_socket *socket_open(struct aq_loop *loop, const struct aq_addr *addr)
{
    bool has = false;
    for (unsigned i = 0; i < loop->host->addr_count; i++)
        has |= addr_is_any(addr) ? loop->host->addrs[i].family == addr->family
                                 : addr_same_ip(&loop->host->addrs[i], addr);
    if (!has || (addr->port != 0 && port_taken(loop, addr->port)))
        return NULL;
    unsigned at = 0;
    while (at < loop->socket_count && loop->sockets[at].open)
        at++;
    if (at == LOOP_SOCKETS)
        return NULL;
    if (at == loop->socket_count)
        loop->socket_count++;
    struct loop_socket *s = &loop->sockets[at];
    *s = (struct loop_socket){.open = true, .bound = *addr};
    while (s->bound.port == 0) {
        uint64_t port = PORT_FIRST + rng_below(&loop->host->world->chance, PORT_COUNT);
        if (!port_taken(loop, (uint16_t)port))
            s->bound.port = (uint16_t)port;
    }
    return s;
}

uint16_t loop_socket_index(const struct aq_loop *loop, const struct loop_socket *s)
{
    return (uint16_t)(s - loop->sockets);
}

int aq_listen(struct aq_loop *loop, const struct aq_addr *addr, struct aq_addr *bound, char *error,
              size_t error_size)
{
    const struct loop_socket *s = socket_open(loop, addr);
    if (s == NULL) {
        loop_say(error, error_size, "no such address here, or the port is taken");
        return AQ_MISUSE;
    }
    if (bound != NULL)
        *bound = s->bound;
    return AQ_OK;
}

int aq_loop_socket(const struct aq_loop *loop, const struct aq_addr *bound)
{
    for (unsigned i = 0; i < loop->socket_count; i++)
        if (loop->sockets[i].open && addr_equal(&loop->sockets[i].bound, bound))
            return (int)i;
    return -1;
}

/* Nobody here has a name: every answer is at hand. */
int aq_loop_resolve(struct aq_loop *loop, const char *text, uint16_t default_port,
                    void (*fn)(void *user, const struct aq_addr *addr, const char *error),
                    void *user)
{
    struct aq_addr addr;
    char error[128] = "";
    (void)loop;
    bool good = aq_resolve(text, default_port, 0, &addr, error, sizeof error) == AQ_OK;
    fn(user, good ? &addr : NULL, error);
    return AQ_OK;
}

struct loop_socket *loop_socket_of(struct aq_loop *loop, const struct aq_addr *to)
{
    for (unsigned i = 0; i < loop->socket_count; i++) {
        struct loop_socket *s = &loop->sockets[i];
        if (s->open && s->bound.port == to->port && s->bound.family == to->family
            && (addr_is_any(&s->bound) || addr_same_ip(&s->bound, to)))
            return s;
    }
    return NULL;
}

void loop_sockets_want(struct aq_loop *loop)
{
    struct aq_addr any = {.family = 4};
    while (loop->extra < aq_sockets_wanted(loop->ep)) {
        const struct loop_socket *s = socket_open(loop, &any);
        if (s == NULL)
            return;
        loop->extra++;
        aq_socket_opened(loop->ep, loop_socket_index(loop, s), &s->bound);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

struct loop_conn *loop_conn_find(struct aq_loop *loop, aq_conn conn)
{
    for (unsigned i = 0; i < loop->conn_count; i++)
        if (loop->conns[i].conn == conn)
            return &loop->conns[i];
    return NULL;
}

void loop_conn_add(struct aq_loop *loop, aq_conn conn, bool refused)
{
    if (loop_conn_find(loop, conn) != NULL)
        return;
    assert(loop->conn_count < LOOP_CONNS);
    loop->conns[loop->conn_count++] = (struct loop_conn){conn, refused};
}

void loop_conn_remove(struct aq_loop *loop, aq_conn conn)
{
    struct loop_conn *c = loop_conn_find(loop, conn);
    if (c != NULL)
        *c = loop->conns[--loop->conn_count];
    for (unsigned i = 0; i < loop->socket_count; i++)
        if (loop->sockets[i].open && loop->sockets[i].fresh && loop->sockets[i].owner == conn)
            loop->sockets[i].open = false;
}

static struct loop_socket *dial_socket(struct aq_loop *loop, struct aq_connect *connect, bool fresh)
{
    if (connect->local.family == 0) {
        const struct aq_addr *source = host_source(loop->host, connect->remote.family);
        if (source == NULL)
            return NULL;
        connect->local = *source;
    }
    for (unsigned i = 0; i < loop->socket_count && !fresh; i++) {
        struct loop_socket *s = &loop->sockets[i];
        if (s->open && !s->fresh && s->bound.family == connect->local.family
            && (addr_is_any(&s->bound) || addr_same_ip(&s->bound, &connect->local)))
            return s;
    }
    struct aq_addr any = {.family = connect->remote.family};
    struct loop_socket *s = socket_open(loop, &any);
    if (s != NULL)
        s->fresh = fresh;
    return s;
}

int aq_dial(struct aq_loop *loop, struct aq_connect *connect, bool fresh_port, aq_conn *conn,
            char *error, size_t error_size)
{
    struct loop_socket *s = loop->stopping ? NULL : dial_socket(loop, connect, fresh_port);
    if (s == NULL) {
        loop_say(error, error_size, "cannot reach it: Network is unreachable");
        return AQ_MISUSE;
    }
    connect->socket = loop_socket_index(loop, s);
    connect->local.port = s->bound.port;
    uint64_t now = loop->in_turn ? loop->now_us : aq_loop_clock(loop);
    int result = aq_connect(loop->ep, connect, conn, now);
    if (result != AQ_OK) {
        s->open = !s->fresh;
        loop_say(error, error_size, "cannot connect");
        return result;
    }
    s->owner = s->fresh ? *conn : 0;
    loop_conn_add(loop, *conn, false);
    return AQ_OK;
}
