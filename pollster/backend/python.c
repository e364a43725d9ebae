/* CPython's side of the hot path: wait, iterate, register.
 *
 * cffi calls every other function of the contract; these are called for each poll and each change,
 * where its price shows (an argument costs it about 45 ns). Here stand the Python objects that the
 * contract's numbers mean: one slot for each registration, with its source, its token and the
 * Events that were made for it. Errors, and arguments that are not the plain ones, are left to the
 * Python code above, so that it alone says what they mean.
 *
 * Slots are guarded by the GIL or, without it, by the Selector's critical section; no lock is held
 * while the kernel works. So what the kernel side did first may be noted second here: generations
 * tell. */
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include "selector.h"
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>

#ifdef Py_GIL_DISABLED
#define LOCK(object) Py_BEGIN_CRITICAL_SECTION(object)
#define LOCK2(one, other) Py_BEGIN_CRITICAL_SECTION2(one, other)
#define UNLOCK Py_END_CRITICAL_SECTION()
#define UNLOCK2 Py_END_CRITICAL_SECTION2()
#else
#define LOCK(object) {
#define LOCK2(one, other) {
#define UNLOCK }
#define UNLOCK2 }
#endif

#define NANOSECONDS 1000000000LL
#define UNFIT 1 /* the result of a change whose arguments want a closer look */

static PyTypeObject *token_type, *event_type, *interest_type, *trigger_type;
static PyTypeObject *ready_type, *iterator_type;
static PyObject
    *plain_types; /* a set: types with a fileno() and no methods to register themselves */
static PyObject *nanoseconds; /* a function: for timeouts that are not plain */
static PyObject *fileno_name;

/* Another Event of the same registration. */
typedef struct other {
    struct other *next;
    PyObject *event;
    uint32_t readiness;
} other;

typedef struct {
    uint32_t generation; /* the newest that was seen at this index */
    uint32_t readiness;  /* of `event` */
    PyObject *token;     /* NULL: nothing is registered */
    PyObject *source;    /* NULL: the selector was closed */
    PyObject *event;     /* that was told last; NULL: none */
    other *others;
} slot;

typedef struct {
    PyObject_HEAD const selector_calls *calls;
    selector *selector;
    slot *slots;
    uint32_t extent;
} SelectorObject;

/* The base of Events. */
typedef struct {
    PyObject_HEAD SelectorObject *selector; /* whose poll filled it last */
    batch *batch;
    int capacity;
    int count;
    uint32_t turn; /* how often it was filled or emptied: ends the iterators of earlier turns */
    bool waiting;
} ReadyObject;

typedef struct {
    PyObject_HEAD ReadyObject *ready;
    uint32_t turn;
    int position;
} IteratorObject;

/* Py_RETURN_NONE, as the headers of 3.12 and 3.13 have it, does not count the reference, and older
 * Pythons that run what was built with those do. */
static PyObject *none(void) {
    return Py_NewRef(Py_None);
}

static void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

/* Slots */

static bool is_newer(uint32_t generation, uint32_t than) {
    return (int32_t)(generation - than) > 0;
}

static int reserve_slot(SelectorObject *self, uint32_t index) {
    if (index < self->extent)
        return 0;
    uint32_t extent = index + 1 + index / 8;
    slot *slots = PyMem_Realloc(self->slots, extent * sizeof *slots);
    if (!slots)
        return -1;
    while (self->extent < extent)
        slots[self->extent++] = (slot){.token = NULL};
    self->slots = slots;
    return 0;
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

/* Notes that a registration has ended. */
static void forget(SelectorObject *self, registration_id gone) {
    if (gone.index && reserve_slot(self, gone.index) == 0 &&
        !is_newer(self->slots[gone.index].generation, gone.generation))
        empty_slot(self, gone.index, gone.generation);
}

/* Notes what is registered; where a thread that ended it was faster, nothing. */
static int keep(SelectorObject *self, registration_id made, PyObject *source, PyObject *token) {
    if (reserve_slot(self, made.index) < 0)
        return -1;
    slot *s = &self->slots[made.index];
    slot before = {.token = NULL};
    if (is_newer(made.generation, s->generation)) {
        before = *s;
        *s = (slot){
            .generation = made.generation, .source = Py_NewRef(source), .token = Py_NewRef(token)};
    } else if (s->token && s->generation == made.generation && s->source != source) {
        before.source = s->source;
        s->source = Py_NewRef(source);
    }
    release(before);
    return 0;
}

/* Another thread has registered, its event is here, and it has not come to note that: so it is
 * noted here, but for the source. */
static int catch_up(SelectorObject *self, registration_id id) {
    uint64_t token;
    if (self->calls->token(self->selector, id, &token) < 0)
        return 0;
    PyObject *number = PyLong_FromUnsignedLongLong(token);
    if (!number || reserve_slot(self, id.index) < 0) {
        Py_XDECREF(number);
        return -1;
    }
    slot before = self->slots[id.index];
    self->slots[id.index] = (slot){.generation = id.generation, .token = number};
    release(before);
    return 0;
}

/* The slot of an entry, or NULL where its registration has ended. */
static slot *slot_of(SelectorObject *self, uint64_t entry) {
    registration_id id = {(uint32_t)entry & REGISTRATIONS_MAX,
                          (uint32_t)(entry >> ENTRY_GENERATION)};
    if ((id.index >= self->extent || is_newer(id.generation, self->slots[id.index].generation)) &&
        (catch_up(self, id) < 0 || id.index >= self->extent))
        return NULL;
    slot *s = &self->slots[id.index];
    return s->generation == id.generation && s->token ? s : NULL;
}

/* Events */

static PyObject *new_event(PyObject *token, uint32_t readiness) {
    static const struct {
        const char *name;
        uint32_t bit;
    } predicates[] = {
        {"is_readable", READY_READABLE},         {"is_writable", READY_WRITABLE},
        {"is_priority", READY_PRIORITY},         {"is_read_closed", READY_READ_CLOSED},
        {"is_write_closed", READY_WRITE_CLOSED}, {"is_error", READY_ERROR},
    };
    PyObject *event = ((allocfunc)PyType_GetSlot(event_type, Py_tp_alloc))(event_type, 0);
    if (!event)
        return NULL;
    token = Py_IS_TYPE(token, token_type)
                ? Py_NewRef(token)
                : PyObject_CallFunctionObjArgs((PyObject *)token_type, token, NULL);
    PyObject *name = PyUnicode_InternFromString("token");
    /* The generic way, which a frozen class leaves open. */
    int result = token && name ? PyObject_GenericSetAttr(event, name, token) : -1;
    Py_XDECREF(token);
    Py_XDECREF(name);
    for (size_t i = 0; i < sizeof predicates / sizeof *predicates && result == 0; i++) {
        name = PyUnicode_InternFromString(predicates[i].name);
        result = name ? PyObject_GenericSetAttr(event, name,
                                                readiness & predicates[i].bit ? Py_True : Py_False)
                      : -1;
        Py_XDECREF(name);
    }
    if (result == 0)
        return event;
    Py_DECREF(event);
    return NULL;
}

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

static int add_event(slot *s, uint32_t readiness, PyObject *event) {
    if (s->event) {
        other *o = PyMem_Malloc(sizeof *o);
        if (!o)
            return -1;
        *o = (other){s->others, s->event, s->readiness};
        s->others = o;
    }
    s->event = Py_NewRef(event);
    s->readiness = readiness;
    return 0;
}

/* The Event of an entry, made when it is told for the first time. NULL without an exception: its
 * registration has ended. */
static PyObject *event_of(SelectorObject *self, uint64_t entry) {
    uint32_t readiness = (uint32_t)(entry >> ENTRY_READINESS) & READY_MASK;
    slot *s = slot_of(self, entry);
    if (!s)
        return NULL;
    if (s->readiness == readiness)
        return Py_NewRef(s->event);
    PyObject *event = known_event(s, readiness);
    if (event)
        return event;
    PyObject *token = Py_NewRef(s->token);
    event = new_event(token, readiness);
    Py_DECREF(token);
    if (!event)
        return NULL;
    s = slot_of(self, entry); /* memory may have moved, and finalizers have run */
    if (s && s->readiness != readiness && add_event(s, readiness, event) < 0) {
        Py_DECREF(event);
        return PyErr_NoMemory();
    }
    if (!s)
        Py_CLEAR(event);
    return event;
}

/* The Selector */

static PyObject *selector_open_slots(PyObject *object, PyObject *arguments) {
    SelectorObject *self = (SelectorObject *)object;
    unsigned long long calls_at, selector_at;
    if (!PyArg_ParseTuple(arguments, "KK", &calls_at, &selector_at))
        return NULL;
    self->calls = (const selector_calls *)(uintptr_t)calls_at;
    self->selector = (selector *)(uintptr_t)selector_at;
    return none();
}

static int selector_traverse(PyObject *object, visitproc visit, void *arg) {
    SelectorObject *self = (SelectorObject *)object;
    Py_VISIT(Py_TYPE(object));
    for (uint32_t i = 0; i < self->extent; i++)
        Py_VISIT(self->slots[i].source);
    return 0;
}

static int selector_clear(PyObject *object) {
    SelectorObject *self = (SelectorObject *)object;
    for (uint32_t i = 0; i < self->extent; i++)
        Py_CLEAR(self->slots[i].source);
    return 0;
}

static void selector_dealloc(PyObject *object) {
    SelectorObject *self = (SelectorObject *)object;
    PyObject_GC_UnTrack(object);
    for (uint32_t i = 0; i < self->extent; i++)
        empty_slot(self, i, 0);
    PyMem_Free(self->slots);
    free_object(object);
}

static PyObject *selector_forget_sources(PyObject *object, PyObject *nothing) {
    (void)nothing;
    LOCK(object)
    selector_clear(object);
    UNLOCK
    return none();
}

static PyObject *selector_keep(PyObject *object, PyObject *arguments) {
    registration_id made;
    PyObject *source, *token;
    int result;
    if (!PyArg_ParseTuple(arguments, "IIOO", &made.index, &made.generation, &source, &token))
        return NULL;
    LOCK(object)
    result = keep((SelectorObject *)object, made, source, token);
    UNLOCK
    if (result < 0)
        return PyErr_NoMemory();
    return none();
}

static PyObject *selector_forget(PyObject *object, PyObject *arguments) {
    registration_id gone;
    if (!PyArg_ParseTuple(arguments, "II", &gone.index, &gone.generation))
        return NULL;
    LOCK(object)
    forget((SelectorObject *)object, gone);
    UNLOCK
    return none();
}

/* A list of (index, source) of what is registered. */
static PyObject *selector_registered(PyObject *object, PyObject *nothing) {
    (void)nothing;
    SelectorObject *self = (SelectorObject *)object;
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list; i++) {
        PyObject *source = NULL;
        bool over;
        LOCK(object)
        over = i >= self->extent;
        if (!over && self->slots[i].token)
            source = Py_XNewRef(self->slots[i].source);
        UNLOCK
        if (over)
            return list;
        if (!source)
            continue;
        PyObject *pair = Py_BuildValue("IN", i, source);
        if (!pair || PyList_Append(list, pair) < 0)
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return NULL;
}

/* Registering */

/* -1: it wants a closer look; -2: an exception is set. */
static int descriptor(PyObject *number) {
    if (!PyLong_CheckExact(number))
        return -1;
    int overflow;
    long fd = PyLong_AsLongAndOverflow(number, &overflow);
    return overflow || fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

static int descriptor_of(PyObject *source) {
    if (PyLong_CheckExact(source))
        return descriptor(source);
    int plain = PySet_Contains(plain_types, (PyObject *)Py_TYPE(source));
    if (plain <= 0)
        return plain < 0 ? -2 : -1;
    PyObject *number = PyObject_CallMethodObjArgs(source, fileno_name, NULL);
    if (number) {
        int fd = descriptor(number);
        Py_DECREF(number);
        return fd;
    }
    if (!PyErr_ExceptionMatches(PyExc_ValueError))
        return -2;
    PyErr_Clear(); /* closed: the Python code says so */
    return -1;
}

/* Fills in what the arguments (source, token, interest, trigger, and perhaps the source's
 * descriptor) say. 0, or -1 and -2 as above. */
static int read_change(change *c, PyObject *const *arguments, Py_ssize_t count) {
    if (count < (c->what == DEREGISTER ? 1 : 4))
        return -1;
    if (c->what != DEREGISTER) {
        PyObject *token = arguments[1];
        if (!Py_IS_TYPE(arguments[2], interest_type) || !Py_IS_TYPE(arguments[3], trigger_type) ||
            !(Py_IS_TYPE(token, token_type) || PyLong_CheckExact(token)))
            return -1;
        c->interest = (uint32_t)PyLong_AsLong(arguments[2]);
        c->trigger = (uint32_t)PyLong_AsLong(arguments[3]);
        c->token = PyLong_AsUnsignedLongLong(token);
        if (c->token == UINT64_MAX && PyErr_Occurred()) {
            PyErr_Clear(); /* out of range: the Python code says so */
            return -1;
        }
        if (!c->interest)
            return -1;
    }
    Py_ssize_t last = c->what == DEREGISTER ? 1 : 4;
    c->fd = count > last ? descriptor(arguments[last]) : descriptor_of(arguments[0]);
    return c->fd < 0 ? c->fd : 0;
}

static int note_change(SelectorObject *self, const change *c, PyObject *const *arguments) {
    int result = 0;
    LOCK((PyObject *)self)
    if (c->gone.index)
        forget(self, c->gone);
    if (c->made.index)
        result = keep(self, c->made, arguments[0], arguments[1]);
    UNLOCK
    return result;
}

/* 0, UNFIT or a negative errno. */
static PyObject *make_change(PyObject *object, enum what what, PyObject *const *arguments,
                             Py_ssize_t count) {
    SelectorObject *self = (SelectorObject *)object;
    change c = {.what = what};
    int result = read_change(&c, arguments, count);
    if (result < 0)
        return result == -1 ? PyLong_FromLong(UNFIT) : NULL;
    Py_BEGIN_ALLOW_THREADS result = self->calls->apply(self->selector, &c, 1);
    Py_END_ALLOW_THREADS if (result == 0 &&
                             note_change(self, &c, arguments) < 0) return PyErr_NoMemory();
    return PyLong_FromLong(result < 0 ? result : c.result);
}

static PyObject *selector_register(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, REGISTER, arguments, count);
}

static PyObject *selector_reregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, REREGISTER, arguments, count);
}

static PyObject *selector_deregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, DEREGISTER, arguments, count);
}

/* Waiting */

/* What an errno means is for the Python code to say. */
static PyObject *fail(PyObject *selector, int result, const char *what) {
    PyObject *error = PyObject_CallMethod(selector, "failure", "is", -result, what);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

static int read_timeout(PyObject *timeout, int64_t *limit) {
    if (timeout == Py_None) {
        *limit = -1;
        return 0;
    }
    if (PyLong_CheckExact(timeout)) {
        int overflow;
        long seconds = PyLong_AsLongAndOverflow(timeout, &overflow);
        if (!overflow && seconds >= 0 && seconds < INT_MAX) {
            *limit = seconds * NANOSECONDS;
            return 0;
        }
    } else if (PyFloat_CheckExact(timeout)) {
        double wanted = PyFloat_AsDouble(timeout) * (double)NANOSECONDS;
        if (wanted >= 0 && wanted < 9e18) {
            *limit = (int64_t)wanted;
            *limit += (double)*limit < wanted; /* never early */
            return 0;
        }
    }
    PyObject *number = PyObject_CallFunctionObjArgs(nanoseconds, timeout, NULL);
    if (!number)
        return -1;
    *limit = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

static int bind(ReadyObject *ready, SelectorObject *selector) {
    errno = 0;
    batch *fresh = selector->calls->batch_new(selector->selector, ready->capacity);
    if (!fresh && errno == ECHILD)
        fail((PyObject *)selector, -ECHILD, "");
    else if (!fresh)
        PyErr_Format(PyExc_MemoryError, "no memory for Events of capacity %d", ready->capacity);
    if (!fresh)
        return -1;
    batch *before = ready->batch;
    SelectorObject *owner = ready->selector;
    ready->batch = fresh;
    ready->selector = (SelectorObject *)Py_NewRef((PyObject *)selector);
    if (before)
        owner->calls->batch_free(before);
    Py_XDECREF((PyObject *)owner);
    return 0;
}

/* Lends the batch to one wait. */
static int begin_wait(ReadyObject *ready, SelectorObject *selector) {
    int result = 0;
    LOCK((PyObject *)ready)
    if (ready->waiting) {
        PyErr_SetString(PyExc_RuntimeError, "another thread polls with these events: "
                                            "give each thread Events of its own");
        result = -1;
    } else {
        ready->count = 0;
        ready->turn++;
        if (ready->selector != selector)
            result = bind(ready, selector);
        ready->waiting = result == 0;
    }
    UNLOCK
    return result;
}

/* wait(events, timeout): fills the events and returns them. */
static PyObject *selector_wait_for(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    SelectorObject *self = (SelectorObject *)object;
    if (count != 2 || !PyObject_TypeCheck(arguments[0], ready_type))
        return PyErr_Format(PyExc_TypeError, "events must be an Events, not %R",
                            count ? arguments[0] : Py_None);
    ReadyObject *ready = (ReadyObject *)arguments[0];
    int64_t limit;
    int result;
    if (read_timeout(arguments[1], &limit) < 0)
        return NULL;
    for (;;) {
        if (begin_wait(ready, self) < 0)
            return NULL;
        batch *batch = ready->batch;
        Py_BEGIN_ALLOW_THREADS result = self->calls->wait(batch, limit);
        Py_END_ALLOW_THREADS LOCK((PyObject *)ready) ready->waiting = false;
        if (result > 0)
            ready->count = result;
        UNLOCK
        if (result >= 0)
            return Py_NewRef(arguments[0]);
        if (result != -EINTR)
            return fail(object, result, "the queue can't wait");
        limit = batch->remaining;
        if (PyErr_CheckSignals() < 0)
            return NULL;
    }
}

static PyMethodDef selector_methods[] = {
    {"_open", selector_open_slots, METH_VARARGS, NULL},
    {"wait", (PyCFunction)(void (*)(void))selector_wait_for, METH_FASTCALL, NULL},
    {"register", (PyCFunction)(void (*)(void))selector_register, METH_FASTCALL, NULL},
    {"reregister", (PyCFunction)(void (*)(void))selector_reregister, METH_FASTCALL, NULL},
    {"deregister", (PyCFunction)(void (*)(void))selector_deregister, METH_FASTCALL, NULL},
    {"registered", selector_registered, METH_NOARGS, NULL},
    {"keep", selector_keep, METH_VARARGS, NULL},
    {"forget", selector_forget, METH_VARARGS, NULL},
    {"forget_sources", selector_forget_sources, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot selector_slots[] = {
    {Py_tp_traverse, selector_traverse},
    {Py_tp_clear, selector_clear},
    {Py_tp_dealloc, selector_dealloc},
    {Py_tp_methods, selector_methods},
    {0, NULL},
};

static PyType_Spec selector_spec = {
    .name = "pollster.backend._python.Selector",
    .basicsize = sizeof(SelectorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = selector_slots,
};

/* The batch */

static PyObject *ready_reserve(PyObject *object, PyObject *arguments) {
    ReadyObject *self = (ReadyObject *)object;
    if (self->batch)
        return PyErr_Format(PyExc_RuntimeError, "Events were made already: make others");
    if (!PyArg_ParseTuple(arguments, "i", &self->capacity))
        return NULL;
    return none();
}

static PyObject *ready_clear_events(PyObject *object, PyObject *nothing) {
    (void)nothing;
    ReadyObject *self = (ReadyObject *)object;
    LOCK(object)
    self->count = 0;
    self->turn++;
    UNLOCK
    return none();
}

static PyObject *ready_capacity(PyObject *object, void *nothing) {
    (void)nothing;
    return PyLong_FromLong(((ReadyObject *)object)->capacity);
}

/* (the Selector that filled it, the address of its batch), or None. */
static PyObject *ready_origin(PyObject *object, void *nothing) {
    (void)nothing;
    const ReadyObject *self = (ReadyObject *)object;
    if (!self->selector)
        return none();
    return Py_BuildValue("OK", (PyObject *)self->selector,
                         (unsigned long long)(uintptr_t)self->batch);
}

/* How many of `most` events there are. */
static int count_events(ReadyObject *self, int most) {
    int found = 0;
    LOCK2((PyObject *)self, (PyObject *)self->selector)
    for (int i = 0; i < self->count && found < most; i++)
        found += slot_of(self->selector, self->batch->ready[i]) != NULL;
    UNLOCK2
    return found;
}

static Py_ssize_t ready_length(PyObject *object) {
    ReadyObject *self = (ReadyObject *)object;
    return self->selector ? count_events(self, INT_MAX) : 0;
}

static int ready_truth(PyObject *object) {
    ReadyObject *self = (ReadyObject *)object;
    return self->selector ? count_events(self, 1) : 0;
}

static PyObject *ready_iterator(PyObject *object) {
    IteratorObject *iterator = PyObject_GC_New(IteratorObject, iterator_type);
    if (!iterator)
        return NULL;
    iterator->ready = (ReadyObject *)Py_NewRef(object);
    iterator->turn = ((ReadyObject *)object)->turn;
    iterator->position = 0;
    PyObject_GC_Track((PyObject *)iterator);
    return (PyObject *)iterator;
}

static int ready_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)((ReadyObject *)object)->selector);
    return 0;
}

static int ready_clear(PyObject *object) {
    ReadyObject *self = (ReadyObject *)object;
    SelectorObject *selector = self->selector;
    self->count = 0;
    self->selector = NULL;
    if (selector && self->batch)
        selector->calls->batch_free(self->batch);
    self->batch = NULL;
    Py_XDECREF((PyObject *)selector);
    return 0;
}

static void ready_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    ready_clear(object);
    free_object(object);
}

static PyMethodDef ready_methods[] = {
    {"_reserve", ready_reserve, METH_VARARGS, NULL},
    {"_clear", ready_clear_events, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ready_properties[] = {
    {"_capacity", ready_capacity, NULL, NULL, NULL},
    {"_origin", ready_origin, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot ready_slots[] = {
    {Py_tp_iter, ready_iterator},
    {Py_mp_length, ready_length},
    {Py_nb_bool, ready_truth},
    {Py_tp_traverse, ready_traverse},
    {Py_tp_clear, ready_clear},
    {Py_tp_dealloc, ready_dealloc},
    {Py_tp_methods, ready_methods},
    {Py_tp_getset, ready_properties},
    {0, NULL},
};

static PyType_Spec ready_spec = {
    .name = "pollster.backend._python.Ready",
    .basicsize = sizeof(ReadyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = ready_slots,
};

static PyObject *iterator_next(PyObject *object) {
    IteratorObject *self = (IteratorObject *)object;
    ReadyObject *ready = self->ready;
    PyObject *event = NULL;
    SelectorObject *selector = ready->selector;
    if (!selector)
        return NULL;
    LOCK2((PyObject *)ready, (PyObject *)selector)
    while (!event && self->turn == ready->turn && self->position < ready->count &&
           !(event = event_of(selector, ready->batch->ready[self->position++])) &&
           !PyErr_Occurred())
        continue;
    UNLOCK2
    return event;
}

static int iterator_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)((IteratorObject *)object)->ready);
    return 0;
}

static void iterator_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    Py_DECREF((PyObject *)((IteratorObject *)object)->ready);
    free_object(object);
}

static PyType_Slot iterator_slots[] = {
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iterator_next},
    {Py_tp_traverse, iterator_traverse},
    {Py_tp_dealloc, iterator_dealloc},
    {0, NULL},
};

static PyType_Spec iterator_spec = {
    .name = "pollster.backend._python.Iterator",
    .basicsize = sizeof(IteratorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = iterator_slots,
};

/* The module */

static PyObject *imported(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return found;
}

static int import_all(void) {
    return (token_type = (PyTypeObject *)imported("pollster.token", "Token")) &&
                   (event_type = (PyTypeObject *)imported("pollster.event", "Event")) &&
                   (interest_type = (PyTypeObject *)imported("pollster.interest", "Interest")) &&
                   (trigger_type = (PyTypeObject *)imported("pollster.trigger", "Trigger")) &&
                   (plain_types = imported("pollster.source", "plain_types")) &&
                   (nanoseconds = imported("pollster.timeout", "nanoseconds")) &&
                   (fileno_name = PyUnicode_InternFromString("fileno"))
               ? 0
               : -1;
}

static PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_python", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__python(void) {
    PyObject *module = import_all() < 0 ? NULL : PyModule_Create(&definition);
    if (!module)
        return NULL;
    PyTypeObject *selector_type = add_type(module, "Selector", &selector_spec);
    Py_XDECREF((PyObject *)selector_type);
    if (selector_type && (ready_type = add_type(module, "Ready", &ready_spec)) &&
        (iterator_type = add_type(module, "Iterator", &iterator_spec)) &&
        PyModule_AddIntConstant(module, "UNFIT", UNFIT) == 0) {
#ifdef Py_GIL_DISABLED
        PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
        return module;
    }
    Py_DECREF(module);
    return NULL;
}
