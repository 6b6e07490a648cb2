/* url.c -- addresses of the web (url.h). A name from a URL becomes a file's name: it has no slash,
 * because it is what follows the last one, escapes stay escaped, and "." and ".." are refused. */
#include "apps/http/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char scheme[] = "https://";

static bool bad(char *error, size_t error_size, const char *text, const char *why)
{
    (void)snprintf(error, error_size, "bad URL \"%s\": %s", text, why);
    return false;
}

/* The last segment of a path of `size` bytes, which begins with a slash. */
static bool take_name(struct url *url, const char *path, size_t size)
{
    size_t begin = size;

    while (path[begin - 1] != '/') {
        begin--;
    }
    if (size - begin >= sizeof url->name) {
        return false;
    }
    memcpy(url->name, path + begin, size - begin);
    url->name[size - begin] = '\0';
    if (url->name[0] == '\0') {
        (void)strcpy(url->name, "index.html");
    }
    return strcmp(url->name, ".") != 0 && strcmp(url->name, "..") != 0;
}

static bool split_host(struct url *url, const char *host, size_t size)
{
    const char *end = host + size;
    const char *port = host[0] == '[' ? memchr(host, ']', size) : memchr(host, ':', size);

    if (host[0] == '[') {
        if (port == NULL || (port + 1 != end && port[1] != ':')) {
            return false;
        }
        port = port + 1 != end ? port + 1 : NULL;
    }
    if (size == 0 || port == host || size > 255 || (port != NULL && port + 1 == end)
        || memchr(host, '@', size) != NULL) {
        return false;
    }
    (void)snprintf(url->target, sizeof url->target, "%.*s%s", (int)size, host,
                   port == NULL ? ":443" : "");
    if (port != NULL && end - port == 4 && memcmp(port, ":443", 4) == 0) {
        size -= 4;
    }
    (void)snprintf(url->authority, sizeof url->authority, "%.*s", (int)size, host);
    return true;
}

bool url_parse(struct url *url, const char *text, char *error, size_t error_size)
{
    const char *host = text + sizeof scheme - 1;
    const char *path, *query;
    size_t size;

    memset(url, 0, sizeof *url);
    if (strncmp(text, scheme, sizeof scheme - 1) != 0) {
        return bad(error, error_size, text, "https://HOST[:PORT]/PATH is expected");
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~') {
            return bad(error, error_size, text,
                       "blanks and bytes beyond ASCII must be written as %XX");
        }
    }
    path = host + strcspn(host, "/?#");
    if (!split_host(url, host, (size_t)(path - host))) {
        return bad(error, error_size, text, "no host, or not HOST:PORT");
    }
    size = strcspn(path, "#");
    query = memchr(path, '?', size);
    if (!take_name(url, path[0] == '/' ? path : "/",
                   path[0] != '/'  ? 1
                   : query != NULL ? (size_t)(query - path)
                                   : size)) {
        return bad(error, error_size, text, "its last segment cannot be a file's name");
    }
    url->path = malloc(size + 2);
    if (url->path == NULL) {
        return bad(error, error_size, text, "no memory");
    }
    (void)snprintf(url->path, size + 2, "%s%.*s", path[0] == '/' ? "" : "/", (int)size, path);
    return true;
}

void url_free(struct url *url)
{
    free(url->path);
    url->path = NULL;
}
