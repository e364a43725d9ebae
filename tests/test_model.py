"""Random programs against a model of what readiness means, on every back end at once.

Each source is registered alike in one Poll of every back end. What a poll reports is compared with
a model that knows only who wrote, read and closed; so the back ends are compared with each other.
Level-triggered and one-shot sources must report exactly what the model says; an edge must come for
each new readiness, and may come for old readiness (R5).

POLLSTER_MODEL_EXAMPLES and POLLSTER_MODEL_STEPS make a long run of it.
"""

import contextlib
import os
import socket
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)
from kernels import has_two_way_pipes

import pollster.backend
from pollster import (
    AlreadyRegisteredError,
    Event,
    Events,
    Interest,
    NotRegisteredError,
    Poll,
    Token,
    Trigger,
)

R, W = Interest.READABLE, Interest.WRITABLE
EDGES = (Trigger.EDGE, Trigger.EDGE_ONESHOT)
ONESHOTS = (Trigger.ONESHOT, Trigger.EDGE_ONESHOT)


@dataclass(eq=False)
class End:
    """One end of a socket pair or a pipe, and all that decides its readiness."""

    fd: int
    is_socket: bool
    reads: bool
    writes: bool
    peer: "End | None" = None
    unread: int = 0
    is_open: bool = True
    is_shut: bool = False  # its own sending side

    def ready(self, interest: Interest, two_way: bool) -> set[str]:
        """The predicates that hold now, for an interest.

        `two_way`: whether this kernel's pipes can be read and written at both ends.
        """
        assert self.peer is not None
        names: set[str] = set()
        ended = not self.peer.is_open or self.peer.is_shut
        if interest & R and (self.reads or two_way):
            if self.unread or ended:
                names.add("readable")
            if ended:
                names.add("read_closed")
        if interest & W and (self.writes or two_way):
            names.add("writable")
            if not self.peer.is_open:
                names.add("write_closed")
        return names


@dataclass
class Registered:
    """What one Poll has registered, and what it owes."""

    end: End
    token: int
    interest: Interest
    trigger: Trigger
    armed: bool = True
    # Directions with new readiness since they were last reported.
    owed: set[str] = field(default_factory=lambda: {"readable", "writable"})


@dataclass
class Watcher:
    """A Poll of one back end, and the model's idea of it."""

    poll: Poll
    by_fd: dict[int, Registered] = field(default_factory=dict)

    @property
    def two_way(self) -> bool:
        """Whether its kernel's pipes go both ways."""
        return has_two_way_pipes(self.poll.backend)


def predicates(event: Event) -> set[str]:
    names = ("readable", "writable", "priority", "read_closed", "write_closed", "error")
    return {name for name in names if getattr(event, f"is_{name}")}


class Programs(RuleBasedStateMachine):
    """The steps of a random program."""

    ends = Bundle("ends")

    def __init__(self) -> None:
        super().__init__()
        self.watchers = [Watcher(Poll(backend=name)) for name in pollster.backend.available()]
        self.open: list[End] = []
        self.tokens = 0

    def teardown(self) -> None:
        for watcher in self.watchers:
            watcher.poll.close()
        for end in self.open:
            os.close(end.fd)

    # What the world does

    def owe(self, end: End, *directions: str) -> None:
        """Something new happened at an end: an edge of each direction is owed."""
        for watcher in self.watchers:
            registered = watcher.by_fd.get(end.fd)
            if registered is not None and registered.end is end:
                registered.owed |= set(directions)

    def pair(self, fds: tuple[int, int], is_socket: bool) -> tuple[End, End]:
        for fd in fds:
            os.set_blocking(fd, False)
        left = End(fds[0], is_socket, reads=True, writes=is_socket)
        right = End(fds[1], is_socket, reads=is_socket, writes=True)
        left.peer, right.peer = right, left
        self.open += [left, right]
        return left, right

    @rule(target=ends)
    def open_sockets(self):
        ours, peer = socket.socketpair()
        return multiple(*self.pair((ours.detach(), peer.detach()), is_socket=True))

    @rule(target=ends)
    def open_pipe(self):
        return multiple(*self.pair(os.pipe(), is_socket=False))

    @rule(end=ends, count=st.integers(1, 5))
    def write(self, end: End, count: int) -> None:
        assert end.peer is not None
        if not end.is_open or not end.writes or not end.peer.is_open or end.is_shut:
            return
        if end.peer.unread > 1000:
            return
        os.write(end.fd, bytes(count))
        end.peer.unread += count
        self.owe(end.peer, "readable")

    @rule(end=ends, count=st.integers(1, 8))
    def read(self, end: End, count: int) -> None:
        if not end.is_open or not end.reads:
            return
        with contextlib.suppress(BlockingIOError):
            end.unread -= len(os.read(end.fd, count))

    @rule(end=ends)
    def half_close(self, end: End) -> None:
        """R3's gate: only kqueue knows one's own shutdown, so such an end is not watched for W."""
        watched = any(
            (found := watcher.by_fd.get(end.fd)) and found.end is end and found.interest & W
            for watcher in self.watchers
        )
        if not end.is_open or not end.is_socket or end.is_shut or watched:
            return
        with socket.socket(fileno=os.dup(end.fd)) as copy:
            os.set_blocking(end.fd, False)  # PyPy has changed it, by the copy
            assert end.peer is not None
            if end.peer.is_open:
                copy.shutdown(socket.SHUT_WR)
                end.is_shut = True
                self.owe(end.peer, "readable")

    def drain(self, end: End) -> None:
        """A Unix socket closed over unread data resets its peer on Linux: another gate."""
        if end.reads:
            with contextlib.suppress(BlockingIOError):
                while os.read(end.fd, 65536):
                    pass
            end.unread = 0

    @rule(end=consumes(ends), reuse=st.booleans())
    def close(self, end: End, reuse: bool) -> None:
        """Closes an end, registered or not; perhaps its number gets a new owner at once."""
        if not end.is_open:
            return
        self.drain(end)
        end.is_open = False
        self.open.remove(end)
        if reuse:
            reader, writer = os.pipe()
            os.dup2(writer, end.fd)
            os.close(writer)
            self.pair((reader, end.fd), is_socket=False)
        else:
            os.close(end.fd)
        assert end.peer is not None
        if end.peer.is_open:
            self.owe(end.peer, "writable", *(() if end.is_shut else ("readable",)))

    # What the program asks for

    @rule(
        end=ends,
        interest=st.sampled_from([R, W, R | W]),
        trigger=st.sampled_from(list(Trigger)),
        change=st.sampled_from(["register", "reregister"]),
    )
    def watch(self, end: End, interest: Interest, trigger: Trigger, change: str) -> None:
        if not end.is_open or (end.is_shut and interest & W):
            return
        self.tokens += 1
        for watcher in self.watchers:
            known = watcher.by_fd.get(end.fd)
            current = known if known is not None and known.end is end else None
            method = getattr(watcher.poll.registry, change)
            if change == "register" and current:
                expected: type[OSError] | None = AlreadyRegisteredError
            elif change == "reregister" and not current:
                expected = NotRegisteredError
            else:
                expected = None
            if expected is None:
                method(end.fd, Token(self.tokens), interest, trigger)
                watcher.by_fd[end.fd] = Registered(end, self.tokens, interest, trigger)
                continue
            try:
                method(end.fd, Token(self.tokens), interest, trigger)
            except expected:
                if change == "reregister":
                    watcher.by_fd.pop(end.fd, None)
            else:
                raise AssertionError(f"{change} of {end} raised no {expected}")

    @rule(end=ends)
    def deregister(self, end: End) -> None:
        for watcher in self.watchers:
            known = watcher.by_fd.pop(end.fd, None)
            try:
                watcher.poll.registry.deregister(end.fd)
            except NotRegisteredError:
                assert known is None or known.end is not end
            else:
                assert known is not None

    @rule(capacity=st.integers(1, 4), polls=st.integers(1, 5))
    def poll_a_little(self, capacity: int, polls: int) -> None:
        for watcher in self.watchers:
            for _ in range(polls):
                self.check(watcher, watcher.poll.poll(Events(capacity), timeout=0), capacity)

    @rule()
    def poll_all(self) -> None:
        for watcher in self.watchers:
            self.check(watcher, watcher.poll.poll(timeout=0), 1024)

    def due(self, watcher: Watcher) -> dict[int, tuple[Registered, set[str]]]:
        """What may be reported now, by token."""
        return {
            registered.token: (registered, ready)
            for registered in watcher.by_fd.values()
            if registered.armed
            and registered.end.is_open
            and (ready := registered.end.ready(registered.interest, watcher.two_way))
        }

    def check(self, watcher: Watcher, events: Events, capacity: int) -> None:
        due = self.due(watcher)
        seen: set[int] = set()
        for event in events:
            token = int(event.token)
            assert token in due, f"{watcher.poll}: {event} is not due, only {list(due)}"
            assert token not in seen, f"{watcher.poll}: {event} came twice in a batch"
            seen.add(token)
            registered, ready = due[token]
            names = predicates(event)
            if registered.trigger in EDGES or (capacity < 2 * len(due) and len(ready) > 1):
                # An edge may be of one direction; a full kqueue batch may be too.
                assert names
                assert names <= ready, f"{watcher.poll}: {event}, but it is {ready}"
            else:
                assert names == ready, f"{watcher.poll}: {event}, but it is {ready}"
            registered.owed -= names
            if registered.trigger in ONESHOTS:
                registered.armed = False
        must = {
            token
            for token, (registered, ready) in due.items()
            if registered.trigger not in EDGES or registered.owed & ready
        }
        if len(events.raw()) < capacity:
            missing = must - seen
            assert not missing, f"{watcher.poll}: {missing} did not come, only {seen}"

    @invariant()
    def registries_agree_with_the_model(self) -> None:
        for watcher in self.watchers:
            listed = {int(r.token) for r in watcher.poll.registry}
            assert listed == {r.token for r in watcher.by_fd.values()}


TestPrograms = Programs.TestCase
TestPrograms.settings = settings(
    max_examples=int(os.environ.get("POLLSTER_MODEL_EXAMPLES", "60")),
    stateful_step_count=int(os.environ.get("POLLSTER_MODEL_STEPS", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
