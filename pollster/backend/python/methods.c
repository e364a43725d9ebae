/* The methods that register: plain arguments are read here, without a Python call; all others, and
 * every error, are left to the methods that Registry has in Python. */
#include "python.h"
#include <string.h>

/* -1: it wants a closer look; -2: an exception is set. */
static int descriptor(PyObject *number) {
    if (!PyLong_CheckExact(number))
        return -1;
    int overflow;
    long fd = PyLong_AsLongAndOverflow(number, &overflow);
    return overflow || fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

static int descriptor_of(const module_state *state, PyObject *source) {
    if (PyLong_CheckExact(source))
        return descriptor(source);
    int plain = PySet_Contains(state->plain_types, (PyObject *)Py_TYPE(source));
    if (plain <= 0)
        return plain < 0 ? -2 : -1;
    PyObject *number = PyObject_CallMethodObjArgs(source, state->fileno, NULL);
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

/* An object's place in a tuple, or -1. What only looks like one of them is none. */
static int number_of(PyObject *object, PyObject *numbered) {
    Py_ssize_t size = PyTuple_Size(numbered);
    for (Py_ssize_t number = 0; number < size; number++)
        if (PyTuple_GetItem(numbered, number) == object)
            return (int)number;
    return -1;
}

/* Fills in what the arguments (source, token, interest and perhaps trigger) say, but for the
 * source's descriptor. 0, or -1 and -2 as above. */
static int read_arguments(const module_state *state, change *c, PyObject *const *arguments,
                          Py_ssize_t count) {
    if (c->what == DEREGISTER)
        return count == 1 ? 0 : -1;
    if (count != 4 && count != 3)
        return -1;
    PyObject *token = arguments[1], *how = count == 4 ? arguments[3] : NULL;
    bool keeps = c->what == REREGISTER && (!how || how == Py_None);
    int interest = number_of(arguments[2], state->interests);
    int trigger = keeps ? TRIGGER_KEEP : how ? number_of(how, state->triggers) : 0;
    if (interest <= 0 || trigger < 0)
        return -1;
    if (!is_exactly_a(token, state->token_type) && !PyLong_CheckExact(token))
        return -1;
    c->interest = (uint32_t)interest;
    c->trigger = (uint32_t)trigger;
    c->token = PyLong_AsUnsignedLongLong(token);
    if (c->token != UINT64_MAX || !PyErr_Occurred())
        return 0;
    PyErr_Clear(); /* out of range: the Python code says so */
    return -1;
}

/* The methods as Python wrote them see to what is not plain. */
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
        result = PyObject_Call(state_of(Py_TYPE(self))->written[what], positional, keywords);
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
    const SelectorObject *selector = ((RegistryObject *)object)->selector;
    change c = {.what = what};
    if (!selector || (names && PyTuple_Size(names) > 0) ||
        read_arguments(selector->state, &c, arguments, count) < 0)
        return as_written(object, what, arguments, count, names);
    c.timer = PyLong_CheckExact(arguments[0]) ? NULL : timer_of(selector->state, arguments[0]);
    c.fd = c.timer ? -1 : descriptor_of(selector->state, arguments[0]);
    if (c.fd == -1 && !is_for_timer(&c))
        return as_written(object, what, arguments, count, names);
    if (c.fd == -2)
        return NULL;
    int error = change_registry(object, &c, arguments);
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

PyObject *registry_change(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
    const SelectorObject *selector = ((RegistryObject *)object)->selector;
    change c = {.what = REGISTER};
    if (!is_opened(selector))
        return NULL;
    if (count < 3)
        return PyErr_Format(PyExc_TypeError, "_change() takes at least 3 arguments");
    long what = PyLong_AsLong(arguments[0]);
    if (what == -1 && PyErr_Occurred())
        return NULL;
    c.what = what == DEREGISTER ? DEREGISTER : what == REREGISTER ? REREGISTER : REGISTER;
    c.fd = descriptor(arguments[1]);
    if (c.fd < 0 || read_arguments(selector->state, &c, arguments + 2, count - 2) < 0)
        return PyLong_FromLong(-1);
    int error = change_registry(object, &c, arguments + 2);
    return error < 0 ? NULL : PyLong_FromLong(error);
}

static PyMethodDef taken_over[] = {
    {"register", METHOD(registry_register), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"reregister", METHOD(registry_reregister), METH_FASTCALL | METH_KEYWORDS, NULL},
    {"deregister", METHOD(registry_deregister), METH_FASTCALL | METH_KEYWORDS, NULL},
};

/* take_over(class, documentation...): puts the methods above in the place of those which the class
 * has written in Python, and calls those for what is not plain. The documentation is theirs. */
static PyObject *take_over(PyObject *module, PyObject *arguments) {
    module_state *state = PyModule_GetState(module);
    PyObject *class;
    const char *texts[3];
    if (!PyArg_ParseTuple(arguments, "O!sss", &PyType_Type, &class, &texts[0], &texts[1],
                          &texts[2]))
        return NULL;
    for (int what = REGISTER; what <= DEREGISTER; what++) {
        PyMethodDef *method = &taken_over[what];
        char *text = method->ml_doc ? NULL : strdup(texts[what]);
        if (text)
            method->ml_doc = text; /* for as long as the process runs */
        PyObject *before = state->written[what];
        state->written[what] = PyObject_GetAttrString(class, method->ml_name);
        Py_XDECREF(before);
        PyObject *descriptor = PyDescr_NewMethod((PyTypeObject *)class, method);
        int result = descriptor && state->written[what]
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

int add_methods(PyObject *module, module_state *state) {
    state->interests = imported("pollster.interest", "interests");
    state->triggers = imported("pollster.trigger", "triggers");
    state->plain_types = imported("pollster.source", "plain_types");
    state->fileno = PyUnicode_InternFromString("fileno");
    if (!state->interests || !state->triggers || !state->plain_types || !state->fileno)
        return -1;
    return PyModule_AddFunctions(module, functions);
}
