/* What sock_diag(7) alone tells of a Unix socket: whether there is somebody at the other end. */
#define _GNU_SOURCE 1
#include "descriptor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The inode of the peer; 0: it was closed; -1: it can't be known. */
static int64_t peer_in(char *answer, ssize_t size) {
    struct nlmsghdr *head = (struct nlmsghdr *)answer;
    if (size < 0 || !NLMSG_OK(head, (size_t)size) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    struct unix_diag_msg *message = NLMSG_DATA(head);
    struct rtattr *attribute = (struct rtattr *)(message + 1);
    long left = (long)head->nlmsg_len - (long)NLMSG_LENGTH(sizeof(*message));
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left))
        if (attribute->rta_type == UNIX_DIAG_PEER)
            return *(uint32_t *)RTA_DATA(attribute);
    return -1;
}

bool unix_peer_is_gone(int fd) {
    struct stat st;
    struct {
        struct nlmsghdr head;
        struct unix_diag_req request;
    } question = {
        .head = {.nlmsg_len = sizeof(question),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_UNIX,
                    .udiag_states = UINT32_MAX,
                    .udiag_show = UDIAG_SHOW_PEER,
                    .udiag_cookie = {UINT32_MAX, UINT32_MAX}}, /* whichever has the inode */
    };
    _Alignas(struct nlmsghdr) char answer[1024];
    int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag < 0)
        return true;
    bool gone = true;
    if (fstat(fd, &st) == 0) {
        question.request.udiag_ino = (uint32_t)st.st_ino;
        if (send(diag, &question, sizeof(question), 0) == sizeof(question))
            gone = peer_in(answer, recv(diag, answer, sizeof(answer), 0)) <= 0;
    }
    close(diag);
    return gone;
}
