/* nat_cand.c -- tests of nat/cand.c: classes at both ends of each range, what may be probed, order,
 * prediction. */
#include "nat/cand.h"

#include "core/addr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

static struct aq_addr at(const char *text, uint16_t port)
{
    struct aq_addr a = {.port = port, .family = strchr(text, ':') ? 6 : 4};
    cr_assert_eq(inet_pton(a.family == 4 ? AF_INET : AF_INET6, text, a.ip), 1, "%s", text);
    return a;
}

/* PROTOCOL §5: RFC 1918, RFC 6598, RFC 4193, RFC 3927 and what is nobody's, first and last of each.
 */
Test(nat_cand, classes)
{
    static const struct {
        const char *text;
        enum addr_class expect;
    } rows[] = {
        {"0.0.0.0", ADDR_FORBIDDEN},      {"0.255.255.255", ADDR_FORBIDDEN},
        {"1.0.0.0", ADDR_PUBLIC},         {"9.255.255.255", ADDR_PUBLIC},
        {"10.0.0.0", ADDR_PRIVATE},       {"10.255.255.255", ADDR_PRIVATE},
        {"11.0.0.0", ADDR_PUBLIC},        {"100.63.255.255", ADDR_PUBLIC},
        {"100.64.0.0", ADDR_PRIVATE},     {"100.127.255.255", ADDR_PRIVATE},
        {"100.128.0.0", ADDR_PUBLIC},     {"126.255.255.255", ADDR_PUBLIC},
        {"127.0.0.1", ADDR_FORBIDDEN},    {"127.255.255.255", ADDR_FORBIDDEN},
        {"128.0.0.0", ADDR_PUBLIC},       {"169.253.255.255", ADDR_PUBLIC},
        {"169.254.0.0", ADDR_LINK_LOCAL}, {"169.254.255.255", ADDR_LINK_LOCAL},
        {"169.255.0.0", ADDR_PUBLIC},     {"172.15.255.255", ADDR_PUBLIC},
        {"172.16.0.0", ADDR_PRIVATE},     {"172.31.255.255", ADDR_PRIVATE},
        {"172.32.0.0", ADDR_PUBLIC},      {"192.167.255.255", ADDR_PUBLIC},
        {"192.168.0.0", ADDR_PRIVATE},    {"192.168.255.255", ADDR_PRIVATE},
        {"192.169.0.0", ADDR_PUBLIC},     {"223.255.255.255", ADDR_PUBLIC},
        {"224.0.0.0", ADDR_FORBIDDEN},    {"239.255.255.255", ADDR_FORBIDDEN},
        {"240.0.0.0", ADDR_FORBIDDEN},    {"255.255.255.255", ADDR_FORBIDDEN},
        {"::", ADDR_FORBIDDEN},           {"::1", ADDR_FORBIDDEN},
        {"::192.0.2.1", ADDR_FORBIDDEN},  {"::ffff:192.0.2.1", ADDR_FORBIDDEN},
        {"2001:db8::1", ADDR_PUBLIC},     {"fbff::1", ADDR_PUBLIC},
        {"fc00::1", ADDR_PRIVATE},        {"fdff::1", ADDR_PRIVATE},
        {"fe7f::1", ADDR_PUBLIC},         {"fe80::1", ADDR_LINK_LOCAL},
        {"febf::1", ADDR_LINK_LOCAL},     {"fec0::1", ADDR_PUBLIC},
        {"ff00::1", ADDR_FORBIDDEN},      {"ff02::1", ADDR_FORBIDDEN},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct aq_addr a = at(rows[i].text, 1);
        cr_expect_eq(addr_class(&a), rows[i].expect, "%s", rows[i].text);
    }
    cr_expect_eq(addr_class(&(struct aq_addr){.family = 0}), ADDR_FORBIDDEN);
}

static struct cand_list own;

static enum cand_verdict check(const char *mine, const char *theirs, struct aq_addr target)
{
    struct cand_scope scope = {.own = &own};
    if (mine)
        scope.own_observed = at(mine, 40000);
    if (theirs)
        scope.peer_observed = at(theirs, 500);
    return cand_check(&scope, &target);
}

/* PROTOCOL §5 */
Test(nat_cand, what_may_be_probed)
{
    struct aq_addr host = at("192.168.1.5", 4433);
    own.count = 0;
    cr_assert(cand_add(&own, &host, CAND_HOST));
    const char *us = "203.0.113.1", *them = "198.51.100.1";
    cr_expect_eq(check(us, them, at("198.51.100.1", 40000)), CAND_OK);
    cr_expect_eq(check(us, them, at("8.8.8.8", 40000)), CAND_OK, "the budget bounds it");
    /* never */
    cr_expect_eq(check(us, us, at("127.0.0.1", 40000)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, us, at("::1", 40000)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, us, at("224.0.0.251", 5353)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, us, at("255.255.255.255", 40000)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, us, at("169.254.1.1", 40000)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, us, at("fe80::1", 40000)), CAND_IS_FORBIDDEN);
    cr_expect_eq(check(us, them, at("8.8.8.8", 0)), CAND_IS_FORBIDDEN);
    /* our own */
    cr_expect_eq(check(us, us, host), CAND_IS_OWN);
    cr_expect_eq(check(us, us, at("203.0.113.1", 40000)), CAND_IS_OWN);
    cr_expect_eq(check(us, us, at("203.0.113.1", 40001)), CAND_OK, "the neighbour, by hairpin");
    /* low ports, unless a coordinator saw exactly that */
    cr_expect_eq(check(us, them, at("8.8.8.8", 1023)), CAND_LOW_PORT);
    cr_expect_eq(check(us, them, at("8.8.8.8", 1024)), CAND_OK);
    cr_expect_eq(check(us, them, at("198.51.100.1", 500)), CAND_OK);
    cr_expect_eq(check(us, them, at("198.51.100.1", 501)), CAND_LOW_PORT);
    /* private ones only inside one network */
    cr_expect_eq(check(us, them, at("192.168.1.6", 4433)), CAND_OUT_OF_SCOPE);
    cr_expect_eq(check(us, us, at("192.168.1.6", 4433)), CAND_OK);
    cr_expect_eq(check(us, us, at("100.64.0.9", 4433)), CAND_OK);
    cr_expect_eq(check(NULL, NULL, at("192.168.1.6", 4433)), CAND_OUT_OF_SCOPE);
    cr_expect_eq(check(us, "10.0.0.9", at("10.0.0.9", 4433)), CAND_OK,
                 "seen there by the coordinator");
    cr_expect_eq(check("2001:db8:1:1::1", "2001:db8:1:1::2", at("fd00::1", 4433)), CAND_OK);
    cr_expect_eq(check("2001:db8:1:1::1", "2001:db8:1:2::2", at("fd00::1", 4433)),
                 CAND_OUT_OF_SCOPE);
    cr_expect_eq(check(us, "2001:db8:1:2::2", at("fd00::1", 4433)), CAND_OUT_OF_SCOPE);
}

Test(nat_cand, lists)
{
    struct cand_list list = {.count = 0};
    for (unsigned i = 0; i < CANDS_MAX; i++) {
        struct aq_addr a = at("192.0.2.1", (uint16_t)(2000 + i));
        cr_expect(cand_add(&list, &a, CAND_OBSERVED));
        cr_expect(cand_add(&list, &a, CAND_HOST), "again");
        cr_expect(cand_add(&list, &a, CAND_PREDICTED), "and again");
        cr_expect_eq(list.v[i].kind, CAND_HOST, "the better kind stays");
    }
    struct aq_addr more = at("192.0.2.2", 2000);
    cr_expect_eq(list.count, CANDS_MAX);
    cr_expect_not(cand_add(&list, &more, CAND_HOST), "full");
    cr_expect_not(cand_has(&list, &more));
}

/* RFC 8445 §5.1.2, RFC 8445 §6.1.2.3 */
Test(nat_cand, priorities)
{
    struct cand before = {at("2001:db8::1", 1), CAND_HOST};
    for (unsigned kind = CAND_HOST; kind < CAND_KINDS; kind++) {
        struct cand six = {at("2001:db8::1", 1), (uint8_t)kind},
                    four = {at("192.0.2.1", 1), (uint8_t)kind};
        cr_expect_gt(cand_priority(&six), cand_priority(&four));
        if (kind > CAND_HOST)
            cr_expect_lt(cand_priority(&six), cand_priority(&before));
        before = four;
    }
    cr_expect_eq(cand_priority(&(struct cand){at("2001:db8::1", 1), CAND_HOST}),
                 126U << 24 | 65535U << 8 | 255);
    cr_expect_eq(cand_pair_priority(5, 3), (UINT64_C(3) << 32) + 10 + 1);
    cr_expect_eq(cand_pair_priority(3, 5), (UINT64_C(3) << 32) + 10);
    cr_expect_gt(cand_pair_priority(9, 4), cand_pair_priority(100, 3),
                 "the weaker of the two counts");
}

/* PROTOCOL §5: a NAT that counts up, by two samples. */
Test(nat_cand, prediction)
{
    uint16_t ports[PREDICT_WINDOW];
    cr_expect_eq(cand_predict(20000, 20001, ports), 32);
    cr_expect(ports[0] == 20002 && ports[31] == 20033);
    cr_expect_eq(cand_predict(20000, 20004, ports), 32);
    cr_expect_eq(ports[0], 20005);
    cr_expect_eq(cand_predict(20004, 20000, ports), 32);
    cr_expect(ports[0] == 19999 && ports[31] == 19968);
    cr_expect_eq(cand_predict(20000, 20000, ports), 0, "one mapping for all");
    cr_expect_eq(cand_predict(20000, 20064, ports), 32);
    cr_expect_eq(cand_predict(20000, 20065, ports), 0, "chance");
    cr_expect_eq(cand_predict(20065, 20000, ports), 0);
    cr_expect_eq(cand_predict(65530, 65533, ports), 2);
    cr_expect_eq(ports[1], 65535);
    cr_expect_eq(cand_predict(65534, 65535, ports), 0);
    cr_expect_eq(cand_predict(1030, 1026, ports), 2, "no low ports");
}
