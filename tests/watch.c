/* watch.c -- tests reactor/watch.c through antq_reactor.h: timers, watched descriptors, posts. */
#include "reactor/antq_reactor.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

TestSuite(watch, .timeout = 60);

static char error[256];

static void plain_config(struct aq_loop_config *config)
{
    aq_loop_config_init(config);
    config->endpoint.max_conns = 64;
    config->endpoint.max_half_open = 64;
    config->endpoint.memory_bytes = 64u << 20;
    config->endpoint.conn_memory_bytes = 32u << 20;
}

static struct aq_loop *plain_loop(void)
{
    struct aq_loop_config config;
    plain_config(&config);
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    return loop;
}

static void call_break(void *user)
{
    aq_loop_break(user);
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct note {
    struct aq_loop *loop;
    char text[64];
    uint64_t at_us;
    unsigned count;
};
static struct note notes;

static void note(char c)
{
    size_t n = strlen(notes.text);
    if (n + 1 < sizeof notes.text)
        notes.text[n] = c;
    notes.count++;
    notes.at_us = aq_loop_now(notes.loop);
}
static void note_a(void *user)
{
    note(user != NULL ? *(const char *)user : 'a');
}
static void note_b(void *user)
{
    (void)user;
    note('b');
}
static void note_again(void *user)
{
    note('r');
    if (notes.count < 5)
        aq_loop_timer(notes.loop, aq_loop_now(notes.loop), note_again, user);
}

Test(watch, timers_fire_in_the_order_of_time)
{
    static char letters[] = "xyz";
    struct aq_loop *loop = notes.loop = plain_loop();
    uint64_t now = aq_loop_clock(loop);
    aq_loop_timer(loop, now + 9000, note_a, &letters[2]);
    aq_loop_timer(loop, now + 3000, note_a, &letters[0]);
    aq_loop_timer(loop, now + 6000, note_a, &letters[1]);
    aq_loop_timer(loop, now + 1000, note_b, NULL);
    aq_loop_timer(loop, AQ_NEVER, note_b, NULL); /* cancelled */
    aq_loop_timer(loop, now + 500, note_a, NULL);
    aq_loop_timer(loop, now + 12000, note_a, NULL); /* moved */
    aq_loop_timer(loop, now + 20000, call_break, loop);
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_str_eq(notes.text, "xyza");
    aq_loop_free(loop);
}

Test(watch, a_timer_that_sets_itself_again_does_not_hold_the_turn)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    aq_loop_timer(loop, aq_loop_now(loop), note_again, NULL);
    aq_loop_timer(loop, aq_loop_clock(loop) + 5000, call_break, loop);
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_str_eq(notes.text, "rrrrr");
    aq_loop_free(loop);
}

Test(watch, sixteen_timers_and_no_more)
{
    static char users[17];
    struct aq_loop *loop = plain_loop();
    for (int i = 0; i < 16; i++)
        cr_assert_eq(aq_loop_timer(loop, UINT64_MAX - 1, note_a, &users[i]), AQ_OK);
    cr_assert_eq(aq_loop_timer(loop, 1, note_a, &users[16]), AQ_FULL);
    cr_assert_eq(aq_loop_timer(loop, AQ_NEVER, note_a, &users[16]), AQ_OK,
                 "cancelling nothing is fine");
    cr_assert_eq(aq_loop_timer(loop, UINT64_MAX - 2, note_a, &users[3]), AQ_OK,
                 "moving needs no room");
    cr_assert_eq(aq_loop_timer(loop, AQ_NEVER, note_a, &users[3]), AQ_OK);
    cr_assert_eq(aq_loop_timer(loop, 1, note_a, &users[16]), AQ_OK);
    aq_loop_free(loop);
}

/* RFC 9002 §7.7: a pacer's deadlines are shorter than a millisecond. */
Test(watch, deadlines_below_a_millisecond)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 50; i++) {
        uint64_t start = aq_loop_clock(loop);
        aq_loop_timer(loop, start + 200, call_break, loop);
        cr_assert_eq(aq_loop_run(loop), 0);
        uint64_t took = aq_loop_clock(loop) - start;
        cr_assert_geq(took, 200);
        best = took < best ? took : best;
    }
#ifdef HAVE_EPOLL_PWAIT2
    cr_assert_lt(best, 1000, "the best of 50 took %lu us", (unsigned long)best);
#endif
    aq_loop_free(loop);
}

/* ---- watches --------------------------------------------------------------------------------- */

static int ends[2];
static void read_one(void *user)
{
    char c = '?';
    if (read(ends[0], &c, 1) == 1) {
        note(c);
    } else { /* end of file */
        aq_loop_watch(user, ends[0], NULL, NULL);
        aq_loop_break(user);
    }
}

Test(watch, watches_a_pipe_until_its_end)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(aq_loop_watch(loop, ends[0], read_one, loop), AQ_OK);
    cr_assert_eq(write(ends[1], "pipe", 4), 4);
    close(ends[1]);
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_str_eq(notes.text, "pipe");
    cr_assert_eq(aq_loop_watch(loop, ends[0], NULL, NULL), AQ_MISUSE, "it is not watched any more");
    close(ends[0]);
    aq_loop_free(loop);
}

Test(watch, a_regular_file_is_always_readable)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    char name[] = "/tmp/reactor-XXXXXX";
    ends[0] = mkstemp(name);
    cr_assert_geq(ends[0], 0);
    unlink(name);
    cr_assert_eq(write(ends[0], "file", 4), 4);
    cr_assert_eq(lseek(ends[0], 0, SEEK_SET), 0);
    cr_assert_eq(aq_loop_watch(loop, ends[0], read_one, loop), AQ_OK);
    cr_assert_eq(aq_loop_timeout_us(loop), 0);
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_str_eq(notes.text, "file");
    close(ends[0]);
    aq_loop_free(loop);
}

Test(watch, a_descriptor_closed_and_opened_again_is_watched_anew)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    int old[2];
    cr_assert_eq(pipe(old), 0);
    cr_assert_eq(aq_loop_watch(loop, old[0], read_one, loop), AQ_OK);
    close(old[0]);
    close(old[1]);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(ends[0], old[0]);
    cr_assert_eq(aq_loop_watch(loop, ends[0], read_one, loop), AQ_OK);
    cr_assert_eq(write(ends[1], "again", 5), 5);
    close(ends[1]);
    cr_assert_eq(aq_loop_run(loop), 0);
    cr_assert_str_eq(notes.text, "again");
    close(ends[0]);
    aq_loop_free(loop);
}

Test(watch, watches_have_a_limit_and_refuse_nonsense)
{
    struct aq_loop *loop = plain_loop();
    int fds[17][2];
    cr_assert_eq(aq_loop_watch(loop, -1, note_a, NULL), AQ_MISUSE);
    cr_assert_eq(aq_loop_watch(loop, 987654, note_a, NULL), AQ_MISUSE);
    for (int i = 0; i < 17; i++)
        cr_assert_eq(pipe(fds[i]), 0);
    for (int i = 0; i < 16; i++)
        cr_assert_eq(aq_loop_watch(loop, fds[i][0], note_a, NULL), AQ_OK);
    cr_assert_eq(aq_loop_watch(loop, fds[16][0], note_a, NULL), AQ_FULL);
    cr_assert_eq(aq_loop_watch(loop, fds[5][0], note_b, NULL), AQ_OK,
                 "a new function needs no room");
    cr_assert_eq(aq_loop_watch(loop, fds[5][0], NULL, NULL), AQ_OK);
    cr_assert_eq(aq_loop_watch(loop, fds[16][0], note_a, NULL), AQ_OK);
    aq_loop_free(loop);
}

/* ---- posts ----------------------------------------------------------------------------------- */

static void count_post(void *user)
{
    unsigned *count = user;
    if (++*count == 1000)
        aq_loop_break(notes.loop);
}

static unsigned posted;
static void *post_thousand(void *user)
{
    for (unsigned i = 0; i < 1000;) {
        if (aq_loop_post(user, count_post, &posted) == AQ_OK)
            i++;
        else
            usleep(100); /* AQ_FULL: the loop is behind */
    }
    return NULL;
}

Test(watch, posts_from_another_thread_arrive)
{
    struct aq_loop *loop = notes.loop = plain_loop();
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, post_thousand, loop), 0);
    cr_assert_eq(aq_loop_run(loop), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(posted, 1000);
    aq_loop_free(loop);
}

Test(watch, the_ring_of_posts_can_be_full)
{
    static char order[256];
    struct aq_loop *loop = notes.loop = plain_loop();
    for (int i = 0; i < 256; i++) {
        order[i] = (char)('A' + i % 26);
        cr_assert_eq(aq_loop_post(loop, note_a, &order[i]), AQ_OK);
    }
    cr_assert_eq(aq_loop_post(loop, note_a, NULL), AQ_FULL);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_assert_eq(notes.count, 256);
    cr_assert_eq(strncmp(notes.text, "ABCDEFGHIJ", 10), 0, "in their order");
    cr_assert_eq(aq_loop_post(loop, note_a, NULL), AQ_OK);
    aq_loop_free(loop);
}

/* ---- busy polling ---------------------------------------------------------------------------- */

static uint64_t thread_cpu_us(void)
{
    struct timespec t;
    cr_assert_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* CPU time of a loop that sends one packet to somebody who is silent, and waits for wait_us. */
static uint64_t cpu_of_waiting(uint64_t busy_poll_us, uint64_t wait_us)
{
    struct sockaddr_in silent = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof silent;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&silent, size), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&silent, &size), 0);
    struct aq_tls_config tls_config;
    static const char *const alpn[] = {"test"};
    aq_tls_config_init(&tls_config);
    tls_config.alpn = alpn, tls_config.alpn_count = 1;
    tls_config.verify = AQ_VERIFY_NONE;
    struct aq_tls *tls = aq_tls_new(&tls_config, error, sizeof error);
    cr_assert_not_null(tls, "%s", error);
    struct aq_loop_config config;
    plain_config(&config);
    config.busy_poll_us = busy_poll_us;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    struct aq_connect connect;
    aq_conn conn;
    aq_connect_init(&connect);
    connect.tls = tls;
    connect.remote =
        (struct aq_addr){.ip = {127, 0, 0, 1}, .port = ntohs(silent.sin_port), .family = 4};
    cr_assert_eq(aq_dial(loop, &connect, false, &conn, error, sizeof error), AQ_OK, "%s", error);
    uint64_t begun_us = aq_loop_clock(loop), cpu_us = thread_cpu_us();
    cr_assert_eq(aq_loop_timer(loop, begun_us + wait_us, call_break, loop), AQ_OK);
    cr_assert_eq(aq_loop_run(loop), 0);
    cpu_us = thread_cpu_us() - cpu_us;
    cr_expect_geq(aq_loop_clock(loop), begun_us + wait_us, "the timer was early");
    aq_loop_free(loop);
    aq_tls_free(tls);
    close(fd);
    return cpu_us;
}

/* It spins as long as it was told after the last packet, then sleeps; unless it was told to, it
 * does not spin. Other programs may take the core away, so only the upper bounds are sharp. */
Test(watch, busy_polling_ends)
{
    enum {
        WAIT_US = 400000
    };
    uint64_t never = cpu_of_waiting(0, WAIT_US), some = cpu_of_waiting(50000, WAIT_US),
             always = cpu_of_waiting(AQ_NEVER, WAIT_US);
    cr_expect_lt(never, 40000, "%d us", (int)never);
    cr_expect_lt(some, 150000, "%d us", (int)some);
    cr_expect_gt(some, never, "%d and %d us", (int)some, (int)never);
    cr_expect_gt(always, some, "%d and %d us", (int)always, (int)some);
}

/* A timer that is due during the spin ends it. */
Test(watch, busy_polling_sees_timers)
{
    uint64_t cpu_us = cpu_of_waiting(AQ_NEVER, 20000);
    cr_expect_lt(cpu_us, 200000);
}
