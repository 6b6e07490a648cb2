/* accept.c -- datagrams that belong to no connection (RFC 9000 §5.2.2, §6, §8.1, §10.3).
 *
 * A first Initial begins a connection, is answered statelessly with a Retry, a Version Negotiation
 * or a refusal, or is dropped; a short header packet is answered with a stateless reset. Nothing is
 * kept for a client that was sent any of these. Answers wait in a small ring; when it is full they
 * are not given: the peer asks again. */
#include "core/addr.h"
#include "core/endpoint.h"

enum {
    RESET_SIZE_MIN = 21,
    RESET_GAP_US = 10000,
    RESET_BURST_US = 200000
};

/* A free place in the ring of answers, addressed to where d came from; NULL: full. */
static struct reply *reply_take(struct endpoint *ep, const struct aq_datagram *d)
{
    if (ep->reply_count == REPLIES_MAX)
        return NULL;
    struct reply *r = &ep->replies[(ep->reply_first + ep->reply_count) % REPLIES_MAX];
    r->train = (struct aq_train){.data = r->data,
                                 .socket = d->socket,
                                 .ifindex = d->ifindex,
                                 .channel = d->channel,
                                 .local = d->local,
                                 .remote = d->remote};
    return r;
}

static void reply_give(struct endpoint *ep, struct reply *r, size_t size)
{
    if (!size)
        return;
    if (r->train.channel) {
        r->train.data = (uint8_t *)r + offsetof(struct reply, prefix);
        size += AQ_CHANNEL_PREFIX;
    }
    r->train.size = (uint32_t)size;
    r->train.segment = (uint16_t)size;
    ep->reply_count++;
    ep->stats.datagrams_out++;
    ep->stats.trains_out++;
    ep->stats.bytes_out += size;
}

/* RFC 9000 §10.3: looks like a short header packet, ends in the token of the id it was sent to, and
 * RFC 9000 §10.3.3: is smaller than what caused it, so that two endpoints never reset each other
 * for ever (SECURITY.md row 19: and rarely). Its size; 0: none. */
static uint32_t reset_write(struct endpoint *ep, const uint8_t *data, uint32_t size, uint8_t *out,
                            uint64_t now)
{
    struct cid_fields f;
    if (size <= RESET_SIZE_MIN || ep->reset_tokens_us > now + RESET_BURST_US)
        return 0;
    /* RFC 9000 §21.11: never for an id that may be in use at a sibling with the same key. */
    if (!cid_decode(&ep->cid_key, data + 1, &f) || f.worker != ep->config.worker)
        return 0;
    uint32_t n = size - 1 < AQ_RESET_SIZE ? size - 1 : AQ_RESET_SIZE;
    struct cid cid = {.size = ep->cid_key.size};
    memcpy(cid.bytes, data + 1, cid.size);
    rng_fill(&ep->rng, out, n - RESET_TOKEN_SIZE);
    out[0] = (uint8_t)((out[0] & 0x3f) | 0x40);
    cid_reset_token(&ep->cid_key, &cid, out + n - RESET_TOKEN_SIZE);
    ep->stats.resets++;
    TRACE_LINE(&ep->tracer, AQ_TRACE_RESET, 0, 1, 0, 0, now);
    ep->reset_tokens_us = (ep->reset_tokens_us > now ? ep->reset_tokens_us : now) + RESET_GAP_US;
    return n;
}

static void accept_reset(struct endpoint *ep, const struct aq_datagram *d, const uint8_t *data,
                         uint32_t size, uint64_t now)
{
    struct reply *r = reply_take(ep, d);
    if (r)
        reply_give(ep, r, reset_write(ep, data, size, r->data, now));
}

size_t aq_reset_for(struct aq_endpoint *endpoint, const uint8_t *data, size_t size,
                    uint8_t out[AQ_RESET_SIZE], uint64_t now_us)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    bool is_short = size > RESET_SIZE_MIN && (data[0] & 0xc0) == 0x40;
    if (!is_short || endpoint_route(ep, data, (uint32_t)size) != NULL)
        return 0;
    return reset_write(ep, data, (uint32_t)size, out, now_us);
}

/* RFC 9000 §6.1: an unknown version in a datagram large enough to be a first one. */
static void accept_version(struct endpoint *ep, const struct aq_datagram *d, const uint8_t *data,
                           uint32_t size)
{
    uint32_t versions[AQ_VERSIONS_MAX + 1];
    unsigned count = negotiate_list(ep, versions); /* RFC 9368 §2.1: all that we speak */
    if (size < INITIAL_MIN_DATAGRAM) {
        ep->stats.drop_version++;
        return;
    }
    /* The ids' sizes are the stranger's, up to 255 (RFC 8999 §5.1). */
    const uint8_t *p = data + 5;
    if (7U + p[0] > size || 7U + p[0] + p[1 + p[0]] > size)
        return;
    struct aq_iov dcid = {p + 1, p[0]}, scid = {p + 2 + p[0], p[1 + p[0]]};
    struct reply *r = reply_take(ep, d);
    if (!r)
        return;
    reply_give(ep, r,
               packet_write_versions(r->data, REPLY_SIZE, &scid, &dcid, versions, count,
                                     (uint8_t)rng_below(&ep->rng, 128)));
    ep->stats.versions++;
}

/* Whether the Initial is what a client sealed: its token is authenticated with it (RFC 9000
 * §8.1.2: "but is otherwise valid"). */
static bool accept_authentic(const struct packet_head *h, const uint8_t *data)
{
    uint8_t copy[2048];
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    if (h->size > sizeof copy)
        return false;
    memcpy(copy, data, h->size);
    schedule_initial(h->version, h->dcid.bytes, h->dcid.size, &client, &server);
    schedule_keys(h->version, &client, &key, &hp);
    struct sealed s = {
        .data = copy, .size = (uint32_t)h->size, .pn_offset = (uint16_t)h->pn_offset, .ok = true};
    protect_unmask(&hp, &s, 1);
    if (s.ok)
        protect_open(&key, &s, 1);
    protect_aead_wipe(&key);
    protect_hp_wipe(&hp);
    schedule_wipe(&client);
    schedule_wipe(&server);
    return s.ok;
}

/* A CONNECTION_CLOSE in an Initial, made of nothing but the client's own Initial (RFC 9000 §5.2.2,
 * §8.1.3). */
static void accept_refuse(struct endpoint *ep, const struct aq_datagram *d,
                          const struct packet_head *h, const uint8_t *data, int error,
                          const char *reason)
{
    struct secret client, server;
    struct aead_key key;
    struct hp_key hp;
    struct reply *r = accept_authentic(h, data) ? reply_take(ep, d) : NULL;
    if (!r)
        return;
    schedule_initial(h->version, h->dcid.bytes, h->dcid.size, &client, &server);
    schedule_keys(h->version, &server, &key, &hp);
    struct writer w = writer_make(r->data, REPLY_SIZE - AEAD_TAG_SIZE);
    struct aq_iov no_token = {NULL, 0};
    size_t pn_offset =
        packet_write_long(&w, PACKET_INITIAL, h->version, &h->scid, &h->dcid, &no_token, 1);
    packet_write_number(&w, 0, 1);
    struct frame f = {.type = FRAME_CONNECTION_CLOSE};
    f.close.code = (uint64_t)error;
    f.close.reason = (const uint8_t *)reason;
    f.close.reason_size = strlen(reason);
    frame_encode(&w, &f);
    size_t size = (size_t)(w.p - r->data) + AEAD_TAG_SIZE;
    packet_patch_length(r->data, pn_offset, size - pn_offset);
    struct sealed s = {
        .data = r->data, .size = (uint32_t)size, .pn_offset = (uint16_t)pn_offset, .pn_size = 1};
    protect_seal(&key, &hp, &s, 1);
    protect_aead_wipe(&key);
    protect_hp_wipe(&hp);
    schedule_wipe(&client);
    schedule_wipe(&server);
    reply_give(ep, r, size);
}

/* RFC 9000 §17.2.5.1: from another id than the client made up; one for a datagram. */
static void accept_retry(struct endpoint *ep, const struct aq_datagram *d,
                         const struct packet_head *h, uint64_t now)
{
    struct token token = {.kind = TOKEN_RETRY,
                          .time_s = endpoint_unix_s(ep, now),
                          .version = h->version,
                          .odcid = h->dcid};
    uint8_t bytes[TOKEN_SIZE], chance[CID_SIZE];
    struct reply *r = reply_take(ep, d);
    if (!r)
        return;
    rng_fill(&ep->rng, chance, sizeof chance);
    cid_from_chance(&ep->cid_key, chance, &token.retry_scid);
    token_make(&ep->token_key, &token, &d->remote, &ep->rng, bytes);
    struct aq_iov iov = {bytes, sizeof bytes};
    reply_give(ep, r,
               packet_write_retry(r->data, REPLY_SIZE, h->version, &h->scid, &token.retry_scid,
                                  &h->dcid, &iov, (uint8_t)rng_below(&ep->rng, 16)));
    ep->stats.retries++;
    TRACE_LINE(&ep->tracer, AQ_TRACE_RETRY, 0, 1, 0, 0, now);
}

/* Begins a connection for a first Initial and gives it the datagram. */
static void accept_conn(struct endpoint *ep, const struct aq_datagram *d, uint8_t *data,
                        uint32_t size, struct conn_start *start, uint64_t now)
{
    uint32_t slot = endpoint_new_conn(ep, now);
    if (slot == POOL_NONE) {
        struct packet_head h;
        ep->stats.drop_conns_full++;
        if (endpoint_parse(ep, data, size, &h) == AQ_OK)
            accept_refuse(ep, d, &h, data, AQ_CONNECTION_REFUSED, "the server is full");
        return;
    }
    struct conn *c = conn_at(ep, slot);
    handshake_begin(c, start, now);
    c->source_pays = start->validated;
    conn_recv(c, d, &data, &size, 1, now);
    if (!c->got_packet) { /* not authentic: nobody is told, nothing is kept (SECURITY.md row 6) */
        conn_set_state(c, CONN_OVER, now);
        conn_drop_flight(c);
        handshake_over(c, now);
        endpoint_free_conn(ep, c);
        return;
    }
    ep->stats.accepted++;
    conn_event(c, AQ_EVENT_ACCEPTED);
}

static void accept_initial(struct endpoint *ep, const struct aq_datagram *d, uint8_t *data,
                           uint32_t size, const struct packet_head *h, uint64_t now)
{
    struct conn_start start = {.server = true,
                               .tls = ep->config.tls,
                               .version = h->version,
                               .odcid = h->dcid,
                               .dcid = h->dcid,
                               .scid = h->scid,
                               .meta = d};
    struct token token;
    bool open = h->token_size
                && token_open(&ep->token_key, h->token, h->token_size, &d->remote, &token,
                              endpoint_unix_s(ep, now))
                /* RFC 9369 §5: nor one of a connection of another version; §4.1: the client must
                 * not change it after a Retry. */
                && token.version == h->version;
    if (open && token.kind == TOKEN_RETRY && cid_equal(&token.retry_scid, &h->dcid)) {
        start.odcid = token.odcid;
        start.retry_scid = &token.retry_scid;
    } else if (h->token_size && token_is_retry(h->token, h->token_size)) {
        ep->stats.tokens_bad++; /* RFC 9000 §8.1.2: a Retry token that is not right */
        accept_refuse(ep, d, h, data, AQ_INVALID_TOKEN, "the Retry token is not valid or too old");
        return;
    } else if (h->token_size && !open) {
        ep->stats.tokens_bad++; /* RFC 9000 §8.1.3: else as if there were none */
    }
    start.validated = open;
    bool load = ep->half_open >= (ep->config.max_half_open + 3) / 4; /* SECURITY.md row 7 */
    if (!open
        && (ep->config.retry == AQ_RETRY_ALWAYS
            || (ep->config.retry == AQ_RETRY_UNDER_LOAD && load))) {
        accept_retry(ep, d, h, now);
        return;
    }
    if (ep->half_open >= ep->config.max_half_open) {
        ep->stats.drop_half_open_full++;
        return;
    }
    if (open && !sources_take(&ep->sources, &d->remote, load, now)) {
        ep->stats.drop_source++;
        return;
    }
    accept_conn(ep, d, data, size, &start, now);
}

void accept_datagram(struct endpoint *ep, const struct aq_datagram *d, uint8_t *data, uint32_t size,
                     uint64_t now)
{
    struct packet_head h;
    if (endpoint_parse(ep, data, size, &h) != AQ_OK) {
        if (data[0] & 0x40)
            ep->stats.drop_short++;
        else
            ep->stats.drop_not_quic++;
        return;
    }
    if (h.type == PACKET_ONE_RTT) {
        ep->stats.drop_unknown_cid++;
        accept_reset(ep, d, data, size, now);
        return;
    }
    bool spoken =
        h.type != PACKET_UNKNOWN_VERSION && (!h.version || negotiate_speaks(ep, h.version));
    if (!spoken && ep->config.tls) {
        accept_version(ep, d, data, size);
        return;
    }
    if (!spoken || h.type != PACKET_INITIAL) {
        ep->stats.drop_unknown_cid++;
        return;
    }
    if (!ep->config.tls) {
        ep->stats.drop_refused++;
        return;
    }
    /* RFC 9000 §14.1: a client's Initial comes in at least 1,200 bytes; §7.2: to an id of at
     * least 8. */
    if (size < INITIAL_MIN_DATAGRAM || h.dcid.size < 8) {
        ep->stats.drop_short++;
        return;
    }
    accept_initial(ep, d, data, size, &h, now);
}
