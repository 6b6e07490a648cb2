/* resolve.c -- from the text of an address to struct aq_addr.
 *
 * The host and the port are cut apart here, because getaddrinfo knows neither brackets nor
 * "host:port"; the host itself, numeric or a name, is getaddrinfo's, in the order of RFC 6724. It
 * blocks while it asks a name server, so it belongs before a loop runs, not in its callbacks.
 *
 * Called by applications. */
#include "reactor/antq_reactor.h"
#include "reactor/udp.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>

enum {
    RESOLVE_HOST_MAX = 256
};

struct resolve_parts {
    char host[RESOLVE_HOST_MAX];
    const char *port; /* NULL: the default */
};

/* Cuts text into host and port; NULL, or what is wrong with it. */
static const char *resolve_split(const char *text, struct resolve_parts *parts)
{
    const char *start = text, *end;
    const char *colon = strrchr(text, ':');
    parts->port = NULL;
    if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (end == NULL)
            return "the bracket is not closed";
        if (end[1] != '\0' && end[1] != ':')
            return "after the bracket only :PORT may follow";
        if (end == start)
            return "the brackets are empty";
        if (end[1] == ':')
            parts->port = end + 2;
    } else if (colon == NULL || strchr(text, ':') != colon) {
        end =
            text
            + strlen(text); /* a name, or an IPv6 address without brackets and so without a port */
    } else {
        end = colon;
        parts->port = colon + 1;
    }
    size_t size = (size_t)(end - start);
    if (size >= sizeof parts->host)
        return "the host name is too long";
    memcpy(parts->host, start, size);
    parts->host[size] = '\0';
    return NULL;
}

static bool resolve_port(const char *text, uint16_t *port)
{
    uint32_t value = 0;
    size_t digits = strlen(text);
    if (digits == 0 || digits > 5)
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint32_t)(*text - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

static int resolve_host(const char *host, unsigned family, struct aq_addr *addr)
{
    struct addrinfo hints, *list = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC;
    hints.ai_socktype = SOCK_DGRAM;
    int failed = getaddrinfo(host, NULL, &hints, &list);
    if (failed != 0)
        return failed;
    failed = EAI_FAMILY;
    for (const struct addrinfo *i = list; i != NULL && failed != 0; i = i->ai_next) {
        union udp_name name;
        if (i->ai_addrlen > sizeof name)
            continue;
        memset(&name, 0, sizeof name);
        memcpy(&name, i->ai_addr, i->ai_addrlen);
        if (udp_from_sockaddr(&name, addr))
            failed = 0;
    }
    freeaddrinfo(list);
    return failed;
}

static void resolve_say(char *error, size_t error_size, const char *text, const char *why)
{
    if (error != NULL && error_size > 0)
        snprintf(error, error_size, "bad address '%.80s': %s", text, why);
}

int aq_resolve(const char *text, uint16_t default_port, unsigned family, struct aq_addr *addr,
               char *error, size_t error_size)
{
    struct resolve_parts parts;
    uint16_t port = default_port;
    const char *why;
    memset(addr, 0, sizeof *addr);
    if (text == NULL || *text == '\0') {
        resolve_say(error, error_size, "", "it is empty; write HOST:PORT");
        return AQ_MISUSE;
    }
    if (family != 0 && family != 4 && family != 6) {
        resolve_say(error, error_size, text, "the family must be 0, 4 or 6");
        return AQ_MISUSE;
    }
    why = resolve_split(text, &parts);
    if (why == NULL && parts.port != NULL && !resolve_port(parts.port, &port))
        why = "the port must be a number from 0 to 65535";
    if (why != NULL) {
        resolve_say(error, error_size, text, why);
        return AQ_MISUSE;
    }
    if (parts.host[0] == '\0') { /* ":5": any address, all zero */
        addr->family = family == 6 ? 6 : 4;
    } else {
        int failed = resolve_host(parts.host, family, addr);
        if (failed != 0) {
            memset(addr, 0, sizeof *addr);
            resolve_say(error, error_size, text, gai_strerror(failed));
            return AQ_MISUSE;
        }
    }
    addr->port = port;
    return AQ_OK;
}
