/* keys.h -- 1-RTT packet protection keys and their update (RFC 9001 §6).
 *
 * Two read keys at most (SECURITY.md row 20): the current phase's, and in the other slot either the
 * next one, derived before it is needed, or for three PTOs after an update the previous one. Phases
 * are counted; the wire's bit is the count's lowest. */
#ifndef AQ_KEYS_H
#define AQ_KEYS_H

#include "core/antq.h"
#include "crypto/schedule.h"

struct keys_app {
    struct protect *protect;       /* the endpoint's: contexts and the backend; NULL: none */
    struct aead_key tx, rx, other; /* other: next or previous read key */
    struct hp_key tx_hp, rx_hp;
    struct secret tx_next,
        rx_next; /* secrets of the phases after tx's and after the newest derived read key */
    uint32_t version;
    uint32_t tx_phase, rx_phase; /* three PTOs at least to each */
    uint64_t tx_count; /* packets sealed in this phase, against the confidentiality limit (§6.6) */
    uint64_t failures; /* packets that did not open, all phases, against the integrity limit */
    uint64_t rx_phase_first; /* lowest packet number received in rx_phase */
    bool other_is_next;      /* else it is the previous phase's */
    bool other_set;
    bool phase_acked; /* a packet of tx_phase was acknowledged: the next update may begin (§6.1) */
};

void keys_set_tx(struct keys_app *k, uint32_t version, const struct secret *secret);
void keys_set_rx(struct keys_app *k, uint32_t version, const struct secret *secret);

/* Which key opens a packet with this phase bit. NULL: none is there (drop). */
const struct aead_key *keys_for(const struct keys_app *k, bool phase_bit);

/* A packet was opened. AQ_OK; or KEY_UPDATE_ERROR: an old key for a number above one of a newer
 * phase (§6.4). *updated: the peer moved to the next phase: we followed (§6.2); the caller arms the
 * timer that ends with keys_forget_previous. */
int keys_on_opened(struct keys_app *k, bool phase_bit, uint64_t number, bool *updated);

/* We begin an update. The caller checked that it may (confirmed, keys_can_update). */
bool keys_can_update(const struct keys_app *k);
void keys_update(struct keys_app *k);

/* Three PTOs after an update: the previous read key is wiped and the next one derived. */
void keys_forget_previous(struct keys_app *k);
void keys_wipe(struct keys_app *k);

#endif
