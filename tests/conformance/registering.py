"""Registering, changing and ending registrations: R2, R8, R14."""

import errno
import fcntl
import gc
import os
import pty
import resource
import select
import tempfile
import termios
import threading
import tty
import weakref

from case import EVERY_TRIGGER, LEVEL, Gate, case
from children import running_child
from gates import FIFO_ENDS_OF_MACOS, FIFO_WRITERS_OF_NETBSD
from sources import PIPES, READABLE_KINDS, SOCKETS, STREAMS, TWO_WAY, UNIX, WRITABLE_KINDS, FileEnd
from world import BOTH, GONE, READABLE, WRITABLE, WRITE_CLOSED, R, W, World

from pollster import (
    AlreadyRegisteredError,
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Registration,
    Registry,
    Token,
    Trigger,
)

LEVEL_ONLY = (LEVEL,)


def tokens(poll: Poll) -> list[int]:
    """What is registered."""
    return sorted(int(registration.token) for registration in poll.registry)


# R2: once, and only what is there


@case("R2", "registering twice is an error that names the fd and its token", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 3, R)
    words = (f"fd {ours.fileno()}", "Token(3)")
    for after in EVERY_TRIGGER:
        with world.refused(AlreadyRegisteredError, errno.EEXIST, *words):
            world.poll.registry.register(ours.source, Token(4), R, after)
    assert tokens(world.poll) == [3]
    peer.send(b"x")
    world.expect({3: READABLE})
    world.again()


@case("R2", "an object and its descriptor are the same source", kinds=SOCKETS, triggers=LEVEL_ONLY)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, W)
    with world.refused(AlreadyRegisteredError, errno.EEXIST):
        world.poll.registry.register(ours.fileno(), Token(2), W)
    world.poll.registry.reregister(ours.fileno(), Token(1), W)
    world.expect({1: WRITABLE})
    world.poll.registry.deregister(ours.fileno())
    assert tokens(world.poll) == []


@case("R2", "what was never registered is not registered", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, _ = world.reader()
    word = f"fd {ours.fileno()}"
    with world.refused(NotRegisteredError, errno.ENOENT, word):
        world.poll.registry.reregister(ours.source, Token(1), R, world.trigger)
    with world.refused(NotRegisteredError, errno.ENOENT, word):
        world.poll.registry.deregister(ours.source)
    world.register(ours, 1, R)


@case("R2", "deregistering twice is an error", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, _ = world.reader()
    world.register(ours, 1, R)
    world.deregister(ours)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.deregister(ours.source)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(ours.source, Token(1), R)


@case("R2", "what was deregistered can be registered again", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    for token in range(3):
        world.register(ours, token, R)
        world.expect({token: READABLE})
        world.deregister(ours)
        world.expect({})


@case("R2", "a source can be in two Polls", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    other = world.another_poll()
    world.register(ours, 1, R)
    world.register(ours, 2, R, poll=other)
    peer.send(b"x")
    world.expect({1: READABLE})
    world.expect({2: READABLE}, poll=other)
    world.deregister(ours)
    world.rearm(other)
    world.expect({2: READABLE}, poll=other, new={} if world.trigger == LEVEL else None)


def reuse(world: World, end: FileEnd) -> FileEnd:
    """Closes an end and gives its number to a new pipe's write end."""
    number = end.fd
    _, writer = world.one_way()
    end.close()
    os.dup2(writer.fd, number)
    writer.close()
    return world.keep(FileEnd(number))


@case("R2", "polling#262 a number that was closed and used again is a new source")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    fresh = reuse(world, writer)
    world.expect({})
    world.register(fresh, 2, W)
    world.expect({2: WRITABLE})
    assert tokens(world.poll) == [2]


@case("R2", "calloop#245 a number that was used again is not the old source")
def _(world: World) -> None:
    for change in ("reregister", "deregister"):
        _, writer = world.one_way()
        world.register(writer, 1, W)
        world.expect({1: WRITABLE})
        fresh = reuse(world, writer)
        with world.refused(NotRegisteredError, errno.ENOENT):
            if change == "reregister":
                world.poll.registry.reregister(fresh.fd, Token(2), W)
            else:
                world.poll.registry.deregister(fresh.fd)
        assert tokens(world.poll) == []
        world.expect({})
        world.register(fresh, 3, W)
        world.expect({3: WRITABLE})
        world.deregister(fresh)


@case("R2", "dup2 over a registered descriptor makes it a new source")
def _(world: World) -> None:
    _, writer = world.one_way()
    _, other = world.one_way()
    world.register(writer, 1, W)
    os.dup2(other.fd, writer.fd)
    world.expect({})
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(writer.fd, Token(2), W)
    world.register(writer.fd, 2, W)
    world.expect({2: WRITABLE})


@case("R2", "the number of a hung-up pipe that is used again is a new source")
def _(world: World) -> None:
    reader, writer = world.one_way()
    reader.close()
    world.register(writer, 1, W)
    world.expect({1: WRITE_CLOSED})
    fresh = reuse(world, writer)
    world.expect({})
    world.register(fresh, 2, W)
    world.expect({2: WRITABLE})


@case("R2", "the number of a pipe that was watched for its other direction is a new source")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, R)
    fresh = reuse(world, writer)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(fresh.fd, Token(2), W)
    world.register(fresh, 3, W)
    world.expect({3: WRITABLE})


@case("R2", "a number used again by another kind of source is a new source", kinds=STREAMS)
def _(world: World) -> None:
    reader, _ = world.one_way()
    ours, peer = world.sockets()
    world.register(reader, 1, R)
    os.dup2(ours.fileno(), reader.fd)
    world.register(reader.fd, 2, R | W)
    world.expect({2: WRITABLE})
    peer.send(b"x")
    world.rearm()
    world.expect({2: BOTH})


# Changing


@case("R2", "reregister replaces the token, the interest and the trigger", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    for before in EVERY_TRIGGER:
        world.register(ours, 1, W, before)
        world.expect({1: WRITABLE})
        peer.send(b"x")
        world.reregister(ours, 2, R)
        world.expect({2: READABLE})
        world.again()
        listed = Registration(ours.source, Token(2), R, world.trigger)
        assert list(world.poll.registry) == [listed]
        ours.drain()
        world.deregister(ours)


@case("R2", "an interest can shrink and grow", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    peer.send(b"x")
    world.register(ours, 1, R | W)
    for interest, names in ((W, WRITABLE), (R, READABLE), (R | W, BOTH), (R, READABLE)):
        world.reregister(ours, 1, interest)
        world.expect({1: names})
        world.again()


def change_a_broken_pipe(world: World, becomes: frozenset[str]) -> None:
    reader, writer = world.one_way(world.kind)
    reader.close()
    world.register(writer, 1, W)
    world.expect({1: WRITE_CLOSED})
    world.reregister(writer, 2, R | W)
    world.expect({2: becomes})
    with world.refused(AlreadyRegisteredError, errno.EEXIST, "Token(2)"):
        world.poll.registry.register(writer.fd, Token(3), W)
    world.deregister(writer)
    world.expect({})
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.deregister(writer.fd)


@case(
    "R2",
    "changing a broken pipe's registration works as with any other",
    kinds=PIPES,
    gates=(
        FIFO_ENDS_OF_MACOS,
        Gate(
            ("FreeBSD", "OpenBSD", "DragonFly"),
            "pipes go both ways there: the write end can be read, and is told of its end",
            "pipe(2); seen on FreeBSD 15.1",
            lambda world: change_a_broken_pipe(world, GONE),
            kinds=("pipe",),
        ),
    ),
)
def _(world: World) -> None:
    change_a_broken_pipe(world, WRITE_CLOSED)


@case("R2", "a read end whose writer is gone is changed and deregistered", kinds=PIPES)
def _(world: World) -> None:
    registry = world.poll.registry
    reader, writer = world.one_way(world.kind)
    writer.close()
    for interest in (W, R | W):
        for before in (R, W):
            registry.register(reader.fd, Token(1), before, world.trigger)
            registry.reregister(reader.fd, Token(2), interest, world.trigger)
            registry.deregister(reader.fd)
            with registry.batch() as batch:
                batch.register(reader.fd, Token(1), before, world.trigger)
            with registry.batch() as batch:
                batch.reregister(reader.fd, Token(2), interest, world.trigger)
                batch.deregister(reader.fd)
    assert [*registry] == []


@case("R2", "uvloop#712 registering leaves a descriptor's flags alone", kinds=WRITABLE_KINDS)
def _(world: World) -> None:
    ours, _ = world.reader()
    fd = ours.fileno()
    for blocking in (True, False):
        os.set_blocking(fd, blocking)
        inheritable = os.get_inheritable(fd)
        world.register(ours, 1, R)
        world.poll.poll(timeout=0)
        world.deregister(ours)
        assert (os.get_blocking(fd), os.get_inheritable(fd)) == (blocking, inheritable)


@case(
    "R2",
    "libkqueue test/write.c registering a full source does not block",
    kinds=(*UNIX, *PIPES),
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    # OpenBSD: ADD with RECEIPT on EVFILT_WRITE may block.
    ours, peer = world.writer()
    ours.fill()
    os.set_blocking(ours.fileno(), True)
    world.register(ours, 1, W)
    world.expect({})
    world.reregister(ours, 2, W)
    os.set_blocking(ours.fileno(), False)
    peer.drain()
    world.expect({2: WRITABLE})


@case("R2", "mio: a source that nobody else holds is kept until it is deregistered")
def _(world: World) -> None:
    class Object:
        def __init__(self, fd: int) -> None:
            self.fd = fd

        def fileno(self) -> int:
            return self.fd

    _, writer = world.one_way()
    source = Object(writer.fd)
    held = weakref.ref(source)
    world.poll.registry.register(source, Token(1), W, world.trigger)
    del source
    gc.collect()
    assert held() is not None
    assert [event.token for event in world.poll.poll(timeout=0)] == [1]
    world.poll.registry.deregister(writer.fd)
    gc.collect()
    assert held() is None


# R8: nothing after deregister


@case("R8", "pending readiness goes with deregister", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 1, R)
    peer.send(b"x")
    world.deregister(ours)
    world.expect({})


@case("R8", "mio#219, trio#3500 the rest of a batch forgets what is deregistered")
def _(world: World) -> None:
    writers = {token: world.one_way()[1] for token in range(10)}
    for token, writer in writers.items():
        world.poll.registry.register(writer.fd, Token(token), W, world.trigger)
    events = world.poll.poll(timeout=0)
    seen: list[int] = []
    for event in events:
        seen.append(int(event.token))
        last = next((t for t in reversed(writers) if t not in seen), None)
        if last is not None:
            world.poll.registry.deregister(writers.pop(last).fd)
    assert len(seen) == 5
    assert sorted(seen) == sorted(writers)
    assert sorted(int(event.token) for event in events) == sorted(writers)
    assert (len(events), bool(events)) == (5, True)


@case("R8", "a number used again in mid-batch does not inherit an event")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.poll.registry.register(writer.fd, Token(1), W, world.trigger)
    events = world.poll.poll(timeout=0)
    assert [event.token for event in events] == [1]
    world.poll.registry.deregister(writer.fd)
    fresh = reuse(world, writer)
    world.register(fresh, 2, W)
    assert list(events) == []
    world.poll.poll(other := Events(4), timeout=0)
    assert [event.token for event in other] == [2]
    assert list(events) == []


@case("R8", "libkqueue: what another thread deregisters does not come from a batch any more")
def _(world: World) -> None:
    _, writer = world.one_way()
    rounds = 300
    ended: set[int] = set()
    late: list[int] = []
    done = threading.Event()

    def poll() -> None:
        events = Events(4)
        while not done.is_set():
            iterator = iter(world.poll.poll(events, timeout=0))
            before = set(ended)
            late.extend(int(event.token) for event in iterator if event.token in before)

    with world.thread(poll):
        try:
            for token in range(rounds):
                world.poll.registry.register(writer.fd, Token(token), W, world.trigger)
                world.poll.registry.deregister(writer.fd)
                ended.add(token)
        finally:
            done.set()
    assert late == []


@case("R8", "an event of the old token is gone when the token was changed")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.poll.registry.register(writer.fd, Token(1), W, world.trigger)
    events = world.poll.poll(timeout=0)
    world.poll.registry.reregister(writer.fd, Token(2), W, world.trigger)
    assert list(events) == []
    assert [event.token for event in world.poll.poll(timeout=0)] == [2]


@case("R8", "a hung-up pipe that is deregistered is silent in mid-batch, too", kinds=PIPES)
def _(world: World) -> None:
    reader, writer = world.one_way(world.kind)
    reader.close()
    world.poll.registry.register(writer.fd, Token(1), W, world.trigger)
    events = world.poll.poll(timeout=0)
    assert [event.token for event in events] == [1]
    world.poll.registry.deregister(writer.fd)
    assert list(events) == []
    world.expect({})


# R14: what can be watched


@case("R14", "cpython#73903 regular files and directories are refused")
def _(world: World) -> None:
    folder = world.keep_fd(os.open(world.folder, os.O_RDONLY))
    with tempfile.TemporaryFile() as file:
        for interest in (R, W, R | W):
            with world.refused(PermissionError, errno.EPERM, "regular file"):
                world.poll.registry.register(file, Token(1), interest, world.trigger)
        with world.refused(PermissionError, errno.EPERM, "directory"):
            world.poll.registry.register(folder, Token(1), R, world.trigger)
    assert tokens(world.poll) == []
    world.expect({})


@case("R14", "a file that is refused leaves its number free for a source", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    _, writer = world.one_way()
    with tempfile.TemporaryFile() as file:
        number = file.fileno()
        with world.refused(PermissionError, errno.EPERM):
            world.poll.registry.register(number, Token(1), W)
    os.dup2(writer.fd, number)
    world.keep_fd(number)
    world.register(number, 2, W)
    world.expect({2: WRITABLE})


def the_kernel_decides(world: World) -> None:
    null = world.keep_fd(os.open(os.devnull, os.O_RDWR))
    try:
        world.register(null, 1, W)
    except OSError as error:
        assert error.errno in (errno.EINVAL, errno.EPERM, errno.ENODEV)
        assert tokens(world.poll) == []
    else:
        world.expect({1: WRITABLE})
        world.deregister(null)


@case(
    "R14",
    "moonbit#533 /dev/null",
    gates=(
        Gate(
            ("kqueue",),
            "devices as the kernel says: EINVAL on macOS, writable on FreeBSD",
            "moonbit#533; recorded: regular file, directory, /dev/null",
            the_kernel_decides,
        ),
    ),
)
def _(world: World) -> None:
    null = world.keep_fd(os.open(os.devnull, os.O_RDWR))
    with world.refused(PermissionError, errno.EPERM):
        world.poll.registry.register(null, Token(1), W, world.trigger)
    assert tokens(world.poll) == []


def the_terminal_by_its_own_name(world: World) -> None:
    master, slave = world.terminal()
    named = world.keep(FileEnd(os.open(os.ttyname(slave.fd), os.O_RDWR | os.O_NOCTTY)))
    world.register(named, 1, R)
    master.send(b"x")
    world.expect({1: READABLE})


@case(
    "R14",
    "mio#1377 /dev/tty",
    gates=(
        Gate(
            ("Darwin",),
            "kevent() says EINVAL of /dev/tty; the terminal by its own name works",
            "mio#1377",
            the_terminal_by_its_own_name,
        ),
    ),
)
def _(world: World) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)

    def work() -> None:
        os.close(master)
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        tty = os.open("/dev/tty", os.O_RDWR | os.O_NONBLOCK)
        with Poll(backend=world.backend) as poll:
            poll.registry.register(tty, Token(1), R, world.trigger)
            os.write(tty, b"y")
            assert [str(event) for event in poll.poll(timeout=10)] == ["<Event Token(1) readable>"]

    try:
        with running_child(work):
            assert select.select([master], [], [], 10)[0], "the child does not answer"
            assert os.read(master, 1) == b"y"
            os.write(master, b"x")
    finally:
        os.close(master)
        os.close(slave)


@case("R14", "another Poll can be watched for reading only", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    inner = world.another_poll()
    for interest in (W, R | W):
        with world.refused(ValueError, 0, "READABLE"):
            world.poll.registry.register(inner, Token(1), interest)
    assert tokens(world.poll) == []
    world.register(inner, 1, R)
    with world.refused(ValueError, 0, "READABLE"):
        world.poll.registry.reregister(inner, Token(2), R | W)
    assert tokens(world.poll) == [1]


def a_queue_is_never_writable(world: World) -> None:
    reader, writer = world.one_way()
    inner = world.another_poll()
    inner.registry.register(reader.fd, Token(0), R)
    world.register(inner.fileno(), 1, R | W)
    world.expect({})
    writer.send(b"x")
    world.expect({1: READABLE})


@case(
    "R14",
    "another Poll's descriptor can be watched for reading only",
    triggers=LEVEL_ONLY,
    gates=(
        Gate(
            ("epoll",),
            "epoll does not refuse EPOLLOUT of an epoll, and a number does not tell what it is of",
            "Linux fs/eventpoll.c ep_eventpoll_poll",
            a_queue_is_never_writable,
        ),
    ),
)
def _(world: World) -> None:
    inner = world.another_poll()
    for interest in (W, R | W):
        with world.refused(OSError, errno.EINVAL, "READABLE"):
            world.poll.registry.register(inner.fileno(), Token(1), interest)
    assert tokens(world.poll) == []


def a_number_says_nothing_of_its_queue(world: World) -> None:
    inner = world.another_poll()
    world.register(inner.fileno(), 1, R)
    world.reregister(inner.fileno(), 2, R | W)
    inner.registry.register(world.one_way()[1].fd, Token(0), W)
    world.expect({2: READABLE})


@case(
    "R21",
    "what a refused reregister was for goes on being reported",
    gates=(
        Gate(
            ("epoll",),
            "epoll does not refuse EPOLLOUT of an epoll, and a number does not tell what it is of",
            "Linux fs/eventpoll.c ep_eventpoll_poll",
            a_number_says_nothing_of_its_queue,
        ),
    ),
)
def _(world: World) -> None:
    inner = world.another_poll()
    world.register(inner.fileno(), 1, R)
    for trigger in world.trigger, *EVERY_TRIGGER:
        with world.refused(OSError, errno.EINVAL, "READABLE"):
            world.poll.registry.reregister(inner.fileno(), Token(2), R | W, trigger)
    assert tokens(world.poll) == [1]
    inner.registry.register(world.one_way()[1].fd, Token(0), W)
    world.expect({1: READABLE})


@case("R14", "a Poll can't watch itself", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    copy = world.keep_fd(os.dup(world.poll.fileno()))
    for itself in (world.poll, world.poll.fileno(), copy):
        with world.refused(OSError, errno.ELOOP, "in themselves"):
            world.poll.registry.register(itself, Token(1), R)
    assert tokens(world.poll) == []


@case("R14", "libkqueue: nesting Polls too deeply is a clear error", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    # Linux nests 5 epolls (fs/eventpoll.c, EP_MAX_NESTS) and says ELOOP then; XNU 10 kqueues, and
    # says EINVAL (kern_event.c, kqueue_kqfilter).
    inner = world.poll
    for token in range(12):
        outer = world.another_poll()
        try:
            outer.registry.register(inner, Token(token), R)
        except OSError as error:
            assert error.errno == errno.ELOOP
            assert "nested too deeply" in str(error)
            assert tokens(outer) == []
            break
        inner = outer


@case("R14", "two Polls can't watch each other", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    other = world.another_poll()
    world.register(other, 1, R)
    copy = world.keep_fd(os.dup(world.poll.fileno()))
    for poll in (world.poll, world.poll.fileno(), copy):
        with world.refused(OSError, errno.ELOOP, "circle"):
            other.registry.register(poll, Token(2), R)
    assert tokens(other) == []
    world.expect({})


@case(
    "R14",
    "a circle of three Polls is refused by whoever would close it",
    triggers=LEVEL_ONLY,
    gates=(
        Gate(
            ("Darwin",),
            "a Poll that once held another can't go into it, though nothing is left of that",
            "XNU kern_event.c kqueue_kqfilter: a queue's level is only raised",
        ),
    ),
)
def _(world: World) -> None:
    first, second, third = (world.another_poll() for _ in range(3))
    first.registry.register(second, Token(1), R)
    second.registry.register(third.fileno(), Token(2), R)
    with world.refused(OSError, errno.ELOOP, "circle"):
        third.registry.register(first, Token(3), R)
    assert tokens(third) == []
    # What has ended is in nobody's way.
    second.registry.deregister(third.fileno())
    third.registry.register(second, Token(3), R)
    assert tokens(third) == [3]
    with world.refused(OSError, errno.ELOOP, "circle"):
        second.registry.register(third, Token(2), R)
    third.registry.deregister(second)
    second.registry.register(third, Token(2), R)
    assert tokens(second) == [2]


@case("R14", "a Poll may be in another one twice removed", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    inner, middle = world.another_poll(), world.another_poll()
    middle.registry.register(inner, Token(1), R)
    world.register(middle, 1, R)
    world.register(inner, 2, R)
    writer = world.one_way()[1]
    inner.registry.register(writer.fd, Token(3), W)
    world.expect({1: READABLE, 2: READABLE})


class Both:
    """Two descriptors as one source, which counts its calls."""

    def __init__(self, fds: tuple[int, int]) -> None:
        self.fds = fds
        self.calls: list[str] = []

    def register(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers both."""
        self.calls.append("register")
        for fd in self.fds:
            registry.register(fd, token, interest, trigger)

    def reregister(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Reregisters both."""
        self.calls.append("reregister")
        for fd in self.fds:
            registry.reregister(fd, token, interest, trigger)

    def deregister(self, registry: Registry) -> None:
        """Deregisters both."""
        self.calls.append("deregister")
        for fd in self.fds:
            registry.deregister(fd)


@case("R14", "a source with methods of its own is asked once, and gives its events")
def _(world: World) -> None:
    both = Both((world.one_way()[1].fd, world.one_way()[1].fd))
    world.poll.registry.register(both, Token(7), W, world.trigger)
    assert [event.token for event in world.poll.poll(timeout=0)] == [7, 7]
    world.poll.registry.reregister(both, Token(8), W, world.trigger)
    assert [event.token for event in world.poll.poll(timeout=0)] == [8, 8]
    world.poll.registry.deregister(both)
    assert both.calls == ["register", "reregister", "deregister"]
    world.expect({})


@case("R14", "descriptors above FD_SETSIZE are sources")
def _(world: World) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(soft, 5000) - 1
    reader, writer = world.one_way()
    os.dup2(reader.fd, number)
    world.keep_fd(number)
    world.register(number, 1, R)
    writer.send(b"x")
    world.expect({1: READABLE})
    world.see(number > 1024 or soft <= 1024)
