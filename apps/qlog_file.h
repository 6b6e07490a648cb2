/* qlog_file.h -- reads a qlog file record by record: JSON text sequences, RFC 7464. */
#ifndef APPS_QLOG_FILE_H
#define APPS_QLOG_FILE_H

#include "apps/json.h"

#include <stdio.h>

/* A record is good until the next one is read. */
struct qlog_file {
    const char *name;
    FILE *file;
    int separator;             /* what stands between records: RS, or LF in files without any RS */
    unsigned long line;        /* where the record begins */
    unsigned long lines_after; /* its own */
    char *text;
    size_t text_max;
    struct json_token *tokens; /* [0] is the record's object */
    size_t tokens_max;
    char error[256];
};

enum qlog_file_result {
    QLOG_FILE_RECORD,
    QLOG_FILE_END,
    QLOG_FILE_BAD,   /* this record cannot be read, the sentence is in error; go on with the next */
    QLOG_FILE_FAILED /* the file cannot be read any more */
};

/* False: a sentence in error. */
bool qlog_file_open(struct qlog_file *f, const char *name);
enum qlog_file_result qlog_file_next(struct qlog_file *f);
void qlog_file_close(struct qlog_file *f);

#endif
