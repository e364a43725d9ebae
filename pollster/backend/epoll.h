/* What the epoll files share: epoll.c is the kernel file, epoll_timers.c the timer in it. */
#ifndef POLLSTER_EPOLL_H
#define POLLSTER_EPOLL_H
#include "kernel.h"

/* epoll_timers.c. Puts the timer's descriptor, s->timers.fd, into an epoll. */
int ep_watch_timer(selector *s, int epoll);

#endif
