/* What is written down of each kernel's structures and constants (docs/kernels.md and the tests'
 * kqueue rest on it), held against that kernel's own headers. pollster itself takes none of it for
 * granted: what it does is in pollster/backend, in each folder's assumptions.h.
 *
 * The tests' <sys/event.h> is compiled here too, as FreeBSD's. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__linux__)
#include <linux/time_types.h>
#include <linux/wait.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#if defined(__x86_64__)
_Static_assert(sizeof(struct epoll_event) == 12, "packed on x86-64");
_Static_assert(offsetof(struct epoll_event, data) == 4, "packed on x86-64");
#else
_Static_assert(sizeof(struct epoll_event) == 16, "aligned elsewhere");
_Static_assert(offsetof(struct epoll_event, data) == 8, "aligned elsewhere");
#endif
_Static_assert(EPOLLIN == 1 && EPOLLPRI == 2 && EPOLLOUT == 4 && EPOLLERR == 8 && EPOLLHUP == 16,
               "events, as poll(2) has them");
_Static_assert(EPOLLRDHUP == 0x2000, "EPOLLRDHUP");
_Static_assert((uint32_t)EPOLLONESHOT == 1u << 30 && (uint32_t)EPOLLET == 1u << 31, "triggers");

_Static_assert(sizeof(struct inotify_event) == 16 && offsetof(struct inotify_event, mask) == 4 &&
                   offsetof(struct inotify_event, len) == 12,
               "what inotify tells, before the name");
_Static_assert(IN_MODIFY == 2 && IN_ATTRIB == 4 && IN_CREATE == 0x100 && IN_DELETE == 0x200 &&
                   IN_DELETE_SELF == 0x400 && IN_MOVE_SELF == 0x800 && IN_IGNORED == 0x8000,
               "changes");

/* What epoll/processes.c and epoll/epoll.c write out, since older headers do not have it. */
_Static_assert(P_PIDFD == 3, "waitid's pidfd");
_Static_assert(sizeof(struct __kernel_timespec) == 16 &&
                   offsetof(struct __kernel_timespec, tv_nsec) == 8,
               "the timeout of epoll_pwait2, with 64 bits on every processor");
/* fcntl.h, musl's and the one that the tests' event.h includes, can't stand beside this header. */
#if defined(__GLIBC__) && !defined(KQUEUE_OF_THE_TESTS) && __has_include(<linux/pidfd.h>)
#include <linux/pidfd.h>
#ifdef PIDFD_GET_INFO
_Static_assert(PIDFD_INFO_EXIT == 8 && _IOC_NR(PIDFD_GET_INFO) == 11 &&
                   _IOC_TYPE(PIDFD_GET_INFO) == 0xff && PIDFD_INFO_SIZE_VER0 == 64,
               "the request for an exit code");
_Static_assert(offsetof(struct pidfd_info, exit_code) == 60, "the exit code");
#endif
#endif
#endif

#if !defined(__linux__) || defined(KQUEUE_OF_THE_TESTS)
#include <sys/event.h>

#if defined(__FreeBSD__) || defined(KQUEUE_OF_THE_TESTS)
#define HAS_EXT 1
#define EXPECTED_SIZE 64
#define EXPECTED_USER -11
#define EXPECTED_NSECONDS 8
#elif defined(__NetBSD__)
#define WIDE 1
#define HAS_EXT 1
#define EXPECTED_SIZE 72
#define EXPECTED_USER 8
#define EXPECTED_NSECONDS 3
#elif defined(__OpenBSD__)
#define EXPECTED_SIZE 32
#define EXPECTED_USER -10
#define EXPECTED_EXCEPT -9
#define EXPECTED_OOB 4
#define EXPECTED_NSECONDS 3
#elif defined(__APPLE__)
#define EXPECTED_SIZE 32
#define EXPECTED_USER -10
#define EXPECTED_EXCEPT -15
#define EXPECTED_OOB 2
#define EXPECTED_NSECONDS 4
#else
#error "nothing is written down of this system: add its row"
#endif

#ifdef WIDE /* NetBSD's filters count from 0, and are unsigned */
typedef uint32_t expected_filter;
typedef uint32_t expected_flags;
#define EXPECTED_READ 0
#define EXPECTED_WRITE 1
#define EXPECTED_VNODE 3
#define EXPECTED_PROC 4
#define EXPECTED_SIGNAL 5
#define EXPECTED_TIMER 6
#else
typedef int16_t expected_filter;
typedef uint16_t expected_flags;
#define EXPECTED_READ -1
#define EXPECTED_WRITE -2
#define EXPECTED_VNODE -4
#define EXPECTED_PROC -5
#define EXPECTED_SIGNAL -6
#define EXPECTED_TIMER -7
#endif

#ifdef __APPLE__
typedef intptr_t expected_data;
#else
typedef int64_t expected_data; /* also where a pointer has 32 bits */
#endif

#define IS(field, type)                                                                            \
    _Static_assert(_Generic(((struct kevent *)0)->field, type: 1, default: 0), #field " is"        \
                                                                                      " " #type)
#define AT(field, offset)                                                                          \
    _Static_assert(offsetof(struct kevent, field) == (offset), #field " at " #offset)
#define VALUE(constant, value) _Static_assert((constant) == (value), #constant " is " #value)

IS(ident, uintptr_t);
IS(filter, expected_filter);
IS(flags, expected_flags);
IS(fflags, uint32_t);
IS(data, expected_data);
IS(udata, void *);

#if UINTPTR_MAX > 0xffffffff
_Static_assert(sizeof(struct kevent) == EXPECTED_SIZE, "the size of struct kevent");
AT(ident, 0);
AT(filter, 8);
#ifdef WIDE
AT(flags, 12);
AT(fflags, 16);
AT(data, 24);
AT(udata, 32);
#else
AT(flags, 10);
AT(fflags, 12);
AT(data, 16);
AT(udata, 24);
#endif
#ifdef HAS_EXT
AT(ext, EXPECTED_SIZE - 4 * sizeof(uint64_t));
#endif
#endif

VALUE(EVFILT_READ, EXPECTED_READ);
VALUE(EVFILT_WRITE, EXPECTED_WRITE);
VALUE(EVFILT_VNODE, EXPECTED_VNODE);
VALUE(EVFILT_PROC, EXPECTED_PROC);
VALUE(EVFILT_SIGNAL, EXPECTED_SIGNAL);
VALUE(EVFILT_TIMER, EXPECTED_TIMER);
VALUE(EVFILT_USER, EXPECTED_USER);
#ifdef EXPECTED_EXCEPT
VALUE(EVFILT_EXCEPT, EXPECTED_EXCEPT);
VALUE(NOTE_OOB, EXPECTED_OOB);
#elif defined(EVFILT_EXCEPT) && !defined(KQUEUE_OF_THE_TESTS)
#error "this system has got EVFILT_EXCEPT: see quirk_tells_priority"
#endif
VALUE(EV_ADD, 1);
VALUE(EV_DELETE, 2);
VALUE(EV_ENABLE, 4);
VALUE(EV_DISABLE, 8);
VALUE(EV_ONESHOT, 0x10);
VALUE(EV_CLEAR, 0x20);
VALUE(EV_RECEIPT, 0x40);
VALUE(EV_DISPATCH, 0x80);
VALUE(EV_ERROR, 0x4000);
VALUE(EV_EOF, 0x8000);
VALUE(NOTE_TRIGGER, 0x1000000);
VALUE(NOTE_NSECONDS, EXPECTED_NSECONDS);
VALUE(NOTE_DELETE, 1);
VALUE(NOTE_WRITE, 2);
VALUE(NOTE_EXTEND, 4);
VALUE(NOTE_ATTRIB, 8);
VALUE(NOTE_LINK, 0x10);
VALUE(NOTE_RENAME, 0x20);
VALUE(NOTE_REVOKE, 0x40);
VALUE(NOTE_EXIT, 0x80000000);
#ifdef __OpenBSD__
VALUE(NOTE_TRUNCATE, 0x80);
#endif
#ifdef __APPLE__
VALUE(NOTE_EXITSTATUS, 0x4000000);
VALUE(NOTE_PDATAMASK, 0xfffff);
#endif
#endif
