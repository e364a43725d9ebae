/* Paths: an inotify(7) for each. */
#include "common/watches.h"
#include <stdalign.h>
#include <sys/inotify.h>
#include <unistd.h>

const bool kernel_truncation_is_attributes = false;

static uint32_t mask_for(const path_watch *p) {
    uint32_t mask = IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF;
    if (!(p->wanted & (PATH_WRITTEN | PATH_EXTENDED)))
        return mask;
    if (S_ISDIR(p->was.st_mode))
        return mask | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
    return mask | IN_MODIFY;
}

int kernel_path_watch(path_watch *p) {
    if (stat(p->path, &p->was) < 0)
        return -errno;
    p->file = inotify_add_watch(p->common.fd, p->path, mask_for(p));
    return p->file < 0 ? -errno : 0;
}

/* Fails where the kernel has done it: the file is gone. */
void kernel_path_leave(path_watch *p) {
    if (p->file >= 0)
        inotify_rm_watch(p->common.fd, p->file);
    p->file = -1;
}

void kernel_path_await(path_watch *p) {
    const uint32_t mask =
        IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF | IN_ONLYDIR;
    p->parent = p->folder ? inotify_add_watch(p->common.fd, p->folder, mask) : -1;
}

void kernel_path_found(path_watch *p) {
    if (p->parent >= 0)
        inotify_rm_watch(p->common.fd, p->parent);
    p->parent = -1;
}

static int path_watch_open(watch *w) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        return -errno;
    int result = path_open((path_watch *)w);
    if (result < 0)
        close(w->fd);
    return result;
}

/* An event with a name is about what is in a directory. */
static uint32_t hint_of(path_watch *p, const struct inotify_event *event) {
    uint32_t hints = 0;
    if (event->mask & IN_Q_OVERFLOW)
        return PATH_WRITTEN | PATH_ATTRIBUTES;
    if (event->wd == p->parent) {
        if (event->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED))
            kernel_path_found(p);
        return PATH_LINKED;
    }
    if (event->wd != p->file)
        return 0;
    if (event->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY))
        hints |= PATH_WRITTEN;
    if (event->mask & IN_ATTRIB && event->len == 0)
        hints |= PATH_ATTRIBUTES;
    if (event->mask & IN_MOVE_SELF)
        hints |= PATH_RENAMED;
    if (event->mask & (IN_DELETE_SELF | IN_UNMOUNT | IN_IGNORED))
        hints |= PATH_DELETED;
    if (event->mask & IN_IGNORED) /* the kernel has ended the watch */
        p->file = -1;
    return hints;
}

/* Reads what is there, to the end. */
static uint32_t hints_of(path_watch *p) {
    alignas(struct inotify_event) char buffer[4096];
    uint32_t hints = 0;
    ssize_t size;
    while ((size = read(p->common.fd, buffer, sizeof buffer)) > 0)
        for (const char *at = buffer; at < buffer + size;) {
            const struct inotify_event *event = (const void *)at;
            hints |= hint_of(p, event);
            at += sizeof *event + event->len;
        }
    return hints;
}

static bool path_look(watch *w) {
    path_watch *p = (path_watch *)w;
    bool due = w->due;
    uint32_t changes = path_changes(p, hints_of(p)) & p->wanted;
    w->due = false;
    p->pending |= changes;
    return changes || (due && p->pending);
}

/* The end of a watch, IN_IGNORED, of a directory which is not watched. */
static bool is_put_there(const path_watch *p, const char *folder) {
    int other = inotify_add_watch(p->common.fd, folder, IN_DELETE_SELF | IN_MASK_CREATE);
    return other >= 0 && inotify_rm_watch(p->common.fd, other) == 0;
}

/* The end of its own watch, and another one: what happens in between shows by the file itself. */
static bool is_watched_anew(path_watch *p) {
    p->pending |= path_changes(p, hints_of(p)) & p->wanted;
    if (p->file < 0 && p->parent < 0)
        return false;
    kernel_path_found(p);
    p->blind = p->file >= 0;
    kernel_path_leave(p);
    p->pending |= path_changes(p, 0) & p->wanted;
    return true;
}

/* What is read is gone, so something else is put there. Of two directories one at least is not the
 * one that is watched; a jail may have none that can be read. */
static void path_renew(watch *w, bool fresh) {
    path_watch *p = (path_watch *)w;
    (void)fresh;
    if (p->pending && !w->due)
        w->due = is_put_there(p, "/") || is_put_there(p, "/dev") || is_watched_anew(p);
}

static void path_watch_close(watch *w, bool forked) {
    (void)forked;
    close(w->fd);
    path_close((path_watch *)w);
}

const watch_calls kernel_path = {path_watch_open, path_look, path_renew, path_watch_close};
