/* qlog.c -- reads the trace ring and gives each connection's events to its own log (qlog.h).
 *
 * A connection is the slot that its events name, from AQ_TRACE_CONN_STARTED until it is over. Each
 * has a buffer and a file; whatever an earlier call left in the buffer is on its way to the kernel
 * when qlog_drain returns, so that a program that is killed leaves whole records. A file is made
 * when the first packet was sent or was authentic: whoever sends junk makes none. */
#include "apps/qlog.h"
#include "apps/qlog_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    RING = 65536, /* aq_loop_config.on_trace says that it suffices */
    READ_MAX = 256
};

struct qlog {
    int folder_fd;
    bool failed; /* told: no more is written */
    uint32_t max_conns;
    uint64_t lost; /* events known to be missing */
    struct qlog_conn *dirty;
    struct qlog_conn *conns[]; /* by slot; NULL: none */
};

bool qlog_wanted(const char *folder, uint32_t max_conns, struct qlog **qlog)
{
    struct qlog *q;
    int fd;

    *qlog = NULL;
    folder = folder != NULL ? folder : getenv("QLOGDIR");
    if (folder == NULL || *folder == '\0') {
        return true;
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
        complain("--qlog: cannot write into \"%s\": %s", folder, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    q = calloc(1, sizeof *q + max_conns * sizeof q->conns[0]);
    if (q == NULL) {
        complain("--qlog: not enough memory");
        (void)close(fd);
        return false;
    }
    q->folder_fd = fd;
    q->max_conns = max_conns;
    *qlog = q;
    return true;
}

void qlog_configure(struct aq_config *config)
{
    config->trace_events = RING;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void fail(struct qlog *q, const char *name)
{
    if (!q->failed) {
        complain("cannot write the qlog %s: %s; no more is written", name, strerror(errno));
        log_failed();
    }
    q->failed = true;
}

static const char *file_name(const struct qlog_conn *c, char out[2 * QLOG_CID_MAX + 32])
{
    char id[2 * QLOG_CID_MAX + 1];

    (void)snprintf(out, 2 * QLOG_CID_MAX + 32, "%s_%s.sqlog",
                   qlog_hex_text(c->odcid.bytes, c->odcid.size, id),
                   c->server ? "server" : "client");
    return out;
}

void qlog_conn_flush(struct qlog_conn *c)
{
    char name[2 * QLOG_CID_MAX + 32];
    size_t done = 0;

    (void)file_name(c, name);
    if (c->fd < 0 && !c->qlog->failed) {
        /* Never over another's log: a client chooses the name of a server's file. */
        c->fd = openat(c->qlog->folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (c->fd < 0) {
            fail(c->qlog, name);
        }
    }
    while (done < c->used && !c->qlog->failed) {
        ssize_t size = write(c->fd, c->buffer + done, c->used - done);

        if (size > 0) {
            done += (size_t)size;
        } else if (size == 0 || errno != EINTR) {
            fail(c->qlog, name);
        }
    }
    c->used = 0;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* Ends a log; its slot is free for the next. */
static void conn_end(struct qlog *q, uint32_t slot)
{
    struct qlog_conn *c = q->conns[slot];

    if (c == NULL) {
        return;
    }
    qlog_conn_settle(c);
    if (c->spoken) {
        qlog_conn_flush(c);
    }
    if (c->fd >= 0 && close(c->fd) != 0) {
        char name[2 * QLOG_CID_MAX + 32];

        fail(q, file_name(c, name));
    }
    for (struct qlog_conn **at = &q->dirty; *at != NULL; at = &(*at)->dirty_next) {
        if (*at == c) {
            *at = c->dirty_next;
            break;
        }
    }
    free(c);
    q->conns[slot] = NULL;
}

static void conn_begin(struct qlog *q, const struct aq_trace *event, uint64_t now_us)
{
    struct qlog_conn *c;
    struct timespec t;

    conn_end(q, event->conn);
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        errno = ENOMEM;
        fail(q, "of a connection");
        return;
    }
    c->qlog = q;
    c->fd = -1;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    c->unix_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    c->unix_us -= now_us > event->time_us ? now_us - event->time_us : 0;
    q->conns[event->conn] = c;
}

static void take(struct qlog *q, const struct aq_trace *event, uint64_t now_us)
{
    struct qlog_conn *c;

    if (event->conn >= q->max_conns || q->failed) { /* the endpoint's own events have no file */
        return;
    }
    if (event->type == AQ_TRACE_CONN_STARTED) {
        conn_begin(q, event, now_us);
    }
    c = q->conns[event->conn];
    if (c == NULL) {
        return;
    }
    qlog_conn_event(c, event);
    if (c->over) {
        conn_end(q, event->conn);
    } else if (!c->dirty) {
        c->dirty = true;
        c->dirty_next = q->dirty;
        q->dirty = c;
    }
}

/* Says in every open log how many events were lost: nobody knows any more whose they were. */
static void tell_lost(struct qlog *q, struct aq_endpoint *ep)
{
    struct aq_endpoint_stats stats = {.size = sizeof stats};

    aq_endpoint_stats(ep, &stats);
    if (stats.trace_lost == q->lost) {
        return;
    }
    if (q->lost == 0) {
        note("antq: note: the qlog has gaps: the trace ring was full, the logs say where");
    }
    for (uint32_t i = 0; i < q->max_conns; i++) {
        if (q->conns[i] != NULL) {
            qlog_conn_lost(q->conns[i], stats.trace_lost - q->lost);
        }
    }
    q->lost = stats.trace_lost;
}

void qlog_drain(struct qlog *q, struct aq_endpoint *ep)
{
    struct aq_trace events[READ_MAX];
    struct timespec t;
    uint64_t now_us;
    unsigned count;

    if (q == NULL) {
        return;
    }
    count = aq_trace_read(ep, events, READ_MAX);
    if (count == 0) {
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    now_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    for (; count > 0; count = aq_trace_read(ep, events, READ_MAX)) {
        for (unsigned i = 0; i < count; i++) {
            take(q, &events[i], now_us);
        }
    }
    tell_lost(q, ep);
    while (q->dirty != NULL) {
        struct qlog_conn *c = q->dirty;

        q->dirty = c->dirty_next;
        c->dirty = false;
        if (c->spoken) {
            qlog_conn_settle(c);
            qlog_conn_flush(c);
        }
    }
}

void qlog_free(struct qlog *q, struct aq_endpoint *ep)
{
    if (q == NULL) {
        return;
    }
    if (ep != NULL) {
        qlog_drain(q, ep);
    }
    for (uint32_t i = 0; i < q->max_conns; i++) {
        conn_end(q, i);
    }
    (void)close(q->folder_fd);
    free(q);
}
