/* hostile.h -- a scripted peer: it makes a true handshake with a victim, then sends whatever it is told.
 *
 * The victim is a whole endpoint behind antq.h; the peer is built from the codecs and from TLS, with no
 * connection logic of its own: it keeps no timers, retransmits nothing, obeys no limit. Datagrams pass
 * directly, without loss, so that what comes back is the answer to what was sent. Time stands still unless
 * hostile_wait moves it. Every frame goes out under the right keys, so a refusal is never a decryption
 * failure. Used by tests/hostile.c, fuzz/conn.c, and the conformance tests to come. */
#ifndef AQ_HOSTILE_H
#define AQ_HOSTILE_H

#include "core/frame.h"
#include "core/packet.h"
#include "crypto/tls.h"

enum { HOSTILE_STREAM = 8192, HOSTILE_MAX_FRAMES = 4096 };

/* How far the handshake is driven before the script begins. */
enum hostile_stage {
    STAGE_START,     /* only Initial keys; as client, the ClientHello is not yet sent */
    STAGE_INITIAL,   /* the client's first flight is with the victim; as server, the victim's is with us */
    STAGE_HANDSHAKE, /* both have Handshake keys, the handshake is not done */
    STAGE_DONE,      /* confirmed on both sides */
};

struct hostile;

struct hostile_config {
    bool server;              /* the peer's role; the victim has the other */
    bool empty_cid;           /* the peer's own connection id has no bytes */
    enum hostile_stage stage;
    /* May change the peer's transport parameters before they are encoded. */
    void (*params)(struct params *params, const struct hostile *peer);
    /* Appended to the encoded transport parameters. */
    const uint8_t *extra;
    size_t extra_size;
    /* May change the victim's configuration. */
    void (*config)(struct aq_config *config);
    const char *alpn; /* NULL: the victim's */
};

/* How the connection was closed by the victim, read from its CONNECTION_CLOSE frame. */
struct hostile_close {
    bool seen, application;
    uint64_t code, frame_type;
    char reason[128];
};

struct hostile_space { /* one packet number space of the peer */
    uint64_t next;     /* to send */
    uint64_t received; /* largest + 1 */
};

struct hostile_hand { /* CRYPTO bytes of a level */
    uint8_t out[HOSTILE_STREAM];
    size_t out_size, out_sent;
    uint64_t in_offset;
};

struct hostile {
    struct hostile_config config;
    /* the victim */
    struct aq_endpoint *ep;
    void *mem;
    size_t mem_size;
    aq_conn conn;
    bool victim_connected, victim_closed;
    struct aq_close_info victim_close;
    struct aq_addr victim_addr, addr;
    struct aq_addr sent_to; /* where the victim's last train went */
    uint64_t now_us;
    /* the peer */
    struct tls tls;
    struct aq_tls *shared;
    struct params params, victim_params;
    struct cid own, other, original; /* our id, the victim's, the client's first destination */
    struct secret read_secret, write_secret; /* 1-RTT, for key updates */
    struct aead_key read[LEVELS], write[LEVELS], next_read;
    struct hp_key read_hp[LEVELS], write_hp[LEVELS];
    bool phase;
    struct hostile_space space[3]; /* Initial, Handshake, application */
    struct hostile_hand hand[LEVELS];
    bool done_seen; /* HANDSHAKE_DONE */
    /* what came back */
    struct hostile_close close;
    uint64_t frames_seen[256]; /* by type, STREAM under 8 */
    uint64_t datagrams, bytes, unread; /* unread: packets that could not be opened */
    struct frame_ack last_ack;
    uint64_t response[4]; /* last PATH_RESPONSE, as its 8 bytes, and the last NEW_CONNECTION_ID's sequence */
    /* Sees every frame of the victim; may be NULL. */
    void (*on_frame)(struct hostile *peer, enum packet_type type, const struct frame *frame);
    void *user;
};

/* Makes a victim and a peer and drives the handshake to the stage. NULL where it does not get there, with
 * the reason on standard error. */
struct hostile *hostile_new(const struct hostile_config *config);
void hostile_free(struct hostile *peer);
/* Goes on to a later stage. False: the victim did not come along (see close). */
bool hostile_advance(struct hostile *peer, enum hostile_stage stage);

/* Seals one packet of the given frames and gives it to the victim as a datagram (an Initial is filled up to
 * 1,200 bytes with PADDING frames), then lets the victim answer. False: no keys for that type yet. */
bool hostile_send(struct hostile *peer, enum packet_type type, const uint8_t *frames, size_t size);

/* The same, with the header's reserved bits, packet number and key phase chosen. */
struct hostile_packet {
    enum packet_type type;
    const uint8_t *frames;
    size_t size;
    uint8_t reserved;       /* two bits */
    bool number_set;
    uint64_t number;
    const uint8_t *token;   /* Initial */
    size_t token_size;
    bool bare;              /* an Initial without filling */
    const struct aead_key *key; /* NULL: the current one */
    bool phase_set, phase;
};
/* Writes the sealed packet to out (at least size + 100 bytes, or 1,300); returns its size, 0: no keys. */
size_t hostile_seal(struct hostile *peer, const struct hostile_packet *packet, uint8_t *out, size_t room);
/* Gives any bytes to the victim as a datagram, and lets it answer. */
void hostile_datagram(struct hostile *peer, const uint8_t *data, size_t size);

/* Next generation of the peer's sending keys; packets from now on carry the other key phase. */
void hostile_key_update(struct hostile *peer);

/* Lets time pass; the victim's timers fire and what it sends is read. */
void hostile_wait(struct hostile *peer, uint64_t duration_us);

/* The TLS objects made for the peers. */
void hostile_tls_free(void);

#endif
