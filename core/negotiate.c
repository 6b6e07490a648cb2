/* negotiate.c -- which version of QUIC a connection speaks (RFC 9368; RFC 9369 §4).
 *
 *     client begins with `original` ---> a server that does not speak it: Version Negotiation; the
 *                                        client begins anew, once, with one that both speak
 *                                   ---> a server that does: reads the client's list, takes what it
 *                                        likes best, and answers in that: `version`
 *     client sees a first long header of another version: follows
 *
 * All versions we speak are compatible with each other. Both ends then say in their parameters what
 * they chose and what they could have; negotiate_check and negotiate_pick compare that with what
 * was on the wire, so that who changes it there gets a closed connection and no downgrade.
 *
 * Called by handshake.c (parameters), recv.c (long headers), accept.c and api.c (first ones). */
#include "core/endpoint.h"

/* The first of our versions that is listed; 0: none. */
static uint32_t first_common(const struct endpoint *ep, const uint32_t *listed, unsigned count)
{
    for (unsigned i = 0; i < AQ_VERSIONS_MAX && ep->config.versions[i]; i++) {
        for (unsigned k = 0; k < count; k++) {
            if (listed[k] == ep->config.versions[i])
                return listed[k];
        }
    }
    return 0;
}

bool negotiate_speaks(const struct endpoint *ep, uint32_t version)
{
    return version && first_common(ep, &version, 1);
}

uint32_t negotiate_first(const struct endpoint *ep, uint32_t asked, uint32_t ticket, uint32_t token)
{
    if (asked)
        return asked;
    if (negotiate_speaks(ep, ticket))
        return ticket;
    if (negotiate_speaks(ep, token))
        return token;
    /* RFC 9368 §2.5: the one that most servers can read; they see in the list what we like more. */
    return negotiate_speaks(ep, QUIC_V1) ? QUIC_V1 : ep->config.versions[0];
}

uint32_t negotiate_strip(struct aq_iov *blob)
{
    struct reader r = reader_make(blob->data, blob->size);
    uint32_t version = blob->data ? (uint32_t)read_uint(&r, NEGOTIATE_PREFIX) : 0;
    if (!blob->data || r.bad)
        return 0;
    blob->data += NEGOTIATE_PREFIX;
    blob->size -= NEGOTIATE_PREFIX;
    return version;
}

void negotiate_prefix(const struct conn *c, uint8_t out[NEGOTIATE_PREFIX])
{
    struct writer w = writer_make(out, NEGOTIATE_PREFIX);
    write_uint(&w, c->version, NEGOTIATE_PREFIX);
}

unsigned negotiate_list(struct endpoint *ep, uint32_t out[AQ_VERSIONS_MAX + 1])
{
    unsigned n = 0;
    while (n < AQ_VERSIONS_MAX && ep->config.versions[n]) {
        out[n] = ep->config.versions[n];
        n++;
    }
    /* RFC 9000 §6.3, RFC 9368 §3: a reserved one, anywhere, keeps peers used to unknown ones. */
    uint64_t chance = rng_u64(&ep->rng);
    unsigned at = (unsigned)(chance % (n + 1));
    memmove(out + at + 1, out + at, (n - at) * sizeof *out);
    out[at] = ((uint32_t)(chance >> 32) & 0xf0f0f0f0) | 0x0a0a0a0a;
    return n + 1;
}

void negotiate_info(const struct conn *c, struct version_info *info)
{
    *info = (struct version_info){.chosen = c->version};
    info->count = (uint8_t)negotiate_list(c->ep, info->available);
}

static void set_version(struct conn *c, uint32_t version, bool anew)
{
    c->version = version;
    TRACE_LINE(&c->tracer, AQ_TRACE_VERSION, 0, version, anew, 0, c->ep->now_us);
}

/* ---- the server: what the client's parameters say ---- */

int negotiate_pick(struct conn *c, const struct params *p)
{
    const struct version_info *info = &p->versions;
    if (!params_has(p, PARAM_VERSION_INFORMATION)) /* RFC 9368 §4: it need not be there */
        return AQ_OK;
    /* RFC 9368 §4: what the client chose is what it used. */
    if (info->chosen != c->hand->original)
        return AQ_VERSION_NEGOTIATION_ERROR;
    /* RFC 9368 §2.3: one that it offers; RFC 9369 §4.1: all CRYPTO frames are in that version. */
    uint32_t version = first_common(c->ep, info->available, info->count);
    if (version && version != c->version) {
        set_version(c, version, false);
        handshake_initial_keys(c, version, &c->hand->keys[0]);
    }
    return AQ_OK;
}

/* ---- the client: what the server's parameters say ---- */

int negotiate_check(const struct conn *c, const struct params *p)
{
    const struct hand *h = c->hand;
    struct version_info info = p->versions;
    uint32_t known[AQ_VERSIONS_MAX + 1];
    if (!params_has(p, PARAM_VERSION_INFORMATION)) {
        if (c->version == h->original && !h->version_anew)
            return AQ_OK;
        /* RFC 9368 §8: a server of version 1 may know nothing of this, and then speaks nothing
         * else. */
        info = (struct version_info){.chosen = QUIC_V1, .available = {QUIC_V1}, .count = 1};
    }
    /* RFC 9368 §4: it chose what it speaks, and what we offered, which is what we follow. */
    if (info.chosen != c->version)
        return AQ_VERSION_NEGOTIATION_ERROR;
    if (!h->version_anew)
        return AQ_OK;
    /* RFC 9368 §4: knowing all that the server speaks we would have begun with the same. */
    if (info.empty)
        return AQ_VERSION_NEGOTIATION_ERROR;
    memcpy(known, info.available, info.count * sizeof *known);
    known[info.count] = c->version;
    return first_common(c->ep, known, info.count + 1U) == h->original
               ? AQ_OK
               : AQ_VERSION_NEGOTIATION_ERROR;
}

/* ---- long headers of another version ---- */

/* RFC 9000 §5.2.1: not one of another version. */
bool negotiate_takes(const struct conn *c, const struct packet_head *h)
{
    if (h->version == c->version)
        return true;
    if (!c->hand || c->initial_discarded)
        return false;
    /* RFC 9369 §4.1: a server reads Initials of the original version until a Handshake packet
     * comes; a client knows the version after the first CRYPTO frame. */
    if (c->server)
        return h->version == c->hand->original && h->type == PACKET_INITIAL;
    return !c->hand->version_known && negotiate_speaks(c->ep, h->version)
           && (h->type == PACKET_INITIAL || h->type == PACKET_HANDSHAKE);
}

void negotiate_follow(struct conn *c, uint32_t version)
{
    assert(!c->server && !c->hand->version_known);
    c->hand->version_known = true;
    set_version(c, version, false);
    handshake_initial_keys(c, version, &c->hand->keys[0]);
}

/* RFC 9368 §2.1: what of the list we speak. 0: none of it; UINT32_MAX: the list is to be ignored,
 * because it has what we began with (RFC 9000 §6.2). */
static uint32_t common_version(const struct conn *c, const struct packet_head *h)
{
    uint32_t listed[AQ_VERSIONS_MAX];
    unsigned n = 0;
    struct reader r = reader_make(h->versions, h->versions_size);
    while (reader_left(&r) >= 4) {
        uint32_t version = (uint32_t)read_uint(&r, 4);
        if (version == c->version)
            return UINT32_MAX;
        if (negotiate_speaks(c->ep, version) && n < AQ_VERSIONS_MAX)
            listed[n++] = version;
    }
    return first_common(c->ep, listed, n);
}

void negotiate_on_versions(struct conn *c, const struct packet_head *h, uint64_t now)
{
    /* RFC 9000 §6.2: only in answer to a first flight. RFC 8999 §7: what it leads to is
     * authenticated by version_information. RFC 9368 §2.1: servers ignore it; §4: and so does a
     * client that has reacted to one. */
    if (c->server || c->got_packet || !c->hand || c->hand->retry_scid.size != 255
        || c->hand->version_anew || !cid_equal(&h->scid, cid_peer_active(&c->peer_cids)))
        return;
    uint32_t version = common_version(c, h);
    if (version == UINT32_MAX)
        return;
    if (!version) {
        conn_end(c, AQ_BY_VERSION, 0, "the server speaks no version of QUIC that we speak",
                 "RFC 9000 6.2", now);
        return;
    }
    c->hand->version_anew = true;
    set_version(c, version, true);
    if (handshake_restart(c, now) != AQ_OK)
        conn_end(c, AQ_BY_US, AQ_INTERNAL_ERROR, "no memory to begin with another version",
                 "negotiate_on_versions", now);
}
