/* epoll(7).
 *
 * epoll keys on the fd's number and the open file together. Where a copy of the file lives on (dup,
 * a child process) a closed fd is still reported, and can't be deleted: its number means nothing
 * any more, or something else. Such a ghost is found when it reports too often, and left behind by
 * moving to a new epoll. Others (an outer Poll) must not notice, so they get a front: an epoll
 * whose only member is the working one. */
#include "epoll.h"
#include "epoll_assumptions.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
    selector common;
    int kick;       /* an eventfd; its use is in send_waiters_away() */
    int front;      /* -1 until somebody asks for a descriptor */
    uint32_t stale; /* reports of what is not registered, since the last move */
} epoll_selector;

#define STALE_MAX 1000   /* more than races between threads make */
#define CHECK_EVERY 4096 /* batches: of each such one all sources are checked */

/* registration.state */
#define MUTED 1    /* what the kernel repeats says nothing about the interest: see mute() */
#define DISARMED 2 /* ONESHOT: has reported */
#define GHOST 4    /* its fd was closed */

const size_t kernel_selector_size = sizeof(epoll_selector);
const size_t kernel_place_size = sizeof(struct epoll_event);

/* Opening and closing */

int kernel_open(selector *s) {
    ((epoll_selector *)s)->kick = ((epoll_selector *)s)->front = -1;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    return s->fd < 0 ? -errno : 0;
}

/* Makes all waits on the present epoll return, for good. The eventfd stays open: who waits may be
 * slow to wake, and would sleep on if it were gone by then. */
static int send_waiters_away(epoll_selector *e) {
    struct epoll_event always = {.events = EPOLLIN, .data.u64 = OWN_INDEX};
    if (e->kick < 0)
        e->kick = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->kick < 0)
        return -errno;
    if (epoll_ctl(e->common.fd, EPOLL_CTL_ADD, e->kick, &always) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

int kernel_kick(selector *s) {
    return send_waiters_away((epoll_selector *)s);
}

void kernel_close(selector *s) {
    const epoll_selector *e = (epoll_selector *)s;
    close(s->fd);
    if (s->timers.fd >= 0)
        close(s->timers.fd);
    if (e->kick >= 0)
        close(e->kick);
    if (e->front >= 0)
        close(e->front);
}

void kernel_forget(selector *s) {
    for (uint32_t i = 1; i < s->all.extent; i++)
        if (s->all.at[i].kind == KIND_WAKER)
            close(s->all.at[i].fd);
    kernel_close(s);
}

static int show_in_front(const epoll_selector *e) {
    struct epoll_event any = {.events = EPOLLIN};
    return epoll_ctl(e->front, EPOLL_CTL_ADD, e->common.fd, &any);
}

int kernel_fd(selector *s) {
    epoll_selector *e = (epoll_selector *)s;
    if (e->front >= 0)
        return e->front;
    e->front = epoll_create1(EPOLL_CLOEXEC);
    if (e->front >= 0 && show_in_front(e) == 0)
        return e->front;
    int error = errno;
    if (e->front >= 0)
        close(e->front);
    e->front = -1;
    return -error;
}

/* Registering */

static int control(int epoll, selector *s, int operation, uint32_t index) {
    const registration *r = &s->all.at[index];
    struct epoll_event change = {.data.u64 = key_of(index, r->generation)};
    if (r->interest & INTEREST_READABLE)
        change.events |= EPOLLIN | EPOLLRDHUP;
    if (r->interest & INTEREST_WRITABLE)
        change.events |= EPOLLOUT;
    if (r->interest & INTEREST_PRIORITY)
        change.events |= EPOLLPRI;
    if (r->trigger & TRIGGER_EDGE || r->state & MUTED)
        change.events |= EPOLLET;
    if (r->trigger & TRIGGER_ONESHOT)
        change.events |= EPOLLONESHOT;
    if (r->state & DISARMED)
        change.events = EPOLLONESHOT; /* a hang-up comes all the same, once, and is dropped */
    return epoll_ctl(epoll, operation, r->fd, &change) < 0 ? -errno : 0;
}

int kernel_add(selector *s, uint32_t index) {
    if (s->all.at[index].fd == ((epoll_selector *)s)->front)
        return -EINVAL; /* in itself; the front alone would only be a circle, ELOOP */
    int result = control(s->fd, s, EPOLL_CTL_ADD, index);
    /* A ghost's file that came back under its number (dup): the kernel has it, nobody else. */
    if (result == -EEXIST && !registration_of(&s->all, s->all.at[index].fd))
        result = control(s->fd, s, EPOLL_CTL_MOD, index);
    return result;
}

/* EPERM: the number is a regular file's now, which was never registered. */
int kernel_modify(selector *s, uint32_t index, const registration *before) {
    if (before->state == 0 && is_unchanged(&s->all.at[index], before))
        return 0;
    s->all.at[index].state = 0;
    int result = control(s->fd, s, EPOLL_CTL_MOD, index);
    if (result < 0)
        s->all.at[index].state = before->state;
    return result == -EPERM ? -ENOENT : result;
}

int kernel_delete(selector *s, uint32_t index) {
    if (epoll_ctl(s->fd, EPOLL_CTL_DEL, s->all.at[index].fd, NULL) == 0 || errno == EBADF)
        return 0;
    return errno == EPERM ? -ENOENT : -errno;
}

void kernel_apply(selector *s, change *changes, int n) {
    for (int i = 0; i < n; i++)
        change_one(s, &changes[i]);
}

/* Ghosts */

/* Adding again fails with EEXIST where the kernel has this file under this number. */
static bool is_ghost(selector *s, const registration *r) {
    struct epoll_event nothing = {.events = 0, .data.u64 = key_of(OWN_INDEX, 1)};
    if (epoll_ctl(s->fd, EPOLL_CTL_ADD, r->fd, &nothing) == 0) {
        epoll_ctl(s->fd, EPOLL_CTL_DEL, r->fd, NULL);
        return true; /* another file */
    }
    return errno != EEXIST;
}

/* Moves everything but ghosts to a new epoll under the old number. Edges may be told again (R5).
 * Where it fails, the next reports of the ghost try again. */
static void move(epoll_selector *e) {
    selector *s = &e->common;
    int fresh = epoll_create1(EPOLL_CLOEXEC);
    e->stale = 0;
    if (fresh < 0)
        return;
    for (uint32_t i = 1; i < s->all.extent; i++) {
        registration *r = &s->all.at[i];
        if (r->kind == KIND_FREE || r->kind == KIND_TIMER || r->state & GHOST)
            continue;
        if (is_ghost(s, r))
            r->state |= GHOST;
        else if (control(fresh, s, EPOLL_CTL_ADD, i) < 0)
            goto end;
    }
    if (s->timers.fd >= 0 && ep_watch_timer(s, fresh) < 0)
        goto end;
    /* Who waits in the old one waits on in the new one; with the last of them the old one ends. A
     * forked child's copy keeps it alive, so the front is told. */
    if (send_waiters_away(e) < 0)
        goto end;
    if (e->front >= 0)
        epoll_ctl(e->front, EPOLL_CTL_DEL, s->fd, NULL);
    if (dup3(fresh, s->fd, O_CLOEXEC) < 0)
        epoll_ctl(s->fd, EPOLL_CTL_DEL, e->kick, NULL);
    if (e->front >= 0)
        show_in_front(e);
end:
    close(fresh);
}

static void check_batch(epoll_selector *e, const room *b, int n) {
    const struct epoll_event *entries = b->entries;
    for (int i = 0; i < n; i++) {
        registration *r = registration_at(&e->common.all, entries[i].data.u64);
        if (!r || r->kind == KIND_WAKER || r->state & GHOST || !is_ghost(&e->common, r))
            continue;
        r->state |= GHOST;
        e->stale = STALE_MAX;
    }
}

/* Waiting */

/* epoll_pwait2 came with Linux 5.11; sandboxes that do not know it say EPERM. Without it the
 * timeout is in milliseconds: rounded up, and what is over INT_MAX is waited for in turns. */
int kernel_wait(selector *s, room *b, int64_t timeout) {
    int n;
#ifdef SYS_epoll_pwait2
    static atomic_int missing;
    if (timeout > 0 && !atomic_load(&missing)) {
        struct {
            int64_t seconds;
            int64_t nanoseconds;
        } limit = {timeout / NANOSECONDS, timeout % NANOSECONDS};
        n = (int)syscall(SYS_epoll_pwait2, s->fd, b->entries, b->places, &limit, NULL, 0);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n < 0 ? -errno : n;
        atomic_store(&missing, 1);
    }
#endif
    int64_t milliseconds = timeout < 0 ? -1 : timeout / 1000000 + (timeout % 1000000 != 0);
    n = epoll_wait(s->fd, b->entries, b->places,
                   milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
    return n < 0 ? -errno : n;
}

static uint8_t kind_of(registration *r) {
    struct stat status;
    int type = 0;
    socklen_t size = sizeof type;
    if (r->kind != KIND_UNKNOWN)
        return r->kind;
    if (fstat(r->fd, &status) < 0)
        return KIND_OTHER;
    if (S_ISFIFO(status.st_mode))
        r->kind = KIND_PIPE;
    else if (!S_ISSOCK(status.st_mode) || getsockopt(r->fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        r->kind = KIND_OTHER;
    else
        r->kind = type == SOCK_DGRAM ? KIND_DATAGRAM : KIND_STREAM;
    return r->kind;
}

/* Hang-ups and errors come whatever the interest is; here they become what the design says, for
 * the directions of the interest. EPOLLERR is a pipe's missing reader (poll(2)), a socket's
 * pending error, and on a datagram socket an ICMP answer that the next recv() will tell. */
static uint32_t exceptional(registration *r, uint32_t events) {
    uint32_t ready = 0, relevant = READY_ERROR;
    if (events & EPOLLIN)
        ready |= READY_READABLE;
    if (events & EPOLLOUT)
        ready |= READY_WRITABLE;
    if (events & EPOLLPRI)
        ready |= READY_PRIORITY;
    if (events & EPOLLRDHUP)
        ready |= READY_READABLE | READY_READ_CLOSED;
    if (events & EPOLLHUP)
        ready |= READY_READABLE | READY_READ_CLOSED;
    /* A pipe's read end has nothing to say of writing, and no EPOLLOUT. */
    if (events & EPOLLHUP && (events & EPOLLOUT || kind_of(r) != KIND_PIPE))
        ready |= READY_WRITABLE | READY_WRITE_CLOSED;
    if (events & EPOLLERR) {
        uint8_t kind = kind_of(r);
        if (kind == KIND_PIPE)
            ready |= READY_WRITABLE | READY_WRITE_CLOSED;
        else if (kind == KIND_STREAM)
            ready |= READY_READABLE | READY_WRITABLE | READY_ERROR;
        else
            ready |= READY_READABLE | READY_WRITABLE;
    }
    if (r->interest & INTEREST_READABLE)
        relevant |= READY_READABLE;
    if (r->interest & (INTEREST_READABLE | INTEREST_PRIORITY))
        relevant |= READY_READ_CLOSED;
    if (r->interest & INTEREST_WRITABLE)
        relevant |= READY_WRITABLE | READY_WRITE_CLOSED;
    if (r->interest & INTEREST_PRIORITY)
        relevant |= READY_PRIORITY;
    return ready & relevant;
}

/* EPOLLERR can't be masked out: the write end of a pipe, registered READABLE, reports its missing
 * reader for ever. As an edge it is said once and then no wait spins on it. */
static void mute(selector *s, registration *r) {
    if (r->trigger != 0 || r->state & MUTED)
        return;
    r->state |= MUTED;
    control(s->fd, s, EPOLL_CTL_MOD, index_of(&s->all, r));
}

int kernel_decode(selector *s, room *b, int n) {
    const struct epoll_event *entries = b->entries;
    epoll_selector *e = (epoll_selector *)s;
    uint32_t stale = 0;
    for (int i = 0; i < n; i++) {
        uint32_t events = entries[i].events, ready;
        registration *r = registration_at(&s->all, entries[i].data.u64);
        if (!r || r->state & (GHOST | DISARMED)) {
            stale += entries[i].data.u64 != OWN_INDEX;
            continue;
        }
        if (r->kind == KIND_WATCH) {
            ready = watch_has_news(s, r) ? READY_READABLE : 0;
        } else if (events & ~(uint32_t)(EPOLLIN | EPOLLOUT | EPOLLPRI)) {
            ready = exceptional(r, events);
            if (!ready)
                mute(s, r);
        } else {
            /* The bits of an interest are those of its readiness. What is not of it was fetched
             * before another thread's reregister. */
            ready = ((events & EPOLLIN ? READY_READABLE : 0u) |
                     (events & EPOLLOUT ? READY_WRITABLE : 0u) |
                     (events & EPOLLPRI ? READY_PRIORITY : 0u)) &
                    r->interest;
        }
        if (!ready)
            continue;
        batch_put(&s->all, b, r, ready);
        if (r->trigger & TRIGGER_ONESHOT)
            r->state |= DISARMED;
    }
    e->stale += stale;
    if (s->all.batches % CHECK_EVERY == 0)
        check_batch(e, b, n);
    if (e->stale >= STALE_MAX)
        move(e);
    return n;
}

/* Showing what the kernel said */

static const bit_name event_names[] = {
    {EPOLLIN, "EPOLLIN"},   {EPOLLOUT, "EPOLLOUT"}, {EPOLLPRI, "EPOLLPRI"},
    {EPOLLERR, "EPOLLERR"}, {EPOLLHUP, "EPOLLHUP"}, {EPOLLRDHUP, "EPOLLRDHUP"},
};

int kernel_raw(const room *b, int i, raw_field *fields, int room_for) {
    const struct epoll_event *entry = (const struct epoll_event *)b->entries + i;
    if (room_for < 2)
        return -EINVAL;
    fields[0] = (raw_field){.structure = "epoll_event", .name = "events", .number = entry->events};
    name_bits(&fields[0], event_names, sizeof event_names / sizeof *event_names);
    fields[1] =
        (raw_field){.structure = "epoll_event", .name = "data", .number = (int64_t)entry->data.u64};
    name_bits(&fields[1], NULL, 0);
    return 2;
}

/* Waking */

int kernel_waker_open(selector *s, waker *w, uint64_t token) {
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0)
        return -errno;
    change c = {
        .fd = w->fd, .token = token, .interest = INTEREST_READABLE, .trigger = TRIGGER_EDGE};
    int result = registration_add(s, &c);
    if (result < 0)
        close(w->fd);
    w->made = c.made;
    w->gone = c.gone;
    return result;
}

/* Each write is an edge, so nothing needs draining until the counter is full. */
int kernel_waker_wake(selector *s, const waker *w) {
    (void)s;
    const uint64_t one = 1;
    uint64_t drained;
    while (write(w->fd, &one, sizeof one) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || (read(w->fd, &drained, sizeof drained) < 0 && errno != EAGAIN))
            return -errno;
    }
    return 0;
}

void kernel_waker_close(selector *s, const registration *r) {
    epoll_ctl(s->fd, EPOLL_CTL_DEL, r->fd, NULL);
    close(r->fd);
}
