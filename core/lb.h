/* lb.h -- connection ids that a load balancer can read (draft-ietf-quic-load-balancers).
 *
 *     config id 3, size of the rest 5 | server id 1 to 11 | nonce, 8 and more
 *
 * The balancer finds the server by the server id; the nonce is what cid.c makes for every id, so
 * that this server finds the connection by the same decryption as ever. With a key shared with the
 * balancer all but the first byte is encrypted: where server id and nonce have 16 bytes together as
 * one AES block, else by a four-round Feistel network of it. */
#ifndef AQ_LB_H
#define AQ_LB_H

#include "core/params.h"
#include "crypto/prim.h"

enum {
    LB_SERVER_ID_MAX = 11
};

struct lb {
    uint8_t mode; /* enum aq_lb_mode */
    uint8_t config_id;
    uint8_t server_id_size;
    uint8_t server_id[LB_SERVER_ID_MAX];
    struct block_key key;
};

void lb_init(struct lb *lb, const struct aq_lb_config *config);
/* Makes the id of size bytes whose nonce is there already, behind the place of the server id. */
void lb_wrap(const struct lb *lb, uint8_t *cid, unsigned size);
/* Undoes it in place. False: not of this configuration, or another server's. */
bool lb_unwrap(const struct lb *lb, uint8_t *cid, unsigned size);

/* Server id and nonce, size bytes together, 5 to 19 (§5.4.1, §5.4.2). In place. */
void lb_encrypt(const struct block_key *key, uint8_t *bytes, unsigned size);
void lb_decrypt(const struct block_key *key, uint8_t *bytes, unsigned size);

#endif
