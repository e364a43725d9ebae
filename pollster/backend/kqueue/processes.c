/* Processes: EVFILT_PROC with NOTE_EXIT, which comes once. */
#include "watches.h"
#include <signal.h>
#include <sys/wait.h>

#ifdef NOTE_EXITSTATUS /* macOS; elsewhere the status comes with the exit */
#define STATUS_ASKED NOTE_EXITSTATUS
#else
#define STATUS_ASKED 0u
#endif

#define STILL_ENDING (-2)

/* Of our child, which stays there to be waited for; -1 where that has happened, or it is not ours.
 */
static int status_of_child(pid_t pid) {
#ifdef WNOWAIT
    siginfo_t info;
    memset(&info, 0, sizeof info);
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return -1;
    if (info.si_pid != pid)
        return STILL_ENDING;
    if (info.si_code == CLD_EXITED)
        return (info.si_status & 0xff) << 8;
    return info.si_status;
#else
    (void)pid;
    return -1;
#endif
}

/* macOS tells the status to those only who may signal the process. */
static int add(process_watch *p) {
    ident_t pid = (ident_t)p->pid;
    int result = kq_change(&p->common, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT | STATUS_ASKED);
    if (result == -EACCES)
        result = kq_change(&p->common, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT);
    return result;
}

static void ask_for_status(process_watch *p) {
    int status = status_of_child(p->pid);
    p->ending = status == STILL_ENDING;
    p->status = status < 0 ? -1 : status;
}

/* To macOS, NetBSD and OpenBSD what has ended, or is on its way there, is no process any more, also
 * while it is still there to be waited for (libkqueue's test/proc.c; filt_procattach() of XNU). */
static int note_zombie(process_watch *p) {
    ask_for_status(p);
    if (p->status < 0 && kill(p->pid, 0) < 0 && errno == ESRCH)
        return -ESRCH;
    int result = kq_prime(&p->common);
    p->ended = result == 0;
    return result;
}

static int process_open(watch *w) {
    process_watch *p = (process_watch *)w;
    int result = kq_open_watch(w);
    if (result < 0)
        return result;
    result = add(p);
    if (result == -ESRCH)
        result = note_zombie(p);
    if (result < 0)
        kq_close_watch(w, false);
    return result;
}

static void note_end(process_watch *p, const struct kevent *told) {
    p->ended = true;
#ifdef NOTE_EXITSTATUS
    if (told->fflags & NOTE_EXITSTATUS)
        p->status = (int)(told->data & NOTE_PDATAMASK);
    else
        ask_for_status(p);
#else
    p->status = (int)told->data;
#endif
}

void kernel_process_look(process_watch *p) {
    struct kevent told;
    if (p->ending)
        ask_for_status(p);
    if (p->ended || kq_take(&p->common, &told, 1) == 0 || told.filter != EVFILT_PROC)
        return;
    note_end(p, &told);
}

/* The entry came once, and is taken. */
void kernel_process_renew(process_watch *p) {
    kq_prime(&p->common);
}

const watch_calls kernel_process = {process_open, process_look, process_renew, kq_close_watch};
