/* Stands in front of the C library (LD_PRELOAD) and holds a thread where it asks for memory. */
#include <dlfcn.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_bool held, released;
static _Thread_local bool holds;

/* This thread's next table that had no memory yet. */
void hold_the_next(void) {
    holds = true;
}

bool is_held(void) {
    return held;
}

void let_go(void) {
    released = true;
}

void *realloc(void *before, size_t size) {
    void *(*next)(void *, size_t);
    *(void **)&next = dlsym(RTLD_NEXT, "realloc");
    if (holds && !before) {
        holds = false;
        held = true;
        while (!released)
            sched_yield();
    }
    return next(before, size);
}
