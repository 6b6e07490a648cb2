/* antq_reactor.h -- Layer B: an antq endpoint on sockets, epoll and the kernel's clock.
 *
 * One loop is one thread's: one endpoint, its UDP sockets, its timers. Calls of antq.h work on
 * aq_loop_endpoint between turns and inside callbacks; whatever they queue is sent at the end of
 * the turn. */
#ifndef AQ_ANTQ_REACTOR_H
#define AQ_ANTQ_REACTOR_H

#include "antq.h"

#ifdef __cplusplus
extern "C" {
#endif

struct aq_loop;

struct aq_loop_config {
    size_t size; /* set by aq_loop_config_init */
    struct aq_config
        endpoint; /* seed and unix_us are filled in by the loop when the seed is zero */
    /* Called for every event, in the loop's thread. Must not call aq_loop_run, _step or _free. */
    void (*on_event)(void *user, struct aq_loop *loop, const struct aq_event *event);
    void *user;
    bool handle_signals; /* SIGINT and SIGTERM call aq_loop_stop, through a signalfd [false] */
    uint32_t socket_buffer_bytes; /* SO_RCVBUF, SO_SNDBUF [4 MiB] */
    bool no_gso, no_gro;          /* for measuring the fallbacks */
    /* Called with one line of text for what an operator should know (kernel granted less
     * buffer...). NULL: none. */
    void (*on_warning)(void *user, const char *text);
    /* Called several times a turn while there is a trace (endpoint.trace_events): the time to read
     * it with aq_trace_read. 65,536 events suffice then. NULL: nobody reads it here. */
    void (*on_trace)(void *user, struct aq_loop *loop);
    uint64_t close_code; /* application code that aq_loop_stop closes connections with [0] */
    /* aq_loop_run looks for packets without sleeping for so long after the last one that came or
     * went; AQ_NEVER: always. It answers sooner, and keeps a core busy meanwhile: one for each such
     * loop should be free. aq_loop_step never waits, so there it changes nothing. 0: it sleeps [0]
     */
    uint64_t busy_poll_us;
    /* Datagrams whose first byte has its two highest bits clear: no QUIC packet's are. They come in
     * the batches in which the kernel gave them (segment, as GRO merged them), and the endpoint
     * does not see them, unless the callback gives them to aq_recv, with their channel and prefix.
     * data is writable, and valid during the call. Must not call aq_loop_run, _step or _free. NULL:
     * the endpoint gets them, and drops them. With it the endpoint does not offer to take packets
     * whose fixed bit is 0 (no_grease_bit). */
    void (*on_datagrams)(void *user, struct aq_loop *loop, const struct aq_datagram *datagrams,
                         unsigned n);
    /* A train of a path with a channel is about to be sent: the host fills in the AQ_CHANNEL_PREFIX
     * bytes in front of each datagram. False: it cannot go there, and is lost. NULL: all are. */
    bool (*on_channel)(void *user, struct aq_loop *loop, const struct aq_train *train);
    bool recv_ttl; /* datagrams and aq_path_info tell the hop limit they came with [false] */
    /* Called after what aq_loop_hosts told has changed: at most ten times a second, however many
     * addresses come and go at once. NULL: nobody is told. */
    void (*on_hosts)(void *user, struct aq_loop *loop);
    /* Sleep at once where there is nothing to do. Otherwise, after a row of waits of at most 100 us
     * each, aq_loop_run first looks again for at most 50 us, as long as that pays; and where
     * servers have answered dials within 300 us, it looks for theirs as long [false] */
    bool no_spin;
};
AQ_API void aq_loop_config_init(struct aq_loop_config *config);

/* Makes a loop and its endpoint (memory by mmap). NULL on failure, with a sentence in error. */
AQ_API struct aq_loop *aq_loop_new(const struct aq_loop_config *config, char *error,
                                   size_t error_size);

/* Closes sockets and frees everything. Connections that are still open end without a word:
 * aq_loop_stop and run first. */
AQ_API void aq_loop_free(struct aq_loop *loop);

AQ_API struct aq_endpoint *aq_loop_endpoint(struct aq_loop *loop);

/* The loop's clock as read at this turn's start, microseconds; refreshed by each turn and by
 * aq_loop_clock. */
AQ_API uint64_t aq_loop_now(const struct aq_loop *loop);
/* Reads the clock anew and returns it: for measuring, and before calls made outside a turn. */
AQ_API uint64_t aq_loop_clock(struct aq_loop *loop);

/* Parses "1.2.3.4:5", "[::1]:5", "host:5", "host" (with default_port) or ":5" (any address) and
 * resolves names (blocking). family 0 any, 4 or 6. AQ_OK, or AQ_MISUSE with a sentence in error. */
AQ_API int aq_resolve(const char *text, uint16_t default_port, unsigned family,
                      struct aq_addr *addr, char *error, size_t error_size);

/* The same without blocking, for callbacks: a name is asked for in a thread of its own. Calls fn
 * once in the loop's thread: before this returns where nobody has to be asked (a number, or an
 * error), else in a later turn; not at all if the loop is freed before. addr NULL: error says why.
 * Both are valid during the call. AQ_OK; AQ_FULL: 64 names are being asked for, or no thread can be
 * had, and fn is not called. */
AQ_API int aq_loop_resolve(struct aq_loop *loop, const char *text, uint16_t default_port,
                           void (*fn)(void *user, const struct aq_addr *addr, const char *error),
                           void *user);

/* Opens a UDP socket bound to addr (port 0: any). The endpoint accepts on it if it has a server TLS
 * object. *bound, if not NULL, gets the address with its port. IPv6 sockets are V6ONLY. AQ_OK;
 * AQ_MISUSE with a sentence in error (port in use, no permission, no such address). */
AQ_API int aq_listen(struct aq_loop *loop, const struct aq_addr *addr, struct aq_addr *bound,
                     char *error, size_t error_size);

/* The number of the socket bound to this address, which paths and trains name it by; -1: none. */
AQ_API int aq_loop_socket(const struct aq_loop *loop, const struct aq_addr *bound);

/* Connects: picks (or opens on an ephemeral port) a socket of the remote's family, fills in socket
 * and local address, and calls aq_connect. fresh_port: always a new socket, bound to that
 * address, connected to the peer once the handshake is confirmed (unless the server has another
 * address for us), so that nobody else's datagrams come, and closed when the connection has ended.
 * Errors as aq_connect, or AQ_MISUSE with a sentence in error. */
AQ_API int aq_dial(struct aq_loop *loop, struct aq_connect *connect, bool fresh_port, aq_conn *conn,
                   char *error, size_t error_size);

/* Moves a connection that we dialled to a new socket (aq_conn_migrate): bound to local, or, where
 * that is NULL or its ip all zero, to whatever address the way to the peer now begins at, with a
 * fresh port. AQ_EVENT_PATH tells what came of it; a socket that only this connection used is
 * closed when no path of it is left. Errors as aq_conn_migrate, or AQ_MISUSE when there is no such
 * socket, each with a sentence in error. */
AQ_API int aq_loop_migrate(struct aq_loop *loop, aq_conn conn, const struct aq_addr *local,
                           char *error, size_t error_size);

/* Runs until aq_loop_stop has closed every connection, or aq_loop_break. 0, or -1 when epoll
 * failed. */
AQ_API int aq_loop_run(struct aq_loop *loop);
/* Graceful end: stop accepting, close every connection, send that, then aq_loop_run returns. Safe
 * in callbacks. */
AQ_API void aq_loop_stop(struct aq_loop *loop);
/* aq_loop_run returns at the end of this turn, whatever is open. */
AQ_API void aq_loop_break(struct aq_loop *loop);
/* Whether a signal or aq_loop_stop asked the loop to end. */
AQ_API bool aq_loop_stopping(const struct aq_loop *loop);

/* Nesting in another loop: when the descriptor is readable, or aq_loop_timeout_us has passed, call
 * aq_loop_step, which never blocks. The descriptor also turns readable when the loop's deadline
 * passes, so the timeout is optional. After calls of antq.h made outside callbacks, call
 * aq_loop_step to send what they queued. Returns 0, 1 when the loop has ended (as aq_loop_run would
 * return), or -1 when epoll failed. */
AQ_API int aq_loop_fd(struct aq_loop *loop);
AQ_API int aq_loop_step(struct aq_loop *loop);
/* Microseconds from aq_loop_now until aq_loop_step has work without input; 0 now, AQ_NEVER none. */
AQ_API uint64_t aq_loop_timeout_us(const struct aq_loop *loop);

/* Calls fn(user) in the loop's thread soon. The one call that another thread may make. AQ_OK,
 * AQ_FULL. */
AQ_API int aq_loop_post(struct aq_loop *loop, void (*fn)(void *user), void *user);

/* Calls fn(user) once at at_us (the loop's clock). One of each (fn, user) pair: a second call moves
 * it; AQ_NEVER cancels. At most 16. AQ_OK, AQ_FULL. */
AQ_API int aq_loop_timer(struct aq_loop *loop, uint64_t at_us, void (*fn)(void *user), void *user);

/* Calls fn(user) whenever fd is readable; NULL fn ends it. At most 16. A regular file counts as
 * always readable. AQ_OK, AQ_FULL, AQ_MISUSE. */
AQ_API int aq_loop_watch(struct aq_loop *loop, int fd, void (*fn)(void *user), void *user);

struct aq_loop_sent {
    uint64_t packets, bytes;
};
/* Sends n trains now, beside the endpoint's: datagrams that are not QUIC, several trains in one
 * system call, each as one message where the kernel can (GSO). Their bytes are read during the call
 * only. What cannot be sent now is lost; *sent tells how much was. */
AQ_API void aq_loop_send_trains(struct aq_loop *loop, const struct aq_train *trains, unsigned n,
                                struct aq_loop_sent *sent);

/* Sends one datagram of at most 65,535 bytes now, beside QUIC: from to's socket, and from its
 * address and interface where they are named, with this hop limit (1 to 255; 0: the socket's own).
 * Its channel does not matter: the bytes go as they are. False: it is lost, and counted in
 * send_errors. No error ends the socket. */
AQ_API bool aq_loop_send_raw(struct aq_loop *loop, const struct aq_path_addr *to, unsigned ttl,
                             const uint8_t *data, size_t size);

enum {
    AQ_HOSTS_MAX = 64
};
/* The machine's own addresses now, without ports, at most max of them (AQ_HOSTS_MAX always
 * suffice): those of interfaces that are up and connected, which packets can leave from; not of
 * loopback, nor those that mean something on one link only (169.254.0.0/16, fe80::/10). Returns how
 * many. It asks the kernel: not for each packet. */
AQ_API unsigned aq_loop_hosts(struct aq_loop *loop, struct aq_addr *addrs, unsigned max);

struct aq_loop_stats {
    size_t size;
    uint64_t turns, recv_calls, recv_packets, recv_bytes, send_calls, send_packets, send_bytes;
    uint64_t send_errors, gso_fallbacks, gro_packets, rxq_overflows, unreachable;
};
AQ_API void aq_loop_stats(const struct aq_loop *loop, struct aq_loop_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
