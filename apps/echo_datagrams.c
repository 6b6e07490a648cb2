/* echo_datagrams.c -- `antq echo --datagrams N`: datagrams (RFC 9221) there and back.
 *
 * Each begins with its number, 8 bytes in network order; the rest is a pattern that starts
 * elsewhere for each. They are sent so far apart as --interval says, or as fast as the queue takes
 * them, without waiting for answers: what does not come back within a second of the last sign of
 * life is lost, and that is no failure, as long as one came back. */
#include "apps/echo.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINGER_US = 1000000,
    GROWTH_US = 1000000, /* the path's MTU is probed for so long at most */
    GROWTH_STEP_US = 10000,
    LINES_MAX = 20
};

struct volley {
    struct client *client;
    const struct echo_flags *flags;
    struct samples samples;
    uint64_t *sent_us; /* by number; 0: it came back */
    uint64_t sent, received, repeated, late_order, highest;
    uint64_t alive_us;  /* the newest sending or answer */
    uint64_t growth_us; /* when to give up that larger datagrams might do */
    bool lines;
};

static uint8_t bytes[ECHO_DATAGRAM_MAX];

/* The bytes of number seq, the caller's until the next call. */
static const uint8_t *volley_bytes(uint64_t seq, size_t size)
{
    for (unsigned i = 0; i < ECHO_DATAGRAM_MIN; i++) {
        bytes[i] = (uint8_t)(seq >> (56 - 8 * i));
    }
    for (size_t i = ECHO_DATAGRAM_MIN; i < size; i++) {
        bytes[i] = (uint8_t)(seq + i);
    }
    return bytes;
}

static void volley_wait(void *user)
{
    struct volley *v = user;
    uint64_t now = aq_loop_clock(v->client->loop);

    if (client_is_over(v->client)) {
        return;
    }
    if (v->sent == v->flags->datagrams && now >= v->alive_us + LINGER_US) {
        if (v->received == 0) {
            client_fail(v->client, "no echo: none of %llu datagrams came back from %s",
                        (unsigned long long)v->sent, v->client->remote_text);
        } else {
            client_finish(v->client);
        }
        return;
    }
    (void)aq_loop_timer(v->client->loop, v->alive_us + LINGER_US, volley_wait, v);
}

/* Sends what is due; the event for room, or the timer, brings us back. */
static void volley_send(void *user)
{
    struct volley *v = user;
    struct client *client = v->client;

    while (v->sent < v->flags->datagrams && !client_is_over(client)) {
        struct aq_iov iov = {volley_bytes(v->sent, (size_t)v->flags->size), (size_t)v->flags->size};
        uint64_t now = aq_loop_clock(client->loop);
        int result = aq_datagram_send(client->ep, client->conn, &iov, 1);

        if (result == AQ_BLOCKED) {
            return;
        }
        if (result != AQ_OK) {
            client_fail(client, "a datagram cannot be sent to %s: %s", client->remote_text,
                        aq_error_name(result));
            return;
        }
        v->sent_us[v->sent++] = v->alive_us = now;
        if (v->sent < v->flags->datagrams && v->flags->interval_ms > 0) {
            (void)aq_loop_timer(client->loop, now + v->flags->interval_ms * 1000, volley_send, v);
            return;
        }
    }
    volley_wait(v);
}

/* One came back. */
static void volley_got(struct volley *v, const struct aq_iov *datagram)
{
    struct client *client = v->client;
    uint64_t seq = 0, now = aq_loop_clock(client->loop);

    for (unsigned i = 0; i < ECHO_DATAGRAM_MIN && i < datagram->size; i++) {
        seq = seq << 8 | datagram->data[i];
    }
    if (datagram->size != v->flags->size || seq >= v->sent
        || memcmp(datagram->data, volley_bytes(seq, datagram->size), datagram->size) != 0) {
        client_fail(client, "the echo from %s differs from what was sent: a datagram of %zu bytes",
                    client->remote_text, datagram->size);
        return;
    }
    if (v->sent_us[seq] == 0) {
        v->repeated++;
        return;
    }
    v->received++;
    v->late_order += seq < v->highest;
    v->highest = seq > v->highest ? seq : v->highest;
    client->missing = NULL;
    client->progress++;
    samples_add(&v->samples, now - v->sent_us[seq]);
    if (v->lines) {
        (void)fprintf(client->talk, "%zu bytes from %s: datagram=%llu time=%.3f ms\n",
                      datagram->size, client->remote_text, (unsigned long long)seq + 1,
                      (double)(now - v->sent_us[seq]) / 1000);
        (void)fflush(client->talk);
    }
    v->sent_us[seq] = 0;
    v->alive_us = now;
}

static void volley_read(struct volley *v)
{
    struct client *client = v->client;
    struct aq_iov datagram;

    while (!client_is_over(client)
           && aq_datagram_peek(client->ep, client->conn, &datagram) == AQ_OK) {
        volley_got(v, &datagram);
        (void)aq_datagram_take(client->ep, client->conn);
    }
    if (v->received == v->flags->datagrams && !client_is_over(client)) {
        client_finish(client);
    }
}

/* Datagrams that are too large at first may fit when the path's MTU was found; that the first was
 * refused makes it be probed. */
static void volley_begin(void *user)
{
    struct volley *v = user;
    struct client *client = v->client;
    struct aq_iov iov = {bytes, (size_t)v->flags->size};
    size_t max = aq_datagram_max(client->ep, client->conn);
    uint64_t now = aq_loop_clock(client->loop);

    if (client_is_over(client)) {
        return;
    }
    if (max == 0) {
        client_fail(client, "no echo: %s takes no datagrams", client->remote_text);
    } else if (v->flags->size <= max) {
        volley_send(v);
    } else if (now >= v->growth_us) {
        client_fail(client, "--size: the way to %s takes datagrams of at most %zu bytes, not %llu",
                    client->remote_text, max, (unsigned long long)v->flags->size);
    } else {
        (void)aq_datagram_send(client->ep, client->conn, &iov, 1);
        (void)aq_loop_timer(client->loop, now + GROWTH_STEP_US, volley_begin, v);
    }
}

static void volley_confirmed(struct volley *v)
{
    struct client *client = v->client;
    char text[512];

    (void)fprintf(client->talk, "handshake with %s completed in %.3f ms and confirmed: %s\n",
                  client->remote_text, (double)client->stats.handshake_us / 1000,
                  client_facts_text(client, text, sizeof text));
    (void)fflush(client->talk);
    v->growth_us = aq_loop_clock(client->loop) + GROWTH_US;
    volley_begin(v);
}

static void on_event(void *user, const struct aq_event *event)
{
    struct volley *v = user;

    if (event->kind == AQ_EVENT_CONFIRMED) {
        volley_confirmed(v);
    } else if (event->kind == AQ_EVENT_DATAGRAM) {
        volley_read(v);
    } else if (event->kind == AQ_EVENT_DATAGRAM_ROOM) {
        volley_send(v);
    } else if (event->kind == AQ_EVENT_OPENED) { /* of no concern to us */
        (void)aq_stream_stop(v->client->ep, event->stream, 0);
    }
}

static void print_json(struct volley *v)
{
    const struct samples *samples = &v->samples;
    const struct aq_conn_stats *stats = &v->client->stats;

    (void)putchar('{');
    client_facts_json(v->client, stdout);
    (void)printf(
        "\"size\":%llu,\"sent\":%llu,\"received\":%llu,\"lost\":%llu,\"out_of_order\":%llu,"
        "\"repeated\":%llu,\"lost_there\":%llu,\"dropped_here\":%llu,\"rtt_us\":",
        (unsigned long long)v->flags->size, (unsigned long long)v->sent,
        (unsigned long long)v->received, (unsigned long long)(v->sent - v->received),
        (unsigned long long)v->late_order, (unsigned long long)v->repeated,
        (unsigned long long)stats->datagrams_lost,
        (unsigned long long)stats->datagrams_dropped_receiving);
    if (samples->count > 0) {
        (void)printf("{\"min\":%u,\"p50\":%u,\"p99\":%u}}\n", samples_percentile(samples, 0),
                     samples_percentile(samples, 50), samples_percentile(samples, 99));
    } else {
        (void)puts("{\"min\":null,\"p50\":null,\"p99\":null}}");
    }
}

static void print_summary(struct volley *v)
{
    const struct samples *samples = &v->samples;
    const struct aq_conn_stats *stats = &v->client->stats;
    uint64_t lost = v->sent - v->received;
    FILE *talk = v->client->talk;
    char text[256];

    (void)fprintf(talk,
                  "--- %s datagram statistics ---\n"
                  "%llu datagrams sent, %llu received, %llu lost (%.1f %%), %llu bytes each\n",
                  v->client->remote_text, (unsigned long long)v->sent,
                  (unsigned long long)v->received, (unsigned long long)lost,
                  v->sent > 0 ? 100.0 * (double)lost / (double)v->sent : 0.0,
                  (unsigned long long)v->flags->size);
    if (lost > 0) {
        (void)fprintf(talk,
                      "lost on the way there: %llu; dropped here, the queue was full: %llu; else on"
                      " the way back or by the server\n",
                      (unsigned long long)stats->datagrams_lost,
                      (unsigned long long)stats->datagrams_dropped_receiving);
    }
    if (v->late_order > 0) {
        (void)fprintf(talk, "%llu came out of order\n", (unsigned long long)v->late_order);
    }
    if (samples->count > 0) {
        (void)fprintf(talk, "round trip min/p50/p99 = %.3f/%.3f/%.3f ms\n",
                      (double)samples_percentile(samples, 0) / 1000,
                      (double)samples_percentile(samples, 50) / 1000,
                      (double)samples_percentile(samples, 99) / 1000);
    }
    (void)fprintf(talk, "handshake %.3f ms, %s\n", (double)v->client->stats.handshake_us / 1000,
                  client_path_text(v->client, text, sizeof text));
}

int echo_datagrams(struct client *client, const struct echo_flags *flags)
{
    static struct volley v;
    int code;

    v.client = client;
    v.flags = flags;
    v.lines = client->flags.verbose || (!client->flags.json && flags->datagrams <= LINES_MAX);
    v.sent_us = calloc(flags->datagrams, sizeof *v.sent_us);
    if (v.sent_us == NULL || !samples_init(&v.samples, flags->datagrams)) {
        complain("no memory for %llu datagrams", (unsigned long long)flags->datagrams);
        free(v.sent_us);
        return EXIT_FAILED;
    }
    client->on_event = on_event;
    client->user = &v;
    (void)client_dial(client);
    code = client_run(client);
    if (code == EXIT_DONE && !client->finishing && v.received == 0) {
        complain("interrupted before the first echo");
        code = EXIT_FAILED;
    }
    samples_sort(&v.samples);
    if (client->confirmed && v.sent > 0) {
        print_summary(&v);
    }
    if (client->confirmed && client->flags.json) {
        print_json(&v);
    }
    samples_free(&v.samples);
    free(v.sent_us);
    return code;
}
