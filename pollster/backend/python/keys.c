/* The base of PollsterSelector: it registers keys. Plain arguments are read here, without a Python
 * call; all others, and every error, are left to the class that has the same methods in Python. */
#include "keys.h"
#ifndef PYPY_VERSION

/* Arguments */

/* Plain ones, as they are meant. */
typedef struct {
    PyObject *fileobj;
    PyObject *events;
    PyObject *data;
    uint32_t interest;
    int fd;
    PyObject *number; /* the fd: a reference, unless it is NULL */
} plain;

/* Puts arguments where their names say, or their order. False: they are not to be understood. */
static bool sort_arguments(const char *const *names, Py_ssize_t most, PyObject *const *arguments,
                           Py_ssize_t count, PyObject *keywords, PyObject **sorted) {
    Py_ssize_t named = keywords ? PyTuple_Size(keywords) : 0;
    if (count > most)
        return false;
    for (Py_ssize_t i = 0; i < count; i++)
        sorted[i] = arguments[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(keywords, i);
        Py_ssize_t at = 0;
        while (at < most && PyUnicode_CompareWithASCIIString(name, names[at]) != 0)
            at++;
        if (at == most || sorted[at])
            return false;
        sorted[at] = arguments[count + i];
    }
    return true;
}

/* 0: they are not plain. */
static uint32_t plain_events(PyObject *events) {
    long bits = events && PyLong_CheckExact(events) ? PyLong_AsLong(events) : 0;
    if (bits == -1)
        PyErr_Clear();
    return bits & ~(long)MASK ? 0 : (uint32_t)bits;
}

/* Reads (fileobj, events, data), or a fileobj alone. False without an exception: they want a closer
 * look. */
static bool read_plainly(const KeyedObject *self, Py_ssize_t most, PyObject *const *arguments,
                         Py_ssize_t count, PyObject *keywords, plain *read) {
    static const char *const names[] = {"fileobj", "events", "data"};
    PyObject *sorted[] = {NULL, NULL, NULL};
    *read = (plain){.fd = -1};
    if (!self->selector || !sort_arguments(names, most, arguments, count, keywords, sorted) ||
        !sorted[0])
        return false;
    read->fileobj = sorted[0];
    read->events = sorted[1];
    read->data = sorted[2] ? sorted[2] : Py_None;
    read->interest = plain_events(sorted[1]);
    if (most > 1 && !read->interest)
        return false;
    read->fd = descriptor_of(self->selector->state, read->fileobj, REGISTER);
    if (read->fd >= 0)
        read->number = PyLong_FromLong(read->fd);
    else if (read->fd == -2 && (PyErr_ExceptionMatches(PyExc_AttributeError) ||
                                PyErr_ExceptionMatches(PyExc_TypeError)))
        PyErr_Clear(); /* no file object: the Python code says so */
    return read->number;
}

static PyObject *in_python(const KeyedObject *self, const char *name, PyObject *const *arguments,
                           Py_ssize_t count, PyObject *keywords) {
    if (!is_opened(self->selector))
        return NULL;
    PyObject *function = PyObject_GetAttrString(self->written, name), *method = NULL,
             *result = NULL;
    if (function)
        method = PyObject_CallFunctionObjArgs(self->selector->state->bound_method, function,
                                              (PyObject *)self, NULL);
    if (method)
        result = call_function(method, arguments, count, keywords);
    Py_XDECREF(function);
    Py_XDECREF(method);
    return result;
}

/* Keys */

static PyObject *new_key(const KeyedObject *self, PyObject *fileobj, PyObject *number,
                         PyObject *events, PyObject *data) {
    PyObject *fields = PyTuple_Pack(FIELDS, fileobj, number, events, data);
    PyObject *arguments = fields ? PyTuple_Pack(1, fields) : NULL, *key = NULL;
    if (arguments)
        key = self->new_tuple((PyTypeObject *)self->key_type, arguments, NULL);
    Py_XDECREF(fields);
    Py_XDECREF(arguments);
    return key;
}

/* 1: it was added; 0: the number has a key; -1: an exception is set. */
static int add_key(KeyedObject *self, PyObject *number, PyObject *key) {
    int known, result = 0;
    LOCK(self->by_number)
        known = PyDict_Contains(self->by_number, number);
        if (known == 0)
            result = PyDict_SetItem(self->by_number, number, key) < 0 ? -1 : 1;
    UNLOCK
    return known < 0 ? -1 : result;
}

static PyObject *find_key(KeyedObject *self, PyObject *number) {
    PyObject *key;
    LOCK(self->by_number)
        key = Py_XNewRef(PyDict_GetItemWithError(self->by_number, number));
    UNLOCK
    return key;
}

/* Puts another key into the place of one, or, NULL, none; false: the one is not there. An exception
 * that is set stays. */
static bool replace_key(KeyedObject *self, PyObject *number, PyObject *before, PyObject *key) {
    PyObject *type, *value, *traceback;
    bool found;
    PyErr_Fetch(&type, &value, &traceback);
    LOCK(self->by_number)
        found = PyDict_GetItemWithError(self->by_number, number) == before;
        if (found && (key ? PyDict_SetItem(self->by_number, number, key)
                          : PyDict_DelItem(self->by_number, number)) < 0)
            PyErr_Clear();
    UNLOCK
    PyErr_Restore(type, value, traceback);
    return found;
}

/* Changes */

/* The errno that it met, or 0; -1: an exception is set. */
static int tell(const KeyedObject *self, enum what what, const plain *it, PyObject *key) {
    change c = {.what = what,
                .fd = it->fd,
                .token = FIRST_NUMBER + (uint64_t)it->fd,
                .interest = it->interest | INTEREST_HANGUP};
    PyObject *arguments[] = {key, it->number};
    return change_registry(self->registry, &c, arguments);
}

/* What an errno means is for the Python code to say; -1: an exception is set already. */
static PyObject *refuse_it(const KeyedObject *self, int error, enum what what, const plain *it) {
    change c = {.what = what, .fd = it->fd};
    return error < 0 ? NULL : refuse(self->registry, &c, error, it->number);
}

/* Returns the new key; NULL without an exception: the number has one. */
static PyObject *register_key(KeyedObject *self, const plain *it) {
    PyObject *key = new_key(self, it->fileobj, it->number, it->events, it->data);
    int error = 0, added = key ? add_key(self, it->number, key) : -1;
    if (added > 0)
        error = tell(self, REGISTER, it, key);
    if (added > 0 && error == 0)
        return key;
    if (error) {
        replace_key(self, it->number, key, NULL);
        refuse_it(self, error, REGISTER, it);
    }
    Py_XDECREF(key);
    return NULL;
}

static PyObject *unregister_key(KeyedObject *self, const plain *it) {
    PyObject *key = find_key(self, it->number);
    if (!key || !replace_key(self, it->number, key, NULL)) {
        Py_XDECREF(key);
        return NULL;
    }
    /* Whatever errno: it was closed, or is a forked parent's, and is gone all the same. */
    if (tell(self, DEREGISTER, it, key) < 0)
        Py_CLEAR(key);
    return key;
}

static bool is_other(PyObject *key, enum field field, PyObject *value, int *error) {
    int result = PyObject_RichCompareBool(value, PyTuple_GetItem(key, field), Py_NE);
    *error |= result < 0;
    return result;
}

/* Returns the key by now; NULL without an exception: the number has none. */
static PyObject *modify_key(KeyedObject *self, const plain *it) {
    PyObject *before = find_key(self, it->number);
    if (!before)
        return NULL;
    int error = 0;
    bool changes =
        is_other(before, EVENTS, it->events, &error) || is_other(before, DATA, it->data, &error);
    if (error || !changes) {
        if (error)
            Py_CLEAR(before);
        return before;
    }
    PyObject *key = new_key(self, PyTuple_GetItem(before, FILEOBJ), PyTuple_GetItem(before, FD),
                            it->events, it->data);
    error = key ? tell(self, REREGISTER, it, key) : -1;
    if (error) {
        Py_CLEAR(key);
        if (error > 0) {
            if (replace_key(self, it->number, before, NULL))
                tell(self, DEREGISTER, it, before);
            refuse_it(self, error, REREGISTER, it);
        }
    } else {
        replace_key(self, it->number, before, key);
    }
    Py_DECREF(before);
    return key;
}

typedef PyObject *(*changing)(KeyedObject *self, const plain *it);

/* Makes a change whose arguments are plain; leaves others to the method in Python, and what comes
 * without a key, too: it knows why. */
static PyObject *change_keys(PyObject *object, const char *name, changing change, Py_ssize_t most,
                             PyObject *const *arguments, Py_ssize_t count, PyObject *keywords) {
    KeyedObject *self = (KeyedObject *)object;
    plain it;
    PyObject *key = NULL;
    if (read_plainly(self, most, arguments, count, keywords, &it)) {
        key = change(self, &it);
        Py_DECREF(it.number);
    }
    if (key || PyErr_Occurred())
        return key;
    return in_python(self, name, arguments, count, keywords);
}

static PyObject *keyed_register(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                PyObject *keywords) {
    return change_keys(self, "register", register_key, 3, arguments, count, keywords);
}

static PyObject *keyed_unregister(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                  PyObject *keywords) {
    return change_keys(self, "unregister", unregister_key, 1, arguments, count, keywords);
}

static PyObject *keyed_modify(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                              PyObject *keywords) {
    return change_keys(self, "modify", modify_key, 3, arguments, count, keywords);
}

/* _change_descriptor(what, key): the same for a key that the Python code has. */
static PyObject *keyed_change_descriptor(PyObject *object, PyObject *arguments) {
    KeyedObject *self = (KeyedObject *)object;
    PyObject *key;
    int number;
    if (!is_opened(self->selector) ||
        !PyArg_ParseTuple(arguments, "iO!", &number, self->key_type, &key))
        return NULL;
    enum what what = number == DEREGISTER   ? DEREGISTER
                     : number == REREGISTER ? REREGISTER
                                            : REGISTER;
    long fd = PyLong_AsLong(PyTuple_GetItem(key, FD)),
         events = PyLong_AsLong(PyTuple_GetItem(key, EVENTS));
    if (PyErr_Occurred())
        return NULL;
    plain it = {.fd = (int)fd, .interest = (uint32_t)events & MASK, .number = PyLong_FromLong(fd)};
    int error = it.number ? tell(self, what, &it, key) : -1;
    PyObject *result = error ? refuse_it(self, error, what, &it) : none();
    Py_XDECREF(it.number);
    return result;
}

/* Selecting */

static PyObject *keyed_select(PyObject *object, PyObject *const *arguments, Py_ssize_t count,
                              PyObject *keywords) {
    static const char *const names[] = {"timeout"};
    KeyedObject *self = (KeyedObject *)object;
    PyObject *timeout = NULL;
    int64_t limit = -1;
    if (!self->selector || !sort_arguments(names, 1, arguments, count, keywords, &timeout) ||
        (timeout && timeout != Py_None && !read_plain(timeout, &limit)))
        return in_python(self, "select", arguments, count, keywords);
    return wait_for_keys(self, limit);
}

/* _wait(timeout): None, or a number that is not negative. */
static PyObject *keyed_wait(PyObject *object, PyObject *timeout) {
    KeyedObject *self = (KeyedObject *)object;
    int64_t limit;
    if (!is_opened(self->selector) || read_timeout(self->selector->state, timeout, &limit) < 0)
        return NULL;
    return wait_for_keys(self, limit);
}

/* The type */

/* _begin(selector, registry, keys by number, keys of wakers, SelectorKey, class in Python) */
static PyObject *keyed_begin(PyObject *object, PyObject *arguments) {
    KeyedObject *self = (KeyedObject *)object;
    PyObject *selector, *registry, *by_number, *wakers, *key_type, *written;
    if (!PyArg_ParseTuple(arguments, "O!OO!O!O!O!", state_of(Py_TYPE(object))->selector_type,
                          &selector, &registry, &PyDict_Type, &by_number, &PyDict_Type, &wakers,
                          &PyType_Type, &key_type, &PyType_Type, &written))
        return NULL;
    if (self->selector)
        return PyErr_Format(PyExc_TypeError, "__init__() of a selector is called once");
    self->new_tuple = (newfunc)PyType_GetSlot(&PyTuple_Type, Py_tp_new);
    self->registry = Py_NewRef(registry);
    self->by_number = Py_NewRef(by_number);
    self->wakers = Py_NewRef(wakers);
    self->key_type = Py_NewRef(key_type);
    self->written = Py_NewRef(written);
    ((SelectorObject *)selector)->has_pairs = true;
    self->selector = (SelectorObject *)Py_NewRef(selector);
    return none();
}

static int keyed_traverse(PyObject *object, visitproc visit, void *arg) {
    const KeyedObject *self = (KeyedObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->selector);
    Py_VISIT(self->registry);
    Py_VISIT(self->by_number);
    Py_VISIT(self->wakers);
    Py_VISIT(self->key_type);
    Py_VISIT(self->written);
    return 0;
}

static int keyed_clear(PyObject *object) {
    KeyedObject *self = (KeyedObject *)object;
    PyObject *selector = (PyObject *)self->selector;
    if (self->batch)
        self->selector->calls->batch_free(self->batch);
    self->batch = NULL;
    self->selector = NULL;
    Py_XDECREF(selector);
    Py_CLEAR(self->registry);
    Py_CLEAR(self->by_number);
    Py_CLEAR(self->wakers);
    Py_CLEAR(self->key_type);
    Py_CLEAR(self->written);
    return 0;
}

static void keyed_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    keyed_clear(object);
    free_object(object);
}

static PyMethodDef keyed_methods[] = {
    {"register", METHOD(keyed_register), METH_FASTCALL | METH_KEYWORDS, REGISTER_DOC},
    {"unregister", METHOD(keyed_unregister), METH_FASTCALL | METH_KEYWORDS, UNREGISTER_DOC},
    {"modify", METHOD(keyed_modify), METH_FASTCALL | METH_KEYWORDS, MODIFY_DOC},
    {"select", METHOD(keyed_select), METH_FASTCALL | METH_KEYWORDS, SELECT_DOC},
    {"_begin", keyed_begin, METH_VARARGS, NULL},
    {"_wait", keyed_wait, METH_O, NULL},
    {"_change_descriptor", keyed_change_descriptor, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot keyed_slots[] = {
    {Py_tp_traverse, keyed_traverse},
    {Py_tp_clear, keyed_clear},
    {Py_tp_dealloc, keyed_dealloc},
    {Py_tp_methods, keyed_methods},
    {0, NULL},
};

static PyType_Spec keyed_spec = {
    .name = "pollster.backend._python.Keyed",
    .basicsize = sizeof(KeyedObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = keyed_slots,
};

int add_keys(PyObject *module) {
    PyObject *keyed_type = add_type(module, "Keyed", &keyed_spec);
    Py_XDECREF(keyed_type);
    return keyed_type ? 0 : -1;
}

#endif
