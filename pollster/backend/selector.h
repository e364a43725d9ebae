/* The kernel contract: what a kernel queue can do, the same on one page for every kernel.
 *
 * A folder for each kernel, epoll/ and kqueue/, implements all of it together with common/, which
 * has what they share; python/ calls it. Above this page nothing asks which kernel it runs on.
 *
 * Words. A *registration* has an index from 1 on; its *generation* tells it from earlier ones at
 * the same index, and from itself under an earlier token. A *readiness* is a set of READY_ bits.
 *
 * Errors. A function that returns an integer returns a negative errno; -ESHUTDOWN says that the
 * selector was closed, -ECHILD that it belongs to the process which forked this one. A function
 * that returns a pointer returns NULL and sets errno.
 *
 * Threads. Every function may be called from any thread at any time, except that one batch serves
 * one wait at a time. No lock is held while the kernel waits.
 *
 * This page is also what cffi reads: declarations only; it drops the lines that begin with '#'. */
#ifndef POLLSTER_SELECTOR_H
#define POLLSTER_SELECTOR_H
#include <stdint.h>

/* HANGUP goes with others and is not public: a pipe whose other end is gone is ready for the whole
 * interest, whichever end it is. Programs that wait on the standard library's selectors count on
 * it, to learn from the write end that nobody reads. */
enum interest {
    INTEREST_READABLE = 1,
    INTEREST_WRITABLE = 2,
    INTEREST_PRIORITY = 4,
    INTEREST_HANGUP = 8
};

/* The first two are independent: ONESHOT | EDGE is a trigger too; 0 is level-triggered. KEEP is for
 * REREGISTER: the one it has. */
enum trigger { TRIGGER_EDGE = 1, TRIGGER_ONESHOT = 2, TRIGGER_KEEP = 4 };

enum readiness {
    READY_READABLE = 1,
    READY_WRITABLE = 2,
    READY_PRIORITY = 4,
    READY_READ_CLOSED = 8,
    READY_WRITE_CLOSED = 16,
    READY_ERROR = 32
};

enum limits {
    CAPACITY_MAX = 1048576,     /* of a batch */
    REGISTRATIONS_MAX = 1048575 /* indexes fit in 20 bits */
};

/* One 64-bit entry for each registration that is ready: its index (from bit 0), its readiness, a
 * bit that is set where it was read, its generation, each from the bit named here. */
enum entry { ENTRY_READINESS = 20, ENTRY_READ = 26, ENTRY_GENERATION = 32, READY_MASK = 63 };

typedef struct selector selector;
typedef struct watch watch;

typedef struct {
    uint32_t index; /* 0: none */
    uint32_t generation;
} registration_id;

/* What one wait hands over. Only the selector writes it, but for the bits that say what was read.
 */
typedef struct {
    uint64_t *ready;        /* entries */
    registration_id *spent; /* timers for a single use that it reports: not registered any more */
    int spent_count;
    int taken;         /* how many entries of the kernel's own selector_raw can show */
    int64_t remaining; /* nanoseconds of the timeout that an EINTR left; -1: no timeout */
} batch;

/* A timer; what it is set to stands here while it is not registered. Times are nanoseconds of
 * monotonic(), in clock.h; INT64_MAX is never. One call at a time uses a timer. */
typedef struct {
    selector *owner; /* NULL: it is not registered */
    registration_id made;
    int64_t deadline; /* of its next occurrence */
    int64_t period;   /* 0: it occurs once */
    uint64_t expirations;
    int once; /* a set of ONCE_ bits */
} timer;

/* A timer for a single use is registered until a batch reports it. It is as if it had not occurred,
 * and still registered, for who changes or sets it before that is read. COUNTED is the selector's.
 */
enum once { ONCE_IS = 1, ONCE_COUNTED = 2 };

enum what { REGISTER, REREGISTER, DEREGISTER, PAUSE, RESUME };

/* One change of what is registered; all but the first two have only an fd or a timer. */
typedef struct {
    enum what what;
    int fd;
    timer *timer;   /* NULL: it is about the fd */
    uint64_t token; /* after PAUSE, RESUME and DEREGISTER: what it is, or was, registered under */
    uint32_t interest;
    uint32_t trigger;
    int is_plain;         /* the source says that its fd is no file, pipe, terminal or queue */
    int is_watch;         /* the fd is a watch's own */
    int result;           /* 0, or why not */
    registration_id made; /* what is registered now */
    registration_id gone; /* what is not any more: it was deregistered, or found to be stale */
} change;

typedef struct {
    int fd;            /* -1 where the kernel queue itself is the source, and of timers */
    uint32_t interest; /* without HANGUP */
    uint32_t trigger;
    uint32_t paused;
    uint32_t armed; /* what comes is told: it is not paused, and no one-shot that has reported */
    uint64_t token;
} registration_view;

typedef struct waker_state waker_state;

typedef struct {
    selector *owner;
    registration_id made;
    registration_id gone; /* a stale registration of a reused fd number, found meanwhile */
    int fd;               /* what wake() writes to; -1 where it triggers a user event */
    int users;            /* its owner and each wake() under way: the last one ends it */
    int closed;           /* both are read and changed atomically */
    waker_state *state;
} waker;

/* One field of a kernel's event structure, for people who debug. */
typedef struct {
    const char *structure; /* "epoll_event", "kevent" */
    const char *name;
    int64_t number;
    char text[128]; /* the number as the headers name it */
} raw_field;

/* What a selector has done since it was opened, and what it has now. */
typedef struct {
    uint64_t polls;       /* waits that came to an end, */
    uint64_t timeouts;    /* those of them that found nothing, */
    uint64_t interrupts;  /* and what a signal made begin again: EINTR */
    uint64_t events;      /* entries of batches */
    uint64_t stale;       /* what the kernel told of registrations that had ended */
    uint64_t wakes_asked; /* by waker_wake */
    uint64_t wakes_told;
    uint64_t waits;   /* system calls that wait, or only look, */
    uint64_t changes; /* and those that change what is registered or set */
    uint64_t ghosts;  /* epoll: closed sources that went on reporting, */
    uint64_t moves;   /* and new queues that left some behind */
    uint64_t registrations;
    uint64_t registrations_most;
    uint64_t timers;     /* those that are set */
    uint64_t hung_pipes; /* kqueue: pipes without a reader, which it does not report itself */
} stats;

/* What a selector came upon by itself, for people who look for a fault. */
enum remarked {
    REMARK_GHOST,        /* epoll: what is closed went on reporting, and is left behind */
    REMARK_MILLISECONDS, /* epoll: no epoll_pwait2, so timeouts are that coarse */
    REMARK_NOT_PARKED,   /* epoll: nowhere to put what is paused: its hang-up ends one wait */
    REMARK_PIPES,        /* kqueue: no EVFILT_USER, so wakers are pipes */
    REMARK_MORE          /* there was no room for others, */
};

typedef struct {
    enum remarked what;
    int fd;         /* -1: it is about none; how many others */
    uint64_t token; /* of that fd */
} remark;

/* What a kernel may have or lack, found out by trying it, for people who look for a fault. */
typedef struct {
    const char *name;
    int error;      /* 0: it works; an errno: it does not; -1: this build does not know of it */
    char about[64]; /* "", or what more there is to say */
} feature;

/* Fills in what there is to tell, and returns how many. Opens and closes what it needs. */
int selector_features(feature *features, int room);

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

/* Makes n changes, in their order, each as if alone: one that fails changes nothing and keeps no
 * other from being made. Returns a negative errno where none was tried.
 *
 * REGISTER: -EEXIST, registered already; -EPERM, a regular file or a directory; -ENOTSUP, an
 * interest that this kernel does not have. Where the fd's number was reused, what was registered
 * for it is gone. REREGISTER replaces interest, token and trigger, and arms again; with another
 * token it has another generation, which ends the events of the old one. DEREGISTER works also
 * where the fd has been closed. PAUSE: nothing of it is reported, also not from a batch, and nobody
 * is woken, until RESUME arms it again as it was (or REREGISTER does), which tells what is ready;
 * what was reported and not read yet is not lost. It has another generation then. To pause what is
 * paused changes nothing. All of these: -ENOENT, not registered; what was registered for a reused
 * number is gone.
 *
 * A timer can be registered with one selector at a time, which must be open. It goes on where it
 * stands, registered or not. */
int selector_apply(selector *s, change *changes, int n);

/* The index of what is registered for fd, or -ENOENT. */
int selector_find(selector *s, int fd);

/* Describes the registration at an index. -ENOENT: there is none. */
int selector_view(selector *s, uint32_t index, registration_view *out);

/* The token of a registration. -ENOENT: it has ended. */
int selector_token(selector *s, registration_id id, uint64_t *out);

/* -ECHILD; of a closed selector the last figures. */
int selector_stats(selector *s, stats *out);

/* Takes the oldest remark that nobody has taken; 0: there is none, 1: there was. */
int selector_remark(selector *s, remark *out);

/* 0, or why the selector can't be used: -ESHUTDOWN, -ECHILD. */
int selector_check(selector *s);

/* A batch for `capacity` ready registrations. It keeps the selector's memory alive. */
batch *batch_new(selector *s, int capacity);
void batch_free(batch *b);

/* Waits for events, without a second system call for them, and returns how many registrations are
 * ready. The timeout is in nanoseconds, -1 for none; the wait is never shorter, and does not end
 * without events before it. -EINTR: a signal came, or may have come; b->remaining is what is left.
 */
int selector_wait(batch *b, int64_t timeout);

/* Nobody saw what the last wait put into the batch: what does not report again by itself is made
 * to, to whoever waits. */
int selector_put_back(batch *b);

/* The fields of entry `i` of those that the kernel handed over last. Returns how many there are. */
int selector_raw(batch *b, int i, raw_field *fields, int room);

/* Sets a registered timer anew: what it was set to before is not reported any more, also not from a
 * batch, for which t->made may change. Each occurrence is reported once, whatever the trigger;
 * periods that passed before it was are reported as one, and all are counted. */
int timer_set(timer *t, int64_t deadline, int64_t period);

/* How often a registered timer has occurred, in the batches until now, since this was last asked;
 * and what it is set to, into *t. */
int64_t timer_expirations(timer *t);
int timer_look(timer *t);

/* What python/ calls, which is compiled apart from the back ends. */
typedef struct {
    selector *(*open)(void);
    void (*free)(selector *s);
    int (*apply)(selector *s, change *changes, int n);
    batch *(*batch_new)(selector *s, int capacity);
    void (*batch_free)(batch *b);
    int (*wait)(batch *b, int64_t timeout);
    int (*put_back)(batch *b);
    int (*token)(selector *s, registration_id id, uint64_t *out);
    int (*raw)(batch *b, int i, raw_field *fields, int room);
    int (*timer_set)(timer *t, int64_t deadline, int64_t period);
    int64_t (*timer_expirations)(timer *t);
    int (*timer_look)(timer *t);
    void (*watch_free)(watch *w);
    int (*remark)(selector *s, remark *out);
} selector_calls;
const selector_calls *selector_functions(void);

/* A registration that becomes ready, once each time, by waker_wake: from any thread, at any time.
 * Several calls before the event is taken are one event. Ended by waker_close. */
int waker_open(selector *s, waker *w, uint64_t token);
int waker_wake(waker *w);
int waker_close(waker *w);

/* As PAUSE and RESUME; a wake while it is paused is told afterwards. -ENOENT: it was closed. */
int waker_pause(waker *w);
int waker_resume(waker *w);

/* What happens outside of descriptors: signals, the end of a process, changes of a path. A watch
 * is open, and keeps what happens, from watch_... to watch_close, registered or not. Registered,
 * it is readable once for each time that something happened, whatever the trigger; what nobody
 * has taken yet is told again when it is registered or reregistered. */

enum limits_of_watches { SIGNAL_MAX = 128 };

enum path_change {
    PATH_WRITTEN = 1,
    PATH_EXTENDED = 2,
    PATH_ATTRIBUTES = 4,
    PATH_LINKED = 8,
    PATH_RENAMED = 16,
    PATH_DELETED = 32,
    PATH_REPLACED = 64
};

/* Counts these signals; while it does, none of them has its default action. */
watch *watch_signals(const int *numbers, int n);

/* ESRCH: there is no such process. */
watch *watch_process(int pid);

/* Follows what an absolute path leads to. */
watch *watch_path(const char *path, uint32_t changes);

/* Makes a change whose source is the watch; only token and trigger are asked for. Returns its
 * result. -EEXIST: it is registered here already; -EBUSY: with another selector; -ENOENT: not here;
 * -EBADF: it was closed. */
int watch_apply(watch *w, selector *s, change *c);

/* What happened since it was last asked; -EBADF: it was closed. Signals: how often each number has
 * come, counts[number]. Path: a set of PATH_ bits. */
int watch_take_signals(watch *w, uint32_t counts[SIGNAL_MAX + 1]);
int watch_take_path(watch *w);

/* 1: the process has ended, with this status of wait(2), or -1 where the kernel does not tell. */
int watch_process_ended(watch *w, int *status);

/* Deregisters, and gives back all that it took; twice changes nothing. */
int watch_close(watch *w);

/* Closes if need be. */
void watch_free(watch *w);

#endif
