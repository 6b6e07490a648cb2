/* http.c -- `antq http`: serve or get. Where configure found no nghttp3, absent.c stands here. */
#include "apps/http/http.h"

#include <string.h>

#include "apps/apps.h"
#include "apps/common.h"

static void usage(FILE *out)
{
    (void)fputs("usage: antq http serve DIR [flags]\n"
                "       antq http get URL... [flags]\n\n"
                "HTTP/3, and HTTP/0.9 over QUIC (ALPN hq-interop).\n"
                "`antq http serve --help` and `antq http get --help` tell the flags.\n",
                out);
}

int http_main(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "serve") == 0) {
        return http_serve(argc - 1, argv + 1);
    }
    if (argc > 0 && strcmp(argv[0], "get") == 0) {
        return http_get(argc - 1, argv + 1);
    }
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        usage(stdout);
        return EXIT_DONE;
    }
    if (argc > 0) {
        complain("no subcommand \"http %s\"; there are `http serve` and `http get`", argv[0]);
    } else {
        usage(stderr);
    }
    return EXIT_WRONG_USE;
}
