/* error.c -- tests of core/error.c. */
#include "core/antq.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 9000 §20.1, written a second time: the names by their numbers. */
Test(error, transport_errors)
{
    static const char *const names[] = {
        "NO_ERROR",
        "INTERNAL_ERROR",
        "CONNECTION_REFUSED",
        "FLOW_CONTROL_ERROR",
        "STREAM_LIMIT_ERROR",
        "STREAM_STATE_ERROR",
        "FINAL_SIZE_ERROR",
        "FRAME_ENCODING_ERROR",
        "TRANSPORT_PARAMETER_ERROR",
        "CONNECTION_ID_LIMIT_ERROR",
        "PROTOCOL_VIOLATION",
        "INVALID_TOKEN",
        "APPLICATION_ERROR",
        "CRYPTO_BUFFER_EXCEEDED",
        "KEY_UPDATE_ERROR",
        "AEAD_LIMIT_REACHED",
        "NO_VIABLE_PATH",
        "VERSION_NEGOTIATION_ERROR",
    };
    for (int64_t i = 0; i < (int64_t)(sizeof names / sizeof names[0]); i++)
        cr_expect_str_eq(aq_error_name(i), names[i]);
}

/* RFC 9001 §4.8: 0x100 and the alert. RFC 8446 §6: its name. */
Test(error, crypto_errors)
{
    cr_expect_str_eq(aq_error_name(0x128), "CRYPTO_ERROR(handshake_failure)");
    cr_expect_str_eq(aq_error_name(0x178), "CRYPTO_ERROR(no_application_protocol)");
    cr_expect_str_eq(aq_error_name(0x100), "CRYPTO_ERROR(close_notify)");
    cr_expect_str_eq(aq_error_name(0x101), "CRYPTO_ERROR(unknown alert)");
    cr_expect_str_eq(aq_error_name(0x1ff), "CRYPTO_ERROR(unknown alert)");
}

Test(error, ours_and_unknown_ones)
{
    cr_expect_str_eq(aq_error_name(AQ_DROPPED), "AQ_DROPPED");
    cr_expect_str_eq(aq_error_name(AQ_BLOCKED), "AQ_BLOCKED");
    cr_expect_str_eq(aq_error_name(AQ_FULL), "AQ_FULL");
    cr_expect_str_eq(aq_error_name(AQ_GONE), "AQ_GONE");
    cr_expect_str_eq(aq_error_name(AQ_MISUSE), "AQ_MISUSE");
    cr_expect_str_eq(aq_error_name(AQ_REFUSED), "AQ_REFUSED");
    static const int64_t unknown[] = {0x12,      0xff,      0x200,           -7,
                                      INT64_MIN, INT64_MAX, INT64_C(1) << 32};
    for (unsigned i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        cr_expect_str_eq(aq_error_name(unknown[i]), "unknown error");
}
