/* What the kqueue files share: the selector, the changes, and the parts that stand in files of
 * their own. kqueue.c is the kernel file, changes.c makes single changes and batch.c many, pipes.c
 * knows pipes whose reader is gone, priority.c out-of-band data, user.c user events and what stands
 * in for them.
 *
 * The types of struct kevent's fields are never named: NetBSD's differ. */
#ifndef POLLSTER_KQUEUE_H
#define POLLSTER_KQUEUE_H
#include "common/kernel.h"
#include "quirks.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef __typeof__(((struct kevent *)0)->ident) ident_t;
typedef __typeof__(((struct kevent *)0)->filter) filter_t;
typedef __typeof__(((struct kevent *)0)->flags) flags_t;
typedef __typeof__(((struct kevent *)0)->udata) udata_t;

typedef struct {
    int read_end; /* registered */
    int write_end;
} waker_pipe;

typedef struct {
    selector common;
    uint32_t *hung; /* indexes of write ends whose reader is gone */
    atomic_uint hung_count;
    uint32_t hung_room;
    uint32_t hung_next; /* who is first when a batch is too small for all */
    uint32_t due;       /* how many of them are DUE */
    bool bell;          /* the own user event is triggered */
    int bell_pipe[2];   /* in its place where the kernel has no user events */
    waker_pipe *pipes;  /* there a waker is a pipe too */
    uint32_t pipe_count;
    uint32_t pipe_room;
} kqueue_selector;

/* registration.state */
#define ON_READ 1     /* the kernel has a knote for READ, */
#define ON_WRITE 2    /* for WRITE, */
#define ON_EXCEPT 4   /* for out-of-band data */
#define DISARMED 8    /* ONESHOT: has reported; or paused */
#define HUNG 16       /* stands in the hung list, */
#define DUE 32        /* and is to be reported */
#define NO_READ 64    /* write end of a pipe */
#define NO_WRITE 128  /* read end of a pipe: epoll never reports it writable */
#define NO_EXCEPT 256 /* no socket, so that it has no out-of-band data */
#define STALE 512     /* hung up, and then its number was closed or reused */
#define ONE_WAY 1024  /* the kernel refuses the filter of the direction that it does not have */
#define GATHERED 2048 /* its changes stand in a list: see batch.c */
#define ENDED 4096    /* a terminal's READ, there to tell the end of WRITE, has, and repeats it */
#define LOUD 8192     /* HANGUP: what the other direction's knote says is repeated: see pipes.c */

#define KNOTES (ON_READ | ON_WRITE | ON_EXCEPT)

/* What a reregistration leaves. */
#define LASTING (NO_READ | NO_WRITE | NO_EXCEPT | ONE_WAY | ENDED | LOUD)

/* Where there is no such filter there is no such knote: see quirk_tells_priority. */
#if defined EVFILT_EXCEPT && defined NOTE_OOB
#define FILTER_EXCEPT EVFILT_EXCEPT
#define EXCEPT_OOB NOTE_OOB
#else
#define FILTER_EXCEPT EVFILT_READ
#define EXCEPT_OOB 0
#endif

static inline uint64_t key_from(udata_t udata) {
#if UINTPTR_MAX > 0xffffffff
    return (uint64_t)(uintptr_t)udata;
#else
    return key_of((uintptr_t)udata & REGISTRATIONS_MAX, (uintptr_t)udata >> 20);
#endif
}

static inline udata_t udata_of(uint32_t index, const registration *r) {
#if UINTPTR_MAX > 0xffffffff
    return (udata_t)(uintptr_t)key_of(index, r->generation);
#else
    return (udata_t)(uintptr_t)(r->generation << 20 | index);
#endif
}

/* What a 32-bit udata has no room for can't be compared. */
static inline registration *registration_for(selector *s, udata_t udata) {
#if UINTPTR_MAX > 0xffffffff
    return registration_at(&s->all, key_from(udata));
#else
    uint32_t index = (uint32_t)key_from(udata);
    registration *r = &s->all.at[index];
    return r->kind != KIND_FREE && udata_of(index, r) == udata ? r : NULL;
#endif
}

static inline struct kevent change_of(ident_t ident, filter_t filter, unsigned flags,
                                      unsigned fflags, udata_t udata) {
    struct kevent change;
    memset(&change, 0, sizeof change);
    change.ident = ident;
    change.filter = filter;
    change.flags = (flags_t)flags;
    change.fflags = fflags;
    change.udata = udata;
    return change;
}

/* Applies changes up to the first that fails. There is no room for events, so that none is
 * swallowed. EINTR: all of them were applied (kevent(2), ERRORS). */
static inline int apply(selector *s, const struct kevent *changes, int n) {
    if (n == 0)
        return 0;
    count_change(s);
    if (kevent(s->fd, changes, n, NULL, 0, NULL) == 0 || errno == EINTR)
        return 0;
    return -errno;
}

/* The directions of the interest, out-of-band data for one of them, */
static inline unsigned kq_wanted(const registration *r) {
    return (r->interest & INTEREST_READABLE ? ON_READ : 0u) |
           (r->interest & INTEREST_WRITABLE ? ON_WRITE : 0u) |
           (r->interest & INTEREST_PRIORITY && !(r->state & NO_EXCEPT) ? ON_EXCEPT : 0u);
}

/* those that a pipe's end does not have, */
static inline unsigned kq_missing(const registration *r) {
    return (r->state & NO_READ ? ON_READ : 0u) | (r->state & NO_WRITE ? ON_WRITE : 0u);
}

/* those that are reported, */
static inline unsigned kq_reported(const registration *r) {
    return kq_wanted(r) & ~kq_missing(r);
}

/* and with HANGUP that of a pipe's end which alone can tell that the other end is gone. */
static inline unsigned kq_heeded(const registration *r) {
    return r->interest & INTEREST_HANGUP && kq_missing(r)
               ? (ON_READ | ON_WRITE) & ~kq_missing(r) & ~kq_wanted(r)
               : 0u;
}

/* Whether READ has to tell that WRITE has ended. */
static inline bool kq_ends_by_read(const registration *r) {
    return (kq_reported(r) | kq_heeded(r)) & ON_WRITE &&
           ((r->kind == KIND_PIPE && quirk_mute_full_pipe()) ||
            (r->kind == KIND_TERMINAL && quirk_terminal_ends_by_read()));
}

/* Which knotes it takes. A pipe's WRITE has READ beside it: FreeBSD drops the one as the reader
 * goes, and the other shows whether the fd's number is still the same file's. So does that of a
 * direction that a pipe's end does not have, or else of the one that it has. */
static inline unsigned kq_knotes(const registration *r) {
    unsigned on = kq_wanted(r) | kq_heeded(r);
    if ((r->kind == KIND_PIPE && on & ON_WRITE) || kq_ends_by_read(r))
        on |= ON_READ;
    if (r->state & ONE_WAY)
        on &= ~kq_missing(r);
    return on ? on : (ON_READ | ON_WRITE) & ~kq_missing(r);
}

/* A knote that is only there to be asked for is disabled; one that is there for the end alone tells
 * edges, until that has come; that of out-of-band data always does (priority.c). NetBSD does not
 * disable a knote that has EV_CLEAR, too (kern_event.c, kqueue_scan). */
static inline unsigned flags_for(const registration *r, unsigned on) {
    if (on == ON_EXCEPT)
        return EV_ADD | EV_ENABLE | EV_CLEAR;
    if (kq_reported(r) & on)
        return EV_ADD | EV_ENABLE |
               (r->trigger & TRIGGER_ONESHOT ? EV_DISPATCH
                : r->trigger & TRIGGER_EDGE  ? EV_CLEAR
                                             : 0u);
    if (kq_heeded(r) & on)
        return EV_ADD | EV_ENABLE | (r->state & LOUD && r->trigger == 0 ? 0u : EV_CLEAR);
    if (on == ON_READ && kq_ends_by_read(r))
        return EV_ADD | EV_ENABLE | (r->state & ENDED && r->trigger == 0 ? 0u : EV_CLEAR);
    return EV_ADD | EV_DISABLE;
}

/* Whether a knote has to be deleted and added: adding again changes neither of these flags. */
static inline bool kq_is_fresh(const registration *r, const registration *before, unsigned on) {
    return (flags_for(r, on) ^ flags_for(before, on)) & (EV_CLEAR | EV_DISPATCH);
}

/* Deleted and added again it is paused: a knote that is queued already when it is disabled goes on
 * showing its queue as ready, to one around it (FreeBSD's kq_count). */
static inline unsigned kq_paused_flags(const registration *r, unsigned on) {
    return (flags_for(r, on) & ~(unsigned)EV_ENABLE) | EV_DISABLE;
}

static inline struct kevent change_for(selector *s, uint32_t index, unsigned on, unsigned flags) {
    const registration *r = &s->all.at[index];
    filter_t filter = on == ON_READ ? EVFILT_READ : on == ON_WRITE ? EVFILT_WRITE : FILTER_EXCEPT;
    return change_of((ident_t)r->fd, filter, flags, on == ON_EXCEPT ? EXCEPT_OOB : 0,
                     udata_of(index, r));
}

/* Which of its knotes can be asked for. */
static inline unsigned first_of(unsigned knotes) {
    return knotes & (0u - knotes);
}

/* Whether the kernel has a knote; a change without EV_ADD finds that out: ENOENT. */
static inline bool has_knote(selector *s, uint32_t index, unsigned on) {
    struct kevent probe = change_for(s, index, on, 0);
    return apply(s, &probe, 1) == 0;
}

/* changes.c. Tells files and pipes by their type; gives one knote the flags that it is to have by
 * now; and why a knote that is to be deleted is not there: 0 where that is as good. */
int kq_look_at(registration *r);
int kq_add_anew(selector *s, uint32_t index, unsigned on);
int kq_explain_missing(selector *s, uint32_t index);

/* kqueue.c: puts a readiness into the batch, as the trigger allows. */
void kq_put(selector *s, room *b, registration *r, uint32_t ready);

/* pipes.c. A hung-up pipe is reported from its list while it is due. */
int kq_hang(kqueue_selector *k, uint32_t index, bool due);
void kq_unhang(kqueue_selector *k, uint32_t index);
bool kq_is_same_pipe(kqueue_selector *k, uint32_t index);
int kq_look_again(kqueue_selector *k);
uint32_t kq_due_of(kqueue_selector *k, registration *r);
void kq_put_hung(kqueue_selector *k, room *b, int places);
void kq_heed(kqueue_selector *k, uint32_t index, unsigned on, bool is_gone);

/* priority.c. What an entry of EVFILT_EXCEPT says; and what comes of it. */
bool kq_is_urgent(const registration *r, const struct kevent *e);
void kq_put_priority(selector *s, room *b, registration *r, const struct kevent *e);

/* user.c. The bell is level-triggered: it wakes every waiter, and a queue around this one
 * sees it. */
int kq_open_bell(kqueue_selector *k);
void kq_forget_bell(kqueue_selector *k);
int kq_ring(kqueue_selector *k);
bool kq_is_copy(selector *of, int fd); /* whether a descriptor has this queue, too */
void kq_hush(kqueue_selector *k);

/* Triggers a user event; or does the same by a pipe, that is read when its event comes. */
int kq_trigger(selector *s, ident_t ident, udata_t udata);
int kq_open_pipe(int ends[2]);
int kq_write_byte(int fd);
void kq_drain(int fd);

/* wakers.c. Whose user event it is: it goes by the generation that the waker had first. */
registration *kq_waker_for(selector *s, const struct kevent *e);
void kq_put_waker(selector *s, room *b, registration *r);

#endif
