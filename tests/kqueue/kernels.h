/* Where the kernels differ from FreeBSD 15.1, as recorded, and from each other. Each difference is
 * asked for in one place of the code, the table in kernels.c says which kernel has which, and
 * test_kernels.py shows each of them.
 *
 * What is said of a kernel is that of its releases: macOS 15 (XNU 11417), OpenBSD 7.3 (7.8 where
 * that is said), NetBSD 10, DragonFly 6, FreeBSD 14. A source is a file of the kernel's, or
 * "recorded": recorded/. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>

/* X(identifier, name, what it does, who says so) */
#define DIFFERENCES(X)                                                                             \
    X(OWN_QUEUE, "own-queue", "a queue can be registered with itself",                             \
      "NetBSD, OpenBSD, DragonFly kern_event.c, kqueue_kqfilter; recorded: OpenBSD, nesting")      \
    X(KEEPS_UDATA, "keeps-udata",                                                                  \
      "a change without EV_ADD leaves udata as it is, and asks the filter only to enable it",      \
      "OpenBSD kern_event.c, kqueue_register; recorded: OpenBSD, udata on EV_ENABLE")              \
    X(SHOWS_ADD, "shows-add", "the flags of the change that added it are returned with an event",  \
      "recorded: OpenBSD, every case")                                                             \
    X(NO_USER, "no-user", "no EVFILT_USER", "OpenBSD before 7.8; recorded: OpenBSD, EVFILT_USER")  \
    X(EPIPE_OF_PIPE, "epipe", "EV_ADD of WRITE is EPIPE where the pipe's reader is gone",          \
      "FreeBSD, DragonFly sys_pipe.c; recorded: pipe: add WRITE after reader already closed")      \
    X(EBADF_OF_PIPE, "ebadf-of-pipe", "EV_ADD of WRITE is EBADF where the pipe's reader is gone",  \
      "NetBSD sys_pipe.c, pipe_kqfilter; libevent's kqueue.c")                                     \
    X(EOF_DROPS, "eof-drops", "WRITE's end of a pipe is told once, and the knote is gone then",    \
      "recorded: FreeBSD, pipe: reader closed")                                                    \
    X(MUTE_FULL_PIPE, "mute-full-pipe",                                                            \
      "the writer of a full pipe is not told that the reader went",                                \
      "OpenBSD sys_pipe.c, pipe_destroy; NetBSD sys_pipe.c 1.160, pipeclose")                      \
    X(ONE_WAY_FIFO, "one-way-fifo",                                                                \
      "of a FIFO opened for one direction the other's filter is EINVAL",                           \
      "OpenBSD fifo_vnops.c, fifo_kqfilter")                                                       \
    X(OLD_UNIX, "old-unix", "a Unix peer that receives no more does not end our sending",          \
      "all but FreeBSD 15, uipc_usrreq.c, unp_shutdown; recorded: OpenBSD, peer "                  \
      "shutdown(SHUT_RD)")                                                                         \
    X(NO_ZOMBIES, "no-zombies", "to EVFILT_PROC a process that has exited is ESRCH",               \
      "XNU, NetBSD, OpenBSD kern_event.c, filt_procattach; recorded: OpenBSD, EVFILT_PROC")

enum difference {
#define X(difference, name, what, source) difference,
    DIFFERENCES(X)
#undef X
        DIFFERENCE_COUNT
};

/* Whether the kernel that this is now has a difference. */
bool kernel_has(enum difference difference);

#endif
