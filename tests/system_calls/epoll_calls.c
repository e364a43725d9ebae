/* Stands in front of the C library (LD_PRELOAD) and counts the calls that concern an epoll,
 * and what wakes one: writes of the size of an eventfd's counter. */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;

long epoll_calls(void) {
    return calls;
}

static void *real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    int (*next)(int, int, int, struct epoll_event *) = real("epoll_ctl");
    calls++;
    return next(epoll, operation, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout) {
    int (*next)(int, struct epoll_event *, int, int) = real("epoll_wait");
    calls++;
    return next(epoll, events, capacity, timeout);
}

int epoll_pwait(int epoll, struct epoll_event *events, int capacity, int timeout,
                const sigset_t *mask) {
    int (*next)(int, struct epoll_event *, int, int, const sigset_t *) = real("epoll_pwait");
    calls++;
    return next(epoll, events, capacity, timeout, mask);
}

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t (*next)(int, const void *, size_t) = real("write");
    calls += size == sizeof(uint64_t);
    return next(fd, data, size);
}

/* How epoll_pwait2 is called where the C library may be too old to have it. */
long syscall(long number, ...) {
    long (*next)(long, ...) = real("syscall");
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
#ifdef SYS_epoll_pwait2
    calls += number == SYS_epoll_pwait2;
#endif
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}
