/* doctor.c -- `antq doctor`: finds out what this network allows; doctor_report.c says it.
 *
 * Bootstrap nodes are observers. What two of them see of one socket tells how the NAT maps. What it
 * lets in is asked with datagrams that they send when they are asked (aq_node_probe):
 *
 *     from another port of the first one, to the socket that it knows
 *     from the second one, to a socket that only the first one knows: a second node's, with a key
 * of its own, which exists for this question alone
 *
 * Each question is asked DOCTOR_IDS times, as datagrams may be lost; a question that nobody can be
 * asked stays open, and is told as that. */
#include <string.h>

#include "apps/apps.h"
#include "apps/peer/doctor.h"

#define REGISTER_US UINT64_C(6000000) /* all are tried within 5 s */
#define TICK_US     UINT64_C(250000)
enum {
    TICKS_MIN = 2,  /* of asking: for the last answer to come */
    TICKS_MAX = 40, /* the second node may have to register first */
    MTU_FULL = 1452,
    MTU_NEAR = 16, /* the largest packet is found to within so many bytes */
    MTU_TRIES = 2  /* of a size */
};

struct doctor {
    struct peer_program p;
    struct aq_node *second; /* NULL: not needed */
    bool second_known;
    struct aq_addr second_at; /* as the first bootstrap node sees it */
    struct doctor_probe port, host;
    unsigned first; /* bootstrap node */
    unsigned ticks, quiet_ticks;
    unsigned mtu_most, mtu_asked, mtu_tries; /* what is known to be too large; the size tried */
    bool asking, over;
    struct doctor_facts facts;
};

static bool same_ip(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* ---- what bootstrap nodes see ---------------------------------------------------------------- */

static void look(struct doctor *d)
{
    struct doctor_facts *f = &d->facts;

    f->boot_count = d->p.name_count;
    f->registered = 0;
    for (unsigned i = 0; i < f->boot_count; i++) {
        struct aq_node_bootstrap *b = &f->boots[i];

        memset(b, 0, sizeof *b);
        b->size = sizeof *b;
        (void)aq_node_bootstrap(d->p.node, i, b);
        f->registered += b->registered;
    }
}

/* The first that is registered and has this family, after `from`; boot_count: none. */
static unsigned observer(const struct doctor *d, uint8_t family, unsigned from)
{
    const struct doctor_facts *f = &d->facts;
    unsigned i = from;

    while (i < f->boot_count
           && !(f->boots[i].registered && f->boots[i].observed.family == family)) {
        i++;
    }
    return i;
}

/* ---- the largest packet ---------------------------------------------------------------------- */

/* Between what was acknowledged and what was not, until they are near each other: the largest
 * first, then the middle of what is left. A packet counts as lost when later ones have been
 * acknowledged, for which there is a ping; until then no other one is taken. */
static void mtu_ask(struct doctor *d)
{
    const struct aq_node_bootstrap *b = &d->facts.boots[d->first];
    uint64_t now = aq_loop_now(d->p.loop);
    bool spent = d->mtu_asked > b->mtu && d->mtu_tries >= MTU_TRIES;
    unsigned have = b->mtu, most = spent ? d->mtu_asked : d->mtu_most;
    bool found = have + MTU_NEAR >= most;
    unsigned next = found ? have : most > MTU_FULL ? MTU_FULL : (have + most) / 2;

    d->facts.mtu = b->mtu;
    if (have >= MTU_FULL) {
        d->facts.mtu_found = true;
    }
    if (d->facts.mtu_found) {
        return;
    }
    (void)aq_ping(d->p.ep, b->conn, now);
    if (aq_conn_probe_mtu(d->p.ep, b->conn, (uint16_t)next, now) == AQ_OK) {
        d->facts.mtu_found = found;
        d->mtu_most = most;
        d->mtu_tries = next == d->mtu_asked ? d->mtu_tries + 1 : 1;
        d->mtu_asked = next;
    }
}

/* ---- what is let in -------------------------------------------------------------------------- */

static void end_second(struct doctor *d)
{
    if (d->second != NULL) {
        aq_node_stop(d->second);
        (void)aq_loop_step(aq_node_loop(d->second));
    }
}

static void report(struct doctor *d)
{
    struct doctor_facts *f = &d->facts;

    if (d->over) {
        return;
    }
    d->over = true;
    look(d);
    f->other_port = d->port.came ? ANSWER_YES : d->port.said > 0 ? ANSWER_NO : ANSWER_UNKNOWN;
    f->other_host = d->host.came ? ANSWER_YES : d->host.said > 0 ? ANSWER_NO : ANSWER_UNKNOWN;
    doctor_conclude(f);
    if (d->p.flags.json) {
        doctor_tell_json(f);
    } else {
        doctor_tell(f);
    }
    end_second(d);
    peer_end(&d->p, f->kind == KIND_BLOCKED ? EXIT_FAILED : EXIT_DONE);
}

static void probe_again(struct doctor *d, struct doctor_probe *q)
{
    if (q->asked && !q->came && q->refused == NULL && q->tries < DOCTOR_IDS
        && aq_node_probe(d->p.node, q->index, q->to, q->other_port, q->ids[q->tries]) == AQ_OK) {
        q->tries++;
        d->quiet_ticks = 0;
    }
}

static bool probe_open(const struct doctor_probe *q)
{
    return q->asked && !q->came && q->refused == NULL && q->tries < DOCTOR_IDS;
}

static void on_tick(void *user)
{
    struct doctor *d = user;

    if (d->over) {
        return;
    }
    d->ticks++;
    d->quiet_ticks++;
    probe_again(d, &d->port);
    if (d->second_known) {
        probe_again(d, &d->host);
    }
    look(d);
    bool answered = (!d->port.asked || d->port.came) && (!d->host.asked || d->host.came);
    bool waited = d->quiet_ticks > TICKS_MIN && !probe_open(&d->port) && !probe_open(&d->host);
    mtu_ask(d);
    if (((answered || waited) && d->facts.mtu_found) || d->ticks >= TICKS_MAX) {
        report(d);
        return;
    }
    (void)aq_loop_timer(d->p.loop, aq_loop_now(d->p.loop) + TICK_US, on_tick, d);
}

/* Whether the event is of this question. */
static bool probe_is(struct doctor_probe *q, const struct aq_node_event *e)
{
    for (unsigned i = 0; i < q->tries; i++) {
        if (memcmp(q->ids[i], e->probe, sizeof q->ids[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void probe_event(struct doctor_probe *q, const struct aq_node_event *e)
{
    if (!probe_is(q, e)) {
        return;
    }
    if (e->reason == NULL) {
        q->came = true;
    } else if (strcmp(e->reason, "accepted") == 0) {
        q->said++;
    } else {
        q->refused = e->reason;
    }
}

static void second_event(void *user, struct aq_node *node, const struct aq_node_event *e)
{
    struct doctor *d = user;
    struct aq_node_bootstrap info = {.size = sizeof info};

    if (e->kind == AQ_NODE_PROBE) {
        probe_event(&d->host, e);
    } else if (e->kind == AQ_NODE_REGISTERED && e->result == AQ_NODE_FULL && !d->second_known) {
        (void)aq_node_bootstrap(node, 0, &info);
        d->second_at = info.observed;
        /* Behind some NATs it has another address altogether: nobody would send there. */
        d->second_known = same_ip(&info.observed, &d->facts.boots[d->first].observed);
    }
}

static void second_turn(void *user)
{
    struct doctor *d = user;

    (void)aq_loop_step(aq_node_loop(d->second));
}

static bool second_start(struct doctor *d)
{
    struct aq_node_config config;
    const char *name = d->p.name_list[d->first];
    char pem[512], error[256];
    bool made = aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error);

    aq_node_config_init(&config);
    config.key.pem = pem;
    config.key.pem_size = made ? strlen(pem) : 0;
    config.bootstrap = &name;
    config.bootstrap_count = 1;
    config.policy = AQ_NODE_ALLOW; /* nobody */
    config.on_event = second_event;
    config.user = d;
    config.max_peers = 1;
    d->second = made ? aq_node_new(&config, error, sizeof error) : NULL;
    memset(pem, 0, sizeof pem);
    return d->second != NULL
           && aq_loop_watch(d->p.loop, aq_loop_fd(aq_node_loop(d->second)), second_turn, d) == AQ_OK
           && aq_loop_step(aq_node_loop(d->second)) == 0; /* its first packets */
}

/* Every bootstrap node has answered, or has had its time. */
static void begin_asking(struct doctor *d)
{
    struct doctor_facts *f = &d->facts;

    if (d->asking) {
        return;
    }
    d->asking = true;
    look(d);
    d->first = observer(d, 4, 0);
    f->family = 4;
    if (d->first == f->boot_count) {
        d->first = observer(d, 6, 0);
        f->family = 6;
    }
    if (d->first == f->boot_count) {
        f->family = 0;
        report(d);
        return;
    }
    d->mtu_most = MTU_FULL + 1;
    d->port = (struct doctor_probe){.asked = true, .index = d->first, .other_port = true};
    for (unsigned i = observer(d, f->family, d->first + 1); i < f->boot_count && !d->host.asked;
         i = observer(d, f->family, i + 1)) {
        if (!same_ip(&f->boots[i].remote, &f->boots[d->first].remote)) {
            d->host = (struct doctor_probe){.asked = true, .index = i, .to = &d->second_at};
        }
    }
    d->host.asked = d->host.asked && second_start(d);
    (void)aq_loop_timer(d->p.loop, aq_loop_now(d->p.loop), on_tick, d);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void doctor_event(struct peer_program *p, const struct aq_node_event *e)
{
    struct doctor *d = p->user;

    if (e->kind == AQ_NODE_REGISTERED && (e->result == AQ_NODE_FULL || e->result == AQ_NODE_NONE)) {
        begin_asking(d);
    } else if (e->kind == AQ_NODE_PROBE) {
        probe_event(&d->port, e);
        probe_event(&d->host, e);
    }
}

static void doctor_stop(struct peer_program *p)
{
    p->code = EXIT_FAILED; /* it has told nothing yet */
}

static void on_late(void *user)
{
    begin_asking(user);
}

int doctor_main(int argc, char **argv)
{
    static struct doctor d;
    const struct option_set sets[] = {{"Flags:", peer_rows, PEER_ROWS, &d.p.flags}};
    const struct command command = {
        .name = "antq doctor",
        .about =
            "Says what this network allows: addresses, whether UDP works, what bootstrap nodes see\n"
            "of us, how the NAT maps and what it lets in, IPv6, the largest packet, and what that\n"
            "means for reaching peers. Name two bootstrap nodes on different addresses.",
        .sets = sets,
        .set_count = 1,
    };
    int code;

    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    d.p.user = &d;
    d.p.quiet = true;
    d.p.keep = true;
    d.p.on_event = doctor_event;
    d.p.on_stop = doctor_stop;
    if (!peer_start(&d.p, &code)) {
        return code;
    }
    d.facts.local_count = aq_loop_hosts(d.p.loop, d.facts.locals, AQ_HOSTS_MAX);
    (void)aq_loop_timer(d.p.loop, aq_loop_now(d.p.loop) + (d.p.name_count > 0 ? REGISTER_US : 0),
                        on_late, &d);
    code = peer_run(&d.p);
    aq_node_free(d.second);
    return code;
}
