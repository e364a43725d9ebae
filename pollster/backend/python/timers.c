/* The base of Timer: what a program of thousands of deadlines does for each of them. */
#include "timers.h"
#include "common/clock.h"
#include "python.h"

#define NEVER INT64_MAX
#define BEYOND (NEVER - 1) /* the clock: it is set, and does not come */

typedef struct {
    PyObject ob_base;
    SelectorObject *selector; /* whose it is, or was last */
    timer timer;
} TimerObject;

/* Changes that are about a timer: see registry.c */

timer *timer_of(const module_state *state, PyObject *source) {
    return is_a(source, state->timer_type) ? &((TimerObject *)source)->timer : NULL;
}

int change_timer(PyObject *object, SelectorObject *selector, change *c) {
    TimerObject *self = (TimerObject *)object;
    SelectorObject *before = NULL;
    int result;
    LOCK(object)
        result = selector->calls->apply(selector->selector, c, 1);
        if (self->timer.owner == selector->selector && self->selector != selector) {
            before = self->selector;
            self->selector = (SelectorObject *)Py_NewRef((PyObject *)selector);
        }
    UNLOCK
    Py_XDECREF((PyObject *)before);
    return result;
}

/* Times, in nanoseconds. 0, or -1 with an exception set. */

static int read_slowly(PyObject *time, PyObject *function, int64_t *nanoseconds) {
    PyObject *number = PyObject_CallFunctionObjArgs(function, time, NULL);
    if (!number)
        return -1;
    *nanoseconds = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *nanoseconds == -1 && PyErr_Occurred() ? -1 : 0;
}

static int read_delay(PyTypeObject *type, PyObject *seconds, int64_t *deadline) {
    int64_t left, now = monotonic();
    if (!read_plain(seconds, &left) && read_slowly(seconds, state_of(type)->delay, &left) < 0)
        return -1;
    *deadline = left < BEYOND - now ? now + left : BEYOND;
    return 0;
}

static int read_period(PyTypeObject *type, PyObject *seconds, int64_t *deadline, int64_t *every) {
    if ((!read_plain(seconds, every) || *every == 0) &&
        read_slowly(seconds, state_of(type)->period, every) < 0)
        return -1;
    int64_t now = monotonic();
    *deadline = *every < BEYOND - now ? now + *every : BEYOND;
    return 0;
}

/* The first nanosecond that is not before it, as time.monotonic() would show it. */
static int read_moment(PyTypeObject *type, PyObject *seconds, int64_t *deadline) {
    double wanted = PyFloat_CheckExact(seconds) ? PyFloat_AsDouble(seconds) : -1;
    if (!(wanted >= 0 && wanted < 9e9))
        return read_slowly(seconds, state_of(type)->moment, deadline);
    *deadline = (int64_t)(wanted * (double)NANOSECONDS);
    while ((double)*deadline / (double)NANOSECONDS < wanted)
        ++*deadline;
    return 0;
}

/* Making and setting them */

static PyObject *new_timer(PyObject *type, int64_t deadline, int64_t every) {
    TimerObject *self = (TimerObject *)PyType_GenericAlloc((PyTypeObject *)type, 0);
    if (self) {
        self->timer.deadline = deadline;
        self->timer.period = every;
    }
    return (PyObject *)self;
}

static PyObject *timer_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    if (PyTuple_Size(arguments) || (keywords && PyDict_Size(keywords)))
        return PyErr_Format(PyExc_TypeError,
                            "Timer() takes no arguments: use after(), every() or at()");
    return new_timer((PyObject *)type, NEVER, 0);
}

/* The arguments (time[, *, once=False]). */
static int read_once(const char *name, PyObject *const *arguments, Py_ssize_t count,
                     PyObject *names) {
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    if (count != 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes exactly one argument and perhaps once=True",
                     name);
        return -1;
    }
    if (named == 0)
        return 0;
    PyObject *given = PyTuple_GetItem(names, 0);
    if (named > 1 || PyUnicode_CompareWithASCIIString(given, "once") != 0) {
        PyErr_Format(PyExc_TypeError, "%s() takes no keyword but once", name);
        return -1;
    }
    return PyObject_IsTrue(arguments[1]);
}

static PyObject *new_timer_once(PyObject *type, int64_t deadline, int once) {
    PyObject *made = new_timer(type, deadline, 0);
    if (made && once)
        ((TimerObject *)made)->timer.once = ONCE_IS;
    return made;
}

static PyObject *timer_after(PyObject *type, PyObject *const *arguments, Py_ssize_t count,
                             PyObject *names) {
    int64_t deadline;
    int once = read_once("after", arguments, count, names);
    if (once < 0 || read_delay((PyTypeObject *)type, arguments[0], &deadline) < 0)
        return NULL;
    return new_timer_once(type, deadline, once);
}

static PyObject *timer_every(PyObject *type, PyObject *seconds) {
    int64_t deadline, every;
    if (read_period((PyTypeObject *)type, seconds, &deadline, &every) < 0)
        return NULL;
    return new_timer(type, deadline, every);
}

static PyObject *timer_at(PyObject *type, PyObject *const *arguments, Py_ssize_t count,
                          PyObject *names) {
    int64_t deadline;
    int once = read_once("at", arguments, count, names);
    if (once < 0 || read_moment((PyTypeObject *)type, arguments[0], &deadline) < 0)
        return NULL;
    return new_timer_once(type, deadline, once);
}

/* Whose it is, held: another thread may register it with another one. */
static SelectorObject *held(const TimerObject *self) {
    return (SelectorObject *)Py_NewRef((PyObject *)self->selector);
}

/* Returns nothing, or raises what a result means. Lets go of the selector. */
static PyObject *finish(SelectorObject *selector, int result, const char *what) {
    PyObject *nothing = result < 0 ? fail((PyObject *)selector, result, what) : none();
    Py_XDECREF((PyObject *)selector);
    return nothing;
}

static PyObject *set_timer(PyObject *object, int64_t deadline, int64_t every) {
    TimerObject *self = (TimerObject *)object;
    SelectorObject *selector = NULL;
    registration_id made;
    int result = 0;
    LOCK(object)
        made = self->timer.made;
        if (self->timer.owner)
            result = self->selector->calls->timer_set(&self->timer, deadline, every);
        if (!self->timer.owner) { /* by now */
            result = 0;
            self->timer.deadline = deadline;
            self->timer.period = every;
            self->timer.expirations = 0;
        } else if (result < 0 || self->timer.made.generation != made.generation) {
            selector = held(self);
            made = self->timer.made;
        }
    UNLOCK
    if (result == -ESHUTDOWN && deadline == NEVER)
        result = 0;
    if (selector && result == 0) {
        LOCK((PyObject *)selector)
            renew_source(selector, made, object);
        UNLOCK
    }
    return finish(selector, result, "the timer can't be set");
}

static PyObject *timer_set_after(PyObject *self, PyObject *seconds) {
    int64_t deadline;
    return read_delay(Py_TYPE(self), seconds, &deadline) < 0 ? NULL : set_timer(self, deadline, 0);
}

static PyObject *timer_set_every(PyObject *self, PyObject *seconds) {
    int64_t deadline, every;
    if (((TimerObject *)self)->timer.once)
        return PyErr_Format(PyExc_ValueError,
                            "%R is for a single use and can't repeat: make another one", self);
    return read_period(Py_TYPE(self), seconds, &deadline, &every) < 0
               ? NULL
               : set_timer(self, deadline, every);
}

static PyObject *timer_set_at(PyObject *self, PyObject *seconds) {
    int64_t deadline;
    return read_moment(Py_TYPE(self), seconds, &deadline) < 0 ? NULL : set_timer(self, deadline, 0);
}

static PyObject *timer_cancel(PyObject *self, PyObject *nothing) {
    (void)nothing;
    return set_timer(self, NEVER, 0);
}

static PyObject *timer_close(PyObject *object, PyObject *nothing) {
    (void)nothing;
    TimerObject *self = (TimerObject *)object;
    SelectorObject *selector = NULL;
    change c = {.what = DEREGISTER, .fd = -1, .timer = &self->timer};
    int result = 0;
    LOCK(object)
        if (self->timer.owner) {
            selector = held(self);
            result = selector->calls->apply(selector->selector, &c, 1);
        }
    UNLOCK
    if (result == -ECHILD)
        return finish(selector, result, "the timer can't be closed");
    if (c.gone.index) {
        LOCK((PyObject *)selector)
            forget(selector, c.gone);
        UNLOCK
    }
    if (selector && result == 0)
        observe_change(selector, &c, object);
    Py_XDECREF((PyObject *)selector);
    return set_timer(object, NEVER, 0);
}

/* Asking */

static PyObject *timer_count(PyObject *object, PyObject *nothing) {
    (void)nothing;
    TimerObject *self = (TimerObject *)object;
    SelectorObject *selector = NULL;
    int64_t expirations = 0;
    LOCK(object)
        if (self->timer.owner)
            expirations = self->selector->calls->timer_expirations(&self->timer);
        if (self->timer.owner) {
            if (expirations < 0)
                selector = held(self);
        } else { /* by now */
            expirations = (int64_t)self->timer.expirations;
            self->timer.expirations = 0;
        }
    UNLOCK
    if (selector)
        return finish(selector, (int)expirations, "the timer can't be asked");
    return PyLong_FromLongLong(expirations);
}

/* (deadline, period), in nanoseconds; None instead of a deadline: it is not set. */
static PyObject *timer_setting(PyObject *object, PyObject *nothing) {
    (void)nothing;
    TimerObject *self = (TimerObject *)object;
    timer seen;
    LOCK(object)
        if (self->timer.owner)
            self->selector->calls->timer_look(&self->timer);
        seen = self->timer;
    UNLOCK
    if (seen.deadline == NEVER)
        return Py_BuildValue("OL", Py_None, (long long)0);
    return Py_BuildValue("LL", (long long)seen.deadline, (long long)seen.period);
}

static int timer_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)((TimerObject *)object)->selector);
    return 0;
}

static int timer_clear(PyObject *object) {
    TimerObject *self = (TimerObject *)object;
    PyObject *selector = (PyObject *)self->selector;
    self->timer.owner = NULL;
    self->selector = NULL;
    Py_XDECREF(selector);
    return 0;
}

static void timer_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    timer_clear(object);
    free_object(object);
}

static PyMethodDef timer_methods[] = {
    {"after", METHOD(timer_after), METH_FASTCALL | METH_KEYWORDS | METH_CLASS, AFTER_DOC},
    {"every", timer_every, METH_O | METH_CLASS, EVERY_DOC},
    {"at", METHOD(timer_at), METH_FASTCALL | METH_KEYWORDS | METH_CLASS, AT_DOC},
    {"set_after", timer_set_after, METH_O, SET_AFTER_DOC},
    {"set_every", timer_set_every, METH_O, SET_EVERY_DOC},
    {"set_at", timer_set_at, METH_O, SET_AT_DOC},
    {"cancel", timer_cancel, METH_NOARGS, CANCEL_DOC},
    {"close", timer_close, METH_NOARGS, CLOSE_DOC},
    {"expirations", timer_count, METH_NOARGS, EXPIRATIONS_DOC},
    {"_setting", timer_setting, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_new, timer_new},         {Py_tp_traverse, timer_traverse}, {Py_tp_clear, timer_clear},
    {Py_tp_dealloc, timer_dealloc}, {Py_tp_methods, timer_methods},   {0, NULL},
};

static PyType_Spec timer_spec = {
    .name = "pollster.backend._python.Timer",
    .basicsize = sizeof(TimerObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = timer_slots,
};

int add_timers(PyObject *module, module_state *state) {
    state->delay = imported("pollster._timeout", "delay");
    state->period = imported("pollster._timeout", "period");
    state->moment = imported("pollster._timeout", "moment");
    state->timer_type = add_type(module, "Timer", &timer_spec);
    return state->delay && state->period && state->moment && state->timer_type ? 0 : -1;
}
