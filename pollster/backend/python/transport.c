/* The base of a stream transport: how it reads and writes while all is plain. What it finds
 * otherwise it leaves to asyncio's own methods, which find the transport as they would have.
 *
 * It has no fields, so that asyncio's class can stand beside it as a base; what it needs is its
 * loop's. */
#include "looping.h"
#ifndef PYPY_VERSION
#include <sys/socket.h>

#define ROOM ((size_t)256 << 10) /* asyncio's max_size */
#define MUCH (64 << 10)          /* not worth to be copied */

/* NULL without an exception: it has none any more. */
static LoopingObject *loop_of(const module_state *state, PyObject *self) {
    PyObject *loop = PyObject_GetAttr(self, state->loop);
    if (loop && is_a(loop, state->looping_type))
        return (LoopingObject *)loop;
    Py_XDECREF(loop);
    return NULL;
}

/* The descriptor of the transport's socket. -1: an exception is set; -2: it was closed. */
static int descriptor_of_socket(const LoopingObject *loop, PyObject *self) {
    PyObject *fileno = PyObject_GetAttr(self, loop->names._fileno);
    PyObject *number = fileno ? PyObject_CallNoArgs(fileno) : NULL;
    long fd = number ? PyLong_AsLong(number) : -1;
    Py_XDECREF(fileno);
    Py_XDECREF(number);
    if (fd >= 0)
        return (int)fd;
    return PyErr_Occurred() ? -1 : -2;
}

/* What asyncio's methods let through, too. */
static bool is_to_end_the_loop(void) {
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* The transport is closed by what was raised, which its protocol is told. */
static PyObject *see_fatal(const LoopingObject *loop, PyObject *self, const char *message) {
    if (is_to_end_the_loop())
        return NULL;
    PyObject *type, *error, *traceback, *done = NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    PyObject *words = PyUnicode_FromString(message);
    if (words)
        done = PyObject_CallMethodObjArgs(self, loop->names._see_fatal, error, words, NULL);
    Py_XDECREF(words);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return done;
}

/* Reading */

#define RECEIVING "Fatal read error on socket transport"

/* NULL without an exception: there is nothing. */
static PyObject *receive_much(LoopingObject *loop, PyObject *self) {
    PyObject *socket = PyObject_GetAttr(self, loop->names._sock);
    PyObject *size = socket ? PyLong_FromSize_t(ROOM) : NULL;
    PyObject *data = size ? PyObject_CallMethodObjArgs(socket, loop->names.recv, size, NULL) : NULL;
    Py_XDECREF(size);
    Py_XDECREF(socket);
    if (data)
        loop->receives_much = PyObject_Size(data) >= MUCH;
    else if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
             PyErr_ExceptionMatches(PyExc_InterruptedError))
        PyErr_Clear();
    return data;
}

/* How much came into the loop's room. -2: nothing; -1: an exception is set. */
static ssize_t receive(LoopingObject *loop, int fd) {
    if (!loop->room && !(loop->room = PyMem_Malloc(ROOM))) {
        PyErr_NoMemory();
        return -1;
    }
    ssize_t count;
    do
        count = recv(fd, loop->room, ROOM, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR && run_handlers() == 0);
    if (count >= 0)
        loop->receives_much = count >= MUCH;
    else if (!PyErr_Occurred() && (errno == EAGAIN || errno == EWOULDBLOCK))
        count = -2;
    else if (!PyErr_Occurred())
        PyErr_SetFromErrno(PyExc_OSError);
    return count;
}

static PyObject *hand_over(LoopingObject *loop, PyObject *self, PyObject *protocol,
                           PyObject *data) {
    PyObject *done =
        data ? PyObject_CallMethodObjArgs(protocol, loop->names.data_received, data, NULL) : NULL;
    if (!done)
        return see_fatal(loop, self, "Fatal error: protocol.data_received() call failed.");
    Py_DECREF(done);
    return none();
}

static PyObject *hand_over_room(LoopingObject *loop, PyObject *self, PyObject *protocol,
                                ssize_t count) {
    int fed = is_exactly_a(protocol, loop->stream_type) ? feed_reader(loop, protocol, count) : 0;
    if (fed > 0)
        return none();
    PyObject *data = fed == 0 ? PyBytes_FromStringAndSize(loop->room, count) : NULL;
    PyObject *done = hand_over(loop, self, protocol, data);
    Py_XDECREF(data);
    return done;
}

static PyObject *end_reading(const LoopingObject *loop, PyObject *self) {
    return PyObject_CallMethodObjArgs(self, loop->names._read_ready__on_eof, NULL);
}

static PyObject *read_much(LoopingObject *loop, PyObject *self, PyObject *protocol) {
    PyObject *data = receive_much(loop, self);
    if (!data)
        return PyErr_Occurred() ? see_fatal(loop, self, RECEIVING) : none();
    PyObject *done =
        PyObject_Size(data) ? hand_over(loop, self, protocol, data) : end_reading(loop, self);
    Py_DECREF(data);
    return done;
}

static PyObject *read_to(LoopingObject *loop, PyObject *self, PyObject *protocol) {
    int fd = descriptor_of_socket(loop, self);
    if (fd == -1)
        return NULL;
    if (fd < 0)
        return PyObject_CallMethodObjArgs(self, loop->names._asyncios_read_ready, NULL);
    if (loop->receives_much)
        return read_much(loop, self, protocol);
    ssize_t count = receive(loop, fd);
    if (count > 0)
        return hand_over_room(loop, self, protocol, count);
    if (count == -2)
        return none();
    return count < 0 ? see_fatal(loop, self, RECEIVING) : end_reading(loop, self);
}

static PyObject *read_plainly(LoopingObject *loop, PyObject *self) {
    PyObject *protocol = NULL, *done = NULL;
    int plain = is_set(self, loop->names._takes_bytes);
    if (plain > 0) {
        int lost = is_set(self, loop->names._conn_lost);
        plain = lost < 0 ? -1 : !lost;
    }
    if (plain > 0)
        protocol = PyObject_GetAttr(self, loop->names._protocol);
    if (protocol)
        done = read_to(loop, self, protocol);
    else if (plain == 0)
        done = PyObject_CallMethodObjArgs(self, loop->names._asyncios_read_ready, NULL);
    Py_XDECREF(protocol);
    return done;
}

static PyObject *transport_read_ready(PyObject *self, PyTypeObject *type,
                                      PyObject *const *arguments, size_t count, PyObject *names) {
    (void)arguments;
    if (count || names)
        return PyErr_Format(PyExc_TypeError, "_read_ready() takes no arguments");
    LoopingObject *loop = loop_of(PyType_GetModuleState(type), self);
    if (!loop)
        return PyErr_Occurred() ? NULL : PyObject_CallMethod(self, "_asyncios_read_ready", NULL);
    PyObject *done = read_plainly(loop, self);
    Py_DECREF((PyObject *)loop);
    return done;
}

/* Writing */

/* Whether an attribute is not None; -1: an exception is set. */
static int is_there(PyObject *self, PyObject *name) {
    PyObject *value = PyObject_GetAttr(self, name);
    Py_XDECREF(value);
    return value ? value != Py_None : -1;
}

static int can_send_now(const LoopingObject *loop, PyObject *self) {
    int refused = is_set(self, loop->names._eof);
    if (refused == 0)
        refused = is_set(self, loop->names._conn_lost);
    if (refused == 0)
        refused = is_there(self, loop->names._empty_waiter);
    if (refused == 0)
        refused = is_set(self, loop->names._buffer);
    return refused < 0 ? -1 : !refused;
}

/* What could be sent, of what is not empty. -1: an exception is set. */
static ssize_t send_now(int fd, const Py_buffer *view) {
    ssize_t count;
    if (view->len < MUCH) {
        count = send(fd, view->buf, (size_t)view->len, MSG_DONTWAIT);
    } else {
        int error;
        Py_BEGIN_ALLOW_THREADS
            count = send(fd, view->buf, (size_t)view->len, MSG_DONTWAIT);
            error = errno;
        Py_END_ALLOW_THREADS
        errno = error;
    }
    if (count >= 0)
        return count;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static PyObject *write_rest(const LoopingObject *loop, PyObject *self, PyObject *data,
                            Py_ssize_t sent, Py_ssize_t size) {
    PyObject *view = NULL, *rest = NULL, *done = NULL;
    if (sent) {
        view = PyMemoryView_FromObject(data);
        rest = view ? PySequence_GetSlice(view, sent, size) : NULL;
    } else {
        rest = Py_NewRef(data);
    }
    if (rest)
        done = PyObject_CallMethodObjArgs(self, loop->names._asyncios_write, rest, NULL);
    Py_XDECREF(rest);
    Py_XDECREF(view);
    return done;
}

static PyObject *write_to(LoopingObject *loop, PyObject *self, PyObject *data) {
    int fd = descriptor_of_socket(loop, self);
    if (fd == -1)
        return NULL;
    ssize_t sent = 0, size = 0;
    if (fd >= 0) {
        Py_buffer view;
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
            return NULL;
        size = view.len;
        sent = size ? send_now(fd, &view) : 0;
        PyBuffer_Release(&view);
        if (sent < 0)
            return see_fatal(loop, self, "Fatal write error on socket transport");
        if (sent == size)
            return none();
    }
    return write_rest(loop, self, data, sent, size);
}

static PyObject *transport_write(PyObject *self, PyTypeObject *type, PyObject *const *arguments,
                                 size_t count, PyObject *names) {
    PyObject *data = count == 1 && !names ? arguments[0] : NULL, *done = NULL;
    LoopingObject *loop = NULL;
    int plain = data && (PyBytes_CheckExact(data) || PyByteArray_CheckExact(data));
    if (plain) {
        loop = loop_of(PyType_GetModuleState(type), self);
        plain = loop ? can_send_now(loop, self) : PyErr_Occurred() ? -1 : 0;
    }
    if (plain > 0)
        done = write_to(loop, self, data);
    Py_XDECREF((PyObject *)loop);
    if (plain)
        return done;
    PyObject *written = PyObject_GetAttrString(self, "_asyncios_write");
    if (written)
        done = call_function(written, arguments, (Py_ssize_t)count, names);
    Py_XDECREF(written);
    return done;
}

/* The type */

static PyMethodDef transport_methods[] = {
    {"_read_ready", METHOD(transport_read_ready), METH_METHOD | METH_FASTCALL | METH_KEYWORDS,
     NULL},
    {"write", METHOD(transport_write), METH_METHOD | METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_methods, transport_methods},
    {0, NULL},
};

static PyType_Spec transport_spec = {
    .name = "pollster.backend._python.Transport",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = transport_slots,
};

int add_transport(PyObject *module) {
    PyObject *type = add_type(module, "Transport", &transport_spec);
    Py_XDECREF(type);
    return type ? 0 : -1;
}

#endif
