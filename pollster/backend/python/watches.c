/* The base of Watch: who has the memory of one. */
#include "python.h"

typedef struct {
    PyObject ob_base;
    const selector_calls *calls;
    watch *watch; /* NULL: none was opened */
} WatchObject;

/* _own(functions, watch): has a watch from then on, which others borrow. */
static PyObject *watch_own(PyObject *object, PyObject *arguments) {
    WatchObject *self = (WatchObject *)object;
    PyObject *functions, *opened;
    if (!PyArg_ParseTuple(arguments, "OO", &functions, &opened))
        return NULL;
    const selector_calls *calls = PyLong_AsVoidPtr(functions);
    watch *watch = PyLong_AsVoidPtr(opened);
    if (PyErr_Occurred())
        return NULL;
    if (self->watch)
        return PyErr_Format(PyExc_RuntimeError, "it is open already: make another one");
    self->calls = calls;
    self->watch = watch;
    return none();
}

/* As of a Selector: after all finalizers, which may still close it. */
static void watch_dealloc(PyObject *object) {
    WatchObject *self = (WatchObject *)object;
    if (self->watch) {
        Py_BEGIN_ALLOW_THREADS
            self->calls->watch_free(self->watch);
        Py_END_ALLOW_THREADS
    }
    free_object(object);
}

static PyMethodDef watch_methods[] = {
    {"_own", watch_own, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_dealloc, watch_dealloc},
    {Py_tp_methods, watch_methods},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    .name = "pollster.backend._python.Watch",
    .basicsize = sizeof(WatchObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = watch_slots,
};

int add_watches(PyObject *module) {
    PyObject *watch_type = add_type(module, "Watch", &watch_spec);
    Py_XDECREF(watch_type);
    return watch_type ? 0 : -1;
}
