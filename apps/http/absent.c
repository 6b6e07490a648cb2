/* absent.c -- `antq http` of a build without nghttp3: says what is missing. */
#include "apps/apps.h"
#include "apps/common.h"

int http_main(int argc, char **argv)
{
    (void)argc, (void)argv;
    complain(
        "this antq was built without HTTP/3: install nghttp3 (Debian: libnghttp3-dev), then run"
        " ./configure --with-nghttp3 and ninja again");
    return EXIT_FAILED;
}
