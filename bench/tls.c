/* tls.c -- see tls.h. Called by bench/tlsmem and bench/tlstcp. */
#include "bench/tls.h"

#include "bench/bench.h"

SSL_SESSION *bench_session;

SSL_CTX *bench_tls(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (ctx == NULL || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
        bench_die("no TLS");
    return ctx;
}

static int on_session(SSL *ssl, SSL_SESSION *fresh)
{
    (void)ssl;
    SSL_SESSION_free(bench_session);
    bench_session = fresh;
    return 1;
}

void bench_tls_client(SSL_CTX *ctx, const char *ca)
{
    static const uint16_t algorithms[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519};
    if (!SSL_CTX_load_verify_locations(ctx, ca, NULL))
        bench_die("--ca cannot be used");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    if (!SSL_CTX_set_verify_algorithm_prefs(ctx, algorithms, 2))
        bench_die("no signature algorithms");
}
