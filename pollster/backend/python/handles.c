/* How a loop makes handles for what is to be called soon. What is not plain is asyncio's matter,
 * and so is each error. */
#include "looping.h"
#ifndef PYPY_VERSION

static int is_plain(const LoopingObject *self) {
    int other = is_set((PyObject *)self, self->names._debug);
    if (other == 0)
        other = is_set((PyObject *)self, self->names._closed);
    return other < 0 ? -1 : !other;
}

/* What Handle.__init__() does. */
static int fill(const LoopingObject *self, PyObject *handle, PyObject *callback,
                PyObject *arguments, PyObject *context) {
    return PyObject_SetAttr(handle, self->names._context, context) < 0 ||
                   PyObject_SetAttr(handle, self->names._loop, (PyObject *)self) < 0 ||
                   PyObject_SetAttr(handle, self->names._callback, callback) < 0 ||
                   PyObject_SetAttr(handle, self->names._args, arguments) < 0 ||
                   PyObject_SetAttr(handle, self->names._cancelled, Py_False) < 0 ||
                   PyObject_SetAttr(handle, self->names._repr, Py_None) < 0 ||
                   PyObject_SetAttr(handle, self->names._source_traceback, Py_None) < 0
               ? -1
               : 0;
}

static PyObject *tuple_of(PyObject *const *items, Py_ssize_t count) {
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple && i < count; i++)
        if (PyTuple_SetItem(tuple, i, Py_NewRef(items[i])) < 0)
            Py_CLEAR(tuple);
    return tuple;
}

static PyObject *new_handle(LoopingObject *self, PyObject *callback, PyObject *arguments,
                            PyObject *given) {
    PyObject *context =
        given == Py_None ? PyObject_CallNoArgs(self->copy_context) : Py_NewRef(given);
    PyObject *handle = context ? PyType_GenericAlloc((PyTypeObject *)self->handle_type, 0) : NULL;
    if (handle && fill(self, handle, callback, arguments, context) < 0)
        Py_CLEAR(handle);
    Py_XDECREF(context);
    return handle;
}

/* The context that a call names; NULL: the call is not plain. */
static PyObject *context_of(PyObject *const *arguments, Py_ssize_t count, PyObject *names) {
    if (count < 1)
        return NULL;
    if (!names || PyTuple_Size(names) == 0)
        return Py_None;
    if (PyTuple_Size(names) > 1 ||
        PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, 0), "context") != 0)
        return NULL;
    return arguments[count];
}

/* NULL without an exception: it is asyncio's matter. */
static PyObject *add_handle(LoopingObject *self, PyObject *const *arguments, Py_ssize_t count,
                            PyObject *names) {
    PyObject *context = self->copy_context ? context_of(arguments, count, names) : NULL;
    if (!context || is_plain(self) <= 0)
        return NULL;
    PyObject *rest = tuple_of(arguments + 1, count - 1);
    PyObject *handle = rest ? new_handle(self, arguments[0], rest, context) : NULL;
    Py_XDECREF(rest);
    if (handle && append_handle(self, handle) < 0)
        Py_CLEAR(handle);
    return handle;
}

static PyObject *as_asyncio(PyObject *object, const char *name, PyObject *const *arguments,
                            Py_ssize_t count, PyObject *names) {
    PyObject *written = PyObject_GetAttrString(object, name);
    PyObject *result = written ? call_function(written, arguments, count, names) : NULL;
    Py_XDECREF(written);
    return result;
}

PyObject *looping_call_soon(PyObject *object, PyObject *const *arguments, Py_ssize_t count,
                            PyObject *names) {
    PyObject *handle = add_handle((LoopingObject *)object, arguments, count, names);
    if (handle || PyErr_Occurred())
        return handle;
    return as_asyncio(object, "_asyncios_call_soon", arguments, count, names);
}

PyObject *looping_call_soon_threadsafe(PyObject *object, PyObject *const *arguments,
                                       Py_ssize_t count, PyObject *names) {
    LoopingObject *self = (LoopingObject *)object;
    PyObject *handle = self->is_threadsafe ? add_handle(self, arguments, count, names) : NULL;
    if (!handle)
        return PyErr_Occurred()
                   ? NULL
                   : as_asyncio(object, "_asyncios_call_soon_threadsafe", arguments, count, names);
    int woken = is_set(object, self->names._woken);
    PyObject *done =
        woken ? NULL : PyObject_CallMethodObjArgs(object, self->names._write_to_self, NULL);
    Py_XDECREF(done);
    if (woken < 0 || (!woken && !done))
        Py_CLEAR(handle);
    return handle;
}

#endif
