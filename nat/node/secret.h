/* secret.h -- the secret of an endpoint that has a key and a port of its own. */
#ifndef AQ_NODE_SECRET_H
#define AQ_NODE_SECRET_H

#include "core/antq.h"

/* What aq_config.secret is to be, for who listens there as `role`. False, and secret is as before:
 * no port is fixed, so that it will hardly be found there again, or tls has no key. */
bool node_secret(const struct aq_tls *tls, const char *role, const struct aq_addr *listen,
                 unsigned count, uint8_t secret[32]);

#endif
