/* The base of the event loop, and what its transports need of it. */
#ifndef POLLSTER_LOOPING_H
#define POLLSTER_LOOPING_H
#include "python.h"
#ifndef PYPY_VERSION

#define FOR_NAMES(X)                                                                               \
    X(_args)                                                                                       \
    X(_asyncios_call_soon)                                                                         \
    X(_asyncios_call_soon_threadsafe)                                                              \
    X(_asyncios_read_ready)                                                                        \
    X(_asyncios_write)                                                                             \
    X(_buffer)                                                                                     \
    X(_callback)                                                                                   \
    X(_cancelled)                                                                                  \
    X(_clock_resolution)                                                                           \
    X(_closed)                                                                                     \
    X(_conn_lost)                                                                                  \
    X(_context)                                                                                    \
    X(_debug)                                                                                      \
    X(_drop_cancelled)                                                                             \
    X(_empty_waiter)                                                                               \
    X(_eof)                                                                                        \
    X(_fileno)                                                                                     \
    X(_limit)                                                                                      \
    X(_loop)                                                                                       \
    X(_process_events)                                                                             \
    X(_protocol)                                                                                   \
    X(_read_ready__on_eof)                                                                         \
    X(_remove_reader)                                                                              \
    X(_remove_writer)                                                                              \
    X(_repr)                                                                                       \
    X(_run)                                                                                        \
    X(_scheduled)                                                                                  \
    X(_see_exception)                                                                              \
    X(_see_fatal)                                                                                  \
    X(_selector)                                                                                   \
    X(_sock)                                                                                       \
    X(_source_traceback)                                                                           \
    X(_stopping)                                                                                   \
    X(_stream_reader_wr)                                                                           \
    X(_takes_bytes)                                                                                \
    X(_timer_cancelled_count)                                                                      \
    X(_waiter)                                                                                     \
    X(_when)                                                                                       \
    X(_woken)                                                                                      \
    X(_write_to_self)                                                                              \
    X(append)                                                                                      \
    X(cancelled)                                                                                   \
    X(data_received)                                                                               \
    X(feed_data)                                                                                   \
    X(popleft)                                                                                     \
    X(recv)                                                                                        \
    X(run)                                                                                         \
    X(select)                                                                                      \
    X(set_result)                                                                                  \
    X(time)

#define DECLARE(name) PyObject *name;

typedef struct {
    PyObject ob_base;
    PyObject *written;     /* asyncio's _run_once(loop); NULL: __init__() was not called */
    PyObject *ready;       /* its deque; NULL: this loop is not plain, and all is left to asyncio */
    PyObject *heappop;     /* of heapq */
    PyObject *handle_type; /* asyncio.Handle and TimerHandle */
    PyObject *timer_type;
    PyObject *run;          /* Handle._run as asyncio wrote it */
    PyObject *copy_context; /* of contextvars; NULL: handles are made by asyncio */
    bool is_threadsafe;     /* other threads' are made here, too */
    /* StreamReaderProtocol and StreamReader, with what of them is known here, as asyncio wrote it;
     * NULL: readers are fed by asyncio. */
    PyObject *stream_type, *reader_type, *data_received, *feed_data;
    char *room;         /* what transports receive into; NULL until one does */
    bool receives_much; /* so much at a time that it is not copied from there */
    struct {
        FOR_NAMES(DECLARE)
    } names;
} LoopingObject;

/* handles.c. call_soon() and call_soon_threadsafe(). */
PyObject *looping_call_soon(PyObject *object, PyObject *const *arguments, Py_ssize_t count,
                            PyObject *names);
PyObject *looping_call_soon_threadsafe(PyObject *object, PyObject *const *arguments,
                                       Py_ssize_t count, PyObject *names);

#define CALL_SOON                                                                                  \
    "call_soon($self, callback, /, *args, context=None)\n--\n\n"                                   \
    "Has a callback called in the next iteration; returns its handle. Raises what asyncio raises."
#define CALL_SOON_THREADSAFE                                                                       \
    "call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n"                        \
    "The same from any thread: the loop wakes for it."

/* Puts a handle at the end of what is ready. */
int append_handle(LoopingObject *self, PyObject *handle);

/* stream.c. Feeds the reader of a stream with what is in the loop's room. 0: that is asyncio's
 * matter; -1: an exception is set. */
int feed_reader(const LoopingObject *loop, PyObject *protocol, Py_ssize_t count);

/* Whether an attribute is true; -1: an exception is set. */
int is_set(PyObject *object, PyObject *name);

#endif
#endif
