/* What this Linux has, by trying it. */
#include "epoll.h"
#include <limits.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DEEPEST 16 /* queues: Linux has 5 */

/* Closes what could be opened. */
static int opened(int fd) {
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static int try_nanoseconds(void) {
#ifdef SYS_epoll_pwait2
    struct {
        int64_t seconds;
        int64_t nanoseconds;
    } limit = {0, 1};
    struct epoll_event event;
    int queue = epoll_create1(EPOLL_CLOEXEC);
    if (queue < 0)
        return errno;
    long n = syscall(SYS_epoll_pwait2, queue, &event, 1, &limit, NULL, 0);
    int error = n < 0 ? errno : 0;
    close(queue);
    return error;
#else
    return -1;
#endif
}

static int try_pidfd(pid_t pid) {
#ifdef SYS_pidfd_open
    return opened((int)syscall(SYS_pidfd_open, pid, 0));
#else
    (void)pid;
    return -1;
#endif
}

/* Where the parent is not to be seen, as in a container, there is process 1. */
static int try_pidfd_of_others(void) {
    return try_pidfd(getppid() > 0 ? getppid() : 1);
}

static int try_timers(void) {
    return opened(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
}

static int try_paths(void) {
    return opened(inotify_init1(IN_CLOEXEC));
}

static int try_wakers(void) {
    return opened(eventfd(0, EFD_CLOEXEC));
}

/* How many queues may stand in one another. */
static int try_nesting(char *about, size_t size) {
    int queues[DEEPEST], n = 0, error = 0;
    struct epoll_event any = {.events = EPOLLIN};
    while (n < DEEPEST && error == 0) {
        queues[n] = epoll_create1(EPOLL_CLOEXEC);
        if (queues[n] < 0)
            error = errno;
        else if (++n > 1 && epoll_ctl(queues[n - 1], EPOLL_CTL_ADD, queues[n - 2], &any) < 0)
            error = errno;
    }
    int deepest = error == ELOOP || error == EINVAL ? n - 1 : n;
    snprintf(about, size, "%d deep%s", deepest, n == DEEPEST ? " or more" : "");
    while (n > 0)
        close(queues[--n]);
    return error == ELOOP || error == EINVAL ? 0 : error;
}

int selector_features(feature *features, int room) {
    const feature found[] = {
        {.name = "epoll_pwait2", .error = try_nanoseconds(), .about = "timeouts in nanoseconds"},
        {.name = "eventfd", .error = try_wakers(), .about = "Waker"},
        {.name = "timerfd", .error = try_timers(), .about = "Timer in nested Polls"},
        {.name = "pidfd", .error = try_pidfd(getpid()), .about = "Process"},
        {.name = "pidfd of others", .error = try_pidfd_of_others(), .about = "Process"},
        {.name = "inotify", .error = try_paths(), .about = "PathWatch"},
        {.name = "EPOLLPRI", .about = "Interest.PRIORITY"},
        {.name = "nesting"},
    };
    int count = (int)(sizeof found / sizeof *found);
    for (int i = 0; i < count && i < room; i++)
        features[i] = found[i];
    if (count <= room)
        features[count - 1].error = try_nesting(features[count - 1].about, sizeof features->about);
    return count < room ? count : room;
}
