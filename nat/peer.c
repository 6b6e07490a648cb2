/* peer.c -- names of peers: texts of PeerIds, allow lists, names of bootstrap nodes.
 *
 * The text of a PeerId is base32 (RFC 4648 §6) in lower case without padding: 256 bits are 51
 * characters of five bits and one that carries the last bit, whose four other bits are 0, so that
 * one PeerId has one text. Hexadecimal is read too, because that is what other tools print.
 *
 * Called by apps (aq_peer_id_*), nat/message, nat/registry, nat/registrar. */
#include "nat/peer.h"

#include <assert.h>
#include <string.h>

enum {
    BASE32_CHARS = AQ_PEER_ID_TEXT - 1,
    HEX_CHARS = 2 * PEER_ID_SIZE
};

int peer_id_compare(const struct peer_id *a, const struct peer_id *b)
{
    return memcmp(a->bytes, b->bytes, PEER_ID_SIZE);
}

bool peer_id_equal(const struct peer_id *a, const struct peer_id *b)
{
    return peer_id_compare(a, b) == 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

char *aq_peer_id_text(const uint8_t id[32], char out[AQ_PEER_ID_TEXT])
{
    /* PROTOCOL §2: lower-case base32, the first bits first. */
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = 0;
    unsigned have = 0, n = 0;
    for (unsigned i = 0; i < PEER_ID_SIZE; i++) {
        bits = bits << 8 | id[i];
        for (have += 8; have >= 5; have -= 5)
            out[n++] = alphabet[bits >> (have - 5) & 31];
    }
    out[n++] = alphabet[bits << (5 - have) & 31];
    assert(n == BASE32_CHARS);
    out[n] = '\0';
    return out;
}

char *peer_id_short(const struct peer_id *id, char out[PEER_ID_SHORT + 1])
{
    char text[AQ_PEER_ID_TEXT];
    memcpy(out, aq_peer_id_text(id->bytes, text), PEER_ID_SHORT);
    out[PEER_ID_SHORT] = '\0';
    return out;
}

/* The value of one character, 32 if it has none; `hex` says of which alphabet. */
static unsigned digit(char c, bool hex)
{
    if (c >= 'A' && c <= 'Z')
        c = (char)(c - 'A' + 'a');
    if (hex)
        return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
               : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                      : 32;
    return c >= 'a' && c <= 'z'   ? (unsigned)(c - 'a')
           : c >= '2' && c <= '7' ? (unsigned)(c - '2') + 26
                                  : 32;
}

bool peer_id_read(const char *text, size_t size, struct peer_id *id)
{
    bool hex = size == HEX_CHARS;
    unsigned width = hex ? 4 : 5, have = 0, n = 0;
    uint32_t bits = 0;
    struct peer_id got;
    if (size != BASE32_CHARS && !hex)
        return false;
    for (size_t i = 0; i < size; i++) {
        unsigned value = digit(text[i], hex);
        if (value == 32)
            return false;
        bits = bits << width | value;
        have += width;
        if (have >= 8 && n < PEER_ID_SIZE) {
            have -= 8;
            got.bytes[n++] = (uint8_t)(bits >> have);
        }
    }
    if (bits
        & ((1U << have) - 1)) /* PROTOCOL §2: bits beyond the 256th are 0: one text per PeerId */
        return false;
    *id = got;
    return true;
}

bool aq_peer_id_parse(const char *text, uint8_t id[32])
{
    struct peer_id got;
    if (!peer_id_read(text, strlen(text), &got))
        return false;
    memcpy(id, got.bytes, PEER_ID_SIZE);
    return true;
}

/* ---- sets ------------------------------------------------------------------------------------ */

/* Where it stands, or would stand. */
static uint32_t place_of(const struct peer_set *set, const struct peer_id *id, bool *there)
{
    uint32_t lo = 0, hi = set->count;
    while (lo < hi) {
        uint32_t middle = lo + (hi - lo) / 2;
        if (peer_id_compare(&set->v[middle], id) < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    *there = lo < set->count && peer_id_equal(&set->v[lo], id);
    return lo;
}

bool peer_set_has(const struct peer_set *set, const struct peer_id *id)
{
    bool there;
    (void)place_of(set, id, &there);
    return there;
}

bool peer_set_add(struct peer_set *set, const struct peer_id *id)
{
    bool there;
    uint32_t at = place_of(set, id, &there);
    if (there)
        return true;
    if (set->count == set->max)
        return false;
    memmove(&set->v[at + 1], &set->v[at], (set->count - at) * sizeof *set->v);
    set->v[at] = *id;
    set->count++;
    return true;
}

bool peer_set_remove(struct peer_set *set, const struct peer_id *id)
{
    bool there;
    uint32_t at = place_of(set, id, &there);
    if (!there)
        return false;
    set->count--;
    memmove(&set->v[at], &set->v[at + 1], (set->count - at) * sizeof *set->v);
    return true;
}

static bool separates(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#';
}

bool peer_set_parse(struct peer_set *set, const char *text, size_t size, unsigned *line)
{
    size_t at = 0;
    *line = 1;
    while (at < size) {
        size_t start = at;
        struct peer_id id;
        if (text[at] == '#') {
            while (at < size && text[at] != '\n')
                at++;
        } else if (separates(text[at])) {
            *line += text[at++] == '\n';
        } else {
            while (at < size && !separates(text[at]))
                at++;
            if (!peer_id_read(text + start, at - start, &id) || !peer_set_add(set, &id))
                return false;
        }
    }
    return true;
}

/* ---- bootstrap nodes ------------------------------------------------------------------------- */

static bool parse_port(const char *text, size_t size, uint16_t *port)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > UINT16_MAX)
            return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *port = (uint16_t)value;
    return size > 0 && value > 0 && value <= UINT16_MAX;
}

static bool wrong(const char **why, const char *sentence)
{
    *why = sentence;
    return false;
}

bool node_name_parse(const char *text, size_t size, struct node_name *name, const char **why)
{
    struct node_name got = {.pinned = false};
    const char *at = memchr(text, '@', size), *end = text + size, *colon = NULL;
    if (at) {
        if (!peer_id_read(text, (size_t)(at - text), &got.id))
            return wrong(
                why, "what stands before @ is no PeerId: 52 characters as `antq id` prints them");
        got.pinned = true;
        text = at + 1;
    }
    for (const char *p = text; p < end; p++) {
        if (*p == ':')
            colon = p;
    }
    if (!colon || !parse_port(colon + 1, (size_t)(end - colon - 1), &got.port))
        return wrong(why, "a port from 1 to 65535 must follow the host: HOST:PORT");
    size_t host_size = (size_t)(colon - text);
    bool bracketed = host_size >= 2 && text[0] == '[' && colon[-1] == ']';
    if (!bracketed && memchr(text, ':', host_size))
        return wrong(why, "an IPv6 address stands in brackets: [ADDRESS]:PORT");
    if (bracketed) {
        text++;
        host_size -= 2;
    }
    if (host_size == 0 || host_size > HOST_MAX || memchr(text, '\0', host_size))
        return wrong(why, "the host is missing or too long: HOST:PORT");
    memcpy(got.host, text, host_size);
    *name = got;
    return true;
}
