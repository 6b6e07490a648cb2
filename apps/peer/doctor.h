/* doctor.h -- what `antq doctor` has found out, and the words for it. */
#ifndef APPS_PEER_DOCTOR_H
#define APPS_PEER_DOCTOR_H

#include "apps/peer/peer.h"

enum {
    DOCTOR_IDS = 4 /* datagrams that one question is asked with: some may be lost */
};

/* Whether something gets through. */
enum doctor_answer {
    ANSWER_UNKNOWN,
    ANSWER_NO,
    ANSWER_YES
};

/* One question about what is let in, asked of a bootstrap node. */
struct doctor_probe {
    bool asked;               /* there was somebody to ask */
    unsigned index;           /* of the bootstrap node that sends */
    bool other_port;          /* from a port that we have not sent to */
    const struct aq_addr *to; /* NULL: to the socket that it knows */
    uint8_t ids[DOCTOR_IDS][16];
    unsigned tries, said; /* datagrams asked for; answers of the bootstrap node */
    const char *refused;  /* why it will not; NULL: it will */
    bool came;
};

enum doctor_kind { /* NAT.md section 5's columns */
    KIND_UNKNOWN,
    KIND_BLOCKED,
    KIND_PUBLIC,
    KIND_FULL_CONE,
    KIND_ADDRESS_RESTRICTED,
    KIND_PORT_RESTRICTED,
    KIND_SYMMETRIC_COUNTING,
    KIND_SYMMETRIC_RANDOM,
};

enum doctor_mapping {
    MAPPING_UNKNOWN,
    MAPPING_SAME, /* the same for everybody: endpoint independent */
    MAPPING_COUNTING,
    MAPPING_RANDOM,
};

/* Everything that is known; doctor.c finds it, doctor_report.c tells it. */
struct doctor_facts {
    struct aq_addr locals[AQ_HOSTS_MAX];
    unsigned local_count;
    struct aq_node_bootstrap boots[AQ_NODE_BOOTSTRAPS];
    unsigned boot_count, registered;
    unsigned observers; /* of the family that was looked at, and how many addresses they have */
    unsigned observer_hosts;
    uint8_t family;  /* 0: nobody was reached */
    bool nat, known; /* known: somebody has seen us */
    enum doctor_mapping mapping;
    enum doctor_answer other_port, other_host; /* let in, from where we have not sent to */
    enum doctor_answer ipv6;                   /* NO: has no address; UNKNOWN: has, and no more */
    uint16_t mtu;                              /* acknowledged */
    bool mtu_found;                            /* and larger ones were tried in vain */
    enum doctor_kind kind;
};

/* From what was seen to what it is: mapping, nat, kind. */
void doctor_conclude(struct doctor_facts *f);
void doctor_tell(const struct doctor_facts *f);
void doctor_tell_json(const struct doctor_facts *f);

#endif
