/* fetch.c -- one download (fetch.h). */
#include "apps/http/fetch.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

unsigned fetch_fields(const struct fetch *fetch, struct web_field fields[WEB_FIELDS])
{
    unsigned count = 0;

    fields[count++] = (struct web_field){":method", fetch->flags->head ? "HEAD" : "GET"};
    fields[count++] = (struct web_field){":scheme", "https"};
    fields[count++] = (struct web_field){":authority", fetch->url.authority};
    fields[count++] = (struct web_field){":path", fetch->url.path};
    fields[count++] = (struct web_field){"user-agent", "antq/" AQ_VERSION};
    if (fetch->flags->range != NULL) {
        fields[count++] = (struct web_field){"range", fetch->flags->range};
    }
    return count;
}

void fetch_fail(struct fetch *fetch, const char *format, ...)
{
    char text[640];
    va_list arguments;

    if (fetch->state == FETCH_DONE || fetch->state == FETCH_FAILED) {
        return;
    }
    fetch->state = FETCH_FAILED;
    sink_abort(&fetch->sink);
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    complain("%s: %s", fetch->text, text);
    if (fetch->stream != NULL) { /* nothing more of it is wanted */
        (void)aq_stream_stop(fetch->stream->web->ep, fetch->stream->handle, H3_REQUEST_CANCELLED);
    }
}

/* A field on a terminal: a stranger's bytes. */
static void print_field(const struct fetch *fetch, const char *name, const char *value)
{
    char line[1024];

    (void)snprintf(line, sizeof line, "%s: %s", name, value);
    for (char *at = line; *at != '\0'; at++) {
        if ((*at < ' ' && *at != '\t') || *at > '~') {
            *at = '?';
        }
    }
    if (fetch->flags->head) {
        (void)printf("%s\n", line);
    } else {
        note("%s", line);
    }
}

void fetch_field(struct fetch *fetch, const char *name, const char *value)
{
    if (fetch->answered) {
        return;
    }
    if (strcmp(name, ":status") == 0) {
        fetch->status = atoi(value);
    } else if (strcmp(name, "location") == 0) {
        (void)snprintf(fetch->location, sizeof fetch->location, "%.500s", value);
    }
    if (fetch->flags->head || fetch->verbose) {
        print_field(fetch, name, value);
    }
}

void fetch_fields_end(struct fetch *fetch)
{
    int status = fetch->status;

    if (fetch->answered || fetch->state != FETCH_RUNS || status < 200) {
        return; /* interim ones (RFC 9110 §15.2) are followed by the answer */
    }
    fetch->answered = true;
    if (status >= 300 && status < 400 && fetch->location[0] != '\0') {
        fetch_fail(fetch, "HTTP status %d: it is at \"%s\" (redirections are not followed)", status,
                   fetch->location);
    } else if (status >= 300) {
        fetch_fail(fetch, "HTTP status %d%s", status,
                   status == 404   ? ", not found"
                   : status == 403 ? ", forbidden"
                   : status == 416 ? ", the range lies outside"
                                   : "");
    } else if (!fetch->flags->head && !sink_open(&fetch->sink)) {
        fetch_fail(fetch, "cannot write it: %s", fetch->sink.problem);
    }
}

void fetch_data(struct fetch *fetch, const uint8_t *data, size_t size)
{
    if (fetch->state != FETCH_RUNS || !fetch->answered) {
        return;
    }
    if (!fetch->flags->head && !sink_write(&fetch->sink, data, size)) {
        fetch_fail(fetch, "cannot write it: %s", fetch->sink.problem);
        return;
    }
    fetch->bytes += size;
}

void fetch_end(struct fetch *fetch, uint64_t now_us)
{
    if (fetch->state != FETCH_RUNS) {
        return;
    }
    if (!fetch->answered) {
        fetch_fail(fetch, "the stream ended before an answer came");
    } else if (!fetch->flags->head && !sink_commit(&fetch->sink)) {
        fetch_fail(fetch, "cannot write it: %s", fetch->sink.problem);
    } else {
        fetch->state = FETCH_DONE;
        fetch->ended_us = now_us;
    }
}
