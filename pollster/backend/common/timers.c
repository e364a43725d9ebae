/* Timers: many deadlines over one timer of the kernel, which is only there for those who wait or
 * look already when a deadline is set. A wait that begins later ends in time by itself, so a
 * program of one thread makes no system call for its timers. */
#include "kernel.h"

/* What is set already stays so where this fails. */
static int arm(selector *s, int64_t deadline) {
    timers *t = &s->timers;
    if (t->armed == deadline)
        return 0;
    int result = kernel_set_timer(s, deadline);
    if (result == 0)
        t->armed = deadline;
    return result;
}

/* Who has the descriptor sees it readable while something is due, and not else. */
static int show(selector *s) {
    timers_settle(&s->timers);
    return arm(s, timers_next(&s->timers));
}

/* Before a deadline is set: all who wait will see it. They end their waits by themselves when what
 * was set before comes. */
static int announce(selector *s, int64_t deadline) {
    bool seen = s->timers.nested || atomic_load(&s->using) > 0;
    return seen && deadline < timers_next(&s->timers) ? arm(s, deadline) : 0;
}

/* Who begins to wait meanwhile, and finds the heap empty, has not asked for the lock: either it
 * was seen to be there, or it sees that something is coming, and asks. */
static int set(selector *s, uint32_t index, int64_t deadline, int64_t period) {
    timers *t = &s->timers;
    if (t->at[index].held)
        return timers_set(t, index, deadline, period);
    bool first = !atomic_load(&t->count);
    if (first)
        atomic_store(&t->coming, true);
    int result = announce(s, deadline);
    if (result == 0)
        result = timers_set(t, index, deadline, period);
    if (first)
        atomic_store(&t->coming, false);
    return result;
}

/* After deadlines went, or came later. Where it fails the queue is ready too early, which the next
 * wait sees to. */
static void retract(selector *s) {
    if (s->timers.nested)
        show(s);
}

int timers_nest(selector *s) {
    int result = show(s);
    if (result == 0)
        s->timers.nested = true;
    return result;
}

/* Registering */

static void leave_tables(const selector *s, timer *t) {
    const timer_state *state = &s->timers.at[t->made.index];
    t->deadline = state->deadline;
    t->period = state->period;
    t->expirations = state->expirations;
}

/* One for a single use that was reported: it is not registered any more, unless its event was not
 * read (`unread` says whether that counts). Its place may be another's by now. */
static void catch_up(selector *s, timer *t, bool unread) {
    const registration *r = &s->all.at[t->made.index];
    bool same = r->generation == t->made.generation;
    if (!t->once || (same && r->kind == KIND_TIMER) ||
        (same && r->kind == KIND_SPENT && unread && is_unread(&s->all, r)))
        return;
    if (same && r->kind == KIND_SPENT) {
        leave_tables(s, t);
    } else {
        t->deadline = NEVER;
        t->period = 0;
        t->expirations = !(t->once & ONCE_COUNTED);
    }
    t->owner = NULL;
}

void timer_let_go(const selector *s, timer *t) {
    selector *owner = t->owner;
    if (!owner || owner == s || !t->once || lock_open(owner) < 0)
        return;
    if (t->owner == owner)
        catch_up(owner, t, false);
    unlock(owner, 0);
}

/* Its event was not read, and it is to be changed: it is registered as before. */
static void revive(selector *s, const timer *t) {
    registration_unspend(&s->all, t->made.index);
}

/* A timer may leave a selector that was closed without a word to it. */
static int leave_closed(timer *t) {
    selector *s = t->owner;
    if (!s)
        return 0;
    if (!atomic_load(&s->closed))
        return s->forks == process_forks() ? -EEXIST : -ECHILD;
    if (lock(s) == 0) {
        leave_tables(s, t);
        unlock(s, 0);
    }
    t->owner = NULL;
    return 0;
}

static int add(selector *s, timer *t, const change *c) {
    int64_t index = registration_new(&s->all, -1, c->token, c->interest, c->trigger);
    if (index < 0)
        return (int)index;
    s->all.at[index].kind = KIND_TIMER;
    int result = timers_reserve(&s->timers, (uint32_t)index);
    if (result == 0)
        result = set(s, (uint32_t)index, t->deadline, t->period);
    if (result < 0) {
        registration_end(&s->all, (uint32_t)index);
        retract(s);
        return result;
    }
    s->timers.at[index].expirations = t->expirations;
    s->timers.at[index].once = t->once != 0;
    t->once &= ONCE_IS;
    t->made = id_of(&s->all, (uint32_t)index);
    t->owner = s;
    return 0;
}

/* What was due meanwhile, or was reported and not read, comes now. */
static int resume(selector *s, uint32_t index) {
    timer_state *state = &s->timers.at[index];
    const timer_state was = *state;
    if (!was.held)
        return 0;
    state->held = false;
    state->deadline = NEVER;
    int result = set(s, index, was.deadline, was.period);
    if (result < 0) {
        *state = was;
        return result;
    }
    state->expirations = was.expirations;
    retract(s);
    return 0;
}

static int replace(selector *s, timer *t, const change *c) {
    registration *r = &s->all.at[t->made.index];
    int result = resume(s, t->made.index);
    if (result < 0)
        return result;
    registration_replace(r, c);
    r->token = c->token;
    t->made = id_of(&s->all, t->made.index);
    return 0;
}

static void pause_timer(selector *s, timer *t) {
    registration *r = &s->all.at[t->made.index];
    if (r->paused)
        return;
    timers_hold(&s->timers, t->made.index);
    if (is_unread(&s->all, r))
        timers_take_back(&s->timers, t->made.index, monotonic());
    registration_pause(r);
    t->made = id_of(&s->all, t->made.index);
    retract(s);
}

static void end(selector *s, timer *t) {
    leave_tables(s, t);
    timers_cancel(&s->timers, t->made.index);
    registration_end(&s->all, t->made.index);
    t->owner = NULL;
    retract(s);
}

/* What was reported and not read is told once, by the next wait, under whatever token. */
static void prepare(selector *s, timer *t, const change *c) {
    registration *r = &s->all.at[t->made.index];
    if (r->kind != KIND_SPENT)
        return;
    revive(s, t);
    if (c->what != REREGISTER && c->what != RESUME)
        return;
    next_generation(r);
    t->made = id_of(&s->all, t->made.index);
    timers_hold(&s->timers, t->made.index);
    timers_take_back(&s->timers, t->made.index, monotonic());
}

void timer_change(selector *s, change *c) {
    timer *t = c->timer;
    c->result = 0;
    if (t->owner == s)
        catch_up(s, t, c->what != REGISTER);
    if (t->owner == s && c->what != REGISTER)
        prepare(s, t, c);
    if (c->what == REGISTER) {
        c->result = leave_closed(t);
        if (c->result == 0)
            c->result = add(s, t, c);
    } else if (t->owner != s) {
        c->result = -ENOENT;
    } else if (c->what == DEREGISTER) {
        c->gone = t->made;
        c->token = s->all.at[t->made.index].token;
        end(s, t);
        return;
    } else {
        const registration *r = &s->all.at[t->made.index];
        if (c->what != REREGISTER)
            registration_resume(r, c);
        if (c->what == PAUSE)
            pause_timer(s, t);
        else
            c->result = replace(s, t, c);
    }
    if (c->result == 0)
        c->made = t->made;
}

/* Its last occurrence is still to come, and is counted then. */
void timer_put_back(selector *s, uint32_t index) {
    timer_state *state = &s->timers.at[index];
    uint64_t counted = state->expirations;
    int64_t deadline = state->period ? state->deadline - state->period : monotonic();
    if (set(s, index, deadline, state->period) < 0)
        return;
    registration_unspend(&s->all, index);
    if (counted)
        s->timers.at[index].expirations = counted - 1;
}

/* Setting and asking */

/* Takes the lock, with `take`, of whose timer it is; -ENOENT: nobody's. */
static int hold(timer *t, int (*take)(selector *)) {
    selector *s = t->owner;
    int result = s ? take(s) : -ENOENT;
    if (result < 0)
        return result;
    if (t->owner == s)
        catch_up(s, t, true);
    return t->owner == s ? 0 : unlock(s, -ENOENT); /* it was deregistered, or is over */
}

int timer_set(timer *t, int64_t deadline, int64_t period) {
    int result = hold(t, lock_open);
    if (result < 0)
        return result;
    selector *s = t->owner;
    revive(s, t);
    result = set(s, t->made.index, deadline, period);
    if (result == 0) {
        registration *r = &s->all.at[t->made.index];
        if (r->batch)
            next_generation(r);
        r->batch = 0;
        t->made = id_of(&s->all, t->made.index);
        t->deadline = deadline;
        t->period = period;
    }
    retract(s);
    return unlock(s, result);
}

int64_t timer_expirations(timer *t) {
    int result = hold(t, lock);
    if (result < 0)
        return result;
    selector *s = t->owner;
    uint64_t *counted = &s->timers.at[t->made.index].expirations;
    int64_t expirations = *counted > INT64_MAX ? INT64_MAX : (int64_t)*counted;
    *counted = 0;
    if (t->once && expirations)
        t->once |= ONCE_COUNTED;
    unlock(s, 0);
    return expirations;
}

int timer_look(timer *t) {
    int result = hold(t, lock);
    if (result < 0)
        return result;
    leave_tables(t->owner, t);
    return unlock(t->owner, 0);
}

/* Waiting */

/* In this order: see set(). */
bool timers_any(selector *s) {
    return atomic_load(&s->timers.coming) || atomic_load(&s->timers.count);
}

/* Where timers are due, up to half of the batch is theirs; with an odd place they take turns. */
int64_t timers_limit(selector *s, room *b, int64_t timeout) {
    timers *t = &s->timers;
    pthread_mutex_lock(&s->all.lock);
    timers_settle(t);
    int64_t next = timers_next(t);
    int64_t left = next == NEVER ? NEVER : next - monotonic();
    if (left <= 0) {
        uint32_t share = ((uint32_t)b->capacity + (t->turn++ & 1)) / 2;
        uint32_t count = atomic_load(&t->count);
        b->places = b->capacity - (int)(share < count ? share : count);
        left = 0;
    }
    pthread_mutex_unlock(&s->all.lock);
    return next == NEVER || (timeout >= 0 && timeout < left) ? timeout : left;
}

void timers_put(selector *s, room *b) {
    timers *t = &s->timers;
    if (!atomic_load(&t->count) && t->armed == NEVER)
        return;
    int64_t now = monotonic();
    while (b->filled < b->capacity) {
        timers_settle(t);
        if (timers_next(t) > now)
            break;
        registration *r = &s->all.at[t->heap[0].index];
        batch_put(&s->all, b, r, READY_READABLE);
        if (t->at[t->heap[0].index].once)
            room_spend(&s->all, b, r);
        timers_occur(t, now);
    }
    if (t->nested)
        show(s);
    else if (t->armed <= now) /* others who wait may not know of what was set since */
        arm(s, atomic_load(&s->using) > 1 ? timers_next(t) : NEVER);
}
