/* What is registered, and which ids Python knows for it: the bookkeeping that every kernel file
 * shares. It makes no system call and does not know which kernel it serves.
 *
 * Everything here is guarded by `lock`, which is never held while the kernel waits.
 *
 * A known id that was retired may still stand in a batch that nobody has read yet. It gets its next
 * meaning only after `sweep` has blanked it there (R8 of the design), and sweeps are rare enough
 * to cost nothing per event. */
#ifndef POLLSTER_REGISTRATIONS_H
#define POLLSTER_REGISTRATIONS_H
#include "selector.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_AT 1024
#define REST 32

enum kind { KIND_UNKNOWN, KIND_STREAM, KIND_DATAGRAM, KIND_PIPE, KIND_OTHER, KIND_WAKER };

typedef struct {
    uint64_t token;
    int fd;
    uint32_t generation; /* 0: nothing is registered here */
    uint32_t first;      /* of its known ids; of a free one: the next free index */
    uint32_t batch;      /* number of the batch that it stands in already, */
    uint32_t place;      /* and where: kqueue has an event for each direction (R1) */
    uint8_t interest : 4;
    uint8_t trigger : 4;
    uint8_t kind;
    uint16_t state; /* the kernel file's own */
} registration;

typedef struct {
    uint32_t serial; /* 0: stands for nothing */
    uint32_t next;   /* of the same registration; or of the list that it waits in */
    uint32_t index;  /* whose it is */
    uint8_t readiness;
    bool learned; /* Python has its Event; until then it is a miss for every batch that it is in */
} known;

/* A batch, and what only the C side needs of it. */
typedef struct room room;
struct room {
    batch seen; /* first: Python's pointer to it is a pointer to the room */
    selector *owner;
    room *next;
    room **link;
    void *entries; /* as the kernel gives them */
    int capacity;
    int filled;
    bool unlearned; /* it may have misses */
    atomic_int busy;
};

typedef struct {
    pthread_mutex_t lock;
    int shares; /* who still needs the memory: the Poll, each batch */

    registration *at; /* [0] is nobody's */
    uint32_t extent;
    uint32_t room_at;
    /* A queue: an index rests in it before it is given again, since a signal handler may register
     * before Python has forgotten what was there. */
    uint32_t free_index;
    uint32_t free_last;
    uint32_t free_count;
    uint32_t generation; /* the last one given */

    uint32_t *by_fd; /* index, or 0 */
    int room_by_fd;

    known *known; /* [0] is nobody's */
    uint32_t known_extent;
    uint32_t room_known;
    uint32_t free_known;
    uint32_t serial; /* the last one given */

    uint32_t retired_known; /* Python's tables have yet to forget these */
    uint32_t retired_index;
    uint32_t swept_known; /* forgotten there, but perhaps still in a batch */
    uint32_t unswept;

    room *rooms;
    uint32_t batches; /* the number of the last batch */
} registrations;

/* Makes room for `wanted` elements, all zero where new. */
static inline int grow(void **array, uint32_t *room, uint32_t wanted, size_t size) {
    if (wanted <= *room)
        return 0;
    uint32_t larger = *room < 16 ? 16 : *room + *room / 2;
    if (larger < wanted)
        larger = wanted;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved)
        return -ENOMEM;
    memset((char *)moved + (size_t)*room * size, 0, (size_t)(larger - *room) * size);
    *array = moved;
    *room = larger;
    return 0;
}

static inline int registrations_open(registrations *t) {
    memset(t, 0, sizeof *t);
    if (grow((void **)&t->at, &t->room_at, 1, sizeof *t->at) < 0 ||
        grow((void **)&t->known, &t->room_known, 1, sizeof *t->known) < 0) {
        free(t->at);
        free(t->known);
        return -ENOMEM;
    }
    t->extent = t->known_extent = 1;
    t->shares = 1;
    int error = pthread_mutex_init(&t->lock, NULL);
    if (error) {
        free(t->at);
        free(t->known);
    }
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
        free(t->known);
    }
    return last;
}

static inline registration *registration_of(registrations *t, int fd) {
    if (fd < 0 || fd >= t->room_by_fd || !t->by_fd[fd])
        return NULL;
    return &t->at[t->by_fd[fd]];
}

static inline uint32_t index_of(registrations *t, const registration *r) {
    return (uint32_t)(r - t->at);
}

/* A place for a registration, with a generation of its own; not yet found by fd. */
static inline int64_t registration_new(registrations *t, int fd, uint64_t token, uint32_t interest,
                                       uint32_t trigger) {
    uint32_t index = t->free_index;
    if (t->free_count > REST) {
        t->free_index = t->at[index].first;
        t->free_count--;
    } else {
        if (t->extent > REGISTRATIONS_MAX)
            return -ENOSPC;
        if (grow((void **)&t->at, &t->room_at, t->extent + 1, sizeof *t->at) < 0)
            return -ENOMEM;
        index = t->extent++;
    }
    if (++t->generation == 0)
        t->generation = 1;
    t->at[index] = (registration){.token = token,
                                  .fd = fd,
                                  .generation = t->generation,
                                  .interest = interest & 15,
                                  .trigger = trigger & 15};
    return index;
}

/* Lets registration_of find it. */
static inline int registration_map(registrations *t, uint32_t index) {
    int fd = t->at[index].fd;
    uint32_t size = (uint32_t)t->room_by_fd;
    if (grow((void **)&t->by_fd, &size, (uint32_t)fd + 1, sizeof *t->by_fd) < 0)
        return -ENOMEM;
    t->room_by_fd = (int)size;
    t->by_fd[fd] = index;
    return 0;
}

/* Retires the known ids of a registration. True: there were some. */
static inline bool retire_known(registrations *t, registration *r) {
    uint32_t id = r->first;
    if (!id)
        return false;
    for (;;) {
        t->known[id].serial = 0;
        if (!t->known[id].next)
            break;
        id = t->known[id].next;
    }
    t->known[id].next = t->retired_known;
    t->retired_known = r->first;
    r->first = 0;
    return true;
}

static inline bool unmap(registrations *t, uint32_t index) {
    registration *r = &t->at[index];
    bool some = retire_known(t, r);
    if (r->fd >= 0 && r->fd < t->room_by_fd && t->by_fd[r->fd] == index)
        t->by_fd[r->fd] = 0;
    r->generation = 0;
    return some;
}

static inline void rest(registrations *t, uint32_t index) {
    t->at[index].first = 0;
    if (t->free_count++)
        t->at[t->free_last].first = index;
    else
        t->free_index = index;
    t->free_last = index;
}

/* Ends a registration whose index the caller hands back to Python: RETIRED or 0. */
static inline int registration_end(registrations *t, uint32_t index) {
    bool some = unmap(t, index);
    rest(t, index);
    return some ? RETIRED : 0;
}

/* Ends a registration that Python will ask about with selector_retired. */
static inline int registration_drop(registrations *t, uint32_t index) {
    unmap(t, index);
    t->at[index].first = t->retired_index;
    t->retired_index = index;
    return RETIRED;
}

static inline int next_retired(registrations *t) {
    uint32_t id = t->retired_known;
    if (id) {
        t->retired_known = t->known[id].next;
        t->known[id].next = t->swept_known;
        t->swept_known = id;
        t->unswept++;
        return (int)id;
    }
    uint32_t index = t->retired_index;
    if (index) {
        t->retired_index = t->at[index].first;
        rest(t, index);
        return -(int)index;
    }
    return 0;
}

/* Blanks what was retired in all batches, so that its ids can be given again. */
static inline void sweep(registrations *t) {
    for (room *b = t->rooms; b; b = b->next)
        for (int i = 0; i < b->filled; i++)
            if (!t->known[b->seen.ready[i]].serial)
                b->seen.ready[i] = 0;
    /* The newest rest, as indexes do. */
    uint32_t newest = t->swept_known;
    for (int i = 1; i < REST; i++)
        newest = t->known[newest].next;
    t->free_known = t->known[newest].next;
    t->known[newest].next = 0;
    t->unswept = REST;
}

/* An id for a pair that is met for the first time; 0: no memory. */
static inline uint32_t known_new(registrations *t, registration *r, uint32_t readiness) {
    if (!t->free_known && t->unswept >= SWEEP_AT && t->unswept >= t->known_extent / 4)
        sweep(t);
    uint32_t id = t->free_known;
    if (id) {
        t->free_known = t->known[id].next;
    } else {
        if (t->known_extent >= RETIRED ||
            grow((void **)&t->known, &t->room_known, t->known_extent + 1, sizeof *t->known) < 0)
            return 0;
        id = t->known_extent++;
    }
    if (++t->serial == 0)
        t->serial = 1;
    t->known[id] = (known){.serial = t->serial,
                           .next = r->first,
                           .index = index_of(t, r),
                           .readiness = (uint8_t)readiness};
    r->first = id;
    return id;
}

/* Puts a registration into a batch, or (kqueue's second direction) adds to what stands there.
 * No memory for a new id: the event is left out, and a level-triggered one comes again. */
static inline void batch_put(registrations *t, room *b, registration *r, uint32_t readiness) {
    int place = b->filled;
    if (r->batch == t->batches && r->place < (uint32_t)b->filled) {
        place = (int)r->place;
        readiness |= t->known[b->seen.ready[place]].readiness;
    }
    uint32_t id = r->first;
    while (id && t->known[id].readiness != readiness)
        id = t->known[id].next;
    if (!id) {
        id = known_new(t, r, readiness);
        if (!id)
            return;
    }
    if (!t->known[id].learned)
        b->unlearned = true;
    if (place == b->filled) {
        r->batch = t->batches;
        r->place = (uint32_t)place;
        b->filled++;
    }
    b->seen.ready[place] = id;
}

/* Starts the batch that the next batch_put calls fill. */
static inline void batch_begin(registrations *t, room *b) {
    if (++t->batches == 0)
        t->batches = 1;
    b->filled = 0;
    b->unlearned = false;
    b->seen.missed = 0;
}

/* Lists the misses; returns what a wait does. */
static inline int batch_end(registrations *t, room *b) {
    for (int i = 0; b->unlearned && i < b->filled; i++) {
        uint32_t id = b->seen.ready[i];
        const known *pair = &t->known[id];
        if (!pair->learned)
            b->seen.misses[b->seen.missed++] = (miss){.token = t->at[pair->index].token,
                                                      .known = id,
                                                      .serial = pair->serial,
                                                      .readiness = pair->readiness};
    }
    return b->filled | (b->seen.missed ? MISSED : 0);
}

/* A batch with room for `capacity` registrations. */
static inline room *room_new(registrations *t, selector *s, int capacity, uint32_t *ready,
                             size_t place_size) {
    size_t n = (size_t)capacity;
    room *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->owner = s;
    b->capacity = capacity;
    b->seen.ready = ready;
    b->seen.misses = malloc(n * sizeof *b->seen.misses);
    b->entries = malloc(n * place_size);
    if (!b->seen.misses || !b->entries) {
        free(b->seen.misses);
        free(b->entries);
        free(b);
        errno = ENOMEM;
        return NULL;
    }
    pthread_mutex_lock(&t->lock);
    t->shares++;
    b->next = t->rooms;
    b->link = &t->rooms;
    if (b->next)
        b->next->link = &b->next;
    t->rooms = b;
    pthread_mutex_unlock(&t->lock);
    return b;
}

static inline void room_free(registrations *t, room *b) {
    pthread_mutex_lock(&t->lock);
    *b->link = b->next;
    if (b->next)
        b->next->link = b->link;
    pthread_mutex_unlock(&t->lock);
    free(b->seen.misses);
    free(b->entries);
    free(b);
}

#endif
