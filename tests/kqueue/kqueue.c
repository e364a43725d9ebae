/* kqueue(2) for Linux: the calls, and which descriptor is which queue.
 *
 * A queue's descriptor is an epoll. It holds the READ descriptors, a second epoll with the WRITE
 * descriptors (a descriptor can be in an epoll once, and data coming in is no WRITE edge), the
 * timers, and an eventfd which is non-zero while knotes are queued. So it is readable whenever a
 * scan may find something, to a sleeping kevent() as well as to poll(2) and to other queues. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static TAILQ_HEAD(, kqueue) queues = TAILQ_HEAD_INITIALIZER(queues);

uint64_t next_serial(void) {
    static uint64_t last; /* 0 stands for our own descriptors in an epoll */
    return ++last;
}

/* Is the number kq this queue's epoll? Only the pair of that epoll and our inner one can be
 * modified: EBADF, EINVAL or ENOENT for everything else that the number may name by now. */
static bool is_queue(int kq, const struct kqueue *q) {
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(kq, EPOLL_CTL_MOD, q->writers, &event) == 0;
}

struct kqueue *kqueue_find(int kq) {
    struct kqueue *q;
    TAILQ_FOREACH(q, &queues, next) {
        if (q->fd == kq && is_queue(kq, q))
            return q;
    }
    TAILQ_FOREACH(q, &queues, next) { /* a duplicate: recorded: "dup(kq)" */
        if (q->fd != kq && is_queue(kq, q))
            return q;
    }
    return NULL;
}

struct kqueue *kqueue_by_serial(uint64_t serial) {
    struct kqueue *q;
    TAILQ_FOREACH(q, &queues, next) {
        if (q->serial == serial)
            break;
    }
    return q && is_queue(q->fd, q) ? q : NULL;
}

bool kqueue_rises(int epoll, struct kqueue *inner) {
    enum { HIGHEST = 10 };
    struct kqueue *outer = kqueue_find(epoll);
    if (outer->level > 0 && outer->level < inner->level)
        return false;
    int level = outer->level > 2 ? outer->level : 2;
    if (level <= inner->level)
        level = inner->level + 1;
    if (level > HIGHEST)
        return false;
    outer->level = level;
    if (inner->level == 0)
        inner->level = 1;
    return true;
}

void kqueue_collect(struct kqueue *q) {
    if (q->busy)
        return;
    q->busy = true;
    knote_collect(q);
    knote_tell_late(q); /* whoever is outside is late enough */
    q->busy = false;
}

static void queue_free(struct kqueue *q) {
    struct knote *kn;
    while ((kn = TAILQ_FIRST(&q->all))) {
        TAILQ_REMOVE(&q->all, kn, all);
        if (kn->filter->release)
            kn->filter->release(kn);
        free(kn);
    }
    TAILQ_REMOVE(&queues, q, next);
    close(q->signal);
    close(q->writers);
    free(q);
}

/* close(2) tells us nothing, so the queues whose number was closed go when the next one comes. */
static void sweep(void) {
    struct kqueue *q, *next;
    for (q = TAILQ_FIRST(&queues); q; q = next) {
        next = TAILQ_NEXT(q, next);
        if (!is_queue(q->fd, q))
            queue_free(q);
    }
}

static void fork_prepare(void) {
    pthread_mutex_lock(&lock);
}

static void fork_parent(void) {
    pthread_mutex_unlock(&lock);
}

/* "The queue is not inherited by a child created with fork(2)", kqueue(2). */
static void fork_child(void) {
    struct kqueue *q;
    signals_fork_child();
    while ((q = TAILQ_FIRST(&queues))) {
        if (is_queue(q->fd, q))
            close(q->fd);
        queue_free(q);
    }
    pthread_mutex_unlock(&lock);
}

static void watch_forks(void) {
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

static bool queue_open(struct kqueue *q, int flags) {
    q->fd = epoll_create1(flags & O_CLOEXEC ? EPOLL_CLOEXEC : 0);
    q->writers = epoll_create1(EPOLL_CLOEXEC);
    q->signal = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    return q->fd >= 0 && q->writers >= 0 && q->signal >= 0 &&
           epoll_ctl(q->fd, EPOLL_CTL_ADD, q->writers, &event) == 0 &&
           epoll_ctl(q->fd, EPOLL_CTL_ADD, q->signal, &event) == 0;
}

int kqueue1(int flags) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    struct kqueue *q = calloc(1, sizeof(*q));
    if (!q)
        return -1;
    TAILQ_INIT(&q->all);
    TAILQ_INIT(&q->queued);
    pthread_mutex_lock(&lock);
    sweep();
    q->serial = next_serial();
    TAILQ_INSERT_TAIL(&queues, q, next);
    int fd = -1;
    if (queue_open(q, flags)) {
        fd = q->fd;
    } else {
        int error = errno;
        close(q->fd);
        queue_free(q);
        errno = error;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int kqueue(void) {
    return kqueue1(0); /* recorded: "kqueue fd flags": no close-on-exec */
}

/* Applies the changes. Returns how many error entries were written, or -1 and errno when one had no
 * room; *done says that the call ends here whatever that number is. */
static int apply_all(struct kqueue *q, const struct kevent *changes, int nchanges,
                     struct kevent *events, int nevents, bool *done) {
    int nerrors = 0, failure = 0;
    q->busy = true;
    for (int i = 0; i < nchanges; i++) {
        struct kevent change = changes[i]; /* `events` may be the same array */
        change.flags &= (unsigned short)~EV_SYSFLAGS;
        int error = knote_apply(q, &change);
        if (!error && !(change.flags & EV_RECEIPT))
            continue;
        *done = true;
        if (nerrors == nevents) { /* recorded: "EV_RECEIPT x3, eventlist 2": 0, not 2 */
            nerrors = error ? -1 : 0;
            failure = error;
            break;
        }
        change.flags = EV_ERROR;
        change.fflags = error ? change.fflags : 0;
        change.data = error;
        events[nerrors++] = change;
    }
    /* Otherwise edges of our own registrations would stay behind and make us readable. */
    if (nchanges > 0)
        knote_collect(q);
    q->busy = false;
    if (nerrors < 0)
        errno = failure;
    return nerrors;
}

static int scan(struct kqueue *q, struct kevent *events, int nevents) {
    q->busy = true;
    int n = knote_scan(q, events, nevents);
    q->busy = false;
    return n;
}

static struct timespec left_until(const struct timespec *deadline) {
    struct timespec now, left = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    left.tv_sec = deadline->tv_sec - now.tv_sec;
    left.tv_nsec = deadline->tv_nsec - now.tv_nsec;
    if (left.tv_nsec < 0) {
        left.tv_sec--;
        left.tv_nsec += 1000000000;
    }
    return left.tv_sec < 0 ? (struct timespec){0} : left;
}

/* Sleeps, without the lock, until the queue may have something; the queue may be gone after it.
 * Returns -1 and errno on EINTR, 0 when the time is over, 1 otherwise. */
static int sleep_on(int fd, const struct timespec *deadline) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec left;
    if (deadline)
        left = left_until(deadline);
    pthread_mutex_unlock(&lock);
    int n = ppoll(&p, 1, deadline ? &left : NULL, NULL);
    int error = errno;
    pthread_mutex_lock(&lock);
    errno = error;
    return n;
}

static int wait_for_events(struct kqueue *q, struct kevent *events, int nevents,
                           const struct timespec *timeout) {
    static const time_t forever = 1000000000; /* 30 years; INT64_MAX would overflow the clock */
    struct timespec limit = {0}, *deadline = NULL;
    bool polling = timeout && timeout->tv_sec == 0 && timeout->tv_nsec == 0;
    uint64_t serial = q->serial;
    if (timeout && timeout->tv_sec < forever) {
        clock_gettime(CLOCK_MONOTONIC, &limit);
        limit.tv_sec += timeout->tv_sec + (limit.tv_nsec + timeout->tv_nsec) / 1000000000;
        limit.tv_nsec = (limit.tv_nsec + timeout->tv_nsec) % 1000000000;
        deadline = &limit;
    }
    if (!polling && misbehave_interrupted()) {
        errno = EINTR;
        return -1;
    }
    for (;;) {
        int n = q ? scan(q, events, nevents) : 0;
        if (n || polling)
            return n;
        /* Closed meanwhile: recorded: "kq closed by another thread": sleeps to the end. */
        struct signals_taken before = signals_taken();
        n = sleep_on(q ? q->fd : -1, deadline);
        int error = errno;
        struct signals_taken after = signals_taken();
        q = kqueue_by_serial(serial);
        bool handled = after.handled != before.handled;
        if (n < 0 || handled) {
            /* FreeBSD queues a watched signal before it interrupts whoever sleeps. */
            int found = q ? scan(q, events, nevents) : 0;
            if (found)
                return found;
            if (!handled && error == EINTR && after.ignored != before.ignored)
                continue;
            errno = handled ? EINTR : error;
            return -1;
        }
        if (n == 0)
            return q ? scan(q, events, nevents) : 0;
    }
}

int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout) {
    bool done = false;
    int n;
    misbehave_count_call();
    pthread_mutex_lock(&lock);
    signals_adopt();
    struct kqueue *q = kqueue_find(kq);
    if (!q) {
        errno = fcntl(kq, F_GETFD) < 0 ? EBADF : EINVAL;
        n = -1;
    } else {
        n = apply_all(q, changelist, nchanges, eventlist, nevents, &done);
        if (!done && nevents > 0) {
            if (timeout &&
                (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000)) {
                errno = EINVAL;
                n = -1;
            } else {
                n = wait_for_events(q, eventlist, nevents, timeout);
            }
        }
    }
    pthread_mutex_unlock(&lock);
    return n;
}
