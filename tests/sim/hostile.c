/* hostile.c -- the scripted peer of hostile.h: handshake, sealing, and reading what comes back. */
#include "tests/sim/hostile.h"
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { DATAGRAM = 65527 };

static unsigned space_of(enum packet_type type)
{
    return type == PACKET_INITIAL ? 0 : type == PACKET_HANDSHAKE ? 1 : 2;
}

static enum level level_of(enum packet_type type)
{
    return type == PACKET_INITIAL     ? LEVEL_INITIAL
           : type == PACKET_HANDSHAKE ? LEVEL_HANDSHAKE
           : type == PACKET_ZERO_RTT  ? LEVEL_EARLY
                                      : LEVEL_APP;
}

/* ---- TLS of the peers: the simulation's, or one with another protocol name --------------------------- */

static struct aq_tls *own_tls[2];

static struct aq_tls *tls_with_alpn(bool server, const char *alpn)
{
    struct aq_tls_config config;
    char error[256];

    aq_tls_free(own_tls[server]);
    aq_tls_config_init(&config);
    config.server = server;
    config.self_signed = AQ_KEY_ED25519;
    config.verify = AQ_VERIFY_NONE;
    config.alpn = &alpn;
    config.alpn_count = 1;
    config.unix_s = SIM_UNIX_S;
    own_tls[server] = aq_tls_new(&config, error, sizeof error);
    return own_tls[server];
}

void hostile_tls_free(void)
{
    for (unsigned i = 0; i < 2; i++) {
        aq_tls_free(own_tls[i]);
        own_tls[i] = NULL;
    }
}

static int on_secret(void *arg, enum level level, bool write, const struct secret *secret)
{
    struct hostile *peer = arg;

    if (write)
        schedule_keys(QUIC_V1, secret, &peer->write[level], &peer->write_hp[level]);
    else
        schedule_keys(QUIC_V1, secret, &peer->read[level], &peer->read_hp[level]);
    if (level == LEVEL_APP)
        *(write ? &peer->write_secret : &peer->read_secret) = *secret;
    return AQ_OK;
}

static int on_data(void *arg, enum level level, const uint8_t *data, size_t size)
{
    struct hostile *peer = arg;
    struct hostile_hand *hand = &peer->hand[level];

    if (size > sizeof hand->out - hand->out_size)
        return AQ_INTERNAL_ERROR;
    memcpy(hand->out + hand->out_size, data, size);
    hand->out_size += size;
    return AQ_OK;
}

static void on_ticket(void *arg, const uint8_t *ticket, size_t size)
{
    (void)arg;
    (void)ticket;
    (void)size;
}

static void *conn_user(void *arg)
{
    (void)arg;
    return NULL;
}

static const struct tls_sink sink = {on_secret, on_data, on_ticket, conn_user, NULL, NULL};

static void keys_initial(struct hostile *peer)
{
    struct secret client, server;

    schedule_initial(QUIC_V1, peer->original.bytes, peer->original.size, &client, &server);
    on_secret(peer, LEVEL_INITIAL, true, peer->config.server ? &server : &client);
    on_secret(peer, LEVEL_INITIAL, false, peer->config.server ? &client : &server);
}

static bool tls_begin(struct hostile *peer)
{
    uint8_t encoded[1024];
    struct params *p = &peer->params;
    struct tls_start start = {.shared = peer->shared, .server = peer->config.server, .params = encoded};

    params_init(p);
    p->initial_scid = peer->own;
    params_set(p, PARAM_INITIAL_SCID);
    if (peer->config.server) {
        p->original_dcid = peer->original;
        params_set(p, PARAM_ORIGINAL_DCID);
    } else {
        start.server_name = "sim.example";
    }
    p->max_data = p->max_stream_data_bidi_local = p->max_stream_data_bidi_remote = 1 << 20;
    p->max_stream_data_uni = 1 << 20;
    p->max_streams_bidi = p->max_streams_uni = 16;
    p->active_cid_limit = 4;
    params_set(p, PARAM_MAX_DATA);
    params_set(p, PARAM_MAX_STREAM_DATA_BIDI_LOCAL);
    params_set(p, PARAM_MAX_STREAM_DATA_BIDI_REMOTE);
    params_set(p, PARAM_MAX_STREAM_DATA_UNI);
    params_set(p, PARAM_MAX_STREAMS_BIDI);
    params_set(p, PARAM_MAX_STREAMS_UNI);
    params_set(p, PARAM_ACTIVE_CID_LIMIT);
    if (peer->config.params)
        peer->config.params(p, peer);
    start.params_size = params_encode(p, 0, encoded, sizeof encoded);
    if (peer->config.extra_size <= sizeof encoded - start.params_size) {
        if (peer->config.extra_size)
            memcpy(encoded + start.params_size, peer->config.extra, peer->config.extra_size);
        start.params_size += peer->config.extra_size;
    }
    return tls_start(&peer->tls, &start, &sink, peer) == AQ_OK;
}

/* ---- from the victim ------------------------------------------------------------------------------------- */

static void frame_see(struct hostile *peer, enum packet_type type, const struct frame *f)
{
    uint64_t base = f->type >= FRAME_STREAM && f->type < FRAME_MAX_DATA ? FRAME_STREAM : f->type;
    struct hostile_hand *hand = &peer->hand[level_of(type)];

    if (base < 256)
        peer->frames_seen[base]++;
    if (base == FRAME_CRYPTO && f->crypto.offset <= hand->in_offset &&
        f->crypto.offset + f->crypto.size > hand->in_offset) {
        uint64_t skip = hand->in_offset - f->crypto.offset;
        hand->in_offset += f->crypto.size - skip;
        if (peer->tls.ssl)
            tls_input(&peer->tls, level_of(type), f->crypto.data + skip, (size_t)(f->crypto.size - skip));
    } else if (base == FRAME_HANDSHAKE_DONE) {
        peer->done_seen = true;
    } else if (base == FRAME_PATH_RESPONSE) {
        memcpy(&peer->response[0], f->path.data, 8);
    } else if (base == FRAME_NEW_CONNECTION_ID) {
        peer->response[1] = f->new_cid.seq;
    } else if (base == FRAME_ACK || base == FRAME_ACK_ECN) {
        peer->last_ack = f->ack;
        peer->last_ack.ranges = NULL;
    } else if ((base == FRAME_CONNECTION_CLOSE || base == FRAME_CONNECTION_CLOSE_APP) && !peer->close.seen) {
        peer->close.seen = true;
        peer->close.application = base == FRAME_CONNECTION_CLOSE_APP;
        peer->close.code = f->close.code;
        peer->close.frame_type = peer->close.application ? 0 : f->close.frame_type;
        size_t n = f->close.reason_size < sizeof peer->close.reason - 1 ? (size_t)f->close.reason_size
                                                                       : sizeof peer->close.reason - 1;
        memcpy(peer->close.reason, f->close.reason, n);
    }
    if (peer->on_frame)
        peer->on_frame(peer, type, f);
}

static void frames_read(struct hostile *peer, enum packet_type type, const uint8_t *data, size_t size)
{
    struct reader r = reader_make(data, size);

    if (!size) {
        fprintf(stderr, "hostile: the victim sent a packet without frames (RFC 9000 §12.4)\n");
        abort();
    }
    while (reader_left(&r)) {
        struct frame f;
        const uint8_t *before = r.p;
        if (frame_decode(&r, &f) != AQ_OK || r.p == before) {
            fprintf(stderr, "hostile: the victim sent a frame that cannot be read\n");
            abort();
        }
        /* RFC 9000 §12.5: whatever the victim is driven to, its frames stand where they may. */
        uint8_t in = type == PACKET_INITIAL ? IN_I : type == PACKET_HANDSHAKE ? IN_H : IN_1;
        if (frame_allowed(f.type, in, peer->config.server ? BY_CLIENT : BY_SERVER) != AQ_OK) {
            fprintf(stderr, "hostile: the victim sent frame type %llx where it must not\n",
                    (unsigned long long)f.type);
            abort();
        }
        frame_see(peer, type, &f);
    }
}

/* A client chooses keys and ids by the first packet it sends; a server's peer learns them here. */
static void first_packet(struct hostile *peer, const struct packet_head *head)
{
    if (!peer->config.server || peer->original.size)
        return;
    peer->original = head->dcid;
    peer->other = head->scid;
    keys_initial(peer);
    if (!tls_begin(peer))
        fprintf(stderr, "hostile: TLS does not begin\n");
}

static bool packet_read(struct hostile *peer, uint8_t *data, const struct packet_head *head)
{
    enum level level = level_of(head->type);
    struct hostile_space *space = &peer->space[space_of(head->type)];
    struct sealed s = {.data = data, .size = (uint32_t)head->size, .pn_offset = (uint16_t)head->pn_offset};
    struct aead_key *key = &peer->read[level];

    if (head->type > PACKET_ONE_RTT || head->type == PACKET_RETRY || !key->set)
        return false;
    protect_unmask(&peer->read_hp[level], &s, 1);
    if (!s.ok)
        return false;
    s.number = packet_number_decode(s.number, s.pn_size, space->received);
    if (level == LEVEL_APP && peer->next_read.set && (data[0] & 4) != 0 && peer->phase)
        key = &peer->next_read;
    protect_open(key, &s, 1);
    if (!s.ok)
        return false;
    /* RFC 9000 §12.3: all packets come, in their order, so each number is higher than the one before; RFC 9000
     * §17.2, §17.3.1: reserved bits are 0. */
    if (s.number < space->received || (data[0] & (data[0] & 0x80 ? 0x0c : 0x18))) {
        fprintf(stderr, "hostile: the victim sent packet number %llu again, or reserved bits\n",
                (unsigned long long)s.number);
        abort();
    }
    space->received = s.number + 1;
    if (head->type == PACKET_INITIAL && !peer->config.server)
        peer->other = head->scid;
    size_t begin = s.pn_offset + s.pn_size;
    frames_read(peer, head->type, data + begin, s.size - AEAD_TAG_SIZE - begin);
    return true;
}

static void datagram_read(struct hostile *peer, uint8_t *data, size_t size)
{
    struct packet_head head;

    peer->datagrams++;
    peer->bytes += size;
    while (size && packet_parse_greased(data, size, peer->own.size, &head) == AQ_OK && head.size) {
        if (head.type == PACKET_INITIAL)
            first_packet(peer, &head);
        if (!packet_read(peer, data, &head))
            peer->unread++;
        data += head.size;
        size -= head.size;
    }
}

static void victim_events(struct hostile *peer)
{
    struct aq_event event;

    while (aq_next_event(peer->ep, &event)) {
        if (event.kind == AQ_EVENT_ACCEPTED) {
            peer->conn = event.conn;
        } else if (event.kind == AQ_EVENT_CONNECTED) {
            peer->victim_connected = true;
        } else if (event.kind == AQ_EVENT_CLOSED && event.conn == peer->conn) {
            peer->victim_closed = true;
            peer->victim_close.size = sizeof peer->victim_close;
            aq_conn_close_info(peer->ep, event.conn, &peer->victim_close);
        }
    }
}

/* The victim's turn: timers, events, and all it wants to send. */
static void victim_turn(struct hostile *peer)
{
    struct aq_train trains[8];
    unsigned n;

    if (aq_deadline(peer->ep) <= peer->now_us)
        aq_tick(peer->ep, peer->now_us);
    victim_events(peer);
    do {
        n = aq_send(peer->ep, trains, 8, peer->now_us);
        for (unsigned i = 0; i < n; i++) {
            peer->sent_to = trains[i].remote;
            uint8_t *copy = malloc(trains[i].size);
            if (!copy)
                abort();
            memcpy(copy, trains[i].data, trains[i].size);
            for (uint32_t at = 0; at < trains[i].size; at += trains[i].segment)
                datagram_read(peer, copy + at,
                              trains[i].size - at < trains[i].segment ? trains[i].size - at : trains[i].segment);
            free(copy);
        }
    } while (n > 0); /* a call gives as many trains as there are buffers for */
    victim_events(peer);
}

void hostile_wait(struct hostile *peer, uint64_t duration_us)
{
    uint64_t end = peer->now_us + duration_us;

    for (;;) {
        uint64_t deadline = aq_deadline(peer->ep);
        peer->now_us = deadline < peer->now_us ? peer->now_us : deadline < end ? deadline : end;
        victim_turn(peer);
        if (peer->now_us >= end)
            return;
        if (aq_deadline(peer->ep) <= peer->now_us)
            peer->now_us++;
    }
}

/* ---- to the victim ------------------------------------------------------------------------------------------- */

void hostile_datagram(struct hostile *peer, const uint8_t *data, size_t size)
{
    struct aq_buffer buffer;

    if (aq_recv_buffers(peer->ep, &buffer, 1) != 1 || size > buffer.size)
        abort();
    if (size)
        memcpy(buffer.data, data, size);
    struct aq_datagram d = {.data = buffer.data, .size = (uint32_t)size, .remote = peer->addr, .ttl = 60};
    if (aq_recv(peer->ep, &d, 1, peer->now_us) != AQ_OK)
        abort();
    victim_turn(peer);
}

size_t hostile_seal(struct hostile *peer, const struct hostile_packet *packet, uint8_t *out, size_t room)
{
    enum level level = level_of(packet->type);
    struct hostile_space *space = &peer->space[space_of(packet->type)];
    struct writer w = writer_make(out, room);
    struct aq_iov token = {packet->token, packet->token_size};
    uint64_t number = packet->number_set ? packet->number : space->next++;
    bool phase = packet->phase_set ? packet->phase : peer->phase;
    size_t pn_offset;

    if (!peer->write[level].set)
        return 0;
    if (packet->type == PACKET_ONE_RTT)
        pn_offset = packet_write_short(&w, &peer->other, false, phase, 4);
    else
        pn_offset = packet_write_long(&w, packet->type, QUIC_V1, &peer->other, &peer->own, &token, 4);
    packet_write_number(&w, number, 4);
    write_bytes(&w, packet->frames, packet->size);
    size_t size = (size_t)(w.p - out) + AEAD_TAG_SIZE;
    if (w.bad || size > room)
        return 0;
    if (packet->type == PACKET_INITIAL && !packet->bare && size < 1200 && room >= 1200) {
        memset(w.p, 0, 1200 - size);
        size = 1200;
    }
    if (packet->type != PACKET_ONE_RTT)
        packet_patch_length(out, pn_offset, size - pn_offset);
    out[0] |= (uint8_t)((packet->reserved & 3) << (packet->type == PACKET_ONE_RTT ? 3 : 2));
    struct sealed s = {.data = out, .number = number, .size = (uint32_t)size, .pn_offset = (uint16_t)pn_offset,
                       .pn_size = 4};
    protect_seal(packet->key ? packet->key : &peer->write[level], &peer->write_hp[level], &s, 1);
    return size;
}

bool hostile_send(struct hostile *peer, enum packet_type type, const uint8_t *frames, size_t size)
{
    uint8_t out[HOSTILE_MAX_FRAMES + 1300];
    struct hostile_packet packet = {.type = type, .frames = frames, .size = size};
    size_t n = hostile_seal(peer, &packet, out, sizeof out);

    if (n)
        hostile_datagram(peer, out, n);
    return n > 0;
}

void hostile_key_update(struct hostile *peer)
{
    schedule_next(QUIC_V1, &peer->write_secret, &peer->write_secret);
    schedule_keys(QUIC_V1, &peer->write_secret, &peer->write[LEVEL_APP], NULL);
    schedule_next(QUIC_V1, &peer->read_secret, &peer->read_secret);
    schedule_keys(QUIC_V1, &peer->read_secret, &peer->next_read, NULL);
    peer->phase = !peer->phase;
}

/* ---- the handshake ------------------------------------------------------------------------------------------------ */

/* Sends the CRYPTO bytes TLS has given for one level, in packets of about 1,000 bytes. */
static void hand_send(struct hostile *peer, enum level level, enum packet_type type)
{
    struct hostile_hand *hand = &peer->hand[level];

    while (hand->out_sent < hand->out_size) {
        uint8_t frames[1100];
        struct writer w = writer_make(frames, sizeof frames);
        size_t n = hand->out_size - hand->out_sent < 1000 ? hand->out_size - hand->out_sent : 1000;
        struct frame f = {.type = FRAME_CRYPTO,
                          .crypto = {hand->out_sent, hand->out + hand->out_sent, n}};
        frame_encode(&w, &f);
        hand->out_sent += n;
        if (!hostile_send(peer, type, frames, (size_t)(w.p - frames)))
            return;
    }
}

bool hostile_advance(struct hostile *peer, enum hostile_stage stage)
{
    bool server = peer->config.server;

    if (stage == STAGE_START || (server && stage == STAGE_INITIAL))
        return server ? peer->original.size > 0 : peer->tls.ssl != NULL;
    hand_send(peer, LEVEL_INITIAL, PACKET_INITIAL);
    if (stage == STAGE_INITIAL)
        return true;
    if (stage == STAGE_HANDSHAKE)
        return peer->write[LEVEL_HANDSHAKE].set;
    hand_send(peer, LEVEL_HANDSHAKE, PACKET_HANDSHAKE);
    if (server && peer->tls.done) {
        static const uint8_t handshake_done = FRAME_HANDSHAKE_DONE;
        hostile_send(peer, PACKET_ONE_RTT, &handshake_done, 1);
    }
    return peer->victim_connected && !peer->victim_closed && peer->tls.done && (server || peer->done_seen);
}

/* The client's side of the beginning: its ClientHello is made, by us or by the victim. */
static bool handshake_begin(struct hostile *peer)
{
    if (!peer->config.server)
        return tls_begin(peer);
    victim_turn(peer);
    return peer->original.size > 0;
}

static bool victim_start(struct hostile *peer)
{
    struct aq_config config;

    aq_config_init(&config);
    memset(config.seed, 0x11, sizeof config.seed);
    config.unix_us = SIM_UNIX_S * 1000000;
    config.max_conns = config.max_half_open = 4;
    config.max_streams = 64;
    config.recv_buffers = 4;
    config.send_trains = 2;
    config.memory_bytes = 4 << 20;
    config.conn_memory_bytes = 2 << 20;
    config.streams_bidi = config.streams_uni = 4;
    config.conn_window = config.conn_window_max = 8192;
    config.stream_window = config.stream_window_max = 4096;
    config.active_cid_limit = 4;
    config.datagram_max = 1000;
    config.datagram_queue = 4096;
    config.retry = AQ_RETRY_NEVER;
    if (!peer->config.server)
        config.tls = sim_tls_server();
    if (peer->config.config)
        peer->config.config(&config);
    peer->mem_size = aq_endpoint_size(&config);
    if (!peer->mem_size)
        return false;
    peer->mem = mmap(NULL, peer->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (peer->mem == MAP_FAILED)
        return false;
    peer->ep = aq_endpoint_init(peer->mem, peer->mem_size, &config, peer->now_us);
    if (!peer->ep || !peer->config.server)
        return peer->ep != NULL;
    struct aq_connect connect;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = peer->addr;
    return aq_connect(peer->ep, &connect, &peer->conn, peer->now_us) == AQ_OK;
}

struct hostile *hostile_new(const struct hostile_config *config)
{
    struct hostile *peer = aligned_alloc(64, (sizeof *peer + 63) / 64 * 64);

    if (!peer)
        abort();
    memset(peer, 0, sizeof *peer);
    peer->config = *config;
    peer->now_us = 1000000;
    peer->mem = MAP_FAILED;
    peer->addr = (struct aq_addr){.ip = {10, 0, 0, 66}, .port = 6666, .family = 4};
    peer->own = (struct cid){.size = config->empty_cid ? 0 : 8, .bytes = "hostile!"};
    peer->shared = config->alpn     ? tls_with_alpn(config->server, config->alpn)
                   : config->server ? sim_tls_server()
                                    : sim_tls_client();
    if (!config->server) {
        peer->original = peer->other = (struct cid){.size = 8, .bytes = "original"};
        keys_initial(peer);
    }
    if (!victim_start(peer) || !handshake_begin(peer) || !hostile_advance(peer, config->stage)) {
        fprintf(stderr, "hostile: the handshake does not reach stage %d (victim connected %d, closed %d; TLS %s)\n",
                (int)config->stage, peer->victim_connected, peer->victim_closed, peer->tls.done ? "done" : "not done");
        if (peer->close.seen)
            fprintf(stderr, "hostile: the victim closed with %llx: %s\n", (unsigned long long)peer->close.code,
                    peer->close.reason);
        hostile_free(peer);
        return NULL;
    }
    return peer;
}

void hostile_free(struct hostile *peer)
{
    tls_free(&peer->tls);
    if (peer->ep)
        aq_endpoint_close(peer->ep);
    if (peer->mem != MAP_FAILED)
        munmap(peer->mem, peer->mem_size);
    free(peer);
}
