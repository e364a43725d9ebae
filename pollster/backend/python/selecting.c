/* What a selector of keys tells: a list of (key, mask). */
#include "keys.h"
#ifndef PYPY_VERSION

#define AHEAD 6   /* pairs */
#define FEWEST 64 /* places in a batch */

static PyObject *new_pair(const module_state *state, PyObject *token, PyObject *key,
                          uint32_t readiness) {
    (void)state;
    (void)token;
    PyObject *mask = PyLong_FromLong((long)readiness & PyLong_AsLong(PyTuple_GetItem(key, EVENTS)));
    PyObject *pair = mask ? PyTuple_Pack(2, key, mask) : NULL;
    Py_XDECREF(mask);
    return pair;
}

/* Of a source that registered itself, or what it is made of: its key is found by its token. */
static PyObject *pair_by_token(const KeyedObject *self, PyObject *given, uint32_t readiness) {
    PyObject *token = Py_NewRef(given), *number = NULL, *key = NULL, *pair = NULL;
    uint64_t value = PyLong_AsUnsignedLongLong(token);
    if (value >= FIRST_OF_SOURCES)
        number = PyLong_FromLongLong((int64_t)(value - FIRST_NUMBER));
    PyObject *keys = number ? self->by_number : self->wakers;
    LOCK(keys)
        if (number || value < FIRST_OF_SOURCES)
            key = Py_XNewRef(PyDict_GetItemWithError(keys, number ? number : token));
    UNLOCK
    if (key)
        pair = new_pair(self->selector->state, token, key, readiness);
    Py_XDECREF(key);
    Py_XDECREF(number);
    Py_DECREF(token);
    return pair;
}

/* NULL without an exception: there is no key by now. */
static PyObject *pair_of(const KeyedObject *self, uint64_t entry) {
    uint32_t readiness = (uint32_t)(entry >> ENTRY_READINESS) & MASK;
    slot *s = slot_of(self->selector, entry);
    if (!s || !readiness)
        return NULL;
    if (!s->source || !is_exactly_a(s->source, self->key_type))
        return pair_by_token(self, s->token, readiness);
    if (s->readiness == readiness)
        return Py_NewRef(s->event);
    return tell_anew(self->selector, entry, readiness, new_pair);
}

static PyObject *pairs_of(const KeyedObject *self, batch *batch, int count) {
    PyObject *list = PyList_New(count);
    int filled = 0;
    LOCK((PyObject *)self->selector)
        for (int i = 0; list && i < count; i++) {
            if (i < count - AHEAD)
                prefetch_event(self->selector, batch->ready[i + AHEAD]);
            PyObject *pair = pair_of(self, batch->ready[i]);
            if (!pair && PyErr_Occurred()) {
                Py_CLEAR(list);
                break;
            }
            note_read(&batch->ready[i]);
            if (pair)
                PyList_SetItem(list, filled++, pair);
        }
    UNLOCK
    if (list && filled < count && PyList_SetSlice(list, filled, count, NULL) < 0)
        Py_CLEAR(list);
    return list;
}

/* Several threads may select: each takes the batch that is there, or another one. */
static batch *take_batch(KeyedObject *self, int *capacity) {
    Py_ssize_t wanted = PyDict_Size(self->by_number);
    batch *taken;
    LOCK((PyObject *)self)
        taken = self->batch;
        *capacity = self->capacity;
        self->batch = NULL;
    UNLOCK
    if (taken && (*capacity >= wanted || *capacity == CAPACITY_MAX))
        return taken;
    const selector_calls *calls = self->selector->calls;
    if (taken)
        calls->batch_free(taken);
    *capacity = wanted > CAPACITY_MAX / 2 ? CAPACITY_MAX
                : wanted > FEWEST         ? (int)wanted * 2
                                          : FEWEST;
    errno = 0;
    taken = calls->batch_new(self->selector->selector, *capacity);
    if (!taken && errno == ECHILD)
        fail((PyObject *)self->selector, -ECHILD, "");
    else if (!taken)
        PyErr_NoMemory();
    return taken;
}

static void give_back(KeyedObject *self, batch *taken, int capacity) {
    batch *spare = taken;
    LOCK((PyObject *)self)
        if (!self->batch) {
            self->batch = taken;
            self->capacity = capacity;
            spare = NULL;
        }
    UNLOCK
    if (spare)
        self->selector->calls->batch_free(spare);
}

PyObject *wait_for_keys(KeyedObject *self, int64_t limit) {
    SelectorObject *selector = self->selector;
    int capacity, result;
    batch *batch = take_batch(self, &capacity);
    if (!batch)
        return NULL;
    for (;;) {
        Py_BEGIN_ALLOW_THREADS
            result = selector->calls->wait(batch, limit);
        Py_END_ALLOW_THREADS
        if (result != -EINTR)
            break;
        limit = batch->remaining;
        if (run_handlers() < 0)
            break;
    }
    PyObject *list = NULL, *over = NULL;
    bool raised = observe_wait(selector, batch, result) < 0;
    if (raised)
        selector->calls->put_back(batch);
    if (!raised && result > 0 && batch->spent_count) {
        LOCK((PyObject *)selector)
            over = let_go_spent(selector, batch);
        UNLOCK
        Py_XDECREF(over);
    }
    if (!raised && result >= 0)
        list = pairs_of(self, batch, result);
    else if (!raised && result != -EINTR)
        fail((PyObject *)selector, result, "this selector can't wait");
    give_back(self, batch, capacity);
    return list;
}

#endif
