/* hq.c -- HTTP/0.9 over QUIC, ALPN "hq-interop": what the interoperability runner transfers with.
 *
 *     client  GET /path CR LF, end of stream          server  the file's bytes, end of stream
 *
 * There are no fields and no status: an answer that came whole is told as 200, and a server that
 * cannot answer resets the stream. A client that sends no line end ends its line with the stream.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "apps/http/web.h"

enum {
    PIECES = 16,
    LINE_MAX_BYTES = 4096,
    HQ_REFUSED = 1 /* hq-interop names no codes */
};

struct hq_stream {
    /* server */
    size_t used;
    bool asked;            /* the line is complete */
    bool has_body, ending; /* `ending`: the rest is the last */
    bool ended;            /* the stream took the end */
    struct aq_iov rest;    /* not yet taken by the stream */
    /* client */
    bool told; /* of the status */
    char line[LINE_MAX_BYTES];
};

static struct hq_stream *state_of(struct web_stream *stream)
{
    if (stream->state == NULL) {
        stream->state = calloc(1, sizeof(struct hq_stream));
    }
    return stream->state;
}

static bool hq_start(struct web *web)
{
    (void)web;
    return true;
}

static void hq_nothing(struct web *web, struct web_stream *stream)
{
    (void)web, (void)stream;
}

static void hq_stop(struct web *web)
{
    (void)web;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Gives the stream of an answer's body what it takes. */
static void send_body(struct web *web, struct web_stream *stream)
{
    struct hq_stream *hq = state_of(stream);

    while (hq != NULL && hq->has_body && !hq->ended) {
        int64_t taken;

        if (hq->rest.size == 0 && !hq->ending) {
            switch (web->ops->body(web->user, stream, &hq->rest)) {
            case WEB_BODY_MORE: break;
            case WEB_BODY_END: hq->ending = true; break;
            case WEB_BODY_WAIT: return;
            case WEB_BODY_FAIL:
                (void)aq_stream_reset(web->ep, stream->handle, HQ_REFUSED);
                hq->ended = true;
                return;
            }
        }
        taken = aq_stream_write(web->ep, stream->handle, &hq->rest, hq->rest.size > 0 ? 1 : 0,
                                AQ_REF | (hq->ending ? AQ_FIN : 0));
        if (taken < 0) {
            hq->ended = true; /* reset meanwhile */
            return;
        }
        hq->rest.data += hq->rest.size > 0 ? taken : 0;
        hq->rest.size -= (size_t)taken;
        if (hq->rest.size > 0) {
            return; /* AQ_EVENT_WRITABLE brings us back */
        }
        hq->ended = hq->ending;
    }
}

static void hq_released(struct web *web, struct web_stream *stream, uint64_t bytes)
{
    if (web->ops->body_released != NULL) {
        web->ops->body_released(web->user, stream, bytes);
    }
    send_body(web, stream);
}

static bool hq_request(struct web *web, struct web_stream *stream, const struct web_field *fields,
                       unsigned count)
{
    struct aq_iov line[3] = {{(const uint8_t *)"GET ", 4}, {NULL, 0}, {(const uint8_t *)"\r\n", 2}};

    for (unsigned i = 0; i < count; i++) {
        if (strcmp(fields[i].name, ":path") == 0) {
            line[1] = (struct aq_iov){(const uint8_t *)fields[i].value, strlen(fields[i].value)};
        }
    }
    /* A new stream's queue has room for a line, unless all memory is used up. */
    return aq_stream_write(web->ep, stream->handle, line, 3, AQ_FIN) == (int64_t)line[1].size + 6;
}

static bool hq_answer(struct web *web, struct web_stream *stream, const struct web_field *fields,
                      unsigned count, bool has_body)
{
    struct hq_stream *hq = state_of(stream);

    if (hq == NULL) {
        return false;
    }
    assert(count > 0 && strcmp(fields[0].name, ":status") == 0);
    (void)count;
    if (fields[0].value[0] != '2') {
        (void)aq_stream_reset(web->ep, stream->handle, HQ_REFUSED);
        return true;
    }
    hq->has_body = true;
    hq->ending = !has_body;
    send_body(web, stream);
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Server: the line is there, maybe without its end. */
static void take_line(struct web *web, struct web_stream *stream, struct hq_stream *hq)
{
    char *path;

    hq->asked = true;
    hq->line[hq->used] = '\0';
    hq->line[strcspn(hq->line, "\r\n")] = '\0';
    path = hq->line + 4;
    if (strlen(hq->line) < 5 || memcmp(hq->line, "GET ", 4) != 0) {
        (void)aq_stream_reset(web->ep, stream->handle, HQ_REFUSED);
        return;
    }
    path[strcspn(path, " ")] = '\0'; /* some say HTTP/0.9 after it */
    web->ops->field(web->user, stream, ":method", "GET");
    web->ops->field(web->user, stream, ":path", path);
    web->ops->fields_end(web->user, stream);
}

static void read_line(struct web *web, struct web_stream *stream, const struct aq_iov *piece)
{
    struct hq_stream *hq = state_of(stream);
    size_t room;

    if (hq == NULL || hq->asked) {
        return; /* what follows the line says nothing */
    }
    room = sizeof hq->line - 1 - hq->used;
    if (piece->size > room) {
        hq->asked = true;
        (void)aq_stream_reset(web->ep, stream->handle, HQ_REFUSED);
        return;
    }
    if (piece->size > 0) {
        memcpy(hq->line + hq->used, piece->data, piece->size);
        hq->used += piece->size;
    }
    if (memchr(hq->line, '\n', hq->used) != NULL) {
        take_line(web, stream, hq);
    }
}

/* Client: an answer has begun. */
static void tell_status(struct web *web, struct web_stream *stream)
{
    struct hq_stream *hq = state_of(stream);

    if (hq != NULL && !hq->told) {
        hq->told = true;
        web->ops->field(web->user, stream, ":status", "200");
        web->ops->fields_end(web->user, stream);
    }
}

static void read_end(struct web *web, struct web_stream *stream)
{
    struct hq_stream *hq = state_of(stream);

    if (hq == NULL) {
        return;
    }
    if (!web->server) {
        tell_status(web, stream);
        web->ops->end(web->user, stream);
    } else if (!hq->asked) {
        take_line(web, stream, hq);
    }
}

static void hq_readable(struct web *web, struct web_stream *stream)
{
    bool fin = false;

    while (!fin) {
        struct aq_iov piece;
        size_t room =
            !web->server && web->ops->room != NULL ? web->ops->room(web->user, stream) : SIZE_MAX;
        int count = room > 0 ? aq_stream_peek(web->ep, stream->handle, &piece, 1, &fin) : -1;

        if (count < 0 || (count == 0 && !fin)) {
            return;
        }
        if (count == 0) {
            piece = (struct aq_iov){NULL, 0};
        } else if (piece.size > room) {
            piece.size = room;
            fin = false;
        }
        if (!stream->request) {
            /* hq-interop has no such streams: read and forgotten */
        } else if (web->server) {
            read_line(web, stream, &piece);
        } else if (piece.size > 0) {
            tell_status(web, stream);
            web->ops->data(web->user, stream, piece.data, piece.size);
        }
        if (fin && stream->request) {
            read_end(web, stream);
        }
        if (aq_stream_consume(web->ep, stream->handle, piece.size) != AQ_OK) {
            return;
        }
    }
}

const struct web_kind hq_kind = {
    .alpn = "hq-interop",
    .size = sizeof(struct web),
    .start = hq_start,
    .request = hq_request,
    .answer = hq_answer,
    .readable = hq_readable,
    .writable = send_body,
    .released = hq_released,
    .resume = send_body,
    .stopped = hq_nothing,
    .reset = hq_nothing,
    .closed = hq_nothing,
    .stop = hq_stop,
};
