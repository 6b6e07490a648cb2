/* lb.c -- see lb.h. draft-ietf-quic-load-balancers §3, §5. */
#include "core/lb.h"
#include <assert.h>
#include <string.h>

enum {
    BLOCK = 16,
    HALF_MAX = 10
};

/* The two halves of what is encrypted. An odd number of bytes has its middle one split: 4 bits in
 * each half, the rest of that byte 0. */
struct halves {
    uint8_t left[HALF_MAX], right[HALF_MAX];
    uint8_t size, half;
};

static void halves_trim(struct halves *h)
{
    if (h->size & 1) {
        h->left[h->half - 1] &= 0xf0;
        h->right[0] &= 0x0f;
    }
}

static void halves_split(struct halves *h, const uint8_t *bytes, unsigned size)
{
    assert(size >= 5 && size < 2 * HALF_MAX);
    h->size = (uint8_t)size;
    h->half = (uint8_t)((size + 1) / 2);
    memcpy(h->left, bytes, h->half);
    memcpy(h->right, bytes + size - h->half, h->half);
    halves_trim(h);
}

static void halves_join(const struct halves *h, uint8_t *bytes)
{
    memcpy(bytes + h->size - h->half, h->right, h->half);
    if (h->size & 1) {
        memcpy(bytes, h->left, h->half - 1U);
        bytes[h->half - 1] |= h->left[h->half - 1];
    } else {
        memcpy(bytes, h->left, h->half);
    }
}

/* draft-ietf-quic-load-balancers §5.4.2: to ^= AES(from, zeros, size, pass). */
static void pass(const struct block_key *key, struct halves *h, uint8_t number)
{
    uint8_t *to = number & 1 ? h->right : h->left;
    const uint8_t *from = number & 1 ? h->left : h->right;
    uint8_t block[BLOCK] = {0}, out[BLOCK];
    memcpy(block, from, h->half);
    block[BLOCK - 2] = h->size;
    block[BLOCK - 1] = number;
    prim_block_encrypt(key, block, out);
    for (unsigned i = 0; i < h->half; i++)
        to[i] ^= out[i];
    halves_trim(h);
}

void lb_encrypt(const struct block_key *key, uint8_t *bytes, unsigned size)
{
    struct halves h;
    if (size == BLOCK) { /* draft-ietf-quic-load-balancers §5.4.1 */
        uint8_t block[BLOCK];
        memcpy(block, bytes, BLOCK);
        prim_block_encrypt(key, block, bytes);
        return;
    }
    halves_split(&h, bytes, size);
    for (uint8_t number = 1; number <= 4; number++)
        pass(key, &h, number);
    halves_join(&h, bytes);
}

void lb_decrypt(const struct block_key *key, uint8_t *bytes, unsigned size)
{
    struct halves h;
    if (size == BLOCK) {
        uint8_t block[BLOCK];
        memcpy(block, bytes, BLOCK);
        prim_block_decrypt(key, block, bytes);
        return;
    }
    halves_split(&h, bytes, size);
    for (uint8_t number = 4; number >= 1; number--)
        pass(key, &h, number);
    halves_join(&h, bytes);
}

void lb_init(struct lb *lb, const struct aq_lb_config *config)
{
    lb->mode = (uint8_t)config->mode;
    lb->config_id = config->config_id;
    lb->server_id_size = config->server_id_size;
    if (config->mode != AQ_LB_OFF)
        memcpy(lb->server_id, config->server_id, config->server_id_size);
    if (config->mode == AQ_LB_ENCRYPTED)
        prim_block_init(&lb->key, config->key);
}

/* draft-ietf-quic-load-balancers §3: the configuration's id, and the size of what follows. */
static uint8_t first_byte(const struct lb *lb, unsigned size)
{
    return (uint8_t)((unsigned)lb->config_id << 5 | (size - 1));
}

void lb_wrap(const struct lb *lb, uint8_t *cid, unsigned size)
{
    cid[0] = first_byte(lb, size);
    memcpy(cid + 1, lb->server_id, lb->server_id_size);
    if (lb->mode == AQ_LB_ENCRYPTED)
        lb_encrypt(&lb->key, cid + 1, size - 1);
}

bool lb_unwrap(const struct lb *lb, uint8_t *cid, unsigned size)
{
    if (cid[0] != first_byte(lb, size))
        return false;
    if (lb->mode == AQ_LB_ENCRYPTED)
        lb_decrypt(&lb->key, cid + 1, size - 1);
    return memcmp(cid + 1, lb->server_id, lb->server_id_size) == 0;
}
