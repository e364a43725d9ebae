/* Processes: a pidfd is readable from its process's end on, and stands for no other process that
 * the number is given to later (pidfd_open(2)). */
#include "common/watches.h"
#include "epoll.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* PIDFD_GET_INFO of Linux 6.15 (linux/pidfd.h), which older headers do not have. */
struct exit_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};

#define GET_EXIT_INFO _IOWR(0xFF, 11, struct exit_info)
#define HAS_EXIT_CODE 8

/* waitid(2): idtype P_PIDFD, which older headers do not have. */
#define BY_PIDFD ((idtype_t)3)

static int process_open(watch *w) {
#ifdef SYS_pidfd_open
    w->fd = (int)syscall(SYS_pidfd_open, ((process_watch *)w)->pid, 0);
    if (w->fd >= 0)
        return 0;
    return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno; /* a thread's number */
#else
    (void)w;
    return -ENOSYS;
#endif
}

/* Of our child, which stays there to be waited for; -1 where that has happened, or it is not ours.
 */
static int status_of_child(int pidfd) {
    siginfo_t info = {.si_pid = 0};
    if (waitid(BY_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || !info.si_pid)
        return -1;
    if (info.si_code == CLD_EXITED)
        return (info.si_status & 0xff) << 8;
    return info.si_status | (info.si_code == CLD_DUMPED ? CORE_DUMPED : 0);
}

static int status_of_reaped(int pidfd) {
    struct exit_info info = {.mask = HAS_EXIT_CODE};
    bool is_told = ioctl(pidfd, GET_EXIT_INFO, &info) == 0 && info.mask & HAS_EXIT_CODE;
    return is_told ? info.exit_code : -1;
}

void kernel_process_look(process_watch *p) {
    struct pollfd end = {.fd = p->common.fd, .events = POLLIN};
    if (!p->ended)
        p->ended = poll(&end, 1, 0) > 0;
    if (p->ended && p->status < 0)
        p->status = status_of_child(p->common.fd);
    if (p->ended && p->status < 0)
        p->status = status_of_reaped(p->common.fd);
}

/* A pidfd stays readable. */
void kernel_process_renew(process_watch *p) {
    (void)p;
}

static void process_close(watch *w, bool forked) {
    (void)forked;
    close(w->fd);
}

const watch_calls kernel_process = {process_open, process_look, process_renew, process_close};
