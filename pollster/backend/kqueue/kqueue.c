/* kqueue(2): macOS, FreeBSD, NetBSD, OpenBSD, DragonFly.
 *
 * A direction of the interest is a filter with a knote of its own. */
#include "kqueue.h"
#include "assumptions.h"
#include <stdio.h>

const size_t kernel_selector_size = sizeof(kqueue_selector);
/* READ and WRITE; with EXCEPT, too, fewer sources fit, and take turns. */
#define ENTRIES_PER_PLACE 2
const size_t kernel_place_size = ENTRIES_PER_PLACE * sizeof(struct kevent);

/* Opening and closing */

int kernel_open(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    k->bell_pipe[0] = k->bell_pipe[1] = -1;
    s->fd = kqueue();
    if (s->fd < 0)
        return -errno;
    int result = fcntl(s->fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : kq_open_bell(k);
    if (result < 0)
        kernel_close(s);
    return result;
}

int kernel_kick(selector *s) {
    return kq_ring((kqueue_selector *)s);
}

void kernel_close(selector *s) {
    kqueue_selector *k = (kqueue_selector *)s;
    close(s->fd);
    kq_forget_bell(k);
    free(k->hung);
    free(k->pipes);
}

/* A queue is not inherited over fork, and its number may be another file's by now. */
void kernel_forget(selector *s) {
    kq_forget_bell((kqueue_selector *)s);
}

int kernel_fd(selector *s) {
    return s->fd;
}

/* Waiting */

/* Darwin refuses long timeouts (Go's netpoll caps at 1e6 s), old OpenBSD more than a day. */
#define LONGEST (86400 * NANOSECONDS)

int kernel_wait(selector *s, room *b, int64_t timeout) {
    kqueue_selector *k = (kqueue_selector *)s;
    struct timespec limit;
    if (timeout > LONGEST)
        timeout = LONGEST;
    if (timeout >= 0) {
        limit.tv_sec = (time_t)(timeout / NANOSECONDS);
        limit.tv_nsec = (long)(timeout % NANOSECONDS);
    }
    if (atomic_load(&k->hung_count)) {
        pthread_mutex_lock(&s->all.lock);
        int result = atomic_load(&s->closed) ? -ESHUTDOWN : kq_look_again(k);
        pthread_mutex_unlock(&s->all.lock);
        if (result < 0)
            return result;
    }
    int n = kevent(s->fd, NULL, 0, b->entries, b->places, timeout < 0 ? NULL : &limit);
    return n < 0 ? -errno : n;
}

/* ONESHOT is the whole source's (R4): the first report disarms it, a second one of the same batch
 * joins it, and a later one (another thread may have taken it already) is dropped. */
void kq_put(selector *s, room *b, registration *r, uint32_t ready) {
    if (r->state & DISARMED && r->batch != s->all.batches)
        return;
    batch_put(&s->all, b, r, ready);
    if (r->trigger & TRIGGER_ONESHOT && r->batch == s->all.batches)
        r->state |= DISARMED;
}

/* Which knote an entry is of. */
static unsigned on_of(const struct kevent *e) {
    return e->filter == EVFILT_READ ? ON_READ : e->filter == EVFILT_WRITE ? ON_WRITE : ON_EXCEPT;
}

static bool has_end(registration *r) {
    if (r->kind == KIND_UNKNOWN || r->kind == KIND_PLAIN)
        r->kind = socket_kind(r->fd);
    return r->kind != KIND_DATAGRAM;
}

static uint32_t readiness_of(registration *r, const struct kevent *e) {
    if (on_of(e) == ON_EXCEPT)
        return kq_is_urgent(r, e) ? READY_PRIORITY : 0;
    uint32_t ready = e->filter == EVFILT_READ ? READY_READABLE : READY_WRITABLE;
    if (e->flags & EV_EOF && has_end(r)) {
        ready |= e->filter == EVFILT_READ ? READY_READ_CLOSED : READY_WRITE_CLOSED;
        if (e->fflags) /* a socket's error, not consumed: kevent(2), EVFILT_READ */
            ready |= READY_ERROR;
    }
    return ready;
}

/* Of a source that this batch has one direction of: the others. */
static unsigned others_of(selector *s, const room *b, const registration *r) {
    if (r->batch != s->all.batches || r->state & HUNG)
        return 0;
    uint32_t ready = readiness_in(b, r);
    return kq_reported(r) &
           ~((ready & READY_READABLE ? ON_READ : 0u) | (ready & READY_WRITABLE ? ON_WRITE : 0u) |
             (ready & READY_PRIORITY ? ON_EXCEPT : 0u));
}

#define ASIDE_MAX 64 /* how many knotes are seen to in one call, beside a wait */

static int put_others(selector *s, const registration *r, unsigned others, unsigned flags,
                      struct kevent *changes, int count) {
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        if (others & on)
            changes[count++] = change_for(s, index_of(&s->all, r), on, flags);
    return count;
}

/* A ONESHOT source with two knotes has reported one: the other must not wake anybody either, in
 * this queue or one around it. EXCEPT does not disable itself. */
static void disable_others(selector *s, const room *b, const struct kevent *entries, int n) {
    struct kevent changes[ASIDE_MAX];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const registration *r = registration_for(s, entries[i].udata);
        if (r && r->state & DISARMED && r->batch == s->all.batches)
            count = put_others(s, r, others_of(s, b, r) | (kq_reported(r) & ON_EXCEPT), EV_DISABLE,
                               changes, count);
        if (count <= ASIDE_MAX - 3 && i < n - 1)
            continue;
        if (apply(s, changes, count) < 0)
            for (int one = 0; one < count; one++)
                apply(s, &changes[one], 1);
        count = 0;
    }
}

/* READ tells the end of WRITE, too. A pipe's WRITE, asked again, repeats it by itself; a
 * terminal's does not know it, so READ goes on telling: as a level, as long as it is at its end. */
static void repeat_end(selector *s, uint32_t index, bool ended) {
    registration *r = &s->all.at[index];
    if (r->trigger != 0 || r->state & HUNG || kq_reported(r) & ON_READ)
        return;
    if (r->kind == KIND_PIPE) {
        struct kevent again = change_for(s, index, ON_WRITE, flags_for(r, ON_WRITE));
        if (ended)
            apply(s, &again, 1);
        return;
    }
    if (ended == !!(r->state & ENDED))
        return;
    r->state ^= ENDED;
    struct kevent changes[] = {change_for(s, index, ON_READ, EV_DELETE),
                               change_for(s, index, ON_READ, flags_for(r, ON_READ))};
    apply(s, changes, 2);
}

/* EV_ONESHOT, which was not asked for: the knote is gone. So it is of a pipe's WRITE on FreeBSD
 * when the reader went, and of what was revoked (XNU filt_vnode_common, OpenBSD dead_filtops). */
static uint32_t put_away(selector *s, registration *r, unsigned on, uint32_t ready) {
    if (r->kind == KIND_PIPE && on == ON_WRITE && r->state & ON_READ) {
        kq_hang((kqueue_selector *)s, index_of(&s->all, r), r->trigger == 0);
        return ready;
    }
    r->state &= (uint16_t)~on;
    return (kq_reported(r) & ON_READ ? READY_READABLE | READY_READ_CLOSED : 0u) |
           (kq_reported(r) & ON_WRITE ? READY_WRITABLE | READY_WRITE_CLOSED : 0u);
}

static void put_descriptor(selector *s, room *b, registration *r, const struct kevent *e) {
    unsigned on = on_of(e);
    uint32_t ready = kq_reported(r) & on ? readiness_of(r, e) : 0;
    bool ended = e->flags & EV_EOF;
    if (on == ON_READ && kq_ends_by_read(r)) {
        if (ended && !(r->state & HUNG)) /* which is reported from the list */
            ready |= READY_WRITABLE | READY_WRITE_CLOSED;
        repeat_end(s, index_of(&s->all, r), ended);
    }
    if (ended && r->kind == KIND_PIPE)
        ready = hung_up(r, ready);
    if (kq_heeded(r) & on)
        kq_heed((kqueue_selector *)s, index_of(&s->all, r), on, ended);
    if (ended && e->flags & EV_ONESHOT)
        ready = put_away(s, r, on, ready);
    if (ready && !(r->state & DISARMED && r->batch != s->all.batches))
        kq_put(s, b, r, ready | kq_due_of((kqueue_selector *)s, r));
}

static bool is_waker(const struct kevent *e) {
#ifdef EVFILT_USER
    return e->filter == EVFILT_USER;
#else
    (void)e;
    return false;
#endif
}

static void put_entry(selector *s, room *b, const struct kevent *e) {
    registration *r = is_waker(e) ? kq_waker_for(s, e) : registration_for(s, e->udata);
    if (!r) { /* the bell, the timer, or stale */
        if (e->filter == EVFILT_TIMER)
            s->timers.armed = 0; /* it has come, and is gone */
        else if (key_from(e->udata) != key_of(OWN_INDEX, 0))
            s->done.stale++;
        return;
    }
    if (r->paused)
        return;
    if (r->kind == KIND_WAKER) {
        kq_put_waker(s, b, r);
        return;
    }
    if (r->kind == KIND_WATCH) {
        if (watch_has_news(s, r))
            kq_put(s, b, r, READY_READABLE);
        return;
    }
    if (on_of(e) == ON_EXCEPT)
        kq_put_priority(s, b, r, e);
    else
        put_descriptor(s, b, r, e);
}

/* Asks a queue of its own for the state of some knotes, and adds it to the batch. */
static void ask_aside(selector *s, room *b, const struct kevent *knotes, int n) {
    const struct timespec at_once = {0, 0};
    struct kevent told[ASIDE_MAX];
    int aside = kqueue();
    s->done.waits++;
    if (aside < 0)
        return;
    int count = kevent(aside, knotes, n, told, n, &at_once);
    if (count > 0 && told[0].flags & EV_ERROR) /* closed meanwhile; then the ready ones wait */
        count = kevent(aside, NULL, 0, told, n, &at_once);
    close(aside);
    for (int i = 0; i < count; i++) {
        registration *r = registration_for(s, told[i].udata);
        if (r)
            batch_put(&s->all, b, r, readiness_of(r, &told[i]));
    }
}

/* A full batch may have the entry of one direction and not of the other, where epoll's has both.
 * What is told of the other one so is told again by its own entry: a level, or an edge too many
 * (R5). A full batch is rare, so this may cost. */
static void complete(selector *s, room *b, const struct kevent *entries, int n) {
    struct kevent others[ASIDE_MAX];
    int count = 0;
    for (int i = 0; i < n; i++) {
        const registration *r = registration_for(s, entries[i].udata);
        if (r)
            count = put_others(s, r, others_of(s, b, r), EV_ADD, others, count);
        if (count > ASIDE_MAX - 3 || (count && i == n - 1)) {
            ask_aside(s, b, others, count);
            count = 0;
        }
    }
}

/* A source with two directions took two entries and one place. Where that has kept others out
 * (the kernel gave as many as there was room for) they are asked for without waiting: R10. */
int kernel_decode(selector *s, room *b, int n) {
    kqueue_selector *k = (kqueue_selector *)s;
    const struct timespec at_once = {0, 0};
    struct kevent *entries = b->entries;
    int taken = 0, asked = b->places;
    bool full;
    for (;;) {
        for (int i = 0; i < n; i++)
            put_entry(s, b, &entries[taken + i]);
        if (taken == 0 && k->due)
            kq_put_hung(k, b, b->places - b->filled);
        taken += n;
        full = n == asked;
        asked = b->places - b->filled;
        if (!full || asked == 0 || taken + asked > ENTRIES_PER_PLACE * b->capacity)
            break;
        s->done.waits++;
        n = kevent(s->fd, NULL, 0, entries + taken, asked, &at_once);
        if (n <= 0)
            break;
    }
    disable_others(s, b, entries, taken);
    if (full)
        complete(s, b, entries, taken);
    return taken;
}

/* Showing what the kernel said */

#define NAME(constant) {constant, #constant}

static const bit_name flag_names[] = {
    NAME(EV_ADD),   NAME(EV_DELETE), NAME(EV_ENABLE),  NAME(EV_DISABLE),  NAME(EV_ONESHOT),
    NAME(EV_CLEAR), NAME(EV_EOF),    NAME(EV_RECEIPT), NAME(EV_DISPATCH), NAME(EV_ERROR),
};

static const char *filter_name(const struct kevent *e) {
    if (e->filter == EVFILT_READ)
        return "EVFILT_READ";
    if (e->filter == EVFILT_WRITE)
        return "EVFILT_WRITE";
    if (e->filter == EVFILT_TIMER)
        return "EVFILT_TIMER";
    if (e->filter == FILTER_EXCEPT)
        return "EVFILT_EXCEPT";
#ifdef EVFILT_USER
    if (e->filter == EVFILT_USER)
        return "EVFILT_USER";
#endif
    return "another";
}

int kernel_raw(const room *b, int i, raw_field *fields, int room_for) {
    const struct kevent *e = (const struct kevent *)b->entries + i;
    const char *names[] = {"ident", "filter", "flags", "fflags", "data", "udata"};
    const int64_t numbers[] = {(int64_t)e->ident, (int64_t)e->filter,
                               (int64_t)e->flags, (int64_t)e->fflags,
                               (int64_t)e->data,  (int64_t)(uintptr_t)e->udata};
    if (room_for < 6)
        return -EINVAL;
    for (int field = 0; field < 6; field++) {
        fields[field] =
            (raw_field){.structure = "kevent", .name = names[field], .number = numbers[field]};
        snprintf(fields[field].text, sizeof fields[field].text, "%lld", (long long)numbers[field]);
    }
    snprintf(fields[1].text, sizeof fields[1].text, "%s", filter_name(e));
    name_bits(&fields[2], flag_names, sizeof flag_names / sizeof *flag_names);
    name_bits(&fields[5], NULL, 0);
    return 6;
}
