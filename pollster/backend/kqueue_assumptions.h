/* What the kqueue files take for granted of <sys/event.h> and cannot see at run time. A system
 * whose header says otherwise does not compile, rather than misbehave. */
#ifndef POLLSTER_KQUEUE_ASSUMPTIONS_H
#define POLLSTER_KQUEUE_ASSUMPTIONS_H
#include "kqueue.h"
#include <limits.h>

#define ASSUME(condition) _Static_assert(condition, #condition)
#define FIELD(name) (((struct kevent *)0)->name)
#define FITS(field, constant) ASSUME((__typeof__(FIELD(field)))(constant) == (constant))

/* A descriptor or the index of a registration is an ident. */
ASSUME((ident_t)INT_MAX == INT_MAX);
ASSUME((ident_t)REGISTRATIONS_MAX == REGISTRATIONS_MAX);

/* udata is a pointer or an integer that carries a key: see udata_of. */
ASSUME(sizeof(udata_t) == sizeof(uintptr_t));
ASSUME(sizeof(uintptr_t) == 8 || REGISTRATIONS_MAX == (1 << 20) - 1);

FITS(filter, EVFILT_READ);
FITS(filter, EVFILT_WRITE);
ASSUME(EVFILT_READ != EVFILT_WRITE);

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
ASSUME(EVFILT_USER != EVFILT_READ && EVFILT_USER != EVFILT_WRITE);
FITS(fflags, NOTE_TRIGGER);
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
