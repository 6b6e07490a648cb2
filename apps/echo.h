/* echo.h -- the parts of `antq echo`: its flags, and its three ways of being a client. */
#ifndef APPS_ECHO_H
#define APPS_ECHO_H

#include "apps/client.h"

enum {
    ECHO_SIZE_MAX = 16 * 1024 * 1024,
    ECHO_DATAGRAM_MIN = 8, /* its number */
    ECHO_DATAGRAM_MAX = 65535
};

struct echo_flags {
    uint64_t count, size, interval_ms, datagrams;
    bool pipe, handshake_only;
};

/* Each takes an opened client and gives the exit code. */
int echo_ping(struct client *client, const struct echo_flags *flags);
int echo_pipe(struct client *client);
int echo_datagrams(struct client *client, const struct echo_flags *flags);

#endif
