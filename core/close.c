/* close.c -- the end of a connection: one place turns an error into a close (RFC 9000 §10, §11). */
#include "core/addr.h"
#include "core/endpoint.h"

enum {
    LINGER_STEP_US = 32768
};

/* What an error means to somebody who reads it, where the name alone does not say it. */
static const char *close_reason(int error, const struct conn *c)
{
    if (error >= AQ_CRYPTO_ERROR && c->hand && c->hand->tls.verify_error)
        return c->hand->tls.verify_error;
    return aq_error_name(error);
}

/* Keeps printable characters, at most CLOSE_REASON - 1 of them. The connection's other memory has
 * just been given back; should the endpoint's be full all the same, the code must do. */
static void close_set_reason(struct conn *c, const char *text, size_t size)
{
    size_t n = 0;
    if (size == 0)
        return;
    char *reason = quota_take(&c->quota, CLOSE_REASON);
    if (!reason)
        return;
    for (; n < size && n < CLOSE_REASON - 1; n++)
        reason[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    reason[n] = 0;
    c->closing.reason = reason;
}

/* Everything that ends a connection comes through here, once. reason: of size bytes, not
 * terminated. */
static void close_enter(struct conn *c, enum conn_state state, const char *reason, size_t size,
                        uint64_t now)
{
    /* RFC 9000 §10.2: closing and draining last three PTOs. */
    uint64_t linger = 3 * conn_pto(c, SPACE_APP);
    if (c->hand) {
        if (c->hand->tls.ssl && c->facts.known == false)
            c->facts.verify_error = c->hand->tls.verify_error;
        tls_free(&c->hand->tls);
    }
    c->armed = 0;
    trace_close(&c->tracer, c->closing.by, c->closing.code, c->closing.frame_type,
                c->closing.application, now);
    trace_bytes(&c->tracer, AQ_PIECE_REASON, reason, size < CLOSE_REASON ? size : CLOSE_REASON,
                now);
    trace_text(&c->tracer, AQ_PIECE_WHERE, c->closing.where, now);
    conn_set_state(c, state, now);
    conn_drop_flight(c);
    close_set_reason(c, reason, size);
    if (state == CONN_OVER)
        handshake_over(c, now);
    else /* in steps, so that many end in one turn */
        conn_arm(c, TIMER_CLOSE, (now + linger + LINGER_STEP_US) / LINGER_STEP_US * LINGER_STEP_US);
    conn_event(c, AQ_EVENT_CLOSED);
    conn_wake(c);
}

void conn_close(struct conn *c, bool application, uint64_t code, const char *reason,
                const char *where, uint64_t now)
{
    if (!conn_is_open(c))
        return;
    c->closing.by = AQ_BY_US;
    c->closing.application = application;
    c->closing.code = code;
    c->closing.where = where;
    c->closing.due = true;
    close_enter(c, CONN_CLOSING, reason, reason ? strlen(reason) : 0, now);
}

bool conn_yields(struct conn *c)
{
    bool yields = c->state == CONN_CLOSING && !c->closing.yielded && c->ep->tail[LIST_SEND] != c->slot;
    c->closing.yielded |= yields;
    return yields;
}

/* RFC 9000 §11.1: told in a CONNECTION_CLOSE. */
void conn_fail(struct conn *c, int error, const struct apply *a, uint64_t now)
{
    assert(error > 0);
    if (!conn_is_open(c))
        return;
    c->closing.frame_type = a ? a->frame_type : 0;
    conn_close(c, false, (uint64_t)error, close_reason(error, c),
               a && a->where ? a->where : "conn_recv", now);
}

void conn_closed_by_peer(struct conn *c, const struct frame *f, uint64_t now)
{
    if (!conn_is_open(c))
        return;
    c->closing.by = AQ_BY_PEER;
    c->closing.application = f->type == FRAME_CONNECTION_CLOSE_APP;
    c->closing.code = f->close.code;
    c->closing.frame_type = f->close.frame_type;
    close_enter(c, CONN_DRAINING, (const char *)f->close.reason, f->close.reason_size, now);
}

void conn_end(struct conn *c, enum aq_closer by, uint64_t code, const char *reason,
              const char *where, uint64_t now)
{
    if (!conn_is_open(c))
        return;
    c->closing.by = (uint8_t)by;
    c->closing.code = code;
    c->closing.where = where;
    /* RFC 9000 §10.3.1: a reset is followed by draining; RFC 9000 §10.1: an idle timeout ends
     * silently and at once. */
    close_enter(c, by == AQ_BY_RESET ? CONN_DRAINING : CONN_OVER, reason, strlen(reason), now);
}
