/* The module `_python`, and the type whose slots it is about: the base of Selector. */
#include "python.h"

PyTypeObject *selector_type;

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
    forget_all(self);
    PyMem_Free(self->slots);
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

static PyObject *selector_keep(PyObject *object, PyObject *arguments) {
    registration_id made;
    PyObject *source, *token;
    int result;
    if (!PyArg_ParseTuple(arguments, "IIOO", &made.index, &made.generation, &source, &token) ||
        !is_index(made.index))
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
    {"_open", selector_open_slots, METH_VARARGS, NULL},
    {"wait", METHOD(selector_wait_for), METH_FASTCALL, NULL},
    {"put_back", selector_put_back_events, METH_O, NULL},
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

/* The module */

PyObject *imported(const char *module, const char *name) {
    PyObject *from = PyImport_ImportModule(module);
    PyObject *found = from ? PyObject_GetAttrString(from, name) : NULL;
    Py_XDECREF(from);
    return found;
}

PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_python", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__python(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    selector_type = add_type(module, "Selector", &selector_spec);
    if (!selector_type || add_event(module) < 0 || add_events(module) < 0 ||
        add_registry(module) < 0 || add_methods(module) < 0 || add_timers(module) < 0)
        Py_CLEAR(module);
#ifdef Py_GIL_DISABLED
    if (module)
        PyUnstable_Module_SetGIL(module, Py_MOD_GIL_NOT_USED);
#endif
    return module;
}
