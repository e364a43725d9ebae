/* What Python sees of include/sys/event.h and include/kqueue_misbehave.h. */
struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    int64_t data;
    void *udata;
    uint64_t ext[4];
};

struct timespec {
    long tv_sec;
    long tv_nsec;
};

int kqueue(void);
int kqueue1(int flags);
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout);
void kqueue_misbehave(const char *fault, int times);
long kqueue_calls(void);
int kqueue_be_kernel(const char *name);
const char *kqueue_kernel(void);
const char *kqueue_kernel_at(int index);
const char *kqueue_difference_at(int index, const char **what, const char **source);
int kqueue_kernel_has(const char *kernel, const char *difference);
int kqueue_fcntl(int fd, int command, ...);
