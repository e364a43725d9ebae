/* EVFILT_EXCEPT with NOTE_OOB: out-of-band data. An epoll of its own for each, since the queue's
 * holds the descriptor for READ. */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
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

/* The kernels' so_oobmark and SS_RCVATMARK: also when the byte was taken, until what is behind it
 * is read. That it was taken with data before it unread, Linux does not tell. */
static bool is_marked(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLPRI};
    int at_mark = 0;
    return (poll(&p, 1, 0) > 0 && p.revents & POLLPRI) ||
           (ioctl(fd, SIOCATMARK, &at_mark) == 0 && at_mark);
}

static bool except_event(struct knote *kn) {
    struct epoll_event edge;
    epoll_wait(kn->source, &edge, 1, 0); /* so that the next edge is one to the queue */
    kn->event.flags &= (unsigned short)~EV_EOF;
    bool is_there = is_marked(kn->descriptor.fd);
    if (is_there)
        kn->event.fflags |= NOTE_OOB;
    if (is_there || !kernel_has(EXCEPT_READS))
        return is_there;
    struct condition seen = descriptor_look(&kn->descriptor, 0);
    kn->event.data = seen.data;
    if (seen.eof) {
        kn->event.flags |= EV_EOF;
        kn->event.fflags = (unsigned int)seen.error;
    }
    return seen.ready;
}

const struct filter except_filter = {
    .is_descriptor = true,
    .attach = except_attach,
    .detach = except_detach,
    .release = knote_close_source,
    .event = except_event,
};
