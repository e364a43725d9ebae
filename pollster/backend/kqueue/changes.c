/* One change at a time: which knotes it takes, and what their refusal means. */
#include "kqueue.h"

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

int kq_add_anew(selector *s, uint32_t index, unsigned on) {
    delete_one(s, index, on);
    return add_one(s, index, on);
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
int kq_look_at(registration *r) {
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
    int result = kq_look_at(r);
    if (result < 0)
        return result;
    if (before && is_live(s, index_of(&s->all, before)))
        return -EEXIST;
    if (before) {
        kq_unhang((kqueue_selector *)s, index_of(&s->all, before));
        before->state |= STALE;
    }
    result = add_all(s, index, kq_wanted(r));
    if (result < 0) {
        delete_one(s, index, ON_READ);
        delete_one(s, index, ON_WRITE);
        kq_unhang((kqueue_selector *)s, index);
    }
    return result;
}

/* In one call: first a change that fails where the number is another file's by now, then what comes
 * or is armed again, then what goes, so that a refusal loses nothing. `fresh`: see kq_is_fresh. */
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
    return add_all(s, index, kq_wanted(&s->all.at[index]));
}

/* Why the kernel has no knote to delete: the fd is closed (macOS says ENOENT then, others EBADF:
 * trio's _io_kqueue.py), FreeBSD dropped it as the pipe's reader went, or it is another file. */
int kq_explain_missing(selector *s, uint32_t index) {
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
    bool dropped = result == -ENOENT && have & ON_WRITE && kq_explain_missing(s, index) == 0;
    return dropped || result == -EPIPE || result == -EBADF ? replace(s, index) : result;
}

/* Puts back what a refused modify() has changed; s->all.at[index] is as it was before. A knote that
 * stayed has the udata of what was refused: a change that needs no memory gives it the old one. */
static void undo(selector *s, uint32_t index, bool fresh, unsigned have, unsigned want) {
    for (unsigned on = ON_READ; on <= ON_WRITE; on <<= 1) {
        struct kevent delete = change_for(s, index, on, EV_DELETE);
        struct kevent again =
            change_for(s, index, on, fresh ? flags_for(&s->all.at[index], on) : 0);
        if ((want & ~have & on) || (have & on && fresh))
            apply(s, &delete, 1);
        if (have & on)
            apply(s, &again, 1);
    }
}

int kernel_modify(selector *s, uint32_t index, const registration *before) {
    registration *r = &s->all.at[index];
    unsigned have = r->state & (ON_READ | ON_WRITE), want = kq_wanted(r);
    bool fresh = kq_is_fresh(r, before);
    if (r->interest & INTEREST_PRIORITY)
        return -ENOTSUP;
    if (!(r->state & (HUNG | STALE)) && is_unchanged(r, before))
        return 0;
    int result = rearm(s, index, fresh, have, want);
    if (result == 0) {
        if (!(r->state & HUNG))
            r->state = (uint16_t)((r->state & LASTING) | want);
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
    return deleted ? 0 : kq_explain_missing(s, index);
}
