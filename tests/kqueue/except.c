/* EVFILT_EXCEPT with NOTE_OOB: out-of-band data. An epoll of its own for each, since the queue's
 * holds the descriptor for READ. */
#define _GNU_SOURCE 1
#include "knote.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static int except_attach(struct knote *kn) {
    if (!(kn->sfflags & NOTE_OOB))
        return EINVAL;
    kn->source = epoll_create1(EPOLL_CLOEXEC);
    if (kn->source < 0)
        return errno;
    int error = descriptor_attach_except(&kn->descriptor, (int)kn->event.ident, kn->source);
    return error ? error : knote_listen(kn, kn->source);
}

static void except_detach(struct knote *kn) {
    descriptor_detach(&kn->descriptor);
}

static bool except_event(struct knote *kn) {
    struct epoll_event edge;
    struct pollfd p = {.fd = kn->descriptor.fd, .events = POLLPRI};
    epoll_wait(kn->source, &edge, 1, 0); /* so that the next edge is one to the queue */
    bool is_there = poll(&p, 1, 0) > 0 && p.revents & POLLPRI;
    kn->event.fflags = is_there ? NOTE_OOB : 0;
    return is_there;
}

const struct filter except_filter = {
    .is_descriptor = true,
    .attach = except_attach,
    .detach = except_detach,
    .release = knote_close_source,
    .event = except_event,
};
