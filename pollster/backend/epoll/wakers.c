/* Wakers: an eventfd each. */
#include "epoll.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int kernel_waker_open(selector *s, waker *w, uint64_t token) {
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->fd < 0)
        return -errno;
    change c = {
        .fd = w->fd, .token = token, .interest = INTEREST_READABLE, .trigger = TRIGGER_EDGE};
    int result = registration_add(s, &c);
    if (result < 0)
        close(w->fd);
    w->made = c.made;
    w->gone = c.gone;
    return result;
}

/* Each write is an edge, so nothing needs draining until the counter is full. */
int kernel_waker_wake(selector *s, const waker *w) {
    (void)s;
    const uint64_t one = 1;
    uint64_t drained;
    while (write(w->fd, &one, sizeof one) < 0) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN || (read(w->fd, &drained, sizeof drained) < 0 && errno != EAGAIN))
            return -errno;
    }
    return 0;
}

void kernel_wake_again(selector *s, const registration *r) {
    const waker w = {.fd = r->fd};
    kernel_waker_wake(s, &w);
}

int kernel_waker_pause(selector *s, uint32_t index) {
    return kernel_pause(s, index);
}

int kernel_waker_resume(selector *s, uint32_t index, const registration *before) {
    uint64_t drained;
    /* What was told is still in it, and would be told again. */
    if (read(before->fd, &drained, sizeof drained) < 0 && errno != EAGAIN)
        return -errno;
    return kernel_modify(s, index, before);
}

void kernel_waker_close(selector *s, const registration *r) {
    kernel_delete(s, index_of(&s->all, r));
    close(r->fd);
}

void kernel_waker_forget(selector *s, const registration *r) {
    (void)s, (void)r;
}
