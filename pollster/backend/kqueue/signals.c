/* Signals: EVFILT_SIGNAL, which counts them whatever becomes of them. */
#include "watches.h"

const bool kernel_counts_signals = true;

void kernel_signal(int number) {
    (void)number;
}

/* Only the default action is replaced here, so no handler of the program is ever called. OpenBSD
 * has no variables of threads. */
volatile sig_atomic_t *kernel_calling(void) {
    static volatile sig_atomic_t calling;
    return &calling;
}

void kernel_signals_forget(void) {
}

/* The action before the knote, and in the other order at the end. */
static void give_back(signals_watch *w, int taken) {
    for (int i = 0; i < taken; i++) {
        kq_change(&w->common, (ident_t)w->numbers[i], EVFILT_SIGNAL, EV_DELETE, 0);
        signal_give_back(w->numbers[i]);
    }
}

static int signals_open(watch *common) {
    signals_watch *w = (signals_watch *)common;
    int taken = 0, result = kq_open_watch(common);
    if (result < 0)
        return result;
    lock_watches();
    while (result == 0 && taken < w->count) {
        ident_t number = (ident_t)w->numbers[taken];
        result = signal_take_over(w->numbers[taken]);
        if (result < 0)
            break;
        taken++;
        result = kq_change(common, number, EVFILT_SIGNAL, EV_ADD | EV_CLEAR, 0);
    }
    if (result < 0) {
        give_back(w, taken);
        kq_close_watch(common, false);
    }
    unlock_watches();
    return result;
}

#define ENTRIES 16 /* at a time */

static bool take(signals_watch *w) {
    struct kevent told[ENTRIES];
    bool any = false;
    int n;
    do {
        n = kq_take(&w->common, told, ENTRIES);
        for (int i = 0; i < n; i++) {
            if (told[i].filter != EVFILT_SIGNAL || told[i].ident > SIGNAL_MAX)
                continue;
            atomic_fetch_add(&w->counts[told[i].ident], (uint32_t)told[i].data);
            any = true;
        }
    } while (n == ENTRIES);
    return any;
}

static bool has_any(signals_watch *w) {
    for (int i = 0; i < w->count; i++)
        if (atomic_load(&w->counts[w->numbers[i]]))
            return true;
    return false;
}

static bool signals_look(watch *w) {
    bool due = w->due;
    bool news = take((signals_watch *)w);
    kq_hush_primer(w);
    w->due = false;
    return news || (due && has_any((signals_watch *)w));
}

static void signals_renew(watch *w, bool fresh) {
    (void)fresh;
    if (has_any((signals_watch *)w))
        w->due = kq_prime(w) == 0;
}

static void signals_close(watch *w, bool forked) {
    if (!forked)
        give_back((signals_watch *)w, ((signals_watch *)w)->count);
    kq_close_watch(w, forked);
}

const watch_calls kernel_signals = {signals_open, signals_look, signals_renew, signals_close};
