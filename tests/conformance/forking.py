"""Forked and executed processes: R13."""

import os
import subprocess
import sys

from case import LEVEL, case
from children import in_child
from sources import STREAMS
from world import READABLE, WRITABLE, R, W, World, batch_of, descriptors

from pollster import Events, Poll, Token, Waker

LEVEL_ONLY = (LEVEL,)
PRINT_WHAT_IS_OPEN = """
import os, sys
for number in sys.argv[1:]:
    try:
        os.fstat(int(number))
        print(number)
    except OSError:
        pass
"""


@case("R13", "cpython#110395 every use of the parent's Poll in a child is a clear error")
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(writer, 1, W)
    waker = world.waker(2)
    registry = world.poll.registry

    def work() -> None:
        for use in (
            lambda: world.poll.poll(timeout=0),
            lambda: world.poll.poll(Events(4)),
            world.poll.fileno,
            lambda: registry.register(reader.fd, Token(3), R, world.trigger),
            lambda: registry.reregister(writer.fd, Token(3), W, world.trigger),
            lambda: registry.deregister(writer.fd),
            lambda: list(registry),
            lambda: Waker(registry, Token(4)),
            waker.wake,
        ):
            with world.refused(RuntimeError, 0, "process that forked"):
                use()

    in_child(work)
    waker.wake()
    world.expect({1: WRITABLE, 2: READABLE})


@case("R13", "libuv#1583 the end of a child's copy does not disturb the parent", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    waker = world.waker(2)

    def work() -> None:
        waker.close()
        world.poll.close()
        world.poll.close()
        assert world.poll.closed

    in_child(work)
    peer.send(b"x")
    waker.wake()
    world.expect({1: READABLE, 2: READABLE})
    ours.recv()
    world.rearm()
    world.expect({})


@case("R13", "a child may have a Poll of its own for the same sources", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R | W)

    def work() -> None:
        world.poll.close()
        with Poll(backend=world.backend) as own:
            own.registry.register(ours.sock, Token(5), R | W, world.trigger)
            Waker(own.registry, Token(6)).wake()
            assert batch_of(own.poll(timeout=0)) == {5: WRITABLE, 6: READABLE}
            own.registry.deregister(ours.sock)

    in_child(work)
    world.expect({1: WRITABLE})
    peer.send(b"x")
    world.rearm()
    world.expect({1: READABLE | WRITABLE})


@case(
    "R13", "a child that forgets the parent's Poll closes nothing of its own", triggers=LEVEL_ONLY
)
def _(world: World) -> None:
    number = world.poll.fileno()

    def work() -> None:
        # kqueue(2): not inherited, so the number may be somebody else's in the child.
        inherited = os.path.exists(f"/dev/fd/{number}")
        reader, writer = os.pipe()
        if not inherited:
            os.dup2(reader, number)
            reader = number
        world.poll.close()
        os.write(writer, b"x")
        assert os.read(reader, 1) == b"x"

    in_child(work)
    world.expect({})


@case("R13", "mio: no descriptor reaches a program that is executed", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    _, writer = world.one_way()
    before = {str(fd) for fd in descriptors()}
    poll, outer = world.another_poll(), world.another_poll()
    world.register(poll, 1, R, poll=outer)
    world.waker(2, poll).wake()
    world.expect({1: READABLE}, poll=outer)
    numbers = {str(poll.fileno()), str(outer.fileno())}
    opened = {str(fd) for fd in descriptors()} - before
    assert numbers <= opened
    os.set_inheritable(writer.fd, True)
    command = [sys.executable, "-c", PRINT_WHAT_IS_OPEN, str(writer.fd), *sorted(opened)]
    done = subprocess.run(command, close_fds=False, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.split() == [str(writer.fd)]
