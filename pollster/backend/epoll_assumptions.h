/* What epoll.c takes for granted of Linux's headers and cannot see at run time. A libc whose
 * headers say otherwise does not compile, rather than misbehave. */
#ifndef POLLSTER_EPOLL_ASSUMPTIONS_H
#define POLLSTER_EPOLL_ASSUMPTIONS_H
#include "selector.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define ASSUME(condition) _Static_assert(condition, #condition)
#define FIELD(name) (((struct epoll_event *)0)->name)

/* A key, index and generation, is all of data. */
ASSUME(sizeof FIELD(data.u64) == 8 && sizeof FIELD(data) == 8);
ASSUME(sizeof FIELD(events) == 4);
ASSUME((__typeof__(FIELD(events)))EPOLLET == (uint32_t)EPOLLET);
ASSUME((__typeof__(FIELD(events)))EPOLLONESHOT == (uint32_t)EPOLLONESHOT);

/* They are told apart bit by bit: a set of them is their sum. */
ASSUME(((uint32_t)EPOLLIN | (uint32_t)EPOLLOUT | (uint32_t)EPOLLPRI | (uint32_t)EPOLLERR |
        (uint32_t)EPOLLHUP | (uint32_t)EPOLLRDHUP | (uint32_t)EPOLLET | (uint32_t)EPOLLONESHOT) ==
       (uint32_t)EPOLLIN + (uint32_t)EPOLLOUT + (uint32_t)EPOLLPRI + (uint32_t)EPOLLERR +
           (uint32_t)EPOLLHUP + (uint32_t)EPOLLRDHUP + (uint32_t)EPOLLET + (uint32_t)EPOLLONESHOT);

ASSUME(EPOLL_CTL_ADD != EPOLL_CTL_MOD && EPOLL_CTL_MOD != EPOLL_CTL_DEL &&
       EPOLL_CTL_DEL != EPOLL_CTL_ADD);

/* The kernel's own values, which no libc may change. */
ASSUME(EPOLL_CLOEXEC == O_CLOEXEC && EFD_CLOEXEC == O_CLOEXEC && EFD_NONBLOCK == O_NONBLOCK);

#undef FIELD
#undef ASSUME
#endif
