/* turn.c -- tests reactor/turn.c through antq_reactor.h: what a turn serves first, and that no kind
 * of work keeps another waiting (NAT.md §4: shutdown, packets, NAT events, commands, timers). */
#include "reactor/antq_reactor.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <netinet/in.h>

TestSuite(turn, .timeout = 60);

static char error[256];
static struct aq_loop *loop;
static struct aq_tls *tls;
static struct aq_addr at; /* where it listens */
static int outside = -1;  /* a socket that sends to it */

/* What was called, a letter each: p packets, e events, c commands, t timers. In capitals: the loop
 * was stopping by then. */
static char order[64];
static unsigned packets, posts, timers, others;

static void note(char c)
{
    size_t n = strlen(order);
    if (n > 0 && (order[n - 1] == c || order[n - 1] == c - 32))
        return; /* several of a kind */
    if (n + 1 < sizeof order)
        order[n] = aq_loop_stopping(loop) ? (char)(c - 32) : c;
}

static void on_event(void *user, struct aq_loop *l, const struct aq_event *event)
{
    (void)user;
    (void)l;
    (void)event;
    note('e');
}

static void on_datagrams(void *user, struct aq_loop *l, const struct aq_datagram *d, unsigned n)
{
    (void)user;
    (void)l;
    for (unsigned i = 0; i < n; i++)
        packets += d[i].segment != 0 ? (d[i].size + d[i].segment - 1u) / d[i].segment : 1;
    note('p');
}

static void on_command(void *user)
{
    (void)user;
    note('c');
}

static void on_timer(void *user)
{
    (void)user;
    note('t');
}

static void on_other(void *user)
{
    (void)user;
    others++;
}

static struct aq_tls *make_tls(bool server)
{
    static const char *const alpn[] = {"turn"};
    struct aq_tls_config config;
    aq_tls_config_init(&config);
    config.server = server;
    config.alpn = alpn;
    config.alpn_count = 1;
    config.verify = AQ_VERIFY_NONE;
    struct aq_tls *made = aq_tls_new(&config, error, sizeof error);
    cr_assert_not_null(made, "%s", error);
    return made;
}

static void config_small(struct aq_loop_config *config)
{
    aq_loop_config_init(config);
    config->endpoint.max_conns = config->endpoint.max_half_open = 16;
    config->endpoint.memory_bytes = 32u << 20;
}

static void setup(void)
{
    struct aq_loop_config config;
    struct sockaddr_in name = {.sin_family = AF_INET};
    const uint8_t ip[4] = {127, 0, 0, 1};
    config_small(&config);
    config.on_event = on_event;
    config.on_datagrams = on_datagrams;
    config.handle_signals = true;
    config.no_gro = true; /* one datagram each: they can be counted */
    config.endpoint.tls = tls = make_tls(true);
    loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    at = (struct aq_addr){.family = 4};
    memcpy(at.ip, ip, 4);
    cr_assert_eq(aq_listen(loop, &at, &at, error, sizeof error), AQ_OK, "%s", error);
    outside = socket(AF_INET, SOCK_DGRAM, 0);
    memcpy(&name.sin_addr, ip, 4);
    name.sin_port = htons(at.port);
    cr_assert_eq(connect(outside, (const struct sockaddr *)&name, sizeof name), 0);
    cr_assert_eq(aq_loop_step(loop), 0);
    memset(order, 0, sizeof order);
}

static void finish(void)
{
    aq_loop_free(loop);
    aq_tls_free(tls);
    close(outside);
}

static void send_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(send(outside, "?", 1, 0), 1);
}

/* The first flight of a handshake comes in: when it is received, that is an event. */
static void send_initial(void)
{
    struct aq_loop_config config;
    struct aq_connect connect;
    aq_conn conn;
    config_small(&config);
    struct aq_tls *client_tls = make_tls(false);
    struct aq_loop *client = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(client, "%s", error);
    aq_connect_init(&connect);
    connect.remote = at;
    connect.tls = client_tls;
    cr_assert_eq(aq_dial(client, &connect, false, &conn, error, sizeof error), AQ_OK, "%s", error);
    cr_assert_eq(aq_loop_step(client), 0);
    aq_loop_free(client);
    aq_tls_free(client_tls);
}

/* One of each kind is there, the last first. */
static void one_of_each(int fd[2])
{
    cr_assert_eq(pipe(fd), 0);
    cr_assert_eq(aq_loop_timer(loop, 0, on_timer, NULL), AQ_OK);
    cr_assert_eq(aq_loop_watch(loop, fd[0], on_command, NULL), AQ_OK);
    cr_assert_eq(write(fd[1], "x", 1), 1);
    cr_assert_eq(aq_loop_post(loop, on_command, NULL), AQ_OK);
    send_some(3);
    send_initial();
}

Test(turn, packets_events_commands_timers, .init = setup, .fini = finish)
{
    int fd[2];
    one_of_each(fd);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_expect_str_eq(order, "pect");
    cr_expect_eq(packets, 3);
    close(fd[0]);
    close(fd[1]);
}

Test(turn, shutdown_is_heard_before_all_of_them, .init = setup, .fini = finish)
{
    int fd[2];
    one_of_each(fd);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    (void)aq_loop_step(loop);
    cr_expect_str_eq(order, "PCT", "stopping by then; and who comes now is not told of");
    close(fd[0]);
    close(fd[1]);
}

/* ---- budgets --------------------------------------------------------------------------------- */

static void post_again(void *user)
{
    posts++;
    cr_assert_eq(aq_loop_post(loop, post_again, user), AQ_OK);
}

static void timer_again(void *user)
{
    timers++;
    cr_assert_eq(aq_loop_timer(loop, 0, timer_again, user), AQ_OK);
}

/* More packets than a turn takes: the others have their turn all the same, each time. */
Test(turn, a_flood_of_packets, .init = setup, .fini = finish)
{
    enum {
        FLOOD = 400,
        MOST = 64 /* two calls of 32 datagrams */
    };
    send_some(FLOOD);
    for (unsigned i = 1; packets < FLOOD; i++) {
        unsigned before = packets;
        cr_assert_leq(i, FLOOD / 8);
        cr_assert_eq(aq_loop_timer(loop, 0, on_other, NULL), AQ_OK);
        cr_assert_eq(aq_loop_post(loop, on_other, NULL), AQ_OK);
        cr_assert_eq(aq_loop_step(loop), 0);
        cr_expect(packets > before && packets - before <= MOST, "%u", packets - before);
        cr_expect_eq(others, 2 * i, "a post and a timer in each turn");
    }
    send_some(FLOOD);
    cr_assert_eq(kill(getpid(), SIGTERM), 0);
    packets = 0;
    cr_assert_eq(aq_loop_step(loop), 1, "ends in the turn in which it is told");
    cr_expect_leq(packets, MOST);
}

/* What posts itself runs once a turn, and the next turn comes at once. */
Test(turn, a_post_that_posts_itself, .init = setup, .fini = finish)
{
    cr_assert_eq(aq_loop_post(loop, post_again, NULL), AQ_OK);
    for (unsigned i = 1; i <= 5; i++) {
        cr_assert_eq(aq_loop_post(loop, on_other, NULL), AQ_OK);
        send_some(1);
        cr_assert_eq(aq_loop_step(loop), 0);
        cr_expect(posts == i && others == i && packets == i, "%u %u %u", posts, others, packets);
    }
}

/* Nor does one that goes off again and again keep back another that is due later. */
Test(turn, a_timer_that_sets_itself_to_the_past, .init = setup, .fini = finish)
{
    cr_assert_eq(aq_loop_timer(loop, 0, timer_again, NULL), AQ_OK);
    for (unsigned i = 1; i <= 5; i++) {
        cr_assert_eq(aq_loop_timer(loop, aq_loop_clock(loop), on_other, NULL), AQ_OK);
        send_some(1);
        cr_expect_eq(aq_loop_timeout_us(loop), 0, "at once");
        cr_assert_eq(aq_loop_step(loop), 0);
        cr_expect(timers == i && others == i && packets == i, "%u %u %u", timers, others, packets);
    }
}

/* A timer that another one moves to now, while it is due itself, has one turn, not two. */
static void timer_moves_other(void *user)
{
    timers++;
    cr_assert_eq(aq_loop_timer(loop, 0, on_other, user), AQ_OK);
}

Test(turn, a_timer_moved_while_it_is_due, .init = setup, .fini = finish)
{
    cr_assert_eq(aq_loop_timer(loop, 1, timer_moves_other, NULL), AQ_OK);
    cr_assert_eq(aq_loop_timer(loop, 2, on_other, NULL), AQ_OK);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_expect(timers == 1 && others == 0);
    cr_expect_eq(aq_loop_timeout_us(loop), 0);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_expect(timers == 1 && others == 1);
    cr_assert_eq(aq_loop_step(loop), 0);
    cr_expect_eq(others, 1);
}
