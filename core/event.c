/* event.c -- what the application is told: pending bits, coalesced, from ready lists (antq.h,
 * aq_next_event).
 *
 * A connection stands in the endpoint's list while it, or one of its streams in its own list, has
 * bits set; so nothing can overflow and nobody is called back. A connection's own events come
 * first, then its streams', and its end last. What ended is freed when the host comes back after it
 * was told. */
#include "core/endpoint.h"

/* Connections and streams whose last event was told end when the host comes back. */
void endpoint_release_ended(struct endpoint *ep, uint64_t now)
{
    if (ep->stream_ended != POOL_NONE) {
        uint32_t slot = ep->stream_ended;
        ep->stream_ended = POOL_NONE;
        conn_stream_over(conn_at(ep, stream_at(&ep->streams, slot)->conn), slot, now);
    }
    if (ep->ended != POOL_NONE) {
        struct conn *c = conn_at(ep, ep->ended);
        ep->ended = POOL_NONE;
        conn_drop_streams(c, now);
        if (c->state == CONN_OVER)
            endpoint_free_conn(ep, c);
    }
}

/* The lowest pending event of a connection; its streams' come before its own end. */
static enum aq_event_kind take_event(uint32_t *events, uint32_t allowed)
{
    uint32_t bits = *events & allowed;
    if (!bits)
        return AQ_EVENT_NONE;
    enum aq_event_kind kind = (enum aq_event_kind)__builtin_ctz(bits);
    *events &= ~(1U << kind);
    return kind;
}

static void event_stream(struct endpoint *ep, struct aq_event *event, struct conn *c, uint32_t slot)
{
    struct stream *s = stream_at(&ep->streams, slot);
    event->kind =
        take_event(&s->events, UINT32_MAX); /* none: what it told of has passed meanwhile */
    event->stream = pool_handle(&ep->streams.pool, slot);
    event->stream_user = s->user;
    if (!s->events) /* else it stays the first, for its next one */
        (void)streams_next_ready(&c->streams, &ep->streams);
    if (event->kind == AQ_EVENT_RESET)
        event->value = s->peer_reset_code;
    if (event->kind == AQ_EVENT_STOPPED)
        event->value = s->peer_stop_code;
    if (event->kind == AQ_EVENT_RESET && s->rx == RX_RESET_RECVD)
        stream_set_rx(s, RX_RESET_READ); /* RFC 9000 §3.2: the application was told */
    if (event->kind == AQ_EVENT_STREAM_CLOSED) {
        s->closed_told = true;
        ep->stream_ended = slot;
        return;
    }
    if (!s->events && stream_is_done(s))
        conn_stream_over(c, slot, ep->now_us);
}

static void event_conn(struct endpoint *ep, struct aq_event *event, struct conn *c)
{
    if (event->kind == AQ_EVENT_TICKET) {
        event->data = c->ticket_data;
        event->size = c->ticket_size;
    } else if (event->kind == AQ_EVENT_TOKEN) {
        event->data = c->token_data;
        event->size = c->token_size;
    } else if (event->kind == AQ_EVENT_PATH) {
        event->value = c->path_news;
        c->path_news = 0;
    } else if (event->kind == AQ_EVENT_PONG) {
        event->value = c->pong_us;
    } else if (event->kind == AQ_EVENT_CLOSED) {
        c->told_closed = true;
        ep->ended = c->slot;
        ep->stats.closed++;
    }
}

int aq_next_event(struct aq_endpoint *endpoint, struct aq_event *event)
{
    struct endpoint *ep = (struct endpoint *)endpoint;
    const uint32_t last = 1U << AQ_EVENT_CLOSED;
    endpoint_release_ended(ep, ep->now_us);
    memset(event, 0, sizeof *event);
    while (ep->head[LIST_READY] != POOL_NONE) {
        struct conn *c = conn_at(ep, ep->head[LIST_READY]);
        uint32_t slot = POOL_NONE;
        event->kind = take_event(&c->events, ~last);
        while (!event->kind && (slot = c->streams.ready_head) != POOL_NONE)
            event_stream(ep, event, c, slot);
        if (!event->kind) {
            event->stream = 0; /* of a stream whose events had passed */
            event->stream_user = NULL;
            event->kind = take_event(&c->events, last);
        }
        if (event->kind) {
            event->conn = pool_handle(&ep->conns, c->slot);
            event->conn_user = c->user;
            if (slot == POOL_NONE)
                event_conn(ep, event, c);
            return 1;
        }
        endpoint_list_remove(ep, LIST_READY, c);
        c->ready = false;
    }
    return 0;
}
