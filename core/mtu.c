/* mtu.c -- see mtu.h. */
#include "core/mtu.h"
#include "core/num.h"
#include <assert.h>

enum {
    SECOND_US = 1000000,
    GAIN = 64 /* RFC 8899 §5.3.2: less than a 64th more is not worth a probe */
};

/* UDP payload of links that there are: 1,280 bytes of IPv6 and IPv4, WireGuard's 1,420, PPPoE's
 * 1,492, Ethernet's 1,500, jumbo frames of 9,000. */
static const uint16_t common[] = {1232, 1252, 1372, 1392, 1444, 1452, 1472, 8952, 8972};

static uint32_t seconds(uint64_t now)
{
    return (uint32_t)(now / SECOND_US);
}

static unsigned distance(unsigned a, unsigned b)
{
    return a < b ? b - a : a - b;
}

/* Between what passes and what does not: the common size nearest to the middle, or the middle; 0:
 * neither is worth it. */
static uint16_t search_between(const struct mtu *m)
{
    unsigned gap = m->above - (unsigned)m->size, middle = m->size + gap / 2, best = 0;
    for (unsigned i = 0; i < sizeof common / sizeof *common; i++) {
        if (common[i] > m->size && common[i] < m->above
            && (!best || distance(common[i], middle) < distance(best, middle)))
            best = common[i];
    }
    if (!best && gap > m->size / (unsigned)GAIN)
        best = middle;
    return (uint16_t)best;
}

/* What is to be tried next, 0: the search is over. */
static uint16_t search_size(const struct mtu *m)
{
    enum {
        ETHERNET = 1452 /* by IPv6, and so by both */
    };
    if (m->above <= m->max)
        return search_between(m);
    if (m->size < ETHERNET && m->max > ETHERNET)
        return ETHERNET;
    return m->size < m->max ? m->max : 0;
}

static void search_on(struct mtu *m, uint64_t now)
{
    m->probes = 0;
    m->state = MTU_STATE_SEARCHING;
    if (search_size(m))
        return;
    m->state = MTU_STATE_COMPLETE;
    m->complete_s = seconds(now);
}

static void no_silence(struct mtu *m)
{
    m->silent = UINT16_MAX;
    m->silent_reports = 0;
}

void mtu_init(struct mtu *m, uint16_t size, uint16_t max)
{
    assert(size >= MTU_BASE && size <= max && max < UINT16_MAX);
    *m = (struct mtu){.size = size, .max = max, .above = (uint16_t)(max + 1)};
    no_silence(m);
    search_on(m, 0);
}

void mtu_limit(struct mtu *m, uint16_t max, uint64_t now)
{
    assert(max >= MTU_BASE);
    if (max >= m->max)
        return;
    m->max = max;
    m->above = m->above < max + 1 ? m->above : (uint16_t)(max + 1);
    m->size = m->size < max ? m->size : max;
    if (m->state == MTU_STATE_SEARCHING)
        search_on(m, now);
}

uint16_t mtu_next(const struct mtu *m, uint64_t raise_us, uint64_t now)
{
    if (m->probed)
        return 0; /* RFC 8899 §8: probes are a round trip apart */
    switch ((enum mtu_state)m->state) {
    case MTU_STATE_BASE: return MTU_BASE;
    case MTU_STATE_SEARCHING: return search_size(m);
    case MTU_STATE_COMPLETE:
        /* RFC 8899 §5.1.1: PMTU_RAISE_TIMER */
        if (raise_us && m->size < m->max
            && (uint32_t)(seconds(now) - m->complete_s) >= max_u64(raise_us / SECOND_US, 1)) {
            struct mtu anew = *m;
            anew.above = (uint16_t)(m->max + 1);
            return search_size(&anew);
        }
        return 0;
    case MTU_STATE_ERROR: return 0; /* a path validation goes on meanwhile */
    }
    return 0;
}

void mtu_probed(struct mtu *m, uint16_t size)
{
    assert(size >= MTU_BASE && size <= m->max && !m->probed);
    if (m->state == MTU_STATE_COMPLETE) {
        m->state = MTU_STATE_SEARCHING;
        m->above = (uint16_t)(m->max + 1);
        m->probes = 0;
        m->hole = false;
    }
    m->probed = size;
}

void mtu_wished(struct mtu *m, uint16_t size)
{
    assert(size >= MTU_BASE && size <= m->max && !m->probed);
    m->probed = size;
}

void mtu_forget(struct mtu *m)
{
    m->probed = 0;
}

void mtu_on_base(struct mtu *m, uint64_t now)
{
    if (m->state != MTU_STATE_BASE && m->state != MTU_STATE_ERROR)
        return;
    m->probed = 0;
    search_on(m, now);
}

static void probe_lost(struct mtu *m, uint16_t size, uint64_t now)
{
    /* RFC 8899 §5.1.2: a lost probe alone may be chance. */
    if (++m->probes < MTU_PROBES)
        return;
    m->probes = 0;
    if (m->state == MTU_STATE_BASE) {
        m->state = MTU_STATE_ERROR; /* RFC 8899 §5.2 */
        return;
    }
    m->above = size;
    search_on(m, now);
}

/* Whether a probe is of the search; else somebody wished for it. */
static bool is_searched(const struct mtu *m, uint16_t size)
{
    return m->state == MTU_STATE_BASE ? size == MTU_BASE
                                      : m->state == MTU_STATE_SEARCHING && size == search_size(m);
}

void mtu_on_probe(struct mtu *m, uint16_t size, bool lost, uint64_t now)
{
    if (!m->probed || size != m->probed)
        return;
    m->probed = 0;
    if (lost) {
        if (is_searched(m, size))
            probe_lost(m, size, now);
    } else if (m->state == MTU_STATE_BASE || m->state == MTU_STATE_ERROR) {
        mtu_on_base(m, now);
    } else if (size > m->size) {
        m->size = size; /* RFC 8899 §5.2 */
        if (m->above <= size)
            m->above = (uint16_t)(m->max + 1);
        no_silence(m);
        if (m->state == MTU_STATE_SEARCHING)
            search_on(m, now);
    }
}

/* RFC 8899 §5.2: back to BASE, which is confirmed before a larger size is tried. */
static void black_hole(struct mtu *m)
{
    /* RFC 8899 §5.3.3: the size is tried again, since the losses may have been chance; but where
     * that ended as before it is left alone until the search begins anew by time. */
    m->above = m->hole ? m->size : (uint16_t)(m->max + 1);
    m->hole = true;
    m->size = MTU_BASE;
    m->state = MTU_STATE_BASE;
    m->probed = m->probes = 0;
    no_silence(m);
}

void mtu_on_report(struct mtu *m, uint16_t acked, uint16_t lost, uint64_t now)
{
    if (acked >= MTU_BASE)
        mtu_on_base(m, now);
    if (acked >= m->silent)
        no_silence(m);
    /* What is larger was sent before the last black hole. */
    if (lost <= MTU_BASE || lost <= acked || lost > m->size)
        return;
    m->silent = lost < m->silent ? lost : m->silent;
    if (++m->silent_reports >= MTU_HOLE_REPORTS)
        black_hole(m);
}
