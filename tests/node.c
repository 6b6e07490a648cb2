/* node.c -- tests nat/node/: peers and bootstrap nodes on loops of one thread, on loopback. Longer
 * than 600 lines, because all of it needs the same nodes. */
#include "nat/node/antq_bootstrap.h"
#include "nat/node/antq_node.h"
#include "nat/node/secret.h"
#include "tests/names.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(node, .timeout = 60);

enum {
    SIDES = 2,
    BOOTS = 3
};

static struct aq_bootstrap *boots[BOOTS];
static char names[BOOTS][128];
static const char *name_list[BOOTS];
static unsigned boot_count;

static struct side {
    struct aq_node *node;
    char pem[512];
    uint16_t port; /* 0: any */
    unsigned events[AQ_NODE_PROBE + 1];
    enum aq_node_result result;
    aq_conn conn;
    bool relayed, incoming;
    char reason[160], hint[256];
    uint8_t peer[32];
    char got[16];
    bool said;
    uint8_t probe[16]; /* that came */
    struct aq_addr probe_from;
    char probe_said[32]; /* by a bootstrap node, of one that was asked for */
} side[SIDES];

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *e)
{
    struct side *s = user;
    (void)node;
    s->events[e->kind]++;
    if (e->kind == AQ_NODE_REGISTERED)
        s->result = e->result;
    if (e->kind == AQ_NODE_CONNECTED) {
        s->conn = e->conn;
        s->relayed = e->relayed;
        s->incoming = e->incoming;
        memcpy(s->peer, e->peer_id, 32);
    }
    if (e->kind == AQ_NODE_PROBE && e->reason != NULL) {
        (void)snprintf(s->probe_said, sizeof s->probe_said, "%s", e->reason);
    } else if (e->kind == AQ_NODE_PROBE) {
        memcpy(s->probe, e->probe, sizeof s->probe);
        s->probe_from = e->observed;
    }
    if (e->kind == AQ_NODE_FAILED || e->kind == AQ_NODE_CLOSED) {
        (void)snprintf(s->reason, sizeof s->reason, "%s", e->reason);
        (void)snprintf(s->hint, sizeof s->hint, "%s", e->hint ? e->hint : "");
    }
}

/* Whoever opens a stream says something. */
static void on_conn(void *user, struct aq_node *node, const struct aq_event *e)
{
    struct side *s = user;
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(node));
    struct aq_iov iov;
    bool fin;
    if (e->kind != AQ_EVENT_READABLE || aq_stream_peek(ep, e->stream, &iov, 1, &fin) != 1)
        return;
    size_t n = iov.size < sizeof s->got - 1 ? iov.size : sizeof s->got - 1;
    memcpy(s->got, iov.data, n);
    (void)aq_stream_consume(ep, e->stream, iov.size);
}

static void step(void)
{
    for (unsigned i = 0; i < boot_count; i++)
        if (boots[i])
            (void)aq_loop_step(aq_bootstrap_loop(boots[i]));
    for (unsigned i = 0; i < SIDES; i++)
        if (side[i].node)
            (void)aq_loop_step(aq_node_loop(side[i].node));
}
#define UNTIL(condition)                                                                      \
    do {                                                                                      \
        uint64_t until = aq_loop_clock(aq_node_loop(side[0].node)) + 20000000;                \
        while (!(condition)) {                                                                \
            step();                                                                           \
            cr_assert_lt(aq_loop_now(aq_node_loop(side[0].node)), until, "not: " #condition); \
        }                                                                                     \
    } while (0)

static void (*told)(void *user, struct aq_node *node, const struct aq_node_event *e) = on_event;

static void start_boots(unsigned count)
{
    char error[256], pem[512], id[AQ_PEER_ID_TEXT], text[64];
    boot_count = count;
    for (unsigned i = 0; i < count; i++) {
        struct aq_bootstrap_config c;
        struct aq_addr at;
        uint8_t self[32];
        aq_bootstrap_config_init(&c);
        cr_assert(aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error));
        c.listen[0] = (struct aq_addr){.family = 4, .ip = {127, 0, 0, 1}};
        c.key.pem = pem;
        c.key.pem_size = strlen(pem);
        boots[i] = aq_bootstrap_new(&c, error, sizeof error);
        cr_assert(boots[i], "%s", error);
        aq_bootstrap_self(boots[i], &at, self);
        (void)snprintf(names[i], sizeof names[i], "%s@%s", aq_peer_id_text(self, id),
                       aq_addr_text(&at, text, sizeof text));
        name_list[i] = names[i];
    }
}

static const uint8_t *id_of(unsigned i)
{
    return aq_node_id(side[i].node);
}

/* Where side 1 would have its clients move to (RFC 9000 §9.6); family 0: nowhere. */
static struct aq_addr preferred;

static void start_side(unsigned i, unsigned bootstraps, const uint8_t (*allow)[32])
{
    struct aq_node_config c;
    struct aq_addr local = {.family = 4, .ip = {127, 0, 0, 1}, .port = side[i].port};
    struct side *s = &side[i];
    char error[256];
    aq_node_config_init(&c);
    if (!s->pem[0])
        cr_assert(aq_key_make(AQ_KEY_ED25519, s->pem, sizeof s->pem, error, sizeof error));
    c.key.pem = s->pem;
    c.key.pem_size = strlen(s->pem);
    c.bootstrap = name_list;
    c.bootstrap_count = bootstraps;
    c.listen = &local;
    c.listen_count = 1;
    c.policy = allow ? AQ_NODE_ALLOW : AQ_NODE_ANY;
    c.allow = allow;
    c.allow_count = allow ? 1 : 0;
    c.on_event = told;
    c.on_conn = on_conn;
    c.user = s;
    if (i == 1)
        c.loop.endpoint.preferred4 = preferred;
    s->node = aq_node_new(&c, error, sizeof error);
    cr_assert(s->node, "%s", error);
}

static void start(unsigned bootstraps)
{
    start_boots(bootstraps);
    for (unsigned i = 0; i < SIDES; i++) {
        start_side(i, bootstraps, NULL);
    }
    UNTIL(bootstraps == 0 || (side[0].result == AQ_NODE_FULL && side[1].result == AQ_NODE_FULL));
}

static void end(void)
{
    for (unsigned i = 0; i < SIDES; i++)
        aq_node_free(side[i].node);
    for (unsigned i = 0; i < boot_count; i++)
        aq_bootstrap_free(boots[i]);
}

static void say(unsigned from)
{
    struct aq_endpoint *ep = aq_loop_endpoint(aq_node_loop(side[from].node));
    struct aq_iov iov = {(const uint8_t *)"hello", 5};
    aq_stream stream;
    cr_assert_eq(aq_stream_open(ep, side[from].conn, false, NULL, &stream), AQ_OK);
    cr_assert_eq(aq_stream_write(ep, stream, &iov, 1, 0), 5);
}

/* Killed: it says no goodbye. */
static void kill_side(unsigned i)
{
    aq_node_free(side[i].node);
    side[i].node = NULL;
    side[i].conn = 0;
}

/* PROTOCOL §4: through the relay, from the first packet on. */
Test(node, connects_by_peer_id)
{
    struct aq_node_status status = {.size = sizeof status};
    struct aq_node_stats stats = {.size = sizeof stats};
    start(2);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(0), 0), AQ_MISUSE);
    cr_assert_eq(aq_node_status(side[0].node, id_of(1), &status), AQ_GONE);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    cr_assert(side[0].relayed && side[1].relayed && !side[0].incoming && side[1].incoming);
    cr_assert_arr_eq(side[0].peer, id_of(1), 32);
    cr_assert_arr_eq(side[1].peer, id_of(0), 32);
    say(0);
    UNTIL(strcmp(side[1].got, "hello") == 0);
    say(1);
    UNTIL(strcmp(side[0].got, "hello") == 0);
    cr_assert_eq(aq_node_status(side[0].node, id_of(1), &status), AQ_OK);
    cr_assert(status.status == AQ_STATUS_CONNECTED && status.relayed
              && status.conn == side[0].conn);
    aq_node_stats(side[0].node, &stats);
    cr_assert(stats.connected == 1 && stats.relayed == 1 && stats.relay_in_packets > 0);
    /* Again: the connection that is there. */
    cr_assert_eq(aq_node_connect(side[1].node, id_of(0), 0), AQ_OK);
    cr_assert_eq(side[1].events[AQ_NODE_CONNECTED], 2);
    cr_assert_eq(aq_node_disconnect(side[0].node, id_of(1), 0, "enough"), AQ_OK);
    UNTIL(side[0].events[AQ_NODE_CLOSED] && side[1].events[AQ_NODE_CLOSED]);
    cr_assert(strstr(side[1].reason, "enough") != NULL);
    cr_assert_eq(aq_node_status(side[1].node, id_of(0), &status), AQ_GONE);
    end();
}

/* NAT.md §4: when both dial at once, the connection whose client has the lower PeerId survives. */
Test(node, both_dial_at_once)
{
    start(2);
    for (unsigned round = 1; round <= 6; round++) {
        unsigned lower = memcmp(id_of(0), id_of(1), 32) < 0 ? 0 : 1;
        side[0].conn = side[1].conn = 0;
        cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
        cr_assert_eq(aq_node_connect(side[1].node, id_of(0), 0), AQ_OK);
        UNTIL(side[0].conn && side[1].conn);
        cr_assert(!side[lower].incoming && side[1 - lower].incoming);
        for (unsigned i = 0; i < 2000; i++)
            step();
        for (unsigned i = 0; i < SIDES; i++)
            cr_assert_eq(side[i].events[AQ_NODE_CONNECTED], round, "one connection each time");
        side[0].got[0] = '\0';
        say(1);
        UNTIL(side[0].got[0] != '\0');
        (void)aq_node_disconnect(side[0].node, id_of(1), 0, "next");
        UNTIL(side[0].events[AQ_NODE_CLOSED] == round && side[1].events[AQ_NODE_CLOSED] == round);
        cr_assert_eq(side[0].events[AQ_NODE_FAILED] + side[1].events[AQ_NODE_FAILED], 0);
    }
    end();
}

Test(node, connects_by_address)
{
    struct aq_addr at;
    char error[256];
    start(0);
    cr_assert_eq(aq_node_listening(side[1].node, &at, 1), 1);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_MISUSE, "no bootstrap node");
    /* PROTOCOL §2: another key than was asked for. */
    cr_assert_eq(aq_node_connect_address(side[0].node, &at, id_of(0), error, sizeof error), AQ_OK);
    UNTIL(side[0].events[AQ_NODE_FAILED] == 1);
    cr_assert(strstr(side[0].reason, "another peer") != NULL, "%s", side[0].reason);
    cr_assert_eq(side[1].events[AQ_NODE_CONNECTED], 0);
    cr_assert_eq(aq_node_connect_address(side[0].node, &at, id_of(1), error, sizeof error), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    cr_assert(!side[0].relayed && !side[1].relayed);
    say(0);
    UNTIL(side[1].got[0] != '\0');
    end();
}

/* A socket of somebody who has nothing to do with it, named as side 1's preferred address. */
static int preferred_victim(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    preferred = (struct aq_addr){.family = 4, .ip = {127, 0, 0, 1}, .port = ntohs(at.sin_port)};
    return fd;
}

/* The handshake is confirmed, by the answer at the latest: then a client would go there. */
static void nothing_came(int fd)
{
    char byte;
    UNTIL(side[0].conn && side[1].conn);
    say(0);
    UNTIL(side[1].got[0] != '\0');
    say(1);
    UNTIL(side[0].got[0] != '\0');
    for (unsigned i = 0; i < 500; i++)
        step();
    cr_expect_lt(recv(fd, &byte, 1, 0), 0);
    (void)close(fd);
    end();
}

/* PROTOCOL §5: a peer, or a bootstrap node, would name anybody by it. */
Test(node, goes_to_no_preferred_address)
{
    int fd = preferred_victim();
    struct aq_addr at;
    char error[256];
    start(0);
    cr_assert_eq(aq_node_listening(side[1].node, &at, 1), 1);
    cr_assert_eq(aq_node_connect_address(side[0].node, &at, id_of(1), error, sizeof error), AQ_OK);
    nothing_came(fd);
}

Test(node, goes_to_no_preferred_address_of_a_relayed_peer)
{
    int fd = preferred_victim();
    start(1);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
    nothing_came(fd);
}

Test(node, lets_in_whom_it_may)
{
    static const uint8_t nobody[1][32] = {{1}};
    start_boots(1);
    start_side(0, 1, NULL);
    start_side(1, 1, nobody);
    UNTIL(side[0].result == AQ_NODE_FULL && side[1].result == AQ_NODE_FULL);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
    UNTIL(side[0].events[AQ_NODE_FAILED] == 1);
    cr_assert(strstr(side[0].reason, "refused") != NULL && side[0].hint[0] != '\0');
    cr_assert_eq(side[1].events[AQ_NODE_REFUSED], 1);
    cr_assert_eq(side[1].events[AQ_NODE_CONNECTED], 0);
    end();
}

/* PROTOCOL §4: a datagram from the port that the node knows, from another one, and to another
 * node's socket on the same address; on loopback all of them come. */
Test(node, probes)
{
    struct aq_node_bootstrap info = {.size = sizeof info};
    struct aq_addr at, boot, elsewhere;
    uint8_t probe[16], self[32];
    start_boots(1);
    aq_bootstrap_self(boots[0], &boot, self);
    start_side(0, 1, NULL);
    cr_expect_eq(aq_node_probe(side[0].node, 0, NULL, false, probe), AQ_BLOCKED);
    cr_expect_eq(aq_node_probe(side[0].node, 1, NULL, false, probe), AQ_MISUSE);
    start_side(1, 1, NULL);
    UNTIL(side[0].result == AQ_NODE_FULL && side[1].result == AQ_NODE_FULL);

    cr_assert_eq(aq_node_probe(side[0].node, 0, NULL, false, probe), AQ_OK);
    UNTIL(memcmp(side[0].probe, probe, sizeof probe) == 0 && side[0].probe_said[0] != '\0');
    cr_expect_str_eq(side[0].probe_said, "accepted");
    cr_expect_eq(side[0].probe_from.port, boot.port);

    cr_assert_eq(aq_node_probe(side[0].node, 0, NULL, true, probe), AQ_OK);
    UNTIL(memcmp(side[0].probe, probe, sizeof probe) == 0);
    cr_expect_neq(side[0].probe_from.port, boot.port);
    cr_expect_arr_eq(side[0].probe_from.ip, boot.ip, 4);

    cr_assert_eq(aq_node_listening(side[1].node, &at, 1), 1);
    cr_assert_eq(aq_node_probe(side[0].node, 0, &at, false, probe), AQ_OK);
    UNTIL(memcmp(side[1].probe, probe, sizeof probe) == 0);

    elsewhere = at;
    elsewhere.ip[3] = 2;
    side[0].probe_said[0] = '\0';
    cr_assert_eq(aq_node_probe(side[0].node, 0, &elsewhere, false, probe), AQ_OK);
    UNTIL(side[0].probe_said[0] != '\0');
    cr_expect_str_eq(side[0].probe_said, "policy");

    cr_assert_eq(aq_node_bootstrap(side[0].node, 0, &info), AQ_OK);
    cr_expect(info.mtu == 1200 && info.conn != 0);
    end();
}

/* A bootstrap node's name that takes long holds nobody up, and is found in the end; one that does
 * not exist is told as that. */
Test(node, a_slow_name_holds_nobody_up)
{
    char slow[sizeof names[1]];
    struct aq_node_bootstrap info = {.size = sizeof info};
    start_boots(3);
    (void)snprintf(slow, sizeof slow, "slow.test%s", strrchr(names[1], ':'));
    memcpy(names[1], slow, sizeof slow);
    (void)snprintf(names[2], sizeof names[2], "none.test:4433");
    names_loop = pthread_self();
    names_held = true;
    start_side(0, 3, NULL);
    UNTIL(aq_node_bootstrap(side[0].node, 0, &info) == AQ_OK && info.registered && names_asked);
    UNTIL(aq_node_bootstrap(side[0].node, 2, &info) == AQ_OK
          && strcmp(info.reason, "no_address") == 0);
    /* Its first try is over, and still nobody has answered: what comes then is the next one's. */
    UNTIL(aq_node_bootstrap(side[0].node, 1, &info) == AQ_OK
          && strcmp(info.reason, "timeout") == 0);
    names_held = false;
    UNTIL(aq_node_bootstrap(side[0].node, 1, &info) == AQ_OK && info.registered);
    cr_assert_eq(names_asked, 1);
    cr_assert_not(names_blocked_it);
    end();
}

/* An application that answers each failure with another try at once holds up nothing: not the loop,
 * nor what else the node does. */
static uint8_t impatient_wants[32];
static unsigned impatient_tries;
static void on_impatient(void *user, struct aq_node *node, const struct aq_node_event *e)
{
    on_event(user, node, e);
    if (e->kind == AQ_NODE_FAILED) {
        impatient_tries++;
        (void)aq_node_connect(node, impatient_wants, 0);
    }
}

Test(node, an_impatient_application_holds_up_nobody)
{
    enum {
        TURNS = 50,
        MOST = 40 /* in a turn: a few for each pump, and a few pumps */
    };
    struct aq_addr at;
    start_boots(1);
    aq_bootstrap_free(boots[0]);
    boots[0] = NULL;
    told = on_impatient;
    start_side(0, 1, NULL);
    cr_assert_eq(aq_node_listening(side[0].node, &at, 1), 1);
    memset(impatient_wants, 7, sizeof impatient_wants);
    UNTIL(side[0].result == AQ_NODE_NONE);
    cr_assert_eq(aq_node_connect(side[0].node, impatient_wants, 0), AQ_OK);
    UNTIL(impatient_tries > 0);
    for (unsigned i = 0; i < TURNS; i++) {
        unsigned before = impatient_tries;
        step();
        cr_assert_leq(impatient_tries - before, MOST);
    }
    told = on_event;
    start_side(1, 0, NULL); /* and it still takes calls */
    char error[256];
    cr_assert_eq(aq_node_connect_address(side[1].node, &at, id_of(0), error, sizeof error), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    end();
}

/* PROTOCOL §3: some of the bootstrap nodes are dead. */
Test(node, registers_with_the_majority)
{
    start_boots(2);
    aq_bootstrap_free(boots[1]);
    boots[1] = NULL;
    struct aq_node_bootstrap info = {.size = sizeof info};
    start_side(0, 2, NULL);
    start_side(1, 2, NULL);
    UNTIL(side[0].result == AQ_NODE_MAJORITY && side[1].result == AQ_NODE_MAJORITY);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    cr_assert_eq(aq_node_bootstrap(side[0].node, 0, &info), AQ_OK);
    cr_assert(info.registered && info.pinned && info.observed.family == 4);
    cr_assert_eq(aq_node_bootstrap(side[0].node, 1, &info), AQ_OK);
    cr_assert_not(info.registered);
    cr_assert_eq(aq_node_bootstrap(side[0].node, 2, &info), AQ_MISUSE);
    end();
}

/* Two names of one node, as of its IPv4 and IPv6 address: one registers, the other stands by, and
 * takes its place when that is lost. */
Test(node, one_node_by_two_names)
{
    struct aq_node_bootstrap info = {.size = sizeof info};
    start_boots(1);
    name_list[1] = names[0];
    start_side(0, 2, NULL);
    start_side(1, 2, NULL);
    UNTIL(side[0].result == AQ_NODE_MAJORITY && side[1].result == AQ_NODE_MAJORITY);
    unsigned has = 0;
    UNTIL(aq_node_bootstrap(side[0].node, 0, &info) == AQ_OK && (has = info.registered ? 0 : 1) < 2
          && aq_node_bootstrap(side[0].node, 1 - has, &info) == AQ_OK
          && strcmp(info.reason, "same_node") == 0);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);

    cr_assert_eq(aq_node_bootstrap(side[0].node, has, &info), AQ_OK);
    struct aq_loop *loop = aq_node_loop(side[0].node);
    cr_assert_eq(aq_close(aq_loop_endpoint(loop), info.conn, 0, "", aq_loop_clock(loop)), AQ_OK);
    UNTIL(aq_node_bootstrap(side[0].node, 1 - has, &info) == AQ_OK && info.registered);
    end();
}

/* Between turns the loop's clock stands still; who calls then must not find his time used up. */
Test(node, connects_between_turns)
{
    start_boots(1);
    start_side(0, 0, NULL);
    start_side(1, 0, NULL);
    struct aq_loop *loop = aq_node_loop(side[0].node);
    struct aq_addr at;
    uint64_t last_turn_us = aq_loop_now(loop);
    cr_assert_eq(aq_node_listening(side[1].node, &at, 1), 1);
    (void)usleep(20000);
    cr_assert_eq(aq_loop_now(loop), last_turn_us);
    char error[128];
    cr_assert_eq(aq_node_connect_address(side[0].node, &at, id_of(1), error, sizeof error), AQ_OK);
    cr_expect_geq(aq_loop_now(loop), last_turn_us + 20000);
    (void)usleep(20000);
    last_turn_us = aq_loop_now(loop);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), 0), AQ_MISUSE, "no bootstrap nodes");
    cr_expect_geq(aq_loop_now(loop), last_turn_us + 20000);
    UNTIL(side[0].conn && side[1].conn);
    end();
}

/* A peer that is kept is connected again when it comes back. */
Test(node, reconnects)
{
    start(1);
    cr_assert_eq(aq_node_connect(side[0].node, id_of(1), AQ_NODE_KEEP), AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    aq_node_stop(side[1].node);
    UNTIL(side[0].events[AQ_NODE_CLOSED] == 1);
    aq_node_free(side[1].node);
    side[1].node = NULL;
    side[1].conn = 0;
    UNTIL(side[0].events[AQ_NODE_FAILED] >= 1); /* it is not there now */
    start_side(1, 1, NULL);
    UNTIL(side[0].events[AQ_NODE_CONNECTED] == 2 && side[1].conn);
    end();
}

/* A port that nobody has. */
static uint16_t free_port(unsigned i)
{
    struct aq_addr at;
    start_side(i, 0, NULL);
    cr_assert_eq(aq_node_listening(side[i].node, &at, 1), 1);
    kill_side(i);
    return at.port;
}

/* RFC 9000 §10.3: who is killed and comes back, with its key and at its port, ends the connection
 * that it had at the first packet, directly or through the relay (PROTOCOL §4), and another one is
 * made. */
static void comes_back(bool relayed)
{
    struct aq_addr at = {.family = 4, .ip = {127, 0, 0, 1}};
    char error[256];
    start_boots(relayed ? 1 : 0);
    side[1].port = at.port = free_port(1);
    for (unsigned i = 0; i < SIDES; i++)
        start_side(i, boot_count, NULL);
    UNTIL(!relayed || (side[0].result == AQ_NODE_FULL && side[1].result == AQ_NODE_FULL));
    if (relayed)
        cr_assert_eq(aq_node_connect(side[0].node, id_of(1), AQ_NODE_KEEP), AQ_OK);
    else
        cr_assert_eq(aq_node_connect_address(side[0].node, &at, id_of(1), error, sizeof error),
                     AQ_OK);
    UNTIL(side[0].conn && side[1].conn);
    cr_assert_eq(side[0].relayed, relayed);
    kill_side(1);
    start_side(1, boot_count, NULL);
    say(0);
    UNTIL(side[0].events[AQ_NODE_CLOSED] == 1);
    cr_expect_str_eq(side[0].reason, "the peer has started anew: stateless reset");
    UNTIL(!relayed || side[0].events[AQ_NODE_CONNECTED] == 2);
    cr_expect_eq(side[0].events[AQ_NODE_CLOSED], 1, "one end");
    cr_expect_eq(side[0].events[AQ_NODE_FAILED], 0);
    end();
}

Test(node, comes_back_at_its_address)
{
    comes_back(false);
}

Test(node, comes_back_behind_the_relay)
{
    comes_back(true);
}

/* RFC 9000 §21.11: the secret is of a key, a port and a role: no two that may be at work at once
 * have the same; and it is no secret of a port that changes. */
Test(node, whose_secret)
{
    struct aq_addr at[2] = {{.family = 4, .port = 1}, {.family = 6, .port = 1}};
    uint8_t secret[6][32] = {{0}}, before[32] = {0};
    char pem[2][512], error[256];
    struct aq_tls *tls[2];
    for (unsigned i = 0; i < 2; i++) {
        static const char *const alpn[] = {"x"};
        struct aq_tls_config config;
        aq_tls_config_init(&config);
        cr_assert(aq_key_make(AQ_KEY_ED25519, pem[i], sizeof pem[i], error, sizeof error));
        config.key = (struct aq_pem){.pem = pem[i], .pem_size = strlen(pem[i])};
        config.alpn = alpn;
        config.alpn_count = 1;
        config.server = true;
        tls[i] = aq_tls_new(&config, error, sizeof error);
        cr_assert_not_null(tls[i], "%s", error);
    }
    cr_assert(node_secret(tls[0], "peer", at, 2, secret[0]));
    cr_assert(node_secret(tls[1], "peer", at, 2, secret[1]));
    cr_assert(node_secret(tls[0], "bootstrap", at, 2, secret[2]));
    cr_assert(node_secret(tls[0], "peer", at, 1, secret[3]));
    at[1].ip[15] = 1;
    cr_assert(node_secret(tls[0], "peer", at, 2, secret[4]));
    at[0].port = 2;
    cr_assert(node_secret(tls[0], "peer", at, 2, secret[5]));
    for (unsigned i = 0; i < 6; i++)
        for (unsigned j = 0; j < i; j++)
            cr_expect_arr_neq(secret[i], secret[j], 32, "%u and %u", i, j);
    at[0].port = 1;
    at[1].ip[15] = 0;
    cr_assert(node_secret(tls[0], "peer", at, 2, secret[1]));
    cr_expect_arr_eq(secret[0], secret[1], 32, "as before");
    at[0].port = at[1].port = 0;
    memset(secret[1], 0, 32);
    cr_expect_not(node_secret(tls[0], "peer", at, 2, secret[1]));
    cr_expect_not(node_secret(tls[0], "peer", at, 0, secret[1]));
    cr_expect_arr_eq(secret[1], before, 32);
    aq_tls_free(tls[0]);
    aq_tls_free(tls[1]);
}
