"""What is closed without being deregistered: R9."""

import errno
import os

from case import EVERY_TRIGGER, LEVEL, ONESHOT, case
from children import running_child
from gates import FIFO_WRITERS_OF_NETBSD
from sources import READABLE_KINDS, SOCKETS, STREAMS, WRITABLE_KINDS, FileEnd
from world import READABLE, WRITABLE, WRITE_CLOSED, R, W, World

from pollster import BatchError, NotRegisteredError, Token

LEVEL_ONLY = (LEVEL,)
OFTEN = 20_000  # polls after which a ghost must have been found: it has reported in each


def registered(world: World) -> list[int]:
    """The tokens."""
    return [int(registration.token) for registration in world.poll.registry]


@case("R9", "a closed source reports nothing", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    ours.close()
    for _ in range(3):
        world.expect({})


@case(
    "R9",
    "a source closed after it reported is silent",
    kinds=WRITABLE_KINDS,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, _ = world.writer()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    ours.close()
    for _ in range(3):
        world.expect({})


@case("R9", "a closed source can be deregistered by its number", kinds=READABLE_KINDS)
def _(world: World) -> None:
    # EBADF on FreeBSD, ENOENT on macOS: trio's _io_kqueue.py.
    ours, _ = world.reader()
    number = ours.fileno()
    world.register(ours, 1, R)
    ours.close()
    world.poll.registry.deregister(number)
    assert registered(world) == []
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.deregister(number)


@case("R9", "a closed source can be deregistered by its object", kinds=SOCKETS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R)
    ours.close()
    world.poll.registry.deregister(ours.sock)
    assert registered(world) == []
    with world.refused(NotRegisteredError, errno.ENOENT, "closed"):
        world.poll.registry.deregister(ours.sock)


@case("R9", "mio#267, mio#270 closing at once after each change is safe", kinds=STREAMS)
def _(world: World) -> None:
    for token in range(20):
        ours, peer = world.sockets()
        world.register(ours, token, R | W)
        if token % 2:
            world.reregister(ours, token, W, ONESHOT)
        ours.close()
        peer.close()
        if token % 3 == 0:
            world.expect({})
    world.expect({})


@case("R9", "trio#1272, uvloop#61 the number's next owner gets no event under the old token")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    number = writer.fd
    reader, fresh = world.one_way()
    writer.close()
    os.dup2(reader.fd, number)
    owner = world.keep(FileEnd(number))
    fresh.send(b"x")
    world.expect({})
    world.register(owner, 2, R)
    world.expect({2: READABLE})


def ghost(world: World, token: int) -> tuple[int, int]:
    """A ready source whose number is closed while a copy lives: its number, and the copy."""
    _, writer = world.one_way()
    number = writer.fd
    world.poll.registry.register(number, Token(token), W, world.trigger)
    copy = world.keep_fd(os.dup(number))
    writer.close()
    return number, copy


@case("R9", "libuv#1468 a source closed while a copy lives can be deregistered, and is silent")
def _(world: World) -> None:
    number, _ = ghost(world, 1)
    world.poll.registry.deregister(number)
    for _ in range(10):
        world.expect({})
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.deregister(number)


@case("R9", "a source closed while a copy lives does not report for ever", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    number, _ = ghost(world, 1)
    for _ in range(OFTEN):
        if not world.poll.poll(timeout=0):
            break
    world.deregister(number)
    world.expect({})
    assert registered(world) == []


@case("R9", "a silent ghost does not keep one that reports from being left", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    reader, _ = world.one_way()
    world.register(reader, 2, R)
    world.keep_fd(os.dup(reader.fd))
    number, _ = ghost(world, 1)
    reader.close()
    for _ in range(OFTEN):
        if not world.poll.poll(timeout=0).raw():
            break
    assert world.poll.poll(timeout=0).raw() == ()  # what is only dropped would be spun on
    world.deregister(number)


@case("R9", "a ghost does not report for the number's next owner", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    reader, writer = world.one_way()
    number, _ = ghost(world, 1)
    os.dup2(reader.fd, number)
    world.keep_fd(number)
    world.register(number, 2, R)
    for _ in range(OFTEN):
        assert not world.poll.poll(timeout=0)
    writer.send(b"x")
    world.expect({2: READABLE})


@case("R9", "trio: a copy can be registered beside the ghost of what it was copied from")
def _(world: World) -> None:
    number, copy = ghost(world, 1)
    world.poll.registry.deregister(number)
    world.register(copy, 2, W)
    world.expect({2: WRITABLE})
    world.again()


@case("R9", "a ghost that is left behind takes nothing with it")
def _(world: World) -> None:
    pairs = {token: world.sockets("socketpair") for token in range(10, 18)}
    for (token, (ours, _)), trigger in zip(pairs.items(), EVERY_TRIGGER * 2, strict=True):
        world.register(ours, token, R, trigger)
    for token in list(pairs)[:4]:
        pairs[token][1].send(b"x")
    world.expect(dict.fromkeys(range(10, 14), READABLE))
    waker = world.waker(99)
    number, _ = ghost(world, 1)
    world.poll.registry.deregister(number)
    for token in list(pairs)[:4]:
        pairs[token][0].drain()
    world.expect({})
    for _ in range(3000):
        assert not world.poll.poll(timeout=0)
    for _, peer in pairs.values():
        peer.send(b"y")
    waker.wake()
    world.expect({**dict.fromkeys(pairs, READABLE), 99: READABLE})
    world.rearm()
    world.expect(dict.fromkeys(pairs, READABLE))


@case("R9", "a copy in a child process is a ghost like any other", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    go, done = os.pipe()
    number = ours.fileno()
    world.register(ours, 1, R)

    def work() -> None:
        os.close(done)
        os.read(go, 1)

    with running_child(work):
        os.close(go)
        ours.sock.close()
        try:
            peer.send(b"x")
            world.poll.registry.deregister(number)
            for _ in range(10):
                assert not world.poll.poll(timeout=0)
            assert registered(world) == []
        finally:
            os.close(done)


@case(
    "R9", "a queue of ghosts does not keep a waiting poll from what is ready", triggers=LEVEL_ONLY
)
def _(world: World) -> None:
    for token in range(20):
        number, _ = ghost(world, token)
        world.poll.registry.deregister(number)
    _, writer = world.one_way()
    world.register(writer, 50, W)
    world.expect({50: WRITABLE})


# The number of a closed pipe is the write end of another one, whose reader is gone. FreeBSD drops a
# pipe's knote as its reader goes and refuses another: the two must not be taken for each other.


def another_broken_pipe(world: World, number: int) -> None:
    """Gives a number to the write end of a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    os.dup2(writer, number)
    os.close(writer)


@case("R2", "a broken pipe under a closed pipe's number is not reregistered")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    world.expect({1: WRITABLE})
    another_broken_pipe(world, writer.fd)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(writer.fd, Token(2), W, world.trigger)
    assert registered(world) == []


@case("R2", "a broken pipe under a broken pipe's number is not reregistered")
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(writer, 1, W)
    world.expect({1: WRITABLE})
    reader.close()
    world.rearm()
    world.expect({1: WRITE_CLOSED})
    another_broken_pipe(world, writer.fd)
    with world.refused(NotRegisteredError, errno.ENOENT):
        world.poll.registry.reregister(writer.fd, Token(2), W, world.trigger)
    assert registered(world) == []
    world.register(writer.fd, 3, W)
    world.expect({3: WRITE_CLOSED})


@case("R2", "batch: a broken pipe under a closed pipe's number is not reregistered")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    another_broken_pipe(world, writer.fd)
    with world.refused(BatchError), world.poll.registry.batch() as changes:
        changes.reregister(writer.fd, Token(2), W, world.trigger)
        changes.register(world.one_way()[1].fd, Token(3), W, world.trigger)
    assert registered(world) == [3]
