/* qlog_file.c -- see qlog_file.h.
 *
 * RFC 7464 §2: a text stands between RS (0x1e) and LF; a damaged one is told and passed over, the
 * next RS begins anew. Some programs leave RS out and write one text a line: taken too. */
#include "apps/qlog_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    RS = 0x1e
};

static bool fail(struct qlog_file *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fail(struct qlog_file *f, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(f->error, sizeof f->error, format, arguments);
    va_end(arguments);
    return false;
}

bool qlog_file_open(struct qlog_file *f, const char *name)
{
    int first;

    memset(f, 0, sizeof *f);
    f->name = name;
    f->file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (f->file == NULL) {
        return fail(f, "cannot read \"%s\": %s", name, strerror(errno));
    }
    f->line = 1;
    first = fgetc(f->file);
    if (first == EOF) {
        (void)fail(f, ferror(f->file) ? "cannot read \"%s\": %s" : "\"%s\" is empty", name,
                   strerror(errno));
        qlog_file_close(f);
        return false;
    }
    f->separator = first == RS ? RS : '\n';
    if (first != RS) {
        (void)ungetc(first, f->file);
    }
    return true;
}

void qlog_file_close(struct qlog_file *f)
{
    if (f->file != NULL && f->file != stdin) {
        (void)fclose(f->file);
    }
    free(f->text);
    free(f->tokens);
    f->file = NULL;
    f->text = NULL;
    f->tokens = NULL;
}

/* Lines from the beginning of the text to a place in it. */
static unsigned long lines_to(const char *text, size_t size)
{
    unsigned long lines = 0;

    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n' ? 1 : 0;
    }
    return lines;
}

static enum qlog_file_result parse(struct qlog_file *f, size_t size)
{
    size_t need = json_tokens_max(size), at, line_begin;
    const char *why;

    if (need > f->tokens_max) {
        struct json_token *tokens = realloc(f->tokens, need * sizeof *tokens);

        if (tokens == NULL) {
            (void)fail(f, "not enough memory for the record at line %lu", f->line);
            return QLOG_FILE_FAILED;
        }
        f->tokens = tokens;
        f->tokens_max = need;
    }
    if (json_parse(f->text, size, f->tokens, f->tokens_max, &why, &at) == 0) {
        for (line_begin = at; line_begin > 0 && f->text[line_begin - 1] != '\n'; line_begin--) {
        }
        (void)fail(f, "%s: line %lu, column %zu: not JSON: %s%s", f->name,
                   f->line + lines_to(f->text, at), at - line_begin + 1, why,
                   feof(f->file) && at == size ? "; the file ends here" : "");
        return QLOG_FILE_BAD;
    }
    if (f->tokens[0].kind != JSON_OBJECT) {
        (void)fail(f, "%s: line %lu: no object", f->name, f->line);
        return QLOG_FILE_BAD;
    }
    return QLOG_FILE_RECORD;
}

enum qlog_file_result qlog_file_next(struct qlog_file *f)
{
    ssize_t got;
    size_t size;

    do {
        f->line += f->lines_after;
        f->lines_after = 0;
        errno = 0;
        got = getdelim(&f->text, &f->text_max, f->separator, f->file);
        if (got <= 0) {
            if (feof(f->file) && !ferror(f->file)) {
                return QLOG_FILE_END;
            }
            (void)fail(f, "cannot read \"%s\": %s", f->name, strerror(errno));
            return QLOG_FILE_FAILED;
        }
        size = (size_t)got;
        f->lines_after = lines_to(f->text, size);
        if (f->text[size - 1] == (char)f->separator) {
            size--;
        }
    } while (strspn(f->text, " \t\r\n") >= size); /* nothing between two separators */
    return parse(f, size);
}
