/* body.h -- what an answer's body is read into: blocks of 64 KiB, lent until acknowledged.
 *
 * A body is a part of a file or a piece of memory. body_next reads the next block; body_released
 * gives the oldest back when the peer has acknowledged them. One pool serves all connections: its
 * blocks, each body's part and each connection's are limited, so a client that asks for much and
 * reads nothing holds its own part only. Files are read rather than mapped: one that is cut short
 * while it is sent ends its stream, where a mapping would end the program. */
#ifndef APPS_HTTP_BODY_H
#define APPS_HTTP_BODY_H

#include "apps/http/web.h"

enum {
    BODY_BLOCK = 65536,
    BODY_BLOCKS = 80, /* of one body: 5 MiB, more than a stream takes (aq_config.send_buffer) */
    BODY_CONN_BLOCKS = 256,  /* of one connection's bodies: 16 MiB */
    BODY_POOL_BLOCKS = 2048, /* of all: 128 MiB */
};

struct body_block {
    struct body_block *next;
    uint8_t data[BODY_BLOCK];
};

struct body;
struct body_pool {
    struct body_block *free;
    unsigned lent, max;
    struct body *waiting, **waiting_tail; /* first come, first served */
};

struct body {
    struct body_pool *pool;
    unsigned *conn_lent; /* its connection's blocks */
    int fd;              /* -1: the bytes are in `text` */
    char *text;
    uint64_t at, end;                       /* of the file or the text: what is not read yet */
    uint64_t sent, released;                /* bytes given out, and of these not needed any more */
    struct body_block *blocks[BODY_BLOCKS]; /* a ring: the oldest is at `first` */
    uint32_t sizes[BODY_BLOCKS];
    unsigned first, count;
    bool waits;
    struct body *next_waiting;
    void *user;
};

void body_pool_init(struct body_pool *pool, unsigned max);
void body_pool_free(struct body_pool *pool);
/* The next body that waited and for which there may be a block now; NULL: none. */
struct body *body_pool_wake(struct body_pool *pool);

/* Bytes [at, end) of fd, which the body then owns, or of text (from malloc, owned too). */
void body_init_file(struct body *body, struct body_pool *pool, unsigned *conn_lent, int fd,
                    uint64_t at, uint64_t end);
void body_init_text(struct body *body, struct body_pool *pool, char *text, size_t size);
/* Gives everything back. An all-zero body has nothing. */
void body_free(struct body *body);

/* See web_ops.body, web_ops.body_released. */
enum web_body body_next(struct body *body, struct aq_iov *piece);
void body_released(struct body *body, uint64_t bytes);

#endif
