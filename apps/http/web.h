/* web.h -- one connection that carries HTTP, whichever of its forms ALPN chose.
 *
 * h3.c (HTTP/3, by nghttp3) and hq.c (HTTP/0.9, "hq-interop") are the two rows of a table of calls,
 * struct web_kind; serve.c and get.c are written once, against this header, and hear of requests
 * and answers through struct web_ops. A request is a stream: struct web_stream, which hangs on the
 * stream's user pointer and lives until AQ_EVENT_STREAM_CLOSED or the connection's end.
 *
 *     aq_event -> web_event -> kind->readable ... -> ops->field, fields_end, data, end
 *     web_answer, web_request -> kind -> ops->body (pulled while the stream takes it) ->
 * aq_stream_write
 *
 * Bodies are referenced, not copied: what ops->body returned must stay until ops->body_released has
 * counted it, or ops->closed. */
#ifndef APPS_HTTP_WEB_H
#define APPS_HTTP_WEB_H

#include "apps/common.h"

/* RFC 9114 §8.1: the codes this program sends. */
enum {
    H3_NO_ERROR = 0x100,
    H3_GENERAL_PROTOCOL_ERROR = 0x101,
    H3_INTERNAL_ERROR = 0x102,
    H3_REQUEST_REJECTED = 0x10b,
    H3_REQUEST_CANCELLED = 0x10c,
    H3_REQUEST_INCOMPLETE = 0x10d,
};
/* Its name there, or NULL. */
const char *h3_code_name(uint64_t code);

enum {
    WEB_BUCKETS = 32,
    WEB_FIELDS = 16
};

struct web_field {
    const char *name, *value;
};

/* What the sender of a body has now. */
enum web_body {
    WEB_BODY_MORE, /* bytes; ask again */
    WEB_BODY_END,  /* bytes, maybe none; they are the last */
    WEB_BODY_WAIT, /* not now: web_resume will say when */
    WEB_BODY_FAIL, /* never: the stream is reset */
};

struct web;
struct web_stream {
    struct web_stream *next; /* in its bucket */
    struct web *web;
    aq_stream handle;
    uint64_t id, released;
    bool request; /* bidirectional: not a control stream */
    void *user;   /* the subcommand's */
    void *state;  /* the kind's, from malloc or NULL; freed with the stream */
};

/* All calls are made with the web's user pointer first. None may free the web or its streams. */
struct web_ops {
    void (*field)(void *user, struct web_stream *stream, const char *name, const char *value);
    void (*fields_end)(void *user, struct web_stream *stream);
    void (*data)(void *user, struct web_stream *stream, const uint8_t *data, size_t size);
    void (*end)(void *user, struct web_stream *stream); /* the peer's message is complete */
    enum web_body (*body)(void *user, struct web_stream *stream, struct aq_iov *piece);
    void (*body_released)(void *user, struct web_stream *stream, uint64_t bytes);
    /* How many bytes may come to `data` at once now; 0: web_read_on will say when. NULL: any. */
    size_t (*room)(void *user, struct web_stream *stream);
    void (*opened)(void *user, struct web_stream *stream); /* by the peer, a request */
    void (*reset)(void *user, struct web_stream *stream, uint64_t code); /* by the peer */
    void (*closed)(void *user, struct web_stream *stream);               /* last of a request */
    void (*going_away)(void *user, uint64_t id); /* ids from here on are not processed */
};

struct web_kind {
    const char *alpn;
    /* Size of the struct that begins with struct web. */
    size_t size;
    bool (*start)(struct web *web); /* false: it has closed the connection */
    bool (*request)(struct web *web, struct web_stream *stream, const struct web_field *fields,
                    unsigned count);
    bool (*answer)(struct web *web, struct web_stream *stream, const struct web_field *fields,
                   unsigned count, bool has_body);
    void (*readable)(struct web *web, struct web_stream *stream);
    void (*writable)(struct web *web, struct web_stream *stream);
    void (*released)(struct web *web, struct web_stream *stream, uint64_t bytes);
    void (*resume)(struct web *web, struct web_stream *stream);
    void (*stopped)(struct web *web, struct web_stream *stream);
    void (*reset)(struct web *web, struct web_stream *stream);
    void (*closed)(struct web *web, struct web_stream *stream);
    void (*goaway)(struct web *web, bool last); /* NULL: the protocol has none */
    void (*stop)(struct web *web);              /* frees what start took */
};

extern const struct web_kind h3_kind, hq_kind;

struct web {
    const struct web_kind *kind;
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    aq_conn conn;
    bool server;
    bool closing; /* aq_close was called */
    const struct web_ops *ops;
    void *user;
    unsigned requests; /* request streams open */
    uint64_t requests_closed;
    struct web_stream *buckets[WEB_BUCKETS];
    struct web *next; /* the subcommand's list */
};

/* The form that an ALPN names. */
const struct web_kind *web_kind(const char *alpn);

/* Starts HTTP on a connection whose handshake is done, or which has 0-RTT, in the form that its
 * ALPN names. NULL: no memory, or it could not be; then the connection is closed, with a reason. */
struct web *web_start(struct aq_loop *loop, aq_conn conn, bool server, const struct web_ops *ops,
                      void *user);
/* Frees everything, and calls ops->closed for each request that is open. At AQ_EVENT_CLOSED. */
void web_free(struct web *web);

/* Handles a stream's event. */
void web_event(struct web *web, const struct aq_event *event);

/* Client: opens a stream and sends a request without a body; AQ_OK and *stream, or AQ_BLOCKED
 * (AQ_EVENT_STREAMS ends the wait), or another error. */
int web_request(struct web *web, const struct web_field *fields, unsigned count, void *user,
                struct web_stream **stream);
/* Server: answers; with a body, ops->body gives it. */
void web_answer(struct web_stream *stream, const struct web_field *fields, unsigned count,
                bool has_body);
/* The body that waited has bytes again; the reader that had no room has some again. */
void web_resume(struct web_stream *stream);
void web_read_on(struct web_stream *stream);
/* Tells the peer to start no more requests; `last` some time later, when what it then sends is
 * refused. */
void web_goaway(struct web *web, bool last);
/* Closes the connection with an application code; once. */
void web_close(struct web *web, uint64_t code, const char *reason);

/* For the kinds. */
struct web_stream *web_stream_find(struct web *web, uint64_t id);
/* A stream of ours, or of the peer's, enters the table. NULL: no memory. */
struct web_stream *web_stream_add(struct web *web, aq_stream handle);

#endif
