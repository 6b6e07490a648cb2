/* url.h -- "https://HOST[:PORT][/PATH][?QUERY]" in the parts that a request needs. */
#ifndef APPS_HTTP_URL_H
#define APPS_HTTP_URL_H

#include <stdbool.h>
#include <stddef.h>

struct url {
    char target[280];    /* HOST:PORT to connect to; the port is 443 where none is given */
    char authority[280]; /* as the server is told: without that port */
    char *path;          /* with its query, without a fragment; from malloc */
    char name[256]; /* what a file of it is called: the last segment as it stands; index.html */
};

/* False with a sentence in error. Free what it gave with url_free. */
bool url_parse(struct url *url, const char *text, char *error, size_t error_size);
void url_free(struct url *url);

#endif
