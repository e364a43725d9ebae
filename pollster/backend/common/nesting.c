/* Which selector is registered in which: a circle is refused before a kernel sees it, since some
 * take it and spin, or stop the machine.
 *
 * What is known is the number that a selector showed last, and what the kernel file knows of copies
 * (dup(2)). The lock is taken while a selector's is held, and held while nothing else is taken. */
#include "kernel.h"

struct nested {
    selector *inner;
    uint32_t index; /* of its registration */
    nested *next;
};

static pthread_mutex_t all_nested = PTHREAD_MUTEX_INITIALIZER;
static selector *first; /* of those that are open */

/* How many of them show a number like this: most sources are none of them, and take no lock. */
#define LIKES 256
static atomic_uint shown[LIKES];

static atomic_uint *like(int fd) {
    return &shown[(unsigned)fd % LIKES];
}

void nesting_show(selector *s, int fd) {
    pthread_mutex_lock(&all_nested);
    if (s->shown >= 0)
        atomic_fetch_sub(like(s->shown), 1);
    s->shown = fd;
    atomic_fetch_add(like(fd), 1);
    pthread_mutex_unlock(&all_nested);
}

void nesting_open(selector *s) {
    s->shown = -1;
    pthread_mutex_lock(&all_nested);
    s->next = first;
    first = s;
    pthread_mutex_unlock(&all_nested);
    nesting_show(s, s->fd);
}

/* Forgets what s has of one selector (NULL: of all), or at one index (0: at all). */
static bool forget(selector *s, const selector *inner, uint32_t index) {
    nested **link = &s->nested;
    bool any = false;
    while (*link) {
        nested *one = *link;
        if ((inner && one->inner != inner) || (index && one->index != index)) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        free(one);
        atomic_fetch_sub(&s->nested_count, 1);
        any = true;
    }
    return any;
}

void nesting_close(selector *s) {
    pthread_mutex_lock(&all_nested);
    selector **link = &first;
    while (*link && *link != s)
        link = &(*link)->next;
    if (*link) {
        *link = s->next;
        atomic_fetch_sub(like(s->shown), 1);
    }
    forget(s, NULL, 0);
    for (selector *outer = first; outer; outer = outer->next)
        forget(outer, s, 0);
    pthread_mutex_unlock(&all_nested);
}

/* A lock that another thread held when the child was made is not given back there. */
void nesting_forget(void) {
    pthread_mutex_init(&all_nested, NULL);
    first = NULL;
    for (int i = 0; i < LIKES; i++)
        atomic_store(&shown[i], 0);
}

static bool reaches(selector *from, const selector *to) {
    bool more = true;
    for (selector *s = first; s; s = s->next)
        s->is_reached = s->is_followed = false;
    from->is_reached = true;
    while (more && !to->is_reached) {
        more = false;
        for (selector *s = first; s; s = s->next) {
            if (!s->is_reached || s->is_followed)
                continue;
            s->is_followed = more = true;
            for (nested *one = s->nested; one; one = one->next)
                one->inner->is_reached = true;
        }
    }
    return to->is_reached;
}

static int note(selector *s, selector *inner, uint32_t index) {
    if (inner == s || reaches(inner, s))
        return -ELOOP;
    nested *one = malloc(sizeof *one);
    if (!one)
        return -ENOMEM;
    *one = (nested){inner, index, s->nested};
    s->nested = one;
    atomic_fetch_add(&s->nested_count, 1);
    return 0;
}

bool nesting_may_be(int fd) {
    return atomic_load(like(fd)) > 0;
}

int nesting_add(selector *s, uint32_t index) {
    int fd = s->all.at[index].fd, result = 0;
    if (!nesting_may_be(fd))
        return 0;
    pthread_mutex_lock(&all_nested);
    for (selector *inner = first; inner; inner = inner->next)
        if (inner->shown == fd) {
            result = note(s, inner, index);
            break;
        }
    pthread_mutex_unlock(&all_nested);
    return result;
}

int nesting_add_copy(selector *s, uint32_t index, bool (*is_copy)(selector *of, int fd)) {
    int fd = s->all.at[index].fd, result = 0;
    bool known = false;
    pthread_mutex_lock(&all_nested);
    for (const nested *one = s->nested; one; one = one->next)
        known |= one->index == index;
    for (selector *inner = first; inner && !known; inner = inner->next)
        if (is_copy(inner, fd)) {
            result = note(s, inner, index);
            break;
        }
    pthread_mutex_unlock(&all_nested);
    return result;
}

bool nesting_end(selector *s, uint32_t index) {
    if (atomic_load(&s->nested_count) == 0)
        return false;
    pthread_mutex_lock(&all_nested);
    bool any = forget(s, NULL, index);
    pthread_mutex_unlock(&all_nested);
    return any;
}
