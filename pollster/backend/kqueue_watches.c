/* The queue that each watch is. */
#include "kqueue_watches.h"

int kq_open_watch(watch *w) {
    w->fd = kqueue();
    if (w->fd < 0)
        return -errno;
    if (fcntl(w->fd, F_SETFD, FD_CLOEXEC) == 0)
        return 0;
    int error = errno;
    close(w->fd);
    return -error;
}

/* A forked child has no copy of the queue: its number may be another file's there. */
void kq_close_watch(watch *w, bool forked) {
    if (w->primer >= 0)
        close(w->primer);
    if (!forked)
        close(w->fd);
}

int kq_change(watch *w, ident_t ident, filter_t filter, unsigned flags, unsigned fflags) {
    struct kevent change = change_of(ident, filter, flags, fflags, 0);
    if (kevent(w->fd, &change, 1, NULL, 0, NULL) == 0 || errno == EINTR)
        return 0;
    return -errno;
}

int kq_take(watch *w, struct kevent *told, int room) {
    const struct timespec at_once = {0, 0};
    int n = kevent(w->fd, NULL, 0, told, room, &at_once);
    return n < 0 ? 0 : n;
}

/* A pipe and no user event: not every kernel has those. */
int kq_prime(watch *w) {
    int ends[2];
    if (w->primer >= 0)
        return 0;
    if (pipe(ends) < 0)
        return -errno;
    int result = fcntl(ends[0], F_SETFD, FD_CLOEXEC) < 0 || write(ends[1], "", 1) < 0 ? -errno : 0;
    if (result == 0)
        result = kq_change(w, (ident_t)ends[0], EVFILT_READ, EV_ADD, 0);
    close(ends[1]);
    if (result == 0)
        w->primer = ends[0];
    else
        close(ends[0]);
    return result;
}

void kq_hush_primer(watch *w) {
    if (w->primer < 0)
        return;
    kq_change(w, (ident_t)w->primer, EVFILT_READ, EV_DELETE, 0);
    close(w->primer);
    w->primer = -1;
}
