/* http_files.c -- tests apps/http/files.h and answer.h: which bytes a request gets, and that none
 * of them lie outside the folder. */
#include "apps/http/answer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64];
static int root;

static void put(const char *name, const char *text)
{
    int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/*     base/secret, base/www-private/x    not served
 *     base/www/...                       served */
static void make_folder(void)
{
    char path[128], error[256];
    int above;

    strcpy(base, "/tmp/antq-files.XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    above = open(base, O_PATH | O_DIRECTORY);
    cr_assert_eq(mkdirat(above, "www", 0755), 0);
    cr_assert_eq(mkdirat(above, "www-private", 0755), 0);
    root = above;
    put("secret", "secret");
    put("www-private/x", "secret");
    snprintf(path, sizeof path, "%s/www", base);
    root = files_open_root(path, error, sizeof error);
    cr_assert_geq(root, 0, "%s", error);
    close(above);
    put("a.txt", "0123456789");
    put("empty", "");
    put("a b%.html", "odd");
    cr_assert_eq(mkdirat(root, "sub", 0755), 0);
    put("sub/index.html", "<p>index");
    put("sub/x", "x");
    cr_assert_eq(mkdirat(root, "list", 0755), 0);
    put("list/<b>&\"", "odd");
    put("list/plain", "p");
    cr_assert_eq(mkdirat(root, "list/inner", 0755), 0);
    cr_assert_eq(mkfifoat(root, "fifo", 0644), 0);
    cr_assert_eq(symlinkat("../secret", root, "out"), 0);
    cr_assert_eq(symlinkat("/etc/passwd", root, "passwd"), 0);
    cr_assert_eq(symlinkat("..", root, "up"), 0);
    cr_assert_eq(symlinkat("/proc/self/root/etc", root, "proc"), 0);
    cr_assert_eq(symlinkat("a.txt", root, "in"), 0);
    cr_assert_eq(symlinkat("../a.txt", root, "sub/in"), 0);
    cr_assert_eq(symlinkat("loop", root, "loop"), 0);
}

static void remove_folder(void)
{
    char command[128];

    close(root);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    cr_assert_eq(system(command), 0);
}

TestSuite(files, .init = make_folder, .fini = remove_folder);
TestSuite(answer, .init = make_folder, .fini = remove_folder);

static struct answer answer;
static struct request request;

static const char *field(const char *name)
{
    for (unsigned i = 0; i < answer.count; i++) {
        if (strcmp(answer.fields[i].name, name) == 0) {
            return answer.fields[i].value;
        }
    }
    return "";
}

/* The body of an answer; its status is in `answer`. Static. */
static const char *ask(const char *method, const char *target)
{
    static char body[8192];
    size_t size;

    if (answer.fd > 0) {
        close(answer.fd);
    }
    free(answer.text);
    memset(body, 0, sizeof body);
    request_field(&request, ":method", method);
    request_field(&request, ":path", target);
    answer_make(&answer, root, &request, 784111777);
    memset(&request, 0, sizeof request);
    size = (size_t)(answer.end - answer.begin);
    cr_assert_lt(size, sizeof body);
    if (answer.fd >= 0) {
        cr_assert_eq(pread(answer.fd, body, size, (off_t)answer.begin), (ssize_t)size);
    } else if (answer.text != NULL) {
        memcpy(body, answer.text + answer.begin, size);
    }
    if (answer.has_body) {
        cr_assert_eq(strtoull(field("content-length"), NULL, 10), size);
    }
    return body;
}

static void expect(const char *target, int status, const char *body)
{
    const char *got = ask("GET", target);

    cr_assert_eq(answer.status, status, "%s: %d, not %d", target, answer.status, status);
    if (body != NULL) {
        cr_assert_str_eq(got, body, "%s: %s", target, got);
    }
    cr_assert_null(strstr(got, "secret"), "%s shows what is outside", target);
    cr_assert_null(strstr(got, "root:"), "%s shows what is outside", target);
}

/* ---- nothing outside ------------------------------------------------------------------------- */

Test(files, nothing_outside_is_served)
{
    static const char *const targets[] = {
        "/../secret",
        "/../www-private/x",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/%2E%2E%2fsecret",
        "/..%2fsecret",
        "/sub/%2e%2e/%2e%2e/secret",
        "/out",
        "/passwd",
        "/up/secret",
        "/up/www-private/x",
        "/up/",
        "/proc/passwd",
        "/loop",
        "/../www/../secret",
        "/./../secret",
        "/sub/../../www/a.txt",
        "/..",
        "/../",
        "/a.txt/../../secret",
    };

    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        expect(targets[i], 404, NULL);
    }
}

Test(files, slashes_in_front_do_not_make_it_absolute)
{
    char target[128];

    expect("//etc/passwd", 404, NULL);
    expect("////etc/passwd", 404, NULL);
    expect("/%2fetc/passwd", 404, NULL);
    expect("//a.txt", 200, "0123456789");
    snprintf(target, sizeof target, "/%s/secret", base);
    expect(target, 404, NULL);
}

Test(files, dots_and_links_inside_are_fine)
{
    expect("/sub/../a.txt", 200, "0123456789");
    expect("/./a.txt", 200, "0123456789");
    expect("/in", 200, "0123456789");
    expect("/sub/in", 200, "0123456789");
}

Test(files, a_nul_or_a_bad_escape_is_refused)
{
    static const char *const targets[] = {"/a.txt%00", "/a.txt%00.html", "/%00",  "/%", "/%2",
                                          "/%zz",      "/a%2",           "a.txt", "*",  ""};

    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        expect(targets[i], 400, NULL);
    }
    expect("/a.tx%74", 200, "0123456789"); /* and one step beside */
}

Test(files, what_is_neither_file_nor_folder_is_not_there)
{
    expect("/fifo", 404, NULL); /* and nobody waits for its writer */
    expect("/none", 404, NULL);
    expect("/a.txt/", 404, NULL);
    expect("/a.txt/x", 404, NULL);
}

Test(files, a_folder_swapped_for_a_link_meanwhile_leads_nowhere)
{
    int fd = files_open(root, "sub");

    cr_assert_geq(fd, 0);
    close(fd);
    cr_assert_eq(renameat(root, "sub", root, "sub.old"), 0);
    cr_assert_eq(symlinkat("../www-private", root, "sub"), 0);
    cr_assert_lt(files_open(root, "sub/x"), 0);
    cr_assert_eq(errno, EXDEV);
}

Test(files, a_root_must_be_a_folder)
{
    char error[256];

    cr_assert_lt(files_open_root("/none/at/all", error, sizeof error), 0);
    cr_assert_not_null(strstr(error, "No such file"));
    cr_assert_lt(files_open_root("/etc/passwd", error, sizeof error), 0);
    cr_assert_not_null(strstr(error, "Not a directory"));
}

Test(files, paths_have_a_largest_size)
{
    char target[FILES_PATH_MAX + 8], path[8];

    cr_assert_eq(files_decode("/1234567", path, sizeof path), 0);
    cr_assert_str_eq(path, "1234567");
    cr_assert_eq(files_decode("/12345678", path, sizeof path), 414);
    memset(target, 'x', sizeof target);
    target[0] = '/';
    target[sizeof target - 1] = '\0';
    expect(target, 414, NULL);
    target[300] = '\0'; /* a name longer than any file's */
    expect(target, 414, NULL);
    target[200] = '\0';
    expect(target, 404, NULL);
}

/* ---- what is served -------------------------------------------------------------------------- */

Test(answer, a_file_comes_with_its_type_and_validators)
{
    expect("/a.txt?query", 200, "0123456789");
    cr_assert_str_eq(answer.fields[0].name, ":status");
    cr_assert_str_eq(answer.fields[0].value, "200");
    cr_assert_str_eq(field("content-type"), "text/plain; charset=utf-8");
    cr_assert_str_eq(field("accept-ranges"), "bytes");
    cr_assert_str_eq(field("date"), "Sun, 06 Nov 1994 08:49:37 GMT");
    cr_assert_eq(field("etag")[0], '"');
    cr_assert_str_not_empty(field("last-modified"));
    expect("/a%20b%25.html", 200, "odd");
    cr_assert_str_eq(field("content-type"), "text/html; charset=utf-8");
    expect("/empty", 200, "");
    cr_assert_str_eq(field("content-length"), "0");
}

Test(answer, types_go_by_the_last_suffix)
{
    cr_assert_str_eq(files_type("a.tar.gz"), "application/gzip");
    cr_assert_str_eq(files_type("A.PNG"), "image/png");
    cr_assert_str_eq(files_type("x.js/file"), "application/octet-stream");
    cr_assert_str_eq(files_type("Makefile"), "application/octet-stream");
    cr_assert_str_eq(files_type("a."), "application/octet-stream");
}

Test(answer, head_has_the_fields_only)
{
    (void)ask("HEAD", "/a.txt");
    cr_assert_eq(answer.status, 200);
    cr_assert_str_eq(field("content-length"), "10");
    cr_assert_not(answer.has_body);
    (void)ask("HEAD", "/none");
    cr_assert_eq(answer.status, 404);
    cr_assert_not(answer.has_body);
    request_field(&request, "range", "bytes=0-1"); /* RFC 9110 §14.2: GET only */
    (void)ask("HEAD", "/a.txt");
    cr_assert_eq(answer.status, 200);
}

Test(answer, other_methods_are_not_allowed)
{
    static const char *const methods[] = {
        "POST", "PUT", "DELETE", "CONNECT", "get", "", "A-METHOD-LONGER-THAN-ANY"};

    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        (void)ask(methods[i], "/a.txt");
        cr_assert_eq(answer.status, 405, "%s", methods[i]);
        cr_assert_str_eq(field("allow"), "GET, HEAD");
    }
}

/* RFC 8470 §5.2: in 0-RTT only what is safe is acted on. */
Test(answer, too_early_unless_it_is_safe)
{
    static const struct {
        const char *method;
        int status;
    } rows[] = {{"GET", 200}, {"HEAD", 200}, {"POST", 425}, {"DELETE", 425}, {"get", 425}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request.early = true;
        (void)ask(rows[i].method, "/a.txt");
        cr_assert_eq(answer.status, rows[i].status, "%s", rows[i].method);
        cr_assert_str_eq(field("allow"), "", "%s", rows[i].method);
    }
}

Test(answer, a_folder_has_an_index_or_a_listing)
{
    const char *page;

    expect("/sub/", 200, "<p>index");
    cr_assert_str_eq(field("content-type"), "text/html; charset=utf-8");
    expect("/sub", 301, NULL);
    cr_assert_str_eq(field("location"), "/sub/");
    expect("//sub", 301, NULL);
    cr_assert_str_eq(field("location"), "/sub/"); /* not "//sub/", which is a host */
    page = ask("GET", "/list/");
    cr_assert_eq(answer.status, 200);
    cr_assert_not_null(strstr(page, "<title>/list/</title>"));
    cr_assert_not_null(strstr(page, "<a href=\"./%3Cb%3E%26%22\">&lt;b&gt;&amp;&quot;</a>"));
    cr_assert_not_null(strstr(page, "<a href=\"./inner/\">inner/</a>"));
    cr_assert_null(strstr(page, ".."));
    page = ask("GET", "/");
    cr_assert_not_null(strstr(page, "./a.txt"));
    cr_assert_null(strstr(page, "secret"));
}

Test(answer, an_index_that_leads_out_is_none)
{
    cr_assert_eq(symlinkat("../../secret", root, "list/index.html"), 0);
    cr_assert_null(strstr(ask("GET", "/list/"), "secret"));
    cr_assert_eq(answer.status, 200);
    expect("/list/index.html", 404, NULL);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

Test(answer, ranges)
{
    static const struct {
        const char *range;
        int status;
        const char *body, *content_range;
    } rows[] = {
        {"bytes=0-0", 206, "0", "bytes 0-0/10"},
        {"bytes=0-9", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=2-4", 206, "234", "bytes 2-4/10"},
        {"bytes=9-9", 206, "9", "bytes 9-9/10"},
        {"bytes=9-", 206, "9", "bytes 9-9/10"},
        {"bytes=5-100", 206, "56789", "bytes 5-9/10"},
        {"bytes=-3", 206, "789", "bytes 7-9/10"},
        {"bytes=-10", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=-11", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=0-18446744073709551615", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=10-", 416, NULL, "bytes */10"},
        {"bytes=10-10", 416, NULL, "bytes */10"},
        {"bytes=18446744073709551615-", 416, NULL, "bytes */10"},
        {"bytes=-0", 416, NULL, "bytes */10"},
        /* Not understood, or more than one: the whole (RFC 9110 §14.2). */
        {"bytes=4-2", 200, "0123456789", ""},
        {"bytes=0-1,4-5", 200, "0123456789", ""},
        {"bytes=", 200, "0123456789", ""},
        {"bytes=-", 200, "0123456789", ""},
        {"bytes=a-b", 200, "0123456789", ""},
        {"bytes=1", 200, "0123456789", ""},
        {"bytes=0-18446744073709551616", 200, "0123456789", ""},
        {"lines=0-1", 200, "0123456789", ""},
        {"bytes= 1-2", 200, "0123456789", ""},
        {"bytes=000000000000000000000000000000000000000000000000000000000000001-2", 200,
         "0123456789", ""},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        request_field(&request, "range", rows[i].range);
        expect("/a.txt", rows[i].status, rows[i].body);
        cr_assert_str_eq(field("content-range"), rows[i].content_range, "%s", rows[i].range);
    }
    request_field(&request, "range", "bytes=0-");
    expect("/empty", 416, NULL);
    cr_assert_str_eq(field("content-range"), "bytes */0");
}

Test(answer, a_range_of_another_version_is_the_whole)
{
    char etag[64];

    expect("/a.txt", 200, NULL);
    strcpy(etag, field("etag"));
    request_field(&request, "range", "bytes=0-1");
    request_field(&request, "if-range", etag);
    expect("/a.txt", 206, "01");
    request_field(&request, "range", "bytes=0-1");
    request_field(&request, "if-range", "\"other\"");
    expect("/a.txt", 200, "0123456789");
    /* RFC 9110 §13.1.5: a date is compared as exactly; ours are to the second, so never trusted. */
    request_field(&request, "range", "bytes=0-1");
    request_field(&request, "if-range", field("last-modified"));
    expect("/a.txt", 200, "0123456789");
}

Test(answer, what_the_client_has_is_not_sent_again)
{
    char etag[64], modified[64];
    struct timespec times[2] = {{0, UTIME_OMIT}, {784111777, 5}};

    cr_assert_eq(utimensat(root, "a.txt", times, 0), 0);
    expect("/a.txt", 200, NULL);
    strcpy(etag, field("etag"));
    strcpy(modified, field("last-modified"));
    cr_assert_str_eq(modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    request_field(&request, "if-none-match", etag);
    (void)ask("GET", "/a.txt");
    cr_assert_eq(answer.status, 304);
    cr_assert_not(answer.has_body);
    cr_assert_str_eq(field("etag"), etag);
    request_field(&request, "if-none-match", "\"other\"");
    request_field(&request, "if-modified-since", modified); /* counts only without the other */
    expect("/a.txt", 200, NULL);
    request_field(&request, "if-modified-since", modified);
    (void)ask("GET", "/a.txt");
    cr_assert_eq(answer.status, 304);
    request_field(&request, "if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT");
    expect("/a.txt", 200, NULL);
    request_field(&request, "if-modified-since", "yesterday");
    expect("/a.txt", 200, NULL);
    times[1].tv_nsec = 6; /* another version within the second has another tag */
    cr_assert_eq(utimensat(root, "a.txt", times, 0), 0);
    request_field(&request, "if-none-match", etag);
    expect("/a.txt", 200, NULL);
}

Test(answer, dates_there_and_back)
{
    char text[64];
    int64_t s;

    date_text(0, text, sizeof text);
    cr_assert_str_eq(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    cr_assert(date_parse(text, &s));
    cr_assert_eq(s, 0);
    cr_assert_not(date_parse("Thu, 01 Jan 1970 00:00:00 GMTx", &s));
    cr_assert_not(date_parse("", &s));
}
