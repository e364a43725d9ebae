/* Registering: one change at a time, or many gathered for one call. */
#include "python.h"
#include <string.h>

static PyTypeObject *token_type, *interest_type, *trigger_type;
static PyObject *plain_types; /* a set: see descriptor_of in pollster/source.py */
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

/* Fills in what the arguments (source, token, interest and perhaps trigger) say, but for the
 * source's descriptor. 0, or -1 and -2 as above. */
static int read_arguments(change *c, PyObject *const *arguments, Py_ssize_t count) {
    if (c->what == DEREGISTER)
        return count == 1 ? 0 : -1;
    if (count != 4 && count != 3)
        return -1;
    PyObject *token = arguments[1], *trigger = count == 4 ? arguments[3] : NULL;
    if (!Py_IS_TYPE(arguments[2], interest_type) || (trigger && !Py_IS_TYPE(trigger, trigger_type)))
        return -1;
    if (!Py_IS_TYPE(token, token_type) && !PyLong_CheckExact(token))
        return -1;
    c->interest = (uint32_t)PyLong_AsLong(arguments[2]);
    c->trigger = trigger ? (uint32_t)PyLong_AsLong(trigger) : 0;
    c->token = PyLong_AsUnsignedLongLong(token);
    if (c->token != UINT64_MAX || !PyErr_Occurred())
        return c->interest ? 0 : -1;
    PyErr_Clear(); /* out of range: the Python code says so */
    return -1;
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

/* Changes that wait to be made together. */
typedef struct {
    change *changes;
    PyObject **arguments; /* of each change: its source, its token */
    int count;
    int room;
} gathered;

/* The base of Registry: makes changes at once, or gathers them. */
typedef struct {
    PyObject ob_base;
    SelectorObject *selector;
    bool gathers;
    gathered waiting;
} RegistryObject;

static int reserve(gathered *g) {
    if (g->count < g->room)
        return 0;
    if (g->room > INT_MAX / 2)
        return -1;
    size_t room = g->room ? (size_t)g->room * 2 : 16;
    change *changes = PyMem_Realloc(g->changes, room * sizeof *changes);
    if (changes)
        g->changes = changes;
    PyObject **arguments = PyMem_Realloc(g->arguments, 2 * room * sizeof *arguments);
    if (arguments)
        g->arguments = arguments;
    if (!changes || !arguments)
        return -1;
    g->room = (int)room;
    return 0;
}

static int gather(RegistryObject *self, const change *c, PyObject *const *arguments) {
    gathered *g = &self->waiting;
    int result;
    LOCK((PyObject *)self)
        result = reserve(g);
        if (result == 0) {
            PyObject **kept = &g->arguments[(size_t)2 * g->count];
            kept[0] = Py_NewRef(arguments[0]);
            kept[1] = Py_NewRef(c->what == DEREGISTER ? Py_None : arguments[1]);
            g->changes[g->count++] = *c;
        }
    UNLOCK
    return result;
}

static int make(SelectorObject *selector, change *c, PyObject *const *arguments) {
    int result;
    if (c->timer) { /* soon done: the GIL would cost more */
        result = selector->calls->apply(selector->selector, c, 1);
    } else {
        Py_BEGIN_ALLOW_THREADS
            result = selector->calls->apply(selector->selector, c, 1);
        Py_END_ALLOW_THREADS
    }
    if (result < 0) {
        c->result = result;
        return 0;
    }
    if (note_change(selector, c, arguments) == 0)
        return 0;
    change back = {.what = DEREGISTER, .fd = c->fd, .timer = c->timer};
    if (c->what == REGISTER)
        selector->calls->apply(selector->selector, &back, 1);
    return -1;
}

/* Makes or gathers a change whose descriptor is known. The errno that it met, or 0; -1: an
 * exception is set. */
static int change_registry(RegistryObject *self, change *c, PyObject *const *arguments) {
    if (!is_opened(self->selector))
        return -1;
    if ((self->gathers ? gather(self, c, arguments) : make(self->selector, c, arguments)) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return -c->result;
}

/* The methods of Registry, as Python wrote them: they see to what is not plain. */
static PyObject *written[3];

static PyObject *as_written(PyObject *self, enum what what, PyObject *const *arguments,
                            Py_ssize_t count, PyObject *names) {
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    PyObject *positional = PyTuple_New(count + 1), *keywords = PyDict_New(), *result = NULL;
    int error = positional && keywords ? PyTuple_SetItem(positional, 0, Py_NewRef(self)) : -1;
    for (Py_ssize_t i = 0; i < count && error == 0; i++)
        error = PyTuple_SetItem(positional, i + 1, Py_NewRef(arguments[i]));
    for (Py_ssize_t i = 0; i < named && error == 0; i++)
        error = PyDict_SetItem(keywords, PyTuple_GetItem(names, i), arguments[count + i]);
    if (error == 0)
        result = PyObject_Call(written[what], positional, keywords);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

/* What an errno means is for the Python code to say. */
static PyObject *refuse(PyObject *self, const change *c, int error, PyObject *source) {
    PyObject *result = PyObject_CallMethod(self, "_refuse", "iOii", error, source, c->fd, c->what);
    Py_XDECREF(result);
    if (result)
        PyErr_SetString(PyExc_SystemError, "an error without a meaning");
    return NULL;
}

/* A timer is readable and nothing else. */
static bool is_for_timer(const change *c) {
    return c->timer && (c->what == DEREGISTER || c->interest == INTEREST_READABLE);
}

static PyObject *change_plainly(PyObject *object, enum what what, PyObject *const *arguments,
                                Py_ssize_t count, PyObject *names) {
    change c = {.what = what};
    if ((names && PyTuple_Size(names) > 0) || read_arguments(&c, arguments, count) < 0)
        return as_written(object, what, arguments, count, names);
    c.timer = PyLong_CheckExact(arguments[0]) ? NULL : timer_of(arguments[0]);
    c.fd = c.timer ? -1 : descriptor_of(arguments[0]);
    if (c.fd == -1 && !is_for_timer(&c))
        return as_written(object, what, arguments, count, names);
    if (c.fd == -2)
        return NULL;
    int error = change_registry((RegistryObject *)object, &c, arguments);
    if (error > 0)
        return refuse(object, &c, error, arguments[0]);
    return error < 0 ? NULL : none();
}

static PyObject *registry_register(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                   PyObject *names) {
    return change_plainly(self, REGISTER, arguments, count, names);
}

static PyObject *registry_reregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                     PyObject *names) {
    return change_plainly(self, REREGISTER, arguments, count, names);
}

static PyObject *registry_deregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                     PyObject *names) {
    return change_plainly(self, DEREGISTER, arguments, count, names);
}

/* _change(what, descriptor, source[, token, interest, trigger]): the errno that it met, or 0; -1:
 * these are not plain either. */
static PyObject *registry_change(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    change c = {.what = REGISTER};
    if (count < 3)
        return PyErr_Format(PyExc_TypeError, "_change() takes at least 3 arguments");
    long what = PyLong_AsLong(arguments[0]);
    if (what == -1 && PyErr_Occurred())
        return NULL;
    c.what = what == DEREGISTER ? DEREGISTER : what == REREGISTER ? REREGISTER : REGISTER;
    c.fd = descriptor(arguments[1]);
    if (c.fd < 0 || read_arguments(&c, arguments + 2, count - 2) < 0)
        return PyLong_FromLong(-1);
    int error = change_registry((RegistryObject *)object, &c, arguments + 2);
    return error < 0 ? NULL : PyLong_FromLong(error);
}

/* Takes what was gathered out of it. */
static gathered take(RegistryObject *self) {
    gathered taken;
    LOCK((PyObject *)self)
        taken = self->waiting;
        self->waiting = (gathered){.count = 0};
    UNLOCK
    return taken;
}

static void let_go(gathered taken) {
    for (int i = 0; i < 2 * taken.count; i++)
        Py_DECREF(taken.arguments[i]);
    PyMem_Free(taken.changes);
    PyMem_Free(taken.arguments);
}

/* A list of (what, errno, source, descriptor) of what failed. */
static PyObject *failures(const gathered *made) {
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

static PyObject *registry_apply(PyObject *object, PyObject *nothing) {
    (void)nothing;
    SelectorObject *selector = ((RegistryObject *)object)->selector;
    if (!is_opened(selector))
        return NULL;
    gathered taken = take((RegistryObject *)object);
    int result;
    for (int i = 0; i < taken.count; i++)
        if (taken.changes[i].timer && taken.changes[i].what == REGISTER)
            bind_timer(taken.arguments[(size_t)2 * i], selector, NULL);
    Py_BEGIN_ALLOW_THREADS
        result = selector->calls->apply(selector->selector, taken.changes, taken.count);
    Py_END_ALLOW_THREADS
    int noted = 0;
    for (int i = 0; i < taken.count && result == 0; i++)
        noted |= note_change(selector, &taken.changes[i], &taken.arguments[(size_t)2 * i]);
    PyObject *list = result < 0  ? fail((PyObject *)selector, result, "the changes were not made")
                     : noted < 0 ? PyErr_NoMemory()
                                 : failures(&taken);
    let_go(taken);
    return list;
}

static PyObject *registry_drop(PyObject *object, PyObject *nothing) {
    (void)nothing;
    let_go(take((RegistryObject *)object));
    return none();
}

/* _begin(selector, gathers) */
static PyObject *registry_begin(PyObject *object, PyObject *arguments) {
    RegistryObject *self = (RegistryObject *)object;
    PyObject *selector;
    int gathers;
    if (!PyArg_ParseTuple(arguments, "O!p", selector_type, &selector, &gathers))
        return NULL;
    if (self->selector)
        return PyErr_Format(PyExc_TypeError, "a Registry is made by its Poll");
    self->selector = (SelectorObject *)Py_NewRef(selector);
    self->gathers = gathers;
    return none();
}

static int registry_traverse(PyObject *object, visitproc visit, void *arg) {
    const RegistryObject *self = (RegistryObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->selector);
    for (int i = 0; i < 2 * self->waiting.count; i++)
        Py_VISIT(self->waiting.arguments[i]);
    return 0;
}

static int registry_clear(PyObject *object) {
    RegistryObject *self = (RegistryObject *)object;
    let_go(take(self));
    PyObject *selector = (PyObject *)self->selector;
    self->selector = NULL;
    Py_XDECREF(selector);
    return 0;
}

static void registry_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    registry_clear(object);
    free_object(object);
}

static PyMethodDef registry_methods[] = {
    {"_begin", registry_begin, METH_VARARGS, NULL},
    {"_change", METHOD(registry_change), METH_FASTCALL, NULL},
    {"_apply", registry_apply, METH_NOARGS, NULL},
    {"_drop", registry_drop, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot registry_slots[] = {
    {Py_tp_traverse, registry_traverse},
    {Py_tp_clear, registry_clear},
    {Py_tp_dealloc, registry_dealloc},
    {Py_tp_methods, registry_methods},
    {0, NULL},
};

static PyType_Spec registry_spec = {
    .name = "pollster.backend._python.Registry",
    .basicsize = sizeof(RegistryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = registry_slots,
};

static PyMethodDef taken_over[] = {
    {"register", METHOD(registry_register), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"reregister", METHOD(registry_reregister), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"deregister", METHOD(registry_deregister), METH_FASTCALL | METH_KEYWORDS, NULL},
};

/* take_over(class, documentation...): puts the methods above in the place of those which the class
 * has written in Python, and calls those for what is not plain. The documentation is theirs. */
static PyObject *take_over(PyObject *module, PyObject *arguments) {
    PyObject *class;
    const char *texts[3];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!sss", &PyType_Type, &class, &texts[0], &texts[1],
                          &texts[2]))
        return NULL;
    for (int what = REGISTER; what <= DEREGISTER; what++) {
        PyMethodDef *method = &taken_over[what];
        char *text = PyMem_Malloc(strlen(texts[what]) + 1);
        if (!text)
            return PyErr_NoMemory();
        method->ml_doc = strcpy(text, texts[what]); /* for as long as the program runs */
        written[what] = PyObject_GetAttrString(class, method->ml_name);
        PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)class, method);
        int result = descriptor && written[what]
                         ? PyObject_SetAttrString(class, method->ml_name, descriptor)
                         : -1;
        Py_XDECREF(descriptor);
        if (result < 0)
            return NULL;
    }
    return none();
}

static PyMethodDef functions[] = {
    {"take_over", take_over, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

int add_registry(PyObject *module) {
    token_type = (PyTypeObject *)imported("pollster.token", "Token");
    interest_type = (PyTypeObject *)imported("pollster.interest", "Interest");
    trigger_type = (PyTypeObject *)imported("pollster.trigger", "Trigger");
    plain_types = imported("pollster.source", "plain_types");
    fileno_name = PyUnicode_InternFromString("fileno");
    PyTypeObject *registry_type = add_type(module, "Registry", &registry_spec);
    if (!registry_type || !token_type || !interest_type || !trigger_type || !plain_types ||
        !fileno_name)
        return -1;
    Py_DECREF((PyObject *)registry_type);
    return PyModule_AddFunctions(module, functions);
}
