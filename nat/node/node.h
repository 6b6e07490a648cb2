/* node.h -- the inside of struct aq_node, shared by its files.
 *
 *   node.c       life, the pump that drives the machines of nat/, events to the application
 *   boots.c      connections to bootstrap nodes, and the messages on them
 *   link.c       connections to peers: accepting, identities, duplicates, their ends
 *   relay.c      relayed datagrams in and out: channels and their headers
 *   dial.c       from "connect to this PeerId" to a link, and again
 *   info.c       what is known: bootstrap nodes, status, statistics
 *
 * nat/ decides and has no I/O; this is its host on the loop, as reactor/ is core's. All memory is
 * taken in aq_node_new. Pointers to peers and links are good until the pump runs next: links and
 * peers are freed nowhere else. */
#ifndef AQ_NODE_NODE_H
#define AQ_NODE_NODE_H

#include "core/rng.h"
#include "nat/registrar.h"
#include "nat/session.h"
#include "nat/node/antq_node.h"

#define NODE_ALPN_PEER "antq-peer"

enum {
    NODE_LISTEN = 8,
    NODE_EARLY = 16,         /* datagrams that came before their channel was told */
    NODE_BUDGET = 256,       /* addresses whose probes are counted */
    NODE_CODE_DUPLICATE = 1, /* application codes of closes that are the node's own */
    NODE_CODE_REFUSED = 2,
    NODE_CODE_GONE = 3,
};
#define NODE_GOODBYE_US     UINT64_C(20000)
#define NODE_BACKOFF_MIN_US UINT64_C(1000000)
#define NODE_BACKOFF_MAX_US UINT64_C(60000000)

/* One bootstrap node; its place is the registrar's. */
struct node_boot {
    struct node_name name;
    char text[NODE_TEXT];
    aq_conn conn;
    aq_stream stream;
    struct aq_addr local, remote;
    uint16_t socket;
    bool connected, told; /* told: the application has heard that it has us */
    bool known;           /* id is */
    struct peer_id id;
    unsigned told_reason;
    uint32_t size; /* of the message that is coming */
    uint8_t in[MESSAGE_MAX];
};

enum link_state {
    LINK_FREE,
    LINK_ASKING,    /* a client's: its first packet goes with the request to the bootstrap node */
    LINK_HANDSHAKE, /* packets go */
    LINK_UP,
    LINK_CLOSING
};

/* One connection to a peer; for a moment a peer may have two. */
struct link {
    enum link_state state;
    aq_conn conn;
    struct peer_id id;
    bool known; /* id is: asked for, or verified */
    bool client;
    bool relayed; /* the application was told so */
    /* relayed links: */
    uint64_t name; /* the core's name of the channel, 0: direct */
    uint64_t channel_in, channel_out;
    bool asked;        /* LINK_ASKING: the request is on its way */
    uint64_t until_us; /* a connection must have begun by then */
    uint64_t up_us;
    struct node_boot *boot;
    uint8_t request[REQUEST_ID_SIZE];
};

enum peer_state {
    PEER_FREE,
    PEER_WAITING, /* for the registration, or for its next try */
    PEER_DIALLING,
    PEER_UP,
};
/* A peer that we are connected to or want to be. */
struct node_peer {
    enum peer_state state;
    struct peer_id id;
    bool known; /* false: dialled by address, whoever is there */
    bool wanted, keep;
    bool in_session;
    struct link *link; /* NULL: none */
    enum aq_node_step step;
    uint64_t next_us; /* PEER_WAITING: try again; AQ_NEVER: when we are registered */
    uint64_t backoff_us;
    char why[MESSAGE_TEXT + 1]; /* of the last failure, in words */
    struct session session;
};

/* A relayed datagram that came before the CONNECT go that tells its channel: the two take different
 * ways through the bootstrap node. Kept until then, or until others take its place. */
struct early {
    uint64_t channel;
    const struct node_boot *boot;
    uint16_t size; /* 0: free */
    uint8_t data[MESSAGE_PACKET];
};

struct aq_node {
    struct aq_node_config config;
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    struct aq_tls *tls_server, *tls_peer, *tls_boot;
    struct peer_id self;
    struct rng rng;
    struct registrar registrar;
    struct budget budget;
    struct node_boot *boots;
    unsigned boot_count;
    struct aq_addr listening[NODE_LISTEN];
    unsigned listen_count;
    struct link *links;
    unsigned link_max;
    struct link *last; /* whose event came last */
    struct node_peer *peers;
    unsigned peer_max;
    uint64_t next_name; /* of channels */
    struct early early[NODE_EARLY];
    unsigned early_at;
    bool dirty; /* the pump has work */
    bool pumping, stopping;
    struct aq_node_stats stats;
    void *memory;
};

/* ---- node.c ---- */
static inline uint64_t node_now(const struct aq_node *node)
{
    return aq_loop_now(node->loop);
}
void node_tell(struct aq_node *node, const struct aq_node_event *event);
/* Lets the machines run until they want nothing more, and sets the timer for the next time. */
void node_pump(struct aq_node *node);
bool node_allows(struct aq_node *node, const struct peer_id *id);

/* ---- boots.c ---- */
void boot_dial(struct aq_node *node, unsigned index);
void boot_close(struct aq_node *node, struct node_boot *b);
void boot_event(struct aq_node *node, struct node_boot *b, const struct aq_event *event);
void boot_write(struct aq_node *node, struct node_boot *b, const uint8_t *data, size_t size);
void boot_say(struct aq_node *node, struct node_boot *b, const struct message *m);
struct node_boot *boot_by_conn(struct aq_node *node, aq_conn conn);
/* The n-th of those that have us; NULL: there are not so many. */
struct node_boot *boot_registered(struct aq_node *node, unsigned n);
void boot_tell_changes(struct aq_node *node);

/* ---- link.c ---- */
struct link *link_take(struct aq_node *node);
void link_free(struct aq_node *node, struct link *l);
struct link *link_by_conn(struct aq_node *node, aq_conn conn);
void link_event(struct aq_node *node, struct link *l, const struct aq_event *event);
void link_accepted(struct aq_node *node, const struct aq_event *event);
void link_close(struct aq_node *node, struct link *l, uint64_t code, const char *reason);
/* Those that nobody came for. */
void links_pump(struct aq_node *node, uint64_t now);
uint64_t links_deadline(const struct aq_node *node);

/* ---- relay.c ---- */
bool relay_dial(struct aq_node *node, struct link *l, struct node_boot *b);
void relay_on_datagrams(void *user, struct aq_loop *loop, const struct aq_datagram *d, unsigned n);
bool relay_on_channel(void *user, struct aq_loop *loop, const struct aq_train *train);
/* A CONNECT message from a bootstrap node. */
void relay_on_message(struct aq_node *node, struct node_boot *b, const struct message *m);
struct link *relay_link(struct aq_node *node, uint64_t name);
/* The bootstrap node is gone, and its channels. */
void relay_boot_lost(struct aq_node *node, const struct node_boot *b);

/* ---- dial.c ---- */
struct node_peer *peer_find(struct aq_node *node, const struct peer_id *id);
struct node_peer *peer_of_link(struct aq_node *node, const struct link *l);
struct node_peer *peer_take(struct aq_node *node, const struct peer_id *id);
void peer_step(struct aq_node *node, struct node_peer *p, enum aq_node_step step);
/* The link is up: by our dialling or by theirs. */
void peer_up(struct aq_node *node, struct node_peer *p, struct link *l);
/* The link that it had, or was getting, is gone. */
void peer_lost(struct aq_node *node, struct node_peer *p, const char *why, bool was_up);
void peer_fail(struct aq_node *node, struct node_peer *p, const char *why);
/* Their request meets ours: ours is given up. */
void peer_yield(struct aq_node *node, struct node_peer *p);
void peers_pump(struct aq_node *node, uint64_t now);
uint64_t peers_deadline(const struct aq_node *node);
void peer_free(struct aq_node *node, struct node_peer *p);

#endif
