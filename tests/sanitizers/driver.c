/* Has threads do at once all that selector.h lets them, for the sanitizers to watch.
 *
 * test_sanitizers.py compiles it with a back end. What it checks itself: results are among those
 * that the contract names, no wait hangs, and a one-shot goes to one thread. */
#include "selector.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#if __has_include("kqueue_misbehave.h")
#include "kqueue_misbehave.h"
#endif

#define SOURCES 8
#define CAPACITY 4
#define ROUNDS 6
#define TURNS 150
#define WAITERS 3
#define FOREVER ((int64_t)-1)

typedef struct {
    selector *s;
    int ends[SOURCES][2];
    int shots[2];                 /* the ends of a source that is registered as a one-shot */
    atomic_int told;              /* how often it came, */
    atomic_int armed;             /* and was armed */
    _Atomic(waker *) woken;       /* what one thread wakes and another replaces */
    waker wakers[TURNS + 1];      /* kept: a waker that was closed may still be woken */
    atomic_bool closed_by_driver; /* from here on -ESHUTDOWN is right */
} world;

#define SHOT_TOKEN 1000
#define WAKER_TOKEN 2000

static void fail(const char *what, int result) {
    fprintf(stderr, "%s: %d\n", what, result);
    exit(1);
}

/* Ends the program unless the result is 0 or one of those that may be here. */
static void expect(const world *w, const char *what, int result, int one, int other) {
    if (result >= 0 || result == one || result == other)
        return;
    if (result != -ESHUTDOWN || !atomic_load(&w->closed_by_driver))
        fail(what, result);
}

static int apply(world *w, enum what what, int fd, uint64_t token, uint32_t interest,
                 uint32_t trigger) {
    change c = {.what = what, .fd = fd, .token = token, .interest = interest, .trigger = trigger};
    int result = selector_apply(w->s, &c, 1);
    return result < 0 ? result : c.result;
}

static void arm(world *w) {
    atomic_fetch_add(&w->armed, 1);
    int result = apply(w, REREGISTER, w->shots[0], SHOT_TOKEN,
                       INTEREST_READABLE | INTEREST_WRITABLE, TRIGGER_ONESHOT);
    expect(w, "arming a one-shot", result, 0, 0);
}

static void take(world *w, uint64_t entry) {
    registration_id id = {(uint32_t)(entry & REGISTRATIONS_MAX),
                          (uint32_t)(entry >> ENTRY_GENERATION)};
    registration_view view;
    uint64_t token = 0;
    int result = selector_token(w->s, id, &token);
    expect(w, "selector_token", result, -ENOENT, 0);
    expect(w, "selector_view", selector_view(w->s, id.index, &view), -ENOENT, 0);
    if (result < 0 || token != SHOT_TOKEN)
        return;
    if (atomic_fetch_add(&w->told, 1) + 1 > atomic_load(&w->armed))
        fail("a one-shot came to two threads", 0);
    arm(w);
}

static void *wait_in_turns(void *data) {
    world *w = data;
    batch *b = batch_new(w->s, CAPACITY);
    raw_field fields[8];
    if (!b)
        fail("batch_new", -errno);
    for (int turn = 0;; turn++) {
        int count = selector_wait(b, turn % 3 ? FOREVER : 100000);
        if (count == -ESHUTDOWN)
            break;
        if (count == -EINTR)
            continue;
        if (count < 0)
            fail("selector_wait", count);
        for (int i = 0; i < count; i++)
            take(w, b->ready[i]);
        for (int i = 0; i < b->taken; i++)
            expect(w, "selector_raw", selector_raw(b, i, fields, 8), 0, 0);
        if (turn % 16 == 0) { /* Events that are made anew */
            batch_free(b);
            b = batch_new(w->s, CAPACITY);
            if (!b)
                fail("batch_new", -errno);
        }
    }
    batch_free(b);
    return NULL;
}

static void *change_one_by_one(void *data) {
    world *w = data;
    for (int turn = 0; turn < TURNS; turn++) {
        int fd = w->ends[turn % SOURCES][0];
        uint32_t trigger = (uint32_t)turn % 4;
        expect(w, "register", apply(w, REGISTER, fd, (uint64_t)turn, INTEREST_WRITABLE, trigger),
               -EEXIST, 0);
        expect(w, "reregister",
               apply(w, REREGISTER, fd, (uint64_t)turn, INTEREST_READABLE | INTEREST_WRITABLE,
                     trigger),
               -ENOENT, 0);
        expect(w, "selector_find", selector_find(w->s, fd), -ENOENT, 0);
        expect(w, "selector_fd", selector_fd(w->s), 0, 0);
        expect(w, "deregister", apply(w, DEREGISTER, fd, 0, 0, 0), -ENOENT, 0);
    }
    return NULL;
}

static void *change_together(void *data) {
    world *w = data;
    for (int turn = 0; turn < TURNS; turn++) {
        change changes[SOURCES];
        for (int i = 0; i < SOURCES; i++)
            changes[i] = (change){.what = turn % 3 == 0   ? REGISTER
                                          : turn % 3 == 1 ? REREGISTER
                                                          : DEREGISTER,
                                  .fd = w->ends[i][0],
                                  .token = (uint64_t)turn,
                                  .interest = INTEREST_READABLE | INTEREST_WRITABLE,
                                  .trigger = (uint32_t)(turn + i) % 4};
        int result = selector_apply(w->s, changes, SOURCES);
        expect(w, "a batch", result, 0, 0);
        for (int i = 0; i < SOURCES && result == 0; i++)
            expect(w, "one of a batch", changes[i].result, -ENOENT, -EEXIST);
    }
    return NULL;
}

static void *wake(void *data) {
    world *w = data;
    for (int turn = 0; turn < 4 * TURNS; turn++)
        expect(w, "waker_wake", waker_wake(atomic_load(&w->woken)), -ENOENT, 0);
    return NULL;
}

static void *replace_wakers(void *data) {
    world *w = data;
    for (int turn = 1; turn <= TURNS; turn++) {
        int result = waker_open(w->s, &w->wakers[turn], WAKER_TOKEN + (uint64_t)turn);
        expect(w, "waker_open", result, 0, 0);
        if (result < 0)
            break;
        waker *before = atomic_exchange(&w->woken, &w->wakers[turn]);
        expect(w, "waker_close", waker_close(before), 0, 0);
        expect(w, "waker_close, twice", waker_close(before), -ENOENT, 0);
    }
    return NULL;
}

static void *close_it(void *data) {
    world *w = data;
    atomic_store(&w->closed_by_driver, true);
    int result = selector_close(w->s);
    if (result < 0 || !selector_is_closed(w->s))
        fail("selector_close", result);
    return NULL;
}

static void open_pair(int ends[2]) {
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0 || write(ends[1], "x", 1) != 1)
        fail("socketpair", -errno);
}

/* Closing comes after the work in even rounds, amid it in odd ones. */
static void play(int round) {
    void *(*const works[])(void *) = {change_one_by_one, change_together, wake, wake,
                                      replace_wakers};
    enum { WORKS = sizeof works / sizeof *works };
    pthread_t waiters[WAITERS], workers[WORKS], closers[2];
    world *w = calloc(1, sizeof *w);
    if (!w || !(w->s = selector_open()))
        fail("selector_open", -errno);
    for (int i = 0; i < SOURCES; i++)
        open_pair(w->ends[i]);
    open_pair(w->shots);
    expect(w, "waker_open", waker_open(w->s, &w->wakers[0], WAKER_TOKEN), 0, 0);
    atomic_store(&w->woken, &w->wakers[0]);
    atomic_store(&w->armed, 1);
    expect(w, "register a one-shot",
           apply(w, REGISTER, w->shots[0], SHOT_TOKEN, INTEREST_READABLE, TRIGGER_ONESHOT), 0, 0);
    for (int i = 0; i < WAITERS; i++)
        pthread_create(&waiters[i], NULL, wait_in_turns, w);
    for (int i = 0; i < WORKS; i++)
        pthread_create(&workers[i], NULL, works[i], w);
    for (int i = 0; i < WORKS && round % 2 == 0; i++)
        pthread_join(workers[i], NULL);
    while (atomic_load(&w->told) < 10)
        sched_yield();
    for (int i = 0; i < 2; i++)
        pthread_create(&closers[i], NULL, close_it, w);
    for (int i = 0; i < 2; i++)
        pthread_join(closers[i], NULL);
    for (int i = 0; i < WORKS && round % 2; i++)
        pthread_join(workers[i], NULL);
    for (int i = 0; i < WAITERS; i++)
        pthread_join(waiters[i], NULL);
    selector_free(w->s);
    for (int i = 0; i < SOURCES; i++)
        for (int end = 0; end < 2; end++)
            close(w->ends[i][end]);
    close(w->shots[0]);
    close(w->shots[1]);
    free(w);
}

/* An argument names a fault that the tests' kqueue is to have: see kqueue_misbehave.h. */
int main(int count, char **arguments) {
    alarm(100); /* what hangs ends */
#if __has_include("kqueue_misbehave.h")
    if (count > 1)
        kqueue_misbehave(arguments[1], 1);
#else
    (void)count, (void)arguments;
#endif
    for (int round = 0; round < ROUNDS; round++)
        play(round);
    return 0;
}
