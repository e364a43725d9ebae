/* Deadlines: a heap of them, and what each registered timer is set to. It makes no system call and
 * knows neither kernels nor what is registered besides.
 *
 * An entry of the heap may be out of date: its timer was set to a later deadline, which it gets
 * when it comes to the top, or (another stamp) it is dead. So to put off or to cancel moves
 * nothing; the dead ones are swept out when they are the majority.
 *
 * Everything here is guarded by the lock of the registrations. */
#ifndef POLLSTER_TIMERS_H
#define POLLSTER_TIMERS_H
#include "registrations.h"

#define NEVER INT64_MAX

typedef struct {
    int64_t deadline;
    uint32_t index; /* of the registration */
    uint32_t stamp;
} timer_entry;

typedef struct {
    int64_t deadline; /* NEVER: it is not set */
    int64_t period;   /* 0: it occurs once */
    uint64_t expirations;
    uint32_t stamp; /* of its entry in the heap */
    bool held;      /* it has none, though it may be set */
} timer_state;

typedef struct {
    timer_entry *heap;
    atomic_uint count;
    atomic_bool coming; /* the first entry of the heap is about to be there: see set() */
    uint32_t room;
    uint32_t dead;   /* how many of the entries are, at most */
    timer_state *at; /* by the index of the registration */
    uint32_t extent;
    uint32_t room_at;
    uint32_t turn; /* shares out a batch that is too small for all */

    int64_t armed; /* when the kernel's timer makes the queue ready */
    bool nested;   /* somebody has the queue's descriptor, and looks at it at any time */
    int fd;        /* the kernel file's own */
} timers;

static inline void timers_open(timers *t) {
    t->armed = NEVER;
    t->fd = -1;
}

static inline void timers_free(timers *t) {
    free(t->heap);
    free(t->at);
}

/* Nothing occurs before. */
static inline int64_t timers_next(const timers *t) {
    return atomic_load_explicit(&t->count, memory_order_relaxed) ? t->heap[0].deadline : NEVER;
}

/* The heap: the children of i are 4 * i + 1 to 4 * i + 4. */

static inline void timers_rise(timers *t, uint32_t i, timer_entry entry) {
    while (i) {
        uint32_t parent = (i - 1) / 4;
        if (t->heap[parent].deadline <= entry.deadline)
            break;
        t->heap[i] = t->heap[parent];
        i = parent;
    }
    t->heap[i] = entry;
}

/* The least of up to four siblings, the first of which is given. Which one it is nobody can
 * predict, so four are compared without a branch. */
static inline uint32_t timers_least(const timer_entry *heap, uint32_t first, uint32_t count) {
    uint32_t least = first;
    if (count - first < 4) {
        for (uint32_t i = first + 1; i < count; i++)
            if (heap[i].deadline < heap[least].deadline)
                least = i;
        return least;
    }
    uint32_t second = first + 2;
    least += heap[first + 1].deadline < heap[first].deadline;
    second += heap[first + 3].deadline < heap[first + 2].deadline;
    return least + (second - least) * (heap[second].deadline < heap[least].deadline);
}

static inline void timers_sink(timers *t, uint32_t i, uint32_t count, timer_entry entry) {
    for (;;) {
        uint32_t child = 4 * i + 1;
        if (child >= count)
            break;
        uint32_t least = timers_least(t->heap, child, count);
        if (entry.deadline <= t->heap[least].deadline)
            break;
        t->heap[i] = t->heap[least];
        i = least;
    }
    t->heap[i] = entry;
}

static inline bool timers_is_dead(const timers *t, const timer_entry *entry) {
    return t->at[entry->index].stamp != entry->stamp;
}

static inline void timers_pop(timers *t) {
    uint32_t count = atomic_load_explicit(&t->count, memory_order_relaxed) - 1;
    atomic_store(&t->count, count);
    if (count)
        timers_sink(t, 0, count, t->heap[count]);
}

/* Brings the top up to date: from then on timers_next() is a timer's deadline. */
static inline void timers_settle(timers *t) {
    uint32_t count;
    while ((count = atomic_load_explicit(&t->count, memory_order_relaxed))) {
        timer_entry top = t->heap[0];
        if (timers_is_dead(t, &top)) {
            t->dead--;
            timers_pop(t);
        } else if (t->at[top.index].deadline != top.deadline) {
            top.deadline = t->at[top.index].deadline;
            timers_sink(t, 0, count, top);
        } else {
            break;
        }
    }
}

#define SWEEP_FROM 64

static inline void timers_sweep(timers *t) {
    uint32_t count = atomic_load_explicit(&t->count, memory_order_relaxed), kept = 0;
    if (t->dead < SWEEP_FROM || t->dead <= count / 2)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (!timers_is_dead(t, &t->heap[i]))
            t->heap[kept++] = t->heap[i];
    for (uint32_t i = (kept + 2) / 4; i-- > 0;)
        timers_sink(t, i, kept, t->heap[i]);
    t->dead = 0;
    atomic_store(&t->count, kept);
}

/* Sees to it that a registration has a state, which is not set, and that the heap has room for it:
 * every entry that is not dead belongs to a registration. */
static inline int timers_reserve(timers *t, uint32_t index) {
    if (grow((void **)&t->at, &t->room_at, index + 1, sizeof *t->at) < 0)
        return -ENOMEM;
    while (t->extent <= index)
        t->at[t->extent++] = (timer_state){.deadline = NEVER};
    t->at[index] = (timer_state){.deadline = NEVER, .stamp = t->at[index].stamp};
    return 0;
}

static inline void timers_cancel(timers *t, uint32_t index) {
    timer_state *state = &t->at[index];
    if (state->deadline == NEVER)
        return;
    state->deadline = NEVER;
    if (state->held)
        return;
    state->stamp++;
    t->dead++;
    timers_sweep(t);
}

/* Sets a timer; -ENOMEM: it is as it was. */
static inline int timers_set(timers *t, uint32_t index, int64_t deadline, int64_t period) {
    timer_state *state = &t->at[index];
    if (state->held) {
        state->deadline = deadline;
        state->period = period;
        state->expirations = 0;
        return 0;
    }
    uint32_t count = atomic_load_explicit(&t->count, memory_order_relaxed);
    if (deadline < state->deadline &&
        grow((void **)&t->heap, &t->room, count + 1, sizeof *t->heap) < 0)
        return -ENOMEM;
    state->period = period;
    state->expirations = 0;
    if (deadline == NEVER) {
        timers_cancel(t, index);
        return 0;
    }
    if (deadline < state->deadline) {
        if (state->deadline != NEVER)
            t->dead++;
        state->stamp++;
        timers_rise(t, count, (timer_entry){deadline, index, state->stamp});
        atomic_store(&t->count, count + 1);
    }
    state->deadline = deadline;
    timers_sweep(t);
    return 0;
}

/* It does not occur any more, and stays as it is set. */
static inline void timers_hold(timers *t, uint32_t index) {
    timer_state *state = &t->at[index];
    int64_t deadline = state->deadline;
    timers_cancel(t, index);
    state->deadline = deadline;
    state->held = true;
}

/* Has one that is held, and has occurred last without anybody hearing of it, occur again. */
static inline void timers_take_back(timers *t, uint32_t index, int64_t now) {
    timer_state *state = &t->at[index];
    if (!state->expirations)
        return;
    state->expirations--;
    if (!state->period)
        state->deadline = now;
    else if (state->deadline > state->period)
        state->deadline -= state->period;
}

/* Takes the top, which timers_settle() has seen to, as having occurred: it is not set any more, or
 * set to its next period that is not over. */
static inline void timers_occur(timers *t, int64_t now) {
    timer_entry top = t->heap[0];
    timer_state *state = &t->at[top.index];
    if (!state->period) {
        state->expirations++;
        state->deadline = NEVER;
        state->stamp++;
        timers_pop(t);
        return;
    }
    int64_t periods = (now - state->deadline) / state->period + 1;
    state->expirations += (uint64_t)periods;
    if (state->period > NEVER - state->deadline ||
        periods > (NEVER - state->deadline) / state->period)
        state->deadline = NEVER - 1;
    else
        state->deadline += periods * state->period;
    top.deadline = state->deadline;
    timers_sink(t, 0, atomic_load_explicit(&t->count, memory_order_relaxed), top);
}

#endif
