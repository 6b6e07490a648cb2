/* hand.c -- CRYPTO streams. See hand.h; the handshake's steps are in handshake.c. */
#include "core/hand.h"

int crypto_on_data(struct crypto *c, struct quota *quota, uint64_t offset, const uint8_t *data,
                   uint64_t size)
{
    uint64_t end = offset + size;            /* frame_decode bounds it */
    if (end > c->recvq.read + CRYPTO_WINDOW) /* RFC 9000 §7.5 */
        return AQ_CRYPTO_BUFFER_EXCEEDED;
    if (offset > c->recvq.read
        && c->recvq.have.count >= CRYPTO_GAPS) /* SECURITY.md row 2: it comes again */
        return AQ_FULL;
    int error = recvq_insert(&c->recvq, quota, NULL, offset, data, (uint32_t)size, false);
    if (error == AQ_OK && end > c->recvq.highest)
        c->recvq.highest = end;
    return error;
}

const uint8_t *crypto_peek(const struct crypto *c, size_t *size)
{
    struct aq_iov iov;
    if (recvq_peek(&c->recvq, NULL, &iov, 1) == 0)
        return NULL;
    *size = iov.size;
    return iov.data;
}

void crypto_consume(struct crypto *c, struct quota *quota, size_t size)
{
    recvq_consume(&c->recvq, quota, NULL, size);
}

int crypto_write(struct crypto *c, struct quota *quota, const uint8_t *data, size_t size)
{
    struct aq_iov iov = {data, size};
    return sendq_write(&c->sendq, quota, &iov, 1, false, UINT64_MAX) == size ? AQ_OK
                                                                             : AQ_INTERNAL_ERROR;
}

void crypto_clear(struct crypto *c, struct quota *quota)
{
    sendq_clear(&c->sendq, quota);
    recvq_clear(&c->recvq, quota, NULL);
}

int late_crypto_on_data(struct late_crypto *l, uint64_t offset, const uint8_t *data, uint64_t size)
{
    enum {
        TLS_KEY_UPDATE = 24
    };
    if (offset > l->offset || offset + size <= l->offset)
        return AQ_OK;
    data += l->offset - offset;
    size -= l->offset - offset;
    l->offset += size;
    while (size) {
        if (l->message_left) {
            uint64_t n = size < l->message_left ? size : l->message_left;
            l->message_left -= (uint32_t)n;
            data += n;
            size -= n;
            continue;
        }
        uint8_t byte = *data++;
        size--;
        if (l->header_size == sizeof l->header) {
            l->message_left = (uint32_t)l->header[1] << 16 | (uint32_t)l->header[2] << 8 | byte;
            l->header_size = 0;
            continue;
        }
        l->header[l->header_size++] = byte;
        if (l->header[0] == TLS_KEY_UPDATE) /* RFC 9001 §6: unexpected_message */
            return AQ_CRYPTO_ERROR + 10;
    }
    return AQ_OK;
}
