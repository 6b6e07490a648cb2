/* answer.h -- from a request's fields to an answer's: status, fields, and which bytes.
 *
 * GET and HEAD of files and folders (RFC 9110): one byte range, If-Range, validators. Without a
 * network and without HTTP/3, so that the tests can ask anything. */
#ifndef APPS_HTTP_ANSWER_H
#define APPS_HTTP_ANSWER_H

#include "apps/http/body.h"
#include "apps/http/files.h"

struct request {
    char method[16];
    char target[FILES_PATH_MAX];
    char range[64], if_range[64], none_match[256], modified_since[40];
    bool too_long; /* the target did not fit */
    bool early;    /* it came in 0-RTT and may be a replay */
};

/* Keeps a field that matters; others are forgotten. */
void request_field(struct request *request, const char *name, const char *value);

enum {
    ANSWER_FIELDS = 10
};

struct answer {
    int status;
    struct web_field fields[ANSWER_FIELDS]; /* the first is ":status" */
    unsigned count;
    bool has_body;
    int fd;              /* -1: the body is `text` */
    char *text;          /* from malloc */
    uint64_t begin, end; /* of the file or the text */
    char status_text[4], length[24], range[72], etag[48], modified[40], date[40];
    char location[3 * FILES_PATH_MAX + 8];
};

/* Fills in an answer. fd and text are the caller's from then on: body_init_* takes them. unix_s:
 * for the Date field. */
void answer_make(struct answer *answer, int root, const struct request *request, int64_t unix_s);

enum range_result {
    RANGE_NONE, /* no range, or not one that we honour: the whole file */
    RANGE_PART,
    RANGE_OUTSIDE /* 416 */
};
/* RFC 9110 §14.1.2: "bytes=FIRST-LAST", "bytes=FIRST-", "bytes=-LENGTH" of size bytes. */
enum range_result range_parse(const char *text, uint64_t size, uint64_t *begin, uint64_t *end);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7). */
void date_text(int64_t unix_s, char *out, size_t size);
bool date_parse(const char *text, int64_t *unix_s);

#endif
