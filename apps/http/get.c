/* get.c -- `antq http get`: any number of URLs, those of one origin in parallel over one
 * connection.
 *
 * Origins come one after the other, each a client of its own (client.h). All requests of an origin
 * are started at once, as many as the server lets be open; the rest follow as it lets more. A URL
 * that fails says so in a line and does not disturb the others; the exit code tells of them.
 *
 * Standard output may be a pipe that must not be set non-blocking (echo_pipe.c tells why), so a
 * stream for it is read in pieces that do not block, only while poll says that it takes some. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/client.h"
#include "apps/http/fetch.h"
#include "apps/http/http.h"

enum {
    URLS_MAX = 4096,
    PIPE_PIECE = 4096, /* PIPE_BUF: what a pipe takes whole when poll says it is writable */
    STDOUT_WAIT_MS =
        10, /* a busy reader is waited for; one that pauses is looked at now and then */
    STDOUT_RETRY_US = 5000,
    PROGRESS_US = 200000,
};

struct get {
    struct client client;
    struct connect_flags connect;
    struct get_flags flags;
    struct fetch *fetches;
    size_t count;
    const char *target; /* of the origin that is being asked */
    struct web *web;
    bool going; /* the server starts nothing new */
    bool out_is_file, out_stalled, progress;
    int folder;
    uint64_t begun_us, us; /* us: of all origins */
    unsigned running;
};

static struct get get;

static bool is_of_origin(const struct fetch *fetch)
{
    return strcmp(fetch->url.target, get.target) == 0;
}

/* ---- what the connection tells --------------------------------------------------------------- */

static void on_field(void *user, struct web_stream *stream, const char *name, const char *value)
{
    (void)user;
    fetch_field(stream->user, name, value);
}

static void on_fields_end(void *user, struct web_stream *stream)
{
    (void)user;
    fetch_fields_end(stream->user);
}

static void on_data(void *user, struct web_stream *stream, const uint8_t *data, size_t size)
{
    (void)user;
    fetch_data(stream->user, data, size);
}

static void on_end(void *user, struct web_stream *stream)
{
    (void)user;
    fetch_end(stream->user, aq_loop_clock(get.client.loop));
}

static void read_on(void *user)
{
    struct fetch *fetch = user;

    if (fetch->stream != NULL && !client_is_over(&get.client)) {
        web_read_on(fetch->stream);
    }
}

static size_t on_room(void *user, struct web_stream *stream)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    const struct fetch *fetch = stream->user;

    (void)user;
    if (!fetch->sink.standard || get.out_is_file || fetch->state != FETCH_RUNS) {
        return SIZE_MAX;
    }
    if (poll(&out, 1, get.out_stalled ? 0 : STDOUT_WAIT_MS) > 0) {
        get.out_stalled = false;
        return PIPE_PIECE; /* or its reader has gone: the write will say so */
    }
    get.out_stalled = true;
    (void)aq_loop_timer(get.client.loop, aq_loop_clock(get.client.loop) + STDOUT_RETRY_US, read_on,
                        stream->user);
    get.client.progress++; /* the server owes us nothing meanwhile */
    return 0;
}

static void on_reset(void *user, struct web_stream *stream, uint64_t code)
{
    const char *name = stream->web->kind == &h3_kind ? h3_code_name(code) : NULL;

    (void)user;
    fetch_fail(stream->user, "the server gave it up, code 0x%llx%s%s", (unsigned long long)code,
               name != NULL ? " " : "", name != NULL ? name : "");
}

static void on_closed(void *user, struct web_stream *stream)
{
    struct fetch *fetch = stream->user;

    (void)user;
    fetch->stream = NULL;
    get.running--;
    if (!client_is_over(&get.client)) { /* else why the connection ended is told already */
        fetch_fail(fetch, "the stream ended early, after %llu bytes",
                   (unsigned long long)fetch->bytes);
    }
}

static void on_going_away(void *user, uint64_t id)
{
    (void)user;
    get.going = true;
    for (size_t i = 0; i < get.count; i++) {
        struct fetch *fetch = &get.fetches[i];

        if (fetch->stream != NULL && fetch->stream->id >= id) {
            fetch_fail(fetch, "the server is shutting down");
        }
    }
}

static const struct web_ops ops = {
    .field = on_field,
    .fields_end = on_fields_end,
    .data = on_data,
    .end = on_end,
    .room = on_room,
    .reset = on_reset,
    .closed = on_closed,
    .going_away = on_going_away,
};

/* ---- one origin ------------------------------------------------------------------------------ */

/* Starts what waits, until the server lets no more streams be open. */
static void start_waiting(void)
{
    for (size_t i = 0; i < get.count && !get.web->closing; i++) {
        struct web_field fields[WEB_FIELDS];
        struct fetch *fetch = &get.fetches[i];
        int result;

        if (fetch->state != FETCH_WAITS || !is_of_origin(fetch)) {
            continue;
        }
        if (get.going) {
            fetch_fail(fetch, "the server is shutting down");
            continue;
        }
        fetch->begun_us = aq_loop_clock(get.client.loop);
        result = web_request(get.web, fields, fetch_fields(fetch, fields), fetch, &fetch->stream);
        if (result == AQ_BLOCKED) {
            return; /* AQ_EVENT_STREAMS brings us back */
        }
        get.running += fetch->stream != NULL ? 1 : 0;
        if (result != AQ_OK) {
            fetch_fail(fetch, "no stream can be opened: %s", aq_error_name(result));
            continue;
        }
        fetch->state = FETCH_RUNS;
    }
}

static bool is_done(void)
{
    for (size_t i = 0; i < get.count; i++) {
        const struct fetch *fetch = &get.fetches[i];

        if (is_of_origin(fetch) && (fetch->state == FETCH_WAITS || fetch->state == FETCH_RUNS)) {
            return false;
        }
    }
    return true;
}

static void show_progress(void *user)
{
    uint64_t now = aq_loop_clock(get.client.loop), bytes = 0;
    char size[32], speed[32];
    size_t done = 0;

    (void)user;
    if (client_is_over(&get.client)) {
        return;
    }
    for (size_t i = 0; i < get.count; i++) {
        done += get.fetches[i].state == FETCH_DONE ? 1 : 0;
        bytes += is_of_origin(&get.fetches[i]) ? get.fetches[i].bytes : 0;
    }
    progress_line("%zu of %zu done, %u running, %s, %s/s", done, get.count, get.running,
                  bytes_text(bytes, size, sizeof size),
                  bytes_text((uint64_t)per_second(bytes, now - get.begun_us), speed, sizeof speed));
    (void)aq_loop_timer(get.client.loop, now + PROGRESS_US, show_progress, NULL);
}

/* With 0-RTT before the handshake, under the ticket's ALPN. */
static void begin(struct client *client, aq_conn conn)
{
    get.begun_us = aq_loop_clock(client->loop);
    get.web = web_start(client->loop, conn, false, &ops, NULL);
    if (get.web == NULL) {
        return; /* its connection is closed, which is told */
    }
    if (get.web->kind == &hq_kind && (get.flags.head || get.flags.range != NULL)) {
        client_fail(client, "%s speaks HTTP/0.9 only, which has neither HEAD nor ranges",
                    client->remote_text);
        return;
    }
    if (get.progress) {
        (void)aq_loop_timer(client->loop, get.begun_us + PROGRESS_US, show_progress, NULL);
    }
    start_waiting();
}

static void on_connected(struct client *client, aq_conn conn)
{
    if (get.web == NULL) {
        begin(client, conn);
    } else if (get.web->kind != web_kind(client->peer.alpn)) {
        /* What a rejected 0-RTT said goes again by itself, but in the form that it had. */
        client_fail(client, "%s chose ALPN %s, but what was sent in 0-RTT is %s: give --alpn %s",
                    client->remote_text, client->peer.alpn, get.web->kind->alpn,
                    get.web->kind->alpn);
    } else {
        start_waiting(); /* the limits of this connection may be wider than the ticket's */
    }
    if (get.web != NULL && !client_is_over(client)) {
        client_expect(client, NULL, "an HTTP server");
        client->owed = true;
    }
}

static void on_event(void *user, const struct aq_event *event)
{
    struct client *client = user;

    if (event->kind == AQ_EVENT_EARLY) {
        begin(client, event->conn);
    } else if (event->kind == AQ_EVENT_CONNECTED) {
        on_connected(client, event->conn);
    } else if (get.web == NULL) {
        return;
    } else if (event->kind == AQ_EVENT_STREAMS) {
        start_waiting();
    } else if (event->stream != 0) {
        client->progress++;
        web_event(get.web, event);
    }
    if (get.web != NULL && !client_is_over(client) && is_done()) {
        client_finish(client);
    }
}

/* Everything from one origin. The exit code. */
static int run_origin(void)
{
    struct client *client = &get.client;
    char text[256], facts[256];
    int code;

    memset(client, 0, sizeof *client);
    client->flags = get.connect;
    client->on_event = on_event;
    client->user = client;
    client->close_code = H3_NO_ERROR;
    get.web = NULL;
    get.going = false;
    if (client_open(client, get.target, &code)) {
        (void)client_dial(client);
        code = client_run(client);
        get.us += get.begun_us != 0 ? aq_loop_clock(client->loop) - get.begun_us : 0;
        if (client->finishing && client->flags.verbose) {
            note("%s: %s; %s", get.target, client_facts_text(client, facts, sizeof facts),
                 client_path_text(client, text, sizeof text));
        }
    }
    if (get.web != NULL) {
        web_free(get.web);
    }
    for (size_t i = 0; i < get.count; i++) {
        if (is_of_origin(&get.fetches[i])) {
            fetch_fail(&get.fetches[i], "not fetched");
        }
    }
    client_free(client);
    return code;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* The folder of a path, opened, and the name in it. */
static int split_output(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";

    if (slash != NULL) {
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
    }
    *name = slash != NULL ? slash + 1 : path;
    return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool names_clash(void)
{
    for (size_t i = 0; i < get.count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(get.fetches[i].url.name, get.fetches[j].url.name) == 0) {
                complain("\"%s\" and \"%s\" would both be the file \"%s\"", get.fetches[j].text,
                         get.fetches[i].text, get.fetches[i].url.name);
                return true;
            }
        }
    }
    return false;
}

/* Says where each download goes. The exit code; EXIT_DONE: go on. */
static int plan_sinks(void)
{
    const struct get_flags *flags = &get.flags;
    const char *output = flags->output, *name = NULL;

    if (flags->head || (flags->folder == NULL && (output == NULL || strcmp(output, "-") == 0))) {
        for (size_t i = 0; i < get.count; i++) {
            sink_plan_standard(&get.fetches[i].sink);
        }
        return EXIT_DONE;
    }
    if (flags->folder != NULL) {
        if (names_clash()) {
            return EXIT_WRONG_USE;
        }
        get.folder = open(flags->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    } else {
        get.folder = split_output(output, &name);
    }
    if (get.folder < 0) {
        complain("cannot write to \"%s\": %s", flags->folder != NULL ? flags->folder : output,
                 strerror(errno));
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < get.count; i++) {
        struct fetch *fetch = &get.fetches[i];

        if (!sink_plan(&fetch->sink, get.folder, name != NULL ? name : fetch->url.name,
                       flags->force)) {
            fetch_fail(fetch, "cannot write \"%s\": %s", name != NULL ? name : fetch->url.name,
                       fetch->sink.problem);
        }
    }
    return EXIT_DONE;
}

static bool check_flags(void)
{
    const struct get_flags *flags = &get.flags;

    if (flags->output != NULL && flags->folder != NULL) {
        complain("-o and --output-dir exclude each other: give one");
    } else if (get.count > 1 && flags->folder == NULL && !flags->head) {
        complain("several URLs need --output-dir DIR, where each becomes a file");
    } else if (get.connect.json && !flags->head && flags->folder == NULL
               && (flags->output == NULL || strcmp(flags->output, "-") == 0)) {
        complain("--json writes to standard output: give -o FILE or --output-dir DIR for the file");
    } else if (get.connect.json && flags->head) {
        complain("--json and --head exclude each other (both write to standard output)");
    } else if (flags->range != NULL && strncmp(flags->range, "bytes=", 6) != 0) {
        complain("--range expects bytes=FIRST-LAST, bytes=FIRST- or bytes=-LENGTH, not \"%s\"",
                 flags->range);
    } else {
        return true;
    }
    return false;
}

static void print_json(size_t done, uint64_t bytes)
{
    (void)printf("{\"urls\":%zu,\"done\":%zu,\"failed\":%zu,\"bytes\":%llu,\"seconds\":%.6f,"
                 "\"transfers\":[",
                 get.count, done, get.count - done, (unsigned long long)bytes,
                 (double)get.us / 1e6);
    for (size_t i = 0; i < get.count; i++) {
        const struct fetch *fetch = &get.fetches[i];
        uint64_t us = fetch->state == FETCH_DONE ? fetch->ended_us - fetch->begun_us : 0;

        (void)fputs(i > 0 ? ",{\"url\":" : "{\"url\":", stdout);
        json_text(stdout, fetch->text);
        (void)printf(",\"ok\":%s,\"status\":%d,\"bytes\":%llu,\"us\":%llu}",
                     fetch->state == FETCH_DONE ? "true" : "false", fetch->status,
                     (unsigned long long)fetch->bytes, (unsigned long long)us);
    }
    (void)fputs("]}\n", stdout);
}

/* Tells of all; whether all came. */
static bool sum_up(void)
{
    uint64_t bytes = 0;
    size_t done = 0;
    char size[32];

    for (size_t i = 0; i < get.count; i++) {
        done += get.fetches[i].state == FETCH_DONE ? 1 : 0;
        bytes += get.fetches[i].bytes;
    }
    if (get.connect.json) {
        print_json(done, bytes);
    } else if (!get.flags.head) {
        note("%zu of %zu fetched, %s in %.3f s, %.3f Gbit/s", done, get.count,
             bytes_text(bytes, size, sizeof size), (double)get.us / 1e6, gbit_per_s(bytes, get.us));
    }
    return done == get.count;
}

/* Origin after origin, in the order of the URLs. The exit code. */
static int run_all(void)
{
    struct stat status;
    int code = plan_sinks();

    get.progress = progress_wanted(get.connect.progress);
    get.out_is_file = fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
    if (code != EXIT_DONE) {
        return code;
    }
    for (size_t i = 0; i < get.count; i++) {
        if (get.fetches[i].state == FETCH_WAITS) {
            get.target = get.fetches[i].url.target;
            code = run_origin();
        }
        if (code == EXIT_WRONG_USE) {
            return code;
        }
    }
    return sum_up() ? EXIT_DONE : EXIT_FAILED;
}

static int run_urls(const char *const *words, size_t count)
{
    char error[1024];
    int code = EXIT_DONE;

    get.folder = -1;
    get.fetches = calloc(count, sizeof get.fetches[0]);
    if (get.fetches == NULL) {
        complain("not enough memory for %zu URLs", count);
        return EXIT_FAILED;
    }
    get.count = count;
    for (size_t i = 0; i < count && code == EXIT_DONE; i++) {
        get.fetches[i].text = words[i];
        get.fetches[i].flags = &get.flags;
        get.fetches[i].verbose = get.connect.verbose;
        if (!url_parse(&get.fetches[i].url, words[i], error, sizeof error)) {
            complain("%s", error);
            code = EXIT_WRONG_USE;
        }
    }
    if (code == EXIT_DONE) {
        code = check_flags() ? run_all() : EXIT_WRONG_USE;
    }
    for (size_t i = 0; i < count; i++) {
        url_free(&get.fetches[i].url);
    }
    free(get.fetches);
    if (get.folder >= 0) {
        (void)close(get.folder);
    }
    return code;
}

#define ROW(name, letter, kind, field, argument, min, max, help)                        \
    {                                                                                   \
        name, letter, kind, offsetof(struct get_flags, field), argument, min, max, help \
    }

/* clang-format off */
static const struct option_row get_rows[] = {
    ROW("output", 'o', OPTION_TEXT, output, "FILE", 0, 0, "write it to FILE; - is standard output (default)"),
    ROW("output-dir", 0, OPTION_TEXT, folder, "DIR", 0, 0, "write each to DIR, named by the URL's last segment"),
    ROW("force", 'f', OPTION_FLAG, force, NULL, 0, 0, "replace files that exist"),
    ROW("range", 0, OPTION_TEXT, range, "bytes=A-B", 0, 0, "ask for a part of it: bytes=A-B, bytes=A- or bytes=-N"),
    ROW("head", 'I', OPTION_FLAG, head, NULL, 0, 0, "ask for the fields only (HEAD), and print them"),
};
/* clang-format on */

int http_get(int argc, char **argv)
{
    static const char *words[URLS_MAX];
    size_t count = 0;
    const struct option_set sets[] = {
        {"Download:", get_rows, sizeof get_rows / sizeof get_rows[0], &get.flags},
        {"Connection:", connect_rows, connect_row_count, &get.connect},
    };
    const struct command command = {
        .name = "antq http get",
        .word = "URL...",
        .about = "Fetches https://HOST[:PORT]/PATH over HTTP/3, or HTTP/0.9 (ALPN hq-interop):\n"
                 "URLs of one origin in parallel over one connection. A file appears when it is\n"
                 "complete. Each URL that fails (HTTP status 300 and above, too) says so in a\n"
                 "line; the exit code is 0 only when all came.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
        .words = words,
        .word_max = URLS_MAX,
        .word_count = &count,
    };
    const char *first;
    int code;

    connect_flags_init(&get.connect, "h3,hq-interop");
    if (!command_parse(&command, argc, argv, &first, &code)) {
        return code;
    }
    return run_urls(words, count);
}
