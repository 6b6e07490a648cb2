/* cand.c -- candidates: classes of addresses, what may be probed, priorities, predicted ports.
 *
 * A candidate is a claim by somebody else, so each passes cand_check before anything is sent to it:
 * that, and the budget of nat/punch, is what keeps peers from being turned upon a victim. Called by
 * nat/session and the engine that acts on frames. */
#include "nat/cand.h"

#include "core/addr.h"

#include <string.h>

struct net {
    uint8_t ip[4], bits;
};

static bool in_net(const uint8_t *ip, const uint8_t *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    return memcmp(ip, net, whole) == 0
           && (rest == 0 || (ip[whole] ^ net[whole]) >> (8 - rest) == 0);
}

static bool in_any(const uint8_t *ip, const struct net *nets, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (in_net(ip, nets[i].ip, nets[i].bits))
            return true;
    }
    return false;
}

static enum addr_class class4(const uint8_t *ip)
{
    /* This network, loopback, multicast, reserved and broadcast. */
    static const struct net forbidden[] = {{{0}, 8}, {{127}, 8}, {{224}, 4}, {{240}, 4}};
    static const struct net private[] = {
        {{10}, 8}, {{172, 16}, 12}, {{192, 168}, 16}, {{100, 64}, 10}};
    static const struct net link_local[] = {{{169, 254}, 16}};
    if (in_any(ip, forbidden, 4))
        return ADDR_FORBIDDEN;
    if (in_any(ip, private, 4))
        return ADDR_PRIVATE;
    return in_any(ip, link_local, 1) ? ADDR_LINK_LOCAL : ADDR_PUBLIC;
}

static enum addr_class class6(const uint8_t *ip)
{
    static const uint8_t zero[16]; /* ::/80 holds ::, ::1 and IPv4's old clothes */
    static const struct net private[] = {{{0xfc}, 7}}, multicast[] = {{{0xff}, 8}};
    static const struct net link_local[] = {{{0xfe, 0x80}, 10}};
    if (in_net(ip, zero, 80) || in_any(ip, multicast, 1))
        return ADDR_FORBIDDEN;
    if (in_any(ip, private, 1))
        return ADDR_PRIVATE;
    return in_any(ip, link_local, 1) ? ADDR_LINK_LOCAL : ADDR_PUBLIC;
}

enum addr_class addr_class(const struct aq_addr *a)
{
    return a->family == 4 ? class4(a->ip) : a->family == 6 ? class6(a->ip) : ADDR_FORBIDDEN;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static struct cand *find(const struct cand_list *list, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < list->count; i++) {
        if (addr_equal(&list->v[i].addr, addr))
            return (struct cand *)(uintptr_t)&list->v[i];
    }
    return NULL;
}

bool cand_has(const struct cand_list *list, const struct aq_addr *addr)
{
    return find(list, addr) != NULL;
}

bool cand_add(struct cand_list *list, const struct aq_addr *addr, enum cand_kind kind)
{
    struct cand *there = find(list, addr);
    if (there) {
        there->kind = kind < there->kind ? (uint8_t)kind : there->kind;
        return true;
    }
    if (list->count == CANDS_MAX)
        return false;
    list->v[list->count++] = (struct cand){*addr, (uint8_t)kind};
    return true;
}

/* ---- what may be probed ---------------------------------------------------------------------- */

/* PROTOCOL §5: the same public IPv4 address, or the same IPv6 /64, as observed. */
static bool share_network(const struct cand_scope *s)
{
    const struct aq_addr *a = &s->own_observed, *b = &s->peer_observed;
    if (a->family == 0 || a->family != b->family)
        return false;
    return memcmp(a->ip, b->ip, a->family == 4 ? 4 : 8) == 0;
}

enum cand_verdict cand_check(const struct cand_scope *scope, const struct aq_addr *addr)
{
    enum addr_class class = addr_class(addr);
    /* PROTOCOL §5: never to these, whoever names them. */
    if (class == ADDR_FORBIDDEN || class == ADDR_LINK_LOCAL || addr->port == 0)
        return CAND_IS_FORBIDDEN;
    if (cand_has(scope->own, addr) || addr_equal(addr, &scope->own_observed))
        return CAND_IS_OWN;
    if (addr->port < LOW_PORT && !addr_equal(addr, &scope->peer_observed))
        return CAND_LOW_PORT;
    if (class == ADDR_PRIVATE && !share_network(scope)
        && !addr_same_ip(addr, &scope->peer_observed))
        return CAND_OUT_OF_SCOPE;
    return CAND_OK;
}

/* ---- order ----------------------------------------------------------------------------------- */

uint32_t cand_priority(const struct cand *c)
{
    /* RFC 8445 §5.1.2: type preference, then ours: IPv6 has no NAT in between. One component. */
    static const uint8_t type[CAND_KINDS] = {126, 110, 100, 50, 0};
    uint32_t local = c->addr.family == 6 ? 65535 : 65534;
    return (uint32_t)type[c->kind] << 24 | local << 8 | 255;
}

uint64_t cand_pair_priority(uint32_t client, uint32_t server)
{
    uint64_t low = client < server ? client : server, high = client < server ? server : client;
    return (low << 32) + 2 * high + (client > server);
}

unsigned cand_predict(uint16_t first, uint16_t second, uint16_t ports[PREDICT_WINDOW])
{
    int step = second - first;
    unsigned count = 0;
    if (step == 0 || step > 64 || step < -64) /* the same mapping, or chance */
        return 0;
    int unit = step > 0 ? 1 : -1;
    /* Other mappings may have come in between: all ports that follow, not multiples of the step. */
    for (int port = second + unit; count < PREDICT_WINDOW && port >= LOW_PORT && port <= UINT16_MAX;
         port += unit)
        ports[count++] = (uint16_t)port;
    return count;
}
