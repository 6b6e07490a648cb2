/* tests/tls.c -- whole handshakes in memory, resumption, and what may not come. */
#include "tests/tls_pump.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 9001 §4, §8.1, §8.2 */
Test(tls, handshake)
{
    for (unsigned kind = AQ_KEY_P256; kind <= AQ_KEY_ED25519; kind++) {
        struct aq_tls_config config = config_for(true);
        config.self_signed = (enum aq_key_kind)kind;
        struct aq_tls *server_tls = make(&config);
        config = config_for(false);
        struct aq_tls *client_tls = make(&config);
        struct tls_facts ours, theirs;
        struct tls_names our_names, their_names;
        const uint8_t *peer;
        size_t size;
        uint8_t pin[32];

        run(client_tls, server_tls, "localhost");
        expect_done();
        check_secrets();
        cr_assert(tls_peer_params(&client.tls, &peer, &size));
        cr_assert(size == 4 && memcmp(peer, params[1], 4) == 0);
        cr_assert(tls_peer_params(&server.tls, &peer, &size));
        cr_assert(size == 4 && memcmp(peer, params[0], 4) == 0);

        tls_facts(&client.tls, &ours, &our_names);
        tls_facts(&server.tls, &theirs, &their_names);
        cr_assert(ours.known && theirs.known && !ours.resumed && !theirs.resumed);
        cr_assert_str_eq(our_names.alpn, "perf");
        cr_assert_str_eq(their_names.alpn, "perf");
        cr_assert_str_eq(our_names.server_name, "localhost");
        cr_assert_str_eq(their_names.server_name, "localhost");
        cr_assert_str_eq(ours.cipher, theirs.cipher);
        cr_assert_eq(strncmp(ours.cipher, "TLS_", 4), 0);
        cr_assert_str_eq(ours.group, theirs.group);
        cr_assert_str_not_empty(ours.group);
        cr_assert_arr_eq(ours.exporter, theirs.exporter, 32);
        cr_assert(ours.has_certificate && !theirs.has_certificate);
        cr_assert(!ours.verified && !theirs.verified, "nothing was verified");
        cr_assert(aq_tls_pin(server_tls, pin));
        cr_assert_arr_eq(ours.spki_hash, pin, 32);
        cr_assert_not(aq_tls_pin(client_tls, pin));
        cr_assert_eq(client.tickets, 1);
        end(&client, &server);
        cr_assert_not(tls_peer_params(&client.tls, &peer, &size));
        aq_tls_free(client_tls);
        aq_tls_free(server_tls);
    }
}

/* A server knows the client's parameters with its first secret above Initial. */
Test(tls, parameters_come_early)
{
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    struct aq_tls *client_tls = make(&config);
    const uint8_t *peer;
    size_t size;

    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(begin(&client, client_tls, NULL, NULL), 0);
    cr_assert_not(tls_peer_params(&server.tls, &peer, &size));
    carry(&client, &server);
    cr_assert(server.secrets[LEVEL_HANDSHAKE][1].size > 0);
    cr_assert(tls_peer_params(&server.tls, &peer, &size));
    cr_assert_not(server.tls.done);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* ---- keys that live elsewhere ---------------------------------------------------------------- */

static enum aq_answer sign_answer;
static uint8_t signature[512];
static size_t signature_size;
static enum aq_answer on_sign(void *user, void *conn_user, uint16_t algorithm, const uint8_t *in,
                              size_t size, uint8_t *out, size_t *out_size, size_t out_max)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(user, &ca);
    cr_assert_eq(conn_user, &server);
    cr_assert_eq(algorithm, SSL_SIGN_ECDSA_SECP256R1_SHA256);
    signature_size = sizeof(signature);
    cr_assert(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, leaf.key));
    cr_assert(EVP_DigestSign(ctx, signature, &signature_size, in, size));
    EVP_MD_CTX_free(ctx);
    if (sign_answer == AQ_ACCEPT) {
        cr_assert_leq(signature_size, out_max);
        memcpy(out, signature, signature_size);
        *out_size = signature_size;
    }
    return sign_answer;
}

Test(tls, signing_elsewhere)
{
    make_certs();
    struct aq_tls_config config = config_for(true);
    config.sign = on_sign;
    config.user = &ca;
    expect_no(&config, "give cert");
    config.cert = leaf.cert_in;
    config.key = leaf.key_in;
    expect_no(&config, "both key and sign");
    config.key = (struct aq_pem){0};
    struct aq_tls *server_tls = make(&config), *client_tls = client_trusting(&ca);

    sign_answer = AQ_ACCEPT;
    run(client_tls, server_tls, "a.test");
    expect_done();
    end(&client, &server);

    sign_answer = AQ_REFUSE;
    run(client_tls, server_tls, "a.test");
    cr_assert_eq(server.result, 0x100 + SSL_AD_INTERNAL_ERROR);
    end(&client, &server);

    sign_answer = AQ_LATER;
    run(client_tls, server_tls, "a.test");
    cr_assert_eq(server.result, TLS_LATER);
    cr_assert(server.tls.waiting && server.tls.signing);
    cr_assert_eq(tls_verify_done(&server.tls, true), AQ_MISUSE);
    cr_assert_eq(tls_sign_done(&server.tls, signature, sizeof(signature) + 1), AQ_MISUSE);
    cr_assert(server.tls.waiting);
    server.result = tls_sign_done(&server.tls, signature, signature_size);
    pump(&client, &server);
    expect_done();
    end(&client, &server);

    run(client_tls, server_tls, "a.test");
    cr_assert_eq(server.result, TLS_LATER);
    cr_assert_eq(tls_sign_done(&server.tls, NULL, 0), 0x100 + SSL_AD_INTERNAL_ERROR);
    end(&client, &server);

    /* A wrong signature is the client's to find. */
    run(client_tls, server_tls, "a.test");
    signature[10] ^= 1;
    server.result = tls_sign_done(&server.tls, signature, signature_size);
    pump(&client, &server);
    cr_assert_eq(client.result, 0x100 + SSL_AD_DECRYPT_ERROR);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* ---- application protocols ------------------------------------------------------------------- */

/* RFC 9001 §8.1. RFC 9000 §7: and there is no handshake without one. */
Test(tls, alpn)
{
    static const char *const mine[] = {"h3", "perf"}, *const strange[] = {"h3x", "x"};
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    config.alpn = mine;
    struct aq_tls *client_tls = make(&config);
    config.alpn = strange;
    struct aq_tls *stranger = make(&config);
    struct tls_facts facts;
    struct tls_names names;

    run(client_tls, server_tls, NULL);
    expect_done();
    tls_facts(&client.tls, &facts, &names);
    cr_assert_str_eq(names.alpn, "perf", "the server's order counts");
    end(&client, &server);

    run(stranger, server_tls, NULL);
    cr_assert_eq(server.result, 0x178);
    end(&client, &server);

    config.alpn_count = 0;
    expect_no(&config, "alpn");
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    const char *const too_long[] = {long_name}, *const fits[] = {long_name + 1},
                      *const empty[] = {""};
    config.alpn_count = 1;
    config.alpn = too_long;
    expect_no(&config, "1 to 63");
    config.alpn = empty;
    expect_no(&config, "1 to 63");
    config.alpn = fits;
    aq_tls_free(make(&config));
    aq_tls_free(client_tls);
    aq_tls_free(stranger);
    aq_tls_free(server_tls);
}

/* ---- tickets --------------------------------------------------------------------------------- */

Test(tls, tickets)
{
    make_certs();
    for (uint8_t tickets = 0; tickets <= 2; tickets++) {
        struct aq_tls_config config = config_for(true);
        config.tickets = tickets;
        config.cert = leaf.cert_in;
        config.key = leaf.key_in;
        struct aq_tls *server_tls = make(&config), *client_tls = client_trusting(&ca);
        struct tls_facts ours, theirs;
        struct tls_names names;

        run(client_tls, server_tls, "a.test");
        expect_done();
        cr_assert_eq(client.tickets, tickets);
        if (tickets > 0) {
            resume(client_tls, server_tls, "a.test");
            expect_done();
            check_secrets();
            tls_facts(&server.tls, &theirs, &names);
            tls_facts(&client.tls, &ours, &names);
            cr_assert(ours.resumed && theirs.resumed && ours.verified);
            cr_assert_str_eq(names.alpn, "perf");
            cr_assert_arr_eq(ours.exporter, theirs.exporter, 32);
        }
        end(&client, &server);
        aq_tls_free(client_tls);
        aq_tls_free(server_tls);
    }
    struct aq_tls_config config = config_for(true);
    config.tickets = 3;
    expect_no(&config, "0 to 2");
}

/* ---- after the handshake, and what may not come ---------------------------------------------- */

static void finish(struct aq_tls **client_tls, struct aq_tls **server_tls)
{
    struct aq_tls_config config = config_for(true);
    *server_tls = make(&config);
    config = config_for(false);
    *client_tls = make(&config);
    run(*client_tls, *server_tls, NULL);
    expect_done();
}

/* RFC 9001 §6: a TLS KeyUpdate (type 24, RFC 8446 §4) is error 0x010a, with the TLS object or after it was freed. */
Test(tls, key_update_message)
{
    static const uint8_t update[] = {24, 0, 0, 1, 0};
    for (unsigned round = 0; round < 4; round++) {
        struct aq_tls *client_tls, *server_tls;
        finish(&client_tls, &server_tls);
        struct side *side = round % 2 == 0 ? &client : &server;
        if (round >= 2) {
            end(&client, &server);
        }
        cr_assert_eq(tls_input(&side->tls, LEVEL_APP, update, sizeof(update)), 0x10a);
        cr_assert_eq(tls_input(&side->tls, LEVEL_APP, update, 1), 0x10a);
        end(&client, &server);
        aq_tls_free(client_tls);
        aq_tls_free(server_tls);
    }
}

/* RFC 9001 §4.4: no client authentication after the handshake. */
Test(tls, certificate_request_after_the_handshake)
{
    static const uint8_t request[] = {13, 0, 0, 3, 0, 0, 0};
    struct aq_tls *client_tls, *server_tls;
    finish(&client_tls, &server_tls);
    cr_assert_eq(tls_input(&client.tls, LEVEL_APP, request, sizeof(request)),
                 AQ_PROTOCOL_VIOLATION);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* Late tickets are discarded in whatever pieces they come; what is in them is not taken for a
 * message. */
Test(tls, messages_after_free)
{
    uint8_t stream[300];
    struct aq_tls *client_tls, *server_tls;
    finish(&client_tls, &server_tls);
    end(&client, &server);
    memset(stream, 24, sizeof(stream));
    for (size_t at = 0; at < 300; at += 100) {
        memcpy(stream + at, (const uint8_t[]){4, 0, 0, 96}, 4);
    }
    for (size_t at = 0, piece = 1; at < sizeof(stream); at += piece, piece = piece % 5 + 1) {
        size_t size = sizeof(stream) - at < piece ? sizeof(stream) - at : piece;
        cr_assert_eq(tls_input(&client.tls, LEVEL_APP, stream + at, size), 0);
    }
    cr_assert_eq(tls_input(&client.tls, LEVEL_APP, stream + 50, 1), 0x10a);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* RFC 9001 §4.1.3: new bytes of a level that is over, and bytes left over when it ends. */
Test(tls, levels)
{
    struct aq_tls *client_tls, *server_tls;
    finish(&client_tls, &server_tls);
    cr_assert_eq(tls_input(&client.tls, LEVEL_HANDSHAKE, params[0], 4), AQ_PROTOCOL_VIOLATION);
    cr_assert_eq(tls_input(&server.tls, LEVEL_INITIAL, params[0], 4), AQ_PROTOCOL_VIOLATION);
    end(&client, &server);

    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(begin(&client, client_tls, NULL, NULL), 0);
    cr_assert_eq(tls_input(&client.tls, LEVEL_HANDSHAKE, params[0], 4), AQ_PROTOCOL_VIOLATION);
    tls_free(&client.tls);
    cr_assert_eq(begin(&client, client_tls, NULL, NULL), 0);
    carry(&client, &server);
    /* One byte behind the ServerHello. */
    server.out[LEVEL_INITIAL][server.out_size[LEVEL_INITIAL]++] = 2;
    pump(&client, &server);
    cr_assert_eq(client.result, AQ_PROTOCOL_VIOLATION);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

/* RFC 9001 §4.8: what cannot be a ClientHello, and far too much of one. */
Test(tls, bad_messages)
{
    static const uint8_t nonsense[] = {1, 0, 0, 4, 1, 2, 3, 4}, finished[] = {20, 0, 0, 0};
    static uint8_t flood[20000] = {1, 0, 0x4f, 0};
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);

    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(tls_input(&server.tls, LEVEL_INITIAL, nonsense, sizeof(nonsense)),
                 0x100 + SSL_AD_DECODE_ERROR);
    tls_free(&server.tls);
    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(tls_input(&server.tls, LEVEL_INITIAL, finished, sizeof(finished)),
                 0x100 + SSL_AD_UNEXPECTED_MESSAGE);
    tls_free(&server.tls);
    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(tls_input(&server.tls, LEVEL_INITIAL, flood, sizeof(flood)),
                 AQ_CRYPTO_BUFFER_EXCEEDED);
    tls_free(&server.tls);
    aq_tls_free(server_tls);
}

/* An error of the sink ends the handshake and is what comes back. */
Test(tls, sink_refuses)
{
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    config = config_for(false);
    struct aq_tls *client_tls = make(&config);

    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(begin(&client, client_tls, NULL, NULL), 0);
    server.refuse_secret = AQ_TRANSPORT_PARAMETER_ERROR;
    pump(&client, &server);
    cr_assert_eq(server.result, AQ_TRANSPORT_PARAMETER_ERROR);
    end(&client, &server);
    aq_tls_free(client_tls);
    aq_tls_free(server_tls);
}

Test(tls, roles)
{
    struct aq_tls_config config = config_for(true);
    struct aq_tls *server_tls = make(&config);
    struct tls tls;
    struct tls_start start = {
        .shared = server_tls, .server = false, .params = params[0], .params_size = 4};

    cr_assert(tls_is_server_config(server_tls));
    cr_assert_eq(tls_start(&tls, &start, &sink, &client), AQ_MISUSE);
    cr_assert_null(tls.ssl);
    start.shared = NULL;
    cr_assert_eq(tls_start(&tls, &start, &sink, &client), AQ_MISUSE);
    tls_free(&tls);
    aq_tls_free(server_tls);
}
