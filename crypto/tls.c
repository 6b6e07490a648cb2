/* tls.c -- one connection's TLS 1.3 over QUIC: BoringSSL's SSL object and its callbacks.
 *
 *      tls_input --> SSL_provide_quic_data --> SSL_do_handshake --> on_secret, on_data: core/hand
 *                                                |        ^
 *                                       verify, sign      | tls_verify_done, tls_sign_done
 *                                                v        |
 *                                          application, now or later
 *
 * Inside BoringSSL's calls errors come from three sides: what the sink answered (it wins, being
 * ours), the alert that BoringSSL would send (RFC 9001 §4.8 makes it 0x100 + alert), or neither,
 * which is an internal error. The first one stays in struct tls, and every later call returns it.
 *
 * Called by core/hand, core/endpoint, core/conn. RFC 9001 §4, §4.1.3, §4.4, §4.8, §6, §8.2. */
#include "crypto/tls.h"
#include "crypto/tls_config.h"

#include <assert.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>

/* Handshake message types, RFC 8446 §4. */
enum {
    MESSAGE_NEW_SESSION_TICKET = 4,
    MESSAGE_CERTIFICATE_REQUEST = 13,
    MESSAGE_HEAD_SIZE = 4
};

/* tls.signature_size of a late signature that was refused. */
enum {
    SIGNATURE_REFUSED = UINT16_MAX,
    SIGNATURE_MAX = 512
};

static_assert((int)LEVEL_INITIAL == (int)ssl_encryption_initial
                  && (int)LEVEL_EARLY == (int)ssl_encryption_early_data
                  && (int)LEVEL_HANDSHAKE == (int)ssl_encryption_handshake
                  && (int)LEVEL_APP == (int)ssl_encryption_application,
              "enum level has BoringSSL's order");

static struct tls *tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static void *user_of(const struct tls *tls)
{
    return tls->sink->conn_user != NULL ? tls->sink->conn_user(tls->arg) : NULL;
}

/* The first error is the one that counts. Returns what BoringSSL's callbacks want: 1 goes on, 0
 * ends it. */
static int note_error(struct tls *tls, int error)
{
    if (tls->error == 0) {
        tls->error = error;
    }
    return error == 0;
}

/* ---- BoringSSL's QUIC callbacks
 * ------------------------------------------------------------------------- */

static int give_secret(const SSL *ssl, enum level level, bool write, const SSL_CIPHER *suite,
                       struct secret *secret)
{
    struct tls *tls = tls_of(ssl);

    switch (SSL_CIPHER_get_protocol_id(suite)) {
    case 0x1301: secret->cipher = CIPHER_AES_128_GCM; break;
    case 0x1302: secret->cipher = CIPHER_AES_256_GCM; break;
    case 0x1303: secret->cipher = CIPHER_CHACHA20; break;
    default: return note_error(tls, AQ_CRYPTO_ERROR + SSL_AD_INTERNAL_ERROR);
    }
    return note_error(tls, tls->sink->on_secret(tls->arg, level, write, secret));
}

static int on_secret(const SSL *ssl, enum level level, bool write, const SSL_CIPHER *suite,
                     const uint8_t *bytes, size_t size)
{
    struct secret secret;

    memset(&secret, 0, sizeof(secret));
    assert(size == 32 || size == sizeof(secret.bytes));
    memcpy(secret.bytes, bytes, size);
    secret.size = (uint8_t)size;
    int done = give_secret(ssl, level, write, suite, &secret);
    schedule_wipe(&secret);
    return done;
}

static int on_read_secret(SSL *ssl, enum ssl_encryption_level_t level, const SSL_CIPHER *suite,
                          const uint8_t *bytes, size_t size)
{
    return on_secret(ssl, (enum level)level, false, suite, bytes, size);
}

static int on_write_secret(SSL *ssl, enum ssl_encryption_level_t level, const SSL_CIPHER *suite,
                           const uint8_t *bytes, size_t size)
{
    return on_secret(ssl, (enum level)level, true, suite, bytes, size);
}

static int on_handshake_data(SSL *ssl, enum ssl_encryption_level_t level, const uint8_t *data,
                             size_t size)
{
    struct tls *tls = tls_of(ssl);

    return note_error(tls, tls->sink->on_data(tls->arg, (enum level)level, data, size));
}

static int on_flush(SSL *ssl)
{
    (void)ssl; /* the core sends when its turn comes */
    return 1;
}

static int on_alert(SSL *ssl, enum ssl_encryption_level_t level, uint8_t alert)
{
    struct tls *tls = tls_of(ssl);

    (void)level;
    if (tls->error == 0) {
        tls->alert = alert;
        /* RFC 9001 §4.8: an alert is a connection error 0x100 + alert; its level does not matter.
         */
        tls->error = AQ_CRYPTO_ERROR + alert;
    }
    return 1;
}

static const SSL_QUIC_METHOD quic_method = {
    .set_read_secret = on_read_secret,
    .set_write_secret = on_write_secret,
    .add_handshake_data = on_handshake_data,
    .flush_flight = on_flush,
    .send_alert = on_alert,
};

/* ---- verification
 * ---------------------------------------------------------------------------------------- */

static enum aq_answer ask_application(struct tls *tls, const STACK_OF(CRYPTO_BUFFER) * chain)
{
    struct aq_iov certs[IDENTITY_CHAIN_MAX];
    unsigned count = 0;

    for (size_t i = 0;
         chain != NULL && i < sk_CRYPTO_BUFFER_num(chain) && count < IDENTITY_CHAIN_MAX; i++) {
        const CRYPTO_BUFFER *der = sk_CRYPTO_BUFFER_value(chain, i);
        certs[count].data = CRYPTO_BUFFER_data(der);
        certs[count++].size = CRYPTO_BUFFER_len(der);
    }
    return tls->shared->verify_peer(tls->shared->user, user_of(tls), certs, count);
}

static enum ssl_verify_result_t verify_by_application(struct tls *tls,
                                                      const STACK_OF(CRYPTO_BUFFER) * chain,
                                                      uint8_t *alert)
{
    /* BoringSSL comes here again for as long as the answer is "later". */
    if (!tls->asked) {
        tls->asked = true;
        tls->answer = (uint8_t)ask_application(tls, chain);
        ERR_clear_error();
    }
    if (tls->answer == AQ_ACCEPT) {
        return ssl_verify_ok;
    }
    if (tls->answer == AQ_LATER) {
        return ssl_verify_retry;
    }
    *alert = SSL_AD_BAD_CERTIFICATE;
    tls->verify_error = "the application refused the peer's certificate";
    return ssl_verify_invalid;
}

static enum ssl_verify_result_t on_verify(SSL *ssl, uint8_t *alert)
{
    struct tls *tls = tls_of(ssl);
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(ssl);
    struct verdict verdict = {SSL_AD_CERTIFICATE_UNKNOWN, NULL, 0};

    if (tls->shared->verify == AQ_VERIFY_CALL) {
        return verify_by_application(tls, chain, alert);
    }
    /* With 0-RTT offered it is asked before the server has answered. */
    if ((SSL_session_reused(ssl) || tls->early == TLS_EARLY_OFFERED)
        && tls_mark_holds(tls->shared, &tls->mark, chain, tls->server_name)) {
        return ssl_verify_ok;
    }
    if (tls_verify_chain(tls->shared, chain, tls->server_name, tls->pin, &verdict)) {
        tls_mark_make(tls->shared, &tls->mark, verdict.until_s, chain, tls->server_name);
        return ssl_verify_ok;
    }
    *alert = verdict.alert;
    tls->verify_error = verdict.text;
    return ssl_verify_invalid;
}

/* ---- private keys that live elsewhere
 * -------------------------------------------------------------------- */

static enum ssl_private_key_result_t on_sign(SSL *ssl, uint8_t *out, size_t *out_size,
                                             size_t out_max, uint16_t algorithm, const uint8_t *in,
                                             size_t size)
{
    struct tls *tls = tls_of(ssl);
    const struct aq_tls *shared = tls->shared;

    *out_size = 0;
    enum aq_answer answer =
        shared->sign(shared->user, user_of(tls), algorithm, in, size, out, out_size, out_max);
    ERR_clear_error();
    if (answer == AQ_LATER) {
        return ssl_private_key_retry;
    }
    bool signed_now = answer == AQ_ACCEPT && *out_size > 0 && *out_size <= out_max;
    return signed_now ? ssl_private_key_success : ssl_private_key_failure;
}

static enum ssl_private_key_result_t on_decrypt(SSL *ssl, uint8_t *out, size_t *out_size,
                                                size_t out_max, const uint8_t *in, size_t size)
{
    (void)ssl, (void)out, (void)out_size, (void)out_max, (void)in, (void)size;
    return ssl_private_key_failure; /* RSA key exchange: not in TLS 1.3 */
}

static enum ssl_private_key_result_t on_signed(SSL *ssl, uint8_t *out, size_t *out_size,
                                               size_t out_max)
{
    struct tls *tls = tls_of(ssl);

    if (tls->signature_size == 0) {
        return ssl_private_key_retry;
    }
    if (tls->signature_size == SIGNATURE_REFUSED || tls->signature_size > out_max) {
        return ssl_private_key_failure;
    }
    memcpy(out, tls->signature, tls->signature_size);
    *out_size = tls->signature_size;
    return ssl_private_key_success;
}

const SSL_PRIVATE_KEY_METHOD tls_key_method = {
    .sign = on_sign, .decrypt = on_decrypt, .complete = on_signed};

/* ---- other callbacks
 * --------------------------------------------------------------------------------------- */

/* A client's ticket: the whole session as bytes, so that the application can keep it anywhere, and
 * behind it how its certificate was judged. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    const struct tls *tls = tls_of(ssl);
    uint8_t *bytes = NULL;
    size_t size = 0;

    if (tls->sink->on_ticket != NULL && SSL_SESSION_to_bytes(session, &bytes, &size)) {
        uint8_t *ticket = OPENSSL_realloc(bytes, size + sizeof(tls->mark));
        if (ticket != NULL) {
            memcpy(ticket + size, &tls->mark, sizeof(tls->mark));
            tls->sink->on_ticket(tls->arg, ticket, size + sizeof(tls->mark));
        }
        OPENSSL_free(ticket != NULL ? ticket : bytes); /* which wipes it: it holds a secret */
    }
    return 0; /* the session stays BoringSSL's */
}

/* The first PSK's binder: the ClientHello up to it is what it authenticates, so two hellos with the
 * same one are the same. NULL: there is none. */
static const uint8_t *first_binder(const SSL_CLIENT_HELLO *hello, size_t *size)
{
    const uint8_t *psk = NULL;
    size_t psk_size = 0;

    if (!SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_pre_shared_key, &psk, &psk_size)
        || psk_size < 2) {
        return NULL;
    }
    size_t at = 2 + ((size_t)psk[0] << 8 | psk[1]); /* past the identities: the list's size */
    if (psk_size < at + 3 || psk[at + 2] > psk_size - at - 3) {
        return NULL;
    }
    *size = psk[at + 2];
    return psk + at + 3;
}

/* Before anything of a ClientHello is acted upon: a replayed one gets no 0-RTT (RFC 8446 §8). */
static enum ssl_select_cert_result_t on_hello(const SSL_CLIENT_HELLO *hello)
{
    struct tls *tls = tls_of(hello->ssl);
    const uint8_t *binder;
    size_t size = 0;

    if (!SSL_early_callback_ctx_extension_get(hello, TLSEXT_TYPE_early_data, &binder, &size)) {
        return ssl_select_cert_success;
    }
    tls->early = TLS_EARLY_OFFERED;
    binder = first_binder(hello, &size);
    if (binder == NULL || !tls->shared->early_data || tls->sink->may_early == NULL
        || !tls->sink->may_early(tls->arg, binder, size)) {
        SSL_set_early_data_enabled(hello->ssl, 0);
    }
    return ssl_select_cert_success;
}

static void on_keylog(const SSL *ssl, const char *line)
{
    const struct aq_tls *shared = tls_of(ssl)->shared;

    shared->keylog(shared->user, line);
}

void tls_attach(struct aq_tls *tls)
{
    int mode = SSL_VERIFY_PEER;

    /* Fails only for contexts that allow older versions of TLS. */
    int done = SSL_CTX_set_quic_method(tls->ctx, &quic_method);
    assert(done == 1);
    (void)done;
    if (tls->server) {
        SSL_CTX_set_early_data_enabled(tls->ctx, tls->early_data);
        SSL_CTX_set_select_certificate_cb(tls->ctx, on_hello);
        mode = tls->asks_certificate ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                     : SSL_VERIFY_NONE;
    } else {
        SSL_CTX_sess_set_new_cb(tls->ctx, on_session);
        /* on_verify is asked for a resumed server, too (tls_verify.c, resumption). */
        SSL_CTX_set_reverify_on_resume(tls->ctx, 1);
    }
    /* AQ_VERIFY_NONE asks as well, and on_verify accepts: the peer's key is known then. */
    SSL_CTX_set_custom_verify(tls->ctx, mode, on_verify);
    if (tls->keylog != NULL) {
        SSL_CTX_set_keylog_callback(tls->ctx, on_keylog);
    }
}

/* ---- the handshake
 * -------------------------------------------------------------------------------------------- */

/* What ended it, when BoringSSL says that it ended. */
static int failed(struct tls *tls)
{
    uint32_t first = ERR_peek_error();
    bool excess =
        ERR_GET_LIB(first) == ERR_LIB_SSL && ERR_GET_REASON(first) == SSL_R_EXCESS_HANDSHAKE_DATA;

    if (tls->error == 0) {
        tls->error = AQ_CRYPTO_ERROR + SSL_AD_INTERNAL_ERROR;
    } else if (excess && tls->error == AQ_CRYPTO_ERROR + SSL_AD_UNEXPECTED_MESSAGE) {
        /* RFC 9001 §4.1.3: bytes of a lower level left over when keys of a higher one are there. */
        tls->error = AQ_PROTOCOL_VIOLATION;
    }
    if (tls->alert == SSL_AD_CERTIFICATE_REQUIRED && tls->server && tls->verify_error == NULL) {
        tls->verify_error = "the client sent no certificate: this server requires one";
    }
    ERR_clear_error();
    return tls->error;
}

/* Goes on with the handshake as far as it goes. */
static void signature_free(struct tls *tls)
{
    OPENSSL_free(tls->signature); /* wipes it, too */
    tls->signature = NULL;
}

/* One step. With 0-RTT BoringSSL comes back twice with less than a whole handshake: when bytes may
 * be sent or taken early, and at a client whose offer was rejected, which then has to forget all
 * that it believed about the server. */
static int step(struct tls *tls)
{
    SSL *ssl = tls->ssl;
    int result;

    do {
        ERR_clear_error();
        tls_clock_enter(tls->shared);
        result = SSL_do_handshake(ssl);
        if (result != 1 && tls->error == 0
            && SSL_get_error(ssl, result) == SSL_ERROR_EARLY_DATA_REJECTED) {
            SSL_reset_early_data_reject(ssl);
            tls->early = TLS_EARLY_REJECTED;
            tls->asked = false;
            tls->answer = AQ_LATER;
            result = SSL_do_handshake(ssl);
        }
    } while (result == 1 && SSL_in_early_data(ssl));
    if (tls->early == TLS_EARLY_OFFERED && SSL_early_data_accepted(ssl)) {
        tls->early = TLS_EARLY_ACCEPTED;
    }
    return result;
}

static int drive(struct tls *tls)
{
    SSL *ssl = tls->ssl;
    int result = step(tls);

    if (result == 1) {
        tls->done = true;
        tls->resumed = SSL_session_reused(ssl);
        if (tls->early == TLS_EARLY_OFFERED) {
            tls->early = tls->server ? TLS_EARLY_REJECTED : TLS_EARLY_NO;
        }
        signature_free(tls);
        return 0;
    }
    int reason = SSL_get_error(ssl, result);
    if (tls->error == 0 && reason == SSL_ERROR_WANT_READ) {
        return 0;
    }
    if (tls->error == 0
        && (reason == SSL_ERROR_WANT_CERTIFICATE_VERIFY
            || reason == SSL_ERROR_WANT_PRIVATE_KEY_OPERATION)) {
        tls->waiting = true;
        tls->signing = reason == SSL_ERROR_WANT_PRIVATE_KEY_OPERATION;
        return TLS_LATER;
    }
    return failed(tls);
}

/* What a client needs beyond a server: whom it asks for, and how it got in before. */
static bool prepare_client(struct tls *tls, const struct tls_start *start)
{
    uint8_t ip[16];
    SSL *ssl = tls->ssl;

    SSL_set_connect_state(ssl);
    if (start->server_name != NULL) {
        tls->server_name = OPENSSL_strdup(start->server_name);
        /* RFC 6066 §3: addresses are not server names; they are verified all the same. */
        if (tls->server_name == NULL
            || (tls_verify_ip(start->server_name, ip) == 0
                && !SSL_set_tlsext_host_name(ssl, start->server_name))) {
            return false;
        }
    }
    if (start->ticket != NULL) {
        if (start->ticket_size <= sizeof(tls->mark)) {
            return false;
        }
        size_t size = start->ticket_size - sizeof(tls->mark);
        SSL_SESSION *session = SSL_SESSION_from_bytes(start->ticket, size, tls->shared->ctx);
        memcpy(&tls->mark, start->ticket + size, sizeof(tls->mark));
        bool used = session != NULL && SSL_set_session(ssl, session);
        if (used && start->early && SSL_SESSION_early_data_capable(session)) {
            SSL_set_early_data_enabled(ssl, 1);
            tls->early = TLS_EARLY_OFFERED;
        }
        SSL_SESSION_free(session);
        return used;
    }
    return true;
}

/* The server's context for 0-RTT: the transport's part and the application's. */
static bool set_early_context(struct tls *tls, const struct tls_start *start)
{
    uint8_t digest[2 * SHA256_DIGEST_LENGTH];

    if (start->early_context == NULL || !tls->shared->early_data) {
        SSL_set_early_data_enabled(tls->ssl, 0);
        return true;
    }
    SHA256(start->early_context, start->early_context_size, digest);
    memcpy(digest + SHA256_DIGEST_LENGTH, tls->shared->early_context, SHA256_DIGEST_LENGTH);
    return SSL_set_quic_early_data_context(tls->ssl, digest, sizeof(digest)) == 1;
}

int tls_start(struct tls *tls, const struct tls_start *start, const struct tls_sink *sink,
              void *arg)
{
    memset(tls, 0, sizeof(*tls));
    if (start->shared == NULL || start->server != start->shared->server) {
        return AQ_MISUSE;
    }
    tls->shared = start->shared;
    tls->server = start->server;
    tls->sink = sink;
    tls->arg = arg;
    tls->answer = AQ_LATER;
    memcpy(tls->pin, start->peer_id != NULL ? start->peer_id : start->shared->pin,
           sizeof(tls->pin));

    ERR_clear_error();
    tls_clock_enter(tls->shared);
    SSL *ssl = tls->ssl = SSL_new(tls->shared->ctx);
    bool ready = ssl != NULL && SSL_set_app_data(ssl, tls)
                 && SSL_set_quic_transport_params(ssl, start->params, start->params_size);
    if (ready) {
        /* RFC 9001 §8.2: the extension's number is 0x39, not the drafts'. */
        SSL_set_quic_use_legacy_codepoint(ssl, 0);
        if (tls->server) {
            SSL_set_accept_state(ssl);
            ready = set_early_context(tls, start);
        } else {
            ready = prepare_client(tls, start);
        }
    }
    ERR_clear_error();
    if (!ready) {
        tls_free(tls);
        return AQ_MISUSE;
    }
    return tls->server ? 0 : drive(tls);
}

/* Walks the messages that come after the handshake, whatever pieces they come in. Only a server's
 * tickets may: anything else is an error even after the TLS object was freed. */
static int check_messages(struct tls *tls, const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t skip = tls->message_left < size ? tls->message_left : size;
        tls->message_left -= (uint32_t)skip;
        data += skip;
        size -= skip;
        if (size == 0) {
            break;
        }
        uint8_t *head = tls->message_head;
        head[tls->message_head_size++] = *data++;
        size--;
        if (!tls->server && head[0] == MESSAGE_CERTIFICATE_REQUEST) {
            /* RFC 9001 §4.4: no client authentication after the handshake. */
            return AQ_PROTOCOL_VIOLATION;
        }
        if (tls->server || head[0] != MESSAGE_NEW_SESSION_TICKET) {
            /* RFC 9001 §6: a TLS KeyUpdate is an error 0x010a; so is what TLS 1.3 does not have
             * here. */
            return AQ_CRYPTO_ERROR + SSL_AD_UNEXPECTED_MESSAGE;
        }
        if (tls->message_head_size == MESSAGE_HEAD_SIZE) {
            tls->message_head_size = 0;
            tls->message_left = (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        }
    }
    return 0;
}

/* Handshake bytes when the handshake is over, with the TLS object or without. */
static int input_late(struct tls *tls, const uint8_t *data, size_t size)
{
    tls->error = check_messages(tls, data, size);
    if (tls->error != 0 || tls->ssl == NULL) {
        return tls->error;
    }
    ERR_clear_error();
    tls_clock_enter(tls->shared);
    if (!SSL_provide_quic_data(tls->ssl, ssl_encryption_application, data, size)
        || !SSL_process_quic_post_handshake(tls->ssl)) {
        return failed(tls);
    }
    return 0;
}

int tls_input(struct tls *tls, enum level level, const uint8_t *data, size_t size)
{
    if (tls->error != 0) {
        return tls->error;
    }
    enum level expected = LEVEL_APP;
    if (!tls->done) {
        assert(tls->ssl != NULL);
        expected = (enum level)SSL_quic_read_level(tls->ssl);
    }
    if (level != expected) {
        /* RFC 9001 §4.1.3: new bytes at a level that TLS has left behind. */
        tls->error = AQ_PROTOCOL_VIOLATION;
        return tls->error;
    }
    if (tls->done) {
        return input_late(tls, data, size);
    }
    ERR_clear_error();
    if (!SSL_provide_quic_data(tls->ssl, (enum ssl_encryption_level_t)level, data, size)) {
        /* The level being right, it can only be too much for one flight. */
        tls->error = AQ_CRYPTO_BUFFER_EXCEEDED;
        ERR_clear_error();
        return tls->error;
    }
    return tls->waiting ? TLS_LATER : drive(tls);
}

int tls_verify_done(struct tls *tls, bool accept)
{
    if (!tls->waiting || tls->signing || tls->error != 0) {
        return AQ_MISUSE;
    }
    tls->waiting = false;
    tls->answer = accept ? AQ_ACCEPT : AQ_REFUSE;
    return drive(tls);
}

int tls_sign_done(struct tls *tls, const uint8_t *signature, size_t size)
{
    if (!tls->waiting || !tls->signing || tls->error != 0 || size > SIGNATURE_MAX) {
        return AQ_MISUSE;
    }
    tls->waiting = false;
    tls->signature_size = size > 0 ? (uint16_t)size : SIGNATURE_REFUSED;
    if (size > 0) {
        tls->signature = OPENSSL_memdup(signature, size);
        if (tls->signature == NULL) {
            tls->signature_size = SIGNATURE_REFUSED;
        }
    }
    return drive(tls);
}

bool tls_set_params(struct tls *tls, const uint8_t *params, size_t size)
{
    return SSL_set_quic_transport_params(tls->ssl, params, size) == 1;
}

/* RFC 9369 §5: a ticket resumes only what it was made for. BoringSSL compares the session id
 * context, which is a digest of how clients are verified (tls_config.c) and of the binding. */
bool tls_hello(SSL *ssl)
{
    struct tls *tls = tls_of(ssl);
    uint8_t context[sizeof(tls->shared->session_context)];
    uint32_t binding = 0;

    if (tls->sink->on_params == NULL) {
        return true;
    }
    if (!note_error(tls, tls->sink->on_params(tls->arg, &binding))) {
        return false;
    }
    memcpy(context, tls->shared->session_context, sizeof(context));
    for (unsigned i = 0; i < 4; i++) {
        context[i] ^= (uint8_t)(binding >> (8 * i));
    }
    return SSL_set_session_id_context(ssl, context, sizeof(context)) == 1;
}

bool tls_peer_params(const struct tls *tls, const uint8_t **params, size_t *size)
{
    if (tls->ssl == NULL) {
        return false;
    }
    SSL_get_peer_quic_transport_params(tls->ssl, params, size);
    return *size > 0;
}

/* ---- what outlives it
 * --------------------------------------------------------------------------------------------- */

static void copy_text(char *out, size_t out_size, const char *text, size_t size)
{
    size_t kept = size < out_size ? size : out_size - 1;

    if (kept > 0) {
        memcpy(out, text, kept);
    }
    out[kept] = 0;
}

void tls_names(const struct tls *tls, struct tls_names *names)
{
    const SSL *ssl = tls->ssl;
    const uint8_t *alpn = NULL;
    unsigned alpn_size = 0;

    assert(ssl != NULL);
    memset(names, 0, sizeof(*names));
    /* To a client that sends 0-RTT it tells the ticket's. */
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
    copy_text(names->alpn, sizeof(names->alpn), (const char *)alpn, alpn_size);
    const char *name =
        tls->server ? SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) : tls->server_name;
    if (name != NULL) {
        copy_text(names->server_name, sizeof(names->server_name), name, strlen(name));
    }
}

void tls_facts(const struct tls *tls, struct tls_facts *facts, struct tls_names *names)
{
    const SSL *ssl = tls->ssl;

    assert(tls->done && ssl != NULL);
    memset(facts, 0, sizeof(*facts));
    tls_names(tls, names);
    facts->cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl));
    const char *group = SSL_get_curve_name(SSL_get_curve_id(ssl));
    facts->group = group != NULL ? group : "";
    facts->verify_error = tls->verify_error;
    facts->resumed = tls->resumed;

    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(ssl);
    if (chain != NULL && sk_CRYPTO_BUFFER_num(chain) > 0) {
        const CRYPTO_BUFFER *leaf = sk_CRYPTO_BUFFER_value(chain, 0);
        facts->has_certificate =
            identity_spki_hash(CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf), facts->spki_hash);
    }
    facts->verified = facts->has_certificate && tls->shared->verify != AQ_VERIFY_NONE;

    static const char label[] = "EXPORTER-antq";
    int done = SSL_export_keying_material(tls->ssl, facts->exporter, sizeof(facts->exporter), label,
                                          sizeof(label) - 1, NULL, 0, 1);
    facts->known = done == 1;
    ERR_clear_error();
}

void tls_free(struct tls *tls)
{
    SSL_free(tls->ssl);
    tls->ssl = NULL;
    OPENSSL_free(tls->server_name);
    tls->server_name = NULL;
    tls->waiting = false;
    signature_free(tls);
}
