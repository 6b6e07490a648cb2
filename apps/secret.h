/* secret.h -- the file with a server's secrets, made on first use.
 *
 *     antqsec1 | root of connection ids, reset tokens and address tokens 32 | ticket key 48
 *
 * Mode 0600. A server that is started again with it knows what its former life gave out: its
 * connections are reset at once, its tokens validate addresses, its tickets resume. Who has it can
 * do the same, so it is refused where others could read it. */
#ifndef APPS_SECRET_H
#define APPS_SECRET_H

#include <stdbool.h>
#include <stdint.h>

struct secrets {
    uint8_t root[32], ticket_key[48];
};

/* Reads the file, or makes it if it is not there; false, with a complaint, when neither works. */
bool secrets_load(struct secrets *secrets, const char *path);

#endif
