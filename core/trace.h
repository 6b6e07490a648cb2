/* trace.h -- what happened, one typed line per event, in a ring the host reads (aq_trace_read).
 *
 * qlog and text are written outside the core from these. Each line is one inline function and, when
 * tracing is off, one predicted branch. No event carries a byte that depends on keys, so that one
 * seed gives one trace. */
#ifndef AQ_TRACE_H
#define AQ_TRACE_H

#include "core/antq.h"
#include <string.h>

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

void trace_put(const struct tracer *tr, enum aq_trace_type type, uint16_t space,
               const uint64_t v[3], uint64_t now);
/* What takes several events: called only while tracing is on (trace_is_on). */
void trace_put_frames(const struct tracer *tr, const uint8_t *payload, size_t size, uint64_t now);
void trace_put_bytes(const struct tracer *tr, enum aq_trace_piece piece, const void *bytes,
                     size_t size, uint64_t now);
void trace_put_address(const struct tracer *tr, bool remote, const struct aq_addr *addr,
                       uint64_t now);

static inline bool trace_is_on(const struct tracer *tr)
{
    return __builtin_expect(tr->trace->on, 0);
}

#define TRACE_LINE(tr, type, space, va, vb, vc, now)                                          \
    do {                                                                                      \
        if (trace_is_on(tr))                                                                  \
            trace_put((tr), (type), (uint16_t)(space), (const uint64_t[3]){(va), (vb), (vc)}, \
                      (now));                                                                 \
    } while (0)

static inline void trace_conn_state(const struct tracer *tr, unsigned from, unsigned to,
                                    uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_CONN_STATE, 0, from, to, 0, now);
}
static inline void trace_packet_sent(const struct tracer *tr, unsigned space, uint64_t number,
                                     uint64_t size, unsigned flags, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PACKET_SENT, space, number, size, flags, now);
}
static inline void trace_packet_received(const struct tracer *tr, unsigned space, uint64_t number,
                                         uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PACKET_RECEIVED, space, number, size, 0, now);
}
static inline void trace_packet_dropped(const struct tracer *tr, enum aq_trace_drop why,
                                        uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PACKET_DROPPED, 0, why, size, 0, now);
}
/* The one STREAM frame of the packet traced just before. */
static inline void trace_stream_frame(const struct tracer *tr, unsigned type, uint64_t id,
                                      uint64_t offset, uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_FRAME, type, id, offset, size << 1, now);
}
/* The frames of the packet traced just before, in the clear; stops where they cannot be read. */
static inline void trace_frames(const struct tracer *tr, const uint8_t *payload, size_t size,
                                uint64_t now)
{
    if (trace_is_on(tr))
        trace_put_frames(tr, payload, size, now);
}
static inline void trace_bytes(const struct tracer *tr, enum aq_trace_piece piece,
                               const void *bytes, size_t size, uint64_t now)
{
    if (trace_is_on(tr))
        trace_put_bytes(tr, piece, bytes, size, now);
}
static inline void trace_text(const struct tracer *tr, enum aq_trace_piece piece, const char *text,
                              uint64_t now)
{
    if (trace_is_on(tr) && text)
        trace_put_bytes(tr, piece, text, strlen(text), now);
}
static inline void trace_packet_lost(const struct tracer *tr, unsigned space, uint64_t number,
                                     uint64_t size, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PACKET_LOST, space, number, size, 0, now);
}
static inline void trace_metrics(const struct tracer *tr, uint64_t latest_us, uint64_t smoothed_us,
                                 uint64_t var_us, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_METRICS, 0, latest_us, smoothed_us, var_us, now);
}
static inline void trace_window(const struct tracer *tr, enum aq_trace_cc state, uint64_t cwnd,
                                uint64_t ssthresh, uint64_t in_flight, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_WINDOW, state, cwnd, ssthresh, in_flight, now);
}
static inline void trace_pace(const struct tracer *tr, uint64_t bytes_per_s, uint64_t min_rtt_us,
                              uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PACE, 0, bytes_per_s, min_rtt_us, 0, now);
}
static inline void trace_timer(const struct tracer *tr, unsigned timer, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_TIMER, 0, timer, 0, 0, now);
}
static inline void trace_pto(const struct tracer *tr, unsigned space, uint64_t count, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PTO, space, count, 0, 0, now);
}
static inline void trace_key(const struct tracer *tr, enum aq_trace_type type, unsigned level,
                             unsigned write, uint64_t phase, uint64_t now)
{
    TRACE_LINE(tr, type, level, write, phase, 0, now);
}
static inline void trace_stream_state(const struct tracer *tr, uint64_t id, unsigned tx,
                                      unsigned rx, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_STREAM_STATE, 0, id, tx, rx, now);
}
static inline void trace_close(const struct tracer *tr, unsigned by, uint64_t code,
                               uint64_t frame_type, bool application, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_CLOSE, by, code, frame_type, application, now);
}
static inline void trace_path(const struct tracer *tr, unsigned path, unsigned state, uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_PATH, path, state, 0, 0, now);
}
static inline void trace_mtu(const struct tracer *tr, unsigned path, uint64_t mtu, unsigned state,
                             uint64_t now)
{
    TRACE_LINE(tr, AQ_TRACE_MTU, path, mtu, state, 0, now);
}
static inline void trace_ecn(const struct tracer *tr, unsigned path, unsigned from, unsigned to,
                             uint64_t now)
{
    if (__builtin_expect(from != to, 0))
        TRACE_LINE(tr, AQ_TRACE_ECN, path, from, to, 0, now);
}

#endif
