/* identity.c -- certificates and keys: PEM in, self-signed certificates, key hashes.
 *
 * Certificates are kept as the bytes they came in (CRYPTO_BUFFER): TLS sends them, and verification
 * parses them when it needs to. What is needed of a certificate here, its public key, is found by
 * walking its outer structure (RFC 5280 §4.1):
 *
 *      Certificate { TBSCertificate { [0] version?, serial, algorithm, issuer, validity, subject,
 *                                     SubjectPublicKeyInfo, ... }, algorithm, signature }
 *
 * Errors are sentences that name the file and say what to do, because they are read by whoever
 * configured it. Called by tls_config.c and tls_verify.c. */
#include "crypto/identity.h"
#include "crypto/prim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/bytestring.h>
#include <openssl/curve25519.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/rand.h>
#include <openssl/x509.h>

enum {
    DAY_S = 86400,
    SELF_SIGNED_DAYS = 3652
};

bool identity_error(char *error, size_t error_size, const char *format, ...)
{
    if (error != NULL && error_size > 0) {
        va_list args;
        va_start(args, format);
        vsnprintf(error, error_size, format, args);
        va_end(args);
    }
    return false;
}

static const char *pem_name(const struct aq_pem *pem)
{
    return pem->file != NULL ? pem->file : "given in memory";
}

/* NULL with a sentence in error. */
static BIO *pem_open(const struct aq_pem *pem, const char *what, char *error, size_t error_size)
{
    if ((pem->file != NULL) == (pem->pem != NULL)) {
        identity_error(error, error_size, "%s: set either its file or its pem", what);
        return NULL;
    }
    if (pem->pem != NULL) {
        BIO *memory =
            pem->pem_size <= INT32_MAX ? BIO_new_mem_buf(pem->pem, (int)pem->pem_size) : NULL;
        if (memory == NULL) {
            identity_error(error, error_size, "%s given in memory: cannot be read", what);
        }
        return memory;
    }
    FILE *file = fopen(pem->file, "re");
    if (file == NULL) {
        identity_error(error, error_size, "%s %s: %s: check its path and permissions", what,
                       pem->file, strerror(errno));
        return NULL;
    }
    BIO *bio = BIO_new_fp(file, BIO_CLOSE);
    if (bio == NULL) {
        fclose(file);
        identity_error(error, error_size, "%s %s: out of memory", what, pem->file);
    }
    return bio;
}

/* The next certificate of a PEM text; NULL at its end or at a block that is damaged. Other blocks
 * (a private key in the same file) are passed over. */
static CRYPTO_BUFFER *pem_next_certificate(BIO *bio)
{
    CRYPTO_BUFFER *certificate = NULL;
    char *name = NULL, *header = NULL;
    uint8_t *der = NULL;
    long size = 0;

    while (certificate == NULL && PEM_read_bio(bio, &name, &header, &der, &size)) {
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0) {
            certificate = CRYPTO_BUFFER_new(der, (size_t)size, NULL);
        }
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    return certificate;
}

STACK_OF(CRYPTO_BUFFER)
*identity_read_chain(const struct aq_pem *pem, const char *what, char *error, size_t error_size)
{
    STACK_OF(CRYPTO_BUFFER) *chain = NULL;
    CRYPTO_BUFFER *certificate;

    ERR_clear_error();
    BIO *bio = pem_open(pem, what, error, error_size);
    if (bio == NULL) {
        return NULL;
    }
    chain = sk_CRYPTO_BUFFER_new_null();
    while (chain != NULL && (certificate = pem_next_certificate(bio)) != NULL) {
        if (!sk_CRYPTO_BUFFER_push(chain, certificate)) {
            CRYPTO_BUFFER_free(certificate);
            break;
        }
    }
    uint32_t end = ERR_peek_last_error();
    bool whole = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
    BIO_free(bio);
    ERR_clear_error();
    if (chain != NULL && whole && sk_CRYPTO_BUFFER_num(chain) > 0) {
        return chain;
    }
    if (chain != NULL && whole) {
        identity_error(
            error, error_size,
            "%s %s: no certificates found: it must be PEM text with -----BEGIN CERTIFICATE-----",
            what, pem_name(pem));
    } else {
        identity_error(error, error_size, "%s %s: damaged PEM text: write it anew", what,
                       pem_name(pem));
    }
    sk_CRYPTO_BUFFER_pop_free(chain, CRYPTO_BUFFER_free);
    return NULL;
}

/* Asked for a password: none is known. Notes that one was asked for, so that the error can say so.
 */
static int no_password(char *out, int size, int writing, void *asked)
{
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return 0;
}

static EVP_PKEY *read_key(const struct aq_pem *pem, char *error, size_t error_size)
{
    bool encrypted = false;

    ERR_clear_error();
    BIO *bio = pem_open(pem, "private key", error, error_size);
    if (bio == NULL) {
        return NULL;
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &encrypted);
    BIO_free(bio);
    if (key == NULL && encrypted) {
        identity_error(error, error_size,
                       "private key %s: it is encrypted: give it without a password",
                       pem_name(pem));
    } else if (key == NULL) {
        identity_error(error, error_size,
                       "private key %s: no private key found: it must be PEM text "
                       "with -----BEGIN PRIVATE KEY-----",
                       pem_name(pem));
    }
    ERR_clear_error();
    return key;
}

/* The SubjectPublicKeyInfo, its own tag and length included, of a DER certificate. */
static bool find_spki(CBS certificate, CBS *spki)
{
    CBS outer, inner;

    /* serial, algorithm, issuer, validity, subject stand before it; version is optional */
    return CBS_get_asn1(&certificate, &outer, CBS_ASN1_SEQUENCE)
           && CBS_get_asn1(&outer, &inner, CBS_ASN1_SEQUENCE)
           && CBS_get_optional_asn1(&inner, NULL, NULL,
                                    CBS_ASN1_CONSTRUCTED | CBS_ASN1_CONTEXT_SPECIFIC | 0)
           && CBS_get_asn1(&inner, NULL, CBS_ASN1_INTEGER)
           && CBS_get_asn1(&inner, NULL, CBS_ASN1_SEQUENCE)
           && CBS_get_asn1(&inner, NULL, CBS_ASN1_SEQUENCE)
           && CBS_get_asn1(&inner, NULL, CBS_ASN1_SEQUENCE)
           && CBS_get_asn1(&inner, NULL, CBS_ASN1_SEQUENCE)
           && CBS_get_asn1_element(&inner, spki, CBS_ASN1_SEQUENCE);
}

bool identity_spki_hash(const uint8_t *cert, size_t size, uint8_t hash[32])
{
    CBS certificate, spki;

    CBS_init(&certificate, cert, size);
    if (!find_spki(certificate, &spki)) {
        return false;
    }
    prim_sha256(CBS_data(&spki), CBS_len(&spki), hash);
    return true;
}

/* The public key of the chain's first certificate; NULL when it has none that can be read. */
static EVP_PKEY *leaf_key(const struct identity *id)
{
    CBS certificate, spki;

    CRYPTO_BUFFER_init_CBS(sk_CRYPTO_BUFFER_value(id->chain, 0), &certificate);
    return find_spki(certificate, &spki) ? EVP_parse_public_key(&spki) : NULL;
}

static bool check_pair(struct identity *id, const struct aq_pem *cert, const struct aq_pem *key,
                       char *error, size_t error_size)
{
    const CRYPTO_BUFFER *leaf = sk_CRYPTO_BUFFER_value(id->chain, 0);
    EVP_PKEY *public_key = leaf_key(id);

    if (sk_CRYPTO_BUFFER_num(id->chain) > IDENTITY_CHAIN_MAX) {
        identity_error(error, error_size,
                       "certificate %s: more than %d certificates: give only the chain",
                       pem_name(cert), IDENTITY_CHAIN_MAX);
    } else if (public_key == NULL
               || !identity_spki_hash(CRYPTO_BUFFER_data(leaf), CRYPTO_BUFFER_len(leaf),
                                      id->spki_hash)) {
        identity_error(
            error, error_size,
            "certificate %s: the first one cannot be parsed or its kind of key is not supported",
            pem_name(cert));
    } else if (id->key != NULL && EVP_PKEY_cmp(public_key, id->key) != 1) {
        identity_error(
            error, error_size,
            "certificate %s and private key %s do not match: give the key of the first certificate",
            pem_name(cert), pem_name(key));
    } else {
        EVP_PKEY_free(public_key);
        return true;
    }
    EVP_PKEY_free(public_key);
    ERR_clear_error();
    return false;
}

bool identity_load(struct identity *id, const struct aq_pem *cert, const struct aq_pem *key,
                   char *error, size_t error_size)
{
    memset(id, 0, sizeof(*id));
    id->chain = identity_read_chain(cert, "certificate", error, error_size);
    if (id->chain == NULL) {
        return false;
    }
    if (key != NULL) {
        id->key = read_key(key, error, error_size);
    }
    if ((key != NULL && id->key == NULL) || !check_pair(id, cert, key, error, error_size)) {
        identity_free(id);
        return false;
    }
    return true;
}

static EVP_PKEY *make_p256(void)
{
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);

    if (key != NULL && ec != NULL && EC_KEY_generate_key(ec) && EVP_PKEY_set1_EC_KEY(key, ec)) {
        EC_KEY_free(ec);
        return key;
    }
    EC_KEY_free(ec);
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *make_ed25519(void)
{
    uint8_t public_key[ED25519_PUBLIC_KEY_LEN], private_key[ED25519_PRIVATE_KEY_LEN];

    ED25519_keypair(public_key, private_key);
    /* BoringSSL's private key is the seed and the public key; the raw form is the seed. */
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_key, 32);
    OPENSSL_cleanse(private_key, sizeof(private_key));
    return key;
}

static bool fill_certificate(X509 *x509, EVP_PKEY *key, uint64_t unix_s)
{
    static const uint8_t name[] = "antq self-signed";
    uint64_t from_s = unix_s > DAY_S ? unix_s - DAY_S : 0;
    uint64_t to_s = from_s + (uint64_t)SELF_SIGNED_DAYS * DAY_S;
    uint64_t serial;

    /* RFC 5280 §4.1.2.2: serial numbers are positive. */
    RAND_bytes((uint8_t *)&serial, sizeof(serial));
    serial = (serial >> 1) | 1;
    X509_NAME *self = X509_NAME_new();
    bool filled = self != NULL && X509_set_version(x509, 2)
                  && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial)
                  && ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)from_s) != NULL
                  && ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)to_s) != NULL
                  && X509_NAME_add_entry_by_NID(self, NID_commonName, MBSTRING_ASC, name,
                                                (int)sizeof(name) - 1, -1, 0)
                  && X509_set_subject_name(x509, self) && X509_set_issuer_name(x509, self)
                  && X509_set_pubkey(x509, key);
    X509_NAME_free(self);
    return filled;
}

/* Makes the certificate of id->key, and takes that over whatever comes of it. */
static bool certify(struct identity *id, uint64_t unix_s, char *error, size_t error_size)
{
    CRYPTO_BUFFER *certificate = NULL;
    uint8_t *der = NULL;
    int size = 0;
    X509 *x509 = X509_new();
    /* Ed25519 hashes by itself; the others sign a digest. */
    bool hashes = id->key != NULL && EVP_PKEY_id(id->key) == EVP_PKEY_ED25519;
    const EVP_MD *digest = hashes ? NULL : EVP_sha256();

    if (x509 != NULL && id->key != NULL && fill_certificate(x509, id->key, unix_s)
        && X509_sign(x509, id->key, digest)) {
        size = i2d_X509(x509, &der);
    }
    X509_free(x509);
    if (size > 0 && identity_spki_hash(der, (size_t)size, id->spki_hash)) {
        certificate = CRYPTO_BUFFER_new(der, (size_t)size, NULL);
        id->chain = sk_CRYPTO_BUFFER_new_null();
    }
    OPENSSL_free(der);
    if (certificate == NULL || id->chain == NULL
        || !sk_CRYPTO_BUFFER_push(id->chain, certificate)) {
        CRYPTO_BUFFER_free(certificate);
        identity_free(id);
        ERR_clear_error();
        return identity_error(error, error_size,
                              "a self-signed certificate could not be made: out of memory");
    }
    return true;
}

bool identity_self_signed(struct identity *id, enum aq_key_kind kind, uint64_t unix_s, char *error,
                          size_t error_size)
{
    memset(id, 0, sizeof(*id));
    ERR_clear_error();
    id->key = kind == AQ_KEY_ED25519 ? make_ed25519() : make_p256();
    return certify(id, unix_s, error, error_size);
}

bool identity_is_of_peer(const EVP_PKEY *key)
{
    if (EVP_PKEY_id(key) == EVP_PKEY_ED25519) {
        return true;
    }
    const EC_KEY *ec = EVP_PKEY_id(key) == EVP_PKEY_EC ? EVP_PKEY_get0_EC_KEY(key) : NULL;
    return ec != NULL && EC_GROUP_get_curve_name(EC_KEY_get0_group(ec)) == NID_X9_62_prime256v1;
}

bool identity_from_key(struct identity *id, const struct aq_pem *key, uint64_t unix_s, char *error,
                       size_t error_size)
{
    memset(id, 0, sizeof(*id));
    id->key = read_key(key, error, error_size);
    return id->key != NULL && certify(id, unix_s, error, error_size);
}

/* PKCS #8 (RFC 5208). The caller frees it, which wipes it: it keeps its size in front. */
static bool key_der(const EVP_PKEY *key, uint8_t **der, size_t *der_size)
{
    CBB cbb;

    if (CBB_init(&cbb, 0) && EVP_marshal_private_key(&cbb, key)
        && CBB_finish(&cbb, der, der_size)) {
        return true;
    }
    CBB_cleanup(&cbb);
    return false;
}

bool identity_secret(const EVP_PKEY *key, const void *info, size_t info_size, uint8_t secret[32])
{
    static const uint8_t salt[] = "antq secret of a key";
    uint8_t *der = NULL;
    size_t der_size = 0;
    bool done =
        key_der(key, &der, &der_size)
        && HKDF(secret, 32, EVP_sha256(), der, der_size, salt, sizeof salt - 1, info, info_size);

    OPENSSL_free(der);
    ERR_clear_error();
    return done;
}

/* As openssl(1) reads and writes it. */
static bool write_key(const EVP_PKEY *key, char *pem, size_t pem_size)
{
    uint8_t *der = NULL;
    size_t der_size = 0;
    const uint8_t *text = NULL;
    size_t text_size = 0;
    BIO *bio = BIO_new(BIO_s_mem());
    bool done = key_der(key, &der, &der_size) && bio != NULL
                && PEM_write_bio(bio, PEM_STRING_PKCS8INF, "", der, (long)der_size)
                && BIO_mem_contents(bio, &text, &text_size) && text_size < pem_size;

    if (done) {
        memcpy(pem, text, text_size);
        pem[text_size] = '\0';
    }
    OPENSSL_free(der);
    BIO_free(bio);
    return done;
}

bool aq_key_make(enum aq_key_kind kind, char *pem, size_t pem_size, char *error, size_t error_size)
{
    ERR_clear_error();
    identity_error(error, error_size, "%s", "");
    if (pem_size > 0) {
        pem[0] = '\0';
    }
    EVP_PKEY *key = kind == AQ_KEY_ED25519 ? make_ed25519() : make_p256();
    bool done = key != NULL && write_key(key, pem, pem_size);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return done
           || identity_error(error, error_size, "a key could not be made: give 512 bytes for it");
}

void identity_free(struct identity *id)
{
    sk_CRYPTO_BUFFER_pop_free(id->chain, CRYPTO_BUFFER_free);
    EVP_PKEY_free(id->key);
    memset(id, 0, sizeof(*id));
}
