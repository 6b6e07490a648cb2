/* addr.h -- addresses: compare, print, classify. */
#ifndef AQ_ADDR_H
#define AQ_ADDR_H

#include "core/antq.h"

bool addr_equal(const struct aq_addr *a, const struct aq_addr *b); /* ip, port, scope */
bool addr_same_ip(const struct aq_addr *a, const struct aq_addr *b);
/* The bytes that name it, canonical, for hashing and token binding: family, ip, port. Returns the
 * size, <= 19. */
size_t addr_bytes(const struct aq_addr *a, bool with_port, uint8_t out[20]);

#endif
