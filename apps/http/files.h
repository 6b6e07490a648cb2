/* files.h -- what lies under the served folder: paths, content types, listings.
 *
 * The kernel itself keeps requests inside: every path is opened with openat2 and RESOLVE_BENEATH,
 * which refuses `..` above the folder, absolute paths and symbolic links that lead out, also when
 * somebody moves things about meanwhile. Nothing here compares path strings for safety. */
#ifndef APPS_HTTP_FILES_H
#define APPS_HTTP_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FILES_PATH_MAX = 4096
};

/* Opens the folder to serve. -1 with a sentence in error: no such folder, none at all, or a kernel
 * without openat2 (before 5.6). */
int files_open_root(const char *path, char *error, size_t error_size);

/* Turns a request's target ("/a%20b/?x") into a path relative to the folder ("a b/", "." for the
 * folder itself): no query, no leading slashes, percent decoded. 0, or the HTTP status that refuses
 * it: 400 (not a path, a bad escape, a NUL), 414. */
int files_decode(const char *target, char *path, size_t size);
/* The other way: percent-encodes a path. False: it does not fit. */
bool files_encode(const char *path, char *out, size_t size);

/* Opens a path beneath root for reading: a regular file or a folder. A descriptor, or -1 with
 * errno: ENOENT also for what is neither. */
int files_open(int root, const char *path);

/* "text/html; charset=utf-8"; static. */
const char *files_type(const char *path);

/* An HTML page with the names in a folder, sorted; `path` is its title. NULL: no memory, or it
 * cannot be read. The caller frees it. */
char *files_list(int folder, const char *path, size_t *size);

#endif
