/* Waiting, the batch that a wait fills (the base of Events), and iteration over it. */
#include "common/clock.h"
#include "python.h"

#define AHEAD 6 /* events */
#define RAW_FIELDS 8

typedef struct {
    PyObject ob_base;
    ReadyObject *ready;
    SelectorObject *selector; /* whose poll filled it in this turn */
    uint32_t turn;
    int position;
} IteratorObject;

/* Waiting */

bool read_plain(PyObject *timeout, int64_t *limit) {
    if (PyLong_CheckExact(timeout)) {
        int overflow;
        long seconds = PyLong_AsLongAndOverflow(timeout, &overflow);
        if (!overflow && seconds >= 0 && seconds < INT_MAX) {
            *limit = seconds * NANOSECONDS;
            return true;
        }
    } else if (PyFloat_CheckExact(timeout)) {
        double wanted = PyFloat_AsDouble(timeout) * (double)NANOSECONDS;
        if (wanted >= 0 && wanted < 9e18) {
            *limit = (int64_t)wanted;
            *limit += (double)*limit < wanted; /* never early */
            return true;
        }
    }
    return false;
}

int read_timeout(const module_state *state, PyObject *timeout, int64_t *limit) {
    if (timeout == Py_None) {
        *limit = -1;
        return 0;
    }
    if (read_plain(timeout, limit))
        return 0;
    PyObject *number = PyObject_CallFunctionObjArgs(state->nanoseconds, timeout, NULL);
    if (!number)
        return -1;
    *limit = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

static int bind(ReadyObject *ready, SelectorObject *selector) {
    if (ready->capacity < 1) {
        PyErr_SetString(PyExc_ValueError, "these Events have no capacity: make them with Events()");
        return -1;
    }
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
            ready->waiting = true; /* before bind(), which may run any code */
            if (ready->selector != selector)
                result = bind(ready, selector);
            ready->waiting = result == 0;
        }
    UNLOCK
    return result;
}

/* PyPy's PyErr_CheckSignals() does nothing: there, handlers run between two instructions of Python
 * code, unless that was compiled. */
int run_handlers(void) {
#ifdef PYPY_VERSION
#define HANDLERS_RUN_HERE false /* with each batch that is too dear */
    PyObject *names = PyDict_New();
    PyObject *done = names ? PyRun_String("pass", Py_file_input, names, names) : NULL;
    Py_XDECREF(names);
    Py_XDECREF(done);
    return done ? 0 : -1;
#else
#define HANDLERS_RUN_HERE true
    return PyErr_CheckSignals();
#endif
}

/* Of a batch that nobody has seen, when a handler raises: what it had is told by the next waits.
 * Not where the handler has waited with it. */
static void put_back(SelectorObject *self, ReadyObject *ready, uint32_t turn, PyObject *over) {
    LOCK2((PyObject *)ready, (PyObject *)self)
        if (ready->turn == turn && ready->count) {
            if (over)
                keep_spent(self, ready->batch, over);
            self->calls->put_back(ready->batch);
        }
        ready->count = 0;
        ready->turn++;
    UNLOCK2
}

PyObject *wait_for(SelectorObject *self, ReadyObject *ready, PyObject *timeout) {
    int64_t limit;
    int result;
    if (!is_opened(self) || read_timeout(self->state, timeout, &limit) < 0)
        return NULL;
    for (;;) {
        if (begin_wait(ready, self) < 0)
            return NULL;
        batch *batch = ready->batch;
        Py_BEGIN_ALLOW_THREADS
            result = self->calls->wait(batch, limit);
        Py_END_ALLOW_THREADS
        bool raised = observe_wait(self, batch, result) < 0; /* while the batch is lent */
        uint32_t turn;
        PyObject *over = NULL;
        if (result > 0 && batch->spent_count) {
            LOCK((PyObject *)self)
                over = let_go_spent(self, batch);
            UNLOCK
        }
        LOCK((PyObject *)ready)
            if (result > 0)
                ready->count = result;
            limit = batch->remaining; /* from here on another wait may have the batch replaced */
            ready->waiting = false;
            turn = ready->turn;
        UNLOCK
        raised = raised || (result > 0 && HANDLERS_RUN_HERE && run_handlers() < 0);
        if (raised)
            put_back(self, ready, turn, over);
        Py_XDECREF(over);
        if (raised)
            return NULL;
        if (result >= 0)
            return Py_NewRef((PyObject *)ready);
        if (result != -EINTR)
            return fail((PyObject *)self, result, "this Poll can't wait");
        if (run_handlers() < 0)
            return NULL;
    }
}

PyObject *selector_wait_for(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    SelectorObject *self = (SelectorObject *)object;
    if (count == 2 && (PyFloat_Check(arguments[0]) || PyLong_Check(arguments[0])))
        return PyErr_Format(PyExc_TypeError,
                            "events must be an Events, not %R: the timeout goes by its name, "
                            "poll(timeout=%R)",
                            arguments[0], arguments[0]);
    if (count != 2 || !is_a(arguments[0], self->state->ready_type))
        return PyErr_Format(PyExc_TypeError, "events must be an Events, not %R",
                            count ? arguments[0] : Py_None);
    return wait_for(self, (ReadyObject *)arguments[0], arguments[1]);
}

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

/* _raw(i): of entry i that the kernel handed over, a list of its fields (structure, name, number,
 * text); empty where there is none. They are copied: another thread's wait may end the batch. */
static PyObject *ready_raw(PyObject *object, PyObject *argument) {
    const ReadyObject *self = (ReadyObject *)object;
    raw_field fields[RAW_FIELDS];
    int count = 0, i = (int)PyLong_AsLong(argument);
    if (i == -1 && PyErr_Occurred())
        return NULL;
    LOCK(object)
        if (self->batch && !self->waiting)
            count = self->selector->calls->raw(self->batch, i, fields, RAW_FIELDS);
    UNLOCK
    PyObject *list = PyList_New(0);
    for (int f = 0; list && f < count; f++) {
        PyObject *field = Py_BuildValue("ssLs", fields[f].structure, fields[f].name,
                                        (long long)fields[f].number, fields[f].text);
        if (!field || PyList_Append(list, field) < 0)
            Py_CLEAR(list);
        Py_XDECREF(field);
    }
    return list;
}

/* How many of `most` events there are; -1: an exception is set. Looking for them may run any code,
 * so the Selector is held. */
static int count_events(ReadyObject *self, int most) {
    SelectorObject *selector;
    uint32_t turn;
    int found = 0;
    LOCK((PyObject *)self)
        selector = (SelectorObject *)Py_XNewRef((PyObject *)self->selector);
        turn = self->turn;
    UNLOCK
    if (!selector)
        return 0;
    LOCK2((PyObject *)self, (PyObject *)selector)
        for (int i = 0; turn == self->turn && i < self->count && found < most; i++) {
            if (slot_of(selector, self->batch->ready[i]))
                found++;
            else if (PyErr_Occurred())
                break;
        }
    UNLOCK2
    Py_DECREF((PyObject *)selector);
    return PyErr_Occurred() ? -1 : found;
}

static Py_ssize_t ready_length(PyObject *object) {
    return count_events((ReadyObject *)object, INT_MAX);
}

static int ready_truth(PyObject *object) {
    return count_events((ReadyObject *)object, 1);
}

static PyObject *no_events(void) {
    PyObject *nothing = PyTuple_New(0), *iterator = nothing ? PyObject_GetIter(nothing) : NULL;
    Py_XDECREF(nothing);
    return iterator;
}

/* A loop over a batch makes one and gives it up: the next loop has its memory. Without the GIL
 * another one may be made meanwhile. */
static IteratorObject *new_iterator(ReadyObject *ready, const module_state *state) {
    PyTypeObject *type = (PyTypeObject *)state->iterator_type;
    PyObject *spare = ready->spare;
    if (!spare)
        return PyObject_GC_New(IteratorObject, type);
    ready->spare = NULL;
    PyObject_Init(spare, type);
    Py_DECREF(type); /* the spare had one */
    return (IteratorObject *)spare;
}

static void give_up(PyObject *iterator, ReadyObject *ready) {
#ifndef Py_GIL_DISABLED
    if (!ready->spare) {
        ready->spare = iterator;
        return;
    }
#endif
    (void)ready;
    free_object(iterator);
}

static PyObject *ready_iterator(PyObject *object) {
    ReadyObject *ready = (ReadyObject *)object;
    SelectorObject *selector;
    uint32_t turn;
    LOCK(object)
        selector = (SelectorObject *)Py_XNewRef((PyObject *)ready->selector);
        turn = ready->turn;
    UNLOCK
    if (!selector)
        return no_events();
    IteratorObject *iterator = new_iterator(ready, selector->state);
    if (!iterator) {
        Py_DECREF((PyObject *)selector);
        return NULL;
    }
    iterator->ready = (ReadyObject *)Py_NewRef(object);
    iterator->selector = selector;
    iterator->turn = turn;
    iterator->position = 0;
    PyObject_GC_Track((PyObject *)iterator);
    return (PyObject *)iterator;
}

static int ready_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)((ReadyObject *)object)->selector);
    if (((ReadyObject *)object)->spare)
        Py_VISIT(Py_TYPE(((ReadyObject *)object)->spare));
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
    if (((ReadyObject *)object)->spare)
        free_object(((ReadyObject *)object)->spare);
    free_object(object);
}

static PyMethodDef ready_methods[] = {
    {"_reserve", ready_reserve, METH_VARARGS, NULL},
    {"_clear", ready_clear_events, METH_NOARGS, NULL},
    {"_raw", ready_raw, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ready_properties[] = {
    {"_capacity", ready_capacity, NULL, NULL, NULL},
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
    SelectorObject *selector = self->selector;
    LOCK2((PyObject *)ready, (PyObject *)selector)
        if (self->position < ready->count - AHEAD)
            prefetch_event(selector, ready->batch->ready[self->position + AHEAD]);
        while (!event && self->turn == ready->turn && self->position < ready->count) {
            int position = self->position++; /* any code may run here, and take the next one */
            event = event_of(selector, ready->batch->ready[position]);
            if (event && self->turn == ready->turn)
                note_read(&ready->batch->ready[position]);
            if (event || !PyErr_Occurred())
                continue;
            if (self->position == position + 1)
                self->position = position; /* who asks again gets it */
            break;
        }
    UNLOCK2
    return event;
}

static int iterator_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)((IteratorObject *)object)->ready);
    Py_VISIT((PyObject *)((IteratorObject *)object)->selector);
    return 0;
}

static void iterator_dealloc(PyObject *object) {
    IteratorObject *self = (IteratorObject *)object;
    ReadyObject *ready = self->ready;
    PyObject_GC_UnTrack(object);
    Py_DECREF((PyObject *)self->selector);
    give_up(object, ready);
    Py_DECREF((PyObject *)ready);
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

int add_events(PyObject *module, module_state *state) {
    state->nanoseconds = imported("pollster._timeout", "nanoseconds");
    state->ready_type = add_type(module, "Ready", &ready_spec);
    state->iterator_type = add_type(module, "Iterator", &iterator_spec);
    return state->nanoseconds && state->ready_type && state->iterator_type ? 0 : -1;
}
