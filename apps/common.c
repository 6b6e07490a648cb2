/* common.c -- messages, texts, JSON, percentiles and small TLS helpers of the subcommands.
 *
 * All output of the program goes through stdio with buffers that main() gives, and nothing here
 * asks for memory, except samples_init before a connection exists. */
#include "apps/common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- messages -------------------------------------------------------------------------------- */

static bool progress_open; /* a progress line without its newline stands on the terminal */

static void print_line(const char *prefix, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void print_line(const char *prefix, const char *format, va_list arguments)
{
    char text[1024];

    (void)vsnprintf(text, sizeof text, format, arguments);
    (void)fflush(stdout);
    progress_end();
    (void)fprintf(stderr, "%s%s\n", prefix, plain_text(text));
}

void complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line("antq: ", format, arguments);
    va_end(arguments);
}

void note(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line("", format, arguments);
    va_end(arguments);
}

bool command_parse(const struct command *command, int argc, char **argv, const char **word,
                   int *code)
{
    char error[512];

    switch (options_parse(command, argc, argv, word, error, sizeof error)) {
    case PARSE_RUN: return true;
    case PARSE_HELP:
        options_help(command, stdout);
        *code = EXIT_DONE;
        return false;
    case PARSE_WRONG: break;
    }
    complain("%s", error);
    *code = EXIT_WRONG_USE;
    return false;
}

bool progress_wanted(bool force)
{
    return force || isatty(STDERR_FILENO) == 1;
}

void progress_line(const char *format, ...)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (terminal) {
        (void)fprintf(stderr, "\r%s\033[K", plain_text(text));
        progress_open = true;
    } else {
        (void)fprintf(stderr, "%s\n", text);
    }
}

void progress_end(void)
{
    if (progress_open) {
        (void)fputc('\n', stderr);
        progress_open = false;
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

char *bytes_text(uint64_t bytes, char *out, size_t size)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)snprintf(out, size, "%u bytes", (unsigned)bytes);
        return out;
    }
    while (value >= 1024 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, size, "%.1f %s", value, units[unit]);
    return out;
}

char *pin_text(const uint8_t hash[32], char out[65])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[64] = '\0';
    return out;
}

double gbit_per_s(uint64_t bytes, uint64_t us)
{
    return us == 0 ? 0 : (double)bytes * 8 / ((double)us * 1000);
}

double per_second(uint64_t count, uint64_t us)
{
    return us == 0 ? 0 : (double)count * 1e6 / (double)us;
}

char *close_text(const struct aq_close_info *info, char *out, size_t size)
{
    static const char *const who[] = {
        [AQ_BY_US] = "closed by us",
        [AQ_BY_PEER] = "closed by the peer",
        [AQ_BY_RESET] = "ended by a stateless reset of the peer",
        [AQ_BY_TIMEOUT] = "ended by a timeout",
        [AQ_BY_VERSION] = "ended for want of a common version",
    };
    char code[96] = "", frame[48] = "", reason[160] = "", where[96] = "";

    if (info->by == AQ_BY_US || info->by == AQ_BY_PEER) {
        if (info->application) {
            (void)snprintf(code, sizeof code, ", application code 0x%llx",
                           (unsigned long long)info->code);
        } else {
            (void)snprintf(code, sizeof code, ", %s (0x%llx)",
                           info->code == 0 ? "NO_ERROR" : aq_error_name((int64_t)info->code),
                           (unsigned long long)info->code);
        }
    }
    if (info->frame_type != 0) {
        (void)snprintf(frame, sizeof frame, ", in frame 0x%llx",
                       (unsigned long long)info->frame_type);
    }
    if (info->reason[0] != '\0') {
        (void)snprintf(reason, sizeof reason, ": %.*s", (int)sizeof info->reason, info->reason);
    }
    if (info->where != NULL) {
        (void)snprintf(where, sizeof where, " (%s)", info->where);
    }
    (void)snprintf(out, size, "%s%s%s%s%s", who[info->by], code, frame, reason, where);
    return out;
}

bool close_is_ordinary(const struct aq_close_info *info)
{
    return (info->by == AQ_BY_US || info->by == AQ_BY_PEER) && info->code == 0;
}

/* Bytes of the character that begins here (RFC 3629); 0: it is no UTF-8. */
static size_t utf8_size(const unsigned char *at)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    uint32_t value = at[0] & (0xffu >> (size + 1));

    if (size == 1) {
        return 1;
    }
    if (at[0] < 0xc0 || at[0] > 0xf7) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) { /* the end of the text, too */
            return 0;
        }
        value = value << 6 | (at[i] & 0x3f);
    }
    bool surrogate = value >= 0xd800 && value < 0xe000;
    return value < least[size] || value > 0x10ffff || surrogate ? 0 : size;
}

void json_text(FILE *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    if (text == NULL) {
        (void)fputs("null", out);
        return;
    }
    (void)fputc('"', out);
    while (*at != '\0') {
        size_t size = utf8_size(at);

        if (*at == '"' || *at == '\\') {
            (void)fprintf(out, "\\%c", *at);
        } else if (*at < 0x20 || *at == 0x7f) {
            (void)fprintf(out, "\\u%04x", *at);
        } else if (size == 0) {
            (void)fputs("\\ufffd", out);
        } else {
            (void)fwrite(at, 1, size, out);
        }
        at += size > 0 ? size : 1;
    }
    (void)fputc('"', out);
}

char *plain_text(char *text)
{
    unsigned char *at = (unsigned char *)text;

    while (*at != '\0') {
        size_t size = utf8_size(at);
        bool steers = *at < 0x20 || *at == 0x7f || (size == 2 && at[0] == 0xc2 && at[1] < 0xa0);

        if (steers || size == 0) {
            size = size > 0 ? size : 1;
            memset(at, '?', size);
        }
        at += size;
    }
    return text;
}

/* ---- samples --------------------------------------------------------------------------------- */

bool samples_init(struct samples *samples, uint64_t max)
{
    samples->count = 0;
    samples->max = (size_t)max;
    samples->us = calloc((size_t)max + 1, sizeof samples->us[0]);
    if (samples->us == NULL) {
        complain("not enough memory to keep %llu measurements", (unsigned long long)max);
        return false;
    }
    return true;
}

void samples_free(struct samples *samples)
{
    free(samples->us);
    samples->us = NULL;
    samples->count = samples->max = 0;
}

void samples_add(struct samples *samples, uint64_t us)
{
    if (samples->count < samples->max) {
        samples->us[samples->count++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    }
}

/* Moves us[at] down until no child is larger: the heap of `count` elements is whole below `at`. */
static void sift_down(uint32_t *us, size_t at, size_t count)
{
    uint32_t value = us[at];

    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && us[child + 1] > us[child]) {
            child++;
        }
        if (us[child] <= value) {
            break;
        }
        us[at] = us[child];
        at = child;
    }
    us[at] = value;
}

void samples_sort(struct samples *samples)
{
    uint32_t *us = samples->us;

    for (size_t at = samples->count / 2; at > 0; at--) {
        sift_down(us, at - 1, samples->count);
    }
    for (size_t end = samples->count; end > 1; end--) {
        uint32_t largest = us[0];

        us[0] = us[end - 1];
        us[end - 1] = largest;
        sift_down(us, 0, end - 1);
    }
}

uint32_t samples_percentile(const struct samples *samples, unsigned percent)
{
    return samples_per_mille(samples, percent * 10);
}

uint32_t samples_per_mille(const struct samples *samples, unsigned per_mille)
{
    size_t rank = (samples->count * per_mille + 999) / 1000;

    if (samples->count == 0) {
        return 0;
    }
    return samples->us[rank == 0 ? 0 : rank - 1];
}

/* ---- TLS and config -------------------------------------------------------------------------- */

bool file_readable(const char *flag, const char *path)
{
    if (path == NULL || access(path, R_OK) == 0) {
        return true;
    }
    complain("%s: cannot read \"%s\": %s", flag, path, strerror(errno));
    return false;
}

bool alpn_parse(struct alpn_list *list, const char *text)
{
    char *at = list->text;

    list->count = 0;
    if (strlen(text) >= sizeof list->text) {
        return false;
    }
    memcpy(list->text, text, strlen(text) + 1);
    for (;;) {
        char *comma = strchr(at, ',');
        size_t size = comma != NULL ? (size_t)(comma - at) : strlen(at);

        /* RFC 7301 §3.1: a protocol name has 1 to 255 bytes. */
        if (size == 0 || size > 255 || list->count == ALPN_MAX) {
            return false;
        }
        list->names[list->count++] = at;
        if (comma == NULL) {
            return true;
        }
        *comma = '\0';
        at = comma + 1;
    }
}

bool version_parse(const char *text, uint32_t *version)
{
    static const uint32_t known[] = {AQ_QUIC_V1, AQ_QUIC_V2, AQ_QUIC_V2_DRAFT};

    for (size_t i = 0; text != NULL && i < sizeof known / sizeof *known; i++) {
        const char *name = aq_version_name(known[i]);

        if (strcmp(text, name) == 0 || strcmp(text, name + 1) == 0) {
            *version = known[i];
            return true;
        }
    }
    return false;
}

/* Appends a version that is not there yet; false: no room. */
static bool version_add(uint32_t versions[AQ_VERSIONS_MAX], uint32_t version)
{
    for (unsigned i = 0; i < AQ_VERSIONS_MAX; i++) {
        if (versions[i] == 0) {
            versions[i] = version;
        }
        if (versions[i] == version) {
            return true;
        }
    }
    return false;
}

bool versions_parse(const char *list, const char *first, uint32_t versions[AQ_VERSIONS_MAX])
{
    struct alpn_list names = {.count = 0};
    uint32_t version = 0, listed[AQ_VERSIONS_MAX] = {0};
    bool ok = list == NULL || alpn_parse(&names, list);

    for (unsigned i = 0; ok && i < names.count; i++) {
        ok = version_parse(names.names[i], &version) && version_add(listed, version);
    }
    if (!ok) {
        complain("--versions expects 1, 2 or v2draft, several separated by commas, not \"%s\"",
                 list);
        return false;
    }
    if (list != NULL) {
        memcpy(versions, listed, sizeof listed);
    }
    if (first == NULL) {
        return true;
    }
    if (!version_parse(first, &version)) {
        complain("--version expects 1, 2 or v2draft, not \"%s\"", first);
        return false;
    }
    if (list == NULL) {
        return version_add(versions, version);
    }
    for (unsigned i = 0; i < AQ_VERSIONS_MAX; i++) {
        if (versions[i] == version) {
            return true;
        }
    }
    complain("--version %s is not in --versions %s", first, list);
    return false;
}

static bool failed_log;

void log_failed(void)
{
    failed_log = true;
}

bool logs_failed(void)
{
    return failed_log;
}

static int keylog_fd = -1;
static bool keylog_told;

bool keylog_open(const char *path)
{
    keylog_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (keylog_fd < 0) {
        complain("cannot write the key log \"%s\": %s", path, strerror(errno));
        return false;
    }
    return true;
}

void keylog_line(void *user, const char *line)
{
    union {
        const char *text;
        void *base;
    } bytes = {.text = line}; /* writev only reads, but its struct knows no const */
    char newline = '\n';
    struct iovec pieces[2] = {{bytes.base, strlen(line)}, {&newline, 1}};

    ssize_t size = (ssize_t)strlen(line) + 1;
    ssize_t done;

    (void)user;
    errno = ENOSPC; /* what a short write means */
    done = writev(keylog_fd, pieces, 2);
    if (done != size) {
        log_failed();
        if (!keylog_told) {
            complain("cannot write to the key log: %s", strerror(errno));
        }
        keylog_told = true;
    }
}

const char *config_problem(const struct aq_config *config)
{
    struct aq_config copy = *config;

    copy.seed[0] = 1;
    return aq_config_check(&copy);
}

const char *ecn_name(enum aq_ecn_state state)
{
    static const char *const names[] = {"off", "testing", "unknown", "capable", "failed"};
    return names[state];
}

void samples_print(const struct samples *samples, const char *name, unsigned per_mille, bool last)
{
    if (samples->count > 0) {
        (void)printf("\"%s\":%u%s", name, samples_per_mille(samples, per_mille), last ? "}" : ",");
    } else {
        (void)printf("\"%s\":null%s", name, last ? "}" : ",");
    }
}
