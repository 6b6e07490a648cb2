/* ackfreq.c -- what we ask of the peer about its acknowledgements, as the one who sends data.
 *
 * A sender needs ACKs for three things: to open the window again, to see losses, to time the way.
 * Eight in a window do for the first; losses are told at once whatever is asked, because the
 * Reordering Threshold is that of our own loss detection; and a window's time is a round trip. So
 * once the window is worth it (32 packets), the peer is asked for an ACK for each eighth of it, at
 * most each 128 packets, and, where data comes more slowly, within a quarter of the round trip. A
 * short round trip does not ask for less than a millisecond, which is what timers can do.
 *
 * What is asked follows the window by factors of two, so it is always between a sixteenth and a
 * quarter of it; and it is looked at once a round trip, by one comparison an ACK. At most one frame
 * is on its way. Until its fate is known the longer of the two delays counts for probe timeouts;
 * one that seems lost may have come all the same, so its delay counts until a later one is
 * acknowledged.
 *
 * Called by handshake.c (parameters), apply.c (ACKs, fates), fill.c (the frame), conn.c (the
 * delay). draft-ietf-quic-ack-frequency §3, §4, §7, §8. */
#include "core/ackfreq.h"

#include "core/loss.h"

#include <assert.h>

enum {
    DELAY_DEFAULT_US = 25000, /* RFC 9000 §18.2, until the parameters are known */
    THRESHOLD_DEFAULT = 1
};

void ackfreq_init(struct ackfreq *f)
{
    *f = (struct ackfreq){.limit_us = DELAY_DEFAULT_US,
                          .held_us = DELAY_DEFAULT_US,
                          .asked_us = DELAY_DEFAULT_US,
                          .threshold = THRESHOLD_DEFAULT};
}

void ackfreq_on_params(struct ackfreq *f, bool offered, uint64_t min_us, uint64_t max_us)
{
    assert(min_us <= max_us || !offered);
    assert(max_us < UINT64_C(1) << 32);
    f->offered = offered;
    f->min_us = (uint32_t)min_us;
    f->limit_us = f->held_us = f->asked_us = (uint32_t)max_us;
}

static uint32_t wanted_threshold(uint64_t window_packets)
{
    if (window_packets < ACKFREQ_WINDOW_PACKETS)
        return THRESHOLD_DEFAULT;
    uint64_t share = window_packets / ACKFREQ_SHARE;
    return share < ACKFREQ_PACKETS_MAX ? (uint32_t)share : ACKFREQ_PACKETS_MAX;
}

/* draft-ietf-quic-ack-frequency §8: a part of the smoothed round trip; §4: never below the peer's
 * min_ack_delay. */
static uint32_t wanted_delay(const struct ackfreq *f, uint64_t rtt_us)
{
    uint64_t least = f->min_us > ACKFREQ_MIN_US ? f->min_us : ACKFREQ_MIN_US;
    uint64_t delay = rtt_us / 4 > least ? rtt_us / 4 : least;
    return delay < f->limit_us ? (uint32_t)delay : f->limit_us;
}

static bool differs(uint64_t wanted, uint64_t asked)
{
    return wanted != asked && (wanted >= 2 * asked || 2 * wanted <= asked);
}

void ackfreq_look(struct ackfreq *f, uint64_t window_packets, uint64_t rtt_us, uint64_t now)
{
    if (now < f->look_us || !f->offered || f->due || f->open_us)
        return;
    f->look_us = now + rtt_us;
    uint32_t threshold = wanted_threshold(window_packets);
    uint32_t delay = wanted_delay(f, rtt_us);
    /* A window that never grew has no use for it, so a short exchange is left as it is. */
    if (threshold == THRESHOLD_DEFAULT && f->threshold == THRESHOLD_DEFAULT)
        return;
    if (!differs(threshold, f->threshold) && !differs(delay, f->asked_us))
        return;
    f->threshold = (uint16_t)threshold;
    f->asked_us = delay;
    f->due = true;
}

struct frame ackfreq_frame(const struct ackfreq *f)
{
    struct frame frame = {.type = FRAME_ACK_FREQUENCY};
    frame.ack_frequency.seq = f->next_seq;
    frame.ack_frequency.threshold = f->threshold;
    frame.ack_frequency.max_delay_us = f->asked_us;
    /* draft-ietf-quic-ack-frequency §9: that of loss detection. */
    frame.ack_frequency.reordering = LOSS_PACKET_THRESHOLD;
    return frame;
}

void ackfreq_on_sent(struct ackfreq *f)
{
    assert(f->due);
    f->due = false;
    f->next_seq++; /* draft-ietf-quic-ack-frequency §4: each frame's is larger than those before */
    if (f->asked_us > f->open_us)
        f->open_us = f->asked_us;
}

/* draft-ietf-quic-ack-frequency §7: until then the greater of the delay that holds and those in
 * flight. */
void ackfreq_on_acked(struct ackfreq *f, uint64_t seq)
{
    if (seq + 1 != f->next_seq) /* the newest may hold already, or not yet */
        return;
    f->held_us = f->asked_us; /* nothing else is asked while one is on its way */
    f->open_us = 0;
    f->due = false; /* it seemed to be lost */
}

void ackfreq_on_lost(struct ackfreq *f, uint64_t seq)
{
    if (seq + 1 == f->next_seq) /* draft-ietf-quic-ack-frequency §4: unless a newer one was sent */
        f->due = true;
}
