/* LATE_SIGNALS: a thread that a signal is delivered to a while after it was counted.
 *
 * A BSD tells of a signal as it is sent, and with more than one processor whoever waited can be
 * done with it before the thread that received it gets to run the handler. Here the signal is sent
 * on to a thread of its own, which has it blocked, and so pending, for a while: what becomes of it
 * is then the kernel's own doing. SIG_IGN discards it, SIG_DFL may end the process, and a handler
 * runs. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* An si_errno, which no sender sets; the lower half keeps the si_code. To another thread Linux lets
 * one send SI_QUEUE and its like only (rt_tgsigqueueinfo(2)). */
enum { SENT_ON = 0x6b710000 };

/* Whom a blocked call is to be interrupted for, as it is where the kernel chose that thread. */
static _Atomic(pid_t) receiver;
static _Atomic(pid_t) late_thread;
static sem_t sent_on;
static sigset_t every;

static void nothing(int sig) {
    (void)sig;
    signals_count_handled();
}

static void *be_late(void *unused) {
    static const struct timespec a_while = {.tv_nsec = 20000000};
    sigset_t none;
    sigemptyset(&none);
    late_thread = (pid_t)syscall(SYS_gettid);
    for (;;) {
        while (sem_wait(&sent_on) < 0)
            continue;
        nanosleep(&a_while, NULL);
        pthread_sigmask(SIG_SETMASK, &none, NULL); /* here it is delivered */
        pthread_sigmask(SIG_SETMASK, &every, NULL);
        syscall(SYS_tgkill, getpid(), receiver, SIGRTMAX);
    }
    return unused;
}

int late_signals_start(void) {
    struct sigaction nudge = {.sa_handler = nothing, .sa_flags = SA_ONSTACK};
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t before;
    if (late_thread || !kernel_has(LATE_SIGNALS))
        return 0;
    sigfillset(&every);
    sem_init(&sent_on, 0, 0);
    sigaction(SIGRTMAX, &nudge, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int error = pthread_create(&thread, &attributes, be_late, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    while (!error && !late_thread)
        sched_yield();
    return error;
}

void late_signals_fork_child(void) {
    late_thread = 0;
}

bool late_signals_was_sent_on(siginfo_t *info) {
    if (!info || (info->si_errno & ~0xffff) != SENT_ON) /* a program may call the handler itself */
        return false;
    info->si_code = (int16_t)info->si_errno;
    info->si_errno = 0;
    return true;
}

bool late_signals_send_on(int sig, siginfo_t *info) {
    if (!info || !late_thread || !kernel_has(LATE_SIGNALS) || misbehave_is_prompt())
        return false;
    receiver = (pid_t)syscall(SYS_gettid);
    siginfo_t sent = *info;
    sent.si_errno = SENT_ON | (uint16_t)info->si_code;
    sent.si_code = SI_QUEUE;
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), late_thread, sig, &sent) < 0)
        return false;
    sem_post(&sent_on);
    return true;
}
