/* stream.c -- one stream: the state machines of RFC 9000 §3 over its queues and its flow control.
 *
 * What the peer sends is checked whole before anything moves: final size (§4.5), then the credit of
 * the stream and of the connection (§4.1), then memory; only then are the bytes counted. A packet
 * whose bytes found no memory was never received, and the peer sends it again.
 *
 * Both ends must agree on the credit a stream used, however it ended (§4.4, §4.5). So what will
 * never be read (after a reset, or after we asked to stop) is given back to the connection's window
 * at once, and bytes that still come are counted and given back as they come.
 *
 * STREAM_STATE_ERROR is not found here: streams.c refuses frames for streams they do not fit before
 * it looks for a stream. Called by streams.c and by the fillers of send.c. */
#include "core/stream.h"

#include <assert.h>
#include <string.h>

#define BIT(state) (1u << (state))

/* ---- states ---------------------------------------------------------------------------------- */

/* Where each state may go: RFC 9000 figure 2. NONE is the circle above it. */
static const uint8_t tx_steps[] = {
    [TX_NONE] = BIT(TX_READY),
    [TX_READY] = BIT(TX_SEND) | BIT(TX_RESET_SENT),
    [TX_SEND] = BIT(TX_DATA_SENT) | BIT(TX_RESET_SENT),
    [TX_DATA_SENT] = BIT(TX_DATA_RECVD) | BIT(TX_RESET_SENT),
    [TX_DATA_RECVD] = 0,
    [TX_RESET_SENT] = BIT(TX_RESET_RECVD),
    [TX_RESET_RECVD] = 0,
};

/* RFC 9000 figure 3. */
static const uint8_t rx_steps[] = {
    [RX_NONE] = BIT(RX_RECV),
    [RX_RECV] = BIT(RX_SIZE_KNOWN) | BIT(RX_RESET_RECVD),
    [RX_SIZE_KNOWN] = BIT(RX_DATA_RECVD) | BIT(RX_RESET_RECVD),
    [RX_DATA_RECVD] = BIT(RX_DATA_READ) | BIT(RX_RESET_RECVD),
    [RX_DATA_READ] = 0,
    [RX_RESET_RECVD] = BIT(RX_RESET_READ) | BIT(RX_DATA_RECVD),
    [RX_RESET_READ] = 0,
};

void stream_set_tx(struct stream *s, enum stream_tx next)
{
    assert(tx_steps[s->tx] & BIT(next));
    s->tx = (uint8_t)next;
}

void stream_set_rx(struct stream *s, enum stream_rx next)
{
    assert(rx_steps[s->rx] & BIT(next));
    s->rx = (uint8_t)next;
}

void stream_init(struct stream *s, uint64_t id, bool server, const struct stream_limits *limits,
                 uint64_t now)
{
    memset(s, 0, sizeof(*s));
    s->id = id;
    s->local = stream_id_is_server(id) == server;
    s->ready_next = s->settle_next = POOL_NONE;
    s->all_next = s->all_prev = POOL_NONE;
    s->tx_reliable = s->rx_reliable = UINT64_MAX;
    sendq_init(&s->sendq);
    recvq_init(&s->recvq);
    s->sendq.spares = s->recvq.spares = true;
    flow_init(&s->flow, limits->rx_window, limits->rx_window_max, limits->tx_max, now);
    if (!stream_id_is_uni(id) || s->local)
        stream_set_tx(s, TX_READY);
    if (!stream_id_is_uni(id) || !s->local)
        stream_set_rx(s, RX_RECV);
}

/* Sending has neither ended nor been abandoned: data may be sent, or sent again. */
static bool tx_is_open(const struct stream *s)
{
    return s->tx == TX_READY || s->tx == TX_SEND || s->tx == TX_DATA_SENT;
}

/* Bytes or the final size are still missing. */
static bool rx_is_open(const struct stream *s)
{
    return s->rx == RX_RECV || s->rx == RX_SIZE_KNOWN;
}

static void event_set(struct stream *s, enum aq_event_kind kind)
{
    s->events |= 1u << kind;
}

static void event_clear(struct stream *s, enum aq_event_kind kind)
{
    s->events &= ~(1u << kind);
}

/* All below was to be delivered and was sent: time for RESET_STREAM_AT. Not before, so that its
 * Final Size, which is what was sent, is within all limits
 * (draft-ietf-quic-reliable-stream-reset §4). */
static void reset_at_due(struct stream *s)
{
    if (s->tx_reliable != UINT64_MAX && s->sendq.sent >= s->tx_reliable)
        s->due |= DUE_RESET;
}

void stream_rewind(struct stream *s, struct quota *quota)
{
    s->due &= (uint8_t)~DUE_BLOCKED;
    flow_tx_reset(&s->flow);
    if (s->tx == TX_RESET_SENT) {
        s->sendq.sent = 0; /* the final size of what the peer has */
    } else if (s->tx != TX_NONE) {
        /* RFC 9001 §4.6.2: the stream's state is reset; no arrow of RFC 9000 §3.1 leads back. */
        assert(s->tx == TX_READY || s->tx == TX_SEND || s->tx == TX_DATA_SENT);
        s->tx = TX_READY;
        sendq_rewind(&s->sendq, quota);
        s->due &= (uint8_t)~DUE_RESET; /* RESET_STREAM_AT waits for what it promises once more */
        reset_at_due(s);
    }
}

void stream_clear(struct stream *s, const struct stream_env *env)
{
    sendq_clear(&s->sendq, env->quota);
    recvq_clear(&s->recvq, env->quota, env->pieces);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* RFC 9000 §4.5: a known final size does not change and nothing lies beyond it; one that is new
 * (ends) is not below what came already. */
static int final_size_check(const struct stream *s, uint64_t hi, bool ends)
{
    const struct recvq *q = &s->recvq;
    if (q->final_size != UINT64_MAX)
        return hi > q->final_size || (ends && hi != q->final_size) ? AQ_FINAL_SIZE_ERROR : AQ_OK;
    return ends && hi < q->highest ? AQ_FINAL_SIZE_ERROR : AQ_OK;
}

/* RFC 9000 §4.1: whether both limits allow grow more bytes. Changes neither. */
static int credit_check(const struct stream *s, const struct flow *conn_flow, uint64_t grow)
{
    bool fits =
        grow <= s->flow.rx_max - s->flow.rx_used && grow <= conn_flow->rx_max - conn_flow->rx_used;
    return fits ? AQ_OK : AQ_FLOW_CONTROL_ERROR;
}

/* The stream's highest offset grows to hi, which credit_check allowed; what is discarded as it
 * comes is given back to the connection. */
static void highest_move(struct stream *s, const struct stream_env *env, uint64_t hi)
{
    if (hi <= s->recvq.highest)
        return;
    uint64_t grow = hi - s->recvq.highest;
    int stream_result = flow_rx_use(&s->flow, grow);
    int conn_result = flow_rx_use(env->conn_flow, grow);
    assert(stream_result == AQ_OK && conn_result == AQ_OK);
    (void)stream_result;
    (void)conn_result;
    s->recvq.highest = hi;
    if (s->stopped)
        (void)flow_rx_read(env->conn_flow, grow, env->rtt_us, env->now);
}

/* Nothing more will be read: gives the memory back, and the connection the credit of what came and
 * was not read, gaps included (RFC 9000 §4.4). Once only: afterwards highest_move does it. */
static void receive_abandon(struct stream *s, const struct stream_env *env)
{
    uint64_t unread = s->recvq.highest - s->recvq.read;
    if (!s->stopped)
        (void)flow_rx_read(env->conn_flow, unread, env->rtt_us, env->now);
    recvq_clear(&s->recvq, env->quota, env->pieces);
    event_clear(s, AQ_EVENT_READABLE);
    s->due &= (uint8_t)~DUE_MAX_DATA;
}

int stream_on_data(struct stream *s, const struct stream_env *env, uint64_t offset,
                   const uint8_t *data, uint32_t size, bool fin, bool lent)
{
    struct recvq *q = &s->recvq;
    uint64_t hi = offset + size;
    int error = final_size_check(s, hi, fin);
    if (error != AQ_OK)
        return error;
    error = credit_check(s, env->conn_flow, hi > q->highest ? hi - q->highest : 0);
    if (error != AQ_OK)
        return error;
    if (!rx_is_open(s)) /* all came, or it was reset: late copies (RFC 9000 §3.2) */
        return AQ_OK;
    uint64_t readable = recvq_readable(q);
    if (!s->stopped) {
        error = recvq_insert(q, env->quota, env->pieces, offset, data, size, lent);
        if (error != AQ_OK)
            return error;
    }
    highest_move(s, env, hi);
    if (fin && s->rx == RX_RECV) {
        q->final_size = hi;
        s->due &= (uint8_t)~DUE_MAX_DATA; /* RFC 9000 §3.2: no longer needed */
        stream_set_rx(s, RX_SIZE_KNOWN);
    }
    if (s->stopped && s->rx == RX_SIZE_KNOWN) {
        /* All up to the final size is counted; nobody waits for the bytes themselves. */
        stream_set_rx(s, RX_DATA_RECVD);
        stream_set_rx(s, RX_DATA_READ);
        return AQ_OK;
    }
    bool ended = s->rx == RX_SIZE_KNOWN && recvq_at_end(q);
    if (ended)
        stream_set_rx(s, RX_DATA_RECVD);
    if (ended || recvq_readable(q) > readable)
        event_set(s, AQ_EVENT_READABLE);
    return AQ_OK;
}

/* draft-ietf-quic-reliable-stream-reset §5: what is to be delivered was read, the rest is not, and
 * the application hears of the reset. */
static void reset_deliver(struct stream *s, const struct stream_env *env)
{
    if (s->recvq.read < s->rx_reliable)
        return;
    receive_abandon(s, env);
    stream_set_rx(s, RX_RESET_RECVD);
    if (s->stopped)
        stream_set_rx(s, RX_RESET_READ); /* the application asked for it */
    else
        event_set(s, AQ_EVENT_RESET);
}

int stream_on_reset(struct stream *s, const struct stream_env *env,
                    const struct stream_reset *reset)
{
    struct recvq *q = &s->recvq;
    int error = final_size_check(s, reset->final_size, true);
    if (error != AQ_OK)
        return error;
    error = credit_check(s, env->conn_flow, reset->final_size - q->highest);
    if (error != AQ_OK)
        return error;
    bool known = s->rx_reliable != UINT64_MAX;
    /* draft-ietf-quic-reliable-stream-reset §5.2: the code does not change. */
    if (rx_is_open(s) && known && reset->code != s->peer_reset_code)
        return AQ_STREAM_STATE_ERROR;
    /* RFC 9000 §3.2: when all data is here the reset may be suppressed; a second one says nothing
     * new. draft-ietf-quic-reliable-stream-reset §5.2: unless less is to be delivered. */
    if (!rx_is_open(s) || (known && reset->reliable >= s->rx_reliable))
        return AQ_OK;
    highest_move(s, env, reset->final_size);
    q->final_size = reset->final_size;
    s->peer_reset_code = reset->code;
    s->rx_reliable = s->stopped ? 0 : reset->reliable;
    /* RFC 9000 §3.3, §3.5: no longer needed */
    s->due &= (uint8_t) ~(DUE_STOP | DUE_MAX_DATA);
    if (s->rx == RX_RECV)
        stream_set_rx(s, RX_SIZE_KNOWN);
    reset_deliver(s, env);
    return AQ_OK;
}

int stream_peek(const struct stream *s, const struct pool *pieces, struct aq_iov *iov, unsigned max,
                bool *fin)
{
    *fin = false;
    if (s->rx == RX_NONE || s->stopped)
        return AQ_MISUSE;
    if (s->rx == RX_RESET_RECVD || s->rx == RX_RESET_READ)
        return AQ_BLOCKED;
    unsigned n = recvq_peek(&s->recvq, pieces, iov, max);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += iov[i].size;
    *fin = recvq_at_end(&s->recvq) && bytes == recvq_readable(&s->recvq)
           && s->rx_reliable == UINT64_MAX;
    return (int)n;
}

int stream_consume(struct stream *s, const struct stream_env *env, uint64_t bytes)
{
    if (s->rx == RX_NONE || s->stopped)
        return AQ_MISUSE;
    if (s->rx == RX_RESET_RECVD || s->rx == RX_RESET_READ)
        return AQ_BLOCKED;
    if (bytes > recvq_readable(&s->recvq))
        return AQ_MISUSE;
    recvq_consume(&s->recvq, env->quota, env->pieces, bytes);
    bool tell = flow_rx_read(&s->flow, bytes, env->rtt_us, env->now);
    (void)flow_rx_read(env->conn_flow, bytes, env->rtt_us, env->now);
    if (tell && s->rx == RX_RECV) /* RFC 9000 §3.3: MAX_STREAM_DATA only in Recv */
        s->due |= DUE_MAX_DATA;
    if (s->rx_reliable != UINT64_MAX) {
        reset_deliver(s, env);
    } else if (s->rx == RX_DATA_RECVD && s->recvq.read == s->recvq.final_size) {
        event_clear(s, AQ_EVENT_READABLE);
        stream_set_rx(s, RX_DATA_READ);
    }
    return AQ_OK;
}

int stream_stop(struct stream *s, const struct stream_env *env, uint64_t code)
{
    if (s->rx == RX_NONE)
        return AQ_MISUSE;
    bool wanted = rx_is_open(s) || s->rx == RX_DATA_RECVD;
    if (s->stopped || !wanted) /* too late to matter */
        return AQ_OK;
    receive_abandon(s, env);
    s->stopped = true;
    s->rx_code = code;
    if (rx_is_open(s)) /* RFC 9000 §3.5: unnecessary in other states */
        s->due |= DUE_STOP;
    if (s->rx == RX_SIZE_KNOWN)
        stream_set_rx(s, RX_DATA_RECVD);
    if (s->rx == RX_DATA_RECVD)
        stream_set_rx(s, RX_DATA_READ);
    return AQ_OK;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* The queue drops everything; the final size is what was sent (RFC 9000 §4.5). */
static void send_abandon(struct stream *s, const struct stream_env *env, uint64_t code)
{
    /* draft-ietf-quic-reliable-stream-reset §5.2: the code does not change. */
    if (s->tx_reliable == UINT64_MAX)
        s->tx_code = code;
    if (s->references && s->sendq.base < s->sendq.end)
        event_set(s, AQ_EVENT_RELEASED);
    sendq_clear(&s->sendq, env->quota);
    s->tx_reliable = UINT64_MAX;
    s->wants_write = false;
    event_clear(s, AQ_EVENT_WRITABLE);
    s->due &= (uint8_t)~DUE_BLOCKED; /* RFC 9000 §3.3: not after a RESET_STREAM */
    s->due |= DUE_RESET;
    stream_set_tx(s, TX_RESET_SENT);
}

void stream_on_stop(struct stream *s, const struct stream_env *env, uint64_t code)
{
    /* RFC 9000 §3.5: answered with RESET_STREAM and the same code; in Data Sent too, since what is
     * lost should not be sent again. Nothing to abandon in the states behind. */
    if (!tx_is_open(s))
        return;
    s->peer_stop_code = code;
    event_set(s, AQ_EVENT_STOPPED);
    send_abandon(s, env, code);
}

void stream_on_max(struct stream *s, uint64_t max)
{
    if (!tx_is_open(s))
        return;
    if (flow_tx_raise(&s->flow, max))
        s->due &= (uint8_t)~DUE_BLOCKED;
}

/* Room again: half of the send buffer, so that the application is not woken for every packet. */
void stream_poll_writable(struct stream *s, const struct stream_env *env)
{
    uint64_t held = s->sendq.end - s->sendq.base;
    if (!s->wants_write || held > env->send_buffer / 2)
        return;
    if (!sendq_has_memory(&s->sendq, env->quota))
        return;
    s->wants_write = false;
    event_set(s, AQ_EVENT_WRITABLE);
}

int64_t stream_write(struct stream *s, const struct stream_env *env, const struct aq_iov *iov,
                     unsigned n, unsigned flags)
{
    if ((s->tx != TX_READY && s->tx != TX_SEND) || s->sendq.fin || s->tx_reliable != UINT64_MAX)
        return AQ_MISUSE;
    uint64_t asked = 0;
    for (unsigned i = 0; i < n; i++)
        asked += iov[i].size;
    bool by_reference = (flags & AQ_REF) != 0;
    uint64_t taken = sendq_write(&s->sendq, env->quota, iov, n, by_reference, env->send_buffer);
    assert(taken <= asked);
    if (by_reference && taken > 0)
        s->references = true;
    event_clear(s, AQ_EVENT_WRITABLE);
    s->wants_write = taken < asked;
    if (taken == asked && (flags & AQ_FIN) != 0)
        sendq_finish(&s->sendq);
    return (int64_t)taken;
}

int stream_reset(struct stream *s, const struct stream_env *env, uint64_t code)
{
    if (s->tx == TX_NONE)
        return AQ_MISUSE;
    if (tx_is_open(s)) /* else it has ended already, perhaps by the peer's STOP_SENDING */
        send_abandon(s, env, code);
    return AQ_OK;
}

int stream_reset_at(struct stream *s, const struct stream_env *env, uint64_t code,
                    uint64_t reliable)
{
    bool again = s->tx_reliable != UINT64_MAX;
    if (s->tx == TX_NONE || (tx_is_open(s) && reliable > s->sendq.end))
        return AQ_MISUSE;
    if (!tx_is_open(s)) /* it has ended already, perhaps by the peer's STOP_SENDING */
        return AQ_OK;
    /* draft-ietf-quic-reliable-stream-reset §5.2: not more than before, and the same code. */
    if (again && (reliable > s->tx_reliable || code != s->tx_code))
        return AQ_MISUSE;
    if (again && reliable == s->tx_reliable)
        return AQ_OK;
    s->tx_code = code;
    s->tx_reliable = reliable;
    s->reset_at_acked = false;
    s->wants_write = false;
    event_clear(s, AQ_EVENT_WRITABLE);
    /* draft-ietf-quic-reliable-stream-reset §5: what is lost beyond is not sent again. */
    sendq_forget_lost(&s->sendq, env->quota, reliable);
    reset_at_due(s);
    return AQ_OK;
}

/* Where new bytes end: what was written, or what is still to be delivered before a reset. */
static uint64_t send_end(const struct stream *s)
{
    if (s->tx_reliable == UINT64_MAX)
        return s->sendq.end;
    return s->tx_reliable > s->sendq.sent ? s->tx_reliable : s->sendq.sent;
}

static uint64_t send_credit(const struct stream *s, const struct flow *conn_flow)
{
    uint64_t stream_room = flow_tx_room(&s->flow), conn_room = flow_tx_room(conn_flow);
    uint64_t room = stream_room < conn_room ? stream_room : conn_room;
    uint64_t left = send_end(s) - s->sendq.sent;
    return s->tx_reliable != UINT64_MAX && left < room ? left : room;
}

/* RFC 9000 §4.1, §19.13: new data waits for the stream's own limit and the peer was not told. */
static bool says_blocked(const struct stream *s)
{
    return (s->tx == TX_READY || s->tx == TX_SEND) && s->sendq.sent < send_end(s)
           && flow_tx_says_blocked(&s->flow);
}

/* RFC 9000 §4.1, §19.12: new data waits for the connection's limit and the peer was not told. The
 * stream keeps its turn until DATA_BLOCKED has said so. */
static bool conn_says_blocked(const struct stream *s, const struct flow *conn_flow)
{
    return s->sendq.sent < send_end(s) && flow_tx_room(&s->flow) > 0
           && flow_tx_says_blocked(conn_flow);
}

bool stream_wants_send(const struct stream *s, const struct flow *conn_flow)
{
    const struct sendq *q = &s->sendq;
    if (s->due != 0)
        return true;
    if (q->sent == q->end && q->fin_sent == q->fin && !sendq_has_lost(q)) /* all is said */
        return false;
    if (!tx_is_open(s))
        return false;
    return sendq_wants(&s->sendq, send_credit(s, conn_flow)) || says_blocked(s)
           || conn_says_blocked(s, conn_flow);
}

uint64_t stream_plain(const struct stream *s, const struct flow *conn_flow)
{
    const struct sendq *q = &s->sendq;
    if (s->due != 0 || !tx_is_open(s) || sendq_has_lost(q))
        return 0;
    uint64_t size = q->end - q->sent, credit = send_credit(s, conn_flow);
    if (q->fin && size > 0)
        size--;
    return size < credit ? size : credit;
}

bool stream_next(struct stream *s, const struct flow *conn_flow, uint32_t max,
                 struct stream_chunk *chunk)
{
    if (!tx_is_open(s))
        return false;
    chunk->size = sendq_next(&s->sendq, max, send_credit(s, conn_flow), &chunk->offset, &chunk->fin,
                             &chunk->is_new);
    if (chunk->size > 0 || chunk->fin)
        return true;
    if (says_blocked(s)) {
        /* From here on `due` owes it: once for each limit, again only if it is lost. Sending it is
         * what leaves Ready (RFC 9000 §3.1). */
        flow_tx_said_blocked(&s->flow);
        s->due |= DUE_BLOCKED;
        if (s->tx == TX_READY)
            stream_set_tx(s, TX_SEND);
    }
    return false;
}

void stream_on_sent(struct stream *s, struct flow *conn_flow, const struct stream_chunk *chunk)
{
    assert(tx_is_open(s) && (chunk->size > 0 || chunk->fin));
    flow_tx_use(&s->flow, chunk->is_new);
    flow_tx_use(conn_flow, chunk->is_new);
    sendq_on_sent(&s->sendq, chunk->offset, chunk->size, chunk->fin);
    if (s->tx == TX_READY)
        stream_set_tx(s, TX_SEND);
    if (chunk->fin && s->tx == TX_SEND)
        stream_set_tx(s, TX_DATA_SENT);
    if (chunk->is_new > 0)
        reset_at_due(s);
}

/* draft-ietf-quic-reliable-stream-reset §5.3: for the states RESET_STREAM_AT is what a FIN is. */
void stream_on_reset_sent(struct stream *s)
{
    if (s->tx == TX_READY)
        stream_set_tx(s, TX_SEND);
    if (s->tx == TX_SEND)
        stream_set_tx(s, TX_DATA_SENT);
}

/* ---- fates ----------------------------------------------------------------------------------- */

/* draft-ietf-quic-reliable-stream-reset §5.3: all that is to be delivered is acknowledged, and the
 * RESET_STREAM_AT that says so. The rest is let go. */
static void reset_at_done(struct stream *s, const struct stream_env *env)
{
    if (!s->reset_at_acked || s->sendq.base < s->tx_reliable)
        return;
    if (s->references && s->sendq.base < s->sendq.end)
        event_set(s, AQ_EVENT_RELEASED);
    sendq_clear(&s->sendq, env->quota);
    s->due &= (uint8_t)~DUE_RESET;
    stream_set_tx(s, TX_DATA_RECVD);
}

void stream_on_acked(struct stream *s, const struct stream_env *env, uint64_t offset, uint32_t size,
                     bool fin)
{
    if (s->tx != TX_SEND && s->tx != TX_DATA_SENT) /* reset meanwhile */
        return;
    uint64_t base = s->sendq.base;
    sendq_on_acked(&s->sendq, env->quota, offset, size, fin);
    if (s->references && s->sendq.base > base)
        event_set(s, AQ_EVENT_RELEASED);
    if (sendq_is_done(&s->sendq)) {
        s->due &= (uint8_t)~DUE_RESET;
        stream_set_tx(s, TX_DATA_RECVD);
    } else if (s->tx_reliable != UINT64_MAX) {
        reset_at_done(s, env);
    } else {
        stream_poll_writable(s, env);
    }
}

void stream_on_lost(struct stream *s, const struct stream_env *env, uint64_t offset, uint32_t size,
                    bool fin)
{
    /* RFC 9000 §19.4: after a RESET_STREAM nothing is sent again. */
    if (s->tx != TX_SEND && s->tx != TX_DATA_SENT)
        return;
    sendq_on_lost(&s->sendq, env->quota, offset, size, fin);
    if (s->tx_reliable != UINT64_MAX)
        sendq_forget_lost(&s->sendq, env->quota, s->tx_reliable);
}

void stream_on_reset_acked(struct stream *s, const struct stream_env *env, uint64_t reliable)
{
    if (s->tx == TX_RESET_SENT && reliable == UINT64_MAX) {
        s->due &= (uint8_t)~DUE_RESET;
        stream_set_tx(s, TX_RESET_RECVD);
    } else if (s->tx == TX_DATA_SENT && reliable == s->tx_reliable) {
        s->reset_at_acked = true;
        reset_at_done(s, env);
    }
}

void stream_on_control_lost(struct stream *s, uint8_t due_bit, uint64_t value)
{
    bool again = false;
    switch (due_bit) { /* RFC 9000 §13.3: as long as it still says something */
    case DUE_RESET:
        again = s->tx == TX_RESET_SENT ? value == UINT64_MAX
                                       : s->tx == TX_DATA_SENT && value == s->tx_reliable;
        break;
    case DUE_STOP: again = rx_is_open(s); break;
    case DUE_MAX_DATA: again = s->rx == RX_RECV && !s->stopped; break;
    case DUE_BLOCKED:
        flow_tx_blocked_lost(&s->flow, value);
        again = says_blocked(s);
        if (again)
            flow_tx_said_blocked(&s->flow);
        break;
    default: assert(false);
    }
    if (again)
        s->due |= due_bit;
}
