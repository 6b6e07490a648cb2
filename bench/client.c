/* client.c -- see client.h. Called by bench/conns and bench/requests. */
#include "bench/client.h"

#include "bench/bench.h"

enum {
    SPARE = 1024 /* closing ones keep their place a while; half-open ones count apart */
};

void bench_client_init(struct bench_client *client, uint64_t conns, uint64_t streams)
{
    aq_loop_config_init(&client->config);
    client->config.handle_signals = true;
    client->config.endpoint.max_conns = (uint32_t)conns + SPARE;
    client->config.endpoint.max_streams = (uint32_t)streams + SPARE;
}

void bench_client_open(struct bench_client *client, const char *target, const char *ca)
{
    static const char *const alpn[] = {"perf"};
    struct aq_tls_config tls;
    aq_tls_config_init(&tls);
    tls.alpn = alpn, tls.alpn_count = 1;
    tls.verify = AQ_VERIFY_CA;
    tls.ca.file = ca;
    aq_connect_init(&client->connect);
    client->connect.tls = aq_tls_new(&tls, client->error, sizeof client->error);
    client->connect.server_name = "localhost";
    if (client->connect.tls == NULL
        || aq_resolve(target, 4433, 0, &client->connect.remote, client->error, sizeof client->error)
               != AQ_OK)
        bench_die("%s", client->error);
    client->loop = aq_loop_new(&client->config, client->error, sizeof client->error);
    if (client->loop == NULL)
        bench_die("%s", client->error);
    client->ep = aq_loop_endpoint(client->loop);
}

void bench_client_close(struct bench_client *client)
{
    aq_loop_free(client->loop);
    aq_tls_free(client->connect.tls);
}
