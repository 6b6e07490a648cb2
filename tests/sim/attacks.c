/* attacks.c -- the rows of attacks.h, in the order of RFC 9000 §19. */
#include "tests/sim/attacks.h"
#include "core/antq.h"
#include "core/buf.h"

#include <stdlib.h>

bool attack_frames(const char *text, bool peer_server, uint8_t *out, size_t room, size_t *size)
{
    struct writer w = writer_make(out, room);

    while (*text) {
        size_t n = strcspn(text, " ");
        char *end;
        if (*text == 'x') {
            for (size_t i = 1; i + 1 < n; i += 2)
                write_u8(&w, (uint8_t)strtoul((char[3]){text[i], text[i + 1], 0}, NULL, 16));
        } else if (*text == '*') {
            for (unsigned long i = strtoul(text + 1, NULL, 10); i > 0; i--)
                write_u8(&w, 0);
        } else if (*text == 'p' || *text == 'v') {
            bool server = (*text == 'p') == peer_server;
            write_varint(&w, strtoul(text + 2, NULL, 10) * 4 + (text[1] == 'u' ? 2 : 0) + server);
        } else {
            write_varint(&w, strtoull(text, &end, 16));
            if ((size_t)(end - text) != n)
                return false;
        }
        text += n;
        text += strspn(text, " ");
    }
    *size = (size_t)(w.p - out);
    return !w.bad;
}

/* clang-format off */
const struct attack attacks[] = {
    /* packets and frames as such */
    {"RFC 9000 §12.4: a packet without frames", VICTIM_BOTH, 'I', "", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a packet without frames", VICTIM_BOTH, 'H', "", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a packet without frames", VICTIM_BOTH, '1', "", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: an unknown frame type", VICTIM_BOTH, 'I', "20", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §12.4: an unknown frame type", VICTIM_BOTH, 'H', "21", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §12.4: an unknown frame type", VICTIM_BOTH, '1', "3fffffffffffffff", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §12.4: a type in two bytes", VICTIM_BOTH, '1', "x4001", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a type in eight bytes", VICTIM_BOTH, '1', "xc000000000000000", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a type in four bytes", VICTIM_BOTH, 'I', "x80000001", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a type in two bytes", VICTIM_BOTH, 'H', "x4001", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §12.4: a bad frame behind good ones", VICTIM_BOTH, '1', "1 10 100 *5 1 21", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §12.4: a frame of an extension that was not agreed on", VICTIM_BOTH, '1', "3d7e94 1", AQ_PROTOCOL_VIOLATION,
     AQ_FRAME_ENCODING_ERROR},
    {"RFC 9000 §12.4: a cut type", VICTIM_BOTH, '1', "x80", AQ_FRAME_ENCODING_ERROR, AQ_PROTOCOL_VIOLATION},
    {"valid PING and PADDING", VICTIM_BOTH, '1', "1 *100 1", AQ_OK, 0},
    {"valid PING", VICTIM_BOTH, 'I', "1", AQ_OK, 0},
    {"valid PING", VICTIM_BOTH, 'H', "1", AQ_OK, 0},

    /* ACK */
    {"RFC 9000 §13.1: ACK of a packet never sent", VICTIM_BOTH, 'I', "2 1000 0 0 0", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §13.1: ACK of a packet never sent", VICTIM_BOTH, 'H', "2 1000 0 0 0", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §13.1: ACK of a packet never sent", VICTIM_BOTH, '1', "2 1000 0 0 0", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §13.1: ACK of the largest number", VICTIM_BOTH, '1', "2 3fffffffffffffff 0 0 0",
     AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.3.1: a first range below zero", VICTIM_BOTH, '1', "2 5 0 0 6", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.3.1: a gap below zero", VICTIM_BOTH, '1', "2 5 0 1 0 5 0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.3.1: a range below zero", VICTIM_BOTH, '1', "2 9 0 1 0 3 9", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.3: ranges cut off", VICTIM_BOTH, '1', "2 0 0 3fffffff 0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.3.2: ECN counts cut off", VICTIM_BOTH, '1', "3 0 0 0 0 1 1", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §13.1: ACK_ECN of a packet never sent", VICTIM_BOTH, '1', "3 1000 0 0 0 0 0 0", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.3.1: ACK_ECN with a first range below zero", VICTIM_BOTH, '1', "3 5 0 0 6 0 0 0",
     AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.3.1: a first range to zero", VICTIM_BOTH, '1', "2 0 0 0 0", AQ_OK, 0},
    {"RFC 9000 §19.3: more ranges than a packet holds", VICTIM_BOTH, 'I', "2 0 0 3fffffffffffffff 0",
     AQ_FRAME_ENCODING_ERROR, 0},

    /* RESET_STREAM */
    {"RFC 9000 §19.4: RESET_STREAM of a send-only stream", VICTIM_BOTH, '1', "4 vu0 0 0", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §3: RESET_STREAM of a stream not yet opened", VICTIM_BOTH, '1', "4 vb0 0 0", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §4.6: RESET_STREAM beyond the limit", VICTIM_BOTH, '1', "4 pb4 0 0", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: RESET_STREAM at the limit", VICTIM_BOTH, '1', "4 pb3 0 0", AQ_OK, 0},
    {"RFC 9000 §4.1: RESET_STREAM beyond the window", VICTIM_BOTH, '1', "4 pb0 0 1001", AQ_FLOW_CONTROL_ERROR, 0},
    {"RFC 9000 §4.1: RESET_STREAM at the window", VICTIM_BOTH, '1', "4 pb0 0 1000", AQ_OK, 0},
    {"RFC 9000 §4.5: RESET_STREAM below what came", VICTIM_BOTH, '1', "e pb0 0 5 *5 4 pb0 0 4", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: RESET_STREAM of what came", VICTIM_BOTH, '1', "e pb0 0 5 *5 4 pb0 0 5", AQ_OK, 0},
    {"RFC 9000 §4.5: RESET_STREAM after another", VICTIM_BOTH, '1', "4 pb0 0 5 4 pb0 0 6", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: the same RESET_STREAM twice", VICTIM_BOTH, '1', "4 pb0 0 5 4 pb0 0 5", AQ_OK, 0},
    {"RFC 9000 §4.5: RESET_STREAM after a FIN elsewhere", VICTIM_BOTH, '1', "f pb0 0 5 *5 4 pb0 0 6",
     AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §19.4: RESET_STREAM cut", VICTIM_BOTH, '1', "4 pb0 0", AQ_FRAME_ENCODING_ERROR, 0},

    /* RESET_STREAM_AT: id, code, Final Size, Reliable Size */
    {"draft-ietf-quic-reliable-stream-reset §4: more reliable than there is", VICTIM_BOTH, '1', "24 pb0 0 5 6",
     AQ_FRAME_ENCODING_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: all reliable", VICTIM_BOTH, '1', "24 pb0 0 5 5", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: none reliable", VICTIM_BOTH, '1', "24 pb0 0 5 0", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: cut", VICTIM_BOTH, '1', "24 pb0 0 5", AQ_FRAME_ENCODING_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: in a Handshake packet", VICTIM_BOTH, 'H', "24 pb0 0 5 5",
     AQ_PROTOCOL_VIOLATION, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: of a send-only stream", VICTIM_BOTH, '1', "24 vu0 0 0 0",
     AQ_STREAM_STATE_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: beyond the stream limit", VICTIM_BOTH, '1', "24 pb4 0 0 0",
     AQ_STREAM_LIMIT_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: beyond the window", VICTIM_BOTH, '1', "24 pb0 0 1001 0",
     AQ_FLOW_CONTROL_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: at the window", VICTIM_BOTH, '1', "24 pb0 0 1000 1", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §4: beyond the connection's window", VICTIM_BOTH, '1',
     "24 pb0 0 1000 1 24 pb1 0 1000 1 24 pb2 0 1 1", AQ_FLOW_CONTROL_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: less reliable", VICTIM_BOTH, '1', "24 pb0 7 5 3 24 pb0 7 5 2", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: more reliable is ignored", VICTIM_BOTH, '1',
     "24 pb0 7 5 2 24 pb0 7 5 3", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: another code", VICTIM_BOTH, '1', "24 pb0 7 5 2 24 pb0 8 5 2",
     AQ_STREAM_STATE_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: another code in RESET_STREAM", VICTIM_BOTH, '1',
     "24 pb0 7 5 2 4 pb0 8 5", AQ_STREAM_STATE_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: RESET_STREAM", VICTIM_BOTH, '1', "24 pb0 7 5 2 4 pb0 7 5", AQ_OK, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: another final size", VICTIM_BOTH, '1', "24 pb0 7 5 2 24 pb0 7 6 2",
     AQ_FINAL_SIZE_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.2: another final size of STREAM", VICTIM_BOTH, '1',
     "24 pb0 7 5 2 f pb0 0 4 *4", AQ_FINAL_SIZE_ERROR, 0},
    {"draft-ietf-quic-reliable-stream-reset §5.1: before the FIN", VICTIM_BOTH, '1', "24 pb0 7 5 2 f pb0 0 5 *5", AQ_OK, 0},

    /* STOP_SENDING */
    {"RFC 9000 §19.5: STOP_SENDING of a stream not yet opened", VICTIM_BOTH, '1', "5 vb0 0", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §19.5: STOP_SENDING of a receive-only stream", VICTIM_BOTH, '1', "5 pu0 0", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §4.6: STOP_SENDING beyond the limit", VICTIM_BOTH, '1', "5 pb4 0", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: STOP_SENDING at the limit", VICTIM_BOTH, '1', "5 pb3 0", AQ_OK, 0},
    {"RFC 9000 §19.5: STOP_SENDING cut", VICTIM_BOTH, '1', "5 pb0", AQ_FRAME_ENCODING_ERROR, 0},

    /* CRYPTO */
    {"RFC 9000 §7.5: CRYPTO beyond the buffer", VICTIM_BOTH, 'I', "6 100000 1 x00", AQ_CRYPTO_BUFFER_EXCEEDED, 0},
    {"RFC 9000 §7.5: CRYPTO beyond the buffer", VICTIM_BOTH, 'H', "6 100000 1 x00", AQ_CRYPTO_BUFFER_EXCEEDED, 0},
    {"RFC 9000 §7.5: CRYPTO beyond the buffer", VICTIM_BOTH, '1', "6 100000 1 x00", AQ_CRYPTO_BUFFER_EXCEEDED, 0},
    {"RFC 9000 §19.6: CRYPTO beyond 2^62", VICTIM_BOTH, '1', "6 3fffffffffffffff 1 x00", AQ_FRAME_ENCODING_ERROR,
     AQ_CRYPTO_BUFFER_EXCEEDED},
    {"RFC 9000 §19.6: CRYPTO cut", VICTIM_BOTH, '1', "6 0 5 x00", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9001 §4.8: an alert of TLS", VICTIM_SERVER, 'H', "6 0 4 x14000000", ANY_CRYPTO_ERROR, 0},
    {"RFC 9001 §4.8: an alert of TLS", VICTIM_CLIENT, 'I', "6 0 4 x14000000", ANY_CRYPTO_ERROR, 0},
    {"RFC 9001 §6: a TLS KeyUpdate", VICTIM_BOTH, '1', "6 0 5 x1800000100", 0x10a, 0},
    {"RFC 9001 §4.4: a CertificateRequest after the handshake", VICTIM_CLIENT, '1', "6 0 5 x0d00000100",
     AQ_PROTOCOL_VIOLATION, 0x10a},

    /* NEW_TOKEN */
    {"RFC 9000 §19.7: NEW_TOKEN from a client", VICTIM_SERVER, '1', "7 4 x01020304", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.7: an empty NEW_TOKEN", VICTIM_CLIENT, '1', "7 0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.7: NEW_TOKEN", VICTIM_CLIENT, '1', "7 4 x01020304", AQ_OK, 0},
    {"RFC 9000 §19.7: NEW_TOKEN cut", VICTIM_CLIENT, '1', "7 5 x01020304", AQ_FRAME_ENCODING_ERROR, 0},

    /* STREAM */
    {"RFC 9000 §19.8: STREAM of a stream not yet opened", VICTIM_BOTH, '1', "a vb0 1 x00", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §19.8: STREAM of a send-only stream", VICTIM_BOTH, '1', "a vu0 1 x00", AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §19.8: STREAM beyond 2^62", VICTIM_BOTH, '1', "e pb0 3fffffffffffffff 1 x00",
     AQ_FRAME_ENCODING_ERROR, AQ_FLOW_CONTROL_ERROR},
    {"RFC 9000 §4.6: STREAM beyond the limit", VICTIM_BOTH, '1', "a pb4 1 x00", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: STREAM beyond the limit, one way", VICTIM_BOTH, '1', "a pu4 1 x00", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: STREAM far beyond the limit", VICTIM_SERVER, '1', "a 3ffffffffffffffc 1 x00",
     AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: STREAM far beyond the limit", VICTIM_CLIENT, '1', "a 3ffffffffffffffd 1 x00",
     AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §4.6: STREAM at the limit", VICTIM_BOTH, '1', "a pb3 1 x00 a pu3 1 x00", AQ_OK, 0},
    {"RFC 9000 §4.1: STREAM beyond its window", VICTIM_BOTH, '1', "e pb0 1000 1 x00", AQ_FLOW_CONTROL_ERROR, 0},
    {"RFC 9000 §4.1: STREAM to its window", VICTIM_BOTH, '1', "e pb0 fff 1 x00", AQ_OK, 0},
    {"RFC 9000 §4.1: the connection's window", VICTIM_BOTH, '1',
     "e pb0 fff 1 x00 e pb1 fff 1 x00 a pb2 1 x00", AQ_FLOW_CONTROL_ERROR, 0},
    {"RFC 9000 §4.1: to the connection's window", VICTIM_BOTH, '1', "e pb0 fff 1 x00 e pb1 fff 1 x00", AQ_OK, 0},
    {"RFC 9000 §4.1: windows by RESET_STREAM", VICTIM_BOTH, '1', "4 pb0 0 1000 4 pb1 0 1000 4 pb2 0 1",
     AQ_FLOW_CONTROL_ERROR, 0},
    {"RFC 9000 §4.5: bytes beyond the end", VICTIM_BOTH, '1', "f pb0 0 5 *5 e pb0 5 1 x00", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: a second end elsewhere", VICTIM_BOTH, '1', "f pb0 0 5 *5 f pb0 0 4 *4", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: an end before what came", VICTIM_BOTH, '1', "e pb0 8 2 *2 f pb0 0 5 *5", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: the same end twice", VICTIM_BOTH, '1', "f pb0 0 5 *5 f pb0 0 5 *5", AQ_OK, 0},
    {"RFC 9000 §4.5: bytes after a reset", VICTIM_BOTH, '1', "4 pb0 0 5 e pb0 5 1 x00", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §19.8: STREAM cut", VICTIM_BOTH, '1', "a pb0 5 x00", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.8: STREAM's offset cut", VICTIM_BOTH, '1', "c pb0 x80", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §4.5: a FIN alone elsewhere", VICTIM_BOTH, '1', "f pb0 0 5 *5 f pb0 6 0", AQ_FINAL_SIZE_ERROR, 0},
    {"RFC 9000 §4.5: a FIN alone at the end", VICTIM_BOTH, '1', "e pb0 0 5 *5 f pb0 5 0", AQ_OK, 0},
    {"RFC 9000 §4.5: a FIN beyond the window", VICTIM_BOTH, '1', "f pb0 1001 0", AQ_FLOW_CONTROL_ERROR, 0},
    {"RFC 9000 §3.2: a stream opens all below it", VICTIM_BOTH, '1', "a pb3 1 x00 a pb0 1 x00", AQ_OK, 0},

    /* windows */
    {"RFC 9000 §19.9: MAX_DATA cut", VICTIM_BOTH, '1', "10", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §4.1: a smaller MAX_DATA is ignored", VICTIM_BOTH, '1', "10 0", AQ_OK, 0},
    {"RFC 9000 §19.10: MAX_STREAM_DATA of a stream not yet opened", VICTIM_BOTH, '1', "11 vb0 1",
     AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §19.10: MAX_STREAM_DATA of a receive-only stream", VICTIM_BOTH, '1', "11 pu0 1",
     AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §4.6: MAX_STREAM_DATA beyond the limit", VICTIM_BOTH, '1', "11 pb4 1", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §19.10: MAX_STREAM_DATA", VICTIM_BOTH, '1', "11 pb0 1", AQ_OK, 0},
    {"RFC 9000 §19.10: MAX_STREAM_DATA cut", VICTIM_BOTH, '1', "11 pb0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §4.1: a smaller MAX_STREAM_DATA is ignored", VICTIM_BOTH, '1', "11 pb0 0", AQ_OK, 0},
    {"RFC 9000 §4.6: smaller MAX_STREAMS are ignored", VICTIM_BOTH, '1', "12 0 13 0", AQ_OK, 0},
    {"RFC 9000 §19.11: MAX_STREAMS cut", VICTIM_BOTH, '1', "12", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.12: DATA_BLOCKED cut", VICTIM_BOTH, '1', "14", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.13: STREAM_DATA_BLOCKED cut", VICTIM_BOTH, '1', "15 pb0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.14: STREAMS_BLOCKED cut", VICTIM_BOTH, '1', "16", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.11: MAX_STREAMS above 2^60", VICTIM_BOTH, '1', "12 1000000000000001", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.11: MAX_STREAMS above 2^60, one way", VICTIM_BOTH, '1', "13 1000000000000001",
     AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.11: MAX_STREAMS of 2^60", VICTIM_BOTH, '1', "12 1000000000000000 13 1000000000000000", AQ_OK, 0},
    {"RFC 9000 §19.12: DATA_BLOCKED", VICTIM_BOTH, '1', "14 2000", AQ_OK, 0},
    {"RFC 9000 §19.13: STREAM_DATA_BLOCKED of a send-only stream", VICTIM_BOTH, '1', "15 vu0 0",
     AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §3: STREAM_DATA_BLOCKED of a stream not yet opened", VICTIM_BOTH, '1', "15 vb0 0",
     AQ_STREAM_STATE_ERROR, 0},
    {"RFC 9000 §4.6: STREAM_DATA_BLOCKED beyond the limit", VICTIM_BOTH, '1', "15 pb4 0", AQ_STREAM_LIMIT_ERROR, 0},
    {"RFC 9000 §19.14: STREAMS_BLOCKED above 2^60", VICTIM_BOTH, '1', "16 1000000000000001",
     AQ_FRAME_ENCODING_ERROR, AQ_STREAM_LIMIT_ERROR},
    {"RFC 9000 §19.14: STREAMS_BLOCKED above 2^60, one way", VICTIM_BOTH, '1', "17 1000000000000001",
     AQ_FRAME_ENCODING_ERROR, AQ_STREAM_LIMIT_ERROR},
    {"RFC 9000 §19.14: STREAMS_BLOCKED", VICTIM_BOTH, '1', "16 4 17 1000000000000000", AQ_OK, 0},

    /* connection ids: the peer's own has sequence 0 */
    {"RFC 9000 §19.15: NEW_CONNECTION_ID", VICTIM_BOTH, '1', "18 1 0 x04 x01020304 *16", AQ_OK, 0},
    {"RFC 9000 §19.15: an id without bytes", VICTIM_BOTH, '1', "18 1 0 x00 *16", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.15: an id of 21 bytes", VICTIM_BOTH, '1', "18 1 0 x15 *21 *16", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.15: an id of 20 bytes", VICTIM_BOTH, '1', "18 1 0 x14 *20 *16", AQ_OK, 0},
    {"RFC 9000 §19.15: retire_prior_to above the number", VICTIM_BOTH, '1', "18 1 2 x04 x01020304 *16",
     AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.15: retire_prior_to of the number", VICTIM_BOTH, '1', "18 1 1 x04 x01020304 *16", AQ_OK, 0},
    {"RFC 9000 §19.15: one number, two ids", VICTIM_BOTH, '1',
     "18 1 0 x04 x01020304 *16 18 1 0 x04 x05060708 *16", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.15: one id, two numbers", VICTIM_BOTH, '1',
     "18 1 0 x04 x01020304 *16 18 2 0 x04 x01020304 *16", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.15: one id, two tokens", VICTIM_BOTH, '1',
     "18 1 0 x04 x01020304 *16 18 1 0 x04 x01020304 *15 x01", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.15: the same twice", VICTIM_BOTH, '1',
     "18 1 0 x04 x01020304 *16 18 1 0 x04 x01020304 *16", AQ_OK, 0},
    {"RFC 9000 §19.15: NEW_CONNECTION_ID cut in its token", VICTIM_BOTH, '1', "18 1 0 x04 x01020304 *15",
     AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.15: Retire Prior To goes back", VICTIM_BOTH, '1',
     "18 1 1 x04 x01020304 *16 18 2 0 x04 x01020305 *16", AQ_OK, 0},
    {"RFC 9000 §19.15: an id that is retired as it comes", VICTIM_BOTH, '1',
     "18 2 2 x04 x01020304 *16 18 1 0 x04 x01020305 *16", AQ_OK, 0},
    {"RFC 9000 §5.1.1: more ids than the limit", VICTIM_BOTH, '1',
     "18 1 0 x01 x01 *16 18 2 0 x01 x02 *16 18 3 0 x01 x03 *16 18 4 0 x01 x04 *16", AQ_CONNECTION_ID_LIMIT_ERROR, 0},
    {"RFC 9000 §5.1.1: ids to the limit", VICTIM_BOTH, '1',
     "18 1 0 x01 x01 *16 18 2 0 x01 x02 *16 18 3 0 x01 x03 *16", AQ_OK, 0},
    {"RFC 9000 §5.1.2: ids to the limit while others retire", VICTIM_BOTH, '1',
     "18 1 0 x01 x01 *16 18 2 0 x01 x02 *16 18 3 0 x01 x03 *16 18 4 1 x01 x04 *16", AQ_OK, 0},
    {"RFC 9000 §19.16: retiring an id never given", VICTIM_BOTH, '1', "19 20", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.16: retiring the id in use", VICTIM_BOTH, '1', "19 0", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.16: retiring another id", VICTIM_BOTH, '1', "19 1", AQ_OK, 0},
    {"RFC 9000 §19.16: retiring it twice", VICTIM_BOTH, '1', "19 1 19 1", AQ_OK, 0},
    {"RFC 9000 §19.16: RETIRE_CONNECTION_ID cut", VICTIM_BOTH, '1', "19", AQ_FRAME_ENCODING_ERROR, 0},

    /* the rest */
    {"RFC 9000 §19.17: PATH_CHALLENGE cut", VICTIM_BOTH, '1', "1a x01020304050607", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.18: PATH_RESPONSE cut", VICTIM_BOTH, '1', "1b x01020304050607", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.18: PATH_RESPONSE to nothing", VICTIM_BOTH, '1', "1b x0102030405060708", AQ_OK, 0},
    {"RFC 9000 §19.19: a close cut", VICTIM_BOTH, 'I', "1c 0", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.19: an application's close cut", VICTIM_BOTH, '1', "1d 0 5 x61", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.19: a cut reason", VICTIM_BOTH, '1', "1c 0 0 5 x61", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9000 §19.20: HANDSHAKE_DONE from a client", VICTIM_SERVER, '1', "1e", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9000 §19.20: HANDSHAKE_DONE twice", VICTIM_CLIENT, '1', "1e 1e", AQ_OK, 0},

    /* datagrams: the victim takes frames of up to 1,000 bytes */
    {"RFC 9221 §4: an empty datagram", VICTIM_BOTH, '1', "31 0", AQ_OK, 0},
    {"RFC 9221 §4: to the packet's end", VICTIM_BOTH, '1', "30 x616263", AQ_OK, 0},
    {"RFC 9221 §4: longer than its packet", VICTIM_BOTH, '1', "31 5 x61626364", AQ_FRAME_ENCODING_ERROR, 0},
    {"RFC 9221 §3: larger than was agreed on", VICTIM_BOTH, '1', "31 3e6 *998", AQ_PROTOCOL_VIOLATION, 0},
    {"RFC 9221 §3: as large as was agreed on", VICTIM_BOTH, '1', "31 3e5 *997", AQ_OK, 0},
    {"RFC 9221 §4: in a Handshake packet", VICTIM_BOTH, 'H', "31 0", AQ_PROTOCOL_VIOLATION, 0},

    /* acknowledgements asked for: Sequence Number, Ack-Eliciting Threshold, microseconds, Reordering Threshold;
     * the victim's min_ack_delay is 1 ms, the RFC's bound 2^14 ms. An invalid one is an error, obsolete or not. */
    {"draft-ietf-quic-ack-frequency §4: below min_ack_delay", VICTIM_BOTH, '1', "af 0 1 3e7 1", AQ_PROTOCOL_VIOLATION, 0},
    {"draft-ietf-quic-ack-frequency §4: min_ack_delay", VICTIM_BOTH, '1', "af 0 1 3e8 1", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §4: 2^14 ms", VICTIM_BOTH, '1', "af 0 1 fa0000 1", AQ_PROTOCOL_VIOLATION, 0},
    {"draft-ietf-quic-ack-frequency §4: just below 2^14 ms", VICTIM_BOTH, '1', "af 0 1 f9ffff 1", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §4: invalid and obsolete", VICTIM_BOTH, '1', "af 9 1 3e8 1 af 3 1 0 1",
     AQ_PROTOCOL_VIOLATION, 0},
    {"draft-ietf-quic-ack-frequency §4: every count at its largest", VICTIM_BOTH, '1',
     "af 3fffffffffffffff 3fffffffffffffff 3e8 3fffffffffffffff", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §4: obsolete ones", VICTIM_BOTH, '1', "af 9 1 3e8 1 af 9 1 3e8 1 af 3 1 3e8 1", AQ_OK, 0},
    {"draft-ietf-quic-ack-frequency §4: cut", VICTIM_BOTH, '1', "af 0 1 3e8", AQ_FRAME_ENCODING_ERROR, 0},
    {"draft-ietf-quic-ack-frequency §5: many IMMEDIATE_ACKs", VICTIM_BOTH, '1', "1f 1f 1f 1f 1f 1f 1f 1f", AQ_OK, 0},
};
/* clang-format on */

const unsigned attacks_count = sizeof attacks / sizeof *attacks;

const struct attack_cross attack_cross[] = {
    {"*1", "IH1", "CS"},
    {"1", "IH1", "CS"},
    {"4 pb0 0 0", "1", "CS"},
    {"5 pb0 0", "1", "CS"},
    {"7 4 x01020304", "1", "S"},
    {"8 pb0 x00", "1", "CS"},
    {"9 pb0 x00", "1", "CS"},
    {"a pb0 1 x00", "1", "CS"},
    {"b pb0 1 x00", "1", "CS"},
    {"c pb0 0 x00", "1", "CS"},
    {"d pb0 0 x00", "1", "CS"},
    {"e pb0 0 1 x00", "1", "CS"},
    {"f pb0 0 1 x00", "1", "CS"},
    {"10 100", "1", "CS"},
    {"11 pb0 100", "1", "CS"},
    {"12 1", "1", "CS"},
    {"13 1", "1", "CS"},
    {"14 0", "1", "CS"},
    {"15 pb0 0", "1", "CS"},
    {"16 0", "1", "CS"},
    {"17 0", "1", "CS"},
    {"18 1 0 x04 x01020304 *16", "1", "CS"},
    {"19 1", "1", "CS"},
    {"1a x0102030405060708", "1", "CS"},
    {"1b x0102030405060708", "1", "CS"},
    {"1e", "1", "S"},
    {"1f", "1", "CS"},
    {"af 0 1 3e8 1", "1", "CS"},
    {"1d 0 0", "", "CS"}, /* where it may stand it closes: see the closes below */
};

const unsigned attack_cross_count = sizeof attack_cross / sizeof *attack_cross;
