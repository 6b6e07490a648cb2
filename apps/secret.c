/* secret.c -- the file of secrets (secret.h).
 *
 * It is made under another name and linked to its own, so that of servers started together one
 * makes it and all read the same. */
#include "apps/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common.h"

static const char magic[8] = {'a', 'n', 't', 'q', 's', 'e', 'c', '1'};

struct file {
    char magic[sizeof magic];
    struct secrets secrets;
};

static bool make(const char *path)
{
    char beside[4096];
    struct file file;
    int length = snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    bool ok = false;

    memcpy(file.magic, magic, sizeof magic);
    if (length <= 0 || (size_t)length >= sizeof beside
        || getrandom(&file.secrets, sizeof file.secrets, 0) != (ssize_t)sizeof file.secrets) {
        return false;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
        ok = write(fd, &file, sizeof file) == (ssize_t)sizeof file && fsync(fd) == 0;
        ok = close(fd) == 0 && ok;
        ok = ok && (link(beside, path) == 0 || errno == EEXIST);
        int error = errno;
        (void)unlink(beside);
        errno = error;
    }
    explicit_bzero(&file, sizeof file);
    return ok;
}

static bool read_whole(int fd, struct secrets *secrets)
{
    struct file file;
    char more;
    bool ok = read(fd, &file, sizeof file) == (ssize_t)sizeof file && read(fd, &more, 1) == 0
              && memcmp(file.magic, magic, sizeof magic) == 0;

    if (ok) {
        *secrets = file.secrets;
    }
    explicit_bzero(&file, sizeof file);
    return ok;
}

bool secrets_load(struct secrets *secrets, const char *path)
{
    struct stat status;
    bool ok = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        if (!make(path)) {
            complain("--secret-file: cannot make \"%s\": %s", path, strerror(errno));
            return false;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0 || fstat(fd, &status) != 0) {
        complain("--secret-file: cannot read \"%s\": %s", path, strerror(errno));
    } else if ((status.st_mode & 077) != 0) {
        complain("--secret-file: others may read \"%s\": chmod 600 it, if nobody has, or remove it",
                 path);
    } else if (!read_whole(fd, secrets)) {
        complain("--secret-file: \"%s\" is no file of secrets; remove it or name another", path);
    } else {
        ok = true;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}
