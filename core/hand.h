/* hand.h -- what a connection needs only for its handshake: TLS, the Initial and Handshake spaces,
 * CRYPTO streams (RFC 9000 §7, §19.6; RFC 9001 §4).
 *
 * Borrowed from a pool when a connection begins and given back when TLS has no more work, so that
 * an established connection does not pay for it. */
#ifndef AQ_HAND_H
#define AQ_HAND_H

#include "core/ack.h"
#include "core/params.h"
#include "core/recvq.h"
#include "core/sendq.h"
#include "core/sent.h"
#include "crypto/tls.h"

enum space_id {
    SPACE_INITIAL = 0,
    SPACE_HANDSHAKE = 1,
    SPACE_APP = 2,
    SPACES = 3
};
enum {
    CRYPTO_WINDOW = 32 * 1024,
    CRYPTO_GAPS = 64,
    HELD_SIZE = 8 * 1024,
    SERVER_NAME_MAX = 256,
    TOKEN_MAX = 512,
    KEPT_MAX = 128 /* parameters that are remembered, encoded */
};

/* One packet number space (RFC 9000 §12.3). */
struct space {
    struct ack ack;
    struct sent_ring sent;
    uint8_t probes; /* PTO packets owed */
};

struct keys_long { /* of a long header level */
    struct aead_key tx, rx;
    struct hp_key tx_hp, rx_hp;
};

/* One level's CRYPTO stream, both ways. */
struct crypto {
    struct sendq sendq;
    struct recvq recvq;
};

struct hand {
    struct tls tls;
    uint64_t began_us;
    struct space space[2]; /* Initial, Handshake */
    struct keys_long keys[2];
    struct crypto crypto[SPACES];
    struct cid odcid;      /* the client's first Destination Connection ID */
    struct cid retry_scid; /* size 255: no Retry */
    uint64_t odcid_hash;   /* in the endpoint's map */
    bool mapped;           /* it is */
    uint32_t original;     /* version of the first flight */
    bool version_known;    /* client: the server has shown which version it speaks */
    bool version_anew;     /* client: this is the second try, after a Version Negotiation */
    uint8_t *token;        /* client: to send in Initials; quota block of TOKEN_MAX bytes */
    uint16_t token_size;
    uint8_t *held; /* packets that came before their keys (SECURITY.md row 22): quota block */
    uint32_t held_size;
    uint8_t tickets;                    /* client: how many came */
    uint8_t hurried;                    /* so often before a PTO (RFC 9002 §6.2.3) */
    struct preferred_address preferred; /* client: the server's; its id of size 0: none */
    /* 0-RTT (early.c): the client's sending, the server's receiving keys; until when the server
     * has them after the handshake; the server's parameters as the client remembers them, encoded
     */
    struct aead_key early;
    struct hp_key early_hp;
    uint64_t early_until_us;
    uint16_t kept_size;
    uint8_t kept[KEPT_MAX];
};

/* CRYPTO bytes came. AQ_OK, AQ_FULL (too many gaps or no memory: do not acknowledge),
 * CRYPTO_BUFFER_EXCEEDED beyond the window of CRYPTO_WINDOW bytes (RFC 9000 §7.5). */
int crypto_on_data(struct crypto *c, struct quota *quota, uint64_t offset, const uint8_t *data,
                   uint64_t size);
/* The next bytes in order; NULL when there are none. crypto_consume gives them back. */
const uint8_t *crypto_peek(const struct crypto *c, size_t *size);
void crypto_consume(struct crypto *c, struct quota *quota, size_t size);
/* TLS wants bytes sent. AQ_OK or INTERNAL_ERROR (no memory). */
int crypto_write(struct crypto *c, struct quota *quota, const uint8_t *data, size_t size);
void crypto_clear(struct crypto *c, struct quota *quota);

/* After the TLS object is gone: CRYPTO data is acknowledged and discarded, but a TLS KeyUpdate in
 * it still closes (RFC 9001 §6). Follows message headers in order; what comes out of order is not
 * looked at. */
struct late_crypto {
    uint64_t offset;
    uint32_t message_left;
    uint8_t header[3], header_size; /* of the header's four bytes those that came */
};
/* AQ_OK or CRYPTO_ERROR + 10 (unexpected_message). */
int late_crypto_on_data(struct late_crypto *l, uint64_t offset, const uint8_t *data, uint64_t size);

#endif
