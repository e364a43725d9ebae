/* The module `_python`, and the type whose slots it is about: the base of Selector. */
#include "python.h"
#include <stddef.h>
#include <structmember.h>

PyObject *fail(PyObject *selector, int result, const char *what) {
    PyObject *error = PyObject_CallMethod(selector, "failure", "is", -result, what);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return NULL;
}

bool is_opened(const SelectorObject *self) {
    if (!self || !self->calls)
        PyErr_SetString(PyExc_RuntimeError, "no queue was opened for it");
    return self && self->calls;
}

static bool is_index(uint32_t index) {
    if (index > REGISTRATIONS_MAX)
        PyErr_Format(PyExc_ValueError, "there is no registration %u", index);
    return index <= REGISTRATIONS_MAX;
}

static PyObject *selector_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments; /* are for __init__ */
    (void)keywords;
    SelectorObject *self = (SelectorObject *)PyType_GenericAlloc(type, 0);
    if (self)
        self->state = state_of(type);
    return (PyObject *)self;
}

/* _open(functions): opens a queue with a back end's functions, and has it from then on. Returns its
 * address, to be borrowed, or a negative errno. */
static PyObject *selector_open_queue(PyObject *object, PyObject *functions) {
    SelectorObject *self = (SelectorObject *)object;
    const selector_calls *calls = PyLong_AsVoidPtr(functions);
    selector *opened = NULL;
    int error = 0;
    if (PyErr_Occurred())
        return NULL;
    LOCK(object)
        if (self->selector) {
            PyErr_SetString(PyExc_RuntimeError, "it has a queue already: make another one");
        } else {
            opened = calls->open();
            error = errno;
            self->calls = opened ? calls : NULL;
            self->selector = opened;
        }
    UNLOCK
    if (PyErr_Occurred())
        return NULL;
    return opened ? PyLong_FromVoidPtr(opened) : PyLong_FromLong(-error);
}

static int selector_traverse(PyObject *object, visitproc visit, void *arg) {
    SelectorObject *self = (SelectorObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->log);
    Py_VISIT(self->spin);
    for (uint32_t i = 0; i < self->extent; i++) {
        const slot *s = &self->slots[i];
        Py_VISIT(s->source);
        if (!self->has_pairs)
            continue;
        Py_VISIT(s->event);
        for (const other *o = s->others; o; o = o->next)
            Py_VISIT(o->event);
    }
    return 0;
}

static int selector_clear(PyObject *object) {
    SelectorObject *self = (SelectorObject *)object;
    for (uint32_t i = 0; i < self->extent; i++)
        drop_source(self, i);
    return 0;
}

/* Here the queue ends, and not in a finalizer: those of a cycle run in any order, and each may use
 * what another one has seen to. */
static void selector_dealloc(PyObject *object) {
    SelectorObject *self = (SelectorObject *)object;
    PyObject_GC_UnTrack(object);
    forget_all(self);
    PyMem_Free(self->slots);
    Py_XDECREF(self->log);
    Py_XDECREF(self->spin);
    if (self->selector) {
        Py_BEGIN_ALLOW_THREADS
            self->calls->free(self->selector);
        Py_END_ALLOW_THREADS
    }
    free_object(object);
}

static PyObject *selector_forget_sources(PyObject *object, PyObject *nothing) {
    (void)nothing;
    LOCK(object)
        ((SelectorObject *)object)->ended = true;
        selector_clear(object);
    UNLOCK
    return none();
}

/* For those who register without registry.c: promise(), then register, then keep(index, generation,
 * source, token), with an index of 0 where nothing came of it. */
static PyObject *selector_promise(PyObject *object, PyObject *nothing) {
    (void)nothing;
    int result;
    LOCK(object)
        result = promise((SelectorObject *)object, 1);
    UNLOCK
    return result < 0 ? NULL : none();
}

static PyObject *selector_keep(PyObject *object, PyObject *arguments) {
    SelectorObject *self = (SelectorObject *)object;
    registration_id made;
    PyObject *source, *token;
    bool promised;
    if (!PyArg_ParseTuple(arguments, "IIOO", &made.index, &made.generation, &source, &token) ||
        !is_index(made.index))
        return NULL;
    LOCK(object)
        promised = self->promised > 0;
        self->spins = 0;
        if (promised && made.index)
            keep(self, made, source, token);
        if (promised)
            settle(self, 1);
    UNLOCK
    if (!promised)
        return PyErr_Format(PyExc_RuntimeError, "keep() without promise()");
    return none();
}

static PyObject *selector_forget(PyObject *object, PyObject *arguments) {
    registration_id gone;
    if (!PyArg_ParseTuple(arguments, "II", &gone.index, &gone.generation) || !is_index(gone.index))
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

static PyMethodDef selector_methods[] = {
    {"_open", selector_open_queue, METH_O, NULL},
    {"wait", METHOD(selector_wait_for), METH_FASTCALL, NULL},
    {"registered", selector_registered, METH_NOARGS, NULL},
    {"promise", selector_promise, METH_NOARGS, NULL},
    {"keep", selector_keep, METH_VARARGS, NULL},
    {"forget", selector_forget, METH_VARARGS, NULL},
    {"forget_sources", selector_forget_sources, METH_NOARGS, NULL},
    {"_observe", selector_observe, METH_VARARGS, NULL},
    {"_tell_remarks", selector_tell_remarks, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef selector_members[] = {
    {"log", T_OBJECT, offsetof(SelectorObject, log), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot selector_slots[] = {
    {Py_tp_new, selector_new},
    {Py_tp_traverse, selector_traverse},
    {Py_tp_clear, selector_clear},
    {Py_tp_dealloc, selector_dealloc},
    {Py_tp_methods, selector_methods},
    {Py_tp_members, selector_members},
    {0, NULL},
};

static PyType_Spec selector_spec = {
    .name = "pollster.backend._python.Selector",
    .basicsize = sizeof(SelectorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = selector_slots,
};

/* The module */

PyObject *imported(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return found;
}

PyObject *add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return type;
}

static int module_exec(PyObject *module) {
    module_state *state = PyModule_GetState(module);
    state->selector_type = add_type(module, "Selector", &selector_spec);
    if (!state->selector_type || add_event(module, state) < 0 || add_events(module, state) < 0 ||
        add_registry(module, state) < 0 || add_methods(state) < 0 ||
        add_timers(module, state) < 0 || add_poll(module, state) < 0 ||
        add_method(module, state) < 0 || add_watches(module) < 0)
        return -1;
#ifndef PYPY_VERSION
    if (add_keys(module) < 0 || add_looping(module, state) < 0 || add_transport(module) < 0)
        return -1;
    return 0;
#else
    return 0;
#endif
}

#define KNOWN (sizeof(module_state) / sizeof(PyObject *))

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    PyObject **known = PyModule_GetState(module);
    for (size_t i = 0; i < KNOWN; i++)
        Py_VISIT(known[i]);
    return 0;
}

/* There is no m_clear: whatever still runs while the collector takes a copy apart finds its state
 * whole. The types let go of the module then, and so the circle is open. */
static void module_free(void *module) {
    PyObject **known = PyModule_GetState(module);
    for (size_t i = 0; i < KNOWN; i++)
        Py_XDECREF(known[i]);
}

/* It is loaded in any interpreter that shares the main one's GIL, since no slot says otherwise.
 * cffi, which Selector is made with, can be loaded in no other. */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_python",
    .m_size = sizeof(module_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

/* What PyType_GetModuleByDef does: the limited interface has that from 3.13 on. */
module_state *state_of(PyTypeObject *type) {
    for (; type; type = PyType_GetSlot(type, Py_tp_base)) {
        PyObject *module = PyType_GetModule(type);
        if (module && PyModule_GetDef(module) == &definition)
            return PyModule_GetState(module);
        PyErr_Clear();
    }
    Py_FatalError("a type that is none of pollster's"); /* no method is called with one */
}

PyMODINIT_FUNC PyInit__python(void) {
    return PyModuleDef_Init(&definition);
}
