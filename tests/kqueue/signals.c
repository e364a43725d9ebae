/* EVFILT_SIGNAL: a handler of ours stands in front of the program's action, counts, and then does
 * what that action would have done. FreeBSD counts a signal when it is sent, whatever becomes of
 * it; Linux tells nobody of an ignored one, and so nothing less than a handler will do.
 *
 * A blocked signal reaches no handler. A signalfd, which is never read, tells that it is pending,
 * and sigpending(2) that it is still: the signal itself stays where it is. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* The program's actions. Two of each, so that handlers read one while the other is written. */
static struct program {
    struct sigaction action[2];
    atomic_int current;
} programs[NSIG];

static _Atomic(struct knote *) watchers; /* changed under the lock, read by handlers */
static atomic_int readers;               /* handlers which are looking at the above */
static _Atomic(pid_t) owner;             /* a handler in a child made by fork(2) counts nothing */

/* In the static block: to allocate a thread's part of any other is not for a handler. */
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))
HANDLER_LOCAL volatile unsigned long ignored, handled;
HANDLER_LOCAL volatile sig_atomic_t inside;

struct signals_taken signals_taken(void) {
    return (struct signals_taken){.ignored = ignored, .handled = handled};
}

static bool is_ignored(const struct sigaction *action, int sig) {
    if (action->sa_handler == SIG_DFL)
        return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
    return action->sa_handler == SIG_IGN;
}

static void default_action(int sig) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    if (sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU) {
        raise(SIGSTOP);
    } else {
        sigaction(sig, &action, NULL);
        raise(sig); /* it ends the process when this handler returns and unblocks it */
    }
}

static void program_action(const struct sigaction *action, int sig, siginfo_t *info,
                           void *context) {
    if (is_ignored(action, sig)) {
        ignored++;
        return;
    }
    handled++;
    if (action->sa_handler == SIG_DFL)
        default_action(sig);
    else if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(sig, info, context);
    else
        action->sa_handler(sig);
}

void signals_count_handled(void) {
    handled++;
}

/* Whether the thread that is late gets it. */
static bool is_sent_on(int sig, siginfo_t *info, const struct sigaction *action) {
    if (is_ignored(action, sig) || action->sa_flags & (int)SA_RESETHAND)
        return false;
    bool sent = late_signals_send_on(sig, info);
    ignored += sent;
    return sent;
}

static void on_signal(int sig, siginfo_t *info, void *context) {
    int error = errno;
    bool is_counted = late_signals_was_sent_on(info), is_mine = owner == getpid();
    readers++;
    struct sigaction action = programs[sig].action[programs[sig].current];
    if (is_mine && !is_counted)
        for (struct knote *kn = watchers; kn; kn = kn->signal.next)
            if (kn->event.ident == (uintptr_t)sig)
                eventfd_write(kn->source, 1); /* fails only after 2^64 of them */
    readers--;
    bool is_late = is_mine && !is_counted && is_sent_on(sig, info, &action);
    errno = error;
    if (is_late)
        return;
    /* Two copies of this file in one process may each have taken the other for the program. */
    sig_atomic_t outer = inside;
    if (outer == sig)
        return;
    inside = sig;
    program_action(&action, sig, info, context);
    inside = outer;
}

/* Until no handler can still see what was just unlinked. */
static void wait_for_readers(void) {
    while (readers > 0)
        sched_yield();
}

static bool is_ours(const struct sigaction *action) {
    return action->sa_flags & SA_SIGINFO && action->sa_sigaction == on_signal;
}

/* Stands before whatever the program has installed. */
static int adopt(int sig) {
    static const int kept = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_NODEFER | SA_ONSTACK | SA_RESETHAND;
    struct program *program = &programs[sig];
    struct sigaction now;
    if (sigaction(sig, NULL, &now) < 0)
        return errno;
    if (is_ours(&now))
        return 0;
    int other = !program->current;
    program->action[other] = now;
    program->current = other;
    wait_for_readers();
    struct sigaction ours = {.sa_sigaction = on_signal, .sa_mask = now.sa_mask};
    ours.sa_flags = SA_SIGINFO | (now.sa_flags & (kept | SA_RESTART));
    if (is_ignored(&now, sig))
        ours.sa_flags |= SA_RESTART | SA_ONSTACK;
    if (now.sa_handler == SIG_IGN)
        ours.sa_flags |= SA_NOCLDWAIT; /* children of who ignores SIGCHLD leave no zombies */
    return sigaction(sig, &ours, NULL) < 0 ? errno : 0;
}

/* Puts the program's action back, unless it has put another one there. */
static void yield_to_program(int sig) {
    struct program *program = &programs[sig];
    struct sigaction now;
    if (sigaction(sig, NULL, &now) == 0 && is_ours(&now))
        sigaction(sig, &program->action[program->current], NULL);
}

void signals_adopt(void) {
    for (struct knote *kn = watchers; kn; kn = kn->signal.next)
        adopt((int)kn->event.ident);
}

void signals_fork_child(void) {
    late_signals_fork_child();
    readers = 0; /* the threads that were in a handler are not here */
}

/* FreeBSD accepts any number, these are just never counted (recorded: "EVFILT_SIGNAL", 1000). */
static bool can_be_caught(uintptr_t ident) {
    struct sigaction now;
    return ident > 0 && ident < NSIG && ident != SIGKILL && ident != SIGSTOP &&
           sigaction((int)ident, NULL, &now) == 0;
}

static bool is_pending(int sig) {
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, sig) == 1;
}

static int signal_attach(struct knote *kn) {
    kn->event.flags |= EV_CLEAR;
    kn->signal.doorbell = -1;
    if (kn->event.ident >= NSIG && kernel_has(EINVAL_OF_SIGNAL))
        return EINVAL;
    if (!can_be_caught(kn->event.ident))
        return 0;
    int sig = (int)kn->event.ident, error;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    kn->source = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (kn->source < 0 || (error = knote_listen(kn, kn->source)))
        return kn->source < 0 ? errno : error;
    kn->signal.doorbell = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (kn->signal.doorbell < 0 || (error = knote_listen(kn, kn->signal.doorbell)))
        return kn->signal.doorbell < 0 ? errno : error;
    if ((error = late_signals_start()))
        return error;
    kn->signal.pending = is_pending(sig);
    owner = getpid();
    kn->signal.next = watchers;
    watchers = kn;
    kn->signal.listed = true;
    return adopt(sig);
}

static void unlist(struct knote *kn) {
    _Atomic(struct knote *) *link = &watchers;
    bool is_last = true;
    while (*link != kn)
        link = &(*link)->signal.next;
    *link = kn->signal.next;
    kn->signal.listed = false;
    wait_for_readers();
    for (struct knote *other = watchers; other; other = other->signal.next)
        is_last &= other->event.ident != kn->event.ident;
    if (is_last)
        yield_to_program((int)kn->event.ident);
}

static void signal_release(struct knote *kn) {
    if (kn->signal.listed)
        unlist(kn);
    if (kn->signal.doorbell >= 0)
        close(kn->signal.doorbell);
    knote_close_source(kn);
}

static bool signal_event(struct knote *kn) {
    eventfd_t count = 0;
    if (kn->source < 0)
        return false;
    if (eventfd_read(kn->source, &count) < 0)
        count = 0;
    bool pending = is_pending((int)kn->event.ident);
    if (pending && !kn->signal.pending)
        kn->event.data++;
    else if (!pending && kn->signal.pending && count > 0)
        count--; /* it was counted when it became pending */
    kn->signal.pending = pending;
    kn->event.data += (int64_t)count;
    return kn->event.data != 0;
}

const struct filter signal_filter = {
    .is_silent = true, /* nor of a pending signal that somebody took with sigwait(3) */
    .attach = signal_attach,
    .release = signal_release,
    .event = signal_event,
};
