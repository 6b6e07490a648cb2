/* bbr.h -- what cc_bbr.c (states) and bbr_model.c (the model of the path, and the rate and window
 * that follow from it) share. Nobody else includes it. */
#ifndef AQ_BBR_H
#define AQ_BBR_H

#include "core/cc.h"
#include "core/rate.h"

enum bbr_state {
    BBR_STARTUP,
    BBR_DRAIN,
    BBR_DOWN,
    BBR_CRUISE,
    BBR_REFILL,
    BBR_UP,
    BBR_PROBE_RTT,
    BBR_STATES
};

enum ack_phase {
    ACKS_INIT,
    ACKS_REFILLING,
    ACKS_PROBE_STARTING,
    ACKS_PROBE_FEEDBACK,
    ACKS_PROBE_STOPPING
};

enum {
    SECOND_US = 1000000,
    LOSS_BASE_ROUNDS = 16,
    LOSS_BASE_MAX = 500,   /* 5 % */
    LOSS_PERCENT = 2,      /* LossThresh */
    BETA_PERCENT = 70,     /* Beta */
    HEADROOM_PERCENT = 15, /* Headroom */
    MARGIN_PERCENT = 1,    /* PacingMarginPercent */
    MIN_PIPE_PACKETS = 4,  /* MinPipeCwnd */
    STARTUP_LOSS_EVENTS = 6,
    FULL_BW_ROUNDS = 3,
    DRAIN_ROUNDS = 3,
    RENO_ROUNDS = 63,
    EXTRA_ACKED_ROUNDS = 5, /* of two slots each: 5 to 10 rounds */
    QUANTUM_PACKETS = 64,
    PROBE_RTT_US = 200000, /* ProbeRTTDuration */
    PROBE_RTT_INTERVAL_US = 5 * SECOND_US,
    MIN_RTT_US = 10 * SECOND_US, /* MinRTTFilterLen */
    GRAIN = 32                   /* of an aggregate: this part of a round trip */
};

#define UNBOUND  UINT64_MAX
#define RATE_MAX UINT64_C(100000000000) /* bytes a second: keeps products within 64 bits */

struct cc_bbr {
    struct rate rate;
    struct quota *quota;
    /* bytes a second */
    uint64_t max_bw[2]; /* of the last probing cycle and of this one */
    uint64_t bw, bw_short, bw_latest, full_bw, pacing_rate;
    /* bytes */
    uint64_t inflight_long, inflight_short, inflight_latest, max_inflight;
    uint64_t prior_cwnd, initial_cwnd;
    uint64_t up_acked, up_acked_per_step; /* UNBOUND: inflight_long does not grow */
    uint64_t extra_acked[2], extra_delivered;
    /* bytes delivered: when they are, a round is over */
    uint64_t round_end, loss_round_end;
    uint64_t rounds, limited_round, drain_round, extra_round;
    uint64_t rounds_since_up;
    /* since the round began: what says whether its losses are the path's own */
    uint64_t round_lost, round_delivered, round_rtt_us;
    uint64_t loss_round_lost, loss_round_delivered;
    /* times and durations */
    uint64_t min_rtt_us, min_rtt_at_us, probe_rtt_min_us, probe_rtt_min_at_us;
    uint64_t probe_rtt_done_us; /* 0: not in flight little enough yet */
    uint64_t extra_since_us, cycle_us, probe_wait_us;
    /* before the last loss, if it proves to be none */
    uint64_t undo_bw_short, undo_inflight_short, undo_inflight_long;
    uint32_t loss_base;        /* the path's own losses: 1 / 10,000, times LOSS_BASE_ROUNDS */
    uint8_t state, undo_state; /* enum bbr_state; undo_state BBR_STATES: none */
    uint8_t ack_phase;         /* enum ack_phase */
    uint8_t full_bw_count, up_rounds, loss_events;
    bool round_start, loss_round_start, loss_in_round;
    bool full_bw_reached, full_bw_now;
    bool round_cruised; /* the round began in CRUISE */
    bool idle_restart, recovering, has_rtt;
    bool probe_sample; /* is_bw_probe_sample */
    bool prev_too_high, prev_precautionary;
    bool probe_rtt_expired, probe_rtt_round_done;
};

/* What one report brought: the draft's RS. */
struct bbr_report {
    struct rate_sample sample;
    uint64_t acked, lost, rtt_us; /* rtt_us 0: none */
    uint64_t now;
};

/* Gains in percent. */
struct bbr_gain {
    uint16_t pacing, cwnd;
};
extern const struct bbr_gain bbr_gains[BBR_STATES];

static inline bool bbr_in_probe_bw(const struct cc_bbr *b)
{
    return b->state >= BBR_DOWN && b->state <= BBR_UP;
}

static inline bool bbr_is_probing_bw(const struct cc_bbr *b)
{
    return b->state == BBR_STARTUP || b->state == BBR_REFILL || b->state == BBR_UP;
}

static inline void bbr_start_round(struct cc_bbr *b)
{
    b->round_end = b->rate.delivered;
}

static inline bool bbr_is_cwnd_limited(const struct cc_bbr *b)
{
    return b->rounds - b->limited_round <= 1;
}

static inline void bbr_reset_congestion_signals(struct cc_bbr *b)
{
    b->loss_in_round = false;
    b->bw_latest = b->inflight_latest = 0;
}

static inline void bbr_reset_short_term(struct cc_bbr *b)
{
    b->bw_short = b->inflight_short = UNBOUND;
}

static inline void bbr_reset_full_bw(struct cc_bbr *b, uint64_t bw)
{
    b->full_bw = bw;
    b->full_bw_count = 0;
    b->full_bw_now = false;
}

/* ---- bbr_model.c ---- */
uint64_t bbr_min_pipe(const struct cc *cc);
uint64_t bbr_max_bw(const struct cc_bbr *b);
uint64_t bbr_bdp_multiple(const struct cc_bbr *b, uint64_t bw, unsigned gain);
uint64_t bbr_inflight_at(const struct cc *cc, uint64_t bw, unsigned gain);
uint64_t bbr_inflight_with_headroom(const struct cc *cc);
uint64_t bbr_target_inflight(const struct cc *cc);
uint64_t bbr_probe_rtt_cwnd(const struct cc *cc);
bool bbr_is_inflight_too_high(const struct cc *cc, const struct rate_sample *s);
uint64_t bbr_inflight_at_loss(const struct rate_sample *s, uint64_t bytes);
void bbr_update_signals(struct cc *cc, const struct bbr_report *r);
void bbr_update_aggregation(struct cc *cc, const struct bbr_report *r);
void bbr_check_full_bw(struct cc_bbr *b, const struct rate_sample *s);
void bbr_update_min_rtt(struct cc_bbr *b, const struct bbr_report *r);
void bbr_set_pacing_rate(struct cc_bbr *b, unsigned gain);
void bbr_set_cwnd(struct cc *cc, const struct bbr_report *r);

#endif
