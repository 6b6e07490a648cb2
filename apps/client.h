/* client.h -- what every client subcommand is made of: flags, one connection, and how it ended.
 *
 * A subcommand fills in struct client (flags parsed, on_event, user), calls client_open once and
 * client_dial for each connection, then client_run. It learns everything by on_event; when it is
 * done it calls client_finish, and when it cannot go on client_fail. The client itself prints
 * why a connection could not be made or was lost, keeps tickets, and makes the exit code. */
#ifndef APPS_CLIENT_H
#define APPS_CLIENT_H

#include "apps/common.h"
#include "apps/ticket.h"

/* The connection flags of every client. */
struct connect_flags {
    bool insecure, json, verbose, progress, no_gso, no_gro, no_ecn, busy_poll, ipv4, ipv6;
    bool early_data;
    const char *ca, *alpn, *version, *versions, *cc, *aead, *keylog, *qlog, *server_name, *ticket;
    struct option_pin pin;
    uint64_t migrate_us; /* move so long after the confirmed handshake; 0: stay */
    uint64_t timeout_us, idle_us, busy_poll_us, mtu, key_update_every;
};

extern const struct option_row connect_rows[];
extern const size_t connect_row_count;

/* Sets the defaults; alpn is the protocol offered without --alpn. */
void connect_flags_init(struct connect_flags *flags, const char *alpn);

struct client {
    struct connect_flags flags;
    void (*on_event)(void *user, const struct aq_event *event); /* of all connections */
    void *user;
    uint32_t max_conns;
    uint16_t datagram_max; /* as aq_config's; 0: none */
    uint64_t close_code;   /* application code of an ordinary end */

    /* What the server owes us, for client_expect. `missing` is set until the first of it has
     * come and is what a connection that is lost before then is told as: "no echo". The
     * subcommand clears it, raises `progress` by whatever comes, and says in `owed` whether it
     * waits for the server now. */
    const char *missing, *service;
    uint64_t progress;
    bool owed;
    uint64_t seen_progress, seen_us;

    struct aq_tls *tls;
    struct aq_loop *loop;
    struct qlog *qlog; /* NULL: none */
    struct aq_endpoint *ep;
    struct aq_addr remote;
    char remote_text[64];
    char host[256]; /* of HOST:PORT: the server name, unless --server-name gives one */
    struct alpn_list alpn;
    FILE *talk; /* where results for people go: standard output, or standard error with --json */

    aq_conn conn; /* the one dialled last */
    uint64_t dialled_us;
    bool connected, confirmed;
    bool failed;    /* something was complained about: exit code 1 */
    unsigned moves; /* to another path */
    bool finishing; /* we end it: a close is no news */

    /* Facts, as of confirmation and, for stats, as of client_finish too. */
    struct aq_conn_peer peer;
    struct aq_conn_stats stats;
    struct aq_loop_stats loop_stats;

    struct ticket ticket;
    bool tickets_later; /* the file is written once, at the end: many connections are measured */
};

/* Makes TLS object and loop and resolves the target. False: *code is the exit code, the reason
 * was told. */
bool client_open(struct client *client, const char *target, int *code);
/* Starts a connection, from a port of its own. AQ_OK; AQ_FULL is left to the caller; anything else
 * was told and client->failed set. */
int client_dial(struct client *client);
/* Runs until client_finish, client_fail or a signal; the exit code. */
int client_run(struct client *client);
/* Takes the last stats and ends well. With --ticket it first gives the server a moment to send
 * one. */
void client_finish(struct client *client);
/* Tells why and ends badly. */
void client_fail(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* From a confirmed handshake on: fails when nothing at all comes for a while (2 s, or 8 round
 * trips on slow paths), or later nothing more for the idle timeout. A connection alone proves
 * little: keep-alives are answered by a server that speaks another protocol, too. */
void client_expect(struct client *client, const char *missing, const char *service);
/* Whether a signal asked us to end. */
bool client_interrupted(const struct client *client);
/* Finishing, failed or interrupted: timers have nothing more to do. Events are not passed on any
 * more. */
bool client_is_over(const struct client *client);
void client_free(struct client *client);

/* Refreshes client->stats and client->loop_stats. */
void client_measure(struct client *client);
/* "QUIC v1, TLS_AES_128_GCM_SHA256, X25519, ALPN echo, certificate verified"; returns out. */
char *client_facts_text(const struct client *client, char *out, size_t size);
/* "accepted", "rejected" or "no": of the newest connection's 0-RTT. */
const char *client_early_text(const struct client *client);
/* "MTU 1452, cubic, boringssl, rtt 0.123 ms, 0 of 12 packets lost"; returns out. */
char *client_path_text(const struct client *client, char *out, size_t size);
/* JSON members of what was negotiated, without braces, with a comma at the end. */
void client_facts_json(const struct client *client, FILE *out);

#endif
