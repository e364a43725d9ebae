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
    X(LEVELS, "levels",                                                                            \
      "queues in queues have levels, at most 10, which only rise: EINVAL where they don't fit",    \
      "XNU kern_event.c, kqueue_kqfilter")                                                         \
    X(NO_WRITABLE_QUEUE, "enotsup-of-queue", "WRITE of a queue is EOPNOTSUPP, not EINVAL",         \
      "DragonFly kern_event.c, kqueue_kqfilter")                                                   \
    X(WAKES_WHEN_EMPTY, "wakes-when-empty",                                                        \
      "a queue that is not empty tells the one around it of nothing more",                         \
      "XNU kern_event.c, knote_enqueue")                                                           \
    X(CLEAR_ONLY, "clear-only", "EV_CLEAR with EV_DISPATCH does not disable",                      \
      "NetBSD kern_event.c, kqueue_scan")                                                          \
    X(EXCEPT, "except", "EVFILT_EXCEPT with NOTE_OOB tells of out-of-band data",                   \
      "kqueue(2) of macOS, OpenBSD, DragonFly; OpenBSD uipc_socket.c, filt_soexcept")              \
    X(EXCEPT_READS, "except-reads", "EVFILT_EXCEPT tells what READ tells, too",                    \
      "XNU uipc_socket.c, soexcept_filtops, filt_soread_common")                                   \
    X(ENOENT_OF_CLOSED, "enoent-of-closed", "EV_DELETE of a closed number is ENOENT, not EBADF",   \
      "XNU kern_event.c, kevent_register; trio's _io_kqueue.py")                                   \
    X(TWO_WAY_PIPES, "two-way-pipes", "both ends of a pipe can be read and written",               \
      "pipe(2) of FreeBSD, OpenBSD, DragonFly")                                                    \
    X(MUTE_WRONG_END, "mute-wrong-end",                                                            \
      "of a pipe's end the filter of the other direction is accepted and says nothing",            \
      "XNU sys_pipe.c, pipe_kqfilter")                                                             \
    X(EXTRA_EDGE, "extra-edge",                                                                    \
      "EV_CLEAR: one more event after a read of a pipe or FIFO that leaves something",             \
      "seen on FreeBSD 15.1; sys_pipe.c, pipeselwakeup")                                           \
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
    X(VNODE_FIFO, "vnode-fifo",                                                                    \
      "neither end of a FIFO is told of the other's end; WRITE is ready where a byte is free",     \
      "XNU vfs_vnops.c, filt_vnode_common; fifo_vnops.c, fifo_close_internal")                     \
    X(FIFO_WRITE_EOF, "fifo-write-eof", "WRITE of a FIFO is always ready, with EV_EOF",            \
      "NetBSD fifo_vnops.c 1.77, fifo_kqfilter")                                                   \
    /* Terminals and devices */                                                                    \
    X(TTY_READ_ONLY_EOF, "tty-read-only-eof", "only READ tells that a terminal hung up",           \
      "OpenBSD, DragonFly tty_pty.c, filt_ptcread, filt_ptcwrite")                                 \
    X(TTY_MUTE, "tty-mute", "nothing tells that a terminal hung up",                               \
      "NetBSD tty_pty.c 1.142, filt_ptcread; tty.c, filt_ttyread")                                 \
    X(EINVAL_OF_DEVICE, "einval-of-device",                                                        \
      "/dev/null is EINVAL, and so is /dev/tty, but with NOTE_LOWAT",                              \
      "XNU spec_vnops.c, filt_specattach; mio#1377; moonbit#533")                                  \
    X(OLD_UNIX, "old-unix", "a Unix peer that receives no more does not end our sending",          \
      "all but FreeBSD 15, uipc_usrreq.c, unp_shutdown; recorded: OpenBSD, peer "                  \
      "shutdown(SHUT_RD)")                                                                         \
    X(NO_EXTEND, "no-extend", "VNODE has no EXTEND: growing is WRITE",                             \
      "XNU vfs_vnops.c, vn_write")                                                                 \
    X(UNLINK_IS_LINK, "unlink-is-link",                                                            \
      "VNODE tells of one link less by LINK, and by DELETE of the last one only",                  \
      "recorded: OpenBSD, EVFILT_VNODE, unlink 2nd name")                                          \
    X(SILENT_TRUNCATION, "silent-truncation", "VNODE does not tell of ftruncate(2)",               \
      "recorded: OpenBSD, EVFILT_VNODE, ftruncate 0")                                              \
    /* Signals and processes */                                                                    \
    X(EINVAL_OF_SIGNAL, "einval-of-signal", "a number that is no signal is EINVAL",                \
      "recorded: OpenBSD, EVFILT_SIGNAL, 1000")                                                    \
    X(LATE_SIGNALS, "late-signals",                                                                \
      "a signal is told when it is sent, and delivered to its thread later",                       \
      "kern_sig.c of all kernels; seen on FreeBSD 15.1")                                           \
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
