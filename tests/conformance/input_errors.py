"""Bad input and limits: R21."""

import contextlib
import errno
import io
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any

from case import LEVEL, case
from sources import STREAMS
from world import READABLE, WRITABLE, R, W, World, batch_of

from pollster import Events, Interest, Poll, Token, Waker

LEVEL_ONLY = (LEVEL,)
BELOW, ABOVE = -1, 2**64


def every_bad_call(registry: Any, fd: int) -> list[tuple[Callable[[], object], type[Exception]]]:
    """Calls that a type checker would refuse, with what they raise."""
    return [
        (lambda: registry.register("fd", 1, R), TypeError),
        (lambda: registry.register(None, 1, R), TypeError),
        (lambda: registry.register(True, 1, R), TypeError),
        (lambda: registry.register(3.0, 1, R), TypeError),
        (lambda: registry.register(registry, 1, R), TypeError),
        (lambda: registry.register(io.StringIO(), 1, R), TypeError),
        (lambda: registry.register(fd, "1", R), TypeError),
        (lambda: registry.register(fd, 1.0, R), TypeError),
        (lambda: registry.register(fd, None, R), TypeError),
        (lambda: registry.register(fd, 1, 1), TypeError),
        (lambda: registry.register(fd, 1, None), TypeError),
        (lambda: registry.register(fd, 1, R, 1), TypeError),
        (lambda: registry.deregister("fd"), TypeError),
        (lambda: registry.register(-1, 1, R), ValueError),
        (lambda: registry.register(2**40, 1, R), ValueError),
        (lambda: registry.register(fd, 1, Interest(0)), ValueError),
        (lambda: registry.register(fd, BELOW, R), ValueError),
        (lambda: registry.register(fd, ABOVE, R), ValueError),
        (lambda: registry.deregister(-1), ValueError),
        (lambda: Waker(registry, BELOW), ValueError),
        (lambda: Waker(registry, ABOVE), ValueError),
        (lambda: Events(0), ValueError),
        (lambda: Events(-1), ValueError),
        (lambda: Events(2**40), ValueError),
        (lambda: Events("1"), TypeError),  # type: ignore[arg-type]
        (lambda: Token(BELOW), ValueError),
        (lambda: Token(ABOVE), ValueError),
        (lambda: Poll(backend="iocp"), ValueError),
    ]


@case("R21", "bad input is a TypeError or a ValueError, and changes nothing", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(writer, 9, W)
    for call, error in every_bad_call(world.poll.registry, reader.fd):
        with world.refused(error):
            call()
    assert [int(r.token) for r in world.poll.registry] == [9]
    world.expect({9: WRITABLE})
    world.register(reader, 1, R)


@case("R21", "a bad reregister leaves the registration as it was")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.register(writer, 1, W)
    registry: Any = world.poll.registry
    for token, interest, error in (
        (BELOW, W, ValueError),
        (ABOVE, W, ValueError),
        ("1", W, TypeError),
        (2, Interest(0), ValueError),
        (2, 2, TypeError),
    ):
        with world.refused(error):
            registry.reregister(writer.fd, token, interest)
    world.expect({1: WRITABLE})
    world.again()


@case("R21", "a closed descriptor is named", kinds=STREAMS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    number = ours.fileno()
    ours.close()
    with world.refused(OSError, errno.EBADF, f"fd {number}", "not open"):
        world.poll.registry.register(number, Token(1), R, world.trigger)
    with world.refused(ValueError, 0, "closed"):
        world.poll.registry.register(ours.sock, Token(1), R, world.trigger)
    assert list(world.poll.registry) == []
    world.expect({})


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Lets the process have no more descriptors than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@case("R21", "at the descriptor limit a new Poll is an OSError, and the old ones go on")
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.register(reader, 1, R)
    with no_descriptor_left():
        with world.refused(OSError, errno.EMFILE):
            Poll(backend=world.backend)
        writer.send(b"x")
        world.expect({1: READABLE})
        world.deregister(reader)
        world.register(reader, 2, R)
        world.expect({2: READABLE})


@case("R21", "at the descriptor limit a Waker works or is an OSError that leaves nothing behind")
def _(world: World) -> None:
    # A user event costs no descriptor, an eventfd or a pipe does.
    with no_descriptor_left():
        try:
            waker = Waker(world.poll.registry, Token(1))
        except OSError as error:
            assert error.errno == errno.EMFILE
            assert list(world.poll.registry) == []
        else:
            waker.wake()
            assert batch_of(world.poll.poll(timeout=0)) == {1: READABLE}
            waker.close()
    world.waker(2).wake()
    world.expect({2: READABLE})


@case("R21", "the errors of a source's own methods pass through", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    class Failing:
        def register(self, *_: object) -> None:
            raise ZeroDivisionError

        reregister = deregister = register

    registry: Any = world.poll.registry
    failing = Failing()
    calls: list[Callable[[], object]] = [
        lambda: registry.register(failing, 1, R),
        lambda: registry.reregister(failing, 1, R),
        lambda: registry.deregister(failing),
    ]
    for call in calls:
        with world.refused(ZeroDivisionError):
            call()
    assert list(registry) == []


@case("R21", "the largest tokens and every interest come back as they were given")
def _(world: World) -> None:
    for token in (0, 2**31, 2**32, 2**63, 2**64 - 1):
        ours, peer = world.sockets("socketpair")
        peer.send(b"x")
        world.register(ours, token, R | W)
        world.expect({token: READABLE | WRITABLE})
        registered = [(int(r.token), r.interest, r.trigger) for r in world.poll.registry]
        assert registered == [(token, R | W, world.trigger)]
        world.deregister(ours)
