/* perf.c -- `antq perf`: the flags of both sides, the payload, and the server.
 *
 * The server keeps nothing outside the stream: the first 8 bytes stay unread until all 8 are
 * there, and how much is still to be returned is the stream's user pointer, as a number. So
 * there is no table that could be full, and nothing to free. The payload is written by reference
 * from one static block. */
#include "apps/perf.h"

#include <string.h>

#include "apps/apps.h"
#include "apps/server.h"

/* The user pointer as a number: 0 the header is awaited, 1 all is written, else LEFT + 256 times
 * the bytes left + the whole size modulo 256, from which the place in the pattern follows. */
enum {
    AWAITED = 0,
    WRITTEN = 1,
    LEFT = 2
};
#define RESPONSE_MAX ((UINTPTR_MAX >> 8) - 1)

enum {
    READ_PIECES = 64,
    STREAM_UNIDIRECTIONAL = 2 /* RFC 9000 §2.1 */
};

uint8_t perf_payload[PERF_CHUNK + PERF_PERIOD];

void perf_payload_init(void)
{
    for (size_t i = 0; i < sizeof perf_payload; i++) {
        perf_payload[i] = (uint8_t)(i % PERF_PERIOD);
    }
}

int perf_write(struct aq_endpoint *ep, aq_stream stream, uint64_t offset, uint64_t *left)
{
    for (;;) {
        struct aq_iov pieces[PERF_PIECES];
        uint64_t size = 0;
        unsigned count = 0;
        int64_t taken;

        for (; count < PERF_PIECES && size < *left; count++) {
            uint64_t rest = *left - size;

            pieces[count].data = perf_payload + (offset + size) % PERF_PERIOD;
            pieces[count].size = rest < PERF_CHUNK ? (size_t)rest : PERF_CHUNK;
            size += pieces[count].size;
        }
        /* What is small is copied: a reference costs as much, and an event that tells of its end.
         */
        taken =
            aq_stream_write(ep, stream, pieces, count,
                            (size >= PERF_REF_LEAST ? AQ_REF : 0) | (size == *left ? AQ_FIN : 0));
        if (taken < 0) {
            return (int)taken;
        }
        offset += (uint64_t)taken;
        *left -= (uint64_t)taken;
        if ((uint64_t)taken < size) {
            return AQ_BLOCKED;
        }
        if (*left == 0) {
            return AQ_OK;
        }
    }
}

/* ---- the server ------------------------------------------------------------------------------ */

static uintptr_t get_state(struct aq_endpoint *ep, aq_stream stream)
{
    return (uintptr_t)aq_stream_user(ep, stream);
}

/* The pointer is only ever a number here; nothing follows it. */
static void set_state(struct aq_endpoint *ep, aq_stream stream, uintptr_t state)
{
    (void)aq_stream_set_user(ep, stream, (void *)state);
}

/* Writes what is left of a response whose whole size modulo 256 is `phase`. */
static void respond(struct aq_endpoint *ep, aq_stream stream, uint64_t left, unsigned phase)
{
    int result = perf_write(ep, stream, phase + PERF_PERIOD - left % PERF_PERIOD, &left);

    if (result == AQ_BLOCKED) {
        set_state(ep, stream, LEFT + ((uintptr_t)left << 8 | phase));
    } else {
        set_state(ep, stream, WRITTEN); /* or the client wants no more */
    }
}

static void respond_more(struct aq_endpoint *ep, aq_stream stream)
{
    uintptr_t state = get_state(ep, stream);

    if (state >= LEFT) {
        respond(ep, stream, (state - LEFT) >> 8, (unsigned)((state - LEFT) & 0xff));
    }
}

/* The header may come in pieces of any size; true when all of it is there. */
static bool gather_header(const struct aq_iov *pieces, int count, uint64_t *wanted)
{
    unsigned got = 0;

    *wanted = 0;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < pieces[i].size && got < PERF_HEADER; at++, got++) {
            *wanted = *wanted << 8 | pieces[i].data[at];
        }
    }
    return got == PERF_HEADER;
}

static void begin_response(struct aq_endpoint *ep, aq_stream stream, uint64_t wanted)
{
    if (wanted > RESPONSE_MAX) {
        (void)aq_stream_reset(ep, stream, 1);
        set_state(ep, stream, WRITTEN);
    } else {
        respond(ep, stream, wanted, (unsigned)(wanted % PERF_PERIOD));
    }
}

/* Reads a header once, then discards. */
static void take(struct aq_endpoint *ep, aq_stream stream)
{
    bool one_way = (aq_stream_id(ep, stream) & STREAM_UNIDIRECTIONAL) != 0;
    bool fin = false;

    while (!fin) {
        struct aq_iov pieces[READ_PIECES];
        int count = aq_stream_peek(ep, stream, pieces, READ_PIECES, &fin);
        uint64_t size = 0, wanted;

        for (int i = 0; i < count; i++) {
            size += pieces[i].size;
        }
        if (count < 0 || (size == 0 && !fin)) {
            return;
        }
        if (!one_way && get_state(ep, stream) == AWAITED) {
            if (gather_header(pieces, count, &wanted)) {
                begin_response(ep, stream, wanted);
            } else if (!fin) {
                return; /* it stays unread until it is whole */
            } else {
                (void)aq_stream_reset(ep, stream, 1); /* the stream ended within its header */
                set_state(ep, stream, WRITTEN);
            }
        }
        if (aq_stream_consume(ep, stream, size) != AQ_OK) {
            return;
        }
    }
}

static void on_stream(struct aq_endpoint *ep, const struct aq_event *event)
{
    switch (event->kind) {
    case AQ_EVENT_OPENED:
    case AQ_EVENT_READABLE: take(ep, event->stream); break;
    case AQ_EVENT_WRITABLE: respond_more(ep, event->stream); break;
    case AQ_EVENT_RESET:
        if ((aq_stream_id(ep, event->stream) & STREAM_UNIDIRECTIONAL) == 0) {
            (void)aq_stream_reset(ep, event->stream, event->value);
        }
        break;
    case AQ_EVENT_STOPPED: (void)aq_stream_stop(ep, event->stream, event->value); break;
    case AQ_EVENT_NONE:
    case AQ_EVENT_ACCEPTED:
    case AQ_EVENT_EARLY:
    case AQ_EVENT_CONNECTED:
    case AQ_EVENT_CONFIRMED:
    case AQ_EVENT_STREAMS:
    case AQ_EVENT_TICKET:
    case AQ_EVENT_TOKEN:
    case AQ_EVENT_PATH:
    case AQ_EVENT_STATUS:
    case AQ_EVENT_PONG:
    case AQ_EVENT_DATAGRAM:
    case AQ_EVENT_DATAGRAM_ROOM:
    case AQ_EVENT_NAT:
    case AQ_EVENT_CLOSED:
    case AQ_EVENT_RELEASED:
    case AQ_EVENT_STREAM_CLOSED: break;
    }
}

static int serve(int argc, char **argv)
{
    static struct server server;
    const struct option_set sets[] = {{"Server:", listen_rows, listen_row_count, &server.flags}};
    const struct command command = {
        .name = "antq perf serve",
        .about =
            "Answers the perf protocol: a stream's first 8 bytes say how many bytes to\n"
            "return, the rest is discarded. Prints `listening on ADDR:PORT` when it is ready;\n"
            "SIGTERM or SIGINT ends it.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    int code;

    listen_flags_init(&server.flags, "perf");
    server.on_stream = on_stream;
    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    perf_payload_init();
    return server_main(&server);
}

/* ---- the flags of the client ----------------------------------------------------------------- */

#define ROW(name, letter, kind, field, argument, min, max, help)                         \
    {                                                                                    \
        name, letter, kind, offsetof(struct perf_flags, field), argument, min, max, help \
    }

/* clang-format off */
static const struct option_row perf_rows[] = {
    ROW("download", 0, OPTION_SIZE, download, "SIZE", 1, (uint64_t)1 << 50, "receive so many bytes (K, M, G)"),
    ROW("upload", 0, OPTION_SIZE, upload, "SIZE", 1, (uint64_t)1 << 50, "send so many bytes"),
    ROW("requests", 0, OPTION_NUMBER, requests, "N", 1, 10000000, "ask so many times for a small answer, one stream each"),
    ROW("handshakes", 0, OPTION_NUMBER, handshakes, "N", 1, 10000000, "connect so often, each time from a new port"),
    ROW("streams", 0, OPTION_NUMBER, streams, "N", 1, PERF_STREAMS_MAX, "streams at once (default 1)"),
    ROW("response-size", 0, OPTION_SIZE, response, "SIZE", 0, (uint64_t)1 << 30, "bytes of each request's answer (default 64)"),
    ROW("any-content", 0, OPTION_FLAG, any_content, NULL, 0, 0, "do not check the bytes: the server is another program"),
};
/* clang-format on */

int perf_main(int argc, char **argv)
{
    static struct client client;
    struct perf_flags flags = {.streams = 1, .response = 64};
    const struct option_set sets[] = {
        {"Measurements, in this order (default: --download 100M):", perf_rows,
         sizeof perf_rows / sizeof perf_rows[0], &flags},
        {"Connection:", connect_rows, connect_row_count, &client.flags},
    };
    const struct command command = {
        .name = "antq perf",
        .word = "HOST:PORT",
        .about = "Measures a perf server and the way to it.\n"
                 "`antq perf serve --help` tells of the server.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    const char *target;
    int code;

    if (argc > 0 && strcmp(argv[0], "serve") == 0) {
        return serve(argc - 1, argv + 1);
    }
    connect_flags_init(&client.flags, "perf");
    if (!command_parse(&command, argc, argv, &target, &code)) {
        return code;
    }
    if (flags.download == 0 && flags.upload == 0 && flags.requests == 0 && flags.handshakes == 0) {
        flags.download = (uint64_t)100 << 20;
    }
    perf_payload_init();
    return perf_client(&client, &flags, target);
}
