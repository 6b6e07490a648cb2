/* datagram.c -- DATAGRAM frames (RFC 9221): the queues of a connection between the application and
 * the packets.
 *
 *     aq_datagram_send -> tx -> datagram_fill        (fill.c's row, before the streams)
 *     datagram_on_frame -> rx -> aq_datagram_peek    (apply.c's row)
 *
 * Both queues are bounded by the config, and so is what the peer can make us hold. What is dropped
 * is counted by direction; what was lost on its way too, but nothing is sent again (§5.2). */
#include "core/endpoint.h"
#include "core/frame.h"

enum {
    LENGTH_MAX_SIZE = 2,      /* of a datagram's length: packets are below 16,384 bytes */
    LONG_MORE = 4 + 1 + 1 + 2 /* a long header's version, the ids' sizes, and Length */
};

/* The connection's block, taken with the first datagram. NULL: no memory. */
static struct datagrams *datagrams_of(struct conn *c)
{
    if (!c->datagrams) {
        c->datagrams = quota_take(&c->quota, sizeof *c->datagrams);
        if (c->datagrams)
            *c->datagrams = (struct datagrams){0};
    }
    return c->datagrams;
}

void datagram_end(struct conn *c)
{
    struct datagrams *d = c->datagrams;
    if (!d)
        return;
    dgramq_clear(&d->tx, &c->quota);
    dgramq_clear(&d->rx, &c->quota);
    quota_give(&c->quota, d, sizeof *d);
    c->datagrams = NULL;
}

/* Queues the pieces; a full queue lets its oldest go where the config says so. Counts what went. */
static int put(struct conn *c, struct dgramq *q, uint64_t *dropped, const struct aq_iov *iov,
               unsigned n)
{
    const struct aq_config *config = &c->ep->config;
    for (;;) {
        int error = dgramq_put(q, &c->quota, config->datagram_queue, iov, n);
        if (error != AQ_BLOCKED || !config->datagram_drop_oldest || !q->count)
            return error;
        dgramq_drop(q, &c->quota);
        ++*dropped;
    }
}

/* ---- receiving ---- */

int datagram_on_frame(struct conn *c, const struct frame *f, struct apply *a)
{
    uint64_t limit = c->ep->config.datagram_max;
    /* RFC 9221 §3: one that we did not offer to take, or larger than we take. */
    if (frame_size(f) > limit) {
        a->where = "RFC 9221 3: a datagram beyond max_datagram_frame_size";
        return AQ_PROTOCOL_VIOLATION;
    }
    struct datagrams *d = datagrams_of(c);
    if (!d)
        return AQ_OK; /* RFC 9221 §5.3: it may be dropped, and is acknowledged all the same */
    struct aq_iov iov = {f->datagram.data, f->datagram.size};
    d->received++;
    if (put(c, &d->rx, &d->dropped_rx, &iov, 1) != AQ_OK) {
        d->dropped_rx++;
        return AQ_OK;
    }
    conn_event(c, AQ_EVENT_DATAGRAM);
    return AQ_OK;
}

/* ---- sending ---- */

/* The largest datagram that a packet of this path, with nothing else in it, can carry. */
static size_t datagram_room(const struct conn *c)
{
    const struct path *p = conn_path(c);
    size_t around = 1U + cid_peer_active(&c->peer_cids)->size + 4 + AEAD_TAG_SIZE;
    size_t frame = p->mtu.size - around;
    if (early_sends(c)) /* in a long header, whatever id the server takes for itself */
        frame = MTU_BASE - (1U + CID_MAX + 4 + AEAD_TAG_SIZE) - LONG_MORE - c->ep->cid_key.size;
    if (frame > c->peer.datagram_max) /* RFC 9221 §3 */
        frame = c->peer.datagram_max;
    return frame > 1 + LENGTH_MAX_SIZE ? frame - 1 - LENGTH_MAX_SIZE : 0;
}

bool datagram_owed(const struct conn *c)
{
    return c->datagrams && c->datagrams->tx.count;
}

void datagram_fate(struct conn *c, bool lost)
{
    if (!c->datagrams) /* the connection is ending */
        return;
    if (lost)
        c->datagrams->lost++; /* RFC 9221 §5.2: and that is all */
    else
        c->datagrams->acked++;
}

static void datagram_gone(struct conn *c)
{
    struct datagrams *d = c->datagrams;
    dgramq_drop(&d->tx, &c->quota);
    if (d->room_wanted) {
        d->room_wanted = false;
        conn_event(c, AQ_EVENT_DATAGRAM_ROOM);
    }
}

/* One that would fit an emptier packet waits for the next; one that fits none any more is dropped:
 * the path's MTU has become smaller. */
void datagram_fill(struct conn *c, struct out *o)
{
    struct datagrams *d = c->datagrams;
    struct aq_iov first;
    while (dgramq_first(&d->tx, &first)) {
        struct frame f = {.type = FRAME_DATAGRAM_LEN};
        f.datagram.data = first.data;
        f.datagram.size = first.size;
        if (first.size > datagram_room(c)) {
            d->dropped_tx++;
        } else if (fill_frame(o, &f, RECORD_DATAGRAM)) {
            d->sent++;
        } else {
            return;
        }
        datagram_gone(c);
    }
}

/* ---- the application ---- */

static struct conn *find(struct aq_endpoint *ep, aq_conn conn)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)ep, conn);
    return c && conn_is_open(c) ? c : NULL;
}

size_t aq_datagram_max(struct aq_endpoint *ep, aq_conn conn)
{
    struct conn *c = find(ep, conn);
    return c && c->peer.datagram_max ? datagram_room(c) : 0;
}

int aq_datagram_send(struct aq_endpoint *ep, aq_conn conn, const struct aq_iov *iov, unsigned n)
{
    struct conn *c = find(ep, conn);
    size_t size = 0, max = aq_datagram_max(ep, conn);
    if (!c)
        return AQ_GONE;
    /* RFC 9221 §3: in 0-RTT as the server's parameters are remembered. */
    if (c->state == CONN_HANDSHAKE && !early_is_open(c))
        return AQ_BLOCKED;
    for (unsigned i = 0; i < n && size <= UINT16_MAX; i++)
        size += iov[i].size <= UINT16_MAX ? iov[i].size : UINT16_MAX + 1;
    if (!c->peer.datagram_max)
        return AQ_MISUSE;
    struct datagrams *d = datagrams_of(c);
    if (size > max) {
        if (d && size < c->peer.datagram_max) {
            d->larger_wanted = true;
            conn_wake(c);
        }
        return AQ_MISUSE;
    }
    int error = d ? put(c, &d->tx, &d->dropped_tx, iov, n) : AQ_BLOCKED;
    if (error == AQ_OK)
        conn_wake(c);
    else if (d)
        d->room_wanted = true;
    return error;
}

int aq_datagram_peek(struct aq_endpoint *ep, aq_conn conn, struct aq_iov *datagram)
{
    struct conn *c = find(ep, conn);
    if (!c)
        return AQ_GONE;
    return c->datagrams && dgramq_first(&c->datagrams->rx, datagram) ? AQ_OK : AQ_BLOCKED;
}

int aq_datagram_take(struct aq_endpoint *ep, aq_conn conn)
{
    struct conn *c = find(ep, conn);
    if (!c)
        return AQ_GONE;
    if (!c->datagrams || !c->datagrams->rx.count)
        return AQ_MISUSE;
    dgramq_drop(&c->datagrams->rx, &c->quota);
    return AQ_OK;
}
