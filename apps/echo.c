/* echo.c -- `antq echo`: the flags of both sides, and the server.
 *
 * The server gives every byte of a bidirectional stream back. It keeps no state: what can be
 * read is written straight from where it was received, and only what the sending side took is
 * consumed. So a client that does not read its echo fills our send queue, then we stop
 * consuming, then its window closes: back-pressure from end to end without a buffer here.
 * Unidirectional streams cannot be answered; they are read and discarded. Datagrams go back as long
 * as there is room for them in the queue, and are dropped and counted else. */
#include "apps/echo.h"

#include <string.h>

#include "apps/apps.h"
#include "apps/server.h"

enum {
    PIECES = 64,
    STREAM_UNIDIRECTIONAL = 2 /* RFC 9000 §2.1: the second bit of a stream id */
};

static uint64_t pieces_size(const struct aq_iov *pieces, unsigned count)
{
    uint64_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        size += pieces[i].size;
    }
    return size;
}

/* Moves what can be moved from the receiving side to the sending side. */
static void echo_stream(struct aq_endpoint *ep, aq_stream stream)
{
    bool fin = false;

    while (!fin) {
        struct aq_iov pieces[PIECES];
        int count = aq_stream_peek(ep, stream, pieces, PIECES, &fin);
        uint64_t size;
        int64_t taken;

        if (count < 0) {
            return;
        }
        size = pieces_size(pieces, (unsigned)count);
        if (size == 0 && !fin) {
            return;
        }
        taken = aq_stream_write(ep, stream, pieces, (unsigned)count, fin ? AQ_FIN : 0);
        if (taken < 0) {
            (void)aq_stream_stop(ep, stream,
                                 0); /* the client wants no echo: then we want no more either */
            return;
        }
        if ((taken > 0 || size == 0) && aq_stream_consume(ep, stream, (uint64_t)taken) != AQ_OK) {
            return;
        }
        if ((uint64_t)taken < size) {
            return; /* AQ_EVENT_WRITABLE brings us back */
        }
    }
}

static void discard_stream(struct aq_endpoint *ep, aq_stream stream)
{
    bool fin = false;

    while (!fin) {
        struct aq_iov pieces[PIECES];
        int count = aq_stream_peek(ep, stream, pieces, PIECES, &fin);
        uint64_t size = count > 0 ? pieces_size(pieces, (unsigned)count) : 0;

        if (count < 0 || (size == 0 && !fin) || aq_stream_consume(ep, stream, size) != AQ_OK) {
            return;
        }
    }
}

static void on_stream(struct aq_endpoint *ep, const struct aq_event *event)
{
    bool one_way = (aq_stream_id(ep, event->stream) & STREAM_UNIDIRECTIONAL) != 0;

    switch (event->kind) {
    case AQ_EVENT_OPENED:
    case AQ_EVENT_READABLE:
    case AQ_EVENT_WRITABLE:
        if (one_way) {
            discard_stream(ep, event->stream);
        } else {
            echo_stream(ep, event->stream);
        }
        break;
    case AQ_EVENT_RESET: /* the rest will not come: the echo ends as its original did */
        if (!one_way) {
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

/* What became of datagrams, of all connections together. */
static struct {
    uint64_t echoed, dropped;
} datagrams;

static void on_conn(struct aq_endpoint *ep, const struct aq_event *event)
{
    struct aq_iov datagram;

    if (event->kind != AQ_EVENT_DATAGRAM) {
        return;
    }
    while (aq_datagram_peek(ep, event->conn, &datagram) == AQ_OK) {
        /* Also too large for the way back, or a client that takes none. */
        bool sent = aq_datagram_send(ep, event->conn, &datagram, 1) == AQ_OK;

        datagrams.echoed += sent;
        datagrams.dropped += !sent;
        (void)aq_datagram_take(ep, event->conn);
    }
}

static int serve(int argc, char **argv)
{
    static struct server server;
    const struct option_set sets[] = {{"Server:", listen_rows, listen_row_count, &server.flags}};
    const struct command command = {
        .name = "antq echo serve",
        .about = "Gives every byte of every bidirectional stream back, and datagrams while\n"
                 "there is room for them. Prints `listening on ADDR:PORT` when it is ready;\n"
                 "SIGTERM or SIGINT closes all connections and ends it.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    int code;

    listen_flags_init(&server.flags, "echo");
    server.on_stream = on_stream;
    server.on_conn = on_conn;
    server.datagram_max = ECHO_DATAGRAM_MAX;
    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    code = server_main(&server);
    if (server.flags.verbose && datagrams.echoed + datagrams.dropped > 0) {
        note("%llu datagrams echoed, %llu dropped for want of room",
             (unsigned long long)datagrams.echoed, (unsigned long long)datagrams.dropped);
    }
    return code;
}

#define ROW(name, letter, kind, field, argument, min, max, help)                         \
    {                                                                                    \
        name, letter, kind, offsetof(struct echo_flags, field), argument, min, max, help \
    }

/* clang-format off */
static const struct option_row echo_rows[] = {
    ROW("count", 'n', OPTION_NUMBER, count, "N", 1, 10000000, "how many round trips (default 10)"),
    ROW("size", 0, OPTION_SIZE, size, "BYTES", 1, ECHO_SIZE_MAX, "bytes in each (default 64, at most 16M)"),
    ROW("interval", 0, OPTION_NUMBER, interval_ms, "MS", 0, 3600000, "start them so far apart (default 0: back to back)"),
    ROW("datagrams", 0, OPTION_NUMBER, datagrams, "N", 1, 10000000, "send N datagrams instead, which may be lost; without waiting"),
    ROW("pipe", 0, OPTION_FLAG, pipe, NULL, 0, 0, "send standard input, write the echo to standard output"),
    ROW("handshake-only", 0, OPTION_FLAG, handshake_only, NULL, 0, 0, "connect, tell what was negotiated, and end"),
};
/* clang-format on */

static int run_client(struct client *client, const struct echo_flags *flags, const char *target)
{
    int code;

    if (flags->pipe && (client->flags.json || flags->handshake_only)) {
        complain("--pipe and %s exclude each other", client->flags.json
                                                         ? "--json (both write to standard output)"
                                                         : "--handshake-only");
        return EXIT_WRONG_USE;
    }
    if (flags->datagrams > 0 && (flags->pipe || flags->handshake_only)) {
        complain("--datagrams and %s exclude each other",
                 flags->pipe ? "--pipe" : "--handshake-only");
        return EXIT_WRONG_USE;
    }
    if (flags->datagrams > 0
        && (flags->size < ECHO_DATAGRAM_MIN || flags->size > ECHO_DATAGRAM_MAX)) {
        complain("--size must be from %d to %d for datagrams", ECHO_DATAGRAM_MIN,
                 ECHO_DATAGRAM_MAX);
        return EXIT_WRONG_USE;
    }
    client->datagram_max = flags->datagrams > 0 ? ECHO_DATAGRAM_MAX : 0;
    if (client_open(client, target, &code)) {
        code = flags->pipe            ? echo_pipe(client)
               : flags->datagrams > 0 ? echo_datagrams(client, flags)
                                      : echo_ping(client, flags);
    }
    client_free(client);
    return code;
}

int echo_main(int argc, char **argv)
{
    static struct client client;
    struct echo_flags flags = {.count = 10, .size = 64};
    const struct option_set sets[] = {
        {"Echo:", echo_rows, sizeof echo_rows / sizeof echo_rows[0], &flags},
        {"Connection:", connect_rows, connect_row_count, &client.flags},
    };
    const struct command command = {
        .name = "antq echo",
        .word = "HOST:PORT",
        .about = "Sends bytes to an echo server and compares what comes back: round trips with\n"
                 "their times, like ping, or with --pipe everything from standard input.\n"
                 "`antq echo serve --help` tells of the server.",
        .sets = sets,
        .set_count = sizeof sets / sizeof sets[0],
    };
    const char *target;
    int code;

    if (argc > 0 && strcmp(argv[0], "serve") == 0) {
        return serve(argc - 1, argv + 1);
    }
    connect_flags_init(&client.flags, "echo");
    if (!command_parse(&command, argc, argv, &target, &code)) {
        return code;
    }
    return run_client(&client, &flags, target);
}
