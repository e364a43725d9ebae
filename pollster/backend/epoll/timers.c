/* The kernel's timer: a timerfd, level-triggered in the epoll, made when it is first needed. */
#include "epoll.h"
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

int ep_watch_timer(selector *s, int epoll) {
    struct epoll_event readable = {.events = EPOLLIN, .data.u64 = OWN_INDEX};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, s->timers.fd, &readable) < 0 ? -errno : 0;
}

static int open_timer(selector *s) {
    s->timers.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timers.fd < 0)
        return -errno;
    int result = ep_watch_timer(s, s->fd);
    if (result < 0) {
        close(s->timers.fd);
        s->timers.fd = -1;
    }
    return result;
}

/* Setting it also takes back that it is readable. All zero would be never. */
int kernel_set_timer(selector *s, int64_t deadline) {
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (deadline < 1)
        deadline = 1;
    if (deadline != NEVER) {
        int64_t seconds = deadline / NANOSECONDS;
        when.it_value.tv_sec = (time_t)(seconds < LAST_SECOND ? seconds : LAST_SECOND);
        when.it_value.tv_nsec = (long)(deadline % NANOSECONDS);
    }
    int result = s->timers.fd < 0 ? open_timer(s) : 0;
    count_change(s);
    if (result == 0 && timerfd_settime(s->timers.fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        result = -errno;
    return result;
}
