/* peers BOOTSTRAP [PEERID] -- two peers say hello, whatever NATs stand between them.
 *
 * Start it twice. The first is given only a bootstrap node (as `antq bootstrap` names it:
 * PEERID@HOST:PORT), prints its own PeerId and waits. The second is given that PeerId too: it
 * connects and says hello. The first answers. Each start makes a new key, and so a new PeerId. */
#include "antq_node.h"

#include <stdio.h>
#include <string.h>

struct app {
    uint8_t friend_id[32];
    bool calls; /* we are the one that knows the other's PeerId */
    int exit_code;
};

static void say(struct aq_node *node, aq_stream stream, const char *words)
{
    struct aq_iov iov = {(const uint8_t *)words, strlen(words)};
    aq_stream_write(aq_loop_endpoint(aq_node_loop(node)), stream, &iov, 1, AQ_FIN);
}

/* What becomes of peers: registered, connected, failed, gone. */
static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct app *app = (struct app *)user;
    char id[AQ_PEER_ID_TEXT];
    aq_stream stream;
    if (event->kind == AQ_NODE_REGISTERED && !app->calls) {
        printf("registration: %s\n", aq_node_result_name(event->result));
        printf("I am %s\n", aq_peer_id_text(aq_node_id(node), id));
    } else if (event->kind == AQ_NODE_CONNECTED) {
        printf("connected, %s\n", event->relayed ? "relayed" : "direct");
        struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
        if (app->calls && aq_stream_open(ep, event->conn, false, NULL, &stream) == AQ_OK)
            say(node, stream, "hello, peer\n");
    } else if (event->kind == AQ_NODE_PATH) {
        printf("now %s\n", event->relayed ? "relayed" : "direct");
    } else if (event->kind == AQ_NODE_FAILED) {
        printf("failed while %s: %s; %s\n", aq_node_step_name(event->step), event->reason,
               event->hint ? event->hint : "try again");
        aq_node_stop(node);
    } else if (event->kind == AQ_NODE_CLOSED) {
        aq_node_stop(node); /* who called has heard all it wanted */
    }
    fflush(stdout);
}

/* What happens on the connections: it is as with any connection of antq.h. */
static void on_conn(void *user, struct aq_node *node, const struct aq_event *event)
{
    struct app *app = (struct app *)user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    struct aq_iov piece;
    bool fin = false;
    if (event->kind != AQ_EVENT_READABLE)
        return;
    while (!fin && aq_stream_peek(ep, event->stream, &piece, 1, &fin) > 0) {
        fwrite(piece.data, 1, piece.size, stdout);
        aq_stream_consume(ep, event->stream, piece.size);
    }
    if (!fin)
        return; /* more will come */
    app->exit_code = 0;
    if (app->calls)
        aq_node_stop(node); /* says goodbye; then aq_loop_run returns */
    else
        say(node, event->stream, "hello to you\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct app app = {{0}, argc == 3, 1};
    struct aq_node_config config;
    struct aq_node *node = NULL;
    char pem[512], error[256] = "usage: peers PEERID@HOST:PORT [PEERID]";
    const char *bootstrap = argc > 1 ? argv[1] : "";
    bool ok = argc == 2 || (argc == 3 && aq_peer_id_parse(argv[2], app.friend_id));
    aq_node_config_init(&config);
    config.bootstrap = &bootstrap;
    config.bootstrap_count = 1;
    config.key.pem = pem; /* who we are; config.key.file for one that lasts */
    config.on_event = on_event;
    config.on_conn = on_conn;
    config.user = &app;
    config.loop.handle_signals = true; /* Ctrl-C */
    ok = ok && aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error);
    config.key.pem_size = ok ? strlen(pem) : 0;
    ok = ok && (node = aq_node_new(&config, error, sizeof error)) != NULL;
    if (ok && app.calls && aq_node_connect(node, app.friend_id, 0) != AQ_OK)
        fprintf(stderr, "that is no peer one can connect to\n");
    else if (ok)
        aq_loop_run(aq_node_loop(node));
    else
        fprintf(stderr, "%s\n", error);
    aq_node_free(node);
    return app.exit_code;
}
