/* key.c -- the key file (key.h).
 *
 * A new key is written beside and then linked to its name, which fails if there is one already: of
 * two programs that start at the same time both end up with the same key, and a half-written file
 * never has the name. */
#include "apps/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common.h"

enum {
    PEM_MAX = 512
};

/* Makes each folder on the way to the file, for nobody else to read. */
static void make_folders(const char *path)
{
    char folder[KEY_PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        (void)snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        (void)mkdir(folder, 0700); /* what cannot be made shows when the file is opened */
    }
}

static bool default_path(char out[KEY_PATH_MAX])
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int length;

    if (config != NULL && config[0] == '/') {
        length = snprintf(out, KEY_PATH_MAX, "%s/antq/key.pem", config);
    } else if (home != NULL && home[0] == '/') {
        length = snprintf(out, KEY_PATH_MAX, "%s/.config/antq/key.pem", home);
    } else {
        complain("--key: neither HOME nor XDG_CONFIG_HOME is set: name the key file with --key");
        return false;
    }
    if (length < 0 || length >= KEY_PATH_MAX - 32) {
        complain("--key: the path of the key file is too long");
        return false;
    }
    make_folders(out);
    return true;
}

static bool write_whole(int fd, const char *text, size_t size)
{
    bool ok = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;

    return close(fd) == 0 && ok;
}

/* Writes a new key under its name, unless somebody was faster. */
static bool make_key(struct key_file *key)
{
    char beside[KEY_PATH_MAX + 32], pem[PEM_MAX], error[256];
    bool ok = false;

    if (!aq_key_make(AQ_KEY_ED25519, pem, sizeof pem, error, sizeof error)) {
        complain("--key: %s", error);
        return false;
    }
    (void)snprintf(beside, sizeof beside, "%s.new.%ld", key->path, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ok = write_whole(fd, pem, strlen(pem));
        key->made = ok && link(beside, key->path) == 0;
        ok = key->made || (ok && errno == EEXIST);
    }
    if (!ok) {
        complain("--key: cannot write \"%s\": %s", key->path, strerror(errno));
    }
    if (fd >= 0) {
        (void)unlink(beside);
    }
    explicit_bzero(pem, sizeof pem);
    return ok;
}

/* Whether only its owner can read it. */
static bool is_private(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        complain("--key: cannot read \"%s\": %s", path, strerror(errno));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        complain("--key: \"%s\" is no file", path);
        return false;
    }
    if ((st.st_mode & 077) != 0) {
        complain("--key: others may read \"%s\" (mode %03o), and who has it is you: chmod 600 it, "
                 "or make a new key if they may have it already",
                 path, (unsigned)st.st_mode & 0777);
        return false;
    }
    return true;
}

/* The PeerId is what TLS would show of the key. */
static bool find_peer_id(struct key_file *key)
{
    static const char *const alpn[] = {"antq"}; /* a TLS object wants one */
    struct aq_tls_config config;
    char error[512];

    aq_tls_config_init(&config);
    config.alpn = alpn;
    config.alpn_count = 1;
    config.key.file = key->path;
    config.verify = AQ_VERIFY_PEER; /* which knows what kinds of key may be */
    struct aq_tls *tls = aq_tls_new(&config, error, sizeof error);
    bool ok = tls != NULL && aq_tls_pin(tls, key->peer_id);
    if (tls == NULL) {
        complain("--key: %s", error);
    }
    aq_tls_free(tls);
    return ok;
}

char *peer_id_problem(const char *word, char *out, size_t size)
{
    enum {
        LETTERS = AQ_PEER_ID_TEXT - 1
    };
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    size_t length = strlen(word), good = strspn(word, alphabet);

    if (good < length && good < LETTERS && length >= LETTERS / 2) {
        (void)snprintf(out, size, "; the %zu. is \"%c\", which is in none", good + 1, word[good]);
    } else if (length != LETTERS) {
        (void)snprintf(out, size, "; these are %zu", length);
    } else { /* its last bits are none of the 256 */
        (void)snprintf(out, size, "; none ends with \"%c\"", word[length - 1]);
    }
    return out;
}

bool key_file_open(struct key_file *key, const char *path)
{
    memset(key, 0, sizeof *key);
    if (path == NULL) {
        if (!default_path(key->path)) {
            return false;
        }
    } else if ((size_t)snprintf(key->path, sizeof key->path, "%s", path) >= sizeof key->path) {
        complain("--key: the path of the key file is too long");
        return false;
    }
    if (access(key->path, F_OK) != 0 && errno == ENOENT && !make_key(key)) {
        return false;
    }
    return is_private(key->path) && find_peer_id(key);
}
