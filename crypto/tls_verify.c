/* tls_verify.c -- is this the peer that was asked for?
 *
 * The peer's chain comes as bytes; X.509 parsing happens here and only for the modes that need it.
 * Each refusal is a row: the alert for the peer (RFC 8446 §6.2) and a sentence for whoever
 * configured this side, because "handshake failure" helps nobody.
 *
 * RFC 9001 §4.4 (a client must authenticate the server), RFC 9525 (names). Called by tls.c and
 * tls_config.c. */
#include "crypto/prim.h"
#include "crypto/tls_config.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* Where systems keep their CA certificates, beside BoringSSL's own default. */
static const char *const system_files[] = {
    "/etc/ssl/certs/ca-certificates.crt", /* Debian, Alpine, Arch */
    "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
    "/etc/ssl/ca-bundle.pem",             /* SUSE */
    "/etc/ssl/cert.pem",                  /* BSD, Alpine */
};

static const char unknown_authority[] =
    "certificate is signed by an unknown authority: give the CA that signed it, or pin its key";

static const struct reason {
    int error;
    uint8_t alert;
    const char *text;
} reasons[] = {
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, SSL_AD_UNKNOWN_CA, unknown_authority},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, SSL_AD_UNKNOWN_CA, unknown_authority},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, SSL_AD_UNKNOWN_CA, unknown_authority},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, SSL_AD_UNKNOWN_CA, unknown_authority},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, SSL_AD_UNKNOWN_CA,
     "certificate is self-signed: pin its key, or give it as the CA"},
    {X509_V_ERR_CERT_HAS_EXPIRED, SSL_AD_CERTIFICATE_EXPIRED,
     "certificate has expired: the peer needs a new one, or this machine's clock is wrong"},
    {X509_V_ERR_CERT_NOT_YET_VALID, SSL_AD_BAD_CERTIFICATE,
     "certificate is not yet valid: this machine's clock or the peer's was wrong"},
    {X509_V_ERR_HOSTNAME_MISMATCH, SSL_AD_BAD_CERTIFICATE,
     "certificate is for another name: connect with a server name that it contains"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, SSL_AD_BAD_CERTIFICATE,
     "certificate is not for this address: connect with a server name that it contains"},
    {X509_V_ERR_INVALID_PURPOSE, SSL_AD_UNSUPPORTED_CERTIFICATE,
     "certificate may not be used for this side of TLS: the peer needs one for that purpose"},
    {X509_V_ERR_INVALID_CA, SSL_AD_UNKNOWN_CA,
     "certificate is signed by a certificate that is no CA: give the CA that signed it, "
     "or pin its key"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, SSL_AD_DECRYPT_ERROR,
     "certificate's signature is wrong: its CA has another key than the one given, "
     "or it was altered"},
};

static const char not_parsed[] =
    "certificate cannot be parsed: the peer needs a valid X.509 certificate";

/* Adds a chain's certificates to the store. Returns how many were not X.509. */
static unsigned store_add(X509_STORE *store, const STACK_OF(CRYPTO_BUFFER) * chain)
{
    unsigned bad = 0;

    for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); i++) {
        X509 *x509 = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));
        if (x509 == NULL || !X509_STORE_add_cert(store, x509)) {
            bad++;
        }
        X509_free(x509);
    }
    return bad;
}

static bool load_ca(X509_STORE *store, const struct aq_pem *ca, char *error, size_t error_size)
{
    const char *name = ca->file != NULL ? ca->file : "given in memory";

    if (ca->file == NULL && ca->pem == NULL) {
        return identity_error(error, error_size, "no CA certificates given: AQ_VERIFY_CA needs ca");
    }
    STACK_OF(CRYPTO_BUFFER) *chain = identity_read_chain(ca, "CA certificates", error, error_size);
    if (chain == NULL) {
        return false;
    }
    unsigned bad = store_add(store, chain);
    sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
    ERR_clear_error();
    return bad == 0
           || identity_error(error, error_size, "CA certificates %s: %u of them cannot be parsed",
                             name, bad);
}

static bool load_system(X509_STORE *store, char *error, size_t error_size)
{
    /* BoringSSL's default file and folder, or what SSL_CERT_FILE and SSL_CERT_DIR name instead. */
    bool loaded = X509_STORE_set_default_paths(store)
                  && sk_X509_OBJECT_num(X509_STORE_get0_objects(store)) > 0;
    bool named = getenv("SSL_CERT_FILE") != NULL || getenv("SSL_CERT_DIR") != NULL;

    for (size_t i = 0; !loaded && !named && i < sizeof(system_files) / sizeof(system_files[0]);
         i++) {
        loaded = X509_STORE_load_locations(store, system_files[i], NULL) == 1;
    }
    ERR_clear_error();
    /* A folder's certificates are looked up when needed, so there is nothing to count yet. */
    if (!loaded && getenv("SSL_CERT_DIR") == NULL) {
        return identity_error(
            error, error_size,
            "no CA certificates found in %s: install the system's package ca-certificates, or "
            "give the CA, or pin the key",
            named ? getenv("SSL_CERT_FILE") : system_files[0]);
    }
    return true;
}

bool tls_verify_load(struct aq_tls *tls, const struct aq_pem *ca, char *error, size_t error_size)
{
    if (tls->verify == AQ_VERIFY_CALL && tls->verify_peer == NULL) {
        return identity_error(error, error_size, "AQ_VERIFY_CALL needs verify_peer");
    }
    if (tls->verify != AQ_VERIFY_SYSTEM && tls->verify != AQ_VERIFY_CA) {
        return true;
    }
    tls->store = X509_STORE_new();
    if (tls->store == NULL || !RAND_bytes(tls->mark_key, sizeof(tls->mark_key))) {
        return identity_error(error, error_size, "CA certificates: out of memory");
    }
    return tls->verify == AQ_VERIFY_CA ? load_ca(tls->store, ca, error, error_size)
                                       : load_system(tls->store, error, error_size);
}

size_t tls_verify_ip(const char *name, uint8_t ip[16])
{
    if (inet_pton(AF_INET, name, ip) == 1) {
        return 4;
    }
    return inet_pton(AF_INET6, name, ip) == 1 ? 16 : 0;
}

static bool refuse(struct verdict *verdict, uint8_t alert, const char *text)
{
    verdict->alert = alert;
    verdict->text = text;
    return false;
}

/* RFC 9525 §6: names are those of subjectAltName; the common name is not looked at. */
static bool expect_name(X509_VERIFY_PARAM *param, const char *name)
{
    uint8_t ip[16];
    size_t ip_size = tls_verify_ip(name, ip);

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                                               | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return ip_size > 0 ? X509_VERIFY_PARAM_set1_ip(param, ip, ip_size) == 1
                       : X509_VERIFY_PARAM_set1_host(param, name, strlen(name)) == 1;
}

/* When the first of these certificates ends, in Unix seconds; 0 when that cannot be told. */
static uint64_t first_end(const STACK_OF(X509) * chain)
{
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < sk_X509_num(chain); i++) {
        const ASN1_TIME *end = X509_get0_notAfter(sk_X509_value(chain, i));
        int days = 0, seconds = 0;
        if (epoch == NULL || !ASN1_TIME_diff(&days, &seconds, epoch, end) || days < 0
            || seconds < 0) {
            first = 0;
            break;
        }
        uint64_t at = (uint64_t)days * 86400 + (uint64_t)seconds;
        first = at < first ? at : first;
    }
    ASN1_TIME_free(epoch);
    return first;
}

/* Verifies `leaf` with the others of its chain. Returns BoringSSL's X509_V_* result; when that is
 * X509_V_OK, until_s is when it will no longer be. */
static int verify_x509(const struct aq_tls *tls, X509 *leaf, STACK_OF(X509) * others,
                       const char *name, uint64_t *until_s)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int result = X509_V_ERR_OUT_OF_MEM;

    if (ctx != NULL && X509_STORE_CTX_init(ctx, tls->store, leaf, others)
        && X509_STORE_CTX_set_default(ctx, tls->server ? "ssl_client" : "ssl_server")) {
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        /* Given CA certificates are preferred to those that the peer sends along. */
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_TRUSTED_FIRST);
        if (tls->unix_s != 0) {
            X509_VERIFY_PARAM_set_time(param, (time_t)tls->unix_s);
        }
        if (name == NULL || expect_name(param, name)) {
            result = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
        } else {
            result = X509_V_ERR_HOSTNAME_MISMATCH;
        }
    }
    if (result == X509_V_OK) {
        *until_s = first_end(X509_STORE_CTX_get0_chain(ctx));
    }
    X509_STORE_CTX_free(ctx);
    return result;
}

static bool judge(int result, struct verdict *verdict)
{
    if (result == X509_V_OK) {
        return true;
    }
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].error == result) {
            return refuse(verdict, reasons[i].alert, reasons[i].text);
        }
    }
    /* BoringSSL's words for the rarer ones are static as well. */
    return refuse(verdict, (uint8_t)SSL_alert_from_verify_result(result),
                  X509_verify_cert_error_string(result));
}

static bool verify_ca(const struct aq_tls *tls, const STACK_OF(CRYPTO_BUFFER) * chain,
                      const char *name, struct verdict *verdict)
{
    STACK_OF(X509) *others = sk_X509_new_null();
    X509 *leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0));
    bool parsed = leaf != NULL && others != NULL;

    for (size_t i = 1; parsed && i < sk_CRYPTO_BUFFER_num(chain); i++) {
        X509 *x509 = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));
        parsed = x509 != NULL && sk_X509_push(others, x509);
        if (!parsed) {
            X509_free(x509);
        }
    }
    bool accepted = parsed ? judge(verify_x509(tls, leaf, others, name, &verdict->until_s), verdict)
                           : refuse(verdict, SSL_AD_BAD_CERTIFICATE, not_parsed);
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
    return accepted;
}

static bool verify_pin(const uint8_t pin[32], const STACK_OF(CRYPTO_BUFFER) * chain,
                       struct verdict *verdict)
{
    const CRYPTO_BUFFER *leaf = sk_CRYPTO_BUFFER_value(chain, 0);
    uint8_t hash[32];

    if (!identity_spki_hash(CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf), hash)) {
        return refuse(verdict, SSL_AD_BAD_CERTIFICATE, not_parsed);
    }
    if (CRYPTO_memcmp(hash, pin, sizeof(hash)) != 0) {
        return refuse(
            verdict, SSL_AD_BAD_CERTIFICATE,
            "the peer's key is not the pinned one: it is another peer, or pin its new key");
    }
    return true;
}

/* PROTOCOL §2: exactly one certificate, a key of a kind that we use, signed by itself. Names and
 * dates are not looked at: who holds the key is the peer. */
static bool verify_peer(const uint8_t pin[32], const STACK_OF(CRYPTO_BUFFER) * chain,
                        struct verdict *verdict)
{
    static const uint8_t anybody[32];
    X509 *leaf = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, 0));
    EVP_PKEY *key = leaf != NULL ? X509_get_pubkey(leaf) : NULL;
    bool good = false;

    if (sk_CRYPTO_BUFFER_num(chain) != 1) {
        refuse(verdict, SSL_AD_BAD_CERTIFICATE,
               "the peer sent a chain: a peer's certificate is one, signed by itself");
    } else if (key == NULL) {
        refuse(verdict, SSL_AD_BAD_CERTIFICATE, not_parsed);
    } else if (!identity_is_of_peer(key)) {
        refuse(verdict, SSL_AD_UNSUPPORTED_CERTIFICATE,
               "the peer's key is neither Ed25519 nor P-256");
    } else if (X509_verify(leaf, key) != 1) {
        refuse(verdict, SSL_AD_DECRYPT_ERROR,
               "the peer's certificate is not signed by its own key: it was altered");
    } else {
        good = memcmp(pin, anybody, sizeof(anybody)) == 0 || verify_pin(pin, chain, verdict);
    }
    EVP_PKEY_free(key);
    X509_free(leaf);
    ERR_clear_error();
    return good;
}

bool tls_verify_chain(const struct aq_tls *tls, const STACK_OF(CRYPTO_BUFFER) * chain,
                      const char *name, const uint8_t pin[32], struct verdict *verdict)
{
    if (tls->verify == AQ_VERIFY_NONE) {
        return true;
    }
    if (chain == NULL || sk_CRYPTO_BUFFER_num(chain) == 0) {
        return refuse(verdict, SSL_AD_CERTIFICATE_REQUIRED, "the peer sent no certificate");
    }
    if (tls->verify == AQ_VERIFY_PIN) {
        return verify_pin(pin, chain, verdict);
    }
    if (tls->verify == AQ_VERIFY_PEER) {
        return verify_peer(pin, chain, verdict);
    }
    if (!tls->server && name == NULL) {
        return refuse(
            verdict, SSL_AD_BAD_CERTIFICATE,
            "no server name to check the certificate for: set server_name, or pin the key");
    }
    bool accepted = verify_ca(tls, chain, name, verdict);
    ERR_clear_error();
    return accepted;
}

/* ---- resumption
 * ------------------------------------------------------------------------------------------- */

/* A ticket must not carry a server past rules that are stricter than when it came, nor past its
 * certificate's end, so a resumed chain is judged again. But the same chain, name and CA
 * certificates give the same answer for as long as no certificate ends, and the CA certificates of
 * an aq_tls never change: so the answer is noted in the ticket, under a key that only this aq_tls
 * has. Whoever could forge the note could as well have put a key of his own into the ticket. */
static void mark_mac(const struct aq_tls *tls, const struct tls_mark *mark,
                     const STACK_OF(CRYPTO_BUFFER) * chain, const char *name, uint8_t mac[32])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    uint64_t numbers[3] = {mark->since_s, mark->until_s, strlen(name)};
    SHA256_CTX sha;

    SHA256_Init(&sha);
    SHA256_Update(&sha, numbers, sizeof(numbers));
    SHA256_Update(&sha, name, numbers[2]);
    for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); i++) { /* DER tells its own length */
        const CRYPTO_BUFFER *der = sk_CRYPTO_BUFFER_value(chain, i);
        SHA256_Update(&sha, CRYPTO_BUFFER_data(der), CRYPTO_BUFFER_len(der));
    }
    SHA256_Final(digest, &sha);
    prim_hmac(tls->mark_key, sizeof(tls->mark_key), digest, sizeof(digest), mac);
}

static uint64_t unix_now_s(const struct aq_tls *tls)
{
    return tls->unix_s != 0 ? tls->unix_s : (uint64_t)time(NULL);
}

void tls_mark_make(const struct aq_tls *tls, struct tls_mark *mark, uint64_t until_s,
                   const STACK_OF(CRYPTO_BUFFER) * chain, const char *name)
{
    memset(mark, 0, sizeof(*mark));
    if (tls->store == NULL || name == NULL || chain == NULL || until_s == 0) {
        return;
    }
    mark->since_s = unix_now_s(tls);
    mark->until_s = until_s;
    mark_mac(tls, mark, chain, name, mark->mac);
}

bool tls_mark_holds(const struct aq_tls *tls, const struct tls_mark *mark,
                    const STACK_OF(CRYPTO_BUFFER) * chain, const char *name)
{
    uint8_t mac[32];
    uint64_t now_s = unix_now_s(tls);

    if (tls->store == NULL || name == NULL || chain == NULL || now_s < mark->since_s
        || now_s >= mark->until_s) {
        return false;
    }
    mark_mac(tls, mark, chain, name, mac);
    return prim_equal(mac, mark->mac, sizeof(mac));
}
