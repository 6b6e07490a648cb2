/* echo_ping.c -- `antq echo` as a kind of ping: round trips on one stream, one after the other.
 *
 * Each round trip has other bytes than the one before: the same pattern from another start, so
 * that an echo that is late, early or mixed up cannot pass for the right one. The pattern is
 * written by reference and never changes. Round trips begin when the handshake is confirmed, so
 * that their times hold nothing of it; a server that confirms and then echoes nothing is told
 * from one that does not answer at all. */
#include "apps/echo.h"

#include <string.h>

enum {
    PATTERN_PERIOD = 251,
    LINES_MAX = 20,
    PIECES = 64
};

struct ping {
    struct client *client;
    const struct echo_flags *flags;
    aq_stream stream;
    struct samples samples;
    uint64_t sent;     /* round trips begun */
    uint64_t received; /* and done */
    uint64_t queued;   /* bytes of this one that the stream took */
    uint64_t got;      /* bytes of this one that came back */
    uint64_t sent_us;
    bool lines; /* one for each round trip */
};

static uint8_t pattern[ECHO_SIZE_MAX + PATTERN_PERIOD];

/* The bytes of round trip number seq (from 1). */
static const uint8_t *ping_bytes(uint64_t seq)
{
    return pattern + seq % PATTERN_PERIOD;
}

static void ping_end(struct ping *ping)
{
    ping->client->missing = NULL;
    client_finish(ping->client);
}

static void ping_write(struct ping *ping)
{
    struct client *client = ping->client;
    struct aq_iov piece = {ping_bytes(ping->sent) + ping->queued,
                           (size_t)(ping->flags->size - ping->queued)};
    int64_t taken;

    if (piece.size == 0) {
        return;
    }
    taken = aq_stream_write(client->ep, ping->stream, &piece, 1, AQ_REF);
    if (taken == AQ_GONE) {
        return; /* the connection ended this turn, before our timer: its event tells why */
    }
    if (taken < 0) {
        client_fail(client, "%sthe stream to %s cannot be written: %s",
                    ping->received == 0 ? "no echo: " : "", client->remote_text,
                    aq_error_name(taken));
        return;
    }
    ping->queued += (uint64_t)taken;
}

static void ping_next(void *user)
{
    struct ping *ping = user;

    if (client_is_over(ping->client)) {
        return;
    }
    ping->sent++;
    ping->queued = ping->got = 0;
    ping->client->owed = true;
    ping->sent_us = aq_loop_clock(ping->client->loop);
    ping_write(ping);
}

/* One round trip is complete. */
static void ping_done(struct ping *ping)
{
    struct client *client = ping->client;
    uint64_t now = aq_loop_clock(client->loop);
    uint64_t next = ping->sent_us + ping->flags->interval_ms * 1000;

    ping->received++;
    client->owed = false;
    samples_add(&ping->samples, now - ping->sent_us);
    if (ping->lines) {
        (void)fprintf(client->talk, "%llu bytes from %s: seq=%llu time=%.3f ms\n",
                      (unsigned long long)ping->flags->size, client->remote_text,
                      (unsigned long long)ping->received, (double)(now - ping->sent_us) / 1000);
        (void)fflush(client->talk);
    }
    if (ping->received == ping->flags->count) {
        ping_end(ping);
    } else if (next <= now || aq_loop_timer(client->loop, next, ping_next, ping) != AQ_OK) {
        ping_next(ping);
    }
}

/* Compares one piece of the echo; false when it is not what was sent. */
static bool ping_compare(struct ping *ping, const struct aq_iov *piece)
{
    const uint8_t *expected = ping_bytes(ping->sent) + ping->got;

    if (piece->size > ping->queued - ping->got) {
        client_fail(ping->client, "%s sent more back than it was sent (round trip %llu)",
                    ping->client->remote_text, (unsigned long long)ping->sent);
        return false;
    }
    if (memcmp(piece->data, expected, piece->size) != 0) {
        client_fail(
            ping->client,
            "the echo from %s differs from what was sent: round trip %llu, within %llu bytes"
            " from byte %llu",
            ping->client->remote_text, (unsigned long long)ping->sent,
            (unsigned long long)piece->size, (unsigned long long)ping->got);
        return false;
    }
    ping->client->missing = NULL;
    ping->client->progress += piece->size;
    ping->got += piece->size;
    return true;
}

static void ping_read(struct ping *ping)
{
    struct client *client = ping->client;
    struct aq_iov pieces[PIECES];
    bool fin = false;

    for (;;) {
        int count = aq_stream_peek(client->ep, ping->stream, pieces, PIECES, &fin);
        uint64_t size = 0;

        for (int i = 0; i < count; i++) {
            if (!ping_compare(ping, &pieces[i])) {
                return;
            }
            size += pieces[i].size;
        }
        if (size == 0 || aq_stream_consume(client->ep, ping->stream, size) != AQ_OK) {
            break;
        }
        if (ping->got == ping->flags->size) {
            ping_done(ping);
        }
    }
    if (fin && !client_is_over(client)) {
        client_fail(client, "%s%s ended the stream before the echo was complete",
                    ping->received == 0 ? "no echo: " : "", client->remote_text);
    }
}

/* Opens the stream and sends the first piece: once confirmed, or before that in 0-RTT. */
static void ping_begin(struct ping *ping)
{
    struct client *client = ping->client;
    int result = aq_stream_open(client->ep, client->conn, false, NULL, &ping->stream);

    if (result != AQ_OK) {
        client_fail(client, "no echo: %s lets us open no stream (%s)", client->remote_text,
                    aq_error_name(result));
        return;
    }
    ping_next(ping);
}

static void ping_confirmed(struct ping *ping)
{
    struct client *client = ping->client;
    char text[512];

    (void)fprintf(client->talk, "handshake with %s completed in %.3f ms and confirmed: %s\n",
                  client->remote_text, (double)client->stats.handshake_us / 1000,
                  client_facts_text(client, text, sizeof text));
    (void)fflush(client->talk);
    if (ping->flags->handshake_only) {
        ping_end(ping);
        return;
    }
    if (ping->received == 0) { /* in 0-RTT some may have come already */
        client_expect(client, "no echo", "an echo server");
    }
    if (ping->stream == 0) {
        ping_begin(ping);
    }
}

static void on_event(void *user, const struct aq_event *event)
{
    struct ping *ping = user;
    struct client *client = ping->client;

    if (event->kind == AQ_EVENT_EARLY) {
        if (!ping->flags->handshake_only) {
            ping_begin(ping);
        }
    } else if (event->kind == AQ_EVENT_CONFIRMED) {
        ping_confirmed(ping);
    } else if (event->stream == 0) {
        return;
    } else if (event->stream != ping->stream) {
        /* A stream of the server's, such as an HTTP/3 server opens: it does not concern us. */
        if (event->kind == AQ_EVENT_OPENED) {
            (void)aq_stream_stop(client->ep, event->stream, 0);
        }
    } else if (event->kind == AQ_EVENT_READABLE) {
        ping_read(ping);
    } else if (event->kind == AQ_EVENT_WRITABLE) {
        ping_write(ping);
    } else if (event->kind == AQ_EVENT_RESET || event->kind == AQ_EVENT_STOPPED) {
        client_fail(client, "%s%s refused the stream with code 0x%llx",
                    ping->received == 0 ? "no echo: " : "", client->remote_text,
                    (unsigned long long)event->value);
    }
}

static void print_json(struct ping *ping)
{
    const struct samples *samples = &ping->samples;

    (void)putchar('{');
    client_facts_json(ping->client, stdout);
    (void)printf("\"size\":%llu,\"sent\":%llu,\"received\":%llu,\"rtt_us\":",
                 (unsigned long long)ping->flags->size, (unsigned long long)ping->sent,
                 (unsigned long long)ping->received);
    if (samples->count > 0) {
        (void)printf("{\"min\":%u,\"p50\":%u,\"p99\":%u}}\n", samples_percentile(samples, 0),
                     samples_percentile(samples, 50), samples_percentile(samples, 99));
    } else {
        (void)puts("{\"min\":null,\"p50\":null,\"p99\":null}}");
    }
}

static void print_summary(struct ping *ping)
{
    const struct samples *samples = &ping->samples;
    FILE *talk = ping->client->talk;
    char text[256];

    (void)fprintf(talk, "--- %s echo statistics ---\n%llu sent, %llu received, %llu bytes each\n",
                  ping->client->remote_text, (unsigned long long)ping->sent,
                  (unsigned long long)ping->received, (unsigned long long)ping->flags->size);
    if (samples->count > 0) {
        (void)fprintf(talk, "round trip min/p50/p99 = %.3f/%.3f/%.3f ms\n",
                      (double)samples_percentile(samples, 0) / 1000,
                      (double)samples_percentile(samples, 50) / 1000,
                      (double)samples_percentile(samples, 99) / 1000);
    }
    (void)fprintf(talk, "handshake %.3f ms, %s\n", (double)ping->client->stats.handshake_us / 1000,
                  client_path_text(ping->client, text, sizeof text));
}

int echo_ping(struct client *client, const struct echo_flags *flags)
{
    static struct ping ping;
    int code;

    ping.client = client;
    ping.flags = flags;
    ping.lines = client->flags.verbose || (!client->flags.json && flags->count <= LINES_MAX);
    for (size_t i = 0; i < flags->size + PATTERN_PERIOD; i++) {
        pattern[i] = (uint8_t)(i % PATTERN_PERIOD);
    }
    client->on_event = on_event;
    client->user = &ping;
    if (!samples_init(&ping.samples, flags->handshake_only ? 0 : flags->count)) {
        return EXIT_FAILED;
    }
    (void)client_dial(client);
    code = client_run(client);
    if (code == EXIT_DONE && !client->finishing && ping.received == 0) {
        complain("interrupted before the first echo");
        code = EXIT_FAILED;
    }
    samples_sort(&ping.samples);
    if (client->confirmed && !flags->handshake_only) {
        print_summary(&ping);
    }
    if (client->confirmed && client->flags.json) {
        print_json(&ping);
    }
    samples_free(&ping.samples);
    return code;
}
