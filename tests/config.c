/* config.c -- defaults, and every bound of struct aq_config: the last good value and the first
 * bad one. */
#include "core/antq.h"
#include "core/cid.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

static struct aq_config good(void)
{
    struct aq_config c;
    aq_config_init(&c);
    memset(c.seed, 1, sizeof c.seed);
    return c;
}

Test(config, defaults)
{
    struct aq_config c;
    aq_config_init(&c);
    cr_expect_eq(c.size, sizeof c);
    cr_expect_not_null(aq_config_check(&c), "the seed is the host's to give");
    cr_expect_eq(aq_endpoint_size(&c), 0);
    c.seed[31] = 1;
    cr_expect_null(aq_config_check(&c));
    cr_expect(c.max_conns == 1024 && c.max_half_open == 256 && c.max_streams == 16384);
    cr_expect(c.idle_timeout_us == 30000000 && c.handshake_timeout_us == 10000000
              && c.keep_alive_us == 0);
    cr_expect(c.max_ack_delay_us == 25000, "RFC 9000 §18.2");
    cr_expect(c.max_udp_payload == AQ_MTU_DEFAULT && !c.fixed_mtu);
    cr_expect(c.retry == AQ_RETRY_UNDER_LOAD && c.tls == NULL && c.cc == NULL
              && c.trace_events == 0);
    cr_expect_geq(c.active_cid_limit, 2, "RFC 9000 §18.2");
}

Test(config, connect_defaults)
{
    struct aq_connect c, zero;
    memset(&c, 0xff, sizeof c);
    memset(&zero, 0, sizeof zero);
    aq_connect_init(&c);
    cr_expect_eq(c.size, sizeof c);
    c.size = 0;
    cr_expect(memcmp(&c, &zero, sizeof c) == 0);
}

#define FIELD(name) offsetof(struct aq_config, name), sizeof(((struct aq_config *)0)->name), #name

struct row {
    size_t offset, size;
    const char *name;
    uint64_t low,
        high; /* the bounds; 0: there is no lower one, UINT64_MAX: no upper one is tried */
};

static const struct row rows[] = {
    {FIELD(max_conns), 256, CID_SLOTS_MAX}, /* the lower one: max_half_open */
    {FIELD(max_half_open), 1, 1024},
    {FIELD(max_streams), 1, 1 << 24},
    {FIELD(recv_buffers), 1, 1024},
    {FIELD(send_trains), 1, 1024},
    {FIELD(memory_bytes), 1 << 16, UINT64_C(1) << 36},
    {FIELD(worker), 0, 63},
    {FIELD(max_udp_payload), 1200, 65000},
    {FIELD(active_cid_limit), 2, CIDS_MAX},
    {FIELD(nat_limit), 0, 32},
    {FIELD(max_ack_delay_us), 0, (1 << 24) - 1},
    {FIELD(conn_window), 1024, 24 << 20},
    {FIELD(stream_window), 1024, 16 << 20},
    {FIELD(conn_window_max), 1 << 20, UINT64_C(1) << 40},
    {FIELD(stream_window_max), 256 << 10, UINT64_C(1) << 40},
    {FIELD(send_buffer), 1024, UINT64_C(1) << 40},
    {FIELD(streams_bidi), 0, 1 << 20},
    {FIELD(streams_uni), 0, 1 << 20},
};

static const char *check_with(const struct row *row, uint64_t value)
{
    struct aq_config c = good();
    memcpy((uint8_t *)&c + row->offset, &value,
           row->size); /* little-endian, as all machines this runs on */
    return aq_config_check(&c);
}

/* A refusal names the field, so that one knows what to change. */
Test(config, bounds)
{
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        cr_expect_null(check_with(row, row->low), "%s: %s", row->name, check_with(row, row->low));
        cr_expect_null(check_with(row, row->high), "%s: %s", row->name, check_with(row, row->high));
        const char *above = check_with(row, row->high + 1);
        cr_expect_not_null(above, "%s", row->name);
        if (above && strstr(above, "maxima") == NULL)
            cr_expect_not_null(strstr(above, row->name), "%s: %s", row->name, above);
        if (row->low)
            cr_expect_not_null(check_with(row, row->low - 1), "%s", row->name);
    }
}

Test(config, powers_of_two)
{
    for (uint32_t n = 0; n <= 4096; n++) {
        struct aq_config c = good();
        c.trace_events = n;
        cr_expect_eq(aq_config_check(&c) == NULL, (n & (n - 1)) == 0, "%u", n);
    }
}

Test(config, words)
{
    struct aq_config c = good();
    c.cc = "cubic";
    cr_expect_null(aq_config_check(&c));
    c.cc = "newreno";
    cr_expect_null(aq_config_check(&c));
    c.cc = "vegas";
    cr_expect_not_null(aq_config_check(&c));
    c = good();
    c.size--;
    cr_expect_not_null(aq_config_check(&c), "of another version");
}

/* Memory is the sum of the limits: each limit that grows makes it grow. */
Test(config, size_follows_the_limits)
{
    struct aq_config c = good();
    size_t base = aq_endpoint_size(&c);
    cr_expect_gt(base, c.memory_bytes);
    cr_expect_lt(base, c.memory_bytes + (64 << 20));
    c.max_conns++;
    cr_expect_gt(aq_endpoint_size(&c), base);
    c = good();
    c.max_streams++;
    cr_expect_gt(aq_endpoint_size(&c), base);
    c = good();
    c.recv_buffers++;
    cr_expect_geq(aq_endpoint_size(&c), base + 65536);
    c = good();
    c.send_trains++;
    cr_expect_geq(aq_endpoint_size(&c), base + 65536);
    c = good();
    c.memory_bytes += 1 << 20;
    cr_expect_geq(aq_endpoint_size(&c), base + (1 << 20));
    c = good();
    c.trace_events = 1024;
    cr_expect_geq(aq_endpoint_size(&c), base + 1024 * sizeof(struct aq_trace));
}
