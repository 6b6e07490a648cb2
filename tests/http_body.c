/* http_body.c -- tests apps/http/body.h: blocks are lent, given back in order, limited, waited for.
 */
#include "apps/http/body.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make_file(size_t size)
{
    char name[] = "/tmp/antq-body.XXXXXX";
    int fd = mkstemp(name);
    uint8_t *data = malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 31 + (i >> 16));
    }
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    free(data);
    unlink(name);
    return fd;
}

static uint8_t byte_at(uint64_t i)
{
    return (uint8_t)(i * 31 + (i >> 16));
}

Test(body, a_file_comes_block_by_block)
{
    enum {
        BEGIN = 5,
        SIZE = 2 * BODY_BLOCK + 7
    };
    struct body_pool pool;
    struct body body;
    struct aq_iov piece;
    unsigned lent = 0;
    uint64_t at = BEGIN;

    body_pool_init(&pool, 8);
    body_init_file(&body, &pool, &lent, make_file(BEGIN + SIZE + 100), BEGIN, BEGIN + SIZE);
    for (unsigned i = 0; i < 3; i++) {
        enum web_body state = body_next(&body, &piece);

        cr_assert_eq(state, i < 2 ? WEB_BODY_MORE : WEB_BODY_END);
        for (size_t j = 0; j < piece.size; j++) {
            cr_assert_eq(piece.data[j], byte_at(at + j));
        }
        at += piece.size;
    }
    cr_assert_eq(at, BEGIN + SIZE);
    cr_assert_eq(lent, 3);
    body_released(&body, BODY_BLOCK - 1);
    cr_assert_eq(pool.lent, 3); /* its last byte may be sent again */
    body_released(&body, 1);
    cr_assert_eq(pool.lent, 2);
    body_released(&body, BODY_BLOCK + 6);
    cr_assert_eq(pool.lent, 1);
    body_released(&body, 1);
    cr_assert_eq(pool.lent, 0);
    cr_assert_eq(lent, 0);
    body_free(&body);
    body_free(&body); /* nothing more */
    body_pool_free(&pool);
}

Test(body, nothing_at_all_ends_at_once)
{
    struct body_pool pool;
    struct body body;
    struct aq_iov piece;
    unsigned lent = 0;

    body_pool_init(&pool, 8);
    body_init_file(&body, &pool, &lent, make_file(1), 1, 1);
    cr_assert_eq(body_next(&body, &piece), WEB_BODY_END);
    cr_assert_eq(piece.size, 0);
    body_free(&body);
    body_init_text(&body, &pool, strdup("words"), 5);
    cr_assert_eq(body_next(&body, &piece), WEB_BODY_END);
    cr_assert_eq(piece.size, 5);
    body_released(&body, 5);
    body_free(&body);
    body_pool_free(&pool);
}

Test(body, a_file_that_was_cut_fails)
{
    struct body_pool pool;
    struct body body;
    struct aq_iov piece;
    unsigned lent = 0;
    int fd = make_file(2 * BODY_BLOCK);

    body_pool_init(&pool, 8);
    body_init_file(&body, &pool, &lent, fd, 0, 2 * BODY_BLOCK);
    cr_assert_eq(body_next(&body, &piece), WEB_BODY_MORE);
    cr_assert_eq(ftruncate(fd, 2 * BODY_BLOCK - 1), 0);
    cr_assert_eq(body_next(&body, &piece), WEB_BODY_FAIL);
    cr_assert_eq(pool.lent, 1);
    body_free(&body);
    cr_assert_eq(pool.lent, 0);
    body_pool_free(&pool);
}

Test(body, who_finds_no_block_waits_in_turn)
{
    struct body_pool pool;
    struct body first, second, third;
    struct aq_iov piece;
    unsigned lent[3] = {0};

    body_pool_init(&pool, 1);
    body_init_file(&first, &pool, &lent[0], make_file(2 * BODY_BLOCK), 0, 2 * BODY_BLOCK);
    body_init_file(&second, &pool, &lent[1], make_file(10), 0, 10);
    body_init_file(&third, &pool, &lent[2], make_file(10), 0, 10);
    cr_assert_eq(body_next(&first, &piece), WEB_BODY_MORE);
    cr_assert_eq(body_next(&second, &piece), WEB_BODY_WAIT);
    cr_assert_eq(body_next(&second, &piece), WEB_BODY_WAIT); /* twice is once */
    cr_assert_eq(body_next(&third, &piece), WEB_BODY_WAIT);
    cr_assert_eq(body_next(&first, &piece), WEB_BODY_WAIT);
    cr_assert_null(body_pool_wake(&pool));
    body_released(&first, BODY_BLOCK);
    body_free(&second); /* it left the queue */
    cr_assert_eq(body_pool_wake(&pool), &third);
    cr_assert_eq(body_next(&third, &piece), WEB_BODY_END);
    cr_assert_null(body_pool_wake(&pool));
    body_free(&third);
    cr_assert_eq(body_pool_wake(&pool), &first);
    cr_assert_eq(body_next(&first, &piece), WEB_BODY_END);
    body_free(&first);
    body_pool_free(&pool);
}

Test(body, one_body_and_one_connection_have_their_part_only)
{
    enum {
        BODIES = BODY_CONN_BLOCKS / BODY_BLOCKS
    };
    static struct body bodies[BODIES + 2];
    struct body_pool pool;
    struct aq_iov piece;
    unsigned lent[2] = {0};
    uint64_t size = (uint64_t)(BODY_BLOCKS + 1) * BODY_BLOCK;

    body_pool_init(&pool, BODY_POOL_BLOCKS);
    for (unsigned i = 0; i < BODIES + 2; i++) {
        body_init_file(&bodies[i], &pool, &lent[i > BODIES], make_file(size), 0, size);
    }
    for (unsigned i = 0; i < BODIES; i++) {
        for (unsigned j = 0; j < BODY_BLOCKS; j++) {
            cr_assert_eq(body_next(&bodies[i], &piece), WEB_BODY_MORE);
        }
        cr_assert_eq(body_next(&bodies[i], &piece), WEB_BODY_WAIT);
    }
    for (unsigned j = BODIES * BODY_BLOCKS; j < BODY_CONN_BLOCKS; j++) {
        cr_assert_eq(body_next(&bodies[BODIES], &piece), WEB_BODY_MORE);
    }
    cr_assert_eq(lent[0], BODY_CONN_BLOCKS);
    cr_assert_eq(body_next(&bodies[BODIES], &piece), WEB_BODY_WAIT);
    cr_assert_eq(body_next(&bodies[BODIES + 1], &piece), WEB_BODY_MORE); /* the other connection */
    body_released(&bodies[0], BODY_BLOCK);
    cr_assert_eq(body_pool_wake(&pool), &bodies[0]);
    for (unsigned i = 0; i < BODIES + 2; i++) {
        body_free(&bodies[i]);
    }
    cr_assert_eq(pool.lent, 0);
    body_pool_free(&pool);
}
