/* Many changes in one system call.
 *
 * They are gathered, with EV_RECEIPT, so that the kernel says of each how it went. One that was
 * refused is undone and made again alone, since only changes.c knows what a refusal means.
 * What wants a look first (a number that may have been reused, a hung-up pipe) is made alone. */
#include "kqueue.h"

#define LIST_MAX 7 /* entries that one change takes */

typedef struct {
    change *c;
    registration before; /* REREGISTER: as it was */
    uint32_t index;
    int first; /* of its entries */
    int count;
} gathered;

typedef struct {
    selector *s;
    struct kevent *list;
    int filled;
    gathered *queue;
    int queued;
    int told; /* how many receipts the kernel gave; -1: it failed, and what it did is not known */
} gathering;

static gathered *begin(gathering *g, change *c, uint32_t index) {
    registration *r = &g->s->all.at[index];
    gathered *one = &g->queue[g->queued++];
    *one = (gathered){.c = c, .before = *r, .index = index, .first = g->filled};
    r->state |= GATHERED;
    return one;
}

static void put(gathering *g, gathered *one, unsigned on, unsigned flags) {
    g->list[g->filled++] = change_for(g->s, one->index, on, flags | EV_RECEIPT);
    one->count++;
}

/* Whether the kernel can't do it at all. */
static bool lacks_priority(const change *c) {
    return c->interest & INTEREST_PRIORITY && !quirk_tells_priority();
}

/* These gather a change and return true, or leave it to be made alone. */

static bool gather_register(gathering *g, change *c) {
    registrations *t = &g->s->all;
    if (registration_of(t, c->fd) || lacks_priority(c) || nesting_may_be(c->fd))
        return false;
    int64_t index = registration_new(t, c->fd, c->token, c->interest, c->trigger);
    if (index < 0)
        return false;
    registration *r = &t->at[index];
    if (c->is_plain)
        r->kind = KIND_PLAIN;
    if (kq_look_at(r) < 0 || r->kind == KIND_QUEUE || registration_map(t, (uint32_t)index) < 0) {
        registration_end(t, (uint32_t)index);
        return false;
    }
    gathered *one = begin(g, c, (uint32_t)index);
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        if (kq_knotes(r) & on)
            put(g, one, on, flags_for(r, on));
    return true;
}

static bool gather_reregister(gathering *g, change *c) {
    registration *r = source_of(&g->s->all, c->fd);
    if (!r || r->state & (HUNG | STALE) || lacks_priority(c))
        return false;
    gathered *one = begin(g, c, index_of(&g->s->all, r));
    unsigned have = r->state & KNOTES;
    registration_replace(r, c);
    r->token = c->token;
    if (is_unchanged(r, &one->before))
        return true;
    put(g, one, first_of(have), 0); /* is the number still this file's? */
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1) {
        if (have & on && (!(kq_knotes(r) & on) || kq_is_fresh(r, &one->before, on)))
            put(g, one, on, EV_DELETE);
        if (kq_knotes(r) & on)
            put(g, one, on, flags_for(r, on));
    }
    return true;
}

static bool gather_pause(gathering *g, change *c) {
    registration *r = source_of(&g->s->all, c->fd);
    if (!r || r->paused || r->state & (HUNG | STALE))
        return false;
    gathered *one = begin(g, c, index_of(&g->s->all, r));
    registration_pause(r);
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        if (r->state & on) {
            put(g, one, on, EV_DELETE);
            put(g, one, on, kq_paused_flags(r, on));
        }
    return true;
}

static bool gather_resume(gathering *g, change *c) {
    const registration *r = source_of(&g->s->all, c->fd);
    if (!r)
        return false;
    registration_resume(r, c);
    return gather_reregister(g, c);
}

static bool gather_deregister(gathering *g, change *c) {
    registration *r = source_of(&g->s->all, c->fd);
    if (!r || r->state & (HUNG | STALE))
        return false;
    gathered *one = begin(g, c, index_of(&g->s->all, r));
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1)
        if (r->state & on)
            put(g, one, on, EV_DELETE);
    return true;
}

static bool gather(gathering *g, change *c) {
    c->made = c->gone = (registration_id){0, 0};
    c->result = 0;
    if (c->timer)
        return false;
    switch (c->what) {
    case REGISTER:
        return gather_register(g, c);
    case REREGISTER:
        return gather_reregister(g, c);
    case DEREGISTER:
        return gather_deregister(g, c);
    case PAUSE:
        return gather_pause(g, c);
    case RESUME:
        return gather_resume(g, c);
    }
    return false;
}

/* How many of its entries the kernel has taken. */
static int taken(const gathering *g, const gathered *one) {
    int count = 0;
    for (int i = one->first; i < one->first + one->count && i < g->told; i++)
        count += g->list[i].data == 0;
    return count;
}

/* Makes the knotes what they were: none where the number is another file's by now. */
static void undo(gathering *g, const gathered *one) {
    registration *r = &g->s->all.at[one->index];
    unsigned want = kq_knotes(r), had = one->before.state & KNOTES;
    bool same = g->told < 0 || (g->told > one->first && g->list[one->first].data == 0);
    *r = one->before;
    for (unsigned on = ON_READ; on <= ON_EXCEPT; on <<= 1) {
        struct kevent delete = change_for(g->s, one->index, on, EV_DELETE),
                      add = change_for(g->s, one->index, on, flags_for(r, on));
        if (want & on)
            apply(g->s, &delete, 1);
        if (same && had & on && apply(g->s, &add, 1) < 0)
            r->state &= (uint16_t)~on;
    }
}

static void settle_register(gathering *g, gathered *one) {
    registration *r = &g->s->all.at[one->index];
    if (taken(g, one) == one->count) {
        r->state |= (uint16_t)kq_knotes(r);
        one->c->made = id_of(&g->s->all, one->index);
        return;
    }
    undo(g, one);
    registration_end(&g->s->all, one->index);
    change_one(g->s, one->c);
}

static void settle_reregister(gathering *g, gathered *one) {
    registration *r = &g->s->all.at[one->index];
    if (taken(g, one) == one->count) {
        r->state = (uint16_t)((r->state & LASTING) | kq_knotes(r));
        one->c->made = id_of(&g->s->all, one->index);
        return;
    }
    undo(g, one);
    change_one(g->s, one->c);
}

static void settle_pause(gathering *g, gathered *one) {
    registration *r = &g->s->all.at[one->index];
    if (taken(g, one) == one->count) {
        r->state |= DISARMED;
        one->c->token = r->token;
        one->c->made = id_of(&g->s->all, one->index);
        return;
    }
    undo(g, one);
    change_one(g->s, one->c);
}

static void settle_deregister(gathering *g, gathered *one) {
    if (g->told < 0)
        kernel_delete(g->s, one->index);
    else if (taken(g, one) == 0)
        one->c->result = kq_explain_missing(g->s, one->index);
    one->c->gone = id_of(&g->s->all, one->index);
    one->c->token = g->s->all.at[one->index].token;
    nesting_end(g->s, one->index);
    registration_end(&g->s->all, one->index);
}

static void flush(gathering *g) {
    const struct timespec at_once = {0, 0};
    g->told = 0;
    if (g->filled) {
        count_change(g->s);
        g->told = kevent(g->s->fd, g->list, g->filled, g->list, g->filled, &at_once);
    }
    for (int i = 0; i < g->queued; i++) {
        gathered *one = &g->queue[i];
        g->s->all.at[one->index].state &= (uint16_t)~GATHERED;
        switch (one->c->what) {
        case REGISTER:
            settle_register(g, one);
            break;
        case REREGISTER:
        case RESUME:
            settle_reregister(g, one);
            break;
        case DEREGISTER:
            settle_deregister(g, one);
            break;
        case PAUSE:
            settle_pause(g, one);
            break;
        }
    }
    g->filled = g->queued = 0;
}

void kernel_apply(selector *s, change *changes, int n) {
    gathering g = {.s = s};
    if (n > 1) {
        g.list = malloc((size_t)n * LIST_MAX * sizeof *g.list);
        g.queue = malloc((size_t)n * sizeof *g.queue);
    }
    for (int i = 0; i < n; i++) {
        const registration *r = registration_of(&s->all, changes[i].fd);
        if (r && r->state & GATHERED)
            flush(&g);
        if (!g.list || !g.queue || !gather(&g, &changes[i]))
            change_one(s, &changes[i]);
    }
    flush(&g);
    free(g.list);
    free(g.queue);
}
