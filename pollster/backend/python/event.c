/* Event: what one registration is ready for.
 *
 * Thousands are made at a time, and kept. So it is small, and none of the garbage collector's
 * business: it refers to a Token and to True and False, none of which can lead back to it. (A class
 * that is written in Python can't have such instances.) */
#include "python.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <structmember.h>

#define PREDICATES 6

typedef struct {
    PyObject ob_base;
    PyObject *token;
    PyObject *predicates[PREDICATES];
} EventObject;

static const uint32_t bits[PREDICATES] = {READY_READABLE,    READY_WRITABLE,     READY_PRIORITY,
                                          READY_READ_CLOSED, READY_WRITE_CLOSED, READY_ERROR};
static char *names[] = {"token",          "is_readable",     "is_writable", "is_priority",
                        "is_read_closed", "is_write_closed", "is_error",    NULL};

/* Of a number that is in range; a Token's own value, and nothing that else clings to it. */
PyObject *new_token(const module_state *state, PyObject *number) {
    if (is_exactly_a(number, state->token_type))
        return Py_NewRef(number);
    newfunc new_integer = (newfunc)PyType_GetSlot(&PyLong_Type, Py_tp_new);
    PyObject *arguments = Py_BuildValue("(O)", number);
    PyObject *token =
        arguments ? new_integer((PyTypeObject *)state->token_type, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    return token;
}

PyObject *new_event(const module_state *state, PyObject *token, uint32_t readiness) {
    PyObject *event = PyType_GenericAlloc((PyTypeObject *)state->event_type, 0);
    EventObject *self = (EventObject *)event;
    if (!self)
        return NULL;
    self->token = Py_NewRef(token);
    for (int i = 0; i < PREDICATES; i++)
        self->predicates[i] = Py_NewRef(readiness & bits[i] ? Py_True : Py_False);
    return event;
}

static PyObject *event_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    const module_state *state = state_of(type);
    PyObject *number;
    int is[PREDICATES] = {0};
    uint32_t readiness = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|pppppp:Event", names, &number, &is[0],
                                     &is[1], &is[2], &is[3], &is[4], &is[5]))
        return NULL;
    for (int i = 0; i < PREDICATES; i++)
        readiness |= is[i] ? bits[i] : 0;
    PyObject *token = is_exactly_a(number, state->token_type)
                          ? Py_NewRef(number)
                          : PyObject_CallFunctionObjArgs(state->token_type, number, NULL);
    if (!token)
        return NULL;
    PyObject *event = new_event(state, token, readiness);
    Py_DECREF(token);
    return event;
}

static void event_dealloc(PyObject *object) {
    EventObject *self = (EventObject *)object;
    Py_XDECREF(self->token);
    for (int i = 0; i < PREDICATES; i++)
        Py_XDECREF(self->predicates[i]);
    free_object(object);
}

static uint32_t readiness_of(const EventObject *self) {
    uint32_t readiness = 0;
    for (int i = 0; i < PREDICATES; i++)
        readiness |= self->predicates[i] == Py_True ? bits[i] : 0;
    return readiness;
}

static PyObject *event_compare(PyObject *object, PyObject *other, int operation) {
    const EventObject *one = (EventObject *)object, *two = (EventObject *)other;
    if (!Py_IS_TYPE(other, Py_TYPE(object)) || (operation != Py_EQ && operation != Py_NE))
        return Py_NewRef(Py_NotImplemented);
    if (readiness_of(one) != readiness_of(two))
        return PyBool_FromLong(operation == Py_NE);
    return PyObject_RichCompare(one->token, two->token, operation);
}

/* -1 says that there is none. */
static Py_hash_t event_hash(PyObject *object) {
    const EventObject *self = (EventObject *)object;
    uint64_t token = (uint64_t)PyObject_Hash(self->token);
    Py_hash_t hash = (Py_hash_t)(token * 1000003 ^ readiness_of(self));
    return hash == -1 ? -2 : hash;
}

static PyObject *event_repr(PyObject *object) {
    const EventObject *self = (EventObject *)object;
    char words[96] = "";
    for (int i = 0; i < PREDICATES; i++)
        if (self->predicates[i] == Py_True) {
            size_t used = strlen(words);
            snprintf(words + used, sizeof words - used, " %s", names[i + 1] + strlen("is_"));
        }
    return PyUnicode_FromFormat("<Event %R%s>", self->token, words);
}

static PyObject *event_reduce(PyObject *object, PyObject *nothing) {
    const EventObject *self = (EventObject *)object;
    PyObject *const *is = self->predicates;
    (void)nothing;
    return Py_BuildValue("O(OOOOOOO)", Py_TYPE(object), self->token, is[0], is[1], is[2], is[3],
                         is[4], is[5]);
}

static PyMethodDef event_methods[] = {
    {"__reduce__", event_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#define PREDICATE(name, i)                                                                         \
    {name, T_OBJECT_EX, offsetof(EventObject, predicates) + (i) * sizeof(PyObject *), READONLY,    \
     NULL}

static PyMemberDef event_members[] = {
    {"token", T_OBJECT_EX, offsetof(EventObject, token), READONLY, NULL},
    PREDICATE("is_readable", 0),
    PREDICATE("is_writable", 1),
    PREDICATE("is_priority", 2),
    PREDICATE("is_read_closed", 3),
    PREDICATE("is_write_closed", 4),
    PREDICATE("is_error", 5),
    {NULL, 0, 0, 0, NULL},
};

#define EVENT_DOC                                                                                  \
    "Event(token, is_readable=False, is_writable=False, is_priority=False, "                       \
    "is_read_closed=False, is_write_closed=False, is_error=False)\n--\n\n"                         \
    "What one registered source is ready for.\n\n"                                                 \
    "`token`: the registration's. `is_readable`, `is_writable`: a read, a write would not "        \
    "block; one\n"                                                                                 \
    "that fails or finds the end does not either. `is_priority`: out-of-band data is there.\n"     \
    "`is_read_closed`: the peer will send no more; unread data comes first. `is_write_closed`:\n"  \
    "nothing more can be sent. `is_error`: a stream socket was reset or its connect failed; its\n" \
    "SO_ERROR says why. The closed predicates are given for the directions of the interest.\n\n"   \
    "Events are immutable, compare by value, and may be kept, copied and pickled.\n\n"             \
    "Raises `ValueError` for a token out of range, `TypeError` for what is no integer.\n\n"        \
    ">>> from pollster import Event, Token\n"                                                      \
    ">>> Event(Token(7), is_readable=True, is_read_closed=True)\n"                                 \
    "<Event Token(7) readable read_closed>\n"

static PyType_Slot event_slots[] = {
    {Py_tp_new, event_new},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_richcompare, event_compare},
    {Py_tp_hash, event_hash},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_members, event_members},
    {Py_tp_doc, EVENT_DOC},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "pollster.event.Event",
    .basicsize = sizeof(EventObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = event_slots,
};

/* For `case Event(token, readable)`. */
static int name_arguments(PyObject *event_type) {
    PyObject *list = Py_BuildValue("(sssssss)", names[0], names[1], names[2], names[3], names[4],
                                   names[5], names[6]);
    int result = list ? PyObject_SetAttrString(event_type, "__match_args__", list) : -1;
    Py_XDECREF(list);
    return result;
}

int add_event(PyObject *module, module_state *state) {
    state->token_type = imported("pollster.token", "Token");
    state->event_type = add_type(module, "Event", &event_spec);
    return state->token_type && state->event_type ? name_arguments(state->event_type) : -1;
}
