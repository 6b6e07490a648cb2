/* trace.c -- the trace ring and its text. */
#include "core/trace.h"
#include <string.h>

void trace_put(const struct tracer *tr, enum trace_type type, uint16_t space, const uint64_t v[3],
               uint64_t now)
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

/* Names of the events and of their three values, NULL where there is none. */
static const struct {
    const char *name, *space, *a, *b, *c;
} rows[TRACE_TYPES] = {
    /* clang-format off */
    [TRACE_NONE]            = {"none", NULL, NULL, NULL, NULL},
    [TRACE_CONN_STATE]      = {"connection_state", NULL, "from", "to", NULL},
    [TRACE_PACKET_SENT]     = {"packet_sent", "space", "number", "size", "flags"},
    [TRACE_PACKET_RECEIVED] = {"packet_received", "space", "number", "size", NULL},
    [TRACE_PACKET_DROPPED]  = {"packet_dropped", NULL, "why", "size", NULL},
    [TRACE_PACKET_LOST]     = {"packet_lost", "space", "number", "size", NULL},
    [TRACE_PACKET_ACKED]    = {"packet_acked", "space", "number", "size", NULL},
    [TRACE_METRICS]         = {"metrics", NULL, "latest_rtt", "smoothed_rtt", "in_flight"},
    [TRACE_WINDOW]          = {"window", NULL, "cwnd", "ssthresh", "in_flight"},
    [TRACE_TIMER]           = {"timer", NULL, "id", NULL, NULL},
    [TRACE_PTO]             = {"pto", "space", "count", NULL, NULL},
    [TRACE_KEY_INSTALLED]   = {"key_installed", "level", "write", "phase", NULL},
    [TRACE_KEY_DISCARDED]   = {"key_discarded", "level", "write", "phase", NULL},
    [TRACE_KEY_UPDATED]     = {"key_updated", "level", "write", "phase", NULL},
    [TRACE_STREAM_STATE]    = {"stream_state", NULL, "id", "tx", "rx"},
    [TRACE_CLOSE]           = {"close", "by", "code", "frame_type", NULL},
    [TRACE_PATH]            = {"path", "index", "state", NULL, NULL},
    [TRACE_RETRY]           = {"retry", NULL, "sent", NULL, NULL},
    [TRACE_RESET]           = {"stateless_reset", NULL, "sent", NULL, NULL},
    [TRACE_MTU]             = {"mtu", "path", "mtu", NULL, NULL},
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
    unsigned type = event->type < TRACE_TYPES ? event->type : TRACE_NONE;
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
