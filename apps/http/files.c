/* files.c -- the served folder (files.h). */
#include "apps/http/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    RETRIES = 8,      /* of openat2, while others rename folders on the way */
    LIST_MAX = 10000, /* names in a listing */
};

/* ---- opening --------------------------------------------------------------------------------- */

static int open_beneath(int root, const char *path)
{
    /* O_NONBLOCK: a FIFO without a writer must not stop the server. */
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;

    for (unsigned i = 0; i < RETRIES && fd < 0; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd < 0 && errno != EAGAIN && errno != EINTR) {
            break;
        }
    }
    return (int)fd;
}

int files_open_root(const char *path, char *error, size_t error_size)
{
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int self;

    if (root < 0) {
        (void)snprintf(error, error_size, "cannot serve \"%s\": %s", path, strerror(errno));
        return -1;
    }
    self = open_beneath(root, ".");
    if (self < 0) {
        (void)snprintf(error, error_size, "cannot serve \"%s\": %s", path,
                       errno == ENOSYS
                           ? "this kernel has no openat2 (Linux 5.6), which keeps requests inside"
                           : strerror(errno));
        (void)close(root);
        return -1;
    }
    (void)close(self);
    return root;
}

int files_open(int root, const char *path)
{
    struct stat status;
    int fd = open_beneath(root, path);

    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        (void)close(fd);
        errno = ENOENT;
        return -1;
    }
    return fd;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

int files_decode(const char *target, char *path, size_t size)
{
    size_t used = 0;

    if (target[0] != '/') {
        return 400;
    }
    target += strspn(target, "/");
    for (; *target != '\0' && *target != '?' && *target != '#'; target++) {
        char c = *target;

        if (c == '%') {
            int high = hex_value(target[1]);
            int low = high >= 0 ? hex_value(target[2]) : -1;

            if (low < 0 || high * 16 + low == 0) {
                return 400;
            }
            c = (char)(high * 16 + low);
            target += 2;
        }
        if (used + 1 >= size) {
            return 414;
        }
        path[used++] = c;
    }
    if (used == 0 && size > 1) {
        path[used++] = '.';
    }
    path[used] = '\0';
    return 0;
}

bool files_encode(const char *path, char *out, size_t size)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;

    for (; *path != '\0'; path++) {
        unsigned char c = (unsigned char)*path;

        if (used + 4 > size) {
            return false;
        }
        if (strchr(plain, c) != NULL) {
            out[used++] = (char)c;
        } else {
            out[used++] = '%';
            out[used++] = digits[c >> 4];
            out[used++] = digits[c & 15];
        }
    }
    out[used] = '\0';
    return true;
}

/* ---- content types --------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *suffix, *type;
} types[] = {
    {"html", "text/html; charset=utf-8"}, {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},   {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"}, {"json", "application/json"},
    {"txt", "text/plain; charset=utf-8"}, {"md", "text/markdown; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},   {"xml", "application/xml"},
    {"svg", "image/svg+xml"}, {"png", "image/png"}, {"jpg", "image/jpeg"}, {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},     {"webp", "image/webp"}, {"avif", "image/avif"}, {"ico", "image/x-icon"},
    {"woff", "font/woff"},    {"woff2", "font/woff2"}, {"ttf", "font/ttf"}, {"wasm", "application/wasm"},
    {"pdf", "application/pdf"}, {"zip", "application/zip"}, {"gz", "application/gzip"},
    {"tar", "application/x-tar"}, {"mp3", "audio/mpeg"}, {"ogg", "audio/ogg"}, {"wav", "audio/wav"},
    {"mp4", "video/mp4"}, {"webm", "video/webm"},
};
/* clang-format on */

const char *files_type(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *dot = strrchr(name != NULL ? name : path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof types / sizeof types[0]; i++) {
        if (strcasecmp(dot + 1, types[i].suffix) == 0) {
            return types[i].type;
        }
    }
    return "application/octet-stream";
}

/* ---- listings -------------------------------------------------------------------------------- */

static void write_escaped(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&': (void)fputs("&amp;", out); break;
        case '<': (void)fputs("&lt;", out); break;
        case '>': (void)fputs("&gt;", out); break;
        case '"': (void)fputs("&quot;", out); break;
        default: (void)fputc(*text, out);
        }
    }
}

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;

    return strcmp(*left, *right);
}

/* Reads the names, folders with a slash at their end. Their number, at most LIST_MAX. */
static size_t read_names(DIR *folder, char **names)
{
    const struct dirent *entry;
    size_t count = 0;

    while (count < LIST_MAX && (entry = readdir(folder)) != NULL) {
        struct stat status;
        char name[sizeof entry->d_name + 1];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(
            name, sizeof name, "%s%s", entry->d_name,
            fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && S_ISDIR(status.st_mode) ? "/"
                                                                                              : "");
        names[count] = strdup(name);
        count += names[count] != NULL ? 1 : 0;
    }
    qsort(names, count, sizeof names[0], compare_names);
    return count;
}

static void write_page(FILE *out, const char *path, char *const *names, size_t count)
{
    (void)fputs("<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>", out);
    write_escaped(out, path);
    (void)fputs("</title>\n<h1>", out);
    write_escaped(out, path);
    (void)fputs("</h1>\n<ul>\n", out);
    for (size_t i = 0; i < count; i++) {
        char link[3 * 257 + 4];

        if (!files_encode(names[i], link, sizeof link)) {
            continue;
        }
        /* "./" before it: a name like "a:b" is no scheme. */
        (void)fprintf(out, "<li><a href=\"./%s\">", link);
        write_escaped(out, names[i]);
        (void)fputs("</a></li>\n", out);
    }
    (void)fputs(count == LIST_MAX ? "</ul>\n<p>Only these are shown.</p>\n" : "</ul>\n", out);
}

char *files_list(int folder, const char *path, size_t *size)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *open = copy >= 0 ? fdopendir(copy) : NULL;
    char **names = calloc(LIST_MAX, sizeof names[0]);
    char *text = NULL;
    size_t count = 0;
    FILE *out = NULL;

    if (open != NULL && names != NULL) {
        count = read_names(open, names);
        out = open_memstream(&text, size);
    }
    if (out != NULL) {
        write_page(out, path, names, count);
        if (fclose(out) != 0) {
            free(text);
            text = NULL;
        }
    }
    for (size_t i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
    if (open != NULL) {
        (void)closedir(open);
    } else if (copy >= 0) {
        (void)close(copy);
    }
    return text;
}
