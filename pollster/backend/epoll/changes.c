/* What is registered, told to the kernel. */
#include "epoll.h"
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
    if (r->trigger & TRIGGER_ONESHOT)
        change.events |= EPOLLONESHOT;
    if (r->state & DISARMED)
        change.events = EPOLLONESHOT; /* a hang-up comes all the same, once, and is dropped */
    count_change(s);
    return epoll_ctl(epoll, operation, r->fd, &change) < 0 ? -errno : 0;
}

int kernel_add(selector *s, uint32_t index) {
    if (s->all.at[index].fd == ((epoll_selector *)s)->front)
        return -EINVAL; /* in itself; the front alone would only be a circle, ELOOP */
    int result = ep_control(s->fd, s, EPOLL_CTL_ADD, index);
    /* A ghost's file that came back under its number (dup): the kernel has it, nobody else. */
    if (result == -EEXIST && !registration_of(&s->all, s->all.at[index].fd))
        result = ep_control(s->fd, s, EPOLL_CTL_MOD, index);
    return result;
}

/* EPERM: the number is a regular file's now, which was never registered. */
int kernel_modify(selector *s, uint32_t index, const registration *before) {
    if (before->state == 0 && is_unchanged(&s->all.at[index], before))
        return 0;
    s->all.at[index].state = 0;
    int result = ep_control(s->fd, s, EPOLL_CTL_MOD, index);
    if (result < 0)
        s->all.at[index].state = before->state;
    return result == -EPERM ? -ENOENT : result;
}

/* The number of a closed source may be the next one that this queue takes for itself. */
static bool is_own(const epoll_selector *e, int fd) {
    return fd == e->kick || fd == e->front || fd == e->common.timers.fd;
}

int kernel_delete(selector *s, uint32_t index) {
    int fd = s->all.at[index].fd;
    count_change(s);
    if (epoll_ctl(s->fd, EPOLL_CTL_DEL, fd, NULL) == 0 || errno == EBADF)
        return 0;
    if (errno == ENOENT && is_own((epoll_selector *)s, fd))
        return 0;
    return errno == EPERM ? -ENOENT : -errno;
}

void kernel_apply(selector *s, change *changes, int n) {
    for (int i = 0; i < n; i++)
        change_one(s, &changes[i]);
}
