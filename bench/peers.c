/* peers.c -- load for a peer: many nodes of one process connect to it and stay.
 *
 *     peers BOOTSTRAP PEERID COUNT [STEP]
 *
 * STEP [1] of them connect at a time. Prints `connected N, D direct` when all are, and ends with
 * standard input. What the peer needs for them, tests/peer_cost.sh looks up in /proc. */
#include "nat/node/antq_node.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    NODES_MAX = 1000
};

static struct one {
    struct aq_node *node;
    bool registered, called, connected, direct;
} ones[NODES_MAX];
static unsigned total, failures;
static uint8_t target[32];

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct one *one = user;
    (void)node;
    if (event->kind == AQ_NODE_REGISTERED) {
        one->registered = event->result == AQ_NODE_FULL;
    } else if (event->kind == AQ_NODE_CONNECTED || event->kind == AQ_NODE_PATH) {
        one->connected = true;
        one->direct = !event->relayed;
    } else if (event->kind == AQ_NODE_FAILED || event->kind == AQ_NODE_CLOSED) {
        fprintf(stderr, "peers: %s: %s\n", aq_node_step_name(event->step), event->reason);
        one->connected = false;
        failures++;
    }
}

static bool start(struct one *one, const char *const *bootstrap, char *error, size_t error_size)
{
    struct aq_node_config config;
    char pem[512];
    aq_node_config_init(&config);
    config.bootstrap = bootstrap;
    config.bootstrap_count = 1;
    config.key.pem = pem;
    config.on_event = on_event;
    config.user = one;
    config.max_peers = 2; /* small: they are many */
    config.loop.endpoint.max_conns = 8;
    config.loop.endpoint.max_half_open = 4;
    config.loop.endpoint.max_streams = 64;
    config.loop.endpoint.memory_bytes = 1u << 20;
    config.loop.endpoint.recv_buffers = 2;
    config.loop.socket_buffer_bytes = 1u << 17;
    if (!aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, error_size))
        return false;
    config.key.pem_size = strlen(pem);
    one->node = aq_node_new(&config, error, error_size);
    return one->node != NULL;
}

static void turn(int timeout_ms)
{
    static struct pollfd fds[NODES_MAX];
    for (unsigned i = 0; i < total; i++)
        fds[i] = (struct pollfd){.fd = aq_loop_fd(aq_node_loop(ones[i].node)), .events = POLLIN};
    if (poll(fds, total, timeout_ms) <= 0)
        return;
    for (unsigned i = 0; i < total; i++)
        if (fds[i].revents != 0)
            (void)aq_loop_step(aq_node_loop(ones[i].node));
}

/* So many more call, and are waited for. */
static void call(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count && i < total; i++) {
        while (!ones[i].registered)
            turn(100);
        (void)aq_loop_clock(aq_node_loop(ones[i].node));
        (void)aq_node_connect(ones[i].node, target, AQ_NODE_KEEP);
        (void)aq_loop_step(aq_node_loop(ones[i].node));
    }
    for (unsigned i = first; i < first + count && i < total; i++)
        while (!ones[i].connected)
            turn(100);
}

int main(int argc, char **argv)
{
    char error[256] = "usage: peers PEERID@HOST:PORT PEERID COUNT [STEP]";
    const char *bootstrap = argc > 1 ? argv[1] : "";
    struct rlimit files;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned count = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    unsigned step = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1;
    bool ok = count > 0 && count <= NODES_MAX && step > 0 && aq_peer_id_parse(argv[2], target);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    for (unsigned i = 0; ok && i < count; i++) {
        ok = start(&ones[i], &bootstrap, error, sizeof error);
        total += ok;
    }
    if (!ok) {
        fprintf(stderr, "peers: %s\n", error);
        return 1;
    }
    for (unsigned i = 0; i < total; i += step)
        call(i, step);
    for (unsigned i = 0; i < 100; i++)
        turn(50); /* those that can become direct */
    unsigned connected = 0, direct = 0;
    for (unsigned i = 0; i < total; i++) {
        connected += ones[i].connected;
        direct += ones[i].connected && ones[i].direct;
    }
    printf("connected %u, %u direct, %u failures\n", connected, direct, failures);
    fflush(stdout);
    while (poll(&input, 1, 0) == 0)
        turn(100);
    for (unsigned i = 0; i < total; i++)
        aq_node_free(ones[i].node);
    return connected == total ? 0 : 1;
}
