/* A child for `exit`: told to, it waits until its parent waits, writes the time and ends. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const struct timespec while_parent_settles = {.tv_nsec = 2000000};

int main(int count, char **arguments) {
    if (count != 3) {
        fprintf(stderr, "usage: last_words GO WORDS (descriptors)\n");
        return 2;
    }
    int go = atoi(arguments[1]), words = atoi(arguments[2]);
    char byte;
    struct timespec now;
    if (read(go, &byte, 1) != 1 || nanosleep(&while_parent_settles, NULL) < 0 ||
        clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return 1;
    int64_t nanoseconds = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    _exit(write(words, &nanoseconds, sizeof nanoseconds) == sizeof nanoseconds ? 0 : 1);
}
