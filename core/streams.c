/* streams.c -- see streams.h. */
#include "core/streams.h"
#include "core/buf.h"
#include "core/num.h"

void streams_init(struct streams *st, uint32_t conn, bool server, const uint32_t window[2])
{
    memset(st, 0, sizeof *st);
    st->conn = conn;
    st->server = server;
    st->all = st->send_head = st->ready_head = st->ready_tail = st->last_slot = POOL_NONE;
    for (unsigned i = 0; i < 2; i++) {
        st->local_max[i] = window[i];
    }
}

static uint64_t streams_hash(const struct streams *st, const struct stream_table *t, uint64_t id)
{
    return map_hash(st->conn, id, t->seed);
}

static uint32_t streams_find(struct streams *st, const struct stream_table *t, uint64_t id)
{
    if (st->last_slot != POOL_NONE && stream_at(t, st->last_slot)->id == id)
        return st->last_slot;
    uint32_t at;
    uint64_t hash = streams_hash(st, t, id);
    for (uint32_t slot = map_find(&t->map, hash, &at); slot != MAP_NONE;
         slot = map_next(&t->map, hash, &at)) {
        const struct stream *s = stream_at(t, slot);
        if (s->conn == st->conn && s->id == id)
            return st->last_slot = slot;
    }
    return POOL_NONE;
}

static uint8_t lane_of(unsigned urgency, bool incremental)
{
    return (uint8_t)(LANE_FIRST + 2 * urgency + incremental);
}

static int streams_create(struct streams *st, struct stream_table *t, uint64_t id, uint32_t *slot,
                          uint64_t now)
{
    bool local = stream_id_is_server(id) == st->server, uni = stream_id_is_uni(id);
    struct stream_limits limits = {.rx_window = t->rx_window, .rx_window_max = t->rx_window_max};
    limits.tx_max = uni ? st->tx_uni : local ? st->tx_bidi_local : st->tx_bidi_remote;
    *slot = pool_take(&t->pool);
    if (*slot == POOL_NONE)
        return AQ_FULL;
    if (!map_put(&t->map, streams_hash(st, t, id), *slot)) {
        pool_give(&t->pool, *slot);
        return AQ_FULL;
    }
    struct stream *s = stream_at(t, *slot);
    stream_init(s, id, st->server, &limits, now);
    s->conn = st->conn;
    s->own_lane = lane_of(URGENCY_DEFAULT, true);
    s->ready_next = s->settle_next = s->all_prev = POOL_NONE;
    s->all_next = st->all;
    if (st->all != POOL_NONE)
        stream_at(t, st->all)->all_prev = *slot;
    st->all = *slot;
    st->count++;
    return AQ_OK;
}

int streams_open(struct streams *st, struct stream_table *t, unsigned uni, uint32_t *slot,
                 uint64_t now)
{
    if (st->local_next[uni] >= st->peer_max[uni]) {
        /* RFC 9000 §4.6, §19.14: say so, once per limit. */
        if (!st->blocked_said[uni])
            st->blocked_due[uni] = true;
        st->wanted[uni] = true;
        return AQ_BLOCKED;
    }
    uint64_t id = st->local_next[uni] << 2 | (uint64_t)uni << 1 | st->server;
    int error = streams_create(st, t, id, slot, now);
    if (error == AQ_OK)
        st->local_next[uni]++;
    return error;
}

int streams_get(struct streams *st, struct stream_table *t, uint64_t id, bool receiving,
                uint32_t *slot, uint64_t now)
{
    bool local = stream_id_is_server(id) == st->server;
    unsigned uni = stream_id_is_uni(id);
    uint64_t number = id >> 2;
    *slot = POOL_NONE;
    /* RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13: a frame about the direction this stream does
     * not have. */
    if (uni && local == receiving)
        return AQ_STREAM_STATE_ERROR;
    if (local) {
        if (number
            >= st->local_next[uni]) /* RFC 9000 §19.5, §19.8, §19.10: one we have not opened yet */
            return AQ_STREAM_STATE_ERROR;
    } else if (number >= st->local_max[uni]) {
        return AQ_STREAM_LIMIT_ERROR; /* RFC 9000 §4.6 */
    }
    *slot = streams_find(st, t, id);
    if (*slot != POOL_NONE || local)
        return AQ_OK;
    while (st->peer_opened[uni]
           <= number) { /* RFC 9000 §3.2: all lower-numbered of the type open with it */
        uint64_t new_id = st->peer_opened[uni] << 2 | (uint64_t)uni << 1 | !st->server;
        int error = streams_create(st, t, new_id, slot, now);
        if (error != AQ_OK)
            return error;
        st->peer_opened[uni]++;
        stream_at(t, *slot)->events |= 1U << AQ_EVENT_OPENED;
        streams_ready(st, t, *slot);
    }
    return AQ_OK;
}

uint64_t streams_limit(const struct streams *st, const struct stream_table *t, unsigned uni)
{
    uint64_t window = t->window[uni], done = min_u64(st->local_done[uni], window);
    return max_u64(st->local_closed[uni] + done + window, st->local_max[uni]);
}

/* RFC 9000 §4.6: more credit when half of the window is used up. */
static bool credit_due(struct streams *st, const struct stream_table *t, unsigned uni)
{
    if (streams_limit(st, t, uni) >= st->local_max[uni] + (t->window[uni] + 1) / 2)
        st->max_due[uni] = true;
    return st->max_due[uni];
}

bool streams_done(struct streams *st, const struct stream_table *t, struct stream *s)
{
    if (s->done || s->local)
        return false;
    s->done = true;
    st->local_done[stream_id_is_uni(s->id)]++;
    return credit_due(st, t, stream_id_is_uni(s->id));
}

bool streams_raise(struct streams *st, unsigned uni, uint64_t max)
{
    if (max <= st->peer_max[uni])
        return false;
    st->peer_max[uni] = max;
    st->blocked_due[uni] = st->blocked_said[uni] = false;
    return true;
}

/* ---- who sends next ---- */

/* One of the non-incremental lanes: by stream id, each served whole before the next. */
static bool lane_is_ordered(uint8_t lane)
{
    return lane >= LANE_FIRST && !((lane - LANE_FIRST) & 1);
}

/* The link to the lane's first stream, or to where that would be. */
static uint32_t *lane_link(struct streams *st, struct stream_table *t, uint8_t lane)
{
    uint32_t *link = &st->send_head;
    while (*link != POOL_NONE && stream_at(t, *link)->lane < lane)
        link = &stream_at(t, *link)->lane_next;
    return link;
}

static void lane_lead(struct stream_table *t, uint32_t *link, uint32_t slot)
{
    stream_at(t, slot)->lane_next = stream_at(t, *link)->lane_next;
    *link = slot;
}

/* Behind whom a stream stands in a ring that is in the order of ids (RFC 9218 §10). Sought from
 * both ends: a new stream has the highest id, one that waited for credit is among the first. Where
 * so many steps do not find the place, near it is good enough: what a peer asks for shall not cost
 * more. */
static uint32_t lane_place(const struct stream_table *t, uint32_t first, uint64_t id)
{
    enum {
        STEPS = 32
    };
    uint32_t low = first, high = stream_at(t, first)->send_prev;
    for (unsigned i = 0; i < STEPS && stream_at(t, high)->id > id; i++) {
        if (stream_at(t, low)->id > id)
            return stream_at(t, low)->send_prev;
        low = stream_at(t, low)->send_next;
        high = stream_at(t, high)->send_prev;
    }
    return high;
}

void streams_want_send(struct streams *st, struct stream_table *t, uint32_t slot)
{
    struct stream *s = stream_at(t, slot);
    uint8_t lane = s->due ? LANE_CONTROL : s->own_lane;
    if (s->lane == lane)
        return;
    streams_no_send(st, t, slot);
    s->lane = lane;
    uint32_t *link = lane_link(st, t, lane);
    uint32_t first = *link;
    if (first == POOL_NONE || stream_at(t, first)->lane != lane) {
        s->send_next = s->send_prev = slot;
        s->lane_next = first;
        *link = slot;
        return;
    }
    bool leads = lane_is_ordered(lane) && s->id < stream_at(t, first)->id;
    uint32_t before =
        lane_is_ordered(lane) ? lane_place(t, first, s->id) : stream_at(t, first)->send_prev;
    s->send_prev = before;
    s->send_next = stream_at(t, before)->send_next;
    stream_at(t, s->send_next)->send_prev = slot;
    stream_at(t, before)->send_next = slot;
    if (leads)
        lane_lead(t, link, slot);
}

void streams_no_send(struct streams *st, struct stream_table *t, uint32_t slot)
{
    struct stream *s = stream_at(t, slot);
    if (s->lane == LANE_NONE)
        return;
    uint32_t *link = lane_link(st, t, s->lane);
    if (*link == slot && s->send_next == slot)
        *link = s->lane_next;
    else if (*link == slot)
        lane_lead(t, link, s->send_next);
    stream_at(t, s->send_prev)->send_next = s->send_next;
    stream_at(t, s->send_next)->send_prev = s->send_prev;
    s->lane = LANE_NONE;
}

/* The incremental lane that shares an urgency with the first lane; POOL_NONE: none. */
static uint32_t lane_beside(const struct streams *st, const struct stream_table *t)
{
    const struct stream *first = stream_at(t, st->send_head);
    uint32_t next = first->lane_next;
    bool beside = lane_is_ordered(first->lane) && next != POOL_NONE
                  && stream_at(t, next)->lane == first->lane + 1;
    return beside ? next : POOL_NONE;
}

uint32_t streams_next_send(const struct streams *st, const struct stream_table *t)
{
    if (st->send_head == POOL_NONE || !st->yields)
        return st->send_head;
    /* RFC 9218 §10: within an urgency neither kind starves the other. */
    uint32_t beside = lane_beside(st, t);
    return beside != POOL_NONE ? beside : st->send_head;
}

bool streams_shares(const struct streams *st, const struct stream_table *t, uint32_t slot)
{
    const struct stream *s = stream_at(t, slot);
    if (lane_beside(st, t) != POOL_NONE)
        return true;
    return !lane_is_ordered(s->lane) && s->send_next != slot;
}

void streams_turn(struct streams *st, struct stream_table *t, uint32_t slot, uint32_t packets,
                  bool more)
{
    struct stream *s = stream_at(t, slot);
    packets += st->turn;
    if (more && packets < TURN_PACKETS) {
        st->turn = (uint8_t)packets;
        return;
    }
    st->turn = 0;
    st->yields = lane_is_ordered(s->lane);
    if (!more) {
        streams_no_send(st, t, slot);
    } else if (!st->yields) {
        uint32_t *link = lane_link(st, t, s->lane);
        assert(*link == slot);
        lane_lead(t, link, s->send_next);
    }
}

void streams_set_priority(struct streams *st, struct stream_table *t, uint32_t slot,
                          unsigned urgency, bool incremental)
{
    struct stream *s = stream_at(t, slot);
    assert(urgency < URGENCIES);
    s->own_lane = lane_of(urgency, incremental);
    if (s->lane != LANE_NONE)
        streams_want_send(st, t, slot);
}

bool streams_ready(struct streams *st, struct stream_table *t, uint32_t slot)
{
    struct stream *s = stream_at(t, slot);
    bool was_empty = st->ready_head == POOL_NONE;
    if (s->ready || !s->events)
        return false;
    s->ready = true;
    s->ready_next = POOL_NONE;
    if (was_empty)
        st->ready_head = slot;
    else
        stream_at(t, st->ready_tail)->ready_next = slot;
    st->ready_tail = slot;
    return was_empty;
}

uint32_t streams_next_ready(struct streams *st, struct stream_table *t)
{
    uint32_t slot = st->ready_head;
    if (slot == POOL_NONE)
        return POOL_NONE;
    struct stream *s = stream_at(t, slot);
    st->ready_head = s->ready_next;
    if (st->ready_head == POOL_NONE)
        st->ready_tail = POOL_NONE;
    s->ready = false;
    s->ready_next = POOL_NONE;
    return slot;
}

/* Only at a stream's end, when it may still have events nobody asked for. */
static void streams_unready(struct streams *st, struct stream_table *t, uint32_t slot)
{
    uint32_t before = POOL_NONE;
    if (!stream_at(t, slot)->ready)
        return;
    for (uint32_t i = st->ready_head; i != slot; i = stream_at(t, i)->ready_next)
        before = i;
    uint32_t next = stream_at(t, slot)->ready_next;
    if (before == POOL_NONE)
        st->ready_head = next;
    else
        stream_at(t, before)->ready_next = next;
    if (st->ready_tail == slot)
        st->ready_tail = before;
}

void streams_release(struct streams *st, struct stream_table *t, uint32_t slot)
{
    struct stream *s = stream_at(t, slot);
    unsigned uni = stream_id_is_uni(s->id);
    assert(s->records == 0 && !s->settling);
    streams_no_send(st, t, slot);
    streams_unready(st, t, slot);
    map_remove(&t->map, streams_hash(st, t, s->id), slot);
    if (s->all_prev != POOL_NONE)
        stream_at(t, s->all_prev)->all_next = s->all_next;
    else
        st->all = s->all_next;
    if (s->all_next != POOL_NONE)
        stream_at(t, s->all_next)->all_prev = s->all_prev;
    if (st->last_slot == slot)
        st->last_slot = POOL_NONE;
    if (!s->local) {
        st->local_done[uni] -= s->done; /* not: one that ends with its connection */
        st->local_closed[uni]++;
        credit_due(st, t, uni);
    }
    st->count--;
    pool_give(&t->pool, slot);
}
