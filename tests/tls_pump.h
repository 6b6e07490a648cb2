/* tls_pump.h -- test helper: a client's and a server's struct tls in memory, a pump between them,
 * and certificates for them. */
#ifndef TESTS_TLS_PUMP_H
#define TESTS_TLS_PUMP_H

#include "crypto/tls.h"
#include "tests/certs.h"

#include <criterion/criterion.h>
#include <openssl/ssl.h>
#include <string.h>

enum {
    NOW_S = 1750000000,
    BYTES_MAX = 16384
};

struct side {
    struct tls tls;
    uint8_t out[LEVELS][BYTES_MAX]; /* handshake bytes for the other side */
    size_t out_size[LEVELS], sent[LEVELS];
    struct secret secrets[LEVELS][2];
    uint8_t ticket[BYTES_MAX];
    size_t ticket_size;
    unsigned tickets;
    int result;        /* of the last call that was not 0 */
    int refuse_secret; /* what on_secret answers above Initial */
    struct aq_tls *shared;
};

static inline int sink_secret(void *arg, enum level level, bool write, const struct secret *secret)
{
    struct side *side = arg;
    cr_assert_eq(side->secrets[level][write].size, 0, "a secret comes once");
    side->secrets[level][write] = *secret;
    return side->refuse_secret;
}

static inline int sink_data(void *arg, enum level level, const uint8_t *data, size_t size)
{
    struct side *side = arg;
    cr_assert_leq(side->out_size[level] + size, BYTES_MAX);
    memcpy(side->out[level] + side->out_size[level], data, size);
    side->out_size[level] += size;
    return 0;
}

static inline void sink_ticket(void *arg, const uint8_t *ticket, size_t size)
{
    struct side *side = arg;
    cr_assert_leq(size, BYTES_MAX);
    memcpy(side->ticket, ticket, size);
    side->ticket_size = size;
    side->tickets++;
}

static inline void *sink_user(void *arg)
{
    return arg; /* the "application's user pointer" is the side itself */
}

static const struct tls_sink sink = {sink_secret, sink_data, sink_ticket, sink_user, NULL, NULL};

static const uint8_t params[2][4] = {{'c', 'l', 'i', '1'}, {'s', 'e', 'r', '1'}};

static inline int begin(struct side *side, struct aq_tls *shared, const char *server_name,
                        const struct side *before)
{
    bool server = tls_is_server_config(shared);
    struct tls_start start = {.shared = shared, .server = server, .server_name = server_name};
    start.params = params[server];
    start.params_size = sizeof(params[server]);
    if (before != NULL) {
        start.ticket = before->ticket;
        start.ticket_size = before->ticket_size;
    }
    memset(side, 0, sizeof(*side));
    side->shared = shared;
    side->result = tls_start(&side->tls, &start, &sink, side);
    return side->result;
}

/* Gives what `from` has for `to`, in pieces of a size that divides nothing. True: there was
 * something. */
static inline bool carry(struct side *from, struct side *to)
{
    bool moved = false;
    for (unsigned level = 0; level < LEVELS; level++) {
        while (from->sent[level] < from->out_size[level]
               && (to->result == 0 || to->result == TLS_LATER)) {
            size_t rest = from->out_size[level] - from->sent[level],
                   piece = rest < 333 ? rest : 333;
            to->result =
                tls_input(&to->tls, (enum level)level, from->out[level] + from->sent[level], piece);
            from->sent[level] += piece;
            moved = true;
        }
    }
    return moved;
}

static inline void pump(struct side *client, struct side *server)
{
    bool moved = true;
    while (moved) {
        moved = carry(client, server);
        moved = carry(server, client) || moved;
    }
}

static inline void end(struct side *a, struct side *b)
{
    tls_free(&a->tls);
    tls_free(&b->tls);
}

static const char *const protocols[] = {"perf", "h3"};

static inline struct aq_tls_config config_for(bool server)
{
    struct aq_tls_config config;
    aq_tls_config_init(&config);
    config.server = server;
    config.alpn = protocols;
    config.alpn_count = 2;
    config.unix_s = NOW_S;
    config.verify = AQ_VERIFY_NONE;
    return config;
}

static inline struct aq_tls *make(const struct aq_tls_config *config)
{
    char error[512] = "";
    struct aq_tls *tls = aq_tls_new(config, error, sizeof(error));
    cr_assert_not_null(tls, "%s", error);
    cr_assert_str_empty(error);
    return tls;
}

static inline void expect_no(const struct aq_tls_config *config, const char *part)
{
    char error[512] = "";
    cr_assert_null(aq_tls_new(config, error, sizeof(error)));
    cr_assert_not_null(strstr(error, part), "%s", error);
}

/* Runs a handshake to its end, whatever that is; the sides stay for the caller to look at and end.
 */
static struct side client, server;
static inline void run(struct aq_tls *client_tls, struct aq_tls *server_tls, const char *name)
{
    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(begin(&client, client_tls, name, NULL), 0);
    pump(&client, &server);
}

static inline void expect_done(void)
{
    cr_assert_eq(client.result, 0, "client %d: %s", client.result, client.tls.verify_error);
    cr_assert_eq(server.result, 0, "server %d: %s", server.result, server.tls.verify_error);
    cr_assert(client.tls.done && server.tls.done);
}

static inline void check_secrets(void)
{
    for (unsigned level = LEVEL_HANDSHAKE; level <= LEVEL_APP; level++) {
        for (unsigned write = 0; write < 2; write++) {
            const struct secret *a = &client.secrets[level][write],
                                *b = &server.secrets[level][!write];
            cr_assert_eq(a->size, a->cipher == CIPHER_AES_256_GCM ? 48 : 32);
            cr_assert(a->size == b->size && a->cipher == b->cipher);
            cr_assert_arr_eq(a->bytes, b->bytes, a->size);
        }
        cr_assert_arr_neq(client.secrets[level][0].bytes, client.secrets[level][1].bytes, 32);
    }
}

__attribute__((unused)) static struct test_cert ca, other_ca, leaf, expired, early, address;

static inline void make_certs(void)
{
    struct test_cert_wish wish = {.kind = AQ_KEY_P256,
                                  .name = "CA",
                                  .is_ca = true,
                                  .from_s = NOW_S - 9000,
                                  .to_s = NOW_S + 9000};
    test_cert_make(&ca, &wish);
    wish.name = "other CA";
    test_cert_make(&other_ca, &wish);
    wish.is_ca = false;
    wish.ca = &ca;
    wish.name = "leaf";
    wish.alt = "DNS:a.test,DNS:*.b.test";
    test_cert_make(&leaf, &wish);
    wish.alt = "IP:127.0.0.1,IP:::1";
    wish.kind = AQ_KEY_ED25519;
    test_cert_make(&address, &wish);
    wish.alt = "DNS:a.test";
    wish.to_s = NOW_S - 1;
    test_cert_make(&expired, &wish);
    wish.from_s = NOW_S + 1;
    wish.to_s = NOW_S + 9000;
    test_cert_make(&early, &wish);
}

static inline struct aq_tls *server_with(const struct test_cert *cert)
{
    struct aq_tls_config config = config_for(true);
    config.cert = cert->cert_in;
    config.key = cert->key_in;
    return make(&config);
}

static inline struct aq_tls *client_trusting(const struct test_cert *authority)
{
    struct aq_tls_config config = config_for(false);
    config.verify = AQ_VERIFY_CA;
    config.ca = authority->cert_in;
    return make(&config);
}

static inline void resume(struct aq_tls *client_tls, struct aq_tls *server_tls, const char *name)
{
    static struct side before;
    before = client;
    cr_assert(before.ticket_size > 0);
    end(&client, &server);
    cr_assert_eq(begin(&server, server_tls, NULL, NULL), 0);
    cr_assert_eq(begin(&client, client_tls, name, &before), 0);
    pump(&client, &server);
}

#endif
