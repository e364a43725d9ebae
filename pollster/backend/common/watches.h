/* Watches: what happens outside of descriptors. watches.c does what is the same for all of
 * them, signals.c and paths.c what is the same for all kernels; a kernel's files
 * (epoll/signals.c, kqueue/paths.c and so on) do the rest.
 *
 * A watch is a descriptor to its selector, readable while there is something that nobody has looked
 * at; it is registered with edges. Locks are taken in this order: of all watches (see below), of
 * the selector, of the watch. */
#ifndef POLLSTER_WATCHES_H
#define POLLSTER_WATCHES_H
#include "kernel.h"
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>

/* What a kernel file does for one kind of watch. All but `open` are called with the watch's lock
 * held, and must not block. */
typedef struct {
    /* Opens w->fd and all else, or nothing. */
    int (*open)(watch *w);
    /* Looks what has happened. True: it is to be told. */
    bool (*look)(watch *w);
    /* It is about to be registered (`fresh`) or reregistered: makes what nobody has taken readable
     * again. */
    void (*renew)(watch *w, bool fresh);
    /* Closes. `forked`: these are a child's copies of its parent's. */
    void (*close)(watch *w, bool forked);
} watch_calls;

struct watch {
    const watch_calls *calls;
    pthread_mutex_t lock;
    int fd;           /* what is registered */
    int primer;       /* kqueue's: see kq_prime; -1: none */
    bool due;         /* to be told, though nothing new has happened */
    bool closed;      /* under both locks */
    uint32_t trigger; /* the kernel knows an edge only: not all that it reports is told */
    bool disarmed;    /* ONESHOT, and has reported */
    unsigned forks;   /* whose process it is */
    selector *owner;  /* with which it is registered, or was when that was closed; it has a share of
                         its memory. With `made`, under the lock of all watches */
    registration_id made;
};

typedef struct signals_watch {
    watch common;
    int count;
    int numbers[SIGNAL_MAX];
    _Atomic uint32_t counts[SIGNAL_MAX + 1];
    _Atomic(struct signals_watch *) next; /* among those that the handler tells: epoll's */
} signals_watch;

typedef struct {
    watch common;
    pid_t pid;
    bool ended;
    bool told;
    bool taken;
    bool ending; /* kqueue's: to be asked for its status when it has ended */
    int status;  /* -1: not known */
} process_watch;

typedef struct {
    watch common;
    char *folder; /* that the file is in, or was: not a symbolic link's */
    uint32_t wanted;
    uint32_t pending;
    struct stat was; /* when it was last looked at */
    bool lost;       /* nothing is at the path */
    bool blind;      /* a file is, and there was no room to watch it */
    int file;        /* what is there: a watch descriptor, or a descriptor; -1: not watched */
    int parent;      /* the folder, while nothing is there */
    char path[];
} path_watch;

extern const watch_calls kernel_signals, kernel_process, kernel_path;

/* watches.c. The lock of all watches is the lock of their owners, and of the handler's
 * list. */
void lock_watches(void);
void unlock_watches(void);

/* signals.c: the actions of signals. They are called with the lock of all watches. */
/* Whether the kernel counts signals whatever their action is; otherwise the handler has to. */
extern const bool kernel_counts_signals;
/* In a signal handler: it came. */
void kernel_signal(int number);
/* In a signal handler: where to note whose handler of the program this thread calls. */
volatile sig_atomic_t *kernel_calling(void);
int signal_take_over(int number);
void signal_stand_before(int number); /* again, where another handler was set meanwhile */
void signal_give_back(int number);
void signals_wait_for_handlers(void); /* until none runs that began before */
/* In a forked child. */
void signals_forget(void);
void kernel_signals_forget(void);

/* Sees whether it has ended, and how. */
void kernel_process_look(process_watch *p);
/* It has ended and is still to be told: makes the descriptor readable, if looking took that. */
void kernel_process_renew(process_watch *p);
bool process_look(watch *w);
void process_renew(watch *w, bool fresh);

/* paths.c */
/* Whether a truncation is a change of attributes to the kernel. */
extern const bool kernel_truncation_is_attributes;
/* Watches what is at the path now, and fills in `was`. */
int kernel_path_watch(path_watch *p);
void kernel_path_leave(path_watch *p);
/* Watches the folder for new names and attributes, as long as it is there; or no longer. */
void kernel_path_await(path_watch *p);
void kernel_path_found(path_watch *p);
int path_open(path_watch *p);
void path_close(path_watch *p);
/* What has changed where the kernel hints at these changes; what it hints at is looked at. */
uint32_t path_changes(path_watch *p, uint32_t hints);

#endif
