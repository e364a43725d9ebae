/* The kernel contract's part that is the same for every kernel: lifetime, tables, the wait loop. */
#include "kernel.h"
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int64_t deadline_after(int64_t timeout) {
    int64_t now = monotonic();
    return timeout > INT64_MAX - now ? INT64_MAX : now + timeout;
}

/* How often this process was forked off: a selector belongs to the process that opened it. A lock
 * may have been held, by a thread that is no more, when the child was made; so it asks before it
 * locks. */
static atomic_uint forks;

static void count_fork(void) {
    atomic_fetch_add(&forks, 1);
    nesting_forget();
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned process_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    return atomic_load(&forks);
}

static bool is_forked(const selector *s) {
    return s->forks != atomic_load(&forks);
}

/* Opening and closing */

selector *selector_open(void) {
    selector *s = calloc(1, kernel_selector_size);
    if (!s)
        return NULL;
    int error = registrations_open(&s->all);
    if (error < 0) {
        free(s);
        errno = -error;
        return NULL;
    }
    timers_open(&s->timers);
    error = kernel_open(s);
    if (error < 0) {
        registrations_release(&s->all);
        free(s);
        errno = -error;
        return NULL;
    }
    atomic_store(&s->open, 1);
    s->forks = process_forks();
    nesting_open(s);
    return s;
}

/* Closing waits for nobody, and a number must not be closed under a system call that uses it: who
 * leaves last closes. */
int enter(selector *s) {
    if (is_forked(s))
        return -ECHILD;
    atomic_fetch_add(&s->using, 1);
    return atomic_load(&s->closed) ? -ESHUTDOWN : 0;
}

static void close_all(selector *s) {
    nesting_close(s);
    pthread_mutex_lock(&s->all.lock);
    for (uint32_t i = 1; i < s->all.extent; i++)
        if (s->all.at[i].kind == KIND_WAKER)
            waker_end(s, i);
    pthread_mutex_unlock(&s->all.lock);
    kernel_close(s);
}

void leave(selector *s) {
    if (atomic_fetch_sub(&s->using, 1) == 1 && atomic_load(&s->closed) &&
        atomic_exchange(&s->open, 0))
        close_all(s);
}

int lock(selector *s) {
    if (is_forked(s))
        return -ECHILD;
    pthread_mutex_lock(&s->all.lock);
    return 0;
}

int lock_open(selector *s) {
    int result = lock(s);
    if (result < 0 || !atomic_load(&s->closed))
        return result;
    pthread_mutex_unlock(&s->all.lock);
    return -ESHUTDOWN;
}

int unlock(selector *s, int result) {
    pthread_mutex_unlock(&s->all.lock);
    return result;
}

static int shut(selector *s) {
    atomic_store(&s->closed, 1);
    int result = atomic_load(&s->using) > 1 ? kernel_kick(s) : 0;
    if (result < 0)
        atomic_store(&s->closed, 0);
    return result;
}

/* A child's copy is closed without a word to the queue, which the parent goes on using. */
static void forget(selector *s) {
    atomic_store(&s->closed, 1);
    if (atomic_exchange(&s->open, 0))
        kernel_forget(s);
}

int selector_close(selector *s) {
    if (is_forked(s)) {
        forget(s);
        return 0;
    }
    pthread_mutex_lock(&s->all.lock);
    int result = enter(s) == 0 ? shut(s) : 0;
    pthread_mutex_unlock(&s->all.lock);
    leave(s);
    return result;
}

/* A child does not free what a lock guards: see is_forked. */
void release(selector *s) {
    if (is_forked(s) || !registrations_release(&s->all))
        return;
    timers_free(&s->timers);
    free(s);
}

void selector_free(selector *s) {
    selector_close(s);
    release(s);
}

int selector_is_closed(selector *s) {
    return atomic_load(&s->closed);
}

int selector_fd(selector *s) {
    int result = lock_open(s);
    if (result < 0)
        return result;
    result = timers_nest(s);
    if (result == 0)
        result = kernel_fd(s);
    if (result >= 0 && result != s->shown)
        nesting_show(s, result);
    return unlock(s, result);
}

/* Registering */

int registration_add(selector *s, change *c) {
    int64_t index = registration_new(&s->all, c->fd, c->token, c->interest, c->trigger);
    if (index < 0)
        return (int)index;
    if (c->is_plain)
        s->all.at[index].kind = KIND_PLAIN;
    int result = nesting_add(s, (uint32_t)index);
    if (result == 0)
        result = kernel_add(s, (uint32_t)index);
    if (result < 0) {
        bool is_queue = nesting_end(s, (uint32_t)index);
        registration_end(&s->all, (uint32_t)index);
        /* macOS: too deep, also by the order in which they were registered (kqueue_kqfilter). */
        return is_queue && result == -EINVAL && c->interest == INTEREST_READABLE ? -ELOOP : result;
    }
    /* The kernel took it, so what the tables have for this number was closed: R2. */
    const registration *stale = registration_of(&s->all, c->fd);
    if (stale && stale->kind == KIND_WAKER) {
        waker_lose(s, index_of(&s->all, stale));
    } else if (stale) {
        c->gone = id_of(&s->all, index_of(&s->all, stale));
        nesting_end(s, c->gone.index);
        registration_end(&s->all, c->gone.index);
    }
    result = registration_map(&s->all, (uint32_t)index);
    if (result < 0) {
        kernel_delete(s, (uint32_t)index);
        nesting_end(s, (uint32_t)index);
        registration_end(&s->all, (uint32_t)index);
        return result;
    }
    c->made = id_of(&s->all, (uint32_t)index);
    return 0;
}

/* What the kernel has under this number is another file. */
static int drop(selector *s, change *c, uint32_t index, uint32_t generation) {
    c->gone = (registration_id){index, generation};
    nesting_end(s, index);
    registration_end(&s->all, index);
    return -ENOENT;
}

/* What a change is about. */
static registration *changed_by(selector *s, const change *c) {
    registration *r = c->is_watch ? registration_of(&s->all, c->fd) : source_of(&s->all, c->fd);
    return r && c->is_watch && r->kind != KIND_WATCH ? NULL : r;
}

static int reregister(selector *s, change *c) {
    registration *r = changed_by(s, c);
    if (!r)
        return -ENOENT;
    uint32_t index = index_of(&s->all, r);
    registration before = *r;
    registration_replace(r, c);
    int result = kernel_modify(s, index, &before);
    if (result == -ENOENT)
        return drop(s, c, index, before.generation);
    if (result < 0) {
        r->interest = before.interest;
        r->trigger = before.trigger;
        r->generation = before.generation;
        r->paused = before.paused;
        if (r->paused)
            kernel_pause(s, index);
        return result;
    }
    r->token = c->token;
    c->made = id_of(&s->all, index);
    return 0;
}

static int deregister(selector *s, change *c) {
    const registration *r = changed_by(s, c);
    if (!r)
        return -ENOENT;
    uint32_t index = index_of(&s->all, r);
    c->token = r->token;
    int result = kernel_delete(s, index);
    drop(s, c, index, r->generation);
    return result;
}

static int pause_one(selector *s, change *c) {
    registration *r = changed_by(s, c);
    if (!r)
        return -ENOENT;
    uint32_t index = index_of(&s->all, r), generation = r->generation;
    c->token = r->token;
    if (!r->paused) {
        registration_pause(r);
        int result = kernel_pause(s, index);
        if (result == -ENOENT)
            return drop(s, c, index, generation);
        if (result < 0) {
            r->paused = false;
            r->generation = generation;
            return result;
        }
    }
    c->made = id_of(&s->all, index);
    return 0;
}

static int resume(selector *s, change *c) {
    const registration *r = changed_by(s, c);
    if (!r)
        return -ENOENT;
    registration_resume(r, c);
    return reregister(s, c);
}

void change_one(selector *s, change *c) {
    c->made = c->gone = (registration_id){0, 0};
    if (c->timer) {
        timer_change(s, c);
        return;
    }
    switch (c->what) {
    case REGISTER:
        c->result = registration_add(s, c);
        break;
    case REREGISTER:
        c->result = reregister(s, c);
        break;
    case DEREGISTER:
        c->result = deregister(s, c);
        break;
    case PAUSE:
        c->result = pause_one(s, c);
        break;
    case RESUME:
        c->result = resume(s, c);
        break;
    }
}

int selector_apply(selector *s, change *changes, int n) {
    for (int i = 0; i < n; i++)
        if (changes[i].timer && changes[i].what == REGISTER)
            timer_let_go(s, changes[i].timer);
    int result = lock_open(s);
    if (result < 0)
        return result;
    kernel_apply(s, changes, n);
    return unlock(s, 0);
}

int selector_find(selector *s, int fd) {
    int result = lock(s);
    if (result < 0)
        return result;
    const registration *r = source_of(&s->all, fd);
    return unlock(s, r ? (int)index_of(&s->all, r) : -ENOENT);
}

int selector_view(selector *s, uint32_t index, registration_view *out) {
    int result = lock(s);
    if (result < 0)
        return result;
    if (index >= s->all.extent || s->all.at[index].kind == KIND_FREE ||
        s->all.at[index].kind == KIND_SPENT)
        return unlock(s, -ENOENT);
    const registration *r = &s->all.at[index];
    *out = (registration_view){.fd = r->fd,
                               .interest = r->interest & ~(uint32_t)INTEREST_HANGUP,
                               .trigger = r->trigger,
                               .paused = r->paused,
                               .armed = kernel_is_armed(r),
                               .token = r->token};
    if (r->kind == KIND_WATCH)
        watch_view(s, r, out);
    out->armed &= !r->paused;
    return unlock(s, 0);
}

int selector_token(selector *s, registration_id id, uint64_t *out) {
    int result = lock(s);
    if (result < 0)
        return result;
    const registration *r = id.index < s->all.extent ? &s->all.at[id.index] : NULL;
    if (!r || r->kind == KIND_FREE || r->generation != id.generation)
        return unlock(s, -ENOENT);
    *out = r->token;
    return unlock(s, 0);
}

int selector_stats(selector *s, stats *out) {
    int result = lock(s);
    if (result < 0)
        return result;
    *out = s->done;
    out->wakes_asked = atomic_load(&s->wakes);
    out->wakes_told = s->all.wakes_told;
    out->changes = atomic_load(&s->changes);
    out->registrations = s->all.live;
    out->registrations_most = s->all.most;
    uint32_t set = atomic_load(&s->timers.count), dead = s->timers.dead;
    out->timers = set > dead ? set - dead : 0;
    return unlock(s, 0);
}

void make_remark(selector *s, enum remarked what, const registration *r) {
    if (s->remarks_count == REMARKS_MAX) {
        s->remarks_lost++;
        return;
    }
    s->remarks[(s->remarks_first + s->remarks_count++) % REMARKS_MAX] =
        (remark){.what = what, .fd = r ? r->fd : -1, .token = r ? r->token : 0};
}

int selector_remark(selector *s, remark *out) {
    int result = lock(s);
    if (result < 0)
        return result;
    if (s->remarks_count) {
        *out = s->remarks[s->remarks_first++ % REMARKS_MAX];
        s->remarks_count--;
        return unlock(s, 1);
    }
    *out = (remark){.what = REMARK_MORE, .fd = (int)s->remarks_lost};
    s->remarks_lost = 0;
    return unlock(s, out->fd > 0);
}

int selector_check(selector *s) {
    int result = lock_open(s);
    return result < 0 ? result : unlock(s, 0);
}

/* Waiting */

#define SIGNALS_EVERY 1000
#define STALE_TURNS 64

batch *batch_new(selector *s, int capacity) {
    if (is_forked(s)) {
        errno = ECHILD;
        return NULL;
    }
    room *b = room_new(&s->all, s, capacity, kernel_place_size);
    return b ? &b->seen : NULL;
}

void batch_free(batch *seen) {
    room *b = (room *)seen;
    selector *s = b->owner;
    if (lock(s) == 0) {
        room_end_spent(&s->all, b);
        room_leave(&s->all, b);
        unlock(s, 0);
    }
    room_free(b);
    release(s);
}

/* (locked) Counts what a turn of a wait came to; `ends`: it was the last one. */
static void count_turn(selector *s, const room *b, int result, bool ends) {
    s->done.waits += b->places > 0;
    s->done.interrupts += result == -EINTR;
    s->done.polls += ends && result != -EINTR;
    s->done.timeouts += ends && result == 0;
    s->done.events += result > 0 ? (uint64_t)result : 0;
}

static int wait_open(selector *s, room *b, int64_t timeout) {
    if (b->seen.spent_count) {
        pthread_mutex_lock(&s->all.lock);
        room_end_spent(&s->all, b);
        pthread_mutex_unlock(&s->all.lock);
    }
    int64_t deadline = timeout > 0 ? deadline_after(timeout) : 0;
    for (int turn = 1;; turn++) {
        b->places = b->capacity;
        int64_t limit = timers_any(s) ? timers_limit(s, b, timeout) : timeout;
        int n = b->places ? kernel_wait(s, b, limit) : 0;
        int result = n;
        if (timeout > 0) {
            timeout = deadline - monotonic();
            if (timeout < 0)
                timeout = 0;
        }
        b->seen.remaining = timeout;
        pthread_mutex_lock(&s->all.lock);
        b->seen.taken = 0;
        if (atomic_load(&s->closed)) {
            result = -ESHUTDOWN;
        } else if (n >= 0) {
            batch_begin(&s->all, b);
            if (n > 0)
                b->seen.taken = kernel_decode(s, b, n);
            timers_put(s, b);
            result = b->filled;
        }
        /* A batch of nothing but stale entries may have kept others out. */
        bool ends = result || (timeout == 0 && (n < b->places || turn > STALE_TURNS));
        count_turn(s, b, result, ends);
        pthread_mutex_unlock(&s->all.lock);
        if (ends)
            return result;
        /* While they come in a row no signal can interrupt the kernel. */
        if (turn % SIGNALS_EVERY == 0)
            return -EINTR;
    }
}

int selector_wait(batch *seen, int64_t timeout) {
    room *b = (room *)seen;
    selector *s = b->owner;
    int result = enter(s);
    if (result == 0)
        result = wait_open(s, b, timeout);
    if (result != -ECHILD)
        leave(s);
    return result;
}

uint8_t socket_kind(int fd) {
    int type;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
        return KIND_OTHER;
    return type == SOCK_STREAM || type == SOCK_SEQPACKET ? KIND_STREAM : KIND_DATAGRAM;
}

/* Each becomes ready again as after a reregistration, if it still is, and what waits elsewhere sees
 * it. */
static void put_back(selector *s, uint64_t entry) {
    uint32_t index = (uint32_t)entry & REGISTRATIONS_MAX;
    const registration *r =
        registration_at(&s->all, key_of(index, (uint32_t)(entry >> ENTRY_GENERATION)));
    if (!r)
        return;
    const registration before = *r;
    if (r->kind == KIND_WAKER)
        kernel_wake_again(s, r);
    else if (r->kind == KIND_TIMER || r->kind == KIND_SPENT)
        timer_put_back(s, index);
    else if (r->kind == KIND_WATCH)
        watch_put_back(s, index);
    else if (r->trigger)
        kernel_modify(s, index, &before); /* where it fails it is closed, or another file */
}

int selector_put_back(batch *seen) {
    room *b = (room *)seen;
    int result = lock_open(b->owner);
    if (result < 0)
        return result;
    for (int i = 0; i < b->filled; i++)
        put_back(b->owner, b->seen.ready[i]);
    room_end_spent(&b->owner->all, b);
    return unlock(b->owner, 0);
}

void name_bits(raw_field *field, const bit_name *names, size_t count) {
    int64_t rest = field->number;
    size_t used = 0;
    field->text[0] = 0;
    for (size_t i = 0; i < count; i++) {
        if (!(rest & names[i].bit))
            continue;
        rest &= ~names[i].bit;
        used += (size_t)snprintf(field->text + used, sizeof field->text - used, "%s%s",
                                 used ? "|" : "", names[i].name);
    }
    if (rest && used)
        snprintf(field->text + used, sizeof field->text - used, "|%#llx", (unsigned long long)rest);
    else if (!used)
        snprintf(field->text, sizeof field->text, rest ? "%#llx" : "%llu",
                 (unsigned long long)rest);
}

int selector_raw(batch *b, int i, raw_field *fields, int room_for) {
    return i < 0 || i >= b->taken ? -EINVAL : kernel_raw((room *)b, i, fields, room_for);
}

const selector_calls *selector_functions(void) {
    static const selector_calls functions = {
        selector_open,     selector_free,     selector_apply, batch_new,      batch_free,
        selector_wait,     selector_put_back, selector_token, selector_raw,   timer_set,
        timer_expirations, timer_look,        watch_free,     selector_remark};
    return &functions;
}
