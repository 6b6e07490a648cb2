/* flow.h -- credit in both directions, for a stream or for a connection (RFC 9000 §4), with
 * auto-tuned windows.
 *
 * The receiving window doubles, up to its maximum, when the application has read half a window
 * within two round trips: then the window, not the path, was the limit. */
#ifndef AQ_FLOW_H
#define AQ_FLOW_H

#include "core/antq.h"

struct flow {
    /* sending: the peer's limit, what we used, and the limit we last said we are blocked at */
    uint64_t tx_max, tx_used, tx_blocked_said; /* tx_blocked_said: limit + 1, 0 never */
    /* receiving: the limit the peer has from us, the highest it used, what the application has read
     */
    uint64_t rx_max, rx_used, rx_read;
    uint64_t rx_window, rx_window_max, rx_epoch_read, rx_epoch_us;
};

void flow_init(struct flow *flow, uint64_t rx_window, uint64_t rx_window_max, uint64_t tx_max,
               uint64_t now);

static inline uint64_t flow_tx_room(const struct flow *flow)
{
    return flow->tx_max - flow->tx_used;
}
void flow_tx_use(struct flow *flow, uint64_t bytes);
/* MAX_DATA, MAX_STREAM_DATA, transport parameters. Lower limits are ignored (§4.1). True: it rose.
 */
bool flow_tx_raise(struct flow *flow, uint64_t max);
/* 0-RTT was rejected: nothing was sent, and nothing is allowed yet (RFC 9001 §4.6.2). */
void flow_tx_reset(struct flow *flow);
/* Whether a *_BLOCKED frame should be sent for the present limit; and that it was (once per limit,
 * §4.1). */
bool flow_tx_says_blocked(const struct flow *flow);
void flow_tx_said_blocked(struct flow *flow);
void flow_tx_blocked_lost(struct flow *flow, uint64_t limit);

/* The peer's highest offset (stream) or sum of them (connection) grows by bytes. FLOW_CONTROL_ERROR
 * beyond the limit; nothing is changed then. */
int flow_rx_use(struct flow *flow, uint64_t bytes);
/* The application read (or a reset discarded) bytes. Tunes the window. True: a new limit should be
 * told (half of the window is used up). rtt_us 0: unknown. */
bool flow_rx_read(struct flow *flow, uint64_t bytes, uint64_t rtt_us, uint64_t now);
bool flow_rx_wants_update(const struct flow *flow);
/* The limit to advertise now; it is committed as said. */
uint64_t flow_rx_grant(struct flow *flow);

#endif
