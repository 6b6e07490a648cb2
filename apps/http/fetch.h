/* fetch.h -- the downloads of `antq http get`: from a URL to a file, and what became of it.
 *
 * fetch.c knows a single one; get.c runs them over connections. */
#ifndef APPS_HTTP_FETCH_H
#define APPS_HTTP_FETCH_H

#include "apps/http/sink.h"
#include "apps/http/url.h"
#include "apps/http/web.h"

struct get_flags {
    bool force, head;
    const char *output, *folder, *range;
};

enum fetch_state {
    FETCH_WAITS,
    FETCH_RUNS,
    FETCH_DONE,
    FETCH_FAILED
};

struct fetch {
    const char *text; /* the URL as given */
    struct url url;
    struct sink sink;
    enum fetch_state state;
    struct web_stream *stream; /* while it runs */
    const struct get_flags *flags;
    bool verbose, answered;
    int status;
    uint64_t bytes, begun_us, ended_us;
    char location[512];
};

/* Makes the request of a fetch; the fields point into it. Their number. */
unsigned fetch_fields(const struct fetch *fetch, struct web_field fields[WEB_FIELDS]);
/* The answer, as web_ops tells it. */
void fetch_field(struct fetch *fetch, const char *name, const char *value);
void fetch_fields_end(struct fetch *fetch);
void fetch_data(struct fetch *fetch, const uint8_t *data, size_t size);
void fetch_end(struct fetch *fetch, uint64_t now_us);
/* Ends it badly, with one line of error. */
void fetch_fail(struct fetch *fetch, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
