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

void kq_unhang(kqueue_selector *k, uint32_t index) {
    registration *r = &k->common.all.at[index];
    if (!(r->state & HUNG))
        return;
    set_due(k, r, false);
    r->state &= (uint8_t)~HUNG;
    uint32_t i = 0;
    while (k->hung[i].index != index)
        i++;
    k->hung[i] = k->hung[--k->hung_count];
}

int kq_hang(kqueue_selector *k, uint32_t index, bool due) {
    registration *r = &k->common.all.at[index];
    struct stat status;
    if (!(r->state & HUNG)) {
        if (fstat(r->fd, &status) < 0)
            return -errno;
        if (grow((void **)&k->hung, &k->hung_room, k->hung_count + 1, sizeof *k->hung) < 0)
            return -ENOMEM;
        k->hung[k->hung_count++] = (hung_up){index, status.st_dev, status.st_ino};
        r->state |= HUNG;
        r->state &= (uint8_t)~ON_WRITE;
    }
    set_due(k, r, due);
    return due ? kq_ring(k) : 0;
}

static bool is_same_file(const hung_up *h, int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_dev == h->device && status.st_ino == h->inode;
}

bool kq_is_same_pipe(const kqueue_selector *k, uint32_t index) {
    uint32_t i = 0;
    while (k->hung[i].index != index)
        i++;
    return is_same_file(&k->hung[i], k->common.all.at[index].fd);
}

/* A FIFO may have a new reader: then its knote goes back to the kernel. */
int kq_look_again(kqueue_selector *k) {
    selector *s = &k->common;
    for (uint32_t i = k->hung_count; i-- > 0;) {
        uint32_t index = k->hung[i].index;
        registration *r = &s->all.at[index];
        struct kevent add = change_for(s, index, ON_WRITE, flags_for(r, ON_WRITE)),
                      delete = change_for(s, index, ON_WRITE, EV_DELETE);
        if (!is_same_file(&k->hung[i], r->fd)) {
            kq_unhang(k, index);
            r->state |= STALE;
        } else if (!(r->state & DISARMED) && apply(s, &add, 1) == 0) {
            kq_unhang(k, index);
            r->state |= ON_WRITE;
        } else if (!(r->state & DISARMED)) {
            apply(s, &delete, 1); /* macOS adds it all the same: see add_one */
        }
    }
    return k->due ? kq_ring(k) : 0;
}

/* Reports hung-up pipes in `places` places of the batch. */
void kq_put_hung(kqueue_selector *k, room *b, int places) {
    uint32_t count = k->hung_count;
    for (uint32_t turn = 0; turn < count && places > 0; turn++) {
        uint32_t index = k->hung[(k->hung_next + turn) % count].index;
        registration *r = &k->common.all.at[index];
        if (!(r->state & DUE))
            continue;
        if (--places == 0)
            k->hung_next = (k->hung_next + turn + 1) % count;
        kq_put(&k->common, b, r, READY_WRITABLE | READY_WRITE_CLOSED);
        if (r->trigger)
            set_due(k, r, false);
    }
}
