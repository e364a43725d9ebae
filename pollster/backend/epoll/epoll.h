/* What the epoll files share. Calls go from epoll.c to changes.c, ghosts.c, wakers.c and timers.c;
 * ghosts.c calls back for what it tells the epoll that it moves to. */
#ifndef POLLSTER_EPOLL_H
#define POLLSTER_EPOLL_H
#include "common/kernel.h"

#define CORE_DUMPED 0x80 /* in a wait status; musl has no WCOREFLAG */

/* The last one of CLOCK_MONOTONIC that a time_t of 32 bits has: 68 years after the start. */
#define LAST_SECOND INT32_MAX

typedef struct {
    selector common;
    int kick;              /* an eventfd; its use is in ep_send_waiters_away() */
    int front;             /* -1 until somebody asks for a descriptor */
    int parking;           /* where paused sources are; -1 until there are any */
    atomic_bool is_coarse; /* has no epoll_pwait2 */
    uint32_t stale;        /* reports of what is not registered, since the last move */
} epoll_selector;

/* registration.state */
#define MUTED 1    /* what the kernel repeats says nothing about the interest: see mute() */
#define DISARMED 2 /* ONESHOT: has reported; or paused */
#define GHOST 4    /* its fd was closed */
#define PARKED 8   /* paused, and in the parking epoll */
#define WOKEN 16   /* a waker: to be woken again when all has moved to another epoll */

/* epoll.c. The first makes all waits on the present epoll return, for good. */
int ep_send_waiters_away(epoll_selector *e);
int ep_show_in_front(const epoll_selector *e);

/* changes.c. Tells an epoll, which may be a new one, what a registration says. */
int ep_control(int epoll, selector *s, int operation, uint32_t index);

/* Whether an epoll has this file under this number. */
bool ep_has(int epoll, int fd);

/* ghosts.c. Looks after a batch whether there are ghosts, and leaves them behind: n entries, of
 * which `stale` were of nothing that is registered. */
void ep_check_ghosts(epoll_selector *e, const room *b, int n, uint32_t stale);

/* timers.c. Puts the timer's descriptor, s->timers.fd, into an epoll. */
int ep_watch_timer(selector *s, int epoll);

#endif
