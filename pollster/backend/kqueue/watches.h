/* What the kqueue's watches share. Each is a queue of its own inside the selector's: so it notes
 * what happens also while it is not registered, and a process is the same one from its opening
 * on, though its number be given again. */
#ifndef POLLSTER_KQUEUE_WATCHES_H
#define POLLSTER_KQUEUE_WATCHES_H
#include "common/watches.h"
#include "kqueue.h"

int kq_open_watch(watch *w);
void kq_close_watch(watch *w, bool forked);

/* One change of the watch's queue. */
int kq_change(watch *w, ident_t ident, filter_t filter, unsigned flags, unsigned fflags);

/* Takes up to `room` entries without waiting; returns how many there were. */
int kq_take(watch *w, struct kevent *told, int room);

/* Makes the queue readable until it is hushed. */
int kq_prime(watch *w);
void kq_hush_primer(watch *w);

#endif
