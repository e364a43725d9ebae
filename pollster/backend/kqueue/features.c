/* What this kernel's kqueue has, by trying it. */
#include "kqueue.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEEPEST 32 /* queues: macOS has 10 */

static int change_queue(int queue, struct kevent change) {
    return kevent(queue, &change, 1, NULL, 0, NULL) < 0 ? errno : 0;
}

/* Makes one change in a queue of its own. */
static int try_change(struct kevent change) {
    int queue = kqueue();
    if (queue < 0)
        return errno;
    int error = change_queue(queue, change);
    close(queue);
    return error;
}

static int try_user_events(void) {
#ifdef EVFILT_USER
    return try_change(change_of(1, EVFILT_USER, EV_ADD, 0, 0));
#else
    return -1;
#endif
}

static int try_processes(pid_t pid, unsigned fflags) {
    return try_change(change_of((ident_t)pid, EVFILT_PROC, EV_ADD, fflags, 0));
}

static int try_exit_status(void) {
#ifdef NOTE_EXITSTATUS
    return try_processes(getpid(), NOTE_EXIT | NOTE_EXITSTATUS);
#else
    return -1;
#endif
}

static int try_timers(void) {
#ifdef NOTE_NSECONDS
    struct kevent change = change_of(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS, 0);
    change.data = 1000000000;
    return try_change(change);
#else
    return -1;
#endif
}

/* On one end of a stream: flags or filters that only sockets have, or all. */
static int try_on_socket(bool priority) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return errno;
    int error = -1;
    if (!priority)
        error = try_change(change_of((ident_t)ends[0], EVFILT_READ, EV_ADD | EV_DISPATCH, 0, 0));
#if defined EVFILT_EXCEPT && defined NOTE_OOB
    else
        error = try_change(change_of((ident_t)ends[0], EVFILT_EXCEPT, EV_ADD, NOTE_OOB, 0));
#endif
    close(ends[0]);
    close(ends[1]);
    return error;
}

/* How many queues may stand in one another. */
static int try_nesting(char *about, size_t size) {
    int queues[DEEPEST], n = 0, error = 0;
    while (n < DEEPEST && error == 0) {
        queues[n] = kqueue();
        if (queues[n] < 0)
            error = errno;
        else if (++n > 1)
            error = change_queue(queues[n - 1],
                                 change_of((ident_t)queues[n - 2], EVFILT_READ, EV_ADD, 0, 0));
    }
    bool is_limit = error == ELOOP || error == EINVAL;
    snprintf(about, size, "%d deep%s", is_limit ? n - 1 : n, n == DEEPEST ? " or more" : "");
    while (n > 0)
        close(queues[--n]);
    return is_limit ? 0 : error;
}

int selector_features(feature *features, int room) {
    const feature found[] = {
        {.name = "EVFILT_USER", .error = try_user_events(), .about = "Waker; else a pipe"},
        {.name = "EV_DISPATCH", .error = try_on_socket(false), .about = "Trigger.ONESHOT"},
        {.name = "EVFILT_EXCEPT", .error = try_on_socket(true), .about = "Interest.PRIORITY"},
        {.name = "NOTE_NSECONDS", .error = try_timers(), .about = "Timer; else milliseconds"},
        {.name = "EVFILT_PROC", .error = try_processes(getpid(), NOTE_EXIT), .about = "Process"},
        {.name = "EVFILT_PROC of others",
         .error = try_processes(getppid() > 0 ? getppid() : 1, NOTE_EXIT),
         .about = "Process"},
        {.name = "NOTE_EXITSTATUS", .error = try_exit_status(), .about = "Process.returncode"},
        {.name = "nesting"},
    };
    int count = (int)(sizeof found / sizeof *found);
    for (int i = 0; i < count && i < room; i++)
        features[i] = found[i];
    if (count <= room)
        features[count - 1].error = try_nesting(features[count - 1].about, sizeof features->about);
    return count < room ? count : room;
}
