/* cand.h -- candidates: addresses at which a peer may be reached, which of them may be probed, and
 * in which order (PROTOCOL §5). */
#ifndef AQ_NAT_CAND_H
#define AQ_NAT_CAND_H

#include "core/antq.h"

enum {
    CANDS_MAX = 32, /* remote addresses held per connection (PROTOCOL §1) */
    PREDICT_WINDOW = 32,
    LOW_PORT = 1024
};

enum addr_class {
    ADDR_PUBLIC,
    ADDR_PRIVATE,    /* RFC 1918, RFC 6598 (100.64/10), RFC 4193 (fc00::/7) */
    ADDR_LINK_LOCAL, /* RFC 3927, fe80::/10 */
    ADDR_FORBIDDEN   /* loopback, multicast, broadcast, unspecified, reserved, IPv4-mapped, none */
};
enum addr_class addr_class(const struct aq_addr *a);

enum cand_kind {    /* in the order in which they are preferred */
    CAND_HOST,      /* of an interface */
    CAND_REFLEXIVE, /* where a probe came from */
    CAND_OBSERVED,  /* what a coordinator or the peer sees */
    CAND_PREDICTED, /* what a NAT that counts up will give next */
    CAND_RELAY,
    CAND_KINDS
};

struct cand {
    struct aq_addr addr;
    uint8_t kind; /* enum cand_kind */
};

struct cand_list {
    struct cand v[CANDS_MAX];
    unsigned count;
};
/* Adds it unless the address is there already, whose kind then becomes the better of the two.
 * False: full. */
bool cand_add(struct cand_list *list, const struct aq_addr *addr, enum cand_kind kind);
bool cand_has(const struct cand_list *list, const struct aq_addr *addr);

/* Who we are and who they are, as the coordinators see both: what decides about private targets. */
struct cand_scope {
    const struct cand_list *own;                /* all our candidates: never probed */
    struct aq_addr own_observed, peer_observed; /* family 0: unknown */
};

enum cand_verdict {
    CAND_OK,
    CAND_IS_FORBIDDEN, /* its class */
    CAND_IS_OWN,
    CAND_LOW_PORT,     /* below 1,024, and no coordinator observed it */
    CAND_OUT_OF_SCOPE, /* private, and nothing says that we share a network */
};
/* PROTOCOL §5: whether a claimed address may be probed at all. */
enum cand_verdict cand_check(const struct cand_scope *scope, const struct aq_addr *addr);

/* The higher the sooner: of a pair of ours and theirs. RFC 8445 §5.1.2 and RFC 8445 §6.1.2.3. */
uint32_t cand_priority(const struct cand *c);
uint64_t cand_pair_priority(uint32_t client, uint32_t server);

/* Two mappings of one socket, seen by two observers in this order: the ports that a NAT which
 * counts up will give next, up to PREDICT_WINDOW. 0: it does not count. */
unsigned cand_predict(uint16_t first, uint16_t second, uint16_t ports[PREDICT_WINDOW]);

#endif
