/* tls.h -- the one door to BoringSSL's TLS 1.3 through SSL_QUIC_METHOD (RFC 9001 §4).
 *
 * struct tls is one connection's TLS; it nests by value in core/hand, and must not move from
 * tls_start to tls_free: BoringSSL's callbacks hold its address. BoringSSL allocates in these
 * calls, during the handshake only. Results are 0, the QUIC error to close with (0x100 + alert, RFC
 * 9001 §4.8), or TLS_LATER. struct aq_tls (antq.h) is the shared configuration: an SSL_CTX and what
 * goes with it. */
#ifndef AQ_TLS_H
#define AQ_TLS_H

#include "core/antq.h"
#include "crypto/schedule.h"

/* Not an error: verification or signing was put off (tls.waiting); go on with tls_verify_done or
 * tls_sign_done. Handshake bytes may be given meanwhile. */
enum {
    TLS_LATER = -64
};

/* How TLS answers. All are called inside tls_start, tls_input, tls_verify_done, tls_sign_done.
 * on_secret and on_data return 0 or a QUIC error, which ends the handshake. on_ticket and conn_user
 * may be NULL. */
struct tls_sink {
    int (*on_secret)(void *arg, enum level level, bool write, const struct secret *secret);
    int (*on_data)(void *arg, enum level level, const uint8_t *data, size_t size);
    void (*on_ticket)(void *arg, const uint8_t *ticket, size_t size); /* client: a ticket to keep */
    void *(*conn_user)(void *arg); /* the application's user pointer, for its callbacks */
    /* Server: the client's parameters are known, and nothing else was decided yet: tls_set_params
     * may still change our own. *binding: a number that tickets are bound to; one made under
     * another does not resume. 0, or a QUIC error. May be NULL. */
    int (*on_params)(void *arg, uint32_t *binding);
    /* Server: whether a ClientHello that offers 0-RTT may have it, told by the binder that makes it
     * unique (RFC 8446 §8.2). NULL: never. */
    bool (*may_early)(void *arg, const uint8_t *binder, size_t size);
};

/* What became of 0-RTT. */
enum tls_early {
    TLS_EARLY_NO = 0,
    TLS_EARLY_OFFERED,
    TLS_EARLY_ACCEPTED,
    TLS_EARLY_REJECTED
};

/* That a chain was accepted for a name, and from when to when that holds. It goes at the end of a
 * client's ticket; only the aq_tls that made it believes it (tls_verify.c). */
struct tls_mark {
    uint64_t since_s, until_s;
    uint8_t mac[32];
};

struct tls {
    void *ssl; /* SSL *; NULL: freed or never begun */
    struct aq_tls *shared;
    const struct tls_sink *sink;
    void *arg;
    int error; /* QUIC error seen in a callback, 0 none */
    uint8_t alert;
    bool server, done, waiting; /* waiting: verification or signature comes later */
    uint8_t early;              /* enum tls_early */
    bool resumed;
    bool asked;                /* verify_peer was called; its answer is or will be in `answer` */
    bool signing;              /* with waiting: for a signature, not for a verification */
    uint8_t answer;            /* enum aq_answer; AQ_LATER: not there yet */
    uint8_t message_head_size; /* handshake messages after the handshake: header bytes seen, bytes
                                  left */
    uint8_t message_head[4];
    uint32_t message_left;
    char *server_name; /* client: the name to verify; owned */
    uint8_t pin[32];   /* the peer's key, all zero any: of tls_start, or of the shared object */
    struct tls_mark mark;
    uint16_t signature_size;
    uint8_t *signature;       /* a late signature; owned */
    const char *verify_error; /* static text, NULL none */
};

/* What is kept after the TLS object is freed. */
struct tls_facts {
    const char *cipher, *group; /* static */
    const char *verify_error;
    uint8_t spki_hash[32];
    uint8_t exporter[32]; /* TLS-Exporter("EXPORTER-antq", "", 32) */
    bool resumed, verified, has_certificate,
        known; /* known: the handshake is done, all is filled in */
};

/* The rest of it: names, mostly much shorter than they may be. */
struct tls_names {
    char alpn[64];         /* "": none was agreed on */
    char server_name[256]; /* what the client asked for; "": nothing */
};

struct tls_start {
    struct aq_tls *shared;
    bool server;
    const char *server_name; /* client */
    const uint8_t *ticket;
    size_t ticket_size;     /* client */
    const uint8_t *peer_id; /* AQ_VERIFY_PEER: who it must be; NULL: as the shared object says */
    const uint8_t *params;
    size_t params_size; /* own transport parameters, encoded */
    bool early;         /* client: offer 0-RTT, if the ticket allows it */
    /* Server: what a ticket must have been made under for its 0-RTT to be accepted (RFC 9001
     * §4.6.1, RFC 9000 §7.4.1); the application's part is added to it. NULL: no 0-RTT. */
    const uint8_t *early_context;
    size_t early_context_size;
};

/* Begins TLS; a client's ClientHello leaves through on_data at once. 0, a QUIC error, or AQ_MISUSE
 * when the configuration's role does not fit or BoringSSL refuses. */
int tls_start(struct tls *tls, const struct tls_start *start, const struct tls_sink *sink,
              void *arg);

/* Handshake bytes of a level, in order. Also after the handshake (tickets; a TLS KeyUpdate is an
 * error, 0x10a, RFC 9001 §6), and also after tls_free of a handshake that was done: messages are
 * then discarded, but those that are errors still are. */
int tls_input(struct tls *tls, enum level level, const uint8_t *data, size_t size);

/* Late answers; then goes on as tls_input does. A signature of size 0 means it was refused.
 * AQ_MISUSE when that answer is not waited for, or the signature is larger than any;
 * nothing is changed then. */
int tls_verify_done(struct tls *tls, bool accept);
int tls_sign_done(struct tls *tls, const uint8_t *signature, size_t size);

/* Own transport parameters, anew: from on_params. False: no memory. */
bool tls_set_params(struct tls *tls, const uint8_t *params, size_t size);

/* The peer's transport parameters once they are known (a server: with on_params; they are
 * authenticated when the handshake is done). False: not yet. Valid until tls_free. */
bool tls_peer_params(const struct tls *tls, const uint8_t **params, size_t *size);

/* Copies the names as far as they are known: with 0-RTT before the handshake is done. */
void tls_names(const struct tls *tls, struct tls_names *names);
/* Copies everything that outlives the TLS object; done must be set. */
void tls_facts(const struct tls *tls, struct tls_facts *facts, struct tls_names *names);

/* Frees the TLS object. What tls_input needs to go on discarding messages stays. */
void tls_free(struct tls *tls);

/* Whether a server with this configuration may accept 0-RTT. */
bool tls_allows_early(const struct aq_tls *shared);

/* A server's SSL object, or none. */
bool tls_is_server_config(const struct aq_tls *shared);

#endif
