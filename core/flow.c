/* flow.c -- flow control credit, for a stream or for a connection (RFC 9000 §4).
 *
 * The same four numbers serve both levels: a stream counts its highest offset, a connection the sum
 * of its streams' highest offsets. Limits are absolute and only grow, so a late or repeated frame
 * does no harm. The receiving window is tuned here: the application that reads half a window within
 * two round trips is held back by the window, so it doubles. A new limit is told when half of the
 * window is used up: rarely enough not to cost packets, early enough for the peer never to run dry
 * (§4.2).
 *
 * Called by stream.c and by the connection for its own pair. */
#include "core/flow.h"

#include <assert.h>

/* The largest number a frame can carry, and with it the largest limit (RFC 9000 §16, §19.8). */
static const uint64_t limit_max = (UINT64_C(1) << 62) - 1;

void flow_init(struct flow *flow, uint64_t rx_window, uint64_t rx_window_max, uint64_t tx_max,
               uint64_t now)
{
    assert(rx_window <= limit_max && tx_max <= limit_max);
    *flow = (struct flow){
        .tx_max = tx_max,
        .rx_max = rx_window,
        .rx_window = rx_window,
        .rx_window_max = rx_window_max > rx_window ? rx_window_max : rx_window,
        .rx_epoch_us = now,
    };
}

void flow_tx_use(struct flow *flow, uint64_t bytes)
{
    /* RFC 9000 §4.1: senders must not send data in excess of either limit. */
    assert(bytes <= flow_tx_room(flow));
    flow->tx_used += bytes;
}

bool flow_tx_raise(struct flow *flow, uint64_t max)
{
    /* RFC 9000 §4.1: a limit that does not grow is ignored. */
    if (max <= flow->tx_max)
        return false;
    flow->tx_max = max;
    return true;
}

void flow_tx_reset(struct flow *flow)
{
    flow->tx_max = flow->tx_used = flow->tx_blocked_said = 0;
}

bool flow_tx_says_blocked(const struct flow *flow)
{
    return flow_tx_room(flow) == 0 && flow->tx_blocked_said != flow->tx_max + 1;
}

void flow_tx_said_blocked(struct flow *flow)
{
    flow->tx_blocked_said = flow->tx_max + 1;
}

void flow_tx_blocked_lost(struct flow *flow, uint64_t limit)
{
    /* RFC 9000 §13.3: sent again only while it still is the limit we are blocked at. */
    if (limit == flow->tx_max)
        flow->tx_blocked_said = 0;
}

int flow_rx_use(struct flow *flow, uint64_t bytes)
{
    assert(flow->rx_used <= flow->rx_max);
    /* RFC 9000 §4.1, §19.9: more than the advertised limit closes the connection. */
    if (bytes > flow->rx_max - flow->rx_used)
        return AQ_FLOW_CONTROL_ERROR;
    flow->rx_used += bytes;
    return AQ_OK;
}

static void flow_tune(struct flow *flow, uint64_t rtt_us, uint64_t now)
{
    if (flow->rx_read - flow->rx_epoch_read < flow->rx_window / 2)
        return;
    uint64_t elapsed_us = now > flow->rx_epoch_us ? now - flow->rx_epoch_us : 0;
    if (rtt_us > 0 && elapsed_us < 2 * rtt_us) {
        bool fits = flow->rx_window <= flow->rx_window_max / 2;
        flow->rx_window = fits ? 2 * flow->rx_window : flow->rx_window_max;
    }
    flow->rx_epoch_read = flow->rx_read;
    flow->rx_epoch_us = now;
}

bool flow_rx_read(struct flow *flow, uint64_t bytes, uint64_t rtt_us, uint64_t now)
{
    assert(bytes <= flow->rx_used - flow->rx_read);
    flow->rx_read += bytes;
    flow_tune(flow, rtt_us, now);
    return flow_rx_wants_update(flow);
}

/* Where the limit would be if it were told now. */
static uint64_t flow_rx_target(const struct flow *flow)
{
    uint64_t room = limit_max - flow->rx_read;
    return flow->rx_read + (flow->rx_window < room ? flow->rx_window : room);
}

/* RFC 9000 §4.2: whether the peer says that it is blocked or not. */
bool flow_rx_wants_update(const struct flow *flow)
{
    return flow->rx_max - flow->rx_read <= flow->rx_window / 2
           && flow_rx_target(flow) > flow->rx_max;
}

uint64_t flow_rx_grant(struct flow *flow)
{
    uint64_t target = flow_rx_target(flow);
    if (target > flow->rx_max)
        flow->rx_max = target;
    return flow->rx_max;
}
