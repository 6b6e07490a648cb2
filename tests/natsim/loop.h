/* loop.h -- the inside of the simulation's struct aq_loop, shared by its files.
 *
 *   loop.c      life, timers, receiving, sending, the turn
 *   sockets.c   addresses, sockets, dialling, which connections there are
 *   chance.c    what programs take past their loop */
#ifndef AQ_NATSIM_LOOP_H
#define AQ_NATSIM_LOOP_H

#include "reactor/antq_reactor.h"
#include "tests/natsim/world.h"

enum {
    LOOP_SOCKETS = 64,
    LOOP_TIMERS = 16,
    LOOP_POSTS = 256,
    LOOP_CONNS = 2048
};

struct loop_socket {
    bool open, fresh;
    aq_conn owner;        /* of a fresh one */
    struct aq_addr bound; /* all zero: any address */
};
struct loop_call {
    void (*fn)(void *user); /* NULL: free */
    void *user;
    uint64_t at_us;
};
struct loop_conn {
    aq_conn conn;
    bool refused; /* came while stopping */
};

struct aq_loop {
    struct aq_loop_config config;
    struct aq_endpoint *ep;
    void *mem;
    size_t mem_size;
    struct host *host;
    uint64_t now_us, stop_at_us;
    uint64_t hosts_us; /* when on_hosts is to be called */
    bool in_turn, stopping, ended, received, more;
    struct loop_socket sockets[LOOP_SOCKETS];
    unsigned socket_count, extra;
    struct loop_call timers[LOOP_TIMERS], posts[LOOP_POSTS];
    unsigned post_count;
    struct loop_conn conns[LOOP_CONNS];
    unsigned conn_count;
    struct flight **inbox;
    unsigned inbox_count, inbox_room;
    struct aq_loop_stats stats;
};

#define WALL_START_US UINT64_C(1750000000000000) /* of the world */

/* A turn at that time of the loop's, unless one comes before. */
void loop_turn_at(struct aq_loop *loop, uint64_t at_us);
void loop_say(char *error, size_t size, const char *what);

/* ---- sockets.c ---- */
bool addr_is_any(const struct aq_addr *addr);
/* The address from which the host would send to one of that family; NULL: it has none. */
const struct aq_addr *host_source(const struct host *host, unsigned family);
/* Where a datagram to that address comes in; NULL: nowhere. */
struct loop_socket *loop_socket_of(struct aq_loop *loop, const struct aq_addr *to);
uint16_t loop_socket_index(const struct aq_loop *loop, const struct loop_socket *s);
/* Opens what the core wants for NAT traversal. */
void loop_sockets_want(struct aq_loop *loop);
struct loop_conn *loop_conn_find(struct aq_loop *loop, aq_conn conn);
void loop_conn_add(struct aq_loop *loop, aq_conn conn, bool refused);
void loop_conn_remove(struct aq_loop *loop, aq_conn conn);

#endif
