/* attack.h -- a scripted attacker, for nat_attack_test.sh: SECURITY.md row 25's tricks, played
 * against the real program with the library and its insides.
 *
 *   attack.c         the arguments, what is told
 *   attack_peer.c    a malicious peer: PUNCH_ME_NOW, ADD_ADDRESS, addresses that are not its own
 *   attack_boot.c    a malicious bootstrap node
 *   attack_guest.c   a malicious guest of an honest bootstrap node
 *
 * Each trick has a victim of its own, counted up from the one that is given, so that the victim's
 * kernel tells apart what each of them sent there. One line says what was done and answered. */
#ifndef TESTS_NET_ATTACK_H
#define TESTS_NET_ATTACK_H

#include "nat/peer.h"
#include "reactor/antq_reactor.h"

struct attack {
    struct aq_addr victim; /* of the next trick */
    struct aq_addr here;   /* our own */
    const char *boot;      /* the bootstrap node that is honest: PEERID@HOST:PORT */
    const char *key;       /* a file */
    struct peer_id target; /* the peer that is, and where it listens */
    struct aq_addr target_at;
};

enum {
    ATTACK_PORT = 4433, /* the victim's, where one is as good as another */
    ATTACK_LOOPS = 16
};

/* Takes a victim, for the trick of that name: none other has it. */
struct aq_addr attack_victim(struct attack *a);
void attack_said(const char *trick, const struct aq_addr *victim, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void attack_die(const char *what, const char *why);
uint64_t attack_chance(void);
uint64_t attack_clock(void); /* microseconds */
/* Waits 20 ms at most for one of so many loops (ATTACK_LOOPS at most), then turns them all. */
void attack_turn(struct aq_loop *const *loops, unsigned count);
/* Takes such turns for a while. */
void attack_run(void (*turn)(void), unsigned ms);
/* Takes turns until it is true; in vain for PATIENCE_US is the end. Both are the part's own. */
#define UNTIL(condition)                                       \
    do {                                                       \
        uint64_t until = attack_clock() + PATIENCE_US;         \
        while (!(condition)) {                                 \
            if (attack_clock() > until)                        \
                attack_die("waiting in vain for", #condition); \
            turn();                                            \
        }                                                      \
    } while (0)
/* Any port that is no server's. */
uint16_t attack_port(void);

/* The connection goes on from that socket, bound to an address that is not ours, without asking. */
void attack_move(struct aq_endpoint *ep, aq_conn conn, const struct aq_path_addr *to, uint64_t now);

/* A pair of PUNCH_ME_NOW in that round, and an ADD_ADDRESS with that number, whatever the rules
 * say; addresses that were told are as if they had not been. */
void attack_pair(struct aq_endpoint *ep, aq_conn conn, uint64_t round, const struct aq_addr *addr,
                 uint64_t now);
void attack_address(struct aq_endpoint *ep, aq_conn conn, uint64_t seq, const struct aq_addr *addr,
                    uint64_t now);
void attack_forget(struct aq_endpoint *ep, aq_conn conn);

void attack_as_client(struct attack *a);
void attack_as_server(struct attack *a);
void attack_as_boot(struct attack *a);
void attack_as_guest(struct attack *a);

#endif
