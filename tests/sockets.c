/* sockets.c -- tests reactor/sockets.c: the table of connections against a plain list, and the
 * reuse of socket slots. Dialling itself is tested in reactor.c. */
#include "reactor/loop.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sockets, .timeout = 30);

enum {
    CONNS = 40
};

static struct aq_loop *open_loop(void)
{
    struct aq_loop_config config;
    char error[256];
    aq_loop_config_init(&config);
    config.endpoint.max_conns = CONNS;
    config.endpoint.max_half_open = CONNS;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    return loop;
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* As aq_dial does it. */
static void dialled(struct aq_loop *loop, aq_conn conn)
{
    loop_conn_find(loop, conn)->dialling = true;
    loop->dialling++;
}

Test(sockets, the_table_of_connections_agrees_with_a_list)
{
    struct aq_loop *loop = open_loop();
    aq_conn list[CONNS];
    uint32_t count = 0, seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        if (count < CONNS && next_random(&seed) % 2 == 0) {
            /* Handles as the core makes them: a slot, and a generation above it. */
            aq_conn conn = (aq_conn)(i + 1) << 32 | next_random(&seed) % CONNS;
            const struct loop_conn *c = loop_conn_add(loop, conn, LOOP_NO_SOCKET, false);
            cr_assert_not_null(c);
            cr_assert_eq(loop_conn_add(loop, conn, 3, true), c, "adding again finds it");
            if (conn % 2 != 0)
                dialled(loop, conn);
            list[count++] = conn;
        } else if (count > 0) {
            uint32_t at = next_random(&seed) % count;
            loop_conn_remove(loop, list[at]);
            cr_assert_null(loop_conn_find(loop, list[at]));
            loop_conn_remove(loop, list[at]); /* twice is harmless */
            list[at] = list[--count];
        }
        cr_assert_eq(loop->conns_count, count);
        cr_assert_eq(loop->conns_open, count);
        uint32_t dialling = 0;
        for (uint32_t j = 0; j < count; j++) {
            const struct loop_conn *c = loop_conn_find(loop, list[j]);
            cr_assert(c != NULL && c->conn == list[j] && !c->refused);
            cr_assert_eq(c->dialling, list[j] % 2 != 0);
            dialling += c->dialling;
        }
        cr_assert_eq(loop->dialling, dialling);
    }
    aq_loop_free(loop);
}

Test(sockets, a_full_table_refuses)
{
    struct aq_loop *loop = open_loop();
    aq_conn conn = 1;
    while (loop_conn_add(loop, conn, LOOP_NO_SOCKET, conn % 2 == 0) != NULL)
        conn++;
    cr_assert_geq(loop->conns_count, 2 * CONNS - 1, "room for more than the endpoint has");
    cr_assert_eq(loop->conns_count, conn - 1);
    cr_assert_eq(loop->conns_open, conn / 2, "the refused ones do not count");
    cr_assert_null(loop_conn_find(loop, conn));
    loop_conn_remove(loop, 1);
    cr_assert_not_null(loop_conn_add(loop, conn, LOOP_NO_SOCKET, false));
    aq_loop_free(loop);
}

static uint32_t listen_somewhere(struct aq_loop *loop)
{
    struct aq_addr any;
    char error[256];
    memset(&any, 0, sizeof any);
    any.family = 4;
    any.ip[0] = 127;
    any.ip[3] = 1;
    cr_assert_eq(aq_listen(loop, &any, NULL, error, sizeof error), AQ_OK, "%s", error);
    return loop->sockets_high - 1;
}

Test(sockets, an_ended_connection_gives_back_its_own_socket_only)
{
    struct aq_loop *loop = open_loop();
    uint32_t shared = listen_somewhere(loop), own = listen_somewhere(loop);
    loop_socket_at(loop, own)->fresh = true;
    loop_conn_add(loop, 11, own, false);
    loop_conn_add(loop, 12, LOOP_NO_SOCKET, false);
    loop_conn_remove(loop, 12);
    cr_assert_eq(loop->sockets_ended, 0);
    loop_conn_remove(loop, 11);
    cr_assert_eq(loop->sockets_ended, 1);
    cr_assert_not_null(loop_socket_at(loop, own), "open until its last packet is out");
    loop_sockets_reap(loop);
    cr_assert_eq(loop->sockets_ended, 0);
    cr_assert_null(loop_socket_at(loop, own));
    cr_assert_not_null(loop_socket_at(loop, shared));
    cr_assert_eq(listen_somewhere(loop), own, "the slot is used again");
    cr_assert_null(loop_socket_at(loop, UINT16_MAX));
    aq_loop_free(loop);
}

/* How long the loop looks before it sleeps depends on whether it waits for an answer. */
Test(sockets, a_dial_ends_once)
{
    struct aq_loop *loop = open_loop();
    for (aq_conn conn = 1; conn <= 3; conn++) {
        loop_conn_add(loop, conn, LOOP_NO_SOCKET, false);
        if (conn < 3)
            dialled(loop, conn);
    }
    cr_assert_eq(loop->dialling, 2);
    loop_conn_confirmed(loop, 1);
    loop_conn_confirmed(loop, 1);
    loop_conn_confirmed(loop, 3); /* it was accepted */
    cr_expect_eq(loop->dialling, 1);
    loop_conn_remove(loop, 1);
    loop_conn_remove(loop, 3);
    cr_expect_eq(loop->dialling, 1);
    loop_conn_remove(loop, 2); /* it failed */
    cr_expect_eq(loop->dialling, 0);
    loop_conn_confirmed(loop, 2); /* nobody has it */
    aq_loop_free(loop);
}

Test(sockets, the_table_of_sockets_can_be_full)
{
    struct aq_loop *loop = open_loop();
    struct aq_addr any;
    char error[256] = "";
    memset(&any, 0, sizeof any);
    any.family = 4;
    for (uint32_t i = 0; i < CONNS + LOOP_SOCKETS_SPARE; i++)
        cr_assert_eq(aq_listen(loop, &any, NULL, error, sizeof error), AQ_OK, "%s", error);
    cr_assert_eq(aq_listen(loop, &any, NULL, error, sizeof error), AQ_MISUSE);
    cr_assert_not_null(strstr(error, "in use"), "%s", error);
    aq_loop_free(loop);
}
