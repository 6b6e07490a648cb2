/* doctor.c -- `antq doctor`: what this network allows, in plain words.
 *
 * What two bootstrap nodes see of one socket tells how the NAT maps: the same address and port for
 * both (direct connections work with most peers), or another one for each. */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "apps/apps.h"
#include "apps/peer/peer.h"

#define DOCTOR_US UINT64_C(6000000)

struct doctor {
    struct peer_program p;
    struct aq_addr locals[16];
    unsigned local_count;
    bool over;
};

static bool same_address(const struct aq_addr *a, const struct aq_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

static bool is_local(const struct doctor *d, const struct aq_addr *addr)
{
    for (unsigned i = 0; i < d->local_count; i++) {
        if (same_address(&d->locals[i], addr)) {
            return true;
        }
    }
    return false;
}

/* Addresses of the interfaces, without loopback and link-local. */
static void find_locals(struct doctor *d)
{
    struct ifaddrs *all = NULL;
    char text[64];
    bool found = false;

    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *i = all; i != NULL && d->local_count < 16; i = i->ifa_next) {
        struct aq_addr *a = &d->locals[d->local_count];
        memset(a, 0, sizeof *a);
        if (i->ifa_addr == NULL) {
            continue;
        }
        if (i->ifa_addr->sa_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, i->ifa_addr, sizeof in);
            memcpy(a->ip, &in.sin_addr, 4);
            a->family = 4;
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            struct sockaddr_in6 in;
            memcpy(&in, i->ifa_addr, sizeof in);
            memcpy(a->ip, &in.sin6_addr, 16);
            a->family = 6;
        }
        if (a->family == 0 || (a->family == 6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)) {
            continue;
        }
        (void)aq_addr_text(a, text, sizeof text);
        char *colon = strrchr(text, ':');
        if (colon != NULL) {
            *colon = '\0';
        }
        if ((i->ifa_flags & IFF_LOOPBACK) == 0) {
            (void)printf("local address: %s on %s\n", text, i->ifa_name);
            found = true;
        }
        d->local_count++;
    }
    freeifaddrs(all);
    if (!found) {
        (void)puts("local address: none but loopback: this machine has no network");
    }
}

static void say_mapping(const struct doctor *d, const struct aq_addr *seen, unsigned count)
{
    bool same = true;

    for (unsigned i = 1; i < count; i++) {
        same &= same_address(&seen[0], &seen[i]) && seen[0].port == seen[i].port;
    }
    if (count == 0) {
        return;
    }
    if (is_local(d, &seen[0])) {
        (void)puts("no NAT on the way: others may be able to dial this machine directly");
    } else if (count == 1) {
        (void)puts(
            "there is a NAT on the way; name a second bootstrap node on another address to learn how "
            "it maps");
    } else if (same) {
        (void)puts(
            "the NAT maps one port to the same address for everybody: direct paths to most peers are "
            "possible");
    } else {
        (void)puts(
            "the NAT maps another port for each destination (symmetric): peers behind strict NATs "
            "stay relayed");
    }
}

static void report(void *user)
{
    struct doctor *d = user;
    struct aq_addr seen[AQ_NODE_BOOTSTRAPS];
    unsigned count = 0, registered = 0;
    bool six = false;
    char text[64];

    if (d->over) {
        return;
    }
    d->over = true;
    for (unsigned i = 0; i < d->p.name_count; i++) {
        struct aq_node_bootstrap info = {.size = sizeof info};

        (void)aq_node_bootstrap(d->p.node, i, &info);
        if (!info.registered) {
            (void)printf("bootstrap node %s: %s\n", peer_bootstrap(&d->p, i), info.reason);
            continue;
        }
        registered++;
        (void)printf("bootstrap node %s: reached in %.1f ms, sees us as %s\n",
                     peer_bootstrap(&d->p, i), (double)info.rtt_us / 1e3,
                     aq_addr_text(&info.observed, text, sizeof text));
        if (info.observed.family == 4) {
            seen[count++] = info.observed;
        }
        six |= info.observed.family == 6;
    }
    for (unsigned i = 0; i < d->local_count; i++) {
        six |= d->locals[i].family == 6;
    }
    (void)printf("IPv6: %s\n", six ? "this machine has an address" : "none");
    if (d->p.name_count == 0) {
        (void)puts("name a bootstrap node (--bootstrap) to learn what gets through");
    } else if (registered == 0) {
        (void)puts("UDP: nothing came back: a firewall drops it, or the nodes are down\n"
                   "so: nobody can be reached from here; allow UDP to the bootstrap nodes' port");
    } else {
        (void)puts("UDP: works");
        say_mapping(d, seen, count);
        (void)puts(
            "so: every peer of these bootstrap nodes can be reached, through their relay at least");
    }
    peer_end(&d->p, d->p.name_count > 0 && registered == 0 ? EXIT_FAILED : EXIT_DONE);
}

static void doctor_event(struct peer_program *p, const struct aq_node_event *event)
{
    struct doctor *d = p->user;

    if (event->kind == AQ_NODE_REGISTERED
        && (event->result == AQ_NODE_FULL || event->result == AQ_NODE_NONE)) {
        report(d);
    }
}

int doctor_main(int argc, char **argv)
{
    static struct doctor d;
    const struct option_set sets[] = {{"Flags", peer_rows, PEER_ROWS, &d.p.flags}};
    const struct command command = {
        .name = "antq doctor",
        .about =
            "Says what this network allows: addresses, whether UDP works, what bootstrap nodes see\n"
            "of us, how the NAT maps, and what that means for reaching peers.",
        .sets = sets,
        .set_count = 1,
    };
    int code;

    if (!command_parse(&command, argc, argv, NULL, &code)) {
        return code;
    }
    d.p.user = &d;
    d.p.quiet = true;
    d.p.keep = true;
    d.p.on_event = doctor_event;
    find_locals(&d);
    if (!peer_start(&d.p, &code)) {
        return code;
    }
    (void)aq_loop_timer(d.p.loop, aq_loop_now(d.p.loop) + (d.p.name_count > 0 ? DOCTOR_US : 0),
                        report, &d);
    return peer_run(&d.p);
}
