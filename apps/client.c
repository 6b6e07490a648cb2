/* client.c -- the common half of every client subcommand (client.h).
 *
 * One connection at a time is `client->conn`; its end, if nobody asked for it, ends the program
 * with one line that says what happened and, where there is something to do about it, what. The
 * order in explain_close is that of a user's questions: did anybody answer, do we trust them, do
 * they want us, what broke then. */
#include "apps/client.h"
#include "apps/qlog.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ROW(name, letter, kind, field, argument, min, max, help)                            \
    {                                                                                       \
        name, letter, kind, offsetof(struct connect_flags, field), argument, min, max, help \
    }

/* clang-format off */
const struct option_row connect_rows[] = {
    ROW("insecure", 0, OPTION_FLAG, insecure, NULL, 0, 0, "do not verify the server at all"),
    ROW("ca", 0, OPTION_TEXT, ca, "FILE", 0, 0, "verify it with the CA certificates (PEM) in FILE"),
    ROW("pin", 0, OPTION_PIN, pin, "HASH", 0, 0, "accept only the public key with this SHA-256 (hex), nothing else counts"),
    ROW("server-name", 0, OPTION_TEXT, server_name, "NAME", 0, 0, "name to ask for and to verify, instead of HOST"),
    ROW("alpn", 0, OPTION_TEXT, alpn, "NAME", 0, 0, "application protocols to offer, separated by commas"),
    ROW("cc", 0, OPTION_TEXT, cc, "NAME", 0, 0, "congestion control: cubic (default), newreno or bbr"),
    ROW("aead", 0, OPTION_TEXT, aead, "NAME", 0, 0, "packet protection: auto (default), boringssl or ipsec-mb"),
    ROW("mtu", 0, OPTION_NUMBER, mtu, "N", 1200, 65000, "largest UDP payload to send, bytes (default 1452)"),
    ROW("timeout", 0, OPTION_SECONDS, timeout_us, "SECONDS", 1000, 3600000000, "wait so long for the handshake (default 10)"),
    ROW("idle-timeout", 0, OPTION_SECONDS, idle_us, "SECONDS", 100000, 3600000000, "a connection silent for so long is lost (default 30)"),
    ROW("ticket", 0, OPTION_TEXT, ticket, "FILE", 0, 0, "resume with the session in FILE if it exists; keep new ones there"),
    ROW("early-data", 0, OPTION_FLAG, early_data, NULL, 0, 0, "with --ticket: ask in the first packets (0-RTT), which an attacker may replay"),
    ROW("keylog", 0, OPTION_TEXT, keylog, "FILE", 0, 0, "append TLS secrets for Wireshark to FILE (or SSLKEYLOGFILE)"),
    ROW("qlog", 0, OPTION_TEXT, qlog, "DIR", 0, 0, "write what each connection does to a file in DIR (or QLOGDIR)"),
    ROW("key-update-every", 0, OPTION_NUMBER, key_update_every, "N", 1, UINT64_MAX, "update the keys after every N packets"),
    ROW("migrate-after", 0, OPTION_SECONDS, migrate_us, "SECONDS", 1, 3600000000, "move to a fresh port so long after the handshake"),
    ROW("ipv4", '4', OPTION_FLAG, ipv4, NULL, 0, 0, "use IPv4 only"),
    ROW("ipv6", '6', OPTION_FLAG, ipv6, NULL, 0, 0, "use IPv6 only"),
    ROW("no-gso", 0, OPTION_FLAG, no_gso, NULL, 0, 0, "send without UDP segmentation offload"),
    ROW("no-ecn", 0, OPTION_FLAG, no_ecn, NULL, 0, 0, "mark no packets for Explicit Congestion Notification"),
    ROW("no-gro", 0, OPTION_FLAG, no_gro, NULL, 0, 0, "receive without UDP receive offload"),
    ROW("busy-poll", 0, OPTION_FLAG, busy_poll, NULL, 0, 0, "poll for packets before sleeping: sooner answers, a busy core"),
    ROW("busy-poll-time", 0, OPTION_SECONDS, busy_poll_us, "SECONDS", 1, UINT64_MAX, "for so long after the last packet (default 0.01)"),
    ROW("version", 0, OPTION_TEXT, version, "V", 0, 0, "version of QUIC to begin with: 1, 2 or v2draft (default: the ticket's, or 1)"),
    ROW("versions", 0, OPTION_TEXT, versions, "LIST", 0, 0, "versions to accept, most wanted first (default 1,2)"),
    ROW("json", 0, OPTION_FLAG, json, NULL, 0, 0, "the result as one JSON object on standard output"),
    ROW("progress", 0, OPTION_FLAG, progress, NULL, 0, 0, "progress lines also where standard error is no terminal"),
    ROW("verbose", 'v', OPTION_FLAG, verbose, NULL, 0, 0, "tell more on standard error"),
};
/* clang-format on */
const size_t connect_row_count = sizeof connect_rows / sizeof connect_rows[0];

void connect_flags_init(struct connect_flags *flags, const char *alpn)
{
    memset(flags, 0, sizeof *flags);
    flags->alpn = alpn;
    flags->timeout_us = 10000000;
    flags->idle_us = 30000000;
    flags->busy_poll_us = BUSY_POLL_US;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool check_flags(const struct connect_flags *flags)
{
    if ((int)flags->insecure + (int)(flags->ca != NULL) + (int)flags->pin.given > 1) {
        complain("--insecure, --ca and --pin exclude each other: give one");
        return false;
    }
    if (flags->early_data && flags->ticket == NULL) {
        complain("--early-data needs a session: give --ticket FILE, too");
        return false;
    }
    if (flags->ipv4 && flags->ipv6) {
        complain("-4 and -6 exclude each other: give one, or neither");
        return false;
    }
    return true;
}

static bool make_tls(struct client *client)
{
    const struct connect_flags *flags = &client->flags;
    const char *keylog = flags->keylog != NULL ? flags->keylog : getenv("SSLKEYLOGFILE");
    struct aq_tls_config config;
    char error[512];

    if (!file_readable("--ca", flags->ca)) {
        return false;
    }
    aq_tls_config_init(&config);
    config.alpn = client->alpn.names;
    config.alpn_count = client->alpn.count;
    config.verify = flags->insecure     ? AQ_VERIFY_NONE
                    : flags->pin.given  ? AQ_VERIFY_PIN
                    : flags->ca != NULL ? AQ_VERIFY_CA
                                        : AQ_VERIFY_SYSTEM;
    config.ca.file = flags->ca;
    memcpy(config.pin, flags->pin.hash, sizeof config.pin);
    if (keylog != NULL && *keylog != '\0') {
        if (!keylog_open(keylog)) {
            return false;
        }
        config.keylog = keylog_line;
    }
    client->tls = aq_tls_new(&config, error, sizeof error);
    if (client->tls == NULL) {
        complain("%s", error);
        return false;
    }
    return true;
}

static void on_trace(void *user, struct aq_loop *loop)
{
    struct client *client = user;

    qlog_drain(client->qlog, aq_loop_endpoint(loop));
}

static void on_warning(void *user, const char *text)
{
    const struct client *client = user;

    if (client->flags.verbose) {
        note("antq: note: %s", text);
    }
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event);

/* The exit code: EXIT_DONE, or what was wrong with flags or machine. */
static int make_loop(struct client *client)
{
    const struct connect_flags *flags = &client->flags;
    struct aq_loop_config config;
    const char *problem;
    char error[512];

    aq_loop_config_init(&config);
    config.on_event = on_event;
    config.user = client;
    config.on_warning = on_warning;
    config.on_trace = on_trace;
    config.handle_signals = true;
    config.close_code = client->close_code;
    config.no_gso = flags->no_gso;
    config.endpoint.no_ecn = flags->no_ecn;
    config.no_gro = flags->no_gro;
    config.busy_poll_us = flags->busy_poll ? flags->busy_poll_us : 0;
    config.endpoint.max_conns = client->max_conns;
    config.endpoint.max_half_open = client->max_conns;
    config.endpoint.max_streams = 4096;
    config.endpoint.datagram_max = client->datagram_max;
    config.endpoint.handshake_timeout_us = flags->timeout_us;
    config.endpoint.idle_timeout_us = flags->idle_us;
    config.endpoint.keep_alive_us = flags->idle_us / 3;
    config.endpoint.key_update_packets = flags->key_update_every;
    if (!versions_parse(flags->versions, flags->version, config.endpoint.versions)) {
        return EXIT_WRONG_USE;
    }
    if (flags->cc != NULL) {
        config.endpoint.cc = flags->cc;
    }
    config.endpoint.aead = flags->aead; /* NULL: auto */
    if (flags->mtu != 0) {
        config.endpoint.max_udp_payload = (uint16_t)flags->mtu;
    }
    if (client->qlog != NULL) {
        qlog_configure(&config.endpoint);
    }
    problem = config_problem(&config.endpoint);
    if (problem != NULL) {
        complain("%s", problem);
        return EXIT_WRONG_USE;
    }
    client->loop = aq_loop_new(&config, error, sizeof error);
    if (client->loop == NULL) {
        complain("%s", error);
        return EXIT_FAILED;
    }
    client->ep = aq_loop_endpoint(client->loop);
    return EXIT_DONE;
}

/* The host part of "host:port", "[::1]:port", "::1" or "host", without brackets. */
static void copy_host(struct client *client, const char *target)
{
    const char *begin = target[0] == '[' ? target + 1 : target;
    const char *end = strchr(begin, target[0] == '[' ? ']' : ':');
    size_t size;

    if (target[0] != '[' && end != NULL && strchr(end + 1, ':') != NULL) {
        end = NULL; /* two colons without brackets: an IPv6 address, and no port */
    }
    size = end != NULL ? (size_t)(end - begin) : strlen(begin);

    (void)snprintf(client->host, sizeof client->host, "%.*s", (int)(size < 255 ? size : 255),
                   begin);
}

bool client_open(struct client *client, const char *target, int *code)
{
    const struct connect_flags *flags = &client->flags;
    char error[512];

    *code = EXIT_WRONG_USE;
    client->talk = flags->json ? stderr : stdout;
    if (client->max_conns == 0) {
        client->max_conns = 8;
    }
    if (!check_flags(flags)) {
        return false;
    }
    if (!alpn_parse(&client->alpn, flags->alpn)) {
        complain("--alpn expects 1 to %d names of 1 to 255 bytes, separated by commas, not \"%s\"",
                 ALPN_MAX, flags->alpn);
        return false;
    }
    if (aq_resolve(target, DEFAULT_PORT,
                   flags->ipv4   ? 4
                   : flags->ipv6 ? 6
                                 : 0,
                   &client->remote, error, sizeof error)
        != AQ_OK) {
        complain("%s", error);
        return false;
    }
    if (client->remote.port == 0) {
        complain("\"%s\" names port 0, where nobody can listen; HOST:PORT is expected", target);
        return false;
    }
    (void)aq_addr_text(&client->remote, client->remote_text, sizeof client->remote_text);
    copy_host(client, target);
    if (client->host[0] == '\0') {
        complain("\"%s\" names no host; HOST:PORT is expected", target);
        return false;
    }
    *code = EXIT_FAILED;
    if (flags->ticket != NULL && !ticket_load(&client->ticket, flags->ticket)) {
        return false;
    }
    if (!make_tls(client)) {
        return false;
    }
    if (!qlog_wanted(flags->qlog, client->max_conns, &client->qlog)) {
        return false;
    }
    *code = make_loop(client);
    return *code == EXIT_DONE;
}

static void save_ticket(struct client *client)
{
    if (client->flags.ticket != NULL && client->ticket.unsaved
        && !ticket_save(&client->ticket, client->flags.ticket)) {
        client->failed = true;
    }
}

int client_dial(struct client *client)
{
    struct aq_connect connect;
    char error[512] = "";
    int result;

    aq_connect_init(&connect);
    connect.tls = client->tls;
    connect.remote = client->remote;
    connect.server_name =
        client->flags.server_name != NULL ? client->flags.server_name : client->host;
    ticket_use(&client->ticket, &connect);
    (void)version_parse(client->flags.version, &connect.version);
    connect.early_data = client->flags.early_data;
    client->connected = client->confirmed = false;
    client->dialled_us = aq_loop_clock(client->loop);
    result = aq_dial(client->loop, &connect, true, &client->conn, error, sizeof error);
    if (result != AQ_OK && result != AQ_FULL) {
        complain("cannot connect to %s: %s", client->remote_text,
                 error[0] != '\0' ? error : aq_error_name(result));
        client->failed = true;
    }
    if (result == AQ_OK && ticket_spend(&client->ticket) && !client->tickets_later) {
        save_ticket(client);
    }
    return result;
}

/* ---- how it ends ----------------------------------------------------------------------------- */

/* Whether a transport code is the TLS alert of a certificate that was not accepted (RFC 8446
 * §6.2). */
static bool is_certificate_alert(uint64_t code)
{
    uint64_t alert = code - AQ_CRYPTO_ERROR;

    return code >= AQ_CRYPTO_ERROR
           && ((alert >= 42 && alert <= 46) || alert == 48 || alert == 51 || alert == 113);
}

static void explain_timeout(const struct client *client, const struct aq_close_info *info)
{
    const char *reason = info->reason[0] != '\0' ? info->reason : NULL;

    if (!client->connected) {
        complain(
            "no answer from %s after %.1f s%s%s%s; is a QUIC server listening there, and does"
            " UDP get through?",
            client->remote_text, (double)(aq_loop_clock(client->loop) - client->dialled_us) / 1e6,
            reason != NULL ? " (" : "", reason != NULL ? reason : "", reason != NULL ? ")" : "");
    } else {
        complain("connection to %s lost: nothing heard for %.1f s; the peer is gone, or the network"
                 " between",
                 client->remote_text, (double)client->flags.idle_us / 1e6);
    }
}

/* Says in one line why the connection ended that should not have. */
static void explain_close(const struct client *client, const struct aq_close_info *info)
{
    const char *at = client->remote_text;
    char text[512];

    (void)close_text(info, text, sizeof text);
    if (info->by == AQ_BY_TIMEOUT) {
        explain_timeout(client, info);
    } else if (info->by == AQ_BY_VERSION) {
        complain("%s speaks no version of QUIC that we accept; --versions LIST says which", at);
    } else if (info->by == AQ_BY_US && !info->application && is_certificate_alert(info->code)) {
        complain("the server's certificate was not accepted: %s. Give the CA that signed it with"
                 " --ca FILE, its key's"
                 " hash with --pin HASH, or --insecure to trust anyone",
                 text);
    } else if (!info->application && info->code == AQ_CRYPTO_ERROR + 120) {
        complain("%s speaks none of the protocols we offer (%s); --alpn NAME offers others: %s", at,
                 client->flags.alpn, text);
    } else if (info->by == AQ_BY_PEER && !info->application
               && info->code == AQ_CONNECTION_REFUSED) {
        complain("%s refused the connection, it may be full; try again later: %s", at, text);
    } else if (client->confirmed && client->missing != NULL) {
        complain(
            "%s: the handshake with %s was completed and confirmed, then the connection was %s",
            client->missing, at, text);
    } else if (info->by == AQ_BY_RESET) {
        complain("connection to %s lost: %s, which has forgotten it (restarted?)", at, text);
    } else {
        complain("connection to %s %s", at, text);
    }
}

static void on_closed(struct client *client)
{
    struct aq_close_info info = {.size = sizeof info};

    if (client_is_over(client)) {
        return;
    }
    client->failed = true;
    if (aq_conn_close_info(client->ep, client->conn, &info) == AQ_OK) {
        explain_close(client, &info);
    } else {
        complain("connection to %s ended", client->remote_text);
    }
    aq_loop_break(client->loop);
}

static void take_ticket(struct client *client, const struct aq_event *event)
{
    if (client->flags.ticket != NULL) {
        ticket_take(&client->ticket, event);
        if (!client->tickets_later) {
            save_ticket(client);
        }
    }
}

enum {
    MIGRATE_AGAIN_US = 20000
};

static void migrate(void *user)
{
    struct client *client = user;
    char error[256];
    int result;

    if (client_is_over(client)) {
        return;
    }
    result = aq_loop_migrate(client->loop, client->conn, NULL, error, sizeof error);
    if (result == AQ_BLOCKED) { /* the server's preferred address comes first */
        (void)aq_loop_timer(client->loop, aq_loop_now(client->loop) + MIGRATE_AGAIN_US, migrate,
                            client);
    } else if (result != AQ_OK) {
        note("antq: note: %s", error);
    }
}

/* What became of a move, ours or the server's preferred address. */
static void on_path(struct client *client, const struct aq_event *event)
{
    struct aq_conn_stats stats = {.size = sizeof stats};
    char local[64], remote[64];

    if ((event->value & AQ_PATH_FAILED) != 0) {
        note("antq: note: the other path does not answer; the connection stays where it is");
    }
    if ((event->value & AQ_PATH_MOVED) == 0) {
        return;
    }
    client->moves++;
    if (client->flags.verbose && aq_conn_stats(client->ep, client->conn, &stats) == AQ_OK) {
        note("moved: now from %s to %s", aq_addr_text(&stats.local, local, sizeof local),
             aq_addr_text(&stats.remote, remote, sizeof remote));
    }
}

static void take_facts(struct client *client)
{
    memset(&client->peer, 0, sizeof client->peer);
    client->peer.size = sizeof client->peer;
    (void)aq_conn_peer(client->ep, client->conn, &client->peer);
    client_measure(client);
}

static void on_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct client *client = user;
    bool ours = event->conn == client->conn;

    (void)loop;
    if (event->kind == AQ_EVENT_TICKET || event->kind == AQ_EVENT_TOKEN) {
        take_ticket(client, event);
    } else if (event->kind == AQ_EVENT_CONNECTED && ours) {
        client->connected = true;
        take_facts(client); /* with 0-RTT all may be done before it is confirmed */
    } else if (event->kind == AQ_EVENT_CONFIRMED && ours) {
        client->connected = client->confirmed = true;
        take_facts(client);
        if (client->flags.migrate_us != 0) {
            (void)aq_loop_timer(client->loop, aq_loop_now(client->loop) + client->flags.migrate_us,
                                migrate, client);
        }
    } else if (event->kind == AQ_EVENT_PATH && ours) {
        on_path(client, event);
    } else if (event->kind == AQ_EVENT_CLOSED && ours) {
        on_closed(client);
    }
    if (!client_is_over(client)) {
        client->on_event(client->user, event);
    }
}

void client_measure(struct client *client)
{
    struct aq_conn_stats stats = {.size = sizeof stats};

    if (aq_conn_stats(client->ep, client->conn, &stats) == AQ_OK) {
        client->stats = stats;
    }
    client->loop_stats.size = sizeof client->loop_stats;
    aq_loop_stats(client->loop, &client->loop_stats);
}

static void stop_soon(void *user)
{
    struct client *client = user;

    aq_loop_stop(client->loop);
}

void client_finish(struct client *client)
{
    if (client->finishing || client->failed) {
        return;
    }
    client_measure(client);
    client->finishing = true;
    if (client->flags.ticket != NULL && !client->ticket.kept
        && aq_loop_timer(client->loop, aq_loop_now(client->loop) + 300000, stop_soon, client)
               == AQ_OK) {
        return;
    }
    aq_loop_stop(client->loop);
}

void client_fail(struct client *client, const char *format, ...)
{
    char text[768];
    va_list arguments;

    if (client->failed) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    complain("%s", text);
    client_measure(client);
    client->failed = true;
    aq_loop_stop(client->loop);
}

bool client_interrupted(const struct client *client)
{
    return !client->finishing && aq_loop_stopping(client->loop);
}

bool client_is_over(const struct client *client)
{
    return client->finishing || client->failed || aq_loop_stopping(client->loop);
}

int client_run(struct client *client)
{
    if (!client->failed && aq_loop_run(client->loop) != 0) {
        complain("waiting for the network failed: %s", strerror(errno));
        client->failed = true;
    }
    save_ticket(client);
    return client->failed ? EXIT_FAILED : EXIT_DONE;
}

void client_free(struct client *client)
{
    qlog_free(client->qlog, client->ep);
    client->qlog = NULL;
    if (client->loop != NULL) {
        aq_loop_free(client->loop);
    }
    if (client->tls != NULL) {
        aq_tls_free(client->tls);
    }
    client->loop = NULL;
    client->tls = NULL;
}

static void check_progress(void *user)
{
    struct client *client = user;
    uint64_t now = aq_loop_clock(client->loop);
    uint64_t patience = client->stats.rtt_us * 8 > 2000000 ? client->stats.rtt_us * 8 : 2000000;

    if (client_is_over(client)) {
        return;
    }
    if (!client->owed || client->progress != client->seen_progress) {
        client->seen_progress = client->progress;
        client->seen_us = now;
    } else if (client->missing != NULL && now - client->seen_us >= patience) {
        client_fail(
            client,
            "%s: the handshake with %s was completed and confirmed, but nothing came back within"
            " %.1f s (ALPN %s); is it %s?",
            client->missing, client->remote_text, (double)patience / 1e6, client->peer.alpn,
            client->service);
        return;
    } else if (client->missing == NULL
               && now - client->seen_us >= client->flags.idle_us + patience) {
        /* By now a peer that is gone would have ended the connection: this one only says nothing.
         */
        client_fail(client, "%s keeps the connection, but nothing more came for %.1f s",
                    client->remote_text, (double)(now - client->seen_us) / 1e6);
        return;
    }
    (void)aq_loop_timer(client->loop, now + 250000, check_progress, client);
}

void client_expect(struct client *client, const char *missing, const char *service)
{
    client->missing = missing;
    client->service = service;
    client->seen_progress = client->progress;
    client->seen_us = aq_loop_clock(client->loop);
    (void)aq_loop_timer(client->loop, client->seen_us + 250000, check_progress, client);
}

/* ---- facts ----------------------------------------------------------------------------------- */

static const char *trust_text(const struct client *client)
{
    if (client->flags.insecure) {
        return "certificate not verified";
    }
    if (client->peer.resumed) {
        return "session resumed";
    }
    return client->flags.pin.given ? "certificate pinned" : "certificate verified";
}

const char *client_early_text(const struct client *client)
{
    return client->peer.early_data == AQ_EARLY_ACCEPTED   ? "accepted"
           : client->peer.early_data == AQ_EARLY_REJECTED ? "rejected"
                                                          : "no";
}

char *client_facts_text(const struct client *client, char *out, size_t size)
{
    const struct aq_conn_peer *peer = &client->peer;

    (void)snprintf(
        out, size, "QUIC %s, %s, %s, ALPN %s, %s%s%s%s", aq_version_name(client->stats.version),
        peer->cipher != NULL ? peer->cipher : "unknown cipher",
        peer->group != NULL && peer->group[0] != '\0' ? peer->group : "unknown group", peer->alpn,
        trust_text(client), client->flags.insecure && peer->resumed ? ", session resumed" : "",
        peer->early_data != AQ_EARLY_NO ? ", 0-RTT " : "",
        peer->early_data != AQ_EARLY_NO ? client_early_text(client) : "");
    return out;
}

char *client_path_text(const struct client *client, char *out, size_t size)
{
    (void)snprintf(out, size, "MTU %u, %s, %s, rtt %.3f ms, %llu of %llu packets lost",
                   client->stats.mtu, client->flags.cc != NULL ? client->flags.cc : "cubic",
                   aq_endpoint_aead(client->ep), (double)client->stats.rtt_us / 1000,
                   (unsigned long long)client->stats.lost_packets,
                   (unsigned long long)client->stats.sent_packets);
    return out;
}

void client_facts_json(const struct client *client, FILE *out)
{
    const struct aq_conn_peer *peer = &client->peer;

    (void)fputs("\"address\":", out);
    json_text(out, client->remote_text);
    (void)fprintf(out, ",\"handshake_us\":%llu,\"version\":%u,\"cipher\":",
                  (unsigned long long)client->stats.handshake_us,
                  client->stats.version == AQ_QUIC_V2 ? 2 : client->stats.version);
    json_text(out, peer->cipher);
    (void)fputs(",\"group\":", out);
    json_text(out, peer->group);
    (void)fputs(",\"alpn\":", out);
    json_text(out, peer->alpn);
    (void)fputs(",\"cc\":", out);
    json_text(out, client->flags.cc != NULL ? client->flags.cc : "cubic");
    (void)fputs(",\"aead\":", out);
    json_text(out, aq_endpoint_aead(client->ep));
    (void)fprintf(
        out,
        ",\"resumed\":%s,\"early_data\":\"%s\",\"verified\":%s,\"mtu\":%u,\"smoothed_rtt_us\":%llu,\"sent_packets\":%llu,"
        "\"lost_packets\":%llu,\"key_updates\":%llu,",
        peer->resumed ? "true" : "false", client_early_text(client),
        peer->verified ? "true" : "false", client->stats.mtu,
        (unsigned long long)client->stats.rtt_us, (unsigned long long)client->stats.sent_packets,
        (unsigned long long)client->stats.lost_packets,
        (unsigned long long)client->stats.key_updates);
}
