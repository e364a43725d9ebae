/* Which kernel's dialect the kqueue speaks: "freebsd" (15.1, the default), "freebsd14", "macos",
 * "openbsd", "netbsd", "dragonfly". The environment variable KQUEUE_KERNEL names the one that it
 * begins with. Process-wide; to change it while queues are open is to change a running kernel. */
#ifndef KQUEUE_KERNEL_H
#define KQUEUE_KERNEL_H

int kqueue_be_kernel(const char *name); /* 0, or -1: there is none of that name */
const char *kqueue_kernel(void);

/* Linux makes no difference between a Unix socket whose own sending side was shut and one whose
 * peer receives no more. Some kernels do: who calls shutdown(2) with SHUT_WR or SHUT_RDWR marks the
 * socket with this, as its SO_PRIORITY, which means nothing else to a Unix socket. */
#define OWN_SHUTDOWN 6

/* What there is: names by their number, NULL after the last; 1, 0, or -1 for an unknown name. */
const char *kqueue_kernel_at(int index);
const char *kqueue_difference_at(int index, const char **what, const char **source);
int kqueue_kernel_has(const char *kernel, const char *difference);

#endif
