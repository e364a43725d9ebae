/* Ghosts: what was closed and goes on reporting.
 *
 * epoll keys on the fd's number and the open file together. Where a copy of the file lives on (dup,
 * a child process) a closed fd is still reported, and can't be deleted: its number means nothing
 * any more, or something else. Such a ghost is found when it reports too often, and left behind by
 * moving to a new epoll. Others (an outer Poll) must not notice, so they get a front: an epoll
 * whose only member is the working one. */
#include "epoll.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#define STALE_MAX 1000   /* more than races between threads make */
#define CHECK_EVERY 4096 /* batches: of each such one all sources are checked */

/* Adding again fails with EEXIST where the kernel has this file under this number. */
static bool is_ghost(selector *s, const registration *r) {
    struct epoll_event nothing = {.events = 0, .data.u64 = key_of(OWN_INDEX, 1)};
    if (epoll_ctl(s->fd, EPOLL_CTL_ADD, r->fd, &nothing) == 0) {
        epoll_ctl(s->fd, EPOLL_CTL_DEL, r->fd, NULL);
        return true; /* another file */
    }
    return errno != EEXIST;
}

static void found_ghost(selector *s, registration *r) {
    r->state |= GHOST;
    s->done.ghosts++;
}

/* Moves everything but ghosts to a new epoll under the old number. Edges may be told again (R5).
 * Where it fails, the next reports of the ghost try again. */
static void move(epoll_selector *e) {
    selector *s = &e->common;
    int fresh = epoll_create1(EPOLL_CLOEXEC);
    e->stale = 0;
    if (fresh < 0)
        return;
    for (uint32_t i = 1; i < s->all.extent; i++) {
        registration *r = &s->all.at[i];
        if (r->kind == KIND_FREE || r->kind == KIND_TIMER || r->state & GHOST)
            continue;
        if (is_ghost(s, r))
            found_ghost(s, r);
        else if (ep_control(fresh, s, EPOLL_CTL_ADD, i) < 0)
            goto end;
    }
    if (s->timers.fd >= 0 && ep_watch_timer(s, fresh) < 0)
        goto end;
    /* Who waits in the old one waits on in the new one; with the last of them the old one ends. A
     * forked child's copy keeps it alive, so the front is told. */
    if (ep_send_waiters_away(e) < 0)
        goto end;
    s->done.moves++;
    if (e->front >= 0)
        epoll_ctl(e->front, EPOLL_CTL_DEL, s->fd, NULL);
    if (dup3(fresh, s->fd, O_CLOEXEC) < 0)
        epoll_ctl(s->fd, EPOLL_CTL_DEL, e->kick, NULL);
    if (e->front >= 0)
        ep_show_in_front(e);
end:
    close(fresh);
}

static void check_batch(epoll_selector *e, const room *b, int n) {
    const struct epoll_event *entries = b->entries;
    for (int i = 0; i < n; i++) {
        registration *r = registration_at(&e->common.all, entries[i].data.u64);
        if (!r || r->kind == KIND_WAKER || r->state & GHOST || !is_ghost(&e->common, r))
            continue;
        found_ghost(&e->common, r);
        e->stale = STALE_MAX;
    }
}

void ep_check_ghosts(epoll_selector *e, const room *b, int n, uint32_t stale) {
    e->stale += stale;
    e->common.done.stale += stale;
    if (e->common.all.batches % CHECK_EVERY == 0)
        check_batch(e, b, n);
    if (e->stale >= STALE_MAX)
        move(e);
}
