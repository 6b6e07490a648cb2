/* ping.c -- `antq ping PEERID`: each step of reaching a peer with its time, then round trips.
 *
 * registered_ms counts from the start; connected_ms, first_byte_ms (the first byte of the peer's
 * first answer) and direct_ms from when the node, registered, was told to connect. A connection
 * that is lost is made again, and the pings go on; one that the peer has closed is not. */
#include <stdlib.h>
#include <string.h>

#include "apps/apps.h"
#include "apps/peer/peer.h"

enum {
    PING_BYTES = 16,
    PINGS_MAX = 1000000
};
#define PING_LOST_US UINT64_C(10000000)

struct ping_flags {
    uint64_t count, interval_us, wait_direct_us;
};

struct ping {
    struct peer_program p;
    struct ping_flags flags;
    uint8_t id[32];
    struct peer_stream *stream;
    uint64_t connect_us, sent_us, sent, received;
    uint32_t got; /* bytes of the answer at hand */
    double registered_ms, connected_ms, first_byte_ms, direct_ms;
    bool relayed, waiting;
    bool lost; /* the connection is, and is made again */
    struct samples rtt;
};

#define ROW(name, letter, kind, field, argument, min, max, help)                         \
    {                                                                                    \
        name, letter, kind, offsetof(struct ping_flags, field), argument, min, max, help \
    }
/* clang-format off */
static const struct option_row ping_rows[] = {
    ROW("count", 'n', OPTION_NUMBER, count, "N", 1, PINGS_MAX, "so many round trips [5]"),
    ROW("interval", 'i', OPTION_SECONDS, interval_us, "SECONDS", 0, 3600000000, "between an answer and the next [0.2]"),
    ROW("wait-direct", 0, OPTION_SECONDS, wait_direct_us, "SECONDS", 0, 3600000000, "then wait so long for a direct path [0]"),
};
/* clang-format on */

static double since_ms(const struct ping *g, uint64_t at_us)
{
    return (double)(aq_loop_now(g->p.loop) - at_us) / 1e3;
}

static void print_ms(const char *name, double ms)
{
    if (ms < 0) {
        (void)printf(",\"%s\":null", name);
    } else {
        (void)printf(",\"%s\":%.1f", name, ms);
    }
}

/* What two bootstrap nodes see of one socket: another port for each of them. */
static bool own_nat_is_symmetric(const struct peer_program *p)
{
    struct aq_node_bootstrap info = {.size = sizeof info};
    struct aq_addr first = {.family = 0};

    for (unsigned i = 0; aq_node_bootstrap(p->node, i, &info) == AQ_OK; i++) {
        if (info.observed.family == 0) {
            continue;
        }
        if (first.family == 0) {
            first = info.observed;
        } else if (first.family == info.observed.family && first.port != info.observed.port
                   && memcmp(first.ip, info.observed.ip, sizeof first.ip) == 0) {
            return true;
        }
    }
    return false;
}

/* Why the connection is relayed still, as far as can be seen from here. */
static const char *why_relayed(const struct peer_program *p)
{
    struct aq_node_stats stats = {.size = sizeof stats};

    aq_node_stats(p->node, &stats);
    if (own_nat_is_symmetric(p)) {
        return "our NAT gives each destination another port (symmetric), and the peer's lets in "
               "only who it has talked to";
    }
    if (stats.punch_out == 0) {
        return "no address of the peer was found that can be probed from here";
    }
    if (stats.punch_in > 0) {
        return "probes came through, but no path was fit to move to; try again";
    }
    return "no probe came through: one of the two NATs gives each destination another port "
           "(symmetric), or a firewall drops UDP; `antq doctor` with two bootstrap nodes tells more";
}

static void report(struct ping *g)
{
    const char *path = g->connected_ms < 0 ? "none" : g->relayed ? "relayed" : "direct";
    char id[AQ_PEER_ID_TEXT];

    samples_sort(&g->rtt);
    uint32_t least = g->rtt.count > 0 ? g->rtt.us[0] : 0;
    if (g->p.flags.json) {
        (void)printf("{\"peer_id\":\"%s\"", aq_peer_id_text(g->id, id));
        print_ms("registered_ms", g->registered_ms);
        print_ms("connected_ms", g->connected_ms);
        print_ms("first_byte_ms", g->first_byte_ms);
        print_ms("direct_ms", g->direct_ms);
        (void)printf(",\"path\":\"%s\",\"sent\":%llu,\"received\":%llu", path,
                     (unsigned long long)g->sent, (unsigned long long)g->received);
        if (g->waiting && g->relayed) {
            (void)printf(",\"relayed_why\":");
            json_text(stdout, why_relayed(&g->p));
        }
        if (g->received == 0) {
            (void)puts(",\"rtt_us\":{\"min\":null,\"p50\":null,\"p99\":null}}");
            return;
        }
        (void)printf(",\"rtt_us\":{\"min\":%u,\"p50\":%u,\"p99\":%u}}\n", least,
                     samples_percentile(&g->rtt, 50), samples_percentile(&g->rtt, 99));
        return;
    }
    if (g->received == 0) {
        (void)printf("%llu sent, 0 answered\n", (unsigned long long)g->sent);
        return;
    }
    (void)printf(
        "%llu sent, %llu answered, %s; round trips: min %.3f ms, p50 %.3f ms, p99 %.3f ms\n",
        (unsigned long long)g->sent, (unsigned long long)g->received, path, least / 1e3,
        samples_percentile(&g->rtt, 50) / 1e3, samples_percentile(&g->rtt, 99) / 1e3);
}

static void on_wait_over(void *user)
{
    struct ping *g = user;

    report(g);
    if (g->waiting && g->relayed && !g->p.flags.json) {
        (void)printf("it stays relayed, after %.1f s more: %s\n",
                     (double)g->flags.wait_direct_us / 1e6, why_relayed(&g->p));
    }
    peer_end(&g->p, EXIT_DONE);
}

static void ping_stop(struct peer_program *p)
{
    struct ping *g = p->user;

    report(g);
    p->code = g->received > 0 ? EXIT_DONE : EXIT_FAILED;
}

static void on_lost(void *user)
{
    struct ping *g = user;

    complain("pinging: no answer for %d s; the peer is connected, but does not echo",
             (int)(PING_LOST_US / 1000000));
    report(g);
    peer_end(&g->p, EXIT_FAILED);
}

static void send_one(void *user)
{
    struct ping *g = user;
    uint8_t bytes[PING_BYTES] = {0};
    struct aq_iov iov = {bytes, sizeof bytes};

    if (g->stream == NULL) {
        return;
    }
    memcpy(bytes, &g->sent, sizeof g->sent);
    g->sent_us = aq_loop_clock(g->p.loop);
    if (aq_stream_write(g->p.ep, g->stream->id, &iov, 1, 0) == PING_BYTES) {
        g->sent++;
        (void)aq_loop_timer(g->p.loop, g->sent_us + PING_LOST_US, on_lost, g);
    }
}

static void answered(struct ping *g)
{
    uint64_t us = aq_loop_now(g->p.loop) - g->sent_us;

    (void)aq_loop_timer(g->p.loop, AQ_NEVER, on_lost, g);
    samples_add(&g->rtt, us);
    g->received++;
    if (!g->p.flags.json) {
        note("%8.1f ms  answer %llu: %.3f ms, %s", peer_ms(&g->p), (unsigned long long)g->received,
             (double)us / 1e3, g->relayed ? "relayed" : "direct");
    }
    if (g->received < g->flags.count) {
        (void)aq_loop_timer(g->p.loop, aq_loop_now(g->p.loop) + g->flags.interval_us, send_one, g);
    } else if (g->relayed && g->flags.wait_direct_us > 0) {
        g->waiting = true;
        (void)aq_loop_timer(g->p.loop, aq_loop_now(g->p.loop) + g->flags.wait_direct_us,
                            on_wait_over, g);
    } else {
        on_wait_over(g);
    }
}

static void ping_readable(struct peer_program *p, struct peer_stream *s)
{
    struct ping *g = p->user;
    struct aq_iov iov;
    bool fin;

    while (aq_stream_peek(p->ep, s->id, &iov, 1, &fin) == 1 && iov.size > 0) {
        if (g->first_byte_ms < 0) {
            g->first_byte_ms = since_ms(g, g->connect_us);
        }
        g->got += (uint32_t)iov.size;
        (void)aq_stream_consume(p->ep, s->id, iov.size);
        if (g->got >= PING_BYTES) {
            g->got -= PING_BYTES;
            answered(g);
        }
    }
}

static void ping_closed(struct peer_program *p, struct peer_stream *s, bool lost)
{
    struct ping *g = p->user;
    (void)s;

    g->stream = NULL;
    if (lost && !g->lost && g->received < g->flags.count && !p->ending) {
        complain("pinging: the stream ended after %llu answers; try again",
                 (unsigned long long)g->received);
        report(g);
        peer_end(p, EXIT_FAILED);
    }
}

static const struct peer_service ping_service = {
    .kind = PEER_ECHO, .readable = ping_readable, .closed = ping_closed};

static void connected(struct ping *g, const struct aq_node_event *event)
{
    g->relayed = event->relayed;
    g->lost = false;
    g->got = 0;
    if (g->connected_ms < 0) {
        g->connected_ms = since_ms(g, g->connect_us);
    }
    if (!g->relayed && g->direct_ms < 0) {
        g->direct_ms = since_ms(g, g->connect_us);
    }
    if (g->received == g->flags.count) { /* it waits for a direct path */
        return;
    }
    g->stream = peer_open(&g->p, event->conn, &ping_service);
    if (g->stream == NULL) {
        complain("pinging: the peer allows no stream now; try again");
        peer_end(&g->p, EXIT_FAILED);
        return;
    }
    send_one(g);
}

static void registered(struct ping *g, enum aq_node_result result)
{
    struct peer_program *p = &g->p;

    if (result != AQ_NODE_NONE) {
        g->registered_ms = peer_ms(p);
        g->connect_us = aq_loop_clock(p->loop);
        peer_connect(p, g->id, AQ_NODE_KEEP);
    } else if (!peer_is_limited(p)) { /* else it is tried again */
        peer_tell(p, &(struct aq_node_event){.kind = AQ_NODE_FAILED,
                                             .peer_id = g->id,
                                             .step = AQ_NODE_STEP_REGISTERING,
                                             .reason = "no bootstrap node has us",
                                             .hint = "`antq doctor` tells more"});
        peer_end(p, EXIT_FAILED);
    }
}

/* The connection has ended: by its peer's word, or else it is made again. */
static void closed(struct ping *g, aq_conn conn)
{
    struct aq_close_info info = {.size = sizeof info};

    (void)aq_loop_timer(g->p.loop, AQ_NEVER, on_lost, g);
    (void)aq_loop_timer(g->p.loop, AQ_NEVER, send_one, g);
    g->lost = aq_conn_close_info(g->p.ep, conn, &info) != AQ_OK || info.by != AQ_BY_PEER;
}

static void failed(struct ping *g, const struct aq_node_event *event)
{
    if (peer_goes_on(&g->p, event)) {
        return;
    }
    if (g->connected_ms >= 0) {
        report(g);
    }
    peer_end(&g->p, EXIT_FAILED);
}

static void ping_event(struct peer_program *p, const struct aq_node_event *event)
{
    struct ping *g = p->user;
    bool it = event->peer_id != NULL && memcmp(event->peer_id, g->id, sizeof g->id) == 0;

    if (event->kind == AQ_NODE_REGISTERED && g->connect_us == 0) {
        registered(g, event->result);
    } else if (it && event->kind == AQ_NODE_CONNECTED && g->stream == NULL) {
        connected(g, event);
    } else if (it && event->kind == AQ_NODE_CLOSED && !p->ending) {
        closed(g, event->conn);
    } else if (it && event->kind == AQ_NODE_PATH) {
        g->relayed = event->relayed;
        if (!g->relayed && g->direct_ms < 0) {
            g->direct_ms = since_ms(g, g->connect_us);
        }
        if (!g->relayed && g->waiting) {
            on_wait_over(g);
        }
    } else if (it && event->kind == AQ_NODE_FAILED) {
        failed(g, event);
    }
}

int ping_main(int argc, char **argv)
{
    static struct ping g;
    g.flags = (struct ping_flags){.count = 5, .interval_us = 200000};
    g.registered_ms = g.connected_ms = g.first_byte_ms = g.direct_ms = -1;
    const struct option_set sets[] = {
        {"Flags:", ping_rows, sizeof ping_rows / sizeof ping_rows[0], &g.flags},
        {"Peer:", peer_rows, PEER_ROWS, &g.p.flags},
    };
    const struct command command = {
        .name = "antq ping",
        .word = "PEERID",
        .about =
            "Reaches a peer that is online (`antq peer`, or any other of these programs) by its\n"
            "PeerId, and shows each step with its time, round trips, and the kind of path.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    const char *word = NULL;
    int code;

    if (!command_parse(&command, argc, argv, &word, &code)) {
        return code;
    }
    g.p.user = &g;
    g.p.target = g.id;
    g.p.on_event = ping_event;
    g.p.on_stop = ping_stop;
    g.p.quiet = g.p.flags.json;
    if (!peer_word(word, g.id)) {
        return EXIT_WRONG_USE;
    }
    if (!samples_init(&g.rtt, g.flags.count)) {
        complain("no memory for so many round trips");
        return EXIT_FAILED;
    }
    if (!peer_start(&g.p, &code)) {
        return code;
    }
    code = peer_run(&g.p);
    samples_free(&g.rtt);
    return code;
}
