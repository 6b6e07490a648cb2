/* file_transfer BOOTSTRAP FILE [PEERID] -- a file goes from one peer to others.
 *
 * Without a PeerId it offers FILE to whoever asks, and prints its own PeerId. With one it fetches
 * that peer's file into FILE. The asking peer opens a stream and ends its half; the other half
 * carries the file. QUIC delivers it whole, in order and authenticated, also when the connection
 * moves from the relay to a direct path meanwhile; the end of the stream (fin) tells that it was
 * all. */
#include "antq_node.h"

#include <stdio.h>
#include <string.h>

struct app {
    const char *path;
    uint8_t friend_id[32];
    bool fetches;
    FILE *file;
    unsigned long long bytes;
    int exit_code;
};

/* Gives the stream as much as it takes; called again when there is room (AQ_EVENT_WRITABLE). Many
 * may fetch at once: the user pointer of each stream is how far that one has come. */
static void send_more(struct app *app, struct aq_endpoint *ep, const struct aq_event *event)
{
    static uint8_t buffer[65536];
    uintptr_t at = (uintptr_t)event->stream_user;
    for (;;) {
        bool there = fseek(app->file, (long)at, SEEK_SET) == 0;
        struct aq_iov iov = {buffer, there ? fread(buffer, 1, sizeof buffer, app->file) : 0};
        bool last = iov.size < sizeof buffer;
        if (!there || (last && ferror(app->file))) {
            aq_stream_reset(ep, event->stream, 1); /* half a file must not look like a whole one */
            return;
        }
        int64_t taken = aq_stream_write(ep, event->stream, &iov, 1, last ? AQ_FIN : 0);
        if (taken < 0)
            return; /* the peer wants no more of it */
        at += (uintptr_t)taken;
        if (last || (size_t)taken < iov.size)
            break; /* all of it, or the rest when there is room */
    }
    aq_stream_set_user(ep, event->stream, (void *)at);
}

static void offer(struct app *app, struct aq_endpoint *ep, const struct aq_event *event)
{
    if (event->kind == AQ_EVENT_OPENED || event->kind == AQ_EVENT_WRITABLE)
        send_more(app, ep, event);
    else if (event->kind == AQ_EVENT_READABLE)
        aq_stream_consume(ep, event->stream, 0); /* the end of the question */
}

static void on_conn(void *user, struct aq_node *node, const struct aq_event *event)
{
    struct app *app = (struct app *)user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    struct aq_iov piece;
    bool fin = false;
    if (!app->fetches)
        offer(app, ep, event);
    if (!app->fetches || event->kind != AQ_EVENT_READABLE)
        return;
    while (!fin && aq_stream_peek(ep, event->stream, &piece, 1, &fin) > 0) {
        app->bytes += fwrite(piece.data, 1, piece.size, app->file); /* where it was decrypted */
        aq_stream_consume(ep, event->stream, piece.size);
    }
    if (fin) {
        app->exit_code = fflush(app->file) == 0 && !ferror(app->file) ? 0 : 1;
        printf("%llu bytes, %s\n", app->bytes, app->exit_code ? "not all written" : "whole");
        aq_node_stop(node);
    }
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct app *app = (struct app *)user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    char id[AQ_PEER_ID_TEXT];
    aq_stream stream;
    if (event->kind == AQ_NODE_REGISTERED && !app->fetches) {
        printf("I am %s, and offer %s\n", aq_peer_id_text(aq_node_id(node), id), app->path);
    } else if (event->kind == AQ_NODE_CONNECTED && app->fetches) {
        if (aq_stream_open(ep, event->conn, false, NULL, &stream) == AQ_OK)
            aq_stream_write(ep, stream, NULL, 0, AQ_FIN); /* "please" */
    } else if (event->kind == AQ_NODE_PATH) {
        printf("now %s, after %llu bytes\n", event->relayed ? "relayed" : "direct", app->bytes);
    } else if (app->fetches && (event->kind == AQ_NODE_FAILED || event->kind == AQ_NODE_CLOSED)) {
        if (app->exit_code != 0)
            printf("no file: %s\n", event->reason);
        aq_node_stop(node);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct app app = {argc > 2 ? argv[2] : "", {0}, argc == 4, NULL, 0, argc == 4};
    struct aq_node_config config;
    struct aq_node *node = NULL;
    char pem[512], error[256] = "usage: file_transfer PEERID@HOST:PORT FILE [PEERID]";
    const char *bootstrap = argc > 1 ? argv[1] : "";
    bool ok = argc == 3 || (argc == 4 && aq_peer_id_parse(argv[3], app.friend_id));
    aq_node_config_init(&config);
    config.bootstrap = &bootstrap;
    config.bootstrap_count = 1;
    config.key.pem = pem;
    config.on_event = on_event;
    config.on_conn = on_conn;
    config.user = &app;
    config.loop.handle_signals = true;
    if (ok && (app.file = fopen(app.path, app.fetches ? "wbx" : "rb")) == NULL) {
        perror(app.path); /* not there, or there already: nothing is overwritten */
        return 1;
    }
    ok = ok && aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error);
    config.key.pem_size = ok ? strlen(pem) : 0;
    ok = ok && (node = aq_node_new(&config, error, sizeof error)) != NULL;
    if (ok && app.fetches)
        ok = aq_node_connect(node, app.friend_id, 0) == AQ_OK;
    if (ok)
        aq_loop_run(aq_node_loop(node));
    else
        fprintf(stderr, "%s\n", error), app.exit_code = 1;
    aq_node_free(node);
    if (app.file && fclose(app.file) != 0)
        app.exit_code = 1;
    if (app.fetches && app.exit_code != 0)
        remove(app.path); /* it is no file that anybody wants */
    return app.exit_code;
}
