/* peer.h -- what the programs of two peers share: flags, the node, what is told of it, streams.
 *
 * A stream between two peers begins with one byte that says what it is for (enum peer_kind); each
 * program serves some of them, and all of them echo, so that whoever is online can be pinged. */
#ifndef APPS_PEER_PEER_H
#define APPS_PEER_PEER_H

#include "apps/common.h"
#include "apps/key.h"
#include "nat/node/antq_node.h"

enum peer_kind {
    PEER_ECHO = 'E', /* everything comes back */
    PEER_CHAT = 'C', /* lines of text, both ways */
    PEER_FILE = 'F', /* a file (files.h) */
};

enum {
    PEER_NAME = 512,       /* a bootstrap node's, with its PeerId */
    PEER_CODE_UNKNOWN = 1, /* of resets: this program does not serve that kind */
    PEER_CODE_ENDED = 2,
};

struct peer_flags {
    struct option_list bootstrap, allow, listen;
    const char *key, *qlog, *keylog;
    bool json;
};
extern const struct option_row peer_rows[];
enum {
    PEER_ROWS = 7
};

struct peer_program;
struct peer_stream;

/* How a kind of stream is served. */
struct peer_service {
    enum peer_kind kind;
    /* A stream came, or was opened by peer_open. False: not wanted. NULL: always. */
    bool (*opened)(struct peer_program *p, struct peer_stream *s);
    void (*readable)(struct peer_program *p, struct peer_stream *s);
    void (*writable)(struct peer_program *p, struct peer_stream *s);
    /* It is over; state is to be freed. lost: not by its two ends. */
    void (*closed)(struct peer_program *p, struct peer_stream *s, bool lost);
};

struct peer_stream {
    aq_stream id;
    aq_conn conn;
    const struct peer_service *service; /* NULL: its first byte has not come */
    bool ours;
    void *state;
    struct peer_stream *next, *before;
};

struct peer_program {
    struct peer_flags flags;
    const struct peer_service *const *services; /* beside echo; NULL at the end */
    void (*on_event)(struct peer_program *p, const struct aq_node_event *event);
    void (*on_stop)(struct peer_program *p); /* SIGINT or SIGTERM: may say more, and set code */
    void *user;
    const uint8_t *target; /* who it is about; NULL: nobody in particular */
    bool quiet;            /* only what fails is told */
    bool keep;             /* a bootstrap list is not required */
    int code;              /* to exit with */
    bool ending;           /* peer_end, or a signal: what is lost from now on is lost on purpose */
    /* from here on, peer.c's */
    struct key_file key;
    struct aq_node *node;
    struct aq_loop *loop;
    struct aq_endpoint *ep;
    struct qlog *qlog;
    uint64_t began_us;
    char names[AQ_NODE_BOOTSTRAPS][PEER_NAME];
    const char *name_list[AQ_NODE_BOOTSTRAPS];
    bool told_first[AQ_NODE_BOOTSTRAPS];
    unsigned name_count;
    int signal_fd;
    uint8_t (*allow)[32];
    unsigned allow_count;
    struct aq_addr listen[8];
    unsigned listen_count;
    uint64_t lost_us; /* when the target's connection was lost; 0: it has had none, or has one */
    struct peer_stream *streams;
    char short_id[AQ_PEER_ID_TEXT];
};

/* Reads the flags' values, finds the key, makes the node. False: told why, and *code set. */
bool peer_start(struct peer_program *p, int *code);
/* Runs until it ends, and frees everything. Returns the exit code. */
int peer_run(struct peer_program *p);
void peer_end(struct peer_program *p, int code);
/* aq_node_connect; our own PeerId is wrong use, and ends it. */
void peer_connect(struct peer_program *p, const uint8_t id[32], unsigned flags);
/* Whether that failure to reach the target is no reason to give up: it is to be tried again soon,
 * and was there less than a minute ago, or a bootstrap node wants us to wait. */
bool peer_goes_on(const struct peer_program *p, const struct aq_node_event *event);
/* Whether no bootstrap node has us because one has us wait. */
bool peer_is_limited(const struct peer_program *p);
/* Milliseconds since the start. */
double peer_ms(const struct peer_program *p);
/* The first ten characters: for people's eyes. */
const char *peer_short(const uint8_t id[32], char out[AQ_PEER_ID_TEXT]);
/* Gives standard output what is printed; where nobody takes it the program ends. */
void peer_flush(struct peer_program *p);
/* Prints an event as a line for people on standard error, or as JSON on standard output. */
void peer_tell(struct peer_program *p, const struct aq_node_event *event);

/* NULL: the connection takes no more streams now. */
struct peer_stream *peer_open(struct peer_program *p, aq_conn conn,
                              const struct peer_service *service);
/* The service wants no more of it. */
void peer_drop(struct peer_program *p, struct peer_stream *s);

/* A bootstrap node's name without its PeerId. */
const char *peer_bootstrap(const struct peer_program *p, unsigned index);
/* A word that must be a PeerId. */
bool peer_word(const char *word, uint8_t id[32]);

#endif
