/* flows.c -- see flows.h. */
#include "tests/sim/flows.h"
#include "tests/sim/check.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 65536, SAMPLE_US = 10000, CHANGE_US = 100000 };

struct flow {
    aq_conn conn;
    aq_stream stream;
    bool open;
    uint64_t allowed; /* bytes the application has to send */
    uint64_t arrived, samples, rtt_sum_us;
};

struct world {
    const struct flows *row;
    struct sim *sim;
    struct sim_host *client, *server;
    struct flow flow[FLOWS_MAX];
    struct flows_outcome *outcome;
    bool measuring;
};

static uint8_t payload[CHUNK];

static void flow_write(struct world *w, struct flow *f)
{
    while (f->open && f->allowed > 0) {
        struct aq_iov iov = {payload, f->allowed < CHUNK ? (size_t)f->allowed : CHUNK};
        int64_t taken = aq_stream_write(w->client->ep, f->stream, &iov, 1, AQ_REF);
        if (taken < 0) {
            sim_fail(w->sim, "write says %lld", (long long)taken);
            return;
        }
        if (w->row->pause_us)
            f->allowed -= (uint64_t)taken;
        if ((size_t)taken < iov.size)
            return;
    }
}

static void client_event(struct sim_host *host, const struct aq_event *event)
{
    struct world *w = host->user;

    for (unsigned i = 0; i < w->row->count; i++) {
        struct flow *f = &w->flow[i];
        if (!f->conn || f->conn != event->conn)
            continue;
        if (event->kind == AQ_EVENT_CONNECTED) {
            int result = aq_stream_open(host->ep, f->conn, true, f, &f->stream);
            if (result != AQ_OK)
                sim_fail(w->sim, "opening a stream: %d", result);
            f->open = result == AQ_OK;
        }
        if (event->kind == AQ_EVENT_CLOSED)
            sim_fail(w->sim, "flow %u was closed", i);
        flow_write(w, f);
    }
}

static void server_event(struct sim_host *host, const struct aq_event *event)
{
    bool fin = false;

    if (event->kind != AQ_EVENT_OPENED && event->kind != AQ_EVENT_READABLE)
        return;
    for (;;) {
        struct aq_iov iov[16];
        uint64_t size = 0;
        int n = aq_stream_peek(host->ep, event->stream, iov, 16, &fin);
        for (int i = 0; i < n; i++)
            size += iov[i].size;
        if (size == 0 || aq_stream_consume(host->ep, event->stream, size) != AQ_OK)
            return;
    }
}

static struct sim_host *host_start(struct world *w, bool server)
{
    struct aq_config config;

    aq_config_init(&config);
    config.max_conns = config.max_half_open = 8;
    config.max_streams = 64;
    config.recv_buffers = 8;
    config.send_trains = 4;
    config.memory_bytes = 64 << 20;
    config.conn_window = config.stream_window = 8 << 20;
    if (w->row->max_udp_payload)
        config.max_udp_payload = w->row->max_udp_payload;
    if (w->row->mtu_raise_us)
        config.mtu_raise_us = w->row->mtu_raise_us;
    if (server)
        config.tls = sim_tls_server();
    struct sim_host *host = sim_host_add(w->sim, &config);
    if (!host)
        return NULL;
    host->server = server;
    host->on_event = server ? server_event : client_event;
    host->user = w;
    return host;
}

static void flow_begin(struct world *w, unsigned index)
{
    struct aq_connect connect;

    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = w->server->addr;
    connect.server_name = "sim.example";
    connect.cc = w->row->cc[index];
    int result = aq_connect(w->client->ep, &connect, &w->flow[index].conn, sim_now(w->client));
    if (result != AQ_OK)
        sim_fail(w->sim, "aq_connect: %d", result);
    else
        check_connected(w->client, w->flow[index].conn);
    sim_kick(w->client);
}

static uint64_t flow_arrived(struct world *w, const struct flow *f)
{
    int64_t released = f->open ? aq_stream_released(w->client->ep, f->stream) : 0;
    return released > 0 ? (uint64_t)released : 0;
}

static void flow_sample(struct world *w, unsigned index, uint64_t at_us)
{
    struct flow *f = &w->flow[index];
    struct flow_result *result = &w->outcome->flow[index];

    result->stats.size = sizeof result->stats;
    if (!f->open || aq_conn_stats(w->client->ep, f->conn, &result->stats) != AQ_OK)
        return;
    if (w->row->sample)
        w->row->sample(w->row->user, index, at_us, &result->stats, flow_arrived(w, f));
    if (at_us < w->row->measure_us)
        return;
    f->samples++;
    f->rtt_sum_us += result->stats.rtt_us;
    if (result->stats.rtt_us > result->rtt_max_us)
        result->rtt_max_us = result->stats.rtt_us;
}

/* Every 10 ms: flows begin, applications write, numbers are taken. */
static void moment(struct world *w, uint64_t at_us)
{
    const struct flows *row = w->row;

    if (row->change && at_us % CHANGE_US == 0)
        row->change(w->sim, at_us);
    for (unsigned i = 0; i < row->count; i++) {
        struct flow *f = &w->flow[i];
        if (!f->conn && at_us >= row->begin_us[i])
            flow_begin(w, i);
        if (row->pause_us && at_us % row->pause_us == 0 && f->open) {
            f->allowed += row->pause_bytes;
            flow_write(w, f);
            sim_kick(w->client);
        }
        if (at_us == row->measure_us)
            f->arrived = flow_arrived(w, f);
        flow_sample(w, i, at_us);
    }
}

static void judge(struct world *w)
{
    struct flows_outcome *o = w->outcome;
    double sum = 0, squares = 0;

    for (unsigned i = 0; i < w->row->count; i++) {
        struct flow *f = &w->flow[i];
        o->flow[i].bytes = flow_arrived(w, f) - f->arrived;
        o->flow[i].rtt_us = f->samples ? f->rtt_sum_us / f->samples : 0;
        o->bytes += o->flow[i].bytes;
        sum += (double)o->flow[i].bytes;
        squares += (double)o->flow[i].bytes * (double)o->flow[i].bytes;
    }
    o->fairness = squares > 0 ? sum * sum / (w->row->count * squares) : 0;
    uint64_t rate = w->row->link[0].rate_bytes;
    double seconds = (double)(w->row->total_us - w->row->measure_us) / 1e6;
    o->utilisation = rate ? (double)o->bytes / ((double)rate * seconds) : 0;
}

void flows_run(const struct flows *row, struct flows_outcome *outcome)
{
    struct world *w = calloc(1, sizeof *w);

    if (!w)
        abort();
    *outcome = (struct flows_outcome){0};
    w->row = row;
    w->outcome = outcome;
    w->sim = sim_new(row->seed, NULL);
    w->client = host_start(w, false);
    w->server = host_start(w, true);
    for (unsigned i = 0; i < 2; i++)
        sim_link_set(w->sim, i, 1 - i, &row->link[i]);
    for (unsigned i = 0; i < row->count; i++)
        w->flow[i].allowed = row->pause_us ? 0 : UINT64_MAX;
    uint64_t start_us = w->sim->now_us;
    for (uint64_t at_us = 0; at_us <= row->total_us && !w->sim->failed; at_us += SAMPLE_US) {
        while (sim_step(w->sim, start_us + at_us))
            continue;
        moment(w, at_us);
    }
    judge(w);
    outcome->datagrams_dropped = w->sim->dropped;
    outcome->ok = !w->sim->failed;
    memcpy(outcome->why, w->sim->why, sizeof outcome->why);
    sim_free(w->sim);
    free(w);
}
