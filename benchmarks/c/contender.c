/* What the Python contenders do, in C: the least that the kernel's work costs.
 *
 * One call is a whole round, called through ctypes, so nothing of Python is in what it costs.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int poll_rounds(int queue, int capacity, int loops);
int register_rounds(int queue, int fd, int loops);
int reregister_rounds(int queue, int fd, uint32_t first, uint32_t second, int loops);
int register_all(int queue, const int *fds, int count);
int64_t wake_rounds(int loops);

/* Polls without waiting and reads each event's readiness and token; returns the last token. */
int poll_rounds(int queue, int capacity, int loops) {
    struct epoll_event *events = malloc((size_t)capacity * sizeof *events);
    volatile uint64_t found = 0;
    if (!events)
        return -ENOMEM;
    while (loops--) {
        int count = epoll_wait(queue, events, capacity, 0);
        for (int i = 0; i < count; i++)
            if (events[i].events & EPOLLIN)
                found = events[i].data.u64;
    }
    free(events);
    return (int)found;
}

static int change(int queue, int operation, int fd, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.u64 = (uint64_t)fd};
    return epoll_ctl(queue, operation, fd, &event);
}

/* Registers a source and deregisters it. */
int register_rounds(int queue, int fd, int loops) {
    int failed = 0;
    while (loops--) {
        failed |= change(queue, EPOLL_CTL_ADD, fd, EPOLLIN);
        failed |= change(queue, EPOLL_CTL_DEL, fd, 0);
    }
    return failed;
}

/* Changes a registration to one interest, then to the other. */
int reregister_rounds(int queue, int fd, uint32_t first, uint32_t second, int loops) {
    int failed = 0;
    while (loops--) {
        failed |= change(queue, EPOLL_CTL_MOD, fd, first);
        failed |= change(queue, EPOLL_CTL_MOD, fd, second);
    }
    return failed;
}

/* Registers many sources. */
int register_all(int queue, const int *fds, int count) {
    int failed = 0;
    for (int i = 0; i < count; i++)
        failed |= change(queue, EPOLL_CTL_ADD, fds[i], EPOLLIN);
    return failed;
}

/* A thread that waits in its queue until somebody writes to its eventfd, then wakes the other. */
typedef struct side {
    int queue, eventfd, other, loops;
} side;

static int side_open(side *self) {
    self->queue = epoll_create1(EPOLL_CLOEXEC);
    self->eventfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->queue < 0 || self->eventfd < 0)
        return -1;
    return change(self->queue, EPOLL_CTL_ADD, self->eventfd, EPOLLIN);
}

static void side_close(side *self) {
    close(self->queue);
    close(self->eventfd);
}

static void wait_for_wake(side *self) {
    struct epoll_event event;
    uint64_t wakes;
    while (epoll_wait(self->queue, &event, 1, -1) != 1 ||
           read(self->eventfd, &wakes, sizeof wakes) != sizeof wakes)
        ;
}

static void wake(int eventfd) {
    uint64_t one = 1;
    while (write(eventfd, &one, sizeof one) != sizeof one)
        ;
}

static void *answer(void *argument) {
    side *self = argument;
    for (int i = 0; i < self->loops; i++) {
        wait_for_wake(self);
        wake(self->other);
    }
    return NULL;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Two threads wake each other in turns; returns nanoseconds, or -1. */
int64_t wake_rounds(int loops) {
    side here = {.queue = -1, .eventfd = -1}, there = {.queue = -1, .eventfd = -1};
    int64_t begin, elapsed = -1;
    pthread_t thread;
    if (side_open(&here) < 0 || side_open(&there) < 0)
        goto out;
    there.other = here.eventfd;
    there.loops = loops + 1;
    if (pthread_create(&thread, NULL, answer, &there) != 0)
        goto out;
    wake(there.eventfd); /* once before the clock starts: now the thread runs */
    wait_for_wake(&here);
    begin = now();
    while (loops--) {
        wake(there.eventfd);
        wait_for_wake(&here);
    }
    elapsed = now() - begin;
    pthread_join(thread, NULL);
out:
    side_close(&here);
    side_close(&there);
    return elapsed;
}
