/* The base of Poll: what it polls with, and a plain call of poll(). */
#include "python.h"
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject ob_base;
    SelectorObject *selector;
    ReadyObject *events; /* its own */
} PollObject;

/* Reads the arguments (self, events=None, timeout=None). False: they are not the plain ones. */
static bool read_arguments(PyObject *method, PyObject *const *arguments, Py_ssize_t count,
                           PyObject *names, PyObject **events, PyObject **timeout) {
    const module_state *state = ((MethodObject *)method)->state;
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    if (count < 1 || count + named > 3 || !can_answer_for(method, arguments[0]))
        return false;
    if (count > 1)
        *events = arguments[1];
    if (count > 2)
        *timeout = arguments[2];
    for (Py_ssize_t i = 0; i < named; i++) {
        const PyObject *name = PyTuple_GetItem(names, i);
        if (name == state->timeout && count < 3)
            *timeout = arguments[count + i];
        else if (name == state->events && count < 2)
            *events = arguments[count + i];
        else
            return false;
    }
    return true;
}

PyObject *poll_poll(PyObject *method, PyObject *const *arguments, size_t flagged, PyObject *names) {
    const module_state *state = ((MethodObject *)method)->state;
    Py_ssize_t count = ARGUMENTS(flagged);
    PyObject *events = Py_None, *timeout = Py_None;
    if (!read_arguments(method, arguments, count, names, &events, &timeout))
        return call_as_written(method, arguments, count, names);
    PollObject *self = (PollObject *)arguments[0];
    if (events == Py_None)
        events = (PyObject *)self->events;
    if (!self->selector || !is_a(events, state->ready_type))
        return call_as_written(method, arguments, count, names);
    return wait_for(self->selector, (ReadyObject *)events, timeout);
}

/* _begin(selector, events) */
static PyObject *poll_begin(PyObject *object, PyObject *arguments) {
    const module_state *state = state_of(Py_TYPE(object));
    PollObject *self = (PollObject *)object;
    PyObject *selector, *events;
    if (!PyArg_ParseTuple(arguments, "O!O!", state->selector_type, &selector, state->ready_type,
                          &events))
        return NULL;
    if (self->selector)
        return PyErr_Format(PyExc_RuntimeError, "this Poll was made already: make another one");
    self->events = (ReadyObject *)Py_NewRef(events);
    self->selector = (SelectorObject *)Py_NewRef(selector);
    return none();
}

static int poll_traverse(PyObject *object, visitproc visit, void *arg) {
    const PollObject *self = (PollObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->selector);
    Py_VISIT((PyObject *)self->events);
    return 0;
}

static int poll_clear(PyObject *object) {
    PollObject *self = (PollObject *)object;
    PyObject *selector = (PyObject *)self->selector, *events = (PyObject *)self->events;
    self->selector = NULL;
    self->events = NULL;
    Py_XDECREF(selector);
    Py_XDECREF(events);
    return 0;
}

static void poll_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    poll_clear(object);
    free_object(object);
}

static PyMethodDef poll_methods[] = {
    {"_begin", poll_begin, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef poll_members[] = {
    {"_selector", T_OBJECT_EX, offsetof(PollObject, selector), READONLY, NULL},
    {"_events", T_OBJECT_EX, offsetof(PollObject, events), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot poll_slots[] = {
    {Py_tp_traverse, poll_traverse}, {Py_tp_clear, poll_clear},     {Py_tp_dealloc, poll_dealloc},
    {Py_tp_methods, poll_methods},   {Py_tp_members, poll_members}, {0, NULL},
};

static PyType_Spec poll_spec = {
    .name = "pollster.backend._python.Poll",
    .basicsize = sizeof(PollObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = poll_slots,
};

int add_poll(PyObject *module, module_state *state) {
    state->events = PyUnicode_InternFromString("events");
    state->timeout = PyUnicode_InternFromString("timeout");
    state->poll_type = add_type(module, "Poll", &poll_spec);
    return state->events && state->timeout && state->poll_type ? 0 : -1;
}
