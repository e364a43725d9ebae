/* Knotes and their queue, modelled on FreeBSD's sys/kern/kern_event.c.
 *
 * A knote whose condition came true is active and stands in a first-in-first-out queue. A scan
 * takes each queued knote once, asks its filter anew, and drops it from the queue when the
 * condition no longer holds; a level-triggered one goes back to the tail. Where the kernel calls
 * knote() on activity, edges from epoll(7) do it here. */
#define _GNU_SOURCE 1
#include "knote.h"
#include "kernels.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void knote_enqueue(struct knote *kn) {
    struct kqueue *q = kn->kq;
    TAILQ_INSERT_TAIL(&q->queued, kn, pending);
    kn->queued = true;
    if (q->count++ == 0 || !kernel_has(WAKES_WHEN_EMPTY))
        q->enqueued++;
    eventfd_write(q->signal, 1);
}

static void knote_dequeue(struct knote *kn) {
    struct kqueue *q = kn->kq;
    eventfd_t writes;
    TAILQ_REMOVE(&q->queued, kn, pending);
    kn->queued = false;
    if (--q->count == 0)
        eventfd_read(q->signal, &writes);
}

static void knote_activate(struct knote *kn) {
    kn->active = true;
    if (!kn->queued && !kn->disabled)
        knote_enqueue(kn);
}

static void knote_drop(struct knote *kn) {
    if (kn->queued)
        knote_dequeue(kn);
    if (kn->filter->detach)
        kn->filter->detach(kn);
    if (kn->filter->release)
        kn->filter->release(kn);
    TAILQ_REMOVE(&kn->kq->all, kn, all);
    free(kn);
}

int knote_listen(struct knote *kn, int fd) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = kn->serial};
    return epoll_ctl(kn->kq->fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void knote_close_source(struct knote *kn) {
    if (kn->source >= 0)
        close(kn->source);
    kn->source = -1;
}

static bool knote_is_stale(const struct knote *kn) {
    return kn->filter->is_descriptor && descriptor_is_stale(&kn->descriptor);
}

static struct knote *knote_find(struct kqueue *q, uintptr_t ident, const struct filter *filter) {
    struct knote *kn;
    TAILQ_FOREACH(kn, &q->all, all) {
        if (kn->event.ident == ident && kn->filter == filter)
            break;
    }
    if (kn && knote_is_stale(kn)) {
        knote_drop(kn);
        kn = NULL;
    }
    return kn;
}

static struct knote *knote_by_serial(struct kqueue *q, uint64_t serial) {
    struct knote *kn;
    TAILQ_FOREACH(kn, &q->all, all) {
        if (kn->serial == serial)
            break;
    }
    return kn;
}

static int knote_add(struct kqueue *q, const struct filter *filter, const struct kevent *change,
                     struct knote **added) {
    struct knote *kn = calloc(1, sizeof(*kn));
    if (!kn)
        return ENOMEM;
    kn->kq = q;
    kn->filter = filter;
    kn->event = *change;
    if (!kernel_has(SHOWS_ADD))
        kn->event.flags &= (unsigned short)~(EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE);
    kn->event.fflags = 0;
    kn->event.data = 0;
    kn->sfflags = change->fflags;
    kn->sdata = change->data;
    kn->serial = next_serial();
    kn->disabled = change->flags & EV_DISABLE;
    kn->source = -1;
    int error = filter->attach(kn);
    if (error) {
        if (filter->release)
            filter->release(kn);
        free(kn);
        return error;
    }
    TAILQ_INSERT_TAIL(&q->all, kn, all);
    *added = kn;
    return 0;
}

/* A change to a knote that is none but for EV_ENABLE and EV_DISABLE. */
static bool is_kept(const struct knote *kn, const struct kevent *change) {
    return kernel_has(KEEPS_UDATA) && !(change->flags & EV_ADD) &&
           kn->filter != filter_find(EVFILT_USER);
}

static int knote_touch(struct knote *kn, const struct kevent *change) {
    if (change->flags & EV_ENABLE)
        kn->disabled = false;
    else if (change->flags & EV_DISABLE)
        kn->disabled = true;
    if (is_kept(kn, change))
        return 0;
    if (!(change->flags & EV_KEEPUDATA))
        kn->event.udata = change->udata;
    if (kn->filter->touch)
        return kn->filter->touch(kn, change);
    kn->sfflags = change->fflags;
    kn->sdata = change->data;
    return 0;
}

int knote_apply(struct kqueue *q, const struct kevent *change) {
    const struct filter *filter = filter_find(change->filter);
    int error = misbehave_change(change->filter, change->flags & EV_ADD);
    if (error)
        return error;
    if (!filter || (change->flags & EV_ADD && change->flags & EV_KEEPUDATA))
        return EINVAL;
    if (filter->is_descriptor &&
        (change->ident > INT_MAX || fcntl((int)change->ident, F_GETFD) < 0))
        return change->flags & EV_DELETE && kernel_has(ENOENT_OF_CLOSED) ? ENOENT : EBADF;
    struct knote *kn = knote_find(q, change->ident, filter);
    if (!kn && !(change->flags & EV_ADD))
        return ENOENT;
    if (kn && change->flags & EV_DELETE) {
        knote_drop(kn);
        return 0;
    }
    error = kn ? knote_touch(kn, change) : knote_add(q, filter, change, &kn);
    if (error)
        return error;
    if (is_kept(kn, change) && !(change->flags & EV_ENABLE))
        return 0;
    if (kn->queued && !kn->active)
        knote_dequeue(kn);
    /* Also a change of something else asks the filter anew: recorded: "EV_CLEAR", re-add. */
    if (!kn->disabled && (filter->event(kn) || kn->active))
        knote_activate(kn);
    return 0;
}

static bool knote_notified(struct knote *kn) {
    return kn->filter->notified ? kn->filter->notified(kn) : kn->filter->event(kn);
}

static bool knote_is_late(const struct knote *kn) {
    if (!kn->filter->is_descriptor)
        return false;
    return (kn->descriptor.kind == KIND_KQUEUE && misbehave_is_late()) ||
           (descriptor_is_of_the_network(&kn->descriptor) && misbehave_is_asynchronous());
}

/* Linux notified us. Of a queue inside this one the knote is told by knote_tell_late(), if so
 * asked: see "late" in kqueue_misbehave.h. */
static void knote_tell(struct knote *kn) {
    if (knote_is_late(kn))
        kn->late = kn->kq->late = true;
    else if (knote_notified(kn))
        knote_activate(kn);
}

void knote_tell_late(struct kqueue *q) {
    struct knote *kn;
    if (!q->late)
        return;
    q->late = false;
    TAILQ_FOREACH(kn, &q->all, all) {
        if (kn->late && !knote_is_stale(kn) && knote_notified(kn))
            knote_activate(kn);
        kn->late = false;
    }
}

/* Hands an epoll's edges to their knotes. A descriptor which was closed while a duplicate keeps its
 * file open goes on sending edges; their serial belongs to no knote any more. */
static void take_edges(struct kqueue *q, int epoll) {
    struct epoll_event events[64];
    int n;
    do {
        n = epoll_wait(epoll, events, 64, 0);
        for (int i = 0; i < n; i++) {
            struct knote *kn = knote_by_serial(q, events[i].data.u64);
            if (kn && !knote_is_stale(kn))
                knote_tell(kn);
        }
    } while (n == 64);
}

/* Was something of a pipe read, and something left? Linux tells of no read. */
static bool knote_was_read(struct knote *kn) {
    if (!(kn->event.flags & EV_CLEAR) || !descriptor_is_drained(&kn->descriptor))
        return false;
    int64_t before = kn->seen.data;
    return kn->filter->event(kn) && kn->seen.data < before;
}

void knote_collect(struct kqueue *q) {
    struct knote *kn, *next;
    take_edges(q, q->fd);
    take_edges(q, q->writers);
    TAILQ_FOREACH(kn, &q->all, all) {
        bool is_refused = kn->filter->notified && kn->descriptor.epoll < 0;
        if ((is_refused || kn->filter->is_silent) && !kn->queued)
            knote_tell(kn);
        else if (!kn->queued && kernel_has(EXTRA_EDGE) && knote_was_read(kn))
            knote_activate(kn);
    }
    for (kn = TAILQ_FIRST(&q->queued); kn; kn = next) {
        next = TAILQ_NEXT(kn, pending);
        if (knote_is_stale(kn))
            knote_drop(kn);
    }
}

int knote_scan(struct kqueue *q, struct kevent *events, int nevents) {
    int n = 0;
    knote_collect(q);
    for (int turns = q->count; turns > 0 && n < nevents; turns--) {
        struct knote *kn = TAILQ_FIRST(&q->queued);
        if (kn->disabled) {
            knote_dequeue(kn);
            continue;
        }
        if (kn->event.flags & EV_DROP) {
            knote_drop(kn);
            continue;
        }
        /* What was to be reported once was decided when it came true. */
        if (!(kn->event.flags & EV_ONESHOT) && !kn->filter->event(kn)) {
            knote_dequeue(kn);
            kn->active = false;
            continue;
        }
        struct kevent *out = &events[n++];
        *out = kn->event;
        if (kn->event.flags & EV_ONESHOT) {
            knote_drop(kn);
            continue;
        }
        if (kn->filter->deliver) {
            kn->filter->deliver(kn, out);
        } else if (kn->event.flags & EV_CLEAR) {
            kn->event.fflags = 0;
            kn->event.data = 0;
        }
        if (kn->event.flags & (EV_CLEAR | EV_DISPATCH)) {
            knote_dequeue(kn);
            kn->active = false;
            kn->disabled = kn->event.flags & EV_DISPATCH &&
                           !(kn->event.flags & EV_CLEAR && kernel_has(CLEAR_ONLY));
        } else {
            TAILQ_REMOVE(&q->queued, kn, pending);
            TAILQ_INSERT_TAIL(&q->queued, kn, pending);
        }
    }
    knote_tell_late(q);
    return n;
}
