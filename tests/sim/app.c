/* app.c -- how a scenario is played: two hosts, a connection, disturbances, the end (app.h). */
#include "tests/sim/check.h"
#include "tests/sim/side.h"

#include <stdlib.h>
#include <string.h>

/* ---- playing a scenario ------------------------------------------------------------------------------------ */

static void config_fill(const struct scenario *row, struct aq_config *config)
{
    aq_config_init(config);
    config->max_conns = 8;
    config->max_half_open = 8;
    config->max_streams = 1024;
    config->recv_buffers = 8;
    config->send_trains = 2;
    config->memory_bytes = 16 << 20;
    config->conn_memory_bytes = 8 << 20;
    config->trace_events = 4096;
    config->idle_timeout_us = row->idle_timeout_us ? row->idle_timeout_us : UINT64_C(1800000000);
    config->handshake_timeout_us = row->handshake_timeout_us ? row->handshake_timeout_us : UINT64_C(1800000000);
    config->keep_alive_us = row->keep_alive_us;
    if (row->window) {
        config->conn_window = 2 * row->window;
        config->stream_window = row->window;
        config->conn_window_max = config->stream_window_max = 16 * row->window;
    }
    if (row->max_streams)
        config->streams_bidi = config->streams_uni = row->max_streams;
    if (row->max_udp_payload)
        config->max_udp_payload = row->max_udp_payload;
    config->fixed_mtu = row->fixed_mtu;
    config->cc = row->cc;
    config->key_update_packets = row->key_update_packets;
    config->datagram_drop_oldest = row->datagram_drop_oldest;
    if (row->datagram_queue)
        config->datagram_queue = row->datagram_queue;
}

/* What each side has for itself. */
static void config_of_side(const struct scenario *row, bool client, struct aq_config *config)
{
    config->datagram_max = row->datagram_max[!client];
    config->no_ecn = row->no_ecn[!client];
    if (row->versions[!client][0])
        memcpy(config->versions, row->versions[!client], sizeof config->versions);
}

/* The server's second address. Hosts get theirs in turn, the server the second one. */
static void preferred_address(const struct play *play, struct aq_config *config)
{
    struct aq_addr *a = play->row->seed % 2 ? &config->preferred6 : &config->preferred4;

    sim_address(play->sim, 1, 1, a);
}

static void side_start(struct play *play, struct side *side, bool client)
{
    struct aq_config config;

    config_fill(play->row, &config);
    config_of_side(play->row, client, &config);
    if (!client) {
        config.tls = play->row->hello_retry ? sim_tls_server_hello_retry() : sim_tls_server();
        config.retry = play->row->retry ? AQ_RETRY_ALWAYS : AQ_RETRY_UNDER_LOAD;
        config.no_migration = play->row->no_migration;
        if (play->row->preferred)
            preferred_address(play, &config);
    }
    side->play = play;
    side->client = client;
    side->flows = calloc(FLOWS, sizeof *side->flows);
    if (!side->flows)
        abort();
    sim_rng_init(&side->rng, play->row->seed * 2 + client);
    side->host = sim_host_add(play->sim, &config);
    if (!side->host)
        return;
    side->host->server = !client;
    side->host->keep_old = play->row->keep_old;
    side->host->late_us = play->row->late_us;
    if (!client && play->row->preferred)
        sim_own_add(side->host);
    side->host->on_event = side_event;
    side->host->on_wake = side_wake;
    side->host->user = side;
}

static void play_connect(struct play *play)
{
    struct side *client = &play->client;
    struct aq_connect connect;

    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = play->server.host->addr;
    connect.server_name = "sim.example";
    connect.user = client;
    connect.version = play->round ? 0 : play->row->version;
    connect.early_data = play->row->early && play->round;
    if (client->ticket_size) {
        connect.ticket = client->ticket;
        connect.ticket_size = client->ticket_size;
    }
    if (client->token_size) {
        connect.token = client->token;
        connect.token_size = client->token_size;
    }
    int result = aq_connect(client->host->ep, &connect, &client->conn, sim_now(client->host));
    if (result != AQ_OK) {
        sim_fail(play->sim, "aq_connect: %d", result);
        return;
    }
    check_connected(client->host, client->conn);
    sim_kick(client->host);
}

static bool play_delivered(const struct play *play)
{
    unsigned want = play->row->streams + 2 * play->row->streams_uni;

    return play->client.confirmed && play->client.closed_flows == want &&
           play->server.closed_flows == want;
}

static uint64_t elapsed(const struct play *play)
{
    return play->sim->now_us - play->sim->start_us;
}

/* The disturbances of a row, each once, by how much was delivered. */
static void play_disturb(struct play *play, unsigned *done)
{
    const struct scenario *row = play->row;
    uint64_t bytes = play->client.delivered_bytes + play->server.delivered_bytes;

    if (!(*done & 1) && bytes > row->bytes / 4) {
        *done |= 1;
        if (row->clock_step_us)
            sim_clock_step(play->client.host, row->clock_step_us);
        if (row->suspend_us)
            sim_suspend(play->server.host, row->suspend_us);
    }
    if (!(*done & 2) && bytes > row->bytes / 2) {
        *done |= 2;
        if (row->clock_step_us)
            sim_clock_step(play->server.host, row->clock_step_us / 3);
        if (row->key_update_packets && play->client.confirmed)
            aq_key_update(play->client.host->ep, play->client.conn, sim_now(play->client.host));
        sim_kick(play->client.host);
    }
}

/* RFC 9000 §9: an address has to stay until the handshake is confirmed. */
static void play_addresses_stay(struct play *play)
{
    play->client.host->rebind_us = 0;
    play->client.host->rebind_every = 0;
}

/* Changes of address, as often as the row says. */
static void play_paths(struct play *play)
{
    const struct scenario *row = play->row;
    struct sim_host *host = play->client.host;
    uint64_t now = play->sim->now_us;

    play_addresses_stay(play);
    if (!play->client.confirmed || !play->server.confirmed)
        return;
    host->rebind_every = row->rebind_every;
    host->rebind_us = row->rebind_us;
    host->rebind_address = row->rebind_address;
    if (row->migrate_us && now >= play->migrate_at_us) {
        play->migrate_at_us = now + row->migrate_us;
        uint16_t socket = host->owns < SIM_OWN ? sim_own_add(host)
                                               : (uint16_t)(1 + sim_rng_below(&play->sim->rng, SIM_OWN - 1));
        struct aq_path_addr to = {.local = host->own[socket], .socket = socket};
        int result = aq_conn_migrate(host->ep, play->client.conn, &to, sim_now(host));
        play->refusals += result != AQ_OK;
        if ((result == AQ_BLOCKED && !row->preferred) || (result == AQ_REFUSED && !row->no_migration))
            sim_fail(play->sim, "aq_conn_migrate: %d", result);
        sim_kick(host);
    }
}

static void link_cut(struct play *play)
{
    for (unsigned i = 0; i < 2; i++)
        play->sim->line[i][1 - i].link.cut = true;
}

static void side_close(struct side *side, uint64_t code)
{
    int result = aq_close(side->host->ep, side->conn, code, "that is all", sim_now(side->host));

    if (result != AQ_OK && !side->closed)
        sim_fail(side->play->sim, "aq_close: %d", result);
    sim_kick(side->host);
}

static void play_close(struct play *play)
{
    enum close_kind kind = play->row->close;

    if (kind <= CLOSE_BY_IDLE)
        judge_end(play);
    way_replay(play);
    play->closing = true;
    if (kind == CLOSE_BY_CLIENT || kind == CLOSE_BY_BOTH || kind == CLOSE_EARLY)
        side_close(&play->client, kind == CLOSE_EARLY ? CODE_EARLY : CODE_DONE);
    if (kind == CLOSE_BY_SERVER || kind == CLOSE_BY_BOTH)
        side_close(&play->server, CODE_DONE);
    if (kind == CLOSE_VANISH)
        link_cut(play);
    if (kind == CLOSE_REBOOT) {
        play->server.closed = true; /* nobody will say so */
        for (unsigned i = 0; i < play->server.count; i++)
            play->server.flows[i].live = false;
        sim_host_reboot(play->server.host);
    }
}

/* What a side still waits for, for the words of a failure. */
static const char *side_open_flow(const struct side *side, char out[160])
{
    out[0] = 0;
    for (unsigned i = 0; i < side->count; i++) {
        const struct flow *f = &side->flows[i];
        if (f->closed)
            continue;
        snprintf(out, 160, "; %s stream %llu: sent %llu of %llu%s, acknowledged %llu, read %llu of %llu%s",
                 side->client ? "client's" : "server's", (unsigned long long)f->id, (unsigned long long)f->sent,
                 (unsigned long long)f->send_size, f->fin_sent ? " and end" : "",
                 (unsigned long long)f->released, (unsigned long long)f->received,
                 (unsigned long long)f->recv_size, f->fin_seen ? " and end" : "");
        break;
    }
    return out;
}

/* Each side must have been told its end in words that fit what was done. A CONNECTION_CLOSE may be lost,
 * then the other side times out, or learns of it from a stateless reset. */
static void close_judge(const struct play *play, const struct side *side)
{
    enum close_kind kind = play->row->close;
    const struct aq_close_info *c = &side->close;
    bool ours = c->by == AQ_BY_US, peer = c->by == AQ_BY_PEER, timeout = c->by == AQ_BY_TIMEOUT,
         reset = c->by == AQ_BY_RESET;
    uint64_t code = kind == CLOSE_EARLY ? CODE_EARLY : CODE_DONE;
    bool active = side->client ? kind == CLOSE_BY_CLIENT || kind == CLOSE_EARLY : kind == CLOSE_BY_SERVER;
    bool good;

    if (play->row->expect == EXPECT_TIMEOUT || kind == CLOSE_BY_IDLE || kind == CLOSE_VANISH)
        good = timeout || (ours && !c->application && play->row->expect == EXPECT_TIMEOUT);
    else if (play->row->expect == EXPECT_REFUSED)
        good = !c->application && c->code == AQ_CONNECTION_REFUSED && (side->client ? peer : ours);
    else if (kind == CLOSE_REBOOT)
        good = !side->client || reset || timeout;
    else if (active)
        good = ours && c->application && c->code == code;
    else if (kind == CLOSE_BY_BOTH)
        good = reset || ((ours || peer) && c->application && c->code == code);
    else
        good = timeout || reset || (peer && c->application && c->code == code);
    char open[2][160];
    if (!good)
        sim_fail(play->sim, "%s closed by %d, %s code %llx, frame %llx, '%s' at %s%s%s",
                 side->client ? "client" : "server", (int)c->by, c->application ? "application" : "transport",
                 (unsigned long long)c->code, (unsigned long long)c->frame_type, c->reason,
                 c->where ? c->where : "the peer", side_open_flow(&play->client, open[0]),
                 side_open_flow(&play->server, open[1]));
}

static bool host_idle(struct sim_host *host)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    aq_endpoint_stats(host->ep, &stats);
    return stats.conns == 0;
}

/* One connection from its first datagram to its last timer. */
static void play_round(struct play *play, struct outcome *outcome)
{
    const struct scenario *row = play->row;
    struct sim *sim = play->sim;
    uint64_t limit = sim->now_us + UINT64_C(7200000000);
    unsigned disturbed = 0;
    uint64_t begin = play->began_us = sim->now_us;

    play_addresses_stay(play);
    play_connect(play);
    while (!play->closing && sim_step(sim, limit)) {
        uint64_t bytes = play->client.delivered_bytes + play->server.delivered_bytes;
        bool half = row->close == CLOSE_EARLY || row->close == CLOSE_VANISH || row->close == CLOSE_REBOOT;
        play_disturb(play, &disturbed);
        play_paths(play);
        way_turn(play);
        if (play->client.closed || (play->server.closed && row->expect != EXPECT_DELIVERED))
            play->closing = true;
        else if (half ? play->client.confirmed && bytes >= row->bytes / 2 : play_delivered(play))
            play_close(play);
    }
    char open[2][160];
    if (!play->closing)
        sim_fail(sim, "stuck: %u of %u streams closed at the client, %u at the server, connected %d %d%s%s",
                 play->client.closed_flows, row->streams + 2 * row->streams_uni, play->server.closed_flows,
                 play->client.connected, play->server.connected, side_open_flow(&play->client, open[0]),
                 side_open_flow(&play->server, open[1]));
    outcome->transfer_us += sim->now_us - begin;
    bool replayed = false;
    while (!(host_idle(play->client.host) && host_idle(play->server.host) &&
             (play->client.closed || sim->failed)) &&
           sim_step(sim, limit)) {
        if (replayed || !play->client.closed || !play->server.closed)
            continue;
        replayed = true;
        way_replay(play);
    }
    sim_step(sim, sim->now_us);
    if (!play->client.closed)
        sim_fail(sim, "the client's connection never ended");
    close_judge(play, &play->client);
    if (play->server.conn && row->close != CLOSE_REBOOT) {
        if (!play->server.closed)
            sim_fail(sim, "the server's connection never ended");
        close_judge(play, &play->server);
    }
    if (!sim->failed) {
        check_empty(play->client.host);
        check_empty(play->server.host);
    }
}

/* Between two connections: a server that has begun anew takes no 0-RTT of tickets from before. */
static void play_server_anew(const struct play *play)
{
    struct sim_host *server = play->server.host;
    struct aq_config *config = &server->config;

    if (play->row->early == EARLY_SMALLER) {
        config->conn_window = config->conn_window / 2 + 1;
        config->stream_window = config->stream_window / 3 + 1;
    }
    if (play->row->early == EARLY_SMALLER || play->row->early == EARLY_REJECTED)
        sim_host_reboot(server);
}

void scenario_run(const struct scenario *row, FILE *trace, struct outcome *outcome,
                  void (*on_sim)(struct sim *sim, void *user), void *user)
{
    struct play *play = calloc(1, sizeof *play);

    if (!play)
        abort();
    *outcome = (struct outcome){0};
    play->row = row;
    play->sim = sim_new(row->seed, trace);
    struct sim *sim = play->sim;
    play->client.peer = &play->server;
    play->server.peer = &play->client;
    side_start(play, &play->client, true);
    side_start(play, &play->server, false);
    way_begin(play);
    sim->paths_free = true;
    if (on_sim)
        on_sim(sim, user);
    if (!sim->failed)
        play_round(play, outcome);
    if (row->again && !sim->failed) {
        outcome->delivered_bytes = play->client.delivered_bytes + play->server.delivered_bytes;
        side_again(&play->client);
        side_again(&play->server);
        play->client.host->own[0].port = ++play->client.host->addr.port;
        play_server_anew(play);
        play->closing = false;
        play->round = 1;
        play_round(play, outcome);
    }
    outcome->total_us = elapsed(play);
    outcome->delivered_bytes += play->client.delivered_bytes + play->server.delivered_bytes;
    outcome->client_closed_by = play->client.close.by;
    outcome->moves = play->client.path_moved;
    outcome->peer_moves = play->server.path_peer_moved;
    outcome->refusals = play->refusals + play->client.path_failed;
    outcome->datagrams = sim->datagrams;
    outcome->dropped = sim->dropped;
    outcome->bytes = sim->bytes;
    outcome->amplification_permille = sim->check->highest_ratio_permille;
    outcome->features = play->features;
    outcome->confirmed_us = play->confirmed_us ? play->confirmed_us - sim->start_us : 0;
    outcome->hash = sim_hash(sim);
    outcome->ok = !sim->failed;
    memcpy(outcome->why, sim->why, sizeof outcome->why);
    side_again(&play->client);
    side_again(&play->server);
    way_end(play);
    sim_free(sim);
    free(play->client.flows);
    free(play->server.flows);
    free(play);
}
