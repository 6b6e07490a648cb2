/* body.c -- blocks of files on their way to the peer (body.h). */
#include "apps/http/body.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void body_pool_init(struct body_pool *pool, unsigned max)
{
    memset(pool, 0, sizeof *pool);
    pool->max = max;
    pool->waiting_tail = &pool->waiting;
}

void body_pool_free(struct body_pool *pool)
{
    assert(pool->lent == 0 && pool->waiting == NULL);
    while (pool->free != NULL) {
        struct body_block *block = pool->free;

        pool->free = block->next;
        free(block);
    }
}

static struct body_block *take_block(struct body_pool *pool)
{
    struct body_block *block = pool->free;

    if (pool->lent == pool->max) {
        return NULL;
    }
    if (block != NULL) {
        pool->free = block->next;
    } else {
        block = malloc(sizeof *block);
    }
    pool->lent += block != NULL ? 1 : 0;
    return block;
}

static void give_block(struct body_pool *pool, struct body_block *block)
{
    assert(pool->lent > 0);
    pool->lent--;
    block->next = pool->free;
    pool->free = block;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void wait_add(struct body *body)
{
    if (!body->waits) {
        body->waits = true;
        body->next_waiting = NULL;
        *body->pool->waiting_tail = body;
        body->pool->waiting_tail = &body->next_waiting;
    }
}

static void wait_remove(struct body *body)
{
    struct body_pool *pool = body->pool;
    struct body **at = &pool->waiting;

    if (!body->waits) {
        return;
    }
    while (*at != body) {
        at = &(*at)->next_waiting;
    }
    *at = body->next_waiting;
    if (*at == NULL) {
        pool->waiting_tail = at;
    }
    body->waits = false;
}

static bool may_take(const struct body *body)
{
    return body->pool->lent < body->pool->max && body->count < BODY_BLOCKS
           && *body->conn_lent < BODY_CONN_BLOCKS;
}

struct body *body_pool_wake(struct body_pool *pool)
{
    struct body *body = pool->waiting;

    while (body != NULL && !may_take(body)) {
        body = body->next_waiting;
    }
    if (body != NULL) {
        wait_remove(body);
    }
    return body;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

void body_init_file(struct body *body, struct body_pool *pool, unsigned *conn_lent, int fd,
                    uint64_t at, uint64_t end)
{
    memset(body, 0, sizeof *body);
    body->pool = pool;
    body->conn_lent = conn_lent;
    body->fd = fd;
    body->at = at;
    body->end = end;
}

void body_init_text(struct body *body, struct body_pool *pool, char *text, size_t size)
{
    memset(body, 0, sizeof *body);
    body->pool = pool;
    body->fd = -1;
    body->text = text;
    body->end = size;
}

static void drop_oldest(struct body *body)
{
    give_block(body->pool, body->blocks[body->first]);
    body->first = (body->first + 1) % BODY_BLOCKS;
    body->count--;
    (*body->conn_lent)--;
}

void body_free(struct body *body)
{
    if (body->pool == NULL) {
        return;
    }
    wait_remove(body);
    while (body->count > 0) {
        drop_oldest(body);
    }
    if (body->fd >= 0) {
        (void)close(body->fd);
    }
    free(body->text);
    memset(body, 0, sizeof *body);
}

/* Reads size bytes at the body's place. False: the file has become shorter, or cannot be read. */
static bool read_all(const struct body *body, uint8_t *data, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t n = pread(body->fd, data + got, size - got, (off_t)(body->at + got));

        if (n == 0 || (n < 0 && errno != EINTR)) {
            return false;
        }
        got += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static enum web_body next_block(struct body *body, struct aq_iov *piece)
{
    uint64_t left = body->end - body->at;
    size_t size = left < BODY_BLOCK ? (size_t)left : BODY_BLOCK;
    struct body_block *block;

    if (!may_take(body)) {
        wait_add(body);
        return WEB_BODY_WAIT;
    }
    block = take_block(body->pool);
    if (block == NULL) {
        return WEB_BODY_FAIL; /* no memory at all */
    }
    if (!read_all(body, block->data, size)) {
        give_block(body->pool, block);
        return WEB_BODY_FAIL;
    }
    body->blocks[(body->first + body->count) % BODY_BLOCKS] = block;
    body->sizes[(body->first + body->count) % BODY_BLOCKS] = (uint32_t)size;
    body->count++;
    (*body->conn_lent)++;
    *piece = (struct aq_iov){block->data, size};
    return WEB_BODY_MORE;
}

enum web_body body_next(struct body *body, struct aq_iov *piece)
{
    enum web_body result = WEB_BODY_MORE;

    *piece = (struct aq_iov){NULL, 0};
    if (body->at < body->end && body->fd < 0) {
        *piece =
            (struct aq_iov){(const uint8_t *)body->text + body->at, (size_t)(body->end - body->at)};
    } else if (body->at < body->end) {
        result = next_block(body, piece);
    }
    body->at += piece->size;
    body->sent += piece->size;
    return result == WEB_BODY_MORE && body->at == body->end ? WEB_BODY_END : result;
}

void body_released(struct body *body, uint64_t bytes)
{
    assert(bytes <= body->sent - body->released);
    body->released += bytes;
    while (body->count > 0) {
        uint64_t lent = body->sent - body->released, held = 0;

        for (unsigned i = 1; i < body->count; i++) {
            held += body->sizes[(body->first + i) % BODY_BLOCKS];
        }
        if (lent > held) {
            return; /* a part of the oldest is still on its way */
        }
        drop_oldest(body);
    }
}
