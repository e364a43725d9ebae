/* What ties this folder to a kernel's: what each kernel's folder implements, and no more.
 *
 * In ../epoll and ../kqueue the same concept has the same file: NAME.c opens, waits, decodes;
 * changes.c registers; wakers.c; timers.c sets the one kernel timer; signals.c, processes.c and
 * paths.c do what watches.h asks of a kernel. They call what is declared here and in
 * registrations.h. selector.c, timers.c, wakers.c and watches.c of this folder call them, and are
 * the contract (../selector.h) for all kernels.
 *
 * Functions return a negative errno on failure. Those marked (locked) are called with the lock of
 * the registrations held and must not block. */
#ifndef POLLSTER_KERNEL_H
#define POLLSTER_KERNEL_H
#include "clock.h"
#include "registrations.h"
#include "timers.h"

/* The registration that is nobody's: the queue's own descriptors and user events report as it. */
#define OWN_INDEX 0

typedef struct nested nested;

#define REMARKS_MAX 16

struct selector {
    registrations all;
    timers timers;
    int fd;
    /* Of nesting.c, under its lock. */
    selector *next;
    nested *nested; /* the selectors that are registered here */
    atomic_uint nested_count;
    int shown; /* the descriptor that it is known by */
    bool is_reached;
    bool is_followed;
    atomic_int using; /* who may be using fd; the last one closes it when the selector is closed */
    atomic_int closed;
    atomic_int open; /* fd is yet to be closed */
    unsigned forks;  /* whose process it is */
    stats done;      /* guarded by the lock, but for what is counted without it: */
    atomic_ulong wakes;
    atomic_ulong changes;
    remark remarks[REMARKS_MAX]; /* a ring */
    uint32_t remarks_first;
    uint32_t remarks_count;
    uint32_t remarks_lost;
};

/* How much memory a selector takes: the kernel file's own structure begins with a selector. */
extern const size_t kernel_selector_size;

/* How much memory the kernel's entries for one registration take. */
extern const size_t kernel_place_size;

/* Opens the queue into s->fd. */
int kernel_open(selector *s);

/* (locked) Ends every kernel_wait, now and from now on: the selector is being closed. */
int kernel_kick(selector *s);

/* Closes s->fd and all else that kernel_open and kernel_kick opened. */
void kernel_close(selector *s);

/* In a forked child: closes its copies of descriptors, the wakers' too, and changes no queue. */
void kernel_forget(selector *s);

/* (locked) The descriptor to nest the queue by. */
int kernel_fd(selector *s);

/* (locked) Registers what s->all.at[index] says for its fd. -EEXIST where the kernel has this very
 * file registered; where the fd's number was reused it is registered, and what stood in the tables
 * for the number is for the caller to drop. */
int kernel_add(selector *s, uint32_t index);

/* (locked) Makes the kernel agree with s->all.at[index], which was `before`, and arms it again;
 * makes no system call where it agrees already. -ENOENT: what the kernel has under this number is
 * not ours. Other failures leave it as before. */
int kernel_modify(selector *s, uint32_t index, const registration *before);

/* (locked) Has the kernel report nothing of it, and wake nobody, until kernel_modify arms it again.
 * -ENOENT: what the kernel has under this number is not ours. */
int kernel_pause(selector *s, uint32_t index);

/* (locked) Whether it is no one-shot that has reported. */
bool kernel_is_armed(const registration *r);

/* (locked) Removes. Success where the fd is closed; -ENOENT where its number was reused. */
int kernel_delete(selector *s, uint32_t index);

/* (locked) Makes the changes, with change_one or several in one system call. */
void kernel_apply(selector *s, change *changes, int n);

/* Waits once, for at most `timeout` nanoseconds (-1: for ever), and returns the number of entries;
 * it may be early, and -EINTR says that a signal came. */
int kernel_wait(selector *s, room *b, int64_t timeout);

/* (locked) Puts the n entries of the last kernel_wait into the batch; returns how many entries
 * b->entries has in the end. */
int kernel_decode(selector *s, room *b, int n);

/* The fields of entry i. Returns how many there are. */
int kernel_raw(const room *b, int i, raw_field *fields, int room_for);

/* (locked) A waker's registration: fills in what it made, what went, and w->fd. */
int kernel_waker_open(selector *s, waker *w, uint64_t token);

/* Wakes; neither waker nor selector is closed meanwhile. */
int kernel_waker_wake(selector *s, const waker *w);

/* (locked) Wakes again, by what is registered. */
void kernel_wake_again(selector *s, const registration *r);

/* (locked) Has it wake nobody; and arms it again, as one that was not woken. */
int kernel_waker_pause(selector *s, uint32_t index);
int kernel_waker_resume(selector *s, uint32_t index, const registration *before);

/* (locked) Removes the waker from the kernel and closes its descriptor. */
void kernel_waker_close(selector *s, const registration *r);

/* (locked) Forgets its descriptor, whose number is another file's: it is not to be closed. */
void kernel_waker_forget(selector *s, const registration *r);

/* (locked) Makes the queue ready when a deadline has come, until it is set anew; at once where it
 * has passed; NEVER: not any more. */
int kernel_set_timer(selector *s, int64_t deadline);

/* Counts a system call that changes something. */
static inline void count_change(selector *s) {
    atomic_fetch_add_explicit(&s->changes, 1, memory_order_relaxed);
}

/* (locked) Notes what people who look for a fault may want to know. */
void make_remark(selector *s, enum remarked what, const registration *r);

/* Around what uses s->fd without the lock. -ESHUTDOWN: it is closed, and to be left all the same;
 * -ECHILD: it is a forked parent's, and not to be left. */
int enter(selector *s);
void leave(selector *s);

/* Take the lock: of a selector that is open; of one that may be closed. */
int lock_open(selector *s);
int lock(selector *s);

/* Gives the lock back, and returns the result. */
int unlock(selector *s, int result);

/* timers.c. The first: (locked) makes a change that is about a timer. Then what a wait
 * does for timers: whether there are any; how long it may last at most, with places in the batch
 * kept for those that are due; (locked) puts them there; (locked) prepares for somebody who looks
 * at the descriptor. */
void timer_change(selector *s, change *c);

/* Before one is registered here: another selector, not locked, lets go of one that it reported. */
void timer_let_go(const selector *s, timer *t);

bool timers_any(selector *s);
int64_t timers_limit(selector *s, room *b, int64_t timeout);
void timers_put(selector *s, room *b);
int timers_nest(selector *s);

/* (locked) What was put into a batch was seen by nobody: a timer is due again, a watch has news. */
void timer_put_back(selector *s, uint32_t index);
void watch_put_back(selector *s, uint32_t index);

/* (locked) Makes one change, and says in c->result how it went. */
void change_one(selector *s, change *c);

/* (locked) Registers in kernel and tables. */
int registration_add(selector *s, change *c);

/* Whether a reregistration leaves all as it is. Edges and one-shots are armed again, so for them it
 * does not. */
static inline bool is_unchanged(const registration *r, const registration *before) {
    return r->generation == before->generation && r->interest == before->interest &&
           r->trigger == 0 && before->trigger == 0 && !before->paused;
}

/* nesting.c: selectors in selectors. A selector is known from its opening on, until before its
 * descriptor is closed; and by another descriptor from when that is shown. */
void nesting_open(selector *s);
void nesting_show(selector *s, int fd);
void nesting_close(selector *s);
void nesting_forget(void); /* in a forked child */

/* (locked) Before a registration is made: notes it where its fd is a selector's. -ELOOP: it would
 * be registered in itself, or in a circle. The second is for a number that is none's and a queue's
 * all the same; is_copy tells whose. The third, when it has ended, tells whether it was noted. */
int nesting_add(selector *s, uint32_t index);
int nesting_add_copy(selector *s, uint32_t index, bool (*is_copy)(selector *of, int fd));
bool nesting_end(selector *s, uint32_t index);

/* False: no selector is known by this number. */
bool nesting_may_be(int fd);

/* What a reregistration makes of a registration, but for its token. */
static inline void registration_replace(registration *r, const change *c) {
    r->interest = c->interest & 15;
    if (c->trigger != TRIGGER_KEEP)
        r->trigger = c->trigger & 7;
    r->paused = false;
    if (r->token != c->token)
        next_generation(r);
}

/* A change to RESUME says nothing of how it is registered. */
static inline void registration_resume(const registration *r, change *c) {
    c->token = r->token;
    c->interest = r->interest;
    c->trigger = TRIGGER_KEEP;
}

static inline void registration_pause(registration *r) {
    r->paused = true;
    next_generation(r);
}

/* What several threads know of a waker. */
struct waker_state {
    atomic_int woken; /* a set of bits: see wakers.c */
    uint32_t opened;  /* the generation that it had first, which is the kernel's */
};

/* (locked) Notes that a waker is told: who wakes it from now on has it told again. */
static inline void waker_tell(registrations *t, uint32_t index) {
    atomic_store(&t->wakers[index]->woken, 0);
}

/* (locked) Gives up what a waker's registration had. */
void waker_end(selector *s, uint32_t index);
/* Its descriptor was closed by the program: nobody can wake it, and nothing is done to the file
 * that has the number now. */
void waker_lose(selector *s, uint32_t index);

/* How often this process was forked off: what belongs to its parent has another number. */
unsigned process_forks(void);

/* Gives up a share of the selector's memory. */
void release(selector *s);

/* (locked) Whether a registered watch has something to tell; what it has is the watch's from now
 * on. */
bool watch_has_news(selector *s, const registration *r);

/* (locked) Fills in what only the watch knows of its registration: trigger and whether it is armed.
 */
void watch_view(selector *s, const registration *r, registration_view *out);

/* Whether a socket is a connection: KIND_STREAM or KIND_DATAGRAM; KIND_OTHER is none. A datagram
 * socket has no end. What is said to be closed is its owner's shutdown(2). */
uint8_t socket_kind(int fd);
#define READY_CLOSED (READY_READ_CLOSED | READY_WRITE_CLOSED)

typedef struct {
    int64_t bit;
    const char *name;
} bit_name;

/* Writes field->number as its bits are named. */
void name_bits(raw_field *field, const bit_name *names, size_t count);

/* Packs what the kernel carries for a registration: its index and its generation. */
static inline uint64_t key_of(uint32_t index, uint32_t generation) {
    return (uint64_t)generation << 32 | index;
}

/* What a key stands for, or NULL where it is stale: the registration has ended since. */
static inline registration *registration_at(registrations *t, uint64_t key) {
    registration *r = &t->at[(uint32_t)key];
    return r->kind != KIND_FREE && r->generation == (uint32_t)(key >> 32) ? r : NULL;
}

#endif
