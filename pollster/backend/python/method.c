/* Methods that are written twice: a class has them in Python, and `in_c` in front of a definition
 * has its plain calls answered in C. For all others, and for whoever asks what it is (its
 * signature, its documentation, a type checker), it is the function that Python wrote. */
#include "python.h"
#include <stddef.h>
#include <structmember.h>

/* PEP 590's, as all Pythons from 3.9 on have it; the limited interface names it from 3.12 on. */
#define HAS_VECTORCALL (1UL << 11)

static const struct {
    const char *name;
    method_call call;
    size_t base; /* where the state has it */
} answered[] = {
    {"register", registry_register, offsetof(module_state, registry_type)},
    {"reregister", registry_reregister, offsetof(module_state, registry_type)},
    {"deregister", registry_deregister, offsetof(module_state, registry_type)},
    {"pause", registry_pause, offsetof(module_state, registry_type)},
    {"resume", registry_resume, offsetof(module_state, registry_type)},
    {"poll", poll_poll, offsetof(module_state, poll_type)},
};

PyObject *call_function(PyObject *function, PyObject *const *arguments, Py_ssize_t count,
                        PyObject *names) {
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    PyObject *positional = PyTuple_New(count), *keywords = PyDict_New(), *result = NULL;
    int error = positional && keywords ? 0 : -1;
    for (Py_ssize_t i = 0; i < count && error == 0; i++)
        error = PyTuple_SetItem(positional, i, Py_NewRef(arguments[i]));
    for (Py_ssize_t i = 0; i < named && error == 0; i++)
        error = PyDict_SetItem(keywords, PyTuple_GetItem(names, i), arguments[count + i]);
    if (error == 0)
        result = PyObject_Call(function, positional, keywords);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

PyObject *call_as_written(PyObject *method, PyObject *const *arguments, Py_ssize_t count,
                          PyObject *names) {
    return call_function(((MethodObject *)method)->written, arguments, count, names);
}

static PyObject *method_called(PyObject *object, PyObject *arguments, PyObject *keywords) {
    return PyObject_Call(((MethodObject *)object)->written, arguments, keywords);
}

/* Bound as functions are. Most calls do without: see Py_TPFLAGS_METHOD_DESCRIPTOR. */
static PyObject *method_get(PyObject *object, PyObject *instance, PyObject *type) {
    (void)type;
    if (!instance || instance == Py_None)
        return Py_NewRef(object);
    PyObject *bound = ((MethodObject *)object)->state->bound_method;
    return PyObject_CallFunctionObjArgs(bound, object, instance, NULL);
}

/* What else functions have: __code__, __defaults__ and so on. */
static PyObject *method_getattr(PyObject *object, PyObject *name) {
    PyObject *found = PyObject_GenericGetAttr(object, name);
    if (found || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return found;
    PyErr_Clear();
    return PyObject_GetAttr(((MethodObject *)object)->written, name);
}

/* It says that it is a function, as isinstance() sees it: unittest.mock and inspect ask. */
static PyObject *method_class(PyObject *object, void *nothing) {
    (void)nothing;
    return Py_NewRef((PyObject *)Py_TYPE(((MethodObject *)object)->written));
}

static PyObject *method_repr(PyObject *object) {
    return PyObject_Repr(((MethodObject *)object)->written);
}

/* Its name, which is how functions are copied and pickled. */
static PyObject *method_reduce(PyObject *object, PyObject *nothing) {
    (void)nothing;
    return PyObject_GetAttrString(((MethodObject *)object)->written, "__qualname__");
}

static int method_traverse(PyObject *object, visitproc visit, void *arg) {
    const MethodObject *self = (MethodObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->dict);
    Py_VISIT(self->written);
    Py_VISIT(self->owner);
    return 0;
}

/* The function is left to clear itself, so that there is one for as long as this can be called. */
static int method_clear(PyObject *object) {
    Py_CLEAR(((MethodObject *)object)->dict);
    Py_CLEAR(((MethodObject *)object)->owner);
    return 0;
}

static void method_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    method_clear(object);
    Py_XDECREF(((MethodObject *)object)->written);
    free_object(object);
}

/* __set_name__(owner, name): type() calls it when the class is made. */
static PyObject *method_set_name(PyObject *object, PyObject *arguments) {
    MethodObject *self = (MethodObject *)object;
    PyObject *owner, *name, *before = self->owner;
    if (!PyArg_ParseTuple(arguments, "O!O", &PyType_Type, &owner, &name))
        return NULL;
    if (PyType_IsSubtype((PyTypeObject *)owner, (PyTypeObject *)self->base)) {
        self->owner = Py_NewRef(owner);
        Py_XDECREF(before);
    }
    return none();
}

static PyMethodDef method_methods[] = {
    {"__set_name__", method_set_name, METH_VARARGS, NULL},
    {"__reduce__", method_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(MethodObject, call), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(MethodObject, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef method_properties[] = {
    {"__class__", method_class, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot method_slots[] = {
    {Py_tp_call, method_called},
    {Py_tp_descr_get, method_get},
    {Py_tp_repr, method_repr},
    {Py_tp_getattro, method_getattr},
    {Py_tp_traverse, method_traverse},
    {Py_tp_clear, method_clear},
    {Py_tp_dealloc, method_dealloc},
    {Py_tp_methods, method_methods},
    {Py_tp_members, method_members},
    {Py_tp_getset, method_properties},
    {0, NULL},
};

static PyType_Spec method_spec = {
    .name = "pollster.backend._python.Method",
    .basicsize = sizeof(MethodObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_METHOD_DESCRIPTOR | HAS_VECTORCALL,
    .slots = method_slots,
};

/* Finds what answers a function's calls; -1: nothing does. */
static int find_answer(MethodObject *self, PyObject *function) {
    PyObject *name = PyObject_GetAttrString(function, "__name__");
    if (!name)
        return -1;
    for (size_t i = 0; i < sizeof answered / sizeof *answered; i++)
        if (PyUnicode_Check(name) &&
            PyUnicode_CompareWithASCIIString(name, answered[i].name) == 0) {
            self->call = answered[i].call;
            self->base = *(PyObject **)((char *)self->state + answered[i].base);
        }
    Py_DECREF(name);
    if (!self->call)
        PyErr_Format(PyExc_ValueError, "%R is not written in C", function);
    return self->call ? 0 : -1;
}

static PyObject *in_c(PyObject *module, PyObject *function) {
#ifdef PYPY_VERSION
    (void)module;
    return Py_NewRef(function); /* which it compiles; calls of C cost it more */
#endif
    const module_state *state = PyModule_GetState(module);
    PyObject *object = PyType_GenericAlloc((PyTypeObject *)state->method_type, 0);
    MethodObject *self = (MethodObject *)object;
    if (!self)
        return NULL;
    self->state = state;
    self->written = Py_NewRef(function);
    if (find_answer(self, function) < 0) {
        Py_DECREF(object);
        return NULL;
    }
    self->owner = Py_NewRef(self->base);
    PyObject *looks = PyObject_CallFunctionObjArgs(state->update_wrapper, object, function, NULL);
    Py_XDECREF(looks);
    if (!looks)
        Py_CLEAR(object);
    return object;
}

static PyMethodDef functions[] = {
    {"in_c", in_c, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int add_method(PyObject *module, module_state *state) {
    state->bound_method = imported("types", "MethodType");
    state->update_wrapper = imported("functools", "update_wrapper");
    state->method_type = add_type(module, "Method", &method_spec);
    if (!state->bound_method || !state->update_wrapper || !state->method_type)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
