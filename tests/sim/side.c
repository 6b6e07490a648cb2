/* side.c -- streams of one side: patterns out, patterns checked, every event in its place (side.h).
 *
 * Bytes given by reference are overwritten as soon as they are released; sizes of writes, the piece that
 * carries the end, what a slow reader leaves, and which streams break off are drawn from the side's own
 * generator, so the link's chance stays the same whatever the application does. */
#include "tests/sim/side.h"

#include <stdlib.h>
#include <string.h>

/* ---- the pattern ------------------------------------------------------------------------------------ */

static uint64_t pattern_key(const struct play *play, uint64_t id, bool from_client)
{
    return sim_mix(play->row->seed * 4 + play->round * 2 + from_client) ^ sim_mix(id + 1);
}

static void pattern_fill(uint64_t key, uint64_t offset, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint64_t word = sim_mix(key + (offset + i) / 8);
        for (uint64_t j = (offset + i) % 8; j < 8 && i < size; j++, i++)
            out[i] = (uint8_t)(word >> (8 * j));
    }
}

/* Offset of the first wrong byte, or size. */
static size_t pattern_check(uint64_t key, uint64_t offset, const uint8_t *in, size_t size)
{
    for (size_t i = 0; i < size;) {
        uint64_t word = sim_mix(key + (offset + i) / 8);
        for (uint64_t j = (offset + i) % 8; j < 8 && i < size; j++, i++)
            if (in[i] != (uint8_t)(word >> (8 * j)))
                return i;
    }
    return size;
}

/* How many bytes a direction of a stream carries: both sides know without telling each other. */
static uint64_t flow_size(const struct play *play, uint64_t id, bool from_client)
{
    const struct scenario *row = play->row;
    uint64_t streams = row->streams + row->streams_uni;
    uint64_t average = streams ? row->bytes / streams : 0;
    uint64_t mixed = sim_mix(pattern_key(play, id, from_client));

    if (mixed % 16 == 0)
        return 0;
    return streams == 1 ? row->bytes : mixed % (2 * average + 1);
}

/* ---- streams ---------------------------------------------------------------------------------------------- */

/* Now and then, and at the beginning. */
static void flow_prioritize(struct side *side, struct flow *flow)
{
    if (!side->play->row->priorities || !flow->sends)
        return;
    int result = aq_stream_set_priority(side->host->ep, flow->stream, (unsigned)sim_rng_below(&side->rng, 8),
                                        sim_rng_below(&side->rng, 2));
    if (result != AQ_OK)
        sim_fail(side->play->sim, "priority of stream %llu: %d", (unsigned long long)flow->id, result);
}

static void flow_new(struct side *side, aq_stream stream, bool opened_by_us)
{
    struct play *play = side->play;
    struct flow *flow = &side->flows[side->count];

    if (side->count == FLOWS) {
        sim_fail(play->sim, "more streams than were opened");
        return;
    }
    side->count++;
    *flow = (struct flow){.stream = stream, .id = aq_stream_id(side->host->ep, stream), .live = true};
    bool uni = flow->id & 2;
    if (((flow->id & 1) == 0) != (side->client == opened_by_us))
        sim_fail(play->sim, "stream %llu opened by the wrong side", (unsigned long long)flow->id);
    flow->sends = !uni || opened_by_us;
    flow->receives = !uni || !opened_by_us;
    flow->send_size = flow->sends ? flow_size(play, flow->id, side->client) : 0;
    flow->recv_size = flow->receives ? flow_size(play, flow->id, !side->client) : 0;
    flow->abandon_at = AQ_NEVER;
    if (play->row->resets && sim_rng_below(&side->rng, 3) == 0)
        flow->abandon_at = sim_rng_below(&side->rng, (flow->sends ? flow->send_size : flow->recv_size) + 1);
    if (play->row->by_reference && flow->send_size) {
        flow->bytes = malloc(flow->send_size);
        if (!flow->bytes)
            abort();
        pattern_fill(pattern_key(play, flow->id, side->client), 0, flow->bytes, flow->send_size);
    }
    aq_stream_set_user(side->host->ep, stream, flow);
    flow_prioritize(side, flow);
    if (aq_stream_conn(side->host->ep, stream) != side->conn)
        sim_fail(play->sim, "stream %llu names another connection", (unsigned long long)flow->id);
}

/* What was released may be overwritten: if it is sent once more, the peer will see it. */
static void flow_release(struct side *side, struct flow *flow)
{
    int64_t released = aq_stream_released(side->host->ep, flow->stream);

    if (released < 0 || (uint64_t)released < flow->released || (uint64_t)released > flow->sent) {
        sim_fail(side->play->sim, "stream %llu released %lld of %llu, before %llu", (unsigned long long)flow->id,
                 (long long)released, (unsigned long long)flow->sent, (unsigned long long)flow->released);
        return;
    }
    if (flow->bytes)
        memset(flow->bytes + flow->released, 0xdb, (size_t)released - flow->released);
    flow->released = (uint64_t)released;
}

/* Breaks off sending, but for a part of what was written; perhaps less of it in a second thought. */
static int flow_reset_at(struct side *side, struct flow *flow)
{
    uint64_t size = sim_rng_below(&side->rng, flow->sent + 1);
    int result = aq_stream_reset_at(side->host->ep, flow->stream, CODE_RESET, size);

    if (result == AQ_MISUSE && !flow->fin_sent)
        sim_fail(side->play->sim, "stream %llu: reset at %llu of %llu refused", (unsigned long long)flow->id,
                 (unsigned long long)size, (unsigned long long)flow->sent);
    if (result == AQ_OK && sim_rng_below(&side->rng, 4) == 0) {
        size = sim_rng_below(&side->rng, size + 1);
        result = aq_stream_reset_at(side->host->ep, flow->stream, CODE_RESET, size);
    }
    flow->reliable = size;
    play_feature(side->play, FEATURE_RESETS_AT);
    return result;
}

/* Breaks off sending, receiving, or both; what is not broken off goes on to its end. */
static void flow_abandon(struct side *side, struct flow *flow)
{
    uint64_t choice = flow->sends && flow->receives ? sim_rng_below(&side->rng, 3) : flow->sends ? 0 : 1;
    int result = AQ_OK;

    flow->abandon_at = AQ_NEVER;
    if (choice != 1) {
        flow->abandoned = true;
        if (side->play->row->reset_at && sim_rng_below(&side->rng, 3))
            result = flow_reset_at(side, flow);
        else
            result = aq_stream_reset(side->host->ep, flow->stream, CODE_RESET);
    }
    if (choice != 0 && result == AQ_OK) {
        flow->stopped = true;
        result = aq_stream_stop(side->host->ep, flow->stream, CODE_STOP);
    }
    play_feature(side->play, FEATURE_RESETS);
    if (result != AQ_OK && result != AQ_MISUSE && result != AQ_GONE)
        sim_fail(side->play->sim, "abandoning stream %llu: %d", (unsigned long long)flow->id, result);
}

static void flow_write(struct side *side, struct flow *flow)
{
    struct sim *sim = side->play->sim;
    uint8_t chunk[CHUNK];

    while (flow->sends && !flow->fin_sent && !flow->abandoned && !sim->failed) {
        uint64_t left = flow->send_size - flow->sent;
        size_t n = 1 + (size_t)sim_rng_below(&side->rng, CHUNK);
        if (flow->sent >= flow->abandon_at) {
            flow_abandon(side, flow);
            continue;
        }
        if (n > left)
            n = (size_t)left;
        /* Now and then the end comes alone, after the bytes. */
        unsigned flags = n == left && (n == 0 || sim_rng_below(&side->rng, 4)) ? AQ_FIN : 0;
        struct aq_iov iov[2] = {{chunk, n}, {NULL, 0}};
        if (flow->bytes) {
            iov[0].data = flow->bytes + flow->sent;
            flags |= AQ_REF;
        } else {
            pattern_fill(pattern_key(side->play, flow->id, side->client), flow->sent, chunk, n);
        }
        if (n > 1) { /* two pieces */
            iov[0].size = 1 + (size_t)sim_rng_below(&side->rng, n - 1);
            iov[1] = (struct aq_iov){iov[0].data + iov[0].size, n - iov[0].size};
        }
        int64_t taken = aq_stream_write(side->host->ep, flow->stream, iov, n ? 2 : 0, flags);
        if (taken < 0) {
            if (!side->play->row->resets && !side->play->closing)
                sim_fail(sim, "stream %llu: write says %lld", (unsigned long long)flow->id, (long long)taken);
            return;
        }
        if ((uint64_t)taken > n)
            sim_fail(sim, "stream %llu: write took %lld of %zu", (unsigned long long)flow->id,
                     (long long)taken, n);
        flow->sent += (uint64_t)taken;
        if ((uint64_t)taken < n)
            return;
        flow->fin_sent = flags & AQ_FIN;
    }
}

void side_wake_at(struct side *side, uint64_t when_us)
{
    if (when_us < side->host->wake_us)
        side->host->wake_us = when_us;
}

static void flow_read_end(struct side *side, struct flow *flow)
{
    flow->fin_seen = true;
    if (flow->received != flow->recv_size)
        sim_fail(side->play->sim, "stream %llu ends after %llu bytes, not %llu", (unsigned long long)flow->id,
                 (unsigned long long)flow->received, (unsigned long long)flow->recv_size);
}

static void flow_read(struct side *side, struct flow *flow)
{
    struct sim *sim = side->play->sim;
    struct aq_endpoint *ep = side->host->ep;
    uint64_t key = pattern_key(side->play, flow->id, !side->client);

    while (flow->receives && !flow->fin_seen && !sim->failed) {
        struct aq_iov iov[4];
        bool fin = false;
        uint64_t size = 0, consume;
        int n = aq_stream_peek(ep, flow->stream, iov, 4, &fin);
        if (n < 0) {
            if (!side->play->row->resets && !side->play->closing)
                sim_fail(sim, "stream %llu: peek says %d", (unsigned long long)flow->id, n);
            return;
        }
        for (int i = 0; i < n; i++) {
            size_t good = pattern_check(key, flow->received + size, iov[i].data, iov[i].size);
            if (good != iov[i].size)
                sim_fail(sim, "stream %llu: wrong byte at %llu", (unsigned long long)flow->id,
                         (unsigned long long)(flow->received + size + good));
            size += iov[i].size;
        }
        if (flow->received + size > flow->recv_size)
            sim_fail(sim, "stream %llu: more bytes than were written", (unsigned long long)flow->id);
        if (size == 0 && !fin)
            return;
        consume = side->play->row->slow_reader ? sim_rng_below(&side->rng, size + 1) : size;
        int result = aq_stream_consume(ep, flow->stream, consume);
        if (result != AQ_OK)
            sim_fail(sim, "stream %llu: consume says %d", (unsigned long long)flow->id, result);
        flow->received += consume;
        side->delivered_bytes += consume;
        if (!flow->sends && flow->received >= flow->abandon_at) {
            flow_abandon(side, flow);
            return;
        }
        if (fin && consume == size) {
            flow_read_end(side, flow);
        } else if (consume < size) {
            side_wake_at(side, sim->now_us + 1000 + sim_rng_below(&side->rng, 20000));
            return;
        }
    }
}

static void flow_closed(struct side *side, struct flow *flow)
{
    if (flow->closed)
        sim_fail(side->play->sim, "stream %llu closed twice", (unsigned long long)flow->id);
    flow->closed = true;
    flow->live = false;
    side->closed_flows++;
    if (!side->play->row->resets) {
        flow_release(side, flow);
        if (flow->sends && (!flow->fin_sent || flow->released != flow->send_size))
            sim_fail(side->play->sim, "stream %llu closed with %llu of %llu bytes acknowledged",
                     (unsigned long long)flow->id, (unsigned long long)flow->released,
                     (unsigned long long)flow->send_size);
        if (flow->receives && !flow->fin_seen)
            sim_fail(side->play->sim, "stream %llu closed before its end was read", (unsigned long long)flow->id);
    }
    free(flow->bytes);
    flow->bytes = NULL;
}

/* Opens what the row asks for, as far as the peer's limits go; AQ_EVENT_STREAMS brings us back. */
static void side_open(struct side *side)
{
    const struct scenario *row = side->play->row;
    unsigned bidi = side->client ? row->streams : 0;

    for (;;) {
        bool uni = side->opened_bidi >= bidi;
        aq_stream stream;
        if (uni && side->opened_uni >= row->streams_uni)
            return;
        int result = aq_stream_open(side->host->ep, side->conn, uni, NULL, &stream);
        if (result == AQ_BLOCKED)
            return;
        if (result != AQ_OK) {
            sim_fail(side->play->sim, "opening a stream: %d", result);
            return;
        }
        *(uni ? &side->opened_uni : &side->opened_bidi) += 1;
        flow_new(side, stream, true);
        if (!side->play->sim->failed)
            flow_write(side, &side->flows[side->count - 1]);
    }
}

static void keep(uint8_t *out, size_t room, size_t *size, const struct aq_event *event)
{
    if (event->size <= room) {
        memcpy(out, event->data, event->size);
        *size = event->size;
    }
}

/* The peer's reset is told when what it promised was consumed. */
static void flow_judge_reset(struct side *side, const struct flow *flow)
{
    const struct side *peer = side->peer;

    for (unsigned i = 0; i < peer->count && !flow->stopped; i++)
        if (peer->flows[i].id == flow->id && flow->received < peer->flows[i].reliable)
            sim_fail(side->play->sim, "stream %llu reset after %llu bytes, %llu were promised",
                     (unsigned long long)flow->id, (unsigned long long)flow->received,
                     (unsigned long long)peer->flows[i].reliable);
}

static void side_stream_event(struct side *side, const struct aq_event *event)
{
    struct flow *flow = event->stream_user;

    if (event->kind == AQ_EVENT_OPENED) {
        flow_new(side, event->stream, false);
        if (!side->play->sim->failed)
            flow_write(side, &side->flows[side->count - 1]);
        return;
    }
    if (!flow || !flow->live || flow->stream != event->stream) {
        sim_fail(side->play->sim, "event %d of a stream we do not have", (int)event->kind);
    } else if (event->kind == AQ_EVENT_READABLE) {
        flow_read(side, flow);
    } else if (event->kind == AQ_EVENT_WRITABLE) {
        if (sim_rng_below(&side->rng, 4) == 0)
            flow_prioritize(side, flow);
        flow_write(side, flow);
    } else if (event->kind == AQ_EVENT_RELEASED) {
        flow_release(side, flow);
    } else if (event->kind == AQ_EVENT_STREAM_CLOSED) {
        flow_closed(side, flow);
    } else { /* RESET, STOPPED */
        if (!side->play->row->resets && !side->play->closing)
            sim_fail(side->play->sim, "stream %llu reset by nobody", (unsigned long long)flow->id);
        if (event->value != (event->kind == AQ_EVENT_RESET ? CODE_RESET : CODE_STOP) &&
            !(event->kind == AQ_EVENT_RESET && event->value == CODE_STOP))
            sim_fail(side->play->sim, "stream %llu: code %llu in event %d", (unsigned long long)flow->id,
                     (unsigned long long)event->value, (int)event->kind);
        if (event->kind == AQ_EVENT_STOPPED)
            flow->abandoned = true;
        else
            flow_judge_reset(side, flow);
    }
}

static void side_connected(struct side *side)
{
    struct aq_conn_peer peer = {.size = sizeof peer};

    if (side->connected)
        sim_fail(side->play->sim, "connected twice");
    side->connected = true;
    if (aq_conn_peer(side->host->ep, side->conn, &peer) != AQ_OK || strcmp(peer.alpn, "sim") != 0)
        sim_fail(side->play->sim, "connected without the protocol \"sim\"");
    else if (side->client && side->ticket_size && side->play->round && !peer.resumed)
        sim_fail(side->play->sim, "the ticket did not resume");
    else if (side->client && !peer.resumed && !peer.verified)
        sim_fail(side->play->sim, "connected to a peer that was not verified");
    else
        judge_connected(side, &peer);
}

void side_event(struct sim_host *host, const struct aq_event *event)
{
    struct side *side = host->user;

    if (event->kind >= AQ_EVENT_OPENED) {
        side_stream_event(side, event);
        return;
    }
    if (event->kind == AQ_EVENT_ACCEPTED) {
        if (side->client)
            sim_fail(host->sim, "the client accepted a connection");
        if (side->conn)
            return; /* begun by an Initial that came twice, the second time after the end */
        side->conn = event->conn;
        aq_conn_set_user(host->ep, event->conn, side);
        if (side->play->row->expect == EXPECT_REFUSED)
            aq_refuse(host->ep, event->conn, "not today", sim_now(host));
    } else if (event->conn != side->conn) {
        /* A handshake begun by a datagram that came twice, too late, or from an attacker; its close is
         * checked. */
        if (event->kind == AQ_EVENT_EARLY || event->kind == AQ_EVENT_DATAGRAM)
            sim_fail(host->sim, "a replay was executed");
    } else if (event->kind == AQ_EVENT_CONNECTED || event->kind == AQ_EVENT_STREAMS ||
               event->kind == AQ_EVENT_EARLY) {
        side->early |= event->kind == AQ_EVENT_EARLY;
        if (event->kind == AQ_EVENT_CONNECTED)
            side_connected(side);
        if (side->connected || side->early)
            side_open(side);
        dgrams_send(side);
    } else if (event->kind == AQ_EVENT_DATAGRAM) {
        dgrams_read(side, false);
    } else if (event->kind == AQ_EVENT_DATAGRAM_ROOM) {
        if (!side->dgrams.room_wanted)
            sim_fail(host->sim, "room for a datagram that nobody wanted");
        side->dgrams.room_wanted = false;
        dgrams_send(side);
    } else if (event->kind == AQ_EVENT_CONFIRMED) {
        side->confirmed = true;
        if (side->peer->confirmed && !side->play->confirmed_us)
            side->play->confirmed_us = host->sim->now_us;
    } else if (event->kind == AQ_EVENT_PATH) {
        side->path_moved += (event->value & AQ_PATH_MOVED) != 0;
        side->path_failed += (event->value & AQ_PATH_FAILED) != 0;
        side->path_peer_moved += (event->value & AQ_PATH_PEER_MOVED) != 0;
    } else if (event->kind == AQ_EVENT_TICKET) {
        keep(side->ticket, sizeof side->ticket, &side->ticket_size, event);
    } else if (event->kind == AQ_EVENT_TOKEN) {
        keep(side->token, sizeof side->token, &side->token_size, event);
    } else if (event->kind == AQ_EVENT_CLOSED) {
        side->closed = true;
        side->close = (struct aq_close_info){.size = sizeof side->close};
        if (aq_conn_close_info(host->ep, event->conn, &side->close) != AQ_OK)
            sim_fail(host->sim, "no close info at CLOSED");
    }
}

/* A slow reader comes back for what it left, and datagrams are due. */
void side_wake(struct sim_host *host)
{
    struct side *side = host->user;

    if (!side->conn || side->closed)
        return;
    dgrams_send(side);
    dgrams_read(side, false);
    if (side->dgrams.sent && side->dgrams.next_us != AQ_NEVER)
        side_wake_at(side, side->dgrams.next_us);
    for (unsigned i = 0; i < side->count; i++)
        if (side->flows[i].live && side->flows[i].received < side->flows[i].recv_size)
            flow_read(side, &side->flows[i]);
        else if (side->flows[i].live && !side->flows[i].fin_seen)
            flow_read(side, &side->flows[i]);
}

void side_again(struct side *side)
{
    for (unsigned i = 0; i < side->count; i++)
        free(side->flows[i].bytes);
    side->count = side->closed_flows = side->opened_bidi = side->opened_uni = 0;
    side->conn = 0;
    side->connected = side->confirmed = side->closed = side->early = false;
    side->dgrams = (struct dgrams){0};
    side->delivered_bytes = 0;
}
