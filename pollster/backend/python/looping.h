/* The base of the event loop, and what its transports need of it. */
#ifndef POLLSTER_LOOPING_H
#define POLLSTER_LOOPING_H
#include "python.h"
#ifndef PYPY_VERSION

#define FOR_NAMES(X)                                                                               \
    X(_args)                                                                                       \
    X(_asyncios_read_ready)                                                                        \
    X(_asyncios_write)                                                                             \
    X(_buffer)                                                                                     \
    X(_callback)                                                                                   \
    X(_cancelled)                                                                                  \
    X(_clock_resolution)                                                                           \
    X(_conn_lost)                                                                                  \
    X(_context)                                                                                    \
    X(_debug)                                                                                      \
    X(_drop_cancelled)                                                                             \
    X(_empty_waiter)                                                                               \
    X(_eof)                                                                                        \
    X(_process_events)                                                                             \
    X(_protocol)                                                                                   \
    X(_read_ready__on_eof)                                                                         \
    X(_remove_reader)                                                                              \
    X(_remove_writer)                                                                              \
    X(_run)                                                                                        \
    X(_scheduled)                                                                                  \
    X(_see_exception)                                                                              \
    X(_see_fatal)                                                                                  \
    X(_selector)                                                                                   \
    X(_sock)                                                                                       \
    X(_stopping)                                                                                   \
    X(_takes_bytes)                                                                                \
    X(_timer_cancelled_count)                                                                      \
    X(_when)                                                                                       \
    X(append)                                                                                      \
    X(data_received)                                                                               \
    X(fileno)                                                                                      \
    X(popleft)                                                                                     \
    X(recv)                                                                                        \
    X(run)                                                                                         \
    X(select)                                                                                      \
    X(time)

#define DECLARE(name) PyObject *name;

typedef struct {
    PyObject ob_base;
    PyObject *written;     /* asyncio's _run_once(loop); NULL: __init__() was not called */
    PyObject *ready;       /* its deque; NULL: this loop is not plain, and all is left to asyncio */
    PyObject *heappop;     /* of heapq */
    PyObject *handle_type; /* asyncio.Handle and TimerHandle */
    PyObject *timer_type;
    PyObject *run;      /* Handle._run as asyncio wrote it */
    char *room;         /* what transports receive into; NULL until one does */
    bool receives_much; /* so much at a time that it is not copied from there */
    struct {
        FOR_NAMES(DECLARE)
    } names;
} LoopingObject;

/* Whether an attribute is true; -1: an exception is set. */
int is_set(PyObject *object, PyObject *name);

#endif
#endif
