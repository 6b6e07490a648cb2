/* echo_pipe.c -- `antq echo --pipe`: standard input to the server, its echo to standard output.
 *
 *     stdin --read--> ring --write by reference--> stream ... stream --peek--> stdout
 *
 * Bytes are read once, into a ring that the stream then points into; a slot of the ring is free
 * again when the peer has acknowledged it. When the ring is full, standard input is not watched;
 * when standard output takes nothing, nothing is consumed, the server's window closes, it stops
 * reading us, and so our reading stops too. Standard output may be a blocking pipe that we must
 * not set to non-blocking (its other holders would see that), so it is only written while poll
 * says that it takes something, in pieces that then cannot block; while it takes nothing the
 * connection is kept alive by the loop. */
#include "apps/echo.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RING_SIZE = 4 * 1024 * 1024,
    READ_MAX = 256 * 1024,
    WRITE_MAX = 4096, /* PIPE_BUF: what a pipe takes whole when poll says it is writable */
    FILE_WRITE_MAX = 256 * 1024,
    PIECES = 64,
    STDOUT_WAIT_MS =
        10, /* a busy reader is waited for; one that pauses is looked at from time to time */
    STDOUT_RETRY_US = 5000,
    PROGRESS_US = 200000,
};

struct pipe {
    struct client *client;
    aq_stream stream;
    uint64_t begun_us, ended_us;
    uint64_t read;     /* bytes from standard input */
    uint64_t queued;   /* of these, given to the stream */
    uint64_t released; /* of these, acknowledged: their place in the ring is free */
    uint64_t written;  /* bytes to standard output */
    bool ended;        /* standard input has ended */
    bool finished;     /* and the stream took that */
    bool watching;     /* standard input */
    bool out_stalled;  /* standard output took nothing for a while */
    bool out_is_file;
    bool progress;
};

static uint8_t ring[RING_SIZE];

static void on_input(void *user);

/* Tells the client whether an echo is owed, and how much has moved. Acknowledgements count only
 * once something came back: any QUIC server acknowledges, only an echo server answers. */
static void update_progress(struct pipe *pipe)
{
    struct client *client = pipe->client;

    client->owed = (pipe->queued > pipe->written || pipe->finished) && !pipe->out_stalled;
    if (pipe->written > 0) {
        client->progress = pipe->written + pipe->released;
    }
}

/* Watches standard input exactly while there is room for more of it. */
static void update_watch(struct pipe *pipe)
{
    bool want = !pipe->ended && pipe->read - pipe->released < RING_SIZE;

    if (want == pipe->watching) {
        return;
    }
    if (aq_loop_watch(pipe->client->loop, STDIN_FILENO, want ? on_input : NULL, pipe) != AQ_OK) {
        if (want) {
            client_fail(pipe->client, "cannot wait for standard input");
        }
        return;
    }
    pipe->watching = want;
}

/* Gives the stream what was read and not yet given, and the end after it. */
static void send_queued(struct pipe *pipe)
{
    struct client *client = pipe->client;
    int64_t result = aq_stream_released(client->ep, pipe->stream);

    if (result > 0) {
        pipe->released = (uint64_t)result;
    }
    while (!pipe->finished && (pipe->queued < pipe->read || pipe->ended)) {
        size_t at = (size_t)(pipe->queued % RING_SIZE);
        uint64_t left = pipe->read - pipe->queued;
        struct aq_iov piece = {ring + at, left < RING_SIZE - at ? (size_t)left : RING_SIZE - at};
        bool last = pipe->ended && piece.size == left;

        result = aq_stream_write(client->ep, pipe->stream, &piece, piece.size > 0 ? 1 : 0,
                                 AQ_REF | (last ? AQ_FIN : 0));
        if (result < 0) {
            client_fail(client, "the stream to %s cannot be written: %s", client->remote_text,
                        aq_error_name(result));
            return;
        }
        pipe->queued += (uint64_t)result;
        if ((uint64_t)result < piece.size) {
            break;
        }
        pipe->finished = last;
    }
    update_watch(pipe);
    update_progress(pipe);
}

static void on_input(void *user)
{
    struct pipe *pipe = user;
    size_t at = (size_t)(pipe->read % RING_SIZE);
    uint64_t room = RING_SIZE - (pipe->read - pipe->released);
    size_t size = RING_SIZE - at;
    ssize_t got;

    if (client_is_over(pipe->client) || room == 0) {
        return;
    }
    size = size < room ? size : (size_t)room;
    got = read(STDIN_FILENO, ring + at, size < READ_MAX ? size : READ_MAX);
    if (got < 0) {
        if (errno != EINTR && errno != EAGAIN) {
            client_fail(pipe->client, "cannot read standard input: %s", strerror(errno));
        }
        return;
    }
    pipe->read += (uint64_t)got;
    pipe->ended = got == 0;
    send_queued(pipe);
}

/* Writes some of a piece without blocking; 0 when standard output takes nothing now, -1 on an
 * error. */
static ssize_t write_some(struct pipe *pipe, const struct aq_iov *piece)
{
    size_t max = pipe->out_is_file ? FILE_WRITE_MAX : WRITE_MAX;
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    ssize_t done;

    if (!pipe->out_is_file) {
        int ready = poll(&out, 1, pipe->out_stalled ? 0 : STDOUT_WAIT_MS);

        pipe->out_stalled = ready == 0;
        if (ready <= 0) {
            return ready < 0 && errno != EINTR ? -1 : 0;
        }
    }
    done = write(STDOUT_FILENO, piece->data, piece->size < max ? piece->size : max);
    return done < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : done;
}

/* Writes pieces until standard output takes no more; false on an error. *written counts the
 * bytes. */
static bool write_pieces(struct pipe *pipe, const struct aq_iov *pieces, int count,
                         uint64_t *written)
{
    for (int i = 0; i < count; i++) {
        struct aq_iov rest = pieces[i];

        while (rest.size > 0) {
            ssize_t done = write_some(pipe, &rest);

            if (done < 0) {
                client_fail(pipe->client, "cannot write to standard output: %s", strerror(errno));
                return false;
            }
            if (done == 0) {
                return true;
            }
            rest.data += done;
            rest.size -= (size_t)done;
            *written += (uint64_t)done;
        }
    }
    return true;
}

static void pipe_complete(struct pipe *pipe)
{
    struct client *client = pipe->client;

    pipe->ended_us = aq_loop_clock(client->loop);
    if (pipe->finished && pipe->written == pipe->read) {
        client->missing = NULL;
        client_finish(client);
    } else {
        client_fail(client, "%s ended the echo early: %llu of %llu bytes came back",
                    client->remote_text, (unsigned long long)pipe->written,
                    (unsigned long long)pipe->read);
    }
}

static void pipe_read(void *user)
{
    struct pipe *pipe = user;
    struct client *client = pipe->client;
    struct aq_iov pieces[PIECES];

    while (!client_is_over(client)) {
        bool fin = false;
        int count = aq_stream_peek(client->ep, pipe->stream, pieces, PIECES, &fin);
        uint64_t size = 0, written = 0;

        for (int i = 0; i < count; i++) {
            size += pieces[i].size;
        }
        if (count < 0 || (size == 0 && !fin) || !write_pieces(pipe, pieces, count, &written)) {
            return;
        }
        pipe->written += written;
        update_progress(pipe);
        if (aq_stream_consume(client->ep, pipe->stream, written) != AQ_OK) {
            return;
        }
        if (written < size) {
            (void)aq_loop_timer(client->loop, aq_loop_clock(client->loop) + STDOUT_RETRY_US,
                                pipe_read, pipe);
            return;
        }
        if (fin) {
            pipe_complete(pipe);
        }
    }
}

static void show_progress(void *user)
{
    struct pipe *pipe = user;
    struct client *client = pipe->client;
    uint64_t now = aq_loop_clock(client->loop);
    char sent[32], back[32], speed[32];

    if (client_is_over(client)) {
        return;
    }
    progress_line(
        "%s sent, %s back, %s/s", bytes_text(pipe->queued, sent, sizeof sent),
        bytes_text(pipe->written, back, sizeof back),
        bytes_text((uint64_t)per_second(pipe->written, now - pipe->begun_us), speed, sizeof speed));
    (void)aq_loop_timer(client->loop, now + PROGRESS_US, show_progress, pipe);
}

static void pipe_confirmed(struct pipe *pipe)
{
    struct client *client = pipe->client;
    char text[512];
    int result;

    note("handshake with %s completed in %.3f ms and confirmed: %s", client->remote_text,
         (double)client->stats.handshake_us / 1000, client_facts_text(client, text, sizeof text));
    result = aq_stream_open(client->ep, client->conn, false, NULL, &pipe->stream);
    if (result != AQ_OK) {
        client_fail(client, "no echo: %s lets us open no stream (%s)", client->remote_text,
                    aq_error_name(result));
        return;
    }
    pipe->begun_us = aq_loop_clock(client->loop);
    client_expect(client, "no echo", "an echo server");
    if (pipe->progress) {
        (void)aq_loop_timer(client->loop, pipe->begun_us + PROGRESS_US, show_progress, pipe);
    }
    update_watch(pipe);
}

static void on_event(void *user, const struct aq_event *event)
{
    struct pipe *pipe = user;
    struct client *client = pipe->client;

    if (event->kind == AQ_EVENT_CONFIRMED) {
        pipe_confirmed(pipe);
    } else if (event->stream == 0) {
        return;
    } else if (event->stream != pipe->stream) {
        if (event->kind == AQ_EVENT_OPENED) {
            (void)aq_stream_stop(client->ep, event->stream, 0);
        }
    } else if (event->kind == AQ_EVENT_READABLE) {
        if (!pipe->out_stalled) { /* else the timer looks after it */
            client->missing = NULL;
            pipe_read(pipe);
        }
    } else if (event->kind == AQ_EVENT_WRITABLE || event->kind == AQ_EVENT_RELEASED) {
        send_queued(pipe);
    } else if (event->kind == AQ_EVENT_RESET || event->kind == AQ_EVENT_STOPPED) {
        client_fail(client, "%s%s refused the stream with code 0x%llx",
                    pipe->written == 0 ? "no echo: " : "", client->remote_text,
                    (unsigned long long)event->value);
    }
}

static void print_summary(const struct pipe *pipe)
{
    uint64_t us = pipe->ended_us - pipe->begun_us;
    char size[32], text[256];

    note("%llu bytes sent and back (%s) in %.3f s, %.3f Gbit/s each way; %s",
         (unsigned long long)pipe->written, bytes_text(pipe->written, size, sizeof size),
         (double)us / 1e6, gbit_per_s(pipe->written, us),
         client_path_text(pipe->client, text, sizeof text));
}

int echo_pipe(struct client *client)
{
    static struct pipe pipe;
    struct stat status;
    int code;

    pipe.client = client;
    pipe.progress = progress_wanted(client->flags.progress);
    pipe.out_is_file = fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
    client->on_event = on_event;
    client->user = &pipe;
    (void)client_dial(client);
    code = client_run(client);
    if (client->finishing) {
        print_summary(&pipe);
        return code;
    }
    if (client->confirmed) { /* it broke, which is told already, or was interrupted */
        complain("%llu bytes were sent, %llu came back", (unsigned long long)pipe.queued,
                 (unsigned long long)pipe.written);
    }
    return EXIT_FAILED;
}
