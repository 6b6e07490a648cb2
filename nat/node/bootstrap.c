/* bootstrap.c -- a bootstrap node's life: limits, memory, the key, what survives a restart.
 *
 * The state is the registry's and a secret:
 *
 *     "antqbst1" | secret, 32 bytes | first 8 bytes of the SHA-256 of these | registry_save's
 *
 * With the secret kept, a packet of a connection that a killed node had is answered by a stateless
 * reset (RFC 9000 §10.3) that its peer believes: it registers again at its next packet, not after a
 * timeout. Without a state the secret is drawn from the key (secret.c): it is the same as before,
 * too, if key and port are.
 *
 * Called by programs (apps/bootstrap.c) and tests. */
#include "nat/node/bootstrap.h"
#include "nat/node/secret.h"

#include "crypto/prim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
    STATE_HEAD = 8 + BOOTSTRAP_SECRET,
    STATE_SUM = 8,
    CONNS_SPARE = 64,      /* and an eighth: to tell whoever is too much why */
    HALF_OPEN = 1024,      /* handshakes at once */
    STREAM_WINDOW = 16384, /* several messages; what a peer can have us keep */
    BUDGET_CONN = 8192,    /* bytes of shared memory, as a mean */
    BUDGET_SHARED = 64 << 20,
    PEERS_MAX = 1000000,
    PAIRS_MAX = 1000000
};

static const uint8_t magic[8] = {'a', 'n', 't', 'q', 'b', 's', 't', '1'};

void aq_bootstrap_config_init(struct aq_bootstrap_config *config)
{
    struct registry_config r;
    struct relay_config relay;
    registry_config_init(&r);
    relay_config_init(&relay);
    *config = (struct aq_bootstrap_config){
        .size = sizeof *config,
        .max_peers = r.max_peers,
        .relay_bytes_per_s = relay.bytes_per_s,
        .max_pairs = relay.max_pairs,
        .pow_bits = r.pow_bits,
        .pow_load_bits = r.pow_load_bits,
        .address_per_s = (uint32_t)(1000000 / r.address_rate.interval_us),
        .address_burst = r.address_rate.burst,
    };
}

const char *aq_bootstrap_reason(unsigned reason)
{
    _Static_assert((int)AQ_BOOTSTRAP_REASONS == (int)NAT_REASONS, "one name each");
    return nat_reason_name(reason);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static const char *config_problem(const struct aq_bootstrap_config *c)
{
    if (c->size != sizeof *c)
        return "the config was not made by aq_bootstrap_config_init of this version";
    for (unsigned i = 0; i < AQ_BOOTSTRAP_LISTEN && c->listen[i].family != 0; i++)
        if (c->listen[i].family != 4 && c->listen[i].family != 6)
            return "listen must be IPv4 or IPv6 addresses";
    if (c->key.file == NULL && c->key.pem == NULL)
        return "a bootstrap node needs a key";
    if (c->max_peers < 1 || c->max_peers > PEERS_MAX)
        return "max_peers must be 1 to 1,000,000";
    if (c->max_pairs < 1 || c->max_pairs > PAIRS_MAX)
        return "max_pairs must be 1 to 1,000,000";
    if (c->relay_bytes_per_s > UINT64_C(1) << 40)
        return "relay_bytes_per_s must be at most 2^40";
    if (c->pow_bits > POW_BITS_MAX || c->pow_load_bits > POW_BITS_MAX)
        return "pow_bits and pow_load_bits must be at most 40";
    if (c->address_per_s < 1 || c->address_per_s > 1000000 || c->address_burst < 1)
        return "address_per_s must be 1 to 1,000,000, address_burst at least 1";
    return NULL;
}

static const char *node_problem(const struct aq_bootstrap_config *c)
{
    struct node_name name;
    const char *why = NULL;
    for (unsigned i = 0; i < AQ_BOOTSTRAP_NODES && c->nodes[i] != NULL; i++)
        if (strlen(c->nodes[i]) >= NODE_TEXT
            || !node_name_parse(c->nodes[i], strlen(c->nodes[i]), &name, &why))
            return why != NULL ? why : "a bootstrap node's name is too long";
    return NULL;
}

/* ---- parts ----------------------------------------------------------------------------------- */

static size_t round_up(size_t size)
{
    return (size + 63) & ~(size_t)63;
}

static uint32_t conns_of(const struct aq_bootstrap_config *c)
{
    return c->max_peers + c->max_peers / 8 + CONNS_SPARE;
}

static void registry_limits(const struct aq_bootstrap *b, struct registry_config *r)
{
    const struct aq_bootstrap_config *c = &b->config;
    registry_config_init(r);
    r->max_peers = c->max_peers;
    r->pow_bits = c->pow_bits;
    r->pow_load_bits = c->pow_load_bits;
    r->address_rate = (struct limit_rate){1000000 / c->address_per_s, c->address_burst};
    /* A restart brings everybody back within seconds: that alone is no attack. */
    if (r->load_rate.burst < c->max_peers)
        r->load_rate.burst = c->max_peers;
    for (unsigned i = 0; i < AQ_BOOTSTRAP_NODES && c->nodes[i] != NULL; i++)
        r->nodes[i] = b->nodes[i];
}

static void relay_limits(const struct aq_bootstrap *b, struct relay_config *r)
{
    relay_config_init(r);
    r->max_pairs = b->config.max_pairs;
    r->bytes_per_s = b->config.relay_bytes_per_s;
    if (r->burst_bytes < r->bytes_per_s / 10)
        r->burst_bytes = r->bytes_per_s / 10;
}

/* Everything but the loop, in one mapping. False: no memory. */
static bool make_parts(struct aq_bootstrap *b)
{
    struct registry_config registry;
    struct relay_config relay;
    uint32_t conns = conns_of(&b->config);
    registry_limits(b, &registry);
    relay_limits(b, &relay);
    size_t sizes[] = {registry_size(&registry), relay_size(&relay),
                      pool_size(sizeof(struct boot_conn), conns), heap_size(conns),
                      b->config.allow_count * sizeof(struct peer_id)};
    uint8_t *at[5];
    b->memory_size = 0;
    for (unsigned i = 0; i < 5; i++)
        b->memory_size += round_up(sizes[i]);
    b->memory = mmap(NULL, b->memory_size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->memory == MAP_FAILED) {
        b->memory = NULL;
        return false;
    }
    at[0] = b->memory;
    for (unsigned i = 1; i < 5; i++)
        at[i] = at[i - 1] + round_up(sizes[i - 1]);
    relay_init(&b->relay, at[1], &relay, &b->rng);
    if (b->config.relay_bytes_per_s > 0)
        registry.relay = &b->relay;
    if (b->config.allow != NULL)
        registry.allow = &b->allow;
    registry_init(&b->registry, at[0], &registry, &b->rng);
    pool_init(&b->conns, at[2], sizeof(struct boot_conn), conns);
    heap_init(&b->idle, at[3], conns);
    b->allow.v = (struct peer_id *)(void *)at[4];
    b->allow.max = (uint32_t)b->config.allow_count;
    for (size_t i = 0; i < b->config.allow_count; i++) {
        struct peer_id id;
        memcpy(id.bytes, b->config.allow[i], PEER_ID_SIZE);
        (void)peer_set_add(&b->allow, &id);
    }
    return true;
}

static bool make_tls(struct aq_bootstrap *b, char *error, size_t error_size)
{
    static const char *const alpn[] = {NAT_ALPN_BOOTSTRAP};
    struct aq_tls_config config;
    aq_tls_config_init(&config);
    config.server = true;
    config.key = b->config.key;
    config.alpn = alpn;
    config.alpn_count = 1;
    config.verify = AQ_VERIFY_PEER;
    config.ask_client_certificate = true;
    config.tickets = 0;
    b->tls = aq_tls_new(&config, error, error_size);
    return b->tls != NULL && aq_tls_pin(b->tls, b->self.bytes);
}

static const struct aq_addr any[2] = {{.family = 4, .port = AQ_BOOTSTRAP_PORT},
                                      {.family = 6, .port = AQ_BOOTSTRAP_PORT}};

/* Where it is not the state's. */
static void draw_secret(struct aq_bootstrap *b)
{
    const struct aq_addr *listen = b->config.listen;
    unsigned count = 0;
    while (count < AQ_BOOTSTRAP_LISTEN && listen[count].family != 0)
        count++;
    if (b->config.state == NULL)
        (void)node_secret(b->tls, "antq bootstrap", count > 0 ? listen : any, count > 0 ? count : 2,
                          b->secret);
}

static void endpoint_limits(const struct aq_bootstrap *b, struct aq_config *c)
{
    uint32_t conns = conns_of(&b->config);
    c->tls = b->tls;
    c->max_conns = conns;
    c->max_half_open = conns < HALF_OPEN ? conns : HALF_OPEN;
    c->max_streams = conns + CONNS_SPARE;
    c->streams_bidi = 1; /* PROTOCOL §3: on one stream */
    c->streams_uni = 0;
    c->send_trains = 16;
    c->memory_bytes = BUDGET_SHARED + (uint64_t)conns * BUDGET_CONN;
    c->conn_memory_bytes = 1 << 18;
    c->conn_window = c->conn_window_max = STREAM_WINDOW;
    c->stream_window = c->stream_window_max = STREAM_WINDOW;
    c->send_buffer = BOOTSTRAP_SEND;
    c->idle_timeout_us = 60000000; /* PROTOCOL §3: a peer sends something every 25 s */
    memcpy(c->secret, b->secret, sizeof c->secret);
}

static void on_warning(void *user, const char *text)
{
    const struct aq_bootstrap *b = user;
    if (b->config.on_warning != NULL)
        b->config.on_warning(b->config.user, text);
}

static bool listen_at(struct aq_bootstrap *b, const struct aq_addr *addr, char *error,
                      size_t error_size)
{
    unsigned i = b->listen_count;
    struct aq_addr other = *addr;
    other.port = 0;
    if (aq_listen(b->loop, addr, &b->listening[i], error, error_size) != AQ_OK
        || aq_listen(b->loop, &other, &other, error, error_size) != AQ_OK)
        return false;
    b->listen_socket[i] = (uint16_t)aq_loop_socket(b->loop, &b->listening[i]);
    b->probe_socket[i] = (uint16_t)aq_loop_socket(b->loop, &other);
    b->listen_count++;
    return true;
}

/* What was asked for, all of it; or every address. */
static bool listen_all(struct aq_bootstrap *b, char *error, size_t error_size)
{
    for (unsigned i = 0; i < AQ_BOOTSTRAP_LISTEN && b->config.listen[i].family != 0; i++)
        if (!listen_at(b, &b->config.listen[i], error, error_size))
            return false;
    if (b->listen_count > 0)
        return true;
    if (!listen_at(b, &any[0], error, error_size))
        return false;
    /* A host without IPv6 is no failure; but whoever has it should know that it is not served. */
    if (!listen_at(b, &any[1], error, error_size))
        on_warning(b, error);
    return true;
}

static bool make_loop(struct aq_bootstrap *b, char *error, size_t error_size)
{
    struct aq_loop_config config;
    aq_loop_config_init(&config);
    config.on_event = bootstrap_event;
    config.on_datagrams = bootstrap_datagrams;
    config.on_warning = on_warning;
    config.user = b;
    config.close_code = NAT_SHUTTING_DOWN;
    config.no_gso = b->config.no_gso;
    config.no_gro = b->config.no_gro;
    endpoint_limits(b, &config.endpoint);
    b->loop = aq_loop_new(&config, error, error_size);
    if (b->loop == NULL)
        return false;
    b->ep = aq_loop_endpoint(b->loop);
    return listen_all(b, error, error_size);
}

/* ---- the state ------------------------------------------------------------------------------- */

size_t aq_bootstrap_save_size(const struct aq_bootstrap *b)
{
    return STATE_HEAD + STATE_SUM + registry_save_size(&b->registry);
}

static void state_sum(const uint8_t *head, uint8_t sum[STATE_SUM])
{
    uint8_t hash[32];
    prim_sha256(head, STATE_HEAD, hash);
    memcpy(sum, hash, STATE_SUM);
}

size_t aq_bootstrap_save(const struct aq_bootstrap *b, uint8_t *out, size_t size)
{
    if (size < STATE_HEAD + STATE_SUM)
        return 0;
    memcpy(out, magic, sizeof magic);
    memcpy(out + sizeof magic, b->secret, BOOTSTRAP_SECRET);
    state_sum(out, out + STATE_HEAD);
    size_t head = STATE_HEAD + STATE_SUM;
    size_t saved = registry_save(&b->registry, out + head, size - head, aq_loop_now(b->loop));
    return saved > 0 ? head + saved : 0;
}

/* The secret of the state, or a new one. */
static bool find_secret(struct aq_bootstrap *b, char *error, size_t error_size)
{
    const uint8_t *state = b->config.state;
    uint8_t sum[STATE_SUM], seed[32];
    if (getrandom(b->secret, sizeof b->secret, 0) != (ssize_t)sizeof b->secret
        || getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        (void)snprintf(error, error_size, "the kernel gives no random bytes: %s", strerror(errno));
        return false;
    }
    rng_init(&b->rng, seed);
    explicit_bzero(seed, sizeof seed);
    if (state == NULL)
        return true;
    if (b->config.state_size >= STATE_HEAD + STATE_SUM) {
        state_sum(state, sum);
        if (memcmp(state, magic, sizeof magic) == 0
            && memcmp(sum, state + STATE_HEAD, STATE_SUM) == 0) {
            memcpy(b->secret, state + sizeof magic, BOOTSTRAP_SECRET);
            return true;
        }
    }
    (void)snprintf(error, error_size, "the state is damaged, or is none of a bootstrap node's");
    return false;
}

static bool restore(struct aq_bootstrap *b, char *error, size_t error_size)
{
    size_t head = STATE_HEAD + STATE_SUM;
    if (b->config.state == NULL
        || registry_restore(&b->registry, b->config.state + head, b->config.state_size - head,
                            aq_loop_clock(b->loop)))
        return true;
    (void)snprintf(error, error_size, "the state is damaged, or has more than %u peers",
                   b->config.max_peers);
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool open_all(struct aq_bootstrap *b, char *error, size_t error_size)
{
    if (!find_secret(b, error, error_size))
        return false;
    if (!make_parts(b)) {
        (void)snprintf(error, error_size, "not enough memory for %u peers", b->config.max_peers);
        return false;
    }
    if (!make_tls(b, error, error_size))
        return false;
    draw_secret(b);
    return make_loop(b, error, error_size) && restore(b, error, error_size);
}

struct aq_bootstrap *aq_bootstrap_new(const struct aq_bootstrap_config *config, char *error,
                                      size_t error_size)
{
    const char *problem = config_problem(config);
    if (problem == NULL)
        problem = node_problem(config);
    struct aq_bootstrap *b = problem == NULL ? calloc(1, sizeof *b) : NULL;
    if (b == NULL) {
        (void)snprintf(error, error_size, "%s", problem != NULL ? problem : "out of memory");
        return NULL;
    }
    b->config = *config;
    b->armed_us = AQ_NEVER;
    for (unsigned i = 0; i < AQ_BOOTSTRAP_NODES && config->nodes[i] != NULL; i++)
        (void)snprintf(b->nodes[i], sizeof b->nodes[i], "%s", config->nodes[i]);
    if (!open_all(b, error, error_size)) {
        aq_bootstrap_free(b);
        return NULL;
    }
    /* The caller's, from here on. */
    b->config.allow = NULL;
    b->config.state = NULL;
    bootstrap_arm(b);
    bootstrap_wake(b);
    return b;
}

void aq_bootstrap_free(struct aq_bootstrap *b)
{
    if (b == NULL)
        return;
    aq_loop_free(b->loop);
    aq_tls_free(b->tls);
    if (b->memory != NULL)
        (void)munmap(b->memory, b->memory_size);
    explicit_bzero(b, sizeof *b);
    free(b);
}

struct aq_loop *aq_bootstrap_loop(struct aq_bootstrap *b)
{
    return b->loop;
}

void aq_bootstrap_self(const struct aq_bootstrap *b, struct aq_addr *listening, uint8_t peer_id[32])
{
    *listening = b->listening[0];
    memcpy(peer_id, b->self.bytes, PEER_ID_SIZE);
}

unsigned aq_bootstrap_listening(const struct aq_bootstrap *b, struct aq_addr *addrs, unsigned max)
{
    for (unsigned i = 0; i < b->listen_count && i < max; i++)
        addrs[i] = b->listening[i];
    return b->listen_count;
}

static void end_loop(void *user)
{
    struct aq_bootstrap *b = user;
    aq_loop_stop(b->loop);
}

void aq_bootstrap_stop(struct aq_bootstrap *b)
{
    if (b->stopping)
        return;
    (void)aq_loop_clock(b->loop); /* it may be called between turns */
    b->stopping = true;
    b->registry.shutting_down = true;
    bootstrap_farewell(b);
    (void)aq_loop_timer(b->loop, aq_loop_now(b->loop) + BOOTSTRAP_BYE_US, end_loop, b);
}

void aq_bootstrap_stats(const struct aq_bootstrap *b, struct aq_bootstrap_stats *stats)
{
    struct aq_bootstrap_stats all = b->stats;
    size_t size = stats->size < sizeof all ? stats->size : sizeof all;
    all.size = size;
    all.connections = b->conns.used;
    all.peers = b->registry.online;
    all.pairs = b->relay.pairs.used;
    all.probes = b->registry.probes;
    memcpy(all.registered, b->registry.registered, sizeof all.registered);
    memcpy(all.coordinated, b->registry.coordinated, sizeof all.coordinated);
    all.peer_bytes = b->memory_size / b->config.max_peers;
    memcpy(stats, &all, size);
}
