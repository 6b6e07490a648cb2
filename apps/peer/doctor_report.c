/* doctor_report.c -- what `antq doctor` makes of what it has found, for people and for programs.
 *
 * The kinds, and what each means for connecting, are those of a table: which NATs let which others
 * through. What could not be seen is said to be unknown, with what would show it. */
#include <stdlib.h>
#include <string.h>

#include "apps/peer/doctor.h"

static bool same_ip(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static bool is_loopback(const struct aq_addr *a)
{
    static const uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

    return a->family == 4 ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof one) == 0;
}

/* Whether it is an address of this machine. */
static bool is_ours(const struct doctor_facts *f, const struct aq_addr *a)
{
    bool ours = is_loopback(a);

    for (unsigned i = 0; i < f->local_count; i++) {
        ours |= same_ip(&f->locals[i], a);
    }
    return ours;
}

/* ---- conclusions ----------------------------------------------------------------------------- */

static bool is_observer(const struct doctor_facts *f, unsigned i)
{
    return f->family != 0 && f->boots[i].registered && f->boots[i].observed.family == f->family;
}

/* Whether nobody before it has the same address. */
static bool is_new_host(const struct doctor_facts *f, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (is_observer(f, j) && same_ip(&f->boots[j].remote, &f->boots[i].remote)) {
            return false;
        }
    }
    return true;
}

static void conclude_mapping(struct doctor_facts *f)
{
    enum {
        NEAR = 64 /* ports between two mappings of a NAT that counts, with others' between them */
    };
    const struct aq_addr *seen = NULL;
    unsigned far = 0;
    bool same = true;

    for (unsigned i = 0; i < f->boot_count; i++) {
        const struct aq_addr *a = &f->boots[i].observed;

        if (!is_observer(f, i)) {
            continue;
        }
        f->observers++;
        f->observer_hosts += is_new_host(f, i);
        f->nat |= !is_ours(f, a);
        f->known = true;
        if (seen == NULL) {
            seen = a;
            continue;
        }
        unsigned apart = (unsigned)abs((int)a->port - (int)seen->port);
        same &= same_ip(a, seen) && apart == 0;
        far = !same_ip(a, seen) ? NEAR + 1 : apart > far ? apart : far;
    }
    if (f->known && !f->nat) {
        f->mapping = MAPPING_SAME;
    } else if (!same) {
        f->mapping = far > NEAR ? MAPPING_RANDOM : MAPPING_COUNTING;
    } else if (f->observer_hosts > 1) { /* of one address, it could still map by address */
        f->mapping = MAPPING_SAME;
    }
}

static enum doctor_kind kind_of(const struct doctor_facts *f)
{
    if (f->boot_count > 0 && f->registered == 0) {
        return KIND_BLOCKED;
    }
    if (f->mapping == MAPPING_COUNTING) {
        return KIND_SYMMETRIC_COUNTING;
    }
    if (f->mapping == MAPPING_RANDOM) {
        return KIND_SYMMETRIC_RANDOM;
    }
    if (f->mapping == MAPPING_UNKNOWN) {
        return KIND_UNKNOWN;
    }
    if (f->other_host == ANSWER_YES) {
        return f->nat ? KIND_FULL_CONE : KIND_PUBLIC;
    }
    if (f->other_port == ANSWER_NO) {
        return KIND_PORT_RESTRICTED;
    }
    return f->other_port == ANSWER_YES && f->other_host == ANSWER_NO ? KIND_ADDRESS_RESTRICTED
                                                                     : KIND_UNKNOWN;
}

void doctor_conclude(struct doctor_facts *f)
{
    f->ipv6 = ANSWER_NO;
    for (unsigned i = 0; i < f->local_count; i++) {
        f->ipv6 = f->locals[i].family == 6 ? ANSWER_UNKNOWN : f->ipv6;
    }
    for (unsigned i = 0; i < f->boot_count; i++) {
        if (f->boots[i].registered && f->boots[i].observed.family == 6) {
            f->ipv6 = ANSWER_YES;
        }
    }
    conclude_mapping(f);
    f->kind = kind_of(f);
}

/* ---- words ----------------------------------------------------------------------------------- */

struct kind_words {
    const char *name;  /* in JSON */
    const char *means; /* for connecting */
};
static const struct kind_words kinds[] = {
    [KIND_UNKNOWN] = {"unknown",
                      "every peer of these bootstrap nodes can be reached, through their "
                      "relay at least"},
    [KIND_BLOCKED] = {"blocked",
                      "nobody can be reached from here; allow UDP to the bootstrap nodes' "
                      "port"},
    [KIND_PUBLIC] = {"public", "every peer whose UDP gets out can be connected to this machine "
                               "directly; it could run a bootstrap node"},
    [KIND_FULL_CONE] = {"full_cone",
                        "direct paths are possible with every peer whose UDP gets out"},
    [KIND_ADDRESS_RESTRICTED] = {"address_restricted",
                                 "direct paths are possible with every peer whose UDP gets out, "
                                 "when both sides send first"},
    [KIND_PORT_RESTRICTED] = {"port_restricted",
                              "direct paths are possible with most peers, when both sides send "
                              "first; those behind symmetric NATs stay relayed"},
    [KIND_SYMMETRIC_COUNTING] = {"symmetric_counting",
                                 "direct paths are possible with peers that are public, or behind "
                                 "full-cone or address-restricted NATs; others stay relayed"},
    [KIND_SYMMETRIC_RANDOM] = {"symmetric_random",
                               "direct paths are possible with peers that are public, or behind "
                               "full-cone or address-restricted NATs; others stay relayed"},
};

/* An address without a port, and without brackets. */
static const char *ip_text(const struct aq_addr *a, char out[64])
{
    (void)aq_addr_text(a, out, 64);
    char *end = strrchr(out, a->family == 6 ? ']' : ':');
    if (end != NULL) {
        *end = '\0';
    }
    return out[0] == '[' ? out + 1 : out;
}

static const char *boot_name(const struct aq_node_bootstrap *b)
{
    const char *at = strchr(b->name, '@');

    return at != NULL ? at + 1 : b->name;
}

static const char *mapping_words(const struct doctor_facts *f)
{
    switch (f->mapping) {
    case MAPPING_SAME: return "one port has the same address for everybody (endpoint independent)";
    case MAPPING_COUNTING: return "another port for each destination, counting up (symmetric)";
    case MAPPING_RANDOM: return "another port for each destination (symmetric)";
    case MAPPING_UNKNOWN: break;
    }
    return f->observers > 1
               ? "unknown: these bootstrap nodes share one address; name one on another"
               : "unknown: name a second bootstrap node, on another address, to learn it";
}

static const char *filtering_words(const struct doctor_facts *f)
{
    if (f->other_host == ANSWER_YES) {
        return "lets in everybody (endpoint independent)";
    }
    if (f->other_port == ANSWER_NO) {
        return "lets in only answers from the very port that was sent to (port dependent)";
    }
    if (f->other_port == ANSWER_UNKNOWN) {
        return "unknown: the bootstrap node sends no probes";
    }
    return f->other_host == ANSWER_NO
               ? "lets in whoever has an address that was sent to, from any port (address dependent)"
           : f->observer_hosts > 1
               ? "lets in other ports of an address that was sent to; about other addresses the second "
                 "bootstrap node could not be asked"
               : "lets in other ports of an address that was sent to; name a second bootstrap node, "
                 "on another address, to learn about other addresses";
}

static void tell_udp(const struct doctor_facts *f)
{
    if (f->boot_count == 0) {
        (void)puts("name a bootstrap node (--bootstrap) to learn what gets through");
    } else if (f->registered == 0) {
        (void)puts("UDP: nothing came back: a firewall drops it, or the nodes are down");
    } else {
        (void)puts("UDP: works");
    }
}

static void tell_ipv6(const struct doctor_facts *f)
{
    static const char *const words[] = {
        [ANSWER_UNKNOWN] = "this machine has an address; no bootstrap node was reached over it",
        [ANSWER_NO] = "none",
        [ANSWER_YES] = "works: a bootstrap node was reached over it",
    };

    (void)printf("IPv6: %s\n", words[f->ipv6]);
}

static void tell_nat(const struct doctor_facts *f)
{
    if (!f->known) {
        return;
    }
    if (f->nat) {
        (void)puts("there is a NAT on the way");
        (void)printf("mapping: %s\n", mapping_words(f));
    } else {
        (void)puts("no NAT on the way: this machine is seen by its own address");
    }
    (void)printf("filtering: the %s %s\n", f->nat ? "NAT" : "firewall, if there is one,",
                 filtering_words(f));
    if (f->mtu > 0) {
        (void)printf("largest packet: %u bytes of UDP payload got through%s\n", f->mtu,
                     f->mtu >= 1452 ? ", as on Ethernet"
                     : f->mtu_found ? "; larger ones do not (a tunnel?)"
                                    : "; larger ones were not answered in time");
    }
}

void doctor_tell(const struct doctor_facts *f)
{
    char text[64];

    for (unsigned i = 0; i < f->local_count; i++) {
        (void)printf("local address: %s\n", ip_text(&f->locals[i], text));
    }
    if (f->local_count == 0) {
        (void)puts("local address: none but loopback: this machine has no network");
    }
    for (unsigned i = 0; i < f->boot_count; i++) {
        const struct aq_node_bootstrap *b = &f->boots[i];

        if (b->registered) {
            (void)printf("bootstrap node %s: reached in %.1f ms, sees us as %s\n", boot_name(b),
                         (double)b->rtt_us / 1e3, aq_addr_text(&b->observed, text, sizeof text));
        } else {
            (void)printf("bootstrap node %s: %s\n", boot_name(b), b->reason);
        }
    }
    tell_udp(f);
    tell_ipv6(f);
    tell_nat(f);
    if (f->boot_count > 0) {
        (void)printf("so: %s\n", kinds[f->kind].means);
    }
}

/* ---- for programs ---------------------------------------------------------------------------- */

static void json_boots(const struct doctor_facts *f)
{
    char text[64];

    for (unsigned i = 0; i < f->boot_count; i++) {
        const struct aq_node_bootstrap *b = &f->boots[i];

        (void)printf("%s{\"name\":", i > 0 ? "," : "");
        json_text(stdout, boot_name(b));
        (void)printf(",\"registered\":%s,\"reason\":\"%s\",\"observed\":",
                     b->registered ? "true" : "false", b->reason);
        json_text(stdout, b->registered && b->observed.family != 0
                              ? aq_addr_text(&b->observed, text, sizeof text)
                              : NULL);
        (void)printf(",\"rtt_us\":%llu,\"mtu\":%u}", (unsigned long long)b->rtt_us, b->mtu);
    }
}

static const char *json_answer(enum doctor_answer answer)
{
    static const char *const words[] = {"null", "false", "true"};

    return words[answer];
}

void doctor_tell_json(const struct doctor_facts *f)
{
    static const char *const mappings[] = {"unknown", "endpoint_independent", "symmetric_counting",
                                           "symmetric_random"};
    char text[64];

    (void)fputs("{\"local\":[", stdout);
    for (unsigned i = 0; i < f->local_count; i++) {
        (void)printf("%s\"%s\"", i > 0 ? "," : "", ip_text(&f->locals[i], text));
    }
    (void)fputs("],\"bootstrap\":[", stdout);
    json_boots(f);
    (void)printf("],\"udp\":%s", f->boot_count == 0 ? "null" : f->registered ? "true" : "false");
    (void)printf(",\"ipv6\":%s", f->ipv6 == ANSWER_YES  ? "\"works\""
                                 : f->ipv6 == ANSWER_NO ? "\"none\""
                                                        : "\"address\"");
    (void)printf(",\"nat\":%s", !f->known ? "null" : f->nat ? "true" : "false");
    (void)printf(",\"mapping\":\"%s\"", mappings[f->mapping]);
    (void)printf(",\"lets_in_other_ports\":%s", json_answer(f->other_port));
    (void)printf(",\"lets_in_other_addresses\":%s", json_answer(f->other_host));
    (void)printf(",\"mtu\":%u,\"kind\":\"%s\",\"so\":", f->mtu, kinds[f->kind].name);
    json_text(stdout, f->boot_count > 0 ? kinds[f->kind].means : NULL);
    (void)puts("}");
}
