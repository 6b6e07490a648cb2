/* misuse.c -- the API used wrongly and in any order: calls with stale handles, on the wrong side,
 * after the end, and closes that cross (SECURITY.md row 17). What is asked is that nothing is
 * followed that is gone: under AddressSanitizer a reference to freed or reused memory fails, and
 * without it the asserts and the count of what is left at the end do. */
#include "core/endpoint.h"
#include "tests/pair.h"

enum {
    ROUNDS = 60,
    CALLS = 1000,
    CONNS = 4,
    HANDLES = 32
};

struct chaos {
    struct pair *p;
    struct sim_rng rng;
    aq_conn conn[2][HANDLES]; /* of client and server, also those that are gone */
    aq_stream stream[2][HANDLES];
    unsigned conns[2], streams[2];
    uint8_t bytes[3000]; /* referenced by AQ_REF writes too */
};

static uint64_t below(struct chaos *k, uint64_t bound)
{
    return sim_rng_below(&k->rng, bound);
}

static void keep_conn(struct chaos *k, unsigned who, aq_conn conn)
{
    k->conn[who][k->conns[who]++ % HANDLES] = conn;
}

static void keep_stream(struct chaos *k, unsigned who, aq_stream stream)
{
    k->stream[who][k->streams[who]++ % HANDLES] = stream;
}

/* Any handle that was ever given, or one that never was. */
static uint64_t any(struct chaos *k, const uint64_t handles[HANDLES], unsigned count)
{
    uint64_t handle = handles[below(k, count < HANDLES ? count + 1 : HANDLES)];
    return below(k, 20) ? handle : handle ^ (UINT64_C(1) << below(k, 64));
}

static void events(struct chaos *k, unsigned who)
{
    struct side *s = who ? &k->p->server : &k->p->client;
    struct aq_event event;
    for (uint64_t n = below(k, 8); n > 0 && aq_next_event(s->ep, &event); n--) {
        if (event.kind == AQ_EVENT_ACCEPTED)
            keep_conn(k, who, event.conn);
        if (event.kind == AQ_EVENT_OPENED)
            keep_stream(k, who, event.stream);
    }
}

static void call_conn(struct chaos *k, unsigned who)
{
    struct aq_endpoint *ep = who ? k->p->server.ep : k->p->client.ep;
    struct aq_conn_stats stats = {.size = sizeof stats};
    struct aq_conn_peer peer = {.size = sizeof peer};
    struct aq_close_info info = {.size = sizeof info};
    struct aq_iov iov = {k->bytes, below(k, sizeof k->bytes)};
    aq_conn conn = any(k, k->conn[who], k->conns[who]);
    aq_stream stream = 0;
    uint8_t out[32];
    switch (below(k, 20)) {
    case 0:
        if (below(k, 30) == 0)
            aq_close(ep, conn, below(k, 2) ? 7 : UINT64_MAX, "chaos", k->p->now_us);
        break;
    case 1:
        if (below(k, 100) == 0)
            aq_refuse(ep, conn, NULL, k->p->now_us);
        break;
    case 2: aq_conn_set_user(ep, conn, k); break;
    case 3: aq_verify_done(ep, conn, true, k->p->now_us); break;
    case 4: aq_sign_done(ep, conn, k->bytes, 64, k->p->now_us); break;
    case 5: aq_key_update(ep, conn, k->p->now_us); break;
    case 6: aq_datagram_send(ep, conn, &iov, 1); break;
    case 7: aq_datagram_take(ep, conn); break;
    case 8: aq_ping(ep, conn, k->p->now_us); break;
    case 9: aq_conn_stats(ep, conn, &stats); break;
    case 10: aq_conn_peer(ep, conn, &peer); break;
    case 11: aq_conn_export(ep, conn, k->bytes, below(k, 80), out); break;
    case 12: aq_conn_close_info(ep, conn, &info); break;
    default:
        if (aq_stream_open(ep, conn, below(k, 2), k, &stream) == AQ_OK)
            keep_stream(k, who, stream);
        break;
    }
}

static void call_stream(struct chaos *k, unsigned who)
{
    struct aq_endpoint *ep = who ? k->p->server.ep : k->p->client.ep;
    struct aq_iov iov[2] = {{k->bytes, below(k, sizeof k->bytes)}, {k->bytes, 1}};
    aq_stream stream = any(k, k->stream[who], k->streams[who]);
    struct aq_iov got[4];
    bool fin;
    switch (below(k, 10)) {
    case 0:
    case 1: aq_stream_write(ep, stream, iov, (unsigned)below(k, 3), (unsigned)below(k, 4)); break;
    case 2: aq_stream_released(ep, stream); break;
    case 3: /* what peek shows is there to be read */
        for (int n = aq_stream_peek(ep, stream, got, 4, &fin); n > 0; n--)
            cr_assert(got[n - 1].size > 0 && got[n - 1].data[got[n - 1].size - 1] < 255);
        break;
    case 4: aq_stream_consume(ep, stream, below(k, 4000)); break;
    case 5: aq_stream_reset(ep, stream, below(k, 2) ? 9 : UINT64_MAX); break;
    case 6: aq_stream_reset_at(ep, stream, 9, below(k, 4000)); break;
    case 7: aq_stream_stop(ep, stream, 3); break;
    case 8: aq_stream_set_priority(ep, stream, (unsigned)below(k, 9), below(k, 2)); break;
    default:
        (void)aq_stream_user(ep, stream);
        (void)aq_stream_id(ep, stream);
        (void)aq_stream_conn(ep, stream);
        break;
    }
}

static void dial(struct chaos *k)
{
    struct aq_connect connect;
    aq_conn conn;
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = k->p->server.addr;
    connect.server_name = "sim.example";
    connect.user = k;
    if (aq_connect(k->p->client.ep, &connect, &conn, k->p->now_us) == AQ_OK)
        keep_conn(k, 0, conn);
}

/* The wire, while events wait for when chance asks for them. */
static void time_passes(struct chaos *k)
{
    k->p->client.lose_nth = k->p->client.sent + below(k, 30);
    k->p->server.lose_nth = k->p->server.sent + below(k, 30);
    pair_run(k->p, below(k, 30000));
}

static struct pair *small_pair(uint64_t memory_bytes)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.max_conns = server.max_conns = client.max_half_open = server.max_half_open = CONNS;
    client.max_streams = server.max_streams = 16; /* slots are soon used again */
    client.memory_bytes = server.memory_bytes = memory_bytes;
    client.datagram_max = server.datagram_max = 1200;
    struct pair *p = pair_new(&client, &server);
    p->client.deaf_events = p->server.deaf_events = true;
    return p;
}

static void all_is_given_back(struct chaos *k)
{
    struct pair *p = k->p;
    for (unsigned who = 0; who < 2; who++) {
        struct side *s = who ? &p->server : &p->client;
        for (unsigned i = 0; i < HANDLES; i++)
            aq_close(s->ep, k->conn[who][i], 0, NULL, p->now_us);
    }
    p->client.deaf_events = p->server.deaf_events = false;
    for (unsigned i = 0; i < 70; i++) {
        p->client.events = p->server.events = 0;
        pair_run(p, 1000000);
    }
    const struct side *sides[] = {&p->client, &p->server};
    for (unsigned i = 0; i < 2; i++) {
        struct aq_endpoint_stats stats = side_stats(sides[i]);
        cr_expect(stats.conns == 0 && stats.streams == 0 && stats.memory_bytes == 0,
                  "%u connections, %u streams, %lu bytes are left", stats.conns, stats.streams,
                  stats.memory_bytes);
    }
}

/* SECURITY.md 17 */
Test(misuse, any_call_in_any_order)
{
    unsigned accepted = 0, opened = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct chaos k = {.p = small_pair(round % 3 ? 8 << 20 : 64 << 10)};
        sim_rng_init(&k.rng, round);
        memset(k.bytes, 1, sizeof k.bytes);
        dial(&k);
        pair_run(k.p, 100000);
        for (unsigned i = 0; i < CALLS; i++) {
            unsigned who = (unsigned)below(&k, 2);
            switch (below(&k, 10)) {
            case 0: time_passes(&k); break;
            case 1: events(&k, who); break;
            case 2: call_conn(&k, who); break;
            case 3:
                if (below(&k, 10) == 0)
                    dial(&k);
                break;
            default: call_stream(&k, who); break;
            }
        }
        accepted += k.conns[1];
        opened += k.streams[1];
        all_is_given_back(&k);
        pair_free(k.p);
    }
    cr_expect(accepted > ROUNDS && opened > ROUNDS,
              "%u connections and %u streams: little happened", accepted, opened);
}
