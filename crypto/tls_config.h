/* tls_config.h -- struct aq_tls: what the connections of one role share.
 *
 * Inner to crypto/ (it names BoringSSL's types). tls_config.c makes it, tls_verify.c judges
 * certificates by it, tls.c runs connections with it. */
#ifndef AQ_TLS_CONFIG_H
#define AQ_TLS_CONFIG_H

#include "core/antq.h"
#include "crypto/identity.h"
#include "crypto/tls.h"

#include <openssl/ssl.h>

/* A server's certificate for one name; a list, because names are few and looked at once per
 * handshake. */
struct named {
    struct named *next;
    char *name;
    struct identity id;
};

struct aq_tls {
    SSL_CTX *ctx;
    bool server;
    bool asks_certificate; /* server: requires a certificate of the client */
    bool has_pin;          /* own_pin is set */
    enum aq_verify verify;
    X509_STORE *store;    /* AQ_VERIFY_SYSTEM, AQ_VERIFY_CA; else NULL */
    uint8_t mark_key[32]; /* with a store: what struct tls_mark is made with; never leaves */
    uint8_t pin[32];
    uint8_t own_pin[32];
    uint8_t session_context[32]; /* what tickets are bound to */
    enum aq_answer (*verify_peer)(void *user, void *conn_user, const struct aq_iov *chain,
                                  unsigned count);
    enum aq_answer (*sign)(void *user, void *conn_user, uint16_t algorithm, const uint8_t *in,
                           size_t size, uint8_t *out, size_t *out_size, size_t out_max);
    void (*keylog)(void *user, const char *line);
    void *user;
    bool early_data;           /* server: 0-RTT may be accepted */
    uint8_t early_context[32]; /* digest of the application's state that 0-RTT counts on */
    uint64_t unix_s;           /* 0: read from the system */
    uint8_t *alpn;             /* as on the wire: length, name, length, name ... */
    size_t alpn_size;          /* bytes */
    struct named *named;
};

/* A judgement on a peer's certificate: the TLS alert to send and what to do about it (static); or,
 * accepted by way of CA certificates, when the first certificate of the chain ends. */
struct verdict {
    uint8_t alert;
    const char *text;
    uint64_t until_s; /* 0: not known */
};

/* tls_verify.c: the CA certificates that verify needs, or none. False with a sentence in error. */
bool tls_verify_load(struct aq_tls *tls, const struct aq_pem *ca, char *error, size_t error_size);
/* All modes but AQ_VERIFY_CALL. name: the server's, NULL for a client's certificate. pin: of
 * AQ_VERIFY_PIN and AQ_VERIFY_PEER. True: accepted. */
bool tls_verify_chain(const struct aq_tls *tls, const STACK_OF(CRYPTO_BUFFER) * chain,
                      const char *name, const uint8_t pin[32], struct verdict *verdict);
/* Notes a chain accepted, and whether such a note still says so of this chain and name. */
void tls_mark_make(const struct aq_tls *tls, struct tls_mark *mark, uint64_t until_s,
                   const STACK_OF(CRYPTO_BUFFER) * chain, const char *name);
bool tls_mark_holds(const struct aq_tls *tls, const struct tls_mark *mark,
                    const STACK_OF(CRYPTO_BUFFER) * chain, const char *name);
/* Whether a name is an IP address, and its bytes: 4, 16, or 0. RFC 6066 §3: those are not sent as
 * SNI. */
size_t tls_verify_ip(const char *name, uint8_t ip[16]);

/* tls.c: sets its callbacks in a new context. */
void tls_attach(struct aq_tls *tls);
/* tls.c: a server has read a ClientHello; false: the handshake ends. */
bool tls_hello(SSL *ssl);
/* tls.c: how private keys that live elsewhere sign. */
extern const SSL_PRIVATE_KEY_METHOD tls_key_method;

/* tls_config.c: BoringSSL asks for the time without saying for whom. Each call into it that may ask
 * is preceded by this, on the same thread. */
void tls_clock_enter(const struct aq_tls *tls);

#endif
