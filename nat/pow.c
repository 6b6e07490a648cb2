/* pow.c -- proof of work: SHA-256(challenge | peer id | solution) with leading zero bits.
 *
 * Called by nat/registry (challenge, verification: two hashes) and nat/registrar (search, in small
 * steps, so that nothing else of the peer waits for it). */
#include "nat/pow.h"

#include "crypto/prim.h"

#include <string.h>

static void challenge_of(const uint8_t secret[32], const struct peer_id *peer, uint64_t period,
                         uint8_t out[CHALLENGE_SIZE])
{
    uint8_t in[PEER_ID_SIZE + 8], mac[32];
    struct writer w = writer_make(in, sizeof in);
    write_bytes(&w, peer->bytes, PEER_ID_SIZE);
    write_uint(&w, period, 8);
    prim_hmac(secret, 32, in, sizeof in, mac);
    memcpy(out, mac, CHALLENGE_SIZE);
}

void pow_challenge(const uint8_t secret[32], const struct peer_id *peer, uint64_t now,
                   uint8_t out[CHALLENGE_SIZE])
{
    challenge_of(secret, peer, now / POW_PERIOD_US, out);
}

bool pow_challenge_is_ours(const uint8_t secret[32], const struct peer_id *peer, uint64_t now,
                           const uint8_t challenge[CHALLENGE_SIZE])
{
    /* PROTOCOL §3: good for 60 to 120 seconds: this period's, or the one's before. */
    uint8_t mine[CHALLENGE_SIZE];
    uint64_t period = now / POW_PERIOD_US;
    challenge_of(secret, peer, period, mine);
    if (prim_equal(mine, challenge, sizeof mine))
        return true;
    if (period == 0)
        return false;
    challenge_of(secret, peer, period - 1, mine);
    return prim_equal(mine, challenge, sizeof mine);
}

bool pow_solves(const uint8_t challenge[CHALLENGE_SIZE], const struct peer_id *peer,
                uint64_t solution, unsigned bits)
{
    uint8_t in[CHALLENGE_SIZE + PEER_ID_SIZE + 8], hash[32];
    struct writer w = writer_make(in, sizeof in);
    write_bytes(&w, challenge, CHALLENGE_SIZE);
    write_bytes(&w, peer->bytes, PEER_ID_SIZE);
    write_uint(&w, solution, 8);
    prim_sha256(in, sizeof in, hash);
    uint64_t head = load_be64(hash);
    return bits == 0 || (bits <= 64 && head >> (64 - bits) == 0);
}

bool pow_search(const uint8_t challenge[CHALLENGE_SIZE], const struct peer_id *peer, unsigned bits,
                uint32_t tries, uint64_t *solution)
{
    for (; tries > 0; tries--, ++*solution) {
        if (pow_solves(challenge, peer, *solution, bits))
            return true;
    }
    return false;
}
