/* nat_paths.c -- paths under NAT traversal, both sides, step by step (core/migrate.c,
 * core/paths.c): probes that move nobody, small until they are answered; the move to a path that is
 * there; and the way back to the relay when the direct path dies.
 *
 * The client dials through a relay: both see the relay's address, each its own channel. The direct
 * way, on other sockets, and the relay can be cut in either direction. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "tests/pair.h"

enum {
    RELAY,
    DIRECT,
    WAYS,
    UP = 0, /* from the client to the server */
    DOWN = 1,
    STREAM = 300000
};

struct way {
    bool cut[2]; /* by direction */
    uint64_t sent[2], sent_bytes[2];
    uint32_t largest[2], smallest[2];
    uint8_t dcid[2][CID_SIZE]; /* of the newest short header */
};

struct net {
    struct pair *p;
    struct aq_addr own[2], relay; /* direct addresses of client and server */
    struct way way[WAYS];
    uint32_t news[2]; /* AQ_PATH_ bits told to each */
    unsigned moves[2];
    uint64_t written, read;
    aq_stream stream[2];
};

static struct aq_addr at(uint8_t a, uint8_t b, uint16_t port)
{
    return (struct aq_addr){.ip = {10, a, 0, b}, .port = port, .family = 4};
}

static void net_take(struct net *n, const struct pair_datagram *d, unsigned dir)
{
    struct side *to = dir == UP ? &n->p->server : &n->p->client;
    unsigned which = d->channel ? RELAY : DIRECT;
    struct way *w = &n->way[which];
    uint32_t prefix = d->channel ? AQ_CHANNEL_PREFIX : 0;
    struct aq_buffer buffer;
    w->sent[dir]++;
    w->sent_bytes[dir] += d->size;
    w->largest[dir] = d->size > w->largest[dir] ? d->size : w->largest[dir];
    w->smallest[dir] = !w->smallest[dir] || d->size < w->smallest[dir] ? d->size : w->smallest[dir];
    if (!(d->data[prefix] & 0x80))
        memcpy(w->dcid[dir], d->data + prefix + 1, CID_SIZE);
    if (w->cut[dir]
        || !addr_equal(&d->remote, which == RELAY ? &n->relay : &n->own[dir == UP ? 1 : 0]))
        return;
    cr_assert_eq(d->channel, which == RELAY ? (dir == UP ? 7U : 8U) : 0U);
    cr_assert_eq(aq_recv_buffers(to->ep, &buffer, 1), 1);
    memcpy(buffer.data, d->data, d->size);
    struct aq_datagram in = {.data = buffer.data, .size = d->size, .ttl = 61};
    in.prefix = (uint16_t)prefix;
    in.channel = which == RELAY ? (dir == UP ? 8 : 7) : 0;
    in.remote = which == RELAY ? n->relay : n->own[dir == UP ? 0 : 1];
    in.socket = (uint16_t)which;
    if (which == DIRECT)
        in.local = n->own[dir == UP ? 1 : 0];
    cr_assert_eq(aq_recv(to->ep, &in, 1, n->p->now_us), AQ_OK);
}

/* Byte i of the stream. */
static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 31 + (i >> 8));
}

/* What came of the stream is the next of what was written, neither less nor more. */
static void net_read(struct net *n, struct side *s)
{
    struct aq_iov iov[16];
    bool fin;
    aq_stream stream = s == &n->p->server ? n->p->server.stream : n->stream[0];
    int got;
    if (!stream)
        return;
    while ((got = aq_stream_peek(s->ep, stream, iov, 16, &fin)) > 0) {
        uint64_t size = 0;
        for (int i = 0; i < got; i++) {
            for (size_t j = 0; j < iov[i].size; j++)
                cr_assert_eq(iov[i].data[j], byte_at(n->read + size + j));
            size += iov[i].size;
        }
        n->read += size;
        cr_assert_eq(aq_stream_consume(s->ep, stream, size), AQ_OK);
    }
}

static void net_events(struct net *n, unsigned i)
{
    struct side *s = i ? &n->p->server : &n->p->client;
    struct aq_event event;
    while (side_event(s, &event)) {
        if (event.kind != AQ_EVENT_PATH)
            continue;
        n->news[i] |= (uint32_t)event.value;
        n->moves[i] += (event.value & (AQ_PATH_MOVED | AQ_PATH_PEER_MOVED)) != 0;
    }
    net_read(n, s);
    s->events = 0;
}

static void net_run(struct net *n, uint64_t duration_us)
{
    struct pair *p = n->p;
    uint64_t end = p->now_us + duration_us;
    struct pair_datagram d;
    for (;;) {
        while (p->client.outs && p->client.out[0].at_us <= p->now_us && side_take(&p->client, &d))
            net_take(n, &d, UP);
        while (p->server.outs && p->server.out[0].at_us <= p->now_us && side_take(&p->server, &d))
            net_take(n, &d, DOWN);
        net_events(n, 0);
        net_events(n, 1);
        side_turn(&p->client, p->now_us);
        side_turn(&p->server, p->now_us);
        if (p->now_us >= end)
            return;
        uint64_t next = pair_next(&p->client), other = pair_next(&p->server);
        next = next < other ? next : other;
        next = next <= p->now_us ? p->now_us + 1 : next;
        p->now_us = next < end ? next : end;
    }
}

static struct net *net_new(uint8_t limit)
{
    struct net *n = calloc(1, sizeof *n);
    struct aq_config config[2];
    struct aq_connect connect;
    cr_assert_not_null(n);
    for (unsigned i = 0; i < 2; i++) {
        pair_config(&config[i], i);
        config[i].nat_limit = limit;
        config[i].observe = true;
        config[i].no_grease_bit = true;
    }
    n->p = pair_new(&config[0], &config[1]);
    n->p->client.deaf_events = n->p->server.deaf_events = true; /* net_events asks */
    n->own[0] = at(1, 1, 1001);
    n->own[1] = at(2, 2, 2002);
    n->relay = at(9, 9, 9009);
    aq_connect_init(&connect);
    connect.tls = sim_tls_client();
    connect.remote = n->relay;
    connect.channel = 7;
    connect.server_name = "sim.example";
    cr_assert_eq(aq_connect(n->p->client.ep, &connect, &n->p->client.conn, n->p->now_us), AQ_OK);
    net_run(n, 400000);
    memset(n->news, 0, sizeof n->news);
    return n;
}

static void net_free(struct net *n)
{
    cr_expect_not(n->p->client.closed);
    cr_expect_not(n->p->server.closed);
    pair_free(n->p);
    free(n);
}

static struct conn *inside(const struct side *s)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)s->ep, s->conn);
    cr_assert_not_null(c);
    return c;
}

static struct side *side_of(const struct net *n, unsigned i)
{
    return i ? &n->p->server : &n->p->client;
}

static struct aq_path_addr direct_of(const struct net *n, unsigned i)
{
    return (struct aq_path_addr){.local = n->own[i], .remote = n->own[!i], .socket = DIRECT};
}

static int probe(struct net *n, unsigned i, unsigned flags)
{
    struct aq_path_addr to = direct_of(n, i);
    struct side *s = side_of(n, i);
    return aq_conn_probe_path(s->ep, s->conn, &to, flags, n->p->now_us);
}

static int migrate(struct net *n, unsigned i)
{
    struct aq_path_addr to = direct_of(n, i);
    struct side *s = side_of(n, i);
    return aq_conn_migrate(s->ep, s->conn, &to, n->p->now_us);
}

static bool is_direct(const struct net *n, unsigned i)
{
    return !conn_path(inside(side_of(n, i)))->channel;
}

static struct aq_path_info info_of(const struct net *n, unsigned i, bool relayed)
{
    struct aq_path_info v[AQ_PATHS_MAX];
    struct side *s = side_of(n, i);
    unsigned count = aq_conn_paths(s->ep, s->conn, v, AQ_PATHS_MAX);
    for (unsigned j = 0; j < count; j++) {
        if ((v[j].channel != 0) == relayed)
            return v[j];
    }
    return (struct aq_path_info){0};
}

/* Both sides on the direct path, as after a traversal that worked. */
static struct net *net_direct(void)
{
    struct net *n = net_new(8);
    cr_assert_eq(probe(n, 0, 0), AQ_OK);
    net_run(n, 100000);
    cr_assert_eq(migrate(n, 0), AQ_OK);
    net_run(n, 200000);
    cr_assert(is_direct(n, 0) && is_direct(n, 1));
    memset(n->news, 0, sizeof n->news);
    n->moves[0] = n->moves[1] = 0;
    return n;
}

static void write_stream(struct net *n, unsigned i, uint64_t size)
{
    static uint8_t bytes[STREAM];
    struct side *s = side_of(n, i);
    aq_stream stream = i ? n->p->server.stream : n->stream[0];
    cr_assert_leq(size, sizeof bytes);
    for (uint64_t j = 0; j < size; j++)
        bytes[j] = byte_at(n->written + j);
    struct aq_iov iov = {bytes, size};
    cr_assert_eq(aq_stream_write(s->ep, stream, &iov, 1, 0), (int64_t)size);
    n->written += size;
}

/* The client's stream; i: who writes on it from now on. */
static void open_stream(struct net *n, unsigned i)
{
    struct side *c = &n->p->client;
    cr_assert_eq(aq_stream_open(c->ep, c->conn, false, NULL, &n->stream[0]), AQ_OK);
    if (!i)
        return;
    write_stream(n, 0, 1);
    net_run(n, 100000);
    cr_assert(n->p->server.stream);
    cr_assert_eq(n->read, 1);
    n->written = n->read = 0;
}

static void cut(struct net *n, unsigned which, bool up, bool down)
{
    n->way[which].cut[UP] = up;
    n->way[which].cut[DOWN] = down;
}

/* ---- probes ---------------------------------------------------------------------------------- */

/* PROTOCOL §1: either side probes, with an id of its own, in at most 64 bytes until the other has
 * answered, then with 1,200; and nobody moves. Then a move takes effect at once. */
static void probes(unsigned by)
{
    struct net *n = net_new(8);
    uint8_t relay_dcid[2][CID_SIZE];
    memcpy(relay_dcid, n->way[RELAY].dcid, sizeof relay_dcid);
    cr_assert_eq(probe(n, by, AQ_PROBE_SMALL), AQ_OK);
    net_run(n, 10000);
    struct way *w = &n->way[DIRECT];
    unsigned first = by ? DOWN : UP;
    cr_expect_eq(w->sent[first], 1);
    cr_expect_leq(w->largest[first], 64);
    net_run(n, 10000); /* the answer */
    cr_expect_eq(w->sent[!first], 1);
    cr_expect_leq(w->largest[!first], 64);
    cr_expect(info_of(n, by, false).validated && !info_of(n, by, false).full_size);
    net_run(n, 100000);
    cr_expect_eq(w->largest[UP], 1200);
    cr_expect_eq(w->largest[DOWN], 1200);
    for (unsigned i = 0; i < 2; i++) {
        struct aq_path_info direct = info_of(n, i, false);
        cr_expect(direct.validated && direct.full_size && !direct.active, "side %u", i);
        cr_expect_eq(direct.ttl, 61);
        cr_expect_eq(n->news[i], AQ_PATH_VALIDATED, "side %u: %u", i, n->news[i]);
        cr_expect_not(is_direct(n, i));
        cr_expect_neq(memcmp(w->dcid[i], relay_dcid[i], CID_SIZE), 0);
    }
    cr_expect(info_of(n, by, false).kept);
    if (by) { /* what the server opened ends at the client, if that does not want it */
        struct aq_path_addr to = direct_of(n, 0);
        cr_expect_eq(aq_conn_probe_path(n->p->client.ep, n->p->client.conn, &to, 0, n->p->now_us),
                     AQ_OK);
    }
    net_run(n, 8000000);
    cr_expect(info_of(n, 0, false).validated && info_of(n, 0, false).kept);
    cr_expect(!is_direct(n, 0) && !is_direct(n, 1));
    cr_expect_eq(migrate(n, 0), by || info_of(n, 0, false).validated ? AQ_OK : AQ_BLOCKED);
    cr_expect(is_direct(n, 0), "at once");
    net_run(n, 12000);
    cr_expect(is_direct(n, 1), "the server follows");
    net_run(n, 20000000);
    for (unsigned i = 0; i < 2; i++) {
        struct aq_path_info relay = info_of(n, i, true);
        cr_expect(relay.validated && relay.kept, "side %u: the relay stays", i);
        cr_expect(is_direct(n, i));
    }
    cr_expect_neq(n->news[0] & AQ_PATH_MOVED, 0);
    cr_expect_neq(n->news[1] & AQ_PATH_PEER_MOVED, 0);
    net_free(n);
}

Test(nat_paths, client_probes)
{
    probes(0);
}

Test(nat_paths, server_probes)
{
    probes(1);
}

/* Both open at once, as through NATs: two paths of the same addresses are one. */
Test(nat_paths, both_probe)
{
    struct net *n = net_new(8);
    cr_assert_eq(probe(n, 0, AQ_PROBE_SMALL), AQ_OK);
    cr_assert_eq(probe(n, 1, AQ_PROBE_SMALL), AQ_OK);
    net_run(n, 200000);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(paths_count(inside(side_of(n, i))), 2);
        cr_expect(info_of(n, i, false).validated && info_of(n, i, false).full_size);
    }
    net_free(n);
}

/* PROTOCOL §1: no more than 12 datagrams of 64 bytes to who does not answer, and then the path
 * ends: both sides hear of it, and its id is given back. */
Test(nat_paths, nobody_answers)
{
    for (unsigned i = 0; i < 2; i++) {
        struct net *n = net_new(8);
        cut(n, DIRECT, true, true);
        cr_assert_eq(probe(n, i, AQ_PROBE_SMALL), AQ_OK);
        net_run(n, 8000000);
        cr_expect_eq(n->news[i], AQ_PATH_PROBE_FAILED | AQ_PATH_ENDED);
        cr_expect_geq(n->way[DIRECT].sent[i], 2);
        cr_expect_leq(n->way[DIRECT].largest[i], 64);
        cr_expect_leq(n->way[DIRECT].sent_bytes[i], 12 * 64);
        cr_expect_eq(paths_count(inside(side_of(n, i))), 1);
        for (unsigned j = 0; j < 40; j++) { /* however often: ids do not run out */
            cr_expect_eq(probe(n, i, AQ_PROBE_SMALL), AQ_OK);
            struct aq_path_addr which = direct_of(n, i);
            net_run(n, 100000);
            cr_expect_eq(
                aq_conn_drop_path(side_of(n, i)->ep, side_of(n, i)->conn, &which, n->p->now_us),
                AQ_OK);
            net_run(n, 200000);
        }
        net_free(n);
    }
}

/* An address that has answered otherwise is asked with 1,200 bytes at once. */
Test(nat_paths, full_at_once)
{
    struct net *n = net_new(8);
    cr_assert_eq(probe(n, 1, 0), AQ_OK);
    net_run(n, 10000);
    cr_expect_eq(n->way[DIRECT].smallest[DOWN], 1200);
    net_run(n, 10000);
    cr_expect(info_of(n, 1, false).validated && info_of(n, 1, false).full_size);
    net_free(n);
}

/* A second call looks once more: one challenge, one answer; and when there is none, the path ends.
 */
Test(nat_paths, once_more)
{
    struct net *n = net_new(8);
    cr_assert_eq(probe(n, 0, 0), AQ_OK);
    net_run(n, 5000000);
    n->news[0] = 0;
    uint64_t sent = n->way[DIRECT].sent[UP];
    cr_assert_eq(probe(n, 0, 0), AQ_OK);
    net_run(n, 100000);
    cr_expect_eq(n->way[DIRECT].sent[UP], sent + 1);
    cr_expect_eq(n->news[0], AQ_PATH_VALIDATED);
    cut(n, DIRECT, true, true);
    cr_assert_eq(probe(n, 0, 0), AQ_OK);
    net_run(n, 5000000);
    cr_expect_eq(n->news[0], AQ_PATH_VALIDATED | AQ_PATH_PROBE_FAILED | AQ_PATH_ENDED);
    net_free(n);
}

/* Each refusal has its name. */
Test(nat_paths, refusals)
{
    struct net *n = net_new(8);
    struct aq_path_addr to = direct_of(n, 0);
    struct aq_endpoint *ep = n->p->client.ep;
    aq_conn conn = n->p->client.conn;
    to.remote.port = 0;
    cr_expect_eq(aq_conn_probe_path(ep, conn, &to, 0, n->p->now_us), AQ_MISUSE);
    to = direct_of(n, 0);
    to.remote = to.local;
    cr_expect_eq(aq_conn_probe_path(ep, conn, &to, 0, n->p->now_us), AQ_MISUSE, "ours");
    to = direct_of(n, 0);
    to.remote.family = 6;
    cr_expect_eq(aq_conn_probe_path(ep, conn, &to, 0, n->p->now_us), AQ_MISUSE);
    to = direct_of(n, 0);
    cr_expect_eq(aq_conn_drop_path(ep, conn, &to, n->p->now_us), AQ_MISUSE, "there is none");
    cr_expect_eq(migrate(n, 1), AQ_MISUSE, "a server goes to what is there");
    for (uint16_t i = 0; i < PATHS; i++) { /* none of ours gives way to another */
        to.remote.port = (uint16_t)(100 + i);
        cr_expect_eq(aq_conn_probe_path(ep, conn, &to, AQ_PROBE_SMALL, n->p->now_us),
                     i < PATHS - 1 ? AQ_OK : AQ_FULL);
    }
    to.remote.port = 100;
    cr_expect_eq(aq_conn_migrate(ep, conn, &to, n->p->now_us), AQ_BLOCKED, "not validated");
    struct aq_path_addr active = {.remote = n->relay, .channel = 7};
    cr_expect_eq(aq_conn_drop_path(ep, conn, &active, n->p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_migrate(ep, conn, &active, n->p->now_us), AQ_MISUSE);
    aq_close(ep, conn, 0, NULL, n->p->now_us);
    cr_expect_eq(aq_conn_probe_path(ep, conn, &to, 0, n->p->now_us), AQ_GONE);
    cr_expect_eq(aq_conn_drop_path(ep, conn, &to, n->p->now_us), AQ_GONE);
    pair_free(n->p);
    free(n);
    n = net_new(0);
    cr_expect_eq(probe(n, 0, 0), AQ_MISUSE, "not negotiated");
    cr_expect_eq(probe(n, 1, 0), AQ_MISUSE);
    net_free(n);
}

/* PROTOCOL §1: the address is told on each path that is validated, there, with a number that grows.
 */
Test(nat_paths, observed_on_each_path)
{
    struct net *n = net_direct();
    for (unsigned i = 0; i < 2; i++) {
        struct aq_nat_news news;
        bool relayed = false, direct = false;
        while (aq_nat_next(side_of(n, i)->ep, side_of(n, i)->conn, &news)) {
            cr_expect_eq(news.kind, AQ_NAT_OBSERVED);
            if (news.path.channel) {
                relayed = news.seq == 0 && addr_equal(&news.addr, &n->relay);
            } else {
                direct = news.seq == 1 && addr_equal(&news.addr, &n->own[i])
                         && addr_equal(&news.path.remote, &n->own[!i]);
            }
        }
        cr_expect(relayed && direct, "side %u", i);
    }
    net_free(n);
}

/* The prefix of a channel takes its bytes from ours, and only there. */
Test(nat_paths, mtu_counts_the_prefix)
{
    struct net *n = net_direct();
    for (unsigned i = 0; i < 2; i++) {
        struct conn *c = inside(side_of(n, i));
        for (unsigned j = 0; j < PATHS; j++) {
            if (c->path[j])
                cr_expect_eq(c->path[j]->mtu.max,
                             AQ_MTU_DEFAULT - (c->path[j]->channel ? AQ_CHANNEL_PREFIX : 0));
        }
    }
    open_stream(n, 0);
    write_stream(n, 0, STREAM);
    net_run(n, 1000000);
    cr_expect_eq(n->read, STREAM);
    cr_expect_eq(n->way[DIRECT].largest[UP], AQ_MTU_DEFAULT);
    struct aq_path_addr relay = {.remote = n->relay, .channel = 7};
    cr_expect_eq(aq_conn_migrate(n->p->client.ep, n->p->client.conn, &relay, n->p->now_us), AQ_OK);
    write_stream(n, 0, STREAM);
    net_run(n, 3000000);
    cr_expect_eq(n->read, 2 * STREAM);
    cr_expect_eq(n->way[RELAY].largest[UP], AQ_MTU_DEFAULT);
    net_free(n);
}

/* ---- the direct path dies -------------------------------------------------------------------- */

/* In the middle of a transfer: after two PTOs it goes on through the relay, and not a byte is
 * missing or comes twice. The direct path heals, and the client takes it again. */
static void dies(unsigned writer, bool up, bool down)
{
    struct net *n = net_direct();
    open_stream(n, writer);
    write_stream(n, writer, STREAM);
    net_run(n, 25000);
    cr_assert_lt(n->read, STREAM);
    cut(n, DIRECT, up, down);
    net_run(n, 2000000);
    cr_expect_eq(n->read, STREAM, "%llu", (unsigned long long)n->read);
    write_stream(n, writer, STREAM);
    cut(n, DIRECT, false, false);
    net_run(n, 3000000);
    cr_expect_eq(n->read, 2 * STREAM);
    cr_expect_neq((n->news[0] | n->news[1]) & AQ_PATH_FELL_BACK, 0);
    cr_expect_leq(n->moves[0], 2);
    cr_expect_leq(n->moves[1], 3);
    if (!is_direct(n, 0)) {
        if (!info_of(n, 0, false).validated) {
            cr_assert_eq(probe(n, 0, 0), AQ_OK);
            net_run(n, 200000);
        }
        cr_assert_eq(migrate(n, 0), AQ_OK);
    }
    net_run(n, 4000000);
    write_stream(n, writer, STREAM);
    net_run(n, 2000000);
    cr_expect_eq(n->read, 3 * STREAM);
    cr_expect(is_direct(n, 0) && is_direct(n, 1));
    net_free(n);
}

Test(nat_paths, dies_while_the_client_sends)
{
    dies(0, true, true);
}

Test(nat_paths, dies_while_the_server_sends)
{
    dies(1, true, true);
}

Test(nat_paths, dies_one_way)
{
    for (unsigned i = 0; i < 4; i++)
        dies(i & 1, i & 2, !(i & 2));
}

/* The server falls back, and the client, which sends nothing, follows it; then both at the same
 * time: neither leads the other away again. */
Test(nat_paths, no_chase)
{
    for (unsigned i = 0; i < 3; i++) {
        struct net *n = net_direct();
        cut(n, DIRECT, true, true);
        if (i != 1)
            cr_assert_eq(aq_ping(n->p->client.ep, n->p->client.conn, n->p->now_us), AQ_OK);
        if (i != 0)
            cr_assert_eq(aq_ping(n->p->server.ep, n->p->server.conn, n->p->now_us), AQ_OK);
        cut(n, RELAY, i == 2, i == 2); /* neither hears that the other falls back, too */
        for (unsigned j = 0; i == 2 && j < 2000 && (is_direct(n, 0) || is_direct(n, 1)); j++)
            net_run(n, 1000);
        cut(n, RELAY, false, false);
        net_run(n, 10000000);
        for (unsigned j = 0; j < 2; j++) {
            cr_expect_not(is_direct(n, j));
            cr_expect_eq(n->moves[j], 1, "%u: side %u moved %u times", i, j, n->moves[j]);
            cr_expect_eq(info_of(n, j, false).mtu, 0, "the dead path has ended");
        }
        cr_expect_neq(n->news[0] & AQ_PATH_FELL_BACK, 0, "by itself, or after the server");
        cr_expect_eq((n->news[1] & AQ_PATH_FELL_BACK) != 0, i > 0, "%u", i);
        net_free(n);
    }
}

/* It was only a pause: the path is validated again and stays, and the client may go back at once.
 */
Test(nat_paths, a_pause)
{
    struct net *n = net_direct();
    open_stream(n, 0);
    write_stream(n, 0, STREAM);
    net_run(n, 15000);
    cut(n, DIRECT, true, true);
    while (is_direct(n, 0))
        net_run(n, 1000);
    cr_expect_eq(migrate(n, 0), AQ_BLOCKED, "nothing has come through yet");
    cut(n, DIRECT, false, false);
    net_run(n, 1500000);
    cr_expect_neq(n->news[0] & AQ_PATH_VALIDATED, 0);
    cr_expect(info_of(n, 0, false).kept && info_of(n, 0, false).validated);
    cr_assert_eq(migrate(n, 0), AQ_OK);
    net_run(n, 4000000);
    cr_expect(is_direct(n, 0) && is_direct(n, 1));
    cr_expect_eq(n->read, STREAM);
    net_free(n);
}

/* A move while the server's data is under way through the relay: what comes late from there does
 * not lead the client back. */
Test(nat_paths, late_packets_lead_nobody_back)
{
    struct net *n = net_new(8);
    open_stream(n, 1);
    cr_assert_eq(probe(n, 0, 0), AQ_OK);
    net_run(n, 100000);
    for (unsigned i = 0; i < 20; i++) {
        write_stream(n, 1, 3000);
        net_run(n, 1000);
        if (i == 5)
            cr_assert_eq(migrate(n, 0), AQ_OK);
        cr_expect_eq(is_direct(n, 0), i >= 5);
    }
    net_run(n, 5000000);
    cr_expect(is_direct(n, 0) && is_direct(n, 1));
    cr_expect_eq(n->moves[0], 1);
    cr_expect_eq(n->read, n->written);
    net_free(n);
}

/* Whatever else opens paths, the relayed one stays. */
Test(nat_paths, the_relay_is_nobodys_victim)
{
    struct net *n = net_direct();
    struct conn *s = inside(&n->p->server);
    for (uint16_t i = 0; i < 40; i++) {
        n->own[0].port = (uint16_t)(3000 + i); /* the client's NAT rebinds */
        cr_assert_eq(aq_ping(n->p->client.ep, n->p->client.conn, n->p->now_us), AQ_OK);
        net_run(n, 60000);
        bool relayed = false;
        for (unsigned j = 0; j < PATHS; j++)
            relayed |= s->path[j] && s->path[j]->channel == 8;
        cr_expect(relayed);
    }
    net_run(n, 3000000);
    cr_expect(is_direct(n, 0) && is_direct(n, 1));
    net_free(n);
}

/* RFC 9002 §6.2.1: looking at other paths restarts the probe timeout each time; that the path in
 * use is dead is told all the same, while nothing at all comes. */
Test(nat_paths, looking_elsewhere_hides_no_silence)
{
    struct net *n = net_new(8);
    const struct conn *c = inside(&n->p->client);
    net_run(n, 500000);
    cut(n, RELAY, true, true);
    cut(n, DIRECT, true, true);
    cr_assert_eq(aq_ping(n->p->client.ep, n->p->client.conn, n->p->now_us), AQ_OK);
    unsigned probed = 0;
    for (; !(n->news[0] & AQ_PATH_SILENT); probed++) { /* as long as there are ids to do it with */
        struct aq_path_addr old = direct_of(n, 0);
        n->own[1].port = (uint16_t)(3000 + probed);
        if (probe(n, 0, AQ_PROBE_SMALL) != AQ_OK)
            break;
        net_run(n, conn_pto(c, SPACE_APP) * 9 / 10);
        (void)aq_conn_drop_path(n->p->client.ep, n->p->client.conn, &old, n->p->now_us);
    }
    cr_expect_gt(probed, 5);
    cr_expect_neq(n->news[0] & AQ_PATH_SILENT, 0, "%u probes, %u timeouts", probed, c->pto_count);
    net_free(n);
}
