/* chat BOOTSTRAP [PEERID] -- two people talk, line by line.
 *
 * Without a PeerId it prints its own and waits to be called; with one it calls. What is typed goes
 * over one stream, which carries both ways; the end of standard input (Ctrl-D) ends our half of it,
 * and when both halves have ended, and all has arrived, the programs do. */
#include "antq_node.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct app {
    struct aq_node *node;
    struct aq_endpoint *ep;
    uint8_t friend_id[32];
    bool calls;
    aq_stream stream; /* 0: nobody is there yet */
    bool said_all;
    int exit_code;
};

/* Standard input is readable. What the stream does not take, it has no room for: a person does not
 * type so fast, a program that must lose nothing waits for AQ_EVENT_WRITABLE (file_transfer.c). */
static void on_input(void *user)
{
    struct app *app = (struct app *)user;
    uint8_t line[1024];
    ssize_t n = read(STDIN_FILENO, line, sizeof line);
    struct aq_iov iov = {line, n > 0 ? (size_t)n : 0};
    app->said_all = n <= 0;
    if (aq_stream_write(app->ep, app->stream, &iov, 1, app->said_all ? AQ_FIN : 0)
        < (int64_t)iov.size)
        fprintf(stderr, "not all of that was said\n");
    if (app->said_all)
        aq_loop_watch(aq_node_loop(app->node), STDIN_FILENO, NULL, app);
}

static void begin(struct app *app, aq_stream stream)
{
    app->stream = stream;
    aq_loop_watch(aq_node_loop(app->node), STDIN_FILENO, on_input, app);
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct app *app = (struct app *)user;
    char id[AQ_PEER_ID_TEXT];
    aq_stream stream;
    /* Status lines go where they do not mix with what is said. */
    if (event->kind == AQ_NODE_REGISTERED && !app->calls) {
        fprintf(stderr, "I am %s\n", aq_peer_id_text(aq_node_id(node), id));
    } else if (event->kind == AQ_NODE_CONNECTED || event->kind == AQ_NODE_PATH) {
        fprintf(stderr, "(connected, %s)\n", event->relayed ? "relayed" : "direct");
        if (event->kind == AQ_NODE_CONNECTED && app->calls
            && aq_stream_open(app->ep, event->conn, false, NULL, &stream) == AQ_OK)
            begin(app, stream);
    } else if (event->kind == AQ_NODE_FAILED || event->kind == AQ_NODE_CLOSED) {
        if (app->exit_code != 0)
            fprintf(stderr, "%s\n", event->reason);
        aq_node_stop(node);
    }
}

static void on_conn(void *user, struct aq_node *node, const struct aq_event *event)
{
    struct app *app = (struct app *)user;
    struct aq_iov piece;
    bool fin = false;
    /* The other side's stream shows itself with its first line; a second caller is not heard. */
    if (event->kind == AQ_EVENT_OPENED && app->stream == 0)
        begin(app, event->stream);
    /* Both halves are over, and what we said has been acknowledged. Who was called waits for the
     * goodbye. */
    if (event->kind == AQ_EVENT_STREAM_CLOSED && event->stream == app->stream && app->calls)
        aq_node_stop(node);
    if (event->kind != AQ_EVENT_READABLE || event->stream != app->stream)
        return;
    while (!fin && aq_stream_peek(app->ep, event->stream, &piece, 1, &fin) > 0) {
        fwrite(piece.data, 1, piece.size, stdout);
        aq_stream_consume(app->ep, event->stream, piece.size);
    }
    fflush(stdout);
    if (fin) {
        aq_stream_consume(app->ep, event->stream, 0); /* the end is taken note of */
        app->exit_code = 0;
    }
}

int main(int argc, char **argv)
{
    struct app app;
    struct aq_node_config config;
    char pem[512], error[256] = "usage: chat PEERID@HOST:PORT [PEERID]";
    const char *bootstrap = argc > 1 ? argv[1] : "";
    memset(&app, 0, sizeof app);
    app.exit_code = 1;
    app.calls = argc == 3;
    bool ok = argc == 2 || (argc == 3 && aq_peer_id_parse(argv[2], app.friend_id));
    aq_node_config_init(&config);
    config.bootstrap = &bootstrap;
    config.bootstrap_count = 1;
    config.key.pem = pem;
    config.on_event = on_event;
    config.on_conn = on_conn;
    config.user = &app;
    config.loop.handle_signals = true;
    ok = ok && aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error);
    config.key.pem_size = ok ? strlen(pem) : 0;
    ok = ok && (app.node = aq_node_new(&config, error, sizeof error)) != NULL;
    if (ok) {
        app.ep = aq_loop_endpoint(aq_node_loop(app.node));
        if (app.calls)
            ok = aq_node_connect(app.node, app.friend_id, 0) == AQ_OK;
        if (ok)
            aq_loop_run(aq_node_loop(app.node));
    } else {
        fprintf(stderr, "%s\n", error);
    }
    aq_node_free(app.node);
    return app.exit_code;
}
