"""Changes made together with `Registry.batch()`: R2, R8, R9, R11 to R16, R21."""

import errno
import os
import socket
import tempfile
import threading
from typing import Any

from case import EVERY_TRIGGER, LEVEL, Gate, case
from children import in_child
from gates import FIFO_ENDS_OF_MACOS, NO_PRIORITY
from sources import READABLE_KINDS, SOCKETS, STREAMS, UNIX
from world import BOTH, READABLE, WRITABLE, WRITE_CLOSED, R, W, World, batch_of

from pollster import (
    BatchError,
    Events,
    Interest,
    NotRegisteredError,
    PathWatch,
    Poll,
    Registry,
    Timer,
    Token,
    Trigger,
    Waker,
)

LEVEL_ONLY = (LEVEL,)
P = Interest.PRIORITY


def registered(world: World) -> list[int]:
    """The tokens."""
    return sorted(int(registration.token) for registration in world.poll.registry)


def failed(error: BatchError) -> list[tuple[object, str, str | None]]:
    """Each source that failed, with the error's kind."""
    return [
        (source, type(reason).__name__, errno.errorcode.get(getattr(reason, "errno", None) or 0))
        for source, reason in error.failures
    ]


def change(world: World, *changes: tuple[Any, ...]) -> list[tuple[object, str, str | None]]:
    """Makes (method, source, token, interest) in a batch; returns what failed."""
    try:
        with world.poll.registry.batch() as batch:
            for method, source, *how in changes:
                getattr(batch, method)(source, *how, *([world.trigger] if how else []))
    except BatchError as error:
        return failed(error)
    return []


# R2: each as if alone, in their order


@case("R2", "batch: many sources are registered, changed and deregistered", kinds=UNIX)
def _(world: World) -> None:
    pairs = [world.sockets() for _ in range(100)]
    ours = [end.sock for end, _ in pairs]
    assert change(world, *(("register", end, n, W) for n, end in enumerate(ours))) == []
    assert batch_of(world.poll.poll(timeout=0)) == dict.fromkeys(range(100), WRITABLE)
    for _, peer in pairs:
        peer.send(b"x")
    assert change(world, *(("reregister", end, n + 100, R) for n, end in enumerate(ours))) == []
    assert batch_of(world.poll.poll(timeout=0)) == dict.fromkeys(range(100, 200), READABLE)
    assert change(world, *(("deregister", end) for end in ours)) == []
    assert registered(world) == []
    world.expect({})


@case("R2", "batch: a source of any kind", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, peer = world.reader()
    peer.send(b"x")
    assert change(world, ("register", ours.source, 1, R)) == []
    assert batch_of(world.poll.poll(timeout=0)) == {1: READABLE}
    changes = [("reregister", ours.source, 2, R), ("reregister", ours.source, 3, R)]
    assert change(world, *changes) == []
    assert batch_of(world.poll.poll(timeout=0)) == {3: READABLE}
    assert change(world, ("deregister", ours.source)) == []
    world.expect({})


@case("R2", "batch: the order of a source's changes counts", kinds=STREAMS)
def _(world: World) -> None:
    ours, peer = world.sockets()
    peer.send(b"x")
    source = ours.sock
    steps: list[tuple[dict[int, frozenset[str]], list[tuple[Any, ...]]]] = [
        ({1: READABLE}, [("register", source, 1, R)]),
        ({2: WRITABLE}, [("deregister", source), ("register", source, 2, W)]),
        ({4: BOTH}, [("reregister", source, 3, R), ("reregister", source, 4, R | W)]),
        ({}, [("deregister", source), ("register", source, 5, R), ("deregister", source)]),
        (
            {7: READABLE},
            [("register", source, 6, W), ("deregister", source), ("register", source, 7, R)],
        ),
        (
            {9: BOTH},
            [("reregister", source, 8, W), ("deregister", source), ("register", source, 9, R | W)],
        ),
    ]
    for expected, changes in steps:
        assert change(world, *changes) == []
        found: dict[int, frozenset[str]] = {}
        for _ in range(2):  # R5: an edge may be of one direction
            for token, names in batch_of(world.poll.poll(timeout=0)).items():
                found[token] = found.get(token, frozenset()) | names
        assert found == expected
        assert registered(world) == sorted(expected)


@case("R2", "batch: duplicates are refused, and what came first stays", kinds=SOCKETS)
def _(world: World) -> None:
    ours, _ = world.sockets()
    other, _ = world.sockets()
    assert change(
        world,
        ("register", ours.sock, 1, W),
        ("register", ours.fileno(), 2, W),
        ("register", other.sock, 3, W),
        ("deregister", other.sock),
        ("deregister", other.fileno()),
    ) == [
        (ours.fileno(), "AlreadyRegisteredError", "EEXIST"),
        (other.fileno(), "NotRegisteredError", "ENOENT"),
    ]
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}


@case("R2", "batch: each failure is told with its source, and the others are made")
def _(world: World) -> None:
    reader, writer = world.one_way()
    unknown, known = world.one_way()
    world.poll.registry.register(known.fd, Token(9), W, world.trigger)
    with tempfile.TemporaryFile() as file:
        closed = os.dup(reader.fd)
        os.close(closed)
        found = change(
            world,
            ("register", reader.fd, 1, R),
            ("register", known.fd, 2, W),
            ("reregister", unknown.fd, 3, R),
            ("register", file, 4, R),
            ("deregister", unknown.fd),
            ("register", closed, 5, R),
            ("register", writer.fd, 6, W),
        )
        assert found == [
            (known.fd, "AlreadyRegisteredError", "EEXIST"),
            (unknown.fd, "NotRegisteredError", "ENOENT"),
            (file, "PermissionError", "EPERM"),
            (unknown.fd, "NotRegisteredError", "ENOENT"),
            (closed, "OSError", "EBADF"),
        ]
    world.see([kind for _, *kind in found])
    assert registered(world) == [1, 6, 9]
    assert batch_of(world.poll.poll(timeout=0)) == {6: WRITABLE, 9: WRITABLE}


@case("R2", "batch: the group says how many, and except* finds each", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    reader, writer = world.one_way()
    seen: list[object] = []
    try:
        with tempfile.TemporaryFile() as file, world.poll.registry.batch() as changes:
            changes.deregister(reader.fd)
            changes.register(file, Token(1), R)
            changes.register(writer.fd, Token(2), W)
            changes.deregister(reader.fd)
    except* NotRegisteredError as group:
        assert isinstance(group, BatchError)
        seen.append([source for source, _ in group.failures])
    except* PermissionError as group:
        seen.append((len(group.exceptions), "1 change of the batch" in str(group)))
    assert seen == [[reader.fd, reader.fd], (1, True)]
    world.see(seen[1:])


# Numbers that were closed and used again


@case("R2", "batch: a number that was used again is a new source", kinds=STREAMS)
def _(world: World) -> None:
    for method in ("register", "reregister", "deregister"):
        _, writer = world.one_way()
        ours, peer = world.sockets()
        number = writer.fd
        world.poll.registry.register(number, Token(1), W, world.trigger)
        os.dup2(ours.fileno(), number)
        how = () if method == "deregister" else (2, R)
        found = change(world, (method, number, *how))
        assert registered(world) == ([2] if method == "register" else [])
        if method == "register":
            assert found == []
            peer.send(b"x")
            assert batch_of(world.poll.poll(timeout=0)) == {2: READABLE}
            assert change(world, ("deregister", number)) == []
        else:
            assert found == [(number, "NotRegisteredError", "ENOENT")]
        world.expect({})


@case("R14", "batch: a number that is a regular file's by now is refused")
def _(world: World) -> None:
    for method in ("register", "reregister", "deregister"):
        _, writer = world.one_way()
        world.poll.registry.register(writer.fd, Token(1), W, world.trigger)
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), writer.fd)
        how = () if method == "deregister" else (2, W)
        ((source, *kind),) = change(world, (method, writer.fd, *how))
        assert source == writer.fd
        world.see(kind)
        refused = ["PermissionError", "EPERM"]
        assert kind == (refused if method == "register" else ["NotRegisteredError", "ENOENT"])
        world.expect({})
        if method == "register":  # what it was before is found to be gone when it is asked for
            with world.refused(NotRegisteredError, errno.ENOENT):
                world.poll.registry.deregister(writer.fd)
        assert registered(world) == []


@case("R9", "batch: closed sources can be deregistered", kinds=READABLE_KINDS)
def _(world: World) -> None:
    ours, _ = world.reader()
    _, writer = world.one_way()
    number, other = ours.fileno(), writer.fd
    assert change(world, ("register", ours.source, 1, R), ("register", other, 2, W)) == []
    ours.close()
    writer.close()
    found = change(world, ("deregister", number), ("deregister", other), ("deregister", other))
    assert found == [(other, "NotRegisteredError", "ENOENT")]
    assert registered(world) == []
    world.expect({})


@case("R9", "batch: a source that is closed in the block was not registered by then")
def _(world: World) -> None:
    _, writer = world.one_way()
    with world.poll.registry.batch() as changes:
        changes.register(writer.fd, Token(1), W, world.trigger)
        assert registered(world) == []
        assert batch_of(world.poll.poll(timeout=0)) == {}
    assert registered(world) == [1]
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}


# What is special


@case(
    "R3",
    "batch: pipes whose reader is gone report it",
    kinds=("pipe", "fifo"),
    gates=(FIFO_ENDS_OF_MACOS,),
)
def _(world: World) -> None:
    reader, broken = world.one_way(world.kind)
    _, healthy = world.one_way()
    reader.close()
    assert change(world, ("register", broken.fd, 1, W), ("register", healthy.fd, 2, W)) == []
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITE_CLOSED, 2: WRITABLE}
    changes = [("reregister", fd, token, W) for token, fd in ((3, broken.fd), (4, healthy.fd))]
    assert change(world, *changes) == []
    assert batch_of(world.poll.poll(timeout=0)) == {3: WRITE_CLOSED, 4: WRITABLE}
    assert change(world, ("deregister", broken.fd), ("deregister", healthy.fd)) == []
    assert registered(world) == []
    world.expect({})


def priority_is_left_out(world: World) -> None:
    ours, other = (world.sockets("socketpair")[0].sock for _ in range(2))
    world.poll.registry.register(other, Token(9), W, world.trigger)
    for method, source in (("register", ours), ("reregister", other)):
        found = change(world, (method, source, 1, R | P))
        assert found == [(source, "OSError", errno.errorcode[errno.ENOTSUP])]
    assert registered(world) == [9]
    assert batch_of(world.poll.poll(timeout=0)) == {9: WRITABLE}


@case(
    "R15",
    "batch: PRIORITY",
    kinds=("tcp4",),
    gates=(
        Gate(
            NO_PRIORITY.where,
            "no filter tells of out-of-band data: the change is refused, the others are made",
            NO_PRIORITY.source,
            priority_is_left_out,
        ),
    ),
)
def _(world: World) -> None:
    ours, peer = world.sockets()
    assert change(world, ("register", ours.sock, 1, P)) == []
    peer.send(b"x", socket.MSG_OOB)
    assert [event.is_priority for event in world.poll.poll(timeout=10)] == [True]


# What ends a block


@case("R21", "batch: a wrong argument is raised at once, and nothing is changed")
def _(world: World) -> None:
    reader, writer = world.one_way()
    bad: list[tuple[tuple[Any, ...], type[Exception]]] = [
        (("register", "fd", 1, R), TypeError),
        (("register", -1, 1, R), ValueError),
        (("register", 2**40, 1, R), ValueError),
        (("register", reader.fd, -1, R), ValueError),
        (("register", reader.fd, "1", R), TypeError),
        (("register", reader.fd, 1, 1), TypeError),
        (("reregister", reader.fd, 1, Interest(0)), ValueError),
        (("register", world.another_poll(), 1, W), ValueError),
        (("deregister", None), TypeError),
    ]
    for (method, *arguments), error in bad:
        reached = False
        with world.refused(error), world.poll.registry.batch() as changes:
            changes.register(writer.fd, Token(1), W, world.trigger)
            getattr(changes, method)(*arguments)
            reached = True
        assert not reached
        assert registered(world) == []
    world.expect({})


@case("R21", "batch: an exception in the block drops all, and the batch can be used again")
def _(world: World) -> None:
    _, writer = world.one_way()
    changes = world.poll.registry.batch()
    for error in (ZeroDivisionError, OSError):
        with world.refused(error), changes:
            changes.register(writer.fd, Token(1), W, world.trigger)
            raise error
        assert registered(world) == []
    with changes:
        pass
    assert registered(world) == []
    with changes:
        changes.register(writer.fd, Token(2), W, world.trigger)
    assert batch_of(world.poll.poll(timeout=0)) == {2: WRITABLE}


@case("R21", "batch: outside of its block a change is a RuntimeError, and nothing is registered")
def _(world: World) -> None:
    reader, writer = world.one_way()
    timer, watch = Timer.after(0), PathWatch("/", backend=world.backend)
    changes = world.poll.registry.batch()

    def refuses_all() -> None:
        for source in (writer.fd, Both(writer.fd), timer, watch):
            interest = W if source is writer.fd else R
            for method in (changes.register, changes.reregister):
                with world.refused(RuntimeError, 0, "in its block only"):
                    method(source, Token(1), interest, world.trigger)
            with world.refused(RuntimeError, 0, "in its block only"):
                changes.deregister(source)

    refuses_all()
    with changes:
        changes.register(reader.fd, Token(2), R, world.trigger)
    refuses_all()
    assert registered(world) == [2]
    watch.close()


@case("R21", "batch: in the block of a batch another one of it is a RuntimeError")
def _(world: World) -> None:
    _, writer = world.one_way()
    with world.poll.registry.batch() as changes:
        changes.register(writer.fd, Token(1), W, world.trigger)
        with world.refused(RuntimeError, 0, "a batch in a batch"):
            changes.batch()
        with world.refused(RuntimeError, 0, "open already"), changes:
            pass
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}


@case("R12", "batch: after Poll.close() it is a ValueError", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    _, writer = world.one_way()
    poll = world.another_poll()
    with world.refused(ValueError, 0, "this Poll is closed"), poll.registry.batch() as changes:
        changes.register(writer.fd, Token(1), W)
        poll.close()
    with world.refused(ValueError, 0, "this Poll is closed"), poll.registry.batch():
        pass


@case("R13", "batch: in a forked child it is a RuntimeError, and the parent's is as before")
def _(world: World) -> None:
    _, writer = world.one_way()
    begun = world.poll.registry.batch()
    begun.__enter__()
    begun.register(writer.fd, Token(1), W, world.trigger)

    def work() -> None:
        with world.refused(RuntimeError, 0, "process that forked"), world.poll.registry.batch():
            pass
        with world.refused(RuntimeError, 0, "process that forked"):
            begun.__exit__(None, None, None)

    in_child(work)
    assert registered(world) == []
    begun.__exit__(None, None, None)
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}


# What registers itself


class Both:
    """Two descriptors as one source."""

    def __init__(self, *fds: int) -> None:
        self.fds = fds

    def register(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger
    ) -> None:
        """Registers both."""
        for fd in self.fds:
            registry.register(fd, token, interest, trigger)

    def reregister(
        self, registry: Registry, token: Token, interest: Interest, trigger: Trigger | None
    ) -> None:
        """Reregisters both."""
        for fd in self.fds:
            registry.reregister(fd, token, interest, trigger)

    def deregister(self, registry: Registry) -> None:
        """Deregisters both."""
        for fd in self.fds:
            registry.deregister(fd)


@case("R14", "batch: a source with methods of its own changes the batch")
def _(world: World) -> None:
    both = Both(world.one_way()[1].fd, world.one_way()[1].fd)
    with world.poll.registry.batch() as changes:
        changes.register(both, Token(7), W, world.trigger)
        assert registered(world) == []
    assert [event.token for event in world.poll.poll(timeout=0)] == [7, 7]
    assert change(world, ("reregister", both, 8, W)) == []
    assert [event.token for event in world.poll.poll(timeout=0)] == [8, 8]
    assert change(world, ("deregister", both)) == []
    found = change(world, ("deregister", both))
    assert found == [(fd, "NotRegisteredError", "ENOENT") for fd in both.fds]
    world.expect({})


@case("R16", "batch: a Waker made with it is there at once, whatever becomes of the rest")
def _(world: World) -> None:
    _, writer = world.one_way()
    with world.refused(ZeroDivisionError), world.poll.registry.batch() as changes:
        changes.register(writer.fd, Token(1), W, world.trigger)
        waker = Waker(changes, Token(9))
        waker.wake()
        assert batch_of(world.poll.poll(timeout=0)) == {9: READABLE}
        raise ZeroDivisionError
    waker.wake()
    assert batch_of(world.poll.poll(timeout=0)) == {9: READABLE}
    with world.poll.registry.batch() as changes:
        changes.deregister(waker)
    assert registered(world) == []


# While others poll, and in mid-batch


@case("R11", "batch: a poll that waits meanwhile sees what was registered")
def _(world: World) -> None:
    pairs = [world.one_way() for _ in range(20)]
    found: set[int] = set()
    begun = threading.Event()

    def poll() -> None:
        events = Events(64)
        begun.set()
        while len(found) < 20:
            found.update(int(event.token) for event in world.poll.poll(events, timeout=10))

    with world.thread(poll):
        assert begun.wait(10)
        assert change(world, *(("register", w.fd, n, W) for n, (_, w) in enumerate(pairs))) == []
    assert found == {*range(20)}


@case("R8", "batch: while others poll, nothing comes of what a batch has deregistered")
def _(world: World) -> None:
    writers = [world.one_way()[1].fd for _ in range(4)]
    ended: set[int] = set()
    late: list[int] = []
    done = threading.Event()

    def poll() -> None:
        events = Events(8)
        while not done.is_set():
            world.poll.poll(events, timeout=0)
            before = set(ended)
            late.extend(int(event.token) for event in events if event.token in before)

    with world.thread(poll):
        try:
            for base in range(0, 400, 4):
                numbered = list(enumerate(writers, base))
                assert change(world, *(("register", fd, n, W) for n, fd in numbered)) == []
                assert change(world, *(("deregister", fd) for fd in writers)) == []
                ended.update(range(base, base + 4))
        finally:
            done.set()
    assert late == []


@case("R8", "batch: the rest of the events being iterated over forgets what it ends")
def _(world: World) -> None:
    writers = {token: world.one_way()[1].fd for token in range(10)}
    assert change(world, *(("register", fd, token, W) for token, fd in writers.items())) == []
    events = world.poll.poll(timeout=0)
    iterator = iter(events)
    first = int(next(iterator).token)
    gone = [token for token in writers if token != first][:4]
    renamed = [token for token in writers if token != first and token not in gone][:2]
    assert (
        change(
            world,
            *(("deregister", writers[token]) for token in gone),
            *(("reregister", writers[token], token + 100, W) for token in renamed),
        )
        == []
    )
    rest = {*writers} - {*gone} - {*renamed}
    assert {int(event.token) for event in iterator} == rest - {first}
    assert {int(event.token) for event in events} == rest
    assert len(events) == len(rest)


@case("R8", "batch: an event of a source that is registered anew is not the old one's")
def _(world: World) -> None:
    _, writer = world.one_way()
    world.poll.registry.register(writer.fd, Token(1), W, world.trigger)
    events = world.poll.poll(timeout=0)
    assert change(world, ("deregister", writer.fd), ("register", writer.fd, 1, W)) == []
    assert list(events) == []
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}


@case("R4", "batch: a one-shot that has reported is armed again")
def _(world: World) -> None:
    _, writer = world.one_way()
    for trigger in EVERY_TRIGGER:
        world.poll.registry.register(writer.fd, Token(1), W, trigger)
        for _ in range(3):
            assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}
            assert change(world, ("reregister", writer.fd, 1, W)) == []
        assert change(world, ("deregister", writer.fd)) == []


@case("R2", "batch: iteration and other Polls go their own way")
def _(world: World) -> None:
    _, writer = world.one_way()
    other: Poll = world.another_poll()
    with world.poll.registry.batch() as one, other.registry.batch() as two:
        one.register(writer.fd, Token(1), W, world.trigger)
        two.register(writer.fd, Token(2), W, world.trigger)
        assert list(one) == list(two) == []
    assert [int(registration.token) for registration in one] == [1]
    assert batch_of(world.poll.poll(timeout=0)) == {1: WRITABLE}
    assert batch_of(other.poll(timeout=0)) == {2: WRITABLE}
