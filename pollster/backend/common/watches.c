/* What is the same for all watches and all kernels: their lifetime, and registering. */
#include "watches.h"

static pthread_mutex_t all_watches = PTHREAD_MUTEX_INITIALIZER;

void lock_watches(void) {
    pthread_mutex_lock(&all_watches);
}

void unlock_watches(void) {
    pthread_mutex_unlock(&all_watches);
}

/* The lock is held over a fork, so that the child finds whole lists under it. */
static void leave_to_child(void) {
    signals_forget();
    unlock_watches();
}

static void watch_forks(void) {
    pthread_atfork(lock_watches, unlock_watches, leave_to_child);
}

/* Opening and closing */

static watch *watch_new(size_t size, const watch_calls *calls) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    watch *w = calloc(1, size);
    if (!w)
        return NULL;
    w->calls = calls;
    w->fd = w->primer = -1;
    w->forks = process_forks();
    int error = pthread_mutex_init(&w->lock, NULL);
    if (!error)
        return w;
    free(w);
    errno = error;
    return NULL;
}

static void free_memory(watch *w) {
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* Returns the watch, or NULL where it could not be opened. */
static watch *opened(watch *w, int result) {
    if (result == 0)
        result = w->calls->open(w);
    if (result == 0)
        return w;
    free_memory(w);
    errno = -result;
    return NULL;
}

watch *watch_signals(const int *numbers, int n) {
    signals_watch *w = (signals_watch *)watch_new(sizeof *w, &kernel_signals);
    if (!w)
        return NULL;
    int result = n > SIGNAL_MAX ? -EINVAL : 0;
    for (int i = 0; i < n && result == 0; i++)
        if (numbers[i] < 1 || numbers[i] > SIGNAL_MAX)
            result = -EINVAL;
        else
            w->numbers[w->count++] = numbers[i];
    return opened(&w->common, result);
}

watch *watch_process(int pid) {
    process_watch *w = (process_watch *)watch_new(sizeof *w, &kernel_process);
    if (!w)
        return NULL;
    w->pid = pid;
    w->status = -1;
    return opened(&w->common, 0);
}

watch *watch_path(const char *path, uint32_t changes) {
    size_t length = strlen(path) + 1;
    path_watch *w = (path_watch *)watch_new(sizeof *w + length, &kernel_path);
    if (!w)
        return NULL;
    w->wanted = changes;
    w->file = w->parent = -1;
    memcpy(w->path, path, length);
    return opened(&w->common, 0);
}

static bool is_forked(const watch *w) {
    return w->forks != process_forks();
}

/* Forgets where it was registered. The caller has the lock of all watches. */
static void disown(watch *w) {
    if (w->owner)
        release(w->owner);
    w->owner = NULL;
}

static void deregister(watch *w) {
    change c = {.what = DEREGISTER, .fd = w->fd, .is_watch = true};
    if (!w->owner)
        return;
    if (lock_open(w->owner) == 0) {
        change_one(w->owner, &c);
        unlock(w->owner, 0);
    }
    disown(w);
}

int watch_close(watch *w) {
    bool forked = is_forked(w);
    if (!forked) {
        lock_watches();
        if (!w->closed)
            deregister(w);
        pthread_mutex_lock(&w->lock);
    }
    if (!w->closed)
        w->calls->close(w, forked);
    w->closed = true;
    if (!forked) {
        pthread_mutex_unlock(&w->lock);
        unlock_watches();
    }
    return 0;
}

/* A child does not free what a lock guards: see selector.c. */
void watch_free(watch *w) {
    bool forked = is_forked(w);
    watch_close(w);
    if (!forked)
        free_memory(w);
}

/* Registering */

/* Where it is registered: with no selector that was closed since. */
static bool is_registered(const watch *w) {
    return w->owner && !atomic_load(&w->owner->closed);
}

static int why_not(const watch *w, const selector *s, const change *c) {
    if (w->closed)
        return -EBADF;
    if (c->what == REGISTER && is_registered(w))
        return w->owner == s ? -EEXIST : -EBUSY;
    if (c->what != REGISTER && w->owner != s)
        return -ENOENT;
    return 0;
}

static int make_room(registrations *t) {
    return grow((void **)&t->watches, &t->room_watches, t->extent + 1, sizeof(watch *));
}

/* (locked) A registration like any other, but for its kind. */
static int apply_open(watch *w, selector *s, change *c) {
    bool keeps = c->trigger == TRIGGER_KEEP || c->what == RESUME;
    uint32_t trigger = keeps ? w->trigger : c->trigger;
    int result = why_not(w, s, c);
    if (result == 0)
        result = make_room(&s->all);
    if (result < 0)
        return result;
    c->fd = w->fd;
    c->is_plain = c->is_watch = true;
    c->interest = INTEREST_READABLE;
    c->trigger = TRIGGER_EDGE;
    pthread_mutex_lock(&w->lock);
    if (c->what != DEREGISTER && c->what != PAUSE)
        w->calls->renew(w, c->what == REGISTER);
    change_one(s, c);
    if (c->what == PAUSE) {
        w->made = c->made;
    } else if (c->made.index) {
        s->all.at[c->made.index].kind = KIND_WATCH;
        s->all.watches[c->made.index] = w;
        s->all.shares += c->what == REGISTER;
        w->made = c->made;
        w->trigger = trigger;
        w->disarmed = false;
    }
    pthread_mutex_unlock(&w->lock);
    return c->result;
}

int watch_apply(watch *w, selector *s, change *c) {
    if (is_forked(w))
        return -ECHILD;
    lock_watches();
    int result = lock_open(s);
    if (result == 0)
        result = unlock(s, apply_open(w, s, c));
    if (result == 0 && c->what == REGISTER) {
        disown(w);
        w->owner = s;
    } else if (c->what != REGISTER && c->gone.index) {
        disown(w);
    }
    unlock_watches();
    return result;
}

bool watch_has_news(selector *s, const registration *r) {
    watch *w = s->all.watches[index_of(&s->all, r)];
    pthread_mutex_lock(&w->lock);
    bool news = !w->disarmed && w->calls->look(w);
    w->disarmed |= news && w->trigger & TRIGGER_ONESHOT;
    pthread_mutex_unlock(&w->lock);
    return news;
}

void watch_view(selector *s, const registration *r, registration_view *out) {
    watch *w = s->all.watches[index_of(&s->all, r)];
    pthread_mutex_lock(&w->lock);
    out->trigger = w->trigger;
    out->armed = !w->disarmed;
    pthread_mutex_unlock(&w->lock);
}

void watch_put_back(selector *s, uint32_t index) {
    const registration before = s->all.at[index];
    watch *w = s->all.watches[index];
    pthread_mutex_lock(&w->lock);
    w->disarmed = false;
    w->calls->renew(w, false);
    kernel_modify(s, index, &before);
    pthread_mutex_unlock(&w->lock);
}

/* Taking */

static int lock_watch(watch *w) {
    if (is_forked(w))
        return -ECHILD;
    pthread_mutex_lock(&w->lock);
    if (w->closed) {
        pthread_mutex_unlock(&w->lock);
        return -EBADF;
    }
    return 0;
}

int watch_take_signals(watch *w, uint32_t counts[SIGNAL_MAX + 1]) {
    signals_watch *signals = (signals_watch *)w;
    int result = lock_watch(w);
    if (result < 0)
        return result;
    w->calls->look(w);
    for (int number = 0; number <= SIGNAL_MAX; number++)
        counts[number] = atomic_exchange(&signals->counts[number], 0);
    pthread_mutex_unlock(&w->lock);
    lock_watches();
    for (int i = 0; i < signals->count && !w->closed; i++)
        signal_stand_before(signals->numbers[i]);
    unlock_watches();
    return 0;
}

int watch_take_path(watch *w) {
    path_watch *path = (path_watch *)w;
    int result = lock_watch(w);
    if (result < 0)
        return result;
    w->calls->look(w);
    result = (int)path->pending;
    path->pending = 0;
    pthread_mutex_unlock(&w->lock);
    return result;
}

int watch_process_ended(watch *w, int *status) {
    process_watch *process = (process_watch *)w;
    int result = lock_watch(w);
    if (result < 0)
        return result;
    kernel_process_look(process);
    process->taken = process->ended;
    if (process->ended && !process->told)
        kernel_process_renew(process);
    result = process->ended;
    *status = process->status;
    pthread_mutex_unlock(&w->lock);
    return result;
}

/* A process ends once. */
bool process_look(watch *w) {
    process_watch *process = (process_watch *)w;
    kernel_process_look(process);
    bool news = process->ended && !process->told;
    process->told = process->ended;
    return news;
}

/* Who registers a process that has ended is told, also if somebody was told before. */
void process_renew(watch *w, bool fresh) {
    process_watch *process = (process_watch *)w;
    if (!process->ended || (!fresh && process->taken))
        return;
    process->told = false;
    kernel_process_renew(process);
}
