/* sink.c -- downloads on their way to a file (sink.h). */
#include "apps/http/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char exists[] = "it exists; --force replaces it";

static bool failed(struct sink *sink, const char *problem)
{
    sink->problem = problem;
    return false;
}

static bool failed_errno(struct sink *sink)
{
    return failed(sink, strerror(errno));
}

void sink_plan_standard(struct sink *sink)
{
    memset(sink, 0, sizeof *sink);
    sink->fd = STDOUT_FILENO;
    sink->standard = true;
}

bool sink_plan(struct sink *sink, int folder, const char *name, bool force)
{
    struct stat status;

    memset(sink, 0, sizeof *sink);
    sink->folder = folder;
    sink->fd = -1;
    sink->force = force;
    if (strlen(name) >= sizeof sink->name) {
        return failed(sink, strerror(ENAMETOOLONG));
    }
    (void)strcpy(sink->name, name);
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT || failed_errno(sink);
    }
    if (S_ISDIR(status.st_mode)) {
        return failed(sink, strerror(EISDIR));
    }
    sink->direct = S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode);
    return sink->direct || force || failed(sink, exists);
}

bool sink_open(struct sink *sink)
{
    static unsigned serial;

    if (sink->standard) {
        return true;
    }
    if (sink->direct) {
        sink->fd = openat(sink->folder, sink->name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    } else {
        (void)snprintf(sink->temp, sizeof sink->temp, ".antq-%ld-%u", (long)getpid(), serial++);
        sink->fd = openat(sink->folder, sink->temp,
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    }
    if (sink->fd < 0) {
        sink->temp[0] = '\0';
        return failed_errno(sink);
    }
    return true;
}

bool sink_write(struct sink *sink, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(sink->fd, data, size);

        if (done < 0 && errno != EINTR) {
            return failed_errno(sink);
        }
        data += done > 0 ? done : 0;
        size -= done > 0 ? (size_t)done : 0;
    }
    return true;
}

bool sink_commit(struct sink *sink)
{
    int closed;

    if (sink->standard) {
        return true;
    }
    closed = close(sink->fd);
    sink->fd = -1;
    if (closed != 0) {
        return failed_errno(sink);
    }
    if (sink->direct) {
        return true;
    }
    if (renameat2(sink->folder, sink->temp, sink->folder, sink->name,
                  sink->force ? 0 : RENAME_NOREPLACE)
        != 0) {
        return errno == EEXIST ? failed(sink, exists) : failed_errno(sink);
    }
    sink->temp[0] = '\0';
    return true;
}

void sink_abort(struct sink *sink)
{
    if (sink->standard) {
        return;
    }
    if (sink->fd >= 0) {
        (void)close(sink->fd);
        sink->fd = -1;
    }
    if (sink->temp[0] != '\0') {
        (void)unlinkat(sink->folder, sink->temp, 0);
        sink->temp[0] = '\0';
    }
}
