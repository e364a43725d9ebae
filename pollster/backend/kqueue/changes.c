/* One change at a time: which knotes it takes, and what their refusal means. */
#include "kqueue.h"

/* Adds (or arms again) one knote. A pipe without a reader is EPIPE, and EBADF on NetBSD
 * (libevent's kqueue.c). Old macOS had added it all the same (mio#582; from XNU 7195 on it has no
 * EPIPE), so it is taken away. */
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

static void delete_all(selector *s, uint32_t index) {
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        delete_one(s, index, on);
}

int kq_add_anew(selector *s, uint32_t index, unsigned on) {
    delete_one(s, index, on);
    return add_one(s, index, on);
}

/* Whether to do without the filter that was refused: OpenBSD has none for the direction that a
 * FIFO's end does not have (fifo_vnops.c, fifo_kqfilter). */
static bool can_do_without(registration *r) {
    if (r->kind != KIND_PIPE || !kq_missing(r) || r->state & ONE_WAY)
        return false;
    r->state |= ONE_WAY;
    return true;
}

/* All in one call; where that fails, one by one, to know which one it was. */
static int add_all(selector *s, uint32_t index) {
    registration *r = &s->all.at[index];
    unsigned on = kq_knotes(r);
    struct kevent changes[3];
    int n = 0, result = 0;
    for (unsigned one = ON_READ; one <= ON_EXCEPT; one <<= 1)
        if (on & one)
            changes[n++] = change_for(s, index, one, flags_for(r, one));
    if (apply(s, changes, n) == 0) {
        r->state |= (uint16_t)on;
        return 0;
    }
    for (unsigned one = ON_READ; one <= ON_EXCEPT && result == 0; one <<= 1)
        if (on & one)
            result = add_one(s, index, one);
    if (result != -EINVAL || !can_do_without(r))
        return result;
    delete_all(s, index);
    return add_all(s, index);
}

/* Whether the kernel still has a knote of this registration: where its fd was closed it has none,
 * whatever the number is now. A change without EV_ADD finds that out: ENOENT. */
static bool is_live(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    if (r->state & STALE)
        return false;
    if (r->state & HUNG)
        return kq_is_same_pipe((kqueue_selector *)s, index);
    if (!(r->state & KNOTES))
        return fcntl(r->fd, F_GETFD) >= 0;
    return has_knote(s, index, first_of(r->state & KNOTES));
}

/* A queue is a FIFO without permissions to fstat(2), whose block is none or an entry of it: the
 * five kernels' kqueue_stat(). A pipe's is a page or more. Linux, for the tests, knows no type. */
static bool is_like_queue(const struct stat *status) {
    return status->st_mode == S_IFIFO
               ? status->st_blksize == 0 || (size_t)status->st_blksize == sizeof(struct kevent)
               : (status->st_mode & S_IFMT) == 0;
}

/* kqueue takes files and directories, and reports the read end of a pipe as writable; epoll
 * refuses the ones (R14) and is silent on the other, so both are told by their type. FreeBSD's and
 * OpenBSD's pipes go both ways: there the access mode says so, and the report is true. */
int kq_look_at(registration *r) {
    struct stat status;
    if (r->kind == KIND_PLAIN)
        return 0;
    if (fstat(r->fd, &status) < 0)
        return -errno;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return -EPERM;
    if (!S_ISSOCK(status.st_mode))
        r->state |= NO_EXCEPT;
    if (is_like_queue(&status))
        r->kind = KIND_QUEUE;
    else if (S_ISFIFO(status.st_mode)) {
        int mode = fcntl(r->fd, F_GETFL);
        if (mode < 0)
            return -errno;
        r->kind = KIND_PIPE;
        if ((mode & O_ACCMODE) == O_RDONLY)
            r->state |= NO_WRITE;
        if ((mode & O_ACCMODE) == O_WRONLY)
            r->state |= NO_READ;
    } else if (S_ISCHR(status.st_mode) && isatty(r->fd)) {
        r->kind = KIND_TERMINAL;
    }
    return 0;
}

/* DragonFly says EOPNOTSUPP where the others say EINVAL: of an interest that a queue does not
 * have. Of a socket it is out-of-band data, on an older release than the filter. */
static int meant(const registration *refused, int result) {
    if (result != -EINVAL && result != -EOPNOTSUPP && result != -ENOTSUP)
        return result;
    return kq_wanted(refused) & ON_EXCEPT ? -ENOTSUP : -EINVAL;
}

int kernel_add(selector *s, uint32_t index) {
    registration *r = &s->all.at[index], *before = registration_of(&s->all, r->fd);
    if (r->interest & INTEREST_PRIORITY && !quirk_tells_priority())
        return -ENOTSUP;
    int result = kq_look_at(r);
    if (result < 0)
        return result;
    if (before && is_live(s, index_of(&s->all, before)))
        return -EEXIST;
    if (r->kind == KIND_QUEUE)
        result = nesting_add_copy(s, index, kq_is_copy);
    if (result < 0)
        return result;
    if (before) {
        kq_unhang((kqueue_selector *)s, index_of(&s->all, before));
        before->state |= STALE;
    }
    result = meant(r, add_all(s, index));
    if (result < 0) {
        delete_all(s, index);
        kq_unhang((kqueue_selector *)s, index);
    }
    return result;
}

/* In one call: first a change that fails where the number is another file's by now, then what comes
 * or is armed again, then what goes, so that a refusal loses nothing. */
static int modify(selector *s, uint32_t index, const registration *before) {
    const registration *r = &s->all.at[index];
    unsigned have = r->state & KNOTES, want = kq_knotes(r);
    struct kevent changes[7];
    int n = 0;
    if (have)
        changes[n++] = change_for(s, index, first_of(have), 0);
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1) {
        if (have & want & on && kq_is_fresh(r, before, on))
            changes[n++] = change_for(s, index, on, EV_DELETE);
        if (want & on)
            changes[n++] = change_for(s, index, on, flags_for(r, on));
    }
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        if (have & ~want & on)
            changes[n++] = change_for(s, index, on, EV_DELETE);
    return apply(s, changes, n);
}

/* The same one by one, for a pipe that is hung up or just found to be. */
static int replace(selector *s, uint32_t index) {
    delete_all(s, index);
    kq_unhang((kqueue_selector *)s, index);
    return add_all(s, index);
}

/* Why the kernel has no knote to delete: the fd is closed (macOS says ENOENT then, others EBADF:
 * trio's _io_kqueue.py), FreeBSD dropped it as the pipe's reader went, or it is another file. */
int kq_explain_missing(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    if (fcntl(r->fd, F_GETFD) < 0)
        return 0;
    bool is_dropped = r->kind == KIND_PIPE && r->state & ON_WRITE && r->state & ON_READ &&
                      has_knote(s, index, ON_READ);
    return is_dropped ? 0 : -ENOENT;
}

static int rearm(selector *s, uint32_t index, const registration *before) {
    registration *r = &s->all.at[index];
    if (r->state & (HUNG | STALE))
        return is_live(s, index) ? replace(s, index) : -ENOENT;
    unsigned have = r->state & KNOTES;
    int result = modify(s, index, before);
    if (result == 0)
        r->state = (uint16_t)((r->state & LASTING) | kq_knotes(r));
    if (r->kind != KIND_PIPE || !((have | kq_knotes(r)) & ON_WRITE))
        return result;
    bool dropped = result == -ENOENT && have & ON_WRITE && kq_explain_missing(s, index) == 0;
    bool refused = result == -EINVAL && can_do_without(r);
    return dropped || refused || result == -EPIPE || result == -EBADF ? replace(s, index) : result;
}

/* Puts back what a refused modify() has changed; s->all.at[index] is as it was before. A knote that
 * stayed has the udata of what was refused. OpenBSD gives it the old one only with EV_ADD
 * (kern_event.c, kqueue_register), which FreeBSD may have no memory for: then without. */
static void undo(selector *s, uint32_t index, const registration *refused) {
    const registration *r = &s->all.at[index];
    unsigned have = r->state & KNOTES, want = kq_knotes(refused);
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1) {
        unsigned flags = flags_for(r, on);
        if (r->state & DISARMED)
            flags = (flags & ~(unsigned)EV_ENABLE) | EV_DISABLE;
        struct kevent delete = change_for(s, index, on, EV_DELETE),
                      again = change_for(s, index, on, flags), same = change_for(s, index, on, 0);
        if (want & on && (!(have & on) || kq_is_fresh(r, refused, on)))
            apply(s, &delete, 1);
        if (have & on && apply(s, &again, 1) < 0)
            apply(s, &same, 1);
    }
}

int kernel_modify(selector *s, uint32_t index, const registration *before) {
    registration *r = &s->all.at[index];
    unsigned have = r->state & KNOTES;
    if (r->interest & INTEREST_PRIORITY && !quirk_tells_priority())
        return -ENOTSUP;
    if (!(r->state & (HUNG | STALE)) && is_unchanged(r, before))
        return 0;
    int result = rearm(s, index, before);
    if (result == 0) {
        r->state &= (uint16_t)~DISARMED;
        return 0;
    }
    if (fcntl(r->fd, F_GETFD) < 0)
        return -errno;
    if (result == -ENOENT) {
        kq_unhang((kqueue_selector *)s, index);
        return -ENOENT;
    }
    const registration refused = *r;
    r->interest = before->interest;
    r->trigger = before->trigger;
    r->generation = before->generation;
    if ((r->state & KNOTES) == have && !(before->state & HUNG))
        undo(s, index, &refused);
    else
        replace(s, index);
    return meant(&refused, result);
}

/* Why a pipe's knote is refused, or was dropped: its reader went. It is not told of that yet. */
static int pause_broken(selector *s, uint32_t index, int result) {
    const registration *r = &s->all.at[index];
    const struct kevent delete = change_for(s, index, ON_WRITE, EV_DELETE);
    if (r->kind != KIND_PIPE)
        return result;
    if (result == -ENOENT ? kq_explain_missing(s, index) < 0 : result != -EPIPE && result != -EBADF)
        return result;
    apply(s, &delete, 1); /* old macOS: see add_one */
    return kq_hang((kqueue_selector *)s, index, false);
}

static int pause_direction(selector *s, uint32_t index, unsigned on) {
    registration *r = &s->all.at[index];
    const struct kevent changes[] = {change_for(s, index, on, EV_DELETE),
                                     change_for(s, index, on, kq_paused_flags(r, on))};
    int result = apply(s, changes, 2);
    if (result == 0)
        return 0;
    if (fcntl(r->fd, F_GETFD) < 0)
        return -errno;
    if (on == ON_WRITE)
        result = pause_broken(s, index, result);
    if (result < 0 && result != -ENOENT && add_one(s, index, on) < 0)
        r->state &= (uint16_t)~on;
    return result;
}

int kernel_pause(selector *s, uint32_t index) {
    registration *r = &s->all.at[index];
    const unsigned have = r->state & KNOTES;
    int result = 0;
    if (r->state & (HUNG | STALE)) {
        if (fcntl(r->fd, F_GETFD) < 0)
            return -errno;
        result = is_live(s, index) ? kq_hang((kqueue_selector *)s, index, false) : -ENOENT;
    }
    for (unsigned on = ON_READ; on <= ON_EXCEPT && result == 0; on <<= 1)
        if (have & on)
            result = pause_direction(s, index, on);
    if (result == -ENOENT)
        kq_unhang((kqueue_selector *)s, index);
    if (result == 0)
        r->state |= DISARMED;
    return result;
}

bool kernel_is_armed(const registration *r) {
    return !(r->state & DISARMED);
}

int kernel_delete(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    struct kevent changes[3];
    int n = 0, deleted = 0;
    bool live = !(r->state & (HUNG | STALE)) || is_live(s, index);
    kq_unhang((kqueue_selector *)s, index);
    /* READ last: without it nothing shows that FreeBSD has dropped a pipe's WRITE, of which another
     * thread is just being told. */
    for (unsigned on = ON_EXCEPT; on >= ON_READ; on >>= 1)
        if (r->state & on)
            changes[n++] = change_for(s, index, on, EV_DELETE);
    if (live && apply(s, changes, n) == 0)
        return 0;
    for (int i = 0; i < n; i++)
        deleted += apply(s, &changes[i], 1) == 0;
    return deleted ? 0 : kq_explain_missing(s, index);
}
