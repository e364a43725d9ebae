/* Out-of-band data: EVFILT_EXCEPT with NOTE_OOB, of a socket.
 *
 * The kernels tell of the mark, which stays when the byte was taken, until what comes behind it is
 * read (so_oobmark, SS_RCVATMARK); and macOS' filter is READ's besides (uipc_socket.c,
 * filt_soread_common). So the knote tells edges, and the socket is asked whether there is a byte.
 */
#include "kqueue.h"
#include <poll.h>
#include <sys/socket.h>

/* SO_OOBINLINE: the byte is taken as the rest is, and the mark goes with it. The entry's word for
 * it may be old: macOS keeps NOTE_OOB until it is delivered. */
static bool is_ahead(int fd) {
    int is_inline = 0;
    socklen_t size = sizeof is_inline;
    struct pollfd asked = {.fd = fd, .events = POLLPRI};
    return getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &is_inline, &size) == 0 && is_inline &&
           poll(&asked, 1, 0) > 0 && asked.revents & POLLPRI;
}

bool kq_is_urgent(const registration *r, const struct kevent *e) {
    char byte;
    if (!(e->fflags & EXCEPT_OOB))
        return false;
    return recv(r->fd, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) > 0 || is_ahead(r->fd);
}

/* LEVEL: the next poll hears of it, too. EV_ADD asks the filter anew; before it comes a change that
 * fails where the number is another file's by now. */
static void tell_again(selector *s, uint32_t index) {
    const registration *r = &s->all.at[index];
    const struct kevent changes[] = {change_for(s, index, ON_EXCEPT, 0),
                                     change_for(s, index, ON_EXCEPT, flags_for(r, ON_EXCEPT))};
    apply(s, changes, 2);
}

void kq_put_priority(selector *s, room *b, registration *r, const struct kevent *e) {
    if ((r->state & DISARMED && r->batch != s->all.batches) || !kq_is_urgent(r, e))
        return;
    kq_put(s, b, r, READY_PRIORITY);
    if (r->trigger == 0)
        tell_again(s, index_of(&s->all, r));
}
