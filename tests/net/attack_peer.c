/* attack_peer.c -- a malicious peer (attack.h): an ordinary node, whose connections say what no
 * node says. What is against the rules of the frames is done by writing into the core's own state,
 * which then sends it.
 *
 * The shell sees to it that nothing direct comes from the other side, so the search for a direct
 * path goes on as long as there are addresses to try. */
#include "tests/net/attack.h"

#include "nat/node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FOES = 6,
    NAMES = 32,
    SPOOFS = 4, /* sockets */
    PATIENCE_US = 60000000
};

struct foe {
    struct aq_node *node;
    char pem[512];
    aq_conn conn; /* to the honest side; 0: none */
    unsigned connected, closed, told;
    uint64_t code;
    char why[160];
    uint64_t seq[NAMES];
    unsigned held;
};

static struct foe foes[FOES];

static struct aq_endpoint *ep_of(const struct foe *f)
{
    return aq_loop_endpoint(aq_node_loop(f->node));
}

static uint64_t now_of(const struct foe *f)
{
    return aq_loop_now(aq_node_loop(f->node));
}

static void on_event(void *user, struct aq_node *node, const struct aq_node_event *e)
{
    struct foe *f = user;
    (void)node;
    if (e->kind == AQ_NODE_CONNECTED) {
        f->conn = e->conn;
        f->connected++;
        f->held = 0;
    } else if (e->kind == AQ_NODE_CLOSED) {
        struct aq_close_info info = {.size = sizeof info};
        f->conn = 0;
        f->closed++;
        if (aq_conn_close_info(ep_of(f), e->conn, &info) == AQ_OK) {
            f->code = info.code;
            (void)snprintf(f->why, sizeof f->why, "%s", info.reason);
        }
    }
}

static void foe_begin(struct foe *f, const struct attack *a, const struct aq_addr *preferred)
{
    struct aq_node_config c;
    char error[256];
    memset(f, 0, sizeof *f);
    aq_node_config_init(&c);
    if (!aq_key_make(AQ_KEY_ED25519, f->pem, sizeof f->pem, error, sizeof error))
        attack_die("a key", error);
    c.key = (struct aq_pem){.pem = f->pem, .pem_size = strlen(f->pem)};
    c.bootstrap = &a->boot;
    c.bootstrap_count = 1;
    c.listen = &a->here;
    c.listen_count = 1;
    c.on_event = on_event;
    c.user = f;
    if (preferred != NULL)
        c.loop.endpoint.preferred4 = *preferred;
    f->node = aq_node_new(&c, error, sizeof error);
    if (f->node == NULL)
        attack_die("a node", error);
}

static void foe_end(struct foe *f)
{
    aq_node_free(f->node);
    f->node = NULL;
}

static void turn(void)
{
    struct aq_loop *loops[FOES];
    unsigned n = 0;
    for (unsigned i = 0; i < FOES; i++)
        if (foes[i].node != NULL)
            loops[n++] = aq_node_loop(foes[i].node);
    attack_turn(loops, n);
}

static void run(unsigned ms)
{
    attack_run(turn, ms);
}

/* ---- names ----------------------------------------------------------------------------------- */

enum names {
    NAME_PORTS,  /* the victim, by one port after another */
    NAME_SCOPED, /* nobody who may be probed; of the victim a low port */
    NAME_NET6    /* a /64 of many victims */
};

static struct aq_addr name_of(enum names how, unsigned n, const struct aq_addr *victim)
{
    static const uint8_t scoped[][4] = {{127, 0, 0, 1},     {224, 0, 0, 251}, {255, 255, 255, 255},
                                        {169, 254, 169, 9}, {0, 0, 0, 0},     {10, 9, 9, 9},
                                        {192, 168, 9, 9},   {100, 64, 9, 9},  {198, 51, 100, 2}};
    struct aq_addr at = *victim;
    at.port = attack_port();
    if (how == NAME_NET6) {
        at = (struct aq_addr){.family = 6, .port = at.port, .ip = {0x20, 0x01, 0x0d, 0xb8, 0, 0xe}};
        at.ip[7] = victim->ip[3];
        for (unsigned i = 8; i < 16; i++)
            at.ip[i] = (uint8_t)attack_chance();
    } else if (how == NAME_SCOPED && n % 10 == 9) {
        at.port = (uint16_t)(1 + attack_chance() % 1023);
    } else if (how == NAME_SCOPED) {
        memcpy(at.ip, scoped[n % 10], 4);
        at.port = n % 10 == 8 ? 5000 : at.port; /* its own address */
    }
    return at;
}

/* A round of PUNCH_ME_NOW. */
static void say_punch(struct foe *f, enum names how, unsigned round, const struct aq_addr *victim)
{
    uint64_t now = now_of(f);
    for (unsigned i = 0; i < NAMES && f->conn != 0; i++) {
        struct aq_addr at = name_of(how, i, victim);
        f->told += aq_nat_punch(ep_of(f), f->conn, 1000 + round, i, &at, now) == AQ_OK;
    }
}

/* As many ADD_ADDRESS as there may be, in place of those before. */
static void say_add(struct foe *f, enum names how, const struct aq_addr *victim)
{
    uint64_t end = attack_clock() + PATIENCE_US, now = now_of(f);
    for (unsigned i = 0; i < f->held; i++)
        (void)aq_nat_remove_address(ep_of(f), f->conn, f->seq[i], now);
    f->held = 0;
    while (f->held < NAMES - 4 && f->conn != 0 && attack_clock() < end) {
        struct aq_addr at = name_of(how, f->held, victim);
        now = now_of(f);
        if (aq_nat_add_address(ep_of(f), f->conn, &at, &f->seq[f->held], now) == AQ_OK) {
            f->held++;
            f->told++;
        } else { /* the removals are not acknowledged yet */
            turn();
        }
    }
}

static void report(const char *trick, const struct aq_addr *victim)
{
    unsigned told = 0, connected = 0, closed = 0, code = 0;
    const char *why = "";
    for (unsigned i = 0; i < FOES; i++) {
        told += foes[i].told;
        connected += foes[i].connected;
        closed += foes[i].closed;
        if (foes[i].closed > 0) {
            code = (unsigned)foes[i].code;
            why = foes[i].why;
        }
    }
    attack_said(trick, victim, "names %u, connections %u, closed %u, code 0x%x %s", told, connected,
                closed, code, why);
}

/* ---- a client -------------------------------------------------------------------------------- */

static void dial(struct foe *f, const struct attack *a)
{
    unsigned before = f->connected;
    for (unsigned i = 0; i < 8 && f->connected == before;
         i++) { /* the network may lose what it likes */
        (void)aq_node_connect(f->node, a->target.bytes, 0);
        for (uint64_t end = attack_clock() + 12000000;
             f->connected == before && attack_clock() < end;)
            turn();
    }
    if (f->connected == before)
        attack_die("a client", "the honest peer does not answer");
}

static void begin(const struct attack *a, unsigned count, bool dialling)
{
    for (unsigned i = 0; i < count; i++)
        foe_begin(&foes[i], a, NULL);
    for (unsigned i = 0; i < count && dialling; i++)
        dial(&foes[i], a);
}

static void end_all(void)
{
    for (unsigned i = 0; i < FOES; i++) {
        if (foes[i].node != NULL)
            foe_end(&foes[i]);
        memset(&foes[i], 0, sizeof foes[i]);
    }
}

static void punch_rounds(struct attack *a, const char *trick, enum names how, unsigned count)
{
    struct aq_addr victim = attack_victim(a);
    begin(a, count, true);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < count; i++)
            say_punch(&foes[i], how, round, &victim);
        run(300);
    }
    report(trick, &victim);
    end_all();
}

static void punch_again(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    begin(a, 1, true);
    for (unsigned i = 0; i < 4; i++) {
        say_punch(&foes[0], NAME_PORTS, 0, &victim);
        run(200);
        (void)aq_node_disconnect(foes[0].node, a->target.bytes, 0, "and again");
        UNTIL(foes[0].conn == 0);
        if (i < 3)
            dial(&foes[0], a);
    }
    report("punch-again", &victim);
    end_all();
}

/* What breaks the rules of the frames closes the connection. */
static void punch_round_0(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    begin(a, 1, true);
    run(500); /* until what the node itself asks for is said */
    attack_pair(ep_of(&foes[0]), foes[0].conn, 0, &victim, now_of(&foes[0]));
    UNTIL(foes[0].closed > 0);
    report("punch-round-0", &victim);
    end_all();
}

static void punch_too_many(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    begin(a, 1, true);
    say_punch(&foes[0], NAME_PORTS, 0, &victim);
    run(200);
    victim.port = attack_port();
    attack_pair(ep_of(&foes[0]), foes[0].conn, 1000, &victim, now_of(&foes[0])); /* a 33rd */
    UNTIL(foes[0].closed > 0);
    report("punch-too-many", &victim);
    end_all();
}

/* Sockets bound to the victim's address; returns the first one's number. */
static uint16_t spoof(struct foe *f, const struct aq_addr *victim, unsigned count)
{
    char error[256];
    struct aq_addr at = *victim, bound;
    int first = -1;
    for (unsigned i = 0; i < count; i++) {
        at.port = (uint16_t)(20000 + i);
        if (aq_listen(aq_node_loop(f->node), &at, &bound, error, sizeof error) != AQ_OK)
            attack_die("the victim's address", error);
        first = first < 0 ? aq_loop_socket(aq_node_loop(f->node), &bound) : first;
    }
    return (uint16_t)first;
}

/* Punch datagrams with the right key, as if the victim had sent them: each would be answered. */
static void punch_spoofed(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    uint8_t data[PUNCH_SIZE];
    begin(a, 1, true);
    run(500); /* until the handshake is confirmed: then there is a key */
    const struct node_peer *p = peer_find(foes[0].node, &a->target);
    if (p == NULL || p->secret_count == 0)
        attack_die("punch-spoofed", "no key");
    const struct punch_secret *s = &p->secrets[(p->secret_count - 1) % NODE_SECRETS];
    struct aq_path_addr to = {.remote = a->target_at, .socket = spoof(&foes[0], &victim, SPOOFS)};
    for (uint32_t i = 0; i < 200; i++) {
        struct punch punch = {PUNCH_OPEN, s->session, i};
        punch_write(&punch, s->key, data);
        struct aq_path_addr from = to;
        from.socket = (uint16_t)(to.socket + i % SPOOFS);
        (void)aq_loop_send_raw(aq_node_loop(foes[0].node), &from, 0, data, sizeof data);
    }
    run(500);
    report("punch-spoofed", &victim);
    end_all();
}

/* A connection that moves to the victim's address: RFC 9000 §8.1 bounds what follows it there. */
static void move_spoofed(struct attack *a)
{
    struct aq_addr victim = attack_victim(a), from = victim;
    struct attack direct = *a;
    struct foe *f = &foes[0];
    static const uint8_t bytes[1000];
    const struct aq_iov iov = {bytes, sizeof bytes};
    char error[256];
    aq_stream stream;
    direct.here.port = 7000; /* what the other side sends there arrives */
    foe_begin(f, &direct, NULL);
    if (aq_node_connect_address(f->node, &a->target_at, a->target.bytes, error, sizeof error)
        != AQ_OK)
        attack_die("move-spoofed", error);
    UNTIL(f->connected > 0);
    run(300);
    from.port = 20000;
    struct aq_path_addr to = {
        .local = from, .remote = a->target_at, .socket = spoof(f, &victim, 1)};
    if (aq_stream_open(ep_of(f), f->conn, false, NULL, &stream) != AQ_OK)
        attack_die("move-spoofed", "no stream");
    attack_move(ep_of(f), f->conn, &to, now_of(f));
    for (unsigned i = 0; i < 40; i++) { /* it echoes */
        if (f->conn != 0)
            (void)aq_stream_write(ep_of(f), stream, &iov, 1, 0);
        run(25);
    }
    report("move-spoofed", &victim);
    end_all();
}

void attack_as_client(struct attack *a)
{
    punch_rounds(a, "punch-ports", NAME_PORTS, 1);
    punch_again(a);
    punch_rounds(a, "punch-many", NAME_PORTS, FOES);
    punch_rounds(a, "punch-scoped", NAME_SCOPED, 1);
    punch_rounds(a, "punch-net6", NAME_NET6, 1);
    punch_round_0(a);
    punch_too_many(a);
    punch_spoofed(a);
    move_spoofed(a);
}

/* ---- a server -------------------------------------------------------------------------------- */

static void wait_dialled(struct foe *f)
{
    UNTIL(f->conn != 0);
    run(100);
}

static void drop(struct foe *f)
{
    if (f->conn != 0)
        (void)aq_close(ep_of(f), f->conn, 0, "and again", now_of(f));
    UNTIL(f->conn == 0);
}

static void forget_counts(struct foe *f)
{
    f->connected = f->conn != 0;
    f->closed = f->told = 0;
}

static void add_rounds(struct attack *a, const char *trick, enum names how, bool again)
{
    struct aq_addr victim = attack_victim(a);
    struct foe *f = &foes[0];
    wait_dialled(f);
    forget_counts(f);
    for (unsigned i = 0; i < 3; i++) {
        wait_dialled(f);
        say_add(f, how, &victim);
        run(300);
        if (again)
            drop(f);
    }
    report(trick, &victim);
    drop(f);
}

static void add_wrong(struct attack *a, const char *trick, bool same_number)
{
    struct aq_addr victim = attack_victim(a), other = victim;
    struct foe *f = &foes[0];
    wait_dialled(f);
    forget_counts(f);
    for (unsigned n = 0; n < (same_number ? 1 : 2); n++) { /* 24, and 24 more */
        attack_forget(ep_of(f), f->conn);
        for (unsigned i = 0; i < 24; i++) {
            struct aq_addr at = name_of(NAME_PORTS, i, &victim);
            attack_address(ep_of(f), f->conn, 1000 + n * 100 + i, &at, now_of(f));
        }
        run(200);
    }
    other.port = attack_port();
    if (same_number)
        attack_address(ep_of(f), f->conn, 1000, &other, now_of(f));
    UNTIL(f->closed > 0);
    report(trick, &victim);
}

/* RFC 9000 §9.6: the server's preferred address, by which it can name anybody. */
static void preferred(struct attack *a, const struct aq_addr *victim)
{
    struct foe *f = &foes[1];
    for (unsigned i = 0; i < 2; i++) {
        wait_dialled(f);
        run(1500);
        drop(f);
    }
    attack_said("preferred", victim, "connections %u", f->connected);
    (void)a;
}

void attack_as_server(struct attack *a)
{
    char id[AQ_PEER_ID_TEXT];
    struct aq_addr victim = attack_victim(a);
    foe_begin(&foes[0], a, NULL);
    foe_begin(&foes[1], a, &victim);
    for (unsigned i = 0; i < 2; i++)
        (void)printf("id %s\n", aq_peer_id_text(aq_node_id(foes[i].node), id));
    (void)fflush(stdout);
    add_rounds(a, "add-ports", NAME_PORTS, false);
    add_rounds(a, "add-again", NAME_PORTS, true);
    add_rounds(a, "add-scoped", NAME_SCOPED, false);
    add_rounds(a, "add-net6", NAME_NET6, false);
    add_wrong(a, "add-same-number", true);
    add_wrong(a, "add-too-many", false);
    preferred(a, &victim);
    end_all();
}
