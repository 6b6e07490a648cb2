/* loop.h -- the inside of struct aq_loop, shared by the loop's own files.
 *
 *   reactor.c  life of a loop, events, receiving and sending
 *   turn.c     the turn: in which order, how much of each; running and stopping
 *   sockets.c  listening, dialling, which connection owns which socket
 *   foreign.c  datagrams that are not QUIC
 *   hosts.c    the machine's own addresses, and when they change
 *   resolve.c  addresses of names
 *   watch.c    waiting, timers, watched descriptors, posts from other threads, signals
 *
 * All memory is taken in aq_loop_new: the struct, its two tables and the endpoint. An epoll entry
 * carries a kind, an index and a generation, so that an entry removed earlier in the same turn is
 * refused. */
#ifndef AQ_REACTOR_LOOP_H
#define AQ_REACTOR_LOOP_H

#include "reactor/antq_reactor.h"
#include "reactor/lull.h"
#include "reactor/udp.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

enum {
    LOOP_TIMERS = 16,
    LOOP_WATCHES = 16,
    LOOP_POSTS = 256,
    LOOP_JOBS = 64,          /* names being resolved */
    LOOP_SOCKETS_SPARE = 64, /* sockets beyond one per connection: listening, shared, extra */
    LOOP_READY = 64,         /* epoll entries per turn */
    LOOP_TRAINS = 16,        /* trains per aq_send */
    LOOP_LEND = 8, /* receive buffers per recvmmsg while GRO fills them: they stay in the cache */
    LOOP_LEND_SINGLE = 32,  /* while each holds little more than one datagram */
    LOOP_LEND_SMALL = 8192, /* bytes per message below which that is so */

    /* Budgets of a turn: who has more waits for the next one, which comes at once. */
    LOOP_RECV_CALLS = 2, /* per socket */
    LOOP_EVENTS = 1024,  /* per pass */
    LOOP_SEND_CALLS = 8, /* per pass */
    LOOP_PASSES = 4,     /* of events, then sends */
};

#define LOOP_STOP_US \
    3000000 /* a stop that cannot be sent (a device that is stuck) ends all the same */
/* A socket that takes nothing for so long (a device that is stuck) loses its trains, as a full
 * device would: until they are gone the core sends nothing else, and no connection's timers run. */
#define LOOP_STUCK_US  500000
#define LOOP_NO_SOCKET UINT32_MAX

enum loop_kind {
    LOOP_SOCKET,
    LOOP_WATCH,
    LOOP_POST,
    LOOP_SIGNAL,
    LOOP_HOSTS,
    LOOP_DEADLINE
};

/* Who owns it: the loop. Slots are reused; the index is the one datagrams and trains carry. */
struct loop_socket {
    struct udp udp;
    bool open;
    bool fresh;          /* one connection's own: */
    aq_conn owner;       /* that one's */
    bool ended;          /* its connection is closed: close it when everything is sent */
    bool blocked;        /* EAGAIN: waits for EPOLLOUT */
    uint64_t blocked_us; /* since when it takes nothing; 0: it does */
    unsigned lend;       /* buffers for the next recvmmsg */
};

/* An open connection, in an open hash keyed by its handle; conn 0: free. */
struct loop_conn {
    aq_conn conn;
    uint32_t socket; /* its own one, or LOOP_NO_SOCKET */
    bool moved;      /* it has, or had, more sockets of its own */
    bool refused;    /* came while stopping: the application never hears of it */
    bool dialling;   /* we began it, and its handshake is not confirmed */
};

struct loop_timer {
    void (*fn)(void *user); /* NULL: free */
    void *user;
    uint64_t at_us;
    bool set_now; /* in the pass that fires timers: its turn is the next one */
};

struct loop_watch {
    void (*fn)(void *user); /* NULL: free */
    void *user;
    int fd;
    uint32_t generation;
    bool always; /* a regular file: epoll refuses it, reading it never blocks */
};

struct loop_post {
    void (*fn)(void *user);
    void *user;
};

struct loop_job; /* a name that is being resolved: resolve.c's */

struct aq_loop {
    struct aq_loop_config config;
    struct aq_endpoint *ep;
    void *ep_memory;
    size_t ep_size, size; /* bytes of the endpoint's and of the loop's own mapping */
    uint64_t now_us, stop_at_us;
    int epoll_fd, deadline_fd, post_fd, signal_fd, hosts_fd;
    bool in_turn, stopping, breaking;
    bool unread;       /* a socket may hold more than was read of it in this turn */
    bool received;     /* in this turn, and the events of it are not delivered yet */
    bool more;         /* a budget ran out: do not wait */
    bool sent_all;     /* the core has nothing more to send, and nothing is pending */
    bool nested;       /* aq_loop_fd was asked for: the deadline is kept in deadline_fd */
    bool no_pwait2;    /* the kernel lacks epoll_pwait2 */
    bool warned;       /* of small socket buffers */
    bool masked;       /* old_mask is to be restored */
    uint64_t armed_us; /* what deadline_fd is set to; AQ_NEVER: disarmed */
    uint64_t turns;
    uint64_t busy_traffic, busy_until_us; /* packets seen when spinning was prolonged; its end */
    struct lull lull[LULL_KINDS];
    struct lull_nap nap;

    struct loop_socket *sockets;
    uint32_t sockets_max, sockets_high; /* slots, and one past the highest ever open */
    uint32_t sockets_ended;             /* how many wait to be closed */
    uint32_t sockets_extra;             /* opened because the core wanted them */
    bool extra_failed;

    struct loop_conn *conns;
    uint32_t conns_mask, conns_count, conns_open; /* open: without the refused ones */
    uint32_t dialling;                            /* how many of them are */

    struct aq_train trains[LOOP_TRAINS];
    uint32_t sent[LOOP_TRAINS];
    unsigned train_count, train_max;

    struct loop_timer timers[LOOP_TIMERS];
    struct loop_watch watches[LOOP_WATCHES];
    unsigned watches_always;

    pthread_mutex_t post_lock; /* guards what follows, the only thing other threads touch */
    struct loop_post posts[LOOP_POSTS];
    unsigned post_first, post_count;

    struct loop_job *jobs; /* a list */
    unsigned job_count;

    sigset_t old_mask;
    struct udp_io io;

    uint64_t hosts_at_us; /* when to see whether addresses changed; AQ_NEVER: not */
    unsigned hosts_count;
    struct aq_addr hosts[AQ_HOSTS_MAX]; /* as last told */
};

/* ---- reactor.c ------------------------------------------------------------------------------- */
void loop_say(char *error, size_t error_size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void loop_warn(struct aq_loop *loop, const char *text);
/* Adds, or with EPOLL_CTL_MOD changes, a descriptor. 0 or an errno. */
int loop_epoll(struct aq_loop *loop, int op, int fd, uint32_t events, uint64_t key);
uint64_t loop_key(enum loop_kind kind, uint32_t index, uint32_t generation);
/* Delivers events, at most LOOP_EVENTS; returns how many. */
unsigned loop_events(struct aq_loop *loop);
/* What epoll says of a socket. */
void loop_socket_ready(struct aq_loop *loop, uint32_t index, uint32_t events);
/* Sends what the core has, at most LOOP_SEND_CALLS times; returns how many trains it gave. */
unsigned loop_send(struct aq_loop *loop);

/* ---- sockets.c ------------------------------------------------------------------------------- */
/* The open socket of that index, or NULL. */
struct loop_socket *loop_socket_at(struct aq_loop *loop, uint32_t index);
/* Closes the sockets of connections that have ended. Only when everything is sent. */
void loop_sockets_reap(struct aq_loop *loop);
/* Opens what the core wants for NAT traversal. */
void loop_sockets_want(struct aq_loop *loop);
void loop_sockets_close(struct aq_loop *loop);
struct loop_conn *loop_conn_find(struct aq_loop *loop, aq_conn conn);
/* Adds a connection, or finds it; NULL when the table is full. */
struct loop_conn *loop_conn_add(struct aq_loop *loop, aq_conn conn, uint32_t socket, bool refused);
/* Its handshake is confirmed: a socket that is its own is connected, unless it is to move. */
void loop_conn_confirmed(struct aq_loop *loop, aq_conn conn);
/* Its paths have changed: sockets of its own that carry none any more are marked to be closed. */
void loop_conn_paths(struct aq_loop *loop, aq_conn conn);
/* Forgets a connection; its own socket, if any, is marked to be closed. */
void loop_conn_remove(struct aq_loop *loop, aq_conn conn);

/* ---- foreign.c ------------------------------------------------------------------------------- */
/* Takes out of n received messages what is not QUIC, if somebody wants it; returns how many are
 * left for the endpoint. */
unsigned loop_foreign(struct aq_loop *loop, struct aq_datagram *datagrams, unsigned n);

/* ---- hosts.c --------------------------------------------------------------------------------- */
/* Listens for changes, if somebody wants to hear of them; 0 or an errno. */
int loop_hosts_init(struct aq_loop *loop);
/* The kernel says that something has changed. */
void loop_hosts_ready(struct aq_loop *loop);
/* hosts_at_us has come. */
void loop_hosts_fire(struct aq_loop *loop);

/* ---- resolve.c ------------------------------------------------------------------------------- */
/* Nobody waits for the answers any more. */
void loop_jobs_free(struct aq_loop *loop);

/* ---- watch.c --------------------------------------------------------------------------------- */
/* Waits at most timeout_us, spinning first where that pays or the config says so, and reads the
 * clock. How many are ready, or -1. */
int loop_wait(struct aq_loop *loop, struct epoll_event *events, uint64_t timeout_us);
int loop_watch_init(
    struct aq_loop *loop); /* post, signal and deadline descriptors; 0 or an errno */
void loop_watch_free(struct aq_loop *loop);
uint64_t loop_timers_next(const struct aq_loop *loop);
void loop_timers_fire(struct aq_loop *loop);
void loop_watch_ready(struct aq_loop *loop, uint32_t index, uint32_t generation);
void loop_watch_always(struct aq_loop *loop);
void loop_posts_run(struct aq_loop *loop);
void loop_signal_read(struct aq_loop *loop);
/* Sets deadline_fd, when nested. */
void loop_deadline_arm(struct aq_loop *loop, uint64_t at_us);
void loop_deadline_read(struct aq_loop *loop);

#endif
