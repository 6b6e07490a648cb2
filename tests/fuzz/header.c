/* header.c -- fuzz target: packet headers (core/packet.h), RFC 8999, RFC 9000 §17.
 *
 * Any bytes are walked as a datagram of coalesced packets. What parses lies inside the datagram, and what is
 * written from it parses to the same again. The first byte chooses the size of our own connection ids. */
#include "core/packet.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static bool inside(const uint8_t *p, size_t n, const uint8_t *data, size_t size)
{
    return n == 0 || (p >= data && n <= size && p <= data + size - n);
}

/* Writes the header again in the shortest form, with a length that stands for nothing. */
static void write_again(const struct packet_head *head)
{
    uint8_t out[4096];
    struct writer w = writer_make(out, sizeof out);
    struct aq_iov token = {head->token, head->token_size};
    struct packet_head again;
    unsigned pn_size = (head->first & 3U) + 1;
    size_t pn_offset;

    if (head->type == PACKET_ONE_RTT)
        pn_offset = packet_write_short(&w, &head->dcid, (head->first & 0x20) != 0, (head->first & 4) != 0, pn_size);
    else
        pn_offset = packet_write_long(&w, head->type, head->version, &head->dcid, &head->scid, &token, pn_size);
    packet_write_number(&w, 0x01020304, pn_size);
    for (unsigned i = 0; i < 20; i++)
        write_u8(&w, 0);
    if (w.bad)
        return; /* a token larger than out */
    size_t total = (size_t)(w.p - out);
    if (head->type != PACKET_ONE_RTT)
        packet_patch_length(out, pn_offset, total - pn_offset);
    require(packet_parse(out, total, head->dcid.size, &again) == AQ_OK);
    require(again.type == head->type && again.size == total && again.pn_offset == pn_offset);
    require(cid_equal(&again.dcid, &head->dcid));
    require(head->type == PACKET_ONE_RTT || (cid_equal(&again.scid, &head->scid) && again.version == head->version));
    require(head->type != PACKET_INITIAL ||
            (again.token_size == head->token_size &&
             (head->token_size == 0 || memcmp(again.token, head->token, head->token_size) == 0)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet_head head;
    uint8_t cid_size;

    if (size == 0)
        return 0;
    cid_size = data[0] % (CID_MAX + 1);
    data++;
    size--;
    while (size > 0 && packet_parse(data, size, cid_size, &head) == AQ_OK) {
        require(head.size > 0 && head.size <= size); /* progress */
        require(inside(head.token, head.token_size, data, size));
        require(inside(head.versions, head.versions_size, data, size) && head.versions_size % 4 == 0);
        if (head.type <= PACKET_HANDSHAKE || head.type == PACKET_ONE_RTT) {
            require(head.pn_offset <= head.size);
            require(head.dcid.size <= CID_MAX && head.scid.size <= CID_MAX);
            write_again(&head);
        } else if (head.type == PACKET_RETRY) {
            packet_check_retry(data, size, head.version, &head.dcid);
        }
        data += head.size;
        size -= head.size;
    }
    return 0;
}
