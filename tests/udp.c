/* udp.c -- tests reactor/udp.c on loopback: what a received datagram brings, ICMP errors, opening.
 * Both address families; the trains themselves are tested in udp_send.c. */
#include "tests/udp_pair.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>

TestSuite(udp, .init = setup, .timeout = 20);

/* ---- ICMP ------------------------------------------------------------------------------------ */

/* A port that was just closed. */
static struct udp closed_port(unsigned family)
{
    struct udp udp = open_on(family, 1);
    udp_close(&udp);
    return udp;
}

static void wait_error(const struct udp *udp)
{
    struct pollfd p = {udp->fd, 0, 0};
    cr_assert_eq(poll(&p, 1, 2000), 1, "no ICMP error came");
    cr_assert_neq(p.revents & POLLERR, 0);
}

static void check_refused(unsigned family)
{
    struct udp a = open_on(family, 1), b = closed_port(family);
    struct aq_train t = train_to(&b, 0, 1200, 1200);
    uint32_t sent = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    wait_error(&a);
    udp_errors(&a, &io);
    cr_assert_eq(heard.count, 1);
    cr_assert_str_eq(heard.text, "connection refused");
    cr_assert_eq(memcmp(&heard.remote, &b.local, sizeof b.local), 0);
    cr_assert_eq(io.counts.unreachable, 1);
    struct pollfd p = {a.fd, 0, 0};
    cr_assert_eq(poll(&p, 1, 0), 0, "nothing is left that would wake the loop");
    udp_close(&a);
}

Test(udp, connection_refused_is_heard_v4)
{
    check_refused(4);
}
Test(udp, connection_refused_is_heard_v6)
{
    check_refused(6);
}

Test(udp, a_pending_error_costs_nobody_elses_datagram)
{
    struct udp a = open_on(4, 1), gone = closed_port(4), b = open_on(4, 1);
    struct aq_train t = train_to(&gone, 0, 1200, 1200);
    uint32_t sent = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    wait_error(&a);
    check_train(&a, &b, 1200, 1200);
    cr_assert_eq(io.counts.send_errors, 0);
    cr_assert_eq(heard.count, 1);
    /* The same for receiving: the error is stepped over, the datagram behind it comes. */
    sent = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    wait_error(&a);
    check_train(&b, &a, 700, 700);
    udp_close(&a);
    udp_close(&b);
}

/* ---- what a datagram brings ------------------------------------------------------------------ */

static void check_ecn(unsigned family)
{
    struct udp a = open_on(family, 1), b = open_on(family, 1);
    for (uint8_t ecn = 0; ecn <= 3; ecn++) {
        struct aq_train t = train_to(&b, 0, 5 * 500, 500);
        uint32_t sent = 0;
        t.ecn = ecn;
        cr_assert(udp_send(&a, &io, &t, &sent, 1));
        receive(&b, t.size);
        cr_assert_eq(got.bytes, t.size);
        cr_assert_eq(got.last.ecn, ecn);
    }
    udp_close(&a);
    udp_close(&b);
}

/* RFC 9000 §13.4, RFC 3168 §5: each mark out is the same mark in. */
Test(udp, ecn_both_ways_v4)
{
    check_ecn(4);
}
Test(udp, ecn_both_ways_v6)
{
    check_ecn(6);
}

static void check_ttl(unsigned family)
{
    struct udp a = open_on(family, 1), c = open_on(family, 1);
    options.recv_ttl = true;
    struct udp b = open_on(family, 1);
    struct aq_train t = train_to(&b, 0, 100, 100), other = train_to(&c, 0, 100, 100);
    uint32_t sent = 0;
    t.ttl = other.ttl = 7;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, 100);
    cr_assert_eq(got.last.ttl, 7);
    sent = 0;
    cr_assert(udp_send(&a, &io, &other, &sent, 1));
    receive(&c, 100);
    cr_assert_eq(got.bytes, 100);
    cr_assert_eq(got.last.ttl, 0, "nobody asked");
    sent = 0;
    t.ttl = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, 100);
    cr_assert_gt(got.last.ttl, 7, "0 is the socket's own");
    udp_close(&a);
    udp_close(&b);
    udp_close(&c);
}

Test(udp, ttl_both_ways_v4)
{
    check_ttl(4);
}
Test(udp, ttl_both_ways_v6)
{
    check_ttl(6);
}

/* RFC 9000 §9: a path is both addresses, so a datagram must bring both. */
Test(udp, packet_info_names_the_local_address_and_answers_leave_from_it)
{
    struct udp a = open_on(4, 1), b = open_on(4, 0);
    struct udp alias = b;
    alias.local = address(4, 77, b.local.port);
    b.index = 9;
    struct aq_train t = train_to(&alias, 0, 1200, 1200);
    uint32_t sent = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, 1200);
    cr_assert_eq(memcmp(&got.last.local, &alias.local, sizeof alias.local), 0);
    cr_assert_eq(memcmp(&got.last.remote, &a.local, sizeof a.local), 0);
    cr_assert_eq(got.last.ifindex, 0, "the routes decide");
    cr_assert_eq(got.last.socket, 9);

    struct aq_train answer = train_to(&a, 0, 3 * 300, 300);
    answer.local = got.last.local;
    answer.ifindex = if_nametoindex("lo");
    sent = 0;
    cr_assert(udp_send(&b, &io, &answer, &sent, 1));
    receive(&a, 900);
    cr_assert_eq(got.bytes, 900);
    cr_assert_eq(memcmp(&got.last.remote, &alias.local, sizeof alias.local), 0);
    udp_close(&a);
    udp_close(&b);
}

Test(udp, packet_info_v6)
{
    options.recv_ttl = true;
    struct udp a = open_on(6, 1), b = open_on(6, 0);
    struct udp to = b;
    to.local = address(6, 1, b.local.port);
    struct aq_train t = train_to(&to, 0, 1200, 1200);
    uint32_t sent = 0;
    t.local = a.local;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, 1200);
    cr_assert_eq(memcmp(&got.last.local, &to.local, sizeof to.local), 0);
    cr_assert_eq(got.last.ifindex, 0);
    struct aq_train answer = train_to(&a, 0, 900, 300);
    answer.local = got.last.local;
    answer.ecn = AQ_ECN_ECT0;
    answer.ttl = 9;
    sent = 0;
    cr_assert(udp_send(&b, &io, &answer, &sent, 1));
    receive(&a, 900);
    cr_assert_eq(got.bytes, 900);
    cr_assert_eq(got.last.ecn, AQ_ECN_ECT0);
    cr_assert_eq(got.last.ttl, 9);
    udp_close(&a);
    udp_close(&b);
}

Test(udp, useless_datagrams_are_left_out)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    union udp_name name;
    socklen_t size = udp_to_sockaddr(&b.local, &name);
    struct aq_buffer buffers[3] = {{memory[0], 100}, {memory[1], 100}, {memory[2], 100}};
    struct aq_datagram datagrams[3];
    struct pollfd p = {b.fd, POLLIN, 0};
    bool more;
    cr_assert_eq(sendto(a.fd, sent_bytes, 200, 0, &name.any, size),
                 200);                                                /* larger than the buffer */
    cr_assert_eq(sendto(a.fd, sent_bytes, 0, 0, &name.any, size), 0); /* empty */
    cr_assert_eq(sendto(a.fd, sent_bytes, 90, 0, &name.any, size), 90);
    cr_assert_eq(poll(&p, 1, 1000), 1);
    cr_assert_eq(udp_recv(&b, &io, buffers, datagrams, 3, &more), 1);
    cr_assert(more, "the batch was full");
    cr_assert_eq(datagrams[0].size, 90);
    cr_assert_eq(datagrams[0].data, memory[2]);
    cr_assert_eq(io.counts.truncated, 1);
    cr_assert_eq(udp_recv(&b, &io, buffers, datagrams, 3, &more), 0);
    cr_assert_not(more);
    udp_close(&a);
    udp_close(&b);
}

Test(udp, dropped_by_a_full_buffer_is_counted)
{
    options.buffer_bytes = 4096;
    options.no_gso = true;
    struct udp b = open_on(4, 1);
    options.buffer_bytes = 1u << 20;
    struct udp a = open_on(4, 1);
    struct aq_train t = train_to(&b, 0, 60 * 1200, 1200);
    uint32_t sent = 0;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, t.size);
    cr_assert_lt(got.bytes, t.size);
    check_train(&a, &b, 100, 100); /* the kernel tells with the next datagram */
    cr_assert_gt(io.counts.rxq_overflows, 0);
    udp_close(&a);
    udp_close(&b);
}

static void check_connected(unsigned family)
{
    struct udp a = open_on(family, 1), b = open_on(family, 1), c = open_on(family, 1);
    struct aq_train stranger = train_to(&a, 0, 100, 100);
    uint32_t sent = 0;
    udp_connect(&a, &b.local);
    cr_assert(udp_send(&c, &io, &stranger, &sent, 1));
    wait_error(&c); /* to a stranger the port is closed */
    check_train(&b, &a, 3 * 1200 + 7, 1200);
    check_train(&a, &b, 3 * 1200 + 7, 1200);
    check_train(&a, &c, 3 * 1200 + 7, 1200); /* a named destination still counts */
    udp_close(&a);
    udp_close(&b);
    udp_close(&c);
}

Test(udp, a_connected_socket_hears_its_peer_alone_v4)
{
    check_connected(4);
}
Test(udp, a_connected_socket_hears_its_peer_alone_v6)
{
    check_connected(6);
}

/* ---- opening --------------------------------------------------------------------------------- */

Test(udp, a_taken_port_is_said_clearly)
{
    struct udp a = open_on(4, 1), b;
    char error[256], expect[128];
    snprintf(expect, sizeof expect, "cannot listen on 127.0.0.1:%u: port in use", a.local.port);
    cr_assert_eq(udp_open(&b, &a.local, &options, error, sizeof error), EADDRINUSE);
    cr_assert_eq(strncmp(error, expect, strlen(expect)), 0, "%s", error);
    cr_assert_eq(b.fd, -1);
    udp_close(&a);
}

Test(udp, ipv6_sockets_leave_ipv4_ports_alone)
{
    struct udp a = open_on(6, 0), b;
    char error[256];
    struct aq_addr same = address(4, 0, a.local.port);
    cr_assert_eq(udp_open(&b, &same, &options, error, sizeof error), 0, "%s", error);
    udp_close(&a);
    udp_close(&b);
}

Test(udp, bad_addresses_are_said_clearly)
{
    struct udp b;
    char error[256];
    struct aq_addr a = address(4, 1, 0);
    a.ip[0] = 192; /* 192.0.0.1: nobody's */
    cr_assert_eq(udp_open(&b, &a, &options, error, sizeof error), EADDRNOTAVAIL);
    cr_assert_not_null(strstr(error, "no such address"));
    a.family = 0;
    cr_assert_neq(udp_open(&b, &a, &options, error, sizeof error), 0);
    cr_assert_not_null(strstr(error, "no family"));
    cr_assert_neq(udp_open(&b, &a, &options, NULL, 0), 0, "error may be left out");
}

Test(udp, the_granted_buffer_is_told)
{
    struct udp a = open_on(4, 1);
    cr_assert_gt(a.granted_bytes, 0);
    options.buffer_bytes = UINT32_MAX; /* more than any kernel gives */
    struct udp b = open_on(4, 1);
    cr_assert_lt(b.granted_bytes, UINT32_MAX);
    udp_close(&a);
    udp_close(&b);
}

Test(udp, route_to_loopback)
{
    for (unsigned family = 4; family <= 6; family += 2) {
        struct aq_addr remote = address(family, 1, 4433), local, expect = address(family, 1, 0);
        cr_assert_eq(udp_route(&remote, &local), 0);
        cr_assert_eq(memcmp(&local, &expect, sizeof expect), 0);
    }
}

Test(udp, addresses_survive_the_round_trip)
{
    struct aq_addr v6 = address(6, 5, 65535), v4 = address(4, 200, 1), back;
    union udp_name name;
    v6.scope_id = 3;
    cr_assert_eq(udp_to_sockaddr(&v6, &name), sizeof name.v6);
    cr_assert(udp_from_sockaddr(&name, &back));
    cr_assert_eq(memcmp(&v6, &back, sizeof back), 0);
    cr_assert_eq(udp_to_sockaddr(&v4, &name), sizeof name.v4);
    cr_assert(udp_from_sockaddr(&name, &back));
    cr_assert_eq(memcmp(&v4, &back, sizeof back), 0);
    name.any.sa_family = AF_UNIX;
    cr_assert_not(udp_from_sockaddr(&name, &back));
    cr_assert_eq(back.family, 0);
}
