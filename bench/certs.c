/* certs.c -- the certificates of a run: an authority and what it signs, for every contender alike.
 *
 *     certs DIR       writes ca.pem, and p256.pem, p256.key, ed25519.pem, ed25519.key
 *
 * The leaves are for localhost, 127.0.0.1 and ::1; all are valid for a week. */
#include "bench/bench.h"
#include "tests/certs.h"

#include <stdio.h>

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
        bench_die("cannot write %s", path);
}

int main(int argc, char **argv)
{
    static struct test_cert ca, p256, ed25519;
    int64_t now_s = (int64_t)time(NULL), week_s = INT64_C(7) * 86400;
    struct test_cert_wish wish = {.kind = AQ_KEY_P256,
                                  .name = "antq bench authority",
                                  .is_ca = true,
                                  .from_s = now_s - 86400,
                                  .to_s = now_s + week_s};
    if (argc != 2)
        bench_die("certs DIR");
    test_cert_make(&ca, &wish);
    wish.is_ca = false;
    wish.ca = &ca;
    wish.name = "localhost";
    wish.alt = "DNS:localhost,IP:127.0.0.1,IP:::1";
    test_cert_make(&p256, &wish);
    wish.kind = AQ_KEY_ED25519;
    test_cert_make(&ed25519, &wish);
    write_text(argv[1], "ca.pem", ca.cert_pem);
    write_text(argv[1], "p256.pem", p256.cert_pem);
    write_text(argv[1], "p256.key", p256.key_pem);
    write_text(argv[1], "ed25519.pem", ed25519.cert_pem);
    write_text(argv[1], "ed25519.key", ed25519.key_pem);
    test_cert_free(&ca);
    test_cert_free(&p256);
    test_cert_free(&ed25519);
    return 0;
}
