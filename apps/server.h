/* server.h -- what every server subcommand is made of: flags, TLS, a listening socket, a log of
 * ends.
 *
 * A subcommand parses its flags into struct server, calls server_open, which prints the line
 * that says it is ready, then server_run until a signal. It is told of streams, and of connections
 * if it asks; the server keeps no state of its own for them: the core's limits are the limits. */
#ifndef APPS_SERVER_H
#define APPS_SERVER_H

#include "apps/common.h"
#include "apps/secret.h"

/* The flags of every server. */
struct listen_flags {
    const char *listen, *preferred, *cert, *key, *alpn, *versions, *cc, *aead, *keylog, *qlog;
    const char *secret_file;
    bool retry, json, verbose, no_gso, no_gro, no_ecn, busy_poll;
    uint64_t max_conns, max_streams, mtu, handshake_us, idle_us, busy_poll_us;
    bool early_data;
};

extern const struct option_row listen_rows[];
extern const size_t listen_row_count;

/* Sets the defaults; alpn is the protocol accepted without --alpn. */
void listen_flags_init(struct listen_flags *flags, const char *alpn);

struct server {
    struct listen_flags flags;
    void (*on_stream)(struct aq_endpoint *ep, const struct aq_event *event); /* events of streams */
    /* Of connections, for a subcommand that keeps something for each; NULL: none. */
    void (*on_conn)(struct aq_endpoint *ep, const struct aq_event *event);
    /* NULL: the first SIGTERM or SIGINT closes all connections. Else it is called at the first, to
     * end in good order with aq_loop_stop; the second closes all connections. */
    void (*on_stop)(struct server *server);
    uint16_t datagram_max; /* as aq_config's; 0: none are taken */
    uint64_t close_code; /* application code of an ordinary end */

    struct secrets secrets; /* of --secret-file, else zero: made by chance */
    struct aq_tls *tls;
    struct aq_loop *loop;
    struct qlog *qlog; /* NULL: none */
    struct aq_endpoint *ep;
    struct alpn_list alpn;
    struct aq_addr preferred; /* where clients shall move to; family 0: nowhere */
    int signal_fd; /* with on_stop */
    bool ending;   /* on_stop was called */
};

/* False: *code is the exit code, the reason was told. */
bool server_open(struct server *server, int *code);
/* Runs until a signal; the exit code. */
int server_run(struct server *server);
void server_free(struct server *server);

/* The whole life of a server subcommand but its flags: open, run, free. The exit code. */
int server_main(struct server *server);

#endif
