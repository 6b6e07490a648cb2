/* pow.h -- proof of work, which a bootstrap node under load asks of newcomers (PROTOCOL §3).
 *
 * The challenge is made from the PeerId, the time and a secret, so nothing is stored until it is
 * solved, and a solution serves one PeerId for a minute or two. */
#ifndef AQ_NAT_POW_H
#define AQ_NAT_POW_H

#include "nat/message.h"

enum {
    POW_BITS_MAX = 40,        /* more than a peer would ever find */
    POW_PERIOD_US = 60000000, /* a challenge is good for this period and the next */
};

void pow_challenge(const uint8_t secret[32], const struct peer_id *peer, uint64_t now,
                   uint8_t out[CHALLENGE_SIZE]);
/* Whether it is one that we made for this peer, not long ago. */
bool pow_challenge_is_ours(const uint8_t secret[32], const struct peer_id *peer, uint64_t now,
                           const uint8_t challenge[CHALLENGE_SIZE]);
/* Whether SHA-256(challenge, peer, solution) begins with so many zero bits. */
bool pow_solves(const uint8_t challenge[CHALLENGE_SIZE], const struct peer_id *peer,
                uint64_t solution, unsigned bits);
/* Tries `tries` numbers from *solution on; true: *solution is one, false: it is where to go on. */
bool pow_search(const uint8_t challenge[CHALLENGE_SIZE], const struct peer_id *peer, unsigned bits,
                uint32_t tries, uint64_t *solution);

#endif
