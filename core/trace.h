/* trace.h -- what happened, one typed line per event, in a ring the host reads (aq_trace_read).
 *
 * qlog and text are written outside the core from these. Each line is one inline function and, when
 * tracing is off, one predicted branch. No event carries a byte that depends on keys, so that one
 * seed gives one trace. */
#ifndef AQ_TRACE_H
#define AQ_TRACE_H

#include "core/antq.h"

enum trace_type {
    TRACE_NONE,
    TRACE_CONN_STATE,
    TRACE_PACKET_SENT,
    TRACE_PACKET_RECEIVED,
    TRACE_PACKET_DROPPED,
    TRACE_PACKET_LOST,
    TRACE_PACKET_ACKED,
    TRACE_METRICS,
    TRACE_WINDOW,
    TRACE_TIMER,
    TRACE_PTO,
    TRACE_KEY_INSTALLED,
    TRACE_KEY_DISCARDED,
    TRACE_KEY_UPDATED,
    TRACE_STREAM_STATE,
    TRACE_CLOSE,
    TRACE_PATH,
    TRACE_RETRY,
    TRACE_RESET,
    TRACE_MTU,
    TRACE_TYPES
};

struct trace {
    struct aq_trace *ring;
    uint32_t mask; /* entries - 1 */
    bool on;
    uint64_t head, tail; /* free-running: read from head, write at tail */
    uint64_t lost;
};

/* One connection's (or the endpoint's) hand on the ring. */
struct tracer {
    struct trace *trace;
    uint32_t conn;
};

void trace_put(const struct tracer *tr, enum trace_type type, uint16_t space, const uint64_t v[3],
               uint64_t now);

#define TRACE_LINE(tr, type, space, va, vb, vc, now)                                          \
    do {                                                                                      \
        if (__builtin_expect((tr)->trace->on, 0))                                             \
            trace_put((tr), (type), (uint16_t)(space), (const uint64_t[3]){(va), (vb), (vc)}, \
                      (now));                                                                 \
    } while (0)

static inline void trace_conn_state(const struct tracer *tr, unsigned from, unsigned to,
                                    uint64_t now)
{
    TRACE_LINE(tr, TRACE_CONN_STATE, 0, from, to, 0, now);
}
static inline void trace_packet_sent(const struct tracer *tr, unsigned space, uint64_t number,
                                     uint64_t size, unsigned flags, uint64_t now)
{
    TRACE_LINE(tr, TRACE_PACKET_SENT, space, number, size, flags, now);
}
static inline void trace_packet_received(const struct tracer *tr, unsigned space, uint64_t number,
                                         uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, TRACE_PACKET_RECEIVED, space, number, size, 0, now);
}
static inline void trace_packet_dropped(const struct tracer *tr, unsigned why, uint64_t size,
                                        uint64_t now)
{
    TRACE_LINE(tr, TRACE_PACKET_DROPPED, 0, why, size, 0, now);
}
static inline void trace_packet_lost(const struct tracer *tr, unsigned space, uint64_t number,
                                     uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, TRACE_PACKET_LOST, space, number, size, 0, now);
}
static inline void trace_metrics(const struct tracer *tr, uint64_t latest_us, uint64_t smoothed_us,
                                 uint64_t in_flight, uint64_t now)
{
    TRACE_LINE(tr, TRACE_METRICS, 0, latest_us, smoothed_us, in_flight, now);
}
static inline void trace_window(const struct tracer *tr, uint64_t cwnd, uint64_t ssthresh,
                                uint64_t in_flight, uint64_t now)
{
    TRACE_LINE(tr, TRACE_WINDOW, 0, cwnd, ssthresh, in_flight, now);
}
static inline void trace_timer(const struct tracer *tr, unsigned timer, uint64_t now)
{
    TRACE_LINE(tr, TRACE_TIMER, 0, timer, 0, 0, now);
}
static inline void trace_pto(const struct tracer *tr, unsigned space, uint64_t count, uint64_t now)
{
    TRACE_LINE(tr, TRACE_PTO, space, count, 0, 0, now);
}
static inline void trace_key(const struct tracer *tr, enum trace_type type, unsigned level,
                             unsigned write, uint64_t phase, uint64_t now)
{
    TRACE_LINE(tr, type, level, write, phase, 0, now);
}
static inline void trace_stream_state(const struct tracer *tr, uint64_t id, unsigned tx,
                                      unsigned rx, uint64_t now)
{
    TRACE_LINE(tr, TRACE_STREAM_STATE, 0, id, tx, rx, now);
}
static inline void trace_close(const struct tracer *tr, unsigned by, uint64_t code,
                               uint64_t frame_type, uint64_t now)
{
    TRACE_LINE(tr, TRACE_CLOSE, by, code, frame_type, 0, now);
}
static inline void trace_path(const struct tracer *tr, unsigned path, unsigned state, uint64_t now)
{
    TRACE_LINE(tr, TRACE_PATH, path, state, 0, 0, now);
}
static inline void trace_mtu(const struct tracer *tr, unsigned path, uint64_t mtu, uint64_t now)
{
    TRACE_LINE(tr, TRACE_MTU, path, mtu, 0, 0, now);
}

#endif
