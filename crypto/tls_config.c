/* tls_config.c -- struct aq_tls: certificates, keys and rules that the connections of one role
 * share.
 *
 * Everything is checked when it is made, by whoever configures it and can mend it, and each error
 * is a sentence that says how. What remains for a handshake are the peer's mistakes.
 *
 * TLS 1.3 only (RFC 9001 §4.2). BoringSSL's method "with buffers" keeps certificates as bytes: they
 * are parsed once, in tls_verify.c, and not at all where a key is pinned. Called by applications
 * and by tls.c. */
#include "crypto/tls_config.h"
#include "crypto/prim.h"
#include "crypto/tls.h"

#include <assert.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>

#include <openssl/aead.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

/* struct tls_facts and struct aq_conn_peer hold 63 characters; a TLS ClientHello less than 64 KiB
 * of them. */
enum {
    ALPN_NAME_MAX = 63,
    ALPN_COUNT_MAX = 64,
    TICKETS_MAX = 2
};

/* Most wanted first. Ed25519 must be named: BoringSSL's own list for verifying leaves it out. The
 * PKCS #1 ones are for signatures inside certificates; TLS 1.3 does not let a peer sign its
 * handshake with them. */
static const uint16_t verify_algorithms[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PSS_RSAE_SHA384,    SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA256,       SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA512,
};
static const uint16_t sign_algorithms[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519,
    SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PSS_RSAE_SHA384,    SSL_SIGN_RSA_PSS_RSAE_SHA512,
};

void aq_tls_config_init(struct aq_tls_config *config)
{
    memset(config, 0, sizeof(*config));
    config->size = sizeof(*config);
    config->tickets = 1;
}

/* ---- time
 * -------------------------------------------------------------------------------------------- */

/* BoringSSL calls its clock with neither connection nor context, so what it should answer is noted
 * here for the length of a call; nothing outlives the call that set it. */
#ifdef HAVE_SSL_CURRENT_TIME_CB
static _Thread_local uint64_t clock_unix_s;

static void clock_read(const SSL *ssl, struct timeval *now)
{
    (void)ssl;
    now->tv_sec = (time_t)clock_unix_s;
    now->tv_usec = 0;
}
#endif

void tls_clock_enter(const struct aq_tls *tls)
{
#ifdef HAVE_SSL_CURRENT_TIME_CB
    clock_unix_s = tls->unix_s;
#else
    (void)tls;
#endif
}

/* A constant time makes a run repeatable. Where BoringSSL has no such callback, only certificates
 * are judged by it, and tickets by the system's clock. */
static void set_clock(struct aq_tls *tls)
{
#ifdef HAVE_SSL_CURRENT_TIME_CB
    if (tls->unix_s != 0) {
        SSL_CTX_set_current_time_cb(tls->ctx, clock_read);
    }
#else
    (void)tls;
#endif
}

/* ---- identities
 * ---------------------------------------------------------------------------------------- */

static size_t chain_of(const struct identity *id, CRYPTO_BUFFER *certs[IDENTITY_CHAIN_MAX])
{
    size_t count = sk_CRYPTO_BUFFER_num(id->chain);

    assert(count > 0 && count <= IDENTITY_CHAIN_MAX);
    for (size_t i = 0; i < count; i++) {
        certs[i] = sk_CRYPTO_BUFFER_value(id->chain, i);
    }
    return count;
}

static const struct identity *identity_of(const struct aq_tls *tls, const char *name)
{
    for (const struct named *at = tls->named; name != NULL && at != NULL; at = at->next) {
        if (strcasecmp(at->name, name) == 0) {
            return &at->id;
        }
    }
    return NULL;
}

/* A server's certificate by the name that the client asks for; without one of its own, the default
 * stays. */
static int on_certificate(SSL *ssl, void *arg)
{
    const struct aq_tls *shared = arg;
    CRYPTO_BUFFER *certs[IDENTITY_CHAIN_MAX];

    const struct identity *id =
        identity_of(shared, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (!tls_hello(ssl)) {
        return 0;
    }
    if (id == NULL) {
        return 1;
    }
    size_t count = chain_of(id, certs);
    return SSL_set_chain_and_key(ssl, certs, count, id->key,
                                 id->key == NULL ? &tls_key_method : NULL);
}

static bool given(const struct aq_pem *pem)
{
    return pem != NULL && (pem->file != NULL || pem->pem != NULL);
}

/* Puts an identity's chain and key into the context, for all names without their own. */
static bool use_default(struct aq_tls *tls, const struct identity *id, char *error,
                        size_t error_size)
{
    CRYPTO_BUFFER *certs[IDENTITY_CHAIN_MAX];
    size_t count = chain_of(id, certs);

    if (!SSL_CTX_set_chain_and_key(tls->ctx, certs, count, id->key,
                                   id->key == NULL ? &tls_key_method : NULL)) {
        ERR_clear_error();
        return identity_error(error, error_size,
                              "certificate: TLS cannot use its kind of key: take P-256 or Ed25519");
    }
    memcpy(tls->own_pin, id->spki_hash, sizeof(tls->own_pin));
    tls->has_pin = true;
    return true;
}

/* Loads what the caller gave: a chain with its key, or a chain whose key is behind `sign`. */
static bool load_given(const struct aq_tls *tls, struct identity *id, const struct aq_pem *cert,
                       const struct aq_pem *key, char *error, size_t error_size)
{
    if (!given(cert)) {
        return identity_error(error, error_size,
                              "a private key without a certificate: give cert as well");
    }
    if (given(key) && tls->sign != NULL) {
        return identity_error(error, error_size, "both key and sign are given: give one of them");
    }
    if (!given(key) && tls->sign == NULL) {
        return identity_error(error, error_size,
                              "a certificate without its private key: give key, or sign");
    }
    return identity_load(id, cert, given(key) ? key : NULL, error, error_size);
}

static bool set_identity(struct aq_tls *tls, const struct aq_tls_config *config, char *error,
                         size_t error_size)
{
    struct identity id;
    bool done;

    uint64_t unix_s = tls->unix_s != 0 ? tls->unix_s : (uint64_t)time(NULL);

    if (!given(&config->cert) && given(&config->key) && tls->sign == NULL) {
        /* PROTOCOL §2: a peer keeps its key; its certificate only carries the public half. */
        if (!identity_from_key(&id, &config->key, unix_s, error, error_size)) {
            return false;
        }
        if (tls->verify == AQ_VERIFY_PEER && !identity_is_of_peer(id.key)) {
            identity_free(&id);
            return identity_error(error, error_size,
                                  "private key %s: peers take Ed25519 and P-256 keys only",
                                  config->key.file != NULL ? config->key.file : "(in memory)");
        }
    } else if (given(&config->cert) || given(&config->key)) {
        if (!load_given(tls, &id, &config->cert, &config->key, error, error_size)) {
            return false;
        }
    } else if (tls->sign != NULL) {
        return identity_error(error, error_size, "sign without a certificate: give cert as well");
    } else if (tls->server) {
        if (!identity_self_signed(&id, config->self_signed, unix_s, error, error_size)) {
            return false;
        }
    } else {
        return true; /* a client needs none */
    }
    done = use_default(tls, &id, error, error_size);
    identity_free(&id);
    return done;
}

int aq_tls_set_cert(struct aq_tls *tls, const char *server_name, const struct aq_pem *cert,
                    const struct aq_pem *key, char *error, size_t error_size)
{
    struct identity id;
    struct named *at = tls->named;

    identity_error(error, error_size, "%s", "");
    if (!tls->server) {
        identity_error(error, error_size,
                       "certificates by server name are a server's: this is a client's TLS object");
        return AQ_MISUSE;
    }
    if (!load_given(tls, &id, cert, key, error, error_size)) {
        return AQ_MISUSE;
    }
    if (server_name == NULL) {
        bool done = use_default(tls, &id, error, error_size);
        identity_free(&id);
        return done ? AQ_OK : AQ_MISUSE;
    }
    while (at != NULL && strcasecmp(at->name, server_name) != 0) {
        at = at->next;
    }
    if (at == NULL) {
        at = OPENSSL_malloc(sizeof(*at));
        char *name = OPENSSL_strdup(server_name);
        if (at == NULL || name == NULL) {
            OPENSSL_free(at);
            OPENSSL_free(name);
            identity_free(&id);
            identity_error(error, error_size, "certificate for %s: out of memory", server_name);
            return AQ_MISUSE;
        }
        memset(at, 0, sizeof(*at));
        at->name = name;
        at->next = tls->named;
        tls->named = at;
    }
    identity_free(&at->id);
    at->id = id;
    return AQ_OK;
}

bool aq_tls_pin(const struct aq_tls *tls, uint8_t pin[32])
{
    if (tls->has_pin) {
        memcpy(pin, tls->own_pin, sizeof(tls->own_pin));
    }
    return tls->has_pin;
}

bool aq_tls_secret(const struct aq_tls *tls, const void *info, size_t info_size, uint8_t secret[32])
{
    const EVP_PKEY *key = SSL_CTX_get0_privatekey(tls->ctx);
    return key != NULL && identity_secret(key, info, info_size, secret);
}

/* ---- the rest of the configuration
 * ---------------------------------------------------------------------- */

/* The server's first protocol that the client offers. RFC 9001 §8.1: none in common ends the
 * handshake with no_application_protocol. */
static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *offered,
                   unsigned offered_size, void *arg)
{
    const struct aq_tls *shared = arg;

    (void)ssl;
    for (size_t own = 0; own < shared->alpn_size; own += 1u + shared->alpn[own]) {
        const uint8_t *name = shared->alpn + own;
        /* BoringSSL has checked that the offered names fill their list exactly. */
        for (size_t at = 0; at < offered_size; at += 1u + offered[at]) {
            if (offered[at] == name[0] && memcmp(offered + at + 1, name + 1, name[0]) == 0) {
                *out = name + 1;
                *out_size = name[0];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool set_alpn(struct aq_tls *tls, const struct aq_tls_config *config, char *error,
                     size_t error_size)
{
    size_t size = 0;

    /* RFC 9001 §8.1: QUIC requires that the application protocol is agreed on, and so does
     * BoringSSL. */
    if (config->alpn == NULL || config->alpn_count == 0) {
        return identity_error(error, error_size,
                              "no application protocol: QUIC needs at least one in alpn");
    }
    if (config->alpn_count > ALPN_COUNT_MAX) {
        return identity_error(error, error_size, "alpn has more than %d application protocols",
                              ALPN_COUNT_MAX);
    }
    for (unsigned i = 0; i < config->alpn_count; i++) {
        size_t length = config->alpn[i] != NULL ? strlen(config->alpn[i]) : 0;
        if (length == 0 || length > ALPN_NAME_MAX) {
            return identity_error(error, error_size,
                                  "application protocol %u must have 1 to %d characters", i,
                                  ALPN_NAME_MAX);
        }
        size += 1 + length;
    }
    tls->alpn = OPENSSL_malloc(size);
    if (tls->alpn == NULL) {
        return identity_error(error, error_size, "out of memory");
    }
    for (unsigned i = 0; i < config->alpn_count; i++) {
        size_t length = strlen(config->alpn[i]);
        tls->alpn[tls->alpn_size++] = (uint8_t)length;
        memcpy(tls->alpn + tls->alpn_size, config->alpn[i], length);
        tls->alpn_size += length;
    }
    /* This one returns 0 for success. */
    if (SSL_CTX_set_alpn_protos(tls->ctx, tls->alpn, (unsigned)tls->alpn_size) != 0) {
        return identity_error(error, error_size, "application protocols: refused by TLS");
    }
    if (tls->server) {
        SSL_CTX_set_alpn_select_cb(tls->ctx, on_alpn, tls);
    }
    return true;
}

/* BoringSSL has long had no choice of TLS 1.3 cipher suites: it puts AES-128-GCM first where the
 * CPU has AES instructions and ChaCha20-Poly1305 first where not. A wish
 * that would be ignored is refused here, because whoever has one (an interoperability test, a
 * policy) must know. */
static bool check_cipher(uint16_t cipher, char *error, size_t error_size)
{
    if (cipher == 0) {
        return true;
    }
    if (cipher < 0x1301 || cipher > 0x1303) {
        return identity_error(error, error_size,
                              "cipher 0x%04x: must be 0, 0x1301, 0x1302 or 0x1303", cipher);
    }
    if (cipher == (EVP_has_aes_hardware() ? 0x1301 : 0x1303)) {
        return true; /* what it prefers by itself */
    }
    return identity_error(
        error, error_size,
        "cipher 0x%04x: this BoringSSL cannot be told to use it on this CPU (it prefers %s): leave "
        "cipher 0",
        cipher, EVP_has_aes_hardware() ? "0x1301" : "0x1303");
}

/* Tickets made under one way to verify clients must not let them in under another, even where the
 * ticket key is shared: the session id context is a digest of that way. */
static bool set_session_context(struct aq_tls *tls, const struct aq_pem *ca)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint8_t mode[2] = {(uint8_t)tls->verify, tls->asks_certificate};
    SHA256_CTX sha;

    SHA256_Init(&sha);
    SHA256_Update(&sha, mode, sizeof(mode));
    SHA256_Update(&sha, tls->pin, sizeof(tls->pin));
    if (tls->asks_certificate && tls->verify == AQ_VERIFY_CA) {
        STACK_OF(CRYPTO_BUFFER) *chain = identity_read_chain(ca, "CA certificates", NULL, 0);
        for (size_t i = 0; chain != NULL && i < sk_CRYPTO_BUFFER_num(chain); i++) {
            const CRYPTO_BUFFER *der = sk_CRYPTO_BUFFER_value(chain, i);
            SHA256_Update(&sha, CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der));
        }
        sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
    }
    SHA256_Final(digest, &sha);
    static_assert(sizeof(digest) == sizeof(tls->session_context), "a digest");
    memcpy(tls->session_context, digest, sizeof(digest));
    return SSL_CTX_set_session_id_context(tls->ctx, digest, sizeof(digest)) == 1;
}

static bool set_tickets(struct aq_tls *tls, const struct aq_tls_config *config, char *error,
                        size_t error_size)
{
    static const uint8_t zero[sizeof(config->ticket_key)];
    bool done = true;

    if (config->tickets > TICKETS_MAX) {
        return identity_error(error, error_size, "tickets: 0 to %d, not %u", TICKETS_MAX,
                              config->tickets);
    }
    if (!tls->server) {
        /* Sessions go to the application (on_ticket); BoringSSL keeps none. */
        SSL_CTX_set_session_cache_mode(tls->ctx,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        return true;
    }
    SSL_CTX_set_session_cache_mode(tls->ctx, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_num_tickets(tls->ctx, config->tickets);
    if (config->tickets == 0) {
        SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET);
    }
    if (memcmp(config->ticket_key, zero, sizeof(zero)) != 0) {
        done =
            SSL_CTX_set_tlsext_ticket_keys(tls->ctx, config->ticket_key, sizeof(config->ticket_key))
            == 1;
    }
    if (!done || !set_session_context(tls, &config->ca)) {
        return identity_error(error, error_size, "tickets: refused by TLS");
    }
    return true;
}

static bool make_context(struct aq_tls *tls, char *error, size_t error_size)
{
    tls->ctx = SSL_CTX_new(TLS_with_buffers_method());
    if (tls->ctx == NULL || !SSL_CTX_set_min_proto_version(tls->ctx, TLS1_3_VERSION)
        || !SSL_CTX_set_max_proto_version(tls->ctx, TLS1_3_VERSION)
        || !SSL_CTX_set_verify_algorithm_prefs(
            tls->ctx, verify_algorithms, sizeof(verify_algorithms) / sizeof(verify_algorithms[0]))
        || !SSL_CTX_set_signing_algorithm_prefs(
            tls->ctx, sign_algorithms, sizeof(sign_algorithms) / sizeof(sign_algorithms[0]))) {
        return identity_error(error, error_size, "TLS could not be set up: out of memory");
    }
    if (tls->server) {
        SSL_CTX_set_cert_cb(tls->ctx, on_certificate, tls);
    }
    set_clock(tls);
    tls_attach(tls);
    return true;
}

/* What can be wrong without looking into files. */
static bool check(const struct aq_tls_config *config, char *error, size_t error_size)
{
    if (config->size != sizeof(*config)) {
        return identity_error(error, error_size,
                              "config.size is wrong: call aq_tls_config_init first");
    }
    if (config->verify > AQ_VERIFY_PEER || config->self_signed > AQ_KEY_ED25519) {
        return identity_error(error, error_size,
                              "verify or self_signed is not a value of its enum");
    }
    if (config->ask_client_certificate && !config->server) {
        return identity_error(error, error_size,
                              "ask_client_certificate is a server's, server is false");
    }
    return true;
}

struct aq_tls *aq_tls_new(const struct aq_tls_config *config, char *error, size_t error_size)
{
    identity_error(error, error_size, "%s", "");
    if (!check(config, error, error_size)) {
        return NULL;
    }
    struct aq_tls *tls = OPENSSL_malloc(sizeof(*tls));
    if (tls == NULL) {
        identity_error(error, error_size, "out of memory");
        return NULL;
    }
    memset(tls, 0, sizeof(*tls));
    tls->server = config->server;
    tls->asks_certificate = config->ask_client_certificate;
    tls->verify = config->verify;
    memcpy(tls->pin, config->pin, sizeof(tls->pin));
    tls->verify_peer = config->verify_peer;
    tls->sign = config->sign;
    tls->keylog = config->keylog;
    tls->user = config->user;
    tls->unix_s = config->unix_s;
    /* A client certificate that is asked for comes after 0-RTT would have been acted upon. */
    tls->early_data = config->server && config->early_data && !config->ask_client_certificate;
    SHA256(config->early_context, config->early_context_size, tls->early_context);

    ERR_clear_error();
    tls_clock_enter(tls);
    /* A server that asks for no certificate verifies nothing, so it needs no CA certificates. */
    bool verifies = !tls->server || tls->asks_certificate;
    bool done = make_context(tls, error, error_size) && set_alpn(tls, config, error, error_size)
                && check_cipher(config->cipher, error, error_size)
                && (!verifies || tls_verify_load(tls, &config->ca, error, error_size))
                && set_identity(tls, config, error, error_size)
                && set_tickets(tls, config, error, error_size);
    ERR_clear_error();
    if (!done) {
        aq_tls_free(tls);
        return NULL;
    }
    return tls;
}

void aq_tls_free(struct aq_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    while (tls->named != NULL) {
        struct named *next = tls->named->next;
        identity_free(&tls->named->id);
        OPENSSL_free(tls->named->name);
        OPENSSL_free(tls->named);
        tls->named = next;
    }
    SSL_CTX_free(tls->ctx);
    X509_STORE_free(tls->store);
    OPENSSL_free(tls->alpn);
    OPENSSL_free(tls);
}

bool tls_allows_early(const struct aq_tls *shared)
{
    return shared->early_data;
}

bool tls_is_server_config(const struct aq_tls *shared)
{
    return shared->server;
}
