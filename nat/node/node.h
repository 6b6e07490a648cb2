/* node.h -- the inside of struct aq_node, shared by its files.
 *
 *   node.c       life, the pump that drives the machines of nat/, events to the application
 *   boots.c      connections to bootstrap nodes, and the messages on them
 *   link.c       connections to peers: accepting, identities, duplicates, their ends
 *   relay.c      relayed datagrams in and out: channels and their headers
 *   probe.c      datagrams that show what is let in to us
 *   dial.c       from "connect to this PeerId" to a link, and again
 *   direct.c     from the relay to a direct path, and again
 *   roam.c       our own addresses change
 *   info.c       what is known: bootstrap nodes, status, statistics
 *
 * nat/ decides and has no I/O; this is its host on the loop, as reactor/ is core's. All memory is
 * taken in aq_node_new. Pointers to peers and links are good until the pump runs next: links and
 * peers are freed nowhere else. */
#ifndef AQ_NODE_NODE_H
#define AQ_NODE_NODE_H

#include "core/pool.h"
#include "core/rng.h"
#include "nat/datagram.h"
#include "nat/node/antq_node.h"
#include "nat/registrar.h"
#include "nat/session.h"

#define NODE_ALPN_PEER "antq-peer"

enum {
    NODE_LISTEN = 8,
    NODE_PASSES = 8,   /* of the pump, at once */
    NODE_EARLY = 16,   /* datagrams that came before their channel was told */
    NODE_BUDGET = 256, /* addresses whose probes are counted */
    NODE_HOSTS = 16,
    NODE_WAYS = 2,
    NODE_SECRETS = 3,
    NODE_NAT_LIMIT = 32,     /* pairs of addresses in one round */
    NODE_CODE_DUPLICATE = 1, /* application codes of closes that are the node's own */
    NODE_CODE_REFUSED = 2,
    NODE_CODE_GONE = 3,
};
#define NODE_GOODBYE_US     UINT64_C(20000)
#define NODE_ANSWER_US      UINT64_C(60000000) /* a late answer is good for so long */
#define NODE_BACKOFF_MIN_US UINT64_C(1000000)
#define NODE_BACKOFF_MAX_US UINT64_C(60000000)

/* One bootstrap node; its place is the registrar's. */
struct node_boot {
    struct aq_node *node;
    struct node_name name;
    char text[NODE_TEXT];
    bool dialling;        /* as soon as its address is known */
    bool asking;          /* for its address */
    uint64_t answered_us; /* the answer came when nobody dialled: good for the next try */
    struct aq_addr answer;
    aq_conn conn;
    aq_stream stream;
    struct aq_addr local, remote;
    struct aq_addr moving; /* the local address that it moves to; family 0: none */
    bool moved;            /* and has, and we are not registered from there yet */
    uint16_t socket;
    bool connected, told; /* told: the application has heard that it has us */
    bool known;           /* id is */
    struct peer_id id;
    unsigned told_reason;
    uint64_t woken_us;  /* it said that it has started anew */
    uint64_t answer_us; /* and by then it must have answered; 0: nothing was asked */
    uint32_t size;      /* of the message that is coming */
    uint8_t in[MESSAGE_MAX];
};

enum link_state {
    LINK_FREE,
    LINK_ASKING,    /* a client's: its first packet goes with the request to the bootstrap node */
    LINK_HANDSHAKE, /* packets go */
    LINK_UP,
    LINK_CLOSING
};

/* A way to a peer through a bootstrap node's relay: a pair of channels. */
struct way {
    uint64_t name; /* the core's, and ours; 0: none */
    uint64_t channel_in, channel_out;
    struct node_boot *boot;
    bool asked; /* the request is on its way */
    bool lost;  /* the bootstrap node is gone, and the channels with it */
    uint8_t request[REQUEST_ID_SIZE];
};

/* One connection to a peer; for a moment a peer may have two. */
struct link {
    enum link_state state;
    aq_conn conn;
    struct peer_id id;
    bool known; /* id is: asked for, or verified */
    bool client;
    bool relayed; /* the application was told so */
    bool confirmed;
    bool stale;                /* it goes from an address that is not ours any more */
    uint64_t keep_us;          /* the relayed path, which is not in use, is looked at again */
    struct way way[NODE_WAYS]; /* the first is how it began */
    uint64_t again_us;         /* another way is asked for */
    uint64_t again_wait_us;
    unsigned again_count;
    uint64_t until_us; /* a connection must have begun by then */
    uint64_t up_us;
};

enum peer_state {
    PEER_FREE,
    PEER_WAITING, /* for the registration, or for its next try */
    PEER_DIALLING,
    PEER_COMING, /* it dials us */
    PEER_UP,
};
/* What both sides of a search hold; the newest is used to send. */
struct punch_secret {
    uint64_t session;
    uint8_t key[PUNCH_KEY_BYTES];
};

/* A peer that we are connected to or want to be. */
struct node_peer {
    enum peer_state state;
    struct peer_id id;
    bool known; /* false: dialled by address, whoever is there */
    bool wanted, keep;
    struct link *link; /* NULL: none */
    enum aq_node_step step;
    uint64_t next_us; /* PEER_WAITING: try again; AQ_NEVER: when we are registered */
    uint64_t backoff_us;
    uint64_t wait_us;           /* the last refusal wants no other try before */
    char why[MESSAGE_TEXT + 1]; /* of the last failure, in words */
    struct session *session;    /* of node.sessions, while one runs; NULL: none */
    /* searching for a direct path: */
    uint8_t request[REQUEST_ID_SIZE], consented[REQUEST_ID_SIZE]; /* PUNCH: ours, theirs */
    const struct node_boot *asked;
    struct punch_secret secrets[NODE_SECRETS];
    unsigned secret_count;
    uint64_t round;     /* of PUNCH_ME_NOW */
    uint64_t search_us; /* the next search; AQ_NEVER: none */
    uint64_t search_wait_us;
    struct aq_addr direct; /* where it was directly */
    uint64_t retry_us;
    unsigned retries;
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
    uint64_t key[2];
    struct node_boot *boots;
    unsigned boot_count;
    struct aq_addr listening[NODE_LISTEN];
    unsigned listen_count;
    struct link *links;
    unsigned link_max;
    struct link *last; /* whose event came last */
    struct node_peer *peers;
    unsigned peer_max;
    struct pool sessions; /* one for each peer that is searched for: 3 KiB, soon done with */
    uint64_t next_name;   /* of channels */
    struct early early[NODE_EARLY];
    unsigned early_at;
    bool dirty; /* the pump has work */
    bool pumping, stopping;
    struct aq_node_stats stats;
    void *memory, *session_memory;
};

/* ---- node.c ---- */
static inline uint64_t node_now(const struct aq_node *node)
{
    return aq_loop_now(node->loop);
}
/* At the begin of each call that an application may make between the loop's turns: the clock may
 * stand where the last turn began, long ago, and what is begun now would be over at once. */
static inline void node_called(struct aq_node *node)
{
    (void)aq_loop_clock(node->loop);
}
void node_tell(struct aq_node *node, const struct aq_node_event *event);
/* Lets the machines run until they want nothing more, and sets the timer for the next time. */
void node_pump(struct aq_node *node);
/* From where we listen, where that is one address: what is observed is then the socket's that
 * others are to reach. */
void node_dial_from(const struct aq_node *node, struct aq_connect *connect);
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
/* The bootstrap node at that address says that it has started anew. */
void boot_awake(struct aq_node *node, const struct aq_addr *from);
void boots_pump(struct aq_node *node, uint64_t now);
uint64_t boots_deadline(const struct aq_node *node);

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
/* Its channels, if it has some, are done with. */
void relay_end(struct aq_node *node, struct link *l);
bool relay_has_channel(const struct link *l);
/* Whether the way that the core knows by that name is open as far as we know. */
bool relay_is_open(const struct link *l, uint64_t name);
/* Its way through that channel is silent: its bootstrap node is asked whether it lives. */
void relay_silent(struct aq_node *node, struct link *l, uint64_t name);
/* Asks for another way through a relay, when that is due. */
void relay_again(struct aq_node *node, struct link *l, uint64_t now);
struct link *relay_link(struct aq_node *node, uint64_t name);
/* The bootstrap node is gone, and its channels. */
void relay_boot_lost(struct aq_node *node, const struct node_boot *b);

/* ---- probe.c ---- */
/* A probe has come, or what a bootstrap node says of one. */
void probe_came(struct aq_node *node, const uint8_t *data, const struct aq_addr *from);
void probe_on_message(struct aq_node *node, const struct node_boot *b, const struct message *m);

/* ---- dial.c ---- */
struct node_peer *peer_find(struct aq_node *node, const struct peer_id *id);
struct node_peer *peer_of_link(struct aq_node *node, const struct link *l);
/* The peer's session, to be begun, or begun anew; and back, when it has ended. */
struct session *session_take(struct aq_node *node, struct node_peer *p);
void session_give(struct aq_node *node, struct node_peer *p);
struct node_peer *peer_take(struct aq_node *node, const struct peer_id *id);
void peer_step(struct aq_node *node, struct node_peer *p, enum aq_node_step step);
/* The link is up: by our dialling or by theirs. */
void peer_up(struct aq_node *node, struct node_peer *p, struct link *l);
/* The link that it had, or was getting, is gone. */
void peer_lost(struct aq_node *node, struct node_peer *p, const char *why, bool was_up);
void peer_fail(struct aq_node *node, struct node_peer *p, const char *why);
/* That peer dials us, or wants to be met. NULL: there are as many as there may be. */
struct node_peer *peer_coming(struct aq_node *node, const struct peer_id *id);
/* Their request meets ours: ours is given up. */
void peer_yield(struct aq_node *node, struct node_peer *p);
void peers_pump(struct aq_node *node, uint64_t now);
uint64_t peers_deadline(const struct aq_node *node);
void peer_free(struct aq_node *node, struct node_peer *p);

/* ---- direct.c ---- */
void direct_candidates(const struct aq_node *node, struct cand_list *list);
/* PUNCH messages: asking to be brought together, and what comes. */
void direct_ask(struct aq_node *node, struct node_peer *p, struct node_boot *b);
void direct_on_message(struct aq_node *node, struct node_boot *b, const struct message *m);
void direct_on_punch(struct aq_node *node, const struct aq_datagram *d);
void direct_probe(struct aq_node *node, struct node_peer *p, const struct session_action *action);
/* What the network tells about the way out. */
void direct_configure(struct aq_node *node, struct session_config *config);
/* A session for a peer that asks for one, unless one runs. */
void direct_accept(struct aq_node *node, struct node_peer *p);
/* A session for a link that is relayed. */
void direct_search(struct aq_node *node, struct node_peer *p);
void direct_ended(struct aq_node *node, struct node_peer *p, const struct session_end *end);
void direct_event(struct aq_node *node, struct link *l, const struct aq_event *event);
void direct_pump(struct aq_node *node, struct node_peer *p, uint64_t now);
uint64_t direct_deadline(const struct node_peer *p);

/* ---- roam.c ---- */
void roam_on_hosts(void *user, struct aq_loop *loop);
/* The connection to it has moved; it has renewed our registration. */
void roam_boot_moved(struct aq_node *node, struct node_boot *b);
void roam_boot_registered(struct aq_node *node, struct node_boot *b);

#endif
