/* Pipes and FIFOs whose reader is gone.
 *
 * FreeBSD drops the WRITE knote of such a pipe after one event and refuses a new one (EPIPE). So
 * they stand in a list and are reported from there for as long as R3 of the design says. */
#include "kqueue.h"

static void set_due(kqueue_selector *k, registration *r, bool due) {
    if (due == !!(r->state & DUE))
        return;
    r->state ^= DUE;
    k->due += due ? 1 : (uint32_t)-1;
    if (k->due == 0)
        kq_hush(k);
}

/* fstat(2) can't tell whether a number is still the same pipe's: OpenBSD and NetBSD leave its inode
 * 0. The knote for READ can, which a close would have removed. */
bool kq_is_same_pipe(kqueue_selector *k, uint32_t index) {
    return has_knote(&k->common, index, ON_READ);
}

void kq_unhang(kqueue_selector *k, uint32_t index) {
    registration *r = &k->common.all.at[index];
    if (!(r->state & HUNG))
        return;
    set_due(k, r, false);
    r->state &= (uint16_t)~HUNG;
    uint32_t i = 0;
    while (k->hung[i] != index)
        i++;
    k->hung[i] = k->hung[--k->hung_count];
    k->common.done.hung_pipes--;
}

int kq_hang(kqueue_selector *k, uint32_t index, bool due) {
    registration *r = &k->common.all.at[index];
    if (!(r->state & HUNG)) {
        if (grow((void **)&k->hung, &k->hung_room, k->hung_count + 1, sizeof *k->hung) < 0)
            return -ENOMEM;
        k->hung[k->hung_count++] = index;
        k->common.done.hung_pipes++;
        r->state = (uint16_t)((r->state | HUNG) & ~ON_WRITE);
    }
    set_due(k, r, due);
    return due ? kq_ring(k) : 0;
}

/* A FIFO may have a new reader: then its knote goes back to the kernel. */
int kq_look_again(kqueue_selector *k) {
    selector *s = &k->common;
    for (uint32_t i = k->hung_count; i-- > 0;) {
        uint32_t index = k->hung[i];
        registration *r = &s->all.at[index];
        struct kevent add = change_for(s, index, ON_WRITE, flags_for(r, ON_WRITE)),
                      delete = change_for(s, index, ON_WRITE, EV_DELETE);
        if (!kq_is_same_pipe(k, index)) {
            kq_unhang(k, index);
            r->state |= STALE;
        } else if (!(r->state & DISARMED) && apply(s, &add, 1) == 0) {
            kq_unhang(k, index);
            r->state |= ON_WRITE;
        } else if (!(r->state & DISARMED)) {
            apply(s, &delete, 1); /* old macOS adds it all the same: see add_one */
        }
    }
    return k->due ? kq_ring(k) : 0;
}

/* What the list has to tell of a pipe whose other knote has an entry: it is told with that, so that
 * a full batch has the whole source, too (R1). */
uint32_t kq_due_of(kqueue_selector *k, registration *r) {
    if (!(r->state & DUE))
        return 0;
    if (r->trigger)
        set_due(k, r, false);
    return hung_up(r, READY_WRITABLE | READY_WRITE_CLOSED);
}

/* Reports hung-up pipes in `places` places of the batch. What is in the batch already takes none,
 * nor does what a report has disarmed. */
void kq_put_hung(kqueue_selector *k, room *b, int places) {
    uint32_t count = k->hung_count;
    for (uint32_t turn = 0; turn < count && places > 0; turn++) {
        uint32_t index = k->hung[(k->hung_next + turn) % count];
        registration *r = &k->common.all.at[index];
        if (!(r->state & DUE))
            continue;
        bool has_place = r->batch == k->common.all.batches || r->state & DISARMED;
        if (!has_place && --places == 0)
            k->hung_next = (k->hung_next + turn + 1) % count;
        kq_put(&k->common, b, r, hung_up(r, READY_WRITABLE | READY_WRITE_CLOSED));
        if (r->trigger)
            set_due(k, r, false);
    }
}

/* What HANGUP's knote says, of the direction that nobody asked about. As long as both ends are
 * there only edges come of it, and nothing is reported; once the other one is gone it is told as a
 * level is. A FIFO may get another one. */
void kq_heed(kqueue_selector *k, uint32_t index, unsigned on, bool is_gone) {
    registration *r = &k->common.all.at[index];
    if (r->trigger || is_gone == !!(r->state & LOUD))
        return;
    r->state ^= LOUD;
    kq_add_anew(&k->common, index, on);
}
