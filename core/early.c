/* early.c -- 0-RTT: what is remembered for it, its keys, and what becomes of it (RFC 9001 §4.6,
 * RFC 9000 §7.4.1).
 *
 * A client's ticket, as the application keeps it, is
 *
 *     version 4 | size 2 | the server's transport parameters, those to be remembered | TLS's ticket
 *
 * With early_data the client's streams work under the remembered limits from the first flight on;
 * their packets are of the application space, sealed with keys of their own. When the server
 * accepts, its parameters may only raise the limits. When it rejects, all that was sent is taken
 * back and goes again in 1-RTT packets under the new limits; the application sees nothing of it.
 *
 * A server accepts a ClientHello's 0-RTT once (strike.h), and only under a ticket of this endpoint,
 * made under the same parameters: the context in it has a number that each endpoint draws anew, so
 * neither a sibling nor the next life of this one, whose registers know nothing, accept it.
 *
 * Called by handshake.c, and through tls_sink. */
#include "core/endpoint.h"
#include "core/frame.h"

enum {
    TICKET_HEAD = NEGOTIATE_PREFIX + 2,
    EARLY_LINGER_PTOS = 3
};

static uint64_t keep_mask(void)
{
    unsigned count;
    uint64_t mask = 0;
    const struct param_row *rows = params_rows(&count);
    for (unsigned i = 0; i < count; i++)
        mask |= (uint64_t)rows[i].keep << i;
    return mask;
}

static size_t keep_encode(const struct params *p, uint8_t *out, size_t size)
{
    struct params kept = *p;
    kept.present &= keep_mask();
    return params_encode(&kept, 0, out, size);
}

/* ---- client ---- */

/* The limits for what we send, and the frames that the peer knows. */
static void early_limits(struct conn *c, const struct params *p)
{
    c->streams.tx_bidi_local = p->max_stream_data_bidi_remote; /* his "remote" is what we open */
    c->streams.tx_bidi_remote = p->max_stream_data_bidi_local;
    c->streams.tx_uni = p->max_stream_data_uni;
    c->streams.peer_max[STREAMS_BIDI] = p->max_streams_bidi;
    c->streams.peer_max[STREAMS_UNI] = p->max_streams_uni;
    flow_tx_raise(&c->flow, p->max_data);
    c->peer.reset_stream_at = p->reset_stream_at;
    c->peer.datagram_max =
        (uint16_t)(p->max_datagram_frame < UINT16_MAX ? p->max_datagram_frame : UINT16_MAX);
}

const uint8_t *early_ticket_open(struct conn *c, const uint8_t *ticket, size_t *size, bool *early)
{
    struct hand *h = c->hand;
    struct params p;
    struct reader r = reader_make(ticket, *size);
    size_t kept = (size_t)read_uint(&r, 2);
    const uint8_t *params = read_bytes(&r, kept);
    if (!params || r.bad || kept > sizeof h->kept)
        return NULL;
    params_init(&p);
    *early = *early && params_decode(&p, BY_SERVER, params, kept) == AQ_OK;
    memcpy(h->kept, params, kept);
    h->kept_size = (uint16_t)kept;
    *size = reader_left(&r);
    return r.p;
}

void early_ticket_take(struct conn *c, const uint8_t *ticket, size_t size)
{
    const struct hand *h = c->hand;
    size_t whole = TICKET_HEAD + h->kept_size + size;
    quota_give(&c->quota, c->ticket_data, c->ticket_size);
    c->ticket_data = quota_take(&c->quota, whole);
    c->ticket_size = c->ticket_data ? (uint32_t)whole : 0;
    if (!c->ticket_data) {
        c->events &= ~(1U << AQ_EVENT_TICKET);
        return; /* no memory: no resumption, nothing else is lost */
    }
    struct writer w = writer_make(c->ticket_data, whole);
    negotiate_prefix(c, w.p);
    w.p += NEGOTIATE_PREFIX;
    write_uint(&w, h->kept_size, 2);
    write_bytes(&w, h->kept, h->kept_size);
    write_bytes(&w, ticket, size);
    assert(!w.bad && writer_left(&w) == 0);
    conn_event(c, AQ_EVENT_TICKET);
}

void early_begin(struct conn *c, bool write, const struct secret *secret)
{
    struct hand *h = c->hand;
    struct params p;
    assert(write != c->server);
    /* RFC 9369 §4.1: 0-RTT stays in the version that the client began with. */
    schedule_keys(h->original, secret, &h->early, &h->early_hp);
    c->early = c->server ? AQ_EARLY_ACCEPTED : AQ_EARLY_OFFERED;
    conn_event(c, AQ_EVENT_EARLY);
    if (c->server)
        return;
    params_init(&p);
    int error = params_decode(&p, BY_SERVER, h->kept, h->kept_size);
    assert(error == AQ_OK); /* early_ticket_open has seen it */
    (void)error;
    early_limits(c, &p); /* RFC 9000 §7.4.1: only the remembered ones */
    conn_wake(c);
}

void early_discard(struct conn *c)
{
    protect_aead_wipe(&c->hand->early);
    protect_hp_wipe(&c->hand->early_hp);
}

void early_again(struct conn *c, uint64_t now)
{
    uint64_t bytes[PATHS_MAX] = {0};
    struct sink_arg arg = {.c = c, .space = SPACE_APP, .now = now, .path = PATH_GONE};
    if (c->server || c->early != AQ_EARLY_OFFERED)
        return;
    loss_forget(&c->app.sent, &c->quota, true, &apply_sink, &arg, bytes);
    cc_on_left(&conn_path(c)->cc, bytes[c->active]);
}

void early_rejected(struct conn *c, uint64_t now)
{
    early_again(c, now);
    early_discard(c);
    c->early = AQ_EARLY_REJECTED;
    /* RFC 9001 §4.6.2: streams begin anew, without a limit of their own until the server's new
     * parameters are known. */
    for (uint32_t i = c->streams.all; i != POOL_NONE; i = stream_at(&c->ep->streams, i)->all_next)
        stream_rewind(stream_at(&c->ep->streams, i), &c->quota);
    flow_tx_reset(&c->flow);
    memset(c->streams.peer_max, 0, sizeof c->streams.peer_max);
}

/* RFC 9000 §7.4.1: a server that accepts 0-RTT must not reduce what the client counts on. */
static bool early_is_reduced(const struct params *old, const struct params *new)
{
    return new->active_cid_limit < old->active_cid_limit || new->max_data < old->max_data
           || new->max_stream_data_bidi_local < old->max_stream_data_bidi_local
           || new->max_stream_data_bidi_remote < old->max_stream_data_bidi_remote
           || new->max_stream_data_uni < old->max_stream_data_uni
           || new->max_streams_bidi < old->max_streams_bidi
           || new->max_streams_uni < old->max_streams_uni
           || new->max_datagram_frame < old->max_datagram_frame /* RFC 9221 §3 */
           /* draft-seemann-quic-nat-traversal §4.5, draft-ietf-quic-address-discovery: neither may
            * be disabled, nor the latter changed. */
           || new->nat_limit < old->nat_limit
           || params_has(old, PARAM_ADDRESS_DISCOVERY) != params_has(new, PARAM_ADDRESS_DISCOVERY)
           || new->address_discovery != old->address_discovery;
}

/* Streams of 0-RTT get the limits that the handshake brought. */
static void early_raise(struct conn *c)
{
    for (uint32_t i = c->streams.all; i != POOL_NONE; i = stream_at(&c->ep->streams, i)->all_next) {
        struct stream *s = stream_at(&c->ep->streams, i);
        if (s->local)
            flow_tx_raise(&s->flow,
                          stream_id_is_uni(s->id) ? c->streams.tx_uni : c->streams.tx_bidi_local);
    }
    conn_wake_streams(c);
}

int early_on_params(struct conn *c, const struct params *p)
{
    struct hand *h = c->hand;
    struct params old;
    if (!c->server && c->early == AQ_EARLY_OFFERED) {
        params_init(&old);
        if (params_decode(&old, BY_SERVER, h->kept, h->kept_size) != AQ_OK
            || early_is_reduced(&old, p))
            return AQ_PROTOCOL_VIOLATION;
        c->early = AQ_EARLY_ACCEPTED;
    }
    early_limits(c, p);
    if (!c->server) { /* for the tickets that come */
        h->kept_size = (uint16_t)keep_encode(p, h->kept, sizeof h->kept);
        /* Rejected, and fewer streams than are open already: they cannot go again. */
        for (unsigned uni = 0; uni < 2; uni++) {
            if (c->streams.local_next[uni] > c->streams.peer_max[uni])
                return AQ_INTERNAL_ERROR;
        }
        early_raise(c);
    }
    return AQ_OK;
}

/* ---- server ---- */

size_t early_context(struct endpoint *ep, const struct params *own, uint8_t *out, size_t size)
{
    size_t kept = keep_encode(own, out, size - sizeof ep->early_nonce);
    memcpy(out + kept, ep->early_nonce, sizeof ep->early_nonce);
    return kept + sizeof ep->early_nonce;
}

bool early_may(void *arg, const uint8_t *binder, size_t size)
{
    struct endpoint *ep = ((struct conn *)arg)->ep;
    return ep->strike.v
           && strike_take(&ep->strike, endpoint_hash_cid(ep, binder, size), ep->now_us);
}

void early_complete(struct conn *c, uint64_t now)
{
    struct hand *h = c->hand;
    if (c->server && h->tls.early == TLS_EARLY_REJECTED)
        c->early = AQ_EARLY_REJECTED;
    if (!c->server) /* RFC 9001 §4.9.3, §5.6: no 0-RTT once 1-RTT keys are there */
        early_discard(c);
    h->early_until_us = now + EARLY_LINGER_PTOS * conn_pto(c, SPACE_APP);
}

bool early_can_open(struct conn *c, uint64_t now)
{
    const struct hand *h = c->hand;
    if (!c->server || !h || !h->early.set)
        return false;
    /* RFC 9001 §4.9.3: three PTOs for what was reordered, and no longer. */
    if (c->state != CONN_HANDSHAKE && now >= h->early_until_us) {
        early_discard(c);
        return false;
    }
    return true;
}
