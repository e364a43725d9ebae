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
#define TURNS_MAX 64     /* where there are more ghosts than that in one */
#define CHECK_EVERY 4096 /* batches: of each such one all sources are checked */

static bool is_ghost(const selector *s, const registration *r) {
    return !ep_has(s->fd, r->fd);
}

static void found_ghost(selector *s, registration *r) {
    r->state |= GHOST;
    s->done.ghosts++;
    make_remark(s, REMARK_GHOST, r);
}

/* Adds what lives, of wakers or of all else. */
static int add_all(selector *s, int fresh, bool wakers) {
    int result = 0;
    for (uint32_t i = 1; i < s->all.extent && result == 0; i++) {
        registration *r = &s->all.at[i];
        if (r->kind == KIND_FREE || r->fd < 0 || r->state & (GHOST | PARKED) ||
            (r->kind == KIND_WAKER) != wakers)
            continue;
        if (is_ghost(s, r))
            found_ghost(s, r);
        else
            result = ep_control(fresh, s, EPOLL_CTL_ADD, i);
    }
    return result;
}

/* A waker is not drained when it is told, so in the new epoll each that was ever woken is an edge
 * at once. That is taken out of it before anything else is there, and what nobody was told of yet
 * is found in the old one, in the end. */
static int add_wakers(selector *s, int fresh, struct epoll_event *told, int room) {
    int result = add_all(s, fresh, true);
    if (result == 0)
        epoll_wait(fresh, told, room, 0);
    return result;
}

/* The other edges that are taken here are the new one's, too. */
static void note_wakes(selector *s, struct epoll_event *told, int room) {
    for (int turn = 0, n = room; n == room && turn < TURNS_MAX; turn++) {
        n = epoll_wait(s->fd, told, room, 0);
        for (int i = 0; i < n; i++) {
            registration *r = registration_at(&s->all, told[i].data.u64);
            if (r && r->kind == KIND_WAKER)
                r->state |= WOKEN;
        }
    }
}

static void wake_again(selector *s) {
    for (uint32_t i = 1; i < s->all.extent; i++) {
        registration *r = &s->all.at[i];
        if (r->kind != KIND_WAKER || !(r->state & WOKEN))
            continue;
        r->state &= (uint16_t)~WOKEN;
        kernel_wake_again(s, r);
    }
}

/* Moves everything but ghosts to a new epoll under the old number. Edges may be told again (R5).
 * Where it fails, the next reports of the ghost try again. */
static void move(epoll_selector *e) {
    selector *s = &e->common;
    uint32_t room_told = s->all.extent + STALE_MAX;
    struct epoll_event *told = malloc(room_told * sizeof *told);
    int fresh = epoll_create1(EPOLL_CLOEXEC);
    e->stale = 0;
    if (fresh < 0 || !told)
        goto end;
    if (add_wakers(s, fresh, told, (int)room_told) < 0 || add_all(s, fresh, false) < 0)
        goto end;
    if (s->timers.fd >= 0 && ep_watch_timer(s, fresh) < 0)
        goto end;
    /* Who waits in the old one waits on in the new one; with the last of them the old one ends. A
     * forked child's copy keeps it alive, so the front is told. */
    if (ep_send_waiters_away(e) < 0)
        goto end;
    s->done.moves++;
    note_wakes(s, told, (int)room_told);
    if (e->front >= 0)
        epoll_ctl(e->front, EPOLL_CTL_DEL, s->fd, NULL);
    if (dup3(fresh, s->fd, O_CLOEXEC) < 0)
        epoll_ctl(s->fd, EPOLL_CTL_DEL, e->kick, NULL);
    if (e->front >= 0)
        ep_show_in_front(e);
    wake_again(s);
end:
    if (fresh >= 0)
        close(fresh);
    free(told);
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
