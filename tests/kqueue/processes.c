/* EVFILT_PROC: a pidfd for each, which becomes readable when its process exits, and whatever else
 * tells how it ended without reaping it. Linux shows forks and execs to tracers only. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CORE_DUMPED 0x80 /* in a wait status; musl has no WCOREFLAG */

/* PIDFD_GET_INFO of Linux 6.15 (include/uapi/linux/pidfd.h), which older headers don't carry. */
struct exit_info {
    uint64_t mask, cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};

#define GET_EXIT_INFO _IOWR(0xFF, 11, struct exit_info)
#define EXIT_INFO_IS_THERE 0x8

static bool has_exited(int pidfd) {
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

/* Of a child that nobody has waited for. */
static bool status_of_child(int pidfd, int *status) {
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
        return false;
    if (info.si_code == CLD_EXITED)
        *status = W_EXITCODE(info.si_status, 0);
    else
        *status = info.si_status | (info.si_code == CLD_DUMPED ? CORE_DUMPED : 0);
    return true;
}

/* Of a process which was waited for, the kernel telling. */
static bool status_of_reaped(int pidfd, int *status) {
    struct exit_info info = {.mask = EXIT_INFO_IS_THERE};
    if (ioctl(pidfd, GET_EXIT_INFO, &info) < 0 || !(info.mask & EXIT_INFO_IS_THERE))
        return false;
    *status = info.exit_code;
    return true;
}

/* Of somebody else's zombie: the last number in its /proc/PID/stat, zero if it isn't ours to see.
 */
static bool status_of_zombie(pid_t pid, int pidfd, int *status) {
    char path[32], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool is_read = fgets(line, sizeof(line), file) != NULL;
    fclose(file);
    const char *last = is_read ? strrchr(line, ' ') : NULL;
    /* Reaped meanwhile: then the number may be another process's by now. */
    bool is_gone = syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0 && errno == ESRCH;
    return last && !is_gone && sscanf(last, "%d", status) == 1;
}

static int64_t exit_status(pid_t pid, int pidfd) {
    int status = 0;
    if (!status_of_child(pidfd, &status) && !status_of_reaped(pidfd, &status) &&
        !status_of_zombie(pid, pidfd, &status) && !status_of_reaped(pidfd, &status))
        status = 0;
    return status;
}

static int process_attach(struct knote *kn) {
    kn->event.flags |= EV_CLEAR;
    if (kn->event.ident > INT_MAX || kn->event.ident == 0)
        return ESRCH;
    if (misbehave_hides_processes())
        return ESRCH;
    kn->source = (int)syscall(SYS_pidfd_open, (pid_t)kn->event.ident, 0);
    if (kn->source < 0) /* another error is said of a thread that is no process */
        return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? errno : ESRCH;
    /* FreeBSD looks with pfind(), which sees no zombies, unless for NOTE_EXIT. */
    bool takes_zombies =
        kn->sfflags & NOTE_EXIT && !misbehave_hides_zombies() && !kernel_has(NO_ZOMBIES);
    if (!takes_zombies && has_exited(kn->source))
        return ESRCH;
    return knote_listen(kn, kn->source);
}

static bool process_event(struct knote *kn) {
    if (kn->event.flags & EV_EOF)
        return true;
    if (!has_exited(kn->source))
        return false;
    kn->event.flags |= EV_EOF | EV_ONESHOT;
    if (kn->sfflags & NOTE_EXIT) {
        kn->event.fflags = NOTE_EXIT;
        kn->event.data = exit_status((pid_t)kn->event.ident, kn->source);
    } else {
        kn->event.flags |= EV_DROP;
    }
    return true;
}

const struct filter process_filter = {
    .attach = process_attach,
    .release = knote_close_source,
    .event = process_event,
};
