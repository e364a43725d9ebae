/* Who looks on: a `Log` (_log.py), which is told of changes and of what the selector came upon, and
 * a `Spin` (_spin.py), which is asked about sources that are ready again and again. A selector has
 * neither unless somebody asked for it, which is one check of a pointer.
 *
 * No lock is held while they are called: they may run any code, that uses this selector too. */
#include "python.h"

/* Polls in a row that had the same source, until it is looked at, and until it is told. */
enum spinning { SPIN_LOOKED_AT = 9000, SPIN_TOLD = 10000 };

/* An index and a generation, of an entry. */
#define IDENTITY (~(((uint64_t)READY_MASK << ENTRY_READINESS) | (uint64_t)1 << ENTRY_READ))

/* What was done is done, whatever comes of telling it. */
static void told(PyObject *log, PyObject *result) {
    if (!result && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        PyErr_Clear();
        PyErr_SetInterrupt(); /* it comes when this call is over */
    } else if (!result) {
        PyErr_WriteUnraisable(log);
    }
    Py_XDECREF(result);
}

static void tell_remarks(SelectorObject *self) {
    remark it;
    while (self->calls->remark(self->selector, &it) > 0)
        told(self->log, PyObject_CallMethod(self->log, "remarked", "iiK", (int)it.what, it.fd,
                                            (unsigned long long)it.token));
}

/* Timers for a single use, which this batch tells for the last time. */
static void tell_spent(SelectorObject *self, const batch *b) {
    for (int i = 0; i < b->spent_count; i++) {
        uint64_t token;
        if (self->calls->token(self->selector, b->spent[i], &token) == 0)
            told(self->log,
                 PyObject_CallMethod(self->log, "spent", "K", (unsigned long long)token));
    }
}

void observed_change(SelectorObject *self, const change *c, PyObject *source) {
    tell_remarks(self);
    told(self->log,
         PyObject_CallMethod(self->log, "changed", "iOiKIIiO", (int)c->what, source, c->fd,
                             (unsigned long long)c->token, c->interest, c->trigger, -c->result,
                             c->gone.index ? Py_True : Py_False));
}

/* How many polls in a row have had the source that this one has, too. */
static uint32_t count_spin(SelectorObject *self, const batch *b, int ready) {
    for (int i = 0; i < ready; i++)
        if ((b->ready[i] & IDENTITY) == self->suspect)
            return ++self->spins;
    self->suspect = ready ? b->ready[0] & IDENTITY : 0;
    self->spins = ready > 0;
    return self->spins;
}

static int look_at_spin(SelectorObject *self, const batch *b, int ready) {
    uint32_t polls, index;
    LOCK((PyObject *)self)
        polls = count_spin(self, b, ready);
        index = (uint32_t)self->suspect & REGISTRATIONS_MAX;
        if (polls >= SPIN_TOLD)
            self->spins = 0;
    UNLOCK
    if (polls != SPIN_LOOKED_AT && polls != SPIN_TOLD)
        return 0;
    PyObject *over = PyObject_CallMethod(self->spin, "suspected", "OIO", (PyObject *)self, index,
                                         polls == SPIN_TOLD ? Py_True : Py_False);
    if (!over || over == Py_True)
        self->has_spun = true;
    Py_XDECREF(over);
    return over ? 0 : -1;
}

int observed_wait(SelectorObject *self, const batch *b, int result) {
    if (self->log)
        tell_remarks(self);
    if (self->log && result > 0)
        tell_spent(self, b);
    return self->spin && !self->has_spun && result >= 0 ? look_at_spin(self, b, result) : 0;
}

PyObject *selector_observe(PyObject *object, PyObject *arguments) {
    SelectorObject *self = (SelectorObject *)object;
    PyObject *log, *spin;
    if (!is_opened(self) || !PyArg_ParseTuple(arguments, "OO", &log, &spin))
        return NULL;
    if (self->log || self->spin)
        return PyErr_Format(PyExc_RuntimeError, "somebody looks on already");
    self->log = log == Py_None ? NULL : Py_NewRef(log);
    self->spin = spin == Py_None ? NULL : Py_NewRef(spin);
    return none();
}

PyObject *selector_tell_remarks(PyObject *object, PyObject *nothing) {
    (void)nothing;
    SelectorObject *self = (SelectorObject *)object;
    if (self->log)
        tell_remarks(self);
    return none();
}
