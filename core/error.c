/* error.c -- the names of errors: RFC 9000 §20.1, the TLS alerts inside CRYPTO_ERROR (RFC 9001
 * §4.8, RFC 8446 §6), and our own.
 *
 * For people: logs, traces, close reasons. Nothing decides by these strings. */
#include "core/antq.h"
#include "crypto/version.h"

struct name {
    int64_t error;
    const char *text;
};

/* clang-format off */
static const struct name names[] = {
    {AQ_OK,                        "NO_ERROR"},
    {AQ_INTERNAL_ERROR,            "INTERNAL_ERROR"},
    {AQ_CONNECTION_REFUSED,        "CONNECTION_REFUSED"},
    {AQ_FLOW_CONTROL_ERROR,        "FLOW_CONTROL_ERROR"},
    {AQ_STREAM_LIMIT_ERROR,        "STREAM_LIMIT_ERROR"},
    {AQ_STREAM_STATE_ERROR,        "STREAM_STATE_ERROR"},
    {AQ_FINAL_SIZE_ERROR,          "FINAL_SIZE_ERROR"},
    {AQ_FRAME_ENCODING_ERROR,      "FRAME_ENCODING_ERROR"},
    {AQ_TRANSPORT_PARAMETER_ERROR, "TRANSPORT_PARAMETER_ERROR"},
    {AQ_CONNECTION_ID_LIMIT_ERROR, "CONNECTION_ID_LIMIT_ERROR"},
    {AQ_PROTOCOL_VIOLATION,        "PROTOCOL_VIOLATION"},
    {AQ_INVALID_TOKEN,             "INVALID_TOKEN"},
    {AQ_APPLICATION_ERROR,         "APPLICATION_ERROR"},
    {AQ_CRYPTO_BUFFER_EXCEEDED,    "CRYPTO_BUFFER_EXCEEDED"},
    {AQ_KEY_UPDATE_ERROR,          "KEY_UPDATE_ERROR"},
    {AQ_AEAD_LIMIT_REACHED,        "AEAD_LIMIT_REACHED"},
    {AQ_NO_VIABLE_PATH,            "NO_VIABLE_PATH"},
    {AQ_VERSION_NEGOTIATION_ERROR, "VERSION_NEGOTIATION_ERROR"},
    {AQ_DROPPED,                   "AQ_DROPPED"},
    {AQ_BLOCKED,                   "AQ_BLOCKED"},
    {AQ_FULL,                      "AQ_FULL"},
    {AQ_GONE,                      "AQ_GONE"},
    {AQ_MISUSE,                    "AQ_MISUSE"},
    {AQ_REFUSED,                   "AQ_REFUSED"},
#define ALERT(number, alert) {AQ_CRYPTO_ERROR + (number), "CRYPTO_ERROR(" alert ")"}
    ALERT(0,   "close_notify"),
    ALERT(10,  "unexpected_message"),
    ALERT(20,  "bad_record_mac"),
    ALERT(22,  "record_overflow"),
    ALERT(40,  "handshake_failure"),
    ALERT(42,  "bad_certificate"),
    ALERT(43,  "unsupported_certificate"),
    ALERT(44,  "certificate_revoked"),
    ALERT(45,  "certificate_expired"),
    ALERT(46,  "certificate_unknown"),
    ALERT(47,  "illegal_parameter"),
    ALERT(48,  "unknown_ca"),
    ALERT(49,  "access_denied"),
    ALERT(50,  "decode_error"),
    ALERT(51,  "decrypt_error"),
    ALERT(70,  "protocol_version"),
    ALERT(71,  "insufficient_security"),
    ALERT(80,  "internal_error"),
    ALERT(86,  "inappropriate_fallback"),
    ALERT(90,  "user_canceled"),
    ALERT(109, "missing_extension"),
    ALERT(110, "unsupported_extension"),
    ALERT(112, "unrecognized_name"),
    ALERT(113, "bad_certificate_status_response"),
    ALERT(115, "unknown_psk_identity"),
    ALERT(116, "certificate_required"),
    ALERT(120, "no_application_protocol"),
#undef ALERT
};
/* clang-format on */

const char *aq_error_name(int64_t error)
{
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].error == error)
            return names[i].text;
    }
    if (error >= AQ_CRYPTO_ERROR && error <= AQ_CRYPTO_ERROR + 0xff)
        return "CRYPTO_ERROR(unknown alert)";
    return "unknown error";
}

const char *aq_version_name(uint32_t version)
{
    const struct version *row = version_find(version);
    return row ? row->name : "unknown";
}
