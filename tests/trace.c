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
    LINE(trace_metrics(t, 1, 2, 3, 31), "31 conn=7 metrics latest_rtt=1 smoothed_rtt=2 rtt_var=3");
    LINE(trace_window(t, AQ_CC_RECOVERY, 1, 2, 3, 31),
         "31 conn=7 window state=2 cwnd=1 ssthresh=2 in_flight=3");
    LINE(trace_pace(t, 5, 6, 31), "31 conn=7 pace rate=5 min_rtt=6");
    LINE(trace_timer(t, 4, 31), "31 conn=7 timer id=4");
    LINE(trace_pto(t, 2, 5, 31), "31 conn=7 pto space=2 count=5");
    LINE(trace_key(t, AQ_TRACE_KEY_INSTALLED, 3, 1, 0, 31),
         "31 conn=7 key_installed level=3 write=1 phase=0");
    LINE(trace_key(t, AQ_TRACE_KEY_DISCARDED, 0, 0, 0, 31),
         "31 conn=7 key_discarded level=0 write=0 phase=0");
    LINE(trace_key(t, AQ_TRACE_KEY_UPDATED, 3, 0, 6, 31),
         "31 conn=7 key_updated level=3 write=0 phase=6");
    LINE(trace_stream_state(t, 4, 1, 2, 31), "31 conn=7 stream_state id=4 tx=1 rx=2");
    LINE(trace_close(t, 1, 10, 6, true, 31),
         "31 conn=7 close by=1 code=10 frame_type=6 application=1");
    LINE(trace_path(t, 0, 2, 31), "31 conn=7 path index=0 state=2");
    LINE(trace_mtu(t, 0, 1452, 2, 31), "31 conn=7 mtu path=0 mtu=1452 state=2");
    LINE(TRACE_LINE(t, AQ_TRACE_VERSION, 0, 1, 0, 0, 31), "31 conn=7 version version=1 anew=0");
    trace_ecn(t, 1, 3, 3, 31); /* nothing */
    LINE(trace_ecn(t, 1, 2, 3, 31), "31 conn=7 ecn path=1 from=2 to=3");
    LINE(TRACE_LINE(t, AQ_TRACE_RETRY, 0, 1, 0, 0, 31), "31 conn=7 retry sent=1");
}

/* What takes several events: pieces are cut at 24 bytes, an address goes with its port. */
Test(trace, bytes)
{
    struct world *w = world_new(true);
    const struct tracer *t = &w->tracer;
    char text[3 * 8 * 2 + 1];
    const struct aq_addr v4 = {.ip = {127, 0, 0, 1}, .port = 4433, .family = 4};
    const char *words = "thirty bytes of a close reason";
    trace_text(t, AQ_PIECE_REASON, words, 9);
    cr_assert_eq(w->trace.tail, 2);
    cr_expect_eq(w->ring[0].type, AQ_TRACE_TEXT);
    cr_expect_eq(w->ring[0].space, AQ_PIECE_REASON << 8 | 24);
    cr_expect_eq(w->ring[1].space, AQ_PIECE_REASON << 8 | 6);
    memcpy(text, &w->ring[0].a, 24);
    memcpy(text + 24, &w->ring[1].a, 24);
    cr_expect_str_eq(text, words);
    trace_text(t, AQ_PIECE_REASON, NULL, 9);
    cr_expect_eq(w->trace.tail, 2, "no text");
    trace_bytes(t, AQ_PIECE_CID_LOCAL, "", 0, 9);
    cr_expect_eq(w->ring[2].type, AQ_TRACE_CID);
    cr_expect_eq(w->ring[2].space, AQ_PIECE_CID_LOCAL << 8, "an empty one is told");
    trace_bytes(t, AQ_PIECE_CID_LOCAL, words, 24, 9);
    cr_expect_eq(w->trace.tail, 4, "24 bytes are one piece");
    trace_put_address(t, true, &v4, 9);
    cr_expect_eq(w->ring[4].space, 256 | 4);
    cr_expect_eq(memcmp(&w->ring[4].a, v4.ip, 4), 0);
    cr_expect_eq(w->ring[4].c, 4433);
}

/* Each frame of a payload is one event with its fields in the clear, ranges and ids follow; what
 * cannot be read ends it. */
Test(trace, frames)
{
    struct world *w = world_new(true);
    static const uint8_t payload[] = {0x02, 0x0a, 0x05, 0x01, 0x02, 0x01, 0x00, /* ACK 8..10, 5 */
                                      0x0b, 0x04, 0x02, 'h',  'i', /* STREAM 4, LEN, FIN */
                                      0x1a, 1,    2,    3,    4,    5,    6,
                                      7,    8,          /* PATH_CHALLENGE */
                                      0x00, 0x00, 0x00, /* PADDING */
                                      0x20,             /* no frame */
                                      0x01};
    static const char *const lines[] = {"frame type=2 a=10 b=5 c=1",
                                        "ack_range smallest=8 largest=10",
                                        "ack_range smallest=5 largest=5",
                                        "frame type=11 a=4 b=0 c=5",
                                        "frame type=26 a=72623859790382856 b=0 c=0",
                                        "frame type=0 a=3 b=0 c=0"};
    trace_frames(&w->tracer, payload, sizeof payload, 7);
    cr_assert_eq(w->trace.tail, sizeof lines / sizeof *lines);
    for (unsigned i = 0; i < w->trace.tail; i++)
        cr_expect_str_eq(text_of(&w->ring[i]) + strlen("7 conn=7 "), lines[i]);
    static const uint8_t cid[] = {0x18, 2, 1, 4, 0xaa, 0xbb, 0xcc, 0xdd, 1,  2,  3,  4,
                                  5,    6, 7, 8, 9,    10,   11,   12,   13, 14, 15, 16};
    w->trace.tail = 0;
    trace_frames(&w->tracer, cid, sizeof cid, 7);
    cr_assert_eq(w->trace.tail, 2);
    cr_expect_str_eq(text_of(&w->ring[0]) + strlen("7 conn=7 "), "frame type=24 a=2 b=1 c=4");
    cr_expect_eq(w->ring[1].space, AQ_PIECE_CID_FRAME << 8 | 4);
    cr_expect_eq(memcmp(&w->ring[1].a, "\xaa\xbb\xcc\xdd", 4), 0);
}

/* Every type has a name of its own. */
Test(trace, every_type_is_named)
{
    char names[AQ_TRACE_TYPES][200];
    for (unsigned i = 0; i < AQ_TRACE_TYPES; i++) {
        struct aq_trace event = {.conn = UINT32_MAX, .type = (uint16_t)i};
        strcpy(names[i], text_of(&event));
        for (unsigned j = 0; j < i; j++)
            cr_expect_str_neq(names[i], names[j]);
    }
    struct aq_trace event = {.conn = UINT32_MAX, .type = AQ_TRACE_TYPES};
    cr_expect_str_eq(text_of(&event), names[AQ_TRACE_NONE], "a type from elsewhere");
}

/* The largest numbers fit; a small array is never overrun and always a string. */
Test(trace, text_bounds)
{
    struct aq_trace event = {.time_us = UINT64_MAX,
                             .conn = UINT32_MAX - 1,
                             .type = AQ_TRACE_PACKET_SENT,
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
    trace_frames(&w->tracer, (const uint8_t *)"\1", 1, 2);
    trace_text(&w->tracer, AQ_PIECE_WHERE, "nowhere", 2);
    cr_expect_eq(w->trace.tail, 0);
    cr_expect_eq(w->trace.lost, 0);
}
