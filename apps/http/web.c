/* web.c -- what HTTP/3 and HTTP/0.9 share: the table of streams, and events handed to the kind
 * (web.h).
 *
 * Streams are found by their QUIC id, because that is what nghttp3 calls them by: a small hash of
 * chains, as many buckets as a peer usually has requests open. A stream is freed when its last
 * event has been told; until then a reset one stays, with nothing more to come. */
#include "apps/http/web.h"

#include <stdlib.h>
#include <string.h>

static const char *const code_names[] = {
    "H3_NO_ERROR",
    "H3_GENERAL_PROTOCOL_ERROR",
    "H3_INTERNAL_ERROR",
    "H3_STREAM_CREATION_ERROR",
    "H3_CLOSED_CRITICAL_STREAM",
    "H3_FRAME_UNEXPECTED",
    "H3_FRAME_ERROR",
    "H3_EXCESSIVE_LOAD",
    "H3_ID_ERROR",
    "H3_SETTINGS_ERROR",
    "H3_MISSING_SETTINGS",
    "H3_REQUEST_REJECTED",
    "H3_REQUEST_CANCELLED",
    "H3_REQUEST_INCOMPLETE",
    "H3_MESSAGE_ERROR",
    "H3_CONNECT_ERROR",
    "H3_VERSION_FALLBACK",
};

const char *h3_code_name(uint64_t code)
{
    uint64_t index = code - H3_NO_ERROR;

    return code >= H3_NO_ERROR && index < sizeof code_names / sizeof code_names[0]
               ? code_names[index]
               : NULL;
}

/* ---- the table of streams -------------------------------------------------------------------- */

/* The two low bits say who opened it and which kind it is (RFC 9000 §2.1). */
static struct web_stream **bucket(struct web *web, uint64_t id)
{
    return &web->buckets[(id ^ id >> 2) % WEB_BUCKETS];
}

struct web_stream *web_stream_find(struct web *web, uint64_t id)
{
    struct web_stream *stream = *bucket(web, id);

    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

struct web_stream *web_stream_add(struct web *web, aq_stream handle)
{
    struct web_stream *stream = calloc(1, sizeof *stream);
    struct web_stream **head;

    if (stream == NULL) {
        return NULL;
    }
    stream->web = web;
    stream->handle = handle;
    stream->id = aq_stream_id(web->ep, handle);
    stream->request = (stream->id & 2) == 0;
    head = bucket(web, stream->id);
    stream->next = *head;
    *head = stream;
    web->requests += stream->request ? 1 : 0;
    (void)aq_stream_set_user(web->ep, handle, stream);
    return stream;
}

static void stream_free(struct web *web, struct web_stream *stream)
{
    struct web_stream **at = bucket(web, stream->id);

    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    if (stream->request) {
        web->requests--;
        web->requests_closed++;
    }
    free(stream->state);
    free(stream);
}

/* ---- connections ----------------------------------------------------------------------------- */

void web_close(struct web *web, uint64_t code, const char *reason)
{
    if (!web->closing) {
        web->closing = true;
        (void)aq_close(web->ep, web->conn, code, reason, aq_loop_now(web->loop));
    }
}

const struct web_kind *web_kind(const char *alpn)
{
    /* A name given with --alpn that is neither: HTTP/3, as its drafts were ("h3-29"). */
    return strncmp(alpn, "hq", 2) == 0 ? &hq_kind : &h3_kind;
}

struct web *web_start(struct aq_loop *loop, aq_conn conn, bool server, const struct web_ops *ops,
                      void *user)
{
    struct aq_endpoint *ep = aq_loop_endpoint(loop);
    struct aq_conn_peer peer = {.size = sizeof peer};
    const struct web_kind *kind;
    struct web *web;

    if (aq_conn_peer(ep, conn, &peer) != AQ_OK) {
        return NULL;
    }
    kind = web_kind(peer.alpn);
    web = calloc(1, kind->size);
    if (web == NULL) {
        (void)aq_close(ep, conn, H3_INTERNAL_ERROR, "no memory", aq_loop_now(loop));
        return NULL;
    }
    web->kind = kind;
    web->loop = loop;
    web->ep = ep;
    web->conn = conn;
    web->server = server;
    web->ops = ops;
    web->user = user;
    if (!kind->start(web)) {
        web_free(web);
        return NULL;
    }
    return web;
}

void web_free(struct web *web)
{
    for (unsigned i = 0; i < WEB_BUCKETS; i++) {
        while (web->buckets[i] != NULL) {
            struct web_stream *stream = web->buckets[i];

            if (stream->request) {
                web->ops->closed(web->user, stream);
            }
            stream_free(web, stream);
        }
    }
    web->kind->stop(web);
    free(web);
}

int web_request(struct web *web, const struct web_field *fields, unsigned count, void *user,
                struct web_stream **stream)
{
    aq_stream handle;
    int result = aq_stream_open(web->ep, web->conn, false, NULL, &handle);

    if (result != AQ_OK) {
        return result;
    }
    *stream = web_stream_add(web, handle);
    if (*stream == NULL) {
        (void)aq_stream_reset(web->ep, handle, H3_REQUEST_CANCELLED);
        return AQ_FULL;
    }
    (*stream)->user = user;
    return web->kind->request(web, *stream, fields, count) ? AQ_OK : AQ_FULL;
}

void web_answer(struct web_stream *stream, const struct web_field *fields, unsigned count,
                bool has_body)
{
    struct web *web = stream->web;

    if (!web->kind->answer(web, stream, fields, count, has_body)) {
        (void)aq_stream_reset(web->ep, stream->handle, H3_INTERNAL_ERROR);
    }
}

void web_resume(struct web_stream *stream)
{
    stream->web->kind->resume(stream->web, stream);
}

void web_read_on(struct web_stream *stream)
{
    stream->web->kind->readable(stream->web, stream);
}

void web_goaway(struct web *web, bool last)
{
    if (web->kind->goaway != NULL && !web->closing) {
        web->kind->goaway(web, last);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void on_opened(struct web *web, aq_stream handle)
{
    struct web_stream *stream = web_stream_add(web, handle);

    if (stream == NULL) {
        web_close(web, H3_INTERNAL_ERROR, "no memory");
    } else if (stream->request && web->ops->opened != NULL) {
        web->ops->opened(web->user, stream);
    }
}

static void on_released(struct web *web, struct web_stream *stream)
{
    int64_t released = aq_stream_released(web->ep, stream->handle);

    if (released > 0 && (uint64_t)released > stream->released) {
        uint64_t bytes = (uint64_t)released - stream->released;

        stream->released = (uint64_t)released;
        web->kind->released(web, stream, bytes);
    }
}

static void on_reset(struct web *web, struct web_stream *stream, uint64_t code)
{
    web->kind->reset(web, stream);
    if (stream->request && web->ops->reset != NULL) {
        web->ops->reset(web->user, stream, code);
    }
}

static void on_stream_closed(struct web *web, struct web_stream *stream)
{
    web->kind->closed(web, stream);
    if (stream->request) {
        web->ops->closed(web->user, stream);
    }
    stream_free(web, stream);
}

void web_event(struct web *web, const struct aq_event *event)
{
    struct web_stream *stream = aq_stream_user(web->ep, event->stream);

    if (web->closing) {
        return; /* web_free ends the streams */
    }
    if (event->kind == AQ_EVENT_OPENED) {
        on_opened(web, event->stream);
    } else if (stream == NULL) {
        return;
    } else if (event->kind == AQ_EVENT_READABLE) {
        web->kind->readable(web, stream);
    } else if (event->kind == AQ_EVENT_WRITABLE) {
        web->kind->writable(web, stream);
    } else if (event->kind == AQ_EVENT_RELEASED) {
        on_released(web, stream);
    } else if (event->kind == AQ_EVENT_STOPPED) {
        web->kind->stopped(web, stream);
    } else if (event->kind == AQ_EVENT_RESET) {
        on_reset(web, stream, event->value);
    } else if (event->kind == AQ_EVENT_STREAM_CLOSED) {
        on_stream_closed(web, stream);
    }
}
