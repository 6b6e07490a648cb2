/* attack.c -- the attacker's arguments, and what its parts share (attack.h).
 *
 *     attack client VICTIM HERE BOOT TARGET TARGET-ADDRESS
 *     attack server VICTIM HERE BOOT
 *     attack boot   VICTIM HERE KEY
 *     attack guest  VICTIM HERE BOOT TARGET */
#include "tests/net/attack.h"

#include "core/endpoint.h"

#include <assert.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct aq_addr attack_victim(struct attack *a)
{
    struct aq_addr victim = a->victim;
    a->victim.ip[victim.family == 4 ? 3 : 7]++;
    return victim;
}

void attack_said(const char *trick, const struct aq_addr *victim, const char *format, ...)
{
    char text[64], *end;
    va_list args;
    va_start(args, format);
    (void)aq_addr_text(victim, text, sizeof text);
    end = strrchr(text, ':');
    if (end != NULL)
        *end = '\0';
    (void)printf("%s %s ", trick, text);
    (void)vprintf(format, args);
    (void)putchar('\n');
    (void)fflush(stdout);
    va_end(args);
}

void attack_die(const char *what, const char *why)
{
    (void)fprintf(stderr, "attack: %s: %s\n", what, why);
    exit(1);
}

uint64_t attack_chance(void)
{
    static uint64_t state = 0x243f6a8885a308d3; /* xorshift: any numbers will do */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

uint64_t attack_clock(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void attack_turn(struct aq_loop *const *loops, unsigned count)
{
    struct pollfd fds[ATTACK_LOOPS];
    assert(count <= ATTACK_LOOPS);
    for (unsigned i = 0; i < count; i++)
        fds[i] = (struct pollfd){aq_loop_fd(loops[i]), POLLIN, 0};
    (void)poll(fds, count, 20);
    for (unsigned i = 0; i < count; i++)
        if (aq_loop_step(loops[i]) < 0)
            attack_die("a turn", "epoll failed");
}

void attack_run(void (*turn)(void), unsigned ms)
{
    for (uint64_t end = attack_clock() + ms * UINT64_C(1000); attack_clock() < end;)
        turn();
}

uint16_t attack_port(void)
{
    return (uint16_t)(1024 + attack_chance() % 64000);
}

void attack_move(struct aq_endpoint *ep, aq_conn conn, const struct aq_path_addr *to, uint64_t now)
{
    struct conn *c = endpoint_find_conn((struct endpoint *)ep, conn);
    (void)aq_conn_migrate(ep, conn, to, now);
    for (unsigned i = 0; c != NULL && i < PATHS; i++) {
        struct path *p = c->path[i];
        if (p == NULL || i == c->active || p->socket != to->socket)
            continue;
        /* What no honest side does: nothing was answered there. */
        p->state = PATH_VALID;
        p->mtu_valid = true;
        p->wanted = false;
        path_check_end(p);
        c->active = p->index;
        cid_peer_use(&c->peer_cids, p->cid_seq);
        c->ping_due = true;
        conn_wake(c);
        return;
    }
}

static struct nat *with_nat(struct aq_endpoint *ep, aq_conn conn)
{
    const struct conn *c = endpoint_find_conn((struct endpoint *)ep, conn);
    if (c == NULL || c->nat == NULL)
        attack_die("inside", "no connection with NAT traversal");
    return c->nat;
}

void attack_pair(struct aq_endpoint *ep, aq_conn conn, uint64_t round, const struct aq_addr *addr,
                 uint64_t now)
{
    struct nat *n = with_nat(ep, conn);
    if (aq_nat_punch(ep, conn, n->round + 1, 99, addr, now) != AQ_OK)
        attack_die("inside", "no pair");
    n->round = round;
}

void attack_address(struct aq_endpoint *ep, aq_conn conn, uint64_t seq, const struct aq_addr *addr,
                    uint64_t now)
{
    uint64_t given;
    with_nat(ep, conn)->next_seq = seq;
    if (aq_nat_add_address(ep, conn, addr, &given, now) != AQ_OK || given != seq)
        attack_die("inside", "no address");
}

void attack_forget(struct aq_endpoint *ep, aq_conn conn)
{
    struct nat *n = with_nat(ep, conn);
    for (unsigned i = 0; i < NAT_FIRST; i++)
        n->first[i] = (struct nat_entry){.state = NAT_FREE};
    for (unsigned i = 0; i < n->blocks * NAT_MORE; i++)
        n->more[i / NAT_MORE][i % NAT_MORE] = (struct nat_entry){.state = NAT_FREE};
}

static void read_addr(const char *text, uint16_t port, struct aq_addr *addr)
{
    char error[256];
    if (aq_resolve(text, port, 0, addr, error, sizeof error) != AQ_OK)
        attack_die(text, error);
}

int main(int argc, char **argv)
{
    struct attack a = {.boot = argc > 4 ? argv[4] : "", .key = argc > 4 ? argv[4] : ""};
    if (argc < 5)
        attack_die("usage", "attack client|server|boot|guest VICTIM HERE BOOT|KEY ...");
    read_addr(argv[2], ATTACK_PORT, &a.victim);
    read_addr(argv[3], 0, &a.here);
    if (argc > 5 && !aq_peer_id_parse(argv[5], a.target.bytes))
        attack_die(argv[5], "no PeerId");
    if (argc > 6)
        read_addr(argv[6], 0, &a.target_at);
    if (strcmp(argv[1], "client") == 0)
        attack_as_client(&a);
    else if (strcmp(argv[1], "server") == 0)
        attack_as_server(&a);
    else if (strcmp(argv[1], "boot") == 0)
        attack_as_boot(&a);
    else if (strcmp(argv[1], "guest") == 0)
        attack_as_guest(&a);
    else
        attack_die(argv[1], "no such part");
    (void)puts("done");
    return 0;
}
