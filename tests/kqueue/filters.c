/* The filters by their numbers, and those of descriptors and of the program itself: READ, WRITE and
 * USER, after FreeBSD's filterops of the same names. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>

/* FreeBSD numbers its errors otherwise, but a caller on Linux compares with Linux's errno.h. */
static void show(struct knote *kn) {
    kn->event.flags &= (unsigned short)~EV_EOF;
    kn->event.flags |= kn->seen.eof ? EV_EOF : 0;
    kn->event.flags |= kn->seen.last ? EV_ONESHOT : 0;
    kn->event.fflags = kn->seen.eof ? (unsigned int)kn->seen.error : 0;
    kn->event.data = kn->seen.data;
}

static bool descriptor_event(struct knote *kn) {
    int64_t lowat = kn->sfflags & NOTE_LOWAT ? kn->sdata : 0;
    kn->seen = descriptor_look(&kn->descriptor, lowat);
    show(kn);
    return kn->seen.ready;
}

static bool descriptor_notified(struct knote *kn) {
    struct condition was = kn->seen;
    descriptor_event(kn);
    return descriptor_is_news(&was, &kn->seen);
}

/* /dev/tty by that name, whatever it leads to. */
static bool is_refused(const struct knote *kn) {
    return kernel_has(EINVAL_OF_DEVICE) && !(kn->sfflags & NOTE_LOWAT) &&
           descriptor_is_dev_tty((int)kn->event.ident);
}

static int read_attach(struct knote *kn) {
    if (is_refused(kn))
        return EINVAL;
    return descriptor_attach(&kn->descriptor, (int)kn->event.ident, false, kn->kq->fd, kn->serial);
}

static int write_attach(struct knote *kn) {
    if (is_refused(kn))
        return EINVAL;
    return descriptor_attach(&kn->descriptor, (int)kn->event.ident, true, kn->kq->writers,
                             kn->serial);
}

static void rw_detach(struct knote *kn) {
    descriptor_detach(&kn->descriptor);
}

static int user_attach(struct knote *kn) {
    kn->triggered = false; /* recorded: "EVFILT_USER", ADD with NOTE_TRIGGER at once */
    return 0;
}

static bool user_event(struct knote *kn) {
    return kn->triggered;
}

static int user_touch(struct knote *kn, const struct kevent *change) {
    unsigned int flags = change->fflags & NOTE_FFLAGSMASK;
    switch (change->fflags & NOTE_FFCTRLMASK) {
    case NOTE_FFAND:
        kn->sfflags &= flags;
        break;
    case NOTE_FFOR:
        kn->sfflags |= flags;
        break;
    case NOTE_FFCOPY:
        kn->sfflags = flags;
        break;
    }
    kn->sdata = change->data;
    if (change->fflags & NOTE_TRIGGER)
        kn->triggered = true;
    if (change->flags & EV_CLEAR)
        kn->triggered = false;
    return 0;
}

static void user_deliver(struct knote *kn, struct kevent *out) {
    /* NOTE_FFLAGSMASK is 24 bits: an fflags of 0x1000000 is the trigger, never shown. */
    out->fflags = kn->sfflags & NOTE_FFLAGSMASK;
    out->data = kn->sdata;
    if (kn->event.flags & EV_CLEAR)
        kn->triggered = false;
}

static const struct filter read_filter = {
    .is_descriptor = true,
    .attach = read_attach,
    .detach = rw_detach,
    .event = descriptor_event,
    .notified = descriptor_notified,
};

static const struct filter write_filter = {
    .is_descriptor = true,
    .attach = write_attach,
    .detach = rw_detach,
    .event = descriptor_event,
    .notified = descriptor_notified,
};

static const struct filter user_filter = {
    .attach = user_attach,
    .event = user_event,
    .touch = user_touch,
    .deliver = user_deliver,
};

const struct filter *filter_find(int filter) {
    switch (filter) {
    case EVFILT_READ:
        return &read_filter;
    case EVFILT_WRITE:
        return &write_filter;
    case EVFILT_VNODE:
        return &vnode_filter;
    case EVFILT_PROC:
        return &process_filter;
    case EVFILT_SIGNAL:
        return &signal_filter;
    case EVFILT_TIMER:
        return &timer_filter;
    case EVFILT_EXCEPT:
        return kernel_has(EXCEPT) ? &except_filter : NULL;
    case EVFILT_USER:
        return kernel_has(NO_USER) ? NULL : &user_filter;
    default:
        return NULL;
    }
}
