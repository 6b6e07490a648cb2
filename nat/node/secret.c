/* secret.c -- the root of connection ids and reset tokens, from the private key (RFC 9000 §10.3).
 *
 * Who is killed and comes back at the same port finds packets of the connections that it had, and
 * ends them by stateless resets, if its secret is the same as before. So it is drawn from the key:
 * there is nothing to store, and nobody else can know it.
 *
 * RFC 9000 §21.11: of two endpoints with one secret, each tells whoever asks with an id of the
 * other's how to end the other's connections. So two processes with one key must not share it.
 * That is why the addresses that are listened on go into it: on one machine no two have the same.
 * Tokens of address validation hang on it, too, and are good after a restart: they say no more than
 * that an address was somebody's.
 *
 * Called by node.c and bootstrap.c. */
#include "nat/node/secret.h"

#include "core/addr.h"
#include "core/buf.h"

#include <string.h>

enum {
    ROLE_MAX = 32,
    ADDRS_MAX = 16,
    ADDR_MAX = 20
};

bool node_secret(const struct aq_tls *tls, const char *role, const struct aq_addr *listen,
                 unsigned count, uint8_t secret[32])
{
    uint8_t info[ROLE_MAX + ADDRS_MAX * ADDR_MAX], made[32];
    struct writer w = writer_make(info, sizeof info);
    bool fixed = false;
    write_bytes(&w, (const uint8_t *)role, strlen(role) + 1);
    for (unsigned i = 0; i < count; i++) {
        uint8_t at[ADDR_MAX];
        write_bytes(&w, at, addr_bytes(&listen[i], true, at));
        fixed |= listen[i].port != 0;
    }
    assert(!w.bad);
    if (!fixed || !aq_tls_secret(tls, info, (size_t)(w.p - info), made))
        return false;
    memcpy(secret, made, sizeof made);
    explicit_bzero(made, sizeof made);
    return true;
}
