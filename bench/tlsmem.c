/* tlsmem.c -- a TLS 1.3 handshake through BoringSSL's QUIC interface, in memory: the part of a QUIC
 * handshake that no QUIC implementation can save.
 *
 *     tlsmem --cert FILE --key FILE --ca FILE --count N [--resumed 1]
 *
 * BoringSSL alone, none of antq's code. The client verifies the chain and the name; a resumed
 * handshake is PSK with a fresh key exchange, as QUIC's are. Each side's calls are timed by
 * themselves; nothing in them waits, so that time is CPU time but for what interrupts it. Prints
 * the means and the medians of each side per handshake. */
#include "bench/bench.h"
#include "bench/tls.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEVELS = 4,
    FLIGHT = 16384,
    WARM = 20
};

struct side {
    SSL *ssl;
    uint8_t out[LEVELS][FLIGHT]; /* handshake bytes for the other side */
    size_t out_size[LEVELS];
    uint64_t ns;
    bool done;
};

static int on_secret(SSL *ssl, enum ssl_encryption_level_t level, const SSL_CIPHER *cipher,
                     const uint8_t *secret, size_t size)
{
    (void)ssl, (void)level, (void)cipher, (void)secret, (void)size;
    return 1;
}

static int on_data(SSL *ssl, enum ssl_encryption_level_t level, const uint8_t *data, size_t size)
{
    struct side *side = SSL_get_app_data(ssl);
    if (side->out_size[level] + size > FLIGHT)
        return 0;
    memcpy(side->out[level] + side->out_size[level], data, size);
    side->out_size[level] += size;
    return 1;
}

static int on_flush(SSL *ssl)
{
    (void)ssl;
    return 1;
}

static int on_alert(SSL *ssl, enum ssl_encryption_level_t level, uint8_t alert)
{
    (void)ssl, (void)level;
    bench_die("TLS alert %u", alert);
}

static const SSL_QUIC_METHOD method = {on_secret, on_secret, on_data, on_flush, on_alert};

static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_size, const uint8_t *in,
                   unsigned in_size, void *arg)
{
    (void)ssl, (void)in_size, (void)arg;
    *out = in + 1;
    *out_size = in[0];
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *make_context(void)
{
    SSL_CTX *ctx = bench_tls();
    if (!SSL_CTX_set_quic_method(ctx, &method))
        bench_die("no TLS for QUIC");
    return ctx;
}

static SSL_CTX *server_context(int argc, char **argv)
{
    SSL_CTX *ctx = make_context();
    if (!SSL_CTX_use_certificate_chain_file(ctx, bench_flag(argc, argv, "--cert", ""))
        || !SSL_CTX_use_PrivateKey_file(ctx, bench_flag(argc, argv, "--key", ""), SSL_FILETYPE_PEM))
        bench_die("--cert or --key cannot be used");
    SSL_CTX_set_num_tickets(ctx, 1); /* as antq does: BoringSSL would make two */
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return ctx;
}

static SSL_CTX *client_context(int argc, char **argv)
{
    SSL_CTX *ctx = make_context();
    bench_tls_client(ctx, bench_flag(argc, argv, "--ca", ""));
    return ctx;
}

static void begin(struct side *side, SSL_CTX *ctx, bool server)
{
    static const uint8_t params[48] = {1, 4, 0x80, 0, 0x75, 0x30}, alpn[] = {4, 'p', 'e', 'r', 'f'};
    uint64_t begun_ns = bench_clock_ns();
    memset(side->out_size, 0, sizeof side->out_size);
    side->done = false;
    side->ssl = SSL_new(ctx);
    if (side->ssl == NULL || !SSL_set_quic_transport_params(side->ssl, params, sizeof params))
        bench_die("no TLS connection");
    SSL_set_app_data(side->ssl, side);
    if (server) {
        SSL_set_accept_state(side->ssl);
    } else {
        SSL_set_connect_state(side->ssl);
        (void)SSL_set_alpn_protos(side->ssl, alpn, sizeof alpn);
        (void)SSL_set_tlsext_host_name(side->ssl, "localhost");
        (void)X509_VERIFY_PARAM_set1_host(SSL_get0_param(side->ssl), "localhost",
                                          strlen("localhost"));
    }
    side->ns = bench_clock_ns() - begun_ns;
}

/* Gives `side` what the other has for it and lets it work. True: something moved. */
static bool turn(struct side *side, struct side *other)
{
    bool moved = false;
    uint64_t begun_ns = bench_clock_ns();
    for (unsigned level = 0; level < LEVELS; level++) {
        if (other->out_size[level] == 0)
            continue;
        if (!SSL_provide_quic_data(side->ssl, (enum ssl_encryption_level_t)level, other->out[level],
                                   other->out_size[level]))
            bench_die("TLS takes no data");
        other->out_size[level] = 0;
        moved = true;
        if (side->done) {
            if (!SSL_process_quic_post_handshake(side->ssl))
                bench_die("TLS refuses a ticket");
            continue;
        }
        int result = SSL_do_handshake(side->ssl);
        side->done = result == 1;
        if (result != 1 && SSL_get_error(side->ssl, result) != SSL_ERROR_WANT_READ)
            bench_die("the handshake failed");
    }
    side->ns += bench_clock_ns() - begun_ns;
    return moved;
}

static void finish(struct side *side)
{
    uint64_t begun_ns = bench_clock_ns();
    SSL_free(side->ssl);
    side->ns += bench_clock_ns() - begun_ns;
}

/* One handshake. False: it was resumed though it should not be, or the other way. */
static bool handshake(struct side *client, struct side *server, SSL_CTX *ctx[2], bool resumed)
{
    begin(client, ctx[0], false);
    begin(server, ctx[1], true);
    uint64_t begun_ns = bench_clock_ns();
    if (resumed && bench_session != NULL && !SSL_set_session(client->ssl, bench_session))
        bench_die("the session cannot be used");
    (void)SSL_do_handshake(client->ssl);
    client->ns += bench_clock_ns() - begun_ns;
    bool moved = true;
    while (moved) {
        moved = turn(server, client);
        moved = turn(client, server) || moved;
    }
    if (!client->done || !server->done)
        bench_die("the handshake does not end");
    bool as_asked = (bool)SSL_session_reused(client->ssl) == resumed;
    finish(client);
    finish(server);
    return as_asked;
}

int main(int argc, char **argv)
{
    static struct side client, server;
    uint64_t count = bench_number(argc, argv, "--count", 1000), sum[2] = {0, 0};
    bool resumed = bench_number(argc, argv, "--resumed", 0) != 0;
    SSL_CTX *ctx[2] = {client_context(argc, argv), server_context(argc, argv)};
    uint32_t *ns[2] = {calloc(count, sizeof **ns), calloc(count, sizeof **ns)};
    if (ns[0] == NULL || ns[1] == NULL || count == 0)
        bench_die("no memory");
    for (unsigned i = 0; i < WARM; i++)
        (void)handshake(&client, &server, ctx, resumed && i > 0);
    for (uint64_t i = 0; i < count; i++) {
        if (!handshake(&client, &server, ctx, resumed))
            bench_die(resumed ? "not resumed" : "resumed");
        ns[0][i] = (uint32_t)client.ns;
        ns[1][i] = (uint32_t)server.ns;
        sum[0] += client.ns;
        sum[1] += server.ns;
    }
    bench_sort(ns[0], count);
    bench_sort(ns[1], count);
    (void)printf("{\"count\":%llu,\"resumed\":%s,\"client_us\":%.3f,\"server_us\":%.3f,"
                 "\"client_us_mean\":%.3f,\"server_us_mean\":%.3f}\n",
                 (unsigned long long)count, resumed ? "true" : "false",
                 bench_percentile(ns[0], count, 500) / 1e3,
                 bench_percentile(ns[1], count, 500) / 1e3, (double)sum[0] / (double)count / 1e3,
                 (double)sum[1] / (double)count / 1e3);
    return 0;
}
