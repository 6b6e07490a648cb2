/* check.c -- the invariants of check.h, and the RFC rules behind them. */
#include "tests/sim/check.h"

#include <string.h>

/* ---- reading a datagram from outside: only what is not encrypted (RFC 8999, RFC 9000 §17.2) ------------- */

static uint64_t varint(const uint8_t *data, uint32_t size, uint32_t *at)
{
    uint64_t value;
    uint32_t length;

    if (*at >= size)
        return 0;
    length = 1U << (data[*at] >> 6);
    value = data[*at] & 0x3f;
    for (uint32_t i = 1; i < length && *at + i < size; i++)
        value = value << 8 | data[*at + i];
    *at += length;
    return value;
}

struct seen {
    bool initial, token, handshake, negotiation;
};

static bool is_damaged(const struct sim_flight *flight, uint32_t begin, uint32_t end)
{
    for (unsigned i = 0; flight && i < flight->damage_count; i++)
        if (flight->damage[i] >= begin && flight->damage[i] < end)
            return true;
    return false;
}

/* A long header's packet type by the numbers of version 1: RFC 9369 §3.2 has others. */
static unsigned packet_type(const uint8_t *data)
{
    static const uint8_t version1[4] = {0, 0, 0, 1};
    unsigned type = data[0] >> 4 & 3;

    return memcmp(data + 1, version1, 4) == 0 ? type : (type + 3) % 4;
}

/* Walks the coalesced packets of one datagram. A packet that was damaged on its flight proves nothing. */
static struct seen datagram_see(const uint8_t *data, uint32_t size, const struct sim_flight *flight)
{
    struct seen seen = {0}, all = {0};
    uint32_t at = 0, begin;

    while (at + 7 < size && (data[at] & 0x80)) {
        unsigned type = packet_type(data + at);
        begin = at;
        seen = (struct seen){0};
        if (memcmp(data + at + 1, (uint8_t[4]){0}, 4) == 0) {
            all.negotiation = true;
            return all;
        }
        if (type == 3)
            return all; /* Retry */
        at += 5;
        at += 1U + data[at];
        if (at >= size)
            return all;
        at += 1U + data[at];
        if (type == 0) {
            uint64_t token = varint(data, size, &at);
            seen.initial = true;
            seen.token = token > 0;
            at += (uint32_t)(token < size ? token : size);
        }
        seen.handshake = type == 2;
        uint64_t length = varint(data, size, &at);
        if (length > size - (at < size ? at : size))
            return all;
        at += (uint32_t)length;
        if (!is_damaged(flight, begin, at)) {
            all.initial |= seen.initial;
            all.token |= seen.token;
            all.handshake |= seen.handshake;
        }
    }
    return all;
}

/* ---- RFC 9000 §8.1: three times until validated -------------------------------------------------------------- */

static struct check_address *address_of(struct sim_host *host, const struct aq_addr *addr)
{
    struct check *check = host->sim->check;

    for (unsigned i = check->addresses; i-- > 0;) { /* the newest first: they are asked for most */
        struct check_address *a = &check->address[i];
        if (a->host == host->index && a->addr.port == addr->port && a->addr.family == addr->family &&
            memcmp(a->addr.ip, addr->ip, sizeof addr->ip) == 0)
            return a;
    }
    if (check->addresses == CHECK_ADDRESSES)
        return NULL;
    struct check_address *a = &check->address[check->addresses++];
    *a = (struct check_address){.host = host->index, .addr = *addr};
    return a;
}

void check_delivered(struct sim_host *host, const struct sim_flight *flight)
{
    /* A host that got a datagram at an address, and has sent one since, from wherever, can have validated it:
     * RFC 9000 §8.2.3. */
    for (unsigned i = 0; !host->server && i < host->sim->hosts; i++) {
        struct sim_host *server = &host->sim->host[i];
        struct check_address *reached = server->server ? address_of(server, &flight->outside) : NULL;
        if (reached && !flight->foreign)
            reached->reached = true;
    }
    for (unsigned i = host->sim->check->addresses; host->server && host->sim->paths_free && i-- > 0;) {
        struct check_address *a = &host->sim->check->address[i];
        a->validated |= a->reached && a->host == host->index;
    }
    struct check_address *address = host->server ? address_of(host, &flight->from) : NULL;

    if (!address)
        return;
    address->received_bytes += flight->size;
    struct seen seen = datagram_see(flight->data, flight->size, flight);
    address->validated |= !flight->foreign && (seen.handshake || (seen.initial && seen.token));
}

static void check_limit(struct sim_host *host, const struct aq_train *train)
{
    struct check *check = host->sim->check;
    struct check_address *address = address_of(host, &train->remote);

    if (!address)
        return;
    address->sent_bytes += train->size;
    if (address->validated || address->received_bytes == 0) {
        if (!address->validated)
            sim_fail(host->sim, "RFC 9000 §8.1: host %u sent to an address that sent nothing", host->index);
        return;
    }
    uint64_t permille = address->sent_bytes * 1000 / (3 * address->received_bytes);
    if (permille > check->highest_ratio_permille)
        check->highest_ratio_permille = permille;
    if (address->sent_bytes > 3 * address->received_bytes)
        sim_fail(host->sim, "RFC 9000 §8.1: host %u sent %llu bytes for %llu received, not validated",
                 host->index, (unsigned long long)address->sent_bytes,
                 (unsigned long long)address->received_bytes);
}

/* ---- trains ------------------------------------------------------------------------------------------------------ */

void check_sent(struct sim_host *host, const struct aq_train *train)
{
    struct sim *sim = host->sim;

    /* 65,507 bytes are the most that one send call takes, segmented or not. */
    if (train->segment == 0 || train->size == 0 || train->size > 65507)
        sim_fail(sim, "host %u: train of %u bytes in segments of %u", host->index, train->size,
                 train->segment);
    else if (train->segment > host->config.max_udp_payload)
        sim_fail(sim, "host %u: datagram of %u bytes, above max_udp_payload %u", host->index,
                 train->segment, host->config.max_udp_payload);
    else if ((train->flags & AQ_TRAIN_NO_GSO) && train->size > train->segment)
        sim_fail(sim, "host %u: NO_GSO train of several datagrams", host->index);
    else if (train->ecn == AQ_ECN_CE)
        sim_fail(sim, "host %u: sends CE", host->index);
    if (sim->failed)
        return;
    if (host->server) {
        check_limit(host, train);
        return;
    }
    /* RFC 9000 §14.1: a client's datagrams that carry Initial packets are at least 1,200 bytes. */
    for (uint32_t at = 0; at < train->size; at += train->segment) {
        uint32_t size = train->size - at < train->segment ? train->size - at : train->segment;
        if (size < 1200 && datagram_see(train->data + at, size, NULL).initial)
            sim_fail(sim, "RFC 9000 §14.1: client's Initial in a datagram of %u bytes", size);
    }
}

/* ---- connections ---------------------------------------------------------------------------------------------------- */

static struct check_conn *conn_of(struct sim_host *host, aq_conn conn)
{
    struct check *check = host->sim->check;

    for (unsigned i = 0; i < check->conns; i++)
        if (check->conn[i].host == host->index && check->conn[i].conn == conn)
            return &check->conn[i];
    return NULL;
}

void check_connected(struct sim_host *host, aq_conn conn)
{
    struct check *check = host->sim->check;

    if (conn == 0 || conn_of(host, conn))
        sim_fail(host->sim, "host %u: connection handle %llx given twice", host->index,
                 (unsigned long long)conn);
    else if (check->conns < CHECK_CONNS)
        check->conn[check->conns++] = (struct check_conn){.host = host->index, .conn = conn};
}

void check_event(struct sim_host *host, const struct aq_event *event)
{
    struct sim *sim = host->sim;
    struct check_conn *conn = conn_of(host, event->conn);

    if (event->kind == AQ_EVENT_NONE || event->kind > AQ_EVENT_STREAM_CLOSED) {
        sim_fail(sim, "host %u: event of kind %d", host->index, (int)event->kind);
    } else if (event->kind == AQ_EVENT_ACCEPTED) {
        check_connected(host, event->conn);
    } else if (!conn) {
        if (sim->check->conns < CHECK_CONNS)
            sim_fail(sim, "host %u: event %d of an unknown connection", host->index, (int)event->kind);
    } else if (conn->closed) {
        sim_fail(sim, "host %u: event %d after CLOSED", host->index, (int)event->kind);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        conn->closed = true;
    }
    if (event->kind >= AQ_EVENT_OPENED && event->stream == 0)
        sim_fail(sim, "host %u: stream event %d without a stream", host->index, (int)event->kind);
}

/* What the public statistics say must be possible, and must not go back. */
static void stats_sane(struct sim_host *host, struct check_conn *conn, const struct aq_conn_stats *s)
{
    struct sim *sim = host->sim;
    const char *wrong = NULL;

    if (s->mtu < 1200 || s->mtu > host->config.max_udp_payload)
        wrong = "mtu out of bounds";
    else if (s->handshake_us && s->rtt_us == 0)
        wrong = "rtt 0 after the handshake";
    else if (s->handshake_us && s->rtt_min_us > s->rtt_latest_us)
        wrong = "minimum rtt above the latest";
    else if (s->cwnd_bytes < 2 * UINT64_C(1200))
        wrong = "window below two datagrams (RFC 9002 §7.2)";
    else if (s->sent_bytes < conn->sent_bytes || s->recv_bytes < conn->recv_bytes)
        wrong = "byte counters went back";
    else if (s->pto_count < conn->pto_count || s->key_updates < conn->key_updates)
        wrong = "counters went back";
    else if (s->lost_packets > s->sent_packets)
        wrong = "more packets lost than sent";
    else if (s->memory_bytes > host->config.memory_bytes)
        wrong = "more memory borrowed than there is";
    if (wrong)
        sim_fail(sim, "host %u: %s (mtu %u rtt %llu min %llu latest %llu cwnd %llu in flight %llu lost %llu)",
                 host->index, wrong, s->mtu, (unsigned long long)s->rtt_us,
                 (unsigned long long)s->rtt_min_us, (unsigned long long)s->rtt_latest_us,
                 (unsigned long long)s->cwnd_bytes, (unsigned long long)s->in_flight_bytes,
                 (unsigned long long)s->lost_packets);
    conn->sent_bytes = s->sent_bytes;
    conn->recv_bytes = s->recv_bytes;
    conn->key_updates = s->key_updates;
}

static bool stats_of(struct sim_host *host, const struct check_conn *conn, struct aq_conn_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->size = sizeof *stats;
    return conn->host == host->index && !conn->closed &&
           aq_conn_stats(host->ep, conn->conn, stats) == AQ_OK && stats->status != AQ_STATUS_CLOSED;
}

void check_before_send(struct sim_host *host)
{
    struct check *check = host->sim->check;
    struct aq_conn_stats stats;

    for (unsigned i = 0; i < check->conns; i++) {
        struct check_conn *conn = &check->conn[i];
        if (!stats_of(host, conn, &stats))
            continue;
        if (stats.pto_count != conn->pto_count) /* RFC 9002 §6.2.4: one datagram, or two */
            conn->probe_bytes = UINT64_C(2) * host->config.max_udp_payload;
        else if (stats.lost_packets != conn->lost_packets &&
                 conn->probe_bytes < host->config.max_udp_payload)
            conn->probe_bytes = host->config.max_udp_payload; /* §7.3.2: one when recovery begins */
        if (host->sim->paths_free && conn->probe_bytes < 1200)
            conn->probe_bytes = 1200; /* RFC 9000 §8.2: a challenge or a response */
        conn->lost_packets = stats.lost_packets;
        conn->in_flight_bytes = stats.in_flight_bytes;
        stats_sane(host, conn, &stats);
        conn->pto_count = stats.pto_count;
    }
}

void check_after_send(struct sim_host *host)
{
    struct check *check = host->sim->check;
    struct aq_conn_stats stats;
    struct aq_endpoint_stats all = {.size = sizeof all};

    for (unsigned i = 0; i < check->conns; i++) {
        struct check_conn *conn = &check->conn[i];
        if (!stats_of(host, conn, &stats))
            continue;
        /* RFC 9002 §7: nothing is sent that makes what is in flight larger than the window, but probes. */
        uint64_t over = stats.in_flight_bytes > stats.cwnd_bytes ? stats.in_flight_bytes - stats.cwnd_bytes : 0;
        uint64_t grown = stats.in_flight_bytes > conn->in_flight_bytes
                             ? stats.in_flight_bytes - conn->in_flight_bytes
                             : 0;
        over = over < grown ? over : grown;
        if (over > conn->probe_bytes)
            sim_fail(host->sim, "RFC 9002 §7: host %u has %llu bytes in flight, %llu before, window %llu",
                     host->index, (unsigned long long)stats.in_flight_bytes,
                     (unsigned long long)conn->in_flight_bytes, (unsigned long long)stats.cwnd_bytes);
        conn->probe_bytes -= over;
        stats_sane(host, conn, &stats);
    }
    aq_endpoint_stats(host->ep, &all);
    if (all.conns > host->config.max_conns || all.half_open > host->config.max_half_open ||
        all.streams > host->config.max_streams || all.memory_bytes > host->config.memory_bytes ||
        all.memory_bytes > all.memory_high_bytes)
        sim_fail(host->sim, "host %u: a limit is exceeded (%u conns, %u half open, %u streams, %llu bytes)",
                 host->index, all.conns, all.half_open, all.streams, (unsigned long long)all.memory_bytes);
}

void check_empty(struct sim_host *host)
{
    struct check *check = host->sim->check;
    struct aq_endpoint_stats all = {.size = sizeof all};

    aq_endpoint_stats(host->ep, &all);
    if (all.conns || all.half_open || all.streams || all.memory_bytes)
        sim_fail(host->sim, "host %u keeps %u connections, %u half open, %u streams, %llu bytes at the end",
                 host->index, all.conns, all.half_open, all.streams, (unsigned long long)all.memory_bytes);
    for (unsigned i = 0; i < check->conns; i++)
        if (check->conn[i].host == host->index && !check->conn[i].closed)
            sim_fail(host->sim, "host %u: a connection ended without its CLOSED event", host->index);
}

void check_forget(struct sim_host *host)
{
    struct check *check = host->sim->check;

    for (unsigned i = check->conns; i-- > 0;)
        if (check->conn[i].host == host->index)
            check->conn[i] = check->conn[--check->conns];
}
