/* answer.c -- static files as HTTP answers (answer.h). */
#include "apps/http/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- requests -------------------------------------------------------------------------------- */

void request_field(struct request *request, const char *name, const char *value)
{
    const struct {
        const char *name;
        char *to;
        size_t size;
    } wanted[] = {
        {":method", request->method, sizeof request->method},
        {":path", request->target, sizeof request->target},
        {"range", request->range, sizeof request->range},
        {"if-range", request->if_range, sizeof request->if_range},
        {"if-none-match", request->none_match, sizeof request->none_match},
        {"if-modified-since", request->modified_since, sizeof request->modified_since},
    };
    size_t size = strlen(value);

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (strcmp(name, wanted[i].name) != 0) {
            continue;
        }
        if (size < wanted[i].size) {
            memcpy(wanted[i].to, value, size + 1);
        } else if (wanted[i].to == request->target) {
            request->too_long = true;
        } else {
            /* Longer than any that can match: as good as not understood. */
            (void)snprintf(wanted[i].to, wanted[i].size, "?");
        }
    }
}

/* ---- dates and ranges ------------------------------------------------------------------------ */

void date_text(int64_t unix_s, char *out, size_t size)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t time = (time_t)unix_s;
    struct tm tm = {0};

    (void)gmtime_r(&time, &tm);
    (void)snprintf(out, size, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
                   tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
                   tm.tm_sec);
}

bool date_parse(const char *text, int64_t *unix_s)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);

    if (end == NULL || *end != '\0') {
        return false;
    }
    *unix_s = timegm(&tm);
    return true;
}

/* Digits up to `until`, all of them. */
static bool parse_part(const char *text, size_t size, uint64_t *value)
{
    char digits[24];

    if (size == 0 || size >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, size);
    digits[size] = '\0';
    return parse_number(digits, value);
}

enum range_result range_parse(const char *text, uint64_t size, uint64_t *begin, uint64_t *end)
{
    const char *dash;
    uint64_t first, last;

    /* RFC 9110 §14.2: a unit or a form that we do not know is ignored; so are several ranges. */
    if (strncmp(text, "bytes=", 6) != 0) {
        return RANGE_NONE;
    }
    text += 6;
    dash = strchr(text, '-');
    if (dash == NULL) {
        return RANGE_NONE;
    }
    if (dash == text) {
        if (!parse_part(dash + 1, strlen(dash + 1), &last)) {
            return RANGE_NONE;
        }
        *begin = last < size ? size - last : 0;
        *end = size;
        return last == 0 || size == 0 ? RANGE_OUTSIDE : RANGE_PART;
    }
    last = UINT64_MAX;
    if (!parse_part(text, (size_t)(dash - text), &first)
        || (dash[1] != '\0' && !parse_part(dash + 1, strlen(dash + 1), &last)) || last < first) {
        return RANGE_NONE;
    }
    *begin = first;
    *end = last < size ? last + 1 : size;
    return first >= size ? RANGE_OUTSIDE : RANGE_PART;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void add_field(struct answer *answer, const char *name, const char *value)
{
    answer->fields[answer->count++] = (struct web_field){name, value};
}

static const char *status_words(int status)
{
    switch (status) {
    case 301: return "moved";
    case 400: return "bad request: not a path of this server";
    case 403: return "forbidden: the server may not read it";
    case 404: return "not found";
    case 405: return "method not allowed: this server knows GET and HEAD";
    case 414: return "the path is too long";
    case 416: return "the range lies outside the file";
    case 425: return "too early: ask again when the handshake is done";
    default: return "the server failed";
    }
}

static void set_status(struct answer *answer, int status)
{
    answer->status = status;
    (void)snprintf(answer->status_text, sizeof answer->status_text, "%03u",
                   (unsigned)status % 1000);
}

/* An answer whose body is one line. */
static void answer_words(struct answer *answer, const struct request *request, int status)
{
    int size = 0;

    set_status(answer, status);
    answer->text = malloc(80);
    if (answer->text != NULL) {
        size = snprintf(answer->text, 80, "%d %s\n", status, status_words(status));
    }
    answer->end = (uint64_t)size;
    answer->has_body = strcmp(request->method, "HEAD") != 0;
    add_field(answer, "content-type", "text/plain; charset=utf-8");
    (void)snprintf(answer->length, sizeof answer->length, "%d", size);
    add_field(answer, "content-length", answer->length);
}

/* Whether the client has this version already (RFC 9110 §13.1.2, §13.1.3). */
static bool is_unchanged(const struct answer *answer, const struct request *request,
                         const struct stat *status)
{
    int64_t since;

    if (request->none_match[0] != '\0') {
        return strcmp(request->none_match, "*") == 0
               || strstr(request->none_match, answer->etag) != NULL;
    }
    return date_parse(request->modified_since, &since) && status->st_mtim.tv_sec <= since;
}

static void answer_file(struct answer *answer, const struct request *request, const char *path,
                        const struct stat *status)
{
    uint64_t size = (uint64_t)status->st_size;
    bool get = strcmp(request->method, "GET") == 0;
    /* RFC 9110 §13.1.5: a range of another version is not asked for. */
    bool same = request->if_range[0] == '\0';
    enum range_result range = RANGE_NONE;

    (void)snprintf(answer->etag, sizeof answer->etag, "\"%" PRIx64 "-%" PRIx64 "-%lx\"", size,
                   (uint64_t)status->st_mtim.tv_sec, (unsigned long)status->st_mtim.tv_nsec);
    date_text(status->st_mtim.tv_sec, answer->modified, sizeof answer->modified);
    same = same || strcmp(request->if_range, answer->etag) == 0;
    answer->end = size;
    if (get && same && request->range[0] != '\0' && !is_unchanged(answer, request, status)) {
        range = range_parse(request->range, size, &answer->begin, &answer->end);
    }
    if (range == RANGE_OUTSIDE) {
        (void)close(answer->fd);
        answer->fd = -1;
        answer->begin = 0;
        answer_words(answer, request, 416);
        (void)snprintf(answer->range, sizeof answer->range, "bytes */%" PRIu64, size);
        add_field(answer, "content-range", answer->range);
        return;
    }
    add_field(answer, "etag", answer->etag);
    add_field(answer, "last-modified", answer->modified);
    add_field(answer, "accept-ranges", "bytes");
    if (is_unchanged(answer, request, status)) {
        set_status(answer, 304);
        return;
    }
    set_status(answer, range == RANGE_PART ? 206 : 200);
    answer->has_body = get;
    add_field(answer, "content-type", files_type(path));
    (void)snprintf(answer->length, sizeof answer->length, "%" PRIu64, answer->end - answer->begin);
    add_field(answer, "content-length", answer->length);
    if (range == RANGE_PART) {
        (void)snprintf(answer->range, sizeof answer->range,
                       "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, answer->begin, answer->end - 1,
                       size);
        add_field(answer, "content-range", answer->range);
    }
}

/* A folder asked for without the slash at its end: its relative links would go wrong. */
static void answer_moved(struct answer *answer, const struct request *request, const char *path)
{
    size_t size;

    /* One slash only: "//x" would be another host. path has no leading slash. */
    answer->location[0] = '/';
    if (!files_encode(path, answer->location + 1, sizeof answer->location - 2)) {
        answer_words(answer, request, 414);
        return;
    }
    size = strlen(answer->location);
    answer->location[size] = '/';
    answer->location[size + 1] = '\0';
    answer_words(answer, request, 301);
    add_field(answer, "location", answer->location);
}

static void answer_folder(struct answer *answer, const struct request *request, const char *path)
{
    size_t size = 0;
    char title[FILES_PATH_MAX + 1];

    (void)snprintf(title, sizeof title, "/%s", strcmp(path, ".") == 0 ? "" : path);
    answer->text = files_list(answer->fd, title, &size);
    (void)close(answer->fd);
    answer->fd = -1;
    if (answer->text == NULL) {
        answer_words(answer, request, 500);
        return;
    }
    set_status(answer, 200);
    answer->end = size;
    answer->has_body = strcmp(request->method, "GET") == 0;
    add_field(answer, "content-type", "text/html; charset=utf-8");
    (void)snprintf(answer->length, sizeof answer->length, "%zu", size);
    add_field(answer, "content-length", answer->length);
}

static int status_of_errno(int error)
{
    switch (error) {
    case EACCES:
    case EPERM: return 403;
    case ENAMETOOLONG: return 414;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case EIO: return 500;
    default: return 404; /* ENOENT; EXDEV: it leads out; ENOTDIR, ELOOP, ENXIO */
    }
}

static void answer_path(struct answer *answer, int root, const struct request *request,
                        const char *path)
{
    size_t size = strlen(path);
    bool slash = strcmp(path, ".") == 0 || path[size - 1] == '/';
    char index[FILES_PATH_MAX + 16];
    struct stat status;
    int file;

    answer->fd = files_open(root, path);
    if (answer->fd < 0 || fstat(answer->fd, &status) != 0) {
        answer_words(answer, request, status_of_errno(errno));
        return;
    }
    if (S_ISREG(status.st_mode)) {
        answer_file(answer, request, path, &status);
        return;
    }
    if (!slash) {
        (void)close(answer->fd);
        answer->fd = -1;
        answer_moved(answer, request, path);
        return;
    }
    (void)snprintf(index, sizeof index, "%s/index.html", path);
    file = files_open(root, index);
    if (file >= 0 && fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
        (void)close(answer->fd);
        answer->fd = file;
        answer_file(answer, request, index, &status);
        return;
    }
    if (file >= 0) {
        (void)close(file);
    }
    answer_folder(answer, request, path);
}

void answer_make(struct answer *answer, int root, const struct request *request, int64_t unix_s)
{
    char path[FILES_PATH_MAX];
    int refused;

    memset(answer, 0, sizeof *answer);
    answer->fd = -1;
    add_field(answer, ":status", answer->status_text);
    date_text(unix_s, answer->date, sizeof answer->date);
    add_field(answer, "date", answer->date);
    add_field(answer, "server", "antq/" AQ_VERSION);
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        /* RFC 8470 §5.2: what is not safe is not acted on while it may be a replay. */
        answer_words(answer, request, request->early ? 425 : 405);
        if (answer->status == 405) {
            add_field(answer, "allow", "GET, HEAD");
        }
        return;
    }
    refused = request->too_long ? 414 : files_decode(request->target, path, sizeof path);
    if (refused != 0) {
        answer_words(answer, request, refused);
        return;
    }
    answer_path(answer, root, request, path);
}
