/* tests/identity.c -- certificates and keys from PEM, self-signed ones, and what the errors say. */
#include "crypto/identity.h"
#include "tests/certs.h"

#include <criterion/criterion.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <unistd.h>

enum {
    NOW_S = 1750000000
};

static void make(struct test_cert *cert, enum aq_key_kind kind, const char *name)
{
    struct test_cert_wish wish = {
        .kind = kind, .name = name, .from_s = NOW_S - 1000, .to_s = NOW_S + 1000};
    test_cert_make(cert, &wish);
}

static void spki_of(const struct test_cert *cert, uint8_t hash[32])
{
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(cert->key, &der);
    SHA256(der, (size_t)size, hash);
    OPENSSL_free(der);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(identity, load_from_memory)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct test_cert cert;
        struct identity id;
        char error[256] = "";
        uint8_t hash[32];

        make(&cert, (enum aq_key_kind)kind, "one");
        cr_assert(identity_load(&id, &cert.cert_in, &cert.key_in, error, sizeof(error)), "%s",
                  error);
        cr_assert_eq(sk_CRYPTO_BUFFER_num(id.chain), 1);
        spki_of(&cert, hash);
        cr_assert_arr_eq(id.spki_hash, hash, 32);
        identity_free(&id);
        cr_assert(id.chain == NULL && id.key == NULL);

        cr_assert(identity_load(&id, &cert.cert_in, NULL, error, sizeof(error)));
        cr_assert(id.key == NULL && id.chain != NULL);
        identity_free(&id);
        test_cert_free(&cert);
    }
}

/* One file with chain and key, in an order that people write. */
Test(identity, load_from_one_file)
{
    struct test_cert leaf, ca;
    struct identity id;
    char error[256] = "", path[64], text[16384];

    make(&leaf, AQ_KEY_P256, "leaf");
    make(&ca, AQ_KEY_ED25519, "ca");
    snprintf(path, sizeof(path), "/tmp/antq-identity-%d.pem", (int)getpid());
    snprintf(text, sizeof(text), "a comment\n%s%s%s", leaf.key_pem, leaf.cert_pem, ca.cert_pem);
    write_file(path, text);
    struct aq_pem pem = {.file = path};
    cr_assert(identity_load(&id, &pem, &pem, error, sizeof(error)), "%s", error);
    cr_assert_eq(sk_CRYPTO_BUFFER_num(id.chain), 2);
    identity_free(&id);
    unlink(path);
    test_cert_free(&leaf);
    test_cert_free(&ca);
}

static void expect_error(const struct aq_pem *cert, const struct aq_pem *key, const char *part,
                         const char *other)
{
    struct identity id;
    char error[512] = "";

    cr_assert_not(identity_load(&id, cert, key, error, sizeof(error)));
    cr_assert_not_null(strstr(error, part), "%s", error);
    cr_assert_not_null(strstr(error, other), "%s", error);
    cr_assert(id.chain == NULL && id.key == NULL);
}

Test(identity, errors_name_the_file_and_the_way_out)
{
    struct test_cert one, two;
    struct aq_pem missing = {.file = "/nonexistent/x.pem"}, none = {0};
    struct aq_pem both = {.file = "a", .pem = "b", .pem_size = 1};
    struct aq_pem words = {.pem = "hello", .pem_size = 5}, empty = {.pem = "", .pem_size = 0};
    char damaged[4096], encrypted[4096];

    make(&one, AQ_KEY_P256, "one");
    make(&two, AQ_KEY_P256, "two");
    expect_error(&missing, &one.key_in, "/nonexistent/x.pem", "No such file");
    expect_error(&one.cert_in, &missing, "private key /nonexistent/x.pem", "check its path");
    expect_error(&words, &one.key_in, "certificate", "BEGIN CERTIFICATE");
    expect_error(&empty, &one.key_in, "certificate", "BEGIN CERTIFICATE");
    expect_error(&one.key_in, &one.key_in, "certificate", "no certificates found");
    expect_error(&one.cert_in, &words, "private key", "BEGIN PRIVATE KEY");
    expect_error(&one.cert_in, &one.cert_in, "private key", "no private key found");
    expect_error(&one.cert_in, &two.key_in, "do not match", "give the key");
    expect_error(&none, &one.key_in, "certificate", "its file or its pem");
    expect_error(&both, &one.key_in, "certificate", "its file or its pem");

    /* The armour is whole, what is in it is not. */
    snprintf(damaged, sizeof(damaged), "%s", one.cert_pem);
    memcpy(strchr(damaged, '\n') + 10, "!!!!", 4);
    expect_error(&(struct aq_pem){.pem = damaged, .pem_size = strlen(damaged)}, &one.key_in,
                 "certificate", "damaged");
    static const char not_x509[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    expect_error(&(struct aq_pem){.pem = not_x509, .pem_size = sizeof(not_x509) - 1}, &one.key_in,
                 "certificate", "cannot be parsed");

    BIO *bio = BIO_new(BIO_s_mem());
    struct aq_pem locked;
    char password[] = "secret";
    PEM_write_bio_PKCS8PrivateKey(bio, one.key, EVP_aes_128_cbc(), password, 6, NULL, NULL);
    test_pem(bio, encrypted, sizeof(encrypted), &locked);
    expect_error(&one.cert_in, &locked, "private key", "encrypted");
    test_cert_free(&one);
    test_cert_free(&two);
}

Test(identity, chain_size)
{
    static char text[IDENTITY_CHAIN_MAX * 4096 + 4096];
    struct test_cert one;
    struct identity id;
    char error[256] = "";

    make(&one, AQ_KEY_ED25519, "one");
    for (unsigned i = 0; i < IDENTITY_CHAIN_MAX; i++) {
        strcat(text, one.cert_pem);
    }
    struct aq_pem pem = {.pem = text, .pem_size = strlen(text)};
    cr_assert(identity_load(&id, &pem, &one.key_in, error, sizeof(error)), "%s", error);
    identity_free(&id);
    strcat(text, one.cert_pem);
    pem.pem_size = strlen(text);
    expect_error(&pem, &one.key_in, "certificate", "more than 16");
    test_cert_free(&one);
}

Test(identity, self_signed)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct identity id, other;
        char error[256] = "";
        uint8_t hash[32], *der = NULL;

        cr_assert(identity_self_signed(&id, (enum aq_key_kind)kind, NOW_S, error, sizeof(error)),
                  "%s", error);
        cr_assert(
            identity_self_signed(&other, (enum aq_key_kind)kind, NOW_S, error, sizeof(error)));
        cr_assert_arr_neq(id.spki_hash, other.spki_hash, 32);

        X509 *x509 = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(id.chain, 0));
        cr_assert_not_null(x509);
        cr_assert_eq(X509_verify(x509, id.key), 1);
        int size = i2d_PUBKEY(id.key, &der);
        SHA256(der, (size_t)size, hash);
        OPENSSL_free(der);
        cr_assert_arr_eq(id.spki_hash, hash, 32);
        cr_assert_eq(EVP_PKEY_id(id.key), kind == AQ_KEY_P256 ? EVP_PKEY_EC : EVP_PKEY_ED25519);

        /* From a day before, for ten years. */
        time_t before = NOW_S - 86400 - 1, at = NOW_S - 86400 + 1, late = NOW_S + 9 * 365 * 86400;
        cr_assert_eq(X509_cmp_time(X509_get0_notBefore(x509), &before), 1);
        cr_assert_eq(X509_cmp_time(X509_get0_notBefore(x509), &at), -1);
        cr_assert_eq(X509_cmp_time(X509_get0_notAfter(x509), &late), 1);
        late = NOW_S + (time_t)11 * 365 * 86400;
        cr_assert_eq(X509_cmp_time(X509_get0_notAfter(x509), &late), -1);
        X509_free(x509);
        identity_free(&id);
        identity_free(&other);
    }
    struct identity early;
    cr_assert(identity_self_signed(&early, AQ_KEY_P256, 0, NULL, 0));
    identity_free(&early);
}

/* RFC 5280 §4.1. */
Test(identity, spki_hash_of_what_is_no_certificate)
{
    struct identity id;
    uint8_t hash[32], bytes[2048];

    cr_assert(identity_self_signed(&id, AQ_KEY_ED25519, NOW_S, NULL, 0));
    const CRYPTO_BUFFER *der = sk_CRYPTO_BUFFER_value(id.chain, 0);
    size_t size = CRYPTO_BUFFER_len(der);
    memcpy(bytes, CRYPTO_BUFFER_data(der), size);
    cr_assert(identity_spki_hash(bytes, size, hash));
    for (size_t i = 0; i < size; i++) {
        cr_assert_not(identity_spki_hash(bytes, i, hash), "cut at %zu", i);
    }
    bytes[0] = 0x31;
    cr_assert_not(identity_spki_hash(bytes, size, hash));
    identity_free(&id);
}
