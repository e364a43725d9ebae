"""Threads that share a Poll, and its end: R11, R12."""

import fcntl
import threading

from case import EDGE_ONESHOT, LEVEL, ONESHOT, case
from sources import READABLE_KINDS, STREAMS, WAIT
from world import BOTH, READABLE, WRITABLE, R, W, World, batch_of

from pollster import Events, Poll, Token, Waker

LEVEL_ONLY = (LEVEL,)


@case("R11", "mio: registering from a thread wakes a poll that waits", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    with world.thread(
        lambda: world.poll.registry.register(ours.source, Token(1), R, world.trigger)
    ):
        assert batch_of(world.poll.poll(timeout=WAIT)) == {1: READABLE}


@case("R11", "polling: changing an interest from a thread wakes a poll that waits", kinds=STREAMS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    world.register(ours, 1, R)
    world.expect({})
    with world.thread(
        lambda: world.poll.registry.reregister(ours.sock, Token(2), R | W, world.trigger)
    ):
        assert batch_of(world.poll.poll(timeout=WAIT)) == {2: WRITABLE}


@case("R11", "registering a broken pipe from a thread wakes a poll that waits")
def _(world: World) -> None:
    reader, writer = world.one_way()
    reader.close()
    with world.thread(lambda: world.poll.registry.register(writer.fd, Token(1), W, world.trigger)):
        batch = batch_of(world.poll.poll(timeout=WAIT))
    assert batch == {1: {"writable", "write_closed"}}


@case("R11", "what a thread deregisters is silent at once", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, R)
    with world.thread(lambda: world.poll.registry.deregister(ours.sock)) as thread:
        thread.join(WAIT)
        peer.send(b"x")
        assert not world.poll.poll(timeout=0)


@case(
    "R11",
    "mio#163, polling#69 of several pollers one gets a one-shot event",
    triggers=(ONESHOT, EDGE_ONESHOT),
)
def _(world: World) -> None:
    count = 100
    got: list[int] = []
    for token in range(count):
        ours, peer = world.sockets("socketpair")
        peer.send(b"x")
        world.poll.registry.register(ours.sock, Token(token), R | W, world.trigger)
    ends = [Waker(world.poll.registry, Token(count + number)) for number in range(3)]

    def work() -> None:
        events = Events(1)  # so that nobody takes two of the ends
        while True:
            for event in world.poll.poll(events):
                if event.token >= count:
                    return
                got.append(int(event.token))
                if len(got) >= count:
                    for end in ends:
                        end.wake()

    with world.thread(work), world.thread(work), world.thread(work):
        pass
    assert sorted(got) == list(range(count))
    for end in ends:
        end.close()
    assert not world.poll.poll(timeout=0)


@case("R11", "two polls at once need Events of their own", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    events, waker = Events(4), Waker(world.poll.registry, Token(1))
    caught: list[RuntimeError] = []
    with world.thread(lambda: world.poll.poll(events)) as thread:
        while thread.is_alive() and not caught:  # until the thread is in the kernel
            try:
                world.poll.poll(events, 0)
            except RuntimeError as error:
                caught.append(error)
        waker.wake()
    assert "give each thread Events of its own" in str(caught)


@case("R12", "closing ends every wait with an error, and nobody hangs", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    # Closing the queue wakes its waiters on macOS, not on FreeBSD: libkqueue's test gates.
    poll, errors, entered = Poll(backend=world.backend), [], threading.Barrier(4)

    def work(timeout: float | None) -> None:
        entered.wait(WAIT)
        try:
            poll.poll(Events(4), timeout)
        except ValueError as error:
            errors.append(str(error).partition(" (")[0])

    with (
        world.thread(lambda: work(None)),
        world.thread(lambda: work(1000.0)),
        world.thread(lambda: work(1e300)),
    ):
        entered.wait(WAIT)
        poll.close()
    assert errors == ["this Poll is closed"] * 3
    world.see("three errors")


@case("R12", "a closed Poll's number is not used under it", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    poll = Poll(backend=world.backend)
    number = poll.fileno()
    poll.close()
    reader, writer = world.one_way()
    taken = world.keep_fd(fcntl.fcntl(reader.fd, fcntl.F_DUPFD, number))
    poll.close()
    del poll
    writer.send(b"x")
    world.register(taken, 1, R)
    world.expect({1: READABLE})


@case("R12", "any use of a closed Poll is a ValueError")
def _(world: World) -> None:
    poll, (ours, _) = Poll(backend=world.backend), world.sockets("socketpair")
    waker = Waker(poll.registry, Token(1))
    events = poll.poll(timeout=0)
    poll.registry.register(ours.sock, Token(2), R, world.trigger)
    poll.close()
    poll.close()
    assert poll.closed
    registry = poll.registry
    for use in (
        poll.fileno,
        poll.__enter__,
        lambda: poll.poll(),
        lambda: poll.poll(timeout=0),
        lambda: poll.poll(events, 1),
        lambda: poll.poll(Events(1)),
        lambda: registry.register(ours.sock, Token(1), R, world.trigger),
        lambda: registry.reregister(ours.sock, Token(1), R, world.trigger),
        lambda: registry.deregister(ours.sock),
        lambda: iter(registry),
        lambda: Waker(registry, Token(3)),
        waker.wake,
    ):
        with world.refused(ValueError, 0, "closed"):
            use()
    waker.close()


@case("R12", "a Poll that is closed leaves its sources to others", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    with Poll(backend=world.backend) as poll:
        poll.registry.register(ours.sock, Token(1), R | W, world.trigger)
        assert batch_of(poll.poll(timeout=0)) == {1: WRITABLE}
    peer.send(b"x")
    world.register(ours, 2, R | W)
    world.expect({2: BOTH})


@case("R12", "closing a nested Poll silences it in the outer one")
def _(world: World) -> None:
    _, writer = world.one_way()
    inner = Poll(backend=world.backend)
    inner.registry.register(writer.fd, Token(1), W)
    world.register(inner, 2, R)
    world.expect({2: READABLE})
    inner.close()
    for _ in range(3):
        world.expect({})
    world.poll.registry.deregister(inner)
    assert list(world.poll.registry) == []
