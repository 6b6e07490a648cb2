/* natframes.c -- see natframes.h.
 *
 * What is told is repeated until it is acknowledged or void; what is heard is kept until the host
 * has taken it. Both are bounded: AQ_NAT_ADDRESSES addresses, the server's limit of pairs in a
 * round, the newest observation of each path. */
#include "core/natframes.h"
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/frame.h"
#include "core/num.h"

enum {
    GONE_BITS = 64
};
enum nat_record { /* record.flags */
    NAT_RECORD_ADD,
    NAT_RECORD_REMOVE,
    NAT_RECORD_PUNCH,
    NAT_RECORD_OBSERVED
};

void natframes_negotiate(struct conn *c, const struct params *p)
{
    const struct aq_config *config = &c->ep->config;
    bool traversal = config->nat_limit && params_has(p, PARAM_NAT_TRAVERSAL);
    bool discovery = config->observe && params_has(p, PARAM_ADDRESS_DISCOVERY);
    if (!traversal && !discovery)
        return;
    assert(!c->nat);
    c->nat = pool_at(&c->ep->nats, pool_take(&c->ep->nats)); /* as many as connections */
    c->nat->traversal = traversal;
    c->nat->tells = discovery && p->address_discovery != OBSERVED_PROVIDE;
    c->nat->hears = discovery && p->address_discovery != OBSERVED_RECEIVE;
    c->nat->limit = (uint8_t)(c->server ? config->nat_limit : min_u64(p->nat_limit, NAT_LIMIT_MAX));
    c->nat->next_seq = c->server;
}

void natframes_end(struct conn *c)
{
    if (!c->nat)
        return;
    for (unsigned i = 0; i < c->nat->blocks; i++)
        quota_give(&c->quota, c->nat->more[i], NAT_MORE * sizeof *c->nat->more[i]);
    pool_give(&c->ep->nats, pool_index(&c->ep->nats, c->nat));
    c->nat = NULL;
}

/* ---- the table of addresses and pairs ---- */

static unsigned entries(const struct nat *n)
{
    return NAT_FIRST + (unsigned)n->blocks * NAT_MORE;
}

static struct nat_entry *entry_at(struct nat *n, unsigned i)
{
    static_assert(NAT_FIRST + NAT_BLOCKS * NAT_MORE == AQ_NAT_ADDRESSES + NAT_LIMIT_MAX, "all fit");
    static_assert(NAT_MORE * sizeof(struct nat_entry) <= ARENA_BLOCK, "the smallest block");
    assert(i < entries(n));
    return i < NAT_FIRST ? &n->first[i]
                         : &n->more[(i - NAT_FIRST) / NAT_MORE][(i - NAT_FIRST) % NAT_MORE];
}

/* A free place; NULL: there is no memory for more, as of now. */
static struct nat_entry *entry_free(struct conn *c)
{
    struct nat *n = c->nat;
    unsigned i = 0;
    while (i < entries(n) && entry_at(n, i)->state != NAT_FREE)
        i++;
    if (i == entries(n)) {
        struct nat_entry *block = quota_take(&c->quota, NAT_MORE * sizeof *block);
        if (!block)
            return NULL;
        assert(n->blocks < NAT_BLOCKS); /* who asks has counted */
        memset(block, 0, NAT_MORE * sizeof *block);
        n->more[n->blocks++] = block;
    }
    return entry_at(n, i);
}

/* Addresses, those that were removed and not yet forgotten among them. */
static unsigned address_count(struct nat *n, bool gone)
{
    unsigned count = 0;
    for (unsigned i = 0; i < entries(n); i++) {
        const struct nat_entry *e = entry_at(n, i);
        count += !e->pair && (e->state == NAT_HELD || (gone && e->state == NAT_GONE));
    }
    return count;
}

static struct nat_entry *address_find(struct nat *n, uint64_t seq)
{
    for (unsigned i = 0; i < entries(n); i++) {
        struct nat_entry *e = entry_at(n, i);
        if (!e->pair && e->state == NAT_HELD && e->seq == seq)
            return e;
    }
    return NULL;
}

static bool pair_has(struct nat *n, uint64_t seq, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < entries(n); i++) {
        const struct nat_entry *e = entry_at(n, i);
        if (e->pair && e->state == NAT_HELD && e->seq == seq && addr_equal(&e->addr, addr))
            return true;
    }
    return false;
}

/* PROTOCOL §1: a later round has ended the one before. */
static void round_begin(struct nat *n, uint64_t round)
{
    for (unsigned i = 0; i < entries(n); i++) {
        struct nat_entry *e = entry_at(n, i);
        if (e->pair)
            *e = (struct nat_entry){.state = NAT_FREE};
    }
    n->round = round;
    n->pairs = 0;
}

/* ---- what came ---- */

static struct aq_addr address_of(const uint8_t *ip, uint64_t port, bool ip6)
{
    struct aq_addr addr = {.port = (uint16_t)port, .family = ip6 ? 6 : 4};
    memcpy(addr.ip, ip, ip6 ? 16 : 4);
    return addr;
}

static int not_negotiated(struct apply *a)
{
    a->where = "nat/PROTOCOL.md 1: a frame that was not negotiated";
    return AQ_PROTOCOL_VIOLATION;
}

static void news(struct conn *c, struct nat_entry *e)
{
    e->news = true;
    conn_event(c, AQ_EVENT_NAT);
}

/* Numbers that were removed stay known for a while: their ADD_ADDRESS may come late. What is too
 * far back to know is taken for removed. */
static void number_note(struct nat *n, uint64_t seq, bool gone)
{
    if (seq >= n->next_seq) {
        uint64_t up = seq + 1 - n->next_seq;
        n->gone = up < GONE_BITS ? n->gone << up : 0;
        n->next_seq = seq + 1;
    }
    uint64_t back = n->next_seq - 1 - seq;
    if (gone && back < GONE_BITS)
        n->gone |= UINT64_C(1) << back;
}

static bool number_is_gone(const struct nat *n, uint64_t seq)
{
    if (seq >= n->next_seq)
        return false;
    uint64_t back = n->next_seq - 1 - seq;
    return back >= GONE_BITS || (n->gone >> back & 1);
}

int natframes_on_add(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct nat *n = c->nat;
    (void)now;
    if (!natframes_traverses(c))
        return not_negotiated(a);
    uint64_t seq = f->add_address.seq;
    struct aq_addr addr =
        address_of(f->add_address.ip, f->add_address.port, f->type == FRAME_ADD_ADDRESS_V6);
    struct nat_entry *e = address_find(n, seq);
    a->where = "nat/PROTOCOL.md 1: one number, one address";
    if (e) /* PROTOCOL §1: a repetition says nothing, another address for it is an error */
        return addr_equal(&e->addr, &addr) ? AQ_OK : AQ_PROTOCOL_VIOLATION;
    if (number_is_gone(n, seq))
        return AQ_OK;
    a->where = "nat/PROTOCOL.md 1: more than 32 addresses";
    if (address_count(n, false) == AQ_NAT_ADDRESSES)
        return AQ_PROTOCOL_VIOLATION;
    /* Removed ones that the host was not told of yet, or no memory: it is to come again. */
    e = address_count(n, true) < AQ_NAT_ADDRESSES ? entry_free(c) : NULL;
    if (!e)
        return AQ_FULL;
    *e = (struct nat_entry){.seq = seq, .addr = addr, .state = NAT_HELD};
    number_note(n, seq, false);
    news(c, e);
    return AQ_OK;
}

int natframes_on_remove(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct nat *n = c->nat;
    uint64_t seq = f->remove_address.seq;
    (void)now;
    if (!natframes_traverses(c))
        return not_negotiated(a);
    struct nat_entry *e = address_find(n, seq);
    /* PROTOCOL §1: an unknown number is ignored; but it may have overtaken its address. */
    if (e || seq < n->next_seq + GONE_BITS)
        number_note(n, seq, true);
    if (!e)
        return AQ_OK;
    if (e->news) {
        e->state = NAT_FREE;
        e->news = false;
    } else {
        e->state = NAT_GONE;
        news(c, e);
    }
    return AQ_OK;
}

int natframes_on_punch(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    struct nat *n = c->nat;
    uint64_t round = f->punch_me_now.round, seq = f->punch_me_now.paired_seq;
    (void)now;
    if (!natframes_traverses(c))
        return not_negotiated(a);
    struct aq_addr addr =
        address_of(f->punch_me_now.ip, f->punch_me_now.port, f->type == FRAME_PUNCH_ME_NOW_V6);
    a->where = "nat/PROTOCOL.md 1: the first round is 1";
    if (!round)
        return AQ_PROTOCOL_VIOLATION;
    if (round < n->round) /* PROTOCOL §1: a later round has ended it */
        return AQ_OK;
    if (round > n->round)
        round_begin(n, round);
    if (pair_has(n, seq, &addr))
        return AQ_OK;
    a->where = "nat/PROTOCOL.md 1: more in a round than the server allows";
    if (n->pairs == n->limit)
        return AQ_PROTOCOL_VIOLATION;
    struct nat_entry *e = entry_free(c);
    if (!e) /* no memory: it is to come again */
        return AQ_FULL;
    *e = (struct nat_entry){.seq = seq, .addr = addr, .state = NAT_HELD, .pair = true};
    n->pairs++;
    news(c, e);
    return AQ_OK;
}

int natframes_on_observed(struct conn *c, const struct frame *f, struct apply *a, uint64_t now)
{
    (void)now;
    if (!c->nat || !c->nat->hears)
        return not_negotiated(a);
    if (a->path == PATH_NONE) /* it came on none of ours: of no use */
        return AQ_OK;
    struct nat_heard *h = &c->nat->heard[a->path];
    /* draft-ietf-quic-address-discovery: older than what came on that path, or a copy of it */
    if (f->observed_address.seq < h->next)
        return AQ_OK;
    h->next = f->observed_address.seq + 1;
    h->addr = address_of(f->observed_address.ip, f->observed_address.port,
                         f->type == FRAME_OBSERVED_ADDRESS_V6);
    h->news = true;
    conn_event(c, AQ_EVENT_NAT);
    return AQ_OK;
}

/* ---- what goes ---- */

static bool fill_one(struct out *o, const struct frame *f, enum nat_record kind, unsigned index,
                     uint64_t value)
{
    struct record *r = fill_frame(o, f, RECORD_NAT);
    if (!r)
        return false;
    r->flags = (uint8_t)kind;
    r->index = index;
    r->value = value;
    return true;
}

static bool fill_address(struct out *o, const struct nat_entry *e, unsigned index)
{
    struct frame f = {.type = FRAME_REMOVE_ADDRESS};
    if (e->state == NAT_GONE) {
        f.remove_address.seq = e->seq;
        return fill_one(o, &f, NAT_RECORD_REMOVE, index, e->seq);
    }
    f.type = e->addr.family == 6 ? FRAME_ADD_ADDRESS_V6 : FRAME_ADD_ADDRESS_V4;
    f.add_address.seq = e->seq;
    f.add_address.ip = e->addr.ip;
    f.add_address.port = e->addr.port;
    return fill_one(o, &f, NAT_RECORD_ADD, index, e->seq);
}

/* Pairs go from the client, addresses from the server: its own entries of that kind. */
static bool is_told(const struct conn *c, const struct nat_entry *e)
{
    return e->news && e->pair != c->server;
}

static bool fill_pair(struct out *o, const struct nat_entry *e, unsigned index, uint64_t round)
{
    struct frame f = {.type = e->addr.family == 6 ? FRAME_PUNCH_ME_NOW_V6 : FRAME_PUNCH_ME_NOW_V4};
    f.punch_me_now.round = round;
    f.punch_me_now.paired_seq = e->seq;
    f.punch_me_now.ip = e->addr.ip;
    f.punch_me_now.port = e->addr.port;
    return fill_one(o, &f, NAT_RECORD_PUNCH, index, round);
}

void natframes_fill(struct conn *c, struct out *o)
{
    struct nat *n = c->nat;
    for (unsigned i = 0; i < entries(n); i++) {
        struct nat_entry *e = entry_at(n, i);
        if (!is_told(c, e))
            continue;
        if (!(e->pair ? fill_pair(o, e, i, n->round) : fill_address(o, e, i)))
            return;
        e->news = false;
    }
    c->nat_due = false;
}

void natframes_fill_observed(struct conn *c, struct out *o)
{
    struct path *p = o->path;
    uint64_t *told = &c->nat->told[p->index];
    uint64_t seq = *told ? *told - 1 : c->nat->observed_next;
    struct frame f = {.type = p->remote.family == 6 ? FRAME_OBSERVED_ADDRESS_V6
                                                    : FRAME_OBSERVED_ADDRESS_V4};
    f.observed_address.seq = seq;
    f.observed_address.ip = p->remote.ip;
    f.observed_address.port = p->remote.port;
    if (!fill_one(o, &f, NAT_RECORD_OBSERVED, p->index, seq))
        return;
    c->nat->observed_next += !*told;
    *told = seq + 1;
    p->observed_due = false;
}

void natframes_on_acked(struct conn *c, const struct record *r)
{
    if (r->flags != NAT_RECORD_REMOVE)
        return;
    struct nat_entry *e = entry_at(c->nat, r->index);
    if (!e->pair && e->state == NAT_GONE && e->seq == r->value)
        *e = (struct nat_entry){.state = NAT_FREE};
}

/* Each is owed again as long as it is true: the address held or removed, the round the current one,
 * the path the same. */
void natframes_on_lost(struct conn *c, const struct record *r)
{
    struct nat *n = c->nat;
    struct nat_entry *e = NULL;
    switch ((enum nat_record)r->flags) {
    case NAT_RECORD_ADD:
    case NAT_RECORD_REMOVE:
        e = entry_at(n, r->index);
        if (e->pair || e->seq != r->value || e->state == NAT_FREE
            || (e->state == NAT_GONE) != (r->flags == NAT_RECORD_REMOVE))
            e = NULL;
        break;
    case NAT_RECORD_PUNCH:
        if (r->value == n->round) /* PROTOCOL §1: only while its round is the current one */
            e = entry_at(n, r->index);
        break;
    case NAT_RECORD_OBSERVED: /* PROTOCOL §1: on the path it was sent on */
        if (c->path[r->index] && n->told[r->index] == r->value + 1)
            c->path[r->index]->observed_due = true;
        break;
    }
    if (e)
        e->news = c->nat_due = true;
}

void natframes_path_valid(struct conn *c, struct path *p)
{
    if (!c->nat || !c->nat->tells || c->nat->told[p->index] || p->state != PATH_VALID)
        return;
    p->observed_due = true;
    conn_wake(c);
}

void natframes_path_ended(struct conn *c, unsigned index)
{
    if (!c->nat)
        return;
    c->nat->heard[index] = (struct nat_heard){0};
    c->nat->told[index] = 0;
}

/* ---- the host's calls ---- */

static bool is_address(const struct aq_addr *addr)
{
    return (addr->family == 4 || addr->family == 6) && addr->port;
}

/* The connection of one who may send these frames; AQ_OK, AQ_GONE or AQ_MISUSE. */
static int find_for(struct endpoint *ep, aq_conn handle, bool server, struct conn **c)
{
    *c = endpoint_find_conn(ep, handle);
    if (!*c || !conn_is_open(*c))
        return AQ_GONE;
    return (*c)->server == server && natframes_traverses(*c) && (*c)->state != CONN_HANDSHAKE
               ? AQ_OK
               : AQ_MISUSE;
}

static void send_entry(struct conn *c, struct nat_entry *e)
{
    e->news = c->nat_due = true;
    conn_wake(c);
}

int aq_nat_add_address(struct aq_endpoint *endpoint, aq_conn conn, const struct aq_addr *addr,
                       uint64_t *seq, uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c;
    int error = find_for(ep, conn, true, &c);
    *seq = 0;
    if (error != AQ_OK)
        return error;
    if (!is_address(addr))
        return AQ_MISUSE;
    ep->now_us = max_u64(ep->now_us, now_us);
    for (unsigned i = 0; i < entries(c->nat); i++) {
        const struct nat_entry *e = entry_at(c->nat, i);
        if (e->state == NAT_HELD && !e->pair && addr_equal(&e->addr, addr)) {
            *seq = e->seq;
            return AQ_OK;
        }
    }
    struct nat_entry *e = address_count(c->nat, true) < AQ_NAT_ADDRESSES ? entry_free(c) : NULL;
    if (!e)
        return AQ_FULL;
    *e = (struct nat_entry){.seq = c->nat->next_seq++, .addr = *addr, .state = NAT_HELD};
    *seq = e->seq;
    send_entry(c, e);
    return AQ_OK;
}

int aq_nat_remove_address(struct aq_endpoint *endpoint, aq_conn conn, uint64_t seq, uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c;
    int error = find_for(ep, conn, true, &c);
    if (error != AQ_OK)
        return error;
    struct nat_entry *e = address_find(c->nat, seq);
    if (!e)
        return AQ_MISUSE;
    ep->now_us = max_u64(ep->now_us, now_us);
    e->state = NAT_GONE;
    send_entry(c, e);
    return AQ_OK;
}

int aq_nat_punch(struct aq_endpoint *endpoint, aq_conn conn, uint64_t round, uint64_t paired_seq,
                 const struct aq_addr *own, uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    struct conn *c;
    int error = find_for(ep, conn, false, &c);
    if (error != AQ_OK)
        return error;
    struct nat *n = c->nat;
    if (!round || round < n->round || round > VARINT_MAX || paired_seq > VARINT_MAX
        || !is_address(own))
        return AQ_MISUSE;
    ep->now_us = max_u64(ep->now_us, now_us);
    if (round > n->round)
        round_begin(n, round);
    if (pair_has(n, paired_seq, own))
        return AQ_OK;
    struct nat_entry *e = n->pairs < n->limit ? entry_free(c) : NULL;
    if (!e)
        return AQ_FULL;
    *e = (struct nat_entry){.seq = paired_seq, .addr = *own, .state = NAT_HELD, .pair = true};
    n->pairs++;
    send_entry(c, e);
    return AQ_OK;
}

/* An entry that came from the peer: a pair at a server, an address at a client. */
static bool next_entry(struct conn *c, struct aq_nat_news *out)
{
    struct nat *n = c->nat;
    for (unsigned i = 0; i < entries(n); i++) {
        struct nat_entry *e = entry_at(n, i);
        if (!e->news || e->pair != c->server)
            continue;
        bool gone = e->state == NAT_GONE;
        *out = (struct aq_nat_news){.kind = e->pair ? AQ_NAT_PUNCH
                                            : gone  ? AQ_NAT_REMOVED
                                                    : AQ_NAT_ADDED,
                                    .round = e->pair ? n->round : 0,
                                    .seq = e->seq,
                                    .addr = e->addr};
        e->news = false;
        if (gone)
            e->state = NAT_FREE;
        return true;
    }
    return false;
}

static bool next_observed(struct conn *c, struct aq_nat_news *out)
{
    for (unsigned i = 0; i < PATHS; i++) {
        struct nat_heard *h = &c->nat->heard[i];
        const struct path *p = c->path[i];
        if (!h->news || !p)
            continue;
        *out = (struct aq_nat_news){.kind = AQ_NAT_OBSERVED,
                                    .seq = h->next - 1,
                                    .addr = h->addr,
                                    .path = {.local = p->local,
                                             .remote = p->remote,
                                             .channel = p->channel,
                                             .ifindex = p->ifindex,
                                             .socket = p->socket}};
        h->news = false;
        return true;
    }
    return false;
}

bool aq_nat_next(struct aq_endpoint *endpoint, aq_conn conn, struct aq_nat_news *out)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)endpoint, conn);
    memset(out, 0, sizeof *out);
    if (!c || !c->nat || !conn_is_open(c))
        return false;
    return next_entry(c, out) || next_observed(c, out);
}
