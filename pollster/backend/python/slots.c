/* What stands for a registration in Python: its slot, and the Events that were made for it. */
#include "python.h"

static bool is_newer(uint32_t generation, uint32_t than) {
    return (int32_t)(generation - than) > 0;
}

static int reserve_slots(SelectorObject *self, uint32_t wanted) {
    if (wanted <= self->extent)
        return 0;
    uint32_t extent = wanted + wanted / 8;
    slot *slots = PyMem_Realloc(self->slots, extent * sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    while (self->extent < extent)
        slots[self->extent++] = (slot){.token = NULL};
    self->slots = slots;
    return 0;
}

/* The kernel side gives an index that was not given before only while all lower ones are in use. So
 * of those above the highest that was noted, each one is promised. */
int promise(SelectorObject *self, uint32_t count) {
    uint64_t wanted = (uint64_t)self->highest + self->promised + count + 1;
    if (reserve_slots(self,
                      (uint32_t)(wanted > REGISTRATIONS_MAX ? REGISTRATIONS_MAX + 1 : wanted)) < 0)
        return -1;
    self->promised += count;
    return 0;
}

void settle(SelectorObject *self, uint32_t count) {
    self->promised -= count;
}

/* Lets go of what a slot held, when nothing finds it there any more: this may run any code. */
static void release(slot held) {
    while (held.others) {
        other *o = held.others;
        held.others = o->next;
        Py_DECREF(o->event);
        PyMem_Free(o);
    }
    Py_XDECREF(held.event);
    Py_XDECREF(held.token);
    Py_XDECREF(held.source);
}

static void empty_slot(SelectorObject *self, uint32_t index, uint32_t generation) {
    slot held = self->slots[index];
    self->slots[index] = (slot){.generation = generation};
    release(held);
}

/* Puts another source into a slot; returns what is to be released. Events have nothing of it, and
 * stay; pairs have it in them. */
static slot replace_source(const SelectorObject *self, slot *s, PyObject *source) {
    slot held = {.source = s->source};
    s->source = Py_XNewRef(source);
    if (self->has_pairs) {
        held.event = s->event;
        held.others = s->others;
        s->event = NULL;
        s->others = NULL;
        s->readiness = 0;
    }
    return held;
}

void drop_source(SelectorObject *self, uint32_t index) {
    slot held = replace_source(self, &self->slots[index], NULL);
    release(held);
}

/* Notes that a registration has ended. */
void forget(SelectorObject *self, registration_id gone) {
    if (gone.index && gone.index < self->extent &&
        !is_newer(self->slots[gone.index].generation, gone.generation))
        empty_slot(self, gone.index, gone.generation);
}

/* Notes what is registered; where a thread that ended it was faster, nothing, and where one that
 * closed the selector was, no source. */
void keep(SelectorObject *self, registration_id made, PyObject *source, PyObject *token) {
    if (made.index >= self->extent)
        return; /* nobody promised it */
    slot *s = &self->slots[made.index];
    slot before = {.token = NULL};
    if (made.index > self->highest)
        self->highest = made.index;
    if (self->ended)
        source = NULL;
    if (is_newer(made.generation, s->generation)) {
        before = *s;
        *s = (slot){
            .generation = made.generation, .source = Py_XNewRef(source), .token = Py_NewRef(token)};
    } else if (s->token && s->generation == made.generation && s->source != source) {
        before = replace_source(self, s, source);
    }
    release(before);
}

void renew(SelectorObject *self, registration_id made) {
    if (made.index < self->extent && self->slots[made.index].token &&
        is_newer(made.generation, self->slots[made.index].generation))
        self->slots[made.index].generation = made.generation;
}

/* Also where the source was let go of already. */
void renew_source(SelectorObject *self, registration_id made, PyObject *source) {
    renew(self, made);
    slot *s = made.index < self->extent ? &self->slots[made.index] : NULL;
    if (s && s->token && s->generation == made.generation && !s->source && !self->ended)
        s->source = Py_NewRef(source);
}

static slot *spent_slot(SelectorObject *self, registration_id id) {
    slot *s = id.index < self->extent ? &self->slots[id.index] : NULL;
    return s && s->token && s->generation == id.generation ? s : NULL;
}

PyObject *let_go_spent(SelectorObject *self, const batch *b) {
    PyObject *list = PyList_New(b->spent_count);
    if (!list)
        PyErr_Clear();
    for (int i = 0; list && i < b->spent_count; i++) {
        slot *s = spent_slot(self, b->spent[i]);
        PyObject *source = s && s->source ? s->source : Py_NewRef(Py_None);
        if (source != Py_None)
            s->source = NULL;
        PyList_SetItem(list, i, source);
    }
    return list;
}

void keep_spent(SelectorObject *self, const batch *b, PyObject *list) {
    for (int i = 0; i < b->spent_count && !self->ended; i++) {
        PyObject *source = PyList_GetItem(list, i);
        slot *s = spent_slot(self, b->spent[i]);
        if (s && !s->source && source != Py_None)
            s->source = Py_NewRef(source);
    }
}

void renew_paused(SelectorObject *self, const change *c, PyObject *source) {
    const slot *s = &self->slots[c->made.index];
    if (s->token && s->source &&
        (s->generation == c->made.generation || s->generation + 1 == c->made.generation)) {
        renew(self, c->made);
        return;
    }
    PyObject *token = PyLong_FromUnsignedLongLong(c->token);
    if (token)
        keep(self, c->made, source, token);
    else
        PyErr_Clear(); /* who meets its next event notes it: catch_up() */
    Py_XDECREF(token);
}

/* Another thread has registered, its event is here, and it has not come to note that: so it is
 * noted here, but for the source. */
static int catch_up(SelectorObject *self, registration_id id) {
    uint64_t token;
    if (self->calls->token(self->selector, id, &token) < 0)
        return 0;
    PyObject *number = PyLong_FromUnsignedLongLong(token);
    if (!number || reserve_slots(self, id.index + 1) < 0) {
        Py_XDECREF(number);
        return -1;
    }
    slot before = self->slots[id.index];
    self->slots[id.index] = (slot){.generation = id.generation, .token = number};
    release(before);
    return 0;
}

slot *slot_of(SelectorObject *self, uint64_t entry) {
    registration_id id = {(uint32_t)entry & REGISTRATIONS_MAX,
                          (uint32_t)(entry >> ENTRY_GENERATION)};
    if ((id.index >= self->extent || is_newer(id.generation, self->slots[id.index].generation)) &&
        (catch_up(self, id) < 0 || id.index >= self->extent))
        return NULL;
    slot *s = &self->slots[id.index];
    return s->generation == id.generation && s->token ? s : NULL;
}

/* Events */

static PyObject *known_event(slot *s, uint32_t readiness) {
    for (other *o = s->others; o; o = o->next) {
        if (o->readiness != readiness)
            continue;
        other last = *o;
        o->readiness = s->readiness;
        o->event = s->event;
        s->readiness = last.readiness;
        s->event = last.event;
        return Py_NewRef(s->event);
    }
    return NULL;
}

/* Where there is no memory it will be made anew. */
static void remember(slot *s, uint32_t readiness, PyObject *event) {
    if (s->event) {
        other *o = PyMem_Malloc(sizeof *o);
        if (!o)
            return;
        *o = (other){s->others, s->event, s->readiness};
        s->others = o;
    }
    s->event = Py_NewRef(event);
    s->readiness = readiness;
}

void prefetch_event(const SelectorObject *self, uint64_t entry) {
    uint32_t index = (uint32_t)entry & REGISTRATIONS_MAX;
    if (index >= self->extent)
        return;
    const slot *s = &self->slots[index];
    __builtin_prefetch(s->event ? s->event : s->token, 1);
    if (!s->event)
        __builtin_prefetch(s->source, 1);
}

static PyObject *make_event(const module_state *state, PyObject *number, PyObject *source,
                            uint32_t readiness) {
    (void)source;
    PyObject *token = new_token(state, number);
    PyObject *event = token ? new_event(state, token, readiness) : NULL;
    Py_XDECREF(token);
    return event;
}

PyObject *tell_anew(SelectorObject *self, uint64_t entry, uint32_t readiness, maker make) {
    slot *s = slot_of(self, entry);
    PyObject *event = s ? known_event(s, readiness) : NULL;
    if (event || !s)
        return event;
    PyObject *token = Py_NewRef(s->token), *source = Py_XNewRef(s->source);
    event = make(self->state, token, source, readiness);
    s = event ? slot_of(self, entry) : NULL; /* memory may have moved, and finalizers have run */
    if (!s)
        Py_CLEAR(event);
    else if (s->readiness != readiness && s->source == source)
        remember(s, readiness, event);
    Py_DECREF(token);
    Py_XDECREF(source);
    return event;
}

PyObject *event_of(SelectorObject *self, uint64_t entry) {
    uint32_t readiness = (uint32_t)(entry >> ENTRY_READINESS) & READY_MASK;
    const slot *s = slot_of(self, entry);
    if (!s)
        return NULL;
    return s->readiness == readiness ? Py_NewRef(s->event)
                                     : tell_anew(self, entry, readiness, make_event);
}

void forget_all(SelectorObject *self) {
    for (uint32_t i = 0; i < self->extent; i++)
        empty_slot(self, i, self->slots[i].generation);
}
