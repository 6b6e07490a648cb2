/* resolve.c -- tests aq_resolve and aq_loop_resolve: each form of an address, each way to get it
 * wrong, and that a loop does not wait for a name. */
#include "reactor/antq_reactor.h"
#include "tests/names.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct {
    const char *text;
    unsigned family;
    unsigned expect_family;
    uint16_t port;
    uint8_t first, last; /* bytes of the address */
} good[] = {
    {"1.2.3.4:5", 0, 4, 5, 1, 4},
    {"1.2.3.4", 0, 4, 4433, 1, 4},
    {"1.2.3.4:0", 4, 4, 0, 1, 4},
    {"1.2.3.4:65535", 0, 4, 65535, 1, 4},
    {"[::1]:5", 0, 6, 5, 0, 1},
    {"[::1]", 0, 6, 4433, 0, 1},
    {"::1", 0, 6, 4433, 0, 1},
    {"2001:db8::7", 6, 6, 4433, 0x20, 7},
    {"[2001:db8::7]:443", 6, 6, 443, 0x20, 7},
    {":5", 0, 4, 5, 0, 0},
    {":5", 4, 4, 5, 0, 0},
    {":5", 6, 6, 5, 0, 0},
    {"localhost:7", 4, 4, 7, 127, 1},
    {"localhost", 4, 4, 4433, 127, 1},
};

Test(resolve, every_form)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct aq_addr a;
        char error[256] = "";
        int result = aq_resolve(good[i].text, 4433, good[i].family, &a, error, sizeof error);
        cr_assert_eq(result, AQ_OK, "%s: %s", good[i].text, error);
        cr_assert_eq(a.family, good[i].expect_family, "%s", good[i].text);
        cr_assert_eq(a.port, good[i].port, "%s", good[i].text);
        cr_assert_eq(a.ip[0], good[i].first, "%s", good[i].text);
        cr_assert_eq(a.ip[a.family == 4 ? 3 : 15], good[i].last, "%s", good[i].text);
    }
}

static const struct {
    const char *text;
    unsigned family;
    const char *says;
} bad[] = {
    {"", 0, "empty"},
    {"1.2.3.4:", 0, "port"},
    {"1.2.3.4:65536", 0, "port"},
    {"1.2.3.4:99999999", 0, "port"},
    {"1.2.3.4:-1", 0, "port"},
    {"1.2.3.4:5x", 0, "port"},
    {":", 0, "port"},
    {"[::1", 0, "bracket"},
    {"[::1]5", 0, "bracket"},
    {"[]:5", 0, "empty"},
    {"[::1]:", 0, "port"},
    {"1.2.3.4:5", 6, "bad address '1.2.3.4:5'"},
    {"[::1]:5", 4, "bad address '[::1]:5'"},
    {"1:2:3", 0, "bad address '1:2:3'"},
    {"1.2.3.4:5", 5, "family"},
};

Test(resolve, every_mistake_has_its_sentence)
{
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct aq_addr a;
        char error[256] = "";
        int result = aq_resolve(bad[i].text, 4433, bad[i].family, &a, error, sizeof error);
        cr_assert_eq(result, AQ_MISUSE, "'%s' was taken", bad[i].text);
        cr_assert_not_null(strstr(error, bad[i].says), "'%s': %s", bad[i].text, error);
        cr_assert_eq(a.family, 0);
    }
}

Test(resolve, a_host_name_too_long_and_no_room_for_the_error)
{
    char text[400], error[8];
    struct aq_addr a;
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text - 5, ":443", 5);
    cr_assert_eq(aq_resolve(text, 1, 0, &a, error, sizeof error), AQ_MISUSE);
    cr_assert_eq(strlen(error), 7);
    cr_assert_eq(aq_resolve(text, 1, 0, &a, NULL, 0), AQ_MISUSE);
    cr_assert_eq(aq_resolve(NULL, 1, 0, &a, error, sizeof error), AQ_MISUSE);
}

/* ---- without waiting ------------------------------------------------------------------------- */

enum {
    JOBS = 64 /* names that a loop asks for at once */
};

static struct {
    unsigned count, failed;
    struct aq_addr addr;
    char error[256];
} answer;

static void on_answer(void *user, const struct aq_addr *addr, const char *error)
{
    cr_assert_eq(user, &answer);
    answer.count++;
    answer.failed += addr == NULL;
    if (addr != NULL)
        answer.addr = *addr;
    (void)strncpy(answer.error, error, sizeof answer.error - 1);
}

static struct aq_loop *open_loop(void)
{
    struct aq_loop_config config;
    char error[256];
    aq_loop_config_init(&config);
    config.endpoint.max_conns = config.endpoint.max_half_open = 8;
    config.endpoint.memory_bytes = 16u << 20;
    struct aq_loop *loop = aq_loop_new(&config, error, sizeof error);
    cr_assert_not_null(loop, "%s", error);
    names_loop = pthread_self();
    return loop;
}

static int ask(struct aq_loop *loop, const char *text)
{
    return aq_loop_resolve(loop, text, 4433, on_answer, &answer);
}

static void turn(void *user)
{
    (void)user;
}

/* Turns until there are so many answers. */
static void wait_for(struct aq_loop *loop, unsigned count)
{
    uint64_t end = aq_loop_clock(loop) + 20000000;
    while (answer.count < count) {
        cr_assert_eq(aq_loop_timer(loop, aq_loop_clock(loop), turn, NULL), AQ_OK);
        cr_assert_eq(aq_loop_step(loop), 0);
        cr_assert_lt(aq_loop_now(loop), end);
        (void)usleep(1000);
    }
}

Test(resolve, numbers_and_mistakes_are_answered_at_once)
{
    struct aq_loop *loop = open_loop();
    cr_assert_eq(ask(loop, "[::1]:5"), AQ_OK);
    cr_assert_eq(answer.count, 1);
    cr_assert(answer.addr.family == 6 && answer.addr.port == 5 && answer.addr.ip[15] == 1);
    cr_assert_eq(ask(loop, "1.2.3.4"), AQ_OK);
    cr_assert(answer.addr.family == 4 && answer.addr.port == 4433 && answer.addr.ip[3] == 4);
    cr_assert_eq(ask(loop, ":7"), AQ_OK);
    cr_assert(answer.addr.family == 4 && answer.addr.port == 7 && answer.addr.ip[0] == 0);
    cr_assert_eq(ask(loop, "1.2.3.4:x"), AQ_OK);
    cr_assert(answer.count == 4 && answer.failed == 1);
    cr_assert_not_null(strstr(answer.error, "port"));
    aq_loop_free(loop);
}

Test(resolve, a_loop_does_not_wait_for_a_name, .timeout = 60)
{
    struct aq_loop *loop = open_loop();
    names_held = true;
    cr_assert_eq(ask(loop, "slow.test:7"), AQ_OK);
    while (names_asked == 0) {
        cr_assert_eq(aq_loop_step(loop), 0);
        (void)usleep(1000);
    }
    cr_assert_eq(ask(loop, "none.test"), AQ_OK);
    wait_for(loop, 1); /* the second does not wait for the first */
    cr_assert_eq(answer.failed, 1);
    cr_assert_not_null(strstr(answer.error, "bad address 'none.test'"), "%s", answer.error);
    names_held = false;
    wait_for(loop, 2);
    cr_assert(answer.failed == 1 && answer.error[0] == '\0');
    cr_assert(answer.addr.family == 4 && answer.addr.ip[0] == 127 && answer.addr.port == 7);
    cr_assert_not(names_blocked_it, "not in the loop's thread");
    aq_loop_free(loop);
}

Test(resolve, at_most_so_many_names_at_once, .timeout = 60)
{
    struct aq_loop *loop = open_loop();
    names_held = true;
    for (unsigned i = 0; i < JOBS; i++)
        cr_assert_eq(ask(loop, "slow.test"), AQ_OK);
    cr_assert_eq(ask(loop, "slow.test"), AQ_FULL);
    cr_assert_eq(ask(loop, "1.2.3.4"), AQ_OK, "a number needs no thread");
    names_held = false;
    wait_for(loop, JOBS + 1);
    cr_assert_eq(ask(loop, "slow.test"), AQ_OK, "there is room again");
    wait_for(loop, JOBS + 2);
    aq_loop_free(loop);
}

/* The loop ends while names are asked for, and after they have been answered unheard. */
Test(resolve, nobody_waits_for_the_answer_any_more, .timeout = 60)
{
    for (unsigned i = 0; i < 20; i++) {
        struct aq_loop *loop = open_loop();
        names_held = i % 2 == 0;
        for (unsigned j = 0; j < 4; j++)
            cr_assert_eq(ask(loop, "slow.test"), AQ_OK);
        (void)usleep(i * 200);
        aq_loop_free(loop);
        names_held = false;
    }
    (void)usleep(200000); /* for the threads to free what is theirs */
    cr_assert_eq(answer.count, 0);
}
