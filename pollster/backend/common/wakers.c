/* Wakers: what ends a poll from another thread. */
#include "kernel.h"

/* waker_state.woken. While one of them is set waking makes no system call. */
#define WOKEN                                                                                      \
    1 /* the kernel knows, or somebody is about to tell it; it has not been reported yet */
#define PAUSED 2 /* nobody tells the kernel */
#define LOST 4   /* the program closed its descriptor, whose number is another file's */

int waker_open(selector *s, waker *w, uint64_t token) {
    registrations *t = &s->all;
    int result = lock_open(s);
    if (result < 0)
        return result;
    *w = (waker){.owner = s, .fd = -1, .users = 1, .state = calloc(1, sizeof *w->state)};
    if (!w->state ||
        grow((void **)&t->wakers, &t->room_wakers, t->extent + 1, sizeof *t->wakers) < 0)
        result = -ENOMEM;
    if (result == 0)
        result = kernel_waker_open(s, w, token);
    if (result < 0) {
        free(w->state);
        return unlock(s, result);
    }
    w->state->opened = w->made.generation;
    t->wakers[w->made.index] = w->state;
    t->at[w->made.index].kind = KIND_WAKER;
    return unlock(s, 0);
}

void waker_end(selector *s, uint32_t index) {
    kernel_waker_close(s, &s->all.at[index]);
    free(s->all.wakers[index]);
    registration_end(&s->all, index);
}

void waker_lose(selector *s, uint32_t index) {
    atomic_fetch_or(&s->all.wakers[index]->woken, LOST);
    kernel_waker_forget(s, &s->all.at[index]);
    s->all.at[index].fd = -1;
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
    if (is_registered(w))
        waker_end(s, w->made.index);
    unlock(s, 0);
}

static void let_go(waker *w) {
    if (__atomic_sub_fetch(&w->users, 1, __ATOMIC_SEQ_CST) == 0)
        end_waker(w);
}

static int tell_kernel(selector *s, const waker *w) {
    int result = kernel_waker_wake(s, w);
    if (result == -ENOENT) /* it is paused, or was just now: who resumes it sees WOKEN */
        return 0;
    if (result < 0)
        atomic_fetch_and(&w->state->woken, ~WOKEN);
    return result;
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
        if (closed)
            result = -ENOENT;
        else if (!atomic_fetch_or(&w->state->woken, WOKEN))
            result = tell_kernel(s, w);
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

/* Takes the lock of the selector that it is registered with. */
static int hold(const waker *w) {
    int result = w->owner ? lock_open(w->owner) : -ENOENT;
    if (result < 0)
        return result;
    if (!is_registered(w))
        return unlock(w->owner, -ENOENT);
    return atomic_load(&w->state->woken) & LOST ? unlock(w->owner, -EBADF) : 0;
}

int waker_pause(waker *w) {
    int result = hold(w);
    if (result < 0)
        return result;
    selector *s = w->owner;
    registration *r = &s->all.at[w->made.index];
    if (r->paused)
        return unlock(s, 0);
    bool unread = is_unread(&s->all, r);
    registration_pause(r);
    atomic_fetch_or(&w->state->woken, PAUSED);
    result = kernel_waker_pause(s, w->made.index);
    if (result < 0) {
        r->paused = false;
        r->generation = w->made.generation;
        if (atomic_fetch_and(&w->state->woken, ~PAUSED) & WOKEN)
            tell_kernel(s, w);
        return unlock(s, result);
    }
    if (unread)
        atomic_fetch_or(&w->state->woken, WOKEN);
    w->made = id_of(&s->all, w->made.index);
    return unlock(s, 0);
}

int waker_resume(waker *w) {
    int result = hold(w);
    if (result < 0)
        return result;
    selector *s = w->owner;
    registration *r = &s->all.at[w->made.index];
    const registration before = *r;
    if (!r->paused)
        return unlock(s, 0);
    r->paused = false;
    result = kernel_waker_resume(s, w->made.index, &before);
    if (result < 0)
        r->paused = true;
    else if (atomic_fetch_and(&w->state->woken, ~PAUSED) & WOKEN)
        result = tell_kernel(s, w);
    return unlock(s, result);
}
