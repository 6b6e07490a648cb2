/* replay.c -- runs a fuzz target over files instead of chance, where there is no libFuzzer.
 *
 * `target -runs=0 DIR...` as libFuzzer itself would: every file of each folder is one input. So
 * `ninja check` keeps the corpus working with every compiler and sanitizer; with ./configure
 * --enable-fuzz, libFuzzer's own main takes this one's place. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifndef LIBFUZZER

#    include <dirent.h>
#    include <stdbool.h>
#    include <stdio.h>
#    include <stdlib.h>
#    include <string.h>
#    include <sys/stat.h>

/* Runs one file; false when it cannot be read. The input is copied to its exact size, so that a
 * sanitizer sees a read beyond it. */
static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st) != 0)
        return false;
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    bool ok = data && fread(data, 1, size, file) == size;
    fclose(file);
    if (ok)
        (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return ok;
}

static unsigned replay_folder(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        char name[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (!replay_file(name)) {
            fprintf(stderr, "cannot read %s\n", name);
            exit(1);
        }
        count++;
    }
    if (dir)
        closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            count += replay_folder(argv[i]);
    printf("%u inputs replayed\n", count);
    return count == 0;
}

#endif
