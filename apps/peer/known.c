/* known.c -- see known.h. A line is appended whole, so two programs do not mix theirs. */
#include "apps/peer/known.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/common.h"
#include "apps/key.h"

enum {
    LINE_MAX_BYTES = 512
};

static void known_path(const char *key_path, char out[KEY_PATH_MAX + 16])
{
    const char *slash = strrchr(key_path, '/');
    int folder = slash != NULL ? (int)(slash - key_path + 1) : 0;

    (void)snprintf(out, KEY_PATH_MAX + 16, "%.*sbootstraps", folder, key_path);
}

/* The PeerId of a name; empty: it is not known. */
static void known_find(const char *key_path, const char *name, char id[AQ_PEER_ID_TEXT])
{
    char path[KEY_PATH_MAX + 16], line[LINE_MAX_BYTES];
    size_t size = strlen(name);

    id[0] = '\0';
    known_path(key_path, path);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        uint8_t bytes[32];

        if (strncmp(line, name, size) != 0 || line[size] != ' ') {
            continue;
        }
        line[strcspn(line, "\n")] = '\0';
        if (aq_peer_id_parse(line + size + 1, bytes)) {
            (void)aq_peer_id_text(bytes, id);
        }
    }
    (void)fclose(file);
}

bool known_name(const char *key_path, const char *name, char *out, size_t size)
{
    char id[AQ_PEER_ID_TEXT] = "";

    if (strchr(name, '@') == NULL) {
        known_find(key_path, name, id);
    }
    int length = snprintf(out, size, "%s%s%s", id, id[0] != '\0' ? "@" : "", name);
    if (length < 0 || (size_t)length >= size) {
        complain("--bootstrap: \"%s\" is too long", name);
        return false;
    }
    return true;
}

void known_add(const char *key_path, const char *name, const uint8_t peer_id[32])
{
    char path[KEY_PATH_MAX + 16], id[AQ_PEER_ID_TEXT], line[LINE_MAX_BYTES];

    known_path(key_path, path);
    (void)aq_peer_id_text(peer_id, id);
    int size = snprintf(line, sizeof line, "%s %s\n", name, id);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    bool kept = fd >= 0 && size > 0 && write(fd, line, (size_t)size) == size;
    if (fd >= 0) {
        (void)close(fd);
    }
    note("warning: %s is believed on first use: it is %s (name it %s@%s to be sure); %s %s", name,
         id, id, name, kept ? "remembered in" : "could not be remembered in", path);
}
