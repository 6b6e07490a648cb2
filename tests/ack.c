/* ack.c -- tests of core/ack.c (RFC 9000 §13.2): what is remembered, when an ACK is due, and
 * what it says.
 *
 * Frames are read back with frame_decode and ack_iter and compared with a plain array of the
 * numbers received. */
#include "core/ack.h"
#include "core/antq.h"
#include "core/frame.h"

#include <criterion/criterion.h>

enum {
    DELAY_US = 25000
};

static struct quota quota;

/* With memory of its own, all of it free. */
static void begin(struct ack *ack)
{
    static _Alignas(64) uint8_t memory[16 << 10];
    static struct arena arena;
    enum {
        BYTES = 8 << 10
    };
    cr_assert(arena_size(BYTES) <= sizeof memory);
    memset(memory, 0, sizeof memory);
    arena_init(&arena, memory, BYTES);
    quota = (struct quota){.arena = &arena, .max_bytes = BYTES};
    ack_init(ack, &quota);
}

static void come(struct ack *ack, uint64_t number, uint64_t now)
{
    ack_on_packet(ack, number, true, AQ_ECN_NOT, now);
}

static void end(struct ack *ack, uint64_t now)
{
    ack_batch_end(ack, false, DELAY_US, now);
}

/* Takes the ACK out, so that the next packet starts afresh. */
static uint64_t take(struct ack *ack, uint64_t now)
{
    uint8_t bytes[512];
    struct writer w = writer_make(bytes, sizeof bytes);
    return ack_write(ack, &w, 3, now);
}

/* Writes an ACK into size bytes and decodes it; false when none was written. */
static bool write_read(struct ack *ack, uint8_t *bytes, size_t size, uint64_t now, struct frame *f)
{
    struct writer w = writer_make(bytes, size);
    uint64_t largest = ack_write(ack, &w, 3, now);
    if (largest == UINT64_MAX) {
        cr_expect_eq(w.p, bytes, "nothing was written");
        cr_expect(!w.bad, "the writer can still be used");
        return false;
    }
    struct reader r = reader_make(bytes, (size_t)(w.p - bytes));
    cr_assert_eq(frame_decode(&r, f), AQ_OK);
    cr_assert_eq(reader_left(&r), 0);
    cr_expect_eq(f->ack.largest, largest);
    return true;
}

/* ---- when ----------------------------------------------------------------------------------- */

/* RFC 9000 §13.2.1: within max_ack_delay; RFC 9000 §13.2.2: the second eliciting packet does not
 * wait. */
Test(ack, lone_packet_waits_second_does_not)
{
    struct ack ack;
    begin(&ack);
    cr_expect(!ack_is_due(&ack, UINT64_MAX - 1));
    come(&ack, 0, 1000);
    end(&ack, 1000);
    cr_expect(ack_is_worth(&ack));
    cr_expect(!ack_is_due(&ack, 1000));
    cr_expect_eq(ack.due_us, 1000 + DELAY_US);
    cr_expect(!ack_is_due(&ack, 1000 + DELAY_US - 1));
    cr_expect(ack_is_due(&ack, 1000 + DELAY_US));
    come(&ack, 1, 2000);
    end(&ack, 2000);
    cr_expect(ack_is_due(&ack, 2000));
    cr_expect_eq(take(&ack, 2000), 1);
    cr_expect(!ack_is_due(&ack, UINT64_MAX - 1));
    cr_expect(!ack_is_worth(&ack));
}

/* RFC 9000 §13.2.1: the delay counts from the first packet that waits, and no batch moves it. */
Test(ack, delay_is_not_prolonged)
{
    struct ack ack;
    begin(&ack);
    come(&ack, 0, 1000);
    end(&ack, 1000);
    ack_on_packet(&ack, 1, false, AQ_ECN_NOT, 5000);
    end(&ack, 5000);
    cr_expect_eq(ack.due_us, 1000 + DELAY_US);
    begin(&ack);
    come(&ack, 0, UINT64_MAX - 10); /* a clock at its end: due, but never AQ_NEVER */
    end(&ack, UINT64_MAX - 10);
    cr_expect_eq(ack.due_us, UINT64_MAX - 1);
}

/* RFC 9000 §13.2.2: many packets processed before the decision give one ACK. */
Test(ack, train_gives_one)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t n = 0; n < 44; n++)
        come(&ack, n, 7);
    cr_expect(!ack_is_due(&ack, 7), "not in the middle of a batch");
    end(&ack, 7);
    cr_expect(ack_is_due(&ack, 7));
    cr_expect_eq(ack.range_count, 1);
    cr_expect_eq(take(&ack, 7), 43);
    end(&ack, 8);
    cr_expect(!ack_is_due(&ack, 8 + DELAY_US));
}

/* RFC 9000 §13.2.1: Initial and Handshake packets at once. */
Test(ack, immediate_spaces)
{
    struct ack ack;
    begin(&ack);
    come(&ack, 0, 1);
    ack_batch_end(&ack, true, DELAY_US, 1);
    cr_expect(ack_is_due(&ack, 1));
}

/* RFC 9000 §13.2.1: a packet that elicits nothing gets nothing, even out of order or with CE. */
Test(ack, never_for_non_eliciting)
{
    struct ack ack;
    begin(&ack);
    ack_on_packet(&ack, 5, false, AQ_ECN_NOT, 1);
    ack_on_packet(&ack, 9, false, AQ_ECN_CE, 2);
    ack_on_packet(&ack, 3, false, AQ_ECN_NOT, 3);
    ack_batch_end(&ack, true, DELAY_US, 3);
    cr_expect(!ack_is_due(&ack, UINT64_MAX - 1));
    cr_expect(!ack_is_worth(&ack));
    cr_expect(ack.any);
    /* but they are acknowledged once something else asks for an ACK */
    struct frame f;
    uint8_t bytes[64];
    cr_assert(write_read(&ack, bytes, sizeof bytes, 10, &f));
    cr_expect_eq(f.ack.range_count, 2);
    cr_expect(!ack.any);
}

/* RFC 9000 §13.2.1: late ones, gaps and CE marks are told without delay; in order is not. */
Test(ack, out_of_order_at_once)
{
    struct ack ack;
    begin(&ack);
    come(&ack, 10, 1); /* nothing came before: nothing is known to be missing */
    end(&ack, 1);
    cr_expect(!ack_is_due(&ack, 1));
    take(&ack, 1);
    come(&ack, 12, 2); /* a gap */
    cr_expect(ack_is_due(&ack, 2));
    take(&ack, 2);
    come(&ack, 11, 3); /* late, even though it fills the gap */
    cr_expect(ack_is_due(&ack, 3));
    cr_expect_eq(ack.range_count, 1);
    take(&ack, 3);
    come(&ack, 13, 4);
    end(&ack, 4);
    cr_expect(!ack_is_due(&ack, 4));
    take(&ack, 4);
    ack_on_packet(&ack, 14, true, AQ_ECN_CE, 5);
    cr_expect(ack_is_due(&ack, 5));
    take(&ack, 5);
    ack_on_packet(&ack, 20, false, AQ_ECN_NOT, 6); /* the gap comes with a silent packet */
    end(&ack, 6);
    cr_expect(!ack_is_due(&ack, 6));
    come(&ack, 21, 7); /* and is told with the next eliciting one */
    cr_expect(ack_is_due(&ack, 7));
    take(&ack, 7);
    come(&ack, 22, 8);
    end(&ack, 8);
    cr_expect(!ack_is_due(&ack, 8), "told once");
}

/* ---- what ----------------------------------------------------------------------------------- */

/* RFC 9000 §12.3: no packet is processed twice. */
Test(ack, duplicates)
{
    struct ack ack;
    begin(&ack);
    cr_expect(!ack_is_duplicate(&ack, 0));
    cr_expect_eq(ack_largest(&ack), UINT64_MAX);
    come(&ack, 0, 1);
    come(&ack, 2, 1);
    cr_expect(ack_is_duplicate(&ack, 0));
    cr_expect(!ack_is_duplicate(&ack, 1));
    cr_expect(ack_is_duplicate(&ack, 2));
    cr_expect(!ack_is_duplicate(&ack, 3));
    come(&ack, VARINT_MAX, 1);
    cr_expect(ack_is_duplicate(&ack, VARINT_MAX));
    cr_expect_eq(ack_largest(&ack), VARINT_MAX);
}

/* RFC 9000 §13.2.3: the number of ranges is limited; forgotten ones are never accepted again.
 * SECURITY.md row 11. */
Test(ack, alternating_gaps_are_bounded)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t i = 0; i < 1000000; i++) {
        cr_assert(!ack_is_duplicate(&ack, 2 * i));
        come(&ack, 2 * i, i);
        cr_assert(ack.range_count <= ACK_RANGES);
    }
    cr_expect_eq(ack.range_count, ACK_RANGES);
    cr_expect_eq(ack.floor, 2 * (1000000 - ACK_RANGES - 1) + 1);
    cr_expect(ack_is_duplicate(&ack, 0));
    cr_expect(ack_is_duplicate(&ack, ack.floor - 2), "a gap below the floor");
    cr_expect(!ack_is_duplicate(&ack, ack.floor));
}

Test(ack, full_and_a_late_packet)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t i = 0; i < ACK_RANGES; i++)
        come(&ack, 100 + 4 * i, 1);
    cr_expect_eq(ack.floor, 0);
    come(&ack, 50, 1); /* lowest of all: forgotten at once */
    cr_expect_eq(ack.range_count, ACK_RANGES);
    cr_expect_eq(ack.ranges[0].lo, 100);
    cr_expect_eq(ack.floor, 51);
    come(&ack, 106, 1); /* between: the lowest range makes room */
    cr_expect_eq(ack.range_count, ACK_RANGES);
    cr_expect_eq(ack.floor, 101);
    cr_expect_eq(ack.ranges[0].lo, 104);
    cr_expect(ack_is_duplicate(&ack, 106));
    come(&ack, 105, 1); /* joins two */
    cr_expect_eq(ack.range_count, ACK_RANGES - 1);
    cr_expect_eq(ack.ranges[0].hi, 107);
}

/* More ranges than a few borrow a block, and give it back when they are few again. */
Test(ack, memory_only_for_many)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t i = 0; i < ACK_FIRST; i++)
        come(&ack, 10 * i, 1);
    cr_expect_eq(quota.used_bytes, 0);
    come(&ack, 5, 1); /* one more, in between */
    cr_expect_eq(ack.range_count, ACK_FIRST + 1);
    cr_expect_eq(quota.used_bytes, arena_round(ACK_RANGES * sizeof(struct range)));
    for (uint64_t n = 1; n < 10; n++)
        if (n != 5)
            come(&ack, n, 1); /* gaps close */
    cr_expect_eq(ack.range_count, ACK_FIRST - 1);
    cr_expect_eq(quota.used_bytes, 0);
    cr_expect(ack.ranges[0].lo == 0 && ack.ranges[0].hi == 11);

    come(&ack, 40, 1);
    come(&ack, 50, 1); /* one more, above all */
    cr_expect_gt(quota.used_bytes, 0);
    ack_on_acked(&ack, 30);
    cr_expect_eq(ack.range_count, 2);
    cr_expect_eq(quota.used_bytes, 0);
    cr_expect(ack.ranges[0].lo == 40 && ack_largest(&ack) == 50);

    for (uint64_t n = 60; n < 100; n += 2)
        come(&ack, n, 1);
    cr_expect_gt(quota.used_bytes, 0);
    ack_clear(&ack);
    cr_expect_eq(quota.used_bytes, 0);
}

/* Where no memory is left the few are the bound: nothing is accepted twice all the same. */
Test(ack, without_memory_a_few_are_kept)
{
    struct ack ack;
    begin(&ack);
    quota.max_bytes = 0;
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert(!ack_is_duplicate(&ack, 2 * i));
        come(&ack, 2 * i, i);
        cr_assert(ack.range_count <= ACK_FIRST);
    }
    cr_expect_eq(ack.floor, 2 * (100 - ACK_FIRST - 1) + 1);
    come(&ack, 197, 100); /* joins two */
    cr_expect_eq(ack.range_count, ACK_FIRST - 1);
    cr_expect(ack_is_duplicate(&ack, 4) && !ack_is_duplicate(&ack, ack.floor));
}

/* RFC 9000 §19.3.1: the worked bytes of one frame. */
Test(ack, bytes)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t n = 0; n <= 10; n++)
        if (n != 3 && n != 6 && n != 7)
            come(&ack, n, 1000);
    uint8_t bytes[64];
    struct writer w = writer_make(bytes, sizeof bytes);
    cr_expect_eq(ack_write(&ack, &w, 3, 1000 + 80), 10);
    /* 8-10, gap of 2 (6, 7), 4-5, gap of 1 (3), 0-2; delay 80 us >> 3 */
    const uint8_t expect[] = {0x02, 10, 10, 2, 2, 1, 1, 0, 2};
    cr_assert_eq((size_t)(w.p - bytes), sizeof expect);
    cr_expect_arr_eq(bytes, expect, sizeof expect);
}

/* RFC 9000 §13.2.5: the delay of the largest, not of one that came late; saturated at both ends. */
Test(ack, delay)
{
    struct ack ack;
    struct frame f;
    uint8_t bytes[64];
    begin(&ack);
    come(&ack, 5, 1000);
    come(&ack, 4, 9000);
    cr_assert(write_read(&ack, bytes, sizeof bytes, 9800, &f));
    cr_expect_eq(f.ack.delay, 8800 >> 3);
    cr_assert(write_read(&ack, bytes, sizeof bytes, 10, &f));
    cr_expect_eq(f.ack.delay, 0, "a clock that went back");
    struct writer w = writer_make(bytes, sizeof bytes);
    cr_assert_eq(ack_write(&ack, &w, 0, UINT64_MAX), 5);
    struct reader r = reader_make(bytes, (size_t)(w.p - bytes));
    cr_assert_eq(frame_decode(&r, &f), AQ_OK);
    cr_expect_eq(f.ack.delay, VARINT_MAX);
}

/* RFC 9000 §13.4.1, RFC 9000 §19.3.2: each mark is counted once per packet and told. */
Test(ack, ecn)
{
    struct ack ack;
    struct frame f;
    uint8_t bytes[64];
    begin(&ack);
    come(&ack, 0, 1);
    cr_assert(write_read(&ack, bytes, sizeof bytes, 1, &f));
    cr_expect(!f.ack.has_ecn);
    ack_on_packet(&ack, 1, true, AQ_ECN_ECT0, 1);
    ack_on_packet(&ack, 2, true, AQ_ECN_ECT0, 1);
    ack_on_packet(&ack, 3, false, AQ_ECN_ECT1, 1);
    ack_on_packet(&ack, 4, true, AQ_ECN_CE, 1);
    cr_assert(write_read(&ack, bytes, sizeof bytes, 1, &f));
    cr_expect(f.ack.has_ecn);
    cr_expect_eq(f.ack.ect0, 2);
    cr_expect_eq(f.ack.ect1, 1);
    cr_expect_eq(f.ack.ce, 1);
}

/* RFC 9000 §13.2.3: what does not fit is left out from the oldest; the largest is always there. */
Test(ack, every_size)
{
    struct ack ack;
    begin(&ack);
    struct frame f;
    uint8_t bytes[256];
    cr_expect(!write_read(&ack, bytes, sizeof bytes, 1, &f), "nothing to say");
    for (uint64_t i = 0; i < ACK_RANGES; i++)
        ack_on_packet(&ack, 100 * i, true, AQ_ECN_ECT0, 1);
    uint64_t before = 0;
    bool began = false;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        struct ack copy = ack;
        if (!write_read(&copy, bytes, size, 1, &f)) {
            cr_expect(!began);
            cr_expect_eq(copy.eliciting, ack.eliciting, "an ACK not written changes nothing");
            continue;
        }
        cr_expect_eq(f.ack.largest, 100 * (ACK_RANGES - 1));
        if (!began)
            cr_expect_eq(f.ack.range_count, 0);
        cr_expect(f.ack.range_count >= before && f.ack.range_count <= before + 1);
        before = f.ack.range_count;
        began = true;
    }
    cr_expect_eq(before, ACK_RANGES - 1, "with room for all, all are told");
}

/* RFC 9000 §13.2.4: what the peer knows that we know is not told again; the newest range stays. */
Test(ack, forgetting)
{
    struct ack ack;
    begin(&ack);
    for (uint64_t n = 0; n < 30; n++)
        if (n % 10 != 9)
            come(&ack, n, 1); /* [0,9) [10,19) [20,29) */
    ack_on_acked(&ack, 8);
    cr_expect_eq(ack.range_count, 2);
    cr_expect_eq(ack.floor, 9);
    ack_on_acked(&ack, 12);
    cr_expect_eq(ack.range_count, 2);
    cr_expect_eq(ack.ranges[0].lo, 13);
    cr_expect(ack_is_duplicate(&ack, 9), "late beyond recall");
    cr_expect(ack_is_duplicate(&ack, 12));
    cr_expect(!ack_is_duplicate(&ack, 19));
    ack_on_acked(&ack, 28);
    cr_expect_eq(ack.range_count, 1);
    cr_expect_eq(ack.ranges[0].lo, 20);
    cr_expect_eq(ack_largest(&ack), 28);
    ack_on_acked(&ack, 3);
    ack_on_acked(&ack, UINT64_MAX);
    cr_expect_eq(ack_largest(&ack), 28);
    begin(&ack);
    ack_on_acked(&ack, 3);
    cr_expect_eq(ack_largest(&ack), UINT64_MAX);
}

/* ---- against a model ------------------------------------------------------------------------ */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Every number told was received, and every number received that is not below the floor is told. */
Test(ack, random_order)
{
    enum {
        NUMBERS = 512
    };
    uint64_t state = 1;
    for (unsigned round = 0; round < 200; round++) {
        struct ack ack;
        bool came[NUMBERS] = {false}, told[NUMBERS] = {false};
        begin(&ack);
        uint64_t top = 0, largest = 0;
        while (top < NUMBERS - 8) {
            uint64_t n = random_next(&state) % 4 ? top++ : random_next(&state) % (top + 8);
            cr_assert(!came[n] || ack_is_duplicate(&ack, n));
            if (ack_is_duplicate(&ack, n)) {
                cr_assert(came[n] || n < ack.floor);
                continue;
            }
            come(&ack, n, 1);
            came[n] = true;
            top = n >= top ? n + 1 : top;
            largest = n > largest ? n : largest;
            if (random_next(&state) % 64 == 0)
                ack_on_acked(&ack, random_next(&state) % (largest + 1));
        }
        uint8_t bytes[512];
        struct frame f;
        cr_assert(write_read(&ack, bytes, sizeof bytes, 1, &f));
        cr_assert_eq(f.ack.largest, largest);
        struct ack_iter it;
        uint64_t lo, hi;
        for (ack_iter_init(&it, &f.ack); ack_iter_next(&it, &lo, &hi);)
            for (uint64_t n = lo; n < hi; n++)
                told[n] = true;
        for (uint64_t n = 0; n < NUMBERS; n++)
            cr_assert(told[n] ? came[n] : !came[n] || n < ack.floor, "number %d", (int)n);
    }
}

/* ---- as the peer asks ----------------------------------------------------------------------- */

static void ask(struct ack *ack, uint64_t seq, uint64_t threshold, uint64_t delay_us,
                uint64_t reordering)
{
    struct frame f = {.type = FRAME_ACK_FREQUENCY};
    f.ack_frequency.seq = seq;
    f.ack_frequency.threshold = threshold;
    f.ack_frequency.max_delay_us = delay_us;
    f.ack_frequency.reordering = reordering;
    ack_on_frequency(ack, &f);
}

/* draft-ietf-quic-ack-frequency §4, draft-ietf-quic-ack-frequency §6: more than the threshold, or
 * the delay asked for. */
Test(ack, asked_threshold_and_delay)
{
    struct ack ack;
    begin(&ack);
    cr_expect_eq(ack_delay_asked(&ack, DELAY_US), DELAY_US);
    ask(&ack, 0, 10, 4000, 3);
    cr_expect_eq(ack_delay_asked(&ack, DELAY_US), 4000);
    for (uint64_t n = 0; n < 11; n++) {
        cr_expect(!ack_is_due(&ack, n), "packet %d", (int)n);
        come(&ack, n, n);
        ack_batch_end(&ack, false, 4000, n);
    }
    cr_expect(ack_is_due(&ack, 10), "the eleventh is more than ten");
    cr_expect_eq(take(&ack, 10), 10);
    come(&ack, 11, 100);
    ack_batch_end(&ack, false, 4000, 100);
    cr_expect_eq(ack.due_us, 4100);
    ask(&ack, 1, 10, 1000, 3); /* less delay than the one that runs */
    come(&ack, 12, 200);
    ack_batch_end(&ack, false, 1000, 200);
    cr_expect_eq(ack.due_us, 1200);
    ask(&ack, 2, 0, 9000, 3); /* 0: each at once */
    take(&ack, 300);
    come(&ack, 13, 300);
    ack_batch_end(&ack, false, 9000, 300);
    cr_expect(ack_is_due(&ack, 300));
}

/* draft-ietf-quic-ack-frequency §4: the newest Sequence Number decides, whatever comes after it. */
Test(ack, asked_in_order)
{
    struct ack ack;
    begin(&ack);
    ask(&ack, 5, 10, 4000, 3);
    ask(&ack, 5, 20, 5000, 4); /* a duplicate's number: ignored */
    ask(&ack, 4, 20, 5000, 4);
    cr_expect(ack.threshold == 10 && ack.delay_us == 4000 && ack.reordering == 3);
    ask(&ack, 6, VARINT_MAX, 16383999, VARINT_MAX);
    cr_expect(ack.threshold == UINT16_MAX - 1 && ack.reordering == UINT16_MAX);
    cr_expect_eq(ack.delay_us, 16383999);
    ask(&ack, VARINT_MAX, 1, 1000, 1);
    ask(&ack, VARINT_MAX - 1, 7, 1000, 1);
    cr_expect_eq(ack.threshold, 1);
    /* the largest threshold is kept to: the counter must not stop short of it */
    begin(&ack);
    ask(&ack, 0, VARINT_MAX, 1000, 1);
    for (uint64_t n = 0; n < UINT16_MAX; n++)
        come(&ack, n, 1);
    ack_batch_end(&ack, false, 1000, 1);
    cr_expect(ack_is_due(&ack, 1));
}

/* draft-ietf-quic-ack-frequency §6.2: both tables of its examples. */
Test(ack, asked_reordering)
{
    static const struct {
        uint64_t threshold, number;
        bool due;
    } rows[] = {
        {3, 0, false}, {3, 1, false}, {3, 3, false}, {3, 4, false}, {3, 5, true},  {3, 8, false},
        {3, 9, true},  {3, 10, true}, {5, 0, false}, {5, 1, false}, {5, 3, false}, {5, 5, false},
        {5, 6, false}, {5, 7, true},  {5, 8, false}, {5, 9, true},
    };
    struct ack ack;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].number == 0) {
            begin(&ack);
            ask(&ack, 0, 1000, DELAY_US, rows[i].threshold);
        }
        come(&ack, rows[i].number, 1);
        end(&ack, 1);
        cr_expect_eq(ack_is_due(&ack, 1), rows[i].due, "threshold %d, packet %d",
                     (int)rows[i].threshold, (int)rows[i].number);
        if (ack_is_due(&ack, 1))
            take(&ack, 1);
    }
}

/* draft-ietf-quic-ack-frequency §6.2: one that the sender took for lost; the step between; and a
 * threshold of 0, which asks for silence. */
Test(ack, asked_late_and_never)
{
    struct ack ack;
    begin(&ack);
    ask(&ack, 0, 1000, DELAY_US, 3);
    for (uint64_t n = 0; n <= 20; n++)
        if (n != 15 && n != 17 && n != 18)
            come(&ack, n, 1);
    take(&ack, 1);
    come(&ack, 18, 2); /* 20 - 3 = 17: inside the window */
    cr_expect(!ack_is_due(&ack, 2));
    come(&ack, 17, 2);
    cr_expect(ack_is_due(&ack, 2), "not above 17: taken for lost");
    take(&ack, 2);
    come(&ack, 15, 3);
    cr_expect(ack_is_due(&ack, 3));
    take(&ack, 3);
    ask(&ack, 1, 1000, DELAY_US, 0);
    come(&ack, 40, 4);
    come(&ack, 30, 4);
    end(&ack, 4);
    cr_expect(!ack_is_due(&ack, 4));
    cr_expect(ack_is_due(&ack, 4 + DELAY_US));
}

/* What was forgotten counts as received, and no number of gaps makes an ACK for each packet. */
Test(ack, asked_and_many_gaps)
{
    struct ack ack;
    unsigned acks = 0;
    begin(&ack);
    ask(&ack, 0, 60000, DELAY_US, 60000);
    for (uint64_t i = 0; i < 1000; i++) {
        come(&ack, 2 * i, 1);
        end(&ack, 1);
        acks += ack_is_due(&ack, 1);
    }
    cr_expect_eq(ack.range_count, ACK_RANGES);
    cr_expect_eq(acks, 0);
}

/* draft-ietf-quic-ack-frequency §6.3: the first mark of a run; with a threshold of 1 all of them,
 * as in RFC 9000 §13.2.1. */
Test(ack, asked_marks)
{
    struct ack ack;
    begin(&ack);
    ask(&ack, 0, 10, DELAY_US, 3);
    for (uint64_t n = 0; n < 8; n++) {
        bool mark = n >= 2 && n != 5;
        ack_on_packet(&ack, n, true, mark ? AQ_ECN_CE : AQ_ECN_ECT0, 1);
        end(&ack, 1);
        cr_expect_eq(ack_is_due(&ack, 1), n == 2 || n == 6, "packet %d", (int)n);
        take(&ack, 1);
    }
    ask(&ack, 1, 1, DELAY_US, 3);
    ack_on_packet(&ack, 8, true, AQ_ECN_CE, 1);
    cr_expect(ack_is_due(&ack, 1));
}
