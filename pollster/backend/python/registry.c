/* The base of Registry: it makes changes at once, or gathers many for one call. What they are is
 * read in methods.c. */
#include "python.h"

/* Before changes are made, of which so many register. -1: an exception is set. */
static int expect(SelectorObject *self, uint32_t registering) {
    int result;
    LOCK((PyObject *)self)
        result = promise(self, registering);
    UNLOCK
    return result;
}

static void note_change(SelectorObject *self, const change *c, PyObject *const *arguments) {
    LOCK((PyObject *)self)
        if (c->gone.index)
            forget(self, c->gone);
        if (c->made.index && (c->what == PAUSE || c->what == RESUME))
            renew_paused(self, c, arguments[0]);
        else if (c->made.index)
            keep(self, c->made, arguments[0], arguments[1]);
        settle(self, c->what == REGISTER);
        self->spins = 0; /* something is new */
    UNLOCK
}

static int reserve(gathered *g) {
    if (g->count < g->room)
        return 0;
    if (g->room > INT_MAX / 2)
        return -1;
    size_t room = g->room ? (size_t)g->room * 2 : 16;
    change *changes = PyMem_Realloc(g->changes, room * sizeof *changes);
    if (changes)
        g->changes = changes;
    PyObject **arguments = PyMem_Realloc(g->arguments, 2 * room * sizeof *arguments);
    if (arguments)
        g->arguments = arguments;
    if (!changes || !arguments)
        return -1;
    g->room = (int)room;
    return 0;
}

static PyObject *refuse_closed(void) {
    PyErr_SetString(PyExc_RuntimeError, "a batch takes changes in its block only, which makes them "
                                        "when it ends: with registry.batch() as changes: ...");
    return NULL;
}

static int gather(RegistryObject *self, const change *c, PyObject *const *arguments) {
    gathered *g = &self->waiting;
    bool is_open;
    int result = 0;
    LOCK((PyObject *)self)
        is_open = self->is_open;
        if (is_open)
            result = reserve(g);
        if (is_open && result == 0) {
            PyObject **kept = &g->arguments[(size_t)2 * g->count];
            kept[0] = Py_NewRef(arguments[0]);
            kept[1] = Py_NewRef(c->what > REREGISTER ? Py_None : arguments[1]);
            g->changes[g->count++] = *c;
            g->timers += c->timer != NULL;
            g->registering += c->what == REGISTER;
        }
    UNLOCK
    if (!is_open)
        refuse_closed();
    else if (result < 0)
        PyErr_NoMemory();
    return is_open ? result : -1;
}

static int make(SelectorObject *selector, change *c, PyObject *const *arguments) {
    int result;
    if (c->what == REGISTER && expect(selector, 1) < 0)
        return -1;
    if (c->timer) { /* soon done: the GIL would cost more */
        result = change_timer(arguments[0], selector, c);
    } else {
        Py_BEGIN_ALLOW_THREADS
            result = selector->calls->apply(selector->selector, c, 1);
        Py_END_ALLOW_THREADS
    }
    if (result < 0)
        c->result = result;
    note_change(selector, c, arguments);
    observe_change(selector, c, arguments[0]);
    return 0;
}

int change_registry(PyObject *registry, change *c, PyObject *const *arguments) {
    RegistryObject *self = (RegistryObject *)registry;
    if (!is_opened(self->selector))
        return -1;
    int result = self->gathers ? gather(self, c, arguments) : make(self->selector, c, arguments);
    return result < 0 ? -1 : -c->result;
}

/* Takes what was gathered out of it, and ends the gathering. */
static gathered take(RegistryObject *self) {
    gathered taken;
    LOCK((PyObject *)self)
        taken = self->waiting;
        self->waiting = (gathered){.count = 0};
        self->is_open = false;
    UNLOCK
    return taken;
}

static void let_go(gathered taken) {
    for (int i = 0; i < 2 * taken.count; i++)
        Py_DECREF(taken.arguments[i]);
    PyMem_Free(taken.changes);
    PyMem_Free(taken.arguments);
}

/* A list of (what, errno, source, descriptor) of what failed. */
static PyObject *failures(const gathered *made) {
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < made->count; i++) {
        const change *c = &made->changes[i];
        if (c->result == 0)
            continue;
        PyObject *failure =
            Py_BuildValue("iiOi", (int)c->what, -c->result, made->arguments[(size_t)2 * i], c->fd);
        if (!failure || PyList_Append(list, failure) < 0)
            Py_CLEAR(list);
        Py_XDECREF(failure);
    }
    return list;
}

/* The changes of descriptors, as a list of their own where there are others: copied from there, or
 * back. What is about a timer and what is about a descriptor have no order to keep. */
static void copy_changes(change *some, gathered *all, bool back) {
    for (int i = 0; i < all->count; i++) {
        change *c = &all->changes[i];
        if (c->timer)
            continue;
        if (back)
            *c = *some++;
        else
            *some++ = *c;
    }
}

/* Makes all changes; an errno, negative, where none was tried. Those of timers one by one with the
 * GIL, or the timer's critical section: others use them meanwhile. */
static int make_all(SelectorObject *selector, gathered *all, change *some) {
    int result;
    if (some != all->changes)
        copy_changes(some, all, false);
    Py_BEGIN_ALLOW_THREADS
        result = selector->calls->apply(selector->selector, some, all->count - all->timers);
    Py_END_ALLOW_THREADS
    if (some != all->changes)
        copy_changes(some, all, true);
    for (int i = 0; i < all->count && result == 0 && all->timers; i++) {
        change *c = &all->changes[i];
        int error = c->timer ? change_timer(all->arguments[(size_t)2 * i], selector, c) : 0;
        if (error < 0)
            c->result = error; /* the selector was closed meanwhile */
    }
    return result;
}

static PyObject *registry_apply(PyObject *object, PyObject *nothing) {
    (void)nothing;
    SelectorObject *selector = ((RegistryObject *)object)->selector;
    if (!is_opened(selector))
        return NULL;
    gathered taken = take((RegistryObject *)object);
    PyObject *list = NULL;
    change *some = taken.timers ? PyMem_Malloc((size_t)(taken.count - taken.timers) * sizeof *some)
                                : taken.changes;
    if (!some && taken.count) {
        PyErr_NoMemory();
    } else if (expect(selector, (uint32_t)taken.registering) == 0) {
        int result = make_all(selector, &taken, some);
        for (int i = 0; i < taken.count; i++)
            note_change(selector, &taken.changes[i], &taken.arguments[(size_t)2 * i]);
        for (int i = 0; i < taken.count && result == 0; i++)
            observe_change(selector, &taken.changes[i], taken.arguments[(size_t)2 * i]);
        list = result < 0 ? fail((PyObject *)selector, result, "the changes were not made")
                          : failures(&taken);
    }
    if (some != taken.changes)
        PyMem_Free(some);
    let_go(taken);
    return list;
}

/* How many changes were dropped. */
static PyObject *registry_drop(PyObject *object, PyObject *nothing) {
    (void)nothing;
    gathered taken = take((RegistryObject *)object);
    let_go(taken);
    return PyLong_FromLong(taken.count);
}

/* Starts to gather; false: it does already. */
static PyObject *registry_gather(PyObject *object, PyObject *nothing) {
    (void)nothing;
    RegistryObject *self = (RegistryObject *)object;
    bool was_open;
    LOCK(object)
        was_open = self->is_open;
        self->is_open = true;
    UNLOCK
    return PyBool_FromLong(!was_open);
}

/* Raises what a change would raise outside of the block of a batch. */
static PyObject *registry_check(PyObject *object, PyObject *nothing) {
    (void)nothing;
    RegistryObject *self = (RegistryObject *)object;
    bool is_open;
    LOCK(object)
        is_open = !self->gathers || self->is_open;
    UNLOCK
    return is_open ? none() : refuse_closed();
}

/* _begin(selector, gathers) */
static PyObject *registry_begin(PyObject *object, PyObject *arguments) {
    RegistryObject *self = (RegistryObject *)object;
    PyObject *selector;
    int gathers;
    PyObject *selector_type = state_of(Py_TYPE(object))->selector_type;
    if (!PyArg_ParseTuple(arguments, "O!p", selector_type, &selector, &gathers))
        return NULL;
    if (self->selector)
        return PyErr_Format(PyExc_TypeError, "a Registry is made by its Poll");
    self->selector = (SelectorObject *)Py_NewRef(selector);
    self->gathers = gathers;
    return none();
}

static int registry_traverse(PyObject *object, visitproc visit, void *arg) {
    const RegistryObject *self = (RegistryObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT((PyObject *)self->selector);
    for (int i = 0; i < 2 * self->waiting.count; i++)
        Py_VISIT(self->waiting.arguments[i]);
    return 0;
}

static int registry_clear(PyObject *object) {
    RegistryObject *self = (RegistryObject *)object;
    let_go(take(self));
    PyObject *selector = (PyObject *)self->selector;
    self->selector = NULL;
    Py_XDECREF(selector);
    return 0;
}

static void registry_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    registry_clear(object);
    free_object(object);
}

static PyMethodDef registry_methods[] = {
    {"_begin", registry_begin, METH_VARARGS, NULL},
    {"_change", METHOD(registry_change), METH_FASTCALL, NULL},
    {"_apply", registry_apply, METH_NOARGS, NULL},
    {"_drop", registry_drop, METH_NOARGS, NULL},
    {"_gather", registry_gather, METH_NOARGS, NULL},
    {"_check", registry_check, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot registry_slots[] = {
    {Py_tp_traverse, registry_traverse},
    {Py_tp_clear, registry_clear},
    {Py_tp_dealloc, registry_dealloc},
    {Py_tp_methods, registry_methods},
    {0, NULL},
};

static PyType_Spec registry_spec = {
    .name = "pollster.backend._python.Registry",
    .basicsize = sizeof(RegistryObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = registry_slots,
};

int add_registry(PyObject *module, module_state *state) {
    state->registry_type = add_type(module, "Registry", &registry_spec);
    return state->registry_type ? 0 : -1;
}
