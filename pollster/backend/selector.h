/* The kernel contract: what a kernel queue can do, the same on one page for every kernel.
 *
 * epoll.c and kqueue.c each implement all of it; registrations.h holds the bookkeeping that they
 * share. Above this page nothing asks which kernel it runs on.
 *
 * Words. A *registration* has an index from 1 on; a *generation* tells it from earlier ones at the
 * same index. A *readiness* is a set of READY_ bits. A *known* is an id from 1 on that stands for
 * one (registration, readiness) pair; Python keeps a ready-made Event at that place of a table.
 *
 * Errors. A function that returns an integer returns a negative errno; -ESHUTDOWN says that the
 * selector was closed, -ECHILD that it belongs to the process which forked this one. A function
 * that returns a pointer returns NULL and sets errno.
 *
 * Threads. Every function may be called from any thread at any time, except that one batch serves
 * one wait at a time (-EBUSY otherwise). No lock is held while the kernel waits.
 *
 * This page is also what cffi reads: declarations only; it drops the lines that begin with '#'. */
#ifndef POLLSTER_SELECTOR_H
#define POLLSTER_SELECTOR_H
#include <stdint.h>

enum interest { INTEREST_READABLE = 1, INTEREST_WRITABLE = 2, INTEREST_PRIORITY = 4 };

/* The two bits are independent: ONESHOT | EDGE is a trigger too; 0 is level-triggered. */
enum trigger { TRIGGER_EDGE = 1, TRIGGER_ONESHOT = 2 };

enum readiness {
    READY_READABLE = 1,
    READY_WRITABLE = 2,
    READY_PRIORITY = 4,
    READY_READ_CLOSED = 8,
    READY_WRITE_CLOSED = 16,
    READY_ERROR = 32
};

enum limits {
    CAPACITY_MAX = 1048576,     /* of a batch; also: a wait's result above it has misses */
    REGISTRATIONS_MAX = 1048575 /* indexes fit in 20 bits */
};

typedef struct selector selector;

/* A pair that a wait met for the first time: Python has to put an Event at `known`. */
typedef struct {
    uint64_t token;
    uint32_t known;
    uint32_t serial; /* for selector_is_known: has the id changed hands meanwhile? */
    uint32_t readiness;
} miss;

/* What one wait hands over. Python reads it; only the selector writes it. */
typedef struct {
    uint32_t *ready;   /* known ids, one for each registration that is ready */
    miss *misses;      /* pairs that have no Event yet */
    int missed;        /* how many */
    int taken;         /* how many entries of the kernel's own selector_raw can show */
    int64_t remaining; /* nanoseconds of the timeout that an EINTR left; -1: no timeout */
} batch;

typedef struct {
    int fd; /* -1 where the kernel queue itself is the source */
    uint32_t interest;
    uint32_t trigger;
    uint64_t token;
} registration_view;

typedef struct {
    selector *owner;
    uint32_t index;
    uint32_t generation;
    int fd; /* what wake() writes to; -1 where it triggers a user event */
} waker;

/* One field of a kernel's event structure, for people who debug. */
typedef struct {
    const char *structure; /* "epoll_event", "kevent" */
    const char *name;
    int64_t number;
    char text[128]; /* the number as the headers name it */
} raw_field;

/* A new queue, close-on-exec. */
selector *selector_open(void);

/* Ends all waits with -ESHUTDOWN and closes the queue, once; the memory stays until selector_free.
 * A failure leaves the selector open. */
int selector_close(selector *s);

/* Closes if need be, and gives up the caller's share of the memory. */
void selector_free(selector *s);

/* Whether it was closed: 1 or 0. */
int selector_is_closed(selector *s);

/* The queue's descriptor, to be nested in another queue. */
int selector_fd(selector *s);

/* Registers and returns the index; with RETIRED added where a stale registration of a reused fd
 * number had to go first. -EEXIST: registered already. -EPERM: a regular file or a directory.
 * -ENOTSUP: an interest that this kernel does not have. */
int selector_register(selector *s, int fd, uint64_t token, uint32_t interest, uint32_t trigger);

/* Replaces interest, token and trigger, and arms again. Returns the index, or with RETIRED added
 * where the token is another one: events of the old token are gone. -ENOENT: not registered. */
int selector_reregister(selector *s, int fd, uint64_t token, uint32_t interest, uint32_t trigger);

/* Removes; also where the fd has been closed. Returns the index, with RETIRED added where known
 * ids went with it. -ENOENT: not registered (a stale registration of the number is removed). */
int selector_deregister(selector *s, int fd);

/* The next thing that Python's tables must forget: a known id; or minus an index; or 0. */
int selector_retired(selector *s);
enum retired { RETIRED = 1073741824 }; /* 1 << 30 */

/* The index of what is registered for fd, or -ENOENT. */
int selector_find(selector *s, int fd);

/* Describes the registration at an index. -ENOENT: there is none. */
int selector_view(selector *s, uint32_t index, registration_view *out);

/* 0, or why the selector can't be used: -ESHUTDOWN, -ECHILD. */
int selector_check(selector *s);

/* Whether the known id of a miss still stands for what it stood for: 1 or 0. */
int selector_is_known(selector *s, uint32_t known, uint32_t serial);

/* Python has an Event for this id: it is no miss any more. */
void selector_learned(selector *s, uint32_t known);

/* A batch for `capacity` ready registrations, whose ids go to `ready`: the caller's memory, so that
 * an iterator over it may outlive all else. The batch keeps the selector's memory alive. */
batch *batch_new(selector *s, int capacity, uint32_t *ready);
void batch_free(batch *b);

/* Waits for events, without a second system call for them, and returns how many registrations are
 * ready, with MISSED added where there are misses. The timeout is in nanoseconds, -1 for none; the
 * wait is never shorter, and does not end without events before it. -EINTR: a signal came, or may
 * have come; b->remaining is what is left. The two others are the common timeouts with one argument
 * less. */
int selector_wait(batch *b, int64_t timeout);
int selector_wait_forever(batch *b);
int selector_wait_not(batch *b);
enum missed { MISSED = 1073741824 }; /* 1 << 30 */

/* The fields of entry `i` of those that the kernel handed over last. Returns how many there are. */
int selector_raw(batch *b, int i, raw_field *fields, int room);

/* A registration that becomes ready, once each time, by waker_wake: from any thread, at any time.
 * Several calls before the event is taken are one event. Ended by waker_close. */
int waker_open(selector *s, waker *w, uint64_t token);
int waker_wake(waker *w);
int waker_close(waker *w);

#endif
