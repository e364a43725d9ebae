/* The load of the echo benchmark: many connections, each with one message of 64 bytes under way.
 *
 * echo_load PORT CONNECTIONS SERVER_PID
 *
 * For each number that it reads from standard input it has so many messages echoed, beside those of
 * a warm-up, and then lets everything come to rest. It prints how many they were, and what they
 * took, in nanoseconds: on the wall, of CPU time here, of CPU time in the server.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, BATCH = 1024, STALLED_MS = 5000, WARMUP = 2 };

typedef struct connection {
    int fd;
    int received;
    char sent[MESSAGE];
} connection;

typedef struct moment {
    int64_t wall, load, server;
} moment;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "echo_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        fail("clock");
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static moment now(clockid_t server) {
    return (moment){read_clock(CLOCK_MONOTONIC), read_clock(CLOCK_PROCESS_CPUTIME_ID),
                    read_clock(server)};
}

static void send_message(connection *self) {
    self->received = 0;
    if (send(self->fd, self->sent, MESSAGE, 0) != MESSAGE)
        fail("send");
}

static void open_connection(connection *self, int queue, in_port_t port, int number) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (self->fd < 0 || connect(self->fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    if (setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        fail("TCP_NODELAY");
    if (epoll_ctl(queue, EPOLL_CTL_ADD, self->fd, &event) < 0)
        fail("epoll_ctl");
    snprintf(self->sent, MESSAGE, "message of connection %d", number);
}

/* Takes what has arrived; returns whether the whole message is back. */
static int take(connection *self) {
    char back[MESSAGE];
    ssize_t count = recv(self->fd, back, (size_t)(MESSAGE - self->received), MSG_DONTWAIT);
    if (count <= 0)
        fail("recv");
    if (memcmp(back, self->sent + self->received, (size_t)count) != 0) {
        errno = EBADMSG;
        fail("what came back");
    }
    self->received += (int)count;
    return self->received == MESSAGE;
}

/* Receives what has come; sends a new message for each that is back, while `more` says so. */
static int64_t turn(int queue, int more) {
    struct epoll_event events[BATCH];
    int64_t answered = 0;
    int ready = epoll_wait(queue, events, BATCH, STALLED_MS);
    if (ready <= 0) {
        errno = ready == 0 ? ETIMEDOUT : errno;
        fail("epoll_wait");
    }
    for (int i = 0; i < ready; i++) {
        connection *self = events[i].data.ptr;
        if (take(self)) {
            answered++;
            if (more)
                send_message(self);
        }
    }
    return answered;
}

int main(int argc, char **argv) {
    int queue = epoll_create1(0);
    if (argc != 4 || queue < 0)
        return 2;
    in_port_t port = (in_port_t)atoi(argv[1]);
    int count = atoi(argv[2]);
    clockid_t server;
    if ((errno = clock_getcpuclockid(atoi(argv[3]), &server)) != 0)
        fail("the server's clock");
    connection *connections = calloc((size_t)count, sizeof *connections);
    if (!connections)
        fail("connections");
    for (int i = 0; i < count; i++)
        open_connection(&connections[i], queue, port, i);

    long requests;
    while (scanf("%ld", &requests) == 1) {
        int64_t answered = 0, under_way = count;
        for (int i = 0; i < count; i++)
            send_message(&connections[i]);
        while (answered < WARMUP * count)
            answered += turn(queue, 1);
        moment begin = now(server);
        answered = 0;
        while (answered < requests)
            answered += turn(queue, 1);
        moment end = now(server);
        while (under_way > 0)
            under_way -= turn(queue, 0);
        printf("%lld %lld %lld %lld\n", (long long)answered, (long long)(end.wall - begin.wall),
               (long long)(end.load - begin.load), (long long)(end.server - begin.server));
        fflush(stdout);
    }
    return 0;
}
