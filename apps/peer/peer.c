/* peer.c -- flags, node, events and streams of the programs in this room (peer.h); tell.c prints
 * the events. */
#include "apps/peer/peer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "apps/peer/known.h"
#include "apps/qlog.h"

/* clang-format off */
#define ROW(name, kind, field, argument, help) \
    {name, 0, kind, offsetof(struct peer_flags, field), argument, 0, 0, help}
const struct option_row peer_rows[] = {
    ROW("bootstrap", OPTION_LIST, bootstrap, "[PEERID@]HOST:PORT", "where to register; several: repeat it, or commas"),
    ROW("key", OPTION_TEXT, key, "FILE", "the key file; ~/.config/antq/key.pem"),
    ROW("listen", OPTION_LIST, listen, "ADDR:PORT", "bind here instead of to any port"),
    ROW("allow", OPTION_LIST, allow, "PEERID,...", "let in only these peers; default: any"),
    ROW("json", OPTION_FLAG, json, NULL, "print JSON"),
    ROW("qlog", OPTION_TEXT, qlog, "DIR", "write what each connection does to a file in DIR (or QLOGDIR)"),
    ROW("keylog", OPTION_TEXT, keylog, "FILE", "append TLS secrets for Wireshark to FILE (or SSLKEYLOGFILE)"),
};
/* clang-format on */

double peer_ms(const struct peer_program *p)
{
    return (double)(aq_loop_now(p->loop) - p->began_us) / 1e3;
}

const char *peer_short(const uint8_t id[32], char out[AQ_PEER_ID_TEXT])
{
    enum {
        SHORT = 10
    };

    (void)aq_peer_id_text(id, out);
    out[SHORT] = '\0';
    return out;
}

const char *peer_bootstrap(const struct peer_program *p, unsigned index)
{
    const char *at = strchr(p->names[index], '@');

    return at != NULL ? at + 1 : p->names[index];
}

bool peer_word(const char *word, uint8_t id[32])
{
    char problem[64];

    if (!aq_peer_id_parse(word, id)) {
        complain("\"%s\" is no PeerId: it is 52 letters and digits, as `antq id` prints them%s",
                 word, peer_id_problem(word, problem, sizeof problem));
        return false;
    }
    return true;
}

/* ---- flags ----------------------------------------------------------------------------------- */

/* Calls fn for each part of a text between commas. */
static bool each_part(const struct option_list *list,
                      bool (*fn)(struct peer_program *p, const char *part), struct peer_program *p)
{
    char part[PEER_NAME];

    for (size_t i = 0; i < list->count; i++) {
        for (const char *at = list->v[i]; *at != '\0';) {
            size_t size = strcspn(at, ",");

            if (size >= sizeof part) {
                complain("\"%s\" is too long", at);
                return false;
            }
            memcpy(part, at, size);
            part[size] = '\0';
            at += size + (at[size] == ',');
            if (size > 0 && !fn(p, part)) {
                return false;
            }
        }
    }
    return true;
}

/* [PEERID@]HOST:PORT; false: told. */
static bool bootstrap_good(const char *part)
{
    const char *at = strchr(part, '@'), *colon = strrchr(part, ':');
    char id[PEER_NAME], problem[64];
    uint8_t bytes[32];
    uint64_t port = 0;

    (void)snprintf(id, sizeof id, "%.*s", at != NULL ? (int)(at - part) : 0, part);
    if (at != NULL && !aq_peer_id_parse(id, bytes)) {
        complain("--bootstrap: \"%s\" in \"%s\" is no PeerId: it is 52 letters and digits, as "
                 "`antq bootstrap` prints them%s",
                 id, part, peer_id_problem(id, problem, sizeof problem));
        return false;
    }
    const char *host = at != NULL ? at + 1 : part;
    bool good = colon != NULL && colon != host && parse_number(colon + 1, &port);
    if (!good || port == 0 || port > 65535) {
        complain("--bootstrap: \"%s\" must end with a host and a port: [PEERID@]HOST:PORT", part);
        return false;
    }
    if (strchr(host, ':') != colon && (host[0] != '[' || colon[-1] != ']')) {
        complain("--bootstrap: \"%s\": an IPv6 address stands in brackets: [ADDRESS]:PORT", part);
        return false;
    }
    return true;
}

static bool add_bootstrap(struct peer_program *p, const char *part)
{
    if (p->name_count == AQ_NODE_BOOTSTRAPS) {
        complain("--bootstrap: at most %d are taken", AQ_NODE_BOOTSTRAPS);
        return false;
    }
    if (!bootstrap_good(part)) {
        return false;
    }
    p->name_list[p->name_count] = p->names[p->name_count];
    return known_name(p->key.path, part, p->names[p->name_count++], PEER_NAME);
}

static bool add_allow(struct peer_program *p, const char *part)
{
    void *more = realloc(p->allow, (p->allow_count + 1) * sizeof *p->allow);

    if (more == NULL) {
        complain("--allow: no memory");
        return false;
    }
    p->allow = more;
    return peer_word(part, p->allow[p->allow_count++]);
}

static bool add_listen(struct peer_program *p, const char *part)
{
    char error[256];

    if (p->listen_count == sizeof p->listen / sizeof *p->listen
        || aq_resolve(part, 0, 0, &p->listen[p->listen_count++], error, sizeof error) != AQ_OK) {
        complain("--listen: %s",
                 p->listen_count > sizeof p->listen / sizeof *p->listen - 1 ? "too many" : error);
        return false;
    }
    return true;
}

/* ---- streams --------------------------------------------------------------------------------- */

static void echo_readable(struct peer_program *p, struct peer_stream *s)
{
    struct aq_iov iov[8];
    bool fin = false;
    int n;

    while ((n = aq_stream_peek(p->ep, s->id, iov, 8, &fin)) > 0) {
        int64_t taken = aq_stream_write(p->ep, s->id, iov, (unsigned)n, 0);
        size_t all = 0;

        for (int i = 0; i < n; i++) {
            all += iov[i].size;
        }
        if (taken < 0) {
            return;
        }
        (void)aq_stream_consume(p->ep, s->id, (uint64_t)taken);
        if ((size_t)taken < all) {
            return; /* the rest when there is room */
        }
        if (fin) {
            break;
        }
    }
    if (fin) {
        (void)aq_stream_write(p->ep, s->id, NULL, 0, AQ_FIN);
        (void)aq_stream_consume(p->ep, s->id, 0);
    }
}

static const struct peer_service echo_service = {
    .kind = PEER_ECHO, .readable = echo_readable, .writable = echo_readable};

static const struct peer_service *service_of(const struct peer_program *p, int kind)
{
    for (size_t i = 0; p->services != NULL && p->services[i] != NULL; i++) {
        if ((int)p->services[i]->kind == kind) {
            return p->services[i];
        }
    }
    return kind == PEER_ECHO ? &echo_service : NULL;
}

static struct peer_stream *stream_new(struct peer_program *p, aq_stream id, aq_conn conn)
{
    struct peer_stream *s = calloc(1, sizeof *s);

    if (s == NULL) {
        return NULL;
    }
    s->id = id;
    s->conn = conn;
    s->next = p->streams;
    if (s->next != NULL) {
        s->next->before = s;
    }
    p->streams = s;
    (void)aq_stream_set_user(p->ep, id, s);
    return s;
}

static void stream_free(struct peer_program *p, struct peer_stream *s, bool lost)
{
    if (s->before != NULL) {
        s->before->next = s->next;
    } else {
        p->streams = s->next;
    }
    if (s->next != NULL) {
        s->next->before = s->before;
    }
    (void)aq_stream_set_user(p->ep, s->id, NULL);
    if (s->service != NULL && s->service->closed != NULL) {
        s->service->closed(p, s, lost);
    }
    free(s);
}

struct peer_stream *peer_open(struct peer_program *p, aq_conn conn,
                              const struct peer_service *service)
{
    uint8_t kind = (uint8_t)service->kind;
    struct aq_iov iov = {&kind, 1};
    struct peer_stream *s = NULL;
    aq_stream id;

    if (aq_stream_open(p->ep, conn, false, NULL, &id) == AQ_OK) {
        s = stream_new(p, id, conn);
    }
    if (s == NULL || aq_stream_write(p->ep, id, &iov, 1, 0) != 1) {
        return NULL;
    }
    s->service = service;
    s->ours = true;
    if (service->opened != NULL) {
        (void)service->opened(p, s);
    }
    return s;
}

void peer_drop(struct peer_program *p, struct peer_stream *s)
{
    (void)aq_stream_reset(p->ep, s->id, PEER_CODE_ENDED);
    (void)aq_stream_stop(p->ep, s->id, PEER_CODE_ENDED);
    stream_free(p, s, true);
}

/* The first byte says what it is for. False: the stream is gone. */
static bool stream_begin(struct peer_program *p, struct peer_stream *s)
{
    struct aq_iov iov;
    bool fin;

    if (aq_stream_peek(p->ep, s->id, &iov, 1, &fin) != 1 || iov.size == 0) {
        return true;
    }
    int kind = iov.data[0];
    (void)aq_stream_consume(p->ep, s->id, 1);
    s->service = service_of(p, kind);
    if (s->service != NULL && (s->service->opened == NULL || s->service->opened(p, s))) {
        return true;
    }
    s->service = NULL;
    (void)aq_stream_reset(p->ep, s->id, PEER_CODE_UNKNOWN);
    (void)aq_stream_stop(p->ep, s->id, PEER_CODE_UNKNOWN);
    stream_free(p, s, true);
    return false;
}

static void on_conn(void *user, struct aq_node *node, const struct aq_event *event)
{
    struct peer_program *p = user;
    struct peer_stream *s = event->stream_user;
    (void)node;

    if (event->stream == 0) {
        return;
    }
    if (event->kind == AQ_EVENT_OPENED && s == NULL) {
        s = stream_new(p, event->stream, event->conn);
    }
    if (s == NULL) {
        return;
    }
    if (event->kind == AQ_EVENT_STREAM_CLOSED || event->kind == AQ_EVENT_RESET
        || event->kind == AQ_EVENT_STOPPED) {
        bool lost = event->kind != AQ_EVENT_STREAM_CLOSED;
        if (lost) {
            (void)aq_stream_reset(p->ep, s->id, PEER_CODE_ENDED);
            (void)aq_stream_stop(p->ep, s->id, PEER_CODE_ENDED);
        }
        stream_free(p, s, lost);
        return;
    }
    if (s->service == NULL && !stream_begin(p, s)) {
        return;
    }
    if (s->service == NULL) {
        return;
    }
    if (event->kind == AQ_EVENT_WRITABLE) {
        if (s->service->writable != NULL) {
            s->service->writable(p, s);
        }
    } else if (s->service->readable != NULL) {
        s->service->readable(p, s);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void end_streams(struct peer_program *p, aq_conn conn)
{
    struct peer_stream *next;

    for (struct peer_stream *s = p->streams; s != NULL; s = next) {
        next = s->next;
        if (s->conn == conn) {
            stream_free(p, s, true);
            next = p->streams; /* what ended may have ended others */
        }
    }
}

static void node_known(struct peer_program *p, struct aq_node *node)
{
    p->node = node;
    p->loop = aq_node_loop(node);
    p->ep = aq_loop_endpoint(p->loop);
    p->began_us = aq_loop_now(p->loop);
}

bool peer_goes_on(const struct peer_program *p, const struct aq_node_event *event)
{
    const uint64_t patience_us = 60000000;
    uint64_t since_us = p->lost_us != 0 ? p->lost_us : p->began_us;

    return event->kind == AQ_NODE_FAILED && event->retry_us > 0
           && (p->lost_us != 0 || event->wait_us > 0)
           && aq_loop_now(p->loop) - since_us < patience_us;
}

bool peer_is_limited(const struct peer_program *p)
{
    struct aq_node_bootstrap info = {.size = sizeof info};

    for (unsigned i = 0; aq_node_bootstrap(p->node, i, &info) == AQ_OK; i++) {
        if (strcmp(info.reason, "rate_limited") == 0) {
            return true;
        }
    }
    return false;
}

static void note_target(struct peer_program *p, const struct aq_node_event *event)
{
    if (p->target == NULL || event->peer_id == NULL || memcmp(event->peer_id, p->target, 32) != 0) {
        return;
    }
    if (event->kind == AQ_NODE_CLOSED) {
        p->lost_us = aq_loop_now(p->loop);
    } else if (event->kind == AQ_NODE_CONNECTED) {
        p->lost_us = 0;
    }
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct peer_program *p = user;

    if (p->node == NULL) { /* the first ones come while it is made */
        node_known(p, node);
    }
    if (event->kind == AQ_NODE_BOOTSTRAP && event->first_use && !p->told_first[event->index]) {
        p->told_first[event->index] = true;
        known_add(p->key.path, peer_bootstrap(p, event->index), event->peer_id);
    }
    note_target(p, event);
    peer_tell(p, event);
    if (p->on_event != NULL) {
        p->on_event(p, event);
    }
    if (event->kind == AQ_NODE_CLOSED) {
        end_streams(p, event->conn);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_warning(void *user, const char *text)
{
    (void)user;
    (void)text; /* small socket buffers do not matter between peers */
}

static void on_trace(void *user, struct aq_loop *loop)
{
    struct peer_program *p = user;
    qlog_drain(p->qlog, aq_loop_endpoint(loop));
}

/* --qlog and --keylog. */
static bool watch_inside(struct peer_program *p, struct aq_node_config *config)
{
    const char *keylog = p->flags.keylog != NULL ? p->flags.keylog : getenv("SSLKEYLOGFILE");

    if (!qlog_wanted(p->flags.qlog, config->loop.endpoint.max_conns, &p->qlog)) {
        return false;
    }
    if (p->qlog != NULL) {
        qlog_configure(&config->loop.endpoint);
        config->loop.on_trace = on_trace;
    }
    if (keylog != NULL && *keylog != '\0') {
        config->keylog = keylog_line;
        return keylog_open(keylog);
    }
    return true;
}

static void on_signal(void *user)
{
    struct peer_program *p = user;
    struct signalfd_siginfo info;

    while (read(p->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (p->on_stop != NULL && !p->ending) {
            p->on_stop(p);
        }
        if (p->ending) { /* asked again: without a goodbye */
            aq_loop_break(p->loop);
        }
        p->ending = true;
        aq_node_stop(p->node);
    }
}

/* SIGINT and SIGTERM end with a goodbye. */
static bool watch_signals(struct peer_program *p)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return false;
    }
    p->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return p->signal_fd >= 0 && aq_loop_watch(p->loop, p->signal_fd, on_signal, p) == AQ_OK;
}

static bool make_node(struct peer_program *p)
{
    struct aq_node_config config;
    char error[512];

    aq_node_config_init(&config);
    config.key.file = p->key.path;
    config.bootstrap = p->name_list;
    config.bootstrap_count = p->name_count;
    config.listen = p->listen;
    config.listen_count = p->listen_count;
    config.policy = p->flags.allow.count > 0 ? AQ_NODE_ALLOW : AQ_NODE_ANY;
    config.allow = (const uint8_t(*)[32])p->allow;
    config.allow_count = p->allow_count;
    config.on_event = on_event;
    config.on_conn = on_conn;
    config.user = p;
    config.loop.on_warning = on_warning;
    if (!watch_inside(p, &config)) {
        return false;
    }
    struct aq_node *node = aq_node_new(&config, error, sizeof error);
    if (node == NULL) {
        complain("%s", error);
        return false;
    }
    if (p->node == NULL) {
        node_known(p, node);
    }
    if (!watch_signals(p)) {
        complain("cannot watch for signals: %s", strerror(errno));
        return false;
    }
    return true;
}

bool peer_start(struct peer_program *p, int *code)
{
    *code = EXIT_FAILED;
    if (!key_file_open(&p->key, p->flags.key)) {
        return false;
    }
    *code = EXIT_WRONG_USE;
    if (!each_part(&p->flags.bootstrap, add_bootstrap, p)
        || !each_part(&p->flags.allow, add_allow, p)
        || !each_part(&p->flags.listen, add_listen, p)) {
        return false;
    }
    if (p->name_count == 0 && !p->keep) {
        complain("--bootstrap is needed: [PEERID@]HOST:PORT of a node that runs `antq bootstrap`");
        return false;
    }
    *code = EXIT_FAILED;
    return make_node(p);
}

void peer_connect(struct peer_program *p, const uint8_t id[32], unsigned flags)
{
    if (memcmp(aq_node_id(p->node), id, 32) == 0) {
        complain("connecting: that PeerId is our own");
        peer_end(p, EXIT_WRONG_USE);
    } else {
        (void)aq_node_connect(p->node, id, flags); /* or it ends already, and has said why */
    }
}

void peer_flush(struct peer_program *p)
{
    bool unsaid = fflush(stdout) != 0 || ferror(stdout) != 0;

    if (unsaid && !p->ending) {
        complain("cannot write to standard output");
        peer_end(p, EXIT_FAILED);
    }
}

int peer_run(struct peer_program *p)
{
    int result = aq_loop_run(p->loop);

    while (p->streams != NULL) {
        stream_free(p, p->streams, true);
    }
    progress_end();
    qlog_free(p->qlog, p->ep);
    aq_node_free(p->node);
    free(p->allow);
    (void)close(p->signal_fd);
    return result != 0 ? EXIT_FAILED : p->code;
}

void peer_end(struct peer_program *p, int code)
{
    p->code = code;
    p->ending = true;
    aq_node_stop(p->node);
}
