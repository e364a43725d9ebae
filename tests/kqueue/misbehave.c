/* Faults on demand; see kqueue_misbehave.h. */
#include "kqueue_misbehave.h"

#include "knote.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_int interrupts, failures, no_user, no_zombies, no_processes, truncates, late, prompt,
    async;
static atomic_long calls;

void kqueue_misbehave(const char *fault, int times) {
    if (strcmp(fault, "EINTR") == 0)
        interrupts = times;
    else if (strcmp(fault, "ENOMEM") == 0)
        failures = times;
    else if (strcmp(fault, "no-user") == 0)
        no_user = times;
    else if (strcmp(fault, "no-zombies") == 0)
        no_zombies = times;
    else if (strcmp(fault, "no-processes") == 0)
        no_processes = times;
    else if (strcmp(fault, "late") == 0)
        late = times;
    else if (strcmp(fault, "async") == 0)
        async = times;
    else if (strcmp(fault, "prompt") == 0)
        prompt = times;
    else if (strcmp(fault, "O_TRUNC") == 0)
        truncates = times;
    else
        abort();
}

__attribute__((constructor)) static void read_environment(void) {
    const char *fault = getenv("KQUEUE_MISBEHAVE");
    if (fault)
        kqueue_misbehave(fault, INT_MAX);
}

long kqueue_calls(void) {
    return calls;
}

void misbehave_count_call(void) {
    calls++;
}

static bool take(atomic_int *times) {
    int left = *times;
    while (left > 0)
        if (atomic_compare_exchange_weak(times, &left, left - 1))
            return true;
    return false;
}

int misbehave_change(int filter, bool adds) {
    if (adds && take(&failures))
        return ENOMEM;
    return filter == EVFILT_USER && no_user > 0 ? EINVAL : 0;
}

bool misbehave_interrupted(void) {
    return take(&interrupts);
}

bool misbehave_hides_processes(void) {
    return no_processes > 0;
}

bool misbehave_is_late(void) {
    return late > 0;
}

bool misbehave_is_asynchronous(void) {
    return async > 0;
}

bool misbehave_is_prompt(void) {
    return prompt > 0;
}

bool misbehave_truncates(void) {
    return truncates > 0;
}

bool misbehave_hides_zombies(void) {
    return no_zombies > 0;
}
