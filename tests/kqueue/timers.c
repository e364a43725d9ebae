/* EVFILT_TIMER: a timerfd for each, which counts its expirations until they are read. A relative
 * timer runs on the monotonic clock, an absolute one on real time, as FreeBSD's do. */
#define _GNU_SOURCE 1
#include "knote.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

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
    int clock = absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    int timer = timerfd_create(clock, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0)
        return errno;
    int error = timerfd_settime(timer, absolute ? TFD_TIMER_ABSTIME : 0, &its, NULL) < 0
                    ? errno
                    : knote_listen(kn, timer);
    if (error) {
        close(timer);
        return error;
    }
    knote_close_source(kn);
    kn->source = timer;
    kn->event.data = 0;
    kn->active = false; /* an expiration of the earlier timer is forgotten */
    return 0;
}

static int timer_attach(struct knote *kn) {
    if (!(kn->sfflags & NOTE_ABSTIME))
        kn->event.flags |= EV_CLEAR;
    return timer_start(kn);
}

static bool timer_event(struct knote *kn) {
    uint64_t expirations;
    if (read(kn->source, &expirations, sizeof(expirations)) == sizeof(expirations))
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

const struct filter timer_filter = {
    .attach = timer_attach,
    .release = knote_close_source,
    .event = timer_event,
    .touch = timer_touch,
};
