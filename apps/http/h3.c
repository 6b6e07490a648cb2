/* h3.c -- HTTP/3 (RFC 9114) on a connection, by nghttp3: the glue between its calls and ours.
 *
 *     READABLE   aq_stream_peek -> nghttp3_conn_read_stream -> callbacks -> web->ops; consume
 *     pump       nghttp3_conn_writev_stream -> aq_stream_write(AQ_REF) -> add_write_offset;
 *                taken short: block_stream, until WRITABLE: unblock_stream
 *     RELEASED   aq_stream_released -> add_ack_offset -> acked_stream_data: the body may be freed
 *
 * Nothing is copied on the way out: nghttp3 keeps its frames, and the body its blocks, until the
 * peer has acknowledged them, which is what AQ_REF asks for. What is read is consumed at once,
 * since nghttp3 wants each byte once and a stream can be peeked only from where it was consumed: a
 * reader that cannot take more is therefore not given more (ops->room). No stream waits for QPACK:
 * we announce that none may (QPACK_BLOCKED_STREAMS 0), so nghttp3 holds no bytes back either.
 *
 * nghttp3's callbacks only take notes and queue; the pump runs after them. Errors of the peer close
 * the connection with the code that nghttp3 infers. */
#include <assert.h>
#include <nghttp3/nghttp3.h>
#include <string.h>

#include "apps/http/web.h"

enum {
    PIECES = 16,
    VECS = 16,
    QPACK_TABLE = 4096,
    FIELD_SECTION_MAX = 65536,
    STREAMS_ALLOWED = 100, /* aq_config.streams_bidi */
};

struct h3 {
    struct web web;
    nghttp3_conn *http;
};

static struct h3 *of(struct web *web)
{
    return (struct h3 *)web;
}

/* Closes with what a call of nghttp3 returned. */
static void fail(struct h3 *h3, int error)
{
    web_close(&h3->web, nghttp3_err_infer_quic_app_error_code(error), nghttp3_strerror(error));
}

static int64_t id_of(const struct web_stream *stream)
{
    return (int64_t)stream->id;
}

/* Moves what nghttp3 has to send into the streams, until they or it have no more. */
static void pump(struct h3 *h3)
{
    while (!h3->web.closing) {
        nghttp3_vec vecs[VECS];
        struct aq_iov pieces[VECS];
        struct web_stream *stream;
        uint64_t size = 0;
        int64_t id, taken;
        int fin = 0;
        nghttp3_ssize count = nghttp3_conn_writev_stream(h3->http, &id, &fin, vecs, VECS);

        if (count < 0) {
            fail(h3, (int)count);
            return;
        }
        if (id < 0 || (count == 0 && !fin)) {
            return;
        }
        for (nghttp3_ssize i = 0; i < count; i++) {
            pieces[i] = (struct aq_iov){vecs[i].base, vecs[i].len};
            size += vecs[i].len;
        }
        stream = web_stream_find(&h3->web, (uint64_t)id);
        taken = stream == NULL ? AQ_GONE
                               : aq_stream_write(h3->web.ep, stream->handle, pieces,
                                                 (unsigned)count, AQ_REF | (fin ? AQ_FIN : 0));
        if (taken < 0) { /* reset meanwhile: its end will be told */
            nghttp3_conn_shutdown_stream_write(h3->http, id);
            continue;
        }
        (void)nghttp3_conn_add_write_offset(h3->http, id, (size_t)taken);
        if ((uint64_t)taken < size) {
            nghttp3_conn_block_stream(h3->http, id);
        }
    }
}

/* ---- what nghttp3 calls ---------------------------------------------------------------------- */

static struct web_stream *find(void *conn_user, int64_t id)
{
    struct h3 *h3 = conn_user;

    return web_stream_find(&h3->web, (uint64_t)id);
}

/* Fields of trailers are not told; those of an interim answer are followed by others. Values hold
 * no NUL: nghttp3 refuses the message then. */
static int on_field(nghttp3_conn *http, int64_t id, int32_t token, nghttp3_rcbuf *name,
                    nghttp3_rcbuf *value, uint8_t flags, void *conn_user, void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)token, (void)flags, (void)stream_user;
    if (stream != NULL) {
        stream->web->ops->field(stream->web->user, stream,
                                (const char *)nghttp3_rcbuf_get_buf(name).base,
                                (const char *)nghttp3_rcbuf_get_buf(value).base);
    }
    return 0;
}

static int on_fields_end(nghttp3_conn *http, int64_t id, int fin, void *conn_user,
                         void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)fin, (void)stream_user;
    if (stream != NULL) {
        stream->web->ops->fields_end(stream->web->user, stream);
    }
    return 0;
}

static int on_data(nghttp3_conn *http, int64_t id, const uint8_t *data, size_t size,
                   void *conn_user, void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)stream_user;
    if (stream != NULL) {
        stream->web->ops->data(stream->web->user, stream, data, size);
    }
    return 0;
}

static int on_end(nghttp3_conn *http, int64_t id, void *conn_user, void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)stream_user;
    if (stream != NULL) {
        stream->web->ops->end(stream->web->user, stream);
    }
    return 0;
}

static int on_acked(nghttp3_conn *http, int64_t id, uint64_t size, void *conn_user,
                    void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)stream_user;
    if (stream != NULL && stream->web->ops->body_released != NULL) {
        stream->web->ops->body_released(stream->web->user, stream, size);
    }
    return 0;
}

static int on_stop_sending(nghttp3_conn *http, int64_t id, uint64_t code, void *conn_user,
                           void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)stream_user;
    if (stream != NULL) {
        (void)aq_stream_stop(stream->web->ep, stream->handle, code);
    }
    return 0;
}

static int on_reset_stream(nghttp3_conn *http, int64_t id, uint64_t code, void *conn_user,
                           void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);

    (void)http, (void)stream_user;
    if (stream != NULL) {
        (void)aq_stream_reset(stream->web->ep, stream->handle, code);
    }
    return 0;
}

static int on_shutdown(nghttp3_conn *http, int64_t id, void *conn_user)
{
    struct h3 *h3 = conn_user;

    (void)http;
    if (h3->web.ops->going_away != NULL) {
        h3->web.ops->going_away(h3->web.user, (uint64_t)id);
    }
    return 0;
}

static nghttp3_ssize read_body(nghttp3_conn *http, int64_t id, nghttp3_vec *vecs, size_t count,
                               uint32_t *flags, void *conn_user, void *stream_user)
{
    struct web_stream *stream = find(conn_user, id);
    struct aq_iov piece = {NULL, 0};
    union {
        const uint8_t *read;
        uint8_t *write;
    } data; /* nghttp3 only reads, but its struct knows no const */

    (void)http, (void)stream_user;
    assert(count > 0);
    if (stream == NULL) {
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    switch (stream->web->ops->body(stream->web->user, stream, &piece)) {
    case WEB_BODY_MORE: break;
    case WEB_BODY_END: *flags |= NGHTTP3_DATA_FLAG_EOF; break;
    case WEB_BODY_FAIL:
        (void)aq_stream_reset(stream->web->ep, stream->handle, H3_INTERNAL_ERROR);
        return NGHTTP3_ERR_WOULDBLOCK;
    case WEB_BODY_WAIT: return NGHTTP3_ERR_WOULDBLOCK;
    }
    data.read = piece.data;
    vecs[0] = (nghttp3_vec){data.write, piece.size};
    return piece.size > 0 ? 1 : 0;
}

static const nghttp3_callbacks callbacks = {
    .acked_stream_data = on_acked,
    .recv_data = on_data,
    .recv_header = on_field,
    .end_headers = on_fields_end,
    .stop_sending = on_stop_sending,
    .end_stream = on_end,
    .reset_stream = on_reset_stream,
    .shutdown = on_shutdown,
};

/* ---- a connection ---------------------------------------------------------------------------- */

/* RFC 9114 §6.2, RFC 9204 §4.2: a control stream and the two of QPACK. */
static bool open_control(struct h3 *h3)
{
    int64_t ids[3];

    for (unsigned i = 0; i < 3; i++) {
        aq_stream handle;
        const struct web_stream *stream;

        if (aq_stream_open(h3->web.ep, h3->web.conn, true, NULL, &handle) != AQ_OK) {
            web_close(&h3->web, H3_GENERAL_PROTOCOL_ERROR,
                      "HTTP/3 needs three unidirectional streams");
            return false;
        }
        stream = web_stream_add(&h3->web, handle);
        if (stream == NULL) {
            web_close(&h3->web, H3_INTERNAL_ERROR, "no memory");
            return false;
        }
        ids[i] = id_of(stream);
    }
    return nghttp3_conn_bind_control_stream(h3->http, ids[0]) == 0
           && nghttp3_conn_bind_qpack_streams(h3->http, ids[1], ids[2]) == 0;
}

static bool h3_start(struct web *web)
{
    struct h3 *h3 = of(web);
    nghttp3_settings settings;
    int error;

    nghttp3_settings_default(&settings);
    settings.qpack_max_dtable_capacity = QPACK_TABLE;
    settings.max_field_section_size = FIELD_SECTION_MAX;
    error = web->server ? nghttp3_conn_server_new(&h3->http, &callbacks, &settings, NULL, h3)
                        : nghttp3_conn_client_new(&h3->http, &callbacks, &settings, NULL, h3);
    if (error != 0) {
        h3->http = NULL;
        fail(h3, error);
        return false;
    }
    if (web->server) {
        nghttp3_conn_set_max_client_streams_bidi(h3->http, STREAMS_ALLOWED);
    }
    if (!open_control(h3)) {
        return false;
    }
    pump(h3);
    return !web->closing;
}

static void h3_stop(struct web *web)
{
    if (of(web)->http != NULL) {
        nghttp3_conn_del(of(web)->http);
    }
}

/* Gives nghttp3 at most room bytes of the pieces, with the end when all of them went and *fin was
 * set; else clears it. The bytes that it took, or an error below 0. */
static int64_t feed(struct h3 *h3, struct web_stream *stream, const struct aq_iov *pieces,
                    unsigned count, size_t room, bool *fin)
{
    static const struct aq_iov nothing = {NULL, 0};
    uint64_t size = 0, left = room;

    if (count == 0 && *fin) { /* the end alone */
        pieces = &nothing;
        count = 1;
    }
    for (unsigned i = 0; i < count; i++) {
        bool whole = pieces[i].size <= left;
        size_t part = whole ? pieces[i].size : (size_t)left;
        bool last = *fin && whole && i + 1 == count;
        nghttp3_ssize done =
            nghttp3_conn_read_stream(h3->http, id_of(stream), pieces[i].data, part, last);

        if (done < 0) {
            return done;
        }
        size += part;
        left -= part;
        if (!whole) {
            *fin = false;
            break;
        }
    }
    return (int64_t)size;
}

static void h3_readable(struct web *web, struct web_stream *stream)
{
    bool asks = web->ops->room != NULL && stream->request, fin = false;

    while (!fin && !web->closing) {
        struct aq_iov pieces[PIECES];
        size_t room = asks ? web->ops->room(web->user, stream) : SIZE_MAX;
        int count = room > 0 ? aq_stream_peek(web->ep, stream->handle, pieces, PIECES, &fin) : -1;
        int64_t size;

        if (count < 0) {
            break;
        }
        size = feed(of(web), stream, pieces, (unsigned)count, room, &fin);
        if (size < 0) {
            fail(of(web), (int)size);
            return;
        }
        if ((size == 0 && !fin)
            || aq_stream_consume(web->ep, stream->handle, (uint64_t)size) != AQ_OK) {
            break;
        }
    }
    pump(of(web));
}

static void h3_writable(struct web *web, struct web_stream *stream)
{
    (void)nghttp3_conn_unblock_stream(of(web)->http, id_of(stream));
    pump(of(web));
}

static void h3_released(struct web *web, struct web_stream *stream, uint64_t bytes)
{
    int error = nghttp3_conn_add_ack_offset(of(web)->http, id_of(stream), bytes);

    if (error != 0 && error != NGHTTP3_ERR_STREAM_NOT_FOUND) {
        fail(of(web), error);
    }
    pump(of(web));
}

static void h3_resume(struct web *web, struct web_stream *stream)
{
    (void)nghttp3_conn_resume_stream(of(web)->http, id_of(stream));
    pump(of(web));
}

static void h3_stopped(struct web *web, struct web_stream *stream)
{
    nghttp3_conn_shutdown_stream_write(of(web)->http, id_of(stream));
}

static void h3_reset(struct web *web, struct web_stream *stream)
{
    (void)nghttp3_conn_shutdown_stream_read(of(web)->http, id_of(stream));
    pump(of(web)); /* QPACK tells of the cancelled stream */
}

static void h3_closed(struct web *web, struct web_stream *stream)
{
    struct h3 *h3 = of(web);
    int error = nghttp3_conn_close_stream(h3->http, id_of(stream), H3_NO_ERROR);

    /* RFC 9114 §6.2.1: a control stream never ends before the connection. A stream of a type that
     * nobody knows, or one that ended before it said anything, nghttp3 has never heard of. */
    if (error != 0 && error != NGHTTP3_ERR_STREAM_NOT_FOUND) {
        fail(h3, error);
    } else if (web->server && stream->request) {
        /* What the peer may have opened by now; PRIORITY_UPDATE may name these (RFC 9218 §7.2). */
        nghttp3_conn_set_max_client_streams_bidi(h3->http,
                                                 web->requests_closed + 1 + STREAMS_ALLOWED);
    }
}

/* RFC 9114 §5.2: first a GOAWAY that names no request, a while later the one that is meant. */
static void h3_goaway(struct web *web, bool last)
{
    struct h3 *h3 = of(web);
    int error =
        last ? nghttp3_conn_shutdown(h3->http) : nghttp3_conn_submit_shutdown_notice(h3->http);

    if (error != 0) {
        fail(h3, error);
    }
    pump(h3);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* nghttp3 copies names and values, and only reads them, but its struct knows no const. */
static void make_nv(nghttp3_nv *nv, const struct web_field *field)
{
    union {
        const char *read;
        uint8_t *write;
    } name = {.read = field->name}, value = {.read = field->value};

    *nv = (nghttp3_nv){name.write, value.write, strlen(field->name), strlen(field->value),
                       NGHTTP3_NV_FLAG_NONE};
}

static bool h3_request(struct web *web, struct web_stream *stream, const struct web_field *fields,
                       unsigned count)
{
    nghttp3_nv nv[WEB_FIELDS];

    assert(count <= WEB_FIELDS);
    for (unsigned i = 0; i < count; i++) {
        make_nv(&nv[i], &fields[i]);
    }
    if (nghttp3_conn_submit_request(of(web)->http, id_of(stream), nv, count, NULL, NULL) != 0) {
        return false;
    }
    pump(of(web));
    return true;
}

/* Called from within fields_end: whoever called nghttp3 pumps. */
static bool h3_answer(struct web *web, struct web_stream *stream, const struct web_field *fields,
                      unsigned count, bool has_body)
{
    const nghttp3_data_reader reader = {.read_data = read_body};
    nghttp3_nv nv[WEB_FIELDS];

    assert(count <= WEB_FIELDS);
    for (unsigned i = 0; i < count; i++) {
        make_nv(&nv[i], &fields[i]);
    }
    return nghttp3_conn_submit_response(of(web)->http, id_of(stream), nv, count,
                                        has_body ? &reader : NULL)
           == 0;
}

const struct web_kind h3_kind = {
    .alpn = "h3",
    .size = sizeof(struct h3),
    .start = h3_start,
    .request = h3_request,
    .answer = h3_answer,
    .readable = h3_readable,
    .writable = h3_writable,
    .released = h3_released,
    .resume = h3_resume,
    .stopped = h3_stopped,
    .reset = h3_reset,
    .closed = h3_closed,
    .goaway = h3_goaway,
    .stop = h3_stop,
};
