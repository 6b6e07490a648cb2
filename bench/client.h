/* client.h -- what the programs share that are an antq client with many connections. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "reactor/antq_reactor.h"

struct bench_client {
    struct aq_loop_config config; /* may be changed before bench_client_open */
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    struct aq_connect connect;
    char error[256];
};

/* Room for so many connections and streams, and for those that are closing meanwhile. */
void bench_client_init(struct bench_client *client, uint64_t conns, uint64_t streams);
/* A loop, and in connect whom to dial: a perf server with a certificate for localhost by `ca`. */
void bench_client_open(struct bench_client *client, const char *target, const char *ca);
void bench_client_close(struct bench_client *client);

#endif
