/* What is registered: the bookkeeping that every kernel file shares. It makes no system call and
 * does not know which kernel it serves.
 *
 * Everything here is guarded by `lock`, which is never held while the kernel waits. */
#ifndef POLLSTER_REGISTRATIONS_H
#define POLLSTER_REGISTRATIONS_H
#include "selector.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    KIND_FREE,
    KIND_UNKNOWN,
    KIND_STREAM,
    KIND_DATAGRAM,
    KIND_PLAIN, /* nothing that needs a look, its source says */
    KIND_PIPE,
    KIND_TERMINAL,
    KIND_QUEUE,
    KIND_OTHER,
    KIND_WAKER,
    KIND_TIMER,
    KIND_SPENT, /* a timer for a single use, whose event stands in a batch */
    KIND_WATCH
};

typedef struct {
    uint64_t token;
    int fd;
    uint32_t generation; /* how often this place was given, and how often its token was changed */
    uint32_t batch;      /* number of the batch that it stands in already, */
    uint32_t place;      /* and where: kqueue has an event for each direction (R1).
                            Of a free one: the next free index */
    uint8_t interest : 4;
    uint8_t trigger : 3;
    uint8_t paused : 1;
    uint8_t kind;   /* KIND_FREE: nothing is registered here */
    uint16_t state; /* the kernel file's own */
} registration;

/* A batch, and what only the C side needs of it. */
typedef struct room {
    batch seen; /* first: a pointer to it is a pointer to the room */
    selector *owner;
    void *entries; /* as the kernel gives them */
    int capacity;
    int places; /* how many the kernel may fill: the others are for timers that are due */
    int filled;
    uint32_t number;
    struct room *next; /* of the selector's */
} room;

typedef struct {
    pthread_mutex_t lock;
    int shares; /* who still needs the memory: the Poll, each batch */

    registration *at; /* [0] is nobody's */
    uint32_t extent;
    uint32_t room_at;
    uint32_t free_index;

    uint32_t *by_fd; /* index, or 0 */
    uint32_t extent_by_fd;
    uint32_t room_by_fd;

    struct watch **watches; /* by index, of those of KIND_WATCH */
    uint32_t room_watches;

    uint32_t batches; /* the number of the last batch */
    room *rooms;

    struct waker_state **wakers; /* by index, of those of KIND_WAKER */
    uint32_t room_wakers;

    uint32_t live; /* how many there are, */
    uint32_t most; /* and have been at once */
    uint64_t wakes_told;
} registrations;

/* Makes room for `wanted` elements. What is new is not touched: memory that is never used is never
 * resident. */
static inline int grow(void **array, uint32_t *room, uint32_t wanted, size_t size) {
    if (wanted <= *room)
        return 0;
    uint32_t larger = *room < 16 ? 16 : *room + *room / 2;
    if (larger < wanted)
        larger = wanted;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved)
        return -ENOMEM;
    *array = moved;
    *room = larger;
    return 0;
}

static inline int registrations_open(registrations *t) {
    memset(t, 0, sizeof *t);
    if (grow((void **)&t->at, &t->room_at, 1, sizeof *t->at) < 0)
        return -ENOMEM;
    t->at[0] = (registration){.kind = KIND_FREE};
    t->extent = 1;
    t->shares = 1;
    int error = pthread_mutex_init(&t->lock, NULL);
    if (error)
        free(t->at);
    return -error;
}

/* Gives up one share of the memory. True: it was the last one, the tables are gone. */
static inline bool registrations_release(registrations *t) {
    pthread_mutex_lock(&t->lock);
    bool last = --t->shares == 0;
    pthread_mutex_unlock(&t->lock);
    if (last) {
        pthread_mutex_destroy(&t->lock);
        free(t->at);
        free(t->by_fd);
        free(t->watches);
        free(t->wakers);
    }
    return last;
}

static inline registration *registration_of(registrations *t, int fd) {
    if (fd < 0 || (uint32_t)fd >= t->extent_by_fd || !t->by_fd[fd])
        return NULL;
    return &t->at[t->by_fd[fd]];
}

/* What a program names by its descriptor: never a waker or a watch, whose numbers are pollster's
 * own and known to a program, if at all, from a file of its own that it closed. */
static inline registration *source_of(registrations *t, int fd) {
    registration *r = registration_of(t, fd);
    return r && r->kind < KIND_WAKER ? r : NULL;
}

static inline uint32_t index_of(registrations *t, const registration *r) {
    return (uint32_t)(r - t->at);
}

/* Generations go from 1 to UINT32_MAX and round. */
static inline void next_generation(registration *r) {
    if (++r->generation == 0)
        r->generation = 1;
}

static inline registration_id id_of(registrations *t, uint32_t index) {
    return (registration_id){index, t->at[index].generation};
}

static inline void count_live(registrations *t) {
    if (++t->live > t->most)
        t->most = t->live;
}

/* A place for a registration, with a generation of its own; not yet found by fd. */
static inline int64_t registration_new(registrations *t, int fd, uint64_t token, uint32_t interest,
                                       uint32_t trigger) {
    uint32_t index = t->free_index, generation = 0;
    if (index) {
        t->free_index = t->at[index].place;
        generation = t->at[index].generation;
    } else {
        if (t->extent > REGISTRATIONS_MAX)
            return -ENOSPC;
        if (grow((void **)&t->at, &t->room_at, t->extent + 1, sizeof *t->at) < 0)
            return -ENOMEM;
        index = t->extent++;
    }
    t->at[index] = (registration){.token = token,
                                  .fd = fd,
                                  .generation = generation,
                                  .interest = interest & 15,
                                  .trigger = trigger & 7,
                                  .kind = KIND_UNKNOWN};
    next_generation(&t->at[index]);
    count_live(t);
    return index;
}

/* Lets registration_of find it. */
static inline int registration_map(registrations *t, uint32_t index) {
    uint32_t fd = (uint32_t)t->at[index].fd;
    if (grow((void **)&t->by_fd, &t->room_by_fd, fd + 1, sizeof *t->by_fd) < 0)
        return -ENOMEM;
    while (t->extent_by_fd <= fd)
        t->by_fd[t->extent_by_fd++] = 0;
    t->by_fd[fd] = index;
    return 0;
}

/* Ends a registration; its place may be given again at once. */
static inline void registration_end(registrations *t, uint32_t index) {
    registration *r = &t->at[index];
    if (r->fd >= 0 && (uint32_t)r->fd < t->extent_by_fd && t->by_fd[r->fd] == index)
        t->by_fd[r->fd] = 0;
    t->live -= r->kind != KIND_SPENT;
    r->kind = KIND_FREE;
    r->place = t->free_index;
    t->free_index = index;
}

/* What an interest is told of a readiness: the directions that it has. */
static inline uint32_t relevant_to(const registration *r, uint32_t ready) {
    uint32_t relevant = READY_ERROR;
    if (r->interest & INTEREST_READABLE)
        relevant |= READY_READABLE | READY_READ_CLOSED;
    if (r->interest & INTEREST_WRITABLE)
        relevant |= READY_WRITABLE | READY_WRITE_CLOSED;
    if (r->interest & INTEREST_PRIORITY)
        relevant |= READY_PRIORITY;
    return ready & relevant;
}

/* What a pipe whose other end is gone is ready for, which `ready` says for its own direction. */
static inline uint32_t hung_up(const registration *r, uint32_t ready) {
    if (r->interest & INTEREST_HANGUP)
        ready |= READY_READABLE | READY_WRITABLE;
    return relevant_to(r, ready);
}

/* Starts the batch that the next batch_put calls fill. */
static inline void batch_begin(registrations *t, room *b) {
    if (++t->batches == 0)
        t->batches = 1;
    b->number = t->batches;
    b->filled = 0;
}

static inline uint64_t *place_in(const room *b, const registration *r) {
    return &b->seen.ready[r->place];
}

/* Puts a registration into a batch, or (kqueue's second direction) adds to what stands there. */
static inline void batch_put(registrations *t, room *b, registration *r, uint32_t readiness) {
    if (r->batch == t->batches && r->place < (uint32_t)b->filled) {
        *place_in(b, r) |= (uint64_t)readiness << ENTRY_READINESS;
        return;
    }
    t->wakes_told += r->kind == KIND_WAKER;
    r->batch = t->batches;
    r->place = (uint32_t)b->filled++;
    *place_in(b, r) = (uint64_t)r->generation << ENTRY_GENERATION |
                      (uint64_t)readiness << ENTRY_READINESS | index_of(t, r);
}

static inline uint32_t readiness_in(const room *b, const registration *r) {
    return (uint32_t)(*place_in(b, r) >> ENTRY_READINESS) & READY_MASK;
}

/* What malloc() returns is aligned so, where the type alone is not: on processors of 32 bits. */
typedef uint64_t whole_entry __attribute__((aligned(8)));

/* Whether the batch that it stood in last is still there, and has not been read so far. */
static inline bool is_unread(const registrations *t, const registration *r) {
    for (const room *b = t->rooms; b; b = b->next) {
        if (b->number != r->batch || r->place >= (uint32_t)b->filled)
            continue;
        uint64_t entry = __atomic_load_n((whole_entry *)place_in(b, r), __ATOMIC_RELAXED);
        return (uint32_t)(entry >> ENTRY_GENERATION) == r->generation &&
               (entry & REGISTRATIONS_MAX) == (uint64_t)(r - t->at) && !(entry >> ENTRY_READ & 1);
    }
    return false;
}

/* A batch with room for `capacity` registrations; NULL: no memory. */
static inline room *room_new(registrations *t, selector *s, int capacity, size_t place_size) {
    room *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->owner = s;
    b->capacity = capacity;
    b->seen.ready = malloc((size_t)capacity * sizeof *b->seen.ready);
    b->entries = malloc((size_t)capacity * place_size);
    if (!b->seen.ready || !b->entries) {
        free(b->seen.ready);
        free(b->entries);
        free(b);
        errno = ENOMEM;
        return NULL;
    }
    pthread_mutex_lock(&t->lock);
    t->shares++;
    b->next = t->rooms;
    t->rooms = b;
    pthread_mutex_unlock(&t->lock);
    return b;
}

/* Ends what a batch has reported for the last time: nobody reads it any more. */
static inline void room_end_spent(registrations *t, room *b) {
    for (int i = 0; i < b->seen.spent_count; i++) {
        registration_id id = b->seen.spent[i];
        if (t->at[id.index].kind == KIND_SPENT && t->at[id.index].generation == id.generation)
            registration_end(t, id.index);
    }
    b->seen.spent_count = 0;
}

/* Ends a registration when its batch is over. Where there is no memory it stays. */
static inline void room_spend(registrations *t, room *b, registration *r) {
    if (!b->seen.spent)
        b->seen.spent = malloc((size_t)b->capacity * sizeof *b->seen.spent);
    if (!b->seen.spent)
        return;
    b->seen.spent[b->seen.spent_count++] = id_of(t, index_of(t, r));
    r->kind = KIND_SPENT;
    t->live--;
}

/* It was not reported after all. */
static inline void registration_unspend(registrations *t, uint32_t index) {
    if (t->at[index].kind != KIND_SPENT)
        return;
    t->at[index].kind = KIND_TIMER;
    count_live(t);
}

/* (locked) */
static inline void room_leave(registrations *t, const room *b) {
    room **link = &t->rooms;
    while (*link != b)
        link = &(*link)->next;
    *link = b->next;
}

static inline void room_free(room *b) {
    free(b->seen.ready);
    free(b->seen.spent);
    free(b->entries);
    free(b);
}

#endif
