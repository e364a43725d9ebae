/* The kernel's timer: one EVFILT_TIMER. */
#include "kqueue.h"

/* Some kernels refuse long ones. What comes too early is set again. */
#define LONGEST_TIMER (86400 * NANOSECONDS)

#ifdef NOTE_CRITICAL /* macOS: else it puts timers off by up to 100 ms, to save power (zio#643) */
#define IN_TIME NOTE_CRITICAL
#else
#define IN_TIME 0u
#endif

/* Relative, since NOTE_ABSTIME is of real time; rounded up to the unit that the kernel has. */
int kernel_set_timer(selector *s, int64_t deadline) {
    struct kevent change = change_of(OWN_INDEX, EVFILT_TIMER, EV_DELETE, 0, 0);
    /* DragonFly does not set one anew that is there (libkqueue's tests), so it is deleted; that it
     * is not there any more does not matter. */
    if (s->timers.armed > 0 && s->timers.armed != NEVER)
        apply(s, &change, 1);
    if (deadline == NEVER)
        return 0;
    int64_t left = deadline - monotonic();
    left = left < 1 ? 1 : left > LONGEST_TIMER ? LONGEST_TIMER : left;
#ifdef NOTE_NSECONDS
    change = change_of(OWN_INDEX, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS | IN_TIME, 0);
#else
    change = change_of(OWN_INDEX, EVFILT_TIMER, EV_ADD | EV_ONESHOT, IN_TIME, 0);
    left = (left + 999999) / 1000000;
#endif
    change.data = (__typeof__(change.data))left;
    return apply(s, &change, 1);
}
