/* flow.c -- tests core/flow.c (RFC 9000 §4): credit both ways, at the limit and one beyond, and the
 * window's tuning. */
#include "core/flow.h"

#include <criterion/criterion.h>
#include <signal.h>

enum {
    KIB = 1024
};
static const uint64_t limit_max = (UINT64_C(1) << 62) - 1;

Test(flow, sends_up_to_the_limit)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 100, 0);
    cr_assert_eq(flow_tx_room(&flow), 100);
    flow_tx_use(&flow, 99);
    cr_assert_eq(flow_tx_room(&flow), 1);
    flow_tx_use(&flow, 1);
    cr_assert_eq(flow_tx_room(&flow), 0);
}

/* RFC 9000 §4.1: never beyond the peer's limit. */
Test(flow, sending_beyond_the_limit_asserts, .signal = SIGABRT)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 100, 0);
    flow_tx_use(&flow, 101);
}

/* RFC 9000 §4.1: limits that do not grow are ignored. */
Test(flow, limits_only_grow)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 100, 0);
    cr_assert_not(flow_tx_raise(&flow, 99));
    cr_assert_not(flow_tx_raise(&flow, 100));
    cr_assert_eq(flow_tx_room(&flow), 100);
    cr_assert(flow_tx_raise(&flow, 101));
    cr_assert_eq(flow_tx_room(&flow), 101);
}

/* RFC 9000 §4.1: blocked is said once for each limit. */
Test(flow, says_blocked_once_per_limit)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 10, 0);
    cr_assert_not(flow_tx_says_blocked(&flow));
    flow_tx_use(&flow, 10);
    cr_assert(flow_tx_says_blocked(&flow));
    flow_tx_said_blocked(&flow);
    cr_assert_not(flow_tx_says_blocked(&flow));
    flow_tx_raise(&flow, 20);
    cr_assert_not(flow_tx_says_blocked(&flow));
    flow_tx_use(&flow, 10);
    cr_assert(flow_tx_says_blocked(&flow));
}

Test(flow, says_blocked_at_zero)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 0, 0);
    cr_assert(flow_tx_says_blocked(&flow));
    flow_tx_said_blocked(&flow);
    cr_assert_not(flow_tx_says_blocked(&flow));
}

/* RFC 9000 §13.3: a lost one is said again only while its limit stands. */
Test(flow, lost_blocked_is_said_again_if_still_true)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 10, 0);
    flow_tx_use(&flow, 10);
    flow_tx_said_blocked(&flow);
    flow_tx_blocked_lost(&flow, 9);
    cr_assert_not(flow_tx_says_blocked(&flow));
    flow_tx_blocked_lost(&flow, 10);
    cr_assert(flow_tx_says_blocked(&flow));
}

/* RFC 9000 §4.1: FLOW_CONTROL_ERROR one byte beyond, and nothing is changed. */
Test(flow, receiving_beyond_the_limit)
{
    struct flow flow;
    flow_init(&flow, 100, 100, 0, 0);
    cr_assert_eq(flow_rx_use(&flow, 60), AQ_OK);
    cr_assert_eq(flow_rx_use(&flow, 41), AQ_FLOW_CONTROL_ERROR);
    cr_assert_eq(flow.rx_used, 60);
    cr_assert_eq(flow_rx_use(&flow, 40), AQ_OK);
    cr_assert_eq(flow_rx_use(&flow, 0), AQ_OK);
    cr_assert_eq(flow_rx_use(&flow, 1), AQ_FLOW_CONTROL_ERROR);
}

Test(flow, reading_more_than_came_asserts, .signal = SIGABRT)
{
    struct flow flow;
    flow_init(&flow, 100, 100, 0, 0);
    flow_rx_use(&flow, 10);
    flow_rx_read(&flow, 11, 0, 0);
}

/* RFC 9000 §4.2: told when half of the window is used up, not before. */
Test(flow, update_at_half_a_window)
{
    struct flow flow;
    flow_init(&flow, 100, 100, 0, 0);
    flow_rx_use(&flow, 100);
    cr_assert_not(flow_rx_wants_update(&flow));
    cr_assert_not(flow_rx_read(&flow, 49, 0, 0));
    cr_assert(flow_rx_read(&flow, 1, 0, 0));
    cr_assert(flow_rx_wants_update(&flow));
    cr_assert_eq(flow_rx_grant(&flow), 150);
    cr_assert_not(flow_rx_wants_update(&flow));
    cr_assert_eq(flow_rx_grant(&flow), 150);
    cr_assert_eq(flow_rx_use(&flow, 50), AQ_OK);
    cr_assert_eq(flow_rx_use(&flow, 1), AQ_FLOW_CONTROL_ERROR);
}

Test(flow, no_window_wants_no_update)
{
    struct flow flow;
    flow_init(&flow, 0, 0, 100, 0);
    cr_assert_not(flow_rx_wants_update(&flow));
    cr_assert_eq(flow_rx_grant(&flow), 0);
}

/* Reads half a window, the peer fills it again. */
static void read_half(struct flow *flow, uint64_t rtt_us, uint64_t now)
{
    uint64_t half = flow->rx_window / 2;
    cr_assert_eq(flow_rx_use(flow, half), AQ_OK);
    flow_rx_read(flow, half, rtt_us, now);
    flow_rx_grant(flow);
}

Test(flow, window_doubles_when_it_is_the_limit)
{
    struct flow flow;
    flow_init(&flow, 64 * KIB, 200 * KIB, 0, 1000);
    read_half(&flow, 1000, 2999);
    cr_assert_eq(flow.rx_window, 128 * KIB);
    read_half(&flow, 1000, 4999); /* two round trips: the path is the limit */
    cr_assert_eq(flow.rx_window, 128 * KIB);
    read_half(&flow, 1000, 5000);
    cr_assert_eq(flow.rx_window, 200 * KIB); /* the maximum, not twice as much */
    read_half(&flow, 1000, 5001);
    cr_assert_eq(flow.rx_window, 200 * KIB);
    cr_assert_eq(flow.rx_max, flow.rx_read + 200 * KIB);
}

Test(flow, window_stays_while_the_rtt_is_unknown)
{
    struct flow flow;
    flow_init(&flow, 64 * KIB, 200 * KIB, 0, 1000);
    read_half(&flow, 0, 1000);
    cr_assert_eq(flow.rx_window, 64 * KIB);
}

Test(flow, a_doubled_window_is_told)
{
    struct flow flow;
    flow_init(&flow, 1000, 4000, 0, 0);
    flow_rx_use(&flow, 500);
    cr_assert(flow_rx_read(&flow, 500, 1000, 10));
    cr_assert_eq(flow_rx_grant(&flow), 2500);
}

/* RFC 9000 §16, RFC 9000 §19.8: no credit beyond 2^62 - 1. */
Test(flow, the_limit_stays_encodable)
{
    struct flow flow;
    flow_init(&flow, limit_max, limit_max, limit_max, 0);
    cr_assert_eq(flow_rx_use(&flow, limit_max), AQ_OK);
    cr_assert_not(flow_rx_read(&flow, limit_max, 1, 10));
    cr_assert_eq(flow_rx_grant(&flow), limit_max);
    cr_assert_eq(flow_rx_use(&flow, 1), AQ_FLOW_CONTROL_ERROR);
}
