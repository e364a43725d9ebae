/* User events, and the bell, which the selector rings for itself.
 *
 * Where the kernel has no user events (NetBSD 9, OpenBSD before 7.8) pipes stand in for them. */
#include "kqueue.h"

/* No other queue has a user event like this: see kq_is_copy. */
static ident_t ident_of_bell(const selector *s) {
    return (ident_t)(uintptr_t)s;
}

/* A change of the bell, whatever it is. */
static struct kevent change_of_bell(const kqueue_selector *k, unsigned flags) {
#ifdef EVFILT_USER
    if (k->bell_pipe[0] < 0)
        return change_of(ident_of_bell(&k->common), EVFILT_USER, flags, 0, 0);
#endif
    return change_of((ident_t)k->bell_pipe[0], EVFILT_READ, flags, 0, 0);
}

/* NetBSD 9 and OpenBSD before 7.8 define or lack the filter without having it, so it is tried:
 * libxev#163, libuv#4330. */
static bool has_user_events(kqueue_selector *k) {
#ifdef EVFILT_USER
    struct kevent change = change_of_bell(k, EV_ADD);
    return apply(&k->common, &change, 1) == 0;
#else
    (void)k;
    return false;
#endif
}

int kq_trigger(selector *s, ident_t ident, udata_t udata) {
#ifdef EVFILT_USER
    /* No EV_ADD: it may turn off EV_CLEAR (polling#265). udata is overwritten: pass it. */
    struct kevent change = change_of(ident, EVFILT_USER, 0, NOTE_TRIGGER, udata);
    return apply(s, &change, 1);
#else
    (void)s, (void)ident, (void)udata;
    return -ENOTSUP;
#endif
}

/* Where there is pipe2(2), no child that another thread starts meanwhile inherits it. */
int kq_open_pipe(int ends[2]) {
#ifndef __APPLE__
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
#else
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
#endif
}

/* True where it was written, or is full and so has something unread. */
int kq_write_byte(int fd) {
    while (write(fd, "", 1) < 0)
        if (errno != EINTR)
            return errno == EAGAIN ? 0 : -errno;
    return 0;
}

void kq_drain(int fd) {
    char bytes[64];
    ssize_t n;
    do
        n = read(fd, bytes, sizeof bytes);
    while (n == (ssize_t)sizeof bytes || (n < 0 && errno == EINTR));
}

int kq_open_bell(kqueue_selector *k) {
    if (has_user_events(k))
        return 0;
    make_remark(&k->common, REMARK_PIPES, NULL);
    int result = kq_open_pipe(k->bell_pipe);
    if (result < 0)
        return result;
    struct kevent change = change_of_bell(k, EV_ADD);
    return apply(&k->common, &change, 1);
}

/* Who has the bell of a queue is that queue. */
bool kq_is_copy(selector *of, int fd) {
    struct kevent probe = change_of_bell((kqueue_selector *)of, 0);
    return kevent(fd, &probe, 1, NULL, 0, NULL) == 0;
}

void kq_forget_bell(kqueue_selector *k) {
    for (int i = 0; i < 2; i++)
        if (k->bell_pipe[i] >= 0)
            close(k->bell_pipe[i]);
    for (uint32_t i = 0; i < k->pipe_count; i++) {
        close(k->pipes[i].read_end);
        close(k->pipes[i].write_end);
    }
}

int kq_ring(kqueue_selector *k) {
    if (k->bell)
        return 0;
    struct kevent add = change_of_bell(k, EV_ADD);
    int result;
    if (k->bell_pipe[1] >= 0) {
        result = apply(&k->common, &add, 1);
        result = result < 0 ? result : kq_write_byte(k->bell_pipe[1]);
    } else {
        result = kq_trigger(&k->common, ident_of_bell(&k->common), 0);
        if (result == -ENOENT && apply(&k->common, &add, 1) == 0) /* kq_hush could not */
            result = kq_trigger(&k->common, ident_of_bell(&k->common), 0);
    }
    if (result == 0)
        k->bell = true;
    return result;
}

void kq_hush(kqueue_selector *k) {
    if (!k->bell)
        return;
    k->bell = false;
    if (k->bell_pipe[0] >= 0)
        kq_drain(k->bell_pipe[0]);
    /* Deleted and added, since what has been triggered stays in the queue until it is taken. */
    struct kevent delete = change_of_bell(k, EV_DELETE), add = change_of_bell(k, EV_ADD);
    if (apply(&k->common, &delete, 1) < 0)
        k->bell = true; /* rings on: a spurious wake-up, and another try */
    else
        apply(&k->common, &add, 1); /* where it fails, kq_ring adds it */
}
