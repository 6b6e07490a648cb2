/* nat_identity.c -- a key is an identity: keys made and kept, certificates made from them, and
 * AQ_VERIFY_PEER, which believes the key and nothing else (PROTOCOL §2). */
#include "tests/hex.h"
#include "tests/tls_pump.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char pem[2][512];

static struct aq_pem key_of(unsigned i, enum aq_key_kind kind)
{
    char error[256];
    cr_assert(aq_key_make(kind, pem[i], sizeof pem[i], error, sizeof error), "%s", error);
    return (struct aq_pem){.pem = pem[i], .pem_size = strlen(pem[i])};
}

/* A peer with this key, which expects that PeerId; NULL: anybody's. */
static struct aq_tls *peer(bool accepts, const struct aq_pem *key, const uint8_t *expected)
{
    struct aq_tls_config config = config_for(accepts);
    config.key = *key;
    config.verify = AQ_VERIFY_PEER;
    config.ask_client_certificate = accepts;
    if (expected)
        memcpy(config.pin, expected, 32);
    return make(&config);
}

/* PROTOCOL §2: the PeerId is the key's, whichever certificate carries it. */
Test(nat_identity, a_key_keeps_its_peer_id)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct aq_pem key = key_of(0, (enum aq_key_kind)kind),
                      other = key_of(1, (enum aq_key_kind)kind);
        uint8_t first[32], second[32], stranger[32], zero[32] = {0};
        struct aq_tls_config config = config_for(false);
        config.key = key;
        struct aq_tls *tls = make(&config);
        cr_assert(aq_tls_pin(tls, first));
        aq_tls_free(tls);
        config = config_for(true);
        config.key = key;
        config.unix_s = 1000; /* long ago */
        tls = make(&config);
        cr_assert(aq_tls_pin(tls, second));
        aq_tls_free(tls);
        config.key = other;
        tls = make(&config);
        cr_assert(aq_tls_pin(tls, stranger));
        aq_tls_free(tls);
        cr_expect_arr_eq(first, second, 32);
        cr_expect_arr_neq(first, stranger, 32);
        cr_expect_arr_neq(first, zero, 32);
    }
}

/* RFC 5869 §2.2, §2.3, over the key's PKCS #8: by Python's hmac, for the key of RFC 8410 §10.3. */
Test(nat_identity, golden_secret)
{
    static const char text[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                               "-----END PRIVATE KEY-----\n";
    uint8_t expect[32], secret[32];
    struct aq_tls_config config = config_for(true);
    config.key = (struct aq_pem){.pem = text, .pem_size = sizeof text - 1};
    struct aq_tls *tls = make(&config);
    hex_bytes("88a679888fcf6d887c4d96f26812ca77b773d97f1cff0fb6eba53ccceec1dbba", expect,
              sizeof expect);
    cr_assert(aq_tls_secret(tls, "info", 4, secret));
    cr_expect_arr_eq(secret, expect, 32);
    aq_tls_free(tls);
}

/* RFC 9000 §10.3.2, §21.11: the same for a key and what it is for, and for nothing else. */
Test(nat_identity, a_key_gives_secrets)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct aq_pem keys[2] = {key_of(0, (enum aq_key_kind)kind),
                                 key_of(1, (enum aq_key_kind)kind)};
        uint8_t secret[4][32] = {{0}}, zero[32] = {0};
        for (unsigned i = 0; i < 4; i++) { /* once more; for something else; another key's */
            struct aq_tls *tls = peer(i % 2 == 0, &keys[i / 3], NULL);
            cr_assert(aq_tls_secret(tls, "for this", i == 2 ? 7 : 8, secret[i]));
            aq_tls_free(tls);
        }
        cr_expect_arr_eq(secret[0], secret[1], 32);
        cr_expect_arr_neq(secret[0], secret[2], 32);
        cr_expect_arr_neq(secret[0], secret[3], 32);
        cr_expect_arr_neq(secret[0], zero, 32);
    }
    struct aq_tls_config config = config_for(false);
    uint8_t secret[32] = {1}, before[32] = {1};
    struct aq_tls *tls = make(&config);
    cr_expect_not(aq_tls_secret(tls, "x", 1, secret), "a client without a key");
    cr_expect_arr_eq(secret, before, 32);
    aq_tls_free(tls);
}

Test(nat_identity, keys_are_pkcs8_and_need_room)
{
    char error[256] = "x", small[16] = "nothing";
    cr_expect_not(aq_key_make(AQ_KEY_ED25519, small, sizeof small, error, sizeof error));
    cr_expect_str_empty(small);
    cr_expect_not_null(strstr(error, "512"));
    cr_expect_not(aq_key_make(AQ_KEY_ED25519, NULL, 0, NULL, 0));
    (void)key_of(0, AQ_KEY_ED25519);
    cr_expect_not_null(strstr(pem[0], "-----BEGIN PRIVATE KEY-----\n"));
    struct aq_tls_config config = config_for(false);
    config.key = (struct aq_pem){.pem = "nonsense", .pem_size = 8};
    expect_no(&config, "no private key found");
}

/* PROTOCOL §2: both sides are known by their keys; a PeerId that was expected must be there. */
Test(nat_identity, mutual)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct aq_pem a = key_of(0, (enum aq_key_kind)kind), b = key_of(1, AQ_KEY_ED25519);
        struct aq_tls *server_tls = peer(true, &a, NULL), *client_tls = peer(false, &b, NULL);
        struct tls_facts at_client, at_server;
        struct tls_names names;
        uint8_t server_id[32], client_id[32], wrong[32];
        aq_tls_pin(server_tls, server_id);
        aq_tls_pin(client_tls, client_id);
        run(client_tls, server_tls, NULL);
        expect_done();
        tls_facts(&client.tls, &at_client, &names);
        tls_facts(&server.tls, &at_server, &names);
        cr_expect(at_client.verified && at_server.verified);
        cr_expect_arr_eq(at_client.spki_hash, server_id, 32);
        cr_expect_arr_eq(at_server.spki_hash, client_id, 32);
        end(&client, &server);

        struct aq_tls *right = peer(false, &b, server_id);
        run(right, server_tls, NULL);
        expect_done();
        /* PROTOCOL §2: a ticket of another peer is refused. */
        memcpy(wrong, server_id, 32);
        wrong[31] ^= 1;
        struct aq_tls *other = peer(false, &b, wrong);
        resume(other, server_tls, NULL);
        cr_expect_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
        cr_expect_not(client.tls.done);
        end(&client, &server);
        run(other, server_tls, NULL);
        cr_expect_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
        end(&client, &server);
        struct aq_tls *picky = peer(true, &a, wrong);
        run(right, picky, NULL);
        cr_expect_eq(server.result, 0x100 + SSL_AD_BAD_CERTIFICATE, "a server may expect one, too");
        end(&client, &server);
        aq_tls_free(picky);
        aq_tls_free(other);
        aq_tls_free(right);
        aq_tls_free(client_tls);
        aq_tls_free(server_tls);
    }
}

static void refused(struct aq_tls *server_tls, int alert, const char *text)
{
    struct aq_pem key = key_of(0, AQ_KEY_ED25519);
    struct aq_tls *client_tls = peer(false, &key, NULL);
    run(client_tls, server_tls, NULL);
    cr_expect_eq(client.result, 0x100 + alert, "%d %s", client.result, client.tls.verify_error);
    cr_expect_not_null(strstr(client.tls.verify_error, text), "%s", client.tls.verify_error);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* PROTOCOL §2: exactly one certificate, of an allowed kind of key, signed by itself. */
Test(nat_identity, certificates_that_are_no_peers)
{
    static char chain[8192];
    make_certs();
    refused(server_with(&leaf), SSL_AD_DECRYPT_ERROR, "its own key"); /* signed by a CA */
    struct aq_tls_config config = config_for(true);
    snprintf(chain, sizeof chain, "%s%s", leaf.cert_pem, ca.cert_pem);
    config.cert = (struct aq_pem){.pem = chain, .pem_size = strlen(chain)};
    config.key = leaf.key_in;
    refused(make(&config), SSL_AD_BAD_CERTIFICATE, "a chain");
    /* PROTOCOL §2: names and dates are not looked at. */
    struct test_cert old;
    struct test_cert_wish wish = {.kind = AQ_KEY_P256, .name = "old", .from_s = 1, .to_s = 2};
    test_cert_make(&old, &wish);
    struct aq_pem key = key_of(0, AQ_KEY_ED25519);
    struct aq_tls *client_tls = peer(false, &key, NULL), *server_tls = server_with(&old);
    run(client_tls, server_tls, "whatever.test");
    expect_done();
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* A P-384 key is no peer's. */
Test(nat_identity, kinds_of_keys)
{
    struct test_cert cert;
    struct test_cert_wish wish = {.kind = AQ_KEY_P256, .name = "p384", .from_s = 1, .to_s = 2};
    test_cert_make(&cert, &wish);
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_secp384r1);
    cr_assert(EC_KEY_generate_key(ec));
    EVP_PKEY *key = EVP_PKEY_new();
    EVP_PKEY_assign_EC_KEY(key, ec);
    cr_assert(X509_set_pubkey(cert.x509, key) && X509_sign(cert.x509, key, EVP_sha384()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert.x509);
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    static char text[8192];
    int size = BIO_read(bio, text, sizeof text - 1);
    cr_assert_gt(size, 0);
    struct aq_tls_config config = config_for(true);
    config.cert = config.key = (struct aq_pem){.pem = text, .pem_size = (size_t)size};
    refused(make(&config), SSL_AD_UNSUPPORTED_CERTIFICATE, "neither Ed25519 nor P-256");
    BIO_free(bio);
    EVP_PKEY_free(key);
}

/* A client that shows no certificate is nobody. */
Test(nat_identity, a_peer_shows_who_it_is)
{
    struct aq_pem key = key_of(0, AQ_KEY_ED25519);
    struct aq_tls *server_tls = peer(true, &key, NULL);
    struct aq_tls_config config = config_for(false);
    struct aq_tls *client_tls = make(&config);
    run(client_tls, server_tls, NULL);
    cr_expect_eq(server.result, 0x100 + SSL_AD_CERTIFICATE_REQUIRED);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}
