/* The filters: what each asks of Linux, after FreeBSD's filterops of the same names. */
#define _GNU_SOURCE 1
#include "knote.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

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

static int read_attach(struct knote *kn) {
    return descriptor_attach(&kn->descriptor, (int)kn->event.ident, false, kn->kq->fd, kn->serial);
}

static int write_attach(struct knote *kn) {
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

/* Nanoseconds, or -1 when the change is invalid. */
static int64_t timer_period(const struct knote *kn) {
    static const unsigned int units = NOTE_SECONDS | NOTE_MSECONDS | NOTE_USECONDS | NOTE_NSECONDS;
    int64_t period = kn->sdata, unit;
    switch (kn->sfflags & units) {
    case NOTE_SECONDS:
        unit = 1000000000;
        break;
    case NOTE_MSECONDS:
    case 0:
        unit = 1000000;
        break;
    case NOTE_USECONDS:
        unit = 1000;
        break;
    case NOTE_NSECONDS:
        unit = 1;
        break;
    default:
        return -1;
    }
    if (period < 0 || kn->sfflags & ~(units | NOTE_ABSTIME))
        return -1;
    if (period == 0 && !(kn->event.flags & EV_ONESHOT))
        period = 1; /* recorded: "EVFILT_TIMER", period 0 */
    return period > INT64_MAX / unit ? INT64_MAX : period * unit;
}

static int timer_start(struct knote *kn) {
    int64_t period = timer_period(kn);
    if (period < 0)
        return EINVAL;
    bool absolute = kn->sfflags & NOTE_ABSTIME;
    if (period == 0)
        period = 1; /* to timerfd_settime(2) zero means never */
    struct timespec ts = {.tv_sec = period / 1000000000, .tv_nsec = period % 1000000000};
    struct itimerspec its = {.it_value = ts};
    if (!absolute && !(kn->event.flags & EV_ONESHOT))
        its.it_interval = ts;
    /* Another clock needs another timerfd, under the same serial. */
    if (kn->timer >= 0)
        close(kn->timer);
    kn->timer =
        timerfd_create(absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = kn->serial};
    if (kn->timer < 0 ||
        timerfd_settime(kn->timer, absolute ? TFD_TIMER_ABSTIME : 0, &its, NULL) < 0 ||
        epoll_ctl(kn->kq->fd, EPOLL_CTL_ADD, kn->timer, &event) < 0)
        return errno;
    kn->event.data = 0;
    kn->active = false; /* an expiration of the earlier timer is forgotten */
    return 0;
}

static void timer_detach(struct knote *kn) {
    if (kn->timer >= 0)
        close(kn->timer);
    kn->timer = -1;
}

static int timer_attach(struct knote *kn) {
    if (!(kn->sfflags & NOTE_ABSTIME))
        kn->event.flags |= EV_CLEAR;
    int error = timer_start(kn);
    if (error)
        timer_detach(kn);
    return error;
}

static bool timer_event(struct knote *kn) {
    uint64_t expirations;
    if (read(kn->timer, &expirations, sizeof(expirations)) == sizeof(expirations))
        kn->event.data += (int64_t)expirations;
    return kn->event.data != 0;
}

static int timer_touch(struct knote *kn, const struct kevent *change) {
    if (!(change->flags & EV_ADD))
        return 0;
    unsigned int sfflags = kn->sfflags;
    int64_t sdata = kn->sdata;
    kn->sfflags = change->fflags;
    kn->sdata = change->data;
    int error = timer_start(kn);
    if (error) {
        kn->sfflags = sfflags;
        kn->sdata = sdata;
    }
    return error;
}

static void timer_deliver(struct knote *kn, struct kevent *out) {
    (void)out;
    if (kn->event.flags & EV_CLEAR)
        kn->event.data = 0;
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

static const struct filter timer_filter = {
    .attach = timer_attach,
    .detach = timer_detach,
    .event = timer_event,
    .touch = timer_touch,
    .deliver = timer_deliver,
};

const struct filter *filter_find(int filter) {
    switch (filter) {
    case EVFILT_READ:
        return &read_filter;
    case EVFILT_WRITE:
        return &write_filter;
    case EVFILT_TIMER:
        return &timer_filter;
    case EVFILT_USER:
        return &user_filter;
    default:
        return NULL;
    }
}
