/* kqueue(2): macOS, FreeBSD, NetBSD, OpenBSD, DragonFly.
 *
 * A direction of the interest is a filter with a knote of its own. The types of struct kevent's
 * fields are never named here: NetBSD's differ. */
#include "kernel.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/types.h>
/* After sys/types.h: older systems' header needs it. */
#include <sys/event.h>
#include <sys/stat.h>
#include <unistd.h>

typedef __typeof__(((struct kevent *)0)->ident) ident_t;
typedef __typeof__(((struct kevent *)0)->filter) filter_t;
typedef __typeof__(((struct kevent *)0)->flags) flags_t;
typedef __typeof__(((struct kevent *)0)->udata) udata_t;

/* A write end whose reader is gone. FreeBSD drops its knote after one event and refuses a new one
 * (EPIPE), so it is reported from here for as long as the design says (R3). */
typedef struct {
    uint32_t index;
    dev_t device; /* whose number this was when it hung up; it may be closed and reused */
    ino_t inode;
} hung_up;

typedef struct {
    int read_end; /* registered */
    int write_end;
} waker_pipe;

typedef struct {
    selector common;
    hung_up *hung;
    atomic_uint hung_count;
    uint32_t hung_room;
    uint32_t hung_next; /* who is first when a batch is too small for all */
    uint32_t due;       /* how many of them are DUE */
    bool bell;          /* the own user event is triggered */
    int bell_pipe[2];   /* in its place where the kernel has no user events */
    waker_pipe *pipes;  /* there a waker is a pipe too */
    uint32_t pipe_count;
    uint32_t pipe_room;
} kqueue_selector;

/* registration.state */
#define ON_READ 1   /* the kernel has a knote for READ, */
#define ON_WRITE 2  /* for WRITE */
#define DISARMED 4  /* ONESHOT: has reported */
#define HUNG 8      /* stands in the hung list, */
#define DUE 16      /* and is to be reported */
#define NO_READ 32  /* write end of a pipe */
#define NO_WRITE 64 /* read end of a pipe: epoll never reports it writable */
#define STALE 128   /* hung up, and then its number was closed or reused */

const size_t kernel_selector_size = sizeof(kqueue_selector);
#define ENTRIES_PER_PLACE 2
const size_t kernel_place_size = ENTRIES_PER_PLACE * sizeof(struct kevent);

static uint64_t key_from(udata_t udata) {
#if UINTPTR_MAX > 0xffffffff
    return (uint64_t)(uintptr_t)udata;
#else
    return key_of((uintptr_t)udata & REGISTRATIONS_MAX, (uintptr_t)udata >> 20);
#endif
}

static udata_t udata_of(uint32_t index, const registration *r) {
#if UINTPTR_MAX > 0xffffffff
    return (udata_t)(uintptr_t)key_of(index, r->generation);
#else
    return (udata_t)(uintptr_t)(r->generation << 20 | index);
#endif
}

/* What a 32-bit udata has no room for can't be compared. */
static registration *registration_for(selector *s, udata_t udata) {
#if UINTPTR_MAX > 0xffffffff
    return registration_at(&s->all, key_from(udata));
#else
    uint32_t index = (uint32_t)key_from(udata);
    registration *r = &s->all.at[index];
    return index && r->generation && udata_of(index, r) == udata ? r : NULL;
#endif
}

static struct kevent change_of(ident_t ident, filter_t filter, unsigned flags, unsigned fflags,
                               udata_t udata) {
    struct kevent change;
    memset(&change, 0, sizeof change);
    change.ident = ident;
    change.filter = filter;
    change.flags = (flags_t)flags;
    change.fflags = fflags;
    change.udata = udata;
    return change;
}

/* Applies changes up to the first that fails. There is no room for events, so that none is
 * swallowed. EINTR: all of them were applied (kevent(2), ERRORS). */
static int apply(selector *s, const struct kevent *changes, int n) {
    if (n == 0 || kevent(s->fd, changes, n, NULL, 0, NULL) == 0 || errno == EINTR)
        return 0;
    return -errno;
}

/* User events */

/* NetBSD 9 and OpenBSD before 7.8 define or lack the filter without having it, so it is tried:
 * libxev#163, libuv#4330. */
static bool has_user_events(selector *s) {
#ifdef EVFILT_USER
    struct kevent change = change_of(OWN_INDEX, EVFILT_USER, EV_ADD, 0, 0);
    return apply(s, &change, 1) == 0;
#else
    (void)s;
    return false;
#endif
}

static int trigger(selector *s, uint32_t ident, udata_t udata) {
#ifdef EVFILT_USER
    /* No EV_ADD: it may turn off EV_CLEAR (polling#265). udata is overwritten: pass it. */
    struct kevent change = change_of(ident, EVFILT_USER, 0, NOTE_TRIGGER, udata);
    return apply(s, &change, 1);
#else
    (void)s, (void)ident, (void)udata;
    return -ENOTSUP;
#endif
}

static int open_pipe(int ends[2]) {
    if (pipe(ends) < 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0) {
            int error = errno;
            close(ends[0]);
            close(ends[1]);
            return -error;
        }
    return 0;
}

/* True where it was written, or is full and so has something unread. */
static int write_byte(int fd) {
    while (write(fd, "", 1) < 0)
        if (errno != EINTR)
            return errno == EAGAIN ? 0 : -errno;
    return 0;
}

static void drain(int fd) {
    char bytes[64];
    ssize_t n;
    do
        n = read(fd, bytes, sizeof bytes);
    while (n == (ssize_t)sizeof bytes || (n < 0 && errno == EINTR));
}

/* The bell is level-triggered: it wakes every waiter, and a queue around this one sees it. */
static int ring(kqueue_selector *k) {
    if (k->bell)
        return 0;
    int result =
        k->bell_pipe[1] >= 0 ? write_byte(k->bell_pipe[1]) : trigger(&k->common, OWN_INDEX, 0);
    if (result == 0)
        k->bell = true;
    return result;
}

static void hush(kqueue_selector *k) {
    if (!k->bell)
        return;
    k->bell = false;
    if (k->bell_pipe[0] >= 0) {
        drain(k->bell_pipe[0]);
        return;
    }
#ifdef EVFILT_USER
    struct kevent changes[] = {change_of(OWN_INDEX, EVFILT_USER, EV_DELETE, 0, 0),
                               change_of(OWN_INDEX, EVFILT_USER, EV_ADD, 0, 0)};
    if (apply(&k->common, changes, 2) < 0)
        k->bell = true; /* rings on: a spurious wake-up, and another try */
#endif
}

/* Opening and closing */

int kernel_open(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    k->bell_pipe[0] = k->bell_pipe[1] = -1;
    s->fd = kqueue();
    if (s->fd < 0)
        return -errno;
    int result = fcntl(s->fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
    if (result == 0 && !has_user_events(s)) {
        result = open_pipe(k->bell_pipe);
        if (result == 0) {
            struct kevent change = change_of((ident_t)k->bell_pipe[0], EVFILT_READ, EV_ADD, 0, 0);
            result = apply(s, &change, 1);
        }
    }
    if (result < 0)
        kernel_close(s);
    return result;
}

int kernel_kick(selector *s) {
    return ring((kqueue_selector *)s);
}

void kernel_close(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    close(s->fd);
    for (int i = 0; i < 2; i++)
        if (k->bell_pipe[i] >= 0)
            close(k->bell_pipe[i]);
    free(k->hung);
    free(k->pipes);
}

/* A queue is not inherited over fork, and its number may be another file's by now. */
void kernel_forget(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    for (int i = 0; i < 2; i++)
        if (k->bell_pipe[i] >= 0)
            close(k->bell_pipe[i]);
    for (uint32_t i = 0; i < k->pipe_count; i++) {
        close(k->pipes[i].read_end);
        close(k->pipes[i].write_end);
    }
}

int kernel_fd(selector *s) {
    return s->fd;
}

/* Hung-up pipes */

static void set_due(kqueue_selector *k, registration *r, bool due) {
    if (due == !!(r->state & DUE))
        return;
    r->state ^= DUE;
    k->due += due ? 1 : (uint32_t)-1;
    if (k->due == 0)
        hush(k);
}

static void unhang(kqueue_selector *k, uint32_t index) {
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

static int hang(kqueue_selector *k, uint32_t index, bool due) {
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
    return due ? ring(k) : 0;
}

static bool is_same_file(const hung_up *h, int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_dev == h->device && status.st_ino == h->inode;
}

/* Registering */

/* Of a direction that a pipe's end does not have the knote is disabled: it only shows, when it is
 * probed, that the fd's number is still the same file's. */
static unsigned flags_for(const registration *r, unsigned on) {
    if (r->state & (on == ON_READ ? NO_READ : NO_WRITE))
        return EV_ADD | EV_DISABLE;
    return EV_ADD | EV_ENABLE | (r->trigger & TRIGGER_EDGE ? EV_CLEAR : 0u) |
           (r->trigger & TRIGGER_ONESHOT ? EV_DISPATCH : 0u);
}

static struct kevent change_for(selector *s, uint32_t index, unsigned on, unsigned flags) {
    const registration *r = &s->all.at[index];
    return change_of((ident_t)r->fd, on == ON_READ ? EVFILT_READ : EVFILT_WRITE, flags, 0,
                     udata_of(index, r));
}

/* Which knotes the interest wants. */
static unsigned wanted(const registration *r) {
    return (r->interest & INTEREST_READABLE ? ON_READ : 0u) |
           (r->interest & INTEREST_WRITABLE ? ON_WRITE : 0u);
}

/* Adds (or arms again) one knote. A pipe without a reader is EPIPE, and EBADF on NetBSD
 * (libevent's kqueue.c); macOS has added it all the same (mio#582), so it is taken away. */
static int add_one(selector *s, uint32_t index, unsigned on) {
    registration *r = &s->all.at[index];
    struct kevent change = change_for(s, index, on, flags_for(r, on));
    int result = apply(s, &change, 1);
    if (result == 0)
        r->state |= (uint8_t)on;
    if (on != ON_WRITE || r->kind != KIND_PIPE || (result != -EPIPE && result != -EBADF))
        return result;
    change = change_for(s, index, on, EV_DELETE);
    apply(s, &change, 1);
    return r->state & NO_WRITE ? 0 : hang((kqueue_selector *)s, index, true);
}

static void delete_one(selector *s, uint32_t index, unsigned on) {
    struct kevent change = change_for(s, index, on, EV_DELETE);
    if (s->all.at[index].state & on)
        apply(s, &change, 1);
    s->all.at[index].state &= (uint8_t)~on;
}

/* Both directions in one call; where that fails, one by one, to know which one it was. */
static int add_all(selector *s, uint32_t index, unsigned on) {
    struct kevent changes[2];
    int n = 0, result = 0;
    for (unsigned one = ON_READ; one <= ON_WRITE; one <<= 1)
        if (on & one)
            changes[n++] = change_for(s, index, one, flags_for(&s->all.at[index], one));
    if (apply(s, changes, n) == 0) {
        s->all.at[index].state |= (uint8_t)on;
        return 0;
    }
    for (unsigned one = ON_READ; one <= ON_WRITE && result == 0; one <<= 1)
        if (on & one)
            result = add_one(s, index, one);
    return result;
}

/* Whether the kernel still has a knote of this registration: where its fd was closed it has none,
 * whatever the number is now. A change without EV_ADD finds that out: ENOENT. */
static bool is_live(selector *s, uint32_t index) {
    kqueue_selector *k = (kqueue_selector *)s;
    const registration *r = &s->all.at[index];
    if (r->state & STALE)
        return false;
    if (r->state & HUNG)
        for (uint32_t i = 0; i < k->hung_count; i++)
            if (k->hung[i].index == index)
                return is_same_file(&k->hung[i], r->fd);
    if (!(r->state & (ON_READ | ON_WRITE)))
        return fcntl(r->fd, F_GETFD) >= 0;
    struct kevent probe = change_for(s, index, r->state & ON_READ ? ON_READ : ON_WRITE, 0);
    return apply(s, &probe, 1) == 0;
}

/* kqueue takes files and directories, and reports the read end of a pipe as writable; epoll
 * refuses the ones (R14) and is silent on the other, so both are told by their type. FreeBSD's and
 * OpenBSD's pipes go both ways: there the access mode says so, and the report is true. */
static int look_at(registration *r) {
    struct stat status;
    if (fstat(r->fd, &status) < 0)
        return -errno;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return -EPERM;
    if (S_ISFIFO(status.st_mode)) {
        int mode = fcntl(r->fd, F_GETFL);
        if (mode < 0)
            return -errno;
        r->kind = KIND_PIPE;
        if ((mode & O_ACCMODE) == O_RDONLY)
            r->state |= NO_WRITE;
        if ((mode & O_ACCMODE) == O_WRONLY)
            r->state |= NO_READ;
    }
    return 0;
}

int kernel_add(selector *s, uint32_t index) {
    registration *r = &s->all.at[index], *before = registration_of(&s->all, r->fd);
    if (r->interest & INTEREST_PRIORITY)
        return -ENOTSUP;
    int result = look_at(r);
    if (result < 0)
        return result;
    if (before && is_live(s, index_of(&s->all, before)))
        return -EEXIST;
    if (before)
        unhang((kqueue_selector *)s, index_of(&s->all, before));
    result = add_all(s, index, wanted(r));
    if (result < 0) {
        delete_one(s, index, ON_READ);
        delete_one(s, index, ON_WRITE);
        unhang((kqueue_selector *)s, index);
    }
    return result;
}

/* In one call: first a change that fails where the number is another file's by now, then what comes
 * or is armed again, then what goes, so that a refusal loses nothing. Adding again does not change
 * EV_CLEAR and EV_DISPATCH; with another trigger (`fresh`) a knote is deleted and added. */
static int modify(selector *s, uint32_t index, bool fresh, unsigned have, unsigned want) {
    const registration *r = &s->all.at[index];
    struct kevent changes[7];
    int n = 0;
    if (have)
        changes[n++] = change_for(s, index, have & ON_READ ? ON_READ : ON_WRITE, 0);
    for (unsigned on = ON_READ; on <= ON_WRITE; on <<= 1) {
        if (have & want & on && fresh)
            changes[n++] = change_for(s, index, on, EV_DELETE);
        if (want & on)
            changes[n++] = change_for(s, index, on, flags_for(r, on));
    }
    for (unsigned on = ON_READ; on <= ON_WRITE; on <<= 1)
        if (have & ~want & on)
            changes[n++] = change_for(s, index, on, EV_DELETE);
    return apply(s, changes, n);
}

/* The same one by one, for a pipe that is hung up or just found to be. */
static int replace(selector *s, uint32_t index) {
    delete_one(s, index, ON_READ);
    delete_one(s, index, ON_WRITE);
    unhang((kqueue_selector *)s, index);
    return add_all(s, index, wanted(&s->all.at[index]));
}

static int change(selector *s, uint32_t index, bool fresh, unsigned have, unsigned want) {
    const registration *r = &s->all.at[index];
    if (r->state & (HUNG | STALE))
        return is_live(s, index) ? replace(s, index) : -ENOENT;
    int result = modify(s, index, fresh, have, want);
    if (r->kind == KIND_PIPE && want & ON_WRITE && (result == -EPIPE || result == -EBADF))
        return replace(s, index);
    return result;
}

/* Puts back what a refused modify() has changed; s->all.at[index] is as it was before. */
static void undo(selector *s, uint32_t index, bool fresh, unsigned have, unsigned want) {
    for (unsigned on = ON_READ; on <= ON_WRITE; on <<= 1) {
        struct kevent delete = change_for(s, index, on, EV_DELETE);
        struct kevent add = change_for(s, index, on, flags_for(&s->all.at[index], on));
        if ((want & ~have & on) || (have & on && fresh))
            apply(s, &delete, 1);
        if (have & on && fresh)
            apply(s, &add, 1);
    }
}

int kernel_modify(selector *s, uint32_t index, const registration *before) {
    registration *r = &s->all.at[index];
    unsigned have = r->state & (ON_READ | ON_WRITE), want = wanted(r);
    bool fresh = r->trigger != before->trigger;
    if (r->interest & INTEREST_PRIORITY)
        return -ENOTSUP;
    int result = change(s, index, fresh, have, want);
    if (result == 0) {
        if (!(r->state & HUNG))
            r->state = (uint8_t)((r->state & (NO_READ | NO_WRITE)) | want);
        r->state &= (uint8_t)~DISARMED;
        return 0;
    }
    if (fcntl(r->fd, F_GETFD) < 0)
        return -errno;
    if (result == -ENOENT) {
        unhang((kqueue_selector *)s, index);
        return -ENOENT;
    }
    r->interest = before->interest;
    r->trigger = before->trigger;
    if ((r->state & (ON_READ | ON_WRITE)) == have && !(before->state & HUNG))
        undo(s, index, fresh, have, want);
    else
        replace(s, index);
    return result;
}

/* Why the kernel has no knote to delete: the fd is closed (macOS says ENOENT then, others EBADF:
 * trio's _io_kqueue.py), FreeBSD dropped it as the pipe's reader went, or it is another file. */
static int explain_missing(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    if (fcntl(r->fd, F_GETFD) < 0)
        return 0;
    if (r->kind != KIND_PIPE || !(r->state & ON_WRITE))
        return -ENOENT;
    struct kevent change = change_for(s, index, ON_WRITE, EV_ADD);
    int result = apply(s, &change, 1);
    change = change_for(s, index, ON_WRITE, EV_DELETE);
    apply(s, &change, 1);
    return result == -EPIPE ? 0 : -ENOENT;
}

int kernel_delete(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    struct kevent changes[2];
    int n = 0, deleted = 0;
    bool live = !(r->state & (HUNG | STALE)) || is_live(s, index);
    unhang((kqueue_selector *)s, index);
    for (unsigned on = ON_READ; on <= ON_WRITE; on <<= 1)
        if (r->state & on)
            changes[n++] = change_for(s, index, on, EV_DELETE);
    if (live && apply(s, changes, n) == 0)
        return 0;
    for (int i = 0; i < n; i++)
        deleted += apply(s, &changes[i], 1) == 0;
    return deleted ? 0 : explain_missing(s, index);
}

/* Waiting */

/* A FIFO may have a new reader: then its knote goes back to the kernel. */
static int look_again(kqueue_selector *k) {
    selector *s = &k->common;
    for (uint32_t i = k->hung_count; i-- > 0;) {
        uint32_t index = k->hung[i].index;
        registration *r = &s->all.at[index];
        struct kevent add = change_for(s, index, ON_WRITE, flags_for(r, ON_WRITE)),
                      delete = change_for(s, index, ON_WRITE, EV_DELETE);
        if (!is_same_file(&k->hung[i], r->fd)) {
            unhang(k, index);
            r->state |= STALE;
        } else if (!(r->state & DISARMED) && apply(s, &add, 1) == 0) {
            unhang(k, index);
            r->state |= ON_WRITE;
        } else if (!(r->state & DISARMED)) {
            apply(s, &delete, 1); /* macOS adds it all the same: see add_one */
        }
    }
    return k->due ? ring(k) : 0;
}

/* Darwin refuses long timeouts (Go's netpoll caps at 1e6 s), old OpenBSD more than a day. */
#define LONGEST (86400 * NANOSECONDS)

int kernel_wait(selector *s, room *b, int64_t timeout) {
    kqueue_selector *k = (kqueue_selector *)s;
    struct timespec limit;
    if (timeout > LONGEST)
        timeout = LONGEST;
    if (timeout >= 0) {
        limit.tv_sec = (time_t)(timeout / NANOSECONDS);
        limit.tv_nsec = (long)(timeout % NANOSECONDS);
    }
    if (atomic_load(&k->hung_count)) {
        pthread_mutex_lock(&s->all.lock);
        int result = atomic_load(&s->closed) ? -ESHUTDOWN : look_again(k);
        pthread_mutex_unlock(&s->all.lock);
        if (result < 0)
            return result;
    }
    int n = kevent(s->fd, NULL, 0, b->entries, b->capacity, timeout < 0 ? NULL : &limit);
    return n < 0 ? -errno : n;
}

/* ONESHOT is the whole source's (R4): the first report disarms it, a second one of the same batch
 * joins it, and a later one (another thread may have taken it already) is dropped. */
static void put(selector *s, room *b, registration *r, uint32_t ready) {
    if (r->state & DISARMED && r->batch != s->all.batches)
        return;
    batch_put(&s->all, b, r, ready);
    if (r->trigger & TRIGGER_ONESHOT && r->batch == s->all.batches)
        r->state |= DISARMED;
}

/* Reports hung-up pipes in `places` places of the batch. */
static void put_hung(kqueue_selector *k, room *b, int places) {
    uint32_t count = k->hung_count;
    for (uint32_t turn = 0; turn < count && places > 0; turn++) {
        uint32_t index = k->hung[(k->hung_next + turn) % count].index;
        registration *r = &k->common.all.at[index];
        if (!(r->state & DUE))
            continue;
        if (--places == 0)
            k->hung_next = (k->hung_next + turn + 1) % count;
        put(&k->common, b, r, READY_WRITABLE | READY_WRITE_CLOSED);
        if (r->trigger)
            set_due(k, r, false);
    }
}

static uint32_t readiness_of(const struct kevent *e) {
    uint32_t ready = e->filter == EVFILT_READ ? READY_READABLE : READY_WRITABLE;
    if (e->flags & EV_EOF) {
        ready |= e->filter == EVFILT_READ ? READY_READ_CLOSED : READY_WRITE_CLOSED;
        if (e->fflags) /* a socket's error, not consumed: kevent(2), EVFILT_READ */
            ready |= READY_ERROR;
    }
    return ready;
}

static void put_waker(selector *s, room *b, registration *r) {
    if (r->fd >= 0)
        drain(r->fd);
    batch_put(&s->all, b, r, READY_READABLE);
}

/* A ONESHOT source with two knotes has reported one: the other must not wake anybody either, in
 * this queue or one around it. */
static void disable_others(selector *s, const room *b, const struct kevent *entries, int n) {
    const uint32_t both = READY_READABLE | READY_WRITABLE;
    struct kevent changes[64];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const registration *r = registration_for(s, entries[i].udata);
        if (r && r->state & DISARMED && r->state & ON_READ && r->state & ON_WRITE &&
            r->batch == s->all.batches &&
            (s->all.known[b->seen.ready[r->place]].readiness & both) != both)
            changes[count++] =
                change_for(s, index_of(&s->all, r),
                           entries[i].filter == EVFILT_READ ? ON_WRITE : ON_READ, EV_DISABLE);
        if (count < 64 && i < n - 1)
            continue;
        if (apply(s, changes, count) < 0)
            for (int one = 0; one < count; one++)
                apply(s, &changes[one], 1);
        count = 0;
    }
}

static void put_entry(selector *s, room *b, const struct kevent *e) {
    registration *r = registration_for(s, e->udata);
    if (!r) /* the bell, or stale */
        return;
    if (r->kind == KIND_WAKER) {
        put_waker(s, b, r);
        return;
    }
    put(s, b, r, readiness_of(e));
    if (e->flags & EV_ONESHOT && e->filter == EVFILT_WRITE)
        hang((kqueue_selector *)s, index_of(&s->all, r), r->trigger == 0);
}

/* A source with two directions took two entries and one place. Where that has kept others out
 * (the kernel gave as many as there was room for) they are asked for without waiting: R10. */
int kernel_decode(selector *s, room *b, int n) {
    kqueue_selector *k = (kqueue_selector *)s;
    const struct timespec at_once = {0, 0};
    struct kevent *entries = b->entries;
    int taken = 0, asked = b->capacity;
    for (;;) {
        for (int i = 0; i < n; i++)
            put_entry(s, b, &entries[taken + i]);
        if (taken == 0 && k->due)
            put_hung(k, b, b->capacity - b->filled);
        taken += n;
        bool full = n == asked;
        asked = b->capacity - b->filled;
        if (!full || asked == 0 || taken + asked > ENTRIES_PER_PLACE * b->capacity)
            break;
        n = kevent(s->fd, NULL, 0, entries + taken, asked, &at_once);
        if (n <= 0)
            break;
    }
    disable_others(s, b, entries, taken);
    return taken;
}

/* Showing what the kernel said */

#define NAME(constant) {constant, #constant}

static const bit_name flag_names[] = {
    NAME(EV_ADD),   NAME(EV_DELETE), NAME(EV_ENABLE),  NAME(EV_DISABLE),  NAME(EV_ONESHOT),
    NAME(EV_CLEAR), NAME(EV_EOF),    NAME(EV_RECEIPT), NAME(EV_DISPATCH), NAME(EV_ERROR),
};

static const char *filter_name(const struct kevent *e) {
    if (e->filter == EVFILT_READ)
        return "EVFILT_READ";
    if (e->filter == EVFILT_WRITE)
        return "EVFILT_WRITE";
#ifdef EVFILT_USER
    if (e->filter == EVFILT_USER)
        return "EVFILT_USER";
#endif
    return "another";
}

int kernel_raw(const room *b, int i, raw_field *fields, int room_for) {
    const struct kevent *e = (const struct kevent *)b->entries + i;
    const char *names[] = {"ident", "filter", "flags", "fflags", "data", "udata"};
    const int64_t numbers[] = {(int64_t)e->ident, (int64_t)e->filter,
                               (int64_t)e->flags, (int64_t)e->fflags,
                               (int64_t)e->data,  (int64_t)(uintptr_t)e->udata};
    if (room_for < 6)
        return -EINVAL;
    for (int field = 0; field < 6; field++) {
        fields[field] =
            (raw_field){.structure = "kevent", .name = names[field], .number = numbers[field]};
        snprintf(fields[field].text, sizeof fields[field].text, "%lld", (long long)numbers[field]);
    }
    snprintf(fields[1].text, sizeof fields[1].text, "%s", filter_name(e));
    name_bits(&fields[2], flag_names, sizeof flag_names / sizeof *flag_names);
    name_bits(&fields[5], NULL, 0);
    return 6;
}

/* Waking */

static int open_waker_pipe(kqueue_selector *k, waker *w, uint64_t token) {
    int ends[2];
    if (grow((void **)&k->pipes, &k->pipe_room, k->pipe_count + 1, sizeof *k->pipes) < 0)
        return -ENOMEM;
    int result = open_pipe(ends);
    if (result < 0)
        return result;
    result = registration_add(&k->common, ends[0], token, INTEREST_READABLE, TRIGGER_EDGE);
    if (result < 0) {
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    k->pipes[k->pipe_count++] = (waker_pipe){ends[0], ends[1]};
    w->fd = ends[1];
    return result;
}

int kernel_waker_open(selector *s, waker *w, uint64_t token) {
    kqueue_selector *k = (kqueue_selector *)s;
    if (k->bell_pipe[0] >= 0)
        return open_waker_pipe(k, w, token);
#ifdef EVFILT_USER
    int64_t index = registration_new(&s->all, -1, token, INTEREST_READABLE, TRIGGER_EDGE);
    if (index < 0)
        return (int)index;
    struct kevent change = change_of((ident_t)index, EVFILT_USER, EV_ADD | EV_CLEAR, 0,
                                     udata_of((uint32_t)index, &s->all.at[index]));
    int result = apply(s, &change, 1);
    if (result < 0)
        registration_end(&s->all, (uint32_t)index);
    return result < 0 ? result : (int)index;
#else
    return -ENOTSUP;
#endif
}

int kernel_waker_wake(selector *s, const waker *w) {
    return w->fd >= 0 ? write_byte(w->fd)
                      : trigger(s, w->index, udata_of(w->index, &s->all.at[w->index]));
}

void kernel_waker_close(selector *s, const registration *r) {
    kqueue_selector *k = (kqueue_selector *)s;
    for (uint32_t i = 0; i < k->pipe_count; i++) {
        if (k->pipes[i].read_end != r->fd)
            continue;
        close(k->pipes[i].read_end); /* which removes it from the queue */
        close(k->pipes[i].write_end);
        k->pipes[i] = k->pipes[--k->pipe_count];
        return;
    }
#ifdef EVFILT_USER
    struct kevent change = change_of((ident_t)index_of(&s->all, r), EVFILT_USER, EV_DELETE, 0, 0);
    apply(s, &change, 1);
#endif
}
