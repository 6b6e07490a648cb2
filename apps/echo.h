/* echo.h -- the parts of `antq echo`: its flags, and its two ways of being a client. */
#ifndef APPS_ECHO_H
#define APPS_ECHO_H

#include "apps/client.h"

enum {
    ECHO_SIZE_MAX = 16 * 1024 * 1024
};

struct echo_flags {
    uint64_t count, size, interval_ms;
    bool pipe, handshake_only;
};

/* Both take an opened client and give the exit code. */
int echo_ping(struct client *client, const struct echo_flags *flags);
int echo_pipe(struct client *client);

#endif
