/* Where the kernels differ and pollster has to know beforehand: each difference once, with who has
 * it and who says so. What can be seen at run time, by an error or a flag, is not here.
 *
 * The tests' <sys/event.h> names the kernel itself, at run time. */
#ifndef POLLSTER_KQUEUE_QUIRKS_H
#define POLLSTER_KQUEUE_QUIRKS_H
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>
/* After sys/types.h: older systems' header needs it. */
#include <sys/event.h>

#if defined KQUEUE_SYS_EVENT_H
#include <kqueue_kernel.h>
#define THIS_KERNEL kqueue_kernel()
#elif defined __APPLE__
#define THIS_KERNEL "macos"
#elif defined __OpenBSD__
#define THIS_KERNEL "openbsd"
#elif defined __NetBSD__
#define THIS_KERNEL "netbsd"
#elif defined __DragonFly__
#define THIS_KERNEL "dragonfly"
#else
#define THIS_KERNEL "freebsd"
#endif

#define KERNEL_IS(name) (strcmp(THIS_KERNEL, name) == 0)

/* The writer of a full pipe is not told that the reader went: its WRITE knote is asked before the
 * end is noted, and no more. A READ knote of the same end is told (sys_pipe.c: pipe_destroy on
 * OpenBSD, pipeclose on NetBSD up to 10). */
static inline bool quirk_mute_full_pipe(void) {
    return KERNEL_IS("openbsd") || KERNEL_IS("netbsd");
}

/* A terminal's hang-up is told to READ only (tty_pty.c: filt_ptcwrite, filt_ttywrite). */
static inline bool quirk_terminal_ends_by_read(void) {
    return KERNEL_IS("openbsd") || KERNEL_IS("dragonfly");
}

/* Out-of-band data of a socket is told, by EVFILT_EXCEPT with NOTE_OOB (kqueue(2)). */
static inline bool quirk_tells_priority(void) {
    return KERNEL_IS("macos") || KERNEL_IS("openbsd") || KERNEL_IS("dragonfly");
}

#endif
