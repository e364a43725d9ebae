/* What a selector of keys is made of, and what help() and the reference say of its methods.
 *
 * In the slots a key stands where others have a source, and pairs, (key, mask), stand where they
 * have Events. PyPy has none of this: there the methods in Python are faster. */
#ifndef POLLSTER_PYTHON_KEYS_H
#define POLLSTER_PYTHON_KEYS_H
#include "python.h"

#define MASK (READY_READABLE | READY_WRITABLE) /* EVENT_READ, EVENT_WRITE: the same bits */

/* Tokens: those of keys say their number, counted from here; smaller ones are wakers'. */
#define FIRST_NUMBER (UINT64_C(1) << 63)
#define FIRST_OF_SOURCES (UINT64_C(1) << 62) /* which have negative numbers */

enum field { FILEOBJ, FD, EVENTS, DATA, FIELDS };

typedef struct {
    PyObject ob_base;
    SelectorObject *selector; /* NULL: __init__() was not called */
    PyObject *registry;
    PyObject *by_number; /* dicts: the keys by number, and those of wakers by token */
    PyObject *wakers;
    PyObject *key_type; /* selectors.SelectorKey */
    PyObject *written;  /* the class that has the same methods in Python */
    newfunc new_tuple;
    batch *batch; /* NULL: there was no select() yet, or one of another thread has it */
    int capacity;
} KeyedObject;

/* selecting.c. Waits, and returns the list. */
PyObject *wait_for_keys(KeyedObject *self, int64_t limit);

/* A test runs the examples. */
#define REGISTER_DOC                                                                               \
    "register($self, fileobj, events, data=None)\n--\n\n"                                          \
    "Starts to watch a file object, and returns its key.\n"                                        \
    "\n"                                                                                           \
    "Parameters: `fileobj`, a descriptor, an object with `fileno()`, or a source of pollster's; "  \
    "`events`,\n"                                                                                  \
    "`EVENT_READ`, `EVENT_WRITE` or both; `data`, whatever the key is to have.\n"                  \
    "\n"                                                                                           \
    "Raises `ValueError` for other events and for what is no file object, `KeyError` where it "    \
    "is\n"                                                                                         \
    "registered, `PermissionError` for regular files and directories, `OSError` where the kernel " \
    "can't\n"                                                                                      \
    "watch it.\n"                                                                                  \
    "\n"                                                                                           \
    ">>> import os\n"                                                                              \
    ">>> from selectors import EVENT_READ\n"                                                       \
    ">>> from pollster.selectors import PollsterSelector\n"                                        \
    ">>> reader, writer = os.pipe()\n"                                                             \
    ">>> with PollsterSelector() as selector:\n"                                                   \
    "...     key = selector.register(reader, EVENT_READ, \"data\")\n"                              \
    "...     key.fd == key.fileobj == reader, key.events == EVENT_READ, key.data\n"                \
    "(True, True, 'data')\n"                                                                       \
    ">>> os.close(reader), os.close(writer)\n"                                                     \
    "(None, None)\n"

#define UNREGISTER_DOC                                                                             \
    "unregister($self, fileobj)\n--\n\n"                                                           \
    "Stops watching a file object, which may be closed already, and returns its key.\n"            \
    "\n"                                                                                           \
    "The list that `select()` returned last stays as it is, with the events of that moment.\n"     \
    "\n"                                                                                           \
    "Raises `KeyError` where it is not registered, `ValueError` for what is no file object.\n"

#define MODIFY_DOC                                                                                 \
    "modify($self, fileobj, events, data=None)\n--\n\n"                                            \
    "Replaces the events and the data of a file object, and returns its key.\n"                    \
    "\n"                                                                                           \
    "Where the events are the same the kernel is not asked. Raises what `register` does, and "     \
    "`KeyError`\n"                                                                                 \
    "where it is not registered. After an `OSError` it is not registered any more, as with the "   \
    "standard\n"                                                                                   \
    "library's selectors; after other errors all is as it was.\n"

#define SELECT_DOC                                                                                 \
    "select($self, timeout=None)\n--\n\n"                                                          \
    "Waits until something is ready, and returns what is: a list of (key, events).\n"              \
    "\n"                                                                                           \
    "Parameters: `timeout` in seconds, as fine as the kernel's timers, to the nanosecond; None "   \
    "waits for\n"                                                                                  \
    "ever, 0 and less do not wait. Signals do not end it (PEP 475). Raises `ValueError` for a "    \
    "closed\n"                                                                                     \
    "selector, also one that another thread closes meanwhile.\n"

#endif
