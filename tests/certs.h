/* certs.h -- test helper: certificate authorities and certificates made on the spot. */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include "core/antq.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/curve25519.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

struct test_cert {
    X509 *x509;
    EVP_PKEY *key;
    char cert_pem[4096], key_pem[1024];
    struct aq_pem cert_in, key_in; /* the texts above */
};

struct test_cert_wish {
    enum aq_key_kind kind;
    const char *name;           /* common name */
    const char *alt;            /* subjectAltName: "DNS:a.test,IP:127.0.0.1"; NULL none */
    const struct test_cert *ca; /* who signs; NULL: itself */
    bool is_ca;
    int64_t from_s, to_s; /* validity */
};

static inline EVP_PKEY *test_key(enum aq_key_kind kind)
{
    EVP_PKEY *key;
    if (kind == AQ_KEY_ED25519) {
        uint8_t pub[32], priv[64];
        ED25519_keypair(pub, priv);
        key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, priv, 32);
    } else {
        EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
        EC_KEY_generate_key(ec);
        key = EVP_PKEY_new();
        EVP_PKEY_assign_EC_KEY(key, ec);
    }
    assert(key != NULL);
    return key;
}

static inline void test_extension(X509 *x509, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, (char *)(uintptr_t)value);
    assert(extension != NULL);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

static inline void test_pem(BIO *bio, char *out, size_t max, struct aq_pem *in)
{
    const uint8_t *data;
    size_t size;
    BIO_mem_contents(bio, &data, &size);
    assert(size < max);
    memcpy(out, data, size);
    out[size] = 0;
    *in = (struct aq_pem){.pem = out, .pem_size = size};
    BIO_free(bio);
}

static inline void test_cert_make(struct test_cert *out, const struct test_cert_wish *wish)
{
    static uint64_t serial = 1;
    memset(out, 0, sizeof(*out));
    out->key = test_key(wish->kind);
    X509 *x509 = out->x509 = X509_new();
    const struct test_cert *signer = wish->ca != NULL ? wish->ca : out;
    X509_NAME *name = X509_NAME_new();
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC, (const uint8_t *)wish->name, -1,
                               -1, 0);
    X509_set_version(x509, 2);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial++);
    ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)wish->from_s);
    ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)wish->to_s);
    X509_set_subject_name(x509, name);
    X509_set_issuer_name(x509, wish->ca != NULL ? X509_get_subject_name(wish->ca->x509) : name);
    X509_NAME_free(name);
    X509_set_pubkey(x509, out->key);
    test_extension(x509, NID_basic_constraints,
                   wish->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wish->alt != NULL) {
        test_extension(x509, NID_subject_alt_name, wish->alt);
    }
    bool plain = EVP_PKEY_id(signer->key) == EVP_PKEY_ED25519;
    int size = X509_sign(x509, signer->key, plain ? NULL : EVP_sha256());
    assert(size > 0);
    (void)size;

    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x509);
    test_pem(bio, out->cert_pem, sizeof(out->cert_pem), &out->cert_in);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, out->key, NULL, NULL, 0, NULL, NULL);
    test_pem(bio, out->key_pem, sizeof(out->key_pem), &out->key_in);
}

static inline void test_cert_free(struct test_cert *cert)
{
    X509_free(cert->x509);
    EVP_PKEY_free(cert->key);
}

#endif
