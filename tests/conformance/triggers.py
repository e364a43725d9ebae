"""When a registration reports: R4, R5."""

from case import EDGE, EDGE_ONESHOT, EVERY_TRIGGER, LEVEL, ONESHOT, case
from gates import FIFO_WRITERS_OF_NETBSD
from sources import BOUNDED, PIPES, READABLE_KINDS, STREAMS, TWO_WAY, UNIX, WRITABLE_KINDS
from world import BOTH, READABLE, WRITABLE, R, W, World

from pollster import Token, Trigger

SHOTS = (ONESHOT, EDGE_ONESHOT)
EDGED = (EDGE, EDGE_ONESHOT)


@case("R5", "data from before registration counts as new", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.expect({1: READABLE})
    world.again()


@case("R5", "more data is news while older is unread", kinds=(*STREAMS, *PIPES, "eventfd"))
def _(world: World) -> None:
    ours, peer = world.reader()
    world.register(ours, 1, R)
    for _ in range(3):
        peer.send(b"x")
        world.expect({1: READABLE}, new={1: READABLE})
        world.again()
        world.rearm()


@case("R5", "an edge of reading comes while the other direction stays ready", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    for _ in range(3):
        peer.send(b"x")
        world.rearm()
        world.expect({1: BOTH}, new={1: READABLE})
        ours.recv()


@case(
    "R5",
    "room is news after a full buffer",
    kinds=BOUNDED,
    triggers=EDGED,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, peer = world.writer()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    for _ in range(3):
        ours.fill()
        peer.drain()
        world.rearm()
        world.expect({1: WRITABLE}, new={1: WRITABLE})


@case("R5", "a megabyte arrives through edges", kinds=STREAMS, triggers=(EDGE,))
def _(world: World) -> None:
    ours, peer = world.sockets()
    data, sent, got = bytes(1 << 20), 0, 0
    world.poll.registry.register(ours.sock, 1, R, EDGE)
    world.poll.registry.register(peer.sock, 2, W, EDGE)
    while got < len(data):
        batch = world.poll.poll(timeout=10)
        assert batch, f"stuck at {sent} sent, {got} received"
        for event in batch:
            try:
                while event.token == 1:
                    got += len(ours.recv())
                while event.token == 2 and sent < len(data):
                    sent += peer.sock.send(data[sent:])
            except BlockingIOError:
                continue
    world.see(got)


@case("R5", "reregister reports again what is ready", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.expect({1: READABLE})
    for token in (1, 2, 2):
        world.reregister(ours, token, R)
        world.expect({token: READABLE})


@case("R2", "reregister without a trigger keeps the source's", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    world.register(ours, 1, R)
    world.expect({1: READABLE})
    for token in (2, 2, 3):
        world.reregister_kept(ours, token)
        world.expect({token: READABLE})
        world.again()
        with world.poll.registry.batch() as changes:
            world.reregister_kept(ours, token + 10, registry=changes)
        world.expect({token + 10: READABLE})
        world.again()
        assert [r.trigger for r in world.poll.registry] == [world.trigger]


@case("R2", "a batch keeps the trigger that an earlier change of it gave", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    for other in EVERY_TRIGGER:
        with world.poll.registry.batch() as changes:
            changes.register(ours.source, Token(1), R, other)
            changes.reregister(ours.source, Token(2), R, world.trigger)
            world.reregister_kept(ours, 3, registry=changes)
        world.expect({3: READABLE})
        world.again()
        world.deregister(ours)


@case("R4", "one event disables the whole source", kinds=TWO_WAY, triggers=SHOTS)
def _(world: World) -> None:
    ours, peer = world.two_way()
    world.register(ours, 1, R | W)
    world.expect({1: WRITABLE})
    peer.send(b"x")
    for _ in range(3):
        world.expect({1: BOTH})  # holds, and yet nothing may come
    assert [r.token for r in world.poll.registry] == [1]
    world.reregister(ours, 1, R | W)
    world.expect({1: BOTH})
    world.again()


@case("R4", "the registry shows whether a source is armed, and paused", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    registry = world.poll.registry

    def shown() -> tuple[bool, bool, Trigger]:
        found = registry.find(ours.source)
        assert found is not None
        return found.armed, found.paused, found.trigger

    def after_an_event() -> tuple[bool, bool, Trigger]:
        return world.trigger not in SHOTS, False, world.trigger

    ready, paused = (True, False, world.trigger), (False, True, world.trigger)
    world.register(ours, 1, R)
    assert shown() == ready
    peer.send(b"x")
    world.expect({1: READABLE})
    assert shown() == after_an_event()
    world.reregister(ours, 2, R)
    assert shown() == ready
    world.expect({2: READABLE})
    assert shown() == after_an_event()
    with registry.batch() as changes:
        world.pause(ours, changes.pause)
    assert shown() == paused
    with registry.batch() as changes:
        world.resume(ours, changes.resume)
    assert shown() == ready
    world.expect({2: READABLE})
    world.pause(ours)
    assert shown() == paused
    world.reregister(ours, 2, R)
    assert shown() == ready
    world.expect({2: READABLE})
    assert shown() == after_an_event()


@case("R4", "a disabled source stays so when it is closed", kinds=STREAMS, triggers=SHOTS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    peer.close()
    world.again()
    world.reregister(ours, 1, R)
    world.expect({1: {"readable", "read_closed"}})


@case(
    "R4",
    "a disabled source can be deregistered and registered anew",
    kinds=WRITABLE_KINDS,
    gates=(FIFO_WRITERS_OF_NETBSD,),
)
def _(world: World) -> None:
    ours, _ = world.writer()
    for token in range(3):
        world.register(ours, token, W)
        world.expect({token: WRITABLE})
        world.deregister(ours)
        world.expect({})


@case("R4", "a disabled source wakes no outer Poll", kinds=UNIX, triggers=SHOTS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    outer = world.another_poll()
    world.register(ours, 1, R | W)
    world.register(world.poll, 9, R, LEVEL, outer)
    world.expect({9: READABLE}, poll=outer)
    world.expect({1: WRITABLE})
    peer.send(b"x")
    world.expect({}, poll=outer)
    world.reregister(ours, 1, R | W)
    world.expect({9: READABLE}, poll=outer)
    world.expect({1: BOTH})


@case("R4", "a disabled source that is ready anew wakes nobody", kinds=STREAMS, triggers=SHOTS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    outer = world.another_poll()
    world.register(ours, 1, R)
    world.register(world.poll, 9, R, LEVEL, outer)
    for _ in range(2):
        peer.send(b"x")
        world.rearm()
        world.expect({1: READABLE})
        peer.send(b"y")
        world.expect({}, poll=outer)
        assert world.poll.poll(timeout=0).raw() == ()
        ours.drain()


@case("R4", "one-shot of one Poll does not disable the same source in another", kinds=TWO_WAY)
def _(world: World) -> None:
    ours, peer = world.two_way()
    polls = {trigger: world.another_poll() for trigger in EVERY_TRIGGER}
    peer.send(b"x")
    for trigger, poll in polls.items():
        world.register(ours, trigger.value, R | W, trigger, poll)
    for trigger, poll in polls.items():
        world.expect({trigger.value: BOTH}, poll=poll)
    for poll in polls.values():
        world.again(poll)


@case("R4", "each trigger can be changed into each", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.send(b"x")
    world.register(ours, 1, R | W)
    for after in EVERY_TRIGGER:
        world.expect({1: BOTH})
        world.again()
        world.reregister(ours, 1, R | W, after)
        world.expect({1: BOTH})
        world.again()
        world.reregister(ours, 1, R | W)


@case("R4", "changing a disabled source's token arms it", kinds=STREAMS, triggers=SHOTS)
def _(world: World) -> None:
    # FreeBSD overwrites udata with every change: facts on kqueue, changes and errors.
    ours, _ = world.sockets()
    world.register(ours, 1, W)
    world.expect({1: WRITABLE})
    for token in (2, 3, 3):
        world.reregister(ours, token, W)
        world.expect({token: WRITABLE})
        world.again()


@case("R4", "rearming keeps the token and the interest", kinds=STREAMS, triggers=SHOTS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    world.register(ours, 2**64 - 1, R)
    for _ in range(3):
        peer.send(b"x")
        world.expect({2**64 - 1: READABLE})
        ours.recv()
        world.rearm()
    world.expect({})
    registered = [(r.token, r.interest, r.trigger) for r in world.poll.registry]
    assert registered == [(2**64 - 1, R, world.trigger)]


@case("R5", "edges of many sources come once each", kinds=PIPES, triggers=EDGED)
def _(world: World) -> None:
    ends = [world.one_way("pipe") for _ in range(50)]
    for token, (reader, _) in enumerate(ends):
        world.register(reader, token, R)
    for _, writer in ends[::2]:
        writer.send(b"x")
    world.expect(dict.fromkeys(range(0, 50, 2), READABLE))
    world.again()
    for _, writer in ends[1::2]:
        writer.send(b"x")
    world.expect(dict.fromkeys(range(50), READABLE))
    world.again()
