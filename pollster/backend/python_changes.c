/* Registering: one change at a time, or many gathered for one call. */
#include "python.h"

#define UNFIT 1 /* the result of a change whose arguments want a closer look */

static PyTypeObject *token_type, *interest_type, *trigger_type;
static PyObject
    *plain_types; /* a set: types with a fileno() and no methods to register themselves */
static PyObject *fileno_name;

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
    c->timer = PyLong_CheckExact(arguments[0]) ? NULL : timer_of(arguments[0]);
    if (c->timer) {
        c->fd = -1;
        return c->what == DEREGISTER || c->interest == INTEREST_READABLE ? 0 : -1;
    }
    Py_ssize_t last = c->what == DEREGISTER ? 1 : 4;
    c->fd = count > last ? descriptor(arguments[last]) : descriptor_of(arguments[0]);
    return c->fd < 0 ? c->fd : 0;
}

static int note_change(SelectorObject *self, const change *c, PyObject *const *arguments) {
    int result = 0;
    if (c->timer && c->what == REGISTER && c->result == 0)
        bind_timer(arguments[0], self, c->timer->owner);
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
    if (c.timer) { /* soon done: the GIL would cost more */
        result = self->calls->apply(self->selector, &c, 1);
    } else {
        Py_BEGIN_ALLOW_THREADS result = self->calls->apply(self->selector, &c, 1);
        Py_END_ALLOW_THREADS
    }
    if (result == 0 && note_change(self, &c, arguments) < 0)
        return PyErr_NoMemory();
    return PyLong_FromLong(result < 0 ? result : c.result);
}

PyObject *selector_register(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, REGISTER, arguments, count);
}

PyObject *selector_reregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, REREGISTER, arguments, count);
}

PyObject *selector_deregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return make_change(self, DEREGISTER, arguments, count);
}

/* The base of Batch: changes that wait to be made together. */
typedef struct {
    PyObject ob_base;
    SelectorObject *selector;
    change *changes;
    PyObject **arguments; /* of each change: its source, its token */
    int count;
    int room;
} ChangesObject;

static int reserve(ChangesObject *self) {
    if (self->count < self->room)
        return 0;
    if (self->room > INT_MAX / 2)
        return -1;
    size_t room = self->room ? (size_t)self->room * 2 : 16;
    change *changes = PyMem_Realloc(self->changes, room * sizeof *changes);
    if (changes)
        self->changes = changes;
    PyObject **arguments = PyMem_Realloc(self->arguments, 2 * room * sizeof *arguments);
    if (arguments)
        self->arguments = arguments;
    if (!changes || !arguments)
        return -1;
    self->room = (int)room;
    return 0;
}

/* 0 or UNFIT. */
static PyObject *gather(PyObject *object, enum what what, PyObject *const *arguments,
                        Py_ssize_t count) {
    ChangesObject *self = (ChangesObject *)object;
    change c = {.what = what};
    int result = read_change(&c, arguments, count);
    if (result < 0)
        return result == -1 ? PyLong_FromLong(UNFIT) : NULL;
    LOCK(object)
    result = reserve(self);
    if (result == 0) {
        PyObject **kept = &self->arguments[2 * self->count];
        kept[0] = Py_NewRef(arguments[0]);
        kept[1] = Py_NewRef(what == DEREGISTER ? Py_None : arguments[1]);
        self->changes[self->count++] = c;
    }
    UNLOCK
    return result < 0 ? PyErr_NoMemory() : PyLong_FromLong(0);
}

static PyObject *changes_register(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return gather(self, REGISTER, arguments, count);
}

static PyObject *changes_reregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return gather(self, REREGISTER, arguments, count);
}

static PyObject *changes_deregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    return gather(self, DEREGISTER, arguments, count);
}

/* Takes what was gathered out of it. */
static ChangesObject take(ChangesObject *self) {
    ChangesObject taken;
    LOCK((PyObject *)self)
    taken = *self;
    self->changes = NULL;
    self->arguments = NULL;
    self->count = self->room = 0;
    UNLOCK
    return taken;
}

static void let_go(ChangesObject *taken) {
    for (int i = 0; i < 2 * taken->count; i++)
        Py_DECREF(taken->arguments[i]);
    PyMem_Free(taken->changes);
    PyMem_Free(taken->arguments);
}

/* A list of (what, errno, source, descriptor) of what failed. */
static PyObject *failures(const ChangesObject *made) {
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < made->count; i++) {
        const change *c = &made->changes[i];
        if (c->result == 0)
            continue;
        PyObject *failure =
            Py_BuildValue("iiOi", (int)c->what, -c->result, made->arguments[(size_t)2 * i], c->fd);
        if (!failure || PyList_Append(list, failure) < 0)
            Py_CLEAR(list);
        Py_XDECREF(failure);
    }
    return list;
}

static PyObject *changes_apply(PyObject *object, PyObject *nothing) {
    (void)nothing;
    SelectorObject *selector = ((ChangesObject *)object)->selector;
    ChangesObject taken = take((ChangesObject *)object);
    int result;
    for (int i = 0; i < taken.count; i++)
        if (taken.changes[i].timer && taken.changes[i].what == REGISTER)
            bind_timer(taken.arguments[(size_t)2 * i], selector, NULL);
    Py_BEGIN_ALLOW_THREADS result =
        selector->calls->apply(selector->selector, taken.changes, taken.count);
    Py_END_ALLOW_THREADS int noted = 0;
    for (int i = 0; i < taken.count && result == 0; i++)
        noted |= note_change(selector, &taken.changes[i], &taken.arguments[(size_t)2 * i]);
    PyObject *list = result < 0  ? fail((PyObject *)selector, result, "the changes were not made")
                     : noted < 0 ? PyErr_NoMemory()
                                 : failures(&taken);
    let_go(&taken);
    return list;
}

static PyObject *changes_drop(PyObject *object, PyObject *nothing) {
    (void)nothing;
    ChangesObject taken = take((ChangesObject *)object);
    let_go(&taken);
    return none();
}

static PyObject *changes_begin(PyObject *object, PyObject *selector) {
    ChangesObject *self = (ChangesObject *)object;
    if (self->selector || !PyObject_TypeCheck(selector, selector_type))
        return PyErr_Format(PyExc_TypeError, "a Registry's batch() makes these");
    self->selector = (SelectorObject *)Py_NewRef(selector);
    return none();
}

static int changes_traverse(PyObject *object, visitproc visit, void *arg) {
    const ChangesObject *self = (ChangesObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->selector);
    for (int i = 0; i < 2 * self->count; i++)
        Py_VISIT(self->arguments[i]);
    return 0;
}

static int changes_clear(PyObject *object) {
    ChangesObject *self = (ChangesObject *)object, taken = take(self);
    let_go(&taken);
    PyObject *selector = (PyObject *)self->selector;
    self->selector = NULL;
    Py_XDECREF(selector);
    return 0;
}

static void changes_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    changes_clear(object);
    free_object(object);
}

static PyMethodDef changes_methods[] = {
    {"begin", changes_begin, METH_O, NULL},
    {"register", METHOD(changes_register), METH_FASTCALL, NULL},
    {"reregister", METHOD(changes_reregister), METH_FASTCALL, NULL},
    {"deregister", METHOD(changes_deregister), METH_FASTCALL, NULL},
    {"apply", changes_apply, METH_NOARGS, NULL},
    {"drop", changes_drop, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot changes_slots[] = {
    {Py_tp_traverse, changes_traverse},
    {Py_tp_clear, changes_clear},
    {Py_tp_dealloc, changes_dealloc},
    {Py_tp_methods, changes_methods},
    {0, NULL},
};

static PyType_Spec changes_spec = {
    .name = "pollster.backend._python.Changes",
    .basicsize = sizeof(ChangesObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = changes_slots,
};

int add_changes(PyObject *module) {
    token_type = (PyTypeObject *)imported("pollster.token", "Token");
    interest_type = (PyTypeObject *)imported("pollster.interest", "Interest");
    trigger_type = (PyTypeObject *)imported("pollster.trigger", "Trigger");
    plain_types = imported("pollster.source", "plain_types");
    fileno_name = PyUnicode_InternFromString("fileno");
    PyTypeObject *changes_type = add_type(module, "Changes", &changes_spec);
    if (!changes_type || !token_type || !interest_type || !trigger_type || !plain_types ||
        !fileno_name)
        return -1;
    return PyModule_AddIntConstant(module, "UNFIT", UNFIT);
}
