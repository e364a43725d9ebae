/* epoll(7): the kernel file, and how its events are decoded. */
#include "epoll.h"
#include "assumptions.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const size_t kernel_selector_size = sizeof(epoll_selector);
const size_t kernel_place_size = sizeof(struct epoll_event);

/* Opening and closing */

int kernel_open(selector *s) {
    epoll_selector *e = (epoll_selector *)s;
    e->kick = e->front = e->parking = -1;
    s->fd = epoll_create1(EPOLL_CLOEXEC);
    return s->fd < 0 ? -errno : 0;
}

/* Makes all waits on the present epoll return, for good. The eventfd stays open: who waits may be
 * slow to wake, and would sleep on if it were gone by then. */
int ep_send_waiters_away(epoll_selector *e) {
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
    return ep_send_waiters_away((epoll_selector *)s);
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
    if (e->parking >= 0)
        close(e->parking);
}

void kernel_forget(selector *s) {
    for (uint32_t i = 1; i < s->all.extent; i++)
        if (s->all.at[i].kind == KIND_WAKER)
            close(s->all.at[i].fd);
    kernel_close(s);
}

int ep_show_in_front(const epoll_selector *e) {
    struct epoll_event any = {.events = EPOLLIN};
    return epoll_ctl(e->front, EPOLL_CTL_ADD, e->common.fd, &any);
}

int kernel_fd(selector *s) {
    epoll_selector *e = (epoll_selector *)s;
    if (e->front >= 0)
        return e->front;
    e->front = epoll_create1(EPOLL_CLOEXEC);
    if (e->front >= 0 && ep_show_in_front(e) == 0)
        return e->front;
    int error = errno;
    if (e->front >= 0)
        close(e->front);
    e->front = -1;
    return -error;
}

/* Waiting */

static void note_coarse(epoll_selector *e) {
    if (atomic_exchange(&e->is_coarse, true))
        return;
    pthread_mutex_lock(&e->common.all.lock);
    make_remark(&e->common, REMARK_MILLISECONDS, NULL);
    pthread_mutex_unlock(&e->common.all.lock);
}

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
    if (timeout > 0)
        note_coarse((epoll_selector *)s);
    int64_t milliseconds = timeout < 0 ? -1 : timeout / 1000000 + (timeout % 1000000 != 0);
    n = epoll_wait(s->fd, b->entries, b->places,
                   milliseconds > INT_MAX ? INT_MAX : (int)milliseconds);
    return n < 0 ? -errno : n;
}

static uint8_t kind_of(registration *r) {
    struct stat status;
    if (r->kind != KIND_UNKNOWN && r->kind != KIND_PLAIN)
        return r->kind;
    if (fstat(r->fd, &status) < 0)
        return KIND_OTHER;
    r->kind = S_ISFIFO(status.st_mode) ? KIND_PIPE : socket_kind(r->fd);
    return r->kind;
}

/* A connection that broke, or never came to be, hangs up, too; but for those of some families
 * (vsock(7)), which have no peer then. Else it is alive: a message stands in its error queue (a
 * time stamp, what became of MSG_ZEROCOPY), or an ICMP answer that the next call will tell.
 * SO_ERROR would say more, once, and is the user's. */
static bool is_broken(const registration *r, uint32_t events) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    return events & EPOLLHUP || getpeername(r->fd, (struct sockaddr *)&peer, &size) < 0;
}

/* Hang-ups and errors come whatever the interest is; here they become what the design says, for
 * the directions of the interest. EPOLLERR is a pipe's missing reader (poll(2)), a connection's
 * error, or what the next call will tell, such as that a datagram was refused. */
static uint32_t exceptional(registration *r, uint32_t events) {
    uint32_t ready = 0;
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
        else
            ready |= READY_READABLE | READY_WRITABLE;
        if (kind == KIND_STREAM && is_broken(r, events))
            ready |= READY_ERROR;
    }
    if (ready & READY_CLOSED && kind_of(r) == KIND_DATAGRAM)
        ready &= ~(uint32_t)READY_CLOSED;
    if (events & (EPOLLHUP | EPOLLERR) && kind_of(r) == KIND_PIPE)
        return hung_up(r, ready);
    return relevant_to(r, ready);
}

/* EPOLLERR can't be masked out: the write end of a pipe, registered READABLE, reports its missing
 * reader for ever. As an edge it is said once and then no wait spins on it. EPOLLONESHOT would have
 * been used up for nothing. */
static void mute(selector *s, registration *r) {
    if (r->trigger == TRIGGER_EDGE || r->state & MUTED)
        return;
    r->state |= MUTED;
    ep_control(s->fd, s, EPOLL_CTL_MOD, index_of(&s->all, r));
}

/* What is no descriptor of the user's. */
static uint32_t told_by(selector *s, const registration *r) {
    if (r->kind == KIND_WATCH)
        return watch_has_news(s, r) ? READY_READABLE : 0;
    waker_tell(&s->all, index_of(&s->all, r));
    return READY_READABLE;
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
        if (r->kind >= KIND_WAKER) {
            ready = told_by(s, r);
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
    ep_check_ghosts(e, b, n, stale);
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
