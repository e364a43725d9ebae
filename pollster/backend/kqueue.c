/* kqueue(2): macOS, FreeBSD, NetBSD, OpenBSD, DragonFly.
 *
 * A direction of the interest is a filter with a knote of its own. */
#include "kqueue.h"
#include <stdio.h>

const size_t kernel_selector_size = sizeof(kqueue_selector);
#define ENTRIES_PER_PLACE 2
const size_t kernel_place_size = ENTRIES_PER_PLACE * sizeof(struct kevent);

/* Opening and closing */

int kernel_open(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    k->bell_pipe[0] = k->bell_pipe[1] = -1;
    s->fd = kqueue();
    if (s->fd < 0)
        return -errno;
    int result = fcntl(s->fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : kq_open_bell(k);
    if (result < 0)
        kernel_close(s);
    return result;
}

int kernel_kick(selector *s) {
    return kq_ring((kqueue_selector *)s);
}

void kernel_close(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    close(s->fd);
    kq_forget_bell(k);
    free(k->hung);
    free(k->pipes);
}

/* A queue is not inherited over fork, and its number may be another file's by now. */
void kernel_forget(selector *s) {
    kq_forget_bell((kqueue_selector *)s);
}

int kernel_fd(selector *s) {
    return s->fd;
}

/* Registering */

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
        r->state |= (uint16_t)on;
    if (on != ON_WRITE || r->kind != KIND_PIPE || (result != -EPIPE && result != -EBADF))
        return result;
    change = change_for(s, index, on, EV_DELETE);
    apply(s, &change, 1);
    return r->state & NO_WRITE ? 0 : kq_hang((kqueue_selector *)s, index, true);
}

static void delete_one(selector *s, uint32_t index, unsigned on) {
    struct kevent change = change_for(s, index, on, EV_DELETE);
    if (s->all.at[index].state & on)
        apply(s, &change, 1);
    s->all.at[index].state &= (uint16_t)~on;
}

/* Both directions in one call; where that fails, one by one, to know which one it was. */
static int add_all(selector *s, uint32_t index, unsigned on) {
    struct kevent changes[2];
    int n = 0, result = 0;
    for (unsigned one = ON_READ; one <= ON_WRITE; one <<= 1)
        if (on & one)
            changes[n++] = change_for(s, index, one, flags_for(&s->all.at[index], one));
    if (apply(s, changes, n) == 0) {
        s->all.at[index].state |= (uint16_t)on;
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
    const registration *r = &s->all.at[index];
    if (r->state & STALE)
        return false;
    if (r->state & HUNG)
        return kq_is_same_pipe((kqueue_selector *)s, index);
    if (!(r->state & (ON_READ | ON_WRITE)))
        return fcntl(r->fd, F_GETFD) >= 0;
    return has_knote(s, index, r->state & ON_READ ? ON_READ : ON_WRITE);
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
    if (before) {
        kq_unhang((kqueue_selector *)s, index_of(&s->all, before));
        before->state |= STALE;
    }
    result = add_all(s, index, wanted(r));
    if (result < 0) {
        delete_one(s, index, ON_READ);
        delete_one(s, index, ON_WRITE);
        kq_unhang((kqueue_selector *)s, index);
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
    kq_unhang((kqueue_selector *)s, index);
    return add_all(s, index, wanted(&s->all.at[index]));
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

static int rearm(selector *s, uint32_t index, bool fresh, unsigned have, unsigned want) {
    const registration *r = &s->all.at[index];
    if (r->state & (HUNG | STALE))
        return is_live(s, index) ? replace(s, index) : -ENOENT;
    int result = modify(s, index, fresh, have, want);
    if (r->kind != KIND_PIPE || !((have | want) & ON_WRITE))
        return result;
    bool dropped = result == -ENOENT && have & ON_WRITE && explain_missing(s, index) == 0;
    return dropped || result == -EPIPE || result == -EBADF ? replace(s, index) : result;
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
    if (!(r->state & (HUNG | STALE)) && is_unchanged(r, before))
        return 0;
    int result = rearm(s, index, fresh, have, want);
    if (result == 0) {
        if (!(r->state & HUNG))
            r->state = (uint16_t)((r->state & (NO_READ | NO_WRITE)) | want);
        r->state &= (uint16_t)~DISARMED;
        return 0;
    }
    if (fcntl(r->fd, F_GETFD) < 0)
        return -errno;
    if (result == -ENOENT) {
        kq_unhang((kqueue_selector *)s, index);
        return -ENOENT;
    }
    r->interest = before->interest;
    r->trigger = before->trigger;
    r->generation = before->generation;
    if ((r->state & (ON_READ | ON_WRITE)) == have && !(before->state & HUNG))
        undo(s, index, fresh, have, want);
    else
        replace(s, index);
    return result;
}

int kernel_delete(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    struct kevent changes[2];
    int n = 0, deleted = 0;
    bool live = !(r->state & (HUNG | STALE)) || is_live(s, index);
    kq_unhang((kqueue_selector *)s, index);
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
        int result = atomic_load(&s->closed) ? -ESHUTDOWN : kq_look_again(k);
        pthread_mutex_unlock(&s->all.lock);
        if (result < 0)
            return result;
    }
    int n = kevent(s->fd, NULL, 0, b->entries, b->capacity, timeout < 0 ? NULL : &limit);
    return n < 0 ? -errno : n;
}

/* ONESHOT is the whole source's (R4): the first report disarms it, a second one of the same batch
 * joins it, and a later one (another thread may have taken it already) is dropped. */
void kq_put(selector *s, room *b, registration *r, uint32_t ready) {
    if (r->state & DISARMED && r->batch != s->all.batches)
        return;
    batch_put(&s->all, b, r, ready);
    if (r->trigger & TRIGGER_ONESHOT && r->batch == s->all.batches)
        r->state |= DISARMED;
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

#define ASIDE_MAX 64 /* how many knotes are seen to in one call, beside a wait */

/* A ONESHOT source with two knotes has reported one: the other must not wake anybody either, in
 * this queue or one around it. */
static void disable_others(selector *s, const room *b, const struct kevent *entries, int n) {
    const uint32_t both = READY_READABLE | READY_WRITABLE;
    struct kevent changes[ASIDE_MAX];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const registration *r = registration_for(s, entries[i].udata);
        if (r && r->state & DISARMED && r->state & ON_READ && r->state & ON_WRITE &&
            r->batch == s->all.batches && (readiness_in(b, r) & both) != both)
            changes[count++] =
                change_for(s, index_of(&s->all, r),
                           entries[i].filter == EVFILT_READ ? ON_WRITE : ON_READ, EV_DISABLE);
        if (count < ASIDE_MAX && i < n - 1)
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
        kq_put_waker(s, b, r);
        return;
    }
    if (wanted(r) & (e->filter == EVFILT_READ ? ON_READ : ON_WRITE))
        kq_put(s, b, r, readiness_of(e));
    if (e->flags & EV_ONESHOT && e->filter == EVFILT_WRITE)
        kq_hang((kqueue_selector *)s, index_of(&s->all, r), r->trigger == 0);
}

/* Asks a queue of its own for the state of some knotes, and adds it to the batch. */
static void ask_aside(selector *s, room *b, const struct kevent *knotes, int n) {
    const struct timespec at_once = {0, 0};
    struct kevent told[ASIDE_MAX];
    int aside = kqueue();
    if (aside < 0)
        return;
    int count = kevent(aside, knotes, n, told, n, &at_once);
    if (count > 0 && told[0].flags & EV_ERROR) /* closed meanwhile; then the ready ones wait */
        count = kevent(aside, NULL, 0, told, n, &at_once);
    close(aside);
    for (int i = 0; i < count; i++) {
        registration *r = registration_for(s, told[i].udata);
        if (r)
            batch_put(&s->all, b, r, readiness_of(&told[i]));
    }
}

/* A full batch may have the entry of one direction and not of the other, where epoll's has both.
 * What is told of the other one so is told again by its own entry: a level, or an edge too many
 * (R5). A full batch is rare, so this may cost. */
static void complete(selector *s, room *b, const struct kevent *entries, int n) {
    const uint32_t both = READY_READABLE | READY_WRITABLE;
    struct kevent others[ASIDE_MAX];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const registration *r = registration_for(s, entries[i].udata);
        if (r && r->batch == s->all.batches && r->state & ON_READ && r->state & ON_WRITE &&
            !(r->state & (NO_READ | NO_WRITE)) && (readiness_in(b, r) & both) != both)
            others[count++] =
                change_for(s, index_of(&s->all, r),
                           entries[i].filter == EVFILT_READ ? ON_WRITE : ON_READ, EV_ADD);
        if (count == ASIDE_MAX || (count && i == n - 1)) {
            ask_aside(s, b, others, count);
            count = 0;
        }
    }
}

/* A source with two directions took two entries and one place. Where that has kept others out
 * (the kernel gave as many as there was room for) they are asked for without waiting: R10. */
int kernel_decode(selector *s, room *b, int n) {
    kqueue_selector *k = (kqueue_selector *)s;
    const struct timespec at_once = {0, 0};
    struct kevent *entries = b->entries;
    int taken = 0, asked = b->capacity;
    bool full;
    for (;;) {
        for (int i = 0; i < n; i++)
            put_entry(s, b, &entries[taken + i]);
        if (taken == 0 && k->due)
            kq_put_hung(k, b, b->capacity - b->filled);
        taken += n;
        full = n == asked;
        asked = b->capacity - b->filled;
        if (!full || asked == 0 || taken + asked > ENTRIES_PER_PLACE * b->capacity)
            break;
        n = kevent(s->fd, NULL, 0, entries + taken, asked, &at_once);
        if (n <= 0)
            break;
    }
    disable_others(s, b, entries, taken);
    if (full)
        complete(s, b, entries, taken);
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
