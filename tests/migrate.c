/* migrate.c -- moving from one path to another, both sides, step by step (RFC 9000 §8.2, §9).
 *
 * A pair of endpoints on addresses that the test changes: the client's sockets have addresses of
 * their own or a NAT before them, the server may have a second socket for its preferred address.
 * What is sent to an address where nobody is, is counted there. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "tests/pair.h"

enum {
    SOCKETS = 6
};

struct net {
    struct pair *p;
    struct aq_addr client[SOCKETS]; /* as the server sees them; family 0: nobody hears there */
    struct aq_addr server[2];
    struct aq_addr stray;     /* last address where nobody was */
    uint64_t stray_bytes;     /* sent there by the server */
    uint64_t to_bytes[SOCKETS], from_bytes[SOCKETS];
    bool no_answers;          /* the client's path validation is not answered: its probes are lost */
    uint8_t dcid[SOCKETS][2][CID_SIZE]; /* last seen of the client, of the server */
    bool tried_meanwhile;     /* a move was refused while the preferred address was tried */
    uint64_t sizes[SOCKETS];  /* largest datagram of the server to each */
};

static struct aq_addr at(uint8_t a, uint8_t b, uint16_t port)
{
    return (struct aq_addr){.ip = {10, a, 0, b}, .port = port, .family = 4};
}

static struct net *net_new(const struct aq_config *client, const struct aq_config *server)
{
    struct net *n = calloc(1, sizeof *n);
    cr_assert_not_null(n);
    n->p = pair_new(client, server);
    n->client[0] = n->p->client.addr;
    n->server[0] = n->p->server.addr;
    n->server[1] = at(9, 2, 4433);
    return n;
}

static void net_free(struct net *n)
{
    pair_free(n->p);
    free(n);
}

static void give(struct side *s, const struct pair_datagram *d, const struct aq_addr *from,
                 uint16_t socket, const struct aq_addr *local, uint64_t now_us)
{
    struct aq_buffer buffer;
    cr_assert_eq(aq_recv_buffers(s->ep, &buffer, 1), 1);
    memcpy(buffer.data, d->data, d->size);
    struct aq_datagram in = {
        .data = buffer.data, .size = d->size, .remote = *from, .socket = socket, .ttl = s->ttl};
    if (socket)
        in.local = *local;
    cr_assert_eq(aq_recv(s->ep, &in, 1, now_us), AQ_OK);
}

static void net_up(struct net *n, const struct pair_datagram *d)
{
    uint16_t socket = addr_equal(&d->remote, &n->server[1]) ? 1 : 0;
    n->from_bytes[d->socket] += d->size;
    if (!(d->data[0] & 0x80))
        memcpy(n->dcid[d->socket][0], d->data + 1, CID_SIZE);
    if ((n->no_answers && d->socket) || !addr_equal(&d->remote, &n->server[socket]))
        return;
    give(&n->p->server, d, &n->client[d->socket], socket, &n->server[socket], n->p->now_us);
}

static void net_down(struct net *n, const struct pair_datagram *d)
{
    for (uint16_t i = 0; i < SOCKETS; i++) {
        if (!n->client[i].family || !addr_equal(&n->client[i], &d->remote))
            continue;
        n->to_bytes[i] += d->size;
        if (d->size > n->sizes[i])
            n->sizes[i] = d->size;
        if (!(d->data[0] & 0x80))
            memcpy(n->dcid[i][1], d->data + 1, CID_SIZE);
        if (!n->no_answers || !i)
            give(&n->p->client, d, &n->server[d->socket], i, &n->client[i], n->p->now_us);
        return;
    }
    n->stray = d->remote;
    n->stray_bytes += d->size;
}

static void net_run(struct net *n, uint64_t duration_us)
{
    struct pair *p = n->p;
    uint64_t end = p->now_us + duration_us;
    struct pair_datagram d;
    for (;;) {
        while (p->client.outs && p->client.out[0].at_us <= p->now_us && side_take(&p->client, &d))
            net_up(n, &d);
        while (p->server.outs && p->server.out[0].at_us <= p->now_us && side_take(&p->server, &d))
            net_down(n, &d);
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

static struct net *net_connected(const struct aq_config *client, const struct aq_config *server)
{
    struct net *n = net_new(client, server);
    pair_dial(n->p);
    net_run(n, 300000);
    cr_assert_eq(side_count(&n->p->client, AQ_EVENT_CONFIRMED), 1);
    cr_assert_eq(side_count(&n->p->server, AQ_EVENT_CONFIRMED), 1);
    return n;
}

static struct conn *inside(const struct side *s)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)s->ep, s->conn);
    cr_assert_not_null(c);
    return c;
}

/* The client's stream, which the server sends down without an end. */
static void write_some(struct side *s, aq_stream stream, size_t size)
{
    static uint8_t bytes[1 << 16];
    cr_assert_leq(size, sizeof bytes);
    struct aq_iov iov = {bytes, size};
    cr_assert_eq(aq_stream_write(s->ep, stream, &iov, 1, 0), (int64_t)size);
}

static aq_stream open_stream(struct net *n)
{
    aq_stream stream;
    cr_assert_eq(aq_stream_open(n->p->client.ep, n->p->client.conn, false, NULL, &stream), AQ_OK);
    write_some(&n->p->client, stream, 1000);
    net_run(n, 100000);
    cr_assert(n->p->server.stream);
    return stream;
}

/* Ping by the client: the least that is more than a probe. */
static void ping(struct net *n)
{
    cr_assert_eq(aq_ping(n->p->client.ep, n->p->client.conn, n->p->now_us), AQ_OK);
}

static unsigned infos(const struct side *s, struct aq_path_info v[AQ_PATHS_MAX])
{
    return aq_conn_paths(s->ep, s->conn, v, AQ_PATHS_MAX);
}

Test(migrate, a_path_tells_the_hop_limit_of_its_last_packet)
{
    struct net *n = net_connected(NULL, NULL);
    struct side *client = &n->p->client;
    struct aq_path_info v[AQ_PATHS_MAX];
    uint8_t forged[100] = {0x40};
    cr_expect_eq(infos(client, v), 1);
    cr_expect_eq(v[0].ttl, 0, "the host does not tell");
    client->ttl = 57;
    ping(n);
    net_run(n, 100000);
    infos(client, v);
    cr_expect_eq(v[0].ttl, 57);
    infos(&n->p->server, v);
    cr_expect_eq(v[0].ttl, 0);

    struct aq_endpoint_stats stats = {.size = sizeof stats};
    aq_endpoint_stats(client->ep, &stats);
    uint64_t before = stats.drop_auth;
    client->ttl = 3;
    memcpy(forged + 1, n->dcid[0][1], CID_SIZE);
    side_recv(client, &n->server[0], forged, sizeof forged, n->p->now_us);
    aq_endpoint_stats(client->ep, &stats);
    cr_expect_eq(stats.drop_auth, before + 1);
    infos(client, v);
    cr_expect_eq(v[0].ttl, 57, "what is not authentic says nothing");
    net_free(n);
}

/* ---- the peer's NAT ------------------------------------------------------------------------- */

/* RFC 9000 §9.3, §9.4: another port: the server follows at once, validates, and keeps what it has
 * learned of the network. RFC 9000 §9.5: the same id, since the client knows of nothing. */
Test(migrate, port_rebinds)
{
    struct net *n = net_connected(NULL, NULL);
    open_stream(n);
    write_some(&n->p->server, n->p->server.stream, 60000);
    net_run(n, 300000);
    struct conn *c = inside(&n->p->server);
    uint64_t cwnd = conn_path(c)->cc.cwnd_bytes, rtt = conn_path(c)->rtt.smoothed_us;
    uint32_t seq = conn_path(c)->cid_seq;
    cr_assert_gt(cwnd, 12000);
    n->client[0].port++;
    ping(n);
    net_run(n, 12000);
    struct aq_path_info v[AQ_PATHS_MAX];
    cr_expect_eq(infos(&n->p->server, v), 2);
    cr_expect(addr_equal(&conn_path(c)->remote, &n->client[0]));
    cr_expect_eq(conn_path(c)->state, PATH_VALIDATING);
    cr_expect_eq(pair_stats(&n->p->server).status, AQ_STATUS_PATH_VALIDATING);
    cr_expect_eq(n->p->server.value & AQ_PATH_PEER_MOVED, AQ_PATH_PEER_MOVED);
    cr_expect_geq(conn_path(c)->cc.cwnd_bytes, cwnd);
    cr_expect_eq(conn_path(c)->cid_seq, seq);
    cr_expect_eq(conn_path(c)->rtt.smoothed_us, rtt);
    net_run(n, 50000);
    cr_expect_eq(conn_path(c)->state, PATH_VALID);
    cr_expect(conn_path(c)->mtu_valid);
    net_run(n, 4000000); /* RFC 9000 §9.3.3: the old one was asked too, and said nothing */
    cr_expect_eq(infos(&n->p->server, v), 1);
    cr_expect_gt(n->stray_bytes, 1200);
    cr_expect_eq(conn_path(c), &c->first, "what an idle connection has lies in it");
    cr_expect_eq(((struct endpoint *)n->p->server.ep)->paths.used, 0);
    cr_expect_eq(side_count(&n->p->client, AQ_EVENT_PONG), 1);
    net_free(n);
}

/* RFC 9000 §9.4: another address: congestion control and RTT begin anew; what was sent on the old
 * path has no say in it. */
Test(migrate, address_rebinds)
{
    struct net *n = net_connected(NULL, NULL);
    open_stream(n);
    write_some(&n->p->server, n->p->server.stream, 60000);
    net_run(n, 300000);
    struct conn *c = inside(&n->p->server);
    cr_assert_gt(conn_path(c)->cc.cwnd_bytes, 12000);
    n->client[0] = at(7, 1, 999);
    ping(n);
    write_some(&n->p->server, n->p->server.stream, 60000);
    net_run(n, 10500);
    cr_expect(addr_equal(&conn_path(c)->remote, &n->client[0]));
    cr_expect_eq(conn_path(c)->cc.cwnd_bytes, 12000);
    cr_expect_eq(conn_path(c)->rtt.first_sample_us, AQ_NEVER);
    /* RFC 9000 §8.1, §9.3.1: three times the ping and no more until the answer */
    cr_expect_leq(conn_path(c)->sent_bytes, 3 * conn_path(c)->recv_bytes);
    net_run(n, 3000000);
    cr_expect_eq(conn_path(c)->state, PATH_VALID);
    cr_expect_gt(conn_path(c)->cc.cwnd_bytes, 12000);
    cr_expect_eq(inside(&n->p->client)->streams.count, 1);
    net_free(n);
}

/* RFC 9000 §8.2.1, §8.2.3: the first challenge went in a small datagram, for want of credit: its
 * answer proves the address alone, and a second one of 1,200 bytes the rest. RFC 9000 §8.2.2: nothing is expanded beyond three times what came. */
Test(migrate, small_then_full)
{
    struct net *n = net_connected(NULL, NULL);
    struct conn *c = inside(&n->p->server);
    n->client[0] = at(7, 1, 999);
    ping(n);
    net_run(n, 1000);
    memset(n->sizes, 0, sizeof n->sizes);
    net_run(n, 20500); /* challenge there */
    cr_expect(n->sizes[0] > 0 && n->sizes[0] < 200, "%llu", (unsigned long long)n->sizes[0]);
    cr_expect_eq(conn_path(c)->state, PATH_VALIDATING);
    net_run(n, 10000); /* its answer, of 1,200 bytes */
    cr_expect_eq(conn_path(c)->state, PATH_VALID);
    cr_expect_not(conn_path(c)->mtu_valid);
    cr_expect(path_is_checked(conn_path(c)));
    net_run(n, 30000);
    cr_expect_eq(n->sizes[0], 1200);
    cr_expect(conn_path(c)->mtu_valid && !path_is_checked(conn_path(c)));
    net_free(n);
}

/* RFC 9000 §9.3: an older packet from another address moves nothing. */
Test(migrate, only_the_highest_number)
{
    struct net *n = net_connected(NULL, NULL);
    struct pair *p = n->p;
    struct pair_datagram old;
    struct conn *c = inside(&p->server);
    ping(n);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &old));
    p->now_us += 1000;
    ping(n);
    net_run(n, 100000);
    struct aq_addr elsewhere = at(7, 1, 999);
    give(&p->server, &old, &elsewhere, 0, NULL, p->now_us);
    cr_expect(addr_equal(&conn_path(c)->remote, &n->client[0]));
    cr_expect_eq(side_count(&p->server, AQ_EVENT_PATH), 0);
    net_free(n);
}

/* RFC 9000 §9.3.2: a spurious migration: the address does not answer, and gets no more than three
 * times what came from there; a newer packet from the true one, or the end of the validation,
 * leads back. Nothing is lost. */
static void spoofed(bool goes_on)
{
    struct net *n = net_connected(NULL, NULL);
    struct pair *p = n->p;
    struct pair_datagram d;
    struct conn *c = inside(&p->server);
    struct aq_addr victim = at(66, 6, 53);
    open_stream(n);
    ping(n);
    side_turn(&p->client, p->now_us);
    cr_assert(side_take(&p->client, &d));
    give(&p->server, &d, &victim, 0, NULL, p->now_us); /* first, so that the true one is a copy */
    give(&p->server, &d, &n->client[0], 0, NULL, p->now_us);
    cr_expect(addr_equal(&conn_path(c)->remote, &victim));
    write_some(&p->server, p->server.stream, 60000);
    if (goes_on) {
        net_run(n, 2000);
        ping(n);
        net_run(n, 15000);
    } else {
        net_run(n, 6000000);
        cr_expect_eq(side_count(&p->client, AQ_EVENT_PONG), 1);
    }
    cr_expect(addr_equal(&conn_path(c)->remote, &n->client[0]));
    cr_expect_eq(conn_path(c)->state, PATH_VALID);
    cr_expect(addr_equal(&n->stray, &victim));
    cr_expect_leq(n->stray_bytes, 3 * (uint64_t)d.size);
    net_run(n, 20000000);
    cr_expect_leq(n->stray_bytes, 3 * (uint64_t)d.size);
    cr_expect_eq(inside(&p->server)->app.sent.eliciting_in_flight, 0);
    cr_expect_eq(((struct endpoint *)p->server.ep)->paths.used, 0);
    net_free(n);
}

Test(migrate, spoofed_while_it_goes_on)
{
    spoofed(true);
}

Test(migrate, spoofed_and_silent)
{
    spoofed(false);
}

/* SECURITY.md row 14: however many addresses, no more than PATHS are kept, and as many new ones in a
 * time as the bucket holds. */
Test(migrate, paths_are_bounded)
{
    struct net *n = net_connected(NULL, NULL);
    struct pair *p = n->p;
    struct conn *c = inside(&p->server);
    unsigned moves = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct aq_addr before = conn_path(c)->remote;
        struct pair_datagram d;
        struct aq_addr from = at(20, (uint8_t)i, (uint16_t)(100 + i));
        ping(n);
        side_turn(&p->client, p->now_us);
        cr_assert(side_take(&p->client, &d));
        give(&p->server, &d, &from, 0, NULL, p->now_us);
        moves += !addr_equal(&before, &conn_path(c)->remote);
        cr_expect_leq(paths_count(c), PATHS);
        cr_expect_leq(((struct endpoint *)p->server.ep)->paths.used, PATHS - 1);
    }
    cr_expect_eq(moves, 9, "the bucket, at one moment");
    struct aq_endpoint_stats stats = side_stats(&p->server);
    cr_expect_eq(stats.drop_path, 191);
    net_run(n, 5000000);
    ping(n);
    net_run(n, 100000);
    cr_expect(addr_equal(&conn_path(c)->remote, &n->client[0]), "and it goes on");
    cr_expect_eq(conn_path(c)->state, PATH_VALID);
    net_free(n);
}

/* ---- the client's own wish ------------------------------------------------------------------- */

static struct aq_path_addr to_socket(const struct net *n, uint16_t socket)
{
    return (struct aq_path_addr){.local = n->client[socket], .socket = socket};
}

/* RFC 9000 §9.2, §9.5: validated first, then moved to, and the server follows; with ids that
 * neither side has used on the old path, and whose predecessors are retired. */
Test(migrate, client_moves)
{
    struct net *n = net_connected(NULL, NULL);
    struct pair *p = n->p;
    struct conn *c = inside(&p->client), *s = inside(&p->server);
    n->client[1] = at(8, 1, 777);
    struct aq_path_addr to = to_socket(n, 1);
    net_run(n, 100000);
    cr_assert_eq(aq_conn_migrate(p->client.ep, p->client.conn, &to, p->now_us), AQ_OK);
    net_run(n, 10500);
    /* RFC 9000 §9.1: a probe has arrived, which moves nobody, but is answered and asked in turn */
    cr_expect_eq(c->active, 0);
    cr_expect(addr_equal(&conn_path(s)->remote, &n->client[0]));
    cr_expect_eq(paths_count(s), 2);
    cr_expect_eq(n->from_bytes[1], 1200);
    net_run(n, 60000);
    cr_expect_eq(p->client.value & AQ_PATH_MOVED, AQ_PATH_MOVED);
    cr_expect_eq(p->server.value & AQ_PATH_PEER_MOVED, AQ_PATH_PEER_MOVED);
    cr_expect(addr_equal(&conn_path(s)->remote, &n->client[1]));
    cr_expect_eq(conn_path(c)->socket, 1);
    cr_expect_eq(conn_path(s)->state, PATH_VALID);
    for (unsigned side = 0; side < 2; side++)
        cr_expect_neq(memcmp(n->dcid[0][side], n->dcid[1][side], CID_SIZE), 0, "side %u", side);
    cr_expect_neq(conn_path(c)->cid_seq, 0);
    cr_expect_neq(conn_path(s)->cid_seq, 0);
    uint64_t old_bytes = n->from_bytes[0];
    net_run(n, 8000000);
    cr_expect_eq(p->client.value, AQ_PATH_ENDED);
    cr_expect_eq(paths_count(c), 1);
    cr_expect_eq(paths_count(s), 1);
    cr_expect_null(cid_peer_find(&c->peer_cids, 0));
    cr_expect_null(cid_peer_find(&s->peer_cids, 0));
    cr_expect_not(cid_local_is_active(&c->cids, 0));
    cr_expect(cid_peer_has_spare(&c->peer_cids) && cid_peer_has_spare(&s->peer_cids));
    cr_expect_leq(n->from_bytes[0], old_bytes + 4 * 1200, "answers to the old path's validation");
    net_free(n);
}

/* RFC 9000 §8.2.4: what is not answered in three PTOs of an unknown path has failed; the connection
 * stays where it is. */
Test(migrate, client_stays)
{
    struct net *n = net_connected(NULL, NULL);
    struct pair *p = n->p;
    n->client[1] = at(8, 1, 777);
    n->no_answers = true;
    struct aq_path_addr to = to_socket(n, 1);
    cr_assert_eq(aq_conn_migrate(p->client.ep, p->client.conn, &to, p->now_us), AQ_OK);
    net_run(n, 2900000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_PATH), 0);
    cr_expect_eq(n->from_bytes[1], 3 * 1200, "RFC 9000 §9.4: no sooner than a PTO");
    net_run(n, 400000);
    cr_expect_eq(p->client.value, AQ_PATH_FAILED | AQ_PATH_ENDED);
    ping(n);
    net_run(n, 100000);
    cr_expect_eq(side_count(&p->client, AQ_EVENT_PONG), 1);
    cr_expect_eq(n->from_bytes[1], 3 * 1200);
    cr_expect_eq(paths_count(inside(&p->client)), 1);
    net_free(n);
}

/* Each refusal has its name. RFC 9000 §9, RFC 9000 §18.2: not before confirmation, not where the peer forbids it. */
Test(migrate, refusals)
{
    struct aq_config server;
    struct net *n = net_new(NULL, NULL);
    struct pair *p = n->p;
    n->client[1] = at(8, 1, 777);
    struct aq_path_addr to = to_socket(n, 1), same = to_socket(n, 0), six = to;
    same.local.family = 0;
    six.remote = (struct aq_addr){.family = 6, .port = 1};
    pair_dial(p);
    cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn, &to, p->now_us), AQ_BLOCKED,
                 "RFC 9000 §9: not before the handshake is confirmed");
    net_run(n, 300000);
    cr_expect_eq(aq_conn_migrate(p->server.ep, p->server.conn, &to, p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn, &same, p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn, &six, p->now_us), AQ_MISUSE);
    cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn + 5, &to, p->now_us), AQ_GONE);
    for (unsigned i = 0; i < 3; i++) { /* each wish takes an id, and none comes: nothing runs */
        to.socket++;
        cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn, &to, p->now_us), AQ_OK);
    }
    to.socket++;
    cr_expect_eq(aq_conn_migrate(p->client.ep, p->client.conn, &to, p->now_us), AQ_FULL);
    net_free(n);
    pair_config(&server, true);
    server.no_migration = true;
    n = net_connected(NULL, &server);
    cr_expect_eq(aq_conn_migrate(n->p->client.ep, n->p->client.conn, &to, n->p->now_us),
                 AQ_REFUSED);
    net_free(n);
}

/* ---- the server's preferred address ---------------------------------------------------------- */

static struct net *preferred(bool refused, bool dead)
{
    struct aq_config client, server;
    pair_config(&client, false);
    pair_config(&server, true);
    client.no_preferred = refused;
    server.no_migration = true; /* RFC 9000 §9: which does not stand against this */
    server.preferred4 = at(9, 2, 4433);
    struct net *n = net_new(&client, &server);
    if (dead)
        n->server[1] = at(99, 99, 1);
    pair_dial(n->p);
    n->client[2] = at(8, 2, 778);
    struct aq_path_addr to = {.local = n->client[2], .socket = 2};
    while (side_count(&n->p->client, AQ_EVENT_CONFIRMED) == 0)
        net_run(n, 1000);
    n->tried_meanwhile =
        aq_conn_migrate(n->p->client.ep, n->p->client.conn, &to, n->p->now_us) == AQ_BLOCKED;
    net_run(n, 300000);
    return n;
}

/* RFC 9000 §9.6.1, RFC 9000 §9.6.2: validated, then taken, by both. RFC 9000 §21.5.3: nothing but probes goes there before. */
Test(migrate, preferred_address)
{
    struct net *n = preferred(false, false);
    struct conn *c = inside(&n->p->client), *s = inside(&n->p->server);
    cr_expect(addr_equal(&conn_path(c)->remote, &n->server[1]));
    cr_expect(n->tried_meanwhile, "RFC 9000 §9.6.3");
    cr_expect_eq(conn_path(c)->cid_seq, 1, "RFC 9000 §5.1.1: the id that came with it");
    cr_expect_eq(conn_path(s)->socket, 1);
    cr_expect(addr_same_ip(&conn_path(s)->local, &n->server[1]));
    cr_expect_eq(conn_path(s)->state, PATH_VALID);
    cr_expect_eq(n->p->client.value & AQ_PATH_MOVED, AQ_PATH_MOVED);
    n->client[1] = at(8, 1, 777);
    struct aq_path_addr to = to_socket(n, 1);
    cr_expect_eq(aq_conn_migrate(n->p->client.ep, n->p->client.conn, &to, n->p->now_us), AQ_OK,
                 "RFC 9000 §9: from there it may move");
    net_run(n, 300000);
    cr_expect_eq(conn_path(c)->socket, 1);
    cr_expect(addr_equal(&conn_path(s)->remote, &n->client[1]));
    net_free(n);
}

Test(migrate, preferred_address_not_reached)
{
    for (unsigned dead = 0; dead < 2; dead++) {
        struct net *n = preferred(!dead, dead);
        net_run(n, 5000000);
        const struct conn *c = inside(&n->p->client);
        cr_expect(addr_equal(&conn_path(c)->remote, &n->p->server.addr));
        cr_expect_eq(side_count(&n->p->client, AQ_EVENT_PATH), dead ? 1 : 0);
        cr_expect_eq(paths_count(c), 1);
        ping(n);
        net_run(n, 100000);
        cr_expect_eq(side_count(&n->p->client, AQ_EVENT_PONG), 1);
        net_free(n);
    }
}
