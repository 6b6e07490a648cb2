/* ackfreq.h -- what we ask of the peer about its acknowledgements, as the one who sends data
 * (draft-ietf-quic-ack-frequency §4, §8).
 *
 * A struct of its own in the connection: what the peer offers, what it was asked last, and which
 * max_ack_delay the timers must count with meanwhile. What the peer asks of us is ack.h's. */
#ifndef AQ_ACKFREQ_H
#define AQ_ACKFREQ_H

#include "core/frame.h"

enum {
    ACKFREQ_MIN_US = 1000,       /* our min_ack_delay: no host's timers are worth less */
    ACKFREQ_WINDOW_PACKETS = 32, /* below, the peer acknowledges as RFC 9000 says */
    ACKFREQ_SHARE = 8,           /* an ACK for each eighth of the window ... */
    ACKFREQ_PACKETS_MAX = 128    /* ... but at least for each two trains */
};

struct ackfreq {
    uint64_t next_seq; /* of the next ACK_FREQUENCY frame */
    uint64_t look_us;  /* not looked at again before */
    /* The peer's max_ack_delay: its transport parameter, what holds since a frame of ours was
     * acknowledged, what the newest frame asks, and the longest of those whose fate is open (0:
     * none). Each is below 2^14 ms. */
    uint32_t limit_us, held_us, asked_us, open_us;
    uint32_t min_us;    /* its min_ack_delay */
    uint16_t threshold; /* asked last: it may receive so many and be silent */
    bool offered;       /* it knows both frames */
    bool due;           /* a frame shall go */
};

void ackfreq_init(struct ackfreq *f);
/* The peer's transport parameters are known. */
void ackfreq_on_params(struct ackfreq *f, bool offered, uint64_t min_us, uint64_t max_us);

/* An ACK came: whether the window or the round trip have changed so much that something else should
 * be asked, which sets due. */
void ackfreq_look(struct ackfreq *f, uint64_t window_packets, uint64_t rtt_us, uint64_t now);

/* The frame that is due, and that it was written. */
struct frame ackfreq_frame(const struct ackfreq *f);
void ackfreq_on_sent(struct ackfreq *f);
/* The fate of the frame with that sequence number. */
void ackfreq_on_acked(struct ackfreq *f, uint64_t seq);
void ackfreq_on_lost(struct ackfreq *f, uint64_t seq);

/* The peer's max_ack_delay for probe timeouts and round-trip times: the longest that may hold. */
static inline uint64_t ackfreq_delay_us(const struct ackfreq *f)
{
    return f->open_us > f->held_us ? f->open_us : f->held_us;
}

/* A frame without content that elicits an ACK: at once where the peer knows how. */
static inline uint64_t ackfreq_ping(const struct ackfreq *f)
{
    return f->offered ? FRAME_IMMEDIATE_ACK : FRAME_PING;
}

#endif
