/* nat.c -- fuzz target: what peers and bootstrap nodes tell each other (nat/message.h,
 * nat/datagram.h, nat/peer.h), and a whole bootstrap node behind it.
 *
 * The first byte chooses. Messages that are accepted are written again and read the same; a stream
 * of messages from four peers is answered by a registry, whose tables and relay stay consistent. */
#include "nat/registry.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void message(const uint8_t *data, size_t size)
{
    uint8_t first[MESSAGE_MAX], second[MESSAGE_MAX];
    struct message m, again;
    if (message_decode(data, size, &m) != MESSAGE_GOOD)
        return;
    require(size <= MESSAGE_MAX && message_size(data, size) == size);
    require(m.hint_count <= MESSAGE_HINTS && m.node_count <= MESSAGE_NODES);
    if (m.type == MESSAGE_REGISTER && m.version != MESSAGE_VERSION)
        return; /* it may lack anything */
    size_t n = message_encode(&m, first, sizeof first);
    require(n > 0 && n <= size); /* unknown fields are gone */
    require(message_decode(first, n, &again) == MESSAGE_GOOD && again.present == m.present);
    require(message_encode(&again, second, sizeof second) == n && memcmp(first, second, n) == 0);
}

static void datagram(const uint8_t *data, size_t size)
{
    static const uint8_t key[PUNCH_KEY_BYTES] = {1};
    struct punch punch;
    enum datagram_kind kind = datagram_kind(data, size);
    require(!punch_read(data, size, key, &punch)); /* nobody guesses a MAC */
    require(kind != DATAGRAM_IS_RELAY || size > RELAY_HEADER);
    require(kind == DATAGRAM_IS_QUIC || size == 0 || data[0] < 0x40);
}

static void names(const uint8_t *data, size_t size)
{
    struct peer_id room[4], id;
    struct peer_set set = {room, 0, 4};
    struct node_name name;
    const char *why, *text = (const char *)data;
    unsigned line;
    char out[AQ_PEER_ID_TEXT];
    if (peer_id_read(text, size, &id)) {
        struct peer_id back;
        require(peer_id_read(aq_peer_id_text(id.bytes, out), AQ_PEER_ID_TEXT - 1, &back));
        require(peer_id_equal(&id, &back));
    }
    if (node_name_parse(text, size, &name, &why))
        require(name.port > 0 && name.host[0] && strlen(name.host) <= HOST_MAX);
    (void)peer_set_parse(&set, text, size, &line);
    require(set.count <= 4);
}

/* Each message is preceded by one byte: who says it, and what else happens. */
static void bootstrap(const uint8_t *data, size_t size)
{
    static const uint8_t seed[32] = {1};
    static _Alignas(64) uint8_t memory[65536], relay_memory[8192];
    struct registry_config config;
    struct relay_config relay_config;
    struct registry_out out[REGISTRY_OUT];
    struct registry r;
    struct relay relay;
    struct rng rng;
    uint64_t now = 1000000;
    registry_config_init(&config);
    relay_config_init(&relay_config);
    config.max_peers = 3, config.max_requests = 4, config.buckets = 16;
    relay_config.max_pairs = 3, relay_config.max_pairs_per_peer = 2;
    require(registry_size(&config) <= sizeof memory
            && relay_size(&relay_config) <= sizeof relay_memory);
    memset(memory, 0, sizeof memory);
    memset(relay_memory, 0, sizeof relay_memory);
    rng_init(&rng, seed);
    relay_init(&relay, relay_memory, &relay_config, &rng);
    config.relay = &relay;
    registry_init(&r, memory, &config, &rng);
    while (size > 1 + MESSAGE_HEADER) {
        uint8_t how = *data++;
        size--;
        struct registry_in in = {.conn = 1 + (how & 7), .peer = {{how & 3}}, .data = data};
        in.path.remote = (struct aq_addr){.family = 4, .ip = {how & 3}, .port = 1};
        uint32_t n = message_size(data, size);
        if (n == 0 || n == UINT32_MAX || n > size)
            return;
        in.size = n;
        now += (uint64_t)(how >> 4) * 500000;
        unsigned count = registry_recv(&r, &in, out, now);
        for (unsigned i = 0; i < count; i++) {
            struct message said;
            require(message_decode(out[i].data, out[i].size, &said) == MESSAGE_GOOD);
        }
        if (how & 8)
            registry_closed(&r, in.conn);
        for (unsigned i = 0; registry_tick(&r, out, now); i++)
            require(i < config.max_requests);
        require(registry_deadline(&r) > now && r.online <= r.peers.used && r.peers.used <= 3);
        require(r.by_id.count == r.peers.used && r.by_conn.count == r.online);
        require(r.by_request.count == r.requests.used
                && relay.channels.count == 2 * relay.pairs.used);
        data += n;
        size -= n;
    }
    while (registry_tick(&r, out, now + UINT64_C(1000000000)))
        ;
    require(r.peers.used == 0 && r.requests.used == 0 && relay.pairs.used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(const uint8_t *, size_t) = {message, datagram, names, bootstrap};
    if (size > 0 && size < 65536)
        targets[data[0] & 3](data + 1, size - 1);
    return 0;
}
