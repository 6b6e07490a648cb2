/* tlstcp.c -- TLS 1.3 over TCP with BoringSSL: what applications would use instead of QUIC.
 *
 *     tlstcp serve --listen ADDR:PORT --cert FILE --key FILE
 *     tlstcp client ADDR:PORT --ca FILE (--download N | --upload N | --ping N [--size N])
 *     tlstcp client ADDR:PORT --ca FILE (--handshakes N [--resumed 1] | --first-byte N)
 *
 * Records of 16 KiB, AES-128-GCM (BoringSSL's first choice where the CPU has AES), TCP_NODELAY,
 * blocking sockets, one connection after another. The client asks with 9 bytes: a letter and a
 * number. An upload is done when the server says so with one byte.
 *
 * A handshake's time is from connect() until the client has sent its Finished: two round trips, as
 * many as until a QUIC handshake is confirmed. The next one begins when the server, too, is done
 * and has closed. */
#include "bench/bench.h"
#include "bench/tls.h"
#include "core/buf.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RECORD = 16384,
    REQUEST = 9
};

static uint8_t record[RECORD];
/* All of it, or the end of the connection. */
static bool write_all(SSL *ssl, const void *data, size_t size)
{
    return SSL_write(ssl, data, (int)size) == (int)size;
}

static bool read_all(SSL *ssl, uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        int n = SSL_read(ssl, data + at, (int)(size - at));
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static bool write_bulk(SSL *ssl, uint64_t bytes)
{
    for (uint64_t left = bytes; left > 0;) {
        size_t size = left < RECORD ? (size_t)left : RECORD;
        if (!write_all(ssl, record, size))
            return false;
        left -= size;
    }
    return true;
}

static bool read_bulk(SSL *ssl, uint64_t bytes)
{
    for (uint64_t left = bytes; left > 0;) {
        int n = SSL_read(ssl, record, left < RECORD ? (int)left : RECORD);
        if (n <= 0)
            return false;
        left -= (uint64_t)n;
    }
    return true;
}

static void answer(SSL *ssl)
{
    uint8_t request[REQUEST];
    while (read_all(ssl, request, sizeof request)) {
        uint64_t number = load_be64(request + 1);
        bool ok = false;
        if (request[0] == 'D')
            ok = write_bulk(ssl, number);
        else if (request[0] == 'U')
            ok = read_bulk(ssl, number) && write_all(ssl, request, 1);
        else if (request[0] == 'P' && number <= RECORD)
            do
                ok = read_all(ssl, record, number) && write_all(ssl, record, number);
            while (ok);
        if (!ok)
            return;
    }
}

static void set_nodelay(int fd)
{
    int yes = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static int serve(int argc, char **argv)
{
    struct bench_addr addr;
    SSL_CTX *ctx = bench_tls();
    if (!SSL_CTX_use_certificate_chain_file(ctx, bench_flag(argc, argv, "--cert", ""))
        || !SSL_CTX_use_PrivateKey_file(ctx, bench_flag(argc, argv, "--key", ""), SSL_FILETYPE_PEM))
        bench_die("--cert or --key cannot be used");
    bench_parse(bench_flag(argc, argv, "--listen", "127.0.0.1:0"), &addr);
    int listener = bench_bind(&addr, SOCK_STREAM);
    if (listen(listener, 16) < 0)
        bench_die("listen: %s", strerror(errno));
    bench_ready(listener);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        SSL *ssl = SSL_new(ctx);
        if (fd < 0 || ssl == NULL)
            bench_die("accept: %s", strerror(errno));
        set_nodelay(fd);
        SSL_set_fd(ssl, fd);
        if (SSL_accept(ssl) == 1)
            answer(ssl);
        SSL_free(ssl);
        close(fd);
    }
}

static SSL_CTX *client_context(int argc, char **argv)
{
    SSL_CTX *ctx = bench_tls();
    bench_tls_client(ctx, bench_flag(argc, argv, "--ca", ""));
    return ctx;
}

/* Connects and shakes hands, with the newest session where `resumed` asks for it. */
static SSL *dial(SSL_CTX *ctx, const struct bench_addr *addr, bool resumed)
{
    int fd = bench_connect(addr, SOCK_STREAM);
    set_nodelay(fd);
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || !SSL_set_fd(ssl, fd) || !SSL_set_tlsext_host_name(ssl, "localhost")
        || !X509_VERIFY_PARAM_set1_host(SSL_get0_param(ssl), "localhost", strlen("localhost"))
        || (resumed && !SSL_set_session(ssl, bench_session)) || SSL_connect(ssl) != 1)
        bench_die("the handshake failed");
    if ((bool)SSL_session_reused(ssl) != resumed)
        bench_die(resumed ? "not resumed" : "resumed");
    return ssl;
}

/* Waits until the server has closed, too: it has then done all that it does for this one. */
static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    (void)shutdown(fd, SHUT_WR);
    while (read(fd, record, sizeof record) > 0)
        ;
    SSL_free(ssl);
    close(fd);
}

static bool ask(SSL *ssl, char what, uint64_t number)
{
    uint8_t request[REQUEST] = {(uint8_t)what};
    for (unsigned i = 0; i < 8; i++)
        request[1 + i] = (uint8_t)(number >> (56 - 8 * i));
    return write_all(ssl, request, sizeof request);
}

static void ping(SSL *ssl, uint64_t count, uint64_t size)
{
    uint32_t *ns = calloc(count, sizeof *ns);
    if (ns == NULL || size > RECORD || !ask(ssl, 'P', size))
        bench_die("no ping");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t sent_ns = bench_clock_ns();
        if (!write_all(ssl, record, size) || !read_all(ssl, record, size))
            bench_die("the connection was lost");
        ns[i] = (uint32_t)(bench_clock_ns() - sent_ns);
    }
    bench_sort(ns, count);
    (void)printf("{\"count\":%llu,\"latency_us\":{\"min\":%.3f,\"p50\":%.3f,\"p99\":%.3f,"
                 "\"p99_9\":%.3f}}\n",
                 (unsigned long long)count, ns[0] / 1e3, bench_percentile(ns, count, 500) / 1e3,
                 bench_percentile(ns, count, 990) / 1e3, bench_percentile(ns, count, 999) / 1e3);
    free(ns);
}

/* Connections one after the other: until the handshake is done, or the first byte of an answer. */
static void connect_often(SSL_CTX *ctx, const struct bench_addr *addr, uint64_t count, bool resumed,
                          bool first_byte)
{
    uint32_t *ns = calloc(count, sizeof *ns);
    SSL *ssl = dial(ctx, addr, false);
    if (ns == NULL || !ask(ssl, 'U', 0) || !read_all(ssl, record, 1) || bench_session == NULL)
        bench_die("no session came"); /* with the answer's byte the tickets came, too */
    hang_up(ssl);
    uint64_t begun_ns = bench_clock_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t dialled_ns = bench_clock_ns();
        ssl = dial(ctx, addr, resumed);
        if (first_byte && (!ask(ssl, 'D', 64) || !read_all(ssl, record, 1)))
            bench_die("the connection was lost");
        ns[i] = (uint32_t)(bench_clock_ns() - dialled_ns);
        hang_up(ssl);
    }
    double seconds = (double)(bench_clock_ns() - begun_ns) / 1e9;
    bench_sort(ns, count);
    (void)printf("{\"handshakes\":%llu,\"resumed\":%llu,\"handshakes_per_s\":%.3f,"
                 "\"latency_us\":{\"p50\":%.3f,\"p99\":%.3f,\"p99_9\":%.3f}}\n",
                 (unsigned long long)count, resumed ? (unsigned long long)count : 0ULL,
                 (double)count / seconds, bench_percentile(ns, count, 500) / 1e3,
                 bench_percentile(ns, count, 990) / 1e3, bench_percentile(ns, count, 999) / 1e3);
    free(ns);
}

static void transfer(SSL *ssl, uint64_t down, uint64_t up)
{
    uint64_t begun_ns = bench_clock_ns();
    if ((down > 0 && (!ask(ssl, 'D', down) || !read_bulk(ssl, down)))
        || (up > 0 && (!ask(ssl, 'U', up) || !write_bulk(ssl, up) || !read_all(ssl, record, 1))))
        bench_die("the connection was lost");
    double seconds = (double)(bench_clock_ns() - begun_ns) / 1e9;
    (void)printf("{\"seconds\":%.6f,\"bytes\":%llu,\"gbit_per_s\":%.6f,\"cipher\":\"%s\"}\n",
                 seconds, (unsigned long long)(down + up), (double)(down + up) * 8 / seconds / 1e9,
                 SSL_get_cipher(ssl));
}

static int client(int argc, char **argv)
{
    uint64_t pings = bench_number(argc, argv, "--ping", 0);
    uint64_t handshakes = bench_number(argc, argv, "--handshakes", 0);
    uint64_t first_bytes = bench_number(argc, argv, "--first-byte", 0);
    bool resumed = bench_number(argc, argv, "--resumed", 0) != 0;
    SSL_CTX *ctx = client_context(argc, argv);
    struct bench_addr addr;
    bench_parse(argv[2], &addr);
    if (handshakes + first_bytes > 0)
        connect_often(ctx, &addr, handshakes + first_bytes, resumed, first_bytes > 0);
    else if (pings > 0)
        ping(dial(ctx, &addr, false), pings, bench_number(argc, argv, "--size", 64));
    else
        transfer(dial(ctx, &addr, false), bench_number(argc, argv, "--download", 0),
                 bench_number(argc, argv, "--upload", 0));
    return 0;
}

int main(int argc, char **argv)
{
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return serve(argc, argv);
    if (argc > 2 && strcmp(argv[1], "client") == 0)
        return client(argc, argv);
    bench_die("tlstcp serve --listen ADDR:PORT, or tlstcp client ADDR:PORT");
}
