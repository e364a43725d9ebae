/* The clock of all deadlines: the one that Python's time.monotonic() reads. */
#ifndef POLLSTER_CLOCK_H
#define POLLSTER_CLOCK_H
#include <stdint.h>
#include <time.h>

#define NANOSECONDS 1000000000LL

static inline int64_t monotonic(void) {
    struct timespec now;
#ifdef __APPLE__
    clock_gettime(CLOCK_UPTIME_RAW, &now); /* there CLOCK_MONOTONIC goes on while it sleeps */
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec * NANOSECONDS + now.tv_nsec;
}

#endif
