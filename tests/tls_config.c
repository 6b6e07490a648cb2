/* tests/tls_config.c -- struct aq_tls: certificates by name, ticket keys, key log, ciphers, and
 * what the errors say. */
#include "tests/tls_pump.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* A ticket works where its key is known, whatever the TLS object; elsewhere the handshake is a full
 * one. */
Test(tls_config, ticket_keys)
{
    struct aq_tls_config config = config_for(true);
    memset(config.ticket_key, 7, sizeof(config.ticket_key));
    struct aq_tls *one = make(&config), *two = make(&config);
    memset(config.ticket_key, 8, sizeof(config.ticket_key));
    struct aq_tls *three = make(&config);
    /* The same key, but clients are verified now: a ticket from before must not let in. */
    memset(config.ticket_key, 7, sizeof(config.ticket_key));
    config.ask_client_certificate = true;
    struct aq_tls *strict = make(&config);
    config = config_for(false);
    struct aq_tls *client_tls = make(&config);

    run(client_tls, one, NULL);
    expect_done();
    resume(client_tls, two, NULL);
    expect_done();
    cr_assert(client.tls.resumed && server.tls.resumed);
    resume(client_tls, three, NULL);
    expect_done();
    cr_assert(!client.tls.resumed && !server.tls.resumed);
    end(&client, &server);
    run(client_tls, one, NULL);
    resume(client_tls, strict, NULL);
    cr_assert_eq(server.result, 0x100 + SSL_AD_CERTIFICATE_REQUIRED);
    end(&client, &server);

    /* Bytes that are no ticket. */
    static struct side junk;
    junk.ticket_size = 40;
    cr_assert_eq(begin(&client, client_tls, NULL, &junk), AQ_MISUSE);
    cr_assert_null(client.tls.ssl);
    aq_tls_free(client_tls);
    aq_tls_free(one);
    aq_tls_free(two);
    aq_tls_free(three);
    aq_tls_free(strict);
}

static char log_lines[4096];
static void on_keylog_line(void *user, const char *line)
{
    cr_assert_eq(user, log_lines);
    strcat(strcat(log_lines, line), "\n");
}

Test(tls_config, keylog)
{
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    config.unix_s = 0; /* the system's clock */
    config.keylog = on_keylog_line;
    config.user = log_lines;
    struct aq_tls *client_tls = make(&config);
    char secret[97] = "";

    run(client_tls, server_tls, NULL);
    expect_done();
    cr_assert_not_null(strstr(log_lines, "CLIENT_HANDSHAKE_TRAFFIC_SECRET "));
    cr_assert_not_null(strstr(log_lines, "SERVER_TRAFFIC_SECRET_0 "));
    const struct secret *s = &client.secrets[LEVEL_APP][1];
    for (unsigned i = 0; i < s->size; i++) {
        snprintf(secret + 2 * i, 3, "%02x", s->bytes[i]);
    }
    cr_assert_not_null(strstr(log_lines, secret),
                       "the secret that was handed out is the one logged");
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* Certificates by server name, replaced while running. */
Test(tls_config, certificates_by_name)
{
    make_certs();
    struct test_cert second;
    struct test_cert_wish wish = {.kind = AQ_KEY_ED25519,
                                  .name = "second",
                                  .alt = "DNS:c.test",
                                  .ca = &ca,
                                  .from_s = NOW_S - 9,
                                  .to_s = NOW_S + 9};
    test_cert_make(&second, &wish);
    struct aq_tls *server_tls = server_with(&leaf), *client_tls = client_trusting(&ca);
    char error[512];
    uint8_t pin[32], replaced[32];

    run(client_tls, server_tls, "c.test");
    cr_assert_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
    end(&client, &server);
    cr_assert_eq(aq_tls_set_cert(server_tls, "C.test", &second.cert_in, &second.key_in, error,
                                 sizeof(error)),
                 AQ_OK);
    run(client_tls, server_tls, "c.test");
    expect_done();
    end(&client, &server);
    run(client_tls, server_tls, "a.test");
    expect_done();
    end(&client, &server);

    /* Replaced: first the named one by one that does not fit, then the default. */
    cr_assert_eq(
        aq_tls_set_cert(server_tls, "c.test", &leaf.cert_in, &leaf.key_in, error, sizeof(error)),
        AQ_OK);
    run(client_tls, server_tls, "c.test");
    cr_assert_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
    end(&client, &server);
    cr_assert(aq_tls_pin(server_tls, pin));
    cr_assert_eq(
        aq_tls_set_cert(server_tls, NULL, &address.cert_in, &address.key_in, error, sizeof(error)),
        AQ_OK);
    cr_assert(aq_tls_pin(server_tls, replaced));
    cr_assert_arr_neq(pin, replaced, 32);
    run(client_tls, server_tls, "127.0.0.1");
    expect_done();
    end(&client, &server);

    cr_assert_eq(
        aq_tls_set_cert(server_tls, "d.test", &leaf.cert_in, &ca.key_in, error, sizeof(error)),
        AQ_MISUSE);
    cr_assert_not_null(strstr(error, "do not match"));
    cr_assert_eq(aq_tls_set_cert(server_tls, "d.test", &leaf.cert_in, NULL, error, sizeof(error)),
                 AQ_MISUSE);
    cr_assert_eq(
        aq_tls_set_cert(client_tls, NULL, &leaf.cert_in, &leaf.key_in, error, sizeof(error)),
        AQ_MISUSE);
    test_cert_free(&second);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

Test(tls_config, config_errors)
{
    make_certs();
    struct aq_tls_config config = config_for(false);
    config.size = 0;
    expect_no(&config, "aq_tls_config_init");
    config = config_for(false);
    config.verify = AQ_VERIFY_CA;
    expect_no(&config, "no CA certificates given");
    config.ca.file = "/nonexistent/ca.pem";
    expect_no(&config, "/nonexistent/ca.pem");
    config.ca = leaf.key_in;
    expect_no(&config, "no certificates found");
    config = config_for(false);
    config.ask_client_certificate = true;
    expect_no(&config, "ask_client_certificate");
    config = config_for(true);
    config.cert = leaf.cert_in;
    expect_no(&config, "without its private key");
    config.cert = (struct aq_pem){0};
    config.key = leaf.key_in; /* a key alone gets a self-signed certificate */
    aq_tls_free(make(&config));
    config = config_for(true);
    config.cipher = 0x1304;
    expect_no(&config, "0x1301, 0x1302 or 0x1303");
    cr_assert_null(aq_tls_new(&config, NULL, 0));
    aq_tls_free(NULL);
}

/* A wish for a cipher is either met or refused in words, never ignored. */
Test(tls_config, cipher_wish)
{
    static const char *const names[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                        "TLS_CHACHA20_POLY1305_SHA256"};
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    unsigned met = 0;

    for (unsigned i = 0; i < 3; i++) {
        char error[512];
        struct tls_facts facts;
        struct tls_names ignored;
        config = config_for(false);
        config.cipher = (uint16_t)(0x1301 + i);
        struct aq_tls *client_tls = aq_tls_new(&config, error, sizeof(error));
        if (client_tls == NULL) {
            cr_assert_not_null(strstr(error, "leave cipher 0"), "%s", error);
            continue;
        }
        run(client_tls, server_tls, NULL);
        expect_done();
        tls_facts(&client.tls, &facts, &ignored);
        cr_assert_str_eq(facts.cipher, names[i]);
        met++;
        end(&client, &server);
        aq_tls_free(client_tls);
    }
    cr_assert_geq(met, 1);
    aq_tls_free(server_tls);
}
