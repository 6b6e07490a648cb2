/* tls.h -- BoringSSL by itself, for the contenders that are not antq: contexts as antq's are. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <openssl/ssl.h>

/* TLS 1.3 alone. */
SSL_CTX *bench_tls(void);
/* A client's: it verifies the chain, and keeps the newest session in bench_session. */
void bench_tls_client(SSL_CTX *ctx, const char *ca);

extern SSL_SESSION *bench_session;

#endif
