/* Deadlines: a heap of them, and what each registered timer is set to. It makes no system call and
 * knows neither kernels nor what is registered besides.
 *
 * An entry of the heap may be out of date: its timer was set anew, to the same deadline or a later
 * one, which it gets when it comes to the top, or (another stamp) it is dead. So to put off or to
 * cancel moves nothing; the dead ones are swept out when they are the majority.
 *
 * Everything here is guarded by the lock of the registrations. */
#ifndef POLLSTER_TIMERS_H
#define POLLSTER_TIMERS_H
#include "registrations.h"

#define NEVER INT64_MAX

typedef struct {
    int64_t deadline;
    uint32_t stamp; /* of one deadline the lower comes first; they begin anew once in 2^32 */
    uint32_t index; /* of the registration */
} timer_entry;

typedef struct {
    int64_t deadline; /* NEVER: it is not set */
    int64_t period;   /* 0: it occurs once */
    uint64_t expirations;
    uint32_t stamp; /* of its entry in the heap */
    uint32_t set;   /* the stamp that it was set with last; later where the entry is out of date */
    bool held;      /* it has none, though it may be set */
    bool once;      /* it is for a single use */
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
    uint32_t last; /* stamp */

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

/* Of one deadline what was set first comes first. */
static inline bool timers_before(const timer_entry *one, const timer_entry *other) {
    return one->deadline == other->deadline ? one->stamp < other->stamp
                                            : one->deadline < other->deadline;
}

/* An entry that has the last stamp. */
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
 * predict, so four are compared without a branch; but that no two of them are equal is likely. */
static inline uint32_t timers_least(const timer_entry *heap, uint32_t first, uint32_t count) {
    if (count - first >= 4) {
        const timer_entry *of = heap + first;
        uint32_t one = of[1].deadline < of[0].deadline;
        uint32_t other = 2 + (of[3].deadline < of[2].deadline);
        bool tied = (of[0].deadline == of[1].deadline) | (of[2].deadline == of[3].deadline) |
                    (of[one].deadline == of[other].deadline);
        if (!tied)
            return first + one + (other - one) * (of[other].deadline < of[one].deadline);
        count = first + 4;
    }
    uint32_t least = first;
    for (uint32_t i = first + 1; i < count; i++)
        if (timers_before(&heap[i], &heap[least]))
            least = i;
    return least;
}

static inline void timers_sink(timers *t, uint32_t i, uint32_t count, timer_entry entry) {
    for (;;) {
        uint32_t child = 4 * i + 1;
        if (child >= count)
            break;
        uint32_t least = timers_least(t->heap, child, count);
        if (!timers_before(&t->heap[least], &entry))
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
        timer_state *state = &t->at[top.index];
        if (timers_is_dead(t, &top)) {
            t->dead--;
            timers_pop(t);
        } else if (state->deadline != top.deadline || state->set != top.stamp) {
            top.deadline = state->deadline;
            top.stamp = state->stamp = state->set;
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
    state->set = ++t->last;
    if (deadline < state->deadline) {
        if (state->deadline != NEVER)
            t->dead++;
        state->stamp = state->set;
        timers_rise(t, count, (timer_entry){deadline, state->stamp, index});
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
