/* What the epoll files share: epoll.c is the kernel file, epoll_timers.c the timer in it. */
#ifndef POLLSTER_EPOLL_H
#define POLLSTER_EPOLL_H
#include "kernel.h"

#define CORE_DUMPED 0x80 /* in a wait status; musl has no WCOREFLAG */

/* The last one of CLOCK_MONOTONIC that a time_t of 32 bits has: 68 years after the start. */
#define LAST_SECOND INT32_MAX

/* epoll_timers.c. Puts the timer's descriptor, s->timers.fd, into an epoll. */
int ep_watch_timer(selector *s, int epoll);

#endif
