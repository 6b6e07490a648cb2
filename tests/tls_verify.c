/* tests/tls_verify.c -- each way to verify a peer, each refusal with its alert and its words. */
#include "crypto/tls_config.h"
#include "tests/tls_pump.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 9001 §4.4, §4.8: each refusal has its alert and a text that helps. */
/* The name: RFC 9525 §6. An address is not sent but verified: RFC 6066 §3. Alerts: RFC 8446 §6.2.
 */
Test(tls_verify, verify_ca)
{
    make_certs();
    const struct {
        const struct test_cert *cert, *authority;
        const char *name;
        int alert; /* 0: accepted */
        const char *text;
    } rows[] = {
        {&leaf, &ca, "a.test", 0, NULL},
        {&leaf, &ca, "A.Test", 0, NULL},
        {&leaf, &ca, "x.b.test", 0, NULL},
        {&leaf, &ca, "b.test", 42, "another name"},
        {&leaf, &ca, "leaf", 42, "another name"}, /* the common name does not count */
        {&leaf, &ca, "x.y.b.test", 42, "another name"},
        {&leaf, &ca, "127.0.0.1", 42, "address"},
        {&leaf, &ca, NULL, 42, "server_name"},
        {&address, &ca, "127.0.0.1", 0, NULL},
        {&address, &ca, "::1", 0, NULL},
        {&address, &ca, "127.0.0.2", 42, "address"},
        {&leaf, &other_ca, "a.test", 48, "unknown authority"},
        {&ca, &other_ca, "CA", 48, "self-signed"},
        {&expired, &ca, "a.test", 45, "expired"},
        {&early, &ca, "a.test", 42, "not yet valid"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct aq_tls *server_tls = server_with(rows[i].cert);
        struct aq_tls *client_tls = client_trusting(rows[i].authority);
        run(client_tls, server_tls, rows[i].name);
        if (rows[i].alert == 0) {
            struct tls_facts facts;
            struct tls_names names;
            expect_done();
            tls_facts(&client.tls, &facts, &names);
            cr_assert(facts.verified && facts.verify_error == NULL);
        } else {
            cr_assert_eq(client.result, 0x100 + rows[i].alert, "row %zu: %d %s", i, client.result,
                         client.tls.verify_error);
            cr_assert_not_null(strstr(client.tls.verify_error, rows[i].text), "%s",
                               client.tls.verify_error);
            cr_assert_not(client.tls.done || server.tls.done);
            cr_assert_eq(client.tls.alert, rows[i].alert);
            /* The error stays. */
            cr_assert_eq(tls_input(&client.tls, LEVEL_HANDSHAKE, params[0], 1), client.result);
        }
        end(&client, &server);
        aq_tls_free(client_tls);
        aq_tls_free(server_tls);
    }
}

Test(tls_verify, verify_pin)
{
    struct aq_tls_config config = config_for(true);
    config.self_signed = AQ_KEY_ED25519;
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    config.verify = AQ_VERIFY_PIN;
    cr_assert(aq_tls_pin(server_tls, config.pin));
    struct aq_tls *right = make(&config);
    config.pin[31] ^= 1;
    struct aq_tls *wrong = make(&config);
    struct tls_facts facts;
    struct tls_names names;

    run(right, server_tls, NULL);
    expect_done();
    tls_facts(&client.tls, &facts, &names);
    cr_assert(facts.verified);
    cr_assert_str_empty(names.server_name);
    end(&client, &server);
    run(wrong, server_tls, NULL);
    cr_assert_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
    cr_assert_not_null(strstr(client.tls.verify_error, "pinned"));
    end(&client, &server);
    aq_tls_free(right);
    aq_tls_free(wrong);
    aq_tls_free(server_tls);
}

/* The system's CA certificates, or a clear word about what is missing; a stranger's certificate is
 * refused. */
Test(tls_verify, verify_system)
{
    char error[512];
    struct aq_tls_config config = config_for(false);
    config.verify = AQ_VERIFY_SYSTEM;
    struct aq_tls *client_tls = aq_tls_new(&config, error, sizeof(error));
    if (client_tls == NULL) {
        cr_assert_not_null(strstr(error, "ca-certificates"), "%s", error);
        return;
    }
    make_certs();
    struct aq_tls *server_tls = server_with(&leaf);
    run(client_tls, server_tls, "a.test");
    cr_assert_eq(client.result, 0x100 + SSL_AD_UNKNOWN_CA);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

static enum aq_answer call_answer;
static unsigned calls;
static enum aq_answer on_verify_peer(void *user, void *conn_user, const struct aq_iov *chain,
                                     unsigned count)
{
    cr_assert_eq(user, &calls);
    cr_assert(conn_user == &client || conn_user == &server);
    cr_assert(count == 1 && chain[0].size > 100 && chain[0].data[0] == 0x30);
    calls++;
    return call_answer;
}

Test(tls_verify, verify_call)
{
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    config.verify = AQ_VERIFY_CALL;
    expect_no(&config, "verify_peer");
    config.verify_peer = on_verify_peer;
    config.user = &calls;
    struct aq_tls *client_tls = make(&config);

    call_answer = AQ_ACCEPT;
    run(client_tls, server_tls, NULL);
    expect_done();
    cr_assert_eq(calls, 1);
    cr_assert_eq(tls_verify_done(&client.tls, true), AQ_MISUSE);
    end(&client, &server);

    call_answer = AQ_REFUSE;
    run(client_tls, server_tls, NULL);
    cr_assert_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
    cr_assert_not_null(client.tls.verify_error);
    end(&client, &server);

    for (unsigned accept = 0; accept < 2; accept++) {
        calls = 0;
        call_answer = AQ_LATER;
        run(client_tls, server_tls, NULL);
        cr_assert_eq(client.result, TLS_LATER);
        cr_assert(client.tls.waiting && !client.tls.done);
        cr_assert_eq(tls_sign_done(&client.tls, params[0], 4), AQ_MISUSE);
        client.result = tls_verify_done(&client.tls, accept);
        cr_assert_eq(calls, 1, "asked once only");
        if (accept) {
            pump(&client, &server);
            expect_done();
        } else {
            cr_assert_eq(client.result, 0x100 + SSL_AD_BAD_CERTIFICATE);
        }
        cr_assert_eq(tls_verify_done(&client.tls, true), AQ_MISUSE);
        end(&client, &server);
    }
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* ---- client certificates --------------------------------------------------------------------- */

Test(tls_verify, client_certificates)
{
    make_certs();
    struct aq_tls_config config = config_for(true);
    config.ask_client_certificate = true;
    config.verify = AQ_VERIFY_CA;
    config.ca = ca.cert_in;
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    struct aq_tls *without = make(&config);
    config.cert = leaf.cert_in;
    config.key = leaf.key_in;
    struct aq_tls *with = make(&config);
    config.cert = other_ca.cert_in;
    config.key = other_ca.key_in;
    struct aq_tls *stranger = make(&config);
    struct tls_facts facts;
    struct tls_names names;
    uint8_t pin[32];

    run(with, server_tls, "a.test");
    expect_done();
    tls_facts(&server.tls, &facts, &names);
    cr_assert(facts.verified && facts.has_certificate);
    cr_assert(aq_tls_pin(with, pin));
    cr_assert_arr_eq(facts.spki_hash, pin, 32);
    end(&client, &server);

    run(without, server_tls, "a.test");
    cr_assert_eq(server.result, 0x100 + SSL_AD_CERTIFICATE_REQUIRED);
    cr_assert_not_null(strstr(server.tls.verify_error, "no certificate"));
    end(&client, &server);

    run(stranger, server_tls, "a.test");
    cr_assert_eq(server.result, 0x100 + SSL_AD_UNKNOWN_CA);
    end(&client, &server);

    aq_tls_free(with);
    aq_tls_free(without);
    aq_tls_free(stranger);
    aq_tls_free(server_tls);
}

/* A ticket taken without verification does not carry its server past a client that verifies. */
Test(tls_verify, resumption_is_verified)
{
    make_certs();
    struct aq_tls *server_tls = server_with(&leaf), *careful = client_trusting(&other_ca);
    struct aq_tls_config config = config_for(false);
    struct aq_tls *careless = make(&config);

    run(careless, server_tls, "a.test");
    expect_done();
    resume(careful, server_tls, "a.test");
    cr_assert_eq(client.result, 0x100 + SSL_AD_UNKNOWN_CA);
    cr_assert_not(client.tls.done);
    end(&client, &server);
    aq_tls_free(careless);
    aq_tls_free(careful);
    aq_tls_free(server_tls);
}

/* What a client accepted it need not judge again: without its CA certificates it could not, and
 * does so nevertheless where the note in the ticket does not hold. */
Test(tls_verify, resumption_remembers_its_verdict)
{
    const struct {
        const char *name;
        unsigned altered; /* this byte of the note, from its end */
        uint64_t now_s;
        bool resumed;
    } rows[] = {
        {"a.test", 0, NOW_S, true},
        {"a.test", 1, NOW_S, false},                       /* its authenticator */
        {"a.test", sizeof(struct tls_mark), NOW_S, false}, /* its times */
        {"x.b.test", 0, NOW_S, false}, /* in the certificate too, but not what was asked for */
        {"a.test", 0, NOW_S + 8999, true},
        {"a.test", 0, NOW_S + 9000, false}, /* the CA's certificate ends, as its own does */
    };
    make_certs();
    struct aq_tls *server_tls = server_with(&leaf), *client_tls = client_trusting(&ca);
    struct aq_tls *other = client_trusting(&other_ca);
    X509_STORE *store = client_tls->store;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        run(client_tls, server_tls, "a.test");
        expect_done();
        if (rows[i].altered != 0) {
            client.ticket[client.ticket_size - rows[i].altered] ^= 1;
        }
        client_tls->store = other->store;
        client_tls->unix_s = rows[i].now_s;
        resume(client_tls, server_tls, rows[i].name);
        client_tls->store = store;
        client_tls->unix_s = NOW_S;
        cr_assert_eq(client.tls.done && client.tls.resumed, rows[i].resumed, "row %zu", i);
        cr_assert(rows[i].resumed || client.result != 0, "row %zu", i);
        end(&client, &server);
    }
    aq_tls_free(other);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}
