/* boxes.c -- tests the simulated Internet itself: ways, NAT boxes by RFC 4787, and that the checks
 * of check.c can fail. What runs on the hosts here is nothing but a list of what has arrived. */
#include "tests/natsim/box.h"

#include "core/addr.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(boxes, .timeout = 30);

enum {
    ARRIVED = 64
};
struct aq_loop {
    struct host *host;
    struct aq_addr from[ARRIVED], to[ARRIVED];
    uint8_t ttl[ARRIVED];
    unsigned count;
};

void loop_arrived(struct aq_loop *loop, struct flight *flight)
{
    if (loop->count < ARRIVED) {
        loop->from[loop->count] = flight->from;
        loop->to[loop->count] = flight->to;
        loop->ttl[loop->count++] = flight->ttl;
    }
    check_received(loop->host, &flight->from);
    free(flight);
}

void loop_run_turn(struct aq_loop *loop)
{
    (void)loop;
}

void loop_hosts_changed(struct aq_loop *loop)
{
    (void)loop;
}

static struct world *world;
static struct aq_loop loops[8];

static struct host *host_behind(struct box *box)
{
    struct host *host = world_host(world, box);
    struct aq_loop *loop = &loops[host->index];
    *loop = (struct aq_loop){.host = host};
    host->loop = loop;
    return host;
}

static void begin(void)
{
    world = world_new(1, NULL);
}

static void end(void)
{
    for (unsigned i = 0; i < world->hosts; i++)
        world->host[i]->loop = NULL;
    world_free(world);
}

static struct aq_addr port_of(struct aq_addr addr, uint16_t port)
{
    addr.port = port;
    return addr;
}

/* Sends size bytes from a port of the host's to there; true: the host could. */
static bool send_from(struct host *host, uint16_t port, struct aq_addr to, unsigned ttl)
{
    uint8_t data[64] = {0x31};
    struct aq_train train = {.data = data,
                             .size = 30,
                             .segment = 30,
                             .ttl = (uint8_t)ttl,
                             .local = port_of(host->addrs[to.family == 6], port),
                             .remote = to};
    return world_send(host, &train, 0, 30);
}

static void wait_for(uint64_t us)
{
    cr_assert(world_run(world, world->now_us + us), "%s", world->why);
}

/* What the host sees the other as, which sends to its port 5000. */
static struct aq_addr seen(struct host *from, uint16_t port, struct host *at)
{
    struct aq_loop *loop = at->loop;
    loop->count = 0;
    cr_assert(send_from(from, port, port_of(host_public(at), 5000), 0));
    wait_for(1000000);
    cr_assert_eq(loop->count, 1);
    cr_assert_eq(loop->to[0].port, 5000);
    return loop->from[0];
}

static bool arrives(struct host *from, uint16_t port, struct aq_addr to, struct host *at)
{
    at->loop->count = 0;
    cr_assert(send_from(from, port, to, 0));
    wait_for(1000000);
    return at->loop->count == 1;
}

static struct box *box_of(const char *kind)
{
    return box_new(world, box_kind(kind), NULL);
}

/* RFC 4787 §4.1: one outside port for a socket, or one for each remote; kept, counted, or any. */
Test(boxes, mapping)
{
    begin();
    struct host *a = host_behind(NULL), *b = host_behind(NULL);
    struct host *in = host_behind(box_of("port"));
    cr_assert(addr_equal(&(struct aq_addr){.family = 0}, &(struct aq_addr){.family = 0}));
    struct aq_addr one = seen(in, 4000, a), two = seen(in, 4000, b);
    cr_assert(addr_equal(&one, &two) && one.port == 4000);
    cr_assert(addr_same_ip(&one, &in->box->addr));
    struct host *random = host_behind(box_of("port-random"));
    one = seen(random, 4000, a), two = seen(random, 4000, b);
    cr_assert(addr_equal(&one, &two) && one.port != 4000);
    struct host *any = host_behind(box_of("symmetric"));
    one = seen(any, 4000, a), two = seen(any, 4000, b);
    cr_assert(one.port != two.port);
    struct aq_addr again = seen(any, 4000, a);
    cr_assert_eq(again.port, one.port);
    struct host *up = host_behind(box_of("symmetric-up"));
    one = seen(up, 4000, a), two = seen(up, 4000, b);
    cr_assert_eq(two.port, one.port + 1);
    struct host *linux_host = host_behind(box_of("linux"));
    one = seen(linux_host, 4000, a), two = seen(linux_host, 4000, b);
    cr_assert(one.port == 4000 && two.port == 4000);
    end();
}

/* A block of 256 ports for each inside address; and an address with one mapping for all its ports.
 */
Test(boxes, mapping_blocks)
{
    begin();
    struct host *a = host_behind(NULL), *b = host_behind(NULL);
    struct host *in = host_behind(box_of("symmetric-block"));
    struct host *per_address = host_behind(box_of("symmetric-address"));
    unsigned first = 1024 + 256U * in->addrs[0].ip[3];
    for (uint16_t port = 4000; port < 4010; port++) {
        struct aq_addr one = seen(in, port, a);
        cr_assert(one.port >= first && one.port < first + 256);
    }
    struct aq_addr one = seen(per_address, 4000, a), two = seen(per_address, 4000, b);
    cr_assert_neq(one.port, two.port);
    end();
}

/* RFC 4787 §5: who may answer, and who may come unasked. */
Test(boxes, filter)
{
    static const struct {
        const char *kind;
        bool stranger, other_port;
    } rows[] = {{"full-cone", true, true},   {"address", false, true},
                {"port", false, false},      {"linux", false, false},
                {"symmetric", false, false}, {"symmetric-address", false, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin();
        struct host *a = host_behind(NULL), *b = host_behind(NULL);
        struct host *in = host_behind(box_of(rows[i].kind));
        struct aq_addr outside = seen(in, 4000, a);
        cr_assert(arrives(a, 5000, outside, in));
        cr_assert_eq(arrives(a, 5001, outside, in), rows[i].other_port, "%s", rows[i].kind);
        cr_assert_eq(arrives(b, 5000, outside, in), rows[i].stranger, "%s", rows[i].kind);
        cr_assert_eq(in->loop->from[0].port, in->loop->count ? 5000 : in->loop->from[0].port);
        end();
    }
}

/* RFC 4787 §4.3: two minutes without a datagram from inside; a reboot forgets at once. */
Test(boxes, forgets)
{
    begin();
    struct host *a = host_behind(NULL), *in = host_behind(box_of("port"));
    struct aq_addr outside = seen(in, 4000, a);
    wait_for(100000000);
    cr_assert(arrives(a, 5000, outside, in)); /* which does not refresh it */
    wait_for(15000000);
    cr_assert(arrives(a, 5000, outside, in));
    wait_for(10000000);
    cr_assert_not(arrives(a, 5000, outside, in));
    outside = seen(in, 4000, a);
    box_reboot(in->box);
    cr_assert_not(arrives(a, 5000, outside, in));
    outside = seen(in, 4000, a);
    struct aq_addr before = in->box->addr;
    box_readdress(in->box);
    cr_assert_not(addr_same_ip(&before, &in->box->addr));
    cr_assert_not(arrives(a, 5000, outside, in));
    end();
}

/* RFC 4787 §6: two behind one box, by its outside address. */
Test(boxes, hairpin)
{
    begin();
    struct host *a = host_behind(NULL);
    struct box *box = box_of("port-hairpin");
    struct host *one = host_behind(box), *two = host_behind(box);
    struct aq_addr first = seen(one, 4000, a), second = seen(two, 4001, a);
    cr_assert_not(arrives(one, 4000, second, two)); /* two has not sent there yet */
    cr_assert(arrives(two, 4001, first, one));
    cr_assert(addr_equal(&one->loop->from[0], &second)); /* REQ-9: the outside address */
    cr_assert(arrives(one, 4000, second, two));
    struct box *plain = box_of("port");
    struct host *three = host_behind(plain), *four = host_behind(plain);
    first = seen(three, 4000, a), second = seen(four, 4001, a);
    cr_assert_not(arrives(three, 4000, second, four) || arrives(four, 4001, first, three));
    /* Inside they reach each other in any case. */
    cr_assert(arrives(three, 4000, port_of(four->addrs[0], 4001), four));
    end();
}

Test(boxes, in_a_row)
{
    begin();
    struct host *a = host_behind(NULL);
    struct box *carrier = box_of("port-hairpin");
    struct box *home = box_new(world, box_kind("port"), carrier);
    struct box *next = box_new(world, box_kind("port"), carrier);
    struct host *one = host_behind(home), *two = host_behind(next);
    struct aq_addr first = seen(one, 4000, a), second = seen(two, 4000, a);
    cr_assert(addr_same_ip(&first, &carrier->addr) && addr_same_ip(&second, &carrier->addr));
    cr_assert_neq(first.port, second.port); /* the second is not free */
    cr_assert(arrives(a, 5000, first, one) && arrives(a, 5000, second, two));
    (void)arrives(one, 4000, second, two);
    cr_assert(arrives(two, 4000, first, one)); /* through the carrier's hairpin */
    end();
}

/* NAT.md §5, two phases: what comes unasked takes the tuple, and the punch fails for good; openers
 * that die on the way come first, and it works. */
Test(boxes, open_input)
{
    begin();
    struct host *in = host_behind(box_of("linux-open")), *other = host_behind(box_of("linux"));
    struct aq_addr to = port_of(other->box->addr, 6000), outside = port_of(in->box->addr, 4000);
    cr_assert_not(arrives(other, 6000, outside, in)); /* takes it */
    cr_assert_not(arrives(in, 4000, to, other));      /* comes from another port */
    cr_assert(in->box->stole > 0 && in->box->mappings[0].port != 4000);
    cr_assert_not(arrives(other, 6000, outside, in));
    end();
    begin();
    in = host_behind(box_of("linux-open")), other = host_behind(box_of("linux"));
    to = port_of(other->box->addr, 6000), outside = port_of(in->box->addr, 4000);
    cr_assert(send_from(in, 4000, to, 2) && send_from(other, 6000, outside, 2));
    wait_for(1000000);
    cr_assert(in->loop->count == 0 && other->loop->count == 0);
    cr_assert(arrives(other, 6000, outside, in));
    cr_assert(arrives(in, 4000, to, other));
    end();
}

/* One hop less opens nothing; the Internet's routers count, too. */
Test(boxes, ttl)
{
    begin();
    struct host *a = host_behind(NULL), *in = host_behind(box_of("port"));
    struct aq_addr to = port_of(a->addrs[0], 5000);
    cr_assert(send_from(in, 4000, to, 1));
    cr_assert_eq(in->box->count, 0);
    cr_assert(send_from(in, 4000, to, 2));
    cr_assert_eq(in->box->count, 1);
    cr_assert(send_from(in, 4000, to, 1 + world->hops));
    wait_for(1000000);
    cr_assert_eq(a->loop->count, 0);
    cr_assert(send_from(in, 4000, to, 2 + world->hops));
    wait_for(1000000);
    cr_assert(a->loop->count == 1 && a->loop->ttl[0] == 1);
    (void)seen(in, 4000, a);
    cr_assert_eq(a->loop->ttl[0], 64 - 1 - world->hops);
    end();
}

/* IPv6 keeps its addresses, and answers only come to who asked. */
Test(boxes, ipv6)
{
    begin();
    world->ipv6 = true;
    struct host *one = host_behind(box_of("full-cone")), *two = host_behind(box_of("linux"));
    struct aq_addr first = port_of(one->addrs[1], 4000), second = port_of(two->addrs[1], 4001);
    cr_assert_not(arrives(one, 4000, second, two));
    cr_assert(arrives(two, 4001, first, one));
    cr_assert(addr_equal(&one->loop->from[0], &second));
    cr_assert(arrives(one, 4000, second, two));
    end();
}

Test(boxes, interfaces_and_cuts)
{
    begin();
    struct host *a = host_behind(NULL), *b = host_behind(NULL), *in = host_behind(box_of("port"));
    struct aq_addr to = port_of(b->addrs[0], 5000);
    world_set_cut(world, host_site(a), host_site(b), true);
    cr_assert_not(arrives(a, 4000, to, b));
    cr_assert(arrives(in, 4000, to, b));
    world_set_cut(world, host_site(b), host_site(a), false);
    cr_assert(arrives(a, 4000, to, b));
    world_set_cut(world, host_site(in), host_site(b), true);
    cr_assert_not(arrives(in, 4000, to, b));
    host_set_down(a, true);
    cr_assert_not(send_from(a, 4000, to, 0));
    host_set_down(a, false);
    host_set_down(b, true);
    cr_assert_not(arrives(a, 4000, to, b));
    host_set_down(b, false);
    struct aq_addr old = a->addrs[0];
    host_readdress(a);
    cr_assert_not(host_owns(a, &old));
    struct host *blocked = host_behind(box_of("blocked"));
    cr_assert_not(arrives(blocked, 4000, to, b));
    end();
}

/* ---- the checks can fail (PROTOCOL §5) ---------------------------------------------------------
 */

static void expect(const char *words)
{
    cr_assert(world->failed == (words != NULL), "%s", world->why);
    cr_assert(words == NULL || strstr(world->why, words) != NULL, "%s", world->why);
    end();
}

static const struct aq_addr self = {.family = 4, .ip = {192, 168, 1, 2}, .port = 4000};
static const struct aq_addr nobody = {.family = 4, .ip = {45, 99, 1, 2}, .port = 2000};

Test(boxes, check_budget)
{
    static const uint8_t data[30] = {0x31};
    for (unsigned late = 0; late < 2; late++) {
        begin();
        struct host *a = host_behind(NULL);
        for (unsigned i = 0; i < 13; i++) {
            struct aq_addr to = port_of(nobody, (uint16_t)(2000 + i)); /* whatever the port */
            cr_assert_not(world->failed);
            check_sent(a, &self, &to, data, sizeof data);
            world->now_us += i == 0 && late == 0 ? 4999999 : 5000000;
        }
        expect(late ? NULL : "13th in a minute");
    }
}

Test(boxes, check_size)
{
    static const uint8_t data[65] = {0x40};
    begin();
    check_sent(host_behind(NULL), &self, &nobody, data, 64);
    expect(NULL);
    begin();
    check_sent(host_behind(NULL), &self, &nobody, data, 65);
    expect("more than 64 bytes");
    begin(); /* who was named by the user, and who has answered */
    struct host *a = host_behind(NULL);
    check_may_dial(a, &nobody);
    check_sent(a, &self, &nobody, data, 65);
    expect(NULL);
    begin();
    a = host_behind(NULL);
    check_received(a, &nobody);
    check_sent(a, &self, &nobody, data, 65);
    expect(NULL);
    begin();
    a = host_behind(NULL);
    struct host *boot = host_behind(NULL);
    boot->role = HOST_BOOT;
    struct aq_addr to = port_of(boot->addrs[0], 4433);
    check_sent(a, &self, &to, data, 65);
    expect(NULL);
}

Test(boxes, check_targets)
{
    static const struct {
        struct aq_addr to;
        const char *words;
    } rows[] = {
        {{.family = 4, .ip = {127, 0, 0, 1}, .port = 4000}, "forbidden"},
        {{.family = 4, .ip = {224, 0, 0, 1}, .port = 4000}, "forbidden"},
        {{.family = 4, .ip = {255, 255, 255, 255}, .port = 4000}, "forbidden"},
        {{.family = 4, .ip = {169, 254, 1, 1}, .port = 4000}, "forbidden"},
        {{.family = 4, .ip = {0, 0, 0, 0}, .port = 4000}, "forbidden"},
        {{.family = 6, .ip = {0xff, 2}, .port = 4000}, "forbidden"},
        {{.family = 6, .ip = {0xfe, 0x80}, .port = 4000}, "forbidden"},
        {{.family = 6, .ip = {0}, .port = 4000}, "forbidden"},
        {{.family = 4, .ip = {45, 99, 1, 2}, .port = 1023}, "low port"},
        {{.family = 4, .ip = {45, 99, 1, 2}, .port = 1024}, NULL},
        {{.family = 4, .ip = {10, 1, 1, 1}, .port = 4000}, "private"},
        {{.family = 4, .ip = {172, 16, 1, 1}, .port = 4000}, "private"},
        {{.family = 4, .ip = {172, 32, 1, 1}, .port = 4000}, NULL},
        {{.family = 4, .ip = {100, 64, 1, 1}, .port = 4000}, "private"},
        {{.family = 6, .ip = {0xfd, 1}, .port = 4000}, "private"},
        {{.family = 4, .ip = {192, 168, 1, 2}, .port = 4000}, "its own"},
        {{.family = 4, .ip = {192, 168, 1, 2}, .port = 4001}, NULL},
        {{.family = 4, .ip = {192, 168, 1, 3}, .port = 4000}, NULL}, /* its neighbour's */
        {{.family = 4, .ip = {192, 168, 1, 4}, .port = 4000}, "private"},
    };
    static const uint8_t data[30] = {0x31};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        begin();
        struct box *box = box_of("port");
        struct host *in = host_behind(box);
        (void)host_behind(box);
        (void)host_behind(box_of("port"));
        check_sent(in, &self, &rows[i].to, data, sizeof data);
        expect(rows[i].words);
    }
}

/* A bootstrap node writes to nobody who has not written to it, from that very port. */
Test(boxes, check_bootstrap)
{
    static const uint8_t data[30] = {0x31};
    for (unsigned i = 0; i < 2; i++) {
        begin();
        struct host *boot = host_behind(NULL);
        boot->role = HOST_BOOT;
        struct aq_addr from = port_of(nobody, (uint16_t)(2000 + i));
        check_received(boot, &from);
        check_sent(boot, &self, &nobody, data, sizeof data);
        expect(i == 0 ? NULL : "has never written");
    }
}
