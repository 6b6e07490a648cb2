/* qlog_text.c -- the pieces of a record: members of objects, its beginning and its end.
 *
 * Text is written straight into the connection's buffer, which the file empties; nothing is kept of
 * a record, so none is too large. A packet comes as one event and one more for each of its frames,
 * so a record stays open until an event comes that does not belong to it: `open` says in what. */
#include "apps/qlog_conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    PRINT_MAX = 512
};

/* ---- text ------------------------------------------------------------------------------------ */

void qlog_print(struct qlog_conn *c, const char *format, ...)
{
    va_list arguments;
    int size;

    if (c->used + PRINT_MAX > sizeof c->buffer) {
        qlog_conn_flush(c);
    }
    va_start(arguments, format);
    size = vsnprintf(c->buffer + c->used, PRINT_MAX, format, arguments);
    va_end(arguments);
    c->used += size < 0 ? 0 : size < PRINT_MAX ? (size_t)size : PRINT_MAX - 1;
}

/* A name and a number; a comma goes before all but the first of an object. */
void qlog_number(struct qlog_conn *c, const char *name, uint64_t value)
{
    qlog_print(c, "%s\"%s\":%llu", c->first ? "" : ",", name, (unsigned long long)value);
    c->first = false;
}

/* Microseconds as milliseconds. */
void qlog_ms(struct qlog_conn *c, const char *name, uint64_t us)
{
    qlog_print(c, "%s\"%s\":%llu.%03u", c->first ? "" : ",", name, (unsigned long long)(us / 1000),
               (unsigned)(us % 1000));
    c->first = false;
}

void qlog_string(struct qlog_conn *c, const char *name, const char *text)
{
    qlog_print(c, "%s\"%s\":\"", c->first ? "" : ",", name);
    c->first = false;
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\') {
            qlog_print(c, "\\%c", byte);
        } else if (byte < 0x20 || byte > 0x7e) {
            qlog_print(c, "\\u%04x", byte);
        } else {
            qlog_print(c, "%c", byte);
        }
    }
    qlog_print(c, "\"");
}

const char *qlog_hex_text(const uint8_t *bytes, size_t size, char out[2 * QLOG_CID_MAX + 1])
{
    for (size_t i = 0; i < size && i < QLOG_CID_MAX; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
    out[2 * (size < QLOG_CID_MAX ? size : QLOG_CID_MAX)] = '\0';
    return out;
}

void qlog_hex(struct qlog_conn *c, const char *name, const uint8_t *bytes, size_t size)
{
    char text[2 * QLOG_CID_MAX + 1];

    qlog_string(c, name, qlog_hex_text(bytes, size, text));
}

/* ---- records --------------------------------------------------------------------------------- */

void qlog_record(struct qlog_conn *c, const char *name)
{
    uint64_t us = c->time_us > c->began_us ? c->time_us - c->began_us : 0;

    qlog_print(c, "\x1e{\"time\":%llu.%03u,\"name\":\"%s\",\"data\":{",
               (unsigned long long)(us / 1000), (unsigned)(us % 1000), name);
    c->first = true;
}

void qlog_record_end(struct qlog_conn *c)
{
    qlog_print(c, "}}\n");
    c->first = false;
}

void qlog_frame_end(struct qlog_conn *c)
{
    if (c->open == QLOG_RANGES) {
        qlog_print(c, "]");
        c->open = QLOG_FRAME;
    }
    if (c->open == QLOG_FRAME) {
        qlog_print(c, "}");
        c->open = QLOG_PACKET;
    }
}

/* Ends the record that is open. */
void qlog_close(struct qlog_conn *c)
{
    qlog_frame_end(c);
    if (c->open == QLOG_PACKET) {
        qlog_print(c, "]");
    }
    if (c->open != QLOG_NOTHING) {
        qlog_record_end(c);
    }
    c->open = QLOG_NOTHING;
}
