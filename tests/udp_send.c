/* udp_send.c -- tests reactor/udp_send.c on loopback: real sockets, real GSO, both address
 * families.
 *
 * Errors that loopback does not make by itself come from two honest places: a socket that sends
 * without checksums, to which the kernel refuses GSO, and a seccomp filter that fails one
 * descriptor's send calls in one thread. Where the kernel lacks GSO or GRO the same bytes must
 * arrive all the same. */
#include "tests/udp_pair.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

TestSuite(udp_send, .init = setup, .timeout = 20);

/* ---- trains ---------------------------------------------------------------------------------- */

static void check_gso(unsigned family)
{
    struct udp a = open_on(family, 1), b = open_on(family, 1);
    check_train(&a, &b, 40 * 1200 + 500, 1200);
    if (a.gso) {
        cr_assert_eq(io.counts.send_calls, 1);
    }
    if (a.gso && b.gro) {
        cr_assert_lt(got.messages, got.datagrams, "GRO joined nothing");
        cr_assert_gt(io.counts.gro_packets, 0);
    }
    cr_assert_eq(io.counts.send_packets, 41);
    cr_assert_eq(io.counts.recv_packets, 41);
    cr_assert_eq(io.counts.send_bytes, 40 * 1200 + 500);
    cr_assert_eq(io.counts.recv_bytes, 40 * 1200 + 500);
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, gso_train_arrives_v4)
{
    check_gso(4);
}
Test(udp_send, gso_train_arrives_v6)
{
    check_gso(6);
}

static void check_sizes(unsigned family)
{
    static const struct {
        uint32_t size;
        uint16_t segment;
    } rows[] = {
        {1, 1},             /* one byte */
        {1200, 1200},       /* one datagram */
        {1201, 1200},       /* a tail of one byte */
        {64 * 100, 100},    /* as many segments as one call takes */
        {65 * 100, 100},    /* one more */
        {200 * 100, 100},   /* three calls' worth */
        {54 * 1200, 1200},  /* as many bytes as one call takes */
        {60 * 1200, 1200},  /* more than a UDP length can say */
        {65487, 65487},     /* the largest IPv6 datagram here */
        {2 * 40000, 40000}, /* two that do not fit one call */
    };
    struct udp a = open_on(family, 1), b = open_on(family, 1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_train(&a, &b, rows[i].size, rows[i].segment);
    cr_assert_eq(io.counts.send_errors, 0);
    cr_assert_eq(io.counts.gso_fallbacks, 0);
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, train_sizes_at_the_limits_v4)
{
    check_sizes(4);
}
Test(udp_send, train_sizes_at_the_limits_v6)
{
    check_sizes(6);
}

Test(udp_send, trains_of_mixed_sizes_in_one_call)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    struct aq_train t[5];
    uint32_t sent[5] = {0};
    static const uint16_t expect[] = {1200, 1200, 300, 1400, 50, 50, 50, 7, 1452};
    t[0] = train_to(&b, 0, 2700, 1200);
    t[1] = train_to(&b, 2700, 1400, 1400);
    t[2] = train_to(&b, 4100, 150, 50);
    t[3] = train_to(&b, 4250, 7, 50);
    t[4] = train_to(&b, 4257, 1452, 1452);
    t[4].flags = AQ_TRAIN_NO_GSO;
    cr_assert(udp_send(&a, &io, t, sent, 5));
    receive(&b, 5709);
    cr_assert_eq(got.bytes, 5709);
    cr_assert_eq(memcmp(got_bytes, sent_bytes, 5709), 0);
    cr_assert_eq(got.datagrams, sizeof expect / sizeof *expect);
    cr_assert_eq(memcmp(got.sizes, expect, sizeof expect), 0);
    if (a.gso)
        cr_assert_eq(io.counts.send_calls, 1);
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, an_interrupted_train_goes_on_at_its_offset)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    struct aq_train t = train_to(&b, 0, 10 * 1000, 1000);
    uint32_t sent = 3000;
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, 7000);
    cr_assert_eq(got.bytes, 7000);
    cr_assert_eq(memcmp(got_bytes, sent_bytes + 3000, 7000), 0);
    uint64_t calls = io.counts.send_calls;
    cr_assert(udp_send(&a, &io, &t, &sent, 1), "nothing is left");
    cr_assert_eq(io.counts.send_calls, calls);
    udp_close(&a);
    udp_close(&b);
}

/* ---- the fallback ---------------------------------------------------------------------------- */

static void check_switched_off(bool no_gso, bool no_gro)
{
    options.no_gso = no_gso;
    options.no_gro = no_gro;
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    check_train(&a, &b, 100 * 1200 + 1, 1200);
    if (no_gro)
        cr_assert_eq(got.messages, got.datagrams);
    cr_assert_eq(io.counts.send_packets, 101);
    cr_assert_eq(io.counts.gso_fallbacks, 0);
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, without_gso)
{
    check_switched_off(true, false);
}
Test(udp_send, without_gro)
{
    check_switched_off(false, true);
}
Test(udp_send, without_both)
{
    check_switched_off(true, true);
}

/* The kernel answers EINVAL to GSO on a socket that sends without checksums. */
static void refuse_gso(const struct udp *udp)
{
    int on = 1;
    cr_assert_eq(setsockopt(udp->fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
}

Test(udp_send, refused_gso_falls_back_and_loses_nothing)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    if (!a.gso)
        cr_skip_test("this kernel has no UDP GSO");
    refuse_gso(&a);
    check_train(&a, &b, 30 * 1200 + 9, 1200);
    cr_assert_eq(io.counts.gso_fallbacks, 1);
    cr_assert_eq(a.no_gso_count, 1);
    check_train(&a, &b, 30 * 1200 + 9, 1200);
    cr_assert_eq(io.counts.gso_fallbacks, 1, "the destination is remembered");
    cr_assert_eq(io.counts.send_errors, 0);
    cr_assert_eq(heard.count, 0);
    udp_close(&a);
    udp_close(&b);
}

/* Seven trains of one datagram each: what goes to one place in one size shares a message, whose
 * last datagram may be shorter. */
static unsigned send_singles(struct udp *a, const struct udp *b, const struct udp *c)
{
    static const uint16_t sizes[] = {80, 80, 80, 60, 80, 90, 90};
    struct aq_train t[7];
    uint32_t sent[7] = {0}, at = 0;
    for (unsigned i = 0; i < 7; i++, at += sizes[i - 1])
        t[i] = train_to(i == 4 ? c : b, at, sizes[i], sizes[i]);
    t[6].ecn = AQ_ECN_ECT0; /* marked otherwise */
    cr_assert(udp_send(a, &io, t, sent, 7));
    for (unsigned i = 0; i < 7; i++)
        cr_assert_eq(sent[i], sizes[i]);
    return at;
}

static void check_singles(struct udp *b, struct udp *c)
{
    static const uint16_t to_b[] = {80, 80, 80, 60, 90, 90};
    receive(c, 80);
    cr_assert_eq(got.bytes, 80);
    cr_assert_eq(memcmp(got_bytes, sent_bytes + 300, 80), 0);
    receive(b, 480);
    cr_assert_eq(got.bytes, 480);
    cr_assert_eq(memcmp(got_bytes, sent_bytes, 300), 0);
    cr_assert_eq(memcmp(got_bytes + 300, sent_bytes + 380, 180), 0);
    cr_assert_eq(got.datagrams, 6);
    cr_assert_eq(memcmp(got.sizes, to_b, sizeof to_b), 0);
    cr_assert_eq(got.last.ecn, AQ_ECN_ECT0);
    cr_assert_eq(io.counts.send_packets, 7);
    cr_assert_eq(io.counts.send_bytes, 560);
    cr_assert_eq(io.counts.send_errors, 0);
}

Test(udp_send, single_datagrams_to_one_place_share_a_message)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1), c = open_on(4, 1);
    cr_assert_eq(send_singles(&a, &b, &c), 560);
    check_singles(&b, &c);
    cr_assert_eq(io.counts.send_calls, 1);
    if (a.gso && b.gro)
        cr_assert_eq(got.messages, 3);
    udp_close(&a);
    udp_close(&b);
    udp_close(&c);
}

Test(udp_send, what_shared_a_message_goes_alone_where_gso_is_refused)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1), c = open_on(4, 1);
    if (!a.gso)
        cr_skip_test("this kernel has no UDP GSO");
    refuse_gso(&a);
    (void)send_singles(&a, &b, &c);
    check_singles(&b, &c);
    cr_assert_eq(got.messages, 6);
    cr_assert_eq(io.counts.gso_fallbacks, 1);
    udp_close(&a);
    udp_close(&b);
    udp_close(&c);
}

Test(udp_send, refused_gso_to_many_hosts_is_the_sockets_fault)
{
    struct udp a = open_on(4, 0), b = open_on(4, 0);
    if (!a.gso)
        cr_skip_test("this kernel has no UDP GSO");
    refuse_gso(&a);
    for (uint8_t host = 1; host <= UDP_NO_GSO_MAX + 2; host++) {
        struct udp to = b;
        to.local = address(4, host, b.local.port);
        check_train(&a, &to, 5 * 1000, 1000);
    }
    cr_assert_not(a.gso);
    cr_assert_eq(io.counts.gso_fallbacks, UDP_NO_GSO_MAX + 1);
    cr_assert_eq(io.counts.send_errors, 0);
    udp_close(&a);
    udp_close(&b);
}

/* ---- errors that a filter makes -------------------------------------------------------------- */

struct filtered {
    struct udp *udp;
    const struct aq_train *train;
    uint32_t *sent;
    unsigned error;
    bool installed, result;
};

/* From here on this thread's sendmsg and sendmmsg on that descriptor fail with that errno. */
static bool install_filter(int fd, unsigned error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmmsg, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)fd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
           && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static void *send_filtered(void *user)
{
    struct filtered *f = user;
    f->installed = install_filter(f->udp->fd, f->error);
    if (f->installed)
        f->result = udp_send(f->udp, &io, f->train, f->sent, 1);
    return NULL;
}

static bool send_failing(struct udp *udp, const struct aq_train *train, uint32_t *sent,
                         unsigned error)
{
    struct filtered f = {udp, train, sent, error, false, false};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, send_filtered, &f), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    if (!f.installed)
        cr_skip_test("no seccomp here");
    return f.result;
}

/* RFC 9002 §6: what the host could not send is loss, told to the core and otherwise forgotten. */
static void check_loss(unsigned error, const char *text)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    struct aq_train t = train_to(&b, 0, 10 * 1200, 1200);
    uint32_t sent = 0;
    cr_assert(send_failing(&a, &t, &sent, error), "loss is no reason to wait");
    cr_assert_eq(sent, t.size);
    cr_assert_gt(io.counts.send_errors, 0);
    cr_assert_eq(io.counts.send_packets, 0);
    cr_assert_gt(heard.count, 0);
    cr_assert_str_eq(heard.text, text);
    cr_assert_eq(memcmp(&heard.remote, &b.local, sizeof b.local), 0);
    check_train(&a, &b, 10 * 1200, 1200); /* and it goes on */
    cr_assert_eq(a.no_gso_count, 0);
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, eperm_counts_as_loss)
{
    check_loss(EPERM, "sending not permitted (firewall)");
}
Test(udp_send, enetunreach_counts_as_loss)
{
    check_loss(ENETUNREACH, "network unreachable");
}
Test(udp_send, ehostunreach_counts_as_loss)
{
    check_loss(EHOSTUNREACH, "host unreachable");
}
Test(udp_send, econnrefused_counts_as_loss)
{
    check_loss(ECONNREFUSED, "connection refused");
}
Test(udp_send, enobufs_counts_as_loss)
{
    check_loss(ENOBUFS, "no buffer space in the kernel");
}
/* Not GSO's fault when single datagrams fail in the same way: the destination is forgotten again.
 */
Test(udp_send, eio_of_everything_is_not_gso)
{
    check_loss(EIO, "sending failed");
}

Test(udp_send, emsgsize_is_a_lost_probe_and_nothing_else)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    struct aq_train t = train_to(&b, 0, 1400, 1400);
    uint32_t sent = 0;
    cr_assert(send_failing(&a, &t, &sent, EMSGSIZE));
    cr_assert_eq(io.counts.send_errors, 1);
    cr_assert_eq(heard.count, 0, "RFC 9000 §14.2.1: only the missing answer tells");
    udp_close(&a);
    udp_close(&b);
}

Test(udp_send, eagain_keeps_the_train)
{
    struct udp a = open_on(4, 1), b = open_on(4, 1);
    struct aq_train t = train_to(&b, 0, 10 * 1200, 1200);
    uint32_t sent = 0;
    cr_assert_not(send_failing(&a, &t, &sent, EAGAIN));
    cr_assert_eq(sent, 0);
    cr_assert_eq(io.counts.send_errors, 0);
    cr_assert(udp_send(&a, &io, &t, &sent, 1));
    receive(&b, t.size);
    cr_assert_eq(got.bytes, t.size);
    cr_assert_eq(memcmp(got_bytes, sent_bytes, t.size), 0);
    udp_close(&a);
    udp_close(&b);
}
