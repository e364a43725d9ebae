/* What epoll.c takes for granted of Linux's headers and cannot see at run time. A libc whose
 * headers say otherwise does not compile, rather than misbehave. */
#ifndef POLLSTER_EPOLL_ASSUMPTIONS_H
#define POLLSTER_EPOLL_ASSUMPTIONS_H
#include "common/watches.h"
#include "epoll.h"
#include <fcntl.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

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
ASSUME(TFD_CLOEXEC == O_CLOEXEC && TFD_NONBLOCK == O_NONBLOCK);
ASSUME(IN_CLOEXEC == O_CLOEXEC && IN_NONBLOCK == O_NONBLOCK);

/* What inotify says of a path is told apart bit by bit, too; a name follows the structure. */
ASSUME((IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE |
        IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED) ==
       IN_MODIFY + IN_ATTRIB + IN_MOVED_FROM + IN_MOVED_TO + IN_CREATE + IN_DELETE +
           IN_DELETE_SELF + IN_MOVE_SELF + IN_UNMOUNT + IN_Q_OVERFLOW + IN_IGNORED);
ASSUME(offsetof(struct inotify_event, name) == sizeof(struct inotify_event));

/* With 32 bits stat(2) fails on large files, and on small ones with large inode numbers:
 * _FILE_OFFSET_BITS in build.py. */
ASSUME(sizeof((struct stat *)0)->st_size == 8 && sizeof((struct stat *)0)->st_ino == 8);

/* time_t may have 32 bits. */
ASSUME((__typeof__(((struct timespec *)0)->tv_sec))LAST_SECOND == LAST_SECOND);
ASSUME((__typeof__(((struct timespec *)0)->tv_nsec))999999999 == 999999999);

/* musl has no name for it. */
#ifdef WCOREFLAG
ASSUME(WCOREFLAG == CORE_DUMPED);
#endif

#undef FIELD
#undef ASSUME
#endif
