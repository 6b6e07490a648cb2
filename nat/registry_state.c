/* registry_state.c -- what a bootstrap node keeps over a restart.
 *
 *     "antqreg2" | count, 4 bytes | count times: peer id, 32 | generation, 8 | lease left in s, 4 |
 *     | family, 1 | port, 2 | address, 16 | ... | first 8 bytes of the SHA-256 of all that |
 *
 * Peers register again by themselves as soon as they hear that it is back, for which their
 * addresses are kept; what they could not bring back is that an old generation of them is stale.
 * Leases are kept as what is left of them: clocks do not survive. */
#include "nat/registry.h"

#include "crypto/prim.h"

#include <string.h>

enum {
    HEAD = 12,
    RECORD = PEER_ID_SIZE + 8 + 4 + 1 + 2 + 16,
    SUM = 8
};

static const uint8_t magic[8] = {'a', 'n', 't', 'q', 'r', 'e', 'g', '2'};

size_t registry_save_size(const struct registry *r)
{
    return HEAD + (size_t)r->peers.used * RECORD + SUM;
}

size_t registry_save(const struct registry *r, uint8_t *out, size_t size, uint64_t now)
{
    struct writer w = writer_make(out, size);
    uint8_t sum[32];
    write_bytes(&w, magic, sizeof magic);
    write_uint(&w, r->peers.used, 4);
    for (uint32_t i = 0; i < r->leases.count; i++) { /* each record has one, in no order */
        const struct registry_peer *p = registry_peer(r, r->leases.v[i].id);
        uint64_t left_us = p->lease_end_us > now ? p->lease_end_us - now : 0;
        write_bytes(&w, p->id.bytes, PEER_ID_SIZE);
        write_uint(&w, p->generation, 8);
        write_uint(&w, (left_us + 999999) / 1000000, 4);
        write_uint(&w, p->path.remote.family, 1);
        write_uint(&w, p->path.remote.port, 2);
        write_bytes(&w, p->path.remote.ip, sizeof p->path.remote.ip);
    }
    if (w.bad || writer_left(&w) < SUM)
        return 0;
    prim_sha256(out, (size_t)(w.p - out), sum);
    write_bytes(&w, sum, SUM);
    return (size_t)(w.p - out);
}

static bool whole(const uint8_t *data, size_t size)
{
    uint8_t sum[32];
    if (size < HEAD + SUM || memcmp(data, magic, sizeof magic) != 0
        || size != HEAD + (uint64_t)load_be32(data + 8) * RECORD + SUM)
        return false;
    prim_sha256(data, size - SUM, sum);
    return memcmp(sum, data + size - SUM, SUM) == 0;
}

bool registry_restore(struct registry *r, const uint8_t *data, size_t size, uint64_t now)
{
    if (r->peers.used > 0 || !whole(data, size) || load_be32(data + 8) > r->peers.count)
        return false;
    for (struct reader in = reader_make(data + HEAD, size - HEAD - SUM); reader_left(&in) > 0;) {
        const uint8_t *bytes = read_bytes(&in, PEER_ID_SIZE);
        struct peer_id id;
        if (!bytes)
            break; /* not so: the size is right */
        memcpy(id.bytes, bytes, PEER_ID_SIZE);
        uint64_t generation = read_uint(&in, 8), left_s = read_uint(&in, 4);
        struct aq_addr at = {.family = (uint8_t)read_uint(&in, 1)};
        at.port = (uint16_t)read_uint(&in, 2);
        const uint8_t *ip = read_bytes(&in, sizeof at.ip);
        if (ip)
            memcpy(at.ip, ip, sizeof at.ip);
        if (left_s > r->config.lease_max_s)
            left_s = r->config.lease_max_s;
        if (registry_slot_by_id(r, &id) != MAP_NONE)
            continue; /* no file of ours names one twice */
        uint32_t slot = registry_add(r, &id, now + left_s * 1000000);
        registry_peer(r, slot)->generation = generation;
        registry_peer(r, slot)->path.remote = at;
    }
    return true;
}
