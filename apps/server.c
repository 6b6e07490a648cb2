/* server.c -- the common half of every server subcommand (server.h).
 *
 * The listening line on standard output is the one thing scripts wait for, so it is flushed
 * alone and comes last, when everything that can fail has succeeded. A connection's end is
 * logged when it was no ordinary one; with --verbose all are, and their beginnings. */
#include "apps/server.h"
#include "apps/qlog.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ROW(name, letter, kind, field, argument, min, max, help)                           \
    {                                                                                      \
        name, letter, kind, offsetof(struct listen_flags, field), argument, min, max, help \
    }

/* clang-format off */
const struct option_row listen_rows[] = {
    ROW("listen", 0, OPTION_TEXT, listen, "ADDR:PORT", 0, 0, "where to listen (default 0.0.0.0:4433); port 0 picks one"),
    ROW("preferred-address", 0, OPTION_TEXT, preferred, "ADDR:PORT", 0, 0, "listen there too, and have clients move there"),
    ROW("cert", 0, OPTION_TEXT, cert, "FILE", 0, 0, "certificate chain (PEM); without one a self-signed one is made"),
    ROW("key", 0, OPTION_TEXT, key, "FILE", 0, 0, "its private key (PEM)"),
    ROW("alpn", 0, OPTION_TEXT, alpn, "NAME", 0, 0, "application protocols to accept, separated by commas"),
    ROW("retry", 0, OPTION_FLAG, retry, NULL, 0, 0, "make every client prove its address first (Retry)"),
    ROW("early-data", 0, OPTION_FLAG, early_data, NULL, 0, 0, "accept requests in the first packets of resumed sessions (0-RTT)"),
    ROW("max-conns", 0, OPTION_NUMBER, max_conns, "N", 1, 1000000, "connections at once (default 1024); more are refused"),
    ROW("max-streams", 0, OPTION_NUMBER, max_streams, "N", 1, 100000, "streams at once that each client may open (default 100)"),
    ROW("cc", 0, OPTION_TEXT, cc, "NAME", 0, 0, "congestion control: cubic (default), newreno or bbr"),
    ROW("aead", 0, OPTION_TEXT, aead, "NAME", 0, 0, "packet protection: auto (default), boringssl or ipsec-mb"),
    ROW("mtu", 0, OPTION_NUMBER, mtu, "N", 1200, 65000, "largest UDP payload to send, bytes (default 1452)"),
    ROW("handshake-timeout", 0, OPTION_SECONDS, handshake_us, "SECONDS", 100000, 3600000000, "a handshake not done by then is given up (default 10)"),
    ROW("idle-timeout", 0, OPTION_SECONDS, idle_us, "SECONDS", 100000, 3600000000, "a connection silent for so long is lost (default 30)"),
    ROW("secret-file", 0, OPTION_TEXT, secret_file, "FILE", 0, 0, "keep the secrets of tickets, tokens and resets in FILE, made if not there"),
    ROW("keylog", 0, OPTION_TEXT, keylog, "FILE", 0, 0, "append TLS secrets for Wireshark to FILE"),
    ROW("qlog", 0, OPTION_TEXT, qlog, "DIR", 0, 0, "write what each connection does to a file in DIR (or QLOGDIR)"),
    ROW("no-gso", 0, OPTION_FLAG, no_gso, NULL, 0, 0, "send without UDP segmentation offload"),
    ROW("no-ecn", 0, OPTION_FLAG, no_ecn, NULL, 0, 0, "mark no packets for Explicit Congestion Notification"),
    ROW("no-gro", 0, OPTION_FLAG, no_gro, NULL, 0, 0, "receive without UDP receive offload"),
    ROW("busy-poll", 0, OPTION_FLAG, busy_poll, NULL, 0, 0, "poll for packets before sleeping: sooner answers, a busy core"),
    ROW("busy-poll-time", 0, OPTION_SECONDS, busy_poll_us, "SECONDS", 1, UINT64_MAX, "for so long after the last packet (default 0.01)"),
    ROW("versions", 0, OPTION_TEXT, versions, "LIST", 0, 0, "versions of QUIC to speak, most wanted first (default 1,2)"),
    ROW("json", 0, OPTION_FLAG, json, NULL, 0, 0, "the listening line as one JSON object, with the key's pin"),
    ROW("verbose", 'v', OPTION_FLAG, verbose, NULL, 0, 0, "log every connection on standard error"),
};
/* clang-format on */
const size_t listen_row_count = sizeof listen_rows / sizeof listen_rows[0];

void listen_flags_init(struct listen_flags *flags, const char *alpn)
{
    memset(flags, 0, sizeof *flags);
    flags->listen = "0.0.0.0:4433";
    flags->alpn = alpn;
    flags->max_conns = 1024;
    flags->max_streams = 100;
    flags->handshake_us = 10000000;
    flags->idle_us = 30000000;
    flags->busy_poll_us = BUSY_POLL_US;
}

static const char *remote_text(struct server *server, aq_conn conn, char *out, size_t size)
{
    struct aq_conn_stats stats = {.size = sizeof stats};

    if (aq_conn_stats(server->ep, conn, &stats) != AQ_OK) {
        return "a client";
    }
    return aq_addr_text(&stats.remote, out, size);
}

static void log_close(struct server *server, aq_conn conn)
{
    struct aq_close_info info = {.size = sizeof info};
    char text[512], remote[64];

    if (aq_conn_close_info(server->ep, conn, &info) != AQ_OK) {
        return;
    }
    if (server->flags.verbose
        || (!close_is_ordinary(&info) && !(info.application && info.code == server->close_code)
            && !aq_loop_stopping(server->loop))) {
        note("connection from %s %s", remote_text(server, conn, remote, sizeof remote),
             close_text(&info, text, sizeof text));
    }
}

static void log_connected(struct server *server, aq_conn conn)
{
    struct aq_conn_peer peer = {.size = sizeof peer};
    struct aq_conn_stats stats = {.size = sizeof stats};
    char remote[64];

    if (server->flags.verbose && aq_conn_peer(server->ep, conn, &peer) == AQ_OK) {
        (void)aq_conn_stats(server->ep, conn, &stats);
        note("connection from %s: handshake completed, QUIC %s, %s, ALPN %s%s",
             remote_text(server, conn, remote, sizeof remote), aq_version_name(stats.version),
             peer.cipher != NULL ? peer.cipher : "?", peer.alpn,
             peer.resumed ? ", session resumed" : "");
    }
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct server *server = user;

    (void)loop;
    if (event->kind == AQ_EVENT_CLOSED) {
        log_close(server, event->conn);
    } else if (event->kind == AQ_EVENT_CONNECTED) {
        log_connected(server, event->conn);
    }
    if (event->stream != 0) {
        server->on_stream(server->ep, event);
    } else if (server->on_conn != NULL) {
        server->on_conn(server->ep, event);
    }
}

/* A signal, for a subcommand that ends in its own way. */
static void on_signal(void *user)
{
    struct server *server = user;
    struct signalfd_siginfo info;

    if (read(server->signal_fd, &info, sizeof info) != (ssize_t)sizeof info) {
        return;
    }
    if (server->ending) {
        aq_loop_stop(server->loop);
    } else {
        server->ending = true;
        server->on_stop(server);
    }
}

static bool watch_signals(struct server *server)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) == 0) {
        server->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    }
    if (server->signal_fd < 0
        || aq_loop_watch(server->loop, server->signal_fd, on_signal, server) != AQ_OK) {
        complain("cannot wait for signals: %s", strerror(errno));
        return false;
    }
    return true;
}

static void on_trace(void *user, struct aq_loop *loop)
{
    struct server *server = user;

    qlog_drain(server->qlog, aq_loop_endpoint(loop));
}

static void on_warning(void *user, const char *text)
{
    (void)user;
    note("antq: note: %s", text);
}

static bool make_tls(struct server *server)
{
    const struct listen_flags *flags = &server->flags;
    struct aq_tls_config config;
    char error[512];

    if (!file_readable("--cert", flags->cert) || !file_readable("--key", flags->key)) {
        return false;
    }
    aq_tls_config_init(&config);
    config.server = true;
    config.cert.file = flags->cert;
    config.key.file = flags->key;
    config.alpn = server->alpn.names;
    config.alpn_count = server->alpn.count;
    memcpy(config.ticket_key, server->secrets.ticket_key, sizeof config.ticket_key);
    config.early_data = flags->early_data;
    config.verify = AQ_VERIFY_NONE; /* clients are not asked for certificates */
    if (flags->keylog != NULL) {
        if (!keylog_open(flags->keylog)) {
            return false;
        }
        config.keylog = keylog_line;
    }
    server->tls = aq_tls_new(&config, error, sizeof error);
    if (server->tls == NULL) {
        complain("%s", error);
        return false;
    }
    return true;
}

static int make_loop(struct server *server)
{
    const struct listen_flags *flags = &server->flags;
    struct aq_loop_config config;
    const char *problem;
    char error[512];

    aq_loop_config_init(&config);
    config.on_event = on_event;
    config.user = server;
    config.on_warning = on_warning;
    config.on_trace = on_trace;
    config.handle_signals = server->on_stop == NULL;
    config.close_code = server->close_code;
    config.no_gso = flags->no_gso;
    config.endpoint.no_ecn = flags->no_ecn;
    config.no_gro = flags->no_gro;
    config.busy_poll_us = flags->busy_poll ? flags->busy_poll_us : 0;
    config.endpoint.tls = server->tls;
    memcpy(config.endpoint.secret, server->secrets.root, sizeof config.endpoint.secret);
    config.endpoint.max_conns = (uint32_t)flags->max_conns;
    config.endpoint.streams_bidi = (uint32_t)flags->max_streams;
    config.endpoint.datagram_max = server->datagram_max;
    if (config.endpoint.max_half_open > config.endpoint.max_conns) {
        config.endpoint.max_half_open = config.endpoint.max_conns;
    }
    config.endpoint.retry = flags->retry ? AQ_RETRY_ALWAYS : AQ_RETRY_UNDER_LOAD;
    config.endpoint.handshake_timeout_us = flags->handshake_us;
    config.endpoint.idle_timeout_us = flags->idle_us;
    if (!versions_parse(flags->versions, NULL, config.endpoint.versions)) {
        return EXIT_WRONG_USE;
    }
    if (flags->cc != NULL) {
        config.endpoint.cc = flags->cc;
    }
    config.endpoint.aead = flags->aead; /* NULL: auto */
    *(server->preferred.family == 6 ? &config.endpoint.preferred6 : &config.endpoint.preferred4) =
        server->preferred;
    if (flags->mtu != 0) {
        config.endpoint.max_udp_payload = (uint16_t)flags->mtu;
    }
    if (server->qlog != NULL) {
        qlog_configure(&config.endpoint);
    }
    problem = config_problem(&config.endpoint);
    if (problem != NULL) {
        complain("%s", problem);
        return EXIT_WRONG_USE;
    }
    server->loop = aq_loop_new(&config, error, sizeof error);
    if (server->loop == NULL) {
        complain("%s", error);
        return EXIT_FAILED;
    }
    server->ep = aq_loop_endpoint(server->loop);
    server->signal_fd = -1;
    if (server->on_stop != NULL && !watch_signals(server)) {
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* Tells that we are ready, and how to trust us. False when nobody can be told. */
static bool tell_ready(const struct server *server, const struct aq_addr *bound)
{
    const struct listen_flags *flags = &server->flags;
    uint8_t hash[32];
    char address[64], pin[65];
    bool has_pin = aq_tls_pin(server->tls, hash);

    (void)aq_addr_text(bound, address, sizeof address);
    if (has_pin && flags->cert == NULL) {
        note("self-signed certificate; clients can trust it with --pin %s", pin_text(hash, pin));
    }
    if (flags->json) {
        (void)fputs("{\"listening\":", stdout);
        json_text(stdout, address);
        (void)fputs(",\"pin\":", stdout);
        json_text(stdout, has_pin ? pin_text(hash, pin) : NULL);
        (void)fputs("}\n", stdout);
    } else {
        (void)printf("listening on %s\n", address);
    }
    if (fflush(stdout) != 0) {
        complain("cannot write to standard output: %s", strerror(errno));
        return false;
    }
    return true;
}

/* Clients are told the address: it must be one. */
static bool resolve_preferred(struct server *server)
{
    static const uint8_t zero[16];
    const char *text = server->flags.preferred;
    char error[512];

    if (aq_resolve(text, DEFAULT_PORT, 0, &server->preferred, error, sizeof error) != AQ_OK) {
        complain("--preferred-address: %s", error);
        return false;
    }
    if (server->preferred.port == 0 || memcmp(server->preferred.ip, zero, sizeof zero) == 0) {
        complain("--preferred-address expects the address and port that clients reach us at, not"
                 " \"%s\"",
                 text);
        return false;
    }
    return true;
}

bool server_open(struct server *server, int *code)
{
    const struct listen_flags *flags = &server->flags;
    struct aq_addr address, bound;
    char error[512];

    *code = EXIT_WRONG_USE;
    if ((flags->cert == NULL) != (flags->key == NULL)) {
        complain("--cert and --key belong together: give both, or neither for a self-signed"
                 " certificate");
        return false;
    }
    if (!alpn_parse(&server->alpn, flags->alpn)) {
        complain("--alpn expects 1 to %d names of 1 to 255 bytes, separated by commas, not \"%s\"",
                 ALPN_MAX, flags->alpn);
        return false;
    }
    if (aq_resolve(flags->listen, DEFAULT_PORT, 0, &address, error, sizeof error) != AQ_OK) {
        complain("--listen: %s", error);
        return false;
    }
    if (flags->preferred != NULL && !resolve_preferred(server)) {
        return false;
    }
    *code = EXIT_FAILED;
    if (flags->secret_file != NULL && !secrets_load(&server->secrets, flags->secret_file)) {
        return false;
    }
    if (!make_tls(server)) {
        return false;
    }
    if (!qlog_wanted(flags->qlog, (uint32_t)flags->max_conns, &server->qlog)) {
        return false;
    }
    *code = make_loop(server);
    if (*code != EXIT_DONE) {
        return false;
    }
    *code = EXIT_FAILED;
    if (aq_listen(server->loop, &address, &bound, error, sizeof error) != AQ_OK
        || (server->preferred.family != 0
            && aq_listen(server->loop, &server->preferred, NULL, error, sizeof error) != AQ_OK)) {
        complain("%s", error);
        return false;
    }
    return tell_ready(server, &bound);
}

int server_run(struct server *server)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    if (aq_loop_run(server->loop) != 0) {
        complain("waiting for the network failed: %s", strerror(errno));
        return EXIT_FAILED;
    }
    if (server->flags.verbose) {
        aq_endpoint_stats(server->ep, &stats);
        note("%llu connections accepted, %llu connected, %llu refused for want of room, at most %u"
             " at once",
             (unsigned long long)stats.accepted, (unsigned long long)stats.connected,
             (unsigned long long)(stats.drop_conns_full + stats.drop_half_open_full),
             stats.conns_high);
    }
    return EXIT_DONE;
}

void server_free(struct server *server)
{
    qlog_free(server->qlog, server->ep);
    server->qlog = NULL;
    if (server->loop != NULL) {
        aq_loop_free(server->loop);
    }
    if (server->tls != NULL) {
        aq_tls_free(server->tls);
    }
    server->loop = NULL;
    server->tls = NULL;
}

int server_main(struct server *server)
{
    int code;

    if (server_open(server, &code)) {
        code = server_run(server);
    }
    server_free(server);
    return code;
}
