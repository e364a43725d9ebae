/* Wakers: what ends a poll from another thread. */
#include "kernel.h"

int waker_open(selector *s, waker *w, uint64_t token) {
    int result = lock_open(s);
    if (result < 0)
        return result;
    *w = (waker){.owner = s, .fd = -1, .users = 1};
    result = kernel_waker_open(s, w, token);
    if (result < 0)
        return unlock(s, result);
    s->all.at[w->made.index].kind = KIND_WAKER;
    return unlock(s, 0);
}

static bool is_registered(const waker *w) {
    const registrations *t = &w->owner->all;
    uint32_t index = w->made.index;
    return index && index < t->extent && t->at[index].kind == KIND_WAKER &&
           t->at[index].generation == w->made.generation;
}

static void end_waker(waker *w) {
    selector *s = w->owner;
    if (lock_open(s) < 0)
        return; /* whoever closes the selector ends it */
    if (is_registered(w)) {
        kernel_waker_close(s, &s->all.at[w->made.index]);
        registration_end(&s->all, w->made.index);
    }
    unlock(s, 0);
}

static void let_go(waker *w) {
    if (__atomic_sub_fetch(&w->users, 1, __ATOMIC_SEQ_CST) == 0)
        end_waker(w);
}

/* No lock is held: who is woken may run at once, on this very processor, and would wait for it. */
int waker_wake(waker *w) {
    selector *s = w->owner;
    if (!s)
        return -ENOENT;
    int result = enter(s);
    if (result == 0) {
        atomic_fetch_add_explicit(&s->wakes, 1, memory_order_relaxed);
        __atomic_add_fetch(&w->users, 1, __ATOMIC_SEQ_CST);
        bool closed = __atomic_load_n(&w->closed, __ATOMIC_SEQ_CST);
        result = closed ? -ENOENT : kernel_waker_wake(s, w);
        let_go(w);
    }
    if (result != -ECHILD)
        leave(s);
    return result;
}

int waker_close(waker *w) {
    int result = w->owner ? selector_check(w->owner) : -ENOENT;
    if (result < 0)
        return result;
    if (__atomic_exchange_n(&w->closed, 1, __ATOMIC_SEQ_CST))
        return -ENOENT;
    let_go(w);
    return 0;
}
