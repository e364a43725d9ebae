/* Faults on demand and a call counter, so that tests can drive a caller of kevent() through what
 * a healthy kernel seldom does. Process-wide. */
#ifndef KQUEUE_MISBEHAVE_H
#define KQUEUE_MISBEHAVE_H

/* "EINTR":   the next `times` waits end with EINTR, after their changes were applied. A wait is
 *            a kevent() call with room for events and a timeout other than zero.
 * "ENOMEM":  the next `times` changes with EV_ADD fail with ENOMEM and are not applied. Others
 *            need no memory: FreeBSD kern_event.c, kqueue_register().
 * "no-user": EVFILT_USER is an unknown filter (EINVAL) until switched off again.
 * "no-zombies": to EVFILT_PROC a process which has exited is none (ESRCH), as on macOS, NetBSD and
 *            OpenBSD, until switched off again.
 * "no-processes": to EVFILT_PROC no process is there (ESRCH), as none is on these systems from the
 *            beginning of its end on, until switched off again.
 * "late":    what happens in a queue inside another one is seen in the outer one by the second look
 *            after it, not by the first; waits wait on for it. In FreeBSD (kern_event.c,
 *            kqueue_wakeup()) and OpenBSD another thread of the kernel tells the outer queue, a
 *            moment later. Until switched off again.
 * "async":   what happens on a TCP or UDP socket is seen by the second look after it, as where the
 *            loopback is a thread of the kernel, and there is a processor for it (seen on FreeBSD
 *            15.1 with two). Until switched off again.
 * "prompt":  a signal is delivered as it is counted, not later as all kernels do (late-signals in
 *            kernels.h), until switched off again.
 * "O_TRUNC": writing to a file adds ATTRIB, as FreeBSD does where it was opened with O_TRUNC (which
 *            inotify(7) does not tell), until switched off again.
 * 0 times switches a fault off; an unknown name aborts. The environment variable KQUEUE_MISBEHAVE
 * names one that is on from the beginning, so that all tests can be run with it. */
void kqueue_misbehave(const char *fault, int times);

/* How many times kevent() was called in this process. */
long kqueue_calls(void);

#endif
