/* Paths: EVFILT_VNODE of the file, which is open for it; of the folder, while there is none. */
#include "watches.h"

#ifdef O_EVTONLY /* macOS: does not keep a volume from being unmounted */
#define OPEN_MODE (O_EVTONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#else
#define OPEN_MODE (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#endif

#ifdef NOTE_TRUNCATE /* OpenBSD */
#define TRUNCATED NOTE_TRUNCATE
#else
#define TRUNCATED 0u
#endif

const bool kernel_truncation_is_attributes = true; /* on FreeBSD */

#define HELD (NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE | NOTE_LINK)

static int open_and_add(path_watch *p, const char *path, unsigned notes) {
    int fd = open(path, OPEN_MODE);
    if (fd < 0)
        return -errno;
    int result = kq_change(&p->common, (ident_t)fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, notes);
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

static void delete_and_close(path_watch *p, int *fd) {
    if (*fd >= 0) {
        kq_change(&p->common, (ident_t)*fd, EVFILT_VNODE, EV_DELETE, 0);
        close(*fd);
    }
    *fd = -1;
}

static unsigned notes_for(const path_watch *p) {
    unsigned notes = HELD;
    if (p->wanted & (PATH_WRITTEN | PATH_EXTENDED))
        notes |= NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | TRUNCATED;
    if (p->wanted & PATH_ATTRIBUTES)
        notes |= NOTE_ATTRIB;
    return notes;
}

int kernel_path_watch(path_watch *p) {
    int result = open_and_add(p, p->path, notes_for(p));
    if (result < 0)
        return result;
    p->file = result;
    if (fstat(p->file, &p->was) == 0)
        return 0;
    int error = errno;
    kernel_path_leave(p);
    return -error;
}

void kernel_path_leave(path_watch *p) {
    delete_and_close(p, &p->file);
}

void kernel_path_await(path_watch *p) {
    p->parent =
        p->folder ? open_and_add(p, p->folder, NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | HELD) : -1;
}

void kernel_path_found(path_watch *p) {
    delete_and_close(p, &p->parent);
}

static int path_watch_open(watch *w) {
    int result = kq_open_watch(w);
    if (result < 0)
        return result;
    result = path_open((path_watch *)w);
    if (result < 0)
        kq_close_watch(w, false);
    return result;
}

static uint32_t hint_of(path_watch *p, const struct kevent *told) {
    uint32_t hints = 0, notes = (uint32_t)told->fflags;
    if (told->filter != EVFILT_VNODE)
        return 0;
    if (told->ident == (ident_t)p->parent) {
        if (notes & (NOTE_DELETE | NOTE_RENAME | NOTE_REVOKE))
            kernel_path_found(p);
        return PATH_LINKED;
    }
    if (told->ident != (ident_t)p->file)
        return 0;
    if (notes & (NOTE_WRITE | NOTE_EXTEND))
        hints |= PATH_WRITTEN;
    if (notes & (NOTE_ATTRIB | TRUNCATED))
        hints |= PATH_ATTRIBUTES;
    if (notes & NOTE_LINK)
        hints |= PATH_LINKED;
    if (notes & NOTE_RENAME)
        hints |= PATH_RENAMED;
    /* OpenBSD: the end alone, where the file system is gone (kern_event.c, dead_filtops). */
    if (notes & (NOTE_DELETE | NOTE_REVOKE) || told->flags & EV_EOF)
        hints |= PATH_DELETED;
    return hints;
}

#define ENTRIES 3 /* of the file, the folder and the primer */

static bool path_look(watch *w) {
    path_watch *p = (path_watch *)w;
    struct kevent told[ENTRIES];
    uint32_t hints = 0;
    int n = kq_take(w, told, ENTRIES);
    for (int i = 0; i < n; i++)
        hints |= hint_of(p, &told[i]);
    bool due = w->due;
    uint32_t changes = path_changes(p, hints) & p->wanted;
    kq_hush_primer(w);
    w->due = false;
    p->pending |= changes;
    return changes || (due && p->pending);
}

static void path_renew(watch *w, bool fresh) {
    (void)fresh;
    if (((path_watch *)w)->pending)
        w->due = kq_prime(w) == 0;
}

static void path_watch_close(watch *w, bool forked) {
    path_watch *p = (path_watch *)w;
    if (p->file >= 0)
        close(p->file);
    if (p->parent >= 0)
        close(p->parent);
    kq_close_watch(w, forked);
    path_close(p);
}

const watch_calls kernel_path = {path_watch_open, path_look, path_renew, path_watch_close};
