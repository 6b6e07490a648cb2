/* streams.c -- a connection's set of streams: ids, limits both ways, lists, and what is left
 * when they end. */
#include "core/streams.h"
#include "core/antq.h"
#include "tests/queues.h"

enum {
    SLOTS = 32
};

struct world {
    struct stream_table t;
    struct streams st, other; /* two connections on one table; st's role is chosen */
    void *pool_mem, *map_mem;
};

static struct world *world_new(bool server, uint32_t slots)
{
    static const uint32_t window[2] = {8, 4};
    struct world *w = memory_zeroed(sizeof *w);
    w->pool_mem = memory_zeroed(pool_size(sizeof(struct stream), slots));
    pool_init(&w->t.pool, w->pool_mem, sizeof(struct stream), slots);
    w->map_mem = memory_zeroed(map_size(slots));
    map_init(&w->t.map, w->map_mem, slots);
    w->t.seed = 99;
    streams_init(&w->st, 3, server, window);
    streams_init(&w->other, 4, server, window);
    memcpy(w->t.window, window, sizeof window);
    w->t.rx_window = 1000;
    w->t.rx_window_max = 4000;
    w->st.tx_bidi_local = 11;
    w->st.tx_bidi_remote = 22;
    w->st.tx_uni = 33;
    return w;
}

static void world_free(struct world *w)
{
    free(w->pool_mem);
    free(w->map_mem);
    free(w);
}

static uint32_t get(struct world *w, uint64_t id)
{
    uint32_t slot;
    cr_assert_eq(streams_get(&w->st, &w->t, id, true, &slot, 0), AQ_OK);
    cr_assert_neq(slot, POOL_NONE);
    return slot;
}

/* The set's lists and numbers agree. */
static void expect_whole(const struct world *w)
{
    uint32_t n = 0, before = POOL_NONE;
    for (uint32_t i = w->st.all; i != POOL_NONE; i = stream_at(&w->t, i)->all_next, n++) {
        cr_assert_lt(n, SLOTS);
        cr_expect_eq(stream_at(&w->t, i)->all_prev, before);
        before = i;
    }
    cr_expect_eq(n, w->st.count);
    n = 0;
    uint8_t lane = LANE_NONE;
    for (uint32_t first = w->st.send_head; first != POOL_NONE;
         first = stream_at(&w->t, first)->lane_next) {
        uint32_t i = first;
        cr_expect_gt(stream_at(&w->t, first)->lane, lane, "lanes are in order, and not empty");
        lane = stream_at(&w->t, first)->lane;
        do {
            cr_assert_lt(n++, SLOTS);
            cr_expect_eq(stream_at(&w->t, i)->lane, lane);
            cr_expect_eq(stream_at(&w->t, stream_at(&w->t, i)->send_next)->send_prev, i);
            i = stream_at(&w->t, i)->send_next;
        } while (i != first);
    }
    for (uint32_t i = w->st.all; i != POOL_NONE; i = stream_at(&w->t, i)->all_next)
        n -= stream_at(&w->t, i)->lane != LANE_NONE;
    cr_expect_eq(n, 0);
    before = POOL_NONE;
    n = 0;
    for (uint32_t i = w->st.ready_head; i != POOL_NONE; i = stream_at(&w->t, i)->ready_next, n++) {
        cr_assert_lt(n, SLOTS);
        cr_expect(stream_at(&w->t, i)->ready);
        before = i;
    }
    cr_expect_eq(w->st.ready_tail, before);
}

/* RFC 9000 §2.1: the two lowest bits say who opened it and whether it is bidirectional. */
Test(streams, ids_of_ours)
{
    for (unsigned server = 0; server < 2; server++) {
        struct world *w = world_new(server, SLOTS);
        w->st.peer_max[STREAMS_BIDI] = w->st.peer_max[STREAMS_UNI] = 3;
        for (unsigned uni = 0; uni < 2; uni++) {
            for (uint64_t n = 0; n < 3; n++) {
                uint32_t slot;
                cr_assert_eq(streams_open(&w->st, &w->t, uni, &slot, 0), AQ_OK);
                const struct stream *s = stream_at(&w->t, slot);
                cr_expect_eq(s->id, n * 4 + uni * 2 + server);
                cr_expect_eq(s->tx, TX_READY);
                cr_expect_eq(s->rx, uni ? RX_NONE : RX_RECV);
                cr_expect(s->local);
                cr_expect_eq(s->conn, 3);
                cr_expect_eq(s->flow.tx_max, uni ? 33 : 11);
                cr_expect_eq(s->events, 0);
            }
        }
        expect_whole(w);
        world_free(w);
    }
}

/* RFC 9000 §4.6, §19.14: at the peer's limit; one STREAMS_BLOCKED for each limit; a lower limit
 * changes nothing. RFC 9000 §19.11 */
Test(streams, open_at_the_limit)
{
    struct world *w = world_new(false, SLOTS);
    uint32_t slot;
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_BLOCKED);
    cr_expect(w->st.blocked_due[STREAMS_BIDI] && w->st.wanted[STREAMS_BIDI]);
    cr_expect_not(w->st.blocked_due[STREAMS_UNI]);
    cr_expect(streams_raise(&w->st, STREAMS_BIDI, 2));
    cr_expect_not(w->st.blocked_due[STREAMS_BIDI], "what would be said is no longer true");
    cr_expect_not(streams_raise(&w->st, STREAMS_BIDI, 2));
    cr_expect_not(streams_raise(&w->st, STREAMS_BIDI, 1));
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_BLOCKED);
    cr_expect(w->st.blocked_due[STREAMS_BIDI]);
    w->st.blocked_due[STREAMS_BIDI] = false; /* as when it is sent */
    w->st.blocked_said[STREAMS_BIDI] = true;
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_BLOCKED);
    cr_expect_not(w->st.blocked_due[STREAMS_BIDI], "said once already");
    cr_expect(streams_raise(&w->st, STREAMS_BIDI, 3));
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_eq(stream_at(&w->t, slot)->id, 8);
    world_free(w);
}

/* RFC 9000 §4.6: the peer may open as many as it was told; the first one beyond is an error and
 * opens nothing. */
Test(streams, limit_for_the_peer)
{
    for (unsigned uni = 0; uni < 2; uni++) {
        struct world *w = world_new(true, SLOTS);
        uint64_t limit = uni ? 4 : 8;
        uint32_t slot;
        cr_expect_eq(streams_get(&w->st, &w->t, limit * 4 + uni * 2, true, &slot, 0),
                     AQ_STREAM_LIMIT_ERROR);
        cr_expect_eq(slot, POOL_NONE);
        cr_expect_eq(streams_get(&w->st, &w->t, (UINT64_C(1) << 62) - 4 + uni * 2, true, &slot, 0),
                     AQ_STREAM_LIMIT_ERROR);
        cr_expect_eq(w->st.count, 0);
        cr_expect_eq(streams_get(&w->st, &w->t, (limit - 1) * 4 + uni * 2, true, &slot, 0), AQ_OK);
        cr_expect_eq(w->st.count, limit);
        expect_whole(w);
        world_free(w);
    }
}

/* RFC 9000 §3.2: a stream opens all lower-numbered of its type; the application is told of each,
 * in order. */
Test(streams, opens_lower_ones)
{
    struct world *w = world_new(false, SLOTS);
    uint32_t third = get(w, 4 * 2 + 1), slot;
    for (uint64_t n = 0; n < 3; n++) {
        slot = streams_next_ready(&w->st, &w->t);
        cr_assert_neq(slot, POOL_NONE);
        const struct stream *s = stream_at(&w->t, slot);
        cr_expect_eq(s->id, 4 * n + 1);
        cr_expect_eq(s->events, 1U << AQ_EVENT_OPENED);
        cr_expect_not(s->local);
        cr_expect_eq(s->flow.tx_max, 22);
        cr_expect_eq(s->flow.rx_max, 1000);
    }
    cr_expect_eq(slot, third);
    cr_expect_eq(streams_next_ready(&w->st, &w->t), POOL_NONE);
    cr_expect_eq(get(w, 1), get(w, 1));
    cr_expect_eq(w->st.count, 3);
    world_free(w);
}

/* RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13: frames about a direction that a stream does not
 * have, or about one of ours that we have not opened. */
Test(streams, wrong_direction)
{
    static const struct {
        unsigned kind;
        bool receiving;
        int unopened, opened;
    } rows[] = {
        /* kind: id & 3, as seen by a server */
        {1, true, AQ_STREAM_STATE_ERROR, AQ_OK}, /* ours, bidirectional */
        {1, false, AQ_STREAM_STATE_ERROR, AQ_OK},
        {3, true, AQ_STREAM_STATE_ERROR, AQ_STREAM_STATE_ERROR}, /* ours to send only */
        {3, false, AQ_STREAM_STATE_ERROR, AQ_OK},
        {0, true, AQ_OK, AQ_OK}, /* the peer's */
        {0, false, AQ_OK, AQ_OK},
        {2, true, AQ_OK, AQ_OK}, /* the peer's to send only */
        {2, false, AQ_STREAM_STATE_ERROR, AQ_STREAM_STATE_ERROR},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_new(true, SLOTS);
        uint32_t slot;
        w->st.peer_max[0] = w->st.peer_max[1] = 1;
        cr_expect_eq(streams_get(&w->st, &w->t, rows[i].kind, rows[i].receiving, &slot, 0),
                     rows[i].unopened, "row %u", i);
        if (rows[i].kind & 1)
            cr_assert_eq(streams_open(&w->st, &w->t, rows[i].kind >> 1, &slot, 0), AQ_OK);
        cr_expect_eq(streams_get(&w->st, &w->t, rows[i].kind, rows[i].receiving, &slot, 0),
                     rows[i].opened, "row %u", i);
        cr_expect_eq(
            streams_get(&w->st, &w->t, rows[i].kind + (rows[i].kind & 1 ? 4 : 0), true, &slot, 0),
            rows[i].kind & 1 ? AQ_STREAM_STATE_ERROR : AQ_OK, "the next one, row %u", i);
        world_free(w);
    }
}

/* The pool run dry: refused by name, the rest stays as it is, and it goes on when there is room. */
Test(streams, pool_dry)
{
    struct world *w = world_new(true, 3);
    uint32_t slot;
    w->st.peer_max[STREAMS_BIDI] = 10;
    cr_assert_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_eq(streams_get(&w->st, &w->t, 4 * 5, true, &slot, 0), AQ_FULL);
    cr_expect_eq(w->st.count, 3);
    cr_expect_eq(w->st.peer_opened[STREAMS_BIDI], 2, "those that fit are open");
    expect_whole(w);
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_FULL);
    cr_expect_eq(w->st.local_next[STREAMS_BIDI], 1);
    streams_release(&w->st, &w->t, get(w, 0));
    cr_expect_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_eq(stream_at(&w->t, slot)->id, 5);
    cr_expect_eq(w->t.pool.high, 3);
    world_free(w);
}

/* RFC 9000 §3.2: a stream that is over and gone stays so: late frames find nothing, and open
 * nothing. */
Test(streams, over_and_gone)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t slot = get(w, 4);
    streams_release(&w->st, &w->t, slot);
    cr_expect_eq(streams_get(&w->st, &w->t, 4, true, &slot, 0), AQ_OK);
    cr_expect_eq(slot, POOL_NONE);
    cr_expect_eq(w->st.count, 1);
    w->st.peer_max[STREAMS_BIDI] = 1;
    cr_assert_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    streams_release(&w->st, &w->t, slot);
    cr_expect_eq(streams_get(&w->st, &w->t, 1, false, &slot, 0), AQ_OK);
    cr_expect_eq(slot, POOL_NONE);
    world_free(w);
}

/* RFC 9000 §4.6: credit comes back when half of the window is used up; ours give none. */
Test(streams, credit_at_half_the_window)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t slot;
    get(w, 4 * 7); /* all eight */
    for (uint64_t n = 0; n < 3; n++)
        streams_release(&w->st, &w->t, get(w, 4 * n));
    cr_expect_not(w->st.max_due[STREAMS_BIDI]);
    streams_release(&w->st, &w->t, get(w, 4 * 3));
    cr_expect(w->st.max_due[STREAMS_BIDI]);
    cr_expect_not(w->st.max_due[STREAMS_UNI]);
    cr_expect_eq(w->st.local_closed[STREAMS_BIDI], 4);
    w->st.peer_max[STREAMS_UNI] = 1;
    cr_assert_eq(streams_open(&w->st, &w->t, STREAMS_UNI, &slot, 0), AQ_OK);
    streams_release(&w->st, &w->t, slot);
    cr_expect_eq(w->st.local_closed[STREAMS_UNI], 0);
    world_free(w);
}

/* RFC 9000 §4.6: a stream that is done gives credit before it is gone, and only once. One who
 * acknowledges nothing gets a second window, no third. */
Test(streams, credit_when_done)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t slot;
    get(w, 4 * 7); /* all eight */
    for (uint64_t n = 0; n < 3; n++) {
        cr_expect_not(streams_done(&w->st, &w->t, stream_at(&w->t, get(w, 4 * n))));
        cr_expect_not(streams_done(&w->st, &w->t, stream_at(&w->t, get(w, 4 * n))));
    }
    cr_expect(streams_done(&w->st, &w->t, stream_at(&w->t, get(w, 4 * 3))));
    cr_expect(w->st.max_due[STREAMS_BIDI]);
    cr_expect_not(w->st.max_due[STREAMS_UNI]);
    cr_expect_eq(streams_limit(&w->st, &w->t, STREAMS_BIDI), 8 + 4);
    for (uint64_t n = 0; n < 16; n++) {
        w->st.local_max[STREAMS_BIDI] = streams_limit(&w->st, &w->t, STREAMS_BIDI);
        w->st.max_due[STREAMS_BIDI] = false;
        (void)streams_done(&w->st, &w->t, stream_at(&w->t, get(w, 4 * n)));
    }
    cr_expect_eq(w->st.local_done[STREAMS_BIDI], 16);
    cr_expect_eq(streams_limit(&w->st, &w->t, STREAMS_BIDI), 16, "none of them is gone");
    cr_expect_not(w->st.max_due[STREAMS_BIDI]);
    cr_expect_eq(streams_get(&w->st, &w->t, 4 * 16, true, &slot, 0), AQ_STREAM_LIMIT_ERROR);
    for (uint64_t n = 0; n < 4; n++)
        streams_release(&w->st, &w->t, get(w, 4 * n));
    cr_expect(w->st.max_due[STREAMS_BIDI]);
    cr_expect_eq(streams_limit(&w->st, &w->t, STREAMS_BIDI), 16 + 4);
    cr_expect_eq(w->st.local_done[STREAMS_BIDI], 12, "no longer, nor twice");
    w->st.peer_max[STREAMS_BIDI] = 1;
    cr_assert_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &slot, 0), AQ_OK);
    cr_expect_not(streams_done(&w->st, &w->t, stream_at(&w->t, slot)), "ours gives none");
    expect_whole(w);
    world_free(w);
}

/* Two connections with the same ids on one table do not meet. */
Test(streams, connections_apart)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t a[4], b[4];
    for (uint64_t i = 0; i < 4; i++) {
        a[i] = get(w, 4 * i);
        cr_assert_eq(streams_get(&w->other, &w->t, 4 * i, true, &b[i], 0), AQ_OK);
    }
    for (uint64_t i = 0; i < 4; i++) {
        uint32_t slot;
        cr_expect_neq(a[i], b[i]);
        cr_expect_eq(get(w, 4 * i), a[i]);
        cr_expect_eq(streams_get(&w->other, &w->t, 4 * i, true, &slot, 0), AQ_OK);
        cr_expect_eq(slot, b[i]);
    }
    streams_release(&w->st, &w->t, a[2]);
    uint32_t slot;
    cr_expect_eq(streams_get(&w->other, &w->t, 8, true, &slot, 0), AQ_OK);
    cr_expect_eq(slot, b[2]);
    world_free(w);
}

/* Takes a turn, as send.c does; returns the stream's number. */
static uint64_t turn(struct world *w, bool more)
{
    uint32_t slot = streams_next_send(&w->st, &w->t);
    cr_assert_neq(slot, POOL_NONE);
    streams_turn(&w->st, &w->t, slot, TURN_PACKETS, more);
    expect_whole(w);
    return stream_at(&w->t, slot)->id >> 2;
}

static void expect_turns(struct world *w, bool more, const char *numbers)
{
    for (; *numbers; numbers++)
        cr_expect_eq(turn(w, more), (uint64_t)(*numbers - '0'), "at %s", numbers);
}

/* Opens n streams; each wants to send. */
static void open_senders(struct world *w, uint32_t *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        s[i] = get(w, 4 * (uint64_t)i);
        streams_want_send(&w->st, &w->t, s[i]);
    }
}

/* Senders nobody said anything about share in turn: at the end, once; out from anywhere. */
Test(streams, senders_in_turn)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t s[4];
    for (uint64_t i = 0; i < 4; i++)
        s[i] = get(w, 4 * i);
    streams_no_send(&w->st, &w->t, s[0]);
    cr_expect_eq(streams_next_send(&w->st, &w->t), POOL_NONE);
    streams_want_send(&w->st, &w->t, s[0]);
    cr_expect_not(streams_shares(&w->st, &w->t, s[0]));
    expect_turns(w, true, "00"); /* one alone */
    for (unsigned i = 0; i < 4; i++) {
        streams_want_send(&w->st, &w->t, s[i]);
        streams_want_send(&w->st, &w->t, s[i]);
        expect_whole(w);
    }
    cr_expect(streams_shares(&w->st, &w->t, s[0]));
    expect_turns(w, true, "012301");
    streams_no_send(&w->st, &w->t, s[3]); /* from the middle: it is 2 3 0 1 */
    expect_whole(w);
    streams_no_send(&w->st, &w->t, s[1]); /* the last */
    expect_whole(w);
    streams_no_send(&w->st, &w->t, s[2]); /* the first */
    expect_turns(w, true, "00");
    world_free(w);
}

/* A turn that the window cuts goes on: who sends what is left of a window would get less else. */
Test(streams, turns_are_equal)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t s[3], sent[3] = {0};
    open_senders(w, s, 3);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t slot = streams_next_send(&w->st, &w->t), packets = i % 2 ? 1 : TURN_PACKETS;
        if (packets + w->st.turn > TURN_PACKETS)
            packets = TURN_PACKETS - (uint32_t)w->st.turn;
        for (unsigned k = 0; k < 3; k++)
            sent[k] += s[k] == slot ? packets : 0;
        streams_turn(&w->st, &w->t, slot, packets, true);
    }
    for (unsigned k = 0; k < 3; k++)
        cr_expect(sent[k] + TURN_PACKETS >= sent[0] && sent[k] <= sent[0] + TURN_PACKETS);
    streams_turn(&w->st, &w->t, streams_next_send(&w->st, &w->t), 0, false);
    cr_expect_eq(w->st.turn, 0, "the next one's turn is whole");
    world_free(w);
}

/* RFC 9218 §10: lower urgency values first, whatever the order in which they came. */
Test(streams, urgency_decides)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t s[6];
    static const unsigned urgency[] = {7, 0, 3, 3, 1, 6};
    for (unsigned i = 0; i < 6; i++) {
        s[i] = get(w, 4 * (uint64_t)i);
        if (urgency[i] != URGENCY_DEFAULT)
            streams_set_priority(&w->st, &w->t, s[i], urgency[i], true);
        streams_want_send(&w->st, &w->t, s[i]);
    }
    expect_turns(w, true, "111"); /* as long as it has some */
    cr_expect_eq(turn(w, false), 1);
    cr_expect_eq(turn(w, false), 4);
    expect_turns(w, true, "232");
    streams_set_priority(&w->st, &w->t, s[0], 2, true); /* changed while it waits */
    expect_turns(w, true, "00");
    streams_set_priority(&w->st, &w->t, s[0], 5, true);
    expect_turns(w, false, "3205");
    cr_expect_eq(streams_next_send(&w->st, &w->t), POOL_NONE);
    world_free(w);
}

/* RFC 9218 §10: non-incremental ones whole, in the order of their ids, however they came. */
Test(streams, non_incremental_by_id)
{
    static const uint8_t coming[][6] = {{0, 1, 2, 3, 4, 5}, {5, 4, 3, 2, 1, 0}, {3, 0, 5, 2, 4, 1}};
    for (unsigned c = 0; c < 3; c++) {
        struct world *w = world_new(true, SLOTS);
        uint32_t s[6];
        for (unsigned i = 0; i < 6; i++) {
            s[i] = get(w, 4 * (uint64_t)i);
            streams_set_priority(&w->st, &w->t, s[i], URGENCY_DEFAULT, false);
        }
        for (unsigned i = 0; i < 6; i++) {
            streams_want_send(&w->st, &w->t, s[coming[c][i]]);
            expect_whole(w);
        }
        cr_expect_not(streams_shares(&w->st, &w->t, s[0]), "it need not leave off for others");
        expect_turns(w, true, "000");
        expect_turns(w, false, "01");
        streams_want_send(&w->st, &w->t, s[0]); /* it has credit again */
        expect_turns(w, true, "00");
        expect_turns(w, false, "02345");
        world_free(w);
    }
}

/* Among more than the search walks through the order is still nearly that of the ids, and whole at
 * both ends. */
Test(streams, non_incremental_many)
{
    enum {
        MANY = 400
    };
    static uint32_t s[MANY];
    struct world *w = world_new(true, MANY);
    w->st.local_max[STREAMS_BIDI] = MANY;
    for (unsigned i = 0; i < MANY; i++) {
        s[i] = get(w, 4 * (uint64_t)i);
        streams_set_priority(&w->st, &w->t, s[i], URGENCY_DEFAULT, false);
    }
    for (unsigned i = 0; i < MANY; i++)
        streams_want_send(&w->st, &w->t, s[i * 7 % MANY]);
    uint32_t slot;
    unsigned n = 0;
    while ((slot = streams_next_send(&w->st, &w->t)) != POOL_NONE) {
        cr_expect(n > 2 || slot == s[n]);
        streams_turn(&w->st, &w->t, slot, 1, false);
        n++;
    }
    cr_expect_eq(n, MANY, "nobody is lost");
    world_free(w);
}

/* RFC 9218 §10: of one urgency, neither the incremental nor the others starve. */
Test(streams, kinds_take_turns)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t s[6];
    open_senders(w, s, 6);
    for (unsigned i = 0; i < 3; i++)
        streams_set_priority(&w->st, &w->t, s[i], URGENCY_DEFAULT, false);
    cr_expect(streams_shares(&w->st, &w->t, s[0]) && streams_shares(&w->st, &w->t, s[3]));
    expect_turns(w, true, "0304050304");
    expect_turns(w, false, "051324"); /* each that ends counts as a turn */
    cr_expect_eq(streams_next_send(&w->st, &w->t), POOL_NONE);
    world_free(w);
}

/* Control frames do not wait behind data; the data they belong to does. */
Test(streams, control_never_waits)
{
    struct world *w = world_new(true, SLOTS);
    uint32_t s[3];
    open_senders(w, s, 3);
    streams_set_priority(&w->st, &w->t, s[2], 7, false);
    expect_turns(w, true, "01");
    stream_at(&w->t, s[2])->due = DUE_MAX_DATA;
    streams_want_send(&w->st, &w->t, s[2]);
    expect_whole(w);
    cr_expect_eq(streams_next_send(&w->st, &w->t), s[2]);
    cr_expect_eq(stream_at(&w->t, s[2])->lane, LANE_CONTROL);
    stream_at(&w->t, s[2])->due = 0;
    streams_want_send(&w->st, &w->t, s[2]); /* to where its data waits */
    expect_turns(w, true, "0101");
    world_free(w);
}

/* The list of events: only who has some, each once, in the order they came. */
Test(streams, ready_list)
{
    struct world *w = world_new(false, SLOTS);
    uint32_t s[3];
    w->st.peer_max[STREAMS_BIDI] = 3;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(streams_open(&w->st, &w->t, STREAMS_BIDI, &s[i], 0), AQ_OK);
        cr_expect_not(streams_ready(&w->st, &w->t, s[i]), "it has none");
        stream_at(&w->t, s[i])->events = 1U << AQ_EVENT_READABLE;
    }
    cr_expect(streams_ready(&w->st, &w->t, s[1]), "the list was empty");
    cr_expect_not(streams_ready(&w->st, &w->t, s[0]));
    cr_expect_not(streams_ready(&w->st, &w->t, s[1]), "it is there already");
    expect_whole(w);
    cr_expect_eq(streams_next_ready(&w->st, &w->t), s[1]);
    cr_expect_not(streams_ready(&w->st, &w->t, s[1]));
    cr_expect_eq(streams_next_ready(&w->st, &w->t), s[0]);
    cr_expect_eq(streams_next_ready(&w->st, &w->t), s[1]);
    cr_expect_eq(streams_next_ready(&w->st, &w->t), POOL_NONE);
    cr_expect(streams_ready(&w->st, &w->t, s[2]));
    world_free(w);
}

/* Released while in every list, from each place in them. */
Test(streams, release_from_all_lists)
{
    for (unsigned first = 0; first < 3; first++) {
        for (unsigned second = 0; second < 3; second++) {
            struct world *w = world_new(true, SLOTS);
            uint32_t s[3];
            if (second == first) {
                world_free(w);
                continue;
            }
            for (uint64_t i = 0; i < 3; i++) {
                s[i] = get(w, 4 * i); /* OPENED is pending */
                streams_want_send(&w->st, &w->t, s[i]);
            }
            streams_release(&w->st, &w->t, s[first]);
            expect_whole(w);
            streams_release(&w->st, &w->t, s[second]);
            expect_whole(w);
            streams_release(&w->st, &w->t, s[3 - first - second]);
            expect_whole(w);
            cr_expect_eq(w->t.pool.used, 0);
            cr_expect_eq(w->st.all, POOL_NONE);
            world_free(w);
        }
    }
}

/* Any order of opening, finding and releasing, against a plain table of what is open. */
Test(streams, against_a_model)
{
    struct world *w = world_new(true, SLOTS);
    struct {
        uint32_t slot;
        bool open, gone;
    } model[400] = {0};
    uint64_t chance = 7;
    w->t.window[STREAMS_BIDI] = 24;
    w->st.local_max[STREAMS_BIDI] = 24;
    for (unsigned i = 0; i < 20000; i++) {
        chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t n = (chance >> 33) % 400;
        uint32_t slot;
        int error = streams_get(&w->st, &w->t, n * 4, true, &slot, 0);
        if (n >= w->st.local_max[STREAMS_BIDI]) {
            cr_assert_eq(error, AQ_STREAM_LIMIT_ERROR);
            continue;
        }
        cr_assert_eq(error, AQ_OK);
        cr_assert_eq(slot == POOL_NONE, model[n].gone);
        cr_assert(!model[n].open || model[n].slot == slot);
        if (model[n].gone)
            continue;
        model[n].slot = slot;
        model[n].open = true;
        if ((chance >> 60 & 3) == 0)
            (void)streams_done(&w->st, &w->t, stream_at(&w->t, slot));
        if (chance >> 62) {
            streams_release(&w->st, &w->t, slot);
            model[n].gone = true;
            model[n].open = false;
        }
        if (w->st.max_due[STREAMS_BIDI]) { /* as fill.c does it */
            w->st.max_due[STREAMS_BIDI] = false;
            w->st.local_max[STREAMS_BIDI] = streams_limit(&w->st, &w->t, STREAMS_BIDI);
        }
        cr_assert_leq(w->st.count, 2 * w->t.window[STREAMS_BIDI]);
    }
    cr_expect_gt(w->st.local_closed[STREAMS_BIDI], 100);
    expect_whole(w);
    world_free(w);
}
