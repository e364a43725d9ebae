/* The methods that register: plain arguments are read here, without a Python call; all others, and
 * every error, are left to the methods that Registry has in Python. */
#include "python.h"

static int descriptor(PyObject *number) {
    if (!PyLong_CheckExact(number))
        return -1;
    int overflow;
    long fd = PyLong_AsLongAndOverflow(number, &overflow);
    return overflow || fd < 0 || fd > INT_MAX ? -1 : (int)fd;
}

/* Whether a class is hashed and compared by its identity: a metaclass may do so otherwise. */
static bool is_itself(PyTypeObject *type) {
    PyTypeObject *meta = Py_TYPE((PyObject *)type);
    return meta == &PyType_Type ||
           (PyType_GetSlot(meta, Py_tp_hash) == PyType_GetSlot(&PyType_Type, Py_tp_hash) &&
            PyType_GetSlot(meta, Py_tp_richcompare) ==
                PyType_GetSlot(&PyType_Type, Py_tp_richcompare));
}

int descriptor_of(const module_state *state, PyObject *source, enum what what) {
    if (PyLong_CheckExact(source))
        return descriptor(source);
    if (!is_itself(Py_TYPE(source)))
        return -1;
    int plain = PySet_Contains(state->plain_types, (PyObject *)Py_TYPE(source));
    if (plain <= 0)
        return plain < 0 ? -2 : -1;
    PyObject *number = PyObject_CallMethodObjArgs(source, state->fileno, NULL);
    if (number) {
        int fd = descriptor(number);
        Py_DECREF(number);
        return fd;
    }
    if (!PyErr_ExceptionMatches(what == DEREGISTER ? PyExc_Exception : PyExc_ValueError))
        return -2;
    PyErr_Clear(); /* closed: the Python code sees to it */
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
    if (c->what > REREGISTER)
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

PyObject *refuse(PyObject *self, const change *c, int error, PyObject *source) {
    PyObject *result = PyObject_CallMethod(self, "_refuse", "iOii", error, source, c->fd, c->what);
    Py_XDECREF(result);
    if (result)
        PyErr_SetString(PyExc_SystemError, "an error without a meaning");
    return NULL;
}

/* A timer is readable and nothing else. */
static bool is_for_timer(const change *c) {
    return c->timer && (c->what > REREGISTER || c->interest == INTEREST_READABLE);
}

static PyObject *change_plainly(PyObject *method, enum what what, PyObject *const *arguments,
                                size_t flagged, PyObject *names) {
    const module_state *state = ((MethodObject *)method)->state;
    Py_ssize_t count = ARGUMENTS(flagged);
    change c = {.what = what};
    if (count < 2 || !can_answer_for(method, arguments[0]) || (names && PyTuple_Size(names) > 0) ||
        read_arguments(state, &c, arguments + 1, count - 1) < 0)
        return call_as_written(method, arguments, count, names);
    PyObject *registry = arguments[0], *source = arguments[1];
    c.timer = PyLong_CheckExact(source) ? NULL : timer_of(state, source);
    c.fd = c.timer ? -1 : descriptor_of(state, source, what);
    if (c.fd == -1 && !is_for_timer(&c))
        return call_as_written(method, arguments, count, names);
    if (c.fd == -2)
        return NULL;
    if (what == REGISTER && !PyLong_CheckExact(source))
        c.is_plain = PySet_Contains(state->socket_types, (PyObject *)Py_TYPE(source)) == 1;
    int error = change_registry(registry, &c, arguments + 1);
    if (error > 0)
        return refuse(registry, &c, error, source);
    return error < 0 ? NULL : none();
}

PyObject *registry_register(PyObject *method, PyObject *const *arguments, size_t flagged,
                            PyObject *names) {
    return change_plainly(method, REGISTER, arguments, flagged, names);
}

PyObject *registry_reregister(PyObject *method, PyObject *const *arguments, size_t flagged,
                              PyObject *names) {
    return change_plainly(method, REREGISTER, arguments, flagged, names);
}

PyObject *registry_deregister(PyObject *method, PyObject *const *arguments, size_t flagged,
                              PyObject *names) {
    return change_plainly(method, DEREGISTER, arguments, flagged, names);
}

PyObject *registry_pause(PyObject *method, PyObject *const *arguments, size_t flagged,
                         PyObject *names) {
    return change_plainly(method, PAUSE, arguments, flagged, names);
}

PyObject *registry_resume(PyObject *method, PyObject *const *arguments, size_t flagged,
                          PyObject *names) {
    return change_plainly(method, RESUME, arguments, flagged, names);
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
    c.what = what >= REGISTER && what <= RESUME ? (enum what)what : REGISTER;
    c.fd = descriptor(arguments[1]);
    bool for_hangups = count == 7;
    if (c.fd < 0 || read_arguments(selector->state, &c, arguments + 2, count - 2 - for_hangups) < 0)
        return PyLong_FromLong(-1);
    if (for_hangups)
        c.interest |= INTEREST_HANGUP;
    int error = change_registry(object, &c, arguments + 2);
    return error < 0 ? NULL : PyLong_FromLong(error);
}

int add_methods(module_state *state) {
    state->interests = imported("pollster.interest", "interests");
    state->triggers = imported("pollster.trigger", "triggers");
    state->plain_types = imported("pollster._descriptors", "plain_types");
    state->socket_types = imported("pollster._descriptors", "socket_types");
    state->fileno = PyUnicode_InternFromString("fileno");
    bool known = state->interests && state->triggers && state->plain_types && state->socket_types &&
                 state->fileno;
    return known ? 0 : -1;
}
