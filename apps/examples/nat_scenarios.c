/* nat_scenarios PEERID|wait SECONDS BOOTSTRAP... -- how two peers come together, step by step.
 *
 * With the word `wait` it stays online for so long. With a PeerId it connects there and prints each
 * step with its time; the connection begins through the bootstrap node's relay and moves to a
 * direct path as soon as one works. After so many seconds, or when it is direct, it says what came
 * of it and which NATs explain that. Two bootstrap nodes on two addresses tell more than one: they
 * show whether our NAT gives each destination another port. */
#include "antq_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct app {
    struct aq_node *node;
    struct aq_loop *loop;
    uint8_t friend_id[32];
    bool calls, connected, relayed;
    uint64_t began_us;
};

/* What our own NAT does, as far as the bootstrap nodes can see it. */
static const char *nat_kind(struct app *app, unsigned bootstraps)
{
    struct aq_node_bootstrap first, next;
    memset(&first, 0, sizeof first);
    for (unsigned i = 0; i < bootstraps; i++) {
        next.size = sizeof next;
        if (aq_node_bootstrap(app->node, i, &next) != AQ_OK || next.observed.family == 0)
            continue;
        if (first.observed.family == 0)
            first = next;
        else if (memcmp(first.observed.ip, next.observed.ip, sizeof first.observed.ip) == 0
                 && first.observed.port != next.observed.port)
            return "our NAT gives each destination another port (symmetric)";
        else
            return "our NAT, if there is one, keeps one port for all destinations";
    }
    return "one bootstrap node alone cannot tell what NAT we have";
}

/* The end: by itself when the path is direct, or because the time is over. */
static void on_end(void *user)
{
    struct app *app = (struct app *)user;
    struct aq_node_status status;
    struct aq_node_stats stats;
    char remote[64];
    status.size = sizeof status;
    stats.size = sizeof stats;
    aq_node_stats(app->node, &stats);
    if (app->calls && aq_node_status(app->node, app->friend_id, &status) == AQ_OK && status.conn) {
        printf("path: %s, to %s, round trip %.1f ms, packets of %u bytes\n",
               status.relayed ? "relayed" : "direct",
               aq_addr_text(&status.remote, remote, sizeof remote), (double)status.rtt_us / 1000,
               status.mtu);
        printf("punching: %llu datagrams sent, %llu received\n",
               (unsigned long long)stats.punch_out, (unsigned long long)stats.punch_in);
        printf("here: %s\n", nat_kind(app, stats.bootstraps));
        if (status.relayed) /* nothing is lost by that: it works, a little slower */
            printf("so: no direct way was found; two symmetric NATs have none, nor has one and a\n"
                   "NAT that lets in only who was talked to\n");
    }
    aq_node_stop(app->node);
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct app *app = (struct app *)user;
    char text[64];
    printf("%7.1f ms  ", (double)(aq_loop_now(app->loop) - app->began_us) / 1000);
    switch (event->kind) {
    case AQ_NODE_BOOTSTRAP:
        printf("bootstrap node %u: %s, sees us as %s\n", event->index, event->reason,
               event->observed.family ? aq_addr_text(&event->observed, text, sizeof text) : "none");
        break;
    case AQ_NODE_REGISTERED:
        printf("registration: %s\n", aq_node_result_name(event->result));
        break;
    case AQ_NODE_STEP: printf("%s\n", aq_node_step_name(event->step)); break;
    case AQ_NODE_CONNECTED:
    case AQ_NODE_PATH:
        app->connected = true;
        app->relayed = event->relayed;
        printf("%s %s\n", event->kind == AQ_NODE_PATH ? "now" : "connected,",
               event->relayed ? "relayed" : "direct");
        if (app->calls && !event->relayed) /* let the last packets of the search go by */
            aq_loop_timer(app->loop, aq_loop_now(app->loop) + 200000, on_end, app);
        break;
    case AQ_NODE_FAILED:
        printf("failed while %s: %s; %s\n", aq_node_step_name(event->step), event->reason,
               event->hint ? event->hint : "try again");
        aq_node_stop(node);
        break;
    case AQ_NODE_CLOSED: printf("gone: %s\n", event->reason); break;
    case AQ_NODE_REFUSED: printf("somebody was refused\n"); break;
    default: printf("event %d, of a newer library\n", (int)event->kind);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct app app;
    struct aq_node_config config;
    char pem[512], id[AQ_PEER_ID_TEXT];
    char error[256] = "usage: nat_scenarios PEERID|wait SECONDS BOOTSTRAP...";
    memset(&app, 0, sizeof app);
    bool ok = argc > 3;
    app.calls = ok && strcmp(argv[1], "wait") != 0;
    ok = ok && (!app.calls || aq_peer_id_parse(argv[1], app.friend_id));
    aq_node_config_init(&config);
    config.bootstrap = (const char *const *)argv + 3;
    config.bootstrap_count = ok ? (unsigned)argc - 3 : 0;
    config.key.pem = pem;
    config.on_event = on_event;
    config.user = &app;
    config.loop.handle_signals = true;
    ok = ok && aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error);
    config.key.pem_size = ok ? strlen(pem) : 0;
    ok = ok && (app.node = aq_node_new(&config, error, sizeof error)) != NULL;
    if (!ok) {
        fprintf(stderr, "%s\n", error);
        return 2;
    }
    app.loop = aq_node_loop(app.node);
    app.began_us = aq_loop_clock(app.loop);
    aq_loop_timer(app.loop, app.began_us + strtoull(argv[2], NULL, 10) * 1000000, on_end, &app);
    printf("I am %s\n", aq_peer_id_text(aq_node_id(app.node), id));
    fflush(stdout);
    if (app.calls && aq_node_connect(app.node, app.friend_id, 0) != AQ_OK)
        aq_node_stop(app.node);
    aq_loop_run(app.loop);
    aq_node_free(app.node);
    return app.calls && !app.connected ? 1 : 0;
}
