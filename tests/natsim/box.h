/* box.h -- NAT boxes of every kind of NAT.md §5, in the words of RFC 4787.
 *
 * A box stands between a network of hosts (or of other boxes) and the one outside, where it has one
 * address. It holds mappings, from (inside address and port[, remote]) to an outside port, and for
 * each mapping whom has been talked to. Reboot is to forget. For IPv6 each box is a firewall:
 * addresses stay as they are, and what was not asked for stays outside. */
#ifndef AQ_NATSIM_BOX_H
#define AQ_NATSIM_BOX_H

#include "tests/natsim/world.h"

enum box_mapping {
    MAPS_ENDPOINT, /* endpoint-independent: one mapping for a socket, whomever it talks to */
    MAPS_ADDRESS,  /* one for each remote address */
    MAPS_SESSION   /* one for each remote address and port, as Linux's conntrack */
};
enum box_filter {
    LETS_ALL,     /* whatever comes to a mapping */
    LETS_ADDRESS, /* from an address that was sent to */
    LETS_SESSION  /* from an address and port that was sent to */
};
enum box_ports {
    PORTS_KEPT, /* where it is free: that of inside; else any */
    PORTS_UP,   /* the next one */
    PORTS_ANY
};

struct box_kind {
    const char *name;
    char letter; /* of the table in NAT.md §5 */
    enum box_mapping mapping;
    enum box_filter filter;
    enum box_ports ports;
    bool hairpin;
    bool open_input; /* takes in what nobody asked for: NAT.md §5, two phases */
    bool blocks;     /* no UDP at all */
    uint16_t block;  /* an inside address has only so many ports, 0: all */
};

/* The kinds that the scenarios choose from; box_kind finds one by its name. */
extern const struct box_kind box_kinds[];
extern const unsigned box_kind_count;
const struct box_kind *box_kind(const char *name);

struct contact {
    struct aq_addr remote;
    uint64_t last_us;
};
struct mapping {
    struct aq_addr inside, remote; /* remote: as much of it as the mapping depends on */
    uint16_t port;
    uint64_t last_us;
    struct contact *contacts;
    unsigned count, room;
};
/* A tuple that an unsolicited datagram has taken. */
struct stolen {
    struct aq_addr remote;
    uint16_t port;
    uint64_t last_us;
};

struct box {
    struct world *world;
    unsigned index;
    const struct box_kind *kind;
    struct box *outer; /* NULL: the Internet */
    struct aq_addr addr;
    uint64_t delay_us;   /* to the middle of the Internet */
    uint64_t timeout_us; /* of a mapping that nothing goes out through */
    unsigned hosts;      /* how many addresses inside were given */
    uint16_t next_port;
    struct mapping *mappings;
    unsigned count, room;
    struct stolen *stolen;
    unsigned stolen_count, stolen_room;
    uint64_t refused, stole; /* datagrams let in by nobody; ports that could not be kept for it */
};

struct box *box_new(struct world *world, const struct box_kind *kind, struct box *outer);
void box_free(struct box *box);
void box_reboot(struct box *box);
/* Its provider gives it another address. */
void box_readdress(struct box *box);

/* Translates a datagram that leaves, or comes in. False: it ends here. */
bool box_out(struct box *box, struct flight *flight);
bool box_in(struct box *box, struct flight *flight);

#endif
