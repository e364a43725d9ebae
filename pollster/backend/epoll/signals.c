/* Signals: the handler counts, and rings an eventfd for each watch. A signalfd(2) would want the
 * signals to be blocked in every thread, those of other libraries too. */
#include "common/watches.h"
#include <sys/eventfd.h>
#include <unistd.h>

const bool kernel_counts_signals = false;

static _Atomic(signals_watch *) first; /* changed under the lock of all watches */

static bool watches_number(const signals_watch *w, int number) {
    for (int i = 0; i < w->count; i++)
        if (w->numbers[i] == number)
            return true;
    return false;
}

void kernel_signal(int number) {
    const uint64_t one = 1;
    for (signals_watch *w = atomic_load(&first); w; w = atomic_load(&w->next)) {
        if (!watches_number(w, number))
            continue;
        atomic_fetch_add(&w->counts[number], 1);
        /* Fails where it is full: then it is readable, too. */
        ssize_t written = write(w->common.fd, &one, sizeof one);
        (void)written;
    }
}

/* glibc would allocate a thread's part of another block when it is first used, which is not for a
 * handler. */
#ifdef __GLIBC__
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define HANDLER_LOCAL static _Thread_local
#endif

volatile sig_atomic_t *kernel_calling(void) {
    HANDLER_LOCAL volatile sig_atomic_t calling;
    return &calling;
}

void kernel_signals_forget(void) {
    atomic_store(&first, NULL);
}

static void unlist(signals_watch *w) {
    _Atomic(signals_watch *) *link = &first;
    while (atomic_load(link) && atomic_load(link) != w)
        link = &atomic_load(link)->next;
    if (atomic_load(link))
        atomic_store(link, atomic_load(&w->next));
    signals_wait_for_handlers();
}

static int signals_open(watch *common) {
    signals_watch *w = (signals_watch *)common;
    int result = 0, taken = 0;
    common->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (common->fd < 0)
        return -errno;
    lock_watches();
    atomic_store(&w->next, atomic_load(&first));
    atomic_store(&first, w);
    while (result == 0 && taken < w->count) {
        result = signal_take_over(w->numbers[taken]);
        taken += result == 0;
    }
    if (result < 0) {
        for (int i = 0; i < taken; i++)
            signal_give_back(w->numbers[i]);
        unlist(w);
        close(common->fd);
    }
    unlock_watches();
    return result;
}

static bool has_any(signals_watch *w) {
    for (int i = 0; i < w->count; i++)
        if (atomic_load(&w->counts[w->numbers[i]]))
            return true;
    return false;
}

/* The eventfd first: a signal that comes meanwhile rings again. */
static bool signals_look(watch *w) {
    uint64_t rung;
    ssize_t size = read(w->fd, &rung, sizeof rung);
    return size > 0 && has_any((signals_watch *)w);
}

static void signals_renew(watch *w, bool fresh) {
    const uint64_t one = 1;
    (void)fresh;
    if (!has_any((signals_watch *)w))
        return;
    ssize_t written = write(w->fd, &one, sizeof one); /* as in kernel_signal */
    (void)written;
}

static void signals_close(watch *common, bool forked) {
    signals_watch *w = (signals_watch *)common;
    for (int i = 0; i < w->count && !forked; i++)
        signal_give_back(w->numbers[i]);
    if (!forked)
        unlist(w);
    close(common->fd);
}

const watch_calls kernel_signals = {signals_open, signals_look, signals_renew, signals_close};
