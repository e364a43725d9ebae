/* The base of the event loop: one iteration of asyncio's loop, as its `_run_once()` has it, which
 * is what runs in debug mode, and wherever something is not as asyncio has it.
 *
 * No method of a handle is called and no frame of Python is made, but what the callbacks make. What
 * programs replace in a loop or a selector, `time` and `select` among it, is called by its name. */
#include "looping.h"
#ifndef PYPY_VERSION

#define FEWEST_TO_DROP 100 /* timers: asyncio's _MIN_SCHEDULED_TIMER_HANDLES */
#define LONGEST 86400.0    /* seconds: its MAXIMUM_SELECT_TIMEOUT */

enum { PAIR_KEY, PAIR_MASK, PAIR };
enum { KEY_FILEOBJ = 0, KEY_DATA = 3, KEY = 4 };
enum { OF_READING, OF_WRITING, HANDLES };

#define VISIT(name) Py_VISIT(self->name);
#define CLEAR(name) Py_CLEAR(self->names.name);
#define INTERN(name)                                                                               \
    if (!(self->names.name = PyUnicode_InternFromString(#name)))                                   \
        return NULL;

/* What it is given once. */
#define FOR_GIVEN(X)                                                                               \
    X(written)                                                                                     \
    X(ready)                                                                                       \
    X(heappop)                                                                                     \
    X(handle_type)                                                                                 \
    X(timer_type)                                                                                  \
    X(run)                                                                                         \
    X(copy_context)                                                                                \
    X(stream_type)                                                                                 \
    X(reader_type)                                                                                 \
    X(data_received)                                                                               \
    X(feed_data)

int is_set(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    int result = value == Py_True ? 1 : value == Py_False ? 0 : value ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return result;
}

/* 0: something is not as asyncio has it. */
static int is_plain(LoopingObject *self) {
    if (!self->ready)
        return 0;
    int debug = is_set((PyObject *)self, self->names._debug);
    if (debug)
        return debug < 0 ? -1 : 0;
    PyObject *run = PyObject_GetAttr(self->handle_type, self->names._run);
    Py_XDECREF(run);
    return run ? run == self->run : -1;
}

/* -1 is a time, too, unless an exception is set. */
static double number_of(PyObject *number) {
    double value = number ? PyFloat_AsDouble(number) : -1;
    Py_XDECREF(number);
    return value;
}

static int now(LoopingObject *self, double *seconds) {
    PyObject *time = PyObject_CallMethodObjArgs((PyObject *)self, self->names.time, NULL);
    *seconds = number_of(time);
    return *seconds == -1 && PyErr_Occurred() ? -1 : 0;
}

static int when_of(LoopingObject *self, PyObject *handle, double *seconds) {
    *seconds = number_of(PyObject_GetAttr(handle, self->names._when));
    return *seconds == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Timers */

/* Whether cancelled timers are to be dropped: the next one is, or most are. */
static int is_to_be_cleaned(LoopingObject *self, PyObject *scheduled) {
    Py_ssize_t count = PyObject_Size(scheduled);
    if (count <= 0)
        return (int)count;
    if (count > FEWEST_TO_DROP) {
        double cancelled =
            number_of(PyObject_GetAttr((PyObject *)self, self->names._timer_cancelled_count));
        if (cancelled == -1 && PyErr_Occurred())
            return -1;
        if (cancelled * 2 > (double)count)
            return 1;
    }
    PyObject *first = PySequence_GetItem(scheduled, 0);
    int result = first ? is_set(first, self->names._cancelled) : -1;
    Py_XDECREF(first);
    return result;
}

static PyObject *cleaned(LoopingObject *self) {
    PyObject *scheduled = PyObject_GetAttr((PyObject *)self, self->names._scheduled);
    int dirty = scheduled ? is_to_be_cleaned(self, scheduled) : -1;
    if (dirty == 0)
        return scheduled;
    Py_XDECREF(scheduled);
    PyObject *done =
        dirty < 0 ? NULL
                  : PyObject_CallMethodObjArgs((PyObject *)self, self->names._drop_cancelled, NULL);
    Py_XDECREF(done);
    return done ? PyObject_GetAttr((PyObject *)self, self->names._scheduled) : NULL;
}

static PyObject *timeout_of(LoopingObject *self, PyObject *scheduled) {
    Py_ssize_t ready = PyObject_Size(self->ready), count = PyObject_Size(scheduled);
    int stopping = ready == 0 ? is_set((PyObject *)self, self->names._stopping) : 0;
    if (ready < 0 || count < 0 || stopping < 0)
        return NULL;
    if (ready || stopping)
        return PyLong_FromLong(0);
    if (!count)
        return none();
    PyObject *first = PySequence_GetItem(scheduled, 0);
    double when, moment;
    int error = first ? when_of(self, first, &when) : -1;
    Py_XDECREF(first);
    if (error < 0 || now(self, &moment) < 0)
        return NULL;
    when -= moment;
    return PyFloat_FromDouble(when > LONGEST ? LONGEST : when < 0 ? 0 : when);
}

int append_handle(LoopingObject *self, PyObject *handle) {
    PyObject *done = PyObject_CallMethodObjArgs(self->ready, self->names.append, handle, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Takes the first timer off, where it is due. 0: it is not. */
static int take_timer(LoopingObject *self, PyObject *scheduled, double end) {
    PyObject *handle = PySequence_GetItem(scheduled, 0);
    double when;
    int error = handle ? when_of(self, handle, &when) : -1;
    Py_XDECREF(handle);
    if (error < 0 || when >= end)
        return error;
    handle = PyObject_CallFunctionObjArgs(self->heappop, scheduled, NULL);
    error = !handle || PyObject_SetAttr(handle, self->names._scheduled, Py_False) < 0 ||
            append_handle(self, handle) < 0;
    Py_XDECREF(handle);
    return error ? -1 : 1;
}

static int take_timers(LoopingObject *self) {
    PyObject *scheduled = PyObject_GetAttr((PyObject *)self, self->names._scheduled);
    Py_ssize_t count = scheduled ? PyObject_Size(scheduled) : -1;
    int taken = count > 0 ? 1 : (int)count;
    double moment = 0, resolution = 0;
    if (taken > 0) {
        if (now(self, &moment) < 0)
            taken = -1;
        resolution = number_of(PyObject_GetAttr((PyObject *)self, self->names._clock_resolution));
        if (PyErr_Occurred())
            taken = -1;
    }
    while (taken > 0 && (count = PyObject_Size(scheduled)) > 0)
        taken = take_timer(self, scheduled, moment + resolution);
    Py_XDECREF(scheduled);
    return taken < 0 || count < 0 ? -1 : 0;
}

/* What is ready */

static int queue_handle(LoopingObject *self, PyObject *handle, PyObject *fileobj,
                        PyObject *remove) {
    if (handle == Py_None)
        return 0;
    int cancelled = is_set(handle, self->names._cancelled);
    if (cancelled < 0)
        return -1;
    if (!cancelled)
        return append_handle(self, handle);
    PyObject *done = PyObject_CallMethodObjArgs((PyObject *)self, remove, fileobj, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static bool is_tuple_of(PyObject *object, Py_ssize_t count) {
    return object && PyTuple_Check(object) && PyTuple_Size(object) == count;
}

/* 0: it is not what asyncio registers. */
static int queue_pair(LoopingObject *self, PyObject *pair) {
    PyObject *key = is_tuple_of(pair, PAIR) ? PyTuple_GetItem(pair, PAIR_KEY) : NULL;
    PyObject *data = is_tuple_of(key, KEY) ? PyTuple_GetItem(key, KEY_DATA) : NULL;
    if (!is_tuple_of(data, HANDLES) || !PyLong_Check(PyTuple_GetItem(pair, PAIR_MASK)))
        return 0;
    long mask = PyLong_AsLong(PyTuple_GetItem(pair, PAIR_MASK));
    PyObject *fileobj = PyTuple_GetItem(key, KEY_FILEOBJ);
    if (mask & READY_READABLE && queue_handle(self, PyTuple_GetItem(data, OF_READING), fileobj,
                                              self->names._remove_reader) < 0)
        return -1;
    if (mask & READY_WRITABLE && queue_handle(self, PyTuple_GetItem(data, OF_WRITING), fileobj,
                                              self->names._remove_writer) < 0)
        return -1;
    return 1;
}

static int queue_ready(LoopingObject *self, PyObject *found) {
    Py_ssize_t count = PyList_Check(found) ? PyList_Size(found) : 0, at = 0;
    int queued = 1;
    while (at < count && queued > 0) {
        PyObject *pair = PySequence_GetItem(found, at);
        queued = pair ? queue_pair(self, pair) : -1;
        at += queued > 0;
        Py_XDECREF(pair);
    }
    if (queued < 0)
        return -1;
    if (PyList_Check(found) && at == count)
        return 0;
    PyObject *rest = PyList_Check(found) ? PyList_GetSlice(found, at, count) : Py_NewRef(found);
    PyObject *done =
        rest ? PyObject_CallMethodObjArgs((PyObject *)self, self->names._process_events, rest, NULL)
             : NULL;
    Py_XDECREF(rest);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Handles */

static PyObject *call_in(LoopingObject *self, PyObject *context, PyObject *callback,
                         PyObject *arguments) {
    Py_ssize_t count = PyTuple_Size(arguments);
    if (count <= 2) { /* these make no tuple */
        PyObject *first = count > 0 ? PyTuple_GetItem(arguments, 0) : NULL;
        PyObject *second = count > 1 ? PyTuple_GetItem(arguments, 1) : NULL;
        return PyObject_CallMethodObjArgs(context, self->names.run, callback, first, second, NULL);
    }
    PyObject *run = PyObject_GetAttr(context, self->names.run), *result = NULL;
    PyObject *all = run ? PyTuple_New(count + 1) : NULL;
    int error = all ? PyTuple_SetItem(all, 0, Py_NewRef(callback)) : -1;
    for (Py_ssize_t i = 0; i < count && error == 0; i++)
        error = PyTuple_SetItem(all, i + 1, Py_NewRef(PyTuple_GetItem(arguments, i)));
    if (error == 0)
        result = PyObject_Call(run, all, NULL);
    Py_XDECREF(run);
    Py_XDECREF(all);
    return result;
}

/* A callback has raised: what is not to end the loop is told to its exception handler. */
static PyObject *see_exception(LoopingObject *self, PyObject *handle) {
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    PyObject *done = PyObject_CallMethodObjArgs((PyObject *)self, self->names._see_exception,
                                                handle, error, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return done;
}

static PyObject *run_plainly(LoopingObject *self, PyObject *handle) {
    PyObject *context = PyObject_GetAttr(handle, self->names._context);
    PyObject *callback = context ? PyObject_GetAttr(handle, self->names._callback) : NULL;
    PyObject *arguments = callback ? PyObject_GetAttr(handle, self->names._args) : NULL;
    PyObject *done = NULL;
    if (arguments && PyTuple_Check(arguments)) {
        done = call_in(self, context, callback, arguments);
        if (!done)
            done = see_exception(self, handle);
    } else if (arguments) {
        done = PyObject_CallMethodObjArgs(handle, self->names._run, NULL);
    }
    Py_XDECREF(context);
    Py_XDECREF(callback);
    Py_XDECREF(arguments);
    return done;
}

static int run_handle(LoopingObject *self, PyObject *handle) {
    int cancelled = is_set(handle, self->names._cancelled);
    if (cancelled)
        return cancelled < 0 ? -1 : 0;
    PyObject *done;
    if (is_exactly_a(handle, self->handle_type) || is_exactly_a(handle, self->timer_type))
        done = run_plainly(self, handle);
    else
        done = PyObject_CallMethodObjArgs(handle, self->names._run, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Those that are ready by now; what they add is for the next iteration. */
static int run_handles(LoopingObject *self) {
    Py_ssize_t count = PyObject_Size(self->ready);
    int result = count < 0 ? -1 : 0;
    for (; count > 0 && result == 0; count--) {
        PyObject *handle = PyObject_CallMethodObjArgs(self->ready, self->names.popleft, NULL);
        result = handle ? run_handle(self, handle) : -1;
        Py_XDECREF(handle);
    }
    return result;
}

/* The type */

static PyObject *looping_run_once(PyObject *object, PyObject *nothing) {
    (void)nothing;
    LoopingObject *self = (LoopingObject *)object;
    if (!self->written)
        return PyErr_Format(PyExc_RuntimeError, "__init__() of a loop was not called");
    int plain = is_plain(self);
    if (plain <= 0)
        return plain < 0 ? NULL : PyObject_CallFunctionObjArgs(self->written, object, NULL);
    PyObject *scheduled = cleaned(self), *timeout = NULL, *selector = NULL, *found = NULL;
    if (scheduled)
        timeout = timeout_of(self, scheduled);
    Py_XDECREF(scheduled);
    if (timeout)
        selector = PyObject_GetAttr(object, self->names._selector);
    if (selector)
        found = PyObject_CallMethodObjArgs(selector, self->names.select, timeout, NULL);
    Py_XDECREF(timeout);
    Py_XDECREF(selector);
    int error = found ? queue_ready(self, found) : -1;
    Py_XDECREF(found);
    if (error < 0 || take_timers(self) < 0 || run_handles(self) < 0)
        return NULL;
    return none();
}

/* _begin(written, ready, heappop, Handle, TimerHandle, Handle._run[, copy_context, threadsafe]), or
 * written and None */
static PyObject *looping_begin(PyObject *object, PyObject *arguments) {
    LoopingObject *self = (LoopingObject *)object;
    PyObject *written, *ready, *heappop = NULL, *handle_type = NULL, *timer_type = NULL;
    PyObject *run = NULL, *copy_context = NULL;
    int is_threadsafe = 0;
    if (!PyArg_ParseTuple(arguments, "OO|OO!O!OOp", &written, &ready, &heappop, &PyType_Type,
                          &handle_type, &PyType_Type, &timer_type, &run, &copy_context,
                          &is_threadsafe))
        return NULL;
    if (self->written)
        return PyErr_Format(PyExc_TypeError, "__init__() of a loop is called once");
    FOR_NAMES(INTERN)
    self->written = Py_NewRef(written);
    if (run) {
        self->ready = Py_NewRef(ready);
        self->heappop = Py_NewRef(heappop);
        self->handle_type = Py_NewRef(handle_type);
        self->timer_type = Py_NewRef(timer_type);
        self->run = Py_NewRef(run);
        self->copy_context = copy_context == Py_None ? NULL : Py_XNewRef(copy_context);
        self->is_threadsafe = is_threadsafe;
    }
    return none();
}

/* _begin_streams(StreamReaderProtocol, StreamReader) */
static PyObject *looping_begin_streams(PyObject *object, PyObject *arguments) {
    LoopingObject *self = (LoopingObject *)object;
    PyObject *stream_type, *reader_type;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyType_Type, &stream_type, &PyType_Type,
                          &reader_type))
        return NULL;
    if (!self->written || self->data_received)
        return PyErr_Format(PyExc_TypeError, "streams of a loop begin once, after it has begun");
    self->data_received = PyObject_GetAttr(stream_type, self->names.data_received);
    self->feed_data = PyObject_GetAttr(reader_type, self->names.feed_data);
    if (!self->data_received || !self->feed_data)
        return NULL;
    self->stream_type = Py_NewRef(stream_type);
    self->reader_type = Py_NewRef(reader_type);
    return none();
}

static int looping_traverse(PyObject *object, visitproc visit, void *arg) {
    const LoopingObject *self = (LoopingObject *)object;
    Py_VISIT(Py_TYPE(object));
    FOR_GIVEN(VISIT)
    return 0;
}

/* A finalizer may still run the loop: it is left to asyncio then. */
static int looping_clear(PyObject *object) {
    LoopingObject *self = (LoopingObject *)object;
    Py_CLEAR(self->ready);
    return 0;
}

static void looping_dealloc(PyObject *object) {
    LoopingObject *self = (LoopingObject *)object;
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->written);
    Py_CLEAR(self->ready);
    Py_CLEAR(self->heappop);
    Py_CLEAR(self->handle_type);
    Py_CLEAR(self->timer_type);
    Py_CLEAR(self->run);
    Py_CLEAR(self->copy_context);
    Py_CLEAR(self->stream_type);
    Py_CLEAR(self->reader_type);
    Py_CLEAR(self->data_received);
    Py_CLEAR(self->feed_data);
    FOR_NAMES(CLEAR)
    PyMem_Free(self->room);
    free_object(object);
}

static PyMethodDef looping_methods[] = {
    {"_run_once", looping_run_once, METH_NOARGS, NULL},
    {"_begin", looping_begin, METH_VARARGS, NULL},
    {"_begin_streams", looping_begin_streams, METH_VARARGS, NULL},
    {"call_soon", METHOD(looping_call_soon), METH_FASTCALL | METH_KEYWORDS, CALL_SOON},
    {"call_soon_threadsafe", METHOD(looping_call_soon_threadsafe), METH_FASTCALL | METH_KEYWORDS,
     CALL_SOON_THREADSAFE},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot looping_slots[] = {
    {Py_tp_traverse, looping_traverse},
    {Py_tp_clear, looping_clear},
    {Py_tp_dealloc, looping_dealloc},
    {Py_tp_methods, looping_methods},
    {0, NULL},
};

static PyType_Spec looping_spec = {
    .name = "pollster.backend._python.Looping",
    .basicsize = sizeof(LoopingObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = looping_slots,
};

int add_looping(PyObject *module, module_state *state) {
    state->loop = PyUnicode_InternFromString("_loop");
    state->looping_type = add_type(module, "Looping", &looping_spec);
    return state->loop && state->looping_type ? 0 : -1;
}

#endif
