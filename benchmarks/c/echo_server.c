/* The echo server in C: level-triggered epoll, one thread. Prints its port. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 1023, ROOM = 65536, LONGEST = 120 };

static void watch(int queue, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event);
}

/* Sends back what has arrived; one that has nothing more to say is closed, and so deregistered. */
static void answer(int fd, char *room) {
    ssize_t count = recv(fd, room, ROOM, 0);
    if (count <= 0 || send(fd, room, (size_t)count, MSG_NOSIGNAL) != count)
        close(fd);
}

int main(void) {
    static struct epoll_event events[BATCH];
    static char room[ROOM];
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int on = 1, queue = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    alarm(LONGEST);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0 ||
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        return 1;
    watch(queue, listener);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(queue, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (!(events[i].events & EPOLLIN))
                continue;
            if (fd != listener)
                answer(fd, room);
            else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
                watch(queue, fd);
        }
    }
}
