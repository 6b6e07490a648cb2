/* conn.c -- a connection's life and its deadlines (RFC 9000 §10; RFC 9002 §6.2).
 *
 * Deadlines are an array with an armed mask; the earliest goes into the endpoint's heap once a
 * turn, when the connection has nothing more to send (conn_schedule). Timers that follow from state
 * (loss, ACK, idle) are computed there and nowhere else. */
#include "core/addr.h"
#include "core/endpoint.h"
#include "core/num.h"

enum {
    PTO_SHIFT_MAX = 16
};

_Static_assert((int)CONN_FREE == AQ_TRACE_STATE_FREE
                   && (int)CONN_CONFIRMED == AQ_TRACE_STATE_CONFIRMED
                   && (int)CONN_OVER == AQ_TRACE_STATE_OVER,
               "a trace tells states by number");

void conn_set_state(struct conn *c, enum conn_state next, uint64_t now)
{
    static const uint8_t may[CONN_STATES] = {
        [CONN_FREE] = 1 << CONN_HANDSHAKE,
        [CONN_HANDSHAKE] =
            1 << CONN_CONNECTED | 1 << CONN_CLOSING | 1 << CONN_DRAINING | 1 << CONN_OVER,
        [CONN_CONNECTED] =
            1 << CONN_CONFIRMED | 1 << CONN_CLOSING | 1 << CONN_DRAINING | 1 << CONN_OVER,
        [CONN_CONFIRMED] = 1 << CONN_CLOSING | 1 << CONN_DRAINING | 1 << CONN_OVER,
        [CONN_CLOSING] = 1 << CONN_DRAINING | 1 << CONN_OVER,
        [CONN_DRAINING] = 1 << CONN_OVER,
    };
    assert(may[c->state] >> next & 1);
    /* One that closes in its handshake keeps its place until it is over: else cheap errors would
     * fill the pool past the budget that makes us send Retry (SECURITY.md row 7). */
    if (c->half_open && (next == CONN_CONNECTED || next == CONN_OVER)) {
        c->half_open = false;
        c->ep->half_open--;
        if (c->source_pays && next == CONN_CONNECTED)
            sources_give(&c->ep->sources, &conn_path(c)->remote);
    }
    trace_conn_state(&c->tracer, c->state, next, now);
    c->state = (uint8_t)next;
}

/* ---- lists ---- */

void conn_wake(struct conn *c)
{
    if (c->listed)
        return;
    c->listed = true;
    endpoint_list_push(c->ep, LIST_SEND, c);
}

void conn_ready(struct conn *c)
{
    if (c->ready || c->told_closed)
        return;
    c->ready = true;
    endpoint_list_push(c->ep, LIST_READY, c);
}

void conn_event(struct conn *c, enum aq_event_kind kind)
{
    c->events |= 1U << kind;
    conn_ready(c);
}

void conn_stream_event(struct conn *c, uint32_t slot)
{
    struct stream *s = stream_at(&c->ep->streams, slot);
    if (!s->events)
        return;
    streams_ready(&c->streams, &c->ep->streams, slot);
    conn_ready(c);
}

/* ---- parts ---- */

struct space *conn_space(struct conn *c, enum space_id id)
{
    if (id == SPACE_APP)
        return &c->app;
    bool gone = id == SPACE_INITIAL ? c->initial_discarded : c->handshake_discarded;
    return c->hand && !gone ? &c->hand->space[id] : NULL;
}

struct stream_env conn_env(struct conn *c, uint64_t now)
{
    return (struct stream_env){.quota = &c->quota,
                               .pieces = &c->ep->streams.pieces,
                               .conn_flow = &c->flow,
                               .rtt_us = conn_path(c)->rtt.smoothed_us,
                               .send_buffer = c->ep->config.send_buffer,
                               .now = now};
}

uint64_t conn_min_ack_delay(const struct conn *c)
{
    uint64_t most = c->ep->config.max_ack_delay_us;
    return most < ACKFREQ_MIN_US ? most : ACKFREQ_MIN_US;
}

/* RFC 9002 §6.2.1: the application space adds the peer's max_ack_delay. */
uint64_t conn_pto(const struct conn *c, enum space_id space)
{
    uint64_t pto = rtt_pto(&conn_path(c)->rtt);
    return space == SPACE_APP ? pto + ackfreq_delay_us(&c->ackfreq) : pto;
}

void conn_drop_flight(struct conn *c)
{
    if (c->hand) {
        for (unsigned i = 0; i < 2; i++) {
            ack_clear(&c->hand->space[i].ack);
            sent_clear(&c->hand->space[i].sent, &c->quota);
        }
        for (unsigned i = 0; i < SPACES; i++)
            crypto_clear(&c->hand->crypto[i], &c->quota);
        quota_give(&c->quota, c->hand->held, HELD_SIZE);
        c->hand->held = NULL;
        c->hand->held_size = 0;
    }
    ack_clear(&c->app.ack);
    paths_end(c);
    sent_clear(&c->app.sent, &c->quota);
    cc_detach(&conn_path(c)->cc);
    for (uint32_t i = c->streams.all; i != POOL_NONE; i = stream_at(&c->ep->streams, i)->all_next) {
        struct stream *s = stream_at(&c->ep->streams, i);
        s->records = 0;
        sendq_clear(&s->sendq, &c->quota);
    }
}

void conn_drop_streams(struct conn *c, uint64_t now)
{
    struct stream_table *t = &c->ep->streams;
    struct stream_env env = conn_env(c, now);
    while (c->streams.all != POOL_NONE) {
        uint32_t slot = c->streams.all;
        endpoint_settled(c->ep, slot);
        stream_clear(stream_at(t, slot), &env);
        streams_release(&c->streams, t, slot);
    }
    datagram_end(c);
    quota_give(&c->quota, c->ticket_data, c->ticket_size);
    quota_give(&c->quota, c->token_data, c->token_size);
    c->ticket_data = c->token_data = NULL;
}

/* A stream that is over is told so; once told, and no packet in flight names it, its slot is free.
 */
void conn_stream_over(struct conn *c, uint32_t slot, uint64_t now)
{
    struct stream *s = stream_at(&c->ep->streams, slot);
    if (!stream_is_done(s) || !conn_is_open(c))
        return;
    if (streams_done(&c->streams, &c->ep->streams, s))
        conn_wake(c);
    if (!stream_is_over(s))
        return;
    if (!s->closed_told) {
        s->events |= 1U << AQ_EVENT_STREAM_CLOSED;
        conn_stream_event(c, slot);
    } else if (!s->records && c->ep->stream_ended != slot) {
        struct stream_env env = conn_env(c, now);
        endpoint_settled(c->ep, slot);
        trace_stream_state(&c->tracer, s->id, s->tx, s->rx, now);
        stream_clear(s, &env);
        streams_release(&c->streams, &c->ep->streams, slot);
        if (c->streams.max_due[0] || c->streams.max_due[1])
            conn_wake(c);
    }
}

/* ---- deadlines ---- */

void conn_arm(struct conn *c, enum timer_id timer, uint64_t when_us)
{
    c->deadline[timer] = when_us;
    if (when_us == AQ_NEVER)
        c->armed &= ~(1U << timer);
    else
        c->armed |= 1U << timer;
}

static uint64_t shift_saturated(uint64_t value, uint32_t shift)
{
    shift = shift < PTO_SHIFT_MAX ? shift : PTO_SHIFT_MAX;
    return value > (AQ_NEVER >> 1) >> shift ? AQ_NEVER >> 1 : value << shift;
}

/* RFC 9002 §6.2.1: a packet restarts the probe timeout. Those that look at other paths come one
 * after the other while one is searched for, and would put off for ever what tells that the path in
 * use is dead: so there is an end, three times as long as the timeouts so far, where nothing at all
 * comes.
 */
static uint64_t conn_pto_latest(const struct conn *c, uint64_t pto_us)
{
    enum {
        SPANS = 3
    };
    if (!natframes_traverses(c) || !c->eliciting_since_recv)
        return AQ_NEVER;
    uint64_t from_us = max_u64(c->last_eliciting_sent_us, c->nat->moved_us);
    return from_us + shift_saturated(SPANS * pto_us, c->pto_count + 1) - SPANS * pto_us;
}

/* RFC 9002 A.8, GetPtoTimeAndSpace. */
static uint64_t conn_pto_time(struct conn *c, uint64_t now, enum space_id *space)
{
    uint64_t best = AQ_NEVER;
    bool any = false;
    for (enum space_id i = SPACE_INITIAL; i < SPACES; i++) {
        const struct space *sp = conn_space(c, i);
        if (!sp || !sp->sent.eliciting_in_flight)
            continue;
        if (i == SPACE_APP
            && c->state != CONN_CONFIRMED) /* RFC 9002 §6.2.1: not before confirmation */
            continue;
        any = true;
        uint64_t pto_us = conn_pto(c, i);
        uint64_t when = sp->sent.last_eliciting_us + shift_saturated(pto_us, c->pto_count);
        if (i == SPACE_APP)
            when = min_u64(when, conn_pto_latest(c, pto_us));
        if (when < best) {
            best = when;
            *space = i;
        }
    }
    /* RFC 9002 §6.2.2.1: a client keeps the server's hands free until it knows that it is
     * validated. */
    if (!any && !c->server && !c->peer_validated_us && c->hand) {
        *space = c->hand->keys[1].tx.set ? SPACE_HANDSHAKE : SPACE_INITIAL;
        uint64_t last = c->last_eliciting_sent_us > c->last_recv_us ? c->last_eliciting_sent_us
                                                                    : c->last_recv_us;
        best = (last < now ? last : now) + shift_saturated(conn_pto(c, *space), c->pto_count);
    }
    return best;
}

static uint64_t conn_loss_time(struct conn *c, enum space_id *space)
{
    uint64_t best = AQ_NEVER;
    for (enum space_id i = SPACE_INITIAL; i < SPACES; i++) {
        const struct space *sp = conn_space(c, i);
        if (sp && sp->sent.loss_time_us < best) {
            best = sp->sent.loss_time_us;
            *space = i;
        }
    }
    return best;
}

/* RFC 9002 §A.8, SetLossDetectionTimer. */
static void conn_arm_loss(struct conn *c, uint64_t now)
{
    enum space_id space = SPACE_INITIAL;
    uint64_t when = conn_loss_time(c, &space);
    if (when == AQ_NEVER
        && path_room(conn_path(c))
               >= MTU_BASE) /* RFC 9002 §6.2.2.1: not while the 3x limit blocks */
        when = conn_pto_time(c, now, &space);
    c->loss_space = (uint8_t)space;
    conn_arm(c, TIMER_LOSS, when);
}

/* RFC 9000 §10.1: the lesser of both sides' timeouts, at least three PTOs, from the last packet
 * that came or the first ack-eliciting one sent since. */
static void conn_arm_idle(struct conn *c)
{
    uint64_t from = c->last_recv_us;
    uint64_t keep_alive = c->ep->config.keep_alive_us;
    if (c->eliciting_since_recv && c->last_eliciting_sent_us > from)
        from = c->last_eliciting_sent_us;
    if (c->idle_timeout_us) {
        uint64_t least = 3 * conn_pto(c, SPACE_APP);
        conn_arm(c, TIMER_IDLE, from + (c->idle_timeout_us > least ? c->idle_timeout_us : least));
    }
    if (keep_alive && c->state == CONN_CONFIRMED)
        conn_arm(c, TIMER_KEEP_ALIVE,
                 c->eliciting_since_recv || c->ping_due ? AQ_NEVER : from + keep_alive);
}

void conn_schedule(struct conn *c, uint64_t now)
{
    uint64_t best = AQ_NEVER;
    /* What ended needs no more of its handshake than keys to say so with: another one may have it.
     */
    if (c->hand && (c->state == CONN_DRAINING || (!conn_is_open(c) && c->handshake_discarded)))
        handshake_over(c, now);
    for (enum space_id i = SPACE_INITIAL; i < SPACES; i++) {
        struct space *space = conn_space(c, i);
        if (space)
            sent_trim(&space->sent, &c->quota);
    }
    if (conn_is_open(c)) {
        conn_arm_loss(c, now);
        conn_arm_idle(c);
        conn_arm(c, TIMER_ACK, c->app.ack.due_us);
    }
    for (uint32_t bits = c->armed; bits; bits &= bits - 1) {
        uint64_t when = c->deadline[__builtin_ctz(bits)];
        if (when < best)
            best = when;
    }
    heap_set(&c->ep->timers, c->slot, best);
}

static void fire_loss(struct conn *c, uint64_t now)
{
    enum space_id space;
    uint64_t loss_time = conn_loss_time(c, &space);
    if (loss_time <= now) {
        conn_detect_loss(c, space, now);
        return;
    }
    if (conn_pto_time(c, now, &space) > now)
        return;
    if (!conn_space(c, space))
        return;
    c->pto_count++;
    c->counts.pto_count++;
    ecn_on_pto(&conn_path(c)->ecn);
    conn_probe(c, space, 2, now); /* RFC 9002 §6.2.4: one, or two */
    conn_probe_others(c, space, 2, now);
    trace_pto(&c->tracer, space, c->pto_count, now);
    paths_on_pto(c, now);
}

static void fire_ack(struct conn *c, uint64_t now)
{
    (void)now;
    c->app.ack.now = true;
    c->app.ack.due_us =
        AQ_NEVER; /* due it is; the timer must not fire again if it cannot be sent now */
}

static void fire_pace(struct conn *c, uint64_t now)
{
    (void)c; /* waking up is all: the pacer has filled */
    (void)now;
}

static void fire_idle(struct conn *c, uint64_t now)
{
    conn_end(c, AQ_BY_TIMEOUT, 0, "idle timeout", "RFC 9000 10.1", now);
}

static void fire_keep_alive(struct conn *c, uint64_t now)
{
    (void)now;
    c->ping_due = true;
}

static void fire_handshake(struct conn *c, uint64_t now)
{
    struct endpoint *ep = c->ep;
    char text[64] = "no answer";
    if (c->state != CONN_HANDSHAKE) {
        if (c->state == CONN_CONNECTED && !c->server)
            conn_close(c, false, AQ_INTERNAL_ERROR, "the handshake was not confirmed in time",
                       "handshake_timeout_us", now);
        return;
    }
    const char *soft = ep->unreachable.text;
    if (c->got_packet) {
        conn_close(c, false, AQ_INTERNAL_ERROR, "the handshake was not done in time",
                   "handshake_timeout_us", now);
    } else if (soft && addr_equal(&ep->unreachable.remote, &conn_path(c)->remote)
               && strlen(soft) < 40) {
        /* SECURITY.md row 15: an ICMP message changes no state, it only says more here. */
        memcpy(text + 9, ", ", 2);
        memcpy(text + 11, soft, strlen(soft));
        memcpy(text + 11 + strlen(soft), " reported", 10);
        conn_end(c, AQ_BY_TIMEOUT, 0, text, "handshake_timeout_us", now);
    } else {
        conn_end(c, AQ_BY_TIMEOUT, 0, text, "handshake_timeout_us", now);
    }
}

static void fire_keys(struct conn *c, uint64_t now)
{
    (void)now;
    keys_forget_previous(&c->keys);
}

static void fire_tls(struct conn *c, uint64_t now)
{
    c->tls_over = true;
    if (handshake_can_end(c))
        handshake_over(c, now);
}

/* Memory was short when the application wrote: perhaps others have given some back. */
static void fire_memory(struct conn *c, uint64_t now)
{
    struct stream_env env = conn_env(c, now);
    bool waits = false;
    for (uint32_t i = c->streams.all; i != POOL_NONE; i = stream_at(&c->ep->streams, i)->all_next) {
        struct stream *s = stream_at(&c->ep->streams, i);
        stream_poll_writable(s, &env);
        waits |= s->wants_write;
        conn_stream_event(c, i);
    }
    if (waits)
        conn_arm(c, TIMER_MEMORY, now + MEMORY_WAIT_US);
}

static void fire_close(struct conn *c, uint64_t now)
{
    conn_set_state(c, CONN_OVER, now);
    if (c->hand)
        handshake_over(c, now);
}

static void (*const timers[TIMERS])(struct conn *c, uint64_t now) = {
    [TIMER_LOSS] = fire_loss,
    [TIMER_ACK] = fire_ack,
    [TIMER_PACE] = fire_pace,
    [TIMER_IDLE] = fire_idle,
    [TIMER_KEEP_ALIVE] = fire_keep_alive,
    [TIMER_HANDSHAKE] = fire_handshake,
    [TIMER_KEYS] = fire_keys,
    [TIMER_TLS] = fire_tls,
    [TIMER_MEMORY] = fire_memory,
    [TIMER_PATH] = paths_on_time,
    [TIMER_CLOSE] = fire_close,
};

void conn_tick(struct conn *c, uint64_t now)
{
    for (unsigned i = 0; i < TIMERS; i++) {
        if (!(c->armed >> i & 1) || c->deadline[i] > now)
            continue;
        conn_arm(c, (enum timer_id)i, AQ_NEVER);
        trace_timer(&c->tracer, i, now);
        timers[i](c, now);
    }
    heap_set(&c->ep->timers, c->slot, AQ_NEVER); /* set again by conn_schedule, after it has sent */
    if (c->state == CONN_OVER && c->told_closed && c->ep->ended != c->slot)
        endpoint_free_conn(c->ep, c);
    else
        conn_wake(c);
}
