/* attack_guest.c -- a malicious guest of an honest bootstrap node (attack.h): registrations and
 * requests that are lies, forgeries, replays and floods, and the datagrams that go with them. */
#include "tests/boot_peers.h"
#include "tests/net/attack.h"

enum {
    GUESTS = 8,
    INITIALS = 24,
    PATIENCE_US = 60000000
};

static struct {
    struct aq_addr boot;
    struct boot_peer guest[GUESTS], flood[INITIALS];
    unsigned reasons[256], go; /* answers since the last trick began */
    uint64_t channel_out, channel_in, came, came_bytes;
    uint8_t challenge[CHALLENGE_SIZE];
    unsigned number;
} at;

static void on_message(struct boot_peer *p, const struct message *m)
{
    (void)p;
    if (m->step == STEP_GO) {
        at.go++;
        at.channel_out = m->channel_out;
        at.channel_in = m->channel_in;
    } else if (message_has(m, FIELD_REASON)) {
        at.reasons[m->reason]++;
    }
    if (message_has(m, FIELD_POW_CHALLENGE))
        memcpy(at.challenge, m->pow_challenge, CHALLENGE_SIZE);
}

static void on_datagrams(const struct aq_datagram *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t step = d[i].segment != 0 ? d[i].segment : d[i].size;
        at.came += (d[i].size + step - 1) / step;
        at.came_bytes += d[i].size;
    }
}

static void turn(void)
{
    attack_turn(&peers.loop, 1);
}

static void run(unsigned ms)
{
    attack_run(turn, ms);
}

/* ---- guests ---------------------------------------------------------------------------------- */

static struct boot_peer *guest(unsigned n)
{
    struct boot_peer *p = &at.guest[n];
    if (p->tls == NULL)
        peer_make(p, ++at.number);
    if (p->conn == 0 || p->closed) {
        peer_dial(p, &at.boot, false);
        UNTIL(p->connected);
    }
    return p;
}

static void begin(void)
{
    memset(at.reasons, 0, sizeof at.reasons);
    at.go = 0;
    at.came = at.came_bytes = 0;
}

static unsigned answers(void)
{
    unsigned sum = at.go;
    for (unsigned i = 0; i < 256; i++)
        sum += at.reasons[i];
    return sum;
}

static void report(const char *trick, const struct aq_addr *victim)
{
    char text[512] = "";
    size_t size = 0;
    if (at.go > 0)
        size += (size_t)snprintf(text, sizeof text, " go %u", at.go);
    for (unsigned i = 0; i < NAT_REASONS; i++)
        if (at.reasons[i] > 0 && size < sizeof text)
            size += (size_t)snprintf(text + size, sizeof text - size, " %s %u", nat_reason_name(i),
                                     at.reasons[i]);
    attack_said(trick, victim, "answers%s", text);
}

/* One message, and its answer. */
static void ask(struct boot_peer *p, const struct message *m)
{
    unsigned before = answers();
    if (!peer_say(p, m))
        attack_die("saying", "the connection has ended");
    UNTIL(answers() > before);
}

static struct boot_peer *registered(unsigned n)
{
    struct boot_peer *p = guest(n);
    struct message m = register_of(p);
    ask(p, &m);
    return p;
}

/* ---- registrations --------------------------------------------------------------------------- */

static void hints(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    struct message m = register_of(guest(0));
    begin();
    for (unsigned i = 0; i < MESSAGE_HINTS; i++) {
        m.hints[i] = (struct message_hint){.addr = victim, .kind = HINT_OBSERVED};
        m.hints[i].addr.port = attack_port();
    }
    m.hint_count = MESSAGE_HINTS;
    message_set(&m, FIELD_HINT);
    ask(guest(0), &m);
    report("hints", &victim);
}

/* Who we are not, what nobody speaks, what is no registration, and one of before. */
static void lies(struct attack *a)
{
    static const uint8_t twice[] = {0, 1, 0, 12, 0, 1, 0, 2, 0, 1, 0, 1, 0, 2, 0, 1};
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = guest(1), before;
    begin();
    struct message m = register_of(p);
    m.peer_id = a->target;
    ask(p, &m);
    m = register_of(p);
    m.version = 9;
    ask(p, &m);
    (void)peer_say_bytes(p, twice, sizeof twice);
    UNTIL(answers() == 3);
    m = register_of(p);
    ask(p, &m);
    before = *p;
    peer_dial(p, &at.boot, false);
    UNTIL(p->connected);
    m.generation = 4; /* an old one, replayed on another connection */
    ask(p, &m);
    (void)aq_close(peers.ep, before.conn, 0, NULL, aq_loop_now(peers.loop));
    report("lies", &victim);
}

static void register_flood(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = guest(2);
    begin();
    for (unsigned i = 0; i < 200; i++) {
        struct message m = register_of(p);
        m.generation = 5 + i;
        m.lease_s = i % 2 ? 0 : 120;
        (void)peer_say(p, &m);
        if (i % 20 == 0)
            turn();
    }
    UNTIL(answers() >= 200 || p->closed);
    report("register-flood", &victim);
}

/* Against a node that wants work: none, wrong work, and another's challenge. */
static void wrong_work(struct attack *a)
{
    struct aq_addr victim = attack_victim(a), honest = at.boot;
    at.boot.port++;
    struct boot_peer *p = guest(3), *q = guest(4);
    begin();
    struct message m = register_of(p);
    ask(p, &m); /* pow_required */
    memcpy(m.pow_challenge, at.challenge, CHALLENGE_SIZE);
    m.pow_solution = 1;
    message_set(&m, FIELD_POW_CHALLENGE);
    message_set(&m, FIELD_POW_SOLUTION);
    ask(p, &m);
    struct message stolen = register_of(q);
    memcpy(stolen.pow_challenge, m.pow_challenge, CHALLENGE_SIZE);
    (void)pow_search(stolen.pow_challenge, &q->id, 16, UINT32_MAX, &stolen.pow_solution);
    message_set(&stolen, FIELD_POW_CHALLENGE);
    message_set(&stolen, FIELD_POW_SOLUTION);
    ask(q, &stolen);
    report("wrong-work", &victim);
    (void)aq_close(peers.ep, p->conn, 0, NULL, aq_loop_now(peers.loop));
    (void)aq_close(peers.ep, q->conn, 0, NULL, aq_loop_now(peers.loop));
    UNTIL(p->closed && q->closed);
    at.boot = honest;
}

/* Longer than any message: its connection ends, with the code `malformed`. */
static void too_long(struct attack *a)
{
    static const uint8_t huge[] = {0, 1, 0xff, 0xff, 1, 2, 3};
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = guest(4);
    begin();
    (void)peer_say_bytes(p, huge, sizeof huge);
    UNTIL(p->closed);
    attack_said("message-too-long", &victim, "closed with %s",
                nat_reason_name((unsigned)p->close_code));
}

/* ---- probes ---------------------------------------------------------------------------------- */

static struct message probe_of(const struct aq_addr *to, unsigned n)
{
    struct message m = step_of(MESSAGE_PROBE, STEP_REQUEST, attack_chance());
    m.source = n % 2 ? PROBE_OTHER_PORT : PROBE_SAME;
    message_set(&m, FIELD_SOURCE);
    if (to != NULL) {
        m.peer_address = *to;
        message_set(&m, FIELD_PEER_ADDRESS);
    }
    return m;
}

static void probes(struct attack *a)
{
    struct aq_addr victim = attack_victim(a), low = a->here;
    struct boot_peer *p = registered(0);
    begin();
    low.port = 53;
    for (unsigned i = 0; i < 20; i++) {
        struct aq_addr to = victim;
        to.port = attack_port();
        struct message m = probe_of(i % 2 ? &to : &low, i);
        ask(p, &m);
    }
    report("probe-others", &victim);
    begin();
    for (unsigned i = 0; i < 60; i++) {
        struct message m = probe_of(NULL, i);
        ask(p, &m);
    }
    attack_said("probe-flood", &victim, "sent %u, rate_limited %u, came %u of %u bytes", at.go,
                at.reasons[NAT_RATE_LIMITED], (unsigned)at.came,
                at.came != 0 ? (unsigned)(at.came_bytes / at.came) : 0);
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct message request(const struct peer_id *target, enum message_type type, uint64_t id)
{
    static uint8_t packet[1200];
    struct message m = step_of(type, STEP_REQUEST, id);
    m.target = *target;
    message_set(&m, FIELD_TARGET);
    for (unsigned i = 0; i < sizeof packet; i++)
        packet[i] = (uint8_t)attack_chance();
    packet[0] |= 0xc0;
    if (type == MESSAGE_CONNECT) {
        m.packet = (struct aq_iov){packet, sizeof packet};
        message_set(&m, FIELD_PACKET);
    }
    return m;
}

static void request_flood(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = registered(5);
    begin();
    for (unsigned i = 0; i < 200; i++) {
        struct message m =
            request(&a->target, i % 2 ? MESSAGE_CONNECT : MESSAGE_PUNCH, attack_chance());
        (void)peer_say(p, &m);
        if (i % 2 == 0)
            turn();
    }
    for (unsigned i = 0; i < 50 && answers() < 200; i++) /* the target has 2 s for each */
        run(100);
    report("request-flood", &victim);
}

/* An answer to what nobody asked, a request that is in progress already, one of ourselves, of
 * nobody, and steps that are the bootstrap node's. */
static void request_lies(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = registered(0), *q = registered(5);
    begin();
    struct message m = request(&q->id, MESSAGE_PUNCH, 77), answer = answer_of(&m, NAT_ACCEPTED);
    (void)peer_say(p, &answer);
    (void)peer_say(p, &m);
    (void)peer_say(p, &m);
    (void)peer_say(p, &answer); /* not the one who was asked */
    m = request(&p->id, MESSAGE_PUNCH, 78);
    (void)peer_say(p, &m);
    struct peer_id nobody = {{1, 2, 3}};
    m = request(&nobody, MESSAGE_CONNECT, 79);
    (void)peer_say(p, &m);
    run(2500); /* the request that q does not answer ends by its 2 s */
    report("request-lies", &victim);
}

/* ---- channels -------------------------------------------------------------------------------- */

static void send_relayed(const struct boot_peer *p, uint16_t other_socket, uint64_t channel,
                         unsigned count)
{
    struct aq_path_info path;
    uint8_t data[RELAY_HEADER + 1000] = {0};
    if (aq_conn_paths(peers.ep, p->conn, &path, 1) != 1)
        attack_die("a channel", "no connection");
    struct aq_path_addr to = {.remote = at.boot, .socket = path.socket};
    if (other_socket != 0)
        to.socket = other_socket;
    relay_header(data, channel);
    data[RELAY_HEADER] = 0x40;
    for (unsigned i = 0; i < count; i++) {
        (void)aq_loop_send_raw(peers.loop, &to, 0, data, sizeof data);
        if (i % 16 == 0)
            turn();
    }
}

static uint16_t victim_socket(const struct aq_addr *victim, uint16_t port)
{
    struct aq_addr from = *victim, bound;
    from.port = port;
    if (aq_listen(peers.loop, &from, &bound, peers.error, sizeof peers.error) != AQ_OK)
        attack_die("the victim's address", peers.error);
    return (uint16_t)aq_loop_socket(peers.loop, &bound);
}

/* Guessed ids; a good one from the victim's address; before the target has answered; when it has
 * ended. What comes through comes to q, who is ours. */
static void channels(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    struct boot_peer *p = registered(6), *q = registered(7);
    uint16_t spoofed = victim_socket(&victim, 20001);
    begin();
    for (unsigned i = 0; i < 100; i++)
        send_relayed(p, 0, attack_chance(), 1);
    run(300);
    uint64_t forged = at.came_bytes;
    struct message m = request(&q->id, MESSAGE_CONNECT, attack_chance());
    ask(p, &m);
    UNTIL(at.go > 0);
    send_relayed(p, spoofed, at.channel_out, 100);
    run(300);
    uint64_t stolen = at.came_bytes - forged;
    send_relayed(p, 0, at.channel_out, 200);
    run(300);
    uint64_t unproven = at.came_bytes - forged - stolen;
    struct message end = step_of(MESSAGE_CONNECT, STEP_END, 0);
    memcpy(end.request_id, m.request_id, sizeof end.request_id);
    end.channel_out = at.channel_out;
    message_set(&end, FIELD_CHANNEL_OUT);
    (void)peer_say(p, &end);
    run(300);
    begin();
    send_relayed(p, 0, at.channel_out, 100);
    run(300);
    attack_said("channels", &victim, "through: forged %u, stolen %u, unproven %u, stale %u bytes",
                (unsigned)forged, (unsigned)stolen, (unsigned)unproven, (unsigned)at.came_bytes);
}

/* ---- addresses that are not ours --------------------------------------------------------------
 */

/* First packets as if from the victim: RFC 9000 §8.1 bounds what answers them. */
static void initials(struct attack *a)
{
    struct aq_addr victim = attack_victim(a);
    uint16_t socket = victim_socket(&victim, 20002);
    begin();
    for (unsigned i = 0; i < INITIALS; i++) {
        struct boot_peer *p = &at.flood[i];
        struct aq_connect connect;
        peer_make(p, 0);
        aq_connect_init(&connect);
        connect.tls = p->tls;
        connect.remote = at.boot;
        connect.local = victim;
        connect.local.port = 20002;
        connect.socket = socket;
        connect.user = p;
        if (aq_connect(peers.ep, &connect, &p->conn, aq_loop_now(peers.loop)) != AQ_OK)
            attack_die("initials", "cannot dial");
    }
    run(1500);
    for (unsigned i = 0; i < INITIALS; i++)
        (void)aq_close(peers.ep, at.flood[i].conn, 0, NULL, aq_loop_now(peers.loop));
    run(100);
    attack_said("initials", &victim, "handshakes %u", INITIALS);
}

/* A registered connection that moves to the victim's address, and asks from there for what the
 * bootstrap node sends: it knows only addresses that have proven themselves. */
static void moved(struct attack *a)
{
    struct aq_addr victim = attack_victim(a), from = victim;
    struct boot_peer *p = registered(0);
    begin();
    from.port = 20003;
    struct aq_path_addr to = {
        .local = from, .remote = at.boot, .socket = victim_socket(&victim, 20003)};
    attack_move(peers.ep, p->conn, &to, aq_loop_now(peers.loop));
    for (unsigned i = 0; i < 30; i++) {
        struct message m = probe_of(NULL, i), punch = request(&a->target, MESSAGE_PUNCH, i);
        (void)peer_say(p, i % 2 ? &m : &punch);
        run(50);
    }
    report("moved", &victim);
}

/* ---- all of it ------------------------------------------------------------------------------- */

void attack_as_guest(struct attack *a)
{
    struct node_name name;
    const char *why = "";
    char text[64];
    if (!node_name_parse(a->boot, strlen(a->boot), &name, &why))
        attack_die(a->boot, why);
    (void)snprintf(text, sizeof text, "%.50s", name.host);
    if (aq_resolve(text, name.port, 0, &at.boot, peers.error, sizeof peers.error) != AQ_OK)
        attack_die(a->boot, peers.error);
    peers_open(128, true);
    peers.on_message = on_message;
    peers.on_datagrams = on_datagrams;
    struct boot_peer idle;
    peer_make(&idle, 0);
    peer_dial(&idle, &at.boot, false); /* and says nothing */
    hints(a);
    lies(a);
    register_flood(a);
    wrong_work(a);
    too_long(a);
    probes(a);
    request_flood(a);
    request_lies(a);
    channels(a);
    initials(a);
    moved(a);
    struct aq_addr victim = attack_victim(a);
    UNTIL(idle.closed);
    attack_said("idle", &victim, "closed with %s", nat_reason_name((unsigned)idle.close_code));
    aq_tls_free(idle.tls);
    for (unsigned i = 0; i < GUESTS; i++)
        aq_tls_free(at.guest[i].tls);
    for (unsigned i = 0; i < INITIALS; i++)
        aq_tls_free(at.flood[i].tls);
    peers_close();
}
