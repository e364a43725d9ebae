/* EVFILT_VNODE: an inotify for each. inotify(7) names fewer changes than FreeBSD's vop_*_post hooks
 * (sys/kern/vfs_subr.c); comparing fstat(2) before and after tells some of the rest apart. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

/* The path leads to the very file that is open, whatever its name is by now. */
static int watch(struct knote *kn, const char *below, uint32_t mask) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d%s", kn->descriptor.fd, below);
    return inotify_add_watch(kn->source, path, mask);
}

static uint32_t mask_for(const struct knote *kn) {
    uint32_t mask = IN_ATTRIB | IN_MOVE_SELF;
    if (S_ISDIR(kn->vnode.was.st_mode))
        mask |= IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
    else
        mask |= IN_MODIFY;
    if (kn->sfflags & NOTE_OPEN)
        mask |= IN_OPEN;
    if (kn->sfflags & NOTE_CLOSE)
        mask |= IN_CLOSE_NOWRITE;
    if (kn->sfflags & NOTE_CLOSE_WRITE)
        mask |= IN_CLOSE_WRITE;
    if (kn->sfflags & NOTE_READ)
        mask |= IN_ACCESS;
    return mask;
}

/* Of a directory which is removed while it is open only its parent hears. */
static void watch_parent(struct knote *kn) {
    if (!S_ISDIR(kn->vnode.was.st_mode))
        return;
    if (kn->vnode.parent >= 0)
        inotify_rm_watch(kn->source, kn->vnode.parent); /* fails if the parent is gone: as good */
    kn->vnode.parent = watch(kn, "/..", IN_DELETE | IN_MASK_ADD);
    if (kn->vnode.parent == kn->vnode.watch)
        kn->vnode.parent = -1; /* the root directory is its own */
}

static int vnode_attach(struct knote *kn) {
    int error = descriptor_attach_named(&kn->descriptor, (int)kn->event.ident, &kn->vnode.was);
    if (error)
        return error;
    kn->source = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (kn->source < 0)
        return errno;
    kn->vnode.watch = watch(kn, "", mask_for(kn));
    if (kn->vnode.watch < 0)
        return errno;
    kn->vnode.parent = -1;
    watch_parent(kn);
    return knote_listen(kn, kn->source);
}

/* IN_MODIFY is said of write(2) and of ftruncate(2). What became smaller, but not empty, is taken
 * for written anew after O_TRUNC. Recorded: "EVFILT_VNODE", ftruncate 0. */
static unsigned int modified(struct stat *was, const struct stat *is) {
    off_t before = was->st_size;
    was->st_size = is->st_size;
    if (misbehave_truncates())
        return NOTE_ATTRIB | NOTE_WRITE | NOTE_EXTEND;
    if (is->st_size > before)
        return NOTE_WRITE | NOTE_EXTEND;
    if (is->st_size == before)
        return NOTE_WRITE;
    if (is->st_size == 0 && kernel_has(SILENT_TRUNCATION))
        return 0;
    return is->st_size == 0 ? NOTE_ATTRIB : NOTE_ATTRIB | NOTE_WRITE | NOTE_EXTEND;
}

/* IN_ATTRIB is also said of link(2), and of unlink(2) and a rename(2) that takes the name away.
 * A directory's links are those of what is in it. */
static unsigned int attributes_changed(struct stat *was, const struct stat *is) {
    bool same =
        is->st_mode == was->st_mode && is->st_uid == was->st_uid && is->st_gid == was->st_gid;
    bool fewer = S_ISDIR(is->st_mode) ? is->st_nlink == 0 && was->st_nlink > 0
                                      : is->st_nlink < was->st_nlink;
    bool more = !S_ISDIR(is->st_mode) && is->st_nlink > was->st_nlink;
    was->st_mode = is->st_mode;
    was->st_uid = is->st_uid;
    was->st_gid = is->st_gid;
    was->st_nlink = is->st_nlink;
    unsigned int hint = more ? NOTE_LINK : 0;
    /* Recorded: "EVFILT_VNODE", unlink 2nd name: DELETE, though one is left. */
    if (fewer && is->st_nlink > 0 && kernel_has(UNLINK_IS_LINK))
        hint |= NOTE_LINK;
    else
        hint |= fewer ? NOTE_DELETE : 0;
    return hint && same ? hint : hint | NOTE_ATTRIB;
}

static unsigned int entry_changed(const struct inotify_event *event) {
    unsigned int link = event->mask & IN_ISDIR ? NOTE_LINK : 0;
    if (event->mask & (IN_MOVED_FROM | IN_MOVED_TO))
        return NOTE_WRITE | NOTE_EXTEND | link;
    return event->mask & (IN_CREATE | IN_DELETE) ? NOTE_WRITE | link : 0;
}

static unsigned int self_changed(struct knote *kn, uint32_t mask) {
    struct stat is;
    unsigned int hint = 0;
    if (mask & IN_MODIFY && fstat(kn->descriptor.fd, &is) == 0)
        hint |= modified(&kn->vnode.was, &is);
    if (mask & IN_ATTRIB && fstat(kn->descriptor.fd, &is) == 0)
        hint |= attributes_changed(&kn->vnode.was, &is);
    if (mask & IN_MOVE_SELF) {
        hint |= NOTE_RENAME;
        watch_parent(kn);
    }
    hint |= mask & IN_OPEN ? NOTE_OPEN : 0;
    hint |= mask & IN_CLOSE_NOWRITE ? NOTE_CLOSE : 0;
    hint |= mask & IN_CLOSE_WRITE ? NOTE_CLOSE_WRITE : 0;
    hint |= mask & IN_ACCESS ? NOTE_READ : 0;
    return hint;
}

static unsigned int parent_changed(struct knote *kn) {
    struct stat is;
    if (kn->vnode.was.st_nlink == 0 || fstat(kn->descriptor.fd, &is) < 0 || is.st_nlink > 0)
        return 0;
    kn->vnode.was.st_nlink = 0;
    return NOTE_DELETE;
}

static unsigned int changed(struct knote *kn, const struct inotify_event *event) {
    if (event->mask & IN_Q_OVERFLOW)
        return NOTE_WRITE;
    if (event->wd == kn->vnode.parent)
        return parent_changed(kn);
    if (event->wd != kn->vnode.watch) /* a parent of earlier */
        return 0;
    return event->len > 0 ? entry_changed(event) : self_changed(kn, event->mask);
}

/* A rename within one directory: FreeBSD says WRITE of it only. */
static bool is_one_move(const struct inotify_event *from, const struct inotify_event *to) {
    return from->mask & IN_MOVED_FROM && to->mask & IN_MOVED_TO && from->cookie == to->cookie;
}

static void take_changes(struct knote *kn, const char *at, const char *end) {
    while (at < end) {
        const struct inotify_event *event = (const void *)at;
        at += sizeof(*event) + event->len;
        unsigned int hint;
        if (at < end && is_one_move(event, (const void *)at)) {
            hint = NOTE_WRITE;
            at += sizeof(*event) + ((const struct inotify_event *)(const void *)at)->len;
        } else {
            hint = changed(kn, event);
        }
        if (kernel_has(NO_EXTEND))
            hint &= ~(unsigned int)NOTE_EXTEND;
        kn->event.fflags |= hint & kn->sfflags;
    }
}

static bool vnode_event(struct knote *kn) {
    alignas(struct inotify_event) char buffer[4096];
    ssize_t size;
    while ((size = read(kn->source, buffer, sizeof(buffer))) > 0)
        take_changes(kn, buffer, buffer + size);
    return kn->event.fflags != 0;
}

static int vnode_touch(struct knote *kn, const struct kevent *change) {
    vnode_event(kn); /* what happened until now was asked for by the earlier fflags */
    kn->sfflags = change->fflags;
    kn->sdata = change->data;
    return watch(kn, "", mask_for(kn)) < 0 ? errno : 0;
}

const struct filter vnode_filter = {
    .is_descriptor = true,
    .attach = vnode_attach,
    .release = knote_close_source,
    .event = vnode_event,
    .touch = vnode_touch,
};
