/* struct kevent and its constants with FreeBSD's layout and values (kqueue(2), <sys/event.h>), for
 * a Linux which has neither. Only what the files beside this one implement is declared. */
#ifndef KQUEUE_SYS_EVENT_H
#define KQUEUE_SYS_EVENT_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
    uint64_t ext[4];
};

#define EV_SET(kevp, a, b, c, d, e, f)                                                             \
    do {                                                                                           \
        *(kevp) = (struct kevent){                                                                 \
            .ident = (a),                                                                          \
            .filter = (b),                                                                         \
            .flags = (c),                                                                          \
            .fflags = (d),                                                                         \
            .data = (e),                                                                           \
            .udata = (f),                                                                          \
        };                                                                                         \
    } while (0)

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_AIO (-3)
#define EVFILT_VNODE (-4)
#define EVFILT_PROC (-5)
#define EVFILT_SIGNAL (-6)
#define EVFILT_TIMER (-7)
#define EVFILT_USER (-11)
#define EVFILT_EXCEPT (-15) /* macOS's number */

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080
#define EV_KEEPUDATA 0x0200
#define EV_SYSFLAGS 0xF000
#define EV_DROP 0x1000
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

#define NOTE_LOWAT 0x00000001
#define NOTE_OOB 0x00000002 /* EVFILT_EXCEPT */

#define NOTE_FFNOP 0x00000000
#define NOTE_FFAND 0x40000000
#define NOTE_FFOR 0x80000000
#define NOTE_FFCOPY 0xc0000000
#define NOTE_FFCTRLMASK 0xc0000000
#define NOTE_FFLAGSMASK 0x00ffffff
#define NOTE_TRIGGER 0x01000000

#define NOTE_DELETE 0x00000001
#define NOTE_WRITE 0x00000002
#define NOTE_EXTEND 0x00000004
#define NOTE_ATTRIB 0x00000008
#define NOTE_LINK 0x00000010
#define NOTE_RENAME 0x00000020
#define NOTE_REVOKE 0x00000040
#define NOTE_OPEN 0x00000080
#define NOTE_CLOSE 0x00000100
#define NOTE_CLOSE_WRITE 0x00000200
#define NOTE_READ 0x00000400

#define NOTE_EXIT 0x80000000
#define NOTE_FORK 0x40000000
#define NOTE_EXEC 0x20000000

#define NOTE_SECONDS 0x00000001
#define NOTE_MSECONDS 0x00000002
#define NOTE_USECONDS 0x00000004
#define NOTE_NSECONDS 0x00000008
#define NOTE_ABSTIME 0x00000010

int kqueue(void);
int kqueue1(int flags);
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout);

/* fcntl(2) as the kernel has it: where pipes go both ways, F_GETFL says so of both ends. read(2)
 * and write(2) are Linux's, and refuse. */
int kqueue_fcntl(int fd, int command, ...);
#ifndef KQUEUE_OF_LINUX
#define fcntl kqueue_fcntl
#endif

#endif
