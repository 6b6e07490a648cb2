/* base.c -- what every simulation shares: the generator of its chance, and its two TLS objects.
 *
 * Ed25519 signatures and a fixed clock keep every handshake message at the same size from run to run;
 * what TLS draws by itself changes bytes, never sizes or times. */
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

static struct aq_tls *tls_server, *tls_client;

static void tls_make(void)
{
    static const char *const alpn[] = {"sim"};
    struct aq_tls_config config;
    char error[256];
    uint8_t pin[32];

    aq_tls_config_init(&config);
    config.server = true;
    config.self_signed = AQ_KEY_ED25519;
    config.alpn = alpn;
    config.alpn_count = 1;
    config.unix_s = SIM_UNIX_S;
    memset(config.ticket_key, 0x5a, sizeof config.ticket_key);
    tls_server = aq_tls_new(&config, error, sizeof error);
    if (!tls_server || !aq_tls_pin(tls_server, pin)) {
        fprintf(stderr, "sim: no server TLS: %s\n", error);
        exit(2);
    }
    aq_tls_config_init(&config);
    config.verify = AQ_VERIFY_PIN;
    memcpy(config.pin, pin, sizeof pin);
    config.alpn = alpn;
    config.alpn_count = 1;
    config.unix_s = SIM_UNIX_S;
    tls_client = aq_tls_new(&config, error, sizeof error);
    if (!tls_client) {
        fprintf(stderr, "sim: no client TLS: %s\n", error);
        exit(2);
    }
}

struct aq_tls *sim_tls_server(void)
{
    if (!tls_server)
        tls_make();
    return tls_server;
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
    aq_tls_free(tls_client);
    tls_server = tls_client = NULL;
}
