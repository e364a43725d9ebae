/* Linux's poll(2), FIONREAD and TCP_INFO, put together to what FreeBSD's filt_soread, filt_sowrite,
 * filt_piperead and their like look at. "Recorded" is recorded/freebsd-15.1-kqueue-*.txt.
 *
 * Linux notifies through edge-triggered epoll registrations, and only epoll can say whether a
 * number still names the open file it was registered for: it keys on both (epoll(7), Q1 and Q6). */
#define _GNU_SOURCE 1
#include "kernels.h"
#include "knote.h"
#include "kqueue_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    PIPEFS = 0x50495045,       /* PIPEFS_MAGIC of <linux/magic.h>; a named FIFO lives elsewhere */
    LISTENING_UNIX_BACKLOG = 1 /* Linux tells the length only through sock_diag(7) */
};

/* tcpi_state: the kernel's include/net/tcp_states.h, which <linux/tcp.h> doesn't carry. */
enum tcp_state {
    TCP_SYN_SENT = 2,
    TCP_SYN_RECV = 3,
    TCP_FIN_WAIT1 = 4,
    TCP_FIN_WAIT2 = 5,
    TCP_TIME_WAIT = 6,
    TCP_CLOSE = 7,
    TCP_LAST_ACK = 9,
    TCP_LISTEN = 10,
    TCP_CLOSING = 11
};

static int revents(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    poll(&p, 1, 0);
    return p.revents;
}

static int option(int fd, int name) {
    int value = 0;
    getsockopt(fd, SOL_SOCKET, name, &value, &(socklen_t){sizeof(value)});
    return value;
}

static int64_t unread(int fd) {
    int bytes = 0;
    ioctl(fd, FIONREAD, &bytes);
    return bytes;
}

static int64_t unsent(int fd) {
    int bytes = 0;
    ioctl(fd, SIOCOUTQ, &bytes);
    return bytes;
}

static int access_mode(int fd) {
    return fcntl(fd, F_GETFL) & O_ACCMODE;
}

/* Of the read end of a pipe that goes both ways the writer is the reader. */
static bool other_end_is_gone(int fd) {
    return revents(fd) & (access_mode(fd) == O_WRONLY ? POLLERR : POLLHUP);
}

static enum kind socket_kind(int fd) {
    int domain = option(fd, SO_DOMAIN), type = option(fd, SO_TYPE);
    if (type == SOCK_STREAM && domain == AF_UNIX)
        return KIND_STREAM;
    if (type == SOCK_STREAM && option(fd, SO_PROTOCOL) == IPPROTO_TCP)
        return KIND_TCP;
    return KIND_PACKET;
}

static enum kind kind_of(int fd, mode_t mode) {
    struct statfs fs;
    if (S_ISSOCK(mode))
        return socket_kind(fd);
    if (S_ISFIFO(mode))
        return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS ? KIND_PIPE : KIND_FIFO;
    if (S_ISREG(mode))
        return KIND_FILE;
    if (S_ISDIR(mode))
        return KIND_DIRECTORY;
    return KIND_POLLED;
}

int kqueue_fcntl(int fd, int command, ...) {
    struct stat st;
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long); /* none, an int or a pointer: Linux takes what it needs */
    va_end(list);
    int result = fcntl(fd, command, argument);
    bool is_pipe = command == F_GETFL && result >= 0 && kernel_has(TWO_WAY_PIPES) &&
                   fstat(fd, &st) == 0 && kind_of(fd, st.st_mode) == KIND_PIPE;
    return is_pipe ? (result & ~O_ACCMODE) | O_RDWR : result;
}

/* A file can be opened twice and have one inode; epoll, which would tell the two apart, refuses it.
 * So the open file itself is marked: F_SETSIG belongs to it, and means nothing without O_ASYNC. */
static void mark(struct descriptor *d) {
    d->epoll = -1;
    d->marked = fcntl(d->fd, F_SETSIG, SIGIO) == 0; /* not where O_PATH opened it */
}

int descriptor_attach(struct descriptor *d, int fd, bool writing, int epoll, uint64_t serial) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return errno;
    *d = (struct descriptor){.fd = fd, .writing = writing, .epoll = epoll};
    d->dev = st.st_dev;
    d->ino = st.st_ino;
    d->kind = kind_of(fd, st.st_mode);
    struct kqueue *inner = kqueue_find(fd);
    if (inner) {
        if (writing)
            return kernel_has(NO_WRITABLE_QUEUE) ? EOPNOTSUPP : EINVAL; /* recorded: "nesting" */
        if (inner->fd == epoll && !kernel_has(OWN_QUEUE))
            return EINVAL;
        if (kernel_has(LEVELS) && !kqueue_rises(epoll, inner))
            return EINVAL;
        d->kind = KIND_KQUEUE;
        d->queue = inner->serial;
    }
    if (d->kind == KIND_PIPE && writing && other_end_is_gone(fd)) {
        if (kernel_has(EPIPE_OF_PIPE))
            return EPIPE;
        if (kernel_has(EBADF_OF_PIPE))
            return EBADF;
    }
    if (d->kind == KIND_FIFO && kernel_has(ONE_WAY_FIFO) &&
        access_mode(fd) == (writing ? O_RDONLY : O_WRONLY))
        return EINVAL;
    struct epoll_event event = {
        .events = EPOLLET | (writing ? EPOLLOUT : EPOLLIN | EPOLLRDHUP),
        .data.u64 = serial,
    };
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return 0;
    /* Closed and brought back by dup2(2): the old registration came back to life. */
    if (errno == EEXIST)
        return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : errno;
    bool is_nested = d->kind == KIND_KQUEUE && (errno == EINVAL || errno == ELOOP);
    if (errno == EPERM && d->kind == KIND_POLLED && kernel_has(EINVAL_OF_DEVICE))
        return EINVAL;
    if (errno == EPERM && d->kind == KIND_POLLED)
        d->kind = KIND_DEVICE;
    else if (errno != EPERM && !is_nested)
        return errno;
    mark(d);
    return 0;
}

int descriptor_attach_named(struct descriptor *d, int fd, struct stat *st) {
    if (fstat(fd, st) < 0)
        return errno;
    *d = (struct descriptor){.fd = fd, .dev = st->st_dev, .ino = st->st_ino};
    d->kind = kind_of(fd, st->st_mode);
    bool anonymous = !(st->st_mode & S_IFMT); /* an eventfd and its like: no vnode */
    if (anonymous || S_ISSOCK(st->st_mode) || d->kind == KIND_PIPE)
        return EINVAL; /* recorded: "EVFILT_VNODE", the last line */
    mark(d);
    return 0;
}

int descriptor_attach_except(struct descriptor *d, int fd, int epoll) {
    struct stat st;
    struct epoll_event event = {.events = EPOLLPRI | EPOLLIN | EPOLLRDHUP | EPOLLET};
    if (fstat(fd, &st) < 0)
        return errno;
    if (!S_ISSOCK(st.st_mode))
        return EINVAL;
    *d = (struct descriptor){.fd = fd, .epoll = epoll, .kind = socket_kind(fd)};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void descriptor_detach(struct descriptor *d) {
    if (d->epoll >= 0)
        epoll_ctl(d->epoll, EPOLL_CTL_DEL, d->fd, NULL);
}

bool descriptor_is_stale(const struct descriptor *d) {
    struct stat st;
    if (d->kind == KIND_KQUEUE) {
        struct kqueue *inner = kqueue_find(d->fd);
        if (!inner || inner->serial != d->queue)
            return true;
    }
    if (d->epoll < 0)
        return fstat(d->fd, &st) < 0 || st.st_dev != d->dev || st.st_ino != d->ino ||
               (d->marked && fcntl(d->fd, F_GETSIG) != SIGIO);
    /* EEXIST is said of exactly the registered pair of number and open file. */
    if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->fd, &(struct epoll_event){0}) < 0)
        return errno != EEXIST;
    epoll_ctl(d->epoll, EPOLL_CTL_DEL, d->fd, NULL);
    return true;
}

/* A pending error must not be read with SO_ERROR, which would consume it. A connection which has
 * been established was reset, one which never was has been refused. */
static int tcp_error(const struct tcp_info *info) {
    bool established = info->tcpi_rtt || info->tcpi_bytes_acked || info->tcpi_bytes_received;
    return established ? ECONNRESET : ECONNREFUSED;
}

static bool tcp_send_is_shut(int state) {
    return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_TIME_WAIT ||
           state == TCP_CLOSING || state == TCP_LAST_ACK || state == TCP_CLOSE;
}

static struct condition look_tcp(struct descriptor *d, int64_t lowat) {
    struct tcp_info info = {0};
    getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){sizeof(info)});
    int state = info.tcpi_state, now = revents(d->fd);
    if (state == TCP_LISTEN) {
        d->listened = true;
        return (struct condition){
            .ready = !d->writing && now & POLLIN,
            .data = info.tcpi_unacked, /* of a listener: its backlog, see ss(8) */
        };
    }
    if (d->listened && state == TCP_CLOSE) /* recorded: "listening TCP", shutdown(listener) */
        return (struct condition){.ready = !d->writing, .eof = true, .error = ECONNABORTED};
    /* poll(2) says POLLHUP|POLLOUT of a socket which was never connected; FreeBSD has no event. */
    bool fresh = state == TCP_CLOSE && !(now & POLLRDHUP);
    if (fresh || state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return (struct condition){.ready = false};
    struct condition c = {
        .eof = d->writing ? tcp_send_is_shut(state) : now & POLLRDHUP,
        .half_closed = now & POLLRDHUP,
        .error = now & POLLERR ? tcp_error(&info) : 0,
        .counted = true,
    };
    if (d->writing) {
        c.data = option(d->fd, SO_SNDBUF) - unsent(d->fd);
        c.progress = info.tcpi_bytes_acked;
        c.ready = c.eof || now & POLLOUT;
    } else {
        c.data = unread(d->fd);
        c.progress = info.tcpi_bytes_received;
        c.ready = c.eof || (lowat > 0 ? c.data >= lowat : (now & POLLIN) != 0);
    }
    return c;
}

/* Nothing else shows whether the sending side of a unix socket is shut. With no bytes to send
 * unix_stream_sendmsg() does nothing more than this check. */
static bool stream_send_is_shut(int fd) {
    if (send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0 || errno != EPIPE)
        return false;
    return !kernel_has(OLD_UNIX) || option(fd, SO_PRIORITY) == OWN_SHUTDOWN ||
           unix_peer_is_gone(fd);
}

static struct condition look_stream(struct descriptor *d, int64_t lowat) {
    int now = revents(d->fd);
    struct condition c = {.half_closed = now & POLLRDHUP};
    if (option(d->fd, SO_ACCEPTCONN)) {
        c.ready = !d->writing && now & POLLIN;
        c.data = LISTENING_UNIX_BACKLOG;
    } else if (now & POLLHUP && !(now & POLLRDHUP)) {
        c.ready = false; /* never connected, like a fresh TCP socket */
    } else if (d->writing) {
        c.progress = unsent(d->fd);
        c.data = option(d->fd, SO_SNDBUF) - (int64_t)c.progress;
        c.eof = stream_send_is_shut(d->fd);
        c.ready = c.eof || now & POLLOUT;
    } else {
        c.data = unread(d->fd);
        c.eof = now & POLLRDHUP;
        c.ready = c.eof || (lowat > 0 ? c.data >= lowat : (now & POLLIN) != 0);
    }
    return c;
}

static struct condition look_packet(struct descriptor *d) {
    int now = revents(d->fd);
    struct condition c = {.eof = now & POLLHUP || (!d->writing && now & POLLRDHUP)};
    if (d->writing) {
        c.data = option(d->fd, SO_SNDBUF) - unsent(d->fd);
        c.ready = (now & POLLOUT || c.eof) && !option(d->fd, SO_ACCEPTCONN);
    } else {
        c.data = unread(d->fd);
        /* POLLERR: recorded: "UDP", ICMP unreachable; an event, but no end. */
        c.ready = now & (POLLIN | POLLERR) || c.eof;
    }
    return c;
}

static struct condition look_fifo_of_vnodes(struct descriptor *d) {
    int64_t inside = unread(d->fd);
    int64_t data = d->writing ? fcntl(d->fd, F_GETPIPE_SZ) - inside : inside;
    return (struct condition){.ready = data != 0, .data = data};
}

/* The other direction's filter of an end that has one direction. */
static struct condition look_wrong_end(struct descriptor *d) {
    if (d->kind == KIND_FIFO || kernel_has(MUTE_WRONG_END))
        return (struct condition){.ready = false};
    bool eof = other_end_is_gone(d->fd);
    /* Recorded: "pipe: WRITE filter on the read end"; of the end: filt_piperead(), all kernels'. */
    if (d->writing)
        return (struct condition){
            .ready = true, .eof = eof, .last = eof && kernel_has(EOF_DROPS), .data = PIPE_BUF};
    return (struct condition){.ready = eof, .eof = eof};
}

static struct condition look_pipe(struct descriptor *d, int64_t lowat) {
    int now = revents(d->fd), mode = access_mode(d->fd);
    if (mode == (d->writing ? O_RDONLY : O_WRONLY))
        return look_wrong_end(d);
    if (d->kind == KIND_FIFO && kernel_has(VNODE_FIFO))
        return look_fifo_of_vnodes(d);
    int64_t inside = unread(d->fd);
    if (d->writing) {
        struct condition c = {.data = fcntl(d->fd, F_GETPIPE_SZ) - inside};
        c.eof = now & POLLERR || (d->kind == KIND_FIFO && kernel_has(FIFO_WRITE_EOF));
        c.last = c.eof && d->kind == KIND_PIPE && kernel_has(EOF_DROPS);
        /* Linux leaves a pipe as full as it was when its reader went. */
        c.unheard = c.eof && d->kind == KIND_PIPE && !(now & POLLOUT) && kernel_has(MUTE_FULL_PIPE);
        c.ready = c.eof || now & POLLOUT;
        return c;
    }
    struct condition c = {.data = inside, .eof = now & POLLHUP};
    c.ready = c.eof || inside >= (lowat > 0 ? lowat : 1);
    return c;
}

static struct condition look_queue(const struct descriptor *d) {
    struct kqueue *inner = kqueue_by_serial(d->queue);
    if (!inner)
        return (struct condition){.ready = false};
    kqueue_collect(inner);
    return (struct condition){
        .ready = inner->count > 0,
        .data = inner->count,
        .counted = true,
        .progress = inner->enqueued,
    };
}

static struct condition look_file(const struct descriptor *d) {
    struct stat st = {0};
    struct condition c = {.ready = d->writing, .counted = true};
    if (d->writing || fstat(d->fd, &st) < 0)
        return c;
    /* The offset in a directory is a cookie on Linux, no number of bytes. */
    c.data = st.st_size - (d->kind == KIND_FILE ? lseek(d->fd, 0, SEEK_CUR) : 0);
    c.ready = c.data != 0 || d->kind == KIND_DIRECTORY;
    c.progress = c.data;
    return c;
}

/* The master of a terminal, not its slave. */
static bool is_master(int fd) {
    unsigned int number;
    return ioctl(fd, TIOCGPTN, &number) == 0;
}

static struct condition look_polled(const struct descriptor *d) {
    int now = revents(d->fd);
    struct stat st;
    bool hung_up = now & POLLHUP && fstat(d->fd, &st) == 0 && S_ISCHR(st.st_mode);
    if (hung_up && kernel_has(TTY_MUTE))
        return (struct condition){.ready = false};
    if (hung_up && d->writing && kernel_has(TTY_READ_ONLY_EOF))
        return (struct condition){.ready = !is_master(d->fd)};
    struct condition c = {.eof = now & POLLHUP};
    c.data = d->writing ? 0 : unread(d->fd);
    c.ready = c.eof || now & (d->writing ? POLLOUT : POLLIN);
    return c;
}

struct condition descriptor_look(struct descriptor *d, int64_t lowat) {
    switch (d->kind) {
    case KIND_TCP:
        return look_tcp(d, lowat);
    case KIND_STREAM:
        return look_stream(d, lowat);
    case KIND_PACKET:
        return look_packet(d);
    case KIND_PIPE:
    case KIND_FIFO:
        return look_pipe(d, lowat);
    case KIND_KQUEUE:
        return look_queue(d);
    case KIND_FILE:
    case KIND_DIRECTORY:
        return look_file(d);
    case KIND_DEVICE: /* recorded: "/dev/null" */
        return (struct condition){.ready = d->writing, .counted = true};
    case KIND_POLLED:
        break;
    }
    return look_polled(d);
}

bool descriptor_is_dev_tty(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 0);
}

bool descriptor_is_of_the_network(const struct descriptor *d) {
    return d->kind == KIND_TCP || (d->kind == KIND_PACKET && option(d->fd, SO_DOMAIN) != AF_UNIX);
}

bool descriptor_is_drained(const struct descriptor *d) {
    return !d->writing && (d->kind == KIND_PIPE || d->kind == KIND_FIFO);
}

/* Linux wakes readers and writers alike whenever a socket's state changes, whichever side it was.
 * FreeBSD's EV_CLEAR fires on the side concerned only (recorded: "EV_CLEAR READ|WRITE: SHUT_WR by
 * peer", "own shutdown SHUT_RDWR"). */
bool descriptor_is_news(const struct condition *was, const struct condition *is) {
    if (!is->ready || is->unheard)
        return false;
    if (!was->ready || is->eof != was->eof || (is->error && !was->error))
        return true;
    if (is->eof)
        return false;
    if (is->counted || (is->half_closed && !was->half_closed))
        return is->progress != was->progress;
    return true;
}
