/* config.c -- defaults and bounds of struct aq_config and struct aq_connect. */
#include "core/cc.h"
#include "core/cid.h"
#include "core/natframes.h"
#include "core/path.h"
#include "crypto/protect.h"
#include "crypto/version.h"
#include <string.h>

void aq_config_init(struct aq_config *config)
{
    *config = (struct aq_config){
        .size = sizeof *config,
        .max_conns = 1024,
        .max_half_open = 256,
        .max_streams = 16384,
        .recv_buffers = 32,
        .send_trains = 8,
        .early_slots = 16384,
        .memory_bytes = UINT64_C(256) << 20,
        .idle_timeout_us = 30000000,
        .handshake_timeout_us = 10000000,
        .conn_window = 1 << 20,
        .stream_window = 256 << 10,
        .conn_window_max = 24 << 20,
        .stream_window_max = 16 << 20,
        .send_buffer = 4 << 20,
        .streams_bidi = 100,
        .streams_uni = 100,
        .max_ack_delay_us = 25000,
        .max_udp_payload = AQ_MTU_DEFAULT,
        .mtu_raise_us = 600000000, /* RFC 8899 §5.1.1 */
        .active_cid_limit = 4,
        .datagram_queue = 64 << 10,
        .cid_size = CID_SIZE,
        .versions = {AQ_QUIC_V1, AQ_QUIC_V2},
    };
}

void aq_connect_init(struct aq_connect *connect)
{
    memset(connect, 0, sizeof *connect);
    connect->size = sizeof *connect;
}

static const char *config_check_limits(const struct aq_config *c)
{
    if (c->max_conns < 1 || c->max_conns > CID_SLOTS_MAX)
        return "max_conns must be 1 to 1,048,576";
    if (c->max_half_open < 1 || c->max_half_open > c->max_conns)
        return "max_half_open must be 1 to max_conns";
    if (c->max_streams < 1 || c->max_streams > 1U << 24)
        return "max_streams must be 1 to 16,777,216";
    if (c->recv_buffers < 1 || c->recv_buffers > 1024)
        return "recv_buffers must be 1 to 1,024";
    if (c->send_trains < 1 || c->send_trains > 1024)
        return "send_trains must be 1 to 1,024";
    if (c->max_paths > 1U << 20)
        return "max_paths must be at most 1,048,576";
    if (c->memory_bytes < 1 << 16 || c->memory_bytes > UINT64_C(1) << 36)
        return "memory_bytes must be 64 KiB to 64 GiB";
    if (c->early_slots < 64 || c->early_slots > 1U << 24 || (c->early_slots & (c->early_slots - 1)))
        return "early_slots must be a power of two, 64 to 16,777,216";
    if (c->trace_events & (c->trace_events - 1))
        return "trace_events must be a power of two, or 0";
    if (c->worker > 63)
        return "worker must be 0 to 63";
    return NULL;
}

/* draft-ietf-quic-load-balancers §3.1, §5.2: 7 is no configuration, a server id has a byte. */
static const char *config_check_cids(const struct aq_config *c)
{
    if (c->cid_size < CID_SIZE || c->cid_size > CID_MAX)
        return "cid_size must be 8 to 20";
    if (c->lb.mode == AQ_LB_OFF)
        return NULL;
    if (c->lb.mode > AQ_LB_ENCRYPTED || c->lb.config_id > 6)
        return "lb.mode must be one of enum aq_lb_mode, and lb.config_id 0 to 6";
    if (c->lb.server_id_size < 1 || c->lb.server_id_size + 1 + CID_SIZE > c->cid_size)
        return "lb.server_id_size must be 1 to cid_size - 9";
    return NULL;
}

static bool versions_usable(const uint32_t versions[AQ_VERSIONS_MAX])
{
    unsigned n = 0;
    for (; n < AQ_VERSIONS_MAX && versions[n]; n++) {
        for (unsigned i = 0; i < n; i++) {
            if (versions[i] == versions[n])
                return false;
        }
        if (!version_find(versions[n]))
            return false;
    }
    return n > 0;
}

static const char *config_check_transport(const struct aq_config *c)
{
    if (c->max_udp_payload < MTU_BASE || c->max_udp_payload > 65000)
        return "max_udp_payload must be 1,200 to 65,000";
    if (c->active_cid_limit < 2 || c->active_cid_limit > CIDS_MAX)
        return "active_cid_limit must be 2 to 16";
    if (c->nat_limit > NAT_LIMIT_MAX)
        return "nat_limit must be at most 32";
    if (c->max_ack_delay_us >= 1 << 24)
        return "max_ack_delay_us must be below 16,384,000";
    if (c->conn_window > c->conn_window_max || c->stream_window > c->stream_window_max)
        return "conn_window and stream_window must not exceed their maxima";
    if (c->stream_window < 1024 || c->conn_window < 1024)
        return "conn_window and stream_window must be at least 1,024";
    if (c->stream_window_max > UINT64_C(1) << 40 || c->conn_window_max > UINT64_C(1) << 40)
        return "window maxima must be at most 2^40";
    if (c->send_buffer < 1024 || c->send_buffer > UINT64_C(1) << 40)
        return "send_buffer must be 1,024 to 2^40";
    if (c->streams_bidi > 1U << 20 || c->streams_uni > 1U << 20)
        return "streams_bidi and streams_uni must be at most 1,048,576";
    if ((c->idle_timeout_us | c->handshake_timeout_us | c->keep_alive_us | c->mtu_raise_us) >> 60)
        return "idle_timeout_us, handshake_timeout_us, keep_alive_us and mtu_raise_us must be "
               "below 2^60";
    if (c->datagram_queue < 4096 || c->datagram_queue > 1U << 24
        || (c->datagram_queue & (c->datagram_queue - 1)))
        return "datagram_queue must be a power of two, 4,096 to 16,777,216";
    if ((c->preferred4.family && (c->preferred4.family != 4 || !c->preferred4.port))
        || (c->preferred6.family && (c->preferred6.family != 6 || !c->preferred6.port)))
        return "preferred4 must be an IPv4, preferred6 an IPv6 address, with a port";
    if (!versions_usable(c->versions))
        return "versions must be known ones, 1 to 4 of them and each once";
    if (!cc_find(c->cc))
        return "cc must be cubic, newreno or bbr";
    return protect_check(c->aead);
}

const char *aq_config_check(const struct aq_config *config)
{
    static const uint8_t zero[32];
    if (config->size != sizeof *config)
        return "size must be set by aq_config_init of this version";
    if (memcmp(config->seed, zero, sizeof zero) == 0)
        return "seed must be filled with random bytes";
    const char *error = config_check_limits(config);
    if (!error)
        error = config_check_cids(config);
    return error ? error : config_check_transport(config);
}
