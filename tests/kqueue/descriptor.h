/* What READ, WRITE and VNODE ask of a Linux descriptor: what it is, whether it is still the same
 * open file, and whether FreeBSD would call it readable or writable. Knows nothing of knotes. */
#ifndef DESCRIPTOR_H
#define DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum kind {
    KIND_TCP,
    KIND_STREAM, /* AF_UNIX stream */
    KIND_PACKET, /* every other socket */
    KIND_PIPE,
    KIND_FIFO, /* a pipe with a name */
    KIND_KQUEUE,
    KIND_FILE, /* regular */
    KIND_DIRECTORY,
    KIND_DEVICE, /* without poll(2): /dev/null */
    KIND_POLLED, /* what else epoll accepts: terminals, eventfds */
};

struct descriptor {
    int fd;
    bool writing;
    enum kind kind;
    int epoll; /* where it is registered, or -1: Linux won't notify us about it */
    dev_t dev;
    ino_t ino;
    bool marked;    /* without epoll: the open file was, so as to know it again */
    uint64_t queue; /* KIND_KQUEUE: the inner queue's serial */
    bool listened;  /* a TCP socket that was seen listening */
};

struct condition {
    bool ready;
    bool eof;
    bool last;        /* the other end is gone for good: report once and drop */
    bool unheard;     /* it came to be ready, and nobody is told */
    bool half_closed; /* Linux: POLLRDHUP */
    bool counted;     /* progress grows with everything that could make the condition true again */
    int error;        /* pending, not consumed */
    int64_t data;
    uint64_t progress;
};

/* Has the socket at the other end of a Unix stream socket been closed? */
bool unix_peer_is_gone(int fd);

/* Fills d and registers it with the epoll, under `serial`; 0 or the errno FreeBSD gives. */
int descriptor_attach(struct descriptor *d, int fd, bool writing, int epoll, uint64_t serial);
/* Fills d and *st for a file that has a name, registering nothing; EINVAL for everything else. */
int descriptor_attach_named(struct descriptor *d, int fd, struct stat *st);
/* Fills d and has the epoll, which is this descriptor's alone, told of out-of-band data; EINVAL for
 * what is no socket. */
int descriptor_attach_except(struct descriptor *d, int fd, int epoll);
void descriptor_detach(struct descriptor *d);
/* Was the number closed, or does it name another open file by now? */
bool descriptor_is_stale(const struct descriptor *d);
struct condition descriptor_look(struct descriptor *d, int64_t lowat);
bool descriptor_is_dev_tty(int fd);
bool descriptor_is_of_the_network(const struct descriptor *d);
/* Is it the end that a pipe or FIFO is read from? */
bool descriptor_is_drained(const struct descriptor *d);
/* Does a notification between two looks mean a new event, or was it about something else? */
bool descriptor_is_news(const struct condition *was, const struct condition *is);

#endif
