/* perf_client.c -- `antq perf` as a client: phases of jobs on one connection, then handshakes on
 * many.
 *
 * A job is one stream: its header, what it sends, what it expects back. A download of n bytes
 * over k streams is k jobs, 10,000 requests are 10,000 jobs of which --streams run at once; so
 * one set of functions does all three. A job is done when its answer has come whole, every byte
 * compared, and what it sent was acknowledged. Latency is from opening the stream to the end of
 * the answer. A handshake's time is from the dial, with its socket, until it is complete: TLS has
 * the server's proof, and streams can be used (one round trip). Until the server confirms it is a
 * second number (two), and the next dial waits for that. Memory for all measurements is taken
 * before the first dial. */
#include "apps/perf.h"

#include <string.h>

enum phase {
    PHASE_NONE,
    PHASE_DOWNLOAD,
    PHASE_UPLOAD,
    PHASE_REQUESTS,
    PHASE_HANDSHAKES,
    PHASE_OVER
};
enum {
    READ_PIECES = 64,
    PROGRESS_US = 200000,
    RETRY_US = 1000,
    PHASES = 6
};

struct job {
    aq_stream stream; /* 0: free */
    uint64_t begun_us;
    uint8_t header[PERF_HEADER];
    size_t header_sent;   /* bytes of it that the stream took */
    uint64_t size, left;  /* to send after the header */
    uint64_t wanted, got; /* of the answer */
    bool answered;        /* it came whole */
};

struct perf {
    struct client *client;
    const struct perf_flags *flags;
    enum phase phase;
    uint64_t begun_us;            /* of the phase */
    uint64_t phase_us[PHASES];    /* how long each took */
    uint64_t jobs, started, done; /* of the phase */
    uint64_t moved;               /* bytes of the phase that came, or were taken for sending */
    uint64_t resumed;             /* handshakes that resumed a session */
    struct job job[PERF_STREAMS_MAX];
    struct samples latency, handshake, confirmed;
    struct aq_conn_stats stats; /* of the connection that the jobs ran on */
    bool progress;
};

static void phase_next(struct perf *perf);
static bool job_start(struct perf *perf, struct job *job);

/* ---- jobs ------------------------------------------------------------------------------------ */

/* Part `index` of `size` cut into `count` parts; the first parts are the larger ones. */
static uint64_t part(uint64_t size, uint64_t count, uint64_t index)
{
    return size / count + (index < size % count ? 1 : 0);
}

/* The job of an event: its stream's user pointer, unless the job has gone on to another stream. */
static struct job *event_job(const struct aq_event *event)
{
    struct job *job = event->stream_user;

    return job != NULL && job->stream == event->stream ? job : NULL;
}

/* A job is done: its place is the next one's, or the phase is over. */
static void job_done(struct perf *perf, struct job *job)
{
    if (perf->phase == PHASE_REQUESTS) {
        samples_add(&perf->latency, aq_loop_clock(perf->client->loop) - job->begun_us);
    }
    job->stream = 0;
    perf->done++;
    if (perf->done == perf->jobs) {
        perf->phase_us[perf->phase] = aq_loop_clock(perf->client->loop) - perf->begun_us;
        phase_next(perf);
    } else if (perf->started < perf->jobs) {
        (void)job_start(perf, job);
    }
}

/* Sends what is left of the header. False: not all of it was taken, AQ_EVENT_WRITABLE will tell. */
static bool job_write_header(struct perf *perf, struct job *job)
{
    struct aq_iov piece = {job->header + job->header_sent, sizeof job->header - job->header_sent};
    int64_t taken;

    if (piece.size == 0) {
        return true;
    }
    taken = aq_stream_write(perf->client->ep, job->stream, &piece, 1, job->size == 0 ? AQ_FIN : 0);
    if (taken < 0) {
        client_fail(perf->client, "a request to %s cannot be sent: %s", perf->client->remote_text,
                    aq_error_name(taken));
        return false;
    }
    job->header_sent += (size_t)taken;
    return job->header_sent == sizeof job->header;
}

static void job_write(struct perf *perf, struct job *job)
{
    uint64_t before = job->left;
    int result;

    if (!job_write_header(perf, job) || job->left == 0) {
        return;
    }
    result = perf_write(perf->client->ep, job->stream, job->size - job->left, &job->left);
    perf->moved += before - job->left;
    if (perf->client->missing == NULL) {
        perf->client->progress += before - job->left;
    }
    if (result < 0 && result != AQ_BLOCKED) {
        client_fail(perf->client, "the stream to %s cannot be written: %s",
                    perf->client->remote_text, aq_error_name(result));
    }
}

/* Opens a job's stream and sends its header. False: not now, or failed. */
static bool job_start(struct perf *perf, struct job *job)
{
    struct client *client = perf->client;
    int result = aq_stream_open(client->ep, client->conn, false, job, &job->stream);

    if (result != AQ_OK) {
        job->stream = 0;
        if (result != AQ_BLOCKED) { /* AQ_EVENT_STREAMS ends the wait */
            client_fail(client, "%s lets us open no stream (%s)", client->remote_text,
                        aq_error_name(result));
        }
        return false;
    }
    job->begun_us = aq_loop_clock(client->loop);
    job->got = job->size = job->wanted = 0;
    job->header_sent = 0;
    job->answered = false;
    if (perf->phase == PHASE_UPLOAD) {
        job->size = part(perf->flags->upload, perf->jobs, perf->started);
    } else if (perf->phase == PHASE_DOWNLOAD) {
        job->wanted = part(perf->flags->download, perf->jobs, perf->started);
    } else {
        job->wanted = perf->flags->response;
    }
    job->left = job->size;
    perf->started++;
    for (unsigned i = 0; i < PERF_HEADER; i++) {
        job->header[i] = (uint8_t)(job->wanted >> (56 - 8 * i));
    }
    job_write(perf, job);
    return !client_is_over(perf->client);
}

static void jobs_start(struct perf *perf)
{
    for (unsigned i = 0; i < perf->flags->streams && perf->started < perf->jobs; i++) {
        struct job *job = &perf->job[i];

        if (job->stream == 0 && !job_start(perf, job)) {
            return;
        }
    }
}

/* Compares one piece of an answer. */
static bool job_check(struct perf *perf, struct job *job, const struct aq_iov *piece)
{
    const uint8_t *data = piece->data;
    size_t left = piece->size;

    if (left > job->wanted - job->got) {
        client_fail(perf->client, "%s returned more than the %llu bytes asked for",
                    perf->client->remote_text, (unsigned long long)job->wanted);
        return false;
    }
    while (left > 0) {
        size_t size = left < PERF_CHUNK ? left : PERF_CHUNK;

        if (!perf->flags->any_content
            && memcmp(data, perf_payload + job->got % PERF_PERIOD, size) != 0) {
            client_fail(perf->client,
                        "%s returned other bytes than antq's server would (at byte %llu);"
                        " --any-content accepts them",
                        perf->client->remote_text, (unsigned long long)job->got);
            return false;
        }
        job->got += size;
        data += size;
        left -= size;
    }
    perf->moved += piece->size;
    perf->client->progress += piece->size + 1;
    perf->client->missing = NULL;
    return true;
}

static void job_read(struct perf *perf, struct job *job)
{
    struct client *client = perf->client;
    bool fin = false;

    while (!fin) {
        struct aq_iov pieces[READ_PIECES];
        int count = aq_stream_peek(client->ep, job->stream, pieces, READ_PIECES, &fin);
        uint64_t size = 0;

        for (int i = 0; i < count; i++) {
            if (!job_check(perf, job, &pieces[i])) {
                return;
            }
            size += pieces[i].size;
        }
        if (count < 0 || (size == 0 && !fin)
            || aq_stream_consume(client->ep, job->stream, size) != AQ_OK) {
            return;
        }
    }
    client->missing = NULL;
    client->progress++;
    if (job->got != job->wanted) {
        client_fail(client, "%s returned %llu bytes where %llu were asked for", client->remote_text,
                    (unsigned long long)job->got, (unsigned long long)job->wanted);
        return;
    }
    job->answered = true;
    if (job->size == 0) {
        job_done(perf, job);
    }
}

/* Both sides of a stream are done: for an upload this says that all of it arrived. */
static void job_closed(struct perf *perf, struct job *job)
{
    if (job->answered && job->left == 0) {
        job_done(perf, job);
    } else {
        client_fail(perf->client, "a stream to %s ended before its answer came",
                    perf->client->remote_text);
    }
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void handshake_dial(void *user)
{
    struct perf *perf = user;
    struct client *client = perf->client;
    int result;

    if (client_is_over(client)) {
        return;
    }
    result = client_dial(client);
    if (result
        == AQ_FULL) { /* connections that were closed keep their place for three timeouts more */
        (void)aq_loop_timer(client->loop, client->dialled_us + RETRY_US, handshake_dial, perf);
    } else if (result != AQ_OK) {
        aq_loop_stop(client->loop);
    }
}

static void handshake_done(struct perf *perf)
{
    struct client *client = perf->client;
    uint64_t now = aq_loop_clock(client->loop);
    aq_conn done = client->conn;

    perf->resumed += client->peer.resumed;
    if (perf->stats.version == 0) {
        perf->stats = client->stats; /* no job ran: then these tell of the path */
    }
    perf->done++;
    if (perf->done == perf->jobs) {
        perf->phase_us[PHASE_HANDSHAKES] = now - perf->begun_us;
        phase_next(perf);
        return;
    }
    /* It says goodbye behind the first packet of the next, which must not wait for that. */
    client->conn = 0;
    handshake_dial(perf);
    (void)aq_close(client->ep, done, 0, NULL, now);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static uint64_t phase_jobs(const struct perf *perf, enum phase phase)
{
    const struct perf_flags *flags = perf->flags;

    switch (phase) {
    case PHASE_DOWNLOAD: return flags->download < flags->streams ? flags->download : flags->streams;
    case PHASE_UPLOAD: return flags->upload < flags->streams ? flags->upload : flags->streams;
    case PHASE_REQUESTS: return flags->requests;
    case PHASE_HANDSHAKES: return flags->handshakes;
    case PHASE_NONE:
    case PHASE_OVER: break;
    }
    return 0;
}

/* Begins the next phase that was asked for. */
static void phase_next(struct perf *perf)
{
    struct client *client = perf->client;
    enum phase before = perf->phase;

    do {
        perf->phase++;
        perf->jobs = phase_jobs(perf, perf->phase);
    } while (perf->jobs == 0 && perf->phase != PHASE_OVER);
    perf->started = perf->done = perf->moved = 0;
    perf->begun_us = aq_loop_clock(client->loop);
    if (perf->phase == PHASE_OVER) {
        client->missing = NULL;
        client_finish(client);
        if (before != PHASE_HANDSHAKES) {
            perf->stats = client->stats;
        }
    } else if (perf->phase == PHASE_HANDSHAKES) {
        client->owed = false;
        client->tickets_later = true;
        if (before != PHASE_NONE) {
            client_measure(client);
            perf->stats = client->stats;
            (void)aq_close(client->ep, client->conn, 0, NULL, perf->begun_us);
            client->conn = 0;
        }
        handshake_dial(perf);
    } else {
        jobs_start(perf);
    }
}

static void show_progress(void *user)
{
    struct perf *perf = user;
    struct client *client = perf->client;
    uint64_t now = aq_loop_clock(client->loop);
    uint64_t us = now - perf->begun_us;
    char moved[32];

    if (client_is_over(client)) {
        return;
    }
    switch (perf->phase) {
    case PHASE_DOWNLOAD:
    case PHASE_UPLOAD:
        progress_line("%s %s, %.3f Gbit/s", perf->phase == PHASE_DOWNLOAD ? "download" : "upload",
                      bytes_text(perf->moved, moved, sizeof moved), gbit_per_s(perf->moved, us));
        break;
    case PHASE_REQUESTS:
    case PHASE_HANDSHAKES:
        progress_line("%llu of %llu %s, %.0f per second", (unsigned long long)perf->done,
                      (unsigned long long)perf->jobs,
                      perf->phase == PHASE_REQUESTS ? "requests" : "handshakes",
                      per_second(perf->done, us));
        break;
    case PHASE_NONE:
    case PHASE_OVER: break;
    }
    (void)aq_loop_timer(client->loop, now + PROGRESS_US, show_progress, perf);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* Whether the times of this handshake are asked for: of many, or of the only one. */
static bool is_timed(const struct perf *perf)
{
    return perf->phase == PHASE_HANDSHAKES || perf->flags->handshakes == 0;
}

static void on_connected(struct perf *perf, const struct aq_event *event)
{
    struct client *client = perf->client;

    if (event->conn == client->conn && is_timed(perf)) {
        samples_add(&perf->handshake, aq_loop_clock(client->loop) - client->dialled_us);
    }
}

static void on_confirmed(struct perf *perf, const struct aq_event *event)
{
    struct client *client = perf->client;
    char text[512];

    if (event->conn != client->conn) {
        return;
    }
    if (is_timed(perf)) {
        samples_add(&perf->confirmed, aq_loop_clock(client->loop) - client->dialled_us);
    }
    if (perf->phase == PHASE_HANDSHAKES) {
        handshake_done(perf);
        return;
    }
    if (!client->flags.json || client->flags.verbose) {
        (void)fprintf(client->talk, "handshake with %s completed in %.3f ms and confirmed: %s\n",
                      client->remote_text, (double)client->stats.handshake_us / 1000,
                      client_facts_text(client, text, sizeof text));
        (void)fflush(client->talk);
    }
    client->owed = true;
    client_expect(client, "no answer", "a perf server");
    if (perf->phase == PHASE_NONE) { /* else it began in 0-RTT */
        phase_next(perf);
    }
}

static void on_stream(struct perf *perf, const struct aq_event *event)
{
    struct job *job = event_job(event);

    if (job == NULL) {
        if (event->kind == AQ_EVENT_OPENED) { /* the server's own: the protocol knows none */
            (void)aq_stream_stop(perf->client->ep, event->stream, 0);
        }
    } else if (event->kind == AQ_EVENT_READABLE) {
        job_read(perf, job);
    } else if (event->kind == AQ_EVENT_WRITABLE) {
        job_write(perf, job);
    } else if (event->kind == AQ_EVENT_RESET || event->kind == AQ_EVENT_STOPPED) {
        client_fail(perf->client, "%s refused a stream with code 0x%llx", perf->client->remote_text,
                    (unsigned long long)event->value);
    } else if (event->kind == AQ_EVENT_STREAM_CLOSED) {
        job_closed(perf, job);
    }
}

static void on_event(void *user, const struct aq_event *event)
{
    struct perf *perf = user;

    if (event->kind == AQ_EVENT_EARLY) {
        if (perf->phase == PHASE_NONE) {
            phase_next(perf);
        }
    } else if (event->kind == AQ_EVENT_CONNECTED) {
        on_connected(perf, event);
    } else if (event->kind == AQ_EVENT_CONFIRMED) {
        on_confirmed(perf, event);
    } else if (event->kind == AQ_EVENT_STREAMS && perf->phase < PHASE_HANDSHAKES
               && perf->phase != PHASE_NONE) {
        jobs_start(perf);
    } else if (event->stream != 0) {
        on_stream(perf, event);
    }
}

/* ---- results --------------------------------------------------------------------------------- */

static void print_json(const struct perf *perf)
{
    const struct perf_flags *flags = perf->flags;
    const struct aq_loop_stats *loop = &perf->client->loop_stats;
    uint64_t us = perf->phase_us[PHASE_DOWNLOAD] + perf->phase_us[PHASE_UPLOAD];

    (void)printf(
        "{\"download_bytes\":%llu,\"upload_bytes\":%llu,\"seconds\":%.6f,\"gbit_per_s\":%.6f,"
        "\"early_data\":\"%s\",\"handshakes\":%llu,\"resumed\":%llu,\"handshakes_per_s\":%.3f,\"requests_per_s\":%.3f,"
        "\"latency_us\":{",
        (unsigned long long)flags->download, (unsigned long long)flags->upload, (double)us / 1e6,
        gbit_per_s(flags->download + flags->upload, us), client_early_text(perf->client),
        (unsigned long long)flags->handshakes, (unsigned long long)perf->resumed,
        per_second(flags->handshakes, perf->phase_us[PHASE_HANDSHAKES]),
        per_second(flags->requests, perf->phase_us[PHASE_REQUESTS]));
    samples_print(&perf->latency, "min", 0, false);
    samples_print(&perf->latency, "p50", 500, false);
    samples_print(&perf->latency, "p99", 990, false);
    samples_print(&perf->latency, "p99_9", 999, true);
    (void)fputs(",\"handshake_us\":{", stdout);
    samples_print(&perf->handshake, "p50", 500, false);
    samples_print(&perf->handshake, "p99", 990, true);
    (void)fputs(",\"confirmed_us\":{", stdout);
    samples_print(&perf->confirmed, "p50", 500, false);
    samples_print(&perf->confirmed, "p99", 990, true);
    (void)printf(
        ",\"send_calls\":%llu,\"send_packets\":%llu,\"recv_calls\":%llu,\"recv_packets\":%llu,"
        "\"lost_packets\":%llu,\"mtu\":%u,\"rtt_us\":%llu,\"ecn\":\"%s\",\"aead\":\"%s\"}\n",
        (unsigned long long)loop->send_calls, (unsigned long long)loop->send_packets,
        (unsigned long long)loop->recv_calls, (unsigned long long)loop->recv_packets,
        (unsigned long long)perf->stats.lost_packets, perf->stats.mtu,
        (unsigned long long)perf->stats.rtt_us, ecn_name(perf->stats.ecn_state),
        aq_endpoint_aead(perf->client->ep));
}

static void print_transfer(const char *name, uint64_t bytes, uint64_t us)
{
    char text[32];

    if (bytes > 0) {
        (void)printf("%-10s %s in %.3f s, %.3f Gbit/s\n", name,
                     bytes_text(bytes, text, sizeof text), (double)us / 1e6, gbit_per_s(bytes, us));
    }
}

static void print_text(const struct perf *perf)
{
    const struct perf_flags *flags = perf->flags;
    const struct aq_loop_stats *loop = &perf->client->loop_stats;

    print_transfer("download", flags->download, perf->phase_us[PHASE_DOWNLOAD]);
    print_transfer("upload", flags->upload, perf->phase_us[PHASE_UPLOAD]);
    if (flags->requests > 0) {
        (void)printf(
            "requests   %llu in %.3f s, %.0f per second, latency min/p50/p99 %u/%u/%u us\n",
            (unsigned long long)flags->requests, (double)perf->phase_us[PHASE_REQUESTS] / 1e6,
            per_second(flags->requests, perf->phase_us[PHASE_REQUESTS]),
            samples_percentile(&perf->latency, 0), samples_percentile(&perf->latency, 50),
            samples_percentile(&perf->latency, 99));
    }
    if (flags->handshakes > 0) {
        (void)printf(
            "handshakes %llu in %.3f s, %.0f per second, complete p50/p99 %u/%u us, confirmed "
            "%u/%u us%s\n",
            (unsigned long long)flags->handshakes, (double)perf->phase_us[PHASE_HANDSHAKES] / 1e6,
            per_second(flags->handshakes, perf->phase_us[PHASE_HANDSHAKES]),
            samples_percentile(&perf->handshake, 50), samples_percentile(&perf->handshake, 99),
            samples_percentile(&perf->confirmed, 50), samples_percentile(&perf->confirmed, 99),
            perf->resumed == flags->handshakes ? ", resumed"
            : perf->resumed > 0                ? ", some resumed"
                                               : "");
    }
    (void)printf("path       MTU %u, rtt %.3f ms, %llu of %llu packets lost\n", perf->stats.mtu,
                 (double)perf->stats.rtt_us / 1000, (unsigned long long)perf->stats.lost_packets,
                 (unsigned long long)perf->stats.sent_packets);
    (void)printf("sockets    %llu packets in %llu send calls, %llu in %llu receive calls\n",
                 (unsigned long long)loop->send_packets, (unsigned long long)loop->send_calls,
                 (unsigned long long)loop->recv_packets, (unsigned long long)loop->recv_calls);
}

static int run(struct perf *perf)
{
    struct client *client = perf->client;
    const struct perf_flags *flags = perf->flags;
    int code;

    if (perf->progress) {
        (void)aq_loop_timer(client->loop, aq_loop_clock(client->loop) + PROGRESS_US, show_progress,
                            perf);
    }
    if (flags->download + flags->upload + flags->requests > 0) {
        (void)client_dial(client);
    } else {
        phase_next(perf);
    }
    code = client_run(client);
    progress_end();
    if (code == EXIT_DONE && !client->finishing) {
        complain("interrupted before all was measured");
        code = EXIT_FAILED;
    }
    if (code == EXIT_DONE) {
        samples_sort(&perf->latency);
        samples_sort(&perf->handshake);
        samples_sort(&perf->confirmed);
        if (client->flags.json) {
            print_json(perf);
        } else {
            print_text(perf);
        }
    }
    return code;
}

int perf_client(struct client *client, const struct perf_flags *flags, const char *target)
{
    static struct perf perf;
    int code;

    perf.client = client;
    perf.flags = flags;
    perf.progress = progress_wanted(client->flags.progress);
    client->on_event = on_event;
    client->user = &perf;
    client->max_conns = flags->handshakes > 0 ? 1024 : 8;
    if (client_open(client, target, &code)) {
        code = EXIT_FAILED;
        if (samples_init(&perf.latency, flags->requests)
            && samples_init(&perf.handshake, flags->handshakes > 0 ? flags->handshakes : 1)
            && samples_init(&perf.confirmed, flags->handshakes > 0 ? flags->handshakes : 1)) {
            code = run(&perf);
        }
    }
    samples_free(&perf.latency);
    samples_free(&perf.handshake);
    samples_free(&perf.confirmed);
    client_free(client);
    return code;
}
