/* loss_model.c -- core/loss.c against a plain transcript of the pseudocode of RFC 9002 §A, over
 * random histories.
 *
 * The model keeps every packet for ever and looks at all of them each time; losses, timers,
 * sums, samples and persistent congestion must agree after every step. */
#include "tests/loss_world.h"

enum {
    UNSENT = 0,
    OPEN,
    GOT,
    GONE,
    NOT_SENT
};

struct model {
    uint64_t time_us[NUMBERS];
    uint8_t state[NUMBERS], flags[NUMBERS];
    uint64_t next, largest_acked, loss_time_us;
    uint64_t acked_bytes, lost_bytes;
    bool persistent, sample;
    uint64_t sample_us;
};

/* RFC 9002 §A.7 */
static void model_ack(struct model *m, const bool *named, uint64_t below, uint64_t now)
{
    bool eliciting = false, largest_new = false;
    uint64_t largest = 0;
    m->acked_bytes = m->lost_bytes = 0;
    m->persistent = m->sample = false;
    for (uint64_t n = 0; n < below; n++) {
        if (!named[n])
            continue;
        largest = n;
        largest_new = m->state[n] == OPEN;
        if (m->state[n] != OPEN)
            continue;
        m->state[n] = GOT;
        m->acked_bytes += m->flags[n] & SENT_IN_FLIGHT ? 1000 : 0;
        eliciting |= (m->flags[n] & SENT_ELICITING) != 0;
    }
    if (m->largest_acked == UINT64_MAX || largest > m->largest_acked)
        m->largest_acked = largest;
    m->sample = largest_new && eliciting;
    m->sample_us = now - m->time_us[largest];
}

/* RFC 9002 §A.10, with persistent congestion by its definition: every pair of packets lost now. */
static void model_detect(struct model *m, const struct rtt *rtt, uint64_t max_ack_delay,
                         uint64_t now)
{
    static bool lost[NUMBERS];
    memset(lost, 0, sizeof lost);
    m->loss_time_us = AQ_NEVER;
    if (m->largest_acked == UINT64_MAX)
        return;
    uint64_t rtt_us = rtt->latest_us > rtt->smoothed_us ? rtt->latest_us : rtt->smoothed_us;
    uint64_t delay = rtt_us * 9 / 8 > 1000 ? rtt_us * 9 / 8 : 1000;
    for (uint64_t n = 0; n < m->largest_acked; n++) {
        if (m->state[n] != OPEN || !(m->flags[n] & SENT_IN_FLIGHT))
            continue;
        uint64_t later = 0;
        for (uint64_t i = n + 1; i <= m->largest_acked; i++)
            later += m->state[i] != NOT_SENT;
        if (m->time_us[n] + delay <= now || later >= 3) {
            m->state[n] = GONE;
            lost[n] = true;
            m->lost_bytes += 1000;
        } else if (m->time_us[n] + delay < m->loss_time_us) {
            m->loss_time_us = m->time_us[n] + delay;
        }
    }
    uint64_t var4 = 4 * rtt->var_us > 1000 ? 4 * rtt->var_us : 1000;
    uint64_t duration = 3 * (rtt->smoothed_us + var4 + max_ack_delay);
    for (uint64_t a = 0; a < m->largest_acked; a++) {
        if (!lost[a] || !(m->flags[a] & SENT_ELICITING) || m->time_us[a] <= rtt->first_sample_us)
            continue;
        for (uint64_t b = a + 1; b < m->largest_acked && m->state[b] != GOT; b++)
            if (lost[b] && m->flags[b] & SENT_ELICITING && m->time_us[b] - m->time_us[a] > duration)
                m->persistent = true;
    }
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void compare(const struct world *w, const struct model *m, bool acked)
{
    for (uint64_t n = 0; n < m->next; n++) {
        uint8_t expect = m->state[n] == GOT    ? SENT_ACKED
                         : m->state[n] == GONE ? SENT_LOST
                                               : SENT_NONE;
        /* A packet of ACKs only may leave the ring before its ACK comes. */
        if (m->flags[n] & SENT_IN_FLIGHT)
            cr_assert_eq(w->fate[n], expect, "packet %d", (int)n);
        else
            cr_assert(w->fate[n] == expect || w->fate[n] == SENT_NONE);
        cr_assert_eq(w->fate[n], w->record_fate[n]);
    }
    cr_assert_eq(w->ring.loss_time_us, m->loss_time_us);
    cr_assert_eq(w->result.path[0].lost_bytes, m->lost_bytes);
    cr_assert_eq(w->result.path[0].persistent, m->persistent);
    if (!acked)
        return;
    cr_assert_eq(w->ring.largest_acked, m->largest_acked);
    cr_assert_eq(w->result.path[0].acked_bytes, m->acked_bytes);
    if (w->result.has_sample)
        cr_assert_eq(w->result.sample_us, m->sample_us);
    else
        cr_assert(!m->sample || !(m->flags[m->largest_acked] & SENT_IN_FLIGHT));
}

static void model_send(struct world *w, struct model *m, uint64_t *state, uint64_t now)
{
    uint64_t n = m->next++;
    uint64_t dice = random_next(state) % 64;
    if (dice == 0) {
        cr_assert_eq(sent_reserve(&w->ring, &w->quota, 1, 1), AQ_OK);
        sent_skip(&w->ring);
        m->state[n] = NOT_SENT;
        return;
    }
    m->flags[n] = dice < 8 ? 0 : dice < 12 ? SENT_IN_FLIGHT : FLIGHT;
    m->time_us[n] = now;
    m->state[n] = OPEN;
    cr_assert_eq(send_on(w, 0, m->flags[n], now), n);
}

static void model_round(uint64_t seed)
{
    struct world *w = world_new();
    struct model *m = calloc(1, sizeof *m);
    cr_assert_not_null(m);
    m->largest_acked = UINT64_MAX;
    m->loss_time_us = AQ_NEVER;
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, now = 1000;
    uint64_t loss = random_next(&state) % 100, max_ack_delay = 25 * MS;
    bool named[NUMBERS] = {
        false}; /* what the peer has; its ACKs tell all of it above some number */
    uint64_t seen = 0;
    while (m->next < 400) {
        for (uint64_t i = random_next(&state) % 8; i > 0; i--)
            model_send(w, m, &state, now);
        now += random_next(&state) % (random_next(&state) % 16 ? 20 * MS : 2 * SECOND);
        for (; seen + random_next(&state) % 4 < m->next; seen++)
            named[seen] = m->state[seen] == OPEN && random_next(&state) % 100 >= loss;
        if (m->next > 4 && random_next(&state) % 4 == 0) { /* a late one */
            uint64_t n = random_next(&state) % m->next;
            named[n] |= m->state[n] == OPEN;
        }
        uint64_t below = seen;
        while (below > 0 && !named[below - 1])
            below--;
        bool acked = below > 0 && random_next(&state) % 4;
        memset(&w->result, 0, sizeof w->result);
        m->acked_bytes = m->lost_bytes = 0;
        m->persistent = false;
        if (acked) {
            cr_assert_eq(ack_named(w, named, below, now), AQ_OK);
            model_ack(m, named, below, now);
            if (w->result.has_sample)
                rtt_sample(&w->rtt[0], w->result.sample_us, random_next(&state) % 30000, now);
        }
        model_detect(m, &w->rtt[0], max_ack_delay, now);
        detect(w, max_ack_delay, now);
        compare(w, m, acked);
    }
    free(m);
    world_end(w);
}

/* RFC 9002 §A */
Test(loss_model, random_against_pseudocode)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        model_round(seed);
}
