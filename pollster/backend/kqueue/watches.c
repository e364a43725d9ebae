/* The queue that each watch is. */
#include "watches.h"

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

#define NO_PRIMER (-1)
#define USER_EVENT (-2)

static int add_user_event(watch *w) {
#ifdef EVFILT_USER
    int result = kq_change(w, 0, EVFILT_USER, EV_ADD, 0);
    return result < 0 ? result : kq_change(w, 0, EVFILT_USER, 0, NOTE_TRIGGER);
#else
    (void)w;
    return -ENOTSUP;
#endif
}

static int add_pipe(watch *w) {
    int ends[2];
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

/* Where the kernel has no user events (see user.c) a pipe stands in. */
int kq_prime(watch *w) {
    if (w->primer != NO_PRIMER)
        return 0;
    if (add_user_event(w) < 0)
        return add_pipe(w);
    w->primer = USER_EVENT;
    return 0;
}

void kq_hush_primer(watch *w) {
    if (w->primer >= 0) {
        kq_change(w, (ident_t)w->primer, EVFILT_READ, EV_DELETE, 0);
        close(w->primer);
    }
#ifdef EVFILT_USER
    if (w->primer == USER_EVENT)
        kq_change(w, 0, EVFILT_USER, EV_DELETE, 0);
#endif
    w->primer = NO_PRIMER;
}
