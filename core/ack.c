/* ack.c -- what came in one packet number space, and when to say so.
 *
 * Received numbers are a short sorted set of ranges. Packets nearly always come in order, so the
 * common case extends the newest range in place; only a packet out of order goes through
 * range.c. A connection has one or two ranges nearly always, so only those few are in the struct;
 * a set that grows moves to a block, and back when it fits again. The set is bounded (SECURITY.md
 * row 11: alternating gaps): when it is full the lowest range is forgotten, `floor` rises above it,
 * and all below counts as received, so that nothing forgotten is ever accepted twice.
 *
 * The decision when to acknowledge is taken in two steps. ack_on_packet notes what forbids
 * waiting (reordering, a gap, a CE mark); ack_batch_end, once per batch of received datagrams,
 * decides the rest, so that a train of 44 packets costs one ACK. Packets that do not elicit an
 * ACK never cause one.
 *
 * Called by recv.c (packets), send.c (due, write), conn.c (its timer) and the ACK row of
 * records.c. RFC 9000 §12.3, §13.2, §13.4.1, §19.3. */
#include "core/ack.h"

#include <assert.h>
#include <string.h>

#include "core/antq.h"
#include "core/frame.h"

/* Back to the struct, with what fits there. */
static void ranges_home(struct ack *ack)
{
    struct range *block = ack->ranges;
    if (block == ack->first)
        return;
    memcpy(ack->first, block, ack->range_count * sizeof *block);
    quota_give(ack->quota, block, ACK_RANGES * sizeof *block);
    ack->ranges = ack->first;
    ack->range_max = ACK_FIRST;
}

static bool ranges_grow(struct ack *ack)
{
    struct range *block =
        ack->range_max < ACK_RANGES ? quota_take(ack->quota, ACK_RANGES * sizeof *block) : NULL;
    if (!block)
        return false;
    memcpy(block, ack->first, ack->range_count * sizeof *block);
    ack->ranges = block;
    ack->range_max = ACK_RANGES;
    return true;
}

void ack_init(struct ack *ack, struct quota *quota)
{
    memset(ack, 0, sizeof *ack);
    ack->due_us = AQ_NEVER;
    ack->threshold = ack->reordering = 1;
    ack->quota = quota;
    ack->ranges = ack->first;
    ack->range_max = ACK_FIRST;
}

void ack_clear(struct ack *ack)
{
    ack->range_count = 0;
    ranges_home(ack);
}

uint64_t ack_largest(const struct ack *ack)
{
    return ack->range_count ? ack->ranges[ack->range_count - 1].hi - 1 : UINT64_MAX;
}

bool ack_is_duplicate(const struct ack *ack, uint64_t number)
{
    if (number < ack->floor)
        return true;
    /* From the top: a new packet is above everything, and a late one is near the top. */
    for (unsigned i = ack->range_count; i-- > 0 && number < ack->ranges[i].hi;)
        if (number >= ack->ranges[i].lo)
            return true;
    return false;
}

/* Forgets the lowest range. RFC 9000 §13.2.3: a range may go only if packets in it will not be
 * accepted again. */
static void ranges_drop_lowest(struct ack *ack)
{
    assert(ack->range_count > 0);
    ack->floor = ack->ranges[0].hi;
    ack->range_count--;
    memmove(ack->ranges, ack->ranges + 1, ack->range_count * sizeof ack->ranges[0]);
}

/* One that comes late. False: there is no room for one more range. */
static bool ranges_insert(struct ack *ack, uint64_t number)
{
    struct range_set set = {ack->ranges, ack->range_count, ack->range_max};
    bool added = range_add(&set, number, number + 1);
    ack->range_count = set.count;
    if (set.count <= ACK_FIRST) /* it may have closed a gap */
        ranges_home(ack);
    return added;
}

static void ranges_add(struct ack *ack, uint64_t number)
{
    uint64_t next = ack->range_count ? ack->ranges[ack->range_count - 1].hi : 0;
    if (ack->range_count > 0 && number == next) {
        ack->ranges[ack->range_count - 1].hi++;
        return;
    }
    if (ack->range_count == 0 || number > next) {
        if (ack->range_count == ack->range_max && !ranges_grow(ack))
            ranges_drop_lowest(ack);
        ack->ranges[ack->range_count++] = (struct range){number, number + 1};
        return;
    }
    if (ranges_insert(ack, number) || (ranges_grow(ack) && ranges_insert(ack, number)))
        return;
    /* Full. A number below every range would be the first to be forgotten, so it is forgotten at
     * once. */
    if (number < ack->ranges[0].lo) {
        ack->floor = number + 1;
        return;
    }
    ranges_drop_lowest(ack);
    bool added = ranges_insert(ack, number);
    assert(added);
    (void)added;
}

static void count_ecn(struct ack *ack, uint8_t ecn)
{
    /* RFC 9000 §13.4.1: once per QUIC packet processed; duplicates never get here. */
    if (ecn == AQ_ECN_ECT0)
        ack->ect0++;
    else if (ecn == AQ_ECN_ECT1)
        ack->ect1++;
    else if (ecn == AQ_ECN_CE)
        ack->ce++;
}

/* The smallest number that is missing, not below from; the newest range's end when none is. */
static uint64_t missing_from(const struct ack *ack, uint64_t from)
{
    unsigned i = ack->range_count - 1;
    uint64_t missing = ack->ranges[i].hi;
    if (from < ack->floor)
        from = ack->floor;
    for (; ack->ranges[i].lo > from; i--) {
        uint64_t below = i > 0 ? ack->ranges[i - 1].hi : 0; /* what follows the range before */
        missing = below > from ? below : from;
        if (i == 0)
            break;
    }
    return missing;
}

/* draft-ietf-quic-ack-frequency §6.2: whether the packet that came tells the sender of a loss, by
 * its own threshold, or that one it took for lost was not. */
static bool is_reordered(const struct ack *ack, uint64_t number)
{
    uint64_t threshold = ack->reordering;
    /* One above the Largest Reported Missing, which an ACK of ours has told enough about. */
    uint64_t from = ack->said > threshold ? ack->said - threshold : 0;
    if (ack->said > threshold && number < from)
        return true;
    uint64_t largest = ack_largest(ack);
    uint64_t missing = missing_from(ack, from);
    return missing < largest && largest - missing >= threshold;
}

void ack_on_frequency(struct ack *ack, const struct frame *f)
{
    /* draft-ietf-quic-ack-frequency §4: only one that is newer than all before. */
    if (f->ack_frequency.seq < ack->next_seq)
        return;
    ack->next_seq = f->ack_frequency.seq + 1;
    uint64_t threshold = f->ack_frequency.threshold, reordering = f->ack_frequency.reordering;
    ack->threshold = threshold < UINT16_MAX ? (uint16_t)threshold : UINT16_MAX - 1;
    ack->reordering = reordering < UINT16_MAX ? (uint16_t)reordering : UINT16_MAX;
    assert(f->ack_frequency.max_delay_us <= UINT32_MAX);
    ack->delay_us = (uint32_t)f->ack_frequency.max_delay_us;
}

uint64_t ack_delay_asked(const struct ack *ack, uint64_t own_us)
{
    return ack->next_seq ? ack->delay_us : own_us;
}

/* Whether an eliciting packet that came out of order, or behind a gap, forbids waiting. */
static bool order_is_due(const struct ack *ack, uint64_t number, bool late)
{
    if (ack->reordering == 1) /* RFC 9000 §13.2.1: late, or packets are missing before it */
        return late || ack->gap;
    return ack->reordering && is_reordered(ack, number);
}

/* RFC 9000 §13.2.1: each CE mark; draft-ietf-quic-ack-frequency §6.3: where fewer ACKs were asked
 * for, the first of a run. */
static bool mark_is_due(const struct ack *ack, uint8_t ecn)
{
    return ecn == AQ_ECN_CE && (ack->threshold <= 1 || !ack->ce_before);
}

/* Nearly all packets: the next one, nothing is missing, no mark. Only their count asks for an ACK.
 */
static void on_next(struct ack *ack, bool eliciting, uint8_t ecn, uint64_t now)
{
    ack->ranges[0].hi++;
    ack->any = true;
    ack->largest_time_us = now;
    ack->ce_before = false;
    count_ecn(ack, ecn);
    if (eliciting && ack->eliciting < UINT16_MAX)
        ack->eliciting++;
}

void ack_on_packet(struct ack *ack, uint64_t number, bool eliciting, uint8_t ecn, uint64_t now)
{
    assert(number <= VARINT_MAX);
    if (ack->range_count == 1 && number == ack->ranges[0].hi && ecn != AQ_ECN_CE && !ack->gap) {
        on_next(ack, eliciting, ecn, now);
        return;
    }
    assert(!ack_is_duplicate(ack, number));
    bool first = ack->range_count == 0;
    uint64_t largest = first ? 0 : ack_largest(ack);
    bool late = !first && number < largest;
    if (!first && number > largest + 1)
        ack->gap = true;
    ranges_add(ack, number);
    ack->any = true;
    if (!late)
        ack->largest_time_us = now;
    count_ecn(ack, ecn);
    bool marked = mark_is_due(ack, ecn);
    ack->ce_before = ecn == AQ_ECN_CE;
    if (!eliciting)
        return; /* RFC 9000 §13.2.1: no ACK in response to it, whatever gaps precede it */
    if (ack->eliciting < UINT16_MAX)
        ack->eliciting++;
    /* RFC 9000 §13.2.1: without delay when it comes late, when packets are missing between the
     * eliciting packet before and this one, or when it bears a CE mark. */
    if (marked || order_is_due(ack, number, late))
        ack->now = true;
    ack->gap = false;
}

void ack_batch_end(struct ack *ack, bool immediate, uint64_t max_delay_us, uint64_t now)
{
    if (ack->eliciting == 0 || ack->now)
        return;
    /* RFC 9000 §13.2.2: after two eliciting packets; more of one batch share the one ACK.
     * RFC 9000 §13.2.1: Initial and Handshake packets at once, all others within max_ack_delay of
     * the first that waits.
     * draft-ietf-quic-ack-frequency §6: after as many as the peer asked for. */
    uint64_t due_us = max_delay_us < AQ_NEVER - now ? now + max_delay_us : AQ_NEVER - 1;
    if (immediate || ack->eliciting > ack->threshold)
        ack->now = true;
    else if (due_us < ack->due_us)
        ack->due_us = due_us;
}

bool ack_is_due(const struct ack *ack, uint64_t now)
{
    return ack->now || ack->due_us <= now;
}

bool ack_is_worth(const struct ack *ack)
{
    return ack->eliciting > 0;
}

/* How many of the ranges fit into size bytes after the fields before them, newest first. Counts
 * are at most 31, so the ACK Range Count always takes one byte. */
static unsigned ranges_fitting(const struct ack *ack, size_t size)
{
    unsigned fitting = 0;
    size_t used = 0;
    for (unsigned i = ack->range_count; i-- > 0; fitting++) {
        const struct range *range = &ack->ranges[i];
        used += varint_size(range->hi - range->lo - 1);
        if (fitting > 0)
            used += varint_size(range[1].lo - range->hi - 1);
        if (used > size)
            break;
    }
    return fitting;
}

uint64_t ack_write(struct ack *ack, struct writer *w, uint8_t delay_exponent, uint64_t now)
{
    static_assert(ACK_RANGES <= 64, "the range count takes one byte");
    if (ack->range_count == 0 || w->bad)
        return UINT64_MAX;
    uint64_t largest = ack_largest(ack);
    /* RFC 9000 §13.2.5: the time between the largest one's coming and this ACK. */
    uint64_t delay = now > ack->largest_time_us ? now - ack->largest_time_us : 0;
    assert(delay_exponent <= 20);
    delay >>= delay_exponent;
    if (delay > VARINT_MAX)
        delay = VARINT_MAX;
    bool ecn = (ack->ect0 | ack->ect1 | ack->ce) != 0;
    size_t fixed = 1 + varint_size(largest) + varint_size(delay) + 1;
    if (ecn)
        fixed += varint_size(ack->ect0) + varint_size(ack->ect1) + varint_size(ack->ce);
    size_t left = writer_left(w);
    unsigned count = left > fixed ? ranges_fitting(ack, left - fixed) : 0;
    if (count == 0)
        return UINT64_MAX;

    /* RFC 9000 §19.3.1: from the largest down; a gap or a range is written one less than it is
     * long. */
    const struct range *range = &ack->ranges[ack->range_count - 1];
    write_varint(w, ecn ? FRAME_ACK_ECN : FRAME_ACK);
    write_varint(w, largest);
    write_varint(w, delay);
    write_varint(w, count - 1);
    write_varint(w, range->hi - range->lo - 1);
    for (unsigned i = 1; i < count; i++) {
        range--;
        write_varint(w, range[1].lo - range->hi - 1);
        write_varint(w, range->hi - range->lo - 1);
    }
    if (ecn) { /* RFC 9000 §19.3.2 */
        write_varint(w, ack->ect0);
        write_varint(w, ack->ect1);
        write_varint(w, ack->ce);
    }
    assert(!w->bad);
    ack->said = largest + 1;
    ack->eliciting = 0;
    ack->now = false;
    ack->any = false;
    ack->due_us = AQ_NEVER;
    return largest;
}

void ack_on_acked(struct ack *ack, uint64_t largest)
{
    /* RFC 9000 §13.2.4. The newest range stays whole: it holds the largest number, which packet
     * number decoding needs. */
    while (ack->range_count > 1 && ack->ranges[0].hi - 1 <= largest)
        ranges_drop_lowest(ack);
    if (ack->range_count > 1 && ack->ranges[0].lo <= largest) {
        ack->ranges[0].lo = largest + 1;
        ack->floor = largest + 1;
    }
    if (ack->range_count <= ACK_FIRST)
        ranges_home(ack);
}
