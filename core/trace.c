/* trace.c -- the trace ring and its text. */
#include "core/trace.h"
#include "core/frame.h"

void trace_put(const struct tracer *tr, enum aq_trace_type type, uint16_t space,
               const uint64_t v[3], uint64_t now)
{
    struct trace *t = tr->trace;
    if (t->tail - t->head
        > t->mask) { /* full: the newest is refused, so that what was read stays in order */
        t->lost++;
        return;
    }
    t->ring[t->tail++ & t->mask] = (struct aq_trace){.time_us = now,
                                                     .conn = tr->conn,
                                                     .type = (uint16_t)type,
                                                     .space = space,
                                                     .a = v[0],
                                                     .b = v[1],
                                                     .c = v[2]};
}

/* ---- what takes several events ---- */

/* Bytes of the piece are laid over the three values. */
static void put_piece(const struct tracer *tr, enum aq_trace_type type, enum aq_trace_piece piece,
                      const uint8_t *bytes, size_t size, uint64_t now)
{
    uint64_t v[3] = {0};
    if (size)
        memcpy(v, bytes, size);
    trace_put(tr, type, (uint16_t)((unsigned)piece << 8 | (unsigned)size), v, now);
}

void trace_put_bytes(const struct tracer *tr, enum aq_trace_piece piece, const void *bytes,
                     size_t size, uint64_t now)
{
    enum {
        PIECE = 3 * sizeof(uint64_t)
    };
    enum aq_trace_type type = piece <= AQ_PIECE_CID_FRAME ? AQ_TRACE_CID : AQ_TRACE_TEXT;
    const uint8_t *at = bytes;
    for (; size > PIECE; at += PIECE, size -= PIECE)
        put_piece(tr, type, piece, at, PIECE, now);
    put_piece(tr, type, piece, at, size, now);
}

static void put_address(const struct tracer *tr, uint16_t space, const struct aq_addr *addr,
                        uint64_t now)
{
    uint64_t v[3] = {0, 0, addr->port};
    memcpy(v, addr->ip, addr->family == 4 ? 4 : sizeof addr->ip);
    trace_put(tr, AQ_TRACE_ADDRESS, space, v, now);
}

void trace_put_address(const struct tracer *tr, bool remote, const struct aq_addr *addr,
                       uint64_t now)
{
    put_address(tr, (uint16_t)(addr->family | (remote ? AQ_ADDRESS_REMOTE : 0)), addr, now);
}

static void put_ack(const struct tracer *tr, const struct frame_ack *ack, uint64_t now)
{
    struct ack_iter it;
    uint64_t lo, hi;
    for (ack_iter_init(&it, ack); ack_iter_next(&it, &lo, &hi);)
        trace_put(tr, AQ_TRACE_ACK_RANGE, 0, (uint64_t[3]){lo, hi - 1}, now);
    if (ack->has_ecn)
        trace_put(tr, AQ_TRACE_ACK_ECN, 0, (uint64_t[3]){ack->ect0, ack->ect1, ack->ce}, now);
}

/* The address that a frame of NAT traversal carries. False: another frame. */
static bool frame_address(const struct frame *f, struct aq_addr *at)
{
    const uint8_t *ip = f->add_address.ip;
    uint64_t port = f->add_address.port;
    switch (f->type) {
    case FRAME_PUNCH_ME_NOW_V4:
    case FRAME_PUNCH_ME_NOW_V6:
        ip = f->punch_me_now.ip;
        port = f->punch_me_now.port;
        break;
    case FRAME_ADD_ADDRESS_V4:
    case FRAME_ADD_ADDRESS_V6:
    case FRAME_OBSERVED_ADDRESS_V4:
    case FRAME_OBSERVED_ADDRESS_V6: break;
    default: return false;
    }
    /* The code points for IPv4 are even, those for IPv6 odd. */
    *at = (struct aq_addr){.port = (uint16_t)port, .family = f->type & 1 ? 6 : 4};
    memcpy(at->ip, ip, at->family == 6 ? 16 : 4);
    return true;
}

void trace_put_frames(const struct tracer *tr, const uint8_t *payload, size_t size, uint64_t now)
{
    struct reader r = reader_make(payload, size);
    while (r.p < r.end) {
        struct frame f = {0};
        const uint8_t *begin = r.p;
        struct aq_addr at;
        uint64_t v[3];
        if (frame_decode(&r, &f) != AQ_OK)
            return;
        frame_values(&f, v);
        if (f.type == FRAME_PADDING)
            v[0] = (uint64_t)(r.p - begin);
        trace_put(tr, AQ_TRACE_FRAME, (uint16_t)f.type, v, now);
        if (f.type == FRAME_ACK || f.type == FRAME_ACK_ECN)
            put_ack(tr, &f.ack, now);
        else if (f.type == FRAME_NEW_CONNECTION_ID)
            trace_put_bytes(tr, AQ_PIECE_CID_FRAME, f.new_cid.cid, f.new_cid.cid_size, now);
        else if (frame_address(&f, &at))
            put_address(tr, (uint16_t)(at.family | AQ_ADDRESS_IN_FRAME), &at, now);
    }
}

/* ---- the text ---- */

/* Names of the events and of their three values, NULL where there is none. */
static const struct {
    const char *name, *space, *a, *b, *c;
} rows[AQ_TRACE_TYPES] = {
    /* clang-format off */
    [AQ_TRACE_NONE]            = {"none", NULL, NULL, NULL, NULL},
    [AQ_TRACE_CONN_STARTED]    = {"connection_started", NULL, "server", "version", "mtu"},
    [AQ_TRACE_CONN_STATE]      = {"connection_state", NULL, "from", "to", NULL},
    [AQ_TRACE_ADDRESS]         = {"address", "which", "ip0", "ip1", "port"},
    [AQ_TRACE_CID]             = {"connection_id", "piece", "bytes0", "bytes1", "bytes2"},
    [AQ_TRACE_TEXT]            = {"text", "piece", "bytes0", "bytes1", "bytes2"},
    [AQ_TRACE_PARAM]           = {"parameter", "peer", "id", "value", NULL},
    [AQ_TRACE_PACKET_SENT]     = {"packet_sent", "space", "number", "size", "flags"},
    [AQ_TRACE_PACKET_RECEIVED] = {"packet_received", "space", "number", "size", NULL},
    [AQ_TRACE_FRAME]           = {"frame", "type", "a", "b", "c"},
    [AQ_TRACE_ACK_RANGE]       = {"ack_range", NULL, "smallest", "largest", NULL},
    [AQ_TRACE_ACK_ECN]         = {"ack_ecn", NULL, "ect0", "ect1", "ce"},
    [AQ_TRACE_PACKET_DROPPED]  = {"packet_dropped", NULL, "why", "size", NULL},
    [AQ_TRACE_PACKET_LOST]     = {"packet_lost", "space", "number", "size", NULL},
    [AQ_TRACE_METRICS]         = {"metrics", NULL, "latest_rtt", "smoothed_rtt", "rtt_var"},
    [AQ_TRACE_WINDOW]          = {"window", "state", "cwnd", "ssthresh", "in_flight"},
    [AQ_TRACE_PACE]            = {"pace", NULL, "rate", "min_rtt", NULL},
    [AQ_TRACE_TIMER]           = {"timer", NULL, "id", NULL, NULL},
    [AQ_TRACE_PTO]             = {"pto", "space", "count", NULL, NULL},
    [AQ_TRACE_KEY_INSTALLED]   = {"key_installed", "level", "write", "phase", NULL},
    [AQ_TRACE_KEY_DISCARDED]   = {"key_discarded", "level", "write", "phase", NULL},
    [AQ_TRACE_KEY_UPDATED]     = {"key_updated", "level", "write", "phase", NULL},
    [AQ_TRACE_STREAM_STATE]    = {"stream_state", NULL, "id", "tx", "rx"},
    [AQ_TRACE_CLOSE]           = {"close", "by", "code", "frame_type", "application"},
    [AQ_TRACE_PATH]            = {"path", "index", "state", NULL, NULL},
    [AQ_TRACE_RETRY]           = {"retry", NULL, "sent", NULL, NULL},
    [AQ_TRACE_RESET]           = {"stateless_reset", NULL, "sent", NULL, NULL},
    [AQ_TRACE_MTU]             = {"mtu", "path", "mtu", "state", NULL},
    [AQ_TRACE_VERSION]         = {"version", NULL, "version", "anew", NULL},
    [AQ_TRACE_ECN]             = {"ecn", "path", "from", "to", NULL},
    /* clang-format on */
};

struct text {
    char *p;
    size_t size, used;
};

static void text_add(struct text *t, const char *s)
{
    while (*s && t->used + 1 < t->size)
        t->p[t->used++] = *s++;
}

static void text_number(struct text *t, uint64_t v)
{
    char digits[21], *p = digits + sizeof digits - 1;
    *p = 0;
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    text_add(t, p);
}

static void text_value(struct text *t, const char *name, uint64_t v)
{
    if (!name)
        return;
    text_add(t, " ");
    text_add(t, name);
    text_add(t, "=");
    text_number(t, v);
}

size_t aq_trace_text(const struct aq_trace *event, char *out, size_t size)
{
    struct text t = {out, size, 0};
    unsigned type = event->type < AQ_TRACE_TYPES ? event->type : AQ_TRACE_NONE;
    if (!size)
        return 0;
    text_number(&t, event->time_us);
    if (event->conn != UINT32_MAX)
        text_value(&t, "conn", event->conn);
    text_add(&t, " ");
    text_add(&t, rows[type].name);
    text_value(&t, rows[type].space, event->space);
    text_value(&t, rows[type].a, event->a);
    text_value(&t, rows[type].b, event->b);
    text_value(&t, rows[type].c, event->c);
    out[t.used] = 0;
    return t.used;
}
