/* http_url.c -- tests apps/http/url.h and sink.h: what a URL asks for, and where it may be written.
 */
#include "apps/http/sink.h"
#include "apps/http/url.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char error[1024];

Test(url, parts)
{
    static const struct {
        const char *text, *target, *authority, *path, *name;
    } rows[] = {
        {"https://h", "h:443", "h", "/", "index.html"},
        {"https://h/", "h:443", "h", "/", "index.html"},
        {"https://h:443/a", "h:443", "h", "/a", "a"},
        {"https://h:4433/a/b.c?d/e#f", "h:4433", "h:4433", "/a/b.c?d/e", "b.c"},
        {"https://h?q", "h:443", "h", "/?q", "index.html"},
        {"https://h#f", "h:443", "h", "/", "index.html"},
        {"https://[::1]/x/", "[::1]:443", "[::1]", "/x/", "index.html"},
        {"https://[::1]:1/x", "[::1]:1", "[::1]:1", "/x", "x"},
        {"https://127.0.0.1:1/%2e%2e%2fx", "127.0.0.1:1", "127.0.0.1:1", "/%2e%2e%2fx",
         "%2e%2e%2fx"},
        {"https://h/../../x", "h:443", "h", "/../../x", "x"},
        {"https://h/.x", "h:443", "h", "/.x", ".x"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct url url;

        cr_assert(url_parse(&url, rows[i].text, error, sizeof error), "%s", error);
        cr_assert_str_eq(url.target, rows[i].target);
        cr_assert_str_eq(url.authority, rows[i].authority);
        cr_assert_str_eq(url.path, rows[i].path);
        cr_assert_str_eq(url.name, rows[i].name);
        url_free(&url);
    }
}

Test(url, refused)
{
    static const char *const texts[] = {
        "",
        "h",
        "http://h/",
        "https:/h",
        "https://",
        "https:///x",
        "https://:1/",
        "https://h:/",
        "https://[::1/",
        "https://[::1]x/",
        "https://u@h/",
        "https://h/a b",
        "https://h/\n",
        "https://h/\xc3\xa4",
        "https://h/..",
        "https://h/a/..?x",
        "https://h/.",
    };
    struct url url;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_not(url_parse(&url, texts[i], error, sizeof error), "%s", texts[i]);
        cr_assert_str_not_empty(error);
    }
}

Test(url, names_and_hosts_have_a_largest_size)
{
    char text[600];
    struct url url;

    (void)snprintf(text, sizeof text, "https://h/%0255d", 1);
    cr_assert(url_parse(&url, text, error, sizeof error));
    url_free(&url);
    (void)snprintf(text, sizeof text, "https://h/%0256d", 1);
    cr_assert_not(url_parse(&url, text, error, sizeof error));
    (void)snprintf(text, sizeof text, "https://%0255d/", 1);
    cr_assert(url_parse(&url, text, error, sizeof error));
    url_free(&url);
    (void)snprintf(text, sizeof text, "https://%0256d/", 1);
    cr_assert_not(url_parse(&url, text, error, sizeof error));
}

/* ---- sinks ----------------------------------------------------------------------------------- */

static char base[64];
static int folder;
static struct sink sink;

static void make_folder(void)
{
    strcpy(base, "/tmp/antq-sink.XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    folder = open(base, O_PATH | O_DIRECTORY);
}

static void remove_folder(void)
{
    char command[128];

    close(folder);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    cr_assert_eq(system(command), 0);
}

TestSuite(sink, .init = make_folder, .fini = remove_folder);

/* The file's text, "" when there is none. Static. */
static const char *text_of(const char *name)
{
    static char text[64];
    int fd = openat(folder, name, O_RDONLY);

    memset(text, 0, sizeof text);
    if (fd >= 0) {
        cr_assert_geq(read(fd, text, sizeof text - 1), 0);
        close(fd);
    }
    return text;
}

static bool save(const char *name, const char *text, bool force)
{
    return sink_plan(&sink, folder, name, force) && sink_open(&sink)
           && sink_write(&sink, (const uint8_t *)text, strlen(text)) && sink_commit(&sink);
}

static unsigned count_files(void)
{
    char command[128];
    unsigned count = 0;
    FILE *out;

    snprintf(command, sizeof command, "ls -A '%s' | wc -l", base);
    out = popen(command, "r");
    cr_assert_eq(fscanf(out, "%u", &count), 1);
    pclose(out);
    return count;
}

Test(sink, a_file_appears_when_it_is_complete)
{
    cr_assert(sink_plan(&sink, folder, "a", false));
    cr_assert(sink_open(&sink));
    cr_assert(sink_write(&sink, (const uint8_t *)"one", 3));
    cr_assert_neq(faccessat(folder, "a", F_OK, 0), 0);
    cr_assert(sink_commit(&sink));
    cr_assert_str_eq(text_of("a"), "one");
    sink_abort(&sink);
    cr_assert_str_eq(text_of("a"), "one");
    cr_assert_eq(count_files(), 1);
}

Test(sink, nothing_is_replaced_without_force)
{
    cr_assert(save("a", "one", false));
    cr_assert_not(save("a", "two", false));
    cr_assert_not_null(strstr(sink.problem, "--force"));
    cr_assert(save("a", "two", true));
    cr_assert_str_eq(text_of("a"), "two");
    /* Somebody else made it meanwhile. */
    cr_assert(sink_plan(&sink, folder, "b", false));
    cr_assert(sink_open(&sink));
    cr_assert_eq(symlinkat("a", folder, "b"), 0);
    cr_assert_not(sink_commit(&sink));
    sink_abort(&sink);
    cr_assert_str_eq(text_of("a"), "two");
    cr_assert_eq(count_files(), 2);
}

Test(sink, what_is_given_up_leaves_nothing)
{
    cr_assert(save("a", "one", false));
    cr_assert(sink_plan(&sink, folder, "a", true));
    cr_assert(sink_open(&sink));
    cr_assert(sink_write(&sink, (const uint8_t *)"tw", 2));
    sink_abort(&sink);
    cr_assert_str_eq(text_of("a"), "one");
    cr_assert_eq(count_files(), 1);
}

Test(sink, links_are_replaced_not_followed)
{
    cr_assert(save("target", "one", false));
    cr_assert_eq(symlinkat("target", folder, "link"), 0);
    cr_assert_not(save("link", "two", false));
    cr_assert(save("link", "two", true));
    cr_assert_str_eq(text_of("target"), "one");
    cr_assert_str_eq(text_of("link"), "two");
}

Test(sink, folders_are_no_files_and_devices_are_written)
{
    int dev = open("/dev", O_PATH | O_DIRECTORY);

    cr_assert_eq(mkdirat(folder, "d", 0755), 0);
    cr_assert_not(save("d", "x", true));
    cr_assert(sink_plan(&sink, dev, "null", false));
    cr_assert(sink_open(&sink));
    cr_assert(sink_write(&sink, (const uint8_t *)"x", 1));
    cr_assert(sink_commit(&sink));
    cr_assert_not(sink_plan(&sink, folder, "none/x", false) && sink_open(&sink)
                  && sink_commit(&sink));
    close(dev);
}
