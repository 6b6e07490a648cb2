/* base.c -- what every simulation shares: the generator of its chance, and its TLS objects.
 *
 * Ed25519 signatures and a fixed clock keep every handshake message at the same size from run to run;
 * what TLS draws by itself changes bytes, never sizes or times. */
#include "crypto/tls_config.h"
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- chance ---------------------------------------------------------------------------------- */

uint64_t sim_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void sim_rng_init(struct sim_rng *rng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        rng->s[i] = sim_mix(seed + i * UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t rotate(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

uint64_t sim_rng_next(struct sim_rng *rng)
{
    uint64_t *s = rng->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sim_rng_below(struct sim_rng *rng, uint64_t bound)
{
    return bound ? sim_rng_next(rng) % bound : 0;
}

bool sim_rng_chance(struct sim_rng *rng, uint32_t ppm)
{
    return ppm && sim_rng_below(rng, SIM_PPM) < ppm;
}

/* ---- TLS ------------------------------------------------------------------------------------------------------- */

static struct aq_tls *tls_server, *tls_hello_retry, *tls_client;

static struct aq_tls *tls_new(struct aq_tls_config *config)
{
    static const char *const alpn[] = {"sim"};
    char error[256];

    config->alpn = alpn;
    config->alpn_count = 1;
    config->unix_s = SIM_UNIX_S;
    struct aq_tls *tls = aq_tls_new(config, error, sizeof error);
    if (!tls) {
        fprintf(stderr, "sim: no TLS: %s\n", error);
        exit(2);
    }
    return tls;
}

/* Servers of one key. */
static void tls_make(void)
{
    static const int late_group[] = {NID_secp384r1};
    struct aq_tls_config config;
    char key[512], error[256];

    if (!aq_key_make(AQ_KEY_ED25519, key, sizeof key, error, sizeof error)) {
        fprintf(stderr, "sim: no key: %s\n", error);
        exit(2);
    }
    aq_tls_config_init(&config);
    config.server = true;
    config.early_data = true;
    config.key.pem = key;
    config.key.pem_size = strlen(key);
    memset(config.ticket_key, 0x5a, sizeof config.ticket_key);
    tls_server = tls_new(&config);
    tls_hello_retry = tls_new(&config);
    aq_tls_config_init(&config);
    config.verify = AQ_VERIFY_PIN;
    if (!aq_tls_pin(tls_server, config.pin) || !SSL_CTX_set1_curves(tls_hello_retry->ctx, late_group, 1)) {
        fprintf(stderr, "sim: no server TLS\n");
        exit(2);
    }
    tls_client = tls_new(&config);
}

struct aq_tls *sim_tls_server(void)
{
    if (!tls_server)
        tls_make();
    return tls_server;
}

struct aq_tls *sim_tls_server_hello_retry(void)
{
    if (!tls_server)
        tls_make();
    return tls_hello_retry;
}

struct aq_tls *sim_tls_client(void)
{
    if (!tls_client)
        tls_make();
    return tls_client;
}

void sim_tls_free(void)
{
    aq_tls_free(tls_server);
    aq_tls_free(tls_hello_retry);
    aq_tls_free(tls_client);
    tls_server = tls_hello_retry = tls_client = NULL;
}
