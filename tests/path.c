/* path.c -- one path: the limit of three times, its states, which datagrams are its own, the
 * search for its MTU (RFC 9000 §8, §14). */
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
    cr_expect_eq(p.mtu, 1200);
    cr_expect_eq(p.mtu_max, 1452);
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

/* RFC 9000 §14.3: one probe at a time; what is acknowledged is the MTU; what is lost three times
 * is given up. */
Test(path, mtu_found)
{
    struct path p = path_new();
    cr_expect(path_wants_mtu_probe(&p));
    p.mtu_probing = true;
    cr_expect_not(path_wants_mtu_probe(&p), "one at a time");
    path_mtu_result(&p, 1452, true);
    cr_expect_eq(p.mtu, 1200);
    cr_expect(path_wants_mtu_probe(&p));
    p.mtu_probing = true;
    path_mtu_result(&p, 1452, false);
    cr_expect_eq(p.mtu, 1452);
    cr_expect_not(path_wants_mtu_probe(&p));
    path_mtu_result(&p, 1300, false); /* a late, smaller one */
    cr_expect_eq(p.mtu, 1452);
}

Test(path, mtu_given_up)
{
    struct path p = path_new();
    for (unsigned i = 0; i < MTU_PROBES; i++) {
        cr_expect(path_wants_mtu_probe(&p));
        p.mtu_probing = true;
        path_mtu_result(&p, 1452, true);
    }
    cr_expect_not(path_wants_mtu_probe(&p));
    cr_expect_eq(p.mtu, 1200);
    p.mtu_max = 1200; /* the peer takes no larger ones */
    p.mtu_probes = 0;
    cr_expect_not(path_wants_mtu_probe(&p));
}
