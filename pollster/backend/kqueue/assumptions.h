/* What the kqueue files take for granted of <sys/event.h> and cannot see at run time. A system
 * whose header says otherwise does not compile, rather than misbehave. */
#ifndef POLLSTER_KQUEUE_ASSUMPTIONS_H
#define POLLSTER_KQUEUE_ASSUMPTIONS_H
#include "kqueue.h"
#include <limits.h>

#define ASSUME(condition) _Static_assert(condition, #condition)
#define FIELD(name) (((struct kevent *)0)->name)
#define FITS(field, constant) ASSUME((__typeof__(FIELD(field)))(constant) == (constant))

/* A descriptor, a process, a signal or the index of a registration is an ident. */
ASSUME((ident_t)INT_MAX == INT_MAX && sizeof(pid_t) <= sizeof(int));
ASSUME((ident_t)REGISTRATIONS_MAX == REGISTRATIONS_MAX);

/* udata is a pointer or an integer that carries a key: see udata_of. */
ASSUME(sizeof(udata_t) == sizeof(uintptr_t));
ASSUME(sizeof(uintptr_t) == 8 || REGISTRATIONS_MAX == (1 << 20) - 1);

FITS(filter, EVFILT_READ);
FITS(filter, EVFILT_WRITE);
FITS(filter, EVFILT_TIMER);
FITS(filter, EVFILT_SIGNAL);
FITS(filter, EVFILT_PROC);
FITS(filter, EVFILT_VNODE);
FITS(filter, FILTER_EXCEPT);
FITS(fflags, EXCEPT_OOB);

/* They differ, so each sets a bit of its own: what sorts entries by their filter relies on it. */
#define BIT(filter) (1u << ((filter) & 31))
#ifdef EVFILT_USER
#define USER_BIT BIT(EVFILT_USER)
#else
#define USER_BIT 0u
#endif
#if defined EVFILT_EXCEPT && defined NOTE_OOB
#define EXCEPT_BIT BIT(EVFILT_EXCEPT)
#else
#define EXCEPT_BIT 0u
#endif
ASSUME((BIT(EVFILT_READ) | BIT(EVFILT_WRITE) | BIT(EVFILT_TIMER) | BIT(EVFILT_SIGNAL) |
        BIT(EVFILT_PROC) | BIT(EVFILT_VNODE) | USER_BIT | EXCEPT_BIT) ==
       BIT(EVFILT_READ) + BIT(EVFILT_WRITE) + BIT(EVFILT_TIMER) + BIT(EVFILT_SIGNAL) +
           BIT(EVFILT_PROC) + BIT(EVFILT_VNODE) + USER_BIT + EXCEPT_BIT);
#undef EXCEPT_BIT
#undef USER_BIT
#undef BIT

FITS(flags, EV_ADD);
FITS(flags, EV_DELETE);
FITS(flags, EV_ENABLE);
FITS(flags, EV_DISABLE);
FITS(flags, EV_ONESHOT);
FITS(flags, EV_CLEAR);
FITS(flags, EV_RECEIPT);
FITS(flags, EV_DISPATCH);
FITS(flags, EV_ERROR);
FITS(flags, EV_EOF);

/* They are told apart bit by bit: a set of them is their sum. */
ASSUME((EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_ONESHOT | EV_CLEAR | EV_RECEIPT |
        EV_DISPATCH | EV_ERROR | EV_EOF) == EV_ADD + EV_DELETE + EV_ENABLE + EV_DISABLE +
                                                EV_ONESHOT + EV_CLEAR + EV_RECEIPT + EV_DISPATCH +
                                                EV_ERROR + EV_EOF);

#ifdef EVFILT_USER
FITS(filter, EVFILT_USER);
FITS(fflags, NOTE_TRIGGER);
#endif

/* What a path is watched for, told apart in the same way. */
#ifdef NOTE_TRUNCATE
FITS(fflags, NOTE_TRUNCATE);
#define LAST_NOTE NOTE_TRUNCATE
#else
#define LAST_NOTE 0u
#endif
FITS(fflags,
     NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_LINK | NOTE_RENAME | NOTE_REVOKE);
ASSUME((NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_LINK | NOTE_RENAME |
        NOTE_REVOKE | LAST_NOTE) == NOTE_DELETE + NOTE_WRITE + NOTE_EXTEND + NOTE_ATTRIB +
                                        NOTE_LINK + NOTE_RENAME + NOTE_REVOKE + LAST_NOTE);
#undef LAST_NOTE

FITS(fflags, NOTE_EXIT);
#ifdef NOTE_EXITSTATUS /* data has a wait status, and more above it */
FITS(fflags, NOTE_EXITSTATUS);
ASSUME((NOTE_EXIT & NOTE_EXITSTATUS) == 0 && (NOTE_PDATAMASK & 0xffff) == 0xffff);
#endif

/* A timer of up to a day, in the unit that it has. */
#ifdef NOTE_NSECONDS
FITS(fflags, NOTE_NSECONDS);
FITS(data, 86400 * NANOSECONDS);
#else
FITS(data, 86400 * 1000);
#endif

/* A socket's error stands in fflags whole, and a receipt's in data; what is shown of an event fits
 * in 64 bits. */
ASSUME(sizeof FIELD(fflags) >= sizeof(int) && sizeof FIELD(data) >= sizeof(int));
ASSUME(sizeof FIELD(ident) <= 8 && sizeof FIELD(data) <= 8 && sizeof FIELD(filter) <= 8 &&
       sizeof FIELD(flags) <= 8 && sizeof FIELD(fflags) <= 8);

/* A timeout of up to a day is a timespec. */
ASSUME((__typeof__(((struct timespec *)0)->tv_sec))86400 == 86400);
ASSUME((__typeof__(((struct timespec *)0)->tv_nsec))999999999 == 999999999);

#undef FITS
#undef FIELD
#undef ASSUME
#endif
