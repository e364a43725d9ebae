"""What one batch holds: R1, R10."""

import socket

from case import LEVEL, ONESHOT, Gate, case
from gates import FIFO_ENDS_OF_MACOS
from kernels import has_two_way_pipes
from sources import PIPES, STREAMS, TCP, UNIX, End, SocketEnd, accepted
from world import (
    BOTH,
    ERROR,
    GONE,
    READ_CLOSED,
    READABLE,
    WRITABLE,
    Names,
    R,
    W,
    World,
    batch_of,
)

from pollster import Events, Token

LEVEL_ONLY = (LEVEL,)
WHOLE = (LEVEL, ONESHOT)  # R5: an edge may be of one direction, and the other come again


@case("R10", "mio#538 more ready sources than capacity come in turn, and none starves")
def _(world: World) -> None:
    for capacity in (1, 3, 7, 64):
        poll = world.another_poll()
        for token in range(20):
            poll.registry.register(world.one_way()[1].fd, Token(token), W, world.trigger)
        events, count = Events(capacity), dict.fromkeys(range(20), 0)
        rounds = -(-20 // capacity)
        for _ in range(rounds):
            batch = batch_of(poll.poll(events, timeout=0))
            assert len(batch) <= capacity
            for token in batch:
                count[token] += 1
        assert min(count.values()) >= 1, f"capacity {capacity}: {count}"
        if world.trigger != LEVEL:
            assert max(count.values()) == 1, f"capacity {capacity}: {count}"
            assert not poll.poll(events, timeout=0)
    world.see("each came")


@case("R10", "the turns go on for as long as all stay ready", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for token in range(10):
        world.poll.registry.register(world.one_way()[1].fd, Token(token), W)
    events, count = Events(3), dict.fromkeys(range(10), 0)
    for _ in range(100):
        for token in batch_of(world.poll.poll(events, timeout=0)):
            count[token] += 1
    assert sum(count.values()) == 300
    assert min(count.values()) >= 25


@case("R1", "cpython#110038 both directions of a source take one place", kinds=UNIX, triggers=WHOLE)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(4)]
    for token, (ours, peer) in enumerate(pairs):
        peer.send(b"x")
        world.poll.registry.register(ours.sock, Token(token), R | W, world.trigger)
    events = Events(4)
    assert batch_of(world.poll.poll(events, timeout=0)) == dict.fromkeys(range(4), BOTH)


def expect_whole(world: World, ours: list[End], whole: Names) -> None:
    """Whatever is full when, each batch says all of its source, and each source comes."""
    for token, end in enumerate(ours):
        world.poll.registry.register(end.source, Token(token), R | W, world.trigger)
    events, seen = Events(1), {}
    for _ in range(2 * len(ours)):
        seen.update(batch_of(world.poll.poll(events, timeout=0)))
        assert {*seen.values()} == {whole}, f"{seen}, not each {sorted(whole)}"
    assert seen.keys() == {*range(len(ours))}


@case("R1", "with room for one, each batch is one whole source", kinds=UNIX, triggers=WHOLE)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(4)]
    for _, peer in pairs:
        peer.send(b"x")
    expect_whole(world, [ours for ours, _ in pairs], BOTH)


@case("R1", "with room for one, a half-close is told whole", kinds=STREAMS, triggers=WHOLE)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(4)]
    for _, peer in pairs:
        peer.shutdown(socket.SHUT_WR)
    expect_whole(world, [ours for ours, _ in pairs], READ_CLOSED | WRITABLE)


@case("R1", "with room for one, a peer that is gone is told whole", kinds=UNIX, triggers=WHOLE)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(4)]
    for _, peer in pairs:
        peer.close()
    expect_whole(world, [ours for ours, _ in pairs], GONE)


@case("R1", "with room for one, a reset is told whole", kinds=TCP, triggers=WHOLE)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(4)]
    for _, peer in pairs:
        peer.reset()
    expect_whole(world, [ours for ours, _ in pairs], GONE | ERROR)


@case(
    "R1",
    "with room for one, a pipe's read end says nothing of writing",
    kinds=PIPES,
    triggers=WHOLE,
    gates=(
        FIFO_ENDS_OF_MACOS,
        Gate(
            ("FreeBSD", "OpenBSD", "DragonFly"),
            "pipes go both ways there: both ends are truly writable",
            "pipe(2)",
            kinds=("pipe",),
        ),
    ),
)
def _(world: World) -> None:
    pairs = [world.one_way(world.kind) for _ in range(1 if world.kind == "fifo" else 4)]
    for _, writer in pairs:
        writer.close()
    expect_whole(world, [reader for reader, _ in pairs], READ_CLOSED)


@case("R1", "a one-shot pipe that was told takes no place from another", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    whole = GONE if has_two_way_pipes(world.poll.backend) else READ_CLOSED
    events = Events(2)
    for token, trigger in enumerate((LEVEL, ONESHOT), 1):
        reader, writer = world.one_way()
        writer.close()
        world.poll.registry.register(reader.fd, Token(token), R | W, trigger)
    first = batch_of(world.poll.poll(events, timeout=0))
    assert first.keys() == {1, 2}
    assert first[1] == whole  # a one-shot may be told in part by a full batch
    for _ in range(3):
        assert batch_of(world.poll.poll(events, timeout=0)) == {1: whole}


@case("R10", "a source that is ready in both directions takes one turn", kinds=UNIX, triggers=WHOLE)
def _(world: World) -> None:
    events = Events(1)
    seen: list[int] = []
    for token in range(4):
        ours, peer = world.sockets()
        peer.send(b"x")
        world.poll.registry.register(ours.sock, Token(token), R | W, world.trigger)
    for _ in range(4):
        seen.extend(batch_of(world.poll.poll(events, timeout=0)))
    assert sorted(seen) == [*range(4)]


@case("R10", "hung-up pipes take turns with the rest", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for token in range(6):
        reader, writer = world.one_way()
        world.poll.registry.register(writer.fd, Token(token), W)
        if token % 2:
            reader.close()
    events, count = Events(2), dict.fromkeys(range(6), 0)
    for _ in range(60):
        for token, names in batch_of(world.poll.poll(events, timeout=0)).items():
            assert ("write_closed" in names) == bool(token % 2)
            count[token] += 1
    assert min(count.values()) >= 5, count


@case("R10", "a batch that meets everything for the first time has room for it")
def _(world: World) -> None:
    # Sockets of both directions, and pipes that kqueue reports from a list of pollster's own.
    for token in range(128):
        ours, peer = world.sockets("socketpair")
        peer.send(b"x")
        world.poll.registry.register(ours.sock, Token(token), R | W, world.trigger)
    for token in range(128, 255):
        reader, writer = world.one_way()
        reader.close()
        world.poll.registry.register(writer.fd, Token(token), W, world.trigger)
    events = Events(256)
    seen: set[int] = set()
    for _ in range(4):
        seen.update(batch_of(world.poll.poll(events, timeout=0)))
    assert seen == {*range(255)}


@case(
    "R10",
    "the wrong end of a broken pipe takes nobody's place",
    gates=(
        Gate(
            ("FreeBSD", "OpenBSD", "DragonFly"),
            "pipes go both ways there: both ends are truly writable",
            "pipe(2)",
        ),
    ),
)
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.poll.registry.register(reader.fd, Token(1), W, world.trigger)
    writer.close()
    world.poll.registry.register(world.one_way()[1].fd, Token(2), W, world.trigger)
    assert batch_of(world.poll.poll(Events(1), timeout=0)) == {2: WRITABLE}


@case("R10", "a waker is not kept out by sources that stay ready", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for token in range(10):
        world.poll.registry.register(world.one_way()[1].fd, Token(token), W)
    waker = world.waker(99)
    events = Events(2)
    waker.wake()
    seen: list[int] = []
    for _ in range(12):
        seen.extend(batch_of(world.poll.poll(events, timeout=0)))
    assert seen.count(99) == 1


@case("R1", "polling: a hundred connections are one event each", kinds=TCP)
def _(world: World) -> None:
    listener = world.listener()
    ends = []
    for token in range(100):
        client = world.keep(SocketEnd(socket.socket(listener.sock.family)))
        client.sock.setblocking(True)
        client.sock.connect(listener.sock.getsockname())
        peer = world.keep(SocketEnd(accepted(listener.sock)))
        client.partner, peer.partner = peer, client
        ends.append((client, peer))
        world.register(client, token, R | W)
    for _, peer in ends:
        peer.send(b"x")
    world.expect(dict.fromkeys(range(100), BOTH))
    world.again()


@case("R10", "bpo-29255 a poll always has room for an event", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    # kevent() with nevents = 0 would return at once, whatever the timeout.
    with world.refused(ValueError, 0, "capacity"):
        Events(0)
    world.register(world.one_way()[1], 1, W)
    assert batch_of(world.poll.poll(Events(1))) == {1: WRITABLE}


@case("R10", "a batch is emptied by a poll that finds nothing")
def _(world: World) -> None:
    reader, writer = world.one_way()
    world.poll.registry.register(reader.fd, Token(1), R, world.trigger)
    writer.send(b"x")
    events = world.poll.poll(timeout=0)
    assert batch_of(events) == {1: READABLE}
    reader.recv()
    assert world.poll.poll(timeout=0) is events
    assert list(events) == []


@case("R10", "one batch can serve several Polls in turn", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    other = world.another_poll()
    _, writer = world.one_way()
    world.poll.registry.register(writer.fd, Token(1), W)
    other.registry.register(writer.fd, Token(2), W)
    events = Events(4)
    for poll, token in ((world.poll, 1), (other, 2), (world.poll, 1)):
        assert batch_of(poll.poll(events, timeout=0)) == {token: WRITABLE}
