/* ticket.h -- a session ticket and an address token, kept in a file from one run to the next.
 *
 *     antqtkt3 | size of ticket, 32 bits in network order | ticket | size of token, same | token
 *
 * Both are the core's bytes, not looked into here. The file is secret: who has it can resume. */
#ifndef APPS_TICKET_H
#define APPS_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/antq.h"

enum {
    TICKET_MAX = 16384,
    TOKEN_MAX = 1024
};

struct ticket {
    uint8_t ticket[TICKET_MAX], token[TOKEN_MAX];
    size_t ticket_size, token_size; /* 0: none */
    bool kept;                      /* a ticket came in this run */
    bool unsaved;                   /* what came last is not in the file yet */
};

/* Reads the file, if there is one; false, with a complaint, when it cannot be used. */
bool ticket_load(struct ticket *ticket, const char *path);
/* Gives what there is to a connection; it must stay until aq_dial. */
void ticket_use(const struct ticket *ticket, struct aq_connect *connect);
/* The token has gone to a connection: it is used once (RFC 9000 §8.1.3). Whether there was one. */
bool ticket_spend(struct ticket *ticket);
/* Takes what an AQ_EVENT_TICKET or AQ_EVENT_TOKEN brings. */
void ticket_take(struct ticket *ticket, const struct aq_event *event);
/* Replaces the file by what there is; false, with a complaint, when that fails. Allocates
 * nothing. */
bool ticket_save(struct ticket *ticket, const char *path);

#endif
