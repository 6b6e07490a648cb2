/* params.c -- fuzz target: transport parameters (core/params.h), RFC 9000 §18; SECURITY.md row 8.
 *
 * Any bytes are read as a client's and as a server's parameters. What is accepted is within its bounds, and
 * written again reads the same. */
#include "core/frame.h"
#include "core/params.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void round_trip(const struct params *p, uint8_t by, uint64_t grease)
{
    uint8_t first[2048], second[2048];
    struct params again;
    size_t n = params_encode(p, grease, first, sizeof first);

    require(n > 0 || (p->present == 0 && grease == 0));
    require(params_decode(&again, by, first, n) == AQ_OK);
    require(again.present == p->present);
    require(params_encode(&again, grease, second, sizeof second) == n && memcmp(first, second, n) == 0);
    if (n > 0)
        require(params_encode(p, grease, second, n - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (uint8_t by = BY_CLIENT; by <= BY_SERVER; by++) {
        struct params p;
        int result = params_decode(&p, by, data, size);
        require(result == AQ_OK || result == AQ_TRANSPORT_PARAMETER_ERROR);
        if (result != AQ_OK)
            continue;
        require(p.max_udp_payload >= 1200 && p.ack_delay_exponent <= 20 && p.active_cid_limit >= 2);
        require(p.max_ack_delay_us < UINT64_C(16384000));
        require(p.max_streams_bidi <= UINT64_C(1) << 60 && p.max_streams_uni <= UINT64_C(1) << 60);
        require(p.initial_scid.size <= CID_MAX && p.original_dcid.size <= CID_MAX && p.retry_scid.size <= CID_MAX);
        require(by == BY_SERVER || (!params_has(&p, PARAM_ORIGINAL_DCID) && !params_has(&p, PARAM_RESET_TOKEN) &&
                                    !params_has(&p, PARAM_PREFERRED_ADDRESS) && !params_has(&p, PARAM_RETRY_SCID)));
        round_trip(&p, by, 0);
        round_trip(&p, by, size);
    }
    return 0;
}
