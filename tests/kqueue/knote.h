/* What the calls (kqueue.c), the queue (knote.c) and the filters share. Shape and names are those
 * of FreeBSD's sys/kern/kern_event.c.
 *
 * All of this is under one process-wide lock, held by kevent() except while it sleeps. A lock for
 * each queue would need an order, which queues nested in each other do not have. */
#ifndef KNOTE_H
#define KNOTE_H

#define KQUEUE_OF_LINUX /* its own fcntl(2) is Linux's */

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/event.h>
#include <sys/queue.h>

#include "descriptor.h"

struct knote;

struct filter {
    bool is_silent;     /* Linux does not tell of everything: asked at every call */
    bool is_descriptor; /* ident is a descriptor: EBADF when it is closed, gone when it closes */
    int (*attach)(struct knote *kn); /* 0 or an errno */
    /* Takes the knote out of what its queue, which lives on, is registered with. NULL: nothing. */
    void (*detach)(struct knote *kn);
    /* Gives back what is the knote's own, be its queue still there or not, or attach() failed half
     * way. NULL: nothing. */
    void (*release)(struct knote *kn);
    /* Is the knote's condition true now? Brings kn->event up to date. */
    bool (*event)(struct knote *kn);
    /* Linux notified us: does that make the event true again? NULL: whenever event() says so. */
    bool (*notified)(struct knote *kn);
    /* A change to a knote which exists; 0 or an errno. NULL: the change's fflags and data simply
     * replace the earlier ones. */
    int (*touch)(struct knote *kn, const struct kevent *change);
    /* The last word on what is returned, and what EV_CLEAR resets. NULL: EV_CLEAR zeroes fflags and
     * data. */
    void (*deliver)(struct knote *kn, struct kevent *out);
};

/* EVFILT_SIGNAL, beside an eventfd that counts deliveries. */
struct signal {
    bool listed;  /* among those that the handler tells */
    int doorbell; /* a signalfd, never read: a blocked signal became pending */
    bool pending; /* it is, and was counted */
    _Atomic(struct knote *) next;
};

/* EVFILT_VNODE, beside an inotify. */
struct vnode {
    int watch, parent; /* watch descriptors; parent: -1 where there is none */
    struct stat was;   /* when last looked at */
};

struct knote {
    struct kqueue *kq;
    const struct filter *filter;
    struct kevent event; /* what a scan returns */
    unsigned int sfflags;
    int64_t sdata;   /* fflags and data as the changes gave them */
    uint64_t serial; /* never given twice: tells our epoll events from those of ghosts */
    bool active, queued, disabled;
    bool late;                    /* to be told after this look: see knote_tell_late() */
    struct descriptor descriptor; /* EVFILT_READ, EVFILT_WRITE, EVFILT_VNODE */
    struct condition seen;        /* of that descriptor, when last looked at */
    bool triggered;               /* EVFILT_USER */
    int source; /* TIMER, SIGNAL, PROC, VNODE: the descriptor of its own in the queue's epoll */
    struct signal signal;
    struct vnode vnode;
    TAILQ_ENTRY(knote) all, pending;
};

struct kqueue {
    int fd;                    /* an epoll, which belongs to the caller */
    int writers;               /* an epoll inside it, for the WRITE knotes */
    int signal;                /* an eventfd inside it: non-zero while knotes are queued */
    uint64_t serial, enqueued; /* enqueued: how often one around it is told */
    int count;                 /* knotes queued now */
    bool late;                 /* one of its knotes is */
    int level;                 /* of queues in queues; 0: neither in nor around one */
    bool busy; /* being worked on: stops the recursion when queues nest in a circle */
    TAILQ_HEAD(knotes, knote) all, queued; /* queued: first in, first out */
    TAILQ_ENTRY(kqueue) next;
};

const struct filter *filter_find(int filter); /* NULL: unknown */
extern const struct filter timer_filter, signal_filter, process_filter, vnode_filter, except_filter;

uint64_t next_serial(void);

/* Has the edges of fd, which is the knote's own, brought to it; 0 or an errno. */
int knote_listen(struct knote *kn, int fd);
void knote_close_source(struct knote *kn);
/* One change, FreeBSD's kqueue_register(): 0 or an errno. */
int knote_apply(struct kqueue *q, const struct kevent *change);
/* Takes in what Linux reports and drops queued knotes whose descriptor was closed. */
void knote_collect(struct kqueue *q);
/* Tells the knotes that knote_collect() left for later: the moment is over. */
void knote_tell_late(struct kqueue *q);
/* FreeBSD's kqueue_scan(): fills `events`; each knote which is queued now gets one turn. */
int knote_scan(struct kqueue *q, struct kevent *events, int nevents);

/* What the number kq is: a queue of this process, or NULL. */
struct kqueue *kqueue_find(int kq);
struct kqueue *kqueue_by_serial(uint64_t serial);
/* Raises the queue of an epoll above one that it shall hold; false: it can't be. XNU kern_event.c,
 * kqueue_kqfilter(). */
bool kqueue_rises(int epoll, struct kqueue *inner);
/* knote_collect() of a queue met inside another one; nothing if it is being worked on already. */
void kqueue_collect(struct kqueue *q);

/* Looks whether the program replaced the action of a signal that is watched. */
void signals_adopt(void);
/* How many watched signals this thread took which the program ignores, and which it handles. Linux
 * interrupts a sleeping thread for both, and for neither if the signal also woke it. */
struct signals_taken {
    unsigned long ignored, handled;
};
struct signals_taken signals_taken(void);
void signals_count_handled(void); /* by this thread */
void signals_fork_child(void);

/* Where signals are delivered late: begins with that; 0 or an errno. */
int late_signals_start(void);
/* For handlers: sends a signal on to where it is late; has it been? */
bool late_signals_send_on(int sig, siginfo_t *info);
bool late_signals_was_sent_on(siginfo_t *info);
void late_signals_fork_child(void);

int misbehave_change(int filter, bool adds); /* the errno that a change shall fail with, or 0 */
bool misbehave_interrupted(void);            /* shall this wait end with EINTR? */
bool misbehave_hides_processes(void);        /* is there no process to EVFILT_PROC? */
bool misbehave_hides_zombies(void);          /* or none which has exited? */
bool misbehave_is_late(void);                /* is a queue told of one inside it only later? */
bool misbehave_is_asynchronous(void);        /* is the network told of only later? */
bool misbehave_is_prompt(void);              /* is a signal delivered as it is counted? */
bool misbehave_truncates(void);              /* does writing to a file add ATTRIB? */
void misbehave_count_call(void);

#endif
