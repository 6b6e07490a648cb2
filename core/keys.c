/* keys.c -- see keys.h. RFC 9001 §6. */
#include "core/keys.h"
#include "crypto/prim.h"
#include <assert.h>
#include <string.h>

/* The keys of a secret, their contexts kept by the endpoint, and the next secret. hp may be NULL.
 */
static void keys_make(struct keys_app *k, const struct secret *secret, struct aead_key *key,
                      struct hp_key *hp, struct secret *next)
{
    schedule_keys_next(k->version, secret, key, hp, next);
    protect_aead_bind(key, k->protect);
    if (hp)
        protect_hp_bind(hp, k->protect);
}

void keys_set_tx(struct keys_app *k, uint32_t version, const struct secret *secret)
{
    k->version = version;
    keys_make(k, secret, &k->tx, &k->tx_hp, &k->tx_next);
}

/* Derives the read key after rx into `other`, so that an update costs no derivation when its first
 * packet comes (RFC 9001 §6.3, §9.5: no timing to tell). */
static void keys_derive_next(struct keys_app *k)
{
    keys_make(k, &k->rx_next, &k->other, NULL, &k->rx_next);
    k->other_set = k->other_is_next = true;
}

void keys_set_rx(struct keys_app *k, uint32_t version, const struct secret *secret)
{
    k->version = version;
    k->rx_phase_first = UINT64_MAX;
    keys_make(k, secret, &k->rx, &k->rx_hp, &k->rx_next);
    keys_derive_next(k);
}

/* RFC 9001 §5.5: what opens neither with this key nor with the next is dropped. */
const struct aead_key *keys_for(const struct keys_app *k, bool phase_bit)
{
    if (!k->rx.set)
        return NULL;
    if (phase_bit == (k->rx_phase & 1))
        return &k->rx;
    return k->other_set ? &k->other : NULL;
}

static void keys_advance_tx(struct keys_app *k)
{
    protect_aead_wipe(&k->tx);
    keys_make(k, &k->tx_next, &k->tx, NULL, &k->tx_next);
    k->tx_phase++;
    k->tx_count = 0;
    k->phase_acked = false;
}

int keys_on_opened(struct keys_app *k, bool phase_bit, uint64_t number, bool *updated)
{
    *updated = false;
    if (phase_bit == (k->rx_phase & 1)) {
        if (number < k->rx_phase_first)
            k->rx_phase_first = number;
        return AQ_OK;
    }
    if (!k->other_is_next) /* RFC 9001 §6.4: an old key must not protect a higher number than a
                              newer one did */
        return number > k->rx_phase_first ? AQ_KEY_UPDATE_ERROR : AQ_OK;
    struct aead_key previous = k->rx;
    k->rx = k->other;
    k->other = previous;
    k->other_is_next = false;
    prim_wipe(&previous, sizeof previous); /* a copy: the key itself lives on */
    k->rx_phase++;
    k->rx_phase_first = number;
    if (k->tx_phase < k->rx_phase) /* RFC 9001 §6.2: the peer began: answer with the new key */
        keys_advance_tx(k);
    *updated = true;
    return AQ_OK;
}

bool keys_can_update(const struct keys_app *k)
{
    /* RFC 9001 §6.1: not before a packet of this phase was acknowledged; §6.5: nor before the peer
     * can have the keys, which is when our own previous read key is gone. */
    return k->phase_acked && k->tx_phase == k->rx_phase && k->other_set && k->other_is_next;
}

void keys_update(struct keys_app *k)
{
    assert(keys_can_update(k));
    keys_advance_tx(k);
}

void keys_forget_previous(struct keys_app *k)
{
    if (k->other_is_next)
        return;
    protect_aead_wipe(&k->other);
    keys_derive_next(k);
}

void keys_wipe(struct keys_app *k)
{
    protect_aead_wipe(&k->tx);
    protect_aead_wipe(&k->rx);
    protect_aead_wipe(&k->other);
    protect_hp_wipe(&k->tx_hp);
    protect_hp_wipe(&k->rx_hp);
    schedule_wipe(&k->tx_next);
    schedule_wipe(&k->rx_next);
    memset(k, 0, sizeof *k);
}
