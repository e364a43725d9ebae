/* The actions of watched signals: a handler stands in front of what the program has installed, and
 * passes on to it. So the default action, which often is to end the process, does not happen; all
 * else does.
 *
 * A kernel that counts signals whatever their action is needs the handler only where the action is
 * the default one. */
#include "watches.h"
#include <sched.h>
#include <unistd.h>

static struct {
    atomic_int users;
    atomic_bool in_front;
    /* The program's actions: handlers read one while the other is written. */
    struct sigaction before[2];
    atomic_int which;
    bool is_known;
    struct sigaction first; /* what was there when we first came */
    atomic_bool chained;    /* somebody took our place, and may pass on to us */
} actions[SIGNAL_MAX + 1];

static atomic_int running; /* handlers that look at the above, or at watches */
static atomic_int owner;   /* a child's handler, between vfork(2) and exec(3), tells nobody */

static bool is_handler(const struct sigaction *action) {
    return action->sa_flags & SA_SIGINFO ||
           (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static bool ignored_by_default(int number) {
    return number == SIGCHLD || number == SIGCONT || number == SIGURG || number == SIGWINCH;
}

static void call(const struct sigaction *action, int number, siginfo_t *info, void *context) {
    if (!is_handler(action))
        return;
    if (action->sa_flags & SA_SIGINFO)
        action->sa_sigaction(number, info, context);
    else
        action->sa_handler(number);
}

/* Whom we call may pass on to the one whose place it took, which is us: faulthandler's
 * register(chain=True) does. What we passed on to at that time comes then. */
static void pass_on(const struct sigaction *before, int number, siginfo_t *info, void *context) {
    volatile sig_atomic_t *calling = kernel_calling();
    sig_atomic_t outer = *calling;
    if (outer == number)
        before = &actions[number].first;
    *calling = number;
    call(before, number, info, context);
    *calling = outer;
}

/* Whether the kernel knows nothing better than the default action. */
static bool is_default(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && !is_handler(&now) && now.sa_handler == SIG_DFL;
}

/* It ends the process when this handler returns. */
static void default_action(int number) {
    struct sigaction action;
    if (ignored_by_default(number))
        return;
    if (number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
        raise(SIGSTOP);
        return;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, NULL);
    raise(number);
}

/* Who is not in front, or not at all any more, is called by one who took its place and passes on.
 * Or it is late: a thread that the signal was given to while it was watched runs on only now. Then
 * the program's handler is called as it would have been, and the default action does not happen. */
static void on_signal(int number, siginfo_t *info, void *context) {
    int error = errno;
    atomic_fetch_add(&running, 1);
    bool is_watched = atomic_load(&actions[number].users) > 0;
    bool is_chained = atomic_load(&actions[number].chained);
    struct sigaction before = atomic_load(&actions[number].in_front) || !is_chained
                                  ? actions[number].before[atomic_load(&actions[number].which)]
                                  : actions[number].first;
    if (atomic_load(&owner) == (int)getpid())
        kernel_signal(number);
    atomic_fetch_sub(&running, 1);
    errno = error;
    if (is_handler(&before))
        pass_on(&before, number, info, context);
    else if (before.sa_handler == SIG_DFL && !is_watched && is_chained && !is_default(number))
        default_action(number);
}

void signals_wait_for_handlers(void) {
    while (atomic_load(&running) > 0)
        sched_yield();
}

static bool is_ours(const struct sigaction *action) {
    return action->sa_flags & SA_SIGINFO && action->sa_sigaction == on_signal;
}

static bool needs_handler(const struct sigaction *now) {
    return !kernel_counts_signals || (!is_handler(now) && now->sa_handler == SIG_DFL);
}

static int stand_before(int number) {
    static const int kept = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_NODEFER | SA_ONSTACK | SA_RESTART;
    struct sigaction now, ours;
    if (sigaction(number, NULL, &now) < 0)
        return -errno;
    if (is_ours(&now) || !needs_handler(&now))
        return 0;
    if (atomic_load(&actions[number].in_front))
        atomic_store(&actions[number].chained, true);
    else if (!is_handler(&now))
        atomic_store(&actions[number].chained, false);
    int other = !atomic_load(&actions[number].which);
    actions[number].before[other] = now;
    if (!actions[number].is_known)
        actions[number].first = now;
    actions[number].is_known = true;
    atomic_store(&actions[number].which, other);
    signals_wait_for_handlers();
    memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = on_signal;
    ours.sa_mask = now.sa_mask;
    ours.sa_flags = SA_SIGINFO | (now.sa_flags & kept);
    if (!is_handler(&now))
        ours.sa_flags |= SA_RESTART | SA_ONSTACK; /* as if nothing had come */
    if (number == SIGCHLD && !is_handler(&now) && now.sa_handler == SIG_IGN)
        ours.sa_flags |= SA_NOCLDWAIT; /* who ignores it has no zombies */
    atomic_store(&actions[number].in_front, true);
    return sigaction(number, &ours, NULL) < 0 ? -errno : 0;
}

int signal_take_over(int number) {
    atomic_store(&owner, (int)getpid());
    atomic_fetch_add(&actions[number].users, 1);
    int result = stand_before(number);
    if (result < 0)
        signal_give_back(number);
    return result;
}

void signal_stand_before(int number) {
    stand_before(number);
}

/* What was sent while it was watched must not end the process later on, and threads may not have
 * taken it yet: to ignore a signal discards it where it is pending (sigaction(2)). */
static void discard_pending(int number) {
    struct sigaction ignore;
    memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    sigaction(number, &ignore, NULL);
}

/* Puts the program's action back, unless it has put another one there. Children that end while
 * SIGCHLD is ignored leave no status: that signal is harmless anyhow. */
static void put_back(int number) {
    const struct sigaction *before = &actions[number].before[atomic_load(&actions[number].which)];
    struct sigaction now;
    if (atomic_load(&actions[number].in_front) && sigaction(number, NULL, &now) == 0) {
        if (!is_ours(&now)) {
            atomic_store(&actions[number].chained, true);
        } else {
            if (!is_handler(before) && before->sa_handler == SIG_DFL && !ignored_by_default(number))
                discard_pending(number);
            sigaction(number, before, NULL);
        }
    }
    signals_wait_for_handlers(); /* they were called while it was watched */
    atomic_store(&actions[number].in_front, false);
    atomic_store(&actions[number].users, 0);
}

void signal_give_back(int number) {
    if (atomic_load(&actions[number].users) == 1)
        put_back(number);
    else
        atomic_fetch_sub(&actions[number].users, 1);
}

/* A child has the actions that the program chose. */
void signals_forget(void) {
    atomic_store(&running, 0); /* the threads that were in a handler are not here */
    for (int number = 1; number <= SIGNAL_MAX; number++)
        if (atomic_load(&actions[number].users))
            put_back(number);
    kernel_signals_forget();
}
