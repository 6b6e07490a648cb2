/* mesh BOOTSTRAP [TEXT] -- five peers in a ring gossip a message until all have heard it.
 *
 *      0 --- 1        Each peer knows only its two neighbours. Who hears the message for the first
 *     /       \       time tells it to the neighbours that it did not come from; who knows it
 *    4 -- 3 -- 2      already is silent: so it spreads, and ends by itself.
 *
 * All five run in one thread here, each with its own node, key and sockets, and poll() waits for
 * all of them: it is how a node lives inside another program's event loop. They would do the same
 * as five programs on five machines. */
#include "antq_node.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
    PEERS = 5,
    NEIGHBOURS = 8,
    TEXT_MAX = 256
};

static struct peer {
    struct aq_node *node;
    char pem[512];
    aq_conn conns[NEIGHBOURS]; /* connections that are up */
    unsigned conn_count;
    bool registered, heard;
} peers[PEERS];

/* A message: how many hops it has come, in one byte, then the text. */
static char message[1 + TEXT_MAX];

static void tell(struct peer *me, unsigned hops, const char *text, aq_conn but)
{
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(me->node));
    uint8_t head = (uint8_t)hops;
    struct aq_iov iov[2] = {{&head, 1}, {(const uint8_t *)text, strlen(text)}};
    aq_stream stream;
    me->heard = true;
    for (unsigned i = 0; i < me->conn_count; i++)
        if (me->conns[i] != but
            && aq_stream_open(ep, me->conns[i], true, NULL, &stream) == AQ_OK) /* one way */
            aq_stream_write(ep, stream, iov, 2, AQ_FIN);                       /* copied */
}

static void on_conn(void *user, struct aq_node *node, const struct aq_event *event)
{
    struct peer *me = (struct peer *)user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    struct aq_iov iov[4];
    size_t size = 0;
    bool fin = false;
    if (event->kind != AQ_EVENT_READABLE)
        return;
    int n = aq_stream_peek(ep, event->stream, iov, 4, &fin);
    if (n < 0 || !fin)
        return; /* it is consumed when it is all there: AQ_EVENT_READABLE comes again */
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < iov[i].size && size < TEXT_MAX; k++)
            message[size++] = (char)iov[i].data[k];
    message[size] = '\0';
    aq_stream_consume(ep, event->stream, size);
    if (size == 0 || me->heard)
        return;
    printf("peer %d heard after %d hops: %s\n", (int)(me - peers), message[0], message + 1);
    tell(me, (unsigned)message[0] + 1, message + 1, event->conn);
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *event)
{
    struct peer *me = (struct peer *)user;
    (void)node;
    if (event->kind == AQ_NODE_REGISTERED)
        me->registered = event->result >= AQ_NODE_MAJORITY;
    else if (event->kind == AQ_NODE_CONNECTED && me->conn_count < NEIGHBOURS)
        me->conns[me->conn_count++] = event->conn;
    else if (event->kind == AQ_NODE_FAILED
             || (event->kind == AQ_NODE_BOOTSTRAP && !event->registered))
        fprintf(stderr, "peer %d: %s\n", (int)(me - peers), event->reason);
    for (unsigned i = 0; event->kind == AQ_NODE_CLOSED && i < me->conn_count; i++)
        if (me->conns[i] == event->conn)
            me->conns[i] = me->conns[--me->conn_count];
}

/* Waits until any of the five has something to do, and lets all do it. */
static unsigned turn(void)
{
    struct pollfd fds[PEERS];
    unsigned ended = 0;
    for (int i = 0; i < PEERS; i++) {
        fds[i].fd = aq_loop_fd(aq_node_loop(peers[i].node)); /* readable: packets, or a deadline */
        fds[i].events = POLLIN;
    }
    poll(fds, PEERS, 1000);
    for (int i = 0; i < PEERS; i++)
        ended += aq_loop_step(aq_node_loop(peers[i].node)) != 0;
    return ended;
}

static unsigned count(unsigned what) /* 0: registered, 1: with both neighbours, 2: have heard */
{
    unsigned n = 0;
    for (int i = 0; i < PEERS; i++)
        n += what == 0   ? peers[i].registered
             : what == 1 ? peers[i].conn_count >= 2
                         : peers[i].heard;
    return n;
}

int main(int argc, char **argv)
{
    struct aq_node_config config;
    char error[256] = "usage: mesh PEERID@HOST:PORT [TEXT]";
    const char *bootstrap = argc > 1 ? argv[1] : "";
    bool ok = argc == 2 || argc == 3;
    aq_node_config_init(&config);
    config.bootstrap = &bootstrap;
    config.bootstrap_count = 1;
    config.on_event = on_event;
    config.on_conn = on_conn;
    for (int i = 0; i < PEERS && ok; i++) {
        ok = aq_key_make(AQ_KEY_ED25519, peers[i].pem, sizeof peers[i].pem, error, sizeof error);
        config.key.pem = peers[i].pem;
        config.key.pem_size = ok ? strlen(peers[i].pem) : 0;
        config.user = &peers[i];
        ok = ok && (peers[i].node = aq_node_new(&config, error, sizeof error)) != NULL;
    }
    if (!ok)
        fprintf(stderr, "%s\n", error);
    while (ok && count(0) < PEERS)
        turn();
    for (int i = 0; i < PEERS && ok; i++) /* each calls the next: a ring */
        aq_node_connect(peers[i].node, aq_node_id(peers[(i + 1) % PEERS].node), AQ_NODE_KEEP);
    while (ok && count(1) < PEERS)
        turn();
    if (ok)
        tell(&peers[0], 1, argc == 3 ? argv[2] : "did you know?", 0);
    while (ok && count(2) < PEERS)
        turn();
    for (int i = 0; i < PEERS && ok; i++)
        aq_node_stop(peers[i].node);
    while (ok && turn() < PEERS)
        continue;
    for (int i = 0; i < PEERS; i++)
        aq_node_free(peers[i].node);
    return ok ? 0 : 1;
}
