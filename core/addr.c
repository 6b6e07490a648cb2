/* addr.c -- addresses: compare, name as bytes, print.
 *
 * Only what an address means is compared: the first 4 bytes of an IPv4 one, never the rest of the
 * array. Text is RFC 5952's: no leading zeros, the longest run of two or more zero groups as "::"
 * (the first of equals), lower case, an IPv4-mapped address with its dotted part; a scope id after
 * '%'.
 *
 * Called by core/path, core/token, core/endpoint, and by hosts (aq_addr_text). */
#include "core/addr.h"

#include <assert.h>
#include <string.h>

static size_t ip_size(const struct aq_addr *a)
{
    return a->family == 4 ? 4 : a->family == 6 ? 16 : 0;
}

bool addr_same_ip(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, ip_size(a)) == 0;
}

bool addr_equal(const struct aq_addr *a, const struct aq_addr *b)
{
    return addr_same_ip(a, b) && a->port == b->port && a->scope_id == b->scope_id;
}

size_t addr_bytes(const struct aq_addr *a, bool with_port, uint8_t out[20])
{
    size_t size = ip_size(a);
    out[0] = a->family;
    memcpy(out + 1, a->ip, size);
    size++;
    if (with_port) {
        out[size++] = (uint8_t)(a->port >> 8);
        out[size++] = (uint8_t)a->port;
    }
    return size;
}

/* ---- text ------------------------------------------------------------------------------------ */

struct text {
    char *p, *end; /* end: where the final 0 goes at the latest */
};

static void text_char(struct text *t, char c)
{
    if (t->p < t->end)
        *t->p++ = c;
}

static void text_string(struct text *t, const char *s)
{
    while (*s)
        text_char(t, *s++);
}

static void text_number(struct text *t, uint32_t v, uint32_t base)
{
    char digits[10]; /* 2^32 - 1 in decimal */
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v > 0);
    while (n > 0)
        text_char(t, digits[--n]);
}

static void text_ip4(struct text *t, const uint8_t *ip)
{
    for (unsigned i = 0; i < 4; i++) {
        if (i > 0)
            text_char(t, '.');
        text_number(t, ip[i], 10);
    }
}

static void text_groups(struct text *t, const uint16_t group[8])
{
    unsigned from = 8, size = 1; /* the run that "::" stands for */
    for (unsigned i = 0; i < 8; i++) {
        unsigned run = 0;
        while (i + run < 8 && group[i + run] == 0)
            run++;
        if (run > size) {
            from = i;
            size = run;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == from) {
            text_string(t, "::");
            i += size - 1;
            continue;
        }
        if (i > 0 && i != from + size)
            text_char(t, ':');
        text_number(t, group[i], 16);
    }
}

static void text_ip6(struct text *t, const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (memcmp(ip, mapped, sizeof mapped) == 0) {
        text_string(t, "::ffff:");
        text_ip4(t, ip + sizeof mapped);
        return;
    }
    uint16_t group[8];
    for (unsigned i = 0; i < 8; i++)
        group[i] = (uint16_t)(ip[2 * i] << 8 | ip[2 * i + 1]);
    text_groups(t, group);
}

char *aq_addr_text(const struct aq_addr *addr, char *out, size_t size)
{
    if (size == 0)
        return out;
    struct text t = {out, out + size - 1};
    if (addr->family == 4) {
        text_ip4(&t, addr->ip);
    } else if (addr->family == 6) {
        text_char(&t, '[');
        text_ip6(&t, addr->ip);
        if (addr->scope_id) {
            text_char(&t, '%');
            text_number(&t, addr->scope_id, 10);
        }
        text_char(&t, ']');
    } else {
        text_string(&t, "none");
    }
    if (ip_size(addr) > 0) {
        text_char(&t, ':');
        text_number(&t, addr->port, 10);
    }
    *t.p = '\0';
    return out;
}
