/* perf.h -- the perf protocol (ALPN "perf"), shared by its two sides.
 *
 *     client to server   | 8 bytes, network order: bytes to return | anything, discarded | FIN
 *     server to client   | that many bytes | FIN
 *
 * Our server returns bytes that count up modulo 256 from 0, so that a client can check each of
 * them. */
#ifndef APPS_PERF_H
#define APPS_PERF_H

#include "apps/client.h"

enum {
    PERF_HEADER = 8,
    PERF_PERIOD = 256, /* of the pattern */
    PERF_CHUNK =
        64 * 1024,    /* bytes that one piece of a write refers to, a multiple of the period */
    PERF_REF_LEAST = 512,
    PERF_PIECES = 16, /* pieces of one write */
    PERF_STREAMS_MAX = 1000, /* a server allows 100, unless --max-streams says more */
};

/* What the payload of both directions refers to; never changes after perf_payload_init. */
extern uint8_t perf_payload[PERF_CHUNK + PERF_PERIOD];
void perf_payload_init(void);

/* Writes up to *left bytes of the pattern from offset on, by reference, and the end after the
 * last. Lowers *left; AQ_OK when all and the end were taken, AQ_BLOCKED when AQ_EVENT_WRITABLE
 * will tell, or the error. */
int perf_write(struct aq_endpoint *ep, aq_stream stream, uint64_t offset, uint64_t *left);

struct perf_flags {
    uint64_t download, upload, requests, handshakes, streams, response;
    bool any_content;
};

/* Takes flags that were parsed, and the client's; the exit code. */
int perf_client(struct client *client, const struct perf_flags *flags, const char *target);

#endif
