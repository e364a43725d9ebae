/* epoll(7). */
#include "kernel.h"
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
    int kick;
} epoll_selector;

/* registration.state: what the kernel repeats says nothing about the interest; see mute(). */
#define MUTED 1

const size_t kernel_selector_size = sizeof(epoll_selector);
const size_t kernel_place_size = sizeof(struct epoll_event);

/* Opening and closing */

int kernel_open(selector *s) {
    ((epoll_selector *)s)->kick = -1;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    return s->fd < 0 ? -errno : 0;
}

int kernel_kick(selector *s) {
    struct epoll_event always = {.events = EPOLLIN, .data.u64 = OWN_INDEX};
    int kick = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kick < 0)
        return -errno;
    if (epoll_ctl(s->fd, EPOLL_CTL_ADD, kick, &always) < 0) {
        int error = errno;
        close(kick);
        return -error;
    }
    ((epoll_selector *)s)->kick = kick;
    return 0;
}

void kernel_close(selector *s) {
    close(s->fd);
    if (((epoll_selector *)s)->kick >= 0)
        close(((epoll_selector *)s)->kick);
}

/* Registering */

static int control(selector *s, int operation, uint32_t index) {
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
    return epoll_ctl(s->fd, operation, r->fd, &change) < 0 ? -errno : 0;
}

int kernel_add(selector *s, uint32_t index) {
    return control(s, EPOLL_CTL_ADD, index);
}

/* EPERM: the number is a regular file's now, which was never registered. */
int kernel_modify(selector *s, uint32_t index, const registration *before) {
    s->all.at[index].state = 0;
    int result = control(s, EPOLL_CTL_MOD, index);
    if (result < 0)
        s->all.at[index].state = before->state;
    return result == -EPERM ? -ENOENT : result;
}

int kernel_delete(selector *s, uint32_t index) {
    if (epoll_ctl(s->fd, EPOLL_CTL_DEL, s->all.at[index].fd, NULL) == 0 || errno == EBADF)
        return 0;
    return errno == EPERM ? -ENOENT : -errno;
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
        n = (int)syscall(SYS_epoll_pwait2, s->fd, b->entries, b->capacity, &limit, NULL, 0);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n < 0 ? -errno : n;
        atomic_store(&missing, 1);
    }
#endif
    int64_t milliseconds = timeout < 0 ? -1 : timeout / 1000000 + (timeout % 1000000 != 0);
    n = epoll_wait(s->fd, b->entries, b->capacity,
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
    control(s, EPOLL_CTL_MOD, index_of(&s->all, r));
}

int kernel_decode(selector *s, room *b, int n) {
    const struct epoll_event *entries = b->entries;
    for (int i = 0; i < n; i++) {
        uint32_t events = entries[i].events, ready;
        /* Stale: deregistered meanwhile, or closed while a copy of its file lives on (epoll(7)). */
        registration *r = registration_at(&s->all, entries[i].data.u64);
        if (!r)
            continue;
        if (events & ~(uint32_t)(EPOLLIN | EPOLLOUT | EPOLLPRI))
            ready = exceptional(r, events);
        else
            ready = (events & EPOLLIN ? READY_READABLE : 0) |
                    (events & EPOLLOUT ? READY_WRITABLE : 0) |
                    (events & EPOLLPRI ? READY_PRIORITY : 0);
        if (ready)
            batch_put(&s->all, b, r, ready);
        else
            mute(s, r);
    }
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
    int result = registration_add(s, w->fd, token, INTEREST_READABLE, TRIGGER_EDGE);
    if (result < 0)
        close(w->fd);
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
