/* trace.c -- the ring of events and their text. */
#include "core/trace.h"

#include <criterion/criterion.h>
#include <string.h>

enum {
    RING = 8
};

struct world {
    struct aq_trace ring[RING];
    struct trace trace;
    struct tracer tracer;
};

static struct world *world_new(bool on)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    w.trace = (struct trace){.ring = on ? w.ring : NULL, .mask = on ? RING - 1 : 0, .on = on};
    w.tracer = (struct tracer){&w.trace, 7};
    return &w;
}

static const char *text_of(const struct aq_trace *event)
{
    static char text[200];
    size_t n = aq_trace_text(event, text, sizeof text);
    cr_expect_eq(n, strlen(text));
    return text;
}

/* Each call of the header says what its name says. */
Test(trace, each_line)
{
    struct world *w = world_new(true);
    const struct tracer *t = &w->tracer;
#define LINE(call, line)                              \
    do {                                              \
        w->trace.tail = 0;                            \
        call;                                         \
        cr_assert_eq(w->trace.tail, 1, #call);        \
        cr_expect_str_eq(text_of(&w->ring[0]), line); \
    } while (0)
    LINE(trace_conn_state(t, 1, 2, 30), "30 conn=7 connection_state from=1 to=2");
    LINE(trace_packet_sent(t, 2, 9, 1200, 3, 31),
         "31 conn=7 packet_sent space=2 number=9 size=1200 flags=3");
    LINE(trace_packet_received(t, 1, 9, 1200, 31),
         "31 conn=7 packet_received space=1 number=9 size=1200");
    LINE(trace_packet_dropped(t, 1, 40, 31), "31 conn=7 packet_dropped why=1 size=40");
    LINE(trace_packet_lost(t, 0, 9, 1200, 31), "31 conn=7 packet_lost space=0 number=9 size=1200");
    LINE(trace_metrics(t, 1, 2, 3, 31),
         "31 conn=7 metrics latest_rtt=1 smoothed_rtt=2 in_flight=3");
    LINE(trace_window(t, 1, 2, 3, 31), "31 conn=7 window cwnd=1 ssthresh=2 in_flight=3");
    LINE(trace_timer(t, 4, 31), "31 conn=7 timer id=4");
    LINE(trace_pto(t, 2, 5, 31), "31 conn=7 pto space=2 count=5");
    LINE(trace_key(t, TRACE_KEY_INSTALLED, 3, 1, 0, 31),
         "31 conn=7 key_installed level=3 write=1 phase=0");
    LINE(trace_key(t, TRACE_KEY_DISCARDED, 0, 0, 0, 31),
         "31 conn=7 key_discarded level=0 write=0 phase=0");
    LINE(trace_key(t, TRACE_KEY_UPDATED, 3, 0, 6, 31),
         "31 conn=7 key_updated level=3 write=0 phase=6");
    LINE(trace_stream_state(t, 4, 1, 2, 31), "31 conn=7 stream_state id=4 tx=1 rx=2");
    LINE(trace_close(t, 1, 10, 6, 31), "31 conn=7 close by=1 code=10 frame_type=6");
    LINE(trace_path(t, 0, 2, 31), "31 conn=7 path index=0 state=2");
    LINE(trace_mtu(t, 0, 1452, 31), "31 conn=7 mtu path=0 mtu=1452");
    LINE(TRACE_LINE(t, TRACE_RETRY, 0, 1, 0, 0, 31), "31 conn=7 retry sent=1");
}

/* Every type has a name of its own. */
Test(trace, every_type_is_named)
{
    char names[TRACE_TYPES][200];
    for (unsigned i = 0; i < TRACE_TYPES; i++) {
        struct aq_trace event = {.conn = UINT32_MAX, .type = (uint16_t)i};
        strcpy(names[i], text_of(&event));
        for (unsigned j = 0; j < i; j++)
            cr_expect_str_neq(names[i], names[j]);
    }
    struct aq_trace event = {.conn = UINT32_MAX, .type = TRACE_TYPES};
    cr_expect_str_eq(text_of(&event), names[TRACE_NONE], "a type from elsewhere");
}

/* The largest numbers fit; a small array is never overrun and always a string. */
Test(trace, text_bounds)
{
    struct aq_trace event = {.time_us = UINT64_MAX,
                             .conn = UINT32_MAX - 1,
                             .type = TRACE_PACKET_SENT,
                             .space = UINT16_MAX,
                             .a = UINT64_MAX,
                             .b = UINT64_MAX,
                             .c = UINT64_MAX};
    char whole[200], cut[200];
    size_t size = aq_trace_text(&event, whole, sizeof whole);
    cr_expect_str_eq(
        whole,
        "18446744073709551615 conn=4294967294 packet_sent space=65535 number=18446744073709551615 "
        "size=18446744073709551615 flags=18446744073709551615");
    cut[0] = 'x';
    cr_expect_eq(aq_trace_text(&event, cut, 0), 0);
    cr_expect_eq(cut[0], 'x');
    for (size_t n = 1; n <= size + 1; n++) {
        memset(cut, 'x', sizeof cut);
        cr_expect_eq(aq_trace_text(&event, cut, n), n - 1);
        cr_expect_eq(cut[n - 1], 0);
        cr_expect_eq(memcmp(cut, whole, n - 1), 0);
        cr_expect_eq(cut[n], 'x');
    }
}

/* When the ring is full the newest is refused and counted; after reading there is room again,
 * however often it wraps. */
Test(trace, ring)
{
    struct world *w = world_new(true);
    uint64_t next = 0;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < RING + 3; i++)
            trace_timer(&w->tracer, (unsigned)(next + i), 100);
        cr_expect_eq(w->trace.tail - w->trace.head, RING);
        cr_expect_eq(w->trace.lost, 3 * (round + 1));
        for (unsigned i = 0; i < RING; i++)
            cr_expect_eq(w->ring[w->trace.head++ & w->trace.mask].a, next + i);
        next += 1000;
    }
}

/* Off, nothing is written, and nothing counts as lost. */
Test(trace, off)
{
    struct world *w = world_new(false);
    trace_timer(&w->tracer, 1, 2);
    cr_expect_eq(w->trace.tail, 0);
    cr_expect_eq(w->trace.lost, 0);
}
