/* node.c -- a node's life, and the pump that drives the machines of nat/.
 *
 * Events of the loop go to boots.c or link.c by their connection; both only note what came. The
 * pump then asks the registrar and each peer's session what to do, until they want nothing more, or
 * NODE_PASSES times: what is left then has its turn in the loop's next one, so that an application
 * that answers each failure with another try holds up nobody else. One timer serves all of them. It
 * runs at the end of each call and event that changed something, so a stream's events cost the node
 * one comparison. */
#include "nat/node/node.h"
#include "nat/node/secret.h"

#include "core/num.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* ---- config ---------------------------------------------------------------------------------- */

void aq_node_config_init(struct aq_node_config *config)
{
    memset(config, 0, sizeof *config);
    config->size = sizeof *config;
    config->max_peers = 128;
    aq_loop_config_init(&config->loop);
    struct aq_config *ep = &config->loop.endpoint;
    ep->max_conns = 320;
    ep->max_half_open = 160;
    ep->max_streams = 4096;
    ep->memory_bytes = 64u << 20;
    ep->keep_alive_us = 25000000; /* PROTOCOL §3: something every 25 s holds the NAT's mapping */
    ep->idle_timeout_us = 60000000;
    ep->datagram_max = 1200;
    /* Peers prove who they are with every connection, and a relayed one must not wait. */
    ep->retry = AQ_RETRY_NEVER;
}

static bool node_say(char *error, size_t error_size, const char *what, const char *why)
{
    if (error != NULL && error_size > 0)
        (void)snprintf(error, error_size, "%s: %s", what, why);
    return false;
}

static bool config_check(const struct aq_node_config *c, char *error, size_t error_size)
{
    const char *wrong = NULL;
    if (c->size != sizeof *c)
        wrong = "it was not made by aq_node_config_init of this version";
    else if (c->bootstrap_count > AQ_NODE_BOOTSTRAPS)
        wrong = "more than 16 bootstrap nodes";
    else if (c->listen_count > NODE_LISTEN)
        wrong = "more than 8 addresses to listen on";
    else if (c->key.file == NULL && c->key.pem == NULL)
        wrong = "no key";
    else if (c->policy == AQ_NODE_ASK && c->ask == NULL)
        wrong = "the policy asks, and nobody is there to answer";
    else if (c->max_peers == 0 || c->max_peers > 4096)
        wrong = "max_peers is 1 to 4096";
    return wrong == NULL || node_say(error, error_size, "the node's config", wrong);
}

static struct aq_tls *tls_of(const struct aq_node_config *c, bool server, const char *alpn,
                             char *error, size_t error_size)
{
    struct aq_tls_config config;
    aq_tls_config_init(&config);
    config.server = server;
    config.ask_client_certificate = server;
    config.key = c->key;
    config.verify = AQ_VERIFY_PEER;
    config.alpn = &alpn;
    config.alpn_count = 1;
    config.keylog = c->keylog;
    config.user = c->user;
    config.tickets = 0; /* a resumed peer would have to be bound to its PeerId anew */
    return aq_tls_new(&config, error, error_size);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool boots_init(struct aq_node *node, char *error, size_t error_size)
{
    for (unsigned i = 0; i < node->boot_count; i++) {
        struct node_boot *b = &node->boots[i];
        const char *text = node->config.bootstrap[i], *why = NULL;
        if (!node_name_parse(text, strlen(text), &b->name, &why)) {
            char what[512];
            (void)snprintf(what, sizeof what, "bootstrap node \"%.300s\"", text);
            return node_say(error, error_size, what, why);
        }
        b->node = node;
        (void)snprintf(b->text, sizeof b->text, "%s", text);
        b->known = b->name.pinned;
        b->id = b->name.id;
        b->told_reason = FAILURE_NONE;
    }
    return true;
}

static bool node_listen(struct aq_node *node, char *error, size_t error_size)
{
    const struct aq_node_config *c = &node->config;
    struct aq_addr any[2] = {{.family = 4}, {.family = 6}};
    const struct aq_addr *addrs = c->listen_count ? c->listen : any;
    unsigned count = c->listen_count ? c->listen_count : 2;
    for (unsigned i = 0; i < count; i++) {
        struct aq_addr *bound = &node->listening[node->listen_count];
        if (aq_listen(node->loop, &addrs[i], bound, error, error_size) == AQ_OK)
            node->listen_count++;
        else if (c->listen_count || i == 0) /* a host without IPv6 is no failure */
            return false;
    }
    return true;
}

static void on_loop_event(void *user, struct aq_loop *loop, const struct aq_event *event)
{
    struct aq_node *node = user;
    (void)loop;
    struct link *l = link_by_conn(node, event->conn);
    struct node_boot *b = l == NULL ? boot_by_conn(node, event->conn) : NULL;
    if (l != NULL)
        link_event(node, l, event);
    else if (b != NULL)
        boot_event(node, b, event);
    else if (event->kind == AQ_EVENT_ACCEPTED)
        link_accepted(node, event);
    if (node->dirty)
        node_pump(node);
}

static void on_loop_trace(void *user, struct aq_loop *loop)
{
    struct aq_node *node = user;
    node->config.loop.on_trace(node->config.user, loop);
}

/* Whoever has set one knows better. */
static void keep_secret(const struct aq_node *node, struct aq_config *endpoint)
{
    static const uint8_t none[sizeof endpoint->secret];
    const struct aq_node_config *c = &node->config;
    if (memcmp(endpoint->secret, none, sizeof none) == 0)
        (void)node_secret(node->tls_server, "antq peer", c->listen, c->listen_count,
                          endpoint->secret);
}

static bool node_open(struct aq_node *node, char *error, size_t error_size)
{
    struct aq_node_config *c = &node->config;
    struct aq_loop_config loop = c->loop;
    uint8_t id[PEER_ID_SIZE];
    node->tls_server = tls_of(c, true, NODE_ALPN_PEER, error, error_size);
    node->tls_peer = node->tls_server ? tls_of(c, false, NODE_ALPN_PEER, error, error_size) : NULL;
    node->tls_boot =
        node->tls_peer ? tls_of(c, false, NAT_ALPN_BOOTSTRAP, error, error_size) : NULL;
    if (node->tls_boot == NULL)
        return false;
    if (!aq_tls_pin(node->tls_server, id))
        return node_say(error, error_size, "the key", "it has no PeerId");
    memcpy(node->self.bytes, id, sizeof id);
    keep_secret(node, &loop.endpoint);
    loop.endpoint.tls = node->tls_server;
    loop.on_event = on_loop_event;
    loop.on_datagrams = relay_on_datagrams;
    loop.on_channel = relay_on_channel;
    loop.on_hosts = roam_on_hosts;
    if (loop.on_trace)
        loop.on_trace = on_loop_trace;
    loop.recv_ttl = true; /* tells how many routers away a bootstrap node is */
    loop.endpoint.nat_limit = NODE_NAT_LIMIT;
    loop.endpoint.observe = true;
    /* PROTOCOL §5: by its preferred address a server could name anybody (RFC 9000 §21.5.3). */
    loop.endpoint.no_preferred = true;
    loop.user = node;
    node->loop = aq_loop_new(&loop, error, error_size);
    explicit_bzero(loop.endpoint.secret, sizeof loop.endpoint.secret);
    if (node->loop == NULL)
        return false;
    node->ep = aq_loop_endpoint(node->loop);
    return node_listen(node, error, error_size);
}

static void node_start(struct aq_node *node)
{
    struct registrar_config config;
    registrar_config_init(&config);
    config.self = node->self;
    config.capabilities = CAPABLE_RELAY | CAPABLE_PUNCH;
    struct timespec wall;
    (void)clock_gettime(CLOCK_REALTIME, &wall);
    /* PROTOCOL §3: grows with each start. */
    config.generation = (uint64_t)wall.tv_sec * 1000000 + (uint64_t)wall.tv_nsec / 1000;
    if (node->boot_count > 0)
        registrar_init(&node->registrar, &config, node->boot_count, &node->rng, node_now(node));
}

enum {
    POOL_ALIGN = 64
};

static struct aq_node *node_alloc(const struct aq_node_config *config)
{
    unsigned links = config->max_peers * 2;
    struct aq_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->config = *config;
    node->boot_count = config->bootstrap_count;
    node->link_max = links;
    node->peer_max = config->max_peers;
    node->boots = calloc(AQ_NODE_BOOTSTRAPS, sizeof *node->boots);
    node->links = calloc(links, sizeof *node->links);
    node->peers = calloc(config->max_peers, sizeof *node->peers);
    node->memory = calloc(1, budget_size(NODE_BUDGET));
    node->session_memory =
        calloc(1, pool_size(sizeof(struct session), config->max_peers) + POOL_ALIGN);
    if (node->boots == NULL || node->links == NULL || node->peers == NULL || node->memory == NULL
        || node->session_memory == NULL) {
        aq_node_free(node);
        return NULL;
    }
    uintptr_t at = (uintptr_t)node->session_memory + POOL_ALIGN - 1;
    pool_init(&node->sessions, (void *)(at - at % POOL_ALIGN), sizeof(struct session),
              config->max_peers);
    return node;
}

struct aq_node *aq_node_new(const struct aq_node_config *config, char *error, size_t error_size)
{
    uint8_t seed[32];
    if (!config_check(config, error, error_size))
        return NULL;
    struct aq_node *node = node_alloc(config);
    if (node == NULL || getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        aq_node_free(node);
        node_say(error, error_size, "the node", node == NULL ? "no memory" : "no random bytes");
        return NULL;
    }
    rng_init(&node->rng, seed);
    explicit_bzero(seed, sizeof seed);
    node->key[0] = rng_u64(&node->rng);
    node->key[1] = rng_u64(&node->rng);
    budget_init(&node->budget, node->memory, NODE_BUDGET, node->key);
    if (!boots_init(node, error, error_size) || !node_open(node, error, error_size)) {
        aq_node_free(node);
        return NULL;
    }
    node_start(node);
    node_pump(node);
    return node;
}

void aq_node_free(struct aq_node *node)
{
    if (node == NULL)
        return;
    aq_loop_free(node->loop);
    aq_tls_free(node->tls_server);
    aq_tls_free(node->tls_peer);
    aq_tls_free(node->tls_boot);
    free(node->boots);
    free(node->links);
    free(node->peers);
    free(node->memory);
    free(node->session_memory);
    explicit_bzero(&node->rng, sizeof node->rng);
    free(node);
}

struct aq_loop *aq_node_loop(struct aq_node *node)
{
    return node->loop;
}

const uint8_t *aq_node_id(const struct aq_node *node)
{
    return node->self.bytes;
}

unsigned aq_node_listening(const struct aq_node *node, struct aq_addr *addrs, unsigned max)
{
    for (unsigned i = 0; i < node->listen_count && i < max; i++)
        addrs[i] = node->listening[i];
    return node->listen_count;
}

static void on_goodbye(void *user)
{
    struct aq_node *node = user;
    if (node->boot_count > 0)
        registrar_stop(&node->registrar, node_now(node));
    node_pump(node);
    aq_loop_stop(node->loop);
}

void aq_node_stop(struct aq_node *node)
{
    if (node->stopping)
        return;
    node_called(node);
    node->stopping = true;
    for (unsigned i = 0; i < node->link_max; i++) {
        struct link *l = &node->links[i];
        if (l->state != LINK_FREE && l->conn != 0)
            (void)aq_close(node->ep, l->conn, 0, "goodbye", node_now(node));
    }
    /* A bootstrap node ends a peer's relayed pairs with its registration, and that with the
     * connection: so the last words to peers go first. */
    (void)aq_loop_timer(node->loop, node_now(node) + NODE_GOODBYE_US, on_goodbye, node);
}

/* ---- the pump -------------------------------------------------------------------------------- */

void node_tell(struct aq_node *node, const struct aq_node_event *event)
{
    if (node->config.on_event != NULL)
        node->config.on_event(node->config.user, node, event);
}

void node_dial_from(const struct aq_node *node, struct aq_connect *connect)
{
    static const uint8_t any[sizeof connect->local.ip];
    for (unsigned i = 0; i < node->listen_count; i++) {
        const struct aq_addr *at = &node->listening[i];
        if (at->family == connect->remote.family && memcmp(at->ip, any, sizeof any) != 0) {
            connect->local = *at;
            return;
        }
    }
}

bool node_allows(struct aq_node *node, const struct peer_id *id)
{
    const struct aq_node_config *c = &node->config;
    if (peer_id_equal(id, &node->self))
        return false;
    if (c->policy == AQ_NODE_ASK)
        return c->ask(c->user, node, id->bytes);
    for (unsigned i = 0; c->policy == AQ_NODE_ALLOW && i < c->allow_count; i++)
        if (memcmp(c->allow[i], id->bytes, PEER_ID_SIZE) == 0)
            return true;
    return c->policy == AQ_NODE_ANY;
}

static void registrar_act(struct aq_node *node, const struct registrar_action *action)
{
    struct node_boot *b = &node->boots[action->node];
    switch (action->kind) {
    case REGISTRAR_DIAL: boot_dial(node, action->node); break;
    case REGISTRAR_SEND: boot_write(node, b, action->data, action->size); break;
    case REGISTRAR_CLOSE: boot_close(node, b); break;
    case REGISTRAR_RESULT:
        boot_tell_changes(node); /* first what it is the sum of */
        node_tell(node, &(struct aq_node_event){.kind = AQ_NODE_REGISTERED,
                                                .result = (enum aq_node_result)action->result});
        break;
    case REGISTRAR_NOTHING: break;
    }
}

static void on_timer(void *user)
{
    node_pump(user);
}

static void pump_once(struct aq_node *node, uint64_t now)
{
    struct registrar_action action;
    boots_pump(node, now);
    while (node->boot_count > 0 && registrar_next(&node->registrar, &action, now))
        registrar_act(node, &action);
    boot_tell_changes(node);
    if (!node->stopping)
        peers_pump(node, now);
}

void node_pump(struct aq_node *node)
{
    uint64_t at = AQ_NEVER;
    unsigned passes = 0;
    if (node->pumping) { /* a callback came back to us: the pump that runs goes around once more */
        node->dirty = true;
        return;
    }
    node->pumping = true;
    do {
        node->dirty = false;
        pump_once(node, node_now(node));
    } while (node->dirty && ++passes < NODE_PASSES);
    node->pumping = false;
    if (node->boot_count > 0)
        at = min_u64(registrar_deadline(&node->registrar), boots_deadline(node));
    uint64_t peers = node->stopping ? AQ_NEVER : peers_deadline(node);
    at = peers < at ? peers : at;
    if (node->dirty)
        at = node_now(node);
    (void)aq_loop_timer(node->loop, at, on_timer, node); /* the node has its place from the start */
}
