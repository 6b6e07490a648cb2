/* openssl.c -- libantq.so and the system's OpenSSL in one process.
 *
 * Compiled against OpenSSL's headers and linked with its libssl; loads libantq.so (argument 1) as a plug-in
 * would, makes a TLS object with a self-signed certificate in it (BoringSSL at work), and uses OpenSSL
 * before and after. If the two libraries' symbols met, one of them would work on the other's structs.
 * Called by tests/beside_openssl.sh, with a libantq.so that holds a static BoringSSL. */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "antq.h"

#ifdef OPENSSL_IS_BORINGSSL
#    error "this test needs the system's OpenSSL"
#endif

static bool openssl_works(void)
{
    static const char hex[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char text[65] = "";
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl = ctx ? SSL_new(ctx) : NULL;
    bool ok = ssl && EVP_Digest("abc", 3, hash, &size, EVP_sha256(), NULL) && size == 32;
    for (unsigned i = 0; ok && i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned)hash[i]);
    ok = ok && strcmp(text, hex) == 0
         && strncmp(OpenSSL_version(OPENSSL_VERSION), "OpenSSL ", 8) == 0;
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return ok;
}

static bool antq_works(void *library)
{
    void (*init)(struct aq_tls_config *) = NULL;
    struct aq_tls *(*make)(const struct aq_tls_config *, char *, size_t) = NULL;
    bool (*pin_of)(const struct aq_tls *, uint8_t[32]) = NULL;
    void (*done)(struct aq_tls *) = NULL;
    /* POSIX lets a function's address travel as a void *; C has no cast for it. */
    *(void **)(&init) = dlsym(library, "aq_tls_config_init");
    *(void **)(&make) = dlsym(library, "aq_tls_new");
    *(void **)(&pin_of) = dlsym(library, "aq_tls_pin");
    *(void **)(&done) = dlsym(library, "aq_tls_free");
    if (!init || !make || !pin_of || !done)
        return false;
    static const char *const alpn[] = {"echo"};
    struct aq_tls_config config;
    uint8_t pin[32] = {0}, zero[32] = {0};
    char error[256] = "";
    init(&config);
    config.server = true;
    config.alpn = alpn;
    config.alpn_count = 1;
    struct aq_tls *tls = make(&config, error, sizeof error);
    bool ok = tls && pin_of(tls, pin) && memcmp(pin, zero, sizeof pin) != 0;
    if (!tls)
        fprintf(stderr, "aq_tls_new: %s\n", error);
    else
        done(tls);
    return ok;
}

int main(int argc, char **argv)
{
    bool before = openssl_works();
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "usage: openssl LIBANTQ.SO");
        return 1;
    }
    bool antq = antq_works(library), after = openssl_works();
    printf("OpenSSL before: %d, antq: %d, OpenSSL after: %d\n", before, antq, after);
    return before && antq && after ? 0 : 1;
}
