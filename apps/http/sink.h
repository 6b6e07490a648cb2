/* sink.h -- where a download goes: a file that appears only when it is complete, or standard
 * output.
 *
 * A file is written under a name of its own beside its place and renamed at the end, so that there
 * is never half of one, and what stood there before is replaced whole (with --force) or not at all.
 * Names are opened relative to their folder and never followed when they are symbolic links. What
 * exists and is no regular file (/dev/null, a FIFO) is written directly. */
#ifndef APPS_HTTP_SINK_H
#define APPS_HTTP_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink {
    int folder, fd;
    char name[256], temp[64];
    bool force, standard; /* standard: standard output */
    bool direct;
    const char *problem; /* static, of the last call that failed */
};

/* Where it will go; nothing is made. folder is the caller's. False: sink->problem. */
bool sink_plan(struct sink *sink, int folder, const char *name, bool force);
void sink_plan_standard(struct sink *sink);

/* The answer begins, bytes come, it is complete. False: sink->problem. */
bool sink_open(struct sink *sink);
bool sink_write(struct sink *sink, const uint8_t *data, size_t size);
bool sink_commit(struct sink *sink);
/* It will not be: removes what was written. After sink_commit nothing. */
void sink_abort(struct sink *sink);

#endif
