/* loss.c -- which packets arrived, which are lost, and how long the way is.
 *
 * An ACK is checked whole, then applied, then losses are looked for: three calls, because the
 * caller takes the RTT sample in between (RFC 9002 §A.7). Nothing is searched: an ACK range is
 * cut to the ring's [first, next), and only packets inside are visited. Whatever stands more
 * than the packet threshold below the largest acknowledged is finished by the same ACK and
 * trimmed from the front by the caller, so the part of the ring that a later ACK can name again
 * is a handful of packets. Work is thus bounded by the packets newly named plus the ranges.
 *
 * A packet that was given up may come after all (reordering, a network that paused). Lost packets
 * are chained through their slots, newest first, also after the ring has let go of them; an ACK is
 * compared with the newest few. What is found there undoes the congestion event (cc.c) and raises
 * the thresholds a little (rtt_adapt).
 *
 * Times come from a clock that may jump: sums saturate and an RTT sample is at most RTT_MAX_US
 * (SECURITY.md row 24).
 *
 * Called by recv.c (ACK) and conn.c (timers, keys discarded). RFC 9002 §5, §6.1, §6.2.1, §6.4,
 * §7.6; RFC 9000 §13.1. */
#include "core/loss.h"
#include "core/num.h"

#include <assert.h>
#include <string.h>

/* No path is longer; a longer sample is a clock that jumped or a host that slept. */
enum {
    RTT_MAX_US = 60000000,
    PERSISTENT_THRESHOLD = 3,
    LATE_LOOK = 32, /* lost packets that an ACK is compared with */
    CALM_REPORTS = 16
};

static uint64_t sat_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t sat_sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* ---- round-trip time ------------------------------------------------------------------------ */

void rtt_init(struct rtt *rtt)
{
    /* RFC 9002 §5.3, §6.2.2 */
    *rtt = (struct rtt){.smoothed_us = LOSS_RTT_INITIAL_US,
                        .var_us = LOSS_RTT_INITIAL_US / 2,
                        .first_sample_us = AQ_NEVER};
}

void rtt_guess(struct rtt *rtt, uint64_t guess_us)
{
    assert(rtt->first_sample_us == AQ_NEVER);
    rtt->smoothed_us = guess_us < 1 ? 1 : guess_us > RTT_MAX_US ? RTT_MAX_US : guess_us;
    rtt->var_us = rtt->smoothed_us / 2;
}

void rtt_sample(struct rtt *rtt, uint64_t latest_us, uint64_t ack_delay_us, uint64_t now)
{
    /* At least 1, so that nobody divides by zero. */
    latest_us = latest_us < 1 ? 1 : latest_us > RTT_MAX_US ? RTT_MAX_US : latest_us;
    rtt->latest_us = latest_us;
    if (rtt->first_sample_us == AQ_NEVER) {
        rtt->min_us = latest_us; /* RFC 9002 §5.2 */
        rtt->smoothed_us = latest_us;
        rtt->var_us = latest_us / 2;
        rtt->first_sample_us = now;
        return;
    }
    /* RFC 9002 §5.2: what the peer reports has no part in the minimum. */
    if (latest_us < rtt->min_us)
        rtt->min_us = latest_us;
    /* RFC 9002 §5.3: the delay is taken off only if the rest is not below the minimum. Written
     * as a difference: the reported delay may be anything. */
    uint64_t adjusted_us = latest_us;
    if (ack_delay_us <= latest_us - rtt->min_us)
        adjusted_us -= ack_delay_us;
    /* The variation first, against the smoothed value before this sample, as in §A.7
     * and RFC 6298. */
    uint64_t off_us = adjusted_us > rtt->smoothed_us ? adjusted_us - rtt->smoothed_us
                                                     : rtt->smoothed_us - adjusted_us;
    rtt->var_us = (3 * rtt->var_us + off_us) / 4;
    rtt->smoothed_us = (7 * rtt->smoothed_us + adjusted_us) / 8;
}

void rtt_on_persistent(struct rtt *rtt)
{
    rtt->min_us = rtt->latest_us; /* RFC 9002 §5.2 */
}

static uint64_t threshold_us(const struct rtt *rtt)
{
    /* RFC 9002 §6.1.2: max(9/8 * max(smoothed_rtt, latest_rtt), kGranularity) */
    uint64_t rtt_us = max_u64(rtt->smoothed_us, rtt->latest_us);
    unsigned eighths = LOSS_TIME_EIGHTHS + rtt->reorder_eighths;
    return max_u64(rtt_us / 8 * eighths + rtt_us % 8 * eighths / 8, LOSS_GRANULARITY_US);
}

void rtt_adapt(struct rtt *rtt, const struct loss_path *sum)
{
    unsigned packets = LOSS_PACKET_THRESHOLD + rtt->reorder_packets;
    if (sum->spurious_packets) {
        rtt->calm = 0;
        /* RFC 9002 §6.1.1: at most doubled at once. */
        if (sum->spurious_distance >= packets) {
            packets =
                packets * 2 < LOSS_PACKET_THRESHOLD_MAX ? packets * 2 : LOSS_PACKET_THRESHOLD_MAX;
            rtt->reorder_packets = (uint8_t)(packets - LOSS_PACKET_THRESHOLD);
        }
        /* RFC 9002 §6.1.2 */
        if (sum->spurious_late_us > threshold_us(rtt)
            && rtt->reorder_eighths < LOSS_TIME_EIGHTHS_MAX - LOSS_TIME_EIGHTHS)
            rtt->reorder_eighths++;
    } else if (sum->lost_packets && (rtt->reorder_packets || rtt->reorder_eighths)
               && ++rtt->calm >= CALM_REPORTS) {
        rtt->calm = 0;
        rtt->reorder_packets /= 2;
        rtt->reorder_eighths /= 2;
    }
}

uint64_t rtt_pto(const struct rtt *rtt)
{
    return rtt->smoothed_us + max_u64(4 * rtt->var_us, LOSS_GRANULARITY_US);
}

/* ---- acknowledgments ------------------------------------------------------------------------ */

static void records_tell(const struct sent_ring *ring, const struct sent *sent, void *arg,
                         void (*tell)(void *arg, const struct record *record))
{
    for (uint32_t i = 0; i < sent->records; i++)
        tell(arg, sent_record_at(ring, sent->record + i));
}

/* A packet known to be in the ring. */
static struct sent *slot(const struct sent_ring *ring, uint64_t number)
{
    return &ring->v[number & (ring->cap - 1)];
}

/* Cuts a range to what is in the ring. False: nothing left. */
static bool range_clip(const struct sent_ring *ring, uint64_t *lo, uint64_t *hi)
{
    if (*lo < ring->first)
        *lo = ring->first;
    if (*hi > ring->next)
        *hi = ring->next;
    return *lo < *hi;
}

/* Changes nothing. The newest skipped number is remembered beyond its life in the ring; the ring
 * is looked through for older ones only while the newest is in it. */
static int ack_check(const struct sent_ring *ring, const struct frame_ack *ack)
{
    if (ack->largest >= ring->next)
        return AQ_PROTOCOL_VIOLATION; /* RFC 9000 §13.1: never sent */
    if (ring->skipped == UINT64_MAX)
        return AQ_OK;
    struct ack_iter it;
    uint64_t lo, hi;
    for (ack_iter_init(&it, ack); ack_iter_next(&it, &lo, &hi);) {
        if (ring->skipped >= lo && ring->skipped < hi)
            return AQ_PROTOCOL_VIOLATION; /* RFC 9000 §21.4: an optimistic ACK */
        if (hi <= ring->first && ring->skipped >= hi)
            break; /* all that follows is older still */
        if (ring->skipped < ring->first || !range_clip(ring, &lo, &hi))
            continue;
        for (uint64_t number = lo; number < hi; number++)
            if (slot(ring, number)->state == SENT_SKIPPED)
                return AQ_PROTOCOL_VIOLATION;
    }
    return AQ_OK;
}

static void packet_acked(struct sent_ring *ring, struct sent *sent, struct loss_result *result)
{
    assert(sent->path < PATHS_MAX);
    sent->state = SENT_ACKED;
    result->any_acked = true;
    if (sent->flags & SENT_ELICITING) {
        assert(ring->eliciting_in_flight > 0);
        ring->eliciting_in_flight--;
        result->eliciting_acked = true;
    }
    if (sent->flags & SENT_ECT)
        result->ect_acked++;
    if (!(sent->flags & SENT_IN_FLIGHT))
        return;
    struct loss_path *path = &result->path[sent->path];
    path->acked_bytes += sent->size;
    if (sent->size > path->acked_largest)
        path->acked_largest = sent->size;
    if (path->acked_packets++ == 0 || sent->time_us >= path->acked_newest_sent_us) {
        path->acked_newest_sent_us = sent->time_us;
        path->app_limited = (sent->flags & SENT_APP_LIMITED) != 0;
    }
}

/* Lost packets that this ACK names after all, among the newest. Both the chain and the ACK go
 * downwards. */
static void late_look(const struct sent_ring *ring, const struct frame_ack *ack,
                      struct loss_result *result, uint64_t now)
{
    uint64_t number = ring->lost, kept = sent_kept(ring), lo = UINT64_MAX, hi = UINT64_MAX;
    struct ack_iter it;
    ack_iter_init(&it, ack);
    for (unsigned i = 0; i < LATE_LOOK && number >= kept; i++) {
        while (number < lo)
            if (!ack_iter_next(&it, &lo, &hi))
                return;
        struct sent *sent = slot(ring, number);
        struct loss_path *path = &result->path[sent->path];
        uint64_t back = sent->record;
        if (number < hi && sent->state == SENT_LOST) {
            sent->state = SENT_ACKED;
            result->any_acked = true;
            path->spurious_packets++;
            path->spurious_oldest_sent_us = sent->time_us;
            path->spurious_distance = max_u64(path->spurious_distance, ack->largest - number);
            path->spurious_late_us = max_u64(path->spurious_late_us, sat_sub(now, sent->time_us));
        }
        if (back == 0 || back > number)
            return;
        number -= back;
    }
}

/* Its records' fate is told: the slot can bear the chain. MTU probes say nothing about reordering;
 * what is lost out of order, on another path, is not remembered. */
static void late_remember(struct sent_ring *ring, struct sent *sent, uint64_t number)
{
    if (sent->flags & SENT_MTU_PROBE || (ring->lost != UINT64_MAX && number < ring->lost))
        return;
    uint64_t back = ring->lost == UINT64_MAX ? 0 : number - ring->lost;
    sent->record = back < UINT32_MAX ? (uint32_t)back : 0;
    ring->lost = number;
}

int loss_on_ack(struct sent_ring *ring, const struct frame_ack *ack, const struct loss_sink *sink,
                void *arg, struct loss_result *result, uint64_t now)
{
    memset(result, 0, sizeof *result);
    int error = ack_check(ring, ack);
    if (error)
        return error;

    const struct sent *largest = sent_at(ring, ack->largest);
    bool largest_new = largest && largest->state == SENT_OUTSTANDING;
    struct ack_iter it;
    uint64_t lo, hi;
    for (ack_iter_init(&it, ack); ack_iter_next(&it, &lo, &hi) && hi > ring->first;) {
        if (!range_clip(ring, &lo, &hi))
            continue;
        for (uint64_t number = lo; number < hi; number++) {
            struct sent *sent = slot(ring, number);
            if (sent->state != SENT_OUTSTANDING)
                continue;
            packet_acked(ring, sent, result);
            sink->packet(arg, sent, number, false);
            records_tell(ring, sent, arg, sink->acked);
        }
    }
    if (ring->largest_acked == UINT64_MAX || ack->largest > ring->largest_acked)
        ring->largest_acked = ack->largest;
    if (ring->lost != UINT64_MAX)
        late_look(ring, ack, result, now);
    /* RFC 9002 §5.1 */
    if (largest_new && result->eliciting_acked) {
        result->has_sample = true;
        result->sample_us = sat_sub(now, largest->time_us);
        result->sample_path = largest->path;
    }
    return AQ_OK;
}

/* ---- losses --------------------------------------------------------------------------------- */

/* What one walk needs of one path. */
struct loss_walk {
    uint64_t delay_us;        /* §6.1.2: the time threshold */
    unsigned packets;         /* §6.1.1: the packet threshold */
    uint64_t persistent_us;   /* §7.6.1: the duration */
    uint64_t first_sample_us; /* §7.6.2: packets sent before do not count */
    uint64_t run_start_us;    /* sending time of the first lost packet of the present run */
    bool run;
};

static void walk_init(struct loss_walk *walk, const struct rtt *rtt, uint64_t max_ack_delay_us)
{
    walk->delay_us = threshold_us(rtt);
    walk->packets = LOSS_PACKET_THRESHOLD + rtt->reorder_packets;
    /* RFC 9002 §7.6.1. The peer's max_ack_delay is below 2^14 ms; what is more is not believed. */
    if (max_ack_delay_us > RTT_MAX_US)
        max_ack_delay_us = RTT_MAX_US;
    walk->persistent_us = (rtt_pto(rtt) + max_ack_delay_us) * PERSISTENT_THRESHOLD;
    walk->first_sample_us = rtt->first_sample_us;
    walk->run_start_us = 0;
    walk->run = false;
}

/* The RTT of a path, or of the first one left where it is gone, or the initial one where none is
 * left. */
static const struct rtt *rtt_of(const struct rtt *const rtt[PATHS_MAX], unsigned path)
{
    static const struct rtt initial = {.smoothed_us = LOSS_RTT_INITIAL_US,
                                       .var_us = LOSS_RTT_INITIAL_US / 2,
                                       .first_sample_us = AQ_NEVER};
    if (rtt[path])
        return rtt[path];
    for (unsigned i = 0; i < PATHS_MAX; i++)
        if (rtt[i])
            return rtt[i];
    return &initial;
}

/* RFC 9002 §7.6.2: persistent congestion is two eliciting packets of this path lost in one walk,
 * both sent after its first RTT sample, more than the duration apart, and no packet of this path
 * and space between them acknowledged (each acknowledged one ends the run). MTU probes say
 * nothing about congestion. */
static void run_extend(struct loss_walk *walk, const struct sent *sent, struct loss_path *path)
{
    if (!(sent->flags & SENT_ELICITING) || sent->flags & SENT_MTU_PROBE
        || sent->time_us <= walk->first_sample_us)
        return;
    if (!walk->run) {
        walk->run = true;
        walk->run_start_us = sent->time_us;
    } else if (sat_sub(sent->time_us, walk->run_start_us) > walk->persistent_us) {
        path->persistent = true;
    }
}

static void packet_lost(struct sent_ring *ring, struct sent *sent, struct loss_path *path)
{
    sent->state = SENT_LOST;
    if (sent->flags & SENT_ELICITING) {
        assert(ring->eliciting_in_flight > 0);
        ring->eliciting_in_flight--;
    }
    path->lost_bytes += sent->size;
    /* RFC 9000 §14.4: a lost MTU probe leaves the flight and is no sign of congestion. */
    if (sent->flags & SENT_MTU_PROBE)
        return;
    path->lost_packets++;
    if (sent->size > path->lost_largest)
        path->lost_largest = sent->size;
    path->lost_newest_sent_us = max_u64(path->lost_newest_sent_us, sent->time_us);
}

/* RFC 9002 §6.1.1: three packets sent later (or what the threshold is by now), one of them or one
 * still later acknowledged. A number that we skipped is no packet (RFC 9002 §A.10). */
static bool number_lost(const struct sent_ring *ring, uint64_t number, unsigned threshold)
{
    unsigned later = 0;
    for (uint64_t i = number + 1; i <= ring->largest_acked && later < threshold; i++)
        later += slot(ring, i)->state != SENT_SKIPPED;
    return later >= threshold;
}

void loss_detect(struct sent_ring *ring, const struct rtt *const rtt[PATHS_MAX],
                 uint64_t max_ack_delay_us, const struct loss_sink *sink, void *arg,
                 struct loss_result *result, uint64_t now)
{
    ring->loss_time_us = AQ_NEVER;
    if (ring->largest_acked == UINT64_MAX)
        return;
    struct loss_walk walks[PATHS_MAX];
    for (unsigned i = 0; i < PATHS_MAX; i++)
        walk_init(&walks[i], rtt_of(rtt, i), max_ack_delay_us);

    /* RFC 9002 §6.1: only what was sent before an acknowledged packet. The walk does not stop at
     * the first packet that is left: at most a threshold's worth follow, and on another path one
     * of them may be due earlier. */
    for (uint64_t number = ring->first; number < ring->next && number < ring->largest_acked;
         number++) {
        struct sent *sent = slot(ring, number);
        struct loss_walk *walk = &walks[sent->path];
        if (sent->state == SENT_ACKED)
            walk->run = false;
        if (sent->state != SENT_OUTSTANDING || !(sent->flags & SENT_IN_FLIGHT))
            continue;
        uint64_t due_us = sat_add(sent->time_us, walk->delay_us);
        if (due_us > now && !number_lost(ring, number, walk->packets)) {
            if (due_us < ring->loss_time_us)
                ring->loss_time_us = due_us;
            continue;
        }
        packet_lost(ring, sent, &result->path[sent->path]);
        run_extend(walk, sent, &result->path[sent->path]);
        sink->packet(arg, sent, number, true);
        records_tell(ring, sent, arg, sink->lost);
        late_remember(ring, sent, number);
    }
}

void loss_forget(struct sent_ring *ring, struct quota *quota, bool resend,
                 const struct loss_sink *sink, void *arg, uint64_t bytes[PATHS_MAX])
{
    memset(bytes, 0, PATHS_MAX * sizeof bytes[0]);
    for (uint64_t number = ring->first; number < ring->next; number++) {
        struct sent *sent = slot(ring, number);
        if (sent->state != SENT_OUTSTANDING || !(sent->flags & SENT_IN_FLIGHT))
            continue;
        bytes[sent->path] += sent->size; /* RFC 9002 §6.4, §B.9 */
        sent->state = SENT_LOST;
        if (resend)
            records_tell(ring, sent, arg, sink->lost);
    }
    sent_clear(ring, quota);
    ring->last_eliciting_us = 0; /* RFC 9002 §A.11 */
}
