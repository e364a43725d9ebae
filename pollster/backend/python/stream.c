/* How the reader of a stream is fed: what `StreamReaderProtocol.data_received()` and
 * `StreamReader.feed_data()` do, without making bytes of what came. */
#include "looping.h"
#ifndef PYPY_VERSION
#include <string.h>

/* Programs replace methods of classes. */
static int is_as_written(PyObject *type, PyObject *name, const PyObject *written) {
    PyObject *method = PyObject_GetAttr(type, name);
    Py_XDECREF(method);
    return method ? method == written : -1;
}

/* NULL without an exception: it is gone, or another one than asyncio's. */
static PyObject *reader_of(const LoopingObject *loop, PyObject *protocol) {
    PyObject *reference = PyObject_GetAttr(protocol, loop->names._stream_reader_wr);
    PyObject *reader = reference && reference != Py_None ? PyObject_CallNoArgs(reference) : NULL;
    Py_XDECREF(reference);
    if (reader && !is_exactly_a(reader, loop->reader_type))
        Py_CLEAR(reader);
    return reader;
}

/* Whether there is room before the reader would pause its transport. */
static int has_room(const LoopingObject *loop, PyObject *reader, Py_ssize_t size) {
    PyObject *number = PyObject_GetAttr(reader, loop->names._limit);
    Py_ssize_t limit = number ? PyLong_AsSsize_t(number) : -1;
    Py_XDECREF(number);
    if (limit < 0) {
        PyErr_Clear(); /* too large, or no number */
        return 0;
    }
    int ended = is_set(reader, loop->names._eof);
    return ended < 0 ? -1 : !ended && size / 2 < limit;
}

static int extend(const LoopingObject *loop, PyObject *reader, Py_ssize_t count) {
    PyObject *buffer = PyObject_GetAttr(reader, loop->names._buffer);
    int done = buffer ? PyByteArray_CheckExact(buffer) : -1;
    Py_ssize_t size = done > 0 ? PyByteArray_Size(buffer) : 0;
    if (done > 0)
        done = has_room(loop, reader, size + count);
    if (done > 0 && PyByteArray_Resize(buffer, size + count) < 0) {
        PyErr_Clear(); /* somebody has a view of it: extend() says so */
        done = 0;
    }
    if (done > 0)
        memcpy(PyByteArray_AsString(buffer) + size, loop->room, (size_t)count);
    Py_XDECREF(buffer);
    return done;
}

static int wake_waiter(const LoopingObject *loop, PyObject *reader) {
    PyObject *waiter = PyObject_GetAttr(reader, loop->names._waiter), *done = NULL;
    if (!waiter || waiter == Py_None) {
        Py_XDECREF(waiter);
        return waiter ? 1 : -1;
    }
    if (PyObject_SetAttr(reader, loop->names._waiter, Py_None) == 0)
        done = PyObject_CallMethodObjArgs(waiter, loop->names.cancelled, NULL);
    int cancelled = done ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    done = NULL;
    if (cancelled == 0)
        done = PyObject_CallMethodObjArgs(waiter, loop->names.set_result, Py_None, NULL);
    Py_XDECREF(done);
    Py_DECREF(waiter);
    return cancelled > 0 || done ? 1 : -1;
}

int feed_reader(const LoopingObject *loop, PyObject *protocol, Py_ssize_t count) {
    int plain = is_as_written(loop->stream_type, loop->names.data_received, loop->data_received);
    if (plain > 0)
        plain = is_as_written(loop->reader_type, loop->names.feed_data, loop->feed_data);
    PyObject *reader = plain > 0 ? reader_of(loop, protocol) : NULL;
    if (!reader)
        return plain < 0 || PyErr_Occurred() ? -1 : 0;
    int fed = extend(loop, reader, count);
    if (fed > 0)
        fed = wake_waiter(loop, reader);
    Py_DECREF(reader);
    return fed;
}

#endif
