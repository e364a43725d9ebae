/* What is registered, told to the kernel. */
#include "epoll.h"
#include <fcntl.h>
#include <sys/epoll.h>

int ep_control(int epoll, selector *s, int operation, uint32_t index) {
    const registration *r = &s->all.at[index];
    struct epoll_event change = {.data.u64 = key_of(index, r->generation)};
    if (r->interest & INTEREST_READABLE)
        change.events |= EPOLLIN | EPOLLRDHUP;
    if (r->interest & INTEREST_WRITABLE)
        change.events |= EPOLLOUT;
    if (r->interest & INTEREST_PRIORITY)
        change.events |= EPOLLPRI;
    if (r->trigger & TRIGGER_EDGE || r->state & MUTED)
        change.events |= EPOLLET;
    if (r->trigger & TRIGGER_ONESHOT && !(r->state & MUTED))
        change.events |= EPOLLONESHOT;
    if (r->state & DISARMED)
        change.events = EPOLLONESHOT; /* a hang-up comes all the same, once, and is dropped */
    count_change(s);
    return epoll_ctl(epoll, operation, r->fd, &change) < 0 ? -errno : 0;
}

/* Adding again fails with EEXIST where the kernel has this file under this number. */
bool ep_has(int epoll, int fd) {
    struct epoll_event nothing = {.events = 0, .data.u64 = key_of(OWN_INDEX, 1)};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &nothing) == 0) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        return false; /* another file */
    }
    return errno == EEXIST;
}

/* Its number may have been reused meanwhile. */
static bool is_parked(epoll_selector *e, int fd) {
    const registration *r = e->parking < 0 ? NULL : registration_of(&e->common.all, fd);
    return r && r->state & PARKED && ep_has(e->parking, fd);
}

/* The number of a closed source may be the next one that this queue takes for itself. */
static bool is_own(const epoll_selector *e, int fd) {
    return fd == e->kick || fd == e->front || fd == e->parking || fd == e->common.timers.fd;
}

int kernel_add(selector *s, uint32_t index) {
    epoll_selector *e = (epoll_selector *)s;
    int fd = s->all.at[index].fd;
    if (is_parked(e, fd) || is_own(e, fd))
        return -EEXIST;
    int result = ep_control(s->fd, s, EPOLL_CTL_ADD, index);
    /* A ghost's file that came back under its number (dup): the kernel has it, nobody else. */
    if (result == -EEXIST && !registration_of(&s->all, fd))
        result = ep_control(s->fd, s, EPOLL_CTL_MOD, index);
    return result;
}

/* EPERM: the number is a regular file's now, which was never registered. */
static int not_ours(int result) {
    return result == -EPERM ? -ENOENT : result;
}

/* From one epoll to another: added first, so that a failure loses nothing. Of another file, which
 * has the number by now, the first does not know. */
static int move(selector *s, uint32_t index, int from, int to) {
    int fd = s->all.at[index].fd;
    int result = ep_control(to, s, EPOLL_CTL_ADD, index);
    if (result == -EEXIST) /* a ghost's that came back */
        result = ep_control(to, s, EPOLL_CTL_MOD, index);
    if (result < 0 || epoll_ctl(from, EPOLL_CTL_DEL, fd, NULL) == 0)
        return not_ours(result);
    result = -errno;
    epoll_ctl(to, EPOLL_CTL_DEL, fd, NULL);
    return not_ours(result);
}

int kernel_modify(selector *s, uint32_t index, const registration *before) {
    registration *r = &s->all.at[index];
    if (before->state == 0 && is_unchanged(r, before))
        return 0;
    r->state = 0;
    int result = before->state & PARKED ? move(s, index, ((epoll_selector *)s)->parking, s->fd)
                                        : not_ours(ep_control(s->fd, s, EPOLL_CTL_MOD, index));
    if (result < 0)
        r->state = before->state;
    return result;
}

/* epoll reports hang-ups whatever the events are; who is in the parking epoll, for which nobody
 * waits, is not reported, and the kernel goes on telling whose the number is. Where there is no
 * descriptor or memory for it, it stays: a hang-up then ends one wait, and is dropped. */
int kernel_pause(selector *s, uint32_t index) {
    epoll_selector *e = (epoll_selector *)s;
    registration *r = &s->all.at[index];
    const uint16_t before = r->state;
    if (before & PARKED)
        return 0;
    if (e->parking < 0 && fcntl(r->fd, F_GETFD) < 0)
        return -errno; /* else the parking epoll could get its number */
    r->state = DISARMED;
    if (e->parking < 0)
        e->parking = epoll_create1(EPOLL_CLOEXEC);
    int result = e->parking < 0 ? -EMFILE : move(s, index, s->fd, e->parking);
    if (result == 0)
        r->state |= PARKED;
    else if (result != -EBADF && result != -ENOENT)
        result = not_ours(ep_control(s->fd, s, EPOLL_CTL_MOD, index));
    if (result < 0)
        r->state = before;
    else if (!(r->state & PARKED))
        make_remark(s, REMARK_NOT_PARKED, r);
    return result;
}

bool kernel_is_armed(const registration *r) {
    return !(r->state & DISARMED);
}

int kernel_delete(selector *s, uint32_t index) {
    const epoll_selector *e = (epoll_selector *)s;
    const registration *r = &s->all.at[index];
    int from = r->state & PARKED ? e->parking : s->fd;
    count_change(s);
    if (epoll_ctl(from, EPOLL_CTL_DEL, r->fd, NULL) == 0 || errno == EBADF)
        return 0;
    if (errno == ENOENT && is_own(e, r->fd))
        return 0;
    return not_ours(-errno);
}

void kernel_apply(selector *s, change *changes, int n) {
    for (int i = 0; i < n; i++)
        change_one(s, &changes[i]);
}
