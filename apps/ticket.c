/* ticket.c -- the ticket file (ticket.h).
 *
 * It is written beside and renamed, because a half-written one would cost the next run its
 * resumption. It is read before a connection exists, so reading may use stdio; it is written
 * while one runs, so writing must not. */
#include "apps/ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/common.h"

static const char magic[8] = {'a', 'n', 't', 'q', 't', 'k', 't', '3'};

/* Reads one field: its size, then its bytes. */
static bool read_field(FILE *file, uint8_t *out, size_t max, size_t *size)
{
    uint8_t head[4];

    if (fread(head, 1, sizeof head, file) != sizeof head) {
        return false;
    }
    *size = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
    return *size <= max && fread(out, 1, *size, file) == *size;
}

bool ticket_load(struct ticket *ticket, const char *path)
{
    FILE *file = fopen(path, "rb");
    char begin[sizeof magic];
    bool ok;

    if (file == NULL) {
        if (errno == ENOENT) {
            return true;
        }
        complain("--ticket: cannot read \"%s\": %s", path, strerror(errno));
        return false;
    }
    ok = fread(begin, 1, sizeof begin, file) == sizeof begin
         && memcmp(begin, magic, sizeof magic) == 0
         && read_field(file, ticket->ticket, sizeof ticket->ticket, &ticket->ticket_size)
         && read_field(file, ticket->token, sizeof ticket->token, &ticket->token_size);
    (void)fclose(file);
    if (!ok) {
        complain("--ticket: \"%s\" is no ticket file of antq; remove it or name another", path);
    }
    return ok;
}

void ticket_use(const struct ticket *ticket, struct aq_connect *connect)
{
    if (ticket->ticket_size > 0) {
        connect->ticket = ticket->ticket;
        connect->ticket_size = ticket->ticket_size;
    }
    if (ticket->token_size > 0) {
        connect->token = ticket->token;
        connect->token_size = ticket->token_size;
    }
}

bool ticket_spend(struct ticket *ticket)
{
    bool spent = ticket->token_size > 0;

    ticket->token_size = 0;
    ticket->unsaved = ticket->unsaved || spent;
    return spent;
}

static bool write_field(int fd, const uint8_t *data, size_t size)
{
    uint8_t head[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                       (uint8_t)size};

    return write(fd, head, sizeof head) == (ssize_t)sizeof head
           && write(fd, data, size) == (ssize_t)size;
}

bool ticket_save(struct ticket *ticket, const char *path)
{
    char beside[4096];
    int length = snprintf(beside, sizeof beside, "%s.new", path);
    int fd = -1;
    bool ok = false;

    if (length > 0 && (size_t)length < sizeof beside) {
        fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    }
    if (fd >= 0) {
        ok = write(fd, magic, sizeof magic) == (ssize_t)sizeof magic
             && write_field(fd, ticket->ticket, ticket->ticket_size)
             && write_field(fd, ticket->token, ticket->token_size);
        ok = close(fd) == 0 && ok;
    }
    if (!ok || rename(beside, path) != 0) {
        complain("--ticket: cannot write \"%s\": %s", path, strerror(errno));
        return false;
    }
    ticket->unsaved = false;
    return true;
}

void ticket_take(struct ticket *ticket, const struct aq_event *event)
{
    bool is_ticket = event->kind == AQ_EVENT_TICKET;
    uint8_t *out = is_ticket ? ticket->ticket : ticket->token;
    size_t max = is_ticket ? sizeof ticket->ticket : sizeof ticket->token;

    if (event->size > max) {
        return; /* too large to be kept: the next run does without */
    }
    memcpy(out, event->data, event->size);
    *(is_ticket ? &ticket->ticket_size : &ticket->token_size) = event->size;
    ticket->kept = ticket->kept || is_ticket;
    ticket->unsaved = true;
}
