/* CPython's side of the hot path: wait, iterate, register.
 *
 * cffi calls every other function of the contract; these are called for each poll and each change,
 * where its price shows (an argument costs it about 45 ns). Here stand the Python objects that the
 * contract's numbers mean: one slot for each registration, with its source, its token and the
 * Events that were made for it. Errors, and arguments that are not the plain ones, are left to the
 * Python code above, so that it alone says what they mean.
 *
 * Slots are guarded by the GIL or, without it, by the Selector's critical section; no lock is held
 * while the kernel works. So what the kernel side did first may be noted second here: generations
 * tell. */
#ifndef POLLSTER_PYTHON_H
#define POLLSTER_PYTHON_H
#include <pyconfig.h> /* says whether there is a GIL; without one there is no limited API */
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include "selector.h"
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>

#ifdef Py_GIL_DISABLED
#define LOCK(object) Py_BEGIN_CRITICAL_SECTION(object);
#define LOCK2(one, other) Py_BEGIN_CRITICAL_SECTION2(one, other);
#define UNLOCK Py_END_CRITICAL_SECTION();
#define UNLOCK2 Py_END_CRITICAL_SECTION2();
#else
#define LOCK(object) {
#define LOCK2(one, other) {
#define UNLOCK }
#define UNLOCK2 }
#endif

/* Another Event, or pair, of the same registration. */
typedef struct other {
    struct other *next;
    PyObject *event;
    uint32_t readiness;
} other;

/* What stands for a registration. */
typedef struct {
    uint32_t generation; /* the newest that was seen at this index */
    uint32_t readiness;  /* of `event` */
    PyObject *token;     /* NULL: nothing is registered */
    PyObject *source;    /* NULL: the selector was closed */
    PyObject *event;     /* or pair, that was told last; NULL: none */
    other *others;
} slot;

/* What one copy of the module knows. Each interpreter has a copy, and a program may import several:
 * so there is no static Python object here. A Selector says of which copy it is, which is how the
 * hot path knows; whatever else needs one asks for it with state_of(). It lives for as long as the
 * types do, and with them all of their objects. */
typedef struct {
    PyObject *selector_type, *poll_type, *ready_type, *iterator_type, *event_type;
    PyObject *registry_type, *timer_type, *method_type;
    PyObject *token_type;
    PyObject *interests, *triggers;                  /* tuples: each at its number */
    PyObject *plain_types, *socket_types;            /* sets: see _descriptors.py */
    PyObject *fileno, *events, *timeout;             /* names */
    PyObject *nanoseconds, *delay, *period, *moment; /* functions: for times that are not plain */
    PyObject *bound_method, *update_wrapper;         /* of types and functools */
} module_state;

typedef struct {
    PyObject ob_base;
    const module_state *state;
    const selector_calls *calls;
    selector *selector; /* its own, as long as it lives; others borrow it from here */
    slot *slots;
    uint32_t extent;
    uint32_t highest;  /* index that was noted so far */
    uint32_t promised; /* how many registrations may be made before they are noted */
    bool ended;        /* it was closed: sources are not kept any more */
    bool has_spun;     /* that was told, and is not looked at any more */
    uint32_t spins;    /* polls in a row that had a source, */
    uint64_t suspect;  /* which is this one */
    PyObject *log;     /* NULL, as `spin`: nobody looks on. See observer.c */
    PyObject *spin;
    bool has_pairs; /* its sources are keys, and what is told are pairs with them: see keys.h */
} SelectorObject;

/* The base of Events. */
typedef struct {
    PyObject ob_base;
    SelectorObject *selector; /* whose poll filled it last */
    batch *batch;
    int capacity;
    int count;
    uint32_t turn;   /* how often it was filled or emptied: ends the iterators of earlier turns */
    PyObject *spare; /* the memory of an iterator that was given up, with its type; or NULL */
    bool waiting;
} ReadyObject;

/* Changes that wait to be made together. */
typedef struct {
    change *changes;
    PyObject **arguments; /* of each change: its source, its token */
    int count;
    int room;
    int timers;      /* how many are about a timer, */
    int registering; /* and how many register */
} gathered;

/* The base of Registry. */
typedef struct {
    PyObject ob_base;
    SelectorObject *selector;
    bool gathers;
    bool is_open; /* it gathers now */
    gathered waiting;
} RegistryObject;

/* Py_RETURN_NONE, as the headers of 3.12 and 3.13 have it, does not count the reference, and older
 * Pythons that run what was built with those do. */
static inline PyObject *none(void) {
    return Py_NewRef(Py_None);
}

static inline void free_object(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static inline bool is_a(PyObject *object, PyObject *type) {
    return PyObject_TypeCheck(object, (PyTypeObject *)type);
}

static inline bool is_exactly_a(PyObject *object, PyObject *type) {
    return Py_IS_TYPE(object, (PyTypeObject *)type);
}

/* slots.c. Before registrations are made: there is a slot for what `count` of them will be, so that
 * to note it needs no memory. -1: an exception is set. After they are noted: `settle`. */
int promise(SelectorObject *self, uint32_t count);
void settle(SelectorObject *self, uint32_t count);

/* Note what is registered, of what was promised; what has ended; the end of all. */
void keep(SelectorObject *self, registration_id made, PyObject *source, PyObject *token);
void forget(SelectorObject *self, registration_id gone);
void forget_all(SelectorObject *self);
void drop_source(SelectorObject *self, uint32_t index);

/* The slot of an entry, or NULL: without an exception where its registration has ended. */
slot *slot_of(SelectorObject *self, uint64_t entry);

/* The Event of an entry, made when it is told for the first time. NULL without an exception: its
 * registration has ended. */
PyObject *event_of(SelectorObject *self, uint64_t entry);

/* What is told of an entry whose slot has something else in front: what was told before, or what
 * is made now, of the slot's token and its source, which is NULL where there is none. NULL as of
 * event_of(). */
typedef PyObject *(*maker)(const module_state *state, PyObject *token, PyObject *source,
                           uint32_t readiness);
PyObject *tell_anew(SelectorObject *self, uint64_t entry, uint32_t readiness, maker make);

/* event.c. The second: of a number that is in range. */
PyObject *new_event(const module_state *state, PyObject *token, uint32_t readiness);
PyObject *new_token(const module_state *state, PyObject *number);

/* Thousands of them do not fit into the processor's caches: this fetches the Event that is told
 * soon. Where it is yet to be made, the token that it is made of, and the source, since that is
 * what a program looks at next: see benchmarks/timers.py, run-close. */
void prefetch_event(const SelectorObject *self, uint64_t entry);

/* Gives what is registered the generation that it has by now: its earlier events are not told. The
 * second also where others were faster, or have not noted yet what they did. */
void renew(SelectorObject *self, registration_id made);
void renew_paused(SelectorObject *self, const change *c, PyObject *source);
void renew_source(SelectorObject *self, registration_id made, PyObject *source);

/* A list of the sources of timers that were reported for the last time: they are kept no longer.
 * NULL: no memory, and no exception; they are kept. */
PyObject *let_go_spent(SelectorObject *self, const batch *b);

/* Keeps them again: their batch is put back. */
void keep_spent(SelectorObject *self, const batch *b, PyObject *list);

/* timers.c. The timer that a source is, or NULL. To change one takes the source, for the length of
 * the call: so one selector gets it, and the source knows whose it is. An errno, negative, where
 * nothing was tried. */
timer *timer_of(const module_state *state, PyObject *source);
int change_timer(PyObject *source, SelectorObject *selector, change *c);

/* registry.c. Makes or gathers a change whose descriptor is known: the errno that it met, or
 * 0; -1: an exception is set. The arguments are its source and its token. */
int change_registry(PyObject *registry, change *c, PyObject *const *arguments);

/* methods.c. The descriptor of a plain source; -1: it wants a closer look; -2: an exception is set.
 * The second raises, for a Registry, what an errno means. */
int descriptor_of(const module_state *state, PyObject *source, enum what what);
PyObject *refuse(PyObject *registry, const change *c, int error, PyObject *source);

/* _change(what, descriptor, source[, token, interest, trigger[, True]]): the errno that it met, or
 * 0; -1: these arguments are not plain either. With True the interest is in hang-ups, too. */
PyObject *registry_change(PyObject *registry, PyObject *const *arguments, Py_ssize_t count);

/* method.c. A method of a class, which answers plain calls; `written` is what Python has for the
 * others. Calls come as PEP 590 has it: the names are those of the last arguments. */
typedef PyObject *(*method_call)(PyObject *method, PyObject *const *arguments, size_t flagged,
                                 PyObject *names);

typedef struct {
    PyObject ob_base;
    method_call call;
    PyObject *dict;
    PyObject *written;
    PyObject *owner; /* the class that has it */
    PyObject *base;  /* whose objects the C code can answer for */
    const module_state *state;
} MethodObject;

/* How many arguments have no name. */
#define ARGUMENTS(flagged) ((Py_ssize_t)((flagged) & (SIZE_MAX >> 1)))

PyObject *call_as_written(PyObject *method, PyObject *const *arguments, Py_ssize_t count,
                          PyObject *names);

/* Any function. */
PyObject *call_function(PyObject *function, PyObject *const *arguments, Py_ssize_t count,
                        PyObject *names);

static inline bool can_answer_for(const PyObject *method, PyObject *object) {
    const MethodObject *self = (const MethodObject *)method;
    return is_exactly_a(object, self->owner) || is_a(object, self->base);
}

/* methods.c, poll.c */
PyObject *registry_register(PyObject *method, PyObject *const *arguments, size_t flagged,
                            PyObject *names);
PyObject *registry_reregister(PyObject *method, PyObject *const *arguments, size_t flagged,
                              PyObject *names);
PyObject *registry_deregister(PyObject *method, PyObject *const *arguments, size_t flagged,
                              PyObject *names);
PyObject *registry_pause(PyObject *method, PyObject *const *arguments, size_t flagged,
                         PyObject *names);
PyObject *registry_resume(PyObject *method, PyObject *const *arguments, size_t flagged,
                          PyObject *names);
PyObject *poll_poll(PyObject *method, PyObject *const *arguments, size_t flagged, PyObject *names);

/* events.c. Fills the events and returns them; wait(events, timeout) does that, too. */
PyObject *wait_for(SelectorObject *selector, ReadyObject *events, PyObject *timeout);
PyObject *selector_wait_for(PyObject *self, PyObject *const *arguments, Py_ssize_t count);

/* A plain timeout, in nanoseconds. False: it is another number, or none, and nothing was read. */
bool read_plain(PyObject *timeout, int64_t *nanoseconds);

/* Any timeout, -1 for none; and the handlers of signals that have come. -1: an exception is set. */
int read_timeout(const module_state *state, PyObject *timeout, int64_t *nanoseconds);
int run_handlers(void);

/* Notes that an entry was told. Others may ask at the same time whether it was read: see
 * is_unread() in registrations.h, and whole_entry. */
static inline void note_read(uint64_t *entry) {
    typedef uint64_t whole_entry __attribute__((aligned(8)));
    __atomic_store_n((whole_entry *)entry, *entry | (uint64_t)1 << ENTRY_READ, __ATOMIC_RELAXED);
}

/* observer.c. After a change; and after a wait that reported so much: -1, it is not to be told, an
 * exception is set. */
void observed_change(SelectorObject *self, const change *c, PyObject *source);
int observed_wait(SelectorObject *self, const batch *b, int result);

/* _observe(log, spin); _tell_remarks() */
PyObject *selector_observe(PyObject *self, PyObject *arguments);
PyObject *selector_tell_remarks(PyObject *self, PyObject *nothing);

static inline void observe_change(SelectorObject *self, const change *c, PyObject *source) {
    if (self->log)
        observed_change(self, c, source);
}

static inline int observe_wait(SelectorObject *self, const batch *b, int result) {
    return self->log || self->spin ? observed_wait(self, b, result) : 0;
}

/* Each adds its types to the module and finds what it needs. */
int add_event(PyObject *module, module_state *state);
int add_events(PyObject *module, module_state *state);
int add_registry(PyObject *module, module_state *state);
int add_methods(module_state *state);
int add_method(PyObject *module, module_state *state);
int add_poll(PyObject *module, module_state *state);
int add_timers(PyObject *module, module_state *state);
int add_watches(PyObject *module);
int add_keys(PyObject *module);
int add_looping(PyObject *module);

/* python.c. What an errno means is for the Python code to say: raises that, returns NULL. */
PyObject *fail(PyObject *selector, int result, const char *what);
bool is_opened(const SelectorObject *self); /* false: an exception is set */
PyObject *imported(const char *module, const char *name);
PyObject *add_type(PyObject *module, const char *name, PyType_Spec *spec);

/* Of a type of this module, or of a class that is derived from one. */
module_state *state_of(PyTypeObject *type);

#define METHOD(function) ((PyCFunction)(void (*)(void))(function))

#endif
