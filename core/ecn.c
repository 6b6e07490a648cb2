/* ecn.c -- validation of ECN, path by path (RFC 9000 §13.4.2, A.4). Called by send.c and bulk.c
 * (marks), records.c (losses) and apply.c (counts). */
#include "core/ecn.h"

void ecn_init(struct ecn *ecn, bool wanted)
{
    *ecn = (struct ecn){.state = wanted ? ECN_TESTING : ECN_OFF};
}

unsigned ecn_may_mark(const struct ecn *ecn, unsigned n)
{
    if (!ecn_marks(ecn))
        return 0;
    unsigned left = ECN_TEST_PACKETS - ecn->tested;
    return ecn->state == ECN_CAPABLE || n < left ? n : left;
}

void ecn_on_sent(struct ecn *ecn, struct ecn_counts *counts, unsigned n, unsigned mute)
{
    counts->sent += n;
    if (ecn->state != ECN_TESTING)
        return;
    ecn->tested = (uint8_t)(ecn->tested + n);
    ecn->tested_mute = (ecn->tested_mute + mute) & 127;
    if (ecn->tested >= ECN_TEST_PACKETS)
        ecn->state = ECN_UNKNOWN;
}

/* RFC 9000 §13.4.2: when all marked packets are lost it may be the marks that somebody drops. */
void ecn_on_lost(struct ecn *ecn)
{
    if (ecn->any_acked || ecn->state == ECN_OFF || ecn->state == ECN_FAILED)
        return;
    if (ecn->tested_lost < UINT8_MAX)
        ecn->tested_lost++;
    if (ecn->state == ECN_UNKNOWN && ecn->tested_lost >= ecn->tested - ecn->tested_mute)
        ecn->state = ECN_FAILED;
}

/* The marks may be why nothing arrives: what goes now goes without. Should one of the packets so
 * far be acknowledged after all, marks are used. */
void ecn_on_pto(struct ecn *ecn)
{
    if (ecn->state == ECN_TESTING && ecn->tested && !ecn->any_acked)
        ecn->state = ECN_UNKNOWN;
}

/* RFC 9000 §13.4.2.1: what an ACK reports against what was reported before it. */
static bool counts_fit(const struct ecn_counts *before, const struct frame_ack *ack,
                       uint64_t marked)
{
    if (!ack->has_ecn)
        return marked == 0;
    if (ack->ect0 < before->ect0 || ack->ce < before->ce)
        return false; /* counts never shrink */
    if (ack->ect1 > 0 || ack->ect0 > before->sent || ack->ce > before->sent)
        return false; /* marks that we never set */
    return ack->ect0 - before->ect0 + (ack->ce - before->ce) >= marked;
}

/* Whatever becomes of this path, the next one counts from here. */
static void counts_take(struct ecn_counts *counts, const struct frame_ack *ack)
{
    if (ack->has_ecn && ack->ect0 > counts->ect0)
        counts->ect0 = ack->ect0;
    if (ack->has_ecn && ack->ce > counts->ce)
        counts->ce = ack->ce;
}

/* RFC 9000 §13.4.2.2: once failed, nothing is marked any more. */
uint64_t ecn_on_ack(struct ecn *ecn, struct ecn_counts *counts, const struct frame_ack *ack,
                    uint64_t marked)
{
    const struct ecn_counts before = *counts;
    counts_take(counts, ack);
    if (ecn->state == ECN_OFF || ecn->state == ECN_FAILED)
        return 0;
    if (!counts_fit(&before, ack, marked)) {
        ecn->state = ECN_FAILED;
        return 0;
    }
    if (marked > 0)
        ecn->any_acked = true;
    if (ecn->state == ECN_UNKNOWN && ecn->any_acked) {
        /* RFC 9000 A.4: where every mark becomes CE, somebody sets it without cause. */
        bool all_ce = ack->has_ecn && ack->ect0 == 0 && ack->ce >= ECN_TEST_PACKETS;
        ecn->state = all_ce ? ECN_FAILED : ECN_CAPABLE;
    }
    return ecn->state == ECN_FAILED ? 0 : counts->ce - before.ce;
}
