/* Messages with descriptors, on the sockets to the parent and to the helper. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

union control {
    char space[CMSG_SPACE(MESSAGE_FDS * sizeof(int))];
    struct cmsghdr align;
};

int message_send(int socket, const void *data, size_t size, const int *fds, unsigned nfds)
{
    static union control control;
    struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    if (nfds > 0) {
        message.msg_control = &control;
        message.msg_controllen = (unsigned)CMSG_SPACE(nfds * sizeof *fds);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = (unsigned)CMSG_LEN(nfds * sizeof *fds);
        memcpy(CMSG_DATA(rights), fds, nfds * sizeof *fds);
    }
    unsigned tries = 0;
    int sent;
    do
        sent = sys(sendmsg(socket, &message, MSG_NOSIGNAL));
    while (interrupted(sent, &tries));
    return sent < 0 ? sent : 0;
}

int message_receive(int socket, void *data, size_t size, int *fds, unsigned *nfds)
{
    static union control control;
    struct iovec part = { .iov_base = data, .iov_len = size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    unsigned tries = 0;
    int got;
    do
        got = sys(recvmsg(socket, &message, MSG_CMSG_CLOEXEC));
    while (interrupted(got, &tries));
    *nfds = 0;
    if (got <= 0)
        return got;
    if ((size_t)got != size || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
        return -EPROTO;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    if (rights == NULL || rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS)
        return 1;
    size_t bytes = rights->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(rights), bytes);
    *nfds = (unsigned)(bytes / sizeof *fds);
    return 1;
}
