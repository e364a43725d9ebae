/* Which kernel this is, and the table: which kernel has which difference. */
#include "kernels.h"

#include "kqueue_kernel.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *what, *source;
} differences[] = {
#define X(difference, name, what, source) [difference] = {name, what, source},
    DIFFERENCES(X)
#undef X
};

static const struct {
    const char *name;
    bool has[DIFFERENCE_COUNT];
} kernels[] = {
    {
        "freebsd",
        {
            [LATE_SIGNALS] = true,
            [EPIPE_OF_PIPE] = true,
            [EOF_DROPS] = true,
            [TWO_WAY_PIPES] = true,
            [EXTRA_EDGE] = true,
        },
    },
    {
        "freebsd14",
        {
            [LATE_SIGNALS] = true,
            [EPIPE_OF_PIPE] = true,
            [EOF_DROPS] = true,
            [TWO_WAY_PIPES] = true,
            [EXTRA_EDGE] = true,
            [OLD_UNIX] = true,
        },
    },
    {
        "macos",
        {
            [LATE_SIGNALS] = true,
            [LEVELS] = true,
            [WAKES_WHEN_EMPTY] = true,
            [EXCEPT] = true,
            [EXCEPT_READS] = true,
            [ENOENT_OF_CLOSED] = true,
            [MUTE_WRONG_END] = true,
            [VNODE_FIFO] = true,
            [EINVAL_OF_DEVICE] = true,
            [OLD_UNIX] = true,
            [NO_EXTEND] = true,
            [NO_ZOMBIES] = true,
        },
    },
    {
        "openbsd",
        {
            [LATE_SIGNALS] = true,
            [OWN_QUEUE] = true,
            [KEEPS_UDATA] = true,
            [SHOWS_ADD] = true,
            [UNLINK_IS_LINK] = true,
            [SILENT_TRUNCATION] = true,
            [EINVAL_OF_SIGNAL] = true,
            [NO_USER] = true,
            [EXCEPT] = true,
            [TWO_WAY_PIPES] = true,
            [EPIPE_OF_PIPE] = true,
            [MUTE_FULL_PIPE] = true,
            [ONE_WAY_FIFO] = true,
            [TTY_READ_ONLY_EOF] = true,
            [OLD_UNIX] = true,
            [NO_ZOMBIES] = true,
        },
    },
    {
        "netbsd",
        {
            [LATE_SIGNALS] = true,
            [OWN_QUEUE] = true,
            [CLEAR_ONLY] = true,
            [EBADF_OF_PIPE] = true,
            [MUTE_FULL_PIPE] = true,
            [FIFO_WRITE_EOF] = true,
            [TTY_MUTE] = true,
            [OLD_UNIX] = true,
            [NO_ZOMBIES] = true,
        },
    },
    {
        "dragonfly",
        {
            [LATE_SIGNALS] = true,
            [OWN_QUEUE] = true,
            [NO_WRITABLE_QUEUE] = true,
            [EXCEPT] = true,
            [TWO_WAY_PIPES] = true,
            [EPIPE_OF_PIPE] = true,
            [TTY_READ_ONLY_EOF] = true,
            [OLD_UNIX] = true,
        },
    },
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static atomic_int current; /* the first is the default */

static int find(const char *name) {
    for (int i = 0; i < COUNT(kernels); i++)
        if (strcmp(kernels[i].name, name) == 0)
            return i;
    return -1;
}

__attribute__((constructor)) static void read_environment(void) {
    const char *name = getenv("KQUEUE_KERNEL");
    if (name && kqueue_be_kernel(name) < 0) {
        fprintf(stderr, "KQUEUE_KERNEL=%s: tests/kqueue/kernels.c knows no such kernel\n", name);
        abort();
    }
}

int kqueue_be_kernel(const char *name) {
    int found = find(name);
    if (found >= 0)
        current = found;
    return found < 0 ? -1 : 0;
}

const char *kqueue_kernel(void) {
    return kernels[current].name;
}

const char *kqueue_kernel_at(int index) {
    return index < COUNT(kernels) ? kernels[index].name : NULL;
}

const char *kqueue_difference_at(int index, const char **what, const char **source) {
    if (index >= COUNT(differences))
        return NULL;
    *what = differences[index].what;
    *source = differences[index].source;
    return differences[index].name;
}

int kqueue_kernel_has(const char *kernel, const char *difference) {
    int which = find(kernel);
    for (int i = 0; which >= 0 && i < COUNT(differences); i++)
        if (strcmp(differences[i].name, difference) == 0)
            return kernels[which].has[i];
    return -1;
}

bool kernel_has(enum difference difference) {
    return kernels[current].has[difference];
}
