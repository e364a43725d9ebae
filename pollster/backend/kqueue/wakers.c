/* Wakers: a user event each; where the kernel has none (see user.c), a pipe. */
#include "kqueue.h"

void kq_put_waker(selector *s, room *b, registration *r) {
    if (r->fd >= 0)
        kq_drain(r->fd);
    waker_tell(&s->all, index_of(&s->all, r));
    batch_put(&s->all, b, r, READY_READABLE);
}

static udata_t udata_for(uint32_t index, const waker_state *state) {
    const registration opened = {.generation = state->opened}; /* the tables may be moving */
    return udata_of(index, &opened);
}

registration *kq_waker_for(selector *s, const struct kevent *e) {
    registrations *t = &s->all;
    if (e->ident == OWN_INDEX || e->ident >= t->extent || t->at[e->ident].kind != KIND_WAKER ||
        udata_for((uint32_t)e->ident, t->wakers[e->ident]) != e->udata)
        return NULL;
    return &t->at[e->ident];
}

static int open_waker_pipe(kqueue_selector *k, waker *w, uint64_t token) {
    int ends[2];
    if (grow((void **)&k->pipes, &k->pipe_room, k->pipe_count + 1, sizeof *k->pipes) < 0)
        return -ENOMEM;
    int result = kq_open_pipe(ends);
    if (result < 0)
        return result;
    change c = {
        .fd = ends[0], .token = token, .interest = INTEREST_READABLE, .trigger = TRIGGER_EDGE};
    result = registration_add(&k->common, &c);
    if (result < 0) {
        close(ends[0]);
        close(ends[1]);
        return result;
    }
    k->pipes[k->pipe_count++] = (waker_pipe){ends[0], ends[1]};
    w->fd = ends[1];
    w->made = c.made;
    w->gone = c.gone;
    return 0;
}

int kernel_waker_open(selector *s, waker *w, uint64_t token) {
    kqueue_selector *k = (kqueue_selector *)s;
    if (k->bell_pipe[0] >= 0)
        return open_waker_pipe(k, w, token);
#ifdef EVFILT_USER
    int64_t index = registration_new(&s->all, -1, token, INTEREST_READABLE, TRIGGER_EDGE);
    if (index < 0)
        return (int)index;
    struct kevent change = change_of((ident_t)index, EVFILT_USER, EV_ADD | EV_CLEAR, 0,
                                     udata_of((uint32_t)index, &s->all.at[index]));
    int result = apply(s, &change, 1);
    if (result < 0)
        registration_end(&s->all, (uint32_t)index);
    if (result == -ENOMEM) { /* OpenBSD: 1024 user events a process */
        make_remark(s, REMARK_PIPES, NULL);
        return open_waker_pipe(k, w, token);
    }
    if (result == 0)
        w->made = id_of(&s->all, (uint32_t)index);
    return result;
#else
    return -ENOTSUP;
#endif
}

int kernel_waker_wake(selector *s, const waker *w) {
    return w->fd >= 0 ? kq_write_byte(w->fd)
                      : kq_trigger(s, (ident_t)w->made.index, udata_for(w->made.index, w->state));
}

static waker_pipe *pipe_of(kqueue_selector *k, const registration *r) {
    for (uint32_t i = 0; i < k->pipe_count; i++)
        if (r->fd >= 0 && k->pipes[i].read_end == r->fd)
            return &k->pipes[i];
    return NULL;
}

void kernel_wake_again(selector *s, const registration *r) {
    uint32_t index = index_of(&s->all, r);
    waker w = {.fd = -1, .made = id_of(&s->all, index), .state = s->all.wakers[index]};
    const waker_pipe *pipe = pipe_of((kqueue_selector *)s, r);
    if (pipe)
        w.fd = pipe->write_end;
    kernel_waker_wake(s, &w);
}

static int change_user_event(selector *s, uint32_t index, unsigned flags) {
#ifdef EVFILT_USER
    struct kevent change =
        change_of((ident_t)index, EVFILT_USER, flags, 0, udata_for(index, s->all.wakers[index]));
    return apply(s, &change, 1);
#else
    (void)s, (void)index, (void)flags;
    return -ENOTSUP;
#endif
}

/* Deleted: see kq_paused_flags. Who has not told it yet that he wakes it is told that it is not
 * there. */
int kernel_waker_pause(selector *s, uint32_t index) {
    return s->all.at[index].fd >= 0 ? kernel_pause(s, index)
                                    : change_user_event(s, index, EV_DELETE);
}

int kernel_waker_resume(selector *s, uint32_t index, const registration *before) {
    return before->fd >= 0 ? kernel_modify(s, index, before)
                           : change_user_event(s, index, EV_ADD | EV_CLEAR);
}

void kernel_waker_close(selector *s, const registration *r) {
    kqueue_selector *k = (kqueue_selector *)s;
    waker_pipe *pipe = pipe_of(k, r);
    if (pipe) {
        close(pipe->read_end); /* which removes it from the queue */
        close(pipe->write_end);
        *pipe = k->pipes[--k->pipe_count];
        return;
    }
#ifdef EVFILT_USER
    struct kevent change = change_of((ident_t)index_of(&s->all, r), EVFILT_USER, EV_DELETE, 0, 0);
    apply(s, &change, 1);
#endif
}

/* The other end may be the program's by now, too. */
void kernel_waker_forget(selector *s, const registration *r) {
    kqueue_selector *k = (kqueue_selector *)s;
    waker_pipe *pipe = pipe_of(k, r);
    if (pipe)
        *pipe = k->pipes[--k->pipe_count];
}
