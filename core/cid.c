/* cid.c -- see cid.h. RFC 9000 §5.1, §10.3, §19.15, §19.16. */
#include "core/cid.h"
#include <assert.h>
#include <string.h>

void cid_key_init(struct cid_key *key, const uint8_t secret[32])
{
    uint8_t raw[32];
    prim_hmac(secret, 32, (const uint8_t *)"antq cid", 8, raw);
    prim_block_init(&key->block, raw);
    prim_hmac(secret, 32, (const uint8_t *)"antq reset", 10, raw);
    prim_block_init(&key->reset, raw);
    prim_wipe(raw, sizeof raw);
    key->size = CID_SIZE;
    key->block_at = 0;
    key->lb.mode = AQ_LB_OFF;
}

void cid_key_layout(struct cid_key *key, uint8_t size, const struct aq_lb_config *lb)
{
    lb_init(&key->lb, lb);
    key->size = size;
    key->block_at = lb->mode == AQ_LB_OFF ? 0 : (uint8_t)(1 + lb->server_id_size);
    assert(key->block_at + CID_SIZE <= size && size <= CID_MAX);
}

/* One Feistel round: half ^= AES(other half, round). */
static void cid_round(const struct cid_key *key, uint8_t *half, const uint8_t *other, uint8_t round)
{
    uint8_t block[16] = {other[0], other[1], other[2], other[3], round}, out[16];
    prim_block_encrypt(&key->block, block, out);
    for (unsigned i = 0; i < 4; i++)
        half[i] ^= out[i];
}

/* What is not the plain layout of 8 bytes: the block moves to its place, bytes drawn from it fill
 * the id up, and the load balancer's part comes around it. Two ids of a connection have nothing in
 * common that who has no key could see (draft-ietf-quic-load-balancers §5.4). */
static void cid_extend(const struct cid_key *key, struct cid *cid)
{
    uint8_t block[16] = {0}, out[16];
    unsigned more = (unsigned)(key->size - key->block_at - CID_SIZE);
    memcpy(block, cid->bytes, CID_SIZE);
    block[15] = 0xff; /* no round's number */
    prim_block_encrypt(&key->block, block, out);
    cid->size = key->size;
    memcpy(cid->bytes + key->block_at, block, CID_SIZE);
    memcpy(cid->bytes + key->block_at + CID_SIZE, out, more);
    if (key->lb.mode != AQ_LB_OFF)
        lb_wrap(&key->lb, cid->bytes, cid->size);
}

void cid_from_chance(const struct cid_key *key, const uint8_t chance[CID_SIZE], struct cid *cid)
{
    cid->size = CID_SIZE;
    memcpy(cid->bytes, chance, CID_SIZE);
    if (key->size != CID_SIZE)
        cid_extend(key, cid);
}

void cid_encode(const struct cid_key *key, const struct cid_fields *f, struct cid *cid)
{
    uint64_t v = (uint64_t)(f->epoch & 0xfff) << 52 | (uint64_t)(f->worker & 0x3f) << 46
                 | (uint64_t)(f->slot & 0xfffff) << 26 | (uint64_t)(f->generation & 0x3fff) << 12
                 | (f->seq & 0xfff);
    cid->size = CID_SIZE;
    for (unsigned i = 0; i < 8; i++)
        cid->bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    for (uint8_t round = 1; round <= 4; round++)
        cid_round(key, cid->bytes + (round & 1 ? 4 : 0), cid->bytes + (round & 1 ? 0 : 4), round);
    if (key->size != CID_SIZE)
        cid_extend(key, cid);
}

bool cid_decode(const struct cid_key *key, const uint8_t *bytes, struct cid_fields *f)
{
    uint8_t b[CID_SIZE], whole[CID_MAX];
    uint64_t v = 0;
    bool ours = true;
    if (key->lb.mode != AQ_LB_OFF) {
        memcpy(whole, bytes, key->size);
        ours = lb_unwrap(&key->lb, whole, key->size);
        bytes = whole + key->block_at;
    }
    memcpy(b, bytes, CID_SIZE);
    for (uint8_t round = 4; round >= 1; round--)
        cid_round(key, b + (round & 1 ? 4 : 0), b + (round & 1 ? 0 : 4), round);
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | b[i];
    *f = (struct cid_fields){.epoch = (uint16_t)(v >> 52),
                             .worker = (uint16_t)(v >> 46 & 0x3f),
                             .slot = (uint32_t)(v >> 26 & 0xfffff),
                             .generation = (uint16_t)(v >> 12 & 0x3fff),
                             .seq = (uint16_t)(v & 0xfff)};
    return ours;
}

/* RFC 9000 §10.3.2: a keyed function of the connection id, so that nothing needs to be remembered:
 * one AES block, a permutation that who has no key cannot tell from chance; for long ids two, the
 * second chained to the first, which says the size. */
void cid_reset_token(const struct cid_key *key, const struct cid *cid,
                     uint8_t token[RESET_TOKEN_SIZE])
{
    uint8_t block[16] = {cid->size};
    unsigned first = cid->size < sizeof block ? cid->size : sizeof block - 1;
    static_assert(RESET_TOKEN_SIZE == sizeof block, "a token is a block");
    memcpy(block + 1, cid->bytes, first);
    prim_block_encrypt(&key->reset, block, token);
    if (first == cid->size)
        return;
    memcpy(block, token, sizeof block);
    for (unsigned i = first; i < cid->size; i++)
        block[i - first] ^= cid->bytes[i];
    prim_block_encrypt(&key->reset, block, token);
}

/* ---- ours ---- */

void cid_local_init(struct cid_local *l)
{
    *l = (struct cid_local){.next = 1, .count = 1, .limit = 1};
}

void cid_local_preferred(struct cid_local *l)
{
    assert(l->next <= 2);
    if (l->next == 1) /* a server writes its parameters more than once */
        l->active[l->count++] = l->next++;
}

/* The place of a number in active, count: it is retired, or never was. */
static unsigned cid_local_at(const struct cid_local *l, uint64_t seq)
{
    unsigned i = 0;
    while (i < l->count && l->active[i] != seq)
        i++;
    return i;
}

static void cid_local_issue(struct cid_local *l)
{
    /* No number is used twice: a repeated id would repeat its reset token. */
    while (l->count < l->limit && l->next < CID_SEQ_LIMIT) {
        l->due |= (uint16_t)(1U << l->count);
        l->active[l->count++] = l->next++;
    }
}

void cid_local_open(struct cid_local *l, uint64_t peer_limit)
{
    l->limit = (uint8_t)(peer_limit < CIDS_MAX ? peer_limit : CIDS_MAX);
    cid_local_issue(l);
}

bool cid_local_is_active(const struct cid_local *l, uint64_t seq)
{
    return cid_local_at(l, seq) < l->count;
}

int cid_local_retire(struct cid_local *l, uint64_t seq, uint64_t used_seq)
{
    unsigned at = cid_local_at(l, seq);
    if (seq >= l->next) /* RFC 9000 §19.16: greater than any sent */
        return AQ_PROTOCOL_VIOLATION;
    if (seq == used_seq) /* RFC 9000 §19.16: the id the packet itself came on */
        return AQ_PROTOCOL_VIOLATION;
    if (at == l->count)
        return AQ_OK;
    unsigned below = (1U << at) - 1;
    l->count--;
    memmove(l->active + at, l->active + at + 1, (l->count - at) * sizeof l->active[0]);
    l->due = (uint16_t)((l->due & below) | (l->due >> 1 & ~below));
    cid_local_issue(l);
    return AQ_OK;
}

bool cid_local_next(const struct cid_local *l, uint16_t *seq)
{
    if (!l->due)
        return false;
    *seq = l->active[__builtin_ctz(l->due)];
    return true;
}

void cid_local_told(struct cid_local *l, uint16_t seq)
{
    l->due &= (uint16_t) ~(1U << cid_local_at(l, seq));
}

void cid_local_lost(struct cid_local *l, uint64_t seq)
{
    unsigned at = cid_local_at(l, seq);
    if (at < l->count)
        l->due |= (uint16_t)(1U << at);
}

/* ---- the peer's ---- */

void cid_peer_init(struct cid_peer *p, const struct cid *first, uint8_t limit, struct quota *quota)
{
    memset(p, 0, sizeof *p);
    p->v[0].used = p->v[0].taken = true;
    p->v[0].cid = *first;
    p->limit = limit;
    p->quota = quota;
}

enum {
    RETIRE_MORE = (CID_RETIRE_MAX - CID_RETIRE_FIRST) * sizeof(uint32_t)
};

void cid_peer_clear(struct cid_peer *p)
{
    if (!p->more)
        return;
    quota_give(p->quota, p->more->retire, RETIRE_MORE);
    quota_give(p->quota, p->more, sizeof *p->more);
    p->more = NULL;
}

static unsigned entries(const struct cid_peer *p)
{
    return p->more ? CIDS_MAX : CIDS_FIRST;
}

static struct cid_remote *entry_at(struct cid_peer *p, unsigned i)
{
    return i < CIDS_FIRST ? &p->v[i] : &p->more->v[i - CIDS_FIRST];
}

void cid_peer_replace_first(struct cid_peer *p, const struct cid *cid)
{
    assert(p->v[0].used && cid_remote_seq(&p->v[0]) == 0);
    p->v[0].cid = *cid;
}

void cid_peer_set_token(struct cid_peer *p, const uint8_t token[RESET_TOKEN_SIZE])
{
    struct cid_remote *first = &p->v[0]; /* number 0, as long as it is in use, lies there */
    if (first->used && cid_remote_seq(first) == 0) {
        memcpy(first->token, token, RESET_TOKEN_SIZE);
        first->has_token = true;
    }
}

enum {
    GONE_BITS = 64
};

/* Whether the number was retired: its frame comes a second time, or late. What is too far back to
 * know is taken for retired. */
static bool cid_peer_is_gone(const struct cid_peer *p, uint64_t seq)
{
    if (seq >= p->gone_next)
        return false;
    return p->gone_next - 1 - seq >= GONE_BITS || (p->gone >> (p->gone_next - 1 - seq) & 1);
}

static void cid_peer_note_gone(struct cid_peer *p, uint32_t seq)
{
    if (seq >= p->gone_next) {
        uint32_t up = seq + 1 - p->gone_next;
        p->gone = up < GONE_BITS ? p->gone << up : 0;
        p->gone_next = seq + 1;
    }
    if (p->gone_next - 1 - seq < GONE_BITS)
        p->gone |= UINT64_C(1) << (p->gone_next - 1 - seq);
}

/* The i-th that waits. They are more than a few only where more than a few ids are held. */
static uint32_t *retire_at(struct cid_peer *p, unsigned i)
{
    return i < CID_RETIRE_FIRST ? &p->retire[i] : &p->more->retire[i - CID_RETIRE_FIRST];
}

/* Whether one more may wait. More than a few need a block; without one the few must suffice. */
static bool retire_room(struct cid_peer *p)
{
    unsigned waiting = p->retire_count + p->retire_flight;
    if (waiting < CID_RETIRE_FIRST)
        return true;
    if (!p->more || waiting >= CID_RETIRE_MAX)
        return false;
    if (!p->more->retire)
        p->more->retire = quota_take(p->quota, RETIRE_MORE);
    return p->more->retire;
}

/* SECURITY.md row 4: retirements waiting are bounded; beyond that the peer is storming. */
static int cid_peer_push_retire(struct cid_peer *p, uint32_t seq)
{
    if (!retire_room(p))
        return AQ_CONNECTION_ID_LIMIT_ERROR;
    *retire_at(p, p->retire_count++) = seq;
    cid_peer_note_gone(p, seq);
    return AQ_OK;
}

static int cid_peer_retire_below(struct cid_peer *p, uint32_t seq)
{
    for (unsigned i = 0; i < entries(p); i++) {
        struct cid_remote *r = entry_at(p, i);
        if (!r->used || cid_remote_seq(r) >= seq)
            continue;
        if (cid_peer_push_retire(p, cid_remote_seq(r)) != AQ_OK)
            return AQ_CONNECTION_ID_LIMIT_ERROR;
        r->used = false;
    }
    /* In place of the active path's id: one that no path has used, or, at worst, another path's,
     * which that path then has to do without. */
    for (unsigned taken = 0; !cid_peer_entry(p)->used && taken < 2; taken++) {
        for (unsigned i = 0; !cid_peer_entry(p)->used && i < entries(p); i++) {
            if (entry_at(p, i)->used && entry_at(p, i)->taken == taken)
                p->active = (uint8_t)i;
        }
    }
    assert(cid_peer_entry(p)->used);
    return AQ_OK;
}

/* A place for one more id: a free one, one more block's, or, when all are taken, that of an id that
 * the same frame retires. AQ_OK, AQ_FULL, or CONNECTION_ID_LIMIT_ERROR. */
static int cid_peer_place(struct cid_peer *p, uint32_t retire_prior_to, struct cid_remote **place)
{
    for (unsigned i = 0; i < entries(p); i++) {
        *place = entry_at(p, i);
        if (!(*place)->used)
            return AQ_OK;
    }
    for (unsigned i = 0; i < entries(p); i++) {
        *place = entry_at(p, i);
        if (cid_remote_seq(*place) < retire_prior_to)
            return cid_peer_push_retire(p, cid_remote_seq(*place));
    }
    assert(!p->more && p->limit > CIDS_FIRST);
    static_assert(sizeof *p->more <= ARENA_BLOCK, "the smallest block");
    p->more = quota_take(p->quota, sizeof *p->more);
    if (!p->more)
        return AQ_FULL;
    memset(p->more, 0, sizeof *p->more);
    *place = &p->more->v[0];
    return AQ_OK;
}

int cid_peer_add(struct cid_peer *p, uint64_t seq, uint64_t retire_prior_to, const struct cid *cid,
                 const uint8_t *token)
{
    struct cid_remote *place;
    unsigned count = 0;
    if (cid_peer_active(p)->size == 0) /* RFC 9000 §19.15: to one who asked for zero-length ids */
        return AQ_PROTOCOL_VIOLATION;
    if (seq > UINT32_MAX) /* RFC 9000 §5.1.1: each number is the last one's plus 1 */
        return AQ_PROTOCOL_VIOLATION;
    assert(retire_prior_to <= seq); /* RFC 9000 §19.15: frame.c sees to it */
    for (unsigned i = 0; i < entries(p); i++) {
        const struct cid_remote *r = entry_at(p, i);
        if (!r->used)
            continue;
        bool same_id = cid_equal(&r->cid, cid);
        if (cid_remote_seq(r) == seq && same_id
            && (!r->has_token || memcmp(r->token, token, RESET_TOKEN_SIZE) == 0))
            return AQ_OK; /* a repetition */
        if (cid_remote_seq(r) == seq
            || same_id) /* RFC 9000 §19.15: one number, one id, one token */
            return AQ_PROTOCOL_VIOLATION;
        count += cid_remote_seq(r) >= retire_prior_to;
    }
    if (cid_peer_is_gone(p, seq)) /* it was told, or is being told */
        return AQ_OK;
    if (seq < p->retire_prior_to) /* RFC 9000 §19.15: late: retire it at once */
        return cid_peer_push_retire(p, (uint32_t)seq);
    if (count + 1 > p->limit) /* RFC 9000 §5.1.1: after retiring, no more than the limit */
        return AQ_CONNECTION_ID_LIMIT_ERROR;
    int error = cid_peer_place(p, (uint32_t)retire_prior_to, &place);
    if (error != AQ_OK)
        return error;
    *place = (struct cid_remote){.seq_high = (uint16_t)(seq >> 16),
                                 .seq_low = (uint16_t)seq,
                                 .cid = *cid,
                                 .has_token = true,
                                 .used = true};
    memcpy(place->token, token, RESET_TOKEN_SIZE);
    if (retire_prior_to > p->retire_prior_to) {
        p->retire_prior_to = (uint32_t)retire_prior_to;
        error = cid_peer_retire_below(p, p->retire_prior_to);
    }
    entry_at(p, p->active)->taken = true;
    return error;
}

const struct cid_remote *cid_peer_find(const struct cid_peer *p, uint32_t seq)
{
    for (unsigned i = 0; i < entries(p); i++) {
        const struct cid_remote *r = i < CIDS_FIRST ? &p->v[i] : &p->more->v[i - CIDS_FIRST];
        if (r->used && cid_remote_seq(r) == seq)
            return r;
    }
    return NULL;
}

bool cid_peer_has_spare(const struct cid_peer *p)
{
    for (unsigned i = 0; i < entries(p); i++) {
        const struct cid_remote *r = i < CIDS_FIRST ? &p->v[i] : &p->more->v[i - CIDS_FIRST];
        if (r->used && !r->taken)
            return true;
    }
    return false;
}

bool cid_peer_take(struct cid_peer *p, uint32_t *seq)
{
    struct cid_remote *best = NULL;
    for (unsigned i = 0; i < entries(p); i++) {
        struct cid_remote *r = entry_at(p, i);
        if (r->used && !r->taken && (!best || cid_remote_seq(r) < cid_remote_seq(best)))
            best = r;
    }
    if (!best)
        return false;
    best->taken = true;
    *seq = cid_remote_seq(best);
    return true;
}

void cid_peer_use(struct cid_peer *p, uint32_t seq)
{
    for (unsigned i = 0; i < entries(p); i++) {
        if (entry_at(p, i)->used && cid_remote_seq(entry_at(p, i)) == seq)
            p->active = (uint8_t)i;
    }
    assert(cid_remote_seq(cid_peer_entry(p)) == seq && cid_peer_entry(p)->taken);
}

void cid_peer_let(struct cid_peer *p, const uint32_t *keep, unsigned count)
{
    for (unsigned i = 0; i < entries(p); i++) {
        struct cid_remote *r = entry_at(p, i);
        bool kept = !r->used || !r->taken || i == p->active;
        for (unsigned j = 0; j < count; j++)
            kept |= cid_remote_seq(r) == keep[j];
        if (!kept && cid_peer_push_retire(p, cid_remote_seq(r)) == AQ_OK)
            r->used = false;
    }
}

bool cid_peer_is_reset(const struct cid_peer *p, const uint8_t tail[RESET_TOKEN_SIZE])
{
    /* RFC 9000 §10.3.1: never the token of an id not used yet, or retired. All are compared, so
     * that the time tells nothing. */
    bool is_reset = false;
    for (unsigned i = 0; i < entries(p); i++) {
        const struct cid_remote *r = i < CIDS_FIRST ? &p->v[i] : &p->more->v[i - CIDS_FIRST];
        is_reset |=
            r->used && r->taken && r->has_token & prim_equal(r->token, tail, RESET_TOKEN_SIZE);
    }
    return is_reset;
}

bool cid_peer_next_retire(const struct cid_peer *p, uint64_t *seq)
{
    if (!p->retire_count)
        return false;
    *seq = p->retire_count > CID_RETIRE_FIRST
               ? p->more->retire[p->retire_count - 1 - CID_RETIRE_FIRST]
               : p->retire[p->retire_count - 1];
    return true;
}

void cid_peer_retire_sent(struct cid_peer *p)
{
    assert(p->retire_count);
    p->retire_count--;
    p->retire_flight++;
}

void cid_peer_retire_acked(struct cid_peer *p)
{
    assert(p->retire_flight);
    p->retire_flight--;
    if (p->more && p->retire_count + p->retire_flight <= CID_RETIRE_FIRST) {
        quota_give(p->quota, p->more->retire, RETIRE_MORE);
        p->more->retire = NULL;
    }
}

void cid_peer_retire_lost(struct cid_peer *p, uint64_t seq)
{
    assert(p->retire_flight);
    p->retire_flight--;
    *retire_at(p, p->retire_count++) = (uint32_t)seq;
}
