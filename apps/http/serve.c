/* serve.c -- `antq http serve DIR`: a folder over HTTP/3, and HTTP/0.9 where ALPN asks for it.
 *
 * A connection is a struct web with a counter of its blocks behind it; a request is a struct
 * exchange, from its stream's opening to its end. Blocks that come back wake bodies that waited for
 * some, after each event and never from within one.
 *
 * SIGTERM: each client is told to start nothing new (GOAWAY), 100 ms later also what was on its way
 * is refused; requests that run may end, for at most 5 seconds. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/http/answer.h"
#include "apps/http/http.h"
#include "apps/server.h"

enum {
    NOTICE_US = 100000, /* the time that requests on their way have */
    GRACE_US = 5000000,
};

struct exchange {
    struct web_stream *stream;
    bool answered;
    struct request request;
    struct answer answer;
    struct body body;
};

struct client_conn {
    struct web *web;
    unsigned lent; /* blocks of its bodies */
    struct client_conn *next, **at;
};

static struct server server;
static struct body_pool pool;
static struct client_conn *conns;
static int root = -1;
static bool going; /* the last GOAWAY went out: connections without requests are closed */

/* ---- requests -------------------------------------------------------------------------------- */

static void on_opened(void *user, struct web_stream *stream)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);

    (void)user;
    if (exchange == NULL) {
        (void)aq_stream_reset(stream->web->ep, stream->handle, H3_INTERNAL_ERROR);
        (void)aq_stream_stop(stream->web->ep, stream->handle, H3_INTERNAL_ERROR);
        return;
    }
    exchange->stream = stream;
    stream->user = exchange;
}

static void on_field(void *user, struct web_stream *stream, const char *name, const char *value)
{
    struct exchange *exchange = stream->user;

    (void)user;
    if (exchange != NULL && !exchange->answered) {
        request_field(&exchange->request, name, value);
    }
}

static void log_request(const struct exchange *exchange)
{
    char line[256];

    if (!server.flags.verbose) {
        return;
    }
    (void)snprintf(line, sizeof line, "%.15s %.200s", exchange->request.method,
                   exchange->request.target);
    for (char *at = line; *at != '\0'; at++) { /* a stranger's bytes on the operator's terminal */
        if (*at < ' ' || *at > '~') {
            *at = '?';
        }
    }
    note("%s %s: %d%s", exchange->stream->web->kind->alpn, line, exchange->answer.status,
         exchange->request.early ? ", in 0-RTT" : "");
}

static void on_fields_end(void *user, struct web_stream *stream)
{
    struct client_conn *conn = user;
    struct exchange *exchange = stream->user;
    struct answer *answer;
    struct timespec now = {0};

    if (exchange == NULL || exchange->answered) {
        return;
    }
    exchange->answered = true;
    answer = &exchange->answer;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    exchange->request.early = aq_stream_early(server.ep, exchange->stream->handle);
    answer_make(answer, root, &exchange->request, now.tv_sec);
    if (answer->fd >= 0) {
        body_init_file(&exchange->body, &pool, &conn->lent, answer->fd, answer->begin, answer->end);
    } else {
        body_init_text(&exchange->body, &pool, answer->text, (size_t)answer->end);
    }
    log_request(exchange);
    web_answer(stream, answer->fields, answer->count, answer->has_body);
}

/* RFC 9114 §8.1: half a request has no answer. One that is answered already may end as it likes. */
static void on_reset(void *user, struct web_stream *stream, uint64_t code)
{
    const struct exchange *exchange = stream->user;

    (void)user, (void)code;
    if (exchange == NULL || !exchange->answered) {
        (void)aq_stream_reset(stream->web->ep, stream->handle, H3_REQUEST_INCOMPLETE);
    }
}

/* The content of a request says nothing to us. It is read and forgotten: RFC 9114 §4.1 would let us
 * ask for no more of it, but then Chromium waits for ever for the answer that it has. */
static void on_data(void *user, struct web_stream *stream, const uint8_t *data, size_t size)
{
    (void)user, (void)stream, (void)data, (void)size;
}

static void on_end(void *user, struct web_stream *stream)
{
    (void)user, (void)stream;
}

static enum web_body on_body(void *user, struct web_stream *stream, struct aq_iov *piece)
{
    struct exchange *exchange = stream->user;

    (void)user;
    return exchange != NULL ? body_next(&exchange->body, piece) : WEB_BODY_FAIL;
}

static void on_body_released(void *user, struct web_stream *stream, uint64_t bytes)
{
    struct exchange *exchange = stream->user;

    (void)user;
    if (exchange != NULL) {
        body_released(&exchange->body, bytes);
    }
}

static void on_closed(void *user, struct web_stream *stream)
{
    struct exchange *exchange = stream->user;

    (void)user;
    if (exchange != NULL) {
        body_free(&exchange->body);
        free(exchange);
        stream->user = NULL;
    }
}

static const struct web_ops ops = {
    .field = on_field,
    .fields_end = on_fields_end,
    .data = on_data,
    .end = on_end,
    .body = on_body,
    .body_released = on_body_released,
    .opened = on_opened,
    .reset = on_reset,
    .closed = on_closed,
};

/* ---- connections ----------------------------------------------------------------------------- */

static void conn_add(aq_conn handle)
{
    struct client_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        (void)aq_close(server.ep, handle, H3_INTERNAL_ERROR, "no memory", aq_loop_now(server.loop));
        return;
    }
    conn->web = web_start(server.loop, handle, true, &ops, conn);
    if (conn->web == NULL) {
        free(conn);
        return;
    }
    conn->next = conns;
    conn->at = &conns;
    if (conns != NULL) {
        conns->at = &conn->next;
    }
    conns = conn;
    (void)aq_conn_set_user(server.ep, handle, conn);
    if (server.ending) {
        web_goaway(conn->web, false);
    }
}

static void conn_free(struct client_conn *conn)
{
    *conn->at = conn->next;
    if (conn->next != NULL) {
        conn->next->at = conn->at;
    }
    web_free(conn->web);
    free(conn);
}

/* After every event: blocks that came back go to who waited, in turn; and while ending, who has
 * nothing more to get is closed. */
static void after_event(struct client_conn *conn)
{
    struct body *body;

    while ((body = body_pool_wake(&pool)) != NULL) {
        struct exchange *exchange =
            (struct exchange *)(void *)((char *)body - offsetof(struct exchange, body));

        web_resume(exchange->stream);
    }
    if (going && conn != NULL && conn->web->requests == 0) {
        web_close(conn->web, H3_NO_ERROR, "shutting down");
    }
}

static void on_stream(struct aq_endpoint *ep, const struct aq_event *event)
{
    struct client_conn *conn = aq_conn_user(ep, event->conn);

    if (conn != NULL) {
        web_event(conn->web, event);
        after_event(conn);
    }
}

static void on_conn(struct aq_endpoint *ep, const struct aq_event *event)
{
    struct client_conn *conn = aq_conn_user(ep, event->conn);

    if (event->kind == AQ_EVENT_ACCEPTED && server.ending) {
        (void)aq_refuse(ep, event->conn, "shutting down", aq_loop_now(server.loop));
    } else if (event->kind == AQ_EVENT_EARLY
               || (event->kind == AQ_EVENT_CONNECTED && conn == NULL)) {
        conn_add(event->conn);
    } else if (event->kind == AQ_EVENT_CLOSED && conn != NULL) {
        conn_free(conn);
        after_event(NULL);
        if (going && conns == NULL) {
            aq_loop_stop(server.loop);
        }
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void end_now(void *user)
{
    (void)user;
    aq_loop_stop(server.loop);
}

static void end_soon(void *user)
{
    (void)user;
    going = true;
    for (struct client_conn *conn = conns; conn != NULL; conn = conn->next) {
        web_goaway(conn->web, true);
        if (conn->web->requests == 0) {
            web_close(conn->web, H3_NO_ERROR, "shutting down");
        }
    }
    (void)aq_loop_timer(server.loop, aq_loop_now(server.loop) + GRACE_US, end_now, NULL);
}

static void on_stop(struct server *stopped)
{
    if (conns == NULL) {
        aq_loop_stop(stopped->loop);
        return;
    }
    for (struct client_conn *conn = conns; conn != NULL; conn = conn->next) {
        web_goaway(conn->web, false);
    }
    (void)aq_loop_timer(stopped->loop, aq_loop_clock(stopped->loop) + NOTICE_US, end_soon, NULL);
}

int http_serve(int argc, char **argv)
{
    const struct option_set sets[] = {{"Server:", listen_rows, listen_row_count, &server.flags}};
    const struct command command = {
        .name = "antq http serve",
        .word = "DIR",
        .about = "Serves the files in DIR over HTTP/3, or HTTP/0.9 for clients that ask for it\n"
                 "(ALPN hq-interop): GET and HEAD, byte ranges, index.html or a listing. Nothing\n"
                 "outside DIR is served, whatever the path or a symbolic link says. Prints\n"
                 "`listening on ADDR:PORT` when it is ready; SIGTERM or SIGINT lets running\n"
                 "requests end, for at most 5 seconds, then closes all connections.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    const char *folder;
    char error[512];
    int code;

    listen_flags_init(&server.flags, "h3,hq-interop");
    if (!command_parse(&command, argc, argv, &folder, &code)) {
        return code;
    }
    root = files_open_root(folder, error, sizeof error);
    if (root < 0) {
        complain("%s", error);
        return EXIT_FAILED;
    }
    body_pool_init(&pool, BODY_POOL_BLOCKS);
    server.on_stream = on_stream;
    server.on_conn = on_conn;
    server.on_stop = on_stop;
    server.close_code = H3_NO_ERROR;
    if (server_open(&server, &code)) {
        code = server_run(&server);
    }
    while (conns != NULL) { /* the loop ended before they did */
        conn_free(conns);
    }
    server_free(&server);
    body_pool_free(&pool);
    (void)close(root);
    return code;
}
