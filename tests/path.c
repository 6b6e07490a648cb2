/* path.c -- one path: the limit of three times, its states, which datagrams are its own
 * (RFC 9000 §8). */
#include "core/path.h"

#include <criterion/criterion.h>
#include <string.h>

static struct path path_new(void)
{
    struct path p;
    path_init(&p, cc_find(NULL), MTU_BASE, 1452, 5);
    return p;
}

Test(path, fresh)
{
    struct path p = path_new();
    cr_expect_eq(p.state, PATH_UNVALIDATED);
    cr_expect_eq(p.mtu.size, 1200);
    cr_expect_eq(p.mtu.max, 1452);
    cr_expect_eq(path_room(&p), 0, "RFC 9000 §8.1: nothing came yet");
    cr_expect_eq(p.cc.cwnd_bytes, 12000, "RFC 9002 §7.2: ten packets");
}

/* RFC 9000 §8.1: three times what came, to the byte; without a limit once the address is
 * validated. */
Test(path, three_times)
{
    static const struct {
        uint64_t received, sent, room;
    } rows[] = {
        {1, 0, 3},       {1200, 0, 3600}, {1200, 3599, 1},
        {1200, 3600, 0}, {1200, 3601, 0}, {2400, 3600, 3600},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct path p = path_new();
        p.recv_bytes = rows[i].received;
        p.sent_bytes = rows[i].sent;
        cr_expect_eq(path_room(&p), rows[i].room, "row %u", i);
        path_set_state(&p, PATH_VALIDATING);
        cr_expect_eq(path_room(&p), rows[i].room, "row %u", i);
        path_set_state(&p, PATH_VALID);
        cr_expect_eq(path_room(&p), UINT64_MAX);
        path_set_state(&p, PATH_VALID); /* again is nothing */
        path_set_state(&p, PATH_FAILED);
        cr_expect_eq(path_room(&p), rows[i].room);
    }
}

static struct aq_addr addr(uint8_t last, uint16_t port)
{
    return (struct aq_addr){.ip = {10, 0, 0, last}, .port = port, .family = 4};
}

/* A path is named by socket, both addresses and relay channel; a local address that is not known
 * matches any. */
Test(path, matches)
{
    struct aq_datagram good = {.socket = 2,
                               .channel = 3,
                               .local = addr(1, 10),
                               .remote = addr(2, 20)},
                       d;
    struct path p = path_new();
    p.socket = 2;
    p.channel = 3;
    p.remote = addr(2, 20);
    cr_expect(path_matches(&p, &good), "its own local address is not known yet");
    p.local = addr(1, 10);
    cr_expect(path_matches(&p, &good));
    d = good;
    d.socket = 1;
    cr_expect_not(path_matches(&p, &d));
    d = good;
    d.channel = 0;
    cr_expect_not(path_matches(&p, &d));
    d = good;
    d.remote.port++;
    cr_expect_not(path_matches(&p, &d));
    d = good;
    d.remote.ip[3]++;
    cr_expect_not(path_matches(&p, &d));
    d = good;
    d.local.ip[3]++;
    cr_expect_not(path_matches(&p, &d));
    d = good;
    d.local = (struct aq_addr){0};
    cr_expect(path_matches(&p, &d));
}

/* ---- validation ------------------------------------------------------------------------------ */

static const uint8_t data[4][CHALLENGE_SIZE] = {"first..", "second.", "third..", "fourth."};

enum {
    SPAN = 3000,
    PTO = 1000,
    BEGIN = 100000
};

static struct path path_checked(void)
{
    struct path p = path_new();
    path_check(&p, SPAN, BEGIN);
    cr_expect_eq(p.state, PATH_VALIDATING);
    cr_expect(p.challenge_due && path_is_checked(&p));
    cr_expect_eq(path_deadline(&p), BEGIN + SPAN, "RFC 9000 §8.2.4");
    return p;
}

/* RFC 9000 §8.2.3: by a response to any challenge that is remembered, and to no other. RFC 9000
 * §8.2.1 */
Test(path, answers)
{
    static const struct {
        unsigned sent, answered;
        bool full[3];
        enum path_answer answer;
    } rows[] = {
        {0, 0, {0}, PATH_ANSWER_NONE},
        {1, 0, {true}, PATH_ANSWER_FULL},
        {1, 0, {false}, PATH_ANSWER_SMALL},
        {1, 1, {true}, PATH_ANSWER_NONE},
        {2, 0, {true, false}, PATH_ANSWER_FULL},
        {2, 1, {true, false}, PATH_ANSWER_SMALL},
        {2, 0, {false, true}, PATH_ANSWER_SMALL},
        {3, 0, {true, true, true}, PATH_ANSWER_NONE},
        {3, 1, {true, true, true}, PATH_ANSWER_FULL},
        {3, 2, {true, true, false}, PATH_ANSWER_SMALL},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct path p = path_checked();
        for (unsigned j = 0; j < rows[i].sent; j++)
            path_challenged(&p, data[j], rows[i].full[j], PTO, BEGIN + j);
        bool answered = rows[i].answer != PATH_ANSWER_NONE;
        cr_expect_eq(path_on_response(&p, data[rows[i].answered]), rows[i].answer, "row %u", i);
        cr_expect_eq(p.state, answered ? PATH_VALID : PATH_VALIDATING, "row %u", i);
        cr_expect_eq(p.mtu_valid, rows[i].answer == PATH_ANSWER_FULL, "row %u", i);
        cr_expect_eq(path_is_checked(&p), !answered, "row %u", i);
        cr_expect_eq(path_on_response(&p, data[rows[i].answered]), PATH_ANSWER_NONE, "row %u", i);
    }
}

/* RFC 9000 §9.4: no sooner than a PTO, then later each time; RFC 9000 §8.2.4: and given up. */
Test(path, challenges_in_time)
{
    static const uint64_t gaps[] = {PTO, PTO, 2 * PTO, 4 * PTO, 8 * PTO};
    struct path p = path_new();
    uint64_t now = BEGIN;
    path_check(&p, 100 * PTO, now);
    for (unsigned i = 0; i < sizeof gaps / sizeof *gaps; i++) {
        path_challenged(&p, data[i % 4], true, PTO, now);
        cr_expect_not(p.challenge_due);
        cr_expect_eq(path_deadline(&p), now + gaps[i], "%u", i);
        cr_expect_eq(path_on_time(&p, now + gaps[i] - 1), PATH_TIME_NONE);
        now += gaps[i];
        cr_expect_eq(path_on_time(&p, now), PATH_TIME_CHALLENGE);
        cr_expect(p.challenge_due);
    }
    cr_expect_eq(path_on_time(&p, BEGIN + 100 * PTO - 1), PATH_TIME_NONE);
    cr_expect_eq(path_on_time(&p, BEGIN + 100 * PTO), PATH_TIME_FAILED);
    cr_expect_eq(p.state, PATH_FAILED);
    cr_expect_not(p.challenge_due);
    cr_expect_eq(path_deadline(&p), AQ_NEVER);
    path_check(&p, SPAN, now); /* it may be tried again */
    cr_expect_eq(p.state, PATH_VALIDATING);
}

/* RFC 9000 §9.3.3: a valid path that is looked at once more keeps its state, and its room. */
Test(path, checked_while_valid)
{
    struct path p = path_new();
    path_set_state(&p, PATH_VALID);
    path_check(&p, SPAN, BEGIN);
    cr_expect_eq(p.state, PATH_VALID);
    cr_expect_eq(path_room(&p), UINT64_MAX);
    uint64_t give_up = p.give_up_us;
    path_check(&p, SPAN, BEGIN + 5); /* one at a time */
    cr_expect_eq(p.give_up_us, give_up);
    cr_expect_eq(path_on_time(&p, give_up), PATH_TIME_FAILED);
    cr_expect_eq(p.state, PATH_VALID);
    p.due_us = give_up + 7; /* lingering */
    cr_expect_eq(path_on_time(&p, give_up + 6), PATH_TIME_NONE);
    cr_expect_eq(path_on_time(&p, give_up + 7), PATH_TIME_UNUSED);
}

/* RFC 9000 §8.2.2: the window holds a probe back, but for one a round trip. */
Test(path, probes_and_the_window)
{
    struct path p = path_new();
    cr_expect_not(path_wants_probe(&p, BEGIN));
    p.responses = 1;
    cr_expect(path_wants_probe(&p, BEGIN));
    p.cc.in_flight_bytes = p.cc.cwnd_bytes - MTU_BASE + 1;
    cr_expect(path_wants_probe(&p, BEGIN));
    path_probed(&p, BEGIN);
    cr_expect_not(path_wants_probe(&p, BEGIN + p.rtt.smoothed_us - 1));
    cr_expect(path_wants_probe(&p, BEGIN + p.rtt.smoothed_us));
    p.cc.in_flight_bytes--;
    cr_expect(path_wants_probe(&p, BEGIN));
}

/* RFC 9000 §8.2.2: each challenge has its response, in the order in which they came; of more than
 * are kept the newest (SECURITY.md row 3). */
Test(path, responses)
{
    struct path p = path_new();
    for (uint8_t i = 0; i < RESPONSES; i++)
        path_respond(&p, (const uint8_t[CHALLENGE_SIZE]){i});
    cr_expect_eq(p.responses, RESPONSES);
    path_responded(&p);
    cr_expect_eq(p.response[0][0], 1);
    for (uint8_t i = 0; i < 2; i++)
        path_respond(&p, (const uint8_t[CHALLENGE_SIZE]){(uint8_t)(RESPONSES + i)});
    for (uint8_t i = 0; i < RESPONSES; i++) {
        cr_expect_eq(p.response[0][0], 2 + i);
        path_responded(&p);
    }
    cr_expect_eq(p.responses, 0);
}

/* RFC 9000 §9.4: what goes over to a path that differs in the port; what is in flight does not. */
Test(path, take_over)
{
    struct path from = path_new(), p = path_new();
    from.local = p.local = addr(1, 10);
    from.remote = p.remote = addr(2, 20);
    p.remote.port++;
    cr_expect(path_same_network(&p, &from));
    p.remote.ip[3]++;
    cr_expect_not(path_same_network(&p, &from));
    from.cc.cwnd_bytes = 50000;
    from.cc.in_flight_bytes = 40000;
    p.cc.in_flight_bytes = 700;
    from.mtu.size = 1452;
    from.rtt.smoothed_us = 7;
    path_take_over(&p, &from);
    cr_expect_eq(p.cc.cwnd_bytes, 50000);
    cr_expect_eq(p.cc.in_flight_bytes, 700);
    cr_expect_eq(from.cc.in_flight_bytes, 40000);
    cr_expect_eq(from.cc.cwnd_bytes, 12000);
    cr_expect_eq(p.rtt.smoothed_us, 7);
    cr_expect_eq(p.mtu.size, 1452);
}

/* What the peer itself named may be tried before anything came from there. */
Test(path, budget)
{
    struct path p = path_new();
    p.budget_bytes = 64;
    cr_expect_eq(path_room(&p), 64);
    p.sent_bytes = 60;
    p.recv_bytes = 10;
    cr_expect_eq(path_room(&p), 34);
    p.budget_bytes = PATH_TRUSTED;
    cr_expect_gt(path_room(&p), 1U << 30);
}
